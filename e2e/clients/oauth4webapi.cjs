// oauth4webapi, as released: every step is a call of its own, and Basic is form-encoded.
const assert = require('node:assert/strict');
const { webcrypto } = require('node:crypto');
const { pathToFileURL } = require('node:url');
const { facts, scopes, step, signIn } = require('./steps.cjs');

const api = new URL('/api/v4/user', facts.base_url);

// Node 18, which Debian 12 has, keeps these to itself.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
let oauth;
let http;

async function authorized(server, client, challenge = {}) {
  const state = oauth.generateRandomState();
  const nonce = oauth.generateRandomNonce();
  const url = new URL(server.authorization_endpoint);
  const parameters = { client_id: client.client_id, redirect_uri: facts.oauth_redirect_uri, response_type: 'code' };
  url.search = new URLSearchParams({ ...parameters, scope: scopes, state, nonce, ...challenge });
  const cameBack = new URL(await signIn(url));
  return [oauth.validateAuthResponse(server, client, cameBack, state), nonce];
}

const redeem = (server, client, auth, answer, verifier) =>
  oauth.authorizationCodeGrantRequest(server, client, auth, answer, facts.oauth_redirect_uri, verifier, http);

async function user(token) {
  const answer = await oauth.protectedResourceRequest(token, 'GET', api, new Headers(), null, http);
  assert.equal(answer.status, 200);
  const user = await answer.json();
  assert.equal(user.username, facts.user_login);
  return user;
}

async function main() {
  oauth = await import(pathToFileURL(require.resolve('oauth4webapi')));
  http = { [oauth.allowInsecureRequests]: true };
  const issuer = new URL(facts.base_url);
  const found = async () => oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, http));
  const server = await step('discovery', found, { needed: true });

  await step('PKCE', async () => {
    assert.ok(server.code_challenge_methods_supported.includes('S256'), 'S256 is not listed');
    const client = { client_id: facts.oauth_public_client_id };
    const verifier = oauth.generateRandomCodeVerifier();
    const challenge = await oauth.calculatePKCECodeChallenge(verifier);
    const sent = { code_challenge: challenge, code_challenge_method: 'S256' };
    const [answer, nonce] = await authorized(server, client, sent);
    const response = await redeem(server, client, oauth.None(), answer, verifier);
    const how = { expectedNonce: nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, how);
    await user(tokens.access_token);
  });

  const client = { client_id: facts.oauth_client_id };
  const auth = oauth.ClientSecretBasic(facts.oauth_client_secret);
  const [answer, nonce] = await step('authorize', () => authorized(server, client), { needed: true });
  const exchange = async () => {
    const response = await redeem(server, client, auth, answer, oauth.nopkce);
    assert.equal(response.status, 200, await response.clone().text());
    return response;
  };
  const response = await step('token', exchange, { needed: true });
  const verified = async () => {
    const how = { expectedNonce: nonce, requireIdToken: true };
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, response, how);
    await oauth.validateApplicationLevelSignature(server, response, http);
    return tokens;
  };
  const tokens = await step('id_token', verified, { needed: true });
  const { sub } = oauth.getValidatedIdTokenClaims(tokens);

  await step('userinfo', async () => {
    const told = await oauth.userInfoRequest(server, client, tokens.access_token, http);
    const person = await oauth.processUserInfoResponse(server, client, sub, told);
    assert.equal(person.preferred_username, facts.user_login);
  });

  await step('API call', async () => assert.equal(String((await user(tokens.access_token)).id), sub));

  let last = tokens.access_token;
  await step('refresh', async () => {
    const told = await oauth.refreshTokenGrantRequest(server, client, auth, tokens.refresh_token, http);
    const fresh = await oauth.processRefreshTokenResponse(server, client, told);
    last = fresh.access_token;
    assert.notEqual(last, tokens.access_token);
    assert.equal(oauth.getValidatedIdTokenClaims(fresh).sub, sub);
    await user(last);
  });

  const introspect = async () => {
    const told = await oauth.introspectionRequest(server, client, auth, last, http);
    return oauth.processIntrospectionResponse(server, client, told);
  };
  await step('introspect', async () => {
    const known = await introspect();
    assert.equal(known.active, true);
    assert.equal(known.client_id, facts.oauth_client_id);
  });

  await step('revoke', async () => {
    // A hint is only a hint (RFC 7009 2.1).
    const wrong = { ...http, additionalParameters: { token_type_hint: 'refresh_token' } };
    await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, auth, last, wrong));
    await assert.rejects(user(last));
    assert.equal((await introspect()).active, false);
  });
}

main();

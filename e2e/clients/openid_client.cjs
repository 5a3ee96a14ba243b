// openid-client, as released.
const assert = require('node:assert/strict');
const { webcrypto } = require('node:crypto');
const { pathToFileURL } = require('node:url');
const { facts, scopes, step, signIn } = require('./steps.cjs');

const api = new URL('/api/v4/user', facts.base_url);

// Node 18, which Debian 12 has, keeps these to itself.
globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
let oidc;

function discover(clientId, clientSecret) {
  // Over TLS it believes an id_token without asking for its signature; this way it asks.
  const execute = [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks];
  // Basic form-encodes both parts, so the `-` of the secret is sent as `%2D` (RFC 6749 2.3.1).
  const how = clientSecret === undefined ? oidc.None() : oidc.ClientSecretBasic(clientSecret);
  return oidc.discovery(new URL(facts.base_url), clientId, clientSecret, how, { execute, timeout: 20 });
}

// Where the person came back, and what has to hold of the answer.
async function authorized(config, checks) {
  const state = oidc.randomState();
  const nonce = oidc.randomNonce();
  const parameters = { redirect_uri: facts.oauth_redirect_uri, scope: scopes, state, nonce };
  if (checks.pkceCodeVerifier) {
    parameters.code_challenge = await oidc.calculatePKCECodeChallenge(checks.pkceCodeVerifier);
    parameters.code_challenge_method = 'S256';
  }
  const cameBack = new URL(await signIn(oidc.buildAuthorizationUrl(config, parameters)));
  return [cameBack, { ...checks, expectedState: state, expectedNonce: nonce, idTokenExpected: true }];
}

async function user(config, token) {
  const answer = await oidc.fetchProtectedResource(config, token, api, 'GET');
  assert.equal(answer.status, 200);
  const user = await answer.json();
  assert.equal(user.username, facts.user_login);
  return user;
}

async function main() {
  oidc = await import(pathToFileURL(require.resolve('openid-client')));
  const found = () => discover(facts.oauth_client_id, facts.oauth_client_secret);
  const config = await step('discovery', found, { needed: true });

  await step('PKCE', async () => {
    const shown = await discover(facts.oauth_public_client_id);
    assert.ok(shown.serverMetadata().supportsPKCE(), 'S256 is not listed');
    const [cameBack, checks] = await authorized(shown, { pkceCodeVerifier: oidc.randomPKCECodeVerifier() });
    const tokens = await oidc.authorizationCodeGrant(shown, cameBack, checks);
    await user(shown, tokens.access_token);
  });

  const [cameBack, checks] = await step('authorize', () => authorized(config, {}), { needed: true });

  // One call redeems the code and verifies the id_token; to tell them apart, see how far it came.
  let redeemed = false;
  config[oidc.customFetch] = async (url, how) => {
    const answer = await fetch(url, how);
    redeemed ||= String(url).endsWith('/oauth/token') && answer.status === 200;
    return answer;
  };
  const [granted] = await Promise.allSettled([oidc.authorizationCodeGrant(config, cameBack, checks)]);
  await step('token', () => assert.ok(redeemed, granted.reason), { needed: true });
  const verified = () => (granted.reason ? Promise.reject(granted.reason) : granted.value);
  const tokens = await step('id_token', verified, { needed: true });
  const { sub } = tokens.claims();

  await step('userinfo', async () => {
    const person = await oidc.fetchUserInfo(config, tokens.access_token, sub);
    assert.equal(person.preferred_username, facts.user_login);
  });

  await step('API call', async () => assert.equal(String((await user(config, tokens.access_token)).id), sub));

  let last = tokens.access_token;
  await step('refresh', async () => {
    const fresh = await oidc.refreshTokenGrant(config, tokens.refresh_token);
    last = fresh.access_token;
    assert.notEqual(last, tokens.access_token);
    assert.equal(fresh.claims().sub, sub);
    await user(config, last);
  });

  await step('introspect', async () => {
    const known = await oidc.tokenIntrospection(config, last);
    assert.equal(known.active, true);
    assert.equal(known.client_id, facts.oauth_client_id);
  });

  await step('revoke', async () => {
    await oidc.tokenRevocation(config, last);
    await assert.rejects(user(config, last), { status: 401 });
    assert.equal((await oidc.tokenIntrospection(config, last)).active, false);
  });
}

main();

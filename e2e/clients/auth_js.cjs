// Auth.js (@auth/core), as released, in an application that is called by function and not over a socket. It signs in
// once by OpenID Connect and once by its own provider for GitLab.
const assert = require('node:assert/strict');
const { randomBytes, webcrypto } = require('node:crypto');
const { pathToFileURL } = require('node:url');
const { facts, scopes, step, lacks, signIn } = require('./steps.cjs');

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
const load = (name) => import(pathToFileURL(require.resolve(name)));

const home = new URL(facts.oauth_redirect_uri).origin;
const callbacks = ['oidc', 'gitlab'].map((id) => `${home}/auth/callback/${id}`);

// Auth.js has callback addresses of its own, so it needs an application of its own.
async function registered() {
  const answer = await fetch(new URL('/api/v4/applications', facts.base_url), {
    method: 'POST',
    headers: { 'PRIVATE-TOKEN': facts.admin_token, 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'Auth.js', redirect_uri: callbacks.join('\n'), scopes }),
  });
  assert.equal(answer.status, 201);
  return answer.json();
}

class Application {
  constructor(Auth, providers) {
    this.Auth = Auth;
    this.cookies = new Map();
    this.faults = [];
    this.config = {
      basePath: '/auth',
      trustHost: true,
      secret: randomBytes(32).toString('hex'),
      providers,
      logger: { error: (fault) => this.faults.push(fault), warn() {}, debug() {} },
      callbacks: { signIn: (came) => Boolean((this.came = came)) },
    };
  }

  async ask(url, form) {
    const headers = { Cookie: [...this.cookies].map((pair) => pair.join('=')).join('; ') };
    const body = form && new URLSearchParams(form);
    const answer = await this.Auth(new Request(url, { method: form ? 'POST' : 'GET', headers, body }), this.config);
    for (const line of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      this.cookies.set(name, value);
    }
    if (this.faults.length) throw this.faults[0].cause?.err ?? this.faults[0];
    return answer;
  }

  // Where it sends the person.
  async leave(provider) {
    const { csrfToken } = await (await this.ask(`${home}/auth/csrf`)).json();
    const answer = await this.ask(`${home}/auth/signin/${provider}`, { csrfToken, callbackUrl: home });
    return new URL(answer.headers.get('location'));
  }

  async comeBack(url) {
    await this.ask(url);
    assert.ok(this.came, 'nobody is signed in');
    return this.came;
  }
}

async function main() {
  const { Auth } = await load('@auth/core');
  const { default: GitLab } = await load('@auth/core/providers/gitlab');
  const { application_id: clientId, secret: clientSecret } = await registered();
  const oidc = { id: 'oidc', name: 'Tollhouse', type: 'oidc', issuer: facts.base_url, clientId, clientSecret };
  const checks = ['pkce', 'state', 'nonce'];
  const parts = { checks, authorization: { params: { scope: scopes } } };
  const application = new Application(Auth, [
    { ...oidc, ...parts },
    // Without `issuer` it compares `iss` of the answer (RFC 9207) with a made-up one.
    GitLab({ baseUrl: facts.base_url, issuer: facts.base_url, clientId, clientSecret }),
  ]);

  const target = await step('discovery', () => application.leave('oidc'), { needed: true });
  const cameBack = await step('authorize', () => signIn(target), { needed: true });
  const came = await step('token', () => application.comeBack(cameBack), { needed: true });
  await step('id_token', () => {
    assert.ok(came.account.id_token);
    assert.equal(came.profile.preferred_username, facts.user_login);
    assert.equal(came.profile.sub, came.account.providerAccountId);
  });

  await step('PKCE', async () => {
    const target = await application.leave('gitlab');
    assert.equal(target.searchParams.get('code_challenge_method'), 'S256');
    application.came = undefined;
    await application.comeBack(await signIn(target));
  });
  // The provider for GitLab reads the profile from the API.
  await step('API call', () => assert.equal(application.came.profile.username, facts.user_login));
  lacks('userinfo', 'refresh', 'introspect', 'revoke');
}

main();

// passport-gitlab2, as released, in an application of its own that people come back to.
const assert = require('node:assert/strict');
const http = require('node:http');
const { randomUUID } = require('node:crypto');
const { Passport } = require('passport');
const { Strategy } = require('passport-gitlab2');
const { facts, step, lacks, signIn } = require('./steps.cjs');

const passport = new Passport();
const sessions = new Map();
const callback = new URL(facts.oauth_redirect_uri);

// What came of the sign-ins by each strategy: the access token is there before the profile is asked for.
const came = { confidential: {}, public: {} };

function use(name, options) {
  const strategy = new Strategy(
    {
      baseURL: facts.base_url,
      // Loopback: the port may be another than the registered one.
      callbackURL: callback.href,
      scope: 'read_user',
      state: true,
      skipUserProfile: (token, done) => {
        came[name].token = token;
        done(null, false);
      },
      ...options,
    },
    (_access, _refresh, profile, done) => done(null, profile),
  );
  passport.use(name, strategy);
  return strategy;
}

const app = http.createServer((req, res) => {
  const url = new URL(req.url, callback);
  const known = /sid=([\w-]+)/.exec(req.headers.cookie ?? '')?.[1];
  const sid = sessions.has(known) ? known : randomUUID();
  if (sid !== known) sessions.set(sid, {});
  res.setHeader('Set-Cookie', `sid=${sid}; Path=/; HttpOnly; SameSite=Lax`);
  req.session = sessions.get(sid);
  req.query = Object.fromEntries(url.searchParams);
  // Which of the two it was is remembered as an application would: in its session.
  if (url.pathname.startsWith('/sign_in/')) req.session.name = url.pathname.split('/').pop();
  const { name } = req.session;
  const done = (error, user, info) => {
    Object.assign(came[name], { error, user, info });
    res.end(error ? String(error) : 'Hello.');
  };
  passport.authenticate(name, { session: false }, done)(req, res, done);
});

async function visit(name) {
  const cameBack = await signIn(new URL(`/sign_in/${name}`, callback), { land: true });
  assert.ok(new URL(cameBack).searchParams.has('code'), `came back to ${cameBack}`);
}

function signedIn({ error, token, user, info }) {
  if (error) throw error;
  assert.ok(token && user, `no token; ${JSON.stringify(info)}`);
  assert.equal(user.username, facts.user_login);
}

const profile = (strategy, token) =>
  new Promise((resolve, reject) => {
    strategy.userProfile(token, (error, profile) => (error ? reject(error) : resolve(profile)));
  });

async function main() {
  lacks('discovery', 'id_token', 'userinfo', 'refresh', 'introspect', 'revoke');
  await new Promise((resolve) => app.listen(0, callback.hostname, resolve));
  callback.port = app.address().port;
  const strategy = use('confidential', { clientID: facts.oauth_client_id, clientSecret: facts.oauth_client_secret });
  use('public', { clientID: facts.oauth_public_client_id, clientSecret: '', pkce: true });

  await step('PKCE', async () => {
    await visit('public');
    signedIn(came.public);
  });
  await step('authorize', () => visit('confidential'), { needed: true });
  const { token, error } = came.confidential;
  await step('token', () => assert.ok(token, error), { needed: true });
  await step('API call', async () => {
    signedIn(came.confidential);
    // Older releases show the token in the query.
    strategy._oauth2.useAuthorizationHeaderforGET(false);
    assert.equal((await profile(strategy, token)).username, facts.user_login);
  });
  app.close();
  app.closeAllConnections();
}

main();

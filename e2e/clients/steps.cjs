// What the clients in JavaScript share: the facts of a running demo, a browser, and a line of JSON for each step.
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');

const facts = JSON.parse(fs.readFileSync(0, 'utf8'));
const scopes = 'openid profile email read_user';

function tell(step, how, why = '') {
  console.log(JSON.stringify({ step, how, why: String(why).replace(/\s+/g, ' ').slice(0, 300) }));
}

// An error, what the server said, and what the libraries keep as causes.
function said({ name, message, status, error, error_description: description, cause }) {
  const answer = error ? ` (${status ?? ''} ${error}: ${description ?? ''})` : '';
  return `${name}: ${message}${answer}${cause instanceof Error ? `; ${said(cause)}` : ''}`;
}

// Tells how a step went, and gives what it gave. A failure ends the client only if nothing goes on without the step.
async function step(name, action, { needed = false } = {}) {
  try {
    const result = await action();
    tell(name, 'ok');
    return result;
  } catch (error) {
    tell(name, 'failed', said(error));
    if (needed) process.exit(1);
  }
}

// What the library has no call for.
const lacks = (...names) => names.forEach((name) => tell(name, 'lacks'));

function signIn(url, { land = false } = {}) {
  const words = [...(land ? ['--land'] : []), String(url), facts.user_login];
  return new Promise((resolve, reject) => {
    const browser = execFile(path.join(__dirname, 'browser.py'), words, { timeout: 60_000 }, (error, out, err) =>
      error ? reject(new Error(err.trim().split('\n').pop() || error.message)) : resolve(out.trim()));
    browser.stdin.end(facts.user_password);
  });
}

module.exports = { facts, scopes, tell, said, step, lacks, signIn };

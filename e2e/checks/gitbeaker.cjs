// Reads the facts of a running demo on stdin, prints one line per check.
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { Gitlab } = require('@gitbeaker/rest');

const facts = JSON.parse(fs.readFileSync(0, 'utf8'));
const client = (credential) => new Gitlab({ host: facts.base_url, queryTimeout: 20_000, ...credential });

async function check(name, steps) {
  try {
    await steps();
    console.log(`ok ${name}`);
  } catch (error) {
    console.log(`not ok ${name}: ${String(error.message ?? error).replace(/\s+/g, ' ').slice(0, 400)}`);
  }
}

async function main() {
  for (const spelling of ['token', 'oauthToken']) {
    await check(`gitbeaker: ${spelling}`, async () => {
      const api = client({ [spelling]: facts.user_token });
      const user = await api.Users.showCurrentUser();
      assert.equal(user.username, facts.user_login);
      const listed = (await api.Projects.all()).map((project) => project.id);
      assert.ok(listed.includes(facts.private_project_id), `private project not among ${listed}`);
      const project = await api.Projects.show(facts.private_project_id);
      assert.equal(project.id, facts.private_project_id);
      const byPath = await api.Projects.show(project.path_with_namespace);
      assert.equal(byPath.id, facts.private_project_id);
    });

    await check(`gitbeaker: a wrong ${spelling} is refused`, async () => {
      const api = client({ [spelling]: `${facts.user_token.slice(0, -1)}~` });
      await assert.rejects(api.Users.showCurrentUser(), (error) => {
        assert.equal(error.cause?.response?.status, 401, `rejected with ${error}`);
        return true;
      });
    });
  }

  await check('gitbeaker: pages of one', async () => {
    const api = client({ token: facts.user_token });
    const all = (await api.Projects.all()).map((project) => project.id);
    const walked = (await api.Projects.all({ perPage: 1 })).map((project) => project.id);
    assert.ok(walked.length > 1, 'nothing to walk');
    assert.deepEqual(walked, all);
  });

  await check('gitbeaker: sudo', async () => {
    const api = client({ token: facts.admin_token, sudo: facts.user_login });
    assert.equal((await api.Users.showCurrentUser()).username, facts.user_login);
  });
}

main();

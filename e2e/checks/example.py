"""The example of docs/oauth.md, as somebody would run it who has just seen the demo start."""

import os
import subprocess
import sys

from house import Demo, check, expect, folder

EXAMPLE, BROWSER = "examples/sign_in.py", "e2e/clients/browser.py"

with folder() as cwd, Demo(cwd) as demo:
    facts = demo.facts
    for kind, client, secret in (
        ("public", facts.oauth_public_client_id, {}),
        ("confidential", facts.oauth_client_id, {"CLIENT_SECRET": facts.oauth_client_secret}),
    ):
        with check(f"example: sign in by a {kind} application"):
            command = [sys.executable, EXAMPLE, facts.base_url, client]
            example = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **secret})
            try:
                url = next(line.strip() for line in example.stdout if "/oauth/authorize?" in line)
                browser = [sys.executable, BROWSER, "--land", url, facts.user_login]
                subprocess.run(browser, input=facts.user_password, stdout=subprocess.DEVNULL, text=True, timeout=60, check=True)
                said = example.communicate(timeout=30)[0]
            finally:
                example.kill()
                example.wait()
            expect("exit code", example.returncode, 0)
            assert f"@{facts.user_login}" in said, said

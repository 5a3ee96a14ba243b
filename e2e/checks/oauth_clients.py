"""Released clients sign a person in, each on a server of its own. The table at the end is what happened."""

import json
import os
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

from house import PARTS, Demo, check, expect, folder

CLIENTS = Path("e2e/clients")
RUST = CLIENTS / "openidconnect"
BUILT = PARTS / "openidconnect"
STEPS = "discovery", "authorize", "PKCE", "token", "id_token", "userinfo", "API call", "refresh", "revoke", "introspect"
# What these have no call for; whatever else is not done is a failure.
LACKS = {
    "requests-oauthlib": {"discovery", "id_token", "introspect"},
    "Auth.js": {"userinfo", "refresh", "revoke", "introspect"},
    "passport-gitlab2": {"discovery", "id_token", "userinfo", "refresh", "revoke", "introspect"},
}
CELLS = {"ok": "ok", "lacks": "-", "failed": "**failed**"}


def node_version(package):
    return json.loads((PARTS / "node/node_modules" / package / "package.json").read_text())["version"]


def crate_version(crate):
    packages = tomllib.loads((RUST / "Cargo.lock").read_text())["package"]
    return next(package["version"] for package in packages if package["name"] == crate)


COMMANDS = {
    f"Authlib {version('authlib')}": [sys.executable, CLIENTS / "authlib_client.py"],
    f"requests-oauthlib {version('requests-oauthlib')}": [sys.executable, CLIENTS / "requests_oauthlib_client.py"],
    f"openid-client {node_version('openid-client')}": ["node", CLIENTS / "openid_client.cjs"],
    f"oauth4webapi {node_version('oauth4webapi')}": ["node", CLIENTS / "oauth4webapi.cjs"],
    f"Auth.js {node_version('@auth/core')}": ["node", CLIENTS / "auth_js.cjs"],
    f"passport-gitlab2 {node_version('passport-gitlab2')}": ["node", CLIENTS / "passport_gitlab2.cjs"],
    f"openidconnect {crate_version('openidconnect')}": [BUILT / "release/with-openidconnect", CLIENTS / "browser.py"],
}


def build():
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", BUILT]
    command += ["--manifest-path", RUST / "Cargo.toml"]
    # On a busy machine this takes its time, which says nothing of any client.
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-400:]


def went(command):
    """How the steps went, by their names; a step that nothing is said of was not reached."""
    with folder() as cwd, Demo(cwd) as demo:
        facts = json.dumps(vars(demo.facts))
        done = subprocess.run(command, input=facts, capture_output=True, text=True, timeout=60)
    said = [json.loads(line) for line in done.stdout.splitlines()]
    broke_off = (done.stderr.strip().splitlines() or ["not reached"])[-1]
    told = {name: ("failed", broke_off) for name in STEPS}
    told |= {line["step"]: (line["how"], line["why"]) for line in said}
    assert told.keys() == set(STEPS), f"unknown steps: {told.keys() - set(STEPS)}"
    return told


table = {}

with check("oauth: the client in Rust is built"):
    build()

for client, command in COMMANDS.items():
    with check(f"oauth: {client}"):
        table[client] = {name: ("failed", "broke off") for name in STEPS}
        table[client] = told = went(command)
        failed = [name for name, (how, _) in told.items() if how == "failed"]
        assert not failed, f"{', '.join(failed)}; the reasons are under the table"
        expect("not offered", {name for name, (how, _) in told.items() if how == "lacks"}, LACKS.get(client.split()[0], set()))

print("\n| client |", " | ".join(STEPS), "|")
print("|---" * (len(STEPS) + 1) + "|")
for client, told in table.items():
    print(f"| {client} |", " | ".join(CELLS[told[name][0]] for name in STEPS), "|")
print(flush=True)
for client, told in table.items():
    for name, (how, why) in told.items():
        if how == "failed":
            print(f"{client}, {name}: {why}", flush=True)

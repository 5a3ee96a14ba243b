"""schemathesis against the OpenAPI document, as an administrator and as a stranger: no 500, no undocumented status, no
answer that is not what the document says of it."""

import collections
import json
import os
import re
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from house import Demo, call, check, expect, folder, run, with_token

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
SEED = os.environ.get("E2E_FUZZ_SEED", "18511")
EXAMPLES_EACH = "20"
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)

SEED_FILE = """
[[user]]
username = "maker"
admin = true
[[user]]
username = "scratch"
admin = true
[[user]]
username = "stranger"
[[user]]
username = "ada"
[[group]]
path = "harbour"
visibility = "public"
members = [{ user = "ada", level = "owner" }]
[[group]]
path = "harbour/pilots"
visibility = "public"
[[project]]
path = "harbour/timetable"
visibility = "public"
[[project]]
path = "harbour/plans"
[[application]]
name = "portal"
redirect_uris = ["https://portal.test/"]
scopes = ["api"]
[[token]]
user = "maker"
name = "maker"
scopes = ["api", "sudo"]
[[token]]
user = "scratch"
name = "scratch"
scopes = ["api", "sudo"]
[[token]]
user = "stranger"
name = "stranger"
scopes = ["api"]
"""

PROJECT_NAME = "made by an example"
# Stand for an access token, a service account and an application that each call makes for itself.
ACCESS_TOKEN_ID = 999999
SERVICE_ACCOUNT_ID = 999998
OWN_APPLICATION_ID = 999997


def examples(facts):
    """Values that exist, by operation; `body` is the whole body."""
    group, project = facts.groups["harbour"], facts.projects["harbour/timetable"]
    ada, application = facts.users["ada"]["id"], facts.applications[0]["id"]
    new_application = {"name": "made", "redirect_uri": "https://made.test/", "scopes": "api", "confidential": True}
    new_token = {"name": "made", "scopes": ["read_api"], "access_level": 20}
    tokens = {}
    for kind, number in ("projects", project), ("groups", group):
        name, one = f"{kind}_id_access_tokens", {"id": str(number), "token_id": ACCESS_TOKEN_ID}
        tokens |= {
            f"post_{name}": {"id": str(number), "body": new_token},
            f"get_{name}_token_id": one,
            f"delete_{name}_token_id": one,
            f"post_{name}_token_id_rotate": {**one, "body": {}},
            f"post_{name}_self_rotate": {"id": str(number), "body": {}},
        }
    accounts = {"post_service_accounts": {"body": {}}}
    for kind, number in ("projects", project), ("groups", group):
        name, one = f"{kind}_id_service_accounts", {"id": str(number), "user_id": SERVICE_ACCOUNT_ID}
        of_account = f"{name}_user_id_personal_access_tokens"
        accounts |= {
            f"get_{name}": {"id": str(number)},
            f"post_{name}": {"id": str(number), "body": {}},
            f"get_{name}_user_id": one,
            f"delete_{name}_user_id": one,
            f"post_{of_account}": {**one, "body": {"name": "made", "scopes": ["read_api"]}},
            f"delete_{of_account}_token_id": {**one, "token_id": 1},
            f"post_{of_account}_token_id_rotate": {**one, "token_id": 1, "body": {}},
        }
    return {
        **tokens,
        **accounts,
        "get_users": {"username": "ada"},
        "get_users_id": {"id": ada},
        "post_users_user_id_personal_access_tokens": {"user_id": ada, "body": {"name": "made", "scopes": ["read_api"]}},
        "get_projects_id": {"id": str(project)},
        "post_projects": {"body": {"name": PROJECT_NAME}},
        "get_projects_id_members_all_user_id": {"id": str(project), "user_id": ada},
        "get_groups_id": {"id": str(group)},
        "put_groups_id": {"id": str(group), "body": {"description": "changed"}},
        "post_user_personal_access_tokens": {"body": {"name": "own", "scopes": ["k8s_proxy"]}},
        "get_users_user_id_impersonation_tokens": {"user_id": ada},
        "post_users_user_id_impersonation_tokens": {"user_id": ada, "body": {"name": "debug", "scopes": ["read_api"]}},
        "get_users_user_id_impersonation_tokens_impersonation_token_id": {"user_id": ada, "impersonation_token_id": 1},
        "delete_users_user_id_impersonation_tokens_impersonation_token_id": {"user_id": ada, "impersonation_token_id": 1},
        "get_personal_access_tokens": {"user_id": ada, "state": "active", "sort": "expires_asc"},
        "get_personal_access_tokens_id": {"id": 1},
        "delete_personal_access_tokens_id": {"id": 1},
        "post_personal_access_tokens_id_rotate": {"id": 1, "body": {}},
        "post_personal_access_tokens_self_rotate": {"body": {}},
        "post_applications": {"body": new_application},
        "delete_applications_id": {"id": application},
        "post_applications_id_renew_secret": {"id": application},
        "post_user_applications": {"body": new_application},
        "get_user_applications_id": {"id": OWN_APPLICATION_ID},
        "put_user_applications_id": {"id": OWN_APPLICATION_ID, "body": {"name": "renamed"}},
        "delete_user_applications_id": {"id": OWN_APPLICATION_ID},
        "get_audit_events_id": {"id": 1},
        "post_admin_revocations": {"body": {"name_like": "called by nobody", "dry_run": True}},
    }


class Altering(BaseHTTPRequestHandler):
    """Before the server: it alters some answers, as a faulty server would give them."""

    ALTERED = {
        "GET /api/v4/version": ("a key that is not declared", "JsonSchemaError"),
        "GET /api/v4/user": ("a key is missing", "JsonSchemaError"),
        "GET /api/v4/metadata": ("a status that is not documented", "UndefinedStatusCode"),
        "GET /api/v4/applications": ("a crash", "ServerError"),
        "GET /api/v4/groups": ("a header is missing", "MissingHeaders"),
        "GET /api/v4/personal_access_tokens/self": ("another content type", "UndefinedContentType"),
    }

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = call(self.server.base_url, self.path, self.command, dict(self.headers), body or None)
        status, headers, text = answer.status, dict(answer.headers), answer.text
        what, _ = self.ALTERED.get(f"{self.command} {self.path.split('?')[0]}", ("", ""))
        if status == 200 and what:
            match what:
                case "a key that is not declared":
                    text = text.replace("{", '{"more":1,', 1)
                case "a key is missing":
                    text = text.replace('"username"', '"user_name"', 1)
                case "a status that is not documented":
                    status = 418
                case "a crash":
                    status, text = 500, '{"message":"500 Internal Server Error"}'
                case "a header is missing":
                    headers.pop("x-page")
                case "another content type":
                    headers["content-type"] = "text/html"
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_TRACE = do_QUERY = answer

    def log_message(self, *_):
        pass


def job_token(cwd, database):
    """No endpoint makes one."""
    where = ["--project", "harbour/timetable", "--user", "ada", "--lifetime", "1h", "--database", f"sqlite:{database}"]
    made = run("token", "create", "--kind", "job", *where, cwd=cwd)
    expect(f"exit code of token create ({made.stderr})", made.returncode, 0)
    return made.stdout.strip()


def fuzz(cwd, facts, who, *more, job, url=None):
    """Runs schemathesis as one user; gives its output and how often each operation was answered with each status."""
    [token] = [token["token"] for token in facts.tokens if token["user"] == who]
    [maker] = [token["token"] for token in facts.tokens if token["user"] == "maker"]
    plan = {
        "base_url": facts.base_url,
        "token": token,
        "maker": maker,
        "user_id": facts.users[who]["id"],
        "admin": facts.users[who]["admin"],
        "examples": examples(facts),
        "application_id": facts.applications[0]["id"],
        "project_name": PROJECT_NAME,
        "ends_credential": ["delete_personal_access_tokens_self", "post_personal_access_tokens_self_rotate"],
        "ends_token": ["delete_personal_access_tokens_id", "post_personal_access_tokens_id_rotate"],
        "of_impersonation": [
            "get_users_user_id_impersonation_tokens_impersonation_token_id",
            "delete_users_user_id_impersonation_tokens_impersonation_token_id",
        ],
        "ada": facts.users["ada"]["id"],
        "ends_application": ["delete_applications_id"],
        "own_application_id": OWN_APPLICATION_ID,
        "job_token": job,
        "access_token_id": ACCESS_TOKEN_ID,
        "service_account_id": SERVICE_ACCOUNT_ID,
        "service_account_of": {
            operation: f"{'projects' if '_projects_' in operation else 'groups'}/{example['id']}"
            for operation, example in examples(facts).items()
            if "user_id" in example and "service_accounts" in operation
        },
        "ends_access_token": {
            f"{operation}_{kind}_id_access_tokens_{rest}": f"{kind}/{number}"
            for kind, number in (("projects", facts.projects["harbour/timetable"]), ("groups", facts.groups["harbour"]))
            for operation, rest in (
                ("get", "token_id"),
                ("delete", "token_id"),
                ("post", "token_id_rotate"),
                ("post", "self_rotate"),
            )
        },
        "calls": str(cwd / f"{who}.calls"),
    }
    (cwd / f"{who}.json").write_text(json.dumps(plan))
    # From its URL, it would leave out the operation that gives the document.
    command = [SCHEMATHESIS, "--no-color", "run", cwd / "openapi.json", "--url", url or facts.base_url]
    command += ["--seed", SEED, "--max-examples", EXAMPLES_EACH]
    command += ["--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--generation-database", "none"]
    command += ["--generation-with-security-parameters", "false", "--continue-on-failure", "--no-shrink"]
    command += ["--warnings", "off", *more]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "fuzz_hooks", "E2E_FUZZ": str(cwd / f"{who}.json"), "COLUMNS": "160"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=150)
    tally = collections.defaultdict(collections.Counter)
    for line in (cwd / f"{who}.calls").read_text().splitlines():
        operation, status = line.split()
        tally[operation][int(status)] += 1
    return done, tally


def successes(statuses):
    return sum(count for status, count in statuses.items() if 200 <= status < 300)


began = time.monotonic()
with folder() as cwd:
    (cwd / "seed.toml").write_text(SEED_FILE)
    database = cwd / "fuzzed.db"
    with Demo(cwd, "--seed", "seed.toml", "--database", f"sqlite:{database}") as demo:
        job = job_token(cwd, database)
        text = call(demo.base_url, "/api/v4/openapi.json").text
        (cwd / "openapi.json").write_text(text)
        document = json.loads(text)
        operations = {o["operationId"] for methods in document["paths"].values() for o in methods.values()}
        tallies = {}
        for who in "scratch", "stranger":
            with check(f"fuzzing: as {who}, every answer is one that the document has"):
                done, tallies[who] = fuzz(cwd, demo.facts, who, job=job)
                findings = re.sub(r"glpat-[\w.-]+", "glpat-...", done.stdout)
                if done.returncode != 0:
                    print(findings[-20000:], done.stderr[-2000:], file=sys.stderr, flush=True)
                expect(f"exit code ({' '.join(findings[-600:].split())})", done.returncode, 0)
                expect("operations that were called", set(tallies[who]), operations)
                for operation, statuses in tallies[who].items():
                    assert not any(status >= 500 for status in statuses), f"{operation}: {dict(statuses)}"
        with check("fuzzing: each operation is answered with 2xx at least once"):
            both = {o: sum((tallies[who][o] for who in tallies), collections.Counter()) for o in operations}
            for operation in sorted(operations):
                per_user = ", ".join(f"{successes(tallies[who][operation])} as {who}" for who in tallies)
                statuses = " ".join(f"{status}:{count}" for status, count in sorted(both[operation].items()))
                print(f"# {operation}: 2xx {per_user}; {statuses}", flush=True)
            cases = sum(sum(statuses.values()) for statuses in both.values())
            good = sum(map(successes, both.values()))
            took = time.monotonic() - began
            print(f"# fuzzing: {len(operations)} operations, {cases} cases, {good} of them 2xx, {took:.0f} s", flush=True)
            expect("operations without 2xx", [o for o in sorted(operations) if not successes(both[o])], [])
            assert took < 180, f"{took:.0f} s"
        with check("fuzzing: an answer that a faulty server would give is noticed"):
            proxy = ThreadingHTTPServer(("127.0.0.1", 0), Altering)
            proxy.base_url = demo.base_url
            threading.Thread(target=proxy.serve_forever, daemon=True).start()
            names = [*Altering.ALTERED, "GET /api/v4/users"]
            chosen = [argument for name in names for argument in ("--include-name", name)]
            report = cwd / "altered.json"
            url = f"http://127.0.0.1:{proxy.server_port}"
            more = [*chosen, "--report", "json", "--report-json-path", report, "--max-examples", "2"]
            fuzz(cwd, demo.facts, "scratch", *more, job=job, url=url)
            proxy.shutdown()
            failures = json.loads(report.read_text())["failures"]
            noticed = {(operation, failure["type"]) for failure in failures for operation in failure["operations"]}
            expect("what was noticed", noticed, {(name, kind) for name, (_, kind) in Altering.ALTERED.items()})
            print(f"# fuzzing: {len(noticed)} altered answers were noticed", flush=True)
        with check("fuzzing: the server goes on afterwards"):
            [maker] = [token["token"] for token in demo.facts.tokens if token["user"] == "maker"]
            expect("status", call(demo.base_url, "/api/v4/user", headers=with_token(maker)).status, 200)

"""The OpenAPI document: a validator, and a client that a released generator makes of it."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import openapi_spec_validator

from house import Demo, call, check, expect, folder

GENERATOR = Path(sys.executable).with_name("openapi-python-client")


def breaks_a_type(document):
    document["paths"]["/api/v4/users"]["get"]["parameters"][0]["schema"]["type"] = "text"


def breaks_a_reference(document):
    del document["components"]["responses"]["Unauthorized"]


def breaks_an_answer(document):
    del document["paths"]["/api/v4/user"]["get"]["responses"]["200"]["description"]


def breaks_a_path(document):
    document["paths"]["/api/v4/users/{number}"] = document["paths"].pop("/api/v4/users/{id}")


with folder() as cwd, Demo(cwd) as demo:
    facts = demo.facts
    document = json.loads(call(demo.base_url, "/api/v4/openapi.json").text)

    with check("contract: the document is valid OpenAPI 3.1"):
        openapi_spec_validator.validate(document)
        print(f"# the document has {sum(map(len, document['paths'].values()))} operations", flush=True)

    with check("contract: the validator notices what is wrong"):
        for breaks in breaks_a_type, breaks_a_reference, breaks_an_answer, breaks_a_path:
            broken = copy.deepcopy(document)
            breaks(broken)
            try:
                openapi_spec_validator.validate(broken)
            except Exception:
                continue
            raise AssertionError(f"{breaks.__name__} is not noticed")

    with check("contract: openapi-python-client makes a client of it, without a warning"):
        (cwd / "generator.yml").write_text("post_hooks: []\n")
        command = [GENERATOR, "generate", "--url", f"{demo.base_url}/api/v4/openapi.json", "--meta", "none"]
        command += ["--output-path", cwd / "tollhouse_client", "--config", cwd / "generator.yml", "--fail-on-warning"]
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
        expect(f"exit code ({done.stdout[-300:]} {done.stderr[-300:]})", done.returncode, 0)
        assert "WARNING" not in done.stdout + done.stderr, done.stdout

    with check("contract: the generated client lists users, page by page"):
        sys.path.insert(0, str(cwd))
        from tollhouse_client import AuthenticatedClient
        from tollhouse_client.api.users import get_users, get_users_id
        from tollhouse_client.models import ListedUser, MessageRefusal, UserDetails

        client = AuthenticatedClient(demo.base_url, facts.user_token, raise_on_unexpected_status=True)
        users = get_users.sync(client=client)
        assert users and all(isinstance(user, ListedUser) for user in users), users
        names = [user.username for user in users]
        assert facts.user_login in names, names
        paged, page = [], "1"
        while page:
            answer = get_users.sync_detailed(client=client, page=int(page), per_page=1)
            paged += [user.username for user in answer.parsed]
            page = answer.headers["X-Next-Page"]
        expect("names, page by page", paged, names)
        found = get_users.sync(client=client, username=facts.user_login)
        expect("users by name", [user.username for user in found], [facts.user_login])
        one = get_users_id.sync(found[0].id, client=client)
        assert isinstance(one, UserDetails), one
        expect("number", one.id, found[0].id)

    with check("contract: the generated client knows what a refusal is"):
        wrong = AuthenticatedClient(demo.base_url, "glpat-unknown", raise_on_unexpected_status=True)
        answer = get_users.sync_detailed(client=wrong)
        expect("status", answer.status_code, 401)
        assert isinstance(answer.parsed, MessageRefusal), answer.parsed
        expect("message", answer.parsed.message, "401 Unauthorized")

"""What schemathesis is told beyond the document (`SCHEMATHESIS_HOOKS`): parameters that exist on the server, and a
credential of its own for each call that ends one. Every call is noted, with what it was answered."""

import json
import os
import re
import secrets
from pathlib import Path

import schemathesis

from house import call, expect, with_token

plan = json.loads(Path(os.environ["E2E_FUZZ"]).read_text())
SUDO_EVERY = 8
count = 0
calls = open(plan["calls"], "a", buffering=1)


def post(path, **body):
    headers = {"Content-Type": "application/json", **with_token(plan["maker"])}
    answer = call(plan["base_url"], path, "POST", headers, json.dumps(body))
    expect(f"status of {path}", answer.status, 201)
    return json.loads(answer.text)


def own(path, **body):
    """Made by the user who is fuzzed as."""
    headers = {"Content-Type": "application/json", **with_token(plan["token"])}
    answer = call(plan["base_url"], path, "POST", headers, json.dumps(body))
    expect(f"status of {path}", answer.status, 201)
    return json.loads(answer.text)


def own_token():
    path = f"/api/v4/users/{plan['user_id']}/personal_access_tokens"
    return post(path, name="to be ended", scopes=["api", "sudo"] if plan["admin"] else ["api"])


def own_application():
    return post("/api/v4/applications", name="to be deleted", redirect_uri="https://a.test/", scopes="api")["id"]


def access_token(resource):
    """Of `projects/<id>` or `groups/<id>`, as answered."""
    return post(f"/api/v4/{resource}/access_tokens", name="to be ended", scopes=["api"])


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for methods in raw_schema["paths"].values():
        for operation in methods.values():
            values = plan["examples"].get(operation["operationId"], {})
            for parameter in operation.get("parameters", []):
                if parameter.get("name") in values:
                    parameter["example"] = values[parameter["name"]]
            for media in operation.get("requestBody", {}).get("content", {}).values():
                if "body" in values:
                    media["example"] = values["body"]


@schemathesis.hook
def before_call(context, case, kwargs):
    operation = case.operation.definition.raw["operationId"]
    # Not by `--header`, which would win over the token that is made here.
    token = own_token()["token"] if operation in plan["ends_credential"] else plan["token"]
    case.headers = {**(case.headers or {}), "PRIVATE-TOKEN": token}
    # Almost every made-up name is refused, and nothing behind it is reached. Some are enough.
    global count
    count += 1
    if count % SUDO_EVERY:
        case.headers.pop("Sudo", None)
        case.query = {name: value for name, value in (case.query or {}).items() if name != "sudo"}
    # It would revoke the tokens that this check works with.
    if operation == "post_admin_revocations" and isinstance(case.body, dict):
        case.body = {**case.body, "dry_run": True}
    if operation == "get_job":
        # A personal access token would come first.
        case.headers = {"Job-Token": plan["job_token"]}
    if operation.endswith("_user_applications_id"):
        path = case.path_parameters or {}
        if path.get("id") == plan["own_application_id"]:
            made = own("/api/v4/user/applications", name="own", redirect_uri="https://a.test/", scopes="api")
            case.path_parameters = {**path, "id": made["id"]}
    # The example stands for an application that is there.
    if operation in plan["ends_application"] and (case.path_parameters or {}).get("id") == plan["application_id"]:
        case.path_parameters = {**case.path_parameters, "id": own_application()}
    # Each of these ends a token of the group or project that is in the examples.
    if resource := plan["ends_access_token"].get(operation):
        path = case.path_parameters or {}
        if path.get("id") == resource.partition("/")[2]:
            made = access_token(resource)
            if operation.endswith("_self_rotate"):
                case.headers["PRIVATE-TOKEN"] = made["token"]
            elif path.get("token_id") == plan["access_token_id"]:
                case.path_parameters = {**path, "token_id": made["id"]}
    # Small numbers are those of the tokens that this check itself works with.
    # An id comes as text too, with a suffix that the server drops.
    begin = re.match(r"\D{0,3}(\d+)", str((case.path_parameters or {}).get("id")))
    if operation in plan["ends_token"] and begin and int(begin[1]) < 1000:
        case.path_parameters = {**case.path_parameters, "id": own_token()["id"]}
    # Each call has a service account, and a token of it, of its own.
    path = case.path_parameters or {}
    if path.get("user_id") == plan["service_account_id"]:
        of = f"/api/v4/{plan['service_account_of'][operation]}/service_accounts"
        account = post(of)["id"]
        case.path_parameters = {**path, "user_id": account}
        if "token_id" in path:
            made = post(f"{of}/{account}/personal_access_tokens", name="to be ended", scopes=["api"])
            case.path_parameters["token_id"] = made["id"]
    numbers = case.path_parameters or {}
    if operation in plan["of_impersonation"] and (numbers.get("user_id"), numbers.get("impersonation_token_id")) == (plan["ada"], 1):
        path = f"/api/v4/users/{plan['ada']}/impersonation_tokens"
        made = post(path, name="to be ended", scopes=["read_api"])["id"]
        case.path_parameters = {**numbers, "impersonation_token_id": made}
    # Two projects of one name are refused.
    if operation == "post_projects" and isinstance(case.body, dict) and case.body.get("name") == plan["project_name"]:
        case.body = {**case.body, "name": f"made {secrets.token_hex(6)}"}


@schemathesis.hook
def after_call(context, case, response):
    calls.write(f"{case.operation.definition.raw['operationId']} {response.status_code}\n")

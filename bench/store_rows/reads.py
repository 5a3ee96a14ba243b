"""Requests that read, beside `GET /user`, beside the program of before, and beside node."""

import http.client
import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

from .measure import ROOT, Line, Unmeasured, at_least, costs, each, median, per_second, rates
from .sites import Request, Server, basic, get


def user(bench, engine):
    """The same request to both programs, each on a database that it made."""
    if not bench.before:
        raise Unmeasured("no --before BINARY")
    old, new = bench.site("before", engine, binary=bench.before), bench.demo(engine)
    with old.serve() as before, new.serve() as after:
        ask = lambda server, site: lambda: bench.wrk(server, get("/api/v4/user", site.facts["user_token"]))
        ours, theirs = bench.rounds(ask(after, new), ask(before, old), count=3 if bench.quick else 10)
    note = f"{median(costs(ours)):.1f} to {median(costs(theirs)):.1f} µs"
    yield Line("CPU per request, to before", each(costs(ours), costs(theirs)), note)


def beside_user(bench, server, site, requests):
    """Each request beside `GET /user`: label, ratios of requests a second, note."""
    requests = {"GET /user": get("/api/v4/user", site.facts["user_token"])} | requests
    figures = bench.rounds(*(lambda request=request: bench.wrk(server, request) for request in requests.values()))
    for what, ours in list(zip(requests, figures))[1:]:
        note = f"{per_second(rates(ours), rates(figures[0]))}, {median(costs(ours)):.0f} to {median(costs(figures[0])):.0f} µs"
        yield Line(f"{what}, to GET /user", each(rates(ours), rates(figures[0])), note)


def introspection(site):
    headers = basic(site.facts["oauth_client_id"], site.facts["oauth_client_secret"])
    return Request("POST", "/oauth/introspect", headers, "token=bench-access-0")


@contextmanager
def node(bench):
    """node `oidc-provider`, and the request that introspects a token of its own. `None`: it cannot be installed."""
    folder = ROOT / "target/bench/node"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "node_modules/oidc-provider").exists():
        install = ["npm", "install", "--no-audit", "--no-fund", "oidc-provider@9.13"]
        if not shutil.which("npm") or subprocess.run(install, cwd=folder, capture_output=True, timeout=180).returncode != 0:
            yield None
            return
    command = ["node", str(Path(__file__).with_name("oidc_provider.mjs"))]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        base = process.stdout.readline().strip()
        if not base:
            yield None
            return
        address, headers = base.removeprefix("http://"), basic("bench", "bench-secret")
        connection = http.client.HTTPConnection(address)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", "/token", "grant_type=client_credentials", headers | form)
        token = json.loads(connection.getresponse().read())["access_token"]
        connection.close()
        yield Server(process.pid, address, bench.folder, 0), Request("POST", "/token/introspection", headers, f"token={token}")
    finally:
        process.terminate()
        process.wait(20)


def introspect(bench, engine):
    site = bench.demo(engine)
    with site.serve() as server, node(bench) as other:
        yield from (
            line._replace(aim=None if other else at_least(0.6))
            for line in beside_user(bench, server, site, {"introspection": introspection(site)})
        )
        if not other:
            raise Unmeasured("node oidc-provider cannot be installed; the ratio to GET /user counts")
        ours, theirs = bench.rounds(lambda: bench.wrk(server, introspection(site)), lambda: bench.wrk(*other))
        yield Line("introspection, to node oidc-provider", each(rates(ours), rates(theirs)), per_second(rates(ours), rates(theirs)))


def identity(bench, engine):
    site, bearer = bench.demo(engine), {"Authorization": "Bearer bench-access-0"}
    with site.serve() as server:
        requests = {
            "token info": Request("GET", "/oauth/token/info", bearer),
            "userinfo": Request("GET", "/oauth/userinfo", bearer),
            "self": get("/api/v4/personal_access_tokens/self", site.facts["user_token"]),
        }
        yield from beside_user(bench, server, site, requests)


def singles(site):
    token, facts = site.facts["user_token"], site.facts
    login = site.query(f"SELECT id FROM users WHERE username = '{facts['user_login']}'")
    return {
        "GET /projects/:id": get(f"/api/v4/projects/{facts['public_project_id']}", token),
        "GET /groups/:id": get(f"/api/v4/groups/{facts['group_id']}", token),
        "GET /users/:id": get(f"/api/v4/users/{login}", token),
    }


def show(bench, engine):
    site = bench.demo(engine)
    with site.serve() as server:
        yield from beside_user(bench, server, site, singles(site))


def projects(bench, engine):
    site = bench.demo(engine)
    with site.serve() as server:
        yield from beside_user(bench, server, site, {"GET /projects": get("/api/v4/projects", site.facts["user_token"])})

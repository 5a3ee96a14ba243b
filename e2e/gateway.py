"""Tollhouse behind a real proxy that has its example file: what the checks of nginx and Caddy share."""

import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode

from house import Browser, Server, call, expect, free_port, until, with_token
from wire import as_bytes, exchange, read_head

EXAMPLES = Path("examples")

# Before the rules of examples/gateway.toml: one for each thing that a rule can say.
RULES = """
[[rule]]
name = "open-admin"
host = "SITE"
path = "/open/admin/*"
allow = "administrator"

[[rule]]
name = "open"
host = "SITE"
path = "/open/*"
allow = "anyone"

[[rule]]
name = "methods-read"
host = "SITE"
path = "/methods"
method = ["GET", "HEAD"]
allow = "anyone"

[[rule]]
name = "methods-write"
host = "SITE"
path = "/methods"
method = "POST"

[[rule]]
name = "methods-rest"
host = "SITE"
path = "/methods"
allow = "administrator"

[[rule]]
name = "profile"
host = "SITE"
path = "/profile"
scopes = ["read_user"]

[[rule]]
name = "team"
host = "SITE"
path = "/team/*"
project = "harbour/pilots/charts"
level = "developer"

[[rule]]
name = "owners"
host = "SITE"
path = "/owners/*"
project = "harbour/pilots/charts"
level = "owner"

[[rule]]
name = "query"
host = "SITE"
path = "/query"
query_credentials = true

[[rule]]
name = "preflight"
host = "SITE"
path = "/preflight"
preflight = "pass"

[[rule]]
name = "files-admin"
host = "SITE"
path = "/files/admin/*"
allow = "administrator"
admits = ["%2f", ";", "%3f", "%23"]

[[rule]]
name = "files"
host = "SITE"
path = "/files/*"
allow = "anyone"
admits = ["%2f", ";", "%3f", "%23"]

[[rule]]
name = "elsewhere"
host = "elsewhere.example.test"
path = "/*"
allow = "anyone"
"""


class Gatehouse(Server):
    """`tollhouse serve` with the example's settings, on the database that a demo made."""

    def __init__(self, cwd, database, site, **env):
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        settings = (EXAMPLES / "tollhouse.toml").read_text()
        settings = settings.replace("127.0.0.1:8000", site).replace(":8080", f":{port}")
        rules = RULES.replace("SITE", site) + (EXAMPLES / "gateway.toml").read_text().replace("127.0.0.1:8000", site)
        (cwd / "examples").mkdir(exist_ok=True)
        (cwd / "examples/tollhouse.toml").write_text(settings)
        (cwd / "examples/gateway.toml").write_text(rules)
        settings = "--config", "examples/tollhouse.toml"
        super().__init__(cwd, "serve", "--demo-data", "--database", f"sqlite:{database}", *settings, env={"TOLLHOUSE_OAUTH_PASSWORD_GRANT": "true", **env})
        self.port = port


def steady_port():
    """A free port that no connection is given meanwhile, so that it is free again whenever a proxy starts anew."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port := random.randrange(20000, 32000)))
                return port
            except OSError:
                continue


class NotStarted(AssertionError):
    pass


class Proxy:
    """One of the example files at work, with only its addresses replaced."""

    process = None

    def __init__(self, folder, port, tollhouse, api, change=lambda text: text):
        self.folder, self.port = folder, port
        text = change((EXAMPLES / self.file).read_text())
        for address, really in (8000, port), (8080, tollhouse), (9000, api):
            text = text.replace(f":{address}", f":{really}")
        self.config = folder / self.file
        self.config.write_text(text)

    def __enter__(self):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self.folder, env=self.env(), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            until(self.answers, f"{self.name} to listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def answers(self):
        code = self.process.poll()
        if code is not None:
            raise NotStarted(f"{self.name} ended with {code}: {(self.folder / 'log').read_text()[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
            return True
        except ConnectionRefusedError:
            return False

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def env(self):
        return os.environ


class Nginx(Proxy):
    name, file = "nginx", "nginx.conf"

    def command(self):
        # Workers of a master that root started are somebody else, who may not look into our folder.
        root = "user root;" if os.getuid() == 0 else ""
        # Where it logs if the example does not say so; otherwise that would be the log of the whole machine.
        log = self.folder / "default.log"
        return [shutil.which("nginx"), "-e", log, "-p", self.folder, "-c", self.config, "-g", f"daemon off; {root}"]


class Caddy(Proxy):
    name, file = "caddy", "Caddyfile"

    def command(self):
        return [shutil.which("caddy"), "run", "--adapter", "caddyfile", "--config", self.config]

    def env(self):
        # It keeps files of its own in the folders of its user.
        return {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder),
            "XDG_DATA_HOME": str(self.folder),
        }


# --- Asking through the proxy ------------------------------------------------------------------------------------


class Logs:
    """What a proxy wrote down, from a moment on: what stood there before is another one's."""

    def __init__(self, folder):
        self.folder = folder
        self.before = {path: path.stat().st_size for path in folder.glob("*log")}

    def text(self):
        return "".join(path.read_bytes()[self.before.get(path, 0) :].decode(errors="replace") for path in self.folder.glob("*log"))


class Gate:
    """What stands behind one address, who may come, and a way to ask there."""

    def __init__(self, kind, api, relay, port, facts, tollhouse, logs, dialect="X-Original-"):
        self.kind, self.api, self.relay, self.port, self.facts, self.tollhouse = (
            kind,
            api,
            relay,
            port,
            facts,
            tollhouse,
        )
        self.logs = logs
        self.site, self.base_url, self.dialect = f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", dialect
        self.numbers = itertools.count(1)

    def prepare(self):
        """Sign in, and get a token of each kind, so that probes need not."""
        self.sign_in()
        self.reading, self.profile, self.revoked = map(self.grant, ["read_api", "read_user", "api"])
        client = {"client_id": self.facts.oauth_client_id, "client_secret": self.facts.oauth_client_secret}
        self.post("/oauth/revoke", token=self.revoked, **client)
        me = call(self.tollhouse.base_url, "/api/v4/user", headers=with_token(self.facts.user_token))
        me = json.loads(me.text)
        self.user_id, self.email = str(me["id"]), me["email"]

    def ask(self, method, target, *headers, body=None, host=None, version="HTTP/1.1"):
        """One request as it stands here; `reached` and `question` are what became of it behind the proxy."""
        number = next(self.numbers)
        if body is not None and not any(name == "Transfer-Encoding" for name, _ in headers):
            headers = (*headers, ("Content-Length", str(len(body))))
        own = ("Host", self.site if host is None else host), ("X-Probe", str(number))
        if not any(name.lower() == "connection" for name, _ in headers):
            own = (*own, ("Connection", "close"))
        head = [b" ".join(map(as_bytes, (method, target, version)))]
        head += [as_bytes(name) + b": " + as_bytes(value) for name, value in (*own, *headers) if value is not None]
        since = len(self.api.arrived)
        answer = exchange(self.port, b"\r\n".join([*head, b"", body or b""]))
        self.nothing_ambiguous()
        arrived = self.api.arrived[since:]
        answer.reached = next((r for r in arrived if r.headers.all("X-Probe") == [str(number)]), None)
        answer.questions = self.relay.asked.get(number, [])
        answer.heard = self.relay.heard.get(number, [])
        return answer

    def nothing_ambiguous(self):
        """Of everything that reached the API there is one reading, so that no second request can hide in it."""
        ambiguous, self.api.ambiguous = self.api.ambiguous, []
        expect("what reached the API and could be read in two ways", ambiguous, [])

    def expect_no_credential_in(self, logs):
        for secret in "private_token", "glpat-", self.facts.user_token:
            assert secret not in logs, f"`{secret[:13]}` stands in the log"

    def passes(self, method, target, *headers, **more):
        answer = self.ask(method, target, *headers, **more)
        expect(f"status of {method} {target}", answer.status, 200)
        assert answer.reached, f"{method} {target} did not reach the API"
        return answer.reached

    def refused(self, status, method, target, *headers, **more):
        answer = self.ask(method, target, *headers, **more)
        expect(f"status of {method} {target}", answer.status, status)
        assert not answer.reached, f"{method} {target} reached the API"
        return answer

    def upgrade(self, target, to, *headers):
        """The status of a request for an upgrade, and whether what is said then comes back."""
        number = next(self.numbers)
        own = ("Host", self.site), ("X-Probe", str(number)), ("Connection", "Upgrade")
        to = [("Upgrade", each) for each in to.split("|")]
        key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), ("Sec-WebSocket-Version", "13")
        head = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (*own, *to, *key, *headers))]
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as line, line.makefile("rb") as stream:
            line.sendall("\r\n".join([*head, "", ""]).encode())
            first, _ = read_head(stream)
            status, echoed = int(first.split()[1]), False
            if status == 101:
                line.sendall(b"anybody there?")
                echoed = stream.read(14) == b"anybody there?"
        reached = [r for r in self.api.arrived if r.headers.all("X-Probe") == [str(number)]]
        return SimpleNamespace(status=status, echoed=echoed, reached=reached[0] if reached else None)

    def told(self, method, target, *headers):
        """What Tollhouse says to the proxy that asks this."""
        asks = {"Method": method, "Proto": "http", "Host": self.site, "Uri": target}
        return call(
            self.tollhouse.base_url, "/-/auth", "HEAD", {self.dialect + k: v for k, v in asks.items()} | dict(headers)
        )

    # Who comes.

    def private(self, token):
        return ("PRIVATE-TOKEN", token)

    def bearer(self, token):
        return ("Authorization", f"Bearer {token}")

    def cookie(self):
        return ("Cookie", f"_gitlab_session={self.session}")

    def sign_in(self):
        browser = Browser(self.base_url)
        answer = browser.sign_in(self.facts.user_login, self.facts.user_password)
        expect("status of the sign-in", answer.status, 302)
        self.session = browser.cookies["_gitlab_session"]

    def grant(self, scope):
        who = {"username": self.facts.user_login, "password": self.facts.user_password}
        client = {"client_id": self.facts.oauth_client_id, "client_secret": self.facts.oauth_client_secret}
        return self.post("/oauth/token", grant_type="password", scope=scope, **who, **client)["access_token"]

    def post(self, path, **form):
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = call(self.tollhouse.base_url, path, "POST", headers, urlencode(form))
        expect(f"status ({answer.text})", answer.status, 200)
        return json.loads(answer.text)

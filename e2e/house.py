"""What the checks share: a server of one's own, requests that do nothing by themselves, one line per check."""

import html
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlencode, urlsplit

BINARY = os.environ["E2E_BINARY"]
PARTS = Path(os.environ["E2E_PARTS"])


def out_of_time(*_):
    raise SystemExit("out of time")


# The default would end this process without running the `finally`s that end its servers.
signal.signal(signal.SIGTERM, out_of_time)


class Skip(Exception):
    """Cannot be checked on this machine."""


class check:
    """`with check("name"):` prints one line; a failure is told, and the next check runs all the same."""

    def __init__(self, name):
        self.name = name

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is None:
            print(f"ok {self.name}", flush=True)
        elif kind is Skip:
            print(f"skip {self.name}: {error}", flush=True)
        else:
            here = [f for f in traceback.extract_tb(trace) if "/e2e/" in f.filename and f.filename != __file__][-1]
            why = " ".join(str(error).split())[:400] or here.line
            name = "" if kind is AssertionError else f"{kind.__name__}: "
            print(f"not ok {self.name}: {name}{why} ({Path(here.filename).name}:{here.lineno})", flush=True)
        return kind is None or issubclass(kind, Exception)


def expect(what, got, wanted):
    assert got == wanted, f"{what}: expected {wanted!r}, got {got!r}"


def until(done, what, seconds=20):
    """Ask `done` until it says something true, and give that."""
    end = time.monotonic() + seconds
    while not (answer := done()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return answer


class folder:
    """A temporary folder that is nobody else's; the server insists on that."""

    def __enter__(self):
        self.path = Path(tempfile.mkdtemp(prefix="tollhouse-e2e-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


# --- Requests ----------------------------------------------------------------------------------------------------


def call(base_url, path, method="GET", headers={}, body=None, seconds=20):
    """One request on a connection of its own; redirects are not followed and no status is an error."""
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=seconds)
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return SimpleNamespace(status=answer.status, headers=answer.headers, text=text)
    finally:
        connection.close()


def with_token(token):
    return {"PRIVATE-TOKEN": token}


# What a client sees when the server is killed under it.
BROKEN = (ConnectionError, http.client.HTTPException, TimeoutError)


class Browser:
    """As much of a browser as a form needs: it keeps cookies and brings the page's token along."""

    def __init__(self, base_url):
        self.base_url = base_url
        self.cookies = {}

    def ask(self, path, method="GET", form=None, **more):
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {"Cookie": cookies, **{name.replace("_", "-"): value for name, value in more.items()}}
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.base_url}
        answer = call(self.base_url, path, method, headers, form and urlencode(form))
        for line in answer.headers.get_all("Set-Cookie", []):
            name, value = line.split(";")[0].split("=", 1)
            self.cookies[name] = value
            if not value or "max-age=0" in line.lower():
                del self.cookies[name]
        return answer

    def submit(self, page, path, **fields):
        text = self.ask(page).text
        field = re.search(r'<input[^>]*name="authenticity_token"[^>]*>', text)
        assert field, f"no authenticity_token on {page}"
        token = html.unescape(re.search(r'value="([^"]*)"', field[0])[1])
        return self.ask(path, "POST", {"authenticity_token": token, **fields})

    def sign_in(self, login, password):
        return self.submit("/users/sign_in", "/users/sign_in", **{"user[login]": login, "user[password]": password})

    def sign_out(self):
        return self.submit("/", "/users/sign_out")


# --- Servers -----------------------------------------------------------------------------------------------------


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def run(*arguments, cwd, seconds=30):
    """Run a command of the binary that is meant to end by itself."""
    command = [BINARY, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds)


class Server:
    """A running binary. It is ended by its own process id, whatever becomes of the check."""

    process = None
    base_url = None
    # A file descriptor in place of the file `stderr`.
    stderr = None

    def __init__(self, cwd, *arguments, under=(), env={}):
        self.cwd = Path(cwd)
        self.command = [*under, BINARY, *map(str, arguments)]
        self.env = {**os.environ, **env}

    def start(self):
        with open(self.cwd / "stdout", "wb") as out, open(self.cwd / "stderr", "ab") as err:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=out, stderr=self.stderr or err
            )
        self.base_url = until(lambda: self.still_running() and self.find_url(), "the address of the server")
        until(lambda: self.still_running() and self.ready(), "the server to be ready")

    def find_url(self):
        return self.base_url

    def ready(self):
        try:
            return call(self.base_url, "/-/readiness").status == 200
        except BROKEN:
            return False

    def still_running(self):
        code = self.process.poll()
        assert code is None, f"the server ended with {code}: {self.errors()[-300:]}"
        return True

    def output(self):
        return (self.cwd / "stdout").read_text(errors="replace")

    def errors(self):
        return (self.cwd / "stderr").read_text(errors="replace")

    def end(self, how=signal.SIGTERM, seconds=30):
        self.process.send_signal(how)
        return self.process.wait(seconds)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process and self.process.poll() is None:
            try:
                self.end(seconds=10)
            except subprocess.TimeoutExpired:
                self.end(signal.SIGKILL)


class Demo(Server):
    """`tollhouse demo --json`; `facts` is what it says about itself on its first line."""

    def __init__(self, cwd, *more, **how):
        super().__init__(cwd, "demo", "--listen", "127.0.0.1:0", "--json", *more, **how)

    def find_url(self):
        first, end_of_line, _ = self.output().partition("\n")
        if not end_of_line:
            return None
        self.facts = SimpleNamespace(**json.loads(first))
        return self.facts.base_url


class Serve(Server):
    """`tollhouse serve` on the database that a demo made, on one address over all restarts."""

    def __init__(self, cwd, database, **how):
        port = free_port()
        self.base_url = f"http://127.0.0.1:{port}"
        super().__init__(
            cwd, "serve", "--demo-data", "--database", f"sqlite:{database}", "--listen", f"127.0.0.1:{port}", **how
        )


def kept_demo(cwd):
    """Make a demo database and keep it: gives its path and the facts about it."""
    database = Path(cwd) / "tollhouse.db"
    with Demo(cwd, "--database", f"sqlite:{database}") as demo:
        expect("exit code of the demo", demo.end(), 0)
        return database, demo.facts

"""What the clients in Python share: the facts of a running demo, a browser, and a line of JSON for each step."""

import json
import sys
from types import SimpleNamespace

import browser

facts = SimpleNamespace(**json.load(sys.stdin))
SCOPES = "openid profile email read_user"


def tell(step, how, why=""):
    print(json.dumps({"step": step, "how": how, "why": " ".join(str(why).split())[:300]}), flush=True)


class step:
    """`with step("token"):` tells how that went. A failure ends the client only if nothing goes on without the step."""

    def __init__(self, name, needed=False):
        self.name, self.needed = name, needed

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is None:
            tell(self.name, "ok")
            return False
        tell(self.name, "failed", f"{kind.__name__}: {error}")
        if self.needed:
            sys.exit(1)
        return issubclass(kind, (Exception, SystemExit))


def lacks(*names):
    """What the library has no call for."""
    for name in names:
        tell(name, "lacks")


def sign_in(url):
    return browser.walk(url, facts.user_login, facts.user_password)


def refused(error, call):
    try:
        call()
    except error:
        return
    raise AssertionError("it was let through")


def expect(what, got, wanted):
    assert got == wanted, f"{what}: expected {wanted!r}, got {got!r}"

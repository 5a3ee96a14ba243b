"""What must hold behind nginx and Caddy with the example files. Each probe is quick, so that all of them can be asked
again for every line that is taken out of an example."""

import json
import re
import time
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

from house import expect
from targets import reads_as_guarded
from wire import exchange

PROBES = []


def probe(name, *rules):
    """A probe says which rules it is for; they are asked first when a line is gone that cites one of these."""

    def keep(run):
        PROBES.append(SimpleNamespace(name=name, rules=rules, run=run))

    return keep


# What each kind of server makes of a name of a header: what is neither letter nor digit is one to some.
def folded(name):
    return re.sub(r"[^a-z0-9]", "-", name.lower())


def seen(reached, name):
    """Every value that a server could take for that of this header."""
    return [value for known, value in reached.headers if folded(known) == folded(name)]


IDENTITY = "User-Id User Email Administrator Scopes Credential Place Application Rule".split()
NOBODY = {name: "-" for name in IDENTITY} | {"Administrator": "false"}


def expect_identity(reached, **some):
    """Every header of the identity, once, and these of them with these values."""
    for name in IDENTITY:
        values = seen(reached, f"X-Tollhouse-{name}")
        assert len(values) == 1 and values[0], f"X-Tollhouse-{name} arrived as {values}"
    for name, value in some.items():
        name = f"X-Tollhouse-{name.replace('_', '-')}"
        expect(name, seen(reached, name), [value])


# --- Who passes --------------------------------------------------------------------------------------------------


@probe("nothing shown: what is for anyone passes as nobody, the rest is 401", "T3")
def _(gate):
    expect_identity(gate.passes("GET", "/public/x"), **NOBODY | {"Rule": "public"})
    for target in "/admin/x", "/x", "/", "/team/x", "/profile", "/query":
        gate.refused(401, "GET", target)


@probe("a personal access token passes as its owner, in PRIVATE-TOKEN and as Bearer", "T2")
def _(gate):
    who = {"User_Id": gate.user_id, "User": gate.facts.user_login, "Administrator": "false", "Application": "-"}
    who |= {"Credential": "personal_access_token", "Rule": "everything-else", "Email": gate.email}
    expect_identity(gate.passes("GET", "/x", gate.private(gate.facts.user_token)), Place="private_token", **who)
    expect_identity(gate.passes("GET", "/x", gate.bearer(gate.facts.user_token)), Place="authorization", **who)


@probe("an OAuth token passes as its owner, with its scopes and its application")
def _(gate):
    reached = gate.passes("GET", "/x", gate.bearer(gate.reading))
    who = {"User": gate.facts.user_login, "Credential": "oauth_access_token", "Scopes": "read_api"}
    expect_identity(reached, Application=gate.facts.oauth_client_id, **who)
    gate.refused(403, "POST", "/x", gate.bearer(gate.reading), body=b"x")
    gate.refused(403, "GET", "/x", gate.bearer(gate.profile))
    expect_identity(gate.passes("GET", "/profile", gate.bearer(gate.profile)), Scopes="read_user")


@probe("a session passes as its owner, on a write with the page's own Origin or Sec-Fetch-Site")
def _(gate):
    who = {"User": gate.facts.user_login, "Credential": "session", "Place": "session", "Scopes": "*"}
    expect_identity(gate.passes("GET", "/x", gate.cookie()), **who)
    for own in ("Origin", gate.base_url), ("Sec-Fetch-Site", "same-origin"):
        expect_identity(gate.passes("POST", "/x", gate.cookie(), own, body=b"x"), **who)
    gate.refused(401, "POST", "/x", gate.cookie(), body=b"x")
    for foreign in "http://elsewhere.test", "null", f"https://{gate.site}", "http://127.0.0.1":
        gate.refused(401, "POST", "/x", gate.cookie(), ("Origin", foreign), body=b"x")
        gate.refused(401, "GET", "/x", gate.cookie(), ("Origin", foreign))


@probe("administrators pass where they are asked for, and nobody else")
def _(gate):
    expect_identity(
        gate.passes("GET", "/admin/x", gate.private(gate.facts.admin_token)), Administrator="true", Rule="admin"
    )
    for target in "/admin/x", "/admin", "/admin/", "/admin?x", "/open/admin/x", "/open/admin":
        gate.refused(403, "GET", target, gate.private(gate.facts.user_token))
        gate.refused(403, "GET", target, gate.cookie())


@probe("members pass from their level on")
def _(gate):
    expect_identity(gate.passes("GET", "/team/x", gate.private(gate.facts.user_token)), Rule="team")
    gate.refused(403, "GET", "/owners/x", gate.private(gate.facts.user_token))


@probe("what is bad is refused everywhere, also where nothing would have been enough")
def _(gate):
    for bad in (
        gate.private("glpat-nobody"),
        gate.bearer("nonsense"),
        gate.bearer(gate.revoked),
        gate.private(gate.revoked),
    ):
        for target in "/x", "/public/x", "/admin/x":
            gate.refused(401, "GET", target, bad)
    # A session that is none is nobody.
    none, other, live = "_gitlab_session=" + "0" * 32, "_gitlab_session=" + "1" * 32, gate.cookie()[1]
    for cookie in none, "_gitlab_session=", f"{none}; {other}":
        gate.refused(401, "GET", "/x", ("Cookie", cookie))
    # One that ended beside the live one changes nothing (T9).
    for cookie in f"{none}; {live}", f"{live}; {none}", f"{live}; {live}":
        gate.passes("GET", "/x", ("Cookie", cookie))


@probe("a refusal says what Tollhouse said of it, and is no redirect for a program")
def _(gate):
    writing = ("POST", gate.bearer(gate.reading))
    for method, who in ("GET", gate.bearer(gate.revoked)), ("GET", gate.private("wrong")), writing, ("GET", ("X", "y")):
        told = gate.told(method, "/x", who)
        answer = gate.refused(told.status, method, "/x", who, body=b"x" if method == "POST" else None)
        expect("WWW-Authenticate", answer.headers.all("WWW-Authenticate"), told.headers.get_all("WWW-Authenticate", []))
    for headers in [], [("Accept", "application/json")], [("Accept", "*/*")], [gate.bearer("nonsense")]:
        answer = gate.refused(401, "GET", "/x", *headers)
        expect("Location", answer.headers.all("Location"), [])
    for method in "POST", "PUT", "DELETE":
        answer = gate.refused(401, method, "/x", ("Accept", "text/html"))
        expect("Location", answer.headers.all("Location"), [])


def expect_told_why(gate, status, reason, method, target, *headers, **more):
    """The client hears what Tollhouse told the proxy, and the API hears nothing."""
    told = gate.told(method, target, *headers)
    expect("reason that Tollhouse gives", told.headers["X-Tollhouse-Reason"], reason)
    answer = gate.refused(status, method, target, *headers, **more)
    for name in "WWW-Authenticate", "Retry-After":
        expect(name, answer.headers.all(name), told.headers.get_all(name, []))
    expect("reason", answer.headers.all("X-Tollhouse-Reason"), [reason])
    expect("kept by caches", answer.headers.all("Cache-Control"), ["no-store"])
    request = answer.headers.one("X-Request-Id")
    assert re.fullmatch(r"[0-9A-Z]{26}", request), request
    phrase = {401: "Unauthorized", 403: "Forbidden", 503: "Service Unavailable"}[status]
    if any("text/html" in value for name, value in headers if name == "Accept"):
        expect("type", answer.headers.all("Content-Type"), ["text/plain; charset=utf-8"])
        expect("body", answer.body.decode().strip(), f'{status} {phrase} ({reason}), request "{request}"')
    elif method != "HEAD":
        expect("type", answer.headers.all("Content-Type"), ["application/json"])
        body = {"message": f"{status} {phrase}", "reason": reason, "request_id": request}
        expect("body", json.loads(answer.body), body)


@probe("a refusal tells the client why, in headers and in a body, and tells the API nothing")
def _(gate):
    token, html = gate.private(gate.facts.user_token), ("Accept", "text/html")
    for target in "/x", "/x.html", "/x.json":
        expect_told_why(gate, 401, "unauthorized", "GET", target)
        expect_told_why(gate, 401, "unauthorized", "HEAD", target)
    expect_told_why(gate, 401, "unauthorized", "GET", "/public/x", gate.private("wrong"), html)
    expect_told_why(gate, 401, "revoked", "GET", "/x", gate.bearer(gate.revoked))
    expect_told_why(gate, 403, "insufficient_scope", "POST", "/x", gate.bearer(gate.reading), body=b"x")
    expect_told_why(gate, 403, "insufficient_scope", "GET", "/x", gate.bearer(gate.profile), html)
    expect_told_why(gate, 403, "forbidden", "GET", "/admin/x", token)
    expect_told_why(gate, 403, "forbidden", "GET", "/admin/x", token, html)
    expect_told_why(gate, 403, "forbidden", "GET", "/owners/x", token)
    expect_told_why(gate, 403, "crooked_path", "GET", "/x/%61", token)
    for method, target, *who in ("GET", "/public/x"), ("GET", "/x", token), ("GET", "/x", gate.cookie()):
        reached = gate.passes(method, target, *who)
        for name in "X-Tollhouse-Reason", "X-Request-Id", "WWW-Authenticate":
            expect(name, seen(reached, name), [])


@probe("a person is sent to sign in, and the address has nothing of theirs but where they were going", "T3")
def _(gate):
    target = "/reports/2026?of=a%26b&x=%2F"
    for more in [], [("Sec-Fetch-Mode", "navigate")], [("Cookie", "theme=dark")]:
        answer = gate.refused(302, "GET", target, ("Accept", "text/html,application/xhtml+xml;q=0.9"), *more)
        location = urlsplit(answer.headers.one("Location"))
        expect("origin", f"{location.scheme}://{location.netloc}", gate.base_url)
        expect("kept by caches", answer.headers.all("Cache-Control"), ["no-store"])
        expect("path", location.path, "/users/sign_in")
        expect("query", parse_qs(location.query), {"return_to": [target]})
    answer = gate.refused(401, "GET", target, ("Accept", "text/html"), ("Sec-Fetch-Mode", "cors"))
    expect("Location", answer.headers.all("Location"), [])


@probe("what the API itself refuses goes to the client as it is")
def _(gate):
    answer = gate.ask("GET", "/public/refuses", ("Accept", "text/html"))
    assert answer.reached
    expect("status", answer.status, 401)
    expect("WWW-Authenticate", answer.headers.all("WWW-Authenticate"), ['Basic realm="api"'])
    for name in "Location", "X-Tollhouse-Reason":
        expect(name, answer.headers.all(name), [])
    expect("body", answer.body, b"said by the API")
    answer = gate.ask("GET", "/public/breaks")
    expect("status and body", (answer.status, answer.body), (500, b"said by the API"))


# --- What was asked (T1) -----------------------------------------------------------------------------------------


@probe("the rule sees the method of the client, not that of the question", "T1")
def _(gate):
    token = gate.private(gate.facts.user_token)
    expect_identity(gate.passes("GET", "/methods"), Rule="methods-read")
    expect_identity(gate.passes("HEAD", "/methods"), Rule="methods-read")
    gate.refused(401, "POST", "/methods", body=b"x")
    expect_identity(gate.passes("POST", "/methods", token, body=b"x"), Rule="methods-write")
    for method in "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND":
        gate.refused(401, method, "/methods")
        gate.refused(403, method, "/methods", token)


@probe("each question says everything once: method, scheme, host, target and the client's address", "T1", "T14")
def _(gate):
    spoofs = [(gate.dialect + name, "x") for name in ("Method", "Proto", "Host", "Uri", "For")]
    for headers in [], spoofs, spoofs + spoofs:
        [asked] = gate.ask("PUT", "/x/%C3%A9?a=b&c=%2F", *headers, body=b"x").questions
        wanted = {"Method": "PUT", "Proto": "http", "Host": gate.site, "Uri": "/x/%C3%A9?a=b&c=%2F", "For": "127.0.0.1"}
        for name, value in wanted.items():
            expect(gate.dialect + name, asked.headers.all(gate.dialect + name), [value])
        expect("the question", asked.line.split(" ")[:2], ["HEAD", "/-/auth"])
        expect("lengths of a body", [v for v in asked.headers.all("Content-Length") if v != "0"], [])
        expect("its coding", asked.headers.all("Transfer-Encoding"), [])


ADDRESS, ELSEWHERE = "203.0.113.77", "elsewhere.example.test"
SPOOFS = {
    "X-Original-Method": "GET",
    "X-Original-Proto": "https",
    "X-Original-Host": ELSEWHERE,
    "X-Original-Uri": "/public/spoofed",
    "X-Original-For": ADDRESS,
    "X-Original-URL": "/admin/spoofed",
    "X-Rewrite-URL": "/admin/spoofed",
    "X-Forwarded-Method": "GET",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": ELSEWHERE,
    "X-Forwarded-Uri": "/public/spoofed",
    "X-Forwarded-For": ADDRESS,
    "X-Forwarded-Port": "443",
    "X-Forwarded-Prefix": "/admin",
    "X-Forwarded-Path": "/admin",
    "X-Forwarded-Ssl": "on",
    "X-Forwarded-Scheme": "https",
    "X-Forwarded-Protocol": "https",
    "X-Forwarded-Server": ELSEWHERE,
    "X-Forwarded-User": "root",
    "X-Forwarded-Email": "root@example.test",
    "X-Forwarded-Groups": "admin",
    "X-Forwarded-Preferred-Username": "root",
    "Forwarded": f"for={ADDRESS};host={ELSEWHERE};proto=https",
    "X-Real-IP": ADDRESS,
}


@probe("what a client says of its own way changes nothing", "T1", "T7")
def _(gate):
    # Caddy can be told to take away all of a kind, nginx cannot.
    more = {"X-Forwarded-Anything": "x", "X-Original-Anything": "x"} if gate.kind.name == "caddy" else {}
    for name, value in (SPOOFS | more).items():
        for spoof in [(name, value)], [(name.lower(), value)] * 2, [(name.replace("-", "_"), value)]:
            gate.refused(401, "GET", "/admin/x", *spoof)
            gate.refused(401, "POST", "/methods", *spoof, body=b"x")
            reached = gate.passes("GET", "/public/x", *spoof)
            expect_identity(reached, **NOBODY | {"Rule": "public"})
            assert value not in seen(reached, name), f"{spoof}: it reached the API"


@probe("the API hears of the client's address and of its own name from the proxy alone", "T1", "T7")
def _(gate):
    reached = gate.passes("GET", "/public/x", *SPOOFS.items())
    wanted = {"Host": gate.site, "X-Forwarded-Host": gate.site, "X-Forwarded-Proto": "http"}
    for name, value in (wanted | {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1"}).items():
        expect(name, seen(reached, name), [value])


@probe("Tollhouse hears of the client's address from the proxy alone, where people sign in", "T14")
def _(gate):
    for spoof in [("X-Forwarded-For", "203.0.113.9")], [("x-forwarded-for", "203.0.113.9")] * 2:
        [asked] = gate.ask("GET", "/api/v4/projects", *spoof).heard
        said = [value.strip() for line in seen(asked, "X-Forwarded-For") for value in line.split(",")]
        expect("the last X-Forwarded-For", said[-1:], ["127.0.0.1"])


@probe("the client does not choose the port that the API and Tollhouse hear of", "T1", "T12")
def _(gate):
    for host in "127.0.0.1:9999", "127.0.0.1:80", "127.0.0.1", f"{gate.site}0":
        for target in "/public/x", f"http://{host}/public/x":
            answer = gate.ask("GET", target, host=host)
            assert answer.reached or answer.status in (400, 421), answer.status
            if answer.reached:
                for name in "Host", "X-Forwarded-Host":
                    expect(f"{name} after {host}", seen(answer.reached, name), [gate.site])
        for asked in gate.ask("GET", "/users/sign_in", host=host).heard:
            expect(f"Host at Tollhouse after {host}", seen(asked, "Host"), [gate.site])


@probe("CONNECT and TRACE are answered by the proxy", "T1")
def _(gate):
    for method in "CONNECT", "TRACE":
        for target in "/public/x", "/x", gate.site, f"http://{gate.site}/public/x":
            for who in [], [gate.private(gate.facts.user_token)], [("Upgrade", "websocket"), ("Connection", "Upgrade")]:
                answer = gate.ask(method, target, *who)
                # To Caddy, the second target is another host.
                assert answer.status in (400, 405, 421), f"{method} {target}: {answer.status}"
                assert not answer.reached and not answer.questions and not answer.heard, f"{method} {target}"


@probe("another host is nobody's here, also in an absolute target", "T12")
def _(gate):
    for host in ELSEWHERE, "localhost", "", "127.0.0.2", "a.127.0.0.1":
        answer = gate.ask("GET", "/public/x", host=host)
        assert answer.status in (400, 421), answer.status
        assert not answer.reached, host
    for target in f"http://{ELSEWHERE}/x", f"http://{ELSEWHERE}/admin/x":
        gate.refused(421, "GET", target)
    for host in ELSEWHERE, gate.site:
        gate.refused(401, "GET", f"http://{gate.site}/x", host=host)
        reached = gate.ask("GET", f"http://{gate.site}/public/x", host=host).reached
        assert reached is None or (reached.target, seen(reached, "Host")) == ("/public/x", [gate.site]), vars(reached)
    answer = gate.ask("GET", "/public/x", host=ELSEWHERE, version="HTTP/1.0")
    assert answer.status in (400, 421) and not answer.reached, answer.status


@probe("the API reads the very target that was judged", "T8")
def _(gate):
    for target in (
        "/public/a%21b",
        "/public/%C3%A9?x=%2F&y=/../z",
        "/public/?/admin/x",
        "/public/x?",
        "/public/~a.b!'()*",
    ):
        reached = gate.passes("GET", target)
        expect("target", reached.target.removesuffix("?"), target.removesuffix("?"))


@probe("nobody but the proxy asks the question", "T3")
def _(gate):
    asks = {"Method": "GET", "Proto": "http", "Host": gate.site, "Uri": "/public/x", "For": ADDRESS}
    asks = [(gate.dialect + name, value) for name, value in asks.items()]
    for token in [], [gate.private(gate.facts.user_token)]:
        for target in "/-/auth", "/-/auth?x", "/-/user_settings/../auth", "/assets/../-/auth", "/-/./auth":
            answer = gate.ask("GET", target, *asks, *token)
            assert answer.status in (401, 403, 404) or answer.reached, f"{target}: {answer.status}"


@probe("the API cannot have the question asked", "T3")
def _(gate):
    answer = gate.ask("GET", "/public/sends-elsewhere")
    expect("status and body", (answer.status, answer.body), (200, b"said by the API"))
    expect("questions", len(answer.questions), 1)


@probe("only what Tollhouse says lets anybody in: another answer than its 204 does not", "T3")
def _(gate):
    # nginx takes every 2xx for a yes; Tollhouse has no other.
    no = [302, 401, 403, 404, 500, 503, *([200, 201, 206] if gate.kind.name == "caddy" else [])]
    for status in no:
        for target, who in ("/public/x", []), ("/x", [gate.private(gate.facts.user_token)]):
            gate.relay.instead = status
            answer = gate.ask("GET", target, *who)
            expect("asked for it", gate.relay.instead, None)
            assert not answer.reached, f"after {status} it reached the API"


@probe("the paths of Tollhouse lead to Tollhouse, and no other way round it", "T8")
def _(gate):
    expect("the sign-in page", gate.ask("GET", "/users/sign_in").status, 200)
    expect("the API of Tollhouse", gate.ask("GET", "/api/v4/user", gate.private(gate.facts.user_token)).status, 200)
    expect("the discovery document", gate.ask("GET", "/.well-known/openid-configuration").status, 200)
    projects = gate.ask("GET", "/-/user_settings/projects", gate.cookie())
    expect("the page of projects", (projects.status, projects.reached), (200, None))
    assert b'href="/"' not in projects.body, "a link of ours leads to the API behind"
    for target in (
        "/admin/..%2fusers/sign_in",
        "/oauth/../admin/x",
        "/assets/..%2f..%2fadmin/x",
        "/api/v4/%2e%2e/%2e%2e/admin/x",
    ):
        answer = gate.ask("GET", target)
        assert answer.status >= 300 and not answer.reached, f"{target}: {answer.status}"
    if gate.kind.name == "nginx":
        # Caddy compares paths after putting them straight, whatever it is told; Tollhouse then knows none like this.
        gate.refused(403, "GET", "//users/sign_in")


@probe("OPTIONS is judged like any method, unless the rule says that preflights pass")
def _(gate):
    asks = [("Origin", "http://elsewhere.test"), ("Access-Control-Request-Method", "POST")]
    gate.refused(401, "OPTIONS", "/x", *asks)
    gate.refused(401, "OPTIONS", "/preflight")
    gate.refused(401, "GET", "/preflight", *asks)
    expect_identity(gate.passes("OPTIONS", "/preflight", *asks), **NOBODY | {"Rule": "preflight"})
    # No browser shows a credential there; unjudged, it would reach the API.
    for shown in ("Authorization", "Basic YTpi"), gate.bearer("nonsense"), gate.private("wrong"), gate.cookie():
        gate.refused(401, "OPTIONS", "/preflight", *asks, shown)
    reached = gate.passes("OPTIONS", "/preflight", *asks, gate.bearer(gate.facts.user_token))
    expect_identity(reached, User_Id=gate.user_id)
    expect("Authorization", seen(reached, "Authorization"), [])
    # Caddy answers this by itself.
    assert not gate.ask("OPTIONS", "*").reached, "`OPTIONS *` reached the API"


def message(*lines, body=b"", line="POST /public/x HTTP/1.1"):
    return lambda site: b"\r\n".join([line.encode(), b"Host: " + site.encode(), *lines, b"", body])


INNER = b"GET /admin/x HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED, LENGTH = b"Transfer-Encoding: chunked", b"Content-Length: %d" % len(INNER)
SMUGGLED = [
    message(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\n" + INNER),
    message(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n" + INNER),
    message(LENGTH, CHUNKED, body=INNER),
    *(
        message(coding, body=b"0\r\n\r\n" + INNER)
        for coding in (CHUNKED, b"Transfer-Encoding : chunked", CHUNKED.upper())
    ),
    *(
        message(b"Content-Length: 0", b"Transfer-Encoding:" + coding, body=b"0\r\n\r\n" + INNER)
        for coding in (
            b" xchunked",
            b"\tchunked",
            b"\x0bchunked",
            b" chunked, identity",
            b" identity, chunked",
            b"\r\n chunked",
        )
    ),
    *(
        message(b"Content-Length: " + length, body=INNER)
        for length in (b"0", b"+0", b"-1", b"0x0", b"0, %d" % len(INNER), b"0 0")
    ),
    message(b"Content-Length: 0", LENGTH, body=INNER),
    message(LENGTH, b"Content-Length: 0", body=INNER),
    message(b"X: y\r\r\n" + INNER),
    message(b"X: y\n\n" + INNER),
    message(b"X: y\0\r\n\r\n" + INNER),
    message(LENGTH, body=INNER, line="GET /public/x HTTP/1.1"),
    message(LENGTH, body=INNER, line="GET /public/x HTTP/1.0"),
    message(b"Expect: 100-continue", LENGTH, body=INNER),
    message(body=INNER, line="GET /public/x HTTP/0.9"),
    message(body=INNER, line="GET /public/x\tHTTP/1.1"),
    message(body=INNER, line="GET /public/x HTTP/1.1 HTTP/1.1"),
    message(body=INNER, line="GET /public/x%20HTTP/1.1%0d%0aX:%20y HTTP/1.1"),
    message(body=INNER, line="CONNECT /admin/x HTTP/1.1"),
    message(body=INNER, line="PRI * HTTP/2.0"),
]


@probe("no second request comes along with one that passes")
def _(gate):
    since = len(gate.api.arrived)
    for smuggled in SMUGGLED:
        exchange(gate.port, smuggled(gate.site), seconds=0.3)
        gate.nothing_ambiguous()
    gate.passes("GET", "/public/x")
    for reached in gate.api.arrived[since:]:
        assert not reads_as_guarded(reached.target.encode("latin-1")), f"{reached.line} reached the API"


# --- Who it is (T2) ----------------------------------------------------------------------------------------------

SPELLINGS = """x-tollhouse-NAME X-Tollhouse-NAME X-TOLLHOUSE-NAME x_tollhouse_NAME X_Tollhouse_NAME X-Tollhouse_NAME
               X_Tollhouse-NAME x.tollhouse.NAME X-TollHouse-NAME x!tollhouse~NAME X-Tollhouse`NAME""".split()


@probe("an identity that the client sends never reaches the API, in no spelling", "T2")
def _(gate):
    token = gate.private(gate.facts.user_token)
    for spelling in SPELLINGS:
        names = ("User-Id", "1"), ("user_id", "1"), ("Administrator", "true"), ("User", ""), ("Role", "x"), ("Reason", "x")
        for name, value in names:
            spoof = spelling.replace("NAME", name), value
            for who, target, headers in (
                [(), "/public/x", [spoof]],
                [(token,), "/x", [spoof]],
                [(token,), "/x", [spoof] * 2],
            ):
                answer = gate.ask("GET", target, *who, *headers)
                if not answer.reached:
                    expect(f"status with {spoof[0]}", answer.status, 403)
                    continue
                expect_identity(answer.reached, Administrator="false", User_Id=gate.user_id if who else "-")
                for name in "Role", "Reason":
                    expect(f"values like {spoof[0]}", seen(answer.reached, f"X-Tollhouse-{name}"), [])


@probe("naming a header in Connection does not take it away", "T2")
def _(gate):
    names = [f"X-Tollhouse-{name}" for name in IDENTITY]
    names += [gate.dialect + name for name in ("Method", "Proto", "Host", "Uri", "For")]
    for named in [["close", *names], ["close", "X-Tollhouse-User-Id"], ["close", "Upgrade", *names]]:
        connection = "Connection", ", ".join(named)
        reached = gate.passes("GET", "/x", connection, gate.private(gate.facts.user_token))
        expect_identity(reached, User_Id=gate.user_id)
        # The API, or a proxy before it, would drop what is named there.
        expect("tokens in Connection", [v for v in seen(reached, "Connection") if v not in ("close", "keep-alive")], [])
        gate.refused(401, "GET", "/admin/x", connection)
        gate.refused(401, "POST", "/methods", connection, body=b"x")


# --- What the API does not get (T7) ------------------------------------------------------------------------------


@probe("cookies of Tollhouse do not reach the API, all others do", "T7")
def _(gate):
    ours = [
        gate.cookie()[1],
        "_tollhouse_return_0=1./x",
        "_tollhouse_return_1=y",
        "_tollhouse_notice=a",
        "_tollhouse_x=b",
    ]
    others = ["theme=dark", "session=abc", "my_gitlab_session=kept", "_gitlab_sessions=kept"]
    a, b, c, d = others
    for cookies in (
        ours[:1],
        ours,
        [a, *ours[:1]],
        [*ours[:1], a],
        [a, *ours, b, c, d],
        [*ours, a, b],
        [a, ours[0], b, ours[1], c, ours[2], d, ours[3]],
    ):
        for glue in "; ", ";", " ;  ":
            reached = gate.passes("GET", "/x", ("Cookie", glue.join(cookies)))
            kept = re.split(r"\s*;\s*", "; ".join(reached.headers.all("Cookie")))
            expect(f"cookies of {glue.join(cookies)}", [c for c in kept if c], [c for c in cookies if c in others])
    for many in [ours[1]] * 9, [a, *ours * 3, b], [a, "_gitlab_session=" + "0" * 32] * 7:
        reached = gate.passes("GET", "/public/x", ("Cookie", "; ".join(many)))
        left = " ".join(reached.headers.all("Cookie"))
        assert not re.search(r"\b_(gitlab_session|tollhouse_\w+)=", left), left
    for odd in (
        "_gitlab_session =x",
        "\t_gitlab_session=x",
        "\xc2\xa0_gitlab_session=x",
        "_gitlab_session\t=x",
        "a=b;;_gitlab_session=x",
    ):
        reached = gate.passes("GET", "/public/x", ("Cookie", odd))
        assert "gitlab_session" not in " ".join(reached.headers.all("Cookie")), reached.headers.all("Cookie")
    reached = gate.passes("GET", "/x", gate.cookie(), ("Cookie", "theme=dark"), ("Cookie", "_tollhouse_notice=a"))
    left = "; ".join(reached.headers.all("Cookie"))
    assert "theme=dark" in left and "_gitlab_session" not in left and "_tollhouse" not in left, left


@probe("PRIVATE-TOKEN does not reach the API", "T7")
def _(gate):
    for name in "PRIVATE-TOKEN", "Private-Token", "private-token":
        reached = gate.passes("GET", "/x", (name, gate.facts.user_token))
        expect("PRIVATE-TOKEN", seen(reached, "PRIVATE-TOKEN"), [])


@probe("the Authorization that decided does not reach the API, any other does", "T7")
def _(gate):
    reached = gate.passes("GET", "/x", gate.bearer(gate.facts.user_token))
    expect("Authorization", seen(reached, "Authorization"), [])
    basic = "Authorization", "Basic YTpi"
    for who in gate.private(gate.facts.user_token), gate.cookie():
        reached = gate.passes("GET", "/x", who, basic)
        expect("Authorization", seen(reached, "Authorization"), [basic[1]])
    expect("Authorization", seen(gate.passes("GET", "/public/x", basic), "Authorization"), [basic[1]])


@probe("a header that would make another method of it does not reach the API", "T7")
def _(gate):
    for name in "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override":
        for name in name, name.lower(), name.upper(), name.replace("-", "_"), name.replace("-", "."):
            reached = gate.passes("GET", "/methods", (name, "DELETE"))
            expect(name, seen(reached, name), [])
        for mark in "!#$%&'*+^`|~":
            answer = gate.ask("GET", "/methods", (name.replace("-", mark), "DELETE"))
            assert answer.reached or answer.status in (400, 403), answer.status
            if answer.reached:
                expect(f"{name} with {mark}", seen(answer.reached, name), [])


@probe("of two headers Authorization, or two PRIVATE-TOKEN, none passes", "T7")
def _(gate):
    token = gate.facts.user_token
    bearer, private = gate.bearer(token), gate.private(token)
    basic = "Authorization", "Basic YTpi"
    for two in [bearer, basic], [basic, bearer], [bearer, bearer], [private, private], [basic, private, basic]:
        for target in "/x", "/public/x":
            answer = gate.ask("GET", target, *two)
            assert answer.status in (400, 403) and not answer.reached, f"{two}: {answer.status}"


@probe("its log holds no credential, whatever goes wrong", "T30")
def _(gate):
    logs, token = gate.logs(), gate.facts.user_token
    for target in f"/query?private_token={token}", f"/query?private_token={token}&breaks-off", "/x?breaks-off":
        answer = gate.ask("GET", target, gate.private(token), gate.cookie())
        assert answer.status in (200, 502), answer.status
    # It may write after it has answered.
    time.sleep(0.05)
    gate.expect_no_credential_in(logs.text())


@probe("a credential in the query counts only where a rule says so")
def _(gate):
    gate.refused(401, "GET", f"/x?private_token={gate.facts.user_token}")
    reached = gate.passes("GET", f"/query?private_token={gate.facts.user_token}")
    expect_identity(reached, Place="query", User_Id=gate.user_id)


# --- Bodies and upgrades -----------------------------------------------------------------------------------------


@probe("a body goes to the API whole, and never with the question")
def _(gate):
    token = gate.private(gate.facts.user_token)
    for size in 0, 1, 3_000_000:
        body = b"x" * size
        expect("body", gate.passes("POST", "/x", token, body=body).body == body, True)
    chunked = ("Transfer-Encoding", "chunked"), b"5\r\nhello\r\n0\r\n\r\n"
    expect("body", gate.passes("POST", "/x", token, chunked[0], body=chunked[1]).body, b"hello")
    gate.refused(401, "POST", "/x", chunked[0], body=chunked[1])
    for _ in range(8):
        gate.refused(401, "POST", "/x", body=b"GET /admin/x HTTP/1.1\r\n\r\n")
        expect("body", gate.passes("POST", "/x", token, body=b"y" * 100).body, b"y" * 100)


@probe("a WebSocket passes for who may, not from a foreign page with somebody's session", "T2")
def _(gate):
    for who in [gate.private(gate.facts.user_token)], [gate.cookie(), ("Origin", gate.base_url)]:
        answer = gate.upgrade("/x", "websocket", *who)
        expect("status and echo", (answer.status, answer.echoed), (101, True))
        expect("Connection", [value.lower() for value in seen(answer.reached, "Connection")], ["upgrade"])
        expect_identity(answer.reached, User_Id=gate.user_id)
    for who in [], [gate.cookie(), ("Origin", "http://elsewhere.test")], [gate.cookie(), ("Origin", "null")]:
        answer = gate.upgrade("/x", "websocket", *who)
        expect("status", answer.status, 401)
        assert not answer.reached, "it reached the API"


@probe("no other upgrade reaches the API, where it would be a way past the question", "T3")
def _(gate):
    for to in "h2c", "h2c|websocket", "websocket|h2c", "h2c, websocket", "TLS/1.0", "websocketx":
        answer = gate.upgrade("/public/x", to, ("HTTP2-Settings", "AAMAAABkAAQCAAAAAAIAAAAA"))
        values = answer.reached.headers.all("Upgrade") if answer.reached else []
        assert answer.status != 101 or values == ["websocket"], f"{to}: {values}"
        assert not values or values == ["websocket"], f"{to}: {values}"

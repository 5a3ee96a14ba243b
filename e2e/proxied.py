"""What is checked of a proxy with its example file: the probes, a person's way to the sign-in page and back, hostile
targets, the example without each of its protecting lines, and Tollhouse gone."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, urlsplit

from gateway import EXAMPLES, Gate, Gatehouse, Logs, NotStarted, steady_port
from house import Browser, check, expect, folder, kept_demo
from probes import PROBES
from targets import generate, reads_as_guarded, reads_as_trimmed
from wire import Api, Relay

SEED = int(os.environ.get("E2E_SEED", "20261122"))
TARGETS = 2500

HTML = "text/html,application/xhtml+xml"


def hold(kind, mutants):
    """`mutants` are more ways to break the example than to leave out a line: what stands there, and what instead."""
    with folder() as cwd, folder() as place, Api() as api:
        place.chmod(0o711)
        database, facts = kept_demo(cwd)
        port = steady_port()
        site = f"127.0.0.1:{port}"

        def logs():
            return Logs(place)

        def front(change=lambda text: text):
            return kind(place, port, relay.port, api.port, change)

        with Gatehouse(cwd, database, site) as tollhouse, Relay(tollhouse.port) as relay:
            gate = Gate(kind, api, relay, port, facts, tollhouse, logs)
            with front():
                gate.prepare()
                sound = []
                for probe in PROBES:
                    with check(f"{kind.name}: {probe.name}"):
                        probe.run(gate)
                        sound.append(probe)
                sign_in_and_return(kind, gate)
                hostile_targets(kind, gate, "nobody")
                # What is for whoever is signed in is open then, and only what is for administrators is not.
                hostile_targets(kind, gate, "a user", gate.private(facts.user_token))
            without_each_line(kind, gate, front, sound, mutants)
            with check(f"{kind.name}: its log holds no credential, though the socket of the API is not there"):
                log = logs()
                with front(socket_gone):
                    for target in f"/query?private_token={facts.user_token}", "/x":
                        answer = gate.ask("GET", target, gate.private(facts.user_token), gate.cookie())
                        expect(f"status of {target}", answer.status, 502)
                gate.expect_no_credential_in(log.text())

        other = {"TOLLHOUSE_GATEWAY_DIALECT": "forwarded"}
        with Gatehouse(cwd, database, site, **other) as tollhouse, Relay(tollhouse.port) as relay:
            gate = Gate(kind, api, relay, port, facts, tollhouse, logs, dialect="X-Forwarded-")
            with check(f"{kind.name}: the other dialect, with every probe"), front(forwarded):
                gate.prepare()
                for probe in PROBES:
                    probe.run(gate)

        with Gatehouse(cwd, database, site) as tollhouse, Relay(tollhouse.port) as relay:
            gate = Gate(kind, api, relay, port, facts, tollhouse, logs)
            log = logs()
            with front():
                database_gone(gate, database)
            with front(hasty):
                tollhouse_gone(gate)
            with check(f"{kind.name}: its logs hold no credential, though Tollhouse was gone"):
                assert log.text(), "there are none"
                gate.expect_no_credential_in(log.text())


def hasty(text):
    """The example waits longer than a check wants to."""
    return re.sub(r"\b10s\b", "1s", text)


def socket_gone(text):
    """The API listens on a socket that is not there: a mistake that nginx takes more seriously than other ones."""
    return text.replace("127.0.0.1:9000", "unix:/nonexistent/api" if "upstream api" in text else "unix//nonexistent/api")


def forwarded(text):
    """The example in the other dialect: only the headers of the question are called otherwise."""
    return re.sub(r"X-Original-(\w+)(?=\s+[$\d{])", r"X-Forwarded-\1", text)


# --- To the sign-in page and back --------------------------------------------------------------------------------

ASTRAY = r"""
    //elsewhere.test ///elsewhere.test https://elsewhere.test https:///elsewhere.test http:elsewhere.test
    /\elsewhere.test \\elsewhere.test \/elsewhere.test /%5celsewhere.test /%2f%2felsewhere.test /%2felsewhere.test
    /..//elsewhere.test /.//elsewhere.test /x/..//elsewhere.test //elsewhere.test/%2f.. /;//elsewhere.test
    javascript:alert(1) data:text/html,x @elsewhere.test elsewhere.test .elsewhere.test ?//elsewhere.test
    #//elsewhere.test /%09/elsewhere.test /%0d%0aLocation:x
    """.split()
ASTRAY += ["/x\tx", "/\t/elsewhere.test", "\t//elsewhere.test", " //elsewhere.test", "/ /elsewhere.test", "/x\0", ""]
ASTRAY += ["/\r\nLocation:http://elsewhere.test", "/x\r\nSet-Cookie:a=b", "/\u2028/elsewhere.test", "/\uff0felse"]


def sign_in_and_return(kind, gate):
    def person():
        return Browser(gate.base_url)

    def sign_in_at(browser, location):
        form = {"user[login]": gate.facts.user_login, "user[password]": gate.facts.user_password}
        return browser.submit(location.removeprefix(gate.base_url), "/users/sign_in", **form)

    with check(f"{kind.name}: a person signs in on the way, comes back to where they were going, and is known there"):
        target = "/reports/2026?of=a%26b&x=%2F#"[:-1]
        browser = person()
        answer = browser.ask(target, accept=HTML)
        expect("status", answer.status, 302)
        expect("kept by caches", answer.headers["Cache-Control"], "no-store")
        answer = sign_in_at(browser, answer.headers["Location"])
        expect("status", answer.status, 302)
        expect("way back", answer.headers["Location"].removeprefix(gate.base_url), target)
        since = len(gate.api.arrived)
        expect("status there", browser.ask(target, accept=HTML).status, 200)
        [reached] = gate.api.arrived[since:]
        expect("who came", reached.headers.all("X-Tollhouse-User"), [gate.facts.user_login])
        expect("cookies", "".join(reached.headers.all("Cookie")), "")

        # Somebody who is signed in is sent on at once.
        answer = browser.ask(f"/users/sign_in?return_to={quote(target, safe='')}")
        expect("status", answer.status, 302)
        expect("way", answer.headers["Location"].removeprefix(gate.base_url), target)

        # After signing out the same session is nobody.
        gate.session = browser.cookies["_gitlab_session"]
        browser.submit("/-/user_settings/password/edit", "/users/sign_out")
        gate.refused(401, "GET", "/x", gate.cookie())
        gate.sign_in()

    with check(f"{kind.name}: {len(ASTRAY)} ways to be sent elsewhere after signing in lead home"):
        # Hashing a password takes its time; a person who is signed in is judged the same way, and at once.
        signed_in, browsers = person(), [person() for _ in range(3)]
        sign_in_at(signed_in, "/users/sign_in")

        def land(browser, astray, location):
            answer = location(browser, f"/users/sign_in?return_to={quote(astray, safe='')}")
            if answer.status == 400 and "\0" in astray:
                return
            expect(f"status after {astray!r}", answer.status, 302)
            to = answer.headers["Location"]
            assert re.fullmatch(rf"(?:{re.escape(gate.base_url)})?/(?![/\\])[!-~]*", to), f"{astray!r} led to {to!r}"
            assert "elsewhere" not in urlsplit(to).netloc, f"{astray!r} led to {to!r}"
            expect("headers of its own", answer.headers.get_all("Location"), [to])

        for astray in ASTRAY:
            land(signed_in, astray, lambda browser, path: browser.ask(path))
        for browser, astray in zip(browsers, ASTRAY[::10]):
            land(browser, astray, sign_in_at)


# --- Hostile targets ---------------------------------------------------------------------------------------------


def hostile_targets(kind, gate, who, *shown):
    targets = list(generate(SEED, TARGETS, gate.site))
    assert len({target for target, _ in targets}) >= 2000
    since = len(gate.api.arrived)

    def send(pair):
        target, good = pair
        method = "POST" if len(target) % 5 == 0 and not good else "GET"
        return target, good, gate.ask(method, target, *shown)

    with ThreadPoolExecutor(4) as several:
        answers = list(several.map(send, targets))
    arrived = gate.api.arrived[since:]
    judged = sum(bool(answer.questions) for _, _, answer in answers)
    summary = f"{len(answers)} targets of seed {SEED}, {judged} of them judged, {len(arrived)} reached the API"

    with check(f"{kind.name}, {who}: none that reached the API reads as a path for administrators ({summary}") as this:
        assert arrived, "none reached the API at all"
        trimmed = 0
        for reached in arrived:
            reading = reads_as_guarded(reached.target.encode("latin-1"))
            assert not reading, f"{reached.target!r} reached the API, and may be read as {reading!r}"
            trimmed += reads_as_trimmed(reached.target.encode("latin-1"))
        this.name += f"; {trimmed} do where names lose dots and spaces at their end, which is not promised)"

    with check(f"{kind.name}, {who}: of these, the harmless ones all passed, as they were sent"):
        for target, good, answer in answers:
            if good:
                expect(f"status of {target!r}", answer.status, 200)
                expect("target", answer.reached.target, target.decode("latin-1"))

    with check(
        f"{kind.name}, {who}: of these, the API read the very target that was judged, and no request more than was sent"
    ):
        expect("arrived twice, or of its own", len(arrived), sum(bool(answer.reached) for _, _, answer in answers))
        for target, _, answer in answers:
            if answer.reached:
                [asked] = answer.questions
                expect(f"judged of {target!r}", asked.headers.all("X-Original-Uri"), [answer.reached.target])
                expect(f"method of {target!r}", asked.headers.all("X-Original-Method"), [answer.reached.method])
            assert answer.status != 204, f"{target!r} was answered with 204"


# --- The example without each of its protecting lines ------------------------------------------------------------


def without_each_line(kind, gate, front, sound, mutants):
    text = (EXAMPLES / kind.file).read_text()
    lines = [(line, rule[1]) for line in text.splitlines(True) if (rule := re.search(r"# (T\d+)$", line.rstrip()))]
    assert len(lines) > 20, "the example's lines no longer say which rule they are for"
    ways = [(line, "", rule, f"without `{' '.join(line.split()[:-2])}`") for line, rule in lines]
    ways += [(old, new, rule, f"with `{' '.join(new.split())}`") for old, new, rule in mutants]
    for old, new, rule, what in ways:
        with check(f"{kind.name}, {what}, a probe fails ({rule})") as this:
            expect(f"how often it is in {kind.file}", text.count(old), 1)
            try:
                with front(lambda text: text.replace(old, new)):
                    failed = first_failure(gate, sound, rule)
            except NotStarted:
                failed = "it does not start"
            assert failed, "every probe passed"
            this.name += f": {failed}"


def first_failure(gate, probes, rule):
    for probe in sorted(probes, key=lambda probe: rule not in probe.rules):
        try:
            probe.run(gate)
        except Exception:
            return probe.name


# --- Tollhouse gone ----------------------------------------------------------------------------------------------

NAVIGATES = "Accept", HTML


def database_gone(gate, database):
    with check(f"{gate.kind.name}: with the database gone, who shows a token gets 503, and nobody passes"):
        # Nothing is in memory yet.
        for path in database, database.with_name(f"{database.name}-wal"):
            os.truncate(path, 0)
        for who in gate.facts.user_token, gate.facts.admin_token:
            for target in "/x", "/admin/x", "/public/x":
                answer = gate.refused(503, "GET", target, gate.private(who), NAVIGATES)
                expect("Location", answer.headers.all("Location"), [])
                told = gate.told("GET", target, gate.private(who))
                expect("Tollhouse's own answer", told.status, 503)
                expect("Retry-After", answer.headers.all("Retry-After"), told.headers.get_all("Retry-After", []))
                expect("reason", answer.headers.all("X-Tollhouse-Reason"), ["unavailable"])
                assert b"unavailable" in answer.body, answer.body


def tollhouse_gone(gate):
    """Neither yes nor no: also what is for anyone is refused then, as something that cannot be said just now."""
    known, administrator = gate.private(gate.facts.user_token), gate.private(gate.facts.admin_token)

    with check(f"{gate.kind.name}: with Tollhouse standing still, nobody passes, and nobody waits for long"):
        gate.tollhouse.process.send_signal(signal.SIGSTOP)
        try:
            for target in "/x", "/public/x":
                answer = gate.ask("GET", target, known)
                assert answer.status in (502, 503, 504) and not answer.reached, answer.status
        finally:
            gate.tollhouse.process.send_signal(signal.SIGCONT)

    with check(f"{gate.kind.name}: with Tollhouse gone, nobody passes, not even to what is for anyone"):
        gate.tollhouse.end(signal.SIGKILL)
        preflight = ("Origin", "http://x.test"), ("Access-Control-Request-Method", "PUT")
        query = f"/query?private_token={gate.facts.user_token}"
        asks = [("GET", target) for target in ("/x", "/admin/x", "/public/x", "/open/x", "/methods", query)]
        for method, target in [*asks, ("OPTIONS", "/preflight"), ("POST", "/x")]:
            for headers in [], [known], [administrator, NAVIGATES], preflight:
                answer = gate.ask(method, target, *headers)
                assert answer.status in (502, 503, 504), f"{target}: {answer.status}"
                assert not answer.reached, f"{target} reached the API"
                expect("Location", answer.headers.all("Location"), [])

"""What measures: wrk, `bench load`, pgbench, and rounds in turn."""

import json
import os
import subprocess
from collections import namedtuple
from pathlib import Path

from . import fill
from .sites import Broken, Postgres, Request, Site, basic, seed

ROOT = Path(__file__).resolve().parents[2]
SQLITE, POSTGRES = "SQLite", "PostgreSQL"
BOTH = [SQLITE, POSTGRES]
# As seeds have them.
USERS = 1000
# The application of our seeds, and what it asks for.
CLIENT, SECRET = "bench-client", "bench-client-secret"
CREDENTIALS = Request("POST", "/oauth/token", basic(CLIENT, SECRET), "grant_type=client_credentials&scope=api")
REFRESH = Request("POST", "/oauth/token", basic(CLIENT, SECRET), "grant_type=refresh_token&refresh_token={}")
REVOKE = Request("POST", "/oauth/revoke", basic(CLIENT, SECRET), "token={}")


CHAIN = """
local tokens = {}
for line in io.lines("FILE") do tokens[#tokens + 1] = line end
function request()
  return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=" .. table.remove(tokens, 1))
end
function response(_, _, body)
  tokens[#tokens + 1] = body:match('"refresh_token":"([^"]+)"')
end
"""


class Unmeasured(Exception):
    """Why there is no figure, and that this is as it should be."""


class Aim(namedtuple("Aim", "sign bound")):
    def met(self, value):
        return value >= self.bound if self.sign == "at least" else value <= self.bound

    def __str__(self):
        return f"{self.sign} {self.bound:g}"


def at_least(bound):
    return Aim("at least", bound)


def at_most(bound):
    return Aim("at most", bound)


# One line of the table. `aim`: instead of the row's; None for a figure that only says more.
Line = namedtuple("Line", "what figures note aim", defaults=["", ...])
Sample = namedtuple("Sample", "rate cpu")


def median(of):
    of = sorted(of)
    return (of[(len(of) - 1) // 2] + of[len(of) // 2]) / 2


def each(numerators, denominators):
    return [a / b for a, b in zip(numerators, denominators)]


def rates(samples):
    return [sample.rate for sample in samples]


def costs(samples):
    return [sample.cpu for sample in samples]


def per_second(ours, theirs):
    """With the spread of what it is compared with: a disk that is throttled shows there."""
    return f"{median(ours):,.0f} to {median(theirs):,.0f} ({min(theirs):,.0f}..{max(theirs):,.0f}) a second"


class Bench:
    def __init__(self, options, folder):
        self.folder, self.quick, self.before = folder, options.quick, options.before and Path(options.before).resolve()
        built = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
        self.binary, self.program = built / "tollhouse", built / "bench"
        self.count, self.seconds = (2, 1) if options.quick else (5, 2)
        # OAuth tokens to refresh or revoke; how many were taken, by site.
        self.spare, self.taken = (60_000 if options.quick else 200_000), {}
        self._sites, self._postgres = {}, None

    # What there is to measure on

    def postgres(self):
        self._postgres = self._postgres or Postgres(self.folder / "pg")
        return self._postgres

    def end(self):
        if self._postgres:
            self._postgres.end()

    def site(self, name, engine, plan=None, filled=None, binary=None):
        """Made when it is asked for first."""
        if (name, engine) not in self._sites:
            site = self._sites[name, engine] = Site(self, name, engine, binary or self.binary, plan)
            if filled:
                site.insert(filled(site))
        return self._sites[name, engine]

    def forget(self, site):
        self._sites = {key: other for key, other in self._sites.items() if other is not site}
        site.remove()

    def demo(self, engine):
        """The demo, with one OAuth token of its user that opens everything."""
        scopes = "openid profile email read_user"

        def filled(site):
            user = site.query(f"SELECT id FROM users WHERE username = '{site.facts['user_login']}'")
            return fill.oauth_tokens(site, 1, user, site.facts["oauth_client_id"], scopes)

        return self.site("demo", engine, filled=filled)

    def seeded(self, name, engine, filled=None):
        """Seeded with users, a token each, and one application."""
        plan = seed.seed(USERS) + (
            f'[[application]]\nname = "Bench"\nredirect_uris = ["http://127.0.0.1:8976/callback"]\nscopes = ["api"]\n'
            f'client_id = "{CLIENT}"\nclient_secret = "{SECRET}"\n'
        )
        return self.site(name, engine, plan, filled)

    def users(self, site):
        return [site.facts["users"][f"user{n}"]["id"] for n in range(USERS)]

    def writes(self, engine):
        """For clients that write: OAuth tokens to be refreshed or revoked."""
        return self.seeded(
            "writes", engine, lambda site: fill.oauth_tokens(site, self.spare, self.users(site)[0], CLIENT, "api")
        )

    def tokens(self, engine, count):
        return self.seeded(f"tokens-{count}", engine, lambda site: fill.tokens(site, count, self.users(site)))

    def projects(self, engine):
        """100,000 projects in 2,000 groups; user0 is in 1,000 of them, user1 in one."""
        members = lambda site: dict(zip(self.users(site), [1000, 1]))
        return self.seeded("projects", engine, lambda site: fill.projects(site, 2000, 100_000, members(site)))

    def audit_events(self, engine, count):
        """An administrator with the token `token-of-warden`, and an audit log."""
        plan = (
            '[[user]]\nusername = "warden"\nadmin = true\n'
            '[[token]]\nuser = "warden"\nname = "ci"\nscopes = ["api"]\ntoken = "token-of-warden"\n'
        )
        return self.site(f"audit-{count}", engine, plan, lambda site: fill.audit_events(site, count))

    def fresh(self, site, secret, count):
        """A file of OAuth tokens, or refresh tokens, that nobody has refreshed or revoked yet."""
        first = self.taken.get(site.url, 0)
        self.taken[site.url] = first + count
        if first + count > self.spare:
            raise Unmeasured("all the tokens that were made for it are used up")
        return self.values(site, "fresh", (f"bench-{secret}-{n}" for n in range(first, first + count)))

    def values(self, site, name, values):
        file = site.folder / name
        file.write_text("\n".join(values))
        return file

    # What measures

    def rounds(self, *measures, count=None):
        """All in turn, after a round that does not count. The figures of each."""
        figures = [[] for _ in measures]
        for number in range((count or self.count) + 1):
            for place in range(len(measures)):
                which = (number + place) % len(measures)
                figure = measures[which]()
                if number > 0:
                    figures[which].append(figure)
        return figures

    def wrk(self, server, request, seconds=None, connections=32, more=""):
        script = server.folder / "request.lua"
        script.write_text(request.lua() + more)
        before = server.cpu()
        command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds or self.seconds}s", "-s", script, f"http://{server.address}"]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        cpu = server.cpu() - before
        answers, micros, refused, broken = map(int, told.split("bench ")[-1].split())
        if refused or broken or not answers:
            raise Broken(f"{request.method} {request.path}: of {answers} answers {refused} refused, {broken} connections broken")
        return Sample(answers / micros * 1e6, cpu / answers)

    def start_load(self, server, request, clients, *options, seconds=None):
        number = len(list(server.folder.glob("request-*")))
        file = server.folder / f"request-{number}"
        file.write_text(request.raw())
        command = [self.program, "load", server.address, seconds or self.seconds, clients, file, *options]
        return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def load(self, server, request, clients, *options, seconds=None):
        """What `bench load` counted, with the server's CPU for each answer."""
        before = server.cpu()
        told = loaded(self.start_load(server, request, clients, *options, seconds=seconds))
        return told | {"rate": told["answers"] / told["seconds"], "cpu": (server.cpu() - before) / told["answers"]}

    def rate(self, server, request, clients, *options):
        return self.load(server, request, clients, *options)["rate"]

    def refresh(self, server, site, clients):
        """Refreshes a second: each answer has the token of a later request."""
        # One more, since wrk looks at a request before it sends any.
        file = self.fresh(site, "refresh", clients + 1)
        return self.wrk(server, REFRESH, connections=clients, more=CHAIN.replace("FILE", str(file))).rate

    def direct(self, *arguments):
        """How many a second, with no server in between."""
        command = [str(word) for word in [self.program, "direct", *arguments, self.seconds]]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise Broken(f"bench direct {arguments[0]}: {done.stderr.strip()[-200:]}")
        return float(done.stdout)


def loaded(process):
    told, error = process.communicate()
    if process.returncode != 0:
        raise Broken(f"bench load: {error.strip()[-200:]}")
    told = json.loads(told)
    if told["refused"] or not told["answers"]:
        raise Broken(f"of {told['answers']} answers {told['refused']} refused: {error.strip()[-200:]}")
    return told

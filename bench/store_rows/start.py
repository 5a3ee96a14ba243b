"""How long a start takes, and how much memory it needs."""

import time

from . import fill
from .measure import CREDENTIALS, USERS, Line, Unmeasured, each, median
from .sites import Request, get, seed

SESSIONS = 1_000_000


def seeding(bench, engine):
    if not bench.before:
        raise Unmeasured("no --before BINARY")
    (bench.folder / f"{USERS}.toml").write_text(seed.seed(USERS))
    ours, theirs = bench.rounds(
        *(lambda binary=binary: seed.until_answered(binary, bench.folder, USERS) for binary in (bench.binary, bench.before)),
        count=5 if bench.quick else 15,
    )
    yield Line("demo --seed, 1,000 users, to before", each(ours, theirs), f"{median(ours):.0f} to {median(theirs):.0f} ms")


def memory(bench, engine, loaded):
    site = bench.writes(engine)

    def resident():
        with site.serve() as server:
            if loaded:
                bench.wrk(server, get("/api/v4/user", "token-of-0002"))
                bench.wrk(server, get("/api/v4/projects", "token-of-0002"))
                bench.rate(server, CREDENTIALS, 64)
                bench.refresh(server, site, 64)
            time.sleep(1)
            return server.memory()

    (figures,) = bench.rounds(resident, count=3)
    yield Line("MB resident after reads and writes" if loaded else "MB resident, idle", figures)


def memory_idle(bench, engine):
    yield from memory(bench, engine, False)


def memory_loaded(bench, engine):
    yield from memory(bench, engine, True)


def memory_sessions(bench, engine):
    count = SESSIONS
    site = bench.seeded("sessions", engine, lambda site: fill.sessions(site, count, bench.users(site)))
    file = bench.values(site, "asked", (f"{n:032}" for n in range(count)))
    request = Request("GET", "/api/v4/user", {"Cookie": "_gitlab_session={}"})
    with site.serve(env={"TOLLHOUSE_LEDGER_ENTRIES": str(count)}) as server:
        bench.load(server, request, 32, "each", file, "once", seconds=300)
        yield Line(f"MB resident, {count:,} sessions remembered", [server.memory()])

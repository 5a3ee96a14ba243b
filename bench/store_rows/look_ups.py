"""Credentials that are not remembered, and what others do to those that are."""

import time

from .measure import CREDENTIALS, Line, each, loaded, median, per_second
from .sites import FIRST, get


LOOKED_UP, MANY = 1_000_000, 10_000_000


def find(bench, engine):
    count = LOOKED_UP // 10 if bench.quick else LOOKED_UP
    site = bench.tokens(engine, count)
    if site.postgres:
        script = f"\\set n random({FIRST}, {FIRST + count - 1})\nSELECT family_id FROM personal_access_tokens WHERE id = :n;\n"
        plainly = lambda: site.postgres.pgbench(site.name, script, 1, bench.seconds)
    else:
        plainly = lambda: bench.direct("select", site.file, FIRST, count)
    ours, theirs = bench.rounds(lambda: bench.direct("find", site.url, count), plainly)
    yield Line(f"Lookup::find among {count:,}, to a SELECT by key", each(ours, theirs), per_second(ours, theirs))


def first_checks(bench, site, count, asked):
    """A server that has just started is asked with many tokens, each for the first time, and then with one of them.
    CPU of both per answer, and the server."""
    # Far from each other in the index, and not in the order in which they were made.
    file = bench.values(site, "asked", (f"bench-token-{n * 7919 % count}" for n in range(asked)))
    with site.serve() as server:
        started, read = server.started, server.read_bytes()
        request = get("/api/v4/user", "{}")
        first = bench.load(server, request, 32, "each", file, "once", seconds=60)["cpu"]
        again = bench.load(server, get("/api/v4/user", "bench-token-0"), 32)["cpu"]
    return first, again, started, read


def first_use(bench, engine):
    count = LOOKED_UP // 10 if bench.quick else LOOKED_UP
    site = bench.tokens(engine, count)
    (figures,) = bench.rounds(lambda: first_checks(bench, site, count, 20_000 if bench.quick else 60_000), count=3)
    first, again, *_ = zip(*figures)
    yield Line(
        f"first use of one of {count:,}, CPU, to remembered", each(first, again), f"{median(first):.0f} to {median(again):.0f} µs"
    )


def many_tokens(bench, engine):
    asked, counts = 10_000, (MANY, 10_000)
    sites = [bench.tokens(engine, count) for count in counts]
    many, few = bench.rounds(*(lambda site=site, count=count: first_checks(bench, site, count, asked) for site, count in zip(sites, counts)))
    cpu, start, read = ([figure[n] for figure in many] for n in (0, 2, 3))
    cpu_few, start_few, read_few = ([figure[n] for figure in few] for n in (0, 2, 3))
    yield Line(f"first check among {MANY:,}, CPU, to 10,000", each(cpu, cpu_few), f"{median(cpu):.0f} to {median(cpu_few):.0f} µs")
    note = f"{1000 * median(start):.0f} to {1000 * median(start_few):.0f} ms"
    yield Line(f"start among {MANY:,}, to 10,000", each(start, start_few), note, None)
    note = f"{median(read) / 1e6:.1f} to {median(read_few) / 1e6:.1f} MB"
    yield Line("read at the start, to 10,000", each(read, read_few), note, None)
    bench.forget(sites[0])


def steady(bench, engine):
    site, length = bench.projects(engine), 2 * bench.seconds
    check, page = get("/api/v4/user", "token-of-0002"), get("/api/v4/projects?per_page=100", "token-of-0001")
    with site.serve() as server:

        def quiet():
            return loaded(bench.start_load(server, check, 16, "rate", 2000, seconds=length))

        def busy():
            beside = [bench.start_load(server, CREDENTIALS, 8, seconds=length + 1), bench.start_load(server, page, 1, seconds=length + 1)]
            time.sleep(0.5)
            told = quiet()
            return told | {"beside": [loaded(process)["answers"] / (length + 1) for process in beside]}

        calm, rush = bench.rounds(quiet, busy)
    ours, theirs = [told["p99"] for told in rush], [told["p99"] for told in calm]
    writes, pages = (median([told["beside"][n] for told in rush]) for n in (0, 1))
    paced = median([told["answers"] / told["seconds"] for told in rush])
    note = f"{median(ours):,.0f} to {median(theirs):,.0f} µs at {paced:,.0f}/s; beside it {writes:,.0f} writes/s, {pages:.1f} lists/s"
    yield Line("99 % of checks within, to quiet", each(ours, theirs), note)

"""Lists over 100,000 projects."""

import http.client

from .measure import Line, Unmeasured, each, median
from .sites import get


def next_page(server, path, token):
    """Where the link to the next page leads."""
    connection = http.client.HTTPConnection(server.address)
    connection.request("GET", path, headers={"PRIVATE-TOKEN": token})
    answer = connection.getresponse()
    answer.read()
    links = [link for link in (answer.headers["Link"] or "").split(", ") if link.endswith('rel="next"')]
    connection.close()
    return links and "/" + links[0].split(">")[0].split("/", 3)[3] or None


def audit(bench, engine):
    """The time of a page among 1,000,000 lines, to that of the same page among 10,000."""
    many, few = bench.audit_events(engine, 1_000_000), bench.audit_events(engine, 10_000)
    path = "/api/v4/audit_events"
    pages = {
        "first page": f"{path}?pagination=keyset",
        "one project": f"{path}?entity_type=Project&entity_id=1&pagination=keyset",
        "with its count": path,
    }
    with many.serve() as large, few.serve() as small:
        for what, path in pages.items():
            request = get(path, "token-of-warden")
            ours, theirs = bench.rounds(lambda: bench.rate(large, request, 1), lambda: bench.rate(small, request, 1))
            note = f"{1000 / median(ours):.2f} to {1000 / median(theirs):.2f} ms"
            yield Line(f"{what}, to that of 10,000", each(ours, theirs), note)


def lists(bench, engine):
    site = bench.projects(engine)
    many, one = bench.users(site)[:2]
    pages = {
        "first page": ("/api/v4/projects", one, False),
        "membership of 1,000 groups": ("/api/v4/projects?membership=true", many, True),
        "membership of one group": ("/api/v4/projects?membership=true", one, True),
    }
    with site.serve() as server:
        path = "/api/v4/projects?pagination=keyset&order_by=id&sort=desc"
        follow = next_page(server, path, "token-of-0001")
        if follow and "id_before=" in follow:
            for _ in range(498):
                follow = next_page(server, follow, "token-of-0001")
            pages["page 500 by keyset"] = (follow, one, False)
        for what, (path, who, membership) in pages.items():
            request = get(path, f"token-of-{0 if who == many else 1:04}")
            ours, theirs = bench.rounds(
                lambda: bench.rate(server, request, 1), lambda: bench.direct("list", site.url, who, str(membership).lower())
            )
            note = f"{1000 / median(ours):.2f} to {1000 / median(theirs):.2f} ms"
            yield Line(f"{what}, to the store's list", each(ours, theirs), note)
        if "page 500 by keyset" not in pages:
            raise Unmeasured("page 500: no keyset yet")

"""Requests that write, beside the commits of the database itself."""

from contextlib import ExitStack

from .measure import CLIENT, CREDENTIALS, POSTGRES, REVOKE, Line, at_most, each, loaded, per_second


def write(bench, engine, clients):
    site = bench.writes(engine)
    with site.serve() as server:
        works = {
            "client_credentials": lambda: bench.wrk(server, CREDENTIALS, connections=clients).rate,
            "refresh": lambda: bench.refresh(server, site, clients),
            "creating a token, in process": lambda: bench.direct("create", site.folder, f"sqlite:{site.folder}/create.db", clients),
        }
        commits, *figures = bench.rounds(lambda: bench.direct("commits", site.folder / "commits.db"), *works.values())
    for what, ours in zip(works, figures):
        yield Line(f"{what}, to durable commits", each(ours, commits), per_second(ours, commits))


def write_one(bench, engine):
    yield from write(bench, engine, 1)


def write_many(bench, engine):
    yield from write(bench, engine, 64)


def together(bench, engine):
    site = bench.seeded("together", engine)
    revoke = lambda how: bench.direct("revoke", site.folder, site.url, how, 10_000)
    ours, alone = bench.rounds(lambda: revoke("together"), lambda: revoke("each"))
    yield Line("10,000 tokens at once, to one by one", each(ours, alone), per_second(ours, alone))
    (waits,) = bench.rounds(lambda: revoke("wait"))
    yield Line("the longest wait of another write, in ms", waits, "", at_most(200))


# What client_credentials inserts, in one transaction.
ISSUE = """
BEGIN;
INSERT INTO token_families (head_used_at) VALUES (1) RETURNING id AS family \\gset
INSERT INTO oauth_access_tokens (family_id, digest, application_id, scopes, created_at, expires_at, ends_at)
  VALUES (:family, decode(md5(random()::text) || md5(random()::text), 'hex'), {application}, 'api', 1, 2, 2);
INSERT INTO audit_events (at, event, credential, target_kind, target_id, detail)
  VALUES (1, 'token.created', 'client', 'oauth_access_token', :family, 'api for nobody');
COMMIT;
"""
# What makes an entry of the log.
ENTER = """
BEGIN;
UPDATE invalidation_head SET position = position + 1 WHERE id = 1 RETURNING position AS place \\gset
INSERT INTO invalidations (position, mark, kind, key, made_at) VALUES (:place, 1, 'family', '', 1);
COMMIT;
"""


def plain(bench, script, clients=64):
    """Transactions a second of a script, on a database of the same schema that no server serves."""
    site = bench.seeded("plain", POSTGRES)
    application = site.query(f"SELECT id FROM oauth_applications WHERE uid = '{CLIENT}'")
    return site.postgres.pgbench(site.name, script.replace("{application}", application), clients, bench.seconds)


def credentials(bench, engine):
    site = bench.writes(engine)
    with site.serve() as server:
        ours, theirs = bench.rounds(lambda: bench.wrk(server, CREDENTIALS, connections=64).rate, lambda: plain(bench, ISSUE))
    yield Line("client_credentials, to pgbench", each(ours, theirs), per_second(ours, theirs))


def log(bench, engine):
    site = bench.writes(engine)
    with site.serve() as server:

        def revoke():
            # More than can be revoked in a round; if not, it ends earlier.
            tokens = bench.fresh(site, "access", 8_000 * bench.seconds)
            return bench.rate(server, REVOKE, 64, "each", tokens, "once")

        works = {"refresh": lambda: bench.refresh(server, site, 64), "revocation": revoke}
        plainly, *figures = bench.rounds(lambda: plain(bench, ENTER), *works.values())
    for what, ours in zip(works, figures):
        yield Line(f"{what}, to pgbench with the head row", each(ours, plainly), per_second(ours, plainly))


def three(bench, engine):
    site = bench.writes(engine)
    with ExitStack() as stack:
        servers = [stack.enter_context(site.serve()) for _ in range(3)]

        def together():
            clients = [bench.start_load(server, CREDENTIALS, 32, seconds=2 * bench.seconds) for server in servers]
            return [told["answers"] / told["seconds"] for told in [loaded(process) for process in clients]]

        (figures,) = bench.rounds(together)
    note = " ".join(f"{rate:,.0f}" for rate in sorted(figures[len(figures) // 2])) + " a second"
    yield Line("32 writers each, slowest to fastest", [min(of) / max(of) for of in figures], note)

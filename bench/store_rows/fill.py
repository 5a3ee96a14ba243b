"""Rows that are filled in by SQL, as many as no operation makes in a reasonable time. Each function gives
`(table, columns, rows)`, one after the other."""

from .sites import FIRST, digest, now


def tokens(site, count, user_ids):
    """Personal access tokens `bench-token-N`, which were used just now."""
    at = now()
    yield "token_families", "id head_id head_used_at", ((FIRST + n, FIRST + n, at) for n in range(count))
    yield (
        "personal_access_tokens",
        "id family_id digest user_id name scopes impersonation created_at expires_on last_used_at",
        (
            (FIRST + n, FIRST + n, digest(f"bench-token-{n}"), user_ids[n % len(user_ids)], "bench", "api", False, at, None, at)
            for n in range(count)
        ),
    )


def oauth_tokens(site, count, user_id, client_id, scopes):
    """OAuth tokens `bench-access-N` with refresh tokens `bench-refresh-N`, of one user for one application."""
    at, application = now(), site.query(f"SELECT id FROM oauth_applications WHERE uid = '{client_id}'")
    yield "token_families", "id head_id head_used_at", ((2 * FIRST + n, 2 * FIRST + n, at) for n in range(count))
    yield (
        "oauth_access_tokens",
        "id family_id digest refresh_digest application_id user_id scopes created_at expires_at",
        (
            (2 * FIRST + n, 2 * FIRST + n, digest(f"bench-access-{n}"), digest(f"bench-refresh-{n}"), application, user_id, scopes, at)
            + (at + 7 * 86_400_000,)
            for n in range(count)
        ),
    )


def audit_events(site, count):
    """Lines of the audit log; one in a hundred is about one of 500 projects."""
    at = now() - count
    yield (
        "audit_events",
        "id at event credential target_kind target_id detail",
        (
            (FIRST + n, at + n, "token.created", "system", "project" if n % 100 == 1 else "personal_access_token", n % 500, "api")
            for n in range(count)
        ),
    )


def sessions(site, count, user_ids):
    """Sessions of 32 digits, N in decimal."""
    at = now()
    yield (
        "sessions",
        "digest user_id created_at extended_at expires_at",
        ((digest(f"{n:032}"), user_ids[n % len(user_ids)], at, at, at + 7 * 86_400_000) for n in range(count)),
    )


def projects(site, groups, count, members):
    """Projects spread over groups, of each visibility as many. `members`: in how many groups each user is."""
    at = now()
    yield (
        "namespaces",
        "id kind name lower_name path full_path full_name visibility created_at updated_at",
        ((FIRST + n, "group", f"Group {n}", f"group {n}", f"group-{n}", f"group-{n}", f"Group {n}", 10 * (n % 3), at, at) for n in range(groups)),
    )
    yield "routes", "lower_path source_kind source_id", ((f"group-{n}", "namespace", FIRST + n) for n in range(groups))
    yield (
        "projects",
        "id namespace_id name lower_name path visibility archived created_at updated_at last_activity_at",
        (
            (FIRST + n, FIRST + n % groups, f"Project {n}", f"project {n}", f"project-{n}", 10 * (n % groups % 3), False)
            + (at - 1000 * (count - n),) * 3
            for n in range(count)
        ),
    )
    yield (
        "routes",
        "lower_path source_kind source_id",
        ((f"group-{n % groups}/project-{n}", "project", FIRST + n) for n in range(count)),
    )
    # One group of two, so that they are of every visibility.
    yield (
        "members",
        "source_kind source_id user_id access_level created_at",
        (("group", FIRST + n * groups // among, user, 30, at) for user, among in members.items() for n in range(among)),
    )

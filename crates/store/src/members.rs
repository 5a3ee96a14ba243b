//! `members`: who may do what in a group or project, and until when.

use tollhouse_domain::access::AccessLevel;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::{GroupMembership, Held, MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::time::{Date, Timestamp};

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};

/// The groups that user `$1` is in, on day `$3`, with the level there and its end: by membership of the group or of one
/// above it. The same group may stand there more than once.
macro_rules! mine {
    () => {
        "mine(id, level, expires_on) AS (
            SELECT m.source_id, m.access_level, m.expires_on FROM members m
             WHERE m.source_kind = 'group' AND m.user_id = $1 AND (m.expires_on IS NULL OR m.expires_on > $3)
            UNION
            SELECT n.id, mine.level, mine.expires_on FROM namespaces n JOIN mine ON n.parent_id = mine.id
        )"
    };
}
pub(crate) use mine;

pub(crate) fn source(of: MembershipSource) -> (&'static str, i64) {
    match of {
        MembershipSource::Group(id) => ("group", id.0),
        MembershipSource::Project(id) => ("project", id.0),
    }
}

/// As [`source`] wrote it.
pub(crate) fn source_of(kind: &str, id: i64) -> Result<MembershipSource> {
    match kind {
        "group" => Ok(MembershipSource::Group(NamespaceId(id))),
        "project" => Ok(MembershipSource::Project(ProjectId(id))),
        _ => Err(Error::Damaged(format!("the kind of what {id} is the number of"))),
    }
}

/// [`crate::error::Error::Taken`] for somebody who is a member already.
pub async fn insert(
    tx: &mut Tx,
    of: MembershipSource,
    user: UserId,
    level: AccessLevel,
    expires_on: Option<Date>,
    by: Option<UserId>,
    now: Timestamp,
) -> Result<()> {
    // That somebody is no member is remembered too.
    tx.invalidate(Invalidation::Owner(user));
    let (kind, id) = source(of);
    query(INSERT)
        .bind(kind)
        .bind(id)
        .bind(user.0)
        .bind(level as i64)
        .bind(expires_on.map(|day| i64::from(day.0)))
        .bind(by.map(|id| id.0))
        .bind(now.0)
        .changed(tx)
        .await
        .map(drop)
}

/// Says so to the log even if the row was gone: a repeat after a lost answer is a full acknowledgement
/// (revocation.md W4).
pub async fn remove(tx: &mut Tx, of: MembershipSource, user: UserId) -> Result<bool> {
    tx.invalidate(Invalidation::Owner(user));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::GroupLeftUnmarked);
    let (kind, id) = source(of);
    Ok(query(REMOVE).bind(kind).bind(id).bind(user.0).changed(tx).await? == 1)
}

/// Every membership of somebody who goes.
pub async fn remove_all(tx: &mut Tx, user: UserId) -> Result<()> {
    tx.invalidate(Invalidation::Owner(user));
    query(REMOVE_ALL).bind(user.0).changed(tx).await.map(drop)
}

/// Whether a group has an owner without this membership, by another one of it or of a group above. Until the end of the
/// transaction nobody else can ask: of two owners that go at once, one stays.
pub async fn has_other_owner(tx: &mut Tx, group: NamespaceId, user: UserId, now: Timestamp) -> Result<bool> {
    query(HOLD_GROUP).bind(group.0).changed(tx).await?;
    let today = i64::from(now.date().0);
    let owners: i64 =
        query(OTHER_OWNERS).bind(group.0).bind(user.0).bind(AccessLevel::Owner as i64).bind(today).one(tx).await?;
    Ok(owners > 0)
}

/// A membership that is over, if there is one.
pub async fn remove_over(tx: &mut Tx, of: MembershipSource, user: UserId, now: Timestamp) -> Result<()> {
    let (kind, id) = source(of);
    let today = i64::from(now.date().0);
    query(REMOVE_OVER).bind(kind).bind(id).bind(user.0).bind(today).changed(tx).await.map(drop)
}

/// A membership as it was given, whether it still counts or not.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    /// The level that was given.
    pub level: AccessLevel,
    /// The first day on which it counts no longer.
    pub expires_on: Option<Date>,
    /// When it was given.
    pub created_at: Timestamp,
}

impl Member {
    /// Whether its last day has passed, in UTC. The row stays until it is swept or replaced.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_on.is_some_and(|day| day <= now.date())
    }
}

/// The membership of this very group or project, those above left out. It may be over.
pub async fn find(at: &mut impl Runs, of: MembershipSource, user: UserId) -> Result<Option<Member>> {
    let (kind, id) = source(of);
    let row = query(FIND).bind(kind).bind(id).bind(user.0).optional(at).await?;
    row.map(|row| member(row, user)).transpose()
}

/// Whether a user has a membership of anything else.
pub async fn is_in_another(at: &mut impl Runs, of: MembershipSource, user: UserId) -> Result<bool> {
    let (kind, id) = source(of);
    query(IS_IN_ANOTHER).bind(kind).bind(id).bind(user.0).one(at).await
}

/// The membership of a project that gives a user the highest level now: of the project itself, or of a group above it.
/// Of several, the direct one, then the oldest.
pub async fn inherited(at: &mut impl Runs, project: ProjectId, user: UserId, now: Timestamp) -> Result<Option<Member>> {
    let today = i64::from(now.date().0);
    let row = query(INHERITED).bind(user.0).bind(project.0).bind(today).optional(at).await?;
    row.map(|row| member(row, user)).transpose()
}

fn member((level, expires_on, created_at): (i64, Option<i64>, i64), user: UserId) -> Result<Member> {
    let level = AccessLevel::from_number(level);
    Ok(Member {
        level: level.ok_or_else(|| Error::Damaged(format!("the level of user {user}")))?,
        expires_on: expires_on.map(|day| Date(day as i32)),
        created_at: Timestamp(created_at),
    })
}

/// The highest level in a group, by membership of it or of one above.
pub async fn level_in_group(
    at: &mut impl Runs,
    group: NamespaceId,
    user: UserId,
    now: Timestamp,
) -> Result<Option<AccessLevel>> {
    let level: Option<i64> =
        query(LEVEL_IN_GROUP).bind(user.0).bind(group.0).bind(i64::from(now.date().0)).one(at).await?;
    Ok(level.and_then(AccessLevel::from_number))
}

/// The highest level in a group or project, by membership of it or of a group above.
pub async fn level(
    at: &mut impl Runs,
    of: MembershipSource,
    user: UserId,
    now: Timestamp,
) -> Result<Option<AccessLevel>> {
    match of {
        MembershipSource::Group(id) => level_in_group(at, id, user, now).await,
        MembershipSource::Project(id) => Ok(inherited(at, id, user, now).await?.map(|member| member.level)),
    }
}

/// Everything that a user is to one group or project, by membership of it or of a group above, and where that stands
/// now.
pub async fn memberships(
    at: &mut impl Runs,
    user: UserId,
    of: MembershipSource,
    now: Timestamp,
) -> Result<Memberships> {
    let (text, (_, id)) = match of {
        MembershipSource::Group(_) => (IN_GROUP, source(of)),
        MembershipSource::Project(_) => (IN_PROJECT, source(of)),
    };
    let today = i64::from(now.date().0);
    let rows: Vec<(String, Option<i64>, Option<i64>)> = query(text).bind(user.0).bind(id).bind(today).all(at).await?;
    let held = rows.iter().filter_map(|(_, level, end)| {
        let level = AccessLevel::from_number((*level)?)?;
        Some(Held { level, expires_on: end.map(|day| Date(day as i32)) })
    });
    Ok(Memberships { held: held.collect(), path: rows.into_iter().next().map(|(path, ..)| path.into()) })
}

/// The highest level anywhere.
pub async fn highest(at: &mut impl Runs, user: UserId, now: Timestamp) -> Result<Option<AccessLevel>> {
    let today = i64::from(now.date().0);
    let level: Option<i64> = query(HIGHEST).bind(user.0).bind(today).one(at).await?;
    Ok(level.and_then(AccessLevel::from_number))
}

row! {
    struct OfUser {
        /// `None`: it is a project's.
        full_path: Option<String>,
        id: i64,
        level: i64,
        expires_on: Option<i64>,
        direct: i64,
    }
}

/// Everything that somebody is a member of, the groups inside a group included.
pub async fn of_user(at: &mut impl Runs, user: UserId, now: Timestamp) -> Result<UserMemberships> {
    let today = i64::from(now.date().0);
    let rows: Vec<OfUser> = query(OF_USER).bind(user.0).bind("group").bind(today).bind("project").all(at).await?;
    let (mut groups, mut projects) = (Vec::new(), Vec::new());
    for row in rows {
        let Some(level) = AccessLevel::from_number(row.level) else { continue };
        let held = Held { level, expires_on: row.expires_on.map(|day| Date(day as i32)) };
        match row.full_path {
            Some(full_path) => groups.push(GroupMembership {
                id: NamespaceId(row.id),
                full_path: full_path.into(),
                held,
                direct: row.direct == 1,
            }),
            None => projects.push((ProjectId(row.id), held)),
        }
    }
    Ok(UserMemberships { groups: groups.into(), projects: projects.into() })
}

statements! {
    OF_USER = "
    WITH RECURSIVE held(id, level, expires_on, direct) AS (
        SELECT m.source_id, m.access_level, m.expires_on, CAST(1 AS BIGINT) FROM members m
         WHERE m.user_id = $1 AND m.source_kind = $2 AND (m.expires_on IS NULL OR m.expires_on > $3)
        UNION
        SELECT n.id, held.level, held.expires_on, CAST(0 AS BIGINT) FROM namespaces n JOIN held ON n.parent_id = held.id
    )
    SELECT n.full_path, held.id, held.level, held.expires_on, held.direct FROM held JOIN namespaces n ON n.id = held.id
    UNION ALL
    SELECT CAST(NULL AS TEXT), m.source_id, m.access_level, m.expires_on, CAST(1 AS BIGINT) FROM members m
     WHERE m.user_id = $1 AND m.source_kind = $4 AND (m.expires_on IS NULL OR m.expires_on > $3)
     ORDER BY 1";

    HIGHEST = "
    SELECT max(access_level) FROM members WHERE user_id = $1 AND (expires_on IS NULL OR expires_on > $2)";

    FIND = "
    SELECT access_level, expires_on, created_at FROM members
     WHERE source_kind = $1 AND source_id = $2 AND user_id = $3";

    IS_IN_ANOTHER = "
    SELECT EXISTS (SELECT 1 FROM members WHERE user_id = $3 AND (source_kind <> $1 OR source_id <> $2))";

    INSERT = "
    INSERT INTO members (source_kind, source_id, user_id, access_level, expires_on, created_by_id, created_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

    IN_GROUP = concat!("WITH RECURSIVE ", mine!(), "
    SELECT r.lower_path, mine.level, mine.expires_on FROM routes r LEFT JOIN mine ON mine.id = r.source_id
     WHERE r.source_kind = 'namespace' AND r.source_id = $2 ORDER BY r.lower_path");

    IN_PROJECT = concat!("WITH RECURSIVE ", mine!(), ", held(level, expires_on) AS (
        SELECT m.access_level, m.expires_on FROM members m
         WHERE m.source_kind = 'project' AND m.source_id = $2 AND m.user_id = $1
           AND (m.expires_on IS NULL OR m.expires_on > $3)
        UNION ALL
        SELECT mine.level, mine.expires_on FROM mine JOIN projects p ON p.namespace_id = mine.id WHERE p.id = $2
    )
    SELECT r.lower_path, held.level, held.expires_on FROM routes r LEFT JOIN held ON 1 = 1
     WHERE r.source_kind = 'project' AND r.source_id = $2 ORDER BY r.lower_path");

    INHERITED = "
    WITH RECURSIVE up(id) AS (
        SELECT namespace_id FROM projects WHERE id = $2
        UNION SELECT n.parent_id FROM up JOIN namespaces n ON n.id = up.id WHERE n.parent_id IS NOT NULL
    ), held(level, expires_on, created_at, direct) AS (
        SELECT m.access_level, m.expires_on, m.created_at, CAST(1 AS BIGINT) FROM members m
         WHERE m.source_kind = 'project' AND m.source_id = $2 AND m.user_id = $1
           AND (m.expires_on IS NULL OR m.expires_on > $3)
        UNION ALL
        SELECT m.access_level, m.expires_on, m.created_at, CAST(0 AS BIGINT)
          FROM up JOIN members m ON m.source_kind = 'group' AND m.source_id = up.id AND m.user_id = $1
         WHERE m.expires_on IS NULL OR m.expires_on > $3
    )
    SELECT level, expires_on, created_at FROM held ORDER BY level DESC, direct DESC, created_at LIMIT 1";

    HOLD_GROUP = "UPDATE namespaces SET updated_at = updated_at WHERE id = $1";

    OTHER_OWNERS = "
    WITH RECURSIVE up(id, parent_id) AS (
        SELECT id, parent_id FROM namespaces WHERE id = $1
        UNION SELECT n.id, n.parent_id FROM namespaces n JOIN up ON n.id = up.parent_id
    )
    SELECT count(*) FROM members m JOIN up ON m.source_kind = 'group' AND m.source_id = up.id
     WHERE (m.user_id <> $2 OR m.source_id <> $1) AND m.access_level = $3 AND (m.expires_on IS NULL OR m.expires_on > $4)";

    REMOVE = "DELETE FROM members WHERE source_kind = $1 AND source_id = $2 AND user_id = $3";

    REMOVE_ALL = "DELETE FROM members WHERE user_id = $1";

    REMOVE_OVER = "DELETE FROM members WHERE source_kind = $1 AND source_id = $2 AND user_id = $3 AND expires_on <= $4";

    LEVEL_IN_GROUP = concat!("WITH RECURSIVE ", mine!(), " SELECT max(level) FROM mine WHERE id = $2");
}

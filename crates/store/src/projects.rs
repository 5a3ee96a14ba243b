//! `projects`, and through whose eyes they are seen.

use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::UserMemberships;
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::project::{Membership, Project};
use tollhouse_domain::time::Timestamp;

use crate::conn::Runs;
use crate::error::{Error, Result};
use crate::namespaces;
use crate::query::{both, query};
use crate::tx::Tx;

/// A project with what the viewer is to it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub project: Project,
    pub membership: Membership,
}

row! {
    struct Row {
        id: i64,
        creator_id: Option<i64>,
        name: String,
        path: String,
        description: Option<String>,
        visibility: i64,
        archived: bool,
        created_at: i64,
        updated_at: i64,
        last_activity_at: i64,
        project_level: Option<i64>,
        group_level: Option<i64>,
        namespace: namespaces::Row,
    }
}

impl Row {
    fn seen(self) -> Result<Seen> {
        let visibility = Visibility::from_number(self.visibility);
        Ok(Seen {
            membership: Membership {
                project: self.project_level.and_then(AccessLevel::from_number),
                group: self.group_level.and_then(AccessLevel::from_number),
            },
            project: Project {
                visibility: visibility.ok_or_else(|| Error::Damaged(format!("project {}: visibility", self.id)))?,
                id: ProjectId(self.id),
                namespace: self.namespace.namespace()?,
                creator_id: self.creator_id.map(UserId),
                name: self.name,
                path: self.path,
                description: self.description,
                archived: self.archived,
                created_at: Timestamp(self.created_at),
                updated_at: Timestamp(self.updated_at),
                last_activity_at: Timestamp(self.last_activity_at),
            },
        })
    }
}

/// Whoever may see it.
pub async fn find(at: &mut impl Runs, id: ProjectId) -> Result<Option<Project>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    Ok(row.map(Row::seen).transpose()?.map(|seen| seen.project))
}

/// A project that the viewer may see.
pub async fn visible(at: &mut impl Runs, id: ProjectId, viewer: Viewer, now: Timestamp) -> Result<Option<Seen>> {
    let row: Option<Row> = query(VISIBLE)
        .bind(viewer.user_id().map(|id| id.0))
        .bind(viewer.least_visible() as i64)
        .bind(i64::from(now.date().0))
        .bind(id.0)
        .optional(at)
        .await?;
    row.map(Row::seen).transpose()
}

/// A group that the viewer may see, with up to 100 projects right inside it that the viewer may see. `memberships`: those
/// of the viewer, unless it is nobody.
pub async fn with_group(
    at: &mut impl Runs,
    id: NamespaceId,
    viewer: Viewer,
    memberships: Option<&UserMemberships>,
    now: Timestamp,
) -> Result<Option<(Namespace, Vec<Seen>)>> {
    let member = memberships.is_some_and(|all| all.is_in(id, now));
    let least = if member { Visibility::Private } else { viewer.least_visible() };
    let inside =
        query(INSIDE).bind(id.0).bind(least as i64).bind(viewer.user_id().map(|id| id.0)).bind(i64::from(now.date().0));
    let (group, inside): (Vec<namespaces::Row>, Vec<Row>) = both(namespaces::by_id(id), inside, at).await?;
    let group = group.into_iter().next().map(namespaces::Row::namespace).transpose()?;
    let Some(group) = group.filter(|group| group.kind == NamespaceKind::Group) else { return Ok(None) };
    // Whoever is a member of something further down may see the groups above it.
    let visible = member || group.visibility >= viewer.least_visible();
    if !visible && namespaces::visible_group(at, id, viewer, now).await?.is_none() {
        return Ok(None);
    }
    let seen = |row: Row| {
        let Seen { project, .. } = row.seen()?;
        let membership = memberships.map(|all| all.of_project(&project, now)).unwrap_or_default();
        Ok(Seen { project, membership })
    };
    Ok(Some((group, inside.into_iter().map(seen).collect::<Result<_>>()?)))
}

/// Which projects a list shows.
#[derive(Debug, Default)]
pub struct Filter {
    pub search: Option<String>,
    pub visibility: Option<Visibility>,
    pub archived: Option<bool>,
    pub owned: bool,
    pub membership: bool,
    pub min_access_level: Option<i64>,
    pub order: ProjectOrder,
    pub ascending: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProjectOrder {
    #[default]
    CreatedAt,
    Id,
    Name,
    Path,
    UpdatedAt,
    LastActivityAt,
}

/// A page of projects and, up to 10,001, how many there are.
pub async fn list(
    at: &mut impl Runs,
    filter: &Filter,
    viewer: Viewer,
    (limit, offset): (i64, i64),
    now: Timestamp,
) -> Result<(Vec<Seen>, i64)> {
    let user = viewer.user_id().map(|id| id.0);
    let least = viewer.least_visible() as i64;
    let today = i64::from(now.date().0);
    let search = filter.search.as_deref().map(crate::sql::like);
    let visibility = filter.visibility.map(|visibility| visibility as i64);
    let total: i64 = query(COUNT)
        .bind(user)
        .bind(least)
        .bind(today)
        .bind(&search)
        .bind(visibility)
        .bind(filter.archived)
        .bind(filter.owned)
        .bind(filter.membership)
        .bind(filter.min_access_level)
        .one(at)
        .await?;
    use ProjectOrder::{CreatedAt, Id, LastActivityAt, Name, Path, UpdatedAt};
    let text = match (filter.order, filter.ascending) {
        (CreatedAt, false) => BY_CREATED_AT,
        (CreatedAt, true) => BY_CREATED_AT_ASCENDING,
        (Id, false) => BY_ID,
        (Id, true) => BY_ID_ASCENDING,
        (Name, false) => BY_NAME,
        (Name, true) => BY_NAME_ASCENDING,
        (Path, false) => BY_PATH,
        (Path, true) => BY_PATH_ASCENDING,
        (UpdatedAt, false) => BY_UPDATED_AT,
        (UpdatedAt, true) => BY_UPDATED_AT_ASCENDING,
        (LastActivityAt, false) => BY_LAST_ACTIVITY_AT,
        (LastActivityAt, true) => BY_LAST_ACTIVITY_AT_ASCENDING,
    };
    let rows: Vec<Row> = query(text)
        .bind(user)
        .bind(least)
        .bind(today)
        .bind(&search)
        .bind(visibility)
        .bind(filter.archived)
        .bind(filter.owned)
        .bind(filter.membership)
        .bind(filter.min_access_level)
        .bind(limit)
        .bind(offset)
        .all(at)
        .await?;
    Ok((rows.into_iter().map(Row::seen).collect::<Result<_>>()?, total))
}

/// The next so many projects after this number, oldest first, whoever may see them.
pub async fn after(at: &mut impl Runs, id: ProjectId, viewer: Viewer, limit: i64, now: Timestamp) -> Result<Vec<Seen>> {
    let rows: Vec<Row> = query(AFTER)
        .bind(viewer.user_id().map(|id| id.0))
        .bind(id.0)
        .bind(i64::from(now.date().0))
        .bind(limit)
        .all(at)
        .await?;
    rows.into_iter().map(Row::seen).collect()
}

/// A project that is about to exist.
#[derive(Debug)]
pub struct New<'a> {
    pub namespace: NamespaceId,
    pub creator: Option<UserId>,
    pub name: &'a str,
    pub path: &'a str,
    pub description: Option<&'a str>,
    pub visibility: Visibility,
}

/// [`Error::Taken`] if the namespace has one of that name; its path is taken separately, as a route.
pub async fn insert(tx: &mut Tx, new: &New<'_>, now: Timestamp) -> Result<ProjectId> {
    let id: i64 = query(INSERT)
        .bind(new.namespace.0)
        .bind(new.creator.map(|id| id.0))
        .bind(new.name)
        .bind(new.path)
        .bind(new.description)
        .bind(new.visibility as i64)
        .bind(now.0)
        .bind(new.name.to_lowercase())
        .one(tx)
        .await?;
    Ok(ProjectId(id))
}

/// How many projects stand in somebody's personal namespace.
pub async fn count_in(at: &mut impl Runs, namespace: NamespaceId) -> Result<i64> {
    query(COUNT_IN).bind(namespace.0).one(at).await
}

pub async fn name_taken(at: &mut impl Runs, namespace: NamespaceId, name: &str) -> Result<bool> {
    query(NAME_TAKEN).bind(namespace.0).bind(name).one(at).await
}

macro_rules! selected {
    () => {
        concat!(
            "WITH RECURSIVE ",
            crate::members::mine!(),
            ", direct(id, level) AS (
                SELECT m.source_id, m.access_level FROM members m
                 WHERE m.source_kind = 'project' AND m.user_id = $1 AND (m.expires_on IS NULL OR m.expires_on > $3)
            )
            SELECT p.id, p.creator_id, p.name, p.path, p.description, p.visibility, p.archived, p.created_at, p.updated_at,
                   p.last_activity_at, d.level AS project_level,
                   (SELECT max(mine.level) FROM mine WHERE mine.id = p.namespace_id) AS group_level, ",
            crate::namespaces::columns!(),
            " FROM projects p
              JOIN namespaces n ON n.id = p.namespace_id
              LEFT JOIN direct d ON d.id = p.id "
        )
    };
}

macro_rules! may_see {
    () => {
        " (p.visibility >= $2 OR d.level IS NOT NULL OR p.namespace_id IN (SELECT id FROM mine)) "
    };
}

macro_rules! filtered {
    () => {
        concat!(
            selected!(),
            " WHERE ",
            may_see!(),
            " AND (CAST($4 AS TEXT) IS NULL OR p.lower_name LIKE $4 ESCAPE '\\' OR lower(p.path) LIKE $4 ESCAPE '\\')
              AND (CAST($5 AS BIGINT) IS NULL OR p.visibility = $5)
              AND (CAST($6 AS BOOLEAN) IS NULL OR p.archived = $6)
              AND (NOT $7 OR d.level = 50 OR EXISTS (SELECT 1 FROM mine WHERE mine.id = p.namespace_id AND mine.level = 50))
              AND (NOT $8 OR d.level IS NOT NULL OR p.namespace_id IN (SELECT id FROM mine))
              AND (CAST($9 AS BIGINT) IS NULL OR d.level >= $9
                   OR EXISTS (SELECT 1 FROM mine WHERE mine.id = p.namespace_id AND mine.level >= $9))"
        )
    };
}

macro_rules! page {
    ($order:literal) => {
        concat!(filtered!(), " ORDER BY ", $order, " LIMIT $10 OFFSET $11")
    };
}

/// Without what the viewer is there.
macro_rules! found {
    () => {
        concat!(
            "SELECT p.id, p.creator_id, p.name, p.path, p.description, p.visibility, p.archived, p.created_at, p.updated_at,
                    p.last_activity_at, CAST(NULL AS BIGINT) AS project_level, CAST(NULL AS BIGINT) AS group_level, ",
            crate::namespaces::columns!(),
            " FROM projects p JOIN namespaces n ON n.id = p.namespace_id "
        )
    };
}

statements! {
    FIND = concat!(found!(), " WHERE p.id = $1");

    VISIBLE = concat!(selected!(), " WHERE p.id = $4 AND ", may_see!());

    INSIDE = concat!(
        found!(),
        " WHERE p.namespace_id = $1
            AND (p.visibility >= $2
                 OR p.id IN (SELECT m.source_id FROM members m
                              WHERE m.source_kind = 'project' AND m.user_id = $3
                                AND (m.expires_on IS NULL OR m.expires_on > $4)))
          ORDER BY p.created_at DESC, p.id DESC LIMIT 100"
    );

    AFTER = concat!(selected!(), " WHERE p.id > $2 ORDER BY p.id LIMIT $4");

    COUNT = concat!("SELECT count(*) FROM (", filtered!(), " LIMIT 10001) AS counted");

    BY_CREATED_AT = page!("p.created_at DESC, p.id DESC");
    BY_CREATED_AT_ASCENDING = page!("p.created_at, p.id");
    BY_ID = page!("p.id DESC");
    BY_ID_ASCENDING = page!("p.id");
    BY_NAME = page!("p.lower_name DESC, p.id DESC");
    BY_NAME_ASCENDING = page!("p.lower_name, p.id");
    BY_PATH = page!("lower(p.path) DESC, p.id DESC");
    BY_PATH_ASCENDING = page!("lower(p.path), p.id");
    BY_UPDATED_AT = page!("p.updated_at DESC, p.id DESC");
    BY_UPDATED_AT_ASCENDING = page!("p.updated_at, p.id");
    BY_LAST_ACTIVITY_AT = page!("p.last_activity_at DESC, p.id DESC");
    BY_LAST_ACTIVITY_AT_ASCENDING = page!("p.last_activity_at, p.id");

    INSERT = "
    INSERT INTO projects (namespace_id, creator_id, name, lower_name, path, description, visibility, archived, created_at, updated_at,
                          last_activity_at)
    VALUES ($1, $2, $3, $8, $4, $5, $6, FALSE, $7, $7, $7) RETURNING id";

    COUNT_IN = "SELECT count(*) FROM projects WHERE namespace_id = $1";

    NAME_TAKEN = "SELECT EXISTS (SELECT 1 FROM projects WHERE namespace_id = $1 AND name = $2)";
}

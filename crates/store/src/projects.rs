//! `projects`, and through whose eyes they are seen.

use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::UserMemberships;
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::project::{Membership, Project};
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::{both, query};
use crate::engine::tx::Tx;
use crate::error::{Error, Result};
use crate::namespaces;

macro_rules! columns {
    () => {
        "p.id, p.creator_id, p.name, p.path, p.description, p.visibility, p.archived, p.created_at, p.updated_at,
        p.last_activity_at"
    };
}

/// The level of a user in project `p` itself on a day.
macro_rules! project_level {
    ($user:literal, $day:literal) => {
        concat!(
            "(SELECT m.access_level FROM members m
              WHERE m.source_kind = 'project' AND m.source_id = p.id AND m.user_id = ",
            $user,
            " AND (m.expires_on IS NULL OR m.expires_on > ",
            $day,
            "))"
        )
    };
}

/// The highest level of a user in the groups in which project `p` stands.
macro_rules! group_level {
    ($user:literal, $day:literal) => {
        concat!(
            "(WITH RECURSIVE up(id) AS (SELECT p.namespace_id UNION ",
            crate::list::memberships::parent!("up"),
            ") SELECT max((SELECT m.access_level FROM members m
                            WHERE m.source_kind = 'group' AND m.source_id = up.id AND m.user_id = ",
            $user,
            " AND (m.expires_on IS NULL OR m.expires_on > ",
            $day,
            "))) FROM up)"
        )
    };
}

mod list;

pub use list::{Filter, Plan, ProjectOrder, after, list, statements as lists};

/// A project with what the viewer is to it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The project itself.
    pub project: Project,
    /// What the viewer is to it.
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

/// The group or personal namespace that it is in.
pub async fn namespace(at: &mut impl Runs, id: ProjectId) -> Result<Option<NamespaceId>> {
    let id: Option<i64> = query(NAMESPACE).bind(id.0).optional(at).await?;
    Ok(id.map(NamespaceId))
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
    // Of a group that the viewer may not see no project is read, so that time does not tell how many there are.
    let inside = |visible: bool| {
        query(INSIDE)
            .bind(id.0)
            .bind(least as i64)
            .bind(viewer.user_id().map(|id| id.0))
            .bind(i64::from(now.date().0))
            .bind(viewer.least_visible() as i64)
            .bind(visible)
    };
    let (group, mut rows): (Vec<namespaces::Row>, Vec<Row>) = both(namespaces::by_id(id), inside(member), at).await?;
    let group = group.into_iter().next().map(namespaces::Row::namespace).transpose()?;
    let visible = |group: &Namespace| {
        group.kind == NamespaceKind::Group && (member || group.visibility >= viewer.least_visible())
    };
    let group = match group.filter(visible) {
        Some(group) => group,
        // A member of something further down may see the groups above it. One that is absent is looked for as well.
        None => {
            let Some(group) = namespaces::visible_group(at, id, viewer, now).await? else { return Ok(None) };
            rows = inside(true).all(at).await?;
            group
        }
    };
    let seen = |row: Row| {
        let Seen { project, .. } = row.seen()?;
        let membership = memberships.map(|all| all.of_project(&project, now)).unwrap_or_default();
        Ok(Seen { project, membership })
    };
    Ok(Some((group, rows.into_iter().map(seen).collect::<Result<_>>()?)))
}

/// A project that is about to exist.
#[derive(Debug)]
pub struct NewProject<'a> {
    /// The group or personal namespace that it is in.
    pub namespace: NamespaceId,
    /// Who creates it. `None`: nobody that is known.
    pub creator: Option<UserId>,
    /// The display name.
    pub name: &'a str,
    /// Its own segment of the URL.
    pub path: &'a str,
    /// Free text. `None`: null on the wire.
    pub description: Option<&'a str>,
    /// Who may see it.
    pub visibility: Visibility,
}

/// [`Error::Taken`] if the namespace has one of that name; its path is taken separately, as a route.
pub async fn insert(tx: &mut Tx, new: &NewProject<'_>, now: Timestamp) -> Result<ProjectId> {
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

/// Whether a project of this namespace has this very name already.
pub async fn name_taken(at: &mut impl Runs, namespace: NamespaceId, name: &str) -> Result<bool> {
    query(NAME_TAKEN).bind(namespace.0).bind(name).one(at).await
}

/// Without what the viewer is there.
macro_rules! found {
    ($from:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", CAST(NULL AS BIGINT) AS project_level, CAST(NULL AS BIGINT) AS group_level, ",
            crate::namespaces::columns!(),
            " FROM ",
            $from
        )
    };
}

statements! {
    NAMESPACE = "SELECT namespace_id FROM projects WHERE id = $1";

    FIND = concat!(found!("projects p JOIN namespaces n ON n.id = p.namespace_id"), " WHERE p.id = $1");

    INSIDE = concat!(
        found!("namespaces n CROSS JOIN projects p"),
        " WHERE n.id = $1 AND (n.visibility >= $5 OR $6) AND p.namespace_id = n.id
            AND (p.visibility >= $2
                 OR p.id IN (SELECT m.source_id FROM members m
                              WHERE m.source_kind = 'project' AND m.user_id = $3
                                AND (m.expires_on IS NULL OR m.expires_on > $4)))
          ORDER BY p.created_at DESC, p.id DESC LIMIT 100"
    );

    VISIBLE = concat!(
        "SELECT * FROM (SELECT ", columns!(), ", ", project_level!("$1", "$3"), " AS project_level, ",
        group_level!("$1", "$3"), " AS group_level, ", namespaces::columns!(),
        " FROM projects p JOIN namespaces n ON n.id = p.namespace_id WHERE p.id = $4) AS seen
          WHERE visibility >= $2 OR project_level IS NOT NULL OR group_level IS NOT NULL"
    );

    INSERT = "
    INSERT INTO projects (namespace_id, creator_id, name, lower_name, path, description, visibility, archived, created_at, updated_at,
                          last_activity_at)
    VALUES ($1, $2, $3, $8, $4, $5, $6, FALSE, $7, $7, $7) RETURNING id";

    COUNT_IN = "SELECT count(*) FROM projects WHERE namespace_id = $1";

    NAME_TAKEN = "SELECT EXISTS (SELECT 1 FROM projects WHERE namespace_id = $1 AND name = $2)";
}

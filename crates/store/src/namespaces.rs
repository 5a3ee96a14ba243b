//! `namespaces` and `routes`: personal namespaces and groups, and the one place where every full path stands.

use tollhouse_domain::access::{Viewer, Visibility};
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::{Query, query};
use crate::engine::tx::Tx;
use crate::error::{Error, Result};

macro_rules! columns {
    () => {
        "n.id AS namespace_id, n.kind AS namespace_kind, n.parent_id, n.owner_id, n.name AS namespace_name,
        n.path AS namespace_path, n.full_path, n.full_name, n.description AS namespace_description,
        n.visibility AS namespace_visibility, n.created_at AS namespace_created_at"
    };
}
pub(crate) use columns;

row! {
    /// The columns of a [`Namespace`], as `columns!` names them.
    pub(crate) struct Row {
        namespace_id: i64,
        namespace_kind: String,
        parent_id: Option<i64>,
        owner_id: Option<i64>,
        namespace_name: String,
        namespace_path: String,
        full_path: String,
        full_name: String,
        namespace_description: String,
        namespace_visibility: i64,
        namespace_created_at: i64,
    }
}

impl Row {
    /// [`Error::Damaged`] if the kind or the visibility is one that this program does not know.
    pub(crate) fn namespace(self) -> Result<Namespace> {
        let damaged = |what: &str| Error::Damaged(format!("namespace {}: {what}", self.namespace_id));
        Ok(Namespace {
            id: NamespaceId(self.namespace_id),
            kind: NamespaceKind::parse(&self.namespace_kind).ok_or_else(|| damaged("kind"))?,
            visibility: Visibility::from_number(self.namespace_visibility).ok_or_else(|| damaged("visibility"))?,
            parent_id: self.parent_id.map(NamespaceId),
            owner_id: self.owner_id.map(UserId),
            name: self.namespace_name,
            path: self.namespace_path,
            full_path: self.full_path,
            full_name: self.full_name,
            description: self.namespace_description,
            created_at: Timestamp(self.namespace_created_at),
        })
    }
}

mod list;

pub use list::{Filter, GroupOrder, groups_after, list_groups, statements as lists};

/// What a full path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Routed {
    /// A group or a personal namespace.
    Namespace(NamespaceId),
    /// A project.
    Project(ProjectId),
}

/// Without regard to case.
pub async fn route(at: &mut impl Runs, full_path: &str) -> Result<Option<Routed>> {
    let lower = full_path.to_ascii_lowercase();
    let found: Option<(String, i64)> = query(ROUTE).bind(&lower).optional(at).await?;
    Ok(found.map(|(kind, id)| match kind.as_str() {
        "project" => Routed::Project(ProjectId(id)),
        _ => Routed::Namespace(NamespaceId(id)),
    }))
}

/// [`Error::Taken`] if anything has that path. What takes a path away, or gives it to something else, has to say
/// [`Invalidation::Paths`]: memberships are remembered with the path of their group or project (T8).
pub async fn add_route(tx: &mut Tx, full_path: &str, to: Routed) -> Result<()> {
    let (kind, id) = match to {
        Routed::Namespace(id) => ("namespace", id.0),
        Routed::Project(id) => ("project", id.0),
    };
    query(ADD_ROUTE).bind(full_path.to_ascii_lowercase()).bind(kind).bind(id).changed(tx).await.map(drop)
}

/// A group or a personal namespace. `None`: there is none with this number.
pub async fn find(at: &mut impl Runs, id: NamespaceId) -> Result<Option<Namespace>> {
    let row: Option<Row> = by_id(id).optional(at).await?;
    row.map(Row::namespace).transpose()
}

/// The statement behind [`find`], for whoever sends it together with another one.
pub(crate) fn by_id(id: NamespaceId) -> Query<'static> {
    query(FIND).bind(id.0)
}

/// Locks the tree that a namespace belongs to until the commit: nothing is created, moved or changed in it meanwhile. A
/// transaction locks one tree, before it reads anything of it, so that no two wait for each other.
pub async fn lock_tree(tx: &mut Tx, id: NamespaceId) -> Result<()> {
    query(LOCK_TREE).bind(id.0).changed(tx).await.map(drop)
}

/// A group that the viewer may see, by number.
pub async fn visible_group(
    at: &mut impl Runs,
    id: NamespaceId,
    viewer: Viewer,
    now: Timestamp,
) -> Result<Option<Namespace>> {
    let row: Option<Row> = query(VISIBLE_GROUP)
        .bind(viewer.user_id().map(|id| id.0))
        .bind(viewer.least_visible() as i64)
        .bind(i64::from(now.date().0))
        .bind(id.0)
        .optional(at)
        .await?;
    row.map(Row::namespace).transpose()
}

/// A namespace that is about to exist.
#[derive(Debug)]
pub struct NewNamespace<'a> {
    /// A group or a personal namespace.
    pub kind: NamespaceKind,
    /// The group around it. `None`: a top-level group or a personal namespace.
    pub parent: Option<&'a Namespace>,
    /// Whose personal namespace it is. `None`: a group.
    pub owner: Option<UserId>,
    /// The display name, without those above.
    pub name: &'a str,
    /// Its own segment of the URL; not checked here.
    pub path: &'a str,
    /// Free text; empty for none.
    pub description: &'a str,
    /// Who may see it.
    pub visibility: Visibility,
}

/// [`Error::Taken`] if anything has that path.
pub async fn insert(tx: &mut Tx, new: &NewNamespace<'_>, now: Timestamp) -> Result<Namespace> {
    let (full_path, full_name) = match new.parent {
        Some(parent) => (format!("{}/{}", parent.full_path, new.path), format!("{} / {}", parent.full_name, new.name)),
        None => (new.path.to_owned(), new.name.to_owned()),
    };
    // Members of the groups above are members of this one too.
    if new.parent.is_some() {
        tx.invalidate(Invalidation::Groups);
    }
    let id: i64 = query(INSERT)
        .bind(new.kind.as_str())
        .bind(new.parent.map(|parent| parent.id.0))
        .bind(new.owner.map(|id| id.0))
        .bind(new.name)
        .bind(new.path)
        .bind(&full_path)
        .bind(&full_name)
        .bind(new.description)
        .bind(new.visibility as i64)
        .bind(now.0)
        .bind(new.name.to_lowercase())
        .one(tx)
        .await?;
    let id = NamespaceId(id);
    add_route(tx, &full_path, Routed::Namespace(id)).await?;
    Ok(Namespace {
        id,
        kind: new.kind,
        parent_id: new.parent.map(|parent| parent.id),
        owner_id: new.owner,
        name: new.name.to_owned(),
        path: new.path.to_owned(),
        full_path,
        full_name,
        description: new.description.to_owned(),
        visibility: new.visibility,
        created_at: now,
    })
}

/// What a group is changed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupChange<'a> {
    /// The display name.
    pub name: &'a str,
    /// Its own segment of the URL; not checked here.
    pub path: &'a str,
    /// Free text; empty for none.
    pub description: &'a str,
    /// Who may see it.
    pub visibility: Visibility,
}

/// Changes a group, with the full paths and names of everything inside it. `parent`: the group around it. [`Error::Taken`]
/// if anything has one of the new paths.
pub async fn change(
    tx: &mut Tx,
    old: &Namespace,
    new: &GroupChange<'_>,
    parent: Option<&Namespace>,
    now: Timestamp,
) -> Result<()> {
    let (full_path, full_name) = match parent {
        Some(parent) => (format!("{}/{}", parent.full_path, new.path), format!("{} / {}", parent.full_name, new.name)),
        None => (new.path.to_owned(), new.name.to_owned()),
    };
    // Memberships are remembered with the path of their group or project (T8).
    if full_path != old.full_path {
        tx.invalidate(Invalidation::Paths);
        #[cfg(feature = "faults")]
        tx.unmark(Mutant::GroupMovedUnmarked);
    } else if new.visibility < old.visibility {
        tx.invalidate(Invalidation::Groups);
    }
    query(CHANGE)
        .bind(old.id.0)
        .bind(new.name)
        .bind(new.name.to_lowercase())
        .bind(new.path)
        .bind(new.description)
        .bind(new.visibility as i64)
        .bind(now.0)
        .changed(tx)
        .await?;
    if full_path != old.full_path || full_name != old.full_name {
        query(RENAME_TREE)
            .bind(old.id.0)
            .bind(&full_path)
            .bind(length(&old.full_path))
            .bind(&full_name)
            .bind(length(&old.full_name))
            .changed(tx)
            .await?;
    }
    if full_path != old.full_path {
        let lower = full_path.to_ascii_lowercase();
        query(MOVE_ROUTES).bind(old.id.0).bind(&lower).bind(length(&old.full_path)).changed(tx).await?;
    }
    Ok(())
}

/// In characters, as `substr` counts them.
fn length(text: &str) -> i64 {
    text.chars().count() as i64
}

/// The highest visibility of the groups, and of the projects, right inside a group. Nothing is more visible than what it is
/// in, so nothing further inside is.
pub async fn most_visible_inside(
    at: &mut impl Runs,
    id: NamespaceId,
) -> Result<(Option<Visibility>, Option<Visibility>)> {
    let (groups, projects): (Option<i64>, Option<i64>) = query(MOST_VISIBLE_INSIDE).bind(id.0).one(at).await?;
    Ok((groups.and_then(Visibility::from_number), projects.and_then(Visibility::from_number)))
}

/// A group with every group inside it, by id.
macro_rules! tree {
    () => {
        "WITH RECURSIVE tree(id) AS (
            SELECT CAST($1 AS BIGINT) UNION SELECT n.id FROM namespaces n JOIN tree ON n.parent_id = tree.id
        ) "
    };
}

/// Whoever may see a group: what it is open to, its members and theirs of the groups above, and those who are
/// members of something inside it, since they must be able to find the way there.
macro_rules! seen {
    () => {
        concat!(
            "WITH RECURSIVE ",
            crate::members::mine!(),
            ", upward(id) AS (
                SELECT m.source_id FROM members m
                 WHERE m.source_kind = 'group' AND m.user_id = $1 AND (m.expires_on IS NULL OR m.expires_on > $3)
                UNION
                SELECT p.namespace_id FROM members m JOIN projects p ON p.id = m.source_id
                 WHERE m.source_kind = 'project' AND m.user_id = $1 AND (m.expires_on IS NULL OR m.expires_on > $3)
                UNION
                SELECT n.parent_id FROM namespaces n JOIN upward ON n.id = upward.id WHERE n.parent_id IS NOT NULL
            ) "
        )
    };
}

statements! {
    ROUTE = "SELECT source_kind, source_id FROM routes WHERE lower_path = $1";

    ADD_ROUTE = "INSERT INTO routes (lower_path, source_kind, source_id) VALUES ($1, $2, $3)";

    LOCK_TREE = "
    UPDATE namespaces SET updated_at = updated_at WHERE id = (
        WITH RECURSIVE above(id, parent_id) AS (
            SELECT id, parent_id FROM namespaces WHERE id = $1
            UNION ALL
            SELECT n.id, n.parent_id FROM namespaces n JOIN above ON n.id = above.parent_id
        ) SELECT id FROM above WHERE parent_id IS NULL)";

    FIND = concat!("SELECT ", columns!(), " FROM namespaces n WHERE n.id = $1");

    VISIBLE_GROUP = concat!(
        seen!(), "SELECT ", columns!(),
        " FROM namespaces n
         WHERE n.id = $4 AND n.kind = 'group'
           AND (n.visibility >= $2 OR n.id IN (SELECT id FROM mine) OR n.id IN (SELECT id FROM upward))"
    );

    CHANGE = "
    UPDATE namespaces SET name = $2, lower_name = $3, path = $4, description = $5, visibility = $6, updated_at = $7
     WHERE id = $1";

    RENAME_TREE = concat!(
        tree!(), "UPDATE namespaces SET
            full_path = CAST($2 AS TEXT) || substr(full_path, CAST(CAST($3 AS BIGINT) AS INTEGER) + 1),
            full_name = CAST($4 AS TEXT) || substr(full_name, CAST(CAST($5 AS BIGINT) AS INTEGER) + 1)
         WHERE id IN (SELECT id FROM tree)"
    );

    MOVE_ROUTES = concat!(
        tree!(), "UPDATE routes SET lower_path = CAST($2 AS TEXT) || substr(lower_path, CAST(CAST($3 AS BIGINT) AS INTEGER) + 1)
         WHERE (source_kind = 'namespace' AND source_id IN (SELECT id FROM tree))
            OR (source_kind = 'project' AND source_id IN
                (SELECT p.id FROM projects p WHERE p.namespace_id IN (SELECT id FROM tree)))"
    );

    MOST_VISIBLE_INSIDE = "
    SELECT (SELECT max(visibility) FROM namespaces WHERE parent_id = $1),
           (SELECT max(visibility) FROM projects WHERE namespace_id = $1)";

    INSERT = "
    INSERT INTO namespaces (kind, parent_id, owner_id, name, lower_name, path, full_path, full_name, description, visibility,
                            created_at, updated_at)
    VALUES ($1, $2, $3, $4, $11, $5, $6, $7, $8, $9, $10, $10) RETURNING id";
}

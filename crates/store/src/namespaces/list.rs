//! Lists of groups.
//!
//! Whoever may see a group: what it is open to, its members and theirs of the groups above, and those who are members of
//! something inside it, since they must be able to find the way there.

use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::id::NamespaceId;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::time::Timestamp;

use super::Row;
use crate::engine::conn::Runs;
use crate::error::Result;
use crate::list::memberships::{Held, parent};
use crate::list::{List, Order, Piece, Source, Span, Statement, among};

/// Which groups a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the full path, without regard to case.
    pub search: Option<String>,
    /// `None`: any that the viewer may see.
    pub visibility: Option<Visibility>,
    /// Only groups in which the viewer has the level of an owner.
    pub owned: bool,
    /// Only groups in which the viewer has at least this level.
    pub min_access_level: Option<i64>,
    /// Only groups that are in no other group.
    pub top_level_only: bool,
    /// Only what one is a member of, though more is visible.
    pub members_only: bool,
    /// Not these.
    pub skip: Vec<NamespaceId>,
    /// What it is sorted by.
    pub order: GroupOrder,
    /// Whether from the last to the first.
    pub descending: bool,
}

/// What the list is sorted by; `id` decides between equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupOrder {
    /// The name in lower case.
    #[default]
    Name,
    /// Its own segment of the URL, in lower case.
    Path,
    /// The number: the order in which they were created.
    Id,
}

impl GroupOrder {
    /// Every order, for the test of all combinations.
    pub const ALL: [Self; 3] = [Self::Name, Self::Path, Self::Id];

    fn key(self) -> Option<&'static str> {
        match self {
            Self::Name => Some("n.lower_name"),
            Self::Path => Some("lower(n.path)"),
            Self::Id => None,
        }
    }
}

/// A page of groups and, up to 10,001, how many there are.
pub async fn list_groups(
    at: &mut impl Runs,
    filter: &Filter,
    viewer: Viewer,
    span: &Span,
    now: Timestamp,
) -> Result<(Vec<Namespace>, i64)> {
    let list = groups(filter, viewer, now);
    let total = list.total(at).await?;
    let rows: Vec<Row> = list.rows(at, span).await?;
    Ok((rows.into_iter().map(Row::namespace).collect::<Result<_>>()?, total))
}

/// The next so many groups after this number, oldest first, whoever may see them.
pub async fn groups_after(at: &mut impl Runs, id: NamespaceId, limit: i64) -> Result<Vec<Namespace>> {
    let everything = Viewer::Administrator { id: NOBODY };
    let filter = Filter { order: GroupOrder::Id, ..Filter::default() };
    let rows: Vec<Row> = groups(&filter, everything, Timestamp(0)).rows(at, &Span::after(id.0, limit)).await?;
    rows.into_iter().map(Row::namespace).collect()
}

/// The statements of such a list: of the count and of the page.
pub fn statements(filter: &Filter, viewer: Viewer, span: &Span, now: Timestamp) -> Vec<(&'static str, Statement)> {
    let list = groups(filter, viewer, now);
    match list.sources.is_empty() {
        true => Vec::new(),
        false => vec![("count", list.count()), ("page", list.page(span))],
    }
}

fn groups(filter: &Filter, viewer: Viewer, now: Timestamp) -> List {
    let floor = if filter.owned { Some(AccessLevel::Owner as i64) } else { filter.min_access_level };
    let only_memberships = filter.members_only || floor.is_some();
    let wanted = Visibility::ALL.into_iter().filter(|one| filter.visibility.is_none_or(|wanted| wanted == *one));
    let (open, closed): (Vec<_>, Vec<_>) = wanted.partition(|one| !only_memberships && *one >= viewer.least_visible());
    let along = |visibility| {
        Source::ordered("namespaces n", format!("n.kind = 'group' AND n.visibility = {}", visibility as i64))
    };
    let mut sources: Vec<_> = open.into_iter().map(along).collect();
    let mut with = Vec::new();
    if let (Some(user), false) = (viewer.user_id(), closed.is_empty()) {
        let held = Held { user: user.0, now, floor };
        with.push(held.groups());
        if floor.is_some() {
            with.push("known(id) AS (SELECT id FROM mine)".into());
        } else {
            with.push(upward(held));
            with.push("known(id) AS (SELECT id FROM mine UNION SELECT id FROM upward)".into());
        }
        let numbers: Vec<_> = closed.iter().map(|one| (*one as i64).to_string()).collect();
        let when = format!("n.id = known.id AND n.kind = 'group' AND n.visibility IN ({})", numbers.join(", "));
        sources.push(Source::per("known", "namespaces n", when));
    }
    let search = filter.search.as_deref().map(|text| {
        let pattern = crate::engine::sql::like(text);
        Piece::new("(lower(n.full_path) LIKE ? ESCAPE '\\' OR n.lower_name LIKE ? ESCAPE '\\')")
            .bind(pattern.clone())
            .bind(pattern)
    });
    let skip: Vec<i64> = filter.skip.iter().map(|id| id.0).collect();
    let skip = (!skip.is_empty()).then(|| {
        let mut others = Piece::new("NOT ");
        others.append(&among("n.id", &skip));
        others
    });
    let top_level = filter.top_level_only.then(|| Piece::new("n.parent_id IS NULL"));
    List {
        alias: "n",
        with,
        sources,
        filters: search.into_iter().chain(top_level).chain(skip).collect(),
        order: Order { key: filter.order.key(), descending: filter.descending },
        columns: columns!().into(),
        joined: " CROSS JOIN namespaces n WHERE n.id = page.id",
    }
}

/// `upward(id)`: groups in which one is a member of something, and those above them.
fn upward(held: Held) -> Piece {
    let mut upward = Piece::new("upward(id) AS (SELECT m.source_id FROM members m WHERE ");
    upward.append(&held.of_groups());
    upward.push(" UNION SELECT p.namespace_id FROM members m CROSS JOIN projects p WHERE p.id = m.source_id AND ");
    upward.append(&held.of_projects());
    upward.push(concat!(" UNION ", parent!("upward"), ")"));
    upward
}

/// For a list that asks for no membership.
const NOBODY: tollhouse_domain::id::UserId = tollhouse_domain::id::UserId(0);

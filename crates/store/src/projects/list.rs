//! Lists of projects.
//!
//! What is visible to somebody is what is open to them, in the order of an index for each visibility, and what a membership
//! opens. That is read from the groups and sorted if it is little, and found by walking along the index if it is much
//! ([`Plan`], docs/decisions/0033).

use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::id::NamespaceId;
use tollhouse_domain::time::Timestamp;

use super::{Row, Seen};
use crate::engine::conn::Runs;
use crate::error::Result;
use crate::list::memberships::Held;
use crate::list::{List, Order, Piece, Source, Span, Statement, found};
use crate::namespaces;

/// Which projects a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Part of the name or the path, without regard to case.
    pub search: Option<String>,
    /// `None`: any that the viewer may see.
    pub visibility: Option<Visibility>,
    /// `None`: archived or not.
    pub archived: Option<bool>,
    /// Only projects in which the viewer has the level of an owner.
    pub owned: bool,
    /// Only projects of which the viewer is a member.
    pub membership: bool,
    /// Only projects in which the viewer has at least this level.
    pub min_access_level: Option<i64>,
    /// Those right inside it.
    pub namespace: Option<NamespaceId>,
    /// Only those with a larger number.
    pub id_after: Option<i64>,
    /// Only those with a smaller number.
    pub id_before: Option<i64>,
    /// What it is sorted by.
    pub order: ProjectOrder,
    /// Whether from the first to the last; without it the newest or largest come first.
    pub ascending: bool,
    /// How many memberships the viewer has of groups and projects, if that is known.
    pub memberships: Option<usize>,
}

/// What the list is sorted by; `id` decides between equals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProjectOrder {
    /// When it was created.
    #[default]
    CreatedAt,
    /// The number.
    Id,
    /// The name in lower case.
    Name,
    /// Its own segment of the URL.
    Path,
    /// When it was last changed.
    UpdatedAt,
    /// When something last happened in it.
    LastActivityAt,
}

impl ProjectOrder {
    /// Every order, for the test of all combinations.
    pub const ALL: [Self; 6] =
        [Self::CreatedAt, Self::Id, Self::Name, Self::Path, Self::UpdatedAt, Self::LastActivityAt];

    fn key(self) -> Option<&'static str> {
        match self {
            Self::CreatedAt => Some("p.created_at"),
            Self::Id => None,
            Self::Name => Some("p.lower_name"),
            Self::Path => Some("lower(p.path)"),
            Self::UpdatedAt => Some("p.updated_at"),
            Self::LastActivityAt => Some("p.last_activity_at"),
        }
    }
}

/// How the projects are found that only a membership opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Those of every group that the viewer is in, then sorted.
    Groups,
    /// Along the index of the order; of each one it is asked whether it opens.
    Walk,
}

/// A page of projects and, up to 10,001, how many there are.
pub async fn list(
    at: &mut impl Runs,
    filter: &Filter,
    viewer: Viewer,
    span: &Span,
    now: Timestamp,
) -> Result<(Vec<Seen>, i64)> {
    let asked = Used { filter, viewer, now };
    let total = asked.list(Plan::Groups).total(at).await?;
    let few = asked.counts_all() && total <= FEW;
    let plan = if few { Plan::Groups } else { asked.plan(at).await? };
    Ok((page(at, filter, viewer, span, now, plan).await?, total))
}

/// A page that is not counted.
pub async fn after(
    at: &mut impl Runs,
    filter: &Filter,
    viewer: Viewer,
    span: &Span,
    now: Timestamp,
) -> Result<Vec<Seen>> {
    let plan = Used { filter, viewer, now }.plan(at).await?;
    page(at, filter, viewer, span, now, plan).await
}

/// The rows of one page, in the order of the filter.
pub(super) async fn page(
    at: &mut impl Runs,
    filter: &Filter,
    viewer: Viewer,
    span: &Span,
    now: Timestamp,
    plan: Plan,
) -> Result<Vec<Seen>> {
    let rows: Vec<Row> = Used { filter, viewer, now }.list(plan).rows(at, span).await?;
    rows.into_iter().map(Row::seen).collect()
}

/// The statements of such a list: of the count, of what the plan depends on, if it does, and of the page.
pub fn statements(
    filter: &Filter,
    viewer: Viewer,
    span: &Span,
    now: Timestamp,
    plan: Plan,
) -> Vec<(&'static str, Statement)> {
    let asked = Used { filter, viewer, now };
    let list = asked.list(plan);
    if list.sources.is_empty() {
        return Vec::new();
    }
    let mut all = vec![("count", asked.list(Plan::Groups).count()), ("page", list.page(span))];
    all.extend(asked.closed().map(|(user, closed)| ("reach", asked.reach(user, &closed))));
    all
}

struct Used<'a> {
    filter: &'a Filter,
    viewer: Viewer,
    now: Timestamp,
}

impl Used<'_> {
    /// The least level that is asked for.
    fn floor(&self) -> Option<i64> {
        let owner = self.filter.owned.then_some(AccessLevel::Owner as i64);
        owner.max(self.filter.min_access_level)
    }

    fn only_memberships(&self) -> bool {
        self.filter.membership || self.floor().is_some()
    }

    /// The viewer, and the visibilities of which nothing is shown without a membership. `None`: no membership adds anything.
    fn closed(&self) -> Option<(i64, Vec<Visibility>)> {
        let user = self.viewer.user_id().filter(|_| self.filter.memberships != Some(0))?;
        let closed: Vec<_> = self.wanted().filter(|visibility| !self.is_open(*visibility)).collect();
        (!closed.is_empty()).then_some((user.0, closed))
    }

    fn is_open(&self, visibility: Visibility) -> bool {
        !self.only_memberships() && visibility >= self.viewer.least_visible()
    }

    fn wanted(&self) -> impl Iterator<Item = Visibility> {
        let wanted = self.filter.visibility;
        Visibility::ALL.into_iter().filter(move |visibility| wanted.is_none_or(|wanted| wanted == *visibility))
    }

    /// Whether no more has to be read than is counted.
    fn counts_all(&self) -> bool {
        self.filter.search.is_none()
            && self.filter.archived.is_none()
            && self.filter.id_after.is_none()
            && self.filter.id_before.is_none()
    }

    async fn plan(&self, at: &mut impl Runs) -> Result<Plan> {
        let Some((user, closed)) = self.closed().filter(|_| self.filter.namespace.is_none()) else {
            return Ok(Plan::Groups);
        };
        if self.filter.memberships.is_some_and(|known| known > MANY) {
            return Ok(Plan::Walk);
        }
        let reach: i64 = self.reach(user, &closed).query().one(at).await?;
        Ok(if reach > FEW { Plan::Walk } else { Plan::Groups })
    }

    fn held(&self, user: i64) -> Held {
        Held { user, now: self.now, floor: self.floor() }
    }

    /// How many projects stand in groups of the viewer that only a membership opens, counted as far as it matters.
    fn reach(&self, user: i64, closed: &[Visibility]) -> Statement {
        let mut reach = Piece::new("WITH RECURSIVE ");
        reach.append(&self.held(user).groups());
        reach.push(", counted(one) AS (SELECT 1 FROM mine LEFT JOIN projects p ON p.namespace_id = mine.id AND ");
        reach.push(&is_one_of(closed));
        reach.push(&found("p"));
        reach.push(&format!(" LIMIT {}) SELECT count(*) FROM counted", FEW + 1));
        reach.statement()
    }

    fn list(&self, plan: Plan) -> List {
        let open = self.wanted().filter(|visibility| self.is_open(*visibility));
        let mut sources: Vec<_> = open.map(|visibility| self.along(visibility)).collect();
        let mut with = Vec::new();
        if let Some((user, closed)) = self.closed() {
            let held = self.held(user);
            match (self.filter.namespace, plan) {
                (Some(namespace), _) => {
                    with.push(held.projects());
                    sources.extend(self.in_namespace(namespace, held, &closed));
                }
                (None, Plan::Groups) => {
                    with.extend([held.groups(), held.projects()]);
                    sources.extend(from_groups(&closed).map(|source| self.bounded("+p.id", source)));
                }
                (None, Plan::Walk) => sources.extend(closed.into_iter().map(|visibility| {
                    let mut opens = Piece::new("(");
                    opens.append(&held.is_of_project("p.id"));
                    opens.push(" OR ");
                    opens.append(&held.is_of_group(&"p.namespace_id".into()));
                    opens.push(")");
                    self.along(visibility).and(opens)
                })),
            }
        }
        let order = Order { key: self.filter.order.key(), descending: !self.filter.ascending };
        List { alias: "p", with, sources, filters: self.filters(), order, columns: self.columns(), joined: JOINED }
    }

    /// Projects of one visibility, which an index has in the order of the list.
    fn along(&self, visibility: Visibility) -> Source {
        let along = self.bounded("p.id", Source::ordered("projects p", is_one_of(&[visibility])));
        match self.filter.namespace {
            Some(namespace) => along.and(Piece::new("p.namespace_id = ?").bind(namespace.0)),
            None => along,
        }
    }

    /// Whether the viewer is in that group is asked once, not for each project.
    fn in_namespace(&self, namespace: NamespaceId, held: Held, closed: &[Visibility]) -> Vec<Source> {
        let member = held.is_of_group(&Piece::new("CAST(? AS BIGINT)").bind(namespace.0));
        let mut sources: Vec<_> = closed.iter().map(|visibility| self.along(*visibility).and(member.clone())).collect();
        let mut no_member = Piece::new("NOT ");
        no_member.append(&member);
        let direct = Source::per("direct", "projects p", "p.id = direct.id").and(is_one_of(closed)).and(no_member);
        let direct = direct.and(Piece::new("p.namespace_id = ?").bind(namespace.0));
        sources.push(self.bounded("+p.id", direct));
        sources
    }

    fn filters(&self) -> Vec<Piece> {
        let Filter { search, archived, .. } = self.filter;
        let search = search.as_deref().map(|text| {
            let pattern = crate::engine::sql::like(text);
            Piece::new("(p.lower_name LIKE ? ESCAPE '\\' OR lower(p.path) LIKE ? ESCAPE '\\')")
                .bind(pattern.clone())
                .bind(pattern)
        });
        let archived = archived.map(|archived| Piece::new("p.archived = ?").bind(archived));
        search.into_iter().chain(archived).collect()
    }

    /// Between two numbers, if they are asked for. `id` has a sign where no index shall be chosen for it.
    fn bounded(&self, id: &str, source: Source) -> Source {
        let after = self.filter.id_after.map(|after| (">", after));
        let before = self.filter.id_before.map(|before| ("<", before));
        let bounds = after.into_iter().chain(before);
        bounds.fold(source, |source, (way, than)| source.and(Piece::new(format!("{id} {way} ?")).bind(than)))
    }

    fn columns(&self) -> Piece {
        let mut columns = Piece::new(concat!(columns!(), ", "));
        match self.viewer.user_id() {
            Some(user) => {
                let today = i64::from(self.now.date().0);
                columns.append(&Piece::new(project_level!("?", "?")).bind(user.0).bind(today));
                columns.push(" AS project_level, ");
                columns.append(&Piece::new(group_level!("?", "?")).bind(user.0).bind(today));
                columns.push(" AS group_level, ");
            }
            None => columns.push("CAST(NULL AS BIGINT) AS project_level, CAST(NULL AS BIGINT) AS group_level, "),
        }
        columns.push(namespaces::columns!());
        columns
    }
}

/// Those of the groups, and those that somebody is a member of themselves.
fn from_groups(closed: &[Visibility]) -> [Source; 2] {
    let direct = "p.id = direct.id AND p.namespace_id NOT IN (SELECT id FROM mine)";
    [("mine", "p.namespace_id = mine.id"), ("direct", direct)]
        .map(|(of, when)| Source::per(of, "projects p", when).and(is_one_of(closed)))
}

fn is_one_of(visibilities: &[Visibility]) -> String {
    let numbers: Vec<_> = visibilities.iter().map(|visibility| (*visibility as i64).to_string()).collect();
    match &numbers[..] {
        [only] => format!("p.visibility = {only}"),
        several => format!("p.visibility IN ({})", several.join(", ")),
    }
}

const JOINED: &str = " CROSS JOIN projects p CROSS JOIN namespaces n WHERE p.id = page.id AND n.id = p.namespace_id";

/// So many projects are read and sorted sooner than the same number of rows is found by walking among 100,000.
const FEW: i64 = 2_000;

/// With so many memberships it is not counted what they reach.
const MANY: usize = 500;

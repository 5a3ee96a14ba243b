//! Lists of users.

use std::collections::{BTreeSet, HashMap};

use tollhouse_domain::access::Viewer;
use tollhouse_domain::id::UserId;
use tollhouse_domain::user::User;

use super::Row;
use crate::engine::conn::Runs;
use crate::error::Result;
use crate::list::{List, Order, Piece, SIZES, Source, Span, Statement, among};

/// Which users a list shows.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Exactly this user name, without regard to case.
    pub username: Option<String>,
    /// Part of the name or user name, or the whole address.
    pub search: Option<String>,
    /// Only accounts whose state is active.
    pub active: bool,
    /// Only blocked accounts, those blocked by a directory included.
    pub blocked: bool,
    /// Only external users.
    pub external: bool,
    /// Only people: no bots, no internal accounts.
    pub humans: bool,
}

/// A page of users, newest first, and, up to 10,001, how many there are.
pub async fn list(at: &mut impl Runs, filter: &Filter, viewer: Viewer, span: &Span) -> Result<(Vec<User>, i64)> {
    let list = users(filter, viewer, true);
    let total = list.total(at).await?;
    Ok((rows(at, &list, span).await?, total))
}

/// The next so many users after this number, oldest first.
pub async fn after(at: &mut impl Runs, id: UserId, limit: i64) -> Result<Vec<User>> {
    let list = users(&Filter::default(), Viewer::Administrator { id }, false);
    rows(at, &list, &Span::after(id.0, limit)).await
}

async fn rows(at: &mut impl Runs, list: &List, span: &Span) -> Result<Vec<User>> {
    let rows: Vec<Row> = list.rows(at, span).await?;
    rows.into_iter().map(Row::user).collect()
}

/// Several users at once, for lists that show whom something belongs to.
pub async fn several(at: &mut impl Runs, ids: impl IntoIterator<Item = UserId>) -> Result<HashMap<UserId, User>> {
    let ids: BTreeSet<i64> = ids.into_iter().map(|id| id.0).collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let mut found = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(SIZES[SIZES.len() - 1] as usize) {
        let mut text = Piece::new(concat!("SELECT ", columns!(), " FROM users u WHERE "));
        text.append(&among("u.id", ids));
        let rows: Vec<Row> = text.statement().query().all(at).await?;
        for row in rows {
            let user = row.user()?;
            found.insert(user.id, user);
        }
    }
    Ok(found)
}

/// The statements of such a list: of the count and of the page.
pub fn statements(filter: &Filter, viewer: Viewer, span: &Span) -> Vec<(&'static str, Statement)> {
    let list = users(filter, viewer, true);
    vec![("count", list.count()), ("page", list.page(span))]
}

fn users(filter: &Filter, viewer: Viewer, descending: bool) -> List {
    let administrator = matches!(viewer, Viewer::Administrator { .. });
    let username = filter.username.as_deref();
    let username = username.map(|name| Piece::new("u.lower_username = ?").bind(name.to_ascii_lowercase()));
    let search = filter.search.as_deref().map(|text| {
        let (pattern, exact) = (crate::engine::sql::like(text), text.to_ascii_lowercase());
        let mut search = Piece::new("(u.lower_username LIKE ? ESCAPE '\\' OR u.lower_name LIKE ? ESCAPE '\\'")
            .bind(pattern.clone())
            .bind(pattern);
        if administrator {
            search.append(&Piece::new(" OR (u.lower_email = ? AND u.email <> '')").bind(exact.clone()));
        }
        search.append(&Piece::new(" OR lower(u.public_email) = ?)").bind(exact));
        search
    });
    let mut filters: Vec<_> = username.into_iter().chain(search).collect();
    // One condition leads, by an index that has the order too: the one that the fewest users meet. No index fits how the
    // others are put.
    let leading: &[&'static str] = match filter {
        Filter { blocked: true, .. } => &["u.state = 'blocked'", "u.state = 'ldap_blocked'"],
        Filter { external: true, .. } => &["u.external = TRUE"],
        Filter { active: true, .. } => &["u.state = 'active'"],
        _ => &["TRUE"],
    };
    let plain = [
        (true, "u.kind <> 'internal'"),
        (filter.active, "NOT u.state <> 'active'"),
        (filter.external, "u.external"),
        (filter.humans, "NOT u.kind <> 'human'"),
        (!administrator, "u.state <> 'banned'"),
    ];
    filters.extend(plain.into_iter().filter(|(asked, _)| *asked).map(|(_, text)| text.into()));
    List {
        alias: "u",
        with: Vec::new(),
        sources: leading.iter().map(|when| Source::ordered("users u", *when)).collect(),
        filters,
        order: Order { key: None, descending },
        columns: columns!().into(),
        joined: " CROSS JOIN users u WHERE u.id = page.id",
    }
}

//! Lists of service accounts.

use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::user::User;

use super::{BotKind, source};
use crate::engine::conn::Runs;
use crate::error::Result;
use crate::list::{List, Order, Piece, Source, Span, Statement};
use crate::users;

/// Which service accounts a list shows, and in which order.
#[derive(Clone, Copy, Debug)]
pub struct ServiceAccounts {
    /// What they belong to. `None`: this server.
    pub home: Option<MembershipSource>,
    /// By what they are sorted.
    pub order: ServiceAccountOrder,
    /// The greatest first.
    pub descending: bool,
}

/// By what a list of service accounts is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAccountOrder {
    /// By number.
    Id,
    /// By user name, without regard to case.
    Username,
}

/// A page of service accounts and, up to 10,001, how many there are.
pub async fn service_accounts(at: &mut impl Runs, filter: &ServiceAccounts, span: &Span) -> Result<(Vec<User>, i64)> {
    let list = accounts(filter);
    let total = list.total(at).await?;
    let rows: Vec<users::Row> = list.rows(at, span).await?;
    Ok((rows.into_iter().map(users::Row::user).collect::<Result<_>>()?, total))
}

/// The statements of such a list: of the count and of the page.
pub fn statements(filter: &ServiceAccounts, span: &Span) -> Vec<(&'static str, Statement)> {
    let list = accounts(filter);
    vec![("count", list.count()), ("page", list.page(span))]
}

/// A group or project has few; they are found by what they belong to, and sorted.
fn accounts(filter: &ServiceAccounts) -> List {
    let (kind, id) = source(filter.home);
    let owned =
        Piece::new("owned(id) AS (SELECT user_id FROM bots WHERE source_kind = ? AND source_id = ? AND kind = ?)")
            .bind(kind)
            .bind(id)
            .bind(BotKind::ServiceAccount.as_str());
    let key = match filter.order {
        ServiceAccountOrder::Id => None,
        ServiceAccountOrder::Username => Some("u.lower_username"),
    };
    List {
        alias: "u",
        with: vec![owned],
        sources: vec![Source::per("owned o", "users u", "u.id = o.id")],
        filters: Vec::new(),
        order: Order { key, descending: filter.descending },
        columns: users::columns!().into(),
        joined: " CROSS JOIN users u WHERE u.id = page.id",
    }
}

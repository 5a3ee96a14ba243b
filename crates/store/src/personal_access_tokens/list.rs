//! Lists of personal access tokens.

use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::PersonalAccessToken;

use super::Row;
use crate::engine::conn::Runs;
use crate::engine::sql::like;
use crate::error::Result;
use crate::list::{List, Order, Piece, Source, Span, Statement};

/// Which tokens a list shows, and in which order.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Only those of this user.
    pub user: Option<UserId>,
    /// Only impersonation tokens, or none of them.
    pub impersonation: Option<bool>,
    /// Only those in this state, with the instant at which they are.
    pub state: Option<(TokenState, Timestamp)>,
    /// Only those that were revoked or rotated away, or none of them.
    pub revoked: Option<bool>,
    /// Made at or after this instant.
    pub created_after: Option<Timestamp>,
    /// Made at or before this instant.
    pub created_before: Option<Timestamp>,
    /// Used at or after this instant.
    pub last_used_after: Option<Timestamp>,
    /// Last used at or before this instant; those never used are left out.
    pub last_used_before: Option<Timestamp>,
    /// Dead from this day or a later one.
    pub expires_after: Option<Date>,
    /// Dead from an earlier day than this one.
    pub expires_before: Option<Date>,
    /// A part of the name, without regard to case.
    pub search: Option<String>,
    /// By what it is sorted.
    pub order: TokenOrder,
    /// The least first.
    pub ascending: bool,
}

/// `state` of rest-api.md 2.2. On the day of its expiry a token is in neither of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Neither revoked nor expired.
    Active,
    /// Revoked, or expired since yesterday at the latest.
    Inactive,
}

/// By what a list of tokens is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenOrder {
    /// By number, which is the order of creation too.
    #[default]
    Id,
    /// By the day of expiry; those that never expire come after all others.
    ExpiresAt,
    /// By last use; those that were never used come after all others.
    LastUsedAt,
    /// By name, without regard to case.
    Name,
}

impl TokenOrder {
    /// Every order there is.
    pub const ALL: [Self; 4] = [Self::Id, Self::ExpiresAt, Self::LastUsedAt, Self::Name];

    /// The expression of its index.
    const fn key(self) -> Option<&'static str> {
        match self {
            Self::Id => None,
            Self::ExpiresAt => Some("COALESCE(t.expires_on, 9223372036854775807)"),
            Self::LastUsedAt => Some("COALESCE(t.last_used_at, 9223372036854775807)"),
            Self::Name => Some("t.lower_name"),
        }
    }
}

/// A page of tokens and, up to 10,001, how many there are.
pub async fn list(at: &mut impl Runs, filter: &Filter, span: &Span) -> Result<(Vec<PersonalAccessToken>, i64)> {
    let list = tokens(filter);
    let total = list.total(at).await?;
    Ok((rows(at, &list, span).await?, total))
}

/// The next so many tokens after this number, oldest first.
pub async fn after(
    at: &mut impl Runs,
    id: PersonalAccessTokenId,
    filter: Filter,
    limit: i64,
) -> Result<Vec<PersonalAccessToken>> {
    let list = tokens(&Filter { order: TokenOrder::Id, ascending: true, ..filter });
    rows(at, &list, &Span::after(id.0, limit)).await
}

async fn rows(at: &mut impl Runs, list: &List, span: &Span) -> Result<Vec<PersonalAccessToken>> {
    let rows: Vec<Row> = list.rows(at, span).await?;
    Ok(rows.into_iter().map(|row| row.found().token).collect())
}

/// The statements of such a list: of the count and of the page.
pub fn statements(filter: &Filter, span: &Span) -> Vec<(&'static str, Statement)> {
    let list = tokens(filter);
    vec![("count", list.count()), ("page", list.page(span))]
}

/// Looked up for each row: PostgreSQL would make a join of all families out of anything else, whatever the list shows.
macro_rules! head {
    () => {
        "(SELECT f.head_id FROM token_families f WHERE f.id = t.family_id AND f.ended_at IS NULL)"
    };
}
const LIVE: &str = concat!("t.id = ", head!());
const DEAD: &str = concat!("COALESCE(", head!(), ", 0) <> t.id");

fn tokens(filter: &Filter) -> List {
    let key = filter.order.key();
    let (with, source) = match (filter.user, key) {
        (Some(user), None) => {
            (Vec::new(), Source::ordered("personal_access_tokens t", Piece::new("t.user_id = ?").bind(user.0)))
        }
        // No index has the tokens of one user in this order: they are read by their owner, and sorted.
        (Some(user), Some(_)) => {
            let owner = Piece::new("owner(id) AS (SELECT CAST(? AS BIGINT))").bind(user.0);
            (vec![owner], Source::per("owner o", "personal_access_tokens t", "t.user_id = o.id"))
        }
        (None, _) => (Vec::new(), Source::ordered("personal_access_tokens t", "TRUE")),
    };
    List {
        alias: "t",
        with,
        sources: vec![source],
        filters: conditions(filter),
        order: Order { key, descending: !filter.ascending },
        columns: columns!().into(),
        joined: concat!(" CROSS JOIN ", joined!(), " WHERE t.id = page.id"),
    }
}

fn conditions(filter: &Filter) -> Vec<Piece> {
    let day = |day: Date| i64::from(day.0);
    let state = filter.state.map(|(state, now)| match state {
        TokenState::Active => {
            Piece::new(LIVE).and(Piece::new("(t.expires_on IS NULL OR t.expires_on > ?)").bind(day(now.date())))
        }
        TokenState::Inactive => {
            let mut either = Piece::new("(");
            either.append(&DEAD.into());
            either.append(&Piece::new(" OR t.expires_on < ?)").bind(day(now.date())));
            either
        }
    });
    let search = filter.search.as_deref();
    let instants = [
        ("t.created_at >= ?", filter.created_after),
        ("t.created_at <= ?", filter.created_before),
        ("t.last_used_at >= ?", filter.last_used_after),
        ("t.last_used_at <= ?", filter.last_used_before),
    ];
    let days = [("t.expires_on >= ?", filter.expires_after), ("t.expires_on < ?", filter.expires_before)];
    [
        filter.impersonation.map(|only| Piece::new(if only { "t.impersonation" } else { "NOT t.impersonation" })),
        state,
        filter.revoked.map(|revoked| Piece::new(if revoked { DEAD } else { LIVE })),
        search.map(|text| Piece::new("t.lower_name LIKE ? ESCAPE '\\'").bind(like(text))),
    ]
    .into_iter()
    .flatten()
    .chain(instants.into_iter().filter_map(|(text, at)| Some(Piece::new(text).bind(at?.0))))
    .chain(days.into_iter().filter_map(|(text, at)| Some(Piece::new(text).bind(day(at?)))))
    .collect()
}

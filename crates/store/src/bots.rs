//! `bots`: what a bot belongs to.

use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};

mod list;

pub use list::{ServiceAccountOrder, ServiceAccounts, service_accounts, statements as lists};

/// What a bot is for; stored as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BotKind {
    /// The user of an access token of a group or project. It goes with its last token.
    AccessToken,
    /// An account for a program, which has tokens like a person.
    ServiceAccount,
}

/// A bot that belongs to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bot {
    /// What it is for.
    pub kind: BotKind,
    /// The group or project that it belongs to. `None`: this server.
    pub home: Option<MembershipSource>,
}

impl BotKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access_token",
            Self::ServiceAccount => "service_account",
        }
    }
}

fn source(home: Option<MembershipSource>) -> (&'static str, i64) {
    match home {
        None => ("instance", 0),
        Some(home) => (home.kind().as_str(), home.number()),
    }
}

/// Once for each bot: what it belongs to never changes.
pub async fn insert(tx: &mut Tx, user: UserId, bot: Bot) -> Result<()> {
    let (kind, id) = source(bot.home);
    query(INSERT).bind(user.0).bind(bot.kind.as_str()).bind(kind).bind(id).changed(tx).await.map(drop)
}

/// `None`: the user is no bot, or one that belongs to nothing.
pub async fn find(at: &mut impl Runs, user: UserId) -> Result<Option<Bot>> {
    let row: Option<(String, String, i64)> = query(FIND).bind(user.0).optional(at).await?;
    let Some((kind, source, id)) = row else { return Ok(None) };
    let damaged = || Error::Damaged(format!("what bot {user} belongs to"));
    let kind = [BotKind::AccessToken, BotKind::ServiceAccount].into_iter().find(|known| known.as_str() == kind);
    let home = match source.as_str() {
        "group" => Some(MembershipSource::Group(NamespaceId(id))),
        "project" => Some(MembershipSource::Project(ProjectId(id))),
        "instance" => None,
        _ => return Err(damaged()),
    };
    Ok(Some(Bot { kind: kind.ok_or_else(damaged)?, home }))
}

/// It belongs to nothing any more.
pub async fn remove(tx: &mut Tx, user: UserId) -> Result<()> {
    query(REMOVE).bind(user.0).changed(tx).await.map(drop)
}

/// Whether the user has a personal access token that opens something.
pub async fn has_live_token(at: &mut impl Runs, user: UserId, now: Timestamp) -> Result<bool> {
    query(HAS_LIVE_TOKEN).bind(user.0).bind(i64::from(now.date().0)).one(at).await
}

statements! {
    INSERT = "INSERT INTO bots (user_id, kind, source_kind, source_id) VALUES ($1, $2, $3, $4)";

    FIND = "SELECT kind, source_kind, source_id FROM bots WHERE user_id = $1";

    REMOVE = "DELETE FROM bots WHERE user_id = $1";

    HAS_LIVE_TOKEN = "
    SELECT EXISTS (
        SELECT 1 FROM personal_access_tokens t JOIN token_families f ON f.id = t.family_id
         WHERE t.user_id = $1 AND f.head_id = t.id AND f.ended_at IS NULL
           AND (t.expires_on IS NULL OR t.expires_on > $2))";
}

//! `personal_access_tokens`.

use tollhouse_domain::id::{FamilyId, GenerationId, PersonalAccessTokenId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::newest_addresses;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::PersonalAccessToken;

use crate::engine::conn::Runs;
use crate::engine::postgres::numbers::Sequence;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::token_families::{Generation, GenerationRow};

pub use list::{Filter, TokenOrder, TokenState, after, list, statements as lists};

macro_rules! columns {
    () => {
        "t.previous_id, t.user_id, t.name, t.description, t.scopes, t.impersonation, t.created_at, t.expires_on,
        t.last_used_at, t.last_used_ips, t.id, t.family_id, t.rotated_at, t.handed_at, t.salt, f.head_id, f.head_used_at, f.ended_at,
        h.previous_id AS head_previous_id, CAST(NULL AS BIGINT) AS head_created_at"
    };
}

macro_rules! joined {
    () => {
        "personal_access_tokens t
           JOIN token_families f ON f.id = t.family_id
           LEFT JOIN personal_access_tokens h ON h.id = f.head_id "
    };
}

macro_rules! selected {
    () => {
        concat!("SELECT ", columns!(), " FROM ", joined!())
    };
}

mod list;

row! {
    struct Row {
        previous_id: Option<i64>,
        user_id: i64,
        name: String,
        description: Option<String>,
        scopes: String,
        impersonation: bool,
        created_at: i64,
        expires_on: Option<i64>,
        last_used_at: Option<i64>,
        last_used_ips: String,
        generation: GenerationRow,
    }
}

/// A token with all that deciding about its rotation needs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The row of the generation.
    pub token: PersonalAccessToken,
    /// Its place in its family.
    pub generation: Generation,
}

impl Row {
    fn found(self) -> Found {
        let token = PersonalAccessToken {
            id: PersonalAccessTokenId(self.generation.id),
            family_id: FamilyId(self.generation.family_id),
            previous_id: self.previous_id.map(PersonalAccessTokenId),
            user_id: UserId(self.user_id),
            name: self.name,
            description: self.description,
            scopes: Scopes::from_words(&self.scopes),
            impersonation: self.impersonation,
            created_at: Timestamp(self.created_at),
            expires_at: self.expires_on.map(|day| Date(day as i32)),
            last_used_at: self.last_used_at.map(Timestamp),
            last_used_ips: self.last_used_ips.split_ascii_whitespace().map(str::to_owned).collect(),
            status: self.generation.status(),
        };
        Found { token, generation: self.generation.generation() }
    }
}

/// By number, whatever its state.
pub async fn find(at: &mut impl Runs, id: impl Into<GenerationId>) -> Result<Option<Found>> {
    let row: Option<Row> = query(FIND).bind(id.into().0).optional(at).await?;
    Ok(row.map(Row::found))
}

/// By the digest of its secret, whatever its state.
pub async fn by_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<Found>> {
    let row: Option<Row> = query(BY_DIGEST).bind(&digest.0[..]).optional(at).await?;
    Ok(row.map(Row::found))
}

/// A token that is about to exist.
#[derive(Debug)]
pub struct NewToken<'a> {
    /// The family that it belongs to; the row of it exists already.
    pub family: FamilyId,
    /// The token that it follows. `None`: the first of its family.
    pub previous: Option<PersonalAccessTokenId>,
    /// Digest of the secret.
    pub digest: Digest,
    /// Whose token it is.
    pub user: UserId,
    /// The name that its owner gives it; not checked here.
    pub name: &'a str,
    /// What its owner writes about it. `None`: nothing.
    pub description: Option<&'a str>,
    /// What it opens.
    pub scopes: &'a Scopes,
    /// Whether an administrator makes it to act as the user.
    pub impersonation: bool,
    /// Dead from the start of this day, UTC. `None`: never.
    pub expires_at: Option<Date>,
}

/// Inserts a token. Making it the head of its family is a step of its own.
pub async fn insert(tx: &mut Tx, new: &NewToken<'_>, now: Timestamp) -> Result<PersonalAccessTokenId> {
    tx.creates(new.digest);
    let drawn = tx.draw(Sequence::PersonalAccessTokens).await?;
    query(INSERT)
        .bind(drawn)
        .bind(new.family.0)
        .bind(new.previous.map(|id| id.0))
        .bind(&new.digest.0[..])
        .bind(new.user.0)
        .bind(new.name)
        .bind(new.description)
        .bind(new.scopes.to_string())
        .bind(new.impersonation)
        .bind(now.0)
        .bind(new.expires_at.map(|day| i64::from(day.0)))
        .bind(new.name.to_lowercase())
        .numbered(drawn, tx)
        .await
        .map(PersonalAccessTokenId)
}

/// A secret that somebody chose may have been asked for before it existed (revocation.md section 6).
pub async fn note_chosen_secret(tx: &mut Tx, digest: Digest) -> Result<()> {
    tx.invalidate(Invalidation::Unknown(digest));
    Ok(())
}

/// Last use, written in batches (authentication.md 5.6).
pub(crate) async fn set_used(tx: &mut Tx, id: GenerationId, at: Timestamp, not_since: Timestamp) -> Result<()> {
    query(SET_USED).bind(id.0).bind(at.0).bind(not_since.0).changed(tx).await.map(drop)
}

/// From where it was used, the newest first; returns what is known now. The row is locked first, so that no server
/// overwrites what another one adds.
pub(crate) async fn add_ips(tx: &mut Tx, id: GenerationId, newest_first: Vec<String>) -> Result<Vec<String>> {
    query(LOCK).bind(id.0).changed(tx).await?;
    let known: Option<String> = query(IPS).bind(id.0).optional(tx).await?;
    let Some(known) = known else { return Ok(Vec::new()) };
    let all = newest_addresses(newest_first.into_iter(), known.split_ascii_whitespace());
    let text = all.join(" ");
    if text != known {
        query(SET_IPS).bind(id.0).bind(text).changed(tx).await?;
    }
    Ok(all)
}

statements! {
    FIND = concat!(selected!(), "WHERE t.id = $1");

    BY_DIGEST = concat!(selected!(), "WHERE t.digest = $1");

    INSERT = "
    INSERT INTO personal_access_tokens (id, family_id, previous_id, digest, user_id, name, description, scopes, impersonation,
                                        created_at, expires_on, lower_name)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) RETURNING id";

    LOCK = "UPDATE personal_access_tokens SET last_used_ips = last_used_ips WHERE id = $1";

    IPS = "SELECT last_used_ips FROM personal_access_tokens WHERE id = $1";

    SET_IPS = "UPDATE personal_access_tokens SET last_used_ips = $2 WHERE id = $1";

    SET_USED = "
    UPDATE personal_access_tokens SET last_used_at = $2
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
}

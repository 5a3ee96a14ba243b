//! `personal_access_tokens`.

use tollhouse_domain::forget::Forget;
use tollhouse_domain::id::{FamilyId, PersonalAccessTokenId, UserId};
use tollhouse_domain::rotation::{Place, Presented};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{PersonalAccessToken, Standing};

use crate::db::Runs;
use crate::error::Result;
use crate::tx::Tx;

#[derive(sqlx::FromRow)]
struct Row {
    id: i64,
    family_id: i64,
    previous_id: Option<i64>,
    user_id: i64,
    name: String,
    description: Option<String>,
    scopes: String,
    impersonation: bool,
    created_at: i64,
    expires_on: Option<i64>,
    last_used_at: Option<i64>,
    rotated_at: Option<i64>,
    handed_at: Option<i64>,
    asked_expiry: Option<i64>,
    salt: Option<Vec<u8>>,
    head_id: Option<i64>,
    head_used_at: Option<i64>,
    ended_at: Option<i64>,
    head_previous_id: Option<i64>,
}

/// A token with all that deciding about its rotation needs.
#[derive(Clone, Debug)]
pub struct Found {
    pub token: PersonalAccessToken,
    pub presented: Presented,
    pub head_id: Option<PersonalAccessTokenId>,
    /// The end that was asked for at the rotation, if one was.
    pub asked_expiry: Option<Date>,
    /// What its successor's secret is derived with, until it is erased.
    pub salt: Option<[u8; 32]>,
}

impl Row {
    fn found(self) -> Found {
        let is_head = self.head_id == Some(self.id);
        let place = match () {
            () if is_head => Place::Head,
            () if self.head_previous_id == Some(self.id) => Place::PredecessorOfHead,
            () => Place::Other,
        };
        let standing = match self.ended_at {
            Some(_) => Standing::Ended,
            None if is_head => Standing::Live { used: self.head_used_at.is_some() },
            None => Standing::Rotated,
        };
        Found {
            presented: Presented {
                place,
                family_ended: self.ended_at.is_some(),
                head_used: self.head_used_at.is_some(),
                rotated_at: self.rotated_at.map(Timestamp),
                handed_at: self.handed_at.map(Timestamp),
            },
            head_id: self.head_id.map(PersonalAccessTokenId),
            asked_expiry: self.asked_expiry.map(|day| Date(day as i32)),
            salt: self.salt.and_then(|salt| salt.try_into().ok()),
            token: PersonalAccessToken {
                id: PersonalAccessTokenId(self.id),
                family_id: FamilyId(self.family_id),
                previous_id: self.previous_id.map(PersonalAccessTokenId),
                user_id: UserId(self.user_id),
                name: self.name,
                description: self.description,
                scopes: Scopes::from_words(&self.scopes),
                impersonation: self.impersonation,
                created_at: Timestamp(self.created_at),
                expires_at: self.expires_on.map(|day| Date(day as i32)),
                last_used_at: self.last_used_at.map(Timestamp),
                standing,
            },
        }
    }
}

pub async fn find(at: &mut impl Runs, id: PersonalAccessTokenId) -> Result<Option<Found>> {
    let row: Option<Row> = on!(at, |c| sqlx::query_as(FIND).bind(id.0).fetch_optional(c))?;
    Ok(row.map(Row::found))
}

pub async fn by_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<Found>> {
    let row: Option<Row> = on!(at, |c| sqlx::query_as(BY_DIGEST).bind(&digest.0[..]).fetch_optional(c))?;
    Ok(row.map(Row::found))
}

/// A token that is about to exist.
#[derive(Debug)]
pub struct New<'a> {
    pub family: FamilyId,
    pub previous: Option<PersonalAccessTokenId>,
    pub digest: Digest,
    pub user: UserId,
    pub name: &'a str,
    pub description: Option<&'a str>,
    pub scopes: &'a Scopes,
    pub impersonation: bool,
    pub expires_at: Option<Date>,
}

pub async fn insert(tx: &mut Tx, new: &New<'_>, now: Timestamp) -> Result<PersonalAccessTokenId> {
    let id: i64 = on!(tx, |c| sqlx::query_scalar(INSERT)
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
        .fetch_one(c))?;
    Ok(PersonalAccessTokenId(id))
}

/// A secret that somebody chose may have been asked for before it existed (revocation.md section 6).
pub async fn note_chosen_secret(tx: &mut Tx, digest: Digest) -> Result<()> {
    tx.forget(Forget::Unknown(digest));
    Ok(())
}

/// Notes a rotation on the predecessor: compare and set on when its successor was last handed out.
pub async fn set_rotated(
    tx: &mut Tx,
    found: &Found,
    salt: Option<&[u8; 32]>,
    asked_expiry: Option<Date>,
    now: Timestamp,
) -> Result<bool> {
    Ok(changed!(
        tx,
        sqlx::query(SET_ROTATED)
            .bind(found.token.id.0)
            .bind(now.0)
            .bind(salt.map(|salt| &salt[..]))
            .bind(found.presented.handed_at.map(|at| at.0))
            .bind(asked_expiry.map(|day| i64::from(day.0)))
    )? == 1)
}

/// Notes that a successor was replaced before anybody used it, so that its row goes in time.
pub async fn set_replaced(tx: &mut Tx, id: PersonalAccessTokenId, now: Timestamp) -> Result<()> {
    changed!(tx, sqlx::query(SET_REPLACED).bind(id.0).bind(now.0)).map(drop)
}

/// Notes that the successor was handed out again; the salt must still be the one it was derived with.
pub async fn set_handed(tx: &mut Tx, id: PersonalAccessTokenId, salt: &[u8; 32], now: Timestamp) -> Result<bool> {
    Ok(changed!(tx, sqlx::query(SET_HANDED).bind(id.0).bind(&salt[..]).bind(now.0))? == 1)
}

/// Last use, written in batches (authentication.md 5.6).
pub(crate) async fn set_used(
    tx: &mut Tx,
    id: PersonalAccessTokenId,
    at: Timestamp,
    not_since: Timestamp,
) -> Result<()> {
    changed!(tx, sqlx::query(SET_USED).bind(id.0).bind(at.0).bind(not_since.0)).map(drop)
}

macro_rules! selected {
    () => {
        "SELECT t.id, t.family_id, t.previous_id, t.user_id, t.name, t.description, t.scopes, t.impersonation, t.created_at,
                t.expires_on, t.last_used_at, t.rotated_at, t.handed_at, t.asked_expiry, t.salt,
                f.head_id, f.head_used_at, f.ended_at, h.previous_id AS head_previous_id
           FROM personal_access_tokens t
           JOIN token_families f ON f.id = t.family_id
           LEFT JOIN personal_access_tokens h ON h.id = f.head_id "
    };
}

statements! {
    FIND = concat!(selected!(), "WHERE t.id = $1");

    BY_DIGEST = concat!(selected!(), "WHERE t.digest = $1");

    INSERT = "
    INSERT INTO personal_access_tokens (family_id, previous_id, digest, user_id, name, description, scopes, impersonation,
                                        created_at, expires_on)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING id";

    SET_ROTATED = "
    UPDATE personal_access_tokens SET rotated_at = $2, handed_at = $2, salt = $3, asked_expiry = $5
     WHERE id = $1 AND handed_at IS NOT DISTINCT FROM $4";

    SET_REPLACED = "UPDATE personal_access_tokens SET replaced_at = $2 WHERE id = $1";

    SET_HANDED = "UPDATE personal_access_tokens SET handed_at = $3 WHERE id = $1 AND salt = $2";

    SET_USED = "
    UPDATE personal_access_tokens SET last_used_at = $2
     WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $3)";
}

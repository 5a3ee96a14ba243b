//! `token_families`: what grew from one token. A token is live if it is its family's head and the family has not
//! ended; so ending a family is one row (`docs/protocols/rotation.md` section 2). Its generations stand in
//! `personal_access_tokens` or in `oauth_access_tokens`, which have these columns alike.

use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::rotation::{FamilyPosition, Presented};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;

use crate::engine::conn::Runs;
use crate::engine::postgres::numbers::Sequence;
use crate::engine::query::{both_changed, query};
use crate::engine::tx::Tx;
use crate::error::Result;

row! {
    /// What both tables of generations have, with the family's row and its head's predecessor.
    pub(crate) struct GenerationRow {
        /// The number of the generation.
        pub id: i64,
        /// The family that it belongs to.
        pub family_id: i64,
        rotated_at: Option<i64>,
        handed_at: Option<i64>,
        salt: Option<Vec<u8>>,
        head_id: Option<i64>,
        head_used_at: Option<i64>,
        ended_at: Option<i64>,
        head_previous_id: Option<i64>,
        /// Not read of personal access tokens.
        head_created_at: Option<i64>,
    }
}

/// One generation, as far as deciding about its rotation goes.
#[derive(Clone, Debug)]
pub struct Generation {
    /// The number of the generation: of `personal_access_tokens` or of `oauth_access_tokens`.
    pub id: GenerationId,
    /// The family that it belongs to.
    pub family: FamilyId,
    /// The newest generation of the family.
    pub head: Option<GenerationId>,
    /// What the rule of rotation decides by.
    pub presented: Presented,
    /// What its successor's secret is derived with, until it is erased.
    pub salt: Option<[u8; 32]>,
}

impl GenerationRow {
    /// Whether the generation is live, rotated or ended.
    pub(crate) fn status(&self) -> TokenStatus {
        status(self.id, self.head_id, self.head_used_at, self.ended_at)
    }

    /// What the rule of rotation needs of it.
    pub(crate) fn generation(self) -> Generation {
        let place = match () {
            () if self.head_id == Some(self.id) => FamilyPosition::Head,
            () if self.head_previous_id == Some(self.id) => FamilyPosition::PredecessorOfHead,
            () => FamilyPosition::Other,
        };
        Generation {
            id: GenerationId(self.id),
            family: FamilyId(self.family_id),
            head: self.head_id.map(GenerationId),
            presented: Presented {
                place,
                family_ended: self.ended_at.is_some(),
                head_used: self.head_used_at.is_some(),
                rotated_at: self.rotated_at.map(Timestamp),
                handed_at: self.handed_at.map(Timestamp),
                head_made_at: self.head_created_at.map(Timestamp),
            },
            salt: self.salt.and_then(|salt| salt.try_into().ok()),
        }
    }
}

/// The same of single columns; times in ms since 1970, of which only their presence counts.
pub(crate) fn status(id: i64, head: Option<i64>, head_used_at: Option<i64>, ended_at: Option<i64>) -> TokenStatus {
    match ended_at {
        Some(_) => TokenStatus::Ended,
        None if head == Some(id) => TokenStatus::Live { used: head_used_at.is_some() },
        None => TokenStatus::Rotated,
    }
}

/// Which table the generations of a family stand in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// `personal_access_tokens`
    PersonalAccessToken,
    /// `oauth_access_tokens`
    OauthAccessToken,
}

/// Why a family ended; stored as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Somebody ended it, or ended what it came from: the user, the application or the grant.
    Revoked,
    /// Rotated by another credential; a new family took its place (rule 9).
    Rotated,
    /// A secret came again that must not (rotation.md rule 6).
    Theft,
}

impl EndReason {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
            Self::Theft => "theft",
        }
    }
}

/// A family without a generation; the caller gives it its first head in the same transaction.
pub async fn insert(tx: &mut Tx) -> Result<FamilyId> {
    let drawn = tx.draw(Sequence::TokenFamilies).await?;
    query(INSERT).bind(drawn).numbered(drawn, tx).await.map(FamilyId)
}

/// The first token of a family counts as used.
pub async fn begin(tx: &mut Tx, id: FamilyId, head: impl Into<GenerationId>, now: Timestamp) -> Result<()> {
    let head: GenerationId = head.into();
    query(BEGIN).bind(id.0).bind(head.0).bind(now.0).later(tx).await
}

/// A rotation: moves the head from `from` to `to` and notes it on the predecessor, both by compare and set. `false`: somebody
/// else came first, and what was done is to be undone. `unused`: rule Replace, only while nobody has used the head.
pub async fn rotate(
    tx: &mut Tx,
    kind: FamilyKind,
    old: &Generation,
    (from, to): (GenerationId, GenerationId),
    unused: bool,
    salt: Option<&[u8; 32]>,
    now: Timestamp,
) -> Result<bool> {
    #[cfg(feature = "faults")]
    if tx.bug() == Some(crate::engine::faults::Bug::BlindUpdate) {
        let won = blind::set_head(tx, old.family, to).await?;
        return Ok(won && blind::set_rotated(tx, kind, old.id, salt, now).await?);
    }
    let moving = query(if unused { REPLACE_UNUSED } else { ADVANCE }).bind(old.family.0).bind(from.0).bind(to.0);
    let noting = query(match kind {
        FamilyKind::PersonalAccessToken => SET_ROTATED,
        FamilyKind::OauthAccessToken => SET_ROTATED_OAUTH,
    });
    let noting =
        noting.bind(old.id.0).bind(now.0).bind(salt.map(|salt| &salt[..])).bind(old.presented.handed_at.map(|at| at.0));
    tx.invalidate(Invalidation::Family(old.family));
    // Family before token, always, so that two of these cannot block each other.
    Ok(both_changed(moving, noting, tx).await? == (1, 1))
}

/// Notes that a successor was replaced before anybody used it, so that its row goes in time.
pub async fn set_replaced(tx: &mut Tx, kind: FamilyKind, id: GenerationId, now: Timestamp) -> Result<()> {
    let text = match kind {
        FamilyKind::PersonalAccessToken => SET_REPLACED,
        FamilyKind::OauthAccessToken => SET_REPLACED_OAUTH,
    };
    query(text).bind(id.0).bind(now.0).later(tx).await
}

/// Notes that the successor was handed out again; the salt must still be the one it was derived with.
pub async fn set_handed(
    tx: &mut Tx,
    kind: FamilyKind,
    id: GenerationId,
    salt: &[u8; 32],
    now: Timestamp,
) -> Result<bool> {
    let text = match kind {
        FamilyKind::PersonalAccessToken => SET_HANDED,
        FamilyKind::OauthAccessToken => SET_HANDED_OAUTH,
    };
    Ok(query(text).bind(id.0).bind(&salt[..]).bind(now.0).changed(tx).await? == 1)
}

/// Notes the first use of a head, for good.
pub async fn first_use(tx: &mut Tx, id: FamilyId, head: GenerationId, now: Timestamp) -> Result<bool> {
    #[cfg(feature = "faults")]
    if tx.bug() == Some(crate::engine::faults::Bug::BlindUpdate) {
        return blind::set_used(tx, id, now).await;
    }
    Ok(query(FIRST_USE).bind(id.0).bind(head.0).bind(now.0).changed(tx).await? == 1)
}

/// Takes the row, so that the family stays as it is until the commit.
pub async fn hold(tx: &mut Tx, id: FamilyId) -> Result<()> {
    query(HOLD).bind(id.0).changed(tx).await.map(drop)
}

/// The families of personal access tokens of a user that have not ended.
pub async fn live_of_user(at: &mut impl Runs, user: UserId) -> Result<Vec<FamilyId>> {
    let ids: Vec<i64> = query(LIVE_OF_USER).bind(user.0).all(at).await?;
    Ok(ids.into_iter().map(FamilyId).collect())
}

/// Ends a family with everything in it. `false`: it had ended already.
pub async fn end(tx: &mut Tx, id: FamilyId, why: EndReason, now: Timestamp) -> Result<bool> {
    let won = query(END).bind(id.0).bind(now.0).bind(why.as_str()).changed(tx).await? == 1;
    tx.invalidate(Invalidation::Family(id));
    Ok(won)
}

/// The bug that the model of rotation must find: writing without looking whether it is still as it was.
#[cfg(feature = "faults")]
mod blind {
    use super::*;

    pub(super) async fn set_head(tx: &mut Tx, id: FamilyId, to: GenerationId) -> Result<bool> {
        let text = "UPDATE token_families SET head_id = $2, head_used_at = NULL WHERE id = $1";
        tx.invalidate(Invalidation::Family(id));
        Ok(query(text).bind(id.0).bind(to.0).changed(tx).await? == 1)
    }

    pub(super) async fn set_used(tx: &mut Tx, id: FamilyId, now: Timestamp) -> Result<bool> {
        let text = "UPDATE token_families SET head_used_at = $2 WHERE id = $1";
        Ok(query(text).bind(id.0).bind(now.0).changed(tx).await? == 1)
    }

    pub(super) async fn set_rotated(
        tx: &mut Tx,
        kind: FamilyKind,
        id: GenerationId,
        salt: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<bool> {
        let text = match kind {
            FamilyKind::PersonalAccessToken => {
                "UPDATE personal_access_tokens SET rotated_at = $2, handed_at = $2, salt = $3 WHERE id = $1"
            }
            FamilyKind::OauthAccessToken => {
                "UPDATE oauth_access_tokens SET rotated_at = $2, handed_at = $2, salt = $3 WHERE id = $1"
            }
        };
        Ok(query(text).bind(id.0).bind(now.0).bind(salt.map(|salt| &salt[..])).changed(tx).await? == 1)
    }
}

macro_rules! set_rotated {
    ($table:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET rotated_at = $2, handed_at = $2, salt = $3 WHERE id = $1 AND handed_at IS NOT DISTINCT FROM $4"
        )
    };
}

macro_rules! set_replaced {
    ($table:literal) => {
        concat!("UPDATE ", $table, " SET replaced_at = $2 WHERE id = $1")
    };
}

macro_rules! set_handed {
    ($table:literal) => {
        concat!("UPDATE ", $table, " SET handed_at = $3 WHERE id = $1 AND salt = $2")
    };
}

statements! {
    LIVE_OF_USER = "
    SELECT f.id FROM personal_access_tokens t JOIN token_families f ON f.id = t.family_id
     WHERE t.user_id = $1 AND f.head_id = t.id AND f.ended_at IS NULL ORDER BY f.id";

    INSERT = "INSERT INTO token_families (id, head_id) VALUES ($1, NULL) RETURNING id";

    BEGIN = "UPDATE token_families SET head_id = $2, head_used_at = $3 WHERE id = $1";

    ADVANCE = "
    UPDATE token_families SET head_id = $3, head_used_at = NULL
     WHERE id = $1 AND head_id = $2 AND ended_at IS NULL";

    REPLACE_UNUSED = "
    UPDATE token_families SET head_id = $3, head_used_at = NULL
     WHERE id = $1 AND head_id = $2 AND ended_at IS NULL AND head_used_at IS NULL";

    FIRST_USE = "
    UPDATE token_families SET head_used_at = $3
     WHERE id = $1 AND head_id = $2 AND head_used_at IS NULL AND ended_at IS NULL";

    HOLD = "UPDATE token_families SET head_id = head_id WHERE id = $1";

    END = "UPDATE token_families SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL";

    SET_ROTATED = set_rotated!("personal_access_tokens");

    SET_ROTATED_OAUTH = set_rotated!("oauth_access_tokens");

    SET_REPLACED = set_replaced!("personal_access_tokens");

    SET_REPLACED_OAUTH = set_replaced!("oauth_access_tokens");

    SET_HANDED = set_handed!("personal_access_tokens");

    SET_HANDED_OAUTH = set_handed!("oauth_access_tokens");
}

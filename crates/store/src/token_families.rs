//! `token_families`: what grew from one token. A token is live if it is its family's head and the family has not
//! ended; so ending a family is one row (`docs/protocols/rotation.md` section 2).

use tollhouse_domain::forget::Forget;
use tollhouse_domain::id::{FamilyId, PersonalAccessTokenId};
use tollhouse_domain::time::Timestamp;

use crate::error::Result;
use crate::tx::Tx;

/// Why a family ended; stored as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    Revoked,
    /// Rotated by another credential; a new family took its place (rule 9).
    Rotated,
    Theft,
}

impl EndReason {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Rotated => "rotated",
            Self::Theft => "theft",
        }
    }
}

pub async fn insert(tx: &mut Tx) -> Result<FamilyId> {
    let id: i64 = on!(tx, |c| sqlx::query_scalar(INSERT).fetch_one(c))?;
    Ok(FamilyId(id))
}

/// The first token of a family counts as used.
pub async fn begin(tx: &mut Tx, id: FamilyId, head: PersonalAccessTokenId, now: Timestamp) -> Result<()> {
    changed!(tx, sqlx::query(BEGIN).bind(id.0).bind(head.0).bind(now.0)).map(drop)
}

/// Compare and set of rule New: `false` if somebody else moved the head or ended the family.
pub async fn advance(
    tx: &mut Tx,
    id: FamilyId,
    from: PersonalAccessTokenId,
    to: PersonalAccessTokenId,
) -> Result<bool> {
    let won = changed!(tx, sqlx::query(ADVANCE).bind(id.0).bind(from.0).bind(to.0))? == 1;
    tx.forget(Forget::Family(id));
    Ok(won)
}

/// Compare and set of rule Replace: only while nobody has used the head.
pub async fn replace_unused(
    tx: &mut Tx,
    id: FamilyId,
    from: PersonalAccessTokenId,
    to: PersonalAccessTokenId,
) -> Result<bool> {
    let won = changed!(tx, sqlx::query(REPLACE_UNUSED).bind(id.0).bind(from.0).bind(to.0))? == 1;
    tx.forget(Forget::Family(id));
    Ok(won)
}

/// Notes the first use of a head, for good.
pub(crate) async fn first_use(tx: &mut Tx, id: FamilyId, head: PersonalAccessTokenId, now: Timestamp) -> Result<bool> {
    Ok(changed!(tx, sqlx::query(FIRST_USE).bind(id.0).bind(head.0).bind(now.0))? == 1)
}

/// Ends a family with everything in it. `false`: it had ended already.
pub async fn end(tx: &mut Tx, id: FamilyId, why: EndReason, now: Timestamp) -> Result<bool> {
    let won = changed!(tx, sqlx::query(END).bind(id.0).bind(now.0).bind(why.as_str()))? == 1;
    tx.forget(Forget::Family(id));
    Ok(won)
}

statements! {
    INSERT = "INSERT INTO token_families (head_id) VALUES (NULL) RETURNING id";

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

    END = "UPDATE token_families SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL";
}

//! `failed_sign_ins`: how often sign-in failed, per account, address and hour (T29).

use tollhouse_domain::id::UserId;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;

/// Counts a failure per account, address and hour (T29).
pub async fn note(tx: &mut Tx, id: UserId, address: &str, now: Timestamp) -> Result<()> {
    query(NOTE).bind(id.0).bind(address).bind(now.0 / 3_600_000).changed(tx).await.map(drop)
}

/// How often sign-in failed for an account, over all addresses and hours that are kept.
pub async fn count(at: &mut impl Runs, id: UserId) -> Result<(i64, i64)> {
    query(COUNT).bind(id.0).one(at).await
}

statements! {
    NOTE = "
    INSERT INTO failed_sign_ins (user_id, address, hour, attempts) VALUES ($1, $2, $3, 1)
        ON CONFLICT (user_id, address, hour) DO UPDATE SET attempts = failed_sign_ins.attempts + 1";

    COUNT = "
    SELECT count(*), CAST(COALESCE(sum(attempts), 0) AS BIGINT) FROM failed_sign_ins WHERE user_id = $1";
}

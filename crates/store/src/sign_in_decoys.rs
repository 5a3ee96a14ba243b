//! `sign_in_decoys`: attempts at names without an account or a password are counted as those of accounts are, so that
//! response times do not tell which names have one (T14). A slot takes the place of the account.

use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::time::Timestamp;

use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
#[cfg(doc)]
use crate::users;

/// Books one attempt, as [`users::book_attempt`]. An attempt that locks writes an entry to the log of invalidations too.
pub async fn book(tx: &mut Tx, slot: i64, lockout: Lockout, now: Timestamp) -> Result<Option<i64>> {
    let attempts: Option<i64> =
        query(BOOK).bind(slot).bind(now.0).bind(lockout.attempts).bind((now + lockout.period).0).optional(tx).await?;
    if attempts.is_some_and(|attempts| attempts >= lockout.attempts) {
        tx.invalidate(Invalidation::Nothing);
    }
    Ok(attempts)
}

/// As [`users::count_locked_attempt`].
pub async fn count_locked(tx: &mut Tx, slot: i64, now: Timestamp) -> Result<()> {
    query(COUNT_LOCKED).bind(slot).bind(now.0).changed(tx).await.map(drop)
}

statements! {
    BOOK = "
    INSERT INTO sign_in_decoys (slot, failed_attempts, locked_until)
    VALUES ($1, 1, CASE WHEN 1 >= CAST($3 AS BIGINT) THEN CAST($4 AS BIGINT) END)
        ON CONFLICT (slot) DO UPDATE
       SET failed_attempts = CASE WHEN sign_in_decoys.locked_until IS NULL THEN sign_in_decoys.failed_attempts + 1 ELSE 1 END,
           locked_until = CASE WHEN (CASE WHEN sign_in_decoys.locked_until IS NULL
                                          THEN sign_in_decoys.failed_attempts + 1 ELSE 1 END) >= $3
                               THEN CAST($4 AS BIGINT) END
     WHERE sign_in_decoys.locked_until IS NULL OR sign_in_decoys.locked_until <= $2
    RETURNING failed_attempts";

    COUNT_LOCKED = "
    UPDATE sign_in_decoys SET failed_attempts = failed_attempts + 1 WHERE slot = $1 AND locked_until > $2";
}

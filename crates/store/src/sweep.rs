//! Housekeeping that takes no right away: last use, sliding sessions, and rows that are dead for good. It deletes in
//! small batches, and writes nothing where there is nothing to do, so that an idle server stays silent.

use std::time::Duration;

use tollhouse_domain::id::GenerationId;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::db::Db;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::sign_in_failures::minute;
use crate::{personal_access_tokens, sessions};

/// What was used since the last flush.
#[derive(Debug, Default)]
pub struct Used {
    /// Personal access tokens: when, unless that was written less than an interval ago, and from where, the newest first.
    pub tokens: Vec<(GenerationId, Option<Timestamp>, Vec<String>)>,
    /// Session, when it was used, and until when it lasts now.
    pub sessions: Vec<(Digest, Timestamp, Timestamp)>,
}

/// Rows in the order of their keys, so that two of these cannot block each other; a few at a time, so that nobody else
/// waits long to write.
/// Returns from where the tokens were used, as it is written now, the newest first.
pub async fn flush(db: &Db, mut used: Used, interval: Duration) -> Result<Vec<(GenerationId, Vec<String>)>> {
    let mut written = Vec::with_capacity(used.tokens.len());
    used.tokens.sort_by_key(|(id, ..)| *id);
    used.sessions.sort_by_key(|(digest, ..)| *digest);
    for some in used.tokens.chunks(TOGETHER) {
        let some = some.to_vec();
        let known = db.chore(move |tx| {
            let some = some.clone();
            Box::pin(async move {
                let mut known = Vec::with_capacity(some.len());
                for (id, at, addresses) in some {
                    if let Some(at) = at {
                        personal_access_tokens::set_used(tx, id, at, at - interval).await?;
                    }
                    if !addresses.is_empty() {
                        known.push((id, personal_access_tokens::add_ips(tx, id, addresses).await?));
                    }
                }
                Ok(known)
            })
        });
        written.extend(known.await?);
    }
    for some in used.sessions.chunks(TOGETHER) {
        let some = some.to_vec();
        db.chore(move |tx| {
            Box::pin(async move {
                for (digest, at, until) in some {
                    sessions::extend(tx, digest, at, until).await?;
                }
                Ok(())
            })
        })
        .await?;
    }
    Ok(written)
}

const TOGETHER: usize = 200;

/// How long dead rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Salts of rotated tokens (rotation.md rule 13).
    pub salts: Duration,
    /// Rows of the audit log.
    pub audit: Duration,
    /// Tokens that were rotated away or whose family ended; reuse is noticed for so long (rule 13).
    pub dead_tokens: Duration,
    /// The same for OAuth tokens, and for codes that were redeemed.
    pub dead_oauth: Duration,
    /// Refused passwords by their source (T14).
    pub guesses: Duration,
    /// How long an OAuth token with a refresh token may wait for its rotation (rotation.md rule 15). `None`: no limit.
    pub idle: Option<Duration>,
    /// Entries of the invalidation log (revocation.md D2).
    pub log: i64,
}

/// Removes one batch of each kind; how many rows went. While it is not 0 there may be more.
pub async fn sweep(db: &Db, keep: Keep, now: Timestamp) -> Result<u64> {
    let (over, never) = (now - keep.dead_oauth, Timestamp(i64::MIN));
    let idle = keep.idle.map_or(never, |idle| over - idle);
    let mut reader = db.read().await?;
    let due: bool = query(DUE)
        .bind(now.0)
        .bind((now - keep.salts).0)
        .bind((now - keep.audit).0)
        .bind((now - keep.audit).0 / 3_600_000)
        .bind(keep.log)
        .bind((now - keep.dead_tokens).0)
        .bind(over.0)
        .bind(idle.0)
        .bind(minute(now - keep.guesses))
        .one(&mut reader)
        .await?;
    drop(reader);
    if !due {
        return Ok(0);
    }
    db.chore(move |tx| Box::pin(remove(tx, keep, now, idle))).await
}

async fn remove(tx: &mut Tx, keep: Keep, now: Timestamp, idle: Timestamp) -> Result<u64> {
    let over = now - keep.dead_oauth;
    let mut gone = query(SESSIONS).bind(now.0).changed(tx).await?;
    gone += query(SALTS).bind((now - keep.salts).0).changed(tx).await?;
    gone += query(OAUTH_SALTS).bind((now - keep.salts).0).changed(tx).await?;
    gone += query(AUDIT).bind((now - keep.audit).0).changed(tx).await?;
    gone += query(FAILURES).bind((now - keep.audit).0 / 3_600_000).changed(tx).await?;
    gone += query(GUESSES).bind(minute(now - keep.guesses)).changed(tx).await?;
    gone += query(LOG).bind(keep.log).changed(tx).await?;
    gone += query(GENERATIONS).bind((now - keep.dead_tokens).0).changed(tx).await?;
    gone += query(REPLACED).bind((now - keep.dead_tokens).0).changed(tx).await?;
    gone += query(TOKENS_OF_ENDED).bind((now - keep.dead_tokens).0).changed(tx).await?;
    gone += query(FAMILIES).bind((now - keep.dead_tokens).0).changed(tx).await?;
    gone += query(JOB_TOKENS).bind((now - keep.dead_tokens).0).changed(tx).await?;
    gone += query(CODES).bind(now.0).changed(tx).await?;
    for text in [REDEEMED_CODES, OAUTH_GENERATIONS, OAUTH_REPLACED, OAUTH_ENDED, OAUTH_OVER] {
        gone += query(text).bind(over.0).changed(tx).await?;
    }
    gone += query(OAUTH_IDLE).bind(over.0).bind(idle.0).changed(tx).await?;
    Ok(gone)
}

statements! {
    DUE = "
    SELECT EXISTS (SELECT 1 FROM sessions WHERE expires_at <= $1)
        OR EXISTS (SELECT 1 FROM personal_access_tokens WHERE salt IS NOT NULL AND rotated_at <= $2)
        OR EXISTS (SELECT 1 FROM audit_events WHERE at <= $3)
        OR EXISTS (SELECT 1 FROM failed_sign_ins WHERE hour <= $4)
        OR EXISTS (SELECT 1 FROM sign_in_failures WHERE minute < $9)
        OR EXISTS (SELECT 1 FROM invalidations WHERE position <= (SELECT max(position) FROM invalidations) - $5)
        OR EXISTS (SELECT 1 FROM personal_access_tokens WHERE rotated_at <= $6)
        OR EXISTS (SELECT 1 FROM job_tokens WHERE expires_at <= $6)
        OR EXISTS (SELECT 1 FROM personal_access_tokens WHERE replaced_at <= $6)
        OR EXISTS (SELECT 1 FROM token_families f
                    WHERE f.ended_at <= $6 AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.family_id = f.id))
        OR EXISTS (SELECT 1 FROM oauth_access_tokens WHERE salt IS NOT NULL AND rotated_at <= $2)
        OR EXISTS (SELECT 1 FROM oauth_access_grants WHERE redeemed_at IS NULL AND expires_at <= $1)
        OR EXISTS (SELECT 1 FROM oauth_access_grants WHERE redeemed_at <= $7)
        OR EXISTS (SELECT 1 FROM oauth_access_tokens WHERE rotated_at <= $7)
        OR EXISTS (SELECT 1 FROM oauth_access_tokens WHERE replaced_at <= $7)
        OR EXISTS (SELECT 1 FROM oauth_access_tokens WHERE ends_at <= $7)
        OR EXISTS (SELECT 1 FROM token_families f JOIN oauth_access_tokens t ON t.family_id = f.id WHERE f.ended_at <= $7)
        OR EXISTS (SELECT 1 FROM oauth_access_tokens
                    WHERE rotated_at IS NULL AND refresh_digest IS NOT NULL AND created_at <= $8 AND expires_at <= $7)";

    SESSIONS = "
    DELETE FROM sessions
     WHERE digest IN (SELECT digest FROM sessions WHERE expires_at <= $1 ORDER BY digest LIMIT 500)";

    SALTS = "
    UPDATE personal_access_tokens SET salt = NULL
     WHERE id IN (SELECT id FROM personal_access_tokens WHERE salt IS NOT NULL AND rotated_at <= $1 ORDER BY id LIMIT 500)";

    OAUTH_SALTS = "
    UPDATE oauth_access_tokens SET salt = NULL
     WHERE id IN (SELECT id FROM oauth_access_tokens WHERE salt IS NOT NULL AND rotated_at <= $1 ORDER BY id LIMIT 500)";

    CODES = "
    DELETE FROM oauth_access_grants
     WHERE digest IN (SELECT digest FROM oauth_access_grants WHERE redeemed_at IS NULL AND expires_at <= $1 LIMIT 500)";

    REDEEMED_CODES = "
    DELETE FROM oauth_access_grants
     WHERE digest IN (SELECT digest FROM oauth_access_grants WHERE redeemed_at <= $1 LIMIT 500)";

    OAUTH_GENERATIONS = "
    DELETE FROM oauth_access_tokens
     WHERE id IN (SELECT id FROM oauth_access_tokens WHERE rotated_at <= $1 LIMIT 500)";

    OAUTH_REPLACED = "
    DELETE FROM oauth_access_tokens
     WHERE id IN (SELECT id FROM oauth_access_tokens WHERE replaced_at <= $1 LIMIT 500)";

    // Their tokens go with them.
    OAUTH_ENDED = "
    DELETE FROM token_families
     WHERE id IN (SELECT f.id FROM token_families f
                   WHERE f.ended_at <= $1 AND EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.family_id = f.id)
                   LIMIT 100)";

    OAUTH_OVER = "
    DELETE FROM token_families
     WHERE id IN (SELECT family_id FROM oauth_access_tokens WHERE ends_at <= $1 LIMIT 100)";

    // Their last access token has expired too: it may have been given a longer life than it would be given now.
    OAUTH_IDLE = "
    DELETE FROM token_families
     WHERE id IN (SELECT t.family_id FROM oauth_access_tokens t JOIN token_families f ON f.head_id = t.id AND f.id = t.family_id
                   WHERE t.rotated_at IS NULL AND t.refresh_digest IS NOT NULL AND t.created_at <= $2 AND t.expires_at <= $1
                   LIMIT 100)";

    AUDIT = "DELETE FROM audit_events WHERE id IN (SELECT id FROM audit_events WHERE at <= $1 ORDER BY id LIMIT 500)";

    FAILURES = "
    DELETE FROM failed_sign_ins
     WHERE (user_id, address, hour) IN (SELECT user_id, address, hour FROM failed_sign_ins
                                         WHERE hour <= $1 ORDER BY user_id, address, hour LIMIT 500)";

    GUESSES = "
    DELETE FROM sign_in_failures
     WHERE (source, minute) IN (SELECT source, minute FROM sign_in_failures
                                 WHERE minute < $1 ORDER BY source, minute LIMIT 500)";

    GENERATIONS = "    DELETE FROM personal_access_tokens
     WHERE id IN (SELECT id FROM personal_access_tokens WHERE rotated_at <= $1 ORDER BY id LIMIT 500)";

    JOB_TOKENS = "
    DELETE FROM job_tokens WHERE id IN (SELECT id FROM job_tokens WHERE expires_at <= $1 ORDER BY id LIMIT 500)";

    REPLACED = "
    DELETE FROM personal_access_tokens
     WHERE id IN (SELECT id FROM personal_access_tokens WHERE replaced_at <= $1 ORDER BY id LIMIT 500)";

    TOKENS_OF_ENDED = "
    DELETE FROM personal_access_tokens
     WHERE family_id IN (SELECT f.id FROM token_families f
                          WHERE f.ended_at <= $1
                            AND EXISTS (SELECT 1 FROM personal_access_tokens t WHERE t.family_id = f.id)
                          LIMIT 100)";

    FAMILIES = "
    DELETE FROM token_families
     WHERE id IN (SELECT f.id FROM token_families f
                   WHERE f.ended_at <= $1
                     AND NOT EXISTS (SELECT 1 FROM personal_access_tokens t WHERE t.family_id = f.id)
                     AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.family_id = f.id)
                   LIMIT 100)";

    LOG = "
    DELETE FROM invalidations
     WHERE position IN (SELECT position FROM invalidations
                         WHERE position <= (SELECT max(position) FROM invalidations) - $1
                         ORDER BY position LIMIT 500)";
}

//! `sessions`: somebody signed in. Only the digest of the cookie is kept.

use tollhouse_domain::id::UserId;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};
use crate::oauth_access_grants;

/// A session that is about to exist.
#[derive(Debug)]
pub struct NewSession<'a> {
    /// Digest of the cookie.
    pub digest: Digest,
    /// Who signed in.
    pub user: UserId,
    /// The first instant at which it is over, unless use extends it.
    pub expires_at: Timestamp,
    /// The address of the browser.
    pub address: Option<&'a str>,
    /// As the browser sent it; escaped and cut when it is written.
    pub user_agent: Option<&'a str>,
}

/// Inserts the row of a sign-in; `now` is when the password was given.
pub async fn insert(tx: &mut Tx, new: &NewSession<'_>, now: Timestamp) -> Result<()> {
    query(INSERT)
        .bind(&new.digest.0[..])
        .bind(new.user.0)
        .bind(now.0)
        .bind(new.expires_at.0)
        .bind(new.address)
        .bind(new.user_agent.map(printable))
        .changed(tx)
        .await
        .map(drop)
}

/// Says so to the log even if the row was gone: a repeat after a lost answer is a full acknowledgement
/// (revocation.md W4).
pub async fn remove(tx: &mut Tx, digest: Digest) -> Result<Option<UserId>> {
    let user = remove_if_known(tx, digest).await?;
    tx.invalidate(Invalidation::Session(digest));
    Ok(user)
}

/// For a cookie that may be nobody's, which makes nothing untrue; otherwise strangers could fill the log.
pub async fn remove_if_known(tx: &mut Tx, digest: Digest) -> Result<Option<UserId>> {
    let user: Option<i64> = query(REMOVE).bind(&digest.0[..]).optional(tx).await?;
    if user.is_some() {
        tx.invalidate(Invalidation::Session(digest));
    }
    Ok(user.map(UserId))
}

/// Whether one of these is somebody's session, ended ones included until they are swept.
pub async fn any_of(at: &mut impl Runs, digests: &[Digest]) -> Result<bool> {
    for digest in digests {
        let known: bool = query(KNOWN).bind(&digest.0[..]).one(at).await?;
        if known {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Ends all sessions of a user, and the authorization codes that were issued in them and not redeemed. The sessions come
/// first: [`hold`] keeps them from going while a code is issued, and the code is seen here afterwards.
pub async fn remove_all_of(tx: &mut Tx, user: UserId) -> Result<u64> {
    tx.invalidate(Invalidation::Owner(user));
    let ended = query(REMOVE_ALL_OF).bind(user.0).changed(tx).await?;
    oauth_access_grants::remove_unredeemed(tx, user).await?;
    Ok(ended)
}

/// When the user of this session authenticated. Locks the row, so that the session does not end before this transaction
/// does. `None`: it has ended, or is somebody else's.
pub async fn hold(tx: &mut Tx, digest: Digest, user: UserId) -> Result<Option<Timestamp>> {
    let created_at: Option<i64> = query(HOLD).bind(&digest.0[..]).bind(user.0).optional(tx).await?;
    Ok(created_at.map(Timestamp))
}

/// Ends the least recently used sessions of a user beyond this many (authentication.md 6.2).
pub async fn keep_newest(tx: &mut Tx, user: UserId, keep: i64) -> Result<()> {
    let ended: Vec<Vec<u8>> = query(KEEP_NEWEST).bind(user.0).bind(keep).all(tx).await?;
    for digest in ended {
        let digest = Digest::from_slice(&digest).ok_or_else(|| Error::Damaged("digest of a session".into()))?;
        tx.invalidate(Invalidation::Session(digest));
    }
    Ok(())
}

/// How many there are, ended ones included until they are swept.
pub async fn count(at: &mut impl Runs) -> Result<i64> {
    query(COUNT).one(at).await
}

/// Sliding expiry, written in batches: it can neither revive nor hide a session (revocation.md section 6).
pub(crate) async fn extend(tx: &mut Tx, digest: Digest, used_at: Timestamp, expires_at: Timestamp) -> Result<()> {
    query(EXTEND).bind(&digest.0[..]).bind(used_at.0).bind(expires_at.0).changed(tx).await.map(drop)
}

statements! {
    COUNT = "SELECT count(*) FROM sessions";

    INSERT = "
    INSERT INTO sessions (digest, user_id, created_at, extended_at, expires_at, address, user_agent)
    VALUES ($1, $2, $3, $3, $4, $5, $6)";

    KNOWN = "SELECT EXISTS (SELECT 1 FROM sessions WHERE digest = $1)";

    REMOVE = "DELETE FROM sessions WHERE digest = $1 RETURNING user_id";

    REMOVE_ALL_OF = "DELETE FROM sessions WHERE user_id = $1";

    HOLD = "UPDATE sessions SET user_id = user_id WHERE digest = $1 AND user_id = $2 RETURNING created_at";

    KEEP_NEWEST = "
    DELETE FROM sessions
     WHERE user_id = $1
       AND digest NOT IN (SELECT digest FROM sessions WHERE user_id = $1 ORDER BY extended_at DESC, digest LIMIT $2)
    RETURNING digest";

    EXTEND = "
    UPDATE sessions SET extended_at = $2, expires_at = CASE WHEN expires_at < $3 THEN $3 ELSE expires_at END
     WHERE digest = $1 AND extended_at < $2 AND expires_at > $2";
}

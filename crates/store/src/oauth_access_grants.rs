//! `oauth_access_grants`: authorization codes. Only their digests are kept.

use tollhouse_domain::grant::AccessGrant;
use tollhouse_domain::id::{ApplicationId, FamilyId, UserId};
use tollhouse_domain::pkce::{Challenge, Method, Strictness};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::db::Db;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};

row! {
    struct Row {
        application_id: i64,
        user_id: i64,
        redirect_uri: String,
        scopes: String,
        challenge: Option<String>,
        challenge_method: Option<String>,
        nonce: Option<String>,
        authenticated_at: Option<i64>,
        expires_at: i64,
        redeemed_at: Option<i64>,
        family_id: Option<i64>,
    }
}

impl Row {
    fn grant(self) -> Result<AccessGrant> {
        let challenge = match (self.challenge, self.challenge_method) {
            (Some(value), Some(method)) => {
                let method = Strictness::Lax.method(&method);
                let method = method.ok_or_else(|| Error::Damaged("challenge method of a code".into()))?;
                Some(Challenge::kept(method, &value))
            }
            _ => None,
        };
        Ok(AccessGrant {
            application: ApplicationId(self.application_id),
            user: UserId(self.user_id),
            redirect_uri: self.redirect_uri,
            scopes: Scopes::from_words(&self.scopes),
            challenge,
            nonce: self.nonce,
            authenticated_at: self.authenticated_at.map(Timestamp),
            expires_at: Timestamp(self.expires_at),
            redeemed: self.redeemed_at.map(Timestamp).zip(self.family_id.map(FamilyId)),
        })
    }
}

/// By the digest of the code, redeemed or expired ones too.
pub async fn find(at: &mut impl Runs, code: Digest) -> Result<Option<AccessGrant>> {
    let row: Option<Row> = query(FIND).bind(&code.0[..]).optional(at).await?;
    row.map(Row::grant).transpose()
}

/// Keeps a new code, by its digest.
pub async fn insert(tx: &mut Tx, code: Digest, grant: &AccessGrant, now: Timestamp) -> Result<()> {
    query(INSERT)
        .bind(&code.0[..])
        .bind(grant.application.0)
        .bind(grant.user.0)
        .bind(&grant.redirect_uri)
        .bind(grant.scopes.to_string())
        .bind(grant.challenge.as_ref().map(Challenge::as_str))
        .bind(grant.challenge.as_ref().map(|_| Method::S256.as_str()))
        .bind(grant.nonce.as_deref())
        .bind(now.0)
        .bind(grant.expires_at.0)
        .bind(grant.authenticated_at.map(|at| at.0))
        .changed(tx)
        .await
        .map(drop)
}

/// Removes the codes of a user that can still be redeemed. Those that were redeemed stay, so that a repeat is noticed.
/// [`redeem`] locks the row of its code, so a code is either redeemed before this or never.
pub(crate) async fn remove_unredeemed(tx: &mut Tx, user: UserId) -> Result<u64> {
    query(REMOVE_UNREDEEMED).bind(user.0).changed(tx).await
}

/// Compare and set: of all who present a code at once, one wins.
pub async fn redeem(tx: &mut Tx, code: Digest, family: FamilyId, now: Timestamp) -> Result<bool> {
    Ok(query(REDEEM).bind(&code.0[..]).bind(now.0).bind(family.0).changed(tx).await? == 1)
}

/// Hashes the challenges that stand in clear: older versions kept that of `plain` as it was sent, and it is the verifier.
/// SQLite has no hash functions, so this is no step of the schema. It is done at each start, and with every sweep: an older
/// server may run beside this one for a while.
pub async fn hash_plain_challenges(db: &Db) -> Result<()> {
    loop {
        let rows: Vec<(Vec<u8>, String)> = query(PLAIN).bind(BATCH).all(&mut db.read().await?).await?;
        if rows.is_empty() {
            return Ok(());
        }
        db.chore(move |tx| {
            Box::pin(async move {
                for (digest, value) in rows {
                    let challenge = Challenge::kept(Method::Plain, &value);
                    query(HASH_PLAIN).bind(digest).bind(challenge.as_str()).changed(tx).await?;
                }
                Ok(())
            })
        })
        .await?;
    }
}

const BATCH: i64 = 1_000;

statements! {
    FIND = "
    SELECT application_id, user_id, redirect_uri, scopes, challenge, challenge_method, nonce, authenticated_at,
           expires_at, redeemed_at, family_id
      FROM oauth_access_grants WHERE digest = $1";

    INSERT = "
    INSERT INTO oauth_access_grants (digest, application_id, user_id, redirect_uri, scopes, challenge, challenge_method, nonce,
                                     created_at, expires_at, authenticated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

    PLAIN = "SELECT digest, challenge FROM oauth_access_grants WHERE challenge_method = 'plain' AND challenge IS NOT NULL LIMIT $1";

    HASH_PLAIN = "UPDATE oauth_access_grants SET challenge = $2, challenge_method = 'S256' WHERE digest = $1";

    REMOVE_UNREDEEMED = "DELETE FROM oauth_access_grants WHERE user_id = $1 AND redeemed_at IS NULL";

    REDEEM = "UPDATE oauth_access_grants SET redeemed_at = $2, family_id = $3 WHERE digest = $1 AND redeemed_at IS NULL";
}

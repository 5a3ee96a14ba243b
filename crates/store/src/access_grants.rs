//! `oauth_access_grants`: authorization codes. Only their digests are kept.

use tollhouse_domain::grant::AccessGrant;
use tollhouse_domain::id::{ApplicationId, FamilyId, UserId};
use tollhouse_domain::pkce::{Challenge, Method};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::db::Runs;
use crate::error::{Error, Result};
use crate::tx::Tx;

#[derive(sqlx::FromRow)]
struct Row {
    application_id: i64,
    user_id: i64,
    redirect_uri: String,
    scopes: String,
    challenge: Option<String>,
    challenge_method: Option<String>,
    nonce: Option<String>,
    expires_at: i64,
    redeemed_at: Option<i64>,
    family_id: Option<i64>,
}

impl Row {
    fn grant(self) -> Result<AccessGrant> {
        let challenge = match (self.challenge, self.challenge_method) {
            (Some(value), Some(method)) => {
                let method = Method::parse(&method);
                let method = method.ok_or_else(|| Error::Damaged("challenge method of a code".into()))?;
                Some(Challenge { method, value })
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
            expires_at: Timestamp(self.expires_at),
            redeemed: self.redeemed_at.map(Timestamp).zip(self.family_id.map(FamilyId)),
        })
    }
}

pub async fn find(at: &mut impl Runs, code: Digest) -> Result<Option<AccessGrant>> {
    let row: Option<Row> = on!(at, |c| sqlx::query_as(FIND).bind(&code.0[..]).fetch_optional(c))?;
    row.map(Row::grant).transpose()
}

pub async fn insert(tx: &mut Tx, code: Digest, grant: &AccessGrant, now: Timestamp) -> Result<()> {
    changed!(
        tx,
        sqlx::query(INSERT)
            .bind(&code.0[..])
            .bind(grant.application.0)
            .bind(grant.user.0)
            .bind(&grant.redirect_uri)
            .bind(grant.scopes.to_string())
            .bind(grant.challenge.as_ref().map(|challenge| challenge.value.as_str()))
            .bind(grant.challenge.as_ref().map(|challenge| challenge.method.as_str()))
            .bind(grant.nonce.as_deref())
            .bind(now.0)
            .bind(grant.expires_at.0)
    )
    .map(drop)
}

/// Compare and set: of all who present a code at once, one wins.
pub async fn redeem(tx: &mut Tx, code: Digest, family: FamilyId, now: Timestamp) -> Result<bool> {
    Ok(changed!(tx, sqlx::query(REDEEM).bind(&code.0[..]).bind(now.0).bind(family.0))? == 1)
}

statements! {
    FIND = "
    SELECT application_id, user_id, redirect_uri, scopes, challenge, challenge_method, nonce, expires_at, redeemed_at, family_id
      FROM oauth_access_grants WHERE digest = $1";

    INSERT = "
    INSERT INTO oauth_access_grants (digest, application_id, user_id, redirect_uri, scopes, challenge, challenge_method, nonce,
                                     created_at, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

    REDEEM = "UPDATE oauth_access_grants SET redeemed_at = $2, family_id = $3 WHERE digest = $1 AND redeemed_at IS NULL";
}

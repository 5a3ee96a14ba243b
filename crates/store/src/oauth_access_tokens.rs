//! `oauth_access_tokens`: an access token and its refresh token are one generation of a family.

use tollhouse_domain::grant::OauthAccessToken;
use tollhouse_domain::id::{ApplicationId, FamilyId, GenerationId, OauthAccessTokenId, UserId};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;

use crate::engine::conn::Runs;
use crate::engine::postgres::numbers::Sequence;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::token_families::{Generation, GenerationRow};

row! {
    struct Row {
        previous_id: Option<i64>,
        application_id: Option<i64>,
        user_id: Option<i64>,
        scopes: String,
        redirect_uri: Option<String>,
        authenticated_at: Option<i64>,
        created_at: i64,
        expires_at: i64,
        generation: GenerationRow,
    }
}

/// A token with all that deciding about its rotation needs.
#[derive(Clone, Debug)]
pub struct Found {
    /// The row of the generation.
    pub token: OauthAccessToken,
    /// Live, rotated or ended.
    pub status: TokenStatus,
    /// Its place in its family.
    pub generation: Generation,
}

impl Row {
    fn found(self) -> Found {
        let token = OauthAccessToken {
            id: OauthAccessTokenId(self.generation.id),
            family_id: FamilyId(self.generation.family_id),
            previous_id: self.previous_id.map(OauthAccessTokenId),
            application: self.application_id.map(ApplicationId),
            user: self.user_id.map(UserId),
            scopes: Scopes::from_words(&self.scopes),
            redirect_uri: self.redirect_uri,
            authenticated_at: self.authenticated_at.map(Timestamp),
            created_at: Timestamp(self.created_at),
            expires_at: Timestamp(self.expires_at),
        };
        Found { token, status: self.generation.status(), generation: self.generation.generation() }
    }
}

/// By number, whatever its state.
pub async fn find(at: &mut impl Runs, id: GenerationId) -> Result<Option<Found>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    Ok(row.map(Row::found))
}

/// By the access token.
pub async fn by_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<Found>> {
    let row: Option<Row> = query(BY_DIGEST).bind(&digest.0[..]).optional(at).await?;
    Ok(row.map(Row::found))
}

/// By the refresh token, whatever its state.
pub async fn by_refresh_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<Found>> {
    let row: Option<Row> = query(BY_REFRESH_DIGEST).bind(&digest.0[..]).optional(at).await?;
    Ok(row.map(Row::found))
}

/// The tokens of a person for an application that were not revoked, expired ones too: their scopes, and where their
/// code was sent. Those with a refresh token that were made at `idle` or before are dead.
pub async fn consents(
    at: &mut impl Runs,
    user: UserId,
    application: ApplicationId,
    idle: Timestamp,
) -> Result<Vec<(Scopes, Option<String>)>> {
    let rows: Vec<(String, Option<String>)> =
        query(CONSENTS).bind(user.0).bind(application.0).bind(idle.0).all(at).await?;
    Ok(rows.into_iter().map(|(scopes, uri)| (Scopes::from_words(&scopes), uri)).collect())
}

/// A token that is about to exist.
#[derive(Debug)]
pub struct NewOauthToken<'a> {
    /// The family that it belongs to; the row of it exists already.
    pub family: FamilyId,
    /// The generation that it follows. `None`: the first of its family.
    pub previous: Option<OauthAccessTokenId>,
    /// Digest of the access token.
    pub digest: Digest,
    /// Digest of the refresh token. `None`: it has none.
    pub refresh: Option<Digest>,
    /// `None`: got by password without a client.
    pub application: Option<ApplicationId>,
    /// `None`: the application's own.
    pub user: Option<UserId>,
    /// What it opens.
    pub scopes: &'a Scopes,
    /// Where the code was sent.
    pub redirect_uri: Option<&'a str>,
    /// When the person authenticated, if one did.
    pub authenticated_at: Option<Timestamp>,
    /// The last instant at which the access token is accepted.
    pub expires_at: Timestamp,
}

/// Inserts a generation with its access token and refresh token. Making it the head of its family is a step of its own.
pub async fn insert(tx: &mut Tx, new: &NewOauthToken<'_>, now: Timestamp) -> Result<OauthAccessTokenId> {
    tx.creates(new.digest);
    new.refresh.into_iter().for_each(|refresh| tx.creates(refresh));
    let drawn = tx.draw(Sequence::OauthAccessTokens).await?;
    query(INSERT)
        .bind(drawn)
        .bind(new.family.0)
        .bind(new.previous.map(|id| id.0))
        .bind(&new.digest.0[..])
        .bind(new.refresh.as_ref().map(|digest| &digest.0[..]))
        .bind(new.application.map(|id| id.0))
        .bind(new.user.map(|id| id.0))
        .bind(new.scopes.to_string())
        .bind(new.redirect_uri)
        .bind(now.0)
        .bind(new.expires_at.0)
        .bind(new.refresh.is_none().then_some(new.expires_at.0))
        .bind(new.authenticated_at.map(|at| at.0))
        .numbered(drawn, tx)
        .await
        .map(OauthAccessTokenId)
}

macro_rules! selected {
    () => {
        "SELECT t.previous_id, t.application_id, t.user_id, t.scopes, t.redirect_uri, t.authenticated_at, t.created_at,
                t.expires_at, t.id, t.family_id, t.rotated_at, t.handed_at, t.salt, f.head_id, f.head_used_at, f.ended_at, h.previous_id AS head_previous_id,
                h.created_at AS head_created_at
           FROM oauth_access_tokens t
           JOIN token_families f ON f.id = t.family_id
           LEFT JOIN oauth_access_tokens h ON h.id = f.head_id "
    };
}

statements! {
    FIND = concat!(selected!(), "WHERE t.id = $1");

    BY_DIGEST = concat!(selected!(), "WHERE t.digest = $1");

    BY_REFRESH_DIGEST = concat!(selected!(), "WHERE t.refresh_digest = $1");

    CONSENTS = "
    SELECT t.scopes, t.redirect_uri FROM oauth_access_tokens t
      JOIN token_families f ON f.id = t.family_id AND f.head_id = t.id AND f.ended_at IS NULL
     WHERE t.user_id = $1 AND t.application_id = $2 AND (t.refresh_digest IS NULL OR t.created_at > $3) ORDER BY t.id DESC LIMIT 100";

    INSERT = "
    INSERT INTO oauth_access_tokens (id, family_id, previous_id, digest, refresh_digest, application_id, user_id, scopes,
                                     redirect_uri, created_at, expires_at, ends_at, authenticated_at)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) RETURNING id";
}

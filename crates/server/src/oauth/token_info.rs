//! `GET /oauth/token/info` (oauth.md 8.3), and what is known of an OAuth token.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::grant::{self, seconds_left};
use tollhouse_domain::id::UserId;
use tollhouse_domain::lookup::{Credential, Key, TokenRecord};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;

use crate::app::App;
use crate::json::Object;
use crate::oauth::Call;
use crate::oauth::error::{Failure, OauthError, TokenFault, answer};

/// 200 for a live OAuth access token, else 401 `invalid_token`, for whatever reason.
pub async fn show(app: App, call: Call) -> Result<Response, Failure> {
    let shown = call.presented();
    let known = match shown.bearer().and_then(|secret| secret.digest()) {
        Some(digest) => look_up(&app, &call, digest, Secret::Access).await?,
        None => None,
    };
    let known = known.filter(|known| known.active).ok_or(OauthError::InvalidToken(TokenFault::Unknown))?;
    Ok(answer(StatusCode::OK, known.info().object(app.now())))
}

/// What the answer says.
pub(crate) struct Info<'a> {
    /// Whose it is. `None`: the application's own.
    pub user: Option<UserId>,
    /// What it opens.
    pub scopes: &'a Scopes,
    /// `None`: got by password without a client.
    pub client_id: Option<&'a str>,
    /// When it was issued.
    pub created_at: Timestamp,
    /// The last instant at which it is accepted.
    pub expires_at: Timestamp,
}

impl Info<'_> {
    /// Times are in seconds, since 1970 or from `now`.
    pub(crate) fn object(&self, now: Timestamp) -> Object {
        let left = seconds_left(self.expires_at, now);
        Object::default()
            .field("resource_owner_id", self.user)
            .field("scope", self.scopes)
            .field("expires_in", left)
            .object("application", Object::default().field("uid", self.client_id))
            .field("created_at", self.created_at.seconds())
            .field("scopes", self.scopes)
            .field("expires_in_seconds", left)
    }
}

/// An OAuth token that somebody showed or asked about.
pub(super) struct Known {
    /// As the database, or the cache, has it.
    pub token: Arc<TokenRecord>,
    user: Option<UserId>,
    /// By its access token, not by its refresh token.
    pub by_access: bool,
    /// It would be let in: live, not expired, and of an account that may come in.
    pub active: bool,
}

impl Known {
    /// authentication.md 5.5
    pub(super) fn expired(&self, now: Timestamp) -> bool {
        self.token.dead_from.is_some_and(|at| at <= now)
    }

    /// What may be told of it.
    pub(super) fn info(&self) -> Info<'_> {
        let TokenRecord { scopes, client_id, created_at, dead_from, .. } = &*self.token;
        Info {
            user: self.user,
            scopes,
            client_id: client_id.as_deref(),
            created_at: *created_at,
            expires_at: grant::expires_at(*dead_from),
        }
    }
}

/// Which of its secrets was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Secret {
    /// The access token alone.
    Access,
    /// The access token or the refresh token.
    Either,
}

/// It counts as used, whatever becomes of the request (rotation.md rule 7).
pub(super) async fn look_up(app: &App, call: &Call, digest: Digest, secret: Secret) -> Result<Option<Known>, Failure> {
    let find = async |key| app.auth.oauth_secret(key, call.address(), app.now()).await;
    let by_access = find(Key::Token(digest)).await?;
    let (record, by_access) = match by_access {
        None if secret == Secret::Either => (find(Key::Refresh(digest)).await?, false),
        record => (record, true),
    };
    let Some(record) = record else { return Ok(None) };
    let Credential::OauthAccessToken(token) = record.credential else { return Ok(None) };
    let (now, user) = (app.now(), record.owner.as_ref().map(|owner| owner.id));
    let admitted = record.owner.is_none_or(|owner| owner.may_use_api(now, app.accounts()).is_ok());
    let live = matches!(token.status, TokenStatus::Live { .. });
    let mut known = Known { token, user, by_access, active: false };
    known.active = live && admitted && !known.expired(now);
    Ok(Some(known))
}

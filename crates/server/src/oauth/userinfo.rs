//! `GET|POST /oauth/userinfo` (OpenID Connect Core section 5.3; oauth.md 9.2).

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::claims::UserInfo;
use tollhouse_domain::lookup::Credential;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::token::TokenStatus;

use crate::app::App;
use crate::error::because;
use crate::oauth::error::{Failure, OauthError, TokenFault, answer};
use crate::oauth::{Call, id_token};

/// 200 with [`UserInfo`]; 401 for a token that is not live, 403 without the scope `openid`, both without a body.
pub async fn show(app: App, call: Call) -> Result<Response, Failure> {
    match told(&app, &call).await {
        // The wire has only the head of it.
        Err(Failure::Oauth(error)) => Ok(because(error.without_body(), error.reason())),
        told => told,
    }
}

async fn told(app: &App, call: &Call) -> Result<Response, Failure> {
    let fault = |fault| Failure::Oauth(OauthError::InvalidToken(fault));
    let now = app.now();
    let record = app.auth.oauth_token(&call.presented(), now).await?.ok_or_else(|| fault(TokenFault::Unknown))?;
    let Credential::OauthAccessToken(token) = &record.credential else { return Err(fault(TokenFault::Unknown)) };
    if !matches!(token.status, TokenStatus::Live { .. }) {
        return Err(fault(TokenFault::Revoked));
    }
    if token.dead_from.is_some_and(|at| at <= now) {
        return Err(fault(TokenFault::Expired));
    }
    let owner = record.owner.filter(|owner| owner.may_use_api(now, app.accounts()).is_ok());
    let owner = owner.ok_or_else(|| fault(TokenFault::Unknown))?;
    if !token.scopes.contains(Scope::Openid) {
        return Err(OauthError::NoOpenid.into());
    }
    let memberships = app.auth.user_memberships(owner.id, call.address(), now).await?;
    let person = id_token::person(app, &owner, &token.scopes).await?;
    Ok(answer(StatusCode::OK, crate::json::Object::from_map(&UserInfo::new(person, &memberships.groups(now)))?))
}

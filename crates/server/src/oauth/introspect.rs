//! `POST /oauth/introspect` (RFC 7662; oauth.md 8.2).

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::secret::Digest;

use crate::app::App;
use crate::json::Object;
use crate::oauth::error::{Failure, OauthError, TokenFault, answer};
use crate::oauth::token_info::{Info, Known, Secret};
use crate::oauth::{Call, client, token_info};

/// 200 with `active`, or an error where the caller may not ask. Times are in seconds since 1970.
pub async fn introspect(app: App, call: Call) -> Result<Response, Failure> {
    let asked = call.text("token").map(|token| Digest::of(token.as_bytes()));
    match client::authenticate(&app, &call).await? {
        Some(client) => {
            let found = match asked {
                Some(digest) => token_info::look_up(&app, &call, digest, Secret::Either).await?,
                None => None,
            };
            Ok(told(found.filter(|known| known.token.application.is_none_or(|id| id == client.id))))
        }
        None => by_bearer(&app, &call, asked).await,
    }
}

/// A token of the same application asks about another one.
async fn by_bearer(app: &App, call: &Call, asked: Option<Digest>) -> Result<Response, Failure> {
    let refused = || Failure::Oauth(OauthError::InvalidToken(TokenFault::Unknown));
    let shown = call.presented();
    let bearer = shown.bearer().and_then(|secret| secret.digest());
    let caller = match bearer {
        Some(digest) => token_info::look_up(app, call, digest, Secret::Access).await?,
        None => None,
    };
    let caller = caller.ok_or(OauthError::NoCaller)?;
    if !caller.active {
        return Err(refused());
    }
    let application = caller.token.application.ok_or_else(refused)?;
    let asked = asked.ok_or_else(refused)?;
    let found = token_info::look_up(app, call, asked, Secret::Either).await?.ok_or_else(refused)?;
    if found.token.application != Some(application) || found.token.id == caller.token.id {
        return Err(refused());
    }
    Ok(told(Some(found)))
}

fn told(found: Option<Known>) -> Response {
    let Some(known) = found.filter(|known| known.active) else {
        return answer(StatusCode::OK, Object::default().field("active", false));
    };
    let Info { scopes, client_id, created_at, expires_at, .. } = known.info();
    let object = Object::default()
        .field("active", true)
        .field("scope", scopes.to_string())
        .field("client_id", client_id)
        .field("token_type", "Bearer")
        .field("exp", expires_at.seconds())
        .field("iat", created_at.seconds());
    answer(StatusCode::OK, object)
}

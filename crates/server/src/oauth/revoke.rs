//! `POST /oauth/revoke` (RFC 7009; oauth.md 8.1).

use axum::response::Response;
use tollhouse_domain::secret::Digest;

use crate::app::App;
use crate::oauth::error::{Failure, OauthError};
use crate::oauth::token_info::Secret;
use crate::oauth::{Call, client, nothing, token_info};
use crate::operations::grants::Revoke;

/// 200 `{}` once every node refuses the token, and for a token that is unknown. 403 for one of another application.
pub async fn revoke(app: App, call: Call) -> Result<Response, Failure> {
    // A client that cannot authenticate is anonymous here, not refused for that alone.
    let client = match client::authenticate(&app, &call).await {
        Err(Failure::Oauth(OauthError::InvalidClient)) => None,
        client => client?,
    };
    if client.is_none() && !app.settings.oauth.ropc_without_client_credentials {
        return Err(OauthError::NotYours.into());
    }
    let Some(token) = call.text("token") else { return Ok(nothing()) };
    // `token_type_hint` says where to look first. One look-up finds either kind, so it changes nothing (RFC 7009 2.1).
    let found = token_info::look_up(&app, &call, Digest::of(token.as_bytes()), Secret::Either).await?;
    let Some(found) = found else {
        // Anybody may ask, and have many wait (T14).
        let _pass = app.auth.permit(call.address()).await;
        app.settled().await;
        return Ok(nothing());
    };
    // Its refresh token lives on, as on the wire.
    if found.by_access && found.expired(app.now()) {
        app.settled().await;
        return Ok(nothing());
    }
    let known = client.map(|client| client.id);
    if found.token.application.is_some() && found.token.application != known {
        return Err(OauthError::NotYours.into());
    }
    app.perform(Revoke { family: found.token.family }, &call.by(known)).await?.into_inner();
    Ok(nothing())
}

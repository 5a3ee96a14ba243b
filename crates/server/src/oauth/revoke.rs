//! `POST /oauth/revoke` (RFC 7009; oauth.md 8.1).

use axum::response::Response;
use tollhouse_domain::secret::Digest;
use tollhouse_store::oauth_access_tokens;

use crate::app::App;
use crate::error::Error;
use crate::oauth::error::OauthError;
use crate::oauth::{Call, client, nothing};
use crate::operations::grants::Revoke;

pub async fn revoke(app: App, call: Call) -> Result<Response, Error> {
    // Who cannot show who they are is nobody here, not refused for that alone.
    let client = match client::authenticate(&app, &call).await {
        Err(Error::Oauth(OauthError::InvalidClient)) => None,
        client => client?,
    };
    if client.is_none() && !app.settings.oauth.ropc_without_client_credentials {
        return Err(OauthError::NotYours.into());
    }
    let Some(token) = call.text("token") else { return Ok(nothing()) };
    let digest = Digest::of(token.as_bytes());
    let pass = app.auth.pass(call.address()).await;
    let mut reader = app.db.read().await?;
    let by_access = match call.text("token_type_hint") {
        Some("refresh_token") => None,
        _ => oauth_access_tokens::by_digest(&mut reader, digest).await?,
    };
    let found = match by_access {
        // Its refresh token lives on, as on the wire.
        Some(found) if found.token.expired(app.now()) => return Ok(nothing()),
        Some(found) => Some(found),
        None => oauth_access_tokens::by_refresh_digest(&mut reader, digest).await?,
    };
    drop((reader, pass));
    let Some(found) = found else { return Ok(nothing()) };
    let known = client.map(|client| client.id);
    if found.token.application.is_some() && found.token.application != known {
        return Err(OauthError::NotYours.into());
    }
    app.perform(&Revoke { family: found.token.family_id }, &call.by(known)).await?.into_inner();
    Ok(nothing())
}

//! `POST /oauth/token` (oauth.md section 6): which grant, and the answer that all of them have.

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::scope::{Scope, Scopes};

use crate::app::App;
use crate::json::Object;
use crate::oauth::client::Client;
use crate::oauth::error::{Failure, OauthError, answer};
use crate::oauth::grants::{authorization_code, client_credentials, password, refresh_token};
use crate::oauth::{Call, id_token};
use crate::operations::grants::Issued;

/// Redeems a grant: 200 with the tokens, or an error of RFC 6749 section 5.2. Times are in seconds.
pub async fn issue(app: App, call: Call) -> Result<Response, Failure> {
    // Before anything is used up: an answer may need a signature.
    app.keys().await?;
    let (issued, client) = match call.required("grant_type")? {
        "authorization_code" => authorization_code::grant(&app, &call).await?,
        "refresh_token" => refresh_token::grant(&app, &call).await?,
        "client_credentials" => client_credentials::grant(&app, &call).await?,
        "password" if app.settings.oauth.password_grant => password::grant(&app, &call).await?,
        _ => return Err(OauthError::UnsupportedGrantType.into()),
    };
    let (token, scopes) = (&issued.token, &issued.token.scopes);
    // It is told to somebody: without a client there is nobody to tell.
    let id_token = match (token.user, &client) {
        (Some(user), Some(client)) if scopes.contains(Scope::Openid) => {
            Some(id_token::made(&app, user, client, token, issued.nonce.as_deref()).await?)
        }
        _ => None,
    };
    let object = Object::default()
        .field("access_token", issued.access.reveal())
        .field("token_type", "Bearer")
        .field("expires_in", token.expires_in(app.now()))
        .when(issued.refresh.is_some(), |o| o.field("refresh_token", issued.refresh.as_ref().map(|r| r.reveal())))
        .when(!scopes.is_empty(), |o| o.field("scope", scopes.to_string()))
        .field("created_at", token.created_at.seconds())
        .when(id_token.is_some(), |o| o.field("id_token", &id_token));
    Ok(answer(StatusCode::OK, object))
}

/// What was granted, and to which client.
pub(super) type Granted = (Issued, Option<Client>);

/// The scopes of a grant that nobody was shown a page for: none that only administrators may hold (T21).
pub(super) fn without_a_page(app: &App, scopes: Option<Scopes>) -> Result<Scopes, Failure> {
    let scopes = scopes.ok_or(OauthError::InvalidScope)?;
    if scopes.for_administrators() && !app.settings.compat.admin_scopes.is_gitlab() {
        return Err(OauthError::InvalidScope.into());
    }
    Ok(scopes)
}

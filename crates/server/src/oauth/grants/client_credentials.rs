//! `grant_type=client_credentials` (RFC 6749 section 4.4; oauth.md 6.5): an application speaks for itself.

use crate::app::App;
use crate::oauth::error::{Failure, OauthError};
use crate::oauth::token::{Granted, without_a_page};
use crate::oauth::{Call, client};
use crate::operations::grants::ClientCredentials;

/// Needs a confidential client. The token has no user and no refresh token.
pub(in crate::oauth) async fn grant(app: &App, call: &Call) -> Result<Granted, Failure> {
    let client = client::required(app, call).await?;
    if !client.confidential {
        return Err(OauthError::InvalidClient.into());
    }
    let scopes = without_a_page(app, client.scopes_for(call.text("scope")))?;
    let lifetime = app.settings.oauth.access_token_lifetime.0;
    let operation = ClientCredentials { client: client.id, scopes, lifetime };
    let issued = app.perform(operation, &call.by(Some(client.id))).await?.into_inner();
    Ok((issued, Some(client)))
}

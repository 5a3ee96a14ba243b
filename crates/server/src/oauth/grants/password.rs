//! `grant_type=password` (RFC 6749 section 4.3; oauth.md 6.4; T16): somebody typed their password into a program.

use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;

use crate::app::App;
use crate::oauth::error::{Failure, OauthError};
use crate::oauth::token::{Granted, without_a_page};
use crate::oauth::{Call, client};
use crate::operations::grants::PasswordGrant;
use crate::operations::password_check::{Checked, Origin, check, not_counted};

/// Needs `oauth.password_grant`, and a confidential client unless `compat.password_grant` is `gitlab`. `invalid_grant`
/// does not tell why.
pub(in crate::oauth) async fn grant(app: &App, call: &Call) -> Result<Granted, Failure> {
    let anybody = app.settings.compat.password_grant.is_gitlab();
    let client = client::authenticate(app, call).await?;
    match &client {
        None if !(anybody && app.settings.oauth.ropc_without_client_credentials) => {
            return Err(OauthError::InvalidClient.into());
        }
        Some(client) if !client.confidential && !anybody => return Err(OauthError::UnauthorizedClient.into()),
        _ => {}
    }
    let (Some(login), Some(password)) = (call.text("username"), call.text("password")) else {
        return Err(OauthError::InvalidGrant.into());
    };
    let password = Plaintext::new(password.to_owned());
    let origin = Origin { address: call.address(), device: "" };
    let right = match check(app, login, &password, origin).await? {
        Checked::Right(right) => right,
        Checked::Wrong(wrong) => return Err(Failure::WrongPassword(wrong)),
    };
    let by = call.by(client.as_ref().map(|client| client.id));
    let asked = call.text("scope");
    let scopes = match &client {
        Some(client) => client.scopes_for(asked),
        None => asked.map_or(Some(Scopes::from([Scope::Api])), Scopes::parse).filter(|scopes| !scopes.is_empty()),
    };
    let allowed = match right.user.may_use_api(app.now(), app.accounts()) {
        Ok(()) => without_a_page(app, scopes),
        Err(_) => Err(OauthError::InvalidGrant.into()),
    };
    let scopes = match allowed {
        Ok(scopes) => scopes,
        Err(error) => {
            not_counted(app, right.user.id, &by).await;
            return Err(error);
        }
    };
    let operation = PasswordGrant {
        client: client.as_ref().map(|client| client.id),
        user: right.user.id,
        seen: (right.digest, right.user.state),
        scopes,
        lifetime: app.settings.oauth.access_token_lifetime.0,
    };
    let issued = match app.perform(operation, &by).await {
        Ok(issued) => issued.into_inner().ok_or(OauthError::InvalidGrant)?,
        Err(error) => {
            not_counted(app, right.user.id, &by).await;
            return Err(error.into());
        }
    };
    Ok((issued, client))
}

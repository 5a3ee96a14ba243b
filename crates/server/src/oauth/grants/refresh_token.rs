//! `grant_type=refresh_token` (RFC 6749 section 6; `docs/protocols/rotation.md` section 6).

use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::token::TokenStatus;
use tollhouse_store::oauth_access_tokens;

use crate::app::App;
use crate::error::settling;
use crate::oauth::error::{Failure, OauthError};
use crate::oauth::token::Granted;
use crate::oauth::{Call, client};
use crate::operations::refresh::Refresh;
use crate::operations::rotation::Rotated;

/// 503 while the family settles (rotation.md rule 4).
pub(in crate::oauth) async fn grant(app: &App, call: &Call) -> Result<Granted, Failure> {
    let presented = Plaintext::new(call.required("refresh_token")?.to_owned());
    let pass = app.auth.permit(call.address()).await;
    let known = oauth_access_tokens::by_refresh_digest(&mut app.db.read().await?, presented.digest()).await?;
    let rules = app.rotation();
    let known = match known {
        None => Err(OauthError::InvalidGrant),
        Some(known) => match known.status {
            TokenStatus::Ended => Err(OauthError::InvalidGrant),
            _ if known.generation.presented.is_idle(rules.settings, app.now()) => Err(OauthError::RefreshIdle),
            TokenStatus::Rotated if rules.gitlab => Err(OauthError::InvalidGrant),
            TokenStatus::Rotated | TokenStatus::Live { .. } => Ok(known),
        },
    };
    let known = match known {
        Ok(known) => known,
        Err(refused) => {
            // It may be the answer to a theft, whose first telling was lost (revocation.md W5).
            app.settled().await;
            return Err(refused.into());
        }
    };
    drop(pass);
    let client = client::authenticate(app, call).await?;
    // Another client's: nothing would be written (rule 1).
    if known.token.application != client.as_ref().map(|client| client.id) {
        return Err(OauthError::InvalidGrant.into());
    }
    let operation = Refresh {
        presented,
        client: client.as_ref().map(|client| client.id),
        scopes: call.text("scope").or_else(|| call.text("scopes")).map(str::to_owned),
        lifetime: app.settings.oauth.access_token_lifetime.0,
        accounts: app.accounts(),
        rules,
    };
    let by = call.by(operation.client);
    match app.perform(operation, &by).await?.into_inner() {
        Rotated::Successor(issued) => Ok((issued, client)),
        Rotated::Wait { until } => Err(settling(until, app.now()).into()),
        Rotated::Dead => Err(OauthError::InvalidGrant.into()),
    }
}

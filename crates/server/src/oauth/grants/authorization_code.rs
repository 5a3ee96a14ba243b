//! `grant_type=authorization_code` (RFC 6749 section 4.1.3, RFC 7636 section 4.5; oauth.md 6.2).

use tollhouse_domain::grant::{AccessGrant, CODE_REPEAT, Presented, Redemption, RedemptionRules};
use tollhouse_domain::secret::Digest;
use tollhouse_store::oauth_access_grants;

use crate::app::App;
use crate::oauth::error::{Failure, OauthError};
use crate::oauth::token::Granted;
use crate::oauth::{Call, client};
use crate::operations::grants::Redeem;

/// Parameters, client, code, address, verifier: the first that is wrong is what is said.
pub(in crate::oauth) async fn grant(app: &App, call: &Call) -> Result<Granted, Failure> {
    let code = Digest::of(call.required("code")?.as_bytes());
    let verifier = call.text("code_verifier");
    let known = {
        let _pass = app.auth.permit(call.address()).await;
        oauth_access_grants::find(&mut app.db.read().await?, code).await?
    };
    let challenged = known.as_ref().is_some_and(|grant| grant.challenge.is_some() && grant.redeemed.is_none());
    if challenged && verifier.is_none() {
        return Err(OauthError::Missing("code_verifier").into());
    }
    let redirect_uri = call.required("redirect_uri")?;
    let client = client::required(app, call).await?;
    let repeat = CODE_REPEAT;
    #[cfg(feature = "faults")]
    let repeat = if app.faults.repeats_are_reuse() { std::time::Duration::ZERO } else { repeat };
    let operation = Redeem {
        code,
        presented: Presented {
            client: client.id,
            redirect_uri: redirect_uri.to_owned(),
            verifier: verifier.map(str::to_owned),
        },
        rules: RedemptionRules {
            repeat: (!app.rotation().gitlab).then_some(repeat),
            matching: app.settings.compat.redirect_matching(),
            pkce: app.settings.compat.pkce_strictness(),
        },
        lifetime: app.settings.oauth.access_token_lifetime.0,
        accounts: app.accounts(),
    };
    // Anybody can invent a code, so only one that may change something takes the writer (T29).
    let refused =
        |grant: AccessGrant| grant.decide(&operation.presented, operation.rules, app.now()) == Redemption::Refuse;
    if known.is_none_or(refused) {
        return Err(OauthError::InvalidGrant.into());
    }
    let issued = app.perform(operation, &call.by(Some(client.id))).await?.into_inner();
    Ok((issued.ok_or(OauthError::InvalidGrant)?, Some(client)))
}

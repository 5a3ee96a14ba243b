//! Discovery: the documents of oauth.md section 10. They list what works.

use axum::http::StatusCode;
use axum::response::Response;
use tollhouse_domain::claims;
use tollhouse_domain::prompt;
use tollhouse_domain::scope::Scope;

use crate::app::App;
use crate::error::Error;
use crate::json::Object;
use crate::oauth::error::{Failure, answer};
use crate::oauth::{Call, kept_for_a_day};

/// `/.well-known/openid-configuration` and `/.well-known/oauth-authorization-server`
pub async fn configuration(app: App, call: Call) -> Result<Response, Failure> {
    if !app.urls.serves(call.headers()) {
        return Err(Error::WrongHost.into());
    }
    let base = app.urls.base();
    let at = |path: &str| format!("{base}{path}");
    let mut grants = vec!["authorization_code"];
    if app.settings.oauth.password_grant {
        grants.push("password");
    }
    grants.extend(["client_credentials", "refresh_token"]);
    let challenges: Vec<_> = app.settings.compat.pkce_strictness().methods().iter().map(|m| m.as_str()).collect();
    let object = Object::default()
        .field("issuer", base)
        .field("authorization_endpoint", at("/oauth/authorize"))
        .field("token_endpoint", at("/oauth/token"))
        .field("revocation_endpoint", at("/oauth/revoke"))
        .field("introspection_endpoint", at("/oauth/introspect"))
        .field("userinfo_endpoint", at("/oauth/userinfo"))
        .field("jwks_uri", at("/oauth/discovery/keys"))
        .field("scopes_supported", Scope::ALL.iter().filter(|scope| is_offered(**scope)).collect::<Vec<_>>())
        .field("response_types_supported", ["code"])
        .field("response_modes_supported", ["query", "fragment"])
        .field("grant_types_supported", grants)
        .field("token_endpoint_auth_methods_supported", METHODS)
        .field("subject_types_supported", ["public"])
        .field("id_token_signing_alg_values_supported", ["RS256"])
        .field("claim_types_supported", ["normal"])
        .field("claims_supported", &claims::SUPPORTED[..])
        .when(!app.settings.compat.iss.is_gitlab(), |o| o.field("authorization_response_iss_parameter_supported", true))
        .field("prompt_values_supported", prompt::SUPPORTED)
        .field("code_challenge_methods_supported", challenges);
    Ok(kept_for_a_day(answer(StatusCode::OK, object)))
}

/// `/oauth/discovery/keys`
pub async fn keys(app: App, _: Call) -> Result<Response, Failure> {
    let keys = app.keys().await?.published();
    Ok(kept_for_a_day(answer(StatusCode::OK, Object::default().field("keys", keys))))
}

/// There is no registry here (oauth.md section 3).
fn is_offered(scope: Scope) -> bool {
    !matches!(
        scope,
        Scope::ReadRegistry | Scope::WriteRegistry | Scope::ReadVirtualRegistry | Scope::WriteVirtualRegistry
    )
}

const METHODS: [&str; 2] = ["client_secret_basic", "client_secret_post"];

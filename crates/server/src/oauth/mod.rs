//! OAuth 2.0 and OpenID Connect: one file for each endpoint and each grant, in the order of the RFC. They translate;
//! what is done is in `operations`.

use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use serde_json::{Map, Value};
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::ApplicationId;

use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::pipeline;
use crate::json::Object;
use crate::oauth::error::{Failure, OauthError, answer};
use crate::request::{ParsedRequest, repeats, root};
use crate::web::PageAccess;

pub mod authorize;
pub mod client;
pub mod discovery;
pub mod error;
mod grants;
pub mod id_token;
pub mod introspect;
pub mod revoke;
pub mod token;
pub mod token_info;
pub mod userinfo;

/// `/oauth` and `/.well-known`: endpoints for programs, and the pages of authorization.
pub fn endpoints() -> Vec<Endpoint> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    const OPTIONS: Method = Method::OPTIONS;
    vec![
        Endpoint::page(GET, "/oauth/authorize", PageAccess::Authorizing, authorize::show),
        Endpoint::page(POST, "/oauth/authorize", PageAccess::Consenting, authorize::submit),
        Endpoint::page(DELETE, "/oauth/authorize", PageAccess::Consenting, authorize::deny),
        Endpoint::page(GET, "/oauth/authorize/native", PageAccess::SignedIn, authorize::native),
        Endpoint::oauth(POST, "/oauth/token", token::issue),
        Endpoint::oauth(POST, "/oauth/revoke", revoke::revoke),
        Endpoint::oauth(POST, "/oauth/introspect", introspect::introspect),
        Endpoint::oauth(GET, "/oauth/token/info", token_info::show),
        Endpoint::oauth(GET, "/oauth/userinfo", userinfo::show),
        Endpoint::oauth(POST, "/oauth/userinfo", userinfo::show),
        // What asks for no method is no preflight, and goes to the action itself (oauth.md section 12).
        Endpoint::oauth(OPTIONS, "/oauth/token", token::issue),
        Endpoint::oauth(OPTIONS, "/oauth/revoke", revoke::revoke),
        Endpoint::oauth(OPTIONS, "/oauth/token/info", token_info::show),
        Endpoint::oauth(OPTIONS, "/oauth/userinfo", userinfo::show),
        Endpoint::oauth(GET, "/oauth/discovery/keys", discovery::keys),
        Endpoint::oauth(GET, "/.well-known/openid-configuration", discovery::configuration),
        Endpoint::oauth(GET, "/.well-known/oauth-authorization-server", discovery::configuration),
    ]
}

/// A request to an endpoint that programs use.
pub struct Call {
    parsed: ParsedRequest,
    fields: Fields,
}

impl Call {
    /// Fails with `invalid_request` if a parameter comes twice, is no text, or is a secret in the query (T19).
    pub fn read(app: &App, parsed: ParsedRequest) -> Result<Self, Failure> {
        // What asks for no method is no preflight; it is answered like a request without parameters, and does nothing.
        if parsed.parts.method == Method::OPTIONS {
            return Ok(Self { parsed, fields: Fields::default() });
        }
        let fields = Fields::read(&parsed)?;
        fields.fit_for(app)?;
        Ok(Self { parsed, fields })
    }

    /// A parameter; blank is absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.fields.text(name)
    }

    /// Fails with [`OauthError::Missing`].
    pub fn required(&self, name: &'static str) -> Result<&str, Failure> {
        self.text(name).ok_or(Failure::Oauth(OauthError::Missing(name)))
    }

    /// The headers of the request.
    pub fn headers(&self) -> &HeaderMap {
        &self.parsed.parts.headers
    }

    /// Every place where a token may stand.
    pub fn presented(&self) -> PresentedCredentials<'_> {
        pipeline::presented(&self.parsed)
    }

    /// For the audit log. `None`: the client did not authenticate.
    pub fn by(&self, client: Option<ApplicationId>) -> By {
        By::application(client, self.parsed.peer)
    }

    /// The client address, as far as trusted proxies tell it.
    pub fn address(&self) -> Option<std::net::IpAddr> {
        self.parsed.peer
    }
}

/// The parameters of a request, each a text that came once. Blank is absent.
#[derive(Default)]
pub struct Fields {
    all: Map<String, Value>,
    secrets_in_query: bool,
}

impl Fields {
    /// RFC 6749 section 3.1 and 3.2: no parameter comes twice, and what is not known is ignored.
    pub fn read(parsed: &ParsedRequest) -> Result<Self, Failure> {
        let query = parsed.parts.uri.query().unwrap_or_default();
        let known = |name: &String| KNOWN.contains(&name.as_str());
        let in_query: Vec<_> = form_urlencoded::parse(query.as_bytes()).map(|(name, _)| name).collect();
        let in_body = |name: &str| parsed.body.as_ref().is_some_and(|body| body.contains_key(name));
        let in_both = in_query.iter().map(|name| root(name)).any(|name| KNOWN.contains(&name) && in_body(name));
        if in_both || parsed.repeated.iter().any(known) || repeats(query.as_bytes()).iter().any(known) {
            return Err(OauthError::InvalidRequest.into());
        }
        let posted = parsed.parts.method == Method::POST;
        let secrets_in_query = posted && in_query.iter().any(|name| SECRETS.contains(&root(name)));
        let fields = parsed.parameters()?;
        let text = |name: &&str| matches!(fields.get(*name), None | Some(Value::String(_) | Value::Null));
        if !KNOWN.iter().all(text) {
            return Err(OauthError::InvalidRequest.into());
        }
        Ok(Self { all: fields.clone(), secrets_in_query })
    }

    /// T19: what stands in a URL stands in the logs of everything on the way.
    pub fn fit_for(&self, app: &App) -> Result<(), Failure> {
        if self.secrets_in_query && !app.settings.compat.query_secrets.is_gitlab() {
            return Err(OauthError::InvalidRequest.into());
        }
        Ok(())
    }

    /// A parameter; blank is absent.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.all.get(name) {
            Some(Value::String(text)) if !text.trim().is_empty() => Some(text),
            _ => None,
        }
    }
}

/// `{}`
fn nothing() -> Response {
    answer(StatusCode::OK, Object::default())
}

/// What anybody on the way may keep (oauth.md 10.2).
fn kept_for_a_day(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("max-age=86400, public, must-revalidate, no-transform");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response.headers_mut().remove(header::PRAGMA);
    response
}

const SECRETS: [&str; 7] =
    ["client_secret", "password", "code", "refresh_token", "code_verifier", "token", "device_code"];

/// Everything an OAuth endpoint reads.
const KNOWN: [&str; 26] = [
    "client_id",
    "client_secret",
    "grant_type",
    "response_type",
    "response_mode",
    "redirect_uri",
    "scope",
    "scopes",
    "state",
    "nonce",
    "prompt",
    "max_age",
    "id_token_hint",
    "code",
    "code_verifier",
    "code_challenge",
    "code_challenge_method",
    "refresh_token",
    "username",
    "password",
    "token",
    "token_type_hint",
    "access_token",
    "bearer_token",
    "gl_auth_type",
    "_method",
];

//! What a request may fail with, and the table of the REST API's answers to it. OAuth endpoints have a table of their own
//! (`oauth/error.rs`).

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tollhouse_domain::denial::{AccountFault, Denial};
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;

use crate::refusal::{Exceeded, Refusal, ResourceKind};
use crate::urls::Urls;

mod refused;

pub use refused::{as_bad_request, as_sentence, sentence};

/// Why a request is refused; [`Error::api`] has the answer of the REST API to each. Tests compare it with `==`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// A credential is missing or not accepted (authentication.md 2.1 to 2.4): 401 or 403.
    Denied(Denial),
    /// An operation was refused.
    Refused(Refusal),
    /// No such path, or no such verb on it.
    NoRoute,
    /// A path that only begins like one below `/api/v4`: 404.
    NoApiVersion,
    /// Below `/api/v3`, of which only `GET /user` is served: 410.
    ApiV3,
    /// Malformed text: NUL or broken UTF-8.
    Malformed,
    /// `Host` is missing, repeated or no host (RFC 9112 section 3.2).
    BadHost,
    /// A method that no path has, and that is not passed over as one that this path does not have: `CONNECT`.
    NotImplemented,
    /// Bearer header and `access_token` parameter at once (authentication.md 1.3).
    TwoBearers,
    /// A parameter does not fit its declaration; the sentences are joined.
    Parameters(Vec<String>),
    /// What is wrong with a field as one sentence, with 422 ([`as_sentence`]).
    Unprocessable(String),
    /// 400 with a sentence of its own. `None`: without one.
    BadRequest(Option<String>),
    /// A body that announces JSON and is none: 400.
    BrokenJson,
    /// More parameters than are read: 400.
    TooManyParameters,
    /// A body of this type, which is not read: 415.
    MediaType(String),
    /// A query with a `format` that is not `json`: 406.
    Format(String),
    /// 404; what the caller may not see is answered alike.
    NotFound(ResourceKind),
    /// 403 with a sentence of its own. `None`: without one.
    Forbidden(Option<String>),
    /// 405; what OAuth tokens get where a personal access token is rotated (rest-api.md 2.6).
    MethodNotAllowed,
    /// A list that cannot be read by keyset in this order (rest-api.md 1.5).
    NoKeyset,
    /// 413
    BodyTooLarge,
    /// 414
    TargetTooLong,
    /// 431
    HeadTooLarge,
    /// 408
    BodyTooSlow,
    /// The bodies of other requests take all the memory that there is for them (T14).
    BodiesFull,
    /// A rotation that must not be decided yet (rotation.md rule 4).
    Settling {
        /// The first instant at which it is decided.
        until: Timestamp,
        /// The same, in seconds from now: `Retry-After`.
        seconds: u64,
    },
    /// Too many passwords wait (T14).
    Busy,
    /// An address had too many refused passwords (T14).
    TooManyFailures(Exceeded),
    /// The database cannot be reached or did not acknowledge.
    Unavailable,
    /// The disk is nearly full (T29).
    Full,
    /// A page was asked for under a name that is not ours (T12).
    WrongHost,
    /// A form without its CSRF token, or from a foreign page (T10).
    Forged,
    /// A mistake of ours, or damaged data: 500.
    Internal,
}

impl Exceeded {
    /// The headers of such a refusal (authentication.md 8.2).
    pub fn mark(self, headers: &mut HeaderMap) {
        let resets = self.resets.0.div_euclid(1000);
        let moment = UNIX_EPOCH + Duration::from_secs(u64::try_from(resets).unwrap_or(0));
        for (name, value) in [
            ("ratelimit-name", "throttle_sign_in_failures".to_owned()),
            ("ratelimit-limit", self.most.to_string()),
            ("ratelimit-observed", self.observed.to_string()),
            ("ratelimit-remaining", "0".to_owned()),
            ("ratelimit-reset", resets.to_string()),
            ("ratelimit-resettime", httpdate::fmt_http_date(moment)),
            ("retry-after", self.seconds().to_string()),
        ] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Marks an answer that refuses a password with the account that it would have been; `None`: nobody has this name.
#[derive(Clone, Copy, Debug)]
pub struct Account(pub Option<UserId>);

/// As lines of the log have it.
pub fn account_text(account: Option<UserId>) -> String {
    account.map_or_else(|| "-".to_owned(), |id| id.0.to_string())
}

/// Marks an answer with why it refuses, for the log.
#[derive(Clone, Copy, Debug)]
pub struct Reason(pub &'static str);

/// A rotation that must not be decided before then (rotation.md rule 4).
pub fn settling(until: Timestamp, now: Timestamp) -> Error {
    let seconds = ((until.0 - now.0).max(0) as u64).div_ceil(1000).max(1);
    Error::Settling { until, seconds }
}

/// Marks an answer that refuses with its reason.
pub fn because(mut response: Response, code: &'static str) -> Response {
    response.extensions_mut().insert(Reason(code));
    response
}

/// An answer that refuses, with its reason.
pub fn refused(error: Error, render: impl FnOnce(&Error) -> Response) -> Response {
    let mut response = render(&error);
    if let Error::TooManyFailures(exceeded) = error {
        exceeded.mark(response.headers_mut());
        response.extensions_mut().insert(Account(exceeded.account));
    }
    if error == Error::BodiesFull {
        // What has not been read of the body would take what there is not.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    because(response, error.code())
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotFound(kind) => Self::NotFound(kind),
            Refusal::Denied(denial) => denial.into(),
            Refusal::TooManyFailures(exceeded) => Self::TooManyFailures(exceeded),
            refusal => Self::Refused(refusal),
        }
    }
}

impl From<Denial> for Error {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unavailable => Self::Unavailable,
            denial => Self::Denied(denial),
        }
    }
}

impl From<tollhouse_store::error::Error> for Error {
    fn from(error: tollhouse_store::error::Error) -> Self {
        use tollhouse_store::error::Error as Store;
        match error {
            Store::Unavailable(_) | Store::Clash | Store::Replaced => {
                tracing::error!(%error, reason = "unavailable", "the database did not answer");
                Self::Unavailable
            }
            Store::Full(_) => {
                tracing::error!(%error, reason = "storage_full", "new data is refused");
                Self::Full
            }
            Store::Taken | Store::Broken(_) | Store::Damaged(_) | Store::Schema(_) | Store::Migration { .. } => {
                tracing::error!(%error, reason = "internal", "the database answered with an error");
                Self::Internal
            }
        }
    }
}

/// A failure as the API says it.
pub struct Wire {
    /// The status of the answer.
    pub status: StatusCode,
    /// The body; JSON unless `plain`.
    pub body: Vec<u8>,
    /// Whether the body is plain text.
    pub plain: bool,
    /// `WWW-Authenticate`, if there is one.
    pub challenge: Option<String>,
    /// `Retry-After` in seconds, if there is one.
    pub retry_after: Option<u64>,
}

impl Error {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Denied(denial) => denial.code(),
            Self::Refused(refusal) => refusal.code(),
            Self::NoRoute => "no_route",
            Self::NoApiVersion => "no_api_version",
            Self::ApiV3 => "api_v3",
            Self::Malformed => "malformed",
            Self::BadHost => "bad_host",
            Self::NotImplemented => "not_implemented",
            Self::TwoBearers => "two_bearers",
            Self::Parameters(_) => "parameters",
            Self::Unprocessable(_) => "invalid",
            Self::BadRequest(_) => "bad_request",
            Self::BrokenJson => "broken_json",
            Self::TooManyParameters => "too_many_parameters",
            Self::MediaType(_) => "media_type",
            Self::Format(_) => "format",
            Self::NotFound(_) => "not_found",
            Self::Forbidden(_) => "forbidden",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoKeyset => "no_keyset",
            Self::BodyTooLarge => "body_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::HeadTooLarge => "head_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodiesFull => "bodies_full",
            Self::Settling { .. } => "settling",
            Self::Busy => "busy",
            Self::TooManyFailures(_) => "sign_in_failures",
            Self::Unavailable => "unavailable",
            Self::Full => "storage_full",
            Self::WrongHost => "wrong_host",
            Self::Forged => "forged",
            Self::Internal => "internal",
        }
    }

    /// The table (authentication.md 2, rest-api.md 1.3).
    pub fn wire(&self, urls: &Urls) -> Wire {
        match self {
            Self::Denied(denial) => denied(denial, urls),
            Self::Refused(refusal) => refused::refused(refusal),
            Self::NoRoute => framework(404, "404 Not Found"),
            Self::NoApiVersion => framework(404, "404 API Version Not Found"),
            Self::ApiV3 => framework(410, "API V3 is no longer supported. Use API V4 instead."),
            Self::Malformed => Wire { plain: true, body: b"Bad Request".to_vec(), ..message(400, "") },
            Self::BadHost => message(400, "400 Bad request - Host is missing, repeated or invalid"),
            Self::NotImplemented => message(501, "501 Not Implemented"),
            Self::TwoBearers => {
                oauth(400, "invalid_request", "Both Authorization header and payload includes access token.")
            }
            Self::Parameters(sentences) => framework(400, &sentences.join(", ")),
            Self::Unprocessable(sentence) => message(422, sentence),
            Self::BadRequest(None) => message(400, "400 Bad request"),
            Self::BadRequest(Some(reason)) => message(400, &format!("400 Bad request - {reason}")),
            Self::BrokenJson => wire(400, r#"{"status":400,"error":"Bad Request"}"#.to_owned()),
            Self::TooManyParameters => message(400, "400 Bad request - Too many parameters"),
            Self::MediaType(given) => framework(415, &format!("The provided content-type '{given}' is not supported.")),
            Self::Format(given) => framework(406, &format!("The requested format '{given}' is not supported.")),
            Self::NotFound(kind) => message(404, refused::not_found(*kind)),
            Self::Forbidden(None) => message(403, "403 Forbidden"),
            Self::Forbidden(Some(reason)) => message(403, &format!("403 Forbidden - {reason}")),
            Self::MethodNotAllowed => message(405, "405 Method Not Allowed"),
            Self::NoKeyset => framework(405, "Keyset pagination is not yet available for this type of request"),
            Self::BodyTooLarge => message(413, "413 Request Entity Too Large"),
            Self::TargetTooLong => message(414, "414 URI Too Long"),
            Self::HeadTooLarge => message(431, "431 Request Header Fields Too Large"),
            Self::BodyTooSlow => message(408, "408 Request Timeout"),
            Self::BodiesFull => retry(1, "503 Service Unavailable - Too many request bodies are in progress"),
            Self::Settling { seconds, .. } => retry(*seconds, "503 Service Unavailable"),
            Self::Busy => retry(5, "503 Service Unavailable - Too many passwords are waiting to be checked"),
            Self::TooManyFailures(_) => Wire { plain: true, body: b"Retry later\n".to_vec(), ..message(429, "") },
            Self::Unavailable => retry(1, "503 Service Unavailable"),
            Self::Full => retry(60, "503 Service Unavailable - Storage is nearly full"),
            Self::WrongHost => message(421, "421 Misdirected Request"),
            Self::Forged => message(422, "422 Unprocessable Entity"),
            Self::Internal => message(500, "500 Internal Server Error"),
        }
    }

    /// The answer of the API.
    pub fn api(&self, urls: &Urls) -> Response {
        self.wire(urls).into_response()
    }
}

impl IntoResponse for Wire {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        let media = if self.plain { "text/plain" } else { "application/json" };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
        if let Some(challenge) = self.challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn denied(denial: &Denial, urls: &Urls) -> Wire {
    match denial {
        Denial::Missing | Denial::Unknown => message(401, "401 Unauthorized"),
        Denial::Expired => invalid_token("Token is expired. You can either do re-authorization or token refresh."),
        Denial::Revoked | Denial::Reused(_) => {
            invalid_token("Token was revoked. You have to re-authorize from the user.")
        }
        Denial::ImpersonationDisabled => {
            invalid_token("Token is an impersonation token but impersonation was disabled.")
        }
        Denial::Account(fault) => message(403, &format!("403 Forbidden - {}", account(*fault, urls))),
        Denial::Scope(accepted) => insufficient_scope(accepted),
        Denial::NotAdministrator => message(403, "403 Forbidden"),
        Denial::SudoNotAdministrator => message(403, "403 Forbidden - Must be admin to use sudo"),
        Denial::SudoWithoutToken => {
            message(403, "403 Forbidden - Must be authenticated using an OAuth or personal access token to use sudo")
        }
        Denial::SudoUnknown(name) => message(404, &format!("404 User with ID or username '{name}' Not Found")),
        Denial::SudoInvalid => framework(400, "sudo is invalid"),
        Denial::Unavailable => retry(1, "503 Service Unavailable"),
    }
}

/// Why an account may not come in, as the wire says it (authentication.md 2.4).
pub fn account(fault: AccountFault, urls: &Urls) -> String {
    match fault {
        AccountFault::Internal => "This action cannot be performed by internal users".into(),
        AccountFault::PendingApproval => {
            "Your account is pending approval from your administrator and hence blocked.".into()
        }
        AccountFault::Deactivated => format!(
            "Your account has been deactivated by your administrator. Please log back in from a web browser to \
             reactivate your account at {}",
            urls.base()
        ),
        AccountFault::Unconfirmed => format!(
            "Your primary email address is not confirmed. Please check your inbox for the confirmation instructions. \
             In case the link is expired, you can request a new confirmation email at {}/users/confirmation/new",
            urls.base()
        ),
        AccountFault::Blocked => "Your account has been blocked.".into(),
        AccountFault::PasswordExpired => {
            "Your password expired. Please access GitLab from a web browser to update your password.".into()
        }
    }
}

fn wire(status: u16, body: String) -> Wire {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    Wire { status, body: body.into_bytes(), plain: false, challenge: None, retry_after: None }
}

fn message(status: u16, text: &str) -> Wire {
    wire(status, json!({ "message": text }).to_string())
}

fn framework(status: u16, text: &str) -> Wire {
    wire(status, json!({ "error": text }).to_string())
}

fn retry(seconds: u64, text: &str) -> Wire {
    Wire { retry_after: Some(seconds), ..message(503, text) }
}

// Keys stand in this order on the wire, so these are not made by a map.
fn oauth(status: u16, error: &str, description: &str) -> Wire {
    wire(status, format!(r#"{{"error":{},"error_description":{}}}"#, json!(error), json!(description)))
}

fn invalid_token(description: &str) -> Wire {
    let challenge = format!(r#"{CHALLENGE}, error="invalid_token", error_description="{description}""#);
    Wire { challenge: Some(challenge), ..oauth(401, "invalid_token", description) }
}

/// What a 401 asks for if it has nothing to say about the token (authentication.md 2.3, challenge B).
pub const CHALLENGE: &str = r#"Bearer realm="Protected by OAuth 2.0""#;

const HIGHER_PRIVILEGES: &str = "The request requires higher privileges than provided by the access token.";

/// The challenge of RFC 6750 section 3.1 for a token without the right scope. The API has none (authentication.md 2.3).
pub fn scope_challenge(opened_by: &[Scope]) -> String {
    let (error, scopes) = ("insufficient_scope", listed(opened_by));
    format!(r#"{CHALLENGE}, error="{error}", error_description="{HIGHER_PRIVILEGES}", scope="{scopes}""#)
}

fn listed(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" ")
}

fn insufficient_scope(accepted: &[Scope]) -> Wire {
    let body = format!(
        r#"{{"error":"insufficient_scope","error_description":{},"scope":{}}}"#,
        json!(HIGHER_PRIVILEGES),
        json!(listed(accepted))
    );
    wire(403, body)
}

#[cfg(test)]
mod tests;

//! What an OAuth endpoint may refuse with, in one table (RFC 6749 section 5.2, oauth.md section 17).

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tollhouse_domain::pkce::Strictness;

use crate::error::{Account, Error, because, refused};
use crate::json::Object;
use crate::operations::password_check::Wrong;
use crate::refusal::{GrantFault, Refusal};
use crate::urls::Urls;

/// An error of OAuth or OpenID Connect. Code, status and description of each are in oauth.md section 17.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OauthError {
    /// A parameter that must be there is not.
    Missing(&'static str),
    /// A parameter came twice, is no text, or stands where it must not.
    InvalidRequest,
    /// Basic and body name different clients, or different secrets.
    TwoMechanisms,
    /// Introspection without a client or a token.
    NoCaller,
    /// The client cannot show who it is (RFC 6749 section 5.2).
    InvalidClient,
    /// The client may not use this grant (RFC 6749 section 5.2).
    UnauthorizedClient,
    /// Revocation of a token that is another client's.
    NotYours,
    /// The code, the refresh token or the password is not accepted, for whatever reason (RFC 6749 section 5.2).
    InvalidGrant,
    /// A refresh token that was not used for `oauth.refresh_idle`. The wire does not tell.
    RefreshIdle,
    /// More scopes than the application has, or none that exist (RFC 6749 section 5.2).
    InvalidScope,
    /// Unknown, or switched off (RFC 6749 section 5.2).
    UnsupportedGrantType,
    /// Another response type than are offered (RFC 6749 section 4.1.2.1).
    UnsupportedResponseType,
    /// Another response mode than are offered.
    UnsupportedResponseMode,
    /// It is none of the application's; told on a page, never by a redirect (RFC 6749 section 4.1.2.1).
    InvalidRedirectUri,
    /// Which methods there are depends on `compat.pkce`.
    InvalidCodeChallengeMethod(Strictness),
    /// The person said no (RFC 6749 section 4.1.2.1).
    AccessDenied,
    /// `prompt=none`, and the person would have to sign in (OpenID Connect Core section 3.1.2.6).
    LoginRequired,
    /// `prompt=none`, and another page would have to come first.
    InteractionRequired,
    /// `prompt=none`, and the person would have to be asked.
    ConsentRequired,
    /// The token that was presented, or asked about.
    InvalidToken(TokenFault),
    /// Userinfo for a token without `openid`.
    NoOpenid,
    /// The person's address is not confirmed; told on a page of ours.
    UnconfirmedEmail,
    /// `oauth.disable_admin_oauth_scopes`
    NotForAdministrators,
}

/// Why a token is not accepted (RFC 6750 section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenFault {
    /// There is none, or not one of this kind.
    Unknown,
    /// It has expired.
    Expired,
    /// It was revoked, or rotated away.
    Revoked,
}

impl OauthError {
    /// Every error, with an example for those that hold something.
    pub const ALL: [Self; 26] = [
        Self::Missing("code"),
        Self::InvalidRequest,
        Self::TwoMechanisms,
        Self::NoCaller,
        Self::InvalidClient,
        Self::UnauthorizedClient,
        Self::NotYours,
        Self::InvalidGrant,
        Self::RefreshIdle,
        Self::InvalidScope,
        Self::UnsupportedGrantType,
        Self::UnsupportedResponseType,
        Self::UnsupportedResponseMode,
        Self::InvalidRedirectUri,
        Self::InvalidCodeChallengeMethod(Strictness::Rfc),
        Self::InvalidCodeChallengeMethod(Strictness::Lax),
        Self::AccessDenied,
        Self::LoginRequired,
        Self::InteractionRequired,
        Self::ConsentRequired,
        Self::InvalidToken(TokenFault::Unknown),
        Self::InvalidToken(TokenFault::Expired),
        Self::InvalidToken(TokenFault::Revoked),
        Self::NoOpenid,
        Self::UnconfirmedEmail,
        Self::NotForAdministrators,
    ];

    /// `error`
    pub const fn code(self) -> &'static str {
        match self {
            Self::Missing(_) | Self::InvalidRequest | Self::TwoMechanisms | Self::NoCaller => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnauthorizedClient | Self::NotYours => "unauthorized_client",
            Self::InvalidGrant | Self::RefreshIdle => "invalid_grant",
            Self::InvalidScope => "invalid_scope",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::UnsupportedResponseMode => "unsupported_response_mode",
            Self::InvalidRedirectUri => "invalid_redirect_uri",
            Self::InvalidCodeChallengeMethod(_) => "invalid_code_challenge_method",
            Self::AccessDenied => "access_denied",
            Self::LoginRequired => "login_required",
            Self::InteractionRequired => "interaction_required",
            Self::ConsentRequired => "consent_required",
            Self::InvalidToken(_) => "invalid_token",
            Self::NoOpenid => "insufficient_scope",
            Self::UnconfirmedEmail => "unconfirmed_email",
            Self::NotForAdministrators => "not_for_administrators",
        }
    }

    /// Why it is, for logs and metrics.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RefreshIdle => "refresh_idle",
            error => error.code(),
        }
    }

    /// The status where it is told by JSON.
    pub const fn status(self) -> StatusCode {
        match self {
            Self::InvalidClient | Self::UnauthorizedClient | Self::InvalidToken(_) => StatusCode::UNAUTHORIZED,
            Self::NotYours | Self::NoOpenid => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// `error_description`
    pub fn description(self) -> String {
        let text = match self {
            Self::Missing(name) => return format!("Missing required parameter: {name}."),
            Self::InvalidRequest => {
                "The request is missing a required parameter, includes an unsupported parameter value, or is \
                 otherwise malformed."
            }
            Self::TwoMechanisms => "The request utilizes more than one mechanism for authenticating the client.",
            Self::NoCaller => {
                "Request need to be authorized. Required parameter for authorizing request is missing or invalid."
            }
            Self::InvalidClient => {
                "Client authentication failed due to unknown client, no client authentication included, or \
                 unsupported authentication method."
            }
            Self::UnauthorizedClient => "The client is not authorized to perform this request using this method.",
            Self::NotYours => "You are not authorized to revoke this token",
            Self::InvalidGrant | Self::RefreshIdle => {
                "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI \
                 used in the authorization request, or was issued to another client."
            }
            Self::InvalidScope => "The requested scope is invalid, unknown, or malformed.",
            Self::UnsupportedGrantType => "The authorization grant type is not supported by the authorization server.",
            Self::UnsupportedResponseType => "The authorization server does not support this response type.",
            Self::UnsupportedResponseMode => "The authorization server does not support this response mode.",
            Self::InvalidRedirectUri => "The redirect URI included is not valid.",
            Self::InvalidCodeChallengeMethod(Strictness::Rfc) => "The code_challenge_method must be S256.",
            Self::InvalidCodeChallengeMethod(Strictness::Lax) => {
                "The code_challenge_method must be one of plain, S256."
            }
            Self::AccessDenied => "The resource owner or authorization server denied the request.",
            Self::LoginRequired => "The authorization server requires end-user authentication",
            Self::InteractionRequired => "The authorization server requires end-user interaction",
            Self::ConsentRequired => "The authorization server requires end-user consent",
            Self::InvalidToken(TokenFault::Unknown) => "The access token is invalid",
            Self::InvalidToken(TokenFault::Expired) => "The access token expired",
            Self::InvalidToken(TokenFault::Revoked) => "The access token was revoked",
            Self::NoOpenid => "The token does not have the scope openid.",
            Self::NotForAdministrators => {
                "This server does not let administrators give this application access to their account. Sign in as \
                 somebody else, or ask for the application to be made a trusted one."
            }
            Self::UnconfirmedEmail => "Your e-mail address is not confirmed yet. Confirm it, then try again.",
        };
        text.to_owned()
    }

    fn challenge(self) -> Option<HeaderValue> {
        if self == Self::NoOpenid {
            return None;
        }
        let text = format!(
            r#"Bearer realm="Doorkeeper", error="{}", error_description="{}""#,
            self.code(),
            self.description()
        );
        HeaderValue::try_from(text).ok()
    }

    /// `error` and `error_description`, to which more may be added.
    pub fn object(self) -> Object {
        Object::default().field("error", self.code()).field("error_description", self.description())
    }

    /// The JSON answer, with `WWW-Authenticate` where the wire has it.
    pub fn response(self) -> Response {
        let object = self.object().when(matches!(self, Self::InvalidToken(_)), |o| o.field("state", "unauthorized"));
        let mut response = answer(self.status(), object);
        if let Some(challenge) = self.challenge() {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }

    /// Only the head of it, as userinfo answers.
    pub fn without_body(self) -> Response {
        let mut response = self.response();
        *response.body_mut() = Body::empty();
        response.headers_mut().remove(header::CONTENT_TYPE);
        response
    }
}

/// Why an OAuth endpoint did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// An error of OAuth.
    Oauth(OauthError),
    /// `grant_type=password` with a wrong password. The answer is that of `invalid_grant`; the log has the reason.
    WrongPassword(Wrong),
    /// What any endpoint may fail with.
    Request(Error),
}

impl From<OauthError> for Failure {
    fn from(error: OauthError) -> Self {
        Self::Oauth(error)
    }
}

impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        match error.into() {
            Error::Refused(Refusal::Grant(GrantFault::NoApplication)) => Self::Oauth(OauthError::InvalidClient),
            Error::Refused(Refusal::Grant(GrantFault::Scope)) => Self::Oauth(OauthError::InvalidScope),
            error => Self::Request(error),
        }
    }
}

impl Failure {
    /// The error of the OAuth protocol. Fails with what is none.
    pub fn oauth(self) -> Result<OauthError, Error> {
        match self {
            Self::Oauth(error) => Ok(error),
            Self::WrongPassword(_) => Ok(OauthError::InvalidGrant),
            Self::Request(error) => Err(error),
        }
    }

    /// The answer of an endpoint for programs.
    pub fn refused(self, urls: &Urls) -> Response {
        match self {
            Self::Oauth(error) => because(error.response(), error.reason()),
            Self::WrongPassword(wrong) => {
                let mut response = because(OauthError::InvalidGrant.response(), wrong.code());
                response.extensions_mut().insert(Account(wrong.account));
                response
            }
            Self::Request(error) => refused(error, |error| render(error, urls)),
        }
    }
}

/// A failure that any endpoint may have, as an OAuth endpoint says it.
pub fn render(error: &Error, urls: &Urls) -> Response {
    let wire = error.wire(urls);
    let (code, description) = match wire.status.as_u16() {
        404 => ("invalid_request", "There is no such endpoint, or not with this method."),
        421 => ("invalid_request", "This server does not answer under that name; see external_hosts."),
        429 => ("temporarily_unavailable", "Retry later"),
        503 => (
            "temporarily_unavailable",
            "The authorization server cannot answer now. Send the same request again later.",
        ),
        500 => ("server_error", "The authorization server encountered an unexpected error."),
        414 => ("invalid_request", "The target of the request is too long."),
        431 => ("invalid_request", "The head of the request is too large."),
        413 => ("invalid_request", "The body of the request is too large."),
        408 => ("invalid_request", "The body of the request did not come in time."),
        415 => ("invalid_request", "The body must be a form or JSON."),
        _ => ("invalid_request", "The request cannot be read."),
    };
    let object = Object::default().field("error", code).field("error_description", description);
    let mut response = answer(wire.status, object);
    if let Some(seconds) = wire.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// JSON that nobody may keep (RFC 6749 section 5.1).
pub fn answer(status: StatusCode, object: Object) -> Response {
    let mut response = (status, Body::from(object.finish())).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

#[cfg(test)]
mod tests {
    use tollhouse_domain::id::UserId;

    use super::*;
    use crate::error::Reason;
    use crate::operations::password_check::Why;

    #[test]
    fn the_whole_table() {
        let row =
            |error: &OauthError| format!("{} {} | {}\n", error.status().as_u16(), error.code(), error.description());
        let table: String = OauthError::ALL.iter().map(row).collect();
        assert_eq!(table, include_str!("table.txt"), "a change of wire shows in review");
    }

    #[test]
    fn a_wrong_password_is_answered_as_a_wrong_grant() {
        let urls = Urls::new("https://git.example.test", &[], "127.0.0.1:80".parse().expect("an address"), false)
            .expect("own names");
        let wrong = Wrong { why: Why::Locked, account: Some(UserId(7)) };
        let response = Failure::WrongPassword(wrong).refused(&urls);
        assert_eq!(response.status(), 400);
        assert_eq!(response.extensions().get::<Reason>().map(|reason| reason.0), Some("password_locked"));
        assert_eq!(response.extensions().get::<Account>().and_then(|account| account.0), Some(UserId(7)));
        let challenge = response.headers().get(header::WWW_AUTHENTICATE).expect("a challenge");
        assert!(challenge.to_str().expect("text").contains("invalid_grant"));
    }

    #[test]
    fn an_error_is_told_with_its_challenge() {
        let response = OauthError::InvalidGrant.response();
        let challenge = response.headers().get(header::WWW_AUTHENTICATE).expect("a challenge");
        assert!(challenge.to_str().expect("text").starts_with(r#"Bearer realm="Doorkeeper", error="invalid_grant""#));
    }
}

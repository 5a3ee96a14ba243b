//! Pages for people. They take sessions, never tokens (T10), and call the API with the session cookie.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tollhouse_auth::shown::session_cookie;
use tollhouse_domain::denial::{AccountFault, Denial};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::secret::{CsrfSecret, Plaintext};
use tollhouse_domain::user::User;

use crate::app::App;
use crate::asked::Asked;
use crate::error::{self, Error, Reason};

pub mod assets;
pub mod home;
pub mod password;
pub mod returns;
pub mod sign_in;
pub mod sign_out;

/// Whom a page lets in, and what it asks of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admits {
    Anyone,
    WithoutToken,
    SignedIn,
    /// Signed in, though the password has expired: here it can be changed.
    PasswordExpired,
    /// Signed in, though the address is not confirmed: here that is said in another way. Whoever is not signed in comes
    /// back afterwards.
    Consenting,
}

/// Who came to a page.
pub struct Visitor {
    pub identity: Option<Identity>,
    /// Whose session it is, though the account may not come in.
    pub owner: Option<Arc<User>>,
    /// The session cookie, or the one that is about to be set.
    pub session: String,
    /// Whether that cookie must be set.
    pub fresh: bool,
    pub notice: Option<Notice>,
    pub address: Option<IpAddr>,
    pub user_agent: Option<String>,
    pub form: serde_json::Map<String, serde_json::Value>,
    pub headers: HeaderMap,
}

/// A sentence for the next page, carried in a cookie of its own for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    SignInFirst,
    Reactivated,
    SignedOut,
    PasswordChanged,
}

impl Visitor {
    /// T10, T12: the name, the origin and the CSRF token, before anything else.
    pub async fn arrive(app: &App, asked: &Asked, admits: Admits) -> Result<Self, Error> {
        let headers = &asked.parts.headers;
        if !app.urls.serves(headers) {
            return Err(Error::WrongHost);
        }
        let reads = [Method::GET, Method::HEAD].contains(&asked.parts.method);
        let cookie = session_cookie(headers);
        let form = asked.body.clone().unwrap_or_default();
        if !reads {
            if foreign(app, headers) {
                return Err(Error::Forged);
            }
            let secret = cookie.as_deref().map(|id| CsrfSecret::of_session(id.as_bytes()));
            let token = match form.get("authenticity_token") {
                Some(serde_json::Value::String(token)) => Some(token.as_bytes()),
                _ => headers.get("x-csrf-token").map(HeaderValue::as_bytes),
            };
            let owned = secret.zip(token).is_some_and(|(secret, token)| secret.accepts(token));
            if !owned && admits != Admits::WithoutToken {
                return Err(Error::Forged);
            }
        }
        let (mut identity, mut owner) = (None, None);
        if let Some(session) = &cookie {
            match app.auth.session(session, asked.peer, app.now()).await {
                // Somebody who may not come in may still sign out, or in as somebody else.
                Err(Denial::Account(fault))
                    if matches!(admits, Admits::Anyone | Admits::WithoutToken)
                        || (admits, fault) == (Admits::PasswordExpired, AccountFault::PasswordExpired)
                        || (admits, fault) == (Admits::Consenting, AccountFault::Unconfirmed) =>
                {
                    owner = app.auth.session_owner(session, asked.peer, app.now()).await?;
                }
                known => {
                    identity = known?;
                    owner = identity.as_ref().map(|who| who.user.clone());
                }
            }
        }
        let kept = cookie.filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
        let fresh = kept.is_none();
        let session = kept.map_or_else(|| Plaintext::session().reveal().to_owned(), |id| id.into_owned());
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self {
            identity,
            owner,
            session,
            fresh,
            notice: notice(headers),
            address: asked.peer,
            user_agent,
            form,
            headers: headers.clone(),
        })
    }

    /// Where somebody goes who has to sign in first.
    pub fn sent_elsewhere(&self, app: &App, asked: &Asked, admits: Admits) -> Option<Response> {
        let signed_in = match admits {
            Admits::Anyone | Admits::WithoutToken => true,
            Admits::SignedIn => self.identity.is_some(),
            Admits::PasswordExpired | Admits::Consenting => self.owner.is_some(),
        };
        let target = asked.parts.uri.path_and_query().filter(|_| admits == Admits::Consenting);
        (!signed_in).then(|| match (target, &asked.parts.method) {
            (Some(target), &Method::GET) => {
                returns::remember(app, sign_in_first(app), target.as_str(), &asked.parts.headers).into_response()
            }
            _ => to_sign_in(app),
        })
    }

    pub fn csrf_token(&self) -> String {
        CsrfSecret::of_session(self.session.as_bytes()).mask()
    }
}

/// A browser says where a form stands. Our pages send no referrer, so it says `null` and vouches for them with
/// `Sec-Fetch-Site`, which no page can forge; without that `null` is foreign.
fn foreign(app: &App, headers: &HeaderMap) -> bool {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("null"));
    let site = text(SEC_FETCH_SITE);
    match text(header::ORIGIN) {
        Some("null") => site != Some("same-origin"),
        Some(origin) => !app.urls.is_own_origin(origin, headers),
        None => site.is_some_and(|site| site != "same-origin" && site != "none"),
    }
}

/// A page that is about to be sent.
pub struct Html {
    response: Response,
}

impl Html {
    pub fn page(app: &App, status: StatusCode, template: &impl Template) -> Result<Self, Error> {
        let text = template.render().map_err(|_| Error::Internal)?;
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        // Under plain http a browser vouches for nothing, and `no-referrer` would make every form foreign.
        let vouched = app.urls.is_https() || app.urls.is_local();
        let referrer = if vouched { "no-referrer" } else { "same-origin" };
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static(referrer));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        Ok(Self { response })
    }

    /// `to` is ours, or made of clean parts; what cannot stand in a header leads nowhere.
    pub fn redirect(to: &str) -> Self {
        let mut response = Response::new(Body::empty());
        match HeaderValue::try_from(to) {
            Ok(to) => {
                *response.status_mut() = StatusCode::FOUND;
                response.headers_mut().insert(header::LOCATION, to);
            }
            Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Self { response }
    }

    /// Where else a form of this page may lead (T20).
    pub fn form_action(mut self, more: &str) -> Self {
        let policy = POLICY.replace("form-action 'self'", &format!("form-action 'self' {more}"));
        if let (false, Ok(policy)) = (more.is_empty(), HeaderValue::try_from(policy)) {
            self.response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        self
    }

    pub fn cookie_with(self, app: &App, cookie: &str) -> Self {
        self.cookie(format!("{cookie}; {}", attributes(app)))
    }

    /// Why it refuses, for the log.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.response.extensions_mut().insert(Reason(reason));
        self
    }

    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.response.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }

    /// T9. A browser-session cookie: the server alone knows when it ends.
    pub fn session(self, app: &App, session: &str) -> Self {
        self.cookie(format!("_gitlab_session={session}; {}", attributes(app)))
    }

    pub fn forget_session(self, app: &App) -> Self {
        self.cookie(format!("_gitlab_session=; Max-Age=0; {}", attributes(app)))
    }

    pub fn notice(self, app: &App, notice: Notice) -> Self {
        self.cookie(format!("{NOTICE}={}; Max-Age=60; {}", notice.code(), attributes(app)))
    }

    /// What every page shows once: sets the cookie that is new, takes away the notice that was read.
    pub fn to(self, app: &App, visitor: &Visitor) -> Self {
        let page = if visitor.fresh { self.session(app, &visitor.session) } else { self };
        match visitor.notice {
            Some(_) => page.cookie(format!("{NOTICE}=; Max-Age=0; {}", attributes(app))),
            None => page,
        }
    }

    fn cookie(mut self, cookie: String) -> Self {
        if let Ok(value) = HeaderValue::try_from(cookie) {
            self.response.headers_mut().append(header::SET_COOKIE, value);
        }
        self
    }
}

impl IntoResponse for Html {
    fn into_response(self) -> Response {
        self.response
    }
}

pub fn to_sign_in(app: &App) -> Response {
    sign_in_first(app).into_response()
}

fn sign_in_first(app: &App) -> Html {
    Html::redirect("/users/sign_in").notice(app, Notice::SignInFirst)
}

/// Where a person sees their projects. Behind a gateway `/` is the API's, and a link of ours must not lead there
/// (GATE-084).
pub fn home(app: &App) -> &'static str {
    if app.gateway.shares_our_host() { PROJECTS } else { "/" }
}

/// The page of projects, which every proxy of the examples leaves to us.
pub const PROJECTS: &str = "/-/user_settings/projects";

/// A failure as a page.
pub fn failure(error: &Error, app: &App) -> Response {
    if *error == Error::Denied(Denial::Account(AccountFault::PasswordExpired)) {
        return Html::redirect("/-/user_settings/password/edit").into_response();
    }
    let wire = error.wire(&app.urls);
    let (title, text) = match error {
        Error::Denied(Denial::Account(fault)) => ("You cannot come in", error::account(*fault, &app.urls)),
        Error::NoRoute | Error::NotFound(_) => ("Nothing here", "There is no page at this address.".to_owned()),
        Error::Forged => (
            "This form is out of date",
            "It was sent from another page, or your session has changed since it was shown. Go back and load the page \
             again."
                .to_owned(),
        ),
        Error::WrongHost => (
            "Wrong name",
            "This server does not answer under that name. Its operator can add it to external_hosts.".to_owned(),
        ),
        Error::Busy => ("Too many people are signing in", "Please try again in a few seconds.".to_owned()),
        Error::Unavailable | Error::Full => ("Not available", "Please try again in a moment.".to_owned()),
        Error::BadRequest(_) | Error::Malformed | Error::TooManyParameters | Error::Parameters(_) => {
            ("That cannot be read", "The form was not filled in the way this page sends it.".to_owned())
        }
        _ => ("Something went wrong", "The request could not be answered.".to_owned()),
    };
    let page = Failure { title, text: &text, home: home(app), demo: app.demo };
    let mut response = match Html::page(app, wire.status, &page) {
        Ok(page) => page.into_response(),
        Err(_) => wire.status.into_response(),
    };
    if let Some(seconds) = wire.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

#[derive(Template)]
#[template(path = "failure.html")]
pub struct Failure<'a> {
    pub title: &'a str,
    pub text: &'a str,
    pub home: &'static str,
    pub demo: bool,
}

impl Notice {
    const ALL: [Self; 4] = [Self::SignInFirst, Self::Reactivated, Self::SignedOut, Self::PasswordChanged];

    const fn code(self) -> &'static str {
        match self {
            Self::SignInFirst => "sign_in_first",
            Self::Reactivated => "reactivated",
            Self::SignedOut => "signed_out",
            Self::PasswordChanged => "password_changed",
        }
    }

    pub const fn sentence(self) -> &'static str {
        match self {
            Self::SignInFirst => "You need to sign in before continuing.",
            Self::Reactivated => {
                "Welcome back! Your account had been deactivated due to inactivity but is now reactivated."
            }
            Self::SignedOut => "You are signed out.",
            Self::PasswordChanged => "Your password is changed. Please sign in with the new one.",
        }
    }
}

fn notice(headers: &HeaderMap) -> Option<Notice> {
    let code = cookie(headers, NOTICE)?;
    Notice::ALL.into_iter().find(|notice| notice.code() == code)
}

/// A cookie of ours that holds no secret; of two the last.
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let values = cookies.flat_map(|text| text.split("; ")).filter_map(|cookie| cookie.split_once('='));
    values.filter(|(known, _)| *known == name).map(|(_, value)| value).last()
}

fn attributes(app: &App) -> &'static str {
    match (app.urls.is_https(), app.settings.compat.cookie.is_gitlab()) {
        (false, _) => "Path=/; HttpOnly; SameSite=Lax",
        (true, false) => "Path=/; HttpOnly; Secure; SameSite=Lax",
        (true, true) => "Path=/; HttpOnly; Secure; SameSite=None",
    }
}

const NOTICE: &str = "_tollhouse_notice";
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

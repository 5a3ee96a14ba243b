//! Pages for people. They take sessions, never tokens (T10), and call the API with the session cookie.
//!
//! Above 600 lines: what all pages share is in one place, namely their table, the visitor, the answer and the failure page.

use std::net::IpAddr;
use std::sync::Arc;

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tollhouse_auth::session_cookies::{LiveSession, SessionCookies};
use tollhouse_domain::denial::{AccountFault, Denial};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::prompt::SignedIn;
use tollhouse_domain::secret::{CsrfSecret, Plaintext};
use tollhouse_domain::user::User;

use crate::app::App;
use crate::device;
use crate::endpoint::Endpoint;
use crate::error::{Account, Error, Reason};
use crate::operations::password_check::{Origin, Wrong};
use crate::request::ParsedRequest;
use crate::surface::Surface;

pub mod assets;
pub mod home;
pub mod password;
pub mod reauthenticate;
pub mod returns;
pub mod several_sessions;
pub mod sign_in;
pub mod sign_out;

/// The pages for people (rest-api.md section 6), and what they load.
pub fn endpoints() -> Vec<Endpoint> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    vec![
        Endpoint::page(GET, "/", PageAccess::SignedIn, home::show),
        Endpoint::page(GET, PROJECTS, PageAccess::SignedIn, home::show),
        Endpoint::page(GET, "/users/sign_in", PageAccess::Anyone, sign_in::form),
        Endpoint::page(POST, "/users/sign_in", PageAccess::SigningIn, sign_in::submit),
        // Its CSRF token is not asked for (authentication.md 6.6), its origin is (T10).
        Endpoint::page(POST, "/users/sign_out", PageAccess::WithoutToken, sign_out::submit),
        Endpoint::page(GET, "/-/user_settings/password/edit", PageAccess::PasswordExpired, password::form),
        Endpoint::page(POST, "/-/user_settings/password", PageAccess::PasswordExpired, password::submit),
        // It looks at the CSRF token itself: a form that is out of date leads back to the request it was about.
        Endpoint::page(POST, "/oauth/authorize/reauthenticate", PageAccess::WithoutToken, reauthenticate::submit),
        Endpoint::plain(GET, "/assets/{name}", Surface::Page, assets::show),
    ]
}

/// Whom a page lets in, and what it asks of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageAccess {
    /// Whoever comes; a form needs its CSRF token.
    Anyone,
    /// Whoever comes; a form needs no CSRF token, and its origin is judged all the same.
    WithoutToken,
    /// Anyone, to sign in. A form that was shown before somebody signed in here, in another tab, is out of date; the page
    /// then says who is signed in.
    SigningIn,
    /// Signed in, with an account that may come in; others are led to the sign-in page.
    SignedIn,
    /// Signed in, though the password has expired: here it can be changed.
    PasswordExpired,
    /// Signed in, though the address is not confirmed: here that is said in another way.
    Consenting,
    /// Anyone: the page decides itself who has to sign in first, and what is said of an account that may not come in.
    Authorizing,
}

impl PageAccess {
    #[cfg(feature = "faults")]
    pub const ALL: [Self; 7] = [
        Self::Anyone,
        Self::WithoutToken,
        Self::SigningIn,
        Self::SignedIn,
        Self::PasswordExpired,
        Self::Consenting,
        Self::Authorizing,
    ];

    /// Somebody whose account may not come in may still sign out, or sign in as somebody else.
    fn takes_any_account(self) -> bool {
        matches!(self, Self::Anyone | Self::WithoutToken | Self::SigningIn | Self::Authorizing)
    }
}

/// Who came to a page.
pub struct Visitor {
    /// Who is signed in. `None`: nobody, or an account that may not come in.
    pub identity: Option<Identity>,
    /// Whose session it is, though the account may not come in.
    pub owner: Option<Arc<User>>,
    /// Why that account may not come in.
    pub fault: Option<AccountFault>,
    /// The session cookie, or the one that is about to be set.
    pub session: String,
    /// Whether that cookie must be set.
    pub fresh: bool,
    /// The session cookies that came, if none counts because several are live (T9).
    pub several: Option<SessionCookies>,
    /// The form does not have the CSRF token of the live session, so nothing may be done with it. Only where one is
    /// signing in ([`PageAccess::SigningIn`]); elsewhere such a form is refused.
    pub outdated: bool,
    /// What the page before left to be said.
    pub notice: Option<Notice>,
    /// The client address, as far as trusted proxies tell it.
    pub address: Option<IpAddr>,
    /// `User-Agent` as it was sent.
    pub user_agent: Option<String>,
    /// The values of the cookie [`device::NAME`], joined: another site of the same domain may have set one too.
    pub device: String,
    /// The fields of the body; empty if there was none.
    pub form: serde_json::Map<String, serde_json::Value>,
    /// The headers of the request.
    pub headers: HeaderMap,
}

/// A sentence for the next page, carried in a cookie of its own for a minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// They came to a page that needs it.
    SignInFirst,
    /// Signing in has activated a deactivated account.
    Reactivated,
    /// They signed out.
    SignedOut,
    /// They changed their password.
    PasswordChanged,
}

impl Visitor {
    /// T10, T12: the name, the origin and the CSRF token, before anything else.
    pub async fn arrive(app: &App, parsed: &ParsedRequest, admits: PageAccess) -> Result<Self, Error> {
        let headers = &parsed.parts.headers;
        if !app.urls.serves(headers) {
            return Err(Error::WrongHost);
        }
        let reads = [Method::GET, Method::HEAD].contains(&parsed.parts.method);
        let cookies = SessionCookies::of(headers);
        let form = parsed.body.clone().unwrap_or_default();
        let token = match form.get("authenticity_token") {
            Some(serde_json::Value::String(token)) => Some(token.as_bytes()),
            _ => headers.get("x-csrf-token").map(HeaderValue::as_bytes),
        };
        let owns = |id: &str| token.is_some_and(|token| CsrfSecret::of_session(id.as_bytes()).accepts(token));
        let exempt = reads || admits == PageAccess::WithoutToken;
        if !reads && foreign(app, headers) {
            return Err(Error::Forged);
        }
        let signing_in = admits == PageAccess::SigningIn;
        // Before anything is looked up.
        if !exempt && !signing_in && !cookies.iter().any(owns) {
            return Err(Error::Forged);
        }
        let (mut identity, mut owner, mut denied) = (None, None, None);
        let (mut several, mut live) = (false, None);
        match app.auth.live_session(&cookies, parsed.peer, app.now()).await? {
            LiveSession::None if !exempt && !cookies.iter().any(owns) => return Err(Error::Forged),
            LiveSession::None => {}
            LiveSession::Several => several = true,
            LiveSession::One(cookie, _) if !exempt && !signing_in && !owns(cookie) => return Err(Error::Forged),
            LiveSession::One(cookie, entry) => {
                live = Some(cookie);
                match app.auth.person_of(&entry, app.now()) {
                    Err(Denial::Account(fault))
                        if admits.takes_any_account()
                            || (admits, fault) == (PageAccess::PasswordExpired, AccountFault::PasswordExpired)
                            || (admits, fault) == (PageAccess::Consenting, AccountFault::Unconfirmed) =>
                    {
                        owner = entry.record.owner.clone();
                        denied = Some(fault);
                    }
                    known => {
                        let known = known?;
                        owner = Some(known.user.clone());
                        identity = Some(known);
                    }
                }
            }
        }
        let outdated = !exempt && live.is_some_and(|cookie| !owns(cookie));
        let one_of_ours = |id: &&str| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit());
        let kept = live.or_else(|| cookies.iter().find(|id| owns(id))).or_else(|| cookies.iter().find(one_of_ours));
        let kept = kept.filter(one_of_ours);
        let fresh = kept.is_none();
        let session = kept.map_or_else(|| Plaintext::session().reveal().to_owned(), str::to_owned);
        let user_agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Self {
            identity,
            owner,
            fault: denied,
            session,
            fresh,
            several: several.then_some(cookies),
            outdated,
            notice: notice(headers),
            address: parsed.peer,
            user_agent,
            device: cookies_of(headers, device::NAME).collect::<Vec<_>>().join("~"),
            form,
            headers: headers.clone(),
        })
    }

    /// The answer in place of the page, for somebody who has to sign in first or sent several live sessions (T9).
    pub fn sent_elsewhere(&self, app: &App, parsed: &ParsedRequest, admits: PageAccess) -> Option<Response> {
        if self.several.is_some() && !matches!(admits, PageAccess::WithoutToken | PageAccess::Authorizing) {
            return Some(several_sessions::response(app, &parsed.parts.headers, parsed.parts.uri.path()));
        }
        let signed_in = match admits {
            PageAccess::Anyone | PageAccess::WithoutToken | PageAccess::SigningIn | PageAccess::Authorizing => true,
            PageAccess::SignedIn => self.identity.is_some(),
            PageAccess::PasswordExpired | PageAccess::Consenting => self.owner.is_some(),
        };
        (!signed_in).then(|| to_sign_in(app))
    }

    /// Whether the form has the CSRF token of this session, where a page is reached without
    /// ([`PageAccess::WithoutToken`]).
    pub fn has_token(&self) -> bool {
        let token = self.form.get("authenticity_token").and_then(serde_json::Value::as_str);
        token.is_some_and(|token| CsrfSecret::of_session(self.session.as_bytes()).accepts(token.as_bytes()))
    }

    /// Whose session it is, and since when.
    pub fn signed_in(&self) -> Option<SignedIn> {
        let session = self.identity.as_ref().and_then(Identity::session);
        let authenticated_at = session.map(|session| session.authenticated_at);
        self.owner.as_ref().map(|owner| SignedIn { user: owner.id, authenticated_at, fault: self.fault })
    }

    /// Whether a browser goes to a page, and no script or other program asks. Browsers say so under https and on this
    /// machine.
    pub fn navigates(&self) -> bool {
        let mut modes = self.headers.get_all(SEC_FETCH_MODE).iter();
        modes.next().is_some_and(|mode| mode == "navigate") && modes.next().is_none()
    }

    /// From where a password of this visitor comes.
    pub fn origin(&self) -> Origin<'_> {
        Origin { address: self.address, device: &self.device }
    }

    /// For a form of this session, masked anew each time (authentication.md 6.4).
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
    /// `template` with the headers of every page: never cached, no foreign content, in no frame.
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

    /// The same, to be fetched by GET whatever method this was (303).
    pub fn see_other(to: &str) -> Self {
        let mut page = Self::redirect(to);
        if page.response.status() == StatusCode::FOUND {
            *page.response.status_mut() = StatusCode::SEE_OTHER;
        }
        page
    }

    /// Where else a form of this page may lead (T20).
    pub fn form_action(mut self, more: &str) -> Self {
        let policy = POLICY.replace("form-action 'self'", &format!("form-action 'self' {more}"));
        if let (false, Ok(policy)) = (more.is_empty(), HeaderValue::try_from(policy)) {
            self.response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        self
    }

    /// `cookie`: `name=value`, perhaps with `Max-Age`; the other attributes are those of the session cookie.
    pub fn cookie_with(self, app: &App, cookie: &str) -> Self {
        self.cookie(format!("{cookie}; {}", attributes(app)))
    }

    /// Why it refuses, for the log.
    pub fn because(mut self, reason: &'static str) -> Self {
        self.response.extensions_mut().insert(Reason(reason));
        self
    }

    /// The page of a form whose password was refused.
    pub fn refuses(mut self, wrong: Wrong) -> Self {
        self.response.extensions_mut().insert(Account(wrong.account));
        self.because(wrong.code())
    }

    /// Adds a header, or replaces it.
    pub fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.response.headers_mut().insert(name, HeaderValue::from_static(value));
        self
    }

    /// T9. A browser-session cookie: the server alone knows when it ends.
    pub fn session(self, app: &App, session: &str) -> Self {
        self.cookie(format!("_gitlab_session={session}; {}", attributes(app)))
    }

    /// Removes the session cookie from the browser. The session itself is ended elsewhere.
    pub fn forget_session(self, app: &App) -> Self {
        self.cookie(format!("_gitlab_session=; Max-Age=0; {}", attributes(app)))
    }

    /// What makes this browser known to the account from now on (T15).
    pub fn device(self, app: &App, value: &str) -> Self {
        let secure = if app.urls.is_https() { "; Secure" } else { "" };
        let (name, seconds) = (device::NAME, device::LIFETIME);
        self.cookie(format!("{name}={value}; Max-Age={seconds}; Path=/; HttpOnly; SameSite=Lax{secure}"))
    }

    /// Says it on the next page.
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

/// 302 to the sign-in page, which says why.
pub fn to_sign_in(app: &App) -> Response {
    sign_in_first(app).into_response()
}

/// The same, to which cookies may be added.
pub fn sign_in_first(app: &App) -> Html {
    Html::redirect("/users/sign_in").notice(app, Notice::SignInFirst)
}

/// How a page is refused: with a page, except that a program gets the wire's answer to too many wrong passwords
/// (authentication.md 8.2).
pub fn refusal(error: &Error, app: &App, signed_in: bool, to_browser: bool) -> Response {
    match error {
        Error::TooManyFailures(_) if !to_browser => error.api(&app.urls),
        error => failure(error, app, signed_in),
    }
}

/// Whether a browser asks, which takes HTML.
pub fn is_browser(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|media| media.trim_start().starts_with("text/html"))
}
/// Where a person sees their projects. Behind a gateway `/` is the API's, and a link of ours must not lead there
/// (GATE-084).
pub fn home(app: &App) -> &'static str {
    if app.gateway.shares_our_host() { PROJECTS } else { "/" }
}

/// The page of projects, which every proxy of the examples leaves to us.
pub const PROJECTS: &str = "/-/user_settings/projects";

/// A failure as a page.
pub fn failure(error: &Error, app: &App, signed_in: bool) -> Response {
    if *error == Error::Denied(Denial::Account(AccountFault::PasswordExpired)) {
        return Html::redirect("/-/user_settings/password/edit").into_response();
    }
    let wire = error.wire(&app.urls);
    let (title, text) = match error {
        Error::Denied(Denial::Account(fault)) => ("You cannot sign in", cannot_come_in(*fault).to_owned()),
        Error::NoRoute | Error::NotFound(_) => ("Nothing here", "There is no page at this address.".to_owned()),
        Error::Forged => (
            "This form is out of date",
            "It was sent from another page, or your session has changed since it was shown. Go back and load the page \
             again."
                .to_owned(),
        ),
        Error::WrongHost => {
            // `demo` reads no settings.
            let also = if app.demo { ", or start the demo with --external-url" } else { "" };
            let text =
                "This server does not answer under that host name. Its operator can add the name to external_hosts";
            ("Wrong host name", format!("{text}{also}."))
        }
        Error::BodyTooLarge => ("Form too large", "A form may have at most 64 KiB.".to_owned()),
        Error::Busy => ("Too many people are signing in", "Please try again in a few seconds.".to_owned()),
        Error::TooManyFailures(exceeded) => (
            "Retry later",
            format!(
                "Too many wrong passwords came from your network address. Please try again in {} seconds.",
                exceeded.seconds()
            ),
        ),
        Error::Unavailable | Error::Full | Error::BodiesFull => {
            ("Temporarily unavailable", "Please try again in a moment.".to_owned())
        }
        Error::BadRequest(_) | Error::Malformed | Error::TooManyParameters | Error::Parameters(_) => {
            ("Invalid form", "The form does not have the fields that this page sends.".to_owned())
        }
        _ => ("Something went wrong", "The request could not be answered.".to_owned()),
    };
    let next = match error {
        Error::Denied(Denial::Account(_)) => NextPage::AnotherAccount,
        _ if signed_in => NextPage::Projects,
        _ => NextPage::Start,
    };
    let page = Failure::new(app, title, &text, next);
    let mut response = match Html::page(app, wire.status, &page) {
        Ok(page) => page.into_response(),
        Err(_) => wire.status.into_response(),
    };
    if let Some(seconds) = wire.retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// For people. What programs are told is quoted from the wire (`error::account`), and speaks of pages that are not here.
fn cannot_come_in(fault: AccountFault) -> &'static str {
    match fault {
        AccountFault::Internal => "This account belongs to the server itself. Nobody can sign in to it.",
        AccountFault::PendingApproval => "Your account is waiting for the approval of an administrator of this server.",
        AccountFault::Deactivated => "Your account is deactivated. Sign out and sign in again to reactivate it.",
        AccountFault::Unconfirmed => {
            "Your e-mail address is not confirmed. Please ask an administrator of this server."
        }
        AccountFault::Blocked => "Your account is blocked. Please ask an administrator of this server.",
        AccountFault::PasswordExpired => "Your password has expired. Please choose a new one.",
    }
}

/// The page of an error.
#[derive(Template)]
#[template(path = "failure.html")]
pub struct Failure<'a> {
    title: &'a str,
    text: &'a str,
    target: &'static str,
    label: &'static str,
    request_id: Option<&'a str>,
    demo: bool,
}

/// Where a page of failure leads on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// For somebody who is signed in.
    Projects,
    /// For a session whose account may not come in.
    AnotherAccount,
    /// For somebody who is not signed in.
    SignIn,
    /// It is not known who this is. The start page leads on to signing in if that is needed.
    Start,
}

impl NextPage {
    fn link(self, app: &App) -> (&'static str, &'static str) {
        match self {
            Self::Projects => (home(app), "Back to your projects"),
            Self::AnotherAccount => ("/users/sign_in", "Sign in with another account"),
            Self::SignIn => ("/users/sign_in", "Sign in"),
            Self::Start => (home(app), "Start page"),
        }
    }
}

impl<'a> Failure<'a> {
    /// `next`: what its one link is.
    pub fn new(app: &'a App, title: &'a str, text: &'a str, next: NextPage) -> Self {
        let (target, label) = next.link(app);
        Self { title, text, target, label, request_id: app.request_id(), demo: app.demo }
    }
}

/// What helps somebody whose password was refused. It is the same for every name and every reason (T14).
pub fn after_wrong_password(app: &App) -> String {
    let Lockout { attempts, period } = app.lockout();
    let counted = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    let period = match period.as_secs() {
        seconds if seconds % 3600 == 0 => counted(seconds / 3600, "hour"),
        seconds if seconds % 60 == 0 => counted(seconds / 60, "minute"),
        seconds => counted(seconds, "second"),
    };
    format!(
        "Check Caps Lock and the keyboard layout. After {attempts} wrong passwords in a row, password sign-in is locked \
         for {period}. If you have forgotten your password, ask an administrator of this server to set a new one."
    )
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

    /// As the page has it (authentication.md 6.5).
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
    cookies_of(headers, name).last()
}

fn cookies_of<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h str> {
    let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let values = cookies.flat_map(|text| text.split("; ")).filter_map(|cookie| cookie.split_once('='));
    values.filter(move |(known, _)| *known == name).map(|(_, value)| value)
}

fn attributes(app: &App) -> &'static str {
    match (app.urls.is_https(), app.settings.compat.cookie.is_gitlab()) {
        (false, _) => "Path=/; HttpOnly; SameSite=Lax",
        (true, false) => "Path=/; HttpOnly; Secure; SameSite=Lax",
        (true, true) => "Path=/; HttpOnly; Secure; SameSite=None",
    }
}

const NOTICE: &str = "_tollhouse_notice";
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

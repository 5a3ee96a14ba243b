//! `/oauth/authorize` (RFC 6749 section 4.1.1, RFC 7636 section 4.3; oauth.md section 5): a person is told who asks for
//! what, and allows or denies it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tollhouse_domain::application::Application;
use tollhouse_domain::denial::{AccountFault, Denial};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::pkce::{Challenge, Method};
use tollhouse_domain::prompt::{Done, Fault, Hint, Needed, Prompt, Step};
use tollhouse_domain::redirect::RedirectUri;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::{oauth_access_tokens, oauth_applications, users};

use crate::app::App;
use crate::error::{Error, because};
use crate::oauth::error::{OauthError, answer};
use crate::oauth::{self, Fields, id_token};
use crate::operations::applications::AddReadUser;
use crate::operations::grants::Authorize;
use crate::params::{Param, Params};
use crate::request::ParsedRequest;
use crate::web::{self, Failure, Html, NextPage, Visitor, reauthenticate, returns, several_sessions};

/// What was asked, as far as it could be read.
pub struct Request {
    fields: Result<Fields, oauth::error::Failure>,
    /// Only the head of the page is wanted.
    head: bool,
    /// Path and query.
    target: String,
}

impl Request {
    /// `prompt=none`, as far as that can be said of a request that nobody has looked at.
    fn may_want_no_page(&self) -> bool {
        let has = |name: &str, word: &str| {
            let text = self.fields.as_ref().ok().and_then(|fields| fields.text(name));
            text.is_some_and(|text| text.split(' ').any(|known| known == word))
        };
        has("prompt", "none") && has("scope", Scope::Openid.as_str())
    }
}

impl Params for Request {
    const DECLARED: &'static [Param] = &[];

    fn parse(parsed: &ParsedRequest) -> Result<Self, Error> {
        let target = parsed.parts.uri.path_and_query().map_or_else(String::new, ToString::to_string);
        Ok(Self { fields: Fields::read(parsed), head: parsed.parts.method == axum::http::Method::HEAD, target })
    }
}

/// A request that an application may make.
struct Valid {
    application: Application,
    redirect_uri: RedirectUri,
    in_fragment: bool,
    state: Option<String>,
    scopes: Scopes,
    /// The application has to be given `read_user` first.
    gains_read_user: bool,
    challenge: Option<Challenge>,
    nonce: Option<String>,
}

/// Why it may not, and where that is told.
enum Refusal {
    /// Here: the address that the request names is not to be trusted, or is none.
    Here(OauthError),
    There {
        error: OauthError,
        redirect_uri: RedirectUri,
        in_fragment: bool,
    },
    Failed(Error),
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Needed> for OauthError {
    fn from(needed: Needed) -> Self {
        match needed {
            Needed::Login => Self::LoginRequired,
            Needed::Interaction => Self::InteractionRequired,
        }
    }
}

/// `GET`: the page that asks, or the code at once where nobody needs to be asked. A page, whatever is wrong; by redirect
/// answers `prompt=none` alone, which wants no page (oauth.md 5.3, 5.6).
pub async fn show(app: App, visitor: Visitor, parsed: Request) -> Result<Html, Error> {
    if !parsed.may_want_no_page()
        && let Some(first) = comes_first(&app, &visitor, &parsed)?
    {
        return Ok(first);
    }
    let fields = match &parsed.fields {
        Ok(fields) => fields,
        Err(failure) => {
            return match failure.clone().oauth() {
                Ok(error) => told(&app, &visitor, error),
                Err(error) => Err(error),
            };
        }
    };
    let valid = {
        // Of those who are not signed in, one address asks the database only so much at a time (T14).
        let _pass = if visitor.identity.is_none() { app.auth.permit(visitor.address).await } else { None };
        match validate(&app, fields, true).await {
            Ok(valid) => valid,
            Err(Refusal::Here(error) | Refusal::There { error, .. }) => return told(&app, &visitor, error),
            Err(Refusal::Failed(error)) => return Err(error),
        }
    };
    let openid = valid.scopes.contains(Scope::Openid);
    let wish = |name: &str| fields.text(name).filter(|_| openid);
    let prompt = match Prompt::parse(wish("prompt"), wish("max_age")) {
        Ok(prompt) => prompt,
        Err(Fault::NoneAndMore) => return without_a_page(&app, &visitor, &valid, OauthError::InvalidRequest),
        Err(Fault::Unreadable) => return told(&app, &visitor, OauthError::InvalidRequest),
    };
    if !prompt.is_none()
        && let Some(first) = comes_first(&app, &visitor, &parsed)?
    {
        return Ok(first);
    }
    // Without a session it decides nothing, and a signature costs time.
    let hint = wish("id_token_hint").filter(|_| visitor.owner.is_some());
    let hint = id_token::hinted(&app, &valid.application, hint).await?;
    let step = prompt.next(visitor.signed_in(), hint, app.now());
    let Some(identity) = &visitor.identity else {
        let Step::Refuse(needed) = step else { return Err(Error::Internal) };
        return without_a_page(&app, &visitor, &valid, needed.into());
    };
    match step {
        Step::Refuse(needed) => without_a_page(&app, &visitor, &valid, needed.into()),
        Step::SelectAccount => select_account(&app, &visitor, &identity.user, &valid, &parsed, hint),
        Step::Authenticate => reauthenticate::page(&app, &visitor, &identity.user, &parsed.target, None),
        Step::Consent => proceed(&app, &visitor, identity, &valid, &parsed, prompt, false).await,
        Step::Proceed => proceed(&app, &visitor, identity, &valid, &parsed, prompt, true).await,
    }
}

/// It is settled who they are. `skip`: the consent page may be skipped.
async fn proceed(
    app: &App,
    visitor: &Visitor,
    identity: &Identity,
    valid: &Valid,
    parsed: &Request,
    prompt: Prompt,
    skip: bool,
) -> Result<Html, Error> {
    if forbidden(app, &identity.user, &valid.application) {
        return match prompt.is_none() {
            true => without_a_page(app, visitor, valid, OauthError::InteractionRequired),
            false => told(app, visitor, OauthError::NotForAdministrators),
        };
    }
    let asks = !skip || !needs_no_page(app, &identity.user, valid).await?;
    if asks && prompt.is_none() {
        return without_a_page(app, visitor, valid, OauthError::ConsentRequired);
    }
    if valid.gains_read_user && !parsed.head {
        app.perform(AddReadUser { id: valid.application.id }, &app.by(identity)).await?.into_inner();
    }
    // The head of a page issues no code.
    if asks || parsed.head {
        return consent(app, visitor, &identity.user, valid).await;
    }
    let code = code(app, identity, valid).await?;
    match (code.map(|code| leads_to(app, valid, code.reveal())), prompt.is_none()) {
        // A page could not be shown in a frame, where some applications renew a sign-in.
        (Some(to), true) => Ok(Html::redirect(&to)),
        (Some(to), false) => Ok(returns::forget(app, onward(app, visitor, &to)?, &visitor.headers)),
        (None, true) => without_a_page(app, visitor, valid, OauthError::LoginRequired),
        (None, false) => Ok(sign_in_first(app, visitor, parsed)),
    }
}

/// What somebody is shown who may not be asked yet.
fn comes_first(app: &App, visitor: &Visitor, parsed: &Request) -> Result<Option<Html>, Error> {
    if visitor.several.is_some() {
        return several_sessions::page(app, &visitor.headers, "/oauth/authorize").map(Some);
    }
    match (&visitor.identity, visitor.fault) {
        (Some(_), _) => Ok(None),
        (None, Some(AccountFault::Unconfirmed)) => told(app, visitor, OauthError::UnconfirmedEmail).map(Some),
        (None, Some(fault)) => Err(Denial::Account(fault).into()),
        (None, None) => Ok(Some(sign_in_first(app, visitor, parsed))),
    }
}

/// They come back to the same question, but for what signing in settles.
fn sign_in_first(app: &App, visitor: &Visitor, parsed: &Request) -> Html {
    let page = web::sign_in_first(app);
    match parsed.head {
        true => page,
        false => returns::remember(app, page, &reauthenticate::after(&parsed.target, Done::SignedIn), &visitor.headers),
    }
}

/// `prompt=none`: the application is told by redirect, or nobody is, where there is no address.
fn without_a_page(app: &App, visitor: &Visitor, valid: &Valid, error: OauthError) -> Result<Html, Error> {
    match refused_there(app, error, &valid.redirect_uri, valid.in_fragment, valid.state.as_deref()) {
        Some(to) => Ok(Html::redirect(&to).because(error.code())),
        None => told(app, visitor, error),
    }
}

/// `POST`, from one of the two forms of the page.
pub async fn submit(app: App, visitor: Visitor, parsed: Request) -> Result<Response, Error> {
    let allowed = match visitor.form.get("_method") {
        None => true,
        Some(method) if method.as_str().is_some_and(|method| method.eq_ignore_ascii_case("delete")) => false,
        // It may have been meant as a denial.
        Some(_) => return Ok(in_json(OauthError::InvalidRequest, None)),
    };
    decide(app, visitor, parsed, allowed).await
}

/// `DELETE /oauth/authorize`: the person says no (oauth.md 5.5).
pub async fn deny(app: App, visitor: Visitor, parsed: Request) -> Result<Response, Error> {
    decide(app, visitor, parsed, false).await
}

async fn decide(app: App, visitor: Visitor, parsed: Request, allowed: bool) -> Result<Response, Error> {
    let Some(identity) = &visitor.identity else {
        return Ok(told(&app, &visitor, OauthError::UnconfirmedEmail)?.into_response());
    };
    let fields = match parsed.fields.and_then(|fields| fields.fit_for(&app).map(|()| fields)) {
        Ok(fields) => fields,
        Err(failure) => return Ok(in_json(failure.oauth()?, None)),
    };
    let state = fields.text("state");
    let refuse = |error: OauthError, to: &RedirectUri, in_fragment: bool| {
        let Some(to) = refused_there(&app, error, to, in_fragment, state) else { return Ok(in_json(error, state)) };
        Ok(sent_back(&app, &visitor, &to)?.because(error.code()).into_response())
    };
    let valid = match validate(&app, &fields, false).await {
        Ok(valid) => valid,
        Err(Refusal::Here(error)) => return Ok(in_json(error, state)),
        Err(Refusal::There { error, redirect_uri, in_fragment }) => return refuse(error, &redirect_uri, in_fragment),
        Err(Refusal::Failed(error)) => return Err(error),
    };
    if forbidden(&app, &identity.user, &valid.application) {
        return Ok(told(&app, &visitor, OauthError::NotForAdministrators)?.into_response());
    }
    if !allowed {
        return refuse(OauthError::AccessDenied, &valid.redirect_uri, valid.in_fragment);
    }
    match code(&app, identity, &valid).await {
        Ok(Some(code)) => {
            let to = leads_to(&app, &valid, code.reveal());
            Ok(match valid.redirect_uri.is_out_of_band() {
                true => Html::redirect(&to).into_response(),
                false => sent_back(&app, &visitor, &to)?.into_response(),
            })
        }
        Ok(None) => Ok(web::to_sign_in(&app)),
        // The application went away meanwhile.
        Err(error) => Ok(in_json(oauth::error::Failure::from(error).oauth()?, state)),
    }
}

/// The answer to a form. Chromium holds every redirect that follows a form against `form-action`, those of the
/// application's own server too, and no list can name them all. So a browser gets a page that leads on by itself.
fn sent_back(app: &App, visitor: &Visitor, to: &str) -> Result<Html, Error> {
    if visitor.navigates() { onward(app, visitor, to) } else { Ok(Html::redirect(to)) }
}

fn onward(app: &App, visitor: &Visitor, target: &str) -> Result<Html, Error> {
    let page = Onward { target, demo: app.demo };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

/// `/oauth/authorize/native`: a code for somebody who carries it over by hand.
pub async fn native(app: App, visitor: Visitor, parsed: Request) -> Result<Html, Error> {
    let fields =
        parsed.fields.map_err(|failure| failure.oauth().map_or_else(|error| error, |_| Error::BadRequest(None)))?;
    // Nothing but what looks like a code: this page must not speak for whoever wrote a link to it.
    let code = fields.text("code").filter(|code| code.len() == 64 && code.bytes().all(|b| b.is_ascii_hexdigit()));
    let page = Native { code: code.ok_or(Error::NoRoute)?, demo: app.demo };
    Ok(Html::page(&app, StatusCode::OK, &page)?.to(&app, &visitor))
}

/// The order of these lines is that of oauth.md 5.2: the first fault is what is said.
async fn validate(app: &App, fields: &Fields, page: bool) -> Result<Valid, Refusal> {
    let Some(uid) = fields.text("client_id") else { return Err(Refusal::Here(OauthError::Missing("client_id"))) };
    let known = oauth_applications::by_uid(&mut app.db.read().await?, uid).await?;
    let Some(application) = known else { return Err(Refusal::Here(OauthError::InvalidClient)) };
    let matching = app.settings.compat.redirect_matching();
    let accepted = fields.text("redirect_uri").and_then(|uri| application.redirect_uris.accept(uri, matching));
    let Some(redirect_uri) = accepted else { return Err(Refusal::Here(OauthError::InvalidRedirectUri)) };

    let (kind, mode) = (fields.text("response_type"), fields.text("response_mode"));
    let in_fragment = mode == Some("fragment") || (mode.is_none() && kind == Some("token"));
    let refuse = |error: OauthError| match redirect_uri.is_out_of_band() {
        true => Refusal::Here(error),
        false => Refusal::There { error, redirect_uri: redirect_uri.clone(), in_fragment },
    };
    match kind {
        None => return Err(refuse(OauthError::Missing("response_type"))),
        Some("code") => {}
        Some(_) => return Err(refuse(OauthError::UnsupportedResponseType)),
    }
    if !matches!(mode, None | Some("query" | "fragment")) {
        return Err(refuse(OauthError::UnsupportedResponseMode));
    }
    let sign_in =
        if page && fields.text("gl_auth_type") == Some("login") { read_user(app, &application) } else { None };
    let gains_read_user = sign_in == Some(Gains::Scope);
    let scopes = match sign_in {
        Some(_) => Scopes::from([Scope::ReadUser]),
        None => application.scopes_for(fields.text("scope")).ok_or_else(|| refuse(OauthError::InvalidScope))?,
    };
    let challenge = match (fields.text("code_challenge"), fields.text("code_challenge_method")) {
        (Some(value), method) => {
            let pkce = app.settings.compat.pkce_strictness();
            let method = method.and_then(|name| pkce.method(name));
            let method = method.ok_or_else(|| refuse(OauthError::InvalidCodeChallengeMethod(pkce)))?;
            let challenge = Challenge::parse(method, value, pkce);
            Some(challenge.ok_or_else(|| refuse(OauthError::InvalidRequest))?)
        }
        // T20: whoever gets hold of a public application's code could redeem it.
        (None, _) if !application.confidential && !app.settings.compat.pkce.is_gitlab() => {
            return Err(refuse(OauthError::Missing("code_challenge")));
        }
        (None, _) => None,
    };
    let kept = |name: &str| fields.text(name).map(str::to_owned);
    let (state, nonce) = (kept("state"), kept("nonce"));
    if nonce.as_ref().is_some_and(|nonce| nonce.len() > LONGEST_NONCE) {
        return Err(refuse(OauthError::InvalidRequest));
    }
    Ok(Valid { application, redirect_uri, in_fragment, state, scopes, gains_read_user, challenge, nonce })
}

/// What others keep of a nonce, in bytes.
const LONGEST_NONCE: usize = 255;

/// What asking for `read_user` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gains {
    Nothing,
    Scope,
}

/// `gl_auth_type=login`: who only wants to know who somebody is, asks for no more than that (oauth.md 5.1). `None`: the
/// application has no `read_user` and is not given it; by default a page changes no application (T21).
fn read_user(app: &App, application: &Application) -> Option<Gains> {
    let held = &application.scopes;
    if held.is_empty() || held.contains(Scope::ReadUser) {
        return Some(Gains::Nothing);
    }
    let can_be_given = held.contains(Scope::Api) && app.settings.compat.gl_auth_type.is_gitlab();
    can_be_given.then_some(Gains::Scope)
}

/// `disable_admin_oauth_scopes` (oauth.md 5.3).
fn forbidden(app: &App, user: &User, application: &Application) -> bool {
    app.settings.oauth.disable_admin_oauth_scopes
        && user.administrator
        && !application.trusted
        && application.reaches_administrators()
}

/// Whether somebody has answered this very question before, or need not be asked (oauth.md 5.3; T21).
async fn needs_no_page(app: &App, user: &User, valid: &Valid) -> Result<bool, Error> {
    if valid.scopes.for_administrators() && !app.settings.compat.admin_scopes.is_gitlab() {
        return Ok(false);
    }
    if valid.application.trusted {
        return Ok(true);
    }
    if !valid.application.confidential {
        return Ok(false);
    }
    let idle = app.settings.oauth.idle().map_or(Timestamp(i64::MIN), |idle| app.now() - idle);
    let mut reader = app.db.read().await?;
    let consents = oauth_access_tokens::consents(&mut reader, user.id, valid.application.id, idle).await?;
    let uri = Some(valid.redirect_uri.as_str());
    Ok(consents.iter().any(|(scopes, to)| scopes.is_same_set(&valid.scopes) && to.as_deref() == uri))
}

/// `None`: the session ended while this request was under way.
async fn code(app: &App, identity: &Identity, valid: &Valid) -> Result<Option<Plaintext>, Error> {
    let Some(session) = identity.session() else { return Ok(None) };
    let operation = Authorize {
        application: valid.application.id,
        user: identity.user.id,
        session: session.digest,
        redirect_uri: valid.redirect_uri.as_str().to_owned(),
        scopes: valid.scopes.clone(),
        challenge: valid.challenge.clone(),
        nonce: valid.nonce.clone(),
    };
    Ok(app.perform(operation, &app.by(identity)).await?.into_inner())
}

/// Where the browser takes the code. A page of ours shows the code alone.
fn leads_to(app: &App, valid: &Valid, code: &str) -> String {
    if valid.redirect_uri.is_out_of_band() {
        return format!("/oauth/authorize/native?code={code}");
    }
    let state = valid.state.as_deref().map(|state| ("state", state));
    let pairs: Vec<_> = [("code", code)].into_iter().chain(state).chain(issuer(app)).collect();
    valid.redirect_uri.answered(&pairs, valid.in_fragment)
}

/// `iss` of RFC 9207: an application that uses several servers learns which of them answers.
fn issuer(app: &App) -> Option<(&'static str, &str)> {
    (!app.settings.compat.iss.is_gitlab()).then(|| ("iss", app.urls.base()))
}

/// Where the browser takes a refusal; `None`: there is no such place.
fn refused_there(
    app: &App,
    error: OauthError,
    to: &RedirectUri,
    in_fragment: bool,
    state: Option<&str>,
) -> Option<String> {
    let description = error.description();
    let state = state.map(|state| ("state", state));
    let pairs = [("error", error.code()), ("error_description", &description)].into_iter().chain(state);
    let pairs: Vec<_> = pairs.chain(issuer(app)).collect();
    (!to.is_out_of_band()).then(|| to.answered(&pairs, in_fragment))
}

fn in_json(error: OauthError, state: Option<&str>) -> Response {
    let object = error.object().when(state.is_some(), |object| object.field("state", state));
    because(answer(error.status(), object), error.reason())
}

/// Always 200, and never a redirect: whoever sees it can go no further from here.
fn told(app: &App, visitor: &Visitor, error: OauthError) -> Result<Html, Error> {
    let title = match error {
        OauthError::UnconfirmedEmail => "Confirm your e-mail address first",
        OauthError::NotForAdministrators => "Not for administrators",
        _ => "The application sent an invalid request",
    };
    let next = match (visitor.identity.is_some(), visitor.owner.is_some()) {
        (true, _) => NextPage::Projects,
        (false, true) => NextPage::AnotherAccount,
        (false, false) => NextPage::Start,
    };
    let mut description = error.description();
    if error == OauthError::InvalidRedirectUri {
        // Who sees this is most often the author of the application.
        description
            .push_str(" It must equal a registered one exactly; only for 127.0.0.1 and [::1] may the port differ.");
    }
    let page = Failure::new(app, title, &description, next);
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor).because(error.code()))
}

/// `prompt=select_account`, or another account than the hint names is signed in.
fn select_account(
    app: &App,
    visitor: &Visitor,
    user: &User,
    valid: &Valid,
    parsed: &Request,
    hint: Hint,
) -> Result<Html, Error> {
    let expected = match hint {
        Hint::Absent => false,
        Hint::User(hinted) => hinted != user.id,
        Hint::Invalid => true,
    };
    let page = SelectAccount {
        application: &valid.application.name,
        expected,
        name: &user.name,
        username: &user.username,
        target: &reauthenticate::after(&parsed.target, Done::Chose),
        other: &reauthenticate::after(&parsed.target, Done::ChoseAnother),
        csrf_token: visitor.csrf_token(),
        demo: app.demo,
    };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor))
}

async fn consent(app: &App, visitor: &Visitor, user: &User, valid: &Valid) -> Result<Html, Error> {
    let owner = match valid.application.owner {
        Some(owner) => users::find(&mut app.db.read().await?, owner).await?.map(|owner| owner.name),
        None => None,
    };
    let scopes = valid.scopes.to_string();
    let challenge = valid.challenge.as_ref();
    let hidden = [
        ("client_id", Some(valid.application.uid.as_str())),
        ("redirect_uri", Some(valid.redirect_uri.as_str())),
        ("response_type", Some("code")),
        ("response_mode", Some(if valid.in_fragment { "fragment" } else { "query" })),
        ("state", valid.state.as_deref()),
        ("scope", Some(scopes.as_str())),
        ("nonce", valid.nonce.as_deref()),
        // In the form in which it is kept, so that a verifier sent as `plain` stands in no page either.
        ("code_challenge", challenge.map(Challenge::as_str)),
        ("code_challenge_method", challenge.map(|_| Method::S256.as_str())),
    ];
    let hidden = hidden.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let page = Consent {
        application: &valid.application.name,
        owner: owner.as_deref(),
        registered: &valid.application.created_at.date().to_string(),
        public: !valid.application.confidential,
        destination: &valid.redirect_uri.destination(),
        scopes: valid.scopes.iter().map(|scope| (scope.as_str(), scope.description())).collect(),
        strong: valid.scopes.for_administrators(),
        name: &user.name,
        username: &user.username,
        hidden,
        csrf_token: visitor.csrf_token(),
        demo: app.demo,
    };
    let page = Html::page(app, StatusCode::OK, &page)?.form_action(&valid.redirect_uri.form_action());
    Ok(page.to(app, visitor))
}

#[derive(Template)]
#[template(path = "consent.html")]
struct Consent<'a> {
    application: &'a str,
    owner: Option<&'a str>,
    registered: &'a str,
    public: bool,
    destination: &'a str,
    scopes: Vec<(&'static str, &'static str)>,
    strong: bool,
    name: &'a str,
    username: &'a str,
    hidden: Vec<(&'static str, &'a str)>,
    csrf_token: String,
    demo: bool,
}

#[derive(Template)]
#[template(path = "select_account.html")]
struct SelectAccount<'a> {
    application: &'a str,
    /// The application expects another one.
    expected: bool,
    name: &'a str,
    username: &'a str,
    /// The request for the account that is signed in.
    target: &'a str,
    /// The request for somebody who signs in with another one.
    other: &'a str,
    csrf_token: String,
    demo: bool,
}

#[derive(Template)]
#[template(path = "onward.html")]
struct Onward<'a> {
    target: &'a str,
    demo: bool,
}

#[derive(Template)]
#[template(path = "native.html")]
struct Native<'a> {
    code: &'a str,
    demo: bool,
}

//! `/oauth/authorize` (RFC 6749 section 4.1.1, RFC 7636 section 4.3; oauth.md section 5): a person is told who asks for
//! what, and allows or denies it.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use tollhouse_domain::application::Application;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::pkce::{Challenge, Method};
use tollhouse_domain::redirect::RedirectUri;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::user::User;
use tollhouse_store::{applications, oauth_access_tokens, users};

use crate::app::App;
use crate::asked::Asked;
use crate::error::{Error, refused};
use crate::oauth::Fields;
use crate::oauth::error::{OauthError, answer};
use crate::operations::applications::AddReadUser;
use crate::operations::grants::Authorize;
use crate::params::{Param, Params};
use crate::web::{Failure, Html, Visitor, home, returns};

/// What was asked, as far as it could be read.
pub struct Request {
    fields: Result<Fields, Error>,
    /// Only the head of the page is wanted.
    head: bool,
}

impl Params for Request {
    const DECLARED: &'static [Param] = &[];

    fn parse(asked: &Asked) -> Result<Self, Error> {
        Ok(Self { fields: Fields::read(asked), head: asked.parts.method == axum::http::Method::HEAD })
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

/// `GET`: the page that asks, or the code at once where nobody needs to be asked.
pub async fn show(app: App, visitor: Visitor, asked: Request) -> Result<Html, Error> {
    let Some(identity) = &visitor.identity else { return told(&app, &visitor, OauthError::UnconfirmedEmail) };
    let fields = match asked.fields {
        Ok(fields) => fields,
        Err(Error::Oauth(error)) => return told(&app, &visitor, error),
        Err(error) => return Err(error),
    };
    let valid = match validate(&app, &fields, true).await {
        Ok(valid) => valid,
        Err(Refusal::Here(error) | Refusal::There { error, .. }) => return told(&app, &visitor, error),
        Err(Refusal::Failed(error)) => return Err(error),
    };
    if forbidden(&app, &identity.user, &valid.application) {
        return told(&app, &visitor, OauthError::NotForAdministrators);
    }
    if valid.gains_read_user {
        app.perform(&AddReadUser { id: valid.application.id }, &app.by(identity)).await?.into_inner();
    }
    if !asked.head && needs_no_page(&app, &identity.user, &valid).await? {
        let code = code(&app, identity, &valid).await?;
        let page = Onward { target: &leads_to(&valid, code.reveal()), demo: app.demo };
        let page = Html::page(&app, StatusCode::OK, &page)?.to(&app, &visitor);
        return Ok(returns::forget(&app, page, &visitor.headers));
    }
    consent(&app, &visitor, &identity.user, &valid).await
}

/// `POST`, from one of the two forms of the page.
pub async fn submit(app: App, visitor: Visitor, asked: Request) -> Result<Response, Error> {
    let denied = visitor.form.get("_method").and_then(|value| value.as_str()) == Some("delete");
    decide(app, visitor, asked, !denied).await
}

pub async fn deny(app: App, visitor: Visitor, asked: Request) -> Result<Response, Error> {
    decide(app, visitor, asked, false).await
}

async fn decide(app: App, visitor: Visitor, asked: Request, allowed: bool) -> Result<Response, Error> {
    let Some(identity) = &visitor.identity else {
        return Ok(told(&app, &visitor, OauthError::UnconfirmedEmail)?.into_response());
    };
    let fields = match asked.fields.and_then(|fields| fields.fit_for(&app).map(|()| fields)) {
        Ok(fields) => fields,
        Err(Error::Oauth(error)) => return Ok(in_json(error, None)),
        Err(error) => return Err(error),
    };
    let state = fields.text("state");
    let valid = match validate(&app, &fields, false).await {
        Ok(valid) => valid,
        Err(Refusal::Here(error)) => return Ok(in_json(error, state)),
        Err(Refusal::There { error, redirect_uri, in_fragment }) => {
            return Ok(sent_back(error, &redirect_uri, in_fragment, state));
        }
        Err(Refusal::Failed(error)) => return Err(error),
    };
    if forbidden(&app, &identity.user, &valid.application) {
        return Ok(told(&app, &visitor, OauthError::NotForAdministrators)?.into_response());
    }
    if !allowed {
        return Ok(sent_back(OauthError::AccessDenied, &valid.redirect_uri, valid.in_fragment, state));
    }
    match code(&app, identity, &valid).await {
        Ok(code) => Ok(Html::redirect(&leads_to(&valid, code.reveal())).into_response()),
        // The application went away meanwhile.
        Err(Error::Oauth(error)) => Ok(in_json(error, state)),
        Err(error) => Err(error),
    }
}

/// `/oauth/authorize/native`: a code for somebody who carries it over by hand.
pub async fn native(app: App, visitor: Visitor, asked: Request) -> Result<Html, Error> {
    let fields = asked.fields?;
    // Nothing but what looks like a code: this page must not speak for whoever wrote a link to it.
    let code = fields.text("code").filter(|code| code.len() == 64 && code.bytes().all(|b| b.is_ascii_hexdigit()));
    let page = Native { code: code.ok_or(Error::NoRoute)?, demo: app.demo };
    Ok(Html::page(&app, StatusCode::OK, &page)?.to(&app, &visitor))
}

/// The order of these lines is that of oauth.md 5.2: the first fault is what is said.
async fn validate(app: &App, fields: &Fields, page: bool) -> Result<Valid, Refusal> {
    let Some(uid) = fields.text("client_id") else { return Err(Refusal::Here(OauthError::Missing("client_id"))) };
    let known = applications::by_uid(&mut app.db.read().await?, uid).await?;
    let Some(application) = known else { return Err(Refusal::Here(OauthError::InvalidClient)) };
    let accepted = fields.text("redirect_uri").and_then(|uri| application.redirect_uris.accept(uri));
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
        (Some(value), _) if value.len() > LONGEST_CHALLENGE => return Err(refuse(OauthError::InvalidRequest)),
        (Some(value), method) => {
            let method = method.and_then(Method::parse);
            let method = method.ok_or_else(|| refuse(OauthError::InvalidCodeChallengeMethod))?;
            Some(Challenge { method, value: value.to_owned() })
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

/// RFC 7636 section 4.2, and what others keep of a nonce.
const LONGEST_CHALLENGE: usize = 128;
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
    let consents = oauth_access_tokens::consents(&mut app.db.read().await?, user.id, valid.application.id).await?;
    let uri = Some(valid.redirect_uri.as_str());
    Ok(consents.iter().any(|(scopes, to)| scopes.is_same_set(&valid.scopes) && to.as_deref() == uri))
}

async fn code(app: &App, identity: &Identity, valid: &Valid) -> Result<Plaintext, Error> {
    let operation = Authorize {
        application: valid.application.id,
        user: identity.user.id,
        redirect_uri: valid.redirect_uri.as_str().to_owned(),
        scopes: valid.scopes.clone(),
        challenge: valid.challenge.clone(),
        nonce: valid.nonce.clone(),
    };
    Ok(app.perform(&operation, &app.by(identity)).await?.into_inner())
}

/// Where the browser takes the code.
fn leads_to(valid: &Valid, code: &str) -> String {
    if valid.redirect_uri.is_out_of_band() {
        return format!("/oauth/authorize/native?code={code}");
    }
    let pairs: Vec<(&str, &str)> =
        [("code", code)].into_iter().chain(valid.state.as_deref().map(|state| ("state", state))).collect();
    valid.redirect_uri.answered(&pairs, valid.in_fragment)
}

fn sent_back(error: OauthError, to: &RedirectUri, in_fragment: bool, state: Option<&str>) -> Response {
    if to.is_out_of_band() {
        return in_json(error, state);
    }
    let description = error.description();
    let pairs: Vec<(&str, &str)> = [("error", error.code()), ("error_description", &description)]
        .into_iter()
        .chain(state.map(|state| ("state", state)))
        .collect();
    Html::redirect(&to.answered(&pairs, in_fragment)).because(error.code()).into_response()
}

fn in_json(error: OauthError, state: Option<&str>) -> Response {
    let object = error.object().when(state.is_some(), |object| object.field("state", state));
    refused(Error::Oauth(error), |_| answer(error.status(), object))
}

/// Always 200, and never a redirect: whoever sees it can go no further from here.
fn told(app: &App, visitor: &Visitor, error: OauthError) -> Result<Html, Error> {
    let title = match error {
        OauthError::UnconfirmedEmail => "Confirm your address first",
        OauthError::NotForAdministrators => "Not for administrators",
        _ => "This application asked in the wrong way",
    };
    let page = Failure { title, text: &error.description(), home: home(app), demo: app.demo };
    Ok(Html::page(app, StatusCode::OK, &page)?.to(app, visitor).because(error.code()))
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
        ("code_challenge", challenge.map(|challenge| challenge.value.as_str())),
        ("code_challenge_method", challenge.map(|challenge| challenge.method.as_str())),
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

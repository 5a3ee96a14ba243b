//! The table of routes: every one with its demand and its parameters. Nothing else adds a route (`clippy.toml`).

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::http::{Method, Request, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use tollhouse_auth::authenticator::Head;
use tollhouse_auth::shown::Shown;
use tollhouse_domain::demand::{Demand, Extra, Judged};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::scope::Scope;
use tower::Service;

use crate::api::{applications, groups, metadata, personal_access_tokens, projects, user, users};
use crate::app::App;
use crate::asked::{Asked, Opened, peer};
use crate::bodies::{Limits, SMALL};
use crate::error::{Error, refused};
use crate::metrics::Face;
use crate::need::{Need, Unless, administrator, anyone, presenter, signed_in};
use crate::oauth::{self, Call};
use crate::params::{Kind, Param, Params, Place};
use crate::probes;
use crate::target::is_protocol;
use crate::web::{self, Admits, Visitor};

/// Every route there is.
pub fn table() -> Vec<Route> {
    const GET: Method = Method::GET;
    const POST: Method = Method::POST;
    const DELETE: Method = Method::DELETE;
    const OPTIONS: Method = Method::OPTIONS;
    const READ_USER: &[Extra] = &[Extra::reads(Scope::ReadUser)];
    const WORKFLOWS: &[Extra] = &[Extra::reads(Scope::AiWorkflows)];
    const ROTATE: &[Extra] = &[Extra::any(Scope::Api), Extra::any(Scope::SelfRotate)];
    vec![
        Route::api(GET, "/api/v4/user", signed_in().or_scope(READ_USER), user::show),
        Route::api(
            GET,
            "/api/v4/users",
            anyone().or_scope(READ_USER).after_parameters().unless(users::lists_nobody),
            users::list,
        ),
        Route::api(
            GET,
            "/api/v4/users/{id}",
            anyone().or_scope(READ_USER).after_parameters().unless(users::shows_nobody),
            users::show,
        ),
        Route::api(GET, "/api/v4/projects", anyone().or_scope(WORKFLOWS).after_parameters(), projects::list),
        Route::api(POST, "/api/v4/projects", signed_in(), projects::create),
        Route::api(GET, "/api/v4/projects/{id}", anyone().or_scope(WORKFLOWS).after_parameters(), projects::show),
        Route::api(GET, "/api/v4/groups", anyone().or_scope(WORKFLOWS).after_parameters(), groups::list),
        Route::api(GET, "/api/v4/groups/{id}", anyone().or_scope(WORKFLOWS).after_parameters(), groups::show),
        Route::api(GET, "/api/v4/version", signed_in().or_scope(READ_USER), metadata::show),
        Route::api(GET, "/api/v4/metadata", signed_in().or_scope(READ_USER), metadata::show),
        Route::api(
            GET,
            "/api/v4/personal_access_tokens/self",
            signed_in().any_scope().unless(personal_access_tokens::is_none),
            personal_access_tokens::show_self,
        ),
        Route::api(
            DELETE,
            "/api/v4/personal_access_tokens/self",
            signed_in().any_scope().revokes().unless(personal_access_tokens::is_none),
            personal_access_tokens::revoke_self,
        ),
        Route::api(
            POST,
            "/api/v4/personal_access_tokens/self/rotate",
            presenter().or_scope(ROTATE).unless(personal_access_tokens::shows_none),
            personal_access_tokens::rotate_self,
        ),
        Route::api(GET, "/api/v4/applications", administrator(), applications::list),
        Route::api(POST, "/api/v4/applications", administrator(), applications::create),
        Route::api(DELETE, "/api/v4/applications/{id}", administrator(), applications::delete),
        Route::api(POST, "/api/v4/applications/{id}/renew-secret", administrator(), applications::renew_secret),
        Route::page(GET, "/", Admits::SignedIn, web::home::show),
        Route::page(GET, web::PROJECTS, Admits::SignedIn, web::home::show),
        Route::page(GET, "/users/sign_in", Admits::Anyone, web::sign_in::form),
        Route::page(POST, "/users/sign_in", Admits::SigningIn, web::sign_in::submit),
        // Its CSRF token is not asked for (authentication.md 6.6), its origin is (T10).
        Route::page(POST, "/users/sign_out", Admits::WithoutToken, web::sign_out::submit),
        Route::page(GET, "/-/user_settings/password/edit", Admits::PasswordExpired, web::password::form),
        Route::page(POST, "/-/user_settings/password", Admits::PasswordExpired, web::password::submit),
        Route::page(GET, "/oauth/authorize", Admits::Authorizing, oauth::authorize::show),
        Route::page(POST, "/oauth/authorize", Admits::Consenting, oauth::authorize::submit),
        Route::page(DELETE, "/oauth/authorize", Admits::Consenting, oauth::authorize::deny),
        Route::page(GET, "/oauth/authorize/native", Admits::SignedIn, oauth::authorize::native),
        // It looks at the CSRF token itself: a form that is out of date leads back to the request it was about.
        Route::page(POST, "/oauth/authorize/reauthenticate", Admits::WithoutToken, web::reauthenticate::submit),
        Route::oauth(POST, "/oauth/token", oauth::token::issue),
        Route::oauth(POST, "/oauth/revoke", oauth::revoke::revoke),
        Route::oauth(POST, "/oauth/introspect", oauth::introspect::introspect),
        Route::oauth(GET, "/oauth/token/info", oauth::token_info::show),
        Route::oauth(GET, "/oauth/userinfo", oauth::userinfo::show),
        Route::oauth(POST, "/oauth/userinfo", oauth::userinfo::show),
        // What asks for no method is no preflight, and goes to the action itself (oauth.md section 12).
        Route::oauth(OPTIONS, "/oauth/token", oauth::token::issue),
        Route::oauth(OPTIONS, "/oauth/revoke", oauth::revoke::revoke),
        Route::oauth(OPTIONS, "/oauth/token/info", oauth::token_info::show),
        Route::oauth(OPTIONS, "/oauth/userinfo", oauth::userinfo::show),
        Route::oauth(GET, "/oauth/discovery/keys", oauth::discovery::keys),
        Route::oauth(GET, "/.well-known/openid-configuration", oauth::discovery::configuration),
        Route::oauth(GET, "/.well-known/oauth-authorization-server", oauth::discovery::configuration),
        Route::plain(GET, "/assets/{name}", web::assets::show),
        Route::plain(GET, "/-/health", probes::health),
        Route::plain(GET, "/-/liveness", probes::liveness),
        Route::plain(GET, "/-/readiness", probes::readiness),
    ]
}

pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// `None`: a page, or something that looks at no credential at all.
    pub demand: Option<Demand<'static>>,
    pub params: &'static [Param],
    /// Of an endpoint of the API.
    pub checks: Option<Checks>,
    serve: MethodRouter<App>,
}

/// What an endpoint looks at before its handler, for whoever wants to know without running it.
pub struct Checks {
    pub parse: fn(&Asked) -> Result<(), Error>,
    pub admit: Box<Admit>,
    pub unless: Option<Unless>,
}

type Admit = dyn Fn(Option<Identity>, &Shown<'_>) -> Result<(), Denial> + Send + Sync;

impl Route {
    /// An endpoint of the API. The order of the lines is that of authentication.md section 0, from stage 6 on.
    pub fn api<C, P, R, F, Fut>(method: Method, path: &'static str, need: Need<C>, handler: F) -> Self
    where
        C: Send + 'static,
        P: Params + 'static,
        R: IntoResponse,
        Fut: Future<Output = Result<R, Error>> + Send,
        F: Fn(App, C, P) -> Fut + Clone + Send + Sync + 'static,
    {
        let demand = need.demand();
        let need = Arc::new(need);
        let admits = need.clone();
        let checks = Checks {
            parse: |asked| P::parse(asked).map(drop),
            admit: Box::new(move |who, shown| admits.admit(who, shown).map(drop)),
            unless: need.rule(),
        };
        let serve = async move |State(app): State<App>, captures: RawPathParams, request: Request<Body>| {
            let app = app.asked_by(&request);
            let answered = async {
                let asked = read_authenticated(&app, P::DECLARED, pairs(&captures), request, &demand).await?;
                #[cfg(feature = "faults")]
                app.faults.endpoint(asked.parts.uri.path());
                let early = match demand.judged {
                    Judged::AfterParameters => Some(P::parse(&asked)?),
                    Judged::BeforeParameters => None,
                };
                let mut shown = Shown::in_head(&asked.parts, asked.peer);
                if let Some(body) = &asked.body {
                    shown = shown.and_in_body(body);
                }
                let who = app.judge(&shown, &demand).await?;
                let rule = need.rule().map(|rule| (rule, who.clone()));
                let caller = need.admit(who, &shown)?;
                let params = match early {
                    Some(params) => params,
                    None => P::parse(&asked)?,
                };
                if let Some((unless, who)) = rule {
                    unless(who.as_ref(), &asked)?;
                }
                Ok(handler(app.clone(), caller, params).await?.into_response())
            };
            match answered.await {
                Ok(response) => response,
                Err(error) => refused(error, |error| error.api(&app.urls)),
            }
        };
        let serve = on(filter(&method), serve);
        Self { serve, method, path, demand: Some(demand), params: P::DECLARED, checks: Some(checks) }
    }

    /// A page for people: sessions count, tokens never do (T10).
    pub fn page<P, R, F, Fut>(method: Method, path: &'static str, admits: Admits, handler: F) -> Self
    where
        P: Params + 'static,
        R: IntoResponse,
        Fut: Future<Output = Result<R, Error>> + Send,
        F: Fn(App, Visitor, P) -> Fut + Clone + Send + Sync + 'static,
    {
        let serve = async move |State(app): State<App>, captures: RawPathParams, request: Request<Body>| {
            let (app, to_browser) = (app.asked_by(&request), web::is_browser(request.headers()));
            let mut signed_in = false;
            let answered = async {
                let asked = read(&app, P::DECLARED, pairs(&captures), request).await?;
                let visitor = Visitor::arrive(&app, &asked, admits).await?;
                signed_in = visitor.identity.is_some();
                if let Some(elsewhere) = visitor.sent_elsewhere(&app, &asked, admits) {
                    return Ok(elsewhere);
                }
                let params = P::parse(&asked)?;
                Ok(handler(app.clone(), visitor, params).await?.into_response())
            };
            match answered.await {
                Ok(response) => response,
                Err(error) => refused(error, |error| web::refusal(error, &app, signed_in, to_browser)),
            }
        };
        Self { serve: on(filter(&method), serve), method, path, demand: None, params: P::DECLARED, checks: None }
    }

    /// An endpoint of the OAuth provider for programs. What it asks of its caller is part of its protocol: a client's
    /// credentials, or a token that is its very subject. Cookies are not read.
    pub fn oauth<Fut>(method: Method, path: &'static str, handler: fn(App, Call) -> Fut) -> Self
    where
        Fut: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let serve = async move |State(app): State<App>, captures: RawPathParams, request: Request<Body>| {
            let app = app.asked_by(&request);
            let answered = async {
                let asked = read(&app, &[], pairs(&captures), request).await?;
                handler(app.clone(), Call::read(&app, asked)?).await
            };
            match Box::pin(answered).await {
                Ok(response) => response,
                Err(error) => refused(error, |error| oauth::error::render(error, &app.urls)),
            }
        };
        Self { serve: on(filter(&method), serve), method, path, demand: None, params: &[], checks: None }
    }

    /// Something that looks at no credential.
    pub fn plain<R, F, Fut>(method: Method, path: &'static str, handler: F) -> Self
    where
        R: IntoResponse,
        Fut: Future<Output = R> + Send,
        F: Fn(App, String) -> Fut + Clone + Send + Sync + 'static,
    {
        let serve = async move |State(app): State<App>, captures: RawPathParams| {
            let name = captures.iter().next().map_or_else(String::new, |(_, value)| value.to_owned());
            handler(app, name).await.into_response()
        };
        Self { serve: on(filter(&method), serve), method, path, demand: None, params: &[], checks: None }
    }

    /// The path with every `{name}` filled in by a value of its kind.
    pub fn example(&self, value: impl Fn(Kind) -> String) -> String {
        let captured = self.params.iter().filter(|param| param.place == Place::Path);
        captured
            .fold(self.path.to_owned(), |path, param| path.replace(&format!("{{{}}}", param.name), &value(param.kind)))
    }

    /// Whether the last segment may hold any character, so that a suffix belongs to it (authentication.md 1.4).
    pub fn ends_freely(&self) -> bool {
        let last = self.params.iter().find(|param| self.path.ends_with(&format!("/{{{}}}", param.name)));
        last.is_some_and(|param| param.kind == Kind::Text) || self.path.starts_with("/assets/")
    }
}

/// The only caller of `Router::route`.
#[allow(clippy::disallowed_methods)]
pub fn router(table: Vec<Route>, app: App) -> Router {
    let routes = table.into_iter().fold(Router::new(), |router, route| router.route(route.path, route.serve));
    routes.fallback(no_route).method_not_allowed_fallback(no_route).with_state(app)
}

/// Where a request would go, found by the router itself with nothing behind it.
#[derive(Clone, Debug)]
pub enum Way {
    /// The place of a route in the table, and what its path captures.
    Route(usize, Vec<(String, String)>),
    /// The path is there for these methods alone.
    OtherMethods(String),
    Nowhere,
}

#[allow(clippy::disallowed_methods)] // nothing is served here
pub async fn way(table: &[Route], method: &Method, uri: &Uri) -> Way {
    let found = |place| {
        async move |captures: RawPathParams| {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(Way::Route(place, pairs(&captures)));
            response
        }
    };
    let routes = table.iter().enumerate();
    let mut router =
        routes.fold(Router::new(), |router, (i, route)| router.route(route.path, on(filter(&route.method), found(i))));
    let mut request = Request::new(Body::empty());
    (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri.clone());
    let mut response = match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let others = response.headers().get(header::ALLOW).and_then(|others| others.to_str().ok());
    let others = others.map(|others| Way::OtherMethods(others.replace(',', ", ")));
    response.extensions_mut().remove::<Way>().or(others).unwrap_or(Way::Nowhere)
}

/// A refusal with the face of what was asked, where no handler was reached.
pub fn refused_at(path: &str, error: Error, app: &App) -> Response {
    // What cannot be read is refused before anybody looks at the path.
    let unread = matches!(error, Error::Malformed | Error::BadHost | Error::NotImplemented);
    match is_protocol(path) && !unread {
        true => refused(error, |error| oauth::error::render(error, &app.urls)),
        false => refused(error, |error| error.api(&app.urls)),
    }
}

async fn no_route(State(app): State<App>, request: Request<Body>) -> Response {
    let app = app.asked_by(&request);
    let captures = Vec::new();
    let from = peer(&request);
    let limits = limits(&app, Head::Nothing);
    match Face::of(request.uri().path()) {
        Face::Api => {
            let error = nowhere(Asked::read(request, captures, from, limits).await);
            return refused(error, |error| error.api(&app.urls));
        }
        // Programs ask there, and would take the page for signing in for an answer.
        Face::Oauth | Face::Probe | Face::Gateway => {
            return refused_at(request.uri().path(), Error::NoRoute, &app);
        }
        Face::Page => {}
    }
    let answered = async {
        let asked = Asked::read(request, captures, from, limits).await?;
        let visitor = Visitor::arrive(&app, &asked, Admits::WithoutToken).await?;
        match visitor.identity {
            Some(_) => Err(Error::NoRoute),
            None => Ok(web::to_sign_in(&app)),
        }
    };
    match answered.await {
        Ok(response) => response,
        Err(error) => {
            let signed_in = error == Error::NoRoute;
            refused(error, |error| web::failure(error, &app, signed_in))
        }
    }
}

/// The refusal at an unknown path of the API. A body that cannot be read is reported first (section 0, stage 5), but not
/// one over 64 KiB: no credential was looked up that could allow it.
pub fn nowhere(read: Result<Asked, Error>) -> Error {
    read.err().filter(|error| *error != Error::BodyTooLarge).unwrap_or(Error::NoRoute)
}

/// Reads the whole request. Fails with 404 if a captured number is none.
async fn read(
    app: &App,
    declared: &[Param],
    captures: Vec<(String, String)>,
    request: Request<Body>,
) -> Result<Asked, Error> {
    fit(declared, &captures)?;
    let from = peer(&request);
    Asked::read(request, captures, from, limits(app, Head::Nothing)).await
}

/// The same at the API, where the credential in the head is looked up before the body is read (authentication.md 0,
/// stage 6a).
async fn read_authenticated(
    app: &App,
    declared: &[Param],
    captures: Vec<(String, String)>,
    request: Request<Body>,
    demand: &Demand<'_>,
) -> Result<Asked, Error> {
    fit(declared, &captures)?;
    let from = peer(&request);
    let opened = Opened::begin(request, limits(app, Head::Nothing)).await?;
    if !opened.has_body() {
        return opened.read(captures, from, limits(app, Head::Nothing)).await;
    }
    Box::pin(read_body(app, captures, from, opened, demand)).await
}

async fn read_body(
    app: &App,
    captures: Vec<(String, String)>,
    from: Option<IpAddr>,
    opened: Opened,
    demand: &Demand<'_>,
) -> Result<Asked, Error> {
    let head = app.head(&Shown::in_head(&opened.parts, from), demand).await?;
    let sent = (head == Head::Dead).then(|| opened.parts.clone());
    let read = opened.read(captures, from, limits(app, head)).await;
    match (read, sent) {
        // The reason why it may not send so much.
        (Err(Error::BodyTooLarge), Some(sent)) => {
            let judged = app.judge(&Shown::in_head(&sent, from), demand).await;
            Err(judged.err().unwrap_or(Error::BodyTooLarge))
        }
        (read, _) => read,
    }
}

/// A number that is none is no route at all, and no credential is looked at.
pub fn fit(declared: &[Param], captures: &[(String, String)]) -> Result<(), Error> {
    let number = |value: &str| value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<i64>().is_ok();
    let kind = |name: &str| declared.iter().find(|param| param.name == name).map(|param| param.kind);
    match captures.iter().all(|(name, value)| kind(name) != Some(Kind::Integer) || number(value)) {
        true => Ok(()),
        false => Err(Error::NoRoute),
    }
}

fn pairs(captures: &RawPathParams) -> Vec<(String, String)> {
    captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// How large a body may be, by the credential in its head (T14).
pub fn limits(app: &App, head: Head) -> Limits<'_> {
    let settings = &app.settings.limits;
    let most = usize::try_from(settings.body.0).unwrap_or(usize::MAX);
    let live = head == Head::Live;
    let body = if live { most } else { most.min(SMALL) };
    Limits { body, time: settings.body_time.0, budget: &app.bodies, live }
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("a method that can be routed")
}

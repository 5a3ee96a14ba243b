//! The steps between the router and a handler, and how a refusal is answered. It is not generic: all endpoints of one
//! kind run the same code.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use tollhouse_auth::authenticator::Head;
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::access_requirement::{AccessRequirement, CheckOrder};
use tollhouse_domain::identity::Identity;
use tollhouse_store::members;
use tollhouse_store::projects::Seen;

use super::access::{Caller, EndpointAccess, RequiredTarget, Target};
use super::{ApiHandler, Endpoint, PageHandler, Parsed, Serves};
use crate::app::App;
use crate::bodies::{Limits, SMALL};
use crate::error::{self, Error};
use crate::oauth::Call;
use crate::operations::{named, refused};
use crate::params::{Param, ParamType};
use crate::refusal::{Refusal, ResourceKind};
use crate::request::{ParsedRequest, UnreadRequest, peer};
use crate::web::{self, PageAccess, Visitor};

type Captures = Vec<(String, String)>;

/// The part of the path that names the target of an ability.
pub const TARGET: &str = "id";

/// Answers a request that has been routed to `endpoint`.
pub async fn run(endpoint: &Endpoint, app: App, captures: Captures, request: Request<Body>) -> Response {
    let app = app.asked_by(&request);
    match &endpoint.serves {
        Serves::Api { access, respell, handler, .. } => {
            match api(endpoint.params, access, *respell, &**handler, &app, captures, request).await {
                Ok(response) => response,
                Err(error) => error::refused(error, |error| error.api(&app.urls)),
            }
        }
        Serves::Page { admits, handler } => {
            Box::pin(page(endpoint.params, *admits, &**handler, &app, captures, request)).await
        }
        Serves::Oauth(handler) => {
            let answered = async {
                let parsed = read(&app, &[], captures, request).await?;
                handler(app.clone(), Call::read(&app, parsed)?).await
            };
            match Box::pin(answered).await {
                Ok(response) => response,
                Err(failure) => failure.refused(&app.urls),
            }
        }
        Serves::Plain(handler) => {
            let name = captures.into_iter().next().map_or_else(String::new, |(_, value)| value);
            handler(app, name).await
        }
    }
}

/// The order of the lines is that of authentication.md section 0, from stage 6 on.
async fn api(
    declared: &[Param],
    access: &EndpointAccess,
    respell: fn(Refusal) -> Error,
    handler: &dyn ApiHandler,
    app: &App,
    captures: Captures,
    request: Request<Body>,
) -> Result<Response, Error> {
    let requirement = &access.requirement;
    let parsed = read_authenticated(app, declared, captures, request, requirement).await?;
    let early = parse_first(access, handler, &parsed)?;
    let presented = presented(&parsed);
    #[cfg(feature = "faults")]
    let presented = access.flipped_session(presented);
    let who = app.authenticate(&presented, requirement).await?;
    let (caller, params) = admit(access, handler, early, who, &presented, &parsed)?;
    let caller = match access.target {
        Some(target) => match Box::pin(on_target(app, access, target, caller, &parsed)).await {
            Ok(caller) => caller,
            Err(error) => {
                // It may have been moved by an earlier try of the same request (revocation.md W4).
                if matches!(error, Error::NotFound(_)) && !parsed.parts.method.is_safe() {
                    Box::pin(app.settled()).await;
                }
                return Err(respelled(respell)(error));
            }
        },
        None => caller,
    };
    #[cfg(feature = "faults")]
    app.faults.endpoint(parsed.parts.uri.path());
    handler.call(app.clone(), caller, params).await.map_err(respelled(respell))
}

/// The words of the endpoint for what was refused.
fn respelled(respell: fn(Refusal) -> Error) -> impl Fn(Error) -> Error {
    move |error| match error {
        Error::Refused(refusal) => respell(refusal),
        error => error,
    }
}

/// The group or project that the path names, if the caller sees it and has the ability.
async fn on_target(
    app: &App,
    access: &EndpointAccess,
    required: RequiredTarget,
    caller: Caller,
    parsed: &ParsedRequest,
) -> Result<Caller, Error> {
    let Caller::Identity(identity) = caller else { return Err(Error::Internal) };
    let named = parsed.capture(TARGET).ok_or(Error::Internal)?;
    let now = app.now();
    let mut reader = app.db.read().await?;
    let (target, level) = match required.kind {
        TargetKind::Group => {
            let found = named::group(&mut reader, named, identity.viewer(), now).await?;
            let group = found.ok_or(Error::NotFound(ResourceKind::Group))?;
            let level = members::level_in_group(&mut reader, group.id, identity.user.id, now).await?;
            (Target::Group(group), level)
        }
        TargetKind::Project => {
            let found = named::visible_project(&mut reader, named, identity.viewer(), now).await?;
            let Seen { project, membership } = found.ok_or(Error::NotFound(ResourceKind::Project))?;
            (Target::Project(project.id), membership.highest())
        }
    };
    match required.ability {
        Some(ability) if !access.is_met(ability, required.kind, level, identity.user.administrator) => {
            Err(refused(ability, required.kind).into())
        }
        _ => Ok(Caller::OnTarget(Box::new((identity, target)))),
    }
}

/// The parameters, where they are read before the credentials.
fn parse_first(
    access: &EndpointAccess,
    handler: &dyn ApiHandler,
    parsed: &ParsedRequest,
) -> Result<Option<Parsed>, Error> {
    match access.requirement.check_order {
        CheckOrder::AfterParameters => handler.parse(parsed).map(Some),
        CheckOrder::BeforeParameters => Ok(None),
    }
}

/// The steps once the caller is known: the access requirement, the parameters, the rule of the endpoint itself.
fn admit(
    access: &EndpointAccess,
    handler: &dyn ApiHandler,
    early: Option<Parsed>,
    who: Option<Identity>,
    presented: &PresentedCredentials<'_>,
    parsed: &ParsedRequest,
) -> Result<(Caller, Parsed), Error> {
    let rule = access.condition.map(|condition| (condition, who.clone()));
    let caller = access.admit(who, presented)?;
    let params = match early {
        Some(params) => params,
        None => handler.parse(parsed)?,
    };
    if let Some((condition, who)) = rule {
        condition(who.as_ref(), parsed)?;
    }
    Ok((caller, params))
}

impl Endpoint {
    /// `api` up to the authenticator, without running anything: a refusal of parameters that are read first.
    pub fn check_first(&self, parsed: &ParsedRequest) -> Result<(), Error> {
        match &self.serves {
            Serves::Api { access, handler, .. } => parse_first(access, &**handler, parsed).map(drop),
            Serves::Page { .. } | Serves::Oauth(_) | Serves::Plain(_) => Ok(()),
        }
    }

    /// `api` from the authenticator up to the handler, without running anything.
    pub async fn check(
        &self,
        app: &App,
        who: Option<Identity>,
        presented: &PresentedCredentials<'_>,
        parsed: &ParsedRequest,
    ) -> Result<(), Error> {
        match &self.serves {
            Serves::Api { access, respell, handler, .. } => {
                let (caller, _) = admit(access, &**handler, None, who, presented, parsed)?;
                match access.target {
                    Some(target) => {
                        let found = Box::pin(on_target(app, access, target, caller, parsed)).await;
                        found.map(drop).map_err(respelled(*respell))
                    }
                    None => Ok(()),
                }
            }
            Serves::Page { .. } | Serves::Oauth(_) | Serves::Plain(_) => Ok(()),
        }
    }
}

async fn page(
    declared: &[Param],
    admits: PageAccess,
    handler: &dyn PageHandler,
    app: &App,
    captures: Captures,
    request: Request<Body>,
) -> Response {
    let to_browser = web::is_browser(request.headers());
    let mut signed_in = false;
    let answered = async {
        let parsed = read(app, declared, captures, request).await?;
        let visitor = Visitor::arrive(app, &parsed, admits).await?;
        signed_in = visitor.identity.is_some();
        if let Some(elsewhere) = visitor.sent_elsewhere(app, &parsed, admits) {
            return Ok(elsewhere);
        }
        handler.call(app.clone(), visitor, handler.parse(&parsed)?).await
    };
    match answered.await {
        Ok(response) => response,
        Err(error) => error::refused(error, |error| web::refusal(error, app, signed_in, to_browser)),
    }
}

/// Every credential that a request presents.
pub fn presented(parsed: &ParsedRequest) -> PresentedCredentials<'_> {
    let presented = PresentedCredentials::in_head(&parsed.parts, parsed.peer);
    match &parsed.body {
        Some(body) => presented.and_in_body(body),
        None => presented,
    }
}

/// Reads the whole request. Fails with 404 if a captured number is none.
async fn read(
    app: &App,
    declared: &[Param],
    captures: Captures,
    request: Request<Body>,
) -> Result<ParsedRequest, Error> {
    fit(declared, &captures)?;
    let from = peer(&request);
    ParsedRequest::read(request, captures, from, limits(app, Head::Nothing)).await
}

/// The same at the API, where the credential in the head is looked up before the body is read (authentication.md 0,
/// stage 6a).
async fn read_authenticated(
    app: &App,
    declared: &[Param],
    captures: Captures,
    request: Request<Body>,
    requirement: &AccessRequirement<'_>,
) -> Result<ParsedRequest, Error> {
    fit(declared, &captures)?;
    let from = peer(&request);
    let opened = UnreadRequest::begin(request, limits(app, Head::Nothing)).await?;
    if !opened.has_body() {
        return opened.read(captures, from, limits(app, Head::Nothing)).await;
    }
    Box::pin(read_body(app, captures, from, opened, requirement)).await
}

async fn read_body(
    app: &App,
    captures: Captures,
    from: Option<IpAddr>,
    opened: UnreadRequest,
    requirement: &AccessRequirement<'_>,
) -> Result<ParsedRequest, Error> {
    let head = app.head(&PresentedCredentials::in_head(&opened.parts, from), requirement).await?;
    let sent = (head == Head::Dead).then(|| opened.parts.clone());
    let read = opened.read(captures, from, limits(app, head)).await;
    match (read, sent) {
        // An invalid credential is why so little may be sent, so that is the refusal.
        (Err(Error::BodyTooLarge), Some(sent)) => {
            let judged = app.authenticate(&PresentedCredentials::in_head(&sent, from), requirement).await;
            Err(judged.err().unwrap_or(Error::BodyTooLarge))
        }
        (read, _) => read,
    }
}

/// Where the path takes a number, anything else is 404, before any credential is looked at.
pub fn fit(declared: &[Param], captures: &[(String, String)]) -> Result<(), Error> {
    let number = |value: &str| value.bytes().all(|b| b.is_ascii_digit()) && value.parse::<i64>().is_ok();
    let kind = |name: &str| declared.iter().find(|param| param.name == name).map(|param| param.kind);
    match captures.iter().all(|(name, value)| kind(name) != Some(ParamType::Integer) || number(value)) {
        true => Ok(()),
        false => Err(Error::NoRoute),
    }
}

/// How large a body may be, by the credential in its head (T14).
pub fn limits(app: &App, head: Head) -> Limits<'_> {
    let settings = &app.settings.limits;
    let most = usize::try_from(settings.body.0).unwrap_or(usize::MAX);
    let live = head == Head::Live;
    let body = if live { most } else { most.min(SMALL) };
    Limits { body, time: settings.body_time.0, budget: &app.bodies, live }
}

//! What would happen to a request, and why, without doing it (T34). The judgement is the real one: the guards of the
//! HTTP service, the router, the reading of the body and the authenticator, over a look-up that only looks.

use std::sync::Arc;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Request, header};
use axum::response::Response;
use http_body_util::BodyExt;
use tollhouse_auth::authenticator::Head;
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::identity::Identity;

use crate::app::App;
use crate::cors;
use crate::endpoint::access::EndpointAccess;
use crate::endpoint::pipeline::presented;
use crate::endpoint::{Endpoint, pipeline};
use crate::error::Error;
use crate::http_service::{Guards, unreadable, unsettled};
use crate::request::{ParsedRequest, UnreadRequest};
use crate::routes::{self, RouteMatch, route_match, surface_of, table};
use crate::serve::MOST_HEADERS;
use crate::surface::Surface;
use crate::target::{self, Target};

mod advice;
mod report;
mod seen;
mod witness;

pub use report::{Answer, Explanation, Verdict, Who};
pub use seen::Seen;

use advice::Advice;
use seen::Trial;
use witness::Witness;

/// `Err`: the database does not answer.
pub async fn explain(app: &App, mut request: Request<Body>) -> Result<Explanation, Error> {
    let sent = head(&request);
    let endpoints = table();
    let mut told = Explanation::new(&sent, surface_of(sent.uri.path()));
    match target::settle(&mut request) {
        Ok(Target::Path) => {}
        Ok(Target::Server) => {
            told.untried(&sent, "not checked");
            return Ok(
                told.without_judgement("It asks about the server as a whole: 204, whatever credentials are sent.")
            );
        }
        Err(error) => {
            told.untried(&sent, "not checked");
            let advice = Advice::without_judgement(&error);
            return told.refused(unsettled(&request, error, app), advice).await;
        }
    }
    let path = request.uri().path().to_owned();
    if told.surface == Surface::Gateway.as_str() {
        told.untried(&sent, "not checked");
        return Ok(told.without_judgement(
            "It is a proxy asking about another request. The credentials of that request are not explained here.",
        ));
    }
    if sent.headers.len() > MOST_HEADERS {
        told.untried(&sent, "not checked");
        return Ok(told.without_judgement("It has too many headers: 431, whatever credentials are sent."));
    }
    if cors::preflight(&request, &app.urls).is_some() && !unreadable(&request) {
        told.untried(&sent, "a CORS preflight is answered before credentials are checked");
        return Ok(told.without_judgement(
            "It is a CORS preflight. It is answered for everybody, whatever credentials are sent.",
        ));
    }
    if let Err(error) = Guards::new(&endpoints).check(app, &mut request) {
        told.untried(&sent, "not checked");
        return told.refused(routes::refused_at(&path, error.clone(), app), Advice::without_judgement(&error)).await;
    }
    if asks_for_own_name(&path) && request.headers().contains_key(header::HOST) && !app.urls.serves(request.headers()) {
        told.untried(&sent, "not checked");
        let answer = routes::refused_at(&path, Error::WrongHost, app);
        return told.refused(answer, Advice::without_judgement(&Error::WrongHost)).await;
    }
    let (place, captures) = match route_match(&endpoints, request.method(), request.uri()).await {
        RouteMatch::Endpoint(place, captures) => (place, captures),
        elsewhere => return nowhere(app, told, &sent, elsewhere, request).await,
    };
    let endpoint = &endpoints[place];
    told.route = Some(format!("{} {}", endpoint.method, endpoint.path));
    let Some(access) = endpoint.access() else {
        told.takes = advice::takes_elsewhere(endpoint).to_owned();
        told.untried(&sent, advice::elsewhere(endpoint));
        return Ok(told.without_judgement(advice::not_judged(endpoint)));
    };
    told.takes = advice::takes(&access.requirement, &sent.method, access.requirement.anonymous);
    match read(app, endpoint, &access.requirement, captures, request).await {
        Ok(Read::Whole(parsed)) => judged(app, told, endpoint, access, &parsed).await,
        Ok(Read::Head(parsed)) => {
            told.notes.push("the head decided; the body was not read".to_owned());
            by_credentials(app, told, endpoint, access, &parsed).await
        }
        Err(error) => {
            told.untried(&sent, "not checked");
            told.refused(error.api(&app.urls), Advice::without_judgement(&error)).await
        }
    }
}

/// Whether the server answers there under its own names alone (T12). A head that was pasted without its `Host` may have
/// had the right one, so that is not held against it.
fn asks_for_own_name(path: &str) -> bool {
    match surface_of(path) {
        Surface::Page => !path.starts_with("/assets/"),
        _ => matches!(path, "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server"),
    }
}

enum Read {
    Whole(ParsedRequest),
    /// What the head shows is refused before the body is read.
    Head(ParsedRequest),
}

/// As the router reads a request to the API.
async fn read(
    app: &App,
    endpoint: &Endpoint,
    requirement: &AccessRequirement<'_>,
    captures: Vec<(String, String)>,
    request: Request<Body>,
) -> Result<Read, Error> {
    pipeline::fit(endpoint.params, &captures)?;
    let opened = UnreadRequest::begin(request, pipeline::limits(app, Head::Nothing)).await?;
    if !opened.has_body() {
        return opened.read(captures, None, pipeline::limits(app, Head::Nothing)).await.map(Read::Whole);
    }
    let auth = app.authenticator_over(Arc::new(Witness::new(app.db.clone())));
    let head = auth.head(&PresentedCredentials::in_head(&opened.parts, None), requirement, app.now()).await;
    let alone = ParsedRequest::of_head(opened.parts.clone(), captures.clone());
    let Ok(head) = head else { return Ok(Read::Head(alone)) };
    match opened.read(captures, None, pipeline::limits(app, head)).await {
        Err(Error::BodyTooLarge) if head == Head::Dead => Ok(Read::Head(alone)),
        read => read.map(Read::Whole),
    }
}

/// As `endpoint/pipeline.rs` does it, once the body is read.
async fn judged(
    app: &App,
    mut told: Explanation,
    endpoint: &Endpoint,
    access: &EndpointAccess,
    parsed: &ParsedRequest,
) -> Result<Explanation, Error> {
    if let Err(error) = endpoint.check_first(parsed) {
        told.credentials = seen::untried(&presented(parsed), &parsed.parts.headers, "not checked");
        told.notes.push("this endpoint checks parameters before credentials".to_owned());
        return told.refused(error.api(&app.urls), Advice::without_judgement(&error)).await;
    }
    by_credentials(app, told, endpoint, access, parsed).await
}

async fn by_credentials(
    app: &App,
    mut told: Explanation,
    endpoint: &Endpoint,
    access: &EndpointAccess,
    parsed: &ParsedRequest,
) -> Result<Explanation, Error> {
    let requirement = &access.requirement;
    let presented = presented(parsed);
    let open = requirement.anonymous && access.condition.is_none_or(|condition| condition(None, parsed).is_ok());
    told.takes = advice::takes(requirement, &parsed.parts.method, open);
    let witness = Arc::new(Witness::new(app.db.clone()));
    let judging = app.authenticator_over(witness.clone());
    let outcome = async {
        let who = judging.authenticate(&presented, requirement, app.now()).await?;
        endpoint.check(app, who.clone(), &presented, parsed).await?;
        Ok(who)
    };
    let outcome: Result<Option<Identity>, Error> = outcome.await;
    if matches!(outcome, Err(Error::Unavailable)) {
        return Err(Error::Unavailable);
    }
    let trial = Trial::of(&presented, requirement, &parsed.parts.headers, &witness, &judging, app.now()).await?;
    told.credentials = trial.seen(&presented, requirement, &parsed.parts.headers);
    told.decided_by = trial.decided_by();
    told.notes.extend(advice::notes(&trial, requirement, &outcome));
    told.identity = trial.record().and_then(Who::of);
    match outcome {
        Ok(who) => {
            if let (Some(known), Some(who)) = (&mut told.identity, &who) {
                known.acting(who);
            }
            Ok(told.passes(who.as_ref()))
        }
        Err(error) => {
            let case = advice::Case { requirement, presented: &presented, trial: &trial, open };
            let advice = Advice::of(&error, &case);
            told.refused(error.api(&app.urls), advice).await
        }
    }
}

async fn nowhere(
    app: &App,
    mut told: Explanation,
    sent: &Parts,
    matched: RouteMatch,
    request: Request<Body>,
) -> Result<Explanation, Error> {
    told.untried(sent, "not checked");
    let path = request.uri().path().to_owned();
    if told.surface == Surface::Page.as_str() {
        return Ok(told.without_judgement(
            "There is no such page. Anonymous callers are sent to the sign-in page, signed-in users get 404.",
        ));
    }
    let mut error = Error::NoRoute;
    if told.surface == Surface::Api.as_str() {
        let limits = pipeline::limits(app, Head::Nothing);
        error = routes::nowhere(ParsedRequest::read(request, Vec::new(), None, limits).await);
    }
    let mut advice = Advice::without_judgement(&error);
    if let (RouteMatch::OtherMethods(others), Error::NoRoute) = (&matched, &error) {
        advice.remedies.insert(0, format!("at this path there is {others}"));
    }
    told.refused(routes::refused_at(&path, error, app), advice).await
}

fn head(request: &Request<Body>) -> Parts {
    let mut head = Request::new(());
    *head.method_mut() = request.method().clone();
    *head.uri_mut() = request.uri().clone();
    *head.version_mut() = request.version();
    *head.headers_mut() = request.headers().clone();
    head.into_parts().0
}

impl Explanation {
    /// The credentials of the head, none of which anybody looks at.
    fn untried(&mut self, sent: &Parts, why: &str) {
        self.credentials = seen::untried(&PresentedCredentials::in_head(sent, None), &sent.headers, why);
    }

    async fn refused(mut self, answer: Response, advice: Advice) -> Result<Self, Error> {
        self.verdict = Verdict::Refused;
        self.reason = Some(advice.reason);
        self.why = advice.why;
        self.remedies = advice.remedies;
        self.answer = Some(Answer::of(answer).await);
        Ok(self)
    }
}

impl Answer {
    async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.map(|whole| whole.to_bytes()).unwrap_or_default();
        Self::new(&parts, &bytes)
    }
}

/// Whether a refusal came from the judgement itself.
fn denial(error: &Error) -> Option<&Denial> {
    match error {
        Error::Denied(denial) => Some(denial),
        _ => None,
    }
}

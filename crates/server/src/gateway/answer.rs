//! The answer to a question. It has no body, and is 204, 401, 403 or 503; 500 is a mistake of ours.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use futures_util::FutureExt;
use tollhouse_auth::presented::{CredentialPlace, PresentedCredentials};
use tollhouse_domain::access_requirement::{AccessRequirement, JobTokens};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::{Caller, Identity, Via};
use tollhouse_domain::lookup::DeployTokenRecord;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::text::loggable;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::job_tokens;

use super::browser::{session, sign_in};
use super::identity::has_odd_name;
use super::matching::{Allow, Member, Rule, Rules};
use super::question::{DEPLOY_TOKEN, JOB_TOKEN, PRIVATE_TOKEN, Question, client, is_repeated};
use super::refusal::{Refusal, status};
use crate::app::App;
use crate::error::{CHALLENGE, Error, Reason, scope_challenge};
use crate::request::{bearer_header, malformed, repeats};
use crate::request::{has_parameter, malformed_authorization};

/// Whoever passes: `None` is an anonymous caller, where the rule admits one.
type Who = Option<(Caller, CredentialPlace)>;

/// `id`: of the request that asks, and when that was.
pub async fn answer(
    app: &App,
    headers: &HeaderMap,
    peer: Option<IpAddr>,
    id: &str,
    (now, began): (Timestamp, Instant),
) -> Response {
    let rules = app.gateway.rules();
    let mut seen = Seen::default();
    let judged = AssertUnwindSafe(judge(app, &rules, headers, peer, now, &mut seen)).catch_unwind().await;
    let response = match judged.unwrap_or(Err(Error::Internal.into())) {
        Ok((who, rule)) => allowed(app, who.as_ref(), rule),
        Err(refusal) => refused(app, &refusal, headers, &seen),
    };
    seen.log(&response, peer, id, began);
    response
}

/// The order of these lines is that of `docs/protocols/gateway.md`.
async fn judge<'r>(
    app: &App,
    rules: &'r Rules,
    headers: &'r HeaderMap,
    peer: Option<IpAddr>,
    now: Timestamp,
    seen: &mut Seen<'r>,
) -> Result<(Who, &'r Rule), Refusal> {
    let gateway = &app.gateway;
    let peer = peer.filter(|peer| gateway.knows(*peer)).ok_or(Refusal::NotAPeer)?;
    #[cfg(feature = "faults")]
    app.faults.endpoint(super::PATH);
    if gateway.names.are_in(headers) {
        return Err(Refusal::IdentityHeader);
    }
    if has_odd_name(headers) {
        return Err(Refusal::OddHeader);
    }
    let client = *seen.client.insert(client(headers, gateway.settings.dialect, &gateway.settings.peers, peer));
    let question = seen.question.insert(Question::read(headers, gateway.settings.dialect)?);
    let path = question.straight_path(gateway.longest)?;
    let preflight = question.is_preflight(headers);
    let rule = *seen.rule.insert(rules.decide(question, &path, preflight)?);
    if rule.preflight && preflight {
        return Ok((None, rule));
    }
    let query = question.query().filter(|_| rule.query_credentials);
    let requirement = rule.requirement();
    readable(headers, query, &requirement)?;
    let session = session(question, headers, &gateway.own);
    let presented = PresentedCredentials::relayed(headers, &question.method, query, session, Some(client));
    let judging = Instant::now();
    let vouched = app.auth.authorize_relayed(&presented, &requirement, now).await;
    app.metrics.judged(judging.elapsed());
    let who = match vouched {
        Err(Denial::Missing) if presented.candidates(&requirement).next().is_none() => {
            return Err(Refusal::NoCredential);
        }
        judged => judged?,
    };
    let person = match &who {
        Some((Caller::Person(who), _)) => Some(&who.user),
        Some((Caller::Application(_) | Caller::Deployment(_), _)) | None => None,
    };
    if rule.allow == Allow::Administrator && person.is_some_and(|user| !user.administrator) {
        return Err(Denial::NotAdministrator.into());
    }
    let caller = who.as_ref().map(|(caller, _)| caller);
    if let Some(member) = &rule.member {
        let of = member.of.ok_or(Refusal::Unbound)?;
        // An application for itself came this far because the rule names it (T6). It is a member of nothing, but where
        // the path leads matters to it too.
        let id = person.map_or(UserId(0), |user| user.id);
        let known = app.auth.memberships(id, of, Some(client), now).await?;
        if known.path.as_deref() != Some(&member.path) {
            return Err(Refusal::Unbound);
        }
        if person.is_some_and(|user| !user.administrator && known.level(now) < Some(member.level)) {
            return Err(Refusal::NotAMember);
        }
        match caller {
            Some(Caller::Deployment(token)) if !belongs(app, token, member, client, now).await? => {
                return Err(Refusal::NotAMember);
            }
            Some(Caller::Person(who)) => job_is_admitted(app, who, of, client).await?,
            Some(Caller::Deployment(_) | Caller::Application(_)) | None => {}
        }
    }
    Ok((who, rule))
}

/// Whether a deploy token is one of what the rule names, or of a group around it. Its scopes take the place of a level.
async fn belongs(
    app: &App,
    token: &DeployTokenRecord,
    member: &Member,
    client: IpAddr,
    now: Timestamp,
) -> Result<bool, Denial> {
    let own = app.auth.memberships(UserId(0), token.of, Some(client), now).await?;
    let Some(own) = own.path.as_deref() else { return Ok(false) };
    let inside = |path: &str| member.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    Ok(own == member.path || matches!(token.of, MembershipSource::Group(_)) && inside(own))
}

/// A job's token counts for its own project, and for others that admit it (rest-api.md 2.12). A group has no list of whom
/// it admits.
async fn job_is_admitted(app: &App, who: &Identity, of: MembershipSource, client: IpAddr) -> Result<(), Refusal> {
    let (Via::JobToken(job), MembershipSource::Project(to)) = (&who.via, of) else { return Ok(()) };
    if job.project == to {
        return Ok(());
    }
    let _permit = app.auth.permit(Some(client)).await;
    let admitted = async { job_tokens::admitted(&mut app.db.read().await?, job.project, to).await };
    match admitted.await.map_err(|_| Error::Unavailable)? {
        Some(true) => Ok(()),
        Some(false) | None => Err(Refusal::JobOutsideAllowlist),
    }
}

/// The guards of the API on what a credential stands in (authentication.md 1.3), and one more: of two headers or two
/// parameters only one is judged, and the API behind could take the other (GATE-053).
fn readable(headers: &HeaderMap, query: Option<&str>, requirement: &AccessRequirement<'_>) -> Result<(), Error> {
    let query = query.unwrap_or_default();
    let authorized = headers.contains_key(header::AUTHORIZATION);
    let twice = is_repeated(headers, &PRIVATE_TOKEN) || (authorized && is_repeated(headers, &header::AUTHORIZATION));
    let jobs = requirement.job_tokens != JobTokens::None;
    let twice = twice
        || (jobs && is_repeated(headers, &JOB_TOKEN))
        || (!requirement.deploy_tokens.is_empty() && is_repeated(headers, &DEPLOY_TOKEN));
    let counts = |name: &str| IN_QUERY.contains(&name) || (jobs && JOBS_IN_QUERY.contains(&name));
    let in_query = || repeats(query.as_bytes()).iter().any(|name| counts(name));
    if twice || (authorized && malformed_authorization(headers)) || malformed(query.as_bytes()) || in_query() {
        return Err(Error::Malformed);
    }
    if authorized && bearer_header(headers) && has_parameter(query, "access_token") {
        return Err(Error::TwoBearers);
    }
    Ok(())
}

/// What counts with `query_credentials`.
const IN_QUERY: [&str; 3] = ["access_token", "bearer_token", "private_token"];

/// What counts there too where job tokens do.
const JOBS_IN_QUERY: [&str; 2] = ["job_token", "token"];

fn allowed(app: &App, who: Option<&(Caller, CredentialPlace)>, rule: &Rule) -> Response {
    let mut response = empty(StatusCode::NO_CONTENT);
    app.gateway.names.tell(response.headers_mut(), who, &rule.label);
    response
}

fn refused(app: &App, refusal: &Refusal, headers: &HeaderMap, seen: &Seen<'_>) -> Response {
    let wire = refusal.error().map(|error| error.wire(&app.urls));
    let status = wire.as_ref().map_or(StatusCode::FORBIDDEN, |wire| status(wire.status));
    let mut response = empty(status);
    response.extensions_mut().insert(Reason(refusal.code()));
    let told = response.headers_mut();
    told.insert(app.gateway.names.reason.clone(), HeaderValue::from_static(refusal.told()));
    let (challenge, retry_after) = wire.map_or((None, None), |wire| (wire.challenge, wire.retry_after));
    let challenge = match refusal {
        Refusal::Request(Error::Denied(Denial::Scope(_))) => seen.opened_by().map(|scopes| scope_challenge(&scopes)),
        _ if status == StatusCode::UNAUTHORIZED && seen.reads_basic() => Some(BASIC_CHALLENGE.to_owned()),
        // RFC 9110 section 15.5.2: a 401 has a challenge.
        _ if status == StatusCode::UNAUTHORIZED => challenge.or_else(|| Some(CHALLENGE.to_owned())),
        _ => None,
    };
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
        told.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = retry_after {
        told.insert(header::RETRY_AFTER, seconds.into());
    }
    if let (Refusal::NoCredential, Some(question)) = (refusal, &seen.question)
        && let Some(page) = sign_in(question, headers, &app.gateway.own, &app.urls)
    {
        told.insert(app.gateway.names.sign_in.clone(), page);
    }
    response
}

/// RFC 7617. Clients that know no other scheme, as those of package registries, send a password only if they are asked.
const BASIC_CHALLENGE: &str = "Basic realm=\"Tollhouse\"";

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    // All that an answer may have, so that it grows once.
    response.headers_mut().reserve(12);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// How far a question was understood, for the log.
#[derive(Default)]
struct Seen<'r> {
    client: Option<IpAddr>,
    question: Option<Question<'r>>,
    rule: Option<&'r Rule>,
}

impl Seen<'_> {
    /// The scopes that open what was asked for.
    fn opened_by(&self) -> Option<Vec<Scope>> {
        let read = [Method::GET, Method::HEAD].contains(&self.question.as_ref()?.method);
        Some(self.rule?.requirement().opened_by(read))
    }

    /// Whether a client that knows HTTP Basic alone can pass.
    fn reads_basic(&self) -> bool {
        self.rule.is_some_and(|rule| rule.requirement().reads_basic())
    }

    fn log(&self, response: &Response, peer: Option<IpAddr>, id: &str, began: Instant) {
        let status = response.status().as_u16();
        let micros = || began.elapsed().as_micros() as u64;
        let rule = self.rule.map(|rule| rule.name.as_str());
        let method = || self.question.as_ref().map(|question| loggable(question.method.as_str()));
        // Never the query, for it may hold a credential, and no token in the path (T30).
        let path = || self.question.as_ref().map(|question| loggable(question.path()));
        let origin = || Some(&self.question.as_ref()?.origin);
        let host = || origin().map(|origin| format!("{}:{}", loggable(&origin.host), origin.port));
        let (client, peer) = (self.client.map(tracing::field::display), peer.map(tracing::field::display));
        match response.extensions().get::<Reason>() {
            Some(Reason(reason)) => tracing::info!(
                request_id = id,
                method = method(),
                host = host(),
                path = path(),
                rule,
                status,
                reason,
                client,
                peer,
                micros = micros(),
                "kept out"
            ),
            None => tracing::debug!(
                request_id = id,
                method = method(),
                host = host(),
                path = path(),
                rule,
                status,
                client,
                peer,
                micros = micros(),
                "let in"
            ),
        }
    }
}

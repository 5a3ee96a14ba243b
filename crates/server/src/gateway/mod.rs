//! Forward auth: a proxy asks whether a request to somebody else's API may pass, and tells that API who it is
//! (`docs/protocols/gateway.md`). This is where this product is trusted most, so what is not understood is refused.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::Response;
use form_urlencoded::byte_serialize;
use tokio::signal::unix::Signal;
use tollhouse_auth::shown::{Place, Session, Shown};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::identity::Caller;
use tollhouse_domain::text::printable;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;

use crate::api::pages::CREDENTIALS;
use crate::app::App;
use crate::asked::{bearer_header, malformed, root};
use crate::config::{self, Settings, Unusable};
use crate::error::{Error, Reason};
use crate::road::{has_parameter, malformed_authorization};
use crate::urls::Urls;

pub mod identity;
pub mod matching;
pub mod path;
pub mod question;
pub mod refusal;
pub mod rules;

use identity::Names;
use matching::{Allow, Rule, Rules};
use question::{Origin, Question, client};
use refusal::{Refusal, status};

/// Where a proxy asks.
pub const PATH: &str = "/-/auth";

pub struct Gateway {
    settings: config::Gateway,
    names: Names,
    /// Of `external_url`: where a session counts (T4).
    own: Origin<'static>,
    /// How long a target may be.
    longest: u64,
    rules: RwLock<Arc<Rules>>,
}

impl Gateway {
    /// With the rules that the settings name. If they cannot be used, there is no gateway: one that refuses everything
    /// would be noticed too late.
    pub async fn open(settings: &Settings, urls: &Urls, db: &Db) -> Result<Self, Unloaded> {
        let gateway = Self::closed(settings, urls);
        gateway.load(db).await?;
        Ok(gateway)
    }

    /// Without rules, so it refuses everything.
    pub fn closed(settings: &Settings, urls: &Urls) -> Self {
        Self {
            settings: settings.gateway.clone(),
            names: Names::new(&settings.gateway.prefix),
            own: Origin::of(urls),
            longest: settings.limits.target.0,
            rules: RwLock::default(),
        }
    }

    /// Reads the file of rules again. If it cannot be used, the old ones stay.
    pub async fn load(&self, db: &Db) -> Result<usize, Unloaded> {
        let Some(file) = self.file() else { return Ok(0) };
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|error| Unusable(format!("{name}: {error}")))?;
        self.replace(&text, &name, db).await
    }

    /// From now on these rules count; how many they are.
    pub async fn replace(&self, text: &str, name: &str, db: &Db) -> Result<usize, Unloaded> {
        let rules = Rules::parse(text, name)?.bind(db).await?;
        let count = rules.0.len();
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(count)
    }

    fn file(&self) -> Option<PathBuf> {
        Some(self.settings.rules.clone()).filter(|file| !file.as_os_str().is_empty())
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a rule is about this target under our own name, so that somebody may be sent there.
    pub fn leads_to(&self, target: &str) -> bool {
        let question = Question { method: Method::GET, origin: self.own.clone(), target };
        let path = question.straight_path(self.longest);
        path.is_ok_and(|path| self.rules().decide(&question, &path, false).is_ok())
    }

    /// Whether this connection is one of a proxy of ours (T3).
    fn knows(&self, peer: IpAddr) -> bool {
        self.settings.peers.iter().any(|network| network.contains(peer))
    }

    /// T4: on our own host alone. T5: not if the browser says that a page of another origin asks; and to write, it has to
    /// say that it is a page of ours.
    fn session(&self, question: &Question<'_>, headers: &HeaderMap) -> Session {
        let origin = headers.contains_key(header::ORIGIN).then(|| only(headers, "origin"));
        let own = |text: Option<&str>| text.is_some_and(|text| question.origin.is_spelt(text));
        match origin {
            _ if question.origin != self.own => Session::Foreign,
            Some(text) if !own(text) => Session::Foreign,
            Some(_) => Session::Vouched,
            None if only(headers, "sec-fetch-site") == Some("same-origin") => Session::Vouched,
            None => Session::Own,
        }
    }

    fn allowed(&self, who: Option<&(Caller, Place)>, rule: &Rule) -> Response {
        let mut response = empty(StatusCode::NO_CONTENT);
        self.names.tell(response.headers_mut(), who, &rule.label);
        response
    }

    /// Whether a person should be sent to sign in, and where that is. They come back to where they were, unless that is
    /// too long for a proxy, or holds a credential, which no link of ours does.
    fn sign_in(&self, question: &Question<'_>, headers: &HeaderMap, urls: &Urls) -> Option<HeaderValue> {
        if question.method != Method::GET || question.origin != self.own || !is_navigation(headers) {
            return None;
        }
        let back: String = byte_serialize(question.target.as_bytes()).collect();
        let sign_in = format!("{}/users/sign_in", urls.base());
        let fits = back.len() <= LONGEST_RETURN && !question.query().is_some_and(holds_credential);
        HeaderValue::try_from(if fits { format!("{sign_in}?return_to={back}") } else { sign_in }).ok()
    }
}

/// The answer to a question. It has no body, and is 204, 401, 403 or 503. `id`: of the request that asks.
pub async fn answer(app: &App, headers: &HeaderMap, peer: Option<IpAddr>, id: &str) -> Response {
    let began = Instant::now();
    let rules = app.gateway.rules();
    let mut seen = Seen::default();
    let response = match judge(app, &rules, headers, peer, &mut seen).await {
        Ok(response) => response,
        Err(refusal) => refused(app, &refusal, headers, &seen),
    };
    seen.log(&response, peer, id, began);
    response
}

/// A mistake of ours.
pub fn broken() -> Response {
    empty(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Reads the rules again at each SIGHUP (T27). If they cannot be used, the old ones stay.
pub async fn reload(app: App, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        match app.gateway.load(&app.db).await {
            Ok(rules) => tracing::info!(rules, "read the rules of the gateway again"),
            Err(error) => tracing::error!(%error, "the rules of the gateway stay as they are"),
        }
    }
}

/// The order of these lines is the order of `docs/protocols/gateway.md`.
async fn judge<'r>(
    app: &App,
    rules: &'r Rules,
    headers: &'r HeaderMap,
    peer: Option<IpAddr>,
    seen: &mut Seen<'r>,
) -> Result<Response, Refusal> {
    let gateway = &app.gateway;
    let settings = &gateway.settings;
    let peer = peer.filter(|peer| gateway.knows(*peer)).ok_or(Refusal::NotAPeer)?;
    #[cfg(feature = "faults")]
    app.faults.endpoint(PATH);
    if gateway.names.are_in(headers) {
        return Err(Refusal::IdentityHeader);
    }
    let question = seen.question.insert(Question::read(headers, settings.dialect)?);
    let path = question.straight_path(gateway.longest)?;
    let preflight = question.is_preflight(headers);
    let rule = *seen.rule.insert(rules.decide(question, &path, preflight)?);
    if rule.preflight && preflight {
        return Ok(gateway.allowed(None, rule));
    }
    let query = question.query().filter(|_| rule.query_credentials);
    readable(headers, query)?;
    let client = Some(client(headers, settings.dialect, &settings.peers, peer));
    let shown = Shown::relayed(headers, &question.method, query, gateway.session(question, headers), client);
    let now = app.now();
    let who = match app.auth.vouch(&shown, &rule.demand(), now).await {
        Err(Denial::Missing) if shown.candidates().next().is_none() => return Err(Refusal::Nobody),
        judged => judged?,
    };
    if let Some((Caller::Person(who), _)) = &who {
        if rule.allow == Allow::Administrator && !who.user.administrator {
            return Err(Denial::NotAdministrator.into());
        }
        if let Some(member) = &rule.member {
            let of = member.of.ok_or(Refusal::Unbound)?;
            let known = app.auth.memberships(who.user.id, of, client, now).await?;
            if known.path.as_deref() != Some(&member.path) {
                return Err(Refusal::Unbound);
            }
            if !who.user.administrator && known.level(now) < Some(member.level) {
                return Err(Refusal::NotAMember);
            }
        }
    }
    Ok(gateway.allowed(who.as_ref(), rule))
}

/// The guards of the API on what a credential stands in (authentication.md 1.3).
fn readable(headers: &HeaderMap, query: Option<&str>) -> Result<(), Error> {
    let query = query.unwrap_or_default();
    if malformed_authorization(headers) || malformed(query.as_bytes()) {
        return Err(Error::Malformed);
    }
    if bearer_header(headers) && has_parameter(query, "access_token") {
        return Err(Error::TwoBearers);
    }
    Ok(())
}

fn refused(app: &App, refusal: &Refusal, headers: &HeaderMap, seen: &Seen<'_>) -> Response {
    let wire = refusal.error().map(|error| error.wire(&app.urls));
    let mut response = empty(match &wire {
        Some(wire) => status(wire.status),
        None => StatusCode::FORBIDDEN,
    });
    response.extensions_mut().insert(Reason(refusal.code()));
    let told = response.headers_mut();
    if let Some(challenge) = wire.as_ref().and_then(|wire| HeaderValue::try_from(wire.challenge.as_deref()?).ok()) {
        told.insert(header::WWW_AUTHENTICATE, challenge);
    }
    if let Some(seconds) = wire.and_then(|wire| wire.retry_after) {
        told.insert(header::RETRY_AFTER, seconds.into());
    }
    if let (Refusal::Nobody, Some(question)) = (refusal, &seen.question)
        && let Some(sign_in) = app.gateway.sign_in(question, headers, &app.urls)
    {
        told.insert(app.gateway.names.sign_in.clone(), sign_in);
    }
    response
}

fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// How far a question was understood, for the log.
#[derive(Default)]
struct Seen<'r> {
    question: Option<Question<'r>>,
    rule: Option<&'r Rule>,
}

impl Seen<'_> {
    /// Never the query, for it may hold a credential (T30).
    fn log(&self, response: &Response, peer: Option<IpAddr>, id: &str, began: Instant) {
        let status = response.status().as_u16();
        let micros = began.elapsed().as_micros() as u64;
        let rule = self.rule.map(|rule| rule.name.as_str());
        let question = self.question.as_ref();
        let method = question.map(|question| question.method.as_str());
        let host = question.map(|question| printable(&question.origin.host));
        let path = question.map(|question| printable(question.path()));
        match response.extensions().get::<Reason>() {
            Some(Reason(reason)) => {
                let peer = peer.map(tracing::field::display);
                tracing::info!(request_id = id, method, host, path, rule, status, reason, peer, micros, "kept out");
            }
            None => tracing::debug!(request_id = id, method, host, path, rule, status, micros, "let in"),
        }
    }
}

/// A person looks at a page, and not a script at data.
fn is_navigation(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let html = |media: &str| media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html");
    let mode = headers.contains_key("sec-fetch-mode").then(|| only(headers, "sec-fetch-mode"));
    accepts.flat_map(|value| value.split(',')).any(html) && mode.is_none_or(|mode| mode == Some("navigate"))
}

fn holds_credential(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| CREDENTIALS.contains(&root(&name)))
}

/// The one value of a header; what comes more than once is none.
fn only<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum Unloaded {
    #[error("{0}")]
    File(#[from] Unusable),
    #[error("{0}")]
    Store(#[from] StoreError),
}

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Proxies give the head of an answer four KiB, some of them.
const LONGEST_RETURN: usize = 2048;

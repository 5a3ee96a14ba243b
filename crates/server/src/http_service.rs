//! The HTTP service around the router, which every request goes through. Here are the guards that need only head and
//! query, the spellings of a path that mean the same, request ids, and the headers that every answer has. What a request
//! is sent to is read before, in `target.rs`.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use tollhouse_domain::secret::random;
use tollhouse_domain::text::{loggable, printable};
use tower::Service;

use crate::app::App;
use crate::bodies::read_on;
use crate::config::Proxies;
use crate::cors;
use crate::endpoint::Endpoint;
use crate::error::{Account, Error, Reason, account_text};
use crate::gateway::{self, answer::answer};
use crate::proxies;
use crate::request::{
    Media, Peer, RequestId, bearer_header, has_body, has_parameter, malformed, malformed_authorization, media_type,
    parameter, reads_json,
};
use crate::routes::{refused_at, router, surface_of};
use crate::surface::Surface;
use crate::target::{self, Target, respell};

/// Answers every request of one process: guards, routes, headers, metrics and the log line of each.
pub struct HttpService {
    app: App,
    router: Router,
    guards: Guards,
    ids: Ids,
    /// The operator was told of a proxy that the settings do not name.
    told: AtomicBool,
}

impl HttpService {
    /// `table`: every endpoint there is ([`crate::routes::table`]).
    pub fn new(app: App, table: Vec<Endpoint>) -> Self {
        Self {
            guards: Guards::new(&table),
            router: router(table, app.clone()),
            app,
            ids: Ids::new(),
            told: AtomicBool::new(false),
        }
    }

    /// `peer`: who is at the other end of the connection.
    pub async fn call(&self, request: Request<Body>, peer: Option<IpAddr>) -> Response {
        let surface = surface_of(request.uri().path());
        self.tell_of_unnamed_proxy(&request, peer);
        let response = self.answer(read_on(request), peer, surface).await;
        self.app.metrics.answered(surface, &response);
        response
    }

    async fn answer(&self, mut request: Request<Body>, peer: Option<IpAddr>, surface: Surface) -> Response {
        let began = Instant::now();
        let now = self.app.now();
        let id = self.ids.next(now.0);
        match target::settle(&mut request) {
            Ok(Target::Path) => {}
            settled => {
                let mut response = match settled {
                    Err(error) => unsettled(&request, error, &self.app),
                    Ok(_) => StatusCode::NO_CONTENT.into_response(),
                };
                self.finish(&mut response, false, &id, began);
                log(&response, request.method(), request.uri().path(), self.client(&request, peer), &id, began);
                return self.garbled(response).await;
            }
        }
        // What a proxy asks is about another request: nothing below is meant for it (T3).
        if request.uri().path() == gateway::PATH {
            let mut response = Box::pin(answer(&self.app, request.headers(), peer, &id, (now, began))).await;
            set(response.headers_mut(), X_REQUEST_ID, &id);
            return self.garbled(response).await;
        }
        let client = self.client(&request, peer);
        if let Some(client) = client {
            request.extensions_mut().insert(Peer(client));
        }
        if surface == Surface::Page {
            request.extensions_mut().insert(RequestId(id.as_str().into()));
        }
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let api = path.starts_with("/api");
        let asked = request.headers().get(header::ORIGIN).map(|_| request.headers().clone());
        if let Some(mut response) = cors::preflight(&request, &self.app.urls)
            && !unreadable(&request)
        {
            self.finish(&mut response, false, &id, began);
            return self.garbled(response).await;
        }
        let mut response = match self.guards.check(&self.app, &mut request) {
            Ok(()) => AssertUnwindSafe(self.route(request))
                .catch_unwind()
                .await
                .unwrap_or_else(|_| refused_at(&path, Error::Internal, &self.app)),
            Err(error) => refused_at(&path, error, &self.app),
        };
        self.finish(&mut response, api, &id, began);
        if let Some(asked) = asked {
            cors::expose(response.headers_mut(), &path, &asked, &self.app.urls);
        }
        log(&response, &method, &path, client, &id, began);
        self.garbled(response).await
    }

    fn tell_of_unnamed_proxy(&self, request: &Request<Body>, peer: Option<IpAddr>) {
        let Proxies { trusted, header } = &self.app.settings.proxies;
        let unnamed = |peer| proxies::is_unnamed_proxy(trusted, &header.0, request.headers(), peer);
        if trusted.is_empty()
            && !self.told.load(Ordering::Relaxed)
            && peer.is_some_and(unnamed)
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let (peer, header) = (peer.map(tracing::field::display), header.0.as_str());
            tracing::warn!(peer, header, "{ALL_LOOK_ALIKE}");
        }
    }

    /// Who asks, as far as a trusted proxy says it.
    fn client(&self, request: &Request<Body>, peer: Option<IpAddr>) -> Option<IpAddr> {
        let Proxies { trusted, header } = &self.app.settings.proxies;
        peer.map(|peer| proxies::client(trusted, &header.0, request.headers(), peer))
    }

    /// Whether a test says that there is too much to do here.
    pub fn is_crowded(&self) -> bool {
        #[cfg(feature = "faults")]
        return self.app.faults.is_crowded();
        #[cfg(not(feature = "faults"))]
        false
    }

    async fn garbled(&self, response: Response) -> Response {
        #[cfg(feature = "faults")]
        let response = self.app.faults.garble(response).await;
        response
    }

    async fn route(&self, request: Request<Body>) -> Response {
        match self.router.clone().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    /// Headers of authentication.md section 9, and of T11.
    fn finish(&self, response: &mut Response, api: bool, id: &str, began: Instant) {
        // What has no body has no ETag, and is cached as little as a refusal (authentication.md 9). A 304 has what the 200 in its
        // place would have (RFC 9110 section 15.4.5).
        let status = response.status();
        let cached = status.is_success() && status != StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
        let headers = response.headers_mut();
        headers.reserve(12);
        // The wire says 404 for a verb that a path does not have, and names none that it has.
        headers.remove(header::ALLOW);
        set(headers, X_REQUEST_ID, id);
        set(headers, X_RUNTIME, &runtime(began.elapsed()));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        if self.app.urls.is_https() {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, A_YEAR);
        }
        if !api {
            return;
        }
        set(headers, X_GITLAB_META, &format!(r#"{{"correlation_id":"{id}","version":"1"}}"#));
        headers.insert(header::X_FRAME_OPTIONS, SAMEORIGIN);
        headers.insert(header::CONTENT_SECURITY_POLICY, NOTHING);
        headers.insert(header::REFERRER_POLICY, OWN_ORIGIN_ABROAD);
        headers.insert(header::VARY, VARY);
        let cache = if cached { REVALIDATE } else { NO_CACHE };
        headers.insert(header::CACHE_CONTROL, cache);
    }
}

/// What head and query alone are refused for, before anything is routed.
pub struct Guards {
    /// Routes whose last segment may hold any character, cut at `/`.
    free: Vec<Vec<&'static str>>,
}

impl Guards {
    /// Of the endpoints that are served.
    pub fn new(table: &[Endpoint]) -> Self {
        let free = table.iter().filter(|route| route.ends_freely()).map(|route| route.path.split('/').collect());
        Self { free: free.collect() }
    }

    /// Stages 1, 4, 5 and the part of 6 that concerns spelling (authentication.md section 0).
    pub fn check(&self, app: &App, request: &mut Request<Body>) -> Result<(), Error> {
        let uri = request.uri();
        let target = uri.path_and_query().map_or(0, |target| target.as_str().len());
        if target as u64 > app.settings.limits.target.0 {
            return Err(Error::TargetTooLong);
        }
        // The parser bounds what it buffers; what came in one piece may still be more.
        let fields = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        if (target + fields.sum::<usize>()) as u64 > app.settings.limits.head.0 {
            return Err(Error::HeadTooLarge);
        }
        let query = uri.query().unwrap_or_default();
        if unreadable(request) {
            return Err(Error::Malformed);
        }
        if !uri.path().starts_with("/api") {
            return Ok(());
        }
        if bearer_header(request.headers()) && has_parameter(query, "access_token") {
            return Err(Error::TwoBearers);
        }
        if let Some(format) = parameter(query, "format").filter(|format| format != "json") {
            return Err(Error::Format(printable(&format)));
        }
        if reads_json(request.method())
            && request.headers().contains_key(header::CONTENT_LENGTH)
            && has_body(request.headers())
            && let Media::Other(given) = media_type(request.headers())
        {
            return Err(Error::MediaType(printable(&given)));
        }
        let path = self.spelling(request.method(), uri.path())?;
        if let Some(path) = path {
            respell(request, &path);
        }
        Ok(())
    }

    /// The path as the table spells it: the right version, no slash at the end, no suffix.
    fn spelling(&self, method: &Method, path: &str) -> Result<Option<String>, Error> {
        let mut spelt = path;
        if let Some(rest) = path.strip_prefix("/api/v3") {
            let user = rest.strip_suffix('/').unwrap_or(rest).strip_prefix("/user");
            let user = user.is_some_and(|end| end.is_empty() || (end.starts_with('.') && !end.contains('/')));
            if rest.is_empty() || rest.starts_with('/') {
                if user && *method == Method::GET {
                    return Ok(Some("/api/v4/user".to_owned()));
                }
                return Err(Error::ApiV3);
            }
        }
        if let Some(rest) = path.strip_prefix("/api/v4")
            && !rest.is_empty()
            && !rest.starts_with('/')
        {
            return Err(Error::NoApiVersion);
        }
        if path.len() > 1 {
            spelt = spelt.strip_suffix('/').unwrap_or(spelt);
        }
        let (folder, last) = spelt.rsplit_once('/').unwrap_or(("", spelt));
        if let Some((stem, _)) = last.split_once('.')
            && !stem.is_empty()
            && !self.ends_freely(spelt)
        {
            return Ok(Some(format!("{folder}/{stem}")));
        }
        Ok((spelt.len() != path.len()).then(|| spelt.to_owned()))
    }

    fn ends_freely(&self, path: &str) -> bool {
        self.free.iter().any(|route| {
            let mut segments = path.split('/');
            let alike =
                route.iter().all(|known| segments.next().is_some_and(|s| known.starts_with('{') || *known == s));
            alike && segments.next().is_none()
        })
    }
}

/// The answer to a request whose target or `Host` cannot be taken as it is. What follows on such a connection may be
/// meant for somebody else, so it ends.
pub fn unsettled(request: &Request<Body>, error: Error, app: &App) -> Response {
    let closes = error != Error::NoRoute;
    let mut response = refused_at(request.uri().path(), error, app);
    if closes {
        response.headers_mut().insert(header::CONNECTION, CLOSE);
    }
    response
}

/// Seconds with six decimals as on the wire, rounded up to 10 ms: microseconds would tell a known name from an unknown one,
/// and what is private from what is absent (T14).
fn runtime(elapsed: Duration) -> String {
    let hundredths = elapsed.as_micros().div_ceil(10_000).max(1);
    format!("{}.{:02}0000", hundredths / 100, hundredths % 100)
}

/// Structured, with a stable reason; never the query, for it may hold a credential, and no token in the path (T30).
fn log(response: &Response, method: &Method, path: &str, peer: Option<IpAddr>, id: &str, began: Instant) {
    let status = response.status().as_u16();
    let micros = || began.elapsed().as_micros() as u64;
    match response.extensions().get::<Reason>() {
        Some(Reason(reason)) => {
            let (method, path) = (loggable(method.as_str()), loggable(path));
            let peer = peer.map(tracing::field::display);
            let micros = micros();
            match response.extensions().get::<Account>() {
                None => tracing::info!(request_id = id, method, path, status, reason, peer, micros, "refused"),
                Some(Account(account)) => {
                    let account = account_text(*account);
                    tracing::info!(request_id = id, method, path, status, reason, peer, account, micros, "refused");
                }
            }
        }
        None => {
            let (method, path) = (|| loggable(method.as_str()), || loggable(path));
            tracing::debug!(request_id = id, method = method(), path = path(), status, micros = micros(), "answered")
        }
    }
}

/// NUL or broken UTF-8 in what a head spells in ASCII.
pub fn unreadable(request: &Request<Body>) -> bool {
    let uri = request.uri();
    malformed(uri.path().as_bytes())
        || malformed(uri.query().unwrap_or_default().as_bytes())
        || malformed_authorization(request.headers())
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Request ids in the form of a ULID: 48 bits of time, then 80 that no other request of any process has.
struct Ids {
    high: u16,
    low: u64,
    count: AtomicU64,
}

impl Ids {
    fn new() -> Self {
        Self { high: u16::from_be_bytes(random()), low: u64::from_be_bytes(random()), count: AtomicU64::new(0) }
    }

    fn next(&self, millis: i64) -> String {
        const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        let low = self.low.wrapping_add(self.count.fetch_add(1, Ordering::Relaxed));
        let bits = u128::from(millis as u64 & 0xffff_ffff_ffff) << 80 | u128::from(self.high) << 64 | u128::from(low);
        (0..26).rev().map(|i| CROCKFORD[(bits >> (5 * i)) as usize & 31] as char).collect()
    }
}

/// What is said of a proxy that the settings do not name.
pub const ALL_LOOK_ALIKE: &str = "a proxy seems to be in front, and proxies.trusted names none: all clients look like one \
                                  address, and share its limits";

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_RUNTIME: HeaderName = HeaderName::from_static("x-runtime");
const X_GITLAB_META: HeaderName = HeaderName::from_static("x-gitlab-meta");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const SAMEORIGIN: HeaderValue = HeaderValue::from_static("SAMEORIGIN");
const NOTHING: HeaderValue = HeaderValue::from_static("default-src 'none'");
const OWN_ORIGIN_ABROAD: HeaderValue = HeaderValue::from_static("strict-origin-when-cross-origin");
const VARY: HeaderValue = HeaderValue::from_static("Origin, Cookie, Authorization, Private-Token");
const REVALIDATE: HeaderValue = HeaderValue::from_static("max-age=0, private, must-revalidate");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");
const A_YEAR: HeaderValue = HeaderValue::from_static("max-age=31536000");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_the_time_of_an_answer_is_told_in_steps_of_ten_milliseconds() {
        for (micros, told) in [
            (0, "0.010000"),
            (1, "0.010000"),
            (10_000, "0.010000"),
            (10_001, "0.020000"),
            (43_891, "0.050000"),
            (999_999, "1.000000"),
            (61_234_567, "61.240000"),
        ] {
            assert_eq!(runtime(Duration::from_micros(micros)), told, "{micros}");
        }
    }
}

//! Which pages of other origins a browser lets read our answers (authentication.md 9.1).

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, header};
use axum::response::Response;

use crate::urls::Urls;

/// Who may do what at a path.
#[derive(Clone, Copy)]
struct Rule {
    methods: &'static [&'static str],
    /// Request headers besides those that are always allowed; `None`: any.
    headers: Option<&'static [&'static str]>,
    /// Response headers that a page may read besides [`ALWAYS_EXPOSED`].
    exposed: &'static [&'static str],
    /// A page of our own may send its cookies along.
    own: bool,
}

/// A preflight is answered here, whatever it asks for, and goes no further.
pub fn preflight(request: &Request<Body>, urls: &Urls) -> Option<Response> {
    let headers = request.headers();
    let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let origin = headers.get(header::ORIGIN)?;
    if request.method() != Method::OPTIONS {
        return None;
    }
    let mut response = Response::new(Body::empty());
    let asked = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
    if let Some(rule) = rule(request.uri().path())
        && rule.methods.iter().any(|method| method.as_bytes() == wanted.as_bytes())
        && asked.is_none_or(|asked| rule.allows(asked))
    {
        allow(response.headers_mut(), rule, origin, headers, urls);
        if let Some(asked) = asked {
            response.headers_mut().insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
    }
    Some(response)
}

/// What any other answer says to a browser.
pub fn expose(response: &mut HeaderMap, path: &str, asked: &HeaderMap, urls: &Urls) {
    if let (Some(rule), Some(origin)) = (rule(path), asked.get(header::ORIGIN)) {
        allow(response, rule, origin, asked, urls);
    }
}

fn allow(response: &mut HeaderMap, rule: Rule, origin: &HeaderValue, asked: &HeaderMap, urls: &Urls) {
    let ours = rule.own && origin.to_str().is_ok_and(|origin| urls.is_own_origin(origin, asked));
    let allowed = if ours { origin.clone() } else { ANY };
    response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
    if ours {
        response.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, TRUE);
    }
    if let Ok(methods) = HeaderValue::try_from(rule.methods.join(", ")) {
        response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    if let Ok(exposed) = HeaderValue::try_from([rule.exposed, &ALWAYS_EXPOSED].concat().join(", ")) {
        response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
    response.insert(header::ACCESS_CONTROL_MAX_AGE, TWO_HOURS);
}

impl Rule {
    fn allows(&self, asked: &HeaderValue) -> bool {
        let Some(extra) = self.headers else { return true };
        let Ok(asked) = asked.to_str() else { return false };
        let known = |name: &str| ALWAYS.iter().chain(extra).any(|known| known.eq_ignore_ascii_case(name));
        asked.split(',').map(str::trim).filter(|name| !name.is_empty()).all(known)
    }
}

fn rule(path: &str) -> Option<Rule> {
    let rule = |methods, headers| Some(Rule { methods, headers: Some(headers), exposed: &[], own: false });
    match path {
        "/oauth/token" | "/oauth/revoke" => {
            rule(&["POST", "OPTIONS"], &["Authorization", "X-CSRF-Token", "X-Requested-With"])
        }
        "/oauth/token/info" => rule(&["GET", "HEAD", "OPTIONS"], &["Authorization"]),
        "/oauth/userinfo" => rule(&["GET", "HEAD", "POST", "OPTIONS"], &["Authorization"]),
        "/oauth/discovery/keys"
        | "/.well-known/openid-configuration"
        | "/.well-known/oauth-authorization-server"
        | "/.well-known/webfinger" => rule(&["GET", "HEAD"], &[]),
        _ if path.starts_with("/api/") => Some(Rule { methods: EVERY, headers: None, exposed: EXPOSED, own: true }),
        _ => None,
    }
}

const EVERY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
const ALWAYS: [&str; 4] = ["Accept", "Accept-Language", "Content-Language", "Content-Type"];

/// List E.
const EXPOSED: &[&str] = &[
    "Link",
    "X-Total",
    "X-Total-Pages",
    "X-Per-Page",
    "X-Page",
    "X-Next-Page",
    "X-Prev-Page",
    "X-Gitlab-Blob-Id",
    "X-Gitlab-Commit-Id",
    "X-Gitlab-Content-Sha256",
    "X-Gitlab-Encoding",
    "X-Gitlab-File-Name",
    "X-Gitlab-File-Path",
    "X-Gitlab-Last-Commit-Id",
    "X-Gitlab-Ref",
    "X-Gitlab-Size",
    "X-Request-Id",
    "ETag",
];

/// Without them a page cannot tell why it was refused, nor when to come back.
const ALWAYS_EXPOSED: [&str; 2] = ["Retry-After", "WWW-Authenticate"];

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const TWO_HOURS: HeaderValue = HeaderValue::from_static("7200");

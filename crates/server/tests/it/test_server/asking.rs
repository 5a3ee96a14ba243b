//! Requests to a test server, and their answers.

use std::net::IpAddr;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tollhouse::error::Reason;

use super::{Person, Session, TestServer};
use crate::contract;

/// A request that is being made.
pub struct Ask {
    server: TestServer,
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Vec<u8>,
    peer: IpAddr,
    version: Version,
    /// Whether the answer is held against the OpenAPI document.
    checked: bool,
}

impl Ask {
    /// From this machine, to the usual host.
    pub(super) fn new(server: TestServer, method: Method, target: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8080"));
        let peer = IpAddr::from([127, 0, 0, 1]);
        // A server that is broken on purpose answers what is not documented.
        let (checked, target) = (server.wrong.is_none() && !server.app.faults.garbles(), target.to_owned());
        Self { server, method, target, headers, body: Vec::new(), peer, version: Version::HTTP_11, checked }
    }

    /// `PRIVATE-TOKEN`.
    pub fn token(self, token: &str) -> Self {
        self.with("private-token", token)
    }

    pub fn bearer(self, token: &str) -> Self {
        self.with("authorization", &format!("Bearer {token}"))
    }

    pub fn session(self, session: &Session) -> Self {
        self.with("cookie", &format!("_gitlab_session={}", session.cookie))
    }

    pub fn from(mut self, peer: IpAddr) -> Self {
        self.peer = peer;
        self
    }

    /// A name that comes again is a second header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        self.headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"));
        self
    }

    /// In place of what it was.
    pub fn host(mut self, host: &str) -> Self {
        self.headers.insert(header::HOST, HeaderValue::from_str(host).expect("a host"));
        self
    }

    pub fn without_host(mut self) -> Self {
        self.headers.remove(header::HOST);
        self
    }

    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    pub fn json(self, body: impl ToString) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn form(self, body: &str) -> Self {
        self.body("application/x-www-form-urlencoded", body)
    }

    pub fn body(mut self, media: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        let media = HeaderValue::from_str(media).expect("a media type");
        self.headers.insert(header::CONTENT_TYPE, media);
        self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(self.body.len()));
        self
    }

    /// The test itself has broken the answer.
    pub fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    /// What would be sent.
    pub fn request(&self) -> Request<Body> {
        let mut request = Request::new(Body::from(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.target.parse().expect("a target");
        *request.version_mut() = self.version;
        *request.headers_mut() = self.headers.clone();
        request
    }

    pub async fn send(self) -> Reply {
        let request = self.request();
        let response = self.server.service.call(request, Some(self.peer)).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let reply = Reply {
            asked: format!("{} {}", self.method, self.target),
            status: parts.status,
            headers: parts.headers,
            reason: parts.extensions.get::<Reason>().map(|reason| reason.0),
            body: String::from_utf8_lossy(&bytes).into_owned(),
        };
        if self.checked
            && let Err(why) =
                contract::check(contract::document_of(&self.server.app), &self.method, &self.target, &reply)
        {
            panic!("{} is not answered as the document says: {why}: {}", reply.asked, reply.body);
        }
        reply
    }
}

impl IntoFuture for Ask {
    type Output = Reply;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Reply>>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send())
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub asked: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The code of a refusal, as the log has it.
    pub reason: Option<&'static str>,
    pub body: String,
}

impl Reply {
    /// Status and body, to the byte.
    #[track_caller]
    pub fn is(&self, status: u16, body: &str) -> &Self {
        assert_eq!((self.status.as_u16(), self.body.as_str()), (status, body), "{}", self.asked);
        self
    }

    #[track_caller]
    pub fn has(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.asked, self.body);
        self
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}: not JSON: {}", self.asked, self.body))
    }

    /// 200 with this user.
    #[track_caller]
    pub fn is_user(&self, person: &Person) -> &Self {
        self.has(200);
        assert_eq!(self.json()["username"], person.name.as_str(), "{}", self.asked);
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("a readable header"))
    }

    /// 403 with the list of scopes that would do.
    #[track_caller]
    pub fn is_insufficient_scope(&self) -> Vec<String> {
        self.has(403);
        let body = self.json();
        assert_eq!(body["error"], "insufficient_scope");
        assert_eq!(
            body["error_description"],
            "The request requires higher privileges than provided by the access token."
        );
        assert!(self.header("www-authenticate").is_none(), "no challenge");
        body["scope"].as_str().expect("a list").split(' ').map(str::to_owned).collect()
    }

    /// 403 `403 Forbidden - <reason>`.
    #[track_caller]
    pub fn is_forbidden(&self, reason: &str) -> &Self {
        let body = serde_json::json!({ "message": format!("403 Forbidden - {reason}") });
        self.is(403, &body.to_string())
    }

    /// The numbers under `id` of a list.
    #[track_caller]
    pub fn ids(&self) -> Vec<i64> {
        self.has(200);
        let body = self.json();
        body.as_array().expect("a list").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
    }

    /// The value that a `Set-Cookie` gives.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.headers.get_all(header::SET_COOKIE).iter().find_map(|value| {
            let (known, rest) = value.to_str().ok()?.split_once('=')?;
            (known == name).then(|| rest.split(';').next().unwrap_or_default().to_owned())
        })
    }

    /// The CSRF token of a page's form.
    #[track_caller]
    pub fn authenticity_token(&self) -> String {
        let (_, rest) = self.body.split_once(r#"name="authenticity_token" value=""#).expect("a form");
        rest.split('"').next().unwrap_or_default().to_owned()
    }
}

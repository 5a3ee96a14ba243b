//! `GET /openapi.json`: what this API is, as an OpenAPI document (rest-api.md 4.7).

use std::sync::{Arc, OnceLock};

use axum::http::{HeaderValue, Method, header};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::secret::Digest;

use crate::app::App;
use crate::endpoint::access::anyone;
use crate::endpoint::answer::Document;
use crate::endpoint::{Endpoint, openapi};
use crate::error::Error;
use crate::params::{Param, Params};
use crate::request::ParsedRequest;
use crate::routes::table;

pub fn endpoints() -> Vec<Endpoint> {
    let built: Arc<OnceLock<Built>> = Arc::default();
    let show = move |app: App, _: Option<Identity>, known: Known| {
        let built = built.clone();
        async move {
            let built = built.get_or_init(|| Built::new(&app));
            let body = (!known.holds(&built.etag)).then(|| built.body.clone());
            Ok(Document { body, etag: built.etag.clone() })
        }
    };
    // GitLab has no such endpoint, and so no permission for it.
    vec![Endpoint::api(Method::GET, "/api/v4/openapi.json", anyone().any_scope(), show)]
}

/// The document of one server, made when it is first asked for.
struct Built {
    body: Bytes,
    etag: HeaderValue,
}

impl Built {
    fn new(app: &App) -> Self {
        let body = openapi::document(&table(), app.urls.base(), app.settings.api.version).to_string();
        let etag = format!("\"{}\"", HEXLOWER.encode(&Digest::of(body.as_bytes()).0[..16]));
        // Hexadecimal digits between quotes are a header value.
        let etag = HeaderValue::try_from(etag).unwrap_or(HeaderValue::from_static("\"\""));
        Self { body: body.into(), etag }
    }
}

/// The documents that the caller has: `If-None-Match` (RFC 9110 section 13.1.2).
pub struct Known(Vec<HeaderValue>);

impl Known {
    fn holds(&self, etag: &HeaderValue) -> bool {
        let tags = self.0.iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
        let weak = |tag: &[u8]| tag.strip_prefix(b"W/").map_or(tag == etag.as_bytes(), |tag| tag == etag.as_bytes());
        tags.map(<[u8]>::trim_ascii).any(|tag| tag == b"*" || weak(tag))
    }
}

impl Params for Known {
    const DECLARED: &'static [Param] = &[];

    fn parse(parsed: &ParsedRequest) -> Result<Self, Error> {
        Ok(Self(parsed.parts.headers.get_all(header::IF_NONE_MATCH).iter().cloned().collect()))
    }
}

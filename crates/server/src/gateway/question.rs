//! What a proxy says it was asked, in the headers of its dialect (T1). What is missing, repeated or unreadable there is
//! never made up for by anything else: not by the other dialect, nor by the request that the proxy itself makes.

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderName, Method, header};

use super::path::Path;
use super::refusal::Refusal;
use crate::config::gateway::Dialect;
use crate::network::Network;
use crate::origin::Origin;
use crate::proxies;

/// The original request.
#[derive(Debug)]
pub struct Question<'r> {
    /// The method that the proxy was asked with.
    pub method: Method,
    /// Scheme, host and port that it was asked under.
    pub origin: Origin<'r>,
    /// Path and query as they were sent; nothing is known of them yet.
    pub target: &'r str,
}

impl<'r> Question<'r> {
    /// Fails with [`Refusal::Unclear`] if anything is missing, repeated or unreadable (T1).
    pub fn read(headers: &'r HeaderMap, dialect: Dialect) -> Result<Self, Refusal> {
        let names = dialect.names();
        let only = |name| only(headers, name).ok_or(Refusal::Unclear);
        let method = method(only(&names.method)?).ok_or(Refusal::Unclear)?;
        let https = dialect.is_https(only(&names.proto)?).ok_or(Refusal::Unclear)?;
        let origin = Origin::read(https, only(&names.host)?).ok_or(Refusal::Unclear)?;
        Ok(Self { method, origin, target: only(&names.uri)? })
    }

    /// The path as it was sent, without the query.
    pub fn path(&self) -> &'r str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    /// The query as it was sent. `None`: there is no `?`.
    pub fn query(&self) -> Option<&'r str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The path, if it can be judged. A fragment is never sent: what holds one is read in one way here and in another
    /// there, and so is what holds a space.
    pub fn straight_path(&self, longest: u64) -> Result<Path<'r>, Refusal> {
        let target = self.target;
        if target.len() as u64 > longest || target.contains('#') || !target.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Refusal::Crooked);
        }
        Path::read(self.path()).map_err(|_| Refusal::Crooked)
    }

    /// A browser asks beforehand whether a page of another origin may ask. It never shows a credential there, so what
    /// shows one is no preflight: unjudged it would reach the API with it (GATE-035).
    pub fn is_preflight(&self, headers: &HeaderMap) -> bool {
        self.method == Method::OPTIONS
            && headers.contains_key(header::ORIGIN)
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && ![header::AUTHORIZATION, PRIVATE_TOKEN, JOB_TOKEN, DEPLOY_TOKEN, header::COOKIE]
                .iter()
                .any(|name| headers.contains_key(name))
    }
}

/// Who asked the proxy: the last address that is not a proxy of ours, if one is said and can be read, else the proxy
/// itself. It bounds guesses (T14) and decides nothing.
pub fn client(headers: &HeaderMap, dialect: Dialect, proxies: &[Network], peer: IpAddr) -> IpAddr {
    proxies::client(proxies, &dialect.names().client, headers, peer)
}

/// Capitals and `-`, as every method that is registered. `get` is none: some would take it for `GET`. CONNECT asks for a
/// tunnel and no path. Where it opens a WebSocket (HTTP/2, HTTP/3), some proxies send it on as GET, so that another
/// method than was judged would reach the API.
pub fn method(text: &str) -> Option<Method> {
    let plain = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if plain { Method::from_bytes(text.as_bytes()).ok().filter(|method| *method != Method::CONNECT) } else { None }
}

/// The one value of a header; what comes more than once, or is no text, is none.
pub fn only<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<&'r str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Whether something comes twice of which one is meant: the API behind may take another one than was judged.
pub fn is_repeated(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get_all(name).iter().nth(1).is_some()
}

/// The header `PRIVATE-TOKEN`.
pub const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");
pub const JOB_TOKEN: HeaderName = HeaderName::from_static("job-token");
pub const DEPLOY_TOKEN: HeaderName = HeaderName::from_static("deploy-token");

struct Names {
    method: HeaderName,
    proto: HeaderName,
    host: HeaderName,
    uri: HeaderName,
    client: HeaderName,
}

impl Dialect {
    /// `original` is written into the settings of a proxy, so it can be exact. In `forwarded` some proxies name the
    /// scheme of a WebSocket, which is http all the same (RFC 6455 section 4.1), and not all in lower case (GATE-012).
    fn is_https(self, scheme: &str) -> Option<bool> {
        let named = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(scheme));
        match (self, scheme) {
            (Self::Original, "https") => Some(true),
            (Self::Original, "http") => Some(false),
            (Self::Forwarded, _) if named(&["https", "wss"]) => Some(true),
            (Self::Forwarded, _) if named(&["http", "ws"]) => Some(false),
            _ => None,
        }
    }

    fn names(self) -> &'static Names {
        match self {
            Self::Original => &ORIGINAL,
            Self::Forwarded => &FORWARDED,
        }
    }
}

static ORIGINAL: Names = Names {
    method: HeaderName::from_static("x-original-method"),
    proto: HeaderName::from_static("x-original-proto"),
    host: HeaderName::from_static("x-original-host"),
    uri: HeaderName::from_static("x-original-uri"),
    client: HeaderName::from_static("x-original-for"),
};

static FORWARDED: Names = Names {
    method: HeaderName::from_static("x-forwarded-method"),
    proto: HeaderName::from_static("x-forwarded-proto"),
    host: HeaderName::from_static("x-forwarded-host"),
    uri: HeaderName::from_static("x-forwarded-uri"),
    client: HeaderName::from_static("x-forwarded-for"),
};

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).expect("a value"));
        }
        headers
    }

    #[test]
    fn t1_a_question_stands_in_four_headers_of_one_dialect() {
        let whole = |dialect: &str| {
            let name = |end: &str| format!("x-{dialect}-{end}");
            [("method", "POST"), ("proto", "https"), ("host", "API.test:8443"), ("uri", "/a?b?c")]
                .map(|(end, value)| (name(end), value.to_owned()))
        };
        for (spoken, other, dialect) in
            [("original", "forwarded", Dialect::Original), ("forwarded", "original", Dialect::Forwarded)]
        {
            let said = whole(spoken);
            let pairs: Vec<(&str, &str)> = said.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let all = headers(&pairs);
            let question = Question::read(&all, dialect).expect("whole");
            assert_eq!((question.method.as_str(), question.path(), question.query()), ("POST", "/a", Some("b?c")));
            assert_eq!(question.origin, Origin { https: true, host: "api.test".into(), port: 8443 });
            for i in 0..4 {
                let without: Vec<_> = pairs.iter().enumerate().filter(|(at, _)| *at != i).map(|(_, p)| *p).collect();
                assert_eq!(Question::read(&headers(&without), dialect).err(), Some(Refusal::Unclear));
                let twice: Vec<_> = pairs.iter().chain([&pairs[i]]).copied().collect();
                assert_eq!(Question::read(&headers(&twice), dialect).err(), Some(Refusal::Unclear));
            }
            let foreign = whole(other);
            let foreign: Vec<(&str, &str)> = foreign.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(Question::read(&headers(&foreign), dialect).err(), Some(Refusal::Unclear));
        }
    }

    #[test]
    fn t1_a_scheme_is_one_of_those_that_its_dialect_has() {
        for (scheme, original, forwarded) in [
            ("http", Some(false), Some(false)),
            ("https", Some(true), Some(true)),
            ("ws", None, Some(false)),
            ("wss", None, Some(true)),
            ("WSS", None, Some(true)),
            ("Http", None, Some(false)),
            ("HTTPS", None, Some(true)),
            ("", None, None),
            ("wsss", None, None),
            ("https,http", None, None),
            (" https", None, None),
            ("h2", None, None),
            ("file", None, None),
        ] {
            assert_eq!(Dialect::Original.is_https(scheme), original, "{scheme}");
            assert_eq!(Dialect::Forwarded.is_https(scheme), forwarded, "{scheme}");
        }
    }

    #[test]
    fn t1_what_cannot_be_read_is_not_guessed() {
        for good in ["GET", "M-SEARCH", "PROPFIND"] {
            assert_eq!(method(good).expect(good).as_str(), good);
        }
        for bad in ["", "get", "Get", "GET ", "GET, POST", "G\u{c9}T", "GET1", "CONNECT", &"A".repeat(33)] {
            assert_eq!(method(bad), None, "{bad}");
        }
    }

    #[test]
    fn t14_who_asked_is_the_last_that_is_no_proxy_of_ours() {
        let proxies: Vec<Network> = ["10.0.0.0/8", "::1"].iter().map(|text| text.parse().expect("a network")).collect();
        let peer: IpAddr = "10.0.0.1".parse().expect("an address");
        for (said, who) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            (&["6.6.6.6", "192.0.2.1, 10.9.9.9,::1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db8::1]:4711, 10.0.0.2"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["10.0.0.7, 10.0.0.8"], "10.0.0.1"),
            (&["192.0.2.1, unknown"], "10.0.0.1"),
            (&["192.0.2.1, "], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            let pairs: Vec<(&str, &str)> = said.iter().map(|value| ("x-original-for", *value)).collect();
            let known = client(&headers(&pairs), Dialect::Original, &proxies, peer);
            assert_eq!(known.to_string(), who, "{said:?}");
        }
        let other =
            headers(&[("x-forwarded-for", "192.0.2.1"), ("x-real-ip", "192.0.2.1"), ("forwarded", "for=192.0.2.1")]);
        assert_eq!(client(&other, Dialect::Original, &proxies, peer), peer);
        assert_eq!(client(&other, Dialect::Forwarded, &proxies, peer).to_string(), "192.0.2.1");
    }
}

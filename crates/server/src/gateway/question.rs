//! What a proxy says it was asked, in the headers of its dialect (T1). What is missing, repeated or unreadable there is
//! never made up for by anything else: not by the other dialect, nor by the request that the proxy itself makes.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use super::path::Path;
use super::refusal::Refusal;
use crate::network::Network;
use crate::urls::Urls;

/// The original request.
#[derive(Debug)]
pub struct Question<'r> {
    pub method: Method,
    pub origin: Origin<'r>,
    /// Path and query as they were sent; nothing is known of them yet.
    pub target: &'r str,
}

/// Scheme, host and port, in the one spelling that they are compared in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'r> {
    pub https: bool,
    pub host: Cow<'r, str>,
    pub port: u16,
}

/// Which headers say what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    Original,
    Forwarded,
}

impl<'r> Question<'r> {
    pub fn read(headers: &'r HeaderMap, dialect: Dialect) -> Result<Self, Refusal> {
        let names = dialect.names();
        let method = method(only(headers, &names.method)?).ok_or(Refusal::Unclear)?;
        let https = match only(headers, &names.proto)? {
            "https" => true,
            "http" => false,
            _ => return Err(Refusal::Unclear),
        };
        let origin = Origin::read(https, only(headers, &names.host)?).ok_or(Refusal::Unclear)?;
        Ok(Self { method, origin, target: only(headers, &names.uri)? })
    }

    pub fn path(&self) -> &'r str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

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

    /// A browser asks beforehand whether a page of another origin may ask.
    pub fn is_preflight(&self, headers: &HeaderMap) -> bool {
        self.method == Method::OPTIONS
            && headers.contains_key("origin")
            && headers.contains_key("access-control-request-method")
    }
}

/// Who asked the proxy: the last address that is not a proxy of ours, if one is said and can be read, else the proxy
/// itself. It bounds guesses (T14) and decides nothing.
pub fn client(headers: &HeaderMap, dialect: Dialect, proxies: &[Network], peer: IpAddr) -> IpAddr {
    let said: Vec<&HeaderValue> = headers.get_all(dialect.names().client).iter().collect();
    let values = said.iter().rev().flat_map(|value| value.to_str().unwrap_or_default().rsplit(','));
    let addresses = values.map(|text| address(text.trim()));
    let mut others = addresses.skip_while(|known| known.is_some_and(|ip| proxies.iter().any(|net| net.contains(ip))));
    others.next().flatten().unwrap_or(peer).to_canonical()
}

impl<'r> Origin<'r> {
    /// `authority`: a host, perhaps with a port.
    pub fn read(https: bool, authority: &'r str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, Some(port(digits)?)),
            _ => (authority, None),
        };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host: host_name(host)?, port })
    }

    /// Our own, as `external_url` says it.
    pub fn of(urls: &Urls) -> Origin<'static> {
        let (host, port) = urls.host_and_port();
        Origin { https: urls.is_https(), host: Cow::Owned(host.to_owned()), port }
    }

    /// Whether this is what a browser calls it.
    pub fn is_spelt(&self, text: &str) -> bool {
        let scheme = if self.https { "https://" } else { "http://" };
        let Some(authority) = text.strip_prefix(scheme) else { return false };
        Origin::read(self.https, authority).is_some_and(|known| known == *self)
    }
}

/// A host in lower case, IPv6 in brackets and in its shortest form.
pub fn host_name(text: &str) -> Option<Cow<'_, str>> {
    if let Some(v6) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let v6: Ipv6Addr = v6.parse().ok()?;
        return Some(format!("[{v6}]").into());
    }
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > 255 || !text.bytes().all(known) {
        return None;
    }
    let upper = text.bytes().any(|b| b.is_ascii_uppercase());
    Some(if upper { text.to_ascii_lowercase().into() } else { text.into() })
}

/// Digits alone, and none too many.
pub fn port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

/// Capitals and `-`, as every method that is registered. `get` is none: some would take it for `GET`.
pub fn method(text: &str) -> Option<Method> {
    let plain = text.len() <= 32 && text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-');
    if plain { Method::from_bytes(text.as_bytes()).ok() } else { None }
}

/// Once, and nothing but text.
fn only<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Result<&'r str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(text)), None) => Ok(text),
        _ => Err(Refusal::Unclear),
    }
}

/// An address as proxies write it, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|known| known.ip()))
}

struct Names {
    method: HeaderName,
    proto: HeaderName,
    host: HeaderName,
    uri: HeaderName,
    client: HeaderName,
}

impl Dialect {
    fn names(self) -> Names {
        let name = HeaderName::from_static;
        match self {
            Self::Original => Names {
                method: name("x-original-method"),
                proto: name("x-original-proto"),
                host: name("x-original-host"),
                uri: name("x-original-uri"),
                client: name("x-original-for"),
            },
            Self::Forwarded => Names {
                method: name("x-forwarded-method"),
                proto: name("x-forwarded-proto"),
                host: name("x-forwarded-host"),
                uri: name("x-forwarded-uri"),
                client: name("x-forwarded-for"),
            },
        }
    }
}

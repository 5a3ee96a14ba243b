//! A request, read once: its head, what the path captured, and the parameters of query and body.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, header};
use bytes::Bytes;
use data_encoding::BASE64_NOPAD;
use serde_json::{Map, Value};

use tollhouse_domain::text::printable;
use zeroize::Zeroizing;

use crate::bodies::{Limits, Reserved, collect, first};
use crate::error::Error;

mod object;

use object::Body as Json;

/// A request with its body read, and every parameter in it.
pub struct ParsedRequest {
    /// Method, URI and headers.
    pub parts: Parts,
    /// What stands in the path, decoded, in order.
    pub captures: Vec<(String, String)>,
    /// The fields of the body. `None`: there was none that is read.
    pub body: Option<Map<String, Value>>,
    /// Who is really at the other end.
    pub peer: Option<IpAddr>,
    /// Parameters of the body that came more than once.
    pub repeated: Vec<String>,
    merged: OnceLock<Result<Map<String, Value>, Error>>,
    /// Given back with the rest of the request.
    _reserved: Option<Reserved>,
}

/// A request whose head was read, and whose body was not.
pub struct UnreadRequest {
    /// Method, URI and headers.
    pub parts: Parts,
    /// Of a body that will be read.
    media: Media,
    body: Body,
}

impl UnreadRequest {
    /// Decides whether the body will be read. Fails with 415 for a body of another type.
    pub async fn begin(request: Request<Body>, limits: Limits<'_>) -> Result<Self, Error> {
        let (parts, mut body) = request.into_parts();
        let media = if has_body(&parts.headers) { media_type(&parts.headers) } else { Media::None };
        // A JSON body of a GET is ignored, a form is not (authentication.md 1.4).
        let media = match (media, reads_json(&parts.method)) {
            (Media::Json | Media::Other(_), false) => Media::None,
            // Chunks do not say beforehand whether there is anything in them.
            (Media::Other(given), true) => match Box::pin(first(&mut body, limits.time)).await? {
                Some(_) => return Err(Error::MediaType(printable(&given))),
                None => Media::None,
            },
            (media, _) => media,
        };
        Ok(Self { parts, media, body })
    }

    /// Whether there is a body that will be read.
    pub fn has_body(&self) -> bool {
        self.media != Media::None
    }

    /// Reads the body, which takes memory of the budget until the parsed request is dropped. Fails with 400, 408, 413
    /// or 503.
    pub async fn read(
        self,
        captures: Vec<(String, String)>,
        peer: Option<IpAddr>,
        limits: Limits<'_>,
    ) -> Result<ParsedRequest, Error> {
        let Self { parts, media, body } = self;
        let mut parsed = ParsedRequest { peer, ..ParsedRequest::of_head(parts, captures) };
        if media == Media::None {
            return Ok(parsed);
        }
        let in_form = matches!(media, Media::Form | Media::Multipart);
        let (bytes, reserved) = Box::pin(collect(body, peer, limits)).await?;
        if media == Media::Form {
            parsed.repeated = repeats(&bytes);
        }
        let body = Box::pin(parse(media, bytes, &parsed.parts.headers, &mut parsed.repeated)).await?;
        // The other half of the guard that http_service.rs runs on the head (1.3); JSON is not seen by it.
        if in_form && bearer_header(&parsed.parts.headers) && body.contains_key("access_token") {
            return Err(Error::TwoBearers);
        }
        (parsed.body, parsed._reserved) = (Some(body), Some(reserved));
        Ok(parsed)
    }
}

impl ParsedRequest {
    /// A request as if it had no body.
    pub fn of_head(parts: Parts, captures: Vec<(String, String)>) -> Self {
        let (body, peer, repeated, merged) = (None, None, Vec::new(), OnceLock::new());
        Self { parts, captures, body, peer, repeated, merged, _reserved: None }
    }

    /// Reads head and body.
    pub async fn read(
        request: Request<Body>,
        captures: Vec<(String, String)>,
        peer: Option<IpAddr>,
        limits: Limits<'_>,
    ) -> Result<Self, Error> {
        UnreadRequest::begin(request, limits).await?.read(captures, peer, limits).await
    }

    /// Every parameter: query, then body over it, then what the path holds.
    pub fn parameters(&self) -> Result<&Map<String, Value>, Error> {
        let merged = self.merged.get_or_init(|| {
            let mut all = match self.parts.uri.query() {
                Some(query) => form(query.as_bytes())?,
                None => Map::new(),
            };
            for (name, value) in self.body.iter().flatten() {
                // The body wins. If one of both holds a list and the other something else, neither is used.
                let value = match all.get(name) {
                    Some(known)
                        if is_narrowing(name) && known != value && (is_structured(known) || is_structured(value)) =>
                    {
                        contradiction()
                    }
                    _ => value.clone(),
                };
                all.insert(name.clone(), value);
            }
            for (name, value) in &self.captures {
                all.insert(name.clone(), Value::String(value.clone()));
            }
            Ok(all)
        });
        merged.as_ref().map_err(Error::clone)
    }

    /// What the path has in this place, decoded.
    pub fn capture(&self, name: &str) -> Option<&str> {
        self.captures.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Who asks, as far as a trusted proxy says it (`proxies.rs`); noted on every request.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// The id of a request for a page, which an error page shows; noted on every such request.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Who asks. `None`: it was not noted, as in a test without a connection.
pub fn peer(request: &Request<Body>) -> Option<IpAddr> {
    request.extensions().get::<Peer>().map(|peer| peer.0)
}

/// Whether `Authorization` says bearer, whatever follows.
pub fn bearer_header(headers: &HeaderMap) -> bool {
    headers.get(header::AUTHORIZATION).is_some_and(|value| {
        value.as_bytes().split(|b| *b == b' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer"))
    })
}

/// What `Authorization: Basic` holds, decoded as leniently as others do (oauth.md section 4).
pub fn basic(value: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let encoded = value.get(..6).filter(|scheme| scheme.eq_ignore_ascii_case(b"basic ")).map(|_| &value[6..])?;
    let end = encoded.iter().position(|b| *b == b'=').unwrap_or(encoded.len());
    BASE64_NOPAD.decode(encoded[..end].trim_ascii()).ok().map(Zeroizing::new)
}

/// What kind of body the head announces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Media {
    /// No body, or none that is read.
    None,
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/form-data`
    Multipart,
    /// Another type, in lower case and without its parameters; empty if none was said.
    Other(String),
}

/// Whether there is, or may be, a body.
pub fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(header::TRANSFER_ENCODING)
        || headers.get(header::CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

/// The methods whose body the framework reads itself.
pub fn reads_json(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH, Method::DELETE].contains(method)
}

/// By `Content-Type` alone.
pub fn media_type(headers: &HeaderMap) -> Media {
    let text = match headers.get(header::CONTENT_TYPE) {
        Some(value) => String::from_utf8_lossy(value.as_bytes()).into_owned(),
        None => return Media::Other(String::new()),
    };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Media::Json,
        "application/x-www-form-urlencoded" => Media::Form,
        "multipart/form-data" => Media::Multipart,
        _ => Media::Other(essence),
    }
}

/// `Authorization` is no text, or holds Basic credentials that are none: 400 (authentication.md section 0).
pub fn malformed_authorization(headers: &HeaderMap) -> bool {
    headers.get_all(header::AUTHORIZATION).iter().any(|value| {
        let value = value.as_bytes();
        if value.is_ascii() && !value.contains(&0) {
            return basic(value).is_some_and(|text| text.contains(&0) || std::str::from_utf8(&text).is_err());
        }
        value.contains(&0) || std::str::from_utf8(value).is_err()
    })
}

/// Whether a query has this parameter, decoded.
pub fn has_parameter(query: &str, name: &str) -> bool {
    parameter(query, name).is_some()
}

/// The last value of this parameter in a query, decoded.
pub fn parameter(query: &str, name: &str) -> Option<String> {
    if query.is_empty() {
        return None;
    }
    form_urlencoded::parse(query.as_bytes())
        .filter(|(known, _)| known == name)
        .last()
        .map(|(_, value)| value.into_owned())
}

/// NUL or broken UTF-8 in something percent-encoded (authentication.md 0, stage 1).
pub fn malformed(encoded: &[u8]) -> bool {
    if !encoded.iter().any(|b| *b == b'%' || *b == 0 || !b.is_ascii()) {
        return false;
    }
    let decoded: Vec<u8> = percent_encoding::percent_decode(encoded).collect();
    decoded.contains(&0) || std::str::from_utf8(&decoded).is_err()
}

/// `a=1&b[]=2&c[d]=3` as an object. A name that comes again replaces what it was.
pub fn form(encoded: &[u8]) -> Result<Map<String, Value>, Error> {
    if malformed(encoded) {
        return Err(Error::Malformed);
    }
    let mut all = Map::new();
    for (count, (name, value)) in form_urlencoded::parse(encoded).enumerate() {
        if count >= MOST_PARAMETERS {
            return Err(Error::TooManyParameters);
        }
        put(&mut all, &name, value.into_owned())?;
    }
    Ok(all)
}

/// Names that come more than once, `a[]` counted as `a`.
pub fn repeats(encoded: &[u8]) -> Vec<String> {
    let parameters = form_urlencoded::parse(encoded).take(MOST_PARAMETERS);
    let mut names: Vec<String> = parameters.map(|(name, _)| root(&name).to_owned()).collect();
    names.sort_unstable();
    names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect()
}

/// Whether a parameter narrows what a request may do or is shown, or says as whom it acts. If one is given in two ways,
/// none of them is taken: the request could run with more than its sender meant (rest-api.md 1.3).
pub fn is_narrowing(name: &str) -> bool {
    NARROWING.contains(&name)
}

/// A list or a hash.
pub fn is_structured(value: &Value) -> bool {
    matches!(value, Value::Array(_) | Value::Object(_))
}

/// Sets a parameter. The last value counts, but two different values of a narrowing one become an empty object, which every
/// endpoint refuses; so do a list, a hash and a single value of one name.
fn keep(all: &mut Map<String, Value>, name: &str, value: Value) {
    match all.get_mut(name) {
        None => drop(all.insert(name.to_owned(), value)),
        Some(known) if *known == value || (!is_narrowing(name) && alike(known, &value)) => *known = value,
        Some(known) => *known = contradiction(),
    }
}

/// Stands for a parameter that is given in ways that exclude each other. No type of parameter takes it.
fn contradiction() -> Value {
    Value::Object(Map::new())
}

/// Both a list, both a hash, or both a single value.
fn alike(one: &Value, other: &Value) -> bool {
    (one.is_array(), one.is_object()) == (other.is_array(), other.is_object())
}

/// `a` of `a[]` and of `a[b]`.
pub fn root(name: &str) -> &str {
    name.split('[').next().unwrap_or(name)
}

async fn parse(
    media: Media,
    bytes: Bytes,
    headers: &HeaderMap,
    repeated: &mut Vec<String>,
) -> Result<Map<String, Value>, Error> {
    match media {
        Media::Form => form(&bytes),
        Media::Multipart => multipart(bytes, headers, repeated).await,
        Media::Json if bytes.is_empty() => Ok(Map::new()),
        Media::Json => {
            let body: Json = serde_json::from_slice(&bytes).map_err(|_| Error::BrokenJson)?;
            check_fields(&body.fields, &mut body.repeated.len())?;
            *repeated = body.repeated;
            Ok(body.fields)
        }
        Media::None | Media::Other(_) => Ok(Map::new()),
    }
}

/// NUL cannot be stored, and nobody means it.
fn check(value: &Value, count: &mut usize) -> Result<(), Error> {
    *count += 1;
    if *count > MOST_PARAMETERS {
        return Err(Error::TooManyParameters);
    }
    match value {
        Value::String(text) if text.contains('\0') => Err(Error::Malformed),
        Value::Array(values) => values.iter().try_for_each(|value| check(value, count)),
        Value::Object(fields) => check_fields(fields, count),
        _ => Ok(()),
    }
}

fn check_fields(fields: &Map<String, Value>, count: &mut usize) -> Result<(), Error> {
    fields.iter().try_for_each(
        |(name, value)| {
            if name.contains('\0') { Err(Error::Malformed) } else { check(value, count) }
        },
    )
}

async fn multipart(bytes: Bytes, headers: &HeaderMap, repeated: &mut Vec<String>) -> Result<Map<String, Value>, Error> {
    let broken = |_| Error::BadRequest(Some("The multipart body cannot be read".into()));
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(broken)?;
    let whole = http_body_util::BodyDataStream::new(http_body_util::Full::new(bytes));
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut all = Map::new();
    let mut count = 0;
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        count += 1;
        if count > MOST_PARAMETERS {
            return Err(Error::TooManyParameters);
        }
        let Some(name) = field.name().map(str::to_owned) else { continue };
        if name.contains('\0') {
            return Err(Error::Malformed);
        }
        if all.contains_key(root(&name)) {
            repeated.push(root(&name).to_owned());
        }
        if field.file_name().is_some() {
            // No endpoint takes a file, and a parameter that is sent as one must not look as if it were absent.
            all.insert(root(&name).to_owned(), contradiction());
            continue;
        }
        let value = String::from_utf8(field.bytes().await.map_err(broken)?.to_vec()).map_err(|_| Error::Malformed)?;
        if value.contains('\0') {
            return Err(Error::Malformed);
        }
        put(&mut all, &name, value)?;
    }
    Ok(all)
}

/// Sets `name` to a value, where the name may say `a[]` or `a[b][c]`.
fn put(all: &mut Map<String, Value>, name: &str, value: String) -> Result<(), Error> {
    let (root, path) = match name.split_once('[') {
        Some((root, rest)) if !root.is_empty() => (root, rest),
        _ => {
            keep(all, name, Value::String(value));
            return Ok(());
        }
    };
    let keys: Vec<&str> = path.split('[').map(|key| key.trim_end_matches(']')).collect();
    if keys.len() > DEEPEST {
        return Err(Error::TooManyParameters);
    }
    let at = all.entry(root.to_owned()).or_insert(Value::Null);
    if *at != contradiction() && !place(at, &keys, value) {
        *at = contradiction();
    }
    Ok(())
}

/// Puts a value where `keys` lead. Returns whether it fits what stands on the way.
fn place(at: &mut Value, keys: &[&str], value: String) -> bool {
    let Some((key, rest)) = keys.split_first() else {
        let free = !is_structured(at);
        if free {
            *at = Value::String(value);
        }
        return free;
    };
    if at.is_null() {
        *at = if key.is_empty() { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
    }
    match at {
        Value::Array(values) if key.is_empty() => {
            // `a[][b]=1&a[][c]=2` is one hash, until a key of it comes again.
            match values.last_mut() {
                Some(last)
                    if rest.first().is_some_and(|key| !key.is_empty()) && last.is_object() && !has(last, rest) =>
                {
                    place(last, rest, value)
                }
                _ => {
                    let mut element = Value::Null;
                    let fits = place(&mut element, rest, value);
                    values.push(element);
                    fits
                }
            }
        }
        Value::Object(fields) if !key.is_empty() => {
            place(fields.entry((*key).to_owned()).or_insert(Value::Null), rest, value)
        }
        _ => false,
    }
}

/// Whether a hash has a value there already. There is always room in a list.
fn has(at: &Value, keys: &[&str]) -> bool {
    keys.iter().try_fold(at, |at, key| at.get(*key)).is_some()
}

/// What other servers of this family allow; more is a mistake or an attack.
pub const MOST_PARAMETERS: usize = 4096;
const DEEPEST: usize = 32;

const NARROWING: [&str; 16] = [
    "sudo",
    "scope",
    "scopes",
    "expires_at",
    "visibility",
    "access_level",
    "confidential",
    "owned",
    "membership",
    "min_access_level",
    // Of a revocation in an incident: which tokens, and whether at all.
    "user",
    "application",
    "group",
    "before",
    "name_like",
    "dry_run",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_are_read_as_clients_mean_them() {
        let read = |text: &str| form(text.as_bytes()).map(Value::Object);
        assert_eq!(
            read("a=1&b[]=2&b[]=3&c[d]=4&c[e][]=5&a=6"),
            Ok(json!({"a":"6","b":["2","3"],"c":{"d":"4","e":["5"]}}))
        );
        assert_eq!(read(""), Ok(json!({})));
        assert_eq!(read("a=%zz&%5B=1&=2"), Ok(json!({"a":"%zz","[":"1","":"2"})));
        assert_eq!(
            read("sudo=1&sudo=2&sudo=3&owned=true&owned=true&scope[]=a&scope=b&scopes=a&scopes[]=b"),
            Ok(json!({"sudo":{},"owned":"true","scope":{},"scopes":{}}))
        );
        assert_eq!(read("scopes=a&scopes=b&scopes[]=c"), Ok(json!({"scopes":{}})));
        for mixed in
            ["a=1&a[]=2", "a[]=2&a=1", "a[b]=1&a=2", "a[]=1&a[0]=2&a[]=3", "a[b]=1&a[b][c]=2", "a=1&a[]=2&a[b]=3"]
        {
            assert_eq!(read(mixed), Ok(json!({"a":{}})), "{mixed}");
        }
        // As Rack reads a list of hashes.
        assert_eq!(
            read("a[][b]=1&a[][c][]=2&a[][c][]=3&a[][b]=4"),
            Ok(json!({"a":[{"b":"1","c":["2","3"]},{"b":"4"}]}))
        );
        assert_eq!(
            read("a[][b][c]=1&a[][b][d]=2&a[][b][c]=3"),
            Ok(json!({"a":[{"b":{"c":"1","d":"2"}},{"b":{"c":"3"}}]}))
        );
        assert_eq!(read("scopes[]=a&scopes[]=b"), Ok(json!({"scopes":["a","b"]})));
        assert_eq!(read("a=%00"), Err(Error::Malformed));
        assert_eq!(read("a=%ff"), Err(Error::Malformed));
        assert_eq!(read(&"a=1&".repeat(5000)), Err(Error::TooManyParameters));
        assert_eq!(read(&format!("a{}=1", "[b]".repeat(40))), Err(Error::TooManyParameters));
    }
}

//! What a browser says of a request, and what a person at one is told: whether the session cookie counts, and where to
//! sign in.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use form_urlencoded::byte_serialize;
use tollhouse_auth::presented::Session;
use tollhouse_domain::parameter::names_credential;

use super::question::{Question, only};
use crate::origin::Origin;
use crate::urls::Urls;

/// T4: a session counts on our own origin alone. T5: not if the browser says that a page of another one asks; and to
/// write, something has to say that it is a page of ours. Under `no-referrer` a page's own requests come from `null`;
/// then `Sec-Fetch-Site` says whose they are (decision 0004), and of a frame in a sandbox it says `cross-site`.
pub fn session(question: &Question<'_>, headers: &HeaderMap, own: &Origin<'_>) -> Session {
    let origin = headers.contains_key(header::ORIGIN).then(|| only(headers, &header::ORIGIN));
    match origin {
        _ if question.origin != *own => Session::Foreign,
        Some(Some(text)) if own.is_spelt(text) => Session::Vouched,
        Some(Some("null")) if only(headers, &SEC_FETCH_SITE) == Some("same-origin") => Session::Vouched,
        Some(_) => Session::Foreign,
        None if !headers.contains_key(SEC_FETCH_SITE) => Session::Own,
        None => match only(headers, &SEC_FETCH_SITE) {
            Some("same-origin") => Session::Vouched,
            // Typed, or chosen among bookmarks.
            Some("none") => Session::Own,
            // A link of another page leads here; what that page embeds does not count.
            _ if only(headers, &SEC_FETCH_MODE) == Some("navigate")
                && only(headers, &SEC_FETCH_DEST) == Some("document") =>
            {
                Session::Own
            }
            _ => Session::Foreign,
        },
    }
}

/// The page for signing in, if a person wants to see what only somebody may see. They come back to where they were,
/// unless that is too long for a proxy, or holds a credential, which no link of ours does.
pub fn sign_in(question: &Question<'_>, headers: &HeaderMap, own: &Origin<'_>, urls: &Urls) -> Option<HeaderValue> {
    if question.method != Method::GET || question.origin != *own || !is_navigation(headers) {
        return None;
    }
    let page = format!("{}/users/sign_in", urls.base());
    let back: String = byte_serialize(question.target.as_bytes()).collect();
    let fits = back.len() <= LONGEST_RETURN && !question.query().is_some_and(holds_credential);
    HeaderValue::try_from(if fits { format!("{page}?return_to={back}") } else { page }).ok()
}

/// A person looks at a page, and not a script at data.
fn is_navigation(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let html = |media: &str| media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html");
    let navigates = !headers.contains_key(SEC_FETCH_MODE) || only(headers, &SEC_FETCH_MODE) == Some("navigate");
    navigates && accepts.flat_map(|value| value.split(',')).any(html)
}

fn holds_credential(query: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(name, _)| names_credential(&name))
}

/// Some proxies give the head of an answer no more than four KiB.
const LONGEST_RETURN: usize = 2048;

const SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

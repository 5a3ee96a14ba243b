//! Where somebody was going before they had to sign in: a page of ours, or an API behind the gateway. It is kept in their browser, in cookies of its own, since the
//! form for signing in costs no row (T13). The first one says how many there are, so that what an earlier visit left
//! behind is no part of it.

use axum::http::HeaderMap;
use tollhouse_domain::parameter::without_credentials;

use crate::app::App;
use crate::web::{Html, cookie};

/// Remembers a path with its query for ten minutes, unless it is so long that the cookies would be in the way of every
/// other request.
pub fn remember(app: &App, page: Html, target: &str, headers: &HeaderMap) -> Html {
    keep(app, page, RETURN, target, headers)
}

/// Only what we would have remembered.
pub fn recall(app: &App, headers: &HeaderMap) -> Option<String> {
    kept(app, RETURN, headers)
}

/// Takes the note away.
pub fn forget(app: &App, page: Html, headers: &HeaderMap) -> Html {
    drop_kept(app, page, RETURN, headers)
}

/// Notes where somebody was led who has just signed in, so that a second tab with the same form leads there too.
pub fn note_led(app: &App, page: Html, target: Option<&str>, headers: &HeaderMap) -> Html {
    match target {
        Some(target) => keep(app, page, LED, target, headers),
        None => drop_kept(app, page, LED, headers),
    }
}

/// Where somebody was led at their last sign-in here, within ten minutes.
pub fn led(app: &App, headers: &HeaderMap) -> Option<String> {
    kept(app, LED, headers)
}

fn keep(app: &App, page: Html, name: &str, target: &str, headers: &HeaderMap) -> Html {
    let mut text = spelt(app, target).unwrap_or_default();
    if text.len() > MOST * PIECE {
        text = without_hint(&text);
    }
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
    if pieces.is_empty() || pieces.len() > MOST {
        // Nor is anything else then: they did not ask to go where they were going before.
        return drop_kept(app, page, name, headers);
    }
    let count = pieces.len();
    pieces.into_iter().enumerate().fold(page, |page, (i, piece)| {
        let piece = String::from_utf8_lossy(piece);
        let piece = if i == 0 { format!("{count}.{piece}") } else { piece.into_owned() };
        page.cookie_with(app, &format!("{name}{i}={piece}; Max-Age=600"))
    })
}

/// An `id_token_hint` can be long, and the request means nearly the same without it.
fn without_hint(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let left: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("id_token_hint=")).collect();
    format!("{path}?{}", left.join("&"))
}

fn kept(app: &App, name: &str, headers: &HeaderMap) -> Option<String> {
    let (count, first) = cookie(headers, &format!("{name}0"))?.split_once('.')?;
    let count: usize = count.parse().ok().filter(|count| (1..=MOST).contains(count))?;
    let more = (1..count).map(|i| cookie(headers, &format!("{name}{i}")));
    let target: String = std::iter::once(Some(first)).chain(more).collect::<Option<_>>()?;
    spelt(app, &target)
}

fn drop_kept(app: &App, page: Html, name: &str, headers: &HeaderMap) -> Html {
    let names = (0..MOST).map(|i| format!("{name}{i}")).filter(|name| cookie(headers, name).is_some());
    names.fold(page, |page, name| page.cookie_with(app, &format!("{name}=; Max-Age=0")))
}

/// A way back as it can be kept, if it is one of ours. It leads on without credentials: no URL of ours carries one.
pub fn spelt(app: &App, target: &str) -> Option<String> {
    let target = without_credentials(target);
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    // Of what may stand in a URL, these two would end a cookie.
    let path = path.replace(';', "%3B").replace(',', "%2C");
    // Some clients send a query as it is; it means the same with its escapes.
    let query = query.bytes().map(|b| if is_clean(b) { char::from(b).to_string() } else { format!("%{b:02X}") });
    let text = path + &query.collect::<String>();
    is_ours(app, &text).then_some(text)
}

/// Whether somebody may be sent there: to a page, or to what a rule of the gateway is about under our own name (T4).
fn is_ours(app: &App, target: &str) -> bool {
    let clean = target.bytes().all(is_clean);
    let path = target.split('?').next().unwrap_or_default();
    clean && (PAGES.contains(&path) || app.gateway.leads_to(target))
}

/// What can stand in a cookie and in `Location`.
fn is_clean(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\"\\,;".contains(&byte)
}

/// The pages that somebody who is signed in can go to.
const PAGES: [&str; 4] = ["/", super::PROJECTS, "/oauth/authorize", "/-/user_settings/password/edit"];

const RETURN: &str = "_tollhouse_return_";
const LED: &str = "_tollhouse_led_";

/// Browsers keep 4096 bytes of a cookie, its name and attributes included; proxies take 8 KiB of all cookies together.
const PIECE: usize = 3800;
const MOST: usize = 2;

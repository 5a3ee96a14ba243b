//! Where somebody was going before they had to sign in: a page of ours, or an API behind the gateway. It is kept in their browser, in cookies of its own, since the
//! form for signing in costs no row (T13). The first one says how many there are, so that what an earlier visit left
//! behind is no part of it.

use axum::http::HeaderMap;

use crate::app::App;
use crate::web::{Html, cookie};

/// Remembers a path with its query for ten minutes, unless it is so long that the cookies would be in the way of every
/// other request.
pub fn remember(app: &App, page: Html, target: &str, headers: &HeaderMap) -> Html {
    let text = spelt(app, target).unwrap_or_default();
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
    if pieces.is_empty() || pieces.len() > MOST {
        // Nor is anything else then: they did not ask to go where they were going before.
        return forget(app, page, headers);
    }
    let count = pieces.len();
    pieces.into_iter().enumerate().fold(page, |page, (i, piece)| {
        let piece = String::from_utf8_lossy(piece);
        let piece = if i == 0 { format!("{count}.{piece}") } else { piece.into_owned() };
        page.cookie_with(app, &format!("{NAME}{i}={piece}; Max-Age=600"))
    })
}

/// Only what we would have remembered.
pub fn recall(app: &App, headers: &HeaderMap) -> Option<String> {
    let (count, first) = cookie(headers, &format!("{NAME}0"))?.split_once('.')?;
    let count: usize = count.parse().ok().filter(|count| (1..=MOST).contains(count))?;
    let more = (1..count).map(|i| cookie(headers, &format!("{NAME}{i}")));
    let target: String = std::iter::once(Some(first)).chain(more).collect::<Option<_>>()?;
    is_ours(app, &target).then_some(target)
}

pub fn forget(app: &App, page: Html, headers: &HeaderMap) -> Html {
    let names = (0..MOST).map(|i| format!("{NAME}{i}")).filter(|name| cookie(headers, name).is_some());
    names.fold(page, |page, name| page.cookie_with(app, &format!("{name}=; Max-Age=0")))
}

/// A way back as it can be kept, if it is one of ours.
pub fn spelt(app: &App, target: &str) -> Option<String> {
    // Of what may stand in a URL, these two would end a cookie.
    let text = target.replace(';', "%3B").replace(',', "%2C");
    is_ours(app, &text).then_some(text)
}

/// Whether somebody may be sent there: to a page, or to what a rule of the gateway is about under our own name (T4).
fn is_ours(app: &App, target: &str) -> bool {
    let clean = target.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,;".contains(&b));
    let path = target.split('?').next().unwrap_or_default();
    clean && (PAGES.contains(&path) || app.gateway.leads_to(target))
}

/// The pages that somebody who is signed in can go to.
const PAGES: [&str; 4] = ["/", super::PROJECTS, "/oauth/authorize", "/-/user_settings/password/edit"];

const NAME: &str = "_tollhouse_return_";

/// Browsers keep 4096 bytes of a cookie, its name and attributes included; proxies take 8 KiB of all cookies together.
const PIECE: usize = 3800;
const MOST: usize = 2;

//! Where somebody was going before they had to sign in. It is kept in their browser, in cookies of its own, since the
//! form for signing in costs no row (T13). The first one says how many there are, so that what an earlier visit left
//! behind is no part of it.

use axum::http::HeaderMap;

use crate::app::App;
use crate::web::{Html, cookie};

/// Remembers a path with its query for ten minutes, unless it is so long that the cookies would be in the way of every
/// other request.
pub fn remember(app: &App, page: Html, target: &str, headers: &HeaderMap) -> Html {
    // Of what may stand in a URL, these two would end a cookie.
    let text = target.replace(';', "%3B").replace(',', "%2C");
    let pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
    if pieces.len() > MOST || !is_ours(&text) {
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

/// Only what we would have remembered: no page but the one that asks for consent.
pub fn recall(headers: &HeaderMap) -> Option<String> {
    let (count, first) = cookie(headers, &format!("{NAME}0"))?.split_once('.')?;
    let count: usize = count.parse().ok().filter(|count| (1..=MOST).contains(count))?;
    let more = (1..count).map(|i| cookie(headers, &format!("{NAME}{i}")));
    let target: String = std::iter::once(Some(first)).chain(more).collect::<Option<_>>()?;
    is_ours(&target).then_some(target)
}

pub fn forget(app: &App, page: Html, headers: &HeaderMap) -> Html {
    let names = (0..MOST).map(|i| format!("{NAME}{i}")).filter(|name| cookie(headers, name).is_some());
    names.fold(page, |page, name| page.cookie_with(app, &format!("{name}=; Max-Age=0")))
}

fn is_ours(target: &str) -> bool {
    let clean = target.bytes().all(|b| b.is_ascii_graphic() && !b"\"\\,;".contains(&b));
    clean && target.starts_with("/oauth/authorize?")
}

const NAME: &str = "_tollhouse_return_";

/// Browsers keep 4096 bytes of a cookie, its name and attributes included; proxies take 8 KiB of all cookies together.
const PIECE: usize = 3800;
const MOST: usize = 2;

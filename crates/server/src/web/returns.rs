//! Where somebody was going before they had to sign in. It is kept in their browser, in cookies of its own, since the
//! form for signing in costs no row (T13); the longest target takes a dozen of them.

use axum::http::HeaderMap;
use data_encoding::BASE64URL_NOPAD;

use crate::app::App;
use crate::web::{Html, cookie};

/// Remembers a path with its query for ten minutes.
pub fn remember(app: &App, page: Html, target: &str) -> Html {
    let text = BASE64URL_NOPAD.encode(target.as_bytes());
    let pieces = text.as_bytes().chunks(PIECE).take(MOST).enumerate();
    pieces.fold(page, |page, (i, piece)| {
        let piece = String::from_utf8_lossy(piece);
        page.cookie_with(app, &format!("{NAME}{i}={piece}; Max-Age=600"))
    })
}

/// Only what we would have remembered: no page but the one that asks for consent.
pub fn recall(headers: &HeaderMap) -> Option<String> {
    let text: String = (0..MOST).map_while(|i| cookie(headers, &format!("{NAME}{i}"))).collect();
    let target = String::from_utf8(BASE64URL_NOPAD.decode(text.as_bytes()).ok()?).ok()?;
    let clean = target.bytes().all(|b| b.is_ascii_graphic());
    (clean && target.starts_with("/oauth/authorize?")).then_some(target)
}

pub fn forget(app: &App, page: Html, headers: &HeaderMap) -> Html {
    let names = (0..MOST).map(|i| format!("{NAME}{i}")).filter(|name| cookie(headers, name).is_some());
    names.fold(page, |page, name| page.cookie_with(app, &format!("{name}=; Max-Age=0")))
}

const NAME: &str = "_tollhouse_return_";

/// Browsers keep 4096 bytes of a cookie, its name and attributes included.
const PIECE: usize = 3800;
const MOST: usize = 12;

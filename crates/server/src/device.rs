//! The cookie `_tollhouse_device`: this browser has signed in to an account before, so it has a counter of its own there
//! and gets in while strangers have locked the name (T15). It is signed, and says nothing of anybody without the key.
//!
//! An entry is `user.issued.browser.signature`, for up to four accounts; entries are separated by `~`. The signature
//! covers the digest of the password too, so an entry ends with the password.

use aws_lc_rs::hmac;
use data_encoding::BASE64URL_NOPAD;
use tollhouse_domain::id::UserId;
use tollhouse_domain::secret::random;
use tollhouse_domain::time::Timestamp;

/// The name of the cookie.
pub const NAME: &str = "_tollhouse_device";

/// Seconds.
pub const LIFETIME: i64 = 90 * 86_400;

/// What entries are signed with (HMAC-SHA256).
pub struct Key(hmac::Key);

impl Key {
    /// `secret`: the same for all servers on one database.
    pub fn of(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// One byte that only servers with this key can tell.
    pub fn byte_of(&self, text: &[u8]) -> u8 {
        hmac::sign(&self.0, &[b"tollhouse/decoy/v1\n", text].concat()).as_ref()[0]
    }
}

/// Under which name this browser is counted, if it signed in to that account while it had this password. `digest`: the
/// PHC string.
pub fn known<'c>(key: &Key, cookie: &'c str, user: UserId, digest: &str, now: Timestamp) -> Option<&'c str> {
    entries(cookie).find(|entry| entry.is_valid(key, user, digest, now)).map(|entry| entry.browser)
}

/// The cookie of a browser that signed in to this account just now. What it had of other accounts stays.
pub fn remember(key: &Key, cookie: &str, user: UserId, digest: &str, now: Timestamp) -> String {
    let (issued, browser) = (now.0 / 1000, BASE64URL_NOPAD.encode(&random::<16>()));
    let signature = BASE64URL_NOPAD.encode(hmac::sign(&key.0, &signed(user, issued, &browser, digest)).as_ref());
    let own = format!("{}.{issued}.{browser}.{signature}", user.0);
    let others = entries(cookie).filter(|entry| entry.user != user && entry.text.len() <= LONGEST).take(MOST - 1);
    others.fold(own, |cookie, entry| cookie + "~" + entry.text)
}

struct Entry<'c> {
    text: &'c str,
    user: UserId,
    issued: i64,
    browser: &'c str,
    signature: Vec<u8>,
}

fn entries(cookie: &str) -> impl Iterator<Item = Entry<'_>> {
    cookie.split('~').filter_map(Entry::read).take(MOST_READ)
}

impl<'c> Entry<'c> {
    fn read(text: &'c str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        let (user, issued, browser) = (next()?.parse().ok()?, next()?.parse().ok()?, next()?);
        let signature = BASE64URL_NOPAD.decode(next()?.as_bytes()).ok()?;
        let alone = next().is_none() && BASE64URL_NOPAD.decode(browser.as_bytes()).is_ok_and(|id| id.len() == 16);
        alone.then_some(Self { text, user: UserId(user), issued, browser, signature })
    }

    fn is_valid(&self, key: &Key, user: UserId, digest: &str, now: Timestamp) -> bool {
        let age = (now.0 / 1000).checked_sub(self.issued);
        self.user == user
            && age.is_some_and(|age| age < LIFETIME)
            && hmac::verify(&key.0, &signed(user, self.issued, self.browser, digest), &self.signature).is_ok()
    }
}

fn signed(user: UserId, issued: i64, browser: &str, digest: &str) -> Vec<u8> {
    format!("tollhouse/device/v1\n{}\n{issued}\n{browser}\n{digest}", user.0).into_bytes()
}

/// Entries that are looked at: a browser may send the cookie of another site of the same domain too.
const MOST_READ: usize = 16;
/// Bytes of one entry that is kept.
const LONGEST: usize = 128;
/// Accounts of one browser. A cookie is sent with every request, so it is kept short.
const MOST: usize = 4;

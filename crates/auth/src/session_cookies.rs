//! The session cookies of a request, and which of them counts (T9). A sibling host can give a browser a second cookie of
//! the same name, so a request may carry several: a dead one must not sign anybody out, and a live one that somebody else
//! planted must not decide whose request it is.

use std::sync::Arc;

use http::{HeaderMap, header};

use crate::credential_cache::Entry;

/// The name that GitLab and its clients use.
pub const SESSION_COOKIE: &str = "_gitlab_session";

/// More distinct values than this are not looked up; then none counts (T9, T14).
pub const MOST_COOKIES: usize = 8;

/// The distinct values of the session cookie, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub struct SessionCookies {
    /// Almost every request has one at most, which then needs no list.
    first: Option<String>,
    more: Vec<String>,
    too_many: bool,
}

/// What the session cookies of a request amount to.
#[derive(Debug)]
pub enum LiveSession<'s> {
    /// No cookie, or none of a live session.
    None,
    /// The one live session, with the value of its cookie.
    One(&'s str, Arc<Entry>),
    /// Two live sessions, or more cookies than are looked up. None of them counts.
    Several,
}

impl SessionCookies {
    /// Reads every `Cookie` header; equal values count once.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut found = Self::default();
        for header in headers.get_all(header::COOKIE) {
            let text = String::from_utf8_lossy(header.as_bytes());
            for cookie in cookie::Cookie::split_parse(text.as_ref()).flatten() {
                if cookie.name() == SESSION_COOKIE {
                    found.add(cookie.value());
                }
            }
        }
        found
    }

    fn add(&mut self, value: &str) {
        if self.iter().any(|known| known == value) {
            return;
        }
        match &self.first {
            None => self.first = Some(value.to_owned()),
            Some(_) if self.more.len() + 1 < MOST_COOKIES => self.more.push(value.to_owned()),
            Some(_) => self.too_many = true,
        }
    }

    /// The values that may be looked up, at most [`MOST_COOKIES`].
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.first.iter().chain(&self.more).map(String::as_str)
    }

    /// Whether the request carries no session cookie.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Whether there are more than are looked up.
    pub fn too_many(&self) -> bool {
        self.too_many
    }

    /// How many distinct values there are, as far as they are kept.
    pub fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len() + usize::from(self.too_many)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values, whether there are more, and how many there are.
    fn values(lines: &[&str]) -> (Vec<String>, bool, usize) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, line.parse().expect("a header"));
        }
        let cookies = SessionCookies::of(&headers);
        assert_eq!(cookies.is_empty(), cookies.count() == 0);
        (cookies.iter().map(str::to_owned).collect(), cookies.too_many(), cookies.count())
    }

    #[test]
    fn t9_equal_values_count_once_and_the_ninth_is_too_many() {
        let eleven: Vec<String> = (0..11).map(|i| format!("_gitlab_session={i}")).collect();
        for (lines, expected, too_many) in [
            (vec![], vec![], false),
            (vec!["a=1; _gitlab_session=x; b=2"], vec!["x"], false),
            (vec!["_gitlab_session=x; _gitlab_session=y"], vec!["x", "y"], false),
            (vec!["_gitlab_session=x", "_gitlab_session=y; _gitlab_session=x"], vec!["x", "y"], false),
            (vec!["_gitlab_session_geo=x; x_gitlab_session=y"], vec![], false),
            (vec!["_gitlab_session="], vec![""], false),
            (vec![&eleven[..8].join("; ")], vec!["0", "1", "2", "3", "4", "5", "6", "7"], false),
            (vec![&eleven[..9].join("; ")], vec!["0", "1", "2", "3", "4", "5", "6", "7"], true),
            (vec![&eleven.join("; ")], vec!["0", "1", "2", "3", "4", "5", "6", "7"], true),
        ] {
            let count = expected.len() + usize::from(too_many);
            assert_eq!(
                values(&lines),
                (expected.into_iter().map(str::to_owned).collect(), too_many, count),
                "{lines:?}"
            );
        }
    }
}

//! Values of flags, and what is wrong with one.

use std::time::Duration;

use serde::Deserialize;
use serde::de::IntoDeserializer;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::text::printable;
use tollhouse_domain::time::{Date, Timestamp};

use crate::config::Span;

/// `api,read_user`; spaces do as well.
pub(super) fn scopes(text: &str) -> Result<Scopes, String> {
    let words = || text.split([',', ' ']).filter(|word| !word.is_empty());
    if let Some(unknown) = words().find(|word| Scope::parse(word).is_none()) {
        let known: Vec<_> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
        return Err(format!("there is no scope {}; there are {}", printable(unknown), known.join(", ")));
    }
    let scopes: Scopes = words().filter_map(Scope::parse).collect();
    if scopes.is_empty() { Err("at least one scope, such as read_api".into()) } else { Ok(scopes) }
}

/// `2026-01-31`, in UTC.
pub(super) fn date(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "a date must be written as 2027-01-31".into())
}

/// `2026-01-31T10:20:30Z`; without an offset it is UTC.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "a time must be written as 2027-01-31T10:20:30Z, or as a date".into())
}

/// `120s`, `10m`, `12h`, `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let read: Result<Span, serde::de::value::Error> = Span::deserialize(text.into_deserializer());
    read.map(|span| span.0).map_err(|error| error.to_string())
}

/// `private`, `internal` or `public`.
pub(super) fn visibility(text: &str) -> Result<Visibility, String> {
    Visibility::parse(text).ok_or_else(|| one_of(Visibility::ALL.map(Visibility::as_str)))
}

/// The word of a level, such as `developer`.
pub(super) fn level(text: &str) -> Result<AccessLevel, String> {
    AccessLevel::parse(text).ok_or_else(|| one_of(AccessLevel::ALL.map(AccessLevel::as_str)))
}

fn one_of<const N: usize>(words: [&str; N]) -> String {
    format!("one of {}", words.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_separated_by_commas() {
        let words = |text: &str| scopes(text).map(|scopes| scopes.to_string());
        assert_eq!(words("api,read_user").as_deref(), Ok("api read_user"));
        assert_eq!(words(" api, read_user,api").as_deref(), Ok("api read_user"));
        assert!(words("").is_err() && words(",").is_err());
        assert!(words("api,nope").is_err_and(|text| text.starts_with("there is no scope nope; there are api, ")));
    }
}

//! Settings of the gateway that have rules of their own.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use tollhouse_domain::text::printable;

/// Which headers say what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// `X-Original-*`
    Original,
    /// `X-Forwarded-*`
    Forwarded,
}

/// What the names begin with, `X-Tollhouse-` unless it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// In lower case, with the `-` at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a header of this name begins with it, in any spelling that a proxy or a program may take for the same.
    pub fn begins(&self, name: &str) -> bool {
        let alike = |(known, given): (u8, u8)| known == if given.is_ascii_alphanumeric() { given } else { b'-' };
        // Names of headers are in lower case here.
        name.len() >= self.0.len() && self.0.bytes().zip(name.bytes()).all(alike)
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let given = String::deserialize(from)?;
        let prefix = Self(given.to_ascii_lowercase());
        let plain = prefix.0.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain || prefix.0.len() < 2 || prefix.0.len() > 64 || !prefix.0.ends_with('-') {
            let rule = "is not letters, digits and `-` with a `-` at the end, such as X-Tollhouse-";
            return Err(D::Error::custom(format!("\"{}\" {rule}", printable(&given))));
        }
        match NEEDED.iter().find(|name| prefix.begins(name)) {
            Some(name) => Err(D::Error::custom(format!("`{name}` begins with it, which is read from every request"))),
            None => Ok(prefix),
        }
    }
}

/// Headers that every question has, or that decide one.
const NEEDED: [&str; 10] = [
    "x-original-uri",
    "x-forwarded-uri",
    "x-csrf-token",
    "private-token",
    "sec-fetch-mode",
    "sec-fetch-site",
    "access-control-request-method",
    "user-agent",
    "accept-encoding",
    "content-length",
];

//! Which version of the API is spoken: which keys an answer has and in which order (rest-api.md 1.7).

use serde::Deserialize;

/// A version of GitLab's API, as the setting `api.version` names it. They are ordered by age.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Version {
    #[default]
    #[serde(rename = "18.11")]
    V18_11,
    #[serde(rename = "19.1")]
    V19_1,
}

impl Version {
    /// From the oldest to the newest.
    pub const ALL: [Self; 2] = [Self::V18_11, Self::V19_1];

    /// What `GET /version` says. Clients read it as a semantic version and switch features by it.
    pub const fn number(self) -> &'static str {
        match self {
            Self::V18_11 => "18.11.5",
            Self::V19_1 => "19.1.1",
        }
    }
}

/// The versions that a key belongs to. Neither bound: all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The first that has it.
    pub since: Option<Version>,
    /// The first that has it no longer.
    pub before: Option<Version>,
}

impl Versions {
    #[inline]
    pub const fn include(self, version: Version) -> bool {
        let old_enough = match self.since {
            Some(since) => version as u8 >= since as u8,
            None => true,
        };
        let young_enough = match self.before {
            Some(before) => (version as u8) < before as u8,
            None => true,
        };
        old_enough && young_enough
    }
}

//! What became untrue: the word between the store and the cache, and the kind of an entry of the invalidation
//! log (`docs/protocols/revocation.md` section 3).

use crate::id::{ApplicationId, FamilyId, UserId};
use crate::secret::Digest;

/// "Forget what you know of this", never what is true now: truth is in the tables alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// The token with this digest, known or unknown.
    Token(Digest),
    /// The session whose cookie has this digest.
    Session(Digest),
    /// The account, with all its credentials and memberships.
    Owner(UserId),
    /// Every token of this family.
    Family(FamilyId),
    /// The application itself, and every token that it was given.
    Application(ApplicationId),
    /// Which group is inside which: what users are members of by way of a group above it.
    Groups,
    /// Where groups and projects are: every membership is remembered with the path of its group or project.
    Paths,
    /// What was remembered as unknown may exist now: the digest of a secret, or of a `client_id`.
    Unknown(Digest),
    /// Everything in the cache.
    All,
    /// Nothing: an entry that there is only so that nodes can be waited for (revocation.md N3).
    Nothing,
}

impl Invalidation {
    /// `kind` and `key` of the log.
    pub fn entry(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Token(digest) => ("token", digest.0.to_vec()),
            Self::Session(digest) => ("session", digest.0.to_vec()),
            Self::Owner(id) => ("owner", id.0.to_be_bytes().to_vec()),
            Self::Family(id) => ("family", id.0.to_be_bytes().to_vec()),
            Self::Application(id) => ("application", id.0.to_be_bytes().to_vec()),
            Self::Groups => ("groups", Vec::new()),
            Self::Paths => ("paths", Vec::new()),
            Self::Unknown(digest) => ("unknown", digest.0.to_vec()),
            Self::All => ("all", Vec::new()),
            Self::Nothing => ("nothing", Vec::new()),
        }
    }

    /// From the log. What this program does not know counts as `all` (revocation.md F4).
    pub fn from_entry(kind: &str, key: &[u8]) -> Self {
        let digest = Digest::from_slice(key);
        let number = key.try_into().ok().map(i64::from_be_bytes);
        match (kind, digest, number) {
            ("token", Some(digest), _) => Self::Token(digest),
            ("session", Some(digest), _) => Self::Session(digest),
            ("unknown", Some(digest), _) => Self::Unknown(digest),
            ("owner", _, Some(id)) => Self::Owner(UserId(id)),
            ("family", _, Some(id)) => Self::Family(FamilyId(id)),
            ("application", _, Some(id)) => Self::Application(ApplicationId(id)),
            ("groups", ..) => Self::Groups,
            ("paths", ..) => Self::Paths,
            ("nothing", ..) => Self::Nothing,
            _ => Self::All,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_says_what_was_written_and_the_unknown_counts_as_all() {
        let digest = Digest([7; 32]);
        let words = [
            Invalidation::Token(digest),
            Invalidation::Session(digest),
            Invalidation::Owner(UserId(3)),
            Invalidation::Family(FamilyId(4)),
            Invalidation::Application(ApplicationId(5)),
            Invalidation::Groups,
            Invalidation::Paths,
            Invalidation::Unknown(digest),
            Invalidation::All,
            Invalidation::Nothing,
        ];
        for word in words {
            let (kind, key) = word.entry();
            assert_eq!(Invalidation::from_entry(kind, &key), word);
        }
        assert_eq!(Invalidation::from_entry("of a later version", &[0; 8]), Invalidation::All);
        assert_eq!(Invalidation::from_entry("token", &[0; 3]), Invalidation::All);
    }
}

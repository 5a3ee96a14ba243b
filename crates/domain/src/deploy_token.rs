//! Deploy tokens: what a deployment shows to read or write packages and images of one project or group (rest-api.md 2.11).

use std::fmt;

use serde::Serialize;

use crate::id::DeployTokenId;
use crate::membership::MembershipSource;
use crate::time::Timestamp;

macro_rules! deploy_scopes {
    ($($variant:ident $text:literal),+ $(,)?) => {
        /// What a deploy token may be used for. Some words are those of [`Scope`](crate::scope::Scope), but neither kind
        /// of token opens what asks for the other.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum DeployScope { $(#[doc = concat!("`", $text, "`")] $variant),+ }

        impl DeployScope {
            /// In the order of rest-api.md 2.11.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads what the wire writes. `None`: no scope of deploy tokens.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

deploy_scopes! {
    ReadRepository "read_repository",
    ReadRegistry "read_registry",
    WriteRegistry "write_registry",
    ReadPackageRegistry "read_package_registry",
    WritePackageRegistry "write_package_registry",
    ReadVirtualRegistry "read_virtual_registry",
    WriteVirtualRegistry "write_virtual_registry",
}

impl Serialize for DeployScope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The scopes of one deploy token, in the order of [`DeployScope::ALL`], each once.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct DeployScopes(Box<[DeployScope]>);

impl DeployScopes {
    /// Whether one of these is held.
    pub fn any_of(&self, scopes: &[DeployScope]) -> bool {
        self.iter().any(|scope| scopes.contains(&scope))
    }

    /// In the order of [`DeployScope::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = DeployScope> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the form the database keeps. A scope that this program does not know opens nothing, so it is left out.
    pub fn from_words(text: &str) -> Self {
        text.split_ascii_whitespace().filter_map(DeployScope::parse).collect()
    }
}

impl FromIterator<DeployScope> for DeployScopes {
    fn from_iter<I: IntoIterator<Item = DeployScope>>(scopes: I) -> Self {
        let given: Vec<DeployScope> = scopes.into_iter().collect();
        Self(DeployScope::ALL.iter().copied().filter(|scope| given.contains(scope)).collect())
    }
}

impl fmt::Display for DeployScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<&str> = self.iter().map(DeployScope::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

/// A deploy token as lists and answers show it.
#[derive(Clone, Debug)]
pub struct DeployToken {
    /// `id` on the wire.
    pub id: DeployTokenId,
    /// The project or group that it belongs to.
    pub of: MembershipSource,
    /// The name that its creator gave it.
    pub name: String,
    /// The user name that goes with it in Basic authentication; not unique.
    pub username: String,
    /// What it opens.
    pub scopes: DeployScopes,
    /// The first instant at which it is expired. `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
    /// Whether it was revoked.
    pub revoked: bool,
}

impl DeployToken {
    /// `expired` on the wire.
    pub fn expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }

    /// The user name of a token for which none was chosen.
    pub fn default_username(id: DeployTokenId) -> String {
        format!("gitlab+deploy-token-{id}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in DeployScope::ALL.iter().copied() {
            assert_eq!(DeployScope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(DeployScope::parse("api"), None);
    }

    #[test]
    fn scopes_stand_in_their_own_order_and_once() {
        let scopes = DeployScopes::from_words("write_registry nonsense read_repository write_registry");
        assert_eq!(scopes.to_string(), "read_repository write_registry");
        assert!(scopes.any_of(&[DeployScope::ReadRegistry, DeployScope::WriteRegistry]));
        assert!(!scopes.any_of(&[DeployScope::ReadRegistry]) && !scopes.any_of(&[]));
        assert!(!scopes.is_empty() && DeployScopes::default().is_empty());
    }

    #[test]
    fn a_token_is_expired_from_its_instant_on() {
        let token = |expires_at| DeployToken {
            id: DeployTokenId(7),
            of: MembershipSource::Project(ProjectId(1)),
            name: "n".to_owned(),
            username: DeployToken::default_username(DeployTokenId(7)),
            scopes: DeployScopes::default(),
            expires_at,
            revoked: false,
        };
        assert_eq!(token(None).username, "gitlab+deploy-token-7");
        for (expires_at, expired) in [(None, false), (Some(11), false), (Some(10), true), (Some(9), true)] {
            assert_eq!(token(expires_at.map(Timestamp)).expired(Timestamp(10)), expired, "{expires_at:?}");
        }
    }
}

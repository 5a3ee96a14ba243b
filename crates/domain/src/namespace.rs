//! Personal namespaces and groups: what projects stand in.

use serde::Serialize;

use crate::access::Visibility;
use crate::id::{NamespaceId, UserId};
use crate::time::Timestamp;

/// A group, or the personal namespace of a user.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Of a group: `id` on the wire.
    pub id: NamespaceId,
    /// A group, or somebody's personal namespace.
    pub kind: NamespaceKind,
    /// The group around it. `None`: a top-level group or a personal namespace.
    pub parent_id: Option<NamespaceId>,
    /// Whose personal namespace it is. `None`: a group.
    pub owner_id: Option<UserId>,
    /// The display name, without those above.
    pub name: String,
    /// Its own segment of the URL.
    pub path: String,
    /// Paths from the root down, joined by `/`; unique without regard to case.
    pub full_path: String,
    /// Names from the root down, joined by ` / `.
    pub full_name: String,
    /// Free text; empty if there is none.
    pub description: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// When it was created.
    pub created_at: Timestamp,
}

/// `kind` on the wire (rest-api.md 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceKind {
    /// The personal namespace of a user, `owner_id`.
    User,
    /// A group, perhaps inside another one, `parent_id`.
    Group,
}

impl NamespaceKind {
    /// As on the wire and in the database: `user` or `group`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
        }
    }

    /// Reads what [`NamespaceKind::as_str`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "user" => Some(Self::User),
            "group" => Some(Self::Group),
            _ => None,
        }
    }
}

/// Whether this may be one segment of a URL path: a user name, a group or a project (T26: ASCII alone).
pub fn valid_path(path: &str) -> bool {
    let bytes = path.as_bytes();
    let edge = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    !bytes.is_empty()
        && bytes.len() <= 255
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        && bytes.first().is_some_and(edge)
        && !path.ends_with(['.', '-'])
        && ![".git", ".atom"].iter().any(|end| path.to_ascii_lowercase().ends_with(end))
}

/// Words that stand first in paths of ours, so that no user or group may take them (T26).
pub fn reserved(path: &str) -> bool {
    const RESERVED: &[&str] = &[
        "-",
        "admin",
        "api",
        "assets",
        "dashboard",
        "explore",
        "favicon.ico",
        "files",
        "ghost",
        "groups",
        "health_check",
        "help",
        "import",
        "jwt",
        "login",
        "new",
        "oauth",
        "profile",
        "projects",
        "public",
        "robots.txt",
        "s",
        "search",
        "sitemap",
        "sitemap.xml",
        "system",
        "snippets",
        "tollhouse",
        "unsubscribes",
        "uploads",
        "user",
        "users",
        "v2",
    ];
    RESERVED.contains(&path.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_confuse_a_path_are_refused() {
        for good in ["ada", "a", "A.b-c_d", "_x", "9"] {
            assert!(valid_path(good), "{good}");
        }
        for bad in ["", ".a", "-a", "a.", "a-", "a/b", "a b", "\u{e9}", "a.git", "a\0", &"a".repeat(256)] {
            assert!(!valid_path(bad), "{bad}");
        }
        assert!(reserved("API") && reserved("users") && !reserved("ada"));
    }

    #[test]
    fn a_path_has_255_characters_at_most_and_names_no_repository() {
        assert!(valid_path(&"a".repeat(255)));
        for bad in ["a.GIT", "a.atom", "a.Atom"] {
            assert!(!valid_path(bad), "{bad}");
        }
        for good in ["a.gitx", "atom", "git", "a.b"] {
            assert!(valid_path(good), "{good}");
        }
    }

    #[test]
    fn a_kind_is_read_as_it_is_written() {
        for (word, kind) in [("user", NamespaceKind::User), ("group", NamespaceKind::Group)] {
            assert_eq!((kind.as_str(), NamespaceKind::parse(word)), (word, Some(kind)));
        }
        assert_eq!(NamespaceKind::parse("Group"), None);
    }
}

//! Access levels and visibility (rest-api.md 4.1).

use serde::Serialize;

pub mod ability;

/// What a member may do. The number is the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccessLevel {
    /// The lowest that makes somebody a member.
    Minimal = 5,
    /// 10 on the wire.
    Guest = 10,
    /// 15 on the wire.
    Planner = 15,
    /// 20 on the wire.
    Reporter = 20,
    /// 25 on the wire.
    SecurityManager = 25,
    /// 30 on the wire; enough for [`ability::Ability::CreateProjects`].
    Developer = 30,
    /// 40 on the wire.
    Maintainer = 40,
    /// 50 on the wire; enough for every [`ability::Ability`].
    Owner = 50,
}

impl AccessLevel {
    /// From the lowest to the highest.
    pub const ALL: [Self; 8] = [
        Self::Minimal,
        Self::Guest,
        Self::Planner,
        Self::Reporter,
        Self::SecurityManager,
        Self::Developer,
        Self::Maintainer,
        Self::Owner,
    ];

    /// The level with this number of the wire. `None`: there is no such level, 0 (no access) and 60 (administrator)
    /// included.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|level| *level as i64 == number)
    }

    /// For people; the wire has the number.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Guest => "guest",
            Self::Planner => "planner",
            Self::Reporter => "reporter",
            Self::SecurityManager => "security_manager",
            Self::Developer => "developer",
            Self::Maintainer => "maintainer",
            Self::Owner => "owner",
        }
    }

    /// Reads what [`AccessLevel::as_str`] gives.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

impl Serialize for AccessLevel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_i64(*self as i64)
    }
}

/// Who may see a project or group: its members, everybody signed in who is not external, everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Visibility {
    /// Its members only.
    Private = 0,
    /// Every signed-in user who is not external.
    Internal = 10,
    /// Everybody, anonymous callers included.
    Public = 20,
}

impl Visibility {
    /// From the most to the least private.
    pub const ALL: [Self; 3] = [Self::Private, Self::Internal, Self::Public];

    /// As the wire writes it: `private`, `internal` or `public`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::Internal => "internal",
            Self::Public => "public",
        }
    }

    /// Reads what the wire writes, case-sensitive.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| visibility.as_str() == text)
    }

    /// The visibility with this number, as the database keeps it: 0, 10 or 20.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|visibility| *visibility as i64 == number)
    }
}

impl Serialize for Visibility {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Through whose eyes lists and look-ups are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Viewer {
    /// A caller without a credential: sees what is public.
    Anonymous,
    /// Signed in; `external` users do not see what is internal.
    User {
        /// The account, whose memberships open more.
        id: crate::id::UserId,
        /// Whether what is internal is closed to it.
        external: bool,
    },
    /// Sees everything.
    Administrator {
        /// The account.
        id: crate::id::UserId,
    },
}

impl Viewer {
    /// `None`: the viewer is anonymous.
    pub fn user_id(self) -> Option<crate::id::UserId> {
        match self {
            Self::Anonymous => None,
            Self::User { id, .. } | Self::Administrator { id } => Some(id),
        }
    }

    /// The least visibility that opens something to this viewer without any membership.
    pub fn least_visible(self) -> Visibility {
        match self {
            Self::Anonymous | Self::User { external: true, .. } => Visibility::Public,
            Self::User { external: false, .. } => Visibility::Internal,
            Self::Administrator { .. } => Visibility::Private,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::UserId;

    #[test]
    fn a_level_has_its_number_and_its_word() {
        for (number, word, level) in [
            (5, "minimal", AccessLevel::Minimal),
            (10, "guest", AccessLevel::Guest),
            (15, "planner", AccessLevel::Planner),
            (20, "reporter", AccessLevel::Reporter),
            (25, "security_manager", AccessLevel::SecurityManager),
            (30, "developer", AccessLevel::Developer),
            (40, "maintainer", AccessLevel::Maintainer),
            (50, "owner", AccessLevel::Owner),
        ] {
            assert_eq!(AccessLevel::from_number(number), Some(level));
            assert_eq!((level.as_str(), AccessLevel::parse(word)), (word, Some(level)));
        }
        for number in [-5, 0, 1, 60] {
            assert_eq!(AccessLevel::from_number(number), None, "{number} is stored for nobody");
        }
        for word in ["", "none", "Owner", "admin"] {
            assert_eq!(AccessLevel::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_visibility_has_its_number_and_its_word() {
        for (number, word, visibility) in [
            (0, "private", Visibility::Private),
            (10, "internal", Visibility::Internal),
            (20, "public", Visibility::Public),
        ] {
            assert_eq!(Visibility::from_number(number), Some(visibility));
            assert_eq!((visibility.as_str(), Visibility::parse(word)), (word, Some(visibility)));
        }
        assert_eq!(Visibility::from_number(5), None);
        assert_eq!(Visibility::parse("Public"), None);
    }

    #[test]
    fn what_is_visible_without_a_membership() {
        let ada = UserId(7);
        for (viewer, id, least) in [
            (Viewer::Anonymous, None, Visibility::Public),
            (Viewer::User { id: ada, external: true }, Some(ada), Visibility::Public),
            (Viewer::User { id: ada, external: false }, Some(ada), Visibility::Internal),
            (Viewer::Administrator { id: ada }, Some(ada), Visibility::Private),
        ] {
            assert_eq!((viewer.user_id(), viewer.least_visible()), (id, least), "{viewer:?}");
        }
    }
}

//! What somebody must be to a group or project to do something with it (rest-api.md 4.1 and 4.4). Administrators may do
//! everything.

use super::AccessLevel;

/// What an ability is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A group.
    Group,
    /// A project.
    Project,
}

impl TargetKind {
    /// As sentences and user names have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Project => "project",
        }
    }
}

/// Something that a caller may do to a group or project if their level there is high enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Change a group: name, path, description, visibility.
    AdminGroup,
    /// Create a project in a group.
    CreateProjects,
    /// List the access tokens of a group or project, and rotate them.
    ManageAccessTokens,
    /// Create an access token of a group or project.
    CreateAccessTokens,
    /// Create, list and delete service accounts of a group or project, and manage their tokens.
    AdminServiceAccounts,
}

/// What the endpoint answers when the caller sees the target and lacks the ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// 403 `{"message":"403 Forbidden"}`
    Forbidden,
    /// 401 `{"message":"401 Unauthorized"}`
    Unauthorized,
    /// 400: this field, which names the target, is not valid.
    InvalidField(&'static str),
    /// 400 with a sentence about access tokens (rest-api.md 2.10).
    NoAccessTokens,
}

/// What an ability needs.
struct Row {
    /// `None`: it is not about groups.
    group: Option<AccessLevel>,
    /// `None`: it is not about projects.
    project: Option<AccessLevel>,
    unmet: Unmet,
}

/// One row for each ability.
const TABLE: [(Ability, Row); 5] = [
    (Ability::AdminGroup, Row { group: Some(AccessLevel::Owner), project: None, unmet: Unmet::Forbidden }),
    (
        Ability::CreateProjects,
        Row { group: Some(AccessLevel::Developer), project: None, unmet: Unmet::InvalidField("namespace") },
    ),
    (Ability::ManageAccessTokens, of_bots(Unmet::Unauthorized)),
    (Ability::CreateAccessTokens, of_bots(Unmet::NoAccessTokens)),
    (Ability::AdminServiceAccounts, of_bots(Unmet::Forbidden)),
];

const fn of_bots(unmet: Unmet) -> Row {
    Row { group: Some(AccessLevel::Owner), project: Some(AccessLevel::Maintainer), unmet }
}

impl Ability {
    /// Every ability, for tests and tables.
    pub const ALL: [Self; 5] = [
        Self::AdminGroup,
        Self::CreateProjects,
        Self::ManageAccessTokens,
        Self::CreateAccessTokens,
        Self::AdminServiceAccounts,
    ];

    const fn row(self) -> &'static Row {
        &TABLE[self as usize].1
    }

    /// The lowest level that is enough. `None`: it is not about targets of this kind.
    pub const fn least(self, on: TargetKind) -> Option<AccessLevel> {
        match on {
            TargetKind::Group => self.row().group,
            TargetKind::Project => self.row().project,
        }
    }

    /// How the endpoint refuses a caller who sees the target and is below [`Ability::least`].
    pub const fn unmet(self) -> Unmet {
        self.row().unmet
    }

    /// `level`: the highest that the caller has now, by membership of the target or of a group above it.
    pub fn is_met(self, on: TargetKind, level: Option<AccessLevel>, administrator: bool) -> bool {
        administrator || self.least(on).is_some_and(|least| level >= Some(least))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [TargetKind; 2] = [TargetKind::Group, TargetKind::Project];

    #[test]
    fn every_ability_has_its_row() {
        for ability in Ability::ALL {
            assert_eq!(TABLE[ability as usize].0, ability);
        }
    }

    #[test]
    fn a_level_is_enough_from_the_least_on() {
        for (ability, on) in Ability::ALL.into_iter().flat_map(|ability| KINDS.map(|on| (ability, on))) {
            assert!(!ability.is_met(on, None, false) && ability.is_met(on, None, true));
            for level in AccessLevel::ALL {
                let enough = ability.least(on).is_some_and(|least| level >= least);
                assert_eq!(ability.is_met(on, Some(level), false), enough, "{ability:?} {on:?} {level:?}");
            }
        }
    }

    #[test]
    fn the_least_levels_are_those_of_the_wire() {
        // rest-api.md 2.10, 2.15, 4.3 and 4.4
        let (owner, maintainer, developer) = (AccessLevel::Owner, AccessLevel::Maintainer, AccessLevel::Developer);
        for (ability, group, project, unmet) in [
            (Ability::AdminGroup, Some(owner), None, Unmet::Forbidden),
            (Ability::CreateProjects, Some(developer), None, Unmet::InvalidField("namespace")),
            (Ability::ManageAccessTokens, Some(owner), Some(maintainer), Unmet::Unauthorized),
            (Ability::CreateAccessTokens, Some(owner), Some(maintainer), Unmet::NoAccessTokens),
            (Ability::AdminServiceAccounts, Some(owner), Some(maintainer), Unmet::Forbidden),
        ] {
            assert_eq!(KINDS.map(|on| ability.least(on)), [group, project], "{ability:?}");
            assert_eq!(ability.unmet(), unmet, "{ability:?}");
        }
        assert_eq!(KINDS.map(TargetKind::as_str), ["group", "project"]);
    }
}

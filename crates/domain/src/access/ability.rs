//! What somebody must be to a group or project to do something with it (rest-api.md 4.1 and 4.4). Administrators may do
//! everything.

use super::AccessLevel;

/// Something that a caller may do to a group or project if their level there is high enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ability {
    /// Change a group: name, path, description, visibility.
    AdminGroup,
    /// Create a project in a group.
    CreateProjects,
}

/// What the endpoint answers when the caller sees the target and lacks the ability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmet {
    /// 403 `{"message":"403 Forbidden"}`
    Forbidden,
    /// 400: this field, which names the target, is not valid.
    InvalidField(&'static str),
}

/// One row for each ability.
const TABLE: [(Ability, AccessLevel, Unmet); 2] = [
    (Ability::AdminGroup, AccessLevel::Owner, Unmet::Forbidden),
    (Ability::CreateProjects, AccessLevel::Developer, Unmet::InvalidField("namespace")),
];

impl Ability {
    /// Every ability, for tests and tables.
    pub const ALL: [Self; 2] = [Self::AdminGroup, Self::CreateProjects];

    const fn row(self) -> (Self, AccessLevel, Unmet) {
        TABLE[self as usize]
    }

    /// The lowest level that is enough.
    pub const fn least(self) -> AccessLevel {
        self.row().1
    }

    /// How the endpoint refuses a caller who sees the target and is below [`Ability::least`].
    pub const fn unmet(self) -> Unmet {
        self.row().2
    }

    /// `level`: the highest that the caller has now, by membership of the target or of a group above it.
    pub fn is_met(self, level: Option<AccessLevel>, administrator: bool) -> bool {
        administrator || level >= Some(self.least())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ability_has_its_row() {
        for ability in Ability::ALL {
            assert_eq!(ability.row().0, ability);
        }
    }

    #[test]
    fn a_level_is_enough_from_the_least_on() {
        for ability in Ability::ALL {
            assert!(!ability.is_met(None, false) && ability.is_met(None, true));
            for level in AccessLevel::ALL {
                assert_eq!(ability.is_met(Some(level), false), level >= ability.least(), "{ability:?} {level:?}");
            }
        }
    }

    #[test]
    fn the_least_levels_are_those_of_the_wire() {
        // rest-api.md 4.3 and 4.4
        for (ability, least, unmet) in [
            (Ability::AdminGroup, AccessLevel::Owner, Unmet::Forbidden),
            (Ability::CreateProjects, AccessLevel::Developer, Unmet::InvalidField("namespace")),
        ] {
            assert_eq!((ability.least(), ability.unmet()), (least, unmet));
        }
    }
}

//! What somebody is to a group or project, and until when.

use crate::access::AccessLevel;
use crate::id::{NamespaceId, ProjectId};
use crate::time::{Date, Timestamp};

/// Of what somebody is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    Group(NamespaceId),
    Project(ProjectId),
}

/// Every membership that one user has in one group or project, those of the groups above it included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The full path of the group or project, in lower case. `None`: it is gone.
    pub path: Option<Box<str>>,
    pub held: Box<[Held]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub level: AccessLevel,
    /// The first day on which it counts no longer.
    pub expires_on: Option<Date>,
}

impl Memberships {
    /// The highest level that counts now. What was true when this was read may have ended since (T27).
    pub fn level(&self, now: Timestamp) -> Option<AccessLevel> {
        let counts = |held: &&Held| held.expires_on.is_none_or(|day| now < day.start());
        self.held.iter().filter(counts).map(|held| held.level).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t27_an_end_is_compared_with_now_at_every_use() {
        let held = |level, expires_on| Held { level, expires_on };
        let until = Date(100);
        let of = |held: &[Held]| Memberships { path: None, held: held.into() };
        let both = of(&[held(AccessLevel::Guest, None), held(AccessLevel::Owner, Some(until))]);
        assert_eq!(both.level(Timestamp(until.start().0 - 1)), Some(AccessLevel::Owner));
        assert_eq!(both.level(until.start()), Some(AccessLevel::Guest));
        let one = of(&[held(AccessLevel::Owner, Some(until))]);
        assert_eq!(one.level(until.start()), None);
        assert_eq!(of(&[]).level(Timestamp(0)), None);
    }
}

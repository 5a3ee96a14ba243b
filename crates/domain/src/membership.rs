//! What somebody is to a group or project, and until when.

use crate::access::AccessLevel;
use crate::access::ability::TargetKind;
use crate::claims;
use crate::id::{NamespaceId, ProjectId};
use crate::project::{self, Project};
use crate::time::{Date, Timestamp};

/// Of what somebody is a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MembershipSource {
    /// A group, and through it everything inside.
    Group(NamespaceId),
    /// A project alone.
    Project(ProjectId),
}

impl MembershipSource {
    /// What it is.
    pub const fn kind(self) -> TargetKind {
        match self {
            Self::Group(_) => TargetKind::Group,
            Self::Project(_) => TargetKind::Project,
        }
    }

    /// The number of the group or project.
    pub const fn number(self) -> i64 {
        match self {
            Self::Group(id) => id.0,
            Self::Project(id) => id.0,
        }
    }
}

/// Every membership that one user has in one group or project, those of the groups above it included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memberships {
    /// The full path of the group or project, in lower case. `None`: it is gone.
    pub path: Option<Box<str>>,
    /// In no order; the highest that counts decides.
    pub held: Box<[Held]>,
}

/// One membership: a level, and until when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The level that was given.
    pub level: AccessLevel,
    /// The first day on which it counts no longer.
    pub expires_on: Option<Date>,
}

impl Held {
    /// What was true when this was read may have ended since (T27).
    pub fn counts(&self, now: Timestamp) -> bool {
        self.expires_on.is_none_or(|day| now < day.start())
    }
}

impl Memberships {
    /// The highest level that counts now.
    pub fn level(&self, now: Timestamp) -> Option<AccessLevel> {
        self.held.iter().filter(|held| held.counts(now)).map(|held| held.level).max()
    }
}

/// Everything that one user is a member of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserMemberships {
    /// By full path, the groups inside a group included. A group has a row for each membership that leads to it.
    pub groups: Box<[GroupMembership]>,
    /// Those of the project itself.
    pub projects: Box<[(ProjectId, Held)]>,
}

/// A membership as it applies to one group: to the group of the row itself, or to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMembership {
    /// The group that it applies to.
    pub id: NamespaceId,
    /// Paths from the root down, joined by `/`, as the group spells them.
    pub full_path: Box<str>,
    /// The level, and until when it counts.
    pub held: Held,
    /// Not by way of a group above it.
    pub direct: bool,
}

impl UserMemberships {
    /// What the user is to a project now.
    pub fn of_project(&self, project: &Project, now: Timestamp) -> project::Membership {
        let direct = self.projects.iter().filter(|(id, held)| *id == project.id && held.counts(now));
        project::Membership {
            project: direct.map(|(_, held)| held.level).max(),
            group: self.of_group(project.namespace.id, now),
        }
    }

    /// The user's highest level in the group now, there or above it. `None`: no member.
    pub fn of_group(&self, group: NamespaceId, now: Timestamp) -> Option<AccessLevel> {
        self.groups.iter().filter(|row| row.id == group && row.held.counts(now)).map(|row| row.held.level).max()
    }

    /// Whether the user is a member of the group now, there or above it.
    pub fn is_in(&self, group: NamespaceId, now: Timestamp) -> bool {
        self.of_group(group, now).is_some()
    }

    /// Every group that the user is in now, once, by full path.
    pub fn groups(&self, now: Timestamp) -> Vec<claims::Membership<'_>> {
        let mut groups: Vec<claims::Membership<'_>> = Vec::with_capacity(self.groups.len());
        for row in self.groups.iter().filter(|row| row.held.counts(now)) {
            match groups.last_mut() {
                Some(group) if group.full_path == &*row.full_path => {
                    group.level = group.level.max(row.held.level);
                    group.direct |= row.direct;
                }
                _ => groups.push(claims::Membership {
                    full_path: &row.full_path,
                    level: row.held.level,
                    direct: row.direct,
                }),
            }
        }
        groups
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

    #[test]
    fn t27_a_group_has_the_highest_level_that_counts_now() {
        let row = |path: &str, level, expires_on, direct| GroupMembership {
            id: NamespaceId(path.len() as i64),
            full_path: path.into(),
            held: Held { level, expires_on },
            direct,
        };
        let until = Date(100);
        let rows = [
            row("a", AccessLevel::Guest, None, true),
            row("a/b", AccessLevel::Guest, None, false),
            row("a/b", AccessLevel::Owner, Some(until), true),
            row("c", AccessLevel::Owner, Some(until), true),
        ];
        let all = UserMemberships { groups: rows.into(), projects: Box::default() };
        let told =
            |now| all.groups(now).iter().map(|group| (group.full_path, group.level, group.direct)).collect::<Vec<_>>();
        let (guest, owner) = (AccessLevel::Guest, AccessLevel::Owner);
        let before = Timestamp(until.start().0 - 1);
        assert_eq!(told(before), [("a", guest, true), ("a/b", owner, true), ("c", owner, true)]);
        assert_eq!(told(until.start()), [("a", guest, true), ("a/b", guest, false)]);
    }

    #[test]
    fn t27_a_project_is_reached_by_itself_and_by_its_group_while_that_lasts() {
        let until = Date(100);
        let project = crate::project::tests::app(3);
        let held = |level, expires_on| Held { level, expires_on };
        let row = |id, level, expires_on| GroupMembership {
            id: NamespaceId(id),
            full_path: "team/inner".into(),
            held: held(level, expires_on),
            direct: true,
        };
        let (guest, reporter, owner) = (AccessLevel::Guest, AccessLevel::Reporter, AccessLevel::Owner);
        let all = UserMemberships {
            groups: [row(3, guest, None), row(3, reporter, Some(until)), row(4, owner, None)].into(),
            projects: [
                (project.id, held(reporter, None)),
                (project.id, held(guest, None)),
                (project.id, held(owner, Some(until))),
                (ProjectId(99), held(owner, None)),
            ]
            .into(),
        };
        let before = Timestamp(until.start().0 - 1);
        let told = |project, group| project::Membership { project: Some(project), group: Some(group) };
        assert_eq!(all.of_project(&project, before), told(owner, reporter));
        assert_eq!(all.of_project(&project, until.start()), told(reporter, guest));
        assert_eq!(UserMemberships::default().of_project(&project, before), project::Membership::default());
    }

    #[test]
    fn t27_somebody_is_in_a_group_until_the_membership_ends() {
        let until = Date(100);
        let held = Held { level: AccessLevel::Guest, expires_on: Some(until) };
        let row = GroupMembership { id: NamespaceId(3), full_path: "team".into(), held, direct: true };
        let all = UserMemberships { groups: [row].into(), projects: Box::default() };
        let before = Timestamp(until.start().0 - 1);
        assert!(all.is_in(NamespaceId(3), before) && !all.is_in(NamespaceId(3), until.start()));
        assert!(!all.is_in(NamespaceId(4), before));
    }
}

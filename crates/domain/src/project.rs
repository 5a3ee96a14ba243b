//! Projects.

use crate::access::{AccessLevel, Visibility};
use crate::id::{ProjectId, UserId};
use crate::namespace::Namespace;
use crate::time::Timestamp;

/// A project, with the namespace that it is in.
#[derive(Clone, Debug)]
pub struct Project {
    /// `id` on the wire.
    pub id: ProjectId,
    /// The group or personal namespace that it is in.
    pub namespace: Namespace,
    /// `None`: the creator is not known or no longer exists.
    pub creator_id: Option<UserId>,
    /// The display name, without the namespace.
    pub name: String,
    /// Its own segment of the URL.
    pub path: String,
    /// Free text. `None`: null on the wire.
    pub description: Option<String>,
    /// Who may see it.
    pub visibility: Visibility,
    /// Whether it is read-only.
    pub archived: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed; so far the same as `created_at`, since nothing changes projects yet.
    pub updated_at: Timestamp,
    /// When something last happened in it; so far the same as `created_at`.
    pub last_activity_at: Timestamp,
}

impl Project {
    /// `path_with_namespace` on the wire: `team/app`.
    pub fn full_path(&self) -> String {
        format!("{}/{}", self.namespace.full_path, self.path)
    }

    /// `name_with_namespace` on the wire: `Team / App`.
    pub fn full_name(&self) -> String {
        format!("{} / {}", self.namespace.full_name, self.name)
    }
}

/// What one user is to a project (rest-api.md 4.2 `permissions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// By direct membership of the project.
    pub project: Option<AccessLevel>,
    /// The highest by membership of its group or that group's ancestors.
    pub group: Option<AccessLevel>,
}

impl Membership {
    /// The level that counts: the higher of both. `None`: no member.
    pub fn highest(self) -> Option<AccessLevel> {
        self.project.max(self.group)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::id::NamespaceId;
    use crate::namespace::NamespaceKind;

    /// In the group with this number.
    pub(crate) fn app(group: i64) -> Project {
        let namespace = Namespace {
            id: NamespaceId(group),
            kind: NamespaceKind::Group,
            parent_id: None,
            owner_id: None,
            name: "Inner".into(),
            path: "inner".into(),
            full_path: "team/inner".into(),
            full_name: "Team / Inner".into(),
            description: String::new(),
            visibility: Visibility::Private,
            created_at: Timestamp(0),
        };
        Project {
            id: ProjectId(12),
            namespace,
            creator_id: None,
            name: "App".into(),
            path: "app".into(),
            description: None,
            visibility: Visibility::Private,
            archived: false,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
            last_activity_at: Timestamp(0),
        }
    }

    #[test]
    fn a_project_is_called_by_its_namespaces_too() {
        assert_eq!(app(1).full_path(), "team/inner/app");
        assert_eq!(app(1).full_name(), "Team / Inner / App");
    }

    #[test]
    fn the_higher_of_both_memberships_counts() {
        let (guest, owner) = (Some(AccessLevel::Guest), Some(AccessLevel::Owner));
        for (project, group, highest) in [
            (None, None, None),
            (guest, None, guest),
            (None, guest, guest),
            (guest, owner, owner),
            (owner, guest, owner),
        ] {
            assert_eq!(Membership { project, group }.highest(), highest);
        }
    }
}

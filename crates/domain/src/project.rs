//! Projects.

use crate::access::{AccessLevel, Visibility};
use crate::id::{ProjectId, UserId};
use crate::namespace::Namespace;
use crate::time::Timestamp;

#[derive(Clone, Debug)]
pub struct Project {
    pub id: ProjectId,
    pub namespace: Namespace,
    pub creator_id: Option<UserId>,
    pub name: String,
    pub path: String,
    pub description: Option<String>,
    pub visibility: Visibility,
    pub archived: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub last_activity_at: Timestamp,
}

impl Project {
    pub fn full_path(&self) -> String {
        format!("{}/{}", self.namespace.full_path, self.path)
    }

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
    pub fn highest(self) -> Option<AccessLevel> {
        self.project.max(self.group)
    }
}

//! Groups (rest-api.md 4.4). What belongs to code, issues and pipelines is there with the value of a group that has none
//! yet, since clients read it.

use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::namespace::Namespace;
use tollhouse_store::projects::Seen;

use super::project::{self, Project};
use crate::entity::entity;
use crate::entity::types::{Boolean, Date, DateTime, Empty, Integer, Level, List, Nullable, OneOf, Text, Url};
use crate::urls::Urls;

/// A group, and who looks at it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub urls: &'a Urls,
    pub group: &'a Namespace,
    pub viewer: Viewer,
    /// The viewer is an owner of the group.
    pub owned: bool,
    /// `None`: the request asked for none.
    pub projects: Option<&'a [Seen]>,
}

impl<'a> Shown<'a> {
    pub fn new(urls: &'a Urls, group: &'a Namespace, viewer: Viewer) -> Self {
        Self { urls, group, viewer, owned: false, projects: None }
    }

    /// The viewer is an owner of the group, or an administrator.
    fn administered(&self) -> bool {
        self.owned || matches!(self.viewer, Viewer::Administrator { .. })
    }

    /// The group is in no other.
    fn top_level(&self) -> bool {
        self.group.parent_id.is_none()
    }

    fn administered_top_level(&self) -> bool {
        self.top_level() && self.administered()
    }

    /// The request did not say `with_projects=false`.
    fn with_projects(&self) -> bool {
        self.projects.is_some()
    }

    fn projects(&self) -> impl Iterator<Item = project::Shown<'a>> {
        let Self { urls, viewer, projects, .. } = *self;
        projects.unwrap_or_default().iter().map(move |seen| project::Shown::new(urls, seen, viewer))
    }
}

entity! {
    /// `GET /groups`
    pub Group(it: Shown<'_>) {
        id: Integer = it.group.id,
        web_url: Url = format_args!("{}/groups/{}", it.urls.base(), it.group.full_path),
        name: Text = &it.group.name,
        path: Text = &it.group.path,
        description: Text = &it.group.description,
        visibility: OneOf<Visibility> = it.group.visibility,
        share_with_group_lock: Boolean = false,
        require_two_factor_authentication: Boolean = false,
        two_factor_grace_period: Integer = 48,
        project_creation_level: Text = "developer",
        auto_devops_enabled: Nullable<Boolean> = (),
        subgroup_creation_level: Text = "maintainer",
        emails_disabled: Boolean = false,
        emails_enabled: Boolean = true,
        show_diff_preview_in_email: Boolean = true,
        mentions_disabled: Nullable<Boolean> = (),
        lfs_enabled: Boolean = true,
        archived: Boolean = false,
        math_rendering_limits_enabled: Boolean = true,
        lock_math_rendering_limits_enabled: Boolean = false,
        default_branch: Nullable<Text> = (),
        default_branch_protection: Integer = 2,
        default_branch_protection_defaults: BranchProtection = (),
        avatar_url: Nullable<Url> = (),
        request_access_enabled: Boolean = true,
        full_name: Text = &it.group.full_name,
        full_path: Text = &it.group.full_path,
        created_at: DateTime = it.group.created_at,
        parent_id: Nullable<Integer> = it.group.parent_id,
        organization_id: Integer = 1,
        shared_runners_setting: Text = "enabled",
        max_artifacts_size: Nullable<Integer> = (),
        marked_for_deletion_on: Nullable<Date> = (),
        wiki_access_level: Text = "enabled",
        duo_namespace_access_rules when administered_top_level: Empty = (),
    }
}

entity! {
    /// `GET /groups/:id`
    pub GroupDetails(it: Shown<'_>) {
        ..Group,
        shared_with_groups: Empty = (),
        // As where runners are not registered by a token.
        runners_token when administered: Nullable<Text> = (),
        enabled_git_access_protocol when administered_top_level: Text = "all",
        prevent_sharing_groups_outside_hierarchy when top_level: Boolean = false,
        projects when with_projects: List<Project> = it.projects(),
        shared_projects when with_projects: Empty = (),
        prevent_forking_outside_group: Nullable<Boolean> = (),
        service_access_tokens_expiration_enforced when top_level: Boolean = true,
        membership_lock: Boolean = false,
    }
}

entity! {
    BranchProtection(it: ()) {
        allowed_to_push: List<AllowedLevel> = [AccessLevel::Maintainer],
        allow_force_push: Boolean = false,
        allowed_to_merge: List<AllowedLevel> = [AccessLevel::Maintainer],
        developer_can_initial_push: Boolean = false,
    }
}

entity! {
    AllowedLevel(it: AccessLevel) {
        access_level: Level = *it,
    }
}

//! Groups (rest-api.md 4.4).

use tollhouse_domain::namespace::Namespace;

use crate::json::Object;
use crate::urls::Urls;

pub fn listed(urls: &Urls, group: &Namespace) -> Object {
    let branch_protection = Object::default()
        .array("allowed_to_push", [Object::default().field("access_level", 40)])
        .field("allow_force_push", false)
        .array("allowed_to_merge", [Object::default().field("access_level", 40)])
        .field("developer_can_initial_push", false);
    Object::default()
        .field("id", group.id)
        .field("web_url", format_args!("{}/groups/{}", urls.base(), group.full_path))
        .field("name", &group.name)
        .field("path", &group.path)
        .field("description", &group.description)
        .field("visibility", group.visibility)
        .field("share_with_group_lock", false)
        .field("require_two_factor_authentication", false)
        .field("two_factor_grace_period", 48)
        .field("project_creation_level", "developer")
        .field("auto_devops_enabled", ())
        .field("subgroup_creation_level", "maintainer")
        .field("emails_disabled", false)
        .field("emails_enabled", true)
        .field("show_diff_preview_in_email", true)
        .field("mentions_disabled", ())
        .field("lfs_enabled", true)
        .field("archived", false)
        .field("math_rendering_limits_enabled", true)
        .field("lock_math_rendering_limits_enabled", false)
        .field("default_branch", ())
        .field("default_branch_protection", 2)
        .object("default_branch_protection_defaults", branch_protection)
        .field("avatar_url", ())
        .field("request_access_enabled", true)
        .field("full_name", &group.full_name)
        .field("full_path", &group.full_path)
        .field("created_at", group.created_at.iso())
        .field("parent_id", group.parent_id)
        .field("organization_id", 1)
        .field("shared_runners_setting", "enabled")
        .field("max_artifacts_size", ())
        .field("marked_for_deletion_on", ())
}

pub fn detailed(urls: &Urls, group: &Namespace) -> Object {
    listed(urls, group)
        .array("shared_with_groups", [])
        .field("prevent_sharing_groups_outside_hierarchy", false)
        .field("enabled_git_access_protocol", ())
}

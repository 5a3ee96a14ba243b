//! Projects (rest-api.md 4.2). What belongs to code, issues and pipelines is there with the value of a project that
//! has none yet, since clients read it.

use askama::filters::{Html, escape};
use tollhouse_domain::access::{AccessLevel, Viewer};
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::project::{Membership, Project};
use tollhouse_domain::user::User;
use tollhouse_store::projects::Seen;

use crate::api::entities::user;
use crate::json::Object;
use crate::urls::Urls;

/// What a request asked to have in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub permissions: bool,
    pub license: bool,
    pub statistics: bool,
}

/// For anonymous callers, and for `simple=true`.
pub fn basic(urls: &Urls, project: &Project, license: bool) -> Object {
    let full_path = project.full_path();
    let web_url = format!("{}/{full_path}", urls.base());
    Object::default()
        .field("id", project.id)
        .field("description", &project.description)
        .field("name", &project.name)
        .field("name_with_namespace", project.full_name())
        .field("path", &project.path)
        .field("path_with_namespace", &full_path)
        .field("created_at", project.created_at.iso())
        .field("default_branch", "main")
        .array("tag_list", [])
        .array("topics", [])
        .field("ssh_url_to_repo", format!("git@{}:{full_path}.git", urls.ssh_host()))
        .field("http_url_to_repo", format!("{web_url}.git"))
        .field("web_url", web_url)
        .field("readme_url", ())
        .field("forks_count", 0)
        .when(license, |o| o.field("license_url", ()).field("license", ()))
        .field("avatar_url", ())
        .field("star_count", 0)
        .field("last_activity_at", project.last_activity_at.iso())
        .object("namespace", namespace(urls, &project.namespace))
}

/// For whoever is signed in.
pub fn full(urls: &Urls, seen: &Seen, owner: Option<&User>, viewer: Viewer, asked: Options) -> Object {
    let Seen { project, membership } = seen;
    let administrator = matches!(viewer, Viewer::Administrator { .. });
    let at_least = |level| administrator || membership.highest() >= Some(level);
    let maintains = at_least(AccessLevel::Maintainer);
    let object = basic(urls, project, asked.license)
        .object("_links", links(urls, project))
        .field("packages_enabled", true)
        .field("empty_repo", true)
        .field("archived", project.archived)
        .field("visibility", project.visibility)
        .when(owner.is_some(), |o| {
            o.optional("owner", owner.map(|owner| user::basic(urls, owner, Viewer::Anonymous, project.created_at)))
        })
        .field("resolve_outdated_diff_discussions", false)
        .field("repository_object_format", "sha1")
        .field("issues_enabled", true)
        .field("merge_requests_enabled", true)
        .field("wiki_enabled", true)
        .field("jobs_enabled", true)
        .field("snippets_enabled", true)
        .field("container_registry_enabled", false)
        .field("service_desk_enabled", false)
        .when(at_least(AccessLevel::Reporter), |o| o.field("service_desk_address", ()))
        .field("can_create_merge_request_in", at_least(AccessLevel::Developer));
    let object = FEATURES.iter().fold(object, |o, (feature, level)| o.field(feature, level));
    let object = object
        .field("emails_disabled", false)
        .field("emails_enabled", true)
        .field("shared_runners_enabled", true)
        .field("lfs_enabled", true)
        .field("creator_id", project.creator_id)
        .when(maintains, |o| o.field("import_url", ()).field("import_type", ()))
        .field("import_status", "none")
        .when(maintains, |o| o.field("import_error", ()))
        .field("open_issues_count", 0)
        .field("description_html", description_html(project))
        .field("updated_at", project.updated_at.iso())
        .when(maintains, maintainer_block)
        .field("ci_config_path", ())
        .field("public_jobs", true)
        .array("shared_with_groups", [])
        .field("only_allow_merge_if_pipeline_succeeds", false)
        .field("allow_merge_on_skipped_pipeline", ())
        .field("request_access_enabled", true)
        .field("only_allow_merge_if_all_discussions_are_resolved", false)
        .field("remove_source_branch_after_merge", true)
        .field("printing_merge_request_link_enabled", true)
        .field("merge_method", "merge")
        .field("squash_option", "default_off")
        .field("enforce_auth_checks_on_uploads", true)
        .field("suggestion_commit_message", ())
        .field("merge_commit_template", ())
        .field("squash_commit_template", ())
        .field("issue_branch_template", ())
        .when(asked.statistics && at_least(AccessLevel::Reporter), |o| o.object("statistics", statistics()))
        .field("warn_about_potentially_unwanted_characters", true)
        .field("autoclose_referenced_issues", true)
        .field("max_artifacts_size", ())
        .field("marked_for_deletion_on", ());
    object.when(asked.permissions, |o| o.object("permissions", permissions(*membership)))
}

fn namespace(urls: &Urls, namespace: &Namespace) -> Object {
    let web_url = match namespace.kind {
        NamespaceKind::Group => format!("{}/groups/{}", urls.base(), namespace.full_path),
        NamespaceKind::User => format!("{}/{}", urls.base(), namespace.full_path),
    };
    Object::default()
        .field("id", namespace.id)
        .field("name", &namespace.name)
        .field("path", &namespace.path)
        .field("kind", namespace.kind)
        .field("full_path", &namespace.full_path)
        .field("parent_id", namespace.parent_id)
        .field("avatar_url", ())
        .field("web_url", web_url)
}

fn links(urls: &Urls, project: &Project) -> Object {
    let own = format!("{}/api/v4/projects/{}", urls.base(), project.id);
    let object = Object::default().field("self", &own);
    let inside = [
        ("issues", "issues"),
        ("merge_requests", "merge_requests"),
        ("repo_branches", "repository/branches"),
        ("labels", "labels"),
        ("events", "events"),
        ("members", "members"),
        ("cluster_agents", "cluster_agents"),
    ];
    inside.iter().fold(object, |o, (name, path)| o.field(name, format!("{own}/{path}")))
}

fn permissions(membership: Membership) -> Object {
    let access = |level: Option<AccessLevel>| {
        level.map(|level| Object::default().field("access_level", level).field("notification_level", 3))
    };
    Object::default()
        .optional("project_access", access(membership.project))
        .optional("group_access", access(membership.group))
}

fn maintainer_block(object: Object) -> Object {
    object
        .field("ci_default_git_depth", 20)
        .field("ci_delete_pipelines_in_seconds", ())
        .field("ci_forward_deployment_enabled", true)
        .field("ci_forward_deployment_rollback_allowed", true)
        .field("ci_job_token_scope_enabled", false)
        .field("ci_separated_caches", true)
        .field("ci_allow_fork_pipelines_to_run_in_parent_project", true)
        .field("ci_id_token_sub_claim_components", ["project_path", "ref_type", "ref"])
        .field("build_git_strategy", "fetch")
        .field("keep_latest_artifact", true)
        .field("restrict_user_defined_variables", true)
        .field("ci_pipeline_variables_minimum_override_role", "developer")
        .field("runners_token", ())
        .field("runner_token_expiration_interval", ())
        .field("group_runners_enabled", true)
        .field("auto_cancel_pending_pipelines", "enabled")
        .field("build_timeout", 3600)
        .field("auto_devops_enabled", false)
        .field("auto_devops_deploy_strategy", "continuous")
        .field("ci_push_repository_for_job_token_allowed", false)
}

fn statistics() -> Object {
    let counts = [
        "commit_count",
        "storage_size",
        "repository_size",
        "wiki_size",
        "lfs_objects_size",
        "job_artifacts_size",
        "pipeline_artifacts_size",
        "packages_size",
        "snippets_size",
        "uploads_size",
        "container_registry_size",
    ];
    counts.iter().fold(Object::default(), |o, name| o.field(name, 0))
}

fn description_html(project: &Project) -> String {
    match &project.description {
        Some(text) => escape(text, Html).map(|safe| format!("<p>{safe}</p>")).unwrap_or_default(),
        None => String::new(),
    }
}

const FEATURES: &[(&str, &str)] = &[
    ("issues_access_level", "enabled"),
    ("repository_access_level", "enabled"),
    ("merge_requests_access_level", "enabled"),
    ("forking_access_level", "enabled"),
    ("wiki_access_level", "enabled"),
    ("builds_access_level", "enabled"),
    ("snippets_access_level", "enabled"),
    ("pages_access_level", "private"),
    ("analytics_access_level", "enabled"),
    ("container_registry_access_level", "disabled"),
    ("security_and_compliance_access_level", "private"),
    ("releases_access_level", "enabled"),
    ("environments_access_level", "enabled"),
    ("feature_flags_access_level", "enabled"),
    ("infrastructure_access_level", "enabled"),
    ("monitor_access_level", "enabled"),
    ("model_experiments_access_level", "enabled"),
    ("model_registry_access_level", "enabled"),
];

//! Projects (rest-api.md 4.2). What belongs to code, issues and pipelines is there with the value of a project that
//! has none yet, since clients read it.

use std::time::Duration;

use askama::filters::{Html, escape};
use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::project;
use tollhouse_domain::user::User;
use tollhouse_store::projects::Seen;

use super::user::{self, UserBasic};
use crate::entity::entity;
use crate::entity::types::{Boolean, Date, DateTime, Empty, Integer, Level, List, Null, Nullable, OneOf, Text, Url};
use crate::urls::Urls;

/// A project, and who looks at it.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub urls: &'a Urls,
    pub project: &'a project::Project,
    pub membership: project::Membership,
    pub viewer: Viewer,
    /// Of the namespace, if that is somebody's own.
    pub owner: Option<&'a User>,
    pub asked: Options,
}

/// What a request asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub simple: bool,
    pub permissions: bool,
    pub license: bool,
    pub statistics: bool,
    /// The answer is about one project.
    pub alone: bool,
}

impl<'a> Shown<'a> {
    pub fn new(urls: &'a Urls, seen: &'a Seen, viewer: Viewer) -> Self {
        let Seen { project, membership } = seen;
        Self { urls, project, membership: *membership, viewer, owner: None, asked: Options::default() }
    }

    /// The viewer is signed in, and did not ask for `simple=true`.
    fn full(&self) -> bool {
        self.viewer != Viewer::Anonymous && !self.asked.simple
    }

    /// The request said `license=true`.
    fn license(&self) -> bool {
        self.asked.license
    }

    /// The request said `statistics=true`, and the viewer is at least a reporter.
    fn statistics(&self) -> bool {
        self.asked.statistics && self.reporter()
    }

    /// The answer speaks of what the viewer may do there.
    fn permissions(&self) -> bool {
        self.asked.permissions
    }

    /// The viewer is at least a reporter, or an administrator.
    fn reporter(&self) -> bool {
        self.at_least(AccessLevel::Reporter)
    }

    /// The viewer is at least a maintainer, or an administrator.
    fn maintainer(&self) -> bool {
        self.at_least(AccessLevel::Maintainer)
    }

    /// The same, and the answer is about this project alone.
    fn maintainer_alone(&self) -> bool {
        self.asked.alone && self.maintainer()
    }

    fn administrator(&self) -> bool {
        matches!(self.viewer, Viewer::Administrator { .. })
    }

    fn at_least(&self, level: AccessLevel) -> bool {
        self.administrator() || self.membership.highest() >= Some(level)
    }

    fn owner(&self) -> Option<user::Shown<'a>> {
        self.owner.map(|owner| user::Shown::new(self.urls, owner, Viewer::Anonymous, self.project.created_at))
    }

    fn namespace(&self) -> InNamespace<'a> {
        InNamespace { urls: self.urls, namespace: &self.project.namespace }
    }

    /// Below its own address in the API.
    fn link(&self, path: &str) -> String {
        format!("{}/api/v4/projects/{}{path}", self.urls.base(), self.project.id)
    }

    fn description_html(&self) -> String {
        match &self.project.description {
            Some(text) => escape(text, Html).map(|safe| format!("<p>{safe}</p>")).unwrap_or_default(),
            None => String::new(),
        }
    }
}

/// The namespace of a project.
struct InNamespace<'a> {
    urls: &'a Urls,
    namespace: &'a Namespace,
}

impl InNamespace<'_> {
    fn web_url(&self) -> String {
        let groups = match self.namespace.kind {
            NamespaceKind::Group => "groups/",
            NamespaceKind::User => "",
        };
        format!("{}/{groups}{}", self.urls.base(), self.namespace.full_path)
    }
}

entity! {
    /// `GET /projects`, `GET /projects/:id`
    pub Project(it: Shown<'_>) {
        ..ProjectBasic,
        ..ProjectDetails when full,
    }
}

entity! {
    /// `POST /projects`
    pub CreatedProject(it: Shown<'_>) {
        ..ProjectBasic,
        ..ProjectDetails,
    }
}

entity! {
    ProjectBasic(it: Shown<'_>) {
        id: Integer = it.project.id,
        description: Nullable<Text> = it.project.description.as_deref(),
        name: Text = &it.project.name,
        name_with_namespace: Text = it.project.full_name(),
        path: Text = &it.project.path,
        path_with_namespace: Text = it.project.full_path(),
        created_at: DateTime = it.project.created_at,
        default_branch: Text = "main",
        tag_list: Empty = (),
        topics: Empty = (),
        ssh_url_to_repo: Text = format_args!("git@{}:{}.git", it.urls.ssh_host(), it.project.full_path()),
        http_url_to_repo: Url = format_args!("{}/{}.git", it.urls.base(), it.project.full_path()),
        web_url: Url = format_args!("{}/{}", it.urls.base(), it.project.full_path()),
        readme_url: Nullable<Url> = (),
        forks_count: Integer = 0,
        license_url when license: Nullable<Url> = (),
        license when license: Null = (),
        avatar_url: Nullable<Url> = (),
        star_count: Integer = 0,
        last_activity_at: DateTime = it.project.last_activity_at,
        visibility: OneOf<Visibility> = it.project.visibility,
        namespace: ProjectNamespace = it.namespace(),
        repository_storage when administrator: Text = "default",
    }
}

entity! {
    ProjectDetails(it: Shown<'_>) {
        _links: ProjectLinks = *it,
        marked_for_deletion_at: Nullable<Date> = (),
        marked_for_deletion_on: Nullable<Date> = (),
        packages_enabled: Boolean = true,
        empty_repo: Boolean = true,
        archived: Boolean = it.project.archived,
        owner when some in_personal_namespace: UserBasic = it.owner(),
        resolve_outdated_diff_discussions: Boolean = false,
        container_expiration_policy: ContainerExpirationPolicy = *it,
        repository_object_format: Text = "sha1",
        issues_enabled: Boolean = true,
        merge_requests_enabled: Boolean = true,
        wiki_enabled: Boolean = true,
        jobs_enabled: Boolean = true,
        snippets_enabled: Boolean = true,
        container_registry_enabled: Boolean = false,
        service_desk_enabled: Boolean = false,
        service_desk_address when reporter: Nullable<Text> = (),
        can_create_merge_request_in: Boolean = it.at_least(AccessLevel::Developer),
        ..ProjectFeatures,
        emails_disabled: Boolean = false,
        emails_enabled: Boolean = true,
        show_diff_preview_in_email: Boolean = true,
        shared_runners_enabled: Boolean = true,
        lfs_enabled: Boolean = true,
        creator_id: Nullable<Integer> = it.project.creator_id,
        import_url when maintainer: Nullable<Url> = (),
        import_type when maintainer: Nullable<Text> = (),
        import_status: Text = "none",
        import_error when maintainer_alone: Nullable<Text> = (),
        open_issues_count: Integer = 0,
        description_html: Text = it.description_html(),
        updated_at: DateTime = it.project.updated_at,
        ..ProjectPipelines when maintainer,
        ci_config_path: Nullable<Text> = (),
        public_jobs: Boolean = true,
        shared_with_groups: Empty = (),
        only_allow_merge_if_pipeline_succeeds: Boolean = false,
        allow_merge_on_skipped_pipeline: Nullable<Boolean> = (),
        request_access_enabled: Boolean = true,
        only_allow_merge_if_all_discussions_are_resolved: Boolean = false,
        remove_source_branch_after_merge: Boolean = true,
        printing_merge_request_link_enabled: Boolean = true,
        merge_method: Text = "merge",
        squash_option: Text = "default_off",
        enforce_auth_checks_on_uploads: Boolean = true,
        suggestion_commit_message: Nullable<Text> = (),
        merge_commit_template: Nullable<Text> = (),
        squash_commit_template: Nullable<Text> = (),
        mr_default_title_template since V19_1: Nullable<Text> = (),
        issue_branch_template: Nullable<Text> = (),
        statistics when statistics: ProjectStatistics = (),
        warn_about_potentially_unwanted_characters: Boolean = true,
        autoclose_referenced_issues: Boolean = true,
        max_artifacts_size: Nullable<Integer> = (),
        compliance_frameworks: Empty = (),
        permissions when permissions: ProjectPermissions = it.membership,
    }
}

entity! {
    ProjectFeatures(it: Shown<'_>) {
        issues_access_level: Text = "enabled",
        repository_access_level: Text = "enabled",
        merge_requests_access_level: Text = "enabled",
        forking_access_level: Text = "enabled",
        wiki_access_level: Text = "enabled",
        builds_access_level: Text = "enabled",
        snippets_access_level: Text = "enabled",
        pages_access_level: Text = "private",
        analytics_access_level: Text = "enabled",
        container_registry_access_level: Text = "disabled",
        security_and_compliance_access_level: Text = "private",
        releases_access_level: Text = "enabled",
        environments_access_level: Text = "enabled",
        feature_flags_access_level: Text = "enabled",
        infrastructure_access_level: Text = "enabled",
        monitor_access_level: Text = "enabled",
        model_experiments_access_level: Text = "enabled",
        model_registry_access_level: Text = "enabled",
        package_registry_access_level: Text = "enabled",
    }
}

entity! {
    /// What cleans up a registry. There is none, so it is off and does nothing at its next run.
    ContainerExpirationPolicy(it: Shown<'_>) {
        cadence: Text = "1d",
        enabled: Boolean = false,
        keep_n: Integer = 10,
        older_than: Text = "90d",
        name_regex: Text = ".*",
        name_regex_keep: Nullable<Text> = (),
        next_run_at: DateTime = it.project.created_at + Duration::from_secs(24 * 3600),
    }
}

entity! {
    ProjectPipelines(it: Shown<'_>) {
        ci_default_git_depth: Integer = 20,
        ci_delete_pipelines_in_seconds: Nullable<Integer> = (),
        ci_forward_deployment_enabled: Boolean = true,
        ci_forward_deployment_rollback_allowed: Boolean = true,
        ci_job_token_scope_enabled: Boolean = false,
        ci_separated_caches: Boolean = true,
        ci_allow_fork_pipelines_to_run_in_parent_project: Boolean = true,
        ci_id_token_sub_claim_components: List<Text> = ["project_path", "ref_type", "ref"],
        build_git_strategy: Text = "fetch",
        keep_latest_artifact: Boolean = true,
        restrict_user_defined_variables: Boolean = true,
        ci_pipeline_variables_minimum_override_role: Text = "developer",
        runner_token_expiration_interval: Nullable<Integer> = (),
        group_runners_enabled: Boolean = true,
        resource_group_default_process_mode: Text = "unordered",
        auto_cancel_pending_pipelines: Text = "enabled",
        build_timeout: Integer = 3600,
        auto_devops_enabled: Boolean = false,
        auto_devops_deploy_strategy: Text = "continuous",
        ci_push_repository_for_job_token_allowed: Boolean = false,
        protect_merge_request_pipelines: Boolean = true,
        ci_display_pipeline_variables: Boolean = false,
        // As where runners are not registered by a token.
        runners_token: Nullable<Text> = (),
    }
}

entity! {
    ProjectNamespace(it: InNamespace<'_>) {
        id: Integer = it.namespace.id,
        name: Text = &it.namespace.name,
        path: Text = &it.namespace.path,
        kind: OneOf<NamespaceKind> = it.namespace.kind,
        full_path: Text = &it.namespace.full_path,
        parent_id: Nullable<Integer> = it.namespace.parent_id,
        avatar_url: Nullable<Url> = (),
        web_url: Url = it.web_url(),
    }
}

entity! {
    ProjectLinks(it: Shown<'_>) {
        self: Url = it.link(""),
        issues: Url = it.link("/issues"),
        merge_requests: Url = it.link("/merge_requests"),
        repo_branches: Url = it.link("/repository/branches"),
        labels: Url = it.link("/labels"),
        events: Url = it.link("/events"),
        members: Url = it.link("/members"),
        cluster_agents: Url = it.link("/cluster_agents"),
    }
}

entity! {
    ProjectPermissions(it: project::Membership) {
        project_access: Nullable<ProjectAccess> = it.project,
        group_access: Nullable<ProjectAccess> = it.group,
    }
}

entity! {
    ProjectAccess(it: AccessLevel) {
        access_level: Level = *it,
        notification_level: Integer = 3,
    }
}

entity! {
    ProjectStatistics(it: ()) {
        commit_count: Integer = 0,
        storage_size: Integer = 0,
        repository_size: Integer = 0,
        wiki_size: Integer = 0,
        lfs_objects_size: Integer = 0,
        job_artifacts_size: Integer = 0,
        pipeline_artifacts_size: Integer = 0,
        packages_size: Integer = 0,
        snippets_size: Integer = 0,
        uploads_size: Integer = 0,
        container_registry_size: Integer = 0,
    }
}

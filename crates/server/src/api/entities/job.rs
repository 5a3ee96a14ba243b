//! The job of a job token (rest-api.md 2.12).

use tollhouse_domain::access::Viewer;
use tollhouse_domain::lookup::JobTokenRecord;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::job_tokens;

use super::user::{self, UserBasic};
use crate::entity::entity;
use crate::entity::types::{Boolean, DateTime, Empty, Integer, Null, Text};
use crate::urls::Urls;

/// A job that runs, and its user.
pub struct Shown<'a> {
    pub job: &'a JobTokenRecord,
    pub user: &'a User,
    pub urls: &'a Urls,
    pub viewer: Viewer,
    pub now: Timestamp,
}

impl<'a> Shown<'a> {
    fn user(&self) -> user::Shown<'a> {
        user::Shown::new(self.urls, self.user, self.viewer, self.now)
    }
}

entity! {
    /// `GET /job`. There are no pipelines here; of the job only its token, its user and its project are known.
    pub Job(it: Shown<'_>) {
        id: Integer = it.job.id,
        // A job that is over has no token.
        status: Text = "running",
        stage: Null = (),
        name: Null = (),
        ref: Null = (),
        tag: Boolean = false,
        coverage: Null = (),
        allow_failure: Boolean = false,
        created_at: DateTime = it.job.created_at,
        started_at: DateTime = it.job.created_at,
        finished_at: Null = (),
        erased_at: Null = (),
        user: UserBasic = it.user(),
        commit: Null = (),
        pipeline: Pipeline = it.job,
        web_url: Null = (),
        artifacts: Empty = (),
        runner: Null = (),
        artifacts_expire_at: Null = (),
        archived: Boolean = false,
        tag_list: Empty = (),
    }
}

entity! {
    /// Where the job runs.
    pub Pipeline(job: &JobTokenRecord) {
        id: Integer = job.id,
        project_id: Integer = job.project,
    }
}

/// A job token and its secret, which is shown once.
pub struct WithSecret<'a> {
    pub token: &'a job_tokens::JobToken,
    pub secret: &'a str,
}

entity! {
    /// `tollhouse token create --kind job --json`
    pub JobTokenWithSecret(it: WithSecret<'_>) {
        id: Integer = it.token.id,
        project_id: Integer = it.token.project,
        user_id: Integer = it.token.user,
        created_at: DateTime = it.token.created_at,
        expires_at: DateTime = it.token.expires_at,
        token: Text = it.secret,
    }
}

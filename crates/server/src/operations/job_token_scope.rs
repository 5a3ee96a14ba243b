//! Whose jobs may use their tokens for a project (rest-api.md 2.12).

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::ProjectId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::job_tokens;
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};

/// Decides whether a project admits only its own jobs and those of its allowlist. It begins so. What the database says
/// counts from the commit on: nothing of it is remembered.
#[derive(Clone, Copy, Debug)]
pub struct LimitJobs {
    /// The project.
    pub project: ProjectId,
    /// `false`: it admits the jobs of every project.
    pub limited: bool,
}

impl Operation for LimitJobs {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        job_tokens::set_limited(tx, self.project, self.limited).await?;
        let detail = if self.limited { "limited" } else { "not limited" };
        Ok(Change::new((), [Audit::new("job_token_scope.changed", target(self.project)).with(detail)]))
    }
}

/// Adds to the allowlist of a project, or takes out of it.
#[derive(Clone, Copy, Debug)]
pub struct ChangeAllowlist {
    /// The project whose list it is.
    pub project: ProjectId,
    /// The project, or the group with everything inside, whose jobs are meant.
    pub from: MembershipSource,
    /// Whether these may use their tokens.
    pub admitted: bool,
}

impl Operation for ChangeAllowlist {
    /// `false`: it was so already.
    type Output = bool;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        let (changed, event) = match self.admitted {
            true => (job_tokens::admit(tx, self.project, self.from, None, now).await?, "job_token_scope.admitted"),
            false => (job_tokens::dismiss(tx, self.project, self.from).await?, "job_token_scope.dismissed"),
        };
        if !changed {
            return Ok(Change::already(false));
        }
        let (kind, id) = match self.from {
            MembershipSource::Group(id) => ("group", id.0),
            MembershipSource::Project(id) => ("project", id.0),
        };
        Ok(Change::new(true, [Audit::new(event, target(self.project)).with(format!("{kind} {id}"))]))
    }
}

fn target(id: ProjectId) -> Target {
    Target::new("project", id.0)
}

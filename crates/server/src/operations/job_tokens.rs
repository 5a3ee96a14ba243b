//! Tokens of CI jobs: made, and revoked before their job is over (rest-api.md 2.12).

use std::time::Duration;

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{JobTokenId, ProjectId, UserId};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::AccountState;
use tollhouse_store::job_tokens::{self, JobToken};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{members, users};

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// The longest that a job may run.
pub const LONGEST_JOB: Duration = Duration::from_secs(30 * 24 * 3600);

/// Makes the token that a CI hands to its job.
#[derive(Clone, Copy, Debug)]
pub struct CreateJobToken {
    /// The project in which the job runs.
    pub project: ProjectId,
    /// The user whose job it is: a Developer of the project or above, or an administrator.
    pub user: UserId,
    /// How long the job may run, at most [`LONGEST_JOB`].
    pub lifetime: Duration,
}

/// A job token that was just made. The secret is shown once.
#[derive(Clone, Debug)]
pub struct Created {
    /// The token.
    pub token: JobToken,
    /// Its secret in clear.
    pub secret: Plaintext,
}

impl Operation for CreateJobToken {
    type Output = Created;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        if self.lifetime.is_zero() || self.lifetime > LONGEST_JOB {
            return Err(Refusal::field("lifetime", FieldFault::JobLifetime).into());
        }
        let user = users::find(tx, self.user).await?.ok_or(Refusal::NotFound(ResourceKind::User))?;
        if user.state != AccountState::Active {
            return Err(Refusal::field("user", FieldFault::MayNotRunJobs).into());
        }
        let membership = members::inherited(tx, self.project, self.user, now).await?;
        let enough = membership.is_some_and(|held| held.level >= AccessLevel::Developer);
        if !enough && !user.administrator {
            return Err(Refusal::field("user", FieldFault::MayNotRunJobs).into());
        }
        let secret = Plaintext::job_token();
        let expires_at = now + self.lifetime;
        let id = job_tokens::insert(tx, secret.digest(), (self.project, self.user), expires_at, now).await?;
        let token = job_tokens::find(tx, id).await?.ok_or(Failed::Inconsistent)?;
        let detail = format!("for user {} in project {}, until {}", self.user, self.project, expires_at.iso());
        Ok(Change::new(Created { token, secret }, [Audit::new("job_token.created", target(id)).with(detail)]))
    }
}

/// Revokes a job token for good: its job is over.
#[derive(Clone, Copy, Debug)]
pub struct RevokeJobToken {
    /// The token. [`ResourceKind::Record`] is told if there is none.
    pub id: JobTokenId,
}

impl Operation for RevokeJobToken {
    /// `false`: it was revoked already.
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        if job_tokens::revoke(tx, self.id, now).await? {
            return Ok(Change::new(true, [Audit::new("job_token.revoked", target(self.id))]));
        }
        job_tokens::find(tx, self.id).await?.ok_or(Refusal::NotFound(ResourceKind::Record))?;
        Ok(Change::already(false))
    }
}

/// A job token in the audit log.
fn target(id: JobTokenId) -> Target {
    Target::new("job_token", id.0)
}

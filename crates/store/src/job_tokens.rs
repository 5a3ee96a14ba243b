//! `job_tokens`, and whose jobs may use their tokens for a project.

#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{JobTokenId, ProjectId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::members::source;

/// The token of a CI job, whatever its state.
#[derive(Clone, Debug)]
pub struct JobToken {
    /// `id` of the job on the wire.
    pub id: JobTokenId,
    /// The project in which the job runs.
    pub project: ProjectId,
    /// The user whose job it is.
    pub user: UserId,
    /// When the job began.
    pub created_at: Timestamp,
    /// The first instant at which the job is over.
    pub expires_at: Timestamp,
    /// When it was revoked. `None`: it was not.
    pub revoked_at: Option<Timestamp>,
}

row! {
    struct Row {
        id: i64,
        project_id: i64,
        user_id: i64,
        created_at: i64,
        expires_at: i64,
        revoked_at: Option<i64>,
    }
}

impl Row {
    fn token(self) -> JobToken {
        JobToken {
            id: JobTokenId(self.id),
            project: ProjectId(self.project_id),
            user: UserId(self.user_id),
            created_at: Timestamp(self.created_at),
            expires_at: Timestamp(self.expires_at),
            revoked_at: self.revoked_at.map(Timestamp),
        }
    }
}

/// By number, whatever its state.
pub async fn find(at: &mut impl Runs, id: JobTokenId) -> Result<Option<JobToken>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    Ok(row.map(Row::token))
}

/// By the digest of its secret, whatever its state.
pub async fn by_digest(at: &mut impl Runs, digest: Digest) -> Result<Option<JobToken>> {
    let row: Option<Row> = query(BY_DIGEST).bind(&digest.0[..]).optional(at).await?;
    Ok(row.map(Row::token))
}

/// Inserts the token of a job that runs until `expires_at`.
pub async fn insert(
    tx: &mut Tx,
    digest: Digest,
    (project, user): (ProjectId, UserId),
    expires_at: Timestamp,
    now: Timestamp,
) -> Result<JobTokenId> {
    tx.creates(digest);
    let id: i64 =
        query(INSERT).bind(&digest.0[..]).bind(project.0).bind(user.0).bind(now.0).bind(expires_at.0).one(tx).await?;
    Ok(JobTokenId(id))
}

/// Revokes a token for good. `false`: it was revoked already, or there is none.
pub async fn revoke(tx: &mut Tx, id: JobTokenId, now: Timestamp) -> Result<bool> {
    let digest: Option<Vec<u8>> = query(REVOKE).bind(id.0).bind(now.0).optional(tx).await?;
    let Some(digest) = digest.as_deref().and_then(Digest::from_slice) else { return Ok(false) };
    tx.invalidate(Invalidation::Token(digest));
    #[cfg(feature = "faults")]
    tx.unmark(Mutant::JobTokenUnmarked);
    Ok(true)
}

/// Whether a job of the project `from` may use its token for the project `to`: it is the same, `to` admits every job, or
/// the allowlist of `to` has `from` or a group around it. `None`: there is no project `to`. It is asked anew for each
/// request and never remembered, so a change of the list needs no invalidation.
pub async fn admitted(at: &mut impl Runs, from: ProjectId, to: ProjectId) -> Result<Option<bool>> {
    query(ADMITTED).bind(from.0).bind(to.0).optional(at).await
}

/// Whether `of` admits only jobs of its own and of its allowlist. Nothing is remembered of it, so it needs no
/// invalidation.
pub async fn set_limited(tx: &mut Tx, of: ProjectId, limited: bool) -> Result<()> {
    query(SET_LIMITED).bind(of.0).bind(limited).changed(tx).await.map(drop)
}

/// Adds a project, or a group with everything inside, to the allowlist of `of`. `false`: it is there already.
pub async fn admit(
    tx: &mut Tx,
    of: ProjectId,
    from: MembershipSource,
    by: Option<UserId>,
    now: Timestamp,
) -> Result<bool> {
    let (kind, id) = source(from);
    let by = by.map(|id| id.0);
    Ok(query(ADMIT).bind(of.0).bind(kind).bind(id).bind(by).bind(now.0).changed(tx).await? == 1)
}

/// Takes a project or group out of the allowlist of `of`. `false`: it was not there.
pub async fn dismiss(tx: &mut Tx, of: ProjectId, from: MembershipSource) -> Result<bool> {
    let (kind, id) = source(from);
    Ok(query(DISMISS).bind(of.0).bind(kind).bind(id).changed(tx).await? == 1)
}

statements! {
    SET_LIMITED = "UPDATE projects SET job_tokens_limited = $2 WHERE id = $1";

    ADMIT = "
    INSERT INTO job_token_allowlist (project_id, source_kind, source_id, created_by_id, created_at)
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";

    DISMISS = "DELETE FROM job_token_allowlist WHERE project_id = $1 AND source_kind = $2 AND source_id = $3";

    FIND = "SELECT id, project_id, user_id, created_at, expires_at, revoked_at FROM job_tokens WHERE id = $1";

    BY_DIGEST = "SELECT id, project_id, user_id, created_at, expires_at, revoked_at FROM job_tokens WHERE digest = $1";

    INSERT = "
    INSERT INTO job_tokens (digest, project_id, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5) RETURNING id";

    REVOKE = "UPDATE job_tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL RETURNING digest";

    ADMITTED = "
    WITH RECURSIVE above(id) AS (
        SELECT namespace_id FROM projects WHERE id = $1
        UNION
        SELECT n.parent_id FROM namespaces n JOIN above ON n.id = above.id WHERE n.parent_id IS NOT NULL
    )
    SELECT p.id = $1 OR NOT p.job_tokens_limited
        OR EXISTS (SELECT 1 FROM job_token_allowlist a
                    WHERE a.project_id = p.id AND (a.source_kind = 'project' AND a.source_id = $1
                                                OR a.source_kind = 'group' AND a.source_id IN (SELECT id FROM above)))
      FROM projects p WHERE p.id = $2";
}

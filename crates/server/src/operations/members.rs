//! Who belongs to a group or project.

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::members;
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes somebody a member. [`FieldFault::AlreadyMember`] if they are one now.
#[derive(Clone, Copy, Debug)]
pub struct Add {
    /// The group or project.
    pub of: MembershipSource,
    /// Who.
    pub user: UserId,
    /// The level that is given.
    pub level: AccessLevel,
    /// The first day on which it counts no longer.
    pub expires_at: Option<Date>,
}

impl Operation for Add {
    type Output = ();
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        // One that is over is nothing to whoever asks, so it is in nobody's way.
        members::remove_over(tx, self.of, self.user, now).await?;
        match members::insert(tx, self.of, self.user, self.level, self.expires_at, None, now).await {
            Err(StoreError::Taken) => return Err(Refusal::field("user", FieldFault::AlreadyMember).into()),
            added => added?,
        }
        let detail = format!("user {} as {}", self.user, self.level as i64);
        Ok(Change::new((), [Audit::new("member.added", target(self.of)).with(detail)]))
    }
}

/// Ends a membership. [`FieldFault::LastOwner`] if the group would be without an owner.
#[derive(Clone, Copy, Debug)]
pub struct Remove {
    /// The group or project.
    pub of: MembershipSource,
    /// Whose.
    pub user: UserId,
}

impl Operation for Remove {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        // rest-api.md 4.5: a group is not left without an owner.
        if let MembershipSource::Group(group) = self.of
            && let Some(member) = members::find(tx, self.of, self.user).await?
            && member.level == AccessLevel::Owner
            && !member.is_over(now)
            && !members::has_other_owner(tx, group, self.user, now).await?
        {
            return Err(Refusal::field("user", FieldFault::LastOwner).into());
        }
        if !members::remove(tx, self.of, self.user).await? {
            return Err(Refusal::NotFound(ResourceKind::Record).into());
        }
        Ok(Change::new((), [Audit::new("member.removed", target(self.of)).with(format!("user {}", self.user))]))
    }
}

fn target(of: MembershipSource) -> Target {
    match of {
        MembershipSource::Group(id) => Target::new("group", id.0),
        MembershipSource::Project(id) => Target::new("project", id.0),
    }
}

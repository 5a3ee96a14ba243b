//! What a caller is to a group or project inside the transaction: the right may end between the pipeline and the change.

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::{Ability, TargetKind};
use tollhouse_domain::id::UserId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, User};
use tollhouse_store::tx::Tx;
use tollhouse_store::{members, namespaces, projects, users};

use crate::operations::{Failed, refused};
use crate::refusal::{Refusal, ResourceKind};

/// Somebody, and what they are to a group or project inside the transaction.
pub struct Standing {
    /// The account.
    pub user: User,
    /// Their highest level there, by membership of it or of a group above.
    pub level: Option<AccessLevel>,
}

impl Standing {
    /// Whether they have the ability on the target that this is about.
    pub fn is_able(&self, ability: Ability, on: TargetKind) -> bool {
        ability.is_met(on, self.level, self.user.administrator)
    }

    /// Whether they have at least this level, as administrators have any.
    pub fn reaches(&self, level: Option<AccessLevel>) -> bool {
        self.user.administrator || self.level >= level
    }
}

/// What the caller is to the target now. One who cannot see it any more is told that it is not there, and an account that
/// may not act any more is refused.
pub async fn standing(
    tx: &mut Tx,
    caller: UserId,
    target: MembershipSource,
    now: Timestamp,
) -> Result<Standing, Failed> {
    let absent = Refusal::NotFound(match target {
        MembershipSource::Group(_) => ResourceKind::Group,
        MembershipSource::Project(_) => ResourceKind::Project,
    });
    let user = users::find(tx, caller).await?.ok_or_else(|| absent.clone())?;
    if user.state != AccountState::Active {
        return Err(Refusal::NotYours.into());
    }
    let level = members::level(tx, target, caller, now).await?;
    let sees = level.is_some()
        || match target {
            MembershipSource::Group(id) => namespaces::visible_group(tx, id, user.viewer(), now).await?.is_some(),
            MembershipSource::Project(id) => projects::visible(tx, id, user.viewer(), now).await?.is_some(),
        };
    if sees { Ok(Standing { user, level }) } else { Err(absent.into()) }
}

/// The same, for a caller who must have the ability now.
pub async fn require(
    tx: &mut Tx,
    caller: UserId,
    ability: Ability,
    target: MembershipSource,
    now: Timestamp,
) -> Result<Standing, Failed> {
    let standing = standing(tx, caller, target, now).await?;
    match standing.is_able(ability, target.kind()) {
        true => Ok(standing),
        false => Err(refused(ability, target.kind()).into()),
    }
}

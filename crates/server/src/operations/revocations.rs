//! In an incident: many tokens are revoked together.

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::AccountState;
use tollhouse_store::revocations::{self, Selected, Selection};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::users;

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal};

/// Revokes every token of a selection, with the whole family of each, in one transaction.
///
/// A token that is made while it runs may survive it: who can still sign in, or still has a token elsewhere, is blocked
/// first.
#[derive(Clone, Debug)]
pub struct RevokeSelected {
    /// Which tokens.
    pub selection: Selection,
    /// Who has to be an administrator, in use, at the commit. `None`: the operator.
    pub administrator: Option<UserId>,
    /// Nothing is changed; the outcome is what would be revoked.
    pub dry_run: bool,
}

impl Operation for RevokeSelected {
    /// By kind, then by number.
    type Output = Vec<Selected>;
    const GROWS: bool = false;
    /// `false`, though it does: ten thousand tokens take long, and what commits together waits for the slowest.
    const REVOKES: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Vec<Selected>>, Failed> {
        if let Some(id) = self.administrator {
            let caller = users::find(tx, id).await?;
            if !caller.is_some_and(|caller| caller.administrator && caller.state == AccountState::Active) {
                return Err(Refusal::NotAllowed.into());
            }
        }
        // It would be every token there is.
        if self.selection.is_empty() {
            return Err(Refusal::field("user", FieldFault::Blank).into());
        }
        if self.dry_run {
            return Ok(Change::nothing(revocations::selected(tx, &self.selection, now).await?));
        }
        let ended = revocations::end(tx, &self.selection, now).await?;
        let lines: Vec<Audit> = ended.iter().map(|one| line(one, ended.len())).collect();
        let mut lines = lines.into_iter();
        // Whoever repeats it after a lost answer is told when every node knows (revocation.md W4).
        let Some(first) = lines.next() else { return Ok(Change::already(ended)) };
        Ok(lines.fold(Change::new(ended, [first]), Change::also))
    }
}

fn line(one: &Selected, of: usize) -> Audit {
    let owner = one.owner.map_or_else(|| "of nobody".to_owned(), |user| format!("of user {user}"));
    Audit::new("token.revoked", Target::new(one.kind, one.id)).with(format!("{owner}, one of {of} at once"))
}

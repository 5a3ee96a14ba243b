//! What a caller may do, once: the rules and the transaction. The REST API, the pages and the command line only
//! translate.
//!
//! An operation is a value. Its `run` returns a [`Change`]. Only [`crate::app::App::perform`] has it committed (by
//! `Db::perform`) and returns the [`Done`], without which there is no 2xx.

use std::sync::Arc;

use tollhouse_domain::access::ability::{Ability, TargetKind, Unmet};
use tollhouse_domain::time::Timestamp;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::tx::{Change, Tx};

use crate::refusal::{FieldFault, Refusal};

pub mod applications;
pub mod deploy_tokens;
pub mod grants;
pub mod groups;
pub mod job_token_scope;
pub mod job_tokens;
pub mod keys;
pub mod members;
pub mod named;
pub mod nodes;
pub mod password_check;
pub mod projects;
pub mod refresh;
pub mod resource_access_tokens;
pub mod revocations;
pub mod rotate;
pub mod rotation;
pub mod service_accounts;
pub mod sign_in;
pub mod standing;
pub mod tokens;
pub mod users;

/// A change with its rules, as a value. [`App::perform`](crate::app::App::perform) runs it in one transaction and gives
/// its output when every node has applied what it made untrue.
///
/// A transaction that loses a conflict is retried, so `run` may be called several times and must have no effect outside
/// its transaction.
pub trait Operation: Send + Sync + 'static {
    /// What the caller gets.
    type Output: Send + 'static;

    /// Whether it takes something new in, which is refused when the disk is nearly full (T29). What takes rights
    /// away never is.
    const GROWS: bool = true;

    /// Whether it usually makes something untrue that servers remember, and so writes to the log that all of them follow.
    const REVOKES: bool = false;

    /// May await only statements of its transaction: on SQLite it runs on the writer thread.
    fn run(&self, tx: &mut Tx, now: Timestamp) -> impl Future<Output = Result<Change<Self::Output>, Failed>> + Send;
}

/// The refusal of somebody who sees the target and lacks the ability.
pub fn refused(ability: Ability, on: TargetKind) -> Refusal {
    match ability.unmet() {
        Unmet::Forbidden => Refusal::NotAllowed,
        Unmet::Unauthorized => Refusal::NotYours,
        Unmet::InvalidField(name) => Refusal::field(name, FieldFault::NotAllowedHere),
        Unmet::NoAccessTokens => Refusal::NoAccessTokens(on),
    }
}

/// Lets a caller keep the operation after it was performed.
impl<O: Operation> Operation for Arc<O> {
    type Output = O::Output;

    const GROWS: bool = O::GROWS;
    const REVOKES: bool = O::REVOKES;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Self::Output>, Failed> {
        O::run(self, tx, now).await
    }
}

/// The outcome of an operation that is durable, and forgotten wherever it has to be.
#[must_use]
#[derive(Debug)]
pub struct Done<T>(T);

impl<T> Done<T> {
    /// Only where the change is acknowledged.
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }

    /// What the operation gave.
    pub fn into_inner(self) -> T {
        self.0
    }
}

/// Why one attempt at an operation did not succeed.
#[derive(Debug)]
pub enum Failed {
    /// The database did not do it; a conflict is tried again.
    Store(StoreError),
    /// A rule forbids it. Nothing was changed.
    Refused(Refusal),
    /// What was asked for has been done before: whoever asked may never have heard of it, so it is told when everybody knows
    /// (revocation.md W4).
    Already(Refusal),
    /// The rows contradict each other.
    Inconsistent,
    /// What a decision needs is not there any more; the same request decides anew.
    Undecided,
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Failed {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

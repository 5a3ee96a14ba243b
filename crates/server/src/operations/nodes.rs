//! The servers that run on one database.

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::time::Timestamp;
use tollhouse_store::nodes;
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};

/// Finds out which servers are alive. It writes an empty entry to the log and waits until every server has read it, as after
/// a revocation (revocation.md N3). A server that does not read it in time is marked (W3).
#[derive(Clone, Copy, Debug)]
pub struct Ask;

impl Operation for Ask {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        nodes::announce(tx);
        Ok(Change::nothing(()))
    }
}

/// Makes every server forget what it remembers: for what was changed by hand in the database (revocation.md section 6).
#[derive(Clone, Copy, Debug)]
pub struct Refresh;

impl Operation for Refresh {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        tx.invalidate_all();
        Ok(Change::new((), [Audit::new("nodes.refreshed", Target::new("instance", 1))]))
    }
}

//! Makes the storage fail on demand, for tests (T32). Not in any default build.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tollhouse_domain::id::UserId;

use crate::error::{Error, Result};
use crate::tx::Tx;

/// What fails from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    None = 0,
    /// Nothing can be read or written.
    Everything = 1,
    /// Reads work, transactions cannot begin.
    Writes = 2,
    /// The commit happens, but its acknowledgement is lost.
    CommitReply = 3,
}

#[derive(Clone, Debug, Default)]
pub struct Faults(Arc<AtomicU8>);

impl Faults {
    pub fn set(&self, fault: Fault) {
        self.0.store(fault as u8, Ordering::SeqCst);
    }

    pub(crate) fn check(&self, faults: &[Fault]) -> Result<()> {
        let now = self.0.load(Ordering::SeqCst);
        if faults.iter().any(|fault| *fault as u8 == now) {
            return Err(Error::Unavailable(sqlx::Error::PoolClosed));
        }
        Ok(())
    }
}

/// There is no operation that deletes a user yet; the table is tested all the same.
pub async fn delete_user(tx: &mut Tx, id: UserId) -> Result<()> {
    for text in DELETIONS {
        changed!(tx, sqlx::query(text).bind(id.0))?;
    }
    Ok(())
}

/// Nor one that sets how many projects somebody may have.
pub async fn set_projects_limit(tx: &mut Tx, id: UserId, limit: i64) -> Result<()> {
    changed!(tx, sqlx::query("UPDATE users SET projects_limit = $2 WHERE id = $1").bind(id.0).bind(limit)).map(drop)
}

const DELETIONS: [&str; 4] = [
    "DELETE FROM routes WHERE source_kind = 'namespace'
        AND source_id IN (SELECT id FROM namespaces WHERE owner_id = $1)",
    "UPDATE users SET namespace_id = NULL WHERE id = $1",
    "DELETE FROM namespaces WHERE owner_id = $1",
    "DELETE FROM users WHERE id = $1",
];

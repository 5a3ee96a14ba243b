//! A transaction of one connection.

use std::sync::Arc;

use super::pool::{Held, Pool};
use super::session::Session;
use crate::conn::PATIENCE_OF_A_WRITER;
use crate::error::{Error, Result};

pub(crate) struct Transaction {
    held: Option<Held>,
}

impl Transaction {
    pub(crate) async fn begin(pool: &Arc<Pool>) -> Result<Self> {
        // Dropped in the middle of BEGIN, it rolls back.
        let mut begun = Self { held: Some(pool.take().await?) };
        begun.session().ok_or_else(Error::closed)?.batch(BEGIN, PATIENCE_OF_A_WRITER).await?;
        Ok(begun)
    }

    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.held.as_mut().and_then(Held::session)
    }

    pub(crate) async fn commit(mut self) -> Result<()> {
        let mut held = self.held.take().ok_or_else(Error::closed)?;
        let session = held.session().ok_or_else(Error::closed)?;
        let done = session.batch("COMMIT", PATIENCE_OF_A_WRITER).await;
        if done.is_err() {
            held.discard();
        }
        done
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            held.discard();
            return;
        };
        runtime.spawn(async move {
            let Some(session) = held.session() else { return };
            if session.batch("ROLLBACK", PATIENCE_OF_A_WRITER).await.is_err() {
                held.discard();
            }
        });
    }
}

/// Each statement sees what was committed before it, and an acknowledged commit is on the disk (D1), whatever the defaults
/// of the server are, or somebody has set on a connection that a pooler passes around. Whoever stands still in a transaction
/// holds the others up for four seconds, not for ever.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL synchronous_commit = on;
    SET LOCAL idle_in_transaction_session_timeout = '4s';
    SET LOCAL lock_timeout = '6s';
    SET LOCAL statement_timeout = '8s'";

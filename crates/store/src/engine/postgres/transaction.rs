//! A transaction of one connection.

use std::sync::Arc;

use super::pool::{Held, Pool};
use super::session::{Answer, Session};
use crate::engine::conn::PATIENCE_OF_A_WRITER;
use crate::error::{Error, Result};

/// Each statement sees what was committed before it, and an acknowledged commit is on the disk (D1). The transaction
/// sets this itself, because the defaults of the server, or of a connection from a pooler, may differ. An idle
/// transaction blocks others for at most four seconds.
macro_rules! begin {
    ($lock:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL synchronous_commit = on;
    SET LOCAL idle_in_transaction_session_timeout = '4s';
    SET LOCAL lock_timeout = '",
            $lock,
            "';
    SET LOCAL statement_timeout = '8s'"
        )
    };
}

const BEGIN: &str = begin!("6s");
const BEGIN_TOGETHER: &str = begin!("500ms");

/// Before the end of what [`Transaction::begin_together`] began: the head of the log is waited for as usual.
pub(crate) const LAST_OF_ALL: &str = "SET LOCAL lock_timeout = '6s'";

/// Rolled back when it is dropped without a commit.
pub(crate) struct Transaction {
    held: Option<Held>,
}

impl Transaction {
    /// It is begun on the server with its first statement.
    pub(crate) async fn begin(pool: &Arc<Pool>) -> Result<Self> {
        Self::begin_as(pool, BEGIN).await
    }

    /// The same for several operations, of which none may hold the others up for long.
    pub(crate) async fn begin_together(pool: &Arc<Pool>) -> Result<Self> {
        Self::begin_as(pool, BEGIN_TOGETHER).await
    }

    async fn begin_as(pool: &Arc<Pool>, how: &'static str) -> Result<Self> {
        let mut held = pool.take().await?;
        held.session().ok_or_else(Error::closed)?.begin(how);
        Ok(Self { held: Some(held) })
    }

    /// `None`: the connection was given back.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.held.as_mut().and_then(Held::session)
    }

    /// Sends what waits, and COMMIT; the answers to all of it. An error leaves open whether it happened, unless the server
    /// says that it did not.
    pub(crate) async fn commit(&mut self) -> Result<Vec<Answer>> {
        self.session().ok_or_else(Error::closed)?.commit(PATIENCE_OF_A_WRITER).await
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(mut held) = self.held.take() else { return };
        match held.session() {
            Some(session) if session.is_open() && session.is_usable() => {}
            Some(session) => return session.forget(),
            None => return,
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            held.discard();
            return;
        };
        runtime.spawn(async move {
            let Some(session) = held.session() else { return };
            if session.roll_back(PATIENCE_OF_A_WRITER).await.is_err() {
                held.discard();
            }
        });
    }
}

//! Connections that are used by one at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Address;
use super::session::Session;
use crate::error::{Error, Result};

pub(crate) struct Pool {
    address: Address,
    permits: Arc<Semaphore>,
    /// With the runtime on which its driver runs: whoever asks there need not wake another thread.
    idle: Mutex<Vec<(Id, Session)>>,
}

/// A connection that goes back when this is dropped, if it can be used again.
pub(crate) struct Held {
    session: Option<Session>,
    runtime: Id,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Pool {
    pub(crate) fn new(address: Address, most: usize) -> Self {
        Self { address, permits: Arc::new(Semaphore::new(most)), idle: Mutex::default() }
    }

    pub(crate) async fn take(self: &Arc<Self>) -> Result<Held> {
        let taking = async {
            let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::closed())?;
            let here = Handle::current().id();
            let (runtime, session) = match self.idle_one(here) {
                Some(found) => found,
                None => (here, self.address.connect().await?),
            };
            Ok(Held { session: Some(session), runtime, pool: self.clone(), _permit: permit })
        };
        tokio::time::timeout(ACQUIRE, taking).await.map_err(|_| Error::late())?
    }

    fn idle_one(&self, here: Id) -> Option<(Id, Session)> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, session)| session.is_usable());
        let near = idle.iter().rposition(|(runtime, _)| *runtime == here);
        match near {
            Some(near) => Some(idle.swap_remove(near)),
            // No more than are allowed may be open: one from elsewhere is better than none.
            None if self.permits.available_permits() < idle.len() => idle.pop(),
            None => None,
        }
    }

    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Held {
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_mut()
    }

    /// Nobody else gets it.
    pub(crate) fn discard(&mut self) {
        self.session = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(session) = self.session.take().filter(Session::is_usable) else { return };
        if !self.pool.permits.is_closed() {
            self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push((self.runtime, session));
        }
    }
}

const ACQUIRE: Duration = Duration::from_secs(5);

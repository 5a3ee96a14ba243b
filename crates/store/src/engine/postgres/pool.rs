//! Connections that are used by one at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::session::{Origin, Session};
use crate::error::{Error, Result};

/// Connections of one purpose, at most a fixed number at a time.
pub(crate) struct Pool {
    origin: Origin,
    permits: Arc<Semaphore>,
    /// Since when.
    idle: Mutex<Vec<(Box<Session>, Instant)>>,
}

/// A connection that goes back when this is dropped, if it can be used again.
pub(crate) struct Held {
    session: Option<Box<Session>>,
    pool: Arc<Pool>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Pool {
    /// `most`: how many may be open at a time.
    pub(crate) fn new(origin: Origin, most: usize) -> Self {
        Self { origin, permits: Arc::new(Semaphore::new(most)), idle: Mutex::default() }
    }

    /// Waits for a free connection for at most 5 seconds, then [`Error::Unavailable`].
    pub(crate) async fn take(self: &Arc<Self>) -> Result<Held> {
        let taking = async {
            let permit = self.permits.clone().acquire_owned().await.map_err(|_| Error::closed())?;
            let session = match self.idle_one(Handle::current().id()) {
                Some(found) => found,
                None => Box::new(self.origin.address.connect_soon(Some(self.origin.clone())).await?),
            };
            Ok(Held { session: Some(session), pool: self.clone(), permit: Some(permit) })
        };
        tokio::time::timeout(ACQUIRE, taking).await.map_err(|_| Error::late())?
    }

    /// One whose driver runs on this runtime need not wake another thread. No more than are allowed may be open: one from
    /// elsewhere is better than none.
    fn idle_one(&self, here: Id) -> Option<Box<Session>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = idle.iter().any(|(session, _)| !session.is_usable());
        if lost {
            // Perhaps with the server that numbers were drawn from; the one in its place may not know of them.
            self.origin.numbers.forget();
        }
        idle.retain(|(session, since)| session.is_usable() && since.elapsed() < LONGEST);
        let near = idle.iter().rposition(|(session, _)| session.runtime() == here);
        let found = match near {
            Some(near) => Some(idle.remove(near)),
            None if self.permits.available_permits() < idle.len() => idle.pop(),
            None => None,
        };
        found.map(|(session, _)| session)
    }

    /// Whoever waits or comes later gets [`Error::Unavailable`]; those in use end when they come back.
    pub(crate) fn close(&self) {
        self.permits.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put_back(&self, mut session: Box<Session>) {
        // What was to be sent with a statement that was never sent is nobody else's.
        session.forget();
        if session.is_usable() && !self.permits.is_closed() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push((session, Instant::now()));
        }
    }
}

impl Held {
    /// `None`: it was discarded.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        self.session.as_deref_mut()
    }

    /// Nobody else gets it.
    pub(crate) fn discard(&mut self) {
        self.session = None;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut session) = self.session.take() else { return };
        if session.is_usable() && !session.is_interrupted() {
            self.pool.put_back(session);
            return;
        }
        // Whoever asked has gone away before the answer. What takes long is ended; its connection goes with it.
        let (pool, permit) = (self.pool.clone(), self.permit.take());
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            match session.is_usable() && session.batch("", SOON).await.is_ok() {
                true => pool.put_back(session),
                false => session.cancel().await,
            }
            drop(permit);
        });
    }
}

const ACQUIRE: Duration = Duration::from_secs(5);

/// Something on the way may forget a connection over which nothing goes.
const LONGEST: Duration = Duration::from_secs(600);

/// Most are answered sooner than another connection is made.
const SOON: Duration = Duration::from_millis(50);

//! Connections that read, each in the thread that asks.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;

use super::{File, connect};
use crate::error::{Error, Result};

/// A connection is given out to one reader at a time. The one that came back last goes first, so there are about as many as
/// threads that read.
pub(crate) struct Readers {
    file: File,
    idle: Mutex<Vec<Connection>>,
    open: AtomicUsize,
    closed: AtomicBool,
}

/// A connection that goes back when this is dropped.
pub(crate) struct Held {
    connection: Option<Connection>,
    readers: Arc<Readers>,
}

impl Readers {
    /// Nothing is opened yet.
    pub(crate) fn new(file: File) -> Self {
        Self { file, idle: Mutex::default(), open: AtomicUsize::new(0), closed: AtomicBool::new(false) }
    }

    /// An idle connection, or a new one. [`Error::Unavailable`] if 64 are open.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Held> {
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open()?,
        };
        Ok(Held { connection: Some(connection), readers: self.clone() })
    }

    fn open(&self) -> Result<Connection> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(Error::closed());
        }
        if self.open.fetch_add(1, Ordering::SeqCst) >= MOST {
            self.open.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::late());
        }
        self.connect().inspect_err(|_| {
            self.open.fetch_sub(1, Ordering::SeqCst);
        })
    }

    fn connect(&self) -> Result<Connection> {
        let connection = connect(&self.file.path, BUSY)?;
        // The path may lead to another file by now.
        self.file.is_there()?;
        connection.execute_batch(&format!("PRAGMA query_only = ON; PRAGMA cache_size = -{CACHE}"))?;
        Ok(connection)
    }

    /// Whoever comes later gets [`Error::Unavailable`]; those in use end when they come back.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    /// `None`: it was given back.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.readers.closed.load(Ordering::SeqCst) {
            self.readers.open.fetch_sub(1, Ordering::SeqCst);
        } else {
            self.readers.idle().push(connection);
        }
    }
}

/// KiB of pages that a reader keeps; it allocates what it has read. The inner pages of the index of ten million tokens take
/// 6 MB, and with SQLite's 2,000 KiB each look-up reads them again.
const CACHE: u32 = 8_192;

/// Readers at once; each holds a few file descriptors and its statements.
const MOST: usize = 64;

/// A reader waits only for whoever recovers the log of a file after a crash. It keeps its thread meanwhile.
const BUSY: Duration = Duration::from_secs(1);

//! Reads that may take long: lists. Most are short and run on the thread of the request. A long one would hold up all other
//! requests of that thread, so it is interrupted after a number of instructions and runs again on a thread for lists.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::readers::Readers;
use super::writer::at_once;
use crate::engine::conn::{Conn, Runs};
use crate::engine::db::Reader;
use crate::engine::work::Boxed;
use crate::error::{Cause, Error, Result};

/// At most one thread fewer than there are cores, and at least one, so that other requests keep a core if there are
/// two.
pub(crate) struct Lists {
    shared: Arc<Shared>,
}

struct Shared {
    readers: Arc<Readers>,
    queue: Mutex<Queue>,
    wake: Condvar,
}

type Task = Box<dyn FnOnce(&Arc<Readers>) + Send>;

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Task>,
    threads: usize,
    idle: usize,
    closed: bool,
}

/// Whoever waits for a list. Its statements are interrupted when this is dropped.
struct Asker {
    gone: Arc<AtomicBool>,
}

impl Lists {
    /// Threads are started when they are needed.
    pub(crate) fn new(readers: Arc<Readers>) -> Self {
        let shared = Shared { readers, queue: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Runs it here if that takes few instructions, else from the beginning in a thread for lists.
    /// [`Error::Unavailable`] if it takes too long; it is interrupted when whoever asked goes away.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>> + Clone + Send + 'static,
        T: Send + 'static,
    {
        if let Some(done) = self.at_once(work.clone()) {
            return done;
        }
        let (tell, told) = oneshot::channel();
        let asker = Asker { gone: Arc::default() };
        let gone = asker.gone.clone();
        self.shared.add(Box::new(move |readers| {
            if !gone.load(Ordering::Relaxed) {
                let done = interruptible(readers, move || gone.load(Ordering::Relaxed), work);
                // Whoever asked may be gone.
                let _ = tell.send(done);
            }
        }))?;
        let told = tokio::time::timeout(PATIENCE, told).await;
        drop(asker);
        told.map_err(|_| Error::late())?.map_err(|_| Error::closed())?
    }

    /// `None`: it was interrupted, because it takes too many instructions for this thread.
    fn at_once<T>(&self, work: impl for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>>) -> Option<Result<T>> {
        let too_long = Arc::new(AtomicBool::new(false));
        let (mut calls, told) = (0, too_long.clone());
        let stop = move || {
            calls += 1;
            told.fetch_or(calls >= CALLS, Ordering::Relaxed);
            calls >= CALLS
        };
        let done = interruptible(&self.shared.readers, stop, work);
        (!too_long.load(Ordering::Relaxed)).then_some(done)
    }

    /// Whoever waits or comes later gets [`Error::Unavailable`].
    pub(crate) fn close(&self) {
        let mut queue = self.shared.lock();
        queue.closed = true;
        queue.waiting.clear();
        self.shared.wake.notify_all();
    }
}

impl Drop for Lists {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs a list on a connection. `stop` is called every [`STEPS`] instructions; its statements are interrupted when it returns
/// `true`.
fn interruptible<T>(
    readers: &Arc<Readers>,
    stop: impl FnMut() -> bool + Send + 'static,
    work: impl for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>>,
) -> Result<T> {
    let mut reader = Reader::sqlite(readers.take()?);
    let Conn::Sqlite(connection) = reader.conn() else { return Err(Error::closed()) };
    connection.progress_handler(STEPS, Some(stop))?;
    let done = catch_unwind(AssertUnwindSafe(|| at_once(work(&mut reader))));
    // The connection is somebody else's afterwards.
    if let Conn::Sqlite(connection) = reader.conn() {
        connection.progress_handler(0, None::<fn() -> bool>)?;
    }
    match done {
        Ok(Some(done)) => done,
        Ok(None) | Err(_) => {
            Err(Error::Broken(Cause::Rule("a list panicked, or waited for something else than its statements")))
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

impl Shared {
    fn add(self: &Arc<Self>, task: Task) -> Result<()> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(Error::closed());
        }
        if queue.waiting.len() >= LONGEST {
            return Err(Error::Unavailable(Cause::Rule("too many wait for a list")));
        }
        queue.waiting.push_back(task);
        // Those that were woken for others still count as idle.
        if queue.idle < queue.waiting.len() && queue.threads < threads() {
            let shared = self.clone();
            std::thread::Builder::new().name(format!("lists-{}", queue.threads)).spawn(move || {
                // Where this may not be set, lists are as important as everything else.
                let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE);
                shared.work();
            })?;
            queue.threads += 1;
        }
        drop(queue);
        self.wake.notify_one();
        Ok(())
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(task) = queue.waiting.pop_front() {
                drop(queue);
                task(&self.readers);
                queue = self.lock();
                continue;
            }
            if queue.closed {
                return;
            }
            queue.idle += 1;
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
            queue.idle -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
}

/// Instructions of SQLite's virtual machine between two calls of the progress handler.
const STEPS: i32 = 1000;

/// Calls before a list is interrupted on the thread of the request: 10,000 instructions, about a quarter of a millisecond.
const CALLS: u32 = 10;

/// With this niceness, threads for lists get about a tenth of a core while other threads want it too.
const NICE: i32 = 10;

/// Lists that wait; beyond it they are refused (503).
const LONGEST: usize = 256;

/// How long somebody waits for a list. It is interrupted then.
const PATIENCE: Duration = Duration::from_secs(5);

//! Reads that may take long: lists. Most are short and run in the thread that asks. One that is not would hold up every
//! other request there, so after a number of steps it is broken off, and runs again on a thread for lists.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::InterruptHandle;
use tokio::sync::oneshot;

use super::readers::Readers;
use super::writer::at_once;
use crate::conn::{Conn, Runs};
use crate::db::Reader;
use crate::error::{Cause, Error, Result};
use crate::work::Boxed;

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

/// Ends the statement that runs for somebody when they no longer wait for it.
struct Asker {
    running: Arc<Mutex<Running>>,
}

enum Running {
    NotYet,
    Now(InterruptHandle),
    NoLonger,
}

impl Lists {
    pub(crate) fn new(readers: Arc<Readers>) -> Self {
        let shared = Shared { readers, queue: Mutex::default(), wake: Condvar::new() };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>> + Clone + Send + 'static,
        T: Send + 'static,
    {
        if let Some(done) = self.at_once(work.clone()) {
            return done;
        }
        let (tell, told) = oneshot::channel();
        let running = Arc::new(Mutex::new(Running::NotYet));
        let asker = Asker { running: running.clone() };
        self.shared.add(Box::new(move |readers| {
            let done = catch_unwind(AssertUnwindSafe(|| read(readers, &running, work)));
            // Whoever asked may be gone.
            let _ = tell.send(done.unwrap_or_else(|_| Err(Error::Broken(Cause::Rule("a list panicked")))));
        }))?;
        let told = tokio::time::timeout(PATIENCE, told).await;
        drop(asker);
        told.map_err(|_| Error::late())?.map_err(|_| Error::closed())?
    }

    /// `None`: it takes more steps than it may here.
    fn at_once<T>(&self, work: impl for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>>) -> Option<Result<T>> {
        let mut reader = match self.shared.readers.take() {
            Ok(held) => Reader::sqlite(held),
            Err(error) => return Some(Err(error)),
        };
        let broken_off = Arc::new(AtomicBool::new(false));
        let Conn::Sqlite(connection) = reader.conn() else { return Some(Err(Error::closed())) };
        let (mut rounds, told) = (0, broken_off.clone());
        let limited = connection.progress_handler(
            STEPS,
            Some(move || {
                rounds += 1;
                let over = rounds >= ROUNDS;
                told.fetch_or(over, Ordering::Relaxed);
                over
            }),
        );
        if let Err(error) = limited {
            return Some(Err(error.into()));
        }
        let done = catch_unwind(AssertUnwindSafe(|| at_once(work(&mut reader))));
        if let Conn::Sqlite(connection) = reader.conn()
            && let Err(error) = connection.progress_handler(0, None::<fn() -> bool>)
        {
            return Some(Err(error.into()));
        }
        match done {
            _ if broken_off.load(Ordering::Relaxed) => None,
            Ok(Some(done)) => Some(done),
            Ok(None) | Err(_) => Some(Err(Error::Broken(Cause::Rule(
                "a list panicked, or waited for something else than its statements",
            )))),
        }
    }

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

fn read<T>(
    readers: &Arc<Readers>,
    running: &Mutex<Running>,
    work: impl for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>>,
) -> Result<T> {
    let mut reader = Reader::sqlite(readers.take()?);
    let Conn::Sqlite(connection) = reader.conn() else { return Err(Error::closed()) };
    let handle = connection.get_interrupt_handle();
    match &mut *lock(running) {
        Running::NoLonger => return Err(Error::late()),
        state => *state = Running::Now(handle),
    }
    // Dropped before the reader, also in a panic: the connection is somebody else's afterwards.
    let _over = Over(running);
    let done = at_once(work(&mut reader));
    done.unwrap_or(Err(Error::Broken(Cause::Rule("a list waited for something else than its statements"))))
}

struct Over<'r>(&'r Mutex<Running>);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *lock(self.0) = Running::NoLonger;
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        if let Running::Now(handle) = std::mem::replace(&mut *lock(&self.running), Running::NoLonger) {
            handle.interrupt();
        }
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

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, NonZero::get).saturating_sub(1).max(1)
}

/// Between two looks at how much a list has done in the thread that asks, in instructions of SQLite's machine.
const STEPS: i32 = 1000;

/// Threads for lists get a tenth of a core that others want too.
const NICE: i32 = 10;

/// Looks; a quarter of a millisecond in all.
const ROUNDS: u32 = 10;

/// Lists that wait; beyond it they are refused (503).
const LONGEST: usize = 256;

/// How long somebody waits for a list. It is interrupted then.
const PATIENCE: Duration = Duration::from_secs(5);

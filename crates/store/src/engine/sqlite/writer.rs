//! The thread that writes to a SQLite file. Waiting transactions share one commit, since the commit is the expensive
//! part. Each runs in its own savepoint, so that a failure does not affect the others.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{File, connect};
use crate::engine::db::Db;
use crate::engine::tx::Tx;
use crate::engine::work::Job;
use crate::error::{Cause, Error, Result};

/// What is to be written next, and whoever writes it.
pub(crate) struct Writer {
    queue: Arc<Queue>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Queue {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// What others wait for before they can go on: positions in the log, and other housekeeping.
    urgent: VecDeque<Task>,
    tasks: VecDeque<Task>,
    closed: bool,
}

struct Task {
    what: What,
    since: Instant,
}

enum What {
    Job { job: Box<dyn Job>, db: Db },
    Lease(oneshot::Sender<Lease>),
}

/// The writer's connection, in a transaction of its own, in the hands of somebody who gives it back.
pub(crate) struct Lease {
    connection: Option<Connection>,
    back: mpsc::Sender<Returned>,
}

/// What comes back: the connection, and who waits for its transaction to be committed.
type Returned = (Connection, Option<oneshot::Sender<Result<()>>>);

impl Writer {
    /// Opens the file and starts the thread `writer`, which alone writes to it.
    pub(crate) fn start(file: &File) -> Result<Self> {
        let mut connection = connect(&file.path, BUSY)?;
        // A checkpoint is made when those who wait for the commit have been told (see `checkpoint`).
        let pages = Arc::new(AtomicI32::new(0));
        let counted = pages.clone();
        connection.wal_hook(Some(move |_: &mut _, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        let queue = Arc::new(Queue { waiting: Mutex::default(), wake: Condvar::new() });
        let thread = Thread { queue: queue.clone(), connection: Some(connection), file: file.clone(), pages };
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || thread.run())?;
        Ok(Self { queue, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a transaction in; whoever asked for it is told by the job itself.
    pub(crate) fn submit(&self, job: Box<dyn Job>, db: &Db) -> Result<()> {
        let urgent = job.is_urgent();
        self.queue.add(Task { what: What::Job { job, db: db.clone() }, since: Instant::now() }, urgent)
    }

    /// Lends the connection to a caller that runs a transaction statement by statement. All other writers wait until it
    /// ends.
    pub(crate) async fn lease(&self) -> Result<Lease> {
        let (give, given) = oneshot::channel();
        self.queue.add(Task { what: What::Lease(give), since: Instant::now() }, false)?;
        match tokio::time::timeout(WAIT, given).await {
            Ok(given) => given.map_err(|_| Error::late()),
            Err(_) => Err(Error::late()),
        }
    }

    /// Ends when what was taken in is done.
    pub(crate) async fn close(&self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // It may wait for another process, for as long as that takes.
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Queue {
    fn add(&self, task: Task, urgent: bool) -> Result<()> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Error::closed());
        }
        let queue = if urgent { &mut waiting.urgent } else { &mut waiting.tasks };
        if queue.len() >= LONGEST {
            return Err(Error::Unavailable(Cause::Rule("too many wait to write")));
        }
        queue.push_back(task);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// The next one; waits for it. `None`: there will be none.
    fn next(&self) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            if let Some(task) = waiting.take() {
                return Some(task);
            }
            if waiting.closed {
                return None;
            }
            waiting = self.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn next_job(&self) -> Option<Task> {
        let mut waiting = self.lock();
        let first = waiting.urgent.front().or(waiting.tasks.front())?;
        matches!(first.what, What::Job { .. }).then(|| waiting.take())?
    }

    /// Those that have waited for as long as anybody should.
    fn overdue(&self) -> Vec<Task> {
        let mut waiting = self.lock();
        let mut overdue = Vec::new();
        let Waiting { urgent, tasks, .. } = &mut *waiting;
        for queue in [urgent, tasks] {
            while queue.front().is_some_and(|task| task.since.elapsed() >= WAIT) {
                overdue.extend(queue.pop_front());
            }
        }
        overdue
    }

    fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn take(&mut self) -> Option<Task> {
        self.urgent.pop_front().or_else(|| self.tasks.pop_front())
    }
}

impl Lease {
    /// `None`: it was given back.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        self.connection.as_mut()
    }

    /// Gives the connection back and waits until the writer has committed. An error leaves open whether it happened.
    pub(crate) async fn commit(mut self) -> Result<()> {
        let (tell, told) = oneshot::channel();
        let connection = self.connection.take().ok_or_else(Error::closed)?;
        self.back.send((connection, Some(tell))).map_err(|_| Error::closed())?;
        told.await.map_err(|_| Error::closed())?
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Nobody is there to take it only if the writer itself is gone.
            let _ = self.back.send((connection, None));
        }
    }
}

struct Thread {
    queue: Arc<Queue>,
    /// Not here while a transaction has it.
    connection: Option<Connection>,
    file: File,
    /// Of the write-ahead log, at the last commit.
    pages: Arc<AtomicI32>,
}

/// If it ends by a panic, nobody should wait for it.
impl Drop for Thread {
    fn drop(&mut self) {
        self.queue.close();
        let mut waiting = self.queue.lock();
        waiting.urgent.clear();
        waiting.tasks.clear();
    }
}

impl Thread {
    fn run(mut self) {
        while let Some(task) = self.queue.next() {
            match task.what {
                What::Job { job, db } => self.batch(job, &db),
                What::Lease(give) => self.lend(give),
            }
            self.checkpoint();
        }
    }

    fn say(&self, sql: &str) -> Result<()> {
        let connection = self.connection.as_ref().ok_or_else(Error::closed)?;
        Ok(connection.prepare_cached(sql)?.raw_execute().map(drop)?)
    }

    /// A plain BEGIN takes the write lock too late: what was read may be stale by then.
    fn begin(&self) -> Result<()> {
        self.file.is_there()?;
        self.say("BEGIN IMMEDIATE").inspect_err(|_| {
            // Nobody should wait another time for whoever holds the file.
            for task in self.queue.overdue() {
                if let What::Job { job, .. } = task.what {
                    job.tell(Err(Error::late()));
                }
            }
        })
    }

    /// Runs this transaction, and those that wait by then.
    fn batch(&mut self, first: Box<dyn Job>, db: &Db) {
        if first.is_abandoned() {
            return;
        }
        if let Err(error) = self.begin() {
            first.tell(Err(error));
            return;
        }
        #[cfg(feature = "faults")]
        let is_chore = first.is_urgent();
        let mut ran = Vec::new();
        let mut next = Some((first, db.clone()));
        let mut whole = true;
        while let Some((mut job, db)) = next.take() {
            whole = self.one(job.as_mut(), db);
            ran.push(job);
            #[cfg(feature = "faults")]
            crate::engine::faults::step("savepoint", is_chore);
            // A full disk ends the transaction. The next savepoint would begin one of its own, and its end would commit it.
            whole = whole && self.connection.as_ref().is_some_and(|connection| !connection.is_autocommit());
            if !whole {
                break;
            }
            while ran.len() < TOGETHER && next.is_none() {
                let Some(Task { what: What::Job { job, db }, .. }) = self.queue.next_job() else { break };
                next = (!job.is_abandoned()).then_some((job, db));
            }
        }
        #[cfg(feature = "faults")]
        crate::engine::faults::step("before commit", is_chore);
        let done = match whole {
            true => self.say("COMMIT"),
            false => Err(Error::Unavailable(Cause::Rule("the transaction was ended"))),
        };
        if done.is_err() {
            // It may have been ended already.
            let _ = self.say("ROLLBACK");
        }
        #[cfg(feature = "faults")]
        crate::engine::faults::step("after commit", is_chore);
        let mut failed = done.err();
        for job in ran {
            // Each is told the same; the first one has what the database said.
            job.tell(match &failed {
                None => Ok(()),
                Some(Error::Unavailable(Cause::Rule(why))) => Err(Error::Unavailable(Cause::Rule(why))),
                Some(_) => Err(failed
                    .replace(Error::Unavailable(Cause::Rule("the commit failed")))
                    .unwrap_or_else(Error::late)),
            });
            #[cfg(feature = "faults")]
            crate::engine::faults::step("told", is_chore);
        }
    }

    /// One of a batch. `false`: the whole batch must be given up.
    fn one(&mut self, job: &mut dyn Job, db: Db) -> bool {
        if self.say("SAVEPOINT job").is_err() {
            return false;
        }
        let Some(connection) = self.connection.take() else { return false };
        let mut tx = Tx::in_batch(db, connection);
        let ran = catch_unwind(AssertUnwindSafe(|| at_once(job.run(&mut tx))));
        self.connection = tx.into_connection();
        match ran {
            Ok(Some(true)) => self.say("RELEASE job").is_ok(),
            Ok(Some(false)) => self.say("ROLLBACK TO job").and_then(|()| self.say("RELEASE job")).is_ok(),
            Ok(None) | Err(_) => {
                job.broke("an operation panicked, or waited for something else than its transaction");
                self.say("ROLLBACK TO job").and_then(|()| self.say("RELEASE job")).is_ok()
            }
        }
    }

    fn lend(&mut self, give: oneshot::Sender<Lease>) {
        if give.is_closed() || self.begin().is_err() {
            return;
        }
        let (back, returned) = mpsc::channel();
        let lease = Lease { connection: self.connection.take(), back };
        // A lease that nobody waits for comes back at once.
        drop(give.send(lease));
        let Ok((connection, commit)) = returned.recv() else { return };
        self.connection = Some(connection);
        let done = match &commit {
            // After a full disk SQLite has ended the transaction by itself.
            Some(_) => self.say("COMMIT"),
            None => Ok(()),
        };
        if self.connection.as_ref().is_some_and(|connection| !connection.is_autocommit()) {
            let _ = self.say("ROLLBACK");
        }
        if let Some(tell) = commit {
            // Whoever asked may be gone.
            let _ = tell.send(done);
        }
    }

    /// Copies the write-ahead log into the file, as far as readers allow it, once it has as many pages as SQLite itself would
    /// wait for.
    fn checkpoint(&self) {
        if self.pages.load(Ordering::Relaxed) >= CHECKPOINT {
            let checkpoint =
                |connection: &Connection| connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
            if let Some(Err(error)) = self.connection.as_ref().map(checkpoint) {
                tracing::warn!(%error, "the write-ahead log could not be copied into the database");
            }
            self.pages.store(0, Ordering::Relaxed);
        }
    }
}

/// Runs a future that waits for nothing. `None`: it would have waited.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

/// Transactions in one commit.
const TOGETHER: usize = 128;

/// Transactions that wait; beyond it they are refused (503).
const LONGEST: usize = 4096;

/// For another process that writes to the file.
const BUSY: Duration = Duration::from_secs(5);

/// For whoever writes before.
const WAIT: Duration = Duration::from_secs(5);

const CHECKPOINT: i32 = 1000;

//! Operations that write to the log of what became untrue, several in one commit.
//!
//! The head of the log stays locked from the draw of the numbers until the commit is durable, so the database can run
//! only one such commit at a time. Operations that arrive meanwhile wait and are then committed together. Each runs in
//! its own savepoint, so that a failure does not affect the others. At the end the numbers for all of them are drawn
//! once, in the same round trip as COMMIT.
//!
//! There is no permanent task: the first operation starts one, which runs until none is waiting. It uses a connection
//! of the pool for writes.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::Semaphore;

use super::pool::Pool;
use super::session::NOBODY;
use super::transaction::{LAST_OF_ALL, Transaction};
use crate::engine::db::Db;
use crate::engine::tx::Tx;
use crate::engine::work::Job;
use crate::error::{Cause, Error, Result};

/// Those that wait for the next commit, and who runs them.
pub(crate) struct Group {
    pool: Arc<Pool>,
    /// For connections of those that run alone.
    alone: Arc<Semaphore>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    tasks: VecDeque<Task>,
    /// Somebody runs what waits.
    led: bool,
    closed: bool,
}

struct Task {
    job: Box<dyn Job>,
    db: Db,
}

/// What came of one of a batch.
enum Ran {
    /// It is kept, or undone, as it said itself.
    Well,
    /// Another transaction was in the way of it, so it is to run alone.
    Alone,
    /// A queued statement of an earlier operation failed, so the whole batch is rolled back.
    Undone,
    /// The connection is of no use.
    Lost,
}

impl Group {
    /// `pool`: the connections that may write.
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool, alone: Arc::new(Semaphore::new(ALONE)), waiting: Mutex::default() }
    }

    /// Takes an operation in; whoever asked for it is told by the job itself.
    pub(crate) fn submit(self: &Arc<Self>, job: Box<dyn Job>, db: Db) -> Result<()> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Error::closed());
        }
        if waiting.tasks.len() >= LONGEST {
            return Err(Error::Unavailable(Cause::Rule("too many wait to write")));
        }
        waiting.tasks.push_back(Task { job, db });
        if !std::mem::replace(&mut waiting.led, true) {
            tokio::spawn(lead(Leader { group: self.clone(), leads: true }));
        }
        Ok(())
    }

    /// Whoever waits is told that it is closed.
    pub(crate) fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.tasks.clear();
    }

    fn next(&self) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            let task = waiting.tasks.pop_front()?;
            if !task.job.is_abandoned() {
                return Some(task);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs this one, and those that wait by then.
    async fn batch(&self, first: Task) {
        let mut tx = match Transaction::begin_together(&self.pool).await {
            Ok(transaction) => Tx::postgres(first.db.clone(), transaction),
            Err(error) => return first.job.tell(Err(error)),
        };
        let (mut ran, mut alone, mut whole) = (Vec::new(), Vec::new(), Ran::Well);
        let mut next = Some(first);
        while let Some(mut task) = next.take() {
            tx.turn_to(task.db.clone(), ran.len() + alone.len() + 1);
            whole = one(&mut tx, task.job.as_mut()).await;
            match whole {
                Ran::Alone => alone.push(task),
                _ => ran.push(task),
            }
            #[cfg(feature = "faults")]
            crate::engine::faults::step("savepoint", false);
            // One that waited for a lock has held up the others, and they hold locks of their own.
            if matches!(whole, Ran::Alone | Ran::Undone | Ran::Lost) {
                break;
            }
            if ran.len() + alone.len() < TOGETHER {
                next = self.next();
            }
        }
        #[cfg(feature = "faults")]
        crate::engine::faults::step("before commit", false);
        let done = match whole {
            Ran::Well | Ran::Alone => match end(&mut tx).await {
                // A statement that nobody had waited for failed. Alone, the others have nothing to do with it.
                Err(_)
                    if tx
                        .session()
                        .and_then(|session| session.failure())
                        .is_some_and(|failure| failure.of != NOBODY) =>
                {
                    None
                }
                done => Some(done),
            },
            Ran::Undone => None,
            Ran::Lost => Some(Err(Error::Unavailable(Cause::Rule("the connection was lost")))),
        };
        drop(tx);
        #[cfg(feature = "faults")]
        crate::engine::faults::step("after commit", false);
        match done {
            None => alone.append(&mut ran),
            Some(Ok(base)) => {
                for mut task in ran {
                    task.job.number(base);
                    task.job.tell(Ok(()));
                    #[cfg(feature = "faults")]
                    crate::engine::faults::step("told", false);
                }
            }
            Some(Err(error)) => {
                let mut error = Some(error);
                for task in ran {
                    // Each is told the same; the first one has what the database said.
                    task.job.tell(Err(match &mut error {
                        Some(Error::Clash) => Error::Clash,
                        error => error.take().unwrap_or_else(|| Error::Unavailable(Cause::Rule("the commit failed"))),
                    }));
                }
            }
        }
        if !alone.is_empty() {
            tokio::spawn(one_by_one(self.pool.clone(), self.alone.clone(), alone));
        }
    }
}

async fn end(tx: &mut Tx) -> Result<i64> {
    let writes_log = tx.writes_log();
    let session = tx.session().ok_or_else(Error::closed)?;
    session.turn_to(NOBODY);
    if writes_log {
        session.queue_text(LAST_OF_ALL);
    }
    tx.finish_together().await
}

/// Whoever runs what waits. If it ends before its time, those who wait are told.
struct Leader {
    group: Arc<Group>,
    leads: bool,
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.leads {
            let mut waiting = self.group.lock();
            waiting.led = false;
            waiting.tasks.clear();
        }
    }
}

async fn lead(mut leader: Leader) {
    let group = leader.group.clone();
    while leader.leads {
        while let Some(task) = group.next() {
            group.batch(task).await;
        }
        let mut waiting = group.lock();
        if waiting.tasks.is_empty() {
            // Another one may lead from here on.
            waiting.led = false;
            leader.leads = false;
        }
    }
}

/// In a savepoint, which is sent with its first statement, and let go of with the next thing that is sent.
async fn one(tx: &mut Tx, job: &mut dyn Job) -> Ran {
    let Some(savepoint) = tx.savepoint() else { return Ran::Lost };
    let kept = run(tx, job).await;
    let Some(session) = tx.session().filter(|session| session.is_usable() && !session.is_interrupted()) else {
        return Ran::Lost;
    };
    let (failure, sent) = (session.failure(), session.has_sent(&savepoint));
    match (kept, failure) {
        (_, Some(failure)) if failure.of != savepoint.of || !sent => Ran::Undone,
        (true, None) => {
            tx.release(&savepoint);
            Ran::Well
        }
        (kept, failure) => {
            if kept {
                job.broke("it went on after a statement that had failed");
            }
            tx.undo(&savepoint);
            if failure.is_some_and(|failure| failure.again) { Ran::Alone } else { Ran::Well }
        }
    }
}

/// Returns `false` if its writes must be rolled back. An operation that awaits anything but its transaction is stopped,
/// since all operations of the batch would wait with it.
async fn run(tx: &mut Tx, job: &mut dyn Job) -> bool {
    let Some(waits) = tx.session().map(|session| session.waits()) else { return false };
    let ran = {
        let mut running = job.run(tx);
        poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(context))) {
            Ok(Poll::Pending) if waits.load(Ordering::SeqCst) => Poll::Pending,
            Ok(Poll::Ready(keep)) => Poll::Ready(Some(keep)),
            Ok(Poll::Pending) | Err(_) => Poll::Ready(None),
        })
        .await
    };
    ran.unwrap_or_else(|| {
        job.broke("an operation panicked, or waited for something else than its transaction");
        false
    })
}

/// Each in a transaction of its own.
async fn one_by_one(pool: Arc<Pool>, alone: Arc<Semaphore>, tasks: Vec<Task>) {
    let Ok(_permit) = alone.acquire().await else { return };
    for Task { mut job, db } in tasks {
        if job.is_abandoned() {
            continue;
        }
        let done = async {
            let mut tx = Tx::postgres(db, Transaction::begin(&pool).await?);
            match run(&mut tx, job.as_mut()).await {
                true => tx.finish().await,
                false => Ok(0),
            }
        };
        let done = done.await.map(|base| job.number(base));
        job.tell(done);
    }
}

/// Savepoints of one transaction. PostgreSQL keeps 64 of them where every other transaction finds them quickly.
const TOGETHER: usize = 60;

/// Connections that may wait for locks, of those that write.
const ALONE: usize = 2;

/// Operations that wait; beyond it they are refused (503).
const LONGEST: usize = 4096;

//! One connection, with the statements that are prepared on it and those that wait to be sent.
//!
//! A statement whose answer is not needed yet is queued. The next statement whose answer is needed sends the queue, in
//! order, in one round trip. In a transaction PostgreSQL skips all statements after a failed one and turns COMMIT into
//! a rollback; so the session remembers a failure until the transaction ends.

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row, SimpleQueryMessage, Statement};

use super::numbers::{Numbers, Sequence};
use super::{Address, standby};
use crate::engine::conn::{Conn, Runs};
use crate::engine::value::Value;
use crate::error::{Cause, Error, Result};

/// One connection to PostgreSQL, with the statements it has prepared and those that wait to be sent together.
pub struct Session {
    client: Client,
    known: HashMap<Cow<'static, str>, Statement>,
    queue: Vec<Queued>,
    /// How often the queue was sent.
    sends: u64,
    /// Which operation of the transaction has its turn.
    turn: usize,
    /// A transaction was begun, or may have been.
    open: bool,
    /// A statement of the transaction failed, so it cannot be committed.
    failure: Option<Failure>,
    /// PostgreSQL refuses all statements until the `UNDO` at the front of the queue is sent.
    aborted: bool,
    /// An answer is missing.
    broken: bool,
    /// An answer is waited for. Still `true` after whoever waited went away.
    waits: Arc<AtomicBool>,
    /// Where its driver runs.
    runtime: Id,
    /// How often an answer was waited for.
    rounds: Arc<AtomicU64>,
    /// Whom it belongs to: where another one is had, if the server closed this one.
    origin: Option<Origin>,
}

/// What the connections of a pool have in common.
#[derive(Clone)]
pub(crate) struct Origin {
    pub(crate) address: Address,
    /// Numbers drawn ahead, which all of them share.
    pub(crate) numbers: Arc<Numbers>,
    /// How often an answer was waited for, over all of them.
    pub(crate) rounds: Arc<AtomicU64>,
}

struct Queued {
    what: What,
    /// Which of several operations of one transaction it belongs to.
    of: usize,
}

enum What {
    /// With these settings.
    Begin(&'static str),
    Commit,
    /// Without parameters; perhaps several statements.
    Text(&'static str),
    Statement(Cow<'static, str>, Vec<Value<'static>>),
    /// One whose rows are wanted when everything was answered.
    Rows(Cow<'static, str>, Vec<Value<'static>>),
    /// So many more.
    Numbers(Sequence, [Value<'static>; 1]),
}

/// Where the queue stood when an operation of several began.
pub(crate) struct Savepoint {
    pub(crate) of: usize,
    at: usize,
    sends: u64,
}

/// Begins and ends a transaction of several operations.
pub(crate) const NOBODY: usize = 0;

/// The first failure of a transaction.
#[derive(Clone, Copy)]
pub(crate) struct Failure {
    /// Of whose statement.
    pub(crate) of: usize,
    /// Another transaction was in the way: alone, it may well succeed.
    pub(crate) again: bool,
}

/// One that is waited for.
struct SentQuery<'q> {
    sql: Cow<'static, str>,
    values: &'q [Value<'q>],
    rows: bool,
}

/// What the server answered to one thing that was sent.
pub(crate) enum Answer {
    Done,
    Rows(Vec<Row>),
    Changed(u64),
}

type Sent<'s> = Pin<Box<dyn Future<Output = std::result::Result<Answer, tokio_postgres::Error>> + Send + 's>>;

impl Session {
    /// `origin`: the pool's. `None`: a connection by itself, which draws no numbers.
    pub(crate) fn new(client: Client, origin: Option<Origin>) -> Self {
        let rounds = origin.as_ref().map(|origin| origin.rounds.clone()).unwrap_or_default();
        Self {
            client,
            known: HashMap::new(),
            queue: Vec::new(),
            sends: 0,
            turn: NOBODY,
            open: false,
            failure: None,
            aborted: false,
            broken: false,
            waits: Arc::default(),
            runtime: Handle::current().id(),
            rounds,
            origin,
        }
    }

    /// [`Error::Unavailable`] if the server is a standby, or does not say so within 5 seconds.
    pub(crate) async fn primary(&mut self) -> Result<()> {
        let asked = self.client.simple_query(CONNECTED);
        let said = tokio::time::timeout(Duration::from_secs(5), asked).await.map_err(|_| Error::late())??;
        let is_primary =
            said.iter().any(|message| matches!(message, SimpleQueryMessage::Row(row) if row.get(0) == Some("f")));
        if is_primary { Ok(()) } else { Err(standby()) }
    }

    /// Whether the next one may have it: no answer is missing, and it is not closed.
    pub(crate) fn is_usable(&self) -> bool {
        !self.broken && !self.client.is_closed()
    }

    /// Whether somebody went away while it was asked something.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.waits.load(Ordering::SeqCst)
    }

    /// Whether an answer is waited for, to be looked at from elsewhere.
    pub(crate) fn waits(&self) -> Arc<AtomicBool> {
        self.waits.clone()
    }

    pub(crate) fn runtime(&self) -> Id {
        self.runtime
    }

    /// `None`: a connection by itself.
    pub(crate) fn numbers(&self) -> Option<Arc<Numbers>> {
        self.origin.as_ref().map(|origin| origin.numbers.clone())
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// Sends what waits and this statement, and gives its rows. After `patience` without an answer the connection is of
    /// no use, and the error is [`Error::Unavailable`].
    pub(crate) async fn rows(
        &mut self,
        sql: Cow<'static, str>,
        values: &[Value<'_>],
        patience: Duration,
    ) -> Result<Vec<Row>> {
        match self.round(Some(SentQuery { sql, values, rows: true }), patience).await?.pop() {
            Some(Answer::Rows(rows)) => Ok(rows),
            _ => Err(Error::closed()),
        }
    }

    /// The rows of two, in one round trip.
    pub(crate) async fn rows_of_both(
        &mut self,
        first: (Cow<'static, str>, Vec<Value<'static>>),
        (sql, values): (Cow<'static, str>, &[Value<'_>]),
        patience: Duration,
    ) -> Result<(Vec<Row>, Vec<Row>)> {
        let at = self.queue_rows(first.0, first.1);
        let mut answers = self.round(Some(SentQuery { sql, values, rows: true }), patience).await?;
        match (answers.pop(), answers.into_iter().nth(at)) {
            (Some(Answer::Rows(second)), Some(Answer::Rows(first))) => Ok((first, second)),
            _ => Err(Error::closed()),
        }
    }

    /// How many rows two changed, in one round trip.
    pub(crate) async fn changed_by_both(
        &mut self,
        first: (Cow<'static, str>, Vec<Value<'static>>),
        (sql, values): (Cow<'static, str>, &[Value<'_>]),
        patience: Duration,
    ) -> Result<(u64, u64)> {
        let at = self.queue.len();
        self.queue_statement(first.0, first.1);
        let mut answers = self.round(Some(SentQuery { sql, values, rows: false }), patience).await?;
        match (answers.pop(), answers.into_iter().nth(at)) {
            (Some(Answer::Changed(second)), Some(Answer::Changed(first))) => Ok((first, second)),
            _ => Err(Error::closed()),
        }
    }

    pub(crate) async fn changed(
        &mut self,
        sql: Cow<'static, str>,
        values: &[Value<'_>],
        patience: Duration,
    ) -> Result<u64> {
        match self.round(Some(SentQuery { sql, values, rows: false }), patience).await?.pop() {
            Some(Answer::Changed(rows)) => Ok(rows),
            _ => Err(Error::closed()),
        }
    }

    /// Several statements at once, without parameters.
    pub(crate) async fn batch(&mut self, sql: &str, patience: Duration) -> Result<()> {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.waits.store(true, Ordering::SeqCst);
        let done = tokio::time::timeout(patience, self.client.batch_execute(sql)).await;
        self.waits.store(false, Ordering::SeqCst);
        done.map_err(|_| self.late())?.map_err(Error::from)
    }

    pub(crate) async fn prepared(&mut self, sql: Cow<'static, str>) -> Result<Statement> {
        if !self.known.contains_key(&sql) {
            let statement = self.client.prepare(&sql).await?;
            self.known.insert(sql.clone(), statement);
        }
        self.known.get(&sql).cloned().ok_or_else(Error::closed)
    }

    /// Prepares it, for the test of all statements: the server must have deduced types that can be bound.
    pub(crate) async fn check(&mut self, sql: &'static str) -> Result<()> {
        let statement = self.prepared(sql.into()).await?;
        match statement.params().iter().find(|of| !<Value<'_> as ToSql>::accepts(of)) {
            Some(of) => Err(Error::Damaged(format!("a parameter is taken for {of}"))),
            None => Ok(()),
        }
    }

    /// It is begun with the next statement.
    pub(crate) fn begin(&mut self, how: &'static str) {
        self.forget();
        self.push(What::Begin(how));
    }

    fn push(&mut self, what: What) {
        self.queue.push(Queued { what, of: self.turn });
    }

    /// Which operation of the transaction has its turn; 0 is none of them.
    pub(crate) fn turn_to(&mut self, of: usize) {
        self.turn = of;
    }

    /// Ends the transaction, with everything that waits.
    pub(crate) async fn commit(&mut self, patience: Duration) -> Result<Vec<Answer>> {
        if self.failure.is_some() {
            return Err(Error::Broken(Cause::Rule("a statement of the transaction had failed")));
        }
        if !self.open && self.queue.iter().all(|queued| matches!(queued.what, What::Begin(_))) {
            self.queue.clear();
            return Ok(Vec::new());
        }
        self.push(What::Commit);
        self.round(None, patience).await
    }

    /// Whether there is anything to undo.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    /// Nobody wants the transaction, of which nothing was sent.
    pub(crate) fn forget(&mut self) {
        self.queue.clear();
        self.failure = None;
        self.aborted = false;
        self.turn = NOBODY;
    }

    pub(crate) async fn roll_back(&mut self, patience: Duration) -> Result<()> {
        self.forget();
        self.batch("ROLLBACK", patience).await?;
        self.open = false;
        Ok(())
    }

    /// Where an operation begins. It is sent only if the operation sends something.
    pub(crate) fn savepoint(&mut self) -> Savepoint {
        let savepoint = Savepoint { of: self.turn, at: self.queue.len(), sends: self.sends };
        self.push(What::Text("SAVEPOINT job"));
        savepoint
    }

    pub(crate) fn has_sent(&self, savepoint: &Savepoint) -> bool {
        self.sends != savepoint.sends
    }

    pub(crate) fn release(&mut self, savepoint: &Savepoint) {
        match self.has_sent(savepoint) || self.queue.len() > savepoint.at + 1 {
            true => self.push(What::Text("RELEASE job")),
            false => self.queue.truncate(savepoint.at),
        }
    }

    /// Undoes what was done since then, on the server with whatever is sent next.
    pub(crate) fn undo(&mut self, savepoint: &Savepoint) {
        let failure = self.failure.take();
        match self.has_sent(savepoint) {
            true => {
                self.queue.clear();
                self.push(What::Text(UNDO));
                self.aborted = failure.is_some();
            }
            false => self.queue.truncate(savepoint.at),
        }
    }

    /// To be sent with the next statement; it has no parameters.
    pub(crate) fn queue_text(&mut self, text: &'static str) {
        self.push(What::Text(text));
    }

    /// Where its answer will be among the others.
    pub(crate) fn queue_rows(&mut self, sql: Cow<'static, str>, values: Vec<Value<'static>>) -> usize {
        self.push(What::Rows(sql, values));
        self.queue.len() - 1
    }

    /// To be sent with the next statement; how many rows it changes is not told.
    pub(crate) fn queue_statement(&mut self, sql: Cow<'static, str>, values: Vec<Value<'static>>) {
        self.push(What::Statement(sql, values));
    }

    /// Draws so many numbers together with the next statement.
    pub(crate) fn queue_numbers(&mut self, of: Sequence, count: i64) {
        self.push(What::Numbers(of, [count.into()]));
    }

    /// Sends what waits.
    pub(crate) async fn flush(&mut self, patience: Duration) -> Result<()> {
        self.round(None, patience).await.map(drop)
    }

    /// Sends what waits and this one, and gives the answers to all of them.
    async fn round(&mut self, asked: Option<SentQuery<'_>>, patience: Duration) -> Result<Vec<Answer>> {
        let waits = self.waits.clone();
        waits.store(true, Ordering::SeqCst);
        let answered = tokio::time::timeout(patience, async {
            match self.exchange(asked.as_ref()).await {
                Err((_, error)) if is_lost(&error) && self.may_begin_anew() => {
                    self.anew().await?;
                    self.exchange(asked.as_ref()).await.map_err(|(_, error)| Error::from(error))
                }
                answered => answered.map_err(|(_, error)| Error::from(error)),
            }
        })
        .await;
        waits.store(false, Ordering::SeqCst);
        answered.unwrap_or_else(|_| Err(self.late()))
    }

    fn late(&mut self) -> Error {
        self.broken = true;
        Error::late()
    }

    /// A server that was restarted has closed its connections, which may be noticed only now. Nothing is lost if nothing was
    /// done: by a statement that only reads, or a transaction that was about to begin.
    fn may_begin_anew(&self) -> bool {
        let begins = matches!(self.queue.first(), Some(Queued { what: What::Begin(_), .. }));
        let commits = self.queue.iter().any(|queued| matches!(queued.what, What::Commit));
        self.origin.is_some() && !commits && (begins || !self.open)
    }

    /// Ends the statement that runs, and the connection.
    pub(crate) async fn cancel(self) {
        if let Some(origin) = self.origin.filter(|_| !self.client.is_closed()) {
            origin.address.cancel(self.client.cancel_token()).await;
        }
    }

    async fn anew(&mut self) -> Result<()> {
        let Some(origin) = self.origin.take() else { return Err(Error::closed()) };
        origin.numbers.forget();
        let made = origin.address.clone().connect_of(Some(origin.clone())).await;
        self.origin = Some(origin);
        let made = made?;
        // A savepoint is known by how often was sent before it, so that number never goes back.
        let (queue, sends) = (std::mem::take(&mut self.queue), self.sends);
        *self = Self { queue, sends, turn: self.turn, waits: self.waits.clone(), ..made };
        Ok(())
    }

    async fn exchange(
        &mut self,
        asked: Option<&SentQuery<'_>>,
    ) -> std::result::Result<Vec<Answer>, (usize, tokio_postgres::Error)> {
        self.prepare_all(asked).await.inspect_err(|(of, error)| self.failed(*of, error))?;
        self.aborted = false;
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.sends += 1;
        self.open |= matches!(self.queue.first(), Some(Queued { what: What::Begin(_), .. }));
        let (client, known) = (&self.client, &self.known);
        let mut sent: Vec<Sent<'_>> = Vec::with_capacity(self.queue.len() + 1);
        for queued in &self.queue {
            sent.push(match &queued.what {
                What::Begin(how) => text(client, how),
                What::Commit => text(client, "COMMIT"),
                What::Text(words) => text(client, words),
                What::Statement(sql, values) => statement(client, known.get(sql), values, false),
                What::Rows(sql, values) => statement(client, known.get(sql), values, true),
                What::Numbers(of, count) => statement(client, known.get(of.text()), count, true),
            });
        }
        if let Some(SentQuery { sql, values, rows }) = asked {
            sent.push(statement(client, known.get(sql), values, *rows));
        }
        let answers = in_order(sent).await;
        let mut good = Vec::with_capacity(answers.len());
        let mut failed = None;
        for (number, answer) in answers.into_iter().enumerate() {
            match (answer, self.queue.get(number)) {
                (Ok(Answer::Rows(rows)), Some(Queued { what: What::Numbers(sequence, _), .. })) => {
                    if let Some(origin) = &self.origin {
                        origin.numbers.fill(*sequence, &rows);
                    }
                    good.push(Answer::Done);
                }
                (Ok(answer), _) => good.push(answer),
                (Err(error), queued) => {
                    failed = Some((queued.map_or(self.turn, |queued| queued.of), error));
                    break;
                }
            }
        }
        if let Some((of, error)) = failed {
            // Whatever is sent once more is still there for it.
            if !is_lost(&error) {
                self.queue.clear();
            }
            self.failed(of, &error);
            return Err((of, error));
        }
        if matches!(self.queue.last(), Some(Queued { what: What::Commit, .. })) {
            self.open = false;
        }
        self.queue.clear();
        Ok(good)
    }

    fn failed(&mut self, of: usize, error: &tokio_postgres::Error) {
        // Where nobody answers, nobody knows what was done.
        let Some(said) = error.as_db_error().filter(|_| !is_lost(error)) else {
            self.broken |= is_lost(error);
            return;
        };
        // serialization_failure, deadlock_detected, lock_not_available
        let again = matches!(said.code().code(), "40001" | "40P01" | "55P03");
        if self.failure.is_none() && (self.open || !self.queue.is_empty()) {
            self.failure = Some(Failure { of, again });
        }
    }

    /// All that are not known yet, in one round trip.
    async fn prepare_all(
        &mut self,
        asked: Option<&SentQuery<'_>>,
    ) -> std::result::Result<(), (usize, tokio_postgres::Error)> {
        let mut missing: Vec<(usize, Cow<'static, str>)> = Vec::new();
        let queued = self.queue.iter().filter_map(|queued| match &queued.what {
            What::Statement(sql, _) => Some((queued.of, sql.clone())),
            What::Rows(sql, _) => Some((queued.of, sql.clone())),
            What::Numbers(of, _) => Some((queued.of, Cow::Borrowed(of.text()))),
            What::Begin(_) | What::Commit | What::Text(_) => None,
        });
        for (of, sql) in queued.chain(asked.map(|asked| (self.turn, asked.sql.clone()))) {
            if !self.known.contains_key(&sql) && missing.iter().all(|(_, other)| *other != sql) {
                missing.push((of, sql));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if self.known.len() + missing.len() > STATEMENTS && !self.known.is_empty() {
            // Those that are about to be used are prepared again with the others.
            self.known.clear();
            return Box::pin(self.prepare_all(asked)).await;
        }
        if self.aborted {
            // An aborted transaction refuses to prepare, so it is undone first.
            self.rounds.fetch_add(1, Ordering::Relaxed);
            self.client.batch_execute(UNDO).await.map_err(|error| (NOBODY, error))?;
            if let Some(first) = self.queue.first_mut() {
                first.what = What::Text("");
            }
            self.aborted = false;
        }
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let client = &self.client;
        let prepared = in_order(missing.iter().map(|(_, sql)| Box::pin(client.prepare(sql))).collect()).await;
        for ((of, sql), statement) in missing.into_iter().zip(prepared) {
            self.known.insert(sql, statement.map_err(|error| (of, error))?);
        }
        Ok(())
    }
}

impl Runs for Session {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Postgres(self)
    }
}

fn text<'s>(client: &'s Client, words: &'s str) -> Sent<'s> {
    Box::pin(async move { client.batch_execute(words).await.map(|()| Answer::Done) })
}

fn statement<'s>(client: &'s Client, of: Option<&'s Statement>, values: &'s [Value<'_>], rows: bool) -> Sent<'s> {
    Box::pin(async move {
        // Each was prepared a moment ago.
        let Some(of) = of else { return Ok(Answer::Done) };
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect();
        match rows {
            true => client.query(of, &values).await.map(Answer::Rows),
            false => client.execute(of, &values).await.map(Answer::Changed),
        }
    })
}

/// Begins each before it waits for the first: the driver sends at the first poll.
async fn in_order<F: Future + Unpin>(mut all: Vec<F>) -> Vec<F::Output> {
    let mut done: Vec<Option<F::Output>> = all.iter().map(|_| None).collect();
    let (mut first, mut begun) = (0, false);
    poll_fn(|context| {
        let mut pending = false;
        for (future, done) in all.iter_mut().zip(&mut done).skip(first) {
            if done.is_none() {
                match Pin::new(future).poll(context) {
                    Poll::Ready(output) => *done = Some(output),
                    Poll::Pending => pending = true,
                }
            }
            if pending && begun {
                break;
            }
            if !pending {
                first += 1;
            }
        }
        begun = true;
        if pending { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// The connection is gone, or the server is about to close it.
fn is_lost(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        // admin_shutdown, crash_shutdown
        Some(said) => matches!(said.code().code(), "57P01" | "57P02"),
        None => {
            error.is_closed() || std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
        }
    }
}

/// Statements name their tables in the order in which they should be read, for SQLite too, and have indexes for that
/// order. With a wrong row estimate the planner would read a whole table instead (docs/decisions/0033), so these plan
/// types are off. Bitmap scans and parallel workers read everything that an index finds before a LIMIT stops them.
/// `jit`: a plan that has to use a type that is off gets such a high cost that PostgreSQL would compile it.
const CONNECTED: &str = "
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
    SET enable_material = off; SET max_parallel_workers_per_gather = 0; SET jit = off;
    SELECT pg_is_in_recovery()";

const UNDO: &str = "ROLLBACK TO job; RELEASE job";

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;

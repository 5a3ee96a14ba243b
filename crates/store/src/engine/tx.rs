//! One unit of work: what it changes, who is behind it, and what it makes untrue go into one commit.

use std::time::Duration;

use tollhouse_domain::audit::{Audit, By};
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::{Conn, PATIENCE_OF_A_WRITER, Runs};
use crate::engine::db::Db;
use crate::engine::postgres::numbers::Sequence;
use crate::engine::postgres::session::{self, Answer, Session};
use crate::engine::postgres::transaction::Transaction;
use crate::engine::sqlite::writer::Lease;
use crate::error::{Error, Result};
use crate::{audit_events, invalidations};

/// A transaction that may write. It gathers audit rows and invalidations, which become durable with the change or not
/// at all. Dropped without a commit, it is undone.
pub struct Tx {
    inner: Inner,
    forget: Vec<Invalidation>,
    created: Vec<Digest>,
    /// On PostgreSQL: what is written to the log with the commit, which numbers it.
    entries: Vec<(Invalidation, Timestamp)>,
    db: Db,
}

/// Where one of several operations of a transaction began.
pub(crate) struct Savepoint {
    session: session::Savepoint,
    entries: usize,
}

impl std::ops::Deref for Savepoint {
    type Target = session::Savepoint;

    fn deref(&self) -> &session::Savepoint {
        &self.session
    }
}

enum Inner {
    Batch(rusqlite::Connection),
    Lease(Lease),
    Postgres(Box<Transaction>),
}

/// What an operation did. There is no change without an audit row: that is what [`Change::new`] asks for.
#[must_use]
pub struct Change<T> {
    value: T,
    audit: Vec<Audit>,
    already: bool,
}

impl<T> Change<T> {
    /// A change that did something: at least one audit row says what.
    pub fn new<const N: usize>(value: T, audit: [Audit; N]) -> Self {
        const { assert!(N > 0, "a change names what it did") };
        Self { value, audit: audit.into(), already: false }
    }

    /// With a further audit row, of something else that it did.
    pub fn also(mut self, audit: Audit) -> Self {
        self.audit.push(audit);
        self
    }

    /// For an operation that runs another one inside its own transaction; the audit rows are then its own affair.
    pub fn into_value(self) -> T {
        self.value
    }

    /// The same with another value, for an operation that is made of another one.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Change<U> {
        Change { value: with(self.value), audit: self.audit, already: self.already }
    }

    /// There was nothing to do, or what was written is a counter that speaks for itself (T29).
    pub fn nothing(value: T) -> Self {
        Self { value, audit: Vec::new(), already: false }
    }

    /// What was asked for has been done before, perhaps for the same caller, who never heard of it: it is acknowledged
    /// like the first time (revocation.md W4).
    pub fn already(value: T) -> Self {
        Self { value, audit: Vec::new(), already: true }
    }

    /// The same, where that it is told again leaves a line in the audit log.
    pub fn again<const N: usize>(value: T, audit: [Audit; N]) -> Self {
        Self { already: true, ..Self::new(value, audit) }
    }
}

/// A change that is durable, and what must have been read before it is acknowledged.
#[must_use]
pub struct Committed<T> {
    /// What the operation gave.
    pub value: T,
    /// What the other nodes must have applied before it may be acknowledged.
    pub until: Until,
    /// What it made untrue: all that its entries in the log say.
    pub untrue: Vec<Invalidation>,
    /// Digests of the secrets that it created. A node that remembers one of them as unknown has to forget that.
    pub created: Vec<Digest>,
}

impl<T> Committed<T> {
    /// A position that was counted from the beginning of its commit is one of the log.
    pub(crate) fn number(&mut self, base: i64) {
        if let Until::Entry(position) = &mut self.until {
            *position += base;
        }
    }
}

/// How far every node must have read the log before a change is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// It made nothing untrue.
    Nowhere,
    /// Its own last entry (W3).
    Entry(i64),
    /// Whatever the newest entry is, read after this (W4).
    Newest,
}

impl Tx {
    /// One of a batch: whoever runs the batch commits it.
    pub(crate) fn in_batch(db: Db, connection: rusqlite::Connection) -> Self {
        Self::on(Inner::Batch(connection), db)
    }

    /// Alone in a transaction on SQLite.
    pub(crate) fn leased(db: Db, lease: Lease) -> Self {
        Self::on(Inner::Lease(lease), db)
    }

    /// In a transaction on PostgreSQL, with others or alone.
    pub(crate) fn postgres(db: Db, inner: Transaction) -> Self {
        Self::on(Inner::Postgres(Box::new(inner)), db)
    }

    fn on(inner: Inner, db: Db) -> Self {
        Self { inner, forget: Vec::new(), created: Vec::new(), entries: Vec::new(), db }
    }

    /// The connection. `None`: SQLite, or it was given back.
    pub(crate) fn session(&mut self) -> Option<&mut Session> {
        match &mut self.inner {
            Inner::Postgres(transaction) => transaction.session(),
            _ => None,
        }
    }

    /// The next one of several operations; not 0.
    pub(crate) fn turn_to(&mut self, db: Db, of: usize) {
        self.db = db;
        self.forget.clear();
        self.created.clear();
        if let Some(session) = self.session() {
            session.turn_to(of);
        }
    }

    /// Where an operation of several begins. `None`: SQLite, where a batch has savepoints of its own.
    pub(crate) fn savepoint(&mut self) -> Option<Savepoint> {
        let entries = self.entries.len();
        Some(Savepoint { session: self.session()?.savepoint(), entries })
    }

    /// Keeps what was done since then.
    pub(crate) fn release(&mut self, savepoint: &Savepoint) {
        if let Some(session) = self.session() {
            session.release(savepoint);
        }
    }

    /// Undoes what was done since then, entries of the log included.
    pub(crate) fn undo(&mut self, savepoint: &Savepoint) {
        self.entries.truncate(savepoint.entries);
        if let Some(session) = self.session() {
            session.undo(savepoint);
        }
    }

    /// A number for a row that is about to exist. `None`: this database numbers it when it is there.
    pub(crate) async fn draw(&mut self, of: Sequence) -> Result<Option<i64>> {
        let patience = self.patience();
        let Some(session) = self.session() else { return Ok(None) };
        let numbers = session.numbers().ok_or_else(Error::closed)?;
        let taken = numbers.take(of);
        if let Some(count) = taken.more {
            session.queue_numbers(of, count);
        }
        if taken.number.is_some() {
            return Ok(taken.number);
        }
        session.flush(patience).await?;
        // Others may have taken what came; the whole transaction is tried again then.
        numbers.take(of).number.map(Some).ok_or(Error::Clash)
    }

    /// The connection of a batch, whose next one it runs.
    pub(crate) fn into_connection(self) -> Option<rusqlite::Connection> {
        match self.inner {
            Inner::Batch(connection) => Some(connection),
            _ => None,
        }
    }

    /// Whether [`Tx::invalidate`] was called since the last operation was recorded.
    pub(crate) fn makes_untrue(&self) -> bool {
        !self.forget.is_empty()
    }

    /// Whether there is room for something new (T29).
    pub fn room_to_grow(&self) -> Result<()> {
        self.db.room_to_grow()
    }

    /// The mistake of rotation that is switched on.
    #[cfg(feature = "faults")]
    pub fn bug(&self) -> Option<crate::engine::faults::Bug> {
        self.db.faults.bug()
    }

    /// Whether this mistake is switched on.
    #[cfg(feature = "faults")]
    pub(crate) fn breaks(&self, mutant: Mutant) -> bool {
        self.db.faults.mutants.is(mutant)
    }

    /// Says that something becomes untrue with this transaction (revocation.md W1).
    pub(crate) fn invalidate(&mut self, what: Invalidation) {
        if self.forget.first() != Some(&Invalidation::All) && !self.forget.contains(&what) {
            self.forget.push(what);
        }
    }

    /// Notes that a secret with this digest exists from the commit on.
    pub(crate) fn creates(&mut self, digest: Digest) {
        self.created.push(digest);
    }

    /// Takes the last of these back, if that mistake is switched on.
    #[cfg(feature = "faults")]
    pub(crate) fn unmark(&mut self, mutant: tollhouse_domain::faults::Mutant) {
        if self.breaks(mutant) {
            self.forget.pop();
        }
    }

    /// One entry in place of one for each thing: for a transaction that changes a great many, or for changes that were
    /// made by hand.
    pub fn invalidate_all(&mut self) {
        self.forget = vec![Invalidation::All];
    }

    /// Writes the audit log and the log, or on PostgreSQL has it written with the commit. The numbers of the log are drawn last
    /// (revocation.md W2).
    pub(crate) async fn record<T>(&mut self, change: Change<T>, by: &By, now: Timestamp) -> Result<Committed<T>> {
        audit_events::append(self, &change.audit, by, now).await?;
        let (forget, created) = (std::mem::take(&mut self.forget), std::mem::take(&mut self.created));
        #[cfg(feature = "faults")]
        if self.breaks(Mutant::NoEntry) {
            return Ok(Committed { value: change.value, until: Until::Newest, untrue: Vec::new(), created });
        }
        #[cfg(feature = "faults")]
        if self.breaks(Mutant::EntryAfter) {
            self.db.faults.write_later(forget);
            return Ok(Committed { value: change.value, until: Until::Newest, untrue: Vec::new(), created });
        }
        let last = match &self.inner {
            Inner::Postgres(_) if !self.numbers_at_once() => {
                let any = !forget.is_empty();
                self.entries.extend(forget.iter().map(|entry| (*entry, now)));
                any.then_some(self.entries.len() as i64)
            }
            _ => invalidations::append(self, &forget, now).await?,
        };
        let until = match last {
            Some(position) => Until::Entry(position),
            None if change.already => Until::Newest,
            None => Until::Nowhere,
        };
        Ok(Committed { value: change.value, until, untrue: forget, created })
    }

    /// Writes the audit log and the log, and commits. An error after COMMIT was sent leaves open whether it happened.
    pub async fn commit<T>(mut self, change: Change<T>, by: &By, now: Timestamp) -> Result<Committed<T>> {
        let mut committed = self.record(change, by, now).await?;
        committed.number(self.finish().await?);
        Ok(committed)
    }

    /// `Mutant::Sequence` numbers in a way of its own.
    fn numbers_at_once(&self) -> bool {
        #[cfg(feature = "faults")]
        return self.breaks(Mutant::Sequence);
        #[cfg(not(feature = "faults"))]
        false
    }

    /// For housekeeping that takes no right away and makes nothing untrue; the store's own affair. From where on what is to
    /// be written to the log was numbered.
    pub(crate) async fn finish(mut self) -> Result<i64> {
        debug_assert!(!self.makes_untrue(), "what becomes untrue is committed with its log entries");
        let mut base = 0;
        match self.inner {
            Inner::Lease(lease) => lease.commit().await?,
            Inner::Postgres(_) => base = self.finish_together().await?,
            Inner::Batch(_) => {}
        }
        #[cfg(feature = "faults")]
        self.db.faults.check(&[crate::engine::faults::Fault::CommitReply])?;
        Ok(base)
    }

    /// Whether entries of the log are to be written with the commit.
    pub(crate) fn writes_log(&self) -> bool {
        !self.entries.is_empty()
    }

    /// Commits on PostgreSQL, for one operation or several.
    pub(crate) async fn finish_together(&mut self) -> Result<i64> {
        let Inner::Postgres(transaction) = &mut self.inner else { return Err(Error::closed()) };
        let session = transaction.session().ok_or_else(Error::closed)?;
        session.turn_to(session::NOBODY);
        if self.entries.is_empty() {
            transaction.commit().await?;
            return Ok(0);
        }
        let drawn = invalidations::queue(session, &self.entries);
        let answers = transaction.commit().await?;
        let last: i64 = match answers.get(drawn) {
            Some(Answer::Rows(rows)) => rows.first().ok_or_else(Error::closed)?.try_get(0)?,
            _ => return Err(Error::closed()),
        };
        Ok(last - self.entries.len() as i64)
    }
}

impl Runs for Tx {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.inner {
            Inner::Batch(connection) => Conn::Sqlite(connection),
            Inner::Lease(lease) => lease.connection().map_or(Conn::Closed, Conn::Sqlite),
            Inner::Postgres(transaction) => transaction.session().map_or(Conn::Closed, Conn::Postgres),
        }
    }

    fn patience(&self) -> Duration {
        PATIENCE_OF_A_WRITER
    }
}

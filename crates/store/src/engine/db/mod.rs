//! One of two databases, and what runs statements on it.

mod open;
mod reader;
mod url;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(feature = "faults")]
use tollhouse_domain::time::Timestamp;

pub use self::open::NOTHING;
use self::reader::Held;
pub use self::reader::Reader;
pub(crate) use self::reader::Single;
pub use self::url::Url;
use crate::engine::conn::{Conn, Runs};
use crate::engine::postgres::group::Group;
use crate::engine::postgres::pool::Pool;
use crate::engine::postgres::session::Origin;
use crate::engine::postgres::transaction::Transaction;
use crate::engine::query::query;
use crate::engine::sqlite::File;
use crate::engine::sqlite::lists::Lists;
use crate::engine::sqlite::readers::Readers;
use crate::engine::sqlite::writer::Writer;
use crate::engine::tx::{Committed, Tx};
use crate::engine::work;
use crate::engine::work::{Boxed, Chore, Operation, Work};
use crate::error::{Error, Result};
use crate::files;
use crate::invalidations::Link;

/// The open database, SQLite or PostgreSQL. Clones share the connections. Reads go through [`Db::read`] and
/// [`Db::list`], writes through [`Db::perform`] alone.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
    /// Below this much free space growth is refused (T29); only a SQLite file's disk can be seen.
    reserve: u64,
    /// Transactions that may write, since the start.
    begun: Arc<AtomicU64>,
    /// What fails on demand.
    #[cfg(feature = "faults")]
    pub faults: crate::engine::faults::Faults,
}

#[derive(Clone)]
enum Engine {
    Sqlite {
        readers: Arc<Readers>,
        lists: Arc<Lists>,
        writer: Arc<Writer>,
        file: File,
    },
    /// Two pools, so that commits which nobody acknowledges cannot take the connections of those who only ask.
    Postgres {
        read: Arc<Pool>,
        write: Arc<Pool>,
        group: Arc<Group>,
        origin: Origin,
    },
}

impl Db {
    /// A connection to read with.
    pub async fn read(&self) -> Result<Reader> {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::engine::faults::Fault::Everything])?;
        Ok(Reader(match &self.engine {
            Engine::Sqlite { readers, .. } => Held::Sqlite(readers.take()?),
            Engine::Postgres { read, .. } => Held::Postgres(read.take().await?),
        }))
    }

    /// Runs a read that may take long, such as a page of a list. On SQLite it may await only its statements. If they take
    /// more than some thousand steps, it runs again on a separate thread; there they are interrupted when the caller goes
    /// away, and after five seconds.
    pub async fn list<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>> + Clone + Send + 'static,
        T: Send + 'static,
    {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::engine::faults::Fault::Everything])?;
        match &self.engine {
            Engine::Sqlite { lists, .. } => lists.run(work).await,
            Engine::Postgres { read, .. } => work(&mut Reader(Held::Postgres(read.take().await?))).await,
        }
    }

    /// Runs a unit of work and commits it with its audit rows and log entries.
    ///
    /// On SQLite the writer thread runs it and may commit it together with others. On PostgreSQL a task does the same
    /// for work that usually writes to the log ([`Work::LOGS`]); other work runs in the task of the caller. Once the
    /// writer thread or that task has begun it, it is finished even if the caller goes away. After an "unavailable"
    /// error it is not known whether the change was committed.
    pub async fn perform<W: Work>(&self, work: W) -> std::result::Result<Committed<W::Output>, W::Error> {
        self.may_write()?;
        let committed = match &self.engine {
            Engine::Sqlite { writer, .. } => {
                let (job, told) = Operation::new(work);
                writer.submit(job, self)?;
                told.wait().await??
            }
            Engine::Postgres { group, .. } if W::LOGS => {
                let (job, told) = Operation::new(work);
                group.submit(job, self.clone())?;
                told.wait().await??
            }
            Engine::Postgres { write, .. } => {
                let mut tx = Tx::postgres(self.clone(), Transaction::begin(write).await?);
                let mut committed = work::run(&work, &mut tx).await?;
                committed.number(tx.finish().await?);
                return self.entries_after(committed).await.map_err(Into::into);
            }
        };
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::engine::faults::Fault::CommitReply])?;
        self.entries_after(committed).await.map_err(Into::into)
    }

    /// Runs housekeeping, which leaves no audit row and makes nothing untrue.
    pub(crate) async fn chore<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> Boxed<'t, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        self.may_write()?;
        self.chore_unasked(work).await
    }

    /// The same for what a server does of its own accord all the time: it is not counted, and switches of the tests do not
    /// stop it.
    pub(crate) async fn chore_unasked<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> Boxed<'t, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite { writer, .. } => {
                let (job, told) = Chore::new(work);
                writer.submit(job, self)?;
                let done = told.wait().await??;
                #[cfg(feature = "faults")]
                self.faults.check(&[crate::engine::faults::Fault::CommitReply])?;
                Ok(done)
            }
            Engine::Postgres { write, .. } => {
                let mut tx = Tx::postgres(self.clone(), Transaction::begin(write).await?);
                let done = work(&mut tx).await?;
                tx.finish().await?;
                Ok(done)
            }
        }
    }

    /// A transaction that the caller runs statement by statement. On SQLite all other writers wait until it ends, so a
    /// server uses [`Db::perform`] instead. A transaction that is dropped without a commit is rolled back.
    pub async fn begin(&self) -> Result<Tx> {
        self.may_write()?;
        match &self.engine {
            Engine::Sqlite { writer, .. } => Ok(Tx::leased(self.clone(), writer.lease().await?)),
            Engine::Postgres { write, .. } => Ok(Tx::postgres(self.clone(), Transaction::begin(write).await?)),
        }
    }

    fn may_write(&self) -> Result<()> {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::engine::faults::Fault::Everything, crate::engine::faults::Fault::Writes])?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    #[cfg(not(feature = "faults"))]
    async fn entries_after<T>(&self, committed: Committed<T>) -> Result<Committed<T>> {
        Ok(committed)
    }

    /// `Mutant::EntryAfter`: in a transaction of their own.
    #[cfg(feature = "faults")]
    async fn entries_after<T>(&self, committed: Committed<T>) -> Result<Committed<T>> {
        let entries = self.faults.entries_to_write();
        if !entries.is_empty() {
            let mut tx = self.begin().await?;
            crate::invalidations::append(&mut tx, &entries, Timestamp(0)).await?;
            tx.finish().await?;
        }
        Ok(committed)
    }

    /// How many transactions that may write were requested since the start. On SQLite several may share one commit, and
    /// so take the write lock once.
    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether there is room for something new (T29).
    pub fn room_to_grow(&self) -> Result<()> {
        let Engine::Sqlite { file, .. } = &self.engine else {
            return Ok(());
        };
        match rustix::fs::statvfs(files::folder_of(&file.path)) {
            Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < self.reserve => Err(Error::Full(self.reserve)),
            _ => Ok(()),
        }
    }

    /// Round trips to PostgreSQL since the start, counted over all connections.
    #[cfg(feature = "faults")]
    pub fn rounds(&self) -> u64 {
        match &self.engine {
            Engine::Sqlite { .. } => 0,
            Engine::Postgres { origin, .. } => origin.rounds.load(Ordering::Relaxed),
        }
    }

    /// Whether it is a PostgreSQL server; otherwise it is a SQLite file.
    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres { .. })
    }

    /// A connection for the one who follows the log.
    pub async fn link(&self) -> Result<Link> {
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::engine::faults::Fault::Everything])?;
        let link = match &self.engine {
            Engine::Sqlite { file, .. } => Link::sqlite(file, self.clone()),
            Engine::Postgres { origin, .. } => origin.address.connect().await.map(Link::postgres),
        };
        #[cfg(feature = "faults")]
        let link = link.map(|link| link.breaking(self.faults.mutants.clone()));
        link
    }

    /// Wakes `wake` whenever PostgreSQL says that the log has grown, until the connection breaks. `heard` is told when it
    /// is known that such words arrive: a pooler in between may swallow them (F6).
    pub async fn listen(&self, wake: &tokio::sync::Notify, heard: impl Fn()) -> Result<()> {
        match &self.engine {
            Engine::Sqlite { .. } => std::future::pending().await,
            Engine::Postgres { origin, .. } => origin.address.listen(wake, heard).await,
        }
    }

    /// Lets go of every connection.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { readers, lists, writer, .. } => {
                lists.close();
                readers.close();
                writer.close().await;
            }
            Engine::Postgres { read, write, group, .. } => {
                group.close();
                read.close();
                write.close();
            }
        }
    }

    /// Prepares a statement without running it, for the test of all of them.
    pub async fn prepare(&self, sql: &'static str) -> Result<()> {
        let mut reader = self.read().await?;
        match reader.conn() {
            Conn::Sqlite(connection) => Ok(connection.prepare(sql).map(drop)?),
            Conn::Postgres(session) => session.check(sql).await,
            Conn::Closed => Err(Error::closed()),
        }
    }

    /// What a transaction says of itself, for the test that asserts `synchronous = FULL`.
    pub async fn durability(&self) -> Result<String> {
        let mut tx = self.begin().await?;
        match self.is_postgres() {
            false => {
                let level: i64 = query("PRAGMA synchronous").one(&mut tx).await?;
                Ok(format!("synchronous={level}"))
            }
            true => {
                let level: String = query("SHOW synchronous_commit").one(&mut tx).await?;
                Ok(format!("synchronous_commit={level}"))
            }
        }
    }
}

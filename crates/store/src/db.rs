//! One of two databases, and what runs statements on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

#[cfg(feature = "faults")]
use tollhouse_domain::time::Timestamp;

use crate::conn::{Conn, Runs};
use crate::error::{Error, Result};
use crate::log::Link;
use crate::postgres::group::Group;
use crate::postgres::pool::Pool;
use crate::postgres::session::Origin;
use crate::postgres::transaction::Transaction;
use crate::query::query;
use crate::sqlite::File;
use crate::sqlite::lists::Lists;
use crate::sqlite::readers::Readers;
use crate::sqlite::writer::Writer;
use crate::tx::{Committed, Tx};
use crate::work::{Boxed, Chore, Operation, Work};
use crate::{files, migrate, postgres, sqlite, work};

/// Where the data is: `sqlite:PATH` or `postgres://...`.
#[derive(Clone)]
pub enum Url {
    Sqlite(PathBuf),
    Postgres(postgres::Address),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return Err("a SQLite database is a file, such as sqlite:/var/lib/tollhouse/tollhouse.db".into());
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.parse()?));
        }
        // Of what was given no more than its beginning: behind that there may be a password.
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| scheme.len() <= 16 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
        let not = scheme.map_or_else(String::new, |scheme| format!(", not {scheme}:"));
        let example = "such as sqlite:/var/lib/tollhouse/tollhouse.db";
        Err(format!("a database is sqlite:PATH or postgres://USER@HOST/NAME, {example}{not}"))
    }
}

impl fmt::Display for Url {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

#[derive(Clone)]
pub struct Db {
    engine: Engine,
    /// Below this much free space growth is refused (T29); only a SQLite file's disk can be seen.
    reserve: u64,
    /// Transactions that may write, since the start.
    begun: Arc<AtomicU64>,
    #[cfg(feature = "faults")]
    pub faults: crate::faults::Faults,
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
    /// Opens the database, makes the SQLite file if there is none, and brings the schema up to date.
    pub async fn open(url: &Url, reserve: u64) -> Result<Self> {
        // Two that start at once must not both make the file, or take the same step; PostgreSQL sees to that itself.
        let _alone = match url {
            Url::Sqlite(path) => Some(lock(path).await?),
            Url::Postgres(_) => None,
        };
        match url {
            Url::Sqlite(path) => migrate::sqlite(&mut sqlite::connect(path, BUSY)?)?,
            Url::Postgres(address) => migrate::postgres(&mut address.connect_soon(None).await?).await?,
        }
        let db = Self::connect(url, reserve).await?;
        crate::access_grants::hash_plain_challenges(&db).await?;
        Ok(db)
    }

    /// Opens a database that is there, and whose schema is that of this program; changes nothing. For commands, which
    /// leave it to a server to make one or to bring it up to date.
    pub async fn join(url: &Url, reserve: u64) -> Result<Self> {
        if Self::is_empty(url).await? {
            return Err(Error::Schema(NOTHING));
        }
        match Self::version(url).await? {
            None => Err(Error::Schema(FOREIGN)),
            Some(version) if version < migrate::NEWEST => {
                Err(Error::Schema("it is of an older version; `tollhouse serve` brings it up to date"))
            }
            Some(version) if version > migrate::NEWEST => Err(Error::Schema(migrate::NEWER)),
            Some(_) => Self::connect(url, reserve).await,
        }
    }

    /// Of the schema, by a connection that sets nothing: what connects to work turns a SQLite file of any program into one
    /// with a write-ahead log.
    async fn version(url: &Url) -> Result<Option<i64>> {
        match url {
            Url::Sqlite(path) => migrate::version(&mut Single(sqlite::look(path, BUSY)?)).await,
            Url::Postgres(address) => migrate::version(&mut address.look().await?).await,
        }
    }

    async fn connect(url: &Url, reserve: u64) -> Result<Self> {
        let engine = match url {
            Url::Sqlite(path) => {
                make_private(path)?;
                let file = File::at(path)?;
                let writer = Arc::new(Writer::start(&file)?);
                file.is_there()?;
                let readers = Arc::new(Readers::new(file.clone()));
                Engine::Sqlite { lists: Arc::new(Lists::new(readers.clone())), readers, writer, file }
            }
            Url::Postgres(address) => {
                let (numbers, rounds) = Default::default();
                let origin = Origin { address: address.clone(), numbers, rounds };
                let pool = |most| Arc::new(Pool::new(origin.clone(), most));
                let write = pool(WRITERS);
                // It is there, and lets us in.
                drop(write.take().await?);
                let group = Arc::new(Group::new(write.clone()));
                Engine::Postgres { read: pool(READERS), write, group, origin }
            }
        };
        Ok(Self {
            engine,
            reserve,
            begun: Arc::default(),
            #[cfg(feature = "faults")]
            faults: Default::default(),
        })
    }

    /// Whether nothing is there yet: no file, or no table. Looks without touching it.
    pub async fn is_empty(url: &Url) -> Result<bool> {
        match url {
            Url::Sqlite(path) => match std::fs::metadata(path) {
                Ok(file) => Ok(file.len() == 0),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
                Err(error) => Err(error.into()),
            },
            Url::Postgres(address) => {
                let text = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()";
                let tables: i64 = query(text).one(&mut address.look().await?).await?;
                Ok(tables == 0)
            }
        }
    }

    /// A connection to read with.
    pub async fn read(&self) -> Result<Reader> {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::faults::Fault::Everything])?;
        Ok(Reader(match &self.engine {
            Engine::Sqlite { readers, .. } => Held::Sqlite(readers.take()?),
            Engine::Postgres { read, .. } => Held::Postgres(read.take().await?),
        }))
    }

    /// Runs a read that may take long, such as a page of a list. On SQLite it runs on a separate thread and may await
    /// only its statements; they are interrupted when the caller goes away, and after five seconds.
    pub async fn list<T, F>(&self, work: F) -> Result<T>
    where
        F: for<'r> FnOnce(&'r mut Reader) -> Boxed<'r, Result<T>> + Send + 'static,
        T: Send + 'static,
    {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::faults::Fault::Everything])?;
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
        self.faults.check(&[crate::faults::Fault::CommitReply])?;
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
                self.faults.check(&[crate::faults::Fault::CommitReply])?;
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
        self.faults.check(&[crate::faults::Fault::Everything, crate::faults::Fault::Writes])?;
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
            crate::log::append(&mut tx, &entries, Timestamp(0)).await?;
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

    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres { .. })
    }

    /// A connection for the one who follows the log.
    pub async fn link(&self) -> Result<Link> {
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::faults::Fault::Everything])?;
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

/// A connection held for reading.
pub struct Reader(Held);

enum Held {
    Sqlite(sqlite::readers::Held),
    Postgres(postgres::pool::Held),
}

impl Reader {
    pub(crate) fn sqlite(held: sqlite::readers::Held) -> Self {
        Self(Held::Sqlite(held))
    }
}

impl Runs for Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Held::Sqlite(held) => held.connection().map_or(Conn::Closed, Conn::Sqlite),
            Held::Postgres(held) => held.session().map_or(Conn::Closed, Conn::Postgres),
        }
    }
}

/// One connection to SQLite that is used once.
pub(crate) struct Single(pub(crate) rusqlite::Connection);

impl Runs for Single {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Sqlite(&mut self.0)
    }
}

/// The lock stands beside the database: SQLite has locks of its own on the file itself.
async fn lock(database: &Path) -> std::io::Result<std::fs::File> {
    make_private(database)?;
    let database = std::fs::canonicalize(database)?;
    let file = files::open_or_create(&database.with_added_extension("lock"), &database)?;
    tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?
}

/// The file is its owner's alone from its first byte (T31); SQLite gives its companions the same mode and, if root makes
/// them, the same owner.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    files::open_or_create(path, files::folder_of(path)).map(drop)
}

/// With one that listens and one that reads the log a server has 17 in all.
const READERS: usize = 9;
const WRITERS: usize = 6;

/// Why a command does not join a database that is not there, or empty.
pub const NOTHING: &str = "there is nothing in it; `tollhouse serve` makes what is needed";

pub(crate) const FOREIGN: &str = "it is not a database of Tollhouse";

const BUSY: Duration = Duration::from_secs(5);

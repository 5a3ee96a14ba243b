//! One of two databases, and what runs statements on it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Executor, PgConnection, PgPool, Postgres, Sqlite, SqliteConnection, SqlitePool};

use crate::error::{Error, Result};
use crate::files;
use crate::log::{CHANNEL, File, Link};
use crate::migrate;
use crate::tx::Tx;

/// Where the data is: `sqlite:PATH` or `postgres://...`.
#[derive(Clone)]
pub enum Url {
    Sqlite(PathBuf),
    Postgres(Box<PgConnectOptions>),
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
            let options = PgConnectOptions::from_str(text).map_err(|_| "not a valid postgres:// URL".to_owned())?;
            return Ok(Self::Postgres(Box::new(options.application_name("tollhouse"))));
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
            Self::Postgres(options) => {
                let name = options.get_database().unwrap_or_else(|| options.get_username());
                write!(f, "postgres://{}:{}/{name}", options.get_host(), options.get_port())
            }
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
        read: SqlitePool,
        write: SqlitePool,
        file: File,
    },
    /// Two, so that commits which nobody acknowledges cannot take the connections of those who only ask.
    Postgres {
        read: PgPool,
        write: PgPool,
    },
}

impl Db {
    /// Opens the database, makes the SQLite file if there is none, and brings the schema up to date.
    pub async fn open(url: &Url, reserve: u64) -> Result<Self> {
        // Two that start at once must not both make the file, or take the same step; PostgreSQL sees to that itself.
        let _alone = match url {
            Url::Sqlite(path) => Some(lock(path).await.map_err(sqlx::Error::Io)?),
            Url::Postgres(_) => None,
        };
        let db = match Self::connect(url, reserve).await {
            // Whoever asks once more, alone, is told why.
            Err(Error::Unavailable(sqlx::Error::PoolTimedOut)) => {
                let again = tokio::time::timeout(ACQUIRE, Self::version(url)).await;
                return Err(again.ok().and_then(Result::err).unwrap_or_else(Error::late));
            }
            connected => connected?,
        };
        let migrated = match &db.engine {
            Engine::Sqlite { write, .. } => migrate::SQLITE.migrator().run(write).await,
            Engine::Postgres { write, .. } => migrate::POSTGRES.migrator().run(write).await,
        };
        if let Err(error) = migrated {
            return Err(match error {
                MigrateError::VersionMissing(_) => Error::Schema(NEWER),
                // The first step finds its tables, or others of their names.
                MigrateError::ExecuteMigration(sqlx::Error::Database(said), 1)
                    if said.message().contains("already exists") =>
                {
                    Error::Schema(FOREIGN)
                }
                error => error.into(),
            });
        }
        crate::access_grants::hash_plain_challenges(&db).await?;
        Ok(db)
    }

    /// Opens a database that is there, and whose schema is that of this program; changes nothing. For commands, which
    /// leave it to a server to make one or to bring it up to date.
    pub async fn join(url: &Url, reserve: u64) -> Result<Self> {
        if Self::is_empty(url).await? {
            return Err(Error::Schema(NOTHING));
        }
        let known = migrate::SQLITE.migrator().iter().map(|step| step.version).max().unwrap_or_default();
        match Self::version(url).await? {
            None => Err(Error::Schema(FOREIGN)),
            Some(version) if version < known => {
                Err(Error::Schema("it is of an older version; `tollhouse serve` brings it up to date"))
            }
            Some(version) if version > known => Err(Error::Schema(NEWER)),
            Some(_) => Self::connect(url, reserve).await,
        }
    }

    /// Of the schema, by a connection that sets nothing: what connects to work turns a SQLite file of any program into one
    /// with a write-ahead log.
    async fn version(url: &Url) -> Result<Option<i64>> {
        use sqlx::{ConnectOptions, Connection};
        match url {
            Url::Sqlite(path) => {
                let options = SqliteConnectOptions::new().filename(path).busy_timeout(Duration::from_secs(5));
                let mut connection = options.connect().await?;
                let found = migrate::version(Conn::Sqlite(&mut connection)).await;
                connection.close().await?;
                found
            }
            Url::Postgres(options) => {
                let mut connection = options.connect().await?;
                let found = migrate::version(Conn::Postgres(&mut connection)).await;
                connection.close().await?;
                found
            }
        }
    }

    async fn connect(url: &Url, reserve: u64) -> Result<Self> {
        let engine = match url {
            Url::Sqlite(path) => open_sqlite(path).await?,
            Url::Postgres(options) => {
                let pool = |most| {
                    let pool = PgPoolOptions::new().max_connections(most).acquire_timeout(ACQUIRE);
                    pool.after_connect(|connection, _| Box::pin(primary(connection)))
                };
                let write = pool(WRITERS).connect_with(options.as_ref().clone()).await?;
                Engine::Postgres { read: pool(READERS).connect_lazy_with(options.as_ref().clone()), write }
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
                Err(error) => Err(sqlx::Error::Io(error).into()),
            },
            Url::Postgres(options) => {
                use sqlx::{ConnectOptions, Connection};
                let mut connection = options.connect().await?;
                let tables: i64 = sqlx::query_scalar(
                    "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()",
                )
                .fetch_one(&mut connection)
                .await?;
                connection.close().await?;
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
            Engine::Sqlite { read, .. } => Held::Sqlite(read.acquire().await?),
            Engine::Postgres { read, .. } => Held::Postgres(read.acquire().await?),
        }))
    }

    /// One unit of work. Dropped without a commit, it leaves no trace.
    pub async fn begin(&self) -> Result<Tx> {
        #[cfg(feature = "faults")]
        self.faults.ask();
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::faults::Fault::Everything, crate::faults::Fault::Writes])?;
        self.begun.fetch_add(1, Ordering::Relaxed);
        match &self.engine {
            // A plain BEGIN takes the write lock too late: what was read may be stale by then.
            Engine::Sqlite { write, .. } => Ok(Tx::sqlite(self.clone(), write.begin_with("BEGIN IMMEDIATE").await?)),
            // In a task of its own: dropped in the middle of BEGIN, it would leave a connection behind that is in a
            // transaction, and nobody knows.
            Engine::Postgres { write, .. } => {
                let pool = write.clone();
                let begun = tokio::spawn(async move { pool.begin_with(BEGIN).await }).await;
                Ok(Tx::postgres(self.clone(), begun.map_err(|_| sqlx::Error::WorkerCrashed)??))
            }
        }
    }

    /// How many transactions that may write were asked for since the start. On SQLite each takes the one write lock.
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

    pub fn is_postgres(&self) -> bool {
        matches!(self.engine, Engine::Postgres { .. })
    }

    /// A connection for the one who follows the log.
    pub async fn link(&self) -> Result<Link> {
        #[cfg(feature = "faults")]
        self.faults.check(&[crate::faults::Fault::Everything])?;
        let link = match &self.engine {
            Engine::Sqlite { file, .. } => {
                let options = sqlite(&file.path).synchronous(SqliteSynchronous::Normal).busy_timeout(BUSY_LINK);
                Link::sqlite(options, file).await
            }
            Engine::Postgres { read, .. } => Link::postgres(&read.connect_options()).await,
        };
        #[cfg(feature = "faults")]
        let link = link.map(|link| link.breaking(self.faults.mutants.clone()));
        link
    }

    /// Wakes `wake` whenever PostgreSQL says that the log has grown, until the connection breaks. `heard` is told when it
    /// is known that such words arrive: a pooler in between may swallow them (F6).
    pub async fn listen(&self, wake: &tokio::sync::Notify, heard: impl Fn()) -> Result<()> {
        let Engine::Postgres { read: pool, .. } = &self.engine else { return std::future::pending().await };
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(CHANNEL).await?;
        sqlx::query("SELECT pg_notify($1, 'listening')").bind(CHANNEL).execute(pool).await?;
        let mut first = true;
        loop {
            let within = if first { SILENCE } else { QUIET };
            match tokio::time::timeout(within, listener.try_recv()).await {
                // Words may have been lost with a connection that broke.
                Ok(word) => {
                    let Some(_) = word? else { return Ok(()) };
                }
                Err(_) if first => return Err(Error::late()),
                // A connection that is dead without knowing it is quiet too.
                Err(_) => {
                    let answer = tokio::time::timeout(SILENCE, listener.execute("SELECT 1")).await;
                    answer.map_err(|_| Error::late())??;
                    continue;
                }
            }
            if std::mem::take(&mut first) {
                heard();
            }
            wake.notify_one();
        }
    }

    /// Lets go of every connection.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite { read, write, .. } => {
                read.close().await;
                write.close().await;
            }
            Engine::Postgres { read, write } => {
                read.close().await;
                write.close().await;
            }
        }
    }

    /// Prepares a statement without running it, for the test of all of them.
    pub async fn prepare(&self, sql: &'static str) -> Result<()> {
        use sqlx::SqlSafeStr;
        let mut tx = self.begin().await?;
        on!(&mut tx, |c| async { Executor::prepare(c, sql.into_sql_str()).await.map(drop) })
    }

    /// What a transaction says of itself, for the test that asserts `synchronous = FULL`.
    pub async fn durability(&self) -> Result<String> {
        let mut tx = self.begin().await?;
        match self.is_postgres() {
            false => {
                let level: i64 = on!(&mut tx, |c| sqlx::query_scalar("PRAGMA synchronous").fetch_one(c))?;
                Ok(format!("synchronous={level}"))
            }
            true => {
                let level: String = on!(&mut tx, |c| sqlx::query_scalar("SHOW synchronous_commit").fetch_one(c))?;
                Ok(format!("synchronous_commit={level}"))
            }
        }
    }
}

/// A connection held for reading.
pub struct Reader(Held);

pub(crate) enum Held {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A connection that a statement runs on.
pub enum Conn<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

impl<'c> Conn<'c> {
    pub(crate) fn of(at: &'c mut impl Runs) -> Self {
        at.conn()
    }
}

/// What can run a statement: a [`Reader`] or a [`Tx`].
pub trait Runs: Send {
    fn conn(&mut self) -> Conn<'_>;

    /// How long a server may take to answer.
    fn patience(&self) -> Duration {
        PATIENCE
    }

    /// It did not answer, and whoever gets this connection next should not wait for it either.
    fn give_up(&mut self) {}
}

impl Runs for Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Held::Sqlite(c) => Conn::Sqlite(c),
            Held::Postgres(c) => Conn::Postgres(c),
        }
    }

    fn give_up(&mut self) {
        if let Held::Postgres(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

async fn open_sqlite(path: &Path) -> Result<Engine> {
    make_private(path).map_err(sqlx::Error::Io)?;
    let file = File::at(path)?;
    let options = sqlite(path).statement_cache_capacity(256);
    let write = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(ACQUIRE)
        // After a full disk SQLite has ended the transaction by itself, which its driver does not know.
        .before_acquire(|connection, _| Box::pin(async move { Ok(!sqlx::Connection::is_in_transaction(connection)) }))
        .connect_with(options.clone())
        .await?;
    let read = SqlitePoolOptions::new()
        .max_connections(8)
        .acquire_timeout(ACQUIRE)
        .connect_lazy_with(options.pragma("query_only", "ON"));
    file.is_there()?;
    Ok(Engine::Sqlite { read, write, file })
}

/// A connection to the primary (revocation.md A5).
pub(crate) async fn primary(connection: &mut PgConnection) -> sqlx::Result<()> {
    match sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(&mut *connection).await? {
        true => Err(sqlx::Error::Io(std::io::Error::other("this is a standby, not the primary"))),
        false => Ok(()),
    }
}

/// The lock stands beside the database: SQLite has locks of its own on the file itself.
async fn lock(database: &Path) -> std::io::Result<std::fs::File> {
    make_private(database)?;
    let database = std::fs::canonicalize(database)?;
    let file = files::open_or_create(&database.with_added_extension("lock"), &database)?;
    tokio::task::spawn_blocking(move || file.lock().map(|()| file)).await?
}

fn sqlite(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
}

/// The file is its owner's alone from its first byte (T31); SQLite gives its companions the same mode and, if root makes
/// them, the same owner.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    files::open_or_create(path, files::folder_of(path)).map(drop)
}

/// On PostgreSQL: each statement sees what was committed before it, and an acknowledged commit is on the disk (D1),
/// whatever the defaults of the server are, or somebody has set on a connection that a pooler passes around. Whoever stands
/// still in a transaction holds the others up for four seconds, not for ever.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SET LOCAL synchronous_commit = on;
    SET LOCAL idle_in_transaction_session_timeout = '4s';
    SET LOCAL lock_timeout = '6s';
    SET LOCAL statement_timeout = '8s'";

/// For a statement that only reads; one of a transaction is ended by the server, as [`BEGIN`] says, or after
/// [`PATIENCE_OF_A_WRITER`].
const PATIENCE: Duration = Duration::from_secs(5);
pub(crate) const PATIENCE_OF_A_WRITER: Duration = Duration::from_secs(10);

const READERS: u32 = 10;
const WRITERS: u32 = 6;

/// Why a command does not join a database that is not there, or empty.
pub const NOTHING: &str = "there is nothing in it; `tollhouse serve` makes what is needed";

pub(crate) const FOREIGN: &str = "it is not a database of Tollhouse";
const NEWER: &str = "it is of a newer version than this program";

const ACQUIRE: Duration = Duration::from_secs(5);

/// Who follows the log has rounds to begin, and says how far it has come another time.
const BUSY_LINK: Duration = Duration::from_millis(200);

/// After so long without a word it is asked whether anybody is there.
const QUIET: Duration = Duration::from_secs(30);

/// A word of our own that has not come back by then was swallowed.
const SILENCE: Duration = Duration::from_secs(2);

//! A copy of a SQLite database, made while servers write to it.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use crate::db::{Conn, FOREIGN, Runs};
use crate::error::{Error, Result};
use crate::keys::SealedKey;
use crate::{keys, migrate};

/// Writes everything that is committed in `database` into `copy`, an empty file, and verifies it. The copy is one moment of
/// the database: it is made by one statement that reads a snapshot, which holds up no writer in WAL mode. The schema may be
/// of another version than this program's. The caller sees to it that `copy` reaches the disk.
///
/// Ends with an error soon after `stopped` says so. SQLite works on a thread of its own and goes on when the future is
/// dropped, so files of the copy can only be removed after this function has returned.
pub async fn copy_sqlite(database: &Path, copy: &Path, stopped: impl Stopped) -> Result<()> {
    let mut source = Single::open(options(database)).await?;
    source.stop_when(stopped.clone()).await?;
    if migrate::version(source.conn()).await?.is_none() {
        return Err(Error::Schema(FOREIGN));
    }
    let name =
        copy.to_str().ok_or_else(|| sqlx::Error::Io(std::io::Error::other("the name of the copy is not UTF-8")))?;
    sqlx::query("VACUUM INTO $1").bind(name).execute(&mut source.0).await?;
    source.0.close().await?;
    verify(copy, stopped).await
}

/// Whether the work is to end before it is done. It is asked often, from another thread.
pub trait Stopped: Fn() -> bool + Clone + Send + 'static {}

impl<F: Fn() -> bool + Clone + Send + 'static> Stopped for F {}

/// Reads a copy from one end to the other.
async fn verify(copy: &Path, stopped: impl Stopped) -> Result<()> {
    let mut copy = Single::open(options(copy).read_only(true)).await?;
    copy.stop_when(stopped).await?;
    let told: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut copy.0).await?;
    if told != ["ok"] {
        return Err(Error::Damaged(told.join("; ")));
    }
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut copy.0).await?;
    if dangling.is_some() {
        return Err(Error::Damaged("a row belongs to another one that is not there".into()));
    }
    if migrate::version(copy.conn()).await?.is_none() {
        return Err(Error::Schema(FOREIGN));
    }
    Ok(copy.0.close().await?)
}

/// The sealed keys in a copy.
pub async fn keys_in(copy: &Path) -> Result<Vec<SealedKey>> {
    let mut copy = Single::open(options(copy).read_only(true)).await?;
    let found = keys::all(&mut copy).await?;
    copy.0.close().await?;
    Ok(found)
}

/// One connection that sets nothing: what connects to work would make another kind of file of a copy.
struct Single(SqliteConnection);

impl Single {
    async fn open(options: SqliteConnectOptions) -> Result<Self> {
        Ok(Self(options.connect().await?))
    }

    async fn stop_when(&mut self, stopped: impl Stopped) -> Result<()> {
        self.0.lock_handle().await?.set_progress_handler(STEPS, move || !stopped());
        Ok(())
    }
}

impl Runs for Single {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Sqlite(&mut self.0)
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    // A large one takes longer than a statement of a server may.
    SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE).disable_statement_logging()
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Instructions of SQLite between two questions whether to stop: well below a millisecond.
const STEPS: i32 = 1000;

//! A copy of a SQLite database, made while servers write to it.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::engine::db::Single;
use crate::engine::{migrate, sqlite};
use crate::error::{Error, Result};
use crate::sealed_keys;
use crate::sealed_keys::SealedKey;

/// Writes everything that is committed in `database` into `copy`, an empty file, and verifies it. The copy is one moment of
/// the database: it is made by one statement that reads a snapshot, which holds up no writer in WAL mode. The schema may be
/// of another version than this program's. The caller sees to it that `copy` reaches the disk.
///
/// Ends with an error soon after `stopped` says so. SQLite works on a thread of its own and goes on when the future is
/// dropped, so files of the copy can only be removed after this function has returned.
pub async fn copy_sqlite(database: &Path, copy: &Path, stopped: impl Stopped) -> Result<()> {
    let (database, copy) = (database.to_owned(), copy.to_owned());
    let work = move || {
        let source = foreign_checked(stopping(sqlite::look(&database, PATIENCE)?, &stopped)?)?;
        let name = copy.to_str().ok_or_else(|| std::io::Error::other("the name of the copy is not UTF-8"))?;
        source.execute("VACUUM INTO $1", [name])?;
        verify(&copy, &stopped)
    };
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}

/// Whether the work is to end before it is done. It is asked often, from another thread.
pub trait Stopped: Fn() -> bool + Clone + Send + 'static {}

impl<F: Fn() -> bool + Clone + Send + 'static> Stopped for F {}

/// Reads a copy from one end to the other.
fn verify(copy: &Path, stopped: &impl Stopped) -> Result<()> {
    let copy = stopping(to_read(copy)?, stopped)?;
    let told: Vec<String> =
        copy.prepare("PRAGMA integrity_check")?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    if told != ["ok"] {
        return Err(Error::Damaged(told.join("; ")));
    }
    if copy.prepare("PRAGMA foreign_key_check")?.exists([])? {
        return Err(Error::Damaged("a row refers to another one that does not exist".into()));
    }
    foreign_checked(copy).map(drop)
}

/// The sealed keys in a copy.
pub async fn keys_in(copy: &Path) -> Result<Vec<SealedKey>> {
    sealed_keys::all(&mut Single(to_read(copy)?)).await
}

fn foreign_checked(connection: Connection) -> Result<Connection> {
    match migrate::version_of(connection)? {
        (Some(_), connection) => Ok(connection),
        (None, _) => Err(Error::Schema(migrate::FOREIGN)),
    }
}

/// It sets nothing: what connects to work would make another kind of file of a copy.
fn to_read(path: &Path) -> Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?)
}

fn stopping(mut connection: Connection, stopped: &impl Stopped) -> Result<Connection> {
    connection.progress_handler(STEPS, Some(stopped.clone()))?;
    Ok(connection)
}

const PATIENCE: Duration = Duration::from_secs(5);

/// Instructions of SQLite between two questions whether to stop: well below a millisecond.
const STEPS: i32 = 1000;

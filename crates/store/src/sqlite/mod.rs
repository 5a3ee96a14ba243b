//! SQLite, through rusqlite: reads in the thread that asks, one thread that writes (docs/decisions/0031).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use crate::error::{Error, Result};
use crate::value::Value;

pub(crate) mod readers;
pub(crate) mod writer;

/// Which file a path led to.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    id: (u64, u64),
}

impl File {
    pub(crate) fn at(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), id: Self::id(path)? })
    }

    fn id(path: &Path) -> Result<(u64, u64)> {
        let known = std::fs::metadata(path)?;
        Ok((known.dev(), known.ino()))
    }

    pub(crate) fn is_there(&self) -> Result<()> {
        match Self::id(&self.path) {
            Ok(id) if id == self.id => Ok(()),
            _ => Err(Error::Replaced),
        }
    }
}

/// A connection to work with: turns the file into one with a write-ahead log.
pub(crate) fn connect(path: &Path, busy: Duration) -> Result<Connection> {
    let connection = look(path, busy)?;
    // Without it a statement whose parameters the planner has looked at is compiled anew at each use. Not every SQLite that
    // this may be built with has it on.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // A commit is on the disk before it is acknowledged (D1).
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY",
    )?;
    Ok(connection)
}

/// A connection that sets nothing, for a file that may be of any program.
pub(crate) fn look(path: &Path, busy: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    wait_at_most(&mut connection, busy)?;
    Ok(connection)
}

/// SQLite's own handler sleeps up to 100 ms between two tries, so a process that commits in a loop would keep everybody else
/// from writing for as long as it goes on.
fn wait_at_most(connection: &mut Connection, busy: Duration) -> Result<()> {
    let mut began = Instant::now();
    let handler = move |tries: i32| {
        if tries == 0 {
            began = Instant::now();
        }
        std::thread::sleep(BETWEEN_TRIES);
        began.elapsed() < busy
    };
    Ok(connection.busy_handler(Some(handler))?)
}

/// Gives each row to `each` until that says `false`.
pub(crate) fn rows(
    connection: &Connection,
    sql: &str,
    values: &[Value<'_>],
    mut each: impl FnMut(&rusqlite::Row<'_>) -> Result<bool>,
) -> Result<()> {
    let mut statement = bound(connection, sql, values)?;
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next()? {
        if !each(row)? {
            break;
        }
    }
    Ok(())
}

/// How many rows it changed.
pub(crate) fn changed(connection: &Connection, sql: &str, values: &[Value<'_>]) -> Result<u64> {
    Ok(bound(connection, sql, values)?.raw_execute()? as u64)
}

/// Runs a statement to its end, and says how many steps the virtual machine took.
#[cfg(feature = "faults")]
pub(crate) fn steps(connection: &Connection, sql: &str, values: &[Value<'_>]) -> Result<i32> {
    let mut statement = bound(connection, sql, values)?;
    statement.reset_status(rusqlite::StatementStatus::VmStep);
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    drop(rows);
    Ok(statement.get_status(rusqlite::StatementStatus::VmStep))
}

fn bound<'c>(connection: &'c Connection, sql: &str, values: &[Value<'_>]) -> Result<CachedStatement<'c>> {
    let mut statement = connection.prepare_cached(sql)?;
    for place in 1..=statement.parameter_count() {
        // To SQLite `$2` is a name, and names are numbered by their first appearance in the text.
        let number = statement.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse().ok());
        let value = number.and_then(|number: usize| values.get(number.checked_sub(1)?));
        let value = value.ok_or(rusqlite::Error::InvalidParameterCount(values.len(), place))?;
        statement.raw_bind_parameter(place, value)?;
    }
    Ok(statement)
}

/// Prepared statements that a connection keeps.
const STATEMENTS: usize = 256;

const BETWEEN_TRIES: Duration = Duration::from_micros(300);

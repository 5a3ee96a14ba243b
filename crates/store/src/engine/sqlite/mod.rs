//! SQLite, through rusqlite: reads in the thread that asks, one thread that writes (docs/decisions/0031).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use crate::engine::value::Value;
use crate::error::{Error, Result};

pub(crate) mod lists;
pub(crate) mod readers;
pub(crate) mod writer;

/// Which file a path led to.
#[derive(Clone)]
pub(crate) struct File {
    /// The path by which it was opened.
    pub(crate) path: PathBuf,
    id: (u64, u64),
}

impl File {
    /// The file that is there now.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        Ok(Self { path: path.to_owned(), id: Self::id(path)? })
    }

    fn id(path: &Path) -> Result<(u64, u64)> {
        let known = std::fs::metadata(path)?;
        Ok((known.dev(), known.ino()))
    }

    /// [`Error::Replaced`] if the path leads to another file by now.
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
    #[expect(clippy::disallowed_methods, reason = "it waits for another process, which no clock of a test moves")]
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

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    fn database(name: &str) -> (Connection, Removed) {
        let folder = std::env::temp_dir().join(format!("tollhouse-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let path = folder.join("tollhouse.db");
        std::fs::write(&path, "").expect("a file");
        let mut connection = connect(&path, Duration::from_secs(1)).expect("a connection");
        crate::engine::migrate::sqlite(&mut connection).expect("the schema");
        (connection, Removed(folder))
    }

    struct Removed(PathBuf);

    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn numbers(connection: &Connection, sql: &str) -> Vec<usize> {
        let statement = connection.prepare(sql).expect("a statement");
        let names = (1..=statement.parameter_count()).map(|place| statement.parameter_name(place).expect("a name"));
        names.map(|name| name.strip_prefix('$').and_then(|name| name.parse().ok()).expect("a number")).collect()
    }

    #[test]
    fn parameters_are_bound_by_their_number() {
        let (connection, _folder) = database("numbers");
        let mut told = Vec::new();
        let values = [1.into(), "two".into(), Value::Null];
        rows(&connection, "SELECT $3, $2, $1, $2", &values, |row| {
            told.push((
                row.get::<_, Option<i64>>(0)?,
                row.get::<_, String>(1)?,
                row.get::<_, i64>(2)?,
                row.get::<_, String>(3)?,
            ));
            Ok(true)
        })
        .expect("a row");
        assert_eq!(told, [(None, "two".to_owned(), 1, "two".to_owned())]);
        let too_few = rows(&connection, "SELECT $2", &values[..1], |_| Ok(true));
        assert!(matches!(too_few, Err(Error::Broken(_))), "{too_few:?}");
        // Each statement names all of its parameters from the first on, whatever their order in the text.
        let mut out_of_order = 0;
        for (name, sql) in crate::statements() {
            let mut found = numbers(&connection, sql);
            out_of_order += usize::from(!found.is_sorted());
            found.sort_unstable();
            assert_eq!(found, (1..=found.len()).collect::<Vec<_>>(), "{name}");
        }
        assert!(out_of_order > 0, "the case is there");
    }

    #[test]
    fn a_statement_is_compiled_once() {
        let (connection, _folder) = database("compiled");
        assert_eq!(compiled_again(&connection), [""; 0]);
        // The case is there: this is what the guarantee of stable plans is for.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, false).expect("a setting");
        connection.flush_prepared_statement_cache();
        assert!(!compiled_again(&connection).is_empty());
    }

    /// The statements that are not taken from the cache as they are each time.
    fn compiled_again(connection: &Connection) -> Vec<&'static str> {
        connection.set_prepared_statement_cache_capacity(1000);
        let mut again = Vec::new();
        for (name, sql) in crate::statements() {
            let parameters = numbers(connection, sql).len();
            connection.execute_batch("BEGIN").expect("a transaction");
            for round in 0..100_i64 {
                let values: Vec<Value<'_>> =
                    (0..parameters).map(|place| Value::Int(round * 7 + place as i64)).collect();
                // Some break a rule of the schema; they are compiled all the same.
                let _ = rows(connection, sql, &values, |_| Ok(true));
            }
            connection.execute_batch("ROLLBACK").expect("nothing is left");
            let cached = connection.prepare_cached(sql).expect("a statement");
            if cached.get_status(StatementStatus::RePrepare) > 0 || cached.get_status(StatementStatus::Run) < 100 {
                again.push(name);
            }
        }
        again
    }

    #[test]
    fn the_cache_of_statements_is_bounded() {
        let (connection, _folder) = database("bounded");
        let before = connection.prepare_cached("SELECT 0").map(|first| first.get_status(StatementStatus::MemUsed));
        assert!(before.is_ok_and(|bytes| bytes > 0));
        for number in 0..10_000 {
            rows(&connection, &format!("SELECT {number}"), &[], |_| Ok(true)).expect("a row");
        }
        let first = connection.prepare_cached("SELECT 0").expect("a statement");
        assert_eq!(first.get_status(StatementStatus::Run), 0, "it was given up");
        let last = connection.prepare_cached("SELECT 9999").expect("a statement");
        assert_eq!(last.get_status(StatementStatus::Run), 1, "it is kept");
    }
}

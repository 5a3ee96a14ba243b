//! One process owns the database, until step 3 lets many agree. A second one is refused.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::{ConnectOptions, Connection, PgConnection};

use crate::db::{Url, make_private};
use crate::error::Result;

/// The right to be the only one; gone when it is dropped or the process ends.
pub struct Sole(Held);

enum Held {
    File(#[expect(dead_code, reason = "it holds the lock")] File),
    Connection(Box<PgConnection>),
}

impl Sole {
    /// Taken before the schema is looked at, so that a newer program cannot change it under an older one. `None`:
    /// another process has the database open.
    pub async fn take(url: &Url) -> Result<Option<Self>> {
        match url {
            Url::Sqlite(path) => Ok(lock_file(path).map_err(sqlx::Error::Io)?.map(|file| Self(Held::File(file)))),
            Url::Postgres(options) => {
                let mut connection = options.connect().await?;
                let taken: bool =
                    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
                Ok(taken.then(|| Self(Held::Connection(Box::new(connection)))))
            }
        }
    }

    /// Whether it still holds: a connection may break, and then another process may come. Silence counts as broken.
    pub async fn holds(&mut self) -> bool {
        match &mut self.0 {
            Held::File(_) => true,
            Held::Connection(connection) => {
                matches!(tokio::time::timeout(PATIENCE, connection.ping()).await, Ok(Ok(())))
            }
        }
    }

    /// Gives it up and leaves no lock file behind; for a database that nobody else is about to open.
    pub fn clear(self, url: &Url) {
        if let Url::Sqlite(path) = url {
            let _ = lock_name(path).and_then(std::fs::remove_file);
        }
    }
}

/// The lock stands beside the database: SQLite has locks of its own on the file itself.
fn lock_file(database: &Path) -> std::io::Result<Option<File>> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    // The file must be there before its real name can be known.
    make_private(database)?;
    if std::fs::metadata(database).is_ok_and(|file| file.nlink() > 1) {
        return Err(std::io::Error::other("the file has more than one name, so it cannot be known who else has it"));
    }
    let file = File::options().create(true).append(true).mode(0o600).open(lock_name(database)?)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Beside the file itself, whatever links lead there.
fn lock_name(database: &Path) -> std::io::Result<PathBuf> {
    let mut name = std::fs::canonicalize(database)?.into_os_string();
    name.push(".lock");
    Ok(name.into())
}

const PATIENCE: Duration = Duration::from_secs(1);

/// Any number that no other program on the same database uses: the first bytes of SHA-256 of `tollhouse`.
const LOCK: i64 = 0x7050_562f_7049_6b1e;

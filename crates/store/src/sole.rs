//! One process owns the database, until step 3 lets many agree. A second one is refused.

use std::fs::File;
use std::path::{Path, PathBuf};

use sqlx::PgConnection;
use sqlx::{Connection, Postgres, pool::PoolConnection};

use crate::db::{Db, Url};
use crate::error::{Error, Result};

/// The right to be the only one; gone when it is dropped or the process ends.
pub struct Sole(Held);

enum Held {
    File(#[expect(dead_code, reason = "it holds the lock")] File),
    Connection(Box<PoolConnection<Postgres>>),
}

impl Sole {
    /// `None`: another process has the database open.
    pub async fn take(db: &Db, url: &Url) -> Result<Option<Self>> {
        match (url, db.pg()) {
            (Url::Sqlite(path), _) => Ok(lock_file(path).map_err(sqlx::Error::Io)?.map(|file| Self(Held::File(file)))),
            (Url::Postgres(_), Some(pool)) => {
                let mut connection = pool.acquire().await?;
                let taken: bool = sqlx::query_scalar("SELECT pg_try_advisory_lock($1)")
                    .bind(LOCK)
                    .fetch_one(&mut *connection)
                    .await?;
                Ok(taken.then(|| Self(Held::Connection(Box::new(connection)))))
            }
            (Url::Postgres(_), None) => Err(Error::Damaged("a SQLite database under a postgres URL".into())),
        }
    }

    /// Whether it still holds: a connection may break, and then another process may come.
    pub async fn holds(&mut self) -> bool {
        match &mut self.0 {
            Held::File(_) => true,
            Held::Connection(connection) => PgConnection::ping(connection).await.is_ok(),
        }
    }
}

/// The lock stands beside the database: SQLite has locks of its own on the file itself.
fn lock_file(database: &Path) -> std::io::Result<Option<File>> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut name = database.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options().create(true).append(true).mode(0o600).open(PathBuf::from(name))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Any number that no other program on the same database uses: the first bytes of SHA-256 of `tollhouse`.
const LOCK: i64 = 0x0c5a_9d37_6c1b_42f1;

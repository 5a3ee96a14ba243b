//! A database is opened, and made or brought up to date if it must be.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::reader::Single;
use super::{Db, Engine, Url};
use crate::engine::postgres::group::Group;
use crate::engine::postgres::pool::Pool;
use crate::engine::postgres::session::Origin;
use crate::engine::query::query;
use crate::engine::sqlite::File;
use crate::engine::sqlite::lists::Lists;
use crate::engine::sqlite::readers::Readers;
use crate::engine::sqlite::writer::Writer;
use crate::engine::{migrate, sqlite};
use crate::error::{Error, Result};
use crate::files;

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
        Self::connect(url, reserve).await
    }

    /// Opens a database that is there, and whose schema is that of this program; changes nothing. For commands, which
    /// leave it to a server to make one or to bring it up to date.
    pub async fn join(url: &Url, reserve: u64) -> Result<Self> {
        if Self::is_empty(url).await? {
            return Err(Error::Schema(NOTHING));
        }
        match Self::version(url).await? {
            None => Err(Error::Schema(migrate::FOREIGN)),
            Some(version) if version < migrate::NEWEST => {
                Err(Error::Schema("it is of an older version; `tollhouse serve` updates it"))
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
pub const NOTHING: &str = "it is empty; `tollhouse serve` creates the tables";

const BUSY: Duration = Duration::from_secs(5);

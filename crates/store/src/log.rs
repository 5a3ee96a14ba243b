//! `invalidation_head`, `invalidations`: the numbered log of what became untrue (`docs/protocols/revocation.md`), how it
//! is written and how a node reads it.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sqlx::{ConnectOptions, Executor, PgConnection, SqliteConnection};
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Entry, NodeId, OwnRow, Page, Place};
#[cfg(feature = "faults")]
use tollhouse_domain::faults::{Mutant, Mutants};
use tollhouse_domain::forget::Forget;
use tollhouse_domain::time::Timestamp;

use crate::db::{Conn, Runs, primary};
use crate::error::{Error, Result};
use crate::tx::Tx;

/// Draws the numbers and writes the entries; the last thing before COMMIT (W2). The number of the last one.
pub(crate) async fn append(tx: &mut Tx, entries: &[Forget], now: Timestamp) -> Result<Option<i64>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let count = entries.len() as i64;
    if let Conn::Postgres(connection) = tx.conn() {
        // Before the numbers are drawn, since nothing is to be locked after that (W2). Sent when it commits (F6).
        connection.execute(NOTIFY).await?;
    }
    #[cfg(feature = "faults")]
    let draw = if tx.breaks(Mutant::Sequence) { crate::faults::DRAW } else { DRAW };
    #[cfg(not(feature = "faults"))]
    let draw = DRAW;
    let last: i64 = on!(tx, |c| sqlx::query_scalar(draw).bind(count).fetch_one(c))?;
    for (entry, position) in entries.iter().zip(last - count + 1..) {
        let (kind, key) = entry.entry();
        let mark = i64::from_be_bytes(tollhouse_domain::secret::random());
        changed!(tx, sqlx::query(APPEND).bind(position).bind(mark).bind(kind).bind(key).bind(now.0))?;
    }
    Ok(Some(last))
}

/// The number of the newest entry.
pub async fn newest(at: &mut impl Runs) -> Result<i64> {
    on!(at, |c| sqlx::query_scalar(NEWEST).fetch_one(c))
}

/// A connection of a node's own: the log must be read on time, however busy the others are. What it writes may be
/// committed lazily (F5).
pub struct Link {
    held: Held,
    #[cfg(feature = "faults")]
    mutants: Mutants,
}

enum Held {
    Sqlite(Box<SqliteConnection>, File),
    Postgres(Box<PgConnection>),
}

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
        let known = std::fs::metadata(path).map_err(sqlx::Error::Io)?;
        Ok((known.dev(), known.ino()))
    }

    pub(crate) fn is_there(&self) -> Result<()> {
        match Self::id(&self.path) {
            Ok(id) if id == self.id => Ok(()),
            _ => Err(Error::Replaced),
        }
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    position: i64,
    mark: i64,
    kind: String,
    key: Vec<u8>,
    seen: Option<i64>,
    marked: Option<bool>,
}

impl Link {
    /// `file`: what the database was when it was opened. A link that is made anew must not take another one for it.
    pub(crate) async fn sqlite(options: sqlx::sqlite::SqliteConnectOptions, file: &File) -> Result<Self> {
        let connection = Box::new(options.connect().await?);
        file.is_there()?;
        Ok(Self::on(Held::Sqlite(connection, file.clone())))
    }

    pub(crate) async fn postgres(options: &sqlx::postgres::PgConnectOptions) -> Result<Self> {
        let mut connection = options.connect().await?;
        primary(&mut connection).await?;
        Ok(Self::on(Held::Postgres(Box::new(connection))))
    }

    fn on(held: Held) -> Self {
        Self {
            held,
            #[cfg(feature = "faults")]
            mutants: Mutants::default(),
        }
    }

    #[cfg(feature = "faults")]
    pub(crate) fn breaking(self, mutants: Mutants) -> Self {
        Self { mutants, ..self }
    }

    /// One round's read: entries from a position on, or the newest one alone, and the own row, in one statement (F1).
    pub async fn read(&mut self, from: i64, node: NodeId) -> Result<Page> {
        let rows: Vec<Row> = on!(self, |c| sqlx::query_as(READ).bind(from).bind(&node.0[..]).fetch_all(c))?;
        if rows.is_empty() {
            return Err(Error::Damaged("the log of revocations is empty".into()));
        }
        let own = rows.first().and_then(|row| Some(OwnRow { seen: row.seen?, marked: row.marked? }));
        let entries = rows.into_iter().map(|row| {
            let place = Place { position: row.position, mark: row.mark };
            Entry { place, what: Forget::from_entry(&row.kind, &row.key) }
        });
        Ok(Page { entries: entries.collect(), own })
    }

    /// Only if the entry is still there: a fail-over may have erased it (F5). `now`: for people, who see when a server
    /// was last heard of.
    pub async fn say(&mut self, say: Say, now: Timestamp) -> Result<()> {
        let Say { node, place } = say;
        #[cfg(feature = "faults")]
        if self.mutants.is(Mutant::UnconditionalSeen) {
            let text = crate::faults::SAY;
            return changed!(self, sqlx::query(text).bind(&node.0[..]).bind(place.position).bind(now.0)).map(drop);
        }
        let text = if matches!(self.held, Held::Postgres(_)) { SAY_LAZILY } else { SAY };
        let Place { position, mark } = place;
        changed!(self, sqlx::query(text).bind(&node.0[..]).bind(position).bind(mark).bind(now.0)).map(drop)
    }

    /// On SQLite, a number that changes when another connection has committed. Fails if another file has taken the place
    /// of the one that is open: nobody writes into that one any more, so nothing would ever be heard again (F3).
    pub async fn version(&mut self) -> Result<Option<i64>> {
        match &mut self.held {
            Held::Sqlite(connection, file) => {
                file.is_there()?;
                let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **connection).await;
                version.map(Some).map_err(Error::from)
            }
            Held::Postgres(_) => Ok(None),
        }
    }
}

impl Runs for Link {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.held {
            Held::Sqlite(c, _) => Conn::Sqlite(c),
            Held::Postgres(c) => Conn::Postgres(c),
        }
    }
}

/// Where PostgreSQL says that there is something to read; a wake-up, never evidence (F6).
pub(crate) const CHANNEL: &str = "tollhouse_invalidations";
const NOTIFY: &str = "SELECT pg_notify('tollhouse_invalidations', '')";

/// [`SAY`] on PostgreSQL, where this one transaction need not reach the disk at once (F5). Said with the statement itself: a
/// pooler would pass a setting of the connection on to somebody whose commit must be durable.
const SAY_LAZILY: &str = "
    UPDATE nodes SET seen = $2, seen_at = $4
     WHERE id = $1 AND set_config('synchronous_commit', 'off', true) = 'off'
       AND EXISTS (SELECT 1 FROM invalidations WHERE position = $2 AND mark = $3)";

statements! {
    DRAW = "UPDATE invalidation_head SET position = position + $1 WHERE id = 1 RETURNING position";

    APPEND = "INSERT INTO invalidations (position, mark, kind, key, made_at) VALUES ($1, $2, $3, $4, $5)";

    NEWEST = "SELECT max(position) FROM invalidations";

    READ = "
    SELECT i.position, i.mark, i.kind, i.key, n.seen, n.marked
      FROM invalidations i LEFT JOIN nodes n ON n.id = $2
     WHERE i.position >= $1 OR i.position = (SELECT max(position) FROM invalidations)
     ORDER BY i.position";

    SAY = "
    UPDATE nodes SET seen = $2, seen_at = $4
     WHERE id = $1 AND EXISTS (SELECT 1 FROM invalidations WHERE position = $2 AND mark = $3)";
}

//! `invalidation_head`, `invalidations`: the numbered log of what became untrue (`docs/protocols/revocation.md`), how it
//! is written and how a node reads it.

use sqlx::{ConnectOptions, Executor, PgConnection, SqliteConnection};
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Entry, NodeId, OwnRow, Page, Place};
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
    let last: i64 = on!(tx, |c| sqlx::query_scalar(DRAW).bind(count).fetch_one(c))?;
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
pub struct Link(Held);

enum Held {
    Sqlite(Box<SqliteConnection>),
    Postgres(Box<PgConnection>),
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
    pub(crate) async fn sqlite(options: sqlx::sqlite::SqliteConnectOptions) -> Result<Self> {
        Ok(Self(Held::Sqlite(Box::new(options.connect().await?))))
    }

    pub(crate) async fn postgres(options: &sqlx::postgres::PgConnectOptions) -> Result<Self> {
        let mut connection = options.connect().await?;
        primary(&mut connection).await?;
        connection.execute("SET synchronous_commit = off").await?;
        Ok(Self(Held::Postgres(Box::new(connection))))
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

    /// Only if the entry is still there: a fail-over may have erased it (F5).
    pub async fn say(&mut self, say: Say) -> Result<()> {
        let Say { node, place } = say;
        changed!(self, sqlx::query(SAY).bind(&node.0[..]).bind(place.position).bind(place.mark)).map(drop)
    }

    /// On SQLite, a number that changes when another connection has committed.
    pub async fn version(&mut self) -> Result<Option<i64>> {
        match &mut self.0 {
            Held::Sqlite(connection) => {
                let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut **connection).await;
                version.map(Some).map_err(Error::from)
            }
            Held::Postgres(_) => Ok(None),
        }
    }
}

impl Runs for Link {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Held::Sqlite(c) => Conn::Sqlite(c),
            Held::Postgres(c) => Conn::Postgres(c),
        }
    }
}

/// Where PostgreSQL says that there is something to read; a wake-up, never evidence (F6).
pub(crate) const CHANNEL: &str = "tollhouse_invalidations";
const NOTIFY: &str = "SELECT pg_notify('tollhouse_invalidations', '')";

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
    UPDATE nodes SET seen = $2
     WHERE id = $1 AND EXISTS (SELECT 1 FROM invalidations WHERE position = $2 AND mark = $3)";
}

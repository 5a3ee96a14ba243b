//! `invalidation_head`, `invalidations`: the numbered log of what became untrue (`docs/protocols/revocation.md`), how it
//! is written and how a node reads it.

use std::time::Duration;

use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Entry, LogPosition, NodeId, OwnRow, Page};
#[cfg(feature = "faults")]
use tollhouse_domain::faults::{Mutant, Mutants};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::{Conn, PATIENCE_OF_A_WRITER, Runs};
use crate::engine::db::Db;
use crate::engine::postgres::session::Session;
use crate::engine::query::query;
use crate::engine::sqlite::{self, File};
use crate::engine::tx::Tx;
use crate::engine::value::Value;
use crate::error::{Error, Result};

/// Draws the numbers and writes the entries, as the last statements of the operation (W2). Returns the last number.
pub(crate) async fn append(tx: &mut Tx, entries: &[Invalidation], now: Timestamp) -> Result<Option<i64>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let count = entries.len() as i64;
    if let Conn::Postgres(connection) = tx.conn() {
        // Before the numbers are drawn, since nothing is to be locked after that (W2). Sent when it commits (F6).
        connection.batch(NOTIFY, PATIENCE_OF_A_WRITER).await?;
    }
    #[cfg(feature = "faults")]
    let draw = if tx.breaks(Mutant::Sequence) { crate::engine::faults::DRAW } else { DRAW };
    #[cfg(not(feature = "faults"))]
    let draw = DRAW;
    let last: i64 = query(draw).bind(count).one(tx).await?;
    for (entry, position) in entries.iter().zip(last - count + 1..) {
        let (kind, key) = entry.entry();
        let mark = i64::from_be_bytes(tollhouse_domain::secret::random());
        query(APPEND).bind(position).bind(mark).bind(kind).bind(key).bind(now.0).changed(tx).await?;
    }
    Ok(Some(last))
}

/// The same on PostgreSQL, sent with COMMIT: the head is locked no longer than the commit takes. Where the last number
/// will be found among the answers.
pub(crate) fn queue(session: &mut Session, entries: &[(Invalidation, Timestamp)]) -> usize {
    session.queue_text(NOTIFY);
    let count = entries.len() as i64;
    let drawn = session.queue_rows(DRAW.into(), vec![count.into()]);
    for ((entry, now), before) in entries.iter().zip((0..count).rev()) {
        let (kind, key) = entry.entry();
        let mark = i64::from_be_bytes(tollhouse_domain::secret::random());
        let values = [before.into(), mark.into(), kind.into(), key.into(), now.0.into()];
        session.queue_statement(APPEND_DRAWN.into(), values.map(Value::into_owned).into());
    }
    drawn
}

/// The number of the newest entry.
pub async fn newest(at: &mut impl Runs) -> Result<i64> {
    query(NEWEST).one(at).await
}

/// A connection of a node's own: the log must be read on time, however busy the others are. What it writes may be
/// committed lazily (F5).
pub struct Link {
    held: Held,
    #[cfg(feature = "faults")]
    mutants: Mutants,
}

enum Held {
    Sqlite { connection: Box<rusqlite::Connection>, file: File, db: Db },
    Postgres(Box<Session>),
}

row! {
    struct Row {
        position: i64,
        mark: i64,
        kind: String,
        key: Vec<u8>,
        seen: Option<i64>,
        marked: Option<bool>,
    }
}

impl Link {
    /// `file`: what the database was when it was opened. A link that is made anew must not take another one for it.
    pub(crate) fn sqlite(file: &File, db: Db) -> Result<Self> {
        let connection = Box::new(sqlite::connect(&file.path, BUSY)?);
        file.is_there()?;
        Ok(Self::on(Held::Sqlite { connection, file: file.clone(), db }))
    }

    /// On a connection of its own, which is no pool's.
    pub(crate) fn postgres(session: Session) -> Self {
        Self::on(Held::Postgres(Box::new(session)))
    }

    fn on(held: Held) -> Self {
        Self {
            held,
            #[cfg(feature = "faults")]
            mutants: Mutants::default(),
        }
    }

    /// With the mistakes that are switched on for its node.
    #[cfg(feature = "faults")]
    pub(crate) fn breaking(self, mutants: Mutants) -> Self {
        Self { mutants, ..self }
    }

    /// One round's read: entries from a position on, or the newest one alone, and the own row, in one statement (F1).
    pub async fn read(&mut self, from: i64, node: NodeId) -> Result<Page> {
        let rows: Vec<Row> = query(READ).bind(from).bind(&node.0[..]).all(self).await?;
        if rows.is_empty() {
            return Err(Error::Damaged("the log of revocations is empty".into()));
        }
        let own = rows.first().and_then(|row| Some(OwnRow { seen: row.seen?, marked: row.marked? }));
        let entries = rows.into_iter().map(|row| {
            let place = LogPosition { position: row.position, mark: row.mark };
            Entry { place, what: Invalidation::from_entry(&row.kind, &row.key) }
        });
        Ok(Page { entries: entries.collect(), own })
    }

    /// Only if the entry is still there: a fail-over may have erased it (F5). `now`: for people, who see when a server
    /// was last heard of.
    pub async fn say(&mut self, say: Say, now: Timestamp) -> Result<()> {
        let text = self.text_to_say();
        match &self.held {
            // On its own connection it would fight with this server's own writer for the lock.
            Held::Sqlite { db, .. } => {
                let said = db.chore_unasked(move |tx| Box::pin(write_word(tx, text, say, now)));
                tokio::time::timeout(PATIENCE_TO_SAY, said).await.map_err(|_| Error::late())?
            }
            Held::Postgres(_) => write_word(self, text, say, now).await,
        }
    }

    fn text_to_say(&self) -> &'static str {
        #[cfg(feature = "faults")]
        if self.mutants.is(Mutant::UnconditionalSeen) {
            return crate::engine::faults::SAY;
        }
        if matches!(self.held, Held::Postgres(_)) { SAY_LAZILY } else { SAY }
    }

    /// On SQLite, a number that changes when another connection has committed. Fails if another file has taken the place
    /// of the one that is open: nobody writes into that one any more, so nothing would ever be heard again (F3).
    pub async fn version(&mut self) -> Result<Option<i64>> {
        match &self.held {
            Held::Sqlite { file, .. } => file.is_there()?,
            Held::Postgres(_) => return Ok(None),
        }
        query("PRAGMA data_version").one(self).await.map(Some)
    }
}

impl Runs for Link {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.held {
            Held::Sqlite { connection, .. } => Conn::Sqlite(connection),
            Held::Postgres(c) => Conn::Postgres(c),
        }
    }
}

async fn write_word(at: &mut impl Runs, text: &'static str, say: Say, now: Timestamp) -> Result<()> {
    let Say { node, place: LogPosition { position, mark } } = say;
    query(text).bind(&node.0[..]).bind(position).bind(mark).bind(now.0).changed(at).await.map(drop)
}

/// For another process that opens the file or recovers its log.
const BUSY: Duration = Duration::from_millis(200);

/// Who follows the log has rounds to begin, and says how far it has come another time.
const PATIENCE_TO_SAY: Duration = Duration::from_millis(200);

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

    // A head that is missing leaves NULL, which is refused.
    APPEND_DRAWN = "
    INSERT INTO invalidations (position, mark, kind, key, made_at)
    VALUES ((SELECT position FROM invalidation_head WHERE id = 1) - $1, $2, $3, $4, $5)";

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

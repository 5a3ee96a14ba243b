//! `nodes`: running servers, and how far each has read the log (`docs/protocols/revocation.md`).

use tollhouse_domain::agreement::{Behind, NodeId};
use tollhouse_domain::audit::By;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::db::Db;
use crate::engine::query::query;
use crate::engine::tx::{Change, Tx};
use crate::engine::work::Work;
use crate::error::{Error, Result};

/// A running server.
#[derive(Clone, Debug)]
pub struct Node {
    /// Random, and never used twice (F2).
    pub id: NodeId,
    /// The last entry that it has applied.
    pub seen: i64,
    /// Somebody has waited for it in vain.
    pub marked: bool,
    /// What people call it: the host name, as far as known.
    pub name: String,
    /// When it registered, by its own clock.
    pub started_at: Timestamp,
    /// When it last said how far it has read, by its own clock; at first when it started.
    pub seen_at: Timestamp,
}

row! {
    struct Row {
        id: Vec<u8>,
        seen: i64,
        marked: bool,
        name: String,
        started_at: i64,
        seen_at: i64,
    }
}

/// Durable before the first round that counts on it (N1); an id that was used before is none (F2).
pub async fn register(db: &Db, remove: &[NodeId], insert: NodeId, name: &str, now: Timestamp) -> Result<()> {
    let (remove, name) = (remove.to_vec(), name.to_owned());
    db.chore(move |tx| {
        Box::pin(async move {
            delete(tx, &remove).await?;
            query(INSERT).bind(&insert.0[..]).bind(&name).bind(now.0).changed(tx).await.map(drop)
        })
    })
    .await
}

/// A node that leaves, when its lease is gone (N1).
pub async fn leave(db: &Db, rows: &[NodeId]) -> Result<()> {
    let rows = rows.to_vec();
    db.chore(move |tx| Box::pin(async move { delete(tx, &rows).await })).await
}

async fn delete(tx: &mut Tx, rows: &[NodeId]) -> Result<()> {
    for id in rows {
        query(REMOVE).bind(&id.0[..]).changed(tx).await?;
    }
    Ok(())
}

/// Those besides `own` that have not read so far.
pub async fn behind(at: &mut impl Runs, own: Option<NodeId>, position: i64) -> Result<Vec<Behind>> {
    let own = own.map_or_else(Vec::new, |id| id.0.to_vec());
    let rows: Vec<(Vec<u8>, bool)> = query(BEHIND).bind(&own).bind(position).all(at).await?;
    rows.into_iter().map(|(id, marked)| Ok(Behind { id: node_id(&id)?, marked })).collect()
}

/// Rows that somebody has waited for in vain: these go, those are marked, each if it is still behind (W3).
pub async fn give_up_on(db: &Db, remove: &[NodeId], mark: &[NodeId], position: i64) -> Result<()> {
    if remove.is_empty() && mark.is_empty() {
        return Ok(());
    }
    let behind = [(REMOVE_BEHIND, remove.to_vec()), (MARK_BEHIND, mark.to_vec())];
    db.chore(move |tx| {
        Box::pin(async move {
            for (text, ids) in behind {
                for id in ids {
                    query(text).bind(&id.0[..]).bind(position).changed(tx).await?;
                }
            }
            Ok(())
        })
    })
    .await
}

/// All of them, the oldest first.
pub async fn all(at: &mut impl Runs) -> Result<Vec<Node>> {
    let rows: Vec<Row> = query(LIST).all(at).await?;
    let node = |row: Row| {
        let Row { id, seen, marked, name, started_at, seen_at } = row;
        // A server of an older version leaves it at 0.
        let (started_at, seen_at) = (Timestamp(started_at), Timestamp(seen_at.max(started_at)));
        Ok(Node { id: node_id(&id)?, seen, marked, name, started_at, seen_at })
    };
    rows.into_iter().map(node).collect()
}

/// An entry that means nothing, so that there is something to wait for (N3).
pub fn announce(tx: &mut Tx) {
    tx.invalidate(Invalidation::Nothing);
}

/// Writes such an entry.
pub struct Announce {
    /// Who asks for it.
    pub by: By,
    /// The time that is written with the entry.
    pub now: Timestamp,
}

impl Work for Announce {
    type Output = ();
    type Error = Error;

    const LOGS: bool = true;

    fn by(&self) -> &By {
        &self.by
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn run(&self, tx: &mut Tx) -> Result<Change<()>> {
        announce(tx);
        Ok(Change::nothing(()))
    }
}

/// [`Error::Damaged`] unless it has 16 bytes.
pub(crate) fn node_id(bytes: &[u8]) -> Result<NodeId> {
    bytes.try_into().map(NodeId).map_err(|_| Error::Damaged("id of a node".into()))
}

statements! {
    INSERT = "INSERT INTO nodes (id, seen, marked, name, started_at, seen_at) VALUES ($1, 0, FALSE, $2, $3, $3)";

    REMOVE = "DELETE FROM nodes WHERE id = $1";

    BEHIND = "SELECT id, marked FROM nodes WHERE id <> $1 AND seen < $2 ORDER BY id";

    REMOVE_BEHIND = "DELETE FROM nodes WHERE id = $1 AND seen < $2";

    MARK_BEHIND = "UPDATE nodes SET marked = TRUE WHERE id = $1 AND seen < $2";

    LIST = "SELECT id, seen, marked, name, started_at, seen_at FROM nodes ORDER BY started_at, id";
}

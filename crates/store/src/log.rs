//! `invalidation_head`, `invalidations`: the numbered log of what became untrue (`docs/protocols/revocation.md`).

use tollhouse_domain::forget::Forget;
use tollhouse_domain::time::Timestamp;

use crate::db::Runs;
use crate::error::Result;
use crate::tx::Tx;

/// Draws the numbers and writes the entries; the last thing before COMMIT (W2).
pub(crate) async fn append(tx: &mut Tx, entries: &[Forget], now: Timestamp) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let count = entries.len() as i64;
    let last: i64 = on!(tx, |c| sqlx::query_scalar(DRAW).bind(count).fetch_one(c))?;
    for (entry, position) in entries.iter().zip(last - count + 1..) {
        let (kind, key) = entry.entry();
        let mark = i64::from_be_bytes(tollhouse_domain::secret::random());
        changed!(tx, sqlx::query(APPEND).bind(position).bind(mark).bind(kind).bind(key).bind(now.0))?;
    }
    Ok(())
}

/// Entries from this position on, oldest first.
pub async fn since(at: &mut impl Runs, position: i64) -> Result<Vec<(i64, Forget)>> {
    let rows: Vec<(i64, String, Vec<u8>)> = on!(at, |c| sqlx::query_as(SINCE).bind(position).fetch_all(c))?;
    Ok(rows.into_iter().map(|(position, kind, key)| (position, Forget::from_entry(&kind, &key))).collect())
}

statements! {
    DRAW = "UPDATE invalidation_head SET position = position + $1 WHERE id = 1 RETURNING position";

    APPEND = "INSERT INTO invalidations (position, mark, kind, key, made_at) VALUES ($1, $2, $3, $4, $5)";

    SINCE = "SELECT position, kind, key FROM invalidations WHERE position >= $1 ORDER BY position";
}

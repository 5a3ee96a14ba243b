//! `instance`: what the database knows of itself, such as that it holds demo data (T33).

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;

/// `None`: the key is not set.
pub async fn get(at: &mut impl Runs, key: &str) -> Result<Option<String>> {
    query(GET).bind(key).optional(at).await
}

/// Replaces what the key held.
pub async fn set(tx: &mut Tx, key: &str, value: &str) -> Result<()> {
    query(SET).bind(key).bind(value).changed(tx).await.map(drop)
}

/// Takes a key that nobody has taken; `true` for the one who did.
pub async fn claim(tx: &mut Tx, key: &str, value: &str) -> Result<bool> {
    Ok(query(CLAIM).bind(key).bind(value).changed(tx).await? == 1)
}

statements! {
    GET = "SELECT value FROM instance WHERE key = $1";

    SET = "
    INSERT INTO instance (key, value) VALUES ($1, $2)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";

    CLAIM = "INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
}

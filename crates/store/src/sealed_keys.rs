//! `sealed_keys`: what the instance signs and derives with. What stands in them is the server's affair.

use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;

row! {
    /// A key of the instance, sealed under a secret that is not in the database.
    #[derive(Clone)]
    pub struct SealedKey {
        /// Its public name, `kid` in the key set.
        pub kid: String,
        /// What it is for, such as `id_token`; keys of one purpose follow one another.
        pub purpose: String,
        /// Which one of its purpose it is; the highest is in use.
        pub slot: i64,
        /// The sealed bytes; the server alone can open them.
        pub sealed: Vec<u8>,
    }
}

/// All of them, those in use first.
pub async fn all(at: &mut impl Runs) -> Result<Vec<SealedKey>> {
    query(ALL_KEYS).all(at).await
}

/// Of all who make the same key at once, one wins.
pub async fn insert(tx: &mut Tx, key: &SealedKey, now: Timestamp) -> Result<bool> {
    Ok(query(INSERT).bind(&key.kid).bind(&key.purpose).bind(key.slot).bind(&key.sealed).bind(now.0).changed(tx).await?
        == 1)
}

/// The same key under another seal; `false`: somebody else was first.
pub async fn reseal(tx: &mut Tx, key: &SealedKey, sealed: &[u8]) -> Result<bool> {
    Ok(query(RESEAL).bind(&key.kid).bind(&key.sealed).bind(sealed).changed(tx).await? == 1)
}

statements! {
    ALL_KEYS = "SELECT kid, purpose, slot, sealed FROM sealed_keys ORDER BY purpose, slot DESC";

    INSERT = "
    INSERT INTO sealed_keys (kid, purpose, slot, sealed, created_at) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING";

    RESEAL = "UPDATE sealed_keys SET sealed = $3 WHERE kid = $1 AND sealed = $2";
}

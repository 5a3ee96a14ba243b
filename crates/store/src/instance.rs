//! `instance`: what the database knows of itself, such as that it holds demo data (T33).

use tollhouse_domain::forget::Forget;

use crate::db::Runs;
use crate::error::Result;
use crate::tx::Tx;

pub async fn get(at: &mut impl Runs, key: &str) -> Result<Option<String>> {
    on!(at, |c| sqlx::query_scalar(GET).bind(key).fetch_optional(c))
}

pub async fn set(tx: &mut Tx, key: &str, value: &str) -> Result<()> {
    changed!(tx, sqlx::query(SET).bind(key).bind(value)).map(drop)
}

/// Takes a key that nobody has taken; `true` for the one who did.
pub async fn claim(tx: &mut Tx, key: &str, value: &str) -> Result<bool> {
    Ok(changed!(tx, sqlx::query(CLAIM).bind(key).bind(value))? == 1)
}

/// Says that something was changed past the program: whatever anybody remembers may be untrue (revocation.md
/// section 6).
pub fn changed_by_hand(tx: &mut Tx) {
    tx.forget(Forget::All);
}

statements! {
    GET = "SELECT value FROM instance WHERE key = $1";

    SET = "
    INSERT INTO instance (key, value) VALUES ($1, $2)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value";

    CLAIM = "INSERT INTO instance (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING";
}

//! Makes the storage fail on demand, for tests (T32). Not in any default build.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tollhouse_domain::faults::Mutants;
use tollhouse_domain::id::UserId;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::{Conn, Runs};
use crate::engine::db::Url;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};

/// What fails from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// Nothing fails.
    None = 0,
    /// Nothing can be read or written.
    Everything = 1,
    /// Reads work, transactions cannot begin.
    Writes = 2,
    /// The commit happens, but its acknowledgement is lost.
    CommitReply = 3,
}

/// A mistake in the protocol of rotation that its model must find (`docs/protocols/rotation.md` section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Bug {
    /// No mistake.
    None = 0,
    /// Rule 3 is left out: the predecessor is not given its successor again.
    NoWindow = 1,
    /// Rule 4 is left out: nobody waits.
    NoSettle = 2,
    /// Whatever is written is written without looking whether it is still as it was.
    BlindUpdate = 3,
}

/// Between the steps of a commit: ends the program as `kill -9` does, if the file that `TOLLHOUSE_KILL_AT` names has this
/// word in it. Not in the commit of a chore: a server makes those all the time.
pub(crate) fn step(name: &str, is_chore: bool) {
    if is_chore {
        return;
    }
    static FILE: OnceLock<Option<OsString>> = OnceLock::new();
    let Some(file) = FILE.get_or_init(|| std::env::var_os("TOLLHOUSE_KILL_AT")) else { return };
    if std::fs::read_to_string(file).is_ok_and(|word| word == name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // It has no time to do anything else.
        loop {
            std::thread::park();
        }
    }
}

/// What fails, for all parts of one [`Db`](crate::engine::db::Db). Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    fault: Arc<AtomicU8>,
    bug: Arc<AtomicU8>,
    deaf: Arc<AtomicBool>,
    later: Arc<Mutex<Vec<Invalidation>>>,
    asked: Arc<AtomicU64>,
    /// The mistake of the protocol of revocation that is switched on.
    pub mutants: Mutants,
}

impl Faults {
    /// Lets this fail from now on; [`Fault::None`] ends it.
    pub fn set(&self, fault: Fault) {
        self.fault.store(fault as u8, Ordering::SeqCst);
    }

    /// Makes this mistake from now on; [`Bug::None`] ends it.
    pub fn set_bug(&self, bug: Bug) {
        self.bug.store(bug as u8, Ordering::SeqCst);
    }

    /// The mistake that is being made. `None`: none.
    pub fn bug(&self) -> Option<Bug> {
        let now = self.bug.load(Ordering::SeqCst);
        [Bug::NoWindow, Bug::NoSettle, Bug::BlindUpdate].into_iter().find(|bug| *bug as u8 == now)
    }

    /// Nothing wakes who follows the log any more; the clock alone does (F6).
    pub fn deafen(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// Whether [`Faults::deafen`] was called.
    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::SeqCst)
    }

    /// `Mutant::EntryAfter`: what is written when the change is committed.
    pub(crate) fn write_later(&self, entries: Vec<Invalidation>) {
        self.later.lock().unwrap_or_else(PoisonError::into_inner).extend(entries);
    }

    /// What [`Faults::write_later`] has gathered, once.
    pub(crate) fn entries_to_write(&self) -> Vec<Invalidation> {
        std::mem::take(&mut *self.later.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How often a connection was taken to run statements since the start, to read or to write. Whoever follows the log has
    /// one of its own, which does not count.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Counts for [`Faults::asked`].
    pub(crate) fn ask(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
    }

    /// [`Error::Unavailable`] if one of these is what fails now.
    pub(crate) fn check(&self, faults: &[Fault]) -> Result<()> {
        let now = self.fault.load(Ordering::SeqCst);
        if faults.iter().any(|fault| *fault as u8 == now) {
            return Err(Error::closed());
        }
        Ok(())
    }
}

/// There is no operation that deletes a user yet; the table is tested all the same.
pub async fn delete_user(tx: &mut Tx, id: UserId) -> Result<()> {
    for text in DELETIONS {
        query(text).bind(id.0).changed(tx).await?;
    }
    Ok(())
}

/// Nor one that sets how many projects somebody may have.
pub async fn set_projects_limit(tx: &mut Tx, id: UserId, limit: i64) -> Result<()> {
    query("UPDATE users SET projects_limit = $2 WHERE id = $1").bind(id.0).bind(limit).changed(tx).await.map(drop)
}

/// Nor one that makes an address public.
pub async fn set_public_email(tx: &mut Tx, id: UserId, email: &str) -> Result<()> {
    tx.invalidate(Invalidation::Owner(id));
    query("UPDATE users SET public_email = $2 WHERE id = $1").bind(id.0).bind(email).changed(tx).await.map(drop)
}

/// Nor one that moves a group or project.
pub async fn move_route(tx: &mut Tx, from: &str, to: &str) -> Result<()> {
    tx.invalidate(Invalidation::All);
    query("UPDATE routes SET lower_path = $2 WHERE lower_path = $1").bind(from).bind(to).changed(tx).await.map(drop)
}

/// Families without a generation, which nothing would ever remove.
pub async fn orphans(at: &mut impl Runs) -> Result<i64> {
    query(ORPHANS).one(at).await
}

/// Every row of every table as text, to see whether something changed.
pub async fn every_row(at: &mut impl Runs) -> Result<Vec<String>> {
    let postgres = matches!(at.conn(), Conn::Postgres(_));
    let tables: Vec<String> = match postgres {
        true => query(POSTGRES_TABLES).all(at).await?,
        false => query(SQLITE_TABLES).all(at).await?,
    };
    let mut rows = Vec::new();
    for table in tables {
        let text = match postgres {
            true => format!(r#"SELECT t::text FROM "{table}" t ORDER BY 1"#),
            false => {
                let columns: Vec<String> = query(SQLITE_COLUMNS).bind(&table).all(at).await?;
                let columns: Vec<String> = columns.iter().map(|name| format!(r#"quote("{name}")"#)).collect();
                format!(r#"SELECT {} FROM "{table}" ORDER BY 1"#, columns.join(" || ',' || "))
            }
        };
        let found: Vec<String> = query(text).all(at).await?;
        rows.extend(found.into_iter().map(|row| format!("{table}: {row}")));
    }
    Ok(rows)
}

const SQLITE_TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1";
const SQLITE_COLUMNS: &str = "SELECT name FROM pragma_table_info($1) ORDER BY cid";
const POSTGRES_TABLES: &str =
    "SELECT CAST(tablename AS TEXT) FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1";

/// Runs SQL as somebody does who changes a database by hand, past the program.
pub async fn by_hand(url: &Url, sql: &str) -> Result<()> {
    match url {
        Url::Sqlite(path) => rusqlite::Connection::open(path)?.execute_batch(sql)?,
        Url::Postgres(address) => address.look().await?.batch(sql, Duration::from_secs(60)).await?,
    }
    Ok(())
}

/// Draws a number and holds it, as a revocation does between its last statement and its commit.
pub async fn draw(tx: &mut Tx, now: Timestamp) -> Result<i64> {
    let drawn = crate::invalidations::append(tx, &[Invalidation::Nothing], now).await?;
    drawn.ok_or(Error::Damaged("no number was drawn".into()))
}

/// Commits what [`draw`] has begun.
pub async fn let_go(tx: Tx) -> Result<()> {
    tx.finish().await.map(drop)
}

/// Draws without waiting for whoever has drawn before: `Mutant::Sequence`.
pub(crate) const DRAW: &str = "SELECT max(position) + 100 + $1 FROM invalidations";

/// Says it of whatever history: `Mutant::UnconditionalSeen`.
pub(crate) const SAY: &str = "UPDATE nodes SET seen = $2, seen_at = $4 WHERE id = $1 AND $3 = $3";

const ORPHANS: &str = "
    SELECT count(*) FROM token_families f
     WHERE NOT EXISTS (SELECT 1 FROM personal_access_tokens t WHERE t.family_id = f.id)
       AND NOT EXISTS (SELECT 1 FROM oauth_access_tokens t WHERE t.family_id = f.id)";

const DELETIONS: [&str; 4] = [
    "DELETE FROM routes WHERE source_kind = 'namespace'
        AND source_id IN (SELECT id FROM namespaces WHERE owner_id = $1)",
    "UPDATE users SET namespace_id = NULL WHERE id = $1",
    "DELETE FROM namespaces WHERE owner_id = $1",
    "DELETE FROM users WHERE id = $1",
];

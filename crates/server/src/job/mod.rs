//! What goes on beside the requests.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tollhouse_domain::lookup::network_text;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::oauth_access_grants;
use tollhouse_store::sweep::{self, Keep, Used};

use crate::app::App;
use crate::operations::password_check::kept;

pub mod memory;

/// Runs until it is told to stop, and writes down what was gathered before it ends.
pub async fn housekeeping(app: App, stop: CancellationToken) {
    let mut rounds: u64 = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(FLUSH) => {}
        }
        flush(&app).await;
        rounds += 1;
        if rounds.is_multiple_of(SWEEP_EVERY) {
            sweep(&app).await;
        }
    }
    flush(&app).await;
}

/// Writes last use and session extension (revocation.md section 6). Lost on a crash: ten seconds of them.
pub async fn flush(app: &App) {
    let gathered = app.auth.uses().take();
    let used = Used {
        tokens: gathered
            .tokens
            .iter()
            .map(|(id, uses)| (*id, uses.at, uses.addresses.iter().rev().map(|one| network_text(*one)).collect()))
            .collect(),
        sessions: gathered.sessions.into_iter().map(|(digest, (at, until))| (digest, at, until)).collect(),
    };
    let written = match sweep::flush(&app.db, used, app.auth.use_rules().interval).await {
        Ok(written) => written,
        Err(error) => {
            tracing::warn!(%error, "last-use times could not be written");
            return;
        }
    };
    for uses in gathered.tokens.values() {
        if let Some(at) = uses.at {
            uses.record.last_used_at.wrote(at);
        }
    }
    for (id, addresses) in written {
        if let Some(uses) = gathered.tokens.get(&id) {
            uses.record.last_used_ips.wrote(addresses);
        }
    }
}

/// Removes what is dead for good, batch after batch, so that others get to write in between.
pub async fn sweep(app: &App) {
    if let Err(error) = oauth_access_grants::hash_plain_challenges(&app.db).await {
        tracing::warn!(%error, "PKCE challenges of an older version could not be hashed");
    }
    let keep = Keep {
        salts: app.rotation().settings.window,
        audit: app.settings.audit.keep.0,
        dead_tokens: KEPT_GENERATIONS,
        dead_oauth: app.settings.rotation.memory.0,
        guesses: kept(app.lockout()),
        idle: app.settings.oauth.idle(),
        log: KEPT_ENTRIES,
    };
    let mut gone = 0;
    loop {
        match sweep::sweep(&app.db, keep, app.now()).await {
            Ok(0) => break,
            Ok(rows) => gone += rows,
            // Another server removes the same.
            Err(StoreError::Clash) => break,
            Err(error) => {
                tracing::warn!(%error, "expired rows could not be deleted");
                break;
            }
        }
        tokio::task::yield_now().await;
    }
    if gone > 0 {
        tracing::debug!(rows = gone, "swept");
    }
}

const FLUSH: Duration = Duration::from_secs(10);
const SWEEP_EVERY: u64 = 6;

/// revocation.md D2.
const KEPT_ENTRIES: i64 = 10_000;

/// rotation.md rule 13.
const KEPT_GENERATIONS: Duration = Duration::from_secs(30 * 24 * 3600);

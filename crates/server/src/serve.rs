//! The socket: accepting, limits, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tollhouse_store::error::Error as StoreError;

use crate::app::App;
use crate::connection::Addresses;
use crate::http_service::HttpService;
use crate::job;
use crate::routes::table;
use crate::workers::{Arrival, Patience, Workers};

/// Answers until `stop`, then lets what is under way end. Fails if it must not go on: if the database it works on is no
/// longer the one that others see.
pub async fn run(app: App, listener: TcpListener, stop: CancellationToken) -> Result<(), Lost> {
    let service = Arc::new(HttpService::new(app.clone(), table()));
    let limits = &app.settings.limits;
    let places = Arc::new(Semaphore::new(limits.connections.max(1)));
    let addresses = Addresses::new(limits.connections_per_address.max(1));
    let mut http = hyper::server::conn::http1::Builder::new();
    // Heads that do not come are seen to by `Pace`.
    http.header_read_timeout(None).max_buf_size((limits.head.0 as usize).max(8192));
    let mut workers = Workers::start(&service, &http, Patience { head: limits.head_time.0, drain: limits.drain.0 })?;
    // Made at the first start, beside everything else: whoever needs one sooner waits for it.
    let keys = app.clone();
    tokio::spawn(async move {
        if let Err(error) = keys.keys().await {
            tracing::error!(?error, "the keys of this server could not be created");
        }
    });
    // Nobody is answered from memory before its first round.
    let following = tokio::spawn(followed(app.clone(), name(&listener), stop.clone()));
    let housekeeping = tokio::spawn(job::housekeeping(app.clone(), stop.clone()));
    tokio::spawn(job::memory::give_back(stop.clone()));
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let (socket, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    // Out of file descriptors, most likely; others must close before it gets better.
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let peer = peer.ip();
        let Some(among) = addresses.enter(peer) else { continue };
        let held = Box::new((place, among, Connected::count(&app)));
        let _ = socket.set_nodelay(true);
        let Ok(socket) = socket.into_std() else { continue };
        if !workers.take(Arrival { socket, peer, held }) {
            stop.cancel();
            return Err(Lost::Worker);
        }
    }
    drop(listener);
    // What remains is answered from the database: the others no longer wait for us (N1).
    following.await.unwrap_or(Err(Lost::Follower))?;
    if !workers.end().await {
        tracing::warn!("some requests did not finish in time");
    }
    let _ = housekeeping.await;
    drop(workers);
    Ok(())
}

/// Why a server ends by itself, and answers nothing more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The database was replaced, or answers in a way that does not end by waiting.
    #[error("{0}; this server stops, because it cannot see revocations by other servers")]
    Database(#[from] StoreError),
    /// The task that follows the log panicked.
    #[error("a bug ended the task that reads the invalidation log")]
    Follower,
    /// A thread that serves connections panicked.
    #[error("a bug ended a thread that serves connections")]
    Worker,
    /// The system gave no thread.
    #[error("a thread to serve connections could not be started: {0}")]
    Threads(#[from] std::io::Error),
}

/// Whoever follows the log is not to be missed without being noticed: every revocation would wait for it.
async fn followed(app: App, name: String, stop: CancellationToken) -> Result<(), Lost> {
    let followed = tokio::spawn(app.node.clone().follow(name, stop.clone())).await;
    stop.cancel();
    followed.map_err(|_| Lost::Follower)?.map_err(Lost::Database)
}

/// How this server is called in `tollhouse node list`.
fn name(listener: &TcpListener) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match listener.local_addr() {
        Ok(address) => format!("{host} {address}"),
        Err(_) => host,
    }
}

/// More are refused with 431 before anything else looks at them. This is the bound of hyper, which asks for no memory to
/// parse so many; any other would cost every request some.
pub const MOST_HEADERS: usize = 100;

/// The address in the form that goes into a URL.
pub fn base_url(address: SocketAddr) -> String {
    format!("http://{address}")
}

/// A connection that is open, until it is dropped.
struct Connected(App);

impl Connected {
    fn count(app: &App) -> Self {
        app.metrics.connections.fetch_add(1, Relaxed);
        Self(app.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.metrics.connections.fetch_sub(1, Relaxed);
    }
}

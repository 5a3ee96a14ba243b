//! The socket: accepting, limits, and a graceful end.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tollhouse_store::error::Error as StoreError;

use crate::app::App;
use crate::connection::{Addresses, Patient};
use crate::metrics::Connected;
use crate::road::Road;
use crate::{job, router};

/// Answers until `stop`, then lets what is under way end. Fails if it must not go on: if the database it works on is no
/// longer the one that others see.
pub async fn run(app: App, listener: TcpListener, stop: CancellationToken) -> Result<(), Lost> {
    let road = Arc::new(Road::new(app.clone(), router::table()));
    let limits = &app.settings.limits;
    let places = Arc::new(Semaphore::new(limits.connections.max(1)));
    let addresses = Addresses::new(limits.connections_per_address.max(1));
    let graceful = GracefulShutdown::new();
    // Made at the first start, beside everything else: whoever needs one sooner waits for it.
    let keys = app.clone();
    tokio::spawn(async move {
        if let Err(error) = keys.keys().await {
            tracing::error!(?error, "the keys of this server could not be made");
        }
    });
    // Nobody is answered from memory before its first round.
    let following = tokio::spawn(followed(app.clone(), name(&listener), stop.clone()));
    let housekeeping = tokio::spawn(job::housekeeping(app.clone(), stop.clone()));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time.0)
        .max_buf_size((limits.head.0 as usize).max(8192))
        .max_headers(MOST_HEADERS);
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
        let Some(among) = addresses.enter(peer.ip()) else { continue };
        let connected = Connected::count(&app);
        let _ = socket.set_nodelay(true);
        let socket = Patient::new(socket);
        let road = road.clone();
        let address: IpAddr = peer.ip();
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let road = road.clone();
            async move { Ok::<_, std::convert::Infallible>(road.travel(request.map(Body::new), Some(address)).await) }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            // What breaks here is between us and the other side; it has been answered where it could be.
            let _ = connection.await;
            drop((place, among, connected));
        });
    }
    drop(listener);
    // What remains is answered from the database: the others no longer wait for us (N1).
    following.await.unwrap_or(Err(Lost::Follower))?;
    let drained = tokio::time::timeout(limits.drain.0, pin!(graceful.shutdown())).await;
    if drained.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    let _ = housekeeping.await;
    Ok(())
}

/// Why a server ends by itself, and answers nothing more.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    #[error("{0}; this server ends, since it cannot see what others revoke")]
    Database(#[from] StoreError),
    #[error("a mistake of ours ended the task that follows the log of revocations")]
    Follower,
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

/// More are refused with 431 before anything else looks at them.
pub const MOST_HEADERS: usize = 256;

/// The address in the form that goes into a URL.
pub fn base_url(address: SocketAddr) -> String {
    format!("http://{address}")
}

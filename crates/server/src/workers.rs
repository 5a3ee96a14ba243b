//! Who serves connections: a thread for each core, each with a runtime of its own (docs/decisions/0024). A request stays
//! on the thread of its connection, so no other thread is woken. What takes long (hashing, signing, lists and writes on
//! SQLite) runs on other threads; a SQLite read by key runs here (docs/decisions/0031). As long as one thread can do
//! all the work, one thread gets all connections (docs/decisions/0026).

use std::any::Any;
use std::io;
use std::net::{IpAddr, TcpStream};
use std::num::NonZero;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{Pace, Patient};
use crate::http_service::HttpService;
use crate::load::{ConnectionLoad, Loads};

/// One thread for each core, each with its own runtime. A connection stays with the thread it was given to.
pub struct Workers {
    all: Vec<Worker>,
    loads: Arc<Loads>,
    /// Cancelled with this. Until then the runtime of each goes on: a connection to the database that it has opened may be
    /// in somebody else's hands.
    _gone: DropGuard,
}

struct Worker {
    arrivals: mpsc::UnboundedSender<(Arrival, ConnectionLoad)>,
    ended: oneshot::Receiver<bool>,
}

/// A connection, and what is held while it lasts.
pub struct Arrival {
    /// As it was accepted.
    pub socket: TcpStream,
    /// The other end of it; a proxy, if there is one in front.
    pub peer: IpAddr,
    /// Given back when the connection ends, such as its place among those of its address.
    pub held: Box<dyn Any + Send>,
}

/// How long is waited.
#[derive(Clone, Copy)]
pub struct Patience {
    /// For the head of a request.
    pub head: Duration,
    /// For what is under way, once nothing new comes.
    pub drain: Duration,
}

impl Workers {
    /// Starts the threads. Fails if the system gives none.
    pub fn start(service: &Arc<HttpService>, http: &http1::Builder, patience: Patience) -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let (gone, loads) = (CancellationToken::new(), Arc::new(Loads::new(cores)));
        let start = |number: usize| {
            let (arrivals, coming) = mpsc::unbounded_channel();
            let (end, ended) = oneshot::channel();
            let (service, http, gone) = (service.clone(), http.clone(), gone.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            std::thread::Builder::new().name(format!("connections-{number}")).spawn(move || {
                runtime.block_on(async {
                    let drained = work(coming, &service, &http, patience).await;
                    // Whoever waits for it may be gone.
                    let _ = end.send(drained);
                    gone.cancelled().await;
                });
            })?;
            Ok(Worker { arrivals, ended })
        };
        let all = (0..cores).map(start).collect::<io::Result<_>>()?;
        Ok(Self { all, loads, _gone: gone.drop_guard() })
    }

    /// Gives it to one of them; `false`: that one is no more.
    pub fn take(&self, arrival: Arrival) -> bool {
        let place = self.loads.enter(Instant::now());
        self.all.get(place.number()).is_some_and(|worker| worker.arrivals.send((arrival, place)).is_ok())
    }

    /// Lets what is under way end; `false`: some did not in time.
    pub async fn end(&mut self) -> bool {
        // All hear of it before the first is waited for.
        let ends: Vec<_> = self.all.drain(..).map(|worker| worker.ended).collect();
        let mut drained = true;
        for ended in ends {
            drained &= ended.await.unwrap_or(false);
        }
        drained
    }
}

async fn work(
    mut coming: mpsc::UnboundedReceiver<(Arrival, ConnectionLoad)>,
    service: &Arc<HttpService>,
    http: &http1::Builder,
    patience: Patience,
) -> bool {
    let graceful = GracefulShutdown::new();
    while let Some((Arrival { socket, peer, held }, place)) = coming.recv().await {
        let (pace, place) = (Arc::new(Pace::begin()), Arc::new(place));
        let socket = match tokio::net::TcpStream::from_std(socket) {
            Ok(socket) => Patient::new(socket, pace.clone()),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be served");
                continue;
            }
        };
        let (service, paced, placed) = (service.clone(), pace.clone(), place.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let (service, pace, place) = (service.clone(), paced.clone(), placed.clone());
            async move {
                pace.head_came();
                place.asked();
                let mut response = service.call(request.map(Body::new), Some(peer)).await;
                let now = Instant::now();
                pace.answered(now);
                if place.answered(now) || service.is_crowded() {
                    response.headers_mut().insert(header::CONNECTION, CLOSE);
                }
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            tokio::select! {
                biased;
                // What breaks here is between us and the other side; it has been answered where it could be.
                _ = connection => {}
                () = pace.overdue(patience.head) => {}
            }
            drop((held, place));
        });
    }
    timeout(patience.drain, graceful.shutdown()).await.is_ok()
}

const CLOSE: HeaderValue = HeaderValue::from_static("close");

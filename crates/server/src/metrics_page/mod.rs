//! The listener of its own that the numbers have (`metrics.listen`, T34). A proxy that passes requests on to the main one
//! cannot show them to anybody.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, header};
use axum::response::Response;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::connection::{Pace, Patient};
use crate::error::Error;
use crate::http_service::unsettled;
use crate::target::{self, Target};

mod text;

/// Answers until `stop`. At most `CONNECTIONS` are open at once; more wait.
pub async fn run(app: App, listener: TcpListener, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let head_time = app.settings.limits.head_time.0;
    let mut http = http1::Builder::new();
    // Heads that do not come are seen to by `Pace`, as on the main listener.
    http.header_read_timeout(None).max_buf_size(LONGEST_HEAD);
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => return,
            place = places.clone().acquire_owned() => place,
        };
        let socket = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "a metrics connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let pace = Arc::new(Pace::begin());
        let (app, paced) = (app.clone(), pace.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            paced.head_came();
            let response = answer(&app, request.map(Body::new));
            paced.answered(tokio::time::Instant::now());
            std::future::ready(Ok::<_, Infallible>(response))
        });
        let connection = http.serve_connection(TokioIo::new(Patient::new(socket, pace.clone())), service);
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                _ = connection => {}
                () = pace.overdue(head_time) => {}
                () = stop.cancelled() => {}
            }
            drop(place);
        });
    }
}

/// The numbers at `PATHS`, under any host; everything else is not there. No credential is looked at.
pub fn answer(app: &App, mut request: Request<Body>) -> Response {
    let mut response = match target::settle(&mut request) {
        Err(error) => unsettled(&request, error, app),
        Ok(Target::Path) if is_read(request.method()) && PATHS.contains(&request.uri().path()) => text::show(app),
        Ok(_) => Error::NoRoute.api(&app.urls),
    };
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

fn is_read(method: &Method) -> bool {
    [Method::GET, Method::HEAD].contains(method)
}

/// The second one is where Prometheus looks unless it is told otherwise.
const PATHS: [&str; 2] = ["/-/metrics", "/metrics"];

const CONNECTIONS: usize = 16;

/// The least that hyper takes, in bytes.
const LONGEST_HEAD: usize = 8192;

//! What a load balancer asks. No causes are named (T34).

use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use tollhouse_store::instance;

use crate::app::App;
use crate::endpoint::Endpoint;
use crate::json::{self, Object};
use crate::surface::Surface;

/// `/-/health`, `/-/liveness` and `/-/readiness`, for whoever asks.
pub fn endpoints() -> Vec<Endpoint> {
    let get = Method::GET;
    vec![
        Endpoint::plain(get.clone(), "/-/health", Surface::Probe, health),
        Endpoint::plain(get.clone(), "/-/liveness", Surface::Probe, liveness),
        Endpoint::plain(get, "/-/readiness", Surface::Probe, readiness),
    ]
}

/// 200 as long as this process answers; the database is not asked.
pub async fn health(_: App, _: String) -> impl IntoResponse {
    "Tollhouse OK"
}

/// 200 `{"status":"ok"}` as long as this process answers; the database is not asked.
pub async fn liveness(_: App, _: String) -> Response {
    answer(StatusCode::OK, "ok")
}

/// Whether the database answers.
pub async fn readiness(app: App, _: String) -> Response {
    let asked = async { instance::get(&mut app.db.read().await?, "ready").await };
    match asked.await {
        Ok(_) => answer(StatusCode::OK, "ok"),
        Err(_) => answer(StatusCode::SERVICE_UNAVAILABLE, "failed"),
    }
}

fn answer(status: StatusCode, word: &str) -> Response {
    json::response(status, Object::default().field("status", word).finish())
}

//! What a load balancer asks. No causes are named (T34).

use axum::http::{Method, StatusCode};
use axum::response::IntoResponse;
use tollhouse_store::instance;

use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::surface::Surface;
use crate::json::{Json, Object};

pub fn endpoints() -> Vec<Endpoint> {
    let get = Method::GET;
    vec![
        Endpoint::plain(get.clone(), "/-/health", Surface::Probe, health),
        Endpoint::plain(get.clone(), "/-/liveness", Surface::Probe, liveness),
        Endpoint::plain(get, "/-/readiness", Surface::Probe, readiness),
    ]
}

pub async fn health(_: App, _: String) -> impl IntoResponse {
    "Tollhouse OK"
}

pub async fn liveness(_: App, _: String) -> impl IntoResponse {
    Json::ok(Object::default().field("status", "ok"))
}

/// Whether the database answers.
pub async fn readiness(app: App, _: String) -> impl IntoResponse {
    let asked = async { instance::get(&mut app.db.read().await?, "ready").await };
    match asked.await {
        Ok(_) => Json::ok(Object::default().field("status", "ok")),
        Err(_) => Json::ok(Object::default().field("status", "failed")).with_status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

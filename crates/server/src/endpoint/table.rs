//! The table of endpoints, and the router over it. Nothing else adds a route (`clippy.toml`).

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::http::{Method, Request, Uri, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use tower::Service;

use super::{Endpoint, pipeline};
use crate::app::App;
use crate::{api, oauth, probes, web};

/// Every endpoint there is.
pub fn table() -> Vec<Endpoint> {
    [api::endpoints(), web::endpoints(), oauth::endpoints(), probes::endpoints()].into_iter().flatten().collect()
}

/// The only caller of `Router::route`.
#[allow(clippy::disallowed_methods)]
pub fn router(table: Vec<Endpoint>, app: App) -> Router {
    let routes = table.into_iter().fold(Router::new(), |router, endpoint| {
        let (path, filter, endpoint) = (endpoint.path, filter(&endpoint.method), Arc::new(endpoint));
        let serve = async move |State(app): State<App>, captures: RawPathParams, request: Request<Body>| {
            pipeline::run(&endpoint, app, pairs(&captures), request).await
        };
        router.route(path, on(filter, serve))
    });
    routes.fallback(pipeline::no_endpoint).method_not_allowed_fallback(pipeline::no_endpoint).with_state(app)
}

/// Which endpoint a request would reach, found by the router itself with nothing behind it.
#[derive(Clone, Debug)]
pub enum RouteMatch {
    /// The place of an endpoint in the table, and what its path captures.
    Endpoint(usize, Vec<(String, String)>),
    /// The path is there for these methods alone.
    OtherMethods(String),
    None,
}

#[allow(clippy::disallowed_methods)] // nothing is served here
pub async fn route_match(table: &[Endpoint], method: &Method, uri: &Uri) -> RouteMatch {
    let found = |place| {
        async move |captures: RawPathParams| {
            let mut response = Response::new(Body::empty());
            response.extensions_mut().insert(RouteMatch::Endpoint(place, pairs(&captures)));
            response
        }
    };
    let endpoints = table.iter().enumerate();
    let mut router = endpoints.fold(Router::new(), |router, (i, endpoint)| {
        router.route(endpoint.path, on(filter(&endpoint.method), found(i)))
    });
    let mut request = Request::new(Body::empty());
    (*request.method_mut(), *request.uri_mut()) = (method.clone(), uri.clone());
    let mut response = match router.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let others = response.headers().get(header::ALLOW).and_then(|others| others.to_str().ok());
    let others = others.map(|others| RouteMatch::OtherMethods(others.replace(',', ", ")));
    response.extensions_mut().remove::<RouteMatch>().or(others).unwrap_or(RouteMatch::None)
}

fn pairs(captures: &RawPathParams) -> Vec<(String, String)> {
    captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn filter(method: &Method) -> MethodFilter {
    MethodFilter::try_from(method.clone()).expect("a method that can be routed")
}

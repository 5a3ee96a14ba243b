//! The table of endpoints, the router over it, and the answers where there is no endpoint. Nothing else adds a route (`clippy.toml`).

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use axum::Router;
use axum::body::Body;
use axum::extract::{RawPathParams, State};
use axum::http::{Method, Request, Uri, header};
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use tollhouse_auth::authenticator::Head;
use tower::Service;

use crate::app::App;
use crate::endpoint::{Endpoint, pipeline};
use crate::error::{Error, refused};
use crate::gateway::PATH as GATEWAY;
use crate::request::{ParsedRequest, peer};
use crate::surface::{Surface, by_prefix, is_protocol};
use crate::web::{PageAccess, Visitor};
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
    routes.fallback(no_endpoint).method_not_allowed_fallback(no_endpoint).with_state(app)
}

/// Which endpoint a request would reach, found by the router itself with nothing behind it.
#[derive(Clone, Debug)]
pub enum RouteMatch {
    /// The place of an endpoint in the table, and what its path captures.
    Endpoint(usize, Vec<(String, String)>),
    /// The path is there for these methods alone.
    OtherMethods(String),
    /// No endpoint has this path.
    None,
}

/// Which endpoint would get such a request, without any effect.
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

/// Paths whose prefix would give the wrong surface: pages below `/oauth`, and probes.
static EXCEPTIONS: LazyLock<HashMap<&'static str, Surface>> = LazyLock::new(|| {
    let mut all = HashMap::from([(GATEWAY, Surface::Gateway), ("/-/metrics", Surface::Probe)]);
    let others = table().into_iter().filter(|endpoint| endpoint.surface != by_prefix(endpoint.path));
    all.extend(others.map(|endpoint| (endpoint.path, endpoint.surface)));
    all
});

/// Looks only at the path as it was sent. There may be no endpoint.
pub fn surface_of(path: &str) -> Surface {
    match by_prefix(path) {
        Surface::Api => Surface::Api,
        other => exception(path)
            // The slash at the end of an OAuth path does not count.
            .or_else(|| exception(path.strip_suffix('/').filter(|path| is_protocol(path))?))
            .unwrap_or(other),
    }
}

fn exception(path: &str) -> Option<Surface> {
    let captures = |template: &str| {
        let (mut known, mut sent) = (template.split('/'), path.split('/'));
        known.by_ref().all(|known| sent.next().is_some_and(|sent| known == sent || known.starts_with('{')))
            && sent.next().is_none()
    };
    let template = || EXCEPTIONS.iter().find(|(template, _)| template.contains('{') && captures(template));
    EXCEPTIONS.get(path).or_else(|| template().map(|(_, surface)| surface)).copied()
}

/// A refusal in the format of the surface that was asked, where no handler was reached.
pub fn refused_at(path: &str, error: Error, app: &App) -> Response {
    // What cannot be read is refused before anybody looks at the path.
    let unread = matches!(error, Error::Malformed | Error::BadHost | Error::NotImplemented) || path.starts_with("//");
    refused(error, |error| match surface_of(path) {
        Surface::Oauth if !unread => oauth::error::render(error, &app.urls),
        Surface::Page if !unread => web::failure(error, app, false),
        _ => error.api(&app.urls),
    })
}

/// The answer where there is no endpoint.
pub async fn no_endpoint(State(app): State<App>, request: Request<Body>) -> Response {
    let app = app.asked_by(&request);
    let captures = Vec::new();
    let from = peer(&request);
    let limits = pipeline::limits(&app, Head::Nothing);
    match surface_of(request.uri().path()) {
        Surface::Api => {
            let error = nowhere(ParsedRequest::read(request, captures, from, limits).await);
            return refused(error, |error| error.api(&app.urls));
        }
        // Programs call these paths, and would take a redirect to the sign-in page for an answer.
        Surface::Oauth | Surface::Probe | Surface::Gateway => {
            return refused_at(request.uri().path(), Error::NoRoute, &app);
        }
        Surface::Page => {}
    }
    let answered = async {
        let parsed = ParsedRequest::read(request, captures, from, limits).await?;
        let visitor = Visitor::arrive(&app, &parsed, PageAccess::WithoutToken).await?;
        match visitor.identity {
            Some(_) => Err(Error::NoRoute),
            None => Ok(web::to_sign_in(&app)),
        }
    };
    match answered.await {
        Ok(response) => response,
        Err(error) => {
            let signed_in = error == Error::NoRoute;
            refused(error, |error| web::failure(error, &app, signed_in))
        }
    }
}

/// The refusal at an unknown path of the API. A body that cannot be read is reported first (section 0, stage 5), but not
/// one over 64 KiB: no credential was looked up that could allow it.
pub fn nowhere(read: Result<ParsedRequest, Error>) -> Error {
    read.err().filter(|error| *error != Error::BodyTooLarge).unwrap_or(Error::NoRoute)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::params::ParamType;

    /// In README's table and not in this one: the metrics have a listener of their own, and the gateway answers before any
    /// route is looked for.
    const ELSEWHERE: [&str; 3] = ["GET /-/metrics", "GET /-/auth", "HEAD /-/auth"];

    #[test]
    fn the_table_of_the_readme_has_every_endpoint() {
        let readme = include_str!("../../../README.md");
        let (_, rows) = readme.split_once("\n| request | needs |\n").expect("the table");
        // Files of pages, and answers to a plain OPTIONS, are for nobody who reads it.
        let told_of =
            |endpoint: &Endpoint| endpoint.method != Method::OPTIONS && !endpoint.path.starts_with("/assets/");
        let endpoints = table().into_iter().filter(told_of);
        let known: BTreeSet<String> =
            endpoints.map(|endpoint| format!("{} {}", endpoint.method, endpoint.path)).collect();
        let mut told = BTreeSet::new();
        for row in rows.lines().skip(1).take_while(|row| row.starts_with('|')) {
            // `GET`, `POST /a`, `/b`: both methods of the first path, the same of the second.
            let (mut methods, mut used) = (Vec::new(), false);
            for span in row.split('|').nth(1).expect("a cell").split('`').skip(1).step_by(2) {
                let (word, path) = match span.split_once(' ') {
                    Some((word, path)) => (Some(word), Some(path)),
                    None if span.starts_with('/') => (None, Some(span)),
                    None => (Some(span), None),
                };
                if let Some(word) = word {
                    if std::mem::take(&mut used) {
                        methods.clear();
                    }
                    methods.push(word);
                }
                let Some(path) = path else { continue };
                used = true;
                let segments = path.split('/').map(|segment| match segment.strip_prefix(':') {
                    Some(name) => format!("{{{name}}}"),
                    None => segment.to_owned(),
                });
                let path = segments.collect::<Vec<_>>().join("/");
                for method in &methods {
                    let in_full = format!("{method} {path}");
                    let short = format!("{method} /api/v4{path}");
                    told.insert(if known.contains(&short) { short } else { in_full });
                }
            }
        }
        assert!(ELSEWHERE.iter().all(|elsewhere| told.remove(*elsewhere)));
        assert_eq!(told, known);
    }

    #[test]
    fn every_endpoint_has_its_surface() {
        for endpoint in table() {
            let surface = surface_of(&endpoint.example(|kind| match kind {
                ParamType::Integer => "7".into(),
                _ => "some-name".into(),
            }));
            assert_eq!(surface, endpoint.surface, "{}", endpoint.path);
            let by_path = match endpoint.path.split('/').nth(1) {
                Some("api") => Surface::Api,
                Some("oauth" | ".well-known") if !endpoint.path.contains("/authorize") => Surface::Oauth,
                Some("-") if !endpoint.path.contains("user_settings") => Surface::Probe,
                _ => Surface::Page,
            };
            assert_eq!(surface, by_path, "{}", endpoint.path);
            assert_eq!(endpoint.access().is_some(), surface == Surface::Api, "{}", endpoint.path);
        }
        assert_eq!(surface_of("/-/auth"), Surface::Gateway);
        assert_eq!(surface_of("/-/nope"), Surface::Page);
        for (place, surface) in Surface::ALL.into_iter().enumerate() {
            assert_eq!(surface as usize, place);
        }
    }
}

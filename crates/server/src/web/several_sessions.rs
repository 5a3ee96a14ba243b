//! What a browser is told that sends several session cookies of which none counts (T9). Another host below the same
//! domain can plant such a cookie, and no reload helps against it, so the answer also deletes it.

use std::net::Ipv4Addr;

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::app::App;
use crate::error::Error;
use crate::web::{Failure, Html, NextPage, attributes, failure};

/// The page, as an answer.
pub fn response(app: &App, headers: &HeaderMap, path: &str) -> Response {
    page(app, headers, path).map_or_else(|error| failure(&error, app, false), IntoResponse::into_response)
}

/// 400, with `Set-Cookie` that deletes them. `path`: of the request.
pub fn page(app: &App, headers: &HeaderMap, path: &str) -> Result<Html, Error> {
    let text = "Your browser sent more than one session for this server, so none of them is accepted. They have been \
               removed from your browser. Please sign in again. If this page comes back, another site under the same \
               domain keeps setting the cookie _gitlab_session.";
    let page = Failure::new(app, "Several sessions", text, NextPage::SignIn);
    let page = Html::page(app, StatusCode::BAD_REQUEST, &page)?.because("several_sessions");
    Ok(forget(app, page, headers, path))
}

/// Deletes the session cookie of this host and of each parent domain, at each path that leads here: a browser deletes a
/// cookie only under the domain and the path it was set with.
pub fn forget(app: &App, page: Html, headers: &HeaderMap, path: &str) -> Html {
    let domains = domains(&host(headers));
    let domains: Vec<String> =
        std::iter::once(String::new()).chain(domains.into_iter().map(|domain| format!("; Domain={domain}"))).collect();
    let paths = paths(path);
    let all = paths.iter().flat_map(|path| domains.iter().map(move |domain| format!("Path={path}{domain}")));
    all.fold(page, |page, place| {
        let attributes = attributes(app).replacen("Path=/", &place, 1);
        page.cookie(format!("_gitlab_session=; Max-Age=0; {attributes}"))
    })
}

/// The host that was asked, without its port. Pages answer under names of ours only (T12).
fn host(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map(|(name, _)| name);
    name.unwrap_or(host).to_ascii_lowercase()
}

/// The domains that a cookie for this host may have been set for. A browser accepts none of a single label, and an address
/// has no parents.
fn domains(host: &str) -> Vec<String> {
    let is_name = host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if !is_name || host.parse::<Ipv4Addr>().is_ok() {
        return Vec::new();
    }
    let parents = std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, parent)| parent));
    parents
        .filter(|name| name.split('.').filter(|label| !label.is_empty()).count() > 1)
        .take(MOST)
        .map(str::to_owned)
        .collect()
}

/// The paths of cookies that are sent to this one (RFC 6265 section 5.1.4).
fn paths(path: &str) -> Vec<String> {
    let plain = path.len() <= LONGEST && path.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b));
    let mut paths = vec!["/".to_owned()];
    if plain {
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end > 0).take(MOST) {
            paths.extend([path[..end].to_owned(), path[..=end].to_owned()]);
        }
        if path.len() > 1 && !path.ends_with('/') {
            paths.push(path.to_owned());
        }
    }
    paths
}

/// Domains and path segments. Our own pages have four segments at most.
const MOST: usize = 5;
const LONGEST: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t9_a_cookie_is_deleted_wherever_it_may_have_been_set() {
        for (host, expected) in [
            ("git.example.test", vec!["git.example.test", "example.test"]),
            (
                "a.b.c.d.e.f.g.test",
                vec!["a.b.c.d.e.f.g.test", "b.c.d.e.f.g.test", "c.d.e.f.g.test", "d.e.f.g.test", "e.f.g.test"],
            ),
            ("localhost", vec![]),
            ("127.0.0.1", vec![]),
            ("[::1]", vec![]),
            ("a.test;x=y", vec![]),
            ("", vec![]),
        ] {
            assert_eq!(domains(host), expected, "{host}");
        }
        for (path, expected) in [
            ("/", vec!["/"]),
            ("/users/sign_in", vec!["/", "/users", "/users/", "/users/sign_in"]),
            ("/oauth/authorize/", vec!["/", "/oauth", "/oauth/", "/oauth/authorize", "/oauth/authorize/"]),
            ("/a;b", vec!["/"]),
        ] {
            assert_eq!(paths(path), expected, "{path}");
        }
    }
}

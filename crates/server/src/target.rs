//! What a request is sent to: its target and its `Host` (RFC 9112 section 3.2). This is looked at before anything else,
//! on every path, so that no two parts of the server read them differently.

use axum::body::Body;
use axum::http::uri::{PathAndQuery, Scheme};
use axum::http::{HeaderValue, Method, Request, Uri, Version, header};

use crate::error::Error;
use crate::origin::is_authority;
use crate::surface::is_protocol;

/// What is left to do once target and `Host` have been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The target is a path now, perhaps with a query.
    Path,
    /// `OPTIONS *`: it asks about the server as a whole.
    Server,
}

/// Brings target and `Host` into the form in which the rest of the server reads them: a path with its query, and at
/// most one `Host`. Of a target in absolute-form the host counts (3.2.2). A slash at the end of a path of OAuth or of
/// discovery goes. Allocates nothing for a request that needs no change.
///
/// Fails with what is answered at once: a `Host` that is missing, repeated or invalid (3.2), a target that does not fit
/// its method (3.2.4), `CONNECT`, and a path that begins with `//`.
pub fn settle(request: &mut Request<Body>) -> Result<Target, Error> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host.as_bytes()) => {}
        // HTTP/1.0 does not have the field, and HTTP/2 says the host elsewhere.
        (None, _) if request.version() != Version::HTTP_11 => {}
        _ => return Err(Error::BadHost),
    }
    if request.method() == Method::CONNECT {
        return Err(Error::NotImplemented);
    }
    if request.uri().authority().is_some() {
        absolute(request)?;
    }
    let path = request.uri().path();
    if path == "*" && request.method() == Method::OPTIONS {
        return Ok(Target::Server);
    }
    if !path.starts_with('/') {
        return Err(Error::Malformed);
    }
    // Some read what follows as a host, and some as a path with one slash less.
    if path.starts_with("//") {
        return Err(Error::NoRoute);
    }
    if let Some(shorter) = path.strip_suffix('/').filter(|path| is_protocol(path)).map(str::to_owned) {
        respell(request, &shorter);
    }
    Ok(Target::Path)
}

/// Takes the host out of a target in absolute-form. User information in it is refused (RFC 9110 section 4.2.4), and so
/// is what is no http URI: this server is no proxy.
fn absolute(request: &mut Request<Body>) -> Result<(), Error> {
    let uri = request.uri();
    let http = uri.scheme().is_some_and(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
    let Some(authority) = uri.authority().filter(|_| http) else { return Err(Error::Malformed) };
    let host = HeaderValue::from_str(authority.as_str()).ok().filter(|host| is_authority(host.as_bytes()));
    let host = host.ok_or(Error::BadHost)?;
    let target = uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
    let target = PathAndQuery::try_from(target).map_err(|_| Error::Malformed)?;
    *request.uri_mut() = Uri::from(target);
    request.headers_mut().insert(header::HOST, host);
    Ok(())
}

/// The same request at another path.
pub fn respell(request: &mut Request<Body>, path: &str) {
    let target = match request.uri().query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    if let Ok(target) = PathAndQuery::try_from(target) {
        *request.uri_mut() = Uri::from(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(version: Version, method: &str, target: &str, hosts: &[&str]) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.version_mut() = version;
        *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
        *request.uri_mut() = target.parse().expect("a target");
        for host in hosts {
            request.headers_mut().append(header::HOST, HeaderValue::from_str(host).expect("a value"));
        }
        request
    }

    #[test]
    fn a_request_names_one_host() {
        let (old, new) = (Version::HTTP_10, Version::HTTP_11);
        for (version, hosts, good) in [
            (new, &["a.test"][..], true),
            (new, &["a_b.test:8080"], true),
            (new, &["[::1]:80"], true),
            (new, &[], false),
            (new, &[""], false),
            (new, &["a.test", "a.test"], false),
            (new, &["a.test", "b.test"], false),
            (new, &["a b"], false),
            (new, &["a.test/x"], false),
            (new, &["u@a.test"], false),
            (old, &[], true),
            (old, &["a.test"], true),
            (old, &["a.test", "a.test"], false),
            (old, &[""], false),
            (Version::HTTP_2, &[], true),
        ] {
            for target in ["/api/v4/user", "/-/auth", "/", "*", "http://a.test/x"] {
                let settled = settle(&mut asked(version, "OPTIONS", target, hosts));
                assert_eq!(settled.err(), (!good).then_some(Error::BadHost), "{version:?} {target} {hosts:?}");
            }
        }
    }

    #[test]
    fn a_target_is_a_path_in_the_end() {
        for (method, target, path, host) in [
            ("GET", "/x?y=//z", "/x?y=//z", "a.test"),
            ("GET", "http://b.test:81/x?y", "/x?y", "b.test:81"),
            ("GET", "HTTPS://B.test", "/", "B.test"),
            ("GET", "http://b.test?y", "/?y", "b.test"),
            ("GET", "http://[::1]:80/x/", "/x/", "[::1]:80"),
            ("POST", "/oauth/token/", "/oauth/token", "a.test"),
            ("GET", "http://b.test/oauth/authorize/?x=1/", "/oauth/authorize?x=1/", "b.test"),
            ("GET", "/.well-known/openid-configuration/", "/.well-known/openid-configuration", "a.test"),
            ("GET", "/oauth/", "/oauth/", "a.test"),
            ("GET", "/oauth/token//", "/oauth/token/", "a.test"),
            ("GET", "/users/sign_in/", "/users/sign_in/", "a.test"),
        ] {
            let mut request = asked(Version::HTTP_11, method, target, &["a.test"]);
            assert_eq!(settle(&mut request), Ok(Target::Path), "{target}");
            assert_eq!(request.uri().to_string(), path, "{target}");
            assert_eq!(request.headers()[header::HOST], host, "{target}");
        }
        for (method, target, error) in [
            ("CONNECT", "a.test:443", Error::NotImplemented),
            ("CONNECT", "/api/v4/user", Error::NotImplemented),
            ("GET", "a.test:443", Error::Malformed),
            ("GET", "*", Error::Malformed),
            ("GET", "ftp://b.test/x", Error::Malformed),
            ("GET", "http://u:p@b.test/x", Error::BadHost),
            ("GET", "http://b.test//x", Error::NoRoute),
            ("GET", "//evil.test/x", Error::NoRoute),
            ("GET", "//", Error::NoRoute),
        ] {
            let mut request = asked(Version::HTTP_11, method, target, &["a.test"]);
            assert_eq!(settle(&mut request), Err(error), "{method} {target}");
        }
        let server = settle(&mut asked(Version::HTTP_11, "OPTIONS", "*", &["a.test"]));
        assert_eq!(server, Ok(Target::Server));
    }
}

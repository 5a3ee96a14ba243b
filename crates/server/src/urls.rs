//! Our own names: every absolute URL we make, and which hosts and origins are us (T12).

use std::net::SocketAddr;

use axum::http::{HeaderMap, header};
use url::{Host, Url};

use crate::config::Unusable;
use crate::origin::Origin;

#[derive(Clone, Debug)]
pub struct Urls {
    base: String,
    https: bool,
    /// `host` or `host:port`, lower case.
    hosts: Vec<String>,
    ssh_host: String,
    port: u16,
    /// Any loopback name counts, while we listen on loopback and are called by a loopback name ourselves.
    loopback: bool,
    /// The configured name is one of this machine's own.
    local: bool,
}

impl Urls {
    /// Refuses to serve http where others can reach it, unless that is asked for (T12).
    pub fn new(external: &str, hosts: &[String], listen: SocketAddr, insecure: bool) -> Result<Self, Unusable> {
        let text = if external.is_empty() { format!("http://{listen}") } else { external.to_owned() };
        let url = Url::parse(&text).map_err(|error| Unusable(format!("external_url: {error}")))?;
        let https = url.scheme() == "https";
        let (Some(host), true) = (url.host_str(), https || url.scheme() == "http") else {
            return Err(Unusable("external_url must be http:// or https:// and a host".into()));
        };
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.path() != "/" {
            return Err(Unusable("external_url must be a scheme and a host, without path or query".into()));
        }
        let listens_on_loopback = listen.ip().is_loopback();
        if !listens_on_loopback && !https && !insecure {
            return Err(Unusable(format!(
                "{listen} can be reached by others: external_url must be https, or set insecure_http = true"
            )));
        }
        let own = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let hosts = std::iter::once(own).chain(hosts.iter().map(|host| host.to_ascii_lowercase())).collect();
        let local = is_loopback(host);
        Ok(Self {
            local,
            base: text.trim_end_matches('/').to_owned(),
            https,
            hosts,
            ssh_host: host.to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            // A name by which others call it says that a proxy may pass on what they ask, under whatever host.
            loopback: listens_on_loopback && local,
        })
    }

    /// Without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    pub fn is_https(&self) -> bool {
        self.https
    }

    /// People ask under a name of their own machine, so a browser trusts the connection as it trusts https.
    pub fn is_local(&self) -> bool {
        self.local
    }

    /// Of our own URL, the port by name or by its scheme.
    pub fn origin(&self) -> Origin<'static> {
        Origin { https: self.https, host: self.ssh_host.clone().into(), port: self.port }
    }

    pub fn ssh_host(&self) -> &str {
        &self.ssh_host
    }

    /// Whether a page may be shown under the name it was asked for.
    pub fn serves(&self, headers: &HeaderMap) -> bool {
        let mut values = headers.get_all(header::HOST).iter();
        match (values.next().map(|host| host.to_str()), values.next()) {
            (Some(Ok(host)), None) => self.is_ours(host),
            _ => false,
        }
    }

    /// Whether this is the origin of the page that was asked for under this name. `null` and everything foreign is
    /// not, another port of this machine neither.
    pub fn is_own_origin(&self, origin: &str, headers: &HeaderMap) -> bool {
        if origin == self.base {
            return true;
        }
        let scheme = if self.https { "https" } else { "http" };
        let asked = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        self.serves(headers) && asked.is_some_and(|host| origin.eq_ignore_ascii_case(&format!("{scheme}://{host}")))
    }

    fn is_ours(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.hosts.contains(&host) || (self.loopback && is_loopback(&host))
    }
}

/// Whether a `Host` names this machine from within.
pub fn is_loopback(authority: &str) -> bool {
    // Nothing that would make a URL of it another one.
    if authority.contains(['@', '/', '?', '#', '\\']) {
        return false;
    }
    match Url::parse(&format!("http://{authority}/")) {
        Ok(url) => match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        },
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(external: &str, listen: &str, insecure: bool) -> Result<Urls, Unusable> {
        Urls::new(external, &["also.test".into()], listen.parse().expect("an address"), insecure)
    }

    #[test]
    fn t12_a_host_counts_only_if_it_is_ours() {
        let behind = urls("https://git.example.test", "10.0.0.1:80", false).expect("https");
        for (host, ours) in [
            ("git.example.test", true),
            ("GIT.example.test", true),
            ("also.test", true),
            ("git.example.test:8080", false),
            ("evil.test", false),
            ("localhost", false),
        ] {
            assert_eq!(behind.is_ours(host), ours, "{host}");
        }
        // So a proxy on this machine that passes on no host shows no page.
        let proxied = urls("https://git.example.test", "127.0.0.1:8080", false).expect("https");
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080"] {
            assert!(!proxied.is_ours(host), "{host}");
        }
        let local = urls("http://localhost:8000", "127.0.0.1:8080", false).expect("loopback");
        assert!(local.is_ours("127.0.0.1:8080") && local.is_ours("localhost:8000"));
        let local = urls("", "127.0.0.1:8080", false).expect("loopback");
        for (host, ours) in [
            ("127.0.0.1:8080", true),
            ("localhost:9", true),
            ("[::1]:8080", true),
            ("localhost.evil.test", false),
            ("evil.test", false),
            ("", false),
        ] {
            assert_eq!(local.is_ours(host), ours, "{host}");
        }
    }

    #[test]
    fn t12_http_where_others_can_reach_it_must_be_asked_for() {
        assert!(urls("http://git.example.test", "0.0.0.0:80", false).is_err());
        assert!(urls("http://git.example.test", "0.0.0.0:80", true).is_ok());
        assert!(urls("https://git.example.test", "0.0.0.0:80", false).is_ok());
        for bad in ["ftp://x", "https://x/y", "https://u@x", "x", "https://x?y"] {
            assert!(urls(bad, "127.0.0.1:80", false).is_err(), "{bad}");
        }
    }

    #[test]
    fn t10_a_foreign_or_null_origin_is_not_ours() {
        let local = urls("", "127.0.0.1:8080", false).expect("loopback");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, "localhost:8080".parse().expect("a host"));
        for (origin, own) in [
            ("http://127.0.0.1:8080", true),
            ("http://localhost:8080", true),
            ("http://localhost:3000", false),
            ("http://localhost", false),
            ("https://localhost:8080", false),
            ("null", false),
            ("", false),
            ("http://evil.test", false),
            ("http://127.0.0.1:8080.evil.test", false),
        ] {
            assert_eq!(local.is_own_origin(origin, &headers), own, "{origin}");
        }
        headers.insert(header::HOST, "evil.test".parse().expect("a host"));
        assert!(!local.is_own_origin("http://evil.test", &headers));
    }
}

//! Our own names: every absolute URL we make, and which hosts and origins are us (T12).

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, header};
use url::{ParseError, Url};

use crate::config::Unusable;
use crate::origin::{self, Origin};

/// Our own URL and names. Whatever makes an absolute URL asks here.
#[derive(Clone, Debug)]
pub struct Urls {
    base: String,
    /// What an earlier version made of the same settings, if that was another text.
    former: Option<String>,
    own: Origin<'static>,
    /// More names of ours, with the scheme of `own`.
    others: Vec<Origin<'static>>,
    /// Any loopback name counts, while we listen on loopback and are called by a loopback name ourselves.
    loopback: bool,
}

impl Urls {
    /// `external` is brought into one spelling here, once: without white space around it, host in lower case and in
    /// ASCII, without the port that the scheme has by itself. `hosts` likewise. Refuses to serve http where others can
    /// reach it, unless that is asked for (T12). Errors never repeat what was given: it may hold a password.
    pub fn new(external: &str, hosts: &[String], listen: SocketAddr, insecure: bool) -> Result<Self, Unusable> {
        let unset = external.trim().is_empty();
        let given = if unset { format!("http://{listen}") } else { external.to_owned() };
        let url = Url::parse(given.trim()).map_err(|error| {
            let fault = match error {
                ParseError::RelativeUrlWithoutBase => "it has no scheme".to_owned(),
                error => format!("it cannot be parsed ({error})"),
            };
            Unusable(format!("external_url: {fault}; {ADVICE}"))
        })?;
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(Unusable(format!("external_url must be http:// or https:// and a host; {ADVICE}")));
        }
        let credentials = !url.username().is_empty() || url.password().is_some();
        if url.query().is_some() || url.fragment().is_some() || credentials || url.path() != "/" {
            return Err(Unusable(format!("external_url must be a scheme and a host, without path or query; {ADVICE}")));
        }
        // Until it listens, its own address may have no port yet.
        if url.port() == Some(0) && !unset {
            return Err(Unusable(format!("external_url: there is no port 0; {ADVICE}")));
        }
        let own = origin_of(&url).ok_or_else(|| {
            Unusable(format!(
                "external_url: its host must be letters, digits, `-`, `.` and `_`, or an address; {ADVICE}"
            ))
        })?;
        let listens_on_loopback = listen.ip().is_loopback();
        if !listens_on_loopback && !own.https && !insecure {
            return Err(Unusable(format!(
                "{listen} can be reached by others: set external_url to an https URL, such as https://git.example.test, or \
                 set insecure_http = true"
            )));
        }
        let others = hosts.iter().enumerate().map(|(place, host)| {
            other_name(own.https, host).ok_or_else(|| {
                let place = place + 1;
                Unusable(format!("external_hosts: entry {place} must be a host, perhaps with a port, and nothing else, such as git.example.test"))
            })
        });
        let others = others.collect::<Result<_, _>>()?;
        let base = own.to_string();
        let former = given.trim_end_matches('/');
        Ok(Self {
            former: (former != base).then(|| former.to_owned()),
            base,
            // A name by which others call it says that a proxy may pass on what they ask, under whatever host.
            loopback: listens_on_loopback && is_loopback(&own.host),
            own,
            others,
        })
    }

    /// Without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The text that stood in links and in `iss` before `external_url` was brought into one spelling, if it was another
    /// one than [`Urls::base`].
    pub fn former_base(&self) -> Option<&str> {
        self.former.as_deref()
    }

    /// Whether we are reached by https, if only at a proxy in front.
    pub fn is_https(&self) -> bool {
        self.own.https
    }

    /// People ask under a name of their own machine, so a browser trusts the connection as it trusts https.
    pub fn is_local(&self) -> bool {
        is_loopback(&self.own.host)
    }

    /// Of our own URL, the port by name or by its scheme.
    pub fn origin(&self) -> Origin<'static> {
        self.own.clone()
    }

    /// The host in `ssh_url_to_repo`; nothing here answers by SSH.
    pub fn ssh_host(&self) -> &str {
        &self.own.host
    }

    /// Whether a page may be shown under the name it was asked for.
    pub fn serves(&self, headers: &HeaderMap) -> bool {
        self.asked(headers).is_some()
    }

    /// Whether this is the origin of the page that was asked for under this name. `null` and everything foreign is
    /// not, another port of this machine neither. The port that a scheme has by itself may be said or left out.
    pub fn is_own_origin(&self, origin: &str, headers: &HeaderMap) -> bool {
        self.own.is_spelt(origin) || self.asked(headers).is_some_and(|asked| asked.is_spelt(origin))
    }

    /// The name that was asked for, if it is one of ours.
    fn asked<'h>(&self, headers: &'h HeaderMap) -> Option<Origin<'h>> {
        let mut values = headers.get_all(header::HOST).iter();
        match (values.next().map(|host| host.to_str()), values.next()) {
            (Some(Ok(host)), None) => self.ours(host),
            _ => None,
        }
    }

    fn ours<'h>(&self, host: &'h str) -> Option<Origin<'h>> {
        let asked = Origin::read(self.own.https, host)?;
        let ours = asked == self.own || self.others.contains(&asked) || (self.loopback && is_loopback(&asked.host));
        ours.then_some(asked)
    }
}

const ADVICE: &str = "write it such as https://git.example.test";

/// Scheme, host and port of an http URL.
fn origin_of(url: &Url) -> Option<Origin<'static>> {
    let host = origin::host_name(url.host_str()?)?.into_owned();
    Some(Origin { https: url.scheme() == "https", host: host.into(), port: url.port_or_known_default()? })
}

/// A host, perhaps with a port, as a setting names it.
fn other_name(https: bool, text: &str) -> Option<Origin<'static>> {
    let text = text.trim();
    // Nothing that would make a URL of it another one.
    if text.is_empty() || text.contains(['@', '/', '?', '#', '\\']) || text.contains(char::is_whitespace) {
        return None;
    }
    let scheme = if https { "https" } else { "http" };
    origin_of(&Url::parse(&format!("{scheme}://{text}/")).ok()?).filter(|origin| origin.port > 0)
}

/// Whether a host, as an [`Origin`] has it, names this machine from within.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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
            ("git.example.test:443", true),
            ("git.example.test:0443", true),
            ("git.example.test:80", false),
            ("also.test", true),
            ("also.test:443", true),
            ("also.test:80", false),
            ("git.example.test:8080", false),
            ("evil.test", false),
            ("localhost", false),
        ] {
            assert_eq!(behind.ours(host).is_some(), ours, "{host}");
        }
        // So a proxy on this machine that passes on no host shows no page.
        let proxied = urls("https://git.example.test", "127.0.0.1:8080", false).expect("https");
        for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "[::1]:8080"] {
            assert!(proxied.ours(host).is_none(), "{host}");
        }
        let local = urls("http://localhost:8000", "127.0.0.1:8080", false).expect("loopback");
        assert!(local.ours("127.0.0.1:8080").is_some() && local.ours("localhost:8000").is_some());
        let local = urls("", "127.0.0.1:8080", false).expect("loopback");
        for (host, ours) in [
            ("127.0.0.1:8080", true),
            ("localhost:9", true),
            ("[::1]:8080", true),
            ("localhost.evil.test", false),
            ("evil.test", false),
            ("", false),
        ] {
            assert_eq!(local.ours(host).is_some(), ours, "{host}");
        }
    }

    #[test]
    fn external_url_is_brought_into_one_spelling() {
        for (typed, base, former) in [
            ("https://git.example.test", "https://git.example.test", None),
            ("https://git.example.test/", "https://git.example.test", None),
            (" https://git.example.test \t", "https://git.example.test", Some(" https://git.example.test \t")),
            ("HTTPS://GIT.Example.Test", "https://git.example.test", Some("HTTPS://GIT.Example.Test")),
            ("https://git.example.test:443/", "https://git.example.test", Some("https://git.example.test:443")),
            ("http://git.example.test:80", "http://git.example.test", Some("http://git.example.test:80")),
            ("https://git.example.test:80", "https://git.example.test:80", None),
            ("https://b\u{fc}cher.example", "https://xn--bcher-kva.example", Some("https://b\u{fc}cher.example")),
            ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example", None),
            ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443", Some("https://[2001:DB8:0::1]:8443")),
            ("", "http://127.0.0.1:8080", None),
            (" ", "http://127.0.0.1:8080", None),
        ] {
            let known = urls(typed, "127.0.0.1:8080", true).expect(typed);
            assert_eq!((known.base(), known.former_base()), (base, former), "{typed:?}");
            // Once more changes nothing.
            let again = urls(known.base(), "127.0.0.1:8080", true).expect(base);
            assert_eq!((again.base(), again.former_base()), (base, None));
            assert!(known.is_own_origin(base, &HeaderMap::new()));
        }
        assert_eq!(urls("", "127.0.0.1:0", true).expect("not yet").former_base(), None);
        let plain = urls("", "127.0.0.1:80", true).expect("loopback");
        assert_eq!((plain.base(), plain.former_base()), ("http://127.0.0.1", Some("http://127.0.0.1:80")));
        for bad in [
            "https://",
            "https://hunter2/path",
            "https://hunter2?",
            "https://hunter2#",
            "https://u:hunter2@x",
            "https://:hunter2@x",
            "https://hunter2!x",
            "https://hunter2:0",
            "https://hunter2:65536",
            "https://hunter2 x",
            "https://xn--hunter2-\u{fc}\u{200d}",
            "ftp://hunter2",
            "file:///hunter2",
            "hunter2",
        ] {
            let error = urls(bad, "127.0.0.1:80", true).expect_err(bad).0;
            assert!(error.starts_with("external_url") && !error.contains("hunter2"), "{bad}: {error}");
        }
    }

    #[test]
    fn external_hosts_are_brought_into_one_spelling() {
        let known = |host: &str| {
            Urls::new("https://git.example.test", &[host.into()], "127.0.0.1:80".parse().expect("an address"), false)
        };
        for (typed, asked) in [
            (" Also.Test ", "also.test"),
            ("also.test:443", "also.test"),
            ("also.test", "ALSO.test:443"),
            ("also.test:8443", "also.test:8443"),
            ("b\u{fc}cher.example", "xn--bcher-kva.example"),
            ("[2001:DB8::1]", "[2001:db8::1]:443"),
        ] {
            assert!(known(typed).expect(typed).ours(asked).is_some(), "{typed}");
        }
        for bad in
            ["", " ", "https://also.test", "also.test/", "u@also.test", "a b", "a,b", "::1", "a:0", "a:x", "*.test"]
        {
            assert!(known(bad).expect_err(bad).0.starts_with("external_hosts: entry 1 "), "{bad}");
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
            ("http://LOCALHOST:8080", true),
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
        let behind = urls("https://git.example.test", "10.0.0.1:80", false).expect("https");
        for host in ["git.example.test", "git.example.test:443", "also.test", "also.test:443"] {
            headers.insert(header::HOST, host.parse().expect("a host"));
            for (origin, own) in [
                ("https://git.example.test", true),
                ("https://git.example.test:443", true),
                ("https://also.test", host.starts_with("also")),
                ("https://also.test:443", host.starts_with("also")),
                ("http://git.example.test", false),
                ("https://git.example.test:80", false),
            ] {
                assert_eq!(behind.is_own_origin(origin, &headers), own, "{origin} at {host}");
            }
        }
        headers.insert(header::HOST, "evil.test".parse().expect("a host"));
        assert!(!local.is_own_origin("http://evil.test", &headers));
    }
}

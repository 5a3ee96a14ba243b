//! Forward auth (`docs/protocols/gateway.md`). A test is the proxy, and asks what a proxy would ask.

use axum::http::Method;

use crate::test_server::{Ask, Reply, TestServer};

/// As `cases!`, for a test server whose proxies are this machine and two networks.
macro_rules! gates {
    ($($name:ident $(with $settings:literal)?),+ $(,)?) => {
        pub const CASES: &[$crate::Case] = &[$($crate::Case {
            name: stringify!($name),
            breaks: None,
            settings: concat!("gateway.peers = ['127.0.0.1', '198.51.100.0/25', '2001:db8:0:1::/64']\n", $($settings)?),
            run: |town| Box::pin($name(town)),
        }),+];
    };
}

pub mod asking;
pub mod browsers;
pub mod credentials;
pub mod hostile;
pub mod identities;
pub mod members;
pub mod other_credentials;
pub mod paths;
pub mod refusals;
pub mod rules;
pub mod signing_in;

/// The origin of `external_url`.
const HERE: &str = "http://127.0.0.1:8080";

/// Another host behind the same proxy.
const THERE: &str = "https://api.example.test";

/// Every identity header, as the default prefix spells it.
const IDENTITY: [&str; 9] =
    ["user-id", "user", "email", "administrator", "scopes", "credential", "place", "application", "rule"];

/// From now on these rules count.
async fn rules(t: &TestServer, text: &str) {
    t.app.gateway.replace(text, "rules.toml", &t.app.db).await.expect("rules");
}

/// One rule for everything under both names, with these lines.
async fn rule(t: &TestServer, lines: &str) {
    let hosts = "host = ['127.0.0.1', 'api.example.test']";
    rules(t, &format!("[[rule]]\nname = 'all'\n{hosts}\npath = '/*'\n{lines}\n")).await;
}

/// Whoever is signed in, everywhere.
async fn signed_in(t: &TestServer) {
    rule(t, "").await;
}

/// The four headers of a question, in the dialect `original`.
fn original(method: &str, url: &str) -> [(&'static str, String); 4] {
    let (scheme, rest) = url.split_once("://").expect("a scheme");
    let (host, target) = rest.split_at(rest.find(['/', '?', '*']).unwrap_or(rest.len()));
    [
        ("x-original-method", method.to_owned()),
        ("x-original-proto", scheme.to_owned()),
        ("x-original-host", host.to_owned()),
        ("x-original-uri", target.to_owned()),
    ]
}

/// A proxy asks whether this may pass, as nginx does: by HEAD, whatever the method of the original.
fn asked(t: &TestServer, method: &str, url: &str) -> Ask {
    let headers = original(method, url);
    headers.iter().fold(t.ask(Method::HEAD, "/-/auth"), |ask, (name, value)| ask.with(name, value))
}

impl Reply {
    /// 204 by this rule, with every header there is, none of them empty.
    #[track_caller]
    fn passes(&self, rule: &str) -> &Self {
        self.is(204, "");
        self.is_for_proxies();
        for name in IDENTITY {
            assert!(!self.told(name).is_empty(), "{name}");
        }
        assert_eq!(self.told("rule"), rule);
        assert_eq!(self.header("x-tollhouse-reason"), None);
        self
    }

    /// That status, and nothing that could be taken for a yes.
    #[track_caller]
    fn is_kept_out(&self, status: u16) -> &Self {
        self.is(status, "");
        self.is_for_proxies();
        for name in IDENTITY {
            assert_eq!(self.header(&format!("x-tollhouse-{name}")), None);
        }
        assert!(!self.reason().is_empty());
        let id = self.header("x-request-id").expect("a request id");
        assert_eq!(id.len(), 26, "{id}");
        let challenged = status == 401 || self.reason() == "insufficient_scope";
        assert_eq!(self.header("www-authenticate").is_some(), challenged, "{:?}", self.headers);
        self
    }

    /// Why it refuses, under whatever prefix.
    #[track_caller]
    fn reason(&self) -> &str {
        let ends = |name: &str| name.strip_suffix("-reason").is_some_and(|prefix| prefix.starts_with("x-"));
        let reasons: Vec<_> = self.headers.iter().filter(|(name, _)| ends(name.as_str())).collect();
        assert_eq!(reasons.len(), 1, "{:?}", self.headers);
        reasons[0].1.to_str().expect("text")
    }

    #[track_caller]
    fn is_for_proxies(&self) {
        assert_eq!(self.header("cache-control"), Some("no-store"));
        for name in ["location", "set-cookie", "vary", "access-control-allow-origin", "content-type"] {
            assert_eq!(self.header(name), None, "{name}");
        }
    }

    /// An identity header.
    #[track_caller]
    fn told(&self, name: &str) -> &str {
        self.header(&format!("x-tollhouse-{name}")).unwrap_or_else(|| panic!("{name} is not told"))
    }
}

//! The rules that the lines of the gateway name, and each key of each rule changed.

use axum::http::Method;
use tollhouse_domain::access::AccessLevel;

use crate::test_server::{Ask, TestServer};

/// The keys of a rule that say who passes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// `None`: whoever is signed in.
    allow: Option<&'static str>,
    read_user: bool,
    level: Option<AccessLevel>,
    applications: bool,
    query_credentials: bool,
}

const NOTHING: Keys =
    Keys { allow: None, read_user: false, level: None, applications: false, query_credentials: false };

const RULES: [(&str, Keys); 6] = [
    ("anyone", Keys { allow: Some("anyone"), ..NOTHING }),
    ("signed_in", NOTHING),
    ("read_user", Keys { read_user: true, ..NOTHING }),
    ("admins", Keys { allow: Some("administrator"), ..NOTHING }),
    ("members", Keys { level: Some(AccessLevel::Owner), ..NOTHING }),
    ("application", Keys { applications: true, ..NOTHING }),
];

/// The file of rules. `changed`: a rule whose keys are others.
pub fn rules(client: &str, changed: Option<(&str, Keys)>) -> String {
    let text = |(name, keys): (&str, Keys)| {
        let keys = changed.filter(|(changed, _)| *changed == name).map_or(keys, |(_, keys)| keys);
        let mut lines = vec![format!("[[rule]]\nname = '{name}'\nhost = ['127.0.0.1']\npath = '/{name}'")];
        lines.extend(keys.allow.map(|allow| format!("allow = '{allow}'")));
        lines.extend(keys.read_user.then(|| "scopes = ['read_user']".to_owned()));
        lines.extend(keys.level.map(|level| format!("group = 'hull/private'\nlevel = '{}'", level.as_str())));
        lines.extend(keys.applications.then(|| format!("applications = ['{client}']")));
        lines.extend(keys.query_credentials.then(|| "query_credentials = true".to_owned()));
        lines.join("\n") + "\n"
    };
    RULES.map(text).concat()
}

/// The rule with each of its keys changed.
pub fn flips(rule: &str) -> Vec<Keys> {
    let keys = RULES.into_iter().find(|(name, _)| *name == rule).expect("a rule").1;
    let mut all = Vec::new();
    all.extend([None, Some("anyone"), Some("administrator")].map(|allow| Keys { allow, ..keys }));
    all.push(Keys { query_credentials: true, ..keys });
    // What `allow` makes meaningless is refused beside it.
    if keys.allow.is_none() {
        all.push(Keys { applications: !keys.applications, ..keys });
        // A rule knows no level below that of a guest.
        let levels = AccessLevel::ALL.into_iter().skip(1).map(Some).chain([None]);
        all.extend(levels.map(|level| Keys { level, ..keys }));
    }
    if keys.allow != Some("anyone") {
        all.push(Keys { read_user: !keys.read_user, ..keys });
    }
    let allowed = |keys: &Keys| match keys.allow {
        None => true,
        Some("administrator") => !keys.applications && keys.level.is_none(),
        Some(_) => !keys.applications && keys.level.is_none() && !keys.read_user,
    };
    all.retain(allowed);
    all.retain(|other| *other != keys);
    all
}

/// A proxy asks, as nginx does, whether a request may pass that this rule is about.
pub fn question(t: &TestServer, method: &Method, rule: &str, query: &str) -> Ask {
    let target = if query.is_empty() { format!("/{rule}") } else { format!("/{rule}?{query}") };
    t.ask(Method::HEAD, "/-/auth")
        .with("x-original-method", method.as_str())
        .with("x-original-proto", "http")
        .with("x-original-host", "127.0.0.1:8080")
        .with("x-original-uri", &target)
}

//! The file of rules: read, and held against itself. What is wrong is told with file, line and rule.

use std::fmt::Display;
use std::ops::Range;

use axum::http::{HeaderValue, Method};
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access_requirement::Extra;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::{self, NamespaceKind};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::text::{loggable, printable};
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::namespaces::{self, Routed};
use tollhouse_store::oauth_applications;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::matching::{Allow, Host, Kind, Member, Pattern, Rule, Rules};
use super::path::{Oddities, Path, in_capitals};
use super::question;
use crate::config::Unusable;
use crate::origin;

impl Rules {
    /// `file`: what it is called in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, Unusable> {
        let place = Source { text, file };
        let whole = DeTable::parse(text).map_err(|error| place.fault(error.span(), None, error.message()))?;
        let mut rules: Vec<Rule> = Vec::new();
        for (key, value) in whole.get_ref() {
            if key.get_ref() != "rule" {
                return Err(place.fault(Some(key.span()), None, unknown(key.get_ref())));
            }
            let DeValue::Array(tables) = value.get_ref() else {
                return Err(place.fault(Some(value.span()), None, "a rule begins with [[rule]]"));
            };
            for table in tables {
                let rule = place.rule(table)?;
                let fault = |text: String| place.fault(Some(table.span()), Some(&rule.name), text);
                if let Some(twin) = rules.iter().find(|known| known.name == rule.name) {
                    return Err(fault(format!("line {} has a rule of that name", twin.line)));
                }
                if let Some(shadow) = rule.shadow(&rules) {
                    let (name, line) = (&shadow.name, shadow.line);
                    return Err(fault(format!(
                        "it can never match, because rule `{name}` in line {line} matches first"
                    )));
                }
                rules.push(rule);
            }
        }
        Ok(Self(rules))
    }

    /// Groups, projects and applications are those that have these names now (T8). What is not there stays unbound,
    /// which is no error: a server must be able to start after somebody has deleted a group.
    pub async fn bind(mut self, db: &Db) -> Result<Self, StoreError> {
        let mut reader = db.read().await?;
        for rule in &mut self.0 {
            if let Some(member) = &mut rule.member {
                member.of = match (member.kind, namespaces::route(&mut reader, &member.path).await?) {
                    (Kind::Group, Some(Routed::Namespace(id))) => {
                        let found = namespaces::find(&mut reader, id).await?;
                        found
                            .filter(|found| found.kind == NamespaceKind::Group)
                            .map(|group| MembershipSource::Group(group.id))
                    }
                    (Kind::Project, Some(Routed::Project(id))) => Some(MembershipSource::Project(id)),
                    _ => None,
                };
                if member.of.is_none() {
                    let path = loggable(&member.path);
                    tracing::warn!(
                        rule = rule.name,
                        path,
                        "no group or project has this path, so the rule refuses every request"
                    );
                }
            }
            rule.applications.clear();
            for uid in &rule.clients {
                match oauth_applications::by_uid(&mut reader, uid).await? {
                    Some(application) => rule.applications.push(application.id),
                    // The value may be a secret that was put in the wrong place.
                    None => tracing::warn!(rule = rule.name, client_id = loggable(uid), "there is no such application"),
                }
            }
        }
        Ok(self)
    }
}

/// Where we are in the file.
#[derive(Clone, Copy)]
struct Source<'t> {
    text: &'t str,
    file: &'t str,
}

impl<'t> Source<'t> {
    fn line(self, span: &Range<usize>) -> usize {
        1 + self.text.get(..span.start).unwrap_or_default().matches('\n').count()
    }

    fn fault(self, span: Option<Range<usize>>, rule: Option<&str>, text: impl Display) -> Unusable {
        let line = self.line(&span.unwrap_or_default());
        let rule = rule.map(|name| format!("rule `{}`: ", printable(name))).unwrap_or_default();
        Unusable(format!("{}: line {line}: {rule}{text}", self.file))
    }

    fn rule(self, table: &Spanned<DeValue<'t>>) -> Result<Rule, Unusable> {
        let DeValue::Table(fields) = table.get_ref() else {
            return Err(self.fault(Some(table.span()), None, "a rule begins with [[rule]]"));
        };
        let name = fields.get("name").and_then(|name| name.get_ref().as_str());
        Fields { place: self, rule: name, whole: table.span(), fields }.read()
    }
}

/// The keys of one rule.
struct Fields<'f, 't> {
    place: Source<'t>,
    /// Its name, as far as it has one.
    rule: Option<&'f str>,
    whole: Range<usize>,
    fields: &'f DeTable<'t>,
}

impl<'t> Fields<'_, 't> {
    fn read(&self) -> Result<Rule, Unusable> {
        if let Some((key, _)) = self.fields.iter().find(|(key, _)| !KEYS.contains(&key.get_ref().as_ref())) {
            return Err(self.fault(key.span(), unknown(key.get_ref())));
        }
        let name = self.one("name", name)?.ok_or_else(|| self.missing("name"))?;
        let admits =
            self.any("admits", |word| Oddities::named(word).ok_or("this must be `%2f`, `;`, `%3f` or `%23`"))?;
        let admits = admits.into_iter().fold(Oddities::default(), Oddities::and);
        let mut methods =
            self.any("method", |word| question::method(word).ok_or("this must be a method, in capitals"))?;
        // Who answers GET answers HEAD in the same way.
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        let rule = Rule {
            label: HeaderValue::try_from(name.as_str()).map_err(|_| self.missing("name"))?,
            name,
            line: self.place.line(&self.whole),
            hosts: self.some("host", host)?,
            paths: self.some("path", pattern)?,
            methods,
            allow: self.one("allow", allow)?.unwrap_or(Allow::SignedIn),
            scopes: self.any("scopes", scope)?,
            member: self.member()?,
            clients: self.any("applications", client_id)?,
            applications: Vec::new(),
            deploy_tokens: self.any("deploy_tokens", deploy_scope)?,
            job_tokens: self.flag("job_tokens")?,
            token_as_password: self.flag("token_as_password")?,
            query_credentials: self.flag("query_credentials")?,
            preflight: self.one("preflight", preflight)?.unwrap_or_default(),
            admits,
        };
        self.contradictions(&rule)?;
        Ok(rule)
    }

    fn member(&self) -> Result<Option<Member>, Unusable> {
        let level = self.one("level", level)?;
        let (kind, path) = match (self.one("group", full_path)?, self.one("project", full_path)?) {
            (Some(path), None) => (Kind::Group, path),
            (None, Some(path)) => (Kind::Project, path),
            (None, None) if level.is_none() => return Ok(None),
            (None, None) => return Err(self.fault_at("level", "this has no effect without `group` or `project`")),
            (Some(_), Some(_)) => return Err(self.fault_at("project", "a rule has `group` or `project`, not both")),
        };
        Ok(Some(Member { kind, path, level: level.unwrap_or(AccessLevel::Guest), of: None }))
    }

    /// What one key says must not be idle because of another.
    fn contradictions(&self, rule: &Rule) -> Result<(), Unusable> {
        let idle: &[&str] = match rule.allow {
            Allow::Anyone => &["scopes", "group", "project", "applications", "deploy_tokens"],
            Allow::Administrator => &["group", "project", "applications", "deploy_tokens"],
            Allow::SignedIn => &[],
        };
        let word = if rule.allow == Allow::Anyone { "anyone" } else { "administrator" };
        match idle.iter().find(|key| self.fields.contains_key(**key)) {
            Some(key) => Err(self.fault_at(key, format!("this contradicts `allow = \"{word}\"`"))),
            None => Ok(()),
        }
    }

    fn some<T>(&self, key: &str, read: impl Fn(&str) -> Read<T>) -> Result<Vec<T>, Unusable> {
        let values = self.any(key, read)?;
        if values.is_empty() { Err(self.missing(key)) } else { Ok(values) }
    }

    /// Text, or a list of texts.
    fn any<T>(&self, key: &str, read: impl Fn(&str) -> Read<T>) -> Result<Vec<T>, Unusable> {
        let Some(value) = self.fields.get(key) else { return Ok(Vec::new()) };
        match value.get_ref() {
            DeValue::Array(values) if values.is_empty() => Err(self.fault(value.span(), format!("`{key}` is empty"))),
            DeValue::Array(values) => values.iter().map(|value| self.text(key, value, &read)).collect(),
            _ => Ok(vec![self.text(key, value, &read)?]),
        }
    }

    fn one<T>(&self, key: &str, read: impl Fn(&str) -> Read<T>) -> Result<Option<T>, Unusable> {
        self.fields.get(key).map(|value| self.text(key, value, &read)).transpose()
    }

    fn text<T>(&self, key: &str, value: &Spanned<DeValue<'t>>, read: &impl Fn(&str) -> Read<T>) -> Result<T, Unusable> {
        let DeValue::String(text) = value.get_ref() else {
            let given = value.get_ref().type_str();
            return Err(self.fault(value.span(), format!("`{key}` must be text, not {given}")));
        };
        read(text).map_err(|why| self.fault(value.span(), format!("`{key}`: {why}")))
    }

    fn flag(&self, key: &str) -> Result<bool, Unusable> {
        let Some(value) = self.fields.get(key) else { return Ok(false) };
        value.get_ref().as_bool().ok_or_else(|| self.fault(value.span(), format!("`{key}` must be true or false")))
    }

    fn missing(&self, key: &str) -> Unusable {
        self.fault(self.whole.clone(), format!("`{key}` is missing"))
    }

    fn fault_at(&self, key: &str, text: impl Display) -> Unusable {
        let span = self.fields.get_key_value(key).map_or(self.whole.clone(), |(key, _)| key.span());
        self.fault(span, format!("`{key}`: {text}"))
    }

    fn fault(&self, span: Range<usize>, text: impl Display) -> Unusable {
        self.place.fault(Some(span), self.rule, text)
    }
}

fn unknown(key: &str) -> String {
    format!("there is no such key: `{}`", printable(key))
}

type Read<T> = Result<T, &'static str>;

fn name(text: &str) -> Read<String> {
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    if plain && (1..=64).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("letters, digits, `-` and `_`, up to 64")
    }
}

fn host(text: &str) -> Read<Host> {
    let (name, port) = match text.rsplit_once(':') {
        Some((name, digits)) if !digits.ends_with(']') => (name, Some(origin::port(digits).ok_or(NO_HOST)?)),
        _ => (text, None),
    };
    Ok(Host { name: origin::host_name(name).ok_or(NO_HOST)?.into_owned(), port })
}

/// What no request can have is a mistake, and so is what some requests have for some readers alone.
fn pattern(text: &str) -> Read<Pattern> {
    let (text, below) = match text.strip_suffix("/*") {
        Some(above) => (above, true),
        None => (text, false),
    };
    if text.contains('*') {
        return Err("`*` is allowed only at the end, after a `/`");
    }
    if below && text.is_empty() {
        return Ok(Pattern { decoded: String::new(), encoded: String::new(), below });
    }
    let path = Path::read(text).map_err(|_| "requests with this path are always refused")?;
    if below && text.ends_with('/') {
        return Err("requests with this path are always refused");
    }
    if !path.oddities.is_empty() {
        return Err("`%2f`, `;`, `%3f` and `%23` are interpreted differently by servers; name the path above them");
    }
    Ok(Pattern { decoded: path.decoded.into_owned(), encoded: in_capitals(text), below })
}

fn allow(word: &str) -> Read<Allow> {
    match word {
        "anyone" => Ok(Allow::Anyone),
        "signed_in" => Ok(Allow::SignedIn),
        "administrator" => Ok(Allow::Administrator),
        _ => Err("this must be `anyone`, `signed_in` or `administrator`"),
    }
}

/// T6: `openid` says who somebody is, and opens nothing.
fn scope(word: &str) -> Read<Extra> {
    match Scope::parse(word) {
        Some(Scope::Openid) => Err("`openid` gives no access"),
        Some(scope) => Ok(Extra::any(scope)),
        None => Err("there is no such scope"),
    }
}

fn deploy_scope(word: &str) -> Read<DeployScope> {
    DeployScope::parse(word).ok_or("there is no such scope of deploy tokens")
}

fn level(word: &str) -> Read<AccessLevel> {
    let known = AccessLevel::parse(word).filter(|level| *level >= AccessLevel::Guest);
    known.ok_or("this must be `guest`, `planner`, `reporter`, `security_manager`, `developer`, `maintainer` or `owner`")
}

fn full_path(text: &str) -> Read<String> {
    let known = text.split('/').all(namespace::valid_path);
    if known { Ok(text.to_ascii_lowercase()) } else { Err("this is not a full path, such as `harbour/pilots`") }
}

fn client_id(text: &str) -> Read<String> {
    if text.is_empty() { Err("a client id is missing") } else { Ok(text.to_owned()) }
}

fn preflight(word: &str) -> Read<bool> {
    if word == "pass" { Ok(true) } else { Err("this must be `pass`") }
}

const NO_HOST: &str = "this is not a host, such as `api.example.test` or `api.example.test:8443`";

const KEYS: [&str; 16] = [
    "name",
    "host",
    "path",
    "method",
    "allow",
    "scopes",
    "group",
    "project",
    "level",
    "applications",
    "deploy_tokens",
    "job_tokens",
    "token_as_password",
    "query_credentials",
    "preflight",
    "admits",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Rules::parse(text, "rules.toml").expect_err(text).0
    }

    /// The fault of one rule with these lines.
    fn fault_of(lines: &str) -> String {
        fault(&format!("# Ours\n[[rule]]\nname = 'x'\nhost = 'a.test'\npath = '/'\n{lines}\n"))
    }

    #[test]
    fn what_is_wrong_is_told_with_file_line_and_rule() {
        for (lines, told) in [
            ("nope = 1", "line 6: rule `x`: there is no such key: `nope`"),
            ("allow = 1", "line 6: rule `x`: `allow` must be text, not integer"),
            ("allow = 'all'", "line 6: rule `x`: `allow`: this must be `anyone`, `signed_in` or `administrator`"),
            ("scopes = ['openid']", "line 6: rule `x`: `scopes`: `openid` gives no access"),
            ("scopes = ['read_user',\n'nope']", "line 7: rule `x`: `scopes`: there is no such scope"),
            ("scopes = []", "line 6: rule `x`: `scopes` is empty"),
            ("method = ['GET', 'post']", "line 6: rule `x`: `method`: this must be a method, in capitals"),
            ("level = 'guest'", "line 6: rule `x`: `level`: this has no effect without `group` or `project`"),
            ("group = 'g'\nproject = 'g/p'", "line 7: rule `x`: `project`: a rule has `group` or `project`, not both"),
            ("group = '/g'", "line 6: rule `x`: `group`: this is not a full path, such as `harbour/pilots`"),
            (
                "project = 'g'\nlevel = 'minimal'",
                "line 7: rule `x`: `level`: this must be `guest`, `planner`, `reporter`, `security_manager`, `developer`, `maintainer` or `owner`",
            ),
            (
                "allow = 'anyone'\nscopes = 'read_user'",
                "line 7: rule `x`: `scopes`: this contradicts `allow = \"anyone\"`",
            ),
            ("allow = 'anyone'\ngroup = 'g'", "line 7: rule `x`: `group`: this contradicts `allow = \"anyone\"`"),
            (
                "allow = 'administrator'\nproject = 'g/p'",
                "line 7: rule `x`: `project`: this contradicts `allow = \"administrator\"`",
            ),
            (
                "allow = 'administrator'\napplications = 'c'",
                "line 7: rule `x`: `applications`: this contradicts `allow = \"administrator\"`",
            ),
            ("query_credentials = 'yes'", "line 6: rule `x`: `query_credentials` must be true or false"),
            ("preflight = 'judge'", "line 6: rule `x`: `preflight`: this must be `pass`"),
            ("admits = '%5c'", "line 6: rule `x`: `admits`: this must be `%2f`, `;`, `%3f` or `%23`"),
            ("applications = ['']", "line 6: rule `x`: `applications`: a client id is missing"),
            ("name = 'y'", "line 6: duplicate key"),
            ("allow = ", "line 6: "),
            ("[[rule]]\nname = 'x'\nhost = 'b.test'\npath = '/'", "line 6: rule `x`: line 2 has a rule of that name"),
            (
                "[[rule]]\nname = 'y'\nhost = 'a.test'\npath = '/'",
                "line 6: rule `y`: it can never match, because rule `x` in line 2 matches first",
            ),
            ("[[rule]]\nname = 'y'\npath = '/'", "line 6: rule `y`: `host` is missing"),
            ("[[rule]]\nname = 'y'\nhost = 'b.test'", "line 6: rule `y`: `path` is missing"),
            ("[[rule]]\nhost = 'b.test'", "line 6: `name` is missing"),
            ("[[rule]]\nname = 'a b'", "line 7: rule `a b`: `name`: letters, digits, `-` and `_`, up to 64"),
        ] {
            let said = fault_of(lines);
            assert!(said.starts_with(&format!("rules.toml: {told}")) && !said.contains('\n'), "{lines}: {said}");
        }
        assert_eq!(fault("rules = 1"), "rules.toml: line 1: there is no such key: `rules`");
        assert_eq!(fault("[rule]\nname = 'x'"), "rules.toml: line 1: a rule begins with [[rule]]");
        assert_eq!(fault("rule = [1]"), "rules.toml: line 1: a rule begins with [[rule]]");
        assert_eq!(fault("rule = 'x'"), "rules.toml: line 1: a rule begins with [[rule]]");
    }

    #[test]
    fn a_host_or_path_that_no_request_has_is_a_mistake() {
        let read = |key: &str, value: &str| {
            let other = if key == "host" { "path = '/'" } else { "host = 'a.test'" };
            Rules::parse(&format!("[[rule]]\nname = 'x'\n{key} = \"{value}\"\n{other}\n"), "rules.toml")
        };
        for bad in ["", "a b", "a:0", "a:x", "http://a", "a/", "*.test", "u@a", "[::1"] {
            assert!(read("host", bad).is_err(), "{bad}");
        }
        for good in ["a", "A.test:1", "[::1]:80", "127.0.0.1"] {
            assert!(read("host", good).is_ok(), "{good}");
        }
        for bad in [
            "", "*", "a", "a/*", "/a*", "/*/a", "/a/*/b", "/a//*", "/a/../b", "//*", "/a?b", "/a#b", "/%61", "/a%2fb",
            "/a;b", "/\u{e9}",
        ] {
            assert!(read("path", bad).is_err(), "{bad}");
        }
        for good in ["/", "/*", "/a", "/a/", "/a/*", "/caf%c3%a9/*", "/a:b"] {
            assert!(read("path", good).is_ok(), "{good}");
        }
        let admitted = "[[rule]]\nname = 'x'\nhost = 'a.test'\npath = '/a%2fb/*'\nadmits = ['%2F']\n";
        assert!(Rules::parse(admitted, "rules.toml").is_err(), "to some it is `/a/b`");
        assert!(Rules::parse("", "rules.toml").is_ok_and(|rules| rules.0.is_empty()));
    }
}

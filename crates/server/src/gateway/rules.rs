//! The file of rules: read, and held against itself. What is wrong is told with file, line and rule.

use std::fmt::Display;
use std::ops::Range;

use axum::http::HeaderValue;
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::demand::Extra;
use tollhouse_domain::membership::Of;
use tollhouse_domain::namespace::{self, NamespaceKind};
use tollhouse_domain::scope::Scope;
use tollhouse_store::applications;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::namespaces::{self, Routed};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::matching::{Allow, Host, Kind, Member, Pattern, Rule, Rules};
use super::path::{Oddities, Path, in_capitals};
use super::question;
use crate::config::Unusable;

impl Rules {
    /// `file`: what it is called in errors.
    pub fn parse(text: &str, file: &str) -> Result<Self, Unusable> {
        let place = Place { text, file };
        let whole = DeTable::parse(text).map_err(|error| place.fault(error.span(), None, error.message()))?;
        let mut rules: Vec<Rule> = Vec::new();
        for (key, value) in whole.get_ref() {
            if key.get_ref() != "rule" {
                return Err(place.fault(Some(key.span()), None, format!("there is no such key: `{}`", key.get_ref())));
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
                    return Err(fault(format!("it can never match, since rule `{name}` in line {line} comes first")));
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
                        found.filter(|found| found.kind == NamespaceKind::Group).map(|group| Of::Group(group.id))
                    }
                    (Kind::Project, Some(Routed::Project(id))) => Some(Of::Project(id)),
                    _ => None,
                };
                if member.of.is_none() {
                    tracing::warn!(rule = rule.name, path = member.path, "nothing has this path, so the rule refuses");
                }
            }
            rule.applications.clear();
            for uid in &rule.clients {
                match applications::by_uid(&mut reader, uid).await? {
                    Some(application) => rule.applications.push(application.id),
                    None => tracing::warn!(rule = rule.name, client_id = uid, "there is no such application"),
                }
            }
        }
        Ok(self)
    }
}

/// Where we are in the file.
#[derive(Clone, Copy)]
struct Place<'t> {
    text: &'t str,
    file: &'t str,
}

impl<'t> Place<'t> {
    fn line(self, span: &Range<usize>) -> usize {
        1 + self.text.get(..span.start).unwrap_or_default().matches('\n').count()
    }

    fn fault(self, span: Option<Range<usize>>, rule: Option<&str>, text: impl Display) -> Unusable {
        let line = self.line(&span.unwrap_or_default());
        let rule = rule.map(|name| format!("rule `{name}`: ")).unwrap_or_default();
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
    place: Place<'t>,
    /// Its name, as far as it has one.
    rule: Option<&'f str>,
    whole: Range<usize>,
    fields: &'f DeTable<'t>,
}

impl<'t> Fields<'_, 't> {
    fn read(&self) -> Result<Rule, Unusable> {
        if let Some((key, _)) = self.fields.iter().find(|(key, _)| !KEYS.contains(&key.get_ref().as_ref())) {
            return Err(self.fault(key.span(), format!("there is no such key: `{}`", key.get_ref())));
        }
        let name = self.one("name", name)?.ok_or_else(|| self.missing("name"))?;
        let admits =
            self.any("admits", |word| Oddities::named(word).ok_or("this must be `%2f`, `;`, `%3f` or `%23`"))?;
        let admits = admits.into_iter().fold(Oddities::default(), Oddities::and);
        let rule = Rule {
            label: HeaderValue::try_from(name.as_str()).map_err(|_| self.missing("name"))?,
            name,
            line: self.place.line(&self.whole),
            hosts: self.some("host", host)?,
            paths: self.some("path", |text| pattern(text, admits))?,
            methods: self.any("method", |word| question::method(word).ok_or("this must be a method, in capitals"))?,
            allow: self.one("allow", allow)?.unwrap_or(Allow::SignedIn),
            scopes: self.any("scopes", scope)?,
            member: self.member()?,
            clients: self.any("applications", client_id)?,
            applications: Vec::new(),
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
            (None, None) => return Err(self.fault_at("level", "this says nothing without `group` or `project`")),
            (Some(_), Some(_)) => return Err(self.fault_at("project", "a rule has `group` or `project`, not both")),
        };
        Ok(Some(Member { kind, path, level: level.unwrap_or(AccessLevel::Guest), of: None }))
    }

    /// What one key says must not be idle because of another.
    fn contradictions(&self, rule: &Rule) -> Result<(), Unusable> {
        let idle: &[&str] = match rule.allow {
            Allow::Anyone => &["scopes", "group", "project", "applications"],
            Allow::Administrator => &["group", "project", "applications"],
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
        Some((name, digits)) if !digits.ends_with(']') => (name, Some(question::port(digits).ok_or(NO_HOST)?)),
        _ => (text, None),
    };
    Ok(Host { name: question::host_name(name).ok_or(NO_HOST)?.into_owned(), port })
}

/// What no request can have, or what only a rule that admits it can let in, is a mistake.
fn pattern(text: &str, admits: Oddities) -> Read<Pattern> {
    let (text, below) = match text.strip_suffix("/*") {
        Some(above) => (above, true),
        None => (text, false),
    };
    if text.contains('*') {
        return Err("`*` stands at the end alone, after a `/`");
    }
    if below && text.is_empty() {
        return Ok(Pattern { decoded: String::new(), encoded: String::new(), below });
    }
    let path = Path::read(text).map_err(|_| "no request has this path, as far as requests are judged")?;
    if below && text.ends_with('/') {
        return Err("no request has this path, as far as requests are judged");
    }
    if !path.oddities.is_within(admits) {
        return Err("it holds what the rule does not admit");
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
        Some(Scope::Openid) => Err("`openid` opens nothing"),
        Some(scope) => Ok(Extra::any(scope)),
        None => Err("there is no such scope"),
    }
}

fn level(word: &str) -> Read<AccessLevel> {
    let known = AccessLevel::parse(word).filter(|level| *level >= AccessLevel::Guest);
    known.ok_or("this must be `guest`, `planner`, `reporter`, `developer`, `maintainer` or `owner`")
}

fn full_path(text: &str) -> Read<String> {
    let known = text.split('/').all(namespace::valid_path);
    if known { Ok(text.to_ascii_lowercase()) } else { Err("this is no full path, such as `harbour/pilots`") }
}

fn client_id(text: &str) -> Read<String> {
    if text.is_empty() { Err("a client id is missing") } else { Ok(text.to_owned()) }
}

fn preflight(word: &str) -> Read<bool> {
    if word == "pass" { Ok(true) } else { Err("this must be `pass`") }
}

const NO_HOST: &str = "this is no host, such as `api.example.test` or `api.example.test:8443`";

const KEYS: [&str; 13] = [
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
    "query_credentials",
    "preflight",
    "admits",
];

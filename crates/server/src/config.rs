//! Settings: flags over environment (`TOLLHOUSE_*`) over `tollhouse.toml` over `default.toml`, where each one is
//! explained, once. A key that nobody knows is an error that names the key and where it stands.

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use tollhouse_domain::pkce::Strictness;
use tollhouse_domain::redirect::Matching;
use tollhouse_domain::text::printable;
use tollhouse_domain::user::is_email;
use toml::{Table, Value};

use crate::file_access::check_file;
use crate::gateway::identity::Prefix;
use crate::gateway::question::Dialect;
use crate::network::Network;

mod log_level;

/// The reference of all settings, as `tollhouse config --print-default` prints it.
pub const DEFAULT: &str = include_str!("default.toml");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database: String,
    pub external_url: String,
    pub external_hosts: Vec<String>,
    pub insecure_http: bool,
    pub demo_data: bool,
    pub root_email: String,
    pub secret_key_file: PathBuf,
    pub keys: Keys,
    pub log: Log,
    pub accounts: Accounts,
    pub sessions: Sessions,
    pub passwords: Passwords,
    pub tokens: Tokens,
    pub oauth: Oauth,
    pub rotation: Rotation,
    pub ledger: Ledger,
    pub proxies: Proxies,
    pub limits: Limits,
    pub storage: Storage,
    pub audit: Audit,
    pub gateway: Gateway,
    pub metrics: Metrics,
    pub compat: Compat,
    /// Keys that were given and are no longer used.
    #[serde(skip)]
    pub retired: Vec<&'static Retired>,
}

macro_rules! sections {
    ($($name:ident { $($field:ident: $ty:ty),+ $(,)? })+) => {$(
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $(pub $field: $ty),+ }
    )+};
}

sections! {
    Log { format: LogFormat, level: String }
    Accounts { confirmation_required: bool }
    Sessions { lifetime: Span, longest: Span, from_sign_in: bool, per_user: u32 }
    Passwords { attempts: u32, lock_for: Span }
    Tokens { require_expiry: bool, use_interval: Span }
    Oauth {
        access_token_lifetime: Span, refresh_idle: Span, id_token_lifetime: Span, password_grant: bool,
        ropc_without_client_credentials: bool, disable_admin_oauth_scopes: bool,
    }
    Rotation { window: Span, settle: Span, memory: Span }
    Ledger { entries: usize }
    Proxies { trusted: Vec<Network>, header: Name }
    Limits {
        head: Size, target: Size, body: Size, bodies: Size, bodies_per_address: Size, head_time: Span,
        body_time: Span, connections: usize, connections_per_address: usize, sign_in_failures: u32, drain: Span,
    }
    Storage { reserve: Size }
    Audit { keep: Span }
    Gateway { rules: PathBuf, peers: Vec<Network>, dialect: Dialect, prefix: Prefix }
    Metrics { listen: Listen }
    Keys { at_rest: AtRest }
    Compat {
        all: Twin, rotation: Twin, lockout: Twin, links: Twin, cookie: Twin, password_grant: Twin, query_secrets: Twin,
        pkce: Twin, redirect_uri: Twin, admin_scopes: Twin, gl_auth_type: Twin,
        iss: Twin,
    }
}

impl Sessions {
    /// `None`: what is used goes on.
    pub fn longest(&self) -> Option<Duration> {
        self.longest.unless_zero()
    }

    /// How long a session lasts that is not used after sign-in.
    pub fn first_lifetime(&self) -> Duration {
        self.longest().map_or(self.lifetime.0, |longest| self.lifetime.0.min(longest))
    }
}

impl Oauth {
    /// `None`: refresh tokens do not end by lying idle.
    pub fn idle(&self) -> Option<Duration> {
        self.refresh_idle.unless_zero()
    }
}

impl Log {
    /// What the filter of the log is made of.
    pub fn directives(&self) -> String {
        log_level::complete(&self.level)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

/// How keys stand in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRest {
    Sealed,
    Open,
}

/// Whether we behave as ourselves or as GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    Tollhouse,
    Gitlab,
}

impl Twin {
    pub fn is_gitlab(self) -> bool {
        self == Self::Gitlab
    }
}

/// A setting that an earlier version had. It is taken, so that its file still starts a server, and warned of.
#[derive(Debug, PartialEq, Eq)]
pub struct Retired {
    /// `section.key`
    pub key: &'static str,
    /// What took its place, as a sentence.
    pub instead: &'static str,
}

const RETIRED: &[Retired] =
    &[Retired { key: "metrics.allow", instead: "metrics.listen gives the numbers a listener of their own" }];

/// `ADDRESS:PORT`, or nothing where nothing listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let no = || D::Error::custom("this must be an address and a port, such as 127.0.0.1:9180, or empty");
        text.parse().map(|address| Self(Some(address))).map_err(|_| no())
    }
}

impl Compat {
    pub fn redirect_matching(&self) -> Matching {
        if self.redirect_uri.is_gitlab() { Matching::Parsed } else { Matching::Exact }
    }

    pub fn pkce_strictness(&self) -> Strictness {
        if self.pkce.is_gitlab() { Strictness::Lax } else { Strictness::Rfc }
    }
}

/// The name of a header.
#[derive(Clone, Debug)]
pub struct Name(pub HeaderName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|_| D::Error::custom("this is not the name of a header"))
    }
}

/// A time such as `120s`, `10m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// For a bound that `0s` switches off.
    fn unless_zero(self) -> Option<Duration> {
        Some(self.0).filter(|span| !span.is_zero())
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const UNITS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let text = String::deserialize(from)?;
        let seconds = scaled(&text, UNITS).ok_or_else(|| D::Error::custom("a time is a number and s, m, h or d"))?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

/// An amount of bytes such as `64KiB`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const UNITS: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let text = String::deserialize(from)?;
        let bytes =
            scaled(&text, UNITS).ok_or_else(|| D::Error::custom("a size is a number and B, KiB, MiB or GiB"))?;
        Ok(Self(bytes))
    }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, scale) = units.iter().find_map(|(unit, scale)| Some((text.strip_suffix(unit)?, scale)))?;
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// Settings that cannot be used: one line that says what and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Unusable(pub String);

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unusable {}

impl Settings {
    /// `file`: the one named by `--config`, which must exist; else `tollhouse.toml` here, which may.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, Unusable> {
        let mut layers = Layers::default();
        let (path, required) = match file {
            Some(path) => (path, true),
            None => (Path::new("tollhouse.toml"), false),
        };
        match std::fs::read_to_string(path) {
            Ok(text) => layers.merge(&text, path)?,
            Err(error) if !required && error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Unusable(format!("{}: {error}", path.display()))),
        }
        for (name, value) in environment {
            layers.read_environment(&name, &value)?;
        }
        for (key, value) in flags {
            layers.settings.insert((*key).to_owned(), Value::String(value.clone()));
        }
        Self::of(layers)
    }

    /// The defaults with these lines of TOML over them.
    pub fn with(text: &str) -> Result<Self, Unusable> {
        let mut layers = Layers::default();
        layers.merge(text, Path::new("settings"))?;
        Self::of(layers)
    }

    fn of(layers: Layers) -> Result<Self, Unusable> {
        let mut settings: Self = Value::Table(layers.settings)
            .try_into()
            .map_err(|error: toml::de::Error| Unusable(one_line(&error.to_string())))?;
        settings.retired = layers.retired;
        if settings.compat.all.is_gitlab() {
            let compat = &mut settings.compat;
            for switch in [
                &mut compat.rotation,
                &mut compat.lockout,
                &mut compat.links,
                &mut compat.cookie,
                &mut compat.password_grant,
                &mut compat.query_secrets,
                &mut compat.pkce,
                &mut compat.redirect_uri,
                &mut compat.admin_scopes,
                &mut compat.gl_auth_type,
                &mut compat.iss,
            ] {
                *switch = Twin::Gitlab;
            }
        }
        // A twin offers the grant, unless somebody said that this one does not.
        if settings.compat.password_grant.is_gitlab() && !layers.given.contains("oauth.password_grant") {
            settings.oauth.password_grant = true;
        }
        if !settings.root_email.is_empty() && !is_email(&settings.root_email) {
            let given = printable(&settings.root_email);
            return Err(Unusable(format!("root_email: `{given}` is no address, such as root@example.org")));
        }
        log_level::check(&settings.log.level).map_err(Unusable)?;
        if settings.sessions.lifetime.0 < Duration::from_secs(60) {
            return Err(Unusable("sessions.lifetime must be at least 60s".into()));
        }
        if settings.sessions.longest().is_some_and(|longest| longest < Duration::from_secs(60)) {
            return Err(Unusable("sessions.longest must be at least 60s, or 0s for no bound".into()));
        }
        if settings.passwords.attempts == 0 || settings.sessions.per_user == 0 {
            return Err(Unusable("passwords.attempts and sessions.per_user must be at least 1".into()));
        }
        if settings.oauth.access_token_lifetime.0.is_zero() || settings.oauth.id_token_lifetime.0.is_zero() {
            return Err(Unusable("oauth.access_token_lifetime and oauth.id_token_lifetime must be at least 1s".into()));
        }
        let rotation = &settings.rotation;
        if rotation.memory.0 < rotation.window.0 + rotation.settle.0 {
            return Err(Unusable(
                "rotation.memory must not be shorter than rotation.window and rotation.settle".into(),
            ));
        }
        let limits = &settings.limits;
        if limits.bodies.0.min(limits.bodies_per_address.0) < limits.body.0 {
            return Err(Unusable("limits.bodies and limits.bodies_per_address must be at least limits.body".into()));
        }
        // Clients refresh when their access token ends, and a repeat of that must find its successor.
        let least = settings.oauth.access_token_lifetime.0.max(rotation.window.0 + rotation.settle.0);
        if settings.oauth.idle().is_some_and(|idle| idle <= least) {
            return Err(Unusable(
                "oauth.refresh_idle must be longer than oauth.access_token_lifetime, and than rotation.window and \
                 rotation.settle together, or 0s for no bound"
                    .into(),
            ));
        }
        if settings.database.is_empty() {
            settings.database = format!("sqlite:{}", settings.data_dir.join("tollhouse.db").display());
        }
        Ok(settings)
    }
}

fn defaults() -> Table {
    DEFAULT.parse().expect("the default settings are TOML; a test reads them")
}

/// What is known so far, from the defaults on.
struct Layers {
    settings: Table,
    /// `section.key` of those that stand in a file or in the environment.
    given: BTreeSet<String>,
    retired: Vec<&'static Retired>,
}

impl Default for Layers {
    fn default() -> Self {
        Self { settings: defaults(), given: BTreeSet::new(), retired: Vec::new() }
    }
}

impl Layers {
    /// Lays a file over what is known, key by key.
    fn merge(&mut self, text: &str, path: &Path) -> Result<(), Unusable> {
        let at = path.display();
        // Never the line itself: it may hold the password of the database.
        let file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            Unusable(format!("{at}: line {line}: {}", one_line(error.message())))
        })?;
        for (key, value) in file {
            match (self.settings.get_mut(&key), value) {
                (Some(Value::Table(section)), Value::Table(values)) => {
                    for (name, value) in values {
                        if !retire(&mut self.retired, &key, &name) {
                            set(section, &name, value, &format!("{at}: {key}.{name}"))?;
                            self.given.insert(format!("{key}.{name}"));
                        }
                    }
                }
                (_, value) => set(&mut self.settings, &key, value, &format!("{at}: {key}"))?,
            }
        }
        Ok(())
    }

    fn read_environment(&mut self, name: &str, value: &str) -> Result<(), Unusable> {
        let Some(key) = name.strip_prefix("TOLLHOUSE_") else { return Ok(()) };
        if NOT_SETTINGS.contains(&name) {
            return Ok(());
        }
        let key = key.to_ascii_lowercase();
        let typed = |known: Option<&Value>| match known {
            Some(Value::Boolean(_)) => value.parse().map(Value::Boolean).ok(),
            Some(Value::Integer(_)) => value.parse().map(Value::Integer).ok(),
            Some(Value::Array(_)) => {
                let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
                Some(Value::Array(words.map(|word| Value::String(word.to_owned())).collect()))
            }
            _ => Some(Value::String(value.to_owned())),
        };
        let bad = || Unusable(format!("{name}: the value does not fit"));
        for (section, known) in self.settings.iter_mut() {
            if let (Value::Table(known), Some(rest)) = (known, key.strip_prefix(&format!("{section}_"))) {
                if retire(&mut self.retired, section, rest) {
                    return Ok(());
                }
                let value = typed(known.get(rest)).ok_or_else(bad)?;
                set(known, rest, value, name)?;
                self.given.insert(format!("{section}.{rest}"));
                return Ok(());
            }
        }
        let value = typed(self.settings.get(&key)).ok_or_else(bad)?;
        set(&mut self.settings, &key, value, name)
    }
}

/// Whether that setting is one that an earlier version had. Each is noted once.
fn retire(retired: &mut Vec<&'static Retired>, section: &str, key: &str) -> bool {
    let known = RETIRED.iter().find(|known| known.key.split_once('.') == Some((section, key)));
    if let Some(known) = known
        && !retired.contains(&known)
    {
        retired.push(known);
    }
    known.is_some()
}

/// `KEY_file` names a file that holds the value, for secrets.
fn set(table: &mut Table, key: &str, value: Value, place: &str) -> Result<(), Unusable> {
    if let (Some(of), Value::String(path)) = (key.strip_suffix("_file"), &value)
        && table.get(of).is_some_and(Value::is_str)
    {
        check_file(Path::new(path)).map_err(|fault| Unusable(format!("{place}: {fault}")))?;
        let text = std::fs::read_to_string(path).map_err(|error| Unusable(format!("{place}: {path}: {error}")))?;
        table.insert(of.to_owned(), Value::String(text.trim_end().to_owned()));
        return Ok(());
    }
    match table.get(key) {
        None => Err(Unusable(format!("{place}: there is no such setting"))),
        Some(known) if known.type_str() != value.type_str() => {
            Err(Unusable(format!("{place}: this must be a {}, not a {}", known.type_str(), value.type_str())))
        }
        Some(_) => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
    }
}

pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Read elsewhere: secrets that are no settings, and where the settings are.
const NOT_SETTINGS: &[&str] = &[
    "TOLLHOUSE_ROOT_PASSWORD",
    "TOLLHOUSE_PASSWORD",
    "TOLLHOUSE_CONFIG",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_MUTANT",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_FAULT",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Unusable> {
        let mut layers = Layers::default();
        layers.merge(file, Path::new("x.toml"))?;
        for (name, value) in environment {
            layers.read_environment(name, value)?;
        }
        Settings::of(layers)
    }

    #[test]
    fn the_defaults_are_what_the_documents_say() {
        let settings = load("", &[]).expect("defaults");
        assert_eq!(settings.rotation.window, Span(Duration::from_secs(120)));
        assert_eq!(settings.ledger.entries, 200_000);
        assert_eq!((settings.limits.head, settings.limits.body), (Size(65_536), Size(1 << 20)));
        assert_eq!(settings.database, "sqlite:tollhouse-data/tollhouse.db");
    }

    #[test]
    fn the_environment_stands_over_the_file() {
        let settings = load(
            "external_hosts = ['a.test']\n[compat]\nrotation = 'gitlab'\n",
            &[
                ("TOLLHOUSE_COMPAT_ROTATION", "tollhouse"),
                ("TOLLHOUSE_EXTERNAL_HOSTS", "b.test, c.test"),
                ("HOME", "/"),
            ],
        )
        .expect("settings");
        assert!(!settings.compat.rotation.is_gitlab());
        assert_eq!(settings.external_hosts, ["b.test", "c.test"]);
        let all = load("compat.all = 'gitlab'", &[]).expect("settings");
        assert!(all.compat.lockout.is_gitlab() && all.compat.links.is_gitlab());
    }

    #[test]
    fn the_password_grant_is_off_but_for_a_twin_and_what_is_set_counts() {
        for (file, environment, on) in [
            ("", &[][..], false),
            ("oauth.password_grant = true", &[], true),
            ("oauth.password_grant = false", &[], false),
            ("compat.password_grant = 'gitlab'", &[], true),
            ("compat.all = 'gitlab'", &[], true),
            ("compat.all = 'gitlab'\noauth.password_grant = false", &[], false),
            ("compat.password_grant = 'gitlab'\noauth.password_grant = false", &[], false),
            ("compat.all = 'gitlab'", &[("TOLLHOUSE_OAUTH_PASSWORD_GRANT", "false")], false),
            ("oauth.password_grant = false", &[("TOLLHOUSE_OAUTH_PASSWORD_GRANT", "true")], true),
            ("compat.rotation = 'gitlab'", &[], false),
        ] {
            let settings = load(file, environment).expect(file);
            assert_eq!(settings.oauth.password_grant, on, "{file} {environment:?}");
        }
        let printed = load(DEFAULT, &[]).expect("the defaults");
        assert!(!printed.oauth.password_grant);
    }

    #[test]
    fn bounds_in_time_can_be_switched_off_and_must_leave_room() {
        let settings = load("", &[]).expect("defaults");
        assert_eq!(settings.sessions.longest(), Some(Duration::from_secs(90 * 86_400)));
        assert_eq!((settings.oauth.idle(), settings.sessions.first_lifetime()), (None, settings.sessions.lifetime.0));
        assert_eq!(load("sessions.longest = '0s'", &[]).expect("settings").sessions.longest(), None);
        for (good, bad, named) in [
            ("sessions.longest = '60s'", "sessions.longest = '59s'", "sessions.longest"),
            ("oauth.refresh_idle = '7201s'", "oauth.refresh_idle = '2h'", "oauth.access_token_lifetime"),
            (
                "oauth.refresh_idle = '241s'\noauth.access_token_lifetime = '1m'",
                "oauth.refresh_idle = '4m'\noauth.access_token_lifetime = '1m'",
                "rotation.window",
            ),
        ] {
            load(good, &[]).expect(good);
            let error = load(bad, &[]).expect_err(bad).0;
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_setting_that_has_gone_is_taken_and_noted_once() {
        for (file, environment) in [
            ("[metrics]\nallow = ['10.0.0.0/8']", None),
            ("metrics.allow = 7", None),
            ("", Some(("TOLLHOUSE_METRICS_ALLOW", "127.0.0.1"))),
            ("metrics.allow = []", Some(("TOLLHOUSE_METRICS_ALLOW", ""))),
        ] {
            let settings = load(file, environment.as_slice()).expect("settings");
            assert_eq!(settings.retired.iter().map(|known| known.key).collect::<Vec<_>>(), ["metrics.allow"], "{file}");
            assert_eq!(settings.metrics.listen, Listen(None));
        }
        let new = load("metrics.listen = '[::1]:9180'", &[]).expect("settings");
        assert!(new.retired.is_empty() && new.metrics.listen.0.is_some());
        for bad in ["9180", "localhost:9180", ":9180", "127.0.0.1", " "] {
            let error = load(&format!("metrics.listen = '{bad}'"), &[]).expect_err(bad).0;
            assert!(error.contains("an address and a port") && error.contains("listen"), "{error}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let error = |file: &str, environment: &[(&str, &str)]| load(file, environment).expect_err(file).0;
        assert_eq!(error("[compat]\nrotate = 'x'", &[]), "x.toml: compat.rotate: there is no such setting");
        assert_eq!(error("nope = 1", &[]), "x.toml: nope: there is no such setting");
        assert_eq!(error("listen = 1", &[]), "x.toml: listen: this must be a string, not a integer");
        assert_eq!(error("", &[("TOLLHOUSE_NOPE", "1")]), "TOLLHOUSE_NOPE: there is no such setting");
        assert_eq!(
            error("", &[("TOLLHOUSE_INSECURE_HTTP", "perhaps")]),
            "TOLLHOUSE_INSECURE_HTTP: the value does not fit"
        );
        let broken = error("# one\ndatabase = \"postgres://u:hunter2@h/db", &[]);
        assert!(broken.starts_with("x.toml: line 2: ") && !broken.contains("hunter2"), "{broken}");
        let unit = error("[rotation]\nwindow = '2 weeks'", &[]);
        assert!(unit.contains("a time is a number and s, m, h or d") && unit.contains("window"), "{unit}");
    }
}

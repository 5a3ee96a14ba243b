//! Settings: flags over environment (`TOLLHOUSE_*`) over `tollhouse.toml` over `default.toml`, where each one is
//! explained, once. A key that nobody knows is an error that names the key and where it stands.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use serde::Deserialize;
use serde::de::Deserializer;
use tollhouse_domain::text::printable;
use toml::{Table, Value};

use crate::gateway::identity::Prefix;
use crate::gateway::question::Dialect;
use crate::network::Network;

/// The reference of all settings, as `tollhouse config --print-default` prints it.
pub const DEFAULT: &str = include_str!("default.toml");

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
    pub database: String,
    pub external_url: String,
    pub external_hosts: Vec<String>,
    pub insecure_http: bool,
    pub demo_data: bool,
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
    /// The file that was read, if there was one.
    #[serde(skip)]
    pub file: Option<PathBuf>,
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
    Sessions { lifetime: Span, from_sign_in: bool, per_user: u32 }
    Passwords { attempts: u32, lock_for: Span }
    Tokens { require_expiry: bool, use_interval: Span }
    Oauth {
        access_token_lifetime: Span, id_token_lifetime: Span, password_grant: bool,
        ropc_without_client_credentials: bool, disable_admin_oauth_scopes: bool,
    }
    Rotation { window: Span, settle: Span, memory: Span }
    Ledger { entries: usize }
    Proxies { trusted: Vec<Network>, header: Name }
    Limits {
        head: Size, target: Size, body: Size, head_time: Span, body_time: Span, connections: usize,
        connections_per_address: usize, drain: Span,
    }
    Storage { reserve: Size }
    Audit { keep: Span }
    Gateway { rules: PathBuf, peers: Vec<Network>, dialect: Dialect, prefix: Prefix }
    Metrics { allow: Vec<Network> }
    Keys { at_rest: AtRest }
    Compat {
        all: Twin, rotation: Twin, lockout: Twin, links: Twin, cookie: Twin, password_grant: Twin, query_secrets: Twin,
        pkce: Twin, admin_scopes: Twin, gl_auth_type: Twin,
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

/// The name of a header.
#[derive(Clone, Debug)]
pub struct Name(pub HeaderName);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map(Self).map_err(|_| fault("is not the name of a header, such as X-Forwarded-For", &text))
    }
}

/// A time such as `120s`, `10m`, `12h`, `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const UNITS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let text = String::deserialize(from)?;
        let no = || fault::<D::Error>("is not a time: write a number and s, m, h or d, such as 120s or 7d", &text);
        let seconds = scaled(&text, UNITS).ok_or_else(no)?;
        Ok(Self(Duration::from_secs(seconds)))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.0.as_secs())
    }
}

/// An amount of bytes such as `64KiB`, `1MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const UNITS: &[(&str, u64)] = &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
        let text = String::deserialize(from)?;
        let no =
            || fault::<D::Error>("is not a size: write a number and B, KiB, MiB or GiB, such as 64KiB or 1MiB", &text);
        let bytes = scaled(&text, UNITS).ok_or_else(no)?;
        Ok(Self(bytes))
    }
}

/// What is wrong with the value of a setting that is no secret.
fn fault<E: serde::de::Error>(what: &str, text: &str) -> E {
    E::custom(format!("\"{}\" {what}", printable(text)))
}

/// An address and a port. Names are not looked up.
pub fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| NO_ADDRESS.to_owned())
}

const NO_ADDRESS: &str = "is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up";

fn listen<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    address(&text).map_err(|what| fault(&what, &text))
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
    /// `file`: the one named by `--config` or `TOLLHOUSE_CONFIG`, which must exist; else the first that exists of
    /// [`Self::usual_files`], if any does.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[(&str, String)],
    ) -> Result<Self, Unusable> {
        let mut settings = defaults();
        let candidates = file.map_or_else(|| Self::usual_files().to_vec(), |file| vec![file.to_owned()]);
        let mut read = None;
        for path in candidates {
            if path.as_os_str().is_empty() {
                return Err(Unusable("--config, or TOLLHOUSE_CONFIG, is empty: name a file, or leave it out".into()));
            }
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    merge(&mut settings, &text, &path)?;
                    read = Some(path);
                    break;
                }
                Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
                // One that is there and cannot be read is not passed over: the next one may name another database.
                Err(error) => return Err(Unusable(format!("{}: {error}", path.display()))),
            }
        }
        for (name, value) in environment {
            from_environment(&mut settings, &name, &value)?;
        }
        for (key, value) in flags {
            settings.insert((*key).to_owned(), Value::String(value.clone()));
        }
        Ok(Self { file: read, ..Self::from_table(settings)? })
    }

    /// Where settings are looked for if nothing names a file: here, then for the whole machine.
    pub fn usual_files() -> [PathBuf; 2] {
        #[cfg(feature = "faults")]
        if let Some(of_the_machine) = std::env::var_os("TOLLHOUSE_SYSTEM_CONFIG") {
            return ["tollhouse.toml".into(), of_the_machine.into()];
        }
        ["tollhouse.toml".into(), "/etc/tollhouse/tollhouse.toml".into()]
    }

    /// The defaults with these lines of TOML over them.
    pub fn with(text: &str) -> Result<Self, Unusable> {
        let mut settings = defaults();
        merge(&mut settings, text, Path::new("settings"))?;
        Self::from_table(settings)
    }

    fn from_table(table: Table) -> Result<Self, Unusable> {
        let mut settings: Self = Value::Table(table).try_into().map_err(|error| misfit(&error))?;
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
                &mut compat.admin_scopes,
                &mut compat.gl_auth_type,
            ] {
                *switch = Twin::Gitlab;
            }
        }
        if settings.sessions.lifetime.0 < Duration::from_secs(60) {
            let given = settings.sessions.lifetime;
            return Err(Unusable(format!("sessions.lifetime: {given} is too short; write at least 60s, such as 7d")));
        }
        let counts =
            [("passwords.attempts", settings.passwords.attempts), ("sessions.per_user", settings.sessions.per_user)];
        for (key, count) in counts {
            if count == 0 {
                return Err(Unusable(format!("{key}: 0 is too few; write at least 1, such as {}", usual(key))));
            }
        }
        let oauth = &settings.oauth;
        let lifetimes = [
            ("oauth.access_token_lifetime", oauth.access_token_lifetime),
            ("oauth.id_token_lifetime", oauth.id_token_lifetime),
        ];
        for (key, lifetime) in lifetimes {
            if lifetime.0.is_zero() {
                let usual = usual(key);
                return Err(Unusable(format!("{key}: {lifetime} is too short; write at least 1s, such as {usual}")));
            }
        }
        let rotation = &settings.rotation;
        let least = Span(rotation.window.0 + rotation.settle.0);
        if rotation.memory.0 < least.0 {
            return Err(Unusable(format!(
                "rotation.memory: {} is too short; write at least {least}, which is rotation.window and rotation.settle \
                 together, such as 7d",
                rotation.memory
            )));
        }
        if settings.database.is_empty() {
            settings.database = format!("sqlite:{}", settings.data_dir.join("tollhouse.db").display());
        }
        Ok(settings)
    }
}

/// What the parser says of a value, with the name of the setting before it and the default behind it, as an example.
fn misfit(error: &toml::de::Error) -> Unusable {
    let text = error.to_string();
    let (message, key) = text.trim_end().rsplit_once("\nin `").unwrap_or((text.as_str(), ""));
    let (message, key) = (one_line(message), key.trim_end_matches('`'));
    // The default of a list is one of the whole list.
    let usual = usual(key.split('[').next().unwrap_or_default());
    Unusable(match (key, usual.as_str()) {
        ("", _) => message,
        (_, "" | "\"\"" | "[]") => format!("{key}: {message}"),
        _ => format!("{key}: {message}; the default is {usual}"),
    })
}

/// The default of a setting as TOML writes it; nothing: there is no such setting.
fn usual(key: &str) -> String {
    let defaults = defaults();
    let found = match key.split_once('.') {
        Some((section, name)) => defaults.get(section).and_then(|section| section.get(name)),
        None => defaults.get(key),
    };
    found.map(spelt).unwrap_or_default()
}

fn defaults() -> Table {
    DEFAULT.parse().expect("the default settings are TOML; a test reads them")
}

/// Lays a file over what is known so far, key by key.
fn merge(settings: &mut Table, text: &str, path: &Path) -> Result<(), Unusable> {
    let at = path.display();
    // Never the line itself: it may hold the password of the database.
    let file: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
        Unusable(format!("{at}: line {line}: {}", one_line(error.message())))
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let from_a_file = file.contains_key("database_file");
    for (key, value) in file {
        match (settings.get_mut(&key), value) {
            (Some(Value::Table(section)), Value::Table(values)) => {
                for (name, value) in values {
                    let dotted = format!("{key}.{name}");
                    set(section, &name, anchored(&dotted, value, folder), &format!("{at}: {dotted}"))?;
                }
            }
            (_, value) => set(settings, &key, anchored(&key, value, folder), &format!("{at}: {key}"))?,
        }
    }
    if from_a_file && let Some(url) = settings.get_mut("database") {
        *url = anchored("database", url.clone(), folder);
    }
    Ok(())
}

/// Settings that are paths, besides every `KEY_file`.
const PATHS: &[&str] = &["data_dir", "gateway.rules"];

/// A path in a settings file is relative to the folder of that file, so that it means the same to a server and to a
/// command, wherever they are started.
fn anchored(key: &str, value: Value, folder: &Path) -> Value {
    let Value::String(text) = &value else { return value };
    let join = |path: &str| folder.join(path).to_str().map(str::to_owned);
    let anchored = match text.strip_prefix("sqlite:") {
        _ if text.is_empty() => None,
        Some(path) if key == "database" => {
            let path = path.strip_prefix("//").unwrap_or(path);
            join(path).filter(|_| !path.is_empty() && !path.starts_with(':')).map(|path| format!("sqlite:{path}"))
        }
        _ if PATHS.contains(&key) || key.ends_with("_file") => join(text),
        _ => None,
    };
    anchored.map_or(value, Value::String)
}

/// `KEY_file` names a file that holds the value, for secrets.
fn set(table: &mut Table, key: &str, value: Value, place: &str) -> Result<(), Unusable> {
    if let (Some(of), Value::String(path)) = (key.strip_suffix("_file"), &value)
        && table.get(of).is_some_and(Value::is_str)
    {
        let text = std::fs::read_to_string(path).map_err(|error| Unusable(format!("{place}: {path}: {error}")))?;
        table.insert(of.to_owned(), Value::String(text.trim_end().to_owned()));
        return Ok(());
    }
    match table.get(key) {
        None => Err(Unusable(format!("{place}: there is no such setting"))),
        Some(known) if known.type_str() != value.type_str() => {
            let (wanted, given) = (kind(known), kind(&value));
            Err(Unusable(format!("{place}: {}this must be {wanted}{}, not {given}", shown(&value), example(known))))
        }
        Some(_) => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
    }
}

/// A type of TOML in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// As a file of settings spells it, on one line. A section is left out.
fn spelt(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", printable(text)),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(known) => known.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(spelt).collect::<Vec<_>>().join(", ")),
        Value::Table(_) => String::new(),
    }
}

/// The value itself, if it is short enough to be of use. It is of the wrong type for every setting that is a secret.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => String::new(),
        value => Some(spelt(value)).filter(|text| text.len() <= 64).map_or_else(String::new, |text| text + ": "),
    }
}

/// The default, as an example of what fits.
fn example(known: &Value) -> String {
    match known {
        Value::String(text) if text.is_empty() => String::new(),
        Value::Array(list) if list.is_empty() => r#", such as ["one", "two"]"#.to_owned(),
        Value::Table(_) => String::new(),
        known => format!(", such as {}", spelt(known)),
    }
}

fn from_environment(settings: &mut Table, name: &str, value: &str) -> Result<(), Unusable> {
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
    // Only what is true or false, or a number, has a type here, and no secret is.
    let bad = |known: Option<&Value>| {
        let (wanted, such) = known.map_or(("text", String::new()), |known| (kind(known), example(known)));
        Unusable(format!("{name}: \"{}\" does not fit: this must be {wanted}{such}", printable(value)))
    };
    for (section, known) in settings.iter_mut() {
        if let (Value::Table(known), Some(rest)) = (known, key.strip_prefix(&format!("{section}_"))) {
            let value = typed(known.get(rest)).ok_or_else(|| bad(known.get(rest)))?;
            return set(known, rest, value, name);
        }
    }
    let value = typed(settings.get(&key)).ok_or_else(|| bad(settings.get(&key)))?;
    set(settings, &key, value, name)
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
    #[cfg(feature = "faults")]
    "TOLLHOUSE_SYSTEM_CONFIG",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(file: &str, environment: &[(&str, &str)]) -> Result<Settings, Unusable> {
        let mut settings = defaults();
        merge(&mut settings, file, Path::new("x.toml"))?;
        for (name, value) in environment {
            from_environment(&mut settings, name, value)?;
        }
        Settings::from_table(settings)
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
    fn a_path_in_a_file_is_relative_to_that_file() {
        let read = |path: &str, text: &str| {
            let mut settings = defaults();
            merge(&mut settings, text, Path::new(path)).expect(text);
            Settings::from_table(settings).expect(text)
        };
        let file = "/etc/tollhouse/tollhouse.toml";
        let all = "data_dir = 'data'\nsecret_key_file = 'key'\n[gateway]\nrules = '../rules.toml'\n";
        let settings = read(file, all);
        assert_eq!(settings.data_dir, Path::new("/etc/tollhouse/data"));
        assert_eq!(settings.secret_key_file, Path::new("/etc/tollhouse/key"));
        assert_eq!(settings.gateway.rules, Path::new("/etc/tollhouse/../rules.toml"));
        assert_eq!(settings.database, "sqlite:/etc/tollhouse/data/tollhouse.db");
        for (url, path) in [
            ("sqlite:x.db", "sqlite:/etc/tollhouse/x.db"),
            ("sqlite://x.db", "sqlite:/etc/tollhouse/x.db"),
            ("sqlite:/srv/x.db", "sqlite:/srv/x.db"),
            ("sqlite:///srv/x.db", "sqlite:/srv/x.db"),
            ("sqlite::memory:", "sqlite::memory:"),
            ("postgres://u@h/sqlite:x", "postgres://u@h/sqlite:x"),
        ] {
            assert_eq!(read(file, &format!("database = '{url}'")).database, path, "{url}");
        }
        // What is not in the file is not the file's, and a file here changes nothing.
        assert_eq!(read(file, "").data_dir, Path::new("tollhouse-data"));
        assert_eq!(read(file, "secret_key_file = ''").secret_key_file, Path::new(""));
        assert_eq!(read("tollhouse.toml", all).data_dir, Path::new("data"));
        assert_eq!(read("sub/tollhouse.toml", "data_dir = '/srv'").data_dir, Path::new("/srv"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let error = |file: &str, environment: &[(&str, &str)]| load(file, environment).expect_err(file).0;
        assert_eq!(error("[compat]\nrotate = 'x'", &[]), "x.toml: compat.rotate: there is no such setting");
        assert_eq!(error("nope = 1", &[]), "x.toml: nope: there is no such setting");
        assert_eq!(
            error("listen = 1", &[]),
            "x.toml: listen: 1: this must be text in quotes, such as \"127.0.0.1:8080\", not a whole number"
        );
        assert_eq!(error("", &[("TOLLHOUSE_NOPE", "1")]), "TOLLHOUSE_NOPE: there is no such setting");
        assert_eq!(
            error("", &[("TOLLHOUSE_INSECURE_HTTP", "perhaps")]),
            "TOLLHOUSE_INSECURE_HTTP: \"perhaps\" does not fit: this must be true or false, such as false"
        );
        let broken = error("# one\ndatabase = \"postgres://u:hunter2@h/db", &[]);
        assert!(broken.starts_with("x.toml: line 2: ") && !broken.contains("hunter2"), "{broken}");
    }

    /// Each says the setting, the value, and an example of one that fits.
    #[test]
    fn a_value_that_does_not_fit_is_told_with_an_example() {
        let time = "is not a time: write a number and s, m, h or d, such as 120s or 7d";
        let size = "is not a size: write a number and B, KiB, MiB or GiB, such as 64KiB or 1MiB";
        let address = "is not an address and a port, such as 127.0.0.1:8080 or [::1]:8080; names are not looked up";
        for (file, told) in [
            ("rotation.window = '2 weeks'", format!("rotation.window: \"2 weeks\" {time}; the default is \"120s\"")),
            ("sessions.lifetime = '7'", format!("sessions.lifetime: \"7\" {time}; the default is \"7d\"")),
            ("audit.keep = ''", format!("audit.keep: \"\" {time}; the default is \"365d\"")),
            ("limits.body = '1MB'", format!("limits.body: \"1MB\" {size}; the default is \"1MiB\"")),
            ("listen = 'localhost:0'", format!("listen: \"localhost:0\" {address}; the default is \"127.0.0.1:8080\"")),
            (
                "proxies.header = 'X Y'",
                "proxies.header: \"X Y\" is not the name of a header, such as X-Forwarded-For; the default is \
                 \"X-Forwarded-For\""
                    .to_owned(),
            ),
            (
                "log.format = 'xml'",
                "log.format: unknown variant `xml`, expected `text` or `json`; the default is \"text\"".to_owned(),
            ),
            ("sessions.lifetime = '59s'", "sessions.lifetime: 59s is too short; write at least 60s, such as 7d".to_owned()),
            ("passwords.attempts = 0", "passwords.attempts: 0 is too few; write at least 1, such as 10".to_owned()),
            (
                "oauth.id_token_lifetime = '0s'",
                "oauth.id_token_lifetime: 0s is too short; write at least 1s, such as \"120s\"".to_owned(),
            ),
            (
                "rotation.memory = '3m'",
                "rotation.memory: 180s is too short; write at least 240s, which is rotation.window and rotation.settle \
                 together, such as 7d"
                    .to_owned(),
            ),
            (
                "passwords.attempts = 'ten'",
                "x.toml: passwords.attempts: \"ten\": this must be a whole number, such as 10, not text in quotes".to_owned(),
            ),
            (
                "external_hosts = 'a.test'",
                "x.toml: external_hosts: \"a.test\": this must be a list, such as [\"one\", \"two\"], not text in quotes"
                    .to_owned(),
            ),
        ] {
            assert_eq!(load(file, &[]).expect_err(file).0, told, "{file}");
        }
        for (file, value, example) in [
            ("passwords.attempts = -1", "`-1`", "the default is 10"),
            ("proxies.trusted = ['10.1.2.3/8']", "10.1.2.3/8", "the network is 10.0.0.0/8"),
            ("gateway.peers = ['me']", "`me`", "such as 192.0.2.0/24"),
            ("gateway.prefix = 'X'", "\"X\"", "the default is \"X-Tollhouse-\""),
            ("gateway.dialect = 'nginx'", "`nginx`", "`original`"),
            ("compat.pkce = 'github'", "`github`", "`gitlab`"),
            ("keys.at_rest = 'shut'", "`shut`", "`sealed`"),
        ] {
            let told = load(file, &[]).expect_err(file).0;
            let key = file.split(' ').next().expect("a key");
            assert!(told.starts_with(key) && told.contains(value) && told.contains(example), "{told}");
        }
        let number = load("", &[("TOLLHOUSE_PASSWORDS_ATTEMPTS", "ten")]).expect_err("no number").0;
        assert_eq!(
            number,
            "TOLLHOUSE_PASSWORDS_ATTEMPTS: \"ten\" does not fit: this must be a whole number, such as 10"
        );
    }
}

//! Settings: flags over environment (`TOLLHOUSE_*`) over `tollhouse.toml` over `default.toml`, where each one is
//! explained, once. A key that nobody knows is an error that names the key and where it stands.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::HeaderName;
use serde::Deserialize;
use serde::de::Deserializer;
use tollhouse_domain::pkce::Strictness;
use tollhouse_domain::redirect::Matching;
use tollhouse_domain::text::printable;
use tollhouse_domain::user::is_email;
use toml::Value;

use crate::entity::version::Version;
use crate::network::Network;

use gateway::{Dialect, Prefix};
pub(crate) use layers::one_line;
use layers::{Layers, misfit, placed, usual};

pub mod gateway;
mod layers;
mod log_level;
#[cfg(test)]
mod tests;

/// The reference of all settings, as `tollhouse config --print-default` prints it.
pub const DEFAULT: &str = include_str!("default.toml");

/// The settings in force: defaults, file, environment and flags, the later over the earlier. What each key means, with
/// its unit and its default, is in [`DEFAULT`] and in docs/configuration.md.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the server listens, `ADDRESS:PORT`.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// The folder for what is not in the database.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://...`; it may hold a password.
    pub database: String,
    /// The base of every link, and our own origin: a scheme and a host, perhaps with a port. Empty: http on `listen`.
    pub external_url: String,
    /// More names under which pages may be asked for, each perhaps with a port.
    pub external_hosts: Vec<String>,
    /// Whether http is allowed on an address that others can reach.
    pub insecure_http: bool,
    /// Whether a database that `demo` made may be served.
    pub demo_data: bool,
    /// The address of `root`, used at the first start alone. Empty: none.
    pub root_email: String,
    /// The file with the secret that opens the keys. Empty: beside the SQLite file.
    pub secret_key_file: PathBuf,
    /// Which version of GitLab's API the server answers as.
    pub api: Api,
    /// How keys stand in the database.
    pub keys: Keys,
    /// What is logged, and how.
    pub log: Log,
    /// What an account needs to use the API.
    pub accounts: Accounts,
    /// How long sessions last, and how many a user may have.
    pub sessions: Sessions,
    /// When wrong passwords lock password sign-in.
    pub passwords: Passwords,
    /// Personal access tokens.
    pub tokens: Tokens,
    /// OAuth and OpenID Connect.
    pub oauth: Oauth,
    /// How long a lost answer to a rotation is repaired.
    pub rotation: Rotation,
    /// How much each process remembers.
    #[serde(rename = "ledger")]
    pub cache: CacheSettings,
    /// Proxies in front of the server.
    pub proxies: Proxies,
    /// What one request, one address and all of them may take.
    pub limits: Limits,
    /// How much of the disk is kept free.
    pub storage: Storage,
    /// How long the audit log is kept.
    pub audit: Audit,
    /// Forward auth.
    pub gateway: Gateway,
    /// Where the metrics are served.
    pub metrics: Metrics,
    /// Where Tollhouse differs from GitLab, and whether it should.
    pub compat: Compat,
    /// The file that was read, if there was one.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// Keys that were given and are no longer used.
    #[serde(skip)]
    pub retired: Vec<&'static Retired>,
}

macro_rules! sections {
    ($($name:ident { $($field:ident: $ty:ty),+ $(,)? })+) => {$(
        /// A section of the settings. [`DEFAULT`] says what each key means, with its unit and its default.
        #[derive(Clone, Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name { $(#[doc = "The key of the same name in [`DEFAULT`]."] pub $field: $ty),+ }
    )+};
}

sections! {
    Api { version: Version }
    Log { format: LogFormat, level: String }
    Accounts { confirmation_required: bool }
    Sessions { lifetime: Span, longest: Span, from_sign_in: bool, per_user: u32 }
    Passwords { attempts: u32, lock_for: Span }
    Tokens { require_expiry: bool, use_interval: Span, self_service: SelfService, impersonation: bool }
    Oauth {
        access_token_lifetime: Span, refresh_idle: Span, id_token_lifetime: Span, password_grant: bool,
        ropc_without_client_credentials: bool, disable_admin_oauth_scopes: bool,
    }
    Rotation { window: Span, settle: Span, memory: Span }
    CacheSettings { entries: usize }
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

/// The form of a line of the server's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object for each line.
    Json,
}

/// How keys stand in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtRest {
    /// Encrypted under `secret_key_file`.
    Sealed,
    /// As they are: whoever has a copy of the database can sign in this server's name.
    Open,
}

/// Which scopes everybody may put into a token of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelfService {
    /// `k8s_proxy` and `self_rotate`.
    Gitlab,
    /// Those that the presented credential could use itself.
    OwnScopes,
}

/// Whether we behave as ourselves or as GitLab.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Twin {
    /// As these documents say.
    Tollhouse,
    /// As GitLab does, where a client could depend on that.
    Gitlab,
}

impl Twin {
    /// Whether GitLab's behaviour was asked for.
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
    &[Retired { key: "metrics.allow", instead: "set metrics.listen, an address of its own for the metrics" }];

/// `ADDRESS:PORT`, or nothing where nothing listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let what = "is not an address and a port, such as 127.0.0.1:9180, nor empty; names are not looked up";
        text.parse().map(|address| Self(Some(address))).map_err(|_| fault(what, &text))
    }
}

impl Compat {
    /// How the redirect URI of a request is compared with those of the application.
    pub fn redirect_matching(&self) -> Matching {
        if self.redirect_uri.is_gitlab() { Matching::Parsed } else { Matching::Exact }
    }

    /// Which PKCE challenges and verifiers are accepted.
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
        text.parse().map(Self).map_err(|_| fault("is not the name of a header, such as X-Forwarded-For", &text))
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

/// A hundred years. Sums with it fit everywhere.
const LONGEST: u64 = 36_500 * 86_400;

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const UNITS: &[(&str, u64)] = &[("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
        let text = String::deserialize(from)?;
        let no = || fault::<D::Error>("is not a time: write a number and s, m, h or d, such as 120s or 7d", &text);
        let seconds = scaled(&text, UNITS).ok_or_else(no)?;
        if seconds > LONGEST {
            return Err(fault("is too long: write at most 36500d", &text));
        }
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

/// Whether this user cannot know if there is such a file.
fn is_hidden(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied)
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
        let mut layers = Layers::default();
        let candidates = file.map_or_else(|| Self::usual_files().to_vec(), |file| vec![file.to_owned()]);
        let mut read = None;
        for path in candidates {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    layers.merge(&text, &path)?;
                    read = Some(path);
                    break;
                }
                Err(error) if file.is_none() && error.kind() == std::io::ErrorKind::NotFound => {}
                // Somebody was led into a folder of another user, as by `sudo -u`, in which they cannot look for anything.
                Err(_) if file.is_none() && path.is_relative() && is_hidden(&path) => {}
                // One that is there and cannot be read is not passed over: the next one may name another database.
                Err(error) => return Err(Unusable(format!("{}: {error}", path.display()))),
            }
        }
        for (name, value) in environment {
            layers.read_environment(&name, &value)?;
        }
        for (key, value) in flags {
            layers.settings.insert((*key).to_owned(), Value::String(value.clone()));
        }
        Ok(Self { file: read, ..Self::of(layers)? })
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
        let mut layers = Layers::default();
        layers.merge(text, Path::new("settings"))?;
        Self::of(layers)
    }

    fn of(layers: Layers) -> Result<Self, Unusable> {
        let given = layers.given.clone();
        Self::checked(layers).map_err(|fault| placed(fault, &given))
    }

    fn checked(layers: Layers) -> Result<Self, Unusable> {
        let mut settings: Self = Value::Table(layers.settings).try_into().map_err(|error| misfit(&error))?;
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
        if settings.compat.password_grant.is_gitlab() && !layers.given.contains_key("oauth.password_grant") {
            settings.oauth.password_grant = true;
        }
        if !settings.root_email.is_empty() && !is_email(&settings.root_email) {
            let given = printable(&settings.root_email);
            return Err(Unusable(format!("root_email: `{given}` is not an address, such as root@example.org")));
        }
        log_level::check(&settings.log.level).map_err(Unusable)?;
        if settings.sessions.lifetime.0 < Duration::from_secs(60) {
            let given = settings.sessions.lifetime;
            return Err(Unusable(format!("sessions.lifetime: {given} is too short; write at least 60s, such as 7d")));
        }
        if settings.sessions.longest().is_some_and(|longest| longest < Duration::from_secs(60)) {
            let given = settings.sessions.longest;
            return Err(Unusable(format!(
                "sessions.longest: {given} is too short; write at least 60s, such as 90d, or 0s for no bound"
            )));
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

//! `postgres://USER:PASSWORD@HOST:PORT/NAME?sslmode=...`: how the database is reached, with what the environment says in
//! the way of libpq.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::CONNECT;
use super::tls::{Tls, Verify};
use crate::error::{Cause, Error};

/// Host, user, database, TLS and time limits of a PostgreSQL server, read from a URL and the environment as libpq does.
/// It holds the password; its `Display` leaves that out.
#[derive(Clone)]
pub struct Address(pub(super) Arc<Way>);

/// What is needed for a connection.
pub(super) struct Way {
    /// Host, user, password, database and time limits.
    pub(super) config: Config,
    /// Whether and how the connection is encrypted.
    pub(super) tls: Tls,
}

/// What the URL says, or else the environment.
#[derive(Default)]
struct Said {
    host: Option<String>,
    hostaddr: Option<String>,
    port: Option<String>,
    user: Option<String>,
    password: Option<String>,
    dbname: Option<String>,
    options: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<String>,
    sslkey: Option<String>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        Self::parse(text, |name| std::env::var(name).ok().filter(|value| !value.is_empty()), home.as_deref())
    }
}

impl Address {
    fn parse(text: &str, env: impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Result<Self, String> {
        let said = Said::of(text, env).ok_or("not a valid postgres:// URL")?;
        said.address(home)
    }

    /// Why no connection came about, with what the way there may lack.
    pub(super) fn refused(&self, error: tokio_postgres::Error) -> Error {
        use std::error::Error as _;
        let Some(why) = error.source() else { return error.into() };
        let (host, said) = (self.host(), why.to_string());
        if said.contains("server does not support TLS") {
            let text = format!("the database at {host} does not speak TLS; add sslmode=disable if that is meant");
            return Error::Unavailable(Cause::Tls(text));
        }
        let tls = why.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        match tls.and_then(|tls| tls.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::InvalidCertificate(why)) => Error::Unavailable(Cause::Tls(format!(
                "the certificate of the database at {host} is not accepted: {why}; sslrootcert=FILE names who signed it, \
                 and sslmode=require asks for none in particular"
            ))),
            _ => error.into(),
        }
    }

    fn host(&self) -> String {
        match self.0.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        }
    }
}

impl fmt::Display for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let port = self.0.config.get_ports().first().copied().unwrap_or(5432);
        let name = self.0.config.get_dbname().or(self.0.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{}:{port}/{name}", self.host())
    }
}

impl Said {
    fn of(text: &str, env: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let url = url::Url::parse(text).ok()?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().ok().map(String::from);
        let mut said = Self {
            host: None,
            hostaddr: env("PGHOSTADDR"),
            port: env("PGPORT"),
            user: env("PGUSER"),
            password: env("PGPASSWORD"),
            dbname: env("PGDATABASE"),
            options: env("PGOPTIONS"),
            sslmode: env("PGSSLMODE"),
            sslrootcert: env("PGSSLROOTCERT"),
            sslcert: env("PGSSLCERT"),
            sslkey: env("PGSSLKEY"),
        };
        if let Some(host) = url.host_str().filter(|host| !host.is_empty()) {
            said.host = Some(decoded(host)?.trim_start_matches('[').trim_end_matches(']').to_owned());
            said.hostaddr = None;
        }
        if let Some(port) = url.port() {
            said.port = Some(port.to_string());
        }
        if !url.username().is_empty() {
            said.user = Some(decoded(url.username())?);
        }
        if let Some(password) = url.password() {
            said.password = Some(decoded(password)?);
        }
        let name = decoded(url.path().trim_start_matches('/'))?;
        if !name.is_empty() {
            said.dbname = Some(name);
        }
        for (key, value) in url.query_pairs() {
            let value = Some(value.into_owned());
            match &*key {
                "host" => (said.host, said.hostaddr) = (value, None),
                "hostaddr" => said.hostaddr = value,
                "port" => said.port = value,
                "user" => said.user = value,
                "password" => said.password = value,
                "dbname" => said.dbname = value,
                "sslmode" | "ssl-mode" => said.sslmode = value,
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => said.sslrootcert = value,
                "sslcert" | "ssl-cert" => said.sslcert = value,
                "sslkey" | "ssl-key" => said.sslkey = value,
                "options" => said.add_options(&value?),
                // It is always the same.
                "application_name" | "statement-cache-capacity" => {}
                key => match key.strip_prefix("options[").and_then(|key| key.strip_suffix(']')) {
                    Some(setting) => said.add_options(&format!("-c {setting}={}", value?.replace(' ', "\\ "))),
                    None => {
                        tracing::warn!(parameter = key, "the URL of the database has an unknown parameter")
                    }
                },
            }
        }
        said.host = said.host.or_else(|| env("PGHOST"));
        Some(said)
    }

    fn add_options(&mut self, more: &str) {
        let options = self.options.get_or_insert_default();
        if !options.is_empty() {
            options.push(' ');
        }
        options.push_str(more);
    }

    fn address(self, home: Option<&Path>) -> Result<Address, String> {
        let port: u16 = match &self.port {
            Some(port) => port.parse().map_err(|_| format!("{port:?} is no port"))?,
            None => 5432,
        };
        let hostaddr: Option<IpAddr> = match &self.hostaddr {
            Some(address) => Some(address.parse().map_err(|_| format!("hostaddr: {address:?} is not an address"))?),
            None => None,
        };
        let host = match (self.host.clone(), hostaddr) {
            (Some(host), _) => host,
            (None, Some(address)) => address.to_string(),
            (None, None) => default_host(port),
        };
        let mut config = Config::new();
        config.host(&host).port(port).application_name("tollhouse").connect_timeout(CONNECT);
        config.keepalives_idle(Duration::from_secs(60));
        if let Some(address) = hostaddr.filter(|_| !host.starts_with('/')) {
            config.hostaddr(address);
        }
        let user = self.user.clone().or_else(|| std::env::var("USER").ok()).unwrap_or_default();
        if !user.is_empty() {
            config.user(&user);
        }
        let dbname = self.dbname.clone().unwrap_or_else(|| user.clone());
        if !dbname.is_empty() {
            config.dbname(&dbname);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        let password = self.password.clone().or_else(|| password_of(home, [&host, &port.to_string(), &dbname, &user]));
        if let Some(password) = password {
            config.password(password);
        }
        let tls = match self.verify(&host)? {
            None => {
                config.ssl_mode(SslMode::Disable);
                Tls::none()
            }
            Some(verify) => {
                config.ssl_mode(SslMode::Require);
                let roots = self.sslrootcert.as_deref().filter(|file| *file != "system").map(Path::new);
                let own = self.sslcert.as_deref().zip(self.sslkey.as_deref());
                Tls::new(verify, roots, own.map(|(certificate, key)| (Path::new(certificate), Path::new(key))))?
            }
        };
        Ok(Address(Arc::new(Way { config, tls })))
    }

    /// `None`: no TLS.
    fn verify(&self, host: &str) -> Result<Option<Verify>, String> {
        // libpq speaks no TLS on a socket either.
        if host.starts_with('/') {
            return Ok(None);
        }
        Ok(match self.sslmode.as_deref() {
            Some("disable") => None,
            // As in libpq: who names an authority wants it to be asked.
            Some("require") if self.sslrootcert.is_some() => Some(Verify::Chain),
            Some("require") => Some(Verify::Nothing),
            Some("verify-ca") => Some(Verify::Chain),
            Some("verify-full") => Some(Verify::Full),
            Some(mode @ ("prefer" | "allow")) => {
                return Err(format!(
                    "sslmode={mode} is not supported, since whoever is on the way can take TLS out of it: \
                     use verify-full, verify-ca, require or disable"
                ));
            }
            Some(_) => return Err("sslmode is verify-full, verify-ca, require or disable".into()),
            // The connection goes to the address, and a name of another machine may be tunnelled there.
            None if is_loopback(host) && self.hostaddr.as_deref().is_none_or(is_loopback) => None,
            None => Some(Verify::Full),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The socket, where there is one.
fn default_host(port: u16) -> String {
    let folders = ["/run/postgresql", "/var/run/postgresql", "/tmp"];
    let found = folders.iter().find(|folder| Path::new(folder).join(format!(".s.PGSQL.{port}")).exists());
    found.map_or("localhost", |folder| folder).to_owned()
}

/// From `PGPASSFILE` or `~/.pgpass`, which nobody else may be able to read. `wanted`: host, port, name, user.
fn password_of(home: Option<&Path>, wanted: [&str; 4]) -> Option<String> {
    let file = std::env::var_os("PGPASSFILE").map(PathBuf::from).or_else(|| Some(home?.join(".pgpass")))?;
    let about = std::fs::metadata(&file).ok()?;
    if about.mode() & 0o077 != 0 {
        tracing::warn!(file = %file.display(), "other users can read this password file, so it is ignored");
        return None;
    }
    let text = std::fs::read_to_string(&file).ok()?;
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| password_in(line, wanted))
}

/// `host:port:name:user:password`, with `*` for any, and `\` before `:` and `\`.
fn password_in(line: &str, wanted: [&str; 4]) -> Option<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => fields.last_mut()?.extend(characters.next()),
            ':' if fields.len() < 5 => fields.push(String::new()),
            other => fields.last_mut()?.push(other),
        }
    }
    let password = fields.get(4)?;
    let fits = |(field, wanted): (&String, &&str)| {
        // libpq writes localhost for a socket.
        let is_socket = wanted.starts_with('/') && field == "localhost";
        field == "*" || field == wanted || is_socket
    };
    fields.iter().zip(&wanted).all(fits).then(|| password.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str, env: &[(&str, &str)]) -> Result<Address, String> {
        let found = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Address::parse(text, found, None)
    }

    fn mode(text: &str) -> Result<Option<Verify>, String> {
        let said = Said::of(text, |_| None).ok_or("no URL")?;
        let host = said.host.clone().unwrap_or_default();
        said.verify(&host)
    }

    #[test]
    fn tls_is_verified_in_full_beyond_loopback_and_sockets() {
        for here in ["localhost", "127.0.0.1", "127.3.2.1", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://a@{here}/b")), Ok(None), "{here}");
        }
        assert_eq!(mode("postgres://a@localhost/b?host=/tmp"), Ok(None));
        assert_eq!(mode("postgres://a@localhost/b?hostaddr=10.0.0.7"), Ok(Some(Verify::Full)));
        assert_eq!(mode("postgres://a@localhost/b?hostaddr=127.0.0.1"), Ok(None));
        assert_eq!(mode("postgres://a@db.example/b?hostaddr=127.0.0.1"), Ok(Some(Verify::Full)));
        for there in ["db.example", "10.0.0.7", "[fd00::1]"] {
            assert_eq!(mode(&format!("postgres://a@{there}/b")), Ok(Some(Verify::Full)), "{there}");
            assert_eq!(mode(&format!("postgres://a@{there}/b?sslmode=disable")), Ok(None), "{there}");
        }
        assert_eq!(mode("postgres://a@localhost/b?sslmode=verify-full"), Ok(Some(Verify::Full)));
        assert_eq!(mode("postgres://a@db.example/b?sslmode=verify-ca"), Ok(Some(Verify::Chain)));
        assert_eq!(mode("postgres://a@db.example/b?sslmode=require"), Ok(Some(Verify::Nothing)));
        assert_eq!(mode("postgres://a@db.example/b?sslmode=require&sslrootcert=/a"), Ok(Some(Verify::Chain)));
        for refused in ["prefer", "allow"] {
            let why = mode(&format!("postgres://a@db.example/b?sslmode={refused}")).expect_err(refused);
            assert!(why.contains(&format!("sslmode={refused} is not supported")), "{why}");
        }
        assert!(mode("postgres://a@db.example/b?sslmode=Verify").is_err());
    }

    #[test]
    fn the_url_comes_before_the_environment() {
        let env = [("PGHOST", "other.example"), ("PGPORT", "5433"), ("PGUSER", "eve"), ("PGDATABASE", "else")];
        let address = parsed("postgres://ada@localhost:5434/tolls", &env).expect("an address");
        assert_eq!(address.to_string(), "postgres://localhost:5434/tolls");
        assert_eq!(address.0.config.get_user(), Some("ada"));
        let address = parsed("postgres:///?sslmode=disable", &env).expect("an address");
        assert_eq!(address.to_string(), "postgres://other.example:5433/else");
        assert_eq!(address.0.config.get_user(), Some("eve"));
        let address = parsed("postgres://ada@localhost/?host=/tmp&port=5435&options[search_path]=tolls", &[]);
        let address = address.expect("an address");
        assert_eq!(address.to_string(), "postgres:///tmp:5435/ada");
        assert_eq!(address.0.config.get_options(), Some("-c search_path=tolls"));
        assert!(parsed("postgres://ada@localhost:99999/tolls", &[]).is_err());
    }

    #[test]
    fn a_password_is_found_for_its_host_port_name_and_user() {
        let wanted = ["db.example", "5432", "tolls", "ada"];
        let said = |line: &str| password_in(line, wanted);
        assert_eq!(said("db.example:5432:tolls:ada:se\\:cr\\\\et").as_deref(), Some("se:cr\\et"));
        assert_eq!(said("*:*:*:ada:a:b").as_deref(), Some("a:b"));
        assert_eq!(said("*:*:*:eve:secret"), None);
        assert_eq!(said("db.example:5432:tolls:ada"), None);
        assert_eq!(password_in("localhost:*:*:*:x", ["/tmp", "5432", "tolls", "ada"]).as_deref(), Some("x"));
    }
}

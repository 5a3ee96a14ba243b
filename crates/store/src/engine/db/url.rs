//! Which database, as text.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::engine::postgres;

/// Where the data is: `sqlite:PATH` or `postgres://...`.
#[derive(Clone)]
pub enum Url {
    /// The file of a SQLite database.
    Sqlite(PathBuf),
    /// How a PostgreSQL server is reached.
    Postgres(postgres::Address),
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(":memory:") || path.contains('?') {
                return Err("a SQLite database is a file, such as sqlite:/var/lib/tollhouse/tollhouse.db".into());
            }
            return Ok(Self::Sqlite(path.into()));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.parse()?));
        }
        // Of what was given no more than its beginning: behind that there may be a password.
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        let scheme = scheme.filter(|scheme| scheme.len() <= 16 && scheme.bytes().all(|b| b.is_ascii_alphanumeric()));
        let not = scheme.map_or_else(String::new, |scheme| format!(", not {scheme}:"));
        let example = "such as sqlite:/var/lib/tollhouse/tollhouse.db";
        Err(format!("a database is sqlite:PATH or postgres://USER@HOST/NAME, {example}{not}"))
    }
}

impl fmt::Display for Url {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(address) => write!(f, "{address}"),
        }
    }
}

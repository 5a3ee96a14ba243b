//! What `serve` and the commands share: settings from flags, environment and file, and a look at the files of a
//! database before anything is opened (T31).

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tollhouse_domain::time::Clock;
use tollhouse_store::db::{Db, NOTHING, Url};
use tollhouse_store::error::Error as StoreError;

use super::Failure;
use crate::app::App;
use crate::config::Settings;
use crate::file_access::check_file;
use crate::urls::Urls;

/// Of the flags that every command takes.
pub(super) const COMMON: &str = "Common options";

/// Which database a command works on.
#[derive(Args)]
pub(super) struct At {
    /// Settings file [default: tollhouse.toml in this folder, else /etc/tollhouse/tollhouse.toml]
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG", global = true, help_heading = COMMON)]
    config: Option<PathBuf>,
    /// sqlite:PATH or postgres://USER@HOST/NAME [default: that of the settings]
    #[arg(long, value_name = "URL", global = true, help_heading = COMMON)]
    database: Option<String>,
}

/// Flags over environment over file.
pub(super) fn settings(config: Option<&Path>, given: &[(&str, String)]) -> Result<Settings, Failure> {
    let environment = std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    Ok(Settings::load(config, environment, given)?)
}

/// Where the database is; never repeats what cannot be read, which may hold a password.
pub(super) fn url(settings: &Settings) -> Result<Url, Failure> {
    settings.database.parse().map_err(|text| Failure::Unusable(format!("database: {text}")))
}

/// The settings of a command, and its database, whose file may be opened.
pub(super) fn prepared(at: &At) -> Result<(Settings, Url), Failure> {
    super::warn_of_password(at.database.as_deref());
    if at.database.as_deref() == Some("") {
        let such = "sqlite:PATH or postgres://USER@HOST/NAME";
        return Err(Failure::Unusable(format!("--database is empty: write {such}, or leave it out")));
    }
    let given: Vec<_> = at.database.iter().map(|url| ("database", url.clone())).collect();
    let mut settings = settings(at.config.as_deref(), &given)?;
    let url = url(&settings)?;
    // A failure is told once, by whoever asked for it.
    settings.log.level = "warn,tollhouse::error=off".into();
    super::log(&settings)?;
    if let Url::Sqlite(path) = &url {
        is_database(path, || at.database.is_none().then(|| source(&settings)))?;
        check_database(path)?;
    }
    Ok((settings, url))
}

/// For a command, beside whatever servers run on that database: it must be there, and of this program's schema.
pub(super) async fn app(at: &At) -> Result<App, Failure> {
    let (mut settings, url) = prepared(at)?;
    // It listens nowhere, so it is no matter who could reach that.
    let urls = Urls::new(&settings.external_url, &settings.external_hosts, settings.listen, true)?;
    // Who names a database and nothing else does not say where its server keeps the first password (T31): most keep it
    // beside a file. A folder of the usual name here may be another server's.
    if at.database.is_some() && settings.data_dir == Path::new(USUAL) {
        settings.data_dir = match &url {
            Url::Sqlite(path) => path.parent().unwrap_or(Path::new(".")).to_owned(),
            Url::Postgres(_) => PathBuf::from("/nonexistent"),
        };
    }
    let db = match Db::join(&url, settings.storage.reserve.0).await {
        // Another one may be meant, which the settings would have named.
        Err(StoreError::Schema(NOTHING)) if at.database.is_none() => {
            return Err(anyhow::anyhow!("{url}: {NOTHING} ({})", source(&settings)).into());
        }
        joined => joined.with_context(|| format!("{url}"))?,
    };
    Ok(App::for_command(db, settings, urls, Clock::system()).await?)
}

/// Which file the settings are from, for a message.
fn source(settings: &Settings) -> String {
    match &settings.file {
        Some(file) => format!("settings: {}", file.display()),
        None => {
            let [here, of_the_machine] = Settings::usual_files().map(|file| file.display().to_string());
            format!(
                "settings: the defaults, because there is no {here} in this folder and no {of_the_machine}; --config names a file"
            )
        }
    }
}

/// No advice is given about files that are no database. `from`: where the settings are from, if they named the file.
fn is_database(path: &Path, from: impl Fn() -> Option<String>) -> Result<(), Failure> {
    use std::io::{ErrorKind, Read};
    let mut begins = [0; 16];
    let read = std::fs::File::open(path).and_then(|mut file| file.read(&mut begins));
    let fault = match read {
        Ok(0) => return Ok(()),
        Ok(_) if begins == *b"SQLite format 3\0" => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let from = from().map_or_else(String::new, |from| format!(" ({from})"));
            format!("there is no such file; `tollhouse serve` creates it{from}")
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            "permission denied: run this as the user of the server or as root, such as with sudo -u tollhouse"
                .to_owned()
        }
        Err(error) if error.kind() != ErrorKind::IsADirectory => return Ok(()),
        _ => "it is not a database of Tollhouse".to_owned(),
    };
    Err(anyhow::anyhow!("sqlite:{}: {fault}", path.display()).into())
}

/// Lets go of a database, which may have gone away meanwhile.
pub(super) async fn close(db: &Db) {
    let _ = tokio::time::timeout(std::time::Duration::from_secs(5), db.close()).await;
}

/// Refuses a SQLite file that other users of this machine can read, write or replace (T31). Its write-ahead log holds what
/// was written last.
pub(super) fn check_database(path: &Path) -> Result<(), Failure> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    [path, Path::new(&log)].into_iter().try_for_each(check_file).map_err(Failure::Unusable)
}

/// As in `default.toml`.
const USUAL: &str = "tollhouse-data";

//! `tollhouse serve`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tollhouse_domain::audit::By;
use tollhouse_domain::secret::{Plaintext, random};
use tollhouse_domain::time::Clock;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::{files, keys};

use super::{Failure, open};
use crate::app::{App, Unready};
use crate::config::{AtRest, Settings};
use crate::gateway;
use crate::keys::Seal;
use crate::operations::users::{CreateFirstAdministrator, PASSWORD_FILE};
use crate::serve;
use crate::urls::Urls;

pub(super) async fn run(flags: super::Serve) -> Result<(), Failure> {
    super::warn_of_password(flags.database.as_deref());
    // From the first moment on: whoever is not listening to it is ended by it.
    let hangup = signal(SignalKind::hangup())?;
    let mut given: Vec<(&str, String)> = Vec::new();
    given.extend(flags.listen.map(|listen| ("listen", listen.to_string())));
    given.extend(flags.database.map(|url| ("database", url)));
    given.extend(flags.external_url.map(|url| ("external_url", url)));
    let mut settings = open::settings(flags.config.as_deref(), &given)?;
    settings.demo_data |= flags.demo_data;
    super::log(&settings)?;
    fit_connections(&mut settings);

    let url = open::url(&settings)?;
    // Told before anything is made.
    Urls::new(&settings.external_url, &settings.external_hosts, settings.listen, settings.insecure_http)?;
    if settings.rotation.settle.0 < Duration::from_secs(120) {
        tracing::warn!("rotation.settle is below 120s: clients whose answer was lost may be locked out");
    }
    if let Url::Sqlite(path) = &url {
        if path.starts_with(&settings.data_dir) {
            private_folder(&settings.data_dir)?;
        }
        open::refuse_readable(path)?;
    }
    let beside = match &url {
        Url::Sqlite(path) => Some(path.as_path()),
        Url::Postgres(_) => None,
    };
    if settings.keys.at_rest == AtRest::Open {
        tracing::warn!("keys.at_rest is \"open\": whoever has a copy of the database can sign in this server's name");
    }
    let db = Db::open(&url, settings.storage.reserve.0).await.with_context(|| format!("{url}"))?;
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("cannot listen on {}", settings.listen))?;
    let address = listener.local_addr()?;
    let urls = Urls::new(&settings.external_url, &settings.external_hosts, address, settings.insecure_http)?;
    let sealed = keys::all(&mut db.read().await?).await?;
    let seal = Seal::of(&settings, beside, &sealed)?;
    #[cfg(feature = "faults")]
    if let Ok(code) = std::env::var("TOLLHOUSE_MUTANT") {
        db.faults.mutants.set(tollhouse_domain::faults::Mutants::named(&code));
    }
    #[cfg(feature = "faults")]
    if std::env::var("TOLLHOUSE_FAULT").is_ok_and(|fault| fault == "deaf") {
        db.faults.deafen();
    }
    let app = App::new(db.clone(), settings, urls, Clock::system(), seal).await.map_err(unready)?;
    if app.demo && !app.settings.demo_data {
        return Err(Failure::Unusable(format!(
            "{url} was made by `tollhouse demo`, so its secrets are known; --demo-data serves it all the same"
        )));
    }
    first_administrator(&app).await?;

    tokio::spawn(gateway::reload(app.clone(), hangup));
    let stop = super::stop_signal()?;
    tracing::info!(%address, url = app.urls.base(), database = %url, "ready");
    let ended = serve::run(app, listener, stop).await;
    open::close(&db).await;
    Ok(ended?)
}

fn unready(error: Unready) -> Failure {
    match error {
        Unready::Key(error) => Failure::Unusable(error.to_string()),
        Unready::Rules(error) => Failure::Unusable(error.0),
        Unready::Store(error) => Failure::Broken(error.into()),
    }
}

/// Takes all the file descriptors the system allows, and no more connections than there are of them; the database and
/// the log need some too.
fn fit_connections(settings: &mut Settings) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // Each has a runtime, which watches sockets and signals.
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let allowed = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: allowed.maximum, maximum: allowed.maximum });
    let files = if raised.is_ok() { allowed.maximum } else { allowed.current };
    let room = files.map_or(usize::MAX, |files| (files as usize).saturating_sub(OTHER_FILES + 4 * cores).max(16));
    let limits = &mut settings.limits;
    if limits.connections > room {
        tracing::warn!(connections = room, "fewer connections than set: the system allows no more open files");
        limits.connections = room;
    }
    // Some are always left for others.
    limits.connections_per_address =
        limits.connections_per_address.min((limits.connections - limits.connections / 4).max(1));
}

const OTHER_FILES: usize = 64;

/// Makes `root`, if there is no administrator, with the password from `TOLLHOUSE_ROOT_PASSWORD` or one that is
/// written once to a file (T31).
async fn first_administrator(app: &App) -> Result<(), Failure> {
    if tollhouse_store::users::any_administrator(&mut app.db.read().await?).await? {
        return Ok(());
    }
    let chosen = std::env::var("TOLLHOUSE_ROOT_PASSWORD").ok();
    let generated = chosen.is_none();
    let password = chosen.map_or_else(Plaintext::password, Plaintext::new);
    if let Some(fault) = tollhouse_domain::password::fault(password.reveal()) {
        return Err(Failure::Unusable(format!("TOLLHOUSE_ROOT_PASSWORD {fault}")));
    }
    let path = app.settings.data_dir.join(PASSWORD_FILE);
    // Of several that start at once one makes the account; what the others wrote down must not take its place.
    let draft = path.with_extension(data_encoding::HEXLOWER.encode(&random::<8>()));
    if generated {
        private_folder(&app.settings.data_dir)?;
        // Before the account exists: a password that was never written down would open it to nobody.
        let made = files::create_new(&draft, &app.settings.data_dir);
        let mut file = made.with_context(|| format!("{}", draft.display()))?;
        writeln!(file, "{}", password.reveal())?;
        file.sync_all()?;
    }
    let operation = CreateFirstAdministrator { password_digest: app.hasher.hash(&password).await };
    let made = app.perform(&operation, &By::system()).await.map_err(|_| anyhow!("root could not be made"))?;
    match (made.into_inner(), generated) {
        (Some(_), true) => {
            std::fs::rename(&draft, &path).with_context(|| format!("{}", path.display()))?;
            tracing::info!(file = %path.display(), "made the first administrator, root; the password is in this file");
        }
        (None, true) => std::fs::remove_file(&draft)?,
        (_, false) => {}
    }
    Ok(())
}

/// The folder is its owner's alone (T31).
fn private_folder(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        files::create_folder(folder).with_context(|| format!("{}", folder.display()))?;
    }
    open::refuse_readable(folder)
}

//! `tollhouse serve`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::signal::unix::{SignalKind, signal};
use tollhouse_domain::audit::By;
use tollhouse_domain::secret::{Plaintext, random};
use tollhouse_domain::time::Clock;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::{files, sealed_keys};

use super::check::{self, Bound, beside};
use super::{Failure, STOPPING, admin, open};
use crate::app::{App, Unready};
use crate::config::{AtRest, Settings};
use crate::file_access::check_folder;
use crate::gateway;
use crate::http_service::ALL_LOOK_ALIKE;
use crate::keys::Seal;
use crate::metrics_page;
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
    check::settings(&settings, &url)?;
    for retired in &settings.retired {
        tracing::warn!("the setting {} is no longer used: {}", retired.key, retired.instead);
    }
    warn_of_open_metrics(&settings);
    warn_of_unnamed_proxy(&settings);
    if flags.check {
        return report(&settings, &url).await;
    }
    check::first_password(&url, &settings.root_email).await?;
    let bound = Bound::to("listen", settings.listen)?;
    let bound_for_metrics =
        settings.metrics.listen.0.map(|address| Bound::to("metrics.listen", address)).transpose()?;
    if settings.rotation.settle.0 < Duration::from_secs(120) {
        tracing::warn!("rotation.settle is below 120s: clients whose answer was lost may be locked out");
    }
    if beside(&url).is_some_and(|path| path.starts_with(&settings.data_dir)) {
        private_folder(&settings.data_dir)?;
    }
    if settings.keys.at_rest == AtRest::Open {
        tracing::warn!("keys.at_rest is \"open\": anyone with a copy of the database can sign in this server's name");
    }
    let db = Db::open(&url, settings.storage.reserve.0).await.with_context(|| format!("{url}"))?;
    let address = bound.address();
    let urls = Urls::new(&settings.external_url, &settings.external_hosts, address, settings.insecure_http)?;
    let sealed = sealed_keys::all(&mut db.read().await?).await?;
    let seal = Seal::of(&settings, beside(&url), &sealed)?;
    #[cfg(feature = "faults")]
    if let Ok(code) = std::env::var("TOLLHOUSE_MUTANT") {
        db.faults.mutants.set(tollhouse_domain::faults::Mutants::named(&code));
    }
    #[cfg(feature = "faults")]
    let fault =
        |name: &str| std::env::var("TOLLHOUSE_FAULT").is_ok_and(|faults| faults.split(',').any(|known| known == name));
    #[cfg(feature = "faults")]
    if fault("deaf") {
        db.faults.deafen();
    }
    let app = App::new(db.clone(), settings, urls, Clock::system(), seal).await.map_err(unready)?;
    #[cfg(feature = "faults")]
    if fault("repeat_is_reuse") {
        app.faults.take_repeats_for_reuse();
    }
    #[cfg(feature = "faults")]
    if let Ok(faults) = std::env::var("TOLLHOUSE_FAULT")
        && let Some(path) = faults.split(',').find_map(|known| known.strip_prefix("crash="))
    {
        app.faults.crash(path);
    }
    if app.demo && !app.settings.demo_data {
        return Err(Failure::Unusable(format!(
            "{url} was created by `tollhouse demo`, so its secrets are known; --demo-data serves it anyway"
        )));
    }
    first_administrator(&app).await?;
    // Where the disk is nearly full the server starts all the same; nobody signs in then.
    if let Err(error) = app.device_key().await {
        tracing::warn!(?error, "the key for recognizing known browsers could not be created");
    }

    tokio::spawn(gateway::reload(app.clone(), hangup));
    let stop = super::stop_signal(STOPPING)?;
    super::tell_of_other_spelling(&app.urls);
    let metrics = bound_for_metrics.as_ref().map(|bound| tracing::field::display(bound.address()));
    let listener = bound.listen()?;
    if let Some(bound) = bound_for_metrics {
        tokio::spawn(metrics_page::run(app.clone(), bound.listen()?, stop.clone()));
    }
    tracing::info!(%address, metrics, url = app.urls.base(), database = %url, "ready");
    let ended = serve::run(app, listener, stop).await;
    open::close(&db).await;
    Ok(ended?)
}

/// Metrics are for the operator (T34).
fn warn_of_open_metrics(settings: &Settings) {
    if let Some(address) = settings.metrics.listen.0.filter(|address| !address.ip().is_loopback()) {
        tracing::warn!(%address, "metrics.listen is beyond loopback: anyone who can reach the address can read the metrics");
    }
}

/// This server speaks http alone, so under an https name there is a proxy.
fn warn_of_unnamed_proxy(settings: &Settings) {
    if settings.proxies.trusted.is_empty() && settings.external_url.starts_with("https:") {
        tracing::warn!("{ALL_LOOK_ALIKE}");
    }
}

/// For `--check`. The server whose settings these are may be running.
async fn report(settings: &Settings, url: &Url) -> Result<(), Failure> {
    if matches!(url, Url::Sqlite(_)) {
        check::first_password(url, &settings.root_email).await?;
    }
    let metrics = settings.metrics.listen.0.map(|address| ("metrics.listen", address));
    for (setting, address) in [("listen", settings.listen)].into_iter().chain(metrics) {
        if check::in_use(setting, address)? {
            tracing::warn!(%address, "{setting}: another program is using this address");
        }
    }
    println!("settings, rules, keys and addresses are valid");
    Ok(())
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
        tracing::warn!(
            connections = room,
            "fewer connections than limits.connections: the system allows no more open files"
        );
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
    let chosen = check::root_password(&app.settings.root_email)?;
    let generated = chosen.is_none();
    let password = chosen.unwrap_or_else(Plaintext::password);
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
    let operation = CreateFirstAdministrator {
        password_digest: app.hasher.hash(&password).await,
        email: app.settings.root_email.clone(),
    };
    let made = app.perform(operation, &By::system()).await;
    let made = made.map_err(|error| anyhow!("root could not be created: {}", admin::sentence(&error)))?;
    match (made.into_inner(), generated) {
        (Some(_), true) => {
            std::fs::rename(&draft, &path).with_context(|| format!("{}", path.display()))?;
            tracing::info!(file = %path.display(), "created the first administrator, root; the password is in this file");
        }
        (None, true) => std::fs::remove_file(&draft)?,
        (_, false) => {}
    }
    Ok(())
}

/// The folder is made for its owner alone; in one that is there, nobody else may replace files (T31).
fn private_folder(folder: &Path) -> Result<(), Failure> {
    if !folder.exists() {
        files::create_folder(folder).map_err(|error| check::cannot_create(folder, &error))?;
    }
    check_folder(folder).map_err(Failure::Unusable)
}

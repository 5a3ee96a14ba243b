//! Forward auth: a proxy asks whether a request to somebody else's API may pass, and tells that API who it is
//! (`docs/protocols/gateway.md`). This is where this product is trusted most, so what is not understood is refused.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::Method;
use tokio::signal::unix::Signal;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;

use crate::app::App;
use crate::config::{self, Settings, Unusable};
use crate::origin::Origin;
use crate::urls::Urls;

pub mod answer;
pub mod browser;
pub mod identity;
pub mod matching;
pub mod path;
pub mod question;
pub mod refusal;
pub mod rules;

use identity::Names;
use matching::Rules;
use question::Question;

/// Where a proxy asks.
pub const PATH: &str = "/-/auth";

/// Answers proxies that ask about a request to somebody else's API (docs/protocols/gateway.md).
pub struct Gateway {
    settings: config::Gateway,
    names: Names,
    /// Of `external_url`: where a session counts (T4).
    own: Origin<'static>,
    /// How long a target may be.
    longest: u64,
    rules: RwLock<Arc<Rules>>,
}

impl Gateway {
    /// With the rules that the settings name. If they cannot be used, there is no gateway: one that refuses everything
    /// would be noticed too late.
    pub async fn open(settings: &Settings, urls: &Urls, db: &Db) -> Result<Self, Unloaded> {
        let gateway = Self::closed(settings, urls);
        gateway.load(db).await?;
        Ok(gateway)
    }

    /// Without rules, so it refuses everything.
    pub fn closed(settings: &Settings, urls: &Urls) -> Self {
        Self {
            settings: settings.gateway.clone(),
            names: Names::new(&settings.gateway.prefix),
            own: urls.origin(),
            longest: settings.limits.target.0,
            rules: RwLock::default(),
        }
    }

    /// Reads the file of rules again. If it cannot be used, the old ones stay.
    pub async fn load(&self, db: &Db) -> Result<usize, Unloaded> {
        let Some(file) = self.file() else { return Ok(0) };
        self.replace(&read(&file)?, &file.display().to_string(), db).await
    }

    /// The same while it serves. A file that is being written may be rules already, and laxer ones: it is taken when it
    /// has kept still for a moment, and not if it is empty.
    async fn load_again(&self, db: &Db) -> Result<usize, Unloaded> {
        let Some(file) = self.file() else { return Ok(0) };
        let name = file.display().to_string();
        let mut text = read(&file)?;
        for _ in 0..MOST_READINGS {
            tokio::time::sleep(STILL).await;
            let again = read(&file)?;
            if again == text {
                if Rules::parse(&text, &name)?.0.is_empty() {
                    return Err(Unusable(format!("{name}: the file has no rules")).into());
                }
                return self.replace(&text, &name, db).await;
            }
            text = again;
        }
        Err(Unusable(format!("{name}: the file keeps changing")).into())
    }

    /// From now on these rules count; how many they are.
    pub async fn replace(&self, text: &str, name: &str, db: &Db) -> Result<usize, Unloaded> {
        let rules = Rules::parse(text, name)?.bind(db).await?;
        let count = rules.0.len();
        if count == 0 {
            tracing::warn!(file = name, "the file has no rules, so every request is refused");
        }
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
        Ok(count)
    }

    fn file(&self) -> Option<PathBuf> {
        Some(self.settings.rules.clone()).filter(|file| !file.as_os_str().is_empty())
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a rule is about this target under our own name, so that somebody may be sent there.
    pub fn leads_to(&self, target: &str) -> bool {
        let question = Question { method: Method::GET, origin: self.own.clone(), target };
        let path = question.straight_path(self.longest);
        path.is_ok_and(|path| self.rules().decide(&question, &path, false).is_ok())
    }

    /// Whether a rule is about our own name: then what is not a path of ours there belongs to the API behind.
    pub fn shares_our_host(&self) -> bool {
        self.rules().0.iter().any(|rule| rule.hosts.iter().any(|host| host.is(&self.own)))
    }

    /// Whether this connection is one of a proxy of ours (T3).
    fn knows(&self, peer: IpAddr) -> bool {
        self.settings.peers.iter().any(|network| network.contains(peer))
    }
}

/// Whether the file of rules can be used, as far as that is known without the database.
pub fn check(settings: &config::Gateway) -> Result<(), Unusable> {
    let file = &settings.rules;
    if file.as_os_str().is_empty() {
        return Ok(());
    }
    let parsed = Rules::parse(&read(file)?, &file.display().to_string());
    parsed.map(drop).map_err(|fault| Unusable(format!("gateway.rules: {fault}")))
}

fn read(file: &Path) -> Result<String, Unusable> {
    std::fs::read_to_string(file).map_err(|error| Unusable(format!("gateway.rules: {}: {error}", file.display())))
}

/// Reads the rules again at each SIGHUP (T27). If they cannot be used, the old ones stay; if only the database is away,
/// which says what their groups and projects are, they are tried again.
pub async fn reload(app: App, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        loop {
            match app.gateway.load_again(&app.db).await {
                Ok(rules) => tracing::info!(rules, "read the rules of the gateway again"),
                Err(error) => {
                    tracing::error!(%error, "the rules of the gateway are unchanged");
                    if let Unloaded::Store(_) = error {
                        tokio::time::sleep(AGAIN).await;
                        continue;
                    }
                }
            }
            break;
        }
    }
}

const AGAIN: Duration = Duration::from_secs(1);
const STILL: Duration = Duration::from_millis(250);
const MOST_READINGS: u32 = 20;

/// Why there are no rules.
#[derive(Debug, thiserror::Error)]
pub enum Unloaded {
    /// The file cannot be read, or a rule in it cannot be used.
    #[error("{0}")]
    File(#[from] Unusable),
    /// The database cannot be asked for the groups and applications that the rules name.
    #[error("{0}")]
    Store(#[from] StoreError),
}

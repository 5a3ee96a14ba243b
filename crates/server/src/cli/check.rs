//! What `serve` checks before it touches the database: settings, rules, keys, files and the address. A start that cannot
//! succeed leaves nothing behind.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use rustix::fs::Access;
use tokio::net::{TcpListener, TcpSocket};
use tollhouse_domain::password;
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::db::{Db, Url};

use super::{Failure, open};
use crate::config::Settings;
use crate::file_access::check_folder;
use crate::gateway;
use crate::keys::Seal;
use crate::operations::users::first_administrator;
use crate::urls::Urls;

/// Checks everything that can be known without the database. The error names the setting.
pub(super) fn settings(settings: &Settings, url: &Url) -> Result<(), Failure> {
    Urls::new(&settings.external_url, &settings.external_hosts, settings.listen, settings.insecure_http)?;
    gateway::check(&settings.gateway)?;
    Seal::check(settings, beside(url))?;
    if beside(url).is_some_and(|path| path.starts_with(&settings.data_dir)) {
        data_folder(&settings.data_dir)?;
    }
    check_folder(&settings.data_dir).map_err(Failure::Unusable)?;
    beside(url).map_or(Ok(()), open::check_database)
}

/// Checks the password for the first administrator, if one is going to be made. A database that does not answer is reported
/// where it is opened.
pub(super) async fn first_password(url: &Url, root_email: &str) -> Result<(), Failure> {
    match tokio::time::timeout(PATIENCE, Db::is_empty(url)).await {
        Ok(Ok(true)) => root_password(root_email).map(drop),
        _ => Ok(()),
    }
}

/// The password that `TOLLHOUSE_ROOT_PASSWORD` chooses for the first administrator (T31).
pub(super) fn root_password(root_email: &str) -> Result<Option<Plaintext>, Failure> {
    let unusable = |fault: &str| Failure::Unusable(format!("TOLLHOUSE_ROOT_PASSWORD {fault}"));
    let chosen = match std::env::var("TOLLHOUSE_ROOT_PASSWORD") {
        Ok(chosen) => Plaintext::new(chosen),
        Err(std::env::VarError::NotPresent) => return Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => return Err(unusable("is not UTF-8")),
    };
    match password::fault(chosen.reveal(), &first_administrator(root_email).holder()) {
        Some(fault) => Err(unusable(fault.text())),
        None => Ok(Some(chosen)),
    }
}

/// The file of a SQLite database, beside which its other files are.
pub(super) fn beside(url: &Url) -> Option<&Path> {
    match url {
        Url::Sqlite(path) => Some(path),
        Url::Postgres(_) => None,
    }
}

/// An address that is ours, and at which nobody is accepted yet: that begins when there is somebody to answer.
pub(super) struct Bound {
    setting: &'static str,
    socket: TcpSocket,
    address: SocketAddr,
}

impl Bound {
    /// `setting`: the name of the one that the address is from.
    pub(super) fn to(setting: &'static str, address: SocketAddr) -> Result<Self, Failure> {
        let bound = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // As every listener has it: connections of a server that has just ended are no obstacle.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let address = socket.local_addr()?;
            Ok(Self { setting, socket, address })
        };
        bound().map_err(|error: std::io::Error| cannot_listen(setting, address, &error))
    }

    /// With the port that the system chose, if it was to choose one.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen. The failure names the setting and the address.
    pub(super) fn listen(self) -> Result<TcpListener, Failure> {
        let Self { setting, socket, address } = self;
        socket.listen(BACKLOG).map_err(|error| cannot_listen(setting, address, &error))
    }
}

/// Whether another program, such as the server that these settings are for, listens at the address.
pub(super) fn in_use(setting: &'static str, address: SocketAddr) -> Result<bool, Failure> {
    match Bound::to(setting, address) {
        Ok(_) => Ok(false),
        Err(Failure::Broken(_)) => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// An address that is taken may be free another time; any other is a mistake in the settings.
fn cannot_listen(setting: &str, address: SocketAddr, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::AddrInUse => Failure::Broken(anyhow!("{setting}: {}", taken(address))),
        _ => Failure::Unusable(format!("{setting}: {address}: {error}")),
    }
}

/// What is said of an address that another program has.
pub(super) fn taken(address: SocketAddr) -> String {
    let free = SocketAddr::new(address.ip(), 0);
    format!("{address}: another program uses this address; choose another one, or {free} for a free port")
}

/// Whether the data folder is there, or can be created; the error names the setting.
fn data_folder(folder: &Path) -> Result<(), Failure> {
    let above = folder.ancestors().find(|above| above.exists());
    let above = above.unwrap_or(Path::new("."));
    if above == folder {
        return Ok(());
    }
    rustix::fs::access(above, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| cannot_create(folder, &error.into()))
}

/// What is said of a data folder that cannot be made.
pub(super) fn cannot_create(folder: &Path, error: &std::io::Error) -> Failure {
    let at = match std::env::current_dir() {
        Ok(here) if folder.is_relative() => format!(" in {}", here.display()),
        _ => String::new(),
    };
    let folder = folder.display();
    Failure::Unusable(format!(
        "data_dir: {folder} cannot be created{at}: {error}; name a folder that this user may create and write to"
    ))
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// As long as a database may take that is opened.
const PATIENCE: Duration = Duration::from_secs(5);

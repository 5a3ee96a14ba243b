//! What `serve` checks before it touches the database: settings, rules, keys, files and the address. A start that cannot
//! succeed leaves nothing behind.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
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
    let text = format!("{setting}: {address}: {error}");
    match error.kind() {
        ErrorKind::AddrInUse => Failure::Broken(anyhow!(text)),
        _ => Failure::Unusable(text),
    }
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// As long as a database may take that is opened.
const PATIENCE: Duration = Duration::from_secs(5);

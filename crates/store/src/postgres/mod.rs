//! PostgreSQL, through tokio-postgres.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_postgres::{AsyncMessage, Config, NoTls};

use crate::error::{Cause, Error, Result};
use crate::log::CHANNEL;

pub(crate) mod pool;
pub(crate) mod session;
pub(crate) mod transaction;

use session::Session;

/// How the database is reached.
#[derive(Clone)]
pub struct Address {
    config: Config,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut config = Config::from_str(text).map_err(|_| "not a valid postgres:// URL".to_owned())?;
        config.application_name("tollhouse").connect_timeout(CONNECT);
        Ok(Self { config })
    }
}

impl fmt::Display for Address {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use tokio_postgres::config::Host;
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(host)) => host.clone(),
            Some(Host::Unix(path)) => path.display().to_string(),
            None => "localhost".into(),
        };
        let port = self.config.get_ports().first().copied().unwrap_or(5432);
        let name = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
        write!(f, "postgres://{host}:{port}/{name}")
    }
}

impl Address {
    /// A connection to the primary (revocation.md A5).
    pub(crate) async fn connect(&self) -> Result<Session> {
        let mut session = self.look().await?;
        session.primary().await?;
        Ok(session)
    }

    /// One to whatever is there.
    pub(crate) async fn look(&self) -> Result<Session> {
        let connecting = tokio::time::timeout(CONNECT, self.config.connect(NoTls));
        let (client, connection) = connecting.await.map_err(|_| Error::late())??;
        tokio::spawn(async move {
            // Whoever has the client is told with its next statement.
            let _ = connection.await;
        });
        Ok(Session::new(client))
    }

    /// Wakes `wake` whenever the database says that the log has grown, until the connection breaks.
    pub(crate) async fn listen(&self, wake: &Notify, heard: impl Fn()) -> Result<()> {
        let connecting = tokio::time::timeout(CONNECT, self.config.connect(NoTls));
        let (client, mut connection) = connecting.await.map_err(|_| Error::late())??;
        let (say, mut words) = tokio::sync::mpsc::channel(1);
        let read = async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    // One that waits is as good as many.
                    Some(Ok(AsyncMessage::Notification(_))) => drop(say.try_send(())),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(Error::from(error)),
                    None => return Ok(()),
                }
            }
        };
        let follow = async move {
            client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
            client.execute("SELECT pg_notify($1, 'listening')", &[&CHANNEL]).await?;
            let mut first = true;
            loop {
                let within = if first { SILENCE } else { QUIET };
                match tokio::time::timeout(within, words.recv()).await {
                    Ok(Some(())) => {}
                    Ok(None) => return Ok(()),
                    Err(_) if first => return Err(Error::late()),
                    // A connection that is dead without knowing it is quiet too.
                    Err(_) => {
                        let answer = tokio::time::timeout(SILENCE, client.batch_execute("SELECT 1")).await;
                        answer.map_err(|_| Error::late())??;
                        continue;
                    }
                }
                if std::mem::take(&mut first) {
                    heard();
                }
                wake.notify_one();
            }
        };
        tokio::select! {
            ended = read => ended,
            ended = follow => ended,
        }
    }
}

pub(crate) fn standby() -> Error {
    Error::Unavailable(Cause::Rule("this is a standby, not the primary"))
}

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// After so long without a word it is asked whether anybody is there.
const QUIET: Duration = Duration::from_secs(30);

/// A word of our own that has not come back by then was swallowed.
const SILENCE: Duration = Duration::from_secs(2);

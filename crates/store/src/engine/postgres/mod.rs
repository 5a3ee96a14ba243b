//! PostgreSQL, through tokio-postgres.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, CancelToken};

use crate::error::{Cause, Error, Result};
use crate::invalidations::CHANNEL;

mod address;
pub(crate) mod group;
pub(crate) mod numbers;
pub(crate) mod pool;
pub(crate) mod session;
mod tls;
pub(crate) mod transaction;

pub use address::Address;
use session::{Origin, Session};

impl Address {
    /// A connection to the primary (revocation.md A5).
    pub(crate) async fn connect(&self) -> Result<Session> {
        self.connect_of(None).await
    }

    /// The same for one of a pool.
    pub(crate) async fn connect_of(&self, origin: Option<Origin>) -> Result<Session> {
        let mut session = self.look_as(origin).await?;
        session.primary().await?;
        Ok(session)
    }

    /// The same, of a server that may be about to start.
    pub(crate) async fn connect_soon(&self, origin: Option<Origin>) -> Result<Session> {
        let until = Instant::now() + START;
        loop {
            match self.connect_of(origin.clone()).await {
                Err(error) if error.is_not_there_yet() && Instant::now() + PAUSE < until => {
                    tokio::time::sleep(PAUSE).await;
                }
                connected => return connected,
            }
        }
    }

    /// One to whatever is there.
    pub(crate) async fn look(&self) -> Result<Session> {
        self.look_as(None).await
    }

    async fn look_as(&self, origin: Option<Origin>) -> Result<Session> {
        let connecting = tokio::time::timeout(CONNECT, self.0.config.connect(self.0.tls.clone()));
        let (client, connection) = connecting.await.map_err(|_| Error::late())?.map_err(|error| self.refused(error))?;
        tokio::spawn(async move {
            // Whoever has the client is told with its next statement.
            let _ = connection.await;
        });
        Ok(Session::new(client, origin))
    }

    /// Ends whatever statement runs.
    pub(crate) async fn cancel(&self, what: CancelToken) {
        // One that is not ended ends by itself.
        let _ = tokio::time::timeout(SILENCE, what.cancel_query(self.0.tls.clone())).await;
    }

    /// Wakes `wake` whenever the database says that the log has grown, until the connection breaks.
    pub(crate) async fn listen(&self, wake: &Notify, heard: impl Fn()) -> Result<()> {
        let connecting = tokio::time::timeout(CONNECT, self.0.config.connect(self.0.tls.clone()));
        let (client, mut connection) =
            connecting.await.map_err(|_| Error::late())?.map_err(|error| self.refused(error))?;
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
            let asked = async {
                client.batch_execute(&format!("LISTEN {CHANNEL}")).await?;
                client.execute("SELECT pg_notify($1, 'listening')", &[&CHANNEL]).await
            };
            tokio::time::timeout(CONNECT, asked).await.map_err(|_| Error::late())??;
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

/// The server answered as one that only follows another; whoever asks tries the next host, or later.
pub(crate) fn standby() -> Error {
    Error::Unavailable(Cause::Rule("this is a standby, not the primary"))
}

/// For a connection to be made.
const CONNECT: Duration = Duration::from_secs(5);

/// How long to retry while the server starts: less than the time-out of the pool, so that the caller gets the real
/// error.
const START: Duration = Duration::from_millis(4900);
const PAUSE: Duration = Duration::from_millis(100);

/// After so long without a word it is asked whether anybody is there.
const QUIET: Duration = Duration::from_secs(30);

/// A word of our own that has not come back by then was swallowed.
const SILENCE: Duration = Duration::from_secs(2);

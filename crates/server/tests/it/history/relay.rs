//! Between one server and its PostgreSQL: a wire that can be cut, held up, slowed down, or robbed of its notifications.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// Connections break, and none comes through.
    Cut,
    /// Nothing comes through; what was sent arrives when it is over.
    Held,
    /// Everything comes late.
    Slow(Duration),
    /// Notifications are lost.
    Deaf,
}

pub struct Relay {
    weather: watch::Sender<Weather>,
}

/// The socket of a PostgreSQL that is asked for as `postgres.rs` does, and the name of the database.
fn place(database_url: &str) -> Option<(PathBuf, String)> {
    let url = Url::parse(database_url).ok()?;
    let folder = url.query_pairs().find(|(name, _)| name == "host")?.1.into_owned();
    Some((PathBuf::from(folder).join(".s.PGSQL.5432"), url.path().trim_start_matches('/').to_owned()))
}

impl Relay {
    /// The relay, and the URL that leads through it. `None`: it is no PostgreSQL.
    pub async fn to(database_url: &str) -> Option<(Self, String)> {
        let (socket, name) = place(database_url)?;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, now) = watch::channel(Weather::Fair);
        tokio::spawn(async move {
            // Until nobody can change the weather any more: the run is over.
            let mut end = now.clone();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((near, _)) = accepted else { return };
                        tokio::spawn(connection(near, socket.clone(), now.clone()));
                    }
                    changed = end.changed() => if changed.is_err() { return },
                }
            }
        });
        // On a socket of this machine PostgreSQL speaks in clear anyway, and the frames can be read.
        Some((Self { weather }, format!("postgres://tollhouse@{address}/{name}?sslmode=disable")))
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn connection(near: TcpStream, socket: PathBuf, mut weather: watch::Receiver<Weather>) {
    if *weather.borrow() == Weather::Cut {
        return;
    }
    let _ = near.set_nodelay(true);
    let Ok(far) = UnixStream::connect(socket).await else { return };
    let (from_server, to_server) = near.into_split();
    let (from_database, to_database) = far.into_split();
    let asked = pass(from_server, to_database, weather.clone());
    let answered = pass_frames(from_database, to_server, weather.clone());
    tokio::select! {
        _ = asked => {}
        _ = answered => {}
        _ = weather.wait_for(|now| *now == Weather::Cut) => {}
    }
}

/// As the weather allows.
async fn wait(weather: &mut watch::Receiver<Weather>) -> std::io::Result<()> {
    let over = weather.wait_for(|now| *now != Weather::Held).await.map(|now| *now);
    match over {
        Ok(Weather::Slow(by)) => tokio::time::sleep(by).await,
        Ok(_) => {}
        Err(_) => return Err(std::io::ErrorKind::ConnectionAborted.into()),
    }
    Ok(())
}

async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        wait(&mut weather).await?;
        to.write_all(&bytes[..count]).await?;
    }
}

/// What a database sends is frames of a kind, a length and that many bytes; a notification is of the kind `A`.
async fn pass_frames(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let mut read = [0; 16 * 1024];
        let count = from.read(&mut read).await?;
        if count == 0 {
            return Ok(());
        }
        bytes.extend_from_slice(&read[..count]);
        wait(&mut weather).await?;
        let deaf = *weather.borrow() == Weather::Deaf;
        let (mut whole, mut out) = (0, Vec::new());
        while let Some(length) = bytes.get(whole + 1..whole + 5) {
            let length = u32::from_be_bytes(length.try_into().expect("four bytes")) as usize;
            let Some(frame) = bytes.get(whole..whole + 1 + length) else { break };
            if !(deaf && frame[0] == b'A') {
                out.extend_from_slice(frame);
            }
            whole += 1 + length;
        }
        bytes.drain(..whole);
        to.write_all(&out).await?;
    }
}

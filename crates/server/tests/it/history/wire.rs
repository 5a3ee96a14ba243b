//! Requests over real sockets that stay open, so that one is before a server the moment it is sent.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: String,
    form: Option<String>,
}

impl Request {
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self { method, path: path.into(), headers: String::new(), form: None }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    pub fn form(mut self, pairs: &[(&str, &str)]) -> Self {
        self.form = Some(crate::oauth::encoded(pairs));
        self
    }

    fn text(&self, host: SocketAddr) -> String {
        let Self { method, path, headers, form } = self;
        let body = form.as_deref().unwrap_or_default();
        let kind = match form {
            Some(_) => "Content-Type: application/x-www-form-urlencoded\r\n",
            None => "",
        };
        let length = body.len();
        format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{kind}{headers}Content-Length: {length}\r\n\r\n{body}")
    }
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The value that a `Set-Cookie` gives.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let line = format!("set-cookie: {name}=");
        let value = self.head.lines().find_map(|known| known.strip_prefix(&line))?;
        value.split(';').next()
    }
}

/// One connection, opened when it is needed.
#[derive(Default)]
pub struct Line {
    open: Option<(SocketAddr, BufStream<TcpStream>)>,
}

impl Line {
    /// `None`: no whole answer came in time, and nothing is known of what became of the request.
    pub async fn ask(&mut self, address: SocketAddr, request: &Request) -> Option<Answer> {
        let open = self.open.take().filter(|(known, _)| *known == address);
        let exchange = async {
            let mut socket = match open {
                Some((_, socket)) => socket,
                None => {
                    let socket = TcpStream::connect(address).await.ok()?;
                    socket.set_nodelay(true).ok()?;
                    BufStream::new(socket)
                }
            };
            socket.write_all(request.text(address).as_bytes()).await.ok()?;
            socket.flush().await.ok()?;
            let answer = read(&mut socket).await?;
            Some((answer, socket))
        };
        let (answer, socket) = timeout(PATIENCE, exchange).await.ok().flatten()?;
        self.open = Some((address, socket));
        Some(answer)
    }
}

async fn read(socket: &mut BufStream<TcpStream>) -> Option<Answer> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        if socket.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
        let line = head[before..].trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    Some(Answer { status, head, body: String::from_utf8(body).ok()? })
}

/// Longer than any fault of these runs lasts, and shorter than anything the rules of rotation speak of.
const PATIENCE: Duration = Duration::from_secs(12);

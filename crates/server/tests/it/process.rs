//! The program itself, as its own process: started, asked over a socket, and killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::test_server::TestServer;

pub struct Process {
    child: Child,
    pub address: SocketAddr,
    /// Of the listener for metrics, if there is one.
    pub metrics: Option<SocketAddr>,
    /// The lines of its log until it was ready.
    pub said: Vec<String>,
    panics: Arc<Mutex<Vec<String>>>,
}

/// `tollhouse`, with nothing of this machine's settings.
pub fn tollhouse(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollhouse"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("TOLLHOUSE_")) {
        command.env_remove(name);
    }
    command.env("TOLLHOUSE_SECRET_KEY_FILE", folder.join("secret_key"));
    // What the machine has in /etc is no matter here.
    command.env("TOLLHOUSE_SYSTEM_CONFIG", folder.join("etc/tollhouse.toml"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

/// Runs it to its end, which must come soon.
pub async fn output(command: Command) -> Output {
    let mut command = tokio::process::Command::from(command);
    let ended = tokio::time::timeout(Duration::from_secs(20), command.kill_on_drop(true).output()).await;
    ended.expect("it ends").expect("it runs")
}

/// `serve`, on a port of its own.
pub fn server(folder: &Path, database_url: &str) -> Command {
    let mut command = tollhouse(folder);
    command.args(["serve", "--listen", "127.0.0.1:0", "--database", database_url]);
    command.env("TOLLHOUSE_LOG_FORMAT", "json").env("TOLLHOUSE_DATA_DIR", folder.join("data"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

impl Process {
    /// `serve` on the database of a test server, ready.
    pub async fn serve(t: &TestServer, flags: &[&str]) -> Self {
        let mut command = server(t.folder.path(), &t.database_url);
        command.args(flags);
        Self::start(command).await
    }

    /// A [`server`], ready.
    pub async fn start(command: Command) -> Self {
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("its words")).lines();
        let mut said = Vec::new();
        let ready = tokio::time::timeout(Duration::from_secs(20), async {
            while let Some(line) = lines.next_line().await.expect("its words") {
                let known: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
                if known["fields"]["message"] == "ready" {
                    let of = |name: &str| known["fields"][name].as_str().map(str::to_owned);
                    return of("address").map(|address| (address, of("metrics")));
                }
                said.push(line);
            }
            None
        });
        let ready = ready.await.ok().flatten();
        let (address, metrics) = ready.unwrap_or_else(|| panic!("it is not ready: {said:?}"));
        let metrics = metrics.map(|address| address.parse().expect("an address"));
        // Somebody must go on reading, or it waits for room to speak.
        let panics = Arc::new(Mutex::new(Vec::new()));
        let heard = panics.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if line.contains("panicked at") {
                    heard.lock().expect("no panic").push(line);
                }
            }
        });
        Self { child, address: address.parse().expect("an address"), metrics, said, panics }
    }

    /// Where it has panicked.
    pub fn panics(&self) -> Vec<String> {
        self.panics.lock().expect("no panic").clone()
    }

    /// `demo` on a free port, ready, and the facts that it prints first.
    pub async fn demo(folder: &Path, flags: &[&str]) -> (Self, serde_json::Value) {
        Self::demo_at(folder, "127.0.0.1:0", flags).await
    }

    /// The same on that address, which need not be what it calls itself.
    pub async fn demo_at(folder: &Path, listen: &str, flags: &[&str]) -> (Self, serde_json::Value) {
        let mut command = tollhouse(folder);
        command.args(["demo", "--json", "--listen", listen]).args(flags);
        // One that is killed leaves its database, which then goes with the folder of the test.
        command.env("TMPDIR", folder);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("it starts");
        let mut lines = BufReader::new(child.stdout.take().expect("its words")).lines();
        let first = tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await;
        let first = first.expect("it speaks in time").expect("its words").expect("it is ready");
        let facts: serde_json::Value = serde_json::from_str(&first).expect("JSON");
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let base = facts["base_url"].as_str().expect("its address");
        let address = base.strip_prefix("http://").unwrap_or(listen).parse().expect("an address");
        (Self { child, address, metrics: None, said: Vec::new(), panics: Arc::default() }, facts)
    }

    /// SIGKILL.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it dies");
    }

    /// As `kill` names it.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        Command::new("kill").args([name, &id]).status().expect("kill runs");
    }

    /// SIGTERM; its exit code.
    pub async fn terminate(self) -> Option<i32> {
        self.signal("-TERM");
        self.ended().await
    }

    /// Its exit code, when it ends by itself.
    pub async fn ended(mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        ended.expect("it ends").expect("it ran").code()
    }
}

/// One request with a token, on a connection of its own. `None`: no whole answer came.
pub async fn ask(address: SocketAddr, method: &str, path: &str, token: &str) -> Option<(u16, String)> {
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nPRIVATE-TOKEN: {token}\r\nConnection: close\r\n\r\n");
    exchange(address, head).await
}

/// A form, sent in the same way.
pub async fn post_form(address: SocketAddr, path: &str, form: &str) -> Option<(u16, String)> {
    let length = form.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{form}"
    );
    exchange(address, request).await
}

/// The bytes of a request, sent; status and body of the answer.
pub async fn exchange(address: SocketAddr, request: String) -> Option<(u16, String)> {
    let asked = async {
        let mut socket = TcpStream::connect(address).await.ok()?;
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = Vec::new();
        socket.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::parse);
        let whole = length.is_none_or(|length| length == Ok(body.len()));
        whole.then(|| (status, body.to_owned()))
    };
    tokio::time::timeout(Duration::from_secs(15), asked).await.ok().flatten()
}

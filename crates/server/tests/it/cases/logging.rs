//! The log of a running server: what it says of refusals that come in masses, and what becomes of the server when the log
//! cannot be written.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;
use tollhouse_domain::scope::Scope;

use crate::process::{ask, exchange, tollhouse};
use crate::test_server::TestServer;

cases![
    t29_of_refusals_twenty_a_second_are_logged_and_all_are_counted,
    t29_no_answer_depends_on_the_log,
    a_failure_is_told_though_the_log_hangs,
    a_handler_that_panics_is_answered_and_named,
];

struct Server {
    child: Child,
    address: SocketAddr,
    metrics: SocketAddr,
}

impl Server {
    /// `serve` on the database of a test server, its log where it is told to.
    async fn start(t: &TestServer, log: Stdio, settings: &[(&str, &str)]) -> Self {
        let [free, metrics] = [0; 2].map(|_| TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [free, metrics] = [free, metrics].map(|listener| listener.local_addr().expect("an address"));
        let mut command = command(t.folder.path(), &t.database_url, free);
        command.env("TOLLHOUSE_METRICS_LISTEN", metrics.to_string());
        command.envs(settings.iter().copied()).stderr(log);
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("it starts");
        let server = Self { child, address: free, metrics };
        let began = Instant::now();
        while server.get("/-/readiness").await.is_none_or(|(status, _)| status != 200) {
            assert!(began.elapsed() < Duration::from_secs(20), "it is not ready");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        server
    }

    async fn get(&self, path: &str) -> Option<(u16, String)> {
        Self::get_from(self.address, path).await
    }

    async fn get_from(address: SocketAddr, path: &str) -> Option<(u16, String)> {
        exchange(address, format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")).await
    }

    /// A counter or gauge of `/-/metrics`.
    async fn metric(&self, series: &str) -> u64 {
        let (_, text) = Self::get_from(self.metrics, "/-/metrics").await.expect("metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series} in {text}")).parse().expect("a number")
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs").to_string();
        Command::new("kill").args([name, &id]).status().expect("kill runs");
    }

    /// SIGTERM; its exit code, and how long it took.
    async fn terminate(mut self) -> (Option<i32>, Duration) {
        let began = Instant::now();
        self.signal("-TERM");
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        (ended.expect("it ends").expect("it ran").code(), began.elapsed())
    }
}

fn command(folder: &Path, database_url: &str, listen: SocketAddr) -> Command {
    let mut command = tollhouse(folder);
    command.args(["serve", "--listen", &listen.to_string(), "--database", database_url]);
    command.env("TOLLHOUSE_LOG_FORMAT", "json").env("TOLLHOUSE_DATA_DIR", folder.join("data"));
    command.stdout(Stdio::null());
    command
}

async fn t29_of_refusals_twenty_a_second_are_logged_and_all_are_counted(t: TestServer) {
    t.leave().await;
    let file = t.folder.path().join("log");
    let server = Server::start(&t, std::fs::File::create(&file).expect("a file").into(), &[]).await;
    let began = Instant::now();
    for i in 0..300 {
        assert_eq!(ask(server.address, "GET", "/api/v4/user", &format!("nobodys-{i}")).await.map(|a| a.0), Some(401));
        if i % 20 == 0 {
            assert_eq!(server.get("/api/v4/nope").await.map(|a| a.0), Some(404));
        }
    }
    let windows = began.elapsed().as_secs() + 2;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let text = std::fs::read_to_string(&file).expect("the log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let of = |reason: &str| lines.iter().filter(|line| line["fields"]["reason"] == reason).count() as u64;
    let more = |reason: &str| -> u64 {
        let told = lines.iter().map(|line| &line["fields"]).filter(|fields| fields["for"] == reason);
        let told = told.inspect(|fields| assert_eq!(fields["of"], "refused"));
        told.map(|fields| {
            let said = fields["message"].as_str().and_then(|text| text.strip_prefix("and ")?.strip_suffix(" more"));
            said.and_then(|count| count.parse::<u64>().ok()).expect("a count")
        })
        .sum()
    };
    assert!(of("unknown") <= 20 * windows && of("unknown") >= 20, "{} in {windows} s", of("unknown"));
    assert!(more("unknown") > 0, "300 came in less than 15 s");
    assert_eq!((of("unknown") + more("unknown"), of("no_route"), more("no_route")), (300, 15, 0));
    assert_eq!(server.metric("tollhouse_refusals_total{reason=\"unknown\"}").await, 300);
    assert_eq!(server.metric("tollhouse_log_lines_lost_total").await, 0);
    assert_eq!(server.terminate().await.0, Some(0));
}

async fn t29_no_answer_depends_on_the_log(t: TestServer) {
    t.leave().await;
    let rules = t.folder.path().join("rules.toml");
    let write = |allow: &str| {
        let text = format!("[[rule]]\nname = 'all'\nhost = '127.0.0.1'\npath = '/*'\nallow = '{allow}'\n");
        std::fs::write(&rules, text).expect("a file");
    };
    for what in ["a pipe that is closed", "a disk that is full", "a reader that hangs"] {
        write("anyone");
        let (log, reader) = match what {
            "a disk that is full" => (Stdio::from(std::fs::File::create("/dev/full").expect("a device")), None),
            _ => {
                let (reader, writer) = std::io::pipe().expect("a pipe");
                (Stdio::from(writer), (what == "a reader that hangs").then_some(reader))
            }
        };
        let path = rules.display().to_string();
        let settings = [
            // A line for each answer.
            ("TOLLHOUSE_LOG_LEVEL", "debug"),
            ("TOLLHOUSE_GATEWAY_RULES", path.as_str()),
            ("TOLLHOUSE_GATEWAY_PEERS", "127.0.0.1"),
        ];
        let server = Server::start(&t, log, &settings).await;
        for i in 0..1_500 {
            let answer = server.get("/-/liveness").await;
            assert_eq!(answer.map(|answer| answer.0), Some(200), "answer {i} to {what}");
        }
        let refused = ask(server.address, "GET", "/api/v4/user", "nobodys").await;
        assert_eq!(refused.map(|answer| answer.0), Some(401), "{what}");
        let gate = async || {
            let address = server.address;
            let original = "X-Original-Proto: http\r\nX-Original-Host: 127.0.0.1\r\nX-Original-Method: GET\r\nX-Original-URI: /\r\n";
            let request = format!("GET /-/auth HTTP/1.1\r\nHost: {address}\r\n{original}Connection: close\r\n\r\n");
            exchange(address, request).await.map(|answer| answer.0)
        };
        assert_eq!(gate().await, Some(204), "{what}");
        // SIGHUP is heard each time.
        for (allow, status) in [("administrator", 401), ("anyone", 204), ("administrator", 401)] {
            write(allow);
            server.signal("-HUP");
            let began = Instant::now();
            while gate().await != Some(status) {
                assert!(began.elapsed() < Duration::from_secs(10), "{allow} is not heard of: {what}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        match what {
            // What a hanging reader has not taken may still be taken.
            "a reader that hangs" => {}
            _ => assert!(server.metric("tollhouse_log_lines_lost_total").await > 1_000, "{what}"),
        }
        let (code, took) = server.terminate().await;
        assert_eq!(code, Some(0), "{what}");
        assert!(took < Duration::from_secs(8), "{what}: {took:?}");
        drop(reader);
    }
}

async fn a_failure_is_told_though_the_log_hangs(t: TestServer) {
    t.leave().await;
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    // It is filled to the last byte and never read.
    let filled = std::thread::spawn({
        let mut writer = writer.try_clone().expect("another");
        move || while std::io::Write::write_all(&mut writer, &[b'x'; 512]).is_ok() {}
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let busy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut command = command(t.folder.path(), &t.database_url, busy.local_addr().expect("an address"));
    command.stderr(Stdio::from(writer.try_clone().expect("another")));
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("it starts");
    let ended = tokio::time::timeout(Duration::from_secs(15), child.wait()).await;
    assert_eq!(ended.expect("it ends").expect("it ran").code(), Some(1));
    let _ = std::io::Write::flush(&mut writer);
    drop((reader, writer));
    filled.join().expect("no panic");
}

/// The connection stays too.
async fn a_handler_that_panics_is_answered_and_named(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.leave().await;
    let file = t.folder.path().join("log");
    let log = std::fs::File::create(&file).expect("a file");
    let server = Server::start(&t, log.into(), &[("TOLLHOUSE_FAULT", "crash=/api/v4/version")]).await;
    let request = |path: &str, more: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\nPRIVATE-TOKEN: {token}\r\n{more}\r\n", server.address)
    };
    let mut socket = TcpStream::connect(server.address).await.expect("a connection");
    let both = request("/api/v4/version", "") + &request("/api/v4/user", "Connection: close\r\n");
    socket.write_all(both.as_bytes()).await.expect("room");
    let mut answers = String::new();
    let read = tokio::time::timeout(Duration::from_secs(15), socket.read_to_string(&mut answers)).await;
    read.expect("an end").expect("text");
    let (first, second) = answers.split_at(answers.rfind("HTTP/1.1 ").expect("an answer"));
    assert!(first.starts_with("HTTP/1.1 500 ") && second.starts_with("HTTP/1.1 200 "), "{answers}");
    assert!(first.ends_with(r#"{"message":"500 Internal Server Error"}"#), "{first}");
    assert!(second.contains(r#""username":"ada""#), "{second}");
    assert_eq!(ask(server.address, "GET", "/api/v4/metadata", &token).await.map(|answer| answer.0), Some(200));
    assert_eq!(server.metric("tollhouse_refusals_total{reason=\"internal\"}").await, 1);
    assert_eq!(server.terminate().await.0, Some(0));
    let text = std::fs::read_to_string(&file).expect("the log");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told =
        |text: &str| lines.iter().any(|line| line["fields"]["message"].as_str().is_some_and(|m| m.contains(text)));
    assert!(told("panicked at ") && told("a fault that a test switched on"), "{text}");
    let refused = lines.iter().map(|line| &line["fields"]).find(|fields| fields["reason"] == "internal");
    let refused = refused.unwrap_or_else(|| panic!("nothing names the endpoint: {text}"));
    assert_eq!((&refused["path"], &refused["status"]), (&Value::from("/api/v4/version"), &Value::from(500)));
}

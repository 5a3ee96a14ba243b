//! Metrics: what is counted, how it is written, and where it can be read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use axum::http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::config::Settings;
use tollhouse::metrics_page;
use tollhouse_domain::scope::Scope;

use crate::process::{Process, output, server};
use crate::test_server::{Ask, TestServer};

cases![
    metrics_are_in_the_format_of_prometheus,
    metrics_count_what_happens,
    metrics_cannot_be_made_to_grow,
    metrics_need_no_database,
    metrics_over_a_socket,
    networks_are_read_out_of_settings,
    settings_of_an_earlier_version_start_a_server,
    t34_the_main_port_has_no_metrics,
    t34_metrics_answer_on_their_listener_alone,
    t34_metrics_listen_nowhere_unless_told,
    t34_readiness_names_no_causes,
];

const NOT_THERE: &str = r#"{"error":"404 Not Found"}"#;

/// Every series with its value, read as strictly as the format is written down: a family is announced once, by HELP
/// and TYPE, before its samples, which stand together.
fn parsed(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with('\n') && !text.contains('\r') && text.is_ascii());
    let mut all = BTreeMap::new();
    let (mut families, mut family, mut kind) = (Vec::new(), "", "");
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            let announced = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type");
            let (typed, of) = announced.split_once(' ').expect("a type");
            assert!(typed == name && help.ends_with('.') && !families.contains(&name), "{line}");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{announced}");
            assert_eq!(name.ends_with("_total"), of == "counter", "{announced}");
            (family, kind) = (name, of);
            families.push(name);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("a bracket");
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (label, of) = label.split_once('=').expect("a label");
            assert!(label.bytes().all(|b| b.is_ascii_lowercase()), "{line}");
            let of = of.strip_prefix('"').and_then(|of| of.strip_suffix('"')).expect("a quoted value");
            assert!(!of.is_empty() && !of.contains(['"', '\\']), "{line}");
        }
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') && name.starts_with("tollhouse_"), "{line}");
        match kind {
            "histogram" => {
                let part = name.strip_prefix(family).expect("its family");
                assert!(["_bucket", "_sum", "_count"].contains(&part), "{line}");
            }
            _ => assert_eq!(name, family),
        }
        let value = value.parse().expect("a number");
        assert!(all.insert(series.to_owned(), value).is_none(), "twice: {line}");
    }
    all
}

/// Asked at the listener of its own, but for the socket.
async fn asked(t: &TestServer, ask: Ask) -> (StatusCode, HeaderMap, String) {
    let (parts, body) = metrics_page::answer(&t.app, ask.request()).into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    (parts.status, parts.headers, String::from_utf8(bytes.to_vec()).expect("UTF-8"))
}

pub async fn scraped(t: &TestServer) -> BTreeMap<String, f64> {
    let (status, headers, body) = asked(t, t.get("/-/metrics")).await;
    assert_eq!(status, 200);
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");
    parsed(&body)
}

async fn metrics_are_in_the_format_of_prometheus(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for _ in 0..3 {
        t.get("/api/v4/user").token(&token).await.has(200);
    }
    let all = scraped(&t).await;
    let buckets = all.iter().filter(|(series, _)| series.contains("_bucket{"));
    let mut buckets: Vec<(f64, f64)> = buckets
        .map(|(series, count)| {
            let bound = series.split('"').nth(1).expect("a bound").replace("+Inf", "inf");
            (bound.parse().expect("a number"), *count)
        })
        .collect();
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    let count = all["tollhouse_judgement_duration_seconds_count"];
    assert_eq!(buckets.last(), Some(&(f64::INFINITY, count)));
    assert!(count == 3.0 && all["tollhouse_judgement_duration_seconds_sum"] > 0.0);
    // Before anything of its kind happened.
    assert_eq!(all[r#"tollhouse_refusals_total{reason="internal"}"#], 0.0);
    assert_eq!(all[r#"tollhouse_requests_total{face="gateway",class="2xx"}"#], 0.0);
}

async fn metrics_count_what_happens(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    let session = ada.session().await;
    // What a server says of itself when it starts may make it ask once more.
    t.app.settled().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let before = scraped(&t).await;
    for _ in 0..4 {
        t.get("/api/v4/user").token(&token).await.has(200);
    }
    t.post("/api/v4/projects").token(&token).form("name=x").await.has(403);
    for _ in 0..2 {
        t.get("/api/v4/user").token("glpat-nobody").await.has(401);
    }
    t.post("/api/v4/projects").token("glpat-nobody").form("name=x").await.has(401);
    t.get("/api/v4/user").await.has(401);
    t.get("/api/v4/nope").await.has(404);
    t.post("/oauth/token").form("grant_type=client_credentials").await.has(401);
    t.get("/oauth/discovery/keys").await.has(200);
    t.get("/").await.has(302);
    t.get("/").session(&session).await.has(200);
    t.get("/users/sign_in").host("evil.test").await.has(421);
    t.get("/-/health").await.has(200);
    let after = scraped(&t).await;
    let more = |series: &str| after[series] - before[series];
    for (face, class, count) in [
        ("api", "2xx", 4.0),
        ("api", "4xx", 6.0),
        ("api", "5xx", 0.0),
        ("oauth", "2xx", 1.0),
        ("oauth", "4xx", 1.0),
        ("page", "2xx", 1.0),
        ("page", "3xx", 1.0),
        ("page", "4xx", 1.0),
        // Whoever looks at the numbers is not counted.
        ("probe", "2xx", 1.0),
    ] {
        assert_eq!(more(&format!(r#"tollhouse_requests_total{{face="{face}",class="{class}"}}"#)), count, "{face}");
    }
    for (reason, count) in [
        ("insufficient_scope", 1.0),
        ("unknown", 3.0),
        ("missing", 1.0),
        ("no_route", 1.0),
        ("invalid_client", 1.0),
        ("wrong_host", 1.0),
        ("other", 0.0),
    ] {
        assert_eq!(more(&format!(r#"tollhouse_refusals_total{{reason="{reason}"}}"#)), count, "{reason}");
    }
    // Four of the token, one for the write, two and a write of nobody, one without anything; a page judges nobody.
    assert_eq!(more("tollhouse_judgement_duration_seconds_count"), 9.0);
    // A request with a body is looked up by its head first, and then as a whole.
    assert_eq!(more(r#"tollhouse_ledger_recalls_total{result="hit"}"#), 5.0);
    assert_eq!(more(r#"tollhouse_ledger_recalls_total{result="unknown"}"#), 2.0);
    assert_eq!(more(r#"tollhouse_ledger_recalls_total{result="miss"}"#), 3.0);
    assert_eq!(more("tollhouse_lookups_total"), 3.0);
    assert_eq!(more("tollhouse_ledger_entries"), 2.0);
    assert_eq!((after["tollhouse_hash_queue_waiting"], after["tollhouse_hash_queue_running"]), (0.0, 0.0));
    let held = t.app.hasher.place(None);
    assert_eq!(scraped(&t).await["tollhouse_hash_queue_waiting"], 1.0);
    drop(held);
}

async fn metrics_cannot_be_made_to_grow(t: TestServer) {
    let before = scraped(&t).await.len();
    for i in 0..200 {
        t.get(&format!("/api/v4/x{i}?a{i}=b")).token(&format!("glpat-{i}")).with(&format!("x-{i}"), "y").await;
        let method = Method::from_bytes(format!("M{i}").as_bytes()).expect("a method");
        t.ask(method, &format!("/{i}")).host(&format!("h{i}.test")).await;
    }
    assert_eq!(scraped(&t).await.len(), before);
}

async fn metrics_need_no_database(t: TestServer) {
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    t.get("/api/v4/user").token("x").await.has(503);
    let all = scraped(&t).await;
    assert_eq!(all[r#"tollhouse_refusals_total{reason="unavailable"}"#], 1.0);
    assert_eq!(all[r#"tollhouse_requests_total{face="api",class="5xx"}"#], 1.0);
}

async fn metrics_over_a_socket(t: TestServer) {
    t.leave().await;
    let mut command = server(t.folder.path(), &t.database_url);
    command.env("TOLLHOUSE_METRICS_LISTEN", "127.0.0.1:0");
    let server = Process::start(command).await;
    let metrics = server.metrics.expect("a listener for metrics");
    let raw = async |address: SocketAddr, head: &str| {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        socket.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let open = TcpStream::connect(server.address).await.expect("a connection");
    // On a connection that has been taken by then, as both are by one accept loop.
    assert!(raw(server.address, &get("/-/health", "x")).await.starts_with("HTTP/1.1 200"));
    for host in [&metrics.to_string(), "tollhouse.internal:9180", "evil.test"] {
        let answer = raw(metrics, &get("/-/metrics", host)).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(parsed(body)["tollhouse_connections"] >= 1.0);
        let main = raw(server.address, &get("/-/metrics", host)).await;
        assert!(main.starts_with("HTTP/1.1 404") && main.ends_with(NOT_THERE), "{main}");
    }
    drop(open);
    // There is nothing else there, and what is no correct HTTP is refused as elsewhere.
    for path in ["/", "/api/v4/user", "/-/health", "/-/auth", "/users/sign_in", "/metrics/x"] {
        assert!(raw(metrics, &get(path, "x")).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    assert!(raw(metrics, "GET /-/metrics HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"));
    let headed = raw(metrics, &get("/metrics", "x").replace("GET", "HEAD")).await;
    assert!(headed.starts_with("HTTP/1.1 200") && headed.ends_with("\r\n\r\n"), "{headed}");
    // Whoever holds a connection there keeps nobody from the main one, and does not hold up the end.
    let _held = TcpStream::connect(metrics).await.expect("a connection");
    assert_eq!(server.terminate().await, Some(0));
    assert!(TcpStream::connect(metrics).await.is_err());
}

async fn networks_are_read_out_of_settings(_: TestServer) {
    let error = |peers: &str| Settings::with(&format!("gateway.peers = {peers}")).expect_err(peers).0;
    for (peers, words) in [
        ("['10.1.2.3/8']", "the network is 10.0.0.0/8"),
        ("['localhost']", "`localhost` is neither an address nor a network"),
        ("['']", "neither an address nor a network"),
        ("[1]", "expected a string"),
        ("'127.0.0.1'", "this must be a list"),
    ] {
        let text = error(peers);
        assert!(text.contains(words) && text.contains("peers"), "{text}");
    }
}

async fn t34_the_main_port_has_no_metrics(t: TestServer) {
    let admin = t.admin().await;
    let (token, session) = (admin.token([Scope::Api]).await, admin.session().await);
    for from in ["127.0.0.1", "::1", "10.0.0.1", "192.0.2.1"] {
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let ask = || t.ask(method.clone(), "/-/metrics").from(from.parse().expect("an address"));
            for ask in [ask(), ask().host("evil.test"), ask().token(&token), ask().session(&session)] {
                let reply = ask.await;
                reply.has(404);
                assert!(reply.body == NOT_THERE || method == Method::HEAD, "{}", reply.body);
            }
        }
    }
}

async fn t34_metrics_answer_on_their_listener_alone(t: TestServer) {
    for path in ["/-/metrics", "/metrics"] {
        for method in [Method::GET, Method::HEAD] {
            assert_eq!(asked(&t, t.ask(method, path).host("evil.test")).await.0, 200, "{path}");
        }
        for method in [Method::POST, Method::OPTIONS, Method::DELETE] {
            assert_eq!(asked(&t, t.ask(method, path)).await.0, 404, "{path}");
        }
    }
    assert_eq!(asked(&t, t.get("/-/metrics").without_host()).await.0, 400);
    assert_eq!(asked(&t, t.get("/-/metrics").host("a b")).await.0, 400);
    let token = t.admin().await.token([Scope::Api]).await;
    for path in ["/api/v4/user", "/", "/-/health", "/-/auth", "//-/metrics", "/-/metrics/x"] {
        assert_eq!(asked(&t, t.get(path).token(&token)).await.0, 404, "{path}");
    }
}

async fn t34_metrics_listen_nowhere_unless_told(t: TestServer) {
    t.leave().await;
    let server = Process::serve(&t, &[]).await;
    assert_eq!(server.metrics, None);
    assert!(server.said.iter().all(|line| !line.contains("metrics")), "{:?}", server.said);
    // Another process that is to listen there is told why it cannot.
    for (address, warned, code) in [(server.address.to_string(), false, 1), ("192.0.2.1:9180".to_owned(), true, 2)] {
        let mut command = crate::process::server(t.folder.path(), &t.database_url);
        command.env("TOLLHOUSE_METRICS_LISTEN", &address);
        let ended = output(command).await;
        let text = String::from_utf8(ended.stderr).expect("UTF-8");
        assert_eq!(ended.status.code(), Some(code), "{text}");
        assert!(text.contains(&format!("metrics.listen: {address}: ")), "{text}");
        assert_eq!(text.contains("anyone who can reach the address can read the metrics"), warned, "{text}");
    }
    assert_eq!(server.terminate().await, Some(0));
}

/// The settings that a server of step 3 printed.
async fn settings_of_an_earlier_version_start_a_server(t: TestServer) {
    t.leave().await;
    let earlier = include_str!("../upgrade/step_3/settings.toml");
    let file = t.folder.path().join("earlier.toml");
    std::fs::write(&file, earlier).expect("a file");
    let mut command = server(t.folder.path(), &t.database_url);
    command.arg("--config").arg(&file);
    let server = Process::start(command).await;
    let told = server.said.iter().filter(|line| line.contains("metrics.allow")).collect::<Vec<_>>();
    assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains("metrics.listen"), "{told:?}");
    assert_eq!(server.terminate().await, Some(0));
}

async fn t34_readiness_names_no_causes(t: TestServer) {
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    t.get("/-/readiness").await.is(503, r#"{"status":"failed"}"#);
}

//! `/-/metrics`: what is counted, how it is written, and who may see it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tollhouse::config::Settings;
use tollhouse_domain::scope::Scope;

use crate::process::Process;
use crate::town::{Ask, Town};

cases![
    metrics_are_in_the_format_of_prometheus,
    metrics_count_what_happens,
    metrics_cannot_be_made_to_grow,
    metrics_need_no_database,
    metrics_over_a_socket,
    networks_are_read_out_of_settings,
    t34_metrics_answer_this_machine_alone,
    t34_metrics_answer_who_is_allowed with "metrics.allow = ['10.0.0.0/8', '2001:db8::/32', '192.0.2.7']",
    t34_metrics_answer_nobody_if_nobody_is_allowed with "metrics.allow = []",
    t34_metrics_are_not_for_what_was_forwarded,
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

async fn scraped(t: &Town) -> BTreeMap<String, f64> {
    let reply = t.get("/-/metrics").await;
    assert_eq!(reply.has(200).header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    parsed(&reply.body)
}

async fn metrics_are_in_the_format_of_prometheus(t: Town) {
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
    t.ask(Method::HEAD, "/-/metrics").await.has(200);
}

async fn metrics_count_what_happens(t: Town) {
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
    t.post("/oauth/token").form("grant_type=password").await.has(401);
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
        // The first look at them counts for the second.
        ("probe", "2xx", 2.0),
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

async fn metrics_cannot_be_made_to_grow(t: Town) {
    let before = scraped(&t).await.len();
    for i in 0..200 {
        t.get(&format!("/api/v4/x{i}?a{i}=b")).token(&format!("glpat-{i}")).with(&format!("x-{i}"), "y").await;
        let method = Method::from_bytes(format!("M{i}").as_bytes()).expect("a method");
        t.ask(method, &format!("/{i}")).host(&format!("h{i}.test")).await;
    }
    assert_eq!(scraped(&t).await.len(), before);
}

async fn metrics_need_no_database(t: Town) {
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    t.get("/api/v4/user").token("x").await.has(503);
    let all = scraped(&t).await;
    assert_eq!(all[r#"tollhouse_refusals_total{reason="unavailable"}"#], 1.0);
    assert_eq!(all[r#"tollhouse_requests_total{face="api",class="5xx"}"#], 1.0);
}

async fn metrics_over_a_socket(t: Town) {
    t.app.db.close().await;
    let server = Process::serve(&t, &[]).await;
    let asked = async |headers: &str| {
        let mut socket = TcpStream::connect(server.address).await.expect("a connection");
        let head = format!("GET /-/metrics HTTP/1.1\r\n{headers}Connection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let open = TcpStream::connect(server.address).await.expect("a connection");
    let own = format!("Host: {}\r\n", server.address);
    let answer = asked(&own).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a body");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(parsed(body)["tollhouse_connections"], 2.0);
    drop(open);
    for headers in [format!("{own}X-Forwarded-For: 127.0.0.1\r\n"), "Host: git.example.test\r\n".to_owned()] {
        assert!(asked(&headers).await.starts_with("HTTP/1.1 404"), "{headers}");
    }
    assert_eq!(server.terminate().await, Some(0));
}

async fn networks_are_read_out_of_settings(_: Town) {
    let error = |allow: &str| Settings::with(&format!("metrics.allow = {allow}")).expect_err(allow).0;
    for (allow, words) in [
        ("['10.1.2.3/8']", "the network is 10.0.0.0/8"),
        ("['localhost']", "`localhost` is neither an address nor a network"),
        ("['']", "neither an address nor a network"),
        ("[1]", "expected a string"),
        ("'127.0.0.1'", "this must be a array"),
    ] {
        let text = error(allow);
        assert!(text.contains(words) && text.contains("allow"), "{text}");
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn ask(t: &Town, from: &str) -> Ask {
    t.get("/-/metrics").from(address(from))
}

async fn t34_metrics_answer_this_machine_alone(t: Town) {
    for from in ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
        ask(&t, from).await.has(200);
    }
    for from in ["192.0.2.1", "10.0.0.1", "::ffff:10.0.0.1", "::", "fe80::1", "2001:db8::1", "128.0.0.1"] {
        ask(&t, from).await.is(404, NOT_THERE);
        ask(&t, from).with("x-forwarded-for", "127.0.0.1").await.is(404, NOT_THERE);
        t.ask(Method::HEAD, "/-/metrics").from(address(from)).await.has(404);
    }
    let token = t.admin().await.token([Scope::Api]).await;
    ask(&t, "192.0.2.1").token(&token).await.is(404, NOT_THERE);
    let said = crate::town::logged(async { drop(ask(&t, "192.0.2.1").await) }).await;
    assert!(said.contains(r#"reason="metrics_peer""#), "{said}");
}

async fn t34_metrics_answer_who_is_allowed(t: Town) {
    for from in ["10.0.0.1", "10.255.255.255", "::ffff:10.0.0.1", "2001:db8:ffff::1", "192.0.2.7"] {
        // From elsewhere the name is what the operator calls this server.
        ask(&t, from).host("tollhouse.internal:8080").await.has(200);
        ask(&t, from).with("forwarded", "for=10.0.0.1").await.is(404, NOT_THERE);
    }
    for from in ["127.0.0.1", "::1", "11.0.0.1", "2001:db9::1", "192.0.2.8"] {
        ask(&t, from).await.is(404, NOT_THERE);
    }
}

async fn t34_metrics_answer_nobody_if_nobody_is_allowed(t: Town) {
    for from in ["127.0.0.1", "::1", "10.0.0.1"] {
        ask(&t, from).await.is(404, NOT_THERE);
    }
}

async fn t34_metrics_are_not_for_what_was_forwarded(t: Town) {
    for (name, value) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "127.0.0.1:8080"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8080"),
        ("x-forwarded-uri", "/-/metrics"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-server", "proxy"),
        ("x-forwarded-prefix", ""),
        ("x-forwarded", "1"),
        ("x_forwarded_for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
        ("forwarded", ""),
        ("x-real-ip", "127.0.0.1"),
        ("x_real_ip", "127.0.0.1"),
        ("x-original-uri", "/-/metrics"),
        ("x-original-method", "GET"),
        ("x-original-for", "127.0.0.1"),
        ("x-original-host", "127.0.0.1"),
        ("x-original-proto", "http"),
        ("x-original-url", "/-/metrics"),
        ("via", "1.1 proxy"),
        ("VIA", "1.1 proxy"),
    ] {
        ask(&t, "127.0.0.1").with(name, value).await.is(404, NOT_THERE);
        ask(&t, "::1").with(name, value).await.is(404, NOT_THERE);
    }
    // A proxy on this machine that says nothing but passes the name on.
    for host in ["git.example.test", "127.0.0.1.evil.test", "evil.test:8080", "192.0.2.1", "", "localhost.", "a b"] {
        ask(&t, "127.0.0.1").host(host).await.is(404, NOT_THERE);
    }
    ask(&t, "127.0.0.1").with("host", "git.example.test").await.is(404, NOT_THERE);
    for host in ["localhost", "localhost:8080", "127.0.0.1:9", "[::1]:8080"] {
        ask(&t, "127.0.0.1").host(host).await.has(200);
    }
    let said = crate::town::logged(async { drop(ask(&t, "::1").with("via", "x").await) }).await;
    assert!(said.contains(r#"reason="metrics_forwarded""#), "{said}");
    // What other programs on this machine may send is no sign of a proxy.
    let plain =
        ask(&t, "127.0.0.1").with("user-agent", "Prometheus/3.0").with("x-prometheus-scrape-timeout-seconds", "10");
    plain.with("accept-encoding", "gzip").with("x-request-id", "1").await.has(200);
}

async fn t34_readiness_names_no_causes(t: Town) {
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    t.get("/-/readiness").await.is(503, r#"{"status":"failed"}"#);
}

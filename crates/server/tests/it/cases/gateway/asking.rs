//! Who may ask, what an answer is, and what a question is (GATE-001 to GATE-018, GATE-090).

use std::net::IpAddr;

use axum::http::Method;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::{HERE, IDENTITY, THERE, asked, original, rule, rules, signed_in};
use crate::test_server::{Ask, TestServer, logged};

gates![
    gate_001_strangers_are_refused,
    gate_002_peers_are_networks,
    gate_003_without_rules_nothing_passes,
    gate_004_an_answer_is_for_a_proxy,
    gate_005_the_question_is_not_the_original,
    gate_006_nothing_else_looks_at_it,
    gate_007_without_a_database,
    gate_007_what_is_remembered_needs_none,
    gate_008_a_mistake_of_ours,
    gate_010_what_is_missing_is_not_made_up,
    gate_011_what_is_said_twice_is_not_said,
    gate_012_what_cannot_be_read_is_not_guessed,
    gate_012_a_websocket_is_http with "gateway.dialect = 'forwarded'\nexternal_url = 'https://git.example.test'",
    gate_014_what_forward_auth_of_traefik_sends with "gateway.dialect = 'forwarded'\nexternal_url = 'http://127.0.0.1:8000'",
    gate_013_no_other_header_is_believed,
    gate_014_the_other_dialect with "gateway.dialect = 'forwarded'",
    gate_015_who_asked_the_proxy,
    gate_016_nobody_else_speaks_with_our_voice,
    gate_017_another_voice with "gateway.prefix = 'X-Auth-'",
    gate_018_odd_names_of_headers,
    gate_090_a_refusal_is_a_line,
    t1_a_proxy_asks_by_its_own_method,
    t2_identity_headers_of_a_client,
    t3_strangers_and_answers,
    t14_guesses_count_for_who_asked_the_proxy,
];

async fn gate_001_strangers_are_refused(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = |peer: &str| asked(&t, "GET", &format!("{HERE}/")).token(&token).from(peer.parse().expect("an address"));
    ask("127.0.0.1").await.passes("all");
    for stranger in ["127.0.0.2", "192.0.2.1", "::1", "::ffff:127.0.0.2"] {
        let reply = ask(stranger).with("x-forwarded-for", "127.0.0.1").with("x-real-ip", "127.0.0.1").await;
        reply.is_kept_out(403);
    }
    let nobody = t.reopened("").await;
    rule(&nobody, "allow = 'anyone'").await;
    asked(&nobody, "GET", &format!("{HERE}/")).await.is_kept_out(403);
    nobody.app.db.close().await;
}

async fn gate_002_peers_are_networks(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let ask = |peer: &str| asked(&t, "GET", &format!("{HERE}/")).from(peer.parse().expect("an address"));
    for known in ["198.51.100.0", "198.51.100.127", "::ffff:198.51.100.7", "2001:db8:0:1::1"] {
        ask(known).await.passes("all");
    }
    for stranger in ["198.51.100.128", "198.51.99.255", "127.0.0.2", "2001:db8:0:2::1", "::198.51.100.7", "::1"] {
        ask(stranger).await.is_kept_out(403);
    }
}

async fn gate_003_without_rules_nothing_passes(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.is_kept_out(403);
    super::rules(&t, "# none\n").await;
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.is_kept_out(403);
    signed_in(&t).await;
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.passes("all");
}

async fn gate_004_an_answer_is_for_a_proxy(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let html = |ask: Ask| ask.with("accept", "text/html").with("origin", HERE);
    let url = format!("{HERE}/x");
    html(asked(&t, "GET", &url).token(&token)).await.passes("all");
    html(asked(&t, "GET", &url)).await.is_kept_out(401);
    html(asked(&t, "GET", &url).token("unknown")).await.is_kept_out(401);
    html(asked(&t, "GET", &format!("{HERE}/../x"))).await.is_kept_out(403);
    for method in [Method::GET, Method::POST, Method::DELETE, Method::OPTIONS] {
        let ask =
            original("GET", &url).iter().fold(t.ask(method, "/-/auth"), |ask, (name, value)| ask.with(name, value));
        ask.await.is_kept_out(401);
    }
}

async fn gate_005_the_question_is_not_the_original(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let (reads, all) = (ada.token([Scope::ReadApi]).await, ada.token([Scope::Api]).await);
    let ask = |by: Method, path: &str, method: &str| {
        original(method, &format!("{THERE}/x")).iter().fold(t.ask(by, path), |ask, (name, value)| ask.with(name, value))
    };
    for by in [Method::GET, Method::HEAD, Method::POST, Method::PUT] {
        ask(by.clone(), "/-/auth", "POST").token(&reads).await.is_kept_out(403);
        ask(by.clone(), "/-/auth", "GET").token(&reads).await.passes("all");
        // Neither its query, nor its body, nor the name it is asked under.
        ask(by.clone(), &format!("/-/auth?private_token={all}"), "GET").await.is_kept_out(401);
        ask(by.clone(), "/-/auth", "GET").form(&format!("private_token={all}")).await.is_kept_out(401);
        ask(by, "/-/auth?x-original-method=GET", "POST").token(&all).host("evil.test").await.passes("all");
    }
}

async fn gate_006_nothing_else_looks_at_it(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let ask = |path: &str| {
        let headers = original("GET", &format!("{HERE}/"));
        headers.iter().fold(t.ask(Method::OPTIONS, path), |ask, (name, value)| ask.with(name, value))
    };
    let preflight = |ask: Ask| ask.with("origin", "https://evil.test").with("access-control-request-method", "GET");
    preflight(ask("/-/auth")).await.passes("all");
    // What the API would refuse before it looks: a format, a body that is not read, a target with broken UTF-8.
    asked(&t, "GET", &format!("{HERE}/?format=xml&x=%ff")).body("image/png", "x").await.passes("all");
    for path in ["/-/auth/", "/-/auth.json", "/-/auth/x", "/-//auth", "/-/Auth", "/-/%61uth"] {
        let reply = ask(path).await;
        assert_ne!(reply.status.as_u16(), 204, "{path}");
    }
}

async fn gate_007_without_a_database(t: TestServer) {
    signed_in(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.app.db.faults.set(Fault::Everything);
    let reply = asked(&t, "GET", &format!("{HERE}/")).token(&token).await;
    assert_eq!(reply.is_kept_out(503).header("retry-after"), Some("1"));
    asked(&t, "GET", &format!("{HERE}/")).token("anything").await.is_kept_out(503);
    t.app.db.faults.set(Fault::None);
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.passes("all");
}

async fn gate_007_what_is_remembered_needs_none(t: TestServer) {
    signed_in(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = || asked(&t, "GET", &format!("{HERE}/")).token(&token);
    // What is looked up while the log moves on is not kept.
    for _ in 0..20 {
        t.app.settled().await;
        ask().await.passes("all");
        t.app.db.faults.set(Fault::Everything);
        let reply = ask().await;
        t.app.db.faults.set(Fault::None);
        if reply.status != 503 {
            reply.passes("all");
            return;
        }
    }
    panic!("it is never remembered");
}

async fn gate_008_a_mistake_of_ours(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
    t.app.faults.crash("/-/auth");
    asked(&t, "GET", &format!("{HERE}/")).await.is_kept_out(500);
}

async fn gate_010_what_is_missing_is_not_made_up(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let all = original("GET", &format!("{HERE}/"));
    for missing in 0..4 {
        let said = all.iter().enumerate().filter(|(i, _)| *i != missing).map(|(_, pair)| pair);
        let ask = said.fold(t.get("/-/auth"), |ask, (name, value)| ask.with(name, value));
        ask.await.is_kept_out(403);
    }
    t.get("/-/auth").await.is_kept_out(403);
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
}

async fn gate_011_what_is_said_twice_is_not_said(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    for (name, value) in original("GET", &format!("{HERE}/")) {
        asked(&t, "GET", &format!("{HERE}/")).with(name, &value).await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/")).with(name, "").await.is_kept_out(403);
    }
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
}

async fn gate_012_what_cannot_be_read_is_not_guessed(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let with = |changed: &str, value: &str| {
        let all = original("GET", &format!("{HERE}/"));
        all.iter()
            .fold(t.get("/-/auth"), |ask, (name, said)| ask.with(name, if *name == changed { value } else { said }))
    };
    for (name, values) in [
        ("x-original-method", &["", "get", "GET POST", "GET,POST", "G\tET", "GET\u{e9}", "CONNECT"][..]),
        ("x-original-proto", &["", "HTTP", "ws", "https,http", "https "]),
        (
            "x-original-host",
            &["", "a b", "127.0.0.1:0", "127.0.0.1:x", "127.0.0.1,x", "u@127.0.0.1", "127.0.0.1/", "[::1"],
        ),
    ] {
        for value in values {
            with(name, value).await.is_kept_out(403);
        }
    }
    with("x-original-host", "127.0.0.1:99").await.passes("all");
}

async fn gate_012_a_websocket_is_http(t: TestServer) {
    let session = t.user("ada").await.session().await;
    let host = "[[rule]]\nname = 'own'\nhost = 'git.example.test'\npath = '/*'\n";
    rules(&t, host).await;
    let ask = |scheme: &str| {
        let said = [("method", "GET"), ("proto", scheme), ("host", "git.example.test"), ("uri", "/socket")];
        let ask = said.iter().fold(t.get("/-/auth"), |ask, (n, value)| ask.with(&format!("x-forwarded-{n}"), value));
        ask.session(&session)
    };
    // The session counts on the origin of `external_url` alone, so the scheme decides.
    for scheme in ["https", "wss", "WSS", "Https", "wSs"] {
        ask(scheme).await.passes("own");
    }
    for scheme in ["http", "ws", "WS", "HTTP"] {
        ask(scheme).await.is_kept_out(401);
    }
    for scheme in ["", "w", "wsss", "ws,wss", "wss, https", "ws://", "h2c", "https "] {
        ask(scheme).await.is_kept_out(403);
    }
    // It is no preflight, and a foreign page opens none.
    ask("wss").with("origin", "https://git.example.test").await.passes("own");
    ask("wss").with("origin", "https://evil.test").await.is_kept_out(401);
}

/// By GET, with every header of the client's request, and the five that the documentation of ForwardAuth names.
async fn gate_014_what_forward_auth_of_traefik_sends(t: TestServer) {
    rules(&t, include_str!("../../../../../../examples/gateway.toml")).await;
    let file = include_str!("../../../../../../examples/traefik.yml");
    assert!(file.contains("address: \"http://127.0.0.1:8080/-/auth\"") && file.contains("trustForwardHeader: false"));
    for name in IDENTITY {
        let told = file.lines().filter_map(|line| line.trim().strip_prefix("- X-Tollhouse-"));
        assert_eq!(told.filter(|told| told.eq_ignore_ascii_case(name)).count(), 1, "{name}");
    }
    for taken in ["Authorization", "Private-Token", "Cookie", "X-Http-Method-Override", "Connection"] {
        assert!(file.lines().any(|line| line.trim() == format!("{taken}: \"\"")), "{taken}");
    }
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let ask = |method: &str, uri: &str| {
        let said =
            [("method", method), ("proto", "http"), ("host", "127.0.0.1:8000"), ("uri", uri), ("for", "192.0.2.7")];
        let ask = said.iter().fold(t.get("/-/auth"), |ask, (n, value)| ask.with(&format!("x-forwarded-{n}"), value));
        ask.with("user-agent", "curl/8").with("accept", "*/*").with("accept-encoding", "gzip")
    };
    ask("GET", "/public/x?a=b").await.passes("public");
    ask("GET", "/reports/").await.is_kept_out(401);
    ask("POST", "/reports/").token(&token).await.passes("everything-else");
    ask("DELETE", "/reports/").bearer(&token).await.passes("everything-else");
    ask("GET", "/reports/").session(&ada.session().await).await.passes("everything-else");
    ask("GET", "/admin/").token(&token).await.is_kept_out(403);
    ask("GET", "/reports/../admin/").token(&token).await.is_kept_out(403);
    ask("GET", "/reports/").token(&token).with("x-tollhouse-user-id", "1").await.is_kept_out(403);
    ask("GET", "/reports/").token(&token).with("x-forwarded-host", "evil.test").await.is_kept_out(403);
    ask("CONNECT", "/public/x").await.is_kept_out(403);
}

/// What a client may send along, and a proxy may pass on.
const ELSEWHERE: [(&str, &str); 12] = [
    ("x-forwarded-method", "GET"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-host", "127.0.0.1:8080"),
    ("x-forwarded-uri", "/public/x"),
    ("x-forwarded-for", "127.0.0.1"),
    ("forwarded", "for=127.0.0.1;host=127.0.0.1;proto=http"),
    ("x-real-ip", "127.0.0.1"),
    ("x-original-url", "/public/x"),
    ("x-rewrite-url", "/public/x"),
    ("x-http-method-override", "GET"),
    ("x_original_uri", "/public/x"),
    ("x-forwarded-port", "8080"),
];

async fn gate_013_no_other_header_is_believed(t: TestServer) {
    super::rules(
        &t,
        "[[rule]]\nname = 'public'\nhost = '127.0.0.1'\npath = '/public/*'\nmethod = 'GET'\nallow = 'anyone'\n\
         [[rule]]\nname = 'rest'\nhost = ['127.0.0.1', 'api.example.test']\npath = '/*'\nallow = 'administrator'\n",
    )
    .await;
    for (name, value) in ELSEWHERE {
        asked(&t, "POST", &format!("{THERE}/admin")).with(name, value).await.is_kept_out(401);
        asked(&t, "GET", &format!("{HERE}/public/x")).with(name, value).await.passes("public");
    }
    let all = ELSEWHERE.iter().fold(t.get("/-/auth"), |ask, (name, value)| ask.with(name, value));
    all.await.is_kept_out(403);
}

async fn gate_014_the_other_dialect(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{HERE}/")).await.is_kept_out(403);
    let ask = |extra: Option<(&str, &str)>| {
        let said = [("method", "GET"), ("proto", "http"), ("host", "127.0.0.1:8080"), ("uri", "/")];
        let ask = said.iter().fold(t.get("/-/auth"), |ask, (n, value)| ask.with(&format!("x-forwarded-{n}"), value));
        extra.into_iter().fold(ask, |ask, (name, value)| ask.with(name, value))
    };
    ask(None).await.passes("all");
    ask(Some(("x-original-uri", "/../x"))).await.passes("all");
    ask(Some(("x-original-method", "nonsense"))).await.passes("all");
    ask(Some(("x-forwarded-uri", "/"))).await.is_kept_out(403);
}

async fn gate_015_who_asked_the_proxy(t: TestServer) {
    rule(&t, "allow = 'administrator'").await;
    for (said, who) in [
        (None, "127.0.0.1"),
        (Some("192.0.2.7"), "192.0.2.7"),
        (Some("6.6.6.6, 192.0.2.7, 127.0.0.1"), "192.0.2.7"),
        (Some("nonsense"), "127.0.0.1"),
    ] {
        let lines = logged(async {
            let ask = asked(&t, "GET", &format!("{HERE}/")).with("x-forwarded-for", "6.6.6.6");
            let ask = said.into_iter().fold(ask, |ask, said| ask.with("x-original-for", said));
            ask.await.is_kept_out(401);
        })
        .await;
        assert!(lines.contains(&format!("client={who} ")), "{said:?}: {lines}");
    }
}

async fn gate_016_nobody_else_speaks_with_our_voice(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    for name in [
        "x-tollhouse-user-id",
        "X-Tollhouse-User",
        "x_tollhouse_user",
        "x-tollhouse_administrator",
        "X-TOLLHOUSE-",
        "x-tollhouse-something",
        "x.tollhouse.user",
        "x-tollhouse-sign-in",
    ] {
        asked(&t, "GET", &format!("{HERE}/")).with(name, "1").await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/")).with(name, "").await.is_kept_out(403);
    }
    for name in ["x-tollhouse", "tollhouse-user", "xx-tollhouse-user", "x-user-id"] {
        asked(&t, "GET", &format!("{HERE}/")).with(name, "1").await.passes("all");
    }
}

async fn gate_017_another_voice(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let reply = asked(&t, "GET", &format!("{HERE}/")).with("x-tollhouse-user", "ada").await;
    reply.is(204, "");
    for name in super::IDENTITY {
        assert!(reply.header(&format!("x-auth-{name}")).is_some(), "{name}");
        assert!(reply.header(&format!("x-tollhouse-{name}")).is_none(), "{name}");
    }
    asked(&t, "GET", &format!("{HERE}/")).with("x_auth_user", "ada").await.is_kept_out(403);
}

async fn gate_018_odd_names_of_headers(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    for mark in "!#$%&'*+^`|~".chars() {
        for name in [format!("x{mark}http{mark}method"), format!("x-y{mark}"), format!("{mark}x")] {
            asked(&t, "GET", &format!("{HERE}/")).with(&name, "DELETE").await.is_kept_out(403);
        }
    }
    for name in ["x-http-method", "x_http_method", "x.http.method", "x1"] {
        asked(&t, "GET", &format!("{HERE}/")).with(name, "DELETE").await.passes("all");
    }
}

async fn gate_090_a_refusal_is_a_line(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    let lines = logged(async {
        let ask = asked(&t, "POST", &format!("{THERE}/reports?private_token=glpat-hidden")).token(&token);
        ask.await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/a/../b?private_token=glpat-hidden")).await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/x")).from(IpAddr::from([192, 0, 2, 1])).await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/x")).with("x-tollhouse-user", "\u{9b}31mada").await.is_kept_out(403);
    })
    .await;
    for words in [
        r#"method="POST" host="api.example.test:443" path="/reports" rule="all" status=403 reason="insufficient_scope""#,
        r#"method="GET" host="127.0.0.1:8080" path="/a/../b" status=403 reason="crooked_path""#,
        r#"reason="not_a_peer" peer=192.0.2.1"#,
        r#"reason="identity_header""#,
    ] {
        assert!(lines.contains(words), "{words}: {lines}");
    }
    assert!(!lines.contains("glpat-") && !lines.contains("31mada"), "{lines}");
}

async fn t1_a_proxy_asks_by_its_own_method(t: TestServer) {
    signed_in(&t).await;
    let reads = t.user("ada").await.token([Scope::ReadApi]).await;
    asked(&t, "DELETE", &format!("{THERE}/x")).token(&reads).await.is_kept_out(403);
    asked(&t, "HEAD", &format!("{THERE}/x")).token(&reads).await.passes("all");
}

async fn t2_identity_headers_of_a_client(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{THERE}/")).with("X-Tollhouse_User", "root").await.is_kept_out(403);
    let reply = asked(&t, "GET", &format!("{THERE}/")).await;
    assert_eq!(reply.passes("all").told("user"), "-");
}

async fn t3_strangers_and_answers(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let ask = || asked(&t, "OPTIONS", &format!("{THERE}/")).with("origin", "https://evil.test");
    ask().with("access-control-request-method", "PUT").await.passes("all");
    ask().from([192, 0, 2, 1].into()).await.is_kept_out(403);
}

/// At most eight look-ups of one address are under way: those of one client must not be those of all behind a proxy.
async fn t14_guesses_count_for_who_asked_the_proxy(t: TestServer) {
    signed_in(&t).await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(t.app.auth.permit(Some([192, 0, 2, 7].into())).await);
    }
    let guess = |who: &str| asked(&t, "GET", &format!("{THERE}/")).token("glpat-guess").with("x-original-for", who);
    let waits = tokio::time::timeout(std::time::Duration::from_millis(200), guess("192.0.2.7").send()).await;
    assert!(waits.is_err(), "the ninth of this one waits");
    guess("192.0.2.8").await.is_kept_out(401);
    drop(held);
    guess("192.0.2.7").await.is_kept_out(401);
}

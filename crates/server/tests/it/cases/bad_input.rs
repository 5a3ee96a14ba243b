//! Each surface with nothing, blank, huge, NUL, broken UTF-8, lists, doubles, truncated and altered; part of it
//! through a real socket.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tollhouse::params::{ParamType, Presence};
use tollhouse::request::is_narrowing;
use tollhouse::routes::table;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Digest;

use crate::test_server::{M401, Reply, TestServer};

cases![
    each_place_with_what_no_token_is,
    every_alteration_of_a_live_token_is_unknown,
    the_stored_digest_is_no_credential,
    forms_and_json_of_the_wrong_kind,
    a_narrowing_parameter_that_cannot_be_read_is_refused_on_every_endpoint,
    a_form_of_a_hundred_thousand_fields,
    a_body_that_is_too_large,
    a_target_that_is_too_long,
    the_sign_in_form_with_what_it_does_not_send,
    on_the_socket_what_no_parser_should_meet,
    on_the_socket_a_request_names_one_host,
    on_the_socket_connections_are_kept_and_drained,
    on_the_socket_a_thread_with_too_much_to_do_lets_connections_go,
    on_the_socket_slow_heads_and_bodies with "limits.head_time = '1s'\nlimits.body_time = '1s'",
];

async fn each_place_with_what_no_token_is(t: TestServer) {
    for blank in ["", " ", "\t", "   "] {
        t.get("/api/v4/groups").token(blank).await.is(200, "[]");
        let encoded: String = form_urlencoded::byte_serialize(blank.as_bytes()).collect();
        for key in ["private_token", "access_token", "bearer_token"] {
            t.get(&format!("/api/v4/groups?{key}={encoded}")).await.is(200, "[]");
        }
    }
    for key in ["private_token", "access_token", "bearer_token"] {
        for list in [format!("{key}[]=x"), format!("{key}[a]=x"), format!("{key}[]=x&{key}[]=y")] {
            t.get(&format!("/api/v4/user?{list}")).await.is(401, M401);
            t.get(&format!("/api/v4/groups?{list}")).await.is(401, M401);
        }
        t.get(&format!("/api/v4/user?{key}=%00")).await.is(400, "Bad Request");
        t.get(&format!("/api/v4/user?{key}=%c3%28")).await.is(400, "Bad Request");
        for wrong in [json!(["x"]), json!({"a": "x"}), json!(5), json!(true)] {
            t.post("/api/v4/projects").json(json!({"name": "x", key: wrong})).await.is(401, M401);
        }
        let huge = "x".repeat(60_000);
        t.post("/api/v4/projects").form(&format!("name=x&{key}={huge}")).await.is(401, M401);
        t.get(&format!("/api/v4/user?{key}=a&{key}=b")).await.is(401, M401);
    }
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).token(&token).await.is(401, M401);
    t.get("/api/v4/user").bearer(&token).bearer(&token).await.is(401, M401);
    t.get("/api/v4/user").token("\u{e9}").await.is(401, M401);
    t.get("/api/v4/user").token(&"x".repeat(30_000)).await.is(401, M401);
    t.get("/api/v4/user").with("private_token", &token).await.is(401, M401);
    t.get(&format!("/api/v4/user?private_token=x&private_token={token}")).await.has(200);
}

async fn every_alteration_of_a_live_token_is_unknown(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    let unknown = async |altered: &[u8]| {
        let encoded: String = form_urlencoded::byte_serialize(altered).collect();
        let reply = t.get(&format!("/api/v4/user?private_token={encoded}")).await;
        assert!([400, 401].contains(&reply.status.as_u16()), "{altered:?}: {}", reply.body);
        reply.status.as_u16()
    };
    let bytes = token.as_bytes();
    for i in 0..bytes.len() {
        assert_eq!(unknown(&bytes[..i]).await, 401, "cut at {i}");
        for bit in 0..8 {
            let mut altered = bytes.to_vec();
            altered[i] ^= 1 << bit;
            unknown(&altered).await;
        }
        if bytes[i].is_ascii_alphabetic() {
            let mut altered = bytes.to_vec();
            altered[i] ^= 0x20;
            assert_eq!(unknown(&altered).await, 401, "other case at {i}");
        }
    }
    for more in [format!("{token}a"), format!("a{token}"), format!("{token}{token}"), format!("{token}\n")] {
        assert_eq!(unknown(more.as_bytes()).await, 401);
    }
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn the_stored_digest_is_no_credential(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    for secret in [token.as_bytes(), session.cookie.as_bytes()] {
        let digest = Digest::of(secret).0;
        let forms = [
            data_encoding::HEXLOWER.encode(&digest),
            data_encoding::HEXUPPER.encode(&digest),
            data_encoding::BASE64.encode(&digest),
            data_encoding::BASE64URL_NOPAD.encode(&digest),
        ];
        for form in forms {
            t.get("/api/v4/user").token(&form).await.is(401, M401);
            t.get("/api/v4/user").bearer(&form).await.is(401, M401);
            t.get("/api/v4/user").with("cookie", &format!("_gitlab_session={form}")).await.is(401, M401);
        }
    }
    // Neither opens the other's door.
    t.get("/api/v4/user").token(&session.cookie).await.is(401, M401);
    t.get("/api/v4/user").with("cookie", &format!("_gitlab_session={token}")).await.is(401, M401);
}

/// Ignored, each of them would let the request do or show more than its sender asked for.
async fn a_narrowing_parameter_that_cannot_be_read_is_refused_on_every_endpoint(t: TestServer) {
    let warden = t.admin().await;
    let token = warden.token([Scope::Api, Scope::SelfRotate]).await;
    let mut seen = BTreeSet::new();
    for route in table().into_iter().filter(|route| route.access().is_some()) {
        let path = route.example(|_| warden.id.to_string());
        for param in route.params.iter().filter(|param| is_narrowing(param.name) && param.presence != Presence::Path) {
            let p = param.name;
            seen.insert(p);
            let (a, b) = match (param.allowed, param.kind) {
                ([a, b, ..], _) => (*a, *b),
                (_, ParamType::Boolean) => ("true", "false"),
                (_, ParamType::Date | ParamType::DateTime) => ("2027-01-01", "2027-01-02"),
                (_, ParamType::Integer) => ("1", "2"),
                (_, ParamType::Text | ParamType::List { .. }) => ("api", "read_api"),
            };
            let ask = |target: &str| t.ask(route.method.clone(), target).token(&token);
            let refused = |reply: Reply| {
                let error = reply.has(400).json()["error"].as_str().expect("sentences").to_owned();
                assert!(error.split(", ").any(|sentence| sentence == format!("{p} is invalid")), "{path} {p}: {error}");
            };
            let forms = [
                format!("{p}[]={a}"),
                format!("{p}[x]={a}"),
                format!("{p}[]="),
                format!("{p}={a}&{p}={b}"),
                format!("{p}={b}&{p}={a}"),
                format!("{p}[]={b}&{p}={a}"),
                format!("{p}={a}&{p}[]={b}"),
            ];
            // A list is what one that takes several values takes.
            let list = matches!(param.kind, ParamType::List { .. });
            for form in forms.iter().filter(|form| !list || form.contains('&') || form.contains("[x]")) {
                refused(ask(&format!("{path}?{form}")).await);
                refused(ask(&path).form(form).await);
            }
            if route.method == Method::POST {
                let wrong = [json!([a]), json!([]), json!({ "x": a }), json!({})];
                for wrong in wrong.into_iter().filter(|wrong| !list || wrong.is_object()) {
                    refused(ask(&path).json(json!({ p: wrong })).await);
                }
                refused(ask(&path).json(format!(r#"{{"{p}":"{a}","{p}":"{b}"}}"#)).await);
                let file = format!(
                    "--b\r\nContent-Disposition: form-data; name=\"{p}\"; filename=\"f\"\r\n\r\n{a}\r\n--b--\r\n"
                );
                refused(ask(&path).body("multipart/form-data; boundary=b", file).await);
                refused(ask(&format!("{path}?{p}[]={a}")).json(json!({ p: a })).await);
            }
        }
    }
    let expected = [
        "access_level",
        "application",
        "before",
        "confidential",
        "dry_run",
        "expires_at",
        "group",
        "membership",
        "min_access_level",
        "name_like",
        "owned",
        "scopes",
        "user",
        "visibility",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    // Said twice alike it is one value, and what narrows nothing goes by its last.
    t.get("/api/v4/projects?owned=true&owned=true&per_page=5&per_page=7").token(&token).await.has(200);
    t.get("/api/v4/user").token(&token).await.has(200);
}

async fn forms_and_json_of_the_wrong_kind(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = |body: serde_json::Value| t.post("/api/v4/projects").token(&token).json(body);
    ask(json!({"name": ["a"]})).await.is(400, r#"{"error":"name is invalid"}"#);
    ask(json!({"name": {"a": 1}, "visibility": 5}))
        .await
        .is(400, r#"{"error":"name is invalid, visibility does not have a valid value"}"#);
    ask(json!({"name": "x", "namespace_id": "y"})).await.is(400, r#"{"error":"namespace_id is invalid"}"#);
    ask(json!({"name": "x", "namespace_id": 1e30})).await.is(400, r#"{"error":"namespace_id is invalid"}"#);
    ask(json!({"name": null})).await.has(400);
    ask(json!({"name": "x".repeat(300), "path": "x"}))
        .await
        .is(400, r#"{"message":{"name":["is too long (maximum is 255 characters)"]}}"#);
    ask(json!({"name": "x", "description": "x".repeat(2001)}))
        .await
        .is(400, r#"{"message":{"description":["is too long (maximum is 2000 characters)"]}}"#);
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    t.post("/api/v4/projects").token(&token).json(deep).await.has(400);
    let nested = format!("{}1{}", r#"{"a":"#.repeat(100), "}".repeat(100));
    t.post("/api/v4/projects").token(&token).json(nested).await.has(400);
    t.post("/api/v4/projects").token(&token).form(&format!("a{}=1", "[b]".repeat(1_000))).await.has(400);
    for broken in ["{", "{\"a\":}", "\u{feff}", "{\"name\":\"\\ud800\"}"] {
        t.post("/api/v4/projects").token(&token).json(broken).await.has(400);
    }
    t.post("/api/v4/projects").token(&token).body("application/json", b"{\"name\":\"\xff\"}".to_vec()).await.has(400);
    t.post("/api/v4/projects").token(&token).body("multipart/form-data", "x").await.has(400);
    t.post("/api/v4/projects").token(&token).body("multipart/form-data; boundary=x", "--x\r\n").await.has(400);
    assert!(t.get("/api/v4/projects").token(&token).await.ids().is_empty(), "nothing was made");
}

async fn a_form_of_a_hundred_thousand_fields(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let many: String = (0..100_000).map(|i| format!("a{i}=&")).collect();
    let refusal = r#"{"message":"400 Bad request - Too many parameters"}"#;
    t.post("/api/v4/projects").token(&token).form(&many).await.is(400, refusal);
    let list = json!({"name": "x", "a": vec![0; 100_000]});
    t.post("/api/v4/projects").token(&token).json(list).await.is(400, refusal);
}

async fn a_body_that_is_too_large(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let reply = t.post("/api/v4/projects").token(&token).form(&format!("name={}", "x".repeat(1 << 20))).await;
    reply.is(413, r#"{"message":"413 Request Entity Too Large"}"#);
}

async fn a_target_that_is_too_long(t: TestServer) {
    let reply = t.get(&format!("/api/v4/user?x={}", "y".repeat(33_000))).await;
    reply.is(414, r#"{"message":"414 URI Too Long"}"#);
    t.get(&format!("/api/v4/groups?x={}", "y".repeat(30_000))).await.has(200);
}

async fn the_sign_in_form_with_what_it_does_not_send(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let form = t.get("/users/sign_in").await;
    let session = crate::test_server::Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
    let token = form.authenticity_token();
    let send =
        |body: &str| t.post("/users/sign_in").session(&session).form(&format!("authenticity_token={token}&{body}"));
    for body in [
        "",
        "login=ada&password=correct+horse",
        "user=ada",
        "user[]=ada",
        "user[login]=ada",
        "user[login][]=ada&user[password]=x",
        "user[login]=ada&user[password][]=x",
        "user[login]=ada&user[password][a]=x",
    ] {
        send(body).await.has(400);
    }
    send("user[login]=a%00da&user[password]=x").await.has(400);
    send("user[login]=%ff&user[password]=x").await.has(400);
    let odd = send("user[login]=%3Cscript%3Ealert(1)%3C/script%3E%22&user[password]=x").await;
    assert!(odd.has(200).body.contains("&#60;script&#62;") && !odd.body.contains("<script>alert"), "{}", odd.body);
    t.get("/users/sign_in").with("cookie", "_gitlab_session=../../etc; x").await.has(200);
}

/// The server on a real socket.
pub(super) struct Served {
    pub(super) address: std::net::SocketAddr,
    stop: CancellationToken,
    server: tokio::task::JoinHandle<Result<(), tollhouse::serve::Lost>>,
}

impl Served {
    pub(super) async fn begin(t: &TestServer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let server = tokio::spawn(tollhouse::serve::run(t.app.clone(), listener, stop.clone()));
        Self { address, stop, server }
    }

    /// Sends bytes as they are, and reads until the other side is done or silent.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).await.expect("a connection");
        socket.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(SILENT, socket.read_to_end(&mut answer)).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    pub(super) async fn end(self) {
        self.stop.cancel();
        self.server.await.expect("no panic").expect("a graceful end");
    }
}

/// Whoever says nothing for so long will say nothing.
const SILENT: Duration = Duration::from_secs(2);

async fn on_the_socket_what_no_parser_should_meet(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let get = |headers: &str| format!("GET /api/v4/user HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n");
    let status = async |bytes: &[u8]| served.raw(bytes).await.split(' ').nth(1).unwrap_or("none").to_owned();
    assert_eq!(status(get(&format!("PRIVATE-TOKEN: {token}\r\n")).as_bytes()).await, "200");
    assert_eq!(status(get(&format!("Private-Token: {token}\r\nPRIVATE-TOKEN: {token}\r\n")).as_bytes()).await, "401");
    let broken = b"GET /api/v4/user HTTP/1.1\r\nHost: x\r\nPrivate-Token: \xff\xfe\r\nConnection: close\r\n\r\n";
    assert_eq!(status(broken).await, "401", "broken UTF-8 in PRIVATE-TOKEN is unknown");
    let authorization =
        b"GET /api/v4/user HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \xff\xfe\r\nConnection: close\r\n\r\n";
    let answer = served.raw(authorization).await;
    assert!(answer.starts_with("HTTP/1.1 400") && answer.ends_with("\r\n\r\nBad Request"), "{answer}");
    assert_eq!(status(get("PRIVATE-TOKEN: a\0b\r\n").as_bytes()).await, "400", "NUL in a header");
    assert_eq!(status(b"GET /api/v4/us\0er HTTP/1.1\r\nHost: x\r\n\r\n").await, "400", "NUL in the target");
    assert_eq!(status(b"GET /api/v4/%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await, "400");
    assert_eq!(status(get(&format!("X: {}\r\n", "y".repeat(70_000))).as_bytes()).await, "431");
    assert_eq!(status(b"nonsense\r\n\r\n").await, "400");
    let length = |value: &str| {
        format!(
            "POST /api/v4/projects HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nContent-Length: {value}\r\nConnection: close\r\n\r\n{{}}"
        )
    };
    assert_eq!(status(length("2").as_bytes()).await, "400", "an empty object has no name");
    assert_eq!(status(length("-1").as_bytes()).await, "400");
    assert_eq!(status(length("2\r\nContent-Length: 3").as_bytes()).await, "400", "two lengths");
    let both = length("2\r\nTransfer-Encoding: chunked");
    assert_ne!(status(both.as_bytes()).await, "201", "a length beside chunks makes nothing");
    let chunked = format!(
        "POST /api/v4/projects HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nc\r\n{{\"name\":\"x\"}}\r\n0\r\n\r\n"
    );
    assert_eq!(status(chunked.as_bytes()).await, "201");
    let nothing =
        "DELETE /api/v4/nope HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n";
    assert_eq!(status(nothing.as_bytes()).await, "404", "chunks with nothing in them have no type");
    let zero = get(&format!("PRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nContent-Length: 0\r\n"));
    assert_eq!(status(zero.as_bytes()).await, "200");
    let absolute = format!(
        "GET http://elsewhere/api/v4/user HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(status(absolute.as_bytes()).await, "200");
    served.end().await;
}

async fn on_the_socket_a_request_names_one_host(t: TestServer) {
    let served = Served::begin(&t).await;
    for path in ["/api/v4/version", "/-/health", "/-/auth", "/users/sign_in", "/oauth/token", "/nope"] {
        for hosts in
            ["", "Host: a\r\nHost: a\r\n", "Host: a\r\nhost: b\r\n", "Host:\r\n", "Host: a b\r\n", "Host: \u{e9}\r\n"]
        {
            // What is sent behind it is not acted upon: the connection ends.
            let one = format!("GET {path} HTTP/1.1\r\n{hosts}\r\n");
            let answer = served.raw(format!("{one}GET /-/health HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
            let head = answer.to_ascii_lowercase();
            assert!(
                head.starts_with("http/1.1 400") && head.contains("\r\nconnection: close"),
                "{path} {hosts}: {answer}"
            );
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        }
        let old = served.raw(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        assert!(!old.contains(" 400 "), "{path}: {old}");
    }
    for (head, status) in [
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nGET /-/health HTTP/1.1\r\nHost: x\r\n\r\n", "501"),
        ("CONNECT a.test:443 HTTP/1.1\r\n\r\n", "400"),
        ("OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "204"),
        ("GET a.test:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "400"),
        ("GET //evil.test HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
        ("GET http://evil.test/users/sign_in HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", "421"),
        ("GET http://127.0.0.1/users/sign_in HTTP/1.1\r\nHost: evil.test\r\nConnection: close\r\n\r\n", "200"),
    ] {
        let answer = served.raw(head.as_bytes()).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{head}{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
    served.end().await;
}

async fn on_the_socket_connections_are_kept_and_drained(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let mut socket = TcpStream::connect(served.address).await.expect("a connection");
    let ask = format!("GET /api/v4/version HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\n\r\n");
    for _ in 0..3 {
        socket.write_all(ask.as_bytes()).await.expect("sent");
        let mut buffer = vec![0; 4096];
        let count = socket.read(&mut buffer).await.expect("an answer");
        assert!(buffer[..count].starts_with(b"HTTP/1.1 200 OK"), "the connection is kept");
    }
    // A request that is under way when the end comes is answered all the same.
    let mut under_way = TcpStream::connect(served.address).await.expect("a connection");
    let head = format!(
        "POST /api/v4/projects HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{{\"na"
    );
    under_way.write_all(head.as_bytes()).await.expect("sent");
    tokio::time::sleep(Duration::from_millis(100)).await;
    served.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    under_way.write_all(b"me\":\"x\"}").await.expect("sent");
    let mut answer = Vec::new();
    under_way.read_to_end(&mut answer).await.expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer));
    served.server.await.expect("no panic").expect("a graceful end");
    assert!(TcpStream::connect(served.address).await.is_err(), "and nothing listens");
}

async fn on_the_socket_a_thread_with_too_much_to_do_lets_connections_go(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    t.app.faults.crowd();
    let ask = |method: &str, target: &str, rest: &str| {
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\n{rest}")
    };
    let body = r#"{"name":"x"}"#;
    let rest = format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (request, status) in [
        (ask("GET", "/api/v4/user", "\r\n"), 200),
        (ask("POST", "/api/v4/projects", &rest), 201),
        (ask("HEAD", "/api/v4/user", "\r\n"), 200),
        (ask("GET", "/-/auth", "\r\n"), 403),
    ] {
        // What is sent behind it is not acted upon, so whoever sent it may send it again.
        let more = ask("POST", "/api/v4/projects", &rest.replace(r#""x""#, r#""y""#));
        let answer = served.raw(format!("{request}{more}").as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(head.to_ascii_lowercase().contains("\r\nconnection: close"), "{answer}");
        assert!(!body.contains("HTTP/1.1"), "{answer}");
        let length =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
        assert!(request.starts_with("HEAD") || length.is_none_or(|length: usize| length == body.len()), "{answer}");
    }
    let projects = t.get("/api/v4/projects?owned=true").token(&token).await;
    assert_eq!(projects.has(200).json().as_array().expect("a list").len(), 1, "{}", projects.body);
    served.end().await;
}

async fn on_the_socket_slow_heads_and_bodies(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let wait = async |bytes: &[u8]| {
        let mut socket = TcpStream::connect(served.address).await.expect("a connection");
        socket.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(8), socket.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it ends");
        String::from_utf8_lossy(&answer).into_owned()
    };
    let head = wait(b"GET /api/v4/user HTTP/1.1\r\nHost:").await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    let body = format!(
        "POST /api/v4/projects HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{{"
    );
    let answer = wait(body.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    served.end().await;
}

//! Bodies of requests: who may send how much, what is refused before one is read, and how much of all of them is in
//! memory at once (authentication.md 0, stage 6a; T14).

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tollhouse::operations::users::SetState;
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse_domain::scope::Scope;

use super::bad_input::Served;
use crate::test_server::{EXPIRED, M401, TestServer};

cases![
    every_endpoint_looks_at_the_head_before_the_body,
    a_good_credential_in_the_body_does_not_make_up_for_an_unknown_one_in_the_head,
    what_comes_before_the_credential_of_the_head,
    only_a_live_credential_sends_more_than_64_kib,
    on_the_socket_an_unknown_credential_is_refused_before_the_body_comes,
    on_the_socket_a_client_that_sends_first_sees_the_refusal,
    on_the_socket_a_client_that_asks_first_is_not_asked_for_its_body,
    t14_bodies_under_way_have_a_budget_of_their_own
        with "limits.body = '64KiB'\nlimits.bodies = '256KiB'\nlimits.bodies_per_address = '128KiB'",
    t14_what_a_body_took_comes_back_however_its_request_ends with "limits.body_time = '1s'",
];

const M413: &str = r#"{"message":"413 Request Entity Too Large"}"#;
const SMALL: usize = 64 << 10;

/// A form of so many bytes.
fn form(bytes: usize) -> String {
    format!("name={}", "x".repeat(bytes - 5))
}

async fn every_endpoint_looks_at_the_head_before_the_body(t: TestServer) {
    let good = t.user("ada").await.token([Scope::Api]).await;
    let mut seen = 0;
    for route in table().into_iter().filter(|route| route.access().is_some()) {
        let path = route.example(|kind| if kind == ParamType::Integer { "1".into() } else { "x".into() });
        // A JSON body of a GET is not read, a form is.
        let reads_json = route.method != axum::http::Method::GET;
        for (media, body) in [
            ("application/json", "{".to_owned()),
            ("application/json", json!({ "private_token": good }).to_string()),
            ("application/x-www-form-urlencoded", format!("private_token={good}")),
            ("application/x-www-form-urlencoded", "a=%00".to_owned()),
            ("multipart/form-data", "x".to_owned()),
        ] {
            if media == "application/json" && !reads_json {
                continue;
            }
            let ask = |target: &str| t.ask(route.method.clone(), target).body(media, body.clone());
            ask(&path).token("glpat-nobodys").await.is(401, M401);
            ask(&path).bearer("nobodys").await.is(401, M401);
            for key in ["private_token", "access_token", "bearer_token"] {
                ask(&format!("{path}?{key}=nobodys")).await.is(401, M401);
            }
            seen += 5;
        }
    }
    assert!(seen > 300, "{seen}");
}

async fn a_good_credential_in_the_body_does_not_make_up_for_an_unknown_one_in_the_head(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for key in ["private_token", "access_token", "bearer_token"] {
        let body = |name: &str| json!({ "name": name, key: token });
        t.post("/api/v4/projects").json(body(key)).await.has(201);
        t.post("/api/v4/projects").token("nobodys").json(body("b")).await.is(401, M401);
        t.post("/api/v4/projects?private_token=nobodys").json(body("c")).await.is(401, M401);
        // What is in neither place, or blank, is not unknown.
        t.post("/api/v4/projects").token(" ").json(body(&format!("blank-{key}"))).await.has(201);
        t.post("/api/v4/projects").session(&ada.session().await).json(body(&format!("session-{key}"))).await.has(201);
    }
    // A dead one in the head is weighed against that in the body, as ever.
    let expired = ada.expired_token([Scope::Api]).await;
    t.post("/api/v4/projects")
        .token(&expired)
        .json(json!({ "name": "d", "access_token": token }))
        .await
        .is(401, EXPIRED);
    t.post("/api/v4/projects").token(&token).json(json!({ "name": "e", "access_token": "nobodys" })).await.has(201);
}

async fn what_comes_before_the_credential_of_the_head(t: TestServer) {
    let ask = |method: &str, target: &str| t.ask(method.parse().expect("a method"), target).token("nobodys");
    let m404 = r#"{"error":"404 Not Found"}"#;
    for size in [10, SMALL + 1, 2 << 20] {
        ask("POST", "/api/v4/nope").form(&form(size)).await.is(404, m404);
        ask("PATCH", "/api/v4/user").form(&form(size)).await.is(404, m404);
        ask("DELETE", "/api/v4/applications/x").form(&form(size)).await.is(404, m404);
        ask("POST", "/api/v4/projects").body("image/png", form(size)).await.has(415);
    }
    // Chunks have no length, so they are looked at.
    let chunked = ask("POST", "/api/v4/projects").with("transfer-encoding", "chunked");
    let mut request = chunked.body("image/png", "x").request();
    request.headers_mut().remove("content-length");
    assert_eq!(t.service.call(request, None).await.status(), 415);
    ask("POST", "/api/v4/projects?access_token=x").bearer("x").json("{").await.has(400);
    ask("POST", "/api/v4/projects?x=%00").json("{").await.is(400, "Bad Request");
    // Without a credential in the head the body is read first, as ever.
    t.post("/api/v4/projects").json("{").await.is(400, r#"{"status":400,"error":"Bad Request"}"#);
}

async fn only_a_live_credential_sends_more_than_64_kib(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let post = |size: usize| t.post("/api/v4/projects").form(&form(size));
    let read =
        |reply: crate::test_server::Reply| assert!(reply.has(400).body.contains("is too long"), "{}", reply.body);
    read(post(1 << 20).token(&token).await);
    post((1 << 20) + 1).token(&token).await.is(413, M413);
    read(post(SMALL + 1).session(&session).with("x-csrf-token", &session.csrf()).await);
    // A scope that opens nothing here is a live credential all the same.
    post(SMALL + 1).token(&ada.token([Scope::ReadUser]).await).await.has(403);
    let grace = t.user("grace").await;
    let blocked = grace.token([Scope::Api]).await;
    grace.set_state(SetState::block(grace.id)).await;
    for (size, status, body) in [(SMALL, 401, M401), (SMALL + 1, 413, M413), (2 << 20, 413, M413)] {
        post(size).await.is(status, body);
        post(size).with("cookie", "_gitlab_session=x").await.is(status, body);
    }
    // The body is not waited for to find the credential in it.
    post(SMALL + 1).session(&session).await.is(413, M413);
    t.post("/api/v4/projects").form(&format!("private_token={token}&{}", form(SMALL))).await.is(413, M413);
    // With a dead credential the answer says so, and not that the body is too large.
    post(SMALL + 1).token(&ada.expired_token([Scope::Api]).await).await.is(401, EXPIRED);
    post(SMALL + 1).token(&blocked).await.is_forbidden("Your account has been blocked.");
    // Elsewhere nothing in the head allows more.
    let oauth = t.post("/oauth/token").bearer(&token).form(&form(SMALL + 1)).await;
    oauth.is(413, r#"{"error":"invalid_request","error_description":"The body of the request is too large."}"#);
    t.post("/oauth/token").form(&form(SMALL)).await.has(400);
    for page in ["/users/sign_in", "/users/sign_out", "/-/user_settings/password", "/oauth/authorize", "/nope"] {
        let reply = t.post(page).session(&session).form(&form(SMALL + 1)).await;
        assert!(reply.has(413).body.contains("64 KiB"), "{page}: {}", reply.body);
    }
}

/// A connection from an address of its own.
async fn connect(to: SocketAddr, from: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("bound");
    socket.connect(to).await.expect("a connection")
}

/// One answer with its body; the connection stays as it is.
async fn answer(socket: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    let read = async {
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
                if length.is_none_or(|length: usize| body.len() >= length) {
                    return (head.to_owned(), body.to_owned());
                }
            }
            let more = socket.read_buf(&mut bytes).await.expect("an answer");
            assert!(more > 0, "it ends with {text:?}");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("an answer in time")
}

fn head(target: &str, headers: &str, length: usize) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         {headers}Content-Length: {length}\r\n\r\n"
    )
}

async fn on_the_socket_an_unknown_credential_is_refused_before_the_body_comes(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    for (target, headers, length, status) in [
        ("/api/v4/projects", "PRIVATE-TOKEN: nobodys\r\n".to_owned(), 100, "401"),
        ("/api/v4/projects?private_token=nobodys", String::new(), 100, "401"),
        ("/api/v4/projects", String::new(), SMALL + 1, "413"),
        ("/api/v4/projects", format!("PRIVATE-TOKEN: {token}\r\n"), (1 << 20) + 1, "413"),
        ("/oauth/token", String::new(), SMALL + 1, "413"),
        ("/users/sign_in", String::new(), SMALL + 1, "413"),
    ] {
        let mut socket = connect(served.address, "127.0.0.1").await;
        socket.write_all(head(target, &headers, length).as_bytes()).await.expect("sent");
        let (head, _) = answer(&mut socket).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
    }
    served.end().await;
}

async fn on_the_socket_a_client_that_sends_first_sees_the_refusal(t: TestServer) {
    let served = Served::begin(&t).await;
    let unknown = "PRIVATE-TOKEN: nobodys\r\n";
    for (target, headers, status) in [
        ("/api/v4/projects", unknown, "401"),
        ("/api/v4/nope", unknown, "404"),
        ("/api/v4/projects?format=xml", "", "406"),
        ("/api/v4/projects?x=%00", "", "400"),
        ("/api/v3/projects", "", "410"),
        ("/oauth/nope", "", "404"),
        ("/assets/nope", "", "302"),
        ("/-/auth", "", "403"),
    ] {
        let mut socket = connect(served.address, "127.0.0.1").await;
        // Twice on one connection: all of it was read, so it goes on.
        for _ in 0..2 {
            let request = head(target, headers, SMALL) + &form(SMALL);
            socket.write_all(request.as_bytes()).await.expect("sent");
            let (head, _) = answer(&mut socket).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {head}");
        }
    }
    served.end().await;
}

async fn on_the_socket_a_client_that_asks_first_is_not_asked_for_its_body(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let expects =
        |token: &str| head("/api/v4/projects", &format!("PRIVATE-TOKEN: {token}\r\nExpect: 100-continue\r\n"), 6);
    let mut socket = connect(served.address, "127.0.0.1").await;
    socket.write_all(expects("nobodys").as_bytes()).await.expect("sent");
    let mut all = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(3), socket.read_to_end(&mut all)).await;
    assert!(matches!(ended, Ok(Ok(_))), "nothing is waited for");
    assert!(all.starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&all));
    let mut socket = connect(served.address, "127.0.0.1").await;
    socket.write_all(expects(&token).as_bytes()).await.expect("sent");
    let (head, _) = answer(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 100 "), "{head}");
    socket.write_all(b"name=x").await.expect("sent");
    let (head, _) = answer(&mut socket).await;
    assert!(head.starts_with("HTTP/1.1 201 "), "{head}");
    served.end().await;
}

/// Until so many bytes of bodies are in memory, or a little less: a buffer is as large as what came.
async fn held(t: &TestServer, bytes: usize) {
    for _ in 0..500 {
        if (bytes - bytes / 1000..=bytes).contains(&t.app.bodies.held()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} bytes are held, not {bytes}", t.app.bodies.held());
}

async fn t14_bodies_under_way_have_a_budget_of_their_own(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let mut slow = Vec::new();
    let private = format!("PRIVATE-TOKEN: {token}\r\n");
    let mut begin = async |from: &str, target: &str, headers: &str| {
        let mut socket = connect(served.address, from).await;
        // All but a byte.
        let request = head(target, headers, SMALL) + &form(SMALL - 1);
        socket.write_all(request.as_bytes()).await.expect("sent");
        slow.push(socket);
    };
    begin("127.0.0.1", "/api/v4/projects", "").await;
    begin("127.0.0.1", "/oauth/token", "").await;
    held(&t, 2 * SMALL).await;
    let ask = async |from: &str, target: &str, headers: &str| {
        let mut socket = connect(served.address, from).await;
        socket.write_all((head(target, headers, 6) + "name=x").as_bytes()).await.expect("sent");
        let (head, body) = answer(&mut socket).await;
        let refused = head.starts_with("HTTP/1.1 503 ");
        let head = head.to_ascii_lowercase();
        assert_eq!(refused, head.contains("\r\nretry-after: 1\r\n"), "{head}");
        assert_eq!(refused, head.contains("\r\nconnection: close"), "{head}");
        (refused, body)
    };
    for headers in ["", &private] {
        let (refused, body) = ask("127.0.0.1", "/api/v4/projects", headers).await;
        let text = r#"{"message":"503 Service Unavailable - Too many request bodies are in progress"}"#;
        assert_eq!((refused, body.as_str()), (true, text), "of one address");
    }
    let (refused, body) = ask("127.0.0.1", "/oauth/token", "").await;
    assert!(refused && body.starts_with(r#"{"error":"temporarily_unavailable""#), "{body}");
    let (refused, body) = ask("127.0.0.1", "/users/sign_in", "").await;
    assert!(refused && body.contains("Temporarily unavailable"), "{body}");
    assert!(!ask("127.0.0.2", "/api/v4/projects", "").await.0, "another address");
    // What has no body needs none of it.
    t.get("/api/v4/user").token(&token).await.has(200);
    begin("127.0.0.3", "/users/sign_in", "").await;
    held(&t, 3 * SMALL).await;
    assert!(ask("127.0.0.4", "/users/sign_in", "").await.0, "a quarter is kept");
    assert!(!ask("127.0.0.4", "/api/v4/projects", &private).await.0, "for live credentials");
    begin("127.0.0.2", "/api/v4/projects", &private).await;
    held(&t, 4 * SMALL).await;
    assert!(ask("127.0.0.4", "/api/v4/projects", &private).await.0, "all of it is taken");
    drop(slow);
    held(&t, 0).await;
    assert!(!ask("127.0.0.1", "/api/v4/projects", &private).await.0);
    served.end().await;
}

async fn t14_what_a_body_took_comes_back_however_its_request_ends(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let served = Served::begin(&t).await;
    let private = format!("PRIVATE-TOKEN: {token}\r\n");
    let request = |headers: &str, length: usize, body: &str| head("/api/v4/projects", headers, length) + body;
    for (what, request, ends) in [
        ("it is answered", request(&private, 6, "name=x"), "201"),
        ("it is refused", request("", 6, "name=x"), "401"),
        ("it cannot be read", request(&private, 6, "a=%ff&"), "400"),
        ("it does not come", request(&private, 1000, "name=x"), "408"),
        ("the other side goes away", request(&private, 1000, "name=x"), ""),
    ] {
        let mut socket = connect(served.address, "127.0.0.1").await;
        socket.write_all(request.as_bytes()).await.expect("sent");
        if ends.is_empty() {
            held(&t, 6).await;
        } else {
            let (head, _) = answer(&mut socket).await;
            assert!(head.starts_with(&format!("HTTP/1.1 {ends} ")), "{what}: {head}");
        }
        drop(socket);
        held(&t, 0).await;
    }
    served.end().await;
}

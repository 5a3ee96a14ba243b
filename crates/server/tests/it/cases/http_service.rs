//! What holds for every request: guards, spellings, pages of results, common headers (authentication.md 0, 2.2, 9;
//! rest-api.md 1).

use axum::http::{Method, Version};
use serde_json::json;
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, UserKind};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::users::{self, NewUser};

use crate::test_server::{M401, Reply, TestServer};

cases![
    auth_024_an_unknown_path_looks_at_no_token,
    auth_025_something_like_a_version,
    auth_026_version_3,
    auth_150_a_body_of_another_type,
    auth_152_nothing_may_be_loaded,
    auth_177_a_crash,
    auth_202_a_verb_that_is_not_there,
    auth_204_another_type_on_an_unknown_path,
    rest_001_an_unknown_path,
    rest_002_version_3,
    rest_004_the_wrong_method,
    rest_006_a_page_without_asking,
    rest_007_links_of_a_middle_page,
    rest_008_more_than_ten_thousand,
    rest_009_at_most_a_hundred,
    rest_016_headers_of_every_answer,
    rest_019_head_on_a_list,
    rest_026_links_repeat_what_was_sent with "compat.links = 'gitlab'",
    rest_027_a_json_body_of_a_get,
    links_carry_what_is_declared_and_no_credential,
    links_repeat_every_parameter_as_the_original with "compat.links = 'gitlab'",
    a_next_page_is_the_same_persons,
    a_form_body_of_a_get_is_read,
    the_probes_answer_without_a_credential,
    another_format_is_not_spoken,
    a_page_beyond_the_end_is_empty,
    a_request_names_one_host_on_every_path,
    a_host_may_be_any_on_the_api_and_the_probes,
    a_tunnel_is_not_opened,
    a_question_about_the_server_is_answered,
    a_path_that_begins_with_two_slashes_is_not_there,
    a_slash_at_the_end_of_an_oauth_path_means_the_same_endpoint,
    the_host_of_an_absolute_target_counts,
];

const NO_ROUTE: &str = r#"{"error":"404 Not Found"}"#;
const V3: &str = r#"{"error":"API V3 is no longer supported. Use API V4 instead."}"#;

async fn auth_024_an_unknown_path_looks_at_no_token(t: TestServer) {
    t.get("/api/v4/nope").token("unknown").await.is(404, NO_ROUTE);
}

async fn auth_025_something_like_a_version(t: TestServer) {
    t.get("/api/v4_or_is_it").await.is(404, r#"{"error":"404 API Version Not Found"}"#);
}

async fn auth_026_version_3(t: TestServer) {
    t.get("/api/v3/projects").await.is(410, V3);
    t.post("/api/v3/user").await.is(410, V3);
    t.get("/api/v3/user/keys").await.is(410, V3);
    t.get("/api/v3/users").await.is(410, V3);
    t.get("/api/v3/user.json").await.is(401, M401);
    t.get("/api/v3/user").await.is(401, M401);
}

async fn auth_150_a_body_of_another_type(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let png = r#"{"error":"The provided content-type 'image/png' is not supported."}"#;
    t.ask(Method::PUT, "/api/v4/users/1").token(&token).body("image/png", "x").await.is(415, png);
    t.post("/api/v4/projects").token(&token).body("image/png", "x").await.is(415, png);
    t.post("/api/v4/projects?name=x").token(&token).body("application/json; charset=utf-8", "{}").await.has(201);
    t.get("/api/v4/user").token(&token).with("content-type", "image/png").await.has(200);
}

async fn auth_152_nothing_may_be_loaded(t: TestServer) {
    for target in ["/api/v4/groups", "/api/v4/user", "/api/v4/nope"] {
        let reply = t.get(target).await;
        assert_eq!(reply.header("content-security-policy"), Some("default-src 'none'"));
    }
    t.get("/api/v4/groups").await.has(200);
}

async fn auth_177_a_crash(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.app.faults.crash("/api/v4/version");
    let quiet = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let reply = t.get("/api/v4/version").token(&token).await;
    std::panic::set_hook(quiet);
    reply.is(500, r#"{"message":"500 Internal Server Error"}"#);
    t.get("/api/v4/user").token(&token).await.has(200);
}

async fn auth_202_a_verb_that_is_not_there(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for (method, path) in [(Method::DELETE, "/api/v4/user"), (Method::PATCH, "/api/v4/projects")] {
        for ask in [t.ask(method.clone(), path), t.ask(method.clone(), path).token(&token)] {
            assert_eq!(ask.await.is(404, NO_ROUTE).header("allow"), None);
        }
    }
}

async fn auth_204_another_type_on_an_unknown_path(t: TestServer) {
    let body = r#"{"error":"The provided content-type 'application/xml' is not supported."}"#;
    t.post("/api/v4/nope").body("application/xml", "<x/>").await.is(415, body);
}

async fn rest_001_an_unknown_path(t: TestServer) {
    for path in ["/api/v4/nope", "/api/v4", "/api", "/api/v5/user", "/api/v4/user/nope", "/api/v4//user"] {
        t.get(path).await.is(404, NO_ROUTE);
    }
}

async fn rest_002_version_3(t: TestServer) {
    t.get("/api/v3/projects").token("unknown").await.is(410, V3);
}

async fn rest_004_the_wrong_method(t: TestServer) {
    let reply = t.post("/api/v4/version").await;
    assert_eq!(reply.is(404, NO_ROUTE).header("allow"), None);
}

async fn some_groups(t: &TestServer, count: usize) {
    for i in 0..count {
        t.group(&format!("g{i:02}"), Visibility::Public).await;
    }
}

/// `x-page`, `x-per-page`, `x-next-page`, `x-prev-page`, `x-total`, `x-total-pages`.
fn paging(reply: &Reply) -> [Option<&str>; 6] {
    ["x-page", "x-per-page", "x-next-page", "x-prev-page", "x-total", "x-total-pages"].map(|name| reply.header(name))
}

async fn rest_006_a_page_without_asking(t: TestServer) {
    some_groups(&t, 21).await;
    let reply = t.get("/api/v4/groups").await;
    assert_eq!(reply.ids().len(), 20);
    assert_eq!(paging(&reply), [Some("1"), Some("20"), Some("2"), Some(""), Some("21"), Some("2")]);
}

async fn rest_007_links_of_a_middle_page(t: TestServer) {
    some_groups(&t, 5).await;
    let reply = t.get("/api/v4/groups?per_page=2&page=2&search=G").await;
    assert_eq!(reply.ids().len(), 2);
    let url = |page: i64| {
        format!(
            "<http://127.0.0.1:8080/api/v4/groups?order_by=name&owned=false&page={page}&per_page=2&search=G&sort=asc>"
        )
    };
    let known =
        format!(r#"{}; rel="prev", {}; rel="next", {}; rel="first", {}; rel="last""#, url(1), url(3), url(1), url(3));
    assert_eq!(reply.header("link"), Some(known.as_str()));
    let first = t.get("/api/v4/groups?per_page=2").await;
    let links = first.header("link").expect("links");
    assert!(!links.contains("rel=\"prev\"") && links.contains("rel=\"next\""), "{links}");
}

async fn links_repeat_every_parameter_as_the_original(t: TestServer) {
    some_groups(&t, 5).await;
    let reply = t.get("/api/v4/groups?per_page=2&page=2&z=%C3%BC&a[]=1&a[]=2").await;
    let next = "<http://127.0.0.1:8080/api/v4/groups?a%5B%5D=1&a%5B%5D=2&order_by=name&owned=false&page=3&per_page=2&sort=asc&z=%C3%BC>; rel=\"next\"";
    assert!(reply.has(200).header("link").expect("links").contains(next));
}

/// Many users in one transaction.
struct Crowd(usize);

impl Operation for Crowd {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        for i in 0..self.0 {
            let new = NewUser {
                username: format!("u{i}"),
                name: "One of many".into(),
                email: format!("u{i}@example.test"),
                kind: UserKind::Human,
                state: AccountState::Active,
                administrator: false,
                external: false,
                confirmed: true,
                created_by: None,
                password_digest: None,
            };
            users::insert(tx, &new, now).await?;
        }
        Ok(Change::nothing(()))
    }
}

async fn rest_008_more_than_ten_thousand(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.does(Crowd(9_999)).await;
    let reply = t.get("/api/v4/users?per_page=1").token(&token).await;
    assert_eq!(reply.has(200).header("x-total"), Some("10000"));
    assert!(reply.header("link").expect("links").contains("rel=\"last\""));
    t.user("grace").await;
    let reply = t.get("/api/v4/users?per_page=1").token(&token).await;
    assert_eq!(reply.has(200).header("x-total").or(reply.header("x-total-pages")), None);
    let links = reply.header("link").expect("links");
    assert!(!links.contains("rel=\"last\"") && links.contains("rel=\"next\""), "{links}");
    assert_eq!(reply.header("x-next-page"), Some("2"));
}

async fn rest_009_at_most_a_hundred(t: TestServer) {
    some_groups(&t, 3).await;
    assert_eq!(t.get("/api/v4/groups?per_page=500").await.has(200).header("x-per-page"), Some("100"));
}

async fn rest_016_headers_of_every_answer(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let replies = [
        t.get("/api/v4/user").token(&token).await,
        t.get("/api/v4/user").await,
        t.get("/api/v4/nope").await,
        t.get("/api/v4/projects/1").await,
        t.post("/api/v4/projects").token(&token).json("{}").await,
    ];
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status.as_u16()).collect();
    assert_eq!(statuses, [200, 401, 404, 404, 400]);
    let mut ids = std::collections::BTreeSet::new();
    for reply in &replies {
        assert_eq!(reply.header("x-frame-options"), Some("SAMEORIGIN"));
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(reply.header("content-type"), Some("application/json"));
        let id = reply.header("x-request-id").expect("an id");
        assert!(id.len() == 26 && id.bytes().all(|b| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&b)), "{id}");
        assert!(ids.insert(id.to_owned()), "every request has its own");
        let meta = format!(r#"{{"correlation_id":"{id}","version":"1"}}"#);
        assert_eq!(reply.header("x-gitlab-meta"), Some(meta.as_str()));
        let runtime = reply.header("x-runtime").expect("a time");
        assert!(runtime.parse::<f64>().is_ok() && runtime.split('.').nth(1).is_some_and(|d| d.len() == 6), "{runtime}");
        assert!(reply.header("vary").is_some_and(|vary| vary.starts_with("Origin")));
    }
    assert_eq!(replies[1].header("cache-control"), Some("no-cache"));
}

async fn rest_019_head_on_a_list(t: TestServer) {
    some_groups(&t, 3).await;
    let got = t.get("/api/v4/groups?per_page=2").await;
    let headed = t.ask(Method::HEAD, "/api/v4/groups?per_page=2").await;
    headed.is(200, "");
    assert_eq!(paging(&headed), paging(&got));
    assert_eq!(headed.header("link"), got.header("link"));
    assert_eq!(headed.header("content-length"), Some(got.body.len().to_string().as_str()));
}

async fn rest_026_links_repeat_what_was_sent(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let reply = t.get(&format!("/api/v4/projects?private_token={token}&foo=1")).await;
    let links = reply.has(200).header("link").expect("links");
    assert!(links.contains(&format!("private_token={token}")) && links.contains("foo=1"), "{links}");
}

async fn rest_027_a_json_body_of_a_get(t: TestServer) {
    some_groups(&t, 6).await;
    assert_eq!(t.get("/api/v4/groups").json(json!({"per_page": 5})).await.ids().len(), 6);
}

async fn links_carry_what_is_declared_and_no_credential(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for (name, shown) in [("private_token", true), ("access_token", true), ("bearer_token", true)].into_iter().chain(
        ["Private_Token", "x[private_token]", "password", "client_secret", "code", "foo"].map(|name| (name, false)),
    ) {
        let ask = t.get(&format!("/api/v4/projects?{name}={token}&bar=1&search=x"));
        let reply = if shown { ask.await } else { ask.token(&token).await };
        let links = reply.has(200).header("link").expect("links");
        let lower = links.to_ascii_lowercase();
        let hidden = !lower.contains(&name.to_ascii_lowercase()) && !links.contains(&token) && !links.contains("bar");
        assert!(hidden && links.contains("search=x"), "{links}");
    }
    for list in ["/api/v4/users", "/api/v4/groups"] {
        let links = t.get(&format!("{list}?private_token={token}&x[token]=y&foo=1&per_page=1")).await;
        let links = links.has(200).header("link").expect("links");
        assert!(!links.contains("token") && !links.contains("foo") && links.contains("per_page=1"), "{links}");
    }
}

async fn a_next_page_is_the_same_persons(t: TestServer) {
    let (admin, ada) = (t.admin().await, t.user("ada").await);
    let token = admin.token_with_any([Scope::Api, Scope::Sudo]).await;
    let group = t.group("harbour", Visibility::Private).await;
    let mut hers = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let project = t.project(group, name, Visibility::Private).await;
        if name != "c" {
            t.member(MembershipSource::Project(project), &ada, AccessLevel::Developer).await;
            hers.push(project.0);
        }
    }
    let start = "/api/v4/projects?membership=true&order_by=id&sort=asc&per_page=2";
    for ask in [
        t.get(&format!("{start}&sudo=ada")).token(&token),
        t.get(&format!("{start}&sudo={}", ada.id)).token(&token),
        t.get(start).token(&token).form("sudo=ada"),
    ] {
        let first = ask.await;
        assert_eq!(first.ids(), hers[..2]);
        let links = first.header("link").expect("links");
        let next = links.split(", ").find_map(|link| link.strip_suffix(r#">; rel="next""#)).expect("a next page");
        let next = next.strip_prefix("<http://127.0.0.1:8080").expect("a link of ours");
        assert_eq!(t.get(next).token(&token).await.ids(), hers[2..], "{next}");
    }
}

async fn a_form_body_of_a_get_is_read(t: TestServer) {
    some_groups(&t, 6).await;
    let reply = t.get("/api/v4/groups?search=g").form("per_page=5&sort=desc&y=2").await;
    assert_eq!(reply.ids().len(), 5);
    let links = reply.header("link").expect("links");
    assert!(links.contains("per_page=5&search=g&sort=desc") && !links.contains("y=2"), "{links}");
    let long = t.get(&format!("/api/v4/groups?page=2&search={}", "%C3%A9".repeat(512))).await;
    assert_eq!(long.has(200).header("link"), None, "no head that breaks a proxy");
}

async fn the_probes_answer_without_a_credential(t: TestServer) {
    t.get("/-/health").await.is(200, "Tollhouse OK");
    t.get("/-/liveness").await.is(200, r#"{"status":"ok"}"#);
    t.get("/-/readiness").await.is(200, r#"{"status":"ok"}"#);
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    t.get("/-/readiness").await.is(503, r#"{"status":"failed"}"#);
    t.get("/-/liveness").await.has(200);
}

async fn another_format_is_not_spoken(t: TestServer) {
    t.get("/api/v4/groups?format=xml").await.is(406, r#"{"error":"The requested format 'xml' is not supported."}"#);
    t.get("/api/v4/groups?format=json").await.is(200, "[]");
}

async fn a_page_beyond_the_end_is_empty(t: TestServer) {
    some_groups(&t, 3).await;
    let reply = t.get("/api/v4/groups?page=9").await;
    reply.is(200, "[]");
    assert_eq!(reply.header("x-next-page"), Some(""));
    t.get("/api/v4/groups?per_page=0").await.is(400, r#"{"error":"per_page does not have a valid value"}"#);
    assert_eq!(t.get("/api/v4/groups?page=0").await.has(200).header("x-page"), Some("1"));
}

const BAD_HOST: &str = r#"{"message":"400 Bad request - Host is missing, repeated or invalid"}"#;

/// Something on every kind of path, also where there is nothing.
const EVERYWHERE: [&str; 10] = [
    "/api/v4/user",
    "/api/v4/nope",
    "/",
    "/users/sign_in",
    "/nope",
    "/oauth/token",
    "/.well-known/openid-configuration",
    "/-/health",
    "/-/auth",
    "/assets/style.css",
];

async fn a_request_names_one_host_on_every_path(t: TestServer) {
    for path in EVERYWHERE {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let ask = || t.ask(method.clone(), path).with("origin", "https://app.test");
            let preflight = || ask().with("access-control-request-method", "GET");
            for ask in [ask().with("host", "127.0.0.1:8080"), preflight().with("host", "a.test"), ask().host("a b")] {
                let reply = ask.await;
                assert_eq!(reply.is(400, BAD_HOST).header("connection"), Some("close"), "{method} {path}");
                assert!(reply.header("x-request-id").is_some(), "{method} {path}");
            }
            for host in ["", ":80", "u@a.test", "a.test/x", "[::1", "::1", "a:b", "a:65536", "\"a\""] {
                ask().host(host).await.is(400, BAD_HOST);
            }
        }
        // What asks in HTTP/1.0, as some health checks do, need not say a host.
        let said = t.get(path).without_host().await;
        said.is(400, BAD_HOST);
        assert_ne!(t.get(path).without_host().version(Version::HTTP_10).await.status, 400, "{path}");
    }
    let said = crate::test_server::logged(async { drop(t.get("/").host("a b").await) }).await;
    assert!(said.contains(r#"reason="bad_host""#), "{said}");
}

async fn a_host_may_be_any_on_the_api_and_the_probes(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for host in ["evil.test", "a_b:1", "[2001:db8::1]:443", "127.0.0.1"] {
        t.get("/api/v4/user").host(host).token(&token).await.has(200);
        t.get("/-/health").host(host).await.has(200);
        t.get("/-/auth").host(host).await.has(403);
        t.post("/oauth/token").host(host).form("grant_type=client_credentials").await.has(401);
        t.get("/users/sign_in").host(host).await.has(if host == "127.0.0.1" { 200 } else { 421 });
    }
}

async fn a_tunnel_is_not_opened(t: TestServer) {
    for target in ["git.example.test:443", "/api/v4/user", "/-/auth", "/"] {
        let reply = t.ask(Method::CONNECT, target).await;
        reply.is(501, r#"{"message":"501 Not Implemented"}"#);
        assert_eq!(reply.header("connection"), Some("close"), "{target}");
    }
}

async fn a_question_about_the_server_is_answered(t: TestServer) {
    t.ask(Method::OPTIONS, "*").await.is(204, "");
    for method in [Method::GET, Method::POST] {
        t.ask(method, "*").await.is(400, "Bad Request");
    }
}

async fn a_path_that_begins_with_two_slashes_is_not_there(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for path in ["//", "//evil.test", "//evil.test/x?y", "//api/v4/user", "//oauth/token", "//-/auth", "///x"] {
        for ask in [t.get(path), t.get(path).session(&session), t.post(path), t.ask(Method::OPTIONS, path)] {
            let reply = ask.await;
            reply.is(404, NO_ROUTE);
            assert_eq!((reply.header("location"), reply.header("set-cookie")), (None, None), "{path}");
        }
    }
}

async fn a_slash_at_the_end_of_an_oauth_path_means_the_same_endpoint(t: TestServer) {
    for (method, path) in [
        (Method::POST, "/oauth/token"),
        (Method::POST, "/oauth/revoke"),
        (Method::POST, "/oauth/introspect"),
        (Method::GET, "/oauth/token/info"),
        (Method::GET, "/oauth/userinfo"),
        (Method::GET, "/oauth/discovery/keys"),
        (Method::GET, "/oauth/authorize"),
        (Method::GET, "/oauth/authorize/native"),
        (Method::GET, "/.well-known/openid-configuration"),
        (Method::GET, "/.well-known/oauth-authorization-server"),
        (Method::GET, "/.well-known/nope"),
        (Method::OPTIONS, "/oauth/token"),
    ] {
        let asked = async |path: &str| {
            let ask = t.ask(method.clone(), path).with("origin", "https://app.test").form("x=1");
            let preflight = ask.with("access-control-request-method", "POST");
            let plain = t.ask(method.clone(), path).with("origin", "https://app.test").form("x=1").await;
            let headers = |reply: &Reply| {
                let told = ["location", "content-type", "access-control-allow-origin", "www-authenticate"];
                told.map(|name| reply.header(name).map(str::to_owned))
            };
            (plain.status, plain.body.len(), headers(&plain), headers(&preflight.await))
        };
        assert_eq!(asked(&format!("{path}/")).await, asked(path).await, "{method} {path}");
    }
    t.get("/.well-known/openid-configuration/?x=1").await.has(200);
    // One slash, as on the API.
    t.get("/.well-known/openid-configuration//").await.has(404);
}

async fn the_host_of_an_absolute_target_counts(t: TestServer) {
    t.get("http://127.0.0.1:8080/users/sign_in").host("evil.test").await.has(200);
    t.get("http://evil.test/users/sign_in").await.has(421);
    t.get("http://evil.test/.well-known/openid-configuration").await.has(421);
    t.get("http://u:p@127.0.0.1:8080/users/sign_in").await.is(400, BAD_HOST);
    t.get("ftp://127.0.0.1:8080/users/sign_in").await.is(400, "Bad Request");
    // So it does for the origin of a form.
    let session = t.user("ada").await.session().await;
    let sign_out = |target: &str, origin: &str| {
        t.post(target).host("evil.test").session(&session).with("origin", origin).form("_method=post")
    };
    sign_out("http://127.0.0.1:8080/users/sign_out", "http://evil.test").await.has(422);
    sign_out("http://localhost:8080/users/sign_out", "http://localhost:8080").await.has(302);
    // A line of its own does not stand in for the header.
    t.get("http://127.0.0.1:8080/users/sign_in").without_host().await.is(400, BAD_HOST);
}

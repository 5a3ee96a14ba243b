//! What scripts of other origins may ask and read (authentication.md 9.1, oauth.md section 12).

use axum::http::Method;
use tollhouse_domain::scope::Scope;

use crate::oauth::is_error;
use crate::test_server::{Ask, M401, Reply, TestServer};

cases![
    auth_207_a_preflight_for_more_than_is_allowed,
    auth_208_a_preflight_for_a_private_token,
    oauth_089_a_request_for_nothing,
    oauth_090_a_preflight_of_token,
    oauth_091_a_preflight_of_revoke,
    oauth_141_no_preflight_without_a_method,
    preflights_that_are_allowed,
    preflights_that_are_not_allowed,
    preflights_of_what_is_not_listed,
    answers_of_what_is_listed,
    answers_of_what_is_not_listed,
    the_own_origin_on_the_api,
    the_own_origin_under_https with "external_url = 'https://git.example.test'",
    origins_that_are_nearly_ours,
    a_preflight_is_answered_before_anything_else,
    no_origin_no_headers,
];

const FOREIGN: &str = "https://elsewhere.example.test";
const OWN: &str = "http://127.0.0.1:8080";
const ANY: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
const EXPOSED: &str = "Link, X-Total, X-Total-Pages, X-Per-Page, X-Page, X-Next-Page, X-Prev-Page, X-Gitlab-Blob-Id, X-Gitlab-Commit-Id, X-Gitlab-Content-Sha256, X-Gitlab-Encoding, X-Gitlab-File-Name, X-Gitlab-File-Path, X-Gitlab-Last-Commit-Id, X-Gitlab-Ref, X-Gitlab-Size, X-Request-Id, ETag, Retry-After, WWW-Authenticate";
/// Everywhere else.
const FEW: &str = "Retry-After, WWW-Authenticate";

/// Path, methods, request headers that may be asked for, exposed ones.
const LISTED: [(&str, &str, &str, &str); 11] = [
    ("/oauth/token", "POST, OPTIONS", "Authorization, X-CSRF-Token, X-Requested-With", FEW),
    ("/oauth/revoke", "POST, OPTIONS", "Authorization, X-CSRF-Token, X-Requested-With", FEW),
    ("/oauth/token/info", "GET, HEAD, OPTIONS", "Authorization", FEW),
    ("/oauth/userinfo", "GET, HEAD, POST, OPTIONS", "Authorization", FEW),
    ("/oauth/discovery/keys", "GET, HEAD", "", FEW),
    ("/.well-known/openid-configuration", "GET, HEAD", "", FEW),
    ("/.well-known/oauth-authorization-server", "GET, HEAD", "", FEW),
    ("/.well-known/webfinger", "GET, HEAD", "", FEW),
    ("/api/v4/user", ANY, "private-token, authorization, x-anything", EXPOSED),
    ("/api/v4/personal_access_tokens/self/rotate", ANY, "sudo", EXPOSED),
    ("/api/v4/nope", ANY, "private-token", EXPOSED),
];

const UNLISTED: [&str; 7] =
    ["/oauth/authorize", "/oauth/introspect", "/oauth/nope", "/users/sign_in", "/", "/assets/app.css", "/-/health"];

fn preflight(t: &TestServer, path: &str, origin: &str, method: &str, headers: &str) -> Ask {
    let ask = t.ask(Method::OPTIONS, path).with("origin", origin).with("access-control-request-method", method);
    if headers.is_empty() { ask } else { ask.with("access-control-request-headers", headers) }
}

/// What a browser reads: origin, credentials, methods, request headers, exposed headers, how long.
fn told(reply: &Reply) -> [Option<&str>; 6] {
    [
        "access-control-allow-origin",
        "access-control-allow-credentials",
        "access-control-allow-methods",
        "access-control-allow-headers",
        "access-control-expose-headers",
        "access-control-max-age",
    ]
    .map(|name| reply.header(name))
}

fn to_anybody<'a>(methods: &'a str, headers: Option<&'a str>, exposed: &'a str) -> [Option<&'a str>; 6] {
    [Some("*"), None, Some(methods), headers, Some(exposed), Some("7200")]
}

#[track_caller]
fn told_nothing(reply: &Reply) {
    let known = reply.headers.keys().find(|name| name.as_str().starts_with("access-control-"));
    assert_eq!(known, None);
}

async fn auth_207_a_preflight_for_more_than_is_allowed(t: TestServer) {
    for (method, headers) in [("GET", ""), ("DELETE", "Authorization"), ("POST", "x-other"), ("POST", "private-token")]
    {
        let reply = preflight(&t, "/oauth/token", FOREIGN, method, headers).await;
        told_nothing(reply.is(200, ""));
    }
}

async fn auth_208_a_preflight_for_a_private_token(t: TestServer) {
    let reply = preflight(&t, "/api/v4/user", FOREIGN, "GET", "private-token").await;
    assert_eq!(told(reply.is(200, "")), to_anybody(ANY, Some("private-token"), EXPOSED));
}

async fn oauth_089_a_request_for_nothing(t: TestServer) {
    let reply = t.post("/oauth/token").with("origin", FOREIGN).await;
    is_error(&reply, 400, "invalid_request");
    assert_eq!(told(&reply), to_anybody("POST, OPTIONS", None, FEW));
}

async fn oauth_090_a_preflight_of_token(t: TestServer) {
    let headers = "Authorization, X-CSRF-Token, X-Requested-With";
    let reply = preflight(&t, "/oauth/token", FOREIGN, "POST", headers).await;
    assert_eq!(told(reply.is(200, "")), to_anybody("POST, OPTIONS", Some(headers), FEW));
}

async fn oauth_091_a_preflight_of_revoke(t: TestServer) {
    let headers = "Authorization, X-CSRF-Token, X-Requested-With";
    let reply = preflight(&t, "/oauth/revoke", FOREIGN, "POST", headers).await;
    assert_eq!(told(reply.is(200, "")), to_anybody("POST, OPTIONS", Some(headers), FEW));
}

async fn oauth_141_no_preflight_without_a_method(t: TestServer) {
    let reply = t.ask(Method::OPTIONS, "/oauth/token").with("origin", FOREIGN).await;
    is_error(&reply, 400, "invalid_request");
    assert_eq!(told(&reply)[0], Some("*"));
    t.ask(Method::OPTIONS, "/oauth/userinfo").with("origin", FOREIGN).await.has(401);
}

async fn preflights_that_are_allowed(t: TestServer) {
    for (path, methods, headers, exposed) in LISTED {
        for method in methods.split(", ") {
            let reply = preflight(&t, path, FOREIGN, method, "").await;
            assert_eq!(told(reply.is(200, "")), to_anybody(methods, None, exposed), "{method} {path}");
        }
        let method = if methods.starts_with("POST") { "POST" } else { "GET" };
        // What was asked for comes back as it was spelt; what every script may send needs no rule.
        let (small, all) = (headers.to_lowercase(), "Accept, Accept-Language, Content-Language, Content-Type");
        let more = if headers.is_empty() { all.to_owned() } else { format!("content-type,{}", small.replace(' ', "")) };
        for asked in [headers, &small, all, "content-type", &more] {
            let reply = preflight(&t, path, FOREIGN, method, asked).await;
            let echo = (!asked.is_empty()).then_some(asked);
            assert_eq!(told(reply.is(200, "")), to_anybody(methods, echo, exposed), "{path}: {asked}");
        }
    }
}

async fn preflights_that_are_not_allowed(t: TestServer) {
    for (path, methods, headers, _) in LISTED.into_iter().filter(|row| row.1 != ANY) {
        for method in ANY.split(", ").filter(|method| methods.split(", ").all(|known| known != *method)) {
            told_nothing(preflight(&t, path, FOREIGN, method, "").await.is(200, ""));
            told_nothing(preflight(&t, path, OWN, method, "").await.is(200, ""));
        }
        let method = if methods.starts_with("POST") { "POST" } else { "GET" };
        let beside = format!("{headers}, x-other");
        let mut refused = vec!["x-other", "private-token", "cookie", "sudo", beside.trim_start_matches(", ")];
        if headers.is_empty() {
            refused.push("authorization");
        }
        for asked in refused {
            told_nothing(preflight(&t, path, FOREIGN, method, asked).await.is(200, ""));
        }
    }
}

async fn preflights_of_what_is_not_listed(t: TestServer) {
    for path in UNLISTED {
        for origin in [FOREIGN, OWN, "null"] {
            for method in ["GET", "POST", "DELETE"] {
                told_nothing(preflight(&t, path, origin, method, "").await.is(200, ""));
                told_nothing(preflight(&t, path, origin, method, "content-type").await.is(200, ""));
            }
        }
    }
}

async fn answers_of_what_is_listed(t: TestServer) {
    // There is no webfinger yet.
    for (path, methods, _, exposed) in LISTED.into_iter().filter(|row| !row.0.ends_with("webfinger")) {
        for origin in [FOREIGN, "null", "http://localhost:3000"] {
            for method in methods.split(", ").filter(|method| ["GET", "HEAD", "POST"].contains(method)) {
                let ask = t.ask(method.parse().expect("a method"), path).with("origin", origin);
                let reply = ask.await;
                assert_eq!(told(&reply), to_anybody(methods, None, exposed), "{method} {path}: {}", reply.body);
            }
        }
        if exposed == FEW {
            let method = if methods.starts_with("POST") { Method::POST } else { Method::GET };
            let reply = t.ask(method, path).with("origin", OWN).await;
            assert_eq!(told(&reply), to_anybody(methods, None, FEW), "{path} makes no difference");
        }
    }
    let token = t.user("ada").await.token([Scope::Api]).await;
    let reply = t.get("/api/v4/user").token(&token).with("origin", FOREIGN).await;
    assert_eq!(told(reply.has(200)), to_anybody(ANY, None, EXPOSED));
    let reply = t.get("/api/v4/user").token("unknown").with("origin", FOREIGN).await;
    assert_eq!(told(reply.is(401, M401)), to_anybody(ANY, None, EXPOSED));
}

async fn answers_of_what_is_not_listed(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for path in UNLISTED {
        for origin in [FOREIGN, OWN] {
            told_nothing(&t.get(path).with("origin", origin).await);
            told_nothing(&t.get(path).with("origin", origin).session(&session).await);
            told_nothing(&t.post(path).with("origin", origin).form("").await);
        }
    }
    let client = t.client("api").await;
    told_nothing(client.page(&session, "api", &[]).with("origin", FOREIGN).await.has(200));
}

async fn the_own_origin_on_the_api(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let ours = |headers| [Some(OWN), Some("true"), Some(ANY), headers, Some(EXPOSED), Some("7200")];
    let reply = t.get("/api/v4/user").session(&session).with("origin", OWN).await;
    assert_eq!(told(reply.is_user(&ada)), ours(None));
    let reply = t.get("/api/v4/user").with("origin", OWN).await;
    assert_eq!(told(reply.is(401, M401)), ours(None));
    let reply = t.get("/api/v4/nope").with("origin", OWN).await;
    assert_eq!(told(reply.has(404)), ours(None));
    for method in ANY.split(", ") {
        let reply = preflight(&t, "/api/v4/user", OWN, method, "X-CSRF-Token, content-type").await;
        assert_eq!(told(reply.is(200, "")), ours(Some("X-CSRF-Token, content-type")), "{method}");
    }
    // A foreign script sends no cookies, and if it did, could not read what comes back.
    let reply = t.get("/api/v4/user").session(&session).with("origin", FOREIGN).await;
    assert_eq!(told(reply.is_user(&ada)), to_anybody(ANY, None, EXPOSED));
}

async fn the_own_origin_under_https(t: TestServer) {
    let reply = t.get("/api/v4/groups").host("git.example.test").with("origin", "https://git.example.test").await;
    let ours = told(reply.is(200, "[]"));
    assert_eq!((ours[0], ours[1]), (Some("https://git.example.test"), Some("true")));
    for origin in ["http://git.example.test", "https://git.example.test:8443", "https://example.test", OWN] {
        let reply = t.get("/api/v4/groups").host("git.example.test").with("origin", origin).await;
        assert_eq!(told(reply.is(200, "[]")), to_anybody(ANY, None, EXPOSED), "{origin}");
    }
}

async fn origins_that_are_nearly_ours(t: TestServer) {
    for origin in [
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:80",
        "http://127.0.0.1:80800",
        "https://127.0.0.1:8080",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080.evil.test",
        "http://evil.test/http://127.0.0.1:8080",
        "http://ada@127.0.0.1:8080",
        "http://127.0.0.2:8080",
        "*",
    ] {
        let reply = t.get("/api/v4/groups").with("origin", origin).await;
        assert_eq!(told(reply.is(200, "[]")), to_anybody(ANY, None, EXPOSED), "{origin}");
        let reply = preflight(&t, "/api/v4/groups", origin, "GET", "").await;
        assert_eq!(told(reply.is(200, "")), to_anybody(ANY, None, EXPOSED), "{origin}");
    }
    // Whoever chooses the name that is asked for does not choose who we are (T12).
    let reply = t.get("/api/v4/groups").host("evil.test").with("origin", "http://evil.test").await;
    assert_eq!(told(reply.is(200, "[]")), to_anybody(ANY, None, EXPOSED));
}

async fn a_preflight_is_answered_before_anything_else(t: TestServer) {
    let session = t.user("ada").await.session().await;
    let asks = [
        preflight(&t, "/api/v4/user?access_token=x", FOREIGN, "GET", "").bearer("unknown"),
        preflight(&t, "/api/v4/user?format=xml", FOREIGN, "GET", "").token("unknown"),
        preflight(&t, "/api/v4/user", FOREIGN, "GET", "").session(&session),
        preflight(&t, "/api/v4/user", FOREIGN, "GET", "").body("application/xml", "<x/>"),
    ];
    for ask in asks {
        let reply = ask.await;
        assert_eq!(told(reply.is(200, "")), to_anybody(ANY, None, EXPOSED));
        assert_eq!(reply.header("set-cookie"), None);
    }
    // Only what cannot be read comes first.
    preflight(&t, "/api/v4/user?a=%00", FOREIGN, "GET", "").await.is(400, "Bad Request");
    t.app.db.faults.set(tollhouse_store::faults::Fault::Everything);
    preflight(&t, "/oauth/token", FOREIGN, "POST", "").await.is(200, "");
}

async fn no_origin_no_headers(t: TestServer) {
    for (path, methods, _, exposed) in LISTED {
        let method = if methods.starts_with("POST") { Method::POST } else { Method::GET };
        let reply = t.ask(method, path).await;
        told_nothing(&reply);
        if exposed != FEW {
            assert!(reply.header("vary").is_some_and(|names| names.contains("Origin")), "{path}");
        }
    }
    for origin in [FOREIGN, OWN] {
        let reply = t.get("/api/v4/groups").with("origin", origin).await;
        assert!(reply.is(200, "[]").header("vary").is_some_and(|names| names.contains("Origin")));
    }
}

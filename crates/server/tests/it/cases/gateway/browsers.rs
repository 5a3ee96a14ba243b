//! Where a session counts (GATE-055 to GATE-057).

use tollhouse_domain::scope::Scope;

use super::{HERE, asked, signed_in};
use crate::test_server::{Ask, Session, TestServer};

gates![
    gate_055_a_session_counts_at_home,
    gate_055_under_https with "external_url = 'https://git.example.test'",
    gate_056_a_foreign_origin_is_nobody,
    gate_056_a_page_without_referrer_is_our_own,
    gate_057_a_write_says_where_it_comes_from,
    gate_058_what_a_foreign_page_embeds_is_nobody,
    t4_a_session_on_another_host_is_nobody,
    t5_a_web_socket_of_another_page_is_nobody,
    t9_one_live_session_counts_and_two_are_none,
    a_session_ends_at_the_gate_too_however_much_it_is_used with "sessions.longest = '3d'\nsessions.lifetime = '2d'",
];

async fn gate_055_a_session_counts_at_home(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let (session, token) = (ada.session().await, ada.token([Scope::Api]).await);
    for (url, counts) in [
        ("http://127.0.0.1:8080", true),
        ("https://127.0.0.1:8080", false),
        ("http://127.0.0.1", false),
        ("http://127.0.0.1:8081", false),
        ("https://api.example.test", false),
    ] {
        let reply = asked(&t, "GET", &format!("{url}/x")).session(&session).await;
        if counts {
            reply.passes("all")
        } else {
            reply.is_kept_out(401)
        };
        asked(&t, "GET", &format!("{url}/x")).token(&token).await.passes("all");
    }
}

async fn gate_055_under_https(t: TestServer) {
    let hosts = "host = ['git.example.test', '127.0.0.1']";
    super::rules(&t, &format!("[[rule]]\nname = 'all'\n{hosts}\npath = '/*'\n")).await;
    let session = t.user("ada").await.session().await;
    for url in ["https://git.example.test", "https://GIT.example.test:443"] {
        asked(&t, "GET", &format!("{url}/x")).session(&session).await.passes("all");
    }
    for url in ["http://git.example.test", "https://git.example.test:8443", "http://127.0.0.1:8080"] {
        asked(&t, "GET", &format!("{url}/x")).session(&session).await.is_kept_out(401);
    }
}

const FOREIGN: [&str; 7] = [
    "null",
    "",
    "https://evil.test",
    "http://127.0.0.1",
    "https://127.0.0.1:8080",
    "http://127.0.0.1:8080.evil.test",
    "http://127.0.0.1:8080/",
];

async fn gate_056_a_foreign_origin_is_nobody(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let (session, token) = (ada.session().await, ada.token([Scope::Api]).await);
    for method in ["GET", "HEAD", "POST"] {
        let ask = || asked(&t, method, &format!("{HERE}/x")).session(&session).with("x-csrf-token", &session.csrf());
        ask().await.passes("all");
        ask().with("origin", HERE).await.passes("all");
        for origin in FOREIGN {
            ask().with("origin", origin).await.is_kept_out(401);
            if origin != "null" {
                ask().with("origin", origin).with("sec-fetch-site", "same-origin").await.is_kept_out(401);
            }
            // A token is no cookie: no browser sends it by itself.
            ask().with("origin", origin).token(&token).await.passes("all");
        }
        ask().with("origin", HERE).with("origin", HERE).await.is_kept_out(401);
    }
}

async fn gate_056_a_page_without_referrer_is_our_own(t: TestServer) {
    signed_in(&t).await;
    let session = t.user("ada").await.session().await;
    for method in ["GET", "HEAD", "POST", "DELETE"] {
        let ask = || asked(&t, method, &format!("{HERE}/x")).session(&session).with("origin", "null");
        ask().with("sec-fetch-site", "same-origin").await.passes("all");
        // A frame in a sandbox says `cross-site`, and a page of a neighbour `same-site`.
        for site in ["cross-site", "same-site", "none", "", "same-origin, none"] {
            ask().with("sec-fetch-site", site).await.is_kept_out(401);
        }
        let twice = ask().with("sec-fetch-site", "same-origin").with("sec-fetch-site", "same-origin");
        twice.await.is_kept_out(401);
        ask().with("origin", "null").with("sec-fetch-site", "same-origin").await.is_kept_out(401);
        let there = asked(&t, method, "https://api.example.test/x").session(&session).with("origin", "null");
        there.with("sec-fetch-site", "same-origin").await.is_kept_out(401);
    }
}

async fn gate_057_a_write_says_where_it_comes_from(t: TestServer) {
    signed_in(&t).await;
    let (session, other) = (t.user("ada").await.session().await, t.user("grace").await.session().await);
    for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let ask = || asked(&t, method, &format!("{HERE}/x")).session(&session);
        ask().with("origin", HERE).await.passes("all");
        ask().with("sec-fetch-site", "same-origin").await.passes("all");
        ask().with("x-csrf-token", &session.csrf()).await.passes("all");
        ask().await.is_kept_out(401);
        ask().with("x-csrf-token", &other.csrf()).await.is_kept_out(401);
        for site in ["cross-site", "same-site", "none", "", "same-origin, none"] {
            ask().with("sec-fetch-site", site).await.is_kept_out(401);
        }
        let twice = ask().with("sec-fetch-site", "same-origin").with("sec-fetch-site", "same-origin");
        twice.await.is_kept_out(401);
    }
    for method in ["GET", "HEAD"] {
        asked(&t, method, &format!("{HERE}/x")).session(&session).await.passes("all");
        for site in ["none", "same-origin"] {
            asked(&t, method, &format!("{HERE}/x")).session(&session).with("sec-fetch-site", site).await.passes("all");
        }
    }
}

async fn gate_058_what_a_foreign_page_embeds_is_nobody(t: TestServer) {
    signed_in(&t).await;
    let session = t.user("ada").await.session().await;
    let from = |site: &str, mode: &str, dest: &str| {
        let ask = asked(&t, "GET", &format!("{HERE}/x")).session(&session).with("sec-fetch-site", site);
        ask.with("sec-fetch-mode", mode).with("sec-fetch-dest", dest)
    };
    for site in ["cross-site", "same-site", "", "none, none"] {
        for (mode, dest) in [("no-cors", "script"), ("no-cors", "image"), ("navigate", "iframe"), ("cors", "empty")] {
            from(site, mode, dest).await.is_kept_out(401);
        }
        asked(&t, "GET", &format!("{HERE}/x")).session(&session).with("sec-fetch-site", site).await.is_kept_out(401);
        // A link leads a person there.
        from(site, "navigate", "document").await.passes("all");
    }
    from("same-origin", "no-cors", "script").await.passes("all");
}

async fn t4_a_session_on_another_host_is_nobody(t: TestServer) {
    signed_in(&t).await;
    let session = t.user("ada").await.session().await;
    asked(&t, "GET", "https://api.example.test/x").session(&session).await.is_kept_out(401);
    asked(&t, "GET", &format!("{HERE}/x")).session(&session).await.passes("all");
}

async fn t5_a_web_socket_of_another_page_is_nobody(t: TestServer) {
    signed_in(&t).await;
    let session = t.user("ada").await.session().await;
    let upgrade = |ask: Ask| ask.with("connection", "upgrade").with("upgrade", "websocket").session(&session);
    let ask = || upgrade(asked(&t, "GET", &format!("{HERE}/socket")));
    ask().with("origin", "https://evil.test").await.is_kept_out(401);
    ask().with("origin", HERE).await.passes("all");
}

async fn t9_one_live_session_counts_and_two_are_none(t: TestServer) {
    signed_in(&t).await;
    let (a, b) = (t.user("ada").await.session().await, t.user("grace").await.session().await);
    asked(&t, "GET", &format!("{HERE}/x")).session(&a).session(&b).await.is_kept_out(401);
    asked(&t, "GET", &format!("{HERE}/x")).session(&a).await.passes("all");
    let dead = Session { cookie: "0".repeat(32) };
    for (first, second) in [(&a, &dead), (&dead, &a)] {
        let ask = |method| asked(&t, method, &format!("{HERE}/x")).session(first).session(second);
        assert_eq!(ask("GET").await.passes("all").told("user"), "ada");
        ask("POST").with("x-csrf-token", &a.csrf()).await.passes("all");
        ask("POST").with("x-csrf-token", &dead.csrf()).await.is_kept_out(401);
        ask("POST").with("origin", HERE).await.passes("all");
    }
}

async fn a_session_ends_at_the_gate_too_however_much_it_is_used(t: TestServer) {
    signed_in(&t).await;
    let session = t.user("ada").await.session().await;
    let ask = || asked(&t, "GET", &format!("{HERE}/x")).session(&session);
    for _ in 0..2 {
        t.later(24 * 3600);
        ask().await.passes("all");
        tollhouse::job::flush(&t.app).await;
    }
    t.later(24 * 3600 - 1);
    ask().await.passes("all");
    t.later(1);
    ask().await.is_kept_out(401);
}

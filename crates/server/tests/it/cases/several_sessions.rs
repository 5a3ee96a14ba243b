//! Several session cookies in one request (T9): a dead one signs nobody out, and of two live ones none counts.

use axum::http::{Method, header};

use super::sign_in::guess;
use crate::test_server::{Ask, M401, Reply, Session, TestServer};

cases![
    t9_one_live_session_among_dead_cookies_counts,
    t9_to_write_the_csrf_token_must_be_of_the_live_session,
    t9_who_is_not_signed_in_signs_in_in_spite_of_dead_cookies,
    t9_two_live_sessions_are_none_and_pages_delete_both,
    t9_cookies_are_deleted_under_every_parent_domain with "external_url = 'https://git.example.test'",
    t9_at_most_eight_cookies_are_looked_up,
    t9_signing_out_ends_every_session_that_was_sent,
    t9_explain_agrees_about_several_sessions,
];

const PROJECTS: &str = "/api/v4/projects";

/// With these cookies, in this order.
fn with(ask: Ask, values: &[&str]) -> Ask {
    let cookies: Vec<String> = values.iter().map(|value| format!("_gitlab_session={value}")).collect();
    ask.with("cookie", &cookies.join("; "))
}

fn dead(i: usize) -> String {
    format!("{i:032x}")
}

async fn t9_one_live_session_among_dead_cookies_counts(t: TestServer) {
    let ada = t.user("ada").await;
    let (live, out) = (ada.session().await, ada.session().await);
    t.post("/users/sign_out").session(&out).form("").await.has(302);
    let live = live.cookie.as_str();
    for planted in ["", "x", &dead(1), &out.cookie, live, &"y".repeat(2_000)] {
        for cookies in [[planted, live], [live, planted]] {
            with(t.get("/api/v4/user"), &cookies).await.is_user(&ada);
            let page = with(t.get("/"), &cookies).await;
            assert!(page.has(200).body.contains("Your projects"), "{planted}");
            assert_eq!(page.cookie("_gitlab_session"), None, "the live one is kept");
        }
    }
    let seven: Vec<String> = (0..7).map(dead).collect();
    let mut cookies: Vec<&str> = seven.iter().map(String::as_str).collect();
    cookies.push(live);
    with(t.get("/api/v4/user"), &cookies).await.is_user(&ada);
    // Two headers are one list of cookies.
    t.get("/api/v4/user").session(&out).with("cookie", &format!("_gitlab_session={live}")).await.is_user(&ada);
}

async fn t9_to_write_the_csrf_token_must_be_of_the_live_session(t: TestServer) {
    let ada = t.user("ada").await;
    let live = ada.session().await;
    let planted = Session { cookie: dead(1) };
    let ask = |token: &str| with(t.post(PROJECTS), &[&planted.cookie, &live.cookie]).with("x-csrf-token", token);
    ask(&planted.csrf()).form("name=x").await.is(401, M401);
    ask("").form("name=x").await.is(401, M401);
    assert_eq!(ask(&live.csrf()).form("name=x").await.has(201).json()["creator_id"], ada.id.0);
    let form = |token: String| {
        let form = form_urlencoded::Serializer::new(String::new()).append_pair("authenticity_token", &token).finish();
        with(t.post("/-/user_settings/password"), &[&planted.cookie, &live.cookie]).form(&form)
    };
    form(planted.csrf()).await.has(422);
    form(live.csrf()).await.has(400);
}

async fn t9_who_is_not_signed_in_signs_in_in_spite_of_dead_cookies(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let cookies = [dead(1), dead(2)];
    let cookies: Vec<&str> = cookies.iter().map(String::as_str).collect();
    let form = with(t.get("/users/sign_in"), &cookies).await;
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("authenticity_token", &form.has(200).authenticity_token());
    body.append_pair("user[login]", "ada").append_pair("user[password]", "correct horse");
    let reply = with(t.post("/users/sign_in"), &cookies).form(&body.finish()).await;
    let session = reply.has(302).cookie("_gitlab_session").expect("a session");
    with(t.get("/api/v4/user"), &[cookies[0], &session, cookies[1]]).await.is_user(&ada);
}

/// Where the session cookie is deleted.
fn deleted(reply: &Reply) -> Vec<String> {
    let all = reply.headers.get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let gone = all.filter_map(|cookie| cookie.strip_prefix("_gitlab_session=; Max-Age=0; "));
    gone.map(|rest| rest.split("; HttpOnly").next().unwrap_or_default().to_owned()).collect()
}

async fn t9_two_live_sessions_are_none_and_pages_delete_both(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b, twin) = (ada.session().await, grace.session().await, ada.session().await);
    for other in [&b, &twin] {
        let both = [a.cookie.as_str(), other.cookie.as_str()];
        with(t.get("/api/v4/user"), &both).await.is(401, M401);
        t.get("/api/v4/user").session(&a).session(other).await.is(401, M401);
        with(t.get("/api/v4/groups"), &both).await.is(200, "[]");
        with(t.post(PROJECTS), &both).with("x-csrf-token", &a.csrf()).form("name=x").await.is(401, M401);
        for path in ["/", "/users/sign_in", "/-/user_settings/password/edit", "/oauth/authorize?client_id=x"] {
            let page = with(t.get(path), &both).await;
            assert!(page.has(400).body.contains("more than one session"), "{path}: {}", page.body);
            assert_eq!(page.header("cache-control"), Some("no-store"));
            let gone = deleted(&page);
            assert!(gone.contains(&"Path=/".to_owned()), "{path}: {gone:?}");
            assert!(gone.iter().all(|place| !place.contains("Domain")), "an address has no parents: {gone:?}");
        }
        let form =
            form_urlencoded::Serializer::new(String::new()).append_pair("authenticity_token", &a.csrf()).finish();
        with(t.post("/-/user_settings/password"), &both).form(&form).await.has(400);
    }
    // Neither has ended: a planted cookie must not sign anybody out of where else they are signed in.
    t.get("/api/v4/user").session(&a).await.is_user(&ada);
    t.get("/api/v4/user").session(&b).await.is_user(&grace);
}

async fn t9_cookies_are_deleted_under_every_parent_domain(t: TestServer) {
    let (a, b) = (t.user("ada").await.session().await, t.user("grace").await.session().await);
    let page = with(t.get("/users/sign_in").host("git.example.test"), &[&a.cookie, &b.cookie]).await;
    let mut expected = Vec::new();
    for path in ["/", "/users", "/users/", "/users/sign_in"] {
        for domain in ["", "; Domain=git.example.test", "; Domain=example.test"] {
            expected.push(format!("Path={path}{domain}"));
        }
    }
    assert_eq!(deleted(page.has(400)), expected);
}

async fn t9_at_most_eight_cookies_are_looked_up(t: TestServer) {
    let ada = t.user("ada").await;
    let live = ada.session().await;
    for count in [7, 8, 50] {
        let planted: Vec<String> = (0..count).map(|i| dead(1_000 * count + i)).collect();
        let mut cookies: Vec<&str> = planted.iter().map(String::as_str).collect();
        cookies.insert(0, &live.cookie);
        let before = t.app.auth.look_ups();
        let reply = with(t.get("/api/v4/user"), &cookies).await;
        let looked_up = t.app.auth.look_ups() - before;
        assert!(looked_up <= 8, "{count}: {looked_up}");
        if count == 7 {
            reply.is_user(&ada);
        } else {
            reply.is(401, M401);
            assert!(with(t.get("/"), &cookies).await.has(400).body.contains("more than one session"));
        }
    }
}

async fn t9_signing_out_ends_every_session_that_was_sent(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b, elsewhere) = (ada.session().await, grace.session().await, ada.session().await);
    let unknown = dead(1);
    let reply = with(t.post("/users/sign_out"), &[&a.cookie, &unknown, &b.cookie]).form("").await;
    assert_eq!(reply.has(302).header("location"), Some("/users/sign_in"));
    assert!(deleted(&reply).contains(&"Path=/".to_owned()));
    for session in [&a, &b] {
        t.get("/api/v4/user").session(session).await.is(401, M401);
    }
    t.get("/api/v4/user").session(&elsewhere).await.is_user(&ada);
    assert_eq!(t.count("user.signed_out").await, 2);
    // Another page cannot do that.
    let other = grace.session().await;
    let foreign =
        with(t.post("/users/sign_out"), &[&elsewhere.cookie, &other.cookie]).with("origin", "http://evil.test");
    foreign.form("").await.has(422);
    t.get("/api/v4/user").session(&other).await.is_user(&grace);
    // More than eight are not looked up to be counted, but none of them stays.
    let last = grace.session().await;
    let eight: Vec<String> = (0..8).map(dead).collect();
    let cookies: Vec<&str> = std::iter::once(last.cookie.as_str()).chain(eight.iter().map(String::as_str)).collect();
    with(t.post("/users/sign_out"), &cookies).form("").await.has(302);
    t.get("/api/v4/user").session(&last).await.is(401, M401);
    // With one live session among dead cookies that one ends.
    with(t.post("/users/sign_out"), &[&unknown, &other.cookie]).form("").await.has(302);
    t.get("/api/v4/user").session(&other).await.is(401, M401);
    assert!(guess(&t, "nobody", "x").await.has(200).body.contains("Sign in"));
}

async fn t9_explain_agrees_about_several_sessions(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (a, b) = (ada.session().await, grace.session().await);
    let nine: Vec<String> = (0..9).map(dead).collect();
    let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
    let unknown = dead(1);
    for (method, cookies, token, why) in [
        (Method::GET, vec![unknown.as_str(), &a.cookie], String::new(), "the only live one"),
        (Method::GET, vec![&a.cookie, &b.cookie], String::new(), "two live sessions were sent"),
        (Method::GET, nine, String::new(), "too many session cookies"),
        (Method::GET, vec![unknown.as_str(), "x"], String::new(), "has ended"),
        (Method::POST, vec![unknown.as_str(), &a.cookie], a.csrf(), "the only live one"),
        (
            Method::POST,
            vec![unknown.as_str(), &a.cookie],
            Session { cookie: unknown.clone() }.csrf(),
            "belongs to another",
        ),
        (Method::POST, vec![&a.cookie, &b.cookie], a.csrf(), "two live sessions were sent"),
    ] {
        let (path, body) = if method == Method::GET { ("/api/v4/user", "") } else { (PROJECTS, "name=x") };
        let ask = with(t.ask(method, path), &cookies).with("x-csrf-token", &token);
        let ask = if body.is_empty() { ask } else { ask.form(body) };
        let told = tollhouse::explain::explain(&t.app, ask.request()).await.expect("a database");
        let done = ask.await;
        assert!(told.to_string().contains(why), "{why}: {told}");
        let status = told.answer.as_ref().map_or(200, |answer| answer.status);
        assert_eq!(status == 200, done.status.is_success(), "{why}: {told}");
        let who = told.identity.as_ref().filter(|_| status == 200).map(|who| who.user_id);
        assert_eq!(who, done.status.is_success().then_some(ada.id.0), "{why}: {told}");
    }
}

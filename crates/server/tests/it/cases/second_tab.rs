//! The sign-in form of a second tab, sent after somebody signed in with the first (authentication.md 6.5).

use super::sign_in::guess;
use crate::test_server::{M401, Reply, Session, TestServer};

cases![
    a_second_tab_leads_on_to_where_the_first_was_led,
    a_second_tab_for_another_account_says_who_is_signed_in,
    a_second_tab_signs_nobody_in_and_looks_at_no_password,
    a_second_tab_of_a_foreign_page_is_refused,
    a_second_tab_after_signing_out_is_out_of_date,
    a_second_tab_whose_password_has_expired_leads_on,
];

const PAGE: &str = "/users/sign_in";

/// The form that a tab has open: its CSRF token, and the cookies of the browser.
struct Tab {
    token: String,
}

impl Tab {
    async fn open(t: &TestServer, session: Option<&Session>) -> (Self, Session) {
        let ask = session.map_or_else(|| t.get(PAGE), |session| t.get(PAGE).session(session));
        let page = ask.await;
        let cookie = page.cookie("_gitlab_session").or(session.map(|session| session.cookie.clone()));
        (Self { token: page.has(200).authenticity_token() }, Session { cookie: cookie.expect("a cookie") })
    }

    fn filled_in(&self, login: &str, password: &str) -> String {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("authenticity_token", &self.token);
        body.append_pair("user[login]", login).append_pair("user[password]", password);
        body.finish()
    }
}

/// All cookies that an answer sets, as a browser sends them back.
fn cookies(reply: &Reply) -> String {
    let all = reply.headers.get_all("set-cookie").iter().filter_map(|value| value.to_str().ok());
    let live = all.filter(|cookie| !cookie.contains("Max-Age=0"));
    live.filter_map(|cookie| cookie.split(';').next()).collect::<Vec<_>>().join("; ")
}

async fn a_second_tab_leads_on_to_where_the_first_was_led(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for target in [None, Some("/-/user_settings/password/edit"), Some("/oauth/authorize?client_id=x&state=%3B,a")] {
        let query =
            form_urlencoded::Serializer::new(String::new()).append_pair("return_to", target.unwrap_or("x")).finish();
        let shown = t.get(&format!("{PAGE}?{query}")).await;
        let before = cookies(shown.has(200));
        let tab = Tab { token: shown.authenticity_token() };
        let first = t.post(PAGE).with("cookie", &before).form(&tab.filled_in("ada", "correct horse")).await;
        let led = first.has(302).header("location").expect("a way").to_owned();
        assert_eq!(led, target.unwrap_or("/").replace(',', "%2C"));
        for login in ["ada", " ADA ", "Ada@example.test"] {
            let second =
                t.post(PAGE).with("cookie", &cookies(&first)).form(&tab.filled_in(login, "correct horse")).await;
            assert_eq!(second.has(303).header("location"), Some(led.as_str()), "{login}");
            assert_eq!(second.cookie("_gitlab_session"), None);
        }
        // It is forgotten when she signs out.
        let out = t.post("/users/sign_out").with("cookie", &cookies(&first)).form("").await;
        assert_eq!(out.has(302).cookie("_tollhouse_led_0").is_some(), target.is_some());
    }
    assert_eq!(t.count("user.signed_in").await, 3);
}

async fn a_second_tab_for_another_account_says_who_is_signed_in(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    t.user_with_password("grace", "battery staple").await;
    let (tab, _) = Tab::open(&t, None).await;
    let session = ada.session().await;
    let mut pages = Vec::new();
    for (login, password) in [("grace", "battery staple"), ("grace", "wrong"), ("nobody", "x"), ("", "")] {
        let reply = t.post(PAGE).session(&session).form(&tab.filled_in(login, password)).await;
        let page = reply.has(409).body.clone();
        assert!(page.contains("You are signed in as ada") && page.contains("/users/sign_out"), "{page}");
        assert!(!page.contains("grace") && !page.contains("nobody"));
        let id = reply.header("x-request-id").expect("an id");
        pages.push(page.replace(&reply.authenticity_token(), "").replace(id, ""));
    }
    pages.dedup();
    assert_eq!(pages.len(), 1, "for every name and password");
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    let again = t.post(PAGE).session(&session).form(&tab.filled_in("nobody", "x")).await;
    let body = format!("authenticity_token={}", again.authenticity_token().replace('+', "%2B"));
    t.post("/users/sign_out").session(&session).form(&body).await.has(302);
    t.get("/api/v4/user").session(&session).await.is(401, M401);
}

async fn a_second_tab_signs_nobody_in_and_looks_at_no_password(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (tab, _) = Tab::open(&t, None).await;
    let session = ada.session().await;
    let (hashed, log) = (t.app.hasher.hashed(), t.log(0).await.len());
    for _ in 0..12 {
        t.post(PAGE).session(&session).form(&tab.filled_in("ada", "wrong horse")).await.has(303);
    }
    t.post(PAGE).session(&session).form("").await.has(400);
    t.post(PAGE).session(&session).form("user[login][]=ada&user[password]=x").await.has(400);
    assert_eq!(
        (t.app.hasher.hashed(), t.log(0).await.len()),
        (hashed, log),
        "no password is looked at, nothing changes"
    );
    assert_eq!(t.count("user.password_locked").await + t.count("user.signed_in").await, 0);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    guess(&t, "ada", "correct horse").await.has(302);
}

async fn a_second_tab_of_a_foreign_page_is_refused(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (tab, anonymous) = Tab::open(&t, None).await;
    let session = ada.session().await;
    for (name, value) in [("origin", "https://evil.test"), ("origin", "null"), ("sec-fetch-site", "same-site")] {
        let ask = t.post(PAGE).session(&session).with(name, value);
        ask.form(&tab.filled_in("ada", "correct horse")).await.has(422);
    }
    // Without a live session the token is asked for, as before.
    for token in ["", "x"] {
        let forged = Tab { token: token.to_owned() };
        t.post(PAGE).session(&anonymous).form(&forged.filled_in("ada", "correct horse")).await.has(422);
        t.post(PAGE).form(&forged.filled_in("ada", "correct horse")).await.has(422);
    }
    assert_eq!(t.count("user.signed_in").await, 0);
}

async fn a_second_tab_after_signing_out_is_out_of_date(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (tab, _) = Tab::open(&t, None).await;
    let session = ada.session().await;
    t.post("/users/sign_out").session(&session).form("").await.has(302);
    t.post(PAGE).session(&session).form(&tab.filled_in("ada", "correct horse")).await.has(422);
}

async fn a_second_tab_whose_password_has_expired_leads_on(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (tab, _) = Tab::open(&t, None).await;
    let session = ada.session().await;
    let digest = t.app.hasher.hash(&tollhouse_domain::secret::Plaintext::new("set by another".into())).await;
    let expires_at = Some(t.now());
    let set = tollhouse::operations::users::SetPassword { user: ada.id, seen: None, digest, expires_at };
    t.does(set).await;
    t.later(1);
    // That change ended all sessions, so this tab's form is out of date; one that was signed in since leads on.
    t.post(PAGE).session(&session).form(&tab.filled_in("ada", "set by another")).await.has(422);
    let session = ada.session().await;
    let second = t.post(PAGE).session(&session).form(&tab.filled_in("ada", "set by another")).await;
    assert_eq!(second.has(303).header("location"), Some("/"));
    let elsewhere = t.get("/").session(&session).await;
    assert_eq!(elsewhere.has(302).header("location"), Some("/-/user_settings/password/edit"));
}

//! Guessing passwords: how many of one address are refused in a minute (T14), how a browser that signed in before is told
//! apart from strangers (T15), and what an operator is told of it (T29).

use std::net::IpAddr;

use tollhouse::operations::users::{NewPassword, SetState, Unlock, set_password};
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::faults::Fault;

use super::agreement::until;
use crate::process::{output, server};
use crate::test_server::{Reply, Session, TestServer, logged};

cases![
    t14_ten_refused_passwords_of_one_address_in_a_minute,
    t14_a_network_of_one_customer_is_one_address,
    t14_every_place_that_takes_a_password_counts with "oauth.password_grant = true",
    t14_only_refused_passwords_count with "oauth.password_grant = true",
    t14_many_at_once_get_no_more_than_ten,
    t14_many_at_once_that_are_right_all_get_in,
    t14_the_bound_holds_over_servers_and_restarts,
    t14_the_bound_can_be_switched_off with "limits.sign_in_failures = 0",
    t14_what_was_counted_is_swept,
    t15_a_browser_that_signed_in_before_gets_in_while_the_name_is_locked,
    t15_a_browser_has_a_counter_of_its_own with "limits.sign_in_failures = 0",
    t15_a_browser_is_known_to_one_account_and_one_password,
    t15_the_cookie_of_a_browser,
    t29_refused_passwords_are_logged_and_counted,
    t29_a_password_whose_sender_left_is_settled_and_counted,
    all_clients_behind_an_unnamed_proxy_look_alike,
    an_https_name_without_a_named_proxy_is_noticed,
];

const PAGE: &str = "/users/sign_in";
const WRONG: &str = "Invalid login or password.";
const HOME: [u8; 4] = [127, 0, 0, 1];

struct Guess<'a> {
    t: &'a TestServer,
    login: &'a str,
    device: &'a str,
    peer: IpAddr,
    accept: &'a str,
}

impl<'a> Guess<'a> {
    fn at(t: &'a TestServer, login: &'a str) -> Self {
        Self { t, login, device: "", peer: HOME.into(), accept: "*/*" }
    }

    fn with(self, device: &'a str) -> Self {
        Self { device, ..self }
    }

    fn from(self, peer: &str) -> Self {
        Self { peer: peer.parse().expect("an address"), ..self }
    }

    async fn typed(self, password: &str) -> Reply {
        let form = self.t.get(PAGE).from(self.peer).await;
        let session = Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("authenticity_token", &session.csrf());
        body.append_pair("user[login]", self.login).append_pair("user[password]", password);
        let cookies = format!("_gitlab_session={}; _tollhouse_device={}", session.cookie, self.device);
        let ask = self.t.post(PAGE).from(self.peer).with("cookie", &cookies).with("accept", self.accept);
        ask.form(&body.finish()).await
    }
}

async fn wrong(t: &TestServer, login: &str) {
    assert!(Guess::at(t, login).typed("wrong horse").await.has(200).body.contains(WRONG));
}

/// Somebody signs in from an address of their own; what their browser keeps.
async fn known_browser(t: &TestServer, login: &str) -> String {
    let reply = Guess::at(t, login).from("198.51.100.1").typed("correct horse").await;
    reply.has(302).cookie("_tollhouse_device").expect("a cookie")
}

async fn t14_ten_refused_passwords_of_one_address_in_a_minute(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    // Noon, and 20 seconds.
    t.later(20);
    for i in 0..9 {
        wrong(&t, &format!("nobody{i}")).await;
    }
    wrong(&t, "ada").await;
    let hashed = t.app.hasher.hashed();
    t.app.db.faults.set(Fault::Writes);
    for (login, password) in [("ada", "correct horse"), ("ada", "x"), ("nobody", "x")] {
        let reply = Guess::at(&t, login).typed(password).await;
        reply.is(429, "Retry later\n");
        for (name, value) in [
            ("content-type", "text/plain"),
            ("retry-after", "40"),
            ("ratelimit-name", "throttle_sign_in_failures"),
            ("ratelimit-limit", "10"),
            ("ratelimit-observed", "11"),
            ("ratelimit-remaining", "0"),
            ("ratelimit-reset", "1795348860"),
            ("ratelimit-resettime", "Sun, 22 Nov 2026 12:01:00 GMT"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert_eq!(reply.header("set-cookie"), None);
    }
    let page = Guess { accept: "text/html,application/xhtml+xml", ..Guess::at(&t, "ada") }.typed("x").await;
    assert!(
        page.has(429).body.contains("<h1>Retry later</h1>") && page.body.contains("in 40 seconds"),
        "{}",
        page.body
    );
    assert_eq!(page.header("retry-after"), Some("40"));
    t.app.db.faults.set(Fault::None);
    assert_eq!(t.app.hasher.hashed(), hashed, "and nothing is hashed or written");
    Guess::at(&t, "ada").from("192.0.2.1").typed("correct horse").await.has(302);
    t.later(39);
    Guess::at(&t, "ada").typed("correct horse").await.has(429);
    t.later(1);
    Guess::at(&t, "ada").typed("correct horse").await.has(302);
}

async fn t14_a_network_of_one_customer_is_one_address(t: TestServer) {
    let status = async |address: String| Guess::at(&t, "nobody").from(&address).typed("x").await.status.as_u16();
    for i in 1..=10 {
        assert_eq!(status(format!("2001:db8:1:1::{i:x}")).await, 200);
    }
    assert_eq!(status("2001:db8:1:1:ffff::1".into()).await, 429, "the same /64");
    for i in 0..30 {
        assert_eq!(status(format!("2001:db8:1:{:x}::1", 2 + i)).await, 200, "another /64");
    }
    assert_eq!(status("2001:db8:1:ffff::1".into()).await, 429, "the /48 had forty");
    assert_eq!(status("2001:db8:2::1".into()).await, 200);
    assert_eq!(status("::ffff:192.0.2.7".into()).await, 200);
    for _ in 0..9 {
        assert_eq!(status("192.0.2.7".into()).await, 200);
    }
    assert_eq!(status("::ffff:192.0.2.7".into()).await, 429, "one host");
}

/// The answers of the four places to one password.
async fn everywhere(t: &TestServer, session: &Session, client: &crate::oauth::Client, password: &str) -> [Reply; 4] {
    let target = "/oauth/authorize?client_id=x";
    let form = |pairs: &[(&str, &str)]| {
        let mut body = form_urlencoded::Serializer::new(String::new());
        body.append_pair("authenticity_token", &session.csrf()).extend_pairs(pairs);
        body.finish()
    };
    let new = [("user[new_password]", "battery staple"), ("user[password_confirmation]", "battery staple")];
    let change = form(&[("user[password]", password), new[0], new[1]]);
    let again = form(&[("user[password]", password), ("return_to", target)]);
    let grant = format!("grant_type=password&username=ada&password={password}");
    [
        Guess::at(t, "ada").typed(password).await,
        t.post("/-/user_settings/password").session(session).form(&change).await,
        t.post("/oauth/authorize/reauthenticate").session(session).form(&again).await,
        t.post("/oauth/token").with("authorization", &client.basic()).form(&grant).await,
    ]
}

async fn t14_every_place_that_takes_a_password_counts(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (session, client) = (ada.session().await, t.client("api").await);
    for _ in 0..2 {
        let [sign_in, change, again, grant] = everywhere(&t, &session, &client, "wrong").await;
        assert!(sign_in.has(200).body.contains(WRONG));
        assert!(change.has(200).body.contains("The current password is wrong."));
        assert!(again.has(200).body.contains("Invalid password."));
        assert_eq!(grant.has(400).json()["error"], "invalid_grant");
    }
    wrong(&t, "nobody").await;
    wrong(&t, "nobody").await;
    let hashed = t.app.hasher.hashed();
    let [sign_in, change, again, grant] = everywhere(&t, &session, &client, "correct+horse").await;
    for page in [sign_in, change, again] {
        page.is(429, "Retry later\n");
    }
    grant.is(429, r#"{"error":"temporarily_unavailable","error_description":"Retry later"}"#);
    assert_eq!(grant.header("retry-after"), Some("60"));
    assert_eq!(grant.header("ratelimit-limit"), Some("10"));
    assert_eq!(t.app.hasher.hashed(), hashed);
}

async fn t14_only_refused_passwords_count(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let token = ada.token([Scope::Api]).await;
    for _ in 0..12 {
        Guess::at(&t, "ada").typed("correct horse").await.has(302);
        // Clients send a wrong Basic first on purpose.
        t.post("/oauth/token").with("authorization", "Basic eDp5").form("grant_type=client_credentials").await.has(401);
        t.get("/api/v4/user").token("glpat-nobodys").await.has(401);
        t.get("/api/v4/user").token(&token).await.has(200);
        let grant = "grant_type=password&username=ada&password=correct+horse";
        t.post("/oauth/token").with("authorization", &client.basic()).form(grant).await.has(200);
    }
    // The right password of somebody who may not come in was not refused.
    let bob = t.user_with_password("bob", "correct horse").await;
    bob.set_state(SetState::block(bob.id)).await;
    for _ in 0..12 {
        assert!(Guess::at(&t, "bob").typed("correct horse").await.has(200).body.contains("has been blocked"));
    }
    for _ in 0..10 {
        wrong(&t, "nobody").await;
    }
    Guess::at(&t, "ada").typed("correct horse").await.has(429);
}

/// The statuses of many at once, from one address.
async fn at_once(t: &TestServer, attempts: impl Iterator<Item = (String, &'static str)>) -> Vec<u16> {
    let attempts = attempts.map(|(login, password)| {
        let t = t.clone();
        tokio::task::spawn_local(async move { Guess::at(&t, &login).typed(password).await.status.as_u16() })
    });
    let attempts: Vec<_> = attempts.collect();
    let mut statuses = Vec::new();
    for attempt in attempts {
        statuses.push(attempt.await.expect("an answer"));
    }
    statuses
}

async fn t14_many_at_once_get_no_more_than_ten(t: TestServer) {
    let hashed = t.app.hasher.hashed();
    let statuses = at_once(&t, (0..60).map(|i| (format!("nobody{i}"), "wrong horse"))).await;
    let with = |status| statuses.iter().filter(|other| **other == status).count();
    assert_eq!((with(200), with(429)), (10, 50), "{statuses:?}");
    assert_eq!(t.app.hasher.hashed() - hashed, 10);
}

async fn t14_many_at_once_that_are_right_all_get_in(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for _ in 0..9 {
        wrong(&t, "nobody").await;
    }
    let statuses = at_once(&t, (0..12).map(|_| ("ada".to_owned(), "correct horse"))).await;
    assert!(statuses.iter().all(|status| *status == 302), "nine were refused, and no more: {statuses:?}");
}

async fn t14_the_bound_holds_over_servers_and_restarts(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let other = t.reopened("").await;
    for _ in 0..5 {
        wrong(&t, "nobody").await;
        wrong(&other, "nobody").await;
    }
    Guess::at(&t, "ada").typed("correct horse").await.has(429);
    Guess::at(&other, "ada").typed("correct horse").await.has(429);
    other.leave().await;
    let again = t.reopened("").await;
    Guess::at(&again, "ada").typed("correct horse").await.has(429);
    again.leave().await;
}

async fn t14_the_bound_can_be_switched_off(t: TestServer) {
    for i in 0..30 {
        wrong(&t, &format!("nobody{i}")).await;
    }
}

async fn t14_what_was_counted_is_swept(t: TestServer) {
    let rows = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let all = tollhouse_store::faults::every_row(&mut reader).await.expect("every row");
        all.iter().filter(|row| row.starts_with("sign_in_failures")).count()
    };
    for i in 0..12 {
        Guess::at(&t, "nobody").from(&format!("2001:db8:{i:x}::1")).typed("x").await.has(200);
    }
    assert_eq!(rows().await, 24, "a /64 and a /48 each");
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(rows().await, 24);
    t.later(11 * 60);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(rows().await, 0);
}

/// Strangers guess until the name is locked.
async fn lock(t: &TestServer, login: &str) {
    for i in 0..10 {
        let peer = format!("203.0.113.{i}");
        assert!(Guess::at(t, login).from(&peer).typed("wrong horse").await.has(200).body.contains(WRONG));
    }
}

async fn t15_a_browser_that_signed_in_before_gets_in_while_the_name_is_locked(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let device = known_browser(&t, "ada").await;
    lock(&t, "ada").await;
    // An address gives no exemption, also not that of the owner.
    for peer in ["198.51.100.1", "127.0.0.1"] {
        assert!(Guess::at(&t, "ada").from(peer).typed("correct horse").await.has(200).body.contains(WRONG));
    }
    let reply = Guess::at(&t, "ada").with(&device).from("192.0.2.9").typed("correct horse").await;
    let session = Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a session") };
    t.get("/").session(&session).await.has(200);
    // Nor do wrong passwords of others at its address keep it out.
    for i in 0..10 {
        Guess::at(&t, &format!("nobody{i}")).from("192.0.2.9").typed("x").await.has(200);
    }
    Guess::at(&t, "ada").from("192.0.2.9").typed("correct horse").await.has(429);
    Guess::at(&t, "ada").with(&device).from("192.0.2.9").typed("correct horse").await.has(302);
}

async fn t15_a_browser_has_a_counter_of_its_own(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let device = known_browser(&t, "ada").await;
    let other = known_browser(&t, "ada").await;
    let typed = async |device: &str, password: &str| Guess::at(&t, "ada").with(device).typed(password).await;
    for _ in 0..9 {
        assert!(typed(&device, "wrong horse").await.has(200).body.contains(WRONG));
    }
    typed(&device, "correct horse").await.has(302);
    // What was right begins anew.
    for _ in 0..10 {
        assert!(typed(&device, "wrong horse").await.has(200).body.contains(WRONG));
    }
    let hashed = t.app.hasher.hashed();
    assert!(typed(&device, "correct horse").await.has(200).body.contains(WRONG), "it is locked");
    assert_eq!(t.app.hasher.hashed() - hashed, 1, "which takes as long");
    typed(&other, "correct horse").await.has(302);
    typed("", "correct horse").await.has(302);
    assert_eq!(t.count("user.password_locked").await, 0, "the name is not");
    t.later(9 * 60);
    assert!(typed(&device, "correct horse").await.has(200).body.contains(WRONG));
    t.later(60);
    typed(&device, "correct horse").await.has(302);
    // Whoever types on meanwhile does not prolong it.
    for _ in 0..10 {
        typed(&device, "wrong horse").await;
    }
    for _ in 0..9 {
        t.later(60);
        typed(&device, "wrong horse").await;
    }
    t.later(60);
    typed(&device, "correct horse").await.has(302);
    // What a browser sends beyond that counts against its address, where that is bounded.
    let bounded = t.reopened("").await;
    for _ in 0..10 {
        Guess::at(&bounded, "ada").with(&device).from("192.0.2.50").typed("wrong horse").await.has(200);
    }
    for _ in 0..10 {
        Guess::at(&bounded, "ada").with(&device).from("192.0.2.50").typed("wrong horse").await.has(200);
    }
    Guess::at(&bounded, "ada").with(&device).from("192.0.2.50").typed("wrong horse").await.has(429);
    bounded.leave().await;
    t.later(601);
    typed(&device, "correct horse").await.has(302);
    // Ten at once are as many as ten.
    let attempts: Vec<_> = (0..30)
        .map(|_| {
            let (t, device) = (t.clone(), device.clone());
            tokio::task::spawn_local(async move { Guess::at(&t, "ada").with(&device).typed("wrong horse").await })
        })
        .collect();
    for attempt in attempts {
        attempt.await.expect("an answer").has(200);
    }
    assert!(typed(&device, "correct horse").await.has(200).body.contains(WRONG));
    // Whoever asks for help is let in again, in this browser too.
    assert!(t.does(Unlock { user: ada.id }).await);
    typed(&device, "correct horse").await.has(302);
    assert!(!t.does(Unlock { user: ada.id }).await, "there is nothing left to unlock");
}

async fn t15_a_browser_is_known_to_one_account_and_one_password(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    t.user_with_password("bob", "correct horse").await;
    let device = known_browser(&t, "ada").await;
    let in_as = async |login: &str, device: &str, password: &str| {
        Guess::at(&t, login).with(device).typed(password).await.status.as_u16() == 302
    };
    lock(&t, "ada").await;
    t.later(60);
    lock(&t, "bob").await;
    assert!(!in_as("bob", &device, "correct horse").await, "another account");
    let parts: Vec<&str> = device.split('.').collect();
    let [user, issued, browser, signature] = parts[..] else { panic!("{device}") };
    let late = issued.parse::<i64>().expect("seconds") + 1;
    for forged in [
        format!("2.{issued}.{browser}.{signature}"),
        format!("{user}.{late}.{browser}.{signature}"),
        format!("{user}.{issued}.AAAAAAAAAAAAAAAAAAAAAA.{signature}"),
        format!("{user}.{issued}.{browser}.{}", &signature[1..]),
        format!("{user}.{issued}.{browser}"),
        format!("{device}.x"),
        format!("{user}.99999999999999999999.{browser}.{signature}"),
        "~".repeat(3000),
        "\u{e9}".to_owned(),
    ] {
        assert!(!in_as("ada", &forged, "correct horse").await, "{forged}");
        t.later(6);
    }
    // Twice the same, and one that is nobody's before it.
    assert!(in_as("ada", &format!("x~{device}~{device}"), "correct horse").await);
    // Another site of the same domain set cookies of that name, after ours.
    t.later(60);
    lock(&t, "ada").await;
    let planted = format!("{user}.{issued}.AAAAAAAAAAAAAAAAAAAAAA.{signature}; _tollhouse_device=x");
    assert!(in_as("ada", &format!("{device}; _tollhouse_device={planted}"), "correct horse").await);
    // A new password ends it.
    let change = NewPassword { user: ada.id, seen: None, expires_at: None };
    let new = Plaintext::new("battery staple".into());
    set_password(&t.app, change, &new, &By::system()).await.expect("a change").into_inner();
    t.later(60);
    lock(&t, "ada").await;
    assert!(!in_as("ada", &device, "battery staple").await);
    // So do ninety days.
    t.later(601);
    let device = Guess::at(&t, "ada").typed("battery staple").await.has(302).cookie("_tollhouse_device");
    let device = device.expect("a cookie");
    t.later(90 * 86_400 - 2);
    lock(&t, "ada").await;
    assert!(in_as("ada", &device, "battery staple").await, "a second before");
    lock(&t, "ada").await;
    t.later(2);
    assert!(!in_as("ada", &device, "battery staple").await);
}

async fn t15_the_cookie_of_a_browser(t: TestServer) {
    let names = ["ada", "bob", "cleo", "dora", "eve"];
    let mut device = String::new();
    for name in names {
        t.user_with_password(name, "correct horse").await;
        let reply = Guess::at(&t, name).with(&device).typed("correct horse").await;
        let set: Vec<&str> = reply.has(302).headers.get_all("set-cookie").iter().flat_map(|v| v.to_str()).collect();
        let cookie = set.iter().find(|cookie| cookie.starts_with("_tollhouse_device=")).expect("a cookie");
        assert!(cookie.ends_with("; Max-Age=7776000; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        device = reply.cookie("_tollhouse_device").expect("a cookie");
        assert!(device.len() < 500, "{device}");
    }
    // Four accounts on one browser; the first has gone.
    for name in names {
        lock(&t, name).await;
        t.later(60);
    }
    for name in names {
        let status = Guess::at(&t, name).with(&device).typed("correct horse").await.status.as_u16();
        assert_eq!(status, if name == "ada" { 200 } else { 302 }, "{name}");
    }
    // Signing out leaves it: it is there for the next time.
    let out = t.post("/users/sign_out").with("cookie", &format!("_tollhouse_device={device}")).form("").await;
    assert!(out.headers.get_all("set-cookie").iter().all(|c| !c.to_str().expect("text").contains("_tollhouse_device")));
    let other = t.reopened("external_url = 'https://git.example.test'\ncompat.cookie = 'gitlab'").await;
    let form = other.get(PAGE).host("git.example.test").await;
    let session = Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
    let body = format!("authenticity_token={}&user[login]=bob&user[password]=correct+horse", session.csrf());
    let reply = other.post(PAGE).host("git.example.test").session(&session).form(&body).await;
    let set: Vec<&str> = reply.has(302).headers.get_all("set-cookie").iter().flat_map(|v| v.to_str()).collect();
    let cookie = set.iter().find(|cookie| cookie.starts_with("_tollhouse_device=")).expect("a cookie");
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    other.leave().await;
}

async fn t29_refused_passwords_are_logged_and_counted(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let lines = logged(async {
        for i in 0..11 {
            if i == 6 {
                t.later(60);
            }
            wrong(&t, "ada").await;
        }
        for _ in 0..5 {
            wrong(&t, "a-secret-that-was-typed-here").await;
        }
        Guess::at(&t, "ada").typed("wrong horse").await.has(429);
        Guess::at(&t, "nobody").typed("wrong horse").await.has(429);
    })
    .await;
    let of = |reason: &str, account: &str| {
        let (reason, account) = (format!("reason=\"{reason}\""), format!("account=\"{account}\""));
        let line = |line: &&str| line.contains(&reason) && line.contains(&account) && line.contains("peer=127.0.0.1");
        lines.lines().filter(line).count()
    };
    let id = ada.id.0.to_string();
    assert_eq!(of("wrong_password", &id), 9, "{lines}");
    assert_eq!((of("locked_out", &id), of("password_locked", &id)), (1, 1), "{lines}");
    assert_eq!(of("wrong_password", "-"), 5, "{lines}");
    assert_eq!((of("sign_in_failures", &id), of("sign_in_failures", "-")), (1, 1), "{lines}");
    assert!(!lines.contains("a-secret") && !lines.contains("horse"), "{lines}");
    let all = super::metrics::scraped(&t).await;
    for (reason, times) in
        [("wrong_password", 14.0), ("locked_out", 1.0), ("password_locked", 1.0), ("sign_in_failures", 2.0)]
    {
        assert_eq!(all[&format!("tollhouse_refusals_total{{reason=\"{reason}\"}}")], times, "{reason}");
    }
}

async fn t29_a_password_whose_sender_left_is_settled_and_counted(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let rows = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let all = tollhouse_store::faults::every_row(&mut reader).await.expect("every row");
        all.into_iter().filter(|row| row.starts_with("failed_sign_ins") || row.starts_with("sign_in_failures")).count()
    };
    let lines = logged(async {
        let stalled = t.app.hasher.stall();
        let login = async { drop(Guess::at(&t, "ada").typed("wrong horse").await) };
        // It is dropped while the password waits to be compared, as when a client closes the connection.
        tokio::select! {
            () = login => panic!("it was answered"),
            () = until("a place", async || (t.app.hasher.load().waiting > 0).then_some(())) => {}
        }
        drop(stalled);
        until("both rows", async || (rows().await == 2).then_some(())).await;
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    })
    .await;
    let account = format!("account=\"{}\"", ada.id.0);
    let line =
        lines.lines().find(|line| line.contains("the client had disconnected")).unwrap_or_else(|| panic!("{lines}"));
    assert!(line.contains("reason=\"wrong_password\"") && line.contains(&account), "{line}");
    let all = super::metrics::scraped(&t).await;
    assert_eq!(all["tollhouse_refusals_total{reason=\"wrong_password\"}"], 1.0);
}

const ALIKE: &str = "proxies.trusted names none: all clients look like one address";

async fn all_clients_behind_an_unnamed_proxy_look_alike(t: TestServer) {
    let lines = logged(async {
        for peer in ["203.0.113.9", "127.0.0.1", "10.0.0.1"] {
            let forwarded = |target: &str| {
                t.get(target).from(peer.parse().expect("an address")).with("x-forwarded-for", "198.51.100.7")
            };
            forwarded("/api/v4/version").await.has(401);
            forwarded("/-/auth").await.has(403);
        }
    })
    .await;
    assert_eq!(lines.matches(ALIKE).count(), 1, "once: {lines}");
    let named = t.reopened("proxies.trusted = ['127.0.0.1']").await;
    let lines = logged(async {
        named.get("/api/v4/version").with("x-forwarded-for", "198.51.100.7").await.has(401);
    })
    .await;
    assert_eq!(lines.matches(ALIKE).count(), 0, "{lines}");
    named.leave().await;
}

async fn an_https_name_without_a_named_proxy_is_noticed(t: TestServer) {
    for (settings, times) in [
        (&[("TOLLHOUSE_EXTERNAL_URL", "https://git.example.test")][..], 1),
        (&[("TOLLHOUSE_EXTERNAL_URL", "https://git.example.test"), ("TOLLHOUSE_PROXIES_TRUSTED", "127.0.0.1")], 0),
        (&[], 0),
    ] {
        let mut command = server(t.folder.path(), &t.database_url);
        command.arg("--check").envs(settings.iter().copied());
        let out = output(command).await;
        assert_eq!(out.status.code(), Some(0), "{out:?}");
        assert_eq!(String::from_utf8_lossy(&out.stderr).matches(ALIKE).count(), times, "{settings:?}");
    }
}

//! Signing in and out by the form (authentication.md 6.5, 6.6).

use tollhouse::operations::users::{Confirm, SetState};
use tollhouse_domain::user::{AccountState, UserKind};

use crate::test_server::{M401, Reply, Session, TestServer};

cases![
    auth_163_a_wrong_password,
    auth_164_the_right_password,
    auth_165_who_was_deactivated_comes_back,
    auth_166_who_is_blocked_does_not,
    other_states_are_told_after_the_right_password_alone,
    an_address_signs_in_too,
    signing_out_ends_the_session,
    ten_wrong_passwords_lock_for_ten_minutes with "limits.sign_in_failures = 0",
    two_hundred_parallel_guesses_get_ten with "limits.sign_in_failures = 0",
    a_lock_outlives_a_restart,
    a_hundred_sessions_and_no_more with "sessions.per_user = 3",
    an_old_password_makes_no_session_after_a_change,
    a_stranger_who_signs_out_writes_nothing,
    the_first_page_needs_a_session,
    pages_speak_of_this_server,
    a_page_that_is_not_there,
    t14_what_helps_after_a_wrong_password_tells_nothing with "limits.sign_in_failures = 0",
    the_hint_says_when_sign_in_closes with "passwords = { attempts = 3, lock_for = \"1h\" }",
    an_error_page_has_the_id_of_its_request,
    an_error_page_leads_on,
];

const PAGE: &str = "/users/sign_in";
const WRONG: &str = "Invalid login or password.";

/// The form, filled in and sent by somebody who has the cookie that came with it.
pub async fn guess(t: &TestServer, login: &str, password: &str) -> Reply {
    let form = t.get(PAGE).await;
    let session = Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
    fill_in(t, &session, login, password).await
}

async fn fill_in(t: &TestServer, session: &Session, login: &str, password: &str) -> Reply {
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.append_pair("authenticity_token", &session.csrf());
    body.append_pair("user[login]", login).append_pair("user[password]", password);
    t.post(PAGE).session(session).form(&body.finish()).await
}

async fn auth_163_a_wrong_password(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for (login, password) in [("ada", "wrong horse"), ("ada", ""), ("nobody", "correct horse"), ("", "")] {
        let reply = guess(&t, login, password).await;
        assert!(reply.has(200).body.contains(WRONG), "{}", reply.body);
        assert!(!reply.authenticity_token().is_empty());
    }
}

async fn auth_164_the_right_password(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let form = t.get(PAGE).await;
    let before = Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
    assert!(form.has(200).body.contains(r#"name="user[login]""#));
    let reply = fill_in(&t, &before, "ada", "correct horse").await;
    assert_eq!(reply.has(302).header("location"), Some("/"));
    let after = Session { cookie: reply.cookie("_gitlab_session").expect("a cookie") };
    assert_ne!(after.cookie, before.cookie, "a new id");
    assert!(after.cookie.len() == 32 && after.cookie.bytes().all(|b| b.is_ascii_hexdigit()));
    t.get("/api/v4/user").session(&after).await.is_user(&ada);
    t.get("/api/v4/user").session(&before).await.is(401, M401);
    let home = t.get("/").session(&after).await;
    assert!(home.has(200).body.contains("Your projects"));
    assert_eq!(t.get(PAGE).session(&after).await.has(302).header("location"), Some("/"));
}

async fn auth_165_who_was_deactivated_comes_back(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    ada.set_state(SetState::deactivate(ada.id)).await;
    let reply = guess(&t, "ada", "correct horse").await;
    let session = Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") };
    let user = t.get("/api/v4/user").session(&session).await;
    assert_eq!(user.is_user(&ada).json()["state"], "active");
    let notice = reply.cookie("_tollhouse_notice").expect("a notice");
    let cookies = format!("_gitlab_session={}; _tollhouse_notice={notice}", session.cookie);
    let home = t.get("/").with("cookie", &cookies).await;
    assert!(
        home.body.contains("Welcome back! Your account had been deactivated due to inactivity but is now reactivated.")
    );
}

async fn auth_166_who_is_blocked_does_not(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    ada.set_state(SetState::block(ada.id)).await;
    let reply = guess(&t, "ada", "correct horse").await;
    assert!(reply.has(200).body.contains("Your account has been blocked"));
    assert_eq!(reply.cookie("_gitlab_session"), None);
    let wrong = guess(&t, "ada", "wrong horse").await;
    assert!(wrong.body.contains(WRONG) && !wrong.body.contains("blocked"), "told after the right password alone");
}

async fn other_states_are_told_after_the_right_password_alone(t: TestServer) {
    let digest = t.app.hasher.hash(&tollhouse_domain::secret::Plaintext::new("correct horse".into())).await;
    let person = |name: &str| tollhouse::operations::users::CreateUser {
        password_digest: Some(digest.clone()),
        ..tollhouse::operations::users::CreateUser::person(name, name)
    };
    let mut pending = person("pending");
    pending.state = AccountState::BlockedPendingApproval;
    let mut internal = person("internal");
    internal.kind = UserKind::Internal;
    let mut unconfirmed = person("unconfirmed");
    unconfirmed.confirmed = false;
    for (create, text) in [
        (pending, "Your account is pending approval from your GitLab administrator and hence blocked"),
        (internal, "Your account does not have the required permission to login"),
        (unconfirmed, "You have to confirm your account before continuing."),
    ] {
        let person = t.person(create).await;
        let wrong = guess(&t, &person.name, "wrong horse").await;
        assert!(wrong.has(200).body.contains(WRONG) && !wrong.body.contains(text));
        let right = guess(&t, &person.name, "correct horse").await;
        assert!(right.has(200).body.contains(text), "{}", right.body);
        t.does(Confirm { user: person.id, confirmed: true }).await;
    }
    guess(&t, "unconfirmed", "correct horse").await.has(302);
}

async fn an_address_signs_in_too(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    guess(&t, "ADA@example.test", "correct horse").await.has(302);
    guess(&t, " Ada ", "correct horse").await.has(302);
}

async fn signing_out_ends_the_session(t: TestServer) {
    let ada = t.user("ada").await;
    let (session, other) = (ada.session().await, ada.session().await);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    let reply = t.post("/users/sign_out").session(&session).form("").await;
    assert_eq!(reply.has(302).header("location"), Some("/users/sign_in"));
    let cleared = r#""cache", "storage", "executionContexts", "clientHints""#;
    assert_eq!(reply.header("clear-site-data"), Some(cleared));
    assert_eq!(reply.cookie("_gitlab_session").as_deref(), Some(""));
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    t.get("/api/v4/user").session(&other).await.is_user(&ada);
    t.post("/users/sign_out").session(&session).form("").await.has(302);
    t.post("/users/sign_out").form("").await.has(302);
    t.get("/users/sign_out").session(&other).await.has(404);
}

async fn ten_wrong_passwords_lock_for_ten_minutes(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for _ in 0..9 {
        guess(&t, "ada", "wrong horse").await;
    }
    guess(&t, "ada", "correct horse").await.has(302);
    for _ in 0..10 {
        guess(&t, "ada", "wrong horse").await;
    }
    let locked = guess(&t, "ada", "correct horse").await;
    assert!(locked.has(200).body.contains(WRONG), "locked, and not told");
    t.later(599);
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains(WRONG));
    t.later(1);
    guess(&t, "ada", "correct horse").await.has(302);
    let reader = &mut t.app.db.read().await.expect("a reader");
    let ada = tollhouse_store::users::by_login(reader, "ada").await.expect("a look-up").expect("ada").0;
    assert_eq!(ada.locked_until, None);
}

async fn two_hundred_parallel_guesses_get_ten(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let session = Session { cookie: t.get(PAGE).await.cookie("_gitlab_session").expect("a cookie") };
    let mut guesses = Vec::new();
    for i in 0..200_u32 {
        let (t, session) = (t.clone(), session.clone());
        guesses.push(tokio::task::spawn_local(async move {
            let mut body = form_urlencoded::Serializer::new(String::new());
            body.append_pair("authenticity_token", &session.csrf());
            body.append_pair("user[login]", "ada").append_pair("user[password]", &format!("wrong horse {i}"));
            let peer = std::net::IpAddr::from([192, 0, 2, (i % 8) as u8]);
            t.post(PAGE).session(&session).form(&body.finish()).from(peer).await.status.as_u16()
        }));
    }
    let mut statuses = std::collections::BTreeMap::new();
    for guess in guesses {
        *statuses.entry(guess.await.expect("an answer")).or_insert(0) += 1;
    }
    assert_eq!(statuses.get(&200).copied(), Some(200), "{statuses:?}");
    let lines = t.trail(100).await;
    assert_eq!(lines.iter().filter(|line| line.event == "user.password_locked").count(), 1);
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains(WRONG), "locked");
    t.later(599);
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains(WRONG), "for ten minutes");
    t.later(1);
    guess(&t, "ada", "correct horse").await.has(302);
}

async fn a_lock_outlives_a_restart(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for _ in 0..10 {
        guess(&t, "ada", "wrong horse").await;
    }
    t.later(60);
    let again = t.reopened("").await;
    assert!(guess(&again, "ada", "correct horse").await.has(200).body.contains(WRONG));
    again.later(540);
    guess(&again, "ada", "correct horse").await.has(302);
    again.leave().await;
}

async fn a_hundred_sessions_and_no_more(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        let reply = guess(&t, "ada", "correct horse").await;
        sessions.push(Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a cookie") });
        t.later(1);
    }
    for (i, session) in sessions.iter().enumerate() {
        let reply = t.get("/api/v4/user").session(session).await;
        if i < 2 {
            reply.is(401, M401)
        } else {
            reply.is_user(&ada)
        };
    }
}

async fn an_old_password_makes_no_session_after_a_change(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let digest = |password: &str| {
        let password = tollhouse_domain::secret::Plaintext::new(password.to_owned());
        let hasher = t.app.hasher.clone();
        async move { hasher.hash(&password).await }
    };
    let (old, new) = (digest("correct horse").await, digest("battery staple").await);
    let set = |digest: &str| tollhouse::operations::users::SetPassword {
        user: ada.id,
        seen: None,
        digest: digest.to_owned(),
        expires_at: None,
    };
    for millis in [0, 2, 5, 10, 20, 40] {
        t.does(set(&old)).await;
        let attempt = tokio::task::spawn_local({
            let t = t.clone();
            async move { guess(&t, "ada", "correct horse").await }
        });
        tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        t.does(set(&new)).await;
        // Whoever came in before the change is out again; nobody comes in after it.
        let reply = attempt.await.expect("an answer");
        if reply.status.as_u16() == 302 {
            let session = Session { cookie: reply.cookie("_gitlab_session").expect("a cookie") };
            t.get("/api/v4/user").session(&session).await.is(401, M401);
        }
    }
}

async fn a_stranger_who_signs_out_writes_nothing(t: TestServer) {
    let log = async || t.log(0).await.len();
    let before = log().await;
    for i in 0..20 {
        let session = Session { cookie: format!("{i:032x}") };
        t.post("/users/sign_out").session(&session).form("").await.has(302);
    }
    assert_eq!(log().await, before);
}

async fn the_first_page_needs_a_session(t: TestServer) {
    let reply = t.get("/").await;
    assert_eq!(reply.has(302).header("location"), Some("/users/sign_in"));
    let notice = reply.cookie("_tollhouse_notice").expect("a notice");
    let page = t.get(PAGE).with("cookie", &format!("_tollhouse_notice={notice}")).await;
    assert!(page.body.contains("You need to sign in before continuing."));
}

async fn a_page_that_is_not_there(t: TestServer) {
    assert_eq!(t.get("/nowhere").await.has(302).header("location"), Some("/users/sign_in"));
    let session = t.user("ada").await.session().await;
    let reply = t.get("/nowhere").session(&session).await;
    assert!(reply.has(404).body.contains("There is no page at this address."));
    assert!(reply.body.contains(r#"<a href="/">Back to your projects</a>"#));
    assert!(!reply.body.contains("Sign in"), "{}", reply.body);
    t.get("/assets/nowhere").await.has(404);
    t.get("/assets/app.css").await.has(200);
}

async fn pages_speak_of_this_server(t: TestServer) {
    let digest = t.app.hasher.hash(&tollhouse_domain::secret::Plaintext::new("correct horse".into())).await;
    let person = |name: &str| tollhouse::operations::users::CreateUser {
        password_digest: Some(digest.clone()),
        ..tollhouse::operations::users::CreateUser::person(name, name)
    };
    let states = [
        AccountState::Active,
        AccountState::Blocked,
        AccountState::Banned,
        AccountState::LdapBlocked,
        AccountState::Deactivated,
        AccountState::BlockedPendingApproval,
    ];
    let mut texts = Vec::new();
    for (i, state) in states.into_iter().enumerate() {
        for (j, (kind, confirmed)) in
            [(UserKind::Human, true), (UserKind::Human, false), (UserKind::Internal, true), (UserKind::Bot, true)]
                .into_iter()
                .enumerate()
        {
            let create =
                tollhouse::operations::users::CreateUser { state, kind, confirmed, ..person(&format!("p{i}{j}")) };
            let person = t.person(create).await;
            texts.push(guess(&t, &person.name, "correct horse").await.body);
            // Somebody who was signed in before that.
            let session = person.session().await;
            for path in ["/", "/nowhere", "/-/user_settings/password/edit", "/oauth/authorize"] {
                texts.push(t.get(path).session(&session).await.body);
            }
        }
    }
    texts.push(t.get(PAGE).await.body);
    texts.push(t.get("/").host("evil.test").await.body);
    for text in texts {
        // The wire quotes this one (authentication.md 6.5).
        let ours = text.replace("pending approval from your GitLab administrator and hence blocked", "");
        assert!(!ours.contains("GitLab"), "{ours}");
    }
}

async fn t14_what_helps_after_a_wrong_password_tells_nothing(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    t.user("grace").await;
    let barred = t.user_with_password("linus", "correct horse").await;
    barred.set_state(SetState::block(barred.id)).await;
    t.user_with_password("locked", "correct horse").await;
    for _ in 0..10 {
        guess(&t, "locked", "wrong horse").await;
    }
    let mut pages = Vec::new();
    for (login, password) in [
        ("nobody", "wrong horse"),
        ("ada", "wrong horse"),
        ("grace", "wrong horse"),
        ("linus", "wrong horse"),
        ("locked", "correct horse"),
    ] {
        let reply = guess(&t, login, password).await;
        let token = reply.has(200).authenticity_token();
        pages.push(reply.body.replace(&token, "").replace(&format!("value=\"{login}\""), "value"));
    }
    let hint = "Check Caps Lock and the keyboard layout. After 10 wrong passwords in a row, password sign-in is locked \
                for 10 minutes. If you have forgotten your password, ask an administrator of this server to set a new one.";
    assert!(pages[0].contains(hint), "{}", pages[0]);
    for page in &pages {
        assert_eq!(page, &pages[0]);
    }
    assert!(!t.get(PAGE).await.has(200).body.contains("Caps Lock"));
    // So it is wherever a password is asked for.
    let session = t.user_with_password("lin", "correct horse").await.session().await;
    let body = form_urlencoded::Serializer::new(String::new())
        .append_pair("authenticity_token", &session.csrf())
        .append_pair("user[password]", "wrong horse")
        .append_pair("user[new_password]", "battery staple")
        .append_pair("user[password_confirmation]", "battery staple")
        .append_pair("return_to", "/oauth/authorize?client_id=x")
        .finish();
    for path in ["/-/user_settings/password", "/oauth/authorize/reauthenticate"] {
        let page = t.post(path).session(&session).form(&body).await;
        assert!(page.has(200).body.contains(hint), "{path}: {}", page.body);
        let field = r#"<input type="text" value="lin" autocomplete="username" readonly hidden>"#;
        assert!(page.body.contains(field), "{path}: {}", page.body);
    }
}

async fn the_hint_says_when_sign_in_closes(t: TestServer) {
    let page = guess(&t, "nobody", "x").await;
    assert!(page.body.contains("After 3 wrong passwords in a row, password sign-in is locked for 1 hour."));
}

/// Every kind of error page: what it is, the answer, where it leads.
async fn error_pages(t: &TestServer) -> Vec<(&'static str, Reply, &'static str)> {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (session, other) = (ada.session().await, grace.session().await);
    let barred = t.user("linus").await;
    let his = barred.session().await;
    t.does(Confirm { user: barred.id, confirmed: false }).await;
    let both = format!("_gitlab_session={}; _gitlab_session={}", session.cookie, other.cookie);
    let sign_in = |login: &str| format!("authenticity_token=x&user[login]={login}&user[password]=x");
    let projects = "<a href=\"/\">Back to your projects</a>";
    let start = "<a href=\"/\">Start page</a>";
    vec![
        ("no page", t.get("/nowhere").session(&session).await, projects),
        (
            "no such form",
            t.post("/-/user_settings/password")
                .session(&session)
                .form("user[x]=y")
                .with("x-csrf-token", &session.csrf())
                .await,
            projects,
        ),
        ("forged", t.post("/users/sign_in").form("user[login]=ada").await, start),
        ("forged with a session", t.post("/-/user_settings/password").session(&session).form("x=y").await, start),
        ("unreadable", t.post("/users/sign_in").form("x=%ff").await, start),
        ("too large", t.post("/users/sign_in").form(&"x".repeat(2 << 20)).await, start),
        ("wrong host", t.get("/users/sign_in").host("elsewhere.example").await, start),
        ("several sessions", t.get("/").with("cookie", &both).await, "<a href=\"/users/sign_in\">Sign in</a>"),
        ("unconfirmed", t.get("/").session(&his).await, "<a href=\"/users/sign_in\">Sign in with another account</a>"),
        ("an application", t.get("/oauth/authorize?client_id=x&response_type=code").session(&session).await, projects),
        (
            "signed in already",
            t.post("/users/sign_in").session(&session).form(&sign_in("grace")).await,
            "<a href=\"/\">Continue as ada</a>",
        ),
    ]
}

async fn an_error_page_has_the_id_of_its_request(t: TestServer) {
    let mut ids = Vec::new();
    for (what, reply, _) in error_pages(&t).await {
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"), "{what}: {}", reply.body);
        let id = reply.header("x-request-id").expect("an id").to_owned();
        assert!(reply.body.contains(&format!("Request ID: <code>{id}</code>")), "{what}: {}", reply.body);
        ids.push(id);
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 11);
}

async fn an_error_page_leads_on(t: TestServer) {
    for (what, reply, link) in error_pages(&t).await {
        let links: Vec<&str> = reply.body.match_indices("<a ").map(|(at, _)| &reply.body[at..]).collect();
        assert!(links.len() == 1 && links[0].starts_with(link), "{what}: {}", reply.body);
    }
}

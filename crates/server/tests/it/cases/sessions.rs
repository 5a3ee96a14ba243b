//! Session cookies on the API (authentication.md section 6).

use tollhouse_domain::scope::Scope;

use crate::test_server::{M401, Session, TestServer};

cases![
    auth_068_a_session_reads,
    auth_069_a_session_reads_by_head,
    auth_070_a_session_alone_writes_nothing,
    auth_071_a_session_with_its_csrf_token_writes,
    auth_072_the_token_of_a_form_does_not_count,
    auth_073_the_csrf_token_of_another_session,
    auth_077_an_unknown_session_is_nobody,
    auth_078_an_unknown_session_sees_what_is_public,
    auth_079_a_bad_token_beats_a_good_session,
    auth_080_an_empty_token_gives_way_to_the_session,
    rest_015_a_session_on_the_api,
    a_session_slides_and_ends with "sessions.lifetime = '1h'",
    a_session_may_count_from_sign_in with "sessions.lifetime = '1h'\nsessions.from_sign_in = true",
    a_session_used_daily_ends_after_ninety_days,
    a_session_that_was_extended_before_there_was_a_bound_ends_too with "sessions.longest = '0s'",
    a_session_that_is_never_extended_ends_no_later with "sessions.longest = '1h'\nsessions.lifetime = '2h'\nsessions.from_sign_in = true",
    a_session_near_its_end_is_not_the_least_recently_used with "sessions.longest = '8d'\nsessions.per_user = 2",
    blocking_ends_sessions,
];

async fn auth_068_a_session_reads(t: TestServer) {
    let ada = t.user("ada").await;
    t.get("/api/v4/user").session(&ada.session().await).await.is_user(&ada);
}

async fn auth_069_a_session_reads_by_head(t: TestServer) {
    let session = t.user("ada").await.session().await;
    t.ask("HEAD".parse().expect("a method"), "/api/v4/user").session(&session).await.is(200, "");
}

async fn auth_070_a_session_alone_writes_nothing(t: TestServer) {
    let session = t.user("ada").await.session().await;
    t.post("/api/v4/projects").session(&session).json(r#"{"name":"x"}"#).await.is(401, M401);
    t.delete("/api/v4/personal_access_tokens/self").session(&session).await.is(401, M401);
}

async fn auth_071_a_session_with_its_csrf_token_writes(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let ask = t.post("/api/v4/projects").session(&session).with("x-csrf-token", &session.csrf());
    assert_eq!(ask.json(r#"{"name":"x"}"#).await.has(201).json()["creator_id"], ada.id.0);
}

async fn auth_072_the_token_of_a_form_does_not_count(t: TestServer) {
    let session = t.user("ada").await.session().await;
    let token = session.csrf();
    t.post("/api/v4/projects")
        .session(&session)
        .form(&format!("name=x&authenticity_token={token}"))
        .await
        .is(401, M401);
}

async fn auth_073_the_csrf_token_of_another_session(t: TestServer) {
    let (mine, other) = (t.user("ada").await.session().await, t.user("grace").await.session().await);
    let ask = t.post("/api/v4/projects").session(&mine).with("x-csrf-token", &other.csrf());
    ask.json(r#"{"name":"x"}"#).await.is(401, M401);
}

fn nobodys() -> Session {
    Session { cookie: "0123456789abcdef0123456789abcdef".into() }
}

async fn auth_077_an_unknown_session_is_nobody(t: TestServer) {
    t.get("/api/v4/user").session(&nobodys()).await.is(401, M401);
}

async fn auth_078_an_unknown_session_sees_what_is_public(t: TestServer) {
    t.get("/api/v4/groups").session(&nobodys()).await.is(200, "[]");
}

async fn auth_079_a_bad_token_beats_a_good_session(t: TestServer) {
    let session = t.user("ada").await.session().await;
    t.get("/api/v4/user").session(&session).token("unknown").await.is(401, M401);
    t.get("/api/v4/user").session(&session).bearer("unknown").await.is(401, M401);
}

async fn auth_080_an_empty_token_gives_way_to_the_session(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    t.get("/api/v4/user").session(&session).token("").await.is_user(&ada);
    t.get("/api/v4/user").session(&session).token("  ").await.is_user(&ada);
}

async fn rest_015_a_session_on_the_api(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    assert_eq!(t.get("/api/v4/users").session(&session).await.ids(), [ada.id.0]);
}

async fn a_session_slides_and_ends(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for _ in 0..3 {
        t.later(50 * 60);
        t.get("/api/v4/user").session(&session).await.is_user(&ada);
        tollhouse::job::flush(&t.app).await;
    }
    t.later(61 * 60);
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    tollhouse::job::sweep(&t.app).await;
    let mut reader = t.app.db.read().await.expect("a reader");
    let left = tollhouse_store::sessions::count(&mut reader).await.expect("a count");
    assert_eq!(left, 0, "what ended is swept");
}

async fn a_session_may_count_from_sign_in(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for _ in 0..2 {
        t.later(25 * 60);
        t.get("/api/v4/user").session(&session).await.is_user(&ada);
        tollhouse::job::flush(&t.app).await;
    }
    t.later(11 * 60);
    t.get("/api/v4/user").session(&session).await.is(401, M401);
}

const DAY: u64 = 24 * 3600;

/// Asks, and writes down that it was used.
async fn used(t: &TestServer, session: &Session) -> u16 {
    let status = t.get("/api/v4/user").session(session).await.status.as_u16();
    tollhouse::job::flush(&t.app).await;
    status
}

async fn a_session_used_daily_ends_after_ninety_days(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for day in 1..90 {
        t.later(DAY);
        assert_eq!(used(&t, &session).await, 200, "on day {day}");
    }
    t.later(DAY - 1);
    // One remembers it, the other asks the database.
    let other = t.reopened("ledger.entries = 0").await;
    for t in [&t, &other] {
        t.get("/api/v4/user").session(&session).await.is_user(&ada);
        assert!(t.get("/").session(&session).await.has(200).body.contains("Your projects"));
    }
    t.later(1);
    for t in [&t, &other] {
        t.get("/api/v4/user").session(&session).await.is(401, M401);
        assert_eq!(t.get("/").session(&session).await.has(302).header("location"), Some("/users/sign_in"));
    }
    let told = tollhouse::explain::explain(&t.app, t.get("/api/v4/user").session(&session).request()).await;
    let told = told.expect("a database");
    assert!(told.why.contains("sessions.longest") && told.reason == Some("missing"), "{told}");
    assert!(told.credentials[0].outcome.contains("sessions.longest"), "{told}");
    other.leave().await;
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(
        tollhouse_store::sessions::count(&mut t.app.db.read().await.expect("a reader")).await.expect("a count"),
        0
    );
    t.get("/api/v4/user").session(&ada.session().await).await.is_user(&ada);
}

async fn a_session_that_was_extended_before_there_was_a_bound_ends_too(t: TestServer) {
    let ada = t.user("ada").await;
    let (old, new) = (ada.session().await, ada.session().await);
    for _ in 0..95 {
        t.later(DAY);
        assert_eq!(used(&t, &old).await, 200);
    }
    let fresh = ada.session().await;
    let bounded = t.reopened("").await;
    bounded.get("/api/v4/user").session(&old).await.is(401, M401);
    bounded.get("/api/v4/user").session(&new).await.is(401, M401);
    bounded.get("/api/v4/user").session(&fresh).await.is_user(&ada);
    bounded.leave().await;
    t.get("/api/v4/user").session(&old).await.is_user(&ada);
}

async fn a_session_that_is_never_extended_ends_no_later(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let reply = super::sign_in::guess(&t, "ada", "correct horse").await;
    let session = Session { cookie: reply.has(302).cookie("_gitlab_session").expect("a session") };
    t.later(3599);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    t.later(1);
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    tollhouse::job::sweep(&t.app).await;
    let left = tollhouse_store::sessions::count(&mut t.app.db.read().await.expect("a reader")).await;
    assert_eq!(left.expect("a count"), 0, "its row says no later end");
}

async fn a_session_near_its_end_is_not_the_least_recently_used(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let old = ada.session().await;
    t.later(DAY);
    used(&t, &old).await;
    t.later(DAY);
    let other = ada.session().await;
    // It cannot be extended beyond the eighth day, but it is in use.
    t.later(DAY);
    assert_eq!(used(&t, &old).await, 200);
    super::sign_in::guess(&t, "ada", "correct horse").await.has(302);
    t.get("/api/v4/user").session(&old).await.is_user(&ada);
    t.get("/api/v4/user").session(&other).await.is(401, M401);
}

async fn blocking_ends_sessions(t: TestServer) {
    let ada = t.user("ada").await;
    let (session, token) = (ada.session().await, ada.token([Scope::Api]).await);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    ada.set_state(tollhouse::operations::users::SetState::block(ada.id)).await;
    t.get("/api/v4/user").session(&session).await.is(401, M401);
    t.get("/api/v4/user").token(&token).await.has(403);
}

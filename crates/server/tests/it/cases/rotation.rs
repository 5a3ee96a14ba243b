//! Rotation in the default mode (`docs/protocols/rotation.md`): a lost answer locks nobody out, and theft is noticed.
//! The counterparts of AUTH-139 and PAT-048 are here.

use serde_json::json;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;

use crate::test_server::{EXPIRED, M401, REVOKED, TestServer};

cases![
    rotation_rule_2_the_old_one_dies_at_once,
    rotation_rule_3_the_same_successor_again_used_or_not,
    rotation_rule_4_then_wait_and_nothing_dies,
    rotation_rule_5_an_unused_successor_is_replaced,
    rotation_rule_6_reuse_of_an_old_secret_ends_the_family,
    rotation_rule_6_a_replaced_successor_is_theft,
    rotation_rule_6_two_generations_back,
    rotation_rule_7_use_is_what_was_recognised,
    rotation_rule_10_repeats_ask_for_the_same,
    rotation_rule_11_over_midnight,
    rotation_rule_12_revocation_ends_the_family,
    rotation_rule_13_salts_are_erased,
    rotation_rule_13_dead_generations_go_after_thirty_days,
    rotation_a_hundred_at_once_have_one_successor,
    rotation_over_a_restart,
    rotation_a_refused_attempt_changes_nothing,
    rotation_without_a_window with "rotation.window = '0s'",
    rotation_no_secret_and_no_salt_in_the_trail,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";

async fn rotate(t: &TestServer, token: &str) -> (i64, String) {
    let body = t.post(ROTATE).token(token).await.has(200).json();
    (body["id"].as_i64().expect("an id"), body["token"].as_str().expect("a token").to_owned())
}

async fn first(t: &TestServer) -> String {
    t.user("ada").await.token([Scope::Api]).await
}

async fn events(t: &TestServer) -> Vec<String> {
    let lines = t.trail(100).await;
    lines.into_iter().map(|line| line.event).filter(|event| event.starts_with("token.")).collect()
}

async fn rotation_rule_2_the_old_one_dies_at_once(t: TestServer) {
    let old = first(&t).await;
    t.get("/api/v4/user").token(&old).await.has(200);
    let (_, new) = rotate(&t, &old).await;
    t.get("/api/v4/user").token(&old).await.is(401, REVOKED);
    t.get("/api/v4/user").token(&new).await.has(200);
}

async fn rotation_rule_3_the_same_successor_again_used_or_not(t: TestServer) {
    let old = first(&t).await;
    let new = rotate(&t, &old).await;
    t.later(60);
    assert_eq!(rotate(&t, &old).await, new);
    t.get("/api/v4/user").token(&new.1).await.has(200);
    t.later(59);
    assert_eq!(rotate(&t, &old).await, new, "used, and still the same");
    assert_eq!(
        events(&t).await,
        ["token.rotation_repeated", "token.rotation_repeated", "token.rotated", "token.created"]
    );
}

async fn rotation_rule_4_then_wait_and_nothing_dies(t: TestServer) {
    let old = first(&t).await;
    let (_, new) = rotate(&t, &old).await;
    t.get(SELF).token(&new).await.has(200);
    t.later(119);
    rotate(&t, &old).await;
    t.later(2);
    let reply = t.post(ROTATE).token(&old).await;
    assert_eq!(reply.is(503, r#"{"message":"503 Service Unavailable"}"#).header("retry-after"), Some("118"));
    t.get(SELF).token(&new).await.has(200);
    // Who rotated twice in a row asks with the secret before the last: nothing dies within the window either.
    let (_, newer) = rotate(&t, &new).await;
    let reply = t.post(ROTATE).token(&old).await;
    assert_eq!(reply.has(503).header("retry-after"), Some("118"));
    t.get(SELF).token(&newer).await.has(200);
}

async fn rotation_rule_5_an_unused_successor_is_replaced(t: TestServer) {
    let old = first(&t).await;
    let unused = rotate(&t, &old).await;
    t.later(120);
    let fresh = rotate(&t, &old).await;
    assert_ne!(fresh, unused);
    t.get(SELF).token(&unused.1).await.is(401, REVOKED);
    t.get(SELF).token(&fresh.1).await.has(200);
    assert_eq!(events(&t).await[0], "token.successor_replaced");
    // The window starts anew.
    t.later(100);
    assert_eq!(rotate(&t, &old).await, fresh);
}

async fn rotation_rule_6_reuse_of_an_old_secret_ends_the_family(t: TestServer) {
    let old = first(&t).await;
    let (_, new) = rotate(&t, &old).await;
    t.get(SELF).token(&new).await.has(200);
    t.later(120);
    t.post(ROTATE).token(&old).await.is(401, REVOKED);
    t.get(SELF).token(&new).await.is(401, REVOKED);
    t.post(ROTATE).token(&new).await.is(401, REVOKED);
    assert_eq!(events(&t).await[0], "token.reuse_detected");
    let line = t.trail(1).await.remove(0);
    assert_eq!(line.address.as_deref(), Some("127.0.0.1"));
    assert!(line.detail.ends_with("last rotated from 127.0.0.1"), "both addresses: {}", line.detail);
}

async fn rotation_rule_6_a_replaced_successor_is_theft(t: TestServer) {
    let old = first(&t).await;
    let (_, hoarded) = rotate(&t, &old).await;
    t.later(120);
    let (_, fresh) = rotate(&t, &old).await;
    t.post(ROTATE).token(&hoarded).await.is(401, REVOKED);
    t.get(SELF).token(&fresh).await.is(401, REVOKED);
}

async fn rotation_rule_6_two_generations_back(t: TestServer) {
    let one = first(&t).await;
    let (_, two) = rotate(&t, &one).await;
    let (_, three) = rotate(&t, &two).await;
    t.later(121);
    t.post(ROTATE).token(&one).await.is(401, REVOKED);
    t.get(SELF).token(&three).await.is(401, REVOKED);
}

async fn rotation_rule_7_use_is_what_was_recognised(t: TestServer) {
    let ada = t.user("ada").await;
    let old = ada.token([Scope::SelfRotate]).await;
    let (_, new) = rotate(&t, &old).await;
    // Refused for its scope, and used all the same; noted before the answer, so a restart does not lose it.
    t.get("/api/v4/user").token(&new).await.has(403);
    t.later(121);
    let again = t.reopened("").await;
    again.post(ROTATE).token(&old).await.is(401, REVOKED);
    again.get(SELF).token(&new).await.is(401, REVOKED);
    again.leave().await;
}

async fn rotation_rule_10_repeats_ask_for_the_same(t: TestServer) {
    let old = first(&t).await;
    let day = t.now().date().plus_days(30).to_string();
    let ask = |day: Option<&str>| match day {
        Some(day) => t.post(ROTATE).token(&old).json(json!({ "expires_at": day })),
        None => t.post(ROTATE).token(&old),
    };
    let first = ask(Some(&day)).await.has(200).json();
    assert_eq!(ask(Some(&day)).await.has(200).json()["token"], first["token"]);
    assert_eq!(ask(None).await.has(200).json()["token"], first["token"]);
    let other = t.now().date().plus_days(31).to_string();
    ask(Some(&other)).await.is(400, r#"{"message":"400 Bad request - Token already rotated"}"#);
    t.get(SELF).token(first["token"].as_str().expect("a token")).await.has(200);
}

async fn rotation_rule_11_over_midnight(t: TestServer) {
    let ada = t.user("ada").await;
    let old = ada.token_until(t.now().date().plus_days(1)).await;
    t.later(12 * 3600 - 30);
    let new = rotate(&t, &old).await;
    t.later(40);
    assert_eq!(rotate(&t, &old).await, new, "its own end does not count for a repeat");
    t.get(SELF).token(&old).await.is(401, EXPIRED);
    t.later(120);
    t.get(SELF).token(&new.1).await.has(200);
    // New needs it unexpired.
    let late = ada.token_until(t.now().date().plus_days(1)).await;
    t.later(24 * 3600);
    t.post(ROTATE).token(&late).await.is(401, EXPIRED);
}

async fn rotation_rule_12_revocation_ends_the_family(t: TestServer) {
    let old = first(&t).await;
    let (_, new) = rotate(&t, &old).await;
    t.delete(SELF).token(&new).await.has(204);
    t.post(ROTATE).token(&old).await.is(401, REVOKED);
    t.get(SELF).token(&new).await.is(401, REVOKED);
}

async fn rotation_rule_13_salts_are_erased(t: TestServer) {
    let old = first(&t).await;
    rotate(&t, &old).await;
    let salt = async || {
        let digest = tollhouse_domain::secret::Digest::of(old.as_bytes());
        let mut reader = t.app.db.read().await.expect("a reader");
        let found = tollhouse_store::personal_access_tokens::by_digest(&mut reader, digest).await.expect("a look-up");
        found.expect("the row").generation.salt
    };
    assert!(salt().await.is_some());
    t.later(119);
    tollhouse::job::sweep(&t.app).await;
    assert!(salt().await.is_some());
    t.later(1);
    tollhouse::job::sweep(&t.app).await;
    assert!(salt().await.is_none());
}

async fn rotation_rule_13_dead_generations_go_after_thirty_days(t: TestServer) {
    let ada = t.user("ada").await;
    let old = ada.token([Scope::Api]).await;
    let far = t.now().date().plus_days(300).to_string();
    let body = t.post(ROTATE).token(&old).json(json!({ "expires_at": far })).await.has(200).json();
    let new = body["token"].as_str().expect("a token").to_owned();
    let revoked = ada.revoked_token([Scope::Api]).await;
    t.get(SELF).token(&new).await.has(200);
    t.later(30 * 24 * 3600 - 1);
    tollhouse::job::sweep(&t.app).await;
    t.post(ROTATE).token("glpat-nobody").await.is(401, M401);
    t.get(SELF).token(&revoked).await.is(401, REVOKED);
    t.later(1);
    let again = t.swept("").await;
    again.get(SELF).token(&old).await.is(401, M401);
    again.get(SELF).token(&revoked).await.is(401, M401);
    again.get(SELF).token(&new).await.has(200);
    again.leave().await;
}

async fn rotation_a_hundred_at_once_have_one_successor(t: TestServer) {
    let old = first(&t).await;
    let mut attempts = Vec::new();
    for _ in 0..100 {
        let (t, old) = (t.clone(), old.clone());
        attempts.push(tokio::task::spawn_local(async move { t.post(ROTATE).token(&old).await }));
    }
    let mut successors = std::collections::BTreeSet::new();
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        // Who lost every round is told to come back; nobody is told a second token.
        if reply.status.as_u16() != 503 {
            successors.insert(reply.has(200).json()["token"].as_str().expect("a token").to_owned());
        }
    }
    assert_eq!(successors.len(), 1);
    assert_eq!(events(&t).await.iter().filter(|event| *event == "token.rotated").count(), 1);
}

async fn rotation_over_a_restart(t: TestServer) {
    let old = first(&t).await;
    let new = rotate(&t, &old).await;
    let again = t.reopened("").await;
    assert_eq!(rotate(&again, &old).await, new);
    again.leave().await;
}

async fn rotation_a_refused_attempt_changes_nothing(t: TestServer) {
    let ada = t.user("ada").await;
    let old = ada.token([Scope::ReadApi, Scope::SelfRotate]).await;
    let before = events(&t).await;
    t.post(&format!("{ROTATE}?expires_at=x")).token(&old).await.has(400);
    t.post(ROTATE).token("glpat-unknown").await.is(401, M401);
    ada.set_state(tollhouse::operations::users::SetState::block(ada.id)).await;
    t.post(ROTATE).token(&old).await.has(403);
    ada.set_state(tollhouse::operations::users::SetState::unblock(ada.id)).await;
    let (_, new) = rotate(&t, &old).await;
    t.get(SELF).token(&new).await.has(200);
    t.later(121);
    ada.set_state(tollhouse::operations::users::SetState::block(ada.id)).await;
    t.post(ROTATE).token(&old).await.has(403);
    ada.set_state(tollhouse::operations::users::SetState::unblock(ada.id)).await;
    t.get(SELF).token(&new).await.has(200);
    assert_eq!(events(&t).await.len(), before.len() + 1, "one rotation, and nothing else");
}

async fn rotation_without_a_window(t: TestServer) {
    let old = first(&t).await;
    let (_, new) = rotate(&t, &old).await;
    assert_eq!(t.post(ROTATE).token(&old).await.has(503).header("retry-after"), Some("120"));
    t.later(120);
    let (_, fresh) = rotate(&t, &old).await;
    assert_ne!(fresh, new);
}

async fn rotation_no_secret_and_no_salt_in_the_trail(t: TestServer) {
    let old = first(&t).await;
    let (_, new) = rotate(&t, &old).await;
    t.later(60);
    rotate(&t, &old).await;
    t.later(181);
    t.get(SELF).token(&new).await.has(200);
    t.post(ROTATE).token(&old).await.has(401);
    let lines = t.trail(100).await;
    assert!(lines.len() >= 4);
    let text = format!("{lines:?}");
    for secret in [&old, &new] {
        assert!(!text.contains(&secret[6..20]), "{text}");
    }
    assert!(lines.iter().all(|line| line.at >= Timestamp(0).0));
}

//! `/personal_access_tokens/self` and its rotation (rest-api.md 2.4 to 2.7).

use serde_json::json;
use tollhouse_domain::scope::{Holder, Scope};

use crate::test_server::{EXPIRED, M401, REVOKED, TestServer};

cases![
    auth_129_any_scope_shows_itself,
    auth_130_any_scope_revokes_itself,
    auth_132_revoked_already,
    auth_133_unknown_and_expired,
    auth_134_rotation,
    auth_135_rotation_with_another_scope,
    auth_139_a_rotated_token_ends_its_successor with "compat.rotation = 'gitlab'",
    auth_140_a_rotated_token_elsewhere_ends_nothing,
    auth_141_rotation_to_a_date,
    auth_194_the_credential_comes_before_the_parameter,
    pat_038_self_with_any_scope,
    pat_039_self_with_a_bad_token,
    pat_040_delete_with_any_scope,
    pat_042_delete_when_revoked,
    pat_043_rotate,
    pat_044_rotate_with_another_scope,
    pat_045_self_rotate_beside_another_scope,
    pat_047_rotate_with_a_bad_token,
    pat_048_rotate_when_rotated with "compat.rotation = 'gitlab'",
    pat_090_a_session_is_no_token,
    last_use_is_written_in_batches,
    a_date_that_cannot_be,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";

fn holdable() -> impl Iterator<Item = Scope> {
    Scope::ALL.iter().copied().filter(|scope| scope.holder() == Holder::Anyone)
}

async fn auth_129_any_scope_shows_itself(t: TestServer) {
    let ada = t.user("ada").await;
    for scope in holdable() {
        let token = ada.token([scope]).await;
        let body = t.get(SELF).token(&token).await.has(200).json();
        assert_eq!((&body["scopes"], &body["user_id"]), (&json!([scope]), &json!(ada.id)));
    }
    let two = ada.token([Scope::ReadUser, Scope::Api]).await;
    let reply = t.get(SELF).token(&two).await;
    let known = format!(
        r#","name":"test","revoked":false,"created_at":"{}","description":null,"scopes":["read_user","api"],"user_id":{},"last_used_at":null,"active":true,"granular":false,"expires_at":"{}","last_used_ips":["127.0.0.1"]}}"#,
        t.now().iso(),
        ada.id,
        t.now().date().plus_days(365)
    );
    assert!(reply.has(200).body.ends_with(&known), "{} {known}", reply.body);
}

async fn auth_130_any_scope_revokes_itself(t: TestServer) {
    let ada = t.user("ada").await;
    for scope in holdable() {
        let token = ada.token([scope]).await;
        t.delete(SELF).token(&token).await.is(204, "");
        t.get(SELF).token(&token).await.is(401, REVOKED);
    }
}

async fn auth_132_revoked_already(t: TestServer) {
    let token = t.user("ada").await.revoked_token([Scope::Api]).await;
    t.delete(SELF).token(&token).await.is(401, REVOKED);
}

async fn auth_133_unknown_and_expired(t: TestServer) {
    t.get(SELF).token("unknown").await.is(401, M401);
    let token = t.user("ada").await.expired_token([Scope::ReadUser]).await;
    t.get(SELF).token(&token).await.is(401, EXPIRED);
}

async fn auth_134_rotation(t: TestServer) {
    let ada = t.user("ada").await;
    for scope in [Scope::Api, Scope::SelfRotate] {
        let old = ada.token([scope]).await;
        let reply = t.post(ROTATE).token(&old).await;
        let body = reply.has(200).json();
        assert_eq!(body["expires_at"], t.now().date().plus_days(7).to_string());
        assert_eq!(body["scopes"], json!([scope]));
        let new = body["token"].as_str().expect("a token");
        t.get(SELF).token(new).await.has(200);
        t.get(SELF).token(&old).await.is(401, REVOKED);
    }
}

async fn auth_135_rotation_with_another_scope(t: TestServer) {
    let ada = t.user("ada").await;
    for scope in holdable().filter(|scope| ![Scope::Api, Scope::SelfRotate].contains(scope)) {
        let token = ada.token([scope]).await;
        let scopes = t.post(ROTATE).token(&token).await.is_insufficient_scope();
        assert_eq!(scopes, ["api", "self_rotate", "api", "read_api"]);
        t.get(SELF).token(&token).await.has(200);
    }
}

async fn auth_139_a_rotated_token_ends_its_successor(t: TestServer) {
    let old = t.user("ada").await.token([Scope::Api]).await;
    let new = t.post(ROTATE).token(&old).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    t.get(SELF).token(&new).await.has(200);
    t.post(ROTATE).token(&old).await.is(401, REVOKED);
    t.get(SELF).token(&new).await.is(401, REVOKED);
}

async fn auth_140_a_rotated_token_elsewhere_ends_nothing(t: TestServer) {
    let old = t.user("ada").await.token([Scope::Api]).await;
    let new = t.post(ROTATE).token(&old).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    for _ in 0..3 {
        t.get("/api/v4/user").token(&old).await.is(401, REVOKED);
        t.later(200);
    }
    t.get(SELF).token(&new).await.has(200);
}

async fn auth_141_rotation_to_a_date(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let day = t.now().date().plus_days(30).to_string();
    let reply = t.post(ROTATE).token(&token).json(json!({"expires_at": day})).await;
    assert_eq!(reply.has(200).json()["expires_at"], day);
}

async fn auth_194_the_credential_comes_before_the_parameter(t: TestServer) {
    t.post(&format!("{ROTATE}?expires_at=x")).token("unknown").await.is(401, M401);
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.post(&format!("{ROTATE}?expires_at=x")).token(&token).await.is(400, r#"{"error":"expires_at is invalid"}"#);
}

async fn pat_038_self_with_any_scope(t: TestServer) {
    let token = t.user("ada").await.token([Scope::WriteRegistry]).await;
    assert_eq!(t.get(SELF).bearer(&token).await.has(200).json()["scopes"], json!(["write_registry"]));
}

async fn pat_039_self_with_a_bad_token(t: TestServer) {
    t.get(SELF).bearer("unknown").await.has(401);
    let token = t.user("ada").await.expired_token([Scope::Api]).await;
    t.get(SELF).bearer(&token).await.has(401);
}

async fn pat_040_delete_with_any_scope(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadRepository]).await;
    t.delete(SELF).token(&token).body("application/json", "{}").await.is(204, "");
}

async fn pat_042_delete_when_revoked(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.delete(SELF).token(&token).await.is(204, "");
    t.delete(SELF).token(&token).await.has(401);
}

async fn pat_043_rotate(t: TestServer) {
    let old = t.user("ada").await.token([Scope::SelfRotate]).await;
    t.post(ROTATE).token(&old).json("{}").await.has(200);
    t.get(SELF).token(&old).await.is(401, REVOKED);
}

async fn pat_044_rotate_with_another_scope(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadApi]).await;
    t.post(ROTATE).token(&token).await.has(403);
}

async fn pat_045_self_rotate_beside_another_scope(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadUser, Scope::SelfRotate]).await;
    assert_eq!(t.post(ROTATE).token(&token).await.has(200).json()["scopes"], json!(["read_user", "self_rotate"]));
}

async fn pat_047_rotate_with_a_bad_token(t: TestServer) {
    let ada = t.user("ada").await;
    t.post(ROTATE).token("unknown").await.is(401, M401);
    let revoked = ada.token([Scope::Api]).await;
    t.delete(SELF).token(&revoked).await.has(204);
    t.post(ROTATE).token(&revoked).await.is(401, REVOKED);
    let expired = ada.expired_token([Scope::Api]).await;
    t.post(ROTATE).token(&expired).await.is(401, EXPIRED);
}

async fn pat_048_rotate_when_rotated(t: TestServer) {
    let first = t.user("ada").await.token([Scope::Api]).await;
    let second = t.post(ROTATE).token(&first).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    let third = t.post(ROTATE).token(&second).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    t.post(ROTATE).token(&first).await.is(401, REVOKED);
    t.get(SELF).token(&third).await.is(401, REVOKED);
}

async fn pat_090_a_session_is_no_token(t: TestServer) {
    let session = t.user("ada").await.session().await;
    let body = r#"{"message":"400 Bad request - This endpoint requires token type to be a personal access token"}"#;
    t.get(SELF).session(&session).await.is(400, body);
    t.delete(SELF).session(&session).with("x-csrf-token", &session.csrf()).await.is(400, body);
    t.post(ROTATE).session(&session).with("x-csrf-token", &session.csrf()).await.has(405);
}

async fn last_use_is_written_in_batches(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadUser]).await;
    let last_used = async || t.get(SELF).token(&token).await.has(200).json()["last_used_at"].clone();
    assert_eq!(last_used().await, json!(null));
    let first = t.now();
    // What is refused for its scope has been used all the same.
    t.get("/api/v4/projects").token(&token).await.has(403);
    tollhouse::job::flush(&t.app).await;
    assert_eq!(last_used().await, first.iso());
    t.later(599);
    last_used().await;
    tollhouse::job::flush(&t.app).await;
    assert_eq!(last_used().await, first.iso(), "at most every ten minutes");
    t.later(1);
    last_used().await;
    tollhouse::job::flush(&t.app).await;
    assert_eq!(last_used().await, t.now().iso());
}

async fn a_date_that_cannot_be(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = |day: String| t.post(ROTATE).token(&token).json(json!({"expires_at": day}));
    let today = t.now().date();
    let latest = today.plus_days(365);
    let late = format!(r#"{{"message":"400 Bad request - Expires at must be before {latest}"}}"#);
    ask(today.plus_days(366).to_string()).await.is(400, &late);
    ask(today.to_string()).await.is(400, r#"{"message":"400 Bad request - Expires at must be after today"}"#);
    ask("2026-02-30".into()).await.is(400, r#"{"error":"expires_at is invalid"}"#);
    t.get(SELF).token(&token).await.has(200);
    assert_eq!(ask(latest.to_string()).await.has(200).json()["expires_at"], latest.to_string());
}

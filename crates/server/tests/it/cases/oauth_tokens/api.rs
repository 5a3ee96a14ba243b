//! An OAuth token on the API: where it may stand, what it opens, what it is not.

use serde_json::json;
use tollhouse::operations::users::SetState;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::user::AccountState;

use super::{info, revoked};
use crate::oauth::{encoded, is_hex, tokens, user};
use crate::test_server::{EXPIRED, M401, Person, REVOKED, TestServer};

cases![
    t13_sweeping_forgets_each_kind_in_its_own_time with "rotation.memory = '60d'",
    auth_016_as_access_token,
    auth_017_as_bearer,
    auth_018_as_bearer_token,
    auth_019_not_as_private_token,
    auth_034_expired,
    auth_035_revoked,
    auth_053_blocked,
    auth_055_deactivated,
    auth_056_pending_approval,
    auth_081_it_wins_over_an_unknown_private_token,
    auth_089_it_wins_over_a_live_private_token,
    auth_121_an_administrators_sudo,
    auth_136_it_does_not_rotate_itself,
    auth_137_nor_with_another_scope,
    auth_175_the_digest_is_no_token,
    auth_195_a_token_of_nobody,
    auth_205_no_personal_access_token,
    pat_049_rotate_with_an_oauth_token,
    pat_050_rotate_with_another_scope,
    pat_089_self_with_an_oauth_token,
    rest_010_expired,
    in_forms_and_json_too,
    scopes_count_as_for_every_token,
    every_alteration_of_a_live_token_is_unknown,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";
const BLOCKED: &str = "Your account has been blocked.";
const NOT_ALLOWED: &str = r#"{"message":"405 Method Not Allowed"}"#;
const NOT_PERSONAL: &str =
    r#"{"message":"400 Bad request - This endpoint requires token type to be a personal access token"}"#;

/// Ada, and a token for her with these scopes.
async fn scoped(t: &TestServer, scope: &str) -> (Person, String) {
    let (ada, client) = (t.user("ada").await, t.client(scope).await);
    let pair = client.tokens(&ada, scope).await;
    (ada, pair.access)
}

async fn auth_016_as_access_token(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    t.get(&format!("/api/v4/user?access_token={}", pair.access)).await.is_user(&ada);
}

async fn auth_017_as_bearer(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    t.get("/api/v4/user").with("authorization", &format!("bearer {}", pair.access)).await.is_user(&ada);
}

async fn auth_018_as_bearer_token(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    t.get(&format!("/api/v4/user?bearer_token={}", pair.access)).await.is_user(&ada);
}

async fn auth_019_not_as_private_token(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    t.get("/api/v4/user").token(&pair.access).await.is(401, M401);
    t.get(&format!("/api/v4/user?private_token={}", pair.access)).await.is(401, M401);
}

async fn auth_034_expired(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    t.later(7199);
    user(&t, &pair.access).await.is_user(&ada);
    t.later(2);
    user(&t, &pair.access).await.is(401, EXPIRED);
    t.get("/api/v4/groups").bearer(&pair.access).await.is(401, EXPIRED);
}

async fn auth_035_revoked(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    revoked(&t, &client, &pair.access).await;
    user(&t, &pair.access).await.is(401, REVOKED);
    t.get("/api/v4/groups").bearer(&pair.access).await.is(401, REVOKED);
}

async fn auth_053_blocked(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    ada.set_state(SetState::block(ada.id)).await;
    user(&t, &pair.access).await.is_forbidden(BLOCKED);
    ada.set_state(SetState::unblock(ada.id)).await;
    user(&t, &pair.access).await.is_user(&ada);
}

async fn auth_055_deactivated(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    ada.set_state(SetState::deactivate(ada.id)).await;
    user(&t, &pair.access).await.is_forbidden("Your account has been deactivated by your administrator. Please log back in from a web browser to reactivate your account at http://127.0.0.1:8080");
}

async fn auth_056_pending_approval(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    // There is no way back to it, so no operation of that name.
    let (from, to) = (&[AccountState::Active], AccountState::BlockedPendingApproval);
    ada.set_state(SetState { user: ada.id, event: "user.pending", from, to }).await;
    let text = "Your account is pending approval from your administrator and hence blocked.";
    user(&t, &pair.access).await.is_forbidden(text);
}

async fn auth_081_it_wins_over_an_unknown_private_token(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    user(&t, &pair.access).token("unknown").await.is_user(&ada);
}

async fn auth_089_it_wins_over_a_live_private_token(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    let other = t.user("grace").await.token([Scope::Api]).await;
    t.get(&format!("/api/v4/user?private_token={other}")).bearer(&pair.access).await.is_user(&ada);
    user(&t, &pair.access).token(&other).await.is_user(&ada);
}

async fn auth_121_an_administrators_sudo(t: TestServer) {
    let (warden, grace, client) = (t.admin().await, t.user("grace").await, t.client("api sudo").await);
    let pair = client.tokens(&warden, "api sudo").await;
    user(&t, &pair.access).with("sudo", "grace").await.is_user(&grace);
    t.get("/api/v4/user?sudo=grace").bearer(&pair.access).await.is_user(&grace);
    let small = client.tokens(&warden, "api").await;
    assert_eq!(user(&t, &small.access).with("sudo", "grace").await.is_insufficient_scope(), ["sudo"]);
}

async fn auth_136_it_does_not_rotate_itself(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api self_rotate").await);
    for scope in ["api", "self_rotate", "api self_rotate"] {
        let pair = client.tokens(&ada, scope).await;
        t.post(ROTATE).bearer(&pair.access).await.is(405, NOT_ALLOWED);
        info(&t, &pair.access).await.has(200);
    }
}

async fn auth_137_nor_with_another_scope(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("read_api read_user openid").await);
    for scope in ["read_api", "read_user", "openid"] {
        let pair = client.tokens(&ada, scope).await;
        let scopes = t.post(ROTATE).bearer(&pair.access).await.is_insufficient_scope();
        assert_eq!(scopes, ["api", "self_rotate", "api", "read_api"]);
    }
}

async fn auth_175_the_digest_is_no_token(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    for secret in [&pair.access, &pair.refresh] {
        let raw = Digest::of(secret.as_bytes()).0;
        let texts = [
            data_encoding::HEXLOWER.encode(&raw),
            data_encoding::HEXUPPER.encode(&raw),
            data_encoding::BASE64.encode(&raw),
            data_encoding::BASE64URL_NOPAD.encode(&raw),
        ];
        for text in texts {
            user(&t, &text).await.is(401, M401);
            t.get("/api/v4/user").token(&text).await.is(401, M401);
        }
        let bytes: String = raw.iter().map(|byte| format!("%{byte:02x}")).collect();
        let reply = t.get(&format!("/api/v4/user?access_token={bytes}")).await;
        assert!([400, 401].contains(&reply.status.as_u16()), "{}", reply.body);
    }
    user(&t, &pair.access).await.is_user(&ada);
}

async fn auth_195_a_token_of_nobody(t: TestServer) {
    let client = t.client("api").await;
    let pair = tokens(&client.token("client_credentials", &[("scope", "api")]).await);
    assert_eq!(pair.refresh, "");
    user(&t, &pair.access).await.is(401, M401);
    let body = info(&t, &pair.access).await.has(200).json();
    assert_eq!((&body["resource_owner_id"], &body["application"]["uid"]), (&json!(null), &json!(client.uid)));
}

async fn auth_205_no_personal_access_token(t: TestServer) {
    let (_, access) = scoped(&t, "api").await;
    t.get(SELF).bearer(&access).await.is(400, NOT_PERSONAL);
}

async fn pat_049_rotate_with_an_oauth_token(t: TestServer) {
    let (ada, access) = scoped(&t, "api").await;
    t.post(ROTATE).bearer(&access).json("{}").await.is(405, NOT_ALLOWED);
    user(&t, &access).await.is_user(&ada);
}

async fn pat_050_rotate_with_another_scope(t: TestServer) {
    let (_, access) = scoped(&t, "read_api").await;
    t.post(ROTATE).bearer(&access).await.is_insufficient_scope();
}

async fn pat_089_self_with_an_oauth_token(t: TestServer) {
    let (_, access) = scoped(&t, "api").await;
    t.get(&format!("{SELF}?access_token={access}")).await.is(400, NOT_PERSONAL);
    t.delete(SELF).bearer(&access).await.is(400, NOT_PERSONAL);
}

async fn rest_010_expired(t: TestServer) {
    let (_, access) = scoped(&t, "read_api").await;
    t.later(7201);
    let reply = t.get("/api/v4/projects").bearer(&access).await;
    reply.is(401, EXPIRED);
    let challenge = r#"Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="Token is expired. You can either do re-authorization or token refresh.""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
}

async fn in_forms_and_json_too(t: TestServer) {
    let (ada, _, pair) = t.begun("api").await;
    let made = t.post("/api/v4/projects").form(&encoded(&[("name", "a"), ("access_token", &pair.access)])).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
    let made = t.post("/api/v4/projects").json(json!({"name": "b", "access_token": pair.access})).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
    t.post("/api/v4/projects").bearer(&pair.access).json(json!({"name": "c"})).await.has(201);
}

async fn scopes_count_as_for_every_token(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api read_api read_user openid").await);
    let access = async |scope: &str| client.tokens(&ada, scope).await.access;
    let (reads, profile, openid) = (access("read_api").await, access("read_user").await, access("openid").await);
    user(&t, &reads).await.is_user(&ada);
    user(&t, &profile).await.is_user(&ada);
    assert_eq!(user(&t, &openid).await.is_insufficient_scope(), ["read_user", "api", "read_api"]);
    t.get("/api/v4/projects").bearer(&reads).await.is(200, "[]");
    t.get("/api/v4/projects").bearer(&profile).await.is_insufficient_scope();
    t.post("/api/v4/projects").bearer(&reads).json(json!({"name": "x"})).await.is_insufficient_scope();
}

async fn every_alteration_of_a_live_token_is_unknown(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let bytes = pair.access.as_bytes();
    assert!(is_hex(&pair.access), "{}", pair.access);
    for i in 0..bytes.len() {
        let mut altered = bytes.to_vec();
        altered[i] = if altered[i] == b'0' { b'1' } else { b'0' };
        let altered = String::from_utf8(altered).expect("digits");
        user(&t, &altered).await.is(401, M401);
        user(&t, &pair.access[..i.max(1)]).await.is(401, M401);
    }
    let code = client.code(&ada, "api").await;
    for other in [
        format!("{}0", pair.access),
        format!("0{}", pair.access),
        format!("{}{}", pair.access, pair.refresh),
        format!("A{}", &pair.access[1..]),
        pair.refresh.clone(),
        code,
        client.uid.clone(),
        client.secret.clone(),
    ] {
        user(&t, &other).await.is(401, M401);
        t.get(&format!("/api/v4/user?access_token={other}")).await.is(401, M401);
    }
    user(&t, &pair.access).await.is_user(&ada);
}

async fn t13_sweeping_forgets_each_kind_in_its_own_time(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for _ in 0..3 {
        let pair = client.tokens(&ada, "api").await;
        client.revoke(&pair.access).await.is(200, "{}");
    }
    let (dead, live) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
    client.revoke(&dead.access).await.is(200, "{}");
    let personal = ada.revoked_token([Scope::Api]).await;
    t.later(31 * 24 * 3600);
    let again = t.swept("rotation.memory = '60d'").await;
    again.get("/api/v4/user").token(&personal).await.is(401, M401);
    again.get("/api/v4/user").bearer(&dead.access).await.is(401, EXPIRED);
    again.leave().await;
    t.later(30 * 24 * 3600);
    let again = t.swept("rotation.memory = '60d'").await;
    again.get("/api/v4/user").bearer(&dead.access).await.is(401, M401);
    again.get("/api/v4/user").bearer(&live.access).await.is(401, EXPIRED);
    again.leave().await;
    client.refresh(&live.refresh).await.has(200);
}

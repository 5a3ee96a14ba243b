//! What becomes of an OAuth token: shown to the API (authentication.md 1 to 4), revoked, asked about and described
//! (oauth.md section 8).

use serde_json::json;
use tollhouse::operations::users::SetState;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::user::AccountState;
use tollhouse_store::faults::Fault;

use crate::oauth::{CALLBACK, Client, Tokens, basic, encoded, is_error, tokens};
use crate::town::{Ask, EXPIRED, M401, Person, REVOKED, Reply, Town};

cases![
    what_asks_for_no_method_does_nothing,
    a_parameter_stands_in_one_place,
    a_flood_of_guesses_waits_for_its_own_address,
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
    oauth_051_revoked_with_basic,
    oauth_052_nobody_revokes with "oauth.ropc_without_client_credentials = false",
    oauth_053_an_unknown_token,
    oauth_054_another_clients_token,
    oauth_072_info_without_a_token,
    oauth_073_info,
    oauth_074_info_of_a_dead_token,
    oauth_111_introspected_by_its_own_client,
    oauth_112_introspected_by_another_client,
    oauth_113_introspected_by_itself,
    oauth_114_introspected_by_nobody,
    oauth_135_a_personal_access_token_is_not_asked_for,
    oauth_137_a_bearer_asks_for_its_own_application_only,
    oauth_138_an_unknown_bearer_asks,
    pat_049_rotate_with_an_oauth_token,
    pat_050_rotate_with_another_scope,
    pat_089_self_with_an_oauth_token,
    rest_010_expired,
    in_forms_and_json_too,
    scopes_count_as_for_every_token,
    every_alteration_of_a_live_token_is_unknown,
    a_refused_revocation_changes_nothing,
    a_public_client_names_itself_to_revoke,
    either_token_ends_both_with_and_without_a_hint,
    a_wrong_hint_finds_nothing,
    revoked_twice_is_revoked,
    an_old_secret_revokes_what_grew_from_it,
    a_blocked_users_token_can_be_revoked,
    a_revocation_that_the_storage_refuses_is_503,
    a_revocation_whose_reply_was_lost_is_503,
    a_revocation_needs_no_room,
    a_look_up_under_way_while_its_token_is_revoked,
    introspection_row_by_row,
    a_token_without_an_application with "compat.password_grant = 'gitlab'",
    info_looks_in_three_places,
    t19_no_token_in_the_query,
    t19_as_the_original with "compat.query_secrets = 'gitlab'",
    revocation_and_introspection_of_what_no_token_is,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";
const BLOCKED: &str = "Your account has been blocked.";
const NOT_ALLOWED: &str = r#"{"message":"405 Method Not Allowed"}"#;
const NOT_PERSONAL: &str =
    r#"{"message":"400 Bad request - This endpoint requires token type to be a personal access token"}"#;
const NOT_YOURS: &str =
    r#"{"error":"unauthorized_client","error_description":"You are not authorized to revoke this token"}"#;
const UNAUTHORIZED: &str =
    r#"{"error":"invalid_token","error_description":"The access token is invalid","state":"unauthorized"}"#;
const NO_CALLER: &str = r#"{"error":"invalid_request","error_description":"Request need to be authorized. Required parameter for authorizing request is missing or invalid."}"#;
const INACTIVE: &str = r#"{"active":false}"#;

/// Ada, an application, and what it got for her.
async fn begun(t: &Town) -> (Person, Client, Tokens) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    let pair = client.tokens(&ada, "api").await;
    (ada, client, pair)
}

/// Ada, and a token for her with these scopes.
async fn scoped(t: &Town, scope: &str) -> (Person, String) {
    let (ada, client) = (t.user("ada").await, t.client(scope).await);
    let pair = client.tokens(&ada, scope).await;
    (ada, pair.access)
}

fn user(t: &Town, access: &str) -> Ask {
    t.get("/api/v4/user").bearer(access)
}

/// By nobody, unless the pairs say who.
fn revoke(t: &Town, pairs: &[(&str, &str)]) -> Ask {
    t.post("/oauth/revoke").form(&encoded(pairs))
}

fn introspect(t: &Town, token: &str) -> Ask {
    t.post("/oauth/introspect").form(&encoded(&[("token", token)]))
}

fn info(t: &Town, access: &str) -> Ask {
    t.get("/oauth/token/info").bearer(access)
}

fn by(client: &Client, ask: Ask) -> Ask {
    ask.with("authorization", &client.basic())
}

async fn revoked(t: &Town, client: &Client, token: &str) {
    by(client, revoke(t, &[("token", token)])).await.is(200, "{}");
}

#[track_caller]
fn is_unavailable(reply: &Reply) {
    is_error(reply, 503, "temporarily_unavailable");
    assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
}

#[track_caller]
fn is_unauthorized(reply: &Reply) {
    let body = reply.has(401).json();
    assert_eq!((&body["error"], &body["state"]), (&json!("invalid_token"), &json!("unauthorized")), "{}", reply.body);
    assert!(reply.body.ends_with(r#","state":"unauthorized"}"#), "the third key: {}", reply.body);
}

/// Neither opens anything, nor gives anything new.
async fn is_dead(t: &Town, client: &Client, pair: &Tokens) {
    user(t, &pair.access).await.is(401, REVOKED);
    is_error(&client.refresh(&pair.refresh).await, 400, "invalid_grant");
}

async fn auth_016_as_access_token(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    t.get(&format!("/api/v4/user?access_token={}", pair.access)).await.is_user(&ada);
}

async fn auth_017_as_bearer(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    user(&t, &pair.access).await.is_user(&ada);
    t.get("/api/v4/user").with("authorization", &format!("bearer {}", pair.access)).await.is_user(&ada);
}

async fn auth_018_as_bearer_token(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    t.get(&format!("/api/v4/user?bearer_token={}", pair.access)).await.is_user(&ada);
}

async fn auth_019_not_as_private_token(t: Town) {
    let (_, _, pair) = begun(&t).await;
    t.get("/api/v4/user").token(&pair.access).await.is(401, M401);
    t.get(&format!("/api/v4/user?private_token={}", pair.access)).await.is(401, M401);
}

async fn auth_034_expired(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    t.later(7199);
    user(&t, &pair.access).await.is_user(&ada);
    t.later(2);
    user(&t, &pair.access).await.is(401, EXPIRED);
    t.get("/api/v4/groups").bearer(&pair.access).await.is(401, EXPIRED);
}

async fn auth_035_revoked(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    user(&t, &pair.access).await.is_user(&ada);
    revoked(&t, &client, &pair.access).await;
    user(&t, &pair.access).await.is(401, REVOKED);
    t.get("/api/v4/groups").bearer(&pair.access).await.is(401, REVOKED);
}

async fn auth_053_blocked(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    user(&t, &pair.access).await.is_user(&ada);
    ada.set_state(SetState::block(ada.id)).await;
    user(&t, &pair.access).await.is_forbidden(BLOCKED);
    ada.set_state(SetState::unblock(ada.id)).await;
    user(&t, &pair.access).await.is_user(&ada);
}

async fn auth_055_deactivated(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    ada.set_state(SetState::deactivate(ada.id)).await;
    user(&t, &pair.access).await.is_forbidden("Your account has been deactivated by your administrator. Please log back in from a web browser to reactivate your account at http://127.0.0.1:8080");
}

async fn auth_056_pending_approval(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    // There is no way back to it, so no operation of that name.
    let (from, to) = (&[AccountState::Active], AccountState::BlockedPendingApproval);
    ada.set_state(SetState { user: ada.id, event: "user.pending", from, to }).await;
    let text = "Your account is pending approval from your administrator and hence blocked.";
    user(&t, &pair.access).await.is_forbidden(text);
}

async fn auth_081_it_wins_over_an_unknown_private_token(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    user(&t, &pair.access).token("unknown").await.is_user(&ada);
}

async fn auth_089_it_wins_over_a_live_private_token(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    let other = t.user("grace").await.token([Scope::Api]).await;
    t.get(&format!("/api/v4/user?private_token={other}")).bearer(&pair.access).await.is_user(&ada);
    user(&t, &pair.access).token(&other).await.is_user(&ada);
}

async fn auth_121_an_administrators_sudo(t: Town) {
    let (warden, grace, client) = (t.admin().await, t.user("grace").await, t.client("api sudo").await);
    let pair = client.tokens(&warden, "api sudo").await;
    user(&t, &pair.access).with("sudo", "grace").await.is_user(&grace);
    t.get("/api/v4/user?sudo=grace").bearer(&pair.access).await.is_user(&grace);
    let small = client.tokens(&warden, "api").await;
    assert_eq!(user(&t, &small.access).with("sudo", "grace").await.is_insufficient_scope(), ["sudo"]);
}

async fn auth_136_it_does_not_rotate_itself(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api self_rotate").await);
    for scope in ["api", "self_rotate", "api self_rotate"] {
        let pair = client.tokens(&ada, scope).await;
        t.post(ROTATE).bearer(&pair.access).await.is(405, NOT_ALLOWED);
        info(&t, &pair.access).await.has(200);
    }
}

async fn auth_137_nor_with_another_scope(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("read_api read_user openid").await);
    for scope in ["read_api", "read_user", "openid"] {
        let pair = client.tokens(&ada, scope).await;
        let scopes = t.post(ROTATE).bearer(&pair.access).await.is_insufficient_scope();
        assert_eq!(scopes, ["api", "self_rotate", "api", "read_api"]);
    }
}

async fn auth_175_the_digest_is_no_token(t: Town) {
    let (ada, _, pair) = begun(&t).await;
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

async fn auth_195_a_token_of_nobody(t: Town) {
    let client = t.client("api").await;
    let pair = tokens(&client.token("client_credentials", &[("scope", "api")]).await);
    assert_eq!(pair.refresh, "");
    user(&t, &pair.access).await.is(401, M401);
    let body = info(&t, &pair.access).await.has(200).json();
    assert_eq!((&body["resource_owner_id"], &body["application"]["uid"]), (&json!(null), &json!(client.uid)));
}

async fn auth_205_no_personal_access_token(t: Town) {
    let (_, access) = scoped(&t, "api").await;
    t.get(SELF).bearer(&access).await.is(400, NOT_PERSONAL);
}

async fn oauth_051_revoked_with_basic(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    user(&t, &pair.access).await.is_user(&ada);
    let reply = by(&client, revoke(&t, &[("token", &pair.access)])).await;
    reply.is(200, "{}");
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("application/json")));
    user(&t, &pair.access).await.is(401, REVOKED);
}

async fn oauth_052_nobody_revokes(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    for token in [pair.access.as_str(), &pair.refresh, "unknown", ""] {
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
    }
    revoke(&t, &[]).await.is(403, NOT_YOURS);
    user(&t, &pair.access).await.is_user(&ada);
    revoked(&t, &client, "unknown").await;
    revoked(&t, &client, &pair.access).await;
    is_dead(&t, &client, &pair).await;
}

async fn oauth_053_an_unknown_token(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    revoke(&t, &[("token", "unknown")]).await.is(200, "{}");
    revoke(&t, &[("token", "")]).await.is(200, "{}");
    revoke(&t, &[]).await.is(200, "{}");
    revoked(&t, &client, "unknown").await;
    user(&t, &pair.access).await.is_user(&ada);
}

async fn oauth_054_another_clients_token(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let other = t.client("api").await;
    for token in [&pair.access, &pair.refresh] {
        by(&other, revoke(&t, &[("token", token)])).await.is(403, NOT_YOURS);
    }
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn oauth_072_info_without_a_token(t: Town) {
    let reply = t.get("/oauth/token/info").await;
    reply.is(401, UNAUTHORIZED);
    let challenge =
        r#"Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token is invalid""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
    assert!(reply.header("cache-control").is_some_and(|value| value.contains("no-store")));
}

async fn oauth_073_info(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let known = |left: i64| {
        format!(
            r#"{{"resource_owner_id":{},"scope":["api"],"expires_in":{left},"application":{{"uid":"{}"}},"created_at":{},"scopes":["api"],"expires_in_seconds":{left}}}"#,
            ada.id,
            client.uid,
            crate::town::START.seconds()
        )
    };
    info(&t, &pair.access).await.is(200, &known(7200));
    t.later(659);
    info(&t, &pair.access).await.is(200, &known(6541));
}

async fn oauth_074_info_of_a_dead_token(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let other = client.tokens(&ada, "api").await;
    info(&t, "unknown").await.is(401, UNAUTHORIZED);
    revoked(&t, &client, &other.access).await;
    info(&t, &other.access).await.is(401, UNAUTHORIZED);
    info(&t, &pair.refresh).await.is(401, UNAUTHORIZED);
    info(&t, &pair.access).await.has(200);
    t.later(7201);
    info(&t, &pair.access).await.is(401, UNAUTHORIZED);
}

fn active(t: &Town, client: &str) -> String {
    let iat = t.now().seconds();
    let exp = iat + 7200;
    format!(r#"{{"active":true,"scope":"api","client_id":{client},"token_type":"Bearer","exp":{exp},"iat":{iat}}}"#)
}

async fn oauth_111_introspected_by_its_own_client(t: Town) {
    let (_, client, pair) = begun(&t).await;
    let known = active(&t, &format!(r#""{}""#, client.uid));
    by(&client, introspect(&t, &pair.access)).await.is(200, &known);
    let (uid, secret) = (client.uid.as_str(), client.secret.as_str());
    let all = encoded(&[("token", &pair.access), ("client_id", uid), ("client_secret", secret)]);
    t.post("/oauth/introspect").form(&all).await.is(200, &known);
    t.later(60);
    by(&client, introspect(&t, &pair.access)).await.is(200, &known);
}

async fn oauth_112_introspected_by_another_client(t: Town) {
    let (_, _, pair) = begun(&t).await;
    let other = t.client("api").await;
    by(&other, introspect(&t, &pair.access)).await.is(200, INACTIVE);
}

async fn oauth_113_introspected_by_itself(t: Town) {
    let (_, _, pair) = begun(&t).await;
    introspect(&t, &pair.access).bearer(&pair.access).await.is(401, UNAUTHORIZED);
}

async fn oauth_114_introspected_by_nobody(t: Town) {
    let (_, _, pair) = begun(&t).await;
    let reply = introspect(&t, &pair.access).await;
    reply.is(400, NO_CALLER);
    assert!(reply.header("cache-control").is_some_and(|value| value.contains("no-store")));
}

async fn oauth_135_a_personal_access_token_is_not_asked_for(t: Town) {
    let token = t.user("ada").await.token_with_any([Scope::Api, Scope::Openid]).await;
    for path in ["/oauth/userinfo", "/oauth/token/info"] {
        for ask in [
            t.get(path).bearer(&token),
            t.get(path).token(&token),
            t.get(&format!("{path}?access_token={token}")),
            t.get(&format!("{path}?bearer_token={token}")),
            t.get(&format!("{path}?private_token={token}")),
        ] {
            ask.await.has(401);
        }
    }
}

async fn oauth_137_a_bearer_asks_for_its_own_application_only(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let foreign = t.client("api").await.tokens(&ada, "api").await;
    let asking = client.tokens(&ada, "api").await;
    introspect(&t, "unknown").bearer(&asking.access).await.is(401, UNAUTHORIZED);
    introspect(&t, &foreign.access).bearer(&asking.access).await.is(401, UNAUTHORIZED);
    let known = active(&t, &format!(r#""{}""#, client.uid));
    introspect(&t, &pair.access).bearer(&asking.access).await.is(200, &known);
}

async fn oauth_138_an_unknown_bearer_asks(t: Town) {
    let (_, _, pair) = begun(&t).await;
    introspect(&t, &pair.access).bearer("unknown").await.is(400, NO_CALLER);
}

async fn pat_049_rotate_with_an_oauth_token(t: Town) {
    let (ada, access) = scoped(&t, "api").await;
    t.post(ROTATE).bearer(&access).json("{}").await.is(405, NOT_ALLOWED);
    user(&t, &access).await.is_user(&ada);
}

async fn pat_050_rotate_with_another_scope(t: Town) {
    let (_, access) = scoped(&t, "read_api").await;
    t.post(ROTATE).bearer(&access).await.is_insufficient_scope();
}

async fn pat_089_self_with_an_oauth_token(t: Town) {
    let (_, access) = scoped(&t, "api").await;
    t.get(&format!("{SELF}?access_token={access}")).await.is(400, NOT_PERSONAL);
    t.delete(SELF).bearer(&access).await.is(400, NOT_PERSONAL);
}

async fn rest_010_expired(t: Town) {
    let (_, access) = scoped(&t, "read_api").await;
    t.later(7201);
    let reply = t.get("/api/v4/projects").bearer(&access).await;
    reply.is(401, EXPIRED);
    let challenge = r#"Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="Token is expired. You can either do re-authorization or token refresh.""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
}

async fn in_forms_and_json_too(t: Town) {
    let (ada, _, pair) = begun(&t).await;
    let made = t.post("/api/v4/projects").form(&encoded(&[("name", "a"), ("access_token", &pair.access)])).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
    let made = t.post("/api/v4/projects").json(json!({"name": "b", "access_token": pair.access})).await;
    assert_eq!(made.has(201).json()["creator_id"], ada.id.0);
    t.post("/api/v4/projects").bearer(&pair.access).json(json!({"name": "c"})).await.has(201);
}

async fn scopes_count_as_for_every_token(t: Town) {
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

async fn every_alteration_of_a_live_token_is_unknown(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let bytes = pair.access.as_bytes();
    assert!(bytes.len() == 64 && bytes.iter().all(|b| b"0123456789abcdef".contains(b)), "{}", pair.access);
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

async fn a_refused_revocation_changes_nothing(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let (other, public) = (t.client("api").await, t.public_client("api").await);
    for token in [pair.access.as_str(), &pair.refresh] {
        for authorization in [
            other.basic(),
            basic(&client.uid, &other.secret),
            basic(&client.uid, ""),
            basic(&other.uid, &client.secret),
            basic("unknown", &client.secret),
        ] {
            let reply = revoke(&t, &[("token", token)]).with("authorization", &authorization).await;
            reply.is(403, NOT_YOURS);
        }
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token)]).bearer(&pair.access).await.is(403, NOT_YOURS);
        for uid in [&client.uid, &public.uid] {
            revoke(&t, &[("token", token), ("client_id", uid)]).await.is(403, NOT_YOURS);
        }
    }
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn a_public_client_names_itself_to_revoke(t: Town) {
    let (ada, client) = (t.user("ada").await, t.public_client("api").await);
    let (other, confidential) = (t.public_client("api").await, t.client("api").await);
    let pair = client.tokens(&ada, "api").await;
    for token in [pair.access.as_str(), &pair.refresh] {
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token), ("client_id", &other.uid)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token), ("client_id", &client.uid), ("client_secret", "x")]).await.is(403, NOT_YOURS);
        by(&confidential, revoke(&t, &[("token", token)])).await.is(403, NOT_YOURS);
    }
    user(&t, &pair.access).await.is_user(&ada);
    revoke(&t, &[("token", &pair.refresh), ("client_id", &client.uid)]).await.is(200, "{}");
    is_dead(&t, &client, &pair).await;
    let pair = client.tokens(&ada, "api").await;
    revoke(&t, &[("token", &pair.access)]).with("authorization", &basic(&client.uid, "")).await.is(200, "{}");
    is_dead(&t, &client, &pair).await;
}

async fn either_token_ends_both_with_and_without_a_hint(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for (by_refresh, hint) in [
        (false, None),
        (false, Some("access_token")),
        (false, Some("nonsense")),
        (true, None),
        (true, Some("refresh_token")),
        (true, Some("access_token")),
        (true, Some("nonsense")),
    ] {
        let (pair, kept) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
        let token = if by_refresh { pair.refresh.as_str() } else { pair.access.as_str() };
        let mut pairs = vec![("token", token)];
        pairs.extend(hint.map(|hint| ("token_type_hint", hint)));
        by(&client, revoke(&t, &pairs)).await.is(200, "{}");
        is_dead(&t, &client, &pair).await;
        user(&t, &kept.access).await.is_user(&ada);
    }
}

async fn a_wrong_hint_finds_nothing(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let pairs = [("token", pair.access.as_str()), ("token_type_hint", "refresh_token")];
    by(&client, revoke(&t, &pairs)).await.is(200, "{}");
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn revoked_twice_is_revoked(t: Town) {
    let (_, client, pair) = begun(&t).await;
    for token in [&pair.access, &pair.access, &pair.refresh, &pair.refresh] {
        revoked(&t, &client, token).await;
    }
    is_dead(&t, &client, &pair).await;
    let mut reader = t.app.db.read().await.expect("a reader");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
    assert_eq!(lines.iter().filter(|line| line.event == "token.revoked").count(), 1);
    let text = format!("{lines:?}");
    assert!(!text.contains(&pair.access[..16]) && !text.contains(&pair.refresh[..16]), "{text}");
}

async fn an_old_secret_revokes_what_grew_from_it(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for by_refresh in [false, true] {
        let old = client.tokens(&ada, "api").await;
        let new = tokens(&client.refresh(&old.refresh).await);
        user(&t, &new.access).await.is_user(&ada);
        revoked(&t, &client, if by_refresh { &old.refresh } else { &old.access }).await;
        is_dead(&t, &client, &new).await;
        is_dead(&t, &client, &old).await;
    }
}

async fn a_blocked_users_token_can_be_revoked(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let kept = client.tokens(&ada, "api").await;
    ada.set_state(SetState::block(ada.id)).await;
    revoked(&t, &client, &pair.refresh).await;
    ada.set_state(SetState::unblock(ada.id)).await;
    is_dead(&t, &client, &pair).await;
    user(&t, &kept.access).await.is_user(&ada);
}

async fn a_revocation_that_the_storage_refuses_is_503(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    for fault in [Fault::Writes, Fault::Everything] {
        t.app.db.faults.set(fault);
        for token in [&pair.access, &pair.refresh] {
            is_unavailable(&by(&client, revoke(&t, &[("token", token)])).await);
        }
        t.app.db.faults.set(Fault::None);
        user(&t, &pair.access).await.is_user(&ada);
    }
    revoked(&t, &client, &pair.access).await;
    is_dead(&t, &client, &pair).await;
}

async fn a_revocation_whose_reply_was_lost_is_503(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    user(&t, &pair.access).await.is_user(&ada);
    t.app.db.faults.set(Fault::CommitReply);
    is_unavailable(&by(&client, revoke(&t, &[("token", &pair.access)])).await);
    t.app.db.faults.set(Fault::None);
    // It did happen; what was remembered does not stand in the way of knowing.
    is_dead(&t, &client, &pair).await;
    revoked(&t, &client, &pair.access).await;
}

async fn a_revocation_needs_no_room(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let full = t.reopened("storage.reserve = '1000000GiB'").await;
    user(&full, &pair.access).await.is_user(&ada);
    by(&client, revoke(&full, &[("token", &pair.access)])).await.is(200, "{}");
    user(&full, &pair.access).await.is(401, REVOKED);
    full.app.db.close().await;
}

async fn a_look_up_under_way_while_its_token_is_revoked(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for _ in 0..20 {
        let pair = client.tokens(&ada, "api").await;
        let mut checks = Vec::new();
        for _ in 0..4 {
            let (t, access) = (t.clone(), pair.access.clone());
            checks.push(tokio::task::spawn_local(async move { user(&t, &access).await.status.as_u16() }));
        }
        tokio::task::yield_now().await;
        revoked(&t, &client, &pair.access).await;
        user(&t, &pair.access).await.is(401, REVOKED);
        for check in checks {
            assert!([200, 401].contains(&check.await.expect("an answer")));
        }
        user(&t, &pair.access).await.is(401, REVOKED);
    }
}

async fn introspection_row_by_row(t: Town) {
    let (ada, client, dead) = begun(&t).await;
    let late = client.tokens(&ada, "api").await;
    revoked(&t, &client, &dead.access).await;
    t.later(7201);
    let (live, asking) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
    let known = active(&t, &format!(r#""{}""#, client.uid));
    for token in [dead.access.as_str(), late.access.as_str(), "unknown"] {
        by(&client, introspect(&t, token)).await.is(200, INACTIVE);
    }
    for token in [&dead.access, &late.access] {
        introspect(&t, token).bearer(&asking.access).await.is(200, INACTIVE);
    }
    introspect(&t, &live.access).bearer(&asking.access).await.is(200, &known);
    for bearer in [&dead.access, &late.access] {
        is_unauthorized(&introspect(&t, &live.access).bearer(bearer).await);
        is_unauthorized(&introspect(&t, "unknown").bearer(bearer).await);
    }
    let (uid, secret) = (client.uid.as_str(), client.secret.as_str());
    for (id, secret) in [("unknown", secret), (uid, "gloas-wrong"), (uid, "")] {
        let reply = introspect(&t, &live.access).with("authorization", &basic(id, secret)).await;
        is_error(&reply, 401, "invalid_client");
    }
    // Whom nobody knows is not told apart by what he asks about.
    let (one, two) = (introspect(&t, &live.access).await, introspect(&t, "unknown").await);
    assert_eq!((one.is(400, NO_CALLER).status, &one.body), (two.status, &two.body));
    by(&client, introspect(&t, &live.access)).await.is(200, &known);
}

async fn a_token_without_an_application(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let grant = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse"), ("scope", "api")];
    let pair = tokens(&t.post("/oauth/token").form(&encoded(&grant)).await);
    let client = t.client("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    by(&client, introspect(&t, &pair.access)).await.is(200, &active(&t, "null"));
    let asking = client.tokens(&ada, "api").await;
    introspect(&t, &pair.access).bearer(&asking.access).await.is(401, UNAUTHORIZED);
    let body = info(&t, &pair.access).await.has(200).json();
    assert_eq!(body["application"], json!({"uid": null}));
    revoke(&t, &[("token", &pair.access)]).await.is(200, "{}");
    user(&t, &pair.access).await.is(401, REVOKED);
}

async fn info_looks_in_three_places(t: Town) {
    let (_, _, pair) = begun(&t).await;
    let ask = |query: &str| t.get(&format!("/oauth/token/info?{query}"));
    let known = info(&t, &pair.access).await.has(200).body.clone();
    ask(&format!("access_token={}", pair.access)).await.is(200, &known);
    ask(&format!("bearer_token={}", pair.access)).await.is(200, &known);
    ask(&format!("access_token=&bearer_token={}", pair.access)).await.is(200, &known);
    ask("bearer_token=unknown").bearer(&pair.access).await.is(200, &known);
    let first = ask("access_token=unknown").bearer(&pair.access).await;
    assert!([400, 401].contains(&first.status.as_u16()), "the first that says something counts: {}", first.body);
    for query in ["private_token", "token"] {
        ask(&format!("{query}={}", pair.access)).await.is(401, UNAUTHORIZED);
    }
    t.get("/oauth/token/info").token(&pair.access).await.is(401, UNAUTHORIZED);
    ask("access_token=%00").await.has(400);
    ask("access_token=%ff").await.has(400);
    ask(&format!("access_token={}", "x".repeat(30_000))).await.is(401, UNAUTHORIZED);
}

async fn t19_no_token_in_the_query(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let secret = format!("client_id={}&client_secret={}", client.uid, client.secret);
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let ask = by(&client, t.post(&format!("{path}?token={}", pair.access)));
        is_error(&ask.await, 400, "invalid_request");
        let ask = t.post(&format!("{path}?{secret}")).form(&encoded(&[("token", &pair.access)]));
        is_error(&ask.await, 400, "invalid_request");
    }
    user(&t, &pair.access).await.is_user(&ada);
}

async fn t19_as_the_original(t: Town) {
    let (_, client, pair) = begun(&t).await;
    let query = encoded(&[("token", &pair.access), ("client_id", &client.uid), ("client_secret", &client.secret)]);
    t.post(&format!("/oauth/revoke?{query}")).await.is(200, "{}");
    user(&t, &pair.access).await.is(401, REVOKED);
}

async fn revocation_and_introspection_of_what_no_token_is(t: Town) {
    let (ada, client, pair) = begun(&t).await;
    let access = &pair.access;
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let ask = |body: &str| by(&client, t.post(path).form(body));
        for body in [
            format!("token={access}&token={access}"),
            format!("token={access}&token=x"),
            format!("token[]={access}"),
            format!("token[a]={access}"),
            format!("token={access}&client_id={0}&client_id={0}", client.uid),
        ] {
            is_error(&ask(&body).await, 400, "invalid_request");
        }
        is_error(&by(&client, t.post(path).json(json!({"token": [access]}))).await, 400, "invalid_request");
        for body in ["token=%00", "token=a%00b", "token=%ff", "token=%c3%28", "%00=1"] {
            ask(body).await.has(400);
        }
        let nothing = if path == "/oauth/revoke" { "{}" } else { INACTIVE };
        ask(&format!("token={}", "x".repeat(900_000))).await.is(200, nothing);
        ask(&format!("token={}", access.to_uppercase())).await.is(200, nothing);
        ask(&format!("token={access}%20")).await.is(200, nothing);
        ask(&format!("token={}", "x".repeat(1 << 20))).await.has(413);
        for authorization in ["Basic", "Basic !", "Basic Og==", "Bearer", "Digest x"] {
            let reply = t.post(path).form(&format!("token={access}")).with("authorization", authorization).await;
            assert!((400..404).contains(&reply.status.as_u16()), "{authorization}: {}", reply.body);
        }
    }
    user(&t, access).await.is_user(&ada);
}

async fn what_asks_for_no_method_does_nothing(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    let pair = client.tokens(&ada, "api").await;
    let code = client.code(&ada, "api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let options = |path: &str, pairs: &[(&str, &str)], in_query: bool| {
        let form = encoded(&[&own[..], pairs].concat());
        match in_query {
            true => t.ask(axum::http::Method::OPTIONS, &format!("{path}?{form}")),
            false => t.ask(axum::http::Method::OPTIONS, path).form(&form),
        }
    };
    for in_query in [true, false] {
        for pairs in [
            &[("grant_type", "client_credentials")][..],
            &[("grant_type", "refresh_token"), ("refresh_token", &pair.refresh)],
            &[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)],
        ] {
            let reply = options("/oauth/token", pairs, in_query).await;
            assert_eq!(is_error(&reply, 400, "invalid_request"), "Missing required parameter: grant_type.");
        }
        options("/oauth/revoke", &[("token", &pair.access)], in_query).await.is(200, "{}");
    }
    t.get("/api/v4/user").bearer(&pair.access).await.is_user(&ada);
    client.redeem(&code).await.has(200);
    client.refresh(&pair.refresh).await.has(200);
}

async fn a_parameter_stands_in_one_place(t: Town) {
    let client = t.client("api").await;
    let form =
        encoded(&[("grant_type", "client_credentials"), ("client_id", &client.uid), ("client_secret", &client.secret)]);
    let ask = |query: &str| t.post(&format!("/oauth/token{query}")).form(&form);
    ask("").await.has(200);
    ask("?something=else&something=twice").await.has(200);
    for query in ["?grant_type=client_credentials", "?scope=api&scope=api", &format!("?client_id={}", client.uid)] {
        is_error(&ask(query).await, 400, "invalid_request");
    }
}

/// As many look-ups of one address at once as anywhere (T14).
async fn a_flood_of_guesses_waits_for_its_own_address(t: Town) {
    let flooder = std::net::IpAddr::from([192, 0, 2, 1]);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(t.app.auth.pass(Some(flooder)).await);
    }
    for (path, form) in [
        ("/oauth/token", "grant_type=authorization_code&code=x&redirect_uri=x&client_id=x"),
        ("/oauth/token", "grant_type=refresh_token&refresh_token=x"),
        ("/oauth/token", "grant_type=client_credentials&client_id=x"),
        ("/oauth/revoke", "token=x"),
        ("/oauth/introspect", "token=x&client_id=x"),
        ("/oauth/userinfo", "access_token=x"),
    ] {
        let waits = t.post(path).form(form).from(flooder).send();
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), waits).await;
        assert!(waited.is_err(), "{path} {form} waits for none");
        let reply = t.post(path).form(form).from(std::net::IpAddr::from([192, 0, 2, 2])).await;
        assert!(reply.status.as_u16() < 500, "somebody else does not wait");
    }
    held.clear();
    t.post("/oauth/revoke").form("token=x").from(flooder).await.is(200, "{}");
}

async fn t13_sweeping_forgets_each_kind_in_its_own_time(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for _ in 0..3 {
        let pair = client.tokens(&ada, "api").await;
        client.token_for_revocation(&pair.access).await.is(200, "{}");
    }
    let (dead, live) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
    client.token_for_revocation(&dead.access).await.is(200, "{}");
    let personal = ada.revoked_token([Scope::Api]).await;
    t.later(31 * 24 * 3600);
    tollhouse::job::sweep(&t.app).await;
    let again = t.reopened("rotation.memory = '60d'").await;
    again.get("/api/v4/user").token(&personal).await.is(401, M401);
    again.get("/api/v4/user").bearer(&dead.access).await.is(401, EXPIRED);
    again.app.db.close().await;
    t.later(30 * 24 * 3600);
    tollhouse::job::sweep(&t.app).await;
    let again = t.reopened("rotation.memory = '60d'").await;
    again.get("/api/v4/user").bearer(&dead.access).await.is(401, M401);
    again.get("/api/v4/user").bearer(&live.access).await.is(401, EXPIRED);
    again.app.db.close().await;
    client.refresh(&live.refresh).await.has(200);
}

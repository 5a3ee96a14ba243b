//! Asked about and described: who may know what of a token.

use serde_json::json;
use tollhouse_domain::scope::Scope;

use super::{INACTIVE, by, info, revoke, revoked};
use crate::oauth::{basic, encoded, is_error, tokens, user};
use crate::test_server::{Ask, REVOKED, Reply, TestServer};

cases![
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
    introspection_row_by_row,
    a_token_without_an_application with "compat.password_grant = 'gitlab'",
    info_looks_in_three_places,
];

const UNAUTHORIZED: &str =
    r#"{"error":"invalid_token","error_description":"The access token is invalid","state":"unauthorized"}"#;
const NO_CALLER: &str = r#"{"error":"invalid_request","error_description":"Request need to be authorized. Required parameter for authorizing request is missing or invalid."}"#;

fn introspect(t: &TestServer, token: &str) -> Ask {
    t.post("/oauth/introspect").form(&encoded(&[("token", token)]))
}

#[track_caller]
fn is_unauthorized(reply: &Reply) {
    let body = reply.has(401).json();
    assert_eq!((&body["error"], &body["state"]), (&json!("invalid_token"), &json!("unauthorized")), "{}", reply.body);
    assert!(reply.body.ends_with(r#","state":"unauthorized"}"#), "the third key: {}", reply.body);
}

async fn oauth_072_info_without_a_token(t: TestServer) {
    let reply = t.get("/oauth/token/info").await;
    reply.is(401, UNAUTHORIZED);
    let challenge =
        r#"Bearer realm="Doorkeeper", error="invalid_token", error_description="The access token is invalid""#;
    assert_eq!(reply.header("www-authenticate"), Some(challenge));
    assert!(reply.header("cache-control").is_some_and(|value| value.contains("no-store")));
}

async fn oauth_073_info(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let known = |left: i64| {
        format!(
            r#"{{"resource_owner_id":{},"scope":["api"],"expires_in":{left},"application":{{"uid":"{}"}},"created_at":{},"scopes":["api"],"expires_in_seconds":{left}}}"#,
            ada.id,
            client.uid,
            crate::test_server::START.seconds()
        )
    };
    info(&t, &pair.access).await.is(200, &known(7200));
    t.later(659);
    info(&t, &pair.access).await.is(200, &known(6541));
}

async fn oauth_074_info_of_a_dead_token(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let other = client.tokens(&ada, "api").await;
    info(&t, "unknown").await.is(401, UNAUTHORIZED);
    revoked(&t, &client, &other.access).await;
    info(&t, &other.access).await.is(401, UNAUTHORIZED);
    info(&t, &pair.refresh).await.is(401, UNAUTHORIZED);
    info(&t, &pair.access).await.has(200);
    t.later(7201);
    info(&t, &pair.access).await.is(401, UNAUTHORIZED);
}

fn active(t: &TestServer, client: &str) -> String {
    let iat = t.now().seconds();
    let exp = iat + 7200;
    format!(r#"{{"active":true,"scope":"api","client_id":{client},"token_type":"Bearer","exp":{exp},"iat":{iat}}}"#)
}

async fn oauth_111_introspected_by_its_own_client(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    let known = active(&t, &format!(r#""{}""#, client.uid));
    by(&client, introspect(&t, &pair.access)).await.is(200, &known);
    let (uid, secret) = (client.uid.as_str(), client.secret.as_str());
    let all = encoded(&[("token", &pair.access), ("client_id", uid), ("client_secret", secret)]);
    t.post("/oauth/introspect").form(&all).await.is(200, &known);
    t.later(60);
    by(&client, introspect(&t, &pair.access)).await.is(200, &known);
}

async fn oauth_112_introspected_by_another_client(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    let other = t.client("api").await;
    by(&other, introspect(&t, &pair.access)).await.is(200, INACTIVE);
}

async fn oauth_113_introspected_by_itself(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    introspect(&t, &pair.access).bearer(&pair.access).await.is(401, UNAUTHORIZED);
}

async fn oauth_114_introspected_by_nobody(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    let reply = introspect(&t, &pair.access).await;
    reply.is(400, NO_CALLER);
    assert!(reply.header("cache-control").is_some_and(|value| value.contains("no-store")));
}

async fn oauth_135_a_personal_access_token_is_not_asked_for(t: TestServer) {
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

async fn oauth_137_a_bearer_asks_for_its_own_application_only(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let foreign = t.client("api").await.tokens(&ada, "api").await;
    let asking = client.tokens(&ada, "api").await;
    introspect(&t, "unknown").bearer(&asking.access).await.is(401, UNAUTHORIZED);
    introspect(&t, &foreign.access).bearer(&asking.access).await.is(401, UNAUTHORIZED);
    let known = active(&t, &format!(r#""{}""#, client.uid));
    introspect(&t, &pair.access).bearer(&asking.access).await.is(200, &known);
}

async fn oauth_138_an_unknown_bearer_asks(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    introspect(&t, &pair.access).bearer("unknown").await.is(400, NO_CALLER);
}

async fn introspection_row_by_row(t: TestServer) {
    let (ada, client, dead) = t.begun("api").await;
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

async fn a_token_without_an_application(t: TestServer) {
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

async fn info_looks_in_three_places(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
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

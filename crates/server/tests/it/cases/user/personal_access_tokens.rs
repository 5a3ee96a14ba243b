//! `POST /user/personal_access_tokens` (rest-api.md 2.5).

use serde_json::{Value, json};
use tollhouse::error::Error;
use tollhouse::operations::tokens::CreateToken;
use tollhouse::operations::users::SetState;
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::{Scope, Scopes};

use crate::test_server::{M401, TestServer};

cases![
    pat_075_only_narrow_scopes,
    pat_076_a_token_of_ones_own,
    any_scope_of_ones_own with "tokens.self_service = 'own_scopes'",
    a_token_of_ones_own_that_cannot_be_made,
    who_may_not_make_a_token_of_their_own,
    whoever_makes_their_own_token_is_checked_with_the_change,
];

const PATH: &str = "/api/v4/user/personal_access_tokens";

async fn pat_075_only_narrow_scopes(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let refusal = r#"{"error":"scopes does not have a valid value"}"#;
    for scopes in
        [json!("api"), json!(["api"]), json!(["k8s_proxy", "read_user"]), json!("k8s_proxy,api"), json!(["sudo"])]
    {
        let new = json!({"name": "x", "scopes": scopes});
        t.post(PATH).token(&token).json(&new).await.is(400, refusal);
    }
}

async fn pat_076_a_token_of_ones_own(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let new = json!({"name": "cluster", "scopes": ["k8s_proxy", "self_rotate"], "description": "d"});
    let body = t.post(PATH).token(&token).json(&new).await.has(201).json();
    assert_eq!((&body["user_id"], &body["scopes"]), (&json!(ada.id), &new["scopes"]));
    assert_eq!((&body["name"], &body["description"]), (&new["name"], &new["description"]));
    assert_eq!(body["expires_at"], tollhouse_domain::token::latest_expiry(t.now()).to_string());
    let secret = body["token"].as_str().expect("a secret");
    t.get("/api/v4/personal_access_tokens/self").token(secret).await.has(200);
    // By a session, and by an administrator who acts as her.
    let session = ada.session().await;
    let new = json!({"name": "x", "scopes": "k8s_proxy"});
    t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(&new).await.has(201);
    let warden = t.admin().await.token([Scope::Sudo]).await;
    let body = t.post(PATH).token(&warden).with("sudo", "ada").json(&new).await.has(201).json();
    assert_eq!(body["user_id"], json!(ada.id));
}

async fn any_scope_of_ones_own(t: TestServer) {
    let (ada, root) = (t.user("ada").await, t.admin().await);
    let token = ada.token([Scope::Api]).await;
    let ask = |token: &str, scopes: Value| t.post(PATH).token(token).json(json!({"name": "x", "scopes": scopes}));
    let body = ask(&token, json!(["api", "read_repository"])).await.has(201).json();
    t.get("/api/v4/user").token(body["token"].as_str().expect("a secret")).await.is_user(&ada);
    let refusal = r#"{"message":"Scopes can only contain available scopes"}"#;
    // Nobody makes more of themselves than they are, and no token more than it is.
    ask(&token, json!(["sudo"])).await.is(422, refusal);
    let by_root = root.token([Scope::Api]).await;
    for scope in ["sudo", "admin_mode", "read_service_ping"] {
        ask(&by_root, json!([scope])).await.is(422, refusal);
    }
    ask(&root.token([Scope::Api, Scope::AdminMode]).await, json!(["admin_mode"])).await.has(201);
    let session = ada.session().await;
    let all = json!({"name": "x", "scopes": ["sudo"]});
    t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(&all).await.is(422, refusal);
    let session = root.session().await;
    t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(&all).await.has(201);
    ask(&token, json!(["nope"])).await.is(400, r#"{"error":"scopes does not have a valid value"}"#);
}

async fn a_token_of_ones_own_that_cannot_be_made(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let scopes = "scopes does not have a valid value";
    let latest = tollhouse_domain::token::latest_expiry(t.now());
    let day = |days: i32| t.now().date().plus_days(days).to_string();
    let sentence = |text: &str| json!({ "message": text }).to_string();
    let error = |text: &str| json!({ "error": text }).to_string();
    for (new, status, refusal) in [
        (json!({}), 400, error(&format!("name is missing, scopes is missing, {scopes}"))),
        (json!({"name": "x", "scopes": {"0": "k8s_proxy"}}), 400, error(&format!("scopes is invalid, {scopes}"))),
        (json!({"name": "x", "scopes": [null]}), 400, error(scopes)),
        (json!({"name": "x", "scopes": "k8s_proxy,"}), 400, error(scopes)),
        (json!({"name": "x", "scopes": "k8s_proxy", "expires_at": "2027-02-29"}), 400, error("expires_at is invalid")),
        (json!({"name": "x", "scopes": "k8s_proxy", "expires_at": "10000-01-01"}), 400, error("expires_at is invalid")),
        (json!({"name": "x", "scopes": []}), 422, sentence("Scopes can't be blank")),
        (json!({"name": " ", "scopes": "k8s_proxy"}), 422, sentence("Name can't be blank")),
        (
            json!({"name": "x", "scopes": "k8s_proxy", "expires_at": day(0)}),
            422,
            sentence("Expires at must be after today"),
        ),
        (
            json!({"name": "x", "scopes": "k8s_proxy", "expires_at": format!("{}T12:00:00Z", day(0))}),
            422,
            sentence("Expires at must be after today"),
        ),
        (
            json!({"name": "x", "scopes": "k8s_proxy", "expires_at": day(366)}),
            422,
            sentence(&format!("Expires at must be before {latest}")),
        ),
        (json!({"name": "x", "granular_scopes": []}), 404, sentence("404 Not Found")),
        (
            json!({"name": "x", "scopes": "k8s_proxy", "granular_scopes": [{"access": "user"}]}),
            404,
            sentence("404 Not Found"),
        ),
    ] {
        t.post(PATH).token(&token).json(&new).await.is(status, &refusal);
    }
    t.post(PATH)
        .token(&token)
        .json(json!({"name": "x", "scopes": "k8s_proxy", "granular_scopes": null}))
        .await
        .has(201);
    assert_eq!(t.count("token.created").await, 2, "the one that asks, and the last");
}

async fn who_may_not_make_a_token_of_their_own(t: TestServer) {
    let ada = t.user("ada").await;
    let new = json!({"name": "x", "scopes": "k8s_proxy"});
    t.post(PATH).json(&new).await.is(401, M401);
    for scope in [Scope::ReadApi, Scope::SelfRotate, Scope::K8sProxy] {
        t.post(PATH).token(&ada.token([scope]).await).json(&new).await.is_insufficient_scope();
    }
}

/// The account may be blocked between the pipeline and the transaction.
async fn whoever_makes_their_own_token_is_checked_with_the_change(t: TestServer) {
    let ada = t.user("ada").await;
    let create = ada.create_token(Scopes::from([Scope::K8sProxy]), None);
    t.does(SetState::block(ada.id)).await;
    let tried = t.app.perform(CreateToken { self_service: true, ..create }, &By::system()).await.map(drop);
    assert_eq!(tried, Err(Error::Refused(Refusal::NotAllowed)));
}

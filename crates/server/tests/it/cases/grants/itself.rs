//! An application for itself, and what it may ask for without a person who allows it.

use serde_json::json;
use tollhouse::operations::users::CreateUser;
use tollhouse_domain::secret::Plaintext;

use super::INVALID_CLIENT;
use crate::cases::users::keys;
use crate::oauth::{Client, USER, ask, basic, changed, is_error, tokens};
use crate::test_server::{M401, Person, TestServer};

cases![
    oauth_055_an_application_for_itself,
    oauth_056_an_application_that_is_not_known,
    oauth_057_an_application_asks_for_more_than_it_has,
    oauth_058_an_application_asks_for_nothing_in_particular,
    oauth_059_an_application_by_basic,
    t21_admin_scopes_come_by_the_page_alone with "oauth.password_grant = true",
    t21_admin_scopes_as_the_original with "compat.admin_scopes = 'gitlab'\noauth.password_grant = true",
    scopes_are_words_that_the_application_has,
];

async fn oauth_055_an_application_for_itself(t: TestServer) {
    let client = t.client("api read_user").await;
    let reply = client.token("client_credentials", &[("scope", "read_user")]).await;
    assert_eq!(keys(reply.has(200)), ["access_token", "token_type", "expires_in", "scope", "created_at"]);
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["scope"]), (&json!("Bearer"), &json!("read_user")));
    // It speaks for nobody.
    t.get(USER).bearer(&tokens(&reply).access).await.is(401, M401);
}

async fn oauth_056_an_application_that_is_not_known(t: TestServer) {
    let client = t.client("api").await;
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    for change in [("client_id", Some("nobody")), ("client_secret", Some("gloas-wrong")), ("client_secret", None)] {
        let reply = ask(&t, &changed(&own, &[change])).await;
        assert_eq!(is_error(&reply, 401, "invalid_client"), INVALID_CLIENT);
    }
    tokens(&ask(&t, &own).await);
}

async fn oauth_057_an_application_asks_for_more_than_it_has(t: TestServer) {
    let client = t.client("read_user").await;
    for scope in ["api", "read_user api", "nonsense"] {
        is_error(&client.token("client_credentials", &[("scope", scope)]).await, 400, "invalid_scope");
    }
}

async fn oauth_058_an_application_asks_for_nothing_in_particular(t: TestServer) {
    let client = t.client("read_user api").await;
    let reply = client.token("client_credentials", &[]).await;
    assert_eq!(reply.has(200).json()["scope"], "api");
}

async fn oauth_059_an_application_by_basic(t: TestServer) {
    let client = t.client("api").await;
    let pairs = [("grant_type", "client_credentials")];
    tokens(&ask(&t, &pairs).with("authorization", &client.basic()).await);
    let wrong = ask(&t, &pairs).with("authorization", &basic(&client.uid, "gloas-wrong")).await;
    is_error(&wrong, 401, "invalid_client");
}

/// Somebody who may act as anybody, and an application that may be told so.
async fn powers(t: &TestServer) -> (Client, Person) {
    let digest = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    let warden =
        CreateUser { administrator: true, password_digest: Some(digest), ..CreateUser::person("warden", "Warden") };
    (t.client("api sudo admin_mode read_service_ping").await, t.person(warden).await)
}

async fn t21_admin_scopes_come_by_the_page_alone(t: TestServer) {
    let (client, warden) = powers(&t).await;
    let login = [("username", "warden"), ("password", "correct horse")];
    for scope in ["sudo", "admin_mode", "read_service_ping", "api sudo"] {
        let asked = changed(&login, &[("scope", Some(scope))]);
        is_error(&client.token("password", &asked).await, 400, "invalid_scope");
        is_error(&client.token("client_credentials", &[("scope", scope)]).await, 400, "invalid_scope");
    }
    for reply in [client.token("password", &login).await, client.token("client_credentials", &[]).await] {
        assert_eq!(reply.has(200).json()["scope"], "api");
    }
    let code = client.code(&warden, "api sudo").await;
    assert_eq!(client.redeem(&code).await.has(200).json()["scope"], "api sudo");
}

async fn t21_admin_scopes_as_the_original(t: TestServer) {
    let (client, _) = powers(&t).await;
    let asked = [("username", "warden"), ("password", "correct horse"), ("scope", "sudo")];
    assert_eq!(client.token("password", &asked).await.has(200).json()["scope"], "sudo");
    assert_eq!(client.token("client_credentials", &asked[2..]).await.has(200).json()["scope"], "sudo");
}

async fn scopes_are_words_that_the_application_has(t: TestServer) {
    let client = t.client("api read_user").await;
    let asked = |scope: &str| client.token("client_credentials", &[("scope", scope)]);
    for bad in
        ["api\tread_user", "api\nread_user", "api\r\nread_user", "API", "read_api", "api,read_user", "*", "api openid"]
    {
        let description = is_error(&asked(bad).await, 400, "invalid_scope");
        assert_eq!(description, "The requested scope is invalid, unknown, or malformed.");
    }
    for (scope, given) in [("", "api"), ("read_user", "read_user"), ("read_user api", "read_user api")] {
        assert_eq!(asked(scope).await.has(200).json()["scope"], given);
    }
}

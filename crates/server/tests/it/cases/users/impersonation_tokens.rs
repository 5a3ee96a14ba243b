//! `/users/:user_id/impersonation_tokens` (rest-api.md 2.9).

use serde_json::{Value, json};
use tollhouse::operations::tokens::CreateToken;
use tollhouse_domain::scope::{Scope, Scopes};

use crate::test_server::{M401, Person, REVOKED, TestServer};

cases![
    auth_036_an_impersonation_token_acts_as_its_user,
    auth_037_impersonation_is_off with "tokens.impersonation = false",
    pat_079_who_is_no_administrator,
    pat_080_an_unknown_one,
    one_is_made_listed_shown_and_revoked,
    an_impersonation_token_that_cannot_be_made,
    an_impersonation_token_has_no_scope_beyond_the_administrators_token,
    the_administrator_is_recorded,
];

fn path(of: &Person) -> String {
    format!("/api/v4/users/{}/impersonation_tokens", of.id)
}

/// Past the endpoint.
async fn made(t: &TestServer, of: &Person) -> (String, String) {
    let create = of.create_token(Scopes::from([Scope::Api]), None);
    let made = t.does(CreateToken { impersonation: true, ..create }).await;
    (made.token.id.to_string(), made.secret.reveal().to_owned())
}

async fn auth_036_an_impersonation_token_acts_as_its_user(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await.token([Scope::Api]).await);
    let new = json!({"name": "debug", "scopes": ["api"]});
    let body = t.post(&path(&ada)).token(&warden).json(new).await.has(201).json();
    t.get("/api/v4/user").token(body["token"].as_str().expect("a secret")).await.is_user(&ada);
}

async fn auth_037_impersonation_is_off(t: TestServer) {
    let ada = t.user("ada").await;
    let (id, secret) = made(&t, &ada).await;
    let text = "Token is an impersonation token but impersonation was disabled.";
    let body = json!({"error": "invalid_token", "error_description": text});
    let reply = t.get("/api/v4/user").token(&secret).await;
    assert_eq!(reply.has(401).json(), body);
    let challenge =
        format!(r#"Bearer realm="Protected by OAuth 2.0", error="invalid_token", error_description="{text}""#);
    assert_eq!(reply.header("www-authenticate"), Some(&*challenge));
    for reply in [
        t.get("/api/v4/projects").bearer(&secret).await,
        t.get("/api/v4/personal_access_tokens/self").token(&secret).await,
        t.post("/api/v4/personal_access_tokens/self/rotate").token(&secret).await,
        t.delete("/api/v4/personal_access_tokens/self").token(&secret).await,
    ] {
        assert_eq!((reply.has(401).json(), reply.reason), (body.clone(), Some("impersonation_disabled")));
    }
    // Her own tokens are something else, and an administrator still sees and revokes such a token.
    t.get("/api/v4/user").token(&ada.token([Scope::Api]).await).await.is_user(&ada);
    let warden = t.admin().await.token([Scope::Api]).await;
    t.get(&format!("{}/{id}", path(&ada))).token(&warden).await.has(200);
    t.delete(&format!("{}/{id}", path(&ada))).token(&warden).await.is(204, "");
    t.get("/api/v4/user").token(&secret).await.is(401, REVOKED);
}

async fn pat_079_who_is_no_administrator(t: TestServer) {
    let ada = t.user("ada").await;
    let (id, _) = made(&t, &ada).await;
    let token = ada.token([Scope::Api]).await;
    let (all, one) = (path(&ada), format!("{}/{id}", path(&ada)));
    let new = json!({"name": "x", "scopes": ["api"]});
    let forbidden = r#"{"message":"403 Forbidden"}"#;
    t.get(&all).token(&token).await.is(403, forbidden);
    t.get(&one).token(&token).await.is(403, forbidden);
    t.delete(&one).token(&token).await.is(403, forbidden);
    t.post(&all).token(&token).json(&new).await.is(403, forbidden);
    // Before parameters and before whether the user exists.
    t.post(&all).token(&token).await.is(403, forbidden);
    t.get("/api/v4/users/999999/impersonation_tokens?state=x").token(&token).await.is(403, forbidden);
    t.get(&all).await.is(401, M401);
}

async fn pat_080_an_unknown_one(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let warden = t.admin().await.token([Scope::Api]).await;
    let none = r#"{"message":"404 Impersonation Token Not Found"}"#;
    let own = ada.made_token([Scope::Api]).await;
    let (others, secret) = made(&t, &eve).await;
    // Unknown, of another kind, of another user.
    for id in ["999999", &own.token.id.to_string(), &others] {
        t.get(&format!("{}/{id}", path(&ada))).token(&warden).await.is(404, none);
        t.delete(&format!("{}/{id}", path(&ada))).token(&warden).await.is(404, none);
    }
    t.get("/api/v4/user").token(own.secret.reveal()).await.has(200);
    t.get("/api/v4/user").token(&secret).await.has(200);
    let nobody = r#"{"message":"404 User Not Found"}"#;
    for target in ["/api/v4/users/999999/impersonation_tokens", "/api/v4/users/999999/impersonation_tokens/1"] {
        t.get(target).token(&warden).await.is(404, nobody);
    }
}

async fn one_is_made_listed_shown_and_revoked(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await.token([Scope::Api]).await);
    ada.token([Scope::Api]).await;
    let new = json!({"name": "debug", "scopes": ["read_api", "read_user"], "description": "why"});
    let reply = t.post(&path(&ada)).token(&warden).json(&new).await;
    let body = reply.has(201).json();
    let secret = body["token"].as_str().expect("a secret");
    assert!(reply.body.ends_with(&format!(r#","impersonation":true,"token":"{secret}"}}"#)), "{}", reply.body);
    assert_eq!((&body["scopes"], &body["description"]), (&new["scopes"], &new["description"]));
    assert_eq!(body["expires_at"], tollhouse_domain::token::latest_expiry(t.now()).to_string());
    let one = format!("{}/{}", path(&ada), body["id"]);
    let shown = t.get(&one).token(&warden).await;
    assert!(shown.has(200).body.ends_with(r#","impersonation":true}"#), "{}", shown.body);
    let listed = async |query: &str| {
        let list = t.get(&format!("{}?{query}", path(&ada))).token(&warden).await.has(200).json();
        list.as_array().expect("a list").iter().map(|token| token["id"].clone()).collect::<Vec<Value>>()
    };
    let id = vec![body["id"].clone()];
    assert_eq!(
        (listed("").await, listed("state=active").await, listed("state=inactive").await),
        (id.clone(), id.clone(), vec![])
    );
    for _ in 0..2 {
        t.delete(&one).token(&warden).await.is(204, "");
    }
    t.get("/api/v4/user").token(secret).await.is(401, REVOKED);
    assert_eq!(
        (listed("state=all").await, listed("state=active").await, listed("state=inactive").await),
        (id.clone(), vec![], id)
    );
    let wrong = t.get(&format!("{}?state=x", path(&ada))).token(&warden).await;
    wrong.is(400, r#"{"error":"state does not have a valid value"}"#);
}

async fn an_impersonation_token_that_cannot_be_made(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await.token([Scope::Api, Scope::Sudo]).await);
    let latest = tollhouse_domain::token::latest_expiry(t.now());
    let late = format!(r#"{{"message":{{"expires_at":["must be before {latest}"]}}}}"#);
    let scopes = r#"{"message":{"scopes":["can only contain available scopes"]}}"#;
    let blank = r#"{"message":{"scopes":["can't be blank"]}}"#;
    let day = |days: i32| t.now().date().plus_days(days).to_string();
    for (new, status, refusal) in [
        (json!({}), 400, r#"{"error":"name is missing"}"#),
        (json!({"name": "x"}), 400, blank),
        (json!({"name": "x", "scopes": []}), 400, blank),
        (json!({"name": "x", "scopes": ""}), 400, blank),
        (json!({"name": "x", "scopes": "api,nope"}), 400, scopes),
        (json!({"name": "x", "scopes": ["openid"]}), 400, scopes),
        (json!({"name": "x", "scopes": ["sudo"]}), 400, scopes),
        (json!({"name": "x", "scopes": {"0": "api"}}), 400, r#"{"error":"scopes is invalid"}"#),
        (json!({"name": " ", "scopes": ["api"]}), 400, r#"{"message":{"name":["can't be blank"]}}"#),
        (json!({"name": "x", "scopes": ["api"], "expires_at": day(366)}), 400, &late),
        (
            json!({"name": "x", "scopes": ["api"], "expires_at": day(0)}),
            400,
            r#"{"message":{"expires_at":["must be after today"]}}"#,
        ),
        (
            json!({"name": "x", "scopes": ["api"], "expires_at": "10000-01-01"}),
            400,
            r#"{"error":"expires_at is invalid"}"#,
        ),
        (json!({"name": "x", "granular_scopes": [{"access": "user"}]}), 404, r#"{"message":"404 Not Found"}"#),
    ] {
        t.post(&path(&ada)).token(&warden).json(&new).await.is(status, refusal);
    }
    let list = t.get(&path(&ada)).token(&warden).await.has(200).json();
    assert_eq!(list, json!([]));
}

async fn an_impersonation_token_has_no_scope_beyond_the_administrators_token(t: TestServer) {
    let (root, second) = (t.admin().await, t.admin_named("second").await);
    let new = json!({"name": "x", "scopes": ["api", "sudo"]});
    let scopes = r#"{"message":{"scopes":["can only contain available scopes"]}}"#;
    t.post(&path(&second)).token(&root.token([Scope::Api]).await).json(&new).await.is(400, scopes);
    t.post(&path(&second)).token(&root.token([Scope::Api, Scope::Sudo]).await).json(&new).await.has(201);
    let session = root.session().await;
    t.post(&path(&second)).session(&session).with("x-csrf-token", &session.csrf()).json(&new).await.has(201);
}

/// T29: the audit log says who made it for whom.
async fn the_administrator_is_recorded(t: TestServer) {
    let (ada, root) = (t.user("ada").await, t.admin().await);
    let new = json!({"name": "x", "scopes": ["api"]});
    t.post(&path(&ada)).token(&root.token([Scope::Api]).await).json(&new).await.has(201);
    let line = t.trail(1).await.swap_remove(0);
    assert_eq!((line.event.as_str(), line.actor_id), ("token.created", Some(root.id.0)));
    assert!(line.detail.contains("impersonation") && line.detail.contains(&ada.id.to_string()), "{}", line.detail);
}

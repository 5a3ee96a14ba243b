//! `POST /users/:user_id/personal_access_tokens` (rest-api.md 2.5).

use serde_json::{Value, json};
use tollhouse::error::Error;
use tollhouse::operations::tokens::CreateToken;
use tollhouse::operations::users::{CreateUser, SetState};
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::{Scope, Scopes};

use crate::test_server::{Ask, M401, Person, TestServer};

cases![
    pat_077_an_administrator_makes_a_token_for_somebody,
    pat_078_an_expiry_beyond_the_limit,
    pat_094_a_scope_that_its_owner_may_not_have,
    a_scope_beyond_those_of_the_administrators_token,
    any_scope_as_the_original with "compat.admin_scopes = 'gitlab'",
    who_may_not_make_a_token_for_somebody,
    a_token_that_is_asked_for_badly_is_not_made,
    many_tokens_at_once,
    the_administrator_is_one_still_with_the_change,
];

fn ask(t: &TestServer, owner: &Person, body: &Value) -> Ask {
    t.post(&format!("/api/v4/users/{}/personal_access_tokens", owner.id)).json(body)
}

/// How many tokens, families and lines of the audit log there are.
async fn rows(t: &TestServer) -> usize {
    let mut reader = t.app.db.read().await.expect("a reader");
    let all = tollhouse_store::faults::every_row(&mut reader).await.expect("every row");
    let tables = ["personal_access_tokens:", "token_families:", "audit_events:"];
    all.iter().filter(|row| tables.iter().any(|table| row.starts_with(table))).count()
}

async fn warden(t: &TestServer) -> String {
    t.admin().await.token([Scope::Api]).await
}

async fn pat_077_an_administrator_makes_a_token_for_somebody(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, warden(&t).await);
    let body = json!({"name": "ci", "description": "for the build", "scopes": ["read_user", "read_api"]});
    let reply = ask(&t, &ada, &body).token(&warden).await;
    let made = reply.has(201).json();
    assert_eq!(made["user_id"], ada.id.0);
    assert_eq!((&made["name"], &made["description"]), (&body["name"], &body["description"]));
    assert_eq!(made["scopes"], body["scopes"]);
    assert_eq!((&made["active"], &made["revoked"], &made["last_used_at"]), (&json!(true), &json!(false), &Value::Null));
    assert_eq!(made["expires_at"], tollhouse_domain::token::latest_expiry(t.now()).to_string());
    // It is told as it is when it is asked about, with the secret behind everything.
    let secret = made["token"].as_str().expect("a secret").to_owned();
    let shown = t.get("/api/v4/personal_access_tokens/self").token(&secret).await;
    let without = |body: &str| body.split(r#","last_used_at""#).next().expect("a part").to_owned();
    assert_eq!(without(&reply.body), without(&shown.has(200).body));
    assert!(reply.body.ends_with(&format!(r#","token":"{secret}"}}"#)), "{}", reply.body);
    t.get("/api/v4/user").token(&secret).await.is_user(&ada);
    let form = format!("/api/v4/users/{}/personal_access_tokens", ada.id);
    for form_body in
        ["name=a&scopes[]=api&scopes[]=read_user", "name=a&scopes=api,read_user", "name=a&scopes[]=api,read_user"]
    {
        let made = t.post(&form).form(form_body).token(&warden).await.has(201).json();
        assert_eq!(made["scopes"], json!(["api", "read_user"]), "{form_body}");
    }
    let day = t.now().date().plus_days(1).to_string();
    let made = ask(&t, &ada, &json!({"name": "x", "scopes": ["api"], "expires_at": day})).token(&warden).await;
    assert_eq!(made.has(201).json()["expires_at"], day);
}

async fn pat_078_an_expiry_beyond_the_limit(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, warden(&t).await);
    let latest = tollhouse_domain::token::latest_expiry(t.now());
    let body = |day: String| json!({"name": "x", "scopes": ["api"], "expires_at": day});
    let late = format!(r#"{{"message":"Expires at must be before {latest}"}}"#);
    ask(&t, &ada, &body(latest.plus_days(1).to_string())).token(&warden).await.is(422, &late);
    ask(&t, &ada, &body(latest.to_string())).token(&warden).await.has(201);
}

async fn pat_094_a_scope_that_its_owner_may_not_have(t: TestServer) {
    let (ada, root) = (t.user("ada").await, t.admin().await);
    let warden = root.token([Scope::Api]).await;
    let body = json!({"name": "x", "scopes": ["sudo"]});
    let refusal = r#"{"message":"Scopes can only contain available scopes"}"#;
    ask(&t, &ada, &body).token(&warden).await.is(422, refusal);
    let with_sudo = root.token([Scope::Api, Scope::Sudo]).await;
    ask(&t, &ada, &body).token(&with_sudo).await.is(422, refusal);
    ask(&t, &root, &body).token(&with_sudo).await.has(201);
}

/// authentication.md 3.3: whoever holds the credential would hold more than was given to them.
async fn a_scope_beyond_those_of_the_administrators_token(t: TestServer) {
    let root = t.admin().await;
    let tokens = [root.token([Scope::Api]).await, root.token([Scope::Api, Scope::AdminMode]).await];
    let refusal = r#"{"message":"Scopes can only contain available scopes"}"#;
    for scopes in [["sudo", "api"], ["api", "sudo"], ["sudo", "sudo"], ["read_service_ping", "api"]] {
        for token in &tokens {
            ask(&t, &root, &json!({"name": "x", "scopes": scopes})).token(token).await.is(422, refusal);
        }
    }
    let ordinary = json!({"name": "x", "scopes": ["read_api", "read_repository", "k8s_proxy", "self_rotate", "api"]});
    ask(&t, &root, &ordinary).token(&tokens[0]).await.has(201);
    // A session has all rights of its user.
    let session = root.session().await;
    let all = json!({"name": "x", "scopes": ["sudo", "admin_mode", "read_service_ping"]});
    ask(&t, &root, &all).session(&session).with("x-csrf-token", &session.csrf()).await.has(201);
    // Who acts as another administrator holds what `sudo` gives, and nothing else for administrators.
    let second = t.admin_named("second").await;
    let sudo = root.token([Scope::Sudo]).await;
    let as_second =
        |scopes| ask(&t, &second, &json!({"name": "x", "scopes": scopes})).token(&sudo).with("sudo", "second");
    as_second(["api", "sudo"]).await.has(201);
    as_second(["api", "admin_mode"]).await.is(422, refusal);
}

async fn any_scope_as_the_original(t: TestServer) {
    let root = t.admin().await;
    let body = json!({"name": "x", "scopes": ["sudo"]});
    ask(&t, &root, &body).token(&root.token([Scope::Api]).await).await.has(201);
}

async fn who_may_not_make_a_token_for_somebody(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let body = json!({"name": "x", "scopes": ["api"]});
    ask(&t, &ada, &body).await.is(401, M401);
    for token in [ada.token([Scope::Api]).await, eve.token([Scope::Api]).await] {
        ask(&t, &ada, &body).token(&token).await.is(403, r#"{"message":"403 Forbidden"}"#);
    }
    let root = t.admin().await;
    let reads = root.token([Scope::ReadApi]).await;
    ask(&t, &ada, &body).token(&reads).await.is_insufficient_scope();
    let warden = root.token([Scope::Api]).await;
    let nobody = r#"{"message":"404 User Not Found"}"#;
    let unknown = |id: &str| t.post(&format!("/api/v4/users/{id}/personal_access_tokens")).json(&body);
    unknown("999999").token(&warden).await.is(404, nobody);
    unknown("ada").token(&warden).await.is(404, r#"{"error":"404 Not Found"}"#);
}

async fn a_token_that_is_asked_for_badly_is_not_made(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, warden(&t).await);
    let before = rows(&t).await;
    let scopes = "scopes does not have a valid value";
    let long = "x".repeat(256);
    for (body, status, refusal) in [
        (json!({}), 400, format!(r#"{{"error":"name is missing, scopes is missing, {scopes}"}}"#)),
        (json!({"name": "x", "scopes": "nope"}), 400, format!(r#"{{"error":"{scopes}"}}"#)),
        (json!({"name": "x", "scopes": ["api", "openid"]}), 400, format!(r#"{{"error":"{scopes}"}}"#)),
        (json!({"name": "x", "scopes": [["api"]]}), 400, format!(r#"{{"error":"{scopes}"}}"#)),
        (json!({"name": "x", "scopes": {"0": "api"}}), 400, format!(r#"{{"error":"scopes is invalid, {scopes}"}}"#)),
        (json!({"name": ["x"], "scopes": ["api"]}), 400, r#"{"error":"name is invalid"}"#.into()),
        (
            json!({"name": "x", "scopes": ["api"], "expires_at": "soon"}),
            400,
            r#"{"error":"expires_at is invalid"}"#.into(),
        ),
        (json!({"name": "x", "scopes": []}), 422, r#"{"message":"Scopes can't be blank"}"#.into()),
        (json!({"name": "  ", "scopes": ["api"]}), 422, r#"{"message":"Name can't be blank"}"#.into()),
        (
            json!({"name": &long, "scopes": ["api"]}),
            422,
            r#"{"message":"Name is too long (maximum is 255 characters)"}"#.into(),
        ),
        (
            json!({"name": "x", "scopes": ["api"], "description": &long}),
            422,
            r#"{"message":"Description is too long (maximum is 255 characters)"}"#.into(),
        ),
        (
            json!({"name": "x", "scopes": ["api"], "expires_at": t.now().date().to_string()}),
            422,
            r#"{"message":"Expires at must be after today"}"#.into(),
        ),
    ] {
        let reply = ask(&t, &ada, &body).token(&warden).await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (status, &*refusal), "{body}");
    }
    // A scope that is given in two ways is none.
    let path = format!("/api/v4/users/{}/personal_access_tokens", ada.id);
    let invalid = format!(r#"{{"error":"scopes is invalid, {scopes}"}}"#);
    t.post(&path).form("name=x&scopes=read_user&scopes=api").token(&warden).await.is(400, &invalid);
    let twice = t.post(&format!("{path}?scopes[]=api")).form("name=x&scopes=read_user");
    twice.token(&warden).await.is(400, &invalid);
    t.post(&path).form("name=%00&scopes=api").token(&warden).await.has(400);
    t.post(&path).form("name=%ff&scopes=api").token(&warden).await.has(400);
    t.post(&path).json(r#"{"name":"x","scopes":["api"]"#).token(&warden).await.has(400);
    assert_eq!(rows(&t).await, before, "nothing was made");
}

async fn many_tokens_at_once(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, warden(&t).await);
    let body = json!({"name": "same", "scopes": ["read_user"]});
    let all =
        futures_util::future::join_all((0..20).map(|_| async { ask(&t, &ada, &body).token(&warden).await })).await;
    let mut secrets: Vec<String> =
        all.iter().map(|reply| reply.has(201).json()["token"].as_str().expect("a secret").to_owned()).collect();
    secrets.sort_unstable();
    secrets.dedup();
    assert_eq!(secrets.len(), 20);
    for secret in secrets {
        t.get("/api/v4/user").token(&secret).await.is_user(&ada);
    }
}

/// The right may end between the pipeline and the transaction.
async fn the_administrator_is_one_still_with_the_change(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    let tried = async |by: &Person| {
        let create = ada.create_token(Scopes::from_iter([Scope::Api]), None);
        t.app.perform(CreateToken { administrator: Some(by.id), ..create }, &By::system()).await.map(drop)
    };
    assert_eq!(tried(&ada).await, Err(Error::Refused(Refusal::NotAllowed)));
    assert_eq!(tried(&warden).await, Ok(()));
    t.person(CreateUser { administrator: true, ..CreateUser::person("second", "Second") }).await;
    t.does(SetState::block(warden.id)).await;
    assert_eq!(tried(&warden).await, Err(Error::Refused(Refusal::NotAllowed)));
}

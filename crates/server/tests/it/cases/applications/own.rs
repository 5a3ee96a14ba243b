//! A user's own applications (rest-api.md 5.1).

use serde_json::{Value, json};
use tollhouse::operations::applications;
use tollhouse::operations::users::SetState;
use tollhouse_domain::audit::By;
use tollhouse_domain::grantor::{GrantableScopes, Grantor};
use tollhouse_domain::scope::Scope;

use super::{FORBIDDEN, PATH as OF_THE_INSTANCE, asked, client, enters};
use crate::oauth::{CALLBACK, Client, is_error, tokens, user};
use crate::test_server::{Ask, M401, Person, REVOKED, TestServer};

use axum::http::Method;

cases![
    app_016_made_by_a_user,
    app_017_listed_and_shown,
    app_018_changed,
    app_019_fewer_scopes,
    app_020_deleted,
    app_021_scopes_that_the_credential_could_not_use,
    app_022_changes_that_break_a_rule,
    more_scopes_take_nothing_away,
    an_owner_who_was_blocked_meanwhile_registers_nothing,
    fewer_scopes_while_tokens_are_given,
    by_every_kind_of_credential,
];

const PATH: &str = "/api/v4/user/applications";
const NOT_FOUND: &str = r#"{"message":"404 Application Not Found"}"#;
const NOT_AVAILABLE: &str = r#"{"message":{"scopes":["can only contain available scopes"]}}"#;

fn change(t: &TestServer, token: &str, id: impl std::fmt::Display, body: Value) -> Ask {
    t.ask(Method::PUT, &format!("{PATH}/{id}")).token(token).json(body)
}

async fn ada(t: &TestServer) -> (Person, String) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    (ada, token)
}

async fn made(t: &TestServer, token: &str, scopes: &str) -> Client {
    let mut body = asked();
    body["scopes"] = scopes.into();
    client(t, &t.post(PATH).token(token).json(body).await)
}

async fn app_016_made_by_a_user(t: TestServer) {
    let (ada, token) = ada(&t).await;
    let reply = t.post(PATH).token(&token).json(asked()).await;
    let own = client(&t, &reply);
    let known = format!(
        r#"{{"id":{},"application_id":"{}","application_name":"Ferry board","callback_url":"{CALLBACK}","confidential":true,"scopes":["api"],"secret":"{}"}}"#,
        own.id, own.uid, own.secret
    );
    reply.is(201, &known);
    let pair = own.tokens(&ada, "api").await;
    user(&t, &pair.access).await.is_user(&ada);
    // It is none of the instance.
    let warden = t.admin().await.token([Scope::Api]).await;
    t.get(OF_THE_INSTANCE).token(&warden).await.is(200, "[]");
    t.delete(&format!("{OF_THE_INSTANCE}/{}", own.id)).token(&warden).await.is(404, NOT_FOUND);
    let line = t.trail(20).await.into_iter().find(|line| line.event == "application.created").expect("a line");
    assert_eq!((line.actor_id, line.target_id), (Some(ada.id.0), own.id.0));
    t.post(PATH).json(asked()).await.is(401, M401);
}

async fn app_017_listed_and_shown(t: TestServer) {
    let (_, token) = ada(&t).await;
    let grace = t.user("grace").await.token([Scope::Api]).await;
    t.get(PATH).token(&token).await.is(200, "[]");
    let [first, second] = [made(&t, &token, "api").await, made(&t, &token, "read_user openid").await];
    let other = made(&t, &grace, "api").await;
    t.client("api").await;
    let known = |own: &Client, scopes: &[&str]| {
        json!({
            "id": own.id, "application_id": own.uid, "application_name": "Ferry board", "callback_url": CALLBACK,
            "confidential": true, "scopes": scopes,
        })
    };
    let both = [known(&first, &["api"]), known(&second, &["read_user", "openid"])];
    let reply = t.get(PATH).token(&token).await;
    assert_eq!(reply.has(200).json(), json!(both));
    assert_eq!(reply.header("x-page"), None, "in one piece");
    let one = t.get(&format!("{PATH}/{}", second.id)).token(&token).await;
    assert_eq!(one.has(200).json(), both[1]);
    assert!(!one.body.contains("gloas-") && !reply.body.contains("gloas-"));
    let warden = t.admin().await.token([Scope::Api]).await;
    for (token, id) in [(&token, other.id.0), (&token, 999), (&token, 0), (&grace, first.id.0), (&warden, first.id.0)] {
        t.get(&format!("{PATH}/{id}")).token(token).await.is(404, NOT_FOUND);
    }
    t.get(PATH).await.is(401, M401);
    t.get(&format!("{PATH}/{}", first.id)).await.is(401, M401);
}

async fn app_018_changed(t: TestServer) {
    let (_, token) = ada(&t).await;
    let own = made(&t, &token, "api").await;
    let body = json!({
        "name": "Harbour", "scopes": "api read_user", "redirect_uri": "https://b.test", "confidential": false,
        "trusted": true,
    });
    let reply = change(&t, &token, own.id, body).await;
    let known = format!(
        r#"{{"id":{},"application_id":"{}","application_name":"Harbour","callback_url":"{CALLBACK}","confidential":true,"scopes":["api","read_user"]}}"#,
        own.id, own.uid
    );
    reply.is(200, &known);
    t.get(&format!("{PATH}/{}", own.id)).token(&token).await.is(200, &known);
    for nothing in [json!({}), json!({ "name": null, "scopes": null }), json!({ "name": "Harbour" })] {
        change(&t, &token, own.id, nothing).await.is(200, &known);
    }
    assert_eq!(t.count("application.updated").await, 1, "what changes nothing leaves no line");
    let grace = t.user("grace").await.token([Scope::Api]).await;
    change(&t, &grace, own.id, json!({ "name": "x" })).await.is(404, NOT_FOUND);
    change(&t, &grace, own.id, json!({ "scopes": "nope" })).await.is(404, NOT_FOUND);
    let of_all = t.client("api").await;
    change(&t, &token, of_all.id, json!({ "name": "x" })).await.is(404, NOT_FOUND);
    t.get(&format!("{PATH}/{}", own.id)).token(&token).await.is(200, &known);
    enters(&own).await.has(200);
}

async fn app_019_fewer_scopes(t: TestServer) {
    let (ada, token) = ada(&t).await;
    let own = made(&t, &token, "api read_user").await;
    let (wide, narrow) = (own.tokens(&ada, "api").await, own.tokens(&ada, "read_user").await);
    let codes = [own.code(&ada, "api").await, own.code(&ada, "read_user").await];
    let machine = tokens(&enters(&own).await);
    for access in [&wide.access, &narrow.access] {
        user(&t, access).await.is_user(&ada);
    }
    t.get("/oauth/token/info").bearer(&machine.access).await.has(200);
    change(&t, &token, own.id, json!({ "scopes": "read_user" })).await.has(200);
    user(&t, &wide.access).await.is(401, REVOKED);
    t.get("/oauth/token/info").bearer(&machine.access).await.has(401);
    is_error(&own.refresh(&wide.refresh).await, 400, "invalid_grant");
    is_error(&own.redeem(&codes[0]).await, 400, "invalid_grant");
    is_error(&enters(&own).await, 400, "invalid_scope");
    user(&t, &narrow.access).await.is_user(&ada);
    tokens(&own.refresh(&narrow.refresh).await);
    tokens(&own.redeem(&codes[1]).await);
    let line = t.trail(20).await.into_iter().find(|line| line.event == "application.updated").expect("a line");
    assert_eq!(line.detail, "read_user; 2 families ended");
}

async fn app_020_deleted(t: TestServer) {
    let (ada, token) = ada(&t).await;
    let own = made(&t, &token, "api").await;
    let pair = own.tokens(&ada, "api").await;
    let grace = t.user("grace").await.token([Scope::Api]).await;
    let target = format!("{PATH}/{}", own.id);
    t.delete(&target).token(&grace).await.is(404, NOT_FOUND);
    t.delete(&target).await.is(401, M401);
    user(&t, &pair.access).await.is_user(&ada);
    t.delete(&target).token(&token).await.is(204, "");
    user(&t, &pair.access).await.is(401, M401);
    is_error(&enters(&own).await, 401, "invalid_client");
    t.delete(&target).token(&token).await.is(404, NOT_FOUND);
    t.get(PATH).token(&token).await.is(200, "[]");
}

async fn app_021_scopes_that_the_credential_could_not_use(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    let body = |scopes: &str| json!({ "name": "Ferry board", "redirect_uri": CALLBACK, "scopes": scopes });
    let sessions = [ada.session().await, warden.session().await];
    let api = [ada.token([Scope::Api]).await, warden.token([Scope::Api]).await];
    let wide = warden.token([Scope::Api, Scope::Sudo, Scope::AdminMode, Scope::ReadServicePing]).await;
    let mut made = 0;
    for scope in Scope::ALL.iter().map(|scope| scope.as_str()) {
        let of_administrators = ["sudo", "admin_mode", "read_service_ping"].contains(&scope);
        for (number, session) in sessions.iter().enumerate() {
            let reply = t.post(PATH).session(session).with("x-csrf-token", &session.csrf()).json(body(scope)).await;
            assert_eq!(reply.status == 201, !of_administrators || number == 1, "{scope}: {}", reply.body);
            let reply = t.post(PATH).token(&api[number]).json(body(scope)).await;
            assert_eq!(reply.status == 201, !of_administrators, "{scope}: {}", reply.body);
            if of_administrators {
                reply.is(400, NOT_AVAILABLE);
            }
            made += 1;
        }
        client(&t, &t.post(PATH).token(&wide).json(body(scope)).await);
    }
    assert_eq!(made, 2 * Scope::ALL.len());
    // Nor are they added later.
    let own = client(&t, &t.post(PATH).token(&api[1]).json(body("api")).await);
    change(&t, &api[1], own.id, json!({ "scopes": "api sudo" })).await.is(400, NOT_AVAILABLE);
    change(&t, &wide, own.id, json!({ "scopes": "api sudo" })).await.has(200);
    // What it has already is not given again.
    change(&t, &api[1], own.id, json!({ "scopes": "sudo api", "name": "x" })).await.has(200);
    // The same where applications of the instance are made.
    t.post(OF_THE_INSTANCE).token(&api[1]).json(body("sudo")).await.is(400, NOT_AVAILABLE);
    client(&t, &t.post(OF_THE_INSTANCE).token(&wide).json(body("sudo")).await);
    t.post(OF_THE_INSTANCE).token(&api[0]).json(body("sudo")).await.is(403, FORBIDDEN);
}

async fn app_022_changes_that_break_a_rule(t: TestServer) {
    let (_, token) = ada(&t).await;
    let own = made(&t, &token, "api read_user").await;
    let before = t.get(PATH).token(&token).await.body;
    let unknown = r#"{"message":{"scopes":["doesn't match configured on the server."]}}"#;
    for (body, answer) in [
        (json!({ "scopes": "" }), r#"{"message":{"scopes":["can't be blank"]}}"#),
        (json!({ "scopes": "  " }), r#"{"message":{"scopes":["can't be blank"]}}"#),
        (json!({ "scopes": "api,read_user" }), unknown),
        (json!({ "scopes": "nope" }), unknown),
        (json!({ "scopes": ["api"] }), r#"{"error":"scopes is invalid"}"#),
        (json!({ "scopes": "sudo" }), NOT_AVAILABLE),
        (json!({ "name": "" }), r#"{"message":{"name":["can't be blank"]}}"#),
        (json!({ "name": ["x"] }), r#"{"error":"name is invalid"}"#),
        (json!({ "name": "a\u{202e}b" }), r#"{"message":{"name":["can't hold control characters"]}}"#),
    ] {
        change(&t, &token, own.id, body).await.is(400, answer);
    }
    for id in ["x", "-1", "1e3", "99999999999999999999"] {
        change(&t, &token, id, json!({ "name": "x" })).await.has(404);
    }
    assert_eq!(t.get(PATH).token(&token).await.body, before);
}

async fn more_scopes_take_nothing_away(t: TestServer) {
    let (ada, token) = ada(&t).await;
    let own = made(&t, &token, "read_user").await;
    let pair = own.tokens(&ada, "read_user").await;
    change(&t, &token, own.id, json!({ "scopes": "api read_user", "name": "Harbour" })).await.has(200);
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&own.refresh(&pair.refresh).await);
    own.tokens(&ada, "api").await;
}

/// The endpoint has let her in; the operation looks again.
async fn an_owner_who_was_blocked_meanwhile_registers_nothing(t: TestServer) {
    let (ada, _) = ada(&t).await;
    let by = Grantor { user: ada.id, actor: ada.id, grantable: GrantableScopes::new(None, false) };
    let create =
        || applications::CreateApplication { owner: Some(ada.id), by: Some(by.clone()), ..crate::oauth::create("api") };
    let own = t.client_with(create()).await;
    ada.set_state(SetState::block(ada.id)).await;
    assert!(t.app.perform(create(), &By::system()).await.is_err());
    let (name, scopes) = (Some("x".to_owned()), None);
    let change = applications::ChangeOwn { id: own.id, by: by.clone(), name, scopes };
    assert!(t.app.perform(change, &By::system()).await.is_err());
    // For somebody else, and for the instance.
    let grace = t.user("grace").await;
    for owner in [Some(ada.id), None] {
        let by = Some(Grantor { user: grace.id, actor: grace.id, grantable: GrantableScopes::new(None, false) });
        let create = applications::CreateApplication { owner, by, ..crate::oauth::create("api") };
        assert!(t.app.perform(create, &By::system()).await.is_err(), "{owner:?}");
    }
}

/// Whatever is given meanwhile is either not given or ended.
async fn fewer_scopes_while_tokens_are_given(t: TestServer) {
    let (ada, token) = ada(&t).await;
    for _ in 0..5 {
        let own = made(&t, &token, "api read_user").await;
        let code = own.code(&ada, "api").await;
        let mut giving = Vec::new();
        for round in 0..6 {
            let (own, code) = (own.clone(), code.clone());
            giving.push(tokio::task::spawn_local(async move {
                if round == 0 { own.redeem(&code).await } else { enters(&own).await }
            }));
        }
        tokio::task::yield_now().await;
        change(&t, &token, own.id, json!({ "scopes": "read_user" })).await.has(200);
        for given in giving {
            let reply = given.await.expect("an answer");
            if reply.status.as_u16() == 200 {
                t.get("/oauth/token/info").bearer(&tokens(&reply).access).await.has(401);
            }
        }
    }
}

async fn by_every_kind_of_credential(t: TestServer) {
    let (ada, token) = ada(&t).await;
    let session = ada.session().await;
    t.post(PATH).session(&session).json(asked()).await.is(401, M401);
    let own = client(&t, &t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(asked()).await);
    let pair = own.tokens(&ada, "api").await;
    assert_eq!(t.get(PATH).bearer(&pair.access).await.ids(), [own.id.0]);
    // The application's token removes the application, and hears so.
    t.delete(&format!("{PATH}/{}", own.id)).bearer(&pair.access).await.is(204, "");
    t.get(PATH).bearer(&pair.access).await.is(401, M401);
    let reads = ada.token([Scope::ReadApi]).await;
    t.get(PATH).token(&reads).await.is(200, "[]");
    t.post(PATH).token(&reads).json(asked()).await.is_insufficient_scope();
    t.get(PATH).token(&ada.token([Scope::ReadUser]).await).await.is_insufficient_scope();
    // Under sudo they are those of the assumed user.
    let sudo = t.admin().await.token([Scope::Api, Scope::Sudo]).await;
    let hers = client(&t, &t.post(&format!("{PATH}?sudo=ada")).token(&sudo).json(asked()).await);
    assert_eq!(t.get(PATH).token(&token).await.ids(), [hers.id.0]);
    t.get(PATH).token(&sudo).await.is(200, "[]");
}

//! Sudo (authentication.md section 4).

use serde_json::json;
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse_domain::scope::Scope;

use crate::test_server::{M401, TestServer};

cases![
    auth_112_by_name_in_the_header,
    auth_113_by_name_in_capitals,
    auth_114_by_number_in_the_header,
    auth_115_by_parameter,
    auth_116_a_token_without_the_scope,
    auth_117_not_an_administrator,
    auth_118_an_unknown_target,
    auth_119_by_session,
    auth_120_nobody_assumes_nobody,
    auth_188_oneself_is_no_sudo,
    auth_189_an_administrators_token_without_sudo,
    auth_192_the_body_wins,
    user_036_by_somebody_else,
    user_037_unknown_user,
    user_038_without_the_scope,
    user_039_with_a_session,
    sudo_that_cannot_be_read_is_refused_on_every_endpoint,
    sudo_that_cannot_be_read_does_nothing_as_the_administrator,
    sudo_that_cannot_be_read_tells_no_more_than_any_other,
    the_trail_names_both,
];

const MUST_BE_ADMIN: &str = "Must be admin to use sudo";
const MUST_BE_TOKEN: &str = "Must be authenticated using an OAuth or personal access token to use sudo";

async fn auth_112_by_name_in_the_header(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let token = warden.token([Scope::Sudo]).await;
    t.get("/api/v4/user").token(&token).with("sudo", "ada").await.is_user(&ada);
}

async fn auth_113_by_name_in_capitals(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let token = warden.token([Scope::Sudo]).await;
    t.get("/api/v4/user").token(&token).with("sudo", "ADA").await.is_user(&ada);
}

async fn auth_114_by_number_in_the_header(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let token = warden.token([Scope::Sudo]).await;
    t.get("/api/v4/user").token(&token).with("sudo", &ada.id.to_string()).await.is_user(&ada);
}

async fn auth_115_by_parameter(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let token = warden.token([Scope::Sudo]).await;
    for target in ["ada".to_owned(), "ADA".to_owned(), ada.id.to_string()] {
        let reply = t.get(&format!("/api/v4/user?sudo={target}")).token(&token).with("sudo", "warden").await;
        reply.is_user(&ada);
    }
}

async fn auth_116_a_token_without_the_scope(t: TestServer) {
    let warden = t.admin().await;
    t.user("ada").await;
    let token = warden.token([Scope::Api]).await;
    let reply = t.get("/api/v4/user?sudo=ada").token(&token).await;
    assert_eq!(reply.is_insufficient_scope(), ["sudo"]);
}

async fn auth_117_not_an_administrator(t: TestServer) {
    let (ada, _) = (t.user("ada").await, t.user("grace").await);
    // Made while she was an administrator, say: a scope alone is not a right.
    let token = ada.token_with_any([Scope::Api, Scope::Sudo]).await;
    t.get("/api/v4/user?sudo=grace").token(&token).await.is_forbidden(MUST_BE_ADMIN);
}

async fn auth_118_an_unknown_target(t: TestServer) {
    let token = t.admin().await.token([Scope::Api, Scope::Sudo]).await;
    let body = r#"{"message":"404 User with ID or username '123' Not Found"}"#;
    t.get("/api/v4/user").token(&token).with("sudo", "123").await.is(404, body);
    let nobody = r#"{"message":"404 User with ID or username '' Not Found"}"#;
    t.get("/api/v4/user?sudo=").token(&token).await.is(404, nobody);
}

async fn auth_119_by_session(t: TestServer) {
    let session = t.admin().await.session().await;
    t.user("ada").await;
    t.get("/api/v4/user?sudo=ada").session(&session).await.is_forbidden(MUST_BE_TOKEN);
}

async fn auth_120_nobody_assumes_nobody(t: TestServer) {
    t.get("/api/v4/projects?sudo=1").await.is(401, M401);
    t.get("/api/v4/projects?sudo=1").token("unknown").await.is(401, M401);
}

async fn auth_188_oneself_is_no_sudo(t: TestServer) {
    let warden = t.admin().await;
    let token = warden.token([Scope::Sudo]).await;
    let reply = t.get("/api/v4/user").token(&token).with("sudo", &warden.id.to_string()).await;
    assert_eq!(reply.is_insufficient_scope(), ["read_user", "api", "read_api"]);
}

async fn auth_189_an_administrators_token_without_sudo(t: TestServer) {
    let warden = t.admin().await;
    let token = warden.token([Scope::Api]).await;
    assert_eq!(t.get("/api/v4/user").token(&token).await.is_user(&warden).json()["is_admin"], true);
}

async fn auth_192_the_body_wins(t: TestServer) {
    let (warden, ada, grace) = (t.admin().await, t.user("ada").await, t.user("grace").await);
    let token = warden.token([Scope::Api, Scope::Sudo]).await;
    let made = t.post(&format!("/api/v4/projects?sudo={}", ada.id)).token(&token);
    let made = made.form(&format!("name=x&sudo={}", grace.id)).await;
    assert_eq!(made.has(201).json()["creator_id"], grace.id.0);
}

async fn user_036_by_somebody_else(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get("/api/v4/user?sudo=1").token(&token).await.is_forbidden(MUST_BE_ADMIN);
}

async fn user_037_unknown_user(t: TestServer) {
    let token = t.admin().await.token([Scope::Sudo]).await;
    let body = r#"{"message":"404 User with ID or username 'x' Not Found"}"#;
    t.get("/api/v4/user?sudo=x").token(&token).await.is(404, body);
}

async fn user_038_without_the_scope(t: TestServer) {
    let token = t.admin().await.token([Scope::ReadApi]).await;
    assert_eq!(t.get("/api/v4/user?sudo=1").token(&token).await.is_insufficient_scope(), ["sudo"]);
}

async fn user_039_with_a_session(t: TestServer) {
    let session = t.admin().await.session().await;
    t.get("/api/v4/user").session(&session).with("sudo", "x").await.is_forbidden(MUST_BE_TOKEN);
}

const INVALID: &str = r#"{"error":"sudo is invalid"}"#;

async fn sudo_that_cannot_be_read_is_refused_on_every_endpoint(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    t.user("grace").await;
    let token = warden.token([Scope::Api, Scope::Sudo]).await;
    let mut checked = 0;
    for route in table().into_iter().filter(|route| route.access().is_some()) {
        let path = route.example(|kind| match kind {
            ParamType::Integer => ada.id.to_string(),
            _ => "team%2Fapp".into(),
        });
        let ask = || t.ask(route.method.clone(), &path).token(&token);
        for query in
            ["sudo[]=ada", "sudo[a]=ada", "sudo[]=", "sudo=ada&sudo=grace", "sudo[]=ada&sudo=ada", "sudo%5b%5d=x"]
        {
            t.ask(route.method.clone(), &format!("{path}?{query}")).token(&token).await.is(400, INVALID);
            // A header does not stand in for it.
            t.ask(route.method.clone(), &format!("{path}?{query}"))
                .token(&token)
                .with("sudo", "ada")
                .await
                .is(400, INVALID);
        }
        ask().with("sudo", "ada").with("sudo", "grace").await.is(400, INVALID);
        for form in ["sudo[]=ada", "sudo[a]=ada", "sudo=ada&sudo=grace", "sudo[]=ada&sudo=ada"] {
            ask().form(form).await.is(400, INVALID);
        }
        checked += 1;
    }
    assert!(checked > 15, "{checked} endpoints");
    // Said twice alike it is one name.
    t.get("/api/v4/user?sudo=ada&sudo=ada").token(&token).await.is_user(&ada);
    t.get("/api/v4/user").token(&token).with("sudo", "ada").with("sudo", "ada").await.is_user(&ada);
}

async fn sudo_that_cannot_be_read_does_nothing_as_the_administrator(t: TestServer) {
    let token = t.admin().await.token([Scope::Api, Scope::Sudo]).await;
    t.user("ada").await;
    let post = || t.post("/api/v4/projects").token(&token);
    for wrong in [json!(["ada"]), json!([]), json!({"name": "ada"}), json!({}), json!(true), json!(null)] {
        post().json(json!({"name": "x", "sudo": wrong})).await.is(400, INVALID);
    }
    for body in [r#"{"name":"x","sudo":"ada","sudo":"warden"}"#, r#"{"sudo":["ada"],"name":"x","sudo":"warden"}"#] {
        post().json(body).await.is(400, INVALID);
    }
    let part = |disposition: &str| format!("--b\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    for parts in [
        format!("{}ada\r\n", part("name=\"sudo\"; filename=\"x\"")),
        format!("{}ada\r\n", part("name=\"sudo[]\"")),
        format!("{}ada\r\n{}grace\r\n", part("name=\"sudo\""), part("name=\"sudo\"")),
    ] {
        let body = format!("{}x\r\n{parts}--b--\r\n", part("name=\"name\""));
        post().body("multipart/form-data; boundary=b", body).await.is(400, INVALID);
    }
    // The body wins over a name, but not over what cannot be read.
    t.post("/api/v4/projects?sudo[]=ada").token(&token).form("name=x&sudo=ada").await.is(400, INVALID);
    t.post("/api/v4/projects?sudo=ada").token(&token).form("name=x&sudo[]=ada").await.is(400, INVALID);
    assert_eq!(t.count("project.created").await, 0, "nothing was made in anybody's name");
    t.delete("/api/v4/personal_access_tokens/self?sudo[]=ada").token(&token).await.is(400, INVALID);
    t.get("/api/v4/user").token(&token).await.has(200);
}

async fn sudo_that_cannot_be_read_tells_no_more_than_any_other(t: TestServer) {
    let session = t.admin().await.session().await;
    for query in ["sudo[]=ada", "sudo=a&sudo=b"] {
        t.get(&format!("/api/v4/projects?{query}")).await.is(401, M401);
        t.get(&format!("/api/v4/projects?{query}")).token("unknown").await.is(401, M401);
        t.get(&format!("/api/v4/user?{query}")).session(&session).await.is(400, INVALID);
    }
}

async fn the_trail_names_both(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let made = warden.made_token([Scope::Api, Scope::Sudo]).await;
    let token = made.secret.reveal();
    t.post("/api/v4/projects?sudo=ada").token(token).json(r#"{"name":"x"}"#).await.has(201);
    let line = t.trail(1).await.remove(0);
    assert_eq!(
        (line.event.as_str(), line.actor_id, line.subject_id),
        ("project.created", Some(warden.id.0), Some(ada.id.0))
    );
    assert_eq!(line.credential, format!("personal_access_token:{}", made.token.id));
    assert_eq!(line.address.as_deref(), Some("127.0.0.1"));
}

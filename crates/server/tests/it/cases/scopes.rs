//! Scopes (authentication.md section 3).

use serde_json::json;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;

use crate::test_server::{Reply, TestServer};

cases![
    auth_038_read_user_opens_no_projects,
    auth_039_read_user_opens_the_user,
    auth_040_read_user_opens_users,
    auth_042_read_api_reads,
    auth_043_read_api_by_head,
    auth_047_write_repository_is_no_scope_of_the_api,
    auth_048_a_small_scope_is_not_nobody,
    auth_049_no_challenge_with_403,
    auth_181_read_user_opens_the_version,
    auth_183_read_repository_writes_nothing,
    auth_184_manage_runner_opens_no_list,
    auth_186_create_runner_opens_no_user,
    user_027_read_user,
    user_028_read_repository,
    rest_012_insufficient_scope,
    rest_014_read_api_writes_nothing,
    proj_025_version_with_read_user,
];

#[track_caller]
fn lists_api_and_read_api(reply: &Reply) {
    let scopes = reply.is_insufficient_scope();
    assert!(scopes.contains(&"api".into()) && scopes.contains(&"read_api".into()), "{scopes:?}");
}

async fn auth_038_read_user_opens_no_projects(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadUser]).await;
    lists_api_and_read_api(&t.get("/api/v4/projects").token(&token).await);
}

async fn auth_039_read_user_opens_the_user(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn auth_040_read_user_opens_users(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    t.get(&format!("/api/v4/users/{}", ada.id)).token(&token).await.is_user(&ada);
}

async fn auth_042_read_api_reads(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadApi]).await;
    let group = t.group("inside", Visibility::Internal).await;
    assert_eq!(t.get("/api/v4/groups").token(&token).await.ids(), [group.0]);
}

async fn auth_043_read_api_by_head(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadApi]).await;
    t.ask("HEAD".parse().expect("a method"), "/api/v4/groups").token(&token).await.is(200, "");
}

async fn auth_047_write_repository_is_no_scope_of_the_api(t: TestServer) {
    let token = t.user("ada").await.token([Scope::WriteRepository]).await;
    lists_api_and_read_api(&t.get("/api/v4/user").token(&token).await);
}

async fn auth_048_a_small_scope_is_not_nobody(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadRegistry]).await;
    lists_api_and_read_api(&t.get("/api/v4/projects").token(&token).await);
}

async fn auth_049_no_challenge_with_403(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadApi]).await;
    let reply = t.post("/api/v4/projects").token(&token).json(json!({"name": "x"})).await;
    lists_api_and_read_api(&reply);
    assert_eq!(reply.header("www-authenticate"), None);
}

async fn auth_181_read_user_opens_the_version(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadUser]).await;
    for path in ["/api/v4/version", "/api/v4/metadata"] {
        assert_eq!(t.get(path).token(&token).await.has(200).json()["enterprise"], false);
    }
}

async fn auth_183_read_repository_writes_nothing(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadRepository]).await;
    lists_api_and_read_api(&t.post("/api/v4/projects").token(&token).json(json!({"name": "x"})).await);
}

async fn auth_184_manage_runner_opens_no_list(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ManageRunner]).await;
    lists_api_and_read_api(&t.get("/api/v4/projects").token(&token).await);
}

async fn auth_186_create_runner_opens_no_user(t: TestServer) {
    let token = t.user("ada").await.token([Scope::CreateRunner]).await;
    lists_api_and_read_api(&t.get("/api/v4/user").token(&token).await);
}

async fn user_027_read_user(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    t.get("/api/v4/user").bearer(&token).await.is_user(&ada);
}

async fn user_028_read_repository(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadRepository]).await;
    lists_api_and_read_api(&t.get("/api/v4/user").token(&token).await);
}

async fn rest_012_insufficient_scope(t: TestServer) {
    let token = t.user("ada").await.token([Scope::K8sProxy]).await;
    lists_api_and_read_api(&t.get("/api/v4/groups").token(&token).await);
}

async fn rest_014_read_api_writes_nothing(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadApi]).await;
    lists_api_and_read_api(&t.post("/api/v4/projects").token(&token).json(json!({"name": "x"})).await);
}

async fn proj_025_version_with_read_user(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadUser]).await;
    let reply = t.get("/api/v4/version").token(&token).await;
    let body = reply.has(200).json();
    let keys: Vec<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["enterprise", "kas", "revision", "version"]);
    assert!(reply.body.starts_with(r#"{"version":"18.11.5","revision":"#), "{}", reply.body);
}

//! `/projects/:id/members` (rest-api.md 4.5).

use serde_json::json;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use super::NOT_FOUND;
use crate::cases::users::keys;
use crate::test_server::{M401, TestServer};

cases![
    proj_020_somebody_who_is_no_member,
    a_member_is_shown_with_the_highest_level,
    members_of_what_cannot_be_seen_cannot_be_seen,
];

const NOBODY: &str = r#"{"message":"404 Not found"}"#;

async fn proj_020_somebody_who_is_no_member(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let group = t.group("team", Visibility::Public).await;
    let project = t.project(group, "app", Visibility::Public).await;
    let token = ada.token([Scope::ReadApi]).await;
    let ask = |id: String| t.get(&format!("/api/v4/projects/{project}/members/all/{id}")).token(&token);
    ask(eve.id.to_string()).await.is(404, NOBODY);
    ask("999999".into()).await.is(404, NOBODY);
    ask("eve".into()).await.is(404, r#"{"error":"404 Not Found"}"#);
    t.member(MembershipSource::Project(project), &eve, AccessLevel::Guest).await;
    ask(eve.id.to_string()).await.has(200);
}

async fn a_member_is_shown_with_the_highest_level(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let top = t.group("top", Visibility::Public).await;
    let team = t.subgroup("team", Some(top), Visibility::Public).await;
    let project = t.project(team, "app", Visibility::Public).await;
    let elsewhere = t.group("elsewhere", Visibility::Public).await;
    t.member(MembershipSource::Group(elsewhere), &eve, AccessLevel::Owner).await;
    let token = ada.token([Scope::ReadApi]).await;
    let ask = |of: &str| t.get(&format!("/api/v4/projects/{of}/members/all/{}", eve.id)).token(&token);
    ask("top%2Fteam%2Fapp").await.is(404, NOBODY);
    for (of, level, shown) in [
        (MembershipSource::Project(project), AccessLevel::Reporter, 20),
        (MembershipSource::Group(top), AccessLevel::Maintainer, 40),
        (MembershipSource::Group(team), AccessLevel::Guest, 40),
    ] {
        t.member(of, &eve, level).await;
        for named in [project.to_string(), "top%2Fteam%2Fapp".into()] {
            let reply = ask(&named).await;
            let member = reply.has(200).json();
            assert_eq!((&member["id"], &member["access_level"]), (&json!(eve.id), &json!(shown)), "{named}");
            assert_eq!(member["expires_at"], json!(null));
        }
    }
    let expected = [
        "id",
        "username",
        "public_email",
        "name",
        "state",
        "locked",
        "avatar_url",
        "web_url",
        "access_level",
        "created_at",
        "expires_at",
    ];
    assert_eq!(keys(&ask(&project.to_string()).await), expected);
}

async fn members_of_what_cannot_be_seen_cannot_be_seen(t: TestServer) {
    let (ada, eve) = (t.user("ada").await, t.user("eve").await);
    let group = t.group("team", Visibility::Private).await;
    let project = t.project(group, "app", Visibility::Private).await;
    t.member(MembershipSource::Project(project), &eve, AccessLevel::Owner).await;
    let ask = |project: &str| t.get(&format!("/api/v4/projects/{project}/members/all/{}", eve.id));
    let named = project.to_string();
    ask(&named).await.is(401, M401);
    let token = ada.token([Scope::Api]).await;
    for unseen in [&named, "team%2Fapp", "999999", "nope%2Fnope"] {
        ask(unseen).token(&token).await.is(404, NOT_FOUND);
    }
    ask(&named).token(&ada.token([Scope::ReadUser]).await).await.is_insufficient_scope();
    ask(&named).token(&eve.token([Scope::ReadApi]).await).await.has(200);
    ask(&named).token(&t.admin().await.token([Scope::ReadApi]).await).await.has(200);
}

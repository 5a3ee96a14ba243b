//! `/groups` (rest-api.md 4.4), and who sees which.

use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use crate::test_server::TestServer;

cases![
    proj_023_an_unknown_group,
    members_see_what_is_above_and_below,
    who_is_external_sees_nothing_internal,
    a_group_by_path_or_number,
    a_list_can_be_narrowed,
];

pub mod update;

const NOT_FOUND: &str = r#"{"message":"404 Group Not Found"}"#;

async fn proj_023_an_unknown_group(t: TestServer) {
    let closed = t.group("closed", Visibility::Private).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    for id in ["999", "nowhere", "no%2Fwhere", "closed", &closed.to_string()] {
        t.get(&format!("/api/v4/groups/{id}")).await.is(404, NOT_FOUND);
        t.get(&format!("/api/v4/groups/{id}")).token(&token).await.is(404, NOT_FOUND);
    }
}

async fn members_see_what_is_above_and_below(t: TestServer) {
    let top = t.group("top", Visibility::Private).await;
    let middle = t.subgroup("middle", Some(top), Visibility::Private).await;
    let leaf = t.subgroup("leaf", Some(middle), Visibility::Private).await;
    let beside = t.subgroup("beside", Some(top), Visibility::Private).await;
    let project = t.project(leaf, "app", Visibility::Private).await;
    let (ada, grace, warden) = (t.user("ada").await, t.user("grace").await, t.admin().await);
    t.member(MembershipSource::Group(middle), &ada, AccessLevel::Guest).await;
    t.member(MembershipSource::Project(project), &grace, AccessLevel::Guest).await;
    let groups = async |token: &str| t.get("/api/v4/groups?order_by=id").token(token).await.ids();
    assert_eq!(groups(&ada.token([Scope::Api]).await).await, [top.0, middle.0, leaf.0], "the way up, and all below");
    assert_eq!(groups(&grace.token([Scope::Api]).await).await, [top.0, middle.0, leaf.0], "the way up to a project");
    assert_eq!(groups(&warden.token([Scope::Api]).await).await, [top.0, middle.0, leaf.0, beside.0]);
    let projects = async |token: &str| t.get("/api/v4/projects").token(token).await.ids();
    assert_eq!(projects(&ada.token([Scope::Api]).await).await, [project.0], "by inheritance");
    assert_eq!(projects(&grace.token([Scope::Api]).await).await, [project.0]);
    t.does(tollhouse::operations::members::Remove { of: MembershipSource::Group(middle), user: ada.id }).await;
    assert!(projects(&ada.token([Scope::Api]).await).await.is_empty(), "no longer");
}

async fn who_is_external_sees_nothing_internal(t: TestServer) {
    let inside = t.group("inside", Visibility::Internal).await;
    let project = t.project(inside, "app", Visibility::Internal).await;
    let guest = t
        .person(tollhouse::operations::users::CreateUser {
            external: true,
            ..tollhouse::operations::users::CreateUser::person("guest", "Guest")
        })
        .await;
    let (ada, token) = (t.user("ada").await.token([Scope::Api]).await, guest.token([Scope::Api]).await);
    assert_eq!(t.get("/api/v4/groups").token(&ada).await.ids(), [inside.0]);
    t.get("/api/v4/groups").token(&token).await.is(200, "[]");
    t.get(&format!("/api/v4/projects/{project}")).token(&ada).await.has(200);
    t.get(&format!("/api/v4/projects/{project}")).token(&token).await.has(404);
    t.member(MembershipSource::Project(project), &guest, AccessLevel::Guest).await;
    t.get(&format!("/api/v4/projects/{project}")).token(&token).await.has(200);
}

async fn a_group_by_path_or_number(t: TestServer) {
    let top = t.group("Top", Visibility::Public).await;
    let leaf = t.subgroup("leaf", Some(top), Visibility::Public).await;
    let project = t.project(leaf, "app", Visibility::Public).await;
    for id in [leaf.to_string(), "Top%2Fleaf".into(), "top%2fLEAF".into()] {
        let body = t.get(&format!("/api/v4/groups/{id}")).await.has(200).json();
        assert_eq!(
            (&body["id"], &body["full_path"], &body["full_name"]),
            (&leaf.0.into(), &"Top/leaf".into(), &"Top / leaf".into())
        );
        assert_eq!(body["projects"][0]["id"], project.0);
    }
    let bare = t.get("/api/v4/groups/top?with_projects=false").await.has(200).json();
    assert!(bare.get("projects").is_none());
    t.get("/api/v4/groups/top.json").await.is(404, NOT_FOUND);
}

async fn a_list_can_be_narrowed(t: TestServer) {
    let (a, b) = (t.group("alpha", Visibility::Public).await, t.group("beta", Visibility::Public).await);
    let inner = t.subgroup("inner", Some(a), Visibility::Public).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(b), &ada, AccessLevel::Owner).await;
    let token = ada.token([Scope::Api]).await;
    let list = async |query: &str| t.get(&format!("/api/v4/groups?{query}")).token(&token).await.ids();
    assert_eq!(list("").await, [a.0, b.0, inner.0]);
    assert_eq!(list("sort=desc").await, [inner.0, b.0, a.0]);
    assert_eq!(list("search=ALPHA").await, [a.0, inner.0]);
    assert_eq!(list("search=%25").await, [0; 0]);
    assert_eq!(list("owned=true").await, [b.0]);
    assert_eq!(list("min_access_level=30").await, [b.0]);
    assert_eq!(list("top_level_only=true&order_by=id").await, [a.0, b.0]);
    assert_eq!(list("all_available=false").await, [b.0]);
    assert_eq!(list("visibility=private").await, [0; 0]);
    for skip in [format!("skip_groups[]={a}&skip_groups[]={inner}"), format!("skip_groups={a},{inner}")] {
        assert_eq!(list(&skip).await, [b.0], "{skip}");
    }
    assert_eq!(list("skip_groups=").await, [a.0, b.0, inner.0]);
    t.get("/api/v4/groups?skip_groups=x").await.is(400, r#"{"error":"skip_groups is invalid"}"#);
    t.get("/api/v4/groups?sort=").await.is(400, r#"{"error":"sort does not have a valid value"}"#);
}

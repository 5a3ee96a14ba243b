//! `PUT /groups/:id` (rest-api.md 4.4).

use axum::http::Method;
use serde_json::json;
use tollhouse::error::Error;
use tollhouse::operations::groups::{CreateGroup, UpdateGroup};
use tollhouse::operations::{Operation, members};
use tollhouse::refusal::{Refusal, ResourceKind};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::By;
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use crate::test_server::{Ask, TestServer};

cases![
    auth_045_a_group_is_not_changed_with_read_api,
    an_owner_changes_a_group,
    who_may_change_a_group,
    what_is_wrong_with_a_change_is_named,
    nothing_inside_is_more_visible_than_its_group,
    a_group_that_moves_takes_everything_with_it,
    t27_a_narrowed_visibility_counts_from_the_answer_on,
    a_change_of_nothing_writes_nothing,
    of_two_changes_at_once_the_last_one_stays,
    the_right_is_checked_again_with_the_change,
    what_is_created_deep_inside_moves_too,
];

const NOT_FOUND: &str = r#"{"message":"404 Group Not Found"}"#;
const FORBIDDEN: &str = r#"{"message":"403 Forbidden"}"#;

fn put(t: &TestServer, group: impl std::fmt::Display) -> Ask {
    t.ask(Method::PUT, &format!("/api/v4/groups/{group}"))
}

/// A public group, and a token of its owner.
async fn owned(t: &TestServer) -> (NamespaceId, String) {
    let group = t.group("team", Visibility::Public).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(group), &ada, AccessLevel::Owner).await;
    (group, ada.token([Scope::Api]).await)
}

async fn auth_045_a_group_is_not_changed_with_read_api(t: TestServer) {
    let group = t.group("team", Visibility::Public).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(group), &ada, AccessLevel::Owner).await;
    let token = ada.token([Scope::ReadApi]).await;
    let reply = put(&t, group).token(&token).json(json!({ "name": "Other" })).await;
    assert_eq!(reply.is_insufficient_scope(), ["api", "read_api"]);
    let unchanged = t.get(&format!("/api/v4/groups/{group}")).await.has(200).json();
    assert_ne!(unchanged["name"], "Other");
}

async fn an_owner_changes_a_group(t: TestServer) {
    let (group, token) = owned(&t).await;
    let project = t.project(group, "app", Visibility::Public).await;
    let change = json!({ "name": "The Team", "description": "Does it", "archived": true, "lfs_enabled": false });
    let body = put(&t, group).token(&token).json(change).await.has(200).json();
    assert_eq!((&body["id"], &body["name"]), (&group.0.into(), &"The Team".into()));
    assert_eq!((&body["description"], &body["full_name"]), (&"Does it".into(), &"The Team".into()));
    assert_eq!((&body["path"], &body["visibility"]), (&"team".into(), &"public".into()));
    assert_eq!((&body["archived"], &body["lfs_enabled"]), (&false.into(), &true.into()), "what does not exist here");
    assert_eq!(body["projects"][0]["id"], project.0);
    assert_eq!(body, t.get(&format!("/api/v4/groups/{group}")).token(&token).await.has(200).json());
    assert_eq!(t.trail(1).await[0].event, "group.updated");
    // In the query and as a form too, by path, and an empty description takes it away.
    let body = put(&t, "TEAM?name=Team").token(&token).form("description=").await.has(200).json();
    assert_eq!((&body["name"], &body["description"]), (&"Team".into(), &"".into()));
    put(&t, group).token(&token).json(json!({ "description": "again" })).await.has(200);
    put(&t, group).token(&token).json(json!({ "name": null })).await.has(200);
    assert_eq!(t.get(&format!("/api/v4/groups/{group}")).await.has(200).json()["description"], "again");
    let body = put(&t, group).token(&token).json(json!({ "description": null })).await.has(200).json();
    assert_eq!((&body["name"], &body["description"]), (&"Team".into(), &"".into()), "null clears it");
}

async fn who_may_change_a_group(t: TestServer) {
    let top = t.group("top", Visibility::Public).await;
    let group = t.subgroup("team", Some(top), Visibility::Public).await;
    let closed = t.group("closed", Visibility::Private).await;
    let change = || json!({ "description": "changed" });
    put(&t, group).json(change()).await.is(401, r#"{"message":"401 Unauthorized"}"#);
    put(&t, closed).json(change()).await.is(401, r#"{"message":"401 Unauthorized"}"#);
    let stranger = t.user("stranger").await.token([Scope::Api]).await;
    put(&t, group).token(&stranger).json(change()).await.is(403, FORBIDDEN);
    for absent in [closed.to_string(), "closed".into(), "999".into(), "nowhere".into()] {
        put(&t, absent).token(&stranger).json(change()).await.is(404, NOT_FOUND);
    }
    for (number, level) in AccessLevel::ALL.into_iter().enumerate() {
        let member = t.user(&format!("member{number}")).await;
        t.member(MembershipSource::Group(top), &member, level).await;
        let reply = put(&t, group).token(&member.token([Scope::Api]).await).json(change()).await;
        assert_eq!(reply.status.as_u16(), if level == AccessLevel::Owner { 200 } else { 403 }, "{level:?}");
    }
    let warden = t.admin().await.token([Scope::Api]).await;
    put(&t, closed).token(&warden).json(change()).await.has(200);
    // A session counts with the CSRF token of a page alone.
    let owner = t.user("owner").await;
    t.member(MembershipSource::Group(closed), &owner, AccessLevel::Owner).await;
    let session = owner.session().await;
    put(&t, closed).session(&session).json(change()).await.has(401);
    put(&t, closed).session(&session).with("X-CSRF-Token", &session.csrf()).json(change()).await.has(200);
    // Who leaves may not any more, and does not see it either.
    t.member(MembershipSource::Group(closed), &t.user("second").await, AccessLevel::Owner).await;
    t.does(members::Remove { of: MembershipSource::Group(closed), user: owner.id }).await;
    put(&t, closed).token(&owner.token([Scope::Api]).await).json(change()).await.is(404, NOT_FOUND);
}

async fn what_is_wrong_with_a_change_is_named(t: TestServer) {
    let (group, token) = owned(&t).await;
    t.group("other", Visibility::Public).await;
    t.user("grace").await;
    let long = "x".repeat(256);
    for (change, field, text) in [
        (json!({ "name": "" }), "name", "can't be blank"),
        (json!({ "name": " \t" }), "name", "can't be blank"),
        (json!({ "name": long }), "name", "is too long (maximum is 255 characters)"),
        (json!({ "name": "a\u{202e}b" }), "name", "can't hold control characters"),
        (json!({ "path": "" }), "path", "can contain only letters, digits, '_', '-' and '.'"),
        (json!({ "path": "a b" }), "path", "can contain only letters, digits, '_', '-' and '.'"),
        (json!({ "path": "x.git" }), "path", "can contain only letters, digits, '_', '-' and '.'"),
        (json!({ "path": "api" }), "path", "is a reserved name"),
        (json!({ "path": "other" }), "path", "has already been taken"),
        (json!({ "path": "OTHER" }), "path", "has already been taken"),
        (json!({ "path": "grace" }), "path", "has already been taken"),
        (json!({ "description": "d".repeat(501) }), "description", "is too long (maximum is 500 characters)"),
    ] {
        let reply = put(&t, group).token(&token).json(&change).await;
        assert_eq!(reply.has(400).json(), json!({ "message": { (field): [text] } }), "{change}");
    }
    for (change, sentence) in [
        (json!({ "visibility": "secret" }), "visibility does not have a valid value"),
        (json!({ "name": ["a"] }), "name is invalid"),
        (json!({ "path": { "a": 1 } }), "path is invalid"),
    ] {
        put(&t, group).token(&token).json(change).await.is(400, &json!({ "error": sentence }).to_string());
    }
    put(&t, group).token(&token).json(json!({ "name": "a\0b" })).await.has(400);
    put(&t, group).token(&token).body("application/json", b"{\"name\":\"\xff\"}".to_vec()).await.has(400);
    put(&t, group).token(&token).body("application/json", "{\"name\":").await.has(400);
    let unchanged = t.get(&format!("/api/v4/groups/{group}")).await.has(200).json();
    assert_eq!((&unchanged["path"], &unchanged["full_path"]), (&"team".into(), &"team".into()));
}

async fn nothing_inside_is_more_visible_than_its_group(t: TestServer) {
    let (group, token) = owned(&t).await;
    let project = t.project(group, "app", Visibility::Internal).await;
    let inner = t.subgroup("inner", Some(group), Visibility::Private).await;
    let to = async |group: NamespaceId, visibility: &str| {
        put(&t, group).token(&token).json(json!({ "visibility": visibility })).await
    };
    let refused = |text: &str| json!({ "message": { "visibility_level": [text] } }).to_string();
    let projects = "private is not allowed since this group contains projects with higher visibility.";
    to(group, "private").await.is(400, &refused(projects));
    to(group, "internal").await.has(200);
    to(inner, "public").await.is(400, &refused("is not allowed in this parent group"));
    to(inner, "internal").await.has(200);
    let groups = "private is not allowed since there are sub-groups with higher visibility.";
    let both = json!({ "message": { "visibility_level": [projects, groups] } }).to_string();
    to(group, "private").await.is(400, &both);
    t.get(&format!("/api/v4/projects/{project}")).token(&token).await.has(200);
}

async fn a_group_that_moves_takes_everything_with_it(t: TestServer) {
    let (group, token) = owned(&t).await;
    let inner = t.subgroup("inner", Some(group), Visibility::Public).await;
    let deep = t.subgroup("team", Some(inner), Visibility::Public).await;
    let project = t.project(deep, "team-app", Visibility::Public).await;
    // Its path begins in the same way, and it is not inside.
    let beside = t.group("team2", Visibility::Public).await;
    let change = json!({ "path": "Crew-\u{e9}" });
    put(&t, group).token(&token).json(change).await.has(400);
    put(&t, group).token(&token).json(json!({ "path": "Crew", "name": "Großé" })).await.has(200);
    let shown = async |path: &str| t.get(path).await.has(200).json();
    let body = shown("/api/v4/groups/crew%2Finner%2Fteam").await;
    assert_eq!((&body["id"], &body["full_path"]), (&deep.0.into(), &"Crew/inner/team".into()));
    assert_eq!(body["full_name"], "Großé / Inner / Team".replace("Inner", "inner").replace("Team", "team"));
    let body = shown("/api/v4/projects/Crew%2Finner%2Fteam%2Fteam-app").await;
    assert_eq!((&body["id"], &body["path_with_namespace"]), (&project.0.into(), &"Crew/inner/team/team-app".into()));
    t.get("/api/v4/groups/team").await.is(404, NOT_FOUND);
    t.get("/api/v4/groups/team%2Finner").await.is(404, NOT_FOUND);
    t.get("/api/v4/projects/team%2Finner%2Fteam%2Fteam-app").await.has(404);
    assert_eq!(shown("/api/v4/groups/team2").await["id"], beside.0);
    // The path is free again.
    let again = t.group("team", Visibility::Public).await;
    assert_eq!(shown("/api/v4/groups/team").await["id"], again.0);
    let log = t.log(0).await;
    assert!(log.iter().any(|(_, entry)| *entry == Invalidation::Paths), "{log:?}");
}

async fn t27_a_narrowed_visibility_counts_from_the_answer_on(t: TestServer) {
    let (group, token) = owned(&t).await;
    let stranger = t.user("stranger").await.token([Scope::Api]).await;
    let path = format!("/api/v4/groups/{group}");
    let seen = async || {
        let by_stranger = t.get(&path).token(&stranger).await.status.as_u16();
        (t.get(&path).await.status.as_u16(), by_stranger, t.get(&path).token(&token).await.status.as_u16())
    };
    assert_eq!(seen().await, (200, 200, 200));
    for (visibility, expected) in
        [("internal", (404, 200, 200)), ("private", (404, 404, 200)), ("public", (200, 200, 200))]
    {
        let newest = t.log(0).await.len();
        put(&t, group).token(&token).json(json!({ "visibility": visibility })).await.has(200);
        assert_eq!(seen().await, expected, "{visibility}");
        let marked = t.log(0).await[newest..].iter().any(|(_, entry)| *entry == Invalidation::Groups);
        assert_eq!(marked, visibility != "public", "narrowing is a revocation");
    }
}

async fn a_change_of_nothing_writes_nothing(t: TestServer) {
    let (group, token) = owned(&t).await;
    let (log, events) = (t.log(0).await.len(), t.events().await.len());
    for change in [json!({}), json!({ "path": "team" }), json!({ "visibility": "public" }), json!({ "unknown": 1 })] {
        put(&t, group).token(&token).json(change).await.has(200);
    }
    assert_eq!((t.log(0).await.len(), t.events().await.len()), (log, events));
}

async fn of_two_changes_at_once_the_last_one_stays(t: TestServer) {
    let (group, token) = owned(&t).await;
    let change = async |n: usize| {
        let change = json!({ "description": n.to_string(), "path": format!("team-{n}") });
        put(&t, group).token(&token).json(change).await.has(200).json()["path"].as_str().map(str::to_owned)
    };
    let paths: Vec<_> = futures_util::future::join_all((0..8).map(change)).await;
    let end = t.get(&format!("/api/v4/groups/{group}")).await.has(200).json();
    assert!(paths.iter().any(|path| path.as_deref() == end["path"].as_str()), "{end}");
    assert_eq!(end["path"], end["full_path"]);
    assert_eq!(end["path"].as_str().and_then(|path| path.strip_prefix("team-")), end["description"].as_str());
    t.get(&format!("/api/v4/groups/{}", end["path"].as_str().expect("a path"))).await.has(200);
}

/// The right may end between the pipeline and the transaction.
async fn the_right_is_checked_again_with_the_change(t: TestServer) {
    let (group, _) = owned(&t).await;
    let closed = t.group("closed", Visibility::Private).await;
    let (ada, warden) = (t.user("grace").await, t.admin().await);
    let tried = async |group: NamespaceId, caller: UserId| {
        let (name, path, visibility) = Default::default();
        let description = Some(format!("by {caller}"));
        let change = UpdateGroup { group, caller: Some(caller), name, path, description, visibility };
        t.app.perform(change, &By::system()).await.map(drop)
    };
    assert_eq!(tried(group, ada.id).await, Err(Error::Refused(Refusal::NotAllowed)));
    assert_eq!(tried(closed, ada.id).await, Err(Error::NotFound(ResourceKind::Group)));
    t.member(MembershipSource::Group(closed), &ada, AccessLevel::Maintainer).await;
    assert_eq!(tried(closed, ada.id).await, Err(Error::Refused(Refusal::NotAllowed)));
    t.member(MembershipSource::Group(closed), &t.user("second").await, AccessLevel::Owner).await;
    t.does(members::Remove { of: MembershipSource::Group(closed), user: ada.id }).await;
    assert_eq!(tried(closed, ada.id).await, Err(Error::NotFound(ResourceKind::Group)));
    assert_eq!(tried(closed, warden.id).await, Ok(()));
    assert_eq!(tried(closed, UserId(999)).await, Err(Error::NotFound(ResourceKind::Group)));
}

/// Two transactions by hand: a group is being created two levels further down while the one above moves.
async fn what_is_created_deep_inside_moves_too(t: TestServer) {
    let (group, token) = owned(&t).await;
    let inner = t.subgroup("inner", Some(group), Visibility::Public).await;
    let mut tx = t.app.db.begin().await.expect("a transaction");
    let (name, path, visibility) = ("Deep".to_owned(), "deep".to_owned(), Visibility::Public);
    let create = CreateGroup { name, path, parent: Some(inner), visibility, owner: None };
    let created = create.run(&mut tx, t.now()).await.expect("a group");
    let mover = t.clone();
    let moving = tokio::task::spawn_local(async move {
        put(&mover, group).token(&token).json(json!({ "path": "crew", "name": "Crew" })).await.status.as_u16()
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(!moving.is_finished(), "it waits for what is being created in it");
    let _committed = tx.commit(created, &By::system(), t.now()).await.expect("a commit");
    assert_eq!(moving.await.expect("an answer"), 200);
    let deep = t.get("/api/v4/groups/crew%2Finner%2Fdeep").await.has(200).json();
    assert_eq!((&deep["full_path"], &deep["full_name"]), (&"crew/inner/deep".into(), &"Crew / inner / Deep".into()));
}

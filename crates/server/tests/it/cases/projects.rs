//! `/projects` (rest-api.md 4.2, 4.3), and who sees which.

use serde_json::json;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::{NamespaceId, ProjectId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use super::users::keys;
use crate::test_server::{M401, TestServer};

cases![
    auth_004_nobody_sees_a_public_project,
    auth_005_nobody_sees_no_private_project,
    auth_006_absent_is_the_same_to_the_byte,
    auth_007_nobody_makes_no_project,
    auth_008_broken_json_by_nobody,
    auth_148_no_member_sees_no_private_project,
    auth_193_a_parameter_comes_before_the_credential,
    proj_001_the_fields_for_nobody,
    proj_002_private_and_internal_for_nobody,
    proj_003_private_for_no_member,
    proj_004_a_member,
    proj_005_a_member_of_the_group,
    proj_006_no_member_of_a_public_one,
    proj_007_by_path,
    proj_008_a_path_with_a_bare_slash,
    proj_010_a_developer_sees_no_runners_token,
    proj_011_simple,
    proj_012_pages_by_keyset,
    proj_013_neither_name_nor_path,
    proj_014_twice,
    proj_024_version_for_nobody,
    proj_027_the_answer_to_making_one,
    proj_029_made_by_nobody,
    proj_033_what_maintainers_see,
    proj_034_a_name_without_a_slash,
    proj_035_a_suffix_belongs_to_the_id,
    rest_017_the_rules_of_a_project,
    rest_020_a_post_with_a_query_alone,
    rest_021_keyset_by_number_alone,
    where_a_project_may_be_made,
    levels_end_with_their_date,
    a_list_can_be_narrowed_and_ordered,
    a_search_finds_every_spelling,
    projects_limit_holds_for_many_at_once,
];

pub mod members;

const NOT_FOUND: &str = r#"{"message":"404 Project Not Found"}"#;

const BASIC: &[&str] = &[
    "id",
    "description",
    "name",
    "name_with_namespace",
    "path",
    "path_with_namespace",
    "created_at",
    "default_branch",
    "tag_list",
    "topics",
    "ssh_url_to_repo",
    "http_url_to_repo",
    "web_url",
    "readme_url",
    "forks_count",
    "avatar_url",
    "star_count",
    "last_activity_at",
    "visibility",
    "namespace",
];

async fn three(t: &TestServer) -> (NamespaceId, [ProjectId; 3]) {
    let team = t.group("team", Visibility::Public).await;
    let public = t.project(team, "app", Visibility::Public).await;
    let internal = t.project(team, "plan", Visibility::Internal).await;
    let private = t.project(team, "vault", Visibility::Private).await;
    (team, [public, internal, private])
}

fn path(id: ProjectId) -> String {
    format!("/api/v4/projects/{id}")
}

async fn auth_004_nobody_sees_a_public_project(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let body = t.get(&path(public)).await.has(200).json();
    assert_eq!(body["path_with_namespace"], "team/app");
    assert!(body.get("permissions").is_none());
}

async fn auth_005_nobody_sees_no_private_project(t: TestServer) {
    let (_, [.., private]) = three(&t).await;
    t.get(&path(private)).await.is(404, NOT_FOUND);
}

async fn auth_006_absent_is_the_same_to_the_byte(t: TestServer) {
    let (_, [_, internal, private]) = three(&t).await;
    let without_time = |reply: &crate::test_server::Reply| {
        let mut headers: Vec<_> =
            reply.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap_or("").to_owned())).collect();
        headers.retain(|(name, _)| !["x-request-id", "x-runtime", "x-gitlab-meta"].contains(&name.as_str()));
        (reply.status, headers, reply.body.clone())
    };
    let absent = t.get("/api/v4/projects/999999").await;
    absent.is(404, NOT_FOUND);
    for id in [internal, private] {
        assert_eq!(without_time(&t.get(&path(id)).await), without_time(&absent));
    }
}

async fn auth_007_nobody_makes_no_project(t: TestServer) {
    t.post("/api/v4/projects").json(json!({"name": "x"})).await.is(401, M401);
}

async fn auth_008_broken_json_by_nobody(t: TestServer) {
    t.post("/api/v4/projects").json(r#"{"name": "#).await.has(400);
}

async fn auth_148_no_member_sees_no_private_project(t: TestServer) {
    let (_, [.., private]) = three(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get(&path(private)).token(&token).await.is(404, NOT_FOUND);
}

async fn auth_193_a_parameter_comes_before_the_credential(t: TestServer) {
    t.get("/api/v4/projects?page=x").token("unknown").await.is(400, r#"{"error":"page is invalid"}"#);
    let body = r#"{"error":"min_access_level is invalid, min_access_level does not have a valid value"}"#;
    t.get("/api/v4/projects?min_access_level=x").token("unknown").await.is(400, body);
}

async fn proj_001_the_fields_for_nobody(t: TestServer) {
    let (team, [public, ..]) = three(&t).await;
    let reply = t.get(&path(public)).await;
    assert_eq!(keys(reply.has(200)), BASIC);
    let namespace = format!(
        r#""namespace":{{"id":{team},"name":"team","path":"team","kind":"group","full_path":"team","parent_id":null,"avatar_url":null,"web_url":"http://127.0.0.1:8080/groups/team"}}}}"#
    );
    assert!(reply.body.ends_with(&namespace), "{}", reply.body);
    let licensed = t.get(&format!("{}?license=true", path(public))).await;
    assert!(keys(licensed.has(200)).contains(&"license".to_owned()));
}

async fn proj_002_private_and_internal_for_nobody(t: TestServer) {
    let (_, [public, internal, private]) = three(&t).await;
    t.get(&path(internal)).await.is(404, NOT_FOUND);
    t.get(&path(private)).await.is(404, NOT_FOUND);
    assert_eq!(t.get("/api/v4/projects").await.ids(), [public.0]);
}

async fn proj_003_private_for_no_member(t: TestServer) {
    let (_, [public, internal, private]) = three(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get(&path(private)).token(&token).await.is(404, NOT_FOUND);
    assert_eq!(t.get("/api/v4/projects").token(&token).await.ids(), [internal.0, public.0]);
}

async fn proj_004_a_member(t: TestServer) {
    let (_, [.., private]) = three(&t).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(private), &ada, AccessLevel::Developer).await;
    let token = ada.token([Scope::Api]).await;
    let reply = t.get(&path(private)).token(&token).await;
    let body = reply.has(200).json();
    assert_eq!(body["permissions"]["project_access"], json!({"access_level": 30, "notification_level": 3}));
    assert_eq!(body["permissions"]["group_access"], json!(null));
    assert_eq!(body["visibility"], "private");
    assert_eq!(keys(&reply).last().map(String::as_str), Some("permissions"));
}

async fn proj_005_a_member_of_the_group(t: TestServer) {
    let (team, [.., private]) = three(&t).await;
    let sub = t.subgroup("sub", Some(team), Visibility::Private).await;
    let below = t.project(sub, "deep", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(team), &ada, AccessLevel::Reporter).await;
    t.member(MembershipSource::Group(sub), &ada, AccessLevel::Maintainer).await;
    let token = ada.token([Scope::Api]).await;
    let permissions = async |id| t.get(&path(id)).token(&token).await.has(200).json()["permissions"].clone();
    let level =
        |level: i64| json!({"project_access": null, "group_access": {"access_level": level, "notification_level": 3}});
    assert_eq!(permissions(private).await, level(20));
    assert_eq!(permissions(below).await, level(40), "the highest of the group and those above");
}

async fn proj_006_no_member_of_a_public_one(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let both = json!({"project_access": null, "group_access": null});
    for person in [t.user("ada").await, t.admin().await] {
        let token = person.token([Scope::ReadApi]).await;
        assert_eq!(t.get(&path(public)).token(&token).await.has(200).json()["permissions"], both);
    }
}

async fn proj_007_by_path(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let by_id = t.get(&path(public)).await;
    for id in ["team%2Fapp", "team%2fapp", "TEAM%2FApp"] {
        t.get(&format!("/api/v4/projects/{id}")).await.is(200, &by_id.body);
    }
    t.get("/api/v4/projects/team%2Fapp/").await.is(200, &by_id.body);
    t.get("/api/v4/projects/team%2Fapp?").await.is(200, &by_id.body);
}

async fn proj_008_a_path_with_a_bare_slash(t: TestServer) {
    three(&t).await;
    t.get("/api/v4/projects/team/app").await.is(404, r#"{"error":"404 Not Found"}"#);
}

async fn proj_010_a_developer_sees_no_runners_token(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(public), &ada, AccessLevel::Developer).await;
    let body = t.get(&path(public)).token(&ada.token([Scope::Api]).await).await.has(200).json();
    assert!(body.get("runners_token").is_none() && body.get("permissions").is_some());
}

async fn proj_011_simple(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let rows = t.get("/api/v4/projects?simple=true&visibility=public").token(&token).await;
    assert_eq!(rows.ids(), [public.0]);
    let mut fields: Vec<_> = rows.json()[0].as_object().expect("an object").keys().cloned().collect();
    let mut basic: Vec<String> = BASIC.iter().map(|&field| field.to_owned()).collect();
    fields.sort();
    basic.sort();
    assert_eq!(fields, basic);
}

async fn proj_013_neither_name_nor_path(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let body = r#"{"error":"name, path are missing, at least one parameter must be provided"}"#;
    for sent in ["", "{}", "[1]", "null", r#""name""#] {
        t.post("/api/v4/projects").token(&token).json(sent).await.is(400, body);
    }
    // In the order in which the parameters are declared.
    let more = r#"{"error":"name, path are missing, at least one parameter must be provided, visibility does not have a valid value"}"#;
    t.post("/api/v4/projects").token(&token).json(json!({"visibility": "x"})).await.is(400, more);
}

async fn proj_014_twice(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.post("/api/v4/projects").token(&token).json(json!({"name": "x"})).await.has(201);
    let taken = r#"{"message":{"project_namespace.name":["has already been taken"],"name":["has already been taken"],"path":["has already been taken"]}}"#;
    t.post("/api/v4/projects").token(&token).json(json!({"name": "x"})).await.is(400, taken);
    t.post("/api/v4/projects").token(&token).json(json!({"name": "y", "path": "X"})).await.is(400, taken);
}

async fn proj_024_version_for_nobody(t: TestServer) {
    t.get("/api/v4/version").await.is(401, M401);
    t.get("/api/v4/metadata").await.is(401, M401);
}

async fn proj_027_the_answer_to_making_one(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let sent = json!({"name": "My  App!", "description": "a < b", "visibility": "internal"});
    let reply = t.post("/api/v4/projects").token(&token).json(sent).await;
    let body = reply.has(201).json();
    assert!(body.get("permissions").is_none());
    assert_eq!((&body["path_with_namespace"], &body["visibility"]), (&json!("ada/my-app"), &json!("internal")));
    assert_eq!((&body["creator_id"], &body["owner"]["username"]), (&json!(ada.id), &json!("ada")));
    assert_eq!(body["description_html"], "<p>a &#60; b</p>");
    let shown = t.get(&path(ProjectId(body["id"].as_i64().expect("an id")))).token(&token).await.has(200).json();
    assert_eq!(shown["permissions"]["project_access"]["access_level"], 50);
}

async fn proj_029_made_by_nobody(t: TestServer) {
    t.post("/api/v4/projects?name=x").await.is(401, M401);
}

async fn proj_033_what_maintainers_see(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    t.member(MembershipSource::Project(public), &ada, AccessLevel::Developer).await;
    t.member(MembershipSource::Project(public), &grace, AccessLevel::Maintainer).await;
    let fields =
        ["ci_default_git_depth", "group_runners_enabled", "build_timeout", "import_url", "auto_devops_enabled"];
    let seen = async |token: &str| {
        let body = t.get(&path(public)).token(token).await.has(200).json();
        fields.map(|field| body.get(field).is_some())
    };
    assert_eq!(seen(&ada.token([Scope::Api]).await).await, [false; 5]);
    assert_eq!(seen(&grace.token([Scope::Api]).await).await, [true; 5]);
}

async fn proj_034_a_name_without_a_slash(t: TestServer) {
    three(&t).await;
    t.get("/api/v4/projects/app").await.is(404, NOT_FOUND);
}

async fn proj_035_a_suffix_belongs_to_the_id(t: TestServer) {
    let (_, [public, ..]) = three(&t).await;
    t.get(&format!("/api/v4/projects/{public}.json")).await.is(404, NOT_FOUND);
}

async fn rest_017_the_rules_of_a_project(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = |body: serde_json::Value| t.post("/api/v4/projects").token(&token).json(body);
    ask(json!({"name": " "})).await.is(
        400,
        r#"{"message":{"name":["can't be blank"],"path":["can contain only letters, digits, '_', '-' and '.'"]}}"#,
    );
    ask(json!({"name": "x", "path": "a/b"}))
        .await
        .is(400, r#"{"message":{"path":["can contain only letters, digits, '_', '-' and '.'"]}}"#);
    ask(json!({"name": "x", "namespace_id": 999})).await.is(400, r#"{"message":{"namespace":["is not valid"]}}"#);
    ask(json!({"name": "x", "visibility": "secret"}))
        .await
        .is(400, r#"{"error":"visibility does not have a valid value"}"#);
}

async fn rest_020_a_post_with_a_query_alone(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let body = t.post("/api/v4/projects?name=x&visibility=public").token(&token).await.has(201).json();
    assert_eq!((&body["path"], &body["visibility"]), (&json!("x"), &json!("public")));
}

async fn where_a_project_may_be_made(t: TestServer) {
    let (team, _) = three(&t).await;
    let (ada, grace, warden) = (t.user("ada").await, t.user("grace").await, t.admin().await);
    let personal = |body: serde_json::Value| body["namespace"]["id"].as_i64();
    let ask = async |token: &str, body: serde_json::Value| t.post("/api/v4/projects").token(token).json(body).await;
    let (a, g, w) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await, warden.token([Scope::Api]).await);
    let mine = personal(ask(&a, json!({"name": "mine"})).await.has(201).json());
    ask(&g, json!({"name": "theirs", "namespace_id": mine}))
        .await
        .is(400, r#"{"message":{"namespace":["is not valid"]}}"#);
    ask(&a, json!({"name": "team's", "path": "teams", "namespace_id": team})).await.has(400);
    t.member(MembershipSource::Group(team), &ada, AccessLevel::Reporter).await;
    ask(&a, json!({"name": "by a reporter", "namespace_id": team})).await.has(400);
    t.member(MembershipSource::Group(team), &grace, AccessLevel::Developer).await;
    ask(&g, json!({"name": "by a developer", "namespace_id": team})).await.has(201);
    ask(&w, json!({"name": "by an administrator", "namespace_id": team})).await.has(201);
    let closed = t.group("closed", Visibility::Private).await;
    let reply = ask(&w, json!({"name": "open", "namespace_id": closed, "visibility": "public"})).await;
    reply.is(400, r#"{"message":{"visibility_level":["is not allowed in this group"]}}"#);
}

async fn levels_end_with_their_date(t: TestServer) {
    let (_, [.., private]) = three(&t).await;
    let ada = t.user("ada").await;
    let expires_at = Some(t.now().date().plus_days(1));
    let add = tollhouse::operations::members::Add {
        of: MembershipSource::Project(private),
        user: ada.id,
        level: AccessLevel::Guest,
        expires_at,
    };
    t.does(add).await;
    let token = ada.token([Scope::Api]).await;
    t.get(&path(private)).token(&token).await.has(200);
    t.later(12 * 3600);
    t.get(&path(private)).token(&token).await.is(404, NOT_FOUND);
}

async fn proj_012_pages_by_keyset(t: TestServer) {
    let team = t.group("team", Visibility::Public).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        ids.push(t.project(team, name, Visibility::Public).await.0);
    }
    for (sort, name) in [("asc", "id_after"), ("desc", "id_before")] {
        let mut path = format!("/api/v4/projects?pagination=keyset&order_by=id&sort={sort}&per_page=2&simple=true");
        let mut seen = Vec::<i64>::new();
        loop {
            let reply = t.get(&path).await;
            let page = reply.has(200).ids();
            seen.extend(&page);
            for header in ["x-total", "x-total-pages", "x-page", "x-next-page", "x-prev-page", "x-per-page"] {
                assert_eq!(reply.header(header), None);
            }
            let Some(link) = reply.header("link") else { break };
            let last = page.last().expect("a project");
            let query = match name {
                "id_after" => format!("id_after={last}&membership=false&order_by=id&owned=false&pagination=keyset"),
                _ => format!("id_before={last}&membership=false&order_by=id&owned=false&pagination=keyset"),
            };
            let url = format!(
                "http://127.0.0.1:8080/api/v4/projects?{query}&per_page=2&simple=true&sort={sort}&statistics=false"
            );
            assert_eq!(link, format!("<{url}>; rel=\"next\""));
            path = url.trim_start_matches("http://127.0.0.1:8080").to_owned();
        }
        ids.sort_unstable();
        if sort == "desc" {
            ids.reverse();
        }
        assert_eq!(seen, ids);
    }
    // Without keyset they narrow the list.
    let reply = t.get(&format!("/api/v4/projects?id_after={}&id_before={}", ids[3], ids[0])).await;
    assert_eq!(reply.ids(), ids[1..3]);
    assert_eq!(reply.header("x-total"), Some("2"));
}

async fn rest_021_keyset_by_number_alone(t: TestServer) {
    let refusal = r#"{"error":"Keyset pagination is not yet available for this type of request"}"#;
    t.get("/api/v4/projects?pagination=keyset&order_by=name").await.is(405, refusal);
    t.get("/api/v4/projects?pagination=keyset").await.is(405, refusal);
    t.get("/api/v4/projects?pagination=legacy&order_by=name").await.has(200);
}

async fn a_list_can_be_narrowed_and_ordered(t: TestServer) {
    let (team, [public, internal, private]) = three(&t).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(team), &ada, AccessLevel::Developer).await;
    let token = ada.token([Scope::Api]).await;
    let own =
        t.post("/api/v4/projects").token(&token).json(json!({"name": "own"})).await.has(201).json()["id"].as_i64();
    let own = own.expect("an id");
    let list = async |query: &str| t.get(&format!("/api/v4/projects?{query}")).token(&token).await.ids();
    assert_eq!(list("order_by=name&sort=asc").await, [public.0, own, internal.0, private.0]);
    assert_eq!(list("order_by=id").await, [own, private.0, internal.0, public.0]);
    assert_eq!(list("search=PLA").await, [internal.0]);
    assert_eq!(list("search=_").await, [0; 0]);
    assert_eq!(list("owned=true").await, [own]);
    assert_eq!(list("min_access_level=40").await, [own]);
    assert_eq!(list("visibility=private&order_by=id").await, [own, private.0]);
    assert_eq!(list("archived=true").await, [0; 0]);
    let stranger = t.user("eve").await.token([Scope::Api]).await;
    assert!(t.get("/api/v4/projects?membership=true").token(&stranger).await.ids().is_empty());
}

async fn a_search_finds_every_spelling(t: TestServer) {
    let ada = t.person(tollhouse::operations::users::CreateUser::person("ada", "\u{d6}lga")).await;
    let token = ada.token([Scope::Api]).await;
    let made = t.post("/api/v4/projects").token(&token).json(json!({"name": "\u{d6}lhafen", "path": "oil"})).await;
    let id = made.has(201).json()["id"].as_i64().expect("an id");
    for text in ["%C3%96lhafen", "%C3%B6lhafen", "%C3%96LHAFEN", "lhafen", "OIL"] {
        assert_eq!(t.get(&format!("/api/v4/projects?search={text}")).token(&token).await.ids(), [id], "{text}");
    }
    assert_eq!(t.get("/api/v4/users?search=%C3%B6lga").token(&token).await.ids(), [ada.id.0]);
    let long = "_".repeat(26_000);
    for list in ["projects", "groups"] {
        let reply = t.get(&format!("/api/v4/{list}?search={long}")).await;
        reply.is(400, r#"{"error":"search is invalid"}"#);
    }
}

async fn projects_limit_holds_for_many_at_once(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.does(SetLimit { user: ada.id, limit: 3 }).await;
    let mut attempts = Vec::new();
    for i in 0..12 {
        let (t, token) = (t.clone(), token.clone());
        attempts.push(tokio::task::spawn_local(async move {
            t.post("/api/v4/projects").token(&token).json(json!({"name": format!("p{i}")})).await
        }));
    }
    let mut made = 0;
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        if reply.status.as_u16() == 201 {
            made += 1;
        } else {
            assert!(
                reply.has(403).body.starts_with(r#"{"error":["Your project limit is 3 projects!"#),
                "{}",
                reply.body
            );
        }
    }
    assert_eq!(made, 3);
}

/// There is no operation for it yet.
pub(super) struct SetLimit {
    pub(super) user: tollhouse_domain::id::UserId,
    pub(super) limit: i64,
}

impl tollhouse::operations::Operation for SetLimit {
    type Output = ();

    async fn run(
        &self,
        tx: &mut tollhouse_store::tx::Tx,
        _: tollhouse_domain::time::Timestamp,
    ) -> Result<tollhouse_store::tx::Change<()>, tollhouse::operations::Failed> {
        tollhouse_store::faults::set_projects_limit(tx, self.user, self.limit).await?;
        Ok(tollhouse_store::tx::Change::nothing(()))
    }
}

//! Every answer of the API against what its endpoint declares (`Endpoint::answer`): no key that is not declared, no
//! required key missing, in the declared order, with the declared types.
//!
//! It is above 600 lines because each endpoint has an arm here.

use std::collections::BTreeMap;

use axum::http::Method;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::json;
use tollhouse::endpoint::Endpoint;
use tollhouse::endpoint::answer::BodySchema;
use tollhouse::entity::version::Version;
use tollhouse::entity::{Field, Member, Schema, Shape, Type};
use tollhouse::operations::users::{CreateUser, SetProfile};
use tollhouse::routes::table;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::{NamespaceId, ProjectId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;
use tollhouse_domain::user::UserKind;
use tollhouse_store::users::Profile;

use crate::test_server::{Ask, Person, Reply, TestServer};

cases![
    every_answer_is_what_its_endpoint_declares,
    every_answer_of_19_1_is_what_its_endpoint_declares with "api.version = '19.1'\n",
    an_answer_without_a_required_key_is_noticed,
    an_answer_that_is_not_what_was_declared_is_noticed,
    every_entity_has_a_name_of_its_own,
];

/// Conditions that are the same in every answer of an endpoint, because they belong to an entity that other endpoints
/// share: the endpoint, the condition, whether it holds.
const SETTLED: &[(&str, &str, bool)] = &[
    ("GET /api/v4/projects", "license", false),
    ("GET /api/v4/projects", "statistics", false),
    ("POST /api/v4/projects", "license", false),
    ("POST /api/v4/projects", "statistics", false),
    ("POST /api/v4/projects", "permissions", false),
    // Whoever makes a project in a group is at least a maintainer of it.
    ("POST /api/v4/projects", "reporter", true),
    ("POST /api/v4/projects", "maintainer", true),
    ("POST /api/v4/projects", "maintainer_alone", true),
    ("GET /api/v4/projects", "maintainer_alone", false),
    ("PUT /api/v4/groups/{id}", "with_projects", true),
    // Only who administers a group may change it.
    ("PUT /api/v4/groups/{id}", "administered", true),
];

pub(super) struct Scene {
    t: TestServer,
    ada: Person,
    grace: Person,
    warden: Person,
    /// Of each of the three.
    tokens: [String; 3],
    group: NamespaceId,
    /// In the group.
    app: ProjectId,
}

impl Scene {
    /// Grace has a private profile, and Ada is a reporter in one of two public projects, and has one of her own.
    pub(super) async fn new(t: TestServer) -> Self {
        let (ada, grace, warden) = (t.user("ada").await, t.user("grace").await, t.admin().await);
        t.person(CreateUser { kind: UserKind::Bot, ..CreateUser::person("deployer", "Deployer") }).await;
        let profile = Profile { private_profile: Some(true), ..Profile::default() };
        t.does(SetProfile { user: grace.id, profile }).await;
        let group = t.group("team", Visibility::Public).await;
        t.subgroup("inner", Some(group), Visibility::Public).await;
        let app = t.project(group, "app", Visibility::Public).await;
        t.project(group, "plan", Visibility::Public).await;
        t.member(MembershipSource::Project(app), &ada, AccessLevel::Reporter).await;
        t.member(MembershipSource::Group(group), &grace, AccessLevel::Owner).await;
        t.client("api").await;
        let mut tokens = [const { String::new() }; 3];
        for (token, person) in tokens.iter_mut().zip([&ada, &grace, &warden]) {
            *token = person.token([Scope::Api]).await;
        }
        let own = json!({"name": "own", "visibility": "public", "description": "<b>"});
        t.post("/api/v4/projects").token(&tokens[0]).json(own).await.has(201);
        Self { t, ada, grace, warden, tokens, group, app }
    }

    /// Requests that this endpoint answers with success.
    pub(super) async fn asks(&self, endpoint: &str) -> Vec<Ask> {
        let Self { t, ada, grace, warden, tokens, group, app } = self;
        let [by_ada, by_grace, by_warden] = tokens.each_ref();
        // By everybody who may, beginning with an anonymous caller.
        let read = |anonymous: bool, targets: &[&str]| {
            let ask = |target: &&str| {
                let nobody = anonymous.then(|| t.get(target));
                nobody.into_iter().chain(tokens.iter().map(|token| t.get(target).token(token))).collect::<Vec<_>>()
            };
            targets.iter().flat_map(ask).collect::<Vec<_>>()
        };
        let application = async || {
            let new = json!({"name": "a", "redirect_uri": "https://a.test", "scopes": "api"});
            t.post("/api/v4/applications").token(by_warden).json(new)
        };
        let own_application = async || {
            let new = json!({"name": "a", "redirect_uri": "https://a.test", "scopes": "api"});
            t.post("/api/v4/user/applications").token(by_ada).json(new)
        };
        let own_application_id = async || own_application().await.await.has(201).json()["id"].to_string();
        let application_id = async || application().await.await.has(201).json()["id"].to_string();
        // The project or group, and the token of a user who manages its access tokens.
        let resource = |endpoint: &str| match endpoint.contains("/projects/") {
            true => ("/api/v4/projects/team%2Fapp", by_grace),
            false => ("/api/v4/groups/team", by_grace),
        };
        let resource_token = async |endpoint: &str| {
            let of = match endpoint.contains("/projects/") {
                true => MembershipSource::Project(*app),
                false => MembershipSource::Group(*group),
            };
            t.resource_token(of, AccessLevel::Guest).await
        };
        let impersonations = format!("/api/v4/users/{}/impersonation_tokens", ada.id);
        let impersonation = async || {
            let new = json!({"name": "debug", "scopes": ["read_api"]});
            t.post(&impersonations).token(by_warden).json(new)
        };
        let token_of_ada = async || {
            let made = ada.made_token([Scope::ReadUser]).await;
            format!("/api/v4/personal_access_tokens/{}", made.token.id)
        };
        let service_account = async |endpoint: &str| {
            let of = match endpoint.contains("/projects/") {
                true => MembershipSource::Project(*app),
                false => MembershipSource::Group(*group),
            };
            t.service_account(Some(of)).await
        };
        match endpoint {
            "GET /api/v4/user" => read(false, &["/api/v4/user"]),
            "GET /api/v4/users" => {
                let by_name = [t.get("/api/v4/users?username=ada"), t.get("/api/v4/users?username=grace")];
                by_name.into_iter().chain(read(false, &["/api/v4/users"])).collect()
            }
            "GET /api/v4/users/{id}" => {
                let [ada, grace, warden] = [ada, grace, warden].map(|person| format!("/api/v4/users/{}", person.id));
                read(false, &[&ada, &grace, &warden])
            }
            "POST /api/v4/users/{user_id}/personal_access_tokens" => {
                let path = format!("/api/v4/users/{}/personal_access_tokens", ada.id);
                let new = json!({"name": "ci", "scopes": ["read_api", "read_user"], "description": "d"});
                vec![t.post(&path).token(by_warden).json(new)]
            }
            "POST /api/v4/user/personal_access_tokens" => {
                let new = json!({"name": "own", "scopes": ["k8s_proxy"]});
                vec![t.post("/api/v4/user/personal_access_tokens").token(by_ada).json(new)]
            }
            "GET /api/v4/users/{user_id}/impersonation_tokens" => {
                impersonation().await.await.has(201);
                vec![t.get(&impersonations).token(by_warden)]
            }
            "POST /api/v4/users/{user_id}/impersonation_tokens" => vec![impersonation().await],
            "GET /api/v4/users/{user_id}/impersonation_tokens/{impersonation_token_id}" => {
                let id = impersonation().await.await.has(201).json()["id"].to_string();
                vec![t.get(&format!("{impersonations}/{id}")).token(by_warden)]
            }
            "DELETE /api/v4/users/{user_id}/impersonation_tokens/{impersonation_token_id}" => {
                let id = impersonation().await.await.has(201).json()["id"].to_string();
                vec![t.delete(&format!("{impersonations}/{id}")).token(by_warden)]
            }
            "GET /api/v4/projects" => read(
                true,
                &[
                    "/api/v4/projects",
                    "/api/v4/projects?simple=true",
                    "/api/v4/projects?pagination=keyset&order_by=id&per_page=1",
                ],
            ),
            "POST /api/v4/projects" => vec![
                t.post("/api/v4/projects").token(by_ada).json(json!({"name": "new"})),
                t.post("/api/v4/projects").token(by_grace).json(json!({"name": "new", "namespace_id": group})),
                t.post("/api/v4/projects").token(by_warden).json(json!({"name": "newer", "namespace_id": group})),
            ],
            "GET /api/v4/projects/{id}" => read(
                true,
                &[
                    "/api/v4/projects/team%2Fapp",
                    "/api/v4/projects/ada%2Fown",
                    "/api/v4/projects/ada%2Fown?license=true&statistics=true",
                ],
            ),
            "GET /api/v4/projects/{id}/members/all/{user_id}" => {
                let target = format!("/api/v4/projects/team%2Fapp/members/all/{}", ada.id);
                read(false, &[&target])
            }
            "GET /api/v4/groups" => read(true, &["/api/v4/groups"]),
            "GET /api/v4/groups/{id}" => {
                let target = "/api/v4/groups/team";
                read(true, &[target, "/api/v4/groups/team?with_projects=false", "/api/v4/groups/team%2Finner"])
            }
            "PUT /api/v4/groups/{id}" => {
                let change = json!({"description": "d"});
                ["/api/v4/groups/team", "/api/v4/groups/team%2Finner"]
                    .map(|target| t.ask(Method::PUT, target).token(by_grace).json(&change))
                    .into()
            }
            "GET /api/v4/version" => read(false, &["/api/v4/version"]),
            "GET /api/v4/openapi.json" => read(true, &["/api/v4/openapi.json"]),
            "GET /api/v4/metadata" => read(false, &["/api/v4/metadata"]),
            "GET /api/v4/personal_access_tokens" => read(false, &["/api/v4/personal_access_tokens"]),
            "GET /api/v4/personal_access_tokens/{id}" => {
                let target = token_of_ada().await;
                vec![t.get(&target).token(by_ada), t.get(&target).token(by_warden)]
            }
            "DELETE /api/v4/personal_access_tokens/{id}" => vec![t.delete(&token_of_ada().await).token(by_ada)],
            "POST /api/v4/personal_access_tokens/{id}/rotate" => {
                vec![t.post(&format!("{}/rotate", token_of_ada().await)).token(by_ada)]
            }
            "GET /api/v4/personal_access_tokens/self" => {
                let expiring = ada.token_until(Date::parse("2027-01-01").expect("a day")).await;
                let target = "/api/v4/personal_access_tokens/self";
                read(false, &[target]).into_iter().chain([t.get(target).token(&expiring)]).collect()
            }
            "DELETE /api/v4/personal_access_tokens/self" => {
                vec![t.delete("/api/v4/personal_access_tokens/self").token(&ada.token([Scope::Api]).await)]
            }
            "POST /api/v4/personal_access_tokens/self/rotate" => {
                vec![t.post("/api/v4/personal_access_tokens/self/rotate").token(&ada.token([Scope::Api]).await)]
            }
            "GET /api/v4/applications" => vec![t.get("/api/v4/applications").token(by_warden)],
            "POST /api/v4/applications" => vec![application().await],
            "DELETE /api/v4/applications/{id}" => {
                let target = format!("/api/v4/applications/{}", application_id().await);
                vec![t.delete(&target).token(by_warden)]
            }
            "POST /api/v4/applications/{id}/renew-secret" => {
                let target = format!("/api/v4/applications/{}/renew-secret", application_id().await);
                vec![t.post(&target).token(by_warden)]
            }
            "POST /api/v4/projects/{id}/access_tokens" | "POST /api/v4/groups/{id}/access_tokens" => {
                let (of, by) = resource(endpoint);
                let new = json!({"name": "ci", "scopes": ["read_api"], "description": "d", "access_level": 20});
                vec![t.post(&format!("{of}/access_tokens")).token(by).json(new)]
            }
            "GET /api/v4/projects/{id}/access_tokens/{token_id}"
            | "GET /api/v4/groups/{id}/access_tokens/{token_id}"
            | "DELETE /api/v4/projects/{id}/access_tokens/{token_id}"
            | "DELETE /api/v4/groups/{id}/access_tokens/{token_id}" => {
                let (of, by) = resource(endpoint);
                let target = format!("{of}/access_tokens/{}", resource_token(endpoint).await.token.id);
                let method = if endpoint.starts_with("GET") { Method::GET } else { Method::DELETE };
                vec![t.ask(method, &target).token(by)]
            }
            "POST /api/v4/projects/{id}/access_tokens/{token_id}/rotate"
            | "POST /api/v4/groups/{id}/access_tokens/{token_id}/rotate" => {
                let (of, by) = resource(endpoint);
                let id = resource_token(endpoint).await.token.id;
                vec![t.post(&format!("{of}/access_tokens/{id}/rotate")).token(by)]
            }
            "POST /api/v4/projects/{id}/access_tokens/self/rotate"
            | "POST /api/v4/groups/{id}/access_tokens/self/rotate" => {
                let made = resource_token(endpoint).await;
                let target = format!("{}/access_tokens/self/rotate", resource(endpoint).0);
                vec![t.post(&target).token(made.secret.reveal())]
            }
            "GET /api/v4/user/applications" => {
                own_application_id().await;
                vec![t.get("/api/v4/user/applications").token(by_ada)]
            }
            "POST /api/v4/user/applications" => vec![own_application().await],
            "GET /api/v4/user/applications/{id}" => {
                vec![t.get(&format!("/api/v4/user/applications/{}", own_application_id().await)).token(by_ada)]
            }
            "PUT /api/v4/user/applications/{id}" => {
                let target = format!("/api/v4/user/applications/{}", own_application_id().await);
                vec![t.ask(Method::PUT, &target).token(by_ada).json(json!({"name": "b", "scopes": "read_user"}))]
            }
            "DELETE /api/v4/user/applications/{id}" => {
                vec![t.delete(&format!("/api/v4/user/applications/{}", own_application_id().await)).token(by_ada)]
            }
            "POST /api/v4/admin/revocations" => vec![
                t.post("/api/v4/admin/revocations").token(by_warden).json(json!({"user": "ada", "dry_run": true})),
                t.post("/api/v4/admin/revocations").token(by_warden).json(json!({"name_like": "called by nobody"})),
            ],
            "GET /api/v4/service_accounts" => {
                t.service_account(None).await;
                vec![t.get("/api/v4/service_accounts").token(by_warden)]
            }
            "POST /api/v4/service_accounts" => vec![t.post("/api/v4/service_accounts").token(by_warden)],
            "GET /api/v4/projects/{id}/service_accounts" | "GET /api/v4/groups/{id}/service_accounts" => {
                service_account(endpoint).await;
                vec![t.get(&format!("{}/service_accounts", resource(endpoint).0)).token(by_grace)]
            }
            "POST /api/v4/projects/{id}/service_accounts" | "POST /api/v4/groups/{id}/service_accounts" => {
                vec![t.post(&format!("{}/service_accounts", resource(endpoint).0)).token(by_grace)]
            }
            "GET /api/v4/projects/{id}/service_accounts/{user_id}"
            | "GET /api/v4/groups/{id}/service_accounts/{user_id}"
            | "DELETE /api/v4/projects/{id}/service_accounts/{user_id}"
            | "DELETE /api/v4/groups/{id}/service_accounts/{user_id}" => {
                let account = service_account(endpoint).await.id;
                let method = if endpoint.starts_with("GET") { Method::GET } else { Method::DELETE };
                let target = format!("{}/service_accounts/{account}", resource(endpoint).0);
                vec![t.ask(method, &target).token(by_grace)]
            }
            "POST /api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens"
            | "POST /api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens" => {
                let account = service_account(endpoint).await.id;
                let target = format!("{}/service_accounts/{account}/personal_access_tokens", resource(endpoint).0);
                vec![t.post(&target).token(by_grace).json(json!({"name": "ci", "scopes": ["api"], "description": "d"}))]
            }
            "DELETE /api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}"
            | "DELETE /api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}"
            | "POST /api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}/rotate"
            | "POST /api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}/rotate" => {
                let account = service_account(endpoint).await;
                let token = account.made_token([Scope::Api]).await.token.id;
                let of = format!("{}/service_accounts/{}", resource(endpoint).0, account.id);
                let target = format!("{of}/personal_access_tokens/{token}");
                match endpoint.starts_with("POST") {
                    true => vec![t.post(&format!("{target}/rotate")).token(by_grace)],
                    false => vec![t.delete(&target).token(by_grace)],
                }
            }
            "GET /api/v4/audit_events" => ["", "?pagination=keyset&per_page=1", "?entity_type=Project"]
                .map(|query| t.get(&format!("/api/v4/audit_events{query}")).token(by_warden))
                .into(),
            "GET /api/v4/audit_events/{id}" => vec![t.get("/api/v4/audit_events/1").token(by_warden)],
            "GET /api/v4/job" => {
                let (project, user) = (*app, grace.id);
                let lifetime = std::time::Duration::from_secs(60);
                let made = t.does(tollhouse::operations::job_tokens::CreateJobToken { project, user, lifetime }).await;
                vec![t.get("/api/v4/job").with("job-token", made.secret.reveal())]
            }
            // A new endpoint has an arm of its own: nothing is left out.
            _ => panic!("{endpoint} is asked for nothing here"),
        }
    }
}

fn name(endpoint: &Endpoint) -> String {
    format!("{} {}", endpoint.method, endpoint.path)
}

/// Endpoints of the API, with what they answer.
fn answering() -> impl Iterator<Item = (String, Endpoint)> {
    table().into_iter().filter(|endpoint| endpoint.answer().is_some()).map(|endpoint| (name(&endpoint), endpoint))
}

fn schema(endpoint: &Endpoint) -> Option<&'static Schema> {
    match endpoint.answer().expect("an answer").body {
        BodySchema::Nothing | BodySchema::Document => None,
        BodySchema::One(schema) | BodySchema::All(schema) | BodySchema::Page(schema) => Some(schema),
    }
}

/// The keys of what it answers.
fn fields(endpoint: &Endpoint, version: Version) -> Vec<Field> {
    schema(endpoint).map(|schema| schema.fields(version)).unwrap_or_default()
}

async fn every_answer_of_19_1_is_what_its_endpoint_declares(t: TestServer) {
    assert_eq!(t.app.settings.api.version, Version::V19_1);
    every_answer_is_what_its_endpoint_declares(t).await;
}

async fn every_answer_is_what_its_endpoint_declares(t: TestServer) {
    let version = t.app.settings.api.version;
    let scene = Scene::new(t).await;
    let mut checked = 0;
    for (name, endpoint) in answering() {
        let mut seen = Seen::default();
        for ask in scene.asks(&name).await {
            let reply = ask.await;
            if let Err(why) = check(version, &endpoint, &reply, &mut seen) {
                panic!("{name}: {why}: {}", reply.body);
            }
            checked += 1;
        }
        for field in fields(&endpoint, version) {
            let (there, away) = seen.0.get(field.key).copied().unwrap_or_default();
            let settled = |holds: bool| {
                let is = |condition: &str| SETTLED.contains(&(name.as_str(), condition, holds));
                field.conditions.iter().any(|condition| is(condition.0))
            };
            assert_eq!(there, !settled(false), "{name}: whether {} was ever there", field.key);
            let varies = !field.conditions.is_empty() && !settled(true);
            assert_eq!(away, varies, "{name}: whether {} was ever away", field.key);
        }
    }
    assert!(checked > 60, "{checked}");
}

async fn an_answer_without_a_required_key_is_noticed(t: TestServer) {
    let scene = Scene::new(t).await;
    let mut noticed = 0;
    for (name, endpoint) in answering() {
        let mut required = fields(&endpoint, Version::default());
        required.retain(|field| field.conditions.is_empty());
        if endpoint.method != Method::GET {
            // One says enough: each of these makes something.
            required.truncate(1);
        }
        for field in required {
            let ask = scene.asks(&name).await.swap_remove(0).unchecked();
            scene.t.app.faults.leave_out(field.key);
            let reply = ask.await;
            let told = check(Version::default(), &endpoint, &reply, &mut Seen::default());
            // Nowhere else is such a key.
            scene.t.app.faults.leave_out("");
            let why = told.expect_err(&format!("{name} without {}: {}", field.key, reply.body));
            assert!(why.contains(&format!("{} is missing", field.key)), "{name}: {why}");
            noticed += 1;
        }
    }
    assert!(noticed > 150, "{noticed}");
}

async fn an_answer_that_is_not_what_was_declared_is_noticed(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let endpoint = |wanted: &str| answering().find(|(name, _)| name == wanted).expect("an endpoint").1;
    let version = endpoint("GET /api/v4/version");
    let own = endpoint("GET /api/v4/user");
    for (endpoint, what, by) in [
        (&version, r#""enterprise":false"#, r#""enterprise":null"#),
        (&version, r#""enterprise":false"#, r#""enterprise":"no""#),
        (&version, r#""enterprise":false"#, r#""enterprise":false,"more":1"#),
        (&version, r#""kas":{"enabled":false,"#, r#""kas":{"#),
        (
            &version,
            r#""externalUrl":null,"externalK8sProxyUrl":null"#,
            r#""externalK8sProxyUrl":null,"externalUrl":null"#,
        ),
        (&version, r#""externalUrl":null"#, r#""externalUrl":"http://a.test""#),
        (&own, r#""username":"ada""#, r#""username":7"#),
        (&own, r#""state":"active""#, r#""state":"lively""#),
        (&own, r#""identities":[]"#, r#""identities":[1]"#),
        (&own, r#""web_url":"http"#, r#""web_url":"/ada"#),
        (&own, "T12:00:00.000Z\"", "\""),
        (&own, r#""theme_id":3"#, r#""theme_id":3.5"#),
        (&own, r#""username":"ada""#, r#""username":"ada","username":"ada""#),
    ] {
        let mut reply = t.get(endpoint.path).token(&token).await;
        check(Version::default(), endpoint, &reply, &mut Seen::default()).expect("an answer as it is declared");
        let other = reply.body.replacen(what, by, 1);
        assert_ne!(other, reply.body, "{what}");
        reply.body = other;
        check(Version::default(), endpoint, &reply, &mut Seen::default()).expect_err(by);
    }
}

async fn every_entity_has_a_name_of_its_own(_: TestServer) {
    let mut known: BTreeMap<&str, String> = BTreeMap::new();
    let mut left: Vec<&'static Schema> = answering().filter_map(|(_, endpoint)| schema(&endpoint)).collect();
    while let Some(schema) = left.pop() {
        let text = format!("{schema:?}");
        if let Some(other) = known.get(schema.name) {
            assert_eq!(*other, text, "two entities are called {}", schema.name);
            continue;
        }
        known.insert(schema.name, text);
        left.extend(schema.members.iter().filter_map(|member| match member {
            Member::Part { schema, .. } => Some(*schema),
            Member::Key { shape, .. } => inner(shape),
        }));
    }
    assert!(known.len() > 20, "{:?}", known.keys());
}

fn inner(shape: &Shape) -> Option<&'static Schema> {
    match shape.ty {
        Type::Entity(schema) => Some(schema),
        Type::List(shape) => inner(shape),
        _ => None,
    }
}

/// Of the keys of an answer: whether each was there in one object, and away in one.
#[derive(Default)]
struct Seen(BTreeMap<&'static str, (bool, bool)>);

/// Why it is not what the endpoint declares.
fn check(version: Version, endpoint: &Endpoint, reply: &Reply, seen: &mut Seen) -> Result<(), String> {
    let declared = endpoint.answer().expect("an answer");
    if reply.status != declared.status {
        return Err(format!("{} in place of {}", reply.status, declared.status));
    }
    let (schema, list) = match declared.body {
        BodySchema::Nothing if reply.body.is_empty() => return Ok(()),
        BodySchema::Nothing => return Err("it has a body".to_owned()),
        // What is in it is held against the table by a test beside it.
        BodySchema::Document => return Ok(()),
        BodySchema::One(schema) => (schema, false),
        BodySchema::All(schema) => (schema, true),
        BodySchema::Page(schema) => {
            let headers = ["x-per-page", "link"].map(|name| reply.header(name).is_some());
            if headers == [false; 2] {
                return Err("nothing says where the rest is".to_owned());
            }
            (schema, true)
        }
    };
    if reply.header("content-type") != Some("application/json") {
        return Err("it is not called JSON".to_owned());
    }
    let body: Json = serde_json::from_str(&reply.body).map_err(|error| error.to_string())?;
    match (list, body) {
        (false, Json::Object(members)) => is_entity(version, schema, &members, "", Some(seen)),
        (true, Json::List(rows)) if rows.is_empty() => Err("the list is empty, and says nothing".to_owned()),
        (true, Json::List(rows)) => rows.iter().try_for_each(|row| match row {
            Json::Object(members) => is_entity(version, schema, members, "[]", Some(&mut *seen)),
            _ => Err("a row is no object".to_owned()),
        }),
        _ => Err("it is neither an object nor a list".to_owned()),
    }
}

/// Goes along the declared keys and those that are there at once.
fn is_entity(
    version: Version,
    schema: &Schema,
    members: &[(String, Json)],
    at: &str,
    mut seen: Option<&mut Seen>,
) -> Result<(), String> {
    let fields = schema.fields(version);
    let mut left = fields.iter();
    let mut away = |field: &Field| {
        if field.conditions.is_empty() {
            return Err(format!("{at}.{} is missing, or not in its place", field.key));
        }
        if let Some(seen) = &mut seen {
            seen.0.entry(field.key).or_default().1 = true;
        }
        Ok(())
    };
    let mut there = Vec::new();
    for (key, value) in members {
        loop {
            let field = left.next().ok_or_else(|| format!("{at}.{key} is not declared, or not in its place"))?;
            if field.key == key {
                is_shape(version, field.shape, value, &format!("{at}.{key}"))?;
                there.push(field.key);
                break;
            }
            away(field)?;
        }
    }
    left.try_for_each(away)?;
    if let Some(seen) = seen {
        there.into_iter().for_each(|key| seen.0.entry(key).or_default().0 = true);
    }
    Ok(())
}

fn is_shape(version: Version, shape: &Shape, value: &Json, at: &str) -> Result<(), String> {
    let fits = match (&shape.ty, value) {
        (_, Json::Null) => shape.nullable || matches!(shape.ty, Type::Null),
        (Type::Integer, Json::Integer(_)) | (Type::Boolean, Json::Boolean(_)) | (Type::Text, Json::Text(_)) => true,
        (Type::Url, Json::Text(text)) => text.starts_with("http://") || text.starts_with("https://"),
        (Type::Date, Json::Text(text)) => Date::parse(text).is_some(),
        (Type::DateTime, Json::Text(text)) => is_date_time(text),
        (Type::Word(words), Json::Text(text)) => words.contains(&text.as_str()),
        (Type::Number(numbers), Json::Integer(number)) => numbers.contains(number),
        (Type::Empty, Json::List(values)) => values.is_empty(),
        (Type::List(inner), Json::List(values)) => {
            return values.iter().try_for_each(|value| is_shape(version, inner, value, &format!("{at}[]")));
        }
        (Type::Entity(schema), Json::Object(members)) => return is_entity(version, schema, members, at, None),
        _ => false,
    };
    if fits { Ok(()) } else { Err(format!("{at} is {value:?} in place of {:?}", shape.ty)) }
}

/// `2026-01-31T10:20:30.123Z`
pub fn is_date_time(text: &str) -> bool {
    let Some((day, time)) = text.split_once('T') else { return false };
    let like = |(byte, pattern): (u8, u8)| if pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
    Date::parse(day).is_some() && time.len() == 13 && time.bytes().zip(*b"00:00:00.000Z").all(like)
}

/// A value of JSON whose objects keep the order of their keys, and keys that come twice.
#[derive(Debug)]
pub enum Json {
    Null,
    Boolean(bool),
    Integer(i64),
    Fraction,
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Json;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("JSON")
            }
            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Null)
            }
            fn visit_bool<E>(self, truth: bool) -> Result<Json, E> {
                Ok(Json::Boolean(truth))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
                Ok(Json::Integer(number))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
                Ok(i64::try_from(number).map_or(Json::Fraction, Json::Integer))
            }
            fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
                Ok(Json::Fraction)
            }
            fn visit_str<E>(self, text: &str) -> Result<Json, E> {
                Ok(Json::Text(text.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(value) = values.next_element()? {
                    all.push(value);
                }
                Ok(Json::List(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(member) = members.next_entry()? {
                    all.push(member);
                }
                Ok(Json::Object(all))
            }
        }
        from.deserialize_any(Any)
    }
}

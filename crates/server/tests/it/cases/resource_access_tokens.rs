//! `/projects/:id/access_tokens` and `/groups/:id/access_tokens` (rest-api.md 2.10).
//!
//! It is above 600 lines because each case runs for projects and for groups by the same helpers.

use serde_json::{Value, json};
use tollhouse::error::Error;
use tollhouse::operations::members;
use tollhouse::operations::resource_access_tokens::{CreateResourceToken, RotateResourceToken};
use tollhouse::operations::tokens::Asker;
use tollhouse::operations::users::{CreateUser, SetProfile};
use tollhouse::refusal::{FieldFault, Refusal, ResourceKind};
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::token::latest_expiry;
use tollhouse_domain::user::UserKind;
use tollhouse_store::users::Profile;

use crate::test_server::{Ask, M401, Person, REVOKED, TestServer};

cases![
    pat_052_a_bot_rotates_its_own_token,
    pat_058_a_token_of_another_resource_is_absent,
    pat_059_a_revoked_token_takes_its_bot_along,
    pat_060_who_may_not_revoke_is_told_so,
    pat_061_a_token_is_created_with_all_parameters,
    pat_062_the_level_is_that_of_a_maintainer_unless_another_is_asked_for,
    pat_063_a_token_without_a_name,
    pat_064_a_token_without_scopes,
    pat_065_a_token_with_an_unknown_scope,
    pat_066_a_token_without_access,
    pat_067_who_may_not_create_a_token,
    pat_068_a_bot_creates_no_token,
    pat_069_a_resource_that_the_caller_does_not_see,
    pat_070_a_level_above_ones_own,
    pat_071_a_token_is_rotated,
    pat_072_who_may_not_rotate_a_token,
    pat_073_an_unknown_token_is_not_rotated,
    pat_074_how_a_bot_is_called,
    pat_098_a_token_without_an_expiry_has_the_latest,
    a_token_that_is_asked_for_badly_is_not_created,
    no_scope_beyond_those_of_the_caller,
    a_rotation_gives_nobody_more_than_they_have,
    a_bot_that_is_a_member_elsewhere_belongs_where_it_was_created,
    a_bot_goes_with_its_last_token_alone,
    the_right_is_checked_again_with_the_change,
    t27_the_rights_of_a_token_end_with_those_of_its_bot,
];

/// A group or project, private, with an owner, a maintainer and a developer.
struct Resource {
    source: MembershipSource,
    kind: &'static str,
    path: String,
    owner: Person,
    able: String,
    maintainer: Person,
    developer: Person,
    unable: String,
}

impl Resource {
    /// A project and a group. Of the project a maintainer may manage the tokens, of the group an owner.
    async fn both(t: &TestServer) -> [Self; 2] {
        let mut both = Vec::new();
        for (at, kind) in ["project", "group"].into_iter().enumerate() {
            let top = t.group(&format!("top{at}"), Visibility::Private).await;
            let (source, path) = match kind {
                "group" => (MembershipSource::Group(top), format!("/api/v4/groups/{top}/access_tokens")),
                _ => {
                    let id = t.project(top, "app", Visibility::Private).await;
                    (MembershipSource::Project(id), format!("/api/v4/projects/{id}/access_tokens"))
                }
            };
            let member = async |name: &str, level| {
                let person = t.user(&format!("{name}{at}")).await;
                t.member(source, &person, level).await;
                person
            };
            let owner = member("owner", AccessLevel::Owner).await;
            let maintainer = member("maintainer", AccessLevel::Maintainer).await;
            let developer = member("developer", AccessLevel::Developer).await;
            let [owners, maintainers, developers] =
                [&owner, &maintainer, &developer].map(|one| one.token([Scope::Api]));
            let (owners, maintainers, developers) = (owners.await, maintainers.await, developers.await);
            let (able, unable) = if kind == "project" { (maintainers, developers) } else { (owners, maintainers) };
            both.push(Self { source, kind, path, owner, able, maintainer, developer, unable });
        }
        both.try_into().unwrap_or_else(|_| unreachable!("two"))
    }

    fn create(&self, t: &TestServer, token: &str, body: &Value) -> Ask {
        t.post(&self.path).token(token).json(body)
    }

    /// One with `api` at this level.
    async fn made(&self, t: &TestServer, level: AccessLevel) -> Value {
        let body = json!({ "name": "ci", "scopes": ["api"], "access_level": level as i64 });
        self.create(t, &self.able, &body).await.has(201).json()
    }

    fn one(&self, made: &Value) -> String {
        format!("{}/{}", self.path, made["id"])
    }

    fn rotate(&self, t: &TestServer, made: &Value, token: &str) -> Ask {
        t.post(&format!("{}/rotate", self.one(made))).token(token)
    }

    /// What is protected: the group or project itself.
    fn itself(&self) -> &str {
        self.path.trim_end_matches("/access_tokens")
    }
}

fn secret(made: &Value) -> &str {
    made["token"].as_str().expect("a secret")
}

fn bad_request(text: &str) -> String {
    json!({ "message": format!("400 Bad request - {text}") }).to_string()
}

fn absent(kind: &str) -> String {
    json!({ "message": format!("404 {kind} Access Token Not Found") }).to_string()
}

async fn pat_052_a_bot_rotates_its_own_token(t: TestServer) {
    for resource in Resource::both(&t).await {
        let body = json!({ "name": "ci", "scopes": ["self_rotate"], "access_level": 20 });
        let made = resource.create(&t, &resource.able, &body).await.has(201).json();
        let path = format!("{}/self/rotate", resource.path);
        let next = t.post(&path).token(secret(&made)).await.has(200).json();
        assert_eq!((&next["user_id"], &next["access_level"]), (&made["user_id"], &json!(20)));
        assert_eq!((&next["resource_type"], &next["resource_id"]), (&made["resource_type"], &made["resource_id"]));
        assert_ne!(next["id"], made["id"]);
        assert_eq!(next["expires_at"], t.now().date().plus_days(7).to_string());
        t.get("/api/v4/personal_access_tokens/self").token(secret(&made)).await.is(401, REVOKED);
        t.get("/api/v4/personal_access_tokens/self").token(secret(&next)).await.has(200);
        // A token of anybody else, a session, and a resource that the caller does not see.
        t.post(&path).token(&resource.able).await.is(401, M401);
        let session = resource.owner.session().await;
        let by_session = t.post(&path).session(&session).with("x-csrf-token", &session.csrf()).await;
        by_session.is(405, r#"{"message":"405 Method Not Allowed"}"#);
        let other = t.group(&format!("{}-other", resource.kind), Visibility::Private).await;
        t.post(&format!("/api/v4/groups/{other}/access_tokens/self/rotate")).token(secret(&next)).await.has(404);
        let open = t.group(&format!("{}-open", resource.kind), Visibility::Public).await;
        t.post(&format!("/api/v4/groups/{open}/access_tokens/self/rotate")).token(secret(&next)).await.is(401, M401);
        let body = json!({ "name": "ci", "scopes": ["read_api"] });
        let reads = resource.create(&t, &resource.able, &body).await.has(201).json();
        t.post(&path).token(secret(&reads)).await.is_insufficient_scope();
    }
}

async fn pat_058_a_token_of_another_resource_is_absent(t: TestServer) {
    let [one, other] = Resource::both(&t).await;
    let warden = t.admin().await.token([Scope::Api]).await;
    for (here, there) in [(&one, &other), (&other, &one)] {
        let made = there.made(&t, AccessLevel::Guest).await;
        let own = here.made(&t, AccessLevel::Guest).await;
        let shown = t.get(&here.one(&own)).token(&here.able).await.has(200).json();
        let mut without = own.clone();
        without.as_object_mut().expect("an object").remove("token");
        assert_eq!(shown, without);
        for (token, status) in [(&here.able, 404), (&warden, 404), (&here.unable, 401)] {
            let target = format!("{}/{}", here.path, made["id"]);
            t.get(&target).token(token).await.has(status);
        }
        let personal = here.owner.made_token([Scope::Api]).await.token.id;
        for id in [made["id"].to_string(), personal.to_string(), "999999".into()] {
            let target = format!("{}/{id}", here.path);
            t.get(&target).token(&here.able).await.is(404, &absent(here.kind));
            t.delete(&target).token(&here.able).await.is(404, &absent(here.kind));
        }
    }
}

async fn pat_059_a_revoked_token_takes_its_bot_along(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        t.get(resource.itself()).token(secret(&made)).await.has(200);
        t.delete(&resource.one(&made)).token(&resource.able).await.is(204, "");
        t.get(resource.itself()).token(secret(&made)).await.is(401, REVOKED);
        let bot = UserId(made["user_id"].as_i64().expect("a number"));
        let shown = t.get(&format!("/api/v4/users/{bot}")).token(&resource.able).await.has(200).json();
        assert_eq!(shown["state"], "blocked");
        let mut reader = t.app.db.read().await.expect("a reader");
        let member = tollhouse_store::members::find(&mut reader, resource.source, bot).await.expect("an answer");
        assert!(member.is_none());
        // The same again is about a token that is not there.
        t.delete(&resource.one(&made)).token(&resource.able).await.is(404, &absent(resource.kind));
        assert_eq!(t.count("user.removed").await, 1 + usize::from(resource.kind == "group"));
    }
}

async fn pat_060_who_may_not_revoke_is_told_so(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        let (user, name) = match resource.kind {
            "project" => (&resource.developer, "Developer"),
            _ => (&resource.maintainer, "Maintainer"),
        };
        t.does(SetProfile { user: user.id, profile: Profile { name: Some(name.into()), ..Profile::default() } }).await;
        let refused = bad_request(&format!("{name} cannot delete ci"));
        t.delete(&resource.one(&made)).token(&resource.unable).await.is(400, &refused);
        t.get(resource.itself()).token(secret(&made)).await.has(200);
        let stranger = t.user(&format!("stranger-{}", resource.kind)).await.token([Scope::Api]).await;
        t.delete(&resource.one(&made)).token(&stranger).await.has(404);
        t.delete(&resource.one(&made)).await.is(401, M401);
    }
}

async fn pat_061_a_token_is_created_with_all_parameters(t: TestServer) {
    for resource in Resource::both(&t).await {
        let day = t.now().date().plus_days(30).to_string();
        let body = json!({
            "name": "ci", "description": "for the build", "scopes": ["read_api", "read_repository"],
            "access_level": 20, "expires_at": day,
        });
        let reply = resource.create(&t, &resource.able, &body).await;
        let made = reply.has(201).json();
        for (key, value) in body.as_object().expect("an object") {
            assert_eq!(made[key], *value, "{key}");
        }
        assert_eq!(
            (&made["resource_type"], &made["resource_id"]),
            (&json!(resource.kind), &resource.source.number().into())
        );
        assert_eq!((&made["active"], &made["revoked"]), (&json!(true), &json!(false)));
        assert!(reply.body.ends_with(&format!(r#","token":"{}"}}"#, secret(&made))), "{}", reply.body);
        t.get(resource.itself()).token(secret(&made)).await.has(200);
        for event in ["token.created", "user.created", "member.added"] {
            assert!(t.trail(3).await.iter().any(|row| row.event == event), "{event}");
        }
    }
}

async fn pat_062_the_level_is_that_of_a_maintainer_unless_another_is_asked_for(t: TestServer) {
    for resource in Resource::both(&t).await {
        for body in [
            json!({ "name": "ci", "scopes": ["api"] }),
            json!({ "name": "ci", "scopes": ["api"], "access_level": null }),
            json!({ "name": "ci", "scopes": ["api"], "access_level": "" }),
        ] {
            assert_eq!(resource.create(&t, &resource.able, &body).await.has(201).json()["access_level"], 40);
        }
        for level in [10, 15, 20, 25, 30, 40] {
            let body = json!({ "name": "ci", "scopes": ["api"], "access_level": level });
            assert_eq!(resource.create(&t, &resource.able, &body).await.has(201).json()["access_level"], level);
        }
    }
}

/// Refused for a parameter, as GitLab's framework says it.
async fn refused_parameters(t: &TestServer, body: Value, sentence: &str) {
    for resource in Resource::both(t).await {
        let refused = json!({ "error": sentence }).to_string();
        resource.create(t, &resource.able, &body).await.is(400, &refused);
        // Whoever may not create one is told so first.
        resource.create(t, &resource.unable, &body).await.is(400, &refused);
        resource.create(t, "glpat-unknown", &body).await.is(401, M401);
    }
}

async fn pat_063_a_token_without_a_name(t: TestServer) {
    refused_parameters(&t, json!({ "scopes": ["api"] }), "name is missing").await;
}

async fn pat_064_a_token_without_scopes(t: TestServer) {
    let sentence = "scopes is missing, scopes does not have a valid value";
    refused_parameters(&t, json!({ "name": "ci" }), sentence).await;
}

async fn pat_065_a_token_with_an_unknown_scope(t: TestServer) {
    let sentence = "scopes does not have a valid value";
    refused_parameters(&t, json!({ "name": "ci", "scopes": ["test"] }), sentence).await;
}

async fn pat_066_a_token_without_access(t: TestServer) {
    let sentence = "access_level does not have a valid value";
    refused_parameters(&t, json!({ "name": "ci", "scopes": ["api"], "access_level": 0 }), sentence).await;
}

async fn pat_067_who_may_not_create_a_token(t: TestServer) {
    let body = json!({ "name": "ci", "scopes": ["api"], "access_level": 10 });
    for resource in Resource::both(&t).await {
        let refused = bad_request(&format!("User does not have permission to create {} access token", resource.kind));
        resource.create(&t, &resource.unable, &body).await.is(400, &refused);
        t.post(&resource.path).json(&body).await.is(401, M401);
        let session = resource.owner.session().await;
        t.post(&resource.path).session(&session).json(&body).await.has(401);
        let by_session = t.post(&resource.path).session(&session).with("x-csrf-token", &session.csrf()).json(&body);
        by_session.await.has(201);
        let reads = resource.owner.token([Scope::ReadApi]).await;
        resource.create(&t, &reads, &body).await.is_insufficient_scope();
    }
}

async fn pat_068_a_bot_creates_no_token(t: TestServer) {
    for resource in Resource::both(&t).await {
        let owners = resource.owner.token([Scope::Api]).await;
        let body = json!({ "name": "ci", "scopes": ["api"], "access_level": 50 });
        let made = resource.create(&t, &owners, &body).await.has(201).json();
        let refused = bad_request(&format!("User does not have permission to create {} access token", resource.kind));
        let body = json!({ "name": "ci", "scopes": ["api"], "access_level": 10 });
        resource.create(&t, secret(&made), &body).await.is(400, &refused);
        // Nor does a bot that belongs to nothing.
        let bot = CreateUser { kind: UserKind::Bot, ..CreateUser::person(&format!("bot-{}", resource.kind), "Bot") };
        let bot = t.person(bot).await;
        t.member(resource.source, &bot, AccessLevel::Owner).await;
        resource.create(&t, &bot.token([Scope::Api]).await, &body).await.is(400, &refused);
    }
}

async fn pat_069_a_resource_that_the_caller_does_not_see(t: TestServer) {
    let stranger = t.user("stranger").await.token([Scope::Api]).await;
    let body = json!({ "name": "ci", "scopes": ["api"] });
    for resource in Resource::both(&t).await {
        let name = if resource.kind == "project" { "Project" } else { "Group" };
        let not_found = json!({ "message": format!("404 {name} Not Found") }).to_string();
        resource.create(&t, &stranger, &body).await.is(404, &not_found);
        let absent = format!("/api/v4/{}s/999999/access_tokens", resource.kind);
        t.post(&absent).token(&stranger).json(&body).await.is(404, &not_found);
        t.delete(&format!("{absent}/1")).token(&stranger).await.is(404, &not_found);
        t.get(&format!("{absent}/1")).token(&stranger).await.is(404, &not_found);
    }
}

async fn pat_070_a_level_above_ones_own(t: TestServer) {
    let [project, group] = Resource::both(&t).await;
    let body = json!({ "name": "ci", "scopes": ["api"], "access_level": 50 });
    let refused = bad_request("Access level of the token contains permissions not held by the creating user");
    project.create(&t, &project.able, &body).await.is(400, &refused);
    let warden = t.admin().await.token([Scope::Api]).await;
    for (resource, token) in [(&group, &group.able), (&group, &warden), (&project, &warden)] {
        assert_eq!(resource.create(&t, token, &body).await.has(201).json()["access_level"], 50);
    }
}

async fn pat_071_a_token_is_rotated(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Reporter).await;
        let next = resource.rotate(&t, &made, &resource.able).await.has(200).json();
        assert_eq!(next["expires_at"], t.now().date().plus_days(7).to_string());
        for key in ["user_id", "name", "scopes", "access_level", "resource_type", "resource_id"] {
            assert_eq!(next[key], made[key], "{key}");
        }
        t.get(resource.itself()).token(secret(&made)).await.is(401, REVOKED);
        t.get(resource.itself()).token(secret(&next)).await.has(200);
        // The old one cannot be rotated again, and revoking it leaves the new one alone.
        resource.rotate(&t, &made, &resource.able).await.is(400, &bad_request("Token already revoked"));
        t.delete(&resource.one(&made)).token(&resource.able).await.is(204, "");
        t.get(resource.itself()).token(secret(&next)).await.has(200);
        let day = t.now().date().plus_days(3).to_string();
        let later = resource.rotate(&t, &next, &resource.able).json(json!({ "expires_at": day })).await;
        assert_eq!(later.has(200).json()["expires_at"], day);
        let today = t.now().date().to_string();
        let bad = resource.rotate(&t, &later.json(), &resource.able).json(json!({ "expires_at": today })).await;
        bad.is(400, &bad_request("Expires at must be after today"));
    }
}

async fn pat_072_who_may_not_rotate_a_token(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Reporter).await;
        resource.rotate(&t, &made, &resource.unable).await.is(401, M401);
        t.get(&resource.one(&made)).token(&resource.unable).await.is(401, M401);
        t.get(resource.itself()).token(secret(&made)).await.has(200);
    }
}

async fn pat_073_an_unknown_token_is_not_rotated(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    for resource in Resource::both(&t).await {
        let path = format!("{}/999999/rotate", resource.path);
        t.post(&path).token(&resource.unable).await.is(401, M401);
        t.post(&path).token(&resource.able).await.is(401, M401);
        t.post(&path).token(&warden).await.is(404, &absent(resource.kind));
    }
}

async fn pat_074_how_a_bot_is_called(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        let bot = t.get("/api/v4/user").token(secret(&made)).await.has(200).json();
        assert_eq!((&bot["id"], &bot["bot"], &bot["name"]), (&made["user_id"], &json!(true), &json!("ci")));
        let username = bot["username"].as_str().expect("a name");
        let start = format!("{}_{}_bot_", resource.kind, resource.source.number());
        let hex = username.strip_prefix(&start).expect("its beginning");
        assert!(hex.len() == 32 && hex.bytes().all(|b| b.is_ascii_hexdigit()), "{username}");
        assert_eq!(bot["email"], format!("{username}@noreply.{}", t.app.urls.ssh_host()));
        assert!(bot["confirmed_at"].is_string());
        let shown = t.get(&format!("/api/v4/users/{}", made["user_id"])).token(&warden).await.has(200).json();
        assert_eq!((&shown["external"], &shown["namespace_id"]), (&json!(false), &Value::Null));
        assert!(shown["created_by"]["id"].is_number());
        // A bot of somebody from outside is from outside too, and creates nothing of its own.
        let outside = CreateUser { external: true, ..CreateUser::person(&format!("outside-{}", resource.kind), "Out") };
        let outside = t.person(outside).await;
        t.member(resource.source, &outside, AccessLevel::Owner).await;
        let body = json!({ "name": "ci", "scopes": ["api"] });
        let made = resource.create(&t, &outside.token([Scope::Api]).await, &body).await.has(201).json();
        assert_eq!(t.get("/api/v4/user").token(secret(&made)).await.has(200).json()["external"], true);
        t.post("/api/v4/projects").token(secret(&made)).json(json!({ "name": "own" })).await.has(400);
    }
}

async fn pat_098_a_token_without_an_expiry_has_the_latest(t: TestServer) {
    let latest = latest_expiry(t.now());
    for resource in Resource::both(&t).await {
        for body in [
            json!({ "name": "ci", "scopes": ["api"] }),
            json!({ "name": "ci", "scopes": ["api"], "expires_at": null }),
            json!({ "name": "ci", "scopes": ["api"], "expires_at": "" }),
        ] {
            let made = resource.create(&t, &resource.able, &body).await.has(201).json();
            assert_eq!(made["expires_at"], latest.to_string(), "{body}");
        }
    }
}

async fn a_token_that_is_asked_for_badly_is_not_created(t: TestServer) {
    let long = "x".repeat(256);
    let invalid = |name: &str| json!({ "error": format!("{name} is invalid") }).to_string();
    let scopes = json!({ "error": "scopes does not have a valid value" }).to_string();
    let with = |key: &str, value: Value| {
        let mut body = json!({ "name": "ci", "scopes": ["api"] });
        body[key] = value;
        body
    };
    let today = t.now().date();
    for resource in Resource::both(&t).await {
        let (rows, events) = (t.get("/api/v4/users").token(&resource.able).await.ids().len(), t.events().await.len());
        for (body, refusal) in [
            (with("name", json!(" ")), bad_request("Name can't be blank")),
            (with("name", json!(&long)), bad_request("Name is too long (maximum is 255 characters)")),
            (with("description", json!(&long)), bad_request("Description is too long (maximum is 255 characters)")),
            (with("scopes", json!([])), bad_request("Scopes can't be blank")),
            (with("scopes", json!("")), bad_request("Scopes can't be blank")),
            (with("scopes", json!("nope")), scopes.clone()),
            (with("scopes", json!(["sudo"])), scopes.clone()),
            (with("scopes", json!(["read_user"])), scopes.clone()),
            (with("scopes", json!("api,openid")), scopes.clone()),
            (with("expires_at", json!(today.to_string())), bad_request("Expires at must be after today")),
            (
                with("expires_at", json!(latest_expiry(t.now()).plus_days(1).to_string())),
                bad_request(&format!("Expires at must be before {}", latest_expiry(t.now()))),
            ),
            (with("expires_at", json!("2027-02-29")), invalid("expires_at")),
            (with("expires_at", json!("10000-01-01")), invalid("expires_at")),
            (
                with("access_level", json!(60)),
                json!({ "error": "access_level does not have a valid value" }).to_string(),
            ),
        ] {
            let reply = resource.create(&t, &resource.able, &body).await;
            assert_eq!((reply.status.as_u16(), &*reply.body), (400, &*refusal), "{body}");
        }
        let now = t.get("/api/v4/users").token(&resource.able).await.ids().len();
        assert_eq!((now, t.events().await.len()), (rows, events), "nothing is left of them");
        for given in [json!("api,read_api"), json!(["api,read_api"]), json!(["api", "read_api", "api"])] {
            let made = resource.create(&t, &resource.able, &with("scopes", given)).await.has(201).json();
            assert_eq!(made["scopes"], json!(["api", "read_api"]));
        }
    }
}

/// Who shows this token, whatever it may be used for.
async fn identity(t: &TestServer, token: &str) -> Identity {
    let (parts, ()) =
        axum::http::Request::get("/").header("private-token", token).body(()).expect("a request").into_parts();
    let requirement = AccessRequirement { any_scope: true, ..AccessRequirement::PLAIN };
    let who = t.app.authenticate(&PresentedCredentials::in_head(&parts, None), &requirement).await;
    who.expect("a live token").expect("somebody")
}

/// `api` opens whatever the other scopes do. A caller with less does not reach the endpoint, and the operation asks again.
async fn no_scope_beyond_those_of_the_caller(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        for (held, asked, allowed) in [
            (Scope::Api, Scope::Api, true),
            (Scope::Api, Scope::ReadRepository, true),
            (Scope::ReadApi, Scope::ReadApi, true),
            (Scope::ReadApi, Scope::Api, false),
            (Scope::CreateRunner, Scope::ReadApi, false),
        ] {
            let who = identity(&t, &resource.owner.token([held]).await).await;
            let operation = CreateResourceToken { scopes: Scopes::from([asked]), ..plain(&t, resource.source, &who) };
            let created = t.app.perform(operation, &By::system()).await.map(drop);
            let refused = Refusal::field("scopes", FieldFault::ScopesNotAvailable).into();
            assert_eq!(created, if allowed { Ok(()) } else { Err(refused) }, "{held} {asked}");
            let token = resource.owner.token([held]).await;
            let status = if held == Scope::Api { 201 } else { 403 };
            let body = json!({ "name": "ci", "scopes": [asked.as_str()] });
            resource.create(&t, &token, &body).await.has(status);
        }
        let caller = t.app.asker(&identity(&t, &resource.owner.token([Scope::ReadApi]).await).await);
        let (id, expires_at) = (PersonalAccessTokenId(made["id"].as_i64().expect("a number")), None);
        let rotate = RotateResourceToken { resource: resource.source, id, caller, expires_at, require_expiry: true };
        let rotated = t.app.perform(rotate, &By::system()).await.map(drop);
        assert_eq!(rotated, Err(Refusal::NotEligible.into()));
        // Under sudo no scope of the administrator's token but `sudo` is asked for, as everywhere.
        let sudo = t.admin_named(&format!("warden-{}", resource.kind)).await.token([Scope::Api, Scope::Sudo]).await;
        let body = json!({ "name": "ci", "scopes": ["api"] });
        resource.create(&t, &sudo, &body).with("sudo", &resource.owner.name).await.has(201);
    }
}

async fn a_rotation_gives_nobody_more_than_they_have(t: TestServer) {
    let [project, _] = Resource::both(&t).await;
    let owners = project.owner.token([Scope::Api]).await;
    let body = json!({ "name": "ci", "scopes": ["api"], "access_level": 50 });
    let made = project.create(&t, &owners, &body).await.has(201).json();
    let refused = bad_request("Not eligible to rotate tokens with permissions not held by the user");
    project.rotate(&t, &made, &project.able).await.is(400, &refused);
    // They may revoke it, as GitLab lets them.
    let next = project.rotate(&t, &made, &owners).await.has(200).json();
    t.delete(&project.one(&next)).token(&project.able).await.is(204, "");
}

async fn a_bot_that_is_a_member_elsewhere_belongs_where_it_was_created(t: TestServer) {
    let [project, group] = Resource::both(&t).await;
    for (home, elsewhere) in [(&project, &group), (&group, &project)] {
        let made = home.made(&t, AccessLevel::Guest).await;
        let bot = UserId(made["user_id"].as_i64().expect("a number"));
        let (of, level) = (elsewhere.source, AccessLevel::Owner);
        t.does(members::Add { of, user: bot, level, expires_at: None }).await;
        let there = format!("{}/{}", elsewhere.path, made["id"]);
        t.get(&there).token(&elsewhere.able).await.is(404, &absent(elsewhere.kind));
        t.delete(&there).token(&elsewhere.able).await.is(404, &absent(elsewhere.kind));
        t.post(&format!("{there}/rotate")).token(&elsewhere.able).await.is(401, M401);
        t.post(&format!("{}/self/rotate", elsewhere.path)).token(secret(&made)).await.is(401, M401);
        assert_eq!(t.get(&home.one(&made)).token(&home.able).await.has(200).json()["access_level"], 10);
        // Whoever rotates it would be an owner there.
        let refused = bad_request("Not eligible to rotate tokens with permissions not held by the user");
        home.rotate(&t, &made, &home.able).await.is(400, &refused);
        t.get(elsewhere.itself()).token(secret(&made)).await.has(200);
        t.delete(&home.one(&made)).token(&home.able).await.is(204, "");
        let mut reader = t.app.db.read().await.expect("a reader");
        let member = tollhouse_store::members::find(&mut reader, of, bot).await.expect("an answer");
        assert!(member.is_none(), "it leaves whatever it is in");
    }
}

async fn a_bot_goes_with_its_last_token_alone(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        let bot = UserId(made["user_id"].as_i64().expect("a number"));
        let warden = t.admin_named(&format!("warden-{}", resource.kind)).await.token([Scope::Api]).await;
        let more = json!({ "name": "more", "scopes": ["api"] });
        let more = t.post(&format!("/api/v4/users/{bot}/personal_access_tokens")).token(&warden).json(more).await;
        let more = more.has(201).json();
        t.delete(&resource.one(&made)).token(&resource.able).await.is(204, "");
        t.get(resource.itself()).token(secret(&made)).await.is(401, REVOKED);
        t.get(resource.itself()).token(secret(&more)).await.has(200);
        // Revoking it again changes nothing.
        t.delete(&resource.one(&made)).token(&resource.able).await.is(204, "");
        t.delete(&resource.one(&more)).token(&resource.able).await.is(204, "");
        t.get(resource.itself()).token(secret(&more)).await.is(401, REVOKED);
        assert_eq!(t.get(&format!("/api/v4/users/{bot}")).token(&warden).await.has(200).json()["state"], "blocked");
    }
}

/// With `api`, as a guest, by this caller.
fn plain(t: &TestServer, resource: MembershipSource, caller: &Identity) -> CreateResourceToken {
    CreateResourceToken {
        resource,
        caller: Some(t.app.asker(caller)),
        name: "ci".into(),
        description: None,
        scopes: Scopes::from([Scope::Api]),
        level: AccessLevel::Guest,
        expires_at: None,
        require_expiry: true,
        host: "git.example.test".into(),
    }
}

/// The right may end between the pipeline and the transaction.
async fn the_right_is_checked_again_with_the_change(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        let identity = identity(&t, &resource.owner.token([Scope::Api]).await).await;
        let asker = |user: UserId| Asker { user, ..t.app.asker(&identity) };
        let create = async |user: UserId| {
            let operation = CreateResourceToken { caller: Some(asker(user)), ..plain(&t, resource.source, &identity) };
            t.app.perform(operation, &By::system()).await.map(drop)
        };
        let rotate = async |user: UserId| {
            let (id, expires_at) = (PersonalAccessTokenId(made["id"].as_i64().expect("a number")), None);
            let caller = asker(user);
            let operation =
                RotateResourceToken { resource: resource.source, id, caller, expires_at, require_expiry: true };
            t.app.perform(operation, &By::system()).await.map(drop)
        };
        let on = if resource.kind == "project" { TargetKind::Project } else { TargetKind::Group };
        let developer = resource.developer.id;
        assert_eq!(create(developer).await, Err(Error::Refused(Refusal::NoAccessTokens(on))));
        assert_eq!(rotate(developer).await, Err(Error::Refused(Refusal::NotYours)));
        let gone = if on == TargetKind::Project { ResourceKind::Project } else { ResourceKind::Group };
        t.does(members::Remove { of: resource.source, user: developer }).await;
        assert_eq!(create(developer).await, Err(Error::NotFound(gone)));
        assert_eq!(rotate(developer).await, Err(Error::NotFound(gone)));
        assert_eq!(create(resource.owner.id).await, Ok(()));
        let block = tollhouse::operations::users::SetState::block(resource.owner.id);
        t.does(block).await;
        assert_eq!(create(resource.owner.id).await, Err(Error::Refused(Refusal::NotYours)));
    }
}

async fn t27_the_rights_of_a_token_end_with_those_of_its_bot(t: TestServer) {
    for resource in Resource::both(&t).await {
        let made = resource.made(&t, AccessLevel::Guest).await;
        let bot = UserId(made["user_id"].as_i64().expect("a number"));
        let seen = async || t.get(resource.itself()).token(secret(&made)).await.status.as_u16();
        assert_eq!(seen().await, 200);
        // Removed, then a member again until tomorrow, then blocked.
        t.does(members::Remove { of: resource.source, user: bot }).await;
        assert_eq!(seen().await, 404);
        let shown = t.get(&resource.one(&made)).token(&resource.able).await.has(200).json();
        assert_eq!(shown["access_level"], Value::Null);
        let (of, level, expires_at) = (resource.source, AccessLevel::Guest, Some(t.now().date().plus_days(1)));
        t.does(members::Add { of, user: bot, level, expires_at }).await;
        assert_eq!(seen().await, 200);
        t.later(86_400);
        assert_eq!(seen().await, 404);
        t.does(members::Add { of, user: bot, level, expires_at: None }).await;
        assert_eq!(seen().await, 200);
        t.does(tollhouse::operations::users::SetState::block(bot)).await;
        assert_eq!(seen().await, 403);
        t.delete(&resource.one(&made)).token(&resource.able).await.is(204, "");
        assert_eq!(seen().await, 401);
    }
}

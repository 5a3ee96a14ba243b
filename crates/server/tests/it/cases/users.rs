//! `/user`, `/users` (rest-api.md section 3).

use serde_json::{Value, json};
use tollhouse::operations::users::{CreateUser, SetProfile};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::UserKind;
use tollhouse_store::users::Profile;

use crate::test_server::{M401, Reply, TestServer};

pub mod impersonation_tokens;
pub mod personal_access_tokens;

cases![
    auth_040b_a_profile_of_somebody_else,
    auth_145_nobody_lists_users,
    auth_146_nobody_asks_for_one_by_name,
    auth_147_nobody_asks_for_one_by_number,
    auth_149_a_suffix_is_dropped,
    user_001_list_by_nobody,
    user_002_one_by_name,
    user_003_list,
    user_005_list_by_an_administrator,
    user_007_one,
    user_008_one_by_nobody,
    user_009_unknown,
    user_010_not_a_number,
    user_025_oneself,
    user_026_nobody,
    a_profile_may_be_private,
    a_bot_says_so,
    a_change_of_the_profile_is_seen_at_once,
];

const BASIC: &[&str] = &["id", "username", "public_email", "name", "state", "locked", "avatar_url", "web_url"];

const PUBLIC: &[&str] = &[
    "created_at",
    "bio",
    "location",
    "linkedin",
    "twitter",
    "discord",
    "website_url",
    "github",
    "job_title",
    "pronouns",
    "organization",
    "bot",
    "work_information",
    "followers",
    "following",
    "is_followed",
    "local_time",
];

/// Nobody follows themselves.
fn own() -> Vec<&'static str> {
    let about_others = ["followers", "following", "is_followed"];
    [BASIC, PUBLIC].concat().into_iter().filter(|key| !about_others.contains(key)).chain(OWN.iter().copied()).collect()
}

const OWN: &[&str] = &[
    "last_sign_in_at",
    "confirmed_at",
    "last_activity_on",
    "email",
    "theme_id",
    "color_scheme_id",
    "projects_limit",
    "current_sign_in_at",
    "identities",
    "can_create_group",
    "can_create_project",
    "two_factor_enabled",
    "external",
    "private_profile",
    "commit_email",
    "preferred_language",
];

const ADMINISTRATORS: &[&str] = &["is_admin", "note", "namespace_id", "created_by"];

const SINGLE: &[&str] = &["highest_role", "current_sign_in_ip", "last_sign_in_ip", "sign_in_count"];

/// The keys of an object in the order of the wire.
#[track_caller]
pub fn keys(reply: &Reply) -> Vec<String> {
    struct Keys(Vec<String>);
    impl<'de> serde::de::Deserialize<'de> for Keys {
        fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Visitor;
            impl<'de> serde::de::Visitor<'de> for Visitor {
                type Value = Keys;
                fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                    let mut keys = Vec::new();
                    while let Some((key, _)) = map.next_entry::<String, Value>()? {
                        keys.push(key);
                    }
                    Ok(Keys(keys))
                }
            }
            from.deserialize_map(Visitor)
        }
    }
    let keys: Keys = serde_json::from_str(&reply.body).unwrap_or_else(|error| panic!("{error}: {}", reply.body));
    keys.0
}

async fn auth_040b_a_profile_of_somebody_else(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let token = ada.token([Scope::ReadUser]).await;
    let reply = t.get(&format!("/api/v4/users/{}", grace.id)).token(&token).await;
    assert!(reply.is_user(&grace).json().get("email").is_none());
}

async fn auth_145_nobody_lists_users(t: TestServer) {
    t.get("/api/v4/users").await.is_forbidden("Not authorized to access /api/v4/users");
}

async fn auth_146_nobody_asks_for_one_by_name(t: TestServer) {
    t.user("ada").await;
    t.get("/api/v4/users?username=nobody").await.is(200, "[]");
    assert_eq!(t.get("/api/v4/users?username=ADA").await.has(200).json()[0]["username"], "ada");
}

async fn auth_147_nobody_asks_for_one_by_number(t: TestServer) {
    t.get("/api/v4/users/1").await.is_forbidden("Not authorized!");
    t.user("ada").await;
    t.get("/api/v4/users/1").await.is_forbidden("Not authorized!");
}

async fn auth_149_a_suffix_is_dropped(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for path in [format!("/api/v4/users/{}.txt", ada.id), "/api/v4/user.json".into(), "/api/v4/user.xml".into()] {
        let reply = t.get(&path).token(&token).await;
        assert_eq!(reply.is_user(&ada).header("content-type"), Some("application/json"));
    }
}

async fn user_001_list_by_nobody(t: TestServer) {
    let body = r#"{"message":"403 Forbidden - Not authorized to access /api/v4/users"}"#;
    t.get("/api/v4/users").await.is(403, body);
}

async fn user_002_one_by_name(t: TestServer) {
    let ada = t.user("ada").await;
    let reply = t.get("/api/v4/users?username=ada").await;
    let known = format!(
        r#"[{{"id":{},"username":"ada","public_email":null,"name":"ada Example","state":"active","locked":false,"avatar_url":null,"web_url":"http://127.0.0.1:8080/ada"}}]"#,
        ada.id
    );
    reply.is(200, &known);
}

async fn user_003_list(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let token = ada.token([Scope::Api]).await;
    let reply = t.get("/api/v4/users").token(&token).await;
    assert_eq!(reply.ids(), [grace.id.0, ada.id.0]);
    assert_eq!((reply.header("x-total"), reply.header("x-page")), (Some("2"), Some("1")));
    assert_eq!(reply.json()[0].as_object().map(serde_json::Map::len), Some(BASIC.len()));
}

async fn user_005_list_by_an_administrator(t: TestServer) {
    let warden = t.admin().await;
    t.person(CreateUser { created_by: Some(warden.id), ..CreateUser::person("ada", "Ada") }).await;
    let token = warden.token([Scope::Api]).await;
    let rows = t.get("/api/v4/users").token(&token).await.has(200).json();
    for field in [
        "email",
        "organization",
        "identities",
        "can_create_project",
        "two_factor_enabled",
        "last_sign_in_at",
        "confirmed_at",
    ] {
        assert!(rows[0].get(field).is_some(), "{field}");
    }
    assert_eq!(rows[0]["created_by"]["username"], "warden");
    assert_eq!(rows[1]["created_by"], json!(null));
}

async fn user_007_one(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let token = ada.token([Scope::Api]).await;
    let reply = t.get(&format!("/api/v4/users/{}", grace.id)).token(&token).await;
    assert_eq!(keys(reply.is_user(&grace)), [BASIC, PUBLIC].concat());
    let token = t.admin().await.token([Scope::Api]).await;
    let reply = t.get(&format!("/api/v4/users/{}", grace.id)).token(&token).await;
    assert_eq!(keys(reply.is_user(&grace)), [BASIC, PUBLIC, OWN, ADMINISTRATORS, SINGLE].concat());
}

async fn user_008_one_by_nobody(t: TestServer) {
    t.get("/api/v4/users/7").await.is(403, r#"{"message":"403 Forbidden - Not authorized!"}"#);
}

async fn user_009_unknown(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.get("/api/v4/users/999").token(&token).await.is(404, r#"{"message":"404 User Not Found"}"#);
}

async fn user_010_not_a_number(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for path in ["/api/v4/users/1ASDF", "/api/v4/users/-1", "/api/v4/users/99999999999999999999"] {
        t.get(path).token(&token).await.is(404, r#"{"error":"404 Not Found"}"#);
        t.get(path).token("unknown").await.is(404, r#"{"error":"404 Not Found"}"#);
    }
}

async fn user_025_oneself(t: TestServer) {
    let ada = t.user("ada").await;
    let reply = t.get("/api/v4/user").token(&ada.token([Scope::Api]).await).await;
    assert_eq!(keys(reply.is_user(&ada)), own());
    let body = reply.json();
    assert_eq!((&body["bio"], &body["location"], &body["email"]), (&json!(""), &json!(""), &json!("ada@example.test")));
    assert_eq!(body["created_at"], t.now().iso());
    let warden = t.admin().await;
    let reply = t.get("/api/v4/user").token(&warden.token([Scope::Api]).await).await;
    assert_eq!(keys(reply.is_user(&warden)), [&own(), ADMINISTRATORS].concat());
    assert_eq!(reply.json()["is_admin"], true);
    let v3 = t.get("/api/v3/user").token(&ada.token([Scope::Api]).await).await;
    v3.is_user(&ada);
}

async fn user_026_nobody(t: TestServer) {
    t.get("/api/v4/user").await.is(401, M401);
}

async fn a_profile_may_be_private(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let profile = Profile { private_profile: Some(true), ..Profile::default() };
    t.does(SetProfile { user: grace.id, profile }).await;
    let path = format!("/api/v4/users/{}", grace.id);
    let body = t.get(&path).token(&ada.token([Scope::Api]).await).await.is_user(&grace).json();
    for hidden in ["created_at", "followers", "following", "is_followed"] {
        assert!(body.get(hidden).is_none(), "{hidden}");
    }
    let body = t.get(&path).token(&grace.token([Scope::Api]).await).await.is_user(&grace).json();
    assert!(body.get("created_at").is_some());
}

async fn a_bot_says_so(t: TestServer) {
    let bot = t.person(CreateUser { kind: UserKind::Bot, ..CreateUser::person("deployer", "Deployer") }).await;
    assert_eq!(t.get("/api/v4/user").token(&bot.token([Scope::Api]).await).await.is_user(&bot).json()["bot"], true);
}

async fn a_change_of_the_profile_is_seen_at_once(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    let profile = Profile { bio: Some("Counts \"ferries\" <daily>".into()), ..Profile::default() };
    t.does(SetProfile { user: ada.id, profile }).await;
    let body = t.get("/api/v4/user").token(&token).await.is_user(&ada).json();
    assert_eq!(body["bio"], "Counts \"ferries\" <daily>");
}

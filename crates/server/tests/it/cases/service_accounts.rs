//! `/service_accounts`, and the same below groups and projects (rest-api.md 2.15).

use serde_json::{Value, json};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::UserId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use crate::test_server::{M401, Person, REVOKED, TestServer};

cases![
    an_administrator_creates_and_lists_service_accounts,
    an_owner_manages_the_service_accounts_of_a_group_or_project,
    who_may_not_manage_service_accounts,
    what_is_wrong_with_a_service_account_is_named,
    a_service_account_of_anything_else_is_absent,
    no_token_of_a_service_account_has_more_than_its_creator,
    t27_a_deleted_service_account_opens_nothing,
];

const FORBIDDEN: &str = r#"{"message":"403 Forbidden"}"#;

/// A private group and a private project in another one, each with an owner: where it is, its path, a token of the owner.
async fn homes(t: &TestServer) -> [(MembershipSource, String, Person, String); 2] {
    let group = t.group("team", Visibility::Private).await;
    let other = t.group("other", Visibility::Private).await;
    let project = t.project(other, "app", Visibility::Private).await;
    let owner = async |name: &str, of| {
        let person = t.user(name).await;
        t.member(of, &person, AccessLevel::Owner).await;
        let token = person.token([Scope::Api]).await;
        (person, token)
    };
    let (of_group, of_project) = (MembershipSource::Group(group), MembershipSource::Project(project));
    let ((ada, adas), (grace, graces)) = (owner("ada", of_group).await, owner("grace", of_project).await);
    [
        (of_group, format!("/api/v4/groups/{group}"), ada, adas),
        (of_project, format!("/api/v4/projects/{project}"), grace, graces),
    ]
}

async fn an_administrator_creates_and_lists_service_accounts(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    let path = "/api/v4/service_accounts";
    let made = t.post(path).token(&warden).await.has(201).json();
    let username = made["username"].as_str().expect("a name");
    assert!(username.starts_with("service_account_"), "{username}");
    assert_eq!((&made["name"], &made["public_email"]), (&json!("Service account user"), &Value::Null));
    assert_eq!(made["email"], format!("{username}@noreply.{}", t.app.urls.ssh_host()));
    let named = json!({ "name": "Deployer", "username": "deployer", "email": "deployer@example.test" });
    let other = t.post(path).token(&warden).json(&named).await.has(201).json();
    for key in ["name", "username", "email"] {
        assert_eq!(other[key], named[key], "{key}");
    }
    let shown = t.get(&format!("/api/v4/users/{}", other["id"])).token(&warden).await.has(200).json();
    assert_eq!(
        (&shown["bot"], &shown["confirmed_at"]),
        (&json!(true), &Value::Null),
        "nobody has shown that it is theirs"
    );
    // Those of a group are not among them.
    let [(home, ..), _] = homes(&t).await;
    t.service_account(Some(home)).await;
    let ids = |query: &str| t.get(&format!("{path}?{query}")).token(&warden);
    let (one, two) = (made["id"].as_i64().expect("a number"), other["id"].as_i64().expect("a number"));
    assert_eq!(ids("").await.ids(), [two, one]);
    assert_eq!(ids("sort=asc").await.ids(), [one, two]);
    assert_eq!(ids("order_by=username&sort=asc").await.ids(), [two, one]);
    let page = ids("per_page=1&page=2").await;
    assert_eq!((page.ids(), page.header("x-total")), (vec![one], Some("2")));
    let ada = t.user("nobody").await.token([Scope::Api]).await;
    t.get(path).token(&ada).await.is(403, FORBIDDEN);
    t.post(path).token(&ada).await.is(403, FORBIDDEN);
    t.post(path).await.is(401, M401);
}

async fn an_owner_manages_the_service_accounts_of_a_group_or_project(t: TestServer) {
    for (home, path, _, token) in homes(&t).await {
        let accounts = format!("{path}/service_accounts");
        let made = t.post(&accounts).token(&token).json(json!({ "name": "Deployer" })).await.has(201).json();
        let start = format!("service_account_{}_{}_", home.kind().as_str(), home.number());
        assert!(made["username"].as_str().is_some_and(|name| name.starts_with(&start)), "{made}");
        let account = format!("{accounts}/{}", made["id"]);
        assert_eq!(t.get(&account).token(&token).await.has(200).json(), made);
        assert_eq!(t.get(&accounts).token(&token).await.has(200).json(), json!([made]));
        let tokens = format!("{account}/personal_access_tokens");
        let new = json!({ "name": "ci", "scopes": ["api"] });
        let created = t.post(&tokens).token(&token).json(&new).await.has(201).json();
        assert_eq!((&created["user_id"], &created["scopes"]), (&made["id"], &new["scopes"]));
        let secret = created["token"].as_str().expect("a secret");
        assert_eq!(t.get("/api/v4/user").token(secret).await.has(200).json()["id"], made["id"]);
        // It is a member of nothing until it is added.
        t.get(&path).token(secret).await.has(404);
        let next = t.post(&format!("{tokens}/{}/rotate", created["id"])).token(&token).await.has(200).json();
        t.get("/api/v4/user").token(secret).await.is(401, REVOKED);
        let secret = next["token"].as_str().expect("a secret");
        t.get("/api/v4/user").token(secret).await.has(200);
        t.delete(&format!("{tokens}/{}", next["id"])).token(&token).await.is(204, "");
        t.get("/api/v4/user").token(secret).await.is(401, REVOKED);
        t.delete(&format!("{tokens}/{}", next["id"])).token(&token).await.is(204, "");
        t.get(&account).token(&token).await.has(200);
        t.delete(&account).token(&token).await.is(204, "");
        t.get(&account).token(&token).await.is(404, r#"{"message":"404 User Not Found"}"#);
    }
}

async fn who_may_not_manage_service_accounts(t: TestServer) {
    for (at, (home, path, owner, _)) in homes(&t).await.into_iter().enumerate() {
        let accounts = format!("{path}/service_accounts");
        let stranger = t.user(&format!("stranger{at}")).await;
        t.post(&accounts).token(&stranger.token([Scope::Api]).await).await.has(404);
        let level = if at == 0 { AccessLevel::Maintainer } else { AccessLevel::Developer };
        t.member(home, &stranger, level).await;
        t.post(&accounts).token(&stranger.token([Scope::Api]).await).await.is(403, FORBIDDEN);
        t.get(&accounts).token(&stranger.token([Scope::Api]).await).await.is(403, FORBIDDEN);
        t.post(&accounts).token(&owner.token([Scope::ReadApi]).await).await.is_insufficient_scope();
        // Accounts for programs make no others.
        let bot = t.resource_token(home, AccessLevel::Owner).await;
        t.post(&accounts).token(bot.secret.reveal()).await.is(403, FORBIDDEN);
        let account = t.service_account(Some(home)).await;
        t.member(home, &account, AccessLevel::Owner).await;
        t.post(&accounts).token(&account.token([Scope::Api]).await).await.is(403, FORBIDDEN);
    }
    // Only a group at the top has some.
    let top = t.group("top", Visibility::Private).await;
    let inner = t.subgroup("inner", Some(top), Visibility::Private).await;
    let owner = t.user("inner-owner").await;
    t.member(MembershipSource::Group(inner), &owner, AccessLevel::Owner).await;
    let path = format!("/api/v4/groups/{inner}/service_accounts");
    t.post(&path).token(&owner.token([Scope::Api]).await).await.is(403, FORBIDDEN);
}

async fn what_is_wrong_with_a_service_account_is_named(t: TestServer) {
    t.user("taken").await;
    let warden = t.admin().await.token([Scope::Api]).await;
    for (body, sentence) in [
        (json!({ "username": "taken" }), "Username has already been taken"),
        (json!({ "username": "TAKEN" }), "Username has already been taken"),
        (json!({ "username": "a b" }), "Username can contain only letters, digits, '_', '-' and '.'"),
        (json!({ "username": "api" }), "Username is a reserved name"),
        (json!({ "email": "taken@example.test" }), "Email has already been taken"),
        (json!({ "email": "nobody" }), "Email is invalid"),
        (json!({ "name": "a\u{202e}b" }), "Name can't hold control characters"),
        (json!({ "name": "x".repeat(256) }), "Name is too long (maximum is 255 characters)"),
    ] {
        let refused = json!({ "message": format!("400 Bad request - {sentence}") }).to_string();
        t.post("/api/v4/service_accounts").token(&warden).json(&body).await.is(400, &refused);
    }
    let empty = json!({ "username": "", "email": "", "name": "" });
    t.post("/api/v4/service_accounts").token(&warden).json(empty).await.has(201);
}

async fn a_service_account_of_anything_else_is_absent(t: TestServer) {
    let [(group, of_group, _, adas), (project, of_project, _, graces)] = homes(&t).await;
    let not_found = r#"{"message":"404 User Not Found"}"#;
    let person = t.user("person").await;
    for (there, path, token) in [(project, &of_group, &adas), (group, &of_project, &graces)] {
        let bot = t.resource_token(there, AccessLevel::Guest).await.token.user_id;
        let others = [t.service_account(Some(there)).await.id, t.service_account(None).await.id, bot, person.id];
        for id in others.into_iter().chain([UserId(999_999)]) {
            let account = format!("{path}/service_accounts/{id}");
            t.get(&account).token(token).await.is(404, not_found);
            t.delete(&account).token(token).await.is(404, not_found);
            let tokens = format!("{account}/personal_access_tokens");
            let new = json!({ "name": "ci", "scopes": ["api"] });
            t.post(&tokens).token(token).json(new).await.is(404, not_found);
            t.delete(&format!("{tokens}/1")).token(token).await.is(404, not_found);
            t.post(&format!("{tokens}/1/rotate")).token(token).await.is(404, not_found);
        }
    }
    // A token of somebody else.
    let account = t.service_account(Some(group)).await.id;
    let id = person.made_token([Scope::Api]).await.token.id;
    let target = format!("{of_group}/service_accounts/{account}/personal_access_tokens/{id}");
    t.delete(&target).token(&adas).await.is(404, r#"{"message":"404 Not found"}"#);
    t.post(&format!("{target}/rotate")).token(&adas).await.is(404, r#"{"message":"404 Not found"}"#);
}

async fn no_token_of_a_service_account_has_more_than_its_creator(t: TestServer) {
    let warden = t.admin().await;
    for (home, path, _, token) in homes(&t).await {
        let account = t.service_account(Some(home)).await;
        let tokens = format!("{path}/service_accounts/{}/personal_access_tokens", account.id);
        let refused = r#"{"message":"400 Bad request - Scopes can only contain available scopes"}"#;
        let sudo = json!({ "name": "ci", "scopes": ["sudo"] });
        t.post(&tokens).token(&token).json(&sudo).await.is(400, refused);
        t.post(&tokens).token(&warden.token([Scope::Api]).await).json(&sudo).await.is(400, refused);
        for (body, status) in [
            (json!({ "name": "ci", "scopes": ["openid"] }), 400),
            (json!({ "name": "ci", "scopes": [] }), 400),
            (json!({ "scopes": ["api"] }), 400),
            (json!({ "name": "ci", "scopes": ["api"], "expires_at": t.now().date().to_string() }), 400),
            (json!({ "name": "ci", "scopes": ["read_user"] }), 201),
        ] {
            t.post(&tokens).token(&token).json(&body).await.has(status);
        }
    }
}

async fn t27_a_deleted_service_account_opens_nothing(t: TestServer) {
    for (home, path, _, token) in homes(&t).await {
        let account = t.service_account(Some(home)).await;
        t.member(home, &account, AccessLevel::Guest).await;
        let secrets = [account.token([Scope::Api]).await, account.token([Scope::ReadApi]).await];
        for secret in &secrets {
            t.get(&path).token(secret).await.has(200);
        }
        t.delete(&format!("{path}/service_accounts/{}", account.id)).token(&token).await.is(204, "");
        for secret in &secrets {
            t.get(&path).token(secret).await.is(401, REVOKED);
        }
        // Letting the account in again brings nothing back.
        t.does(tollhouse::operations::users::SetState::unblock(account.id)).await;
        t.get(&path).token(&secrets[0]).await.is(401, REVOKED);
        t.get(&path).token(&account.token([Scope::Api]).await).await.has(404);
    }
}

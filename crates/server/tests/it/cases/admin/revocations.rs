//! Many tokens revoked together, in an incident (rest-api.md 2.16).

use serde_json::{Value, json};
use tollhouse::operations::members::Add;
use tollhouse::operations::revocations::RevokeSelected;
use tollhouse::operations::tokens::CreateToken;
use tollhouse::operations::users::SetState;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::By;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_store::faults::by_hand;
use tollhouse_store::invalidations;
use tollhouse_store::revocations::Selection;

use crate::oauth::{is_error, user};
use crate::test_server::{Ask, M401, Person, REVOKED, TestServer};

cases![
    each_selection_and_several_at_once,
    what_is_selected_is_dead_and_nothing_else,
    codes_end_with_the_tokens_they_would_become,
    the_callers_own_token_may_be_among_them,
    only_administrators_revoke_so,
    an_administrator_who_was_blocked_meanwhile_revokes_nothing,
    selections_that_cannot_be_read,
    a_thousand_are_named_and_all_are_logged,
    by_the_command,
    a_server_that_remembers_them_refuses_them,
];

const PATH: &str = "/api/v4/admin/revocations";

async fn warden(t: &TestServer) -> String {
    t.admin().await.token([Scope::Api]).await
}

fn revoke(t: &TestServer, token: &str, body: Value) -> Ask {
    t.post(PATH).token(token).json(body)
}

/// Its secret, and its number.
async fn named(t: &TestServer, owner: &Person, name: &str) -> (String, i64) {
    let create = owner.create_token(Scopes::from([Scope::Api]), None);
    let made = t.does(CreateToken { name: name.to_owned(), ..create }).await;
    (made.secret.reveal().to_owned(), made.token.id.0)
}

fn personal(id: i64) -> String {
    format!("personal_access_token:{id}")
}

async fn each_selection_and_several_at_once(t: TestServer) {
    let token = warden(&t).await;
    let (ada, grace, lin) = (t.user("ada").await, t.user("grace").await, t.user("lin").await);
    let [outer, other] = [t.group("outer", Visibility::Private).await, t.group("other", Visibility::Private).await];
    let inner = t.subgroup("inner", Some(outer), Visibility::Private).await;
    t.member(MembershipSource::Group(outer), &ada, AccessLevel::Guest).await;
    t.member(MembershipSource::Group(inner), &grace, AccessLevel::Guest).await;
    let tomorrow = t.now().date().plus_days(1);
    let of = MembershipSource::Group(other);
    t.does(Add { of, user: lin.id, level: AccessLevel::Guest, expires_at: Some(tomorrow) }).await;
    let (first, ci) = (named(&t, &ada, "laptop").await, named(&t, &ada, "CI Deploy").await);
    let (hers, his) = (named(&t, &grace, "deploy").await, named(&t, &lin, "x").await);
    let client = t.client("api").await;
    let pair = client.tokens(&ada, "api").await;
    user(&t, &pair.access).await.is_user(&ada);
    let oauth = "oauth_access_token:1".to_owned();
    t.later(3600);
    let noon = t.now().iso();
    let late = named(&t, &grace, "late").await;
    // It was rotated after that time, perhaps by somebody who had stolen it.
    let next = t.post("/api/v4/personal_access_tokens/self/rotate").token(&hers.0).await.has(200).json()["id"].as_i64();
    let hers = next.expect("a number");
    let all = |ids: &[i64]| ids.iter().map(|id| personal(*id)).collect::<Vec<_>>();
    let with_oauth = |ids: &[i64]| all(ids).into_iter().chain([oauth.clone()]).collect::<Vec<_>>();
    let warden = 1;
    for (select, expected) in [
        (json!({ "user": "ada" }), with_oauth(&[first.1, ci.1])),
        (json!({ "user": ada.id }), with_oauth(&[first.1, ci.1])),
        (json!({ "application": client.id }), vec![oauth.clone()]),
        (json!({ "application": client.uid }), vec![oauth.clone()]),
        (json!({ "group": "outer" }), with_oauth(&[first.1, ci.1])),
        (json!({ "group": "outer/inner" }), with_oauth(&[first.1, ci.1, late.1, hers])),
        (json!({ "group": inner }), with_oauth(&[first.1, ci.1, late.1, hers])),
        (json!({ "group": "other" }), all(&[his.1])),
        (json!({ "before": noon }), with_oauth(&[warden, first.1, ci.1, his.1, hers])),
        (json!({ "before": "2001-01-01" }), vec![]),
        (json!({ "name_like": "DEPLOY" }), all(&[ci.1, hers])),
        (json!({ "name_like": "ferry" }), vec![oauth.clone()]),
        (json!({ "name_like": "%" }), vec![]),
        (json!({ "user": "grace", "name_like": "deploy" }), all(&[hers])),
        (json!({ "user": "grace", "before": noon }), all(&[hers])),
        (json!({ "user": "grace", "application": client.id }), vec![]),
        (json!({ "user": "lin", "group": "outer" }), vec![]),
        (json!({ "group": "outer/inner", "before": noon, "name_like": "a" }), with_oauth(&[first.1])),
    ] {
        let mut body = select.clone();
        body["dry_run"] = true.into();
        let reply = revoke(&t, &token, body).await;
        assert_eq!(reply.has(200).json(), json!({ "count": expected.len(), "ids": expected }), "{select}");
    }
    assert_eq!(t.count("token.revoked").await, 0, "nothing was changed");
    // A membership that is over counts no longer.
    t.later(24 * 3600);
    let reply = revoke(&t, &token, json!({ "group": "other", "dry_run": true })).await;
    reply.is(200, r#"{"count":0,"ids":[]}"#);
    // Nothing that is dead is selected again.
    revoke(&t, &token, json!({ "user": "ada" })).await.has(200);
    revoke(&t, &token, json!({ "user": "ada", "dry_run": true })).await.is(200, r#"{"count":0,"ids":[]}"#);
}

async fn what_is_selected_is_dead_and_nothing_else(t: TestServer) {
    let token = warden(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (one, two, other) = (named(&t, &ada, "a").await, named(&t, &ada, "b").await, named(&t, &grace, "c").await);
    let client = t.client("api").await;
    let (pair, hers) = (client.tokens(&ada, "api").await, client.tokens(&grace, "api").await);
    for secret in [&one.0, &two.0] {
        t.get("/api/v4/user").token(secret).await.is_user(&ada);
    }
    user(&t, &pair.access).await.is_user(&ada);
    let reply = revoke(&t, &token, json!({ "user": "ada" })).await;
    let oauth = reply.has(200).json()["ids"][2].as_str().expect("an id").to_owned();
    reply.is(200, &json!({ "count": 3, "ids": [personal(one.1), personal(two.1), oauth] }).to_string());
    for secret in [&one.0, &two.0] {
        t.get("/api/v4/user").token(secret).await.is(401, REVOKED);
        t.post("/api/v4/personal_access_tokens/self/rotate").token(secret).await.is(401, REVOKED);
    }
    user(&t, &pair.access).await.is(401, REVOKED);
    is_error(&client.refresh(&pair.refresh).await, 400, "invalid_grant");
    t.get("/api/v4/user").token(&other.0).await.is_user(&grace);
    user(&t, &hers.access).await.is_user(&grace);
    let lines = t.trail(3).await;
    let warden = lines[0].actor_id;
    for line in &lines {
        assert_eq!((line.event.as_str(), line.actor_id), ("token.revoked", warden));
        assert_eq!(line.detail, format!("of user {}, one of 3 at once", ada.id));
    }
    let targets: Vec<String> = lines.iter().map(|line| format!("{}:{}", line.target_kind, line.target_id)).collect();
    assert_eq!(targets, [oauth, personal(two.1), personal(one.1)]);
    revoke(&t, &token, json!({ "application": client.uid })).await.has(200);
    user(&t, &hers.access).await.is(401, REVOKED);
    revoke(&t, &token, json!({ "user": "ada" })).await.is(200, r#"{"count":0,"ids":[]}"#);
    assert_eq!(t.count("token.revoked").await, 4);
}

async fn codes_end_with_the_tokens_they_would_become(t: TestServer) {
    let token = warden(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let client = t.client("api").await;
    let codes = [client.code(&ada, "api").await, client.code(&grace, "api").await];
    revoke(&t, &token, json!({ "user": "ada", "dry_run": true })).await.has(200);
    revoke(&t, &token, json!({ "user": "ada" })).await.is(200, r#"{"count":0,"ids":[]}"#);
    is_error(&client.redeem(&codes[0]).await, 400, "invalid_grant");
    client.redeem(&codes[1]).await.has(200);
    let code = client.code(&grace, "api").await;
    revoke(&t, &token, json!({ "name_like": "ferry" })).await.has(200);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
}

async fn the_callers_own_token_may_be_among_them(t: TestServer) {
    let admin = t.admin().await;
    let made = admin.made_token([Scope::Api]).await;
    let token = made.secret.reveal();
    let reply = revoke(&t, token, json!({ "user": "warden" })).await;
    reply.is(200, &json!({ "count": 1, "ids": [personal(made.token.id.0)] }).to_string());
    revoke(&t, token, json!({ "user": "warden" })).await.is(401, REVOKED);
}

async fn only_administrators_revoke_so(t: TestServer) {
    let (admin, ada) = (t.admin().await, t.user("ada").await);
    let own = ada.token([Scope::Api]).await;
    let body = || json!({ "user": "ada" });
    revoke(&t, &own, body()).await.is(403, r#"{"message":"403 Forbidden"}"#);
    t.post(PATH).json(body()).await.is(401, M401);
    revoke(&t, &admin.token([Scope::ReadApi]).await, body()).await.is_insufficient_scope();
    let sudo = admin.token([Scope::Api, Scope::Sudo]).await;
    t.post(&format!("{PATH}?sudo=ada")).token(&sudo).json(body()).await.has(403);
    let session = admin.session().await;
    t.post(PATH).session(&session).json(body()).await.is(401, M401);
    t.get("/api/v4/user").token(&own).await.is_user(&ada);
    t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(body()).await.has(200);
    t.get("/api/v4/user").token(&own).await.is(401, REVOKED);
}

/// The endpoint has let them in; the operation looks again.
async fn an_administrator_who_was_blocked_meanwhile_revokes_nothing(t: TestServer) {
    let (admin, ada) = (t.admin().await, t.user("ada").await);
    t.admin_named("other").await;
    let own = ada.token([Scope::Api]).await;
    admin.set_state(SetState::block(admin.id)).await;
    for administrator in [admin.id, ada.id] {
        let selection = Selection { user: Some(ada.id), ..Selection::default() };
        let revoke = RevokeSelected { selection, administrator: Some(administrator), dry_run: false };
        assert!(t.app.perform(revoke, &By::system()).await.is_err());
    }
    t.get("/api/v4/user").token(&own).await.is_user(&ada);
}

async fn selections_that_cannot_be_read(t: TestServer) {
    let token = warden(&t).await;
    let none = r#"{"error":"user, application, group, before, name_like are missing, at least one parameter must be provided"}"#;
    for (body, status, answer) in [
        (json!({}), 400, none),
        (json!({ "dry_run": false }), 400, none),
        (json!({ "before": "yesterday" }), 400, r#"{"error":"before is invalid"}"#),
        (json!({ "before": "2027-02-29" }), 400, r#"{"error":"before is invalid"}"#),
        (json!({ "before": 1_700_000_000 }), 400, r#"{"error":"before is invalid"}"#),
        (json!({ "user": ["ada"] }), 400, r#"{"error":"user is invalid"}"#),
        (json!({ "name_like": "x".repeat(1_025) }), 400, r#"{"error":"name_like is invalid"}"#),
        (json!({ "user": "ada", "dry_run": "maybe" }), 400, r#"{"error":"dry_run is invalid"}"#),
        (json!({ "user": "nobody" }), 404, r#"{"message":"404 User Not Found"}"#),
        (json!({ "user": "999999" }), 404, r#"{"message":"404 User Not Found"}"#),
        (json!({ "application": "nothing" }), 404, r#"{"message":"404 Application Not Found"}"#),
        (json!({ "group": "no/where" }), 404, r#"{"message":"404 Group Not Found"}"#),
    ] {
        revoke(&t, &token, body).await.is(status, answer);
    }
    // An empty selection selects nothing, rather than everything.
    for body in [json!({ "name_like": "" }), json!({ "user": null }), json!({ "before": "" })] {
        revoke(&t, &token, body).await.is(400, r#"{"message":{"user":["can't be blank"]}}"#);
    }
    t.get("/api/v4/user").token(&token).await.has(200);
    assert_eq!(t.count("token.revoked").await, 0);
}

async fn a_thousand_are_named_and_all_are_logged(t: TestServer) {
    let token = warden(&t).await;
    let ada = t.user("ada").await;
    let first = named(&t, &ada, "first").await;
    t.get("/api/v4/user").token(&first.0).await.is_user(&ada);
    let rows = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 1200)";
    let random = if t.app.db.is_postgres() { "sha256(n::text::bytea)" } else { "CAST(n AS BLOB)" };
    let many = format!(
        "INSERT INTO token_families (id, head_id) {rows} SELECT 50000 + n, 50000 + n FROM n;
         INSERT INTO personal_access_tokens (id, family_id, digest, user_id, name, scopes, impersonation, created_at)
         {rows} SELECT 50000 + n, 50000 + n, {random}, {}, 'many', 'api', FALSE, 1 FROM n;",
        ada.id
    );
    by_hand(&t.url(), &many).await.expect("many tokens");
    let newest = async || invalidations::newest(&mut t.app.db.read().await.expect("a reader")).await.expect("the log");
    let before = newest().await;
    let reply = revoke(&t, &token, json!({ "user": "ada" })).await.has(200).json();
    assert_eq!((&reply["count"], reply["ids"].as_array().map(Vec::len)), (&json!(1201), Some(1000)));
    assert_eq!(newest().await, before + 1, "one entry says it all");
    t.get("/api/v4/user").token(&first.0).await.is(401, REVOKED);
    let lines = t.trail(1_201).await;
    assert!(lines.iter().all(|line| line.event == "token.revoked" && line.target_kind == "personal_access_token"));
    let mut logged: Vec<i64> = lines.iter().map(|line| line.target_id).collect();
    logged.sort_unstable();
    assert_eq!((logged.len(), logged[0], logged[1200]), (1201, first.1, 51_200));
    logged.dedup();
    assert_eq!(logged.len(), 1201);
}

async fn by_the_command(t: TestServer) {
    let ada = t.user("ada").await;
    let (one, two) = (named(&t, &ada, "CI").await, named(&t, &ada, "laptop").await);
    let said = t.shell(&["token", "revoke-all", "--user", "ada", "--dry-run"]).await;
    let both = format!("{}\n{}", personal(one.1), personal(two.1));
    assert_eq!(said.done(), format!("2 tokens would be revoked\n{both}"));
    t.get("/api/v4/user").token(&one.0).await.is_user(&ada);
    let said = t.shell(&["token", "revoke-all", "--user", "ada", "--name-like", "ci"]).await;
    assert_eq!(said.done(), format!("1 token is revoked, with its whole family\n{}", personal(one.1)));
    t.get("/api/v4/user").token(&one.0).await.is(401, REVOKED);
    t.get("/api/v4/user").token(&two.0).await.is_user(&ada);
    let said = t.shell(&["token", "revoke-all", "--before", "2100-01-01", "--json"]).await;
    assert_eq!(said.json(), json!({ "count": 1, "ids": [personal(two.1)] }));
    t.get("/api/v4/user").token(&two.0).await.is(401, REVOKED);
    for (flags, told) in [
        (&[][..], "required"),
        (&["--dry-run"][..], "required"),
        (&["--user", "nobody"][..], "there is no user nobody"),
        (&["--group", "nowhere"][..], "there is no group nowhere"),
        (&["--application", "x"][..], "there is no application x"),
        (&["--before", "soon"][..], "2027-01-31T10:20:30Z"),
        (&["--name-like", ""][..], "blank"),
    ] {
        let said = t.shell(&[&["token", "revoke-all"][..], flags].concat()).await;
        assert_ne!(said.code, Some(0), "{flags:?}");
        assert!(said.err.contains(told), "{flags:?}: {}", said.err);
    }
    let line = &t.trail(1).await[0];
    assert!(line.credential.starts_with("command_line:"), "{}", line.credential);
}

async fn a_server_that_remembers_them_refuses_them(t: TestServer) {
    let token = warden(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let other = t.reopened("").await;
    let client = t.client("api").await;
    let secrets = [named(&t, &ada, "a").await.0, named(&t, &ada, "b").await.0, named(&t, &grace, "ab").await.0];
    let machine = crate::oauth::tokens(&client.token("client_credentials", &[("scope", "api")]).await);
    for secret in &secrets {
        other.get("/api/v4/user").token(secret).await.has(200);
    }
    other.get("/oauth/token/info").bearer(&machine.access).await.has(200);
    revoke(&t, &token, json!({ "name_like": "a", "before": "2100-01-01" })).await.has(200);
    other.get("/api/v4/user").token(&secrets[0]).await.is(401, REVOKED);
    other.get("/api/v4/user").token(&secrets[1]).await.is_user(&ada);
    other.get("/api/v4/user").token(&secrets[2]).await.is(401, REVOKED);
    other.get("/oauth/token/info").bearer(&machine.access).await.has(401);
    other.leave().await;
}

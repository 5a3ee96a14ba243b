//! What is remembered beside credentials: applications, and what users are members of. It is answered without the
//! database, and no longer from the moment on at which that it is gone was acknowledged anywhere.

use serde_json::{Value, json};
use tollhouse::operations::applications::{AddReadUser, Delete, RenewSecret};
use tollhouse::operations::members::{Add, Remove};
use tollhouse::operations::users::SetState;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::faults::Fault;

use super::{SELF, settled, until};
use crate::oauth::{Client, Tokens, encoded, is_error};
use crate::test_server::{Ask, Reply, TestServer};

cases![
    what_is_remembered_is_told_without_a_statement,
    a_remembered_token_is_told_as_the_database_has_it,
    an_old_secret_is_refused_on_every_server_once_it_is_renewed,
    an_application_is_gone_on_every_server_once_it_is_deleted,
    an_application_is_known_on_every_server_once_it_is_made,
    added_scopes_are_known_on_every_server,
    a_token_is_inactive_on_every_server_once_it_is_revoked,
    a_group_is_left_on_every_server,
    a_group_inside_another_is_known_on_every_server,
    a_membership_ends_by_itself,
    applications_are_not_remembered_without_a_lease,
];

const INACTIVE: &str = r#"{"active":false}"#;

fn introspect(t: &TestServer, client: &Client, token: &str) -> Ask {
    t.post("/oauth/introspect").form(&encoded(&[("token", token)])).with("authorization", &client.basic())
}

fn info(t: &TestServer, access: &str) -> Ask {
    t.get("/oauth/token/info").bearer(access)
}

fn userinfo(t: &TestServer, access: &str) -> Ask {
    t.get("/oauth/userinfo").bearer(access)
}

/// The answer to a request that runs no statement. Something else may run one now and then, so it is asked again.
async fn from_memory(t: &TestServer, what: &str, ask: impl Fn() -> Ask) -> Reply {
    until(what, async || {
        let before = t.app.db.faults.asked();
        let reply = ask().await;
        (t.app.db.faults.asked() == before).then_some(reply)
    })
    .await
}

/// Two servers, and what both of them remember.
struct Known {
    there: TestServer,
    client: Client,
    pair: Tokens,
}

async fn known(t: &TestServer) -> Known {
    let (_, client, pair) = t.begun("openid api").await;
    let there = t.reopened("").await;
    for server in [t, &there] {
        settled(server).await;
        let introspected = from_memory(server, "introspection", || introspect(server, &client, &pair.access)).await;
        assert_eq!(introspected.has(200).json()["active"], true);
    }
    Known { there, client, pair }
}

async fn what_is_remembered_is_told_without_a_statement(t: TestServer) {
    let (ada, client, pair) = t.begun("openid api").await;
    let group = t.group("g1", Visibility::Private).await;
    t.member(MembershipSource::Group(group), &ada, AccessLevel::Owner).await;
    let (token, other) = (ada.token([Scope::ReadUser]).await, client.tokens(&ada, "api").await);
    settled(&t).await;
    let asks: [(&str, &dyn Fn() -> Ask); 9] = [
        ("GET /user", &|| t.get("/api/v4/user").token(&token)),
        ("self", &|| t.get(SELF).token(&token)),
        ("token info", &|| info(&t, &pair.access)),
        ("userinfo", &|| userinfo(&t, &pair.access)),
        ("introspection", &|| introspect(&t, &client, &pair.access)),
        ("introspection of a refresh token", &|| introspect(&t, &client, &pair.refresh)),
        ("introspection of nothing", &|| introspect(&t, &client, "nothing")),
        ("introspection by a token", &|| {
            t.post("/oauth/introspect").form(&encoded(&[("token", &pair.access)])).bearer(&other.access)
        }),
        ("a client with a wrong secret", &|| {
            t.post("/oauth/introspect").form(&encoded(&[("client_id", &client.uid), ("client_secret", "wrong")]))
        }),
    ];
    for (what, ask) in asks {
        let first = ask().await;
        let again = from_memory(&t, what, ask).await;
        assert_eq!((again.status, &again.body), (first.status, &first.body), "{what}");
        let expected = if what.ends_with("wrong secret") { 401 } else { 200 };
        again.has(expected);
    }
    // Whatever becomes of the database, as long as the lease lasts.
    until("an answer to each without the database", async || {
        t.app.db.faults.set(Fault::None);
        settled(&t).await;
        for (_, ask) in asks {
            ask().await;
        }
        t.app.db.faults.set(Fault::Everything);
        for (_, ask) in asks {
            if ask().await.status == 503 {
                return None;
            }
        }
        Some(())
    })
    .await;
}

async fn a_remembered_token_is_told_as_the_database_has_it(t: TestServer) {
    let ada = t.user("ada").await;
    let made = t
        .does(tollhouse::operations::tokens::CreateToken {
            name: "A \"name\"".into(),
            ..ada.create_token([Scope::ReadApi, Scope::ReadUser].into(), None)
        })
        .await;
    let token = made.secret.reveal();
    let warden = t.admin().await.token_with_any([Scope::Api, Scope::Sudo]).await;
    // One that remembers nothing says what stands in the database.
    let forgetful = t.reopened("ledger.entries = 0").await;
    settled(&t).await;
    let same = async |used: Option<Timestamp>| {
        let told = from_memory(&t, "self", || t.get(SELF).token(token)).await;
        assert_eq!(told.body, forgetful.get(SELF).token(token).await.has(200).body);
        assert_eq!(told.json()["last_used_at"], used.map_or(Value::Null, |at| json!(at.iso())));
        assert_eq!((&told.json()["name"], &told.json()["user_id"]), (&json!("A \"name\""), &json!(ada.id)));
    };
    same(None).await;
    let first = t.now();
    tollhouse::job::flush(&t.app).await;
    same(Some(first)).await;
    t.later(600);
    same(Some(first)).await;
    tollhouse::job::flush(&t.app).await;
    same(Some(t.now())).await;
    // With sudo, the token still belongs to the administrator who sent it.
    for server in [&t, &forgetful] {
        let told = server.get(SELF).token(&warden).with("sudo", "ada").await.has(200).json();
        assert_ne!(told["user_id"], json!(ada.id));
    }
    forgetful.leave().await;
}

async fn an_old_secret_is_refused_on_every_server_once_it_is_renewed(t: TestServer) {
    let Known { there, client, pair } = known(&t).await;
    for _ in 0..3 {
        let renewed = t.does(RenewSecret { id: client.id }).await;
        let new = Client { secret: renewed.secret.reveal().to_owned(), ..client.at(&t) };
        for server in [&t, &there] {
            is_error(&introspect(server, &client, &pair.access).await, 401, "invalid_client");
            is_error(&client.at(server).token("client_credentials", &[]).await, 401, "invalid_client");
            assert_eq!(introspect(server, &new, &pair.access).await.has(200).json()["active"], true);
        }
    }
    there.leave().await;
}

async fn an_application_is_gone_on_every_server_once_it_is_deleted(t: TestServer) {
    let Known { there, client, pair } = known(&t).await;
    t.does(Delete { id: client.id }).await;
    for server in [&t, &there] {
        is_error(&introspect(server, &client, &pair.access).await, 401, "invalid_client");
        info(server, &pair.access).await.has(401);
        userinfo(server, &pair.access).await.has(401);
    }
    there.leave().await;
}

/// What was asked for before it existed is remembered as unknown.
async fn an_application_is_known_on_every_server_once_it_is_made(t: TestServer) {
    let there = t.reopened("").await;
    let ask = |server: &TestServer| server.post("/oauth/token").form(&encoded(&CHOSEN));
    for server in [&t, &there] {
        settled(server).await;
        is_error(&from_memory(server, "an unknown client", || ask(server)).await, 401, "invalid_client");
    }
    let mut tx = t.app.db.begin().await.expect("a transaction");
    let new = tollhouse_store::oauth_applications::NewApplication {
        uid: CHOSEN[1].1,
        secret: tollhouse_domain::secret::Digest::of(CHOSEN[2].1.as_bytes()),
        name: "chosen",
        redirect_uris: &tollhouse_domain::redirect::RedirectUris::parse("https://a.test/").expect("a URI"),
        scopes: &[Scope::Api].into(),
        confidential: true,
        trusted: false,
        owner: None,
    };
    tollhouse_store::oauth_applications::insert(&mut tx, &new, t.now()).await.expect("an application");
    let change = tollhouse_store::tx::Change::nothing(());
    let committed = tx.commit(change, &tollhouse_domain::audit::By::system(), t.now()).await.expect("a commit");
    t.app
        .node
        .acknowledge(committed.until, Some(&committed.untrue), tollhouse_auth::uptime::Uptime::system().now())
        .await;
    for server in [&t, &there] {
        ask(server).await.has(200);
    }
    there.leave().await;
}

const CHOSEN: [(&str, &str); 4] = [
    ("grant_type", "client_credentials"),
    ("client_id", "chosen"),
    ("client_secret", "chosen-secret"),
    ("scope", "api"),
];

async fn added_scopes_are_known_on_every_server(t: TestServer) {
    let client = t.client("api").await;
    let there = t.reopened("").await;
    let ask = |server: &TestServer| client.at(server).token("client_credentials", &[("scope", "read_user")]);
    for server in [&t, &there] {
        settled(server).await;
        is_error(&ask(server).await, 400, "invalid_scope");
    }
    t.does(AddReadUser { id: client.id }).await;
    for server in [&t, &there] {
        ask(server).await.has(200);
    }
    there.leave().await;
}

async fn a_token_is_inactive_on_every_server_once_it_is_revoked(t: TestServer) {
    let Known { there, client, pair } = known(&t).await;
    let ada = t.user("grace").await;
    for (here, other) in [(&t, &there), (&there, &t)] {
        let [one, two] = [client.at(here).tokens(&ada, "openid").await, client.at(here).tokens(&ada, "openid").await];
        for asked in [&one.access, &one.refresh, &two.access, &two.refresh] {
            let told = from_memory(other, "introspection", || introspect(other, &client, asked)).await;
            assert_eq!(told.has(200).json()["active"], true);
        }
        client.at(here).revoke(&one.access).await.has(200);
        for asked in [&one.access, &one.refresh] {
            introspect(other, &client, asked).await.is(200, INACTIVE);
        }
        // So is one whose person may no longer come in, and again active when they may.
        here.does(SetState::block(ada.id)).await;
        introspect(other, &client, &two.access).await.is(200, INACTIVE);
        info(other, &two.access).await.has(401);
        userinfo(other, &two.access).await.has(401);
        here.does(SetState::unblock(ada.id)).await;
        assert_eq!(introspect(other, &client, &two.access).await.has(200).json()["active"], true);
        // What was rotated away is described by neither of its secrets.
        let next = client.at(here).refresh(&two.refresh).await;
        let next = crate::oauth::tokens(&next);
        let told = introspect(other, &client, &next.access).await;
        assert_eq!(told.has(200).json()["active"], true);
        introspect(other, &client, &two.access).await.is(200, INACTIVE);
    }
    info(&t, &pair.access).await.has(200);
    there.leave().await;
}

async fn a_group_is_left_on_every_server(t: TestServer) {
    let (ada, _, pair) = t.begun("openid api").await;
    let group = t.group("g1", Visibility::Private).await;
    let project = t.project(group, "p1", Visibility::Private).await;
    let there = t.reopened("").await;
    let groups = async |server: &TestServer| {
        settled(server).await;
        let told = from_memory(server, "userinfo", || userinfo(server, &pair.access)).await;
        told.has(200).json()["groups"].clone()
    };
    let path = format!("/api/v4/projects/{project}");
    for _ in 0..3 {
        for server in [&t, &there] {
            assert_eq!(groups(server).await, json!([]));
        }
        t.does(Add { of: MembershipSource::Group(group), user: ada.id, level: AccessLevel::Guest, expires_at: None })
            .await;
        for server in [&t, &there] {
            let told = userinfo(server, &pair.access).await.has(200).json();
            assert_eq!(told["groups"], json!(["g1"]));
            assert_eq!(groups(server).await, json!(["g1"]));
            server.get(&path).bearer(&pair.access).await.has(200);
        }
        there.does(Remove { of: MembershipSource::Group(group), user: ada.id }).await;
        for server in [&t, &there] {
            assert_eq!(userinfo(server, &pair.access).await.has(200).json()["groups"], json!([]));
            server.get(&path).bearer(&pair.access).await.has(404);
        }
    }
    there.leave().await;
}

async fn a_group_inside_another_is_known_on_every_server(t: TestServer) {
    let (ada, _, pair) = t.begun("openid").await;
    let group = t.group("g1", Visibility::Private).await;
    t.member(MembershipSource::Group(group), &ada, AccessLevel::Developer).await;
    let there = t.reopened("").await;
    let mut expected = vec!["g1".to_owned()];
    let mut parent = group;
    for name in ["a", "b"] {
        for server in [&t, &there] {
            settled(server).await;
            let told = from_memory(server, "userinfo", || userinfo(server, &pair.access)).await;
            assert_eq!(told.has(200).json()["groups"], json!(expected));
        }
        parent = t.subgroup(name, Some(parent), Visibility::Private).await;
        expected.push(format!("{}/{name}", expected.last().expect("one")));
        for server in [&t, &there] {
            assert_eq!(userinfo(server, &pair.access).await.has(200).json()["groups"], json!(expected));
        }
    }
    there.leave().await;
}

async fn a_membership_ends_by_itself(t: TestServer) {
    let midnight = t.now().date().plus_days(1);
    t.later((midnight.start().0 - t.now().0) as u64 / 1000 - 60);
    let (ada, _, pair) = t.begun("openid").await;
    let (g1, g2) = (t.group("g1", Visibility::Private).await, t.group("g2", Visibility::Private).await);
    for (group, expires_at) in [(g1, Some(midnight)), (g2, None)] {
        t.does(Add { of: MembershipSource::Group(group), user: ada.id, level: AccessLevel::Owner, expires_at }).await;
    }
    settled(&t).await;
    let groups = async |expected: Value| {
        let told = from_memory(&t, "userinfo", || userinfo(&t, &pair.access)).await;
        assert_eq!(told.has(200).json()["groups"], expected);
    };
    groups(json!(["g1", "g2"])).await;
    t.later(59);
    groups(json!(["g1", "g2"])).await;
    t.later(1);
    groups(json!(["g2"])).await;
}

async fn applications_are_not_remembered_without_a_lease(t: TestServer) {
    let Known { there, client, pair } = known(&t).await;
    there.leave().await;
    t.freeze();
    tokio::time::sleep(tollhouse_domain::agreement::LEASE + std::time::Duration::from_millis(100)).await;
    let before = t.app.db.faults.asked();
    introspect(&t, &client, &pair.access).await.has(200);
    assert_eq!(t.app.db.faults.asked() - before, 2, "the client and the token");
    t.app.db.faults.set(Fault::Everything);
    introspect(&t, &client, &pair.access).await.has(503);
}

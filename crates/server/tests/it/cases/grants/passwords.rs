//! Tokens for a password, and who gets none for it.

use tollhouse::operations::users::{Confirm, CreateUser, SetPassword, SetState};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::user::{AccountState, UserKind};

use super::by_password;
use crate::cases::sign_in::guess;
use crate::oauth::{Client, USER, ask, basic, is_error, is_hex, tokens};
use crate::test_server::TestServer;

cases![
    oauth_038_a_wrong_password_counts with "compat.password_grant = 'gitlab'",
    oauth_041_tokens_for_a_password with "compat.password_grant = 'gitlab'",
    oauth_042_tokens_for_a_password_without_a_client with "compat.password_grant = 'gitlab'",
    oauth_043_no_client_and_one_is_demanded with "compat.password_grant = 'gitlab'\noauth.ropc_without_client_credentials = false",
    oauth_044_a_password_of_nobody with "compat.password_grant = 'gitlab'",
    oauth_045_neither_name_nor_password with "compat.password_grant = 'gitlab'",
    oauth_046_a_password_by_an_unknown_client with "compat.password_grant = 'gitlab'",
    oauth_047_a_password_and_no_secret with "compat.password_grant = 'gitlab'",
    oauth_049_a_password_of_who_may_not_come_in with "compat.password_grant = 'gitlab'",
    oauth_050_a_password_and_a_wrong_secret with "compat.password_grant = 'gitlab'",
    a_blocked_person_gets_nothing_by_any_grant with "oauth.password_grant = true",
    t16_passwords_are_for_confidential_clients with "oauth.password_grant = true",
    t16_the_lock_out_counts_every_password with "oauth.password_grant = true\nlimits.sign_in_failures = 0",
    t14_every_password_costs_a_hash with "oauth.password_grant = true",
    a_password_of_who_may_not_come_in_is_no_grant with "oauth.password_grant = true",
    a_password_may_come_with_an_address with "oauth.password_grant = true",
    no_password_grant_by_default,
    no_password_grant_for_a_twin_that_says_so with "compat.all = 'gitlab'\noauth.password_grant = false",
    a_password_grant_for_a_twin with "compat.all = 'gitlab'",
];

async fn oauth_038_a_wrong_password_counts(t: TestServer) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let failures = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        tollhouse_store::failed_sign_ins::count(&mut reader, ada.id).await.expect("a count").1
    };
    for failed in 1..=3 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
        assert_eq!(failures().await, failed);
    }
    tokens(&by_password(&client, "ada", "correct horse").await);
    assert_eq!(failures().await, 3);
}

async fn oauth_041_tokens_for_a_password(t: TestServer) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let reply = by_password(&client, "ada", "correct horse").await;
    let given = tokens(&reply);
    assert!(is_hex(&given.refresh));
    assert_eq!(reply.json()["scope"], "api");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn oauth_042_tokens_for_a_password_without_a_client(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    let given = tokens(&ask(&t, &pairs).await);
    assert!(is_hex(&given.refresh));
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    tokens(&by_password(&t.public_client("api").await, "ada", "correct horse").await);
}

async fn oauth_043_no_client_and_one_is_demanded(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    let settings = "oauth.ropc_without_client_credentials = false\noauth.password_grant = true";
    let twin = t.reopened(settings).await;
    is_error(&ask(&twin, &pairs).await, 401, "invalid_client");
    twin.app.db.close().await;
}

async fn oauth_044_a_password_of_nobody(t: TestServer) {
    let client = t.client("api").await;
    is_error(&by_password(&client, "nobody", "correct horse").await, 400, "invalid_grant");
}

async fn oauth_045_neither_name_nor_password(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    is_error(&client.token("password", &[]).await, 400, "invalid_grant");
    for half in [("username", "ada"), ("password", "correct horse")] {
        is_error(&client.token("password", &[half]).await, 400, "invalid_grant");
    }
}

async fn oauth_046_a_password_by_an_unknown_client(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let unknown = Client { uid: "0".repeat(64), ..t.client("api").await };
    is_error(&by_password(&unknown, "ada", "correct horse").await, 401, "invalid_client");
}

async fn oauth_047_a_password_and_no_secret(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let pairs = [
        ("grant_type", "password"),
        ("username", "ada"),
        ("password", "correct horse"),
        ("client_id", client.uid.as_str()),
    ];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
}

async fn oauth_049_a_password_of_who_may_not_come_in(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let grace = t.user_with_password("grace", "correct horse").await;
    ada.set_state(SetState::block(ada.id)).await;
    t.does(Confirm { user: grace.id, confirmed: false }).await;
    for name in ["ada", "grace"] {
        is_error(&by_password(&client, name, "correct horse").await, 400, "invalid_grant");
    }
}

async fn oauth_050_a_password_and_a_wrong_secret(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    for secret in ["gloas-wrong", ""] {
        let reply = ask(&t, &pairs).with("authorization", &basic(&client.uid, secret)).await;
        is_error(&reply, 401, "invalid_client");
    }
    tokens(&ask(&t, &pairs).with("authorization", &client.basic()).await);
}

async fn a_blocked_person_gets_nothing_by_any_grant(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let (given, code) = (client.tokens(&ada, "api").await, client.code(&ada, "api").await);
    ada.set_state(SetState::block(ada.id)).await;
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    is_error(&client.refresh(&given.refresh).await, 400, "invalid_grant");
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    t.get(USER).bearer(&given.access).await.has(403);
    // This one has no person behind it.
    tokens(&client.token("client_credentials", &[]).await);
    ada.set_state(SetState::unblock(ada.id)).await;
    let next = tokens(&client.refresh(&given.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

async fn t16_passwords_are_for_confidential_clients(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let before = t.app.hasher.hashed();
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    let public = t.public_client("api").await;
    is_error(&by_password(&public, "ada", "correct horse").await, 401, "unauthorized_client");
    let with_secret = ask(&t, &pairs).with("authorization", &public.basic()).await;
    is_error(&with_secret, 401, "unauthorized_client");
    assert_eq!(t.app.hasher.hashed(), before, "they learn nothing, at no cost");
    tokens(&by_password(&t.client("api").await, "ada", "correct horse").await);
}

async fn t16_the_lock_out_counts_every_password(t: TestServer) {
    const WRONG: &str = "Invalid login or password.";
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    for _ in 0..5 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
        assert!(guess(&t, "ada", "wrong horse").await.has(200).body.contains(WRONG));
    }
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    assert!(guess(&t, "ada", "correct horse").await.has(200).body.contains(WRONG), "one lock for both doors");
    t.later(599);
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
    t.later(1);
    tokens(&by_password(&client, "ada", "correct horse").await);
    for _ in 0..10 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "invalid_grant");
    }
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "invalid_grant");
}

async fn t14_every_password_costs_a_hash(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    t.user("grace").await;
    let before = t.app.hasher.hashed();
    for login in ["ada", "nobody", "grace"] {
        is_error(&by_password(&client, login, "wrong horse").await, 400, "invalid_grant");
    }
    assert_eq!(t.app.hasher.hashed() - before, 3, "unknown and without a password too");
    is_error(&by_password(&client, "ada", &"x".repeat(1025)).await, 400, "invalid_grant");
    assert_eq!(t.app.hasher.hashed() - before, 3, "too long, and not hashed");
}

async fn a_password_of_who_may_not_come_in_is_no_grant(t: TestServer) {
    let client = t.client("api").await;
    let digest = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    let person = |name: &str| CreateUser { password_digest: Some(digest.clone()), ..CreateUser::person(name, name) };
    let idle = CreateUser { state: AccountState::Deactivated, ..person("idle") };
    let pending = CreateUser { state: AccountState::BlockedPendingApproval, ..person("pending") };
    let internal = CreateUser { kind: UserKind::Internal, ..person("internal") };
    let unconfirmed = CreateUser { confirmed: false, ..person("unconfirmed") };
    let idle = t.person(idle).await;
    let stale = t.person(person("stale")).await;
    let expires_at = Some(t.now());
    t.does(SetPassword { user: stale.id, seen: None, digest: digest.clone(), expires_at }).await;
    t.later(1);
    let others = [t.person(pending).await, t.person(internal).await, t.person(unconfirmed).await];
    for who in [&idle, &stale].into_iter().chain(&others) {
        is_error(&by_password(&client, &who.name, "correct horse").await, 400, "invalid_grant");
    }
    // Only the form lets those in again who were away for long.
    let mut reader = t.app.db.read().await.expect("a reader");
    let user = tollhouse_store::users::find(&mut reader, idle.id).await.expect("a look-up").expect("a user");
    assert_eq!(user.state, AccountState::Deactivated);
    drop(reader);
    let ada = t.person(person("ada")).await;
    tokens(&by_password(&client, &ada.name, "correct horse").await);
}

async fn a_password_may_come_with_an_address(t: TestServer) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let given = tokens(&by_password(&client, "ADA@example.test", "correct horse").await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn no_password_grant_by_default(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    is_error(&by_password(&client, "ada", "correct horse").await, 400, "unsupported_grant_type");
    is_error(&ask(&t, &[("grant_type", "password")]).await, 400, "unsupported_grant_type");
    assert!(!grants(&t).await.contains(&"password".to_owned()));
    // It is no way to guess either.
    for _ in 0..20 {
        is_error(&by_password(&client, "ada", "wrong horse").await, 400, "unsupported_grant_type");
    }
    assert_eq!(guess(&t, "ada", "correct horse").await.status.as_u16(), 302, "nobody is locked out by it");
    tokens(&client.token("client_credentials", &[]).await);
}

async fn no_password_grant_for_a_twin_that_says_so(t: TestServer) {
    no_password_grant_by_default(t).await;
}

async fn a_password_grant_for_a_twin(t: TestServer) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let given = tokens(&by_password(&client, "ada", "correct horse").await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    assert!(grants(&t).await.contains(&"password".to_owned()));
}

/// What discovery lists.
async fn grants(t: &TestServer) -> Vec<String> {
    let body = t.get("/.well-known/openid-configuration").await.has(200).json();
    serde_json::from_value(body["grant_types_supported"].clone()).expect("a list")
}

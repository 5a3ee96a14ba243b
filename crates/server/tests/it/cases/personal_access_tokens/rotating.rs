//! `POST /personal_access_tokens/:id/rotate` (rest-api.md 2.6).

use serde_json::{Value, json};
use tollhouse::error::Error;
use tollhouse::operations::rotate::RotateById;
use tollhouse::operations::tokens::{Asker, CreateToken, Created, Revoke};
use tollhouse::operations::users::{CreateUser, SetState};
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_store::faults::by_hand;

use super::{PATH, impersonation, one, secret};
use crate::test_server::{Ask, M401, Person, REVOKED, TestServer};

cases![
    pat_027_its_owner_rotates_it,
    pat_028_to_a_date,
    pat_029_without_an_end with "tokens.require_expiry = false",
    pat_030_somebody_elses,
    pat_031_a_day_that_is_refused,
    pat_032_an_unknown_one,
    pat_046_an_impersonation_token_rotates_itself,
    pat_092_a_revoked_one,
    pat_093_the_successor_is_like_it,
    pat_097_a_rotated_token_rotates_another with "compat.rotation = 'gitlab'",
    a_rotated_token_rotates_another,
    an_expired_one,
    two_at_once,
    an_impersonation_token_is_the_administrators_to_rotate,
    a_scope_that_the_credential_could_not_use,
    a_scope_as_the_original with "compat.admin_scopes = 'gitlab'",
    a_scope_that_the_owner_has_lost,
    whoever_rotates_is_checked_with_the_change,
];

const NOT_ELIGIBLE: &str =
    r#"{"message":"400 Bad request - Not eligible to rotate tokens with permissions not held by the user"}"#;
const ALREADY: &str = r#"{"message":"400 Bad request - Token already revoked"}"#;

fn ask(t: &TestServer, made: &Created) -> Ask {
    t.post(&format!("{}/rotate", one(made)))
}

async fn pat_027_its_owner_rotates_it(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::ReadUser]).await, ada.token([Scope::Api]).await);
    let body = ask(&t, &made).token(&token).await.has(200).json();
    assert_eq!(body["expires_at"], t.now().date().plus_days(7).to_string());
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
    t.get("/api/v4/user").token(&secret(&body)).await.is_user(&ada);
    // Its own number: the successor stands in the answer.
    let made = ada.made_token([Scope::Api]).await;
    let body = ask(&t, &made).token(made.secret.reveal()).await.has(200).json();
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
    t.get("/api/v4/user").token(&secret(&body)).await.is_user(&ada);
    ask(&t, &made).token(&ada.token([Scope::SelfRotate]).await).await.is_insufficient_scope();
}

async fn pat_028_to_a_date(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::ReadUser]).await, ada.token([Scope::Api]).await);
    let day = t.now().date().plus_days(30).to_string();
    let body = ask(&t, &made).token(&token).json(json!({ "expires_at": day })).await.has(200).json();
    assert_eq!(body["expires_at"], day);
}

async fn pat_029_without_an_end(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::ReadUser]).await, ada.token([Scope::Api]).await);
    assert_eq!(ask(&t, &made).token(&token).await.has(200).json()["expires_at"], Value::Null);
}

async fn pat_030_somebody_elses(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::ReadUser]).await;
    let token = t.user("eve").await.token([Scope::Api]).await;
    ask(&t, &made).token(&token).await.is(401, M401);
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
    ask(&t, &made).token(&t.admin().await.token([Scope::Api]).await).await.has(200);
}

async fn pat_031_a_day_that_is_refused(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::ReadUser]).await, ada.token([Scope::Api]).await);
    let today = t.now().date();
    let latest = today.plus_days(365);
    for (day, sentence) in [
        (latest.plus_days(1).to_string(), format!("400 Bad request - Expires at must be before {latest}")),
        ("9999-12-31".to_owned(), format!("400 Bad request - Expires at must be before {latest}")),
        (today.to_string(), "400 Bad request - Expires at must be after today".to_owned()),
        (format!("{today}T23:00:00Z"), "400 Bad request - Expires at must be after today".to_owned()),
        ("2024-02-29".to_owned(), "400 Bad request - Expires at must be after today".to_owned()),
    ] {
        let reply = ask(&t, &made).token(&token).json(json!({ "expires_at": day })).await;
        reply.is(400, &json!({ "message": sentence }).to_string());
    }
    for day in ["2027-02-29", "10000-01-01", "soon"] {
        let reply = ask(&t, &made).token(&token).json(json!({ "expires_at": day })).await;
        reply.is(400, r#"{"error":"expires_at is invalid"}"#);
    }
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
    let body = ask(&t, &made).token(&token).json(json!({ "expires_at": latest.to_string() })).await.has(200).json();
    assert_eq!(body["expires_at"], latest.to_string());
}

async fn pat_032_an_unknown_one(t: TestServer) {
    let target = format!("{PATH}/999999/rotate");
    t.post(&target).token(&t.user("ada").await.token([Scope::Api]).await).await.is(401, M401);
    let warden = t.admin().await.token([Scope::Api]).await;
    t.post(&target).token(&warden).await.is(404, r#"{"message":"404 Not Found"}"#);
}

async fn pat_046_an_impersonation_token_rotates_itself(t: TestServer) {
    let ada = t.user("ada").await;
    let made = impersonation(&t, &ada).await;
    let reply = t.post(&format!("{PATH}/self/rotate")).token(made.secret.reveal()).await;
    let next = secret(&reply.has(200).json());
    t.get("/api/v4/user").token(&next).await.is_user(&ada);
    // It is one still.
    t.delete(&format!("{PATH}/self")).token(&next).await.is(400, r#"{"message":"400 Bad request"}"#);
}

async fn pat_092_a_revoked_one(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::Api]).await, ada.token([Scope::Api]).await);
    let next = secret(&ask(&t, &made).token(&token).await.has(200).json());
    ask(&t, &made).token(&token).await.is(400, ALREADY);
    t.get("/api/v4/user").token(&next).await.has(200);
    let gone = ada.made_token([Scope::Api]).await;
    t.does(Revoke { id: gone.token.id }).await;
    ask(&t, &gone).token(&token).await.is(400, ALREADY);
}

async fn pat_093_the_successor_is_like_it(t: TestServer) {
    let ada = t.user("ada").await;
    let warden = t.admin().await.token([Scope::Api]).await;
    let create = CreateToken {
        name: "kept".into(),
        description: Some("as it was".into()),
        impersonation: true,
        ..ada.create_token(Scopes::from([Scope::ReadUser, Scope::Api]), None)
    };
    let made = t.does(create).await;
    let before = t.get(&one(&made)).token(&warden).await.has(200).json();
    let after = ask(&t, &made).token(&warden).await.has(200).json();
    for key in ["name", "description", "scopes", "user_id", "revoked", "active"] {
        assert_eq!(before[key], after[key], "{key}");
    }
    assert_ne!(before["id"], after["id"]);
    let own = t.get(PATH).token(&ada.token([Scope::Api]).await).await.has(200).json();
    assert_eq!(super::names(&own), ["test"], "the successor is an impersonation token too");
}

/// Which of the two rules is in force is a setting; the row is that of the original.
async fn pat_097_a_rotated_token_rotates_another(t: TestServer) {
    let ada = t.user("ada").await;
    let (old, other) = (ada.made_token([Scope::Api]).await, ada.made_token([Scope::Api]).await);
    let next = secret(&t.post(&format!("{PATH}/self/rotate")).token(old.secret.reveal()).await.has(200).json());
    t.get("/api/v4/user").token(&next).await.has(200);
    ask(&t, &other).token(old.secret.reveal()).await.is(401, REVOKED);
    t.get("/api/v4/user").token(&next).await.is(401, REVOKED);
    t.get("/api/v4/user").token(other.secret.reveal()).await.has(200);
}

/// rotation.md rule 6: on the route of another number a dead token is just dead.
async fn a_rotated_token_rotates_another(t: TestServer) {
    let ada = t.user("ada").await;
    let (old, other) = (ada.made_token([Scope::Api]).await, ada.made_token([Scope::Api]).await);
    let next = secret(&t.post(&format!("{PATH}/self/rotate")).token(old.secret.reveal()).await.has(200).json());
    for made in [&old, &other] {
        ask(&t, made).token(old.secret.reveal()).await.is(401, REVOKED);
    }
    t.get("/api/v4/user").token(&next).await.has(200);
}

async fn an_expired_one(t: TestServer) {
    let ada = t.user("ada").await;
    let create = ada.create_token(Scopes::from([Scope::Api]), Some(t.now().date().plus_days(1)));
    let made = t.does(create).await;
    t.later(24 * 3600);
    let token = ada.token([Scope::Api]).await;
    ask(&t, &made).token(&token).await.is(400, r#"{"message":"400 Bad request - Token already expired"}"#);
}

async fn two_at_once(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::Api]).await, ada.token([Scope::Api]).await);
    let once = || async { ask(&t, &made).token(&token).await };
    let (one, two) = tokio::join!(once(), once());
    let (won, lost) = if one.status == 200 { (one, two) } else { (two, one) };
    lost.is(400, ALREADY);
    t.get("/api/v4/user").token(&secret(&won.has(200).json())).await.is_user(&ada);
    assert_eq!(t.count("token.rotated").await, 1);
}

async fn an_impersonation_token_is_the_administrators_to_rotate(t: TestServer) {
    let ada = t.user("ada").await;
    let made = impersonation(&t, &ada).await;
    ask(&t, &made).token(&ada.token([Scope::Api]).await).await.is(401, M401);
    t.get("/api/v4/user").token(made.secret.reveal()).await.is_user(&ada);
    ask(&t, &made).token(&t.admin().await.token([Scope::Api]).await).await.has(200);
}

/// authentication.md 3.3: the secret of the successor would give it to the caller.
async fn a_scope_that_the_credential_could_not_use(t: TestServer) {
    let warden = t.admin().await;
    let made = warden.made_token([Scope::Api, Scope::Sudo]).await;
    ask(&t, &made).token(&warden.token([Scope::Api]).await).await.is(400, NOT_ELIGIBLE);
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
    let body = ask(&t, &made).token(&warden.token([Scope::Api, Scope::Sudo]).await).await.has(200).json();
    assert_eq!(body["scopes"], json!(["api", "sudo"]));
    let session = warden.session().await;
    let made = warden.made_token([Scope::AdminMode]).await;
    ask(&t, &made).session(&session).with("x-csrf-token", &session.csrf()).await.has(200);
}

async fn a_scope_as_the_original(t: TestServer) {
    let warden = t.admin().await;
    let made = warden.made_token([Scope::Api, Scope::Sudo]).await;
    ask(&t, &made).token(&warden.token([Scope::Api]).await).await.has(200);
}

async fn a_scope_that_the_owner_has_lost(t: TestServer) {
    let (warden, second) = (t.admin().await, t.admin_named("second").await);
    let made = second.made_token([Scope::Api, Scope::Sudo]).await;
    let administrator = async |is: bool| {
        let change = format!("UPDATE users SET administrator = {is} WHERE id = {}", second.id);
        by_hand(&t.url(), &change).await.expect("it is done");
    };
    administrator(false).await;
    let by = warden.token([Scope::Api, Scope::Sudo]).await;
    for token in [&by, made.secret.reveal()] {
        ask(&t, &made).token(token).await.is(400, NOT_ELIGIBLE);
    }
    t.post(&format!("{PATH}/self/rotate")).token(made.secret.reveal()).await.is(400, NOT_ELIGIBLE);
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
    administrator(true).await;
    ask(&t, &made).token(&by).await.has(200);
}

/// The right may end between the pipeline and the transaction.
async fn whoever_rotates_is_checked_with_the_change(t: TestServer) {
    let (ada, eve, warden) = (t.user("ada").await, t.user("eve").await, t.admin().await);
    t.person(CreateUser { administrator: true, ..CreateUser::person("second", "Second") }).await;
    let made = ada.made_token([Scope::Api]).await;
    let tried = async |by: &Person| {
        let caller = Some(Asker { user: by.id, grantable: None });
        let rotate = RotateById { id: made.token.id, caller, expires_at: None, require_expiry: true };
        t.app.perform(rotate, &By::system()).await.map(drop)
    };
    let refused = Err(Error::Refused(Refusal::NotYours));
    assert_eq!(tried(&eve).await, refused);
    t.does(SetState::block(warden.id)).await;
    assert_eq!(tried(&warden).await, refused);
    t.does(SetState::block(ada.id)).await;
    assert_eq!(tried(&ada).await, refused);
    t.does(SetState::unblock(ada.id)).await;
    assert_eq!(tried(&ada).await, Ok(()));
}

//! One token by its number: shown and revoked (rest-api.md 2.3, 2.7).

use serde_json::json;
use tollhouse::error::Error;
use tollhouse::operations::tokens::RevokeAs;
use tollhouse::operations::users::{CreateUser, SetState};
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::PersonalAccessTokenId;
use tollhouse_domain::scope::Scope;

use super::{PATH, impersonation, one};
use crate::test_server::{M401, Person, REVOKED, TestServer};

cases![
    pat_021_its_owner_sees_it,
    pat_022_an_administrator_sees_anybodys,
    pat_023_an_administrator_is_told_that_there_is_none,
    pat_024_somebody_elses_and_an_unknown_one_are_the_same,
    pat_025_a_scope_that_opens_nothing,
    pat_026_the_addresses_it_was_used_from,
    pat_033_an_administrator_revokes_anybodys,
    pat_034_a_scope_that_only_reads_revokes_nothing,
    pat_035_somebody_elses_is_not_revoked,
    pat_036_its_owner_revokes_it,
    pat_037_an_impersonation_token_is_the_administrators_to_revoke,
    pat_041_an_impersonation_token_and_itself,
    auth_131_an_impersonation_token_does_not_revoke_itself,
    a_number_that_is_none,
    a_repeated_revocation_succeeds,
    whoever_revokes_is_checked_with_the_change,
    the_five_newest_addresses_are_kept,
];

const NO_RIGHT: &str = r#"{"message":"400 Bad request"}"#;
const SELF: &str = "/api/v4/personal_access_tokens/self";

async fn pat_021_its_owner_sees_it(t: TestServer) {
    let ada = t.user("ada").await;
    let (other, token) = (ada.made_token([Scope::ReadUser]).await, ada.token([Scope::ReadApi]).await);
    let body = t.get(&one(&other)).token(&token).await.has(200).json();
    assert_eq!((&body["id"], &body["user_id"]), (&json!(other.token.id), &json!(ada.id)));
    assert_eq!((&body["scopes"], &body["granular"], body.get("token")), (&json!(["read_user"]), &json!(false), None));
    t.get(&one(&other)).session(&ada.session().await).await.has(200);
}

async fn pat_022_an_administrator_sees_anybodys(t: TestServer) {
    let other = t.user("ada").await.made_token([Scope::ReadUser]).await;
    let warden = t.admin().await.token([Scope::ReadApi]).await;
    assert_eq!(t.get(&one(&other)).token(&warden).await.has(200).json()["id"], json!(other.token.id));
}

async fn pat_023_an_administrator_is_told_that_there_is_none(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    t.get(&format!("{PATH}/999999")).token(&warden).await.is(404, r#"{"message":"404 Not Found"}"#);
    t.delete(&format!("{PATH}/999999")).token(&warden).await.is(404, r#"{"message":"404 Not found"}"#);
}

async fn pat_024_somebody_elses_and_an_unknown_one_are_the_same(t: TestServer) {
    let other = t.user("ada").await.made_token([Scope::Api]).await;
    let token = t.user("eve").await.token([Scope::Api]).await;
    let replies = [t.get(&one(&other)).token(&token).await, t.get(&format!("{PATH}/999999")).token(&token).await];
    for reply in &replies {
        reply.is(401, M401);
        assert_eq!(reply.reason, Some("not_yours"));
        assert_eq!(reply.header("www-authenticate"), replies[0].header("www-authenticate"));
    }
}

async fn pat_025_a_scope_that_opens_nothing(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::ReadRepository]).await;
    t.get(&one(&made)).token(made.secret.reveal()).await.is_insufficient_scope();
}

async fn pat_026_the_addresses_it_was_used_from(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::Api]).await;
    let reply = t.get(&one(&made)).token(made.secret.reveal()).await;
    assert!(reply.has(200).json()["last_used_ips"].is_array(), "{}", reply.body);
    assert!(reply.body.contains(r#","last_used_ips":["#) && reply.body.ends_with("]}"), "it is the last key");
}

async fn pat_033_an_administrator_revokes_anybodys(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::Api]).await;
    let warden = t.admin().await.token([Scope::Api]).await;
    t.delete(&one(&made)).token(&warden).await.is(204, "");
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
    assert_eq!(t.get(&one(&made)).token(&warden).await.has(200).json()["revoked"], true);
    assert_eq!(t.count("token.revoked").await, 1);
}

async fn pat_034_a_scope_that_only_reads_revokes_nothing(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::Api]).await;
    let warden = t.admin().await.token([Scope::ReadApi]).await;
    t.delete(&one(&made)).token(&warden).await.is_insufficient_scope();
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
}

async fn pat_035_somebody_elses_is_not_revoked(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::Api]).await;
    let token = t.user("eve").await.token([Scope::Api]).await;
    t.delete(&one(&made)).token(&token).await.is(400, NO_RIGHT);
    // What exists is not told.
    t.delete(&format!("{PATH}/999999")).token(&token).await.is(400, NO_RIGHT);
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(200);
    t.delete(&one(&made)).await.is(401, M401);
}

async fn pat_036_its_owner_revokes_it(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::ReadUser]).await, ada.made_token([Scope::Api]).await);
    t.delete(&one(&made)).token(token.secret.reveal()).await.is(204, "");
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
    // Its own number, which leaves nothing to ask with.
    t.delete(&one(&token)).token(token.secret.reveal()).await.is(204, "");
    t.delete(&one(&token)).token(token.secret.reveal()).await.is(401, REVOKED);
}

async fn pat_037_an_impersonation_token_is_the_administrators_to_revoke(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (impersonation(&t, &ada).await, ada.token([Scope::Api]).await);
    t.delete(&one(&made)).token(&token).await.is(400, NO_RIGHT);
    t.get("/api/v4/user").token(made.secret.reveal()).await.is_user(&ada);
    let warden = t.admin().await.token([Scope::Api]).await;
    t.delete(&one(&made)).token(&warden).await.is(204, "");
    t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
}

async fn pat_041_an_impersonation_token_and_itself(t: TestServer) {
    let made = impersonation(&t, &t.user("ada").await).await;
    t.delete(SELF).token(made.secret.reveal()).await.is(400, NO_RIGHT);
    let made = impersonation(&t, &t.admin().await).await;
    t.delete(SELF).token(made.secret.reveal()).await.is(204, "");
}

async fn auth_131_an_impersonation_token_does_not_revoke_itself(t: TestServer) {
    let ada = t.user("ada").await;
    let made = impersonation(&t, &ada).await;
    t.delete(SELF).token(made.secret.reveal()).await.is(400, NO_RIGHT);
    t.get("/api/v4/user").token(made.secret.reveal()).await.is_user(&ada);
}

async fn a_number_that_is_none(t: TestServer) {
    let warden = t.admin().await.token([Scope::Api]).await;
    for id in ["x", "-1", "99999999999999999999", "%31x"] {
        let no_route = r#"{"error":"404 Not Found"}"#;
        t.get(&format!("{PATH}/{id}")).token(&warden).await.is(404, no_route);
        t.delete(&format!("{PATH}/{id}")).token(&warden).await.is(404, no_route);
        t.post(&format!("{PATH}/{id}/rotate")).token(&warden).await.is(404, no_route);
    }
}

/// Whoever did not hear of the first answer asks again.
async fn a_repeated_revocation_succeeds(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, token) = (ada.made_token([Scope::Api]).await, ada.token([Scope::Api]).await);
    for _ in 0..2 {
        t.delete(&one(&made)).token(&token).await.is(204, "");
    }
    assert_eq!(t.count("token.revoked").await, 1);
}

/// The right may end between the pipeline and the transaction.
async fn whoever_revokes_is_checked_with_the_change(t: TestServer) {
    let (ada, eve, warden) = (t.user("ada").await, t.user("eve").await, t.admin().await);
    t.person(CreateUser { administrator: true, ..CreateUser::person("second", "Second") }).await;
    let tried = async |by: &Person, id: PersonalAccessTokenId| {
        t.app.perform(RevokeAs { id, caller: by.id }, &By::system()).await.map(tollhouse::operations::Done::into_inner)
    };
    let refused = Err(Error::Refused(Refusal::NotYours));
    let made = ada.made_token([Scope::Api]).await.token.id;
    assert_eq!(tried(&eve, made).await, refused);
    t.does(SetState::block(warden.id)).await;
    assert_eq!(tried(&warden, made).await, refused);
    assert_eq!(tried(&ada, made).await, Ok(true));
    let made = ada.made_token([Scope::Api]).await.token.id;
    t.does(SetState::block(ada.id)).await;
    assert_eq!(tried(&ada, made).await, Ok(true), "it takes nothing but her own right away");
}

async fn the_five_newest_addresses_are_kept(t: TestServer) {
    let ada = t.user("ada").await;
    let (made, reader) = (ada.made_token([Scope::Api]).await, ada.token([Scope::Api]).await);
    let used = async |from: &str| {
        t.get("/api/v4/user").token(made.secret.reveal()).from(from.parse().expect("an address")).await.has(200);
    };
    let shown = async || t.get(&one(&made)).token(&reader).await.has(200).json()["last_used_ips"].clone();
    assert_eq!(shown().await, json!([]));
    // IPv6 addresses of one /64 are one, and so is an IPv4 address that is written as IPv6.
    for from in ["192.0.2.1", "2001:db8:1:2::7", "2001:db8:1:2:ffff::8", "::ffff:192.0.2.1", "192.0.2.3"] {
        used(from).await;
    }
    tollhouse::job::flush(&t.app).await;
    assert_eq!(shown().await, json!(["192.0.2.3", "2001:db8:1:2::/64", "192.0.2.1"]));
    let at = t.get(&one(&made)).token(&reader).await.has(200).json()["last_used_at"].clone();
    // Another address is noted before the interval of the last use is over, and that time stays.
    t.later(60);
    for from in ["192.0.2.4", "192.0.2.5", "192.0.2.6"] {
        used(from).await;
    }
    tollhouse::job::flush(&t.app).await;
    assert_eq!(shown().await, json!(["192.0.2.6", "192.0.2.5", "192.0.2.4", "192.0.2.3", "2001:db8:1:2::/64"]));
    assert_eq!(t.get(&one(&made)).token(&reader).await.has(200).json()["last_used_at"], at);
    // The token itself is told of this request too, and a server that remembers nothing knows the others.
    let again = t.reopened("").await;
    let own = again.get(SELF).token(made.secret.reveal()).from([192, 0, 2, 9].into()).await.has(200).json();
    assert_eq!(own["last_used_ips"], json!(["192.0.2.9", "192.0.2.6", "192.0.2.5", "192.0.2.4", "192.0.2.3"]));
    again.leave().await;
    // They stay as long as the token does, rotated or revoked.
    t.delete(&one(&made)).token(&reader).await.is(204, "");
    assert_eq!(shown().await[0], "192.0.2.6");
}

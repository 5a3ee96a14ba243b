//! The state of an account (authentication.md 2.4). Every state is reached by an operation.

use std::time::Duration;

use tollhouse::operations::users::{Confirm, SetPassword, SetState};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::AccountState;

use crate::town::{EXPIRED, Town};

cases![
    auth_052_blocked,
    auth_057_banned,
    auth_060_password_expired,
    auth_061_unconfirmed,
    auth_062_locked_as_the_original with "compat.lockout = 'gitlab'",
    auth_063_expired_comes_before_blocked,
    auth_064_blocked_comes_before_the_scope,
    rest_013_a_blocked_users_token,
    a_lock_stops_no_token,
    states_come_and_go_by_operations,
    an_unconfirmed_account_may_come_in_where_none_must_be with "accounts.confirmation_required = false",
];

const BLOCKED: &str = "Your account has been blocked.";

async fn auth_052_blocked(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
}

async fn auth_057_banned(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    ada.set_state(SetState::ban(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
}

async fn auth_060_password_expired(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let expires_at = Some(t.now() + Duration::from_secs(60));
    t.does(&SetPassword { user: ada.id, seen: None, digest: "x".into(), expires_at }).await;
    t.get("/api/v4/user").token(&token).await;
    t.later(60);
    let text = "Your password expired. Please access GitLab from a web browser to update your password.";
    t.get("/api/v4/user").token(&token).await.is_forbidden(text);
}

async fn auth_061_unconfirmed(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.does(&Confirm { user: ada.id, confirmed: false }).await;
    let text = "Your primary email address is not confirmed. Please check your inbox for the confirmation instructions. In case the link is expired, you can request a new confirmation email at http://127.0.0.1:8080/users/confirmation/new";
    t.get("/api/v4/user").token(&token).await.is_forbidden(text);
}

async fn auth_062_locked_as_the_original(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let token = ada.token([Scope::Api]).await;
    for _ in 0..10 {
        super::sign_in::guess(&t, "ada", "wrong horse").await;
    }
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
    t.later(601);
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn auth_063_expired_comes_before_blocked(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.expired_token([Scope::Api]).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is(401, EXPIRED);
}

async fn auth_064_blocked_comes_before_the_scope(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/projects").token(&token).await.is_forbidden(BLOCKED);
}

async fn rest_013_a_blocked_users_token(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadApi]).await;
    ada.set_state(SetState::block(ada.id)).await;
    let reply = t.get("/api/v4/projects").token(&token).await;
    let message = reply.has(403).json()["message"].as_str().expect("a message").to_owned();
    assert!(message.starts_with("403 Forbidden - "), "{message}");
}

async fn a_lock_stops_no_token(t: Town) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    for _ in 0..12 {
        super::sign_in::guess(&t, "ada", "wrong horse").await;
    }
    let reply = t.get("/api/v4/user").token(&token).await;
    assert_eq!(reply.is_user(&ada).json()["locked"], true);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
}

async fn states_come_and_go_by_operations(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let user = || t.get("/api/v4/user").token(&token);
    ada.set_state(SetState::deactivate(ada.id)).await;
    user().await.is_forbidden("Your account has been deactivated by your administrator. Please log back in from a web browser to reactivate your account at http://127.0.0.1:8080");
    ada.set_state(SetState::activate(ada.id)).await;
    user().await.is_user(&ada);
    ada.set_state(SetState::block(ada.id)).await;
    user().await.has(403);
    ada.set_state(SetState::unblock(ada.id)).await;
    user().await.is_user(&ada);
    ada.set_state(SetState::ban(ada.id)).await;
    ada.set_state(SetState::unban(ada.id)).await;
    user().await.is_user(&ada);
    assert!(!t.does(&SetState::unban(ada.id)).await, "who is not banned cannot be unbanned");

    let mut pending = tollhouse::operations::users::Create::person("grace", "Grace");
    pending.state = AccountState::BlockedPendingApproval;
    let grace = t.person(pending).await;
    let token = grace.token([Scope::Api]).await;
    let reply = t.get("/api/v4/user").token(&token).await;
    reply.is_forbidden("Your account is pending approval from your administrator and hence blocked.");
    grace.set_state(SetState::approve(grace.id)).await;
    t.get("/api/v4/user").token(&token).await.is_user(&grace);
}

async fn an_unconfirmed_account_may_come_in_where_none_must_be(t: Town) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.does(&Confirm { user: ada.id, confirmed: false }).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

//! The state of an account (authentication.md 2.4). Every state is reached by an operation.

use std::time::Duration;

use tollhouse::error::Error;
use tollhouse::operations::Operation;
use tollhouse::operations::users::{Confirm, CreateUser, SetPassword, SetState};
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::user::AccountState;

use super::sign_in::guess;
use crate::test_server::{EXPIRED, Person, TestServer};

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
    an_account_without_an_address_signs_in_by_name,
    t22_an_account_without_an_address_has_no_email_claims,
    t31_the_last_administrator_is_not_blocked,
    t31_of_two_administrators_who_block_each_other_one_remains,
    states_come_and_go_by_operations,
    an_unconfirmed_account_may_come_in_where_none_must_be with "accounts.confirmation_required = false",
];

const BLOCKED: &str = "Your account has been blocked.";

async fn auth_052_blocked(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
}

async fn auth_057_banned(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    ada.set_state(SetState::ban(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
}

async fn auth_060_password_expired(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let expires_at = Some(t.now() + Duration::from_secs(60));
    t.does(SetPassword { user: ada.id, seen: None, digest: "x".into(), expires_at }).await;
    t.get("/api/v4/user").token(&token).await;
    t.later(60);
    let text = "Your password expired. Please access GitLab from a web browser to update your password.";
    t.get("/api/v4/user").token(&token).await.is_forbidden(text);
}

async fn auth_061_unconfirmed(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    let text = "Your primary email address is not confirmed. Please check your inbox for the confirmation instructions. In case the link is expired, you can request a new confirmation email at http://127.0.0.1:8080/users/confirmation/new";
    t.get("/api/v4/user").token(&token).await.is_forbidden(text);
}

async fn auth_062_locked_as_the_original(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let token = ada.token([Scope::Api]).await;
    for _ in 0..10 {
        super::sign_in::guess(&t, "ada", "wrong horse").await;
    }
    t.get("/api/v4/user").token(&token).await.is_forbidden(BLOCKED);
    t.later(601);
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

async fn auth_063_expired_comes_before_blocked(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.expired_token([Scope::Api]).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/user").token(&token).await.is(401, EXPIRED);
}

async fn auth_064_blocked_comes_before_the_scope(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadUser]).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get("/api/v4/projects").token(&token).await.is_forbidden(BLOCKED);
}

async fn rest_013_a_blocked_users_token(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::ReadApi]).await;
    ada.set_state(SetState::block(ada.id)).await;
    let reply = t.get("/api/v4/projects").token(&token).await;
    let message = reply.has(403).json()["message"].as_str().expect("a message").to_owned();
    assert!(message.starts_with("403 Forbidden - "), "{message}");
}

async fn a_lock_stops_no_token(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    for _ in 0..12 {
        super::sign_in::guess(&t, "ada", "wrong horse").await;
    }
    let reply = t.get("/api/v4/user").token(&token).await;
    assert_eq!(reply.is_user(&ada).json()["locked"], true);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
}

async fn states_come_and_go_by_operations(t: TestServer) {
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
    assert!(!t.does(SetState::unban(ada.id)).await, "who is not banned cannot be unbanned");

    let mut pending = tollhouse::operations::users::CreateUser::person("grace", "Grace");
    pending.state = AccountState::BlockedPendingApproval;
    let grace = t.person(pending).await;
    let token = grace.token([Scope::Api]).await;
    let reply = t.get("/api/v4/user").token(&token).await;
    reply.is_forbidden("Your account is pending approval from your administrator and hence blocked.");
    grace.set_state(SetState::approve(grace.id)).await;
    t.get("/api/v4/user").token(&token).await.is_user(&grace);
}

async fn an_unconfirmed_account_may_come_in_where_none_must_be(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
}

const LAST: &str = "refused: this is the last administrator who can act; create another one first";

type Change = fn(UserId) -> SetState;

/// Every way in which an account is kept from acting, and the way back.
const BLOCKING: [(Change, Change); 3] = [
    (SetState::block, SetState::unblock),
    (SetState::ban, SetState::unban),
    (SetState::deactivate, SetState::activate),
];

async fn refused_as_last<O: Operation>(t: &TestServer, operation: O) {
    let refused = t.app.perform(operation, &By::system()).await.err();
    assert_eq!(refused, Some(Error::Refused(Refusal::LastAdministrator)));
}

async fn t31_the_last_administrator_is_not_blocked(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let token = warden.token([Scope::Api]).await;
    let unconfirm = |user| Confirm { user, confirmed: false };
    for (block, back) in BLOCKING {
        refused_as_last(&t, block(warden.id)).await;
        // Somebody who is no administrator does not count, on either side.
        ada.set_state(block(ada.id)).await;
        ada.set_state(back(ada.id)).await;
    }
    refused_as_last(&t, unconfirm(warden.id)).await;
    t.get("/api/v4/user").token(&token).await.is_user(&warden);
    let refused = t.shell(&["user", "block", "warden"]).await;
    assert!(refused.refused(1).starts_with(LAST), "{refused:?}");
    assert_eq!(t.count("user.blocked").await, 1, "ada alone");

    let second = CreateUser { administrator: true, ..CreateUser::person("second", "Second") };
    let second = t.person(second).await;
    for (block, back) in BLOCKING {
        second.set_state(block(second.id)).await;
        refused_as_last(&t, block(warden.id)).await;
        refused_as_last(&t, unconfirm(warden.id)).await;
        second.set_state(back(second.id)).await;
        warden.set_state(block(warden.id)).await;
        refused_as_last(&t, block(second.id)).await;
        warden.set_state(back(warden.id)).await;
    }
    t.does(unconfirm(second.id)).await;
    refused_as_last(&t, SetState::block(warden.id)).await;
    // One who cannot act already may be blocked all the same.
    second.set_state(SetState::block(second.id)).await;
}

/// The first transaction is open while the second one asks: it has to wait for the end of the first.
async fn t31_of_two_administrators_who_block_each_other_one_remains(t: TestServer) {
    let second = CreateUser { administrator: true, ..CreateUser::person("second", "Second") };
    let (warden, second) = (t.admin().await, t.person(second).await);
    for ((one, back), (other, _)) in BLOCKING.into_iter().zip(BLOCKING.into_iter().rev()) {
        let mut first = t.app.db.begin().await.expect("a transaction");
        let Ok(change) = one(warden.id).run(&mut first, t.now()).await else { panic!("the first may") };
        let app = t.app.clone();
        let asked = tokio::task::spawn_local(async move { app.perform(other(second.id), &By::system()).await.err() });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!asked.is_finished(), "it waits");
        first.commit(change, &By::system(), t.now()).await.map(drop).expect("committed");
        let refused = asked.await.expect("an end");
        assert_eq!(refused, Some(Error::Refused(Refusal::LastAdministrator)));
        warden.set_state(back(warden.id)).await;
    }
    // The same by two commands at once, as often as it takes to meet.
    for _ in 0..4 {
        let (warden_is, second_is) = (["user", "block", "warden"], ["user", "block", "second"]);
        let (one, other) = tokio::join!(t.shell(&warden_is), t.shell(&second_is));
        assert_eq!([one.code, other.code].iter().filter(|code| **code == Some(0)).count(), 1, "{one:?} {other:?}");
        for (said, person) in [(one, &warden), (other, &second)] {
            match said.code {
                Some(0) => person.set_state(SetState::unblock(person.id)).await,
                _ => assert!(said.refused(1).starts_with(LAST), "{said:?}"),
            }
        }
    }
}

/// Somebody with a password and no address.
async fn without_email(t: &TestServer, name: &str) -> Person {
    let digest = t.app.hasher.hash(&Plaintext::new("correct horse".into())).await;
    t.person(CreateUser { password_digest: Some(digest), ..CreateUser::without_email(name, name) }).await
}

async fn an_account_without_an_address_signs_in_by_name(t: TestServer) {
    let (ada, warden) = (without_email(&t, "ada").await, t.admin().await);
    without_email(&t, "grace").await;
    guess(&t, "ada", "correct horse").await.has(302);
    // What stands in place of an address is none: nobody is found by it.
    let sql = "UPDATE users SET lower_email = 'none-of-ada' WHERE username = 'ada'";
    tollhouse_store::faults::by_hand(&t.url(), sql).await.expect("changed");
    for login in ["none-of-ada", "", " "] {
        guess(&t, login, "correct horse").await.has(200);
    }
    let token = warden.token([Scope::Api]).await;
    assert_eq!(t.get("/api/v4/users?search=none-of-ada").token(&token).await.json(), serde_json::json!([]));
    // Nothing is confirmed that is not there.
    t.does(Confirm { user: ada.id, confirmed: true }).await;
    let shown = t.get(&format!("/api/v4/users/{}", ada.id)).token(&token).await.json();
    assert!(shown["confirmed_at"].is_null() && shown["email"] == "", "{shown}");
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    guess(&t, "ada", "correct horse").await.has(302);
}

async fn t22_an_account_without_an_address_has_no_email_claims(t: TestServer) {
    let ada = without_email(&t, "ada").await;
    let client = t.client("openid profile email").await;
    let pair = client.tokens(&ada, "openid profile email").await;
    let told = t.get("/oauth/userinfo").bearer(&pair.access).await.has(200).json();
    assert_eq!(told["nickname"], "ada");
    for claim in ["email", "email_verified"] {
        assert!(told.get(claim).is_none(), "{told}");
    }
}

//! Whoever takes a right away: one transaction, its number drawn last, and nobody is told before everybody knows.

use std::time::Duration;

use axum::http::Method;
use tokio::time::{Instant, sleep, timeout};
use tollhouse::error::Error;
use tollhouse::operations::Done;
use tollhouse::operations::rotate::{RotateById, RotateSelf};
use tollhouse::operations::rotation::Rotated;
use tollhouse::refusal::Refusal;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::agreement::{LEASE, WAIT};
use tollhouse_domain::audit::By;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::faults;

use super::{SELF, USER, laggard, newest, numbers, revoked_here_refused_there, row, settled, until};
use crate::test_server::{REVOKED, TestServer};

cases![
    w1_the_change_and_its_entry_are_one_transaction breaks EntryAfter,
    w1_a_change_has_an_entry breaks NoEntry,
    w2_numbers_are_drawn_last_and_held_to_the_end breaks Sequence,
    w3_everybody_is_waited_for_and_then_given_up_on breaks NoWait,
    who_stands_still_in_a_transaction_is_left_behind,
    the_writer_is_given_back_before_the_wait,
    w4_a_repeat_waits_like_the_first breaks RepeatWithoutWait,
    w4_a_repeat_by_command_waits_too breaks RepeatWithoutWait,
    w4_a_repeated_change_of_a_group_waits_too breaks RepeatWithoutWait,
    w5_a_refusal_that_ends_a_family_waits breaks NoWait,
    d1_what_is_acknowledged_is_on_the_disk,
];

const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";

async fn w1_the_change_and_its_entry_are_one_transaction(t: TestServer) {
    let ada = t.user("ada").await;
    let other = t.reopened("").await;
    settled(&other).await;
    let made = ada.made_token([Scope::Api]).await;
    let token = made.secret.reveal();
    other.get(USER).token(token).await.is_user(&ada);
    let before = newest(&t).await;
    // It happens, though nobody hears of it: the change has its entry, and is there only with it.
    t.app.db.faults.set(faults::Fault::CommitReply);
    t.delete(SELF).token(token).await.has(503);
    t.app.db.faults.set(faults::Fault::None);
    assert_eq!(t.log(before + 1).await, [(before + 1, Invalidation::Family(made.token.family_id))]);
    // What does not happen has none.
    let second = ada.token([Scope::Api]).await;
    t.app.db.faults.set(faults::Fault::Writes);
    t.delete(SELF).token(&second).await.has(503);
    t.app.db.faults.set(faults::Fault::None);
    assert_eq!(newest(&t).await, before + 1);
    t.get(USER).token(&second).await.is_user(&ada);
    t.app.settled().await;
    other.get(USER).token(token).await.is(401, REVOKED);
    other.leave().await;
}

async fn w1_a_change_has_an_entry(t: TestServer) {
    let other = t.reopened("").await;
    revoked_here_refused_there(&t, &other).await;
    other.leave().await;
}

/// Two transactions by hand (9.4): the second must wait until the first has ended.
async fn w2_numbers_are_drawn_last_and_held_to_the_end(t: TestServer) {
    let other = t.reopened("").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    settled(&other).await;
    let mut first = t.app.db.begin().await.expect("a transaction");
    let drawn = faults::draw(&mut first, t.now()).await.expect("a number");
    let revoker = other.clone();
    let second = tokio::task::spawn_local(async move { revoker.delete(SELF).token(&token).await.status.as_u16() });
    sleep(Duration::from_millis(300)).await;
    assert!(!second.is_finished(), "a number was drawn past one that is not committed");
    assert!(newest(&other).await < drawn, "neither is seen");
    faults::let_go(first).await.expect("a commit");
    assert_eq!(second.await.expect("an answer"), 204);
    assert_eq!(numbers(&t, drawn).await, [drawn, drawn + 1], "in the order of their commits, and none left out");
    other.leave().await;
}

async fn w3_everybody_is_waited_for_and_then_given_up_on(t: TestServer) {
    let ada = t.user("ada").await;
    let tokens = [ada.token([Scope::Api]).await, ada.token([Scope::Api]).await, ada.token([Scope::Api]).await];
    let healthy = t.reopened("").await;
    let (own, other, late) = (settled(&t).await, settled(&healthy).await, laggard(&t).await);
    let began = Instant::now();
    t.delete(SELF).token(&tokens[0]).await.has(204);
    assert!(began.elapsed() > WAIT && WAIT > LEASE, "any lease that it may have had is over");
    assert!(row(&t, late).await.expect("its row").marked, "the next one need not wait again");
    t.delete(SELF).token(&tokens[1]).await.has(204);
    assert!(row(&t, late).await.is_none(), "it was marked all the while");
    t.delete(SELF).token(&tokens[2]).await.has(204);
    for id in [own, other] {
        assert!(!row(&t, id).await.expect("its row").marked, "who reads is not given up on");
    }
    healthy.leave().await;
}

/// Several processes share one file and its one writer. A revocation that kept it while it waits would make every other
/// process wait as well, and those must write down that they have read.
async fn the_writer_is_given_back_before_the_wait(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let ada = t.user("ada").await;
    let tokens = [ada.token([Scope::Api]).await, ada.token([Scope::Api]).await];
    let other = t.reopened("").await;
    settled(&t).await;
    let has_to_wait = async |token: &str| {
        laggard(&t).await;
        let before = newest(&t).await;
        let request = t.delete(SELF).token(token);
        let revoking = tokio::task::spawn_local(async move { request.await.status.as_u16() });
        until("its entry", async || (newest(&t).await != before).then_some(())).await;
        // Eight looks end long before the wait does, unless one of them waits for the writer.
        for _ in 0..8 {
            drop(other.app.db.begin().await);
            sleep(Duration::from_millis(50)).await;
        }
        let waited = revoking.is_finished();
        assert_eq!(revoking.await.expect("an answer"), 204);
        waited
    };
    assert!(!has_to_wait(&tokens[0]).await, "other processes can write while a revocation waits");
    super::by_hand(&t, "DELETE FROM nodes WHERE name = 'laggard'").await;
    t.app.db.faults.mutants.set(Some(Mutant::ConnectionKept));
    assert!(has_to_wait(&tokens[1]).await, "a revocation that keeps the writer is noticed");
    other.leave().await;
}

async fn w4_a_repeat_waits_like_the_first(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    settled(&t).await;
    let gone = Duration::from_millis(100);
    for how in ["revocation", "sign-out"] {
        let late = laggard(&t).await;
        let ask = || match how {
            "revocation" => t.delete(SELF).token(&token),
            _ => t.post("/users/sign_out").session(&session).form(""),
        };
        // Whoever asked goes away; it happens all the same.
        assert!(timeout(gone, ask().send()).await.is_err(), "the {how} waits");
        let began = Instant::now();
        let repeat = ask().await;
        match how {
            "revocation" => repeat.is(401, REVOKED),
            _ => repeat.has(302),
        };
        assert!(began.elapsed() > WAIT, "a repeated {how} is acknowledged like the first");
        let row = row(&t, late).await;
        assert!(row.is_none_or(|row| row.marked));
        super::by_hand(&t, "DELETE FROM nodes WHERE name = 'laggard'").await;
    }
}

/// The same for an operation that no face asks whether there is anything left to do.
async fn w4_a_repeat_by_command_waits_too(t: TestServer) {
    let made = t.user("ada").await.made_token([Scope::Api]).await;
    settled(&t).await;
    laggard(&t).await;
    let rotate = RotateById { id: made.token.id, caller: None, expires_at: None, require_expiry: true };
    let by = By::system();
    assert!(timeout(Duration::from_millis(100), t.app.perform(rotate.clone(), &by)).await.is_err(), "it waits");
    let began = Instant::now();
    let repeat = t.app.perform(rotate, &by).await;
    assert!(matches!(repeat, Err(Error::Refused(Refusal::AlreadyRevoked))), "it is done already");
    assert!(began.elapsed() > WAIT);
}

/// A group that is narrowed or moved: the first answer, and that to a repeat by number or by the old path (T27).
async fn w4_a_repeated_change_of_a_group_waits_too(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    settled(&t).await;
    for (change, by_path) in [("visibility=private", false), ("path=moved", false), ("path=moved-again", true)] {
        let name = change.split('=').next_back().unwrap_or_default().replace("-again", "");
        let group = t.group(&format!("group-{name}-{by_path}"), Visibility::Public).await;
        t.member(MembershipSource::Group(group), &ada, AccessLevel::Owner).await;
        let id = if by_path { format!("group-{name}-{by_path}") } else { group.to_string() };
        let ask = || t.ask(Method::PUT, &format!("/api/v4/groups/{id}")).token(&token).form(change);
        laggard(&t).await;
        assert!(timeout(Duration::from_millis(100), ask().send()).await.is_err(), "{change} waits");
        let began = Instant::now();
        ask().await.has(if by_path { 404 } else { 200 });
        assert!(began.elapsed() > WAIT, "a repeated {change} is acknowledged like the first");
        super::by_hand(&t, "DELETE FROM nodes WHERE name = 'laggard'").await;
    }
}

/// Whoever stands still in a transaction has drawn the last number, and nobody else gets one.
async fn who_stands_still_in_a_transaction_is_left_behind(t: TestServer) {
    // On SQLite that would be another process that has the one writer; it is waited for, and told of (503).
    if !t.app.db.is_postgres() {
        return;
    }
    let other = t.reopened("").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    settled(&other).await;
    let mut still = t.app.db.begin().await.expect("a transaction");
    let drawn = faults::draw(&mut still, t.now()).await.expect("a number");
    other.delete(SELF).token(&token).await.has(204);
    other.get(USER).token(&token).await.is(401, REVOKED);
    assert!(faults::let_go(still).await.is_err(), "it comes too late");
    assert_eq!(numbers(&t, drawn).await.first(), Some(&drawn), "its number was drawn again");
    other.leave().await;
}

async fn w5_a_refusal_that_ends_a_family_waits(t: TestServer) {
    let ada = t.user("ada").await;
    let old = ada.token([Scope::Api]).await;
    let rotated = t.post(ROTATE).token(&old).await.has(200).json();
    let new = rotated["token"].as_str().expect("a token");
    let other = t.reopened("").await;
    settled(&other).await;
    other.get(USER).token(new).await.is_user(&ada);
    t.later(300);
    let late = laggard(&t).await;
    let began = Instant::now();
    t.post(ROTATE).token(&old).await.is(401, REVOKED);
    assert!(began.elapsed() > WAIT, "it is told when the whole family is dead everywhere");
    assert!(row(&t, late).await.expect("its row").marked);
    other.get(USER).token(new).await.is(401, REVOKED);
    // So does the next refusal, by whatever way it comes to that: its presenter may have asked at the same time.
    super::by_hand(&t, "DELETE FROM nodes WHERE name = 'laggard'").await;
    laggard(&t).await;
    let presented = Plaintext::new(old);
    let rotate = RotateSelf { presented, expires_at: None, require_expiry: true, rules: t.app.rotation() };
    let began = Instant::now();
    let refused = t.app.perform(rotate, &By::system()).await;
    assert!(matches!(refused.map(Done::into_inner), Ok(Rotated::Dead)));
    assert!(began.elapsed() > WAIT);
    other.leave().await;
}

async fn d1_what_is_acknowledged_is_on_the_disk(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let full = if t.app.db.is_postgres() { "synchronous_commit=on" } else { "synchronous=2" };
    assert_eq!(t.app.db.durability().await.expect("an answer"), full);
    if t.app.db.is_postgres() {
        // Whatever the database itself is set to.
        let sql =
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$";
        super::by_hand(&t, sql).await;
    }
    let again = t.reopened("").await;
    assert_eq!(again.app.db.durability().await.expect("an answer"), full);
    // Without the reply to the commit nobody is told that it is.
    again.app.db.faults.set(faults::Fault::CommitReply);
    again.delete(SELF).token(&token).await.has(503);
    again.app.db.faults.set(faults::Fault::None);
    again.delete(SELF).token(&token).await.is(401, REVOKED);
    again.leave().await;
}

//! Requests that wait for one look-up together (A2, A4).

use tokio::task::JoinHandle;
use tollhouse_domain::invalidation::Invalidation;

use super::*;

type Task = JoinHandle<Result<bool, Denial>>;

/// Looks a token up in a task of its own, as far as that goes while the database holds its answers back.
async fn start(setup: &Setup, secret: &'static str) -> Task {
    let auth = setup.auth.clone();
    let task = tokio::spawn(async move {
        let request = with_token(secret);
        auth.authenticate(&PresentedCredentials::in_head(&request, None), &AccessRequirement::PLAIN, NOW)
            .await
            .map(|identity| identity.is_some())
    });
    settle().await;
    task
}

async fn end(task: Task) -> Result<bool, Denial> {
    task.await.expect("no panic")
}

fn setup() -> Setup {
    let setup = Setup::new();
    setup.memory.put_token("x", Row::of(Kind::PersonalAccessToken));
    setup.memory.put_token("y", Row::of(Kind::PersonalAccessToken));
    setup
}

#[tokio::test]
async fn under_a_lease_one_look_up_answers_all_who_wait() {
    for (leased, second, finds) in [(true, "x", 1), (true, "y", 2), (false, "x", 2)] {
        let setup = setup();
        if leased {
            setup.lease();
        }
        let held = setup.memory.gate.write().await;
        let tasks = [start(&setup, "x").await, start(&setup, second).await];
        assert_eq!(setup.memory.found(), finds, "lease: {leased}, then {second}");
        drop(held);
        for task in tasks {
            assert_eq!(end(task).await, Ok(true));
        }
        assert_eq!((setup.memory.found(), setup.auth.look_ups()), (finds, finds as u64));
    }
}

#[tokio::test]
async fn a_4_a_look_up_that_began_before_an_invalidation_is_not_joined() {
    let setup = setup();
    setup.lease();
    let held = setup.memory.gate.write().await;
    let first = start(&setup, "x").await;
    setup.cache.invalidate(&[Invalidation::Nothing]);
    let second = start(&setup, "x").await;
    assert_eq!(setup.memory.found(), 2);
    let third = start(&setup, "x").await;
    assert_eq!(setup.memory.found(), 2, "the newer look-up is joined");
    drop(held);
    for task in [first, second, third] {
        assert_eq!(end(task).await, Ok(true));
    }
}

#[tokio::test]
async fn an_older_look_up_that_ends_first_leaves_the_newer_one_to_be_joined() {
    let setup = setup();
    setup.lease();
    let held = setup.memory.gate.write().await;
    let first = start(&setup, "x").await;
    setup.cache.invalidate(&[Invalidation::Nothing]);
    let second = start(&setup, "x").await;
    first.abort();
    settle().await;
    let third = start(&setup, "x").await;
    assert_eq!(setup.memory.found(), 2);
    drop(held);
    assert_eq!((end(second).await, end(third).await), (Ok(true), Ok(true)));
}

#[tokio::test]
async fn whoever_waits_asks_when_the_leader_goes_away() {
    let setup = setup();
    setup.lease();
    let held = setup.memory.gate.write().await;
    let (first, second) = (start(&setup, "x").await, start(&setup, "x").await);
    first.abort();
    settle().await;
    assert_eq!(setup.memory.found(), 2);
    drop(held);
    assert_eq!(end(second).await, Ok(true));
}

#[tokio::test]
async fn a_failure_is_shared_and_not_remembered() {
    let setup = setup();
    setup.lease();
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    let held = setup.memory.gate.write().await;
    let tasks = [start(&setup, "x").await, start(&setup, "x").await];
    drop(held);
    for task in tasks {
        assert_eq!(end(task).await, Err(Denial::Unavailable));
    }
    assert_eq!(setup.memory.found(), 1);
    setup.memory.unavailable.store(false, Ordering::SeqCst);
    assert_eq!(end(start(&setup, "x").await).await, Ok(true));
    assert_eq!(setup.memory.found(), 2, "a look-up that has ended is not joined");
}

#[tokio::test]
async fn applications_are_looked_up_together_too() {
    let setup = Setup::leased();
    let held = setup.memory.gate.write().await;
    let ask = || {
        let auth = setup.auth.clone();
        tokio::spawn(async move { auth.application("client", None).await.map(|found| found.is_some()) })
    };
    let tasks = [ask(), ask()];
    settle().await;
    assert_eq!(setup.memory.asked_otherwise(), 1);
    drop(held);
    for task in tasks {
        assert_eq!(end(task).await, Ok(false));
    }
}

//! What is remembered, under which lease, and what is counted.

use tollhouse_domain::id::{ApplicationId, NamespaceId};
use tollhouse_domain::invalidation::Invalidation;

use super::*;
use crate::test_records::application;

#[tokio::test]
async fn answers_are_counted_as_known_unknown_and_asked() {
    let setup = Setup::leased();
    setup.memory.put_token("x", Row::of(Kind::PersonalAccessToken));
    let counts = |known, unknown, ask| CacheCounts { known, unknown, ask };
    for (secret, expected, remembered) in [
        ("x", counts(0, 0, 1), 1),
        ("x", counts(1, 0, 1), 1),
        ("x", counts(2, 0, 1), 1),
        ("nonsense", counts(2, 0, 2), 1),
        ("nonsense", counts(2, 1, 2), 1),
    ] {
        let _ = setup.authenticate(&with_token(secret)).await;
        assert_eq!((setup.auth.cache_counts(), setup.auth.remembered()), (expected, remembered), "{secret}");
        assert_eq!(setup.auth.look_ups(), expected.ask);
    }
    setup.memory.put_token("y", Row::of(Kind::PersonalAccessToken));
    let _ = setup.authenticate(&with_token("y")).await;
    assert_eq!((setup.auth.remembered(), setup.auth.look_ups(), setup.memory.found()), (2, 3, 3));
}

#[tokio::test]
async fn a_1_each_request_compares_the_lease_with_the_clock() {
    let setup = Setup::leased();
    setup.memory.put_token("x", Row::of(Kind::PersonalAccessToken));
    for (nanos, finds) in [(1, 1), (999, 1), (1_000, 2), (1_001, 3)] {
        setup.nanos.store(nanos, Ordering::SeqCst);
        assert_eq!(names(setup.authenticate(&with_token("x")).await), Ok(Some((1, None))));
        assert_eq!(setup.memory.found(), finds, "at {nanos}");
    }
}

#[tokio::test]
async fn an_application_is_remembered_until_it_is_forgotten() {
    let setup = Setup::leased();
    setup.memory.put_application(application(5));
    let found = async |client_id: &str| {
        setup.auth.application(client_id, None).await.map(|found| found.map(|application| application.id.0))
    };
    for (client_id, expected, asked) in
        [("client5", Some(5), 1), ("client5", Some(5), 1), ("client6", None, 2), ("client6", None, 2)]
    {
        assert_eq!(found(client_id).await, Ok(expected));
        assert_eq!(setup.memory.asked_otherwise(), asked, "{client_id}");
    }
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(found("client5").await, Ok(Some(5)));
    setup.cache.invalidate(&[Invalidation::Application(ApplicationId(5))]);
    assert_eq!(found("client5").await, Err(Denial::Unavailable));
    setup.memory.unavailable.store(false, Ordering::SeqCst);
    assert_eq!(found("client5").await, Ok(Some(5)));
}

#[tokio::test]
async fn t27_memberships_are_remembered_until_they_are_forgotten() {
    let setup = Setup::leased();
    let source = MembershipSource::Group(NamespaceId(5));
    let path = async |user| {
        let found = setup.auth.memberships(UserId(user), source, None, NOW).await;
        found.map(|memberships| memberships.path.clone().expect("a path").into_string())
    };
    let project = async |user| {
        let found = setup.auth.user_memberships(UserId(user), None, NOW).await;
        found.map(|memberships| memberships.projects[0].0.0)
    };
    for (user, asked) in [(1, 2), (1, 2), (2, 4), (2, 4)] {
        assert_eq!((path(user).await, project(user).await), (Ok(format!("of/{user}")), Ok(user)));
        assert_eq!(setup.memory.asked_otherwise(), asked, "user {user}");
    }
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    setup.cache.invalidate(&[Invalidation::Owner(UserId(1))]);
    assert_eq!((path(1).await, project(1).await), (Err(Denial::Unavailable), Err(Denial::Unavailable)));
    assert_eq!((path(2).await, project(2).await), (Ok("of/2".into()), Ok(2)));
}

#[tokio::test]
async fn t14_look_ups_of_one_address_wait_for_a_permit() {
    let setup = Setup::leased();
    setup.memory.put_token("x", Row::of(Kind::PersonalAccessToken));
    let (here, elsewhere) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
    let mut permits = Vec::new();
    for _ in 0..8 {
        permits.push(setup.auth.permit(here).await);
    }
    let auth = setup.auth.clone();
    let waiting = tokio::spawn(async move { auth.oauth_secret(token_key("x"), here, NOW).await.map(|_| ()) });
    settle().await;
    assert_eq!(setup.memory.found(), 0, "all permits are taken");
    assert!(setup.auth.oauth_secret(token_key("x"), elsewhere, NOW).await.is_ok());
    assert_eq!(setup.memory.found(), 1, "another address has permits of its own");
    setup.cache.invalidate(&[Invalidation::All]);
    permits.pop();
    assert_eq!(waiting.await.expect("no panic"), Ok(()));
    assert_eq!(setup.memory.found(), 2);
    assert_eq!(setup.auth.remembered(), 1, "what was forgotten during the wait does not count against it");
}

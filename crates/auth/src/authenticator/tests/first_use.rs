//! The first use of a token, which is noted before the request is judged (rotation.md rule 7).

use tollhouse_domain::denial::AccountFault;
use tollhouse_domain::invalidation::Invalidation;

use super::*;

fn unused() -> Row {
    Row { status: TokenStatus::Live { used: false }, ..Row::of(Kind::PersonalAccessToken) }
}

#[tokio::test]
async fn a_first_use_is_noted_once_and_the_token_is_read_again() {
    let setup = Setup::leased();
    setup.memory.put_token("x", unused());
    for (finds, first_uses) in [(2, 1), (2, 1)] {
        assert_eq!(names(setup.authenticate(&with_token("x")).await), Ok(Some((1, None))));
        assert_eq!((setup.memory.found(), setup.memory.first_used()), (finds, first_uses));
    }
    for status in [TokenStatus::Live { used: true }, TokenStatus::Rotated, TokenStatus::Ended] {
        setup.memory.put_token("other", Row { status, ..unused() });
        let _ = setup.authenticate(&with_token("other")).await;
        assert_eq!(setup.memory.first_used(), 1, "{status:?}");
    }
}

#[tokio::test]
async fn as_gitlab_rotates_no_first_use_is_noted() {
    let setup = Setup::with(|rules, _| rules.gitlab_rotation = true);
    setup.memory.put_token("x", unused());
    assert_eq!(names(setup.authenticate(&with_token("x")).await), Ok(Some((1, None))));
    assert_eq!((setup.memory.found(), setup.memory.first_used()), (1, 0));
}

#[tokio::test]
async fn a_3_noting_the_first_use_keeps_nothing_that_was_read_before() {
    let setup = Setup::leased();
    setup.memory.put_token("x", unused());
    let cache = setup.cache.clone();
    setup.memory.meanwhile(move |memory| {
        memory.put_user(User { state: AccountState::Blocked, ..user(1) });
        cache.invalidate(&[Invalidation::Owner(UserId(1))]);
    });
    for _ in 0..2 {
        let answer = names(setup.authenticate(&with_token("x")).await);
        assert_eq!(answer, Err(Denial::Account(AccountFault::Blocked)));
    }
}

#[tokio::test]
async fn whoever_loses_the_first_use_looks_again_three_times() {
    for (lost, expected, finds) in
        [(1, Ok(Some((1, None))), 3), (3, Ok(Some((1, None))), 5), (4, Err(Denial::Unavailable), 4)]
    {
        let setup = Setup::leased();
        setup.memory.put_token("x", unused());
        setup.memory.lost.store(lost, Ordering::SeqCst);
        assert_eq!(names(setup.authenticate(&with_token("x")).await), expected, "{lost} lost");
        assert_eq!(setup.memory.found(), finds, "{lost} lost");
    }
}

#[tokio::test]
async fn a_successor_that_was_replaced_meanwhile_is_revoked() {
    let setup = Setup::leased();
    setup.memory.put_token("x", unused());
    setup.memory.meanwhile(|memory| memory.put_token("x", Row { status: TokenStatus::Rotated, ..unused() }));
    assert_eq!(names(setup.authenticate(&with_token("x")).await), Err(Denial::Revoked));
    assert_eq!((setup.memory.found(), setup.memory.first_used()), (2, 1));
}

#[tokio::test]
async fn a_first_use_that_cannot_be_noted_lets_nobody_in() {
    let setup = Setup::new();
    setup.memory.put_token("x", unused());
    setup.memory.meanwhile(|memory| memory.unavailable.store(true, Ordering::SeqCst));
    assert_eq!(names(setup.authenticate(&with_token("x")).await), Err(Denial::Unavailable));
    assert_eq!(setup.memory.first_used(), 1);
}

//! OAuth tokens for the endpoints that take no other kind.

use super::*;

fn oauth() -> Row {
    Row::of(Kind::OauthAccessToken)
}

#[tokio::test]
async fn only_an_oauth_token_is_found_in_whatever_state() {
    let setup = Setup::new();
    let refresh = Key::Refresh(Digest::of(b"refresh"));
    setup.memory.put_token("oauth", oauth());
    setup.memory.put_token("ended", Row { status: TokenStatus::Ended, ..oauth() });
    setup.memory.put_token("expired", Row { ends: Some(NOW), ..oauth() });
    setup.memory.put_token("personal", Row::of(Kind::PersonalAccessToken));
    setup.memory.put(refresh, oauth());
    setup.memory.put(session_key("session"), Row::of(Kind::Session));
    for (key, expected) in [
        (token_key("oauth"), true),
        (token_key("ended"), true),
        (token_key("expired"), true),
        (refresh, true),
        (token_key("refresh"), false),
        (token_key("personal"), false),
        (token_key("session"), false),
        (session_key("session"), false),
        (token_key("nonsense"), false),
    ] {
        let found = setup.auth.oauth_secret(key, None, NOW).await.expect("an answer");
        assert_eq!(found.is_some(), expected, "{key:?}");
        assert!(found.is_none_or(|record| record.credential.token().is_some_and(|token| key_of(token.digest, key))));
    }
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    let answer = setup.auth.oauth_secret(token_key("oauth"), None, NOW).await.map(|_| ());
    assert_eq!(answer, Err(Denial::Unavailable));
}

fn key_of(digest: Digest, key: Key) -> bool {
    matches!(key, Key::Token(of) | Key::Refresh(of) if of == digest)
}

#[tokio::test]
async fn an_oauth_token_counts_in_the_places_of_a_bearer_alone() {
    let setup = Setup::new();
    setup.memory.put_token("oauth", oauth());
    setup.memory.put_token("personal", Row::of(Kind::PersonalAccessToken));
    let long = "x".repeat(1025);
    for (query, expected, finds) in [
        ("access_token=oauth", true, 1),
        ("bearer_token=oauth", true, 1),
        ("private_token=oauth", false, 0),
        ("access_token=personal", false, 1),
        ("access_token=nonsense", false, 1),
        (&format!("access_token={long}"), false, 0),
        ("", false, 0),
    ] {
        let before = setup.memory.found();
        let request = get(&format!("/?{query}"), &[]);
        let presented = PresentedCredentials::in_head(&request, None);
        let found = setup.auth.oauth_token(&presented, NOW).await.expect("an answer");
        assert_eq!((found.is_some(), setup.memory.found() - before), (expected, finds), "{query}");
    }
}

#[tokio::test]
async fn asking_about_an_oauth_token_is_its_first_use() {
    let setup = Setup::new();
    setup.memory.put_token("oauth", Row { status: TokenStatus::Live { used: false }, ..oauth() });
    for _ in 0..2 {
        let found = setup.auth.oauth_secret(token_key("oauth"), None, NOW).await.expect("an answer");
        let status = found.and_then(|record| record.credential.token().map(|token| token.status));
        assert_eq!(status, Some(TokenStatus::Live { used: true }));
    }
    assert_eq!(setup.memory.first_used(), 1);
}

#[tokio::test]
async fn a_token_that_was_created_here_is_no_longer_unknown() {
    let setup = Setup::leased();
    let digest = Digest::of(b"new");
    for key in [Key::Token(digest), Key::Refresh(digest)] {
        let found = async || setup.auth.oauth_secret(key, None, NOW).await.expect("an answer").is_some();
        assert!(!found().await);
        setup.memory.put(key, oauth());
        assert!(!found().await, "{key:?}: it is remembered as unknown");
    }
    setup.auth.evict_negative(digest);
    for key in [Key::Token(digest), Key::Refresh(digest)] {
        assert!(setup.auth.oauth_secret(key, None, NOW).await.expect("an answer").is_some(), "{key:?}");
    }
}

//! A refresh as every client knows it. What a lost answer and a theft are is tested in `refresh`.

use super::both;
use crate::oauth::{USER, is_error, is_hex, tokens};
use crate::test_server::{REVOKED, TestServer};

cases![
    oauth_011_a_refresh_gives_another_access_token,
    oauth_012_and_that_one_opens_the_api,
    oauth_013_a_refresh_keeps_the_scopes,
    oauth_014_no_such_refresh_token,
    oauth_016_a_refresh_after_revocation,
    oauth_110_a_refresh_asks_for_more,
    oauth_132_an_expired_access_token_is_revoked_in_vain,
];

async fn oauth_011_a_refresh_gives_another_access_token(t: TestServer) {
    let (client, ada) = both(&t).await;
    let first = client.tokens(&ada, "api").await;
    let next = tokens(&client.refresh(&first.refresh).await);
    assert_ne!(next.access, first.access);
    assert_ne!(next.refresh, first.refresh);
    assert!(is_hex(&next.access) && is_hex(&next.refresh));
}

async fn oauth_012_and_that_one_opens_the_api(t: TestServer) {
    let (client, ada) = both(&t).await;
    let first = client.tokens(&ada, "api").await;
    let next = tokens(&client.refresh(&first.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

async fn oauth_013_a_refresh_keeps_the_scopes(t: TestServer) {
    let (client, ada) = both(&t).await;
    for scope in ["api", "read_user read_api"] {
        let first = client.tokens(&ada, scope).await;
        assert_eq!(client.refresh(&first.refresh).await.has(200).json()["scope"], scope);
    }
}

async fn oauth_014_no_such_refresh_token(t: TestServer) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    for unknown in ["no such token", &"0".repeat(64), &given.access] {
        is_error(&client.refresh(unknown).await, 400, "invalid_grant");
    }
}

async fn oauth_016_a_refresh_after_revocation(t: TestServer) {
    let (client, ada) = both(&t).await;
    let (one, two) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
    client.revoke(&one.access).await.is(200, "{}");
    client.revoke(&two.refresh).await.is(200, "{}");
    for given in [one, two] {
        is_error(&client.refresh(&given.refresh).await, 400, "invalid_grant");
        t.get(USER).bearer(&given.access).await.is(401, REVOKED);
    }
}

async fn oauth_110_a_refresh_asks_for_more(t: TestServer) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "read_user").await;
    for wider in ["api", "read_user api", "nonsense"] {
        let pairs = [("refresh_token", given.refresh.as_str()), ("scope", wider)];
        is_error(&client.token("refresh_token", &pairs).await, 400, "invalid_scope");
    }
    tokens(&client.refresh(&given.refresh).await);
}

async fn oauth_132_an_expired_access_token_is_revoked_in_vain(t: TestServer) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    t.later(7201);
    client.revoke(&given.access).await.is(200, "{}");
    let next = tokens(&client.refresh(&given.refresh).await);
    t.get(USER).bearer(&next.access).await.is_user(&ada);
}

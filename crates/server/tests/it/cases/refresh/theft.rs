//! What is theft, what is use, and what ends by it (rules 6 to 8).

use tollhouse::operations::users::SetState;

use super::{attempts, begun, is_dead, lives, next, refused, with_scope};
use crate::oauth::{Tokens, USER, encoded, is_error, tokens};
use crate::test_server::{EXPIRED, REVOKED, TestServer};

cases![
    refresh_rule_6_reuse_ends_the_family,
    refresh_rule_6_a_replaced_pair_is_theft,
    refresh_rule_6_only_a_refresh_ends_anything,
    refresh_rule_7_use_is_what_was_recognised,
    refresh_rule_7_an_expired_token_is_recognised_too,
    refresh_rule_7_the_token_endpoint_notes_no_use,
    refresh_rule_7_first_use_here_and_replacement_there with "ledger.entries = 0",
    refresh_rule_8_every_remembered_generation_counts,
    refresh_families_of_one_person_are_apart,
];

async fn refresh_rule_6_reuse_ends_the_family(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = tokens(&client.refresh(&first.refresh).from([192, 0, 2, 1].into()).await);
    lives(&t, &new.access).await;
    t.later(120);
    refused(&client.refresh(&first.refresh).from([192, 0, 2, 9].into()).await);
    is_dead(&t, &new.access).await;
    refused(&client.refresh(&new.refresh).await);
    refused(&client.refresh(&first.refresh).await);
    assert_eq!(t.count("token.reuse_detected").await, 1, "an ended family can do nothing");
    let lines = t.trail(10).await;
    let line = lines.iter().find(|line| line.event == "token.reuse_detected").expect("the line");
    assert_eq!(line.address.as_deref(), Some("192.0.2.9"));
    assert!(line.detail.contains("192.0.2.1"), "both addresses: {}", line.detail);
}

async fn refresh_rule_6_a_replaced_pair_is_theft(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let hoarded = next(&client, &first.refresh).await;
    t.later(120);
    let fresh = next(&client, &first.refresh).await;
    refused(&client.refresh(&hoarded.refresh).await);
    is_dead(&t, &fresh.access).await;
    refused(&client.refresh(&fresh.refresh).await);
    assert_eq!(t.events().await[0], "token.reuse_detected");
}

async fn refresh_rule_6_only_a_refresh_ends_anything(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    t.later(300);
    is_dead(&t, &first.access).await;
    for path in ["/oauth/token/info", "/oauth/userinfo"] {
        t.get(path).bearer(&first.access).await.has(401);
        t.get(path).bearer(&first.refresh).await.has(401);
    }
    t.get(USER).bearer(&first.refresh).await.has(401);
    // Nor does the dead access token where a refresh token is asked for.
    refused(&client.refresh(&first.access).await);
    lives(&t, &new.access).await;
    next(&client, &new.refresh).await;
}

async fn refresh_rule_7_use_is_what_was_recognised(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    // The first two refuse it for its scopes.
    for (path, status) in [("/api/v4/projects", 403), ("/oauth/userinfo", 403), ("/oauth/token/info", 200), (USER, 200)]
    {
        let first = client.tokens(&ada, "read_user").await;
        let new = next(&client, &first.refresh).await;
        t.get(path).bearer(&new.access).await.has(status);
        t.later(121);
        // Noted before the answer, so a restart does not lose it.
        let again = t.reopened("").await;
        refused(&client.at(&again).refresh(&first.refresh).await);
        is_dead(&again, &new.access).await;
        again.leave().await;
    }
    // Asked about, or shown by somebody who may not revoke it.
    let stranger = t.client("api").await;
    for secret in [|pair: &Tokens| pair.access.clone(), |pair: &Tokens| pair.refresh.clone()] {
        let first = client.tokens(&ada, "read_user").await;
        let new = next(&client, &first.refresh).await;
        stranger.revoke(&secret(&new)).await.has(403);
        t.later(121);
        refused(&client.refresh(&first.refresh).await);
        is_dead(&t, &new.access).await;
        let first = client.tokens(&ada, "read_user").await;
        let new = next(&client, &first.refresh).await;
        let own = [("client_id", client.uid.as_str()), ("client_secret", &client.secret)];
        let form = encoded(&[&own[..], &[("token", &*secret(&new))]].concat());
        assert_eq!(t.post("/oauth/introspect").form(&form).await.has(200).json()["active"], true);
        t.later(121);
        refused(&client.refresh(&first.refresh).await);
        is_dead(&t, &new.access).await;
    }
    let first = client.tokens(&ada, "read_user").await;
    let new = next(&client, &first.refresh).await;
    ada.set_state(SetState::block(ada.id)).await;
    t.get(USER).bearer(&new.access).await.has(403);
    ada.set_state(SetState::unblock(ada.id)).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

async fn refresh_rule_7_an_expired_token_is_recognised_too(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    t.later(7201);
    t.get(USER).bearer(&new.access).await.is(401, EXPIRED);
    refused(&client.refresh(&first.refresh).await);
    refused(&client.refresh(&new.refresh).await);
    assert_eq!(t.events().await[0], "token.reuse_detected");
}

async fn refresh_rule_7_the_token_endpoint_notes_no_use(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    let other = t.client("api").await;
    attempts(&t, &client, &other, &new.refresh).await;
    is_error(&with_scope(&client, &new.refresh, Some("sudo")).await, 400, "invalid_scope");
    t.later(121);
    assert_ne!(next(&client, &first.refresh).await, new);
    is_dead(&t, &new.access).await;
    // To be succeeded is use: then the first one is two generations back.
    let (client, ada) = (t.client("api").await, t.user("grace").await);
    let first = client.tokens(&ada, "api").await;
    let second = next(&client, &first.refresh).await;
    let third = next(&client, &second.refresh).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &third.access).await;
}

async fn refresh_rule_7_first_use_here_and_replacement_there(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = client.at(&there);
    let prepared = async || {
        let first = client.tokens(&ada, "api").await;
        let new = next(&client, &first.refresh).await;
        t.later(121);
        (first, new)
    };
    let (first, new) = prepared().await;
    lives(&t, &new.access).await;
    refused(&abroad.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
    let (first, new) = prepared().await;
    let fresh = next(&abroad, &first.refresh).await;
    is_dead(&t, &new.access).await;
    lives(&t, &fresh.access).await;
    for round in 0..20 {
        let (first, new) = prepared().await;
        let used = t.get(USER).bearer(&new.access).send();
        let replaced = abroad.refresh(&first.refresh).send();
        let (used, replaced) = if round % 2 == 0 {
            tokio::join!(used, replaced)
        } else {
            let (replaced, used) = tokio::join!(replaced, used);
            (used, replaced)
        };
        // Who was let in has a token that was not replaced.
        if replaced.status.as_u16() == 200 {
            used.is(401, REVOKED);
            lives(&there, &tokens(&replaced).access).await;
        } else {
            refused(&replaced);
        }
        is_dead(&t, &new.access).await;
    }
    there.app.db.close().await;
}

async fn refresh_rule_8_every_remembered_generation_counts(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    for back in 2..5 {
        let first = client.tokens(&ada, "api").await;
        let mut last = first.clone();
        for _ in 0..back {
            last = next(&client, &last.refresh).await;
            t.later(600);
        }
        // The successor of the last but one was never used, and that excuses nobody but the last but one.
        refused(&client.refresh(&first.refresh).await);
        is_dead(&t, &last.access).await;
    }
}

async fn refresh_families_of_one_person_are_apart(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    let other = client.tokens(&ada, "api read_user").await;
    assert_ne!(other, first);
    lives(&t, &first.access).await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    lives(&t, &other.access).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
    lives(&t, &other.access).await;
    next(&client, &other.refresh).await;
}

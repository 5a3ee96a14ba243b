//! What expires, is revoked or is forgotten (rules 11 to 13).

use tollhouse::operations::applications;

use super::{begun, is_dead, lives, next, refused, salt};
use crate::oauth::{USER, tokens};
use crate::test_server::{EXPIRED, TestServer, logged};

cases![
    refresh_rule_11_an_expired_access_token_does_not_stop_it,
    refresh_rule_12_any_remembered_secret_revokes,
    refresh_rule_12_revocation_against_rotation with "ledger.entries = 0",
    refresh_rule_12_removal_of_the_application,
    refresh_rule_13_salts_are_erased,
    refresh_rule_13_dead_generations_are_forgotten,
    refresh_rule_13_they_are_remembered_as_long_as_is_set with "rotation.memory = '1d'",
    refresh_rule_15_used_within_it_goes_on with "oauth.refresh_idle = '1d'",
    refresh_rule_15_unused_it_ends_and_is_no_theft with "oauth.refresh_idle = '1d'",
    refresh_rule_15_as_the_original with "oauth.refresh_idle = '1d'\ncompat.rotation = 'gitlab'",
    refresh_rule_15_the_window_is_as_ever with "oauth.refresh_idle = '3h'",
    refresh_rule_15_a_consent_ends_with_it with "oauth.refresh_idle = '1d'",
    refresh_rule_15_it_is_swept with "oauth.refresh_idle = '1d'",
    refresh_no_secret_and_no_salt_in_the_trail,
];

const DAY: u64 = 24 * 3600;

async fn refresh_rule_11_an_expired_access_token_does_not_stop_it(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    t.later(7201);
    t.get(USER).bearer(&first.access).await.is(401, EXPIRED);
    let new = next(&client, &first.refresh).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(300 * DAY);
    let again = t.swept("").await;
    let newer = next(&client.at(&again), &new.refresh).await;
    lives(&again, &newer.access).await;
    again.leave().await;
}

async fn refresh_rule_12_any_remembered_secret_revokes(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    for which in 0..6 {
        let first = client.tokens(&ada, "api").await;
        let second = next(&client, &first.refresh).await;
        let third = next(&client, &second.refresh).await;
        let all = [&first, &second, &third];
        let generation = all[which / 2];
        let shown = if which % 2 == 0 { &generation.refresh } else { &generation.access };
        lives(&t, &third.access).await;
        client.revoke(shown).await.is(200, "{}");
        // Within the window too: nothing is repeated from a family that has ended.
        for token in all {
            is_dead(&t, &token.access).await;
            refused(&client.refresh(&token.refresh).await);
        }
        client.revoke(shown).await.is(200, "{}");
    }
    assert_eq!(t.count("token.revoked").await, 6);
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_12_revocation_against_rotation(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = client.at(&there);
    for round in 0..20 {
        let first = client.tokens(&ada, "api").await;
        let revoked = client.revoke(&first.refresh).send();
        let rotated = abroad.refresh(&first.refresh).send();
        let (revoked, rotated) = if round % 2 == 0 {
            tokio::join!(revoked, rotated)
        } else {
            let (rotated, revoked) = tokio::join!(rotated, revoked);
            (revoked, rotated)
        };
        revoked.is(200, "{}");
        if rotated.status.as_u16() == 200 {
            let new = tokens(&rotated);
            is_dead(&t, &new.access).await;
            is_dead(&there, &new.access).await;
            refused(&client.refresh(&new.refresh).await);
        } else {
            refused(&rotated);
        }
        is_dead(&t, &first.access).await;
        refused(&abroad.refresh(&first.refresh).await);
    }
    there.app.db.close().await;
}

async fn refresh_rule_12_removal_of_the_application(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    let other = t.client("api").await;
    let bystander = other.tokens(&ada, "api").await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    t.does(applications::Delete { id: client.id }).await;
    for token in [first, new] {
        t.get(USER).bearer(&token.access).await.has(401);
        let reply = client.refresh(&token.refresh).await;
        assert!([400, 401].contains(&reply.status.as_u16()), "{}", reply.body);
        assert!(reply.json().get("access_token").is_none());
    }
    lives(&t, &bystander.access).await;
}

async fn refresh_rule_13_salts_are_erased(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    assert_eq!(salt(&t, &first.refresh).await, Some(None));
    next(&client, &first.refresh).await;
    let salted = salt(&t, &first.refresh).await;
    assert!(salted.is_some_and(|salt| salt.is_some()));
    t.later(119);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(salt(&t, &first.refresh).await, salted);
    t.later(1);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(salt(&t, &first.refresh).await, Some(None));
    // A new one for every successor.
    next(&client, &first.refresh).await;
    let again = salt(&t, &first.refresh).await;
    assert!(again.is_some_and(|salt| salt.is_some()) && again != salted);
}

async fn refresh_rule_13_dead_generations_are_forgotten(t: TestServer) {
    forgotten_after(&t, 7 * DAY).await;
}

async fn refresh_rule_13_they_are_remembered_as_long_as_is_set(t: TestServer) {
    forgotten_after(&t, DAY).await;
}

async fn forgotten_after(t: &TestServer, memory: u64) {
    let (client, ada, first) = begun(t).await;
    let new = next(&client, &first.refresh).await;
    lives(t, &new.access).await;
    let early = client.tokens(&ada, "api").await;
    let found_out = next(&client, &early.refresh).await;
    lives(t, &found_out.access).await;
    t.later(memory - 1);
    tollhouse::job::sweep(&t.app).await;
    assert!(salt(t, &first.refresh).await.is_some());
    // Until then it is theft.
    refused(&client.refresh(&early.refresh).await);
    refused(&client.refresh(&found_out.refresh).await);
    t.later(1);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(salt(t, &first.refresh).await, None);
    // Then it is unknown, and ends nothing.
    refused(&client.refresh(&first.refresh).await);
    let newer = next(&client, &new.refresh).await;
    lives(t, &newer.access).await;
}

async fn refresh_rule_15_used_within_it_goes_on(t: TestServer) {
    let (client, _, mut pair) = begun(&t).await;
    for _ in 0..5 {
        t.later(DAY - 1);
        pair = next(&client, &pair.refresh).await;
        lives(&t, &pair.access).await;
    }
}

async fn refresh_rule_15_unused_it_ends_and_is_no_theft(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    let second = next(&client, &first.refresh).await;
    let third = next(&client, &second.refresh).await;
    lives(&t, &third.access).await;
    t.later(DAY);
    let lines = logged(async {
        let unknown = client.refresh(&"0".repeat(64)).await;
        // Without that rule the older ones were theft.
        for pair in [&third, &second, &first] {
            client.refresh(&pair.refresh).await.is(400, &unknown.body);
        }
    });
    let lines = lines.await;
    assert_eq!(lines.matches("refresh_idle").count(), 3, "{lines}");
    assert_eq!(t.count("token.reuse_detected").await, 0);
    let text = t.shell_with(&["token", "identify", "--config", &idle_config(&t)], &third.refresh).await;
    assert!(text.done().ends_with("state        not used for too long"), "{}", text.done());
    // Another sign-in goes on.
    let fresh = client.tokens(&ada, "api").await;
    next(&client, &fresh.refresh).await;
}

/// A settings file for commands, which do not know those of the test.
fn idle_config(t: &TestServer) -> String {
    let path = t.folder.path().join("idle.toml");
    std::fs::write(&path, "oauth.refresh_idle = '1d'\n").expect("a file");
    path.display().to_string()
}

async fn refresh_rule_15_as_the_original(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    t.later(DAY - 1);
    let second = next(&client, &first.refresh).await;
    t.later(DAY);
    refused(&client.refresh(&second.refresh).await);
    refused(&client.refresh(&first.refresh).await);
}

async fn refresh_rule_15_the_window_is_as_ever(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    t.later(3 * 3600 - 1);
    let second = next(&client, &first.refresh).await;
    // The old one is older than that by now, and its answer was lost.
    t.later(100);
    assert_eq!(next(&client, &first.refresh).await, second);
    t.later(30);
    client.refresh(&first.refresh).await.has(503);
    t.later(100);
    let replaced = next(&client, &first.refresh).await;
    assert_ne!(replaced, second, "nobody used it");
    t.later(3 * 3600 - 1);
    next(&client, &replaced.refresh).await;
}

async fn refresh_rule_15_a_consent_ends_with_it(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    let session = ada.session().await;
    let is_asked = async || {
        let page = client.page(&session, "api read_user", &[]).await;
        page.has(200).body.contains("authenticity_token")
    };
    t.later(DAY - 1);
    assert!(!is_asked().await, "it was allowed before");
    t.later(1);
    assert!(is_asked().await);
}

async fn refresh_rule_15_it_is_swept(t: TestServer) {
    let (client, ada, idle) = begun(&t).await;
    let used = client.tokens(&ada, "api").await;
    t.later(DAY / 2);
    let used = next(&client, &used.refresh).await;
    t.later(DAY / 2 + 7 * DAY - 1);
    let kept = t.swept("").await;
    assert!(salt(&kept, &idle.refresh).await.is_some());
    t.later(1);
    let gone = t.swept("").await;
    assert!(salt(&gone, &idle.refresh).await.is_none());
    assert!(salt(&gone, &used.refresh).await.is_some(), "half a day younger");
    kept.leave().await;
    gone.leave().await;
}

async fn refresh_no_secret_and_no_salt_in_the_trail(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    let one = salt(&t, &first.refresh).await.flatten().expect("a salt");
    t.later(60);
    next(&client, &first.refresh).await;
    t.later(121);
    let fresh = next(&client, &first.refresh).await;
    let two = salt(&t, &first.refresh).await.flatten().expect("a salt");
    lives(&t, &fresh.access).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    let lines = t.trail(100).await;
    let seen = format!("{lines:?}");
    for event in ["token.rotated", "token.rotation_repeated", "token.successor_replaced", "token.reuse_detected"] {
        assert!(seen.contains(event), "{seen}");
    }
    for pair in [first, new, fresh] {
        assert!(!seen.contains(&pair.access[..16]) && !seen.contains(&pair.refresh[..16]), "{seen}");
    }
    for salt in [one, two] {
        assert!(!seen.contains(&data_encoding::HEXLOWER.encode(&salt[..8])), "{seen}");
    }
}

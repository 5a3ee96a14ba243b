//! Refresh tokens (`docs/protocols/rotation.md`; oauth.md 6.3): a lost answer locks no client out, and theft is
//! noticed. A test named by a rule fails without it. Nodes are two towns on one database.

use std::collections::BTreeSet;

use serde_json::json;
use tollhouse::operations::applications;
use tollhouse::operations::users::SetState;
use tollhouse_domain::secret::Digest;
use tollhouse_store::faults::Fault;

use super::grants::{ask, at, count, id_token, revoke, trail};
use crate::oauth::{Client, Tokens, changed, is_error, tokens};
use crate::town::{Ask, EXPIRED, Person, REVOKED, Reply, Town};

cases![
    oauth_015_a_refresh_token_is_good_once with "compat.rotation = 'gitlab'",
    oauth_109_a_refresh_token_of_another_application,
    oauth_133_of_two_refreshes_at_once_one_wins with "compat.rotation = 'gitlab'",
    refresh_as_the_original_nothing_dies_by_it with "compat.rotation = 'gitlab'",
    refresh_rule_1_mistakes_in_their_order,
    refresh_rule_1_a_refused_attempt_hands_nothing_out,
    refresh_rule_1_a_refused_attempt_ends_nothing,
    refresh_rule_1_other_clients_are_refused,
    refresh_rule_1_who_is_blocked_ends_nothing,
    refresh_rule_2_the_old_pair_dies_at_once,
    refresh_rule_3_the_same_pair_again_used_or_not,
    refresh_rule_3_what_is_left_and_a_fresh_id_token,
    refresh_rule_3_twins_and_a_duplicate_after_use,
    refresh_rule_4_a_duplicate_after_a_late_repeat_waits,
    refresh_rule_4_repeats_do_not_lengthen_the_window,
    refresh_rule_4_a_thief_who_rotates_twice,
    refresh_rule_5_a_retry_after_a_night,
    refresh_rule_5_a_thief_who_hoards_loses,
    refresh_rule_6_reuse_ends_the_family,
    refresh_rule_6_a_replaced_pair_is_theft,
    refresh_rule_6_only_a_refresh_ends_anything,
    refresh_rule_7_use_is_what_was_recognised,
    refresh_rule_7_an_expired_token_is_recognised_too,
    refresh_rule_7_the_token_endpoint_notes_no_use,
    refresh_rule_7_first_use_here_and_replacement_there with "ledger.entries = 0",
    refresh_rule_8_every_remembered_generation_counts,
    refresh_rule_10_repeats_ask_for_the_same,
    refresh_rule_10_narrower_and_never_wider,
    refresh_rule_11_an_expired_access_token_does_not_stop_it,
    refresh_rule_12_any_remembered_secret_revokes,
    refresh_rule_12_revocation_against_rotation with "ledger.entries = 0",
    refresh_rule_12_removal_of_the_application,
    refresh_rule_13_salts_are_erased,
    refresh_rule_13_dead_generations_are_forgotten,
    refresh_rule_13_they_are_remembered_as_long_as_is_set with "rotation.memory = '1d'",
    refresh_rule_14_public_applications_rotate_too,
    refresh_a_hundred_at_once_have_one_successor,
    refresh_on_two_nodes_at_once with "ledger.entries = 0",
    refresh_over_a_restart,
    refresh_after_a_commit_whose_reply_was_lost,
    refresh_a_storage_that_refuses_changes_nothing,
    refresh_without_a_client with "compat.password_grant = 'gitlab'",
    refresh_without_a_window with "rotation.window = '0s'",
    refresh_families_of_one_person_are_apart,
    refresh_no_secret_and_no_salt_in_the_trail,
];

const USER: &str = "/api/v4/user";
const DAY: u64 = 24 * 3600;

/// An application, a person, and what it was given for her.
async fn begun(t: &Town) -> (Client, Person, Tokens) {
    let (client, ada) = (t.client("api read_api read_user openid").await, t.user("ada").await);
    let first = client.tokens(&ada, "api read_user").await;
    (client, ada, first)
}

async fn next(client: &Client, refresh: &str) -> Tokens {
    tokens(&client.refresh(refresh).await)
}

/// Asks, so it counts as use.
async fn lives(t: &Town, access: &str) {
    t.get(USER).bearer(access).await.has(200);
}

async fn is_dead(t: &Town, access: &str) {
    t.get(USER).bearer(access).await.is(401, REVOKED);
}

#[track_caller]
fn refused(reply: &Reply) {
    is_error(reply, 400, "invalid_grant");
}

/// Come again in so many seconds.
#[track_caller]
fn waits(reply: &Reply, seconds: &str) {
    is_error(reply, 503, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), Some(seconds));
}

fn with_a_wrong_secret(client: &Client) -> Client {
    Client { secret: "gloas-wrong".to_owned(), ..client.clone() }
}

fn by_nobody(t: &Town, refresh: &str) -> Ask {
    ask(t, &[("grant_type", "refresh_token"), ("refresh_token", refresh)])
}

fn with_scope(client: &Client, refresh: &str, scope: Option<&str>) -> Ask {
    client.token("refresh_token", &changed(&[("refresh_token", refresh)], &[("scope", scope)]))
}

/// Nothing: the row is gone. Nothing within: its salt is.
async fn salt(t: &Town, refresh: &str) -> Option<Option<[u8; 32]>> {
    let mut reader = t.app.db.read().await.expect("a reader");
    let digest = Digest::of(refresh.as_bytes());
    let found = tollhouse_store::oauth_access_tokens::by_refresh_digest(&mut reader, digest).await;
    found.expect("a look-up").map(|found| found.generation.salt)
}

async fn oauth_015_a_refresh_token_is_good_once(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    refused(&client.refresh(&first.refresh).await);
    lives(&t, &new.access).await;
    next(&client, &new.refresh).await;
}

async fn oauth_109_a_refresh_token_of_another_application(t: Town) {
    let (client, _, first) = begun(&t).await;
    refused(&t.client("api read_user").await.refresh(&first.refresh).await);
    lives(&t, &first.access).await;
    next(&client, &first.refresh).await;
}

async fn oauth_133_of_two_refreshes_at_once_one_wins(t: Town) {
    let (client, _, first) = begun(&t).await;
    let (one, two) = tokio::join!(client.refresh(&first.refresh).send(), client.refresh(&first.refresh).send());
    let (won, lost) = if one.status.as_u16() == 200 { (one, two) } else { (two, one) };
    let new = tokens(&won);
    refused(&lost);
    lives(&t, &new.access).await;
}

async fn refresh_as_the_original_nothing_dies_by_it(t: Town) {
    let (client, _, first) = begun(&t).await;
    let mut last = first.clone();
    for wait in [0, 119, 3600] {
        last = next(&client, &last.refresh).await;
        lives(&t, &last.access).await;
        t.later(wait);
        refused(&client.refresh(&first.refresh).await);
        lives(&t, &last.access).await;
    }
    is_dead(&t, &first.access).await;
    assert_eq!(salt(&t, &first.refresh).await, Some(None));
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_1_mistakes_in_their_order(t: Town) {
    let (client, _, first) = begun(&t).await;
    let (other, wrong) = (t.client("api").await, with_a_wrong_secret(&client));
    is_error(&wrong.token("refresh_token", &[]).await, 400, "invalid_request");
    refused(&wrong.refresh("unknown").await);
    is_error(&wrong.refresh(&first.refresh).await, 401, "invalid_client");
    is_error(&with_scope(&wrong, &first.refresh, Some("sudo")).await, 401, "invalid_client");
    refused(&with_scope(&other, &first.refresh, Some("sudo")).await);
    refused(&by_nobody(&t, &first.refresh).await);
    is_error(&with_scope(&client, &first.refresh, Some("sudo")).await, 400, "invalid_scope");
    lives(&t, &first.access).await;
    // Where the original ignores it, so do we.
    let with_address = [("refresh_token", first.refresh.as_str()), ("redirect_uri", "https://other.test/")];
    tokens(&client.token("refresh_token", &with_address).await);
}

/// Everybody who may not, with a refresh token of `client`.
async fn attempts(t: &Town, client: &Client, other: &Client, refresh: &str) {
    is_error(&with_a_wrong_secret(client).refresh(refresh).await, 401, "invalid_client");
    refused(&other.refresh(refresh).await);
    refused(&by_nobody(t, refresh).await);
}

async fn refresh_rule_1_a_refused_attempt_hands_nothing_out(t: Town) {
    let (client, _, first) = begun(&t).await;
    let other = t.client("api").await;
    let before = trail(&t).await;
    attempts(&t, &client, &other, &first.refresh).await;
    assert_eq!(trail(&t).await, before);
    lives(&t, &first.access).await;
    let new = next(&client, &first.refresh).await;
    let (before, salted) = (trail(&t).await, salt(&t, &first.refresh).await);
    t.later(119);
    attempts(&t, &client, &other, &first.refresh).await;
    t.later(2);
    attempts(&t, &client, &other, &first.refresh).await;
    assert_eq!((trail(&t).await, salt(&t, &first.refresh).await), (before, salted));
    // Nothing was repeated at 119 s, so there is nothing to wait for; and nothing was used.
    assert_ne!(next(&client, &first.refresh).await, new);
    assert_eq!(trail(&t).await[0], "token.successor_replaced");
}

async fn refresh_rule_1_a_refused_attempt_ends_nothing(t: Town) {
    let (client, _, first) = begun(&t).await;
    let other = t.client("api").await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    let before = trail(&t).await;
    t.later(300);
    attempts(&t, &client, &other, &first.refresh).await;
    lives(&t, &new.access).await;
    assert_eq!(trail(&t).await, before);
    // Whoever can show that it is theirs is heard.
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

async fn refresh_rule_1_other_clients_are_refused(t: Town) {
    let ada = t.user("ada").await;
    let clients = [
        t.client("api").await,
        t.client("api").await,
        t.public_client("api").await,
        t.public_client("api").await,
        t.trusted_client("api").await,
    ];
    let others = |client: &Client| clients.iter().filter(|other| other.uid != client.uid).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for client in &clients {
        let first = client.tokens(&ada, "api").await;
        for other in others(client) {
            refused(&other.refresh(&first.refresh).await);
        }
        let new = next(client, &first.refresh).await;
        lives(&t, &new.access).await;
        lines.push((client, first, new));
    }
    t.later(300);
    for (client, first, new) in lines {
        for other in others(client) {
            refused(&other.refresh(&first.refresh).await);
            refused(&other.refresh(&new.refresh).await);
        }
        lives(&t, &new.access).await;
        next(client, &new.refresh).await;
    }
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_1_who_is_blocked_ends_nothing(t: Town) {
    let (client, ada, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    t.later(300);
    ada.set_state(SetState::block(ada.id)).await;
    refused(&client.refresh(&first.refresh).await);
    refused(&client.refresh(&new.refresh).await);
    ada.set_state(SetState::unblock(ada.id)).await;
    lives(&t, &new.access).await;
    next(&client, &new.refresh).await;
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_2_the_old_pair_dies_at_once(t: Town) {
    let (client, ada, first) = begun(&t).await;
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    let new = next(&client, &first.refresh).await;
    is_dead(&t, &first.access).await;
    t.get(USER).bearer(&new.access).await.is_user(&ada);
    assert_eq!(trail(&t).await[0], "token.rotated");
}

async fn refresh_rule_3_the_same_pair_again_used_or_not(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    t.later(60);
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(59);
    assert_eq!(next(&client, &first.refresh).await, new, "used, and still the same");
    let repeated = "token.rotation_repeated";
    assert_eq!(trail(&t).await[..3], [repeated, repeated, "token.rotated"]);
}

async fn refresh_rule_3_what_is_left_and_a_fresh_id_token(t: Town) {
    let (client, ada, _) = begun(&t).await;
    let first = client.tokens(&ada, "openid read_user").await;
    let made = client.refresh(&first.refresh).await;
    t.later(60);
    let again = client.refresh(&first.refresh).await;
    let (before, after) = (made.has(200).json(), again.has(200).json());
    for kept in ["access_token", "token_type", "refresh_token", "scope", "created_at"] {
        assert_eq!(after[kept], before[kept], "{kept}");
    }
    assert_eq!((&before["expires_in"], &after["expires_in"]), (&json!(7200), &json!(7140)));
    let (old, fresh) = (id_token(&made), id_token(&again));
    assert_eq!(fresh["iat"], t.now().seconds());
    assert_eq!(old["iat"], t.now().seconds() - 60);
    assert_eq!(fresh["sub"], ada.id.to_string());
    // A token without the scope has none at either time.
    let plain = client.tokens(&ada, "read_user").await;
    for _ in 0..2 {
        assert!(client.refresh(&plain.refresh).await.has(200).json().get("id_token").is_none());
    }
}

async fn refresh_rule_3_twins_and_a_duplicate_after_use(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    // Another process of the same client had read the old one just before the new one was stored.
    t.later(60);
    assert_eq!(next(&client, &first.refresh).await, new);
    // And a proxy sends its request twice.
    t.later(59);
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(3600);
    next(&client, &new.refresh).await;
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_4_a_duplicate_after_a_late_repeat_waits(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    t.later(119);
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(2);
    waits(&client.refresh(&first.refresh).await, "118");
    lives(&t, &new.access).await;
    t.later(117);
    waits(&client.refresh(&first.refresh).await, "1");
    lives(&t, &new.access).await;
    t.later(1);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

async fn refresh_rule_4_repeats_do_not_lengthen_the_window(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    for _ in 0..7 {
        t.later(17);
        assert_eq!(next(&client, &first.refresh).await, new);
    }
    t.later(1);
    waits(&client.refresh(&first.refresh).await, "119");
    // Nor does asking while one should wait.
    t.later(118);
    waits(&client.refresh(&first.refresh).await, "1");
    t.later(1);
    assert_ne!(next(&client, &first.refresh).await, new, "unused, so replaced");
}

async fn refresh_rule_4_a_thief_who_rotates_twice(t: Town) {
    let (client, _, first) = begun(&t).await;
    let stolen = next(&client, &first.refresh).await;
    let hidden = next(&client, &stolen.refresh).await;
    t.later(60);
    // The victim must not throw its secret away, or nobody ever raises the alarm.
    waits(&client.refresh(&first.refresh).await, "60");
    lives(&t, &hidden.access).await;
    t.later(60);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &hidden.access).await;
    refused(&client.refresh(&hidden.refresh).await);
    assert_eq!(count(&t, "token.reuse_detected").await, 1);
}

async fn refresh_rule_5_a_retry_after_a_night(t: Town) {
    let (client, _, first) = begun(&t).await;
    let unseen = next(&client, &first.refresh).await;
    t.later(8 * 3600);
    let reply = client.refresh(&first.refresh).await;
    let fresh = tokens(&reply);
    assert_ne!(fresh, unseen);
    let body = reply.json();
    assert_eq!((&body["created_at"], &body["expires_in"]), (&json!(t.now().seconds()), &json!(7200)));
    assert_eq!(trail(&t).await[0], "token.successor_replaced");
    // The window starts anew, and so does the night.
    t.later(100);
    assert_eq!(next(&client, &first.refresh).await, fresh);
    t.later(8 * 3600);
    let fresh = next(&client, &first.refresh).await;
    lives(&t, &fresh.access).await;
    next(&client, &fresh.refresh).await;
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_5_a_thief_who_hoards_loses(t: Town) {
    let (client, _, first) = begun(&t).await;
    let hoarded = next(&client, &first.refresh).await;
    t.later(120);
    let fresh = next(&client, &first.refresh).await;
    assert_ne!(fresh, hoarded);
    is_dead(&t, &hoarded.access).await;
    lives(&t, &fresh.access).await;
    next(&client, &fresh.refresh).await;
}

async fn refresh_rule_6_reuse_ends_the_family(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = tokens(&client.refresh(&first.refresh).from([192, 0, 2, 1].into()).await);
    lives(&t, &new.access).await;
    t.later(120);
    refused(&client.refresh(&first.refresh).from([192, 0, 2, 9].into()).await);
    is_dead(&t, &new.access).await;
    refused(&client.refresh(&new.refresh).await);
    refused(&client.refresh(&first.refresh).await);
    assert_eq!(count(&t, "token.reuse_detected").await, 1, "an ended family can do nothing");
    let mut reader = t.app.db.read().await.expect("a reader");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 10).await.expect("the trail");
    let line = lines.iter().find(|line| line.event == "token.reuse_detected").expect("the line");
    assert_eq!(line.address.as_deref(), Some("192.0.2.9"));
    assert!(line.detail.contains("192.0.2.1"), "both addresses: {}", line.detail);
}

async fn refresh_rule_6_a_replaced_pair_is_theft(t: Town) {
    let (client, _, first) = begun(&t).await;
    let hoarded = next(&client, &first.refresh).await;
    t.later(120);
    let fresh = next(&client, &first.refresh).await;
    refused(&client.refresh(&hoarded.refresh).await);
    is_dead(&t, &fresh.access).await;
    refused(&client.refresh(&fresh.refresh).await);
    assert_eq!(trail(&t).await[0], "token.reuse_detected");
}

async fn refresh_rule_6_only_a_refresh_ends_anything(t: Town) {
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

async fn refresh_rule_7_use_is_what_was_recognised(t: Town) {
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
        refused(&at(&again, &client).refresh(&first.refresh).await);
        is_dead(&again, &new.access).await;
        again.app.db.close().await;
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

async fn refresh_rule_7_an_expired_token_is_recognised_too(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    t.later(7201);
    t.get(USER).bearer(&new.access).await.is(401, EXPIRED);
    refused(&client.refresh(&first.refresh).await);
    refused(&client.refresh(&new.refresh).await);
    assert_eq!(trail(&t).await[0], "token.reuse_detected");
}

async fn refresh_rule_7_the_token_endpoint_notes_no_use(t: Town) {
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

async fn refresh_rule_7_first_use_here_and_replacement_there(t: Town) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = at(&there, &client);
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

async fn refresh_rule_8_every_remembered_generation_counts(t: Town) {
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

async fn refresh_rule_10_repeats_ask_for_the_same(t: Town) {
    let (client, ada, first) = begun(&t).await;
    let narrow = tokens(&with_scope(&client, &first.refresh, Some("read_user")).await);
    for scope in [Some("read_user"), None] {
        let reply = with_scope(&client, &first.refresh, scope).await;
        assert_eq!((tokens(&reply), &reply.json()["scope"]), (narrow.clone(), &json!("read_user")));
    }
    let before = trail(&t).await;
    t.later(119);
    for other in ["api read_user", "api", "sudo", "nonsense"] {
        is_error(&with_scope(&client, &first.refresh, Some(other)).await, 400, "invalid_scope");
    }
    assert_eq!(trail(&t).await, before);
    // It was not handed out at 119 s. What replaces it is measured by what was presented.
    t.later(2);
    let reply = with_scope(&client, &first.refresh, Some("api")).await;
    assert_ne!(tokens(&reply), narrow);
    assert_eq!(reply.json()["scope"], "api");
    // Who asked for nothing may ask for all of it, in any order.
    let first = client.tokens(&ada, "api read_user").await;
    let whole = next(&client, &first.refresh).await;
    assert_eq!(tokens(&with_scope(&client, &first.refresh, Some("read_user api")).await), whole);
    is_error(&with_scope(&client, &first.refresh, Some("api")).await, 400, "invalid_scope");
    lives(&t, &whole.access).await;
}

async fn refresh_rule_10_narrower_and_never_wider(t: Town) {
    let (client, ada, first) = begun(&t).await;
    is_error(&with_scope(&client, &first.refresh, Some("api openid")).await, 400, "invalid_scope");
    lives(&t, &first.access).await;
    let reply = with_scope(&client, &first.refresh, Some("read_user")).await;
    assert_eq!(reply.has(200).json()["scope"], "read_user");
    let narrow = tokens(&reply);
    lives(&t, &narrow.access).await;
    t.get("/api/v4/projects").bearer(&narrow.access).await.has(403);
    is_error(&with_scope(&client, &narrow.refresh, Some("api read_user")).await, 400, "invalid_scope");
    lives(&t, &narrow.access).await;
    assert_eq!(client.refresh(&narrow.refresh).await.has(200).json()["scope"], "read_user");
    // The other spelling.
    let given = client.tokens(&ada, "api read_user").await;
    let pairs = [("refresh_token", given.refresh.as_str()), ("scopes", "read_user")];
    assert_eq!(client.token("refresh_token", &pairs).await.has(200).json()["scope"], "read_user");
}

async fn refresh_rule_11_an_expired_access_token_does_not_stop_it(t: Town) {
    let (client, _, first) = begun(&t).await;
    t.later(7201);
    t.get(USER).bearer(&first.access).await.is(401, EXPIRED);
    let new = next(&client, &first.refresh).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(300 * DAY);
    tollhouse::job::sweep(&t.app).await;
    let again = t.reopened("").await;
    let newer = next(&at(&again, &client), &new.refresh).await;
    lives(&again, &newer.access).await;
    again.app.db.close().await;
}

async fn refresh_rule_12_any_remembered_secret_revokes(t: Town) {
    let (client, ada, _) = begun(&t).await;
    for which in 0..6 {
        let first = client.tokens(&ada, "api").await;
        let second = next(&client, &first.refresh).await;
        let third = next(&client, &second.refresh).await;
        let all = [&first, &second, &third];
        let generation = all[which / 2];
        let shown = if which % 2 == 0 { &generation.refresh } else { &generation.access };
        lives(&t, &third.access).await;
        revoke(&client, shown).await.is(200, "{}");
        // Within the window too: nothing is repeated from a family that has ended.
        for token in all {
            is_dead(&t, &token.access).await;
            refused(&client.refresh(&token.refresh).await);
        }
        revoke(&client, shown).await.is(200, "{}");
    }
    assert_eq!(count(&t, "token.revoked").await, 6);
    assert_eq!(count(&t, "token.reuse_detected").await, 0);
}

async fn refresh_rule_12_revocation_against_rotation(t: Town) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = at(&there, &client);
    for round in 0..20 {
        let first = client.tokens(&ada, "api").await;
        let revoked = revoke(&client, &first.refresh).send();
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

async fn refresh_rule_12_removal_of_the_application(t: Town) {
    let (client, ada, first) = begun(&t).await;
    let other = t.client("api").await;
    let bystander = other.tokens(&ada, "api").await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    t.does(&applications::Delete { id: client.id }).await;
    for token in [first, new] {
        t.get(USER).bearer(&token.access).await.has(401);
        let reply = client.refresh(&token.refresh).await;
        assert!([400, 401].contains(&reply.status.as_u16()), "{}", reply.body);
        assert!(reply.json().get("access_token").is_none());
    }
    lives(&t, &bystander.access).await;
}

async fn refresh_rule_13_salts_are_erased(t: Town) {
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

async fn refresh_rule_13_dead_generations_are_forgotten(t: Town) {
    forgotten_after(&t, 7 * DAY).await;
}

async fn refresh_rule_13_they_are_remembered_as_long_as_is_set(t: Town) {
    forgotten_after(&t, DAY).await;
}

async fn forgotten_after(t: &Town, memory: u64) {
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

async fn refresh_rule_14_public_applications_rotate_too(t: Town) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let first = client.tokens(&ada, "api").await;
    let new = next(&client, &first.refresh).await;
    assert_ne!(new, first);
    is_dead(&t, &first.access).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
    assert_eq!(trail(&t).await[0], "token.reuse_detected");
}

async fn refresh_a_hundred_at_once_have_one_successor(t: Town) {
    let (client, _, first) = begun(&t).await;
    let mut attempts = Vec::new();
    for _ in 0..100 {
        let (client, old) = (client.clone(), first.refresh.clone());
        attempts.push(tokio::task::spawn_local(async move { client.refresh(&old).await }));
    }
    let mut successors = BTreeSet::new();
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        // Who lost every round is told to come back; nobody is told a second pair.
        if reply.status.as_u16() == 503 {
            is_error(&reply, 503, "temporarily_unavailable");
        } else {
            successors.insert(tokens(&reply));
        }
    }
    let successor = successors.pop_first().expect("a successor");
    assert!(successors.is_empty(), "and no second");
    assert_eq!(count(&t, "token.rotated").await, 1, "one row");
    lives(&t, &successor.access).await;
    next(&client, &successor.refresh).await;
}

async fn refresh_on_two_nodes_at_once(t: Town) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = at(&there, &client);
    for round in 1..=20 {
        let first = client.tokens(&ada, "api").await;
        let (here, far) = tokio::join!(client.refresh(&first.refresh).send(), abroad.refresh(&first.refresh).send());
        let new = tokens(&here);
        assert_eq!(tokens(&far), new, "one made it, the other repeats it");
        assert_eq!(count(&t, "token.rotated").await, round);
        is_dead(&there, &first.access).await;
        lives(&there, &new.access).await;
    }
    there.app.db.close().await;
}

async fn refresh_over_a_restart(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    let again = t.reopened("").await;
    assert_eq!(next(&at(&again, &client), &first.refresh).await, new);
    lives(&again, &new.access).await;
    again.app.db.close().await;
    t.later(121);
    let again = t.reopened("").await;
    refused(&at(&again, &client).refresh(&first.refresh).await);
    is_dead(&again, &new.access).await;
    again.app.db.close().await;
}

async fn refresh_after_a_commit_whose_reply_was_lost(t: Town) {
    let (client, _, first) = begun(&t).await;
    t.app.db.faults.set(Fault::CommitReply);
    is_error(&client.refresh(&first.refresh).await, 503, "temporarily_unavailable");
    t.app.db.faults.set(Fault::None);
    // It did happen, so this is a repeat.
    let new = next(&client, &first.refresh).await;
    is_dead(&t, &first.access).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    assert_eq!((count(&t, "token.rotated").await, count(&t, "token.rotation_repeated").await), (1, 2));
}

async fn refresh_a_storage_that_refuses_changes_nothing(t: Town) {
    let (client, _, first) = begun(&t).await;
    let under = async |fault: Fault, ask: Ask| {
        t.app.db.faults.set(fault);
        let reply = ask.await;
        t.app.db.faults.set(Fault::None);
        reply
    };
    for fault in [Fault::Writes, Fault::Everything] {
        let reply = under(fault, client.refresh(&first.refresh)).await;
        is_error(&reply, 503, "temporarily_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    lives(&t, &first.access).await;
    let new = next(&client, &first.refresh).await;
    // That it was handed out again has to be noted, or somebody is hurt later.
    is_error(&under(Fault::Writes, client.refresh(&first.refresh)).await, 503, "temporarily_unavailable");
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(121);
    under(Fault::Writes, revoke(&client, &new.refresh)).await.has(503);
    lives(&t, &new.access).await;
    t.later(121);
    // A theft that cannot be acted upon is not answered as if it had been.
    is_error(&under(Fault::Writes, client.refresh(&first.refresh)).await, 503, "temporarily_unavailable");
    lives(&t, &new.access).await;
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

async fn refresh_without_a_client(t: Town) {
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    let first = tokens(&ask(&t, &pairs).await);
    let new = tokens(&by_nobody(&t, &first.refresh).await);
    is_dead(&t, &first.access).await;
    assert_eq!(tokens(&by_nobody(&t, &first.refresh).await), new);
    // If one calls itself a client it has to be one.
    is_error(&with_a_wrong_secret(&t.client("api").await).refresh(&new.refresh).await, 401, "invalid_client");
    lives(&t, &new.access).await;
    t.later(121);
    refused(&by_nobody(&t, &first.refresh).await);
    is_dead(&t, &new.access).await;
    // What an application was given is not to be had that way.
    let client = t.client("api").await;
    let given = client.tokens(&t.user("grace").await, "api").await;
    refused(&by_nobody(&t, &given.refresh).await);
    next(&client, &given.refresh).await;
}

async fn refresh_without_a_window(t: Town) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    waits(&client.refresh(&first.refresh).await, "120");
    t.later(119);
    waits(&client.refresh(&first.refresh).await, "1");
    t.later(1);
    let fresh = next(&client, &first.refresh).await;
    assert_ne!(fresh, new);
    lives(&t, &fresh.access).await;
}

async fn refresh_families_of_one_person_are_apart(t: Town) {
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

async fn refresh_no_secret_and_no_salt_in_the_trail(t: Town) {
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
    let mut reader = t.app.db.read().await.expect("a reader");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
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

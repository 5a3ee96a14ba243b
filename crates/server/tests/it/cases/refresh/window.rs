//! The same pair again, and what comes after its time (rules 2 to 5).

use serde_json::json;

use super::{begun, is_dead, lives, next, refused, salt};
use crate::oauth::{USER, id_token, is_error, tokens};
use crate::test_server::{Reply, TestServer};

cases![
    oauth_015_a_refresh_token_is_good_once with "compat.rotation = 'gitlab'",
    refresh_as_the_original_nothing_dies_by_it with "compat.rotation = 'gitlab'",
    refresh_rule_2_the_old_pair_dies_at_once,
    refresh_rule_3_the_same_pair_again_used_or_not,
    refresh_rule_3_what_is_left_and_a_fresh_id_token,
    refresh_rule_3_twins_and_a_duplicate_after_use,
    refresh_rule_4_a_duplicate_after_a_late_repeat_waits,
    refresh_rule_4_repeats_do_not_lengthen_the_window,
    refresh_rule_4_a_thief_who_rotates_twice,
    refresh_rule_5_a_retry_after_a_night,
    refresh_rule_5_a_thief_who_hoards_loses,
    refresh_without_a_window with "rotation.window = '0s'",
];

/// Come again in so many seconds.
#[track_caller]
fn waits(reply: &Reply, seconds: &str) {
    is_error(reply, 503, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), Some(seconds));
}

async fn oauth_015_a_refresh_token_is_good_once(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    refused(&client.refresh(&first.refresh).await);
    lives(&t, &new.access).await;
    next(&client, &new.refresh).await;
}

async fn refresh_as_the_original_nothing_dies_by_it(t: TestServer) {
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
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_2_the_old_pair_dies_at_once(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    let new = next(&client, &first.refresh).await;
    is_dead(&t, &first.access).await;
    t.get(USER).bearer(&new.access).await.is_user(&ada);
    assert_eq!(t.events().await[0], "token.rotated");
}

async fn refresh_rule_3_the_same_pair_again_used_or_not(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    t.later(60);
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(59);
    assert_eq!(next(&client, &first.refresh).await, new, "used, and still the same");
    let repeated = "token.rotation_repeated";
    assert_eq!(t.events().await[..3], [repeated, repeated, "token.rotated"]);
}

async fn refresh_rule_3_what_is_left_and_a_fresh_id_token(t: TestServer) {
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

async fn refresh_rule_3_twins_and_a_duplicate_after_use(t: TestServer) {
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
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_4_a_duplicate_after_a_late_repeat_waits(t: TestServer) {
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

async fn refresh_rule_4_repeats_do_not_lengthen_the_window(t: TestServer) {
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

async fn refresh_rule_4_a_thief_who_rotates_twice(t: TestServer) {
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
    assert_eq!(t.count("token.reuse_detected").await, 1);
}

async fn refresh_rule_5_a_retry_after_a_night(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let unseen = next(&client, &first.refresh).await;
    t.later(8 * 3600);
    let reply = client.refresh(&first.refresh).await;
    let fresh = tokens(&reply);
    assert_ne!(fresh, unseen);
    let body = reply.json();
    assert_eq!((&body["created_at"], &body["expires_in"]), (&json!(t.now().seconds()), &json!(7200)));
    assert_eq!(t.events().await[0], "token.successor_replaced");
    // The window starts anew, and so does the night.
    t.later(100);
    assert_eq!(next(&client, &first.refresh).await, fresh);
    t.later(8 * 3600);
    let fresh = next(&client, &first.refresh).await;
    lives(&t, &fresh.access).await;
    next(&client, &fresh.refresh).await;
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_5_a_thief_who_hoards_loses(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let hoarded = next(&client, &first.refresh).await;
    t.later(120);
    let fresh = next(&client, &first.refresh).await;
    assert_ne!(fresh, hoarded);
    is_dead(&t, &hoarded.access).await;
    lives(&t, &fresh.access).await;
    next(&client, &fresh.refresh).await;
}

async fn refresh_without_a_window(t: TestServer) {
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

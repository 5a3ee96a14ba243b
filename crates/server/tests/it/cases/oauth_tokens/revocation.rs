//! Revoked: by whom, what ends with it, and what never stands in its way.

use tollhouse::operations::users::SetState;
use tollhouse_store::faults::Fault;

use super::{by, revoke, revoked};
use crate::oauth::{Client, Tokens, basic, is_error, tokens, user};
use crate::test_server::{REVOKED, Reply, TestServer};

cases![
    oauth_051_revoked_with_basic,
    oauth_052_nobody_revokes with "oauth.ropc_without_client_credentials = false",
    oauth_053_an_unknown_token,
    oauth_054_another_clients_token,
    a_refused_revocation_changes_nothing,
    a_public_client_names_itself_to_revoke,
    either_token_ends_both_with_and_without_a_hint,
    a_hint_is_only_a_hint,
    revoked_twice_is_revoked,
    an_old_secret_revokes_what_grew_from_it,
    a_blocked_users_token_can_be_revoked,
    a_revocation_that_the_storage_refuses_is_503,
    a_revocation_whose_reply_was_lost_is_503,
    a_revocation_needs_no_room,
    a_look_up_under_way_while_its_token_is_revoked,
];

const NOT_YOURS: &str =
    r#"{"error":"unauthorized_client","error_description":"You are not authorized to revoke this token"}"#;

#[track_caller]
fn is_unavailable(reply: &Reply) {
    is_error(reply, 503, "temporarily_unavailable");
    assert!(reply.header("retry-after").is_some_and(|seconds| seconds.parse::<u32>().is_ok()));
}

/// Neither opens anything, nor gives anything new.
async fn is_dead(t: &TestServer, client: &Client, pair: &Tokens) {
    user(t, &pair.access).await.is(401, REVOKED);
    is_error(&client.refresh(&pair.refresh).await, 400, "invalid_grant");
}

async fn oauth_051_revoked_with_basic(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    let reply = by(&client, revoke(&t, &[("token", &pair.access)])).await;
    reply.is(200, "{}");
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("application/json")));
    user(&t, &pair.access).await.is(401, REVOKED);
}

async fn oauth_052_nobody_revokes(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    for token in [pair.access.as_str(), &pair.refresh, "unknown", ""] {
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
    }
    revoke(&t, &[]).await.is(403, NOT_YOURS);
    user(&t, &pair.access).await.is_user(&ada);
    revoked(&t, &client, "unknown").await;
    revoked(&t, &client, &pair.access).await;
    is_dead(&t, &client, &pair).await;
}

async fn oauth_053_an_unknown_token(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    revoke(&t, &[("token", "unknown")]).await.is(200, "{}");
    revoke(&t, &[("token", "")]).await.is(200, "{}");
    revoke(&t, &[]).await.is(200, "{}");
    revoked(&t, &client, "unknown").await;
    user(&t, &pair.access).await.is_user(&ada);
}

async fn oauth_054_another_clients_token(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let other = t.client("api").await;
    for token in [&pair.access, &pair.refresh] {
        by(&other, revoke(&t, &[("token", token)])).await.is(403, NOT_YOURS);
    }
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn a_refused_revocation_changes_nothing(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let (other, public) = (t.client("api").await, t.public_client("api").await);
    for token in [pair.access.as_str(), &pair.refresh] {
        for authorization in [
            other.basic(),
            basic(&client.uid, &other.secret),
            basic(&client.uid, ""),
            basic(&other.uid, &client.secret),
            basic("unknown", &client.secret),
        ] {
            let reply = revoke(&t, &[("token", token)]).with("authorization", &authorization).await;
            reply.is(403, NOT_YOURS);
        }
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token)]).bearer(&pair.access).await.is(403, NOT_YOURS);
        for uid in [&client.uid, &public.uid] {
            revoke(&t, &[("token", token), ("client_id", uid)]).await.is(403, NOT_YOURS);
        }
    }
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn a_public_client_names_itself_to_revoke(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.public_client("api").await);
    let (other, confidential) = (t.public_client("api").await, t.client("api").await);
    let pair = client.tokens(&ada, "api").await;
    for token in [pair.access.as_str(), &pair.refresh] {
        revoke(&t, &[("token", token)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token), ("client_id", &other.uid)]).await.is(403, NOT_YOURS);
        revoke(&t, &[("token", token), ("client_id", &client.uid), ("client_secret", "x")]).await.is(403, NOT_YOURS);
        by(&confidential, revoke(&t, &[("token", token)])).await.is(403, NOT_YOURS);
    }
    user(&t, &pair.access).await.is_user(&ada);
    revoke(&t, &[("token", &pair.refresh), ("client_id", &client.uid)]).await.is(200, "{}");
    is_dead(&t, &client, &pair).await;
    let pair = client.tokens(&ada, "api").await;
    revoke(&t, &[("token", &pair.access)]).with("authorization", &basic(&client.uid, "")).await.is(200, "{}");
    is_dead(&t, &client, &pair).await;
}

async fn either_token_ends_both_with_and_without_a_hint(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for (by_refresh, hint) in [
        (false, None),
        (false, Some("access_token")),
        (false, Some("nonsense")),
        (true, None),
        (true, Some("refresh_token")),
        (true, Some("access_token")),
        (true, Some("nonsense")),
    ] {
        let (pair, kept) = (client.tokens(&ada, "api").await, client.tokens(&ada, "api").await);
        let token = if by_refresh { pair.refresh.as_str() } else { pair.access.as_str() };
        let mut pairs = vec![("token", token)];
        pairs.extend(hint.map(|hint| ("token_type_hint", hint)));
        by(&client, revoke(&t, &pairs)).await.is(200, "{}");
        is_dead(&t, &client, &pair).await;
        user(&t, &kept.access).await.is_user(&ada);
    }
}

async fn a_hint_is_only_a_hint(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    for hint in ["access_token", "refresh_token", "id_token", "nonsense", "", " "] {
        for by_refresh in [false, true] {
            let pair = client.tokens(&ada, "api").await;
            user(&t, &pair.access).await.is_user(&ada);
            let token = if by_refresh { &pair.refresh } else { &pair.access };
            let pairs = [("token", token.as_str()), ("token_type_hint", hint)];
            by(&client, revoke(&t, &pairs)).await.is(200, "{}");
            is_dead(&t, &client, &pair).await;
        }
        // Nobody else's, whatever they call it.
        let other = t.client("api").await;
        let pairs = [("token", pair.access.as_str()), ("token_type_hint", hint)];
        by(&other, revoke(&t, &pairs)).await.is(403, NOT_YOURS);
        user(&t, &pair.access).await.is_user(&ada);
    }
}

async fn revoked_twice_is_revoked(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    for token in [&pair.access, &pair.access, &pair.refresh, &pair.refresh] {
        revoked(&t, &client, token).await;
    }
    is_dead(&t, &client, &pair).await;
    let lines = t.trail(100).await;
    assert_eq!(lines.iter().filter(|line| line.event == "token.revoked").count(), 1);
    let text = format!("{lines:?}");
    assert!(!text.contains(&pair.access[..16]) && !text.contains(&pair.refresh[..16]), "{text}");
}

async fn an_old_secret_revokes_what_grew_from_it(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for by_refresh in [false, true] {
        let old = client.tokens(&ada, "api").await;
        let new = tokens(&client.refresh(&old.refresh).await);
        user(&t, &new.access).await.is_user(&ada);
        revoked(&t, &client, if by_refresh { &old.refresh } else { &old.access }).await;
        is_dead(&t, &client, &new).await;
        is_dead(&t, &client, &old).await;
    }
}

async fn a_blocked_users_token_can_be_revoked(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let kept = client.tokens(&ada, "api").await;
    ada.set_state(SetState::block(ada.id)).await;
    revoked(&t, &client, &pair.refresh).await;
    ada.set_state(SetState::unblock(ada.id)).await;
    is_dead(&t, &client, &pair).await;
    user(&t, &kept.access).await.is_user(&ada);
}

async fn a_revocation_that_the_storage_refuses_is_503(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    for fault in [Fault::Writes, Fault::Everything] {
        t.app.db.faults.set(fault);
        for token in [&pair.access, &pair.refresh] {
            is_unavailable(&by(&client, revoke(&t, &[("token", token)])).await);
        }
        t.app.db.faults.set(Fault::None);
        user(&t, &pair.access).await.is_user(&ada);
    }
    revoked(&t, &client, &pair.access).await;
    is_dead(&t, &client, &pair).await;
}

async fn a_revocation_whose_reply_was_lost_is_503(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    user(&t, &pair.access).await.is_user(&ada);
    t.app.db.faults.set(Fault::CommitReply);
    is_unavailable(&by(&client, revoke(&t, &[("token", &pair.access)])).await);
    t.app.db.faults.set(Fault::None);
    t.app.settled().await;
    // It did happen; what was remembered does not stand in the way of knowing.
    is_dead(&t, &client, &pair).await;
    revoked(&t, &client, &pair.access).await;
}

async fn a_revocation_needs_no_room(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let full = t.reopened("storage.reserve = '1000000GiB'").await;
    user(&full, &pair.access).await.is_user(&ada);
    by(&client, revoke(&full, &[("token", &pair.access)])).await.is(200, "{}");
    user(&full, &pair.access).await.is(401, REVOKED);
    full.app.db.close().await;
}

async fn a_look_up_under_way_while_its_token_is_revoked(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    for _ in 0..20 {
        let pair = client.tokens(&ada, "api").await;
        let mut checks = Vec::new();
        for _ in 0..4 {
            let (t, access) = (t.clone(), pair.access.clone());
            checks.push(tokio::task::spawn_local(async move { user(&t, &access).await.status.as_u16() }));
        }
        tokio::task::yield_now().await;
        revoked(&t, &client, &pair.access).await;
        user(&t, &pair.access).await.is(401, REVOKED);
        for check in checks {
            assert!([200, 401].contains(&check.await.expect("an answer")));
        }
        user(&t, &pair.access).await.is(401, REVOKED);
    }
}

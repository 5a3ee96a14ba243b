//! Many at once, two nodes, restarts, and a storage that fails.

use std::collections::BTreeSet;

use tollhouse_store::faults::Fault;

use super::{begun, is_dead, lives, next, refused};
use crate::oauth::{is_error, tokens};
use crate::test_server::{Ask, TestServer};

cases![
    oauth_133_of_two_refreshes_at_once_one_wins with "compat.rotation = 'gitlab'",
    refresh_a_hundred_at_once_have_one_successor,
    refresh_on_two_nodes_at_once with "ledger.entries = 0",
    refresh_over_a_restart,
    refresh_after_a_commit_whose_reply_was_lost,
    refresh_a_storage_that_refuses_changes_nothing,
];

async fn oauth_133_of_two_refreshes_at_once_one_wins(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let (one, two) = tokio::join!(client.refresh(&first.refresh).send(), client.refresh(&first.refresh).send());
    let (won, lost) = if one.status.as_u16() == 200 { (one, two) } else { (two, one) };
    let new = tokens(&won);
    refused(&lost);
    lives(&t, &new.access).await;
}

async fn refresh_a_hundred_at_once_have_one_successor(t: TestServer) {
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
    assert_eq!(t.count("token.rotated").await, 1, "one row");
    lives(&t, &successor.access).await;
    next(&client, &successor.refresh).await;
}

async fn refresh_on_two_nodes_at_once(t: TestServer) {
    let (client, ada, _) = begun(&t).await;
    let there = t.reopened("ledger.entries = 0").await;
    let abroad = client.at(&there);
    for round in 1..=20 {
        let first = client.tokens(&ada, "api").await;
        let (here, far) = tokio::join!(client.refresh(&first.refresh).send(), abroad.refresh(&first.refresh).send());
        let new = tokens(&here);
        assert_eq!(tokens(&far), new, "one made it, the other repeats it");
        assert_eq!(t.count("token.rotated").await, round);
        is_dead(&there, &first.access).await;
        lives(&there, &new.access).await;
    }
    there.app.db.close().await;
}

async fn refresh_over_a_restart(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    let again = t.reopened("").await;
    assert_eq!(next(&client.at(&again), &first.refresh).await, new);
    lives(&again, &new.access).await;
    again.leave().await;
    t.later(121);
    let again = t.reopened("").await;
    refused(&client.at(&again).refresh(&first.refresh).await);
    is_dead(&again, &new.access).await;
    again.leave().await;
}

async fn refresh_after_a_commit_whose_reply_was_lost(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    t.app.db.faults.set(Fault::CommitReply);
    is_error(&client.refresh(&first.refresh).await, 503, "temporarily_unavailable");
    t.app.db.faults.set(Fault::None);
    // It did happen, so this is a repeat.
    let new = next(&client, &first.refresh).await;
    is_dead(&t, &first.access).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    assert_eq!((t.count("token.rotated").await, t.count("token.rotation_repeated").await), (1, 2));
}

async fn refresh_a_storage_that_refuses_changes_nothing(t: TestServer) {
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
    under(Fault::Writes, client.revoke(&new.refresh)).await.has(503);
    lives(&t, &new.access).await;
    t.later(121);
    // A theft that cannot be acted upon is not answered as if it had been.
    is_error(&under(Fault::Writes, client.refresh(&first.refresh)).await, 503, "temporarily_unavailable");
    lives(&t, &new.access).await;
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

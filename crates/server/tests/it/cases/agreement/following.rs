//! Whoever follows the log: what a round is, and what makes it forget.

use std::time::Duration;

use tollhouse_domain::agreement::follower::{Ask, Do, Follower, Say};
use tollhouse_domain::agreement::{LEASE, LogPosition, NodeId};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::random;

use super::{SELF, USER, at, block_by_hand, by_hand, laggard, newest, revoked_here_refused_there, row, settled, until};
use crate::test_server::{REVOKED, TestServer};

cases![
    f1_a_round_counts_from_before_its_one_statement breaks LeaseFromReply,
    f2_a_row_that_is_gone_or_marked_is_left_for_a_new_one breaks OwnRowNotChecked,
    f3_another_history_is_noticed_by_its_marks breaks MarkOfEntryIgnored,
    f4_what_is_not_understood_counts_as_everything,
    f5_seen_is_said_of_an_entry_that_is_there breaks UnconditionalSeen,
    f5_seen_is_said_when_it_was_applied breaks SeenBeforeApply,
    f6_a_wake_up_that_is_lost_costs_time_only,
];

async fn f1_a_round_counts_from_before_its_one_statement(t: TestServer) {
    t.user("ada").await.revoked_token([Scope::Api]).await;
    t.leave().await;
    let t = t.reopened("ledger.entries = 0").await;
    let id = laggard(&t).await;
    let mut link = t.app.db.link().await.expect("a link");
    let last = newest(&t).await;
    let positions = |page: &tollhouse_domain::agreement::Page| -> Vec<i64> {
        page.entries.iter().map(|entry| entry.place.position).collect()
    };
    // Everything from there on in order, and the own row, by one read; the newest alone, if there is nothing.
    let whole = link.read(0, id).await.expect("the log");
    assert_eq!(positions(&whole), (0..=last).collect::<Vec<_>>());
    assert_eq!(whole.own.map(|own| (own.seen, own.marked)), Some((0, false)));
    for from in [last, last + 1, i64::MAX] {
        let page = link.read(from, id).await.expect("the log");
        assert_eq!((positions(&page), page.own), (vec![last], whole.own));
    }
    assert_eq!(link.read(0, NodeId([0; 16])).await.expect("the log").own, None);

    let mut follower = Follower::new(id);
    follower.mutants = t.app.node.mutants.clone();
    assert!(matches!(follower.begin(at(0), || id), Ask::Register { .. }));
    follower.registered();
    assert_eq!(follower.begin(at(1_000), || id), Ask::Read { from: i64::MAX, node: id });
    let page = link.read(i64::MAX, id).await.expect("the log");
    // The reply was 900 ms on its way: what was committed meanwhile is not in it.
    assert_eq!(follower.read(page, at(1_900)), [Do::ForgetEverything, Do::Lease(at(1_000) + LEASE)]);
}

async fn f2_a_row_that_is_gone_or_marked_is_left_for_a_new_one(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let mut id = settled(&t).await;
    // A look-up that any word of the log overtakes is not kept, and a server that has just started says one itself (N3).
    until("it is remembered", async || {
        let asked = t.app.auth.look_ups();
        t.get(USER).token(&token).await.is_user(&ada);
        (t.app.auth.look_ups() == asked).then_some(())
    })
    .await;
    let asked = t.app.auth.look_ups();
    for loss in ["DELETE FROM nodes", "UPDATE nodes SET marked = TRUE"] {
        by_hand(&t, loss).await;
        let before = id;
        id = until("a new row", async || t.app.node.own().filter(|now| *now != before)).await;
        assert!(row(&t, before).await.is_none(), "{loss}: the old one is gone");
        let last = newest(&t).await;
        let said = until("what it has seen", async || row(&t, id).await.filter(|row| row.seen >= last)).await;
        assert!(!said.marked, "{loss}");
        settled(&t).await;
        t.get(USER).token(&token).await.is_user(&ada);
    }
    assert_eq!(t.app.auth.look_ups(), asked, "what it knows is kept");
}

async fn f3_another_history_is_noticed_by_its_marks(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    settled(&t).await;
    t.get(USER).token(&token).await.is_user(&ada);
    // As after a copy was put back, whose last entry has the same number.
    block_by_hand(&t, ada.id.0, true).await;
    by_hand(&t, "UPDATE invalidations SET mark = mark + 1 WHERE position = (SELECT max(position) FROM invalidations)")
        .await;
    let refused = async || (t.get(USER).token(&token).await.status == 403).then_some(());
    until("it forgets everything", refused).await;
    // And after one that is shorter.
    block_by_hand(&t, ada.id.0, false).await;
    t.app.settled().await;
    by_hand(&t, "DELETE FROM invalidations WHERE position = (SELECT max(position) FROM invalidations)").await;
    until("it forgets everything", async || (t.get(USER).token(&token).await.status == 200).then_some(())).await;
}

async fn f4_what_is_not_understood_counts_as_everything(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let tokens = [ada.token([Scope::Api]).await, grace.token([Scope::Api]).await];
    settled(&t).await;
    // A look-up that any entry of the log overtakes is not kept, and a server that has just started writes one itself (N3).
    until("both are remembered", async || {
        let asked = t.app.auth.look_ups();
        t.get(USER).token(&tokens[0]).await.is_user(&ada);
        t.get(USER).token(&tokens[1]).await.is_user(&grace);
        (t.app.auth.look_ups() == asked).then_some(())
    })
    .await;
    block_by_hand(&t, ada.id.0, true).await;
    // By a newer program, and behind it an entry that is understood.
    let (key, mark) = ("(SELECT key FROM invalidations ORDER BY position LIMIT 1)", "1");
    let entry = |kind: &str, after: i64| {
        format!(
            "INSERT INTO invalidations (position, mark, kind, key, made_at)
             VALUES ((SELECT position FROM invalidation_head) + {after}, {mark}, '{kind}', {key}, 0)"
        )
    };
    let (unknown, nothing) = (entry("of a later version", 1), entry("nothing", 2));
    by_hand(&t, &format!("{unknown}; {nothing}; UPDATE invalidation_head SET position = position + 2")).await;
    until("it forgets", async || (t.get(USER).token(&tokens[0]).await.status == 403).then_some(())).await;
    let asked = t.app.auth.look_ups();
    t.get(USER).token(&tokens[1]).await.is_user(&grace);
    assert_eq!(t.app.auth.look_ups(), asked + 1, "nothing is spared");
}

async fn f5_seen_is_said_of_an_entry_that_is_there(t: TestServer) {
    let id = NodeId(random());
    tollhouse_store::nodes::register(&t.app.db, &[], id, "speaker", t.now()).await.expect("a row");
    let mut link = t.app.db.link().await.expect("a link");
    let page = link.read(0, id).await.expect("the log");
    let place = page.entries.last().expect("an entry").place;
    let seen = async || row(&t, id).await.expect("its row").seen;
    // Of a history that is no more: another mark, or a number that nothing has yet.
    for erased in [LogPosition { mark: place.mark ^ 1, ..place }, LogPosition { position: place.position + 7, ..place }]
    {
        link.say(Say { node: id, place: erased }, t.now()).await.expect("an answer");
        assert_eq!(seen().await, 0);
    }
    // Nobody wrote since: the log is as it was read.
    let now = link.read(0, id).await.expect("the log").entries.last().expect("an entry").place;
    link.say(Say { node: id, place: now }, t.now()).await.expect("an answer");
    assert_eq!(seen().await, now.position);
}

async fn f5_seen_is_said_when_it_was_applied(t: TestServer) {
    let other = t.reopened("").await;
    // Whoever revokes makes no mistake.
    t.app.db.faults.mutants.set(None);
    revoked_here_refused_there(&t, &other).await;
    other.leave().await;
}

async fn f6_a_wake_up_that_is_lost_costs_time_only(t: TestServer) {
    let ada = t.user("ada").await;
    let deaf = t.reopened("").await;
    deaf.app.db.faults.deafen();
    let (own, other) = (settled(&t).await, settled(&deaf).await);
    for _ in 0..3 {
        let token = ada.token([Scope::Api]).await;
        deaf.get(USER).token(&token).await.is_user(&ada);
        t.delete(SELF).token(&token).await.has(204);
        deaf.get(USER).token(&token).await.is(401, REVOKED);
    }
    for id in [own, other] {
        assert!(!row(&t, id).await.expect("its row").marked, "it came round by itself");
    }
    // Who hears does not wait for the clock: of ten changes in a row none takes a whole round.
    deaf.leave().await;
    let hearing = t.reopened("").await;
    settled(&hearing).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut quick = 0;
    for _ in 0..10 {
        let token = ada.token([Scope::Api]).await;
        let began = std::time::Instant::now();
        t.delete(SELF).token(&token).await.has(204);
        quick += usize::from(began.elapsed() < tollhouse_domain::agreement::POLL / 2);
    }
    assert!(quick > 0, "not one of them was heard");
    hearing.leave().await;
}

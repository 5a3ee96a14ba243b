//! The rows of those who remember, and how much of the log is kept.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tollhouse::node::{Node, Shared};
use tollhouse_auth::credential_cache::CredentialCache;
use tollhouse_auth::uptime::Uptime;
use tollhouse_domain::agreement::Tick;
use tollhouse_domain::scope::Scope;
use tollhouse_store::db::Db;
use tollhouse_store::faults::Fault;

use super::{SELF, USER, by_hand, laggard, newest, numbers, row, rows, settled, until};
use crate::test_server::{REVOKED, TestServer};

cases![
    n1_a_row_before_the_first_lease breaks LeaseBeforeRegistration,
    n1_no_lease_without_a_row_at_the_end breaks RowRemovedBeforeLease,
    n2_who_remembers_nothing_has_no_row,
    n3_rows_of_predecessors_vanish_by_themselves breaks NoWait,
    d2_the_newest_entries_are_kept,
];

/// A node by itself, whose leases are looked at by a clock that stands still, so that none runs out meanwhile.
struct Late {
    db: Db,
    cache: Arc<CredentialCache>,
    node: Arc<Node>,
    stop: CancellationToken,
}

impl Late {
    async fn joins(t: &TestServer) -> Self {
        let db = Db::open(&t.url(), 0).await.expect("a database");
        db.faults.mutants.set(t.broken());
        let cache = Arc::new(CredentialCache::new(100).breaking(db.faults.mutants.clone()));
        let uptime = Uptime::by_hand(Arc::new(AtomicU64::new(STILL.0)));
        let around = Shared { db: db.clone(), clock: t.clock.clone(), uptime };
        let node = Arc::new(Node::new(around, cache.clone()));
        Self { db, cache, node, stop: CancellationToken::new() }
    }

    fn follows(&self) -> tokio::task::JoinHandle<tollhouse_store::error::Result<()>> {
        tokio::spawn(self.node.clone().follow("late".into(), self.stop.clone()))
    }

    fn leased(&self) -> bool {
        self.cache.is_leased(STILL)
    }
}

const STILL: Tick = Tick(1);

async fn n1_a_row_before_the_first_lease(t: TestServer) {
    let late = Late::joins(&t).await;
    // The log can be read, but no row can be written.
    late.db.faults.set(Fault::Writes);
    let following = late.follows();
    sleep(Duration::from_millis(800)).await;
    assert!(!late.leased() && late.node.own().is_none(), "it answers from memory, and nobody knows that it is there");
    late.db.faults.set(Fault::None);
    until("a lease", async || late.leased().then_some(())).await;
    let own = late.node.own().expect("a row");
    assert!(row(&t, own).await.is_some());
    late.stop.cancel();
    following.await.expect("no panic").expect("a graceful end");
    late.db.close().await;
}

async fn n1_no_lease_without_a_row_at_the_end(t: TestServer) {
    let late = Late::joins(&t).await;
    let following = late.follows();
    until("a lease", async || late.leased().then_some(())).await;
    let own = late.node.own().expect("a row");
    late.stop.cancel();
    let began = Instant::now();
    while row(&t, own).await.is_some() {
        assert!(began.elapsed() < Duration::from_secs(20), "the row is still there");
        tokio::task::yield_now().await;
    }
    assert!(!late.leased(), "whoever finds no row must find no memory");
    following.await.expect("no panic").expect("a graceful end");
    assert!(!late.leased() && row(&t, own).await.is_none());
    late.db.close().await;
}

async fn n2_who_remembers_nothing_has_no_row(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let own = settled(&t).await;
    let forgetful = t.reopened("ledger.entries = 0").await;
    sleep(Duration::from_millis(300)).await;
    assert_eq!(rows(&t).await.iter().map(|row| row.id).collect::<Vec<_>>(), [own]);
    // It writes and waits as any other.
    t.get(USER).token(&token).await.is_user(&ada);
    t.get(USER).session(&session).await.is_user(&ada);
    forgetful.get(USER).token(&token).await.is_user(&ada);
    forgetful.delete(SELF).token(&token).await.has(204);
    t.get(USER).token(&token).await.is(401, REVOKED);
    // Another server on the same database is one more, whatever database that is.
    let second = t.reopened("").await;
    let other = settled(&second).await;
    assert!(rows(&t).await.len() == 2 && row(&t, other).await.is_some());
    second.post("/users/sign_out").session(&session).form("").await.has(302);
    t.get(USER).session(&session).await.has(401);
    second.leave().await;
    forgetful.leave().await;
    assert_eq!(rows(&t).await.iter().map(|row| row.id).collect::<Vec<_>>(), [own]);
}

async fn n3_rows_of_predecessors_vanish_by_themselves(t: TestServer) {
    settled(&t).await;
    let dead = [laggard(&t).await, laggard(&t).await];
    let next = t.reopened("").await;
    // Once it has waited in vain it marks them, and the second time they go.
    let gone = async || {
        let left = rows(&t).await.into_iter().filter(|row| dead.contains(&row.id)).count();
        (left == 0).then_some(())
    };
    until("they go", gone).await;
    next.leave().await;
}

async fn d2_the_newest_entries_are_kept(t: TestServer) {
    let ada = t.user("ada").await;
    let tokens = [ada.token([Scope::Api]).await, ada.token([Scope::Api]).await];
    settled(&t).await;
    by_hand(
        &t,
        "INSERT INTO invalidations (position, mark, kind, key, made_at)
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10050)
         SELECT h.position + i, i, 'nothing', e.key, 0
           FROM n, invalidation_head h, (SELECT key FROM invalidations ORDER BY position LIMIT 1) e;
         UPDATE invalidation_head SET position = position + 10050",
    )
    .await;
    let last = newest(&t).await;
    for token in &tokens {
        t.get(USER).token(token).await.is_user(&ada);
    }
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(numbers(&t, 0).await, (last - 9_999..=last).collect::<Vec<_>>());
    t.delete(SELF).token(&tokens[0]).await.has(204);
    t.get(USER).token(&tokens[0]).await.is(401, REVOKED);
    // Whoever keeps only the newest is safe too: it costs a cold memory.
    by_hand(&t, "DELETE FROM invalidations WHERE position < (SELECT max(position) FROM invalidations)").await;
    t.delete(SELF).token(&tokens[1]).await.has(204);
    t.get(USER).token(&tokens[1]).await.is(401, REVOKED);
}

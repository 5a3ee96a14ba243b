//! Operations that share one commit do not disturb each other.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use tollhouse::operations::grants::Revoke;
use tollhouse::operations::tokens::CreateToken;
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::audit::By;
use tollhouse_domain::id::FamilyId;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Timestamp;
use tollhouse_store::db::Db;
use tollhouse_store::nodes::Announce;
use tollhouse_store::query::query;
use tollhouse_store::token_families;
use tollhouse_store::tx::{Change, Committed, Tx, Until};
use tollhouse_store::work::Work;

use super::super::agreement::newest;
use crate::postgres::Postgres;
use crate::test_server::TestServer;

cases![
    each_of_many_is_told_its_own_outcome_and_place,
    a_failure_on_a_new_connection_fails_nobody_else,
    who_loses_the_database_in_the_middle_is_told,
    a_refused_operation_leaves_nothing_after_a_restart,
    one_that_waits_for_another_transaction_holds_nobody_up_for_long,
];

/// What one of them does besides ending a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum And {
    Nothing,
    Refuse,
    Violate,
    Panic,
    WaitForSomethingElse,
}

pub struct End {
    pub family: FamilyId,
    pub and: And,
}

impl Work for End {
    type Output = ();
    type Error = Failed;

    const LOGS: bool = true;

    fn by(&self) -> &By {
        static BY: OnceLock<By> = OnceLock::new();
        BY.get_or_init(By::system)
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }

    async fn run(&self, tx: &mut Tx) -> Result<Change<()>, Failed> {
        let change = Revoke { family: self.family }.run(tx, Timestamp(0)).await?;
        match self.and {
            And::Nothing => {}
            And::Refuse => return Err(Failed::Inconsistent),
            And::Violate => {
                let twice = "INSERT INTO token_families SELECT * FROM token_families WHERE id = $1";
                query(twice).bind(self.family.0).changed(tx).await?;
            }
            And::Panic => panic!("on purpose"),
            And::WaitForSomethingElse => tokio::time::sleep(Duration::from_secs(3600)).await,
        }
        Ok(change)
    }
}

async fn families(t: &TestServer, count: usize) -> Vec<FamilyId> {
    let ada = t.user("ada").await;
    let create = CreateToken {
        user: ada.id,
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name: "ci".into(),
        scopes: Scopes::from([Scope::Api]),
        expires_at: None,
        description: None,
        require_expiry: true,
        secret: None,
    };
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(t.does(create.clone()).await.token.family_id);
    }
    made
}

async fn each_of_many_is_told_its_own_outcome_and_place(t: TestServer) {
    let families = families(&t, 240).await;
    let before = newest(&t).await;
    let kinds = [And::Nothing, And::Nothing, And::Nothing, And::Refuse, And::Violate, And::Panic];
    let more = [And::Nothing, And::WaitForSomethingElse, And::Nothing, And::Nothing, And::Nothing, And::Nothing];
    let mut running = Vec::new();
    for (number, family) in families.iter().copied().enumerate() {
        let and = if number / 6 % 2 == 0 { kinds[number % 6] } else { more[number % 6] };
        let db = t.app.db.clone();
        let told = tokio::task::spawn_local(async move { db.perform(End { family, and }).await });
        // Whoever goes away does not know what came of it, and takes nobody with it.
        let goes = number % 17 == 3;
        running.push((family, and, goes, told));
    }
    tokio::task::yield_now().await;
    let mut places = BTreeMap::new();
    let mut unknown = Vec::new();
    for (family, and, goes, told) in running {
        if goes {
            told.abort();
            unknown.push(family);
            continue;
        }
        match told.await.expect("no panic here") {
            Ok(Committed { until: Until::Entry(position), .. }) => {
                assert_eq!(and, And::Nothing);
                assert_eq!(places.insert(position, family), None, "a place of its own");
            }
            Ok(_) => panic!("{and:?}: no entry"),
            Err(_) => assert_ne!(and, And::Nothing, "{family:?} failed for another one"),
        }
    }
    // Whatever was begun ends.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let log: BTreeMap<i64, Invalidation> = t.log(before + 1).await.into_iter().collect();
    for (position, family) in &places {
        assert_eq!(log.get(position), Some(&Invalidation::Family(*family)));
    }
    for (position, what) in &log {
        let Invalidation::Family(family) = what else { panic!("{what:?}") };
        assert!(places.get(position) == Some(family) || unknown.contains(family), "{family:?} was not acknowledged");
    }
    assert!(places.len() > 100);
}

/// PostgreSQL prepares nothing after a failure, and on a new connection the end of the batch is still to be prepared.
async fn a_failure_on_a_new_connection_fails_nobody_else(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let families = families(&t, 3).await;
    let mut holder = t.app.db.begin().await.expect("a transaction");
    token_families::hold(&mut holder, families[2]).await.expect("a row");
    let db = Db::open(&t.database_url.parse().expect("a URL"), 0).await.expect("a database");
    let mut running = Vec::new();
    for family in families {
        let db = db.clone();
        running.push(tokio::task::spawn_local(async move { db.perform(End { family, and: And::Nothing }).await }));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(holder);
    for told in running {
        let _ = told.await.expect("no panic").expect("it is done");
    }
    db.close().await;
}

/// The connection is made anew while the operation begins, and it must still be known that its savepoint was sent.
async fn a_refused_operation_leaves_nothing_after_a_restart(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut postgres = Postgres::start().expect("it is installed");
    let url = postgres.url(&postgres.database()).parse().expect("a URL");
    let db = Db::open(&url, 0).await.expect("a database");
    let mut tx = db.begin().await.expect("a transaction");
    let family = token_families::insert(&mut tx).await.expect("a family");
    let _ = tx.commit(Change::already(()), &By::system(), Timestamp(0)).await.expect("a commit");
    for _ in 0..3 {
        let announce = || Announce { by: By::system(), now: Timestamp(0) };
        // One that sends its commit with all the rest is not repeated, so the first may fail.
        while db.perform(announce()).await.is_err() {}
        postgres.kill();
        postgres.start_again();
        // Nothing ran here meanwhile, so it is the statement that finds the connection lost.
        assert!(db.perform(End { family, and: And::Refuse }).await.is_err());
        let mut tx = db.begin().await.expect("a transaction");
        let ended = token_families::end(&mut tx, family, token_families::EndReason::Revoked, Timestamp(0)).await;
        assert!(ended.expect("an answer"), "it was refused, so the family had not ended");
    }
    db.close().await;
}

async fn who_loses_the_database_in_the_middle_is_told(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut postgres = Postgres::start().expect("it is installed");
    let url = postgres.url(&postgres.database());
    let url = url.parse().expect("a URL");
    let db = Db::open(&url, 0).await.expect("a database");
    let mut tx = db.begin().await.expect("a transaction");
    let mut families = Vec::new();
    for _ in 0..300 {
        families.push(token_families::insert(&mut tx).await.expect("a family"));
    }
    let _ = tx.commit(Change::already(()), &By::system(), Timestamp(0)).await.expect("a commit");
    let mut running = Vec::new();
    for family in families {
        let db = db.clone();
        running.push(tokio::task::spawn_local(async move {
            (family, db.perform(End { family, and: And::Nothing }).await.is_ok())
        }));
    }
    tokio::time::sleep(Duration::from_millis(25)).await;
    postgres.kill();
    let mut acknowledged = Vec::new();
    let all = async {
        for told in running {
            let (family, done) = told.await.expect("no panic");
            if done {
                acknowledged.push(family);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), all).await.expect("nobody hangs");
    postgres.start_again();
    let mut tx = db.begin().await.expect("a transaction");
    for family in &acknowledged {
        let again = token_families::end(&mut tx, *family, token_families::EndReason::Revoked, Timestamp(0)).await;
        assert!(!again.expect("an answer"), "{family:?} was acknowledged");
    }
    drop(tx);
    db.close().await;
    postgres.stop();
}

/// Somebody holds a row for three seconds. Those who come with the one that waits for it are done before its own end.
async fn one_that_waits_for_another_transaction_holds_nobody_up_for_long(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let families = families(&t, 20).await;
    let mut holder = t.app.db.begin().await.expect("a transaction");
    token_families::hold(&mut holder, families[3]).await.expect("a row");
    let began = tokio::time::Instant::now();
    let mut running = Vec::new();
    for family in families.iter().copied() {
        let db = t.app.db.clone();
        running.push(tokio::task::spawn_local(async move {
            let done = db.perform(End { family, and: And::Nothing }).await;
            (done.map_err(|error| format!("{error:?}")), began.elapsed())
        }));
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    drop(holder);
    for (number, told) in running.into_iter().enumerate() {
        let (done, took) = told.await.expect("no panic");
        assert_eq!(done.map(drop), Ok(()), "{number}");
        assert!(number == 3 || took < Duration::from_millis(2500), "{number}: {took:?}");
    }
}

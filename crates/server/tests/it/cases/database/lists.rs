//! Reads that take long hold nobody up.

use std::time::Duration;

use tokio::time::timeout;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error;
use tollhouse_store::query::query;

use crate::cases::agreement::until;
use crate::test_server::TestServer;

cases![a_list_whose_client_went_away_is_interrupted, a_list_that_takes_too_long_is_interrupted];

/// Takes minutes.
const LONG: &str = "
    WITH RECURSIVE counting(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM counting WHERE i < 2000000000)
    SELECT count(*) FROM counting";

async fn list(db: &Db, text: &'static str) -> Result<i64, Error> {
    db.list(move |reader| Box::pin(async move { query(text).one(reader).await })).await
}

/// There is a thread for lists that is free, and on PostgreSQL no statement that nobody waits for.
async fn is_free(t: &TestServer) {
    let next = timeout(Duration::from_secs(3), list(&t.app.db, "SELECT CAST(1 AS BIGINT)")).await;
    assert_eq!(next.expect("a thread is free").expect("a row"), 1);
    if t.app.db.is_postgres() {
        let running = "
            SELECT count(*) FROM pg_stat_activity
             WHERE datname = current_database() AND state = 'active' AND query LIKE '%FROM counting%'
               AND pid <> pg_backend_pid()";
        until("the end of the statement", async || {
            (list(&t.app.db, running).await.expect("a count") == 0).then_some(())
        })
        .await;
    }
}

async fn a_list_whose_client_went_away_is_interrupted(t: TestServer) {
    // More often than there are threads or connections.
    for _ in 0..12 {
        assert!(timeout(Duration::from_millis(100), list(&t.app.db, LONG)).await.is_err(), "it takes long");
        is_free(&t).await;
    }
    // Also one that was still waiting for a thread.
    let all = (0..12).map(|_| list(&t.app.db, LONG));
    assert!(timeout(Duration::from_millis(300), futures_util::future::join_all(all)).await.is_err(), "they take long");
    is_free(&t).await;
}

async fn a_list_that_takes_too_long_is_interrupted(t: TestServer) {
    let told = timeout(Duration::from_secs(15), list(&t.app.db, LONG)).await.expect("it is ended");
    assert!(told.is_err());
    is_free(&t).await;
}

//! Who makes the schema, and what is left of a step that fails.

use std::time::{Duration, Instant};

use tollhouse_store::db::{Db, Url};
use tollhouse_store::faults::by_hand;
use tollhouse_store::query::query;

use crate::postgres::Postgres;
use crate::process::{Process, ask, server};
use crate::test_server::TestServer;

cases![
    a_database_that_comes_up_a_little_later_is_waited_for,
    of_several_that_start_on_nothing_each_finds_one_schema,
    a_step_that_fails_leaves_nothing,
    a_server_starts_while_another_process_holds_the_write_lock,
];

async fn a_database_that_comes_up_a_little_later_is_waited_for(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut postgres = Postgres::start().expect("it is installed");
    let url: Url = postgres.url(&postgres.database()).parse().expect("a URL");
    postgres.end();
    let began = Instant::now();
    assert!(Db::open(&url, 0).await.is_err());
    let waited = began.elapsed();
    assert!(waited > Duration::from_secs(4) && waited < Duration::from_secs(8), "{waited:?}");
    let opening = tokio::task::spawn_local(async move { Db::open(&url, 0).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    postgres.start_again();
    opening.await.expect("no panic").expect("it has come up").close().await;
    postgres.stop();
}

async fn of_several_that_start_on_nothing_each_finds_one_schema(t: TestServer) {
    let url: Url = t.empty_database().parse().expect("a URL");
    let mut running = Vec::new();
    for _ in 0..4 {
        let url = url.clone();
        running.push(tokio::task::spawn_local(async move { Db::open(&url, 0).await }));
    }
    for opened in running {
        let db = opened.await.expect("no panic").expect("a database");
        let mut reader = db.read().await.expect("a reader");
        let steps: Vec<i64> =
            query("SELECT version FROM _sqlx_migrations ORDER BY version").all(&mut reader).await.expect("steps");
        assert!(steps.iter().zip(1..).all(|(step, number)| *step == number) && steps.len() >= 7, "{steps:?}");
        drop(reader);
        db.close().await;
    }
}

async fn a_step_that_fails_leaves_nothing(t: TestServer) {
    let url: Url = t.empty_database().parse().expect("a URL");
    // The last table of the first step has this name.
    by_hand(&url, "CREATE TABLE invalidations (other BIGINT)").await.expect("a table");
    let why = Db::open(&url, 0).await.err().expect("it is in the way").to_string();
    assert_eq!(why, "it is not a database of Tollhouse");
    assert!(Db::join(&url, 0).await.is_err());
    by_hand(&url, "DROP TABLE invalidations").await.expect("it goes");
    // Had anything been left, it would be in the way.
    assert!(Db::is_empty(&url).await.expect("a look") || !t.app.db.is_postgres());
    Db::open(&url, 0).await.expect("a database").close().await;
}

/// A process that was stopped with the lock may hold it for longer than anybody waits.
async fn a_server_starts_while_another_process_holds_the_write_lock(t: TestServer) {
    let folder = t.folder.path().join("second");
    std::fs::create_dir(&folder).expect("a folder");
    // What a first start writes is there.
    t.admin().await;
    t.app.device_key().await.expect("a key");
    let tx = t.app.db.begin().await.expect("the write lock");
    let mut command = server(&folder, &t.database_url);
    command.env("TOLLHOUSE_SECRET_KEY_FILE", t.folder.path().join("secret_key"));
    let process = Process::start(command).await;
    let (status, _) = ask(process.address, "GET", "/api/v4/projects", "").await.expect("an answer");
    assert_eq!(status, 200);
    drop(tx);
    assert_eq!(process.terminate().await, Some(0));
}

//! The one that writes: what goes wrong in one transaction concerns nobody else, and nobody is told a lie.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tollhouse::error::Error;
use tollhouse::operations::tokens::Revoke;
use tollhouse::operations::{Failed, Operation};
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::instance;
use tollhouse_store::query::query;
use tollhouse_store::tx::{Change, Tx};

use crate::test_server::TestServer;

cases![
    among_a_thousand_that_wait_each_fails_alone,
    a_full_disk_ends_everything_in_one_commit,
    an_operation_that_is_not_begun_in_time_never_is,
    who_commits_in_a_loop_starves_nobody,
    two_operations_about_one_token_at_once,
    reads_go_on_while_somebody_writes,
];

/// Notes a key, and then does as it is told.
struct Note {
    key: String,
    then: Then,
}

#[derive(Clone, Copy)]
enum Then {
    Succeed,
    BreakRule,
    Refuse,
    Panic,
    WaitForSomethingElse,
    FillTheDisk,
    EmptyTheDisk,
}

impl Operation for Note {
    type Output = ();

    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        if let Then::EmptyTheDisk = self.then {
            let _: i64 = query("PRAGMA max_page_count = 1000000000").one(tx).await?;
        }
        instance::set(tx, &self.key, "x").await?;
        match self.then {
            Then::Succeed | Then::EmptyTheDisk => {}
            Then::BreakRule => {
                query("INSERT INTO instance (key, value) VALUES ($1, 'y')").bind(&self.key).changed(tx).await?;
            }
            Then::Refuse => return Err(Refusal::LastAdministrator.into()),
            Then::Panic => panic!("a mistake of an operation"),
            Then::WaitForSomethingElse => std::future::pending().await,
            Then::FillTheDisk => {
                let _: i64 = query("PRAGMA max_page_count = 1").one(tx).await?;
                instance::set(tx, &format!("{} and more", self.key), &"x".repeat(1 << 20)).await?;
            }
        }
        Ok(Change::nothing(()))
    }
}

fn note(key: impl Into<String>, then: Then) -> Note {
    Note { key: key.into(), then }
}

async fn noted(t: &TestServer, key: &str) -> bool {
    // Another process would see the same.
    let other = t.reopened("").await;
    let found =
        instance::get(&mut other.app.db.read().await.expect("a reader"), key).await.expect("an answer").is_some();
    other.leave().await;
    found
}

async fn among_a_thousand_that_wait_each_fails_alone(t: TestServer) {
    let odd = |n: usize| match n {
        100 => Then::BreakRule,
        200 => Then::Refuse,
        // On PostgreSQL an operation runs where it was asked for, and a panic goes there too.
        300 if !t.app.db.is_postgres() => Then::Panic,
        400 if !t.app.db.is_postgres() => Then::WaitForSomethingElse,
        _ => Then::Succeed,
    };
    let mut asked = Vec::new();
    for n in 0..1000 {
        let (app, then) = (t.app.clone(), odd(n));
        let patience = Duration::from_millis(if n == 500 { 0 } else { 60_000 });
        asked.push(tokio::task::spawn_local(async move {
            timeout(patience, app.perform(note(format!("n{n}"), then), &By::system())).await
        }));
    }
    let mut told = Vec::new();
    for asked in asked {
        told.push(asked.await.expect("an outcome"));
    }
    let mut reader = t.app.db.read().await.expect("a reader");
    for (n, told) in told.into_iter().enumerate() {
        let there = instance::get(&mut reader, &format!("n{n}")).await.expect("an answer").is_some();
        match (n, told) {
            // Whoever gave up does not know, and nobody else is concerned.
            (500, Err(_)) => {}
            (_, Ok(Ok(_))) => assert!(there, "{n} was told that it is durable"),
            (100, Ok(Err(_))) | (200, Ok(Err(Error::Refused(_)))) | (300 | 400, Ok(Err(Error::Internal))) => {
                assert!(!there, "{n} left something behind");
            }
            (n, told) => panic!("{n}: {:?}", told.map(|told| told.map(|_| ()))),
        }
    }
}

async fn a_full_disk_ends_everything_in_one_commit(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let held = t.app.db.begin().await.expect("the writer");
    let asked =
        [("before", Then::Succeed), ("full", Then::FillTheDisk), ("after", Then::Succeed)].map(|(key, then)| {
            let app = t.app.clone();
            tokio::task::spawn_local(async move { app.perform(note(key, then), &By::system()).await.map(|_| ()) })
        });
    sleep(Duration::from_millis(100)).await;
    drop(held);
    let mut told = Vec::new();
    for asked in asked {
        told.push(asked.await.expect("an outcome"));
    }
    t.app.perform(note("room", Then::EmptyTheDisk), &By::system()).await.expect("there is room again").into_inner();
    for (key, told) in ["before", "full", "after"].into_iter().zip(&told) {
        assert_eq!(noted(&t, key).await, told.is_ok(), "{key} was told the truth: {told:?}");
    }
    assert!(told[0].is_err() && told[1].is_err(), "they were to be committed together: {told:?}");
    assert!(noted(&t, "room").await);
}

async fn an_operation_that_is_not_begun_in_time_never_is(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    // As another process does that keeps the lock of the file.
    let other = t.reopened("").await;
    let held = other.app.db.begin().await.expect("the writer");
    let began = Instant::now();
    let told = t.app.perform(note("late", Then::Succeed), &By::system()).await.map(|_| ());
    assert!(matches!(told, Err(Error::Unavailable)), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(9), "{:?}", began.elapsed());
    drop(held);
    t.app.perform(note("next", Then::Succeed), &By::system()).await.expect("the lock is free").into_inner();
    assert!(!noted(&t, "late").await && noted(&t, "next").await);
    other.leave().await;
}

async fn who_commits_in_a_loop_starves_nobody(t: TestServer) {
    let other = t.reopened("").await;
    let app = other.app.clone();
    let busy = tokio::task::spawn_local(async move {
        for n in 0_u64.. {
            app.perform(note(format!("loop {}", n % 10), Then::Succeed), &By::system())
                .await
                .expect("it writes")
                .into_inner();
        }
    });
    let began = Instant::now();
    for n in 0..50 {
        t.app.perform(note(format!("ours {n}"), Then::Succeed), &By::system()).await.expect("so do we").into_inner();
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    busy.abort();
    assert!(busy.await.is_err_and(|ended| ended.is_cancelled()));
    other.leave().await;
}

async fn two_operations_about_one_token_at_once(t: TestServer) {
    let token = t.user("ada").await.made_token([Scope::Api]).await;
    let revoke = Arc::new(Revoke { id: token.token.id });
    let held = if t.app.db.is_postgres() { None } else { t.app.db.begin().await.ok() };
    let both = [0, 1].map(|_| {
        let (app, revoke) = (t.app.clone(), revoke.clone());
        tokio::task::spawn_local(async move { app.perform(revoke, &By::system()).await.map(|_| ()) })
    });
    sleep(Duration::from_millis(50)).await;
    drop(held);
    for told in both {
        let told = told.await.expect("an outcome");
        // The one that comes second finds it done, and is told when every server knows.
        assert!(told.is_ok() || matches!(told, Err(Error::NotFound(_))), "{told:?}");
    }
    t.get("/api/v4/user").token(token.secret.reveal()).await.has(401);
    let mut reader = t.app.db.read().await.expect("a reader");
    let events = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
    assert_eq!(events.iter().filter(|event| event.event == "token.revoked").count(), 1, "it happened once");
}

async fn reads_go_on_while_somebody_writes(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let held = t.app.db.begin().await.expect("the writer");
    for _ in 0..20 {
        t.get("/api/v4/user").token(&token).await.is_user(&ada);
        t.get("/api/v4/projects").token(&token).await.has(200);
    }
    drop(held);
    if !t.app.db.is_postgres() {
        let refused: Result<(), StoreError> = t.app.db.list(|_| Box::pin(std::future::pending())).await;
        assert!(refused.is_err(), "a list waits for its statements and nothing else");
    }
}

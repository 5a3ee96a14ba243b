//! The database: every statement on both engines, one commit for a change and what it makes untrue, durability, and
//! what a failure looks like from outside.

use tollhouse::operations::tokens::Revoke;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;
use tollhouse_store::statements;

use crate::test_server::{REVOKED, TestServer};

cases![
    every_statement_is_prepared,
    commits_reach_the_disk,
    what_becomes_untrue_stands_in_the_log_with_the_change,
    a_storage_that_fails_is_503_and_nothing_is_lost,
    a_commit_whose_reply_was_lost_is_never_2xx,
    a_look_up_under_way_while_its_token_is_revoked,
    a_caller_who_goes_away_leaves_nothing_stale,
    the_log_and_the_trail_are_swept with "audit.keep = '1d'",
    nothing_is_written_by_reading,
];

async fn every_statement_is_prepared(t: TestServer) {
    let all = statements();
    assert!(all.len() > 60, "{}", all.len());
    for (name, text) in all {
        if let Err(error) = t.app.db.prepare(text).await {
            panic!("{name}: {error}\n{text}");
        }
    }
}

async fn commits_reach_the_disk(t: TestServer) {
    let says = t.app.db.durability().await.expect("an answer");
    assert_eq!(says, if t.app.db.is_postgres() { "synchronous_commit=on" } else { "synchronous=2" });
}

async fn what_becomes_untrue_stands_in_the_log_with_the_change(t: TestServer) {
    let ada = t.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    let last = t.log(0).await.last().map_or(0, |(position, _)| *position);
    t.does(Revoke { id: made.token.id }).await;
    assert_eq!(
        t.log(last + 1).await.iter().map(|(_, what)| *what).collect::<Vec<_>>(),
        [Invalidation::Family(made.token.family_id)]
    );
    t.does(Revoke { id: made.token.id }).await;
    let session = ada.session().await;
    let digest = tollhouse_domain::secret::Digest::of(session.cookie.as_bytes());
    t.does(tollhouse::operations::sign_in::SignOut { session: digest }).await;
    assert!(t.log(last + 1).await.iter().any(|(_, word)| *word == Invalidation::Session(digest)));
}

async fn a_storage_that_fails_is_503_and_nothing_is_lost(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let make = |name: &str| t.post("/api/v4/projects").token(&token).json(format!(r#"{{"name":"{name}"}}"#));
    t.app.db.faults.set(Fault::Everything);
    for ask in [t.get("/api/v4/user").token(&token), t.get("/api/v4/projects"), make("x")] {
        let reply = ask.await;
        assert_eq!(reply.is(503, r#"{"message":"503 Service Unavailable"}"#).header("retry-after"), Some("1"));
    }
    t.app.db.faults.set(Fault::Writes);
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    make("x").await.has(503);
    t.delete("/api/v4/personal_access_tokens/self").token(&token).await.has(503);
    t.post("/users/sign_out").session(&session).form("").await.has(503);
    t.app.db.faults.set(Fault::None);
    assert!(t.get("/api/v4/projects").token(&token).await.ids().is_empty());
    make("x").await.has(201);
}

async fn a_commit_whose_reply_was_lost_is_never_2xx(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    t.app.db.faults.set(Fault::CommitReply);
    t.delete("/api/v4/personal_access_tokens/self").token(&token).await.has(503);
    t.app.db.faults.set(Fault::None);
    // It did happen; what was remembered does not stand in the way of knowing for long.
    t.app.settled().await;
    t.get("/api/v4/user").token(&token).await.is(401, REVOKED);
}

async fn a_look_up_under_way_while_its_token_is_revoked(t: TestServer) {
    let ada = t.user("ada").await;
    for _ in 0..40 {
        let made = ada.made_token([Scope::Api]).await;
        let mut checks = Vec::new();
        for _ in 0..4 {
            let (t, token) = (t.clone(), made.secret.reveal().to_owned());
            checks.push(tokio::task::spawn_local(async move { t.get("/api/v4/user").token(&token).await.status }));
        }
        tokio::task::yield_now().await;
        t.does(Revoke { id: made.token.id }).await;
        // Acknowledged: whatever was under way must not have put the past back into memory.
        t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
        for check in checks {
            assert!([200, 401].contains(&check.await.expect("an answer").as_u16()));
        }
        t.get("/api/v4/user").token(made.secret.reveal()).await.is(401, REVOKED);
    }
}

async fn a_caller_who_goes_away_leaves_nothing_stale(t: TestServer) {
    let ada = t.user("ada").await;
    let mut revoked = 0;
    for micros in (0..60).map(|i| i * 100) {
        let token = ada.token([Scope::Api]).await;
        t.get("/api/v4/user").token(&token).await.is_user(&ada);
        let revocation = t.delete("/api/v4/personal_access_tokens/self").token(&token).send();
        let _ = tokio::time::timeout(std::time::Duration::from_micros(micros), revocation).await;
        // What was begun ends by itself; then memory and database must say the same.
        let told = async || t.get("/api/v4/user").token(&token).await.status.as_u16();
        let settled = tokio::time::timeout(std::time::Duration::from_secs(5), async {
            let fresh = t.reopened("ledger.entries = 0").await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let truth = fresh.get("/api/v4/user").token(&token).await.status.as_u16();
            fresh.leave().await;
            truth
        });
        let truth = settled.await.expect("an answer");
        let mut remembered = told().await;
        for _ in 0..100 {
            if remembered != truth {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                remembered = told().await;
            }
        }
        assert_eq!(remembered, truth, "after {micros} us");
        revoked += usize::from(truth == 401);
    }
    assert!(revoked > 0, "some of them came through");
}

async fn the_log_and_the_trail_are_swept(t: TestServer) {
    t.user("ada").await;
    let trail = async || t.trail(10).await.len();
    assert_eq!(trail().await, 1);
    t.later(24 * 3600 - 1);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(trail().await, 1);
    t.later(1);
    tollhouse::job::sweep(&t.app).await;
    assert_eq!(trail().await, 0);
}

async fn nothing_is_written_by_reading(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").token(&token).await.is_user(&ada);
    t.app.db.faults.set(Fault::Writes);
    for path in ["/api/v4/user", "/api/v4/projects", "/api/v4/groups", "/api/v4/users", "/api/v4/version"] {
        t.get(path).token(&token).await.has(200);
    }
}

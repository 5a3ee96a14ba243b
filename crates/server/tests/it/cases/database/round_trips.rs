//! How often an answer of PostgreSQL is waited for, and what becomes of statements that are sent together.

use std::time::Duration;

use tollhouse::operations::grants::{ClientCredentials, Revoke};
use tollhouse::operations::refresh::Refresh;
use tollhouse::operations::rotation::Rotated;
use tollhouse::operations::tokens::CreateToken;
use tollhouse::operations::{Failed, Operation, tokens};
use tollhouse_domain::access::Visibility;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::UserId;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::db::Db;
use tollhouse_store::faults::by_hand;
use tollhouse_store::query::query;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{personal_access_tokens, token_families, users};

use super::super::agreement::settled;
use crate::postgres::Postgres;
use crate::test_server::TestServer;

cases![
    one_thing_that_is_asked_for_is_one_round_trip,
    a_hidden_group_costs_as_much_as_an_absent_one,
    what_gives_and_ends_tokens_takes_two_round_trips,
    numbers_that_are_drawn_ahead_are_given_out_once,
    what_failed_is_not_committed_though_nobody_looked,
    a_restart_of_the_database_fails_nobody_who_had_nothing_done,
    who_goes_away_leaves_a_connection_that_can_be_used,
];

async fn one_thing_that_is_asked_for_is_one_round_trip(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let group = t.group("harbour", Visibility::Public).await;
    let project = t.project(group, "quay", Visibility::Public).await;
    for target in [format!("projects/{project}"), format!("groups/{group}"), format!("users/{}", ada.id)] {
        let ask = async || {
            t.get(&format!("/api/v4/{target}")).token(&token).await.has(200);
        };
        // What the credential and the memberships take is remembered, once this server follows the log.
        settled(&t).await;
        ask().await;
        let before = t.app.db.rounds();
        ask().await;
        assert!(t.app.db.rounds() - before <= 1, "{target}: {} round trips", t.app.db.rounds() - before);
    }
}

/// One that is absent and one that the viewer may not see take the same statements, however many projects are in it.
async fn a_hidden_group_costs_as_much_as_an_absent_one(t: TestServer) {
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let token = ada.token([Scope::Api]).await;
    let hidden = t.group("hidden", Visibility::Private).await;
    let (quay, _) =
        (t.project(hidden, "quay", Visibility::Private).await, t.project(hidden, "pier", Visibility::Private).await);
    settled(&t).await;
    let mut costs = Vec::new();
    for target in ["999999".to_owned(), hidden.to_string()] {
        let ask = async || {
            t.get(&format!("/api/v4/groups/{target}")).token(&token).await.has(404);
            t.get(&format!("/api/v4/groups/{target}")).await.has(404);
        };
        ask().await;
        let before = t.app.db.rounds();
        ask().await;
        costs.push(t.app.db.rounds() - before);
    }
    assert_eq!(costs[0], costs[1]);
    // A member of a project inside sees the group, and in it what they may see.
    t.member(
        tollhouse_domain::membership::MembershipSource::Project(quay),
        &grace,
        tollhouse_domain::access::AccessLevel::Guest,
    )
    .await;
    let shown =
        t.get(&format!("/api/v4/groups/{hidden}")).token(&grace.token([Scope::Api]).await).await.has(200).json();
    let paths: Vec<_> =
        shown["projects"].as_array().expect("projects").iter().map(|project| &project["path"]).collect();
    assert_eq!(paths, ["quay"]);
}

/// Without what the authentication of the client takes.
async fn what_gives_and_ends_tokens_takes_two_round_trips(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let ada = t.user("ada").await;
    let client = t.client("api openid").await;
    let scopes = Scopes::from([Scope::Api]);
    let issue = ClientCredentials { client: client.id, scopes: scopes.clone(), lifetime: Duration::from_secs(7200) };
    let issue = std::sync::Arc::new(issue);
    let create = CreateToken {
        user: ada.id,
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name: "ci".into(),
        scopes,
        expires_at: None,
        description: None,
        require_expiry: true,
        secret: None,
    };
    // Statements are prepared, and numbers drawn, at first.
    for _ in 0..70 {
        t.does(issue.clone()).await;
        t.does(create.clone()).await;
    }
    let before = t.app.db.rounds();
    // As many as empty the stock of numbers more than once.
    for _ in 0..50 {
        t.does(issue.clone()).await;
    }
    let took = t.app.db.rounds() - before;
    assert_eq!(took, 100, "client_credentials");
    let before = t.app.db.rounds();
    for _ in 0..50 {
        t.does(create.clone()).await;
    }
    let took = t.app.db.rounds() - before;
    assert_eq!(took, 100, "a personal access token");

    let mut families = Vec::new();
    for _ in 0..3 {
        families.push(t.does(issue.clone()).await.token.family_id);
    }
    let revoke = async |family| {
        let attempt = Attempt(Revoke { family }, t.now());
        let before = t.app.db.rounds();
        assert!(t.app.db.perform(attempt).await.is_ok());
        t.app.db.rounds() - before
    };
    revoke(families[0]).await;
    assert_eq!(revoke(families[1]).await, 2, "a revocation");
    let tokens = client.tokens(&ada, "api").await;
    let mut presented = Plaintext::new(tokens.refresh);
    let mut took = Vec::new();
    for _ in 0..3 {
        let refresh = Refresh {
            presented,
            client: Some(client.id),
            scopes: None,
            lifetime: Duration::from_secs(7200),
            accounts: t.app.accounts(),
            rules: t.app.rotation(),
        };
        let before = t.app.db.rounds();
        let Ok(done) = t.app.db.perform(Attempt(refresh, t.now())).await else { panic!("refused") };
        took.push(t.app.db.rounds() - before);
        let Rotated::Successor(issued) = done.value else { panic!("no successor") };
        presented = issued.refresh.expect("another one");
    }
    // The token, its user, the rotation, and the commit.
    assert_eq!(took.last(), Some(&4), "a refresh: {took:?}");
}

/// Of this program and of one that lets the database number its rows.
async fn numbers_that_are_drawn_ahead_are_given_out_once(t: TestServer) {
    let ada = t.user("ada").await;
    let other = t.reopened("").await;
    let create = |secret| tokens::CreateToken {
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
        secret,
    };
    let mut numbers = Vec::new();
    for round in 0..70 {
        let here = if round % 2 == 0 { &t } else { &other };
        let made = here.does(create(None)).await;
        numbers.push((made.token.id.0, made.token.family_id.0));
        if round % 10 == 0 {
            let old = "INSERT INTO token_families (head_id) VALUES (NULL)";
            by_hand(&t.url(), old).await.expect("as an older server does it");
        }
    }
    let mut tokens: Vec<i64> = numbers.iter().map(|(token, _)| *token).collect();
    let mut families: Vec<i64> = numbers.iter().map(|(_, family)| *family).collect();
    for numbers in [&mut tokens, &mut families] {
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 70);
    }
    // T26: what was deleted is not given out again.
    let newest = tokens.last().expect("one").to_owned();
    by_hand(&t.url(), "DELETE FROM personal_access_tokens").await.expect("they go");
    let again = t.reopened("").await;
    for here in [&t, &other, &again] {
        let made = here.does(create(None)).await.token.id.0;
        assert!(!tokens.contains(&made), "{made} after {newest}");
    }
    other.leave().await;
    again.leave().await;
}

/// An operation that pays no attention to what its statements say.
struct Careless {
    user: UserId,
    secret: Plaintext,
    /// Whether it waits for the statement that fails.
    waits: bool,
}

impl Operation for Careless {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        tollhouse_store::faults::set_projects_limit(tx, self.user, 7).await?;
        let scopes = Scopes::from([Scope::Api]);
        let new = personal_access_tokens::NewToken {
            family: token_families::insert(tx).await?,
            previous: None,
            digest: self.secret.digest(),
            user: self.user,
            name: "twice",
            description: None,
            scopes: &scopes,
            impersonation: false,
            expires_at: None,
        };
        let made = personal_access_tokens::insert(tx, &new, now).await;
        if self.waits {
            // Whatever comes next is not answered, and that is not looked at either.
            let _ = users::find(tx, self.user).await;
        }
        drop(made);
        Ok(Change::nothing(()))
    }
}

/// The same where several are committed together.
struct CarelessTogether(Careless);

impl Operation for CarelessTogether {
    type Output = ();
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        self.0.run(tx, now).await
    }
}

async fn what_failed_is_not_committed_though_nobody_looked(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let ada = t.user("ada").await;
    let secret = Plaintext::new(ada.token([Scope::Api]).await);
    let limit = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let limit: i64 = query("SELECT CAST(count(*) AS BIGINT) FROM users WHERE projects_limit = 7")
            .one(&mut reader)
            .await
            .expect("a count");
        limit
    };
    for waits in [false, true] {
        let careless = || Careless { user: ada.id, secret: secret.clone(), waits };
        assert!(t.app.perform(careless(), &By::system()).await.is_err(), "{waits}");
        assert!(t.app.perform(CarelessTogether(careless()), &By::system()).await.is_err(), "{waits} together");
        assert_eq!(limit().await, 0, "{waits}: nothing of it is there");
    }
    // The connections are as good as before.
    ada.token([Scope::Api]).await;
}

async fn a_restart_of_the_database_fails_nobody_who_had_nothing_done(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut postgres = Postgres::start().expect("it is installed");
    let url = postgres.url(&postgres.database());
    let db = Db::open(&url.parse().expect("a URL"), 0).await.expect("a database");
    let used = async || {
        let mut reader = db.read().await?;
        users::find(&mut reader, UserId(1)).await?;
        drop(reader);
        let mut tx = db.begin().await?;
        users::find(&mut tx, UserId(1)).await
    };
    used().await.expect("answers");
    for kill in [false, true] {
        // Nobody reads from the connections meanwhile, so that they are not known to be closed.
        if kill {
            postgres.kill()
        } else {
            postgres.end()
        }
        postgres.start_again();
        used().await.expect("another connection");
    }
    db.close().await;
    postgres.stop();
}

async fn who_goes_away_leaves_a_connection_that_can_be_used(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    t.user("ada").await;
    // More often than there are connections.
    for _ in 0..12 {
        let mut reader = t.app.db.read().await.expect("a reader");
        let asked = async {
            let slow: Result<bool, _> = query("SELECT pg_sleep(30) IS NULL").one(&mut reader).await;
            slow
        };
        assert!(tokio::time::timeout(Duration::from_millis(20), asked).await.is_err());
        drop(reader);
        let mut tx = t.app.db.begin().await.expect("a transaction");
        let asked = users::find(&mut tx, UserId(1));
        // Perhaps before the answer.
        let _ = tokio::time::timeout(Duration::from_micros(1), asked).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let running = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND query LIKE '%pg_sleep%' AND state = 'active' AND pid <> pg_backend_pid()";
    let mut reader = t.app.db.read().await.expect("a reader");
    let running: i64 = query(running).one(&mut reader).await.expect("a count");
    assert_eq!(running, 0, "a statement that nobody waits for is ended");
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()";
    let open: i64 = query(open).one(&mut reader).await.expect("a count");
    assert!(open <= 17, "{open} connections");
    drop(reader);
    t.get("/api/v4/users?username=ada").await.has(200);
}

/// An operation without the wait for other servers.
struct Attempt<O>(O, Timestamp);

impl<O: Operation> tollhouse_store::work::Work for Attempt<O> {
    type Output = O::Output;
    type Error = Failed;

    const LOGS: bool = O::REVOKES;

    fn by(&self) -> &By {
        static BY: std::sync::OnceLock<By> = std::sync::OnceLock::new();
        BY.get_or_init(By::system)
    }

    fn now(&self) -> Timestamp {
        self.1
    }

    async fn run(&self, tx: &mut Tx) -> Result<Change<Self::Output>, Failed> {
        self.0.run(tx, self.1).await
    }
}

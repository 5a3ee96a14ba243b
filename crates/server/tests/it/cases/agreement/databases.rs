//! A database that ends, comes back, or comes back as it was: under real servers, with a PostgreSQL of its own for each test.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollhouse_domain::agreement::LEASE;
use tollhouse_domain::scope::Scope;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;

use super::{SELF, USER};
use crate::cases::command_line::said;
use crate::postgres::Postgres;
use crate::process::{Process, ask, server, tollhouse};
use crate::test_server::{REVOKED, TestServer};

cases![
    a_database_that_is_killed_comes_back,
    a_database_that_is_put_back_is_noticed,
    a_file_that_is_replaced_ends_its_server,
];

async fn status(address: SocketAddr, token: &str) -> Option<u16> {
    ask(address, "GET", USER, token).await.map(|(status, _)| status)
}

/// Until it says so; not longer than a busy machine may need.
async fn becomes(address: SocketAddr, token: &str, wanted: u16) {
    for _ in 0..300 {
        if status(address, token).await == Some(wanted) {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("it does not become {wanted}: {:?}", status(address, token).await);
}

/// Two servers on a PostgreSQL of their own, and two tokens.
struct Pair {
    postgres: Postgres,
    servers: [Process; 2],
    tokens: [String; 2],
}

impl Pair {
    async fn on(t: &TestServer) -> Self {
        let postgres = Postgres::start().expect("it is installed");
        let url = postgres.url(&postgres.database());
        let start = || Process::start(server(t.folder.path(), &url));
        let servers = [start().await, start().await];
        let token = async || {
            let mut command = tollhouse(t.folder.path());
            command.args([
                "token",
                "create",
                "--user",
                "root",
                "--name",
                "test",
                "--scopes",
                "api",
                "--database",
                &url,
            ]);
            said(command, b"").await.done().to_owned()
        };
        let tokens = [token().await, token().await];
        Self { postgres, servers, tokens }
    }

    /// Everywhere, in the end.
    async fn both_become(&self, token: usize, wanted: u16) {
        for server in &self.servers {
            becomes(server.address, &self.tokens[token], wanted).await;
        }
    }

    /// Acknowledged by one, so refused by both at once.
    async fn revoke(&self, token: usize) {
        let token = &self.tokens[token];
        let told = ask(self.servers[0].address, "DELETE", SELF, token).await;
        assert_eq!(told, Some((204, String::new())));
        for server in &self.servers {
            assert_eq!(ask(server.address, "GET", USER, token).await, Some((401, REVOKED.to_owned())));
        }
    }

    async fn end(self) {
        for server in self.servers {
            assert_eq!(server.terminate().await, Some(0));
        }
        self.postgres.stop();
    }
}

async fn a_database_that_is_killed_comes_back(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut pair = Pair::on(&t).await;
    pair.both_become(0, 200).await;
    pair.postgres.kill();
    let killed = Instant::now();
    for server in &pair.servers {
        let told = status(server.address, &pair.tokens[0]).await;
        assert!(matches!(told, Some(200 | 503)), "{told:?}");
    }
    sleep((LEASE + Duration::from_millis(200)).saturating_sub(killed.elapsed())).await;
    for server in &pair.servers {
        assert_eq!(status(server.address, &pair.tokens[0]).await, Some(503), "a lease does not outlive its database");
    }
    let revoked = ask(pair.servers[0].address, "DELETE", SELF, &pair.tokens[0]).await;
    assert_eq!(revoked.map(|(status, _)| status), Some(503), "nobody is told that it happened");
    pair.postgres.start_again();
    pair.both_become(0, 200).await;
    pair.revoke(0).await;
    pair.end().await;
}

async fn a_database_that_is_put_back_is_noticed(t: TestServer) {
    if !t.app.db.is_postgres() {
        return;
    }
    let mut pair = Pair::on(&t).await;
    pair.both_become(0, 200).await;
    pair.postgres.end();
    pair.postgres.copy(false);
    pair.postgres.start_again();
    pair.both_become(0, 200).await;
    pair.revoke(0).await;
    pair.both_become(1, 200).await;
    pair.postgres.end();
    pair.postgres.copy(true);
    pair.postgres.start_again();
    // What was revoked after the copy was made is lost in the truth itself, and the log has the same numbers once more.
    pair.both_become(0, 200).await;
    pair.both_become(1, 200).await;
    pair.revoke(1).await;
    pair.revoke(0).await;
    pair.end().await;
}

async fn a_file_that_is_replaced_ends_its_server(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let token = t.user("ada").await.token([Scope::Api]).await;
    t.leave().await;
    let file = t.folder.path().join("tollhouse.db");
    let copy = t.folder.path().join("copy.db");
    std::fs::copy(&file, &copy).expect("a copy");
    let server = Process::serve(&t, &[]).await;
    let address = server.address;
    assert_eq!(status(address, &token).await, Some(200));
    let other = Db::open(&t.url(), 0).await.expect("the same file");
    std::fs::rename(&copy, &file).expect("another file");
    // Whoever has lost its link just then makes a new one, to the new file.
    assert!(matches!(other.link().await, Err(StoreError::Replaced)));
    // A command works on the new file; the server, which would never hear of it, must not go on.
    assert_eq!(server.ended().await, Some(1));
    assert_eq!(status(address, &token).await, None);
}

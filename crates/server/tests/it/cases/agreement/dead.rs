//! Servers that ended without a word: what the list says of them, and what the next revocations cost. With real servers,
//! killed and put back.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_store::faults::by_hand;

use super::SELF;
use crate::cases::command_line::said;
use crate::postgres::Postgres;
use crate::process::{Process, ask, server, tollhouse};
use crate::test_server::TestServer;

cases![
    a_server_that_crashed_is_not_said_to_run,
    a_revocation_waits_twice_at_most_for_a_server_that_crashed,
    a_restored_database_says_nothing_of_the_past,
    servers_that_cannot_be_asked_are_listed_all_the_same,
];

/// A revocation waits for a server that does not answer for 2.5 s.
const ONE_WAIT: Duration = Duration::from_millis(2_500);

/// What a busy machine may need beside.
const SLACK: Duration = Duration::from_secs(2);

/// Without waiting for anybody.
const AT_ONCE: Duration = Duration::from_millis(1_500);

async fn listed(command: std::process::Command) -> Vec<Value> {
    said(command, b"").await.json().as_array().expect("a list").clone()
}

async fn nodes(t: &TestServer) -> Vec<Value> {
    listed(t.command(&["node", "list", "--json"])).await
}

fn of(nodes: &[Value], address: SocketAddr) -> Option<&Value> {
    let end = format!(" {address}");
    nodes.iter().find(|node| node["name"].as_str().is_some_and(|name| name.ends_with(&end)))
}

/// In the form of [`Timestamp::iso`], which sorts as the times do.
fn last_seen(node: &Value) -> &str {
    node["last_seen_at"].as_str().expect("a time")
}

fn now() -> Timestamp {
    Clock::system().now()
}

fn earlier(than: Timestamp) -> String {
    Timestamp(than.0 - 1_000).iso()
}

/// How long a revocation takes by the server that is asked.
async fn revoked(server: &Process, token: &str) -> Duration {
    let began = Instant::now();
    assert_eq!(ask(server.address, "DELETE", SELF, token).await, Some((204, String::new())));
    began.elapsed()
}

async fn a_server_that_crashed_is_not_said_to_run(t: TestServer) {
    let ada = t.user("ada").await;
    let tokens = [ada.token([Scope::Api]).await, ada.token([Scope::Api]).await];
    t.leave().await;
    let began = now();
    let [one, other] = [Process::serve(&t, &[]).await, Process::serve(&t, &[]).await];
    let (dead, alive) = (one.address, other.address);
    // Both have read this by the time it is acknowledged.
    revoked(&other, &tokens[0]).await;
    let before = nodes(&t).await;
    for address in [dead, alive] {
        let node = of(&before, address).expect("its row");
        assert_eq!((&node["answering"], &node["behind"]), (&Value::Bool(true), &Value::from(0)), "{before:?}");
        assert!(last_seen(node) >= earlier(began).as_str(), "{node}");
    }
    one.kill().await;
    let killed = now();
    let after = nodes(&t).await;
    let node = of(&after, dead).expect("its row");
    assert_eq!(node["answering"], false, "{after:?}");
    assert!(last_seen(node) <= killed.iso().as_str(), "{node}");
    let node = of(&after, alive).expect("its row");
    assert_eq!(node["answering"], true, "{after:?}");
    assert!(last_seen(node) >= earlier(killed).as_str(), "asked just now: {node}");
    // Who was told of it need not wait for it again.
    let took = revoked(&other, &tokens[1]).await;
    assert!(took < AT_ONCE, "{took:?}");
    assert!(of(&nodes(&t).await, dead).is_none());
    assert_eq!(other.terminate().await, Some(0));
}

async fn a_revocation_waits_twice_at_most_for_a_server_that_crashed(t: TestServer) {
    let ada = t.user("ada").await;
    let mut tokens = Vec::new();
    for _ in 0..3 {
        tokens.push(ada.token([Scope::Api]).await);
    }
    t.leave().await;
    let [one, other] = [Process::serve(&t, &[]).await, Process::serve(&t, &[]).await];
    nodes(&t).await;
    one.kill().await;
    for token in &tokens[..2] {
        let took = revoked(&other, token).await;
        assert!(took < ONE_WAIT + SLACK, "{took:?}");
    }
    let took = revoked(&other, &tokens[2]).await;
    assert!(took < AT_ONCE, "{took:?}");
    assert_eq!(other.terminate().await, Some(0));
}

/// The rows of the servers that ran when the copy was made come back with it.
async fn a_restored_database_says_nothing_of_the_past(t: TestServer) {
    let mut postgres = t.app.db.is_postgres().then(|| Postgres::start().expect("it is installed"));
    let url = postgres.as_ref().map_or_else(|| t.database_url.clone(), |own| own.url(&own.database()));
    t.leave().await;
    let start = || Process::start(server(t.folder.path(), &url));
    let command = |words: &[&str]| {
        let mut command = tollhouse(t.folder.path());
        command.args(words).args(["--database", &url]);
        command
    };
    let past = start().await;
    let address = past.address;
    let create = ["token", "create", "--user", "root", "--name", "test", "--scopes", "api"];
    let mut tokens = Vec::new();
    for _ in 0..2 {
        tokens.push(said(command(&create), b"").await.done().to_owned());
    }
    let list = ["node", "list", "--json"];
    assert_eq!(of(&listed(command(&list)).await, address).expect("its row")["answering"], true);
    let copied = match &mut postgres {
        Some(postgres) => {
            past.kill().await;
            let copied = now();
            postgres.end();
            postgres.copy(false);
            postgres.copy(true);
            postgres.start_again();
            copied
        }
        None => {
            let (file, copy) = (t.folder.path().join("tollhouse.db"), t.folder.path().join("copy.db"));
            by_hand(&t.url(), &format!("VACUUM INTO '{}'", copy.display())).await.expect("a copy");
            let copied = now();
            assert_eq!(past.terminate().await, Some(0));
            std::fs::set_permissions(&copy, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("a mode");
            std::fs::rename(&copy, &file).expect("it is put back");
            for end in ["-wal", "-shm"] {
                let _ = std::fs::remove_file(t.folder.path().join(format!("tollhouse.db{end}")));
            }
            copied
        }
    };
    let present = start().await;
    let nodes = listed(command(&list)).await;
    let node = of(&nodes, present.address).expect("its row");
    assert_eq!(node["answering"], true, "{nodes:?}");
    // It is gone already, if the server that starts was faster; it is never said to run.
    if let Some(node) = of(&nodes, address) {
        assert_eq!(node["answering"], false, "{nodes:?}");
        assert!(last_seen(node) <= copied.iso().as_str(), "{node}");
    }
    for token in &tokens {
        let took = revoked(&present, token).await;
        assert!(took < AT_ONCE, "{took:?}");
    }
    assert_eq!(present.terminate().await, Some(0));
    if let Some(postgres) = postgres {
        postgres.stop();
    }
}

/// A database that takes nothing in can be read all the same.
async fn servers_that_cannot_be_asked_are_listed_all_the_same(t: TestServer) {
    super::settled(&t).await;
    super::by_hand(&t, "DELETE FROM invalidation_head").await;
    let said = t.shell(&["node", "list"]).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let warning = "tollhouse: warning: the servers could not be asked to respond: ";
    assert!(said.err.starts_with(warning) && said.err.lines().count() == 1, "{said:?}");
    assert!(said.out.contains("unknown") && !said.out.contains("running"), "{said:?}");
    let json: Value = serde_json::from_str(&t.shell(&["node", "list", "--json"]).await.out).expect("JSON");
    assert_eq!(json[0]["answering"], Value::Null, "{json}");
}

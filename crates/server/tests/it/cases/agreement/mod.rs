//! The rules of `docs/protocols/revocation.md`, one by one, on servers that share a database. What happens when many
//! things go wrong at once is for `simulation` and `history`.

use std::time::Duration;

use tollhouse_domain::agreement::{NodeId, Tick};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::random;
use tollhouse_store::nodes::{self, Node};
use tollhouse_store::{faults, invalidations};

use crate::test_server::{REVOKED, TestServer};

pub mod answering;
pub mod databases;
pub mod dead;
pub mod following;
pub mod remembered;
pub mod rows;
pub mod writing;

const SELF: &str = "/api/v4/personal_access_tokens/self";
const USER: &str = "/api/v4/user";

/// A server that reads no more: nobody gets further than its row.
async fn laggard(t: &TestServer) -> NodeId {
    let id = NodeId(random());
    nodes::register(&t.app.db, &[], id, "laggard", t.now()).await.expect("a row");
    id
}

async fn rows(t: &TestServer) -> Vec<Node> {
    nodes::all(&mut t.app.db.read().await.expect("a reader")).await.expect("the nodes")
}

async fn row(t: &TestServer, id: NodeId) -> Option<Node> {
    rows(t).await.into_iter().find(|node| node.id == id)
}

pub async fn newest(t: &TestServer) -> i64 {
    invalidations::newest(&mut t.app.db.read().await.expect("a reader")).await.expect("the log")
}

/// The numbers of the log from there on.
async fn numbers(t: &TestServer, from: i64) -> Vec<i64> {
    let mut link = t.app.db.link().await.expect("a link");
    let page = link.read(from, NodeId([0; 16])).await.expect("the log");
    page.entries.into_iter().map(|entry| entry.place.position).filter(|position| *position >= from).collect()
}

async fn by_hand(t: &TestServer, sql: &str) {
    faults::by_hand(&t.url(), sql).await.expect("it is done");
}

/// As somebody does who changes the database by hand, past the program: nobody is told.
async fn block_by_hand(t: &TestServer, user: i64, blocked: bool) {
    let state = if blocked { "blocked" } else { "active" };
    by_hand(t, &format!("UPDATE users SET state = '{state}' WHERE id = {user}")).await;
}

/// Looks until it is so. What never becomes so within ten seconds, which is more than anything here may take, fails.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{what} did not happen");
}

/// Its row, when it has one and answers from memory.
pub(super) async fn settled(t: &TestServer) -> NodeId {
    until("a lease", async || t.app.node.own().filter(|_| t.app.node.lag().is_some_and(|lag| lag < YOUNG))).await
}

/// What one server remembers and another one takes away is refused the moment that is acknowledged.
async fn revoked_here_refused_there(here: &TestServer, there: &TestServer) {
    let ada = here.user("ada").await;
    settled(there).await;
    for _ in 0..3 {
        let token = ada.token([Scope::Api]).await;
        there.get(USER).token(&token).await.is_user(&ada);
        here.delete(SELF).token(&token).await.has(204);
        there.get(USER).token(&token).await.is(401, REVOKED);
    }
}

const YOUNG: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick(millis * 1_000_000)
}

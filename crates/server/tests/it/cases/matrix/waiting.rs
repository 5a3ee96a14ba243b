//! Whether a refusal for a revoked credential waits until every node knows of the revocation (revocation.md W4). Another
//! node is there that never answers, so whoever waits is not answered soon.

use std::time::Duration;

use tokio::time::timeout;
use tollhouse_domain::agreement::{NodeId, WAIT};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::random;
use tollhouse_store::nodes;

use super::Matrix;
use super::cast::{Credential, Kind, Owner, State};
use super::lines::Line;
use super::rows::{Place, Row, Shown};
use crate::test_server::TestServer;

/// What a revoked token shows.
pub const REVOKED: Credential =
    Credential::Token { kind: Kind::Personal, state: State::Revoked, owner: Owner::Active, scope: Scope::Api };

impl Matrix {
    /// How many rows, and those that waited and should not have, or the other way round.
    pub(super) async fn waiting(&self, t: &TestServer, line: &Line) -> (usize, Vec<String>) {
        let Some(api) = line.api() else { return (0, Vec::new()) };
        let silent = NodeId(random());
        nodes::register(&t.app.db, &[], silent, "silent", t.now()).await.expect("a row");
        // A slow machine must not look like a wait, and the other one must end before the server gives up on that node.
        let span = if api.waits { Duration::from_millis(300) } else { WAIT - Duration::from_millis(500) };
        let row = Row { shown: Shown::Credential(REVOKED), place: Place::PrivateToken, head: false };
        let waited = timeout(span, self.ask(t, line, &row, None)).await.is_err();
        nodes::leave(&t.app.db, &[silent]).await.expect("it leaves");
        let wrong = (waited != api.waits).then(|| format!("{}: a revoked token waits: {waited}", line.name));
        (1, wrong.into_iter().collect())
    }
}

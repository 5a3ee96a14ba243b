//! What becomes of an OAuth token: shown to the API (authentication.md 1 to 4), revoked, asked about and described
//! (oauth.md section 8).

pub mod api;
pub mod guards;
pub mod introspection;
pub mod revocation;

use crate::oauth::{Client, encoded};
use crate::test_server::{Ask, TestServer};

const INACTIVE: &str = r#"{"active":false}"#;

/// By nobody, unless the pairs say who.
fn revoke(t: &TestServer, pairs: &[(&str, &str)]) -> Ask {
    t.post("/oauth/revoke").form(&encoded(pairs))
}

fn info(t: &TestServer, access: &str) -> Ask {
    t.get("/oauth/token/info").bearer(access)
}

fn by(client: &Client, ask: Ask) -> Ask {
    ask.with("authorization", &client.basic())
}

async fn revoked(t: &TestServer, client: &Client, token: &str) {
    by(client, revoke(t, &[("token", token)])).await.is(200, "{}");
}

//! Refresh tokens (`docs/protocols/rotation.md`; oauth.md 6.3): a lost answer locks no client out, and theft is
//! noticed. A test named by a rule fails without it. Nodes are two towns on one database.

pub mod clients;
pub mod endings;
pub mod failures;
pub mod theft;
pub mod window;

use tollhouse_domain::secret::Digest;

use crate::oauth::{Client, Tokens, USER, ask, changed, is_error, tokens};
use crate::test_server::{Ask, Person, REVOKED, Reply, TestServer};

/// An application, a person, and what it was given for her.
async fn begun(t: &TestServer) -> (Client, Person, Tokens) {
    let (client, ada) = (t.client("api read_api read_user openid").await, t.user("ada").await);
    let first = client.tokens(&ada, "api read_user").await;
    (client, ada, first)
}

async fn next(client: &Client, refresh: &str) -> Tokens {
    tokens(&client.refresh(refresh).await)
}

/// Asks, so it counts as use.
async fn lives(t: &TestServer, access: &str) {
    t.get(USER).bearer(access).await.has(200);
}

async fn is_dead(t: &TestServer, access: &str) {
    t.get(USER).bearer(access).await.is(401, REVOKED);
}

#[track_caller]
fn refused(reply: &Reply) {
    is_error(reply, 400, "invalid_grant");
}

fn with_a_wrong_secret(client: &Client) -> Client {
    Client { secret: "gloas-wrong".to_owned(), ..client.clone() }
}

fn by_nobody(t: &TestServer, refresh: &str) -> Ask {
    ask(t, &[("grant_type", "refresh_token"), ("refresh_token", refresh)])
}

fn with_scope(client: &Client, refresh: &str, scope: Option<&str>) -> Ask {
    client.token("refresh_token", &changed(&[("refresh_token", refresh)], &[("scope", scope)]))
}

/// Nothing: the row is gone. Nothing within: its salt is.
async fn salt(t: &TestServer, refresh: &str) -> Option<Option<[u8; 32]>> {
    let mut reader = t.app.db.read().await.expect("a reader");
    let digest = Digest::of(refresh.as_bytes());
    let found = tollhouse_store::oauth_access_tokens::by_refresh_digest(&mut reader, digest).await;
    found.expect("a look-up").map(|found| found.generation.salt)
}

/// Everybody who may not, with a refresh token of `client`.
async fn attempts(t: &TestServer, client: &Client, other: &Client, refresh: &str) {
    is_error(&with_a_wrong_secret(client).refresh(refresh).await, 401, "invalid_client");
    refused(&other.refresh(refresh).await);
    refused(&by_nobody(t, refresh).await);
}

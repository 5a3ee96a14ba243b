//! The token endpoint (oauth.md section 6), but for what `refresh` holds: each grant, each mistake in its order, a
//! code that comes twice, and what nobody means to send.

pub mod bad_input;
pub mod challenges;
pub mod codes;
pub mod endings;
pub mod id_tokens;
pub mod itself;
pub mod mistakes;
pub mod passwords;
pub mod refreshes;

use crate::oauth::{CALLBACK, CHALLENGE, Client, VERIFIER};
use crate::test_server::{Ask, Person, TestServer};

const TOKEN: &str = "/oauth/token";

/// A request for authorization with the challenge that [`VERIFIER`] meets.
const CHALLENGED: [(&str, Option<&str>); 2] =
    [("code_challenge", Some(CHALLENGE)), ("code_challenge_method", Some("S256"))];

const INVALID_CLIENT: &str = "Client authentication failed due to unknown client, no client authentication included, or unsupported authentication method.";
const INVALID_GRANT: &str = "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.";

/// Ada, and a confidential application.
async fn both(t: &TestServer) -> (Client, Person) {
    (t.client("api read_api read_user openid email").await, t.user("ada").await)
}

/// All that redeems a code of a confidential application, for tests that change a part of it.
fn exchange<'a>(client: &'a Client, code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ]
}

/// Redeems a code that was asked for with [`CHALLENGED`].
fn redeem_challenged(client: &Client, code: &str) -> Ask {
    let pairs = [("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    client.token("authorization_code", &pairs)
}

fn by_password(client: &Client, login: &str, password: &str) -> Ask {
    client.token("password", &[("username", login), ("password", password)])
}

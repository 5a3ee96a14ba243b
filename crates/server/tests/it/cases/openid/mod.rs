//! OpenID Connect: userinfo, discovery, keys, and what is signed with them (oauth.md sections 9 and 10).

pub mod discovery;
pub mod signing;
pub mod userinfo;

use serde_json::Value;

use crate::test_server::{Ask, Reply, TestServer};

const USERINFO: &str = "/oauth/userinfo";
const KEYS: &str = "/oauth/discovery/keys";
const BASE: &str = "http://127.0.0.1:8080";
const INVALID: &str = "The access token is invalid";

/// Every claim of userinfo, in its order.
const CLAIMS: [&str; 13] = [
    "sub",
    "sub_legacy",
    "name",
    "nickname",
    "preferred_username",
    "email",
    "email_verified",
    "website",
    "profile",
    "groups",
    "https://gitlab.org/claims/groups/owner",
    "https://gitlab.org/claims/groups/maintainer",
    "https://gitlab.org/claims/groups/developer",
];

fn userinfo(t: &TestServer, access: &str) -> Ask {
    t.get(USERINFO).bearer(access)
}

/// 401 with nothing in it but the challenge.
#[track_caller]
fn refused(reply: &Reply, description: &str) {
    let challenge = format!(r#"Bearer realm="Doorkeeper", error="invalid_token", error_description="{description}""#);
    assert_eq!(reply.is(401, "").header("www-authenticate"), Some(challenge.as_str()));
}

fn member<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_else(|| panic!("{name}: {of}"))
}

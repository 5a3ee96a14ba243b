//! `/personal_access_tokens` (rest-api.md 2.2 to 2.7); what a token asks about itself is in `self_token.rs`.

use serde_json::Value;
use tollhouse::operations::tokens::{CreateToken, Created};
use tollhouse_domain::scope::{Scope, Scopes};

use crate::test_server::{Person, TestServer};

pub mod by_id;
pub mod listing;
pub mod rotating;

const PATH: &str = "/api/v4/personal_access_tokens";

fn one(made: &Created) -> String {
    format!("{PATH}/{}", made.token.id)
}

/// An administrator's way to act as somebody.
async fn impersonation(t: &TestServer, of: &Person) -> Created {
    let create = of.create_token(Scopes::from([Scope::Api]), None);
    t.does(CreateToken { impersonation: true, ..create }).await
}

async fn named(t: &TestServer, of: &Person, name: &str) -> Created {
    let create = of.create_token(Scopes::from([Scope::ReadUser]), None);
    t.does(CreateToken { name: name.to_owned(), ..create }).await
}

/// Those of a list, in its order.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|token| token["name"].as_str().expect("a name")).collect()
}

fn secret(answer: &Value) -> String {
    answer["token"].as_str().expect("a secret").to_owned()
}

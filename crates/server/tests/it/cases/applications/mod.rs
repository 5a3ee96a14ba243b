//! OAuth applications by the API (rest-api.md section 5): made, listed, given a new secret, deleted.

pub mod keeping;
pub mod making;
pub mod own;

use serde_json::{Value, json};
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::scope::Scope;

use crate::oauth::{CALLBACK, Client};
use crate::test_server::{Ask, Reply, TestServer};

const PATH: &str = "/api/v4/applications";
const FORBIDDEN: &str = r#"{"message":"403 Forbidden"}"#;

/// What an administrator asks with.
async fn warden(t: &TestServer) -> String {
    t.admin().await.token([Scope::Api]).await
}

fn asked() -> Value {
    json!({"name": "Ferry board", "redirect_uri": CALLBACK, "scopes": "api"})
}

fn make(t: &TestServer, token: &str, body: Value) -> Ask {
    t.post(PATH).token(token).json(body)
}

/// The client that an answer describes.
#[track_caller]
fn client(t: &TestServer, reply: &Reply) -> Client {
    let body = reply.has(201).json();
    let text = |name: &str| body[name].as_str().expect("a text").to_owned();
    let id = ApplicationId(body["id"].as_i64().expect("a number"));
    let confidential = body["confidential"] == json!(true);
    Client { town: t.clone(), id, uid: text("application_id"), secret: text("secret"), confidential }
}

/// Shows the client's own credentials and nothing else.
fn enters(client: &Client) -> Ask {
    client.token("client_credentials", &[("scope", "api")])
}

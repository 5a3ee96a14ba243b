//! The OpenAPI 3.1 document of the API, made from the table of endpoints (decision 0039).
//!
//! Nothing in it is written for one endpoint: whatever an endpoint, its parameters or its entity declares is told here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::Endpoint;
use super::answer::AnswerSchema;
use crate::entity::version::Version;
use crate::params::GroupRule;

mod answers;
mod inputs;
mod security;

use answers::Schemas;

/// What every path of the API begins with.
const PREFIX: &str = "/api/v4/";

/// The document of the endpoints that belong to the API. `base`: the URL of the server, without a slash at its end. Its answers are those
/// of one version of the API.
pub fn document(endpoints: &[Endpoint], base: &str, version: Version) -> Value {
    let mut schemas = Schemas::new(version);
    let mut paths = Map::new();
    let mut tags = BTreeSet::new();
    for endpoint in endpoints {
        let Some(answer) = endpoint.answer() else { continue };
        tags.insert(tag(endpoint));
        let operation = operation(endpoint, answer, &mut schemas);
        let at = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        at[endpoint.method.as_str().to_ascii_lowercase()] = operation;
    }
    let tags: Vec<Value> = tags.into_iter().map(|name| json!({ "name": name })).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Tollhouse",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "The REST API of this server. It speaks the dialect of the GitLab REST API, version 4.",
        },
        "servers": [{ "url": base }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.into_components(),
            "responses": answers::shared(),
            "headers": answers::headers(),
            "parameters": inputs::shared(),
            "securitySchemes": security::schemes(base),
        },
    })
}

fn operation(endpoint: &Endpoint, answer: &AnswerSchema, schemas: &mut Schemas) -> Value {
    let mut operation = json!({
        "operationId": id(endpoint),
        "tags": [tag(endpoint)],
        "description": description(endpoint),
        "parameters": inputs::parameters(endpoint, answer),
        "responses": answers::responses(endpoint, answer, schemas),
        "security": security::requirement(endpoint),
    });
    if let Some(body) = inputs::body(endpoint) {
        operation["requestBody"] = body;
    }
    if let Some(permission) = endpoint.permission {
        operation["x-permission"] = json!({ "name": permission.name, "boundary": permission.boundary.as_str() });
    }
    operation
}

/// Stable while method and path are: `get_projects_id_members_all_user_id`.
fn id(endpoint: &Endpoint) -> String {
    let path = endpoint.path.strip_prefix(PREFIX).unwrap_or(endpoint.path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let method = endpoint.method.as_str().to_ascii_lowercase();
    words.fold(method, |id, word| id + "_" + word)
}

/// The resource: the first segment of the path.
fn tag(endpoint: &Endpoint) -> &'static str {
    let path = endpoint.path.strip_prefix(PREFIX).unwrap_or(endpoint.path);
    path.split(['/', '.']).next().unwrap_or(path)
}

/// What the keywords of OpenAPI cannot say.
fn description(endpoint: &Endpoint) -> String {
    let mut sentences = security::sentences(endpoint);
    // In a body the schema says it.
    if !inputs::in_body(endpoint) {
        sentences.extend(endpoint.groups.iter().map(|group| {
            let names = group.names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            match group.rule {
                GroupRule::ExactlyOneOf => format!("Exactly one of {names} must be given."),
                GroupRule::AtLeastOneOf => format!("At least one of {names} must be given."),
                GroupRule::MutuallyExclusive => format!("Only one of {names} may be given."),
            }
        }));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests;

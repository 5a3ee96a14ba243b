//! Parameters and bodies of requests.

use axum::http::Method;
use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;
use crate::endpoint::answer::{AnswerSchema, BodySchema};
use crate::params::{GroupRule, Param, ParamType, Presence, SUDO};

/// Whether parameters that the path does not hold are described as a body. Each may stand in the query too.
pub(super) fn in_body(endpoint: &Endpoint) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(&endpoint.method)
}

fn outside_path(endpoint: &Endpoint) -> impl Iterator<Item = &'static Param> {
    endpoint.params.iter().filter(|param| param.presence != Presence::Path)
}

/// `components/parameters`: what every endpoint takes.
pub(super) fn shared() -> Value {
    let described = "The number or name of the user as whom an administrator acts. The token needs the scope `sudo`.";
    let parameter = |name: &str, place: &str| json!({ "name": name, "in": place, "description": described, "schema": { "type": "string" } });
    json!({ "SudoHeader": parameter("Sudo", "header"), "SudoParameter": parameter(SUDO, "query") })
}

pub(super) fn parameters(endpoint: &Endpoint, answer: &AnswerSchema) -> Vec<Value> {
    let in_path = endpoint.params.iter().filter(|param| param.presence == Presence::Path).map(|param| {
        let mut schema = value(param.kind, param.allowed);
        match param.kind {
            // The route takes digits alone.
            ParamType::Integer => schema.insert("minimum".to_owned(), json!(0)),
            _ => schema.insert("minLength".to_owned(), json!(1)),
        };
        let mut parameter = json!({ "name": param.name, "in": "path", "required": true, "schema": schema });
        if param.kind == ParamType::Text {
            parameter["description"] = json!("A number, or a full path with `/` as `%2F`.");
        }
        parameter
    });
    let in_query = outside_path(endpoint).filter(|_| !in_body(endpoint)).map(|param| {
        let required = matches!(param.presence, Presence::Required | Presence::Filled);
        let mut parameter = json!({
            "name": name_in_form(param),
            "in": "query",
            "required": required,
            "schema": schema(param, false),
        });
        if let ParamType::List { commas, .. } = param.kind {
            parameter["style"] = json!("form");
            parameter["explode"] = json!(!commas);
        }
        parameter
    });
    let mut all: Vec<Value> = in_path.chain(in_query).collect();
    if let BodySchema::Document = answer.body {
        all.push(json!({ "name": "If-None-Match", "in": "header", "schema": { "type": "string" } }));
    }
    all.extend(
        ["SudoHeader", "SudoParameter"].map(|name| json!({ "$ref": format!("#/components/parameters/{name}") })),
    );
    all
}

/// `None`: the endpoint declares nothing that a body could hold.
pub(super) fn body(endpoint: &Endpoint) -> Option<Value> {
    if !in_body(endpoint) || outside_path(endpoint).next().is_none() {
        return None;
    }
    let needs = |param: &Param| matches!(param.presence, Presence::Required | Presence::Filled);
    let required = outside_path(endpoint).any(needs)
        || endpoint.groups.iter().any(|group| group.rule != GroupRule::MutuallyExclusive);
    // With `explode` they would be one parameter that comes several times.
    let encoding: Map<String, Value> = outside_path(endpoint)
        .filter(|param| matches!(param.kind, ParamType::List { commas: true, .. }))
        .map(|param| (param.name.to_owned(), json!({ "style": "form", "explode": false })))
        .collect();
    let in_json = json!({ "schema": object(endpoint, |param| param.name.to_owned(), true) });
    let mut in_form = json!({ "schema": object(endpoint, name_in_form, false) });
    if !encoding.is_empty() {
        in_form["encoding"] = Value::Object(encoding);
    }
    let content = json!({ "application/json": in_json, "application/x-www-form-urlencoded": in_form });
    Some(json!({ "required": required, "content": content }))
}

/// The members of a body. It is open, since undeclared parameters are ignored.
fn object(endpoint: &Endpoint, named: fn(&Param) -> String, in_json: bool) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for param in outside_path(endpoint) {
        let name = named(param);
        if matches!(param.presence, Presence::Required | Presence::Filled) {
            required.push(name.clone());
        }
        properties.insert(name, schema(param, in_json));
    }
    let mut object = json!({ "type": "object", "properties": properties });
    if !required.is_empty() {
        object["required"] = json!(required);
    }
    let groups: Vec<Value> = endpoint.groups.iter().map(|group| rule(group.rule, group.names)).collect();
    if !groups.is_empty() {
        object["allOf"] = Value::Array(groups);
    }
    object
}

pub(super) fn rule(rule: GroupRule, names: &[&str]) -> Value {
    let each: Vec<Value> = names.iter().map(|name| json!({ "required": [name] })).collect();
    match rule {
        GroupRule::ExactlyOneOf => json!({ "oneOf": each }),
        GroupRule::AtLeastOneOf => json!({ "anyOf": each }),
        GroupRule::MutuallyExclusive => {
            let pairs = names
                .iter()
                .enumerate()
                .flat_map(|(at, one)| names[at + 1..].iter().map(move |other| json!({ "required": [one, other] })));
            json!({ "not": { "anyOf": pairs.collect::<Vec<_>>() } })
        }
    }
}

/// A list without commas has `[]` after its name (rest-api.md 1.1).
fn name_in_form(param: &Param) -> String {
    match param.kind {
        ParamType::List { commas: false, .. } => format!("{}[]", param.name),
        _ => param.name.to_owned(),
    }
}

/// `in_json`: null can be said.
fn schema(param: &Param, in_json: bool) -> Value {
    let mut schema = value(param.kind, param.allowed);
    if param.presence == Presence::Filled {
        schema.insert("pattern".to_owned(), json!("\\S"));
    }
    if let Some(least) = param.least {
        schema.insert("minimum".to_owned(), json!(least));
    }
    if let Some(text) = param.default {
        schema.insert("default".to_owned(), literal(param.kind, text));
    }
    if param.nullable && in_json {
        let kind = schema.remove("type");
        schema.insert("type".to_owned(), json!([kind, "null"]));
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    Value::Object(schema)
}

fn value(kind: ParamType, allowed: &[&str]) -> Map<String, Value> {
    let mut schema = Map::new();
    let mut say = |keyword: &str, value: Value| drop(schema.insert(keyword.to_owned(), value));
    match kind {
        ParamType::Integer => {
            say("type", json!("integer"));
            say("format", json!("int64"));
        }
        ParamType::Boolean => say("type", json!("boolean")),
        ParamType::Text => say("type", json!("string")),
        ParamType::Date => {
            say("type", json!("string"));
            say("format", json!("date"));
        }
        ParamType::DateTime => {
            say("type", json!("string"));
            say("format", json!("date-time"));
        }
        ParamType::List { of, .. } => {
            say("type", json!("array"));
            say("items", Value::Object(value(*of, allowed)));
        }
    }
    if !allowed.is_empty() && !matches!(kind, ParamType::List { .. }) {
        say("enum", allowed.iter().map(|word| literal(kind, word)).collect());
    }
    schema
}

/// A value of this type, which a declaration gives as text.
fn literal(kind: ParamType, text: &str) -> Value {
    match kind {
        ParamType::Integer | ParamType::Boolean => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        ParamType::Text | ParamType::Date | ParamType::DateTime | ParamType::List { .. } => json!(text),
    }
}

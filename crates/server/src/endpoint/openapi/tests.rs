use std::collections::{BTreeMap, BTreeSet};

use axum::http::Method;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;

use super::*;
use crate::app::App;
use crate::endpoint::access::anyone;
use crate::endpoint::answer::NoContent;
use crate::error::Error;
use crate::params::{CommaList, List, MinAccessLevel, Nullable, params};
use crate::routes::table;
use crate::surface::Surface;

params! {
    #[allow(dead_code)] // nothing is read here
    struct Every {
        path id: i64,
        path named: String,
        required text: String,
        filled words: String,
        optional day: Date,
        default flag: bool = "true",
        default number: i64 = "7",
        optional level: MinAccessLevel,
        optional word: Visibility,
        optional cleared: Nullable<String>,
        optional cleared_word: Nullable<Visibility>,
        optional list: List<i64>,
        optional commas: CommaList<Scope>,
        exactly_one_of [day, flag],
        mutually_exclusive [number, level, word],
    }
}

async fn nothing(_: App, _: Option<Identity>, _: Every) -> Result<NoContent, Error> {
    Ok(NoContent)
}

fn described(method: Method) -> Value {
    let path = "/api/v4/things/{id}/{named}";
    let name = method.as_str().to_ascii_lowercase();
    let document = document(&[Endpoint::api(method, path, anyone(), nothing)], "https://host.test", Version::default());
    document["paths"][path][name].clone()
}

#[test]
fn parameters_of_a_read_stand_in_path_and_query() {
    let operation = described(Method::GET);
    let seen: Vec<String> = operation["parameters"].as_array().expect("a list").iter().map(Value::to_string).collect();
    let scopes = value(&operation, "commas")["schema"]["items"]["enum"].clone();
    assert!(scopes.as_array().is_some_and(|scopes| scopes.contains(&json!("read_user"))), "{scopes}");
    let described = "A number, or a full path with `/` as `%2F`.";
    let plain = |name: &str, required: bool, schema: Value| json!({ "name": name, "in": "query", "required": required, "schema": schema });
    let list = |name: &str, explode: bool, items: Value| {
        json!({
            "name": name, "in": "query", "required": false, "style": "form", "explode": explode,
            "schema": { "type": "array", "items": items },
        })
    };
    let expected = [
        json!({
            "name": "id", "in": "path", "required": true,
            "schema": { "type": "integer", "format": "int64", "minimum": 0 },
        }),
        json!({
            "name": "named", "in": "path", "required": true, "description": described,
            "schema": { "type": "string", "minLength": 1 },
        }),
        plain("text", true, json!({ "type": "string" })),
        plain("words", true, json!({ "type": "string", "pattern": "\\S" })),
        plain("day", false, json!({ "type": "string", "format": "date" })),
        plain("flag", false, json!({ "type": "boolean", "default": true })),
        plain("number", false, json!({ "type": "integer", "format": "int64", "default": 7 })),
        plain("level", false, json!({ "type": "integer", "format": "int64", "enum": [10, 15, 20, 25, 30, 40, 50] })),
        plain("word", false, json!({ "type": "string", "enum": ["private", "internal", "public"] })),
        // A query has no null.
        plain("cleared", false, json!({ "type": "string" })),
        plain("cleared_word", false, json!({ "type": "string", "enum": ["private", "internal", "public"] })),
        list("list[]", true, json!({ "type": "integer", "format": "int64" })),
        list("commas", false, json!({ "type": "string", "enum": scopes })),
        json!({ "$ref": "#/components/parameters/SudoHeader" }),
        json!({ "$ref": "#/components/parameters/SudoParameter" }),
    ];
    assert_eq!(seen, expected.map(|parameter| parameter.to_string()));
    let description = operation["description"].as_str().expect("text");
    assert!(description.contains("Exactly one of `day`, `flag` must be given."), "{description}");
    assert!(description.contains("Only one of `number`, `level`, `word` may be given."), "{description}");
    assert!(operation.get("requestBody").is_none());
}

fn value<'a>(operation: &'a Value, name: &str) -> &'a Value {
    let parameters = operation["parameters"].as_array().expect("a list");
    parameters.iter().find(|parameter| parameter["name"] == name).expect("a parameter")
}

#[test]
fn parameters_of_a_write_stand_in_json_or_a_form() {
    let operation = described(Method::PUT);
    let body = &operation["requestBody"];
    assert_eq!(body["required"], true);
    let schema = |media: &str| body["content"][media]["schema"].clone();
    let (in_json, in_form) = (schema("application/json"), schema("application/x-www-form-urlencoded"));
    assert_eq!(in_json["required"], json!(["text", "words"]));
    assert_eq!(in_json["properties"]["cleared"], json!({ "type": ["string", "null"] }));
    let cleared = json!({ "type": ["string", "null"], "enum": ["private", "internal", "public", null] });
    assert_eq!(in_json["properties"]["cleared_word"], cleared);
    assert_eq!(in_form["properties"]["cleared"], json!({ "type": "string" }));
    assert!(in_json["properties"].get("list").is_some() && in_form["properties"].get("list").is_none());
    assert!(in_form["properties"].get("list[]").is_some());
    let encoding = &body["content"]["application/x-www-form-urlencoded"]["encoding"];
    assert_eq!(*encoding, json!({ "commas": { "style": "form", "explode": false } }));
    let pair = |one: &str, other: &str| json!({ "required": [one, other] });
    let pairs = json!([pair("number", "level"), pair("number", "word"), pair("level", "word")]);
    let one = json!([{ "required": ["day"] }, { "required": ["flag"] }]);
    let groups = json!([{ "oneOf": one }, { "not": { "anyOf": pairs } }]);
    assert_eq!((&in_json["allOf"], &in_form["allOf"]), (&groups, &groups));
    assert_eq!(rule(GroupRule::AtLeastOneOf), json!({ "anyOf": one }));
}

fn rule(rule: GroupRule) -> Value {
    inputs::rule(rule, &["day", "flag"])
}

#[test]
fn the_document_has_every_endpoint_of_the_api_and_nothing_else() {
    let document = document(&table(), "https://host.test", Version::default());
    let told: BTreeSet<(String, String)> = document["paths"]
        .as_object()
        .expect("paths")
        .iter()
        .flat_map(|(path, at)| {
            at.as_object().expect("methods").keys().map(|method| (method.to_ascii_uppercase(), path.clone()))
        })
        .collect();
    let api = table().into_iter().filter(|endpoint| endpoint.surface == Surface::Api);
    let there: BTreeSet<(String, String)> =
        api.map(|endpoint| (endpoint.method.to_string(), endpoint.path.to_owned())).collect();
    assert_eq!(told, there);
    let bytes = document.to_string().len();
    assert!(bytes < 256 << 10, "{bytes} bytes");
}

#[test]
fn every_operation_has_an_id_of_its_own_and_a_list_of_statuses() {
    let document = document(&table(), "https://host.test", Version::default());
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    for (path, at) in document["paths"].as_object().expect("paths") {
        for (method, operation) in at.as_object().expect("methods") {
            let id = operation["operationId"].as_str().expect("an id").to_owned();
            let other = ids.insert(id.clone(), format!("{method} {path}"));
            assert_eq!(other, None, "{id}");
            let statuses = operation["responses"].as_object().expect("answers");
            assert!(statuses.keys().all(|status| status.parse::<u16>().is_ok()), "{id}: {:?}", statuses.keys());
            assert!(statuses.len() > 10 && statuses.contains_key("401"), "{id}");
            assert!(!operation["security"].as_array().expect("ways").is_empty(), "{id}");
        }
    }
    assert_eq!(ids["get_projects_id_members_all_user_id"], "get /api/v4/projects/{id}/members/all/{user_id}");
    assert_eq!(ids["get_openapi_json"], "get /api/v4/openapi.json");
}

#[test]
fn what_is_referred_to_exists_and_is_used() {
    let document = document(&table(), "https://host.test", Version::default());
    let mut used = BTreeSet::new();
    references(&document, &mut used);
    let components = document["components"].as_object().expect("components");
    for kind in ["schemas", "responses", "headers", "parameters"] {
        for name in components[kind].as_object().expect("names").keys() {
            assert!(used.remove(&format!("#/components/{kind}/{name}")), "{kind}/{name} is not used");
        }
    }
    assert_eq!(used, BTreeSet::new());
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match value.as_str().filter(|_| key == "$ref") {
                    Some(target) => drop(found.insert(target.to_owned())),
                    None => references(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn an_entity_is_closed_and_names_what_is_always_there() {
    let document = document(&table(), "https://host.test", Version::default());
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    for (name, schema) in schemas {
        assert_eq!(schema["additionalProperties"], false, "{name}");
    }
    let user = &schemas["UserDetails"];
    let required = user["required"].as_array().expect("keys");
    assert!(required.contains(&json!("username")) && !required.contains(&json!("is_admin")));
    assert_eq!(user["properties"]["is_admin"], json!({ "type": "boolean", "x-when": ["administrator"] }));
    // No entity has the name of a refusal.
    let refusals = schemas.keys().filter(|name| name.ends_with("Refusal")).count();
    assert_eq!(refusals, 7);
}

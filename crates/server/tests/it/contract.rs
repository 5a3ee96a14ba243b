//! Answers of the API against the OpenAPI document: the status must be among those of the operation, and body and headers
//! must be what it says of that status. Every answer that any test gets is held against it (`test_server/asking.rs`).

use std::sync::LazyLock;

use axum::http::Method;
use serde_json::{Value, json};
use tollhouse::app::App;
use tollhouse::endpoint::openapi;
use tollhouse::entity::version::Version;
use tollhouse::routes::table;
use tollhouse_domain::time::Date;

use crate::test_server::Reply;

/// The document of a server, but for its URL.
pub fn document_of(app: &App) -> &'static Value {
    static DOCUMENTS: LazyLock<[Value; Version::ALL.len()]> =
        LazyLock::new(|| Version::ALL.map(|version| openapi::document(&table(), "https://host.test", version)));
    &DOCUMENTS[app.settings.api.version as usize]
}

/// Why this is no answer of the operation that was asked. `Ok` too if the document has no such operation.
pub fn check(document: &Value, method: &Method, target: &str, reply: &Reply) -> Result<(), String> {
    let contract = Contract(document);
    match contract.operation(method, target) {
        Some(operation) => contract.is_answer(operation, *method == Method::HEAD, reply),
        None => Ok(()),
    }
}

struct Contract<'d>(&'d Value);

impl<'d> Contract<'d> {
    /// The operation that a request means, if its path is spelled as in the document.
    fn operation(&self, method: &Method, target: &str) -> Option<&'d Value> {
        let path = target.split('?').next().unwrap_or(target);
        let fits = |template: &str| {
            let alike = |(known, sent): (&str, &str)| known == sent || (known.starts_with('{') && !sent.is_empty());
            template.split('/').count() == path.split('/').count()
                && template.split('/').zip(path.split('/')).all(alike)
        };
        let paths = self.0["paths"].as_object().expect("paths");
        // A path without parameters is the better match.
        let found = paths.get_key_value(path).or_else(|| paths.iter().find(|(template, _)| fits(template)));
        let name = if method == Method::HEAD { "get".to_owned() } else { method.as_str().to_ascii_lowercase() };
        found.and_then(|(_, methods)| methods.get(&name))
    }

    fn is_answer(&self, operation: &'d Value, head: bool, reply: &Reply) -> Result<(), String> {
        let status = reply.status.as_str();
        let declared = operation["responses"].get(status).ok_or_else(|| format!("{status} is not documented"))?;
        let declared = self.resolved(declared);
        for (name, header) in declared["headers"].as_object().into_iter().flatten() {
            let header = self.resolved(header);
            match reply.header(&name.to_ascii_lowercase()) {
                None if header["required"] == true => return Err(format!("{name} is missing")),
                None => {}
                Some(text) => {
                    // A header is text; one that is declared as a number must look like one.
                    let number = text.parse::<i64>().ok().filter(|_| header["schema"]["type"] == "integer");
                    let value = number.map_or_else(|| json!(text), |number| json!(number));
                    self.is_value(&header["schema"], &value, name)?;
                }
            }
        }
        let Some(content) = declared.get("content") else {
            return if reply.body.is_empty() { Ok(()) } else { Err("it has a body".to_owned()) };
        };
        if head {
            return Ok(());
        }
        let media = reply.header("content-type").unwrap_or_default();
        let schema = content.get(media).ok_or_else(|| format!("the content type {media:?} is not documented"))?;
        let body = match media {
            "text/plain" => json!(reply.body),
            _ => serde_json::from_str(&reply.body).map_err(|error| error.to_string())?,
        };
        self.is_value(&schema["schema"], &body, "")
    }

    fn resolved(&self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(target) => self.0.pointer(target.trim_start_matches('#')).expect("something that is referred to"),
            None => value,
        }
    }

    /// As much of JSON Schema as the answers of the document use. Another keyword is a fault of this test.
    fn is_value(&self, schema: &'d Value, value: &Value, at: &str) -> Result<(), String> {
        let schema = self.resolved(schema);
        let wrong = |what: &str| Err(format!("{at} is {value}: {what}"));
        for (keyword, rule) in schema.as_object().expect("a schema") {
            match keyword.as_str() {
                "description" | "x-when" => {}
                "type" => {
                    let one = |kind: &Value| is_type(kind.as_str().expect("a type"), value);
                    if !rule.as_array().map_or_else(|| one(rule), |kinds| kinds.iter().any(one)) {
                        return wrong(&format!("its type is not {rule}"));
                    }
                }
                "enum" if rule.as_array().is_some_and(|words| words.contains(value)) => {}
                "const" if rule == value => {}
                "enum" | "const" => return wrong(&format!("it is not {rule}")),
                "minimum" if value.as_i64() >= rule.as_i64() => {}
                "maxItems" if value.as_array().map(Vec::len) <= rule.as_u64().map(|most| most as usize) => {}
                "pattern" if rule == "^[0-9]*$" && value.as_str().is_some_and(is_digits) => {}
                "minimum" | "maxItems" | "pattern" => return wrong(&format!("{keyword} is {rule}")),
                "format" => {
                    if !value.as_str().is_none_or(|text| is_format(rule.as_str().expect("a format"), text)) {
                        return wrong(&format!("it is no {rule}"));
                    }
                }
                "oneOf" => {
                    let fits = |schema: &'d Value| self.is_value(schema, value, at).is_ok();
                    let fitting = rule.as_array().expect("schemas").iter().filter(|schema| fits(schema)).count();
                    if fitting != 1 {
                        return wrong(&format!("it is {fitting} of {rule}"));
                    }
                }
                "items" => {
                    for element in value.as_array().into_iter().flatten() {
                        self.is_value(rule, element, &format!("{at}[]"))?;
                    }
                }
                "properties" => {
                    for (key, inner) in value.as_object().into_iter().flatten() {
                        if let Some(schema) = rule.get(key) {
                            self.is_value(schema, inner, &format!("{at}.{key}"))?;
                        }
                    }
                }
                "required" => {
                    for key in rule.as_array().expect("keys").iter().filter_map(Value::as_str) {
                        if value.as_object().is_some_and(|members| !members.contains_key(key)) {
                            return wrong(&format!("{key} is missing"));
                        }
                    }
                }
                "additionalProperties" => {
                    let known = |key: &str| schema["properties"].get(key).is_some();
                    for (key, inner) in value.as_object().into_iter().flatten().filter(|(key, _)| !known(key)) {
                        match rule {
                            Value::Bool(false) => return wrong(&format!("{key} is not declared")),
                            rule => self.is_value(rule, inner, &format!("{at}.{key}"))?,
                        }
                    }
                }
                other => panic!("{other} is not known here"),
            }
        }
        Ok(())
    }
}

fn is_type(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_format(format: &str, text: &str) -> bool {
    match format {
        "date" => Date::parse(text).is_some(),
        "date-time" => {
            text.split_once('T').is_some_and(|(day, time)| Date::parse(day).is_some() && time.ends_with('Z'))
        }
        "uri" => text.starts_with("http://") || text.starts_with("https://"),
        "int64" => true,
        other => panic!("{other} is not known here"),
    }
}

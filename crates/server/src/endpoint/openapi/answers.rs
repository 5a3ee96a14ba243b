//! Answers: entities, the headers of lists, refusals.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;
use crate::endpoint::answer::{AnswerSchema, BodySchema};
use crate::endpoint::refusals::{PIPELINE, RefusalBody};
use crate::entity::version::Version;
use crate::entity::{Schema, Shape, Type};

/// `components/schemas` in one version of the API, as far as they were referred to.
pub(super) struct Schemas {
    version: Version,
    known: BTreeMap<&'static str, Value>,
}

impl Schemas {
    pub(super) fn new(version: Version) -> Self {
        Self { version, known: BTreeMap::new() }
    }

    pub(super) fn into_components(mut self) -> BTreeMap<&'static str, Value> {
        self.known.extend(RefusalBody::ALL.map(|body| (body.name(), body.schema())));
        self.known
    }

    fn entity(&mut self, schema: &'static Schema) -> Value {
        if !self.known.contains_key(schema.name) {
            // One that holds itself refers to itself.
            self.known.insert(schema.name, Value::Null);
            let object = self.object(schema);
            self.known.insert(schema.name, object);
        }
        refers_to(schema.name)
    }

    /// Closed. A key without a condition is required.
    fn object(&mut self, schema: &Schema) -> Value {
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for field in schema.fields(self.version) {
            if field.conditions.is_empty() && !required.contains(&field.key) {
                required.push(field.key);
            }
            if !properties.contains_key(field.key) {
                let mut shape = self.shape(field.shape);
                if !field.conditions.is_empty() {
                    shape["x-when"] = field.conditions.iter().map(|condition| json!(condition.0)).collect();
                }
                properties.insert(field.key.to_owned(), shape);
            }
        }
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }

    fn shape(&mut self, shape: &'static Shape) -> Value {
        let value = match &shape.ty {
            Type::Integer => json!({ "type": "integer", "format": "int64" }),
            Type::Boolean => json!({ "type": "boolean" }),
            Type::Text => json!({ "type": "string" }),
            Type::Url => json!({ "type": "string", "format": "uri" }),
            Type::Date => json!({ "type": "string", "format": "date" }),
            Type::DateTime => json!({ "type": "string", "format": "date-time" }),
            Type::Word(words) => json!({ "type": "string", "enum": words }),
            Type::Number(numbers) => json!({ "type": "integer", "enum": numbers }),
            Type::Null => json!({ "type": "null" }),
            Type::Empty => json!({ "type": "array", "items": {}, "maxItems": 0 }),
            Type::List(inner) => json!({ "type": "array", "items": self.shape(inner) }),
            Type::Entity(schema) => self.entity(schema),
        };
        match value["type"].as_str() {
            _ if !shape.nullable => value,
            Some(kind) if value.get("enum").is_none() => {
                let kinds = json!([kind, "null"]);
                with(value, "type", kinds)
            }
            _ => json!({ "oneOf": [value, { "type": "null" }] }),
        }
    }

    /// The schema of a body. `None`: there is no body.
    fn body(&mut self, body: BodySchema) -> Option<Value> {
        Some(match body {
            BodySchema::Nothing => return None,
            BodySchema::One(schema) => self.entity(schema),
            BodySchema::All(schema) | BodySchema::Page(schema) => {
                json!({ "type": "array", "items": self.entity(schema) })
            }
            BodySchema::Document => json!({
                "type": "object",
                "properties": {
                    "openapi": { "type": "string" },
                    "info": { "type": "object" },
                    "servers": { "type": "array", "items": { "type": "object" } },
                    "tags": { "type": "array", "items": { "type": "object" } },
                    "paths": { "type": "object" },
                    "components": { "type": "object" },
                },
                "required": ["openapi", "info", "servers", "tags", "paths", "components"],
                "additionalProperties": false,
            }),
        })
    }
}

impl RefusalBody {
    const ALL: [Self; 7] = [
        Self::Message,
        Self::Framework,
        Self::Oauth,
        Self::InsufficientScope,
        Self::BrokenJson,
        Self::InvalidFields,
        Self::Limit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Message => "MessageRefusal",
            Self::Framework => "FrameworkRefusal",
            Self::Oauth => "OauthRefusal",
            Self::InsufficientScope => "InsufficientScopeRefusal",
            Self::BrokenJson => "BrokenJsonRefusal",
            Self::InvalidFields => "InvalidFieldsRefusal",
            Self::Limit => "LimitRefusal",
        }
    }

    fn schema(self) -> Value {
        let text = || json!({ "type": "string" });
        let texts = || json!({ "type": "array", "items": text() });
        let members: Vec<(&str, Value)> = match self {
            Self::Message => vec![("message", text())],
            Self::Framework => vec![("error", text())],
            Self::Oauth => vec![("error", text()), ("error_description", text())],
            Self::InsufficientScope => vec![
                ("error", json!({ "type": "string", "const": "insufficient_scope" })),
                ("error_description", text()),
                ("scope", text()),
            ],
            Self::BrokenJson => vec![("status", json!({ "type": "integer", "const": 400 })), ("error", text())],
            Self::InvalidFields => {
                vec![("message", json!({ "type": "object", "additionalProperties": texts() }))]
            }
            Self::Limit => vec![("error", texts())],
        };
        let required: Vec<&str> = members.iter().map(|(key, _)| *key).collect();
        let properties: BTreeMap<&str, Value> = members.iter().cloned().collect();
        json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
    }
}

fn with(mut schema: Value, keyword: &str, value: Value) -> Value {
    schema[keyword] = value;
    schema
}

fn refers_to(schema: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{schema}") })
}

/// `components/responses`: the refusals of the pipeline.
pub(super) fn shared() -> BTreeMap<&'static str, Value> {
    let refusal = |index: usize| (PIPELINE[index].name, refusal(index, &[]));
    (0..PIPELINE.len()).map(refusal).collect()
}

/// One of the pipeline's, with bodies that an endpoint adds.
fn refusal(index: usize, own: &[RefusalBody]) -> Value {
    let shared = &PIPELINE[index];
    let bodies: Vec<RefusalBody> = shared.bodies.iter().chain(own).copied().collect();
    let mut response = refused(shared.description, &bodies);
    if let Some(text) = shared.plain {
        response["content"]["text/plain"] = json!({ "schema": { "type": "string", "const": text } });
    }
    if let Some(header) = shared.header {
        response["headers"][header] = shared_header(header);
    }
    response
}

fn refused(description: &str, bodies: &[RefusalBody]) -> Value {
    let schema = match bodies {
        [body] => refers_to(body.name()),
        bodies => json!({ "oneOf": bodies.iter().map(|body| refers_to(body.name())).collect::<Vec<_>>() }),
    };
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

/// By status.
pub(super) fn responses(endpoint: &Endpoint, answer: &AnswerSchema, schemas: &mut Schemas) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::from([(answer.status.as_str().to_owned(), success(endpoint, answer, schemas))]);
    if let BodySchema::Document = answer.body {
        let unchanged = json!({ "description": "Unchanged.", "headers": { "ETag": shared_header("ETag") } });
        all.insert("304".to_owned(), unchanged);
    }
    let own = |status| endpoint.refusals.iter().filter(move |refusal| refusal.status() == status);
    for (index, shared) in PIPELINE.iter().enumerate().filter(|(_, shared)| shared.occurs(&endpoint.method)) {
        let mut more: Vec<RefusalBody> = own(shared.status).map(|refusal| refusal.body()).collect();
        more.retain(|body| !shared.bodies.contains(body));
        let response = match more.is_empty() {
            true => json!({ "$ref": format!("#/components/responses/{}", shared.name) }),
            false => refusal(index, &more),
        };
        all.insert(shared.status.as_str().to_owned(), response);
    }
    for refusal in endpoint.refusals {
        // Two of one status have the status of a shared one.
        let response = || refused(refusal.description(), &[refusal.body()]);
        all.entry(refusal.status().as_str().to_owned()).or_insert_with(response);
    }
    all
}

fn success(endpoint: &Endpoint, answer: &AnswerSchema, schemas: &mut Schemas) -> Value {
    let reason = answer.status.canonical_reason().unwrap_or_default();
    let mut response = json!({ "description": reason });
    if let Some(schema) = schemas.body(answer.body) {
        response["content"] = json!({ "application/json": { "schema": schema } });
    }
    match answer.body {
        BodySchema::Page(_) => response["headers"] = of_page(endpoint),
        BodySchema::Document => response["headers"] = json!({ "ETag": shared_header("ETag") }),
        BodySchema::Nothing | BodySchema::One(_) | BodySchema::All(_) => {}
    }
    response
}

/// The headers of a page (rest-api.md 1.4, 1.5). By keyset a list has `Link` alone, so none of them is sure to be there.
fn of_page(endpoint: &Endpoint) -> Value {
    let by_offset_alone = !endpoint.params.iter().any(|param| param.name == "pagination");
    let number = json!({ "type": "integer", "minimum": 0 });
    let or_empty = json!({ "type": "string", "pattern": "^[0-9]*$" });
    let headers = [
        ("X-Page", true, &number, "The number of this page."),
        ("X-Per-Page", true, &number, "How many rows a page has."),
        ("X-Next-Page", true, &or_empty, "The number of the next page; empty on the last one."),
        ("X-Prev-Page", true, &or_empty, "The number of the page before; empty on the first one."),
        ("X-Total", false, &number, "The number of all rows; absent above 10,000."),
        ("X-Total-Pages", false, &number, "The number of all pages; absent above 10,000 rows."),
        ("Link", false, &json!({ "type": "string" }), "URLs of other pages (RFC 8288)."),
    ];
    let headers = headers.map(|(name, by_offset, schema, description)| {
        let required = by_offset && by_offset_alone;
        (name, json!({ "description": description, "required": required, "schema": schema }))
    });
    json!(BTreeMap::from(headers))
}

/// `components/headers`
pub(super) fn headers() -> Value {
    let header = |description: &str, schema: Value| json!({ "description": description, "schema": schema });
    let text = || json!({ "type": "string" });
    json!({
        "ETag": header("Changes with the document (RFC 9110 section 8.8.3).", text()),
        "Retry-After": header("Seconds to wait.", json!({ "type": "integer", "minimum": 1 })),
        "WWW-Authenticate": header("Of an expired or revoked token (RFC 6750 section 3).", text()),
    })
}

fn shared_header(name: &str) -> Value {
    json!({ "$ref": format!("#/components/headers/{name}") })
}

//! Objects whose keys stand in the order of the wire. Values are serde's; only the order is ours.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

/// An object that is being written.
pub struct Object(Vec<u8>);

impl Default for Object {
    fn default() -> Self {
        let mut bytes = Vec::with_capacity(2048);
        bytes.push(b'{');
        Self(bytes)
    }
}

impl Object {
    pub fn field(mut self, name: &str, value: impl Serialize) -> Self {
        self.name(name);
        // Numbers, text and the like cannot fail to be written to memory.
        if serde_json::to_writer(&mut self.0, &value).is_err() {
            self.0.extend_from_slice(b"null");
        }
        self
    }

    pub fn object(mut self, name: &str, value: Self) -> Self {
        self.name(name);
        self.0.extend_from_slice(&value.finish());
        self
    }

    pub fn optional(self, name: &str, value: Option<Self>) -> Self {
        match value {
            Some(value) => self.object(name, value),
            None => self.field(name, ()),
        }
    }

    pub fn array(mut self, name: &str, values: impl IntoIterator<Item = Self>) -> Self {
        self.name(name);
        self.0.extend_from_slice(&array(values));
        self
    }

    /// More fields, if the condition holds.
    pub fn when(self, condition: bool, more: impl FnOnce(Self) -> Self) -> Self {
        if condition { more(self) } else { self }
    }

    /// Of something that serialises to an object, in its own order.
    pub fn from_map(value: &impl Serialize) -> Result<Self, crate::error::Error> {
        let mut bytes = serde_json::to_vec(value).map_err(|_| crate::error::Error::Internal)?;
        match bytes.pop() {
            Some(b'}') => Ok(Self(bytes)),
            _ => Err(crate::error::Error::Internal),
        }
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.last() != Some(&b'{') {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
    }
}

pub fn array(values: impl IntoIterator<Item = Object>) -> Vec<u8> {
    let mut bytes = vec![b'['];
    for value in values {
        if bytes.len() > 1 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&value.finish());
    }
    bytes.push(b']');
    bytes
}

/// An answer of the API.
pub struct Json {
    status: StatusCode,
    body: Vec<u8>,
}

impl Json {
    pub fn ok(object: Object) -> Self {
        Self { status: StatusCode::OK, body: object.finish() }
    }

    pub fn list(objects: impl IntoIterator<Item = Object>) -> Self {
        Self { status: StatusCode::OK, body: array(objects) }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_they_were_written() {
        let inner = Object::default().field("z", 1).field("a", "\"é\u{0}");
        let object = Object::default().object("o", inner).field("n", None::<i64>).array("l", [Object::default()]);
        let text = String::from_utf8(object.finish()).expect("UTF-8");
        assert_eq!(text, r#"{"o":{"z":1,"a":"\"é\u0000"},"n":null,"l":[{}]}"#);
        assert_eq!(array([]), b"[]");
    }
}

//! Answers in JSON, and objects that no entity declares: their keys stand in the order in which they are written. Values
//! are serde's; only the order is ours.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;

use crate::entity::WrittenFrom;
use crate::entity::version::Version;
use crate::entity::writer::Writer;

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
    /// One more field, behind those there are. A value that cannot be written is null.
    pub fn field(mut self, name: &str, value: impl Serialize) -> Self {
        self.name(name);
        // Numbers, text and the like cannot fail to be written to memory.
        if serde_json::to_writer(&mut self.0, &value).is_err() {
            self.0.extend_from_slice(b"null");
        }
        self
    }

    /// An entity, to which more may be added.
    pub fn of<E: WrittenFrom<S>, S>(version: Version, source: &S) -> Self {
        let mut out = Writer::new(version);
        out.object::<E, S>(source);
        let mut bytes = out.into_bytes();
        bytes.pop();
        Self(bytes)
    }

    /// One more field that is an object itself.
    pub fn object(mut self, name: &str, value: Self) -> Self {
        self.name(name);
        self.0.extend_from_slice(&value.finish());
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

    /// The whole object, in JSON.
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

/// An answer in JSON.
pub fn response(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_as_they_were_written() {
        let inner = Object::default().field("z", 1).field("a", "\"é\u{0}");
        let object = Object::default().object("o", inner).field("n", None::<i64>).when(false, |o| o.field("x", 1));
        let text = String::from_utf8(object.finish()).expect("UTF-8");
        assert_eq!(text, r#"{"o":{"z":1,"a":"\"é\u0000"},"n":null}"#);
    }
}

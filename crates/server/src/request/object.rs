//! The object of a JSON body. `serde_json` keeps the last of two fields with one name and does not say so.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::keep;

/// The fields of a body, and the names that came more than once. A body that is no object has no fields.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Each field with its last value, or with an empty object where two values contradict each other in what the
    /// request may do ([`keep`]).
    pub fields: Map<String, Value>,
    /// Names that came more than once.
    pub repeated: Vec<String>,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Body;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Body, A::Error> {
        let mut body = Body::default();
        while let Some((name, value)) = from.next_entry::<String, Value>()? {
            if body.fields.contains_key(&name) {
                body.repeated.push(name.clone());
            }
            keep(&mut body.fields, &name, value);
        }
        Ok(body)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Body, A::Error> {
        while from.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Body::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Body, E> {
        Ok(Body::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Body, E> {
        Ok(Body::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Body, E> {
        Ok(Body::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Body, E> {
        Ok(Body::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Body, E> {
        Ok(Body::default())
    }

    fn visit_unit<E>(self) -> Result<Body, E> {
        Ok(Body::default())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_narrowing_field_that_comes_twice_is_no_single_value() {
        let read = |text: &str| {
            let body: Body = serde_json::from_str(text).expect(text);
            (Value::Object(body.fields), body.repeated)
        };
        let twice = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            read(r#"{"sudo":"a","sudo":"b","name":"x","name":"y"}"#),
            (json!({"sudo":{},"name":"y"}), twice(&["sudo", "name"]))
        );
        assert_eq!(read(r#"{"sudo":"a","sudo":"a"}"#), (json!({"sudo":"a"}), twice(&["sudo"])));
        for other in ["[{\"sudo\":1}]", "\"x\"", "5", "-5", "1.5", "true", "null", "[]", "{}"] {
            assert_eq!(read(other), (json!({}), vec![]), "{other}");
        }
        for broken in ["{", "{\"a\":1,}", "[1", "{\"a\":1} x", "", "nul"] {
            assert!(serde_json::from_str::<Body>(broken).is_err(), "{broken}");
        }
    }
}

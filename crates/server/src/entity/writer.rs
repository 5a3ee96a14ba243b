//! The bytes of an answer while they are written.

use std::fmt::Display;
use std::io::Write;

use serde::Serialize;

use super::version::{Version, Versions};
use super::{JsonType, WriteAs, WrittenFrom};

#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
    version: Version,
    #[cfg(feature = "faults")]
    left_out: Option<String>,
}

impl Writer {
    pub fn new(version: Version) -> Self {
        Self {
            // Most answers fit in, so nothing is copied while they are written.
            bytes: Vec::with_capacity(2048),
            version,
            #[cfg(feature = "faults")]
            left_out: None,
        }
    }

    /// A test wants every answer without this key.
    #[cfg(feature = "faults")]
    pub fn leaving_out(self, key: Option<String>) -> Self {
        Self { left_out: key, ..self }
    }

    /// Whether a key of these versions is there.
    #[inline]
    pub fn speaks(&self, versions: Versions) -> bool {
        versions.include(self.version)
    }

    pub fn object<E: WrittenFrom<S>, S>(&mut self, source: &S) {
        self.bytes.push(b'{');
        E::write_members(source, self);
        self.bytes.push(b'}');
    }

    pub fn list<T: JsonType, V: WriteAs<T>>(&mut self, values: impl IntoIterator<Item = V>) {
        self.bytes.push(b'[');
        for (place, value) in values.into_iter().enumerate() {
            if place > 0 {
                self.bytes.push(b',');
            }
            WriteAs::<T>::write(value, self);
        }
        self.bytes.push(b']');
    }

    /// `key`: in quotes and with its colon.
    pub fn field<T: JsonType, V: WriteAs<T>>(&mut self, key: &'static str, value: V) {
        #[cfg(feature = "faults")]
        if self.left_out.as_deref().is_some_and(|left_out| key.get(1..key.len() - 2) == Some(left_out)) {
            return;
        }
        if self.bytes.last() != Some(&b'{') {
            self.bytes.push(b',');
        }
        self.bytes.extend_from_slice(key.as_bytes());
        WriteAs::<T>::write(value, self);
    }

    pub fn null(&mut self) {
        self.bytes.extend_from_slice(b"null");
    }

    /// Of a number, a truth value or text, which cannot fail to be written to memory.
    pub fn serialize(&mut self, value: impl Serialize) {
        if serde_json::to_writer(&mut self.bytes, &value).is_err() {
            self.null();
        }
    }

    /// Of something that is spelled without a character that JSON escapes.
    pub fn plain_text(&mut self, value: impl Display) {
        let _ = write!(self.bytes, "\"{value}\"");
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

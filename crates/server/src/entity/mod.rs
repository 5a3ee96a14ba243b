//! What the API answers with, as data. An entity is declared once by `entity!`: the same lines write its bytes and make
//! its [`Schema`], so the two cannot differ.

use self::version::{Version, Versions};
use self::writer::Writer;

pub mod types;
pub mod version;
pub mod writer;

/// What a JSON object of the API holds.
#[derive(Debug)]
pub struct Schema {
    /// Unique among all entities.
    pub name: &'static str,
    /// In the order of the wire.
    pub members: &'static [Member],
}

/// One line of a declaration.
#[derive(Clone, Copy, Debug)]
pub enum Member {
    Key {
        key: &'static str,
        shape: &'static Shape,
        when: Option<Condition>,
        versions: Versions,
    },
    /// The keys of another entity, as if they stood here.
    Part {
        schema: &'static Schema,
        when: Option<Condition>,
    },
}

/// What must be true for a key to be there. The name is that of the method that decides it, on the type that the entity
/// is written from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition(pub &'static str);

/// What may stand under a key.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub ty: Type,
    pub nullable: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Type {
    Integer,
    Boolean,
    Text,
    /// An absolute URL.
    Url,
    /// `2026-01-31`
    Date,
    /// `2026-01-31T10:20:30.123Z`
    DateTime,
    /// One of these words and nothing else.
    Word(&'static [&'static str]),
    /// One of these numbers and nothing else.
    Number(&'static [i64]),
    /// Always null.
    Null,
    /// A list that is always empty.
    Empty,
    List(&'static Shape),
    Entity(&'static Schema),
}

/// A key with every condition that it stands under.
#[derive(Clone, Debug)]
pub struct Field {
    pub key: &'static str,
    pub shape: &'static Shape,
    /// All must hold. Empty: the key is always there.
    pub conditions: Vec<Condition>,
}

impl Schema {
    /// Every key that this version has, in the order of the wire, those of parts included.
    pub fn fields(&self, version: Version) -> Vec<Field> {
        let fields = self.members.iter().flat_map(|member| match *member {
            Member::Key { versions, .. } if !versions.include(version) => Vec::new(),
            Member::Key { key, shape, when, .. } => vec![Field { key, shape, conditions: when.into_iter().collect() }],
            Member::Part { schema, when } => {
                let under =
                    |field: Field| Field { conditions: when.into_iter().chain(field.conditions).collect(), ..field };
                schema.fields(version).into_iter().map(under).collect()
            }
        });
        fields.collect()
    }
}

/// A type of JSON, as a declaration names it. It has no values.
pub trait JsonType {
    const SHAPE: &'static Shape;
}

/// An entity, as a declaration names it. It has no values: it is written from a source.
pub trait Entity: JsonType {
    const SCHEMA: &'static Schema;
}

/// An entity that can be written from an `S`.
pub trait WrittenFrom<S>: Entity {
    fn write_members(source: &S, out: &mut Writer);
}

/// A value that can be written as a `T`.
pub trait WriteAs<T: JsonType> {
    fn write(self, out: &mut Writer);
}

/// Declares an entity and the type that it is written from.
///
/// ```text
/// entity! {
///     /// Doc comment.
///     pub Name(it: Source<'_>) {
///         id: Integer = it.thing.id,                          // always there
///         note when administrator: Nullable<Text> = it.note,  // there if it.administrator()
///         owner when some personal: UserBasic = it.owner(),   // there if the value is Some; "personal" says when that is
///         title since V19_1: Text = it.title,                 // there from this version of the API on
///         skype before V19_1: Text = it.skype,                // there until then; both conditions may stand after "when"
///         ..Part,                                             // the members of Part, written from the same source
///         ..Part when administrator,                          // the same, if it.administrator()
///         ..Part = &it.part,                                  // the members of Part, written from another source
///     }
/// }
/// ```
///
/// A key whose place differs by version stands in both places, with `before` in one and `since` in the other. The types
/// are those of [`types`] and other entities.
macro_rules! entity {
    ($(#[$doc:meta])* $vis:vis $name:ident($it:ident: $source:ty) { $($members:tt)+ }) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis enum $name {}

        $crate::entity::entity! { @members [$name, $source] $it out [] [] $($members)+ }
    };

    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     $key:ident when some $when:ident $(since $since:ident)? $(before $before:ident)?: $ty:ty = $value:expr, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@key $key $ty, Some($crate::entity::Condition(stringify!($when))),
                [$($since)?] [$($before)?]),]
            [$($write)* if $out.speaks(const { $crate::entity::entity!(@versions [$($since)?] [$($before)?]) })
                && let Some(value) = $value {
                $out.field::<$ty, _>(concat!("\"", stringify!($key), "\":"), value);
            }]
            $($rest)* }
    };
    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     $key:ident when $when:ident $(since $since:ident)? $(before $before:ident)?: $ty:ty = $value:expr, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@key $key $ty, Some($crate::entity::Condition(stringify!($when))),
                [$($since)?] [$($before)?]),]
            [$($write)* if $out.speaks(const { $crate::entity::entity!(@versions [$($since)?] [$($before)?]) })
                && $it.$when() {
                $out.field::<$ty, _>(concat!("\"", stringify!($key), "\":"), $value);
            }]
            $($rest)* }
    };
    // Most keys: nothing is asked about them while they are written.
    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     $key:ident: $ty:ty = $value:expr, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@key $key $ty, None, [] []),]
            [$($write)* $out.field::<$ty, _>(concat!("\"", stringify!($key), "\":"), $value);]
            $($rest)* }
    };
    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     $key:ident $(since $since:ident)? $(before $before:ident)?: $ty:ty = $value:expr, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@key $key $ty, None, [$($since)?] [$($before)?]),]
            [$($write)* if $out.speaks(const { $crate::entity::entity!(@versions [$($since)?] [$($before)?]) }) {
                $out.field::<$ty, _>(concat!("\"", stringify!($key), "\":"), $value);
            }]
            $($rest)* }
    };
    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     ..$part:ident when $when:ident, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@part $part, Some($crate::entity::Condition(stringify!($when)))),]
            [$($write)* if $it.$when() {
                <$part as $crate::entity::WrittenFrom<_>>::write_members($it, $out);
            }]
            $($rest)* }
    };
    (@members $of:tt $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]
     ..$part:ident = $source:expr, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out
            [$($schema)* $crate::entity::entity!(@part $part, None),]
            [$($write)* <$part as $crate::entity::WrittenFrom<_>>::write_members($source, $out);]
            $($rest)* }
    };
    (@members $of:tt $it:ident $out:ident $schema:tt $write:tt ..$part:ident, $($rest:tt)*) => {
        $crate::entity::entity! { @members $of $it $out $schema $write ..$part = $it, $($rest)* }
    };
    (@members [$name:ident, $source:ty] $it:ident $out:ident [$($schema:tt)*] [$($write:tt)*]) => {
        impl $crate::entity::JsonType for $name {
            const SHAPE: &'static $crate::entity::Shape = &$crate::entity::Shape {
                ty: $crate::entity::Type::Entity(<$name as $crate::entity::Entity>::SCHEMA),
                nullable: false,
            };
        }

        impl $crate::entity::Entity for $name {
            const SCHEMA: &'static $crate::entity::Schema =
                &$crate::entity::Schema { name: stringify!($name), members: &[$($schema)*] };
        }

        impl $crate::entity::WrittenFrom<$source> for $name {
            fn write_members($it: &$source, $out: &mut $crate::entity::writer::Writer) {
                let _ = $it;
                $($write)*
            }
        }
    };

    (@key $key:ident $ty:ty, $when:expr, $since:tt $before:tt) => {
        $crate::entity::Member::Key {
            key: stringify!($key),
            shape: <$ty as $crate::entity::JsonType>::SHAPE,
            when: $when,
            versions: $crate::entity::entity!(@versions $since $before),
        }
    };
    (@versions $since:tt $before:tt) => {
        $crate::entity::version::Versions {
            since: $crate::entity::entity!(@version $since),
            before: $crate::entity::entity!(@version $before),
        }
    };
    (@version []) => { None };
    (@version [$version:ident]) => { Some($crate::entity::version::Version::$version) };
    (@part $part:ident, $when:expr) => {
        $crate::entity::Member::Part { schema: <$part as $crate::entity::Entity>::SCHEMA, when: $when }
    };
}
pub(crate) use entity;

#[cfg(test)]
mod tests {
    use super::types::{Integer, List, Nullable, Text};
    use super::*;

    struct Source {
        name: &'static str,
        inner: Option<&'static str>,
        special: bool,
    }

    impl Source {
        fn special(&self) -> bool {
            self.special
        }
    }

    entity! {
        Inner(it: &str) {
            name: Text = *it,
        }
    }

    entity! {
        Part(it: Source) {
            z: Nullable<Inner> = it.inner,
            a when special: Text = it.name,
        }
    }

    entity! {
        Whole(it: Source) {
            self: Integer = 1,
            ..Part,
            ..Inner = &it.name,
            there when some has_inner: Inner = it.inner,
            l when special: List<Text> = [it.name],
            ..Part when special,
        }
    }

    entity! {
        Aged(it: Source) {
            moved before V19_1: Integer = 1,
            name: Text = it.name,
            moved since V19_1: Integer = 1,
            new when special since V19_1: Integer = 2,
            old when some has_inner since V18_11 before V19_1: Inner = it.inner,
        }
    }

    fn written(source: &Source) -> String {
        let mut out = Writer::default();
        out.object::<Whole, _>(source);
        String::from_utf8(out.into_bytes()).expect("UTF-8")
    }

    #[test]
    fn keys_are_written_as_they_are_declared() {
        let plain = Source { name: "\"é\u{0}", inner: None, special: false };
        assert_eq!(written(&plain), r#"{"self":1,"z":null,"name":"\"é\u0000"}"#);
        let special = Source { name: "n", inner: Some("i"), special: true };
        let part = r#""z":{"name":"i"},"a":"n""#;
        let whole = format!(r#"{{"self":1,{part},"name":"n","there":{{"name":"i"}},"l":["n"],{part}}}"#);
        assert_eq!(written(&special), whole);
    }

    #[test]
    fn a_schema_lists_every_key_with_its_conditions() {
        let fields = Whole::SCHEMA.fields(Version::default());
        let seen: Vec<(&str, Vec<&str>)> = fields
            .iter()
            .map(|field| (field.key, field.conditions.iter().map(|condition| condition.0).collect()))
            .collect();
        let expected: [(&str, &[&str]); 8] = [
            ("self", &[]),
            ("z", &[]),
            ("a", &["special"]),
            ("name", &[]),
            ("there", &["has_inner"]),
            ("l", &["special"]),
            ("z", &["special"]),
            ("a", &["special", "special"]),
        ];
        assert_eq!(seen, expected.map(|(key, conditions)| (key, conditions.to_vec())));
        assert!(
            fields[1].shape.nullable && matches!(fields[1].shape.ty, Type::Entity(schema) if schema.name == "Inner")
        );
    }

    #[test]
    fn keys_and_their_order_follow_the_version() {
        let source = Source { name: "n", inner: Some("i"), special: true };
        for (version, keys, expected) in [
            (Version::V18_11, vec!["moved", "name", "old"], r#"{"moved":1,"name":"n","old":{"name":"i"}}"#),
            (Version::V19_1, vec!["name", "moved", "new"], r#"{"name":"n","moved":1,"new":2}"#),
        ] {
            let mut out = Writer::new(version);
            out.object::<Aged, _>(&source);
            assert_eq!(String::from_utf8(out.into_bytes()).expect("UTF-8"), expected);
            let fields = Aged::SCHEMA.fields(version);
            assert_eq!(fields.iter().map(|field| field.key).collect::<Vec<_>>(), keys);
        }
    }
}

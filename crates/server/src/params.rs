//! Parameters are declared once: the same lines parse them, name their mistakes and describe them to others.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::error::Error;
use crate::request::{ParsedRequest, is_structured};

#[cfg(test)]
mod tests;
mod types;

pub(crate) use types::one_of;
pub use types::{CommaList, List, MinAccessLevel, Nullable, Search, Sort};

/// One declared parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// As the wire has it.
    pub name: &'static str,
    /// What it may hold.
    pub kind: ParamType,
    /// Whether it must be there.
    pub presence: Presence,
    /// The text that counts if it is absent or null. `None`: there is none.
    pub default: Option<&'static str>,
    /// The words that it may be; empty: any value of its type.
    pub allowed: &'static [&'static str],
    /// The least number that it may be.
    pub least: Option<i64>,
    /// Null is a value of its own: it clears what is there ([`Nullable`]).
    pub nullable: bool,
}

/// What a parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    /// A whole number of 64 bits, in digits or as a JSON number.
    Integer,
    /// A boolean, in the spellings of rest-api.md 1.1.
    Boolean,
    /// Any text; also a type of our own that is read from one.
    Text,
    /// A day, `2026-01-31` (rest-api.md 1.1).
    Date,
    /// An instant, `2026-01-31T10:20:30Z`.
    DateTime,
    /// Several values.
    List {
        /// What each of them is.
        of: &'static ParamType,
        /// Whether `a=x,y` is a list too.
        commas: bool,
    },
}

/// Where a parameter stands, and whether it must be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A segment of the path.
    Path,
    /// It must be there; an empty text will do if its type takes one.
    Required,
    /// Required, and neither null nor white space alone.
    Filled,
    /// It may be left out.
    Optional,
}

/// A rule about which of several parameters are given. Null is given too.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    /// How many of them may be given.
    pub rule: GroupRule,
    /// The parameters that it is about, all of them declared.
    pub names: &'static [&'static str],
}

/// What a group demands, with the sentence that tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupRule {
    /// None: `are missing, exactly one parameter must be provided`; several: as [`GroupRule::MutuallyExclusive`].
    ExactlyOneOf,
    /// None: `are missing, at least one parameter must be provided`.
    AtLeastOneOf,
    /// Several: `are mutually exclusive`, of those that were given.
    MutuallyExclusive,
}

/// What a handler gets out of a request.
pub trait Params: Sized + Send {
    /// What may be sent, in the order in which mistakes are told.
    const DECLARED: &'static [Param];
    /// In the order in which they are checked.
    const GROUPS: &'static [Group] = &[];

    /// Fails with [`Error::Parameters`], which has a sentence for each mistake.
    fn parse(parsed: &ParsedRequest) -> Result<Self, Error>;
}

impl Params for () {
    const DECLARED: &'static [Param] = &[];

    fn parse(_: &ParsedRequest) -> Result<Self, Error> {
        Ok(())
    }
}

/// Something a parameter may hold.
pub trait Value: Sized {
    /// What `explain` and other descriptions call it.
    const KIND: ParamType;
    /// The words that it may be. Empty: any value of the type.
    const ALLOWED: &'static [&'static str] = &[];
    const LEAST: Option<i64> = None;

    /// Whether a list or a hash may be given.
    const STRUCTURED: bool = false;

    /// Whether null is told apart from absent.
    const NULLABLE: bool = false;

    /// `Ok(None)`: null, which is what an empty string means to most types.
    fn read(given: &Json) -> Result<Option<Self>, Fault>;
}

/// Why a value is refused; the sentence begins with the name of the parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `is invalid`: not of the type.
    Invalid,
    /// `does not have a valid value`: not one of [`Value::ALLOWED`].
    NotAllowed,
}

/// Declares a struct of parameters. `path`, `required`, `filled` and `optional` say where and whether ([`Presence`]);
/// `default` gives the text that counts when there is none. A group, such as `exactly_one_of [a, b]`, stands below its
/// members. What is wrong is told in the order of the lines.
macro_rules! params {
    ($(#[$doc:meta])* $vis:vis struct $name:ident {
        $($how:ident $($field:ident: $ty:ty $(= $default:literal)?)? $([$($member:ident),+])?),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name {$($(
            #[doc = concat!("Declared as `", stringify!($how), "`.")]
            pub $field: $crate::params::params!(@type $how $ty),
        )?)+}

        impl $crate::params::Params for $name {
            const DECLARED: &'static [$crate::params::Param] = &[$($($crate::params::Param {
                name: stringify!($field),
                kind: <$ty as $crate::params::Value>::KIND,
                presence: $crate::params::params!(@place $how),
                default: $crate::params::params!(@default $($default)?),
                allowed: <$ty as $crate::params::Value>::ALLOWED,
                least: <$ty as $crate::params::Value>::LEAST,
                nullable: <$ty as $crate::params::Value>::NULLABLE,
            },)?)+];

            const GROUPS: &'static [$crate::params::Group] = &[$($($crate::params::Group {
                rule: $crate::params::params!(@rule $how),
                names: &[$(stringify!($member)),+],
            },)?)+];

            fn parse(parsed: &$crate::request::ParsedRequest) -> Result<Self, $crate::error::Error> {
                let mut reader = $crate::params::Reader::new(parsed, Self::DECLARED)?;
                $(
                    $(let $field = reader.$how::<$ty>(stringify!($field));)?
                    $(
                        // Whoever names a member that is not declared above is told by the compiler.
                        $(let _ = &$member;)+
                        reader.group($crate::params::params!(@rule $how), &[$(stringify!($member)),+]);
                    )?
                )+
                reader.finish()?;
                Ok(Self { $($($field: $crate::params::params!(@take $how $field),)?)+ })
            }
        }
    };
    (@type optional $ty:ty) => { Option<$ty> };
    (@type $how:ident $ty:ty) => { $ty };
    (@place path) => { $crate::params::Presence::Path };
    (@place required) => { $crate::params::Presence::Required };
    (@place filled) => { $crate::params::Presence::Filled };
    (@place $how:ident) => { $crate::params::Presence::Optional };
    (@rule exactly_one_of) => { $crate::params::GroupRule::ExactlyOneOf };
    (@rule at_least_one_of) => { $crate::params::GroupRule::AtLeastOneOf };
    (@rule mutually_exclusive) => { $crate::params::GroupRule::MutuallyExclusive };
    (@default) => { None };
    (@default $default:literal) => { Some($default) };
    (@take optional $field:ident) => { $field };
    (@take $how:ident $field:ident) => { $field.ok_or($crate::error::Error::Internal)? };
}
pub(crate) use params;

/// Reads the parameters of one request and gathers what is wrong with them.
pub struct Reader<'r> {
    given: &'r serde_json::Map<String, Json>,
    declared: &'static [Param],
    faults: Vec<String>,
}

impl<'r> Reader<'r> {
    /// Fails if the parameters of the request cannot be read at all.
    pub fn new(parsed: &'r ParsedRequest, declared: &'static [Param]) -> Result<Self, Error> {
        Ok(Self { given: parsed.parameters()?, declared, faults: Vec::new() })
    }

    /// `None`: absent, null, or wrong; then [`Reader::finish`] fails.
    pub fn optional<T: Value>(&mut self, name: &'static str) -> Option<T> {
        self.read(self.given.get(name)?, name)
    }

    /// As [`Reader::optional`], but absent and null are mistakes too.
    pub fn required<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let Some(given) = self.given.get(name) else {
            self.faults.push(format!("{name} is missing"));
            if !T::ALLOWED.is_empty() {
                self.faults.push(format!("{name} does not have a valid value"));
            }
            return None;
        };
        let before = self.faults.len();
        let value = self.read(given, name);
        if value.is_none() && self.faults.len() == before {
            self.faults.push(match T::ALLOWED {
                [] => format!("{name} is empty"),
                _ => format!("{name} does not have a valid value"),
            });
        }
        value
    }

    /// Required, and neither null nor white space alone. Absent, it is both missing and empty.
    pub fn filled<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let given = self.given.get(name);
        let blank = match given {
            None | Some(Json::Null) => true,
            Some(Json::String(text)) => text.trim().is_empty(),
            Some(_) => false,
        };
        if given.is_none() {
            self.faults.push(format!("{name} is missing"));
        }
        if blank {
            self.faults.push(format!("{name} is empty"));
            return None;
        }
        self.required(name)
    }

    /// A parameter that the route has captured.
    pub fn path<T: Value>(&mut self, name: &'static str) -> Option<T> {
        self.required(name)
    }

    /// As [`Reader::optional`], with the declared default for absent and null.
    pub fn default<T: Value>(&mut self, name: &'static str) -> Option<T> {
        let before = self.faults.len();
        if let Some(value) = self.optional(name) {
            return Some(value);
        }
        if self.faults.len() > before {
            return None;
        }
        let text = self.declared.iter().find(|param| param.name == name)?.default?;
        T::read(&Json::String(text.to_owned())).ok().flatten()
    }

    /// Checks a rule about several parameters. Null is given too.
    pub fn group(&mut self, rule: GroupRule, names: &[&str]) {
        let given: Vec<&str> = names.iter().copied().filter(|name| self.given.contains_key(*name)).collect();
        let fault = match (rule, given.len()) {
            (GroupRule::ExactlyOneOf, 0) => {
                format!("{} are missing, exactly one parameter must be provided", names.join(", "))
            }
            (GroupRule::AtLeastOneOf, 0) => {
                format!("{} are missing, at least one parameter must be provided", names.join(", "))
            }
            // Of those that were given, as the wire has it.
            (GroupRule::ExactlyOneOf | GroupRule::MutuallyExclusive, 2..) => {
                format!("{} are mutually exclusive", given.join(", "))
            }
            _ => return,
        };
        self.faults.push(fault);
    }

    /// Fails with [`Error::Parameters`] if anything was wrong.
    pub fn finish(self) -> Result<(), Error> {
        if self.faults.is_empty() { Ok(()) } else { Err(Error::Parameters(self.faults)) }
    }

    fn read<T: Value>(&mut self, given: &Json, name: &str) -> Option<T> {
        if is_structured(given) && !T::STRUCTURED {
            self.faults.push(format!("{name} is invalid"));
            return None;
        }
        match T::read(given) {
            Ok(value) => value,
            Err(fault) => {
                if fault == Fault::Invalid {
                    self.faults.push(format!("{name} is invalid"));
                }
                if fault == Fault::NotAllowed || !T::ALLOWED.is_empty() {
                    self.faults.push(format!("{name} does not have a valid value"));
                }
                None
            }
        }
    }
}

/// Whom an administrator acts as (authentication.md section 4). Every endpoint takes it, and none declares it.
pub const SUDO: &str = "sudo";

/// Every parameter as it may stand in links: received, defaults and path, in the order of their names.
pub fn for_links(parsed: &ParsedRequest, declared: &[Param]) -> Result<BTreeMap<String, Json>, Error> {
    let mut all: BTreeMap<String, Json> = declared
        .iter()
        .filter_map(|param| Some((param.name.to_owned(), Json::String(param.default?.to_owned()))))
        .collect();
    // Of a body only what was declared, and `sudo`: a link is a URL, and a body can be as large as thirty of them.
    let received = parsed.parameters()?.iter().filter(|(name, _)| {
        let in_body = parsed.body.as_ref().is_some_and(|body| body.contains_key(*name));
        !in_body || *name == SUDO || declared.iter().any(|param| param.name == *name)
    });
    all.extend(received.map(|(name, value)| (name.clone(), value.clone())));
    Ok(all)
}

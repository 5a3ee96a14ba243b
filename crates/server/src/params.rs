//! Parameters are declared once: the same lines parse them, name their mistakes and describe them to others.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;

use crate::error::Error;
use crate::request::{ParsedRequest, is_structured};

/// One declared parameter.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    pub name: &'static str,
    pub kind: ParamType,
    pub presence: Presence,
    pub default: Option<&'static str>,
    pub allowed: &'static [&'static str],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamType {
    Integer,
    Boolean,
    Text,
    Date,
    List,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    Path,
    Required,
    Optional,
}

/// What a handler gets out of a request.
pub trait Params: Sized + Send {
    const DECLARED: &'static [Param];

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
    const KIND: ParamType;
    const ALLOWED: &'static [&'static str] = &[];

    /// Whether a list or a hash may be given.
    const STRUCTURED: bool = false;

    /// `Ok(None)`: null, which is what an empty string means to most types.
    fn read(given: &Json) -> Result<Option<Self>, Fault>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Invalid,
    NotAllowed,
}

/// Declares a struct of parameters. `path`, `required` and `optional` say where and whether; `default` gives the text
/// that counts when there is none. A `check` looks at all of them together and adds sentences.
macro_rules! params {
    ($(#[$doc:meta])* $vis:vis struct $name:ident { $($how:ident $field:ident: $ty:ty $(= $default:literal)?),+ $(,)? }
     $(check $check:path;)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        $vis struct $name { $(pub $field: $crate::params::params!(@type $how $ty)),+ }

        impl $crate::params::Params for $name {
            const DECLARED: &'static [$crate::params::Param] = &[$($crate::params::Param {
                name: stringify!($field),
                kind: <$ty as $crate::params::Value>::KIND,
                presence: $crate::params::params!(@place $how),
                default: $crate::params::params!(@default $($default)?),
                allowed: <$ty as $crate::params::Value>::ALLOWED,
            }),+];

            fn parse(parsed: &$crate::request::ParsedRequest) -> Result<Self, $crate::error::Error> {
                let mut reader = $crate::params::Reader::new(parsed, Self::DECLARED)?;
                $(let $field = reader.$how::<$ty>(stringify!($field));)+
                $(reader.check($check);)?
                reader.finish()?;
                Ok(Self { $($field: $crate::params::params!(@take $how $field)),+ })
            }
        }
    };
    (@type optional $ty:ty) => { Option<$ty> };
    (@type $how:ident $ty:ty) => { $ty };
    (@place path) => { $crate::params::Presence::Path };
    (@place required) => { $crate::params::Presence::Required };
    (@place $how:ident) => { $crate::params::Presence::Optional };
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
    pub fn new(parsed: &'r ParsedRequest, declared: &'static [Param]) -> Result<Self, Error> {
        Ok(Self { given: parsed.parameters()?, declared, faults: Vec::new() })
    }

    pub fn optional<T: Value>(&mut self, name: &'static str) -> Option<T> {
        self.read(self.given.get(name)?, name)
    }

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
            self.faults.push(format!("{name} is empty"));
        }
        value
    }

    pub fn path<T: Value>(&mut self, name: &'static str) -> Option<T> {
        self.required(name)
    }

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

    pub fn check(&mut self, rule: fn(&serde_json::Map<String, Json>) -> Option<String>) {
        self.faults.extend(rule(self.given));
    }

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

impl Value for String {
    const KIND: ParamType = ParamType::Text;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match given {
            Json::String(text) => Ok(Some(text.clone())),
            Json::Number(number) => Ok(Some(number.to_string())),
            Json::Bool(truth) => Ok(Some(truth.to_string())),
            Json::Null => Ok(None),
            Json::Array(_) | Json::Object(_) => Err(Fault::Invalid),
        }
    }
}

/// What a list is searched for; longer than any name is a mistake.
#[derive(Clone, Debug)]
pub struct Search(pub String);

impl Value for Search {
    const KIND: ParamType = ParamType::Text;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match String::read(given)? {
            Some(text) if text.len() > LONGEST_SEARCH => Err(Fault::Invalid),
            Some(text) if text.is_empty() => Ok(None),
            text => Ok(text.map(Self)),
        }
    }
}

const LONGEST_SEARCH: usize = 1024;

/// Several values: `a[]=x&a[]=y`, a list in JSON, or one text with commas.
#[derive(Clone, Debug)]
pub struct List<T>(pub Vec<T>);

impl<T: Value> Value for List<T> {
    const KIND: ParamType = ParamType::List;
    const ALLOWED: &'static [&'static str] = T::ALLOWED;
    const STRUCTURED: bool = true;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        let read = |value: &Json| T::read(value)?.ok_or(Fault::NotAllowed);
        let values: Result<Vec<T>, Fault> = match given {
            Json::Array(values) => values.iter().map(read).collect(),
            Json::String(text) if text.is_empty() => Ok(Vec::new()),
            Json::String(text) => text.split(',').map(|value| read(&Json::String(value.trim().to_owned()))).collect(),
            Json::Null => return Ok(None),
            Json::Object(_) | Json::Number(_) | Json::Bool(_) => Err(Fault::Invalid),
        };
        values.map(|values| Some(Self(values)))
    }
}

/// A scope that a person may have in a personal access token, administrators included.
impl Value for Scope {
    const KIND: ParamType = ParamType::Text;
    const ALLOWED: &'static [&'static str] = &PERSONAL_SCOPES;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match given {
            Json::String(text) if PERSONAL_SCOPES.contains(&text.as_str()) => Ok(Self::parse(text)),
            Json::Null => Ok(None),
            _ => Err(Fault::NotAllowed),
        }
    }
}

const PERSONAL_SCOPES: [&str; personal_scopes(&mut [""; Scope::ALL.len()])] = {
    let mut all = [""; Scope::ALL.len()];
    let count = personal_scopes(&mut all);
    let mut personal = [""; personal_scopes(&mut [""; Scope::ALL.len()])];
    let mut at = 0;
    while at < count {
        personal[at] = all[at];
        at += 1;
    }
    personal
};

/// Writes their names to the beginning of `into`. Returns how many there are.
const fn personal_scopes(into: &mut [&'static str; Scope::ALL.len()]) -> usize {
    let (mut at, mut count) = (0, 0);
    while at < Scope::ALL.len() {
        if Scope::ALL[at].holder().admits(true) {
            into[count] = Scope::ALL[at].as_str();
            count += 1;
        }
        at += 1;
    }
    count
}

impl Value for i64 {
    const KIND: ParamType = ParamType::Integer;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match given {
            Json::String(text) if text.is_empty() => Ok(None),
            Json::String(text) => text.parse().map(Some).map_err(|_| Fault::Invalid),
            Json::Number(number) => number.as_i64().map(Some).ok_or(Fault::Invalid),
            Json::Null => Ok(None),
            _ => Err(Fault::Invalid),
        }
    }
}

impl Value for bool {
    const KIND: ParamType = ParamType::Boolean;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        let text = match given {
            Json::Bool(truth) => return Ok(Some(*truth)),
            Json::Null => return Ok(None),
            Json::Number(number) => number.to_string(),
            Json::String(text) => text.clone(),
            _ => return Err(Fault::Invalid),
        };
        let lower = text.to_ascii_lowercase();
        // Lower, upper or capitalised; `tRUE` is none of them.
        let capitalised = text.get(1..).is_none_or(|rest| rest.bytes().all(|b| b.is_ascii_lowercase()));
        if text != lower && text != text.to_ascii_uppercase() && !capitalised {
            return Err(Fault::Invalid);
        }
        match lower.as_str() {
            "" => Ok(None),
            "true" | "1" | "t" | "yes" | "y" | "on" => Ok(Some(true)),
            "false" | "0" | "f" | "no" | "n" | "off" => Ok(Some(false)),
            _ => Err(Fault::Invalid),
        }
    }
}

impl Value for Date {
    const KIND: ParamType = ParamType::Date;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match given {
            Json::String(text) if text.is_empty() => Ok(None),
            Json::String(text) => Self::parse(text).map(Some).ok_or(Fault::Invalid),
            Json::Null => Ok(None),
            _ => Err(Fault::Invalid),
        }
    }
}

/// A value out of a list of words.
macro_rules! one_of {
    ($ty:ty { $($text:literal => $value:expr),+ $(,)? }) => {
        impl $crate::params::Value for $ty {
            const KIND: $crate::params::ParamType = $crate::params::ParamType::Text;
            const ALLOWED: &'static [&'static str] = &[$($text),+];

            fn read(given: &serde_json::Value) -> Result<Option<Self>, $crate::params::Fault> {
                match given {
                    serde_json::Value::String(text) => match text.as_str() {
                        $($text => Ok(Some($value)),)+
                        _ => Err($crate::params::Fault::NotAllowed),
                    },
                    serde_json::Value::Null => Ok(None),
                    _ => Err($crate::params::Fault::NotAllowed),
                }
            }
        }
    };
}
pub(crate) use one_of;

one_of!(Visibility { "private" => Self::Private, "internal" => Self::Internal, "public" => Self::Public });

/// `sort`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Ascending,
    Descending,
}
one_of!(Sort { "asc" => Self::Ascending, "desc" => Self::Descending });

/// A level that a member may have, as a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinAccessLevel(pub i64);

impl Value for MinAccessLevel {
    const KIND: ParamType = ParamType::Integer;
    const ALLOWED: &'static [&'static str] = &["5", "10", "15", "20", "30", "40", "50"];

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match i64::read(given)? {
            None => Ok(None),
            Some(level) if Self::ALLOWED.contains(&level.to_string().as_str()) => Ok(Some(Self(level))),
            Some(_) => Err(Fault::NotAllowed),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn truth_is_spelt_in_many_ways() {
        for yes in ["true", "1", "T", "Yes", "Y", "ON"] {
            assert_eq!(bool::read(&json!(yes)), Ok(Some(true)), "{yes}");
        }
        for no in ["false", "0", "f", "No", "n", "OFF"] {
            assert_eq!(bool::read(&json!(no)), Ok(Some(false)), "{no}");
        }
        assert_eq!(bool::read(&json!("")), Ok(None));
        for bad in [json!("tRUE"), json!("2"), json!([]), json!({})] {
            assert_eq!(bool::read(&bad), Err(Fault::Invalid), "{bad}");
        }
    }

    #[test]
    fn a_list_is_given_in_several_ways() {
        let read = |given| List::<Scope>::read(&given).map(|list| list.map(|list| list.0));
        let both = Ok(Some(vec![Scope::Api, Scope::ReadUser]));
        for given in [json!(["api", "read_user"]), json!("api,read_user"), json!("api, read_user")] {
            assert_eq!(read(given.clone()), both, "{given}");
        }
        assert_eq!(read(json!([])), Ok(Some(vec![])));
        assert_eq!(read(json!("")), Ok(Some(vec![])));
        assert_eq!(read(json!(null)), Ok(None));
        for given in [json!(["openid"]), json!(["nope"]), json!([["api"]]), json!([null]), json!([{}]), json!("api,,")]
        {
            assert_eq!(read(given.clone()), Err(Fault::NotAllowed), "{given}");
        }
        for given in [json!({"0": "api"}), json!(1), json!(true)] {
            assert_eq!(read(given.clone()), Err(Fault::Invalid), "{given}");
        }
    }

    #[test]
    fn a_word_out_of_a_list_or_nothing() {
        assert_eq!(Visibility::read(&json!("public")), Ok(Some(Visibility::Public)));
        assert_eq!(Visibility::read(&json!("")), Err(Fault::NotAllowed));
        assert_eq!(Visibility::read(&json!("Public")), Err(Fault::NotAllowed));
        assert_eq!(MinAccessLevel::read(&json!("x")), Err(Fault::Invalid));
        assert_eq!(MinAccessLevel::read(&json!("7")), Err(Fault::NotAllowed));
    }
}

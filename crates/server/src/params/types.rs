//! What a parameter may hold: texts, numbers, dates, words out of a list, and lists of them.

use serde_json::Value as Json;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::{Date, Timestamp};

use super::{Fault, ParamType, Value};
use crate::request::MOST_PARAMETERS;

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

/// A value that the caller may clear: `Some(Nullable(None))` for null, and for an empty string where that means null to `T`;
/// `None` if the parameter is absent.
///
/// Without it null counts as absent (rest-api.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nullable<T>(pub Option<T>);

impl<T: Value> Value for Nullable<T> {
    const KIND: ParamType = T::KIND;
    const ALLOWED: &'static [&'static str] = T::ALLOWED;
    const LEAST: Option<i64> = T::LEAST;
    const STRUCTURED: bool = T::STRUCTURED;
    const NULLABLE: bool = true;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        T::read(given).map(|value| Some(Self(value)))
    }
}

/// Several values: `a[]=x&a[]=y`, or a list in JSON. With `COMMAS` also one text, `a=x,y`, and such texts as elements.
/// An empty text is an empty list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const COMMAS: bool = false>(pub Vec<T>);

/// For parameters that GitLab declares with `CommaSeparatedToArray`.
pub type CommaList<T> = List<T, true>;

impl<T: Value, const COMMAS: bool> Value for List<T, COMMAS> {
    const KIND: ParamType = ParamType::List { of: &T::KIND, commas: COMMAS };
    const ALLOWED: &'static [&'static str] = T::ALLOWED;
    const STRUCTURED: bool = true;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        let mut values = Vec::new();
        match given {
            Json::Null => return Ok(None),
            Json::String(text) if text.is_empty() => {}
            Json::String(text) if COMMAS => Self::split(text, &mut values)?,
            Json::Array(elements) => {
                for element in elements {
                    match element {
                        Json::String(text) if COMMAS && text.contains(',') => Self::split(text, &mut values)?,
                        element => values.push(Self::element(element)?),
                    }
                }
            }
            // `a[0]=x` is a hash.
            Json::Object(_) | Json::String(_) | Json::Number(_) | Json::Bool(_) => return Err(Fault::Invalid),
        }
        Ok(Some(Self(values)))
    }
}

impl<T: Value, const COMMAS: bool> List<T, COMMAS> {
    fn split(text: &str, into: &mut Vec<T>) -> Result<(), Fault> {
        for part in text.split(',') {
            if into.len() >= MOST_PARAMETERS {
                return Err(Fault::Invalid);
            }
            into.push(Self::element(&Json::String(part.trim().to_owned()))?);
        }
        Ok(())
    }

    /// No list has an element that is null.
    fn element(given: &Json) -> Result<T, Fault> {
        let missing = if T::ALLOWED.is_empty() { Fault::Invalid } else { Fault::NotAllowed };
        T::read(given)?.ok_or(missing)
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

impl Value for Timestamp {
    const KIND: ParamType = ParamType::DateTime;

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
    /// `asc`
    Ascending,
    /// `desc`
    Descending,
}
one_of!(Sort { "asc" => Self::Ascending, "desc" => Self::Descending });

/// A level from which on a list shows what its caller is a member of: any but the minimal one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinAccessLevel(pub i64);

impl Value for MinAccessLevel {
    const KIND: ParamType = ParamType::Integer;
    const ALLOWED: &'static [&'static str] = &["10", "15", "20", "25", "30", "40", "50"];

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match i64::read(given)? {
            None => Ok(None),
            Some(level) if Self::ALLOWED.contains(&level.to_string().as_str()) => Ok(Some(Self(level))),
            Some(_) => Err(Fault::NotAllowed),
        }
    }
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
        let read = |given| CommaList::<Scope>::read(&given).map(|list| list.map(|list| list.0));
        let both = Ok(Some(vec![Scope::Api, Scope::ReadUser]));
        for given in
            [json!(["api", "read_user"]), json!("api,read_user"), json!("api, read_user"), json!(["api,read_user"])]
        {
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

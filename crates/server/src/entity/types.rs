//! The types that a declaration names, and what may be written as each.

use std::fmt::Arguments;
use std::marker::PhantomData;

use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::id::{
    ApplicationId, DeployTokenId, JobTokenId, NamespaceId, PersonalAccessTokenId, ProjectId, UserId,
};
use tollhouse_domain::namespace::NamespaceKind;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time;
use tollhouse_domain::user::AccountState;

use super::writer::Writer;
use super::{JsonType, Shape, Type, WriteAs, WrittenFrom};

macro_rules! json_types {
    ($($(#[$doc:meta])* $name:ident = $ty:expr;)+) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}

        impl JsonType for $name {
            const SHAPE: &'static Shape = &Shape { ty: $ty, nullable: false };
        }
    )+};
}

json_types! {
    Integer = Type::Integer;
    Boolean = Type::Boolean;
    Text = Type::Text;
    /// An absolute URL.
    Url = Type::Url;
    /// `2026-01-31`
    Date = Type::Date;
    /// `2026-01-31T10:20:30.123Z` (rest-api.md 1.2)
    DateTime = Type::DateTime;
    /// The number of an access level (rest-api.md 4.1).
    Level = Type::Number(&LEVELS);
    /// Always null.
    Null = Type::Null;
    /// A list that is always empty.
    Empty = Type::Empty;
}

/// A `T` or null.
#[derive(Debug)]
pub struct Nullable<T>(PhantomData<T>);

impl<T: JsonType> JsonType for Nullable<T> {
    const SHAPE: &'static Shape = &Shape { ty: T::SHAPE.ty, nullable: true };
}

/// Any number of `T`.
#[derive(Debug)]
pub struct List<T>(PhantomData<T>);

impl<T: JsonType> JsonType for List<T> {
    const SHAPE: &'static Shape = &Shape { ty: Type::List(T::SHAPE), nullable: false };
}

/// One of the words of `T`.
#[derive(Debug)]
pub struct OneOf<T>(PhantomData<T>);

impl<T: Words> JsonType for OneOf<T> {
    const SHAPE: &'static Shape = &Shape { ty: Type::Word(T::WORDS), nullable: false };
}

/// A closed set of words.
pub trait Words {
    const WORDS: &'static [&'static str];
}

macro_rules! words {
    ($($ty:ident: $all:expr;)+) => {$(
        impl Words for $ty {
            const WORDS: &'static [&'static str] = &{
                let mut words = [""; $all.len()];
                let mut at = 0;
                while at < words.len() {
                    words[at] = $all[at].as_str();
                    at += 1;
                }
                words
            };
        }

        impl WriteAs<OneOf<$ty>> for $ty {
            fn write(self, out: &mut Writer) {
                out.plain_text(self.as_str());
            }
        }
    )+};
}

words! {
    AccountState: AccountState::ALL;
    NamespaceKind: [NamespaceKind::User, NamespaceKind::Group];
    Scope: Scope::ALL;
    DeployScope: DeployScope::ALL;
    TargetKind: [TargetKind::Project, TargetKind::Group];
    Visibility: Visibility::ALL;
}

const LEVELS: [i64; AccessLevel::ALL.len()] = {
    let mut levels = [0; AccessLevel::ALL.len()];
    let mut at = 0;
    while at < levels.len() {
        levels[at] = AccessLevel::ALL[at] as i64;
        at += 1;
    }
    levels
};

macro_rules! written {
    ($json:ty: $($ty:ty),+) => {$(
        impl WriteAs<$json> for $ty {
            fn write(self, out: &mut Writer) {
                out.serialize(self);
            }
        }
    )+};
}

written!(Integer: i32, i64, ApplicationId, DeployTokenId, JobTokenId, NamespaceId, PersonalAccessTokenId, ProjectId, UserId);
written!(Boolean: bool);
written!(Text: &str, &String, String, Arguments<'_>);
written!(Url: &str, &String, String, Arguments<'_>);
written!(Level: AccessLevel);

impl WriteAs<Date> for time::Date {
    fn write(self, out: &mut Writer) {
        out.plain_text(self);
    }
}

impl WriteAs<DateTime> for time::Timestamp {
    fn write(self, out: &mut Writer) {
        out.plain_text(self.iso());
    }
}

impl WriteAs<Null> for () {
    fn write(self, out: &mut Writer) {
        out.null();
    }
}

impl WriteAs<Empty> for () {
    fn write(self, out: &mut Writer) {
        out.list::<Null, ()>([]);
    }
}

impl<T: JsonType> WriteAs<Nullable<T>> for () {
    fn write(self, out: &mut Writer) {
        out.null();
    }
}

impl<T: JsonType, V: WriteAs<T>> WriteAs<Nullable<T>> for Option<V> {
    fn write(self, out: &mut Writer) {
        match self {
            Some(value) => WriteAs::<T>::write(value, out),
            None => out.null(),
        }
    }
}

impl<T: JsonType, I: IntoIterator<Item: WriteAs<T>>> WriteAs<List<T>> for I {
    fn write(self, out: &mut Writer) {
        out.list::<T, I::Item>(self);
    }
}

impl<E: WrittenFrom<S>, S> WriteAs<E> for S {
    fn write(self, out: &mut Writer) {
        out.object::<E, S>(&self);
    }
}

//! Offset and keyset pagination (rest-api.md 1.4, 1.5).

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use tollhouse_store::list::Span;

use crate::app::App;
use crate::endpoint::answer::Page;
use crate::entity::WrittenFrom;
use crate::error::Error;
use crate::params::{Fault, Group, Param, ParamType, Params, SUDO, Value, for_links};
use crate::request::ParsedRequest;

/// `page`, from 1; what is lower counts as 1.
#[derive(Clone, Copy, Debug)]
pub struct PageNumber(i64);

impl Value for PageNumber {
    const KIND: ParamType = ParamType::Integer;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        Ok(i64::read(given)?.map(|page| Self(page.clamp(1, i64::from(u32::MAX)))))
    }
}

/// `per_page`, at most 100.
#[derive(Clone, Copy, Debug)]
pub struct PerPage(i64);

impl Value for PerPage {
    const KIND: ParamType = ParamType::Integer;
    const LEAST: Option<i64> = Some(1);

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        match i64::read(given)? {
            Some(..=0) => Err(Fault::NotAllowed),
            count => Ok(count.map(|count| Self(count.min(MOST_PER_PAGE)))),
        }
    }
}

/// `pagination`: by offset, whatever it says, unless it says `keyset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pagination {
    /// `page` and `per_page` (rest-api.md 1.4).
    Offset,
    /// A cursor (rest-api.md 1.5); only where the list has one.
    Keyset,
}

impl Value for Pagination {
    const KIND: ParamType = ParamType::Text;

    fn read(given: &Json) -> Result<Option<Self>, Fault> {
        let named = String::read(given)?;
        Ok(named.map(|named| if named == "keyset" { Self::Keyset } else { Self::Offset }))
    }
}

/// Parameters of a list, and what its links are made of.
#[derive(Debug)]
pub struct Listed<P> {
    /// What the list was asked.
    pub params: P,
    path: String,
    all: BTreeMap<String, Json>,
}

impl<P: Params> Params for Listed<P> {
    const DECLARED: &'static [Param] = P::DECLARED;
    const GROUPS: &'static [Group] = P::GROUPS;

    fn parse(parsed: &ParsedRequest) -> Result<Self, Error> {
        Ok(Self {
            params: P::parse(parsed)?,
            path: parsed.parts.uri.path().to_owned(),
            all: for_links(parsed, P::DECLARED)?,
        })
    }
}

/// Which rows a page holds.
pub fn span(page: PageNumber, per_page: PerPage) -> Span {
    Span::offset(per_page.0, (page.0 - 1) * per_page.0)
}

/// The first rows of what is left, for a list that is read by keyset.
pub fn first(per_page: PerPage) -> Span {
    Span::offset(per_page.0, 0)
}

/// The last row of a page that is full, after which there may be more.
pub fn last_of<T>(per_page: PerPage, rows: &[T]) -> Option<&T> {
    rows.last().filter(|_| rows.len() as i64 >= per_page.0)
}

/// One page of a list with its headers. `total` is counted up to 10,001, which means "more than 10,000".
pub fn answer<P: Params, E: WrittenFrom<S>, S>(
    app: &App,
    list: &Listed<P>,
    (page, per_page): (PageNumber, PerPage),
    total: i64,
    rows: impl ExactSizeIterator<Item = S>,
) -> Page<E> {
    let counted = total <= MOST_COUNTED;
    let last = ((total + per_page.0 - 1) / per_page.0).max(1);
    let more = if counted { page.0 < last } else { rows.len() as i64 == per_page.0 };
    let next = more.then_some(page.0 + 1);
    let previous = (page.0 > 1).then(|| page.0 - 1);
    let mut links = Vec::new();
    let mut link = |number: i64, rel: &str| links.push(list.link(app, "page", number, rel));
    if let Some(previous) = previous {
        link(previous, "prev");
    }
    if let Some(next) = next {
        link(next, "next");
    }
    link(1, "first");
    if counted {
        link(last, "last");
    }
    let mut answer = Page::of(app, rows);
    let headers = &mut answer.headers;
    let or_empty = |number: Option<i64>| number.map_or_else(String::new, |number| number.to_string());
    set(headers, "x-page", page.0.to_string());
    set(headers, "x-per-page", per_page.0.to_string());
    set(headers, "x-next-page", or_empty(next));
    set(headers, "x-prev-page", or_empty(previous));
    if counted {
        set(headers, "x-total", total.to_string());
        set(headers, "x-total-pages", last.to_string());
    }
    // A head that is larger breaks on most proxies; the numbers above say the same.
    let links = links.join(", ");
    if links.len() <= LONGEST_LINKS
        && let Ok(value) = HeaderValue::try_from(links)
    {
        headers.insert(header::LINK, value);
    }
    answer
}

/// One page of a list that goes on after a row. `next`: what names that row, and the parameter that has it.
pub fn keyset_answer<P: Params, E: WrittenFrom<S>, S>(
    app: &App,
    list: &Listed<P>,
    next: Option<(&'static str, impl Into<Json>)>,
    rows: impl ExactSizeIterator<Item = S>,
) -> Page<E> {
    let mut answer = Page::of(app, rows);
    let link = next.map(|(name, id)| list.link(app, name, id, "next")).filter(|link| link.len() <= LONGEST_LINKS);
    if let Some(Ok(value)) = link.map(HeaderValue::try_from) {
        answer.headers.insert(header::LINK, value);
    }
    answer
}

impl<P: Params> Listed<P> {
    /// It carries what the endpoint declares, and `sudo`, without which the next page would be somebody else's.
    fn link(&self, app: &App, name: &'static str, value: impl Into<Json>, rel: &str) -> String {
        let carries = |name: &str| {
            app.settings.compat.links.is_gitlab() || name == SUDO || P::DECLARED.iter().any(|param| param.name == name)
        };
        let mut all = self.all.clone();
        all.remove("page");
        all.insert(name.to_owned(), value.into());
        let mut query = Vec::new();
        for (name, value) in all.iter().filter(|(name, _)| carries(name)) {
            spell(name, value, &mut query);
        }
        format!("<{}{}?{}>; rel=\"{rel}\"", app.urls.base(), self.path, query.join("&"))
    }
}

fn spell(name: &str, value: &Json, query: &mut Vec<String>) {
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    match value {
        Json::Array(values) => values.iter().for_each(|value| spell(&format!("{name}[]"), value, query)),
        Json::Object(fields) => {
            fields.iter().for_each(|(key, value)| spell(&format!("{name}[{key}]"), value, query));
        }
        Json::Null => query.push(format!("{}=", encode(name))),
        Json::String(text) => query.push(format!("{}={}", encode(name), encode(text))),
        Json::Bool(_) | Json::Number(_) => query.push(format!("{}={value}", encode(name))),
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const LONGEST_LINKS: usize = 8192;
const MOST_PER_PAGE: i64 = 100;
const MOST_COUNTED: i64 = 10_000;

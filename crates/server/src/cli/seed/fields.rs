//! The tables of a seed, asked for their keys. A value of the wrong kind, and a key that nobody asked for, are mistakes.

use std::cell::RefCell;

use tollhouse_domain::text::printable;
use tollhouse_domain::time::Date;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::file::Mistakes;

/// Something of the file, and where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At<T> {
    /// What stands there.
    pub value: T,
    /// The byte of the file at which it begins.
    pub at: usize,
}

/// One table of the file, asked for its keys one after the other.
pub(super) struct Fields<'f> {
    table: &'f DeTable<'f>,
    /// Where it begins.
    pub at: usize,
    /// Whose mistakes these are; empty for the file itself.
    label: String,
    known: RefCell<Vec<&'static str>>,
    mistakes: &'f Mistakes<'f>,
}

impl<'f> Fields<'f> {
    /// The whole file, whose keys belong to no table.
    pub(super) fn of_file(table: &'f DeTable<'f>, mistakes: &'f Mistakes<'f>) -> Self {
        Self { table, at: 0, label: String::new(), known: RefCell::default(), mistakes }
    }

    /// The tables of a list of them, each called by what stands under one of its keys.
    pub(super) fn list(&self, key: &'static str, called: &str, by: &str) -> Vec<Self> {
        let Some(found) = self.get(key) else { return Vec::new() };
        let DeValue::Array(values) = found.get_ref() else {
            let written = if self.label.is_empty() { format!("[[{key}]]") } else { "a list of tables".to_owned() };
            self.wrong(found.span().start, &format!("`{key}` must be {written}, not {}", kind(found)));
            return Vec::new();
        };
        values.iter().filter_map(|value| self.one(key, value, called, by)).collect()
    }

    fn one(&self, key: &str, value: &'f Spanned<DeValue<'f>>, called: &str, by: &str) -> Option<Self> {
        let at = value.span().start;
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong(at, &format!("`{key}` must hold tables, not {}", kind(value)));
            return None;
        };
        let name = table.get(by).and_then(|name| name.get_ref().as_str());
        let own = name.map_or_else(|| called.to_owned(), |name| format!("{called} `{}`", printable(name)));
        let label = if self.label.is_empty() { own } else { format!("{}: {own}", self.label) };
        Some(Self { table, at, label, known: RefCell::default(), mistakes: self.mistakes })
    }

    /// `None`: absent, or no text; the latter is a mistake that is told.
    pub(super) fn text(&self, key: &'static str) -> Option<At<&'f str>> {
        let found = self.get(key)?;
        let at = found.span().start;
        match found.get_ref() {
            DeValue::String(text) if text.contains('\0') => {
                self.wrong(at, &format!("`{key}` can't hold a NUL"));
                None
            }
            DeValue::String(text) => Some(At { value: text, at }),
            _ => {
                self.wrong(at, &format!("`{key}` must be a string, not {}", kind(found)));
                None
            }
        }
    }

    /// As [`Fields::text`], but that it is absent is a mistake too.
    pub(super) fn required(&self, key: &'static str) -> Option<At<&'f str>> {
        self.must_have(key);
        self.text(key)
    }

    /// That this key is absent is a mistake.
    pub(super) fn must_have(&self, key: &'static str) {
        if !self.table.contains_key(key) {
            self.wrong(self.at, &format!("`{key}` is missing"));
        }
    }

    /// Empty: absent, or no list of strings; the latter is a mistake that is told.
    pub(super) fn texts(&self, key: &'static str) -> Vec<At<&'f str>> {
        let Some(found) = self.get(key) else { return Vec::new() };
        let DeValue::Array(values) = found.get_ref() else {
            self.wrong(found.span().start, &format!("`{key}` must be a list of strings, not {}", kind(found)));
            return Vec::new();
        };
        let text = |value: &'f Spanned<DeValue<'f>>| {
            let at = value.span().start;
            let text = value.get_ref().as_str();
            if text.is_none() {
                self.wrong(at, &format!("`{key}` must hold strings, not {}", kind(value)));
            }
            text.map(|value| At { value, at })
        };
        values.iter().filter_map(text).collect()
    }

    /// The same, where one at least must be there.
    pub(super) fn some_texts(&self, key: &'static str) -> Vec<At<&'f str>> {
        self.must_have(key);
        if self.table.get(key).and_then(|value| value.get_ref().as_array()).is_some_and(|values| values.is_empty()) {
            self.wrong(self.place(key), &format!("`{key}` can't be empty"));
        }
        self.texts(key)
    }

    /// `otherwise`: what counts if it is absent or no boolean; the latter is a mistake that is told.
    pub(super) fn flag(&self, key: &'static str, otherwise: bool) -> bool {
        let Some(found) = self.get(key) else { return otherwise };
        found.get_ref().as_bool().unwrap_or_else(|| {
            self.wrong(found.span().start, &format!("`{key}` must be true or false, not {}", kind(found)));
            otherwise
        })
    }

    /// A whole number within these bounds.
    pub(super) fn number(&self, key: &'static str, least: i64, most: i64) -> Option<i64> {
        let found = self.get(key)?;
        let number = found.get_ref().as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        let number = number.filter(|number| (least..=most).contains(number));
        if number.is_none() {
            let must = format!("`{key}` must be a whole number from {least} to {most}");
            self.wrong(found.span().start, &must);
        }
        number
    }

    /// A day, as TOML has it or as a string.
    pub(super) fn day(&self, key: &'static str) -> Option<Date> {
        let found = self.get(key)?;
        let day = match found.get_ref() {
            DeValue::Datetime(at) if at.time.is_none() => Date::parse(&at.to_string()),
            DeValue::String(text) if text.len() == 10 => Date::parse(text),
            _ => None,
        };
        // What ends on a day was made the day before, and time begins in 1970.
        let day = day.filter(|day| *day > Date(0));
        if day.is_none() {
            let must = format!("`{key}` must be a day such as 2031-01-31, and not before 1970-01-02");
            self.wrong(found.span().start, &must);
        }
        day
    }

    /// One of a few words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, all: &[T], text: impl Fn(T) -> &'static str) -> Option<T> {
        let asked = self.text(key)?;
        let found = all.iter().copied().find(|word| text(*word) == asked.value);
        if found.is_none() {
            let all: Vec<_> = all.iter().map(|word| text(*word)).collect();
            self.wrong(asked.at, &format!("`{key}` must be one of {}", all.join(", ")));
        }
        found
    }

    /// Where the value of this key stands, or the table without it.
    pub(super) fn place(&self, key: &str) -> usize {
        self.table.get(key).map_or(self.at, |value| value.span().start)
    }

    /// Whether the key is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Notes a mistake at this byte of the file.
    pub(super) fn wrong(&self, at: usize, what: &str) {
        self.mistakes.push(at, self.labelled(what));
    }

    /// The line of this byte, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.mistakes.line(at)
    }

    /// What nobody asked for is a mistake.
    pub(super) fn end(&self) {
        let known = self.known.borrow();
        for key in self.table.keys().filter(|key| !known.contains(&key.get_ref().as_ref())) {
            let what = format!("there is no `{}` here, only {}", printable(key.get_ref()), known.join(", "));
            self.wrong(key.span().start, &what);
        }
    }

    fn get(&self, key: &'static str) -> Option<&'f Spanned<DeValue<'f>>> {
        self.known.borrow_mut().push(key);
        self.table.get(key)
    }

    fn labelled(&self, what: &str) -> String {
        if self.label.is_empty() { what.to_owned() } else { format!("{}: {what}", self.label) }
    }
}

fn kind(value: &Spanned<DeValue<'_>>) -> String {
    let kind = value.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}

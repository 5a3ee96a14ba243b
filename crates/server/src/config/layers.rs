//! Files and environment, laid over the defaults key by key. What does not fit is told with its place, the value and an
//! example.

use std::collections::BTreeMap;
use std::path::Path;

use tollhouse_domain::text::printable;
use toml::{Table, Value};

use super::{DEFAULT, RETIRED, Retired, Unusable};
use crate::file_access::check_file;

/// What is known so far, from the defaults on.
pub(super) struct Layers {
    /// Every key there is, with the value that counts so far.
    pub(super) settings: Table,
    /// `section.key` of those that stand in a file or in the environment, and where: `FILE: section.key`, or the variable.
    pub(super) given: BTreeMap<String, String>,
    /// Those that were given though they are no longer used.
    pub(super) retired: Vec<&'static Retired>,
}

impl Default for Layers {
    fn default() -> Self {
        Self { settings: defaults(), given: BTreeMap::new(), retired: Vec::new() }
    }
}

impl Layers {
    /// Lays a file over what is known, key by key.
    pub(super) fn merge(&mut self, text: &str, path: &Path) -> Result<(), Unusable> {
        let at = path.display();
        // Never the line itself: it may hold the password of the database.
        let file: Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count());
            let hint = text.lines().nth(line - 1).and_then(unquoted).unwrap_or_default();
            Unusable(format!("{at}: line {line}: {}{hint}", one_line(error.message())))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let from_a_file = file.contains_key("database_file");
        for (key, value) in file {
            match (self.settings.get_mut(&key), value) {
                (Some(Value::Table(section)), Value::Table(values)) => {
                    for (name, value) in values {
                        if !retire(&mut self.retired, &key, &name) {
                            let dotted = format!("{key}.{name}");
                            let place = format!("{at}: {dotted}");
                            set(section, &name, anchored(&dotted, value, folder), &place)?;
                            self.given.insert(dotted, place);
                        }
                    }
                }
                (_, value) => {
                    let place = format!("{at}: {key}");
                    set(&mut self.settings, &key, anchored(&key, value, folder), &place)?;
                    self.given.insert(key, place);
                }
            }
        }
        if from_a_file && let Some(url) = self.settings.get_mut("database") {
            *url = anchored("database", url.clone(), folder);
        }
        Ok(())
    }

    /// Takes `TOLLHOUSE_SECTION_KEY`; other variables are passed over. Fails for a name that is no setting.
    pub(super) fn read_environment(&mut self, name: &str, value: &str) -> Result<(), Unusable> {
        let Some(key) = name.strip_prefix("TOLLHOUSE_") else { return Ok(()) };
        if NOT_SETTINGS.contains(&name) {
            return Ok(());
        }
        let key = key.to_ascii_lowercase();
        let typed = |known: Option<&Value>| match known {
            Some(Value::Boolean(_)) => value.parse().map(Value::Boolean).ok(),
            Some(Value::Integer(_)) => value.parse().map(Value::Integer).ok(),
            Some(Value::Array(_)) => {
                let words = value.split(',').map(str::trim).filter(|word| !word.is_empty());
                Some(Value::Array(words.map(|word| Value::String(word.to_owned())).collect()))
            }
            _ => Some(Value::String(value.to_owned())),
        };
        // Only what is true or false, or a number, has a type here, and no secret is.
        let bad = |known: Option<&Value>| {
            let (wanted, such) = known.map_or(("text", String::new()), |known| (kind(known), example(known)));
            Unusable(format!("{name}: \"{}\" does not fit: this must be {wanted}{such}", printable(value)))
        };
        for (section, known) in self.settings.iter_mut() {
            if let (Value::Table(known), Some(rest)) = (known, key.strip_prefix(&format!("{section}_"))) {
                if retire(&mut self.retired, section, rest) {
                    return Ok(());
                }
                let value = typed(known.get(rest)).ok_or_else(|| bad(known.get(rest)))?;
                set(known, rest, value, name)?;
                self.given.insert(format!("{section}.{rest}"), name.to_owned());
                return Ok(());
            }
        }
        let value = typed(self.settings.get(&key)).ok_or_else(|| bad(self.settings.get(&key)))?;
        set(&mut self.settings, &key, value, name)?;
        self.given.insert(key, name.to_owned());
        Ok(())
    }
}

/// Whether that setting is one that an earlier version had. Each is noted once.
fn retire(retired: &mut Vec<&'static Retired>, section: &str, key: &str) -> bool {
    let known = RETIRED.iter().find(|known| known.key.split_once('.') == Some((section, key)));
    if let Some(known) = known
        && !retired.contains(&known)
    {
        retired.push(known);
    }
    known.is_some()
}

/// Settings that are paths, besides every `KEY_file`.
const PATHS: &[&str] = &["data_dir", "gateway.rules"];

/// A path in a settings file is relative to the folder of that file, so that it means the same to a server and to a
/// command, wherever they are started.
fn anchored(key: &str, value: Value, folder: &Path) -> Value {
    let Value::String(text) = &value else { return value };
    let join = |path: &str| folder.join(path).to_str().map(str::to_owned);
    let anchored = match text.strip_prefix("sqlite:") {
        _ if text.is_empty() => None,
        Some(path) if key == "database" => {
            let path = path.strip_prefix("//").unwrap_or(path);
            join(path).filter(|_| !path.is_empty() && !path.starts_with(':')).map(|path| format!("sqlite:{path}"))
        }
        _ if PATHS.contains(&key) || key.ends_with("_file") => join(text),
        _ => None,
    };
    anchored.map_or(value, Value::String)
}

/// `KEY_file` names a file that holds the value, for secrets.
fn set(table: &mut Table, key: &str, value: Value, place: &str) -> Result<(), Unusable> {
    if let (Some(of), Value::String(path)) = (key.strip_suffix("_file"), &value)
        && table.get(of).is_some_and(Value::is_str)
    {
        check_file(Path::new(path)).map_err(|fault| Unusable(format!("{place}: {fault}")))?;
        let text = std::fs::read_to_string(path).map_err(|error| Unusable(format!("{place}: {path}: {error}")))?;
        table.insert(of.to_owned(), Value::String(text.trim_end().to_owned()));
        return Ok(());
    }
    match table.get(key) {
        None => Err(Unusable(format!("{place}: there is no such setting; {}", meant(table, key, place)))),
        Some(known) if known.type_str() != value.type_str() => {
            let (wanted, given) = (kind(known), kind(&value));
            Err(Unusable(format!("{place}: {}this must be {wanted}{}, not {given}", shown(&value), example(known))))
        }
        Some(_) => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
    }
}

fn defaults() -> Table {
    DEFAULT.parse().expect("the default settings are TOML; a test reads them")
}

/// What may have been meant by a name that is no setting, and where all of them are. `place` ends in it.
fn meant(table: &Table, key: &str, place: &str) -> String {
    const ALL: &str = "tollhouse config --print-default lists all";
    let alike = table.keys().map(|known| (strsim::jaro_winkler(known, key), known));
    match alike.max_by(|(one, _), (other, _)| one.total_cmp(other)) {
        Some((near, known)) if near > 0.85 => {
            // Of a variable, in capitals.
            let given = place.rsplit(' ').next().unwrap_or_default();
            let (before, known) = match given.strip_suffix(key) {
                Some(before) => (before, known.clone()),
                None => (&given[..given.len().saturating_sub(key.len())], known.to_ascii_uppercase()),
            };
            format!("did you mean {before}{known}? {ALL}")
        }
        _ => ALL.to_owned(),
    }
}

/// A hint for a line of TOML that cannot be parsed, if its value has no quotes. Never the line itself.
fn unquoted(line: &str) -> Option<&'static str> {
    let (_, value) = line.split_once('=')?;
    let first = value.trim_start().chars().next()?;
    (!matches!(first, '"' | '\'' | '[' | '{'))
        .then_some("; text must be in quotes, such as listen = \"127.0.0.1:8080\"")
}

/// A fault that begins with the name of a setting, with the place where it was given in place of the name.
pub(super) fn placed(fault: Unusable, given: &BTreeMap<String, String>) -> Unusable {
    let placed = given.iter().find_map(|(key, place)| {
        let rest = fault.0.strip_prefix(key.as_str())?;
        rest.starts_with([':', ' ', '[']).then(|| format!("{place}{rest}"))
    });
    placed.map_or(fault, Unusable)
}

/// `"on" is not valid: write "tollhouse" or "gitlab"`, if a value is none of the words that a setting has.
fn no_such_word(message: &str) -> Option<String> {
    let (given, words) = message.strip_prefix("unknown variant `")?.rsplit_once("`, expected ")?;
    let words = words.trim_start_matches("one of ").replace('`', "\"");
    Some(format!("\"{}\" is not valid: write {words}", printable(given)))
}

/// What the parser says of a value, with the name of the setting before it and the default behind it, as an example.
pub(super) fn misfit(error: &toml::de::Error) -> Unusable {
    let text = error.to_string();
    let (message, key) = text.trim_end().rsplit_once("\nin `").unwrap_or((text.as_str(), ""));
    let (message, key) = (one_line(message), key.trim_end_matches('`'));
    let message = no_such_word(&message).unwrap_or(message);
    // The default of a list is one of the whole list.
    let usual = usual(key.split('[').next().unwrap_or_default());
    Unusable(match (key, usual.as_str()) {
        ("", _) => message,
        (_, "" | "\"\"" | "[]") => format!("{key}: {message}"),
        _ => format!("{key}: {message}; the default is {usual}"),
    })
}

/// The default of a setting as TOML writes it; nothing: there is no such setting.
pub(super) fn usual(key: &str) -> String {
    let defaults = defaults();
    let found = match key.split_once('.') {
        Some((section, name)) => defaults.get(section).and_then(|section| section.get(name)),
        None => defaults.get(key),
    };
    found.map(spelt).unwrap_or_default()
}

/// A type of TOML in words.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text in quotes",
        Value::Integer(_) => "a whole number",
        Value::Float(_) => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a section",
    }
}

/// As a file of settings spells it, on one line. A section is left out.
fn spelt(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", printable(text)),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(known) => known.to_string(),
        Value::Datetime(date) => date.to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(spelt).collect::<Vec<_>>().join(", ")),
        Value::Table(_) => String::new(),
    }
}

/// The value itself, if it is short enough to be of use. It is of the wrong type for every setting that is a secret.
fn shown(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => String::new(),
        value => Some(spelt(value)).filter(|text| text.len() <= 64).map_or_else(String::new, |text| text + ": "),
    }
}

/// The default, as an example of what fits.
fn example(known: &Value) -> String {
    match known {
        Value::String(text) if text.is_empty() => String::new(),
        Value::Array(list) if list.is_empty() => r#", such as ["one", "two"]"#.to_owned(),
        Value::Table(_) => String::new(),
        known => format!(", such as {}", spelt(known)),
    }
}

/// The lines of a text, trimmed and joined by spaces; empty ones are left out.
pub(crate) fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Read elsewhere: secrets that are no settings, and where the settings are.
const NOT_SETTINGS: &[&str] = &[
    "TOLLHOUSE_ROOT_PASSWORD",
    "TOLLHOUSE_PASSWORD",
    "TOLLHOUSE_CONFIG",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_MUTANT",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_FAULT",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_KILL_AT",
    #[cfg(feature = "faults")]
    "TOLLHOUSE_SYSTEM_CONFIG",
];

//! `log.level`: a level, directives `TARGET=LEVEL`, or both, with commas between.
//!
//! The library that filters takes every word for the name of a target. A level with a slip in it would silence the log.

use tollhouse_domain::text::printable;
use tracing_subscriber::EnvFilter;

/// Names a directive that cannot be used, and says what could stand there. Targets may be unknown.
pub(super) fn check(text: &str) -> Result<(), String> {
    let unusable = |what: &str| Err(format!("log.level: `{}` {what}: use {ALLOWED}", printable(text)));
    if directives(text).next().is_none() {
        return unusable("names no level");
    }
    for directive in directives(text) {
        let level = directive.rsplit_once('=').map_or(directive, |(_, level)| level.trim());
        // With a span in brackets the level may be left out.
        if !is_level(level) && !directive.ends_with(']') {
            return unusable(&match level {
                level if level == text => "is no level".to_owned(),
                level => format!("has `{}`, which is no level", printable(level)),
            });
        }
    }
    EnvFilter::try_new(without_spaces(text)).map(drop).or_else(|error| unusable(&format!("cannot be read ({error})")))
}

/// The directives, with `info` for what they do not name.
pub(super) fn complete(text: &str) -> String {
    match directives(text).any(is_level) {
        true => without_spaces(text),
        false => format!("info,{}", without_spaces(text)),
    }
}

/// The library does not read white space around a directive.
fn without_spaces(text: &str) -> String {
    directives(text).collect::<Vec<_>>().join(",")
}

fn directives(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|directive| !directive.is_empty())
}

fn is_level(word: &str) -> bool {
    LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word))
}

const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace", "off"];
const ALLOWED: &str = "error, warn, info, debug, trace or off, and TARGET=LEVEL for one part, with commas between";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_that_there_is() {
        for good in
            ["info", "WARN", "off", "info,sqlx=warn", "nobody::knows=debug", "warn, a=off ,", "[request]", "a[b]=trace"]
        {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for (bad, told) in [
            ("warning", "log.level: `warning` is no level: use error, warn, info, debug, trace or off, "),
            ("", "log.level: `` names no level: "),
            (" , ", "log.level: ` , ` names no level: "),
            ("info,sqlx", "log.level: `info,sqlx` has `sqlx`, which is no level: "),
            ("sqlx=warning", "log.level: `sqlx=warning` has `warning`, which is no level: "),
            ("info=", "log.level: `info=` has ``, which is no level: "),
            ("7", "log.level: `7` is no level: "),
            ("info\u{1b}[2J", "log.level: `info\\u{1b}[2J` is no level: "),
            ("info;debug", "log.level: `info;debug` is no level: "),
        ] {
            let fault = check(bad).expect_err(bad);
            assert!(fault.starts_with(told) && fault.contains("TARGET=LEVEL"), "{bad}: {fault}");
        }
    }

    #[test]
    fn what_no_directive_names_is_logged() {
        assert_eq!(complete("sqlx=warn"), "info,sqlx=warn");
        assert_eq!(complete("sqlx=warn,off"), "sqlx=warn,off");
        assert_eq!(complete("debug"), "debug");
        assert_eq!(complete(" a=off , sqlx=warn ,"), "info,a=off,sqlx=warn");
    }
}

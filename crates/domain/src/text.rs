//! Text that people sent, made safe for a log, the audit log or a terminal (T30).

use std::borrow::Cow;
use std::fmt::Write;

use crate::token::PREFIXES;

/// At most 256 bytes, with controls and bidirectional marks escaped, so that nobody can write a second log line
/// or turn the first one around.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(LONGEST));
    for c in text.chars() {
        let before = out.len();
        if c.is_control() || is_bidi(c) {
            let _ = write!(out, "\\u{{{:x}}}", c as u32);
        } else {
            out.push(c);
        }
        if out.len() > LONGEST {
            out.truncate(before);
            break;
        }
    }
    out
}

/// [`printable`] for a log or the audit log, which others may read: nothing in it looks like a token. Of 20 or more
/// characters of a token behind one of [`PREFIXES`] the prefix is left, and of 64 or more hexadecimal digits nothing, as
/// a path is sent too, percent-encoded once or more.
pub fn loggable(text: &str) -> String {
    printable(&masked(text))
}

fn masked(text: &str) -> Cow<'_, str> {
    // Nothing shorter can hold what is masked.
    if text.len() < SHORTEST_TOKEN {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::new();
    let (mut at, mut kept) = (0, 0);
    while at < bytes.len() {
        let (digits, behind_digits) = run(bytes, at, |b| b.is_ascii_hexdigit());
        if digits >= LONG_HEX {
            out.extend_from_slice(&bytes[kept..at]);
            out.extend_from_slice(MASK);
            (at, kept) = (behind_digits, behind_digits);
        } else if let Some((prefix, behind)) = token(bytes, at) {
            out.extend_from_slice(&bytes[kept..at]);
            out.extend_from_slice(prefix.as_bytes());
            out.extend_from_slice(MASK);
            (at, kept) = (behind, behind);
        } else {
            // No prefix begins with a hexadecimal digit, so none begins in these.
            at = if digits > 0 { behind_digits } else { at + unit(bytes, at).1 };
        }
    }
    if out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&bytes[kept..]);
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The prefix of a token that begins there, and where the token ends.
fn token(bytes: &[u8], at: usize) -> Option<(&'static str, usize)> {
    PREFIXES.into_iter().find_map(|prefix| {
        let mut behind = at;
        for known in prefix.bytes() {
            let (byte, length) = unit(bytes, behind);
            if !byte.eq_ignore_ascii_case(&known) {
                return None;
            }
            behind += length;
        }
        let (count, behind) = run(bytes, behind, |b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        (count >= LONG_RUN).then_some((prefix, behind))
    })
}

/// How many characters of a kind follow there, and where they end.
fn run(bytes: &[u8], mut at: usize, of: impl Fn(u8) -> bool) -> (usize, usize) {
    let mut count = 0;
    while at < bytes.len() {
        let (byte, length) = unit(bytes, at);
        if !of(byte) {
            break;
        }
        (count, at) = (count + 1, at + length);
    }
    (count, at)
}

/// The byte that stands there, and how many spell it: `-`, `%2d` and `%252D` are one byte. At the end there is NUL.
fn unit(bytes: &[u8], at: usize) -> (u8, usize) {
    let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) else { return (0, 0) };
    if rest[0] == b'%' {
        let mut behind = 1;
        while rest[behind..].starts_with(b"25") {
            behind += 2;
        }
        let digit = |place: usize| rest.get(place).and_then(|b| char::from(*b).to_digit(16));
        if let (Some(high), Some(low)) = (digit(behind), digit(behind + 1)) {
            return ((high * 16 + low) as u8, behind + 2);
        }
    }
    (rest[0], 1)
}

/// A name that is shown to people must not hold what turns text around or hides it (T21).
pub fn deceives(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || is_bidi(c) || is_invisible(c))
}

/// What is wrong with a name that somebody gave to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameFault {
    /// Empty, or nothing but white space.
    Blank,
    /// More characters than this.
    TooLong(usize),
    /// It holds control characters, or characters that turn text around or hide it (T21).
    ControlCharacters,
}

/// `None`: nothing is wrong.
pub fn name_fault(name: &str) -> Option<NameFault> {
    match name {
        _ if name.trim().is_empty() => Some(NameFault::Blank),
        _ if name.chars().count() > LONGEST_NAME => Some(NameFault::TooLong(LONGEST_NAME)),
        _ if deceives(name) => Some(NameFault::ControlCharacters),
        _ => None,
    }
}

const LONGEST_NAME: usize = 255;

/// What takes no room, but for the joiners that scripts and pictures need.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{115f}' | '\u{1160}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{3164}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn is_bidi(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

const LONGEST: usize = 256;

const MASK: &[u8] = b"***";

/// In characters, behind a prefix.
const LONG_RUN: usize = 20;

/// In digits: an OAuth token, a code and a digest have so many.
const LONG_HEX: usize = 64;

/// In bytes: the shortest prefix, and what follows it.
const SHORTEST_TOKEN: usize = 5 + LONG_RUN;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t30_what_people_send_is_escaped_and_cut() {
        assert_eq!(printable("a\nb\u{202e}c\u{1b}[31m"), "a\\u{a}b\\u{202e}c\\u{1b}[31m");
        assert_eq!(printable("Ünïcode ok"), "Ünïcode ok");
        assert!(printable(&"é".repeat(300)).len() <= 256);
    }

    #[test]
    fn t30_what_looks_like_a_token_is_masked_in_a_log() {
        let (run, hex) = ("aB3_-.xYz0123456789Q", "0123456789abcdefABCDEF0123456789abcdefABCDEF0123456789abcdefABCD");
        assert_eq!((run.len(), hex.len()), (20, 64));
        for prefix in PREFIXES {
            assert_eq!(loggable(&format!("/x/{prefix}{run}/y")), format!("/x/{prefix}***/y"));
            assert_eq!(
                loggable(&format!("{prefix}{}", &run[1..])),
                format!("{prefix}{}", &run[1..]),
                "a run too short"
            );
            // None may begin where a run of hexadecimal digits is passed over.
            assert!(!prefix.as_bytes()[0].is_ascii_hexdigit() && prefix.len() + LONG_RUN >= SHORTEST_TOKEN);
        }
        for (text, logged) in [
            (format!("/api/v4/user/glpat-{run}{run}?"), "/api/v4/user/glpat-***?".to_owned()),
            (format!("/glpat%2D{run}"), "/glpat-***".to_owned()),
            (format!("/glpat%2d{run}%2E1/z"), "/glpat-***/z".to_owned()),
            (format!("/%67lpat%252D{run}"), "/glpat-***".to_owned()),
            (format!("/glpat%25252D%61{run}"), "/glpat-***".to_owned()),
            (format!("/GLPAT-{run}"), "/glpat-***".to_owned()),
            (format!("/abglpat-{run}glpat-{run}"), "/abglpat-***".to_owned()),
            (format!("/{hex}/x"), "/***/x".to_owned()),
            (format!("/{hex}{hex}"), "/***".to_owned()),
            (format!("/%30{}x", &hex[1..]), "/***x".to_owned()),
            (format!("/{}g", &hex[1..]), format!("/{}g", &hex[1..])),
            (format!("/é{hex}é\n"), "/é***é\\u{a}".to_owned()),
            (format!("{}glpat-{run}", "/y".repeat(125)), format!("{}glpat-", "/y".repeat(125))),
            ("/groups/a%2Fb%2525/%/%2/%zz%25".to_owned(), "/groups/a%2Fb%2525/%/%2/%zz%25".to_owned()),
            ("%25".repeat(20), "%25".repeat(20)),
            (String::new(), String::new()),
        ] {
            assert_eq!(loggable(&text), logged, "{text}");
        }
        assert!(loggable(&"glpat-".repeat(5_000)).len() <= 256);
    }

    #[test]
    fn a_name_says_something_and_hides_nothing() {
        for good in ["Ada", "é", "日本", &"é".repeat(255)] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", " \t", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}b", &"é".repeat(256)] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }

    #[test]
    fn t30_what_fits_is_not_cut_and_no_character_is_cut_in_two() {
        for (text, length) in [
            ("a".repeat(256), 256),
            ("a".repeat(257), 256),
            ("é".repeat(128), 256),
            (format!("{}é", "a".repeat(255)), 255),
            (format!("{}\n", "a".repeat(251)), 256),
            (format!("{}\n", "a".repeat(252)), 252),
        ] {
            assert_eq!(printable(&text).len(), length, "{text:?}");
        }
    }

    #[test]
    fn t30_the_shortest_token_is_masked_where_nothing_is_around_it() {
        let token = format!("gldt-{}", "x".repeat(20));
        assert_eq!(loggable(&token), "gldt-***");
        assert_eq!(loggable(&token[..24]), &token[..24]);
    }

    #[test]
    fn a_name_is_told_what_is_wrong_with_it() {
        for (name, fault) in [
            (" \t".to_owned(), NameFault::Blank),
            ("é".repeat(256), NameFault::TooLong(255)),
            ("a\u{202e}b".to_owned(), NameFault::ControlCharacters),
        ] {
            assert_eq!(name_fault(&name), Some(fault), "{name:?}");
        }
        for hidden in ["a\tb", "a\u{2066}b", "a\u{ad}b"] {
            assert!(deceives(hidden), "{hidden:?}");
        }
        assert!(!deceives("a\u{200d}b"), "joiners are needed");
    }
}

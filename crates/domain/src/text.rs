//! Text that people sent, made safe for a log, the audit trail or a terminal (T30).

use std::fmt::Write;

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

/// A name that is shown to people must not hold what turns text around or hides it (T21).
pub fn deceives(text: &str) -> bool {
    text.chars().any(|c| c.is_control() || is_bidi(c) || is_invisible(c))
}

/// What is wrong with a name that somebody gave to something, as on the wire.
pub fn name_fault(name: &str) -> Option<&'static str> {
    match name {
        _ if name.trim().is_empty() => Some("can't be blank"),
        _ if name.chars().count() > LONGEST_NAME => Some("is too long (maximum is 255 characters)"),
        _ if deceives(name) => Some("can't hold control characters"),
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
    fn a_name_says_something_and_hides_nothing() {
        for good in ["Ada", "é", "日本", &"é".repeat(255)] {
            assert_eq!(name_fault(good), None, "{good}");
        }
        for bad in ["", " \t", "a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{200b}b", &"é".repeat(256)] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }
}

//! Rules about passwords. Hashing itself is the server's (it costs time and must be bounded).

use std::borrow::Cow;
use std::time::Duration;

use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

mod rule;

pub use rule::{Fault, Holder, fault};

/// Longest password, in bytes of its normal form. Longer ones are wrong without being hashed, so that length cannot be
/// used to keep us busy (T14).
pub const LONGEST_BYTES: usize = 1024;

/// What is typed may be longer than its normal form: in UTF-8 at most three times for every letter there is. Beyond this
/// it is wrong without being normalised.
const LONGEST_TYPED: usize = 4 * LONGEST_BYTES;

/// Shortest that may be chosen, in characters of its normal form (rest-api.md USER-015).
pub const SHORTEST_CHARACTERS: usize = 8;

/// When password sign-in of an account locks (authentication.md 6.5). A lock stops nothing else, so that guessing
/// cannot switch off somebody's tokens.
#[derive(Clone, Copy, Debug)]
pub struct Lockout {
    /// So many consecutive wrong passwords lock.
    pub attempts: i64,
    /// How long the lock lasts.
    pub period: Duration,
}

impl Default for Lockout {
    fn default() -> Self {
        Self { attempts: 10, period: Duration::from_secs(600) }
    }
}

/// The form in which a password is set and checked: NFC (Unicode Standard Annex 15), since keyboards spell the same letter
/// in different ways. `None`: it is too long, in either form.
pub fn normalized(typed: &str) -> Option<Cow<'_, str>> {
    if typed.len() > LONGEST_TYPED {
        return None;
    }
    let normal = match is_nfc_quick(typed.chars()) {
        IsNormalized::Yes => Cow::Borrowed(typed),
        IsNormalized::No | IsNormalized::Maybe => Cow::Owned(typed.nfc().collect()),
    };
    (normal.len() <= LONGEST_BYTES).then_some(normal)
}

/// Whether two people, or one on two keyboards, typed the same password.
pub fn same(one: &str, other: &str) -> bool {
    one == other || normalized(one).is_some_and(|one| normalized(other).is_some_and(|other| one == other))
}

/// What is wrong with the password of a seed, as on the wire. Tests may have simple passwords, so only the bounds count that
/// passwords had before there was a rule ([`fault`]).
pub fn seed_fault(password: &str) -> Option<&'static str> {
    match normalized(password) {
        None => Some("is too long (maximum is 1024 bytes)"),
        Some(normal) if normal.chars().count() < SHORTEST_CHARACTERS => Some(Fault::TooShort.text()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_password_in_a_seed() {
        assert_eq!(seed_fault("1234567"), Some("is too short (minimum is 8 characters)"));
        assert_eq!(seed_fault("éééééééé"), None);
        assert_eq!(seed_fault(&"x".repeat(1024)), None);
        assert!(seed_fault(&"x".repeat(1025)).is_some());
        // Of the normal form: eight letters typed as sixteen characters, and 1,020 bytes typed as 3,060.
        assert_eq!(seed_fault(&"e\u{301}".repeat(7)), Some("is too short (minimum is 8 characters)"));
        assert_eq!(seed_fault(&"e\u{301}".repeat(8)), None);
        assert_eq!(seed_fault(&"\u{1112}\u{1161}\u{11ab}".repeat(340)), None);
        assert!(seed_fault(&"\u{1112}\u{1161}\u{11ab}".repeat(342)).is_some());
        // Of the normal form where that is the longer one.
        assert!(seed_fault(&"\u{958}".repeat(342)).is_some());
    }

    #[test]
    fn a_password_has_one_normal_form() {
        for (typed, normal) in [
            ("", ""),
            ("correct horse", "correct horse"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("cafe\u{301}", "caf\u{e9}"),
            ("\u{212b}", "\u{c5}"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            // Not NFKC: these are other characters, and people may mean them.
            ("\u{fb01}\u{b2}", "\u{fb01}\u{b2}"),
        ] {
            assert_eq!(normalized(typed).as_deref(), Some(normal), "{typed:?}");
            assert_eq!(normalized(normal).as_deref(), Some(normal), "{typed:?}");
            assert!(same(typed, normal) && same(normal, typed));
        }
        assert!(!same("cafe", "caf\u{e9}"));
        assert_eq!(normalized(&"x".repeat(1025)), None);
        assert_eq!(normalized(&"e\u{301}".repeat(4096)), None);
    }

    #[test]
    fn ten_wrong_passwords_lock_for_ten_minutes() {
        let Lockout { attempts, period } = Lockout::default();
        assert_eq!((attempts, period), (10, Duration::from_secs(600)));
    }
}

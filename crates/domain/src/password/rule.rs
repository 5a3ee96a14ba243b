//! What a new password must be (T14). Passwords that are there already, and those of a seed, are not held to it.

use unicode_normalization::UnicodeNormalization;

use super::{SHORTEST_CHARACTERS, normalized};

/// Longest that may be chosen, in characters of its normal form.
const LONGEST_CHARACTERS: usize = 128;

/// Whose password it is. An account without an address has an empty one.
#[derive(Clone, Copy, Debug)]
pub struct Holder<'a> {
    /// The user name.
    pub username: &'a str,
    /// The display name; each word of it counts too.
    pub name: &'a str,
    /// The primary address; its local part counts too.
    pub email: &'a str,
}

/// What is wrong with a new password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Below 8 characters of its normal form.
    TooShort,
    /// Above 128 characters of its normal form.
    TooLong,
    /// It holds a control character.
    ControlCharacter,
    /// A name or the address of its holder, or one of them reversed.
    Personal,
    /// On the list, or nothing but a short text repeated or a sequence such as `abcdefgh`.
    Common,
    /// The account has it already. Told only to somebody who has proven to know it, or who administers the server.
    Old,
}

impl Fault {
    /// After the word "password": what is wrong, and what to do about it.
    pub const fn text(self) -> &'static str {
        match self {
            Self::TooShort => "is too short (minimum is 8 characters)",
            Self::TooLong => "is too long (maximum is 128 characters)",
            Self::ControlCharacter => "can't hold control characters such as tabs or line breaks: leave them out",
            Self::Personal => {
                "is the user name, the name or the e-mail address of the account, perhaps reversed or with digits: \
                 choose one that has nothing to do with them"
            }
            Self::Common => "is too easy to guess: choose another one, such as four words that don't belong together",
            Self::Old => "is the one that the account has already: choose a new one",
        }
    }
}

/// What is wrong with a password that is chosen for this account, if anything is.
pub fn fault(password: &str, holder: &Holder<'_>) -> Option<Fault> {
    let Some(normal) = normalized(password) else { return Some(Fault::TooLong) };
    match normal.chars().count() {
        0..SHORTEST_CHARACTERS => return Some(Fault::TooShort),
        SHORTEST_CHARACTERS..=LONGEST_CHARACTERS => {}
        _ => return Some(Fault::TooLong),
    }
    if normal.chars().any(char::is_control) {
        return Some(Fault::ControlCharacter);
    }
    let folded = folded(&normal);
    if holder.values().any(|value| is_derived(&folded, value)) {
        return Some(Fault::Personal);
    }
    let common = is_listed(&folded) || is_repeated(&folded) || is_sequence(&folded) || is_derived(&folded, PRODUCT);
    common.then_some(Fault::Common)
}

impl<'a> Holder<'a> {
    fn values(self) -> impl Iterator<Item = &'a str> {
        let local_part = self.email.split_once('@').map_or("", |(local_part, _)| local_part);
        [self.username, self.name, self.email, local_part].into_iter().chain(self.name.split_whitespace())
    }
}

/// Without regard to case, width and the like. `ß` is `ss`, and both forms of the small sigma are one.
fn folded(text: &str) -> String {
    text.nfkc().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Whether a folded password is this value or its reverse. Punctuation does not count, and neither do a few digits around
/// it.
fn is_derived(password: &str, value: &str) -> bool {
    let value = folded(value);
    let is = |password: &str, value: &str| {
        !value.is_empty() && (password == value || value.chars().rev().eq(password.chars()))
    };
    let (letters, value_letters) = (alphanumeric(password), alphanumeric(&value));
    let around = letters.chars().count().saturating_sub(value_letters.chars().count());
    is(password.trim(), value.trim())
        || is(&letters, &value_letters)
        || around < SHORTEST_CHARACTERS && is(letters.trim_matches(char::is_numeric), &value_letters)
}

fn alphanumeric(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// Whether a folded password is on the list, perhaps with punctuation around it.
fn is_listed(password: &str) -> bool {
    let spaceless = password.trim();
    let bare = password.trim_matches(|c: char| !c.is_alphanumeric());
    COMMON.lines().any(|common| common == spaceless || common == bare)
}

/// Whether it repeats a text that would be too short by itself.
fn is_repeated(password: &str) -> bool {
    let characters: Vec<char> = password.chars().collect();
    let repeats = |unit: usize| characters.iter().zip(&characters[unit..]).all(|(one, next)| one == next);
    (1..SHORTEST_CHARACTERS).any(|unit| 2 * unit <= characters.len() && repeats(unit))
}

/// Whether each character follows the one before it, upwards or downwards.
fn is_sequence(password: &str) -> bool {
    let follows = |step: i64| {
        let codes = password.chars().map(|c| i64::from(u32::from(c)));
        codes.clone().zip(codes.skip(1)).all(|(one, next)| next - one == step)
    };
    follows(1) || follows(-1)
}

/// The first password that comes to mind in front of the sign-in page.
const PRODUCT: &str = "tollhouse";

/// One a line, folded. Where they are from: `data/README.md`.
const COMMON: &str = include_str!("../../data/common_passwords.txt");

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Holder<'_> =
        Holder { username: "ada.lovelace", name: "Ada King Lovelace", email: "countess@example.test" };

    #[test]
    fn t14_the_bounds_of_a_new_password() {
        for (password, expected) in [
            ("", Some(Fault::TooShort)),
            ("xk4!vQ2", Some(Fault::TooShort)),
            ("xk4!vQ2z", None),
            // Characters count, not bytes, and those of the normal form.
            ("\u{e9}\u{df}\u{1f512}\u{1f5dd}x\u{43b}\u{540d}q", None),
            ("na\u{ef}ve th", None),
            ("nai\u{308}ve t", Some(Fault::TooShort)),
        ] {
            assert_eq!(fault(password, &ADA), expected, "{password:?}");
        }
        let long = |count: usize| "correct horse, battery ".chars().cycle().take(count).collect::<String>();
        assert_eq!(fault(&long(128), &ADA), None);
        assert_eq!(fault(&long(129), &ADA), Some(Fault::TooLong));
        let wide = |i: u32| char::from_u32(0x1f300 + i * i % 80).expect("a character");
        assert_eq!(fault(&(0..128).map(wide).collect::<String>(), &ADA), None, "512 bytes");
        assert_eq!(fault(&(0..129).map(wide).collect::<String>(), &ADA), Some(Fault::TooLong));
        assert_eq!(fault(&"e\u{301}x".repeat(65), &ADA), Some(Fault::TooLong));
        for length in [1025, 5000, 1 << 20] {
            assert_eq!(fault(&long(length), &ADA), Some(Fault::TooLong), "{length}");
        }
        for control in ["\0", "\t", "\n", "\r", "\u{1b}", "\u{7f}", "\u{85}"] {
            assert_eq!(fault(&format!("battery{control}staple"), &ADA), Some(Fault::ControlCharacter), "{control:?}");
        }
    }

    #[test]
    fn t14_a_common_password_is_refused() {
        for common in [
            "password",
            "PASSWORD",
            "Password1",
            "12345678",
            "87654321",
            "1234567890",
            "qwertyuiop",
            "iloveyou",
            "trustno1",
            "1q2w3e4r",
            "P@ssw0rd",
            "changeme",
            "administrator",
            " password ",
            "password!",
            "Password1!",
            "*password?",
            "\u{ff50}assword",
            // Repeated, or in sequence.
            "        ",
            "00000000",
            "........",
            "asdfasdf",
            "xyzwxyzwxyzw",
            "abcabcabca",
            "abcdefghijkl",
            "98765432",
            "\u{43b}\u{43b}\u{43b}\u{43b}\u{43b}\u{43b}\u{43b}\u{43b}",
            "tollhouse",
            "Tollhouse1",
            "esuohllot",
        ] {
            assert_eq!(fault(common, &ADA), Some(Fault::Common), "{common:?}");
        }
        for good in [
            "correct horse",
            "battery staple",
            "xk4!vQ2x",
            "passwords of harbours",
            "12345678 harbours",
            "tollhouse by the sea",
        ] {
            assert_eq!(fault(good, &ADA), None, "{good:?}");
        }
    }

    #[test]
    fn t14_names_and_the_address_are_no_passwords() {
        for personal in [
            "ada.lovelace",
            "ADA.Lovelace",
            "adalovelace",
            "ecalevol.ada",
            "ada_lovelace!",
            "ada.lovelace1815",
            "12ada.lovelace34",
            "Ada King Lovelace",
            "adakinglovelace",
            "ecalevoL gniK adA",
            "lovelace",
            "ecalevol",
            "Lovelace1815",
            "countess@example.test",
            "COUNTESS@EXAMPLE.TEST",
            "tset.elpmaxe@ssetnuoc",
            "countess",
            "countess99",
            "ssetnuoc",
            "\u{ff4c}ovelace",
        ] {
            assert_eq!(fault(personal, &ADA), Some(Fault::Personal), "{personal:?}");
        }
        for good in
            ["ada likes lovely lace", "lovelace 8264917351029385", "example.test harbours", "the countess of lovelace"]
        {
            assert_eq!(fault(good, &ADA), None, "{good:?}");
        }
        let sharp = Holder {
            username: "weiss",
            name: "Wei\u{df}e Stra\u{df}e \u{3a3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c2}",
            email: "",
        };
        for personal in [
            "WEISSE STRASSE \u{3a3}\u{38a}\u{3a3}\u{3a5}\u{3a6}\u{39f}\u{3a3}",
            "weiss123",
            "\u{3c3}\u{3af}\u{3c3}\u{3c5}\u{3c6}\u{3bf}\u{3c3}9",
        ] {
            assert_eq!(fault(personal, &sharp), Some(Fault::Personal), "{personal:?}");
        }
        // Nothing is derived from what is not there.
        let none = Holder { username: "", name: "", email: "" };
        assert_eq!(fault("xk4!vQ2z", &none), None);
        assert_eq!(fault("!?*#+-_/", &Holder { name: "!?*#+-_/", ..none }), Some(Fault::Personal));
    }

    #[test]
    fn the_list_is_folded_and_long() {
        let words: Vec<&str> = COMMON.lines().collect();
        assert!(words.len() > 10_000, "{}", words.len());
        assert!(words.is_sorted_by(|one, next| one < next));
        for word in words {
            assert!(word.len() >= SHORTEST_CHARACTERS && word == folded(word) && word == word.trim(), "{word:?}");
        }
    }

    #[test]
    fn t14_a_text_that_is_too_short_by_itself_is_no_password_when_repeated() {
        for (password, expected) in [
            ("xk4!vQ2xk4!vQ2", Some(Fault::Common)),
            ("xk4!vQ2xk4!vQ2xk4", Some(Fault::Common)),
            // Less than twice, and a text that is long enough.
            ("xk4!vQ2xk", None),
            ("xk4!vQ2zxk4!vQ2z", None),
            // Two characters that are one when width is left out: less than eight remain.
            ("\u{ff76}\u{ff9e}\u{ff77}\u{ff9e}\u{ff78}\u{ff9e}\u{ff79}\u{ff9e}", None),
        ] {
            assert_eq!(fault(password, &ADA), expected, "{password:?}");
        }
    }

    #[test]
    fn t14_a_sequence_is_no_password_in_either_direction() {
        for (password, expected) in [
            ("fghijklmnop", Some(Fault::Common)),
            ("zyxwvutsrq", Some(Fault::Common)),
            ("\u{431}\u{432}\u{433}\u{434}\u{435}\u{436}\u{437}\u{438}", Some(Fault::Common)),
            ("\u{438}\u{437}\u{436}\u{435}\u{434}\u{433}\u{432}\u{431}", Some(Fault::Common)),
            ("fghijklmnoq", None),
            ("bdfhjlnprt", None),
        ] {
            assert_eq!(fault(password, &ADA), expected, "{password:?}");
        }
    }

    #[test]
    fn t14_a_few_digits_around_a_name_are_less_than_eight() {
        let numbered = Holder { username: "harbour99", ..ADA };
        for (password, holder, expected) in [
            ("lovelace8264917", &ADA, Some(Fault::Personal)),
            ("826lovelace4917", &ADA, Some(Fault::Personal)),
            ("lovelace82649173", &ADA, None),
            ("lovelacexyzzy", &ADA, None),
            // Digits that belong to the name are none around it.
            ("harbour_99", &numbered, Some(Fault::Personal)),
            ("99ruobrah!", &numbered, Some(Fault::Personal)),
            ("harbour98", &numbered, None),
        ] {
            assert_eq!(fault(password, holder), expected, "{password:?}");
        }
    }

    #[test]
    fn a_fault_says_what_is_wrong_after_the_word_password() {
        for (fault, part) in [
            (Fault::TooShort, "is too short (minimum is 8 characters)"),
            (Fault::TooLong, "is too long (maximum is 128 characters)"),
            (Fault::ControlCharacter, "control characters"),
            (Fault::Personal, "the user name, the name or the e-mail address"),
            (Fault::Common, "too easy to guess"),
            (Fault::Old, "the one that the account has already"),
        ] {
            assert!(fault.text().contains(part), "{fault:?}");
        }
    }
}

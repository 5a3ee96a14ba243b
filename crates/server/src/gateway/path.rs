//! Whether a path can be judged at all (T8). Whoever is behind the proxy may decode it, normalise it, or cut it where we
//! would not. So a path is judged only if it reads the same to all of them; where it does not, each of its readings has
//! to lead to the very same rule, and that rule has to admit it.

use std::borrow::Cow;

/// A path that leads nowhere else, however it is read, but for its oddities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path<'r> {
    /// As the proxy was sent it.
    pub sent: &'r str,
    /// Decoded, but for those of [`Oddity`] that are escapes: what rules are compared with.
    pub decoded: Cow<'r, str>,
    /// What some would read in another way.
    pub oddities: Oddities,
}

/// A way to read a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The path in this reading.
    pub text: String,
    /// Whether escapes in it were decoded.
    pub form: Form,
}

/// Whether escapes are taken for what they mean, or for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Escapes are decoded.
    Decoded,
    /// With the digits of escapes in capitals.
    Encoded,
}

/// What some take for more than a character of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// `;`, encoded or not: some cut parameters off there.
    Semicolon = 1,
    /// `%2f`, to some a `/` like any other.
    Slash = 2,
    /// `%3f` and `%23`: some decode a path, and then take it apart once more.
    Question = 4,
    /// `%23`; see [`Oddity::Question`].
    Hash = 8,
}

/// A set of [`Oddity`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities(u8);

/// The path is not judged. There is nothing else to say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crooked;

impl<'r> Path<'r> {
    /// Fails for a path that some read in a way that leads elsewhere (T8).
    pub fn read(sent: &'r str) -> Result<Self, Crooked> {
        if !sent.starts_with('/') || !is_straight(sent) {
            return Err(Crooked);
        }
        let bytes = sent.as_bytes();
        let mut oddities = Oddities::default();
        let mut decoded: Option<Vec<u8>> = None;
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let rest = &bytes[at + 1..];
            at += 1;
            match byte {
                b'%' => {
                    let known = decoded.get_or_insert_with(|| bytes[..at - 1].to_vec());
                    let means = escape(rest).ok_or(Crooked)?;
                    at += 2;
                    match means {
                        b'/' => oddities.note(Oddity::Slash, known, "%2F"),
                        b'?' => oddities.note(Oddity::Question, known, "%3F"),
                        b'#' => oddities.note(Oddity::Hash, known, "%23"),
                        b';' => oddities.note(Oddity::Semicolon, known, ";"),
                        // Decoded once more it would be another path.
                        b'%' if escape(&rest[2..]).is_some() || is_utf16_escape(&rest[2..]) => return Err(Crooked),
                        b'\\' => return Err(Crooked),
                        _ if is_unreserved(means) || means.is_ascii_control() => return Err(Crooked),
                        _ => known.push(means),
                    }
                    continue;
                }
                b';' => oddities.0 |= Oddity::Semicolon as u8,
                b'\\' | b'?' | b'#' => return Err(Crooked),
                _ if !byte.is_ascii_graphic() => return Err(Crooked),
                _ => {}
            }
            if let Some(known) = &mut decoded {
                known.push(byte);
            }
        }
        let decoded = match decoded {
            None => Cow::Borrowed(sent),
            // Overlong forms of `/` and `.` are no UTF-8.
            Some(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| Crooked)?),
        };
        // What was sent is printable ASCII; only escapes can hide something.
        if matches!(decoded, Cow::Owned(_)) && (decoded.contains(is_unseen) || !is_straight(&decoded)) {
            return Err(Crooked);
        }
        Ok(Self { sent, decoded, oddities })
    }

    /// Every other way to read it; none for a path without escapes and oddities.
    pub fn readings(&self) -> Result<Vec<Reading>, Crooked> {
        if self.decoded == self.sent && self.oddities.is_empty() {
            return Ok(Vec::new());
        }
        let decoded = self.oddities.readings(&self.decoded).into_iter().map(|text| (text, Form::Decoded));
        let encoded = self.oddities.readings(&in_capitals(self.sent)).into_iter().map(|text| (text, Form::Encoded));
        let readings = decoded.skip(1).chain(encoded).map(|(text, form)| Reading { text, form });
        let readings: Vec<Reading> = readings.collect();
        if readings.iter().all(|reading| is_straight(&reading.text)) { Ok(readings) } else { Err(Crooked) }
    }
}

impl Oddities {
    /// By the words of a rules file.
    pub fn named(word: &str) -> Option<Self> {
        let oddity = match word.to_ascii_lowercase().as_str() {
            ";" => Oddity::Semicolon,
            "%2f" => Oddity::Slash,
            "%3f" => Oddity::Question,
            "%23" => Oddity::Hash,
            _ => return None,
        };
        Some(Self(oddity as u8))
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every one of them is admitted.
    pub fn is_within(self, admitted: Self) -> bool {
        self.0 & !admitted.0 == 0
    }

    /// Those of both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn note(&mut self, oddity: Oddity, decoded: &mut Vec<u8>, spelt: &str) {
        self.0 |= oddity as u8;
        decoded.extend_from_slice(spelt.as_bytes());
    }

    /// The text itself, then each way to take these for more than characters, alone and together.
    fn readings(self, text: &str) -> Vec<String> {
        let mut readings = vec![text.to_owned()];
        let mut also = |oddity: Oddity, reads: fn(&str) -> Vec<String>| {
            if self.0 & oddity as u8 != 0 {
                let more: Vec<String> = readings.iter().flat_map(|known| reads(known)).collect();
                readings.extend(more);
            }
        };
        also(Oddity::Slash, |path| vec![path.replace("%2F", "/")]);
        also(Oddity::Question, |path| vec![before(path, "%3F").to_owned()]);
        also(Oddity::Hash, |path| vec![before(path, "%23").to_owned()]);
        also(Oddity::Semicolon, |path| {
            let (above, last) = path.rsplit_once('/').unwrap_or(("", path));
            let each: Vec<&str> = path.split('/').map(|segment| before(segment, ";")).collect();
            vec![each.join("/"), format!("{above}/{}", before(last, ";")), before(path, ";").to_owned()]
        });
        readings
    }
}

/// No segment is empty, but perhaps the last, and none leads elsewhere. Some file systems drop spaces at the end of a
/// name, so `.. ` leads where `..` does.
fn is_straight(path: &str) -> bool {
    let leads_elsewhere = |segment: &str| matches!(segment.trim_end_matches(' '), "." | "..");
    !path.contains("//") && !path.split('/').any(leads_elsewhere)
}

/// Controls of every kind, what ends a line to some, and a mark that some drop.
fn is_unseen(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// What needs no escape, so that one is there to hide it (RFC 3986 section 2.3).
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What the two digits after `%` mean.
fn escape(after: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*after.get(at)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

/// After a `%`: `u002e`, as some servers still write a `.`.
fn is_utf16_escape(after: &[u8]) -> bool {
    let digits = after.strip_prefix(b"u").or_else(|| after.strip_prefix(b"U"));
    digits.and_then(|digits| digits.get(..4)).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// `%c3` and `%C3` are one spelling.
pub fn in_capitals(path: &str) -> String {
    let mut pieces = path.split('%');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |path, piece| {
        let (digits, rest) = piece.split_at_checked(2).unwrap_or((piece, ""));
        path + "%" + &digits.to_ascii_uppercase() + rest
    })
}

fn before<'t>(text: &'t str, mark: &str) -> &'t str {
    text.split(mark).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_a_path_is_judged_only_if_it_leads_nowhere_else() {
        for straight in [
            "/",
            "/a",
            "/a/",
            "/a.b/..c/d../...",
            "/~a-b_c",
            "/a%20b",
            "/a%20/%20",
            "/caf%c3%a9",
            "/100%25",
            "/100%25u",
            "/100%25up",
            "/%c2%a0",
            "/%e2%80%a7",
            "/a:b@c,d=e+f(g)*!$&'",
        ] {
            let path = Path::read(straight).unwrap_or_else(|_| panic!("{straight}"));
            assert!(path.oddities.is_empty(), "{straight}");
        }
        for crooked in [
            "",
            "a",
            "*",
            "http://h/a",
            "//",
            "//a",
            "/a//b",
            "/a//",
            "/.",
            "/..",
            "/./a",
            "/a/.",
            "/a/../b",
            "/a/..",
            "/%2e",
            "/%2E%2e/a",
            "/a/.%2e/b",
            "/%61",
            "/%5A",
            "/%30",
            "/%2d%5f%7e",
            "/\\",
            "/a\\..\\b",
            "/%5c",
            "/%5Ca",
            "/%00",
            "/%0a",
            "/%1f",
            "/%7f",
            "/a b",
            "/a\tb",
            "/a\n",
            "/\u{e9}",
            "/a?b",
            "/a#b",
            "/%",
            "/%2",
            "/%g0",
            "/%0g",
            "/% 1",
            "/%%",
            "/%252e",
            "/%2500",
            "/%25%32%65",
            "/%25c0%25af",
            "/%c0%af",
            "/%c0%ae",
            "/%e0%80%af",
            "/%ff",
            "/%c3",
            "/%c3/%a9",
            "/%ed%a0%80",
            "/%f4%90%80%80",
            "/%uff0e",
            "/%25u002e",
            "/%25UFF0E/a",
            "/a/..%20/b",
            "/.%20%20",
            "/%c2%80",
            "/a%C2%85",
            "/%c2%9f",
            "/a%e2%80%a8b",
            "/%E2%80%A9",
            "/%ef%bb%bfa",
        ] {
            assert_eq!(Path::read(crooked), Err(Crooked), "{crooked}");
        }
    }

    #[test]
    fn t8_a_path_is_compared_as_it_is_decoded_but_for_its_oddities() {
        let decoded = |sent| Path::read(sent).map(|path| path.decoded.into_owned());
        assert_eq!(decoded("/caf%C3%a9%20%3a/%25"), Ok("/caf\u{e9} :/%".to_owned()));
        assert_eq!(decoded("/a%2fb%3F%23c%3b;"), Ok("/a%2Fb%3F%23c;;".to_owned()));
        assert!(matches!(Path::read("/a").expect("straight").decoded, Cow::Borrowed("/a")));
        assert_eq!(in_capitals("/%c3%a9a%2f%"), "/%C3%A9a%2F%");
    }

    #[test]
    fn t8_every_way_to_read_what_is_odd() {
        let readings = |sent: &str| {
            let readings = Path::read(sent).expect(sent).readings()?;
            Ok::<Vec<String>, Crooked>(readings.into_iter().map(|reading| reading.text).collect())
        };
        assert_eq!(readings("/a/b"), Ok(vec![]));
        assert_eq!(readings("/a%20b"), Ok(vec!["/a%20b".to_owned()]), "some do not decode");
        let all = readings("/a%2fb;c/d%3Fe").expect("straight");
        for reading in ["/a/b;c/d%3Fe", "/a/b/d", "/a/b;c/d", "/a%2Fb", "/a%2Fb/d%3Fe", "/a/b", "/a%2Fb;c/d"] {
            assert!(all.iter().any(|text| text == reading), "{reading} of {all:?}");
        }
        for crooked in [
            "/a%2f%2fb",
            "/%2fa",
            "/a/%2fb",
            "/a%2f/b",
            "/a/..%2fb",
            "/..%2f",
            "/a%2f..",
            "/a%2f..%2fb",
            "/..;/a",
            "/a/..;x/b",
            "/.;",
            "/;/a",
            "/a/;x/b",
            "/a/..%3b/b",
            "/a/..%3fb",
            "/a/..%23b",
            "/a/.;%2f",
            "/a;%2f..",
        ] {
            assert_eq!(readings(crooked), Err(Crooked), "{crooked}");
        }
        assert!(readings("/a%2f").is_ok() && readings("/a/;").is_ok());
    }

    #[test]
    fn oddities_have_names() {
        assert!(Oddities::named("%2F").is_some_and(|named| named == Oddities(2)));
        assert!(["", "/", "%5c", "%00", "//", "%2f "].iter().all(|word| Oddities::named(word).is_none()));
        let both = Oddities(1).and(Oddities(2));
        assert!(Oddities(2).is_within(both) && !both.is_within(Oddities(2)) && Oddities(0).is_within(Oddities(0)));
    }
}

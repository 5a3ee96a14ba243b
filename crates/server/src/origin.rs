//! Hosts and origins: which text is a host with an optional port (RFC 9110 section 7.2), and the one spelling in which
//! two of them are compared.

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

/// Scheme, host and port, in the one spelling that they are compared in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin<'r> {
    /// Whether the scheme is https; otherwise it is http.
    pub https: bool,
    /// In lower case; an IPv6 address stands in brackets.
    pub host: Cow<'r, str>,
    /// The port, also where the scheme has it by itself.
    pub port: u16,
}

impl<'r> Origin<'r> {
    /// `authority`: a host, perhaps with a port.
    pub fn read(https: bool, authority: &'r str) -> Option<Self> {
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, digits)) if !digits.ends_with(']') => (host, Some(port(digits)?)),
            _ => (authority, None),
        };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Some(Self { https, host: host_name(host)?, port })
    }

    /// Whether this is what a browser calls it.
    pub fn is_spelt(&self, text: &str) -> bool {
        let scheme = if self.https { "https://" } else { "http://" };
        let Some(authority) = text.strip_prefix(scheme) else { return false };
        Origin::read(self.https, authority).is_some_and(|known| known == *self)
    }
}

/// As a browser spells it: the port that the scheme has by itself is left out.
impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = if self.https { ("https", 443) } else { ("http", 80) };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// A host in lower case, IPv6 in brackets and in its shortest form.
pub fn host_name(text: &str) -> Option<Cow<'_, str>> {
    if let Some(v6) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let v6: Ipv6Addr = v6.parse().ok()?;
        return Some(format!("[{v6}]").into());
    }
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if text.is_empty() || text.len() > 255 || !text.bytes().all(known) {
        return None;
    }
    let upper = text.bytes().any(|b| b.is_ascii_uppercase());
    Some(if upper { text.to_ascii_lowercase().into() } else { text.into() })
}

/// Digits alone, and none too many.
pub fn port(digits: &str) -> Option<u16> {
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|port| plain && *port > 0)
}

/// Whether a field value is `uri-host [":" port]` (RFC 3986 section 3.2, RFC 9110 section 7.2). The host must not be
/// empty, as no http URI has an empty one. `IPvFuture` is refused: it has no version. Runs for every request, so it
/// allocates nothing.
pub fn is_authority(text: &[u8]) -> bool {
    let (host, rest) = match text {
        [b'[', rest @ ..] => match rest.iter().position(|b| *b == b']') {
            Some(end) => {
                let address = std::str::from_utf8(&rest[..end]).ok().and_then(|text| text.parse::<Ipv6Addr>().ok());
                (address.is_some(), &rest[end + 1..])
            }
            None => return false,
        },
        _ => {
            let end = text.iter().position(|b| *b == b':').unwrap_or(text.len());
            (is_reg_name(&text[..end]), &text[end..])
        }
    };
    host && match rest {
        [] => true,
        [b':', digits @ ..] => is_port(digits),
        _ => false,
    }
}

/// `reg-name` of RFC 3986 section 3.2.2, not empty and of at most 255 bytes.
fn is_reg_name(text: &[u8]) -> bool {
    let mut rest = text;
    while let [first, more @ ..] = rest {
        rest = match (first, more) {
            (b'%', [high, low, more @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => more,
            (b'%', _) => return false,
            _ if first.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(first) => more,
            _ => return false,
        };
    }
    (1..=255).contains(&text.len())
}

/// `port` of RFC 3986 section 3.2.3 may be empty; a number above 65535 is none.
fn is_port(digits: &[u8]) -> bool {
    digits.len() <= 5
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().fold(0_u32, |port, digit| port * 10 + u32::from(digit - b'0')) <= u32::from(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_in_one_spelling() {
        let read = |authority| Origin::read(true, authority).map(|origin| (origin.host.into_owned(), origin.port));
        for (authority, host, port) in [
            ("api.test", "api.test", 443),
            ("API.test:1", "api.test", 1),
            ("a_b-c.d.", "a_b-c.d.", 443),
            ("127.0.0.1:65535", "127.0.0.1", 65535),
            ("[::1]", "[::1]", 443),
            ("[0:0::1]:80", "[::1]", 80),
        ] {
            assert_eq!(read(authority), Some((host.to_owned(), port)), "{authority}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "a b",
            "a,b",
            "a/b",
            "u@a",
            "a?",
            "a#",
            "a%2e",
            "\u{e9}",
            "[::1",
            "::1",
            "[::1]x",
            "[::1]:",
            "[a]",
            "[]",
            "[::1%eth0]",
            &"a".repeat(256),
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_calls_it() {
        let at = |https, authority| Origin::read(https, authority).expect("an origin");
        let (plain, other) = (at(true, "api.test"), at(false, "api.test:8000"));
        for (text, spelt) in [
            ("https://api.test", true),
            ("https://API.test:443", true),
            ("http://api.test", false),
            ("https://api.test:8443", false),
            ("https://api.test.evil.test", false),
            ("https://api.test/", false),
            ("null", false),
            ("", false),
        ] {
            assert_eq!(plain.is_spelt(text), spelt, "{text}");
        }
        assert!(other.is_spelt("http://api.test:8000") && !other.is_spelt("http://api.test"));
    }

    #[test]
    fn a_host_field_is_a_host_with_an_optional_port() {
        for good in [
            "git.example.test",
            "GIT.example.test:8080",
            "a_b.test",
            "127.0.0.1:65535",
            "[::1]",
            "[2001:DB8::1]:443",
            "x",
            "x:",
            "x:0",
            "caf%C3%A9.test",
            "a.test.",
            "a,b",
            &"a".repeat(255),
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "a b",
            "a:b",
            "a:65536",
            "a:000080",
            "a:-1",
            "a:80:81",
            "a/b",
            "a?b",
            "a#b",
            "u@a",
            "a\\b",
            "http://a",
            "a%2",
            "a%zz",
            "::1",
            "[::1",
            "::1]",
            "[]",
            "[::1]x",
            "[::1]:x",
            "[::1%25eth0]",
            "[v1.a]",
            "[127.0.0.1]",
            "caf\u{e9}.test",
            "a\tb",
            "a\0",
            "\"a\"",
            &"a".repeat(256),
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(!is_authority(b"\xff"));
    }
}

//! Proof Key for Code Exchange (RFC 7636): whoever redeems a code shows that they asked for it.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What came with the request for a code, as it is kept: always in the form that S256 gives a verifier (RFC 7636
/// section 4.2). The challenge of `plain` is the verifier itself, so it is hashed before it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge(String);

/// How a challenge is made of a verifier (RFC 7636 section 4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The verifier itself.
    Plain,
    /// base64url of the SHA-256 of the verifier, without padding.
    S256,
}

impl Method {
    /// As on the wire; case-sensitive (RFC 7636 section 4.3).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::S256 => "S256",
        }
    }
}

/// How strictly challenges and verifiers are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// S256 alone, and lengths and alphabets as RFC 7636 sections 4.1 and 4.2 say.
    Rfc,
    /// `plain` too, and any text that is not too long (oauth.md 5.2; `compat.pkce = "gitlab"`).
    Lax,
}

impl Strictness {
    /// The methods that may be used, as discovery lists them.
    pub const fn methods(self) -> &'static [Method] {
        match self {
            Self::Rfc => &[Method::S256],
            Self::Lax => &[Method::Plain, Method::S256],
        }
    }

    /// The method of that name, if it may be used.
    pub fn method(self, name: &str) -> Option<Method> {
        self.methods().iter().copied().find(|method| method.as_str() == name)
    }
}

impl Challenge {
    /// `None`: it can be no challenge.
    pub fn parse(method: Method, value: &str, strictness: Strictness) -> Option<Self> {
        let shaped = match strictness {
            Strictness::Rfc => value.len() == S256_LENGTH && value.bytes().all(is_base64url),
            Strictness::Lax => !value.is_empty() && value.len() <= LONGEST,
        };
        shaped.then(|| Self::kept(method, value))
    }

    /// From a row. Older versions kept that of `plain` in clear.
    pub fn kept(method: Method, value: &str) -> Self {
        match method {
            Method::Plain => Self(s256(value)),
            Method::S256 => Self(value.to_owned()),
        }
    }

    /// In the form of S256.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn is_met_by(&self, verifier: &str) -> bool {
        s256(verifier).as_bytes().ct_eq(self.0.as_bytes()).into()
    }
}

/// Whether the presented verifier fits the challenge of the grant: both are there and match, or neither is there.
pub fn fits(challenge: Option<&Challenge>, verifier: Option<&str>, strictness: Strictness) -> bool {
    match (challenge, verifier) {
        (Some(challenge), Some(verifier)) => is_verifier(verifier, strictness) && challenge.is_met_by(verifier),
        (None, None) => true,
        _ => false,
    }
}

fn is_verifier(text: &str, strictness: Strictness) -> bool {
    strictness == Strictness::Lax
        || (VERIFIER_LENGTHS.contains(&text.len()) && text.bytes().all(|b| is_base64url(b) || b == b'.' || b == b'~'))
}

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-' || b == b'_'
}

fn s256(verifier: &str) -> String {
    BASE64URL_NOPAD.encode(&Sha256::digest(verifier))
}

/// Characters of what S256 gives (RFC 7636 section 4.2).
const S256_LENGTH: usize = 43;
/// Characters of a verifier (RFC 7636 section 4.1).
const VERIFIER_LENGTHS: std::ops::RangeInclusive<usize> = 43..=128;
/// Bytes of a challenge that is read laxly.
const LONGEST: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const S256: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    #[test]
    fn the_known_answer_of_rfc_7636_appendix_b() {
        let challenge = Challenge::parse(Method::S256, S256, Strictness::Rfc).expect("a challenge");
        assert!(challenge.is_met_by(VERIFIER) && !challenge.is_met_by("x") && !challenge.is_met_by(S256));
        assert!(fits(Some(&challenge), Some(VERIFIER), Strictness::Rfc));
        assert!(fits(None, None, Strictness::Rfc) && !fits(None, Some(VERIFIER), Strictness::Rfc));
        assert!(!fits(Some(&challenge), None, Strictness::Rfc));
    }

    #[test]
    fn a_plain_challenge_is_kept_hashed() {
        let plain = Challenge::parse(Method::Plain, VERIFIER, Strictness::Lax).expect("a challenge");
        assert_eq!(plain.as_str(), S256);
        assert_eq!(plain, Challenge::kept(Method::Plain, VERIFIER));
        assert!(plain.is_met_by(VERIFIER) && !plain.is_met_by(S256));
        let short = Challenge::parse(Method::Plain, "x", Strictness::Lax).expect("a challenge");
        assert!(fits(Some(&short), Some("x"), Strictness::Lax) && !fits(Some(&short), Some("x"), Strictness::Rfc));
    }

    #[test]
    fn methods_have_a_case_and_plain_a_switch() {
        for (name, rfc, lax) in [
            ("S256", Some(Method::S256), Some(Method::S256)),
            ("plain", None, Some(Method::Plain)),
            ("s256", None, None),
            ("Plain", None, None),
            ("", None, None),
        ] {
            assert_eq!((Strictness::Rfc.method(name), Strictness::Lax.method(name)), (rfc, lax), "{name}");
        }
    }

    #[test]
    fn lengths_and_alphabets() {
        let long = |length: usize| "a".repeat(length);
        for (value, rfc, lax) in [
            (S256.to_owned(), true, true),
            (long(42), false, true),
            (long(43), true, true),
            (long(44), false, true),
            (long(128), false, true),
            (long(129), false, false),
            (String::new(), false, false),
            (format!("{}=", long(42)), false, true),
            (format!("{}+", long(42)), false, true),
            (format!("{}.", long(42)), false, true),
            (format!("{}\u{e9}", long(41)), false, true),
        ] {
            let parsed =
                [Strictness::Rfc, Strictness::Lax].map(|how| Challenge::parse(Method::S256, &value, how).is_some());
            assert_eq!(parsed, [rfc, lax], "{value}");
        }
        for (verifier, rfc) in [
            (long(42), false),
            (long(43), true),
            (long(128), true),
            (long(129), false),
            (format!("{}-._~", long(40)), true),
            (format!("{}+", long(43)), false),
            (format!("{} ", long(43)), false),
            (format!("{}\u{e9}", long(43)), false),
            (String::new(), false),
        ] {
            let challenge = Challenge::kept(Method::Plain, &verifier);
            assert_eq!(fits(Some(&challenge), Some(&verifier), Strictness::Rfc), rfc, "{verifier}");
            assert!(fits(Some(&challenge), Some(&verifier), Strictness::Lax), "{verifier}");
        }
    }
}

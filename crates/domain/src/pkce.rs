//! Proof Key for Code Exchange (RFC 7636): whoever redeems a code shows that they asked for it.

use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What came with the request for a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    pub method: Method,
    pub value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Plain,
    S256,
}

impl Method {
    pub const ALL: [Self; 2] = [Self::Plain, Self::S256];

    /// As on the wire; case-sensitive (RFC 7636 section 4.3).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::S256 => "S256",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl Challenge {
    pub fn is_met_by(&self, verifier: &str) -> bool {
        let shown = match self.method {
            Method::Plain => verifier.to_owned(),
            Method::S256 => BASE64URL_NOPAD.encode(&Sha256::digest(verifier)),
        };
        shown.as_bytes().ct_eq(self.value.as_bytes()).into()
    }
}

/// Whether what a client has shown fits what it was asked for: both, or neither.
pub fn fits(challenge: Option<&Challenge>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (Some(challenge), Some(verifier)) => challenge.is_met_by(verifier),
        (None, None) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_answer_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let value = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned();
        let challenge = Challenge { method: Method::S256, value: value.clone() };
        assert!(challenge.is_met_by(verifier) && !challenge.is_met_by("x") && !challenge.is_met_by(&value));
        let plain = Challenge { method: Method::Plain, value };
        assert!(!plain.is_met_by(verifier) && plain.is_met_by(&plain.value));
        assert!(fits(None, None) && !fits(None, Some("x")) && !fits(Some(&plain), None));
        assert_eq!(Method::parse("s256"), None);
    }
}

//! Secrets: the form that is shown once, and the form that is kept.

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::id::UserId;
use crate::token::{APPLICATION_SECRET, DEPLOY_TOKEN, JOB_TOKEN};

/// A secret that may be shown once. It has no way into a log, an error or a query.
#[derive(Clone)]
pub struct Plaintext(Zeroizing<String>);

impl Plaintext {
    /// Takes a secret over; it is wiped from memory when it is dropped.
    pub fn new(secret: String) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// A new personal access token in the routable form (authentication.md 5.3), from 16 random bytes.
    pub fn personal_access_token(prefix: &str, owner: UserId) -> Self {
        Self::routable(prefix, &random::<16>(), owner)
    }

    /// The successor's secret, derived so that a repeat gets the same answer and the row alone gives nothing
    /// (`docs/protocols/rotation.md` section 4).
    pub fn successor(prefix: &str, presented: &[u8], salt: &[u8; 32], owner: UserId) -> Self {
        Self::routable(prefix, &derive::<16>(presented, salt, "access-token"), owner)
    }

    fn routable(prefix: &str, random: &[u8; 16], owner: UserId) -> Self {
        let text = format!("o:1\nu:{}", base36(owner.0 as u64, 1));
        let mut payload = Zeroizing::new(random.to_vec());
        payload.extend_from_slice(text.as_bytes());
        payload.push(text.len() as u8);
        let payload = Zeroizing::new(BASE64URL_NOPAD.encode(&payload));
        let mut token = format!("{prefix}{}.01.{}", *payload, base36(payload.len() as u64, 2));
        let checksum = crc32fast::hash(token.as_bytes());
        token.push_str(&base36(u64::from(checksum), 7));
        Self::new(token)
    }

    /// A new deploy token: `gldt-` and 20 characters, from 15 random bytes (authentication.md 5.1).
    pub fn deploy_token() -> Self {
        Self::opaque(DEPLOY_TOKEN.prefix)
    }

    /// A new job token: `glcbt-`, the number of a partition, which is always 1 here, `_` and 20 characters, from 15 random
    /// bytes (authentication.md 5.1).
    pub fn job_token() -> Self {
        Self::opaque(&format!("{}1_", JOB_TOKEN.prefix))
    }

    fn opaque(begin: &str) -> Self {
        let random = Zeroizing::new(random::<15>());
        let text = Zeroizing::new(BASE64URL_NOPAD.encode(&*random));
        Self::new(format!("{begin}{}", *text))
    }

    /// A client id, an authorization code, an access or a refresh token: 64 lower-case hexadecimal digits
    /// (authentication.md 5.1).
    pub fn hex() -> Self {
        Self::new(HEXLOWER.encode(&random::<32>()))
    }

    /// A new client secret: `gloas-` and 64 hexadecimal digits (authentication.md 5.1).
    pub fn application_secret() -> Self {
        let random = Zeroizing::new(HEXLOWER.encode(&random::<32>()));
        Self::new(format!("{}{}", APPLICATION_SECRET.prefix, *random))
    }

    /// The secrets of an OAuth successor: access token and refresh token, derived from the refresh token that was
    /// presented (`docs/protocols/rotation.md` section 4).
    pub fn oauth_successor(presented: &[u8], salt: &[u8; 32]) -> (Self, Self) {
        let secret = |purpose| Self::new(HEXLOWER.encode(&derive::<32>(presented, salt, purpose)));
        (secret("oauth-access"), secret("oauth-refresh"))
    }

    /// A new session id: 32 lower-case hexadecimal digits (authentication.md 6.1).
    pub fn session() -> Self {
        Self::new(HEXLOWER.encode(&random::<16>()))
    }

    /// A password for an account that nobody chose one for.
    pub fn password() -> Self {
        Self::new(BASE64URL_NOPAD.encode(&random::<18>()))
    }

    /// The secret in clear. Every caller is a place where it is shown, compared or hashed.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the database keeps of it.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Plaintext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plaintext(***)")
    }
}

/// What is wrong with a token or client secret that somebody chose, as in a seed for tests. It must come through every
/// place in which it may be shown.
pub fn fault(chosen: &str) -> Option<&'static str> {
    if chosen.len() < SHORTEST_CHOSEN {
        return Some("is too short (minimum is 8 bytes)");
    }
    if chosen.len() > LONGEST_CHOSEN {
        return Some("is too long (maximum is 255 bytes)");
    }
    if !chosen.bytes().all(|b| b.is_ascii_graphic()) {
        return Some("can hold only printable ASCII, and no spaces");
    }
    if chosen.starts_with(JOB_TOKEN.prefix) {
        // Where such a one is not accepted, it counts as absent (authentication.md 1.1).
        return Some("can't begin with `glcbt-`, as job tokens do");
    }
    None
}

const SHORTEST_CHOSEN: usize = 8;
const LONGEST_CHOSEN: usize = 255;

/// SHA-256 of a secret: what is kept, and what look-ups go by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of these bytes.
    pub fn of(secret: &[u8]) -> Self {
        Self(Sha256::digest(secret).into())
    }

    /// Reads a digest as the database has it. `None`: it does not have 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Whether it was made of this secret, in constant time.
    pub fn is_of(&self, secret: &[u8]) -> bool {
        self.0.ct_eq(&Self::of(secret).0).into()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({}..)", HEXLOWER.encode(&self.0[..3]))
    }
}

/// The secret behind the CSRF tokens of one session. It is derived from the session id, so the form for
/// signing in costs no row (T13), and a stolen database holds none of them.
pub struct CsrfSecret([u8; 32]);

impl CsrfSecret {
    /// `session_id`: the value of the session cookie.
    pub fn of_session(session_id: &[u8]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"tollhouse/csrf/v1\0");
        hash.update(session_id);
        Self(hash.finalize().into())
    }

    /// A token for one page: base64 of a one-time pad and the secret under that pad (authentication.md 6.4).
    pub fn mask(&self) -> String {
        let pad = random::<32>();
        let mut token = [0; 64];
        for i in 0..32 {
            token[i] = pad[i];
            token[32 + i] = pad[i] ^ self.0[i];
        }
        data_encoding::BASE64URL_NOPAD.encode(&token)
    }

    /// Whether this token was made for this session: the masked form or the raw secret, in either base64.
    pub fn accepts(&self, token: &[u8]) -> bool {
        let trimmed = token.iter().position(|b| *b == b'=').map_or(token, |end| &token[..end]);
        let standard: Vec<u8> = trimmed
            .iter()
            .map(|b| match b {
                b'-' => b'+',
                b'_' => b'/',
                other => *other,
            })
            .collect();
        let Ok(bytes) = data_encoding::BASE64_NOPAD.decode(&standard) else {
            return false;
        };
        let secret: [u8; 32] = match bytes.len() {
            32 => bytes.try_into().unwrap_or_default(),
            64 => std::array::from_fn(|i| bytes[i] ^ bytes[32 + i]),
            _ => return false,
        };
        self.0.ct_eq(&secret).into()
    }
}

/// Random bytes from the operating system. A machine that has none cannot make secrets, so this panics.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

fn derive<const N: usize>(old: &[u8], salt: &[u8; 32], purpose: &str) -> [u8; N] {
    let mut out = [0; N];
    let info = format!("tollhouse/rotation/v1/{purpose}");
    Hkdf::<Sha256>::new(Some(salt), old)
        .expand(info.as_bytes(), &mut out)
        .expect("an output far shorter than the limit of HKDF");
    out
}

fn base36(mut number: u64, least: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    while number > 0 || digits.len() < least {
        digits.push(DIGITS[(number % 36) as usize] as char);
        number /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routable_form_gives_the_known_answer() {
        let random: [u8; 16] = std::array::from_fn(|i| i as u8);
        let token = Plaintext::routable("glpat-", &random, UserId(1));
        assert_eq!(token.reveal(), "glpat-AAECAwQFBgcICQoLDA0OD286MQp1OjEH.01.0w0fn2m3b");
    }

    #[test]
    fn the_successor_gives_the_known_answer() {
        let salt: [u8; 32] = std::array::from_fn(|i| i as u8);
        let token = Plaintext::successor("glpat-", b"glpat-abcdefghijklmnopqrst", &salt, UserId(1));
        assert_eq!(token.reveal(), "glpat-ChEv__KK3o2APMzb_c5ZBG86MQp1OjEH.01.0w1eg2mht");
        let refresh = format!("{:0>64}", 1);
        let (access, refresh) = Plaintext::oauth_successor(refresh.as_bytes(), &salt);
        assert_eq!(access.reveal(), "a90d1f299488764b239a4552d4c98ba954466e8a49f90687d663cb3a5fb6ae2b");
        assert_eq!(refresh.reveal(), "725b9ec0ba5b17e40bf439ae296dd0b88816aaf0fedb1c0299dd5e07d18fa985");
    }

    #[test]
    fn a_csrf_token_counts_for_its_session_alone_in_every_accepted_form() {
        let mine = CsrfSecret::of_session(b"0123456789abcdef0123456789abcdef");
        let other = CsrfSecret::of_session(b"f123456789abcdef0123456789abcdef");
        let token = mine.mask();
        assert_ne!(token, mine.mask(), "masked afresh for each page");
        assert!(mine.accepts(token.as_bytes()));
        assert!(!other.accepts(token.as_bytes()));
        let bytes = BASE64URL_NOPAD.decode(token.as_bytes()).expect("base64");
        assert!(mine.accepts(data_encoding::BASE64.encode(&bytes).as_bytes()));
        assert!(mine.accepts(data_encoding::BASE64.encode(&mine.0).as_bytes()));
        for bad in ["", "=", "x", "AAAA", &token[..40], "\u{e9}"] {
            assert!(!mine.accepts(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn what_somebody_chose_must_come_through_a_header() {
        for good in ["12345678", "glpat-ada", &"x".repeat(255), "!\"#$%&'()*+,-./:;<=>?@[]^_`{|}~"] {
            assert_eq!(fault(good), None, "{good}");
        }
        assert!(fault("1234567").is_some_and(|why| why.contains("short")));
        assert!(fault(&"x".repeat(256)).is_some_and(|why| why.contains("long")));
        for bad in ["1234 5678", "12345678\n", "1234\u{e9}678", "12345678\0", " 12345678"] {
            assert!(fault(bad).is_some_and(|why| why.contains("printable ASCII")), "{bad:?}");
        }
        assert!(fault("glcbt-12345678").is_some_and(|why| why.contains("glcbt-")));
    }

    #[test]
    fn a_secret_has_no_way_into_a_log() {
        assert_eq!(format!("{:?}", Plaintext::new("glpat-x".into())), "Plaintext(***)");
    }

    #[test]
    fn a_new_secret_has_its_form_and_is_never_the_same() {
        let hex = |length: usize| {
            move |text: &str| text.len() == length && !text.contains(|c| !"0123456789abcdef".contains(c))
        };
        let after = |prefix: &'static str, form: fn(&str) -> bool| {
            move |text: &str| text.strip_prefix(prefix).is_some_and(form)
        };
        type Form<'a> = (fn() -> Plaintext, &'a dyn Fn(&str) -> bool);
        let forms: [Form<'_>; 5] = [
            (Plaintext::hex, &hex(64)),
            (Plaintext::application_secret, &after("gloas-", |rest| rest.len() == 64)),
            (Plaintext::session, &hex(32)),
            (Plaintext::password, &|text| text.len() == 24),
            (|| Plaintext::personal_access_token("glpat-", UserId(1)), &after("glpat-", |rest| rest.len() == 45)),
        ];
        for (make, has_form) in forms {
            let (one, other) = (make(), make());
            assert!(has_form(one.reveal()), "{}", one.reveal());
            assert_ne!(one.reveal(), other.reveal());
        }
    }

    #[test]
    fn a_digest_is_of_one_secret_alone() {
        // FIPS 180-2, appendix B.1
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let digest = Plaintext::new("abc".into()).digest();
        assert_eq!(HEXLOWER.encode(&digest.0), abc);
        assert!(digest.is_of(b"abc") && !digest.is_of(b"abd") && !digest.is_of(b""));
        assert_eq!(Digest::from_slice(&digest.0), Some(digest));
        assert_eq!(Digest::from_slice(&digest.0[..31]), None);
    }

    #[test]
    fn a_csrf_token_is_read_in_either_alphabet() {
        // authentication.md 6.4: a pad, and the secret under it. These pads are spelled with `-` and `_`.
        let secret = CsrfSecret([0; 32]);
        for (pad, characters) in [(0xfb, "-"), (0xff, "_")] {
            let url_safe = BASE64URL_NOPAD.encode(&[pad; 64]);
            assert!(url_safe.contains(characters) && secret.accepts(url_safe.as_bytes()), "{url_safe}");
            assert!(secret.accepts(data_encoding::BASE64.encode(&[pad; 64]).as_bytes()), "{pad}");
        }
    }

    #[test]
    fn a_number_has_as_many_digits_of_base_36_as_it_needs() {
        // authentication.md 5.3 has `2s` for 100.
        for (number, least, text) in [
            (0, 1, "0"),
            (35, 1, "z"),
            (36, 1, "10"),
            (100, 1, "2s"),
            (100, 7, "000002s"),
            (u64::MAX, 1, "3w5e11264sgsf"),
        ] {
            assert_eq!(base36(number, least), text);
        }
    }
}

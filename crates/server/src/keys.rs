//! What this instance signs with, and what seals that at rest (T23).
//!
//! A key stands in the database sealed with AES-256-GCM under a secret that does not stand there; its purpose and
//! name are bound to it, so that no row can take another's place. Keys are made at the first start. The one with the
//! highest slot signs, all of them are published, and a signature is made on a thread of its own, so that nobody else
//! waits for it.

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use aws_lc_rs::{digest, rand};
use data_encoding::{BASE64URL_NOPAD, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::Semaphore;
use tollhouse_domain::secret::random;
use tollhouse_store::files;
use tollhouse_store::sealed_keys::SealedKey;
use zeroize::Zeroizing;

use crate::config::{AtRest, Settings, Unusable};
use crate::error::Error;
use crate::file_access::check_file;

/// The secrets that keys are sealed under: all of them open, the first seals, if anything is sealed at all.
pub struct Seal {
    at_rest: AtRest,
    secrets: Vec<Zeroizing<[u8; 32]>>,
}

/// The keys in the database were sealed under another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKey;

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the secret cannot decrypt the keys in this database: secret_key_file must be the file that they were \
             encrypted with (for SQLite, by default, the name of the database file with .key added)",
        )
    }
}

impl std::error::Error for WrongKey {}

impl Seal {
    /// Nothing is sealed, and nothing sealed can be opened: `keys.at_rest = "open"`.
    pub fn open() -> Self {
        Self { at_rest: AtRest::Open, secrets: Vec::new() }
    }

    /// Whether the secret that the settings name can be used, and whether one is named where there must be one. Makes
    /// nothing; whether it opens the keys that are there is another question.
    pub fn check(settings: &Settings, beside: Option<&Path>) -> Result<(), Unusable> {
        let own = beside.map(|database| database.with_added_extension("key"));
        match (named(settings), own) {
            (Some(path), _) => Self::read(&path).map(drop),
            (None, Some(path)) if path.exists() => Self::read(&path).map(drop),
            (None, None) if settings.keys.at_rest == AtRest::Sealed => Err(unnamed()),
            _ => Ok(()),
        }
    }

    /// As the settings say. `beside`: the file of a SQLite database, which gets a secret of its own if none is named
    /// and none of its keys was sealed under another one yet.
    pub fn of(settings: &Settings, beside: Option<&Path>, known: &[SealedKey]) -> Result<Self, Unusable> {
        let sealed = known.iter().any(|key| key.sealed.first() != Some(&OPEN));
        let named = named(settings);
        let own = beside.map(|database| database.with_added_extension("key"));
        match (settings.keys.at_rest, named, own) {
            // What was sealed before is opened once more, to stand open from now on.
            (AtRest::Open, Some(path), _) => Ok(Self { at_rest: AtRest::Open, ..Self::read(&path)? }),
            (AtRest::Open, None, Some(path)) if path.exists() => {
                Ok(Self { at_rest: AtRest::Open, ..Self::read(&path)? })
            }
            (AtRest::Open, None, _) => Ok(Self::open()),
            (AtRest::Sealed, Some(path), _) => Self::read(&path),
            (AtRest::Sealed, None, Some(path)) if !sealed => Self::made(&path),
            (AtRest::Sealed, None, Some(path)) if !path.exists() => Err(unusable(&path, LOST)),
            (AtRest::Sealed, None, Some(path)) => Self::read(&path),
            (AtRest::Sealed, None, None) => Err(unnamed()),
        }
    }

    /// From a file, which is made if there is none.
    pub fn made(path: &Path) -> Result<Self, Unusable> {
        if !path.exists() {
            write_secret(path).map_err(|error| unusable(path, &error.to_string()))?;
        }
        Self::read(path)
    }

    /// The file with the secret that opens the keys of a SQLite database; `None`: they are not sealed, and there is no such
    /// file.
    pub fn secret_file(settings: &Settings, database: &Path) -> Option<PathBuf> {
        let path = named(settings).unwrap_or_else(|| database.with_added_extension("key"));
        Some(path).filter(|path| settings.keys.at_rest == AtRest::Sealed || path.exists())
    }

    /// From a file that must be there.
    pub fn read(path: &Path) -> Result<Self, Unusable> {
        check_file(path).map_err(|fault| Unusable(format!("secret_key_file: {fault}")))?;
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => unusable(path, MISSING),
            _ => unusable(path, &error.to_string()),
        });
        let text = Zeroizing::new(text?);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let secrets: Option<Vec<_>> = lines.map(secret_of).collect();
        match secrets {
            Some(secrets) if (1..=2).contains(&secrets.len()) => Ok(Self { at_rest: AtRest::Sealed, secrets }),
            _ => Err(unusable(path, "one secret of 64 hexadecimal digits, or two while it changes, one on each line")),
        }
    }

    /// Whether every one of these can be opened.
    pub fn opens(&self, sealed: &[SealedKey]) -> Result<(), WrongKey> {
        sealed.iter().try_for_each(|key| self.unseal(key).map(drop))
    }

    /// What stands in the database for a key. It can be opened only as the key of the same `purpose` and `kid`.
    pub fn seal(&self, purpose: &str, kid: &str, plain: &[u8]) -> Result<Vec<u8>, Error> {
        let Some(secret) = self.sealing() else { return Ok([&[OPEN], plain].concat()) };
        let broken = |_| Error::Internal;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &secret[..]).map_err(broken)?;
        let mut text = plain.to_vec();
        let nonce = key.seal_in_place_append_tag(Aad::from(bound(purpose, kid)), &mut text).map_err(broken)?;
        Ok([&[SEALED], &nonce.as_ref()[..], &text].concat())
    }

    /// The key in clear. Fails if none of the secrets opens it.
    pub fn unseal(&self, key: &SealedKey) -> Result<Zeroizing<Vec<u8>>, WrongKey> {
        let (form, rest) = key.sealed.split_first().ok_or(WrongKey)?;
        match *form {
            OPEN => Ok(Zeroizing::new(rest.to_vec())),
            SEALED => self.secrets.iter().find_map(|secret| unsealed(secret, key, rest)).ok_or(WrongKey),
            _ => Err(WrongKey),
        }
    }

    fn sealing(&self) -> Option<&[u8; 32]> {
        self.secrets.first().filter(|_| self.at_rest == AtRest::Sealed).map(|secret| &**secret)
    }

    /// Whether it stands as it would be written now.
    pub fn is_current(&self, key: &SealedKey) -> bool {
        match (key.sealed.split_first(), self.sealing()) {
            (Some((&SEALED, rest)), Some(secret)) => unsealed(secret, key, rest).is_some(),
            (Some((&OPEN, _)), None) => true,
            _ => false,
        }
    }
}

fn named(settings: &Settings) -> Option<PathBuf> {
    Some(settings.secret_key_file.clone()).filter(|path| !path.as_os_str().is_empty())
}

fn unnamed() -> Unusable {
    Unusable(
        "PostgreSQL needs secret_key_file: a file of mode 600 with 64 hexadecimal digits, the same for every server \
         (openssl rand -hex 32), or keys.at_rest = \"open\""
            .into(),
    )
}

/// Whole or not at all: a file that a crash cut short would stop every later start. Whoever is second keeps the first
/// one's.
fn write_secret(path: &Path) -> std::io::Result<()> {
    let draft = path.with_added_extension(HEXLOWER.encode(&random::<6>()));
    let secret = Zeroizing::new(HEXLOWER.encode(&random::<32>()));
    let folder = files::folder_of(path);
    let mut file = files::create_new(&draft, folder)?;
    let placed =
        writeln!(file, "{}", *secret).and_then(|()| file.sync_all()).and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
    fs::remove_file(&draft)?;
    placed?;
    fs::File::open(folder)?.sync_all()
}

fn secret_of(line: &str) -> Option<Zeroizing<[u8; 32]>> {
    let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok()?);
    bytes.as_slice().try_into().ok().map(Zeroizing::new)
}

const LOST: &str = "there is no such file, but the database has keys that were encrypted with it: restore it from the \
                    back-up (docs/deploy.md, Keys)";
const MISSING: &str = "there is no such file; restore it from the back-up, or create it for a new database (docs/deploy.md, \
                       Keys)";

fn unusable(path: &Path, what: &str) -> Unusable {
    Unusable(format!("secret_key_file: {}: {what}", path.display()))
}

fn unsealed(secret: &[u8; 32], key: &SealedKey, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(12)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let opener = RandomizedNonceKey::new(&AES_256_GCM, secret).ok()?;
    let length = opener.open_in_place(nonce, Aad::from(bound(&key.purpose, &key.kid)), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn bound(purpose: &str, kid: &str) -> String {
    format!("tollhouse/keys/v1/{purpose}/{kid}")
}

/// The keys of this instance, opened.
pub struct Keys {
    signing: Vec<Signing>,
    salt: Zeroizing<Vec<u8>>,
    /// As many signatures at once, so that a crowd of them leaves room for others.
    places: Arc<Semaphore>,
}

struct Signing {
    kid: String,
    pair: Arc<RsaKeyPair>,
}

impl Keys {
    /// Opens all of them.
    pub fn of(known: &[SealedKey], seal: &Seal) -> Result<Self, Error> {
        let mut signing = Vec::new();
        let mut salt = None;
        for key in known {
            let plain = seal.unseal(key).map_err(|_| Error::Internal)?;
            match key.purpose.as_str() {
                SIGNING => signing.push(Signing { kid: key.kid.clone(), pair: pair(&plain)? }),
                SUBJECTS => salt = Some(plain),
                _ => {}
            }
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let places = Arc::new(Semaphore::new((cores / 2).max(1)));
        Ok(Self { signing, salt: salt.ok_or(Error::Internal)?, places })
    }

    /// A JWT with these claims, by RS256 (RFC 7515, RFC 7518 section 3.3). `typ` and audience tell what it is for, so every
    /// kind that is signed has its own (T23).
    pub async fn sign(&self, typ: &'static str, claims: &impl Serialize) -> Result<String, Error> {
        let key = self.signing.first().ok_or(Error::Internal)?;
        let header = json!({ "typ": typ, "kid": key.kid, "alg": "RS256" }).to_string();
        let claims = serde_json::to_vec(claims).map_err(|_| Error::Internal)?;
        let text = format!("{}.{}", BASE64URL_NOPAD.encode(header.as_bytes()), BASE64URL_NOPAD.encode(&claims));
        let place = self.places.clone().acquire_owned().await.map_err(|_| Error::Internal)?;
        let pair = key.pair.clone();
        let signed = tokio::task::spawn_blocking(move || {
            let _place = place;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &rand::SystemRandom::new(), text.as_bytes(), &mut signature)
                .map(|()| format!("{text}.{}", BASE64URL_NOPAD.encode(&signature)))
        });
        signed.await.ok().and_then(Result::ok).ok_or(Error::Internal)
    }

    /// The claims of a JWT that [`Self::sign`] made with this `typ` and one of the published keys. Whether it has expired is
    /// for the caller to look at.
    pub fn verified<C: for<'de> Deserialize<'de>>(&self, typ: &str, jwt: &str) -> Option<C> {
        #[derive(Deserialize)]
        struct Header {
            typ: String,
            kid: String,
            alg: String,
        }
        let decoded = |part: &str| BASE64URL_NOPAD.decode(part.as_bytes()).ok();
        let (text, signature) = jwt.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let header: Header = serde_json::from_slice(&decoded(header)?).ok()?;
        let key =
            self.signing.iter().find(|key| key.kid == header.kid && header.typ == typ && header.alg == "RS256")?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.pair.public_key());
        public.verify(text.as_bytes(), &decoded(signature)?).ok()?;
        serde_json::from_slice(&decoded(claims)?).ok()
    }

    /// The public halves, as a JWK set lists them (RFC 7517).
    pub fn published(&self) -> Vec<serde_json::Value> {
        let jwk = |key: &Signing| {
            let (n, e) = parts(&key.pair);
            json!({ "kty": "RSA", "kid": key.kid, "e": e, "n": n, "use": "sig", "alg": "RS256" })
        };
        self.signing.iter().map(jwk).collect()
    }

    /// What makes `sub_legacy` nobody's to guess.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }
}

/// Reads a key of RSA in PKCS #8.
pub fn pair(pkcs8: &[u8]) -> Result<Arc<RsaKeyPair>, Error> {
    RsaKeyPair::from_pkcs8(pkcs8).map(Arc::new).map_err(|_| Error::Internal)
}

/// Modulus and exponent in base64url.
fn parts(pair: &RsaKeyPair) -> (String, String) {
    let public = pair.public_key();
    let text = |number: &[u8]| BASE64URL_NOPAD.encode(number);
    (
        text(public.modulus().big_endian_without_leading_zero()),
        text(public.exponent().big_endian_without_leading_zero()),
    )
}

/// RFC 7638: the hash of the parts that make the key, in the order of their names.
pub fn kid(pair: &RsaKeyPair) -> String {
    let (n, e) = parts(pair);
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    BASE64URL_NOPAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
}

/// A new key of RSA with 2,048 bits, in PKCS #8, for `RS256`.
pub fn make_signing_key() -> Result<Pkcs8V1Der<'static>, Error> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Internal)?;
    pair.as_der().map_err(|_| Error::Internal)
}

/// The purpose of keys that sign an `id_token` (oauth.md 9.1).
pub const SIGNING: &str = "id_token";
/// The purpose of the salt behind `sub_legacy` (oauth.md 9.1).
pub const SUBJECTS: &str = "sub_legacy";

/// How a row begins.
const OPEN: u8 = 0;
const SEALED: u8 = 1;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn seal(secrets: &[u8]) -> Seal {
        Seal { at_rest: AtRest::Sealed, secrets: secrets.iter().map(|byte| Zeroizing::new([*byte; 32])).collect() }
    }

    fn key(seal: &Seal, purpose: &str, kid: &str) -> SealedKey {
        let sealed = seal.seal(purpose, kid, b"plain").expect("sealed");
        SealedKey { kid: kid.into(), purpose: purpose.into(), slot: 1, sealed }
    }

    #[test]
    fn t23_what_is_sealed_opens_under_its_secret_name_and_purpose_alone() {
        let one = seal(&[1]);
        let sealed = key(&one, "a", "k");
        assert!(!sealed.sealed.windows(5).any(|bytes| bytes == b"plain"));
        assert_eq!(one.unseal(&sealed).expect("opens").as_slice(), b"plain");
        assert_eq!(seal(&[2]).opens(std::slice::from_ref(&sealed)), Err(WrongKey));
        for swapped in
            [SealedKey { kid: "other".into(), ..sealed.clone() }, SealedKey { purpose: "b".into(), ..sealed.clone() }]
        {
            assert_eq!(one.opens(&[swapped]), Err(WrongKey));
        }
        for damaged in [vec![], vec![SEALED], vec![9, 1], sealed.sealed[..20].to_vec()] {
            assert_eq!(one.opens(&[SealedKey { sealed: damaged, ..sealed.clone() }]), Err(WrongKey));
        }
    }

    #[test]
    fn t23_a_secret_is_made_once_and_never_in_anothers_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = folder.path().join("x.db");
        let file = folder.path().join("x.db.key");
        let of = |settings: &str, known: &[SealedKey]| {
            Seal::of(&Settings::with(settings).expect("settings"), Some(&database), known)
        };
        let open = key(&Seal::open(), "a", "k");
        let first = of("", std::slice::from_ref(&open)).expect("made, for nothing is sealed yet");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "no draft is left");
        let sealed = key(&first, "a", "k");
        let again = of("", std::slice::from_ref(&sealed)).expect("the same");
        assert!(again.opens(std::slice::from_ref(&sealed)).is_ok());
        let opening = of("keys.at_rest = 'open'", std::slice::from_ref(&sealed)).expect("opens it once more");
        assert!(opening.opens(std::slice::from_ref(&sealed)).is_ok() && opening.is_current(&open));
        fs::remove_file(&file).expect("lost");
        assert!(of("", &[open, sealed]).is_err() && !file.exists(), "nothing is made in its place");
        assert!(of("keys.at_rest = 'open'", &[]).is_ok() && !file.exists());
    }

    #[test]
    fn t23_two_secrets_are_accepted_while_one_takes_the_others_place() {
        let (old, both, new) = (seal(&[1]), seal(&[2, 1]), seal(&[2]));
        let sealed = key(&old, "a", "k");
        assert!(both.opens(std::slice::from_ref(&sealed)).is_ok() && !both.is_current(&sealed));
        let again = key(&both, "a", "k");
        assert!(new.opens(std::slice::from_ref(&again)).is_ok() && new.is_current(&again));
        assert_eq!(old.opens(std::slice::from_ref(&again)), Err(WrongKey));
        let open = key(&Seal::open(), "a", "k");
        assert!(new.opens(std::slice::from_ref(&open)).is_ok() && !new.is_current(&open));
        let opening = Seal { at_rest: AtRest::Open, ..seal(&[2]) };
        assert!(opening.opens(std::slice::from_ref(&again)).is_ok() && !opening.is_current(&again));
        assert!(opening.is_current(&key(&opening, "a", "k")));
    }
}

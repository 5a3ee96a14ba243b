//! Which client it is, and how it shows that (oauth.md section 4; RFC 6749 section 2.3).

use std::sync::Arc;

use axum::http::{HeaderMap, header};
use tollhouse_auth::credential_cache::Entry;
use tollhouse_domain::application::Application;
use tollhouse_domain::secret::{Digest, Plaintext};
use zeroize::Zeroizing;

use crate::app::App;
use crate::oauth::Call;
use crate::oauth::error::{Failure, OauthError};
use crate::request;

/// What a request showed of its client.
#[derive(Debug)]
struct Credentials {
    id: String,
    secret: Option<Plaintext>,
}

/// A client that has authenticated.
pub type Client = Arc<Entry<Application>>;

/// The client of a request; `None`: it named none. A client that cannot show who it is, is refused.
///
/// An unknown client costs what a known one with a wrong secret does: as many look-ups and as many digests.
pub async fn authenticate(app: &App, call: &Call) -> Result<Option<Client>, Failure> {
    let Some(presented) = presented(call)? else { return Ok(None) };
    let mut right = None;
    let mut last: Option<(&str, Option<Client>)> = None;
    for credentials in &presented {
        let known = match last.take() {
            Some((id, known)) if id == credentials.id => known,
            _ => app.auth.application(&credentials.id, call.address()).await?,
        };
        if credentials.are_of(known.as_deref()) {
            right = right.or_else(|| known.clone());
        }
        last = Some((&credentials.id, known));
    }
    right.map(Some).ok_or(Failure::Oauth(OauthError::InvalidClient))
}

/// As [`authenticate`], but a request that names no client is refused too: `invalid_client`.
pub async fn required(app: &App, call: &Call) -> Result<Client, Failure> {
    authenticate(app, call).await?.ok_or(Failure::Oauth(OauthError::InvalidClient))
}

impl Credentials {
    fn are_of(&self, client: Option<&Entry<Application>>) -> bool {
        match &self.secret {
            Some(secret) => {
                let digest = client.map_or(NOBODYS, |client| client.secret_digest);
                digest.is_of(secret.reveal().as_bytes()) && client.is_some()
            }
            None => client.is_some_and(|client| !client.confidential),
        }
    }

    fn name_the_same_as(&self, other: &Self) -> bool {
        self.id == other.id
            && match (&self.secret, &other.secret) {
                (_, None) => true,
                (Some(one), Some(other)) => one.digest().is_of(other.reveal().as_bytes()),
                (None, Some(_)) => false,
            }
    }
}

/// The header first, then the parameters; both may say the same. What the header says has two readings: as it was sent,
/// and form-decoded. RFC 6749 section 2.3.1 asks for the second, and many clients mean the first.
fn presented(call: &Call) -> Result<Option<Vec<Credentials>>, Failure> {
    // Whoever is on the way may have read the other one.
    if call.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(OauthError::TwoMechanisms.into());
    }
    let secret = |name| call.text(name).map(|secret| Plaintext::new(secret.to_owned()));
    let body = call.text("client_id").map(|id| Credentials { id: id.to_owned(), secret: secret("client_secret") });
    match (basic(call.headers()), body) {
        (None, body) => Ok(body.map(|body| vec![body])),
        (Some(header), None) => Ok(Some(header)),
        (Some(header), Some(body)) => match header.iter().any(|header| header.name_the_same_as(&body)) {
            true => Ok(Some(header)),
            false => Err(OauthError::TwoMechanisms.into()),
        },
    }
}

/// `Authorization: Basic`, as it was sent and then form-decoded.
fn basic(headers: &HeaderMap) -> Option<Vec<Credentials>> {
    let decoded = request::basic(headers.get(header::AUTHORIZATION)?.as_bytes())?;
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':').unwrap_or((text, ""));
    let read = |id: &str, secret: &str| {
        let secret = (!secret.trim().is_empty()).then(|| Plaintext::new(secret.to_owned()));
        (!id.trim().is_empty()).then(|| Credentials { id: id.to_owned(), secret })
    };
    let as_sent = read(id, secret)?;
    let decoded = form_decoded(id).zip(form_decoded(secret));
    let decoded = decoded.filter(|(other, hidden)| (other.as_str(), hidden.as_str()) != (id, secret));
    let decoded = decoded.and_then(|(id, secret)| read(&id, &secret));
    Some([Some(as_sent), decoded].into_iter().flatten().collect())
}

/// `+` is a space, and an escape has hexadecimal digits in either case. `None`: that gives no text, or one with NUL, which
/// nothing that is stored has.
fn form_decoded(text: &str) -> Option<Zeroizing<String>> {
    let spaced = Zeroizing::new(text.replace('+', " "));
    let decoded = Zeroizing::new(percent_encoding::percent_decode_str(&spaced).decode_utf8().ok()?.into_owned());
    (!decoded.contains('\0')).then_some(decoded)
}

/// No secret has it: nobody knows what gives it.
const NOBODYS: Digest = Digest([0; 32]);

#[cfg(test)]
mod tests {
    use super::*;

    /// Every reading of a header.
    fn read(value: &str) -> Vec<(String, Option<String>)> {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
        let all = basic(&headers).unwrap_or_default();
        all.into_iter().map(|one| (one.id, one.secret.map(|secret| secret.reveal().to_owned()))).collect()
    }

    fn encoded(text: &str) -> String {
        format!("Basic {}", data_encoding::BASE64.encode(text.as_bytes()))
    }

    fn pair(id: &str, secret: Option<&str>) -> (String, Option<String>) {
        (id.to_owned(), secret.map(str::to_owned))
    }

    #[test]
    fn basic_is_read_leniently() {
        for (value, first) in [
            ("Basic aWQ6c2VjcmV0", pair("id", Some("secret"))),
            ("basic  aWQ6czpjcmV0", pair("id", Some("s:cret"))),
            ("Basic aWQ6", pair("id", None)),
            ("Basic aWQ6Og", pair("id", Some(":"))),
        ] {
            assert_eq!(read(value)[0], first, "{value}");
        }
        for none in ["Basic", "Basic OnNlY3JldA==", "Bearer aWQ6c2VjcmV0", "Basic !!!"] {
            assert_eq!(read(none), [], "{none}");
        }
    }

    #[test]
    fn basic_has_a_reading_as_sent_and_one_that_is_form_decoded() {
        for (sent, id, secret) in [
            ("id:gloas%2Dx", "id", Some("gloas-x")),
            ("id:gloas%2dx", "id", Some("gloas-x")),
            ("a%3Ab:c%3ad", "a:b", Some("c:d")),
            ("id:a+b%20c%2Bd", "id", Some("a b c+d")),
            ("id:%C3%BC", "id", Some("\u{fc}")),
            ("id:%20", "id", None),
        ] {
            let as_sent = sent.split_once(':').expect("two parts");
            let readings = [pair(as_sent.0, Some(as_sent.1)), pair(id, secret)];
            assert_eq!(read(&encoded(sent)), readings, "{sent}");
        }
        // What gives the same, or no text, has one reading.
        for secret in ["plain", "100%", "%2", "%zz", "%ff", "%00"] {
            assert_eq!(read(&encoded(&format!("id:{secret}"))), [pair("id", Some(secret))]);
        }
        assert_eq!(read(&encoded("%20:x")), [pair("%20", Some("x"))]);
    }
}

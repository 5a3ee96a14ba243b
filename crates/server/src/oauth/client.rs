//! Which client it is, and how it shows that (oauth.md section 4; RFC 6749 section 2.3).

use axum::http::{HeaderMap, header};
use tollhouse_domain::application::Application;
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::applications;

use crate::app::App;
use crate::asked;
use crate::error::Error;
use crate::oauth::Call;
use crate::oauth::error::OauthError;

/// What a request showed of its client.
struct Credentials {
    id: String,
    secret: Option<Plaintext>,
}

/// The client of a request; `None`: it named none. A client that cannot show who it is, is refused.
pub async fn authenticate(app: &App, call: &Call) -> Result<Option<Application>, Error> {
    let Some(shown) = shown(call)? else { return Ok(None) };
    let _pass = app.auth.pass(call.address()).await;
    let known = applications::by_uid(&mut app.db.read().await?, &shown.id).await?;
    let client = known.ok_or(OauthError::InvalidClient)?;
    let right = match &shown.secret {
        Some(secret) => client.secret_digest.is_of(secret.reveal().as_bytes()),
        None => !client.confidential,
    };
    if right { Ok(Some(client)) } else { Err(OauthError::InvalidClient.into()) }
}

pub async fn required(app: &App, call: &Call) -> Result<Application, Error> {
    authenticate(app, call).await?.ok_or(Error::Oauth(OauthError::InvalidClient))
}

/// The header first, then the parameters; both may say the same.
fn shown(call: &Call) -> Result<Option<Credentials>, Error> {
    // Whoever is on the way may have read the other one.
    if call.headers().get_all(header::AUTHORIZATION).iter().count() > 1 {
        return Err(OauthError::TwoMechanisms.into());
    }
    let secret = |name| call.text(name).map(|secret| Plaintext::new(secret.to_owned()));
    let body = call.text("client_id").map(|id| Credentials { id: id.to_owned(), secret: secret("client_secret") });
    match (basic(call.headers()), body) {
        (None, body) => Ok(body),
        (Some(header), None) => Ok(Some(header)),
        (Some(header), Some(body)) => {
            let alike = match (&body.secret, &header.secret) {
                (None, _) => true,
                (Some(one), Some(other)) => one.digest().is_of(other.reveal().as_bytes()),
                (Some(_), None) => false,
            };
            if header.id == body.id && alike { Ok(Some(header)) } else { Err(OauthError::TwoMechanisms.into()) }
        }
    }
}

/// `Authorization: Basic`
fn basic(headers: &HeaderMap) -> Option<Credentials> {
    let decoded = asked::basic(headers.get(header::AUTHORIZATION)?.as_bytes())?;
    let text = std::str::from_utf8(&decoded).ok()?;
    let (id, secret) = text.split_once(':').unwrap_or((text, ""));
    let secret = (!secret.trim().is_empty()).then(|| Plaintext::new(secret.to_owned()));
    (!id.trim().is_empty()).then(|| Credentials { id: id.to_owned(), secret })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_is_read_leniently() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::AUTHORIZATION, value.parse().expect("a header"));
            basic(&headers).map(|shown| (shown.id, shown.secret.map(|secret| secret.reveal().to_owned())))
        };
        let pair = |id: &str, secret: Option<&str>| Some((id.to_owned(), secret.map(str::to_owned)));
        assert_eq!(read("Basic aWQ6c2VjcmV0"), pair("id", Some("secret")));
        assert_eq!(read("basic  aWQ6czpjcmV0"), pair("id", Some("s:cret")));
        assert_eq!(read("Basic aWQ6"), pair("id", None));
        assert_eq!(read("Basic aWQ6Og"), pair("id", Some(":")));
        for none in ["Basic", "Basic OnNlY3JldA==", "Bearer aWQ6c2VjcmV0", "Basic !!!"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}

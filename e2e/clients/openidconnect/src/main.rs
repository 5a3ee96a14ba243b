//! The crate `openidconnect`, as released. Reads the facts of a running demo on stdin, prints a line of JSON per step.
//!
//!     with-openidconnect BROWSER

use std::error::Error;
use std::io::Write as _;
use std::process::{Command, Stdio};

use openidconnect::core::*;
use openidconnect::reqwest::{self, Url, blocking};
use openidconnect::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// The addresses of OAuth proper, of which OpenID Connect says nothing.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct More {
    revocation_endpoint: String,
    introspection_endpoint: IntrospectionUrl,
}

impl AdditionalProviderMetadata for More {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;
type Client = CoreClient<EndpointSet, EndpointNotSet, EndpointSet, EndpointSet, EndpointMaybeSet, EndpointMaybeSet>;

struct House {
    facts: Value,
    http: blocking::Client,
}

impl House {
    fn fact(&self, name: &str) -> String {
        self.facts[name].as_str().unwrap_or_default().to_owned()
    }

    fn client(&self, metadata: &Metadata, id: &str, secret: Option<&str>) -> Outcome<Client> {
        let more = metadata.additional_metadata().clone();
        // The crate revokes under https alone; `behind_tls` turns that back.
        let revoke = more.revocation_endpoint.replacen("http://", "https://", 1);
        let id = ClientId::new(self.fact(id));
        let secret = secret.map(|name| ClientSecret::new(self.fact(name)));
        Ok(CoreClient::from_provider_metadata(metadata.clone(), id, secret)
            .set_redirect_uri(RedirectUrl::new(self.fact("oauth_redirect_uri"))?)
            .set_introspection_url(more.introspection_endpoint)
            .set_revocation_url(RevocationUrl::new(revoke)?))
    }

    /// As if a proxy in front of the server ended TLS.
    fn behind_tls(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpClientError<reqwest::Error>> {
        let plain = request.uri().to_string().replacen("https://", "http://", 1);
        *request.uri_mut() = plain.parse().map_err(|_| HttpClientError::Other(plain))?;
        SyncHttpClient::call(&self.http, request)
    }

    /// The code with which the person came back.
    fn authorized(&self, client: &Client, challenge: Option<PkceCodeChallenge>) -> Outcome<(AuthorizationCode, Nonce)> {
        let flow = AuthenticationFlow::<CoreResponseType>::AuthorizationCode;
        let mut request = client.authorize_url(flow, CsrfToken::new_random, Nonce::new_random);
        for scope in ["profile", "email", "read_user"] {
            request = request.add_scope(Scope::new(scope.to_owned()));
        }
        if let Some(challenge) = challenge {
            request = request.set_pkce_challenge(challenge);
        }
        let (url, state, nonce) = request.url();
        let back = self.sign_in(&url)?;
        let back = |name: &str| back.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        holds(back("state").as_ref() == Some(state.secret()), "another state came back")?;
        Ok((AuthorizationCode::new(back("code").ok_or("no code came back")?), nonce))
    }

    fn sign_in(&self, url: &Url) -> Outcome<Url> {
        let browser = std::env::args().nth(1).ok_or("no browser")?;
        let mut browser = Command::new(browser)
            .args([url.as_str(), &self.fact("user_login")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        browser.stdin.take().ok_or("no stdin")?.write_all(self.fact("user_password").as_bytes())?;
        let done = browser.wait_with_output()?;
        holds(done.status.success(), String::from_utf8_lossy(&done.stderr).lines().last().unwrap_or_default())?;
        Ok(Url::parse(String::from_utf8(done.stdout)?.trim())?)
    }

    /// Status and name of the user, by the API.
    fn who(&self, token: &AccessToken) -> Outcome<(u16, Value)> {
        let url = format!("{}/api/v4/user", self.fact("base_url"));
        let answer = self.http.get(url).bearer_auth(token.secret()).send()?;
        Ok((answer.status().as_u16(), serde_json::from_str(&answer.text()?)?))
    }

    fn is_the_user(&self, token: &AccessToken) -> Outcome<String> {
        let (status, user) = self.who(token)?;
        holds(status == 200 && user["username"] == self.facts["user_login"], &format!("{status} {user}"))?;
        Ok(user["id"].to_string())
    }
}

fn holds(is_so: bool, otherwise: &str) -> Outcome<()> {
    if is_so { Ok(()) } else { Err(otherwise.into()) }
}

fn tell(step: &str, how: &str, why: &str) {
    println!("{}", json!({ "step": step, "how": how, "why": why.chars().take(300).collect::<String>() }));
}

/// Tells how a step went.
fn step<T>(name: &str, action: impl FnOnce() -> Outcome<T>) -> Option<T> {
    match action() {
        Ok(result) => {
            tell(name, "ok", "");
            Some(result)
        }
        Err(error) => {
            let (mut why, mut cause) = (error.to_string(), error.source());
            while let Some(error) = cause {
                why += &format!(": {error}");
                cause = error.source();
            }
            tell(name, "failed", &why);
            None
        }
    }
}

/// A step without which nothing goes on.
fn needed<T>(name: &str, action: impl FnOnce() -> Outcome<T>) -> T {
    step(name, action).unwrap_or_else(|| std::process::exit(1))
}

fn main() -> Outcome<()> {
    let facts = serde_json::from_reader(std::io::stdin())?;
    let http = blocking::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(std::time::Duration::from_secs(20))
        .build()?;
    let house = House { facts, http };
    let http = &house.http;

    let metadata = needed("discovery", || {
        let issuer = IssuerUrl::new(house.fact("base_url"))?;
        Ok(Metadata::discover(&issuer, http)?)
    });

    step("PKCE", || {
        let client = house.client(&metadata, "oauth_public_client_id", None)?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (code, _) = house.authorized(&client, Some(challenge))?;
        let token = client.exchange_code(code)?.set_pkce_verifier(verifier).request(http)?;
        house.is_the_user(token.access_token())
    });

    let client = house.client(&metadata, "oauth_client_id", Some("oauth_client_secret"))?;
    let (code, nonce) = needed("authorize", || house.authorized(&client, None));
    let token = needed("token", || Ok(client.exchange_code(code)?.request(http)?));

    let verifier = client.id_token_verifier();
    let subject = step("id_token", || {
        let id_token = token.extra_fields().id_token().ok_or("there is none")?;
        let claims = id_token.claims(&verifier, &nonce)?;
        holds(id_token.claims(&verifier, &Nonce::new_random()).is_err(), "it passes with another nonce")?;
        Ok(claims.subject().clone())
    });

    step("userinfo", || {
        let request = client.user_info(token.access_token().clone(), subject.clone())?;
        let claims: CoreUserInfoClaims = request.request(http)?;
        let name = claims.preferred_username().map(|name| name.as_str());
        holds(name == house.facts["user_login"].as_str(), &format!("it is about {name:?}"))
    });

    step("API call", || {
        let id = house.is_the_user(token.access_token())?;
        holds(subject.as_ref().is_none_or(|subject| **subject == id), &format!("the id is {id}"))
    });

    let mut last = token.access_token().clone();
    step("refresh", || {
        let refresh = token.refresh_token().ok_or("no refresh token was given")?;
        let fresh = client.exchange_refresh_token(refresh)?.request(http)?;
        last = fresh.access_token().clone();
        holds(last.secret() != token.access_token().secret(), "the same access token again")?;
        let id_token = fresh.extra_fields().id_token().ok_or("no id_token came along")?;
        // Without a nonce: nobody was asked anew (oauth.md 6.3).
        id_token.claims(&verifier, |nonce: Option<&Nonce>| match nonce {
            Some(_) => Err("there is a nonce".to_owned()),
            None => Ok(()),
        })?;
        house.is_the_user(&last)
    });

    step("introspect", || {
        let known = client.introspect(&last).request(http)?;
        holds(known.active() && known.client_id() == Some(client.client_id()), &format!("{known:?}"))
    });

    step("revoke", || {
        let over_tls = |request| house.behind_tls(request);
        client.revoke_token(last.clone().into())?.request(&over_tls)?;
        let (status, _) = house.who(&last)?;
        holds(status == 401, &format!("the API says {status} afterwards"))?;
        holds(!client.introspect(&last).request(http)?.active(), "it is active afterwards")
    });
    Ok(())
}

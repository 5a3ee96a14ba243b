//! Every place a credential may stand, read once and in order (authentication.md section 1). Nothing is believed
//! here and nothing dropped.

use std::borrow::Cow;
use std::net::IpAddr;

use data_encoding::BASE64;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use serde_json::{Map, Value};
use tollhouse_domain::access_requirement::{AccessRequirement, JobTokens};
use tollhouse_domain::lookup::Key;
use tollhouse_domain::secret::{CsrfSecret, Digest, Plaintext};
use tollhouse_domain::token::JOB_TOKEN;

use crate::session_cookies::SessionCookies;

/// What one request showed.
#[derive(Debug)]
pub struct PresentedCredentials<'r> {
    access_token: Option<Secret<'r>>,
    authorization: Option<Secret<'r>>,
    bearer_token: Option<Secret<'r>>,
    private_token: Option<Secret<'r>>,
    private_header: Option<Secret<'r>>,
    job_token: Option<Secret<'r>>,
    /// `token`, which is a credential where job tokens count and nowhere else.
    token: Option<Secret<'r>>,
    job_header: Option<Secret<'r>>,
    deploy_header: Option<Secret<'r>>,
    basic: Option<Basic<'r>>,
    sessions: SessionCookies,
    /// A token that came as `X-CSRF-Token`. It must be that of the session that counts.
    csrf_token: Option<Cow<'r, [u8]>>,
    vouched: bool,
    sudo_parameter: Option<Sudo<'r>>,
    sudo_header: Option<Sudo<'r>>,
    read: bool,
    peer: Option<IpAddr>,
}

/// One credential to be tried.
#[derive(Debug)]
pub struct Candidate<'s> {
    /// What it is tried as.
    pub kind: CandidateKind,
    /// Where it stands.
    pub place: CredentialPlace,
    /// The value that is looked up by its digest.
    pub secret: &'s Secret<'s>,
    /// What follows if no such credential exists.
    pub if_unknown: IfUnknown,
}

/// What a value is tried as. Its prefix does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateKind {
    /// An OAuth access token (oauth.md 15).
    OauthAccessToken,
    /// A personal access token.
    PersonalAccessToken,
    /// A deploy token.
    DeployToken,
    /// The token of a CI job.
    JobToken,
}

impl CandidateKind {
    /// Whether it is looked up among the access tokens; both kinds of them are.
    pub fn is_access_token(self) -> bool {
        matches!(self, Self::OauthAccessToken | Self::PersonalAccessToken)
    }

    /// Where a secret of this kind is looked up.
    pub fn key(self, digest: Digest) -> Key {
        match self {
            Self::OauthAccessToken | Self::PersonalAccessToken => Key::Token(digest),
            Self::DeployToken => Key::Deploy(digest),
            Self::JobToken => Key::Job(digest),
        }
    }
}

/// Where in a request a credential stands (authentication.md 1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// `access_token` in query or body.
    AccessTokenParameter,
    /// `Authorization: Bearer`.
    AuthorizationHeader,
    /// `bearer_token` in query or body.
    BearerTokenParameter,
    /// `private_token` in query or body.
    PrivateTokenParameter,
    /// `PRIVATE-TOKEN`.
    PrivateTokenHeader,
    /// `job_token` in query or body.
    JobTokenParameter,
    /// `token` in query or body, where job tokens count.
    TokenParameter,
    /// `Job-Token`.
    JobTokenHeader,
    /// `Deploy-Token`.
    DeployTokenHeader,
    /// The password of `Authorization: Basic`.
    BasicPassword,
    /// The cookie [`SESSION_COOKIE`](crate::session_cookies::SESSION_COOKIE).
    SessionCookie,
}

/// How far the session cookie of a relayed request counts (T4, T5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// It does not.
    Foreign,
    /// As on the API: on a read, or with the CSRF token that belongs to it (6.3).
    Own,
    /// On a write too, since the browser says that a page of this very origin asks.
    Vouched,
}

/// What an unknown value means: refuse, or try the next kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfUnknown {
    /// Refuse: the value was meant as this kind.
    Stop,
    /// Try the next candidate.
    Next,
}

/// Whom the caller wants to act as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sudo<'r> {
    /// A user by number or by name, as it was sent (authentication.md 4).
    Name(Cow<'r, str>),
    /// It was said in a way that names nobody, or names two. If it were ignored, the caller would act as themselves,
    /// who is an administrator.
    Unreadable,
}

impl<'r> Sudo<'r> {
    /// Two names are a name only if they are the same.
    fn and(known: Option<Self>, next: Self) -> Self {
        match known {
            Some(known) if known != next => Self::Unreadable,
            _ => next,
        }
    }
}

/// User name and password of HTTP Basic (RFC 7617).
#[derive(Debug)]
struct Basic<'r> {
    user: Box<[u8]>,
    password: Secret<'r>,
}

impl Basic<'_> {
    /// `None`: another scheme, no base64, or no colon. A password may hold colons; a user name may not.
    fn of(authorization: &[u8]) -> Option<Self> {
        let scheme = authorization.get(..6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let pair = BASE64.decode(authorization[6..].trim_ascii()).ok()?;
        let colon = pair.iter().position(|byte| *byte == b':')?;
        Some(Self { user: pair[..colon].into(), password: Secret::Value(pair[colon + 1..].to_vec().into()) })
    }
}

/// A value as it was sent. It is compared by digest alone and never printed.
#[derive(Clone)]
pub enum Secret<'r> {
    /// The bytes as they were sent, blank ones included.
    Value(Cow<'r, [u8]>),
    /// Something that cannot be a credential: a list, a table, a number.
    Unusable,
}

impl Secret<'_> {
    /// Blank counts as absent; white space inside a value is significant (1.4).
    pub fn blank(&self) -> bool {
        matches!(self, Self::Value(value) if value.iter().all(u8::is_ascii_whitespace))
    }

    /// `None`: no secret that was ever issued has this form.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Value(value) if value.len() <= LONGEST_SECRET => Some(Digest::of(value)),
            _ => None,
        }
    }
}

impl std::fmt::Debug for Secret<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl<'r> PresentedCredentials<'r> {
    /// What stands in the head: headers, query and cookie. `peer` is who is really at the other end.
    pub fn in_head(parts: &'r Parts, peer: Option<IpAddr>) -> Self {
        let mut presented = Self::in_headers(&parts.headers, &parts.method, peer);
        for value in parts.headers.get_all(&SUDO) {
            let name = Sudo::Name(lossy(value.as_bytes()));
            presented.sudo_header = Some(Sudo::and(presented.sudo_header.take(), name));
        }
        if let Some(query) = parts.uri.query() {
            presented.in_query(query);
        }
        presented
    }

    /// What a proxy relays of a request to somebody else: the headers are the original's, method and query are what the
    /// proxy says of it, and sudo is not heard of (T6).
    pub fn relayed(
        headers: &'r HeaderMap,
        method: &Method,
        query: Option<&'r str>,
        session: Session,
        peer: Option<IpAddr>,
    ) -> Self {
        let mut presented = Self::in_headers(headers, method, peer);
        if let Some(query) = query {
            presented.in_query(query);
            presented.sudo_parameter = None;
        }
        presented.with_session(session)
    }

    /// The same, with the session cookie counting that far.
    pub fn with_session(mut self, session: Session) -> Self {
        match session {
            Session::Foreign => self.sessions = SessionCookies::default(),
            Session::Own => {}
            Session::Vouched => self.vouched = true,
        }
        self
    }

    fn in_headers(headers: &'r HeaderMap, method: &Method, peer: Option<IpAddr>) -> Self {
        let sessions = SessionCookies::of(headers);
        let csrf_token = if sessions.is_empty() { None } else { header_value(headers, &X_CSRF_TOKEN) };
        let secret = |name| header_value(headers, name).map(Secret::Value);
        let authorization = header_value(headers, &header::AUTHORIZATION);
        Self {
            access_token: None,
            basic: authorization.as_deref().and_then(Basic::of),
            authorization: authorization.and_then(bearer),
            bearer_token: None,
            private_token: None,
            private_header: secret(&PRIVATE_TOKEN),
            job_token: None,
            token: None,
            job_header: secret(&JOB_TOKEN_HEADER),
            deploy_header: secret(&DEPLOY_TOKEN_HEADER),
            sessions,
            csrf_token,
            vouched: false,
            sudo_parameter: None,
            sudo_header: None,
            read: method == Method::GET || method == Method::HEAD,
            peer,
        }
    }

    fn in_query(&mut self, query: &'r str) {
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let (root, nested) = match name.split_once('[') {
                Some((root, _)) => (root, true),
                None => (name.as_ref(), false),
            };
            let place = match root {
                "access_token" => &mut self.access_token,
                "bearer_token" => &mut self.bearer_token,
                "private_token" => &mut self.private_token,
                "job_token" => &mut self.job_token,
                "token" => &mut self.token,
                "sudo" => {
                    let named = if nested { Sudo::Unreadable } else { Sudo::Name(value) };
                    self.sudo_parameter = Some(Sudo::and(self.sudo_parameter.take(), named));
                    continue;
                }
                _ => continue,
            };
            *place = Some(if nested { Secret::Unusable } else { Secret::Value(bytes(value)) });
        }
    }

    /// What stands in a body that was read. Of credentials the query's win, of `sudo` the body's (1.4).
    pub fn and_in_body(mut self, body: &'r Map<String, Value>) -> Self {
        let secret = |name: &str| match body.get(name)? {
            Value::String(value) => Some(Secret::Value(value.as_bytes().into())),
            Value::Null => None,
            _ => Some(Secret::Unusable),
        };
        self.access_token = self.access_token.or_else(|| secret("access_token"));
        self.bearer_token = self.bearer_token.or_else(|| secret("bearer_token"));
        self.private_token = self.private_token.or_else(|| secret("private_token"));
        self.job_token = self.job_token.or_else(|| secret("job_token"));
        self.token = self.token.or_else(|| secret("token"));
        let named = match body.get("sudo") {
            Some(Value::String(value)) => Some(Sudo::Name(value.into())),
            Some(Value::Number(value)) => Some(Sudo::Name(value.to_string().into())),
            Some(_) => Some(Sudo::Unreadable),
            None => None,
        };
        if named.is_some() && self.sudo_parameter != Some(Sudo::Unreadable) {
            self.sudo_parameter = named;
        }
        self
    }

    /// What is to be tried where this is required, in the order of the specification (1.1).
    pub fn candidates(&self, requirement: &AccessRequirement<'_>) -> impl Iterator<Item = Candidate<'_>> {
        let bearer = self.bearer_value();
        let password = self.basic.as_ref().map(|basic| (&basic.password, CredentialPlace::BasicPassword));
        let password = password.filter(|(secret, _)| !secret.blank());
        let deploy = password.or(given(&self.deploy_header, CredentialPlace::DeployTokenHeader)).or(bearer);
        let deploy = deploy.filter(|_| !requirement.deploy_tokens.is_empty());
        let jobs = requirement.job_tokens != JobTokens::None;
        let personal = first([
            (&self.private_token, CredentialPlace::PrivateTokenParameter),
            (&self.private_header, CredentialPlace::PrivateTokenHeader),
        ])
        .or(bearer);
        // A job token where none is accepted counts as absent, not as unknown.
        let personal = personal.filter(
            |(secret, _)| !matches!(secret, Secret::Value(value) if value.starts_with(JOB_TOKEN.prefix.as_bytes())),
        );
        let is_job = |basic: &&Basic<'_>| &*basic.user == JOB_USER && requirement.job_tokens == JobTokens::AnyPlace;
        let job_request = first([
            (&self.job_token, CredentialPlace::JobTokenParameter),
            (&self.token, CredentialPlace::TokenParameter),
            (&self.job_header, CredentialPlace::JobTokenHeader),
        ]);
        let as_kind = |kind, if_unknown| move |(secret, place)| Candidate { kind, place, secret, if_unknown };
        use CandidateKind::{DeployToken, JobToken, OauthAccessToken, PersonalAccessToken};
        [
            deploy.map(as_kind(DeployToken, IfUnknown::Next)),
            bearer.filter(|_| jobs).map(as_kind(JobToken, IfUnknown::Next)),
            bearer.map(as_kind(OauthAccessToken, IfUnknown::Next)),
            personal.map(as_kind(PersonalAccessToken, IfUnknown::Stop)),
            password.filter(|_| requirement.token_as_password).map(as_kind(PersonalAccessToken, IfUnknown::Next)),
            password
                .filter(|_| self.basic.as_ref().is_some_and(|basic| is_job(&basic)))
                .map(as_kind(JobToken, IfUnknown::Stop)),
            job_request.filter(|_| jobs).map(as_kind(JobToken, IfUnknown::Stop)),
        ]
        .into_iter()
        .flatten()
    }

    /// Every place that counts where this is required and where something stands, blank or not, in the order of 1.1.
    pub fn places(&self, requirement: &AccessRequirement<'_>) -> impl Iterator<Item = (CredentialPlace, &Secret<'r>)> {
        let password = self.basic.as_ref().filter(|_| requirement.reads_basic()).map(|basic| &basic.password);
        let deploy = self.deploy_header.as_ref().filter(|_| !requirement.deploy_tokens.is_empty());
        let jobs = [
            (CredentialPlace::JobTokenParameter, &self.job_token),
            (CredentialPlace::TokenParameter, &self.token),
            (CredentialPlace::JobTokenHeader, &self.job_header),
        ];
        let jobs = jobs.into_iter().filter(|_| requirement.job_tokens != JobTokens::None);
        let others = [(CredentialPlace::DeployTokenHeader, deploy), (CredentialPlace::BasicPassword, password)];
        let others = others.into_iter().filter_map(|(place, secret)| Some((place, secret?)));
        let places = [
            (CredentialPlace::AccessTokenParameter, &self.access_token),
            (CredentialPlace::AuthorizationHeader, &self.authorization),
            (CredentialPlace::BearerTokenParameter, &self.bearer_token),
            (CredentialPlace::PrivateTokenParameter, &self.private_token),
            (CredentialPlace::PrivateTokenHeader, &self.private_header),
        ];
        places.into_iter().chain(jobs).filter_map(|(place, secret)| Some((place, secret.as_ref()?))).chain(others)
    }

    /// The bearer value: what may be an OAuth access token (1.1).
    pub fn bearer(&self) -> Option<&Secret<'r>> {
        self.bearer_value().map(|(secret, _)| secret)
    }

    fn bearer_value(&self) -> Option<(&Secret<'r>, CredentialPlace)> {
        first([
            (&self.access_token, CredentialPlace::AccessTokenParameter),
            (&self.authorization, CredentialPlace::AuthorizationHeader),
            (&self.bearer_token, CredentialPlace::BearerTokenParameter),
        ])
    }

    /// The presented token with this digest, in clear: for rotation, which derives its successor from it.
    pub fn plaintext_of(&self, digest: Digest) -> Option<Plaintext> {
        let candidate =
            self.candidates(&AccessRequirement::PLAIN).find(|candidate| candidate.secret.digest() == Some(digest))?;
        match candidate.secret {
            Secret::Value(value) => String::from_utf8(value.to_vec()).ok().map(Plaintext::new),
            Secret::Unusable => None,
        }
    }

    /// The session cookies, where one of them may count: on a read, or with the CSRF token of one of them (6.3).
    pub fn sessions(&self) -> Option<&SessionCookies> {
        self.sessions.iter().any(|session| self.admits(session)).then_some(&self.sessions)
    }

    /// Whether this session counts for this request: on a read, or with the CSRF token that belongs to it (6.3).
    pub fn admits(&self, session: &str) -> bool {
        let token = || {
            let token = self.csrf_token.as_ref()?;
            Some(CsrfSecret::of_session(session.as_bytes()).accepts(token))
        };
        self.read || self.vouched || token().unwrap_or(false)
    }

    /// Whom the caller wants to be. An empty name is a name (section 4).
    pub fn sudo(&self) -> Option<&Sudo<'r>> {
        self.sudo_parameter.as_ref().or(self.sudo_header.as_ref())
    }

    /// GET or HEAD.
    pub fn is_read(&self) -> bool {
        self.read
    }

    /// The client address, as far as trusted proxies tell it. `None`: a request that did not come over the network.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }
}

/// The value of `Authorization: Bearer`, the scheme in any case, one space taken off (1.4).
fn bearer(value: Cow<'_, [u8]>) -> Option<Secret<'_>> {
    let scheme = value.get(..6)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") || value.get(6) != Some(&b' ') {
        return None;
    }
    Some(Secret::Value(match value {
        Cow::Borrowed(value) => value[7..].into(),
        Cow::Owned(value) => value[7..].to_vec().into(),
    }))
}

/// A header that came more than once is its values joined by commas, so it matches nothing (1.4).
fn header_value<'r>(headers: &'r HeaderMap, name: &HeaderName) -> Option<Cow<'r, [u8]>> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.as_bytes();
    let mut joined = Cow::Borrowed(first);
    for more in values {
        let all = joined.to_mut();
        all.push(b',');
        all.extend_from_slice(more.as_bytes());
    }
    Some(joined)
}

fn first<'s, 'r, const N: usize>(
    places: [(&'s Option<Secret<'r>>, CredentialPlace); N],
) -> Option<(&'s Secret<'r>, CredentialPlace)> {
    places.into_iter().find_map(|(secret, place)| given(secret, place))
}

fn given<'s, 'r>(secret: &'s Option<Secret<'r>>, place: CredentialPlace) -> Option<(&'s Secret<'r>, CredentialPlace)> {
    Some((secret.as_ref()?, place)).filter(|(secret, _)| !secret.blank())
}

fn bytes(text: Cow<'_, str>) -> Cow<'_, [u8]> {
    match text {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    }
}

fn lossy(value: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(value)
}

/// Nothing that anybody was given is longer.
const LONGEST_SECRET: usize = 1024;

const PRIVATE_TOKEN: HeaderName = HeaderName::from_static("private-token");
const JOB_TOKEN_HEADER: HeaderName = HeaderName::from_static("job-token");
const DEPLOY_TOKEN_HEADER: HeaderName = HeaderName::from_static("deploy-token");
/// The user name that goes with a job token in HTTP Basic (1.1).
const JOB_USER: &[u8] = b"gitlab-ci-token";
const SUDO: HeaderName = HeaderName::from_static("sudo");
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

#[cfg(test)]
mod tests;

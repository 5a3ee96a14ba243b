//! Every place a credential may stand, read once and in order (authentication.md section 1). Nothing is believed
//! here and nothing dropped.

use std::borrow::Cow;
use std::net::IpAddr;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Method, header};
use serde_json::{Map, Value};
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
        Self {
            access_token: None,
            authorization: bearer(headers),
            bearer_token: None,
            private_token: None,
            private_header: header_value(headers, &PRIVATE_TOKEN).map(Secret::Value),
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

    /// What is to be tried, in the order of the specification (1.1).
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        let bearer = self.bearer_value();
        let personal = first([
            (&self.private_token, CredentialPlace::PrivateTokenParameter),
            (&self.private_header, CredentialPlace::PrivateTokenHeader),
        ])
        .or(bearer);
        // A job token where none is accepted counts as absent, not as unknown.
        let personal = personal.filter(
            |(secret, _)| !matches!(secret, Secret::Value(value) if value.starts_with(JOB_TOKEN.prefix.as_bytes())),
        );
        let oauth = bearer.map(|(secret, place)| Candidate {
            kind: CandidateKind::OauthAccessToken,
            place,
            secret,
            if_unknown: IfUnknown::Next,
        });
        let personal = personal.map(|(secret, place)| Candidate {
            kind: CandidateKind::PersonalAccessToken,
            place,
            secret,
            if_unknown: IfUnknown::Stop,
        });
        oauth.into_iter().chain(personal)
    }

    /// Every place where something stands, blank or not, in the order in which they are looked at (1.1).
    pub fn places(&self) -> impl Iterator<Item = (CredentialPlace, &Secret<'r>)> {
        let places = [
            (CredentialPlace::AccessTokenParameter, &self.access_token),
            (CredentialPlace::AuthorizationHeader, &self.authorization),
            (CredentialPlace::BearerTokenParameter, &self.bearer_token),
            (CredentialPlace::PrivateTokenParameter, &self.private_token),
            (CredentialPlace::PrivateTokenHeader, &self.private_header),
        ];
        places.into_iter().filter_map(|(place, secret)| Some((place, secret.as_ref()?)))
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
        let candidate = self.candidates().find(|candidate| candidate.secret.digest() == Some(digest))?;
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
fn bearer(headers: &HeaderMap) -> Option<Secret<'_>> {
    let value = header_value(headers, &header::AUTHORIZATION)?;
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
    places.into_iter().find_map(|(secret, place)| Some((secret.as_ref()?, place)).filter(|(s, _)| !s.blank()))
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
const SUDO: HeaderName = HeaderName::from_static("sudo");
const X_CSRF_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = http::Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    /// CandidateKind, place and secret of each candidate.
    fn candidates(uri: &str, headers: &[(&str, &str)]) -> Vec<(CandidateKind, CredentialPlace, Option<Digest>)> {
        let parts = head(uri, headers);
        PresentedCredentials::in_head(&parts, None).candidates().map(|c| (c.kind, c.place, c.secret.digest())).collect()
    }

    fn of(secret: &str) -> Option<Digest> {
        Some(Digest::of(secret.as_bytes()))
    }

    #[test]
    fn the_order_of_places() {
        use CandidateKind::{OauthAccessToken, PersonalAccessToken};
        let all = [("authorization", "Bearer h"), ("private-token", "p")];
        assert_eq!(
            candidates("/?bearer_token=b&private_token=q", &all),
            [
                (OauthAccessToken, CredentialPlace::AuthorizationHeader, of("h")),
                (PersonalAccessToken, CredentialPlace::PrivateTokenParameter, of("q"))
            ]
        );
        assert_eq!(
            candidates("/?access_token=a&private_token=%20", &all),
            [
                (OauthAccessToken, CredentialPlace::AccessTokenParameter, of("a")),
                (PersonalAccessToken, CredentialPlace::PrivateTokenHeader, of("p"))
            ]
        );
        assert_eq!(
            candidates("/?bearer_token=b", &[("authorization", "bearer")]),
            [
                (OauthAccessToken, CredentialPlace::BearerTokenParameter, of("b")),
                (PersonalAccessToken, CredentialPlace::BearerTokenParameter, of("b"))
            ]
        );
        assert_eq!(candidates("/", &[("authorization", "Basic dTpw")]), []);
    }

    #[test]
    fn what_cannot_be_a_credential_is_still_shown() {
        let list = candidates("/?private_token[]=x", &[]);
        assert_eq!(list, [(CandidateKind::PersonalAccessToken, CredentialPlace::PrivateTokenParameter, None)]);
        let twice = candidates("/", &[("private-token", "a"), ("private-token", "b")]);
        assert_eq!(twice, [(CandidateKind::PersonalAccessToken, CredentialPlace::PrivateTokenHeader, of("a,b"))]);
        assert_eq!(candidates("/", &[("private-token", "glcbt-1_x")]), []);
    }

    #[test]
    fn a_bearer_is_what_follows_the_scheme_and_one_space() {
        let long = format!("Bearer {}", "x".repeat(1_025));
        for (lines, expected) in [
            (&["Bearer x"][..], Some(of("x"))),
            (&["bEARER x"], Some(of("x"))),
            (&["Bearer x y"], Some(of("x y"))),
            (&["Bearer  x"], Some(of(" x"))),
            (&["Bearer x", "Bearer y"], Some(of("x,Bearer y"))),
            (&[&long], Some(None)),
            (&["Bearer  "], None),
            (&["Bearer"], None),
            (&["Bearerx"], None),
            (&["Bearer\tx"], None),
            (&["Bearer,x"], None),
            (&["Basic x"], None),
            (&["Basic x", "Bearer x"], None),
            (&["x"], None),
            (&[""], None),
            (&[], None),
        ] {
            let headers: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
            let parts = head("/", &headers);
            let presented = PresentedCredentials::in_head(&parts, None);
            assert_eq!(presented.bearer().map(Secret::digest), expected, "{lines:?}");
        }
    }

    #[test]
    fn every_place_is_listed_blank_or_not() {
        use CredentialPlace::{
            AccessTokenParameter, AuthorizationHeader, BearerTokenParameter, PrivateTokenHeader, PrivateTokenParameter,
        };
        let headers = [("authorization", "Bearer h"), ("private-token", " ")];
        let parts = head("/?private_token[]=q&bearer_token=b&access_token=a", &headers);
        let presented = PresentedCredentials::in_head(&parts, None);
        let places: Vec<_> = presented.places().map(|(place, secret)| (place, secret.digest())).collect();
        assert_eq!(
            places,
            [
                (AccessTokenParameter, of("a")),
                (AuthorizationHeader, of("h")),
                (BearerTokenParameter, of("b")),
                (PrivateTokenParameter, None),
                (PrivateTokenHeader, of(" ")),
            ]
        );
        assert_eq!(PresentedCredentials::in_head(&head("/", &[]), None).places().count(), 0);
    }

    #[test]
    fn a_token_that_was_presented_is_given_back_in_clear() {
        let parts = head("/?access_token=a&private_token=p", &[("private-token", "other")]);
        let presented = PresentedCredentials::in_head(&parts, None);
        for (secret, expected) in [("a", true), ("p", true), ("other", false), ("", false)] {
            let plaintext = presented.plaintext_of(Digest::of(secret.as_bytes()));
            assert_eq!(plaintext.as_ref().map(Plaintext::reveal), expected.then_some(secret), "{secret}");
        }
    }

    #[test]
    fn a_secret_is_not_printed_and_has_no_digest_beyond_1024_bytes() {
        for (length, expected) in [(1, true), (1_024, true), (1_025, false)] {
            let secret = Secret::Value(vec![b'x'; length].into());
            assert_eq!((secret.digest().is_some(), format!("{secret:?}").as_str()), (expected, "Secret(***)"));
        }
    }

    #[test]
    fn reads_are_get_and_head() {
        let peer = "192.0.2.1".parse().ok();
        let mut parts = head("/", &[]);
        for (method, read) in
            [(Method::GET, true), (Method::HEAD, true), (Method::POST, false), (Method::OPTIONS, false)]
        {
            parts.method = method;
            let presented = PresentedCredentials::in_head(&parts, peer);
            assert_eq!((presented.is_read(), presented.peer()), (read, peer), "{}", parts.method);
        }
        assert_eq!(PresentedCredentials::in_head(&parts, None).peer(), None);
    }

    #[test]
    fn the_query_wins_in_each_place() {
        for name in ["access_token", "bearer_token", "private_token"] {
            for (query, expected) in [("q", of("q")), ("", None)] {
                let parts = head(&format!("/?{name}={query}"), &[]);
                let body = Map::from_iter([(name.to_owned(), Value::from("b"))]);
                let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
                let found = presented.candidates().last().and_then(|candidate| candidate.secret.digest());
                assert_eq!(found, expected, "{name}={query}: what is blank wins too");
            }
        }
    }

    #[test]
    fn what_a_body_says_is_a_secret_or_cannot_be_one_and_null_is_absent() {
        let parts = head("/", &[]);
        for (value, expected) in [
            (serde_json::json!("b"), Some(of("b"))),
            (serde_json::json!(null), None),
            (serde_json::json!(7), Some(None)),
            (serde_json::json!(["b"]), Some(None)),
        ] {
            for name in ["access_token", "bearer_token", "private_token"] {
                let body = Map::from_iter([(name.to_owned(), value.clone())]);
                let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
                let found = presented.candidates().last().map(|candidate| candidate.secret.digest());
                assert_eq!(found, expected, "{body:?}");
            }
        }
    }

    fn sessions(presented: &PresentedCredentials<'_>) -> Vec<String> {
        presented.sessions().map(|cookies| cookies.iter().map(str::to_owned).collect()).unwrap_or_default()
    }

    #[test]
    fn t9_to_write_the_csrf_token_must_be_of_the_session_that_counts() {
        let token = CsrfSecret::of_session(b"y").mask();
        let mut parts = head("/", &[("cookie", "_gitlab_session=x; _gitlab_session=y"), ("x-csrf-token", &token)]);
        parts.method = Method::POST;
        let presented = PresentedCredentials::in_head(&parts, None);
        assert_eq!(sessions(&presented), ["x", "y"], "one of them may count, so all are looked up");
        assert!(presented.admits("y") && !presented.admits("x"));
        parts.headers.remove("x-csrf-token");
        assert!(sessions(&PresentedCredentials::in_head(&parts, None)).is_empty());
    }

    #[test]
    fn t6_what_is_relayed_has_no_sudo_and_no_session_but_where_it_counts() {
        let cookie = "_gitlab_session=x";
        let parts = head("/?sudo=1&access_token=a", &[("cookie", cookie), ("sudo", "2"), ("private-token", "p")]);
        let relayed = |method: Method, query, session| {
            PresentedCredentials::relayed(&parts.headers, &method, query, session, None)
        };
        let presented = relayed(Method::GET, Some("sudo=1&access_token=a"), Session::Own);
        assert_eq!(presented.sudo(), None);
        assert_eq!(presented.bearer().and_then(Secret::digest), of("a"));
        assert_eq!(sessions(&presented), ["x"]);
        assert!(relayed(Method::GET, None, Session::Own).bearer().is_none(), "the question's own query is nobody's");
        assert!(sessions(&relayed(Method::POST, None, Session::Own)).is_empty());
        assert_eq!(sessions(&relayed(Method::POST, None, Session::Vouched)), ["x"]);
        assert!(sessions(&relayed(Method::GET, None, Session::Foreign)).is_empty());
    }

    #[test]
    fn the_query_wins_for_credentials_and_the_body_for_sudo() {
        let parts = head("/?private_token=&sudo=1", &[]);
        let Value::Object(body) = serde_json::json!({"private_token": "b", "access_token": "a", "sudo": 2}) else {
            unreachable!("an object");
        };
        let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
        let list: Vec<_> = presented.candidates().map(|c| (c.place, c.secret.digest())).collect();
        assert_eq!(
            list,
            [(CredentialPlace::AccessTokenParameter, of("a")), (CredentialPlace::AccessTokenParameter, of("a"))]
        );
        assert_eq!(presented.sudo(), Some(&Sudo::Name("2".into())));
    }

    #[test]
    fn what_sudo_says_is_a_name_or_cannot_be_read() {
        let name = |text: &str| Some(Sudo::Name(text.to_owned().into()));
        let unreadable = Some(Sudo::Unreadable);
        let said = |query: &str, headers: &[&str], body: serde_json::Value| {
            let pairs: Vec<(&str, &str)> = headers.iter().map(|value| ("sudo", *value)).collect();
            let parts = head(&format!("/?{query}"), &pairs);
            let Value::Object(body) = body else { unreachable!("an object") };
            let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
            presented.sudo().map(|sudo| match sudo {
                Sudo::Name(text) => Sudo::Name(text.clone().into_owned().into()),
                Sudo::Unreadable => Sudo::Unreadable,
            })
        };
        let none = || serde_json::json!({});
        for (query, headers, body, expected) in [
            ("", &[][..], none(), None),
            ("sudo=ada", &["bob"], none(), name("ada")),
            ("sudo=", &["bob"], none(), name("")),
            ("", &["ada", "ada"], none(), name("ada")),
            ("", &["ada", "bob"], none(), unreadable.clone()),
            ("sudo=ada&sudo=ada", &[], none(), name("ada")),
            ("sudo=ada&sudo=bob", &[], none(), unreadable.clone()),
            ("sudo=ada&sudo=bob&sudo=ada", &[], none(), unreadable.clone()),
            ("sudo[]=ada", &[], none(), unreadable.clone()),
            ("sudo[a]=ada&sudo=ada", &["ada"], none(), unreadable.clone()),
            ("sudo%5B%5D=ada", &[], none(), unreadable.clone()),
            ("sudo[]=ada", &[], serde_json::json!({"sudo": "ada"}), unreadable.clone()),
            ("sudo=ada", &[], serde_json::json!({"sudo": "bob"}), name("bob")),
            ("sudo=ada", &[], serde_json::json!({"sudo": null}), unreadable.clone()),
            ("", &[], serde_json::json!({"sudo": ["ada"]}), unreadable.clone()),
            ("", &["ada"], serde_json::json!({"sudo": {"a": "ada"}}), unreadable.clone()),
            ("", &[], serde_json::json!({"sudo": true}), unreadable.clone()),
            ("", &[], serde_json::json!({"sudo": 7}), name("7")),
        ] {
            assert_eq!(said(query, headers, body.clone()), expected, "{query} {headers:?} {body}");
        }
    }
}

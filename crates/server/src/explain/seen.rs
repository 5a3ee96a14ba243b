//! What a request shows, place by place, masked, and what became of it.

use axum::http::{HeaderMap, header};
use serde::Serialize;
use tollhouse_auth::authenticator::{Authenticator, is_of};
use tollhouse_auth::presented::{CandidateKind, CredentialPlace, IfUnknown, PresentedCredentials, Secret};
use tollhouse_auth::session_cookies::{LiveSession, MOST_COOKIES, SessionCookies};
use tollhouse_domain::access_requirement::{AccessRequirement, JobTokens};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::lookup::{Credential, Key, Record};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::{JOB_TOKEN, PREFIXES};

use super::witness::Witness;

/// One presented credential.
#[derive(Debug, Serialize)]
pub struct Seen {
    /// The place in words, such as `Authorization: Bearer`.
    pub place: &'static str,
    /// What it begins with, if that is a prefix that everybody knows. Nothing more of it is ever told.
    pub prefix: Option<&'static str>,
    /// In bytes. `None`: it is no text.
    pub length: Option<usize>,
    /// What became of it, in words.
    pub outcome: String,
    /// Whether it is the one that decided.
    pub decided: bool,
}

/// What the authenticator did with the presented credentials, as the witness saw it.
pub(super) struct Trial {
    steps: Vec<Step>,
    /// What became of the session cookie.
    pub(super) cookie: Cookie,
    /// `Authorization` says something else than bearer.
    pub(super) other_scheme: bool,
    decided: Option<(&'static str, Option<Record>)>,
}

struct Step {
    place: CredentialPlace,
    kind: CandidateKind,
    if_unknown: IfUnknown,
    found: Found,
}

enum Found {
    Counts(Record),
    /// It is a token, but not of the kind that stands in this place.
    OfOtherKind(Record),
    /// It was the token of a job or a deploy token.
    Over(Record),
    Unknown,
    /// Nobody can have been given this.
    Unusable,
}

/// What became of the session cookie.
#[derive(Clone, Debug)]
pub(super) enum Cookie {
    /// There is none.
    None,
    /// Two live sessions, or more cookies than are looked up: none counts (T9).
    Several,
    /// A write without the CSRF token of the session; whether one was sent.
    WithoutToken {
        /// Whether one was sent, which was not this session's.
        sent: bool,
    },
    /// A token was presented and decided.
    NotAsked,
    /// There is no such session, or it has ended.
    Ended,
    /// It has lasted for `sessions.longest`.
    TooLong,
    /// It is a live session, which decided.
    Counts,
}

impl Trial {
    /// Tries what was presented as the authenticator does; nothing is written.
    pub(super) async fn of(
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        headers: &HeaderMap,
        witness: &Witness,
        judging: &Authenticator,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        let mut steps = Vec::new();
        let mut decided = None;
        for candidate in presented.candidates(requirement) {
            let found = match candidate.secret.digest().map(|digest| witness.saw(candidate.kind.key(digest))) {
                None => Found::Unusable,
                // Nobody came this far.
                Some(None) => break,
                Some(Some(None)) => Found::Unknown,
                Some(Some(Some(record))) if record.credential.is_over(now) => Found::Over(record),
                Some(Some(Some(record))) if is_of(candidate.kind, &record.credential) => Found::Counts(record),
                Some(Some(Some(record))) => Found::OfOtherKind(record),
            };
            let record = match &found {
                Found::Counts(record) => Some(Some(record.clone())),
                _ if candidate.if_unknown == IfUnknown::Stop => Some(None),
                _ => None,
            };
            decided = record.map(|record| (name(candidate.place), record));
            let (place, kind, if_unknown) = (candidate.place, candidate.kind, candidate.if_unknown);
            steps.push(Step { place, kind, if_unknown, found });
            if decided.is_some() {
                break;
            }
        }
        let sent = headers.contains_key("x-csrf-token");
        let cookie = match presented.sessions() {
            None if SessionCookies::of(headers).is_empty() => Cookie::None,
            Some(_) | None if decided.is_some() => Cookie::NotAsked,
            None => Cookie::WithoutToken { sent },
            Some(cookies) => match judging.live_session(cookies, None, now).await? {
                LiveSession::None => {
                    let lasted = |session: &str| match witness.saw(Key::Session(Digest::of(session.as_bytes()))) {
                        Some(Some(Record { credential: Credential::Session(session), .. })) => {
                            judging.use_rules().last_of(&session) <= now
                        }
                        _ => false,
                    };
                    if cookies.iter().any(lasted) { Cookie::TooLong } else { Cookie::Ended }
                }
                LiveSession::Several => Cookie::Several,
                LiveSession::One(session, _) if !presented.admits(session) => Cookie::WithoutToken { sent },
                LiveSession::One(_, entry) => {
                    decided = Some((SESSION, Some(entry.record.clone())));
                    Cookie::Counts
                }
            },
        };
        Ok(Self { steps, cookie, other_scheme: scheme(headers).is_some(), decided })
    }

    /// The place whose credential decided.
    pub(super) fn decided_by(&self) -> Option<&'static str> {
        self.decided.as_ref().map(|(place, _)| *place)
    }

    /// The credential that decided, if it is somebody's.
    pub(super) fn record(&self) -> Option<&Record> {
        self.decided.as_ref()?.1.as_ref()
    }

    /// It was decided by a token that stands where its kind does not count.
    pub(super) fn misplaced(&self) -> bool {
        matches!(self.steps.last(), Some(Step { found: Found::OfOtherKind(_), .. }))
    }

    /// One line for each of them, the session cookie last.
    pub(super) fn seen(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        headers: &HeaderMap,
    ) -> Vec<Seen> {
        let place = |(place, secret)| self.place(place, secret, presented, requirement);
        let mut all: Vec<Seen> = presented.places(requirement).map(place).collect();
        all.extend(session(headers, |cookies| match &self.cookie {
            Cookie::Several if cookies.too_many() => format!("not accepted: more than {MOST_COOKIES} of them"),
            Cookie::Several => "not accepted: two of them are live sessions".into(),
            Cookie::WithoutToken { sent: false } => "not accepted: a write also needs X-CSRF-Token".into(),
            Cookie::WithoutToken { sent: true } => "not accepted: X-CSRF-Token belongs to another session".into(),
            Cookie::Ended => "no session, or one that has ended".into(),
            Cookie::TooLong => "a session that has lasted for sessions.longest".into(),
            Cookie::Counts if cookies.count() > 1 => format!("a session of {}, the only live one", self.owner()),
            Cookie::Counts => format!("a session of {}", self.owner()),
            Cookie::NotAsked | Cookie::None => "not checked".into(),
        }));
        if let Some((decided, _)) = &self.decided {
            for seen in all.iter_mut().filter(|seen| seen.place == *decided) {
                seen.decided = true;
            }
        }
        all.extend(ignored(headers, requirement, "the API does not read it", |kind| {
            format!("not checked: this endpoint does not accept {kind}")
        }));
        all
    }

    fn place(
        &self,
        place: CredentialPlace,
        secret: &Secret<'_>,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
    ) -> Seen {
        let told: Vec<String> = self.steps.iter().filter(|step| step.place == place).map(Step::words).collect();
        let candidate = presented.candidates(requirement).any(|candidate| candidate.place == place);
        let outcome = match told.is_empty() {
            _ if secret.blank() => "blank: treated as absent".to_owned(),
            false => told.join("; "),
            true if !candidate && is_job_token(secret) => "a job token: treated as absent".to_owned(),
            true if !candidate => "not checked: another place has precedence".to_owned(),
            true => "not checked".to_owned(),
        };
        masked(name(place), secret, outcome)
    }

    fn owner(&self) -> String {
        self.record().map_or_else(String::new, owner)
    }
}

impl Step {
    fn words(&self) -> String {
        let kind = match self.kind {
            CandidateKind::OauthAccessToken => "OAuth access token",
            CandidateKind::PersonalAccessToken => "personal access token",
            CandidateKind::DeployToken => "deploy token",
            CandidateKind::JobToken => "job token",
        };
        match &self.found {
            Found::Counts(record) => format!("{} of {}", what(&record.credential), owner(record)),
            Found::Over(record) => format!("{} of {}, which is over", what(&record.credential), owner(record)),
            Found::OfOtherKind(_) | Found::Unknown if self.if_unknown == IfUnknown::Next => format!("no {kind}"),
            Found::OfOtherKind(record) => {
                format!("no {kind}, but {} of {}", what(&record.credential), owner(record))
            }
            Found::Unknown => format!("unknown {kind}"),
            Found::Unusable => format!("cannot be a {kind}"),
        }
    }
}

/// Everything in the head, when nobody looks at it.
pub(super) fn untried(presented: &PresentedCredentials<'_>, headers: &HeaderMap, why: &str) -> Vec<Seen> {
    let plain = &AccessRequirement::PLAIN;
    let mut all: Vec<Seen> =
        presented.places(plain).map(|(place, secret)| masked(name(place), secret, why.to_owned())).collect();
    all.extend(session(headers, |_| why.to_owned()));
    all.extend(ignored(headers, plain, why, |_| why.to_owned()));
    all
}

/// Whose credential it is, in words.
pub(super) fn owner(record: &Record) -> String {
    match &record.owner {
        Some(owner) => printable(&owner.username),
        None => "an application, without a user".to_owned(),
    }
}

fn what(credential: &Credential) -> &'static str {
    match credential {
        Credential::PersonalAccessToken(_) => "a personal access token",
        Credential::OauthAccessToken(_) => "an OAuth access token",
        Credential::Session(_) => "a session",
        Credential::DeployToken(_) => "a deploy token",
        Credential::JobToken(_) => "a job token",
    }
}

fn session(headers: &HeaderMap, outcome: impl FnOnce(&SessionCookies) -> String) -> Option<Seen> {
    let cookies = SessionCookies::of(headers);
    let length = Some(cookies.iter().map(str::len).sum());
    (!cookies.is_empty()).then(|| Seen {
        place: SESSION,
        prefix: None,
        length,
        outcome: outcome(&cookies),
        decided: false,
    })
}

/// What the endpoint does not read, though people send it.
fn ignored(
    headers: &HeaderMap,
    requirement: &AccessRequirement<'_>,
    why: &str,
    token: impl Fn(&str) -> String,
) -> Vec<Seen> {
    let mut all = Vec::new();
    if let Some((place, length)) = scheme(headers) {
        all.push(Seen { place, prefix: None, length: Some(length), outcome: why.to_owned(), decided: false });
    }
    let jobs = requirement.job_tokens != JobTokens::None;
    for (header, place, kind, read) in [
        ("job-token", "JOB-TOKEN", "job tokens", jobs),
        ("deploy-token", "Deploy-Token", "deploy tokens", !requirement.deploy_tokens.is_empty()),
    ] {
        if let Some(value) = headers.get(header).filter(|_| !read) {
            let (prefix, outcome) = (prefix(value.as_bytes()), token(kind));
            all.push(Seen { place, prefix, length: Some(value.len()), outcome, decided: false });
        }
    }
    all
}

/// Another scheme than bearer, and how much follows it.
fn scheme(headers: &HeaderMap) -> Option<(&'static str, usize)> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let word = value.split(|b| *b == b' ').next().unwrap_or_default();
    let place = match word {
        _ if word.eq_ignore_ascii_case(b"bearer") => return None,
        _ if word.eq_ignore_ascii_case(b"basic") => "Authorization: Basic",
        _ => "Authorization",
    };
    Some((place, value.len() - word.len()))
}

fn masked(place: &'static str, secret: &Secret<'_>, outcome: String) -> Seen {
    match secret {
        Secret::Value(value) => {
            Seen { place, prefix: prefix(value), length: Some(value.len()), outcome, decided: false }
        }
        Secret::Unusable => Seen { place, prefix: None, length: None, outcome, decided: false },
    }
}

fn prefix(value: &[u8]) -> Option<&'static str> {
    PREFIXES.into_iter().find(|prefix| value.starts_with(prefix.as_bytes()))
}

fn is_job_token(secret: &Secret<'_>) -> bool {
    matches!(secret, Secret::Value(value) if value.starts_with(JOB_TOKEN.prefix.as_bytes()))
}

fn name(place: CredentialPlace) -> &'static str {
    match place {
        CredentialPlace::AccessTokenParameter => "access_token parameter",
        CredentialPlace::AuthorizationHeader => "Authorization: Bearer",
        CredentialPlace::BearerTokenParameter => "bearer_token parameter",
        CredentialPlace::PrivateTokenParameter => "private_token parameter",
        CredentialPlace::PrivateTokenHeader => "PRIVATE-TOKEN",
        CredentialPlace::JobTokenParameter => "job_token parameter",
        CredentialPlace::TokenParameter => "token parameter",
        CredentialPlace::JobTokenHeader => "JOB-TOKEN",
        CredentialPlace::DeployTokenHeader => "Deploy-Token",
        CredentialPlace::BasicPassword => "Authorization: Basic",
        CredentialPlace::SessionCookie => SESSION,
    }
}

const SESSION: &str = "session cookie";

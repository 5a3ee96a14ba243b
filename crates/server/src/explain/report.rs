//! What is told, as an object and as text.

use std::fmt;

use axum::http::header;
use axum::http::request::Parts;
use serde::Serialize;
use tollhouse_domain::audit::By;
use tollhouse_domain::identity::{Identity, Via};
use tollhouse_domain::lookup::{Credential, Record};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::text::{loggable, printable};

use super::Seen;
use crate::surface::Surface;

/// What would become of a request. Its JSON is a format that others read (docs/explain.md), so keys keep their names.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The method that was sent.
    pub method: String,
    /// Without the query, which may hold a credential.
    pub path: String,
    /// The path of the endpoint, with `{name}` for captures. `None`: no endpoint has it.
    pub route: Option<String>,
    /// The surface: `api`, `oauth`, `page`, `gateway` or `probe`.
    #[serde(rename = "face")]
    pub surface: &'static str,
    /// What the endpoint asks of its caller, in words.
    pub takes: String,
    /// Every credential that was presented, in the order in which they are tried.
    pub credentials: Vec<Seen>,
    /// The place whose credential decided. `None`: none did.
    pub decided_by: Option<&'static str>,
    /// Who calls, if that came out.
    pub identity: Option<Who>,
    /// What becomes of it.
    pub verdict: Verdict,
    /// The code of the refusal, as the log has it. `None`: it is not refused.
    pub reason: Option<&'static str>,
    /// Why, in a sentence.
    pub why: String,
    /// What would make it pass, each by itself.
    pub remedies: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// What a refused caller gets. `None`: it is not refused, or not judged.
    pub answer: Option<Answer>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It reaches its handler.
    Passes,
    /// It is answered without its handler.
    Refused,
    /// No credential of the API counts there.
    NotJudged,
}

/// Whose credential it is, and what it is good for.
#[derive(Debug, Serialize)]
pub struct Who {
    /// The user's `id`.
    pub user_id: i64,
    /// The user's name, made printable.
    pub username: String,
    /// Whether the user administers the server.
    pub administrator: bool,
    /// The state of the account, as on the wire.
    pub state: &'static str,
    /// As the audit log names it.
    pub credential: String,
    /// `None`: a session, which has all rights of its user.
    pub scopes: Option<Scopes>,
    /// The application that holds an OAuth token. `None`: another credential.
    pub application_id: Option<i64>,
    /// The first instant at which it is dead, ISO 8601 in UTC. `None`: never.
    pub expires_at: Option<String>,
    /// Whom this account acts as.
    pub sudo: Option<Assumed>,
}

/// The user whom an administrator acts as.
#[derive(Debug, Serialize)]
pub struct Assumed {
    /// The user's `id`.
    pub user_id: i64,
    /// The user's name, made printable.
    pub username: String,
}

/// What the caller would get.
#[derive(Debug, Serialize)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// `WWW-Authenticate`, if there is one.
    pub www_authenticate: Option<String>,
    /// `None`: a page.
    pub body: Option<String>,
}

impl Explanation {
    /// Nothing is known yet.
    pub(super) fn new(sent: &Parts, surface: Surface) -> Self {
        Self {
            method: loggable(sent.method.as_str()),
            path: loggable(sent.uri.path()),
            route: None,
            surface: surface.as_str(),
            takes: String::new(),
            credentials: Vec::new(),
            decided_by: None,
            identity: None,
            verdict: Verdict::NotJudged,
            reason: None,
            why: String::new(),
            remedies: Vec::new(),
            notes: Vec::new(),
            answer: None,
        }
    }

    /// It is told why nothing was judged.
    pub(super) fn without_judgement(mut self, why: &str) -> Self {
        self.why = why.to_owned();
        self
    }

    /// `who`: `None` for an anonymous caller.
    pub(super) fn passes(mut self, who: Option<&Identity>) -> Self {
        self.verdict = Verdict::Passes;
        self.why = match who {
            Some(who) => format!(
                "The credentials are sufficient. The endpoint decides whether the object exists and whether {} may see it.",
                printable(&who.user.username)
            ),
            None => "The caller is anonymous, which this endpoint allows: the answer has only public data.".to_owned(),
        };
        self
    }
}

impl Who {
    /// `None`: it is an application's, which speaks for nobody.
    pub(super) fn of(record: &Record) -> Option<Self> {
        let user = record.owner.clone()?;
        let via = match &record.credential {
            Credential::PersonalAccessToken(token) => Via::PersonalAccessToken(token.clone()),
            Credential::OauthAccessToken(token) => Via::OauthAccessToken(token.clone()),
            Credential::Session(session) => Via::Session(session.clone()),
            Credential::JobToken(job) => Via::JobToken(job.clone()),
            Credential::DeployToken(_) => return None,
        };
        let expires_at = match &record.credential {
            Credential::Session(session) => Some(session.expires_at),
            Credential::JobToken(job) => Some(job.dead_from),
            credential => credential.token().and_then(|token| token.dead_from),
        };
        let application = record.credential.token().and_then(|token| token.application);
        let identity = Identity { user, via, sudo_by: None };
        Some(Self {
            user_id: identity.user.id.0,
            username: printable(&identity.user.username),
            administrator: identity.user.administrator,
            state: identity.user.state.as_str(),
            credential: By::caller(&identity, None).credential.to_string(),
            scopes: identity.scopes().cloned(),
            application_id: application.map(|id| id.0),
            expires_at: expires_at.map(|at| at.iso()),
            sudo: None,
        })
    }

    /// Notes the assumed user, if it is one.
    pub(super) fn acting(&mut self, who: &Identity) {
        let assumed = || Assumed { user_id: who.user.id.0, username: printable(&who.user.username) };
        self.sudo = who.sudo_by.as_ref().map(|_| assumed());
    }
}

impl Answer {
    /// Of an answer as it would be sent.
    pub(super) fn new(parts: &axum::http::response::Parts, body: &[u8]) -> Self {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let page = text(header::CONTENT_TYPE).is_some_and(|media| media.starts_with("text/html"));
        Self {
            status: parts.status.as_u16(),
            www_authenticate: text(header::WWW_AUTHENTICATE),
            body: (!page).then(|| String::from_utf8_lossy(body).into_owned()),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.method, self.path)?;
        if let Some(route) = &self.route {
            row(f, "Route", route)?;
        }
        if !self.takes.is_empty() {
            row(f, "Takes", &self.takes)?;
        }
        self.presented(f)?;
        if let Some(who) = &self.identity {
            who.fmt(f)?;
        }
        match (self.verdict, self.reason) {
            (Verdict::Passes, _) => row(f, "Passes", &self.why)?,
            (Verdict::Refused, Some(reason)) => row(f, "Refused", &format!("{reason}: {}", self.why))?,
            _ => row(f, "Not judged", &self.why)?,
        }
        for (i, remedy) in self.remedies.iter().enumerate() {
            row(f, if i == 0 { "To pass" } else { "   or" }, remedy)?;
        }
        for (i, note) in self.notes.iter().enumerate() {
            row(f, if i == 0 { "Note" } else { "" }, note)?;
        }
        let Some(answer) = &self.answer else { return Ok(()) };
        let body = answer.body.as_deref().map_or_else(|| "and a page with the reason".to_owned(), escaped);
        row(f, "Answer", &format!("{} {body}", answer.status))?;
        match &answer.www_authenticate {
            Some(challenge) => row(f, "", &format!("WWW-Authenticate: {challenge}")),
            None => Ok(()),
        }
    }
}

impl Explanation {
    fn presented(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.credentials.is_empty() {
            return row(f, "Presented", "no credential");
        }
        writeln!(f, "Presented, in the order in which they are tried:")?;
        let masked: Vec<String> = self.credentials.iter().map(Seen::masked).collect();
        let places = self.credentials.iter().map(|seen| seen.place.len()).max().unwrap_or_default();
        let widths = masked.iter().map(String::len).max().unwrap_or_default();
        for (i, (seen, masked)) in self.credentials.iter().zip(&masked).enumerate() {
            let decides = if seen.decided { "; it decides" } else { "" };
            writeln!(f, "  {}. {:places$}  {masked:widths$}  {}{decides}", i + 1, seen.place, seen.outcome)?;
        }
        Ok(())
    }
}

impl Seen {
    fn masked(&self) -> String {
        match (self.prefix, self.length) {
            (Some(prefix), Some(length)) => format!("{prefix}... ({length} bytes)"),
            (None, Some(length)) => format!("({length} bytes)"),
            _ => "(no text)".to_owned(),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rank = if self.administrator { ", an administrator" } else { "" };
        let state = if self.state == "active" { String::new() } else { format!(", {}", self.state) };
        row(f, "Who", &format!("{} (user {}{rank}{state}), by {}", self.username, self.user_id, self.credential))?;
        if let Some(sudo) = &self.sudo {
            row(f, "As", &format!("{} (user {}), by sudo", sudo.username, sudo.user_id))?;
        }
        if let Some(application) = self.application_id {
            row(f, "Given to", &format!("application {application}"))?;
        }
        let scopes: Option<Vec<&str>> =
            self.scopes.as_ref().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect());
        match scopes {
            Some(scopes) => row(f, "Scopes", &scopes.join(" "))?,
            None => row(f, "Scopes", "a session has all rights of its user")?,
        }
        match &self.expires_at {
            Some(at) => row(f, "Ends", at),
            None => Ok(()),
        }
    }
}

/// For a terminal, at any length: it may repeat what somebody sent (T30).
fn escaped(text: &str) -> String {
    let mut buffer = [0; 4];
    text.chars().map(|c| printable(c.encode_utf8(&mut buffer))).collect()
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, text: &str) -> fmt::Result {
    writeln!(f, "{name:10}  {text}")
}

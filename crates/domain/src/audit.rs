//! What the audit log says: who, by which credential, for whom, from where, did what to what (T29).

use std::net::IpAddr;

use crate::id::{ApplicationId, GenerationId, JobTokenId, UserId};
use crate::identity::{Identity, Via};

/// Who is behind a change.
#[derive(Clone, Debug)]
pub struct By {
    /// The account whose credential it was; `None` is the system itself.
    pub actor: Option<UserId>,
    /// Whom the actor was (sudo), if somebody else.
    pub subject: Option<UserId>,
    /// What the change was made with.
    pub credential: CredentialName,
    /// The client address, as far as trusted proxies tell it.
    pub address: Option<IpAddr>,
}

impl By {
    /// The server itself: sweeps, the start, what no request asked for.
    pub fn system() -> Self {
        Self { actor: None, subject: None, credential: CredentialName::System, address: None }
    }

    /// Somebody who is about to sign in, or signed in by password just now.
    pub fn password(actor: Option<UserId>, address: Option<IpAddr>) -> Self {
        Self { actor, subject: None, credential: CredentialName::Password, address }
    }

    /// A user of this machine who runs a command: their number and name, as `id` prints them.
    pub fn command_line(user: String) -> Self {
        Self { credential: CredentialName::CommandLine(user), ..Self::system() }
    }

    /// An application at the token endpoint; `None`: it did not authenticate.
    pub fn application(id: Option<ApplicationId>, address: Option<IpAddr>) -> Self {
        let credential = id.map_or(CredentialName::Nothing, CredentialName::Application);
        Self { actor: None, subject: None, credential, address }
    }

    /// An authenticated caller. Under sudo the actor is the administrator and the subject the assumed user.
    pub fn caller(who: &Identity, address: Option<IpAddr>) -> Self {
        let credential = match &who.via {
            Via::PersonalAccessToken(token) => CredentialName::PersonalAccessToken(token.id),
            Via::OauthAccessToken(token) => CredentialName::OauthAccessToken(token.id),
            Via::Session(_) => CredentialName::Session,
            Via::JobToken(job) => CredentialName::JobToken(job.id),
        };
        match &who.sudo_by {
            Some(real) => Self { actor: Some(real.id), subject: Some(who.user.id), credential, address },
            None => Self { actor: Some(who.user.id), subject: None, credential, address },
        }
    }
}

/// Which credential a change was made with. The text of it is the column `credential` of `audit_events`, such as
/// `personal_access_token:7`; it never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialName {
    /// No credential: the server itself.
    System,
    /// Whoever can open the database from a shell of this machine.
    CommandLine(String),
    /// A client that did not authenticate.
    Nothing,
    /// A password that was given just now; also a sign-out by cookies of which none says who asks.
    Password,
    /// A browser session.
    Session,
    /// A personal access token, by its generation.
    PersonalAccessToken(GenerationId),
    /// An OAuth access token, by its generation.
    OauthAccessToken(GenerationId),
    /// The token of a CI job.
    JobToken(JobTokenId),
    /// An application that showed its own credentials.
    Application(ApplicationId),
}

impl std::fmt::Display for CredentialName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("system"),
            Self::CommandLine(user) => write!(f, "command_line:{user}"),
            Self::Nothing => f.write_str("nothing"),
            Self::Password => f.write_str("password"),
            Self::Session => f.write_str("session"),
            Self::PersonalAccessToken(id) => write!(f, "personal_access_token:{id}"),
            Self::OauthAccessToken(id) => write!(f, "oauth_access_token:{id}"),
            Self::JobToken(id) => write!(f, "job_token:{id}"),
            Self::Application(id) => write!(f, "application:{id}"),
        }
    }
}

/// One line of the audit log. What is free text in `detail` goes through [`crate::text::printable`] when it is written.
#[derive(Clone, Debug)]
pub struct Audit {
    /// What happened, as `<resource>.<past participle>`: `project.created`.
    pub event: &'static str,
    /// What it happened to.
    pub target: Target,
    /// More of it for people: a path, an expiry. Never a secret.
    pub detail: String,
}

impl Audit {
    /// A row without details.
    pub fn new(event: &'static str, target: Target) -> Self {
        Self { event, target, detail: String::new() }
    }

    /// With these details instead of any earlier ones.
    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

/// The row that a change is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The resource in the singular, such as `group` or `personal_access_token`.
    pub kind: &'static str,
    /// The number of its row.
    pub id: i64,
}

impl Target {
    /// `id`: the number of the row.
    pub fn new(kind: &'static str, id: i64) -> Self {
        Self { kind, id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t29_the_column_names_the_credential_and_its_number() {
        for (credential, text) in [
            (CredentialName::System, "system"),
            (CredentialName::CommandLine("1000(ada)".into()), "command_line:1000(ada)"),
            (CredentialName::Nothing, "nothing"),
            (CredentialName::Password, "password"),
            (CredentialName::Session, "session"),
            (CredentialName::PersonalAccessToken(GenerationId(7)), "personal_access_token:7"),
            (CredentialName::OauthAccessToken(GenerationId(7)), "oauth_access_token:7"),
            (CredentialName::JobToken(JobTokenId(7)), "job_token:7"),
            (CredentialName::Application(ApplicationId(3)), "application:3"),
        ] {
            assert_eq!(credential.to_string(), text);
        }
    }

    #[test]
    fn t29_a_command_is_told_by_the_user_of_the_machine_and_has_no_actor() {
        let by = By::command_line("1000(ada)".into());
        assert_eq!(by.credential, CredentialName::CommandLine("1000(ada)".into()));
        assert_eq!((by.actor, by.subject, by.address), (None, None, None));
    }
}

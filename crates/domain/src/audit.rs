//! What the audit log says: who, by which credential, for whom, from where, did what to what (T29).

use std::net::IpAddr;

use crate::id::{ApplicationId, GenerationId, UserId};
use crate::identity::{Identity, Via};

/// Who is behind a change.
#[derive(Clone, Debug)]
pub struct By {
    /// The account whose credential it was; `None` is the system itself.
    pub actor: Option<UserId>,
    /// Whom the actor was (sudo), if somebody else.
    pub subject: Option<UserId>,
    pub credential: CredentialName,
    pub address: Option<IpAddr>,
}

impl By {
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

    pub fn caller(who: &Identity, address: Option<IpAddr>) -> Self {
        let credential = match &who.via {
            Via::PersonalAccessToken(token) => CredentialName::PersonalAccessToken(token.id),
            Via::OauthAccessToken(token) => CredentialName::OauthAccessToken(token.id),
            Via::Session(_) => CredentialName::Session,
        };
        match &who.sudo_by {
            Some(real) => Self { actor: Some(real.id), subject: Some(who.user.id), credential, address },
            None => Self { actor: Some(who.user.id), subject: None, credential, address },
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialName {
    System,
    /// Whoever can open the database from a shell of this machine.
    CommandLine(String),
    Nothing,
    Password,
    Session,
    PersonalAccessToken(GenerationId),
    OauthAccessToken(GenerationId),
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
            Self::Application(id) => write!(f, "application:{id}"),
        }
    }
}

/// One line of the audit log. What is free text in `detail` goes through [`crate::text::printable`] when it is written.
#[derive(Clone, Debug)]
pub struct Audit {
    pub event: &'static str,
    pub target: Target,
    pub detail: String,
}

impl Audit {
    pub fn new(event: &'static str, target: Target) -> Self {
        Self { event, target, detail: String::new() }
    }

    pub fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    pub kind: &'static str,
    pub id: i64,
}

impl Target {
    pub fn new(kind: &'static str, id: i64) -> Self {
        Self { kind, id }
    }
}

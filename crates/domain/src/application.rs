//! OAuth applications: the programs that people let act for them (oauth.md 2.1).

use crate::id::{ApplicationId, UserId};
use crate::redirect::RedirectUris;
use crate::scope::{Scope, Scopes};
use crate::secret::Digest;
use crate::time::Timestamp;

/// An OAuth application (RFC 6749 section 2), with the digest of its secret.
#[derive(Clone, Debug)]
pub struct Application {
    /// Its row; what `GET /applications` calls `id`.
    pub id: ApplicationId,
    /// `client_id`: 64 lower-case hexadecimal digits.
    pub uid: String,
    /// Of the client secret, without which nobody can authenticate as it.
    pub secret_digest: Digest,
    /// As people see it on the page that asks for consent.
    pub name: String,
    /// Where codes may be sent.
    pub redirect_uris: RedirectUris,
    /// Empty: any scope of the server.
    pub scopes: Scopes,
    /// It can keep a secret, so it must show it.
    pub confidential: bool,
    /// Users are not asked for consent.
    pub trusted: bool,
    /// `None`: it belongs to the instance.
    pub owner: Option<UserId>,
    /// When it was registered.
    pub created_at: Timestamp,
}

impl Application {
    /// What a request asks for, or what counts if it says nothing (oauth.md section 3). `None`: more than the
    /// application has, or nothing at all.
    pub fn scopes_for(&self, asked: Option<&str>) -> Option<Scopes> {
        let asked = match asked {
            Some(text) => Scopes::parse(text)?,
            None => Scopes::from([Scope::Api]),
        };
        let allowed = self.scopes.is_empty() || asked.is_within(&self.scopes);
        (allowed && !asked.is_empty()).then_some(asked)
    }

    /// What an administrator can forbid administrators to give away: everything that opens the API, repositories or
    /// registries (oauth.md 5.3).
    pub fn reaches_administrators(&self) -> bool {
        const REACHING: [Scope; 11] = [
            Scope::Api,
            Scope::ReadApi,
            Scope::Sudo,
            Scope::AdminMode,
            Scope::ReadServicePing,
            Scope::ReadRepository,
            Scope::WriteRepository,
            Scope::ReadRegistry,
            Scope::WriteRegistry,
            Scope::ReadVirtualRegistry,
            Scope::WriteVirtualRegistry,
        ];
        self.scopes.is_empty() || REACHING.into_iter().any(|scope| self.scopes.contains(scope))
    }
}

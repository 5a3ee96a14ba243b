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

#[cfg(test)]
mod tests {
    use super::*;

    fn application(scopes: &str) -> Application {
        Application {
            id: ApplicationId(1),
            uid: "0".repeat(64),
            secret_digest: Digest([0; 32]),
            name: "App".into(),
            redirect_uris: RedirectUris::parse("https://a.test/cb").expect("a redirect URI"),
            scopes: Scopes::from_words(scopes),
            confidential: true,
            trusted: false,
            owner: None,
            created_at: Timestamp(0),
        }
    }

    #[test]
    fn a_request_gets_what_it_asks_for_if_the_application_has_it() {
        for (registered, asked, given) in [
            // The default is `api`; an application that lacks it has to be asked for something else.
            ("", None, Some("api")),
            ("api read_user", None, Some("api")),
            ("read_user", None, None),
            ("read_user openid", Some("openid read_user"), Some("openid read_user")),
            ("read_user openid", Some("openid api"), None),
            // No scope contains another.
            ("api", Some("read_api"), None),
            // Without scopes of its own it may have every scope of the server.
            ("", Some("sudo email"), Some("sudo email")),
            ("", Some("nonsense"), None),
            ("", Some("api\tread_user"), None),
            ("", Some(""), None),
            ("api", Some(" "), None),
        ] {
            let scopes = application(registered).scopes_for(asked);
            assert_eq!(scopes.map(|scopes| scopes.to_string()).as_deref(), given, "{registered:?} {asked:?}");
        }
    }

    #[test]
    fn what_opens_api_repositories_or_registries_reaches_administrators() {
        for reaching in [
            "",
            "api",
            "read_api",
            "sudo",
            "admin_mode",
            "read_service_ping",
            "read_repository",
            "write_repository",
            "read_registry",
            "write_registry",
            "read_virtual_registry",
            "write_virtual_registry",
            "openid api",
        ] {
            assert!(application(reaching).reaches_administrators(), "{reaching:?}");
        }
        for harmless in ["read_user", "openid profile email", "create_runner"] {
            assert!(!application(harmless).reaches_administrators(), "{harmless}");
        }
    }
}

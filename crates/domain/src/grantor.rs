//! What a credential may pass on: none makes another one, or registers an application, that opens more than it opens
//! itself.

use crate::id::UserId;
use crate::identity::Identity;
use crate::scope::{Holder, Scope, Scopes};

/// Who makes a credential or registers an application, and with what.
#[derive(Clone, Debug)]
pub struct Grantor {
    /// For whom: under sudo, the assumed user.
    pub user: UserId,
    /// Whose credential it is.
    pub actor: UserId,
    /// The scopes of the token in use. `None`: a session, which has all rights of its user.
    pub scopes: Option<Scopes>,
}

impl Grantor {
    /// By the credential of a request.
    pub fn of(caller: &Identity) -> Self {
        let user = caller.user.id;
        let actor = caller.sudo_by.as_ref().map_or(user, |real| real.id);
        Self { user, actor, scopes: caller.scopes().cloned() }
    }

    /// Whether what it makes may have this scope. `administrator`: whether the account is one now.
    pub fn may_grant(&self, scope: Scope, administrator: bool) -> bool {
        let holds = |scope| self.scopes.as_ref().is_none_or(|held| held.contains(scope));
        match scope.holder() {
            // No other scope contains these.
            Holder::Administrators => administrator && holds(scope),
            Holder::Anyone | Holder::ApplicationsOnly => {
                holds(scope)
                    || CONTAINED.iter().any(|(by, all)| holds(*by) && all.contains(&scope))
                    || holds(Scope::Api)
            }
        }
    }
}

/// What a scope opens that has a scope of its own too (authentication.md 3.1). `api` contains all but those of
/// administrators.
const CONTAINED: &[(Scope, &[Scope])] = &[
    (Scope::ReadApi, &[Scope::ReadUser, Scope::Openid, Scope::Profile, Scope::Email]),
    (Scope::ReadUser, &[Scope::Openid, Scope::Profile, Scope::Email]),
    (Scope::WriteRepository, &[Scope::ReadRepository]),
    (Scope::WriteRegistry, &[Scope::ReadRegistry]),
    (Scope::WriteVirtualRegistry, &[Scope::ReadVirtualRegistry]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_passed_on_that_is_not_held() {
        for (held, granted, plain, administrator) in [
            (None, "api", true, true),
            (None, "openid", true, true),
            (None, "sudo", false, true),
            (Some("api"), "api", true, true),
            (Some("api"), "read_api", true, true),
            (Some("api"), "ai_workflows", true, true),
            (Some("api"), "sudo", false, false),
            (Some("api"), "admin_mode", false, false),
            (Some("api sudo"), "sudo", false, true),
            (Some("sudo"), "api", false, false),
            (Some("read_api"), "api", false, false),
            (Some("read_api"), "read_user", true, true),
            (Some("read_api"), "email", true, true),
            (Some("read_api"), "read_repository", false, false),
            (Some("read_user"), "openid", true, true),
            (Some("read_user"), "read_api", false, false),
            (Some("write_repository"), "read_repository", true, true),
            (Some("read_repository"), "write_repository", false, false),
            (Some("self_rotate"), "read_user", false, false),
        ] {
            let grantor = Grantor { user: UserId(1), actor: UserId(1), scopes: held.map(Scopes::from_words) };
            let scope = Scope::parse(granted).expect("a scope");
            let may = [false, true].map(|administrator| grantor.may_grant(scope, administrator));
            assert_eq!(may, [plain, administrator], "{held:?} {granted}");
        }
    }
}

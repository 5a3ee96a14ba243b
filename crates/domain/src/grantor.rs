//! What a credential may pass on: none makes another one, or registers an application, that opens more than it opens
//! itself (authentication.md 3.3).

use crate::id::UserId;
use crate::identity::Identity;
use crate::scope::{Holder, Scope, Scopes};

/// The scopes that a credential may hand on: none that it could not use itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantableScopes {
    /// `None`: a session, which has all rights of its user.
    held: Option<Scopes>,
    /// It acts as another user, where no scope but `sudo` is asked for (section 4).
    sudo: bool,
}

impl GrantableScopes {
    /// `held`: the scopes of the token; `None`: a session. `sudo`: it acts as another user.
    pub fn new(held: Option<Scopes>, sudo: bool) -> Self {
        Self { held, sudo }
    }

    /// Whether it may hand this one on. `api` contains whatever the other scopes open, but for those that only
    /// administrators may hold, which no other scope contains.
    pub fn includes(&self, scope: Scope) -> bool {
        let Some(held) = &self.held else { return true };
        let contained = || CONTAINED.iter().any(|(by, all)| held.contains(*by) && all.contains(&scope));
        let by_api = || scope.holder() != Holder::Administrators && (self.sudo || held.contains(Scope::Api));
        held.contains(scope) || contained() || by_api()
    }

    /// Whether all of them are included.
    pub fn include(&self, scopes: &Scopes) -> bool {
        scopes.iter().all(|scope| self.includes(scope))
    }
}

/// Who registers an application, and with what.
#[derive(Clone, Debug)]
pub struct Grantor {
    /// For whom: under sudo, the assumed user.
    pub user: UserId,
    /// Whose credential it is.
    pub actor: UserId,
    /// What that credential may hand on.
    pub grantable: GrantableScopes,
}

impl Grantor {
    /// By the credential of a request.
    pub fn of(caller: &Identity) -> Self {
        let user = caller.user.id;
        let actor = caller.sudo_by.as_ref().map_or(user, |real| real.id);
        Self { user, actor, grantable: caller.grantable() }
    }

    /// Whether what it makes may have this scope. `administrator`: whether the account is one now.
    pub fn may_grant(&self, scope: Scope, administrator: bool) -> bool {
        (administrator || scope.holder() != Holder::Administrators) && self.grantable.includes(scope)
    }
}

/// What a scope opens that has a scope of its own too (authentication.md 3.1).
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
        for (held, sudo, granted, plain, administrator) in [
            (None, false, "api", true, true),
            (None, false, "openid", true, true),
            (None, false, "sudo", false, true),
            (Some("api"), false, "api", true, true),
            (Some("api"), false, "read_api", true, true),
            (Some("api"), false, "ai_workflows", true, true),
            (Some("api"), false, "sudo", false, false),
            (Some("api"), false, "admin_mode", false, false),
            (Some("api sudo"), false, "sudo", false, true),
            (Some("sudo"), false, "api", false, false),
            (Some("sudo"), true, "api", true, true),
            (Some("sudo"), true, "sudo", false, true),
            (Some("sudo"), true, "admin_mode", false, false),
            (Some("read_api"), false, "api", false, false),
            (Some("read_api"), false, "read_user", true, true),
            (Some("read_api"), false, "email", true, true),
            (Some("read_api"), false, "read_repository", false, false),
            (Some("read_user"), false, "openid", true, true),
            (Some("read_user"), false, "read_api", false, false),
            (Some("write_repository"), false, "read_repository", true, true),
            (Some("read_repository"), false, "write_repository", false, false),
            (Some("self_rotate"), false, "read_user", false, false),
            (Some(""), false, "api", false, false),
        ] {
            let grantable = GrantableScopes::new(held.map(Scopes::from_words), sudo);
            let scope = Scope::parse(granted).expect("a scope");
            assert_eq!(grantable.includes(scope), administrator, "{held:?} {sudo} {granted}");
            let grantor = Grantor { user: UserId(1), actor: UserId(1), grantable };
            let may = [false, true].map(|administrator| grantor.may_grant(scope, administrator));
            assert_eq!(may, [plain, administrator], "{held:?} {sudo} {granted}");
        }
    }

    #[test]
    fn several_scopes_are_passed_on_together_or_not_at_all() {
        let grantable = GrantableScopes::new(Some(Scopes::from_words("read_api self_rotate")), false);
        for (scopes, included) in
            [("", true), ("read_api", true), ("self_rotate read_user", true), ("read_api api", false), ("api", false)]
        {
            assert_eq!(grantable.include(&Scopes::from_words(scopes)), included, "{scopes}");
        }
    }
}

//! What a route, or a rule of the gateway, asks of its caller. A route cannot be declared without one.

use crate::denial::Denial;
use crate::id::ApplicationId;
use crate::scope::{Scope, Scopes};

/// What a caller must have to reach a handler, or to pass a rule of the gateway. Scopes are checked after account and
/// sudo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccessRequirement<'a> {
    /// Whether callers without a credential are admitted. An invalid credential is refused all the same.
    pub anonymous: bool,
    /// Whether the caller, after sudo, must be an administrator; else [`Denial::NotAdministrator`].
    pub administrator: bool,
    /// Scopes that open this route besides `api`, and `read_api` on a read.
    pub scopes: &'a [Extra],
    /// Every scope opens it (`/personal_access_tokens/self`).
    pub any_scope: bool,
    /// Applications whose own tokens count, though they speak for nobody (T6).
    pub applications: &'a [ApplicationId],
    /// Which mistake is reported when both the credential and a parameter are wrong.
    pub check_order: CheckOrder,
    /// A token that was rotated away may come this far, to be given its successor again (rotation.md section 3).
    pub rotates: bool,
    /// With `compat.rotation = "gitlab"`: a token that was rotated away and is presented here ends its family
    /// (authentication.md 5.7).
    pub detects_reuse: bool,
    /// It takes the right away that was shown. So a refusal for want of that right may answer a repeat, and is an
    /// acknowledgement too (revocation.md W4).
    pub revokes: bool,
}

impl AccessRequirement<'_> {
    /// A signed-in caller with `api`, or `read_api` on a read. The start for every other requirement.
    pub const PLAIN: Self = Self {
        anonymous: false,
        administrator: false,
        scopes: &[],
        any_scope: false,
        applications: &[],
        check_order: CheckOrder::BeforeParameters,
        rotates: false,
        detects_reuse: false,
        revokes: false,
    };

    /// Whether a token with these scopes opens the route (authentication.md 3.2). The refusal lists every scope
    /// registered for the route, conditions or not (2.3).
    pub fn accepts(&self, held: &Scopes, read: bool) -> Result<(), Denial> {
        if self.any_scope || held.contains(Scope::Api) || (read && held.contains(Scope::ReadApi)) {
            return Ok(());
        }
        if self.scopes.iter().any(|extra| (read || !extra.reads_only) && held.contains(extra.scope)) {
            return Ok(());
        }
        Err(Denial::Scope(self.registered().collect()))
    }

    /// The scopes each of which alone opens it, in the order in which a refusal lists them. `read`: for GET and HEAD.
    pub fn opened_by(&self, read: bool) -> Vec<Scope> {
        self.registered().filter(|scope| self.accepts(&Scopes::from([*scope]), read).is_ok()).collect()
    }

    fn registered(&self) -> impl Iterator<Item = Scope> {
        self.scopes.iter().map(|extra| extra.scope).chain([Scope::Api, Scope::ReadApi])
    }
}

/// A scope that a class of endpoints adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extra {
    /// The scope that opens the endpoint.
    pub scope: Scope,
    /// Whether it opens GET and HEAD only.
    pub reads_only: bool,
}

impl Extra {
    /// A scope that opens GET and HEAD, such as `read_user`.
    pub const fn reads(scope: Scope) -> Self {
        Self { scope, reads_only: true }
    }

    /// A scope that opens every method.
    pub const fn any(scope: Scope) -> Self {
        Self { scope, reads_only: false }
    }
}

/// Whether a bad credential or a bad parameter is reported first (authentication.md section 0, stages 7 to 9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckOrder {
    /// The credential first: a bad one is 401 even if a parameter is wrong too.
    BeforeParameters,
    /// The parameters first: 400 even if the credential is bad.
    AfterParameters,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_open_what_the_specification_says() {
        const USERS: AccessRequirement<'_> =
            AccessRequirement { scopes: &[Extra::reads(Scope::ReadUser)], ..AccessRequirement::PLAIN };
        let held = |scope| Scopes::from([scope]);
        assert_eq!(USERS.accepts(&held(Scope::Api), false), Ok(()));
        assert_eq!(USERS.accepts(&held(Scope::ReadApi), true), Ok(()));
        assert_eq!(USERS.accepts(&held(Scope::ReadUser), true), Ok(()));
        let list = Err(Denial::Scope(vec![Scope::ReadUser, Scope::Api, Scope::ReadApi]));
        assert_eq!(USERS.accepts(&held(Scope::ReadUser), false), list);
        assert_eq!(USERS.accepts(&held(Scope::ReadApi), false), list);
        assert_eq!(USERS.accepts(&held(Scope::Sudo), true), list);
    }

    #[test]
    fn only_scopes_that_open_it_are_listed_as_such() {
        const MIXED: &[Extra] = &[Extra::reads(Scope::ReadUser), Extra::any(Scope::K8sProxy)];
        const REQUIREMENT: AccessRequirement<'_> = AccessRequirement { scopes: MIXED, ..AccessRequirement::PLAIN };
        assert_eq!(REQUIREMENT.opened_by(true), [Scope::ReadUser, Scope::K8sProxy, Scope::Api, Scope::ReadApi]);
        assert_eq!(REQUIREMENT.opened_by(false), [Scope::K8sProxy, Scope::Api]);
    }
}

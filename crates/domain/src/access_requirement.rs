//! What a route, or a rule of the gateway, asks of its caller. A route cannot be declared without one.

use crate::denial::Denial;
use crate::deploy_token::{DeployScope, DeployScopes};
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
    /// Deploy tokens with one of these scopes count. Empty: deploy tokens are not looked for.
    pub deploy_tokens: &'a [DeployScope],
    /// How job tokens count.
    pub job_tokens: JobTokens,
    /// A personal access token counts as password of HTTP Basic too, whatever the user name.
    pub token_as_password: bool,
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
        deploy_tokens: &[],
        job_tokens: JobTokens::None,
        token_as_password: false,
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

    /// Whether a deploy token with these scopes opens the route. No scope of access tokens does.
    pub fn accepts_deploy_token(&self, held: &DeployScopes) -> Result<(), Denial> {
        if held.any_of(self.deploy_tokens) { Ok(()) } else { Err(Denial::Scope(self.registered().collect())) }
    }

    /// Whether a password of HTTP Basic may be a credential.
    pub fn reads_basic(&self) -> bool {
        self.token_as_password || self.job_tokens == JobTokens::AnyPlace || !self.deploy_tokens.is_empty()
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

/// Where a job token counts (authentication.md 1.5). As bearer value it counts wherever it counts at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobTokens {
    /// Nowhere.
    None,
    /// In `job_token`, `token` and `Job-Token`.
    Request,
    /// There, and as password of the user `gitlab-ci-token` in HTTP Basic.
    AnyPlace,
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

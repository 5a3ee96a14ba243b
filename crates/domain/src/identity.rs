//! Who it is, by what means and within what limits. A conclusion; there is no HTTP and no SQL in it.

use std::sync::Arc;

use crate::access::Viewer;
use crate::access_requirement::AccessRequirement;
use crate::denial::Denial;
use crate::grantor::GrantableScopes;
use crate::lookup::{Credential, DeployTokenRecord, JobTokenRecord, Record, SessionRecord, TokenRecord};
use crate::scope::Scopes;
use crate::time::Timestamp;
use crate::token::TokenStatus;
use crate::user::{AccountRules, User};

/// An authenticated caller: a person, or a bot that acts as one.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Who it acts as: after sudo, the assumed user.
    pub user: Arc<User>,
    /// The credential that was accepted.
    pub via: Via,
    /// The account whose token it really was, if `user` was assumed by sudo.
    pub sudo_by: Option<Arc<User>>,
}

/// The accepted credential, with what is known of it.
#[derive(Clone, Debug)]
pub enum Via {
    /// A personal access token.
    PersonalAccessToken(Arc<TokenRecord>),
    /// An OAuth access token that an application holds for the user.
    OauthAccessToken(Arc<TokenRecord>),
    /// A browser session, with all rights of its user.
    Session(Arc<SessionRecord>),
    /// The token of a CI job. It has no scopes; few routes admit it.
    JobToken(Arc<JobTokenRecord>),
}

impl Identity {
    /// The order of these lines is the order of the specification: expired, revoked, account
    /// (authentication.md 0.1). Scopes come after sudo and belong to the access requirement.
    pub fn resolve(
        record: Record,
        requirement: &AccessRequirement<'_>,
        rules: Rules,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        let Record { credential, owner } = record;
        let via = match credential {
            Credential::PersonalAccessToken(token) => {
                token_stands(&token, requirement, rules, now)?;
                Via::PersonalAccessToken(token)
            }
            Credential::OauthAccessToken(token) => {
                oauth_token_stands(&token, requirement, rules, now)?;
                Via::OauthAccessToken(token)
            }
            Credential::Session(session) => Via::Session(session),
            Credential::JobToken(job) if job.is_live(now) => Via::JobToken(job),
            // Like one that never was (authentication.md 2.1).
            Credential::JobToken(_) => return Err(Denial::Unknown),
            // It is nobody's.
            Credential::DeployToken(_) => return Err(Denial::Missing),
        };
        // An application that speaks for nobody has no place on the API (authentication.md 2.1).
        let owner = owner.ok_or(Denial::Missing)?;
        owner.may_use_api(now, rules.accounts).map_err(Denial::Account)?;
        Ok(Self { user: owner, via, sudo_by: None })
    }

    /// The scopes that bound the credential. `None`: none do. A session has all rights of its user, and a job token
    /// comes only where it is admitted (authentication.md 0.1).
    pub fn scopes(&self) -> Option<&Scopes> {
        match &self.via {
            Via::PersonalAccessToken(token) | Via::OauthAccessToken(token) => Some(&token.scopes),
            Via::Session(_) | Via::JobToken(_) => None,
        }
    }

    /// The scopes that it may hand on.
    pub fn grantable(&self) -> GrantableScopes {
        GrantableScopes::new(self.scopes().cloned(), self.sudo_by.is_some())
    }

    /// The session through which it came, if it came through one.
    pub fn session(&self) -> Option<&SessionRecord> {
        match &self.via {
            Via::Session(session) => Some(session),
            Via::PersonalAccessToken(_) | Via::OauthAccessToken(_) | Via::JobToken(_) => None,
        }
    }

    /// Through whose eyes lists and look-ups are filtered for this caller.
    pub fn viewer(&self) -> Viewer {
        self.user.viewer()
    }

    /// Fails with [`Denial::NotAdministrator`]. Under sudo it is the assumed user who counts.
    pub fn administrator(self) -> Result<Administrator, Denial> {
        if self.user.administrator { Ok(Administrator(self)) } else { Err(Denial::NotAdministrator) }
    }
}

/// Who is behind a credential: somebody, or an application that speaks for nobody.
#[derive(Clone, Debug)]
pub enum Caller {
    /// A user, by a credential of their own or one that an application holds for them.
    Person(Identity),
    /// An application by a token of its own (RFC 6749 section 4.4); it is no user.
    Application(Arc<TokenRecord>),
    /// A deployment by a deploy token; it is no user.
    Deployment(Arc<DeployTokenRecord>),
}

impl Caller {
    /// As [`Identity::resolve`], but that an application's own token counts where the access requirement names it (T6), and
    /// a deploy token where one of its scopes does.
    pub fn resolve(
        record: Record,
        requirement: &AccessRequirement<'_>,
        rules: Rules,
        now: Timestamp,
    ) -> Result<Self, Denial> {
        match record {
            Record { credential: Credential::OauthAccessToken(token), owner: None }
                if token.application.is_some_and(|id| requirement.applications.contains(&id)) =>
            {
                oauth_token_stands(&token, requirement, rules, now)?;
                Ok(Self::Application(token))
            }
            Record { credential: Credential::DeployToken(token), .. } => {
                if !token.is_live(now) {
                    return Err(Denial::Unknown);
                }
                requirement.accepts_deploy_token(&token.scopes)?;
                Ok(Self::Deployment(token))
            }
            record => Identity::resolve(record, requirement, rules, now).map(Self::Person),
        }
    }

    /// The scopes of an access token. `None`: these do not bound it ([`Identity::scopes`]); those of a deploy token were
    /// checked when it was resolved.
    pub fn scopes(&self) -> Option<&Scopes> {
        match self {
            Self::Person(who) => who.scopes(),
            Self::Application(token) => Some(&token.scopes),
            Self::Deployment(_) => None,
        }
    }

    /// Fails with [`Denial::Missing`] for a token that is nobody's.
    pub fn person(self) -> Result<Identity, Denial> {
        match self {
            Self::Person(who) => Ok(who),
            Self::Application(_) | Self::Deployment(_) => Err(Denial::Missing),
        }
    }
}

/// Proof that the caller is an administrator; made by [`Identity::administrator`] alone.
#[derive(Clone, Debug)]
pub struct Administrator(Identity);

impl Administrator {
    /// The caller that is the administrator.
    pub fn identity(&self) -> &Identity {
        &self.0
    }
}

/// Settings that decide about credentials.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which accounts may use the API.
    pub accounts: AccountRules,
    /// `compat.rotation = "gitlab"`.
    pub gitlab_rotation: bool,
    /// Whether impersonation tokens count.
    pub impersonation: bool,
}

/// Only a personal access token is presented for rotation at a route of the API.
fn oauth_token_stands(
    token: &TokenRecord,
    requirement: &AccessRequirement<'_>,
    rules: Rules,
    now: Timestamp,
) -> Result<(), Denial> {
    token_stands(token, &AccessRequirement { rotates: false, detects_reuse: false, ..*requirement }, rules, now)
}

fn token_stands(
    token: &TokenRecord,
    requirement: &AccessRequirement<'_>,
    rules: Rules,
    now: Timestamp,
) -> Result<(), Denial> {
    // The window of a repeat counts from the rotation, not from the old token's own end (rotation.md rule 11).
    let repeats = requirement.rotates && !rules.gitlab_rotation && token.status == TokenStatus::Rotated;
    let allowed = match token.impersonation && !rules.impersonation {
        true => Err(Denial::ImpersonationDisabled),
        false => Ok(()),
    };
    if repeats {
        return allowed;
    }
    if token.dead_from.is_some_and(|at| at <= now) {
        return Err(Denial::Expired);
    }
    match token.status {
        TokenStatus::Live { .. } => allowed,
        TokenStatus::Rotated if requirement.detects_reuse && rules.gitlab_rotation => Err(Denial::Reused(token.family)),
        TokenStatus::Rotated | TokenStatus::Ended => Err(Denial::Revoked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::denial::AccountFault;
    use crate::id::{ApplicationId, FamilyId, GenerationId};
    use crate::lookup::LastAddresses;
    use crate::scope::Scope;
    use crate::secret::Digest;
    use crate::time::Date;
    use crate::user::{AccountState, tests::ada};

    const ACCOUNTS: AccountRules = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
    const ROTATE: AccessRequirement<'_> =
        AccessRequirement { rotates: true, detects_reuse: true, ..AccessRequirement::PLAIN };

    fn token(status: TokenStatus, expires: i32) -> TokenRecord {
        TokenRecord {
            id: GenerationId(1),
            family: FamilyId(2),
            digest: Digest([0; 32]),
            scopes: Scopes::from([Scope::Api]),
            impersonation: false,
            application: None,
            client_id: None,
            label: None,
            created_at: Timestamp(0),
            dead_from: Some(Date(expires).start()),
            last_used_at: None.into(),
            last_used_ips: LastAddresses::from_words(""),
            status,
        }
    }

    fn judge(
        status: TokenStatus,
        expires: i32,
        state: AccountState,
        requirement: &AccessRequirement<'_>,
        gitlab: bool,
    ) -> Option<Denial> {
        let token = token(status, expires);
        let mut owner = ada();
        owner.state = state;
        let record =
            Record { credential: Credential::PersonalAccessToken(Arc::new(token)), owner: Some(Arc::new(owner)) };
        let rules = Rules { accounts: ACCOUNTS, gitlab_rotation: gitlab, impersonation: true };
        Identity::resolve(record, requirement, rules, Date(100).start()).err()
    }

    #[test]
    fn expired_comes_before_revoked_and_both_before_the_account() {
        use AccountState::{Active, Blocked};
        let live = TokenStatus::Live { used: true };
        let plain = &AccessRequirement::PLAIN;
        assert_eq!(judge(live, 101, Active, plain, false), None);
        assert_eq!(judge(live, 100, Blocked, plain, false), Some(Denial::Expired));
        assert_eq!(judge(TokenStatus::Ended, 100, Active, plain, false), Some(Denial::Expired));
        assert_eq!(judge(TokenStatus::Ended, 101, Blocked, plain, false), Some(Denial::Revoked));
        assert_eq!(judge(live, 101, Blocked, plain, false), Some(Denial::Account(AccountFault::Blocked)));
    }

    #[test]
    fn a_rotated_token_is_admitted_where_it_can_be_given_its_successor_again() {
        use AccountState::{Active, Blocked};
        assert_eq!(judge(TokenStatus::Rotated, 101, Active, &AccessRequirement::PLAIN, false), Some(Denial::Revoked));
        assert_eq!(judge(TokenStatus::Rotated, 100, Active, &ROTATE, false), None);
        assert_eq!(
            judge(TokenStatus::Rotated, 101, Blocked, &ROTATE, false),
            Some(Denial::Account(AccountFault::Blocked))
        );
        assert_eq!(judge(TokenStatus::Ended, 101, Active, &ROTATE, false), Some(Denial::Revoked));
        assert_eq!(judge(TokenStatus::Rotated, 101, Active, &ROTATE, true), Some(Denial::Reused(FamilyId(2))));
        assert_eq!(judge(TokenStatus::Rotated, 101, Active, &AccessRequirement::PLAIN, true), Some(Denial::Revoked));
    }

    const LIVE: TokenStatus = TokenStatus::Live { used: true };
    const RULES: Rules = Rules { accounts: ACCOUNTS, gitlab_rotation: true, impersonation: true };

    fn of_ada(credential: Credential) -> Record {
        Record { credential, owner: Some(Arc::new(ada())) }
    }

    fn session() -> Credential {
        let (authenticated_at, expires_at) = (Timestamp(0), Timestamp(1));
        let extended_at = None.into();
        Credential::Session(Arc::new(SessionRecord {
            digest: Digest([9; 32]),
            authenticated_at,
            expires_at,
            extended_at,
        }))
    }

    #[test]
    fn a_token_has_scopes_and_a_session_has_none() {
        let plain = &AccessRequirement::PLAIN;
        let api = Scopes::from([Scope::Api]);
        let resolved =
            |credential| Caller::resolve(of_ada(credential), plain, RULES, Timestamp(0)).expect("it is live");
        for credential in [
            Credential::PersonalAccessToken(Arc::new(token(LIVE, 101))),
            Credential::OauthAccessToken(Arc::new(token(LIVE, 101))),
        ] {
            assert!(credential.token().is_some_and(|token| token.id == GenerationId(1)));
            let caller = resolved(credential);
            assert_eq!(caller.scopes(), Some(&api));
            assert!(caller.person().expect("it is ada").session().is_none());
        }
        assert!(session().token().is_none());
        let caller = resolved(session());
        assert_eq!(caller.scopes(), None);
        let who = caller.person().expect("it is ada");
        assert_eq!(who.session().map(|session| session.digest), Some(Digest([9; 32])));
    }

    #[test]
    fn an_impersonation_token_counts_while_these_are_allowed() {
        // authentication.md 0.1: expired, revoked, impersonation, account
        for (status, expires, refused) in [
            (LIVE, 101, Some(Denial::ImpersonationDisabled)),
            (LIVE, 100, Some(Denial::Expired)),
            (TokenStatus::Ended, 101, Some(Denial::Revoked)),
            (TokenStatus::Rotated, 101, Some(Denial::ImpersonationDisabled)),
        ] {
            let resolve = |impersonation: bool, allowed: bool| {
                let token = TokenRecord { impersonation, ..token(status, expires) };
                let mut owner = ada();
                owner.state = AccountState::Blocked;
                let credential = Credential::PersonalAccessToken(Arc::new(token));
                let record = Record { credential, owner: Some(Arc::new(owner)) };
                let rules = Rules { accounts: ACCOUNTS, gitlab_rotation: false, impersonation: allowed };
                Identity::resolve(record, &ROTATE, rules, Date(100).start()).err()
            };
            assert_eq!(resolve(true, false), refused, "{status:?} {expires}");
            for other in [resolve(true, true), resolve(false, false)] {
                let otherwise = refused.clone().filter(|denial| *denial != Denial::ImpersonationDisabled);
                assert_eq!(other, otherwise.or(Some(Denial::Account(AccountFault::Blocked))), "{status:?} {expires}");
            }
        }
    }

    #[test]
    fn t6_an_application_counts_where_it_is_named_and_is_nobody_elsewhere() {
        const NAMED: [ApplicationId; 1] = [ApplicationId(3)];
        let named = AccessRequirement { applications: &NAMED, ..AccessRequirement::PLAIN };
        let resolve = |application, status, requirement: &AccessRequirement<'_>| {
            let token = TokenRecord { application, ..token(status, 101) };
            let record = Record { credential: Credential::OauthAccessToken(Arc::new(token)), owner: None };
            Caller::resolve(record, requirement, RULES, Timestamp(0))
        };
        let caller = resolve(Some(ApplicationId(3)), LIVE, &named).expect("it is named");
        assert_eq!(caller.scopes(), Some(&Scopes::from([Scope::Api])));
        assert_eq!(caller.person().err(), Some(Denial::Missing), "it is no user");
        for (application, status, requirement, denial) in [
            (Some(ApplicationId(3)), LIVE, &AccessRequirement::PLAIN, Denial::Missing),
            (Some(ApplicationId(4)), LIVE, &named, Denial::Missing),
            (None, LIVE, &named, Denial::Missing),
            (Some(ApplicationId(3)), TokenStatus::Ended, &named, Denial::Revoked),
        ] {
            let refused = resolve(application, status, requirement);
            assert_eq!(refused.err(), Some(denial), "{application:?} {status:?}");
        }
    }

    #[test]
    fn an_oauth_token_that_was_refreshed_is_revoked_on_the_routes_of_rotation_too() {
        for gitlab_rotation in [false, true] {
            let rules = Rules { gitlab_rotation, ..RULES };
            let record = of_ada(Credential::OauthAccessToken(Arc::new(token(TokenStatus::Rotated, 101))));
            let resolved = Identity::resolve(record, &ROTATE, rules, Timestamp(0));
            assert_eq!(resolved.err(), Some(Denial::Revoked));
        }
    }

    #[test]
    fn only_an_administrator_has_the_proof_of_being_one() {
        let identity = |administrator| Identity {
            user: Arc::new(User { administrator, ..ada() }),
            via: Via::PersonalAccessToken(Arc::new(token(LIVE, 101))),
            // Under sudo the assumed user counts.
            sudo_by: Some(Arc::new(User { administrator: true, ..ada() })),
        };
        assert!(identity(true).administrator().is_ok_and(|proof| proof.identity().user.administrator));
        assert_eq!(identity(false).administrator().err(), Some(Denial::NotAdministrator));
        let id = ada().id;
        assert_eq!(identity(true).viewer(), Viewer::Administrator { id });
        assert_eq!(identity(false).viewer(), Viewer::User { id, external: false });
    }
}

//! Who may use an endpoint, and what its handler gets once that is settled.
//!
//! An [`Access`] is made by the functions below and by nothing else. Its type parameter is the caller that the handler
//! gets, so a handler that wants an identity cannot stand behind a requirement that admits anonymous callers.

use std::marker::PhantomData;

use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::{Ability, TargetKind};
use tollhouse_domain::access_requirement::{AccessRequirement, CheckOrder, Extra, JobTokens};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::ProjectId;
use tollhouse_domain::identity::{Administrator, Identity, Via};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::secret::Plaintext;

use crate::error::Error;
use crate::request::ParsedRequest;

/// The access requirement of an endpoint of the API, as data.
#[derive(Clone, Copy)]
pub struct EndpointAccess {
    /// Whom it admits, and by which scopes.
    pub requirement: AccessRequirement<'static>,
    /// A last rule. `None`: there is none.
    pub condition: Option<Condition>,
    /// The group or project that the path names. `None`: it names none, or the handler looks it up.
    pub target: Option<RequiredTarget>,
    pub(super) caller_kind: CallerKind,
    #[cfg(feature = "faults")]
    pub(super) flipped: super::flips::Flipped,
}

/// A rule of the endpoint about its caller and its parameters, with a refusal of its own. It is checked last.
pub type Condition = fn(Option<&Identity>, &ParsedRequest) -> Result<(), Error>;

/// Which callers are admitted: what the functions below declare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    Anyone,
    SignedIn,
    Administrator,
    Presenter,
}

#[cfg(feature = "faults")]
impl CallerKind {
    pub(super) const ALL: [Self; 4] = [Self::Anyone, Self::SignedIn, Self::Administrator, Self::Presenter];
}

/// What the caller must be to the group or project in the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequiredTarget {
    /// What the path names.
    pub kind: TargetKind,
    /// What the caller must be able to do with it. `None`: it is enough to see it.
    pub ability: Option<Ability>,
}

/// Who calls, as far as the endpoint requires to know it.
pub enum Caller {
    /// No credential was presented, and none is needed.
    Anonymous,
    /// A person, by any credential that the requirement admits.
    Identity(Identity),
    /// A person who administers the server.
    Administrator(Administrator),
    /// A person with the token that they presented.
    Presenter(Presenter),
    /// A person with the group or project that the path names.
    OnTarget(Box<(Identity, Target)>),
}

/// What the path names, as it was when the pipeline loaded it.
pub enum Target {
    /// A group.
    Group(Namespace),
    /// A project.
    Project(ProjectId),
}

/// A signed-in caller with a group that the caller sees and has the required ability on.
pub struct OnGroup {
    /// Who calls.
    pub identity: Identity,
    /// The group that the path names, as it was when the pipeline loaded it.
    pub group: Namespace,
}

/// The same where a group and a project are treated alike.
pub struct OnResource {
    /// Who calls.
    pub identity: Identity,
    /// The group or project that the path names.
    pub resource: MembershipSource,
}

/// The bearer of a personal access token, together with its secret, though it may have been rotated away: what rotation
/// needs.
pub struct Presenter {
    /// Who calls.
    pub identity: Identity,
    /// `None`: a session or an OAuth token was presented, and no personal access token.
    pub secret: Option<Plaintext>,
}

/// A requirement whose handler gets a `C`.
#[derive(Clone, Copy)]
pub struct Access<C> {
    access: EndpointAccess,
    caller: PhantomData<fn() -> C>,
}

/// Admits anonymous callers. An invalid credential is refused all the same.
pub const fn anyone() -> Access<Option<Identity>> {
    Access::new(AccessRequirement { anonymous: true, ..AccessRequirement::PLAIN }, CallerKind::Anyone)
}

/// Admits a person by token or session. 401 for anonymous callers.
pub const fn signed_in() -> Access<Identity> {
    Access::new(AccessRequirement::PLAIN, CallerKind::SignedIn)
}

/// Admits a person who administers the server. 403 for others, 401 for anonymous callers.
pub const fn administrator() -> Access<Administrator> {
    Access::new(AccessRequirement { administrator: true, ..AccessRequirement::PLAIN }, CallerKind::Administrator)
}

/// Admits the bearer of a personal access token, even of one that was rotated away. Sessions and OAuth tokens are
/// admitted too, without a secret.
pub const fn presenter() -> Access<Presenter> {
    Access::new(
        AccessRequirement { rotates: true, detects_reuse: true, ..AccessRequirement::PLAIN },
        CallerKind::Presenter,
    )
}

impl<C> Access<C> {
    const fn new(requirement: AccessRequirement<'static>, caller_kind: CallerKind) -> Self {
        let access = EndpointAccess {
            requirement,
            caller_kind,
            condition: None,
            target: None,
            #[cfg(feature = "faults")]
            flipped: super::flips::Flipped::NOTHING,
        };
        Self { access, caller: PhantomData }
    }

    /// Scopes that open it besides `api` and `read_api`.
    pub const fn or_scope(mut self, scopes: &'static [Extra]) -> Self {
        self.access.requirement.scopes = scopes;
        self
    }

    /// Any scope opens it, so scopes are not checked.
    pub const fn any_scope(mut self) -> Self {
        self.access.requirement.any_scope = true;
        self
    }

    /// It revokes the presented credential.
    pub const fn revokes(mut self) -> Self {
        self.access.requirement.revokes = true;
        self
    }

    /// The token of a CI job counts: as bearer value, and in `job_token`, `token` and `Job-Token` (authentication.md 1.5).
    pub const fn or_job_token(mut self) -> Self {
        self.access.requirement.job_tokens = JobTokens::Request;
        self
    }

    /// With `compat.rotation = "gitlab"`, a token that was rotated away ends its family here, if it is presented.
    pub const fn detects_reuse(mut self) -> Self {
        self.access.requirement.detects_reuse = true;
        self
    }

    /// An invalid parameter is reported before an invalid credential.
    pub const fn after_parameters(mut self) -> Self {
        self.access.requirement.check_order = CheckOrder::AfterParameters;
        self
    }

    /// Checked last, when the caller and the parameters are known.
    pub const fn condition(mut self, rule: Condition) -> Self {
        self.access.condition = Some(rule);
        self
    }

    /// The same as data, without the type of the caller.
    pub const fn endpoint_access(&self) -> EndpointAccess {
        self.access
    }
}

impl Access<Identity> {
    /// The parameter `id` of the path names a group. One that the caller may not see is absent (404). A caller who sees it and
    /// lacks the ability gets what [`Ability::unmet`] says.
    pub const fn on_group(mut self, ability: Ability) -> Access<OnGroup> {
        self.access.target = Some(RequiredTarget { kind: TargetKind::Group, ability: Some(ability) });
        Access { access: self.access, caller: PhantomData }
    }

    /// The same of a group or a project, whichever the parameter `id` names here. Without an ability it is enough to see it.
    pub const fn on(mut self, kind: TargetKind, ability: Option<Ability>) -> Access<OnResource> {
        self.access.target = Some(RequiredTarget { kind, ability });
        Access { access: self.access, caller: PhantomData }
    }
}

impl EndpointAccess {
    /// Fails if the requirement is not met.
    pub fn admit(&self, who: Option<Identity>, presented: &PresentedCredentials<'_>) -> Result<Caller, Denial> {
        #[cfg(feature = "faults")]
        if let Some(caller) = self.admit_flipped(who.as_ref())? {
            return Ok(caller);
        }
        Ok(match (self.caller_kind, who) {
            (CallerKind::Anyone, None) => Caller::Anonymous,
            (_, None) => return Err(Denial::Missing),
            (CallerKind::Anyone | CallerKind::SignedIn, Some(identity)) => Caller::Identity(identity),
            (CallerKind::Administrator, Some(identity)) => Caller::Administrator(identity.administrator()?),
            (CallerKind::Presenter, Some(identity)) => {
                let secret = match &identity.via {
                    Via::PersonalAccessToken(token) => presented.plaintext_of(token.digest),
                    Via::OauthAccessToken(_) | Via::Session(_) | Via::JobToken(_) => None,
                };
                Caller::Presenter(Presenter { identity, secret })
            }
        })
    }

    /// Whether a caller with this level on the target has the ability.
    pub fn is_met(&self, ability: Ability, on: TargetKind, level: Option<AccessLevel>, administrator: bool) -> bool {
        #[cfg(feature = "faults")]
        if let Some(met) = self.is_met_flipped(level, administrator) {
            return met;
        }
        ability.is_met(on, level, administrator)
    }
}

/// What a handler gets of a [`Caller`]. `None` only if its [`Access`] had another type, which the compiler excludes.
pub trait FromCaller: Sized + Send {
    /// The handler's argument.
    fn from_caller(caller: Caller) -> Option<Self>;
}

impl FromCaller for Option<Identity> {
    fn from_caller(caller: Caller) -> Option<Self> {
        match caller {
            Caller::Anonymous => Some(None),
            Caller::Identity(identity) => Some(Some(identity)),
            Caller::Administrator(_) | Caller::Presenter(_) | Caller::OnTarget(_) => None,
        }
    }
}

impl FromCaller for Identity {
    fn from_caller(caller: Caller) -> Option<Self> {
        if let Caller::Identity(identity) = caller { Some(identity) } else { None }
    }
}

impl FromCaller for Administrator {
    fn from_caller(caller: Caller) -> Option<Self> {
        if let Caller::Administrator(administrator) = caller { Some(administrator) } else { None }
    }
}

impl FromCaller for OnGroup {
    fn from_caller(caller: Caller) -> Option<Self> {
        let Caller::OnTarget(found) = caller else { return None };
        match *found {
            (identity, Target::Group(group)) => Some(Self { identity, group }),
            (_, Target::Project(_)) => None,
        }
    }
}

impl FromCaller for OnResource {
    fn from_caller(caller: Caller) -> Option<Self> {
        let Caller::OnTarget(found) = caller else { return None };
        let (identity, target) = *found;
        Some(Self {
            identity,
            resource: match target {
                Target::Group(group) => MembershipSource::Group(group.id),
                Target::Project(id) => MembershipSource::Project(id),
            },
        })
    }
}

impl FromCaller for Presenter {
    fn from_caller(caller: Caller) -> Option<Self> {
        if let Caller::Presenter(presenter) = caller { Some(presenter) } else { None }
    }
}

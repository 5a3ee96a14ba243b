//! One field of one access requirement, changed in memory, for the test that asks whether the matrix notices it (T32;
//! decision 0041). Not in any default build.

use std::fmt;

use axum::http::Method;
use tollhouse_auth::presented::{PresentedCredentials, Session};
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::{Ability, Unmet};
use tollhouse_domain::access_requirement::{AccessRequirement, CheckOrder, Extra};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::scope::Scope;

use super::access::{Caller, CallerKind, EndpointAccess, RequiredTarget};
use super::{Endpoint, Serves};
use crate::params::Presence;
use crate::web::PageAccess;

/// A change of one field of what an endpoint requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// It admits this kind of caller.
    Who(CallerKind),
    /// This scope opens it for every method.
    Opens(Scope),
    /// This scope no longer opens it.
    Closes(Scope),
    /// This scope opens every method where it opened reads only, or the other way round.
    ReadsOnly(Scope),
    /// Any scope opens it where a certain one was needed, or the other way round.
    AnyScope,
    /// The parameters are checked first where the credential was, or the other way round.
    CheckOrder,
    /// A refusal for a revoked credential waits for all nodes where it did not, or the other way round.
    Revokes,
    /// The own tokens of the first application count.
    Application,
    /// The condition is left out.
    NoCondition,
    /// Another ability on the group or project of the path. `None`: it is not looked at.
    Ability(Option<Ability>),
    /// This level on the group or project of the path is enough. `None`: administrators only.
    Level(Option<AccessLevel>),
    /// A session counts that far.
    Session(Session),
    /// A page admits these.
    Page(PageAccess),
}

/// What an access requirement cannot express by its fields alone.
#[derive(Clone, Copy)]
pub(super) struct Flipped {
    who: Option<CallerKind>,
    level: Option<Option<AccessLevel>>,
    session: Session,
}

impl Flipped {
    pub(super) const NOTHING: Self = Self { who: None, level: None, session: Session::Own };
}

impl Endpoint {
    /// Every flip of what this endpoint declares. An endpoint of OAuth, and one that looks at no credential, declare
    /// nothing.
    pub fn flips(&self) -> Vec<Flip> {
        match &self.serves {
            // A parameter of the path that is no number is 404 before any credential is looked at.
            Serves::Api { access, .. } => {
                let checked = self.params.iter().any(|param| param.presence != Presence::Path);
                access.flips(self.method == Method::GET, checked)
            }
            Serves::Page { admits, .. } => {
                PageAccess::ALL.into_iter().filter(|other| other != admits).map(Flip::Page).collect()
            }
            Serves::Oauth(_) | Serves::Plain(_) => Vec::new(),
        }
    }

    /// From now on it requires something else.
    pub fn flip(&mut self, flip: Flip) {
        match (&mut self.serves, flip) {
            (Serves::Page { admits, .. }, Flip::Page(other)) => *admits = other,
            (Serves::Api { access, .. }, flip) => access.flip(flip),
            (Serves::Page { .. } | Serves::Oauth(_) | Serves::Plain(_), _) => {}
        }
    }
}

impl EndpointAccess {
    /// `reads`: the method is a read, so there is no other. `checked`: it has parameters that can be wrong.
    fn flips(&self, reads: bool, checked: bool) -> Vec<Flip> {
        let AccessRequirement { scopes, any_scope, .. } = self.requirement;
        let mut all: Vec<Flip> =
            CallerKind::ALL.into_iter().filter(|kind| *kind != self.caller_kind).map(Flip::Who).collect();
        // Where any scope opens it, a list of scopes has no meaning.
        for scope in Scope::ALL.iter().copied().filter(|_| !any_scope) {
            match scopes.iter().any(|extra| extra.scope == scope) {
                true => {
                    all.push(Flip::Closes(scope));
                    all.extend((!reads).then_some(Flip::ReadsOnly(scope)));
                }
                false => all.push(Flip::Opens(scope)),
            }
        }
        all.extend([Flip::AnyScope, Flip::Revokes, Flip::Application]);
        all.extend(checked.then_some(Flip::CheckOrder));
        all.extend(self.condition.map(|_| Flip::NoCondition));
        if let Some(RequiredTarget { kind, ability }) = self.target {
            // A refusal that names a field of another endpoint is documented there alone.
            let named = |other: &Ability| matches!(other.unmet(), Unmet::InvalidField(_));
            let applies = |other: &Ability| Some(*other) != ability && other.least(kind).is_some() && !named(other);
            let others = Ability::ALL.into_iter().filter(applies).map(Some);
            all.extend(others.chain([None]).map(Flip::Ability));
            if let Some(ability) = ability {
                let levels = AccessLevel::ALL.into_iter().map(Some).filter(|level| *level != ability.least(kind));
                all.extend(levels.chain([None]).map(Flip::Level));
            }
        }
        all.push(Flip::Session(Session::Foreign));
        // A read needs no CSRF token.
        all.extend((!reads).then_some(Flip::Session(Session::Vouched)));
        all
    }

    fn flip(&mut self, flip: Flip) {
        let requirement = &mut self.requirement;
        let scopes = requirement.scopes;
        let others = |scope: Scope| scopes.iter().copied().filter(move |extra| extra.scope != scope);
        match flip {
            Flip::Who(kind) => {
                self.flipped.who = Some(kind);
                requirement.anonymous = kind == CallerKind::Anyone;
                requirement.administrator = kind == CallerKind::Administrator;
                requirement.rotates = kind == CallerKind::Presenter;
            }
            Flip::Opens(scope) => requirement.scopes = kept(others(scope).chain([Extra::any(scope)])),
            Flip::Closes(scope) => requirement.scopes = kept(others(scope)),
            Flip::ReadsOnly(scope) => {
                let flipped =
                    |extra: &Extra| Extra { reads_only: extra.reads_only != (extra.scope == scope), ..*extra };
                requirement.scopes = kept(scopes.iter().map(flipped));
            }
            Flip::AnyScope => requirement.any_scope = !requirement.any_scope,
            Flip::CheckOrder => {
                requirement.check_order = match requirement.check_order {
                    CheckOrder::BeforeParameters => CheckOrder::AfterParameters,
                    CheckOrder::AfterParameters => CheckOrder::BeforeParameters,
                }
            }
            Flip::Revokes => requirement.revokes = !requirement.revokes,
            Flip::Application => requirement.applications = &[ApplicationId(1)],
            Flip::NoCondition => self.condition = None,
            Flip::Ability(None) => self.target = None,
            Flip::Ability(ability) => self.target = self.target.map(|target| RequiredTarget { ability, ..target }),
            Flip::Level(least) => self.flipped.level = Some(least),
            Flip::Session(session) => self.flipped.session = session,
            Flip::Page(_) => {}
        }
    }

    /// As [`EndpointAccess::admit`] with the flipped kind of caller. `None`: it goes on as declared. A caller whom the
    /// declared kind would not admit reaches the handler as far as its type allows, and is answered 500 there.
    pub(super) fn admit_flipped(&self, who: Option<&Identity>) -> Result<Option<Caller>, Denial> {
        let Some(kind) = self.flipped.who else { return Ok(None) };
        match (kind, who) {
            (CallerKind::Anyone, None) => Ok(Some(Caller::Anonymous)),
            (_, None) => Err(Denial::Missing),
            (CallerKind::Administrator, Some(who)) if !who.user.administrator => Err(Denial::NotAdministrator),
            (_, Some(who)) if self.caller_kind == CallerKind::Administrator && !who.user.administrator => {
                Ok(Some(Caller::Identity(who.clone())))
            }
            _ => Ok(None),
        }
    }

    /// As [`Ability::is_met`] with the flipped level. `None`: it goes on as declared.
    pub(super) fn is_met_flipped(&self, level: Option<AccessLevel>, administrator: bool) -> Option<bool> {
        let least = self.flipped.level?;
        Some(administrator || (least.is_some() && level >= least))
    }

    pub(super) fn flipped_session<'r>(&self, presented: PresentedCredentials<'r>) -> PresentedCredentials<'r> {
        presented.with_session(self.flipped.session)
    }
}

fn kept(scopes: impl Iterator<Item = Extra>) -> &'static [Extra] {
    scopes.collect::<Vec<_>>().leak()
}

impl fmt::Display for Flip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Who(kind) => write!(f, "admits {kind:?}"),
            Self::Opens(scope) => write!(f, "{scope} opens it"),
            Self::Closes(scope) => write!(f, "{scope} does not open it"),
            Self::ReadsOnly(scope) => write!(f, "{scope} opens the other methods"),
            Self::AnyScope => f.write_str("the other of: any scope opens it"),
            Self::CheckOrder => f.write_str("the other check order"),
            Self::Revokes => f.write_str("the other of: it revokes"),
            Self::Application => f.write_str("an application's own token counts"),
            Self::NoCondition => f.write_str("without its condition"),
            Self::Ability(None) => f.write_str("without its target"),
            Self::Ability(Some(ability)) => write!(f, "ability {ability:?}"),
            Self::Level(None) => f.write_str("level: administrators only"),
            Self::Level(Some(level)) => write!(f, "level {}", level.as_str()),
            Self::Session(session) => write!(f, "session {session:?}"),
            Self::Page(admits) => write!(f, "admits {admits:?}"),
        }
    }
}

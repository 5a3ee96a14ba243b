//! Who may use an endpoint, and what its handler gets once that is settled.
//!
//! An [`Access`] is made by the functions below and by nothing else. Its type parameter is the caller that the handler
//! gets, so a handler that wants an identity cannot stand behind a requirement that admits anonymous callers.

use std::marker::PhantomData;

use tollhouse_auth::shown::Shown;
use tollhouse_domain::demand::{Demand, Extra, Judged};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::identity::{Administrator, Identity, Via};
use tollhouse_domain::secret::Plaintext;

use crate::asked::Asked;
use crate::error::Error;

/// The access requirement of an endpoint of the API, as data.
#[derive(Clone, Copy)]
pub struct Requirement {
    pub demand: Demand<'static>,
    pub unless: Option<Unless>,
    admits: Admits,
}

/// A rule of the endpoint about its caller and its parameters, with a refusal of its own. It is checked last.
pub type Unless = fn(Option<&Identity>, &Asked) -> Result<(), Error>;

#[derive(Clone, Copy)]
enum Admits {
    Anyone,
    SignedIn,
    Administrator,
    Presenter,
}

/// Who calls, as far as the endpoint requires to know it.
pub enum Caller {
    Anonymous,
    Identity(Identity),
    Administrator(Administrator),
    Presenter(Presenter),
}

/// The bearer of a personal access token, together with its secret, though it may have been rotated away: what rotation
/// needs.
pub struct Presenter {
    pub identity: Identity,
    /// `None`: a session was presented, and no token.
    pub secret: Option<Plaintext>,
}

/// A requirement whose handler gets a `C`.
#[derive(Clone, Copy)]
pub struct Access<C> {
    requirement: Requirement,
    caller: PhantomData<fn() -> C>,
}

/// Admits anonymous callers. An invalid credential is refused all the same.
pub const fn anyone() -> Access<Option<Identity>> {
    Access::new(Demand { anonymous: true, ..Demand::PLAIN }, Admits::Anyone)
}

pub const fn signed_in() -> Access<Identity> {
    Access::new(Demand::PLAIN, Admits::SignedIn)
}

pub const fn administrator() -> Access<Administrator> {
    Access::new(Demand { administrator: true, ..Demand::PLAIN }, Admits::Administrator)
}

pub const fn presenter() -> Access<Presenter> {
    Access::new(Demand { rotates: true, ..Demand::PLAIN }, Admits::Presenter)
}

impl<C> Access<C> {
    const fn new(demand: Demand<'static>, admits: Admits) -> Self {
        Self { requirement: Requirement { demand, admits, unless: None }, caller: PhantomData }
    }

    /// Scopes that open it besides `api` and `read_api`.
    pub const fn or_scope(mut self, scopes: &'static [Extra]) -> Self {
        self.requirement.demand.scopes = scopes;
        self
    }

    pub const fn any_scope(mut self) -> Self {
        self.requirement.demand.any_scope = true;
        self
    }

    /// It revokes the presented credential.
    pub const fn revokes(mut self) -> Self {
        self.requirement.demand.revokes = true;
        self
    }

    /// An invalid parameter is reported before an invalid credential.
    pub const fn after_parameters(mut self) -> Self {
        self.requirement.demand.judged = Judged::AfterParameters;
        self
    }

    /// Checked last, when the caller and the parameters are known.
    pub const fn unless(mut self, rule: Unless) -> Self {
        self.requirement.unless = Some(rule);
        self
    }

    pub const fn requirement(&self) -> Requirement {
        self.requirement
    }
}

impl Requirement {
    /// Fails if the requirement is not met.
    pub fn admit(&self, who: Option<Identity>, shown: &Shown<'_>) -> Result<Caller, Denial> {
        Ok(match (self.admits, who) {
            (Admits::Anyone, None) => Caller::Anonymous,
            (_, None) => return Err(Denial::Missing),
            (Admits::Anyone | Admits::SignedIn, Some(identity)) => Caller::Identity(identity),
            (Admits::Administrator, Some(identity)) => Caller::Administrator(identity.administrator()?),
            (Admits::Presenter, Some(identity)) => {
                let secret = match &identity.via {
                    Via::PersonalAccessToken(token) => shown.plaintext_of(token.digest),
                    Via::OauthAccessToken(_) | Via::Session(_) => None,
                };
                Caller::Presenter(Presenter { identity, secret })
            }
        })
    }
}

/// What a handler gets of a [`Caller`]. `None` only if its [`Access`] had another type, which the compiler excludes.
pub trait FromCaller: Sized + Send {
    fn from_caller(caller: Caller) -> Option<Self>;
}

impl FromCaller for Option<Identity> {
    fn from_caller(caller: Caller) -> Option<Self> {
        match caller {
            Caller::Anonymous => Some(None),
            Caller::Identity(identity) => Some(Some(identity)),
            Caller::Administrator(_) | Caller::Presenter(_) => None,
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

impl FromCaller for Presenter {
    fn from_caller(caller: Caller) -> Option<Self> {
        if let Caller::Presenter(presenter) = caller { Some(presenter) } else { None }
    }
}

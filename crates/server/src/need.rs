//! What a route demands, and what its handler gets once that is met.
//!
//! A [`Need`] is made by the functions below and by nothing else, so no handler can be given an identity under a
//! demand that lets nobody in.

use tollhouse_auth::shown::Shown;
use tollhouse_domain::demand::{Demand, Extra, Judged};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::identity::{Administrator, Identity, Via};
use tollhouse_domain::secret::Plaintext;

use crate::asked::Asked;
use crate::error::Error;

pub struct Need<C> {
    demand: Demand<'static>,
    admit: fn(Option<Identity>, &Shown<'_>) -> Result<C, Denial>,
    unless: Option<Unless>,
}

/// A rule on who asks for what, which refuses in words of its own.
pub type Unless = fn(Option<&Identity>, &Asked) -> Result<(), Error>;

/// Nobody is refused for showing nothing; a bad credential is refused all the same.
pub const fn anyone() -> Need<Option<Identity>> {
    Need { demand: Demand { anonymous: true, ..Demand::PLAIN }, admit: |who, _| Ok(who), unless: None }
}

pub const fn signed_in() -> Need<Identity> {
    Need { demand: Demand::PLAIN, admit: |who, _| who.ok_or(Denial::Missing), unless: None }
}

pub const fn administrator() -> Need<Administrator> {
    Need {
        demand: Demand { administrator: true, ..Demand::PLAIN },
        admit: |who, _| who.ok_or(Denial::Missing)?.administrator(),
        unless: None,
    }
}

/// Somebody with the very secret of the token that was shown, rotated away or not: what rotation needs.
pub const fn presenter() -> Need<Presenter> {
    Need {
        demand: Demand { rotates: true, ..Demand::PLAIN },
        admit: |who, shown| {
            let identity = who.ok_or(Denial::Missing)?;
            let secret = match &identity.via {
                Via::PersonalAccessToken(token) => shown.plaintext_of(token.digest),
                Via::OauthAccessToken(_) | Via::Session(_) => None,
            };
            Ok(Presenter { identity, secret })
        },
        unless: None,
    }
}

pub struct Presenter {
    pub identity: Identity,
    /// `None`: no token was shown, but a session.
    pub secret: Option<Plaintext>,
}

impl<C> Need<C> {
    /// Scopes that open it besides `api` and `read_api`.
    pub const fn or_scope(mut self, scopes: &'static [Extra]) -> Self {
        self.demand.scopes = scopes;
        self
    }

    pub const fn any_scope(mut self) -> Self {
        self.demand.any_scope = true;
        self
    }

    /// What was shown is revoked by it.
    pub const fn revokes(mut self) -> Self {
        self.demand.revokes = true;
        self
    }

    /// A wrong parameter is reported before a wrong credential.
    pub const fn after_parameters(mut self) -> Self {
        self.demand.judged = Judged::AfterParameters;
        self
    }

    /// Looked at last, when who asks and what for are both known.
    pub const fn unless(mut self, rule: Unless) -> Self {
        self.unless = Some(rule);
        self
    }

    pub fn rule(&self) -> Option<Unless> {
        self.unless
    }

    pub const fn demand(&self) -> Demand<'static> {
        self.demand
    }

    pub fn admit(&self, who: Option<Identity>, shown: &Shown<'_>) -> Result<C, Denial> {
        (self.admit)(who, shown)
    }
}

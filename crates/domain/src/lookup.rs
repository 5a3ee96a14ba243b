//! The one seam between recognising a caller and keeping things.

use std::pin::Pin;
use std::sync::Arc;

use crate::id::{ApplicationId, FamilyId, GenerationId, UserId};
use crate::membership::{Memberships, Of};
use crate::scope::Scopes;
use crate::secret::Digest;
use crate::time::Timestamp;
use crate::token::Standing;
use crate::user::User;

/// What the authenticator needs from whoever keeps credentials. Object-safe, so that a database and another
/// Tollhouse look the same to it; boxed only on a miss.
pub trait Lookup: Send + Sync {
    /// The credential with this digest, and its owner.
    fn find(&self, key: Key) -> Answer<'_, Option<Record>>;

    /// A user for sudo, by number or by name without regard to case.
    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>>;

    /// What a user is to a group or project. What had ended by `now` may be left out, what ends later may not.
    fn memberships(&self, user: UserId, of: Of, now: Timestamp) -> Answer<'_, Memberships>;

    /// Notes that the head of a family was used (rotation.md rule 7), before the request is judged. `false`: it
    /// is no longer the head, or the family has ended; look again.
    fn first_use(&self, family: FamilyId, head: GenerationId, now: Timestamp) -> Answer<'_, bool>;
}

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// The database cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Where to look: tokens of every kind share one space of digests, sessions have their own, so that neither
/// opens the other's door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    Token(Digest),
    Session(Digest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserName<'a> {
    Id(UserId),
    Name(&'a str),
}

/// A credential and the account it belongs to.
#[derive(Clone, Debug)]
pub struct Record {
    pub credential: Credential,
    /// `None`: a token that an application got for itself (RFC 6749 section 4.4).
    pub owner: Option<Arc<User>>,
}

#[derive(Clone, Debug)]
pub enum Credential {
    PersonalAccessToken(Arc<TokenRecord>),
    OauthAccessToken(Arc<TokenRecord>),
    Session(Arc<SessionRecord>),
}

impl Credential {
    pub fn token(&self) -> Option<&TokenRecord> {
        match self {
            Self::PersonalAccessToken(token) | Self::OauthAccessToken(token) => Some(token),
            Self::Session(_) => None,
        }
    }
}

/// A token of either kind, as far as recognising it goes.
#[derive(Clone, Debug)]
pub struct TokenRecord {
    pub id: GenerationId,
    pub family: FamilyId,
    pub digest: Digest,
    pub scopes: Scopes,
    pub impersonation: bool,
    /// The application that an OAuth token was given to.
    pub application: Option<ApplicationId>,
    /// What others call that application.
    pub client_id: Option<Box<str>>,
    /// The first instant at which it is expired.
    pub dead_from: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub standing: Standing,
}

#[derive(Clone, Debug)]
pub struct SessionRecord {
    pub digest: Digest,
    /// When its user gave their password, which began it.
    pub authenticated_at: Timestamp,
    pub expires_at: Timestamp,
    pub extended_at: Timestamp,
}

//! The one seam between recognising a caller and keeping things.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::application::Application;
use crate::deploy_token::DeployScopes;
use crate::id::{ApplicationId, DeployTokenId, FamilyId, GenerationId, JobTokenId, ProjectId, UserId};
use crate::membership::{MembershipSource, Memberships, UserMemberships};
use crate::scope::Scopes;
use crate::secret::Digest;
use crate::time::Timestamp;
use crate::token::TokenStatus;
use crate::user::User;

/// What the authenticator needs from whoever keeps credentials. Object-safe, so that a database and another
/// Tollhouse look the same to it; boxed only on a miss.
pub trait Lookup: Send + Sync {
    /// The credential with this digest, and its owner.
    fn find(&self, key: Key) -> Answer<'_, Option<Record>>;

    /// A user for sudo, by number or by name without regard to case.
    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>>;

    /// What a user is to a group or project. What had ended by `now` may be left out, what ends later may not.
    fn memberships(&self, user: UserId, of: MembershipSource, now: Timestamp) -> Answer<'_, Memberships>;

    /// All memberships of a user. Memberships that ended before `now` may be left out; later ones must be included.
    fn user_memberships(&self, user: UserId, now: Timestamp) -> Answer<'_, UserMemberships>;

    /// The application with this `client_id`.
    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>>;

    /// Notes that the head of a family was used (rotation.md rule 7), before the request is judged. `false`: it
    /// is no longer the head, or the family has ended; look again.
    fn first_use(&self, family: FamilyId, head: GenerationId, now: Timestamp) -> Answer<'_, bool>;
}

/// A boxed future, so that [`Lookup`] is object-safe.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, Unavailable>> + Send + 'a>>;

/// The database cannot be asked now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// Where to look: personal and OAuth access tokens share one space of digests. Every other kind has its own, so that none
/// counts where another is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// A personal or an OAuth access token.
    Token(Digest),
    /// The refresh token of an OAuth token. It opens nothing; its generation is described by it.
    Refresh(Digest),
    /// The value of a session cookie.
    Session(Digest),
    /// A deploy token.
    Deploy(Digest),
    /// A job token.
    Job(Digest),
}

/// How a request names the user whom it wants to act as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserName<'a> {
    /// By number: a value of digits alone.
    Id(UserId),
    /// By user name, without regard to case.
    Name(&'a str),
}

/// A credential and the account it belongs to.
#[derive(Clone, Debug)]
pub struct Record {
    /// What was presented.
    pub credential: Credential,
    /// `None`: a deploy token, or a token that an application got for itself (RFC 6749 section 4.4).
    pub owner: Option<Arc<User>>,
}

/// A credential of any kind, shared by all requests that present it.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A personal access token.
    PersonalAccessToken(Arc<TokenRecord>),
    /// An OAuth access token, or an OAuth refresh token that was looked up by [`Key::Refresh`].
    OauthAccessToken(Arc<TokenRecord>),
    /// A browser session.
    Session(Arc<SessionRecord>),
    /// A deploy token, which is nobody's.
    DeployToken(Arc<DeployTokenRecord>),
    /// The token of a CI job, which acts as the user of the job.
    JobToken(Arc<JobTokenRecord>),
}

impl Credential {
    /// `None`: a session, a deploy token or a job token. These have no family.
    pub fn token(&self) -> Option<&TokenRecord> {
        match self {
            Self::PersonalAccessToken(token) | Self::OauthAccessToken(token) => Some(token),
            Self::Session(_) | Self::DeployToken(_) | Self::JobToken(_) => None,
        }
    }

    /// Whether it is a deploy or job token that is over, which counts as if it had never been.
    pub fn is_over(&self, now: Timestamp) -> bool {
        match self {
            Self::DeployToken(token) => !token.is_live(now),
            Self::JobToken(job) => !job.is_live(now),
            Self::PersonalAccessToken(_) | Self::OauthAccessToken(_) | Self::Session(_) => false,
        }
    }
}

/// A deploy token, as far as deciding about it goes (rest-api.md 2.11).
#[derive(Debug)]
pub struct DeployTokenRecord {
    /// `id` on the wire.
    pub id: DeployTokenId,
    /// Of the secret that was looked up.
    pub digest: Digest,
    /// The project or group that it belongs to; it opens nothing elsewhere.
    pub of: MembershipSource,
    /// The user name that goes with it in Basic authentication.
    pub username: Box<str>,
    /// What it opens there.
    pub scopes: DeployScopes,
    /// The first instant at which it is expired. `None`: it does not expire.
    pub dead_from: Option<Timestamp>,
    /// Whether it was revoked, which is for good.
    pub revoked: bool,
}

impl DeployTokenRecord {
    /// Whether it opens anything now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && self.dead_from.is_none_or(|at| now < at)
    }
}

/// The token of a CI job, as far as deciding about it goes (rest-api.md 2.12).
#[derive(Debug)]
pub struct JobTokenRecord {
    /// `id` of the job on the wire.
    pub id: JobTokenId,
    /// Of the secret that was looked up.
    pub digest: Digest,
    /// The project in which the job runs.
    pub project: ProjectId,
    /// When the job began.
    pub created_at: Timestamp,
    /// The first instant at which the job is over.
    pub dead_from: Timestamp,
    /// Whether it was revoked, which is for good.
    pub revoked: bool,
}

impl JobTokenRecord {
    /// Whether the job runs now.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.revoked && now < self.dead_from
    }
}

/// A token of either kind, as far as recognising it and describing it goes.
#[derive(Debug)]
pub struct TokenRecord {
    /// The number of this generation: of `personal_access_tokens` or of `oauth_access_tokens`.
    pub id: GenerationId,
    /// The family whose head decides whether it is live.
    pub family: FamilyId,
    /// Of the secret that was looked up.
    pub digest: Digest,
    /// What it opens.
    pub scopes: Scopes,
    /// Whether an administrator made it to act as the owner.
    pub impersonation: bool,
    /// The application that an OAuth token was given to.
    pub application: Option<ApplicationId>,
    /// What others call that application.
    pub client_id: Option<Box<str>>,
    /// `None`: an OAuth token.
    pub label: Option<Box<Label>>,
    /// When it was created.
    pub created_at: Timestamp,
    /// The first instant at which it is expired.
    pub dead_from: Option<Timestamp>,
    /// Written in batches; see [`LastUse`].
    pub last_used_at: LastUse,
    /// From where it was used; written in the same batches.
    pub last_used_ips: LastAddresses,
    /// Whether it is live, rotated or ended.
    pub status: TokenStatus,
}

/// What its owner calls a personal access token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The name that its owner gave it.
    pub name: Box<str>,
    /// What its owner wrote about it. `None`: nothing.
    pub description: Option<Box<str>>,
}

/// When a credential was last used: the value in the database, and the uses noted since then. Uses are written in
/// batches, long after the look-up.
pub struct LastUse {
    written: AtomicI64,
    noted: AtomicI64,
}

impl LastUse {
    /// As the database has it.
    pub fn get(&self) -> Option<Timestamp> {
        Some(Timestamp(self.written.load(Ordering::Relaxed))).filter(|at| *at != NEVER)
    }

    /// Whether a use is to be noted now: once in an interval, by one of those who ask at once.
    pub fn note(&self, now: Timestamp, interval: Duration) -> bool {
        let noted = self.noted.load(Ordering::Relaxed);
        noted <= (now - interval).0
            && self.noted.compare_exchange(noted, now.0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The database has it now.
    pub fn wrote(&self, at: Timestamp) {
        self.written.fetch_max(at.0, Ordering::Relaxed);
    }
}

impl From<Option<Timestamp>> for LastUse {
    fn from(at: Option<Timestamp>) -> Self {
        let at = at.unwrap_or(NEVER).0;
        Self { written: AtomicI64::new(at), noted: AtomicI64::new(at) }
    }
}

/// From where a token was last used. The newest five are kept; IPv6 addresses of one /64 are one.
pub struct LastAddresses {
    /// Hashes of those noted since the last interval began. 0: free.
    noted: [AtomicU64; MOST_ADDRESSES],
    next: AtomicUsize,
    written: Mutex<Vec<String>>,
}

/// How many addresses are kept of a token (rest-api.md 2.1).
pub const MOST_ADDRESSES: usize = 5;

impl LastAddresses {
    /// As the database has them, separated by spaces, the newest first.
    pub fn from_words(text: &str) -> Self {
        let written = Mutex::new(text.split_ascii_whitespace().map(str::to_owned).collect());
        Self { noted: Default::default(), next: AtomicUsize::new(0), written }
    }

    /// What the database has, as far as this node knows it, the newest first.
    pub fn get(&self) -> Vec<String> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The database has these now.
    pub fn wrote(&self, newest_first: Vec<String>) {
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = newest_first;
    }

    /// Whether the use from this address is to be noted: once in an interval, which begins where `anew` is set.
    pub fn note(&self, network: IpAddr, anew: bool) -> bool {
        let mut hasher = DefaultHasher::new();
        network.hash(&mut hasher);
        let hash = hasher.finish() | 1;
        if !anew && self.noted.iter().any(|known| known.load(Ordering::Relaxed) == hash) {
            return false;
        }
        if anew {
            self.noted.iter().for_each(|known| known.store(0, Ordering::Relaxed));
        }
        let at = self.next.fetch_add(1, Ordering::Relaxed) % MOST_ADDRESSES;
        self.noted[at].store(hash, Ordering::Relaxed);
        true
    }
}

impl fmt::Debug for LastAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// What is kept of an address: IPv4 whole, of IPv6 the first 64 bits.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// As an answer shows it: `192.0.2.1`, `2001:db8:1:2::/64`.
pub fn network_text(network: IpAddr) -> String {
    match network {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => format!("{v6}/64"),
    }
}

/// The newest addresses before those that were known, each once, at most [`MOST_ADDRESSES`].
pub fn newest_addresses<'a>(newest: impl Iterator<Item = String>, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut all: Vec<String> = Vec::with_capacity(MOST_ADDRESSES);
    for address in newest.chain(known.map(str::to_owned)) {
        if all.len() < MOST_ADDRESSES && !all.contains(&address) {
            all.push(address);
        }
    }
    all
}

impl fmt::Debug for LastUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

const NEVER: Timestamp = Timestamp(i64::MIN);

/// A browser session, as far as authentication needs it.
#[derive(Debug)]
pub struct SessionRecord {
    /// Digest of the cookie's value.
    pub digest: Digest,
    /// When its user gave their password, which began it.
    pub authenticated_at: Timestamp,
    /// The first instant at which it is over, unless use extends it first.
    pub expires_at: Timestamp,
    /// When use last extended it.
    pub extended_at: LastUse,
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    #[test]
    fn a_use_is_noted_once_in_an_interval() {
        let last = LastUse::from(Some(Timestamp(0)));
        for (now, noted) in [
            (599_999, false),
            (600_000, true),
            (600_000, false),
            (1_199_999, false),
            (1_200_000, true),
            // Another request read the clock earlier and comes later.
            (1_100_000, false),
        ] {
            assert_eq!(last.note(Timestamp(now), INTERVAL), noted, "{now}");
        }
        assert_eq!(last.get(), Some(Timestamp(0)), "what is noted is not written yet");
    }

    #[test]
    fn an_address_is_noted_once_in_an_interval() {
        let last = LastAddresses::from_words("");
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        assert!(last.note(address(1), true) && !last.note(address(1), false));
        assert!(last.note(address(2), false) && !last.note(address(1), false));
        assert!(last.note(address(1), true) && last.note(address(2), false), "a new interval");
        assert!((3..=9).all(|n| last.note(address(n), false)), "more than five");
    }

    #[test]
    fn five_addresses_are_kept_and_a_network_of_ipv6_is_one() {
        let text = |address: &str| network_text(network(address.parse().expect("an address")));
        assert_eq!(text("192.0.2.1"), "192.0.2.1");
        assert_eq!(text("::ffff:192.0.2.1"), "192.0.2.1");
        assert_eq!(text("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(text("2001:db8:1:2:ffff::9"), "2001:db8:1:2::/64");
        let newest = |new: &[&str], known: &str| {
            newest_addresses(new.iter().map(|&one| one.to_owned()), known.split_ascii_whitespace()).join(" ")
        };
        assert_eq!(newest(&["b", "a"], "a c"), "b a c");
        assert_eq!(newest(&["f", "e"], "a b c d e"), "f e a b c");
        assert_eq!(newest(&[], ""), "");
    }

    #[test]
    fn the_first_use_is_noted_at_once() {
        let last = LastUse::from(None);
        assert_eq!(last.get(), None);
        assert!(last.note(Timestamp(1), INTERVAL) && !last.note(Timestamp(2), INTERVAL));
    }

    #[test]
    fn a_batch_that_is_late_does_not_turn_the_last_use_back() {
        let last = LastUse::from(None);
        for (written, shown) in [(5, 5), (9, 9), (7, 9)] {
            last.wrote(Timestamp(written));
            assert_eq!(last.get(), Some(Timestamp(shown)));
        }
    }
}

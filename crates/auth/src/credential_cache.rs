//! What this process remembers from the database, and how that is invalidated: checked credentials, applications, and
//! memberships of users.
//!
//! A look-up that began before a forget must not be kept (A3 of `docs/protocols/revocation.md`): whoever asks the
//! database takes a [`Ticket`] with the generation of that moment, and [`CredentialCache::insert`] drops the record if the
//! generation has moved since. Owners, families and applications have a number each in a fixed table; forgetting one adds to its
//! number, and every record that was kept under the old number misses. So blocking a user with a hundred thousand
//! tokens is one addition. Two owners that share a place in the table cost each other a look-up, never an error.
//!
//! Nothing is answered from memory without a lease (A1, A2). The follower of the log renews it after every round. The
//! cache forgets what the follower reads in the log, and at once what this server itself made untrue
//! (docs/decisions/0034).

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};
use std::ops::Deref;
#[cfg(feature = "faults")]
use std::sync::atomic::AtomicI64;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tollhouse_domain::agreement::Tick;
use tollhouse_domain::application::Application;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutants;
use tollhouse_domain::id::{ApplicationId, FamilyId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::{Key, Record};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::user::User;

use crate::flights::Flights;

/// What one process remembers of credentials, applications and memberships, unknown ones included. It answers only
/// while it has a lease, and forgets what the invalidation log names (revocation.md, A1 to A6).
pub struct CredentialCache {
    credentials: Class<Record>,
    applications: Class<Application>,
    memberships: Class<Memberships>,
    user_memberships: Class<UserMemberships>,
    /// Owners of remembered credentials, so that all credentials of one share one record.
    owners: Option<Cache<UserId, Arc<User>>>,
    numbers: Box<[AtomicU32]>,
    /// Without a secret, so that a simulation is the same again: who shares a place costs a look-up, and no more.
    hasher: BuildHasherDefault<DefaultHasher>,
    generation: AtomicU64,
    /// Keeping excludes forgetting; hits take no part in it.
    apply: RwLock<()>,
    /// Until when it may answer, as a [`Tick`]; 0: not at all.
    lease: AtomicU64,
    /// Mistakes that are switched on, for the simulation and tests of the protocol.
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
    /// Of the entry last applied, for the mistake of comparing that.
    #[cfg(feature = "faults")]
    pub position: AtomicI64,
}

/// What can be remembered. All kinds are kept and forgotten by the same rules.
pub trait Cacheable: Sized + Send + Sync {
    /// What it is looked up by.
    type Key: Copy + Eq + Hash + Send + Sync;

    /// The part of the cache that holds this kind.
    fn class(cache: &CredentialCache) -> &Class<Self>;

    /// Whose numbers it depends on.
    fn places(&self, key: Self::Key, cache: &CredentialCache) -> [Option<NumberIndex>; 3];

    /// What it takes of its class's room.
    fn weight(&self) -> u64 {
        1
    }

    /// Replaces the owner by an equal one that is already in memory.
    fn share(&mut self, _: &CredentialCache) {}
}

impl Cacheable for Record {
    type Key = Key;

    fn class(cache: &CredentialCache) -> &Class<Self> {
        &cache.credentials
    }

    fn places(&self, _: Key, cache: &CredentialCache) -> [Option<NumberIndex>; 3] {
        let token = self.credential.token();
        [
            self.owner.as_ref().map(|owner| cache.owner(owner.id)),
            token.map(|token| cache.family(token.family)),
            token.and_then(|token| token.application).map(|id| cache.application(id)),
        ]
    }

    fn share(&mut self, cache: &CredentialCache) {
        let (Some(owners), Some(owner)) = (&cache.owners, &mut self.owner) else { return };
        match owners.get(&owner.id) {
            Some(known) if known == *owner => *owner = known,
            _ => owners.insert(owner.id, owner.clone()),
        }
    }
}

impl Cacheable for Application {
    /// The digest of its `client_id`, because a request may send one of any length.
    type Key = Digest;

    fn class(cache: &CredentialCache) -> &Class<Self> {
        &cache.applications
    }

    fn places(&self, _: Digest, cache: &CredentialCache) -> [Option<NumberIndex>; 3] {
        [Some(cache.application(self.id)), None, None]
    }
}

impl Cacheable for Memberships {
    type Key = (UserId, MembershipSource);

    fn class(cache: &CredentialCache) -> &Class<Self> {
        &cache.memberships
    }

    fn places(&self, (user, _): Self::Key, cache: &CredentialCache) -> [Option<NumberIndex>; 3] {
        [Some(cache.owner(user)), Some(PATHS), None]
    }
}

impl Cacheable for UserMemberships {
    type Key = UserId;

    fn class(cache: &CredentialCache) -> &Class<Self> {
        &cache.user_memberships
    }

    fn places(&self, user: UserId, cache: &CredentialCache) -> [Option<NumberIndex>; 3] {
        [Some(cache.owner(user)), Some(GROUPS), None]
    }

    fn weight(&self) -> u64 {
        1 + self.groups.len() as u64 + self.projects.len() as u64
    }
}

/// One kind of what is remembered.
pub struct Class<T: Cacheable> {
    known: Option<Cache<T::Key, Arc<Entry<T>>, Weigh>>,
    /// What there is not, where that can be asked for. Apart, so that guesses cannot drive out the living.
    unknown: Option<Cache<T::Key, ()>>,
    /// Look-ups that are under way.
    pub(crate) flights: Flights<T::Key, Option<Arc<Entry<T>>>>,
}

impl<T: Cacheable> Class<T> {
    /// For so much, by weight; 0 remembers nothing.
    fn new(room: usize, unknown: usize) -> Self {
        let cache = |room| Cache::with_weighter(room, room as u64, Weigh);
        Self {
            known: (room > 0).then(|| cache(room)),
            unknown: (unknown > 0).then(|| Cache::new(unknown)),
            flights: Flights::default(),
        }
    }

    fn remove(&self, key: T::Key) {
        if let Some(known) = &self.known {
            known.remove(&key);
        }
        self.evict_negative(key);
    }

    fn evict_negative(&self, key: T::Key) {
        if let Some(unknown) = &self.unknown {
            unknown.remove(&key);
        }
    }

    fn clear(&self) {
        if let Some(known) = &self.known {
            known.clear();
        }
        if let Some(unknown) = &self.unknown {
            unknown.clear();
        }
    }
}

#[derive(Clone)]
struct Weigh;

impl<T: Cacheable> Weighter<T::Key, Arc<Entry<T>>> for Weigh {
    fn weight(&self, _: &T::Key, entry: &Arc<Entry<T>>) -> u64 {
        entry.record.weight()
    }
}

/// A record that is remembered.
#[derive(Debug)]
pub struct Entry<T = Record> {
    /// What the database had.
    pub record: T,
    marks: [Option<Mark>; 3],
}

impl<T> Deref for Entry<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.record
    }
}

/// In the table of numbers.
#[derive(Clone, Copy, Debug)]
pub struct NumberIndex(u32);

#[derive(Clone, Copy, Debug)]
struct Mark {
    place: NumberIndex,
    number: u32,
}

/// What the cache says.
pub enum Cached<T = Record> {
    /// The record, valid at the time of the question.
    Known(Arc<Entry<T>>),
    /// There is none, as far as is known.
    Unknown,
    /// The database must be asked.
    Ask,
}

/// The right to keep what a look-up brings, unless something was forgotten meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
}

impl CredentialCache {
    /// `entries` bounds the credentials, the memberships per group or project, and the memberships per user, each on
    /// its own; applications get a tenth of it. Unknown credentials and unknown `client_id`s get another tenth of the
    /// bound of their class. 0 remembers nothing.
    pub fn new(entries: usize) -> Self {
        let part = |of: usize| if of > 0 { (of / 10).max(16) } else { 0 };
        Self {
            credentials: Class::new(entries, part(entries)),
            applications: Class::new(part(entries), part(part(entries))),
            memberships: Class::new(entries, 0),
            user_memberships: Class::new(entries, 0),
            owners: (entries > 0).then(|| Cache::new(part(entries))),
            numbers: (0..=PATHS.0).map(|_| AtomicU32::new(0)).collect(),
            hasher: BuildHasherDefault::default(),
            generation: AtomicU64::new(0),
            apply: RwLock::new(()),
            lease: AtomicU64::new(0),
            #[cfg(feature = "faults")]
            mutants: Mutants::default(),
            #[cfg(feature = "faults")]
            position: AtomicI64::new(0),
        }
    }

    /// The same, with mistakes that can be switched on.
    #[cfg(feature = "faults")]
    pub fn breaking(mut self, mutants: Mutants) -> Self {
        self.mutants = mutants;
        self
    }

    /// Until then it may answer from memory (F4).
    pub fn lease(&self, until: Tick) {
        self.lease.store(until.0, Ordering::SeqCst);
    }

    /// From now on every request asks the database (F2, N1).
    pub fn drop_lease(&self) {
        self.lease.store(0, Ordering::SeqCst);
    }

    /// Whether the lease holds at `now`, which the request itself has just read (A1).
    pub fn is_leased(&self, now: Tick) -> bool {
        now.0 < self.lease.load(Ordering::SeqCst) || tollhouse_domain::broken!(self, NoLeaseCheck)
    }

    /// `now`: read by the request itself, before this (A1).
    pub fn get<T: Cacheable>(&self, key: T::Key, now: Tick) -> Cached<T> {
        let class = T::class(self);
        let Some(known) = class.known.as_ref().filter(|_| self.is_leased(now)) else {
            return Cached::Ask;
        };
        if let Some(entry) = known.get(&key) {
            if entry.marks.iter().flatten().all(|mark| self.current(*mark)) {
                return Cached::Known(entry);
            }
        } else if class.unknown.as_ref().is_some_and(|unknown| unknown.get(&key).is_some()) {
            return Cached::Unknown;
        }
        Cached::Ask
    }

    /// Noted before a look-up is sent.
    pub fn ticket(&self) -> Ticket {
        #[cfg(feature = "faults")]
        if tollhouse_domain::broken!(self, GuardByPosition) {
            return Ticket { generation: self.position.load(Ordering::SeqCst) as u64 };
        }
        Ticket { generation: self.generation.load(Ordering::SeqCst) }
    }

    /// Keeps what a look-up found, if nothing was forgotten since its ticket. The entry serves the request that
    /// asked either way.
    pub fn insert<T: Cacheable>(&self, ticket: Ticket, key: T::Key, found: Option<T>) -> Option<Arc<Entry<T>>> {
        let _no_forgetting = self.apply.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = ticket == self.ticket() || tollhouse_domain::broken!(self, NoFillGuard);
        let class = T::class(self);
        let Some(mut record) = found else {
            // What was known of it stands in the way of knowing that it is gone.
            if let Some(known) = &class.known {
                known.remove(&key);
            }
            if let (true, Some(unknown)) = (fresh, &class.unknown) {
                unknown.insert(key, ());
            }
            return None;
        };
        record.share(self);
        let marks = record.places(key, self).map(|place| place.map(|place| self.mark(place)));
        let entry = Arc::new(Entry { record, marks });
        if let (true, Some(known)) = (fresh, &class.known) {
            known.insert(key, entry.clone());
        }
        Some(entry)
    }

    /// After this returns, nothing that was true before is answered from memory.
    pub fn invalidate(&self, words: &[Invalidation]) {
        let _no_keeping = self.apply.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        for word in words {
            match word {
                Invalidation::Token(digest) => self.remove_token(*digest),
                Invalidation::Unknown(digest) => {
                    self.remove_token(*digest);
                    self.applications.remove(*digest);
                }
                Invalidation::Session(digest) => self.credentials.remove(Key::Session(*digest)),
                Invalidation::Owner(id) => self.advance(self.owner(*id)),
                Invalidation::Family(id) => self.advance(self.family(*id)),
                Invalidation::Application(id) => self.advance(self.application(*id)),
                Invalidation::Groups => self.advance(GROUPS),
                Invalidation::Paths => [GROUPS, PATHS].into_iter().for_each(|place| self.advance(place)),
                Invalidation::All => self.clear(),
                Invalidation::Nothing => {}
            }
        }
    }

    /// What is remembered of one secret is out of date, though nothing became untrue: it was used for the first time.
    pub(crate) fn drop_secret(&self, key: Key) {
        self.credentials.remove(key);
    }

    /// A secret that was just made here is no longer unknown (revocation.md section 6).
    pub fn evict_negative(&self, key: Key) {
        self.credentials.evict_negative(key);
    }

    /// Whether it remembers anything at all.
    pub fn remembers(&self) -> bool {
        self.credentials.known.is_some()
    }

    /// How many credentials are remembered now.
    pub fn len(&self) -> usize {
        self.credentials.known.as_ref().map_or(0, Cache::len)
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn mark(&self, place: NumberIndex) -> Mark {
        Mark { place, number: self.numbers[place.0 as usize].load(Ordering::SeqCst) }
    }

    fn current(&self, mark: Mark) -> bool {
        self.numbers[mark.place.0 as usize].load(Ordering::SeqCst) == mark.number
    }

    fn advance(&self, place: NumberIndex) {
        self.numbers[place.0 as usize].fetch_add(1, Ordering::SeqCst);
    }

    fn owner(&self, id: UserId) -> NumberIndex {
        self.place((0_u8, id))
    }

    fn family(&self, id: FamilyId) -> NumberIndex {
        self.place((1_u8, id))
    }

    fn application(&self, id: ApplicationId) -> NumberIndex {
        self.place((2_u8, id))
    }

    fn place(&self, of: impl Hash) -> NumberIndex {
        NumberIndex((self.hasher.hash_one(of) % u64::from(PLACES)) as u32)
    }

    fn remove_token(&self, digest: Digest) {
        self.credentials.remove(Key::Token(digest));
        self.credentials.remove(Key::Refresh(digest));
        self.credentials.remove(Key::Deploy(digest));
        self.credentials.remove(Key::Job(digest));
    }

    fn clear(&self) {
        self.credentials.clear();
        self.applications.clear();
        self.memberships.clear();
        self.user_memberships.clear();
        if let Some(owners) = &self.owners {
            owners.clear();
        }
    }
}

/// A quarter of a megabyte; with 10,000 owners forgotten one after the other each drags 0.15 others along.
const PLACES: u32 = 1 << 16;

/// Behind all others: which group is inside which.
const GROUPS: NumberIndex = NumberIndex(PLACES);

/// Where groups and projects are.
const PATHS: NumberIndex = NumberIndex(PLACES + 1);

#[cfg(test)]
mod tests;

//! What this process remembers of checked credentials, and how it is told to forget.
//!
//! A look-up that began before a forget must not be kept (A3 of `docs/protocols/revocation.md`): whoever asks the
//! database takes a [`Ticket`] with the generation of that moment, and [`Ledger::keep`] drops the record if the
//! generation has moved since. Owners, families and applications have a number each in a fixed table; forgetting one adds to its
//! number, and every record that was kept under the old number misses. So blocking a user with a hundred thousand
//! tokens is one addition. Two owners that share a place in the table cost each other a look-up, never an error.
//!
//! Nothing is answered from memory without a lease (A1, A2). The one who follows the log gives it, after every round,
//! and is the only one who makes the ledger forget.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::Cache;
use tollhouse_domain::agreement::Tick;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutants;
use tollhouse_domain::forget::Forget;
use tollhouse_domain::id::{ApplicationId, FamilyId, UserId};
use tollhouse_domain::lookup::{Credential, Key, Record};
use tollhouse_domain::membership::{Memberships, Of};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

pub struct Ledger {
    known: Option<Cache<Key, Arc<Entry>>>,
    /// Values that nobody was given. Apart, so that guesses cannot drive out the living.
    unknown: Option<Cache<Key, ()>>,
    /// What users are to groups and projects.
    memberships: Option<Cache<(UserId, Of), Member>>,
    numbers: Box<[AtomicU32]>,
    /// Without a secret, so that a simulation is the same again: who shares a place costs a look-up, and no more.
    hasher: BuildHasherDefault<DefaultHasher>,
    generation: AtomicU64,
    /// Keeping excludes forgetting; hits take no part in it.
    apply: RwLock<()>,
    /// Until when it may answer, as a [`Tick`]; 0: not at all.
    lease: AtomicU64,
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
    /// Of the entry last applied, for the mistake of comparing that.
    #[cfg(feature = "faults")]
    pub position: AtomicI64,
}

/// A record that is remembered.
#[derive(Debug)]
pub struct Entry {
    pub record: Record,
    /// When its use was last noted, in milliseconds; written at most once per interval.
    pub noted_at: AtomicI64,
    /// Of its owner, its family and its application, as far as it has them.
    marks: [Option<Mark>; 3],
}

#[derive(Clone)]
struct Member {
    known: Arc<Memberships>,
    /// Of the user.
    mark: Mark,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    place: usize,
    number: u32,
}

pub enum Recall {
    Known(Arc<Entry>),
    /// Nobody was given this, as far as is known.
    Unknown,
    /// The database must be asked.
    Ask,
}

/// The right to keep what a look-up brings, unless something was forgotten meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    generation: u64,
}

impl Ledger {
    /// Remembers so many credentials, and a tenth as many values that were unknown; 0 remembers nothing.
    pub fn new(entries: usize) -> Self {
        let some = entries > 0;
        Self {
            known: some.then(|| Cache::new(entries)),
            unknown: some.then(|| Cache::new((entries / 10).max(16))),
            memberships: some.then(|| Cache::new(entries)),
            numbers: (0..PLACES).map(|_| AtomicU32::new(0)).collect(),
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
    pub fn recall(&self, key: Key, now: Tick) -> Recall {
        let (Some(known), Some(unknown)) = (&self.known, &self.unknown) else {
            return Recall::Ask;
        };
        if !self.is_leased(now) {
            return Recall::Ask;
        }
        if let Some(entry) = known.get(&key) {
            if entry.marks.iter().flatten().all(|mark| self.current(*mark)) {
                return Recall::Known(entry);
            }
        } else if unknown.get(&key).is_some() {
            return Recall::Unknown;
        }
        Recall::Ask
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
    pub fn keep(&self, ticket: Ticket, key: Key, record: Option<Record>) -> Option<Arc<Entry>> {
        let _no_forgetting = self.apply.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = ticket == self.ticket() || tollhouse_domain::broken!(self, NoFillGuard);
        let Some(record) = record else {
            // What was known of it stands in the way of knowing that it is gone.
            if let Some(known) = &self.known {
                known.remove(&key);
            }
            if let (true, Some(unknown)) = (fresh, &self.unknown) {
                unknown.insert(key, ());
            }
            return None;
        };
        let entry = Arc::new(self.entry(record));
        if let (true, Some(known)) = (fresh, &self.known) {
            known.insert(key, entry.clone());
        }
        Some(entry)
    }

    /// As [`Ledger::recall`], of what a user is to a group or project.
    pub fn recall_memberships(&self, user: UserId, of: Of, now: Tick) -> Option<Arc<Memberships>> {
        if !self.is_leased(now) {
            return None;
        }
        let member = self.memberships.as_ref()?.get(&(user, of))?;
        self.current(member.mark).then_some(member.known)
    }

    /// As [`Ledger::keep`].
    pub fn keep_memberships(&self, ticket: Ticket, user: UserId, of: Of, found: Memberships) -> Arc<Memberships> {
        let _no_forgetting = self.apply.read().unwrap_or_else(PoisonError::into_inner);
        let fresh = ticket == self.ticket() || tollhouse_domain::broken!(self, NoFillGuard);
        let known = Arc::new(found);
        if let (true, Some(memberships)) = (fresh, &self.memberships) {
            memberships.insert((user, of), Member { known: known.clone(), mark: self.mark(self.owner(user)) });
        }
        known
    }

    /// After this returns, nothing that was true before is answered from memory.
    pub fn forget(&self, words: &[Forget]) {
        let _no_keeping = self.apply.write().unwrap_or_else(PoisonError::into_inner);
        self.generation.fetch_add(1, Ordering::SeqCst);
        for word in words {
            match word {
                Forget::Token(digest) | Forget::Unknown(digest) => self.remove(Key::Token(*digest)),
                Forget::Session(digest) => self.remove(Key::Session(*digest)),
                Forget::Owner(id) => self.advance(self.owner(*id)),
                Forget::Family(id) => self.advance(self.family(*id)),
                Forget::Application(id) => self.advance(self.application(*id)),
                Forget::All => self.clear(),
                Forget::Nothing => {}
            }
        }
    }

    /// What is remembered of one token is out of date, though nothing became untrue: it was used for the first time.
    pub(crate) fn drop_token(&self, digest: Digest) {
        self.remove(Key::Token(digest));
    }

    /// A secret that was just made here is no longer unknown (revocation.md section 6).
    pub fn no_longer_unknown(&self, key: Key) {
        if let Some(unknown) = &self.unknown {
            unknown.remove(&key);
        }
    }

    /// Whether it remembers anything at all.
    pub fn remembers(&self) -> bool {
        self.known.is_some()
    }

    /// How many credentials are remembered now.
    pub fn len(&self) -> usize {
        self.known.as_ref().map_or(0, Cache::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, record: Record) -> Entry {
        let owner = record.owner.as_ref().map(|owner| self.owner(owner.id));
        let token = record.credential.token();
        let family = token.map(|token| self.family(token.family));
        let application = token.and_then(|token| token.application).map(|id| self.application(id));
        let noted_at = match &record.credential {
            Credential::Session(session) => session.extended_at,
            Credential::PersonalAccessToken(token) | Credential::OauthAccessToken(token) => {
                token.last_used_at.unwrap_or(Timestamp(i64::MIN))
            }
        };
        let marks = [owner, family, application].map(|place| place.map(|place| self.mark(place)));
        Entry { record, noted_at: AtomicI64::new(noted_at.0), marks }
    }

    fn mark(&self, place: usize) -> Mark {
        Mark { place, number: self.numbers[place].load(Ordering::SeqCst) }
    }

    fn current(&self, mark: Mark) -> bool {
        self.numbers[mark.place].load(Ordering::SeqCst) == mark.number
    }

    fn advance(&self, place: usize) {
        self.numbers[place].fetch_add(1, Ordering::SeqCst);
    }

    fn owner(&self, id: UserId) -> usize {
        self.hasher.hash_one((0_u8, id)) as usize % PLACES
    }

    fn family(&self, id: FamilyId) -> usize {
        self.hasher.hash_one((1_u8, id)) as usize % PLACES
    }

    fn application(&self, id: ApplicationId) -> usize {
        self.hasher.hash_one((2_u8, id)) as usize % PLACES
    }

    fn remove(&self, key: Key) {
        if let (Some(known), Some(unknown)) = (&self.known, &self.unknown) {
            known.remove(&key);
            unknown.remove(&key);
        }
    }

    fn clear(&self) {
        if let (Some(known), Some(unknown)) = (&self.known, &self.unknown) {
            known.clear();
            unknown.clear();
        }
        if let Some(memberships) = &self.memberships {
            memberships.clear();
        }
    }
}

/// A quarter of a megabyte; with 10,000 owners forgotten one after the other each drags 0.15 others along.
const PLACES: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use tollhouse_domain::lookup::SessionRecord;

    use super::*;

    fn record(owner: i64) -> Record {
        let user = crate::authenticator::tests::user(owner);
        let session = SessionRecord {
            digest: digest(owner),
            authenticated_at: Timestamp(0),
            expires_at: Timestamp(1),
            extended_at: Timestamp(0),
        };
        Record { credential: Credential::Session(Arc::new(session)), owner: Some(Arc::new(user)) }
    }

    fn digest(n: i64) -> Digest {
        Digest::of(&n.to_be_bytes())
    }

    const NOW: Tick = Tick(1);

    fn leased(entries: usize) -> Ledger {
        let ledger = Ledger::new(entries);
        ledger.lease(Tick(2));
        ledger
    }

    fn known(ledger: &Ledger, key: Key) -> bool {
        matches!(ledger.recall(key, NOW), Recall::Known(_))
    }

    #[test]
    fn a_1_without_a_lease_nothing_is_answered() {
        let ledger = Ledger::new(100);
        let (key, nobody) = (Key::Session(digest(1)), Key::Session(digest(2)));
        ledger.keep(ledger.ticket(), key, Some(record(1)));
        ledger.keep(ledger.ticket(), nobody, None);
        assert!(!known(&ledger, key), "none was ever given");
        ledger.lease(Tick(2));
        assert!(known(&ledger, key));
        for at in [Tick(2), Tick(3)] {
            assert!(matches!(ledger.recall(key, at), Recall::Ask) && matches!(ledger.recall(nobody, at), Recall::Ask));
        }
        ledger.drop_lease();
        assert!(!known(&ledger, key) && matches!(ledger.recall(nobody, NOW), Recall::Ask));
    }

    #[test]
    fn a_3_a_look_up_that_began_before_a_forget_is_not_kept() {
        let ledger = leased(100);
        let key = Key::Session(digest(1));
        let ticket = ledger.ticket();
        ledger.forget(&[Forget::Owner(UserId(99))]);
        assert!(ledger.keep(ticket, key, Some(record(1))).is_some(), "it serves the request that asked");
        assert!(!known(&ledger, key));
        ledger.keep(ledger.ticket(), key, Some(record(1)));
        assert!(known(&ledger, key));
        let late = ledger.ticket();
        ledger.forget(&[Forget::All]);
        ledger.keep(late, Key::Session(digest(2)), None);
        assert!(matches!(ledger.recall(Key::Session(digest(2)), NOW), Recall::Ask), "unknown is not kept either");
    }

    #[test]
    fn each_word_forgets_what_it_names() {
        let ledger = leased(100);
        let key = |n| Key::Session(digest(n));
        let fill = || {
            for n in [1, 2] {
                ledger.keep(ledger.ticket(), key(n), Some(record(n)));
            }
        };
        fill();
        ledger.forget(&[Forget::Nothing]);
        assert!(known(&ledger, key(1)) && known(&ledger, key(2)));
        ledger.forget(&[Forget::Session(digest(1))]);
        assert!(!known(&ledger, key(1)) && known(&ledger, key(2)));
        fill();
        ledger.forget(&[Forget::Owner(UserId(2))]);
        assert!(!known(&ledger, key(2)));
        fill();
        ledger.forget(&[Forget::All]);
        assert!(ledger.is_empty());
        ledger.keep(ledger.ticket(), Key::Token(digest(3)), None);
        assert!(matches!(ledger.recall(Key::Token(digest(3)), NOW), Recall::Unknown));
        ledger.forget(&[Forget::Unknown(digest(3))]);
        assert!(matches!(ledger.recall(Key::Token(digest(3)), NOW), Recall::Ask));
    }

    #[test]
    fn t27_memberships_are_forgotten_with_their_user() {
        use tollhouse_domain::id::NamespaceId;
        let ledger = leased(100);
        let of = Of::Group(NamespaceId(5));
        let keep = |ticket| ledger.keep_memberships(ticket, UserId(1), of, Memberships::default());
        let known = || ledger.recall_memberships(UserId(1), of, NOW).is_some();
        keep(ledger.ticket());
        assert!(known());
        ledger.forget(&[Forget::Owner(UserId(2))]);
        assert!(known(), "somebody else's");
        let before = ledger.ticket();
        for word in [Forget::Owner(UserId(1)), Forget::All] {
            ledger.forget(&[word]);
            assert!(!known());
            keep(before);
            assert!(!known(), "a look-up that began before is not kept (A3)");
            keep(ledger.ticket());
            assert!(known());
        }
        let none = leased(0);
        none.keep_memberships(none.ticket(), UserId(1), of, Memberships::default());
        assert!(none.recall_memberships(UserId(1), of, NOW).is_none());
    }

    #[test]
    fn guesses_do_not_drive_out_the_living() {
        let ledger = leased(1000);
        for n in 0..100 {
            ledger.keep(ledger.ticket(), Key::Session(digest(n)), Some(record(n)));
        }
        for n in 1000..20_000 {
            ledger.keep(ledger.ticket(), Key::Session(digest(n)), None);
        }
        assert!((0..100).all(|n| known(&ledger, Key::Session(digest(n)))));
    }

    #[test]
    fn remembering_can_be_switched_off() {
        let ledger = leased(0);
        ledger.keep(ledger.ticket(), Key::Session(digest(1)), Some(record(1)));
        assert!(!known(&ledger, Key::Session(digest(1))));
    }
}

//! Passwords: Argon2id, in a queue of our own, so that the API stays quick while many people sign in (T14).
//!
//! At most `max(1, cores / 2)` are hashed at once. At most 256 wait, 64 of one address; addresses are served in
//! turn, so that a flood from one place costs only itself. When the queue is full, the last to come of the address that
//! holds most is turned away: the newcomer, or one that waits already.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::oneshot;
use tollhouse_auth::limiter::{QUARTERS, network, site};
use tollhouse_domain::password::{LONGEST_BYTES, normalized};
use tollhouse_domain::secret::Plaintext;

/// Hashes and compares passwords (Argon2id) on threads of its own, fairly between addresses (T14). Clones share the
/// threads.
#[derive(Clone)]
pub struct Hasher(Arc<Owner>);

/// The threads end with the last of these.
struct Owner(Arc<Shared>);

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    work: Condvar,
    /// What a password is compared with where there is no account, so that it costs the same.
    nobody: OnceLock<String>,
    hashed: AtomicU64,
    running: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    /// An address stands here only while something of it waits, and in the order in which that came.
    waiting: HashMap<IpAddr, VecDeque<Entry>>,
    /// Addresses with a job.
    turns: VecDeque<IpAddr>,
    count: usize,
    came: u64,
    closed: bool,
}

/// A place that is held, or a job that is queued.
struct Entry {
    /// The order in which all came.
    number: u64,
    job: Option<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// How much the hasher has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Places that are taken, the queued ones among them.
    pub waiting: usize,
    /// Hashes that are being computed now.
    pub running: usize,
}

/// A place in the queue, taken before anything is written about the attempt.
pub struct QueueSlot {
    hasher: Hasher,
    address: IpAddr,
    number: u64,
    used: bool,
}

impl Hasher {
    /// Starts the threads.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        for _ in 0..threads() {
            let shared = shared.clone();
            std::thread::spawn(move || shared.run());
        }
        Self(Arc::new(Owner(shared)))
    }

    /// Takes a place for one password of this address, or says that too many wait. The place may be taken away again.
    pub fn place(&self, address: Option<IpAddr>) -> Result<QueueSlot, Busy> {
        let address = network(address.unwrap_or(NOWHERE));
        let mut queue = self.0.0.lock();
        if queue.waiting.get(&address).is_some_and(|mine| mine.len() >= MOST_OF_ONE) {
            return Err(Busy);
        }
        if queue.count >= MOST {
            let loser = queue.loser(address).filter(|loser| *loser != address).ok_or(Busy)?;
            queue.turn_away_last(loser);
        }
        Ok(self.hold(&mut queue, address))
    }

    /// The PHC string of a new password, in its normal form. It waits its turn like the others, but is not turned away.
    pub async fn hash(&self, password: &Plaintext) -> String {
        let place = self.hold(&mut self.0.0.lock(), OURSELVES);
        let password = normal_form(password).unwrap_or_else(|| password.clone());
        place.run(move || hash_now(&password)).await.unwrap_or_default()
    }

    /// How many passwords were hashed since the start.
    pub fn hashed(&self) -> u64 {
        self.0.0.hashed.load(Ordering::Relaxed)
    }

    /// Keeps every thread busy until what this gives is dropped. For tests.
    #[cfg(feature = "faults")]
    pub fn stall(&self) -> std::sync::mpsc::Sender<()> {
        let (go, wait) = std::sync::mpsc::channel();
        let (begun, begins) = std::sync::mpsc::channel();
        let wait = Arc::new(Mutex::new(wait));
        for _ in 0..threads() {
            let (wait, begun) = (wait.clone(), begun.clone());
            let mut queue = self.0.0.lock();
            let number = queue.hold(OURSELVES);
            queue.put(
                OURSELVES,
                number,
                Box::new(move || {
                    let _ = begun.send(());
                    drop(wait.lock().map(|wait| wait.recv()));
                }),
            );
            self.0.0.work.notify_one();
        }
        begins.iter().take(threads()).for_each(drop);
        go
    }

    /// What there is to do now.
    pub fn load(&self) -> Load {
        let queue = self.0.0.lock();
        Load { waiting: queue.count, running: self.0.0.running.load(Ordering::Relaxed) }
    }

    fn hold(&self, queue: &mut Queue, address: IpAddr) -> QueueSlot {
        let number = queue.hold(address);
        QueueSlot { hasher: self.clone(), address, number, used: false }
    }
}

impl QueueSlot {
    /// Whether this is the password with that PHC string; `None` compares with nobody's and is always wrong, at the
    /// same cost. Too long a password is wrong without being hashed. `Err`: the place was given to an address that
    /// holds fewer.
    ///
    /// It is compared in its normal form and then, if that differs, as it was typed: passwords used to be hashed
    /// as typed, and those that were hashed elsewhere may be. A password that is its own normal form costs one hash.
    pub async fn verify(self, password: &Plaintext, digest: Option<String>) -> Result<bool, Busy> {
        let Some(normal) = normal_form(password) else { return Ok(false) };
        let typed = Some(password).filter(|typed| typed.reveal() != normal.reveal());
        let typed = typed.filter(|typed| typed.reveal().len() <= LONGEST_BYTES).cloned();
        let real = digest.is_some();
        let shared = self.hasher.0.0.clone();
        let work = move || {
            let nobody = || shared.nobody.get_or_init(|| hash_now(&Plaintext::password()));
            let digest = digest.as_ref().unwrap_or_else(|| nobody());
            let is = |form: &Plaintext| {
                shared.hashed.fetch_add(1, Ordering::Relaxed);
                verify_now(form, digest)
            };
            is(&normal) || typed.as_ref().is_some_and(is)
        };
        self.run(work).await.map(|right| right && real).ok_or(Busy)
    }

    /// `None`: it was turned away.
    async fn run<T: Send + 'static>(mut self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || drop(tell.send(work())));
        self.used = true;
        if !self.hasher.0.0.lock().put(self.address, self.number, job) {
            return None;
        }
        self.hasher.0.0.work.notify_one();
        told.await.ok()
    }
}

impl Drop for QueueSlot {
    fn drop(&mut self) {
        if !self.used {
            self.hasher.0.0.lock().leave(self.address, self.number);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.work.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        loop {
            let mut queue = self.lock();
            let job = loop {
                match queue.next() {
                    None if queue.closed => return,
                    Some(job) => break job,
                    None => queue = self.work.wait(queue).unwrap_or_else(PoisonError::into_inner),
                }
            };
            // Under the lock, so that whoever looks finds it in one of both.
            self.running.fetch_add(1, Ordering::Relaxed);
            drop(queue);
            job();
            self.running.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Queue {
    fn hold(&mut self, address: IpAddr) -> u64 {
        self.count += 1;
        self.came += 1;
        self.waiting.entry(address).or_default().push_back(Entry { number: self.came, job: None });
        self.came
    }

    /// Queues the job of a place; `false`: that was taken away.
    fn put(&mut self, address: IpAddr, number: u64, job: Job) -> bool {
        let Some(entries) = self.waiting.get_mut(&address) else { return false };
        let first = entries.iter().all(|entry| entry.job.is_none());
        let Some(entry) = entries.iter_mut().find(|entry| entry.number == number) else { return false };
        entry.job = Some(job);
        if first {
            self.turns.push_back(address);
        }
        true
    }

    /// One job of the address whose turn it is.
    fn next(&mut self) -> Option<Job> {
        let address = self.turns.pop_front()?;
        let entries = self.waiting.get_mut(&address)?;
        let mut queued = entries.iter_mut().filter(|entry| entry.job.is_some());
        let entry = queued.next()?;
        let (number, job) = (entry.number, entry.job.take());
        if queued.next().is_some() {
            self.turns.push_back(address);
        }
        self.leave(address, number);
        job
    }

    fn leave(&mut self, address: IpAddr, number: u64) {
        let Some(entries) = self.waiting.get_mut(&address) else { return };
        let before = entries.len();
        entries.retain(|entry| entry.number != number);
        self.count -= before - entries.len();
        if entries.is_empty() {
            self.waiting.remove(&address);
        }
    }

    /// The address that holds most, counting one more for the newcomer. What a /48 holds counts a quarter, since its owner
    /// can use any number of /64. Of several that hold as much, the one that came last.
    fn loser(&self, newcomer: IpAddr) -> Option<IpAddr> {
        let held =
            |address: &IpAddr| self.waiting.get(address).map_or(0, VecDeque::len) + usize::from(*address == newcomer);
        let others = self.waiting.keys().filter(|address| **address != newcomer && **address != OURSELVES);
        let addresses = || others.clone().chain([&newcomer]);
        let mut sites: HashMap<IpAddr, usize> = HashMap::new();
        for address in addresses() {
            *sites.entry(site(*address)).or_default() += held(address);
        }
        let weight = |address: &IpAddr| {
            let of_site = sites.get(&site(*address)).copied().unwrap_or_default();
            (QUARTERS * held(address)).max(of_site)
        };
        let last = |address: &IpAddr| match *address == newcomer {
            true => u64::MAX,
            false => self.waiting.get(address).and_then(VecDeque::back).map_or(0, |entry| entry.number),
        };
        addresses().max_by_key(|address| (weight(address), last(address))).copied()
    }

    /// Removes the entry of an address that came last.
    fn turn_away_last(&mut self, address: IpAddr) {
        let Some(entries) = self.waiting.get_mut(&address) else { return };
        // Dropping a queued job tells its owner at once. The owner of a place without a job learns it when it brings one.
        if entries.pop_back().is_some() {
            self.count -= 1;
        }
        if entries.iter().all(|entry| entry.job.is_none()) {
            self.turns.retain(|turn| *turn != address);
        }
        if entries.is_empty() {
            self.waiting.remove(&address);
        }
    }
}

/// How many passwords are hashed at once.
fn threads() -> usize {
    (std::thread::available_parallelism().map_or(1, std::num::NonZero::get) / 2).max(1)
}

/// Whether passwords can be compared with this PHC string, and at a price that does not bring the server down.
pub fn verifies(digest: &str) -> bool {
    let Ok(hash) = PasswordHash::new(digest) else { return false };
    let known = Algorithm::try_from(hash.algorithm.as_str()).is_ok()
        && hash.version.is_none_or(|version| Version::try_from(version).is_ok());
    let payable = |params: Params| params.m_cost() <= MOST_MEMORY && params.t_cost() <= MOST_PASSES;
    known && hash.salt.is_some() && hash.hash.is_some() && Params::try_from(&hash).is_ok_and(payable)
}

/// `None`: it is too long.
fn normal_form(password: &Plaintext) -> Option<Plaintext> {
    normalized(password.reveal()).map(|normal| Plaintext::new(normal.into_owned()))
}

fn hash_now(password: &Plaintext) -> String {
    match argon2().hash_password(password.reveal().as_bytes()) {
        Ok(hash) => hash.to_string(),
        Err(error) => {
            tracing::error!(%error, "a password could not be hashed");
            String::new()
        }
    }
}

fn verify_now(password: &Plaintext, digest: &str) -> bool {
    PasswordHash::new(digest).is_ok_and(|hash| argon2().verify_password(password.reveal().as_bytes(), &hash).is_ok())
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(19_456, 2, 1, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Under which the program's own passwords wait.
const OURSELVES: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
/// Under which passwords wait that came from no address.
const NOWHERE: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
const MOST: usize = 256;
/// Of a digest that was made elsewhere, in KiB.
const MOST_MEMORY: u32 = 1 << 20;
const MOST_PASSES: u32 = 100;
const MOST_OF_ONE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([192, 0, 2, last]))
    }

    fn text(address: &str) -> Option<IpAddr> {
        address.parse().ok()
    }

    #[tokio::test]
    async fn t14_so_many_wait_and_no_more_and_every_place_is_given_back() {
        let hasher = Hasher::start();
        let mut held: Vec<QueueSlot> = (0..MOST_OF_ONE).map(|_| hasher.place(address(1)).expect("a place")).collect();
        assert!(hasher.place(address(1)).is_err(), "64 of one address");
        for i in 0..MOST - MOST_OF_ONE {
            held.push(hasher.place(address(2 + (i % 3) as u8)).expect("a place"));
        }
        assert_eq!(hasher.load().waiting, MOST);
        held.push(hasher.place(address(9)).expect("in place of another"));
        assert_eq!(hasher.load().waiting, MOST, "256 in all");
        held.clear();
        assert!(hasher.0.0.lock().waiting.is_empty() && hasher.0.0.lock().count == 0);
    }

    #[tokio::test]
    async fn t14_a_full_queue_turns_away_the_last_of_the_address_that_holds_most() {
        let of = |text: &str, times: usize| std::iter::repeat_n(text.to_owned(), times);
        let many =
            |text: &str, times: usize| (0..times).map(|i| text.replace('*', &format!("{i:x}"))).collect::<Vec<_>>();
        // The addresses that fill the queue, the newcomer, and the address that loses its last place. `None`: the newcomer is
        // refused.
        let eight = || (1..=8).flat_map(|i| of(&format!("192.0.2.{i}"), 32)).collect::<Vec<_>>();
        let with_one_more =
            || [of("192.0.2.1", 33), of("192.0.2.2", 31)].into_iter().flatten().chain(eight().split_off(64));
        for (what, full, newcomer, loser) in [
            ("of equals, the last to come", eight(), "192.0.2.9", Some("192.0.2.8")),
            ("the one that holds most", with_one_more().collect(), "192.0.2.9", Some("192.0.2.1")),
            ("a newcomer that would hold most", eight(), "192.0.2.3", None),
            ("all have one each", many("2001:db8:*::1", 256), "198.51.100.1", None),
            ("one /48 with many /64", many("2001:db8:1:*::1", 256), "192.0.2.1", Some("2001:db8:1:ff::1")),
            ("more from that /48", many("2001:db8:1:*::1", 256), "2001:db8:1:1000::1", None),
            (
                "a /48 holds four times as much",
                [many("2001:db8:1:*::1", 120), eight().split_off(120)].concat(),
                "192.0.2.99",
                Some("192.0.2.8"),
            ),
            (
                "and no more",
                [many("2001:db8:1:*::1", 160), eight().split_off(160)].concat(),
                "192.0.2.99",
                Some("2001:db8:1:9f::1"),
            ),
        ] {
            let mut queue = Queue::default();
            let full: Vec<IpAddr> = full.iter().map(|address| network(text(address).unwrap_or(NOWHERE))).collect();
            for address in &full {
                queue.hold(*address);
            }
            let newcomer = network(text(newcomer).expect("an address"));
            let expected = loser.map_or(newcomer, |loser| network(text(loser).expect("an address")));
            assert_eq!((full.len(), queue.loser(newcomer)), (MOST, Some(expected)), "{what}");
            // The program's own passwords are never turned away.
            for _ in 0..MOST {
                queue.hold(OURSELVES);
            }
            assert_eq!(queue.loser(newcomer), Some(expected), "{what}");
        }
    }

    #[tokio::test]
    async fn t14_a_place_that_is_taken_away_is_told_with_or_without_a_job() {
        let hasher = Hasher::start();
        // Both threads are busy, and nothing moves until they are let go.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let mut blocked = Vec::new();
        for _ in 0..threads() {
            let (place, wait) = (hasher.place(address(100)).expect("a place"), wait.clone());
            blocked.push(tokio::spawn(place.run(move || drop(wait.lock().map(|wait| wait.recv())))));
        }
        while hasher.load().running < threads() {
            tokio::task::yield_now().await;
        }
        let held: Vec<QueueSlot> =
            (0..MOST / 4).map(|i| hasher.place(address((i % 2) as u8)).expect("a place")).collect();
        let wrong = Plaintext::new("wrong".into());
        let mut queued = Vec::new();
        for i in 0..3 * MOST / 4 {
            let place = hasher.place(address(10 + (i % 3) as u8)).expect("a place");
            let wrong = wrong.clone();
            queued.push(tokio::spawn(async move { place.run(move || drop(wrong)).await }));
        }
        tokio::task::yield_now().await;
        assert_eq!(hasher.load().waiting, MOST);
        // 64 of each of three addresses are queued, 32 of two are held: the queued lose first.
        let newcomers: Vec<QueueSlot> = (0..5).map(|i| hasher.place(address(200 + i)).expect("a place")).collect();
        assert_eq!(hasher.load().waiting, MOST);
        for _ in 0..threads() {
            let _ = go.send(());
        }
        let mut lost = 0;
        for queued in queued {
            lost += usize::from(queued.await.expect("no panic").is_none());
        }
        assert_eq!(lost, 5);
        // A place without a job loses in the same way, and is told when it wants to be used.
        let place = held.into_iter().next_back().expect("a place");
        hasher.0.0.lock().turn_away_last(place.address);
        assert_eq!(place.verify(&wrong, None).await, Err(Busy));
        drop((newcomers, blocked));
        assert!(hasher.0.0.lock().waiting.is_empty() && hasher.0.0.lock().count == 0);
    }

    #[tokio::test]
    async fn t14_a_password_is_right_or_wrong_and_nobody_has_none() {
        let hasher = Hasher::start();
        let right = Plaintext::new("correct horse".into());
        let digest = hasher.hash(&right).await;
        assert!(digest.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{digest}");
        let place = || hasher.place(address(1)).expect("a place");
        assert_eq!(place().verify(&right, Some(digest.clone())).await, Ok(true));
        assert_eq!(place().verify(&Plaintext::new("wrong horse".into()), Some(digest.clone())).await, Ok(false));
        assert_eq!(place().verify(&right, None).await, Ok(false));
        let long = Plaintext::new("x".repeat(LONGEST_BYTES + 1));
        assert_eq!(place().verify(&long, Some(digest)).await, Ok(false));
        assert!(hasher.0.0.lock().waiting.is_empty());
    }

    #[tokio::test]
    async fn a_password_is_the_same_however_a_keyboard_spells_it() {
        let hasher = Hasher::start();
        let composed = Plaintext::new("caf\u{e9} cr\u{e8}me".into());
        let decomposed = Plaintext::new("cafe\u{301} cre\u{300}me".into());
        let plain = Plaintext::new("cafe creme".into());
        let new = hasher.hash(&decomposed).await;
        // As they were hashed before there was a normal form.
        let (old_composed, old_decomposed) = (hash_now(&composed), hash_now(&decomposed));
        for (typed, digest, right, hashes) in [
            (&composed, Some(&new), true, 1),
            (&decomposed, Some(&new), true, 1),
            (&composed, Some(&old_composed), true, 1),
            (&decomposed, Some(&old_composed), true, 1),
            (&decomposed, Some(&old_decomposed), true, 2),
            (&composed, Some(&old_decomposed), false, 1),
            (&plain, Some(&new), false, 1),
            // An unknown name costs what a known one costs.
            (&decomposed, None, false, 2),
            (&composed, None, false, 1),
        ] {
            let before = hasher.hashed();
            let place = hasher.place(address(1)).expect("a place");
            assert_eq!(place.verify(typed, digest.cloned()).await, Ok(right), "{:?} {digest:?}", typed.reveal());
            assert_eq!(hasher.hashed() - before, hashes, "{:?} {digest:?}", typed.reveal());
        }
    }

    #[test]
    fn what_was_hashed_elsewhere_must_be_argon2_and_payable() {
        let (salt, hash) = ("c29tZXNhbHRzb21l", "RdescudvJCsgt3ub+b3dWRWJTmaaLPQ3gKT8oLe3LJI");
        for good in [
            format!("$argon2id$v=19$m=19456,t=2,p=1${salt}${hash}"),
            format!("$argon2i$v=16$m=64,t=1,p=1${salt}${hash}"),
            hash_now(&Plaintext::password()),
        ] {
            assert!(verifies(&good), "{good}");
        }
        for bad in [
            String::new(),
            "correct horse".into(),
            format!("$argon2id$v=19$m=19456,t=2,p=1${salt}"),
            format!("$argon2id$v=20$m=19456,t=2,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=4294967295,t=2,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=64,t=4294967295,p=1${salt}${hash}"),
            format!("$argon2id$v=19$m=1,t=2,p=1${salt}${hash}"),
            format!("$scrypt$ln=16,r=8,p=1${salt}${hash}"),
            "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW".into(),
        ] {
            assert!(!verifies(&bad), "{bad}");
        }
    }

    #[test]
    fn t14_addresses_are_served_in_turn() {
        let mut queue = Queue::default();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (who, times) in [(1_u8, 3), (2, 1), (3, 2)] {
            let from = address(who).expect("an address");
            for _ in 0..times {
                let order = order.clone();
                let number = queue.hold(from);
                assert!(queue.put(from, number, Box::new(move || order.lock().expect("no panic").push(who))));
            }
        }
        while let Some(job) = queue.next() {
            job();
        }
        assert_eq!(*order.lock().expect("no panic"), [1, 2, 3, 1, 3, 1]);
        assert!(queue.waiting.is_empty() && queue.count == 0);
    }
}

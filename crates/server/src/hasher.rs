//! Passwords: Argon2id, in a queue of our own, so that the API stays quick while many people sign in (T14).
//!
//! At most `max(1, cores / 2)` are hashed at once. At most 256 wait, 64 of one address; addresses are served in
//! turn, so that a flood from one place costs only itself.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::oneshot;
use tollhouse_auth::gate::network;
use tollhouse_domain::password::{LONGEST_BYTES, normalized};
use tollhouse_domain::secret::Plaintext;

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
    /// An address stands here only while something of it waits.
    waiting: HashMap<IpAddr, Waiting>,
    turns: VecDeque<IpAddr>,
    count: usize,
    closed: bool,
}

#[derive(Default)]
struct Waiting {
    /// Places that are held and jobs that are queued.
    count: usize,
    jobs: VecDeque<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// Too many wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Places that are taken, the queued ones among them.
    pub waiting: usize,
    pub running: usize,
}

/// A place in the queue, taken before anything is written about the attempt.
pub struct Place {
    hasher: Hasher,
    address: IpAddr,
    used: bool,
}

impl Hasher {
    pub fn start() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shared = Arc::new(Shared::default());
        for _ in 0..(cores / 2).max(1) {
            let shared = shared.clone();
            std::thread::spawn(move || shared.run());
        }
        Self(Arc::new(Owner(shared)))
    }

    /// Takes a place for one password of this address, or says that too many wait.
    pub fn place(&self, address: Option<IpAddr>) -> Result<Place, Busy> {
        let address = network(address.unwrap_or(NOWHERE));
        let mut queue = self.0.0.lock();
        let mine = queue.waiting.get(&address).map_or(0, |waiting| waiting.count);
        if queue.count >= MOST || mine >= MOST_OF_ONE {
            return Err(Busy);
        }
        Ok(self.hold(&mut queue, address))
    }

    /// The PHC string of a new password, in its normal form. It waits its turn like the others, but is not turned away.
    pub async fn hash(&self, password: &Plaintext) -> String {
        let place = self.hold(&mut self.0.0.lock(), NOWHERE);
        let password = normal_form(password).unwrap_or_else(|| password.clone());
        place.run(move || hash_now(&password)).await.unwrap_or_default()
    }

    /// How many passwords were hashed since the start.
    pub fn hashed(&self) -> u64 {
        self.0.0.hashed.load(Ordering::Relaxed)
    }

    /// What there is to do now.
    pub fn load(&self) -> Load {
        let queue = self.0.0.lock();
        Load { waiting: queue.count, running: self.0.0.running.load(Ordering::Relaxed) }
    }

    fn hold(&self, queue: &mut Queue, address: IpAddr) -> Place {
        queue.count += 1;
        queue.waiting.entry(address).or_default().count += 1;
        Place { hasher: self.clone(), address, used: false }
    }
}

impl Place {
    /// Whether this is the password with that PHC string; `None` compares with nobody's and is always wrong, at the
    /// same cost. Too long a password is wrong without being hashed.
    ///
    /// It is compared in its normal form and then, if that differs, as it was typed: passwords used to be hashed
    /// as typed, and those that were hashed elsewhere may be. A password that is its own normal form costs one hash.
    pub async fn verify(self, password: &Plaintext, digest: Option<String>) -> bool {
        let Some(normal) = normal_form(password) else { return false };
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
        self.run(work).await.unwrap_or(false) && real
    }

    async fn run<T: Send + 'static>(mut self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (tell, told) = oneshot::channel();
        let job: Job = Box::new(move || drop(tell.send(work())));
        self.used = true;
        {
            let mut queue = self.hasher.0.0.lock();
            let jobs = &mut queue.waiting.entry(self.address).or_default().jobs;
            jobs.push_back(job);
            if jobs.len() == 1 {
                queue.turns.push_back(self.address);
            }
        }
        self.hasher.0.0.work.notify_one();
        told.await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.used {
            self.hasher.0.0.lock().leave(self.address);
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
    /// One job of the address whose turn it is.
    fn next(&mut self) -> Option<Job> {
        let address = self.turns.pop_front()?;
        let jobs = &mut self.waiting.get_mut(&address)?.jobs;
        let job = jobs.pop_front();
        if !jobs.is_empty() {
            self.turns.push_back(address);
        }
        self.leave(address);
        job
    }

    fn leave(&mut self, address: IpAddr) {
        self.count -= 1;
        if let Some(waiting) = self.waiting.get_mut(&address) {
            waiting.count -= 1;
            if waiting.count == 0 {
                self.waiting.remove(&address);
            }
        }
    }
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

    #[tokio::test]
    async fn t14_so_many_wait_and_no_more_and_every_place_is_given_back() {
        let hasher = Hasher::start();
        let mut held: Vec<Place> = (0..MOST_OF_ONE).map(|_| hasher.place(address(1)).expect("a place")).collect();
        assert!(hasher.place(address(1)).is_err(), "64 of one address");
        for i in 0..MOST - MOST_OF_ONE {
            held.push(hasher.place(address(2 + (i % 3) as u8)).expect("a place"));
        }
        assert!(hasher.place(address(9)).is_err(), "256 in all");
        held.clear();
        assert!(hasher.0.0.lock().waiting.is_empty() && hasher.0.0.lock().count == 0);
    }

    #[tokio::test]
    async fn t14_a_password_is_right_or_wrong_and_nobody_has_none() {
        let hasher = Hasher::start();
        let right = Plaintext::new("correct horse".into());
        let digest = hasher.hash(&right).await;
        assert!(digest.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{digest}");
        let place = || hasher.place(address(1)).expect("a place");
        assert!(place().verify(&right, Some(digest.clone())).await);
        assert!(!place().verify(&Plaintext::new("wrong horse".into()), Some(digest.clone())).await);
        assert!(!place().verify(&right, None).await);
        let long = Plaintext::new("x".repeat(LONGEST_BYTES + 1));
        assert!(!place().verify(&long, Some(digest)).await);
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
            assert_eq!(place.verify(typed, digest.cloned()).await, right, "{:?} {digest:?}", typed.reveal());
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
                queue.count += 1;
                let waiting = queue.waiting.entry(from).or_default();
                waiting.count += 1;
                waiting.jobs.push_back(Box::new(move || order.lock().expect("no panic").push(who)));
            }
            queue.turns.push_back(from);
        }
        while let Some(job) = queue.next() {
            job();
        }
        assert_eq!(*order.lock().expect("no panic"), [1, 2, 3, 1, 3, 1]);
        assert!(queue.waiting.is_empty() && queue.count == 0);
    }
}

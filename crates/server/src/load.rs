//! How much each thread that serves connections has to do, and which of them gets the next connection
//! (docs/decisions/0026).
//!
//! A thread that wakes for one request costs more than one that wakes for ten: so one thread has all connections as long
//! as it is far from busy. When it is not, others get the new ones; and if that comes too late, since connections may
//! stay for hours, it lets some go, and they are opened again elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Of all threads.
pub struct Loads {
    began: Instant,
    all: Vec<Load>,
}

/// Of one thread, which alone writes what was measured.
#[derive(Default)]
struct Load {
    connections: AtomicUsize,
    /// How many of them wait for an answer, the first one included.
    waiting: AtomicUsize,
    /// How many of them were answered since it was measured, and how many go after their next answer.
    active: AtomicU64,
    leaving: AtomicU64,
    /// Thousandths of a core, in the time before it was measured.
    busy: AtomicU64,
    /// When it was measured, in microseconds since the beginning, and how long the thread had computed by then.
    measured: AtomicU64,
    computed: AtomicU64,
}

/// One connection of one thread.
pub struct ConnectionLoad {
    loads: Arc<Loads>,
    number: usize,
    /// What `measured` was when it was answered last, and whether it waits for an answer.
    answered: AtomicU64,
    waits: AtomicBool,
}

impl Loads {
    /// `threads`: how many serve connections.
    pub fn new(threads: usize) -> Self {
        Self { began: Instant::now(), all: std::iter::repeat_with(Load::default).take(threads).collect() }
    }

    /// A place for one more connection, with one of the threads.
    pub fn enter(self: &Arc<Self>, now: Instant) -> ConnectionLoad {
        self.enter_at(self.choose(now))
    }

    fn enter_at(self: &Arc<Self>, number: usize) -> ConnectionLoad {
        let load = &self.all[number];
        load.connections.fetch_add(1, Ordering::Relaxed);
        load.waiting.fetch_add(1, Ordering::Relaxed);
        ConnectionLoad { loads: self.clone(), number, answered: AtomicU64::new(u64::MAX), waits: AtomicBool::new(true) }
    }

    fn choose(&self, now: Instant) -> usize {
        let now = self.micros(now);
        let waiting = |load: &Load| load.waiting.load(Ordering::Relaxed);
        let connections = |load: &Load| load.connections.load(Ordering::Relaxed);
        let numbered = || self.all.iter().enumerate();
        let idle = numbered().rev().filter(|(_, load)| load.busy(now) < ROOM && waiting(load) < FEW);
        // The first of those with the most; if none has room, what is measured is too old to go by.
        let chosen = idle.max_by_key(|(_, load)| connections(load));
        chosen.or_else(|| numbered().min_by_key(|(_, load)| (waiting(load), connections(load)))).map_or(0, |(n, _)| n)
    }

    fn micros(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_micros() as u64
    }
}

impl Load {
    fn busy(&self, now: u64) -> u64 {
        // Whoever measures nothing answers nothing.
        let old = now.saturating_sub(self.measured.load(Ordering::Relaxed)) > 4 * PERIOD;
        if old { 0 } else { self.busy.load(Ordering::Relaxed) }
    }
}

impl ConnectionLoad {
    /// The number of the thread that serves it, from 0.
    pub fn number(&self) -> usize {
        self.number
    }

    /// The head of a request has come.
    pub fn asked(&self) {
        if !self.waits.swap(true, Ordering::Relaxed) {
            self.load().waiting.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// It is answered at this moment, on its own thread. Whether the connection ends with that.
    pub fn answered(&self, now: Instant) -> bool {
        self.waits_no_more();
        let load = self.load();
        let now = self.loads.micros(now);
        if now.saturating_sub(load.measured.load(Ordering::Relaxed)) >= PERIOD {
            self.measure(now, computed());
        }
        let measured = load.measured.load(Ordering::Relaxed);
        if self.answered.swap(measured, Ordering::Relaxed) != measured {
            add(&load.active, 1);
        }
        match load.leaving.load(Ordering::Relaxed) {
            0 => false,
            leaving => {
                load.leaving.store(leaving - 1, Ordering::Relaxed);
                true
            }
        }
    }

    /// `computed`: for how many microseconds this thread has.
    fn measure(&self, now: u64, computed: u64) {
        let load = self.load();
        let (since, before) =
            (load.measured.swap(now, Ordering::Relaxed), load.computed.swap(computed, Ordering::Relaxed));
        let busy = 1000 * computed.saturating_sub(before) / now.saturating_sub(since).max(1);
        load.busy.store(busy, Ordering::Relaxed);
        let active = load.active.swap(0, Ordering::Relaxed);
        let others = self.loads.all.iter().enumerate().filter(|(number, _)| *number != self.number);
        let leaving = match others.map(|(_, other)| other.busy(now)).min() {
            // After that both have as much to do.
            Some(idlest) if busy >= CROWDED && idlest + WORTH_IT < busy => active * (busy - idlest) / (2 * busy),
            _ => 0,
        };
        load.leaving.store(leaving, Ordering::Relaxed);
    }

    fn waits_no_more(&self) {
        if self.waits.swap(false, Ordering::Relaxed) {
            self.load().waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn load(&self) -> &Load {
        &self.loads.all[self.number]
    }
}

/// For a number that one thread alone writes.
fn add(to: &AtomicU64, more: u64) {
    to.store(to.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// For how many microseconds this thread has. Not how long it was awake: where it waits for a core, as beside a proxy, a
/// second thread would wait too.
fn computed() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

impl Drop for ConnectionLoad {
    fn drop(&mut self) {
        self.waits_no_more();
        self.load().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// In microseconds.
const PERIOD: u64 = Duration::from_millis(50).as_micros() as u64;
/// Below this, in thousandths of a core, a thread takes more, if fewer wait for it than these;
const ROOM: u64 = 500;
const FEW: usize = 4;
/// and from this on it gives some away, if somebody has less to do by so much.
const CROWDED: u64 = 850;
const WORTH_IT: u64 = 150;

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads with so many connections, of which some wait, and so much to do, measured after a second.
    fn threads(all: &[(usize, usize, u64)]) -> (Arc<Loads>, Instant) {
        let loads = Arc::new(Loads::new(all.len()));
        let now = loads.began + Duration::from_secs(1);
        for (load, (connections, waiting, busy)) in loads.all.iter().zip(all) {
            load.connections.store(*connections, Ordering::Relaxed);
            load.waiting.store(*waiting, Ordering::Relaxed);
            load.busy.store(*busy, Ordering::Relaxed);
            load.measured.store(1_000_000, Ordering::Relaxed);
        }
        (loads, now)
    }

    fn chosen(all: &[(usize, usize, u64)]) -> usize {
        let (loads, now) = threads(all);
        loads.choose(now)
    }

    #[test]
    fn one_has_all_until_it_is_busy() {
        assert_eq!(chosen(&[(0, 0, 0), (0, 0, 0), (0, 0, 0)]), 0);
        assert_eq!(chosen(&[(7, 0, 400), (0, 0, 0), (0, 0, 0)]), 0);
        assert_eq!(chosen(&[(7, 3, 400), (9, 3, 499), (9, 0, 10)]), 1);
        assert_eq!(chosen(&[(7, 0, 500), (0, 0, 0), (0, 0, 0)]), 1);
        assert_eq!(chosen(&[(7, 0, 500), (3, 0, 700), (1, 0, 499)]), 2);
    }

    #[test]
    fn nobody_queues_where_others_wait() {
        assert_eq!(chosen(&[(7, 4, 0), (0, 0, 0)]), 1, "before anything could be measured");
        assert_eq!(chosen(&[(7, 4, 0), (9, 6, 0)]), 0);
        assert_eq!(chosen(&[(7, 1, 900), (9, 0, 990)]), 1, "nobody has room, so it is who waits that counts");
        assert_eq!(chosen(&[(7, 1, 600), (3, 1, 700)]), 1);
    }

    #[test]
    fn without_keep_alive_all_share() {
        let loads = Arc::new(Loads::new(2));
        let now = loads.began;
        let places: Vec<_> = std::iter::repeat_with(|| loads.enter(now)).take(20).collect();
        let of = |number| places.iter().filter(|place| place.number() == number).count();
        assert_eq!((of(0), of(1)), (10, 10));
    }

    #[test]
    fn who_was_busy_long_ago_is_not() {
        let (loads, now) = threads(&[(3, 0, 990), (1, 0, 0)]);
        assert_eq!(loads.choose(now), 1);
        assert_eq!(loads.choose(now + Duration::from_millis(201)), 0);
    }

    /// How many connections go of 100 of the first thread, of which so many ask, when it is measured again after 100 ms
    /// of which it computed so many.
    fn given_away(others: &[(usize, usize, u64)], asking: usize, computed: u64) -> usize {
        let all = [&[(0, 0, 0)], others].concat();
        let (loads, now) = threads(&all);
        let places: Vec<_> = std::iter::repeat_with(|| loads.enter_at(0)).take(100).collect();
        // Each as often as it likes.
        for place in places[..asking].iter().chain(&places[..asking]) {
            assert!(!place.answered(now));
        }
        let now = now + Duration::from_millis(100);
        places[0].measure(loads.micros(now), computed * 1000);
        places.iter().filter(|place| place.answered(now)).count()
    }

    #[test]
    fn half_of_those_that_ask_go_when_somebody_is_idle() {
        assert_eq!(given_away(&[(0, 0, 0)], 32, 100), 16);
        assert_eq!(given_away(&[(4, 0, 450)], 32, 90), 8);
        assert_eq!(given_away(&[(4, 0, 800)], 100, 100), 10);
        assert_eq!(given_away(&[(0, 0, 0)], 32, 84), 0, "it is not crowded");
        assert_eq!(given_away(&[(4, 0, 850)], 32, 100), 0, "elsewhere is hardly more room");
        assert_eq!(given_away(&[(0, 0, 0)], 1, 100), 0, "elsewhere it would be as crowded");
        assert_eq!(given_away(&[], 32, 100), 0, "there is nobody else");
    }

    #[test]
    fn places_are_given_back() {
        let loads = Arc::new(Loads::new(1));
        let seen = || {
            let load = &loads.all[0];
            (load.connections.load(Ordering::Relaxed), load.waiting.load(Ordering::Relaxed))
        };
        let places = [loads.enter_at(0), loads.enter_at(0)];
        assert_eq!(seen(), (2, 2));
        places[0].asked();
        assert_eq!(seen(), (2, 2), "it waited since it came");
        places[0].answered(loads.began);
        assert_eq!(seen(), (2, 1));
        places[0].asked();
        assert_eq!(seen(), (2, 2));
        drop(places);
        assert_eq!(seen(), (0, 0));
    }

    #[test]
    fn whoever_computes_is_busy() {
        let loads = Arc::new(Loads::new(1));
        let place = loads.enter_at(0);
        let later = |periods: u64| loads.began + Duration::from_micros(periods * PERIOD);
        assert!(!place.answered(later(1)));
        let until = computed() + PERIOD / 10;
        while computed() < until {}
        assert!(!place.answered(later(2)));
        assert!(place.load().busy.load(Ordering::Relaxed) >= 100);
    }
}

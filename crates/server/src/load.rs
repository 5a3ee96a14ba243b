//! How much each thread that serves connections has to do, and which of them gets the next connection
//! (docs/decisions/0026).
//!
//! A thread that wakes for one request costs more than one that wakes for ten: so one thread has all connections as long
//! as it is far from busy. When it is not, others get the new ones; and if that comes too late, since connections may
//! stay for hours, it lets some go, and they are opened again elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Of all threads.
pub struct Loads {
    began: Instant,
    all: Vec<Load>,
}

/// Of one thread, which alone writes it, but for the connections.
#[derive(Default)]
struct Load {
    connections: AtomicUsize,
    /// How many of them go after their next answer.
    leaving: AtomicUsize,
    /// Thousandths of a core, in the time before it was measured.
    busy: AtomicU64,
    /// When it was measured, in microseconds since the beginning, and how long the thread had computed by then.
    measured: AtomicU64,
    computed: AtomicU64,
}

/// What a thread sees: its own, and those of others.
#[derive(Clone)]
pub struct Own {
    loads: Arc<Loads>,
    number: usize,
}

/// One connection of one thread.
pub struct Place(Own);

impl Loads {
    pub fn new(threads: usize) -> Self {
        Self { began: Instant::now(), all: std::iter::repeat_with(Load::default).take(threads).collect() }
    }

    pub fn of(self: &Arc<Self>, number: usize) -> Own {
        Own { loads: self.clone(), number }
    }

    /// Who gets the next connection.
    pub fn choose(&self, now: Instant) -> usize {
        let now = self.micros(now);
        let loads = || self.all.iter().map(|load| (load.busy(now), load.connections.load(Ordering::Relaxed)));
        let numbered = || loads().enumerate();
        let chosen = match loads().any(|(busy, _)| busy >= CROWDED) {
            // Somebody lets connections go, and here they come.
            true => {
                numbered().filter(|(_, (busy, _))| *busy < CROWDED).min_by_key(|(_, (_, connections))| *connections)
            }
            // The first of those with the most.
            false => {
                numbered().rev().filter(|(_, (busy, _))| *busy < ROOM).max_by_key(|(_, (_, connections))| *connections)
            }
        };
        chosen.or_else(|| numbered().min_by_key(|(_, load)| *load)).map_or(0, |(number, _)| number)
    }

    pub fn enter(self: &Arc<Self>, number: usize) -> Place {
        self.all[number].connections.fetch_add(1, Ordering::Relaxed);
        Place(self.of(number))
    }

    fn micros(&self, now: Instant) -> u64 {
        now.duration_since(self.began).as_micros() as u64
    }
}

impl Load {
    fn busy(&self, now: u64) -> u64 {
        // Whoever measures nothing has nothing to do.
        let old = now.saturating_sub(self.measured.load(Ordering::Relaxed)) > 4 * PERIOD;
        if old { 0 } else { self.busy.load(Ordering::Relaxed) }
    }
}

impl Own {
    /// Whether the connection that is answered at this moment ends with it. Of this thread alone, as it answers.
    pub fn gives_away(&self, now: Instant) -> bool {
        let load = self.load();
        let now = self.loads.micros(now);
        if now.saturating_sub(load.measured.load(Ordering::Relaxed)) >= PERIOD {
            self.measure(now, computed());
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
        let others = self.loads.all.iter().enumerate().filter(|(number, _)| *number != self.number);
        let idlest = others.map(|(_, other)| other.busy(now)).min();
        let leaving = match idlest {
            Some(idlest) if busy >= CROWDED && idlest < ROOM => {
                let connections = load.connections.load(Ordering::Relaxed) as u64;
                // After that both have as much to do, if all connections do.
                (connections * (busy - idlest) / (2 * busy)) as usize
            }
            _ => 0,
        };
        load.leaving.store(leaving, Ordering::Relaxed);
    }

    fn load(&self) -> &Load {
        &self.loads.all[self.number]
    }
}

/// For how many microseconds this thread has. Not how long it was awake: where it waits for a core, as beside a proxy, a
/// second thread would wait too.
fn computed() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.load().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// In microseconds.
const PERIOD: u64 = Duration::from_millis(50).as_micros() as u64;
/// Below this, in thousandths of a core, a thread takes more,
const ROOM: u64 = 500;
/// and from this on it gives some away, if somebody has room.
const CROWDED: u64 = 850;

#[cfg(test)]
mod tests {
    use super::*;

    /// Threads with so many connections and so much to do, measured now.
    fn threads(all: &[(usize, u64)]) -> (Arc<Loads>, Instant) {
        let loads = Arc::new(Loads::new(all.len()));
        let now = loads.began + Duration::from_secs(1);
        for (load, (connections, busy)) in loads.all.iter().zip(all) {
            load.connections.store(*connections, Ordering::Relaxed);
            load.busy.store(*busy, Ordering::Relaxed);
            load.measured.store(1_000_000, Ordering::Relaxed);
        }
        (loads, now)
    }

    fn chosen(all: &[(usize, u64)]) -> usize {
        let (loads, now) = threads(all);
        loads.choose(now)
    }

    #[test]
    fn one_has_all_until_it_is_busy() {
        assert_eq!(chosen(&[(0, 0), (0, 0), (0, 0)]), 0);
        assert_eq!(chosen(&[(7, 400), (0, 0), (0, 0)]), 0);
        assert_eq!(chosen(&[(7, 400), (9, 499), (9, 10)]), 1);
        assert_eq!(chosen(&[(7, 500), (0, 0), (0, 0)]), 1);
        assert_eq!(chosen(&[(7, 500), (3, 700), (1, 499)]), 2);
        // Nobody has room.
        assert_eq!(chosen(&[(7, 600), (3, 550), (1, 700)]), 1);
    }

    #[test]
    fn what_one_gives_away_is_dealt_out() {
        assert_eq!(chosen(&[(32, 990), (2, 100), (1, 100)]), 2);
        assert_eq!(chosen(&[(32, 990), (2, 100), (1, 990)]), 1);
        // All are crowded.
        assert_eq!(chosen(&[(32, 990), (2, 980), (1, 1000)]), 1);
    }

    #[test]
    fn who_was_busy_long_ago_is_not() {
        let (loads, now) = threads(&[(3, 990), (1, 0)]);
        assert_eq!(loads.choose(now), 1);
        assert_eq!(loads.choose(now + Duration::from_millis(201)), 0);
    }

    #[test]
    fn half_of_them_go_when_somebody_is_idle() {
        let answers = |all: &[(usize, u64)], computed: u64| {
            let (loads, now) = threads(all);
            let own = loads.of(0);
            let now = now + Duration::from_millis(100);
            own.measure(loads.micros(now), computed);
            (0..64).filter(|_| own.gives_away(now)).count()
        };
        assert_eq!(answers(&[(32, 0), (0, 0)], 100_000), 16);
        assert_eq!(answers(&[(32, 0), (4, 450)], 90_000), 8);
        assert_eq!(answers(&[(32, 0), (0, 0)], 84_000), 0, "it is not crowded");
        assert_eq!(answers(&[(32, 0), (4, 600)], 100_000), 0, "nobody has room");
        assert_eq!(answers(&[(1, 0), (0, 0)], 100_000), 0, "elsewhere it would be as crowded");
        assert_eq!(answers(&[(32, 0)], 100_000), 0, "there is nobody else");
    }

    #[test]
    fn places_are_given_back() {
        let loads = Arc::new(Loads::new(2));
        let places = [loads.enter(1), loads.enter(1)];
        assert_eq!(loads.choose(Instant::now()), 1);
        drop(places);
        assert_eq!(loads.choose(Instant::now()), 0);
    }

    #[test]
    fn whoever_computes_is_busy() {
        let loads = Arc::new(Loads::new(1));
        let own = loads.of(0);
        let later = |periods: u64| loads.began + Duration::from_micros(periods * PERIOD);
        assert!(!own.gives_away(later(1)));
        let until = computed() + PERIOD / 10;
        while computed() < until {}
        assert!(!own.gives_away(later(2)));
        assert!(own.load().busy.load(Ordering::Relaxed) >= 100);
    }
}

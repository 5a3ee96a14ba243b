//! The clock that leases are measured with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollhouse_domain::agreement::Tick;

/// Counts on while the machine is suspended, which `std::time::Instant` does not: a node that slept must not take its
/// old lease for a fresh one (revocation.md, "Time").
#[derive(Clone, Debug)]
pub struct Uptime(Source);

#[derive(Clone, Debug)]
enum Source {
    Boot,
    Hand(Arc<AtomicU64>),
}

impl Uptime {
    /// The boot clock of the machine.
    pub fn system() -> Self {
        Self(Source::Boot)
    }

    /// A clock that somebody else moves, for tests and simulations.
    pub fn by_hand(nanos: Arc<AtomicU64>) -> Self {
        Self(Source::Hand(nanos))
    }

    /// Nanoseconds since the machine was started, suspension included.
    pub fn now(&self) -> Tick {
        match &self.0 {
            Source::Boot => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Tick(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
            }
            Source::Hand(nanos) => Tick(nanos.load(Ordering::SeqCst)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_since_the_machine_was_started() {
        let told = std::fs::read_to_string("/proc/uptime").expect("Linux");
        let told: f64 = told.split(' ').next().and_then(|seconds| seconds.parse().ok()).expect("seconds");
        let now = Uptime::system().now().0 as f64 / 1e9;
        assert!((now - told).abs() < 5.0, "{now} {told}");
    }

    #[test]
    fn it_does_not_run_backwards() {
        let uptime = Uptime::system();
        let ticks: Vec<Tick> = (0..1_000).map(|_| uptime.now()).collect();
        assert!(ticks.is_sorted_by_key(|tick| tick.0) && ticks.first() != ticks.last());
    }

    #[test]
    fn somebody_else_can_move_it() {
        let nanos = Arc::new(AtomicU64::new(5));
        let uptime = Uptime::by_hand(nanos.clone());
        assert_eq!(uptime.now(), Tick(5));
        nanos.store(9, Ordering::SeqCst);
        assert_eq!(uptime.clone().now(), Tick(9));
    }
}

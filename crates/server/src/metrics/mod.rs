//! What is counted, for whoever watches this server (docs/monitoring.md). Counting is a few relaxed additions; every
//! label has a closed set of values, so nobody can make it grow (docs/decisions/0020).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::response::Response;

use crate::error::Reason;
use crate::surface::Surface;

mod reasons;

pub use reasons::REASONS;

/// What was counted since the start.
#[derive(Default)]
pub struct Metrics {
    shards: [Shard; 8],
    /// Connections that are open now.
    pub(crate) connections: AtomicU64,
}

/// A set of counters for some of the threads: two that count at once need not wait for the same cache line.
#[repr(align(128))]
pub(crate) struct Shard {
    /// Requests by surface and class of status.
    pub(crate) requests: [[AtomicU64; CLASSES.len()]; Surface::ALL.len()],
    /// In the order of [`REASONS`]; what is not in the list comes last.
    pub(crate) refusals: [AtomicU64; REASONS.len() + 1],
    /// How long it took to say who somebody is.
    pub(crate) judgements: Histogram,
}

impl Default for Shard {
    fn default() -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| zero())),
            refusals: std::array::from_fn(|_| zero()),
            judgements: Histogram::default(),
        }
    }
}

impl Metrics {
    /// One request, with the reason if it was refused.
    pub fn answered(&self, surface: Surface, response: &Response) {
        let class = usize::from(response.status().as_u16() / 100).saturating_sub(1).min(CLASSES.len() - 1);
        let shard = self.shard();
        shard.requests[surface as usize][class].fetch_add(1, Relaxed);
        if let Some(Reason(reason)) = response.extensions().get::<Reason>() {
            self.refused(reason);
        }
    }

    /// A refusal, though its answer may reach nobody.
    pub fn refused(&self, reason: &str) {
        let place = REASONS.binary_search(&reason).unwrap_or(REASONS.len());
        self.shard().refusals[place].fetch_add(1, Relaxed);
    }

    /// How long it took to say who somebody is.
    pub fn judged(&self, took: Duration) {
        self.shard().judgements.observe(took);
    }

    fn shard(&self) -> &Shard {
        thread_local! {
            static MINE: usize = {
                static NEXT: AtomicUsize = AtomicUsize::new(0);
                NEXT.fetch_add(1, Relaxed)
            };
        }
        &self.shards[MINE.with(|mine| mine % self.shards.len())]
    }

    /// One counter, over all shards.
    pub(crate) fn sum(&self, counter: impl Fn(&Shard) -> &AtomicU64) -> u64 {
        self.shards.iter().map(|shard| counter(shard).load(Relaxed)).sum()
    }
}

/// Labels of the classes of status, in the order of the counters.
pub(crate) const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// How many took how long. The buckets are apart here and added up when they are read.
pub(crate) struct Histogram {
    /// By upper bound, in the order of [`BOUNDS`]; the last is for what took longer.
    pub(crate) buckets: [AtomicU64; BOUNDS.len() + 1],
    /// All of them together, in nanoseconds.
    pub(crate) nanos: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: std::array::from_fn(|_| AtomicU64::new(0)), nanos: AtomicU64::new(0) }
    }
}

impl Histogram {
    fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[BOUNDS.partition_point(|(bound, _)| *bound < nanos)].fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }
}

/// In nanoseconds, and in seconds as text. From memory a judgement takes some microseconds, from the database some
/// hundred; what takes longer waits for something.
pub(crate) const BOUNDS: [(u64, &str); 16] = [
    (1_000, "0.000001"),
    (2_500, "0.0000025"),
    (5_000, "0.000005"),
    (10_000, "0.00001"),
    (25_000, "0.000025"),
    (50_000, "0.00005"),
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (10_000_000, "0.01"),
    (50_000_000, "0.05"),
    (250_000_000, "0.25"),
    (1_000_000_000, "1"),
    (5_000_000_000, "5"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_is_at_most_its_bound() {
        let histogram = Histogram::default();
        for (bound, text) in BOUNDS {
            assert_eq!(text.parse::<f64>().map(|seconds| (seconds * 1e9).round() as u64), Ok(bound));
            histogram.observe(Duration::from_nanos(bound));
            histogram.observe(Duration::from_nanos(bound + 1));
        }
        let counts: Vec<u64> = histogram.buckets.iter().map(|bucket| bucket.load(Relaxed)).collect();
        assert_eq!(counts.first(), Some(&1));
        assert_eq!(counts.last(), Some(&1));
        assert!(counts[1..BOUNDS.len()].iter().all(|count| *count == 2));
        assert!(BOUNDS.is_sorted());
    }
}

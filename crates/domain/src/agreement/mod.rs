//! How many processes on one database agree on what became untrue (`docs/protocols/revocation.md`).
//!
//! Two machines without I/O: the [`follower::Follower`] of a node reads the log and says how far it has come, the
//! [`wait::Wait`] of whoever revoked something waits until every node has read past it. They are fed with what was read
//! and with the time, and say what to do next; whoever drives them does it. So the same code runs in the server and,
//! with virtual clocks, crashes and late replies, in its simulation.

pub mod follower;
pub mod wait;

use std::ops::{Add, Sub};
use std::time::Duration;

use crate::invalidation::Invalidation;

/// For so long after it began a read of the log that it then applied whole, a node answers from memory (L).
pub const LEASE: Duration = Duration::from_secs(2);

/// For so long at most a revocation waits for the others (W); longer than [`LEASE`], for clocks whose rates differ.
pub const WAIT: Duration = Duration::from_millis(2_500);

/// A round begins at the latest after this time,
pub const POLL: Duration = Duration::from_millis(500);

/// or after this one, where nothing wakes a node (F6).
pub const BLIND_POLL: Duration = Duration::from_millis(50);

/// What one round asks of the database must be answered within this time, or the round gave nothing.
pub const PATIENCE: Duration = Duration::from_millis(1_500);

/// A node rests so long after it said how far it has come.
pub const REST: Duration = Duration::from_millis(10);

/// A moment on one machine's clock, in nanoseconds since it was started, suspended time included. Moments of two
/// machines are never compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u64);

impl Add<Duration> for Tick {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span.as_nanos() as u64))
    }
}

impl Sub for Tick {
    type Output = Duration;
    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A node's row. Random, and never used twice (F2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 16]);

/// One entry of one history: numbers alone come again after a restore (F3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The number of the entry. Whoever sees it has seen every lower one (W2).
    pub position: i64,
    /// 64 random bits.
    pub mark: i64,
}

/// One row of the invalidation log, as a follower reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Which entry it is.
    pub place: LogPosition,
    /// What nodes must remove from their caches.
    pub what: Invalidation,
}

/// What a node's own row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnRow {
    /// The last entry that this node has said it applied; 0 if none.
    pub seen: i64,
    /// Whether another node has waited for it in vain; it must register anew (F2).
    pub marked: bool,
}

/// What one read of the log brought: entries from a position on, in order, or the newest one alone if there is none;
/// and the own row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// In the order of their positions; never empty in a read that succeeded.
    pub entries: Vec<Entry>,
    /// `None`: the row was deleted; the node must register anew (F2).
    pub own: Option<OwnRow>,
}

/// The row of another node that has not read far enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behind {
    /// Whose row it is.
    pub id: NodeId,
    /// Whether it was marked before, so that it may be deleted.
    pub marked: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_saturates_at_both_ends() {
        let second = Duration::from_secs(1);
        assert_eq!(Tick(5) + second, Tick(1_000_000_005));
        assert_eq!(Tick(u64::MAX - 5) + second, Tick::MAX);
        assert_eq!(Tick(1_000_000_005) - Tick(5), second);
        assert_eq!(Tick(5) - Tick(6), Duration::ZERO, "a later moment is no time ago");
    }

    /// revocation.md section 4, "Time".
    #[test]
    fn who_revokes_waits_longer_than_anybody_answers_from_memory() {
        assert_eq!((LEASE, WAIT), (Duration::from_secs(2), Duration::from_millis(2_500)));
        assert!(POLL < LEASE && BLIND_POLL < POLL && PATIENCE < LEASE);
    }
}

//! One per revocation: waits until no node can accept what was revoked (W3).

use std::time::Duration;

use super::{Behind, NodeId, Tick, WAIT};
#[cfg(feature = "faults")]
use crate::faults::Mutants;

/// The state machine of a node that has committed a revocation and waits until no
/// other node can accept what was revoked.
#[derive(Debug)]
pub struct Wait {
    /// When the reply to the commit had come.
    replied: Tick,
    /// When the first look at the other rows was answered, and which of them were marked by then.
    first: Option<(Tick, Vec<NodeId>)>,
    looks: u32,
    /// Mistakes that are switched on, for the simulation and tests of the protocol.
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
}

/// What the node is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again after this time, or sooner.
    Pause(Duration),
    /// Nobody can accept it any longer; but before that is said, these rows are to be removed and those marked, each if
    /// it is still behind. Whether that succeeds does not matter.
    GiveUp {
        /// Rows that were marked when the wait began, each to be deleted.
        remove: Vec<NodeId>,
        /// Rows that were not marked then, each to be marked.
        mark: Vec<NodeId>,
    },
    /// Nobody can accept what was revoked any longer: acknowledge it.
    Done,
}

impl Wait {
    /// `replied`: read after the reply to the commit.
    pub fn new(replied: Tick) -> Self {
        Self {
            replied,
            first: None,
            looks: 0,
            #[cfg(feature = "faults")]
            mutants: Mutants::default(),
        }
    }

    /// The rows of others that have not read so far, as a look found them that was answered at `now`; and when the last
    /// round began that the own follower has applied whole: [`Tick::MAX`] if there is none to wait for.
    pub fn looked(&mut self, now: Tick, behind: &[Behind], own: Tick) -> Step {
        let marked = || behind.iter().filter(|row| row.marked).map(|row| row.id).collect();
        let (since, seen_marked) = self.first.get_or_insert_with(|| (now, marked()));
        let since = *since;
        #[cfg(feature = "faults")]
        let since = if broken!(self, TimerBeforeCommit) { self.replied } else { since };
        if behind.is_empty() && own > self.replied || broken!(self, NoWait) {
            return Step::Done;
        }
        if now - since < WAIT {
            return self.pause();
        }
        let ids = behind.iter().map(|row| row.id);
        let at_once = broken!(self, RowRemovedAtOnce);
        // Whoever marked it later has not waited for it as long as we have (F2).
        let late = broken!(self, RowRemovedBySomebodyLate).then(marked).unwrap_or_default();
        let (remove, mark): (Vec<_>, Vec<_>) =
            ids.partition(|id| at_once || seen_marked.contains(id) || late.contains(id));
        Step::GiveUp { remove, mark }
    }

    /// A look was not answered. While none ever was, the time since the commit counts: every lease that began before it
    /// is over by then, and no row may be touched.
    pub fn failed(&mut self, now: Tick) -> Step {
        let since = self.first.as_ref().map_or(self.replied, |(at, _)| *at);
        match now - since < WAIT {
            true => self.pause(),
            false => Step::Done,
        }
    }

    fn pause(&mut self) -> Step {
        self.looks += 1;
        Step::Pause(Duration::from_millis(match self.looks {
            1 => 2,
            2 => 4,
            3..=12 => 8,
            // Somebody stands still; looking more often does not wake them.
            _ => 32,
        }))
    }
}

impl Tick {
    /// Later than every other.
    pub const MAX: Self = Self(u64::MAX);
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Behind = Behind { id: NodeId([1; 16]), marked: false };
    const B: Behind = Behind { id: NodeId([2; 16]), marked: true };

    fn at(millis: u64) -> Tick {
        Tick(0) + Duration::from_millis(millis)
    }

    #[test]
    fn w_3_it_is_over_when_everybody_has_read_it() {
        let mut wait = Wait::new(at(10));
        assert_eq!(wait.looked(at(11), &[A], at(9)), Step::Pause(Duration::from_millis(2)));
        assert_eq!(
            wait.looked(at(13), &[], at(10)),
            Step::Pause(Duration::from_millis(4)),
            "the own round began before"
        );
        assert_eq!(wait.looked(at(17), &[A], at(12)), Step::Pause(Duration::from_millis(8)));
        assert_eq!(wait.looked(at(25), &[], at(12)), Step::Done);
    }

    #[test]
    fn w_3_a_row_is_removed_only_if_it_was_marked_at_the_first_look() {
        let mut wait = Wait::new(at(0));
        // The commit's reply was long ago: the time counts from the first look.
        assert_eq!(wait.looked(at(5_000), &[A, B], Tick::MAX), Step::Pause(Duration::from_millis(2)));
        let marked_since = Behind { marked: true, ..A };
        assert!(matches!(wait.looked(at(7_499), &[marked_since, B], Tick::MAX), Step::Pause(_)));
        let over = Step::GiveUp { remove: vec![B.id], mark: vec![A.id] };
        assert_eq!(wait.looked(at(7_500), &[marked_since, B], Tick::MAX), over);
    }

    #[test]
    fn w_3_without_a_look_the_leases_run_out() {
        let mut wait = Wait::new(at(100));
        assert!(matches!(wait.failed(at(2_599)), Step::Pause(_)));
        assert_eq!(wait.failed(at(2_600)), Step::Done);
        let mut wait = Wait::new(at(100));
        let _ = wait.looked(at(1_000), &[A], at(0));
        assert!(matches!(wait.failed(at(3_499)), Step::Pause(_)), "the time counts from the first look");
    }

    #[test]
    fn the_pauses_grow_to_32_milliseconds() {
        let mut wait = Wait::new(at(0));
        let mut pauses = vec![2, 4];
        pauses.extend([8; 10]);
        pauses.extend([32; 3]);
        for pause in pauses {
            assert_eq!(wait.looked(at(1), &[A], at(0)), Step::Pause(Duration::from_millis(pause)));
        }
    }

    #[cfg(feature = "faults")]
    #[test]
    fn a_mistake_that_is_switched_on_is_made() {
        use crate::faults::Mutant;
        let marked_since = Behind { marked: true, ..A };
        let give_up = |remove: &[NodeId], mark: &[NodeId]| Step::GiveUp { remove: remove.into(), mark: mark.into() };
        // The commit was answered at 0. The first look is at 5,000, the second at the given time.
        for (mutant, second, right, wrong) in [
            (Mutant::NoWait, 5_001, Step::Pause(Duration::from_millis(4)), Step::Done),
            (Mutant::TimerBeforeCommit, 5_001, Step::Pause(Duration::from_millis(4)), give_up(&[], &[A.id])),
            (Mutant::RowRemovedAtOnce, 7_500, give_up(&[], &[A.id]), give_up(&[A.id], &[])),
            (Mutant::RowRemovedBySomebodyLate, 7_500, give_up(&[], &[A.id]), give_up(&[A.id], &[])),
        ] {
            for (switched, expected) in [(None, right), (Some(mutant), wrong)] {
                let mut wait = Wait::new(at(0));
                wait.mutants.set(switched);
                let _ = wait.looked(at(5_000), &[A], at(0));
                assert_eq!(wait.looked(at(second), &[marked_since], at(0)), expected, "{mutant:?} {switched:?}");
            }
        }
    }
}

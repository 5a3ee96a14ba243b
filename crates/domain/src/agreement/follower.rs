//! One per process: reads the log, invalidates the cache, renews the lease, writes how far it has come. Rounds never
//! overlap.

use super::{Entry, LEASE, LogPosition, NodeId, Page, Tick};
#[cfg(feature = "faults")]
use crate::faults::Mutants;
use crate::invalidation::Invalidation;

/// The state machine behind reading the log. It does no I/O: the node does what [`Ask`] and [`Do`] say and reports what
/// came of it.
#[derive(Debug)]
pub struct Follower {
    node: NodeId,
    /// Whether that id was ever sent to the database.
    sent: bool,
    registered: bool,
    /// Rows that were, or may have been, inserted and count no longer.
    stale: Vec<NodeId>,
    /// The entry last applied.
    applied: Option<LogPosition>,
    /// What the own row says, as far as is known.
    seen: Option<i64>,
    /// When the round that is under way began.
    began: Tick,
    /// Mistakes that are switched on, for the simulation and tests of the protocol.
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
}

/// What a round begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Remove these rows and insert that one, with `seen = 0`, in one durable transaction (F2, N1).
    Register {
        /// Rows of earlier attempts; some may never have been inserted.
        remove: Vec<NodeId>,
        /// The new id, never used before.
        insert: NodeId,
    },
    /// Entries from this position on and the own row, in one statement (F1).
    Read {
        /// The position of the entry last applied, which is read again; `i64::MAX` if there is none.
        from: i64,
        /// The own row.
        node: NodeId,
    },
}

/// What is to be done with the cache, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Do {
    /// Stop answering from the cache at once (F2).
    DropLease,
    /// Empty the cache (F3).
    ForgetEverything,
    /// Apply these entries, in their order (F4).
    Invalidation(Vec<Invalidation>),
    /// Answer from memory until then.
    Lease(Tick),
}

/// Write into the own row that everything up to here was applied, if that entry is still there (F5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Say {
    /// The own row.
    pub node: NodeId,
    /// The entry last applied.
    pub place: LogPosition,
}

impl Follower {
    /// Not registered yet: its first round begins with [`Ask::Register`].
    pub fn new(node: NodeId) -> Self {
        Self {
            node,
            sent: false,
            registered: false,
            stale: Vec::new(),
            applied: None,
            seen: None,
            began: Tick(0),
            #[cfg(feature = "faults")]
            mutants: Mutants::default(),
        }
    }

    /// A round begins. `now` is read before anything is sent (F1); `fresh` makes a new id.
    pub fn begin(&mut self, now: Tick, fresh: impl FnOnce() -> NodeId) -> Ask {
        self.began = now;
        let early = broken!(self, LeaseBeforeRegistration) && self.applied.is_none();
        if !self.registered && !early {
            // Even one more try takes a new id: whether the last one was inserted, and what became of it, is not known.
            if self.sent {
                self.stale.push(self.node);
                self.node = fresh();
            }
            self.sent = true;
            if self.stale.len() > MOST_STALE {
                self.stale.remove(0);
            }
            return Ask::Register { remove: self.stale.clone(), insert: self.node };
        }
        Ask::Read { from: self.applied.map_or(i64::MAX, |place| place.position), node: self.node }
    }

    /// The row was inserted.
    pub fn registered(&mut self) {
        self.registered = true;
        self.seen = Some(0);
        self.stale.clear();
    }

    /// The page came, at `now`.
    pub fn read(&mut self, page: Page, now: Tick) -> Vec<Do> {
        let Page { entries, own } = page;
        match own {
            Some(own) if !own.marked || broken!(self, MarkCleared) => self.seen = Some(own.seen),
            _ if broken!(self, OwnRowNotChecked) || (broken!(self, LeaseBeforeRegistration) && !self.registered) => {}
            // F2: somebody may have stopped waiting for us.
            _ => {
                self.registered = false;
                return vec![Do::DropLease];
            }
        }
        let (Some(Entry { place: first, .. }), Some(Entry { place: newest, .. })) = (entries.first(), entries.last())
        else {
            // The log is never empty; whatever this was, it was no read of it.
            return vec![Do::DropLease];
        };
        let (first, newest) = (*first, *newest);
        let same_number = |applied: LogPosition| applied.position == first.position;
        let known =
            self.applied == Some(first) || broken!(self, MarkOfEntryIgnored) && self.applied.is_some_and(same_number);
        let mut done = Vec::new();
        if !known {
            done.push(Do::ForgetEverything);
        } else if self.applied != Some(newest) {
            done.push(Do::Invalidation(entries.iter().skip(1).map(|Entry { what, .. }| *what).collect()));
        }
        self.applied = Some(newest);
        let from = if broken!(self, LeaseFromReply) { now } else { self.began };
        done.push(Do::Lease(from + LEASE));
        done
    }

    /// What the own row should say by now, if it does not.
    pub fn to_say(&self) -> Option<Say> {
        let place = self.applied.filter(|place| self.registered && self.seen != Some(place.position))?;
        Some(Say { node: self.node, place })
    }

    /// The row says so now, or is no longer as it should be; the next round will tell.
    pub fn said(&mut self, say: Say) {
        self.seen = Some(say.place.position);
    }

    /// When the round that is under way, or was the last, began.
    pub fn began(&self) -> Tick {
        self.began
    }

    /// The entry last applied. `None`: no round has been applied since the start.
    pub fn applied(&self) -> Option<LogPosition> {
        self.applied
    }

    /// The own row, while there is one.
    pub fn node(&self) -> Option<NodeId> {
        self.registered.then_some(self.node)
    }

    /// Rows to remove when it leaves, after the lease is gone (N1).
    pub fn rows(&self) -> Vec<NodeId> {
        let mut rows = self.stale.clone();
        rows.extend(self.sent.then_some(self.node));
        rows
    }
}

/// So many failed attempts to register are remembered; a row beyond them is removed by those who wait for it.
const MOST_STALE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::OwnRow;

    const HERE: NodeId = NodeId([1; 16]);

    fn page(places: &[(i64, i64)], own: Option<(i64, bool)>) -> Page {
        let entries = places.iter().map(|(position, mark)| Entry {
            place: LogPosition { position: *position, mark: *mark },
            what: Invalidation::Nothing,
        });
        Page { entries: entries.collect(), own: own.map(|(seen, marked)| OwnRow { seen, marked }) }
    }

    /// Registered, and at entry 5 since a round that began at 100.
    fn at_five() -> Follower {
        let mut follower = Follower::new(HERE);
        assert_eq!(follower.begin(Tick(0), || HERE), Ask::Register { remove: vec![], insert: HERE }, "N1");
        follower.registered();
        assert_eq!(follower.begin(Tick(100), || HERE), Ask::Read { from: i64::MAX, node: HERE });
        let done = follower.read(page(&[(5, 55)], Some((0, false))), Tick(900));
        assert_eq!(done, [Do::ForgetEverything, Do::Lease(Tick(100) + LEASE)], "from the beginning, not the reply");
        follower
    }

    #[test]
    fn f_4_entries_are_applied_in_order_and_then_there_is_a_lease() {
        let mut follower = at_five();
        let say = follower.to_say().expect("its row says 0");
        assert_eq!(say, Say { node: HERE, place: LogPosition { position: 5, mark: 55 } });
        follower.said(say);
        assert_eq!(follower.to_say(), None, "its row says 5 now");
        assert_eq!(follower.begin(Tick(200), || HERE), Ask::Read { from: 5, node: HERE });
        let done = follower.read(page(&[(5, 55), (6, 66), (7, 77)], Some((5, false))), Tick(201));
        assert_eq!(done, [Do::Invalidation(vec![Invalidation::Nothing; 2]), Do::Lease(Tick(200) + LEASE)]);
        assert_eq!(follower.to_say().map(|say| say.place.position), Some(7));
        follower.begin(Tick(300), || HERE);
        assert_eq!(follower.read(page(&[(7, 77)], Some((7, false))), Tick(300)), [Do::Lease(Tick(300) + LEASE)]);
        assert_eq!(follower.to_say(), None, "an idle node writes nothing");
    }

    #[test]
    fn f_3_another_history_empties_the_ledger() {
        for other in [vec![(5, 56)], vec![(5, 56), (6, 66)], vec![(3, 33)], vec![(9, 99)], vec![(4, 44), (6, 66)]] {
            let mut follower = at_five();
            follower.begin(Tick(200), || HERE);
            let done = follower.read(page(&other, Some((5, false))), Tick(201));
            assert_eq!(done, [Do::ForgetEverything, Do::Lease(Tick(200) + LEASE)], "{other:?}");
            assert_eq!(follower.applied().map(|place| place.position), other.last().map(|last| last.0));
        }
    }

    #[test]
    fn f_2_a_row_that_is_gone_or_marked_is_left_for_a_new_one() {
        for own in [None, Some((5, true))] {
            let mut follower = at_five();
            follower.begin(Tick(200), || HERE);
            assert_eq!(follower.read(page(&[(5, 55), (6, 66)], own), Tick(201)), [Do::DropLease]);
            assert_eq!(follower.node(), None);
            let (second, third) = (NodeId([2; 16]), NodeId([3; 16]));
            let ask = follower.begin(Tick(300), || second);
            assert_eq!(ask, Ask::Register { remove: vec![HERE], insert: second });
            // No answer came; it may be there all the same, and its id is spent.
            let ask = follower.begin(Tick(400), || third);
            assert_eq!(ask, Ask::Register { remove: vec![HERE, second], insert: third });
            follower.registered();
            assert_eq!(follower.begin(Tick(500), || HERE), Ask::Read { from: 5, node: third }, "what it knows is kept");
        }
    }

    #[test]
    fn f_2_at_most_64_rows_of_failed_attempts_are_remembered_the_newest_ones() {
        let id = |number: u8| NodeId([number; 16]);
        let mut follower = Follower::new(id(0));
        for attempt in 0..=100 {
            let ask = follower.begin(Tick(0), || id(attempt));
            let remove: Vec<_> = (attempt.saturating_sub(64)..attempt).map(id).collect();
            assert_eq!(ask, Ask::Register { remove, insert: id(attempt) });
        }
        follower.registered();
        assert_eq!(follower.rows(), [id(100)], "whoever registers it removes the others");
    }

    #[test]
    fn n_1_every_row_that_may_be_there_is_removed_at_the_end() {
        let mut follower = Follower::new(HERE);
        assert_eq!((follower.rows(), follower.node()), (vec![], None), "nothing was sent");
        follower.begin(Tick(0), || HERE);
        assert_eq!((follower.rows(), follower.node()), (vec![HERE], None), "it may have been inserted");
        let second = NodeId([2; 16]);
        follower.begin(Tick(1), || second);
        assert_eq!(follower.rows(), [HERE, second]);
        follower.registered();
        assert_eq!((follower.rows(), follower.node()), (vec![second], Some(second)));
    }

    #[test]
    fn a_round_begins_when_it_is_asked_for_and_an_entry_counts_once_it_is_applied() {
        let mut follower = at_five();
        assert_eq!(follower.began(), Tick(100));
        follower.begin(Tick(200), || HERE);
        let five = LogPosition { position: 5, mark: 55 };
        assert_eq!((follower.began(), follower.applied()), (Tick(200), Some(five)));
        assert_eq!(Follower::new(HERE).applied(), None);
    }

    #[test]
    fn an_empty_log_is_no_read_of_it() {
        let mut follower = at_five();
        assert_eq!(follower.read(page(&[], Some((5, false))), Tick(201)), [Do::DropLease]);
        assert!(follower.applied().is_some_and(|place| place.position == 5), "what it knows is kept");
    }

    #[test]
    fn f_5_nothing_is_said_without_a_row() {
        let mut follower = at_five();
        assert!(follower.to_say().is_some());
        follower.read(page(&[(5, 55)], None), Tick(201));
        assert_eq!(follower.to_say(), None);
    }

    #[cfg(feature = "faults")]
    #[test]
    fn a_mistake_that_is_switched_on_is_made() {
        use crate::faults::Mutant;
        let lease = |began| Do::Lease(Tick(began) + LEASE);
        let forget = || Do::ForgetEverything;
        for (mutant, place, own, right, wrong) in [
            (Mutant::OwnRowNotChecked, (5, 55), None, vec![Do::DropLease], vec![lease(200)]),
            (Mutant::MarkCleared, (5, 55), Some((5, true)), vec![Do::DropLease], vec![lease(200)]),
            (Mutant::LeaseFromReply, (5, 55), Some((5, false)), vec![lease(200)], vec![lease(300)]),
            (Mutant::MarkOfEntryIgnored, (5, 56), Some((5, false)), vec![forget(), lease(200)], vec![lease(200)]),
        ] {
            for (switched, expected) in [(None, right), (Some(mutant), wrong)] {
                let mut follower = at_five();
                follower.mutants.set(switched);
                follower.begin(Tick(200), || HERE);
                let done = follower.read(page(&[place], own), Tick(300));
                let applied = done.iter().filter(|one| **one != Do::Invalidation(vec![])).cloned().collect::<Vec<_>>();
                assert_eq!(applied, expected, "{mutant:?} {switched:?}");
            }
        }
    }

    #[cfg(feature = "faults")]
    #[test]
    fn the_mistake_of_a_lease_before_registration_ends_with_the_registration() {
        let mut follower = Follower::new(HERE);
        follower.mutants.set(Some(crate::faults::Mutant::LeaseBeforeRegistration));
        assert_eq!(follower.begin(Tick(0), || HERE), Ask::Read { from: i64::MAX, node: HERE });
        assert_eq!(follower.read(page(&[(5, 55)], None), Tick(1)), [Do::ForgetEverything, Do::Lease(Tick(0) + LEASE)]);
        assert_eq!(follower.begin(Tick(2), || HERE), Ask::Register { remove: vec![], insert: HERE });
        follower.registered();
        assert_eq!(follower.read(page(&[(5, 55)], None), Tick(3)), [Do::DropLease]);
    }
}

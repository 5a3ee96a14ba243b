//! Nodes: each with a follower, a ledger and an authenticator of its own, and a clock that goes as it likes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tollhouse_auth::authenticator::Authenticator;
use tollhouse_auth::ledger::Ledger;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::agreement::follower::{Ask, Do, Follower, Say};
use tollhouse_domain::agreement::{NodeId, PATIENCE, POLL, Page, REST, Tick};
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::forget::Forget;
use tollhouse_domain::identity::Rules;
use tollhouse_domain::user::AccountRules;

use super::callers::{Asked, Desk, Waiting};
use super::{Event, MILLI, SECOND, World};
use crate::simulation::database::Memory;

pub(super) struct Node {
    pub(super) alive: bool,
    pub(super) leaving: bool,
    pub(super) stopped_until: u64,
    pub(super) cut_until: u64,
    /// Its messages take their time until then.
    pub(super) slow_until: u64,
    /// What it says takes its time until the first, and up to the second.
    pub(super) mute: (u64, u64),
    /// No wake-up arrives until then.
    pub(super) deaf_until: u64,
    /// The reply to its next read takes that long.
    pub(super) late_reply: Option<u64>,
    /// Its clock goes so many thousandths as fast as time.
    pub(super) rate: u64,
    pub(super) offset: u64,
    pub(super) hand: Arc<AtomicU64>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) auth: Arc<Authenticator>,
    pub(super) desk: Arc<Desk>,
    pub(super) follower: Follower,
    pub(super) applied: Tick,
    pub(super) own: Option<NodeId>,
    /// The database lost its row; what it answers until it finds out is not promised (revocation.md section 10).
    pub(super) lost: bool,
    busy: bool,
    again: bool,
    pub(super) checks: BTreeMap<u64, Waiting>,
    /// Look-ups under way, by number.
    pub(super) asked: BTreeMap<u64, Asked>,
}

/// For all that a world can make: what is driven out of a full ledger is up to chance of its own.
const ROOM: usize = 4_096;

/// What failed is tried again after this time.
const SOON: u64 = 50 * MILLI;

impl World {
    pub(super) fn start(&mut self) {
        let hand = Arc::new(AtomicU64::new(0));
        let ledger = Arc::new(Ledger::new(ROOM).breaking(self.mutants.clone()));
        let desk = Arc::new(Desk::default());
        let accounts = AccountRules { confirmation_required: false, lockout_stops_tokens: false };
        let rules = Rules { accounts, gitlab_rotation: false };
        let hour = Duration::from_secs(3_600);
        let uses = UseRules { session_lifetime: hour, from_sign_in: false, interval: hour };
        let uptime = Uptime::by_hand(hand.clone());
        let auth = Arc::new(Authenticator::new(desk.clone(), ledger.clone(), uptime, rules, uses));
        let mut follower = Follower::new(self.chance.id());
        follower.mutants = self.mutants.clone();
        let node = Node {
            alive: true,
            leaving: false,
            stopped_until: 0,
            cut_until: 0,
            slow_until: 0,
            mute: (0, 0),
            deaf_until: 0,
            late_reply: None,
            rate: self.chance.between(905, 1_095),
            offset: self.chance.below(1_000 * SECOND),
            hand,
            ledger,
            auth,
            desk,
            follower,
            applied: Tick(0),
            own: None,
            lost: false,
            busy: false,
            again: false,
            checks: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        self.nodes.push(node);
        self.after(0, Event::Round(self.nodes.len() - 1));
        let later = if self.chance.often(500) { self.chance.below(600 * MILLI) } else { 0 };
        self.after(later, Event::Announce(self.nodes.len() - 1));
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].alive).collect()
    }

    pub(super) fn somewhere(&mut self) -> Option<usize> {
        let alive = self.alive();
        self.chance.pick(&alive)
    }

    pub(super) fn cut(&self, n: usize) -> bool {
        self.nodes[n].cut_until > self.now
    }

    /// From here on the node's own code runs, by its own clock.
    pub(super) fn awake(&mut self, n: usize) -> Tick {
        let now = self.clock(n);
        self.nodes[n].hand.store(now.0, Ordering::SeqCst);
        now
    }

    /// Somebody has written; not everybody hears of it (F6).
    pub(super) fn wake_all(&mut self) {
        for n in self.alive() {
            if self.nodes[n].deaf_until <= self.now && !self.chance.often(self.weather.lost_wakes) {
                let way = self.way();
                self.after(way, Event::Round(n));
            }
        }
    }

    pub(super) fn round(&mut self, n: usize) {
        if self.nodes[n].leaving {
            return;
        }
        if self.nodes[n].busy {
            self.nodes[n].again = true;
            return;
        }
        let now = self.awake(n);
        let fresh = self.chance.id();
        let ask = self.nodes[n].follower.begin(now, || fresh);
        self.nodes[n].busy = true;
        if let Ask::Register { .. } = ask {
            self.nodes[n].own = None;
        }
        let (way, sent) = (self.way(), self.now);
        self.after(way, Event::Asked(n, ask, sent));
    }

    pub(super) fn asked(&mut self, n: usize, ask: Ask, sent: u64) {
        let (cut, mut way) = (self.cut(n), self.way_of(n));
        if let (Ask::Read { .. }, Some(late)) = (&ask, self.nodes[n].late_reply) {
            self.nodes[n].late_reply = None;
            self.read_before(n, late);
            way = late;
        }
        // With a cut, it may have been done or not; no answer comes.
        let done = !cut || self.chance.often(500);
        let patience = self.lasting(PATIENCE, self.nodes[n].rate);
        let late = cut || self.now + way > sent + patience;
        let way = if late { (sent + patience).saturating_sub(self.now) } else { way };
        match ask {
            Ask::Register { remove, insert } => {
                if done {
                    self.database.register(&remove, insert);
                }
                self.after(way, Event::Registered(n, !late));
            }
            Ask::Read { from, node } => {
                let page = (!late).then(|| self.database.read(from, node));
                if self.is(Mutant::MarkCleared)
                    && let Some(memory) = self.database.as_memory()
                {
                    memory.truth.clear_mark(node);
                }
                self.after(way, Event::Read(n, page));
            }
        }
    }

    pub(super) fn registered(&mut self, n: usize, done: bool) {
        self.awake(n);
        if done {
            self.nodes[n].follower.registered();
            self.nodes[n].own = self.nodes[n].follower.node();
            let own = self.nodes[n].own;
            let kept = |memory: &mut Memory| own.is_some_and(|own| memory.truth.has_row(own));
            // It may have been lost while the answer was on its way.
            self.nodes[n].lost = !self.database.as_memory().is_none_or(kept);
        }
        self.round_over(n, if done { 0 } else { SOON });
    }

    pub(super) fn read(&mut self, n: usize, page: Option<Page>) {
        let Some(page) = page else { return self.round_over(n, SOON) };
        if self.is(Mutant::SeenBeforeApply)
            && let (Some(node), Some(last)) = (self.nodes[n].own, page.entries.last())
        {
            self.database.say(Say { node, place: last.place }, false);
            let way = self.chance.between(0, 200 * MILLI);
            return self.after(way, Event::Apply(n, page));
        }
        self.apply(n, page);
    }

    pub(super) fn apply(&mut self, n: usize, page: Page) {
        let now = self.awake(n);
        let node = &mut self.nodes[n];
        let mut whole = false;
        for step in node.follower.read(page, now) {
            match step {
                Do::DropLease => node.ledger.drop_lease(),
                Do::ForgetEverything => node.ledger.forget(&[Forget::All]),
                Do::Forget(words) => node.ledger.forget(&words),
                Do::Lease(until) => {
                    // A node that leaves has given it up for good.
                    if !node.leaving {
                        node.ledger.lease(until);
                    }
                    whole = true;
                }
            }
        }
        node.ledger.position.store(node.follower.applied().map_or(0, |place| place.position), Ordering::SeqCst);
        if whole {
            node.applied = node.follower.began();
        }
        match node.follower.to_say() {
            Some(say) => {
                let (until, most) = self.nodes[n].mute;
                let way = match until > self.now {
                    true => self.chance.between(most / 3, most),
                    false => self.way_of(n),
                };
                self.after(way, Event::Told(n, say));
            }
            None if whole => {
                let poll = self.lasting(POLL, self.nodes[n].rate);
                self.round_over(n, poll);
            }
            None => self.round_over(n, 0),
        }
    }

    pub(super) fn told(&mut self, n: usize, say: Say) {
        let (cut, way) = (self.cut(n), self.way());
        // A writer that is kept keeps everybody else from writing.
        let done = !cut && self.kept.is_empty();
        if done {
            self.database.say(say, self.is(Mutant::UnconditionalSeen));
        }
        self.after(if done { way } else { 200 * MILLI }, Event::Said(n, say, done));
    }

    pub(super) fn said(&mut self, n: usize, say: Say, done: bool) {
        self.awake(n);
        if done {
            self.nodes[n].follower.said(say);
        }
        self.round_over(n, if done { self.lasting(POLL, self.nodes[n].rate) } else { SOON });
    }

    fn round_over(&mut self, n: usize, pause: u64) {
        let node = &mut self.nodes[n];
        node.busy = false;
        let pause = if std::mem::take(&mut node.again) { REST.as_nanos() as u64 } else { pause };
        self.after(pause, Event::Round(n));
    }

    pub(super) fn leave(&mut self, n: usize) {
        self.nodes[n].leaving = true;
        let (a, b) = (self.way(), self.chance.between(SECOND / 2, SECOND));
        if self.is(Mutant::RowRemovedBeforeLease) {
            self.after(a + b, Event::LeaseGone(n));
        } else {
            self.nodes[n].ledger.drop_lease();
            self.nodes[n].own = None;
        }
        self.after(a, Event::RowsGone(n));
        // What is under way ends.
        self.after(3 * SECOND, Event::Gone(n));
    }
}

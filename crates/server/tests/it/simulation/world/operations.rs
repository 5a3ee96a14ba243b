//! What changes something: the transaction, the wait for everybody, and the acknowledgement.

use tollhouse_domain::agreement::wait::{Step, Wait};
use tollhouse_domain::agreement::{Behind, Entry, NodeId, PATIENCE, Place, Tick, WAIT};
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::secret::Digest;
use tollhouse_store::tx::Until;

use super::weather::Theme;
use super::{Event, MILLI, SECOND, World};
use crate::simulation::database::Database;
use crate::simulation::history::Subject;
use crate::simulation::model::Change;

pub(super) struct Running {
    pub(super) change: Change,
    /// On a node, or from a command line.
    pub(super) by: Option<usize>,
    /// Of a command line's clock.
    pub(super) rate: u64,
    /// Its statements are on their way.
    sent: bool,
    /// The number of its entry.
    drawn: Option<i64>,
    /// Its COMMIT takes that long.
    slowly: Option<u64>,
    before: Tick,
    wait: Option<Wait>,
    looked: bool,
    /// `None`: the newest, which the first look finds.
    until: Option<i64>,
    replied: u64,
    started: u64,
    /// Nobody waits for its answer any longer.
    dead: bool,
}

impl World {
    pub(super) fn operate(&mut self, change: Change, by: Option<usize>) {
        self.operate_slowly(change, by, None);
    }

    pub(super) fn operate_slowly(&mut self, change: Change, by: Option<usize>, slowly: Option<u64>) {
        self.count += 1;
        let id = self.count;
        let subject = match change {
            Change::Create { token, .. } | Change::Import { token, .. } => Some((Subject::Token(token), true)),
            Change::Revoke { token } => Some((Subject::Token(token), false)),
            Change::Block { owner, blocked } => Some((Subject::Owner(owner), !blocked)),
            Change::Nothing => None,
        };
        if let Some((subject, gives)) = subject {
            self.history.begin(id, subject, gives, self.now);
        }
        let running = Running {
            change,
            by,
            rate: self.chance.between(905, 1_095),
            sent: false,
            drawn: None,
            slowly,
            before: Tick(0),
            wait: None,
            looked: false,
            until: None,
            replied: 0,
            started: self.now,
            dead: false,
        };
        self.running.insert(id, running);
        let way = self.way();
        self.after(way, Event::Draw(id));
    }

    /// Somebody revokes something that stands.
    pub(super) fn revoke_any(&mut self) {
        let standing = self.tokens.iter().map(|(token, _)| *token).filter(|token| !self.is_revoked(*token));
        let standing: Vec<u64> = standing.collect();
        let Some(token) = self.chance.pick(&standing) else { return };
        let by = self.mostly_nobody();
        self.operate(Change::Revoke { token }, by);
    }

    /// A command line, as a rule.
    pub(super) fn mostly_nobody(&mut self) -> Option<usize> {
        if self.chance.often(700) { None } else { self.somewhere() }
    }

    /// The transaction: what it finds, and the number of its entry.
    pub(super) fn draw(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, slowly, before) = (running.change, running.slowly, self.clock_of(running));
        let numbered = change.forgets_something();
        let in_order = !self.is(Mutant::Sequence);
        let (repeats, early) = (self.chance.often(700), self.is(Mutant::EntryBefore));
        let mut position = None;
        if let Database::Memory(memory) = &mut self.database {
            if memory.head.is_some() && in_order && numbered {
                return memory.waiting_for_head.push(op);
            }
            if memory.truth.holds(change) && repeats {
                // It finds its work done (W4).
                self.history.commit(op, self.now);
                let way = self.way();
                return self.after(way, Event::Reply(op));
            }
            if numbered {
                let next = memory.truth.newest().max(memory.sequence) + 1;
                position = Some(next);
                match in_order {
                    true => memory.head = Some(op),
                    false => memory.sequence = next,
                }
            }
        }
        if let Some(running) = self.running.get_mut(&op) {
            (running.before, running.drawn, running.sent) = (before, position, true);
        }
        if early {
            self.write_entry(op);
        }
        // A commit may wait long for a disk or a standby.
        let way = if self.chance.often(self.weather.slow / 2) { 3 * SECOND } else { self.way() };
        self.after(slowly.unwrap_or(way), Event::Commit(op));
    }

    pub(super) fn commit(&mut self, op: u64) {
        if let Some(memory) = self.database.as_memory()
            && memory.head == Some(op)
        {
            memory.head = None;
            for next in std::mem::take(&mut memory.waiting_for_head) {
                self.after(0, Event::Draw(next));
            }
        }
        let (aborted, lost, way) =
            (self.chance.often(self.weather.cuts / 4), self.chance.often(self.weather.cuts), self.way());
        let Some(running) = self.running.get(&op) else { return };
        let (change, dead) = (running.change, running.dead);
        if aborted || (dead && way % 2 == 0) {
            self.running.remove(&op);
            return;
        }
        match &mut self.database {
            Database::Memory(memory) => {
                memory.truth.apply(change);
                let mistakes = [Mutant::EntryAfter, Mutant::EntryBefore, Mutant::NoEntry];
                if !mistakes.into_iter().any(|mutant| self.is(mutant)) {
                    self.write_entry(op);
                }
            }
            Database::Store(store) => {
                let Some(until) = store.perform(change) else { return drop(self.running.remove(&op)) };
                if let (Until::Entry(position), Some(running)) = (until, self.running.get_mut(&op)) {
                    running.drawn = Some(position);
                    self.wake_all();
                }
            }
        }
        self.history.commit(op, self.now);
        if lost || dead {
            // The caller gets an error or nothing, and concludes nothing.
            self.running.remove(&op);
            return;
        }
        let then = if self.is(Mutant::EntryAfter) { Event::Append(op) } else { Event::Reply(op) };
        self.after(way, then);
    }

    pub(super) fn append(&mut self, op: u64) {
        // A crash may come first.
        if self.chance.often(700) {
            self.write_entry(op);
            self.after(0, Event::Reply(op));
        } else {
            self.running.remove(&op);
        }
    }

    fn write_entry(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, Some(position)) = (running.change, running.drawn) else { return };
        for (what, position) in change.forgets().into_iter().zip(position..) {
            let mark = self.chance.next() as i64;
            if let Some(memory) = self.database.as_memory() {
                memory.truth.append(Entry { place: Place { position, mark }, what });
            }
        }
        self.wake_all();
    }

    pub(super) fn reply(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, drawn, by) = (running.change, running.drawn, running.by);
        let now = self.clock_of(running);
        if !change.forgets_something() {
            // A creation: the node that made it no longer takes it for unknown.
            if let (Change::Create { token, .. }, Some(n)) = (change, by)
                && let Some(secret) = self.database.secret(token)
            {
                self.nodes[n].auth.welcome(Digest::of(secret.as_bytes()));
            }
            return self.acknowledge(op);
        }
        let position = if self.is(Mutant::NoEntry) { None } else { drawn };
        if position.is_none() && self.is(Mutant::RepeatWithoutWait) {
            return self.acknowledge(op);
        }
        if self.is(Mutant::ConnectionKept) {
            self.kept.insert(op);
        }
        let true_now = self.now;
        let mutants = self.mutants.clone();
        if let Some(running) = self.running.get_mut(&op) {
            let mut wait = Wait::new(now);
            (wait.before, wait.mutants) = (running.before, mutants);
            running.wait = Some(wait);
            running.until = position;
            running.replied = true_now;
        }
        if let Some(n) = by {
            self.after(0, Event::Round(n));
        }
        self.after(0, Event::Look(op));
    }

    pub(super) fn look(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (by, until) = (running.by, running.until);
        if by.is_some_and(|n| self.cut(n)) {
            let patience = PATIENCE.as_nanos() as u64;
            return self.after(patience, Event::Looked(op, None));
        }
        let own = by.and_then(|n| self.nodes[n].own);
        let (position, behind) = self.database.behind(own, until);
        if let Some(running) = self.running.get_mut(&op) {
            running.until = Some(position);
        }
        let way = self.way();
        self.after(way, Event::Looked(op, Some(behind)));
    }

    pub(super) fn looked(&mut self, op: u64, behind: Option<Vec<Behind>>) {
        let Some(running) = self.running.get(&op) else { return };
        let now = self.clock_of(running);
        let own = match running.by {
            Some(n) if !self.nodes[n].leaving => self.nodes[n].applied,
            _ => Tick::MAX,
        };
        let rate = running.by.map_or(running.rate, |n| self.nodes[n].rate);
        let Some(running) = self.running.get_mut(&op) else { return };
        let first = behind.is_some() && !std::mem::replace(&mut running.looked, behind.is_some());
        let (change, took, started) = (running.change, self.now - running.replied, running.started);
        let Some(wait) = running.wait.as_mut() else { return };
        let step = match &behind {
            Some(behind) => wait.looked(now, behind, own),
            None => wait.failed(now),
        };
        if let (true, Some(behind)) = (first, &behind) {
            self.come_back_late(behind, self.lasting(WAIT, rate));
        }
        // With everybody well nobody waits for a lease to run out.
        if self.all_was_well() && took > SECOND && started > SECOND + 200 * MILLI {
            self.found = Some(format!("{change:?} takes {} ms though all are well", took / MILLI));
        }
        match step {
            Step::Done => self.acknowledge(op),
            Step::Pause(span) => {
                // Looks in vain are no steps worth taking; a slow revoker makes fewer.
                let slow = if took > 100 * MILLI && self.chance.often(850) { 10 } else { 1 };
                let span = self.lasting(span * slow, rate);
                self.after(span, Event::Look(op));
            }
            Step::GiveUp { remove, mark } => {
                let way = self.way();
                match self.chance.often(self.weather.cuts) {
                    true => self.after(way, Event::Acknowledged(op)),
                    false => self.after(way, Event::GiveUp(op, remove, mark)),
                }
            }
        }
    }

    pub(super) fn give_up(&mut self, op: u64, remove: &[NodeId], mark: &[NodeId]) {
        if let Some(position) = self.running.get(&op).and_then(|running| running.until) {
            self.database.give_up_on(remove, mark, position);
        }
        self.after(0, Event::Acknowledged(op));
    }

    pub(super) fn acknowledge(&mut self, op: u64) {
        self.kept.remove(&op);
        let Some(running) = self.running.remove(&op) else { return };
        if running.change != Change::Nothing {
            self.history.acknowledge(op, self.now);
        }
        let took = if running.replied > 0 { self.now - running.replied } else { 0 };
        self.longest = self.longest.max(took);
        // Nobody can have asked for a generated secret before it was told.
        if let Change::Create { token, owner } = running.change {
            self.tokens.push((token, owner));
            if self.chance.often(300) {
                // Looked up for the first time while it is revoked.
                self.ask_everywhere(token);
                self.operate(Change::Revoke { token }, running.by);
            }
        }
        if running.wait.is_some() && self.chance.often(self.weather.bursts) {
            self.revoke_any();
        }
        // Somebody acts the moment after a node was given up.
        if took > 2 * SECOND {
            self.revoke_any();
        }
        // Everybody asks at once whether it holds.
        if let Change::Revoke { token } = running.change {
            self.ask_everywhere(token);
        }
        if let Change::Block { owner, .. } = running.change {
            let of_owner = |(_, of): &&(u64, u64)| *of == owner;
            let tokens: Vec<u64> = self.tokens.iter().filter(of_owner).map(|(token, _)| *token).collect();
            tokens.into_iter().for_each(|token| self.ask_everywhere(token));
        }
    }

    /// Its process died: nobody hears an answer. What the database was told to commit may still happen.
    pub(super) fn orphan(&mut self, op: u64) {
        let Some(running) = self.running.get_mut(&op) else { return };
        if running.sent && running.wait.is_none() {
            running.by = None;
            running.dead = true;
        } else {
            self.kept.remove(&op);
            self.running.remove(&op);
        }
    }

    /// Whoever was waited for in vain comes back just before somebody else has done so too: its row still stands when it
    /// reads, and goes before it has said how far it came. At times it is the first who waits.
    fn come_back_late(&mut self, behind: &[Behind], wait: u64) {
        if self.weather.theme != Theme::Comeback {
            return;
        }
        for row in behind {
            if !row.marked && self.chance.often(600) {
                continue;
            }
            let late = self.chance.between(5 * MILLI, 400 * MILLI);
            let now = self.now;
            let stopped = |node: &&mut super::Node| node.own == Some(row.id) && node.stopped_until > now;
            if let Some(node) = self.nodes.iter_mut().find(stopped) {
                node.stopped_until = now + wait - late;
                node.mute = (node.stopped_until + SECOND, 900 * MILLI);
            }
        }
    }
}

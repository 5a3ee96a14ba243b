//! What changes something: the transaction, the wait for everybody, and the acknowledgement.

use std::sync::Weak;

use tollhouse_domain::agreement::{Behind, Entry, LogPosition, Tick, WAIT};
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::secret::Digest;
use tollhouse_store::tx::Until;

use super::requests::{Outcome, Slot, Told};
use super::weather::Theme;
use super::{Event, MILLI, SECOND, SimulatedNetwork};
use crate::simulation::database::Database;
use crate::simulation::history::Subject;
use crate::simulation::model::Change;

pub(super) struct Running {
    pub(super) change: Change,
    /// On a node, or from a command line.
    pub(super) by: Option<usize>,
    /// A node announces itself, and waits here.
    announces: Option<Weak<Slot>>,
    /// Its statements are on their way.
    sent: bool,
    /// The number of its entry.
    drawn: Option<i64>,
    /// Its COMMIT takes that long.
    slowly: Option<u64>,
    before: Tick,
    /// When its commit was answered; since then it waits for the others.
    replied: Option<u64>,
    looked: bool,
    started: u64,
    /// Nobody waits for its answer any longer.
    dead: bool,
}

impl SimulatedNetwork {
    pub(super) fn operate(&mut self, change: Change, by: Option<usize>) {
        self.operate_slowly(change, by, None);
    }

    pub(super) fn operate_slowly(&mut self, change: Change, by: Option<usize>, slowly: Option<u64>) -> u64 {
        self.count += 1;
        let id = self.count;
        let subjects = match change {
            Change::Create { token, .. } | Change::Import { token, .. } => [Some((Subject::Token(token), true)), None],
            Change::Revoke { token } => [Some((Subject::Token(token), false)), None],
            Change::CreateNarrow { token, .. } => [Some((Subject::Narrow(token), true)), None],
            Change::RevokeNarrow { token, .. } => [Some((Subject::Narrow(token), false)), None],
            Change::Block { owner, blocked } => [Some((Subject::Owner(owner), !blocked)), None],
            Change::CreateClient { client, secret } => {
                [Some((Subject::Secret(client, secret), true)), Some((Subject::Scope(client), true))]
            }
            Change::NarrowClient { client, .. } => [Some((Subject::Scope(client), false)), None],
            Change::RenewSecret { client, old, secret } => {
                [Some((Subject::Secret(client, old), false)), Some((Subject::Secret(client, secret), true))]
            }
            Change::DeleteClient { client, secret } => {
                [Some((Subject::Secret(client, secret), false)), Some((Subject::Scope(client), false))]
            }
            Change::Member { owner, member } => [Some((Subject::Member(owner), member)), None],
            Change::Move { away } => [Some((Subject::GroupPath, !away)), None],
            // Of each token there is at the commit.
            Change::RevokeAll { .. } | Change::Nothing => [None, None],
        };
        self.begin_revoke_all(id, change);
        for (subject, gives) in subjects.into_iter().flatten() {
            self.history.begin(id, subject, gives, self.now);
        }
        let running = Running {
            change,
            by,
            announces: None,
            sent: false,
            drawn: None,
            slowly,
            before: Tick(0),
            replied: None,
            looked: false,
            started: self.now,
            dead: false,
        };
        self.running.insert(id, running);
        let way = self.way();
        self.after(way, Event::Draw(id));
        id
    }

    /// It takes the rights of every token that its owner has, and of those that are being made.
    fn begin_revoke_all(&mut self, op: u64, change: Change) {
        let Change::RevokeAll { owner } = change else { return };
        let of_owner = self.owners.iter().filter(|(_, of)| **of == owner).map(|(token, _)| *token);
        for token in of_owner.collect::<Vec<_>>() {
            self.history.begin(op, Subject::Token(token), false, self.now);
        }
    }

    /// It did not happen, or nobody will be told.
    fn forsake(&mut self, op: u64) {
        let Some(Running { by, announces: Some(slot), .. }) = self.running.remove(&op) else { return };
        self.after(SECOND, Event::Told(by, slot, Told::Refused));
    }

    /// Nor did any of all that is under way.
    pub(super) fn forsake_all(&mut self) {
        self.kept.clear();
        let all: Vec<u64> = self.running.keys().copied().collect();
        all.into_iter().for_each(|op| self.forsake(op));
    }

    /// A node says that it is there (N3).
    pub(super) fn announce(&mut self, who: Option<usize>, slot: Weak<Slot>) {
        let op = self.operate_slowly(Change::Nothing, who, None);
        if let Some(running) = self.running.get_mut(&op) {
            running.announces = Some(slot);
        }
    }

    /// Somebody revokes something that stands.
    pub(super) fn revoke_any(&mut self) {
        let status = self.tokens.iter().map(|(token, _)| *token).filter(|token| !self.is_revoked(*token));
        let status: Vec<u64> = status.collect();
        let Some(token) = self.randomness.pick(&status) else { return };
        let by = self.mostly_nobody();
        self.operate(Change::Revoke { token }, by);
    }

    /// A command line, as a rule.
    pub(super) fn mostly_nobody(&mut self) -> Option<usize> {
        if self.randomness.often(700) { None } else { self.somewhere() }
    }

    /// What the log is told of it.
    fn forgets(&self, change: Change) -> Vec<Invalidation> {
        match change.unmarked_by() {
            Some(mutant) if self.is(mutant) => Vec::new(),
            _ => change.forgets(),
        }
    }

    /// The transaction: what it finds, and the number of its entry.
    pub(super) fn draw(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, slowly, by) = (running.change, running.slowly, running.by);
        let before = self.clock(by);
        let numbered = !self.forgets(change).is_empty();
        let in_order = !self.is(Mutant::Sequence);
        let (repeats, early) = (self.randomness.often(700), self.is(Mutant::EntryBefore));
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
        let way = if self.randomness.often(self.weather.slow / 2) { 3 * SECOND } else { self.way() };
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
            (self.randomness.often(self.weather.cuts / 4), self.randomness.often(self.weather.cuts), self.way());
        let Some(running) = self.running.get(&op) else { return };
        let (change, dead) = (running.change, running.dead);
        let impossible = matches!(&self.database, Database::Memory(memory) if !memory.truth.can(change));
        if impossible || aborted || (dead && way % 2 == 0) {
            return self.forsake(op);
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
                let Some(until) = store.perform(change) else { return self.forsake(op) };
                if let (Until::Entry(position), Some(running)) = (until, self.running.get_mut(&op)) {
                    running.drawn = Some(position);
                    self.wake_all();
                }
            }
        }
        // With those that were made since it began.
        self.begin_revoke_all(op, change);
        self.history.commit(op, self.now);
        if lost || dead {
            // The caller gets an error or nothing, and concludes nothing.
            return self.forsake(op);
        }
        let then = if self.is(Mutant::EntryAfter) { Event::Append(op) } else { Event::Reply(op) };
        self.after(way, then);
    }

    pub(super) fn append(&mut self, op: u64) {
        // A crash may come first.
        if self.randomness.often(700) {
            self.write_entry(op);
            self.after(0, Event::Reply(op));
        } else {
            self.forsake(op);
        }
    }

    fn write_entry(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, Some(position)) = (running.change, running.drawn) else { return };
        for (what, position) in self.forgets(change).into_iter().zip(position..) {
            let mark = self.randomness.next() as i64;
            if let Some(memory) = self.database.as_memory() {
                memory.truth.append(Entry { place: LogPosition { position, mark }, what });
            }
        }
        self.wake_all();
    }

    /// The commit is answered. What follows is the code of a node: it waits for the others.
    pub(super) fn reply(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, drawn, by, before) = (running.change, running.drawn, running.by, running.before);
        if let Some(slot) = &running.announces {
            let told = Told::Until(drawn.map_or(Until::Newest, Until::Entry));
            self.after(0, Event::Told(by, slot.clone(), told));
            self.running.remove(&op);
            return;
        }
        // A creation: the node that made it no longer takes it for unknown.
        if let (Change::Create { token, .. }, Some(n)) = (change, by)
            && let Some(secret) = self.database.secret(token)
        {
            self.nodes[n].auth.evict_negative(Digest::of(secret.as_bytes()));
        }
        let until = match drawn {
            _ if self.forgets(change).is_empty() => Until::Nowhere,
            Some(position) if !self.is(Mutant::NoEntry) => Until::Entry(position),
            _ => Until::Newest,
        };
        // The numbers of a real database are others than those of the model.
        let known = matches!(until, Until::Entry(_)) && self.database.as_memory().is_some();
        let untrue = known.then(|| self.forgets(change));
        let replied = if self.is(Mutant::TimerBeforeCommit) { before } else { self.clock(by) };
        let now = self.now;
        if let Some(running) = self.running.get_mut(&op) {
            running.replied = Some(now);
        }
        let process = self.process(by);
        let real = process.real.clone();
        process.tasks.start(op, async move {
            real.acknowledge(until, untrue.as_deref(), replied).await;
            Outcome::Acknowledged
        });
        self.after(0, Event::GoOn(by));
    }

    /// Whether this is an operation that has been waiting for the others for a while.
    pub(super) fn waits_long(&self, task: u64) -> bool {
        let replied = self.running.get(&task).and_then(|running| running.replied);
        replied.is_some_and(|at| self.now - at > 100 * MILLI)
    }

    pub(super) fn first_look(&mut self, who: Option<usize>, op: u64, behind: &[Behind]) {
        let Some(running) = self.running.get_mut(&op) else { return };
        if !std::mem::replace(&mut running.looked, true) {
            let rate = self.process(who).rate;
            self.come_back_late(behind, self.lasting(WAIT, rate));
        }
    }

    pub(super) fn acknowledge(&mut self, op: u64) {
        self.kept.remove(&op);
        let Some(running) = self.running.remove(&op) else { return };
        self.history.acknowledge(op, self.now);
        let took = running.replied.map_or(0, |at| self.now - at);
        self.longest = self.longest.max(took);
        // With everybody well nobody waits for a lease to run out.
        if self.all_was_well() && took > SECOND && running.started > SECOND + 200 * MILLI {
            self.found = Some(format!("{:?} takes {} ms though all are well", running.change, took / MILLI));
        }
        // Nobody can have asked for a generated secret before it was told.
        if let Change::Create { token, owner } = running.change {
            self.tokens.push((token, owner));
            if self.randomness.often(300) {
                // Looked up for the first time while it is revoked.
                self.ask_everywhere(token);
                self.operate(Change::Revoke { token }, running.by);
            }
        }
        if !running.change.forgets().is_empty() && self.randomness.often(self.weather.bursts) {
            self.revoke_any();
        }
        // Somebody acts the moment after a node was given up.
        if took > 2 * SECOND {
            self.revoke_any();
        }
        self.ask_whether_it_holds(running.change);
        // The same of tokens.
        if let Change::Revoke { token } = running.change {
            self.ask_everywhere(token);
        }
        if let Change::Block { owner, .. } | Change::RevokeAll { owner } = running.change {
            let of_owner = |(_, of): &&(u64, u64)| *of == owner;
            let tokens: Vec<u64> = self.tokens.iter().filter(of_owner).map(|(token, _)| *token).collect();
            tokens.into_iter().for_each(|token| self.ask_everywhere(token));
        }
    }

    /// Its process died: nobody hears an answer. What the database was told to commit may still happen.
    pub(super) fn orphan(&mut self, op: u64) {
        let Some(running) = self.running.get_mut(&op) else { return };
        if running.sent && running.replied.is_none() {
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
            if !row.marked && self.randomness.often(600) {
                continue;
            }
            let late = self.randomness.between(5 * MILLI, 400 * MILLI);
            let now = self.now;
            let stopped = |node: &&mut super::Node| node.process.real.own() == Some(row.id) && node.stopped_until > now;
            if let Some(node) = self.nodes.iter_mut().find(stopped) {
                node.stopped_until = now + wait - late;
                node.mute = (node.stopped_until + SECOND, 900 * MILLI);
            }
        }
    }
}

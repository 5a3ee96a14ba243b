//! Nodes, revokers and callers on one database, with a scheduler that decides by its seed what happens next: virtual
//! clocks of different rates, late and lost replies, nodes that stand still, crash, leave and start, a database that is
//! cut off or restored from an older copy. What a server does is the real code: of the node, its cache and its
//! authenticator.

mod callers;
mod clients;
mod drills;
mod nodes;
mod operations;
mod requests;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::Duration;

use tollhouse_auth::credential_cache::CredentialCache;
use tollhouse_domain::faults::{Mutant, Mutants};

use super::database::Database;
use super::history::{History, Subject};
use super::model::Narrow;
use super::randomness::Randomness;
use drills::Plan;
use nodes::{Node, Process};
use operations::Running;
use requests::{About, Slot};
pub use requests::{Question, Told};
pub use weather::Theme;
use weather::Weather;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

pub const OWNERS: u64 = 3;

/// After so many steps the weather changes, so that every seed can meet everything.
const SEASON: u64 = 2_000;

pub struct SimulatedNetwork {
    randomness: Randomness,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    count: u64,
    pub steps: u64,
    database: Database,
    nodes: Vec<Node>,
    /// Where commands are given.
    shell: Process,
    running: BTreeMap<u64, Running>,
    /// With their owners.
    tokens: Vec<(u64, u64)>,
    owners: BTreeMap<u64, u64>,
    next_token: u64,
    /// Clients that stand, with the number of their secret; not those of which something is under way.
    clients: Vec<(u64, u64)>,
    /// Deploy and job tokens that nobody has revoked yet.
    narrow: Vec<(Narrow, u64)>,
    weather: Weather,
    season: u64,
    /// Answers to look-ups that are made until then come late.
    late_until: u64,
    mutants: Mutants,
    /// Who keeps the connection that writes while it waits.
    kept: BTreeSet<u64>,
    pub history: History,
    /// What the slowest change took from its commit to its acknowledgement.
    pub longest: u64,
    pub found: Option<String>,
}

enum Event {
    Client,
    /// A process goes on with what it was about to do.
    GoOn(Option<usize>),
    /// A question of one of its tasks reaches the database.
    Reaches(Option<usize>, u64, Question, Weak<Slot>),
    /// An answer has come.
    Told(Option<usize>, Weak<Slot>, Told),
    /// The database says that there is something new.
    Woken(usize),
    /// The head of a request has come.
    Check(usize, About),
    Draw(u64),
    Commit(u64),
    Append(u64),
    Reply(u64),
    Gone(usize),
    Weather,
    /// Of a season.
    Drill(u64),
    Planned(Plan),
}

impl Event {
    /// Whose program counter this is: it waits while that node stands still, and is lost if it crashed. What the
    /// database does goes on.
    fn of(&self, operations: &BTreeMap<u64, Running>) -> Option<usize> {
        match self {
            Self::GoOn(who) | Self::Told(who, ..) => *who,
            Self::Woken(n) | Self::Check(n, _) | Self::Gone(n) => Some(*n),
            Self::Draw(op) | Self::Reply(op) => operations.get(op).and_then(|running| running.by),
            _ => None,
        }
    }

    /// Whoever waited for it waits no longer.
    fn is_moot(&self) -> bool {
        matches!(self, Self::Told(_, slot, _) | Self::Reaches(_, _, Question::Sleep(_), slot) if slot.strong_count() == 0)
    }
}

impl SimulatedNetwork {
    /// A mistake changes what the nodes do, never what happens to them.
    pub fn new(seed: u64, mutant: Option<Mutant>, mut database: Database) -> Self {
        let mut randomness = Randomness::of(seed);
        let weather = Weather::of(Theme::first(seed, &database), &mut randomness);
        let mutants = Mutants::default();
        mutants.set(mutant);
        let mark = randomness.next() as i64;
        match &mut database {
            Database::Memory(memory) => memory.begin(mark),
            Database::Store(store) => store.begin(mutant),
        }
        let shell = Process::new(CredentialCache::new(0), &mut randomness, &mutants);
        let mut network = Self {
            randomness,
            now: SECOND,
            queue: BTreeMap::new(),
            count: 0,
            steps: 0,
            database,
            nodes: Vec::new(),
            shell,
            running: BTreeMap::new(),
            tokens: Vec::new(),
            owners: BTreeMap::new(),
            next_token: 0,
            clients: Vec::new(),
            narrow: Vec::new(),
            weather,
            season: 0,
            late_until: 0,
            mutants,
            kept: BTreeSet::new(),
            history: History::default(),
            longest: 0,
            found: None,
        };
        for owner in 0..OWNERS {
            network.history.begin(1_000_000_000 + owner, Subject::Owner(owner), true, 0);
            network.history.commit(1_000_000_000 + owner, 1);
            network.history.acknowledge(1_000_000_000 + owner, 2);
        }
        network.history.begin(2_000_000_000, Subject::GroupPath, true, 0);
        network.history.commit(2_000_000_000, 1);
        network.history.acknowledge(2_000_000_000, 2);
        for _ in 0..1 + network.randomness.below(3) {
            network.start();
        }
        network.after(0, Event::Client);
        network.after(500 * MILLI, Event::Weather);
        network.after(300 * MILLI, Event::Drill(0));
        network
    }

    /// For the next run.
    pub fn into_database(self) -> Database {
        self.database
    }

    /// The time, and what was asked and answered by then: two worlds that differ anywhere differ here soon after.
    pub fn outcome(&self) -> [u64; 6] {
        let History { accepted, refused, acknowledged, .. } = self.history;
        [self.now, self.count, accepted, refused, acknowledged, self.longest]
    }

    /// Lets so many steps happen, or fewer if something is found.
    pub fn run(&mut self, steps: u64) {
        while self.steps < steps && self.found.is_none() {
            let Some(((at, _), event)) = self.queue.pop_first() else { return };
            if event.is_moot() {
                continue;
            }
            self.now = self.now.max(at);
            if let Some(node) = event.of(&self.running) {
                let node = &self.nodes[node];
                if !node.alive {
                    continue;
                }
                let until = node.stopped_until;
                if until > self.now {
                    // In the order in which they came, not in that in which they were expected.
                    self.count += 1;
                    self.queue.insert((until, self.count), event);
                    continue;
                }
            }
            self.steps += 1;
            // Only where nothing has ever gone wrong is it known how long a change may take.
            let calm = self.all_was_well() && self.steps < 3 * SEASON;
            if self.steps.is_multiple_of(SEASON) && !calm {
                self.turn();
            }
            self.happen(event);
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutants.is(mutant)
    }

    fn after(&mut self, span: u64, event: Event) {
        self.count += 1;
        self.queue.insert((self.now + span, self.count), event);
    }

    /// How long something takes on its way.
    fn way(&mut self) -> u64 {
        if self.randomness.often(self.weather.slow) {
            let most = if self.randomness.often(300) { 3_000 } else { 400 };
            return self.randomness.between(MILLI, most * MILLI);
        }
        self.randomness.between(50_000, 2 * MILLI)
    }

    /// The same, from or to this process.
    fn way_of(&mut self, who: Option<usize>) -> u64 {
        match who.is_some_and(|n| self.nodes[n].slow_until > self.now) {
            true => self.randomness.between(MILLI, 900 * MILLI),
            false => self.way(),
        }
    }

    /// A span on that clock, in true time.
    fn lasting(&self, span: Duration, rate: u64) -> u64 {
        span.as_nanos() as u64 / rate * 1_000
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Client => self.client(),
            Event::Weather => self.storm(),
            Event::Drill(season) => self.drill(season),
            Event::Planned(plan) => self.go_by(plan),
            Event::GoOn(who) => self.go_on(who),
            Event::Reaches(who, task, question, slot) => self.reaches(who, task, question, slot),
            Event::Told(who, slot, told) => {
                slot.upgrade().iter().for_each(|slot| slot.tell(told.clone()));
                self.go_on(who);
            }
            Event::Woken(n) => {
                self.nodes[n].process.real.wake();
                self.go_on(Some(n));
            }
            Event::Gone(n) => self.die(n),
            Event::Check(n, about) => self.check(n, about),
            Event::Draw(op) => self.draw(op),
            Event::Commit(op) => self.commit(op),
            Event::Append(op) => self.append(op),
            Event::Reply(op) => self.reply(op),
        }
    }
}

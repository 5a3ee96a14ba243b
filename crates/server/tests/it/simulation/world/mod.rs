//! Nodes, revokers and callers on one database, with a scheduler that decides by its seed what happens next: virtual
//! clocks of different rates, late and lost replies, nodes that stand still, crash, leave and start, a database that is
//! cut off or restored from an older copy. The follower, the wait, the ledger and the authenticator are the real ones.

mod callers;
mod drills;
mod nodes;
mod operations;
mod weather;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tollhouse_domain::agreement::follower::{Ask, Say};
use tollhouse_domain::agreement::{Behind, NodeId, Page, Tick};
use tollhouse_domain::faults::{Mutant, Mutants};

use super::chance::Chance;
use super::database::Database;
use super::history::{History, Subject};
use super::model::Change;
use drills::Plan;
use nodes::Node;
use operations::Running;
pub use weather::Theme;
use weather::Weather;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

pub const OWNERS: u64 = 3;

/// After so many steps the weather changes, so that every seed can meet everything.
const SEASON: u64 = 2_000;

pub struct World {
    chance: Chance,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    count: u64,
    pub steps: u64,
    database: Database,
    nodes: Vec<Node>,
    running: BTreeMap<u64, Running>,
    /// With their owners.
    tokens: Vec<(u64, u64)>,
    owners: BTreeMap<u64, u64>,
    next_token: u64,
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

#[derive(Debug)]
enum Event {
    Client,
    Announce(usize),
    Round(usize),
    /// The statement reaches the database; when it was sent.
    Asked(usize, Ask, u64),
    Read(usize, Option<Page>),
    Registered(usize, bool),
    Apply(usize, Page),
    Told(usize, Say),
    Said(usize, Say, bool),
    /// The head of a request has come.
    Check(usize, u64),
    Arrives(usize, u64),
    LookUp(usize, u64),
    Found(usize, u64),
    Draw(u64),
    Commit(u64),
    Append(u64),
    Reply(u64),
    Look(u64),
    Looked(u64, Option<Vec<Behind>>),
    GiveUp(u64, Vec<NodeId>, Vec<NodeId>),
    Acknowledged(u64),
    RowsGone(usize),
    LeaseGone(usize),
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
            Self::Announce(n)
            | Self::Round(n)
            | Self::Read(n, _)
            | Self::Registered(n, _)
            | Self::Apply(n, _)
            | Self::Said(n, ..)
            | Self::Check(n, _)
            | Self::Arrives(n, _)
            | Self::Found(n, _)
            | Self::LeaseGone(n)
            | Self::Gone(n) => Some(*n),
            Self::Draw(op) | Self::Reply(op) | Self::Look(op) | Self::Looked(op, _) | Self::Acknowledged(op) => {
                operations.get(op).and_then(|running| running.by)
            }
            _ => None,
        }
    }
}

impl World {
    /// A mistake changes what the nodes do, never what happens to them.
    pub fn new(seed: u64, mutant: Option<Mutant>, mut database: Database) -> Self {
        let mut chance = Chance::of(seed);
        let weather = Weather::of(Theme::first(seed, &database), &mut chance);
        let mutants = Mutants::default();
        mutants.set(mutant);
        let mark = chance.next() as i64;
        match &mut database {
            Database::Memory(memory) => memory.begin(mark),
            Database::Store(store) => store.begin(mutant),
        }
        let mut world = Self {
            chance,
            now: SECOND,
            queue: BTreeMap::new(),
            count: 0,
            steps: 0,
            database,
            nodes: Vec::new(),
            running: BTreeMap::new(),
            tokens: Vec::new(),
            owners: BTreeMap::new(),
            next_token: 0,
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
            world.history.begin(1_000_000_000 + owner, Subject::Owner(owner), true, 0);
            world.history.commit(1_000_000_000 + owner, 1);
            world.history.acknowledge(1_000_000_000 + owner, 2);
        }
        for _ in 0..1 + world.chance.below(3) {
            world.start();
        }
        world.after(0, Event::Client);
        world.after(500 * MILLI, Event::Weather);
        world.after(300 * MILLI, Event::Drill(0));
        world
    }

    /// For the next world.
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
            let Some(((at, number), event)) = self.queue.pop_first() else { return };
            self.now = self.now.max(at);
            if let Some(node) = event.of(&self.running) {
                let node = &self.nodes[node];
                if !node.alive {
                    continue;
                }
                if node.stopped_until > self.now {
                    // In the order in which they came.
                    self.queue.insert((node.stopped_until, number), event);
                    continue;
                }
            }
            self.steps += 1;
            // Only where nothing has ever gone wrong is it known how long a change may take.
            let calm = self.all_was_well() && self.steps < 2 * SEASON;
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
        if self.chance.often(self.weather.slow) {
            let most = if self.chance.often(300) { 3_000 } else { 400 };
            return self.chance.between(MILLI, most * MILLI);
        }
        self.chance.between(50_000, 2 * MILLI)
    }

    /// The same, from or to this node.
    fn way_of(&mut self, n: usize) -> u64 {
        match self.nodes[n].slow_until > self.now {
            true => self.chance.between(MILLI, 900 * MILLI),
            false => self.way(),
        }
    }

    fn clock(&self, node: usize) -> Tick {
        let node = &self.nodes[node];
        Tick(node.offset + self.now / 1_000 * node.rate)
    }

    /// Of whoever revokes: its node's, or a command line's own.
    fn clock_of(&self, running: &Running) -> Tick {
        match running.by {
            Some(node) => self.clock(node),
            None => Tick(self.now / 1_000 * running.rate),
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
            // N3.
            Event::Announce(n) => self.operate(Change::Nothing, Some(n)),
            Event::Round(n) => self.round(n),
            Event::Asked(n, ask, sent) => self.asked(n, ask, sent),
            Event::Registered(n, done) => self.registered(n, done),
            Event::Read(n, page) => self.read(n, page),
            Event::Apply(n, page) => self.apply(n, page),
            Event::Told(n, say) => self.told(n, say),
            Event::Said(n, say, done) => self.said(n, say, done),
            Event::LeaseGone(n) => self.nodes[n].ledger.drop_lease(),
            Event::RowsGone(n) => {
                let rows = self.nodes[n].follower.rows();
                self.database.leave(&rows);
            }
            Event::Gone(n) => self.nodes[n].alive = false,
            Event::Check(n, token) => self.check(n, token),
            Event::Arrives(n, check) => self.poll(n, Some(check)),
            Event::LookUp(n, id) => self.look_up(n, id),
            Event::Found(n, id) => self.answered(n, id),
            Event::Draw(op) => self.draw(op),
            Event::Commit(op) => self.commit(op),
            Event::Append(op) => self.append(op),
            Event::Reply(op) => self.reply(op),
            Event::Look(op) => self.look(op),
            Event::Looked(op, behind) => self.looked(op, behind),
            Event::GiveUp(op, remove, mark) => self.give_up(op, &remove, &mark),
            Event::Acknowledged(op) => self.acknowledge(op),
        }
    }
}

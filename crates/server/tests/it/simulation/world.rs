//! Nodes, revokers and callers on one database, with a scheduler that decides by its seed what happens next: virtual
//! clocks of different rates, late and lost replies, nodes that stand still, crash, leave and start, a database that is
//! cut off or restored from an older copy. The follower, the wait, the ledger and the authenticator are the real ones.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollhouse_auth::authenticator::Authenticator;
use tollhouse_auth::ledger::Ledger;
use tollhouse_auth::shown::Shown;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::agreement::follower::{Ask, Do, Follower, Say};
use tollhouse_domain::agreement::wait::{Step, Wait};
use tollhouse_domain::agreement::{Behind, Entry, NodeId, PATIENCE, POLL, Page, Place, Tick};
use tollhouse_domain::demand::Demand;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::faults::{Mutant, Mutants};
use tollhouse_domain::forget::Forget;
use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::identity::Rules;
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, Unavailable, UserName};
use tollhouse_domain::membership::{Memberships, Of};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountRules, User};

use super::history::{Check, History, Subject};
use super::model::{Change, Truth, digest, secret};

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MILLI;

/// SplitMix64: one number is the whole seed.
pub struct Chance(u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from)
    }

    /// So many times in a thousand.
    fn often(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    fn id(&mut self) -> NodeId {
        let (a, b) = (self.next().to_be_bytes(), self.next().to_be_bytes());
        let mut id = [0; 16];
        id[..8].copy_from_slice(&a);
        id[8..].copy_from_slice(&b);
        NodeId(id)
    }
}

/// How rough it is, in thousandths: most of it each tenth of a second.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// A node stands still.
    stops: u64,
    crashes: u64,
    cuts: u64,
    restores: u64,
    /// A message takes its time.
    slow: u64,
    lost_wakes: u64,
    /// One revocation follows the other.
    bursts: u64,
    drill: Option<Drill>,
}

/// What goes wrong by plan, again and again, since by chance it hardly ever does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drill {
    /// One node stands still for about as long as others wait for it, and its messages take their time.
    Laggard,
    /// The database comes back as it was a moment ago, and numbers are used again at once.
    Restore,
    /// Answers to look-ups come late.
    LateAnswers,
}

impl Weather {
    /// Each seed has its own, and most have one thing that goes wrong more often than the others.
    fn of(chance: &mut Chance) -> Self {
        let theme = chance.below(8);
        if theme == 0 {
            return Self::default();
        }
        let mut some = |most: u64| chance.below(most);
        let mild = Self {
            stops: some(25),
            crashes: some(20),
            cuts: some(30),
            slow: some(100),
            lost_wakes: some(1_000),
            bursts: some(500),
            ..Self::default()
        };
        match theme {
            1 => Self { stops: 20 + some(40), slow: some(40), ..mild },
            2 => Self { crashes: 30 + some(40), ..mild },
            3 => Self { cuts: 30 + some(60), ..mild },
            4 => Self { drill: Some(Drill::LateAnswers), slow: some(50), bursts: 500, ..Self::default() },
            5 => Self { drill: Some(Drill::Restore), slow: some(200), lost_wakes: 900, ..Self::default() },
            6 => Self { drill: Some(Drill::Laggard), lost_wakes: 700, ..Self::default() },
            _ => mild,
        }
    }

    fn calm(&self) -> bool {
        self.slow == 0 && self.stops == 0 && self.drill.is_none()
    }
}

#[derive(Debug)]
enum Event {
    Client,
    Round(usize),
    /// The statement reaches the database.
    Asked(usize, Ask, u64),
    Read(usize, Option<Page>),
    Registered(usize, bool),
    Apply(usize, Page),
    Told(usize, Say),
    Said(usize, Say, bool),
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
    Drill,
    Stop(usize, u64),
    Revoke,
    Restore,
}

impl Event {
    /// Whose program counter this is: it waits while that node stands still, and is lost if it crashed. What the
    /// database does goes on.
    fn of(&self, operations: &BTreeMap<u64, Running>) -> Option<usize> {
        match self {
            Self::Round(n)
            | Self::Read(n, _)
            | Self::Registered(n, _)
            | Self::Apply(n, _)
            | Self::Said(n, ..)
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

struct Node {
    alive: bool,
    leaving: bool,
    stopped_until: u64,
    cut_until: u64,
    /// Its messages take their time until then.
    slow_until: u64,
    /// Its clock goes so many thousandths as fast as time.
    rate: u64,
    offset: u64,
    hand: Arc<AtomicU64>,
    ledger: Arc<Ledger>,
    auth: Arc<Authenticator>,
    desk: Arc<Desk>,
    follower: Follower,
    applied: Tick,
    own: Option<NodeId>,
    busy: bool,
    again: bool,
    checks: BTreeMap<u64, Waiting>,
    /// Look-ups under way, by number.
    asked: BTreeMap<u64, Asked>,
}

struct Waiting {
    token: u64,
    started: u64,
    judged: Pin<Box<dyn Future<Output = Result<bool, Denial>>>>,
}

struct Asked {
    key: Key,
    slot: Slot,
    answer: Option<Result<Option<Record>, Unavailable>>,
}

type Slot = Arc<Mutex<Option<Result<Option<Record>, Unavailable>>>>;

/// Where the authenticator of a node asks; the scheduler answers.
#[derive(Default)]
struct Desk(Mutex<Vec<(Key, Slot)>>);

impl Lookup for Desk {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        let slot = Slot::default();
        self.0.lock().expect("no panic").push((key, slot.clone()));
        Box::pin(std::future::poll_fn(move |_| match slot.lock().expect("no panic").take() {
            Some(found) => Poll::Ready(found),
            None => Poll::Pending,
        }))
    }

    fn user<'a>(&'a self, _: UserName<'a>) -> Answer<'a, Option<User>> {
        Box::pin(async { Ok(None) })
    }

    fn memberships(&self, _: UserId, _: Of, _: Timestamp) -> Answer<'_, Memberships> {
        Box::pin(async { Ok(Memberships::default()) })
    }

    fn first_use(&self, _: FamilyId, _: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        Box::pin(async { Ok(false) })
    }
}

struct Running {
    change: Change,
    /// On a node, or from a command line.
    by: Option<usize>,
    /// Of a command line's clock.
    rate: u64,
    drawn: Option<i64>,
    before: Tick,
    wait: Option<Wait>,
    /// `None`: the newest, which the first look finds.
    until: Option<i64>,
    replied: u64,
    started: u64,
    dead: bool,
}

pub struct World {
    chance: Chance,
    now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    count: u64,
    pub steps: u64,
    truth: Truth,
    /// Who draws the next number; nobody else may until that is committed (W2).
    head: Option<u64>,
    waiting_for_head: Vec<u64>,
    sequence: i64,
    copies: Vec<(u64, Truth)>,
    nodes: Vec<Node>,
    running: BTreeMap<u64, Running>,
    tokens: Vec<(u64, u64)>,
    owners: BTreeMap<u64, u64>,
    next_token: u64,
    weather: Weather,
    mutant: Option<Mutant>,
    mutants: Mutants,
    somebody: User,
    /// A writer's connection that is kept while waiting.
    kept: BTreeSet<u64>,
    pub history: History,
    pub longest: u64,
    pub found: Option<String>,
}

const OWNERS: u64 = 3;

impl World {
    pub fn new(seed: u64, mutant: Option<Mutant>, somebody: User) -> Self {
        let mut chance = Chance(seed);
        let weather = Weather::of(&mut chance);
        let mutants = Mutants::default();
        mutants.set(mutant);
        let mark = chance.next() as i64;
        let mut world = Self {
            chance,
            now: SECOND,
            queue: BTreeMap::new(),
            count: 0,
            steps: 0,
            truth: Truth::new(mark),
            head: None,
            waiting_for_head: Vec::new(),
            sequence: 0,
            copies: Vec::new(),
            nodes: Vec::new(),
            running: BTreeMap::new(),
            tokens: Vec::new(),
            owners: BTreeMap::new(),
            next_token: 0,
            weather,
            mutant,
            mutants,
            somebody,
            kept: BTreeSet::new(),
            history: History::default(),
            longest: 0,
            found: None,
        };
        for owner in 0..OWNERS {
            world.history.begin(1_000_000 + owner, Subject::Owner(owner), true, 0);
            world.history.commit(1_000_000 + owner, 1);
            world.history.acknowledge(1_000_000 + owner, 2);
        }
        for _ in 0..1 + world.chance.below(3) {
            world.start();
        }
        world.after(0, Event::Client);
        world.after(500 * MILLI, Event::Weather);
        world.after(300 * MILLI, Event::Drill);
        world
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
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
            self.happen(event);
        }
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

    /// From here on the node's own code runs, by its own clock.
    fn awake(&mut self, n: usize) -> Tick {
        let now = self.clock(n);
        self.nodes[n].hand.store(now.0, Ordering::SeqCst);
        now
    }

    fn start(&mut self) {
        let hand = Arc::new(AtomicU64::new(0));
        let ledger = Arc::new(Ledger::new(64).breaking(self.mutants.clone()));
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
            rate: self.chance.between(905, 1_095),
            offset: self.chance.below(1_000 * SECOND),
            hand,
            ledger,
            auth,
            desk,
            follower,
            applied: Tick(0),
            own: None,
            busy: false,
            again: false,
            checks: BTreeMap::new(),
            asked: BTreeMap::new(),
        };
        self.nodes.push(node);
        self.after(0, Event::Round(self.nodes.len() - 1));
        // N3.
        self.operate(Change::Nothing, Some(self.nodes.len() - 1));
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].alive).collect()
    }

    fn somewhere(&mut self) -> Option<usize> {
        let alive = self.alive();
        let pick = self.chance.below(alive.len() as u64) as usize;
        alive.get(pick).copied()
    }

    fn cut(&self, n: usize) -> bool {
        self.nodes[n].cut_until > self.now
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Client => self.client(),
            Event::Weather => self.storm(),
            Event::Drill => self.drill(),
            Event::Stop(n, span) => self.nodes[n].stopped_until = self.now + span,
            Event::Revoke => self.revoke_any(),
            Event::Restore => self.restore(),
            Event::Round(n) => self.round(n),
            Event::Asked(n, ask, sent) => self.asked(n, ask, sent),
            Event::Registered(n, done) => self.registered(n, done),
            Event::Read(n, page) => self.read(n, page),
            Event::Apply(n, page) => self.apply(n, page),
            Event::Told(n, say) => self.told(n, say),
            Event::Said(n, say, done) => self.said(n, say, done),
            Event::Arrives(n, check) => self.poll(n, Some(check)),
            Event::LookUp(n, id) => self.look_up(n, id),
            Event::Found(n, id) => self.answered(n, id),
            Event::Draw(op) => self.draw(op),
            Event::Commit(op) => self.commit(op),
            Event::Append(op) => self.append(op),
            Event::Reply(op) => self.reply(op),
            Event::Look(op) => self.look(op),
            Event::Looked(op, behind) => self.looked(op, behind),
            Event::GiveUp(op, remove, mark) => {
                if let Some(position) = self.running.get(&op).and_then(|running| running.until) {
                    self.truth.give_up_on(&remove, &mark, position);
                }
                self.after(0, Event::Acknowledged(op));
            }
            Event::Acknowledged(op) => self.acknowledge(op),
            Event::LeaseGone(n) => self.nodes[n].ledger.drop_lease(),
            Event::RowsGone(n) => {
                let rows = self.nodes[n].follower.rows();
                self.truth.leave(&rows);
            }
            Event::Gone(n) => self.nodes[n].alive = false,
        }
    }

    // --- What people do ------------------------------------------------------------------------------------------

    fn client(&mut self) {
        // Where something goes wrong by plan, the steps are for that.
        let pause = match self.weather.drill {
            Some(Drill::Laggard) => self.chance.between(20 * MILLI, 150 * MILLI),
            Some(_) => self.chance.between(2 * MILLI, 40 * MILLI),
            None => self.chance.between(MILLI / 2, 12 * MILLI),
        };
        self.after(pause, Event::Client);
        if self.tokens.len() < 5 && (self.tokens.is_empty() || self.chance.often(300)) {
            return self.create();
        }
        let (token, owner) = self.tokens[self.chance.below(self.tokens.len() as u64) as usize];
        let by = if self.chance.often(150) { None } else { self.somewhere() };
        match self.chance.below(1_000) {
            0..5 => self.create(),
            10..45 => self.operate(Change::Revoke { token }, by),
            45..60 => {
                let blocked = !self.truth.holds(Change::Block { owner, blocked: true }) || self.chance.often(200);
                self.operate(Change::Block { owner, blocked }, by);
            }
            _ => {
                let Some(node) = self.somewhere() else { return };
                self.check(node, token);
            }
        }
        // What is revoked makes room after a while.
        let revoked = |(token, _): &(u64, u64)| self.truth.holds(Change::Revoke { token: *token });
        if let Some(old) = self.tokens.iter().position(revoked)
            && self.chance.often(30)
        {
            self.tokens.remove(old);
        }
    }

    fn create(&mut self) {
        self.next_token += 1;
        let (token, owner) = (self.next_token, self.chance.below(OWNERS));
        let by = self.somewhere();
        let import = self.chance.often(300);
        if import {
            // Somebody knows it before it exists.
            for node in self.alive() {
                self.check(node, token);
            }
        }
        let change = if import { Change::Import { token, owner } } else { Change::Create { token, owner } };
        self.operate(change, by);
        self.owners.insert(token, owner);
        if import {
            self.tokens.push((token, owner));
        }
    }

    fn check(&mut self, n: usize, token: u64) {
        self.count += 1;
        let id = self.count;
        let (auth, value) = (self.nodes[n].auth.clone(), secret(token));
        let judged = Box::pin(async move {
            let head = http_head(&value);
            let judged = auth.judge(&Shown::in_head(&head, None), &Demand::PLAIN, Timestamp(1)).await;
            match judged {
                Ok(who) => Ok(who.is_some()),
                Err(Denial::Unavailable) => Err(Denial::Unavailable),
                Err(_) => Ok(false),
            }
        });
        let started = self.now;
        self.nodes[n].checks.insert(id, Waiting { token, started, judged });
        self.after(0, Event::Arrives(n, id));
    }

    /// Lets requests of a node go on: the one that arrives, or all that wait.
    fn poll(&mut self, n: usize, only: Option<u64>) {
        self.awake(n);
        let ids: Vec<u64> = match only {
            Some(id) => vec![id],
            None => self.nodes[n].checks.keys().copied().collect(),
        };
        let mut context = Context::from_waker(Waker::noop());
        for id in ids {
            let Some(waiting) = self.nodes[n].checks.get_mut(&id) else { continue };
            let Poll::Ready(outcome) = waiting.judged.as_mut().poll(&mut context) else { continue };
            let (token, started) = (waiting.token, waiting.started);
            self.nodes[n].checks.remove(&id);
            let owner = self.owner(token);
            if let (Ok(accepted), Some(owner)) = (outcome, owner) {
                let check = Check { token, owner, node: n, started, ended: self.now, accepted };
                if let Err(what) = self.history.judge(check) {
                    self.found = Some(what);
                }
            }
        }
        let asked = std::mem::take(&mut *self.nodes[n].desk.0.lock().expect("no panic"));
        for (key, slot) in asked {
            self.count += 1;
            let id = self.count;
            self.nodes[n].asked.insert(id, Asked { key, slot, answer: None });
            let way = self.way();
            self.after(way, Event::LookUp(n, id));
        }
    }

    fn owner(&self, token: u64) -> Option<u64> {
        self.owners.get(&token).copied()
    }

    fn look_up(&mut self, n: usize, id: u64) {
        let late = self.weather.drill == Some(Drill::LateAnswers) && self.chance.often(400);
        let way = if late { self.chance.between(10 * MILLI, 150 * MILLI) } else { self.way() };
        let cut = self.cut(n);
        let replica = self.is(Mutant::ReplicaLookup).then(|| self.copies.last()).flatten();
        let Some(asked) = self.nodes[n].asked.get_mut(&id) else { return };
        let truth = replica.map_or(&self.truth, |(_, older)| older);
        asked.answer = Some(if cut { Err(Unavailable) } else { Ok(truth.find(asked.key, &self.somebody)) });
        self.after(way, Event::Found(n, id));
    }

    fn answered(&mut self, n: usize, id: u64) {
        let Some(asked) = self.nodes[n].asked.remove(&id) else { return };
        *asked.slot.lock().expect("no panic") = asked.answer;
        self.poll(n, None);
        // Whoever joined is told by the one who led.
        self.poll(n, None);
    }

    // --- Nodes ---------------------------------------------------------------------------------------------------

    fn round(&mut self, n: usize) {
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

    fn asked(&mut self, n: usize, ask: Ask, sent: u64) {
        let (cut, way) = (self.cut(n), self.way_of(n));
        // With a cut, it may have been done or not; no answer comes.
        let done = !cut || self.chance.often(500);
        let patience = self.lasting(PATIENCE, self.nodes[n].rate);
        let late = cut || self.now + way > sent + patience;
        let way = if late { (sent + patience).saturating_sub(self.now) } else { way };
        match ask {
            Ask::Register { remove, insert } => {
                if done {
                    self.truth.register(&remove, insert);
                }
                self.after(way, Event::Registered(n, !late));
            }
            Ask::Read { from, node } => {
                let page = (!late).then(|| self.truth.read(from, node));
                if self.is(Mutant::MarkCleared) {
                    self.truth.clear_mark(node);
                }
                self.after(way, Event::Read(n, page));
            }
        }
    }

    fn registered(&mut self, n: usize, done: bool) {
        self.awake(n);
        if done {
            self.nodes[n].follower.registered();
            self.nodes[n].own = self.nodes[n].follower.node();
        }
        self.round_over(n, if done { 0 } else { 50 * MILLI });
    }

    fn read(&mut self, n: usize, page: Option<Page>) {
        let Some(page) = page else { return self.round_over(n, 50 * MILLI) };
        if self.is(Mutant::SeenBeforeApply)
            && let (Some(node), Some(last)) = (self.nodes[n].own, page.entries.last())
        {
            let say = Say { node, place: last.place };
            self.truth.say(say, false);
            let way = self.chance.between(0, 200 * MILLI);
            return self.after(way, Event::Apply(n, page));
        }
        self.apply(n, page);
    }

    fn apply(&mut self, n: usize, page: Page) {
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
                let way = self.way_of(n);
                self.after(way, Event::Told(n, say));
            }
            None if whole => {
                let poll = self.lasting(POLL, self.nodes[n].rate);
                self.round_over(n, poll);
            }
            None => self.round_over(n, 0),
        }
    }

    fn told(&mut self, n: usize, say: Say) {
        let (cut, way) = (self.cut(n), self.way());
        // A writer that is kept keeps everybody else from writing.
        let done = !cut && self.kept.is_empty();
        if done {
            self.truth.say(say, self.is(Mutant::UnconditionalSeen));
        }
        self.after(if done { way } else { 200 * MILLI }, Event::Said(n, say, done));
    }

    fn said(&mut self, n: usize, say: Say, done: bool) {
        self.awake(n);
        if done {
            self.nodes[n].follower.said(say);
        }
        self.round_over(n, if done { self.lasting(POLL, self.nodes[n].rate) } else { 50 * MILLI });
    }

    fn round_over(&mut self, n: usize, pause: u64) {
        let node = &mut self.nodes[n];
        node.busy = false;
        let pause = if std::mem::take(&mut node.again) { 10 * MILLI } else { pause };
        self.after(pause, Event::Round(n));
    }

    fn leave(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.leaving = true;
        let first_lease = !self.mutants.is(Mutant::RowRemovedBeforeLease);
        let (a, b) = (self.way(), self.chance.between(SECOND / 2, SECOND));
        if first_lease {
            self.nodes[n].ledger.drop_lease();
            self.nodes[n].own = None;
            self.after(a, Event::RowsGone(n));
        } else {
            self.after(a, Event::RowsGone(n));
            self.after(a + b, Event::LeaseGone(n));
        }
        // What is under way ends.
        self.after(3 * SECOND, Event::Gone(n));
    }

    // --- Operations ----------------------------------------------------------------------------------------------

    fn operate(&mut self, change: Change, by: Option<usize>) {
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
            drawn: None,
            before: Tick(0),
            wait: None,
            until: None,
            replied: 0,
            started: self.now,
            dead: false,
        };
        self.running.insert(id, running);
        let way = self.way();
        self.after(way, Event::Draw(id));
    }

    /// The transaction: what it finds, and the number of its entry.
    fn draw(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let change = running.change;
        if self.head.is_some() && !self.is(Mutant::Sequence) && !change.forgets().is_empty() {
            return self.waiting_for_head.push(op);
        }
        let before = self.clock_of(running);
        let repeat = self.truth.holds(change) && self.chance.often(700);
        let position = self.truth.newest().max(self.sequence) + 1;
        if let Some(running) = self.running.get_mut(&op) {
            running.before = before;
            if !repeat && !change.forgets().is_empty() {
                running.drawn = Some(position);
            }
        }
        if repeat {
            // It finds its work done (W4).
            self.history.commit(op, self.now);
            let way = self.way();
            return self.after(way, Event::Reply(op));
        }
        if !change.forgets().is_empty() {
            if self.is(Mutant::Sequence) {
                self.sequence = position;
            } else {
                self.head = Some(op);
            }
        }
        if self.is(Mutant::EntryBefore) {
            self.write_entry(op);
        }
        // A commit may wait long for a disk or a standby.
        let way = if self.chance.often(self.weather.slow / 2) { 3 * SECOND } else { self.way() };
        self.after(way, Event::Commit(op));
    }

    fn commit(&mut self, op: u64) {
        if self.head == Some(op) {
            self.head = None;
            for next in std::mem::take(&mut self.waiting_for_head) {
                self.after(0, Event::Draw(next));
            }
        }
        let (aborted, lost, way) =
            (self.chance.often(self.weather.cuts / 4), self.chance.often(self.weather.cuts), self.way());
        let Some(running) = self.running.get_mut(&op) else { return };
        let dead = running.dead;
        if aborted || (dead && way % 2 == 0) {
            self.running.remove(&op);
            return;
        }
        let change = running.change;
        self.truth.apply(change);
        self.history.commit(op, self.now);
        if !self.is(Mutant::EntryAfter) && !self.is(Mutant::EntryBefore) && !self.is(Mutant::NoEntry) {
            self.write_entry(op);
        }
        if lost || dead {
            // The caller gets an error or nothing, and concludes nothing.
            self.running.remove(&op);
            return;
        }
        if self.is(Mutant::EntryAfter) {
            return self.after(way, Event::Append(op));
        }
        self.after(way, Event::Reply(op));
    }

    fn append(&mut self, op: u64) {
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
            self.truth.append(Entry { place: Place { position, mark }, what });
        }
        for n in self.alive() {
            if !self.chance.often(self.weather.lost_wakes) {
                let way = self.way();
                self.after(way, Event::Round(n));
            }
        }
    }

    fn reply(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let (change, drawn, by) = (running.change, running.drawn, running.by);
        let now = self.clock_of(running);
        if change.forgets().is_empty() {
            // A creation: the node that made it no longer takes it for unknown.
            if let (Change::Create { token, .. }, Some(n)) = (change, by) {
                self.nodes[n].auth.welcome(digest(token));
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
        let (mutants, early) = (self.mutants.clone(), self.is(Mutant::TimerBeforeCommit));
        if let Some(running) = self.running.get_mut(&op) {
            let mut wait = Wait::new(if early { running.before } else { now });
            wait.mutants = mutants;
            running.wait = Some(wait);
            running.until = position;
            running.replied = true_now;
        }
        if let Some(n) = by {
            self.after(0, Event::Round(n));
        }
        self.after(0, Event::Look(op));
    }

    fn look(&mut self, op: u64) {
        let Some(running) = self.running.get(&op) else { return };
        let cut = running.by.is_some_and(|n| self.cut(n));
        let own = running.by.and_then(|n| self.nodes[n].own);
        let to = self.way();
        let newest = self.truth.newest();
        let Some(running) = self.running.get_mut(&op) else { return };
        if cut {
            let patience = PATIENCE.as_nanos() as u64;
            return self.after(patience, Event::Looked(op, None));
        }
        let position = *running.until.get_or_insert(newest);
        let behind = self.truth.behind(own, position);
        self.after(to, Event::Looked(op, Some(behind)));
    }

    fn looked(&mut self, op: u64, behind: Option<Vec<Behind>>) {
        let Some(running) = self.running.get(&op) else { return };
        let now = self.clock_of(running);
        let own = match running.by {
            Some(n) if !self.nodes[n].leaving => self.nodes[n].applied,
            _ => Tick::MAX,
        };
        let rate = running.by.map_or(running.rate, |n| self.nodes[n].rate);
        let Some(wait) = self.running.get_mut(&op).and_then(|running| running.wait.as_mut()) else { return };
        let step = match &behind {
            Some(behind) => wait.looked(now, behind, own),
            None => wait.failed(now),
        };
        match step {
            Step::Done => self.acknowledge(op),
            Step::Pause(span) => {
                let span = self.lasting(span, rate);
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

    fn acknowledge(&mut self, op: u64) {
        self.kept.remove(&op);
        let Some(running) = self.running.remove(&op) else { return };
        if running.change != Change::Nothing {
            self.history.acknowledge(op, self.now);
        }
        if running.replied > 0 {
            let took = self.now - running.replied;
            self.longest = self.longest.max(took);
            // With everybody well nobody waits for a lease to run out.
            if self.weather.calm() && took > SECOND && running.started > SECOND + 200 * MILLI {
                self.found = Some(format!("{:?} took {} ms though all were well", running.change, took / MILLI));
            }
        }
        // Nobody can have asked for a generated secret before it was told.
        if let Change::Create { token, owner } = running.change {
            self.tokens.push((token, owner));
            if self.chance.often(300) {
                // Looked up for the first time while it is revoked.
                self.alive().into_iter().for_each(|n| self.check(n, token));
                self.operate(Change::Revoke { token }, running.by);
            }
        }
        if running.wait.is_some() && self.chance.often(self.weather.bursts) {
            self.revoke_any();
        }
        // Somebody acts the moment after a node was given up.
        if running.replied > 0 && self.now - running.replied > 2 * SECOND {
            self.revoke_any();
        }
        // Everybody asks at once whether it holds.
        if let Change::Revoke { token } = running.change {
            for n in self.alive() {
                self.check(n, token);
            }
        }
        if let Change::Block { owner, .. } = running.change {
            let of_owner: Vec<u64> =
                self.tokens.iter().filter(|(_, of)| *of == owner).map(|(token, _)| *token).collect();
            for (n, token) in self.alive().into_iter().flat_map(|n| of_owner.iter().map(move |token| (n, *token))) {
                self.check(n, token);
            }
        }
    }

    // --- Weather -------------------------------------------------------------------------------------------------

    fn storm(&mut self) {
        self.after(if self.weather.drill.is_some() { SECOND } else { 100 * MILLI }, Event::Weather);
        self.copies.push((self.now, self.truth.clone()));
        if self.copies.len() > 20 {
            self.copies.remove(0);
        }
        if self.chance.often(30) {
            let keep = self.chance.between(1, 40) as usize;
            self.truth.trim(keep);
        }
        let Some(n) = self.somewhere() else { return self.start() };
        if self.chance.often(self.weather.stops) {
            let most = if self.chance.often(500) { 6 * SECOND } else { 2 * SECOND };
            let stop = self.chance.between(20 * MILLI, most);
            self.nodes[n].stopped_until = self.now + stop;
        }
        if self.chance.often(self.weather.cuts) {
            let cut = self.chance.between(20 * MILLI, 4 * SECOND);
            self.nodes[n].cut_until = self.now + cut;
        }
        if self.chance.often(self.weather.crashes) {
            self.nodes[n].alive = false;
            let dead: Vec<u64> = self.running.iter().filter(|(_, r)| r.by == Some(n)).map(|(id, _)| *id).collect();
            for op in dead {
                self.orphan(op);
            }
        } else if self.chance.often(self.weather.crashes) && self.alive().len() > 1 && !self.nodes[n].leaving {
            self.leave(n);
        }
        let standing = self.alive().iter().filter(|n| !self.nodes[**n].leaving).count();
        if standing < 3 && self.chance.often(60) {
            self.start();
        }
        if self.chance.often(self.weather.restores) {
            self.restore();
        }
    }

    fn drill(&mut self) {
        let Some(drill) = self.weather.drill else { return };
        while self.tokens.len() < 6 {
            self.create_at_once();
        }
        for (token, _) in self.tokens.clone() {
            self.alive().into_iter().for_each(|n| self.check(n, token));
        }
        let pause = match drill {
            Drill::Laggard => {
                let Some(n) = self.somewhere() else { return };
                let most = if self.chance.often(300) { 6_500 } else { 2_900 };
                let stop = self.chance.between(2_200 * MILLI, most * MILLI);
                self.nodes[n].slow_until = self.now + 9 * SECOND;
                let at = self.chance.between(MILLI, SECOND);
                self.after(at, Event::Stop(n, stop));
                for _ in 0..2 {
                    let later = self.chance.between(0, 500 * MILLI);
                    self.after(at + later, Event::Revoke);
                }
                9 * SECOND
            }
            Drill::Restore => {
                self.copies.push((self.now, self.truth.clone()));
                for _ in 0..1 + self.chance.below(3) {
                    let soon = self.chance.between(MILLI, 40 * MILLI);
                    self.after(soon, Event::Revoke);
                }
                for n in self.alive() {
                    self.nodes[n].slow_until = self.now + 100 * MILLI;
                }
                let back = self.chance.between(MILLI, 60 * MILLI);
                self.after(back, Event::Restore);
                SECOND
            }
            Drill::LateAnswers => {
                self.create();
                100 * MILLI
            }
        };
        self.after(pause, Event::Drill);
    }

    fn create_at_once(&mut self) {
        self.next_token += 1;
        self.count += 1;
        let (token, owner, id) = (self.next_token, self.chance.below(OWNERS), self.count);
        self.truth.apply(Change::Create { token, owner });
        self.owners.insert(token, owner);
        self.tokens.push((token, owner));
        self.history.begin(id, Subject::Token(token), true, self.now);
        self.history.acknowledge(id, self.now);
    }

    fn revoke_any(&mut self) {
        let stands = |(token, _): &&(u64, u64)| !self.truth.holds(Change::Revoke { token: *token });
        let standing: Vec<u64> = self.tokens.iter().filter(stands).map(|(token, _)| *token).collect();
        if standing.is_empty() {
            return;
        }
        let token = standing[self.chance.below(standing.len() as u64) as usize];
        let by = if self.chance.often(700) { None } else { self.somewhere() };
        self.operate(Change::Revoke { token }, by);
    }

    /// Its process died: nobody hears an answer. What the database was told to commit may still happen.
    fn orphan(&mut self, op: u64) {
        let Some(running) = self.running.get_mut(&op) else { return };
        if running.drawn.is_some() && running.wait.is_none() {
            running.by = None;
            running.dead = true;
        } else {
            self.kept.remove(&op);
            self.running.remove(&op);
        }
    }

    /// The database comes back as it was a while ago; what was under way is gone.
    fn restore(&mut self) {
        // Not long ago, as a rule.
        let back = if self.chance.often(700) { 1 } else { 1 + self.chance.below(self.copies.len() as u64) as usize };
        let Some(pick) = self.copies.len().checked_sub(back) else { return };
        let (at, truth) = self.copies[pick].clone();
        self.copies.truncate(pick);
        self.truth = truth;
        self.sequence = 0;
        self.head = None;
        self.waiting_for_head.clear();
        self.kept.clear();
        self.history.restored(at);
        self.running.clear();
        // Numbers are used again at once.
        for (token, _) in self.tokens.clone() {
            if self.chance.often(400) {
                let by = self.somewhere();
                self.operate(Change::Revoke { token }, by);
            }
        }
    }
}

pub fn http_head(token: &str) -> axum::http::request::Parts {
    let request = axum::http::Request::get("/").header("private-token", token).body(());
    request.expect("a request").into_parts().0
}

//! Servers: each runs the real code of a node, with a cache and an authenticator of its own, by a clock that goes as it
//! likes. And what becomes of what they ask.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tollhouse::node::Node as Real;
use tollhouse_auth::authenticator::Authenticator;
use tollhouse_auth::credential_cache::CredentialCache;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::agreement::{NodeId, Tick};
use tollhouse_domain::faults::{Mutant, Mutants};
use tollhouse_domain::identity::Rules;
use tollhouse_domain::user::AccountRules;

use super::requests::{Asked, Outcome, Question, Requests, SimulatedEnvironment, Slot, Tasks, Told};
use super::{Event, MILLI, SECOND, SimulatedNetwork};
use crate::simulation::database::Memory;
use crate::simulation::randomness::Randomness;

/// A process: a server, or the one in which all commands are given.
pub(super) struct Process {
    /// Its clock goes so many thousandths as fast as time.
    pub(super) rate: u64,
    offset: u64,
    hand: Arc<AtomicU64>,
    cache: Arc<CredentialCache>,
    requests: Arc<Requests>,
    pub(super) real: Arc<Real<SimulatedEnvironment>>,
    pub(super) tasks: Tasks,
}

pub(super) struct Node {
    pub(super) process: Process,
    pub(super) alive: bool,
    stop: CancellationToken,
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
    pub(super) auth: Arc<Authenticator>,
    /// What it took its row to be when last looked at.
    own: Option<NodeId>,
    /// The database lost its row; what it answers until it finds out is not promised (revocation.md section 10).
    pub(super) lost: bool,
    /// Listens, and will be told here that it no longer can.
    hears: Option<Weak<Slot>>,
}

/// Holds everything that a run can make: what a full cache evicts is random, and not of this seed.
const ROOM: usize = 4_096;

/// The number of the task that follows the log.
const FOLLOW: u64 = 0;

impl Process {
    pub(super) fn new(cache: CredentialCache, randomness: &mut Randomness, mutants: &Mutants) -> Self {
        let (hand, requests) = (Arc::new(AtomicU64::new(0)), Arc::new(Requests::default()));
        let cache = Arc::new(cache.breaking(mutants.clone()));
        let ids = Mutex::new(Randomness::of(randomness.next()));
        let around = SimulatedEnvironment { requests: requests.clone(), uptime: Uptime::by_hand(hand.clone()), ids };
        let real = Arc::new(Real::new(around, cache.clone()));
        let (rate, offset) = (randomness.between(905, 1_095), randomness.below(1_000 * SECOND));
        Self { rate, offset, hand, cache, requests, real, tasks: Tasks::default() }
    }

    fn clock(&self, now: u64) -> Tick {
        Tick(self.offset + now / 1_000 * self.rate)
    }
}

impl Node {
    pub(super) fn is_leaving(&self) -> bool {
        self.stop.is_cancelled()
    }
}

impl SimulatedNetwork {
    pub(super) fn start(&mut self) {
        let mut randomness = Randomness::of(self.randomness.next());
        let mut process = Process::new(CredentialCache::new(ROOM), &mut randomness, &self.mutants);
        let accounts = AccountRules { confirmation_required: false, lockout_stops_tokens: false };
        let rules = Rules { accounts, gitlab_rotation: false, impersonation: true };
        let hour = Duration::from_secs(3_600);
        let uses = UseRules { session_lifetime: hour, from_sign_in: false, session_longest: None, interval: hour };
        let uptime = Uptime::by_hand(process.hand.clone());
        let auth = Arc::new(Authenticator::new(process.requests.clone(), process.cache.clone(), uptime, rules, uses));
        let (real, stop) = (process.real.clone(), CancellationToken::new());
        let stopped = stop.clone();
        process.tasks.start(FOLLOW, async move {
            real.follow("simulated".into(), stopped).await.expect("the database is not replaced");
            Outcome::Followed
        });
        self.nodes.push(Node {
            process,
            alive: true,
            stop,
            stopped_until: 0,
            cut_until: 0,
            slow_until: 0,
            mute: (0, 0),
            deaf_until: 0,
            late_reply: None,
            auth,
            own: None,
            lost: false,
            hears: None,
        });
        self.after(0, Event::GoOn(Some(self.nodes.len() - 1)));
    }

    pub(super) fn alive(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|n| self.nodes[*n].alive).collect()
    }

    pub(super) fn somewhere(&mut self) -> Option<usize> {
        let alive = self.alive();
        self.randomness.pick(&alive)
    }

    /// `None`: where commands are given.
    pub(super) fn process(&mut self, who: Option<usize>) -> &mut Process {
        match who {
            Some(n) => &mut self.nodes[n].process,
            None => &mut self.shell,
        }
    }

    pub(super) fn clock(&mut self, who: Option<usize>) -> Tick {
        let now = self.now;
        self.process(who).clock(now)
    }

    /// Its own code runs, at one moment of its own clock, until all of it sleeps.
    pub(super) fn go_on(&mut self, who: Option<usize>) {
        let now = self.clock(who);
        self.process(who).hand.store(now.0, Ordering::SeqCst);
        while let Some((task, poll)) = self.process(who).tasks.run() {
            for asked in self.process(who).requests.fetch() {
                self.asked(who, task, asked);
            }
            match poll {
                Poll::Pending => {}
                Poll::Ready(Outcome::Followed) => {
                    // What is under way ends.
                    let soon = self.randomness.below(3 * SECOND);
                    who.iter().for_each(|n| self.after(soon, Event::Gone(*n)));
                }
                Poll::Ready(Outcome::Acknowledged) => self.acknowledge(task),
                Poll::Ready(Outcome::CheckOrder { asked, started, accepted }) => {
                    who.iter().for_each(|n| self.judged(*n, asked, started, &accepted));
                }
            }
        }
        let Some(n) = who else { return };
        let own = self.nodes[n].process.real.own();
        if std::mem::replace(&mut self.nodes[n].own, own) != own
            && let Some(own) = own
        {
            // It may have been lost while the answer was on its way.
            let kept = |memory: &mut Memory| memory.truth.has_row(own);
            self.nodes[n].lost = !self.database.as_memory().is_none_or(kept);
        }
    }

    fn asked(&mut self, who: Option<usize>, task: u64, (question, slot): Asked) {
        match question {
            Question::Sleep(span) => {
                let rate = self.process(who).rate;
                // Looks in vain are no steps worth taking; a slow revoker makes fewer.
                let slow = self.waits_long(task) && self.randomness.often(850);
                let span = self.lasting(span * if slow { 10 } else { 1 }, rate);
                self.after(span, Event::Told(who, slot, Told::Done));
            }
            Question::Hear => who.iter().for_each(|n| self.nodes[*n].hears = Some(slot.clone())),
            Question::Say(_) => {
                let (until, most) = who.map_or((0, 0), |n| self.nodes[n].mute);
                let way = match until > self.now {
                    true => self.randomness.between(most / 3, most),
                    false => self.way_of(who),
                };
                self.after(way, Event::Reaches(who, task, question, slot));
            }
            question => {
                let way = self.way_of(who);
                self.after(way, Event::Reaches(who, task, question, slot));
            }
        }
    }

    /// A question has come to the database. What was asked on a line that is cut may be done or not; no answer comes.
    pub(super) fn reaches(&mut self, who: Option<usize>, task: u64, question: Question, slot: Weak<Slot>) {
        if question.is_look_up() {
            return who.iter().for_each(|n| self.look_up(*n, &question, slot.clone()));
        }
        let cut = who.is_some_and(|n| self.nodes[n].cut_until > self.now);
        if cut && self.randomness.often(500) {
            return;
        }
        let mut way = self.way_of(who);
        let told = match question {
            Question::Register(remove, insert) => {
                self.database.register(&remove, insert);
                Told::Done
            }
            Question::Leave(rows) => {
                self.database.leave(&rows);
                Told::Done
            }
            Question::Read(from, node) => {
                if let Some((n, late)) = who.and_then(|n| Some((n, self.nodes[n].late_reply.take()?))) {
                    self.read_before(n, late);
                    way = late;
                }
                let page = self.database.read(from, node);
                if self.is(Mutant::MarkCleared)
                    && let Some(memory) = self.database.as_memory()
                {
                    memory.truth.clear_mark(node);
                }
                Told::Page(page)
            }
            // A writer that is kept keeps everybody else from writing.
            Question::Say(_) if !self.kept.is_empty() => {
                way = 200 * MILLI;
                Told::Refused
            }
            Question::Say(say) => {
                self.database.say(say, self.is(Mutant::UnconditionalSeen));
                Told::Done
            }
            Question::Behind(own, position) => {
                let (position, behind) = self.database.behind(own, position);
                self.first_look(who, task, &behind);
                Told::Behind(position, behind)
            }
            // It may be lost on the way.
            Question::GiveUp(..) if self.randomness.often(self.weather.cuts) => return,
            Question::GiveUp(remove, mark, position) => {
                self.database.give_up_on(&remove, &mark, position);
                Told::Done
            }
            Question::Announce => return self.announce(who, slot),
            // A greeting is nobody's revocation.
            Question::Hold if task == FOLLOW => Told::Refused,
            Question::Hold => {
                self.kept.insert(task);
                Told::Done
            }
            Question::Link | Question::Listen => Told::Done,
            _ => return,
        };
        if !cut {
            self.after(way, Event::Told(who, slot, told));
        }
    }

    /// Somebody has written; not everybody hears of it (F6).
    pub(super) fn wake_all(&mut self) {
        for n in self.alive() {
            let node = &self.nodes[n];
            let hears = node.hears.is_some() && node.deaf_until <= self.now && node.cut_until <= self.now;
            if hears && !self.randomness.often(self.weather.lost_wakes) {
                let way = self.way();
                self.after(way, Event::Woken(n));
            }
        }
    }

    pub(super) fn cut(&mut self, n: usize, span: u64) {
        self.nodes[n].cut_until = self.now + span;
        if let Some(slot) = self.nodes[n].hears.take() {
            let way = self.way();
            self.after(way, Event::Told(Some(n), slot, Told::Refused));
        }
    }

    pub(super) fn leave(&mut self, n: usize) {
        self.nodes[n].stop.cancel();
        self.go_on(Some(n));
    }

    /// Nothing of it is left but what the database was told.
    pub(super) fn die(&mut self, n: usize) {
        self.nodes[n].alive = false;
        self.nodes[n].process.tasks.die();
        let of_it: Vec<u64> = self.running.iter().filter(|(_, r)| r.by == Some(n)).map(|(id, _)| *id).collect();
        of_it.into_iter().for_each(|op| self.orphan(op));
    }
}

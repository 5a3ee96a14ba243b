//! What people do, and what becomes of their requests: the authenticator of a node asks, the scheduler answers.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use tollhouse_auth::shown::Shown;
use tollhouse_domain::demand::Demand;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{FamilyId, GenerationId};
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, Unavailable, UserName};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;

use super::weather::Theme;
use super::{Event, MILLI, OWNERS, World};
use crate::simulation::database::{Question, Told};
use crate::simulation::history::{Check, Subject};
use crate::simulation::model::Change;
use crate::town::START;

/// A request whose head has come.
pub(super) struct Waiting {
    token: u64,
    started: u64,
    judged: Pin<Box<dyn Future<Output = Result<bool, Denial>>>>,
}

/// A question on its way.
pub(super) struct Asked {
    question: Question,
    slot: Slot,
    answer: Option<Result<Told, Unavailable>>,
}

type Slot = Arc<Mutex<Option<Result<Told, Unavailable>>>>;

/// Where the authenticator of a node asks.
#[derive(Default)]
pub(super) struct Desk(Mutex<Vec<(Question, Slot)>>);

impl Desk {
    async fn ask(&self, question: Question) -> Result<Told, Unavailable> {
        let slot = Slot::default();
        self.0.lock().expect("no panic").push((question, slot.clone()));
        std::future::poll_fn(move |_| match slot.lock().expect("no panic").take() {
            Some(told) => Poll::Ready(told),
            None => Poll::Pending,
        })
        .await
    }
}

impl Lookup for Desk {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            match self.ask(Question::Find(key)).await? {
                Told::Record(record) => Ok(record.map(|record| *record)),
                Told::Won(_) => Err(Unavailable),
            }
        })
    }

    fn user<'a>(&'a self, _: UserName<'a>) -> Answer<'a, Option<User>> {
        Box::pin(async { Ok(None) })
    }

    fn memberships(
        &self,
        _: tollhouse_domain::id::UserId,
        _: tollhouse_domain::membership::Of,
        _: Timestamp,
    ) -> Answer<'_, tollhouse_domain::membership::Memberships> {
        Box::pin(async { Ok(Default::default()) })
    }

    fn first_use(&self, family: FamilyId, head: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move { Ok(matches!(self.ask(Question::FirstUse(family, head)).await?, Told::Won(true))) })
    }
}

impl World {
    pub(super) fn client(&mut self) {
        // Where something goes wrong by plan, the steps are for that.
        let pause = match self.weather.theme {
            Theme::Laggard | Theme::Comeback | Theme::LateReply => self.chance.between(40 * MILLI, 250 * MILLI),
            theme if theme.is_drill() => self.chance.between(2 * MILLI, 40 * MILLI),
            _ => self.chance.between(MILLI / 2, 12 * MILLI),
        };
        self.after(pause, Event::Client);
        if self.tokens.len() < 5 && (self.tokens.is_empty() || self.chance.often(300)) {
            return self.create();
        }
        let Some(mut picked) = self.chance.pick(&self.tokens) else { return };
        if self.is_revoked(picked.0) {
            // What stands is asked for more often.
            picked = self.chance.pick(&self.tokens).unwrap_or(picked);
        }
        let (token, owner) = picked;
        let by = if self.chance.often(150) { None } else { self.somewhere() };
        match self.chance.below(1_000) {
            0..5 => self.create(),
            10..45 => self.operate(Change::Revoke { token }, by),
            45..60 => {
                let blocked = !self.database.holds(Change::Block { owner, blocked: true }) || self.chance.often(200);
                self.operate(Change::Block { owner, blocked }, by);
            }
            _ => {
                let Some(node) = self.somewhere() else { return };
                self.after(0, Event::Check(node, token));
            }
        }
        // What is revoked makes room after a while.
        if let Some(old) = self.tokens.iter().position(|(token, _)| self.is_revoked(*token))
            && self.chance.often(100)
        {
            self.tokens.remove(old);
        }
    }

    pub(super) fn is_revoked(&self, token: u64) -> bool {
        self.database.holds(Change::Revoke { token })
    }

    pub(super) fn create(&mut self) {
        self.next_token += 1;
        let (token, owner) = (self.next_token, self.chance.below(OWNERS));
        let by = self.somewhere();
        let import = self.chance.often(300);
        if import {
            // Somebody knows it before it exists.
            self.ask_everywhere(token);
        }
        let change = if import { Change::Import { token, owner } } else { Change::Create { token, owner } };
        self.operate(change, by);
        self.owners.insert(token, owner);
        if import {
            self.tokens.push((token, owner));
        }
    }

    /// Without the steps that it takes.
    pub(super) fn create_at_once(&mut self) -> u64 {
        self.next_token += 1;
        self.count += 1;
        let (token, owner, id) = (self.next_token, self.chance.below(OWNERS), self.count);
        self.database.create(token, owner);
        self.owners.insert(token, owner);
        self.tokens.push((token, owner));
        self.history.begin(id, Subject::Token(token), true, self.now);
        self.history.acknowledge(id, self.now);
        token
    }

    /// The moment after: what begins at the very moment of an acknowledgement did not begin after it.
    pub(super) fn ask_everywhere(&mut self, token: u64) {
        for n in self.alive() {
            self.after(1, Event::Check(n, token));
        }
    }

    pub(super) fn check(&mut self, n: usize, token: u64) {
        let Some(value) = self.database.secret(token) else { return };
        self.count += 1;
        let (id, auth) = (self.count, self.nodes[n].auth.clone());
        let judged = Box::pin(async move {
            let head = http_head(&value);
            let judged = auth.judge(&Shown::in_head(&head, None), &Demand::PLAIN, START).await;
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
    pub(super) fn poll(&mut self, n: usize, only: Option<u64>) {
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
            let owner = self.owners.get(&token).copied();
            if let (Ok(accepted), Some(owner), false) = (outcome, owner, self.nodes[n].lost) {
                let check = Check { token, owner, node: n, started, ended: self.now, accepted };
                if let Err(what) = self.history.judge(check) {
                    self.found = Some(what);
                }
            }
        }
        let asked = std::mem::take(&mut *self.nodes[n].desk.0.lock().expect("no panic"));
        for (question, slot) in asked {
            self.count += 1;
            let id = self.count;
            self.nodes[n].asked.insert(id, Asked { question, slot, answer: None });
            let way = self.way();
            self.after(way, Event::LookUp(n, id));
        }
    }

    pub(super) fn look_up(&mut self, n: usize, id: u64) {
        let way = if self.late_until > self.now {
            self.chance.between(80 * MILLI, 300 * MILLI)
        } else if self.weather.theme == Theme::LateAnswers && self.chance.often(400) {
            self.chance.between(10 * MILLI, 150 * MILLI)
        } else {
            self.way()
        };
        let (cut, replica) = (self.cut(n), self.is(Mutant::ReplicaLookup));
        let Some(asked) = self.nodes[n].asked.get_mut(&id) else { return };
        asked.answer = Some(if cut { Err(Unavailable) } else { self.database.answer(asked.question, replica) });
        self.after(way, Event::Found(n, id));
    }

    pub(super) fn answered(&mut self, n: usize, id: u64) {
        let Some(asked) = self.nodes[n].asked.remove(&id) else { return };
        *asked.slot.lock().expect("no panic") = asked.answer;
        self.poll(n, None);
        // Whoever joined is told by the one who led.
        self.poll(n, None);
    }
}

pub fn http_head(token: &str) -> axum::http::request::Parts {
    let request = axum::http::Request::get("/").header("private-token", token).body(());
    request.expect("a request").into_parts().0
}

//! What goes wrong by plan: a drill arranges a rare moment, roughly, and randomness does the rest.

use super::weather::Theme;
use super::{Event, MILLI, SECOND, SimulatedNetwork};
use crate::simulation::model::Change;

#[derive(Clone, Copy, Debug)]
pub(super) enum Plan {
    Stop(usize, u64),
    /// This one, or any that stands.
    Revoke(Option<u64>),
    /// Its COMMIT takes that long.
    RevokeSlowly(u64, u64),
    Ask(u64),
    /// Answers to look-ups that are made within that time come late.
    LateAnswers(u64),
    /// What nodes say takes its time.
    Mute,
    /// Wake-ups of everybody are lost for so long.
    Deaf(u64),
    Leave(usize),
    Copy,
    /// The last copy comes back; then somebody revokes this one, or several.
    Restore(Option<u64>),
}

impl SimulatedNetwork {
    fn plan(&mut self, millis: u64, plan: Plan) {
        self.after(millis * MILLI, Event::Planned(plan));
    }

    pub(super) fn go_by(&mut self, plan: Plan) {
        match plan {
            Plan::Stop(n, span) => self.nodes[n].stopped_until = self.now + span,
            Plan::Revoke(None) => self.revoke_any(),
            Plan::Revoke(Some(token)) => {
                let by = self.mostly_nobody();
                self.operate(Change::Revoke { token }, by);
            }
            Plan::RevokeSlowly(token, span) => {
                let by = self.mostly_nobody();
                self.operate_slowly(Change::Revoke { token }, by, Some(span));
            }
            Plan::Ask(token) => self.ask_everywhere(token),
            Plan::LateAnswers(span) => self.late_until = self.now + span,
            Plan::Mute => {
                for n in self.alive() {
                    self.nodes[n].mute = (self.now + 80 * MILLI, 150 * MILLI);
                }
            }
            Plan::Deaf(span) => {
                for n in self.alive() {
                    self.nodes[n].deaf_until = self.now + span;
                }
            }
            Plan::Leave(n) if self.nodes[n].alive && !self.nodes[n].is_leaving() => self.leave(n),
            Plan::Leave(_) => {}
            Plan::Copy => self.copy(),
            Plan::Restore(token) => self.restore(token),
        }
    }

    pub(super) fn drill(&mut self, season: u64) {
        let theme = self.weather.theme;
        if season != self.season || !theme.is_drill() {
            return;
        }
        // Of those that are revoked, one or two stay to be asked for.
        while let Some(old) = self.tokens.iter().skip(2).position(|(token, _)| self.is_revoked(*token)) {
            self.tokens.remove(old + 2);
        }
        while self.tokens.len() < 8 {
            self.create_at_once();
        }
        for (token, _) in self.tokens.clone() {
            self.ask_everywhere(token);
        }
        let pause = match theme {
            Theme::LateAnswers => self.late_answers(),
            Theme::Pairs => self.pairs(),
            Theme::LateReply => self.late_reply(),
            Theme::Joins => self.joins(),
            Theme::Laggard => self.laggard(),
            Theme::Comeback => self.comeback(),
            Theme::Restore => self.restores(),
            Theme::Rewind => self.rewind(),
            Theme::LateWord => self.late_word(),
            Theme::Calm | Theme::Mixed | Theme::Stops | Theme::Crashes | Theme::Cuts => return,
        };
        self.after(pause, Event::Drill(season));
    }

    fn late_answers(&mut self) -> u64 {
        self.create();
        100 * MILLI
    }

    /// The second is committed, and read, before the first: W2 forbids it.
    fn pairs(&mut self) -> u64 {
        let (first, second) = (self.create_at_once(), self.create_at_once());
        self.ask_everywhere(first);
        self.ask_everywhere(second);
        let slowly = self.randomness.between(8 * MILLI, 60 * MILLI);
        self.plan(30, Plan::RevokeSlowly(first, slowly));
        self.plan(33, Plan::Revoke(Some(second)));
        // The first must not be remembered again while it is not committed.
        self.plan(38, Plan::Ask(first));
        150 * MILLI
    }

    /// What it read says nothing of the revocation, and its lease must not count from when it heard that.
    fn late_reply(&mut self) -> u64 {
        let Some(n) = self.somewhere() else { return SECOND };
        let late = self.randomness.between(900 * MILLI, 1_300 * MILLI);
        self.nodes[n].late_reply = Some(late);
        5 * SECOND
    }

    /// It has just read; see [`Self::late_reply`].
    pub(super) fn read_before(&mut self, n: usize, late: u64) {
        let soon = self.randomness.between(1, 20);
        self.plan(soon, Plan::Revoke(None));
        let stop = self.randomness.between(2_600 * MILLI, 2_900 * MILLI);
        self.after(late + MILLI, Event::Planned(Plan::Stop(n, stop.saturating_sub(late))));
    }

    /// Somebody new has hardly learned anything when it is revoked, and somebody leaves just before a revocation.
    fn joins(&mut self) -> u64 {
        let status: Vec<usize> = self.alive().into_iter().filter(|n| !self.nodes[*n].is_leaving()).collect();
        self.start();
        let new = self.nodes.len() - 1;
        self.nodes[new].deaf_until = self.now + 400 * MILLI;
        let soon = self.randomness.between(5, 30);
        for (token, _) in self.tokens.clone() {
            self.plan(soon, Plan::Ask(token));
        }
        let then = soon + self.randomness.between(5, 30);
        self.plan(then, Plan::Revoke(None));
        if let Some(old) = self.randomness.pick(&status).filter(|_| status.len() > 1) {
            let late = self.randomness.between(450, 600);
            self.plan(late, Plan::Leave(old));
            let then = late + self.randomness.between(1, 20);
            self.plan(then, Plan::Revoke(None));
        }
        SECOND
    }

    fn laggard(&mut self) -> u64 {
        let Some(n) = self.somewhere() else { return SECOND };
        let most = if self.randomness.often(300) { 6_500 } else { 2_900 };
        let stop = self.randomness.between(2_200 * MILLI, most * MILLI);
        self.nodes[n].slow_until = self.now + 9 * SECOND;
        let at = self.randomness.between(1, 1_000);
        self.plan(at, Plan::Stop(n, stop));
        for _ in 0..2 {
            let later = self.randomness.below(500);
            self.plan(at + later, Plan::Revoke(None));
        }
        9 * SECOND
    }

    /// It stands still until the first revocation has marked it; how much longer, the second decides.
    fn comeback(&mut self) -> u64 {
        let Some(n) = self.somewhere() else { return SECOND };
        let at = self.randomness.between(40, 300);
        self.plan(at, Plan::Stop(n, 3_600 * MILLI));
        let first = at + self.randomness.below(300);
        self.plan(first, Plan::Revoke(None));
        if self.randomness.often(500) {
            let second = first + self.randomness.between(1, 150);
            self.plan(second, Plan::Revoke(None));
        }
        8 * SECOND
    }

    fn restores(&mut self) -> u64 {
        self.copy();
        for _ in 0..1 + self.randomness.below(3) {
            let soon = self.randomness.between(1, 40);
            self.plan(soon, Plan::Revoke(None));
        }
        for n in self.alive() {
            self.nodes[n].slow_until = self.now + 100 * MILLI;
        }
        let back = self.randomness.between(1, 60);
        self.plan(back, Plan::Restore(None));
        SECOND
    }

    /// A look-up of the old history comes back when the new one has the same number again.
    fn rewind(&mut self) -> u64 {
        let (victim, token) = (self.create_at_once(), self.create_at_once());
        self.plan(1, Plan::Copy);
        self.plan(2, Plan::Revoke(Some(victim)));
        let asked = self.randomness.between(25, 35);
        self.plan(asked, Plan::LateAnswers(10 * MILLI));
        self.plan(asked, Plan::Ask(token));
        let back = asked + self.randomness.between(8, 25);
        self.plan(back, Plan::Restore(Some(token)));
        self.plan(400, Plan::Ask(token));
        500 * MILLI
    }

    /// Somebody says a number of the old history when the new one has come just as far.
    fn late_word(&mut self) -> u64 {
        let (victim, token) = (self.create_at_once(), self.create_at_once());
        self.ask_everywhere(token);
        self.plan(30, Plan::Copy);
        self.plan(31, Plan::Mute);
        self.plan(32, Plan::Revoke(Some(victim)));
        let back = self.randomness.between(40, 60);
        self.plan(back, Plan::Deaf(300 * MILLI));
        self.plan(back, Plan::Restore(Some(token)));
        700 * MILLI
    }

    /// The database comes back as it was a while ago; what was under way is gone.
    pub(super) fn restore(&mut self, then: Option<u64>) {
        let recent = then.is_some() || self.randomness.often(700);
        let Some(memory) = self.database.as_memory() else { return };
        // Not long ago, as a rule.
        let back = if recent { 1 } else { 1 + self.randomness.below(memory.copies.len() as u64) as usize };
        let Some(pick) = memory.copies.len().checked_sub(back) else { return };
        let (at, truth) = memory.copies[pick].clone();
        memory.copies.truncate(pick);
        let before = std::mem::replace(&mut memory.truth, truth);
        for node in &mut self.nodes {
            node.lost |= node.process.real.own().is_some_and(|own| before.has_row(own) && !memory.truth.has_row(own));
        }
        memory.sequence = 0;
        memory.head = None;
        memory.waiting_for_head.clear();
        self.history.restored(at);
        self.forsake_all();
        // Numbers are used again at once.
        if let Some(token) = then {
            let by = self.mostly_nobody();
            return self.operate(Change::Revoke { token }, by);
        }
        for (token, _) in self.tokens.clone() {
            if self.randomness.often(400) {
                let by = self.somewhere();
                self.operate(Change::Revoke { token }, by);
            }
        }
    }
}

//! What people do, and what becomes of their requests: the authenticator of a node asks, the scheduler answers.

use std::pin::Pin;
use std::sync::Weak;

use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_domain::access_requirement::{AccessRequirement, JobTokens};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use super::requests::{About, Outcome, Question, Slot, Told};
use super::weather::Theme;
use super::{Event, MILLI, OWNERS, SimulatedNetwork};
use crate::simulation::history::{Check, Subject};
use crate::simulation::model::{Change, Narrow, PATH};
use crate::test_server::START;

impl SimulatedNetwork {
    pub(super) fn client(&mut self) {
        // Where something goes wrong by plan, the steps are for that.
        let pause = match self.weather.theme {
            Theme::Laggard | Theme::Comeback | Theme::LateReply => self.randomness.between(40 * MILLI, 250 * MILLI),
            theme if theme.is_drill() => self.randomness.between(2 * MILLI, 40 * MILLI),
            _ => self.randomness.between(MILLI / 2, 12 * MILLI),
        };
        self.after(pause, Event::Client);
        if self.tokens.len() < 5 && (self.tokens.is_empty() || self.randomness.often(300)) {
            return self.create();
        }
        let Some(mut picked) = self.randomness.pick(&self.tokens) else { return };
        if self.is_revoked(picked.0) {
            // What stands is asked for more often.
            picked = self.randomness.pick(&self.tokens).unwrap_or(picked);
        }
        let (token, owner) = picked;
        let by = if self.randomness.often(150) { None } else { self.somewhere() };
        match self.randomness.below(1_000) {
            0..5 => self.create(),
            10..45 => self.operate(Change::Revoke { token }, by),
            60..75 => self.change_client(by),
            166..190 => self.change_narrow(by),
            75..90 => {
                let member = !self.database.holds(Change::Member { owner, member: true });
                self.operate(Change::Member { owner, member }, by);
            }
            90..160 => self.check_something_else(owner),
            163..166 => self.operate(Change::RevokeAll { owner }, by),
            160..163 => {
                let away = !self.database.holds(Change::Move { away: true });
                self.operate(Change::Move { away }, by);
            }
            45..60 => {
                let blocked =
                    !self.database.holds(Change::Block { owner, blocked: true }) || self.randomness.often(200);
                self.operate(Change::Block { owner, blocked }, by);
            }
            _ => {
                let Some(node) = self.somewhere() else { return };
                self.after(0, Event::Check(node, About::Token(token)));
            }
        }
        // What is revoked makes room after a while.
        if let Some(old) = self.tokens.iter().position(|(token, _)| self.is_revoked(*token))
            && self.randomness.often(100)
        {
            self.tokens.remove(old);
        }
    }

    pub(super) fn is_revoked(&self, token: u64) -> bool {
        self.database.holds(Change::Revoke { token })
    }

    pub(super) fn create(&mut self) {
        self.next_token += 1;
        let (token, owner) = (self.next_token, self.randomness.below(OWNERS));
        let by = self.somewhere();
        let import = self.randomness.often(300);
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
        let (token, owner, id) = (self.next_token, self.randomness.below(OWNERS), self.count);
        self.database.create(token, owner);
        self.owners.insert(token, owner);
        self.tokens.push((token, owner));
        self.history.begin(id, Subject::Token(token), true, self.now);
        self.history.acknowledge(id, self.now);
        token
    }

    /// The moment after: what begins at the very moment of an acknowledgement did not begin after it.
    pub(super) fn ask_everywhere(&mut self, token: u64) {
        self.ask_everybody(About::Token(token));
    }

    pub(super) fn ask_everybody(&mut self, about: About) {
        for n in self.alive() {
            self.after(1, Event::Check(n, about));
        }
    }

    pub(super) fn check(&mut self, n: usize, asked: About) {
        let (auth, started, id) = (self.nodes[n].auth.clone(), self.now, self.count + 1);
        let mut task: Pin<Box<dyn Future<Output = Result<bool, Denial>>>> = match asked {
            About::Token(token) => {
                let Some(value) = self.database.secret(token) else { return };
                Box::pin(async move {
                    let head = http_head(&value, "private-token");
                    match auth
                        .authenticate(&PresentedCredentials::in_head(&head, None), &AccessRequirement::PLAIN, START)
                        .await
                    {
                        Ok(who) => Ok(who.is_some()),
                        Err(Denial::Unavailable) => Err(Denial::Unavailable),
                        Err(_) => Ok(false),
                    }
                })
            }
            About::Narrow(kind, token) => {
                let Some(value) = self.database.narrow_secret(token) else { return };
                Box::pin(async move {
                    let head = http_head(
                        &value,
                        match kind {
                            Narrow::Deploy => "deploy-token",
                            Narrow::Job => "job-token",
                        },
                    );
                    let presented = PresentedCredentials::in_head(&head, None);
                    match auth.authorize_relayed(&presented, &NARROW, START).await {
                        Ok(who) => Ok(who.is_some()),
                        Err(Denial::Unavailable) => Err(Denial::Unavailable),
                        Err(_) => Ok(false),
                    }
                })
            }
            About::Secret { client, secret } => {
                let Some((client_id, secret)) = self.database.credentials(client, secret) else { return };
                Box::pin(async move {
                    let known = auth.application(&client_id, None).await?;
                    Ok(known.is_some_and(|known| known.secret_digest.is_of(secret.as_bytes())))
                })
            }
            About::Scope { client, secret } => {
                let Some((client_id, _)) = self.database.credentials(client, secret) else { return };
                Box::pin(async move {
                    let known = auth.application(&client_id, None).await?;
                    Ok(known.is_some_and(|known| known.scopes.contains(Scope::Api)))
                })
            }
            About::Member { owner, by_all } => {
                let (user, group) = self.database.membership(owner);
                Box::pin(async move {
                    if by_all {
                        let all = auth.user_memberships(user, None, START).await?;
                        return Ok(all.groups.iter().any(|row| row.id == group && &*row.full_path == PATH));
                    }
                    let held = auth.memberships(user, MembershipSource::Group(group), None, START).await?;
                    Ok(held.path.as_deref() == Some(PATH) && held.level(START).is_some())
                })
            }
        };
        self.count = id;
        self.nodes[n].process.tasks.start(id, async move {
            let accepted = task.as_mut().await;
            Outcome::CheckOrder { asked, started, accepted }
        });
        self.after(0, Event::GoOn(Some(n)));
    }

    pub(super) fn judged(&mut self, n: usize, asked: About, started: u64, accepted: &Result<bool, Denial>) {
        let subjects = match asked {
            About::Token(token) => {
                let Some(owner) = self.owners.get(&token) else { return };
                [Some(Subject::Token(token)), Some(Subject::Owner(*owner))]
            }
            About::Narrow(_, token) => [Some(Subject::Narrow(token)), None],
            About::Secret { client, secret } => [Some(Subject::Secret(client, secret)), None],
            About::Scope { client, .. } => [Some(Subject::Scope(client)), None],
            About::Member { owner, .. } => [Some(Subject::Member(owner)), Some(Subject::GroupPath)],
        };
        if let (Ok(accepted), false) = (accepted, self.nodes[n].lost) {
            let check = Check { subjects, node: n, started, ended: self.now, accepted: *accepted };
            if let Err(what) = self.history.judge(check) {
                self.found = Some(what);
            }
        }
    }

    pub(super) fn look_up(&mut self, n: usize, question: &Question, slot: Weak<Slot>) {
        let way = if self.late_until > self.now {
            self.randomness.between(80 * MILLI, 300 * MILLI)
        } else if self.weather.theme == Theme::LateAnswers && self.randomness.often(400) {
            self.randomness.between(10 * MILLI, 150 * MILLI)
        } else {
            self.way()
        };
        let cut = self.nodes[n].cut_until > self.now;
        let told = if cut { Told::Refused } else { self.database.answer(question, self.is(Mutant::ReplicaLookup)) };
        self.after(way, Event::Told(Some(n), slot, told));
    }
}

/// Where deploy and job tokens count.
const NARROW: AccessRequirement<'static> =
    AccessRequirement { deploy_tokens: DeployScope::ALL, job_tokens: JobTokens::Request, ..AccessRequirement::PLAIN };

pub fn http_head(token: &str, header: &'static str) -> axum::http::request::Parts {
    let request = axum::http::Request::get("/").header(header, token).body(());
    request.expect("a request").into_parts().0
}

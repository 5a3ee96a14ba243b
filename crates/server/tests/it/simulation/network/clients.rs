//! Clients and members: what else is remembered, and asked about.

use super::requests::About;
use super::{OWNERS, SimulatedNetwork};
use crate::simulation::model::{Change, Narrow};

impl SimulatedNetwork {
    /// Somebody makes a client, gives one a new secret, or deletes one.
    pub(super) fn change_client(&mut self, by: Option<usize>) {
        let old = self.randomness.below(3) as usize;
        if old >= self.clients.len() {
            self.next_token += 2;
            let (client, secret) = (self.next_token - 1, self.next_token);
            // Somebody knows its `client_id` before it exists.
            self.ask_everybody(About::Secret { client, secret });
            return self.operate(Change::CreateClient { client, secret }, by);
        }
        let (client, old) = self.clients.remove(old);
        if self.randomness.often(300) {
            return self.operate(Change::DeleteClient { client, secret: old }, by);
        }
        if self.randomness.often(300) {
            self.clients.push((client, old));
            return self.operate(Change::NarrowClient { client, secret: old }, by);
        }
        self.next_token += 1;
        self.operate(Change::RenewSecret { client, old, secret: self.next_token }, by);
    }

    /// Somebody makes a deploy or a job token, or revokes one.
    pub(super) fn change_narrow(&mut self, by: Option<usize>) {
        let old = self.randomness.below(3) as usize;
        if old >= self.narrow.len() {
            self.next_token += 1;
            let kind = if self.randomness.often(500) { Narrow::Deploy } else { Narrow::Job };
            return self.operate(Change::CreateNarrow { kind, token: self.next_token }, by);
        }
        let (kind, token) = self.narrow.remove(old);
        self.operate(Change::RevokeNarrow { kind, token }, by);
    }

    /// Whether a client has its secret, or an owner is a member.
    pub(super) fn check_something_else(&mut self, owner: u64) {
        let narrow = if self.randomness.often(300) { self.randomness.pick(&self.narrow) } else { None };
        let about = match self.randomness.pick(&self.clients) {
            _ if narrow.is_some() => narrow.map(|(kind, token)| About::Narrow(kind, token)).expect("one"),
            Some((client, secret)) if self.randomness.often(600) => match self.randomness.often(300) {
                true => About::Scope { client, secret },
                false => About::Secret { client, secret },
            },
            _ => About::Member { owner, by_all: self.randomness.often(500) },
        };
        let Some(node) = self.somewhere() else { return };
        self.after(0, super::Event::Check(node, about));
    }

    /// Everybody asks at once whether it holds.
    pub(super) fn ask_whether_it_holds(&mut self, change: Change) {
        match change {
            Change::CreateClient { client, secret } => {
                self.clients.push((client, secret));
                self.ask_everybody(About::Secret { client, secret });
                self.ask_everybody(About::Scope { client, secret });
            }
            Change::CreateNarrow { kind, token } => {
                self.narrow.push((kind, token));
                self.ask_everybody(About::Narrow(kind, token));
            }
            Change::RevokeNarrow { kind, token } => self.ask_everybody(About::Narrow(kind, token)),
            Change::NarrowClient { client, secret } => self.ask_everybody(About::Scope { client, secret }),
            Change::RenewSecret { client, old, secret } => {
                self.clients.push((client, secret));
                for secret in [old, secret] {
                    self.ask_everybody(About::Secret { client, secret });
                }
            }
            Change::DeleteClient { client, secret } => self.ask_everybody(About::Secret { client, secret }),
            Change::Member { owner, .. } => {
                for by_all in [false, true] {
                    self.ask_everybody(About::Member { owner, by_all });
                }
            }
            Change::Move { .. } => {
                for (owner, by_all) in (0..OWNERS).flat_map(|owner| [(owner, false), (owner, true)]) {
                    self.ask_everybody(About::Member { owner, by_all });
                }
            }
            _ => {}
        }
    }
}

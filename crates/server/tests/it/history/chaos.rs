//! What goes wrong meanwhile: one thing after the other, each with one server.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::load::{Taking, WAYS};
use super::relay::Weather;
use super::run::{HistoryRun, join};
use super::wire::Line;
use crate::process::Process;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// SIGSTOP for longer than any wait, with requests queued at its end.
    Stopped,
    /// SIGSTOP for less than a lease, and every change is asked for twice: the first time somebody goes away.
    Dozing,
    /// SIGKILL, and started again.
    Killed,
    /// SIGTERM, and started again.
    Ended,
    /// Two more servers, started and killed.
    Visited,
    /// Somebody else holds the one writer of SQLite.
    Locked,
    /// Its connections to the database break, and no new one comes through.
    Cut,
    /// Nothing comes through, and then everything.
    Held,
    /// Everything comes late.
    Slow,
    /// What wakes it is lost: notifications, or the number of the file.
    Deaf,
}

impl Fault {
    pub fn all(postgres: bool) -> Vec<Self> {
        let everywhere = [Self::Stopped, Self::Dozing, Self::Killed, Self::Ended, Self::Visited, Self::Deaf];
        let here: &[Self] = if postgres { &[Self::Cut, Self::Held, Self::Slow] } else { &[Self::Locked] };
        [&everywhere, here].concat()
    }
}

/// How a server is stopped while rights are taken elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Ambush {
    /// At least,
    pub least: Duration,
    /// and for so long at most it stays stopped until everything was acknowledged.
    pub most: Duration,
    /// Whoever takes a right goes away after a moment and asks again elsewhere.
    pub repeats: bool,
}

impl Ambush {
    pub const LONG: Self =
        Self { least: Duration::from_millis(2_600), most: Duration::from_millis(6_000), repeats: false };

    pub const SHORT: Self = Self { least: Duration::from_millis(300), most: Duration::from_millis(900), repeats: true };
}

impl HistoryRun {
    /// Every fault once, or until it is over, in random order.
    pub async fn chaos(&self, mut deck: Vec<Fault>, again: bool) {
        let postgres = self.command.db.is_postgres();
        while !self.over.get() {
            if deck.is_empty() && again {
                deck = Fault::all(postgres);
            }
            if deck.is_empty() {
                return;
            }
            let fault = deck.swap_remove(self.throw(deck.len()));
            let well: Vec<usize> = (0..self.servers.len()).filter(|node| !self.servers[*node].sick.get()).collect();
            let Some(node) = self.one_of(&well) else { continue };
            self.servers[*node].sick.set(true);
            self.fault(fault, *node).await;
            self.servers[*node].sick.set(false);
            self.count(format!("fault: {fault:?}"));
            sleep(self.between(300, 1_200)).await;
        }
    }

    async fn fault(&self, fault: Fault, node: usize) {
        let server = &self.servers[node];
        let weather = async |weather, least, most| {
            let Some(relay) = &server.relay else { return };
            relay.set(weather);
            sleep(self.between(least, most)).await;
            relay.set(Weather::Fair);
        };
        match fault {
            Fault::Stopped => self.ambush(node, Ambush::LONG).await,
            Fault::Dozing => self.ambush(node, Ambush::SHORT).await,
            Fault::Killed => {
                self.kill(node).await;
                sleep(self.between(0, 1_500)).await;
                self.start(server, &[]).await;
            }
            Fault::Ended => {
                let process = server.process.borrow_mut().take();
                self.note_panics(node, process.as_ref());
                if let Some(process) = process
                    && process.terminate().await != Some(0)
                {
                    self.found_that(format!("node {node} did not end in order"));
                }
                self.start(server, &[]).await;
            }
            Fault::Visited => {
                let url = &self.server.database_url;
                let visitors = join_all((0..2).map(|_| Process::start(self.serve(url)))).await;
                sleep(self.between(0, 800)).await;
                for visitor in visitors {
                    visitor.kill().await;
                }
            }
            Fault::Locked => {
                let db = join(&self.server).await;
                let held = db.begin().await;
                sleep(self.between(200, 2_500)).await;
                drop(held);
                db.close().await;
            }
            Fault::Cut => weather(Weather::Cut, 300, 3_500).await,
            Fault::Held => weather(Weather::Held, 300, 3_500).await,
            Fault::Slow => weather(Weather::Slow(self.between(20, 400)), 800, 2_000).await,
            Fault::Deaf if self.command.db.is_postgres() => weather(Weather::Deaf, 600, 2_000).await,
            // Nobody can take it away from outside, so it is deaf from birth.
            Fault::Deaf => {
                self.kill(node).await;
                self.start(server, &[("TOLLHOUSE_FAULT", "deaf,repeat_is_reuse")]).await;
                sleep(self.between(600, 2_000)).await;
                self.kill(node).await;
                self.start(server, &[]).await;
            }
        }
    }

    async fn kill(&self, node: usize) {
        let process = self.servers[node].process.borrow_mut().take();
        self.note_panics(node, process.as_ref());
        if let Some(process) = process {
            process.kill().await;
        }
    }

    /// One server remembers some credentials and is stopped. The rights are taken elsewhere; then the stopped server is
    /// asked once more with each of them, over connections that it had accepted before, and goes on.
    pub async fn ambush(&self, node: usize, how: Ambush) {
        let owner = |n: usize| &self.owners[n % self.owners.len()];
        // Whoever is blocked has nothing else here.
        let made = WAYS.iter().map(async |(kind, taking)| {
            let n = if *taking == Taking::Block { 0 } else { 1 + self.throw(self.owners.len() - 1) };
            let family = self.make(*kind, owner(n)).await?;
            let held = family.newest();
            let mut line = Line::default();
            self.check(&mut line, node, &family, &held).await;
            Some((family, held, *taking, line))
        });
        let mut made: Vec<_> = join_all(made).await.into_iter().flatten().collect();
        let signal = |signal| self.servers[node].process.borrow().iter().for_each(|process| process.signal(signal));
        self.servers[node].stopped.set(true);
        signal("-STOP");
        let stopped = Instant::now();
        let elsewhere = || (node + 1 + self.throw(self.servers.len() - 1)) % self.servers.len();
        let taken: Vec<_> = made
            .iter()
            .map(|(family, _, taking, _)| {
                let (family, taking, first, second) = (family.clone(), *taking, elsewhere(), elsewhere());
                async move {
                    if how.repeats {
                        self.take(&family, taking, first, Some(Duration::from_millis(120))).await;
                    }
                    let again = if how.repeats && taking == Taking::Replay { Taking::Itself } else { taking };
                    self.take(&family, again, second, None).await
                }
            })
            .collect();
        let mut taken = Box::pin(join_all(taken));
        let all = timeout(how.most, &mut taken).await;
        sleep_until(stopped + how.least).await;
        let late = async {
            let all = made.iter_mut().map(|(family, held, _, line)| self.check(line, node, family, held));
            let answered = join_all(all).await.into_iter().filter(|answered| *answered).count();
            (0..answered).for_each(|_| self.count("ambush: asked the moment it woke"));
        };
        let go_on = async {
            // Until they lie in its sockets.
            sleep(Duration::from_millis(20)).await;
            signal("-CONT");
            self.servers[node].stopped.set(false);
        };
        tokio::join!(late, go_on);
        if all.is_err() {
            taken.await;
        }
        for (family, _, taking, _) in &made {
            if *taking == Taking::Block {
                while !self.set_blocked(&family.owner, false, None).await {}
            }
        }
    }

    pub fn note_panics(&self, node: usize, process: Option<&Process>) {
        for panic in process.iter().flat_map(|process| process.panics()) {
            self.found_that(format!("node {node}: {panic}"));
        }
    }
}

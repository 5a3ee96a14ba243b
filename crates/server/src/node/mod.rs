//! This process as one of many on a database (`docs/protocols/revocation.md`): it follows the log of what became untrue,
//! and waits for the others before something of its own is acknowledged. What to do next is decided by the machines of
//! [`tollhouse_domain::agreement`]; here it is done, with what is in its [`NodeEnvironment`].
//!
//! No `select!` here picks a branch at random: the simulation has to go the same way twice.

mod environment;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join3;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tollhouse_auth::credential_cache::CredentialCache;
#[cfg(feature = "faults")]
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::follower::{Ask, Do, Follower};
use tollhouse_domain::agreement::wait::{Step, Wait};
use tollhouse_domain::agreement::{BLIND_POLL, Behind, NodeId, PATIENCE, POLL, REST, Tick};
use tollhouse_domain::broken;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutants;
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_store::error::{Error as StoreError, Result};
use tollhouse_store::tx::Until;

pub use environment::{NodeEnvironment, Shared};

/// Keeps this process in step with the others on the database: it follows the log, renews the lease of the cache, and
/// waits for the others after a revocation (docs/protocols/revocation.md).
pub struct Node<A: NodeEnvironment = Shared> {
    environment: A,
    cache: Arc<CredentialCache>,
    /// Something may have been written.
    wake: Notify,
    /// When the last round began that was applied whole. Nobody follows: [`Tick::MAX`], there is nothing to wait for.
    applied: watch::Sender<Tick>,
    /// The row of this process; `None`: it remembers nothing (N2).
    own: Mutex<Option<NodeId>>,
    /// Words of the database reach us.
    heard: AtomicBool,
    /// Mistakes that are switched on, for the simulation and tests of the protocol.
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
}

impl<A: NodeEnvironment> Node<A> {
    /// Nothing follows the log yet; see [`Node::follow`].
    pub fn new(environment: A, cache: Arc<CredentialCache>) -> Self {
        Self {
            #[cfg(feature = "faults")]
            mutants: cache.mutants.clone(),
            environment,
            cache,
            wake: Notify::new(),
            applied: watch::Sender::new(Tick::MAX),
            own: Mutex::new(None),
            heard: AtomicBool::new(false),
        }
    }

    /// How long ago the last round began that was applied whole: nothing that was committed before it is unknown here.
    /// `None`: nobody follows the log.
    pub fn lag(&self) -> Option<Duration> {
        Some(*self.applied.borrow()).filter(|began| *began != Tick::MAX).map(|began| self.environment.now() - began)
    }

    /// The row of this process, while it has one.
    pub fn own(&self) -> Option<NodeId> {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when no node can accept what was revoked (W3, W4). `untrue`: the entries of the change, if they are
    /// known; this node applies them at once and does not wait until it has read them. `replied`: the time after the
    /// commit's reply.
    pub async fn acknowledge(&self, until: Until, untrue: Option<&[Invalidation]>, replied: Tick) -> bool {
        let mut position = match until {
            Until::Nowhere => return true,
            Until::Entry(position) => Some(position),
            Until::Newest if broken!(self, RepeatWithoutWait) => return true,
            Until::Newest => None,
        };
        #[cfg(feature = "faults")]
        let _kept = if broken!(self, ConnectionKept) { self.environment.hold().await } else { None };
        if let Some(untrue) = untrue {
            self.cache.invalidate(untrue);
        }
        self.wake.notify_one();
        let mut wait = Wait::new(replied);
        #[cfg(feature = "faults")]
        {
            wait.mutants = self.mutants.clone();
        }
        let mut applied = self.applied.subscribe();
        loop {
            let step = match self.look(&mut position).await {
                Ok(behind) => {
                    let read = *applied.borrow_and_update();
                    let own = if untrue.is_some() { Tick::MAX } else { read };
                    wait.looked(self.environment.now(), &behind, own)
                }
                Err(_) => wait.failed(self.environment.now()),
            };
            match step {
                Step::Done => return true,
                Step::GiveUp { remove, mark } => {
                    tracing::warn!(
                        servers = remove.len() + mark.len(),
                        "not all servers answered in time; those that did not no longer use their caches"
                    );
                    let position = position.unwrap_or(i64::MAX);
                    // Without it the next one waits as long; nothing else changes.
                    let _ = self.within(PATIENCE, self.environment.give_up_on(&remove, &mark, position)).await;
                    return false;
                }
                // Our own rounds say nothing of the others.
                Step::Pause(span) if *applied.borrow() > replied => self.environment.sleep(span).await,
                Step::Pause(span) => {
                    let sleep = self.environment.sleep(span);
                    tokio::select! {
                        biased;
                        _ = applied.changed() => {}
                        () = sleep => {}
                    }
                }
            }
        }
    }

    /// The rows of others that are behind. Which entry is the newest is read once, with the first look.
    async fn look(&self, position: &mut Option<i64>) -> Result<Vec<Behind>> {
        let (newest, behind) = self.within(PATIENCE, self.environment.behind(self.own(), *position)).await?;
        *position = Some(newest);
        Ok(behind)
    }

    /// Too late is no answer.
    async fn within<T>(&self, span: Duration, asked: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            answer = asked => answer,
            () = self.environment.sleep(span) => Err(StoreError::late()),
        }
    }

    /// What became of a commit is not known here; the log knows.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Follows the log until `stop`. When this returns the cache answers nothing any more, and the row is gone. What
    /// remembers nothing has nothing to follow (N2). Fails if there is no database any more to follow.
    pub async fn follow(self: Arc<Self>, name: String, stop: CancellationToken) -> Result<()> {
        if !self.cache.remembers() {
            stop.cancelled().await;
            return Ok(());
        }
        self.applied.send_replace(Tick(0));
        // Boxed: what is to be carried about is large, and carried about once.
        let rounds = Box::pin(self.rounds(&name, &stop));
        let (lost, (), ()) = join3(rounds, Box::pin(self.listen(&stop)), Box::pin(self.greet(&stop))).await;
        lost
    }

    async fn rounds(&self, name: &str, stop: &CancellationToken) -> Result<()> {
        let mut follower = Follower::new(self.environment.fresh());
        #[cfg(feature = "faults")]
        {
            follower.mutants = self.mutants.clone();
        }
        let (mut link, mut failures, mut lost) = (None, 0_u32, Ok(()));
        while !stop.is_cancelled() {
            let began = self.environment.now();
            // A step that is broken off leaves a connection of which nothing is known.
            let round = async {
                let mut linked = match link.take() {
                    Some((linked, _)) => linked,
                    None => self.environment.link().await?,
                };
                let version = self.round(&mut follower, &mut linked, name).await?;
                Ok::<_, StoreError>((linked, version))
            };
            link = match self.within(PATIENCE + PATIENCE, round).await {
                Ok(linked) => {
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!("the invalidation log can be read again");
                    }
                    Some(linked)
                }
                Err(error @ StoreError::Replaced) => {
                    lost = Err(error);
                    break;
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == 1 {
                        tracing::warn!(%error, "the invalidation log cannot be read; credentials are looked up in the database");
                    }
                    None
                }
            };
            let pause = async {
                self.pause(&mut link, failures).await;
                // Whoever is woken again and again rests as well.
                self.environment.sleep(REST.saturating_sub(self.environment.now() - began)).await;
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = pause => {}
            }
        }
        stop.cancel();
        #[cfg(feature = "faults")]
        if broken!(self, RowRemovedBeforeLease) {
            let _ = self.environment.leave(&follower.rows()).await;
            self.environment.sleep(PATIENCE / 8).await;
        }
        // In this order: whoever finds no row must find no memory (N1).
        self.cache.drop_lease();
        self.set_own(None);
        self.applied.send_replace(Tick::MAX);
        let left = self.within(PATIENCE, self.environment.leave(&follower.rows())).await;
        if left.is_err() {
            tracing::warn!("the row of this server could not be removed; the next revocations will wait for it");
        }
        lost
    }

    /// One round (F1 to F5), or the registration before it. The number of a SQLite file as it was before the read.
    async fn round(&self, follower: &mut Follower, link: &mut A::Link, name: &str) -> Result<Option<i64>> {
        let (from, node) = match follower.begin(self.environment.now(), || self.environment.fresh()) {
            Ask::Register { remove, insert } => {
                self.set_own(None);
                if !remove.is_empty() {
                    // Whoever loses its row again and again must not do nothing else.
                    self.environment.sleep(BLIND_POLL).await;
                }
                self.environment.register(&remove, insert, name).await?;
                follower.registered();
                self.set_own(Some(insert));
                self.wake.notify_one();
                return Ok(None);
            }
            Ask::Read { from, node } => (from, node),
        };
        let read =
            async { Ok((self.environment.version(link).await?, self.environment.read(link, from, node).await?)) };
        let (version, page) = self.within(PATIENCE, read).await?;
        #[cfg(feature = "faults")]
        if let (true, Some(last)) = (broken!(self, SeenBeforeApply), page.entries.last()) {
            self.environment.say(link, Say { node, place: last.place }).await?;
            self.environment.sleep(PATIENCE / 8).await;
        }
        let mut whole = false;
        for step in follower.read(page, self.environment.now()) {
            match step {
                Do::DropLease => {
                    self.cache.drop_lease();
                    self.wake.notify_one();
                }
                Do::ForgetEverything => self.cache.invalidate(&[Invalidation::All]),
                Do::Invalidation(words) => self.cache.invalidate(&words),
                Do::Lease(until) => {
                    self.cache.lease(until);
                    whole = true;
                }
            }
        }
        #[cfg(feature = "faults")]
        self.cache.position.store(follower.applied().map_or(0, |place| place.position), Ordering::SeqCst);
        if whole {
            self.applied.send_replace(follower.began());
        }
        if let Some(say) = follower.to_say() {
            match self.within(PATIENCE, self.environment.say(link, say)).await {
                Ok(()) => {
                    follower.said(say);
                    self.environment.sleep(REST).await;
                }
                // Another process was writing. Somebody may be waiting for it: the next round says it.
                Err(_) if !self.environment.is_postgres() => {
                    self.environment.sleep(REST).await;
                    self.wake.notify_one();
                }
                Err(error) => {
                    self.environment.sleep(BLIND_POLL).await;
                    self.wake.notify_one();
                    return Err(error);
                }
            }
        }
        Ok(version)
    }

    /// Until the next round (F6).
    async fn pause(&self, link: &mut Option<(A::Link, Option<i64>)>, failures: u32) {
        let poll = match self.environment.is_postgres() {
            // Connecting is dear for a database that has trouble anyway.
            _ if failures > 0 => (BLIND_POLL * 2_u32.saturating_pow(failures - 1)).min(POLL),
            true if !self.heard.load(Ordering::Relaxed) => BLIND_POLL,
            _ => POLL,
        };
        #[cfg(feature = "faults")]
        if self.environment.is_deaf() {
            return self.environment.sleep(poll).await;
        }
        tokio::select! {
            biased;
            () = self.wake.notified() => {}
            () = self.changed(link) => {}
            () = self.environment.sleep(poll) => {}
        }
    }

    /// On SQLite nobody tells us what other processes write, so the number of the file is looked at.
    async fn changed(&self, link: &mut Option<(A::Link, Option<i64>)>) {
        let Some((link, Some(before))) = link else { return std::future::pending().await };
        loop {
            self.environment.sleep(LOOK).await;
            if self.environment.version(link).await.ok().flatten() != Some(*before) {
                return;
            }
        }
    }

    /// Keeps an ear on PostgreSQL.
    async fn listen(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = self.environment.listen(&self.wake, || self.heard.store(true, Ordering::Relaxed)) => {}
            }
            if self.heard.swap(false, Ordering::Relaxed) {
                self.wake.notify_one();
                continue;
            }
            // Nothing came through: polling does without it, and a pooler will not go away by itself.
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.environment.sleep(DEAF) => {}
            }
        }
    }

    /// Rows of predecessors that crashed vanish before a person waits for them (N3).
    async fn greet(&self, stop: &CancellationToken) {
        let greeting = async {
            let mut told = 0;
            while told < 3 {
                match self.environment.announce().await {
                    Ok(until) if self.acknowledge(until, None, self.environment.now()).await => return,
                    Ok(_) => told += 1,
                    Err(error) => {
                        tracing::debug!(%error, "this server could not register itself yet");
                        self.environment.sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = greeting => {}
        }
    }

    fn set_own(&self, id: Option<NodeId>) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

/// How often a SQLite file is looked at; a look costs some microseconds.
const LOOK: Duration = Duration::from_millis(10);

/// After so long a listener that heard nothing tries again.
const DEAF: Duration = Duration::from_secs(30);

//! This process as one of many on a database (`docs/protocols/revocation.md`): it follows the log of what became untrue,
//! and waits for the others before something of its own is acknowledged. What to do next is decided by the machines of
//! [`tollhouse_domain::agreement`]; here it is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tollhouse_auth::ledger::Ledger;
use tollhouse_auth::uptime::Uptime;
#[cfg(feature = "faults")]
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::follower::{Ask, Do, Follower};
use tollhouse_domain::agreement::wait::{Step, Wait};
use tollhouse_domain::agreement::{BLIND_POLL, NodeId, PATIENCE, POLL, REST, Tick};
use tollhouse_domain::audit::By;
use tollhouse_domain::broken;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutants;
use tollhouse_domain::secret::random;
use tollhouse_domain::time::Clock;
use tollhouse_store::db::Db;
use tollhouse_store::error::{Error as StoreError, Result};
use tollhouse_store::log::{self, Link};
use tollhouse_store::nodes;
use tollhouse_store::tx::{Change, Until};

pub struct Node {
    db: Db,
    clock: Clock,
    uptime: Uptime,
    ledger: Arc<Ledger>,
    /// Something may have been written.
    wake: Notify,
    /// When the last round began that was applied whole. Nobody follows: [`Tick::MAX`], there is nothing to wait for.
    applied: watch::Sender<Tick>,
    /// The row of this process; `None`: it remembers nothing (N2).
    own: Mutex<Option<NodeId>>,
    /// Words of the database reach us.
    heard: AtomicBool,
    #[cfg(feature = "faults")]
    pub mutants: Mutants,
}

impl Node {
    pub fn new(db: Db, clock: Clock, uptime: Uptime, ledger: Arc<Ledger>) -> Self {
        Self {
            #[cfg(feature = "faults")]
            mutants: ledger.mutants.clone(),
            db,
            clock,
            uptime,
            ledger,
            wake: Notify::new(),
            applied: watch::Sender::new(Tick::MAX),
            own: Mutex::new(None),
            heard: AtomicBool::new(false),
        }
    }

    /// How long ago the last round began that was applied whole: nothing that was committed before it is unknown here.
    /// `None`: nobody follows the log.
    pub fn lag(&self) -> Option<Duration> {
        Some(*self.applied.borrow()).filter(|began| *began != Tick::MAX).map(|began| self.uptime.now() - began)
    }

    /// The row of this process, while it has one.
    pub fn own(&self) -> Option<NodeId> {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when no node can accept what was revoked (W3, W4). `replied`: read after the reply to the commit.
    pub async fn acknowledge(&self, until: Until, replied: Tick) -> bool {
        let mut position = match until {
            Until::Nowhere => return true,
            Until::Entry(position) => Some(position),
            Until::Newest if broken!(self, RepeatWithoutWait) => return true,
            Until::Newest => None,
        };
        #[cfg(feature = "faults")]
        let _kept = if broken!(self, ConnectionKept) { self.db.begin().await.ok() } else { None };
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
                    let own = *applied.borrow_and_update();
                    wait.looked(self.uptime.now(), &behind, own)
                }
                Err(_) => wait.failed(self.uptime.now()),
            };
            match step {
                Step::Done => return true,
                Step::GiveUp { remove, mark } => {
                    tracing::warn!(removed = remove.len(), marked = mark.len(), "a node did not answer in time");
                    let position = position.unwrap_or(i64::MAX);
                    // Without it the next one waits as long; nothing else changes.
                    let _ = timeout(PATIENCE, nodes::give_up_on(&self.db, &remove, &mark, position)).await;
                    return false;
                }
                // Our own rounds say nothing of the others.
                Step::Pause(span) if *applied.borrow() > replied => sleep(span).await,
                Step::Pause(span) => drop(timeout(span, applied.changed()).await),
            }
        }
    }

    /// The rows of others that are behind. Which entry is the newest is read once, with the first look.
    async fn look(&self, position: &mut Option<i64>) -> Result<Vec<tollhouse_domain::agreement::Behind>> {
        let look = async {
            let mut reader = self.db.read().await?;
            let position = match *position {
                Some(position) => position,
                None => *position.insert(log::newest(&mut reader).await?),
            };
            nodes::behind(&mut reader, self.own(), position).await
        };
        timeout(PATIENCE, look).await.unwrap_or(Err(StoreError::late()))
    }

    /// What became of a commit is not known here; the log knows.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Follows the log until `stop`. When this returns the ledger answers nothing any more, and the row is gone. What
    /// remembers nothing has nothing to follow (N2). Fails if there is no database any more to follow.
    pub async fn follow(self: Arc<Self>, name: String, stop: CancellationToken) -> Result<()> {
        if !self.ledger.remembers() {
            stop.cancelled().await;
            return Ok(());
        }
        self.applied.send_replace(Tick(0));
        let mut follower = Follower::new(fresh());
        #[cfg(feature = "faults")]
        {
            follower.mutants = self.mutants.clone();
        }
        let listening = tokio::spawn(self.clone().listen(stop.clone()));
        let greeting = tokio::spawn(self.clone().greet(stop.clone()));
        let (mut link, mut failures, mut lost) = (None, 0_u32, Ok(()));
        while !stop.is_cancelled() {
            let began = Instant::now();
            // A step that is broken off leaves a connection of which nothing is known.
            let round = async {
                let mut linked = match link.take() {
                    Some((linked, _)) => linked,
                    None => self.db.link().await?,
                };
                let version = self.round(&mut follower, &mut linked, &name).await?;
                Ok::<_, StoreError>((linked, version))
            };
            link = match timeout(PATIENCE + PATIENCE, round).await.unwrap_or(Err(StoreError::late())) {
                Ok(linked) => {
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!("the log of revocations can be read again");
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
                        tracing::warn!(%error, "the log of revocations cannot be read; credentials are looked up");
                    }
                    None
                }
            };
            let pause = async {
                self.pause(&mut link, failures).await;
                // Whoever is woken again and again rests as well.
                sleep(REST.saturating_sub(began.elapsed())).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = pause => {}
            }
        }
        stop.cancel();
        #[cfg(feature = "faults")]
        if broken!(self, RowRemovedBeforeLease) {
            let _ = nodes::leave(&self.db, &follower.rows()).await;
            sleep(PATIENCE / 8).await;
        }
        // In this order: whoever finds no row must find no memory (N1).
        self.ledger.drop_lease();
        self.set_own(None);
        self.applied.send_replace(Tick::MAX);
        let left = timeout(PATIENCE, nodes::leave(&self.db, &follower.rows())).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!("the row of this server could not be removed; the next revocations wait for it");
        }
        let _ = (listening.await, greeting.await);
        lost
    }

    /// One round (F1 to F5), or the registration before it. The number of a SQLite file as it was before the read.
    async fn round(&self, follower: &mut Follower, link: &mut Link, name: &str) -> Result<Option<i64>> {
        let (from, node) = match follower.begin(self.uptime.now(), fresh) {
            Ask::Register { remove, insert } => {
                self.set_own(None);
                if !remove.is_empty() {
                    // Whoever loses its row again and again must not do nothing else.
                    sleep(BLIND_POLL).await;
                }
                nodes::register(&self.db, &remove, insert, name, self.clock.now()).await?;
                follower.registered();
                self.set_own(Some(insert));
                self.wake.notify_one();
                return Ok(None);
            }
            Ask::Read { from, node } => (from, node),
        };
        let read = async { Ok((link.version().await?, link.read(from, node).await?)) };
        let (version, page) = timeout(PATIENCE, read).await.unwrap_or(Err(StoreError::late()))?;
        #[cfg(feature = "faults")]
        if let (true, Some(last)) = (broken!(self, SeenBeforeApply), page.entries.last()) {
            link.say(Say { node, place: last.place }).await?;
            sleep(PATIENCE / 8).await;
        }
        let mut whole = false;
        for step in follower.read(page, self.uptime.now()) {
            match step {
                Do::DropLease => {
                    self.ledger.drop_lease();
                    self.wake.notify_one();
                }
                Do::ForgetEverything => self.ledger.forget(&[tollhouse_domain::forget::Forget::All]),
                Do::Forget(words) => self.ledger.forget(&words),
                Do::Lease(until) => {
                    self.ledger.lease(until);
                    whole = true;
                }
            }
        }
        if whole {
            self.applied.send_replace(follower.began());
        }
        if let Some(say) = follower.to_say() {
            let said = timeout(PATIENCE, link.say(say)).await.unwrap_or(Err(StoreError::late()));
            match said {
                Ok(()) => {
                    follower.said(say);
                    sleep(REST).await;
                }
                // Another process was writing. Somebody may be waiting for it: the next round says it.
                Err(_) if !self.db.is_postgres() => {
                    sleep(REST).await;
                    self.wake.notify_one();
                }
                Err(error) => {
                    sleep(BLIND_POLL).await;
                    self.wake.notify_one();
                    return Err(error);
                }
            }
        }
        Ok(version)
    }

    /// Until the next round (F6).
    async fn pause(&self, link: &mut Option<(Link, Option<i64>)>, failures: u32) {
        let poll = match self.db.is_postgres() {
            // Connecting is dear for a database that has trouble anyway.
            _ if failures > 0 => (BLIND_POLL * 2_u32.saturating_pow(failures - 1)).min(POLL),
            true if !self.heard.load(Ordering::Relaxed) => BLIND_POLL,
            _ => POLL,
        };
        #[cfg(feature = "faults")]
        if self.db.faults.is_deaf() {
            return sleep(poll).await;
        }
        tokio::select! {
            () = self.wake.notified() => {}
            () = changed(link) => {}
            () = sleep(poll) => {}
        }
    }

    /// Keeps an ear on PostgreSQL.
    async fn listen(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = self.db.listen(&self.wake, || self.heard.store(true, Ordering::Relaxed)) => {}
            }
            if self.heard.swap(false, Ordering::Relaxed) {
                self.wake.notify_one();
                continue;
            }
            // Nothing came through: polling does without it, and a pooler will not go away by itself.
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(DEAF) => {}
            }
        }
    }

    /// Rows of predecessors that crashed vanish before a person waits for them (N3).
    async fn greet(self: Arc<Self>, stop: CancellationToken) {
        let greeting = async {
            let mut told = 0;
            while told < 3 {
                let announced = async {
                    let mut tx = self.db.begin().await?;
                    nodes::announce(&mut tx);
                    let committed = tx.commit(Change::nothing(()), &By::system(), self.clock.now()).await?;
                    Ok::<_, StoreError>(committed.until)
                };
                match announced.await {
                    Ok(until) if self.acknowledge(until, self.uptime.now()).await => return,
                    Ok(_) => told += 1,
                    Err(error) => {
                        tracing::debug!(%error, "this server could not announce itself yet");
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = greeting => {}
        }
    }

    fn set_own(&self, id: Option<NodeId>) {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = id;
    }
}

fn fresh() -> NodeId {
    NodeId(random())
}

/// On SQLite nobody tells us what other processes write, so the number of the file is looked at.
async fn changed(link: &mut Option<(Link, Option<i64>)>) {
    let Some((link, Some(before))) = link else { return std::future::pending().await };
    loop {
        sleep(LOOK).await;
        if link.version().await.ok().flatten() != Some(*before) {
            return;
        }
    }
}

/// How often a SQLite file is looked at; a look costs some microseconds.
const LOOK: Duration = Duration::from_millis(10);

/// After so long a listener that heard nothing tries again.
const DEAF: Duration = Duration::from_secs(30);

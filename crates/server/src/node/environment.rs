//! The I/O of a node: database, clock and randomness. The simulation of `docs/protocols/revocation.md` section 9
//! replaces them.

use std::time::Duration;

use tokio::sync::Notify;
use tollhouse_auth::uptime::Uptime;
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, NodeId, Page, Tick};
use tollhouse_domain::audit::By;
use tollhouse_domain::secret::random;
use tollhouse_domain::time::Clock;
use tollhouse_store::db::Db;
use tollhouse_store::error::Result;
use tollhouse_store::tx::Until;
use tollhouse_store::{invalidations, nodes};

/// Nothing here waits by itself for longer than it takes: how long is too long is decided by whoever asks.
pub trait NodeEnvironment: Send + Sync + 'static {
    /// A connection of the node's own, on which it reads the log.
    type Link: Send;

    /// The machine's own clock, suspended time included.
    fn now(&self) -> Tick;

    /// Returns after this time.
    fn sleep(&self, span: Duration) -> impl Future<Output = ()> + Send;

    /// An id that no node has had.
    fn fresh(&self) -> NodeId {
        NodeId(random())
    }

    /// Whether the database itself tells what others write.
    fn is_postgres(&self) -> bool;

    /// Opens such a connection.
    fn link(&self) -> impl Future<Output = Result<Self::Link>> + Send;

    /// See [`invalidations::Link::version`].
    fn version(&self, link: &mut Self::Link) -> impl Future<Output = Result<Option<i64>>> + Send;

    /// See [`invalidations::Link::read`].
    fn read(&self, link: &mut Self::Link, from: i64, node: NodeId) -> impl Future<Output = Result<Page>> + Send;

    /// See [`invalidations::Link::say`].
    fn say(&self, link: &mut Self::Link, say: Say) -> impl Future<Output = Result<()>> + Send;

    /// See [`nodes::register`].
    fn register(&self, remove: &[NodeId], insert: NodeId, name: &str) -> impl Future<Output = Result<()>> + Send;

    /// See [`nodes::leave`].
    fn leave(&self, rows: &[NodeId]) -> impl Future<Output = Result<()>> + Send;

    /// See [`nodes::behind`]; without a position, behind the newest entry. Which position it was.
    fn behind(
        &self,
        own: Option<NodeId>,
        position: Option<i64>,
    ) -> impl Future<Output = Result<(i64, Vec<Behind>)>> + Send;

    /// See [`nodes::give_up_on`].
    fn give_up_on(&self, remove: &[NodeId], mark: &[NodeId], position: i64) -> impl Future<Output = Result<()>> + Send;

    /// Writes an entry that means nothing (N3).
    fn announce(&self) -> impl Future<Output = Result<Until>> + Send;

    /// See [`Db::listen`].
    fn listen(&self, wake: &Notify, heard: impl Fn() + Send) -> impl Future<Output = Result<()>> + Send;

    /// Words of the database do not reach it.
    #[cfg(feature = "faults")]
    fn is_deaf(&self) -> bool {
        false
    }

    /// What keeps others from writing while it is held.
    #[cfg(feature = "faults")]
    fn hold(&self) -> impl Future<Output = Option<Box<dyn Send>>> + Send;
}

/// The database that this process shares with others.
pub struct Shared {
    /// The database.
    pub db: Db,
    /// For what is written for people; no rule reads it.
    pub clock: Clock,
    /// The clock of [`NodeEnvironment::now`].
    pub uptime: Uptime,
}

impl NodeEnvironment for Shared {
    type Link = invalidations::Link;

    fn now(&self) -> Tick {
        self.uptime.now()
    }

    async fn sleep(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    fn is_postgres(&self) -> bool {
        self.db.is_postgres()
    }

    async fn link(&self) -> Result<Self::Link> {
        self.db.link().await
    }

    async fn version(&self, link: &mut Self::Link) -> Result<Option<i64>> {
        link.version().await
    }

    async fn read(&self, link: &mut Self::Link, from: i64, node: NodeId) -> Result<Page> {
        link.read(from, node).await
    }

    async fn say(&self, link: &mut Self::Link, say: Say) -> Result<()> {
        link.say(say, self.clock.now()).await
    }

    async fn register(&self, remove: &[NodeId], insert: NodeId, name: &str) -> Result<()> {
        nodes::register(&self.db, remove, insert, name, self.clock.now()).await
    }

    async fn leave(&self, rows: &[NodeId]) -> Result<()> {
        nodes::leave(&self.db, rows).await
    }

    async fn behind(&self, own: Option<NodeId>, position: Option<i64>) -> Result<(i64, Vec<Behind>)> {
        let mut reader = self.db.read().await?;
        let position = match position {
            Some(position) => position,
            None => invalidations::newest(&mut reader).await?,
        };
        Ok((position, nodes::behind(&mut reader, own, position).await?))
    }

    async fn give_up_on(&self, remove: &[NodeId], mark: &[NodeId], position: i64) -> Result<()> {
        nodes::give_up_on(&self.db, remove, mark, position).await
    }

    async fn announce(&self) -> Result<Until> {
        Ok(self.db.perform(nodes::Announce { by: By::system(), now: self.clock.now() }).await?.until)
    }

    async fn listen(&self, wake: &Notify, heard: impl Fn() + Send) -> Result<()> {
        self.db.listen(wake, heard).await
    }

    #[cfg(feature = "faults")]
    fn is_deaf(&self) -> bool {
        self.db.faults.is_deaf()
    }

    #[cfg(feature = "faults")]
    async fn hold(&self) -> Option<Box<dyn Send>> {
        self.db.begin().await.ok().map(|tx| Box::new(tx) as Box<dyn Send>)
    }
}

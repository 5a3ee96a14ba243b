//! One unit of work as a value, which the database may run on another thread, or again.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::oneshot;
use tollhouse_domain::audit::By;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::PATIENCE_OF_A_WRITER;
use crate::engine::tx::{Change, Committed, Tx};
use crate::error::{Cause, Error, Result};

/// What [`crate::engine::db::Db::perform`] runs. It may wait for its transaction and for nothing else.
pub trait Work: Send + Sync + 'static {
    /// What it gives when it is committed.
    type Output: Send + 'static;
    /// Why a rule refused it, or what the database said.
    type Error: From<Error> + Send + 'static;

    /// Whether it usually writes to the log of what became untrue.
    const LOGS: bool;

    /// Whom its audit rows name.
    fn by(&self) -> &By;

    /// The instant that its rows and rules use.
    fn now(&self) -> Timestamp;

    /// Runs it once. It may run again if the transaction lost a conflict, so it must not have effects outside.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = std::result::Result<Change<Self::Output>, Self::Error>> + Send;
}

/// A boxed future that may borrow.
pub type Boxed<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// A type-erased unit of work, with the channel to its caller.
pub(crate) trait Job: Send {
    /// Whether others wait for it before they can go on.
    fn is_urgent(&self) -> bool;

    /// Nobody waits for it any more, and it has not begun.
    fn is_abandoned(&self) -> bool;

    /// `false`: what it wrote is to be undone.
    fn run<'r>(&'r mut self, tx: &'r mut Tx) -> Boxed<'r, bool>;

    /// It did not come to an end.
    fn broke(&mut self, why: &'static str);

    /// Its entries in the log were numbered from here on, as part of a batch.
    fn number(&mut self, base: i64);

    /// Tells its outcome, now that it is known whether it is durable.
    fn tell(self: Box<Self>, durable: Result<()>);
}

/// The handle with which the caller waits for the outcome of a job.
pub(crate) struct Told<T> {
    told: oneshot::Receiver<T>,
    begun: Arc<AtomicBool>,
}

impl<T> Told<T> {
    /// The outcome. One that has not begun after [`BEFORE`] never will.
    pub(crate) async fn wait(mut self) -> Result<T> {
        let told = match tokio::time::timeout(BEFORE, &mut self.told).await {
            Err(_) if !self.begun.load(Ordering::SeqCst) => return Err(Error::late()),
            Err(_) => tokio::time::timeout(PATIENCE_OF_A_WRITER, self.told).await.map_err(|_| Error::late())?,
            Ok(told) => told,
        };
        told.map_err(|_| Error::closed())
    }
}

/// How long a job may wait for those before it.
const BEFORE: Duration = Duration::from_secs(5);

/// An operation with its audit rows and its entries in the log.
pub(crate) struct Operation<W: Work> {
    work: W,
    outcome: Option<Outcome<W>>,
    reply: oneshot::Sender<Outcome<W>>,
    begun: Arc<AtomicBool>,
    span: tracing::Span,
}

/// What came of an operation: what it committed, or why it did not.
pub(crate) type Outcome<W> = std::result::Result<Committed<<W as Work>::Output>, <W as Work>::Error>;

impl<W: Work> Operation<W> {
    /// The job, and the end at which whoever asked is told what came of it.
    pub(crate) fn new(work: W) -> (Box<Self>, Told<Outcome<W>>) {
        let (reply, told) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        let job = Self { work, outcome: None, reply, begun: begun.clone(), span: tracing::Span::current() };
        (Box::new(job), Told { told, begun })
    }
}

impl<W: Work> Job for Operation<W> {
    fn is_urgent(&self) -> bool {
        false
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run<'r>(&'r mut self, tx: &'r mut Tx) -> Boxed<'r, bool> {
        use tracing::Instrument;
        self.begun.store(true, Ordering::SeqCst);
        let span = self.span.clone();
        Box::pin(
            async move {
                let outcome = run(&self.work, tx).await;
                let keep = outcome.is_ok();
                self.outcome = Some(outcome);
                keep
            }
            .instrument(span),
        )
    }

    fn broke(&mut self, why: &'static str) {
        self.outcome = Some(Err(Error::Broken(Cause::Rule(why)).into()));
    }

    fn number(&mut self, base: i64) {
        if let Some(Ok(committed)) = &mut self.outcome {
            committed.number(base);
        }
    }

    fn tell(self: Box<Self>, durable: Result<()>) {
        let outcome = match (durable, self.outcome) {
            (Ok(()), Some(outcome)) => outcome,
            (Ok(()), None) => Err(Error::closed().into()),
            // What a refusal was based on may have been undone too.
            (Err(error), _) => Err(error.into()),
        };
        // Whoever asked may be gone; it is done all the same.
        let _ = self.reply.send(outcome);
    }
}

/// Runs it, with all that belongs into its transaction besides the commit.
pub(crate) async fn run<W: Work>(work: &W, tx: &mut Tx) -> Outcome<W> {
    let change = work.run(tx).await?;
    Ok(tx.record(change, work.by(), work.now()).await?)
}

/// Housekeeping, which leaves no audit row.
pub(crate) struct Chore<F, T> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
    begun: Arc<AtomicBool>,
}

impl<F, T> Chore<F, T> {
    /// The job, and the end at which whoever asked is told what came of it.
    pub(crate) fn new(work: F) -> (Box<Self>, Told<Result<T>>) {
        let (reply, told) = oneshot::channel();
        let begun = Arc::new(AtomicBool::new(false));
        (Box::new(Self { work: Some(work), outcome: None, reply, begun: begun.clone() }), Told { told, begun })
    }
}

impl<F, T> Job for Chore<F, T>
where
    F: for<'t> FnOnce(&'t mut Tx) -> Boxed<'t, Result<T>> + Send,
    T: Send,
{
    fn is_urgent(&self) -> bool {
        true
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run<'r>(&'r mut self, tx: &'r mut Tx) -> Boxed<'r, bool> {
        self.begun.store(true, Ordering::SeqCst);
        Box::pin(async move {
            let Some(work) = self.work.take() else { return false };
            let outcome = work(tx).await;
            debug_assert!(!tx.makes_untrue(), "what becomes untrue is committed with its log entries");
            let keep = outcome.is_ok();
            self.outcome = Some(outcome);
            keep
        })
    }

    fn broke(&mut self, why: &'static str) {
        self.outcome = Some(Err(Error::Broken(Cause::Rule(why))));
    }

    fn number(&mut self, _: i64) {}

    fn tell(self: Box<Self>, durable: Result<()>) {
        let Self { outcome, reply, .. } = *self;
        let _ = reply.send(durable.and_then(|()| outcome.unwrap_or_else(|| Err(Error::closed()))));
    }
}

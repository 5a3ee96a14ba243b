//! Where the code of a server asks, and how it is told: a question lies in a list until the scheduler fetches it, and who
//! asked sleeps until the scheduler answers. Nothing here runs by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::Notify;
use tollhouse::node::NodeEnvironment;
use tollhouse_auth::uptime::Uptime;
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, NodeId, Page, Tick};
use tollhouse_domain::application::Application;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, Unavailable, UserName};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::error::{Error, Result};
use tollhouse_store::tx::Until;

use crate::simulation::model::Narrow;
use crate::simulation::randomness::Randomness;

#[derive(Clone, Debug)]
pub enum Question {
    Sleep(Duration),
    Link,
    Read(i64, NodeId),
    Say(Say),
    Register(Vec<NodeId>, NodeId),
    Leave(Vec<NodeId>),
    Behind(Option<NodeId>, Option<i64>),
    GiveUp(Vec<NodeId>, Vec<NodeId>, i64),
    Announce,
    Listen,
    /// Answered when the connection breaks on which it listens.
    Hear,
    Hold,
    Find(Key),
    Application(String),
    Memberships(UserId, MembershipSource),
    UserMemberships(UserId),
    FirstUse(FamilyId, GenerationId),
}

impl Question {
    /// An authenticator asks it.
    pub fn is_look_up(&self) -> bool {
        matches!(
            self,
            Self::Find(_)
                | Self::FirstUse(..)
                | Self::Application(_)
                | Self::Memberships(..)
                | Self::UserMemberships(_)
        )
    }
}

#[derive(Clone, Debug)]
pub enum Told {
    Done,
    /// There will be no answer.
    Refused,
    Page(Page),
    Behind(i64, Vec<Behind>),
    Until(Until),
    Record(Option<Box<Record>>),
    Application(Option<Box<Application>>),
    Memberships(Memberships),
    UserMemberships(UserMemberships),
    Won(bool),
}

/// Where an answer is laid down.
#[derive(Debug, Default)]
pub struct Slot(Mutex<(Option<Told>, Option<Waker>)>);

impl Slot {
    pub fn tell(&self, told: Told) {
        let waker = {
            let mut slot = self.0.lock().expect("no panic");
            slot.0 = Some(told);
            slot.1.take()
        };
        waker.iter().for_each(Waker::wake_by_ref);
    }

    fn poll(&self, context: &Context<'_>) -> Poll<Told> {
        let mut slot = self.0.lock().expect("no panic");
        match slot.0.take() {
            Some(told) => Poll::Ready(told),
            None => {
                slot.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// A question, and who waits for its answer; nobody does any more if the slot is gone.
pub type Asked = (Question, Weak<Slot>);

#[derive(Default)]
pub struct Requests(Mutex<Vec<Asked>>);

impl Requests {
    async fn ask(&self, question: Question) -> Told {
        let slot = Arc::new(Slot::default());
        self.0.lock().expect("no panic").push((question, Arc::downgrade(&slot)));
        std::future::poll_fn(|context| slot.poll(context)).await
    }

    async fn done(&self, question: Question) -> Result<()> {
        match self.ask(question).await {
            Told::Done => Ok(()),
            _ => Err(Error::late()),
        }
    }

    pub fn fetch(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

/// What a node of the simulation has around it.
pub struct SimulatedEnvironment {
    pub requests: Arc<Requests>,
    pub uptime: Uptime,
    pub ids: Mutex<Randomness>,
}

impl NodeEnvironment for SimulatedEnvironment {
    type Link = ();

    fn now(&self) -> Tick {
        self.uptime.now()
    }

    async fn sleep(&self, span: Duration) {
        self.requests.ask(Question::Sleep(span)).await;
    }

    fn fresh(&self) -> NodeId {
        self.ids.lock().expect("no panic").id()
    }

    fn is_postgres(&self) -> bool {
        true
    }

    async fn link(&self) -> Result<()> {
        self.requests.done(Question::Link).await
    }

    async fn version(&self, _: &mut ()) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn read(&self, _: &mut (), from: i64, node: NodeId) -> Result<Page> {
        match self.requests.ask(Question::Read(from, node)).await {
            Told::Page(page) => Ok(page),
            _ => Err(Error::late()),
        }
    }

    async fn say(&self, _: &mut (), say: Say) -> Result<()> {
        self.requests.done(Question::Say(say)).await
    }

    async fn register(&self, remove: &[NodeId], insert: NodeId, _: &str) -> Result<()> {
        self.requests.done(Question::Register(remove.to_vec(), insert)).await
    }

    async fn leave(&self, rows: &[NodeId]) -> Result<()> {
        self.requests.done(Question::Leave(rows.to_vec())).await
    }

    async fn behind(&self, own: Option<NodeId>, position: Option<i64>) -> Result<(i64, Vec<Behind>)> {
        match self.requests.ask(Question::Behind(own, position)).await {
            Told::Behind(position, behind) => Ok((position, behind)),
            _ => Err(Error::late()),
        }
    }

    async fn give_up_on(&self, remove: &[NodeId], mark: &[NodeId], position: i64) -> Result<()> {
        self.requests.done(Question::GiveUp(remove.to_vec(), mark.to_vec(), position)).await
    }

    async fn announce(&self) -> Result<Until> {
        match self.requests.ask(Question::Announce).await {
            Told::Until(until) => Ok(until),
            _ => Err(Error::late()),
        }
    }

    async fn listen(&self, wake: &Notify, heard: impl Fn() + Send) -> Result<()> {
        self.requests.done(Question::Listen).await?;
        heard();
        wake.notify_one();
        self.requests.done(Question::Hear).await
    }

    async fn hold(&self) -> Option<Box<dyn Send>> {
        self.requests.done(Question::Hold).await.ok().map(|()| Box::new(()) as Box<dyn Send>)
    }
}

impl Lookup for Requests {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            match self.ask(Question::Find(key)).await {
                Told::Record(record) => Ok(record.map(|record| *record)),
                _ => Err(Unavailable),
            }
        })
    }

    fn user<'a>(&'a self, _: UserName<'a>) -> Answer<'a, Option<User>> {
        Box::pin(async { Ok(None) })
    }

    fn memberships(&self, user: UserId, of: MembershipSource, _: Timestamp) -> Answer<'_, Memberships> {
        Box::pin(async move {
            match self.ask(Question::Memberships(user, of)).await {
                Told::Memberships(found) => Ok(found),
                _ => Err(Unavailable),
            }
        })
    }

    fn user_memberships(&self, user: UserId, _: Timestamp) -> Answer<'_, UserMemberships> {
        Box::pin(async move {
            match self.ask(Question::UserMemberships(user)).await {
                Told::UserMemberships(found) => Ok(found),
                _ => Err(Unavailable),
            }
        })
    }

    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>> {
        Box::pin(async move {
            match self.ask(Question::Application(client_id.to_owned())).await {
                Told::Application(found) => Ok(found.map(|found| *found)),
                _ => Err(Unavailable),
            }
        })
    }

    fn first_use(&self, family: FamilyId, head: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        Box::pin(async move { Ok(matches!(self.ask(Question::FirstUse(family, head)).await, Told::Won(true))) })
    }
}

/// What a server does at once, each with a number. Whoever is woken is run when the scheduler says so.
#[derive(Default)]
pub struct Tasks {
    woken: Arc<Mutex<BTreeSet<u64>>>,
    running: BTreeMap<u64, Pin<Box<dyn Future<Output = Outcome>>>>,
}

/// What a node is asked about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    Token(u64),
    /// A deploy or job token, where its kind counts.
    Narrow(Narrow, u64),
    /// Whether this client has the secret of that number.
    Secret {
        client: u64,
        secret: u64,
    },
    /// Whether this client may ask for the scope that it loses when it is narrowed.
    Scope {
        client: u64,
        secret: u64,
    },
    /// Whether an owner is in the group, by the one or by the other of what is remembered of that.
    Member {
        owner: u64,
        by_all: bool,
    },
}

/// What became of one.
pub enum Outcome {
    /// The node has left.
    Followed,
    Acknowledged,
    CheckOrder {
        asked: About,
        started: u64,
        accepted: std::result::Result<bool, Denial>,
    },
}

struct Bell {
    number: u64,
    woken: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().expect("no panic").insert(self.number);
    }
}

impl Tasks {
    pub fn start(&mut self, number: u64, task: impl Future<Output = Outcome> + 'static) {
        self.running.insert(number, Box::pin(task));
        self.woken.lock().expect("no panic").insert(number);
    }

    /// Runs one of those that were woken, as far as it comes; `None`: all sleep.
    pub fn run(&mut self) -> Option<(u64, Poll<Outcome>)> {
        let number = self.woken.lock().expect("no panic").pop_first()?;
        let Some(task) = self.running.get_mut(&number) else { return Some((number, Poll::Pending)) };
        let waker = Waker::from(Arc::new(Bell { number, woken: self.woken.clone() }));
        let poll = task.as_mut().poll(&mut Context::from_waker(&waker));
        if poll.is_ready() {
            self.running.remove(&number);
        }
        Some((number, poll))
    }

    /// The process is no more.
    pub fn die(&mut self) {
        self.running.clear();
    }
}

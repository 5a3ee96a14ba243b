//! What the nodes and revokers of a simulated network ask: a database in memory that can break every rule and come back from a copy,
//! or a real one. Every statement happens at once, at the moment the scheduler chose for it.

use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, NodeId, Page};
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::user::User;

use super::model::{self, Change, Truth};
use super::network::{Question, Told};
use super::store::Store;

pub enum Database {
    Memory(Box<Memory>),
    Store(Box<Store>),
}

pub struct Memory {
    pub truth: Truth,
    /// Whoever draws the next number; nobody else may until that is committed (W2).
    pub head: Option<u64>,
    pub waiting_for_head: Vec<u64>,
    /// For the mistake of drawing numbers without waiting.
    pub sequence: i64,
    /// With the time when they were made.
    pub copies: Vec<(u64, Truth)>,
    pub somebody: User,
}

impl Memory {
    fn new(somebody: User) -> Self {
        let (truth, waiting_for_head, copies) = (Truth::default(), Vec::new(), Vec::new());
        Self { truth, head: None, waiting_for_head, sequence: 0, copies, somebody }
    }

    /// For one more simulated network.
    pub fn begin(&mut self, mark: i64) {
        *self = Self { truth: Truth::new(mark), ..Self::new(self.somebody.clone()) };
    }
}

impl Database {
    pub fn memory(somebody: &User) -> Self {
        Self::Memory(Box::new(Memory::new(somebody.clone())))
    }

    pub fn as_memory(&mut self) -> Option<&mut Memory> {
        match self {
            Self::Memory(memory) => Some(memory),
            Self::Store(_) => None,
        }
    }

    /// The secret of a token, once it has one.
    pub fn secret(&self, token: u64) -> Option<String> {
        match self {
            Self::Memory(_) => Some(model::secret(token)),
            Self::Store(store) => store.secret(token),
        }
    }

    /// The secret of a deploy or job token, once it has one.
    pub fn narrow_secret(&self, token: u64) -> Option<String> {
        match self {
            Self::Memory(_) => Some(model::secret(token)),
            Self::Store(store) => store.narrow_secret(token),
        }
    }

    /// Of a client, once it has one, and its secret of that number.
    pub fn credentials(&self, client: u64, secret: u64) -> Option<(String, String)> {
        match self {
            Self::Memory(_) => Some((model::client_id(client), model::client_secret(secret))),
            Self::Store(store) => store.credentials(client, secret),
        }
    }

    /// An owner, and the group that it is a member of, or not.
    pub fn membership(&self, owner: u64) -> (UserId, NamespaceId) {
        match self {
            Self::Memory(_) => (UserId(owner as i64), model::GROUP),
            Self::Store(store) => store.membership(owner),
        }
    }

    /// Whether it is so already.
    pub fn holds(&self, change: Change) -> bool {
        match self {
            Self::Memory(memory) => memory.truth.holds(change),
            Self::Store(store) => store.holds(change),
        }
    }

    /// Without a log entry: something new.
    pub fn create(&mut self, token: u64, owner: u64) {
        let change = Change::Create { token, owner };
        match self {
            Self::Memory(memory) => memory.truth.apply(change),
            Self::Store(store) => drop(store.perform(change)),
        }
    }

    pub fn read(&mut self, from: i64, node: NodeId) -> Page {
        match self {
            Self::Memory(memory) => memory.truth.read(from, node),
            Self::Store(store) => store.read(from, node),
        }
    }

    pub fn register(&mut self, remove: &[NodeId], insert: NodeId) {
        match self {
            Self::Memory(memory) => memory.truth.register(remove, insert),
            Self::Store(store) => store.register(remove, insert),
        }
    }

    pub fn leave(&mut self, rows: &[NodeId]) {
        match self {
            Self::Memory(memory) => memory.truth.leave(rows),
            Self::Store(store) => store.leave(rows),
        }
    }

    pub fn say(&mut self, say: Say, unconditional: bool) {
        match self {
            Self::Memory(memory) => memory.truth.say(say, unconditional),
            Self::Store(store) => store.say(say),
        }
    }

    /// Which rows are behind; without a position, behind the newest entry (W4).
    pub fn behind(&mut self, own: Option<NodeId>, position: Option<i64>) -> (i64, Vec<Behind>) {
        match self {
            Self::Memory(memory) => {
                let position = position.unwrap_or_else(|| memory.truth.newest());
                (position, memory.truth.behind(own, position))
            }
            Self::Store(store) => store.behind(own, position),
        }
    }

    pub fn give_up_on(&mut self, remove: &[NodeId], mark: &[NodeId], position: i64) {
        match self {
            Self::Memory(memory) => memory.truth.give_up_on(remove, mark, position),
            Self::Store(store) => store.give_up_on(remove, mark, position),
        }
    }

    /// What an authenticator asks. `old`: from a replica that is behind.
    pub fn answer(&mut self, question: &Question, old: bool) -> Told {
        match self {
            Self::Memory(memory) => {
                let replica = memory.copies.last().filter(|_| old);
                let truth = replica.map_or(&memory.truth, |(_, older)| older);
                match question {
                    Question::Find(key) => Told::Record(truth.find(*key, &memory.somebody).map(Box::new)),
                    Question::Application(client_id) => Told::Application(truth.application(client_id).map(Box::new)),
                    Question::Memberships(user, _) => Told::Memberships(truth.memberships(*user)),
                    Question::UserMemberships(user) => Told::UserMemberships(truth.user_memberships(*user)),
                    _ => Told::Won(false),
                }
            }
            Self::Store(store) => store.answer(question),
        }
    }
}

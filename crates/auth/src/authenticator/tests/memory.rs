//! A database in memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::RwLock;
use tollhouse_domain::id::{ApplicationId, FamilyId, GenerationId};
use tollhouse_domain::lookup::{Answer, TokenRecord, Unavailable, UserName};

use super::*;
use crate::test_records;

/// Credentials by key, users, applications and memberships. It counts what it is asked.
#[derive(Default)]
pub(super) struct Memory {
    rows: Mutex<HashMap<Key, Row>>,
    users: Mutex<Vec<User>>,
    applications: Mutex<HashMap<String, Application>>,
    /// Nothing is answered.
    pub(super) unavailable: AtomicBool,
    /// Whoever holds it for writing holds back every answer, which was read before.
    pub(super) gate: RwLock<()>,
    /// Runs once, between the reading of a credential and its answer.
    meanwhile: Mutex<Option<Act>>,
    /// So many first uses are lost to somebody else.
    pub(super) lost: AtomicUsize,
    /// The credentials that were looked up.
    pub(super) finds: AtomicUsize,
    /// The first uses that were noted or lost.
    pub(super) first_uses: AtomicUsize,
    /// The questions about users, applications and memberships.
    pub(super) others: AtomicUsize,
}

type Act = Box<dyn FnOnce(&Memory) + Send>;

/// A credential. Numbers of generation and family are its owner's.
#[derive(Clone)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// `None`: a token that an application got for itself.
    pub(super) owner: Option<i64>,
    pub(super) scopes: &'static [Scope],
    pub(super) application: Option<i64>,
    pub(super) status: TokenStatus,
    /// Of tokens: `dead_from`.
    pub(super) ends: Option<Timestamp>,
}

#[derive(Clone, Copy)]
pub(super) enum Kind {
    PersonalAccessToken,
    OauthAccessToken,
    /// It began at 0.
    Session,
    /// Of project 1, with `read_registry`.
    DeployToken,
    /// Of a job in project 1.
    JobToken,
}

impl Row {
    /// A credential of user 1 with the scope `api`, in use and without an end; a session and a job end after [`NOW`].
    pub(super) fn of(kind: Kind) -> Self {
        Self {
            kind,
            owner: Some(1),
            scopes: &[Scope::Api],
            application: None,
            status: TokenStatus::Live { used: true },
            ends: matches!(kind, Kind::Session | Kind::JobToken).then_some(Timestamp(NOW.0 + 1)),
        }
    }

    fn record(&self, key: Key, users: &[User]) -> Record {
        let (Key::Token(digest) | Key::Refresh(digest) | Key::Session(digest) | Key::Deploy(digest) | Key::Job(digest)) =
            key;
        let id = self.owner.unwrap_or_default();
        let token = || {
            Arc::new(TokenRecord {
                scopes: self.scopes.iter().copied().collect(),
                application: self.application.map(ApplicationId),
                dead_from: self.ends,
                status: self.status,
                ..test_records::token(id, digest)
            })
        };
        let credential = match self.kind {
            Kind::PersonalAccessToken => Credential::PersonalAccessToken(token()),
            Kind::OauthAccessToken => Credential::OauthAccessToken(token()),
            Kind::DeployToken => Credential::DeployToken(Arc::new(test_records::deploy_token(digest, self.ends))),
            Kind::JobToken => {
                Credential::JobToken(Arc::new(test_records::job_token(digest, self.ends.expect("a job ends"))))
            }
            Kind::Session => {
                let ends = self.ends.expect("a session ends");
                Credential::Session(Arc::new(test_records::session(digest, ends)))
            }
        };
        let owner = self.owner.filter(|_| !matches!(self.kind, Kind::DeployToken));
        let owner = owner.map(|id| users.iter().find(|user| user.id.0 == id).expect("its owner").clone());
        Record { credential, owner: owner.map(Arc::new) }
    }
}

impl Memory {
    pub(super) fn put(&self, key: Key, row: Row) {
        locked(&self.rows).insert(key, row);
    }

    /// A token with this secret.
    pub(super) fn put_token(&self, secret: &str, row: Row) {
        self.put(token_key(secret), row);
    }

    /// Adds a user, or replaces the one with this number.
    pub(super) fn put_user(&self, user: User) {
        let mut users = locked(&self.users);
        users.retain(|known| known.id != user.id);
        users.push(user);
    }

    pub(super) fn put_application(&self, application: Application) {
        locked(&self.applications).insert(application.uid.clone(), application);
    }

    /// Runs once, between the next reading of a credential and its answer.
    pub(super) fn meanwhile(&self, act: impl FnOnce(&Memory) + Send + 'static) {
        *locked(&self.meanwhile) = Some(Box::new(act));
    }

    pub(super) fn found(&self) -> usize {
        self.finds.load(Ordering::SeqCst)
    }

    pub(super) fn first_used(&self) -> usize {
        self.first_uses.load(Ordering::SeqCst)
    }

    pub(super) fn asked_otherwise(&self) -> usize {
        self.others.load(Ordering::SeqCst)
    }

    fn answer<T: Send + 'static>(&self, count: &AtomicUsize, read: impl FnOnce() -> T) -> Answer<'_, T> {
        count.fetch_add(1, Ordering::SeqCst);
        let value = if self.unavailable.load(Ordering::SeqCst) { Err(Unavailable) } else { Ok(read()) };
        Box::pin(async {
            let _open = self.gate.read().await;
            value
        })
    }
}

impl Lookup for Memory {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        let answer =
            self.answer(&self.finds, || locked(&self.rows).get(&key).map(|row| row.record(key, &locked(&self.users))));
        if let Some(act) = locked(&self.meanwhile).take() {
            act(self);
        }
        answer
    }

    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>> {
        self.answer(&self.others, || {
            let is = |user: &&User| match name {
                UserName::Id(id) => user.id == id,
                UserName::Name(name) => user.username == name,
            };
            locked(&self.users).iter().find(is).cloned()
        })
    }

    fn memberships(&self, user: UserId, _: MembershipSource, _: Timestamp) -> Answer<'_, Memberships> {
        self.answer(&self.others, || Memberships { path: Some(format!("of/{}", user.0).into()), held: Box::default() })
    }

    fn user_memberships(&self, user: UserId, _: Timestamp) -> Answer<'_, UserMemberships> {
        use tollhouse_domain::access::AccessLevel;
        use tollhouse_domain::id::ProjectId;
        use tollhouse_domain::membership::Held;
        let held = Held { level: AccessLevel::Guest, expires_on: None };
        self.answer(&self.others, || UserMemberships {
            projects: [(ProjectId(user.0), held)].into(),
            ..Default::default()
        })
    }

    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>> {
        self.answer(&self.others, || locked(&self.applications).get(client_id).cloned())
    }

    fn first_use(&self, family: FamilyId, head: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        self.answer(&self.first_uses, || {
            if self.lost.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
                return false;
            }
            let unused = |row: &&mut Row| {
                row.owner == Some(family.0) && family.0 == head.0 && row.status == (TokenStatus::Live { used: false })
            };
            match locked(&self.rows).values_mut().find(unused) {
                Some(row) => {
                    row.status = TokenStatus::Live { used: true };
                    true
                }
                None => false,
            }
        })
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().expect("no test panics while it holds this")
}

//! A look-up that changes nothing and remembers what it was asked.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tollhouse_domain::application::Application;
use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, UserName};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::db::Db;

/// Looks things up in the database, and remembers the answers so that they can be told.
pub(super) struct Witness {
    db: Db,
    found: Mutex<HashMap<Key, Option<Record>>>,
}

impl Witness {
    /// Nothing was asked yet.
    pub(super) fn new(db: Db) -> Self {
        Self { db, found: Mutex::default() }
    }

    /// `None`: nobody asked for it.
    pub(super) fn saw(&self, key: Key) -> Option<Option<Record>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned()
    }
}

impl Lookup for Witness {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let record = self.db.find(key).await?;
            self.found.lock().unwrap_or_else(PoisonError::into_inner).insert(key, record.clone());
            Ok(record)
        })
    }

    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>> {
        self.db.user(name)
    }

    fn memberships(&self, user: UserId, of: MembershipSource, now: Timestamp) -> Answer<'_, Memberships> {
        self.db.memberships(user, of, now)
    }

    fn user_memberships(&self, user: UserId, now: Timestamp) -> Answer<'_, UserMemberships> {
        self.db.user_memberships(user, now)
    }

    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>> {
        self.db.application(client_id)
    }

    /// It would be the first use. Nobody is told (T34).
    fn first_use(&self, _: FamilyId, _: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        Box::pin(async { Ok(true) })
    }
}

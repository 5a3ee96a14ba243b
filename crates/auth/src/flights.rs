//! Look-ups that are under way, so that a hundred requests with one credential ask the database once.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tollhouse_domain::denial::Denial;

use crate::credential_cache::Ticket;

/// What a look-up brings, for everybody who waits for it.
pub(crate) type Answer<T> = Result<T, Denial>;

/// Look-ups of one kind that are under way, by what is looked up.
pub(crate) struct Flights<K, T>(Mutex<HashMap<K, Flight<T>>>);

struct Flight<T> {
    /// The cache's generation when the look-up began.
    ticket: Ticket,
    answer: watch::Receiver<Option<Answer<T>>>,
}

/// The look-up itself; it is no longer joined once this is dropped.
pub(crate) struct Leader<'f, K: Copy + Eq + Hash, T: Clone> {
    flights: &'f Flights<K, T>,
    key: K,
    answer: watch::Sender<Option<Answer<T>>>,
}

impl<K, T> Default for Flights<K, T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Flights<K, T> {
    /// A look-up that began in this very generation. An older one may bring the past (A4).
    pub(crate) fn join(&self, key: K, now: Option<Ticket>) -> Option<watch::Receiver<Option<Answer<T>>>> {
        let flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.get(&key).filter(|flight| now.is_none_or(|now| flight.ticket == now)).map(|f| f.answer.clone())
    }

    /// A new look-up, which is joined from now on in place of an older one.
    pub(crate) fn lead(&self, key: K, ticket: Ticket) -> Leader<'_, K, T> {
        let (sender, answer) = watch::channel(None);
        let flight = Flight { ticket, answer };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, flight);
        Leader { flights: self, key, answer: sender }
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Leader<'_, K, T> {
    /// Gives the answer to everybody who has joined. It is no longer joined once the [`Leader`] is dropped.
    pub(crate) fn land(&self, answer: &Answer<T>) {
        self.answer.send_replace(Some(answer.clone()));
    }
}

impl<K: Copy + Eq + Hash, T: Clone> Drop for Leader<'_, K, T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.answer.subscribe();
        if flights.get(&self.key).is_some_and(|flight| flight.answer.same_channel(&own)) {
            flights.remove(&self.key);
        }
    }
}

//! Which credentials were used, gathered until somebody writes it down.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tollhouse_domain::id::GenerationId;
use tollhouse_domain::lookup::{Credential, MOST_ADDRESSES, SessionRecord, TokenRecord, network};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;

use crate::credential_cache::Entry;

/// How long sessions last, and how often their use and that of tokens is noted.
#[derive(Clone, Copy, Debug)]
pub struct UseRules {
    /// How long an unused session lasts.
    pub session_lifetime: Duration,
    /// Sessions end that long after sign-in, used or not (authentication.md 6.2 `session_expire_from_init`).
    pub from_sign_in: bool,
    /// No session lasts longer than that from sign-in, however much it is used. `None`: there is no such bound.
    pub session_longest: Option<Duration>,
    /// At most one note per credential in this time (5.6).
    pub interval: Duration,
}

impl UseRules {
    /// The first instant at which a session is over, whatever it was extended to.
    pub fn end_of(&self, session: &SessionRecord) -> Timestamp {
        session.expires_at.min(self.last_of(session))
    }

    /// The first instant at which it is over and cannot be extended any more.
    pub fn last_of(&self, session: &SessionRecord) -> Timestamp {
        self.session_longest.map_or(Timestamp(i64::MAX), |longest| session.authenticated_at + longest)
    }
}

/// Uses that were noted and not yet written.
#[derive(Default)]
pub struct Uses(Mutex<Gathered>);

/// Uses to be written in one batch, by what was used.
#[derive(Debug, Default)]
pub struct Gathered {
    /// Personal access tokens; of OAuth tokens nobody is shown the last use.
    pub tokens: HashMap<GenerationId, TokenUse>,
    /// When it was used, and until when it lasts now.
    pub sessions: HashMap<Digest, (Timestamp, Timestamp)>,
}

/// The uses of one token.
#[derive(Debug)]
pub struct TokenUse {
    /// When it was last used. `None`: that was written less than an interval ago.
    pub at: Option<Timestamp>,
    /// From where, the oldest first, each once: at most [`MOST_ADDRESSES`].
    pub addresses: Vec<IpAddr>,
    /// The token that is remembered.
    pub record: Arc<TokenRecord>,
}

impl Uses {
    /// Notes the use of a credential, at most once in an interval. OAuth tokens are left out, and so are sessions that
    /// use does not extend (`from_sign_in`). An address from which a token was not used in this interval is noted at once.
    pub(crate) fn note(&self, entry: &Entry, rules: UseRules, peer: Option<IpAddr>, now: Timestamp) {
        let (last, interval) = match &entry.record.credential {
            Credential::PersonalAccessToken(token) => (&token.last_used_at, rules.interval),
            Credential::OauthAccessToken(_) => return,
            // A short session must be extended before it ends.
            Credential::Session(session) => (&session.extended_at, rules.interval.min(rules.session_lifetime / 4)),
        };
        let due = last.note(now, interval);
        let address = match (&entry.record.credential, peer) {
            (Credential::PersonalAccessToken(token), Some(peer)) => {
                Some(network(peer)).filter(|address| token.last_used_ips.note(*address, due))
            }
            _ => None,
        };
        if !due && address.is_none() {
            return;
        }
        let mut gathered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &entry.record.credential {
            Credential::PersonalAccessToken(token) => {
                let new = || TokenUse { at: None, addresses: Vec::new(), record: token.clone() };
                let uses = gathered.tokens.entry(token.id).or_insert_with(new);
                uses.at = if due { Some(now) } else { uses.at };
                uses.record = token.clone();
                if let Some(address) = address {
                    uses.addresses.retain(|known| *known != address);
                    uses.addresses.push(address);
                    let surplus = uses.addresses.len().saturating_sub(MOST_ADDRESSES);
                    uses.addresses.drain(..surplus);
                }
            }
            Credential::OauthAccessToken(_) => {}
            Credential::Session(_) if rules.from_sign_in => {}
            Credential::Session(session) => {
                gathered
                    .sessions
                    .insert(session.digest, (now, (now + rules.session_lifetime).min(rules.last_of(session))));
            }
        }
    }

    /// Takes what was gathered since the last time.
    pub fn take(&self) -> Gathered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

//! Which credentials were used, gathered until somebody writes it down.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Notes the use of a credential, at most once in an interval. OAuth, deploy and job tokens are left out, and so
    /// are sessions that use does not extend (`from_sign_in`). An address from which a token was not used in this interval
    /// is noted at once.
    pub(crate) fn note(&self, entry: &Entry, rules: UseRules, peer: Option<IpAddr>, now: Timestamp) {
        // A short session must be extended before it ends.
        let session_interval = rules.interval.min(rules.session_lifetime / 4);
        match &entry.record.credential {
            Credential::PersonalAccessToken(token) => {
                let due = token.last_used_at.note(now, rules.interval);
                let address = peer.map(network).filter(|address| token.last_used_ips.note(*address, due));
                if due || address.is_some() {
                    self.note_token(token, due.then_some(now), address);
                }
            }
            Credential::Session(session) if !rules.from_sign_in && session.extended_at.note(now, session_interval) => {
                let end = (now + rules.session_lifetime).min(rules.last_of(session));
                self.gathered().sessions.insert(session.digest, (now, end));
            }
            Credential::OauthAccessToken(_)
            | Credential::Session(_)
            | Credential::DeployToken(_)
            | Credential::JobToken(_) => {}
        }
    }

    fn note_token(&self, token: &Arc<TokenRecord>, at: Option<Timestamp>, address: Option<IpAddr>) {
        let mut gathered = self.gathered();
        let new = || TokenUse { at: None, addresses: Vec::new(), record: token.clone() };
        let uses = gathered.tokens.entry(token.id).or_insert_with(new);
        uses.at = at.or(uses.at);
        uses.record = token.clone();
        if let Some(address) = address {
            uses.addresses.retain(|known| *known != address);
            uses.addresses.push(address);
            let surplus = uses.addresses.len().saturating_sub(MOST_ADDRESSES);
            uses.addresses.drain(..surplus);
        }
    }

    /// Takes what was gathered since the last time.
    pub fn take(&self) -> Gathered {
        std::mem::take(&mut *self.gathered())
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tollhouse_domain::lookup::{Key, Record};

    use super::*;
    use crate::credential_cache::CredentialCache;
    use crate::test_records;

    const DIGEST: Digest = Digest([1; 32]);

    const RULES: UseRules = UseRules {
        session_lifetime: Duration::from_millis(1_000),
        from_sign_in: false,
        session_longest: None,
        interval: Duration::from_millis(600),
    };

    fn entry(credential: Credential) -> Arc<Entry> {
        let cache = CredentialCache::new(10);
        let record = Record { credential, owner: None };
        cache.insert(cache.ticket(), Key::Token(DIGEST), Some(record)).expect("the record")
    }

    fn token() -> Arc<TokenRecord> {
        Arc::new(test_records::token(7, DIGEST))
    }

    fn session() -> Credential {
        Credential::Session(Arc::new(test_records::session(DIGEST, Timestamp(1_000))))
    }

    #[test]
    fn a_use_of_a_personal_access_token_is_noted_once_in_an_interval() {
        let (uses, entry) = (Uses::default(), entry(Credential::PersonalAccessToken(token())));
        for (now, noted) in [(5, true), (5, false), (604, false), (605, true), (1_204, false), (1_205, true)] {
            uses.note(&entry, RULES, None, Timestamp(now));
            let gathered = uses.take();
            let at = gathered.tokens.get(&GenerationId(7)).map(|uses| (uses.at, uses.record.digest));
            assert_eq!(at, noted.then_some((Some(Timestamp(now)), DIGEST)), "at {now}");
            assert!(gathered.sessions.is_empty());
        }
    }

    #[test]
    fn addresses_are_gathered_once_each_and_the_newest_last() {
        let (uses, entry) = (Uses::default(), entry(Credential::PersonalAccessToken(token())));
        let address = |n: u8| IpAddr::from([192, 0, 2, n]);
        // The first is there again: it was used once more in the next interval.
        for (now, n) in [(0, 1), (1, 2), (600, 1)] {
            uses.note(&entry, RULES, Some(address(n)), Timestamp(now));
        }
        let gathered = uses.take();
        assert_eq!(gathered.tokens[&GenerationId(7)].addresses, [address(2), address(1)]);
        for n in 1..=9 {
            uses.note(&entry, RULES, Some(address(n)), Timestamp(1_200));
        }
        let newest: Vec<IpAddr> = (5..=9).map(address).collect();
        assert_eq!(uses.take().tokens[&GenerationId(7)].addresses, newest);
    }

    #[test]
    fn a_use_of_an_oauth_token_is_not_noted() {
        let uses = Uses::default();
        uses.note(&entry(Credential::OauthAccessToken(token())), RULES, None, Timestamp(5));
        assert!(uses.take().tokens.is_empty());
    }

    #[test]
    fn a_use_extends_a_session_up_to_its_longest_time() {
        let longest = |millis| UseRules { session_longest: Some(Duration::from_millis(millis)), ..RULES };
        let seldom = UseRules { interval: Duration::from_millis(100), ..RULES };
        for (name, rules, now, extended_to) in [
            ("within a quarter of its life", RULES, 249, None),
            ("after a quarter of its life", RULES, 250, Some(1_250)),
            ("within the interval", seldom, 99, None),
            ("after the interval", seldom, 100, Some(1_100)),
            ("up to the longest time", longest(1_249), 250, Some(1_249)),
            ("as far as the longest time allows", longest(1_251), 250, Some(1_250)),
            ("from sign-in", UseRules { from_sign_in: true, ..RULES }, 250, None),
        ] {
            let uses = Uses::default();
            uses.note(&entry(session()), rules, None, Timestamp(now));
            let gathered = uses.take();
            let expected = extended_to.map(|end| (Timestamp(now), Timestamp(end)));
            assert_eq!(gathered.sessions.get(&DIGEST).copied(), expected, "{name}");
            assert!(gathered.tokens.is_empty() && uses.take().sessions.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_session_is_over_at_its_end_or_at_its_longest_time() {
        let session =
            SessionRecord { authenticated_at: Timestamp(100), ..test_records::session(DIGEST, Timestamp(1_000)) };
        for (longest, last, end) in [(None, i64::MAX, 1_000), (Some(899), 999, 999), (Some(901), 1_001, 1_000)] {
            let rules = UseRules { session_longest: longest.map(Duration::from_millis), ..RULES };
            assert_eq!((rules.last_of(&session), rules.end_of(&session)), (Timestamp(last), Timestamp(end)));
        }
    }
}

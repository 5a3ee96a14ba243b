//! The authenticator over a database in memory.

mod authenticating;
mod candidates;
mod first_use;
mod look_ups;
mod memory;
mod oauth_tokens;
mod sessions;
mod sharing;

use std::time::Duration;

use http::request::Parts;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::{AccountRules, AccountState, User};

use super::*;
use crate::test_records::user;
use memory::{Kind, Memory, Row};

pub(super) const NOW: Timestamp = Timestamp(1_000_000);

/// What anonymous callers may do too.
const OPEN: AccessRequirement<'static> = AccessRequirement { anonymous: true, ..AccessRequirement::PLAIN };

/// An authenticator with the database that it asks. The cache has no lease, so every look-up reaches the database.
struct Setup {
    memory: Arc<Memory>,
    cache: Arc<CredentialCache>,
    auth: Arc<Authenticator>,
    nanos: Arc<AtomicU64>,
}

impl Setup {
    fn new() -> Self {
        Self::with(|_, _| {})
    }

    /// With other rules.
    fn with(change: impl FnOnce(&mut Rules, &mut UseRules)) -> Self {
        let accounts = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
        let mut rules = Rules { accounts, gitlab_rotation: false, impersonation: true };
        let mut use_rules = UseRules {
            session_lifetime: Duration::from_secs(60),
            from_sign_in: false,
            session_longest: None,
            interval: Duration::from_secs(600),
        };
        change(&mut rules, &mut use_rules);
        let (memory, cache) = (Arc::<Memory>::default(), Arc::new(CredentialCache::new(100)));
        let nanos = Arc::new(AtomicU64::new(1));
        let uptime = Uptime::by_hand(nanos.clone());
        let auth = Arc::new(Authenticator::new(memory.clone(), cache.clone(), uptime, rules, use_rules));
        for id in [1, 2] {
            memory.put_user(user(id));
        }
        Self { memory, cache, auth, nanos }
    }

    /// With a lease, so that the cache answers what it knows.
    fn leased() -> Self {
        let setup = Self::new();
        setup.lease();
        setup
    }

    fn lease(&self) {
        self.cache.lease(Tick(1_000));
    }

    async fn authenticate(&self, request: &Parts) -> Result<Option<Identity>, Denial> {
        self.required(request, &AccessRequirement::PLAIN).await
    }

    async fn required(&self, request: &Parts, requirement: &AccessRequirement<'_>) -> Result<Option<Identity>, Denial> {
        self.auth.authenticate(&PresentedCredentials::in_head(request, None), requirement, NOW).await
    }
}

/// A GET with these headers.
fn get(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// A GET with a personal access token.
fn with_token(secret: &str) -> Parts {
    get("/", &[("private-token", secret)])
}

fn token_key(secret: &str) -> Key {
    Key::Token(Digest::of(secret.as_bytes()))
}

fn session_key(cookie: &str) -> Key {
    Key::Session(Digest::of(cookie.as_bytes()))
}

/// Who was recognised, and who it really was if sudo was used.
fn names(answer: Result<Option<Identity>, Denial>) -> Result<Option<(i64, Option<i64>)>, Denial> {
    answer.map(|identity| identity.map(|who| (who.user.id.0, who.sudo_by.map(|real| real.id.0))))
}

/// Lets every other task run until it waits.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

//! What handlers share, and the one way to change anything.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::Request;
use tokio::sync::OnceCell;
use tollhouse_auth::authenticator::{Authenticator, Head};
use tollhouse_auth::credential_cache::{CredentialCache, Entry};
use tollhouse_auth::limiter::Limiter;
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::audit::By;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::grantor::GrantableScopes;
use tollhouse_domain::identity::{Identity, Rules};
use tollhouse_domain::lookup::Lookup;
use tollhouse_domain::membership::UserMemberships;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::rotation::Settings as RotationSettings;
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_domain::user::AccountRules;
use tollhouse_store::db::Db;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::tx::{Change, Committed, Tx, Until};
use tollhouse_store::work::Work;
use tollhouse_store::{instance, oauth_access_grants, sealed_keys};

use crate::bodies::Budget;
use crate::config::{Rotation, Settings, Unusable};
use crate::device;
use crate::error::Error;
use crate::gateway::{Gateway, Unloaded};
use crate::hasher::Hasher;
use crate::keys::{Keys, Seal, WrongKey};
use crate::metrics::Metrics;
use crate::node::{self, Node};
use crate::operations::tokens::Asker;
use crate::operations::{self, Done, Failed, Operation, rotation, tokens};
use crate::refusal::Refusal;
use crate::request::{RequestId, peer};
use crate::urls::Urls;

/// Cheap to clone. The one a handler is given also knows where its request came from.
#[derive(Clone)]
pub struct App {
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
    request_id: Option<RequestId>,
}

/// What all requests of one process share. It is made once, at the start.
pub struct Shared {
    /// The database.
    pub db: Db,
    /// Decides who calls; it holds the credential cache.
    pub auth: Authenticator,
    /// What keeps this process in step with the others on the database.
    pub node: Arc<Node>,
    uptime: Uptime,
    /// The settings in force, as they were at the start.
    pub settings: Settings,
    /// Our own names, and every absolute URL.
    pub urls: Urls,
    /// The only source of the time; see [`App::now`].
    pub clock: Clock,
    /// Hashes and compares passwords.
    pub hasher: Hasher,
    /// Comparisons of passwords, by address.
    pub comparisons: Limiter,
    /// The memory that bodies of requests may take.
    pub bodies: Budget,
    /// What was counted since the start.
    pub metrics: Metrics,
    /// Seals and opens the keys in the database.
    pub seal: Seal,
    /// The rules of `/-/auth`, and their settings.
    pub gateway: Gateway,
    keyring: OnceCell<Keys>,
    device_key: OnceCell<device::Key>,
    /// The database was made by `demo`, so its secrets are known (T33).
    pub demo: bool,
    /// What fails on demand.
    #[cfg(feature = "faults")]
    pub faults: crate::faults::Faults,
}

impl std::ops::Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl App {
    /// Fails if `seal` does not open the keys that are there.
    pub async fn new(db: Db, settings: Settings, urls: Urls, clock: Clock, seal: Seal) -> Result<Self, Unready> {
        seal.opens(&sealed_keys::all(&mut db.read().await?).await?)?;
        oauth_access_grants::hash_plain_challenges(&db).await?;
        let gateway = Gateway::open(&settings, &urls, &db).await?;
        Ok(Self::assemble(db, settings, urls, clock, seal, gateway).await?)
    }

    /// For a command: it remembers nothing, and neither signs nor opens a key.
    pub async fn for_command(db: Db, mut settings: Settings, urls: Urls, clock: Clock) -> Result<Self, StoreError> {
        settings.cache.entries = 0;
        let gateway = Gateway::closed(&settings, &urls);
        Self::assemble(db, settings, urls, clock, Seal::open(), gateway).await
    }

    async fn assemble(
        db: Db,
        settings: Settings,
        urls: Urls,
        clock: Clock,
        seal: Seal,
        gateway: Gateway,
    ) -> Result<Self, StoreError> {
        let demo = instance::get(&mut db.read().await?, DEMO).await?.is_some();
        let (uptime, cache) = (Uptime::system(), CredentialCache::new(settings.cache.entries));
        #[cfg(feature = "faults")]
        let cache = cache.breaking(db.faults.mutants.clone());
        let cache = Arc::new(cache);
        let node = Arc::new(Node::new(
            node::Shared { db: db.clone(), clock: clock.clone(), uptime: uptime.clone() },
            cache.clone(),
        ));
        let auth = authenticator(Arc::new(db.clone()), cache, uptime.clone(), &settings);
        let hasher = Hasher::start();
        let bodies = Budget::new(settings.limits.bodies.0, settings.limits.bodies_per_address.0);
        let shared = Shared {
            db,
            auth,
            node,
            uptime,
            settings,
            urls,
            clock,
            hasher,
            comparisons: Limiter::new(COMPARISONS),
            bodies,
            metrics: Metrics::default(),
            seal,
            gateway,
            keyring: OnceCell::new(),
            device_key: OnceCell::new(),
            demo,
            #[cfg(feature = "faults")]
            faults: Default::default(),
        };
        Ok(Self { shared: Arc::new(shared), peer: None, request_id: None })
    }

    /// Whether applications may be registered with plain http beyond this machine. A server that is https itself would
    /// send codes across the network in clear (RFC 9700 section 2.6).
    pub fn plain_redirects(&self) -> bool {
        !self.urls.is_https() || self.demo || self.settings.compat.redirect_uri.is_gitlab()
    }

    /// The same, for this request.
    pub fn asked_by(&self, request: &Request<Body>) -> Self {
        let request_id = request.extensions().get().cloned();
        Self { shared: self.shared.clone(), peer: peer(request), request_id }
    }

    /// The id of the request that is answered, if it is one for a page.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_ref().map(|id| &*id.0)
    }

    /// Who is behind a change that this caller asks for.
    pub fn by(&self, caller: &Identity) -> By {
        By::caller(caller, self.peer)
    }

    /// The caller of an endpoint that is about tokens.
    pub fn asker(&self, caller: &Identity) -> Asker {
        Asker { user: caller.user.id, grantable: self.grantable(caller) }
    }

    /// What the credential of a caller may put into a token (authentication.md 3.3). `None`: anything that the owner may
    /// hold, which is GitLab's rule.
    pub fn grantable(&self, caller: &Identity) -> Option<GrantableScopes> {
        (!self.settings.compat.admin_scopes.is_gitlab()).then(|| caller.grantable())
    }

    /// The address that this request comes from, as far as it is known.
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// All memberships of a caller. An anonymous caller has none.
    pub async fn memberships(&self, caller: Option<&Identity>) -> Result<Option<Arc<Entry<UserMemberships>>>, Error> {
        let Some(caller) = caller else { return Ok(None) };
        Ok(Some(self.auth.user_memberships(caller.user.id, self.peer, self.now()).await?))
    }

    /// The present instant, by the clock of this server; tests set it.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Judges a request, and does what a refusal asks for before it is answered.
    pub async fn authenticate(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
    ) -> Result<Option<Identity>, Error> {
        let began = Instant::now();
        let judged = self.auth.authenticate(presented, requirement, self.now()).await;
        self.metrics.judged(began.elapsed());
        match judged {
            Err(Denial::Reused(family)) => {
                let by = By { address: presented.peer(), ..By::system() };
                // Boxed, as the rare ways are: what is not taken should not make every request's future larger.
                Box::pin(self.perform(tokens::EndReusedFamily { family }, &by)).await?.into_inner();
                Err(Denial::Reused(family).into())
            }
            Err(Denial::Revoked) if requirement.revokes || requirement.rotates => {
                Box::pin(self.settled()).await;
                Err(Denial::Revoked.into())
            }
            judged => Ok(judged?),
        }
    }

    /// Looks up the credential in the head of a request whose body comes later. A refusal counts as a judgement.
    pub async fn head(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
    ) -> Result<Head, Error> {
        let began = Instant::now();
        let head = self.auth.head(presented, requirement, self.now()).await;
        if head.is_err() {
            self.metrics.judged(began.elapsed());
        }
        Ok(head?)
    }

    /// The same judgement over another look-up, remembering nothing.
    pub fn authenticator_over(&self, lookup: Arc<dyn Lookup>) -> Authenticator {
        authenticator(lookup, Arc::new(CredentialCache::new(0)), self.uptime.clone(), &self.settings)
    }

    /// Runs an operation, commits it with its audit rows and log entries, and waits until every node has read those:
    /// then, and only then, it is done. A transaction that another one was in the way of is tried again.
    pub async fn perform<O: Operation>(&self, operation: O, by: &By) -> Result<Done<O::Output>, Error> {
        if O::GROWS {
            self.db.room_to_grow()?;
        }
        let operation = Arc::new(operation);
        let mut rounds = ROUNDS;
        let (value, until, untrue) = loop {
            rounds -= 1;
            match self.attempt(&operation, by).await {
                Err(Failed::Store(StoreError::Clash)) if rounds > 0 => tokio::task::yield_now().await,
                Err(Failed::Store(error)) => return Err(error.into()),
                // It may be gone because the same was asked for before (revocation.md W4).
                Err(Failed::Refused(refusal @ Refusal::NotFound(_))) if !O::GROWS => {
                    break (Err(refusal.into()), Until::Newest, None);
                }
                Err(Failed::Refused(refusal)) => return Err(refusal.into()),
                Err(Failed::Already(refusal)) => break (Err(refusal.into()), Until::Newest, None),
                Err(Failed::Inconsistent) => return Err(Error::Internal),
                Err(Failed::Undecided) => return Err(Error::Unavailable),
                Ok(committed) => {
                    committed.created.iter().for_each(|digest| self.auth.evict_negative(*digest));
                    // If the work was done before, the entries of that earlier commit are not known here.
                    let untrue = matches!(committed.until, Until::Entry(_)).then_some(committed.untrue);
                    break (Ok(committed.value), committed.until, untrue);
                }
            }
        };
        self.node.acknowledge(until, untrue.as_deref(), self.uptime.now()).await;
        value.map(Done::new)
    }

    /// Returns when every node knows what is in the log now: for an answer that says of something that it is gone, which
    /// somebody may have been waiting to hear (revocation.md W4).
    pub async fn settled(&self) {
        self.node.acknowledge(Until::Newest, None, self.uptime.now()).await;
    }

    async fn attempt<O: Operation>(&self, operation: &Arc<O>, by: &By) -> Result<Committed<O::Output>, Failed> {
        let attempt = Attempt { operation: operation.clone(), by: by.clone(), now: self.now() };
        self.db.perform(attempt).await.inspect_err(|failed| {
            // Whether it happened is not known here; if it did, the log says so.
            if matches!(failed, Failed::Store(_)) {
                self.node.wake();
            }
        })
    }

    /// How many wrong passwords lock an account, and for how long.
    pub fn lockout(&self) -> Lockout {
        let passwords = &self.settings.passwords;
        Lockout { attempts: i64::from(passwords.attempts), period: passwords.lock_for.0 }
    }

    /// How long a lost answer to a rotation is repaired, and whether it is at all (`compat.rotation`).
    pub fn rotation(&self) -> rotation::Rules {
        let Rotation { window, settle, .. } = &self.settings.rotation;
        let settings = RotationSettings { window: window.0, settle: settle.0, idle: self.settings.oauth.idle() };
        rotation::Rules { settings, gitlab: self.settings.compat.rotation.is_gitlab() }
    }

    /// What keeps an account from the API besides its state.
    pub fn accounts(&self) -> AccountRules {
        account_rules(&self.settings)
    }

    /// What this instance signs with; made at the first start.
    pub async fn keys(&self) -> Result<&Keys, Error> {
        self.keyring.get_or_try_init(|| operations::keys::open(self)).await
    }

    /// What the cookie of [`device`] is signed with. It is read, or made, at its first use; [`Error::Unavailable`]
    /// without a database.
    pub async fn device_key(&self) -> Result<&device::Key, Error> {
        let key = async || Ok(device::Key::of(&operations::keys::secret(self, "devices").await?));
        self.device_key.get_or_try_init(key).await
    }
}

/// One try at an operation, as the database runs it.
struct Attempt<O> {
    operation: Arc<O>,
    by: By,
    now: Timestamp,
}

impl<O: Operation> Work for Attempt<O> {
    type Output = O::Output;
    type Error = Failed;

    const LOGS: bool = O::REVOKES;

    fn by(&self) -> &By {
        &self.by
    }

    fn now(&self) -> Timestamp {
        self.now
    }

    async fn run(&self, tx: &mut Tx) -> Result<Change<Self::Output>, Failed> {
        self.operation.run(tx, self.now).await
    }
}

impl From<Unloaded> for Unready {
    fn from(error: Unloaded) -> Self {
        match error {
            Unloaded::File(error) => Self::Rules(error),
            Unloaded::Store(error) => Self::Store(error),
        }
    }
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum Unready {
    /// The database cannot be asked, or is not what this program works with.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// `secret_key_file` does not open the keys in the database.
    #[error("{0}")]
    Key(#[from] WrongKey),
    /// The rules of the gateway cannot be used.
    #[error("{0}")]
    Rules(#[from] Unusable),
}

fn authenticator(
    lookup: Arc<dyn Lookup>,
    cache: Arc<CredentialCache>,
    uptime: Uptime,
    settings: &Settings,
) -> Authenticator {
    let rules = Rules {
        accounts: account_rules(settings),
        gitlab_rotation: settings.compat.rotation.is_gitlab(),
        impersonation: settings.tokens.impersonation,
    };
    let use_rules = UseRules {
        session_lifetime: settings.sessions.lifetime.0,
        from_sign_in: settings.sessions.from_sign_in,
        session_longest: settings.sessions.longest(),
        interval: settings.tokens.use_interval.0,
    };
    Authenticator::new(lookup, cache, uptime, rules, use_rules)
}

fn account_rules(settings: &Settings) -> AccountRules {
    AccountRules {
        confirmation_required: settings.accounts.confirmation_required,
        lockout_stops_tokens: settings.compat.lockout.is_gitlab(),
    }
}

/// Key in `instance` of a database that `demo` made.
pub const DEMO: &str = "demo";

/// Of one address at once. An address that is near its bound learns soon which of its attempts were wrong.
const COMPARISONS: u32 = 4;
const ROUNDS: usize = 8;

//! Authentication: from the presented credentials to an identity, or to why there is none.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::agreement::Tick;
use tollhouse_domain::application::Application;
use tollhouse_domain::denial::Denial;
#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutants;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::{Caller, Identity, Rules};
use tollhouse_domain::lookup::{Answer as LookUp, Credential, Key, Lookup, Record, SessionRecord};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;

use crate::credential_cache::{Cacheable, Cached, CredentialCache, Entry};
use crate::flights::Answer;
use crate::limiter::{Limiter, Permit};
use crate::presented::{CandidateKind, CredentialPlace, IfUnknown, PresentedCredentials, Secret, Sudo};
use crate::session_cookies::{LiveSession, SessionCookies};
use crate::sudo;
use crate::uptime::Uptime;
use crate::uses::{UseRules, Uses};

/// Authenticates requests: presented credentials in, an [`Identity`] or a [`Denial`] out. One per process, shared by
/// all requests.
pub struct Authenticator {
    cache: Arc<CredentialCache>,
    uptime: Uptime,
    lookup: Arc<dyn Lookup>,
    rules: Rules,
    use_rules: UseRules,
    uses: Uses,
    limiter: Limiter,
    look_ups: AtomicU64,
    cache_counts: [AtomicU64; 3],
    #[cfg(feature = "faults")]
    mutants: Mutants,
    #[cfg(feature = "faults")]
    clock_read: AtomicU64,
    #[cfg(feature = "faults")]
    cached_clock: AtomicU64,
}

/// What the cache said since the start, as often as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheCounts {
    /// Answered with a record.
    pub known: u64,
    /// Answered that there is no such credential.
    pub unknown: u64,
    /// Not answered: the database was asked.
    pub ask: u64,
}

/// What the head of a request says about its sender, before anything else is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// No credential.
    Nothing,
    /// A known credential that is expired or revoked, or whose account may not use the API.
    Dead,
    /// A valid credential, whatever its scopes.
    Live,
}

impl Authenticator {
    /// Whoever follows the log gives the cache its leases; without them the database is asked every time.
    pub fn new(
        lookup: Arc<dyn Lookup>,
        cache: Arc<CredentialCache>,
        uptime: Uptime,
        rules: Rules,
        use_rules: UseRules,
    ) -> Self {
        Self {
            #[cfg(feature = "faults")]
            mutants: cache.mutants.clone(),
            #[cfg(feature = "faults")]
            clock_read: AtomicU64::new(0),
            #[cfg(feature = "faults")]
            cached_clock: AtomicU64::new(0),
            cache,
            uptime,
            lookup,
            rules,
            use_rules,
            uses: Uses::default(),
            limiter: Limiter::new(LOOK_UPS),
            look_ups: AtomicU64::new(0),
            cache_counts: Default::default(),
        }
    }

    /// `Ok(None)` is anonymous; a denial says that a credential was tried and failed, or that one is missing.
    /// The order is that of authentication.md 0.1.
    pub async fn authenticate(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        now: Timestamp,
    ) -> Result<Option<Identity>, Denial> {
        let identity = match self.resolve(presented, requirement, now).await? {
            Some((caller, _)) => Some(caller.person()?),
            None => None,
        };
        let identity = match (identity, presented.sudo()) {
            (Some(who), Some(Sudo::Name(target))) => Some(Box::pin(sudo::assume(who, target, &*self.lookup)).await?),
            (Some(_), Some(Sudo::Unreadable)) => return Err(Denial::SudoInvalid),
            (None, Some(_)) => return Err(Denial::Missing),
            (identity, None) => identity,
        };
        let limits = identity.as_ref().map(|who| who.scopes().filter(|_| who.sudo_by.is_none()));
        met(requirement, limits, presented.is_read())?;
        Ok(identity)
    }

    /// Looks up the credential in the head of a request whose body was not read yet (authentication.md 0, stage 6a). Does
    /// not note its use. Fails with [`Denial::Unknown`] for an unknown value, and with [`Denial::Unavailable`].
    pub async fn head(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        now: Timestamp,
    ) -> Result<Head, Denial> {
        let Some((entry, _)) = self.credential(presented, requirement, now).await? else { return Ok(Head::Nothing) };
        match Caller::resolve(entry.record.clone(), requirement, self.rules, now) {
            Ok(_) => Ok(Head::Live),
            Err(_) => Ok(Head::Dead),
        }
    }

    /// For somebody else's API: judged as for a route of ours, but that an application may come for itself where the
    /// demand names it (T6), and with the place that decided, which is not passed on (T7).
    pub async fn authorize_relayed(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        now: Timestamp,
    ) -> Result<Option<(Caller, CredentialPlace)>, Denial> {
        let established = self.resolve(presented, requirement, now).await?;
        met(requirement, established.as_ref().map(|(caller, _)| caller.scopes()), presented.is_read())?;
        Ok(established)
    }

    /// What a user is to a group or project; remembered until something of that user is forgotten.
    pub async fn memberships(
        &self,
        user: UserId,
        of: MembershipSource,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Entry<Memberships>>, Denial> {
        let ask =
            || -> LookUp<'_, _> { Box::pin(async move { self.lookup.memberships(user, of, now).await.map(Some) }) };
        self.remembered_or_asked((user, of), peer, ask).await?.ok_or(Denial::Unavailable)
    }

    /// Everything that a user is a member of; remembered until something of that user, or the tree of groups, is
    /// forgotten.
    pub async fn user_memberships(
        &self,
        user: UserId,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Entry<UserMemberships>>, Denial> {
        let ask =
            || -> LookUp<'_, _> { Box::pin(async move { self.lookup.user_memberships(user, now).await.map(Some) }) };
        self.remembered_or_asked(user, peer, ask).await?.ok_or(Denial::Unavailable)
    }

    /// The application with this `client_id`, however it authenticates.
    pub async fn application(
        &self,
        client_id: &str,
        peer: Option<IpAddr>,
    ) -> Result<Option<Arc<Entry<Application>>>, Denial> {
        let key = Digest::of(client_id.as_bytes());
        self.remembered_or_asked(key, peer, || self.lookup.application(client_id)).await
    }

    /// The one live session among these cookies, whatever the state of the account (T9).
    pub async fn live_session<'s>(
        &self,
        cookies: &'s SessionCookies,
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<LiveSession<'s>, Denial> {
        if cookies.too_many() {
            return Ok(LiveSession::Several);
        }
        let mut live = LiveSession::None;
        for cookie in cookies.iter() {
            if let Some(entry) = self.by_session(cookie, now, peer).await? {
                if matches!(live, LiveSession::One(..)) {
                    return Ok(LiveSession::Several);
                }
                live = LiveSession::One(cookie, entry);
            }
        }
        Ok(live)
    }

    /// The signed-in person of a live session, for pages: tokens do not count there (T10). It counts as used.
    pub fn person_of(&self, session: &Entry, now: Timestamp) -> Result<Identity, Denial> {
        let identity = Identity::resolve(session.record.clone(), &AccessRequirement::PLAIN, self.rules, now)?;
        self.uses.note(session, self.use_rules, None, now);
        Ok(identity)
    }

    /// The OAuth access token among the presented credentials, for the endpoints that take no other kind (oauth.md 8.3, 9.2), in
    /// whatever state it is. It counts as used.
    pub async fn oauth_token(
        &self,
        presented: &PresentedCredentials<'_>,
        now: Timestamp,
    ) -> Result<Option<Record>, Denial> {
        let Some(digest) = presented.bearer().and_then(Secret::digest) else { return Ok(None) };
        self.oauth_secret(Key::Token(digest), presented.peer(), now).await
    }

    /// The OAuth token with this access or refresh token, which somebody showed or asked about, in whatever state it is.
    /// It counts as used.
    pub async fn oauth_secret(&self, key: Key, peer: Option<IpAddr>, now: Timestamp) -> Result<Option<Record>, Denial> {
        let found = self.by_token(key, now, peer).await?;
        let found = found.filter(|entry| is_of(CandidateKind::OauthAccessToken, &entry.record.credential));
        Ok(found.map(|entry| entry.record.clone()))
    }

    /// A place among the look-ups of this address (T14), for whoever asks the database about a credential elsewhere.
    pub async fn permit(&self, peer: Option<IpAddr>) -> Option<Permit> {
        self.limiter.permit(peer).await
    }

    /// A token that this node created just now: it is no longer unknown.
    pub fn evict_negative(&self, digest: Digest) {
        self.cache.evict_negative(Key::Token(digest));
        self.cache.evict_negative(Key::Refresh(digest));
        self.cache.evict_negative(Key::Deploy(digest));
        self.cache.evict_negative(Key::Job(digest));
    }

    /// The uses that wait to be written to the database.
    pub fn uses(&self) -> &Uses {
        &self.uses
    }

    /// How long sessions last, and how often a use is noted.
    pub fn use_rules(&self) -> UseRules {
        self.use_rules
    }

    /// How often the database was asked about a credential since the start.
    pub fn look_ups(&self) -> u64 {
        self.look_ups.load(Ordering::Relaxed)
    }

    /// How often memory answered, and how often it could not.
    pub fn cache_counts(&self) -> CacheCounts {
        let [known, unknown, ask] = [0, 1, 2].map(|i| self.cache_counts[i].load(Ordering::Relaxed));
        CacheCounts { known, unknown, ask }
    }

    /// How many credentials are remembered now.
    pub fn remembered(&self) -> usize {
        self.cache.len()
    }

    /// Who it is by what was shown, before sudo and scopes, and which place said so. Whoever comes this far has used it.
    async fn resolve(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        now: Timestamp,
    ) -> Result<Option<(Caller, CredentialPlace)>, Denial> {
        let Some((entry, place)) = self.credential(presented, requirement, now).await? else { return Ok(None) };
        let caller = Caller::resolve(entry.record.clone(), requirement, self.rules, now)?;
        self.uses.note(&entry, self.use_rules, presented.peer(), now);
        Ok(Some((caller, place)))
    }

    async fn credential(
        &self,
        presented: &PresentedCredentials<'_>,
        requirement: &AccessRequirement<'_>,
        now: Timestamp,
    ) -> Result<Option<(Arc<Entry>, CredentialPlace)>, Denial> {
        // The same value is often tried as one kind of access token and then as the other; both stand in one space of
        // digests.
        let mut seen: Option<(&Secret<'_>, Option<Arc<Entry>>)> = None;
        for candidate in presented.candidates(requirement) {
            let is_access_token = candidate.kind.is_access_token();
            let found = match seen.take() {
                Some((secret, found)) if is_access_token && std::ptr::eq(secret, candidate.secret) => found,
                _ => match candidate.secret.digest().map(|digest| candidate.kind.key(digest)) {
                    Some(key) if is_access_token => self.by_token(key, now, presented.peer()).await?,
                    Some(key) => {
                        let found = self.find(key, presented.peer()).await?;
                        found.filter(|entry| !entry.record.credential.is_over(now))
                    }
                    None => None,
                },
            };
            match found {
                Some(entry) if is_of(candidate.kind, &entry.record.credential) => {
                    return Ok(Some((entry, candidate.place)));
                }
                _ if candidate.if_unknown == IfUnknown::Stop => return Err(Denial::Unknown),
                found if is_access_token => seen = Some((candidate.secret, found)),
                _ => {}
            }
        }
        let Some(cookies) = presented.sessions() else { return Ok(None) };
        match Box::pin(self.live_session(cookies, presented.peer(), now)).await? {
            LiveSession::One(cookie, entry) if presented.admits(cookie) => {
                Ok(Some((entry, CredentialPlace::SessionCookie)))
            }
            LiveSession::One(..) | LiveSession::None | LiveSession::Several => Ok(None),
        }
    }

    async fn by_token(&self, key: Key, now: Timestamp, peer: Option<IpAddr>) -> Result<Option<Arc<Entry>>, Denial> {
        // A successor that loses its first use to a replacement is looked up again; each round somebody else won.
        for _ in 0..ROUNDS {
            let Some(entry) = self.find(key, peer).await? else { return Ok(None) };
            let Some(token) = entry.record.credential.token() else { return Ok(None) };
            if token.status != (TokenStatus::Live { used: false }) || self.rules.gitlab_rotation {
                return Ok(Some(entry));
            }
            // rotation.md rule 7: a credential that is found is used, even if it is refused further on. What was read before that is
            // not kept: the owner may have been blocked meanwhile (revocation.md A3).
            if self.lookup.first_use(token.family, token.id, now).await.map_err(|_| Denial::Unavailable)? {
                return Box::pin(self.ask_credential(key, peer)).await;
            }
            // Somebody else was first, or it was replaced: what is remembered is out of date either way.
            self.cache.drop_secret(key);
        }
        Err(Denial::Unavailable)
    }

    async fn by_session(
        &self,
        session: &str,
        now: Timestamp,
        peer: Option<IpAddr>,
    ) -> Result<Option<Arc<Entry>>, Denial> {
        let digest = Digest::of(session.as_bytes());
        let key = Key::Session(digest);
        let live = |entry: &Arc<Entry>| match &entry.record.credential {
            Credential::Session(session) => now < self.use_rules.end_of(session),
            Credential::PersonalAccessToken(_)
            | Credential::OauthAccessToken(_)
            | Credential::DeployToken(_)
            | Credential::JobToken(_) => false,
        };
        let Some(entry) = self.find(key, peer).await? else { return Ok(None) };
        if live(&entry) {
            return Ok(Some(entry));
        }
        let extends = |session: &SessionRecord| now < self.use_rules.last_of(session);
        if matches!(&entry.record.credential, Credential::Session(session) if !extends(session)) {
            return Ok(None);
        }
        // It may have been extended since it was remembered (A6).
        Ok(Box::pin(self.ask_credential(key, peer)).await?.filter(live))
    }

    async fn find(&self, key: Key, peer: Option<IpAddr>) -> Result<Option<Arc<Entry>>, Denial> {
        let cached = self.cache.get(key, self.tick());
        let counter = match &cached {
            Cached::Known(_) => 0,
            Cached::Unknown => 1,
            Cached::Ask => 2,
        };
        self.cache_counts[counter].fetch_add(1, Ordering::Relaxed);
        match cached {
            Cached::Known(entry) => Ok(Some(entry)),
            Cached::Unknown => Ok(None),
            // Boxed: a hit should not carry what only a miss needs.
            Cached::Ask => Box::pin(self.share(key, peer, || self.look_up(key))).await,
        }
    }

    async fn ask_credential(&self, key: Key, peer: Option<IpAddr>) -> Result<Option<Arc<Entry>>, Denial> {
        self.ask(key, peer, || self.look_up(key)).await
    }

    fn look_up(&self, key: Key) -> LookUp<'_, Option<Record>> {
        self.look_ups.fetch_add(1, Ordering::Relaxed);
        self.lookup.find(key)
    }

    async fn remembered_or_asked<'a, T: Cacheable>(
        &'a self,
        key: T::Key,
        peer: Option<IpAddr>,
        ask: impl Fn() -> LookUp<'a, Option<T>> + Send + Sync,
    ) -> Result<Option<Arc<Entry<T>>>, Denial> {
        match self.cache.get(key, self.tick()) {
            Cached::Known(entry) => Ok(Some(entry)),
            Cached::Unknown => Ok(None),
            Cached::Ask => Box::pin(self.share(key, peer, ask)).await,
        }
    }

    /// The answer of a look-up that is under way already, if it is as good as one of our own (A2, A4); else one of our
    /// own.
    async fn share<'a, T: Cacheable>(
        &'a self,
        key: T::Key,
        peer: Option<IpAddr>,
        ask: impl Fn() -> LookUp<'a, Option<T>> + Send + Sync,
    ) -> Result<Option<Arc<Entry<T>>>, Denial> {
        let unguarded = tollhouse_domain::broken!(self, UnguardedJoin);
        let leased = self.cache.is_leased(self.tick()) || unguarded;
        let flights = &T::class(&self.cache).flights;
        let flight = flights.join(key, (!unguarded).then(|| self.cache.ticket())).filter(|_| leased);
        if let Some(mut flight) = flight {
            // Whoever led it may have gone away; then we ask ourselves.
            if let Ok(answer) = flight.wait_for(Option::is_some).await
                && let Some(answer) = &*answer
            {
                return answer.clone();
            }
        }
        self.ask(key, peer, ask).await
    }

    async fn ask<'a, T: Cacheable>(
        &'a self,
        key: T::Key,
        peer: Option<IpAddr>,
        ask: impl Fn() -> LookUp<'a, Option<T>> + Send + Sync,
    ) -> Result<Option<Arc<Entry<T>>>, Denial> {
        let _permit = self.limiter.permit(peer).await;
        // After the wait: what was forgotten while waiting is seen by the look-up itself.
        let ticket = self.cache.ticket();
        let flight = T::class(&self.cache).flights.lead(key, ticket);
        let found = ask().await;
        let answer: Answer<_> =
            found.map(|found| self.cache.insert(ticket, key, found)).map_err(|_| Denial::Unavailable);
        flight.land(&answer);
        answer
    }

    /// Read by every request itself (A1).
    fn tick(&self) -> Tick {
        #[cfg(feature = "faults")]
        if tollhouse_domain::broken!(self, CachedClock) {
            // Somebody else refreshes it now and then, as a timer would.
            let read = self.clock_read.fetch_add(1, Ordering::SeqCst);
            if read.is_multiple_of(16) {
                self.cached_clock.store(self.uptime.now().0, Ordering::SeqCst);
            }
            return Tick(self.cached_clock.load(Ordering::SeqCst));
        }
        self.uptime.now()
    }
}

/// The end of the judgement. `limits`: of whoever it is, the scopes that bound them, if any do.
fn met(requirement: &AccessRequirement<'_>, limits: Option<Option<&Scopes>>, read: bool) -> Result<(), Denial> {
    match limits {
        Some(Some(scopes)) => requirement.accepts(scopes, read),
        None if !requirement.anonymous => Err(Denial::Missing),
        Some(None) | None => Ok(()),
    }
}

/// Whether a credential counts where one of this kind is looked for.
pub fn is_of(kind: CandidateKind, credential: &Credential) -> bool {
    matches!(
        (kind, credential),
        (CandidateKind::OauthAccessToken, Credential::OauthAccessToken(_))
            | (CandidateKind::PersonalAccessToken, Credential::PersonalAccessToken(_))
            | (CandidateKind::DeployToken, Credential::DeployToken(_))
            | (CandidateKind::JobToken, Credential::JobToken(_))
    )
}

/// Look-ups of one address that are under way at once.
const LOOK_UPS: u32 = 8;
const ROUNDS: usize = 4;

#[cfg(test)]
mod tests;

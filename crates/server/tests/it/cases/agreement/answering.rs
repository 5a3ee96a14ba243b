//! Whoever answers from memory: only under a lease, only what was read since the last thing that became untrue.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tollhouse::operations::tokens::Revoke;
use tollhouse_auth::authenticator::Authenticator;
use tollhouse_auth::credential_cache::CredentialCache;
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::agreement::{LEASE, Tick};
use tollhouse_domain::application::Application;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::identity::{Identity, Rules};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, UserName};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountRules, User};
use tollhouse_store::db::Db;
use tollhouse_store::faults::Fault;

use super::{SELF, USER, block_by_hand, by_hand, settled};
use crate::test_server::{EXPIRED, M401, REVOKED, TestServer};

cases![
    a1_the_clock_is_read_by_each_request breaks NoLeaseCheck,
    a1_and_by_no_other breaks CachedClock,
    a2_without_a_lease_the_database_is_asked_or_nobody_gets_in breaks NoLeaseCheck,
    a3_what_was_asked_before_a_forget_is_not_kept breaks NoFillGuard,
    a4_an_older_look_up_is_not_joined breaks UnguardedJoin,
    a5_a_look_up_sees_what_was_committed_before_it,
    a6_an_end_is_compared_with_now_at_every_use with "sessions.lifetime = '1h'",
];

async fn a1_the_clock_is_read_by_each_request(t: TestServer) {
    a_lease_runs_out(t, 1).await;
}

/// The same, where a clock that somebody else reads now and then says that the lease holds.
async fn a1_and_by_no_other(t: TestServer) {
    a_lease_runs_out(t, 17).await;
}

async fn a_lease_runs_out(t: TestServer, uses: usize) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let other = t.reopened("").await;
    settled(&other).await;
    for _ in 0..uses {
        other.get(USER).token(&token).await.is_user(&ada);
    }
    // It reads no more, so the revocation is acknowledged when its lease must be over.
    other.freeze();
    t.delete(SELF).token(&token).await.has(204);
    other.get(USER).token(&token).await.is(401, REVOKED);
}

async fn a2_without_a_lease_the_database_is_asked_or_nobody_gets_in(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    settled(&t).await;
    t.get(USER).token(&token).await.is_user(&ada);
    t.freeze();
    sleep(LEASE + Duration::from_millis(100)).await;
    let asked = t.app.auth.look_ups();
    let together = (0..4).map(|_| t.get(USER).token(&token).send());
    for reply in futures_util::future::join_all(together).await {
        reply.is_user(&ada);
    }
    assert_eq!(t.app.auth.look_ups(), asked + 4, "each by a look-up of its own");
    t.app.db.faults.set(Fault::Everything);
    t.get(USER).token(&token).await.is(503, r#"{"message":"503 Service Unavailable"}"#);
    t.get("/api/v4/projects").token("unknown").await.has(503);
}

/// Asks the database at once, and brings the first answer when it is let go.
struct Late {
    db: Db,
    late: AtomicBool,
    asked: Notify,
    go: Notify,
}

impl Lookup for Late {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let found = self.db.find(key).await;
            if self.late.swap(false, Ordering::SeqCst) {
                self.asked.notify_one();
                self.go.notified().await;
            }
            found
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

    fn first_use(&self, family: FamilyId, head: GenerationId, now: Timestamp) -> Answer<'_, bool> {
        self.db.first_use(family, head, now)
    }
}

/// The real cache and authenticator over it, under a lease that does not end.
struct LookUps {
    late: Arc<Late>,
    cache: Arc<CredentialCache>,
    auth: Authenticator,
    t: TestServer,
}

impl LookUps {
    fn open(t: &TestServer) -> Arc<Self> {
        let (asked, go) = (Notify::new(), Notify::new());
        let late = Arc::new(Late { db: t.app.db.clone(), late: AtomicBool::new(true), asked, go });
        let cache = Arc::new(CredentialCache::new(100).breaking(t.app.db.faults.mutants.clone()));
        cache.lease(Tick::MAX);
        let accounts = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
        let rules = Rules { accounts, gitlab_rotation: false, impersonation: true };
        let hour = Duration::from_secs(3_600);
        let uses = UseRules { session_lifetime: hour, from_sign_in: false, session_longest: None, interval: hour };
        let auth = Authenticator::new(late.clone(), cache.clone(), Uptime::system(), rules, uses);
        Arc::new(Self { late, cache, auth, t: t.clone() })
    }

    async fn authenticate(&self, token: &str) -> Result<Option<Identity>, Denial> {
        let (parts, _) = self.t.get(USER).token(token).request().into_parts();
        self.auth
            .authenticate(&PresentedCredentials::in_head(&parts, None), &AccessRequirement::PLAIN, self.t.now())
            .await
    }

    /// A judgement whose look-up has read what was true, and has yet to say so.
    async fn judge_late(self: &Arc<Self>, token: &str) -> tokio::task::JoinHandle<bool> {
        let (desk, token) = (self.clone(), token.to_owned());
        let judged = tokio::task::spawn_local(async move { matches!(desk.authenticate(&token).await, Ok(Some(_))) });
        self.late.asked.notified().await;
        judged
    }
}

async fn a3_what_was_asked_before_a_forget_is_not_kept(t: TestServer) {
    let ada = t.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    let (token, desk) = (made.secret.reveal(), LookUps::open(&t));
    t.get(USER).token(token).await.is_user(&ada);
    let first = desk.judge_late(token).await;
    t.does(Revoke { id: made.token.id }).await;
    desk.cache.invalidate(&[Invalidation::Family(made.token.family_id)]);
    desk.late.go.notify_one();
    assert!(first.await.expect("an answer"), "it began before");
    assert_eq!(desk.authenticate(token).await.err(), Some(Denial::Revoked), "the past was kept");
    // What nobody was given is kept in the same way, and not kept either.
    let late = LookUps::open(&t);
    let chosen = tollhouse_domain::secret::Plaintext::new("chosen-somewhere-else".into());
    let unknown = late.judge_late(chosen.reveal()).await;
    let create = ada.create_token(tollhouse_domain::scope::Scopes::from([Scope::Api]), None);
    t.does(tollhouse::operations::tokens::CreateToken { secret: Some(chosen.clone()), ..create }).await;
    late.cache.invalidate(&[Invalidation::Unknown(chosen.digest())]);
    late.late.go.notify_one();
    assert!(!unknown.await.expect("an answer"));
    assert!(matches!(late.authenticate(chosen.reveal()).await, Ok(Some(_))), "it was remembered as nobody's");
}

async fn a4_an_older_look_up_is_not_joined(t: TestServer) {
    let ada = t.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    let (token, desk) = (made.secret.reveal(), LookUps::open(&t));
    t.get(USER).token(token).await.is_user(&ada);
    let first = desk.judge_late(token).await;
    t.does(Revoke { id: made.token.id }).await;
    desk.cache.invalidate(&[Invalidation::Family(made.token.family_id)]);
    // The first look-up is still under way, and brings the past.
    let second = timeout(Duration::from_secs(3), desk.authenticate(token)).await;
    assert_eq!(second.map(Result::err), Ok(Some(Denial::Revoked)), "it asks by itself");
    assert!(!first.is_finished());
    desk.late.go.notify_one();
    assert!(first.await.expect("an answer"));
}

async fn a5_a_look_up_sees_what_was_committed_before_it(t: TestServer) {
    if t.app.db.is_postgres() {
        let sql = "DO $$ BEGIN EXECUTE format(
            'ALTER DATABASE %I SET default_transaction_isolation = serializable', current_database()); END $$";
        by_hand(&t, sql).await;
    }
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    // It remembers nothing, so each request is one look-up, on any of its connections.
    let forgetful = t.reopened("ledger.entries = 0").await;
    for blocked in [false, true, false, true] {
        block_by_hand(&t, ada.id.0, blocked).await;
        let together = (0..20).map(|_| forgetful.get(USER).token(&token).send());
        for reply in futures_util::future::join_all(together).await {
            if blocked {
                reply.has(403)
            } else {
                reply.is_user(&ada)
            };
        }
    }
    forgetful.leave().await;
}

async fn a6_an_end_is_compared_with_now_at_every_use(t: TestServer) {
    let ada = t.user("ada").await;
    let tomorrow = t.now().date().plus_days(1);
    let (token, session) = (ada.token_until(tomorrow).await, ada.session().await);
    let other = t.reopened("sessions.lifetime = '1h'").await;
    for server in [&t, &other] {
        settled(server).await;
        server.get(USER).token(&token).await.is_user(&ada);
        server.get(USER).session(&session).await.is_user(&ada);
    }
    // Used at one server, it lasts longer; the other one remembers an earlier end.
    t.later(50 * 60);
    t.get(USER).session(&session).await.is_user(&ada);
    tollhouse::job::flush(&t.app).await;
    t.later(20 * 60);
    other.get(USER).session(&session).await.is_user(&ada);
    // It ends by itself: nothing in the log says so.
    t.later(24 * 3_600);
    for server in [&t, &other] {
        server.get(USER).token(&token).await.is(401, EXPIRED);
        server.get(USER).session(&session).await.is(401, M401);
    }
    other.leave().await;
}

use std::sync::atomic::AtomicBool;
use std::sync::{OnceLock, Weak};
use std::time::Duration;

use tollhouse_domain::denial::AccountFault;
use tollhouse_domain::id::{FamilyId, GenerationId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::{Answer, LastAddresses, TokenRecord, UserName};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::{AccountRules, AccountState, User, UserKind};

use super::*;

/// The owner of its one token is blocked while the first look-up is on its way back.
#[derive(Default)]
struct BlockedMeanwhile {
    cache: OnceLock<Weak<CredentialCache>>,
    asked: AtomicBool,
    used: AtomicBool,
}

impl Lookup for BlockedMeanwhile {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        Box::pin(async move {
            let mut owner = user(7);
            if self.asked.swap(true, Ordering::SeqCst) {
                owner.state = AccountState::Blocked;
            } else if let Some(cache) = self.cache.get().and_then(Weak::upgrade) {
                cache.invalidate(&[Invalidation::Owner(owner.id)]);
            }
            let Key::Token(digest) = key else { return Ok(None) };
            let token = TokenRecord {
                id: GenerationId(1),
                family: FamilyId(1),
                digest,
                scopes: Scopes::from([Scope::Api]),
                impersonation: false,
                application: None,
                client_id: None,
                label: None,
                created_at: Timestamp(0),
                dead_from: None,
                last_used_at: None.into(),
                last_used_ips: LastAddresses::from_words(""),
                status: TokenStatus::Live { used: self.used.load(Ordering::SeqCst) },
            };
            let credential = Credential::PersonalAccessToken(Arc::new(token));
            Ok(Some(Record { credential, owner: Some(Arc::new(owner)) }))
        })
    }

    fn user<'a>(&'a self, _: UserName<'a>) -> Answer<'a, Option<User>> {
        Box::pin(async { Ok(None) })
    }

    fn memberships(&self, _: UserId, _: MembershipSource, _: Timestamp) -> Answer<'_, Memberships> {
        Box::pin(async { Ok(Memberships::default()) })
    }

    fn user_memberships(&self, _: UserId, _: Timestamp) -> Answer<'_, UserMemberships> {
        Box::pin(async { Ok(UserMemberships::default()) })
    }

    fn application<'a>(&'a self, _: &'a str) -> Answer<'a, Option<Application>> {
        Box::pin(async { Ok(None) })
    }

    fn first_use(&self, _: FamilyId, _: GenerationId, _: Timestamp) -> Answer<'_, bool> {
        Box::pin(async { Ok(!self.used.swap(true, Ordering::SeqCst)) })
    }
}

#[tokio::test]
async fn a_3_noting_the_first_use_keeps_nothing_that_was_read_before() {
    let lookup = Arc::new(BlockedMeanwhile::default());
    let accounts = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
    let rules = Rules { accounts, gitlab_rotation: false, impersonation: true };
    let use_rules = UseRules {
        session_lifetime: Duration::from_secs(60),
        from_sign_in: false,
        session_longest: None,
        interval: Duration::ZERO,
    };
    let cache = Arc::new(CredentialCache::new(100));
    cache.lease(Tick(u64::MAX));
    let auth = Authenticator::new(lookup.clone(), cache.clone(), Uptime::system(), rules, use_rules);
    assert!(lookup.cache.set(Arc::downgrade(&cache)).is_ok());
    let parts = http::Request::get("/").header("private-token", "x").body(()).expect("a request").into_parts().0;
    for _ in 0..2 {
        let judged = auth
            .authenticate(&PresentedCredentials::in_head(&parts, None), &AccessRequirement::PLAIN, Timestamp(1))
            .await;
        assert_eq!(judged.err(), Some(Denial::Account(AccountFault::Blocked)));
    }
}

pub(crate) fn user(id: i64) -> User {
    User {
        id: UserId(id),
        username: format!("user{id}"),
        name: String::new(),
        email: String::new(),
        public_email: String::new(),
        commit_email: String::new(),
        state: AccountState::Active,
        kind: UserKind::Human,
        administrator: false,
        external: false,
        private_profile: false,
        can_create_group: true,
        projects_limit: 0,
        bio: String::new(),
        location: None,
        linkedin: String::new(),
        twitter: String::new(),
        discord: String::new(),
        github: String::new(),
        website_url: String::new(),
        organization: String::new(),
        job_title: String::new(),
        pronouns: None,
        note: None,
        namespace_id: None,
        created_by_id: None,
        created_at: Timestamp(0),
        confirmed_at: Some(Timestamp(0)),
        password_expires_at: None,
        locked_until: None,
        last_activity_on: None,
        current_sign_in_at: None,
        last_sign_in_at: None,
        current_sign_in_ip: None,
        last_sign_in_ip: None,
        sign_in_count: 0,
    }
}

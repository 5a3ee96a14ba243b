//! What is remembered, and what each word of the log makes it forget.

use tollhouse_domain::lookup::{Credential, TokenRecord};
use tollhouse_domain::time::Timestamp;

use super::*;
use crate::test_records::{application, session, token, user};

fn record(owner: i64) -> Record {
    let session = session(digest(owner), Timestamp(1));
    Record { credential: Credential::Session(Arc::new(session)), owner: Some(Arc::new(user(owner))) }
}

fn digest(n: i64) -> Digest {
    Digest::of(&n.to_be_bytes())
}

const NOW: Tick = Tick(1);

fn leased(entries: usize) -> CredentialCache {
    let cache = CredentialCache::new(entries);
    cache.lease(Tick(2));
    cache
}

fn known(cache: &CredentialCache, key: Key) -> bool {
    matches!(cache.get::<Record>(key, NOW), Cached::Known(_))
}

#[test]
fn a_1_without_a_lease_nothing_is_answered() {
    let cache = CredentialCache::new(100);
    let (key, nobody) = (Key::Session(digest(1)), Key::Session(digest(2)));
    cache.insert(cache.ticket(), key, Some(record(1)));
    cache.insert::<Record>(cache.ticket(), nobody, None);
    assert!(!known(&cache, key), "none was ever given");
    cache.lease(Tick(2));
    assert!(known(&cache, key));
    for at in [Tick(2), Tick(3)] {
        assert!(
            matches!(cache.get::<Record>(key, at), Cached::Ask)
                && matches!(cache.get::<Record>(nobody, at), Cached::Ask)
        );
    }
    cache.drop_lease();
    assert!(!known(&cache, key) && matches!(cache.get::<Record>(nobody, NOW), Cached::Ask));
}

#[test]
fn a_3_a_look_up_that_began_before_a_forget_is_not_kept() {
    let cache = leased(100);
    let key = Key::Session(digest(1));
    let ticket = cache.ticket();
    cache.invalidate(&[Invalidation::Owner(UserId(99))]);
    assert!(cache.insert(ticket, key, Some(record(1))).is_some(), "it serves the request that asked");
    assert!(!known(&cache, key));
    cache.insert(cache.ticket(), key, Some(record(1)));
    assert!(known(&cache, key));
    let late = cache.ticket();
    cache.invalidate(&[Invalidation::All]);
    cache.insert::<Record>(late, Key::Session(digest(2)), None);
    assert!(matches!(cache.get::<Record>(Key::Session(digest(2)), NOW), Cached::Ask), "unknown is not kept either");
}

#[test]
fn each_word_forgets_what_it_names_and_nothing_else() {
    use tollhouse_domain::id::NamespaceId;
    let of = MembershipSource::Group(NamespaceId(5));
    let owned = |id| Some(Arc::new(user(id)));
    let personal = |owner, n| {
        let token = token(n, digest(n));
        Record { credential: Credential::PersonalAccessToken(Arc::new(token)), owner: owned(owner) }
    };
    let oauth = |key| {
        let token = TokenRecord { application: Some(ApplicationId(5)), ..token(20, digest(key)) };
        Record { credential: Credential::OauthAccessToken(Arc::new(token)), owner: owned(2) }
    };
    // Everything that can be remembered, under the names of the table below.
    let filled = || {
        let cache = leased(1_000);
        let now = cache.ticket();
        cache.insert(now, Key::Token(digest(10)), Some(personal(1, 10)));
        cache.insert(now, Key::Token(digest(11)), Some(personal(1, 11)));
        cache.insert(now, Key::Token(digest(20)), Some(oauth(20)));
        cache.insert(now, Key::Refresh(digest(21)), Some(oauth(21)));
        cache.insert(now, Key::Session(digest(2)), Some(record(2)));
        cache.insert::<Record>(now, Key::Token(digest(30)), None);
        cache.insert(now, digest(5), Some(application(5)));
        cache.insert::<Application>(now, digest(30), None);
        cache.insert(now, (UserId(1), of), Some(Memberships::default()));
        cache.insert(now, UserId(1), Some(UserMemberships::default()));
        cache
    };
    fn kept<T: Cacheable>(cache: &CredentialCache, key: T::Key) -> bool {
        !matches!(cache.get::<T>(key, NOW), Cached::Ask)
    }
    let forgotten = |cache: &CredentialCache| {
        let all = [
            ("token 10", kept::<Record>(cache, Key::Token(digest(10)))),
            ("token 11", kept::<Record>(cache, Key::Token(digest(11)))),
            ("token 20", kept::<Record>(cache, Key::Token(digest(20)))),
            ("refresh 21", kept::<Record>(cache, Key::Refresh(digest(21)))),
            ("session 2", kept::<Record>(cache, Key::Session(digest(2)))),
            ("unknown token", kept::<Record>(cache, Key::Token(digest(30)))),
            ("application", kept::<Application>(cache, digest(5))),
            ("unknown application", kept::<Application>(cache, digest(30))),
            ("memberships", kept::<Memberships>(cache, (UserId(1), of))),
            ("all memberships", kept::<UserMemberships>(cache, UserId(1))),
        ];
        all.into_iter().filter(|(_, kept)| !kept).map(|(name, _)| name).collect::<Vec<_>>()
    };
    for (word, expected) in [
        (Invalidation::Nothing, &[][..]),
        (Invalidation::Token(digest(10)), &["token 10"]),
        (Invalidation::Token(digest(21)), &["refresh 21"]),
        (Invalidation::Token(digest(2)), &[]),
        (Invalidation::Session(digest(2)), &["session 2"]),
        (Invalidation::Session(digest(10)), &[]),
        (Invalidation::Owner(UserId(1)), &["token 10", "token 11", "memberships", "all memberships"]),
        (Invalidation::Owner(UserId(2)), &["token 20", "refresh 21", "session 2"]),
        (Invalidation::Owner(UserId(5)), &[]),
        (Invalidation::Owner(UserId(10)), &[]),
        (Invalidation::Family(FamilyId(11)), &["token 11"]),
        (Invalidation::Family(FamilyId(20)), &["token 20", "refresh 21"]),
        (Invalidation::Application(ApplicationId(5)), &["token 20", "refresh 21", "application"]),
        (Invalidation::Family(FamilyId(1)), &[]),
        (Invalidation::Family(FamilyId(5)), &[]),
        (Invalidation::Application(ApplicationId(1)), &[]),
        (Invalidation::Application(ApplicationId(10)), &[]),
        (Invalidation::Groups, &["all memberships"]),
        (Invalidation::Paths, &["memberships", "all memberships"]),
        (Invalidation::Unknown(digest(30)), &["unknown token", "unknown application"]),
    ] {
        let cache = filled();
        cache.invalidate(&[word]);
        assert_eq!(forgotten(&cache), expected, "{word:?}");
    }
    let cache = filled();
    cache.invalidate(&[Invalidation::All]);
    assert_eq!((forgotten(&cache).len(), cache.len()), (10, 0));
    let cache = filled();
    cache.invalidate(&[Invalidation::Family(FamilyId(10)), Invalidation::Groups]);
    assert_eq!(forgotten(&cache), ["token 10", "all memberships"], "each word of a list counts");
}

#[test]
fn t27_memberships_are_forgotten_with_their_user() {
    use tollhouse_domain::id::NamespaceId;
    let cache = leased(100);
    let of = MembershipSource::Group(NamespaceId(5));
    let keep = |ticket| {
        cache.insert(ticket, (UserId(1), of), Some(Memberships::default()));
        cache.insert(ticket, UserId(1), Some(UserMemberships::default()));
    };
    let here = || matches!(cache.get::<Memberships>((UserId(1), of), NOW), Cached::Known(_));
    let all = || matches!(cache.get::<UserMemberships>(UserId(1), NOW), Cached::Known(_));
    keep(cache.ticket());
    assert!(here() && all());
    cache.invalidate(&[Invalidation::Owner(UserId(2))]);
    assert!(here() && all(), "somebody else's");
    let before = cache.ticket();
    for word in [Invalidation::Owner(UserId(1)), Invalidation::All] {
        cache.invalidate(&[word]);
        assert!(!here() && !all());
        keep(before);
        assert!(!here() && !all(), "a look-up that began before is not kept (A3)");
        keep(cache.ticket());
        assert!(here() && all());
    }
    cache.invalidate(&[Invalidation::Groups]);
    assert!(here() && !all(), "a group inside another makes its members members");
    keep(cache.ticket());
    cache.invalidate(&[Invalidation::Paths]);
    assert!(!here() && !all(), "both are kept with the path");
    let none = leased(0);
    none.insert(none.ticket(), (UserId(1), of), Some(Memberships::default()));
    assert!(matches!(none.get::<Memberships>((UserId(1), of), NOW), Cached::Ask));
}

#[test]
fn applications_are_forgotten_by_their_number_and_by_what_was_asked_for() {
    let cache = leased(100);
    let recall = |n| cache.get::<Application>(digest(n), NOW);
    cache.insert(cache.ticket(), digest(1), Some(application(1)));
    cache.insert::<Application>(cache.ticket(), digest(2), None);
    assert!(matches!(recall(1), Cached::Known(_)) && matches!(recall(2), Cached::Unknown));
    cache.invalidate(&[Invalidation::Application(ApplicationId(3))]);
    assert!(matches!(recall(1), Cached::Known(_)), "another one");
    let before = cache.ticket();
    cache.invalidate(&[Invalidation::Application(ApplicationId(1)), Invalidation::Unknown(digest(2))]);
    assert!(matches!(recall(1), Cached::Ask) && matches!(recall(2), Cached::Ask));
    cache.insert(before, digest(1), Some(application(1)));
    assert!(matches!(recall(1), Cached::Ask), "a look-up that began before is not kept (A3)");
}

#[test]
fn memberships_are_bounded_by_how_many_they_are() {
    use tollhouse_domain::access::AccessLevel;
    use tollhouse_domain::id::{NamespaceId, ProjectId};
    use tollhouse_domain::membership::{GroupMembership, Held};
    let held = Held { level: AccessLevel::Guest, expires_on: None };
    let group = |id| GroupMembership { id: NamespaceId(id), full_path: "".into(), held, direct: true };
    for (groups, projects, most) in [(0, 99, 10), (99, 0, 10), (49, 50, 10), (0, 0, 1_000)] {
        let cache = leased(1_000);
        for n in 0..2_000 {
            let groups = (0..groups).map(group).collect();
            let projects = (0..projects).map(|id| (ProjectId(id), held)).collect();
            cache.insert(cache.ticket(), UserId(n), Some(UserMemberships { groups, projects }));
        }
        let known = |n: &i64| matches!(cache.get::<UserMemberships>(UserId(*n), NOW), Cached::Known(_));
        let known = (0..2_000).filter(known).count();
        assert!(known > 0 && known <= most, "{known} users with {groups} groups and {projects} projects");
    }
}

#[test]
fn credentials_are_bounded_by_the_entries() {
    let cache = leased(100);
    assert!(cache.is_empty() && cache.remembers());
    for n in 0..1_000 {
        cache.insert(cache.ticket(), Key::Session(digest(n)), Some(record(n)));
        assert!(!cache.is_empty() && cache.len() <= 100 && cache.len() as i64 <= n + 1);
    }
    assert!(cache.len() > 1);
}

#[test]
fn credentials_of_one_owner_share_one_record() {
    let cache = leased(100);
    let keep = |n, record| cache.insert(cache.ticket(), Key::Session(digest(n)), Some(record)).expect("a record");
    let owner = |entry: Arc<Entry>| entry.owner.clone().expect("an owner");
    let (first, second) = (owner(keep(1, record(1))), owner(keep(2, record(1))));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&first, &owner(keep(3, record(2)))), "somebody else's");
    let mut renamed = record(1);
    renamed.owner = Some(Arc::new(User { name: "Somebody".into(), ..(*first).clone() }));
    let renamed = owner(keep(4, renamed));
    assert_eq!(renamed.name, "Somebody", "what the database says counts");
    let freed = Arc::downgrade(&renamed);
    assert!(Arc::ptr_eq(&renamed, &owner(keep(5, Record { owner: Some(Arc::new((*renamed).clone())), ..record(1) }))));
    drop((first, second, renamed));
    cache.invalidate(&[Invalidation::All]);
    assert!(freed.upgrade().is_none(), "nothing of an owner stays in memory");
}

#[test]
fn what_was_known_and_is_gone_is_unknown() {
    let cache = leased(100);
    let key = Key::Session(digest(1));
    cache.insert(cache.ticket(), key, Some(record(1)));
    cache.invalidate(&[Invalidation::Owner(UserId(1))]);
    assert!(cache.insert::<Record>(cache.ticket(), key, None).is_none());
    assert!(matches!(cache.get::<Record>(key, NOW), Cached::Unknown));
}

#[test]
fn guesses_do_not_drive_out_the_living() {
    let cache = leased(1000);
    for n in 0..100 {
        cache.insert(cache.ticket(), Key::Session(digest(n)), Some(record(n)));
    }
    for n in 1000..20_000 {
        cache.insert::<Record>(cache.ticket(), Key::Session(digest(n)), None);
    }
    assert!((0..100).all(|n| known(&cache, Key::Session(digest(n)))));
}

#[test]
fn remembering_can_be_switched_off() {
    let cache = leased(0);
    cache.insert(cache.ticket(), Key::Session(digest(1)), Some(record(1)));
    assert!(!known(&cache, Key::Session(digest(1))));
    assert!(cache.is_empty() && !cache.remembers());
}

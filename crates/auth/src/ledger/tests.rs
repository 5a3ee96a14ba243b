//! What is remembered, and what each word of the log makes it forget.

use tollhouse_domain::lookup::{Credential, SessionRecord};
use tollhouse_domain::redirect::RedirectUris;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::time::Timestamp;

use super::*;

fn record(owner: i64) -> Record {
    let user = crate::authenticator::tests::user(owner);
    let session = SessionRecord {
        digest: digest(owner),
        authenticated_at: Timestamp(0),
        expires_at: Timestamp(1),
        extended_at: Some(Timestamp(0)).into(),
    };
    Record { credential: Credential::Session(Arc::new(session)), owner: Some(Arc::new(user)) }
}

fn digest(n: i64) -> Digest {
    Digest::of(&n.to_be_bytes())
}

const NOW: Tick = Tick(1);

fn leased(entries: usize) -> Ledger {
    let ledger = Ledger::new(entries);
    ledger.lease(Tick(2));
    ledger
}

fn known(ledger: &Ledger, key: Key) -> bool {
    matches!(ledger.recall::<Record>(key, NOW), Recall::Known(_))
}

#[test]
fn a_1_without_a_lease_nothing_is_answered() {
    let ledger = Ledger::new(100);
    let (key, nobody) = (Key::Session(digest(1)), Key::Session(digest(2)));
    ledger.keep(ledger.ticket(), key, Some(record(1)));
    ledger.keep::<Record>(ledger.ticket(), nobody, None);
    assert!(!known(&ledger, key), "none was ever given");
    ledger.lease(Tick(2));
    assert!(known(&ledger, key));
    for at in [Tick(2), Tick(3)] {
        assert!(
            matches!(ledger.recall::<Record>(key, at), Recall::Ask)
                && matches!(ledger.recall::<Record>(nobody, at), Recall::Ask)
        );
    }
    ledger.drop_lease();
    assert!(!known(&ledger, key) && matches!(ledger.recall::<Record>(nobody, NOW), Recall::Ask));
}

#[test]
fn a_3_a_look_up_that_began_before_a_forget_is_not_kept() {
    let ledger = leased(100);
    let key = Key::Session(digest(1));
    let ticket = ledger.ticket();
    ledger.forget(&[Forget::Owner(UserId(99))]);
    assert!(ledger.keep(ticket, key, Some(record(1))).is_some(), "it serves the request that asked");
    assert!(!known(&ledger, key));
    ledger.keep(ledger.ticket(), key, Some(record(1)));
    assert!(known(&ledger, key));
    let late = ledger.ticket();
    ledger.forget(&[Forget::All]);
    ledger.keep::<Record>(late, Key::Session(digest(2)), None);
    assert!(matches!(ledger.recall::<Record>(Key::Session(digest(2)), NOW), Recall::Ask), "unknown is not kept either");
}

#[test]
fn each_word_forgets_what_it_names() {
    let ledger = leased(100);
    let key = |n| Key::Session(digest(n));
    let fill = || {
        for n in [1, 2] {
            ledger.keep(ledger.ticket(), key(n), Some(record(n)));
        }
    };
    fill();
    ledger.forget(&[Forget::Nothing]);
    assert!(known(&ledger, key(1)) && known(&ledger, key(2)));
    ledger.forget(&[Forget::Session(digest(1))]);
    assert!(!known(&ledger, key(1)) && known(&ledger, key(2)));
    fill();
    ledger.forget(&[Forget::Owner(UserId(2))]);
    assert!(!known(&ledger, key(2)));
    fill();
    ledger.forget(&[Forget::All]);
    assert!(ledger.is_empty());
    ledger.keep::<Record>(ledger.ticket(), Key::Token(digest(3)), None);
    assert!(matches!(ledger.recall::<Record>(Key::Token(digest(3)), NOW), Recall::Unknown));
    ledger.forget(&[Forget::Unknown(digest(3))]);
    assert!(matches!(ledger.recall::<Record>(Key::Token(digest(3)), NOW), Recall::Ask));
}

#[test]
fn t27_memberships_are_forgotten_with_their_user() {
    use tollhouse_domain::id::NamespaceId;
    let ledger = leased(100);
    let of = MembershipSource::Group(NamespaceId(5));
    let keep = |ticket| {
        ledger.keep(ticket, (UserId(1), of), Some(Memberships::default()));
        ledger.keep(ticket, UserId(1), Some(UserMemberships::default()));
    };
    let here = || matches!(ledger.recall::<Memberships>((UserId(1), of), NOW), Recall::Known(_));
    let all = || matches!(ledger.recall::<UserMemberships>(UserId(1), NOW), Recall::Known(_));
    keep(ledger.ticket());
    assert!(here() && all());
    ledger.forget(&[Forget::Owner(UserId(2))]);
    assert!(here() && all(), "somebody else's");
    let before = ledger.ticket();
    for word in [Forget::Owner(UserId(1)), Forget::All] {
        ledger.forget(&[word]);
        assert!(!here() && !all());
        keep(before);
        assert!(!here() && !all(), "a look-up that began before is not kept (A3)");
        keep(ledger.ticket());
        assert!(here() && all());
    }
    ledger.forget(&[Forget::Groups]);
    assert!(here() && !all(), "a group inside another makes its members members");
    let none = leased(0);
    none.keep(none.ticket(), (UserId(1), of), Some(Memberships::default()));
    assert!(matches!(none.recall::<Memberships>((UserId(1), of), NOW), Recall::Ask));
}

fn application(id: i64) -> Application {
    Application {
        id: ApplicationId(id),
        uid: String::new(),
        secret_digest: digest(id),
        name: String::new(),
        redirect_uris: RedirectUris::parse("https://a.test/").expect("a URI"),
        scopes: Scopes::from([]),
        confidential: true,
        trusted: false,
        owner: None,
        created_at: Timestamp(0),
    }
}

#[test]
fn applications_are_forgotten_by_their_number_and_by_what_was_asked_for() {
    let ledger = leased(100);
    let recall = |n| ledger.recall::<Application>(digest(n), NOW);
    ledger.keep(ledger.ticket(), digest(1), Some(application(1)));
    ledger.keep::<Application>(ledger.ticket(), digest(2), None);
    assert!(matches!(recall(1), Recall::Known(_)) && matches!(recall(2), Recall::Unknown));
    ledger.forget(&[Forget::Application(ApplicationId(3))]);
    assert!(matches!(recall(1), Recall::Known(_)), "another one");
    let before = ledger.ticket();
    ledger.forget(&[Forget::Application(ApplicationId(1)), Forget::Unknown(digest(2))]);
    assert!(matches!(recall(1), Recall::Ask) && matches!(recall(2), Recall::Ask));
    ledger.keep(before, digest(1), Some(application(1)));
    assert!(matches!(recall(1), Recall::Ask), "a look-up that began before is not kept (A3)");
}

#[test]
fn memberships_are_bounded_by_how_many_they_are() {
    use tollhouse_domain::access::AccessLevel;
    use tollhouse_domain::id::ProjectId;
    use tollhouse_domain::membership::Held;
    let ledger = leased(10_000);
    let held = Held { level: AccessLevel::Guest, expires_on: None };
    for n in 0..1_000 {
        let projects = (0..99).map(|id| (ProjectId(id), held)).collect();
        ledger.keep(ledger.ticket(), UserId(n), Some(UserMemberships { groups: Box::default(), projects }));
    }
    let known = |n: &i64| matches!(ledger.recall::<UserMemberships>(UserId(*n), NOW), Recall::Known(_));
    let known = (0..1_000).filter(known).count();
    assert!(known > 0 && known <= 100, "{known} users with a hundred each");
}

#[test]
fn credentials_of_one_owner_share_one_record() {
    let ledger = leased(100);
    let keep = |n, record| ledger.keep(ledger.ticket(), Key::Session(digest(n)), Some(record)).expect("a record");
    let owner = |entry: Arc<Entry>| entry.owner.clone().expect("an owner");
    let (first, second) = (owner(keep(1, record(1))), owner(keep(2, record(1))));
    assert!(Arc::ptr_eq(&first, &second));
    assert!(!Arc::ptr_eq(&first, &owner(keep(3, record(2)))), "somebody else's");
    let mut renamed = record(1);
    renamed.owner = Some(Arc::new(User { name: "Somebody".into(), ..(*first).clone() }));
    let renamed = owner(keep(4, renamed));
    assert_eq!(renamed.name, "Somebody", "what the database says counts");
    assert!(Arc::ptr_eq(&renamed, &owner(keep(5, Record { owner: Some(Arc::new((*renamed).clone())), ..record(1) }))));
}

#[test]
fn guesses_do_not_drive_out_the_living() {
    let ledger = leased(1000);
    for n in 0..100 {
        ledger.keep(ledger.ticket(), Key::Session(digest(n)), Some(record(n)));
    }
    for n in 1000..20_000 {
        ledger.keep::<Record>(ledger.ticket(), Key::Session(digest(n)), None);
    }
    assert!((0..100).all(|n| known(&ledger, Key::Session(digest(n)))));
}

#[test]
fn remembering_can_be_switched_off() {
    let ledger = leased(0);
    ledger.keep(ledger.ticket(), Key::Session(digest(1)), Some(record(1)));
    assert!(!known(&ledger, Key::Session(digest(1))));
}

//! Sessions: which of several cookies is live, and when a session is over.

use http::header;
use tollhouse_domain::denial::AccountFault;

use super::*;

fn cookies(values: &[&str]) -> SessionCookies {
    let mut headers = http::HeaderMap::new();
    for value in values {
        headers.append(header::COOKIE, format!("_gitlab_session={value}").parse().expect("a header"));
    }
    SessionCookies::of(&headers)
}

fn ending(at: i64) -> Row {
    Row { ends: Some(Timestamp(at)), ..Row::of(Kind::Session) }
}

#[tokio::test]
async fn t9_one_live_session_counts_and_two_do_not() {
    let setup = Setup::new();
    setup.memory.put(session_key("a"), Row::of(Kind::Session));
    setup.memory.put(session_key("b"), Row { owner: Some(2), ..Row::of(Kind::Session) });
    setup.memory.put(session_key("over"), ending(NOW.0));
    setup.memory.put_token("token", Row::of(Kind::PersonalAccessToken));
    let eight = ["1", "2", "3", "4", "5", "6", "7", "a"];
    let nine = ["1", "2", "3", "4", "5", "6", "7", "a", "9"];
    for (values, expected) in [
        (&[][..], "none"),
        (&["nonsense"], "none"),
        (&["token"], "none"),
        (&["over"], "none"),
        (&["a"], "a"),
        (&["b"], "b"),
        (&["a", "a"], "a"),
        (&["over", "b", "nonsense"], "b"),
        (&["a", "nonsense", "b"], "several"),
        (&eight, "a"),
        (&nine, "several"),
    ] {
        let cookies = cookies(values);
        let live = setup.auth.live_session(&cookies, None, NOW).await.expect("an answer");
        let (name, owner) = match &live {
            LiveSession::None => ("none", None),
            LiveSession::One(cookie, entry) => (*cookie, entry.owner.as_ref().map(|owner| owner.id.0)),
            LiveSession::Several => ("several", None),
        };
        assert_eq!(name, expected, "{values:?}");
        assert_eq!(owner, [("a", 1), ("b", 2)].into_iter().find(|(of, _)| *of == name).map(|(_, id)| id), "{values:?}");
    }
    let before = setup.memory.found();
    let too_many = cookies(&nine);
    assert!(matches!(setup.auth.live_session(&too_many, None, NOW).await, Ok(LiveSession::Several)));
    assert_eq!(setup.memory.found(), before, "none of too many is looked up");
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    let answer = setup.auth.live_session(&cookies(&["a"]), None, NOW).await.map(|_| ());
    assert_eq!(answer, Err(Denial::Unavailable));
}

#[tokio::test]
async fn t10_a_page_knows_the_person_of_a_session_and_notes_its_use() {
    let setup = Setup::new();
    setup.memory.put_user(User { state: AccountState::Blocked, ..user(2) });
    for (id, expected) in [(1, Ok(1)), (2, Err(Denial::Account(AccountFault::Blocked)))] {
        setup.memory.put(session_key("s"), Row { owner: Some(id), ..Row::of(Kind::Session) });
        let cookies = cookies(&["s"]);
        let live = setup.auth.live_session(&cookies, None, NOW).await;
        let Ok(LiveSession::One(_, entry)) = live else { panic!("a blocked user has a session too") };
        let person = setup.auth.person_of(&entry, NOW);
        assert_eq!(person.map(|who| who.user.id.0), expected);
        let noted = setup.auth.uses().take().sessions;
        let digest = Digest::of(b"s");
        let end = NOW + Duration::from_secs(60);
        assert_eq!(noted.get(&digest), expected.is_ok().then_some(&(NOW, end)));
    }
}

#[tokio::test]
async fn a_6_a_session_that_seems_over_is_asked_about_until_nothing_can_extend_it() {
    let setup = Setup::with(|_, rules| rules.session_longest = Some(Duration::from_millis(50)));
    setup.lease();
    let cookies = cookies(&["s"]);
    let live = async |now| {
        let before = setup.memory.found();
        let live = setup.auth.live_session(&cookies, None, Timestamp(now)).await.expect("an answer");
        (matches!(live, LiveSession::One(..)), setup.memory.found() - before)
    };
    setup.memory.put(session_key("s"), ending(20));
    for (extended_to, now, expected) in [
        (20, 18, (true, 1)),
        (20, 19, (true, 0)),
        (20, 20, (false, 1)),
        (20, 21, (false, 1)),
        // It was extended; what is remembered is out of date.
        (40, 22, (true, 1)),
        (40, 39, (true, 0)),
        (90, 40, (true, 1)),
        (90, 49, (true, 0)),
        // No session lasts longer.
        (90, 50, (false, 0)),
        (90, 51, (false, 0)),
    ] {
        setup.memory.put(session_key("s"), ending(extended_to));
        assert_eq!(live(now).await, expected, "at {now}, extended to {extended_to}");
    }
}

#[tokio::test]
async fn a_session_without_a_longest_time_is_over_at_its_end() {
    let setup = Setup::new();
    setup.memory.put(session_key("s"), ending(20));
    for (now, expected) in [(19, true), (20, false), (21, false)] {
        let cookies = cookies(&["s"]);
        let live = setup.auth.live_session(&cookies, None, Timestamp(now)).await.expect("an answer");
        assert_eq!(matches!(live, LiveSession::One(..)), expected, "at {now}");
    }
}

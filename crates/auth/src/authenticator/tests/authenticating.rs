//! From credentials to an identity: denials, scopes, sudo.

use tollhouse_domain::denial::AccountFault;
use tollhouse_domain::id::ApplicationId;

use super::*;

const UNUSED: TokenStatus = TokenStatus::Live { used: false };

fn pat() -> Row {
    Row::of(Kind::PersonalAccessToken)
}

/// What a route without scopes of its own refuses a token with.
fn scope_missing() -> Denial {
    Denial::Scope(vec![Scope::Api, Scope::ReadApi])
}

#[test]
fn the_requirement_is_met_by_scopes_or_by_their_absence() {
    let any = AccessRequirement { any_scope: true, ..AccessRequirement::PLAIN };
    let scopes = |scope| Scopes::from([scope]);
    let (api, reads, sudo) = (scopes(Scope::Api), scopes(Scope::ReadApi), scopes(Scope::Sudo));
    let (anonymous, session) = (None, Some(None));
    for (name, requirement, limits, read, expected) in [
        ("anonymous", AccessRequirement::PLAIN, anonymous, true, Err(Denial::Missing)),
        ("anonymous, where that is open", OPEN, anonymous, false, Ok(())),
        ("a session", AccessRequirement::PLAIN, session, false, Ok(())),
        ("a session, where anonymous callers may come", OPEN, session, false, Ok(())),
        ("api", AccessRequirement::PLAIN, Some(Some(&api)), false, Ok(())),
        ("read_api, to read", AccessRequirement::PLAIN, Some(Some(&reads)), true, Ok(())),
        ("read_api, to write", AccessRequirement::PLAIN, Some(Some(&reads)), false, Err(scope_missing())),
        ("sudo alone", AccessRequirement::PLAIN, Some(Some(&sudo)), true, Err(scope_missing())),
        ("sudo alone, where anonymous callers may come", OPEN, Some(Some(&sudo)), true, Err(scope_missing())),
        ("sudo alone, where any scope counts", any, Some(Some(&sudo)), false, Ok(())),
    ] {
        assert_eq!(met(&requirement, limits, read), expected, "{name}");
    }
}

#[tokio::test]
async fn each_credential_is_accepted_or_denied_for_its_own_reason() {
    let setup = Setup::new();
    setup.memory.put_user(User { state: AccountState::Blocked, ..user(3) });
    let memory = &setup.memory;
    memory.put_token("good", pat());
    memory.put_token("read", Row { scopes: &[Scope::ReadApi], ..pat() });
    memory.put_token("sudo", Row { scopes: &[Scope::Sudo], ..pat() });
    memory.put_token("expired", Row { ends: Some(NOW), ..pat() });
    memory.put_token("expires", Row { ends: Some(Timestamp(NOW.0 + 1)), ..pat() });
    memory.put_token("rotated", Row { status: TokenStatus::Rotated, ..pat() });
    memory.put_token("blocked", Row { owner: Some(3), ..pat() });
    memory.put_token("unused", Row { owner: Some(2), status: UNUSED, ..pat() });
    for (secret, expected) in [
        ("good", Ok(Some((1, None)))),
        ("read", Ok(Some((1, None)))),
        ("sudo", Err(scope_missing())),
        ("expired", Err(Denial::Expired)),
        ("expires", Ok(Some((1, None)))),
        ("rotated", Err(Denial::Revoked)),
        ("blocked", Err(Denial::Account(AccountFault::Blocked))),
        ("unused", Ok(Some((2, None)))),
        ("nonsense", Err(Denial::Unknown)),
    ] {
        let request = with_token(secret);
        assert_eq!(names(setup.authenticate(&request).await), expected, "{secret}");
        assert_eq!(
            names(setup.required(&request, &OPEN).await),
            expected,
            "{secret}, where anonymous callers may come"
        );
    }
    let nothing = get("/", &[]);
    assert_eq!(names(setup.authenticate(&nothing).await), Err(Denial::Missing));
    assert_eq!(names(setup.required(&nothing, &OPEN).await), Ok(None));
    memory.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(names(setup.required(&with_token("good"), &OPEN).await), Err(Denial::Unavailable));
    assert_eq!(names(setup.required(&nothing, &OPEN).await), Ok(None), "nothing has to be looked up");
}

#[tokio::test]
async fn sudo_assumes_whom_it_names_or_says_why_not() {
    let setup = Setup::new();
    let memory = &setup.memory;
    memory.put_user(User { administrator: true, username: "root".into(), ..user(1) });
    memory.put_user(User { username: "ada".into(), ..user(2) });
    memory.put_token("admin", Row { scopes: &[Scope::Api, Scope::Sudo], ..pat() });
    memory.put_token("only", Row { scopes: &[Scope::Sudo], ..pat() });
    memory.put_token("oauth", Row { scopes: &[Scope::Sudo], ..Row::of(Kind::OauthAccessToken) });
    memory.put_token("without", pat());
    memory.put_token("ada", Row { owner: Some(2), scopes: &[Scope::Api, Scope::Sudo], ..pat() });
    memory.put(session_key("s"), Row::of(Kind::Session));
    let unknown = |name: &str| Err(Denial::SudoUnknown(name.to_owned()));
    let ada = Ok(Some((2, Some(1))));
    let long = "99999999999999999999";
    for (credential, target, expected, questions) in [
        ("private_token=admin", "2", ada.clone(), 1),
        ("private_token=admin", "ada", ada.clone(), 1),
        ("access_token=oauth", "ada", ada.clone(), 1),
        ("private_token=only", "ada", ada.clone(), 1),
        ("private_token=admin", "1", Ok(Some((1, None))), 1),
        ("private_token=admin", "root", Ok(Some((1, None))), 1),
        ("private_token=only", "root", Err(scope_missing()), 1),
        ("private_token=admin", "7", unknown("7"), 1),
        ("private_token=admin", "7a", unknown("7a"), 1),
        ("private_token=admin", "", unknown(""), 1),
        ("private_token=admin", long, unknown(long), 0),
        ("private_token=without", "ada", Err(Denial::Scope(vec![Scope::Sudo])), 0),
        ("private_token=ada", "1", Err(Denial::SudoNotAdministrator), 0),
        ("private_token=nonsense", "1", Err(Denial::Unknown), 0),
        ("", "ada", Err(Denial::Missing), 0),
    ] {
        let before = memory.asked_otherwise();
        let request = get(&format!("/?{credential}&sudo={target}"), &[]);
        assert_eq!(names(setup.required(&request, &OPEN).await), expected, "{credential} {target}");
        assert_eq!(memory.asked_otherwise() - before, questions, "{credential} {target}");
    }
    for (uri, headers, expected) in [
        ("/?private_token=admin&sudo[]=ada", &[][..], Denial::SudoInvalid),
        ("/?private_token=nonsense&sudo[]=ada", &[], Denial::Unknown),
        ("/?sudo[]=ada", &[], Denial::Missing),
        ("/?sudo=ada", &[("cookie", "_gitlab_session=s")], Denial::SudoWithoutToken),
    ] {
        assert_eq!(names(setup.required(&get(uri, headers), &OPEN).await), Err(expected), "{uri}");
    }
}

#[tokio::test]
async fn sudo_is_refused_while_the_database_is_away() {
    let setup = Setup::leased();
    setup.memory.put_user(User { administrator: true, ..user(1) });
    setup.memory.put_token("admin", Row { scopes: &[Scope::Sudo], ..pat() });
    let request = get("/?private_token=admin&sudo=2", &[]);
    assert_eq!(names(setup.authenticate(&request).await), Ok(Some((2, Some(1)))));
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    assert_eq!(names(setup.authenticate(&request).await), Err(Denial::Unavailable));
}

#[tokio::test]
async fn the_head_tells_what_is_sent_without_noting_its_use() {
    let setup = Setup::new();
    setup.memory.put_user(User { state: AccountState::Blocked, ..user(2) });
    setup.memory.put_token("live", Row { scopes: &[], ..pat() });
    setup.memory.put_token("expired", Row { ends: Some(NOW), ..pat() });
    setup.memory.put_token("blocked", Row { owner: Some(2), ..pat() });
    setup.memory.put(session_key("s"), Row::of(Kind::Session));
    let cookie = [("cookie", "_gitlab_session=s")];
    for (request, expected) in [
        (get("/", &[]), Ok(Head::Nothing)),
        (get("/", &[("cookie", "_gitlab_session=other")]), Ok(Head::Nothing)),
        (get("/", &cookie), Ok(Head::Live)),
        (with_token("live"), Ok(Head::Live)),
        (with_token("expired"), Ok(Head::Dead)),
        (with_token("blocked"), Ok(Head::Dead)),
        (with_token("nonsense"), Err(Denial::Unknown)),
    ] {
        let presented = PresentedCredentials::in_head(&request, None);
        let head = setup.auth.head(&presented, &AccessRequirement::PLAIN, NOW).await;
        assert_eq!(head, expected, "{:?}", request.headers);
    }
    let noted = setup.auth.uses().take();
    assert!(noted.tokens.is_empty() && noted.sessions.is_empty());
    setup.memory.unavailable.store(true, Ordering::SeqCst);
    let live = with_token("live");
    let presented = PresentedCredentials::in_head(&live, None);
    let head = setup.auth.head(&presented, &AccessRequirement::PLAIN, NOW).await;
    assert_eq!(head, Err(Denial::Unavailable));
}

#[tokio::test]
async fn a_use_is_noted_once_the_credential_stands_even_if_its_scopes_do_not_do() {
    let setup = Setup::new();
    setup.memory.put_token("live", pat());
    setup.memory.put_token("narrow", Row { scopes: &[], ..pat() });
    setup.memory.put_token("expired", Row { ends: Some(NOW), ..pat() });
    for (secret, noted) in [("live", true), ("narrow", true), ("expired", false), ("nonsense", false)] {
        let _ = setup.authenticate(&with_token(secret)).await;
        assert_eq!(!setup.auth.uses().take().tokens.is_empty(), noted, "{secret}");
    }
    assert_eq!(setup.auth.use_rules().interval, Duration::from_secs(600));
}

#[tokio::test]
async fn t6_only_for_a_relayed_request_an_application_comes_for_itself() {
    let setup = Setup::new();
    let own = Row { owner: None, application: Some(5), ..Row::of(Kind::OauthAccessToken) };
    setup.memory.put_token("own", own.clone());
    setup.memory.put_token("narrow", Row { scopes: &[], ..own });
    setup.memory.put_token("person", Row { scopes: &[Scope::ReadApi], ..pat() });
    let named = AccessRequirement { applications: &[ApplicationId(5)], ..AccessRequirement::PLAIN };
    let other = AccessRequirement { applications: &[ApplicationId(6)], ..AccessRequirement::PLAIN };
    let bearer = |secret| get("/", &[("authorization", &format!("Bearer {secret}"))]);
    for (request, requirement, expected) in [
        (bearer("own"), &named, Ok(Some((None, CredentialPlace::AuthorizationHeader)))),
        (get("/?access_token=own", &[]), &named, Ok(Some((None, CredentialPlace::AccessTokenParameter)))),
        (bearer("own"), &other, Err(Denial::Missing)),
        (bearer("narrow"), &named, Err(scope_missing())),
        (bearer("person"), &named, Ok(Some((Some(1), CredentialPlace::AuthorizationHeader)))),
        (with_token("person"), &named, Ok(Some((Some(1), CredentialPlace::PrivateTokenHeader)))),
        (with_token("nonsense"), &OPEN, Err(Denial::Unknown)),
        (get("/", &[]), &named, Err(Denial::Missing)),
        (get("/", &[]), &OPEN, Ok(None)),
    ] {
        let presented = PresentedCredentials::in_head(&request, None);
        let answer = setup.auth.authorize_relayed(&presented, requirement, NOW).await;
        let answer =
            answer.map(|found| found.map(|(caller, place)| (caller.person().ok().map(|who| who.user.id.0), place)));
        assert_eq!(answer, expected, "{} {:?}", request.uri, request.headers);
    }
    assert_eq!(names(setup.required(&bearer("own"), &named).await), Err(Denial::Missing), "on the API it is nobody");
}

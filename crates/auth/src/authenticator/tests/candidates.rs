//! Which of several presented credentials counts (authentication.md 1.1).

use http::Method;
use tollhouse_domain::secret::CsrfSecret;

use super::*;

#[tokio::test]
async fn a_credential_counts_only_as_its_own_kind() {
    let memory = Memory::default();
    memory.put_user(user(1));
    for (found, as_oauth, as_personal) in
        [(Kind::OauthAccessToken, true, false), (Kind::PersonalAccessToken, false, true), (Kind::Session, false, false)]
    {
        memory.put_token("x", Row::of(found));
        let record = memory.find(token_key("x")).await.expect("an answer").expect("a record");
        assert_eq!(is_of(CandidateKind::OauthAccessToken, &record.credential), as_oauth);
        assert_eq!(is_of(CandidateKind::PersonalAccessToken, &record.credential), as_personal);
    }
}

#[tokio::test]
async fn candidates_are_tried_in_order_until_one_counts_or_stops_it() {
    let setup = Setup::new();
    let memory = &setup.memory;
    memory.put_token("personal", Row::of(Kind::PersonalAccessToken));
    memory.put_token("oauth", Row { owner: Some(2), ..Row::of(Kind::OauthAccessToken) });
    memory.put(session_key("s"), Row::of(Kind::Session));
    let long = "x".repeat(1025);
    let (one, two) = (Ok(Some((1, None))), Ok(Some((2, None))));
    for (query, cookie, expected, finds) in [
        ("access_token=oauth", "", two.clone(), 1),
        ("access_token=oauth&private_token=personal", "", two.clone(), 1),
        ("access_token=personal", "", one.clone(), 1),
        ("access_token=nonsense&private_token=personal", "", one.clone(), 2),
        ("access_token=personal&private_token=nonsense", "", Err(Denial::Unknown), 2),
        ("access_token=personal&private_token=oauth", "", Err(Denial::Unknown), 2),
        ("private_token=oauth", "", Err(Denial::Unknown), 1),
        // The same secret is tried as either kind and looked up once.
        ("access_token=nonsense", "", Err(Denial::Unknown), 1),
        ("private_token=nonsense", "s", Err(Denial::Unknown), 1),
        (&format!("private_token={long}"), "s", Err(Denial::Unknown), 0),
        (&format!("access_token={long}&private_token=personal"), "", one.clone(), 1),
        ("private_token[]=personal", "s", Err(Denial::Unknown), 0),
        ("", "s", one.clone(), 1),
        ("private_token=%20", "s", one.clone(), 1),
        ("access_token=oauth", "s", two.clone(), 1),
        ("", "nonsense", Ok(None), 1),
        ("", "personal", Ok(None), 1),
        ("private_token=s", "", Err(Denial::Unknown), 1),
    ] {
        let before = memory.found();
        let header = format!("_gitlab_session={cookie}");
        let headers = [("cookie", header.as_str())];
        let headers = if cookie.is_empty() { &[][..] } else { &headers };
        let request = get(&format!("/?{query}"), headers);
        assert_eq!(names(setup.required(&request, &OPEN).await), expected, "{query} {cookie}");
        assert_eq!(memory.found() - before, finds, "{query} {cookie}");
    }
}

#[tokio::test]
async fn t9_a_session_writes_only_with_a_csrf_token_of_its_own() {
    let setup = Setup::new();
    setup.memory.put(session_key("live"), Row::of(Kind::Session));
    let mask = |session: &str| CsrfSecret::of_session(session.as_bytes()).mask();
    for (cookies, csrf, expected, finds) in [
        ("_gitlab_session=live", None, Ok(None), 0),
        ("_gitlab_session=live", Some(mask("live")), Ok(Some((1, None))), 1),
        ("_gitlab_session=live", Some(mask("other")), Ok(None), 0),
        ("_gitlab_session=live; _gitlab_session=dead", Some(mask("live")), Ok(Some((1, None))), 2),
        ("_gitlab_session=live; _gitlab_session=dead", Some(mask("dead")), Ok(None), 2),
    ] {
        let before = setup.memory.found();
        let mut request = get("/", &[("cookie", cookies)]);
        request.method = Method::POST;
        if let Some(csrf) = &csrf {
            request.headers.insert("x-csrf-token", csrf.parse().expect("a header"));
        }
        assert_eq!(names(setup.required(&request, &OPEN).await), expected, "{cookies} {csrf:?}");
        assert_eq!(setup.memory.found() - before, finds, "{cookies} {csrf:?}");
    }
}

//! Where credentials stand, and what counts as one.

use tollhouse_domain::deploy_token::DeployScope;

use super::*;

fn head(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = http::Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request").into_parts().0
}

/// CandidateKind, place and secret of each candidate.
fn candidates(uri: &str, headers: &[(&str, &str)]) -> Vec<(CandidateKind, CredentialPlace, Option<Digest>)> {
    let parts = head(uri, headers);
    PresentedCredentials::in_head(&parts, None)
        .candidates(&AccessRequirement::PLAIN)
        .map(|c| (c.kind, c.place, c.secret.digest()))
        .collect()
}

fn of(secret: &str) -> Option<Digest> {
    Some(Digest::of(secret.as_bytes()))
}

#[test]
fn the_order_of_places() {
    use CandidateKind::{OauthAccessToken, PersonalAccessToken};
    let all = [("authorization", "Bearer h"), ("private-token", "p")];
    assert_eq!(
        candidates("/?bearer_token=b&private_token=q", &all),
        [
            (OauthAccessToken, CredentialPlace::AuthorizationHeader, of("h")),
            (PersonalAccessToken, CredentialPlace::PrivateTokenParameter, of("q"))
        ]
    );
    assert_eq!(
        candidates("/?access_token=a&private_token=%20", &all),
        [
            (OauthAccessToken, CredentialPlace::AccessTokenParameter, of("a")),
            (PersonalAccessToken, CredentialPlace::PrivateTokenHeader, of("p"))
        ]
    );
    assert_eq!(
        candidates("/?bearer_token=b", &[("authorization", "bearer")]),
        [
            (OauthAccessToken, CredentialPlace::BearerTokenParameter, of("b")),
            (PersonalAccessToken, CredentialPlace::BearerTokenParameter, of("b"))
        ]
    );
    assert_eq!(candidates("/", &[("authorization", "Basic dTpw")]), []);
}

#[test]
fn what_cannot_be_a_credential_is_still_shown() {
    let list = candidates("/?private_token[]=x", &[]);
    assert_eq!(list, [(CandidateKind::PersonalAccessToken, CredentialPlace::PrivateTokenParameter, None)]);
    let twice = candidates("/", &[("private-token", "a"), ("private-token", "b")]);
    assert_eq!(twice, [(CandidateKind::PersonalAccessToken, CredentialPlace::PrivateTokenHeader, of("a,b"))]);
    assert_eq!(candidates("/", &[("private-token", "glcbt-1_x")]), []);
}

#[test]
fn a_bearer_is_what_follows_the_scheme_and_one_space() {
    let long = format!("Bearer {}", "x".repeat(1_025));
    for (lines, expected) in [
        (&["Bearer x"][..], Some(of("x"))),
        (&["bEARER x"], Some(of("x"))),
        (&["Bearer x y"], Some(of("x y"))),
        (&["Bearer  x"], Some(of(" x"))),
        (&["Bearer x", "Bearer y"], Some(of("x,Bearer y"))),
        (&[&long], Some(None)),
        (&["Bearer  "], None),
        (&["Bearer"], None),
        (&["Bearerx"], None),
        (&["Bearer\tx"], None),
        (&["Bearer,x"], None),
        (&["Basic x"], None),
        (&["Basic x", "Bearer x"], None),
        (&["x"], None),
        (&[""], None),
        (&[], None),
    ] {
        let headers: Vec<_> = lines.iter().map(|line| ("authorization", *line)).collect();
        let parts = head("/", &headers);
        let presented = PresentedCredentials::in_head(&parts, None);
        assert_eq!(presented.bearer().map(Secret::digest), expected, "{lines:?}");
    }
}

#[test]
fn every_place_is_listed_blank_or_not() {
    use CredentialPlace::{
        AccessTokenParameter, AuthorizationHeader, BearerTokenParameter, PrivateTokenHeader, PrivateTokenParameter,
    };
    let headers = [("authorization", "Bearer h"), ("private-token", " ")];
    let parts = head("/?private_token[]=q&bearer_token=b&access_token=a", &headers);
    let presented = PresentedCredentials::in_head(&parts, None);
    let places: Vec<_> =
        presented.places(&AccessRequirement::PLAIN).map(|(place, secret)| (place, secret.digest())).collect();
    assert_eq!(
        places,
        [
            (AccessTokenParameter, of("a")),
            (AuthorizationHeader, of("h")),
            (BearerTokenParameter, of("b")),
            (PrivateTokenParameter, None),
            (PrivateTokenHeader, of(" ")),
        ]
    );
    assert_eq!(PresentedCredentials::in_head(&head("/", &[]), None).places(&AccessRequirement::PLAIN).count(), 0);
}

#[test]
fn places_of_deploy_and_job_tokens_and_passwords_are_listed_where_they_count() {
    use CredentialPlace::{
        BasicPassword, DeployTokenHeader, JobTokenHeader, JobTokenParameter, PrivateTokenHeader, TokenParameter,
    };
    let plain = AccessRequirement::PLAIN;
    let deploy = AccessRequirement { deploy_tokens: &[DeployScope::ReadRegistry], ..plain };
    let request = AccessRequirement { job_tokens: JobTokens::Request, ..plain };
    let any = AccessRequirement { job_tokens: JobTokens::AnyPlace, ..plain };
    let password = AccessRequirement { token_as_password: true, ..plain };
    let headers = [("authorization", "Basic dTpw"), ("private-token", "h"), ("job-token", "j"), ("deploy-token", "d")];
    let parts = head("/?job_token=a&token=b", &headers);
    let presented = PresentedCredentials::in_head(&parts, None);
    let jobs = [JobTokenParameter, TokenParameter, JobTokenHeader];
    for (requirement, more) in [
        (plain, vec![]),
        (deploy, vec![DeployTokenHeader, BasicPassword]),
        (request, jobs.to_vec()),
        (any, [jobs.as_slice(), &[BasicPassword]].concat()),
        (password, vec![BasicPassword]),
    ] {
        let places: Vec<_> = presented.places(&requirement).map(|(place, _)| place).collect();
        assert_eq!(places, [vec![PrivateTokenHeader], more].concat(), "{requirement:?}");
    }
}

#[test]
fn a_token_that_was_presented_is_given_back_in_clear() {
    let parts = head("/?access_token=a&private_token=p", &[("private-token", "other")]);
    let presented = PresentedCredentials::in_head(&parts, None);
    for (secret, expected) in [("a", true), ("p", true), ("other", false), ("", false)] {
        let plaintext = presented.plaintext_of(Digest::of(secret.as_bytes()));
        assert_eq!(plaintext.as_ref().map(Plaintext::reveal), expected.then_some(secret), "{secret}");
    }
}

#[test]
fn a_secret_is_not_printed_and_has_no_digest_beyond_1024_bytes() {
    for (length, expected) in [(1, true), (1_024, true), (1_025, false)] {
        let secret = Secret::Value(vec![b'x'; length].into());
        assert_eq!((secret.digest().is_some(), format!("{secret:?}").as_str()), (expected, "Secret(***)"));
    }
}

#[test]
fn reads_are_get_and_head() {
    let peer = "192.0.2.1".parse().ok();
    let mut parts = head("/", &[]);
    for (method, read) in [(Method::GET, true), (Method::HEAD, true), (Method::POST, false), (Method::OPTIONS, false)] {
        parts.method = method;
        let presented = PresentedCredentials::in_head(&parts, peer);
        assert_eq!((presented.is_read(), presented.peer()), (read, peer), "{}", parts.method);
    }
    assert_eq!(PresentedCredentials::in_head(&parts, None).peer(), None);
}

#[test]
fn the_query_wins_in_each_place() {
    for name in ["access_token", "bearer_token", "private_token"] {
        for (query, expected) in [("q", of("q")), ("", None)] {
            let parts = head(&format!("/?{name}={query}"), &[]);
            let body = Map::from_iter([(name.to_owned(), Value::from("b"))]);
            let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
            let found =
                presented.candidates(&AccessRequirement::PLAIN).last().and_then(|candidate| candidate.secret.digest());
            assert_eq!(found, expected, "{name}={query}: what is blank wins too");
        }
    }
}

#[test]
fn what_a_body_says_is_a_secret_or_cannot_be_one_and_null_is_absent() {
    let parts = head("/", &[]);
    for (value, expected) in [
        (serde_json::json!("b"), Some(of("b"))),
        (serde_json::json!(null), None),
        (serde_json::json!(7), Some(None)),
        (serde_json::json!(["b"]), Some(None)),
    ] {
        for name in ["access_token", "bearer_token", "private_token"] {
            let body = Map::from_iter([(name.to_owned(), value.clone())]);
            let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
            let found =
                presented.candidates(&AccessRequirement::PLAIN).last().map(|candidate| candidate.secret.digest());
            assert_eq!(found, expected, "{body:?}");
        }
    }
}

fn sessions(presented: &PresentedCredentials<'_>) -> Vec<String> {
    presented.sessions().map(|cookies| cookies.iter().map(str::to_owned).collect()).unwrap_or_default()
}

#[test]
fn t9_to_write_the_csrf_token_must_be_of_the_session_that_counts() {
    let token = CsrfSecret::of_session(b"y").mask();
    let mut parts = head("/", &[("cookie", "_gitlab_session=x; _gitlab_session=y"), ("x-csrf-token", &token)]);
    parts.method = Method::POST;
    let presented = PresentedCredentials::in_head(&parts, None);
    assert_eq!(sessions(&presented), ["x", "y"], "one of them may count, so all are looked up");
    assert!(presented.admits("y") && !presented.admits("x"));
    parts.headers.remove("x-csrf-token");
    assert!(sessions(&PresentedCredentials::in_head(&parts, None)).is_empty());
}

#[test]
fn t6_what_is_relayed_has_no_sudo_and_no_session_but_where_it_counts() {
    let cookie = "_gitlab_session=x";
    let parts = head("/?sudo=1&access_token=a", &[("cookie", cookie), ("sudo", "2"), ("private-token", "p")]);
    let relayed =
        |method: Method, query, session| PresentedCredentials::relayed(&parts.headers, &method, query, session, None);
    let presented = relayed(Method::GET, Some("sudo=1&access_token=a"), Session::Own);
    assert_eq!(presented.sudo(), None);
    assert_eq!(presented.bearer().and_then(Secret::digest), of("a"));
    assert_eq!(sessions(&presented), ["x"]);
    assert!(relayed(Method::GET, None, Session::Own).bearer().is_none(), "the question's own query is nobody's");
    assert!(sessions(&relayed(Method::POST, None, Session::Own)).is_empty());
    assert_eq!(sessions(&relayed(Method::POST, None, Session::Vouched)), ["x"]);
    assert!(sessions(&relayed(Method::GET, None, Session::Foreign)).is_empty());
}

#[test]
fn the_query_wins_for_credentials_and_the_body_for_sudo() {
    let parts = head("/?private_token=&sudo=1", &[]);
    let Value::Object(body) = serde_json::json!({"private_token": "b", "access_token": "a", "sudo": 2}) else {
        unreachable!("an object");
    };
    let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
    let list: Vec<_> = presented.candidates(&AccessRequirement::PLAIN).map(|c| (c.place, c.secret.digest())).collect();
    assert_eq!(
        list,
        [(CredentialPlace::AccessTokenParameter, of("a")), (CredentialPlace::AccessTokenParameter, of("a"))]
    );
    assert_eq!(presented.sudo(), Some(&Sudo::Name("2".into())));
}

#[test]
fn what_sudo_says_is_a_name_or_cannot_be_read() {
    let name = |text: &str| Some(Sudo::Name(text.to_owned().into()));
    let unreadable = Some(Sudo::Unreadable);
    let said = |query: &str, headers: &[&str], body: serde_json::Value| {
        let pairs: Vec<(&str, &str)> = headers.iter().map(|value| ("sudo", *value)).collect();
        let parts = head(&format!("/?{query}"), &pairs);
        let Value::Object(body) = body else { unreachable!("an object") };
        let presented = PresentedCredentials::in_head(&parts, None).and_in_body(&body);
        presented.sudo().map(|sudo| match sudo {
            Sudo::Name(text) => Sudo::Name(text.clone().into_owned().into()),
            Sudo::Unreadable => Sudo::Unreadable,
        })
    };
    let none = || serde_json::json!({});
    for (query, headers, body, expected) in [
        ("", &[][..], none(), None),
        ("sudo=ada", &["bob"], none(), name("ada")),
        ("sudo=", &["bob"], none(), name("")),
        ("", &["ada", "ada"], none(), name("ada")),
        ("", &["ada", "bob"], none(), unreadable.clone()),
        ("sudo=ada&sudo=ada", &[], none(), name("ada")),
        ("sudo=ada&sudo=bob", &[], none(), unreadable.clone()),
        ("sudo=ada&sudo=bob&sudo=ada", &[], none(), unreadable.clone()),
        ("sudo[]=ada", &[], none(), unreadable.clone()),
        ("sudo[a]=ada&sudo=ada", &["ada"], none(), unreadable.clone()),
        ("sudo%5B%5D=ada", &[], none(), unreadable.clone()),
        ("sudo[]=ada", &[], serde_json::json!({"sudo": "ada"}), unreadable.clone()),
        ("sudo=ada", &[], serde_json::json!({"sudo": "bob"}), name("bob")),
        ("sudo=ada", &[], serde_json::json!({"sudo": null}), unreadable.clone()),
        ("", &[], serde_json::json!({"sudo": ["ada"]}), unreadable.clone()),
        ("", &["ada"], serde_json::json!({"sudo": {"a": "ada"}}), unreadable.clone()),
        ("", &[], serde_json::json!({"sudo": true}), unreadable.clone()),
        ("", &[], serde_json::json!({"sudo": 7}), name("7")),
    ] {
        assert_eq!(said(query, headers, body.clone()), expected, "{query} {headers:?} {body}");
    }
}

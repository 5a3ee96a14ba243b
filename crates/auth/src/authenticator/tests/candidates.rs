//! Which of several presented credentials counts (authentication.md 1.1).

use data_encoding::BASE64;
use http::Method;
use tollhouse_domain::access_requirement::JobTokens;
use tollhouse_domain::deploy_token::DeployScope;
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

/// What passes, and who it is: `person 1`, `deployment 1`, `nobody`, or the reason.
async fn relayed(setup: &Setup, request: &Parts, requirement: &AccessRequirement<'_>) -> String {
    let presented = PresentedCredentials::in_head(request, None);
    match setup.auth.authorize_relayed(&presented, requirement, NOW).await {
        Ok(None) => "nobody".to_owned(),
        Ok(Some((Caller::Person(who), place))) => format!("person {} {place:?}", who.user.id),
        Ok(Some((Caller::Deployment(token), place))) => format!("deployment {} {place:?}", token.id),
        Ok(Some((Caller::Application(_), _))) => "an application".to_owned(),
        Err(denial) => denial.code().to_owned(),
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64.encode(format!("{user}:{password}").as_bytes()))
}

#[tokio::test]
async fn deploy_tokens_job_tokens_and_passwords_count_where_they_are_admitted_and_nowhere_else() {
    let setup = Setup::new();
    let key = |kind: CandidateKind, secret: &str| kind.key(Digest::of(secret.as_bytes()));
    let over = Some(NOW);
    setup.memory.put_token("personal", Row { owner: Some(2), ..Row::of(Kind::PersonalAccessToken) });
    setup.memory.put_token("per:sonal", Row { owner: Some(2), ..Row::of(Kind::PersonalAccessToken) });
    setup.memory.put(key(CandidateKind::DeployToken, "gldt-d"), Row::of(Kind::DeployToken));
    setup.memory.put(key(CandidateKind::DeployToken, "gldt-over"), Row { ends: over, ..Row::of(Kind::DeployToken) });
    setup.memory.put(key(CandidateKind::JobToken, "glcbt-j"), Row::of(Kind::JobToken));
    setup.memory.put(key(CandidateKind::JobToken, "glcbt-over"), Row { ends: over, ..Row::of(Kind::JobToken) });
    let open = AccessRequirement { anonymous: true, ..AccessRequirement::PLAIN };
    let deploy = AccessRequirement { deploy_tokens: &[DeployScope::ReadRegistry], ..open };
    let other_scope = AccessRequirement { deploy_tokens: &[DeployScope::WriteRegistry], ..open };
    let request = AccessRequirement { job_tokens: JobTokens::Request, ..open };
    let any = AccessRequirement { job_tokens: JobTokens::AnyPlace, ..open };
    let password = AccessRequirement { token_as_password: true, ..open };
    let all = AccessRequirement {
        deploy_tokens: &[DeployScope::ReadRegistry],
        job_tokens: JobTokens::AnyPlace,
        token_as_password: true,
        ..open
    };
    let job_user = basic("gitlab-ci-token", "glcbt-j");
    let over_user = basic("gitlab-ci-token", "glcbt-over");
    let no_user = basic("gitlab-ci-token", "");
    let (d, p, colons) = (basic("any", "gldt-d"), basic("any", "personal"), basic("any", "per:sonal"));
    let unknown = basic("any", "nonsense");
    for (requirement, query, headers, expected) in [
        // Deploy tokens: header, bearer value, Basic password (AUTH-107 to AUTH-110).
        (&deploy, "", &[("deploy-token", "gldt-d")][..], "deployment 1 DeployTokenHeader"),
        (&deploy, "", &[("authorization", "Bearer gldt-d")], "deployment 1 AuthorizationHeader"),
        (&deploy, "access_token=gldt-d", &[], "deployment 1 AccessTokenParameter"),
        (&deploy, "", &[("authorization", &d)], "deployment 1 BasicPassword"),
        (&other_scope, "", &[("deploy-token", "gldt-d")], "insufficient_scope"),
        (&deploy, "", &[("deploy-token", "gldt-over")], "nobody"),
        (&deploy, "", &[("deploy-token", "nonsense")], "nobody"),
        (&deploy, "", &[("deploy-token", "nonsense"), ("private-token", "personal")], "person 2 PrivateTokenHeader"),
        // A password overrides the header, and a blank one does not.
        (&deploy, "", &[("authorization", &unknown), ("deploy-token", "gldt-d")], "nobody"),
        (&deploy, "", &[("authorization", &no_user), ("deploy-token", "gldt-d")], "deployment 1 DeployTokenHeader"),
        (&deploy, "", &[("private-token", "gldt-d")], "unknown"),
        (&open, "", &[("deploy-token", "gldt-d")], "nobody"),
        (&open, "", &[("authorization", "Bearer gldt-d")], "unknown"),
        (&open, "", &[("authorization", &d)], "nobody"),
        // Job tokens (AUTH-098 to AUTH-106, AUTH-196).
        (&request, "", &[("job-token", "glcbt-j")], "person 1 JobTokenHeader"),
        (&request, "job_token=glcbt-j", &[], "person 1 JobTokenParameter"),
        (&request, "token=glcbt-j", &[], "person 1 TokenParameter"),
        (&request, "", &[("authorization", "Bearer glcbt-j")], "person 1 AuthorizationHeader"),
        (&request, "job_token=%20&token=glcbt-j", &[], "person 1 TokenParameter"),
        (&request, "job_token=x&token=glcbt-j", &[], "unknown"),
        (&request, "", &[("job-token", "glcbt-over")], "unknown"),
        (&request, "", &[("authorization", "Bearer glcbt-over")], "nobody"),
        (&request, "job_token[]=glcbt-j", &[], "unknown"),
        (&request, "", &[("authorization", &job_user)], "nobody"),
        (&any, "", &[("authorization", &job_user)], "person 1 BasicPassword"),
        (&any, "", &[("authorization", &over_user)], "unknown"),
        (&any, "", &[("authorization", &no_user)], "nobody"),
        (&any, "", &[("authorization", &basic("Gitlab-ci-token", "glcbt-j"))], "nobody"),
        (&any, "", &[("job-token", "glcbt-j"), ("private-token", "personal")], "person 2 PrivateTokenHeader"),
        (
            &any,
            "",
            &[("authorization", "Bearer glcbt-j"), ("private-token", "personal")],
            "person 1 AuthorizationHeader",
        ),
        (&open, "job_token=glcbt-j&token=glcbt-j", &[("job-token", "glcbt-j")], "nobody"),
        (&open, "", &[("authorization", "Bearer glcbt-j")], "nobody"),
        (&any, "", &[("job-token", "personal")], "unknown"),
        // A personal access token as password (AUTH-093, AUTH-094).
        (&password, "", &[("authorization", &p)], "person 2 BasicPassword"),
        (&password, "", &[("authorization", &colons)], "person 2 BasicPassword"),
        (&password, "", &[("authorization", &unknown)], "nobody"),
        (&password, "", &[("authorization", &d)], "nobody"),
        (&password, "", &[("authorization", &p), ("private-token", "nonsense")], "unknown"),
        (&open, "", &[("authorization", &p)], "nobody"),
        (&all, "", &[("authorization", &p)], "person 2 BasicPassword"),
        (&all, "", &[("authorization", &d)], "deployment 1 BasicPassword"),
        (&all, "", &[("authorization", &job_user)], "person 1 BasicPassword"),
        (&all, "", &[("authorization", "Basic !")], "nobody"),
        (&all, "", &[("authorization", &format!("Basic {}", BASE64.encode(b"no colon")))], "nobody"),
    ] {
        let answer = relayed(&setup, &get(&format!("/?{query}"), headers), requirement).await;
        assert_eq!(answer, expected, "{query} {headers:?} {requirement:?}");
    }
}

//! Tokens of CI jobs, shown on `GET /job` (authentication.md 1.1, 1.5; rest-api.md 2.12).

use std::time::Duration;

use tollhouse::error::Error;
use tollhouse::operations::job_tokens::{CreateJobToken, RevokeJobToken};
use tollhouse::operations::users::SetState;
use tollhouse::refusal::{FieldFault, Refusal};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::By;
use tollhouse_domain::id::ProjectId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use crate::test_server::{M401, Person, TestServer};

cases![
    auth_065_a_job_of_a_blocked_user,
    auth_098_a_running_job,
    auth_099_in_the_query,
    auth_100_as_bearer,
    auth_101_a_job_that_is_over,
    auth_102_an_unknown_job_token,
    auth_103_where_no_job_token_counts,
    auth_106_a_list_of_job_tokens,
    auth_206_self_with_a_job_token,
    pat_099_self_with_a_job_token,
    pat_051_rotation_with_a_job_or_deploy_token,
    a_personal_access_token_is_no_job,
    a_job_is_a_developers_and_lasts_30_days_at_most,
    w4_a_job_token_is_revoked_and_revoked_again,
];

const JOB: &str = "/api/v4/job";
const HOUR: Duration = Duration::from_secs(3600);

/// A developer with a project in which jobs run.
async fn developer(t: &TestServer) -> (Person, ProjectId) {
    let group = t.group("harbour", Visibility::Private).await;
    let project = t.project(group, "pilots", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(project), &ada, AccessLevel::Developer).await;
    (ada, project)
}

async fn job(t: &TestServer, ada: &Person, project: ProjectId) -> (String, i64) {
    let made = t.does(CreateJobToken { project, user: ada.id, lifetime: HOUR }).await;
    (made.secret.reveal().to_owned(), made.token.id.0)
}

async fn begun(t: &TestServer) -> (Person, String, i64) {
    let (ada, project) = developer(t).await;
    let (secret, id) = job(t, &ada, project).await;
    (ada, secret, id)
}

async fn auth_065_a_job_of_a_blocked_user(t: TestServer) {
    let (ada, secret, _) = begun(&t).await;
    ada.set_state(SetState::block(ada.id)).await;
    let reply = t.get(JOB).with("job-token", &secret).await;
    reply.is(403, r#"{"message":"403 Forbidden - Your account has been blocked."}"#);
}

async fn auth_098_a_running_job(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let (secret, id) = job(&t, &ada, project).await;
    let random = secret.strip_prefix("glcbt-1_").expect("the prefix of a job token");
    assert!(random.len() == 20 && random.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)));
    let job = t.get(JOB).with("job-token", &secret).await.has(200).json();
    assert_eq!((&job["id"], &job["status"]), (&id.into(), &"running".into()));
    assert_eq!(job["user"]["username"], "ada");
    assert_eq!(job["pipeline"]["project_id"], project.0);
}

async fn auth_099_in_the_query(t: TestServer) {
    let (_, secret, id) = begun(&t).await;
    for name in ["job_token", "token"] {
        let job = t.get(&format!("{JOB}?{name}={secret}")).await.has(200).json();
        assert_eq!(job["id"], id, "{name}");
    }
    // The first that is not blank decides.
    t.get(&format!("{JOB}?job_token=&token={secret}")).await.has(200);
    t.get(&format!("{JOB}?job_token=x&token={secret}")).await.is(401, M401);
    t.get(&format!("{JOB}?job_token={secret}&token=x")).with("job-token", "y").await.has(200);
}

async fn auth_100_as_bearer(t: TestServer) {
    let (_, secret, id) = begun(&t).await;
    assert_eq!(t.get(JOB).bearer(&secret).await.has(200).json()["id"], id);
    assert_eq!(t.get(&format!("{JOB}?access_token={secret}")).await.has(200).json()["id"], id);
}

async fn auth_101_a_job_that_is_over(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let (secret, _) = job(&t, &ada, project).await;
    let (revoked, id) = job(&t, &ada, project).await;
    let ask = |secret: &str| t.get(JOB).with("job-token", secret);
    ask(&revoked).await.has(200);
    t.does(RevokeJobToken { id: tollhouse_domain::id::JobTokenId(id) }).await;
    ask(&revoked).await.is(401, M401);
    t.clock.advance(HOUR - Duration::from_millis(1));
    ask(&secret).await.has(200);
    t.clock.advance(Duration::from_millis(1));
    ask(&secret).await.is(401, M401);
    t.get(JOB).bearer(&secret).await.is(401, M401);
}

async fn auth_102_an_unknown_job_token(t: TestServer) {
    let (ada, _, _) = begun(&t).await;
    let token = ada.token([Scope::Api]).await;
    // A personal access token is looked for elsewhere.
    for unknown in ["invalid token", "glcbt-1_aaaaaaaaaaaaaaaaaaaa", token.as_str()] {
        t.get(JOB).with("job-token", unknown).await.is(401, M401);
    }
    t.get(JOB).await.is(401, M401);
}

async fn auth_103_where_no_job_token_counts(t: TestServer) {
    let (ada, secret, _) = begun(&t).await;
    for ask in [
        t.get("/api/v4/user").with("job-token", &secret),
        t.get(&format!("/api/v4/user?job_token={secret}")),
        t.get(&format!("/api/v4/user?token={secret}")),
        t.get("/api/v4/user").token(&secret),
        t.get("/api/v4/user").bearer(&secret),
    ] {
        ask.await.is(401, M401);
    }
    t.get("/api/v4/projects").with("job-token", &secret).await.has(200);
    // It is not looked at, so it stands in nobody's way.
    let token = ada.token([Scope::Api]).await;
    t.get("/api/v4/user").with("job-token", "nonsense").token(&token).await.has(200);
}

async fn auth_106_a_list_of_job_tokens(t: TestServer) {
    let (_, secret, _) = begun(&t).await;
    for query in [format!("job_token[]={secret}"), format!("token[]={secret}"), format!("job_token[a]={secret}")] {
        t.get(&format!("{JOB}?{query}")).await.is(401, M401);
    }
}

async fn auth_206_self_with_a_job_token(t: TestServer) {
    let (_, secret, _) = begun(&t).await;
    let path = "/api/v4/personal_access_tokens/self";
    for ask in [t.get(path).token(&secret), t.get(path).bearer(&secret)] {
        ask.await.is(401, M401);
    }
}

async fn pat_099_self_with_a_job_token(t: TestServer) {
    let (_, secret, _) = begun(&t).await;
    t.get("/api/v4/personal_access_tokens/self").with("job-token", &secret).await.is(401, M401);
}

async fn pat_051_rotation_with_a_job_or_deploy_token(t: TestServer) {
    let (_, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    let builder = t.user("grace").await;
    t.member(MembershipSource::Project(project), &builder, AccessLevel::Developer).await;
    let (secret, _) = job(&t, &builder, project).await;
    let path = "/api/v4/personal_access_tokens/self/rotate";
    for (name, value) in
        [("job-token", &secret), ("private-token", &secret), ("deploy-token", &deploy), ("private-token", &deploy)]
    {
        t.post(path).with(name, value).await.is(401, M401);
    }
    for value in [&secret, &deploy] {
        t.post(path).bearer(value).await.is(401, M401);
    }
}

async fn a_personal_access_token_is_no_job(t: TestServer) {
    let (ada, secret, id) = begun(&t).await;
    let token = ada.token([Scope::Api]).await;
    let missing = r#"{"message":"404 Job Not Found"}"#;
    t.get(JOB).token(&token).await.is(404, missing);
    t.get(JOB).session(&ada.session().await).await.is(404, missing);
    // A personal access token comes before the header of a job, and a bearer before both (authentication.md 1.2).
    t.get(JOB).token(&token).with("job-token", &secret).await.is(404, missing);
    assert_eq!(t.get(JOB).token(&token).bearer(&secret).await.has(200).json()["id"], id);
    // A job cannot become somebody else.
    let answer = t.get(JOB).with("job-token", &secret).with("sudo", "ada").await;
    assert_eq!(answer.status, 403, "{}", answer.body);
}

async fn a_job_is_a_developers_and_lasts_30_days_at_most(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let reporter = t.user("grace").await;
    t.member(MembershipSource::Project(project), &reporter, AccessLevel::Reporter).await;
    let outsider = t.user("hedy").await;
    let month = Duration::from_secs(30 * 24 * 3600);
    let may_not = || Some(Refusal::field("user", FieldFault::MayNotRunJobs));
    let lifetime = || Some(Refusal::field("lifetime", FieldFault::JobLifetime));
    for (user, asked, refusal) in [
        (ada.id, month, None),
        (ada.id, month + Duration::from_millis(1), lifetime()),
        (ada.id, Duration::ZERO, lifetime()),
        (reporter.id, HOUR, may_not()),
        (outsider.id, HOUR, may_not()),
    ] {
        let made = t.app.perform(CreateJobToken { project, user, lifetime: asked }, &By::system()).await;
        assert_eq!(made.map(drop).err(), refusal.map(Error::from), "{user} {asked:?}");
    }
    ada.set_state(SetState::block(ada.id)).await;
    let blocked = CreateJobToken { project, user: ada.id, lifetime: HOUR };
    assert!(t.app.perform(blocked, &By::system()).await.is_err());
}

async fn w4_a_job_token_is_revoked_and_revoked_again(t: TestServer) {
    let (_, secret, id) = begun(&t).await;
    let revoke = RevokeJobToken { id: tollhouse_domain::id::JobTokenId(id) };
    t.get(JOB).with("job-token", &secret).await.has(200);
    assert_eq!([t.does(revoke).await, t.does(revoke).await], [true, false]);
    t.get(JOB).with("job-token", &secret).await.is(401, M401);
    assert_eq!(t.count("job_token.revoked").await, 1);
}

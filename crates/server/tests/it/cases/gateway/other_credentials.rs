//! Deploy tokens, job tokens and passwords, where a rule admits them (GATE-054).

use std::time::Duration;

use tollhouse::operations::deploy_tokens::RevokeDeployToken;
use tollhouse::operations::job_token_scope::{ChangeAllowlist, LimitJobs};
use tollhouse::operations::job_tokens::CreateJobToken;
use tollhouse::operations::members::Remove;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::{DeployTokenId, ProjectId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;

use super::{THERE, asked, rule};
use crate::test_server::{Ask, Person, TestServer};

gates![
    auth_093_a_personal_access_token_as_password,
    auth_094_an_unknown_password,
    auth_105_a_job_token_as_password,
    auth_107_a_deploy_token_in_its_header,
    auth_108_a_deploy_token_as_bearer_and_as_password,
    auth_109_an_unknown_deploy_token_is_ignored,
    auth_110_a_deploy_token_on_the_api,
    auth_138_self_with_a_deploy_token,
    auth_196_a_password_of_a_job_that_is_over,
    gate_053_two_of_one_kind_are_refused_where_they_count,
    gate_054_a_deploy_token_opens_what_is_its_own,
    gate_054_a_job_is_for_its_own_project_and_for_those_that_admit_it,
    gate_054_only_a_rule_that_reads_passwords_asks_for_one,
    gate_054_job_tokens_count_in_the_query_where_a_rule_says_so,
    what_a_rule_may_say_of_deploy_tokens,
];

fn here(t: &TestServer) -> Ask {
    asked(t, "GET", &format!("{THERE}/x"))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
}

/// A developer of a project in a group.
async fn developer(t: &TestServer) -> (Person, ProjectId) {
    let group = t.group("harbour", Visibility::Private).await;
    let project = t.project(group, "pilots", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(project), &ada, AccessLevel::Developer).await;
    (ada, project)
}

async fn job(t: &TestServer, ada: &Person, project: ProjectId) -> String {
    let lifetime = Duration::from_secs(3600);
    t.does(CreateJobToken { project, user: ada.id, lifetime }).await.secret.reveal().to_owned()
}

async fn auth_093_a_personal_access_token_as_password(t: TestServer) {
    rule(&t, "token_as_password = true").await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for user in ["ada", "whoever", ""] {
        let reply = here(&t).with("authorization", &basic(user, &token)).await;
        let told = ["user", "credential", "place"].map(|name| reply.passes("all").told(name));
        assert_eq!(told, ["ada", "personal_access_token", "authorization"], "{user}");
    }
    // Scopes and accounts count as ever.
    let small = ada.token([Scope::ReadUser]).await;
    here(&t).with("authorization", &basic("ada", &small)).await.is_kept_out(403);
    let dead = ada.revoked_token([Scope::Api]).await;
    assert_eq!(here(&t).with("authorization", &basic("ada", &dead)).await.is_kept_out(401).reason(), "revoked");
    rule(&t, "").await;
    here(&t).with("authorization", &basic("ada", &token)).await.is_kept_out(401);
}

async fn auth_094_an_unknown_password(t: TestServer) {
    rule(&t, "token_as_password = true").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    for header in [basic("ada", "nonsense"), basic("ada", ""), "Basic".to_owned(), "Basic !!".to_owned()] {
        let reply = here(&t).with("authorization", &header).await;
        assert_eq!(reply.is_kept_out(401).header("www-authenticate"), Some(r#"Basic realm="Tollhouse""#), "{header}");
        // It is ignored, so what stands beside it counts.
        here(&t).with("authorization", &header).token(&token).await.passes("all");
    }
}

async fn auth_105_a_job_token_as_password(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let secret = job(&t, &ada, project).await;
    let password = basic("gitlab-ci-token", &secret);
    rule(&t, "job_tokens = true").await;
    let reply = here(&t).with("authorization", &password).await;
    let told = ["user", "credential", "place", "scopes"].map(|name| reply.passes("all").told(name));
    assert_eq!(told, ["ada", "job_token", "authorization", "-"]);
    // Another user name, and a password that is no job token.
    here(&t).with("authorization", &basic("ada", &secret)).await.is_kept_out(401);
    here(&t).with("authorization", &basic("gitlab-ci-token", "x")).await.is_kept_out(401);
    // `GET /job` admits it in the request, and not as password.
    t.get("/api/v4/job").with("authorization", &password).await.is(401, r#"{"message":"401 Unauthorized"}"#);
    t.get("/api/v4/job").with("job-token", &secret).await.has(200);
}

async fn auth_107_a_deploy_token_in_its_header(t: TestServer) {
    let (_, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    rule(&t, "deploy_tokens = 'read_registry'").await;
    let reply = here(&t).with("deploy-token", &deploy).await;
    let told = ["user-id", "user", "email", "administrator", "credential", "place", "scopes"];
    let told = told.map(|name| reply.passes("all").told(name));
    assert_eq!(told, ["-", "-", "-", "false", "deploy_token", "deploy_token", "read_registry"]);
    for lines in ["", "job_tokens = true", "allow = 'administrator'"] {
        rule(&t, lines).await;
        here(&t).with("deploy-token", &deploy).await.is_kept_out(401);
    }
    rule(&t, "deploy_tokens = ['write_registry', 'read_repository']").await;
    assert_eq!(here(&t).with("deploy-token", &deploy).await.is_kept_out(403).reason(), "insufficient_scope");
}

async fn auth_108_a_deploy_token_as_bearer_and_as_password(t: TestServer) {
    let (_, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    rule(&t, "deploy_tokens = ['read_registry', 'write_registry']").await;
    for ask in [here(&t).bearer(&deploy), here(&t).with("authorization", &basic("gitlab+deploy-token-1", &deploy))] {
        let reply = ask.await;
        let told = ["credential", "place"].map(|name| reply.passes("all").told(name));
        assert_eq!(told, ["deploy_token", "authorization"]);
    }
    // The password overrides the header.
    here(&t).with("authorization", &basic("x", "y")).with("deploy-token", &deploy).await.is_kept_out(401);
}

async fn auth_109_an_unknown_deploy_token_is_ignored(t: TestServer) {
    rule(&t, "deploy_tokens = 'read_registry'").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    here(&t).with("deploy-token", "invalid_token").await.is_kept_out(401);
    let reply = here(&t).with("deploy-token", "invalid_token").token(&token).await;
    assert_eq!(reply.passes("all").told("user"), "ada");
}

async fn auth_110_a_deploy_token_on_the_api(t: TestServer) {
    let (_, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    for ask in [
        t.get("/api/v4/user").with("deploy-token", &deploy),
        t.get("/api/v4/user").token(&deploy),
        t.get("/api/v4/user").bearer(&deploy),
        t.get("/api/v4/user").with("authorization", &basic("x", &deploy)),
        t.get(&format!("/api/v4/user?private_token={deploy}")),
    ] {
        ask.await.is(401, r#"{"message":"401 Unauthorized"}"#);
    }
}

async fn auth_138_self_with_a_deploy_token(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    let secret = job(&t, &ada, project).await;
    let path = "/api/v4/personal_access_tokens/self";
    for (header, value) in [("deploy-token", &deploy), ("private-token", &deploy), ("job-token", &secret)] {
        t.get(path).with(header, value).await.is(401, r#"{"message":"401 Unauthorized"}"#);
    }
}

async fn auth_196_a_password_of_a_job_that_is_over(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let password = basic("gitlab-ci-token", &job(&t, &ada, project).await);
    let session = ada.session().await;
    rule(&t, "job_tokens = true").await;
    here(&t).with("authorization", &password).await.passes("all");
    t.clock.advance(Duration::from_secs(3600));
    here(&t).with("authorization", &password).await.is_kept_out(401);
    // It was meant as a job token, so nothing else is tried.
    let home = asked(&t, "GET", "http://127.0.0.1:8080/x").session(&session);
    home.with("authorization", &password).await.is_kept_out(401);
}

async fn gate_053_two_of_one_kind_are_refused_where_they_count(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let deploy = t.deploy_token(MembershipSource::Project(project)).await;
    let secret = job(&t, &ada, project).await;
    let ask = |query: &str| asked(&t, "GET", &format!("{THERE}/x?{query}"));
    rule(&t, "deploy_tokens = 'read_registry'\njob_tokens = true\nquery_credentials = true").await;
    for (name, value) in [("deploy-token", &deploy), ("job-token", &secret)] {
        here(&t).with(name, value).await.passes("all");
        for other in [value.as_str(), "x", ""] {
            here(&t).with(name, value).with(name, other).await.is_kept_out(403);
        }
    }
    for name in ["job_token", "token"] {
        ask(&format!("{name}={secret}")).await.passes("all");
        ask(&format!("{name}={secret}&{name}=x")).await.is_kept_out(403);
    }
    // Where they do not count they are the API's own affair.
    let token = ada.token([Scope::Api]).await;
    rule(&t, "query_credentials = true").await;
    ask("token=a&token=b").token(&token).with("job-token", "a").with("job-token", "b").await.passes("all");
}

async fn gate_054_a_deploy_token_opens_what_is_its_own(t: TestServer) {
    let harbour = t.group("harbour", Visibility::Private).await;
    let inner = t.subgroup("tugs", Some(harbour), Visibility::Private).await;
    let other = t.group("harbours", Visibility::Private).await;
    let project = t.project(inner, "pilots", Visibility::Private).await;
    let neighbour = t.project(harbour, "cranes", Visibility::Private).await;
    let of_project = MembershipSource::Project(project);
    let scopes = "deploy_tokens = 'read_registry'";
    let tokens = [
        t.deploy_token(of_project).await,
        t.deploy_token(MembershipSource::Group(inner)).await,
        t.deploy_token(MembershipSource::Group(harbour)).await,
        t.deploy_token(MembershipSource::Project(neighbour)).await,
        t.deploy_token(MembershipSource::Group(other)).await,
    ];
    for (lines, open) in [
        ("project = 'harbour/tugs/pilots'\nlevel = 'owner'", [true, true, true, false, false]),
        ("group = 'harbour/tugs'", [false, true, true, false, false]),
        ("group = 'harbour'", [false, false, true, false, false]),
        ("", [true; 5]),
    ] {
        rule(&t, &format!("{scopes}\n{lines}")).await;
        for (token, open) in tokens.iter().zip(open) {
            let reply = here(&t).with("deploy-token", token).await;
            match open {
                true => drop(reply.passes("all")),
                false => assert_eq!(reply.is_kept_out(403).reason(), "forbidden"),
            }
        }
    }
    // A revoked one opens nothing from the acknowledgement on.
    here(&t).with("deploy-token", &tokens[0]).await.passes("all");
    // It was the first that was made.
    let id = DeployTokenId(1);
    let revoke = RevokeDeployToken { id };
    assert_eq!([t.does(revoke).await, t.does(revoke).await], [true, false]);
    here(&t).with("deploy-token", &tokens[0]).await.is_kept_out(401);
}

async fn gate_054_a_job_is_for_its_own_project_and_for_those_that_admit_it(t: TestServer) {
    let harbour = t.group("harbour", Visibility::Private).await;
    let project = t.project(harbour, "pilots", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(project), &ada, AccessLevel::Developer).await;
    let other = t.group("tower", Visibility::Private).await;
    let target = t.project(other, "radar", Visibility::Private).await;
    let of_target = MembershipSource::Project(target);
    t.member(of_target, &ada, AccessLevel::Developer).await;
    let secret = job(&t, &ada, project).await;
    let ask = || here(&t).with("job-token", &secret);
    rule(&t, "job_tokens = true\nproject = 'harbour/pilots'").await;
    ask().await.passes("all");
    rule(&t, "job_tokens = true\nproject = 'tower/radar'").await;
    assert_eq!(ask().await.is_kept_out(403).reason(), "forbidden");
    // The person themselves may, and so may their job once the project admits it.
    here(&t).token(&ada.token([Scope::Api]).await).await.passes("all");
    for from in [MembershipSource::Project(project), MembershipSource::Group(harbour)] {
        let allow = |admitted| ChangeAllowlist { project: target, from, admitted };
        assert_eq!([t.does(allow(true)).await, t.does(allow(true)).await], [true, false]);
        ask().await.passes("all");
        assert_eq!([t.does(allow(false)).await, t.does(allow(false)).await], [true, false]);
        ask().await.is_kept_out(403);
    }
    t.does(LimitJobs { project: target, limited: false }).await;
    ask().await.passes("all");
    // A job has the rights of its user, and not more.
    t.does(Remove { of: of_target, user: ada.id }).await;
    ask().await.is_kept_out(403);
}

async fn gate_054_only_a_rule_that_reads_passwords_asks_for_one(t: TestServer) {
    for (lines, basic) in [
        ("", false),
        ("query_credentials = true", false),
        ("deploy_tokens = 'read_registry'", true),
        ("job_tokens = true", true),
        ("token_as_password = true", true),
    ] {
        rule(&t, lines).await;
        for ask in [here(&t), here(&t).token("unknown")] {
            let reply = ask.await;
            let challenge = reply.is_kept_out(401).header("www-authenticate").expect("a challenge");
            assert_eq!(challenge.starts_with("Basic "), basic, "{lines}");
            assert_eq!(challenge.starts_with("Bearer "), !basic, "{lines}");
        }
    }
    let small = t.user("ada").await.token([Scope::ReadUser]).await;
    let reply = here(&t).token(&small).await;
    assert!(reply.is_kept_out(403).header("www-authenticate").is_some_and(|text| text.starts_with("Bearer ")));
}

async fn gate_054_job_tokens_count_in_the_query_where_a_rule_says_so(t: TestServer) {
    let (ada, project) = developer(&t).await;
    let secret = job(&t, &ada, project).await;
    let ask = |name: &str| asked(&t, "GET", &format!("{THERE}/x?{name}={secret}"));
    for (lines, passes) in [
        ("job_tokens = true", false),
        ("query_credentials = true", false),
        ("job_tokens = true\nquery_credentials = true", true),
    ] {
        rule(&t, lines).await;
        for name in ["job_token", "token"] {
            let reply = ask(name).await;
            match passes {
                true => assert_eq!(reply.passes("all").told("place"), "query"),
                false => drop(reply.is_kept_out(401)),
            }
        }
    }
}

async fn what_a_rule_may_say_of_deploy_tokens(t: TestServer) {
    for (lines, fault) in [
        ("deploy_tokens = 'api'", "there is no such scope of deploy tokens"),
        ("deploy_tokens = []", "`deploy_tokens` is empty"),
        ("deploy_tokens = true", "`deploy_tokens` must be text"),
        ("job_tokens = 'yes'", "`job_tokens` must be true or false"),
        ("token_as_password = 1", "`token_as_password` must be true or false"),
        ("allow = 'anyone'\ndeploy_tokens = 'read_registry'", "contradicts `allow = \"anyone\"`"),
        ("allow = 'administrator'\ndeploy_tokens = 'read_registry'", "contradicts `allow = \"administrator\"`"),
    ] {
        let text = format!("[[rule]]\nname = 'x'\nhost = 'a'\npath = '/'\n{lines}\n");
        let refused = t.app.gateway.replace(&text, "rules.toml", &t.app.db).await.expect_err(lines).to_string();
        assert!(refused.contains(fault), "{refused}");
    }
}

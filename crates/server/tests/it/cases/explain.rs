//! `tollhouse explain`: it says what the server would say, changes nothing, and tells no secret.
//!
//! The file is long because every test goes through `told_and_done`, which holds an explanation against the answer.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use axum::http::Method;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tollhouse::explain::{Explanation, Verdict, explain};
use tollhouse::operations::users::SetState;
use tollhouse::operations::{Failed, Operation, tokens};
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_store::db::Db;
use tollhouse_store::faults::every_row;
use tollhouse_store::tx::{Change, Tx};

use crate::process::tollhouse;
use crate::test_server::{Ask, Person, TestServer};

cases![
    explain_says_what_the_server_says,
    explain_says_what_the_server_says_of_spellings,
    explain_knows_under_which_names_there_are_pages with "external_url = 'https://git.example.test:443'\nexternal_hosts = ['Also.test']",
    explain_names_what_would_make_it_pass,
    explain_names_the_state_of_an_account,
    explain_names_what_became_of_a_token,
    explain_looks_at_the_head_before_the_body,
    explain_reads_sudo,
    explain_knows_where_tokens_do_not_count,
    explain_reads_what_people_paste,
    explain_refuses_what_it_cannot_read,
    explain_without_a_usable_database,
    t34_explain_changes_nothing,
    t34_explain_ends_no_family with "compat.rotation = 'gitlab'",
    t30_explain_tells_no_secret,
];

const SELF: &str = "/api/v4/personal_access_tokens/self";
const ROTATE: &str = "/api/v4/personal_access_tokens/self/rotate";

/// First told, then done: the refusals must be the same to the byte.
async fn told_and_done(t: &TestServer, ask: Ask) -> Explanation {
    let told = explain(&t.app, ask.request()).await.expect("a database");
    let done = ask.await;
    match told.verdict {
        Verdict::Refused => {
            let answer = told.answer.as_ref().expect("an answer");
            match answer.body.as_deref() {
                Some(body) => done.is(answer.status, body),
                // It shows no page.
                None => done.has(answer.status),
            };
            assert!(answer.body.is_some() || told.surface == "page", "{told}");
            assert_eq!(answer.www_authenticate.as_deref(), done.header("www-authenticate"));
            assert!(!told.why.is_empty() && told.reason.is_some(), "{told}");
        }
        Verdict::Passes => {
            let refused = matches!(done.status.as_u16(), 401 | 403 | 405) || done.body.contains("requires token type");
            assert!(!refused, "{told}\n{}", done.body);
            assert!(told.answer.is_none() && told.remedies.is_empty(), "{told}");
        }
        Verdict::NotJudged => panic!("{told}"),
    }
    told
}

async fn explain_says_what_the_server_says(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api read_user").await);
    let expired = ada.expired_token([Scope::Api]).await;
    let revoked = ada.revoked_token([Scope::Api]).await;
    let (mut passed, mut refused) = (0, 0);
    for route in table().into_iter().filter(|route| route.access().is_some()) {
        let path = route.example(|kind| match kind {
            ParamType::Integer => ada.id.to_string(),
            _ => "team%2Fapp".into(),
        });
        let ask = || t.ask(route.method.clone(), &path);
        let query = |key: &str, token: &str| {
            t.ask(route.method.clone(), &format!("{path}?{key}={}", token.replace(' ', "%20")))
        };
        let mut asks =
            vec![ask(), ask().with("authorization", "Basic eDp5"), ask().with("cookie", "_gitlab_session=x")];
        for dead in ["glpat-unknown", "", " ", "glcbt-1_x", &expired, &revoked] {
            asks.extend([ask().token(dead), ask().bearer(dead), query("private_token[]", dead)]);
            asks.extend(["private_token", "access_token", "bearer_token"].map(|key| query(key, dead)));
            asks.push(ask().token(dead).session(&ada.session().await));
        }
        for scope in [Scope::Api, Scope::ReadApi, Scope::ReadUser, Scope::SelfRotate, Scope::Sudo] {
            for place in 0..4 {
                // A token each: some of these routes use it up.
                let token = ada.token_with_any([scope]).await;
                asks.push(match place {
                    0 => ask().token(&token),
                    1 => ask().bearer(&token),
                    2 => query("private_token", &token),
                    _ => ask().bearer("unknown").token(&token),
                });
            }
        }
        let access = client.tokens(&ada, "read_user").await.access;
        asks.extend([ask().bearer(&access), ask().token(&access), query("access_token", &access)]);
        let session = ada.session().await;
        let of_another = ada.session().await.csrf();
        asks.extend([ask().session(&session), ask().session(&session).with("x-csrf-token", &of_another)]);
        asks.push(ask().session(&session).session(&ada.session().await));
        asks.push(ask().session(&session).with("x-csrf-token", &session.csrf()));
        for ask in asks {
            match told_and_done(&t, ask).await.verdict {
                Verdict::Passes => passed += 1,
                _ => refused += 1,
            }
        }
    }
    assert!(passed > 100 && refused > 300, "{passed} {refused}");
}

async fn explain_says_what_the_server_says_of_spellings(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let long = format!("/api/v4/user?x={}", "y".repeat(40_000));
    for (path, reason) in [
        ("/api/v4/user.json", None),
        ("/api/v4/user/", None),
        ("/api/v3/user", None),
        ("/api/v3/users", Some("api_v3")),
        ("/api/v4x", Some("no_api_version")),
        ("/api/v4/nope", Some("no_route")),
        ("/api/v4/users/x", Some("no_route")),
        ("/api/v4/user?a=%00", Some("malformed")),
        ("/api/v4/user?a=%ff", Some("malformed")),
        ("/api/v4/user?access_token=x", Some("two_bearers")),
        ("/api/v4/user?format=xml", Some("format")),
        ("/api/v4/projects?visibility=x", Some("parameters")),
        (&long, Some("target_too_long")),
        ("/oauth/nope", Some("no_route")),
        ("/.well-known/nope", Some("no_route")),
    ] {
        let told = told_and_done(&t, t.get(path).bearer(&token)).await;
        assert_eq!(told.reason, reason, "{path}: {told}");
        assert!(!told.to_string().contains(&token) && told.path.len() < 300);
    }
    let post = || t.post("/api/v4/projects").token(&token);
    for (ask, reason) in [
        (post().json(r#"{"name":"#), "broken_json"),
        (post().json(r#"{"name":"a\u0000"}"#), "malformed"),
        (post().body("image/png", "x"), "media_type"),
        (post().form(&"a=1&".repeat(5000)), "too_many_parameters"),
        (post().form("name=x&visibility=y"), "parameters"),
        (t.post("/api/v4/projects").bearer(&token).form("access_token=x"), "two_bearers"),
        (post().form(&"x".repeat(2 << 20)), "body_too_large"),
        (t.ask(Method::PUT, "/api/v4/user").token(&token), "no_route"),
        (t.get("/api/v4/user").token(&token).with("x", &"y".repeat(70_000)), "head_too_large"),
        (t.get("/api/v4/user").token(&token).host("a b"), "bad_host"),
        (t.get("/api/v4/user").token(&token).with("host", "127.0.0.1:8080"), "bad_host"),
        (t.get("/-/auth").without_host(), "bad_host"),
        (t.get("http://u@127.0.0.1/").token(&token), "bad_host"),
        (t.ask(Method::CONNECT, "a.test:443"), "not_implemented"),
        (t.get("*"), "malformed"),
        (t.get("//api/v4/user").token(&token), "no_route"),
        (t.get("/.well-known/nope/"), "no_route"),
        (t.get("/oauth/authorize/nope"), "no_route"),
        (t.ask(Method::DELETE, "/-/health"), "no_route"),
    ] {
        assert_eq!(told_and_done(&t, ask).await.reason, Some(reason));
    }
    let wrong = told_and_done(&t, t.ask(Method::PUT, SELF).token(&token)).await;
    assert!(wrong.remedies[0].contains("GET") && wrong.remedies[0].contains("DELETE"), "{wrong}");
    // Parameters first, where the specification says so.
    let told = told_and_done(&t, t.get("/api/v4/projects?visibility=x").token("unknown")).await;
    assert!(told.reason == Some("parameters") && told.credentials[0].outcome == "not checked", "{told}");
    let token_in_body =
        told_and_done(&t, t.post("/api/v4/projects").form(&format!("name=a&private_token={token}"))).await;
    assert_eq!(token_in_body.decided_by, Some("private_token parameter"));
}

async fn explain_knows_under_which_names_there_are_pages(t: TestServer) {
    for (host, ours) in [
        ("git.example.test", true),
        ("GIT.example.test:443", true),
        ("also.test", true),
        ("git.example.test:80", false),
        ("127.0.0.1:8080", false),
        ("localhost", false),
        ("evil.test", false),
    ] {
        for path in [
            "/",
            "/users/sign_in",
            "/nope",
            "/-/nope",
            "/oauth/authorize/",
            "/.well-known/openid-configuration/",
            "/.well-known/oauth-authorization-server",
        ] {
            for ask in [t.get(path).host(host), t.get(&format!("http://{host}{path}")).host("x")] {
                let explained = told(&t, &ask).await;
                let done = ask.await;
                assert_eq!(done.status == 421, !ours, "{host} {path}");
                assert_eq!(explained.reason, (!ours).then_some("wrong_host"), "{host} {path}: {explained}");
                let answer = explained.answer.map(|answer| (answer.status, answer.body));
                let page = done.header("content-type").is_some_and(|media| media.starts_with("text/html"));
                assert_eq!(answer, (!ours).then(|| (421, (!page).then(|| done.body.clone()))), "{host} {path}");
            }
        }
        // Everything else answers under any name.
        let token = t.user(&format!("u{}", t.count("user.created").await)).await.token([Scope::Api]).await;
        let ask = t.get("/api/v4/user").host(host).token(&token);
        assert_eq!(told_and_done(&t, ask).await.verdict, Verdict::Passes);
        for path in ["/-/health", "/assets/style.css", "/oauth/token/info", "/-/auth"] {
            assert_eq!(told(&t, &t.get(path).host(host)).await.verdict, Verdict::NotJudged, "{path}");
        }
    }
}

async fn told(t: &TestServer, ask: &Ask) -> Explanation {
    explain(&t.app, ask.request()).await.expect("a database")
}

async fn explain_names_what_would_make_it_pass(t: TestServer) {
    let ada = t.user("ada").await;
    let (read, full) = (ada.token([Scope::ReadUser]).await, ada.token([Scope::Api]).await);
    let too_small = told(&t, &t.get("/api/v4/projects").token(&read)).await;
    assert_eq!(too_small.reason, Some("insufficient_scope"));
    assert_eq!(too_small.remedies, ["a token with one of the scopes api, read_api, ai_workflows"]);
    let to_write = told(&t, &t.post("/api/v4/projects").token(&read)).await;
    assert_eq!(to_write.remedies, ["a token with the scope api"], "not read_api, though the answer lists it");
    let who = to_write.identity.as_ref().expect("somebody");
    assert_eq!((who.username.as_str(), who.scopes.as_ref()), ("ada", Some(&Scopes::from([Scope::ReadUser]))));
    t.post("/api/v4/projects").form("name=x").token(&full).await.has(201);

    let not_root = told(&t, &t.get("/api/v4/applications").token(&full)).await;
    assert_eq!((not_root.reason, not_root.remedies.len()), (Some("not_administrator"), 1));
    // What anonymous callers may not ask is not offered to them, and what is about a token requires one.
    let nobody = told_and_done(&t, t.get("/api/v4/users")).await;
    assert!(nobody.reason == Some("forbidden") && nobody.why.contains("anonymous callers may not"), "{nobody}");
    let wrong = told_and_done(&t, t.get("/api/v4/users").token("nope")).await;
    assert!(wrong.remedies.iter().all(|remedy| !remedy.contains("present no credential")), "{wrong}");
    let wrong = told_and_done(&t, t.get("/api/v4/users?username=ada").token("nope")).await;
    assert!(wrong.remedies.iter().any(|remedy| remedy.contains("present no credential")), "{wrong}");
    let session = ada.session().await;
    let itself = told_and_done(&t, t.get(SELF).session(&session)).await;
    assert_eq!(itself.remedies, ["a personal access token"]);
    let root = t.admin().await.token([Scope::Api, Scope::Sudo]).await;
    let acting = told_and_done(&t, t.get("/api/v4/applications").token(&root).with("sudo", "ada")).await;
    assert_eq!(acting.remedies[0], "leave sudo out");
    let no_csrf = told(&t, &t.post("/api/v4/projects").form("name=y").session(&session)).await;
    assert_eq!((no_csrf.reason, no_csrf.decided_by), (Some("missing"), None));
    assert!(no_csrf.remedies[0].contains("send X-CSRF-Token"), "{no_csrf}");
    let foreign = t.post("/api/v4/projects").form("name=y").session(&session);
    let foreign = told(&t, &foreign.with("x-csrf-token", &ada.session().await.csrf())).await;
    assert!(foreign.why.contains("this one belongs to another session"), "{foreign}");
    t.post("/api/v4/projects").form("name=y").session(&session).with("x-csrf-token", &session.csrf()).await.has(201);
    let two = told(&t, &t.get("/api/v4/user").session(&session).session(&ada.session().await)).await;
    assert!(two.why.contains("two live sessions were sent"), "{two}");
    let gone =
        told(&t, &t.get("/api/v4/user").with("cookie", "_gitlab_session=0123456789abcdef0123456789abcdef")).await;
    assert!(gone.remedies[0].contains("sign in again"), "{gone}");
    let quietly = told(&t, &t.get("/api/v4/groups").with("cookie", "_gitlab_session=x")).await;
    assert!(quietly.verdict == Verdict::Passes && quietly.notes[0].contains("the caller is anonymous"), "{quietly}");

    let access = t.client("api").await.tokens(&ada, "api").await.access;
    let misplaced = told(&t, &t.get("/api/v4/user").token(&access)).await;
    assert_eq!((misplaced.reason, misplaced.decided_by), (Some("unknown"), Some("PRIVATE-TOKEN")));
    assert_eq!(misplaced.remedies, ["send it as `Authorization: Bearer ...`"]);
    t.get("/api/v4/user").bearer(&access).await.is_user(&ada);
    for (value, hint) in [
        (format!("'{full}'"), "there are quotes around it"),
        ("$TOKEN".to_owned(), "the name of a variable"),
        (format!("{full},{full}"), "a comma"),
        ("glpat nobody".to_owned(), "white space in it"),
    ] {
        let told = told(&t, &t.get("/api/v4/user").token(&value)).await;
        assert!(told.why.contains(hint), "{told}");
    }
    let padded = told(&t, &t.get(&format!("/api/v4/user?private_token={full}+"))).await;
    assert!(padded.why.contains("white space, which is part of the value"), "{padded}");
    let basic = told(&t, &t.get("/api/v4/user").with("authorization", "Basic eDp5")).await;
    assert!(basic.why.contains("only the scheme Bearer"), "{basic}");
}

async fn explain_names_the_state_of_an_account(t: TestServer) {
    for (name, change, reason, remedy) in [
        ("bo", SetState::block as fn(_) -> _, "account_blocked", "tollhouse user unblock bo"),
        ("di", SetState::deactivate, "account_deactivated", "sign in with a browser"),
        ("ba", SetState::ban, "account_blocked", "there is no command that undoes this"),
    ] {
        let person = t.user(name).await;
        let token = person.token([Scope::Api]).await;
        person.set_state(change(person.id)).await;
        let told = told_and_done(&t, t.get("/api/v4/user").token(&token)).await;
        assert_eq!(told.reason, Some(reason));
        assert!(told.remedies[0].contains(remedy), "{told}");
        assert!(told.identity.as_ref().is_some_and(|who| who.state != "active"), "{told}");
    }
}

async fn explain_names_what_became_of_a_token(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api, Scope::SelfRotate]).await;
    let rotated = t.post(ROTATE).token(&token).await.has(200).json();
    let next = rotated["token"].as_str().expect("a token").to_owned();
    let old = told(&t, &t.get(SELF).token(&token)).await;
    assert!(old.reason == Some("revoked") && old.why.contains("was rotated"), "{old}");
    let again = told(&t, &t.post(ROTATE).token(&token)).await;
    assert!(again.verdict == Verdict::Passes && again.notes[0].contains("return its successor again"), "{again}");
    let first = told(&t, &t.get(SELF).token(&next)).await;
    assert!(first.notes[0].contains("never used"), "{first}");
    t.post(ROTATE).token(&token).await.has(200);
    t.get(SELF).token(&next).await.has(200);
    assert!(told(&t, &t.get(SELF).token(&next)).await.notes.is_empty());
    let revoked = ada.revoked_token([Scope::Api]).await;
    let revoked = told(&t, &t.get(SELF).token(&revoked)).await;
    assert!(revoked.why.contains("was revoked"), "{revoked}");

    let client = t.client("api").await;
    let access = client.tokens(&ada, "api").await.access;
    t.later(7201);
    let expired = told(&t, &t.get("/api/v4/user").bearer(&access)).await;
    assert!(expired.reason == Some("expired") && expired.remedies[1].contains("refresh_token"), "{expired}");
    let own = crate::oauth::tokens(&client.token("client_credentials", &[("scope", "api")]).await).access;
    let own = told(&t, &t.get("/api/v4/user").bearer(&own)).await;
    assert!(own.reason == Some("missing") && own.identity.is_none() && own.why.contains("an application"), "{own}");
}

async fn explain_looks_at_the_head_before_the_body(t: TestServer) {
    let ada = t.user("ada").await;
    let (token, expired) = (ada.token([Scope::Api]).await, ada.expired_token([Scope::Api]).await);
    let large = format!("name={}", "x".repeat(70_000));
    let post = || t.post("/api/v4/projects");
    let good = serde_json::json!({ "name": "x", "private_token": token });
    for (ask, reason, early) in [
        (post().token("nobodys").json("{"), Some("unknown"), true),
        (post().token("nobodys").json(&good), Some("unknown"), true),
        (post().bearer("nobodys").form(&large), Some("unknown"), true),
        (post().token(&expired).form(&large), Some("expired"), true),
        (post().token(&expired).json("{"), Some("broken_json"), false),
        (post().form(&large), Some("body_too_large"), false),
        (post().token(&token).form(&large), None, false),
        (post().json(&good), None, false),
        (t.post("/api/v4/nope").token("nobodys").form(&large), Some("no_route"), false),
    ] {
        let told = told_and_done(&t, ask).await;
        assert_eq!(told.reason, reason, "{told}");
        assert_eq!(told.notes.iter().any(|note| note.contains("the body was not read")), early, "{told}");
        if early {
            assert!(told.credentials.iter().any(|seen| seen.decided), "{told}");
        }
    }
}

async fn explain_reads_sudo(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    let (full, read) = (warden.token([Scope::Api, Scope::Sudo]).await, warden.token([Scope::Api]).await);
    let hers = ada.token([Scope::Api]).await;
    let acting = told_and_done(&t, t.get("/api/v4/user").token(&full).with("sudo", "ada")).await;
    let who = acting.identity.as_ref().expect("somebody");
    assert_eq!((who.username.as_str(), who.sudo.as_ref().map(|s| s.username.as_str())), ("warden", Some("ada")));
    let session = warden.session().await;
    for (ask, reason) in [
        (t.get("/api/v4/user").token(&hers).with("sudo", "warden"), "sudo_not_administrator"),
        (t.get("/api/v4/user").token(&read).with("sudo", "ada"), "insufficient_scope"),
        (t.get("/api/v4/user").session(&session).with("sudo", "ada"), "sudo_without_token"),
        (t.get("/api/v4/user?sudo=no%E2%80%AEone").token(&full), "sudo_unknown"),
        (t.get("/api/v4/groups").with("sudo", "ada"), "missing"),
        (t.get("/api/v4/user?sudo[]=ada").token(&full), "sudo_invalid"),
        (t.get("/api/v4/user").token(&full).with("sudo", "ada").with("sudo", "warden"), "sudo_invalid"),
        (t.post("/api/v4/projects").token(&full).json(r#"{"name":"x","sudo":["ada"]}"#), "sudo_invalid"),
        (t.get("/api/v4/projects?visibility[]=private").token(&full), "parameters"),
        (t.get("/api/v4/groups?owned=true&owned=false"), "parameters"),
    ] {
        let told = told_and_done(&t, ask).await;
        assert_eq!(told.reason, Some(reason), "{told}");
        assert!(!told.remedies.is_empty() && !told.to_string().contains('\u{202e}'), "{told}");
    }
}

async fn explain_knows_where_tokens_do_not_count(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for route in table().into_iter().filter(|route| route.access().is_none()) {
        let told =
            told(&t, &t.ask(route.method.clone(), &route.path.replace("{name}", "style.css")).token(&token)).await;
        assert_eq!(told.verdict, Verdict::NotJudged, "{told}");
        assert_eq!(told.route.as_deref(), Some(format!("{} {}", route.method, route.path).as_str()));
        assert!(!told.takes.is_empty() && !told.why.is_empty() && told.answer.is_none(), "{told}");
        assert!(!told.credentials[0].decided, "{told}");
    }
    let silent = told(&t, &t.get("/oauth/authorize?prompt=none&scope=openid").token(&token)).await;
    assert!(silent.takes.contains("prompt=none"), "the one page that answers without a session: {silent}");
    let nowhere = told(&t, &t.get("/nope").token(&token)).await;
    assert!(nowhere.verdict == Verdict::NotJudged && nowhere.why.contains("no such page"), "{nowhere}");
    let preflight = t.ask(Method::OPTIONS, "/api/v4/user").with("origin", "https://a.test");
    let preflight = told(&t, &preflight.with("access-control-request-method", "GET").token(&token)).await;
    assert!(preflight.why.contains("a CORS preflight"), "{preflight}");
}

/// The program itself, given this on stdin.
async fn run(folder: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    let mut command = tollhouse(folder);
    command.arg("explain").args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("it starts");
    let mut into = child.stdin.take().expect("its stdin");
    // It may have ended, or heard enough.
    let _ = into.write_all(stdin).await;
    drop(into);
    let ended = tokio::time::timeout(Duration::from_secs(20), child.wait_with_output()).await;
    ended.expect("it ends").expect("it runs")
}

async fn said(t: &TestServer, arguments: &[&str], stdin: &str) -> String {
    let arguments = [&["--database", &t.database_url], arguments].concat();
    let output = run(t.folder.path(), &arguments, stdin.as_bytes()).await;
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""), "{text}");
    text
}

/// The program's clock is the real one.
struct Today<O>(O);

impl<O: Operation> Operation for Today<O> {
    type Output = O::Output;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<O::Output>, Failed> {
        self.0.run(tx, Clock::system().now()).await
    }
}

async fn token_today<const N: usize>(t: &TestServer, person: &Person, scopes: [Scope; N]) -> String {
    let create: tokens::CreateToken = person.create_token(Scopes::from(scopes), None);
    t.does(Today(create)).await.secret.reveal().to_owned()
}

async fn explain_reads_what_people_paste(t: TestServer) {
    let ada = t.user("ada").await;
    let token = token_today(&t, &ada, [Scope::ReadUser]).await;
    let url = "http://127.0.0.1:8080/api/v4";
    for paste in [
        format!("curl -s -H 'PRIVATE-TOKEN: {token}' {url}/user\n"),
        format!("\n  $ curl \\\n  --header \"Authorization: Bearer {token}\" \\\r\n  '{url}/user' | jq .name\n"),
        format!("curl '{url}/user?private_token={token}'"),
        format!("curl -G {url}/user -d access_token={token}"),
        format!("GET /api/v4/user HTTP/1.1\r\nHost: x\r\nPRIVATE-TOKEN: {token}\r\n\r\n"),
        format!("GET /api/v4/user\nprivate-token: {token}"),
        format!("* Trying\n> GET /api/v4/user HTTP/1.1\n> Host: x\n> PRIVATE-TOKEN: {token}\n> \n< HTTP/1.1 200 OK\n"),
    ] {
        let text = said(&t, &[], &paste).await;
        assert!(text.contains("Passes") && text.contains("ada") && !text.contains(&token), "{paste}: {text}");
    }
    let refused = format!("curl -H 'PRIVATE-TOKEN: {token}' -d name=x {url}/projects");
    let text = said(&t, &[], &refused).await;
    assert!(text.contains("Refused     insufficient_scope") && text.contains("To pass     a token with the scope api"));
    let parts = format!("curl -F private_token={token} -F 'name=x' {url}/projects");
    let text = said(&t, &[], &parts).await;
    assert!(text.contains("Refused     insufficient_scope") && !text.contains(&token), "{text}");
    let json: Value = serde_json::from_str(&said(&t, &["--json"], &refused).await).expect("JSON");
    assert_eq!((&json["verdict"], &json["reason"]), (&"refused".into(), &"insufficient_scope".into()));
    assert_eq!((&json["identity"]["username"], &json["answer"]["status"]), (&"ada".into(), &403.into()));
    assert_eq!((&json["credentials"][0]["prefix"], &json["credentials"][0]["length"]), (&"glpat-".into(), &51.into()));

    // Given as arguments it works too, but others could have read it.
    let header = format!("PRIVATE-TOKEN: {token}");
    let user = format!("{url}/user");
    let database = ["--database", &t.database_url];
    let whole = format!("curl -H '{header}' {user}");
    for words in [&["--", "curl", "-H", &header, &user][..], &["--", &whole]] {
        let output = run(t.folder.path(), &[&database, words].concat(), b"").await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && out.contains("Passes") && err.contains("warning: others can read"), "{err}");
        assert!(!out.contains(&token) && !err.contains(&token));
    }
    t.does(super::threats::Mark).await;
    said(&t, &["--", "curl", "-H", &header, &user], "").await;
}

async fn explain_refuses_what_it_cannot_read(t: TestServer) {
    let large = format!("GET /?{} HTTP/1.1\r\n\r\n", "x".repeat(64 * 1024));
    let deep = format!("curl {} h.test", "-H a:b ".repeat(9000));
    for (paste, words) in [
        (&b""[..], "there is no request"),
        (b"\n \t\n", "there is no request"),
        (b"hunter2", "the first line is neither"),
        (b"\0\0", "the first line is neither"),
        (b"\xff\xfe hunter2", "the first line has no valid method"),
        (b"curl -H 'a: \xff' hunter2", "not UTF-8"),
        (b"curl -H 'a: b\0hunter2' h.test", "not allowed in a header"),
        (b"curl", "there is no URL"),
        (b"curl --frobnicate hunter2", "--frobnicate is not supported"),
        (b"curl -F a=@hunter2 h.test", "names a file"),
        (b"wget http://h.test/hunter2", "does not begin with curl"),
        (b"wget -O- 'http://h.test/?private_token=hunter2'", "does not begin with curl"),
        (b"curl -H 'PRIVATE-TOKEN: hunter2 h.test", "not closed"),
        (b"curl -H \"PRIVATE-TOKEN: $TOKEN\" hunter2", "variables of your shell are not known here"),
        (b"curl h.test/a?private_token=hunter2&b=c", "put the URL in quotes"),
        (b"curl a.test; curl hunter2", "more than one command"),
        (b"GET / HTTP/1.1\r\n hunter2: b\r\n\r\n", "line 2 continues"),
        (b"GET / HTTP/1.1\r\nhunter2\r\n\r\n", "line 2 is not a header"),
        (large.as_bytes(), "larger than 64 KiB"),
        (&[b' '; 70_000], "larger than 64 KiB"),
        (&[0xff; 1 << 20], "larger than 64 KiB"),
    ] {
        let output = run(t.folder.path(), &["--database", &t.database_url], paste).await;
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), text.lines().count()), (Some(2), 1), "{text}");
        assert!(output.stdout.is_empty() && text.contains(words) && !text.contains("hunter2"), "{text}");
    }
    assert!(said(&t, &[], &deep).await.contains("too many headers"));
    let text = said(&t, &[], "GET /api/v4/\u{202e}resu HTTP/1.1\nHost: x\n\n").await;
    assert!(!text.contains('\u{202e}'), "{text}");
    let wrong = run(t.folder.path(), &["--database", &t.database_url, "curl", "h.test"], b"").await;
    assert_eq!(wrong.status.code(), Some(2), "words without -- are no arguments of ours");
}

async fn explain_without_a_usable_database(t: TestServer) {
    let folder = t.folder.path();
    let paste = b"GET /api/v4/user HTTP/1.1\nHost: x\n\n";
    let failed = async |database: &str, code: i32, words: &str| {
        let output = run(folder, &["--database", database], paste).await;
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{database}: {text}");
        assert!(text.contains(words) && output.stdout.is_empty(), "{text}");
    };
    let nowhere = format!("sqlite:{}", folder.join("nowhere.db").display());
    failed(&nowhere, 1, "there is no such file").await;
    assert!(!folder.join("nowhere.db").exists(), "it makes none");
    failed("mysql://x", 2, "a database is sqlite:PATH or postgres://").await;
    failed("postgres://nobody@127.0.0.1:1/x", 1, "postgres://127.0.0.1:1/x").await;
    if !t.app.db.is_postgres() {
        use std::os::unix::fs::PermissionsExt;
        let open = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(folder.join("tollhouse.db"), open).expect("another mode");
        failed(&t.database_url, 2, "chmod o-rwx").await;
    }
}

async fn rows(t: &TestServer) -> Vec<String> {
    let db = Db::join(&t.url(), 0).await.expect("a database");
    let mut rows = every_row(&mut db.read().await.expect("a reader")).await.expect("rows");
    // A server writes there how far it has read, in its own time.
    rows.retain(|row| !row.starts_with("nodes: "));
    db.close().await;
    rows
}

async fn t34_explain_changes_nothing(t: TestServer) {
    let (ada, warden) = (t.user("ada").await, t.admin().await);
    let token = token_today(&t, &ada, [Scope::Api, Scope::SelfRotate]).await;
    let root = token_today(&t, &warden, [Scope::Api, Scope::Sudo]).await;
    let next = t.post(ROTATE).token(&token).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    let session = ada.session().await;
    let client = t.client("api openid").await;
    let access = client.tokens(&ada, "api openid").await.access;
    tollhouse::job::flush(&t.app).await;
    let before = rows(&t).await;
    assert!(before.len() > 20 && before.iter().any(|row| row.starts_with("personal_access_tokens: ")));
    let (cookie, csrf) = (&session.cookie, session.csrf());
    for paste in [
        // The first use of a successor would be noted, and so would the last use of anything.
        format!("curl -H 'PRIVATE-TOKEN: {next}' h/api/v4/user"),
        format!("curl -H 'PRIVATE-TOKEN: {token}' h/api/v4/user"),
        format!("curl -X POST -H 'PRIVATE-TOKEN: {token}' h{ROTATE}"),
        format!("curl -X POST -H 'PRIVATE-TOKEN: {next}' h{ROTATE}"),
        format!("curl -X DELETE -H 'PRIVATE-TOKEN: {next}' h{SELF}"),
        format!("curl -H 'PRIVATE-TOKEN: {next}' -d name=x h/api/v4/projects"),
        format!("curl -H 'PRIVATE-TOKEN: {root}' -H 'Sudo: ada' h/api/v4/user"),
        format!(
            "curl -H 'PRIVATE-TOKEN: {root}' -d 'name=a&redirect_uri=https://a.test&scopes=api' h/api/v4/applications"
        ),
        format!("curl -H 'Authorization: Bearer {access}' h/api/v4/user"),
        format!("curl -b _gitlab_session={cookie} h/api/v4/user"),
        format!("curl -b _gitlab_session={cookie} -H 'X-CSRF-Token: {csrf}' -d name=x h/api/v4/projects"),
        format!("curl -b _gitlab_session={cookie} -H 'X-CSRF-Token: {csrf}' -X POST h/users/sign_out"),
        format!("curl -u {}:{} -d token={access} h/oauth/revoke", client.uid, client.secret),
        "curl -d 'user[login]=ada&user[password]=wrong' h/users/sign_in".to_owned(),
        "curl -d 'grant_type=password&username=ada&password=wrong' h/oauth/token".to_owned(),
        "curl -H 'PRIVATE-TOKEN: nobody' h/api/v4/user".to_owned(),
    ] {
        said(&t, &[], &paste).await;
    }
    // Inside the program nothing is noted to be written later either.
    for ask in [t.get("/api/v4/user").token(&next), t.get("/api/v4/user").session(&session)] {
        assert_eq!(told(&t, &ask).await.verdict, Verdict::Passes);
    }
    tollhouse::job::flush(&t.app).await;
    let after = rows(&t).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(before.len(), after.len());
    // And it would have been seen.
    t.get("/api/v4/user").token(&next).await.is_user(&ada);
    assert_ne!(rows(&t).await, before);
}

async fn t34_explain_ends_no_family(t: TestServer) {
    let ada = t.user("ada").await;
    let token = token_today(&t, &ada, [Scope::Api]).await;
    let next = t.post(ROTATE).token(&token).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    let before = rows(&t).await;
    let told = told(&t, &t.post(ROTATE).token(&token)).await;
    assert_eq!(told.reason, Some("reused"), "{told}");
    assert_eq!(rows(&t).await, before);
    t.get(SELF).token(&next).await.has(200);
    // The real thing ends it.
    t.post(ROTATE).token(&token).await.has(401);
    t.get(SELF).token(&next).await.has(401);
}

async fn t30_explain_tells_no_secret(t: TestServer) {
    let ada = t.user("ada").await;
    let secrets = ["glpat-hunter2hunter2", "gloas-hunter2", "glcbt-hunter2", "hunter2hunter2"];
    for secret in secrets {
        for ask in [
            t.get("/api/v4/user").token(secret),
            t.get("/api/v4/user").bearer(secret),
            t.get("/api/v4/user").with("authorization", &format!("Basic {secret}")),
            t.get("/api/v4/user").with("authorization", secret),
            t.get("/api/v4/user").with("job-token", secret).with("deploy-token", secret),
            t.get("/api/v4/user").with("cookie", &format!("_gitlab_session={secret}")),
            t.get(&format!("/api/v4/user?private_token={secret}&access_token={secret}&bearer_token={secret}")),
            t.get(&format!("/api/v4/user?private_token={secret}&format=xml")),
            t.post("/api/v4/projects").form(&format!("private_token={secret}")),
            t.post("/api/v4/projects").json(serde_json::json!({"access_token": secret})),
            t.post("/oauth/token").form(&format!("client_secret={secret}")),
            t.get(&format!("/nope?token={secret}")),
        ] {
            let told = told(&t, &ask).await;
            let (text, json) = (told.to_string(), serde_json::to_string(&told).expect("JSON"));
            assert!(!text.contains("hunter2") && !json.contains("hunter2"), "{text}");
            if let (Some(prefix), Some(seen)) = (secret.find('-'), told.credentials.first()) {
                assert!(seen.prefix.is_none_or(|known| known == &secret[..=prefix]), "{text}");
            }
        }
    }
    let session = ada.session().await;
    let told = told(&t, &t.get("/api/v4/user").session(&session)).await;
    assert!(told.credentials[0].decided && !told.to_string().contains(&session.cookie));
}

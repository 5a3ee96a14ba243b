//! `tollhouse token`.

use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::PersonalAccessTokenId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_store::personal_access_tokens;

use crate::oauth;
use crate::process::{Process, ask};
use crate::test_server::{M401, REVOKED, TestServer};

cases![
    identify_knows_what_is_no_token,
    deploy_and_job_tokens_are_made_and_identified,
    a_token_is_made_and_nothing_else_printed,
    a_token_is_identified_without_being_used,
    a_token_is_revoked_by_what_it_is,
    a_token_is_revoked_by_number,
    a_token_rotates_by_its_secret,
    rotation_rule_9_by_number_the_family_ends,
    rotations_by_number_at_once_make_one_successor,
    tokens_of_oauth_are_known_too,
    a_change_is_seen_by_every_server_before_the_command_ends,
];

const USER: &str = "/api/v4/user";

/// By command, since the program's clock is the real one.
async fn made(t: &TestServer, name: &str) -> String {
    let words = ["token", "create", "--user", "ada", "--name", name, "--scopes", "api,read_user"];
    t.shell(&words).await.done().to_owned()
}

async fn a_token_is_made_and_nothing_else_printed(t: TestServer) {
    let ada = t.user("ada").await;
    let token = made(&t, "ci").await;
    assert!(token.starts_with("glpat-") && token.bytes().all(|b| b.is_ascii_graphic()), "{token}");
    t.get(USER).token(&token).await.is_user(&ada);
    let tomorrow = tollhouse_domain::time::Clock::system().now().date().plus_days(2).to_string();
    let words =
        ["token", "create", "--user", "1", "--name", "short", "--scopes", "read_user", "--expires-at", &tomorrow];
    let made = t.shell_json(&words).await;
    let of_wire = t.get("/api/v4/personal_access_tokens/self").token(made["token"].as_str().expect("a token")).await;
    let of_wire = of_wire.has(200).json();
    for field in ["id", "name", "revoked", "created_at", "description", "scopes", "user_id", "active", "expires_at"] {
        assert_eq!(made[field], of_wire[field], "{field}");
    }
    assert_eq!((&made["expires_at"], &made["scopes"]), (&tomorrow.into(), &serde_json::json!(["read_user"])));
    let refused = async |user: &str, scopes: &str, day: &str| {
        let words = ["token", "create", "--user", user, "--name", "x", "--scopes", scopes, "--expires-at", day];
        t.shell(&words).await
    };
    assert_eq!(refused("nobody", "api", "2999-01-01").await.refused(1), "there is no user nobody");
    let administrators = "only for administrators, and ada (1) is not one";
    let applications = "only for applications, not for personal access tokens";
    for (scopes, told) in [
        ("openid", format!("openid: {applications}")),
        ("sudo", format!("sudo: {administrators}")),
        ("api,admin_mode,sudo", format!("admin_mode, sudo: {administrators}")),
        ("sudo,openid,api,email", format!("sudo: {administrators}; openid, email: {applications}")),
    ] {
        assert_eq!(refused("ada", scopes, "2999-01-01").await.refused(1), format!("scopes: {told}"), "{scopes}");
    }
    assert!(
        refused("ada", "api", "2999-01-01").await.refused(1).starts_with("--expires-at 2999-01-01 must be before ")
    );
    assert_eq!(refused("ada", "api", "2020-01-01").await.refused(1), "--expires-at 2020-01-01 must be after today");
    assert_eq!(t.count("token.created").await, 2);
}

async fn a_token_is_identified_without_being_used(t: TestServer) {
    t.user("ada").await;
    let token = made(&t, "ci").await;
    let successor = t.shell_with(&["token", "rotate"], &token).await.done().to_owned();
    let text = t.shell_with(&["token", "identify"], &format!(" {successor} \n")).await;
    let lines: Vec<&str> = text.done().lines().collect();
    assert_eq!(
        lines[..5],
        [
            "kind       personal access token",
            "id         2",
            "name       ci",
            "user       ada (1), active",
            "scopes     api read_user"
        ]
    );
    assert_eq!(lines[6], "last used  never");
    assert_eq!(lines[8], "state      live");
    let json = t.shell_with(&["token", "identify", "--json"], &successor).await.json();
    let mut reader = t.app.db.read().await.expect("a reader");
    let found = personal_access_tokens::find(&mut reader, PersonalAccessTokenId(2)).await.expect("a look-up");
    assert!(!found.expect("the token").generation.presented.head_used, "nobody has used it yet");
    drop(reader);
    assert_eq!(json, {
        let mut shown = t.get("/api/v4/personal_access_tokens/self").token(&successor).await.json();
        shown["last_used_at"] = json["last_used_at"].clone();
        // Of the request itself.
        assert!(shown.as_object_mut().and_then(|shown| shown.remove("last_used_ips")).is_some());
        shown
    });
    assert!(t.shell_with(&["token", "identify"], &token).await.done().ends_with("state      rotated"));
    t.shell(&["user", "block", "ada"]).await.done();
    assert!(t.shell_with(&["token", "identify"], &successor).await.done().contains("ada (1), blocked"));
    let unknown = t.shell_with(&["token", "identify"], "glpat-nobody-was-given-this").await;
    assert_eq!(unknown.refused(1), format!("this token is unknown in {}", t.url()));
}

async fn a_token_is_revoked_by_what_it_is(t: TestServer) {
    let ada = t.user("ada").await;
    let token = made(&t, "ci").await;
    t.get(USER).token(&token).await.is_user(&ada);
    let text = t.shell_with(&["token", "revoke"], &token).await;
    assert_eq!(text.done(), "personal access token 1 of ada (1) is revoked, with its whole family");
    t.get(USER).token(&token).await.is(401, REVOKED);
    let again = t.shell_with(&["token", "revoke"], &token).await;
    assert_eq!(again.done(), "personal access token 1 of ada (1) was revoked already");
    assert_eq!(t.shell_with(&["token", "revoke", "--json"], &token).await.json()["revoked"], true);
    assert_eq!(t.count("token.revoked").await, 1);
    // Whoever has an old secret of a family could still be told its successor; so that ends too.
    let old = made(&t, "ci").await;
    let new = t.shell_with(&["token", "rotate"], &old).await.done().to_owned();
    t.get(USER).token(&new).await.is_user(&ada);
    t.shell_with(&["token", "revoke"], &old).await.done();
    t.get(USER).token(&new).await.is(401, REVOKED);
    let unknown = t.shell_with(&["token", "revoke"], "glpat-nobody-was-given-this").await;
    assert_eq!(unknown.refused(1), format!("this token is unknown in {}", t.url()));
}

async fn a_token_is_revoked_by_number(t: TestServer) {
    let ada = t.user("ada").await;
    let token = made(&t, "ci").await;
    assert_eq!(t.shell(&["token", "revoke", "1"]).await.done(), "token 1 (ci) is revoked");
    t.get(USER).token(&token).await.is(401, REVOKED);
    assert_eq!(t.shell(&["token", "revoke", "1"]).await.done(), "token 1 (ci) was revoked already");
    assert_eq!(t.shell_json(&["token", "revoke", "1"]).await["revoked"], true);
    assert_eq!(t.shell(&["token", "revoke", "99"]).await.refused(1), "there is no token 99");
    // rotation.md rule 12: the predecessor's number reaches a successor that nobody has used, and no other.
    let rotated = async || {
        let old = made(&t, "ci").await;
        let new = t.shell_with(&["token", "rotate", "--json"], &old).await.json();
        (new["id"].as_i64().expect("a number"), new["token"].as_str().expect("a token").to_owned())
    };
    let (id, new) = rotated().await;
    assert_eq!(
        t.shell(&["token", "revoke", &(id - 1).to_string()]).await.done(),
        format!("token {} (ci) is revoked", id - 1)
    );
    t.get(USER).token(&new).await.is(401, REVOKED);
    let (id, new) = rotated().await;
    t.get(USER).token(&new).await.is_user(&ada);
    let text = t.shell(&["token", "revoke", &(id - 1).to_string()]).await;
    assert_eq!(text.done(), format!("token {} (ci) was rotated already; {id} is the one in use", id - 1));
    t.get(USER).token(&new).await.is_user(&ada);
}

async fn a_token_rotates_by_its_secret(t: TestServer) {
    let ada = t.user("ada").await;
    let old = made(&t, "ci").await;
    let rotate = async |secret: &str, more: &[&str]| {
        let words: Vec<&str> = ["token", "rotate"].iter().chain(more).copied().collect();
        t.shell_with(&words, secret).await
    };
    let new = rotate(&old, &[]).await.done().to_owned();
    t.get(USER).token(&old).await.is(401, REVOKED);
    t.get(USER).token(&new).await.is_user(&ada);
    assert_eq!(rotate(&old, &[]).await.done(), new, "whoever lost the answer asks again");
    let other = rotate(&old, &["--expires-at", "2999-01-01"]).await;
    assert_eq!(other.refused(1), "Token already rotated");
    t.shell_with(&["token", "revoke"], &new).await.done();
    assert_eq!(rotate(&new, &[]).await.refused(1), "the token is revoked");
    assert_eq!(rotate("glpat-nobody", &[]).await.refused(1), format!("this token is unknown in {}", t.url()));
}

const ROTATED: &str =
    "token 1 (ci) was rotated or revoked already; tollhouse token list --active shows the tokens in use";

async fn rotation_rule_9_by_number_the_family_ends(t: TestServer) {
    let ada = t.user("ada").await;
    let old = made(&t, "ci").await;
    let made = t.shell_json(&["token", "rotate", "1"]).await;
    let new = made["token"].as_str().expect("a token");
    assert_eq!((&made["id"], &made["name"], &made["active"]), (&2.into(), &"ci".into(), &true.into()));
    let week = tollhouse_domain::time::Clock::system().now().date().plus_days(7).to_string();
    assert_eq!(made["expires_at"], week);
    t.get(USER).token(new).await.is_user(&ada);
    t.get(USER).token(&old).await.is(401, REVOKED);
    // The old secret can do nothing any longer: neither be told the successor, nor end it.
    assert_eq!(t.shell_with(&["token", "rotate"], &old).await.refused(1), "the token is revoked");
    let again = t.shell(&["token", "rotate", "1"]).await;
    assert_eq!(again.refused(1), ROTATED);
    t.get(USER).token(new).await.is_user(&ada);
    let last = t.shell(&["token", "rotate", "2"]).await.done().to_owned();
    t.get(USER).token(&last).await.is_user(&ada);
    t.get(USER).token(new).await.is(401, REVOKED);
    assert_eq!(t.shell(&["token", "rotate", "99"]).await.refused(1), "there is no token 99");
    assert_eq!(t.count("token.rotated").await, 2);
}

async fn rotations_by_number_at_once_make_one_successor(t: TestServer) {
    t.user("ada").await;
    made(&t, "ci").await;
    let mut runs = Vec::new();
    for _ in 0..6 {
        let t = t.clone();
        runs.push(tokio::task::spawn_local(async move { t.shell(&["token", "rotate", "1"]).await }));
    }
    let mut secrets = Vec::new();
    for run in runs {
        let said = run.await.expect("an end");
        match said.code {
            Some(0) => secrets.push(said.done().to_owned()),
            _ => assert_eq!(said.refused(1), ROTATED),
        }
    }
    assert_eq!(secrets.len(), 1);
    assert_eq!(t.shell_json(&["token", "list", "--active"]).await.as_array().map(Vec::len), Some(1));
}

async fn tokens_of_oauth_are_known_too(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    for (secret, kind) in [(&pair.access, "access"), (&pair.refresh, "refresh")] {
        let text = t.shell_with(&["token", "identify"], secret).await;
        let lines: Vec<&str> = text.done().lines().collect();
        assert_eq!(lines[0], format!("kind         OAuth {kind} token"));
        assert!(lines.contains(&"user         ada (1), active") && lines.contains(&"application  Ferry board (1)"));
        let json = t.shell_with(&["token", "identify", "--json"], secret).await.json();
        assert_eq!((&json["application"]["uid"], &json["revoked"]), (&client.uid.clone().into(), &false.into()));
    }
    oauth::user(&t, &pair.access).await.has(200);
    let rotated = t.shell_with(&["token", "rotate"], &pair.refresh).await;
    assert_eq!(rotated.refused(1), "it is an OAuth token; its application refreshes it");
    let text = t.shell_with(&["token", "revoke"], &pair.refresh).await;
    assert_eq!(text.done(), "OAuth refresh token 1 of ada (1) is revoked, with its whole family");
    oauth::user(&t, &pair.access).await.is(401, REVOKED);
    oauth::is_error(&client.refresh(&pair.refresh).await, 400, "invalid_grant");
    assert_eq!(t.shell_with(&["token", "identify", "--json"], &pair.access).await.json()["revoked"], true);
    // One that an application got for itself is nobody's.
    let own = oauth::tokens(&client.token("client_credentials", &[]).await).access;
    assert!(t.shell_with(&["token", "revoke"], &own).await.done().contains("of the application Ferry board"));
    t.get(USER).bearer(&own).await.has(401);
    t.get(USER).await.is(401, M401);
}

async fn a_change_is_seen_by_every_server_before_the_command_ends(t: TestServer) {
    t.user("ada").await;
    let servers = [Process::serve(&t, &[]).await, Process::serve(&t, &[]).await];
    let seen = async |token: &str| {
        let mut all = vec![t.get(USER).token(token).await.status.as_u16()];
        for server in &servers {
            all.push(ask(server.address, "GET", USER, token).await.expect("an answer").0);
        }
        all
    };
    for round in 0..5 {
        let token = made(&t, &format!("round {round}")).await;
        assert_eq!(seen(&token).await, [200; 3]);
        t.shell(&["user", "block", "ada"]).await.done();
        assert_eq!(seen(&token).await, [403; 3]);
        t.shell(&["user", "unblock", "ada"]).await.done();
        assert_eq!(seen(&token).await, [200; 3]);
        t.shell_with(&["token", "revoke"], &token).await.done();
        assert_eq!(seen(&token).await, [401; 3]);
    }
    for server in servers {
        assert_eq!(server.terminate().await, Some(0));
    }
}

/// A session, a code and the secret of an application leak like tokens.
async fn identify_knows_what_is_no_token(t: TestServer) {
    let ada = t.user("ada").await;
    let client = t.client("api").await;
    let (session, code) = (ada.session().await.cookie, client.code(&ada, "api").await);
    let user = format!("ada ({}), active", ada.id);
    for (secret, kind, whose) in [
        (&session, "session", &user),
        (&code, "authorization code", &user),
        (&client.secret, "secret of an application", &"Ferry board".to_owned()),
    ] {
        let said = t.shell_with(&["token", "identify"], secret).await;
        let text = said.done();
        assert!(text.contains(kind) && text.contains(whose.as_str()) && text.contains("\nstate "), "{text}");
        assert!(!text.contains(secret.as_str()), "{text}");
        let json = t.shell_with(&["token", "identify", "--json"], secret).await.json();
        assert_eq!(json["kind"], kind);
    }
    client.redeem(&code).await.has(200);
    assert!(t.shell_with(&["token", "identify"], &code).await.done().contains("redeemed"));
}

async fn deploy_and_job_tokens_are_made_and_identified(t: TestServer) {
    let group = t.group("harbour", Visibility::Private).await;
    let project = t.project(group, "pilots", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Project(project), &ada, AccessLevel::Developer).await;
    let job = ["token", "create", "--kind", "job", "--project", "harbour/pilots", "--user", "ada", "--lifetime", "1h"];
    let made = t.shell(&job).await.done().to_owned();
    assert!(made.starts_with("glcbt-1_"), "{made}");
    assert_eq!(t.shell_json(&job).await["project_id"], project.0);
    let deploy =
        ["token", "create", "--kind", "deploy", "--group", "harbour", "--name", "d", "--scopes", "read_registry"];
    let secret = t.shell(&deploy).await.done().to_owned();
    assert!(secret.starts_with("gldt-") && secret.len() == 25, "{secret}");
    let json = t.shell_json(&deploy).await;
    assert_eq!((&json["username"], &json["expired"]), (&"gitlab+deploy-token-2".into(), &false.into()));
    for (secret, kind) in [(&made, "job token"), (&secret, "deploy token")] {
        let said = t.shell_with(&["token", "identify"], secret).await;
        assert!(said.done().contains(kind) && said.done().contains("live"), "{}", said.done());
        assert!(!said.done().contains(secret.as_str()));
    }
    for (words, code, why) in [
        (&["--kind", "job", "--project", "harbour/pilots", "--user", "ada"][..], 2, "--lifetime"),
        (
            &["--kind", "job", "--project", "nowhere", "--user", "ada", "--lifetime", "1h"],
            1,
            "there is no project nowhere",
        ),
        (&["--kind", "job", "--project", "harbour/pilots", "--user", "ada", "--lifetime", "31d"], 1, "30 days"),
        (&["--kind", "job", "--project", "harbour/pilots", "--user", "ada", "--lifetime", "soon"], 2, "is not a time"),
        (&["--kind", "deploy", "--name", "d", "--scopes", "read_registry"], 2, "give --project or --group"),
        (&["--kind", "deploy", "--group", "harbour", "--name", "d", "--scopes", "api"], 1, "has no scope api"),
        (&["--kind", "deploy", "--group", "harbour", "--name", "d", "--scopes", ","], 1, "scopes"),
        (&["--name", "n", "--scopes", "api"], 2, "--user"),
        (&["--kind", "toll"], 2, "toll"),
    ] {
        let said = t.shell(&[&["token", "create"], words].concat()).await;
        assert_eq!(said.code, Some(code), "{words:?}: {}", said.err);
        assert!(said.err.contains(why), "{words:?}: {}", said.err);
    }
}

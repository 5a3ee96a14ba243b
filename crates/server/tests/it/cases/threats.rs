//! The rules of `docs/protocols/threats.md` that hold since step 1, each with a test named by it. T14's queue, T30's
//! escaping and parts of T10 and T12 have unit tests beside their code. One file, in the order of that page, so it is long.

use axum::http::Method;
use tollhouse::explain::explain;
use tollhouse::operations::tokens::Revoke;
use tollhouse::operations::users::{CreateFirstAdministrator, CreateUser, NewPassword, set_password};
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;

use super::sign_in::guess;
use crate::test_server::TestServer;

cases![
    t9_the_session_cookie,
    t9_under_https with "external_url = 'https://git.example.test'",
    t9_under_https_as_the_original with "external_url = 'https://git.example.test'\ncompat.cookie = 'gitlab'",
    t10_pages_take_no_tokens,
    t10_a_form_needs_its_csrf_token,
    t10_a_foreign_origin_is_refused,
    t10_no_method_is_overridden,
    t11_headers_of_pages,
    t11_headers_of_the_api,
    t12_a_page_under_another_name,
    t12_the_port_of_the_scheme_may_be_said_or_left_out with "external_url = ' HTTPS://GIT.example.test:443/ '\nexternal_hosts = ['Also.test']",
    t12_a_loopback_name_is_foreign_where_others_call_us_by_name with "external_url = 'https://git.example.test'",
    t13_visits_by_nobody_leave_nothing,
    t14_every_login_costs_a_hash with "limits.sign_in_failures = 0",
    t14_a_long_password_is_wrong,
    t14_a_refused_password_writes_as_much_for_every_name,
    t14_the_time_of_an_answer_is_rounded,
    t14_an_attempt_that_is_turned_away_does_not_count,
    t14_nobody_chooses_their_own_address,
    t14_a_trusted_proxy_says_who_asks with "proxies.trusted = ['192.0.2.0/24']",
    t26_numbers_are_never_used_twice,
    t26_names_are_ascii_and_not_reserved,
    t29_who_did_what_from_where,
    t29_failures_are_counted_not_listed with "limits.sign_in_failures = 0",
    t29_growth_stops_and_revocation_does_not with "storage.reserve = '1000000GiB'",
    t30_what_people_send_is_escaped,
    t30_a_token_in_a_path_is_in_no_log with "gateway.peers = ['127.0.0.1']",
    t31_one_first_administrator,
    t32_the_switches_are_a_feature,
    t33_a_demo_says_so,
];

async fn t9_the_session_cookie(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    for reply in [t.get("/users/sign_in").await, guess(&t, "ada", "correct horse").await] {
        let cookie = reply.header("set-cookie").expect("a cookie");
        assert!(
            cookie.starts_with("_gitlab_session=") && cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        assert!(!cookie.contains("Domain") && !cookie.contains("Secure") && !cookie.contains("Max-Age"));
    }
}

async fn t9_under_https(t: TestServer) {
    let reply = t.get("/users/sign_in").host("git.example.test").await;
    assert!(reply.header("set-cookie").expect("a cookie").ends_with("; Path=/; HttpOnly; Secure; SameSite=Lax"));
    assert_eq!(reply.header("strict-transport-security"), Some("max-age=31536000"));
}

async fn t9_under_https_as_the_original(t: TestServer) {
    let reply = t.get("/users/sign_in").host("git.example.test").await;
    assert!(reply.header("set-cookie").expect("a cookie").ends_with("; Path=/; HttpOnly; Secure; SameSite=None"));
}

async fn t10_pages_take_no_tokens(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for ask in [t.get("/").token(&token), t.get("/").bearer(&token), t.get(&format!("/?private_token={token}"))] {
        assert_eq!(ask.await.has(302).header("location"), Some("/users/sign_in"));
    }
}

async fn t10_a_form_needs_its_csrf_token(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let body = "user[login]=ada&user[password]=correct+horse";
    t.post("/users/sign_in").form(body).await.has(422);
    let form = t.get("/users/sign_in").await;
    let session = crate::test_server::Session { cookie: form.cookie("_gitlab_session").expect("a cookie") };
    t.post("/users/sign_in").session(&session).form(body).await.has(422);
    let other = crate::test_server::Session { cookie: "f".repeat(32) };
    let foreign = format!("{body}&authenticity_token={}", other.csrf());
    t.post("/users/sign_in").session(&session).form(&foreign).await.has(422);
    let own = format!("{body}&authenticity_token={}", form.authenticity_token());
    t.post("/users/sign_in").session(&session).form(&own).await.has(302);
}

async fn t10_a_foreign_origin_is_refused(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let token = session.csrf();
    let out = || t.post("/users/sign_out").session(&session).form(&format!("authenticity_token={token}"));
    for origin in ["http://evil.test", "null", "http://127.0.0.1:8080.evil.test", "https://127.0.0.1:8080"] {
        out().with("origin", origin).await.has(422);
        let sign_in = t.post("/users/sign_in").session(&session).form(&format!("authenticity_token={token}"));
        sign_in.with("origin", origin).await.has(422);
    }
    out().with("sec-fetch-site", "cross-site").await.has(422);
    out().with("origin", "null").with("sec-fetch-site", "cross-site").await.has(422);
    t.get("/api/v4/user").session(&session).await.is_user(&ada);
    // Our own pages send no referrer, so a browser says `null`, and vouches for them.
    out().with("origin", "null").with("sec-fetch-site", "same-origin").await.has(302);
    out().with("origin", "http://127.0.0.1:8080").await.has(302);
}

async fn t10_no_method_is_overridden(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let path = "/api/v4/personal_access_tokens/self";
    t.post(path).token(&token).form("_method=delete").await.has(404);
    for header in ["x-http-method-override", "x-http-method", "x-method-override"] {
        t.get(path).token(&token).with(header, "DELETE").await.has(200);
        t.post(path).token(&token).with(header, "DELETE").await.has(404);
    }
    t.get("/users/sign_out?_method=post").session(&ada.session().await).await.has(404);
    t.get(path).token(&token).await.has(200);
}

async fn t11_headers_of_pages(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for reply in
        [t.get("/users/sign_in").await, t.get("/").session(&session).await, t.get("/nope").session(&session).await]
    {
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none';") && policy.ends_with("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(!reply.body.contains("<script>") && !reply.body.contains("style="));
    }
    let redirect = t.get("/").await;
    assert!(redirect.has(302).header("set-cookie").is_some());
    assert_eq!(redirect.header("cache-control"), Some("no-store"));
}

async fn t11_headers_of_the_api(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for path in ["/api/v4/user.css", "/api/v4/projects", "/api/v4/groups"] {
        let reply = t.get(path).token(&token).await;
        assert_eq!(reply.has(200).header("vary"), Some("Origin, Cookie, Authorization, Private-Token"));
        assert_eq!(reply.header("cache-control"), Some("max-age=0, private, must-revalidate"));
    }
}

async fn t12_a_page_under_another_name(t: TestServer) {
    for host in ["evil.test", "127.0.0.1.evil.test", "evil.test:8080", "localhost.evil.test"] {
        let reply = t.get("/users/sign_in").host(host).await;
        assert!(!reply.has(421).body.contains("user[login]"));
        assert_eq!(reply.header("set-cookie"), None);
        t.get("/").host(host).await.has(421);
    }
    t.get("/users/sign_in").with("host", "evil.test").await.has(400);
    for host in ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LOCALHOST"] {
        t.get("/users/sign_in").host(host).await.has(200);
    }
    // Links are made of the configured name, whatever the request says.
    let token = t.user("ada").await.token([Scope::Api]).await;
    let reply = t.get("/api/v4/projects").host("evil.test").token(&token).await;
    assert!(reply.has(200).header("link").expect("links").contains("<http://127.0.0.1:8080/api/v4/projects?"));
}

async fn t12_the_port_of_the_scheme_may_be_said_or_left_out(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for host in ["git.example.test", "git.example.test:443", "Git.Example.Test:443", "also.test", "also.test:443"] {
        t.get("/").host(host).session(&session).await.has(200);
        for (origin, status) in [
            ("https://git.example.test", 302),
            ("https://git.example.test:443", 302),
            ("https://git.example.test:80", 422),
            ("http://git.example.test", 422),
            ("https://evil.test", 422),
        ] {
            // Each ends a session of its own.
            let session = t.user(&format!("u{}", t.events().await.len())).await.session().await;
            let out = t.post("/users/sign_out").host(host).session(&session).with("origin", origin);
            out.form("_method=post").await.has(status);
        }
        let document = t.get("/.well-known/openid-configuration").host(host).await;
        assert_eq!(document.has(200).json()["issuer"], "https://git.example.test");
        let own = t.get("/api/v4/groups").host(host).with("origin", "https://git.example.test:443").await;
        assert_eq!(own.header("access-control-allow-credentials"), Some("true"), "{host}");
        assert!(own.header("link").expect("links").starts_with("<https://git.example.test/api/v4/groups?"));
    }
    for host in ["git.example.test:80", "git.example.test:8443", "also.test:80", "evil.test:443"] {
        t.get("/users/sign_in").host(host).await.has(421);
    }
}

async fn t12_a_loopback_name_is_foreign_where_others_call_us_by_name(t: TestServer) {
    for host in ["127.0.0.1:8080", "localhost:8080", "localhost", "127.0.0.1", "[::1]:8080"] {
        for path in ["/", "/users/sign_in", "/nope", "/.well-known/openid-configuration"] {
            t.get(path).host(host).await.has(421);
        }
        t.get("/api/v4/groups").host(host).await.has(200);
        t.get("/-/readiness").host(host).await.has(200);
    }
}

async fn t13_visits_by_nobody_leave_nothing(t: TestServer) {
    let rows = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let sessions = tollhouse_store::sessions::count(&mut reader).await.expect("a count");
        (sessions, tollhouse_store::audit_events::newest(&mut reader, 10).await.expect("the trail").len())
    };
    let before = rows().await;
    t.app.db.faults.set(tollhouse_store::faults::Fault::Writes);
    for _ in 0..100_000 {
        t.get("/users/sign_in").await.has(200);
    }
    t.ask("HEAD".parse().expect("a method"), "/users/sign_in").await.has(200);
    t.app.db.faults.set(tollhouse_store::faults::Fault::None);
    assert_eq!(rows().await, before);
    let used = t.app.auth.uses().take();
    assert!(used.sessions.is_empty() && used.tokens.is_empty());
}

async fn t14_every_login_costs_a_hash(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    t.user("grace").await;
    let before = t.app.hasher.hashed();
    for login in ["ada", "nobody", "grace"] {
        guess(&t, login, "wrong horse").await.has(200);
    }
    assert_eq!(t.app.hasher.hashed() - before, 3, "unknown and without a password too");
    for _ in 0..9 {
        guess(&t, "ada", "wrong horse").await;
    }
    let before = t.app.hasher.hashed();
    guess(&t, "ada", "correct horse").await.has(200);
    assert_eq!(t.app.hasher.hashed() - before, 1, "locked too");
}

async fn t14_a_long_password_is_wrong(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let before = t.app.hasher.hashed();
    let reply = guess(&t, "ada", &"x".repeat(1025)).await;
    assert!(reply.has(200).body.contains("Invalid login or password."));
    assert_eq!(t.app.hasher.hashed(), before, "and not hashed");
}

/// Rows that are new or other than before, without the audit log and what a server writes by itself.
async fn written_by(t: &TestServer, login: &str) -> usize {
    let rows = async || {
        let mut reader = t.app.db.read().await.expect("a reader");
        let all = tollhouse_store::faults::every_row(&mut reader).await.expect("every row");
        let own = |row: &String| !["nodes", "audit_events", "sqlite_sequence"].iter().any(|name| row.starts_with(name));
        all.into_iter().filter(own).collect::<std::collections::BTreeSet<_>>()
    };
    let before = rows().await;
    guess(t, login, "wrong horse").await.has(200);
    rows().await.difference(&before).count()
}

async fn t14_a_refused_password_writes_as_much_for_every_name(t: TestServer) {
    // As a server does when it starts.
    t.app.device_key().await.expect("a key");
    t.user_with_password("ada", "correct horse").await;
    t.user("grace").await;
    // The account, its failure, and that of the address; with the tenth, which locks, also an entry of the log. After that it
    // is locked.
    let expected = [3, 3, 3, 3, 3, 3, 3, 3, 3, 5, 3, 3];
    for logins in [["ada", "ADA@example.test"], ["grace", "Grace"], ["nobody", "NOBODY"]] {
        // Decoys are counted by the hour, and two names may share one.
        t.later(3600);
        let mut written = Vec::new();
        for i in 0..expected.len() {
            if i == 6 {
                t.later(60);
            }
            written.push(written_by(&t, logins[i % 2]).await);
        }
        assert_eq!(written, expected, "{logins:?}");
    }
    let trail = t.events().await;
    assert_eq!(trail.iter().filter(|event| *event == "user.password_locked").count(), 1, "{trail:?}");
    // What is counted of a name that nobody has does not hold the name.
    let mut reader = t.app.db.read().await.expect("a reader");
    let all = tollhouse_store::faults::every_row(&mut reader).await.expect("every row");
    assert!(!all.iter().any(|row| row.contains("nobody")), "{all:?}");
}

async fn t14_the_time_of_an_answer_is_rounded(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let token = t.user("grace").await.token([Scope::Api]).await;
    for reply in [
        t.get("/api/v4/user").token(&token).await,
        t.get("/api/v4/projects/1").await,
        t.get("/api/v4/nope").await,
        t.get("/users/sign_in").await,
        guess(&t, "ada", "wrong horse").await,
        guess(&t, "nobody", "wrong horse").await,
        t.post("/oauth/token").form("grant_type=client_credentials&client_id=x").await,
        t.ask(axum::http::Method::OPTIONS, "/api/v4/user")
            .with("origin", "https://x.test")
            .with("access-control-request-method", "GET")
            .await,
        t.get("/-/health").await,
    ] {
        let told = reply.header("x-runtime").expect("a time");
        let (seconds, parts) = told.split_once('.').expect("a fraction");
        assert!(seconds.parse::<u32>().is_ok() && parts.len() == 6 && parts.ends_with("0000"), "{told}");
        assert!(told != "0.000000", "rounded up");
    }
}

async fn t14_an_attempt_that_is_turned_away_does_not_count(t: TestServer) {
    let ada = t.user_with_password("ada", "correct horse").await;
    let place = |address: [u8; 4]| t.app.hasher.place(Some(address.into())).expect("a place");
    let session = ada.session().await;
    let change = format!(
        "authenticity_token={}&user[password]=x&user[new_password]=new+horse+1&user[password_confirmation]=new+horse+1",
        session.csrf()
    );
    for round in 0..12 {
        // Our address holds one less than it may, and three others as much as they may.
        let mut held: Vec<_> = (0..63).map(|_| place([127, 0, 0, 1])).collect();
        held.extend((0..192).map(|i| place([192, 0, 2, (i % 3) as u8])));
        // Every thread hashes something, so that the attempt waits long enough to be seen.
        let stalled = t.app.hasher.stall();
        let attempt = async {
            match round % 2 {
                0 => guess(&t, "ada", "wrong horse").await,
                _ => t.post("/-/user_settings/password").session(&session).form(&change).await,
            }
        };
        let newcomer = async {
            let began = std::time::Instant::now();
            while t.app.hasher.load().waiting < 256 {
                assert!(began.elapsed().as_secs() < 20, "the attempt took no place");
                tokio::task::yield_now().await;
            }
            place([198, 51, 100, 1])
        };
        let (reply, _newcomer) = tokio::join!(attempt, newcomer);
        assert_eq!(reply.has(503).header("retry-after"), Some("5"));
        drop((held, stalled));
    }
    assert!(t.app.hasher.load().waiting == 0, "every place is given back");
    for _ in 0..9 {
        guess(&t, "ada", "wrong horse").await.has(200);
    }
    guess(&t, "ada", "correct horse").await.has(302);
}

/// From where the audit log says that this request came.
async fn said_to_come_from(t: &TestServer, peer: &str, headers: &[(&str, &str)]) -> Option<String> {
    let token = t.user(&format!("ada{}", headers.len() + t.trail(1000).await.len())).await.token([Scope::Api]).await;
    let ask = t.delete("/api/v4/personal_access_tokens/self").token(&token).from(peer.parse().expect("an address"));
    headers.iter().fold(ask, |ask, (name, value)| ask.with(name, value)).await.has(204);
    t.trail(1).await.remove(0).address
}

async fn t14_nobody_chooses_their_own_address(t: TestServer) {
    for name in [
        "x-forwarded-for",
        "x-real-ip",
        "x-original-for",
        "x-client-ip",
        "true-client-ip",
        "cf-connecting-ip",
        "x-forwarded",
        "x-cluster-client-ip",
    ] {
        let told = said_to_come_from(&t, "198.51.100.1", &[(name, "203.0.113.9")]).await;
        assert_eq!(told.as_deref(), Some("198.51.100.1"), "{name}");
    }
    let told =
        said_to_come_from(&t, "198.51.100.1", &[("forwarded", "for=203.0.113.9;proto=https;host=evil.test")]).await;
    assert_eq!(told.as_deref(), Some("198.51.100.1"));
    // Nor is the name of this server anybody's to choose.
    for name in ["x-forwarded-host", "x-original-host", "x-host"] {
        let reply = t.get("/.well-known/openid-configuration").with(name, "evil.test").await;
        assert!(!reply.has(200).body.contains("evil.test"), "{name}");
    }
    for name in ["x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-ssl", "x-url-scheme"] {
        let reply = t.get("/.well-known/openid-configuration").with(name, "https").await;
        assert_eq!(reply.has(200).json()["issuer"], "http://127.0.0.1:8080", "{name}");
    }
    for name in ["x-original-url", "x-original-uri", "x-rewrite-url", "x-forwarded-uri", "x-forwarded-prefix"] {
        t.get("/api/v4/user").with(name, "/api/v4/projects").await.has(401);
        t.get("/api/v4/projects").with(name, "/api/v4/user").await.has(200);
    }
}

async fn t14_a_trusted_proxy_says_who_asks(t: TestServer) {
    for (peer, header, from) in [
        ("192.0.2.7", "203.0.113.9", "203.0.113.9"),
        ("192.0.2.7", "203.0.113.9, 198.51.100.1, 192.0.2.8", "198.51.100.1"),
        ("198.51.100.1", "203.0.113.9", "198.51.100.1"),
    ] {
        let told = said_to_come_from(&t, peer, &[("x-forwarded-for", header), ("x-real-ip", "203.0.113.1")]).await;
        assert_eq!(told.as_deref(), Some(from), "{peer} {header}");
    }
}

async fn t26_numbers_are_never_used_twice(t: TestServer) {
    let (first, second) = (t.user("ada").await.id, t.user("grace").await.id);
    assert!(second > first);
    t.does(Delete { user: second }).await;
    let third = t.user("grace").await.id;
    assert!(third > second, "not after deletion either");
}

/// There is no operation for it yet; what is tested is the table.
struct Delete {
    user: tollhouse_domain::id::UserId,
}

impl tollhouse::operations::Operation for Delete {
    type Output = ();

    async fn run(
        &self,
        tx: &mut tollhouse_store::tx::Tx,
        _: tollhouse_domain::time::Timestamp,
    ) -> Result<tollhouse_store::tx::Change<()>, tollhouse::operations::Failed> {
        tollhouse_store::faults::delete_user(tx, self.user).await?;
        Ok(tollhouse_store::tx::Change::nothing(()))
    }
}

async fn t26_names_are_ascii_and_not_reserved(t: TestServer) {
    for name in ["\u{430}da", "api", "Users", "oauth", "-", "a b", "", "a/b", "a\0", ".git", "x.git"] {
        let refused = t.app.perform(CreateUser::person(name, "X"), &By::system()).await;
        assert!(refused.is_err(), "{name:?}");
    }
    t.user("ada").await;
    assert!(
        t.app.perform(CreateUser::person("ADA", "X"), &By::system()).await.is_err(),
        "taken, without regard to case"
    );
}

async fn t29_who_did_what_from_where(t: TestServer) {
    let ada = t.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    let ask = t.delete("/api/v4/personal_access_tokens/self").token(made.secret.reveal());
    ask.from([192, 0, 2, 7].into()).await.has(204);
    let lines = t.trail(2).await;
    let line = &lines[0];
    assert_eq!(
        (line.event.as_str(), line.actor_id, line.target_id),
        ("token.revoked", Some(ada.id.0), made.token.id.0)
    );
    assert_eq!(line.credential, format!("personal_access_token:{}", made.token.id));
    assert_eq!(line.address.as_deref(), Some("192.0.2.7"));
    assert_eq!((lines[1].event.as_str(), lines[1].credential.as_str()), ("token.created", "system"));
}

async fn t29_failures_are_counted_not_listed(t: TestServer) {
    // Made when a server starts, which the audit log says.
    t.app.device_key().await.expect("a key");
    let ada = t.user_with_password("ada", "correct horse").await;
    for _ in 0..7 {
        guess(&t, "ada", "wrong horse").await.has(200);
        guess(&t, "nobody", "wrong horse").await.has(200);
    }
    let mut reader = t.app.db.read().await.expect("a reader");
    let counted = tollhouse_store::failed_sign_ins::count(&mut reader, ada.id).await.expect("a count");
    assert_eq!(counted, (1, 7), "one row, seven failures");
    let lines = tollhouse_store::audit_events::newest(&mut reader, 100).await.expect("the trail");
    let people = lines.iter().filter(|line| line.event != "key.made");
    assert_eq!(people.count(), 1, "only that ada was made");
}

async fn t29_growth_stops_and_revocation_does_not(t: TestServer) {
    if t.app.db.is_postgres() {
        // Its disk is not ours to see; nothing is refused.
        t.user("ada").await;
        t.get("/api/v4/groups").await.is(200, "[]");
        return;
    }
    let refused = t.app.perform(CreateUser::person("ada", "Ada"), &By::system()).await;
    assert_eq!(refused.expect_err("no room"), tollhouse::error::Error::Full);
    let wide = t.reopened("storage.reserve = '0B'").await;
    let ada = wide.user("ada").await;
    let made = ada.made_token([Scope::Api]).await;
    let rotate = "/api/v4/personal_access_tokens/self/rotate";
    let old = ada.token([Scope::Api]).await;
    let new = wide.post(rotate).token(&old).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    wide.get("/api/v4/user").token(&new).await.has(200);
    wide.app.db.close().await;
    t.post(rotate).token(&new).await.has(503);
    let again = t.reopened("storage.reserve = '0B'").await;
    again.user_with_password("grace", "correct horse").await;
    for _ in 0..12 {
        guess(&t, "grace", "correct horse").await.has(503);
    }
    guess(&again, "grace", "correct horse").await.has(302);
    again.leave().await;
    t.later(121);
    t.post(rotate).token(&old).await.is(401, crate::test_server::REVOKED);
    t.get("/api/v4/user").token(&new).await.is(401, crate::test_server::REVOKED);
    let reply = t.post("/api/v4/projects").token(made.secret.reveal()).json(r#"{"name":"x"}"#).await;
    reply.is(503, r#"{"message":"503 Service Unavailable - Storage is nearly full"}"#);
    t.does(Revoke { id: made.token.id }).await;
    t.get("/api/v4/user").token(made.secret.reveal()).await.has(401);
}

async fn t30_a_token_in_a_path_is_in_no_log(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let (_, secret) = token.split_once('-').expect("a prefix");
    let hex = Plaintext::hex();
    let hex = hex.reveal();
    for target in [
        format!("/api/v4/users/{token}"),
        format!("/api/v4/projects/{}", token.replace('-', "%2D")),
        format!("/api/v4/groups/{}", token.replace('-', "%252d")),
        format!("/{token}"),
        format!("/nope/%67{}", &token[1..]),
        format!("/oauth/{token}/x"),
        format!("//{token}"),
        format!("/{hex}"),
        format!("/api/v4/nope/%{:02x}{}", hex.as_bytes()[0], &hex[1..]),
    ] {
        let answered = t.get(&target).token(&token);
        let refused = t.get(&target).session(&ada.session().await);
        let asked = [("method", "GET"), ("proto", "http"), ("host", "127.0.0.1:8080"), ("uri", &target)]
            .iter()
            .fold(t.get("/-/auth"), |ask, (name, value)| ask.with(&format!("x-original-{name}"), value));
        let said = crate::test_server::logged(async {
            for ask in [answered, refused, asked] {
                ask.await;
            }
        })
        .await;
        assert_eq!(said.matches("status=").count(), 3, "{said}");
        assert!(said.contains("***") && !said.contains(secret) && !said.contains(&hex[1..]), "{said}");
        let told = explain(&t.app, t.get(&target).request()).await.expect("a database").to_string();
        assert!(told.contains("***") && !told.contains(secret) && !told.contains(&hex[1..]), "{told}");
    }
    // A method is a text of others, too.
    let method = Method::from_bytes(token.as_bytes()).expect("a method");
    let said = crate::test_server::logged(async { drop(t.ask(method, "/api/v4/user").await) }).await;
    assert!(said.contains("glpat-***") && !said.contains(secret), "{said}");
}

async fn t30_what_people_send_is_escaped(t: TestServer) {
    let lines = crate::test_server::logged(async {
        t.get("/api/v4/nope%0Aevil%1b[31m?private_token=glpat-secret").await.has(404);
        guess(&t, "my-password-by-mistake", "wrong horse").await.has(200);
    })
    .await;
    assert!(lines.contains("no_route"), "{lines}");
    assert!(!lines.contains("glpat-secret") && !lines.contains("my-password-by-mistake"), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains("\nevil"), "{lines}");
    t.user("ada").await;
    let grace = t.user("grace").await;
    let mut create = grace.create_token([Scope::Api].into(), None);
    create.name = "x\n\u{202e}y".into();
    t.does(create).await;
    let add = tollhouse::operations::projects::CreateProject {
        creator: grace.id,
        name: Some(format!("a\n{}", "b".repeat(200))),
        path: Some("c".repeat(250)),
        namespace: None,
        description: None,
        visibility: tollhouse_domain::access::Visibility::Private,
    };
    t.does(add).await;
    let line = t.trail(1).await.remove(0);
    assert!(line.detail.len() <= 256 && !line.detail.contains('\n'), "{line:?}");
}

async fn t31_one_first_administrator(t: TestServer) {
    let file = t.folder.path().join(tollhouse::operations::users::PASSWORD_FILE);
    std::fs::write(&file, "secret").expect("a file");
    let make = || CreateFirstAdministrator { password_digest: "x".into(), email: String::new() };
    let root = t.does(make()).await.expect("the first");
    assert_eq!(t.does(make()).await, None, "and no second");
    let password = Plaintext::new("a new password".into());
    let change = |user| NewPassword { user, seen: None, expires_at: None };
    let done = set_password(&t.app, change(root), &password, &By::system()).await.expect("a change");
    assert!(done.into_inner());
    assert!(!file.exists(), "it goes with the password in it");
    let short = set_password(&t.app, change(root), &Plaintext::new("short".into()), &By::system()).await;
    assert!(short.is_err());
    guess(&t, "root", "a new password").await.has(302);
    // Somebody else's change leaves the file alone.
    std::fs::write(&file, "secret").expect("a file");
    let ada = t.user("ada").await;
    let done = set_password(&t.app, change(ada.id), &password, &By::system()).await.expect("a change");
    assert!(done.into_inner());
    assert!(file.exists());
}

async fn t32_the_switches_are_a_feature(t: TestServer) {
    // The default build is looked into by the end-to-end checks; here: no default feature asks for them.
    let manifest = include_str!("../../../Cargo.toml");
    let features: toml::Table = manifest.parse().expect("TOML");
    let default = features["features"]["default"].as_array().expect("a list");
    assert_eq!(default.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>(), ["mimalloc"]);
    t.get("/api/v4/groups").await.is(200, "[]");
}

async fn t33_a_demo_says_so(t: TestServer) {
    let note = "Demo data";
    assert!(!t.get("/users/sign_in").await.has(200).body.contains(note));
    t.does(Mark).await;
    let demo = t.reopened("").await;
    assert!(demo.app.demo);
    assert!(demo.get("/users/sign_in").await.has(200).body.contains(note));
    demo.app.db.close().await;
}

pub struct Mark;

impl tollhouse::operations::Operation for Mark {
    type Output = ();

    async fn run(
        &self,
        tx: &mut tollhouse_store::tx::Tx,
        _: tollhouse_domain::time::Timestamp,
    ) -> Result<tollhouse_store::tx::Change<()>, tollhouse::operations::Failed> {
        tollhouse_store::instance::set(tx, tollhouse::app::DEMO, "yes").await?;
        Ok(tollhouse_store::tx::Change::nothing(()))
    }
}

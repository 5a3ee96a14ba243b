//! Which rule decides, and a file of rules that cannot be used (GATE-030 to GATE-038).

use tollhouse_domain::scope::Scope;

use super::{HERE, THERE, asked, rule, rules, signed_in};
use crate::process::{output, tollhouse};
use crate::test_server::{Ask, TestServer};

gates![
    gate_030_the_first_rule_that_matches_decides,
    gate_031_no_rule_no_entry,
    gate_032_hosts_and_ports,
    gate_033_paths,
    gate_034_methods,
    gate_035_preflights,
    gate_036_a_bad_file_changes_nothing,
    gate_037_what_is_a_mistake,
    gate_038_new_rules_count_at_once,
    t3_a_preflight_is_judged_unless_a_rule_says_otherwise,
    t27_rules_that_are_read_again,
    a_server_reads_its_rules_at_start_and_at_sighup,
    a_server_does_not_start_with_rules_it_cannot_use,
];

const FOUR: &str = "
[[rule]]
name = 'health'
host = 'api.example.test'
path = '/health'
method = ['GET', 'HEAD']
allow = 'anyone'

[[rule]]
name = 'admin'
host = 'api.example.test'
path = ['/admin/*', '/metrics']
allow = 'administrator'

[[rule]]
name = 'writes'
host = 'api.example.test'
path = '/*'
method = ['POST', 'PUT', 'PATCH', 'DELETE']

[[rule]]
name = 'ported'
host = ['other.example.test:8443', '[::1]:80']
path = '/*'
allow = 'anyone'
";

async fn gate_030_the_first_rule_that_matches_decides(t: TestServer) {
    rules(&t, FOUR).await;
    let (ada, root) = (t.user("ada").await.token([Scope::Api]).await, t.admin().await.token([Scope::Api]).await);
    asked(&t, "GET", &format!("{THERE}/health")).await.passes("health");
    asked(&t, "POST", &format!("{THERE}/health")).token(&ada).await.passes("writes");
    asked(&t, "POST", &format!("{THERE}/health")).await.is_kept_out(401);
    // The later rule would let her.
    asked(&t, "POST", &format!("{THERE}/admin/x")).token(&ada).await.is_kept_out(403);
    asked(&t, "POST", &format!("{THERE}/admin/x")).token(&root).await.passes("admin");
    asked(&t, "PUT", &format!("{THERE}/administration")).token(&ada).await.passes("writes");
}

async fn gate_031_no_rule_no_entry(t: TestServer) {
    rules(&t, FOUR).await;
    let root = t.admin().await.token([Scope::Api]).await;
    asked(&t, "POST", &format!("{THERE}/x")).token(&root).await.passes("writes");
    for url in [format!("{THERE}/x"), format!("{HERE}/health"), "https://evil.test/health".to_owned()] {
        asked(&t, "GET", &url).token(&root).await.is_kept_out(403);
    }
}

async fn gate_032_hosts_and_ports(t: TestServer) {
    rules(&t, FOUR).await;
    for url in [
        "https://api.example.test",
        "http://api.example.test",
        "https://API.Example.TEST",
        "https://api.example.test:8443",
    ] {
        asked(&t, "GET", &format!("{url}/health")).await.passes("health");
    }
    for url in ["https://other.example.test:8443", "http://[::1]", "http://[0:0:0:0:0:0:0:1]:80"] {
        asked(&t, "GET", &format!("{url}/")).await.passes("ported");
    }
    for url in [
        "https://other.example.test",
        "https://other.example.test:8444",
        "https://[::1]",
        "https://api.example.test.",
        "https://x.api.example.test",
        "https://api.example.test.evil.test",
        "https://api_example.test",
    ] {
        asked(&t, "GET", &format!("{url}/health")).await.is_kept_out(403);
    }
}

async fn gate_033_paths(t: TestServer) {
    rules(
        &t,
        "[[rule]]\nname = 'exact'\nhost = '127.0.0.1'\npath = ['/a', '/b/']\nallow = 'anyone'\n\
         [[rule]]\nname = 'below'\nhost = '127.0.0.1'\npath = '/c/d/*'\nallow = 'anyone'\n",
    )
    .await;
    for (path, name) in [("/a", "exact"), ("/a?x", "exact"), ("/b/", "exact"), ("/c/d", "below"), ("/c/d/e/f", "below")]
    {
        asked(&t, "GET", &format!("{HERE}{path}")).await.passes(name);
    }
    for path in ["/", "/a/", "/a/x", "/A", "/b", "/b/x", "/c", "/c/", "/c/dx", "/c/D"] {
        asked(&t, "GET", &format!("{HERE}{path}")).await.is_kept_out(403);
    }
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
}

async fn gate_034_methods(t: TestServer) {
    rule(&t, "allow = 'anyone'\nmethod = 'GET'").await;
    for method in ["GET", "HEAD"] {
        asked(&t, method, &format!("{HERE}/")).await.passes("all");
    }
    for method in ["POST", "OPTIONS", "GETS"] {
        asked(&t, method, &format!("{HERE}/")).await.is_kept_out(403);
    }
    rule(&t, "allow = 'anyone'\nmethod = 'HEAD'").await;
    asked(&t, "GET", &format!("{HERE}/")).await.is_kept_out(403);
    rule(&t, "allow = 'anyone'").await;
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND", "X-ANY"] {
        asked(&t, method, &format!("{HERE}/")).await.passes("all");
    }
}

fn preflight(ask: Ask) -> Ask {
    ask.with("origin", "https://elsewhere.test").with("access-control-request-method", "POST")
}

async fn gate_035_preflights(t: TestServer) {
    let url = format!("{THERE}/x");
    let token = t.user("ada").await.token([Scope::Api]).await;
    signed_in(&t).await;
    preflight(asked(&t, "OPTIONS", &url)).await.is_kept_out(401);
    preflight(asked(&t, "OPTIONS", &url)).token(&token).await.passes("all");
    for lines in ["preflight = 'pass'", "preflight = 'pass'\nmethod = ['POST']\nallow = 'administrator'"] {
        rule(&t, lines).await;
        let reply = preflight(asked(&t, "OPTIONS", &url)).await;
        assert_eq!(reply.passes("all").told("user-id"), "-");
        // No browser shows anything then. What does is judged.
        for (name, value) in [("authorization", "Basic dTpw"), ("private-token", "x"), ("cookie", "theme=dark")] {
            let reply = preflight(asked(&t, "OPTIONS", &url)).with(name, value).await;
            assert_ne!(reply.status.as_u16(), 204, "{name}");
        }
        assert_ne!(asked(&t, "OPTIONS", &url).await.status.as_u16(), 204, "no origin, no method");
        let half = asked(&t, "OPTIONS", &url).with("origin", "https://elsewhere.test").await;
        assert_ne!(half.status.as_u16(), 204);
        assert_ne!(preflight(asked(&t, "POST", &url)).await.status.as_u16(), 204);
    }
}

async fn gate_036_a_bad_file_changes_nothing(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    for bad in
        ["[[rule]]\nname = 'all'", "nonsense", "\u{0}", "[[rule]]\nname = 'x'\nhost = 'a'\npath = '/'\nallow = 'all'"]
    {
        let error = t.app.gateway.replace(bad, "rules.toml", &t.app.db).await.expect_err(bad).to_string();
        assert!(error.starts_with("rules.toml: line ") && !error.contains('\n'), "{error}");
        assert!(!bad.contains("name = 'x'") || error.starts_with("rules.toml: line 5: rule `x`: `allow`"), "{error}");
        asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
    }
}

async fn gate_037_what_is_a_mistake(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let one = "name = 'x'\nhost = 'a.test'\npath = '/a/*'\n";
    for lines in [
        format!("{one}nope = true"),
        format!("{one}method = 7"),
        format!("{one}scopes = [['api']]"),
        format!("{one}scopes = ['openid']"),
        format!("{one}query_credentials = 1"),
        format!("{one}allow = 'anyone'\nscopes = ['read_user']"),
        format!("{one}allow = 'anyone'\ngroup = 'harbour'"),
        format!("{one}allow = 'anyone'\nlevel = 'guest'"),
        format!("{one}allow = 'anyone'\napplications = ['x']"),
        format!("{one}allow = 'administrator'\ngroup = 'harbour'"),
        format!("{one}group = 'harbour'\nproject = 'harbour/timetable'"),
        format!("{one}level = 'guest'"),
        format!("{one}name = 'x'"),
        format!("{one}[[rule]]\n{one}"),
        format!("{one}[[rule]]\nname = 'y'\nhost = 'a.test'\npath = ['/a/b', '/a/c/*']\nmethod = 'GET'"),
        "name = 'x'\nhost = 'a.test'\npath = '/a/../b'".to_owned(),
        "name = 'x'\nhost = 'a.test'\npath = 'a'".to_owned(),
        "name = 'x'\nhost = []\npath = '/'".to_owned(),
        "name = 'x y'\nhost = 'a'\npath = '/'".to_owned(),
        "host = 'a'\npath = '/'".to_owned(),
    ] {
        let text = format!("[[rule]]\n{lines}\n");
        let error = t.app.gateway.replace(&text, "rules.toml", &t.app.db).await.expect_err(&text).to_string();
        assert!(error.starts_with("rules.toml: line ") && !error.contains('\n'), "{text}: {error}");
        assert!(error.contains("rule `") || error.contains("duplicate key") || error.contains("`name` is"), "{error}");
    }
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
}

async fn gate_038_new_rules_count_at_once(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{HERE}/")).await.passes("all");
    rule(&t, "allow = 'administrator'").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.is_kept_out(403);
    rules(&t, "").await;
    asked(&t, "GET", &format!("{HERE}/")).token(&token).await.is_kept_out(403);
}

async fn t3_a_preflight_is_judged_unless_a_rule_says_otherwise(t: TestServer) {
    signed_in(&t).await;
    preflight(asked(&t, "OPTIONS", &format!("{THERE}/x"))).await.is_kept_out(401);
    rule(&t, "preflight = 'pass'").await;
    preflight(asked(&t, "OPTIONS", &format!("{THERE}/x"))).await.passes("all");
}

async fn t27_rules_that_are_read_again(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    signed_in(&t).await;
    asked(&t, "GET", &format!("{THERE}/x")).token(&token).await.passes("all");
    rule(&t, "scopes = 'read_user'\nallow = 'administrator'").await;
    asked(&t, "GET", &format!("{THERE}/x")).token(&token).await.is_kept_out(403);
}

async fn a_server_reads_its_rules_at_start_and_at_sighup(t: TestServer) {
    let file = t.folder.path().join("rules.toml");
    let write = |allow: &str| {
        let text = format!("[[rule]]\nname = 'all'\nhost = '127.0.0.1'\npath = '/*'\nallow = '{allow}'\n");
        std::fs::write(&file, text).expect("a file");
    };
    write("anyone");
    let settings = t.folder.path().join("gateway.toml");
    let text = format!("[gateway]\nrules = '{}'\npeers = ['127.0.0.1']\n", file.display());
    std::fs::write(&settings, text).expect("a file");
    t.app.db.close().await;
    let server = crate::process::Process::serve(&t, &["--config", &settings.display().to_string()]).await;
    let ask = async || {
        let headers: String = super::original("GET", &format!("{HERE}/"))
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        crate::process::exchange(
            server.address,
            format!("GET /-/auth HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n"),
        )
        .await
    };
    let becomes = async |status: u16| {
        for _ in 0..100 {
            if ask().await == Some((status, String::new())) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("it does not become {status}");
    };
    assert_eq!(ask().await, Some((204, String::new())));
    write("administrator");
    server.signal("-HUP");
    becomes(401).await;
    write("nonsense");
    server.signal("-HUP");
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert_eq!(ask().await, Some((401, String::new())), "the old rules stay");
    // It is being written: rules already, and laxer ones.
    write("anyone");
    server.signal("-HUP");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    write("administrator");
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    assert_eq!(ask().await, Some((401, String::new())), "half of a file is not taken");
    std::fs::write(&file, "").expect("a file");
    server.signal("-HUP");
    tokio::time::sleep(std::time::Duration::from_millis(1_000)).await;
    assert_eq!(ask().await, Some((401, String::new())), "no rules are none to take");
    write("anyone");
    server.signal("-HUP");
    becomes(204).await;
    assert_eq!(server.terminate().await, Some(0));
}

async fn a_server_does_not_start_with_rules_it_cannot_use(t: TestServer) {
    let file = t.folder.path().join("rules.toml");
    std::fs::write(&file, "# ours\n[[rule]]\nname = 'all'\nhost = '127.0.0.1'\npath = '/*'\nallow = 'all'\n")
        .expect("a file");
    t.app.db.close().await;
    let refused = async |rules: &std::path::Path, name: &str, value: &str| {
        let mut command = tollhouse(t.folder.path());
        command.args(["serve", "--listen", "127.0.0.1:0", "--database", &t.database_url]);
        command.env("TOLLHOUSE_GATEWAY_RULES", rules).env(name, value);
        let output = output(command).await;
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), text.trim_end().lines().count()), (Some(2), 1), "{text}");
        text
    };
    let text = refused(&file, "TOLLHOUSE_GATEWAY_PEERS", "127.0.0.1").await;
    assert!(text.contains("rules.toml: line 6: rule `all`: `allow`: "), "{text}");
    let text = refused(std::path::Path::new("nowhere.toml"), "TOLLHOUSE_GATEWAY_PEERS", "127.0.0.1").await;
    assert!(text.contains("nowhere.toml: "), "{text}");
    for (name, value) in [
        ("TOLLHOUSE_GATEWAY_PEERS", "10.0.0.0/33"),
        ("TOLLHOUSE_GATEWAY_DIALECT", "both"),
        ("TOLLHOUSE_GATEWAY_PREFIX", "X_User"),
    ] {
        let text = refused(std::path::Path::new(""), name, value).await;
        assert!(text.contains(name), "{text}");
    }
}

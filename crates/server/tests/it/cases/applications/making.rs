//! An application is made: what it must say, and what it may not.

use serde_json::{Value, json};
use tollhouse::error::Error;
use tollhouse::operations::applications::CreateApplication;
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::Scope;

use super::{FORBIDDEN, PATH, asked, client, enters, make, warden};
use crate::cases::command_line::said;
use crate::oauth::{CALLBACK, Client, create, encoded, is_error, is_hex, user};
use crate::process::{Process, post_form};
use crate::test_server::{M401, Reply, TestServer};

cases![
    t21_names_that_cannot_be_seen,
    app_001_made,
    app_002_a_redirect_uri_without_a_host,
    app_003_a_redirect_uri_that_runs,
    app_004_without_a_name,
    app_005_without_a_redirect_uri,
    app_006_without_scopes,
    app_007_with_blank_scopes,
    app_008_with_unknown_scopes,
    app_009_scopes_in_their_order,
    app_010_confidential_null,
    app_011_made_by_others,
    a_public_one,
    forms_and_queries_too,
    nothing_blank_and_of_the_wrong_kind,
    redirect_uris_as_they_can_be_registered,
    plain_http_is_not_registered_at_an_https_server with "external_url = 'https://git.example.test'",
    plain_http_is_registered_as_the_original with "external_url = 'https://git.example.test'\ncompat.redirect_uri = 'gitlab'",
    plain_http_is_registered_at_a_server_that_is_plain_too,
    plain_http_is_registered_in_a_demo_and_in_a_seed,
    what_is_registered_with_plain_http_goes_on_and_is_marked with "external_url = 'https://git.example.test'",
    what_cannot_be_stored_or_is_too_much,
    t21_names_that_mislead,
    t21_only_administrators_register_their_scopes,
    t21_names_that_deceive_are_refused,
];

fn but(name: &str, value: impl Into<Value>) -> Value {
    let mut body = asked();
    body[name] = value.into();
    body
}

fn without(name: &str) -> Value {
    let mut body = asked();
    body.as_object_mut().expect("an object").remove(name);
    body
}

#[track_caller]
fn field(reply: &Reply, name: &str) -> String {
    reply.has(400).json()["message"][name][0].as_str().unwrap_or_else(|| panic!("{}", reply.body)).to_owned()
}

async fn app_001_made(t: TestServer) {
    let token = warden(&t).await;
    let reply = make(&t, &token, asked()).await;
    let made = client(&t, &reply);
    let known = format!(
        r#"{{"id":{},"application_id":"{}","application_name":"Ferry board","callback_url":"{CALLBACK}","confidential":true,"scopes":["api"],"secret":"{}"}}"#,
        made.id, made.uid, made.secret
    );
    reply.is(201, &known);
    assert!(is_hex(&made.uid) && made.secret.strip_prefix("gloas-").is_some_and(is_hex), "{known}");
    let ada = t.user("ada").await;
    let pair = made.tokens(&ada, "api").await;
    user(&t, &pair.access).await.is_user(&ada);
}

async fn app_002_a_redirect_uri_without_a_host(t: TestServer) {
    let token = warden(&t).await;
    let reply = make(&t, &token, but("redirect_uri", "http://")).await;
    assert_eq!(field(&reply, "redirect_uri"), "must be a valid URI.");
}

async fn app_003_a_redirect_uri_that_runs(t: TestServer) {
    let token = warden(&t).await;
    let reply = make(&t, &token, but("redirect_uri", "javascript://alert()")).await;
    assert_eq!(field(&reply, "redirect_uri"), "is forbidden by the server.");
}

async fn app_004_without_a_name(t: TestServer) {
    let token = warden(&t).await;
    make(&t, &token, without("name")).await.is(400, r#"{"error":"name is missing"}"#);
}

async fn app_005_without_a_redirect_uri(t: TestServer) {
    let token = warden(&t).await;
    make(&t, &token, without("redirect_uri")).await.is(400, r#"{"error":"redirect_uri is missing"}"#);
}

async fn app_006_without_scopes(t: TestServer) {
    let token = warden(&t).await;
    make(&t, &token, without("scopes")).await.is(400, r#"{"error":"scopes is missing, scopes is empty"}"#);
}

async fn app_007_with_blank_scopes(t: TestServer) {
    let token = warden(&t).await;
    make(&t, &token, but("scopes", "")).await.is(400, r#"{"error":"scopes is empty"}"#);
    make(&t, &token, but("scopes", "  ")).await.is(400, r#"{"error":"scopes is empty"}"#);
    make(&t, &token, but("scopes", Value::Null)).await.is(400, r#"{"error":"scopes is empty"}"#);
    let mut in_order = but("confidential", "x");
    in_order["scopes"] = Value::Null;
    make(&t, &token, in_order).await.is(400, r#"{"error":"scopes is empty, confidential is invalid"}"#);
}

async fn app_008_with_unknown_scopes(t: TestServer) {
    let token = warden(&t).await;
    for scopes in ["nope", "api nope", "API", "api,read_user"] {
        let reply = make(&t, &token, but("scopes", scopes)).await;
        assert_eq!(field(&reply, "scopes"), "doesn't match configured on the server.", "{scopes}");
    }
    t.get(PATH).token(&token).await.is(200, "[]");
}

async fn app_009_scopes_in_their_order(t: TestServer) {
    let token = warden(&t).await;
    for scopes in ["api read_user", "read_user api"] {
        let made = client(&t, &make(&t, &token, but("scopes", scopes)).await);
        let reader = &mut t.app.db.read().await.expect("a reader");
        let kept =
            tollhouse_store::oauth_applications::find(reader, made.id).await.expect("a look-up").expect("the row");
        assert_eq!(kept.scopes.to_string(), scopes);
        let reply = made.token("client_credentials", &[("scope", scopes)]).await;
        assert_eq!(reply.has(200).json()["scope"], scopes);
        is_error(&made.token("client_credentials", &[("scope", "read_api")]).await, 400, "invalid_scope");
    }
}

async fn app_010_confidential_null(t: TestServer) {
    let token = warden(&t).await;
    let reply = make(&t, &token, but("confidential", Value::Null)).await;
    assert_eq!(reply.has(201).json()["confidential"], true);
    let made = Client { secret: String::new(), ..client(&t, &reply) };
    is_error(&enters(&made).await, 401, "invalid_client");
}

async fn app_011_made_by_others(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await.token([Scope::Api]).await);
    t.post(PATH).json(asked()).await.is(401, M401);
    make(&t, "unknown", asked()).await.is(401, M401);
    make(&t, &ada, asked()).await.is(403, FORBIDDEN);
    // Who may not ask at all is not told what is wrong with it.
    t.post(PATH).json("{}").await.is(401, M401);
    make(&t, &ada, json!({})).await.is(403, FORBIDDEN);
    t.get(PATH).token(&token).await.is(200, "[]");
}

async fn a_public_one(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    for confidential in [json!(false), json!("false"), json!("0")] {
        let reply = make(&t, &token, but("confidential", confidential)).await;
        assert_eq!(reply.has(201).json()["confidential"], false);
        let made = client(&t, &reply);
        let pair = made.tokens(&ada, "api").await;
        user(&t, &pair.access).await.is_user(&ada);
    }
    make(&t, &token, but("confidential", "perhaps")).await.is(400, r#"{"error":"confidential is invalid"}"#);
    make(&t, &token, but("confidential", json!([]))).await.is(400, r#"{"error":"confidential is invalid"}"#);
}

async fn forms_and_queries_too(t: TestServer) {
    let token = warden(&t).await;
    let pairs = encoded(&[("name", "Ferry board"), ("redirect_uri", CALLBACK), ("scopes", "api")]);
    let replies = [
        t.post(PATH).token(&token).form(&pairs).await,
        t.post(&format!("{PATH}?{pairs}")).token(&token).await,
        t.post(&format!("{PATH}?{pairs}")).token(&token).json("{}").await,
    ];
    for reply in &replies {
        enters(&client(&t, reply)).await.has(200);
    }
    let twice = t.post(PATH).token(&token).form(&format!("name=Mist&{pairs}")).await;
    assert_eq!(twice.has(201).json()["application_name"], "Ferry board", "the last one counts, as everywhere");
    let both = t.post(&format!("{PATH}?{pairs}")).token(&token).json(json!({"name": "Mist"})).await;
    assert_eq!(both.has(201).json()["application_name"], "Mist", "the body wins");
}

async fn nothing_blank_and_of_the_wrong_kind(t: TestServer) {
    let token = warden(&t).await;
    let nothing = r#"{"error":"name is missing, redirect_uri is missing, scopes is missing, scopes is empty"}"#;
    t.post(PATH).token(&token).await.is(400, nothing);
    t.post(PATH).token(&token).form("").await.is(400, nothing);
    for body in ["{}", "[]", "5", "null", "\"name\""] {
        t.post(PATH).token(&token).json(body).await.is(400, nothing);
    }
    for broken in ["{", "{\"name\":}", "\u{feff}"] {
        t.post(PATH).token(&token).json(broken).await.has(400);
    }
    for name in ["name", "redirect_uri", "scopes"] {
        make(&t, &token, but(name, "")).await.has(400);
        make(&t, &token, but(name, " ")).await.has(400);
        make(&t, &token, but(name, Value::Null)).await.has(400);
        let invalid = |reply: &Reply| {
            let error = reply.has(400).json()["error"].as_str().expect("an error").to_owned();
            assert!(error.starts_with(&format!("{name} is invalid")), "{error}");
        };
        for wrong in [json!(["api"]), json!([]), json!({"a": "api"}), json!({})] {
            invalid(&make(&t, &token, but(name, wrong)).await);
        }
        let form =
            encoded(&[("name", "x"), ("redirect_uri", CALLBACK), ("scopes", "api"), (&format!("{name}[]"), "x")]);
        invalid(&t.post(PATH).token(&token).form(&form).await);
    }
    make(&t, &token, but("redirect_uri", 5)).await.has(400);
    make(&t, &token, but("scopes", true)).await.has(400);
    t.post(PATH).token(&token).body("text/plain", "name=x").await.has(415);
    t.get(PATH).token(&token).await.is(200, "[]");
}

async fn redirect_uris_as_they_can_be_registered(t: TestServer) {
    let token = warden(&t).await;
    for (bad, text) in [
        ("", "can't be blank"),
        ("\n", "can't be blank"),
        ("https://", "must be a valid URI."),
        ("/callback", "must be an absolute URI."),
        ("//app.example.test/cb", "must be an absolute URI."),
        ("localhost:1234/cb", "must specify a scheme."),
        ("https://app.example.test/cb#there", "cannot contain a fragment."),
        ("JavaScript:alert(1)", "is forbidden by the server."),
        ("data:text/html,x", "is forbidden by the server."),
        ("vbscript:x", "is forbidden by the server."),
        ("https://ada@app.example.test/cb", "must be a valid URI."),
        ("https://app.example.test\\@evil.test/", "must be a valid URI."),
        ("https://app.example.test/\u{202e}cb", "must be a valid URI."),
        ("https://app.example.test/a/../cb", "must be a valid URI."),
        ("https://app.example.test/cb%00", "must be a valid URI."),
        ("https://app.example.test/cb?code=1", "must be a valid URI."),
        ("https://app.example.test/cb\njavascript:alert(1)", "is forbidden by the server."),
    ] {
        let reply = make(&t, &token, but("redirect_uri", bad)).await;
        assert_eq!(field(&reply, "redirect_uri"), text, "{bad:?}");
    }
    t.get(PATH).token(&token).await.is(200, "[]");
    for good in [
        "http://localhost:7171/auth/redirect",
        "http://127.0.0.1/cb",
        "http://[::1]/cb",
        "myapp://cb",
        "https://app.example.test/cb?tenant=1",
        "urn:ietf:wg:oauth:2.0:oob",
        "https://app.example.test/cb\nmyapp://cb",
    ] {
        let reply = make(&t, &token, but("redirect_uri", good)).await;
        assert_eq!(reply.has(201).json()["callback_url"], good);
    }
}

const PLAIN: [&str; 5] = [
    "http://app.example.test/cb",
    "HTTP://app.example.test/cb",
    "http://10.0.0.1/cb",
    "http://localhost.evil.test/cb",
    "https://app.example.test/cb http://app.example.test/cb",
];

async fn plain_http_is_not_registered_at_an_https_server(t: TestServer) {
    let token = warden(&t).await;
    for uri in PLAIN {
        let refused = make(&t, &token, but("redirect_uri", uri)).await;
        assert_eq!(field(&refused, "redirect_uri"), "must be an HTTPS/SSL URI.", "{uri}");
    }
    for uri in
        ["http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:7171/auth/redirect", "myapp://cb", CALLBACK]
    {
        make(&t, &token, but("redirect_uri", uri)).await.has(201);
    }
    let mut words = vec!["application", "create", "--name", "x", "--scopes", "api", "--redirect-uri"];
    words.push("http://app.example.test/cb");
    let mut https = t.command(&words);
    https.env("TOLLHOUSE_EXTERNAL_URL", "https://git.example.test");
    let told = said(https, b"").await;
    let shown = "redirect_uri \"http://app.example.test/cb\" must be an HTTPS/SSL URI, ";
    assert!(told.refused(1).starts_with(shown), "{told:?}");
    assert_eq!(t.count("application.created").await, 5);
}

async fn plain_http_is_registered_as_the_original(t: TestServer) {
    let token = warden(&t).await;
    for uri in PLAIN {
        make(&t, &token, but("redirect_uri", uri)).await.has(201);
    }
}

async fn plain_http_is_registered_at_a_server_that_is_plain_too(t: TestServer) {
    plain_http_is_registered_as_the_original(t).await;
}

async fn plain_http_is_registered_in_a_demo_and_in_a_seed(t: TestServer) {
    let seed = t.folder.path().join("seed.toml");
    let text = "[[user]]\nusername = 'warden'\nadmin = true\n[[token]]\nuser = 'warden'\nname = 'all'\n\
                scopes = ['api']\ntoken = 'glpat-warden-api'\n[[application]]\nname = 'Ferry board'\n\
                redirect_uris = ['http://app.example.test/cb']\nscopes = ['api']\n";
    std::fs::write(&seed, text).expect("a file");
    let seed = seed.display().to_string();
    let under_https = ["--external-url", "https://git.example.test"];
    for flags in [&under_https[..], &[&under_https[..], &["--seed", &seed]].concat()] {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port");
        let (server, facts) = Process::demo_at(t.folder.path(), &free.to_string(), flags).await;
        let token = facts["admin_token"].as_str().unwrap_or("glpat-warden-api");
        let form = format!("private_token={token}&name=x&scopes=api&redirect_uri=http://other.example.test/cb");
        let made = post_form(server.address, "/api/v4/applications", &form).await.expect("an answer");
        assert_eq!(made.0, 201, "{}", made.1);
        assert_eq!(server.terminate().await, Some(0));
    }
}

async fn what_is_registered_with_plain_http_goes_on_and_is_marked(t: TestServer) {
    const OLD: &str = "http://app.example.test/cb";
    // As it was before the server was https.
    let uris = format!("{CALLBACK}\n{OLD}");
    let client = t.client_with(CreateApplication { redirect_uri: uris, plain_http: true, ..create("api") }).await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("redirect_uri", Some(OLD))]).host("git.example.test").await;
    let location = reply.has(302).header("location").expect("a Location").to_owned();
    let code = location.strip_prefix(&format!("{OLD}?code=")).expect("a code").split('&').next().expect("a code");
    crate::oauth::tokens(&client.token("authorization_code", &[("code", code), ("redirect_uri", OLD)]).await);
    let list = |json: bool, url: &str| {
        let mut command = t.command(if json { &["application", "list", "--json"] } else { &["application", "list"] });
        command.env("TOLLHOUSE_EXTERNAL_URL", url);
        said(command, b"")
    };
    let marked = format!("{CALLBACK},{OLD} (plain http)");
    assert!(list(false, "https://git.example.test").await.done().contains(&marked));
    assert_eq!(list(true, "https://git.example.test").await.json()[0]["plain_http"], true);
    assert!(!list(false, "http://git.example.test").await.done().contains("plain http"));
    assert_eq!(list(true, "http://git.example.test").await.json()[0]["plain_http"], Value::Null);
}

async fn what_cannot_be_stored_or_is_too_much(t: TestServer) {
    let token = warden(&t).await;
    for name in ["name", "redirect_uri", "scopes"] {
        make(&t, &token, but(name, "a\0b")).await.is(400, "Bad Request");
        for broken in ["%00", "%ff", "%c3%28"] {
            t.post(PATH).token(&token).form(&format!("{name}={broken}")).await.is(400, "Bad Request");
            t.post(&format!("{PATH}?{name}={broken}")).token(&token).await.is(400, "Bad Request");
        }
        make(&t, &token, but(name, "x".repeat(1 << 20))).await.has(413);
        make(&t, &token, but(name, "x".repeat(900_000))).await.has(400);
    }
    t.post(PATH).token(&token).body("application/json", b"{\"name\":\"\xff\"}".to_vec()).await.has(400);
    make(&t, &token, but("name", "x".repeat(256))).await.has(400);
    make(&t, &token, but("redirect_uri", format!("https://app.example.test/{}", "x".repeat(9_000)))).await.has(400);
    let words = "nope ".repeat(100_000);
    assert_eq!(
        field(&make(&t, &token, but("scopes", words)).await, "scopes"),
        "doesn't match configured on the server."
    );
    let many: String = (0..5_000).map(|i| format!("a{i}=&")).collect();
    t.post(PATH).token(&token).form(&many).await.has(400);
    t.get(PATH).token(&token).await.is(200, "[]");
    let twice = client(&t, &make(&t, &token, but("scopes", "api api  api")).await);
    enters(&twice).await.has(200);
}

async fn t21_names_that_mislead(t: TestServer) {
    let token = warden(&t).await;
    for name in
        ["Ferry\u{202e}draob", "Ferry\nboard", "Ferry\tboard", "\u{1b}[31m", "a\u{2066}b", "\u{200f}", "a\u{7f}"]
    {
        let reply = make(&t, &token, but("name", name)).await;
        assert!(!field(&reply, "name").is_empty());
    }
    for name in ["F\u{e4}hre \u{2014} Tafel", "<b>Ferry</b>", "\u{8239}"] {
        assert_eq!(make(&t, &token, but("name", name)).await.has(201).json()["application_name"], name);
    }
}

async fn t21_names_that_cannot_be_seen(t: TestServer) {
    let admin = t.admin().await.token([Scope::Api]).await;
    for name in ["\u{200b}", "\u{feff}", "Ferry\u{ad} board", "\u{3164}", "Ferry\u{e0041}", "\u{2060}x"] {
        let new = json!({ "name": name, "redirect_uri": CALLBACK, "scopes": "api" });
        let reply = t.post("/api/v4/applications").token(&admin).json(new).await;
        assert!(reply.has(400).json()["message"]["name"].is_array(), "{name:?}");
    }
    // Scripts and pictures need joiners.
    let new = json!({ "name": "\u{1f468}\u{200d}\u{1f467} \u{646}\u{645}\u{6cc}\u{200c}", "redirect_uri": CALLBACK, "scopes": "api" });
    t.post("/api/v4/applications").token(&admin).json(new).await.has(201);
}

async fn t21_only_administrators_register_their_scopes(t: TestServer) {
    let (warden, ada) = (t.admin().await, t.user("ada").await);
    let (hers, his) = (ada.token([Scope::Api]).await, warden.token([Scope::Api]).await);
    let session = warden.session().await;
    for scopes in ["sudo", "api admin_mode", "read_service_ping"] {
        let body = json!({ "name": "Ferry board", "redirect_uri": CALLBACK, "scopes": scopes });
        t.post("/api/v4/applications").token(&hers).json(&body).await.has(403);
        // With a credential that could use them.
        t.post("/api/v4/applications").token(&his).json(&body).await.has(400);
        let by_session = t.post("/api/v4/applications").session(&session).with("x-csrf-token", &session.csrf());
        by_session.json(&body).await.has(201);
    }
}

async fn t21_names_that_deceive_are_refused(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    for name in [
        "Ferry\nboard",
        "Ferry\tboard",
        "Ferry\u{1b}[31m",
        "Ferry\u{85}",
        "Ferry \u{202e}draob",
        "Ferry\u{200f}",
        "\u{2066}Ferry\u{2069}",
        "Ferry\u{2028}board",
    ] {
        let refused = t.app.perform(CreateApplication { name: name.to_owned(), ..create("api") }, &By::system()).await;
        let Err(Error::Refused(Refusal::Invalid(faults))) = refused else { panic!("{name:?} was registered") };
        assert!(faults.iter().all(|fault| fault.0 == "name"), "{name:?}");
        let body = json!({ "name": name, "redirect_uri": CALLBACK, "scopes": "api" });
        let reply = t.post("/api/v4/applications").token(&token).json(body).await;
        assert!(reply.has(400).json()["message"]["name"].is_array(), "{name:?}: {}", reply.body);
    }
    t.get("/api/v4/applications").token(&token).await.is(200, "[]");
    t.client_with(CreateApplication { name: "F\u{e4}hre \u{6e21}\u{3057} \u{645}".to_owned(), ..create("api") }).await;
}

//! Whoever shows only invented credentials takes no write transaction (T29): on SQLite all writers wait for each other.

use std::time::Duration;

use tollhouse::params::ParamType;
use tollhouse::routes::table;

use tollhouse_store::tx::Tx;

use crate::oauth::{CALLBACK, Client, VERIFIER, ask, tokens};
use crate::test_server::{Ask, Session, TestServer};

cases![
    t29_an_invented_credential_begins_no_write with "ledger.entries = 0\ngateway.peers = ['127.0.0.1']",
    t29_an_invented_credential_begins_no_write_as_the_original with "compat.all = 'gitlab'\nledger.entries = 0\ngateway.peers = ['127.0.0.1']",
    t29_an_invented_credential_waits_for_no_writer with "gateway.peers = ['127.0.0.1']",
    t29_what_is_known_and_refused_begins_no_write with "ledger.entries = 0",
];

/// Nobody was given it.
const INVENTED: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A name for failures, a status, and a request.
type Garbage = (String, u16, Ask);

/// What is refused or answered to a caller who knows nothing but the public `client_id`.
fn garbage(t: &TestServer, public: &Client, confidential: &Client) -> Vec<Garbage> {
    let mut all = Vec::new();
    let wrong = Client { secret: INVENTED.to_owned(), ..confidential.clone() };
    let nobody = Client { uid: INVENTED.to_owned(), ..wrong.clone() };
    let code = [("code", INVENTED), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    let refresh = [("refresh_token", INVENTED)];
    // An unknown refresh token is told before the client is looked at.
    for (name, client, status) in [("public", public, 400), ("wrong secret", &wrong, 401), ("unknown", &nobody, 401)] {
        let mut add = |what: &str, status: u16, ask: Ask| all.push((format!("{what}, client {name}"), status, ask));
        add("code", status, client.token("authorization_code", &code));
        add("code without a verifier", status, client.token("authorization_code", &code[..2]));
        add("refresh token", 400, client.token("refresh_token", &refresh));
        add("for itself", 401, client.token("client_credentials", &[]));
        let shown =
            [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str()), ("token", INVENTED)];
        let shown = if client.confidential { &shown[..] } else { &[shown[0], shown[2]] };
        add("revocation", 200, t.post("/oauth/revoke").form(&crate::oauth::encoded(shown)));
        let told = if client.confidential { 401 } else { 200 };
        add("introspection", told, t.post("/oauth/introspect").form(&crate::oauth::encoded(shown)));
    }
    let mut add = |what: &str, status: u16, ask: Ask| all.push((what.to_owned(), status, ask));
    add("revocation by nobody", 200, ask_at(t, "/oauth/revoke", &[("token", INVENTED)]));
    add("refresh by nobody", 400, ask(t, &[("grant_type", "refresh_token"), ("refresh_token", INVENTED)]));
    add("introspection by a token", 400, ask_at(t, "/oauth/introspect", &[("token", INVENTED)]).bearer(INVENTED));
    add("userinfo", 401, t.get("/oauth/userinfo").bearer(INVENTED));
    add("token info", 401, t.get("/oauth/token/info").bearer(INVENTED));
    let session = Session { cookie: INVENTED[..32].to_owned() };
    add("sign-out", 302, t.post("/users/sign_out").session(&session).form(""));
    let many: Vec<String> = (0..9).map(|i| format!("_gitlab_session={i:032x}")).collect();
    add("sign-out with many cookies", 302, t.post("/users/sign_out").with("cookie", &many.join("; ")).form(""));
    let rotate = "/api/v4/personal_access_tokens/self/rotate";
    add("rotation", 401, t.post(rotate).token(INVENTED));
    add("revocation of itself", 401, t.delete("/api/v4/personal_access_tokens/self").token(INVENTED));
    let question = [("method", "GET"), ("proto", "http"), ("host", "127.0.0.1:8080"), ("uri", "/x")];
    let gate =
        || question.iter().fold(t.get("/-/auth"), |ask, (name, value)| ask.with(&format!("x-original-{name}"), value));
    add("gateway", 401, gate().token(INVENTED));
    add("gateway with a session", 401, gate().session(&session));
    all
}

/// As a server is after its start: it has its keys, and rules for a gateway.
async fn ready(t: &TestServer) {
    let rules = "[[rule]]\nname = 'all'\nhost = ['127.0.0.1']\npath = '/*'\n";
    t.app.gateway.replace(rules, "rules.toml", &t.app.db).await.expect("rules");
    t.app.keys().await.expect("keys");
}

fn ask_at(t: &TestServer, target: &str, pairs: &[(&str, &str)]) -> Ask {
    t.post(target).form(&crate::oauth::encoded(pairs))
}

async fn t29_an_invented_credential_begins_no_write(t: TestServer) {
    begins_no_write(t).await;
}

async fn t29_an_invented_credential_begins_no_write_as_the_original(t: TestServer) {
    begins_no_write(t).await;
}

async fn begins_no_write(t: TestServer) {
    let (public, confidential) = (t.public_client("api").await, t.client("api").await);
    let ada = t.user("ada").await;
    ready(&t).await;
    let before = t.app.db.begun();
    for (name, status, ask) in garbage(&t, &public, &confidential) {
        let reply = ask.await;
        assert_eq!(reply.status.as_u16(), status, "{name}: {}", reply.body);
        assert_eq!(t.app.db.begun(), before, "{name}");
    }
    // Every route there is, with every kind of credential.
    for route in table() {
        let path = route.example(|kind| match kind {
            ParamType::Integer => "1".to_owned(),
            _ => "team%2Fapp".to_owned(),
        });
        let session = Session { cookie: INVENTED[..32].to_owned() };
        let ask = || t.ask(route.method.clone(), &path.replace("{name}", "style.css"));
        let form = format!("code={INVENTED}&refresh_token={INVENTED}&token={INVENTED}&private_token={INVENTED}");
        for (name, ask) in [
            ("nothing", ask()),
            ("a token", ask().token(INVENTED)),
            ("a bearer", ask().bearer(INVENTED)),
            ("a session", ask().session(&session)),
            ("a session and its CSRF token", ask().session(&session).with("x-csrf-token", &session.csrf())),
            ("basic", ask().with("authorization", &crate::oauth::basic(INVENTED, INVENTED))),
            ("a form", ask().form(&form)),
        ] {
            // An empty name with an empty password is a wrong password, which is counted (T14).
            if (route.path, name) == ("/users/sign_in", "a session and its CSRF token") {
                continue;
            }
            let reply = ask.await;
            assert!(!reply.status.is_server_error(), "{} {} with {name}", route.method, route.path);
            assert_eq!(t.app.db.begun(), before, "{} {} with {name}", route.method, route.path);
        }
    }
    tokens(&confidential.redeem(&confidential.code(&ada, "api").await).await);
    assert!(t.app.db.begun() > before, "what is counted are transactions");
}

async fn t29_an_invented_credential_waits_for_no_writer(t: TestServer) {
    let (public, confidential) = (t.public_client("api").await, t.client("api").await);
    let ada = t.user("ada").await;
    let code = confidential.code(&ada, "api").await;
    ready(&t).await;
    let held = hold(&t).await;
    for (name, status, ask) in garbage(&t, &public, &confidential) {
        let reply = tokio::time::timeout(AT_ONCE, ask.send()).await.unwrap_or_else(|_| panic!("{name} waits"));
        assert_eq!(reply.status.as_u16(), status, "{name}: {}", reply.body);
    }
    let redeemed = confidential.redeem(&code).send();
    tokio::pin!(redeemed);
    assert!(tokio::time::timeout(Duration::from_millis(300), &mut redeemed).await.is_err(), "an honest write waits");
    drop(held);
    tokens(&redeemed.await);
}

/// Every connection that may write, in a transaction.
async fn hold(t: &TestServer) -> Vec<Tx> {
    let mut held = Vec::new();
    let most = if t.app.db.is_postgres() { 6 } else { 1 };
    while held.len() < most {
        held.push(t.app.db.begin().await.expect("a transaction"));
    }
    held
}

/// Far less than the five seconds for which a writer is waited for; far more than a read takes.
const AT_ONCE: Duration = Duration::from_secs(2);

async fn t29_what_is_known_and_refused_begins_no_write(t: TestServer) {
    let (client, other, ada) = (t.client("api").await, t.client("api").await, t.user("ada").await);
    let (code, expired) = (client.code(&ada, "api").await, client.code(&ada, "api").await);
    let given = client.tokens(&ada, "api").await;
    ready(&t).await;
    let before = t.app.db.begun();
    let unknown = client.redeem(INVENTED).await;
    let others = other.redeem(&code).await;
    let (body, names): (_, Vec<_>) = (unknown.has(400).body.as_str(), unknown.headers.keys().collect());
    assert_eq!(others.is(400, body).headers.keys().collect::<Vec<_>>(), names, "nothing tells them apart");
    let elsewhere = [("code", code.as_str()), ("redirect_uri", "https://app.example.test/other")];
    client.token("authorization_code", &elsewhere).await.has(400);
    other.refresh(&given.refresh).await.has(400);
    assert_eq!(t.app.db.begun(), before);
    let redeemed = tokens(&client.redeem(&code).await);
    let before = t.app.db.begun();
    client.redeem(&code).await.has(400);
    assert_eq!(t.app.db.begun(), before, "within two minutes a repeat ends nothing");
    t.later(601);
    client.redeem(&expired).await.has(400);
    assert_eq!(t.app.db.begun(), before);
    // What is presented once more still ends what grew from it.
    client.redeem(&code).await.has(400);
    client.refresh(&redeemed.refresh).await.has(400);
    assert_eq!(t.count("code.reuse_detected").await, 1);
}

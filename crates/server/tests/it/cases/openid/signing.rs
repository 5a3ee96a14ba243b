//! Keys, what is signed with them, and how they are kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tollhouse::app::App;
use tollhouse::config::Settings;
use tollhouse::http_service::HttpService;
use tollhouse::keys::Seal;
use tollhouse::routes::table;
use tollhouse::urls::Urls;
use tollhouse_domain::secret::Digest;
use tollhouse_store::db::Db;

use super::{INVALID, KEYS, USERINFO, member, refused, userinfo};
use crate::oauth::{Client, Tokens, decoded, encoded, is_error, parts, tokens};
use crate::test_server::{M401, Person, TestServer};

cases![
    oauth_085_keys_for_every_origin,
    oauth_125_keys,
    an_id_token_is_signed_by_the_key_it_names,
    keys_outlive_a_restart,
    what_is_signed_opens_nothing,
    forged_tokens_open_nothing,
    t23_no_private_key_stands_in_the_clear,
    t23_a_wrong_secret_stops_the_start,
    t23_two_secrets_while_they_change,
];

/// With everything that came along.
async fn redeemed(client: &Client, person: &Person) -> (Tokens, String) {
    let code = client.code(person, "openid").await;
    let reply = client.redeem(&code).await;
    let id_token = reply.has(200).json()["id_token"].as_str().expect("an id_token").to_owned();
    (tokens(&reply), id_token)
}

async fn keys(t: &TestServer) -> Vec<Value> {
    t.get(KEYS).await.has(200).json()["keys"].as_array().expect("a list").clone()
}

fn verifies(jwt: &str, key: &Value) -> bool {
    let [header, claims, signature] = parts(jwt);
    let public = RsaPublicKeyComponents { n: decoded(member(key, "n")), e: decoded(member(key, "e")) };
    let message = format!("{header}.{claims}");
    public.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &decoded(signature)).is_ok()
}

/// RFC 7638: the members that matter, in the order of their names.
fn thumbprint(key: &Value) -> String {
    let text = format!(r#"{{"e":{},"kty":{},"n":{}}}"#, key["e"], key["kty"], key["n"]);
    BASE64URL_NOPAD.encode(&Digest::of(text.as_bytes()).0)
}

async fn oauth_085_keys_for_every_origin(t: TestServer) {
    let reply = t.get(KEYS).with("origin", "https://elsewhere.example.test").await;
    assert_eq!(reply.has(200).header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(reply.header("access-control-allow-headers"), None);
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

async fn oauth_125_keys(t: TestServer) {
    let reply = t.get(KEYS).await;
    let caching = "max-age=86400, public, must-revalidate, no-transform";
    assert_eq!(reply.has(200).header("cache-control"), Some(caching));
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("application/json")));
    let keys = keys(&t).await;
    assert!(!keys.is_empty());
    for key in &keys {
        let names: Vec<&String> = key.as_object().expect("an object").keys().collect();
        assert_eq!(names, ["alg", "e", "kid", "kty", "n", "use"], "nothing private");
        assert_eq!((member(key, "kty"), member(key, "use"), member(key, "alg")), ("RSA", "sig", "RS256"));
        assert_eq!(member(key, "e"), "AQAB");
        let n = decoded(member(key, "n"));
        assert!(n.len() >= 256 && n[0] != 0, "2048 bits or more, and no zero before them");
        assert_eq!(member(key, "kid"), thumbprint(key));
    }
}

async fn an_id_token_is_signed_by_the_key_it_names(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("openid").await);
    let (pair, id_token) = redeemed(&client, &ada).await;
    let refreshed = client.refresh(&pair.refresh).await.has(200).json();
    let keys = keys(&t).await;
    for jwt in [id_token.as_str(), member(&refreshed, "id_token")] {
        let [header, claims, signature] = parts(jwt);
        let head: Value = serde_json::from_slice(&decoded(header)).expect("JSON");
        let key = keys.iter().find(|key| key["kid"] == head["kid"]).expect("the key");
        assert_eq!(head, json!({"typ": "JWT", "kid": thumbprint(key), "alg": "RS256"}));
        assert!(verifies(jwt, key));
        let mut other: Value = serde_json::from_slice(&decoded(claims)).expect("JSON");
        other["sub"] = json!("1000");
        let altered = format!("{header}.{}.{signature}", BASE64URL_NOPAD.encode(other.to_string().as_bytes()));
        assert!(!verifies(&altered, key));
    }
}

async fn keys_outlive_a_restart(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("openid").await);
    let (before, (pair, id_token)) = (keys(&t).await, redeemed(&client, &ada).await);
    let legacy = userinfo(&t, &pair.access).await.has(200).json()["sub_legacy"].clone();
    let again = t.reopened("").await;
    assert_eq!(keys(&again).await, before);
    assert!(before.iter().any(|key| verifies(&id_token, key)));
    assert_eq!(userinfo(&again, &pair.access).await.has(200).json()["sub_legacy"], legacy);
    again.leave().await;
}

/// Wherever a token may stand.
async fn opens_nothing(t: &TestServer, client: &Client, token: &str) {
    t.get("/api/v4/user").bearer(token).await.is(401, M401);
    t.get("/api/v4/user").token(token).await.is(401, M401);
    t.get("/api/v4/groups").bearer(token).await.is(401, M401);
    for name in ["access_token", "bearer_token", "private_token"] {
        t.get(&format!("/api/v4/user?{name}={token}")).await.is(401, M401);
    }
    t.get("/api/v4/user").with("cookie", &format!("_gitlab_session={token}")).await.is(401, M401);
    refused(&userinfo(t, token).await, INVALID);
    refused(&t.get(&format!("{USERINFO}?access_token={token}")).await, INVALID);
    t.get("/oauth/token/info").bearer(token).await.has(401);
    let form = encoded(&[("token", token)]);
    is_error(&t.post("/oauth/introspect").form(&form).bearer(token).await, 400, "invalid_request");
    is_error(&client.redeem(token).await, 400, "invalid_grant");
    let secret = Client { secret: token.to_owned(), ..client.clone() };
    is_error(&secret.token("client_credentials", &[]).await, 401, "invalid_client");
}

async fn what_is_signed_opens_nothing(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("openid api").await);
    let (pair, id_token) = redeemed(&client, &ada).await;
    opens_nothing(&t, &client, &id_token).await;
    is_error(&client.refresh(&id_token).await, 400, "invalid_grant");
    let form = encoded(&[("token", &id_token)]);
    let introspected = t.post("/oauth/introspect").form(&form).with("authorization", &client.basic()).await;
    introspected.is(200, r#"{"active":false}"#);
    // A refresh token is no access token either.
    opens_nothing(&t, &client, &pair.refresh).await;
    userinfo(&t, &pair.access).await.has(200);
    tokens(&client.refresh(&pair.refresh).await);
}

async fn forged_tokens_open_nothing(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("openid api").await);
    let (pair, id_token) = redeemed(&client, &ada).await;
    let [_, claims, signature] = parts(&id_token);
    let key = keys(&t).await.remove(0);
    let header = |alg: &str| {
        let header = json!({"typ": "JWT", "kid": key["kid"], "alg": alg});
        BASE64URL_NOPAD.encode(header.to_string().as_bytes())
    };
    let mut forged = vec![format!("{}.{claims}.", header("none")), format!("{}.{claims}.{signature}", header("none"))];
    for secret in [decoded(member(&key, "n")), member(&key, "n").into(), key.to_string().into_bytes(), b"x".to_vec()] {
        let message = format!("{}.{claims}", header("HS256"));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), message.as_bytes());
        forged.push(format!("{message}.{}", BASE64URL_NOPAD.encode(tag.as_ref())));
    }
    for token in &forged {
        opens_nothing(&t, &client, token).await;
        is_error(&client.refresh(token).await, 400, "invalid_grant");
        let form = encoded(&[("token", token)]);
        let introspected = t.post("/oauth/introspect").form(&form).with("authorization", &client.basic()).await;
        introspected.is(200, r#"{"active":false}"#);
    }
    userinfo(&t, &pair.access).await.has(200);
}

async fn t23_no_private_key_stands_in_the_clear(t: TestServer) {
    let again = sealed(&t, &secret("11")).await;
    // Every form of a private key holds the public one: as bytes, in hexadecimal, in base64 at one of three offsets.
    let mut needles = vec![b"PRIVATE KEY".to_vec()];
    for key in keys(&again).await {
        let n = decoded(member(&key, "n"));
        needles.push(n[..64].to_vec());
        needles.push(data_encoding::HEXLOWER.encode(&n[..64]).into_bytes());
        for offset in 0..3 {
            let text = data_encoding::BASE64.encode(&n[offset..offset + 63]);
            needles.push(text.replace('+', "-").replace('/', "_").into_bytes());
            needles.push(text.into_bytes());
        }
    }
    let mut reader = again.app.db.read().await.expect("a reader");
    let kept = tollhouse_store::sealed_keys::all(&mut reader).await.expect("the keys");
    drop(reader);
    assert!(!kept.is_empty());
    let mut places: Vec<Vec<u8>> = kept.into_iter().map(|key| key.sealed).collect();
    if !t.app.db.is_postgres() {
        for name in ["tollhouse.db", "tollhouse.db-wal"] {
            places.extend(std::fs::read(t.folder.path().join(name)));
        }
        assert!(places.iter().any(|place| place.starts_with(b"SQLite format 3")), "the file was looked into");
    }
    for place in &places {
        for needle in &needles {
            assert!(!place.windows(needle.len()).any(|window| window == needle.as_slice()));
        }
    }
    again.leave().await;
}

fn secret(byte: &str) -> String {
    byte.repeat(32)
}

/// The program, started once more on this database with a file of these secrets. `None`: it refuses.
async fn start(t: &TestServer, lines: &[&str]) -> Option<TestServer> {
    let file = t.folder.path().join("secrets-of-a-test");
    let settings = Settings::with(&naming(t, &file, lines, 0o600)).expect("settings");
    let urls = Urls::new(&settings.external_url, &settings.external_hosts, settings.listen, true).expect("own names");
    let seal = Seal::of(&settings, None, &[]).ok()?;
    let db = Db::open(&t.url(), 0).await.expect("a database");
    let Ok(app) = App::new(db.clone(), settings, urls, t.clock.clone(), seal).await else {
        db.close().await;
        return None;
    };
    let mut again = t.clone();
    again.service = Arc::new(HttpService::new(app.clone(), table()));
    again.app = app;
    Some(again)
}

/// Settings that name a file of these lines.
fn naming(t: &TestServer, file: &Path, lines: &[&str], mode: u32) -> String {
    std::fs::write(file, format!("{}\n", lines.join("\n"))).expect("a file");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
    format!("data_dir = '{}'\nsecret_key_file = '{}'", t.folder.path().display(), file.display())
}

async fn starts(t: &TestServer, lines: &[&str]) -> bool {
    let again = start(t, lines).await;
    if let Some(again) = &again {
        again.leave().await;
    }
    again.is_some()
}

/// Started under this secret, whatever the keys of the test server were sealed under before.
async fn sealed(t: &TestServer, secret: &str) -> TestServer {
    let named = Some(t.app.settings.secret_key_file.clone()).filter(|file| !file.as_os_str().is_empty());
    let mut beside = std::fs::read_dir(t.folder.path()).expect("a folder").map(|file| file.expect("a file").path());
    let file = named.or_else(|| beside.find(|file| file.extension().is_some_and(|end| end == "key")));
    let old = file.map(|file| std::fs::read_to_string(file).expect("text"));
    let lines: Vec<&str> = std::iter::once(secret).chain(old.as_deref().map(str::trim)).collect();
    let again = start(t, &lines).await.expect("both count");
    assert!(!keys(&again).await.is_empty());
    again
}

async fn t23_a_wrong_secret_stops_the_start(t: TestServer) {
    let (own, other, third) = (secret("11"), secret("5a"), secret("a5"));
    let again = sealed(&t, &own).await;
    let before = keys(&again).await;
    again.leave().await;
    let (longer, altered) = (format!("{own}00"), format!("{}0", &own[..63]));
    let wrong: [&[&str]; 7] =
        [&[&other], &[&altered], &[&own[..63]], &[&longer], &["nonsense"], &[&other, &third], &[]];
    for lines in wrong {
        assert!(!starts(&t, lines).await, "{lines:?}");
    }
    let file = t.folder.path().join("open-to-all");
    let settings = Settings::with(&naming(&t, &file, &[&own], 0o644)).expect("settings");
    assert!(Seal::of(&settings, None, &[]).is_err(), "others of this machine could read it");
    let again = start(&t, &[&own]).await.expect("the right one");
    assert_eq!(keys(&again).await, before, "nothing was lost by trying");
    again.leave().await;
}

async fn t23_two_secrets_while_they_change(t: TestServer) {
    let (old, new) = (secret("11"), secret("5a"));
    let again = sealed(&t, &old).await;
    let before = keys(&again).await;
    again.leave().await;
    assert!(starts(&t, &[&old, &new]).await, "too early is not wrong");
    assert!(starts(&t, &[&old]).await);
    let again = start(&t, &[&new, &old]).await.expect("both count");
    assert_eq!(keys(&again).await, before, "the same keys, under another seal");
    let (ada, client) = (again.user("ada").await, again.client("openid").await);
    let (_, id_token) = redeemed(&client, &ada).await;
    assert!(before.iter().any(|key| verifies(&id_token, key)));
    again.leave().await;
    assert!(starts(&t, &[&new]).await, "the new one does alone");
    assert!(!starts(&t, &[&old]).await, "the old one no longer");
}

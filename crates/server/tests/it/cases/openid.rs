//! OpenID Connect: userinfo, discovery, keys, and what is signed with them (oauth.md sections 9 and 10).

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use axum::http::Method;
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};
use tollhouse::app::App;
use tollhouse::config::Settings;
use tollhouse::keys::Seal;
use tollhouse::operations::users::{Confirm, SetState};
use tollhouse::road::Road;
use tollhouse::router;
use tollhouse::urls::Urls;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Digest;
use tollhouse_store::db::Db;
use tollhouse_store::members::Of;

use crate::oauth::{Client, Tokens, encoded, is_error, sent_back, tokens};
use crate::town::{Ask, M401, Person, Reply, Town};

cases![
    oauth_076_userinfo_without_its_scope,
    oauth_081_groups,
    oauth_083_claims_of_userinfo,
    oauth_085_keys_for_every_origin,
    oauth_087_discovery,
    oauth_088_userinfo_for_every_origin,
    oauth_092_userinfo_without_a_token,
    oauth_093_userinfo_with_three_parts_of_nothing,
    oauth_125_keys,
    oauth_139_both_names_of_one_document,
    groups_by_way_of_groups_above,
    userinfo_looks_in_three_places,
    userinfo_of_dead_tokens,
    userinfo_of_who_is_blocked,
    userinfo_of_nobody,
    discovery_lists_what_works with "oauth.password_grant = false",
    discovery_under_another_name with "external_url = 'https://git.example.test'",
    an_id_token_is_signed_by_the_key_it_names,
    keys_outlive_a_restart,
    what_is_signed_opens_nothing,
    forged_tokens_open_nothing,
    t12_no_document_under_another_name,
    t22_only_confirmed_addresses_are_told with "accounts.confirmation_required = false",
    t23_no_private_key_stands_in_the_clear,
    t23_a_wrong_secret_stops_the_start,
    t23_two_secrets_while_they_change,
];

const USERINFO: &str = "/oauth/userinfo";
const KEYS: &str = "/oauth/discovery/keys";
const DISCOVERY: &str = "/.well-known/openid-configuration";
const BASE: &str = "http://127.0.0.1:8080";

/// Every claim of userinfo, in its order.
const CLAIMS: [&str; 13] = [
    "sub",
    "sub_legacy",
    "name",
    "nickname",
    "preferred_username",
    "email",
    "email_verified",
    "website",
    "profile",
    "groups",
    "https://gitlab.org/claims/groups/owner",
    "https://gitlab.org/claims/groups/maintainer",
    "https://gitlab.org/claims/groups/developer",
];

fn userinfo(t: &Town, access: &str) -> Ask {
    t.get(USERINFO).bearer(access)
}

/// 401 with nothing in it but the challenge.
#[track_caller]
fn refused(reply: &Reply, description: &str) {
    let challenge = format!(r#"Bearer realm="Doorkeeper", error="invalid_token", error_description="{description}""#);
    assert_eq!(reply.is(401, "").header("www-authenticate"), Some(challenge.as_str()));
}

const INVALID: &str = "The access token is invalid";

/// Ada, an application, and what it got for her.
async fn begun(t: &Town, scope: &str) -> (Person, Client, Tokens) {
    let (ada, client) = (t.user("ada").await, t.client(scope).await);
    let pair = client.tokens(&ada, scope).await;
    (ada, client, pair)
}

/// With everything that came along.
async fn redeemed(client: &Client, person: &Person) -> (Tokens, String) {
    let code = client.code(person, "openid").await;
    let reply = client.redeem(&code).await;
    let id_token = reply.has(200).json()["id_token"].as_str().expect("an id_token").to_owned();
    (tokens(&reply), id_token)
}

fn decoded(text: &str) -> Vec<u8> {
    BASE64URL_NOPAD.decode(text.as_bytes()).expect("base64url without padding")
}

/// Header, claims and signature, as they stand.
fn parts(jwt: &str) -> [&str; 3] {
    let parts: Vec<&str> = jwt.split('.').collect();
    parts.try_into().unwrap_or_else(|_| panic!("three parts: {jwt}"))
}

async fn keys(t: &Town) -> Vec<Value> {
    t.get(KEYS).await.has(200).json()["keys"].as_array().expect("a list").clone()
}

fn member<'v>(of: &'v Value, name: &str) -> &'v str {
    of[name].as_str().unwrap_or_else(|| panic!("{name}: {of}"))
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

async fn oauth_076_userinfo_without_its_scope(t: Town) {
    let (_, _, pair) = begun(&t, "api").await;
    for ask in [userinfo(&t, &pair.access), t.post(USERINFO).bearer(&pair.access)] {
        assert_eq!(ask.await.is(403, "").header("www-authenticate"), None);
    }
}

async fn oauth_081_groups(t: Town) {
    let (ada, _, pair) = begun(&t, "openid").await;
    let (g1, g3) = (t.group("g1", Visibility::Private).await, t.group("g3", Visibility::Private).await);
    t.group("g2", Visibility::Public).await;
    let g4 = t.subgroup("g4", Some(g3), Visibility::Private).await;
    t.member(Of::Group(g1), &ada, AccessLevel::Owner).await;
    t.member(Of::Group(g3), &ada, AccessLevel::Developer).await;
    t.member(Of::Group(g4), &ada, AccessLevel::Maintainer).await;
    let body = userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(body["groups"], json!(["g1", "g3", "g3/g4"]));
    assert_eq!(body["https://gitlab.org/claims/groups/owner"], json!(["g1"]));
    assert_eq!(body["https://gitlab.org/claims/groups/maintainer"], json!(["g3/g4"]));
    assert_eq!(body["https://gitlab.org/claims/groups/developer"], json!(["g3"]));
}

async fn oauth_083_claims_of_userinfo(t: Town) {
    let (ada, client, small) = begun(&t, "openid profile email").await;
    let openid = client.tokens(&ada, "openid").await;
    let told = async |access: &str| {
        let reply = userinfo(&t, access).await;
        assert!(reply.has(200).header("content-type").is_some_and(|media| media.starts_with("application/json")));
        let body = reply.json();
        let names: Vec<String> = body.as_object().expect("an object").keys().cloned().collect();
        assert!(names.iter().all(|name| CLAIMS.contains(&name.as_str())), "{names:?}");
        let places: Vec<usize> = CLAIMS.iter().filter_map(|claim| reply.body.find(&format!(r#""{claim}":"#))).collect();
        assert!(places.len() == names.len() && places.is_sorted(), "{}", reply.body);
        body
    };
    let body = told(&openid.access).await;
    let legacy = member(&body, "sub_legacy").to_owned();
    assert!(legacy.len() == 64 && legacy.bytes().all(|b| b"0123456789abcdef".contains(&b)), "{legacy}");
    // Nothing of hers is public; what is empty is left out, but lists stay.
    let known = json!({
        "sub": ada.id.to_string(), "sub_legacy": legacy, "name": "ada Example", "nickname": "ada",
        "preferred_username": "ada", "profile": format!("{BASE}/ada"), "groups": [],
    });
    assert_eq!(body, known);
    let body = told(&small.access).await;
    assert_eq!((&body["email"], &body["email_verified"]), (&json!("ada@example.test"), &json!(true)));
    let group = t.group("g1", Visibility::Private).await;
    t.member(Of::Group(group), &ada, AccessLevel::Owner).await;
    told(&small.access).await;
    assert_eq!(told(&openid.access).await["groups"], json!(["g1"]));
    // The same person is the same to every application.
    let other = t.client("openid").await.tokens(&ada, "openid").await;
    assert_eq!(told(&other.access).await["sub_legacy"], legacy);
}

async fn oauth_085_keys_for_every_origin(t: Town) {
    let reply = t.get(KEYS).with("origin", "https://elsewhere.example.test").await;
    assert_eq!(reply.has(200).header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(reply.header("access-control-allow-headers"), None);
    assert_eq!(reply.header("access-control-allow-credentials"), None);
}

async fn oauth_087_discovery(t: Town) {
    let reply = t.get(DISCOVERY).await;
    let body = reply.has(200).json();
    assert!(reply.header("content-type").is_some_and(|media| media.starts_with("application/json")));
    assert_eq!(body["issuer"], BASE);
    for (name, path) in [
        ("authorization_endpoint", "/oauth/authorize"),
        ("token_endpoint", "/oauth/token"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("userinfo_endpoint", USERINFO),
        ("jwks_uri", KEYS),
    ] {
        assert_eq!(body[name], format!("{BASE}{path}"), "{name}");
    }
    for (name, known) in [
        ("response_types_supported", json!(["code"])),
        ("subject_types_supported", json!(["public"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        ("claim_types_supported", json!(["normal"])),
        ("code_challenge_methods_supported", json!(["plain", "S256"])),
    ] {
        assert_eq!(body[name], known, "{name}");
    }
    let list = |name: &str| -> Vec<String> {
        let values = body[name].as_array().unwrap_or_else(|| panic!("{name}"));
        values.iter().map(|value| value.as_str().expect("a word").to_owned()).collect()
    };
    let grants = list("grant_types_supported");
    for grant in ["authorization_code", "password", "client_credentials", "refresh_token"] {
        assert!(grants.iter().any(|known| known == grant), "{grants:?}");
    }
    assert!(list("response_modes_supported").starts_with(&["query".to_owned(), "fragment".to_owned()]));
    let methods = list("token_endpoint_auth_methods_supported");
    assert!(methods.starts_with(&["client_secret_basic".to_owned(), "client_secret_post".to_owned()]), "{methods:?}");
    let mut claims = list("claims_supported");
    for claim in CLAIMS.iter().chain(&["iss", "aud", "exp", "iat", "groups_direct"]) {
        let place = claims.iter().position(|known| known == claim).unwrap_or_else(|| panic!("{claim}"));
        claims.remove(place);
    }
    assert!(claims.is_empty(), "and each once: {claims:?}");
    let scopes = list("scopes_supported");
    let known: Vec<&str> = Scope::ALL.iter().map(|scope| scope.as_str()).collect();
    let places: Vec<Option<usize>> = scopes.iter().map(|scope| known.iter().position(|known| known == scope)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "as they stand in the table: {scopes:?}");
    assert!(places.windows(2).all(|two| two[0] != two[1]), "each once: {scopes:?}");
    for scope in ["api", "read_api", "read_user", "sudo", "openid", "profile", "email"] {
        assert!(scopes.iter().any(|known| known == scope), "{scopes:?}");
    }
    let all = scopes.join(" ");
    assert_eq!(t.client(&all).await.secret.len(), 70, "an application can have all of them");
}

async fn oauth_088_userinfo_for_every_origin(t: Town) {
    let (_, _, pair) = begun(&t, "openid").await;
    for ask in [userinfo(&t, &pair.access), t.post(USERINFO).bearer(&pair.access)] {
        let reply = ask.with("origin", "https://elsewhere.example.test").await;
        assert_eq!(reply.has(200).header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    let reply = t.get(USERINFO).with("origin", "https://elsewhere.example.test").await;
    refused(&reply, INVALID);
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
}

async fn oauth_092_userinfo_without_a_token(t: Town) {
    for ask in [t.get(USERINFO), t.post(USERINFO), t.get(&format!("{USERINFO}?access_token="))] {
        refused(&ask.await, INVALID);
    }
}

async fn oauth_093_userinfo_with_three_parts_of_nothing(t: Town) {
    for token in ["eyJ0.abc.def", "a.b.c", "..", "e30.e30.", "unknown"] {
        refused(&userinfo(&t, token).await, INVALID);
    }
}

async fn oauth_125_keys(t: Town) {
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

async fn oauth_139_both_names_of_one_document(t: Town) {
    let (one, two) = (t.get(DISCOVERY).await, t.get("/.well-known/oauth-authorization-server").await);
    two.is(200, &one.has(200).body);
    assert_eq!(two.json()["issuer"], BASE);
}

async fn groups_by_way_of_groups_above(t: Town) {
    let (ada, _, pair) = begun(&t, "openid").await;
    let top = t.group("top", Visibility::Private).await;
    let below = t.subgroup("below", Some(top), Visibility::Private).await;
    t.subgroup("deep", Some(below), Visibility::Private).await;
    t.member(Of::Group(below), &ada, AccessLevel::Reporter).await;
    let body = userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(body["groups"], json!(["top/below", "top/below/deep"]), "not the one above");
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert!(names.iter().all(|name| !name.starts_with("https:")), "a claim without groups is left out: {names:?}");
    t.does(&tollhouse::operations::members::Remove { of: Of::Group(below), user: ada.id }).await;
    assert_eq!(userinfo(&t, &pair.access).await.has(200).json()["groups"], json!([]));
}

async fn userinfo_looks_in_three_places(t: Town) {
    let (_, _, pair) = begun(&t, "openid").await;
    let known = userinfo(&t, &pair.access).await.has(200).body.clone();
    for name in ["access_token", "bearer_token"] {
        t.get(&format!("{USERINFO}?{name}={}", pair.access)).await.is(200, &known);
    }
    t.post(USERINFO).bearer(&pair.access).await.is(200, &known);
    t.post(USERINFO).form(&encoded(&[("access_token", &pair.access)])).await.is(200, &known);
    t.ask(Method::HEAD, USERINFO).bearer(&pair.access).await.is(200, "");
    refused(&t.get(USERINFO).token(&pair.access).await, INVALID);
    refused(&t.get(&format!("{USERINFO}?private_token={}", pair.access)).await, INVALID);
    let basic = data_encoding::BASE64.encode(format!("oauth2:{}", pair.access).as_bytes());
    refused(&t.get(USERINFO).with("authorization", &format!("Basic {basic}")).await, INVALID);
    let session = t.user("grace").await.session().await;
    refused(&t.get(USERINFO).session(&session).await, INVALID);
    t.get(&format!("{USERINFO}?access_token=%00")).await.has(400);
    t.get(&format!("{USERINFO}?access_token=%ff")).await.has(400);
}

async fn userinfo_of_dead_tokens(t: Town) {
    let (ada, client, pair) = begun(&t, "openid").await;
    let rotated = client.tokens(&ada, "openid").await;
    let next = tokens(&client.refresh(&rotated.refresh).await);
    refused(&userinfo(&t, &rotated.access).await, "The access token was revoked");
    let form = encoded(&[("token", &next.access)]);
    t.post("/oauth/revoke").form(&form).with("authorization", &client.basic()).await.is(200, "{}");
    refused(&userinfo(&t, &next.access).await, "The access token was revoked");
    userinfo(&t, &pair.access).await.has(200);
    t.later(7201);
    refused(&userinfo(&t, &pair.access).await, "The access token expired");
    t.does(&tollhouse::operations::applications::Delete { id: client.id }).await;
    refused(&userinfo(&t, &pair.access).await, INVALID);
}

async fn userinfo_of_who_is_blocked(t: Town) {
    let (ada, _, pair) = begun(&t, "openid").await;
    userinfo(&t, &pair.access).await.has(200);
    for (out, back) in
        [(SetState::block(ada.id), SetState::unblock(ada.id)), (SetState::ban(ada.id), SetState::unban(ada.id))]
    {
        ada.set_state(out).await;
        userinfo(&t, &pair.access).await.is(401, "");
        t.post(USERINFO).bearer(&pair.access).await.is(401, "");
        ada.set_state(back).await;
        userinfo(&t, &pair.access).await.has(200);
    }
}

async fn userinfo_of_nobody(t: Town) {
    let client = t.client("api openid").await;
    let reply = client.token("client_credentials", &[("scope", "openid")]).await;
    // There may be no such token; if there is, it speaks for nobody.
    if reply.status.as_u16() != 200 {
        is_error(&reply, 400, "invalid_scope");
        return;
    }
    assert!(reply.json().get("id_token").is_none());
    userinfo(&t, &tokens(&reply).access).await.is(401, "");
}

async fn discovery_lists_what_works(t: Town) {
    let body = t.get(DISCOVERY).await.has(200).json();
    let grants = body["grant_types_supported"].as_array().expect("a list");
    assert!(!grants.contains(&json!("password")) && grants.contains(&json!("refresh_token")), "{grants:?}");
    let ada = t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let reply = client.token("password", &[("username", &ada.name), ("password", "correct horse")]).await;
    is_error(&reply, 400, "unsupported_grant_type");
}

async fn discovery_under_another_name(t: Town) {
    let body = t.get(DISCOVERY).host("git.example.test").await.has(200).json();
    assert_eq!(body["issuer"], "https://git.example.test");
    for (name, value) in body.as_object().expect("an object") {
        if let Some(url) = value.as_str() {
            assert!(url.starts_with("https://git.example.test"), "{name}: {url}");
        }
    }
    let (ada, client) = (t.user("ada").await, t.client("openid").await);
    let session = ada.session().await;
    let allowed = client.allow(&session, "openid", &[]).host("git.example.test").await;
    let code = sent_back(&allowed, "code").expect("a code");
    let reply = client.redeem(&code).host("git.example.test").await;
    let claims: Value =
        serde_json::from_slice(&decoded(parts(member(&reply.has(200).json(), "id_token"))[1])).expect("JSON");
    assert_eq!(claims["iss"], body["issuer"]);
}

async fn an_id_token_is_signed_by_the_key_it_names(t: Town) {
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

async fn keys_outlive_a_restart(t: Town) {
    let (ada, client) = (t.user("ada").await, t.client("openid").await);
    let (before, (pair, id_token)) = (keys(&t).await, redeemed(&client, &ada).await);
    let legacy = userinfo(&t, &pair.access).await.has(200).json()["sub_legacy"].clone();
    let again = t.reopened("").await;
    assert_eq!(keys(&again).await, before);
    assert!(before.iter().any(|key| verifies(&id_token, key)));
    assert_eq!(userinfo(&again, &pair.access).await.has(200).json()["sub_legacy"], legacy);
    again.app.db.close().await;
}

/// Wherever a token may stand.
async fn opens_nothing(t: &Town, client: &Client, token: &str) {
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

async fn what_is_signed_opens_nothing(t: Town) {
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

async fn forged_tokens_open_nothing(t: Town) {
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

async fn t12_no_document_under_another_name(t: Town) {
    for path in [DISCOVERY, "/.well-known/oauth-authorization-server"] {
        for host in ["evil.test", "127.0.0.1.evil.test:8080", "127.0.0.1:8080@evil.test", "git.example.test"] {
            let reply = t.get(path).host(host).await;
            assert!(!reply.has(421).body.contains("issuer"), "{}", reply.body);
        }
        t.get(path).with("host", "evil.test").await.has(421);
        // A client holds the issuer against what it was told, whatever name it asks under.
        assert_eq!(t.get(path).host("localhost:8080").await.has(200).json()["issuer"], BASE);
    }
}

async fn t22_only_confirmed_addresses_are_told(t: Town) {
    let (ada, client, pair) = begun(&t, "openid email").await;
    let told = async || userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(told().await["email"], "ada@example.test");
    t.does(&Confirm { user: ada.id, confirmed: false }).await;
    let body = told().await;
    assert_eq!((body.get("email"), body.get("email_verified")), (None, None), "{body}");
    let refreshed = client.refresh(&pair.refresh).await.has(200).json();
    let claims = String::from_utf8(decoded(parts(member(&refreshed, "id_token"))[1])).expect("text");
    assert!(!claims.contains("@example.test") && !claims.contains("email_verified"), "{claims}");
}

async fn t23_no_private_key_stands_in_the_clear(t: Town) {
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
    let kept = tollhouse_store::keys::all(&mut reader).await.expect("the keys");
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
    again.app.db.close().await;
}

fn secret(byte: &str) -> String {
    byte.repeat(32)
}

/// The program, started once more on this database with a file of these secrets. `None`: it refuses.
async fn start(t: &Town, lines: &[&str]) -> Option<Town> {
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
    again.road = Arc::new(Road::new(app.clone(), router::table()));
    again.app = app;
    Some(again)
}

/// Settings that name a file of these lines.
fn naming(t: &Town, file: &Path, lines: &[&str], mode: u32) -> String {
    std::fs::write(file, format!("{}\n", lines.join("\n"))).expect("a file");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).expect("a mode");
    format!("data_dir = '{}'\nsecret_key_file = '{}'", t.folder.path().display(), file.display())
}

async fn starts(t: &Town, lines: &[&str]) -> bool {
    let again = start(t, lines).await;
    if let Some(again) = &again {
        again.app.db.close().await;
    }
    again.is_some()
}

/// Started under this secret, whatever the keys of the town were sealed under before.
async fn sealed(t: &Town, secret: &str) -> Town {
    let named = Some(t.app.settings.secret_key_file.clone()).filter(|file| !file.as_os_str().is_empty());
    let mut beside = std::fs::read_dir(t.folder.path()).expect("a folder").map(|file| file.expect("a file").path());
    let file = named.or_else(|| beside.find(|file| file.extension().is_some_and(|end| end == "key")));
    let old = file.map(|file| std::fs::read_to_string(file).expect("text"));
    let lines: Vec<&str> = std::iter::once(secret).chain(old.as_deref().map(str::trim)).collect();
    let again = start(t, &lines).await.expect("both count");
    assert!(!keys(&again).await.is_empty());
    again
}

async fn t23_a_wrong_secret_stops_the_start(t: Town) {
    let (own, other, third) = (secret("11"), secret("5a"), secret("a5"));
    let again = sealed(&t, &own).await;
    let before = keys(&again).await;
    again.app.db.close().await;
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
    again.app.db.close().await;
}

async fn t23_two_secrets_while_they_change(t: Town) {
    let (old, new) = (secret("11"), secret("5a"));
    let again = sealed(&t, &old).await;
    let before = keys(&again).await;
    again.app.db.close().await;
    assert!(starts(&t, &[&old, &new]).await, "too early is not wrong");
    assert!(starts(&t, &[&old]).await);
    let again = start(&t, &[&new, &old]).await.expect("both count");
    assert_eq!(keys(&again).await, before, "the same keys, under another seal");
    let (ada, client) = (again.user("ada").await, again.client("openid").await);
    let (_, id_token) = redeemed(&client, &ada).await;
    assert!(before.iter().any(|key| verifies(&id_token, key)));
    again.app.db.close().await;
    assert!(starts(&t, &[&new]).await, "the new one does alone");
    assert!(!starts(&t, &[&old]).await, "the old one no longer");
}

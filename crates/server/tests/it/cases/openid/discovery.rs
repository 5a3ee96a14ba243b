//! The documents that describe the provider, under which names.

use serde_json::json;
use tollhouse_domain::scope::Scope;

use super::{BASE, CLAIMS, KEYS, USERINFO};
use crate::oauth::{id_token, is_error, sent_back};
use crate::test_server::TestServer;

cases![
    oauth_087_discovery,
    oauth_139_both_names_of_one_document,
    discovery_lists_what_works,
    discovery_lists_the_password_grant_where_it_works with "oauth.password_grant = true",
    discovery_under_another_name with "external_url = 'https://git.example.test'",
    t12_no_document_under_another_name,
];

const DISCOVERY: &str = "/.well-known/openid-configuration";

async fn oauth_087_discovery(t: TestServer) {
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
    let challenges = if t.app.settings.compat.pkce.is_gitlab() { json!(["plain", "S256"]) } else { json!(["S256"]) };
    for (name, known) in [
        ("response_types_supported", json!(["code"])),
        ("subject_types_supported", json!(["public"])),
        ("id_token_signing_alg_values_supported", json!(["RS256"])),
        ("claim_types_supported", json!(["normal"])),
        ("code_challenge_methods_supported", challenges),
    ] {
        assert_eq!(body[name], known, "{name}");
    }
    let list = |name: &str| -> Vec<String> {
        let values = body[name].as_array().unwrap_or_else(|| panic!("{name}"));
        values.iter().map(|value| value.as_str().expect("a word").to_owned()).collect()
    };
    let grants = list("grant_types_supported");
    for grant in ["authorization_code", "client_credentials", "refresh_token"] {
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

async fn oauth_139_both_names_of_one_document(t: TestServer) {
    let (one, two) = (t.get(DISCOVERY).await, t.get("/.well-known/oauth-authorization-server").await);
    two.is(200, &one.has(200).body);
    assert_eq!(two.json()["issuer"], BASE);
}

async fn discovery_lists_what_works(t: TestServer) {
    let body = t.get(DISCOVERY).await.has(200).json();
    let grants = body["grant_types_supported"].as_array().expect("a list");
    assert!(!grants.contains(&json!("password")) && grants.contains(&json!("refresh_token")), "{grants:?}");
    let ada = t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let reply = client.token("password", &[("username", &ada.name), ("password", "correct horse")]).await;
    is_error(&reply, 400, "unsupported_grant_type");
}

async fn discovery_lists_the_password_grant_where_it_works(t: TestServer) {
    let grants = t.get(DISCOVERY).await.has(200).json()["grant_types_supported"].clone();
    assert_eq!(grants, json!(["authorization_code", "password", "client_credentials", "refresh_token"]));
}

async fn discovery_under_another_name(t: TestServer) {
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
    assert_eq!(id_token(&reply)["iss"], body["issuer"]);
}

async fn t12_no_document_under_another_name(t: TestServer) {
    for path in [DISCOVERY, "/.well-known/oauth-authorization-server"] {
        for host in ["evil.test", "127.0.0.1.evil.test:8080", "git.example.test"] {
            let reply = t.get(path).host(host).await;
            assert!(!reply.has(421).body.contains("issuer"), "{}", reply.body);
        }
        t.get(path).with("host", "evil.test").await.has(400);
        t.get(path).host("127.0.0.1:8080@evil.test").await.has(400);
        // A client holds the issuer against what it was told, whatever name it asks under.
        assert_eq!(t.get(path).host("localhost:8080").await.has(200).json()["issuer"], BASE);
    }
}

//! Challenges and verifiers (RFC 7636).

use serde_json::json;
use tollhouse_domain::pkce::{self, Method};
use tollhouse_store::faults::{by_hand, every_row};

use super::{CHALLENGED, both, exchange};
use crate::oauth::{CALLBACK, CHALLENGE, USER, VERIFIER, ask, changed, is_error, is_hex, sent_back, tokens};
use crate::test_server::{REVOKED, TestServer};

cases![
    oauth_032_a_public_application_shows_a_verifier,
    oauth_033_a_wrong_verifier,
    oauth_036_neither_challenge_nor_verifier,
    oauth_108_a_challenge_and_no_verifier,
    every_challenge_with_every_verifier,
    every_challenge_with_every_verifier_as_the_original with "compat.pkce = 'gitlab'",
    a_challenge_that_is_none_is_refused,
    a_challenge_that_is_none_as_the_original with "compat.pkce = 'gitlab'",
    a_verifier_that_is_none_uses_no_code_up,
    a_short_verifier_as_the_original with "compat.pkce = 'gitlab'",
    no_verifier_stands_in_the_database with "compat.pkce = 'gitlab'",
    a_verifier_that_an_older_version_kept_is_hashed_at_the_start with "compat.pkce = 'gitlab'",
];

async fn oauth_032_a_public_application_shows_a_verifier(t: TestServer) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let code = client.code(&ada, "api").await;
    let pairs = [
        ("grant_type", "authorization_code"),
        ("client_id", client.uid.as_str()),
        ("code", code.as_str()),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    let given = tokens(&ask(&t, &pairs).await);
    assert!(is_hex(&given.refresh));
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn oauth_033_a_wrong_verifier(t: TestServer) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let code = client.code(&ada, "api").await;
    for wrong in [CHALLENGE, &VERIFIER[1..], &VERIFIER.to_lowercase()] {
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", wrong)];
        is_error(&client.token("authorization_code", &pairs).await, 400, "invalid_grant");
    }
    tokens(&client.redeem(&code).await);
}

async fn oauth_036_neither_challenge_nor_verifier(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "read_user").await;
    let reply = ask(&t, &exchange(&client, &code)).await;
    assert_eq!(reply.has(200).json()["scope"], "read_user");
}

async fn oauth_108_a_challenge_and_no_verifier(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    is_error(&client.redeem(&code).await, 400, "invalid_request");
}

async fn every_challenge_with_every_verifier(t: TestServer) {
    challenges_and_verifiers(&t, false).await;
}

async fn every_challenge_with_every_verifier_as_the_original(t: TestServer) {
    challenges_and_verifiers(&t, true).await;
}

/// `as_the_original`: public applications need not send a challenge.
async fn challenges_and_verifiers(t: &TestServer, as_the_original: bool) {
    let session = t.user("ada").await.session().await;
    for client in [t.client("api").await, t.public_client("api").await] {
        for (challenge, method) in [(None, None), (Some(VERIFIER), Some("plain")), (Some(CHALLENGE), Some("S256"))] {
            let with = [("code_challenge", challenge), ("code_challenge_method", method)];
            for verifier in [None, Some(""), Some(CHALLENGE), Some(VERIFIER)] {
                let sent = client.allow(&session, "api", &with).await;
                if challenge.is_none() && !client.confidential && !as_the_original {
                    assert_eq!(sent_back(&sent, "error").as_deref(), Some("invalid_request"));
                    let description = sent_back(&sent, "error_description").expect("a description");
                    assert_eq!(description, "Missing required parameter: code_challenge.");
                    assert_eq!(sent_back(&sent, "code"), None);
                    continue;
                }
                if method == Some("plain") && !as_the_original {
                    assert_eq!(sent_back(&sent, "error").as_deref(), Some("invalid_code_challenge_method"));
                    let description = sent_back(&sent, "error_description").expect("a description");
                    assert_eq!(description, "The code_challenge_method must be S256.");
                    assert_eq!(sent_back(&sent, "code"), None);
                    continue;
                }
                let code = sent_back(&sent, "code").expect("a code");
                let pairs =
                    changed(&[("code", code.as_str()), ("redirect_uri", CALLBACK)], &[("code_verifier", verifier)]);
                let reply = client.token("authorization_code", &pairs).await;
                let (status, error) = match (challenge, verifier) {
                    (None, None | Some("")) | (Some(_), Some(VERIFIER)) => (200, None),
                    (Some(_), None | Some("")) => (400, Some("invalid_request")),
                    _ => (400, Some("invalid_grant")),
                };
                let told = (reply.status.as_u16(), reply.json()["error"].as_str().map(str::to_owned));
                let what = format!("{method:?} with {verifier:?}, confidential: {}", client.confidential);
                assert_eq!(told, (status, error.map(str::to_owned)), "{what}: {}", reply.body);
            }
        }
    }
}

async fn a_challenge_that_is_none_is_refused(t: TestServer) {
    challenges_that_are_none(&t, false).await;
}

async fn a_challenge_that_is_none_as_the_original(t: TestServer) {
    challenges_that_are_none(&t, true).await;
}

async fn challenges_that_are_none(t: &TestServer, as_the_original: bool) {
    let session = t.user("ada").await.session().await;
    let (short, long) = (&CHALLENGE[1..], format!("{CHALLENGE}A"));
    let (longest, too_long) = ("a".repeat(128), "a".repeat(129));
    let padded = format!("{short}=");
    let foreign = format!("{short}+");
    for client in [t.client("api").await, t.public_client("api").await] {
        for (value, method, error) in [
            (short, "S256", "invalid_request"),
            (&*long, "S256", "invalid_request"),
            (&*longest, "S256", "invalid_request"),
            (&*padded, "S256", "invalid_request"),
            (&*foreign, "S256", "invalid_request"),
            (CHALLENGE, "s256", "invalid_code_challenge_method"),
            (CHALLENGE, "Plain", "invalid_code_challenge_method"),
            (CHALLENGE, "S512", "invalid_code_challenge_method"),
            (CHALLENGE, "", "invalid_code_challenge_method"),
            (&*too_long, "S256", "invalid_request"),
        ] {
            let with = [("code_challenge", Some(value)), ("code_challenge_method", Some(method))];
            let sent = client.allow(&session, "api", &with).await;
            let laxly = as_the_original && method == "S256" && value != too_long;
            assert_eq!(sent_back(&sent, "code").is_some(), laxly, "{value} {method}");
            if !laxly {
                assert_eq!(sent_back(&sent, "error").as_deref(), Some(error), "{value} {method}");
            }
            if error == "invalid_code_challenge_method" {
                let methods = if as_the_original { "one of plain, S256" } else { "S256" };
                let description = format!("The code_challenge_method must be {methods}.");
                assert_eq!(sent_back(&sent, "error_description"), Some(description));
            }
        }
    }
    let listed = t.get("/.well-known/openid-configuration").await.json()["code_challenge_methods_supported"].clone();
    assert_eq!(listed, if as_the_original { json!(["plain", "S256"]) } else { json!(["S256"]) });
}

/// The S256 challenge of a verifier.
fn challenge_of(verifier: &str) -> String {
    pkce::Challenge::kept(Method::Plain, verifier).as_str().to_owned()
}

async fn a_verifier_that_is_none_uses_no_code_up(t: TestServer) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let session = ada.session().await;
    // They would meet their challenges, but no client that keeps to RFC 7636 makes them.
    for verifier in ["a".repeat(42), "a".repeat(129), format!("{VERIFIER}+"), format!("{VERIFIER} x"), "x".to_owned()] {
        let challenge = challenge_of(&verifier);
        let sent = client.allow(&session, "api", &[("code_challenge", Some(challenge.as_str()))]).await;
        let code = sent_back(&sent, "code").expect("a code");
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", verifier.as_str())];
        is_error(&client.token("authorization_code", &pairs).await, 400, "invalid_grant");
    }
    let code = client.code(&ada, "api").await;
    for wrong in ["a".repeat(42), "a".repeat(43), "a".repeat(128), "a".repeat(5_000), CHALLENGE.to_owned()] {
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", wrong.as_str())];
        is_error(&client.token("authorization_code", &pairs).await, 400, "invalid_grant");
    }
    tokens(&client.redeem(&code).await);
    for length in [43, 128] {
        let verifier = "-._~aZ09".repeat(16)[..length].to_owned();
        let challenge = challenge_of(&verifier);
        let sent = client.allow(&session, "api", &[("code_challenge", Some(challenge.as_str()))]).await;
        let code = sent_back(&sent, "code").expect("a code");
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", verifier.as_str())];
        tokens(&client.token("authorization_code", &pairs).await);
    }
}

async fn a_short_verifier_as_the_original(t: TestServer) {
    let (client, session) = (t.client("api").await, t.user("ada").await.session().await);
    for (challenge, method) in [("x".to_owned(), "plain"), (challenge_of("x"), "S256")] {
        let with = [("code_challenge", Some(challenge.as_str())), ("code_challenge_method", Some(method))];
        let code = sent_back(&client.allow(&session, "api", &with).await, "code").expect("a code");
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", "x")];
        tokens(&client.token("authorization_code", &pairs).await);
    }
}

async fn stands_in_the_database(t: &TestServer, text: &str) -> bool {
    let mut reader = t.app.db.read().await.expect("a reader");
    every_row(&mut reader).await.expect("every row").iter().any(|row| row.contains(text))
}

async fn no_verifier_stands_in_the_database(t: TestServer) {
    let (client, session) = (t.client("api").await, t.user("ada").await.session().await);
    let with = [("code_challenge", Some(VERIFIER)), ("code_challenge_method", Some("plain"))];
    let page = client.page(&session, "api", &with).await;
    assert!(!page.has(200).body.contains(VERIFIER), "nor in the page");
    let code = sent_back(&client.allow(&session, "api", &with).await, "code").expect("a code");
    assert!(!stands_in_the_database(&t, VERIFIER).await);
    let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    tokens(&client.token("authorization_code", &pairs).await);
    assert!(!stands_in_the_database(&t, VERIFIER).await);
}

async fn a_verifier_that_an_older_version_kept_is_hashed_at_the_start(t: TestServer) {
    let (client, ada) = both(&t).await;
    let session = ada.session().await;
    let with = [("code_challenge", Some(VERIFIER)), ("code_challenge_method", Some("plain"))];
    let mut codes = Vec::new();
    for _ in 0..2 {
        codes.push(sent_back(&client.allow(&session, "api", &with).await, "code").expect("a code"));
    }
    let redeem = |client: &crate::oauth::Client, code: &str| {
        let pairs = [("code", code), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
        client.token("authorization_code", &pairs)
    };
    let given = tokens(&redeem(&client, &codes[0]).await);
    let sql = format!("UPDATE oauth_access_grants SET challenge = '{VERIFIER}', challenge_method = 'plain'");
    by_hand(&t.database_url.parse().expect("a URL"), &sql).await.expect("a change by hand");
    assert!(stands_in_the_database(&t, VERIFIER).await);
    let again = t.reopened("compat.pkce = 'gitlab'").await;
    assert!(!stands_in_the_database(&again, VERIFIER).await);
    // A code that was under way goes on, and the reuse of a redeemed one is still noticed.
    let client = client.at(&again);
    tokens(&redeem(&client, &codes[1]).await);
    again.get(USER).bearer(&given.access).await.is_user(&ada);
    again.later(121);
    is_error(&redeem(&client, &codes[0]).await, 400, "invalid_grant");
    again.get(USER).bearer(&given.access).await.is(401, REVOKED);
    again.leave().await;
}

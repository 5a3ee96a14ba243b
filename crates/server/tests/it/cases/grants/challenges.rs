//! Challenges and verifiers (RFC 7636).

use super::{CHALLENGED, both, exchange};
use crate::oauth::{CALLBACK, CHALLENGE, USER, VERIFIER, ask, changed, is_error, is_hex, sent_back, tokens};
use crate::town::Town;

cases![
    oauth_032_a_public_application_shows_a_verifier,
    oauth_033_a_wrong_verifier,
    oauth_036_neither_challenge_nor_verifier,
    oauth_108_a_challenge_and_no_verifier,
    every_challenge_with_every_verifier,
    every_challenge_with_every_verifier_as_the_original with "compat.pkce = 'gitlab'",
];

async fn oauth_032_a_public_application_shows_a_verifier(t: Town) {
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

async fn oauth_033_a_wrong_verifier(t: Town) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let code = client.code(&ada, "api").await;
    for wrong in [CHALLENGE, &VERIFIER[1..], &VERIFIER.to_lowercase()] {
        let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", wrong)];
        is_error(&client.token("authorization_code", &pairs).await, 400, "invalid_grant");
    }
    tokens(&client.redeem(&code).await);
}

async fn oauth_036_neither_challenge_nor_verifier(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "read_user").await;
    let reply = ask(&t, &exchange(&client, &code)).await;
    assert_eq!(reply.has(200).json()["scope"], "read_user");
}

async fn oauth_108_a_challenge_and_no_verifier(t: Town) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    is_error(&client.redeem(&code).await, 400, "invalid_request");
}

async fn every_challenge_with_every_verifier(t: Town) {
    challenges_and_verifiers(&t, false).await;
}

async fn every_challenge_with_every_verifier_as_the_original(t: Town) {
    challenges_and_verifiers(&t, true).await;
}

/// `as_the_original`: public applications need not send a challenge.
async fn challenges_and_verifiers(t: &Town, as_the_original: bool) {
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

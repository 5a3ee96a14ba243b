//! A code becomes tokens once; one that comes twice.

use serde_json::json;
use tollhouse::operations::applications;
use tollhouse_store::faults::Fault;

use super::{CHALLENGED, INVALID_GRANT, both, exchange, redeem_challenged};
use crate::oauth::{
    CALLBACK, CHALLENGE, Tokens, USER, VERIFIER, ask, basic, changed, create, is_error, is_hex, tokens,
};
use crate::test_server::{M401, REVOKED, TestServer};

cases![
    oauth_006_a_code_becomes_tokens,
    oauth_007_no_such_code,
    oauth_008_a_code_is_good_once_and_its_tokens_live_on with "compat.rotation = 'gitlab'",
    oauth_009_an_access_token_opens_the_api,
    oauth_106_no_redirect_uri,
    oauth_107_a_code_of_another_application,
    oauth_134_of_two_exchanges_at_once_one_wins,
    the_redirect_uri_of_an_exchange_is_that_of_the_request,
    the_redirect_uri_of_an_exchange_as_the_original with "compat.redirect_uri = 'gitlab'",
    a_code_repeated_at_once_ends_nothing,
    a_code_repeated_later_ends_its_family,
    a_code_repeated_otherwise_ends_nothing,
    a_code_repeated_by_a_public_client_that_guesses_ends_nothing,
    a_code_repeated_by_a_refused_client_ends_nothing,
    a_refused_client_does_not_use_up_a_code,
    a_code_is_of_no_use_to_other_clients,
    a_code_lives_ten_minutes,
    a_code_outlives_a_restart,
    a_hundred_exchanges_at_once_have_one_winner,
    a_storage_that_refuses_uses_no_code_up,
];

async fn oauth_006_a_code_becomes_tokens(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let reply = client.redeem(&code).await;
    let Tokens { access, refresh } = tokens(&reply);
    assert!(is_hex(&code) && is_hex(&access) && is_hex(&refresh), "{code} {}", reply.body);
    assert_ne!(access, refresh);
    let body = reply.json();
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(7200)));
    assert_eq!((&body["scope"], &body["created_at"]), (&json!("api"), &json!(t.now().seconds())));
}

async fn oauth_007_no_such_code(t: TestServer) {
    let client = t.client("api").await;
    for code in ["no such code", &"0".repeat(64)] {
        assert_eq!(is_error(&client.redeem(code).await, 400, "invalid_grant"), INVALID_GRANT);
    }
}

async fn oauth_008_a_code_is_good_once_and_its_tokens_live_on(t: TestServer) {
    let (client, ada) = both(&t).await;
    let other = t.client("api").await;
    let code = client.code(&ada, "api").await;
    let first = tokens(&client.redeem(&code).await);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    is_error(&other.redeem(&code).await, 400, "invalid_grant");
    t.later(300);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    tokens(&client.refresh(&first.refresh).await);
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn oauth_009_an_access_token_opens_the_api(t: TestServer) {
    let (client, ada) = both(&t).await;
    let given = client.tokens(&ada, "api").await;
    let reply = t.get(USER).bearer(&given.access).await;
    assert_eq!(reply.is_user(&ada).json()["id"], ada.id.0);
    t.get(&format!("{USER}?access_token={}", given.access)).await.is_user(&ada);
    // The other half of the pair opens nothing.
    t.get(USER).bearer(&given.refresh).await.is(401, M401);
}

async fn oauth_106_no_redirect_uri(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let reply = client.token("authorization_code", &[("code", &code)]).await;
    let description = is_error(&reply, 400, "invalid_request");
    assert_eq!(description, "Missing required parameter: redirect_uri.");
}

async fn oauth_107_a_code_of_another_application(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    is_error(&t.client("api").await.redeem(&code).await, 400, "invalid_grant");
}

async fn oauth_134_of_two_exchanges_at_once_one_wins(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let (one, two) = tokio::join!(client.redeem(&code).send(), client.redeem(&code).send());
    let (won, lost) = if one.status.as_u16() == 200 { (one, two) } else { (two, one) };
    let given = tokens(&won);
    is_error(&lost, 400, "invalid_grant");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn the_redirect_uri_of_an_exchange_is_that_of_the_request(t: TestServer) {
    redirect_uri_of_an_exchange(&t, false).await;
}

async fn the_redirect_uri_of_an_exchange_as_the_original(t: TestServer) {
    redirect_uri_of_an_exchange(&t, true).await;
}

async fn redirect_uri_of_an_exchange(t: &TestServer, as_the_original: bool) {
    const LOOPBACK: &str = "http://127.0.0.1:4711/cb";
    let uris = format!("{CALLBACK}\nhttps://app.example.test/other\nhttp://127.0.0.1/cb");
    let client = t.client_with(applications::CreateApplication { redirect_uri: uris, ..create("api") }).await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for (sent, shown, parsed) in [
        (CALLBACK, "https://app.example.test/callback?zzz=1", true),
        (CALLBACK, "https://app.example.test/callback?", true),
        (CALLBACK, "https://APP.example.test/callback", true),
        (CALLBACK, "https://app.example.test:443/callback", true),
        (CALLBACK, "https://app.example.test/other", false),
        (LOOPBACK, "http://127.0.0.1:4712/cb", true),
        (LOOPBACK, "http://127.0.0.1/cb", true),
    ] {
        let reply = client.allow(&session, "api", &[("redirect_uri", Some(sent))]).await;
        let location = reply.has(302).header("location").expect("a Location").to_owned();
        let (_, rest) = location.split_once("code=").expect("a code");
        let code = rest.split('&').next().expect("a code");
        let redeem = |uri| client.token("authorization_code", &[("code", code), ("redirect_uri", uri)]);
        if as_the_original && parsed {
            tokens(&redeem(shown).await);
            continue;
        }
        assert_eq!(is_error(&redeem(shown).await, 400, "invalid_grant"), INVALID_GRANT, "{sent} {shown}");
        // It was not used up.
        tokens(&redeem(sent).await);
    }
}

async fn a_code_repeated_at_once_ends_nothing(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let first = tokens(&redeem_challenged(&client, &code).await);
    for wait in [0, 60, 59] {
        t.later(wait);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        t.get(USER).bearer(&first.access).await.is_user(&ada);
    }
    tokens(&client.refresh(&first.refresh).await);
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn a_code_repeated_later_ends_its_family(t: TestServer) {
    let (client, ada) = both(&t).await;
    for refreshed in [false, true] {
        let bystander = client.tokens(&ada, "api").await;
        let code = client.code(&ada, "api").await;
        let mut last = tokens(&client.redeem(&code).await);
        if refreshed {
            last = tokens(&client.refresh(&last.refresh).await);
        }
        t.get(USER).bearer(&last.access).await.is_user(&ada);
        let before = t.count("code.reuse_detected").await;
        t.later(121);
        is_error(&client.redeem(&code).await, 400, "invalid_grant");
        t.get(USER).bearer(&last.access).await.is(401, REVOKED);
        is_error(&client.refresh(&last.refresh).await, 400, "invalid_grant");
        assert_eq!(t.count("code.reuse_detected").await, before + 1);
        t.get(USER).bearer(&bystander.access).await.is_user(&ada);
    }
}

async fn a_code_repeated_otherwise_ends_nothing(t: TestServer) {
    let two_addresses = format!("{CALLBACK}\nhttps://app.example.test/other");
    let client = t.client_with(applications::CreateApplication { redirect_uri: two_addresses, ..create("api") }).await;
    let (ada, other) = (t.user("ada").await, t.client("api").await);
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let first = tokens(&redeem_challenged(&client, &code).await);
    let before = t.events().await;
    for wait in [0, 119, 2, 3_000] {
        t.later(wait);
        for (who, change) in [
            (&other, ("code_verifier", Some(VERIFIER))),
            (&client, ("redirect_uri", Some("https://app.example.test/other"))),
            (&client, ("redirect_uri", Some("https://app.example.test/callback?x=1"))),
            (&client, ("code_verifier", Some(CHALLENGE))),
            (&client, ("code_verifier", None)),
        ] {
            let same = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
            let repeat = who.token("authorization_code", &changed(&same, &[change])).await;
            assert_eq!(is_error(&repeat, 400, "invalid_grant"), INVALID_GRANT);
        }
        t.get(USER).bearer(&first.access).await.is_user(&ada);
    }
    assert_eq!(t.events().await, before, "nothing changed");
    let second = tokens(&client.refresh(&first.refresh).await);
    // The whole of it presented once more is reuse still.
    is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
    t.get(USER).bearer(&second.access).await.is(401, REVOKED);
    assert_eq!(t.count("code.reuse_detected").await, 1);
}

/// Client ids of public applications are no secret, and codes stand in URLs and logs.
async fn a_code_repeated_by_a_public_client_that_guesses_ends_nothing(t: TestServer) {
    let (victim, stranger) = (t.public_client("api").await, t.public_client("api").await);
    let (ada, guarded) = (t.user("ada").await, t.client("api").await);
    for (client, code) in [(&victim, victim.code(&ada, "api").await), (&guarded, guarded.code(&ada, "api").await)] {
        let given = tokens(&client.redeem(&code).await);
        t.later(300);
        for who in [&stranger, &victim] {
            for uri in [CALLBACK, "https://evil.test/", "x"] {
                for verifier in [None, Some(CHALLENGE), Some("x")] {
                    let pairs =
                        changed(&[("code", code.as_str()), ("redirect_uri", uri)], &[("code_verifier", verifier)]);
                    is_error(&who.token("authorization_code", &pairs).await, 400, "invalid_grant");
                }
            }
        }
        t.get(USER).bearer(&given.access).await.is_user(&ada);
        tokens(&client.refresh(&given.refresh).await);
    }
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn a_code_repeated_by_a_refused_client_ends_nothing(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let first = tokens(&client.redeem(&code).await);
    let before = t.events().await;
    t.later(300);
    let same = exchange(&client, &code);
    for change in [("client_secret", Some("gloas-wrong")), ("client_secret", None), ("client_id", Some("nobody"))] {
        is_error(&ask(&t, &changed(&same, &[change])).await, 401, "invalid_client");
    }
    t.get(USER).bearer(&first.access).await.is_user(&ada);
    assert_eq!(t.events().await, before);
    tokens(&client.refresh(&first.refresh).await);
}

async fn a_refused_client_does_not_use_up_a_code(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let pairs = [("grant_type", "authorization_code"), ("code", code.as_str()), ("redirect_uri", CALLBACK)];
    // What a common library does: Basic first, and on any error the same code with the credentials in the body.
    for header in [basic(&client.uid, "gloas-wrong"), basic(&client.uid, ""), basic("nobody", &client.secret)] {
        is_error(&ask(&t, &pairs).with("authorization", &header).await, 401, "invalid_client");
    }
    is_error(&ask(&t, &pairs).await, 401, "invalid_client");
    tokens(&client.redeem(&code).await);
}

async fn a_code_is_of_no_use_to_other_clients(t: TestServer) {
    let ada = t.user("ada").await;
    let clients = [
        t.client("api").await,
        t.client("api").await,
        t.public_client("api").await,
        t.public_client("api").await,
        t.trusted_client("api").await,
    ];
    for client in &clients {
        let code = client.code_with(&ada, "api", &CHALLENGED).await;
        for other in clients.iter().filter(|other| other.uid != client.uid) {
            is_error(&redeem_challenged(other, &code).await, 400, "invalid_grant");
        }
        let given = tokens(&redeem_challenged(client, &code).await);
        t.get(USER).bearer(&given.access).await.is_user(&ada);
    }
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn a_code_lives_ten_minutes(t: TestServer) {
    let (client, ada) = both(&t).await;
    let (early, late) = (client.code(&ada, "api").await, client.code(&ada, "api").await);
    t.later(599);
    tokens(&client.redeem(&early).await);
    t.later(2);
    is_error(&client.redeem(&late).await, 400, "invalid_grant");
    tollhouse::job::sweep(&t.app).await;
    is_error(&client.redeem(&late).await, 400, "invalid_grant");
}

async fn a_code_outlives_a_restart(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let again = t.reopened("").await;
    let given = tokens(&client.at(&again).redeem(&code).await);
    again.leave().await;
    let again = t.reopened("").await;
    is_error(&client.at(&again).redeem(&code).await, 400, "invalid_grant");
    again.get(USER).bearer(&given.access).await.is_user(&ada);
    again.leave().await;
}

async fn a_hundred_exchanges_at_once_have_one_winner(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let mut attempts = Vec::new();
    for _ in 0..100 {
        let (client, code) = (client.clone(), code.clone());
        attempts.push(tokio::task::spawn_local(async move { client.redeem(&code).await }));
    }
    let mut won = Vec::new();
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        match reply.status.as_u16() {
            200 => won.push(tokens(&reply)),
            503 => drop(is_error(&reply, 503, "temporarily_unavailable")),
            _ => drop(is_error(&reply, 400, "invalid_grant")),
        }
    }
    assert_eq!(won.len(), 1);
    t.get(USER).bearer(&won[0].access).await.is_user(&ada);
    assert_eq!(t.count("code.reuse_detected").await, 0);
}

async fn a_storage_that_refuses_uses_no_code_up(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    for fault in [Fault::Writes, Fault::Everything] {
        t.app.db.faults.set(fault);
        let reply = client.redeem(&code).await;
        is_error(&reply, 503, "temporarily_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    t.app.db.faults.set(Fault::None);
    let first = tokens(&client.redeem(&code).await);
    t.later(121);
    // A theft that cannot be acted upon is not answered as if it had been.
    t.app.db.faults.set(Fault::Writes);
    is_error(&client.redeem(&code).await, 503, "temporarily_unavailable");
    t.app.db.faults.set(Fault::None);
    is_error(&client.redeem(&code).await, 400, "invalid_grant");
    t.get(USER).bearer(&first.access).await.is(401, REVOKED);
}

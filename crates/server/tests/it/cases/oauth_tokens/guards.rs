//! What the endpoints about tokens have in common: methods, places of parameters, floods, and what no token is.

use serde_json::json;

use super::{INACTIVE, by};
use crate::oauth::{CALLBACK, USER, ask, basic, changed, encoded, is_error, tokens, user};
use crate::test_server::{REVOKED, TestServer};

cases![
    basic_counts_as_sent_and_form_decoded,
    basic_that_is_wrong_is_refused_in_one_way,
    what_asks_for_no_method_does_nothing,
    a_parameter_stands_in_one_place,
    a_flood_of_guesses_waits_for_its_own_address,
    t19_no_token_in_the_query,
    t19_as_the_original with "compat.query_secrets = 'gitlab'",
    revocation_and_introspection_of_what_no_token_is,
];

async fn t19_no_token_in_the_query(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let secret = format!("client_id={}&client_secret={}", client.uid, client.secret);
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let ask = by(&client, t.post(&format!("{path}?token={}", pair.access)));
        is_error(&ask.await, 400, "invalid_request");
        let ask = t.post(&format!("{path}?{secret}")).form(&encoded(&[("token", &pair.access)]));
        is_error(&ask.await, 400, "invalid_request");
    }
    user(&t, &pair.access).await.is_user(&ada);
}

async fn t19_as_the_original(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    let query = encoded(&[("token", &pair.access), ("client_id", &client.uid), ("client_secret", &client.secret)]);
    t.post(&format!("/oauth/revoke?{query}")).await.is(200, "{}");
    user(&t, &pair.access).await.is(401, REVOKED);
}

async fn revocation_and_introspection_of_what_no_token_is(t: TestServer) {
    let (ada, client, pair) = t.begun("api").await;
    let access = &pair.access;
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        let ask = |body: &str| by(&client, t.post(path).form(body));
        for body in [
            format!("token={access}&token={access}"),
            format!("token={access}&token=x"),
            format!("token[]={access}"),
            format!("token[a]={access}"),
            format!("token={access}&client_id={0}&client_id={0}", client.uid),
        ] {
            is_error(&ask(&body).await, 400, "invalid_request");
        }
        is_error(&by(&client, t.post(path).json(json!({"token": [access]}))).await, 400, "invalid_request");
        for body in ["token=%00", "token=a%00b", "token=%ff", "token=%c3%28", "%00=1"] {
            ask(body).await.has(400);
        }
        let nothing = if path == "/oauth/revoke" { "{}" } else { INACTIVE };
        ask(&format!("token={}", "x".repeat(60_000))).await.is(200, nothing);
        ask(&format!("token={}", access.to_uppercase())).await.is(200, nothing);
        ask(&format!("token={access}%20")).await.is(200, nothing);
        ask(&format!("token={}", "x".repeat(1 << 16))).await.has(413);
        for authorization in ["Basic", "Basic !", "Basic Og==", "Bearer", "Digest x"] {
            let reply = t.post(path).form(&format!("token={access}")).with("authorization", authorization).await;
            assert!((400..404).contains(&reply.status.as_u16()), "{authorization}: {}", reply.body);
        }
    }
    user(&t, access).await.is_user(&ada);
}

async fn what_asks_for_no_method_does_nothing(t: TestServer) {
    let (ada, client) = (t.user("ada").await, t.client("api").await);
    let pair = client.tokens(&ada, "api").await;
    let code = client.code(&ada, "api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let options = |path: &str, pairs: &[(&str, &str)], in_query: bool| {
        let form = encoded(&[&own[..], pairs].concat());
        match in_query {
            true => t.ask(axum::http::Method::OPTIONS, &format!("{path}?{form}")),
            false => t.ask(axum::http::Method::OPTIONS, path).form(&form),
        }
    };
    for in_query in [true, false] {
        for pairs in [
            &[("grant_type", "client_credentials")][..],
            &[("grant_type", "refresh_token"), ("refresh_token", &pair.refresh)],
            &[("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)],
        ] {
            let reply = options("/oauth/token", pairs, in_query).await;
            assert_eq!(is_error(&reply, 400, "invalid_request"), "Missing required parameter: grant_type.");
        }
        options("/oauth/revoke", &[("token", &pair.access)], in_query).await.is(200, "{}");
    }
    t.get("/api/v4/user").bearer(&pair.access).await.is_user(&ada);
    client.redeem(&code).await.has(200);
    client.refresh(&pair.refresh).await.has(200);
}

async fn a_parameter_stands_in_one_place(t: TestServer) {
    let client = t.client("api").await;
    let form =
        encoded(&[("grant_type", "client_credentials"), ("client_id", &client.uid), ("client_secret", &client.secret)]);
    let ask = |query: &str| t.post(&format!("/oauth/token{query}")).form(&form);
    ask("").await.has(200);
    ask("?something=else&something=twice").await.has(200);
    for query in ["?grant_type=client_credentials", "?scope=api&scope=api", &format!("?client_id={}", client.uid)] {
        is_error(&ask(query).await, 400, "invalid_request");
    }
}

/// As many look-ups of one address at once as anywhere (T14). Each is another one: what was looked up is remembered.
async fn a_flood_of_guesses_waits_for_its_own_address(t: TestServer) {
    let flooder = std::net::IpAddr::from([192, 0, 2, 1]);
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(t.app.auth.permit(Some(flooder)).await);
    }
    for (path, form) in [
        ("/oauth/token", "grant_type=authorization_code&code=x&redirect_uri=x&client_id=one"),
        ("/oauth/token", "grant_type=refresh_token&refresh_token=x"),
        ("/oauth/token", "grant_type=client_credentials&client_id=two"),
        ("/oauth/revoke", "token=x"),
        ("/oauth/introspect", "token=x&client_id=three"),
        ("/oauth/userinfo", "access_token=another"),
    ] {
        let waits = t.post(path).form(form).from(flooder).send();
        let waited = tokio::time::timeout(std::time::Duration::from_millis(50), waits).await;
        assert!(waited.is_err(), "{path} {form} waits for none");
        let reply = t.post(path).form(form).from(std::net::IpAddr::from([192, 0, 2, 2])).await;
        assert!(reply.status.as_u16() < 500, "somebody else does not wait");
    }
    held.clear();
    t.post("/oauth/revoke").form("token=x").from(flooder).await.is(200, "{}");
}

/// Every byte as an escape (RFC 6749 appendix B).
fn escaped(text: &str, upper: bool) -> String {
    text.bytes().map(|b| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") }).collect()
}

async fn basic_counts_as_sent_and_form_decoded(t: TestServer) {
    let (_, client, pair) = t.begun("api").await;
    let (uid, secret) = (client.uid.as_str(), client.secret.as_str());
    let itself = [("grant_type", "client_credentials"), ("scope", "api")];
    let post = |path: &str, pairs: &[(&str, &str)], header: &str| {
        t.post(path).form(&encoded(pairs)).with("authorization", header)
    };
    for (id, secret) in [
        (uid.to_owned(), secret.to_owned()),
        (uid.to_owned(), secret.replace('-', "%2D")),
        (uid.to_owned(), secret.replace('-', "%2d")),
        (escaped(uid, true), escaped(secret, true)),
        (escaped(uid, false), escaped(secret, false)),
        (escaped(uid, true), secret.to_owned()),
    ] {
        let header = basic(&id, &secret);
        tokens(&ask(&t, &itself).with("authorization", &header).await);
        let told = post("/oauth/introspect", &[("token", &pair.access)], &header).await;
        assert_eq!(told.has(200).json()["active"], true, "{id} {secret}");
        let own = tokens(&ask(&t, &itself).with("authorization", &header).await).access;
        post("/oauth/revoke", &[("token", &own)], &header).await.is(200, "{}");
        t.get(USER).bearer(&own).await.has(401);
        // The body may name the same client beside it.
        for body in [&[("client_id", uid)][..], &[("client_id", uid), ("client_secret", &client.secret)]] {
            tokens(&ask(&t, &[&itself[..], body].concat()).with("authorization", &header).await);
        }
        for body in [("client_id", "another"), ("client_secret", "another")] {
            let both = changed(&[("client_id", uid), ("client_secret", &client.secret)], &[(body.0, Some(body.1))]);
            let reply = ask(&t, &[&itself[..], &both].concat()).with("authorization", &header).await;
            is_error(&reply, 400, "invalid_request");
        }
    }
    // A form is decoded once, and its values are compared as they are.
    let twice = [("client_id", uid), ("client_secret", &*escaped(&client.secret, true))];
    is_error(&ask(&t, &[&itself[..], &twice].concat()).await, 401, "invalid_client");
}

async fn basic_that_is_wrong_is_refused_in_one_way(t: TestServer) {
    let client = t.client("api").await;
    let other = t.client("api").await;
    let itself = [("grant_type", "client_credentials")];
    let mut bodies = std::collections::BTreeSet::new();
    for (id, secret) in [
        (client.uid.clone(), "gloas%2Dwrong".to_owned()),
        (client.uid.clone(), "gloas-wrong".to_owned()),
        (client.uid.clone(), other.secret.replace('-', "%2D")),
        (client.uid.clone(), client.secret.replace('-', "%252D")),
        (client.uid.clone(), client.secret.replace('-', "+")),
        (client.uid.clone(), "%ff".to_owned()),
        (client.uid.clone(), "%00".to_owned()),
        (client.uid.clone(), "%20".to_owned()),
        (escaped(&client.uid, true), String::new()),
        (format!("{}%20", client.uid), client.secret.clone()),
        ("nobody%2D".to_owned(), client.secret.replace('-', "%2D")),
        (format!("{}%00", client.uid), client.secret.clone()),
        ("nobody".to_owned(), client.secret.clone()),
    ] {
        let reply = ask(&t, &itself).with("authorization", &basic(&id, &secret)).await;
        is_error(&reply, 401, "invalid_client");
        bodies.insert((reply.body.clone(), reply.header("www-authenticate").map(str::to_owned)));
    }
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

//! How a client shows itself, mistakes in their order, and what answers and refusals look like.

use serde_json::{Map, Value, json};

use super::{CHALLENGED, INVALID_CLIENT, INVALID_GRANT, TOKEN, both, by_password, exchange};
use crate::cases::users::keys;
use crate::oauth::{
    CALLBACK, CHALLENGE, Client, USER, VERIFIER, ask, basic, changed, encoded, id_token, is_error, tokens,
};
use crate::test_server::TestServer;

cases![
    oauth_104_no_grant_type,
    oauth_105_an_unknown_grant_type,
    mistakes_are_told_in_their_order,
    mistakes_of_the_other_grants_in_their_order with "oauth.password_grant = true",
    two_mechanisms_that_agree_are_one,
    a_public_client_by_basic,
    json_does_as_well_as_a_form,
    t19_no_secret_in_the_query,
    t19_secrets_in_the_query_as_the_original with "compat.query_secrets = 'gitlab'",
    what_an_answer_looks_like with "oauth.password_grant = true",
    what_a_refusal_looks_like with "oauth.password_grant = true",
];

type Changes<'a> = &'a [(&'a str, Option<&'a str>)];

const MALFORMED: &str =
    "The request is missing a required parameter, includes an unsupported parameter value, or is otherwise malformed.";

async fn oauth_104_no_grant_type(t: TestServer) {
    let client = t.client("api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    for reply in [t.post(TOKEN).await, ask(&t, &own).await, ask(&t, &[("grant_type", ""), own[0], own[1]]).await] {
        let description = is_error(&reply, 400, "invalid_request");
        assert_eq!(description, "Missing required parameter: grant_type.");
    }
}

async fn oauth_105_an_unknown_grant_type(t: TestServer) {
    let client = t.client("api").await;
    for grant in ["foo", "Authorization_Code", "implicit", "authorization_code refresh_token"] {
        let description = is_error(&client.token(grant, &[]).await, 400, "unsupported_grant_type");
        assert_eq!(description, "The authorization grant type is not supported by the authorization server.");
    }
}

async fn mistakes_are_told_in_their_order(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let good = changed(&exchange(&client, &code), &[("code_verifier", Some(VERIFIER))]);
    let (wrong, other) = (("client_secret", Some("gloas-wrong")), ("redirect_uri", Some("https://other.test/")));
    let table: &[(Changes<'_>, u16, &str)] = &[
        (&[wrong, ("grant_type", None)], 400, "invalid_request"),
        (&[wrong, ("grant_type", Some("foo"))], 400, "unsupported_grant_type"),
        (&[wrong, ("code", None)], 400, "invalid_request"),
        (&[wrong, ("code_verifier", None)], 400, "invalid_request"),
        (&[wrong, ("redirect_uri", None)], 400, "invalid_request"),
        (&[wrong, ("code", Some("unknown"))], 401, "invalid_client"),
        (&[wrong, other, ("code_verifier", Some(CHALLENGE))], 401, "invalid_client"),
        (&[("client_id", None), ("client_secret", None)], 401, "invalid_client"),
        (&[("code", Some("unknown")), other], 400, "invalid_grant"),
        (&[other], 400, "invalid_grant"),
        (&[other, ("code_verifier", Some(CHALLENGE))], 400, "invalid_grant"),
        (&[("code_verifier", Some(CHALLENGE))], 400, "invalid_grant"),
    ];
    for (changes, status, error) in table {
        is_error(&ask(&t, &changed(&good, changes)).await, *status, error);
    }
    tokens(&ask(&t, &good).await);
}

async fn mistakes_of_the_other_grants_in_their_order(t: TestServer) {
    let client = t.client("api").await;
    t.user_with_password("ada", "correct horse").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let grant = |pairs: &[(&'static str, Option<&'static str>)]| ask(&t, &changed(&own, pairs));
    let wrong = ("client_secret", Some("gloas-wrong"));
    let (password, itself) = (("grant_type", Some("password")), ("grant_type", Some("client_credentials")));
    let (ada, more) = (("username", Some("ada")), ("scope", Some("sudo")));
    let (right, false_one) = (("password", Some("correct horse")), ("password", Some("wrong horse")));
    is_error(&grant(&[password, wrong]).await, 401, "invalid_client");
    is_error(&grant(&[password, wrong, ada, false_one, more]).await, 401, "invalid_client");
    is_error(&grant(&[password, ada, false_one, more]).await, 400, "invalid_grant");
    is_error(&grant(&[password, ada, right, more]).await, 400, "invalid_scope");
    is_error(&grant(&[itself, wrong, more]).await, 401, "invalid_client");
    is_error(&grant(&[itself, more]).await, 400, "invalid_scope");
    tokens(&grant(&[password, ada, right]).await);
}

async fn two_mechanisms_that_agree_are_one(t: TestServer) {
    let (client, ada) = both(&t).await;
    let other = t.client("api").await;
    let code = client.code(&ada, "api").await;
    let by_both = |code: &str, id: &str, secret: Option<&str>| {
        let body = changed(&exchange(&client, code), &[("client_id", Some(id)), ("client_secret", secret)]);
        ask(&t, &body).with("authorization", &client.basic())
    };
    for (id, secret) in [
        (&other.uid, Some(other.secret.as_str())),
        (&other.uid, None),
        (&client.uid, Some("gloas-wrong")),
        (&client.uid, Some(other.secret.as_str())),
    ] {
        is_error(&by_both(&code, id, secret).await, 400, "invalid_request");
    }
    tokens(&by_both(&code, &client.uid, Some(client.secret.as_str())).await);
    let code = client.code(&ada, "api").await;
    tokens(&by_both(&code, &client.uid, None).await);
}

async fn a_public_client_by_basic(t: TestServer) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let redeem = |code: &str, secret: &str| {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
        ];
        ask(&t, &pairs).with("authorization", &basic(&client.uid, secret))
    };
    let code = client.code(&ada, "api").await;
    // It need not show its secret, but a wrong one is wrong.
    is_error(&redeem(&code, "gloas-wrong").await, 401, "invalid_client");
    tokens(&redeem(&code, "").await);
    let code = client.code(&ada, "api").await;
    tokens(&redeem(&code, &client.secret).await);
}

async fn json_does_as_well_as_a_form(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "openid api").await;
    let object = |pairs: &[(&str, &str)]| {
        let fields: Map<String, Value> = pairs.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
        Value::Object(fields)
    };
    let reply = t.post(TOKEN).json(object(&exchange(&client, &code))).await;
    let given = tokens(&reply);
    assert_eq!(id_token(&reply)["sub"], ada.id.to_string());
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", given.refresh.as_str())];
    tokens(&t.post(TOKEN).json(object(&refresh)).with("authorization", &client.basic()).await);
    is_error(&t.post(TOKEN).json(object(&exchange(&client, &code)[2..])).await, 400, "invalid_request");
}

/// T19, in its order.
const SECRET_NAMES: [&str; 7] =
    ["client_secret", "password", "code", "refresh_token", "code_verifier", "token", "device_code"];

async fn t19_no_secret_in_the_query(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let whole = encoded(&exchange(&client, &code));
    let given = client.tokens(&ada, "api").await;
    let about = [
        ("token", given.access.as_str()),
        ("client_id", client.uid.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    for name in SECRET_NAMES {
        // Whatever stands in the body: it has been written to somebody's log by now.
        is_error(&t.post(&format!("{TOKEN}?{name}=x")).form(&whole).await, 400, "invalid_request");
        for path in ["/oauth/revoke", "/oauth/introspect"] {
            let reply = t.post(&format!("{path}?{name}=x")).form(&encoded(&about)).await;
            is_error(&reply, 400, "invalid_request");
        }
    }
    is_error(&t.post(&format!("{TOKEN}?{whole}")).await, 400, "invalid_request");
    t.get(USER).bearer(&given.access).await.is_user(&ada);
    // What is no secret may stand there.
    let harmless = encoded(&[("grant_type", "authorization_code"), ("client_id", &client.uid)]);
    let rest = changed(&exchange(&client, &code), &[("grant_type", None), ("client_id", None)]);
    tokens(&t.post(&format!("{TOKEN}?{harmless}")).form(&encoded(&rest)).await);
}

async fn t19_secrets_in_the_query_as_the_original(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code(&ada, "api").await;
    let given = tokens(&t.post(&format!("{TOKEN}?{}", encoded(&exchange(&client, &code)))).await);
    t.get(USER).bearer(&given.access).await.is_user(&ada);
}

async fn what_an_answer_looks_like(t: TestServer) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let code = client.code(&ada, "openid api").await;
    let first = client.redeem(&code).await;
    let next = client.refresh(&tokens(&first).refresh).await;
    let login = [("username", "ada"), ("password", "correct horse"), ("scope", "openid api")];
    let replies = [first, next, client.token("password", &login).await, client.token("client_credentials", &[]).await];
    for reply in &replies {
        assert_eq!(reply.has(200).header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("pragma"), Some("no-cache"));
        assert_eq!(reply.header("www-authenticate"), None);
        assert_eq!(reply.header("set-cookie"), None);
    }
    let order: &[&str] =
        &["access_token", "token_type", "expires_in", "refresh_token", "scope", "created_at", "id_token"];
    for reply in &replies[..3] {
        assert_eq!(keys(reply), order);
    }
    let without = client.code(&ada, "api").await;
    assert_eq!(keys(&client.redeem(&without).await), &order[..6]);
}

async fn what_a_refusal_looks_like(t: TestServer) {
    let client = t.client("api").await;
    let wrong = Client { secret: "gloas-wrong".to_owned(), ..client.clone() };
    let public = t.public_client("api").await;
    let table = [
        (client.redeem("unknown"), 400, "invalid_grant", INVALID_GRANT),
        (wrong.redeem("unknown"), 401, "invalid_client", INVALID_CLIENT),
        (
            by_password(&public, "ada", "x"),
            401,
            "unauthorized_client",
            "The client is not authorized to perform this request using this method.",
        ),
        (
            client.token("client_credentials", &[("scope", "x")]),
            400,
            "invalid_scope",
            "The requested scope is invalid, unknown, or malformed.",
        ),
        (
            client.token("foo", &[]),
            400,
            "unsupported_grant_type",
            "The authorization grant type is not supported by the authorization server.",
        ),
        (client.token("authorization_code", &[]), 400, "invalid_request", "Missing required parameter: code."),
        (client.token("refresh_token", &[]), 400, "invalid_request", "Missing required parameter: refresh_token."),
        (client.token("foo", &[("grant_type", "foo")]), 400, "invalid_request", MALFORMED),
    ];
    for (ask, status, error, description) in table {
        let reply = ask.await;
        assert_eq!(is_error(&reply, status, error), description);
        assert_eq!(keys(&reply), ["error", "error_description"]);
        let challenge = format!(r#"Bearer realm="Doorkeeper", error="{error}", error_description="{description}""#);
        assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        let media = reply.header("content-type").expect("a media type");
        assert!(media.starts_with("application/json"), "{media}");
    }
}

//! Mistakes of a request: which is told first, and whom it is told.

use tollhouse::operations::applications::{CreateApplication, Delete};

use super::{
    BAD_REDIRECT, BAD_SCOPE, BAD_TYPE, allowed, carried, consent, is_closed, is_error_page, is_told, lists, pressed,
    sent_on,
};
use crate::oauth::{CHALLENGE, create, is_error, sent_back};
use crate::test_server::TestServer;

cases![
    each_refusal_is_a_line_of_the_log,
    oauth_002_an_unknown_application_on_the_page,
    oauth_005_an_unknown_application_by_post,
    oauth_119_a_challenge_without_a_method,
    oauth_129_a_blank_client_id,
    oauth_130_a_scope_that_the_application_lacks,
    oauth_131_no_scope_and_no_api,
    t20_public_applications_send_a_challenge,
    t20_as_the_original with "compat.pkce = 'gitlab'",
    response_modes_and_types_there_are_not,
    scopes_that_cannot_be_read,
    a_challenge_names_its_method,
    the_first_fault_is_told,
    a_fault_on_the_page_leads_nowhere,
    what_would_fill_the_disk_is_refused,
    an_application_that_is_gone,
];

const UNKNOWN_CLIENT: &str = "failed due to unknown client";
const BAD_MODE: &str = "The authorization server does not support this response mode.";
const BAD_METHOD: &str = "The code_challenge_method must be S256.";
const NO_CHALLENGE: &str = "Missing required parameter: code_challenge.";

async fn oauth_002_an_unknown_application_on_the_page(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let zeros = "0".repeat(64);
    let capitals = client.uid.to_ascii_uppercase();
    for uid in ["nobody", zeros.as_str(), capitals.as_str(), &client.uid[..63], "' OR 1=1 --"] {
        is_error_page(&client.page(&session, "api", &[("client_id", Some(uid))]).await, UNKNOWN_CLIENT);
    }
}

async fn oauth_005_an_unknown_application_by_post(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let changes = [("client_id", Some("nobody"))];
    for reply in [client.allow(&session, "api", &changes).await, client.deny(&session, "api", &changes).await] {
        assert_eq!(reply.header("location"), None);
        assert!(is_error(&reply, 401, "invalid_client").contains(UNKNOWN_CLIENT));
    }
}

async fn oauth_119_a_challenge_without_a_method(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("code_challenge", Some(CHALLENGE))]).await;
    let twin = t.app.settings.compat.pkce.is_gitlab();
    let told = if twin { "The code_challenge_method must be one of plain, S256." } else { BAD_METHOD };
    is_told(&reply, "invalid_code_challenge_method", told);
}

async fn oauth_129_a_blank_client_id(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("client_id", Some(""))]).await;
    is_error_page(&page, "Missing required parameter: client_id.");
}

async fn oauth_130_a_scope_that_the_application_lacks(t: TestServer) {
    let client = t.client("read_user").await;
    let session = t.user("ada").await.session().await;
    for scope in ["api", "read_user api", "sudo"] {
        is_told(&client.allow(&session, scope, &[]).await, "invalid_scope", BAD_SCOPE);
        is_error_page(&client.page(&session, scope, &[]).await, BAD_SCOPE);
    }
}

async fn oauth_131_no_scope_and_no_api(t: TestServer) {
    let session = t.user("ada").await.session().await;
    let client = t.client("read_user profile").await;
    is_error_page(&client.page(&session, "", &[("scope", None)]).await, BAD_SCOPE);
    is_told(&client.allow(&session, "", &[("scope", None)]).await, "invalid_scope", BAD_SCOPE);
    let with_api = t.client("read_user api").await;
    let page = with_api.page(&session, "", &[("scope", None)]).await;
    consent(&page);
    assert!(lists(&page, "api") && !lists(&page, "read_user"));
    let code = sent_back(&with_api.allow(&session, "", &[("scope", None)]).await, "code").expect("a code");
    assert_eq!(with_api.redeem(&code).await.has(200).json()["scope"], "api");
}

async fn t20_public_applications_send_a_challenge(t: TestServer) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    for missing in [None, Some("")] {
        let changes = [("code_challenge", missing), ("code_challenge_method", None)];
        is_error_page(&client.page(&session, "api", &changes).await, NO_CHALLENGE);
        is_told(&client.allow(&session, "api", &changes).await, "invalid_request", NO_CHALLENGE);
    }
    let method_alone = [("code_challenge", None)];
    is_told(&client.allow(&session, "api", &method_alone).await, "invalid_request", NO_CHALLENGE);
    let trusted = t.client_with(CreateApplication { trusted: true, confidential: false, ..create("api") }).await;
    is_error_page(&trusted.page(&session, "api", &method_alone).await, NO_CHALLENGE);
    assert_eq!(allowed(&t).await, 0);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
    let confidential = t.client("api").await;
    assert!(sent_back(&confidential.allow(&session, "api", &[]).await, "code").is_some());
}

async fn t20_as_the_original(t: TestServer) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    let changes = [("code_challenge", None), ("code_challenge_method", None)];
    consent(&client.page(&session, "api", &changes).await);
    assert!(sent_back(&client.allow(&session, "api", &changes).await, "code").is_some());
}

async fn response_modes_and_types_there_are_not(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for mode in ["web_message", "jwt", "Query", "query fragment"] {
        let changes = [("response_mode", Some(mode))];
        is_error_page(&client.page(&session, "api", &changes).await, BAD_MODE);
        is_told(&client.allow(&session, "api", &changes).await, "unsupported_response_mode", BAD_MODE);
    }
    for kind in ["id_token", "code token", "code id_token", "Code", "none"] {
        let changes = [("response_type", Some(kind))];
        is_error_page(&client.page(&session, "api", &changes).await, BAD_TYPE);
        is_told(&client.allow(&session, "api", &changes).await, "unsupported_response_type", BAD_TYPE);
    }
    let token = [("response_type", Some("token")), ("response_mode", Some("query"))];
    is_told(&client.allow(&session, "api", &token).await, "unsupported_response_type", BAD_TYPE);
    let missing = "Missing required parameter: response_type.";
    for kind in [None, Some("")] {
        let changes = [("response_type", kind)];
        is_error_page(&client.page(&session, "api", &changes).await, missing);
        is_told(&client.allow(&session, "api", &changes).await, "invalid_request", missing);
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn scopes_that_cannot_be_read(t: TestServer) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    for scope in ["api\tread_user", "api\nread_user", "api\r\n", "\tapi", "API", "api,read_user", "api nonsense", "*"] {
        is_error_page(&client.page(&session, scope, &[]).await, BAD_SCOPE);
        is_told(&client.allow(&session, scope, &[]).await, "invalid_scope", BAD_SCOPE);
    }
    assert!(sent_back(&client.allow(&session, "api read_user", &[]).await, "code").is_some());
}

async fn a_challenge_names_its_method(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for client in [t.client("api").await, t.public_client("api").await] {
        for (method, good) in [
            (Some("S256"), true),
            (Some("plain"), false),
            (Some("s256"), false),
            (Some("PLAIN"), false),
            (Some("S512"), false),
            (Some("S256 "), false),
            (Some(""), false),
            (None, false),
        ] {
            let changes = [("code_challenge", Some(CHALLENGE)), ("code_challenge_method", method)];
            let page = client.page(&session, "api", &changes).await;
            let reply = client.allow(&session, "api", &changes).await;
            if good {
                consent(&page);
                assert!(sent_back(&reply, "code").is_some());
            } else {
                is_error_page(&page, BAD_METHOD);
                is_told(&reply, "invalid_code_challenge_method", BAD_METHOD);
            }
        }
    }
}

async fn the_first_fault_is_told(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    // From the last fault to the first: each one put before those that are there.
    let faults = [
        ("code_challenge_method", "x", BAD_METHOD),
        ("scope", "nonsense", BAD_SCOPE),
        ("response_mode", "x", BAD_MODE),
        ("response_type", "x", BAD_TYPE),
        ("response_type", "", "Missing required parameter: response_type."),
        ("redirect_uri", "https://evil.test/", BAD_REDIRECT),
        ("client_id", "nobody", UNKNOWN_CLIENT),
        ("client_id", "", "Missing required parameter: client_id."),
    ];
    let mut changes = vec![("code_challenge", Some(CHALLENGE))];
    for (name, value, told) in faults {
        changes.push((name, Some(value)));
        is_error_page(&client.page(&session, "api", &changes).await, told);
        let reply = client.allow(&session, "api", &changes).await;
        let description = match reply.header("location") {
            Some(to) => carried(to, '?', "error_description").expect("a description"),
            None => reply.json()["error_description"].as_str().expect("a description").to_owned(),
        };
        assert!(description.contains(told), "{name}={value}: {description}");
        let away = ["redirect_uri", "client_id"].contains(&name);
        assert_eq!(reply.header("location").is_none(), away, "{name}={value}");
    }
}

async fn a_fault_on_the_page_leads_nowhere(t: TestServer) {
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let known = t.client("api").await;
    known.tokens(&ada, "api").await;
    for client in [known, t.trusted_client("api").await] {
        sent_on(&client.page(&session, "api", &[]).await);
        for (name, value) in [
            ("response_type", Some("token")),
            ("response_type", None),
            ("response_mode", Some("x")),
            ("scope", Some("read_user")),
            ("code_challenge", Some("x")),
            ("redirect_uri", Some("https://evil.test/")),
        ] {
            is_closed(&client.page(&session, "api", &[(name, value)]).await);
        }
    }
}

async fn what_would_fill_the_disk_is_refused(t: TestServer) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    for (name, longest) in [("nonce", 255), ("code_challenge", 43)] {
        let (fits, long) = ("n".repeat(longest), "n".repeat(longest + 1));
        let with = |value| [(name, Some(value)), ("code_challenge_method", Some("S256"))];
        assert!(sent_back(&client.allow(&session, "openid", &with(&fits)).await, "code").is_some());
        let refused = client.allow(&session, "openid", &with(&long)).await;
        assert_eq!(sent_back(&refused, "error").as_deref(), Some("invalid_request"));
    }
}

async fn an_application_that_is_gone(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let (allow, deny) = consent(&client.page(&session, "api", &[]).await);
    t.does(Delete { id: client.id }).await;
    for form in [allow, deny] {
        let reply = pressed(&t, &form).session(&session).await;
        assert!(is_error(&reply, 401, "invalid_client").contains(UNKNOWN_CLIENT));
        assert_eq!(reply.header("location"), None);
    }
    is_error_page(&client.page(&session, "api", &[]).await, UNKNOWN_CLIENT);
}

async fn each_refusal_is_a_line_of_the_log(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let access = client.tokens(&ada, "api").await.access;
    let lines = crate::test_server::logged(async {
        client.page(&session, "api", &[("redirect_uri", Some("https://evil.test/"))]).await.has(200);
        client.page(&session, "read_user", &[]).await.has(200);
        client.allow(&session, "api", &[("client_id", Some("nobody"))]).await.has(401);
        client.allow(&session, "api", &[("response_type", Some("token"))]).await.has(302);
        client.deny(&session, "api", &[]).await.has(302);
        t.get("/oauth/userinfo").bearer(&access).await.is(403, "");
        t.get("/oauth/nowhere").await.has(404);
    })
    .await;
    for reason in [
        "invalid_redirect_uri",
        "invalid_scope",
        "invalid_client",
        "unsupported_response_type",
        "access_denied",
        "insufficient_scope",
        "no_route",
    ] {
        assert!(lines.contains(&format!("reason=\"{reason}\"")), "{reason}: {lines}");
    }
    let long = format!("/oauth/token?{}", "x".repeat(40_000));
    crate::oauth::is_error(&t.post(&long).await, 414, "invalid_request");
}

//! The page that asks: whom, for what, and who is sent on without it.

use tollhouse::operations::applications::CreateApplication;

use super::{
    AUTHORIZE, BAD_SCOPE, allowed, carried, consent, field, is_closed, is_error_page, lists, pressed, sent_on, with_uri,
};
use crate::oauth::{CALLBACK, CHALLENGE, VERIFIER, encoded, is_error, sent_back, tokens};
use crate::test_server::TestServer;

cases![
    oauth_001_the_page_that_asks,
    oauth_017_nothing_asked_for,
    oauth_019_who_has_its_token_is_sent_on,
    oauth_023_administrators_may_be_kept_from_it with "oauth.disable_admin_oauth_scopes = true",
    oauth_024_but_not_from_trusted_ones with "oauth.disable_admin_oauth_scopes = true",
    oauth_025_and_nobody_else_is with "oauth.disable_admin_oauth_scopes = true",
    oauth_026_a_login_asks_for_read_user_alone,
    oauth_027_a_login_gives_the_application_read_user with "compat.gl_auth_type = 'gitlab'",
    oauth_028_a_login_leaves_other_scopes,
    oauth_031_the_page_of_a_public_application,
    t21_another_redirect_uri_is_asked_for,
    t21_other_scopes_are_asked_for,
    t21_scopes_of_administrators_are_asked_for,
    t21_as_the_original with "compat.admin_scopes = 'gitlab'",
    t21_the_page_says_where_it_leads_and_whose_it_is,
    t21_a_get_changes_no_application,
    a_public_application_is_never_waved_through,
    consent_is_one_persons_and_ends_with_the_token,
    the_pages_own_forms_do_what_they_say,
    the_head_of_the_page_gives_no_code,
    a_sign_in_asks_for_no_more_whatever_was_asked,
];

async fn oauth_001_the_page_that_asks(t: TestServer) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[]).await;
    let (allow, _) = consent(&page);
    assert_eq!(field(&allow, "scope"), Some("api"));
    assert!(lists(&page, "api") && !lists(&page, "read_user"));
    assert!(page.body.contains("Ferry board") && page.body.contains("ada"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors 'none'")));
    assert_eq!(allowed(&t).await, 0, "looking allows nothing");
}

async fn oauth_017_nothing_asked_for(t: TestServer) {
    let session = t.user("ada").await.session().await;
    is_error_page(&t.get(AUTHORIZE).session(&session).await, "Missing required parameter: client_id.");
    let csrf = session.csrf();
    let empty = encoded(&[("authenticity_token", csrf.as_str())]);
    let reply = t.post(AUTHORIZE).session(&session).form(&empty).await;
    assert_eq!(is_error(&reply, 400, "invalid_request"), "Missing required parameter: client_id.");
}

async fn oauth_019_who_has_its_token_is_sent_on(t: TestServer) {
    let client = t.client("api read_user").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    consent(&client.page(&session, "api read_user", &[]).await);
    client.tokens(&ada, "api read_user").await;
    let url = sent_on(&client.page(&session, "api read_user", &[]).await);
    assert_eq!(carried(&url, '?', "state").as_deref(), Some("a state"));
    let code = carried(&url, '?', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    sent_on(&client.page(&session, "read_user api", &[]).await);
    t.later(7_300);
    sent_on(&client.page(&session, "api read_user", &[]).await);
}

async fn oauth_023_administrators_may_be_kept_from_it(t: TestServer) {
    let session = t.admin().await.session().await;
    for scope in ["api", "read_api", "sudo", "admin_mode", "read_service_ping", "read_repository", "write_registry"] {
        let scopes = format!("read_user {scope}");
        let client = t.client(&scopes).await;
        let page = client.page(&session, "read_user", &[]).await;
        is_closed(&page);
        is_closed(&client.allow(&session, "read_user", &[]).await);
        is_closed(&client.deny(&session, "read_user", &[]).await);
    }
    assert_eq!(allowed(&t).await, 0);
    let harmless = t.client("read_user openid profile email").await;
    consent(&harmless.page(&session, "openid", &[]).await);
    assert!(sent_back(&harmless.allow(&session, "openid", &[]).await, "code").is_some());
}

async fn oauth_024_but_not_from_trusted_ones(t: TestServer) {
    let client = t.trusted_client("api").await;
    let session = t.admin().await.session().await;
    let url = sent_on(&client.page(&session, "api", &[]).await);
    assert!(carried(&url, '?', "code").is_some(), "{url}");
}

async fn oauth_025_and_nobody_else_is(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    consent(&client.page(&session, "api", &[]).await);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
}

async fn oauth_026_a_login_asks_for_read_user_alone(t: TestServer) {
    let client = t.client("api read_user").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    let (allow, deny) = consent(&page);
    assert_eq!((field(&allow, "scope"), field(&deny, "scope")), (Some("read_user"), Some("read_user")));
    assert!(lists(&page, "read_user") && !lists(&page, "api"));
    let other = client.page(&session, "api", &[("gl_auth_type", Some("other"))]).await;
    assert_eq!(field(&consent(&other).0, "scope"), Some("api"));
    let posted = client.allow(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    let code = sent_back(&posted, "code").expect("a code");
    assert_eq!(client.redeem(&code).await.has(200).json()["scope"], "api", "it counts on the page alone");
}

async fn oauth_027_a_login_gives_the_application_read_user(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    is_error_page(&client.page(&session, "read_user", &[]).await, BAD_SCOPE);
    let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
    assert_eq!(field(&consent(&page).0, "scope"), Some("read_user"));
    consent(&client.page(&session, "read_user", &[]).await);
    consent(&client.page(&session, "api", &[]).await);
    is_error_page(&client.page(&session, "read_api", &[]).await, BAD_SCOPE);
}

async fn oauth_028_a_login_leaves_other_scopes(t: TestServer) {
    let client = t.client("profile").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "profile", &[("gl_auth_type", Some("login"))]).await;
    assert_eq!(field(&consent(&page).0, "scope"), Some("profile"));
    assert!(lists(&page, "profile") && !lists(&page, "read_user"));
}

async fn oauth_031_the_page_of_a_public_application(t: TestServer) {
    let client = t.public_client("api").await;
    let session = t.user("ada").await.session().await;
    let (allow, deny) = consent(&client.page(&session, "api", &[]).await);
    for form in [allow, deny] {
        assert_eq!(field(&form, "code_challenge"), Some(CHALLENGE));
        assert_eq!(field(&form, "code_challenge_method"), Some("S256"));
    }
}

async fn t21_another_redirect_uri_is_asked_for(t: TestServer) {
    let other = "https://app.example.test/other";
    let more = format!("{CALLBACK}?tenant=1");
    let client = t.client_with(with_uri(&format!("{CALLBACK}\n{other}\n{more}"))).await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    client.tokens(&ada, "api").await;
    sent_on(&client.page(&session, "api", &[]).await);
    for uri in [other, more.as_str()] {
        consent(&client.page(&session, "api", &[("redirect_uri", Some(uri))]).await);
    }
}

async fn t21_other_scopes_are_asked_for(t: TestServer) {
    let client = t.client("api read_user openid").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    client.tokens(&ada, "api read_user").await;
    for scope in ["api", "read_user", "openid", "api read_user openid"] {
        consent(&client.page(&session, scope, &[]).await);
    }
    consent(&client.page(&session, "", &[("scope", None)]).await);
    sent_on(&client.page(&session, "api read_user", &[]).await);
    let twin = t.client("api read_user").await;
    consent(&twin.page(&session, "api read_user", &[]).await);
}

async fn t21_scopes_of_administrators_are_asked_for(t: TestServer) {
    let warden = t.admin().await;
    for person in [warden, t.user("ada").await] {
        let session = person.session().await;
        for scope in ["sudo", "admin_mode", "read_service_ping"] {
            let both = format!("api {scope}");
            let trusted = t.trusted_client(&both).await;
            consent(&trusted.page(&session, scope, &[]).await);
            consent(&trusted.page(&session, &both, &[]).await);
            sent_on(&trusted.page(&session, "api", &[]).await);
            let client = t.client(&both).await;
            client.tokens(&person, &both).await;
            let page = client.page(&session, &both, &[]).await;
            consent(&page);
            assert!(lists(&page, scope));
        }
    }
}

async fn t21_as_the_original(t: TestServer) {
    let warden = t.admin().await;
    let session = warden.session().await;
    let trusted = t.trusted_client("api sudo").await;
    sent_on(&trusted.page(&session, "api sudo", &[]).await);
    let client = t.client("api sudo").await;
    client.tokens(&warden, "api sudo").await;
    sent_on(&client.page(&session, "api sudo", &[]).await);
}

async fn t21_the_page_says_where_it_leads_and_whose_it_is(t: TestServer) {
    let grace = t.user("grace").await;
    let uri = "https://ferry.example.test:8443/cb";
    let client = t.client_with(CreateApplication { owner: Some(grace.id), ..with_uri(uri) }).await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
    consent(&page);
    // What people read, not what the form holds.
    let text: String = page.body.split('<').filter_map(|tag| tag.split_once('>')).map(|(_, text)| text).collect();
    for shown in ["ferry.example.test:8443", "grace", "ada", "Ferry board"] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
}

async fn t21_a_get_changes_no_application(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for _ in 0..2 {
        let page = client.page(&session, "api", &[("gl_auth_type", Some("login"))]).await;
        assert_eq!(field(&consent(&page).0, "scope"), Some("api"));
        assert!(lists(&page, "api") && !lists(&page, "read_user"));
        is_error_page(&client.page(&session, "read_user", &[]).await, BAD_SCOPE);
    }
}

async fn a_public_application_is_never_waved_through(t: TestServer) {
    let client = t.public_client("api").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for _ in 0..2 {
        client.tokens(&ada, "api").await;
        consent(&client.page(&session, "api", &[]).await);
    }
}

async fn consent_is_one_persons_and_ends_with_the_token(t: TestServer) {
    let client = t.client("api").await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let session = ada.session().await;
    let live = client.tokens(&ada, "api").await;
    sent_on(&client.page(&session, "api", &[]).await);
    consent(&client.page(&grace.session().await, "api", &[]).await);
    let token = encoded(&[("token", live.access.as_str())]);
    t.post("/oauth/revoke").with("authorization", &client.basic()).form(&token).await.has(200);
    consent(&client.page(&session, "api", &[]).await);
}

async fn the_pages_own_forms_do_what_they_say(t: TestServer) {
    let client = t.client("openid api").await;
    let session = t.user("ada").await.session().await;
    let changes = [
        ("state", Some("{\"to\": \"/a?b=1&c='2'\"} \u{fc}")),
        ("nonce", Some("n <once>")),
        ("response_mode", Some("query")),
        ("code_challenge", Some(CHALLENGE)),
        ("code_challenge_method", Some("S256")),
    ];
    let (allow, deny) = consent(&client.page(&session, "openid api", &changes).await);
    for form in [&allow, &deny] {
        for (name, value) in changes {
            assert_eq!(field(form, name), value, "{name}");
        }
        assert_eq!(field(form, "client_id"), Some(client.uid.as_str()));
        assert_eq!(field(form, "redirect_uri"), Some(CALLBACK));
        assert_eq!(field(form, "response_type"), Some("code"));
        assert_eq!(field(form, "scope"), Some("openid api"));
    }
    let denied = pressed(&t, &deny).session(&session).await;
    assert_eq!(sent_back(&denied, "error").as_deref(), Some("access_denied"));
    let reply = pressed(&t, &allow).session(&session).await;
    assert_eq!(sent_back(&reply, "state").as_deref(), changes[0].1);
    let code = sent_back(&reply, "code").expect("a code");
    client.redeem(&code).await.has(400);
    let pairs = [("code", code.as_str()), ("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)];
    tokens(&client.token("authorization_code", &pairs).await);
    // What was not asked for is not sent back either.
    let (allow, deny) = consent(&client.page(&session, "api", &[("state", None)]).await);
    for form in [allow, deny] {
        assert_eq!(sent_back(&pressed(&t, &form).session(&session).await, "state"), None);
    }
}

async fn the_head_of_the_page_gives_no_code(t: TestServer) {
    let trusted = t.trusted_client("api").await;
    let session = t.user("ada").await.session().await;
    let before = allowed(&t).await;
    let query = encoded(&trusted.request("api"));
    t.ask(axum::http::Method::HEAD, &format!("{AUTHORIZE}?{query}")).session(&session).await.has(200);
    assert_eq!(allowed(&t).await, before);
    trusted.page(&session, "api", &[]).await.has(200);
    assert_eq!(allowed(&t).await, before + 1);
}

async fn a_sign_in_asks_for_no_more_whatever_was_asked(t: TestServer) {
    let client = t.client("read_user openid").await;
    let session = t.user("ada").await.session().await;
    for scope in [None, Some("api"), Some("openid")] {
        let changes = [("scope", scope), ("gl_auth_type", Some("login"))];
        let (allow, _) = consent(&client.page(&session, "openid", &changes).await);
        assert_eq!(field(&allow, "scope"), Some("read_user"));
    }
    let without = client.page(&session, "openid", &[("scope", None)]).await;
    is_error_page(&without, BAD_SCOPE);
}

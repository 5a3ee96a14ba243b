//! What the application is sent: a code, an error, its state.

use tollhouse_store::faults::Fault;

use super::{BAD_TYPE, allowed, carried, consent, field, is_error_page, is_told, location, sent_on};
use crate::oauth::{CALLBACK, is_error, is_hex, sent_back, tokens};
use crate::test_server::{Session, TestServer};

cases![
    oauth_004_allowed,
    oauth_020_who_has_its_token_may_allow_again,
    oauth_094_openid_needs_no_nonce,
    oauth_118_a_token_is_refused_in_the_fragment,
    oauth_120_denied,
    an_answer_in_the_fragment,
    a_state_comes_back_untouched,
    a_code_that_cannot_be_kept_is_not_given,
    a_code_that_is_carried_over_by_hand,
    every_answer_names_its_issuer,
    an_issuer_is_named_as_it_is_discovered with "external_url = 'https://git.example.test'",
    no_answer_names_an_issuer_as_the_original with "compat.iss = 'gitlab'",
    a_browser_is_led_on_by_a_page,
    other_clients_are_redirected,
];

const DENIED: &str = "The resource owner or authorization server denied the request.";

async fn oauth_004_allowed(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[]).await;
    assert!(location(&reply).starts_with(&format!("{CALLBACK}?code=")));
    assert_eq!(sent_back(&reply, "state").as_deref(), Some("a state"));
    let code = sent_back(&reply, "code").expect("a code");
    assert!(is_hex(&code), "{code}");
    assert!(reply.header("cache-control").is_some_and(|cache| cache.starts_with("no-store")));
    assert_eq!(allowed(&t).await, 1);
    let again = client.allow(&session, "api", &[("state", None)]).await;
    assert_eq!(sent_back(&again, "state"), None, "none was sent");
    assert_ne!(sent_back(&again, "code"), Some(code));
}

async fn oauth_020_who_has_its_token_may_allow_again(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user("ada").await;
    let first = client.tokens(&ada, "api").await;
    let reply = client.allow(&ada.session().await, "api", &[]).await;
    let code = sent_back(&reply, "code").expect("a code");
    assert_ne!(tokens(&client.redeem(&code).await), first);
}

async fn oauth_094_openid_needs_no_nonce(t: TestServer) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "openid", &[]).await;
    assert!(sent_back(&reply, "code").is_some());
}

async fn oauth_118_a_token_is_refused_in_the_fragment(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("response_type", Some("token"))]).await;
    let to = location(&reply);
    assert!(to.starts_with(&format!("{CALLBACK}#error=unsupported_response_type")), "{to}");
    assert_eq!(carried(to, '#', "error_description").as_deref(), Some(BAD_TYPE));
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let page = client.page(&session, "api", &[("response_type", Some("token"))]).await;
    is_error_page(&page, BAD_TYPE);
}

async fn oauth_120_denied(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let reply = client.deny(&session, "api", &[]).await;
    is_told(&reply, "access_denied", DENIED);
    let to = "error=access_denied&error_description=The+resource+owner+or+authorization+server+denied+the+request.";
    let issuer = if t.app.settings.compat.iss.is_gitlab() { "" } else { "&iss=http%3A%2F%2F127.0.0.1%3A8080" };
    assert_eq!(location(&reply), format!("{CALLBACK}?{to}&state=a+state{issuer}"));
    assert_eq!(sent_back(&client.deny(&session, "api", &[("state", None)]).await, "state"), None);
    assert_eq!(allowed(&t).await, 0);
    consent(&client.page(&session, "api", &[]).await);
}

async fn an_answer_in_the_fragment(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let fragment = [("response_mode", Some("fragment"))];
    consent(&client.page(&session, "api", &fragment).await);
    let reply = client.allow(&session, "api", &fragment).await;
    let to = location(&reply);
    assert!(to.starts_with(&format!("{CALLBACK}#code=")), "{to}");
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let code = carried(to, '#', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    let error = client.allow(&session, "read_user", &fragment).await;
    let to = location(&error);
    assert!(to.starts_with(&format!("{CALLBACK}#error=invalid_scope")), "{to}");
    assert_eq!(carried(to, '#', "state").as_deref(), Some("a state"));
    let trusted = t.trusted_client("api").await;
    let url = sent_on(&trusted.page(&session, "api", &fragment).await);
    assert!(url.starts_with(&format!("{CALLBACK}#code=")), "{url}");
    let query = client.allow(&session, "api", &[("response_mode", Some("query"))]).await;
    assert!(sent_back(&query, "code").is_some());
}

async fn a_state_comes_back_untouched(t: TestServer) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let session = t.user("ada").await.session().await;
    for state in [
        "x",
        " x ",
        "a+b",
        "%41%zz",
        "a=b&code=c#d?e",
        "{\"k\":[1,\"\u{fc}\"]}",
        "'\"<>&amp;",
        "\u{1f6e5}\u{fe0f}\u{202e}",
        "line\r\nset-cookie: x=y",
        "https://evil.test/",
    ] {
        let changes = [("state", Some(state))];
        let kept = |url: &str, mark: char| assert_eq!(carried(url, mark, "state").as_deref(), Some(state), "{url}");
        kept(location(&client.allow(&session, "api", &changes).await), '?');
        kept(location(&client.deny(&session, "api", &changes).await), '?');
        kept(location(&client.allow(&session, "read_user", &changes).await), '?');
        let fragment = [("state", Some(state)), ("response_mode", Some("fragment"))];
        kept(location(&client.allow(&session, "api", &fragment).await), '#');
        kept(&sent_on(&trusted.page(&session, "api", &changes).await), '?');
        let (allow, _) = consent(&client.page(&session, "api", &changes).await);
        assert_eq!(field(&allow, "state"), Some(state));
    }
}

async fn a_code_that_cannot_be_kept_is_not_given(t: TestServer) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let session = t.user("ada").await.session().await;
    t.app.db.faults.set(Fault::Writes);
    for ask in [client.allow(&session, "api", &[]), trusted.page(&session, "api", &[])] {
        let reply = ask.await;
        assert_eq!(reply.has(503).header("location"), None);
        assert!(!reply.body.contains("code="), "{}", reply.body);
    }
    t.app.db.faults.set(Fault::None);
    assert_eq!(allowed(&t).await, 0);
    assert!(sent_back(&client.allow(&session, "api", &[]).await, "code").is_some());
}

/// `urn:ietf:wg:oauth:2.0:oob`: there is no address, so faults are told here, and the code is shown.
async fn a_code_that_is_carried_over_by_hand(t: TestServer) {
    const BY_HAND: &str = "urn:ietf:wg:oauth:2.0:oob";
    let client = t
        .client_with(tollhouse::operations::applications::CreateApplication {
            redirect_uri: BY_HAND.to_owned(),
            ..crate::oauth::create("api")
        })
        .await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let by_hand = [("redirect_uri", Some(BY_HAND))];
    let page = client.page(&session, "api", &by_hand).await;
    assert_eq!(field(&consent(&page).0, "redirect_uri"), Some(BY_HAND));
    assert!(page.header("content-security-policy").is_some_and(|policy| policy.contains("form-action 'self';")));
    let reply = client.allow(&session, "api", &by_hand).await;
    let to = location(reply.has(302));
    let code = to.strip_prefix("/oauth/authorize/native?code=").expect("our own page");
    let shown = t.get(to).session(&session).await;
    assert!(shown.has(200).body.contains(code) && is_hex(code));
    let exchange = [("code", code), ("redirect_uri", BY_HAND)];
    tokens(&client.token("authorization_code", &exchange).await);
    is_error(&client.deny(&session, "api", &by_hand).await, 400, "access_denied");
    is_error(&client.allow(&session, "read_user", &by_hand).await, 400, "invalid_scope");
    // It speaks for nobody who wrote a link to it.
    for junk in ["", "?code=", "?code=call+0800+12345", "?code[]=x", &format!("?code={}", "g".repeat(64))] {
        assert!(
            [400, 404]
                .contains(&t.get(&format!("/oauth/authorize/native{junk}")).session(&session).await.status.as_u16())
        );
    }
    assert_eq!(location(&t.get(to).await), "/users/sign_in");
    // That page is ours, so no policy is in the way; and RFC 9207 is about answers to an application.
    let browser = client.allow(&session, "api", &by_hand).with("sec-fetch-mode", "navigate").await;
    assert!(location(&browser).starts_with("/oauth/authorize/native?code=") && !location(&browser).contains("iss="));
}

/// RFC 9207: errors too, in the query and in the fragment.
async fn every_answer_names_its_issuer(t: TestServer) {
    let (client, trusted) = (t.client("openid").await, t.trusted_client("openid").await);
    let session = t.user("ada").await.session().await;
    let nobody = Session { cookie: "f".repeat(32) };
    let discovered = t.get("/.well-known/openid-configuration").await.has(200).json();
    assert_eq!(discovered["authorization_response_iss_parameter_supported"], true);
    let issuer = discovered["issuer"].as_str().expect("a text");
    for (mode, mark) in [("query", '?'), ("fragment", '#')] {
        let changes = [("response_mode", Some(mode))];
        let silent = [("response_mode", Some(mode)), ("prompt", Some("none"))];
        let answers = [
            location(&client.allow(&session, "openid", &changes).await).to_owned(),
            location(&client.deny(&session, "openid", &changes).await).to_owned(),
            location(&client.allow(&session, "api", &changes).await).to_owned(),
            sent_on(&client.allow(&session, "openid", &changes).with("sec-fetch-mode", "navigate").await),
            sent_on(&client.deny(&session, "openid", &changes).with("sec-fetch-mode", "navigate").await),
            sent_on(&trusted.page(&session, "openid", &changes).await),
            location(&trusted.page(&session, "openid", &silent).await).to_owned(),
            location(&client.page(&session, "openid", &silent).await).to_owned(),
            location(&client.page(&nobody, "openid", &silent).await).to_owned(),
        ];
        for (i, url) in answers.iter().enumerate() {
            assert_eq!(carried(url, mark, "iss").as_deref(), Some(issuer), "{i}: {url}");
            assert_eq!(url.matches("iss=").count(), 1, "{i}: {url}");
        }
    }
}

async fn an_issuer_is_named_as_it_is_discovered(t: TestServer) {
    let host = "git.example.test";
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let discovered = t.get("/.well-known/openid-configuration").host(host).await.has(200).json();
    for ask in [client.allow(&session, "openid", &[]), client.deny(&session, "openid", &[])] {
        let iss = sent_back(&ask.host(host).await, "iss").expect("an issuer");
        assert_eq!((iss.as_str(), &discovered["issuer"]), ("https://git.example.test", &iss.as_str().into()));
    }
}

async fn no_answer_names_an_issuer_as_the_original(t: TestServer) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let discovered = t.get("/.well-known/openid-configuration").await.has(200).json();
    assert!(discovered.get("authorization_response_iss_parameter_supported").is_none());
    for ask in [client.allow(&session, "openid", &[]), client.deny(&session, "openid", &[])] {
        let reply = ask.await;
        assert!(location(&reply).starts_with(CALLBACK));
        assert_eq!(sent_back(&reply, "iss"), None);
    }
}

/// Chromium holds every redirect after a form against `form-action`; a page that leads on is no redirect.
async fn a_browser_is_led_on_by_a_page(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let browser =
        |ask: crate::test_server::Ask| ask.with("sec-fetch-mode", "navigate").with("sec-fetch-site", "same-origin");
    for (mode, mark) in [("query", '?'), ("fragment", '#')] {
        let changes = [("response_mode", Some(mode))];
        let reply = browser(client.allow(&session, "api", &changes)).await;
        let url = sent_on(&reply);
        assert!(url.starts_with(CALLBACK) && reply.header("location").is_none(), "{url}");
        assert_eq!(carried(&url, mark, "state").as_deref(), Some("a state"));
        tokens(&client.redeem(&carried(&url, mark, "code").expect("a code")).await);
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert_eq!(reply.header("referrer-policy"), Some("no-referrer"), "the page holds a code");
        assert!(reply.header("content-security-policy").is_some_and(|policy| policy.contains("form-action 'self';")));
        for (ask, error) in [
            (client.deny(&session, "api", &changes), "access_denied"),
            (client.allow(&session, "read_user", &changes), "invalid_scope"),
        ] {
            let url = sent_on(&browser(ask).await);
            assert!(url.starts_with(CALLBACK), "{url}");
            assert_eq!(carried(&url, mark, "error").as_deref(), Some(error));
            assert_eq!(carried(&url, mark, "state").as_deref(), Some("a state"));
        }
    }
    let app = t.client_with(super::with_uri("myapp://cb?x=1&y=2")).await;
    let uri = [("redirect_uri", Some("myapp://cb?x=1&y=2"))];
    let url = sent_on(&browser(app.allow(&session, "api", &uri)).await);
    assert!(url.starts_with("myapp://cb?x=1&y=2&code="), "{url}");
    // What is not to be sent there is not.
    let astray = [("redirect_uri", Some("https://evil.test/"))];
    is_error(&browser(client.allow(&session, "api", &astray)).await, 400, "invalid_redirect_uri");
}

async fn other_clients_are_redirected(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for mode in ["cors", "no-cors", "same-origin", "Navigate", "navigate, cors", ""] {
        let asks = [client.allow(&session, "api", &[]), client.deny(&session, "api", &[])];
        for ask in asks {
            assert!(location(&ask.with("sec-fetch-mode", mode).await).starts_with(CALLBACK), "{mode}");
        }
    }
    let twice = client.allow(&session, "api", &[]).with("sec-fetch-mode", "navigate").with("sec-fetch-mode", "cors");
    assert!(location(&twice.await).starts_with(CALLBACK));
    assert!(location(&client.allow(&session, "api", &[]).await).starts_with(CALLBACK));
}

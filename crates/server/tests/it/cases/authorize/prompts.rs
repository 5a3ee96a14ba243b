//! `prompt`, `max_age` and `id_token_hint` (oauth.md 5.6; OpenID Connect Core section 3.1.2.1).

use data_encoding::BASE64URL_NOPAD;
use serde_json::json;
use tollhouse::operations::users::{Confirm, SetPassword, SetState};

use super::sign_in_first::Browser;
use super::{
    AUTHORIZE, BAD_REDIRECT, BAD_SCOPE, SIGN_IN, allowed, carried, consent, is_error_page, location, pressed, sent_on,
    unescaped,
};
use crate::oauth::{CALLBACK, Client, changed, encoded, id_token, sent_back, tokens};
use crate::test_server::{Reply, Session, TestServer};

cases![
    oauth_127_an_old_session_signs_in_again,
    oauth_128_nobody_and_no_page,
    prompt_login_asks_for_the_password_once,
    prompt_login_ends_no_other_session,
    a_wrong_password_goes_no_further,
    the_form_for_the_password_takes_its_own_token_alone,
    a_form_of_another_tab_is_asked_anew,
    signing_in_settles_what_it_settles,
    an_age_that_was_not_exceeded,
    prompt_consent_asks_for_trusted_applications_too,
    prompt_select_account_offers_both,
    prompt_none_gives_a_code_by_redirect,
    prompt_none_tells_what_is_missing,
    prompt_none_for_accounts_that_may_not_come_in,
    prompt_none_for_administrators with "oauth.disable_admin_oauth_scopes = true",
    prompt_none_beside_another_value,
    prompt_none_leads_nowhere_else,
    values_there_are_not,
    prompts_count_with_openid_on_the_page_alone,
    a_hint_names_one_account,
    a_hint_may_have_the_earlier_spelling_of_the_issuer with "external_url = 'http://LOCALHOST:8080'",
    a_forged_hint_names_nobody,
];

const PASSWORD: &str = "correct horse";
const AGAIN: &str = "/oauth/authorize/reauthenticate";

/// The request with these changes, as an address.
fn target(client: &Client, changes: &[(&str, Option<&str>)]) -> String {
    format!("{AUTHORIZE}?{}", encoded(&changed(&client.request("openid"), changes)))
}

/// What the application is told by redirect.
#[track_caller]
fn error(reply: &Reply) -> String {
    assert_eq!(sent_back(reply, "code"), None);
    assert_eq!(sent_back(reply, "state").as_deref(), Some("a state"));
    assert!(sent_back(reply, "error_description").is_some());
    sent_back(reply, "error").expect("an error")
}

/// The way back in the form with this action.
fn way_back(reply: &Reply, action: &str) -> Option<String> {
    let (_, form) = reply
        .has(200)
        .body
        .split_once(&format!("<form class=\"switch\" action=\"{action}\""))
        .or_else(|| reply.body.split_once(&format!("<form action=\"{action}\"")))?;
    let (_, value) = form.split("</form>").next()?.split_once(r#"name="return_to" value=""#)?;
    Some(unescaped(value.split('"').next()?))
}

/// The page that asks for the password of the account that is signed in.
#[track_caller]
fn asks_again(reply: &Reply, name: &str) -> String {
    assert!(reply.body.contains(&format!("(@{name})")), "{}", reply.body);
    assert!(!reply.body.contains("user[login]"), "the account is not to be chosen here: {}", reply.body);
    way_back(reply, AGAIN).expect("the form")
}

async fn signed_in(t: &TestServer) -> Browser {
    t.user_with_password("ada", PASSWORD).await;
    let mut browser = Browser::default();
    browser.signs_in(t, "ada", PASSWORD).await.has(302);
    browser
}

/// Gives the password on the page that asks for it.
async fn gives(t: &TestServer, browser: &mut Browser, page: &Reply, password: &str) -> Reply {
    let (token, back) = (page.authenticity_token(), way_back(page, AGAIN).expect("the form"));
    let pairs = [("authenticity_token", token.as_str()), ("return_to", &back), ("user[password]", password)];
    browser.goes(t.post(AGAIN).form(&encoded(&pairs))).await
}

fn session(browser: &Browser) -> Session {
    let (_, cookie) = browser.cookies.iter().find(|(name, _)| name == "_gitlab_session").expect("a session");
    Session { cookie: cookie.clone() }
}

async fn oauth_127_an_old_session_signs_in_again(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    t.later(500);
    for max_age in ["0", "499"] {
        let page = browser.goes(t.get(&target(&client, &[("max_age", Some(max_age))]))).await;
        asks_again(&page, "ada");
    }
    let trusted = t.trusted_client("openid").await;
    let page = browser.goes(t.get(&target(&trusted, &[("max_age", Some("0"))]))).await;
    asks_again(&page, "ada");
    assert_eq!(allowed(&t).await, 0);
    let back = gives(&t, &mut browser, &page, PASSWORD).await;
    assert_eq!(location(&back), target(&trusted, &[]), "no more than that is settled");
    let url = sent_on(&browser.goes(t.get(location(&back))).await);
    let claims = id_token(&trusted.redeem(&carried(&url, '?', "code").expect("a code")).await);
    assert_eq!(claims["auth_time"], json!(t.now().seconds()));
}

async fn oauth_128_nobody_and_no_page(t: TestServer) {
    let (client, trusted) = (t.client("openid").await, t.trusted_client("openid").await);
    for client in [&client, &trusted] {
        let reply = t.get(&target(client, &[("prompt", Some("none"))])).await;
        assert_eq!(error(&reply), "login_required");
        assert_eq!(
            sent_back(&reply, "error_description").as_deref(),
            Some("The authorization server requires end-user authentication")
        );
        assert!(reply.headers.get("set-cookie").is_none(), "nothing is remembered: {:?}", reply.headers);
        let stale = Session { cookie: "f".repeat(32) };
        let reply = client.page(&stale, "openid", &[("prompt", Some("none"))]).await;
        assert_eq!(error(&reply), "login_required");
    }
    let fragment = [("prompt", Some("none")), ("response_mode", Some("fragment"))];
    let reply = t.get(&target(&client, &fragment)).await;
    assert_eq!(carried(location(&reply), '#', "error").as_deref(), Some("login_required"));
}

async fn prompt_login_asks_for_the_password_once(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    t.later(500);
    let before = session(&browser);
    let asked =
        target(&client, &[("prompt", Some("login consent")), ("max_age", Some("10")), ("more", Some("~ \u{fc}"))]);
    let page = browser.goes(t.get(&asked)).await;
    assert_eq!(asks_again(&page, "ada"), asked);
    let back = gives(&t, &mut browser, &page, PASSWORD).await;
    let then = target(&client, &[("prompt", Some("consent")), ("more", Some("~ \u{fc}"))]);
    assert_eq!(location(&back), then);
    assert_ne!(session(&browser).cookie, before.cookie, "a session of its own");
    assert_eq!(location(&t.get("/").session(&before).await), SIGN_IN, "which takes the other's place");
    t.later(5);
    let page = browser.goes(t.get(&then)).await;
    let (allow, _) = consent(&page);
    let code = sent_back(&browser.goes(pressed(&t, &allow)).await, "code").expect("a code");
    let reply = client.redeem(&code).await;
    let signed_in = t.now().seconds() - 5;
    assert_eq!(id_token(&reply)["auth_time"], json!(signed_in));
}

async fn prompt_login_ends_no_other_session(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    let mut elsewhere = Browser::default();
    elsewhere.signs_in(&t, "ada", PASSWORD).await.has(302);
    let page = browser.goes(t.get(&target(&client, &[("prompt", Some("login"))]))).await;
    gives(&t, &mut browser, &page, PASSWORD).await.has(302);
    elsewhere.goes(t.get("/")).await.has(200);
    browser.goes(t.get("/")).await.has(200);
    let mut reader = t.app.db.read().await.expect("a reader");
    assert_eq!(tollhouse_store::sessions::count(&mut reader).await.expect("a count"), 2);
}

async fn a_wrong_password_goes_no_further(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    let before = session(&browser).cookie;
    let asked = target(&client, &[("prompt", Some("login"))]);
    let mut page = browser.goes(t.get(&asked)).await;
    for wrong in ["", "wrong horse", "wrong horse", &"x".repeat(5_000)] {
        page = gives(&t, &mut browser, &page, wrong).await;
        assert_eq!(asks_again(&page, "ada"), asked);
        assert!(page.body.contains("Invalid password."), "{}", page.body);
        assert_eq!(session(&browser).cookie, before, "still signed in, and no more than that");
    }
    // Guesses count as they do at sign-in (T14), and those of a browser that signed in before by themselves (T15).
    for _ in 0..10 {
        page = gives(&t, &mut browser, &page, "wrong horse").await;
    }
    page = gives(&t, &mut browser, &page, PASSWORD).await;
    asks_again(&page, "ada");
    assert_eq!(t.count("user.password_locked").await, 0, "others get in");
    t.later(601);
    assert_eq!(location(&gives(&t, &mut browser, &page, PASSWORD).await), target(&client, &[]));
}

async fn the_form_for_the_password_takes_its_own_token_alone(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    let asked = target(&client, &[("prompt", Some("login"))]);
    let own = session(&browser);
    let token = own.csrf();
    let form = |token: &str, back: &str, password: &str| {
        encoded(&[("authenticity_token", token), ("return_to", back), ("user[password]", password)])
    };
    // Nobody is signed in by it: the request is asked anew, as it was.
    for token in ["", "x", own.cookie.as_str(), &Session { cookie: "f".repeat(32) }.csrf()] {
        let reply = t.post(AGAIN).session(&own).form(&form(token, &asked, PASSWORD)).await;
        assert_eq!(location(&reply), asked);
        assert_eq!(reply.cookie("_gitlab_session"), None);
    }
    for origin in ["https://app.example.test", "null"] {
        t.post(AGAIN).session(&own).with("origin", origin).form(&form(&token, &asked, PASSWORD)).await.has(422);
    }
    // It leads to a page of ours, and takes what is in it as text.
    for back in ["https://evil.test/", "//evil.test/", "/\\evil.test", "/api/v4/user", "", "/oauth/authorize\r\nx"] {
        t.post(AGAIN).session(&own).form(&form(&token, back, PASSWORD)).await.has(400);
    }
    for body in ["", "user=x", "user[password][]=x&return_to=/", "user[password]=x&return_to[]=/", "user[password]=x"] {
        t.post(AGAIN).session(&own).form(body).await.has(400);
    }
    assert_eq!(t.count("user.signed_in").await, 1);
    // A query as some clients send it, without escapes.
    let raw = format!("{asked}&more={{'a':[1,2];\\}}");
    let page = browser.goes(t.get(&raw)).await;
    let then = format!("{}&more={{'a':[1%2C2]%3B%5C}}", target(&client, &[]));
    assert_eq!(location(&gives(&t, &mut browser, &page, PASSWORD).await), then);
    let page = browser.goes(t.get(&asked)).await;
    gives(&t, &mut browser, &page, PASSWORD).await.has(302);
    assert_eq!(t.count("user.signed_in").await, 3);
}

async fn a_form_of_another_tab_is_asked_anew(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    let asked = target(&client, &[("prompt", Some("login"))]);
    let (one, two) = (browser.goes(t.get(&asked)).await, browser.goes(t.get(&asked)).await);
    gives(&t, &mut browser, &one, PASSWORD).await.has(302);
    assert_eq!(location(&gives(&t, &mut browser, &two, PASSWORD).await), asked);
    // Signed out meanwhile: they sign in, and come back with that settled.
    browser.cookies.retain(|(name, _)| name != "_gitlab_session");
    assert_eq!(location(&gives(&t, &mut browser, &two, PASSWORD).await), asked);
    assert_eq!(location(&browser.goes(t.get(&asked)).await), SIGN_IN);
    assert_eq!(location(&browser.signs_in(&t, "ada", PASSWORD).await), target(&client, &[]));
}

async fn signing_in_settles_what_it_settles(t: TestServer) {
    t.user_with_password("ada", PASSWORD).await;
    let client = t.client("openid").await;
    for (changes, left) in [
        (vec![("prompt", Some("login"))], vec![]),
        (vec![("max_age", Some("0"))], vec![]),
        (vec![("prompt", Some("select_account login consent"))], vec![("prompt", Some("consent"))]),
        (vec![("prompt", Some("create"))], vec![("prompt", Some("create"))]),
    ] {
        let mut browser = Browser::default();
        assert_eq!(location(&browser.goes(t.get(&target(&client, &changes))).await), SIGN_IN);
        let back = browser.signs_in(&t, "ada", PASSWORD).await;
        assert_eq!(location(&back), target(&client, &left));
        consent(&browser.goes(t.get(location(&back))).await);
    }
}

async fn an_age_that_was_not_exceeded(t: TestServer) {
    let client = t.client("openid").await;
    let mut browser = signed_in(&t).await;
    let signed_in = t.now().seconds();
    t.later(500);
    for max_age in ["500", "501", "4294967295"] {
        let changes = [("max_age", Some(max_age)), ("prompt", Some("consent"))];
        let page = browser.goes(t.get(&target(&client, &changes))).await;
        let (allow, _) = consent(&page);
        let code = sent_back(&browser.goes(pressed(&t, &allow)).await, "code").expect("a code");
        assert_eq!(id_token(&client.redeem(&code).await)["auth_time"], json!(signed_in), "it is told how old");
    }
}

async fn prompt_consent_asks_for_trusted_applications_too(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    sent_on(&trusted.page(&session, "openid", &[]).await);
    let (allow, _) = consent(&trusted.page(&session, "openid", &[("prompt", Some("consent"))]).await);
    assert!(sent_back(&pressed(&t, &allow).session(&session).await, "code").is_some());
    let known = t.client("openid").await;
    known.tokens(&ada, "openid").await;
    sent_on(&known.page(&session, "openid", &[]).await);
    consent(&known.page(&session, "openid", &[("prompt", Some("consent"))]).await);
}

async fn prompt_select_account_offers_both(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let mut browser = signed_in(&t).await;
    let grace = t.user_with_password("grace", PASSWORD).await;
    let asked = target(&trusted, &[("prompt", Some("select_account consent")), ("max_age", Some("3600"))]);
    let page = browser.goes(t.get(&asked)).await;
    assert!(page.has(200).body.contains("(@ada)") && page.body.contains("Ferry board"), "{}", page.body);
    assert_eq!(allowed(&t).await, 0);
    let same = target(&trusted, &[("prompt", Some("consent")), ("max_age", Some("3600"))]);
    let (_, link) = page.body.split_once(r#"<a class="button" href=""#).expect("a link");
    assert_eq!(unescaped(link.split('"').next().unwrap_or_default()), same);
    consent(&browser.goes(t.get(&same)).await);
    let back = way_back(&page, "/users/sign_out").expect("another account");
    assert_eq!(back, target(&trusted, &[("prompt", Some("consent"))]));
    let pairs = [("authenticity_token", page.authenticity_token()), ("return_to", back.clone())];
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let out = browser.goes(t.post("/users/sign_out").form(&encoded(&pairs))).await;
    assert_eq!(location(&out), SIGN_IN);
    assert_eq!(location(&browser.signs_in(&t, "grace", PASSWORD).await), back);
    let (allow, _) = consent(&browser.goes(t.get(&back)).await);
    let code = sent_back(&browser.goes(pressed(&t, &allow)).await, "code").expect("a code");
    assert_eq!(id_token(&trusted.redeem(&code).await)["sub"], grace.id.to_string());
    // Where signing out leads is a page of ours, or nothing that is remembered.
    for astray in ["https://evil.test/", "//evil.test/", ""] {
        let out = t.post("/users/sign_out").form(&encoded(&[("return_to", astray)])).await;
        assert_eq!(location(&out), SIGN_IN);
        assert_eq!(out.cookie("_tollhouse_return_0"), None, "{astray}");
    }
}

async fn prompt_none_gives_a_code_by_redirect(t: TestServer) {
    let (client, trusted) = (t.client("openid").await, t.trusted_client("openid").await);
    let ada = t.user("ada").await;
    let session = ada.session().await;
    client.tokens(&ada, "openid").await;
    for client in [&client, &trusted] {
        for changes in [vec![("prompt", Some("none"))], vec![("prompt", Some("none")), ("max_age", Some("0001"))]] {
            // A frame that renews in silence shows no page; a redirect goes through all the same.
            let reply = client.page(&session, "openid", &changes).with("sec-fetch-mode", "navigate").await;
            let code = sent_back(&reply, "code").expect("a code");
            assert_eq!(sent_back(&reply, "state").as_deref(), Some("a state"));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            tokens(&client.redeem(&code).await);
        }
        let head = t.ask(axum::http::Method::HEAD, &target(client, &[("prompt", Some("none"))])).session(&session);
        assert_eq!(head.await.has(200).header("location"), None, "the head of it gives no code");
    }
}

async fn prompt_none_tells_what_is_missing(t: TestServer) {
    let client = t.client("openid").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let none = ("prompt", Some("none"));
    assert_eq!(error(&client.page(&session, "openid", &[none]).await), "consent_required");
    client.tokens(&ada, "openid").await;
    let other = client.page(&session, "openid", &[none, ("redirect_uri", Some(CALLBACK)), ("nonce", Some("n"))]).await;
    assert!(sent_back(&other, "code").is_some());
    t.later(61);
    for max_age in ["60", "0"] {
        let reply = client.page(&session, "openid", &[none, ("max_age", Some(max_age))]).await;
        assert_eq!(error(&reply), "login_required");
    }
    let public = t.public_client("openid").await;
    public.tokens(&ada, "openid").await;
    assert_eq!(error(&public.page(&session, "openid", &[none]).await), "consent_required", "it is always asked for");
}

async fn prompt_none_for_accounts_that_may_not_come_in(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let none = [("prompt", Some("none"))];
    let unconfirmed = t.user("ada").await;
    let session = unconfirmed.session().await;
    t.does(Confirm { user: unconfirmed.id, confirmed: false }).await;
    assert_eq!(error(&trusted.page(&session, "openid", &none).await), "interaction_required");
    let expired = t.user("grace").await;
    let expires_at = Some(t.now());
    t.does(SetPassword { user: expired.id, seen: None, digest: "x".to_owned(), expires_at }).await;
    t.later(1);
    let session = expired.session().await;
    assert_eq!(error(&trusted.page(&session, "openid", &none).await), "interaction_required");
    for (name, out) in
        [("jean", SetState::block as fn(_) -> _), ("barbara", SetState::ban), ("hedy", SetState::deactivate)]
    {
        let person = t.user(name).await;
        let before = person.session().await;
        person.set_state(out(person.id)).await;
        for session in [before, person.session().await] {
            assert_eq!(error(&trusted.page(&session, "openid", &none).await), "login_required", "{name}");
        }
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn prompt_none_for_administrators(t: TestServer) {
    let client = t.client("openid api").await;
    let session = t.admin().await.session().await;
    let reply = client.page(&session, "openid", &[("prompt", Some("none"))]).await;
    assert_eq!(error(&reply), "interaction_required");
}

async fn prompt_none_beside_another_value(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let session = t.user("ada").await.session().await;
    for prompt in ["none login", "consent none", "none create", "none nonsense", " none  select_account "] {
        let changes = [("prompt", Some(prompt))];
        assert_eq!(error(&trusted.page(&session, "openid", &changes).await), "invalid_request", "{prompt}");
        assert_eq!(error(&t.get(&target(&trusted, &changes)).await), "invalid_request", "{prompt}");
    }
    sent_back(&trusted.page(&session, "openid", &[("prompt", Some("none none"))]).await, "code").expect("one value");
}

/// All other faults are told on a page, as without `prompt`.
async fn prompt_none_leads_nowhere_else(t: TestServer) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let none = ("prompt", Some("none"));
    for (change, told) in [
        (("redirect_uri", Some("https://evil.test/")), BAD_REDIRECT),
        (("client_id", Some("nobody")), "failed due to unknown client"),
        (("scope", Some("openid api")), BAD_SCOPE),
        (("max_age", Some("x")), "The request is missing a required parameter"),
    ] {
        is_error_page(&client.page(&session, "openid", &[none, change]).await, told);
        is_error_page(&t.get(&target(&client, &[none, change])).await, told);
    }
    let by_hand = "urn:ietf:wg:oauth:2.0:oob";
    let client = t.client_with(super::with_uri(by_hand)).await;
    let changes = [none, ("redirect_uri", Some(by_hand)), ("scope", Some("openid"))];
    is_error_page(&client.page(&session, "openid", &changes).await, BAD_SCOPE);
    let create = tollhouse::operations::applications::CreateApplication {
        scopes: "openid".to_owned(),
        ..super::with_uri(by_hand)
    };
    let client = t.client_with(create).await;
    is_error_page(&client.page(&session, "openid", &changes).await, "requires end-user consent");
    is_error_page(&t.get(&target(&client, &changes)).await, "requires end-user authentication");
}

async fn values_there_are_not(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let session = t.user("ada").await.session().await;
    let told = "The request is missing a required parameter, includes an unsupported parameter value";
    for (name, value) in [
        ("prompt", "nonsense"),
        ("prompt", "Login"),
        ("prompt", "login,consent"),
        ("prompt", "login\nconsent"),
        ("max_age", "-1"),
        ("max_age", "1.5"),
        ("max_age", "ten"),
        ("max_age", "99999999999999999999"),
    ] {
        is_error_page(&trusted.page(&session, "openid", &[(name, Some(value))]).await, told);
    }
    for twice in ["prompt=login", "max_age=1", "id_token_hint=x", "prompt[]=login", "max_age[]=0", "id_token_hint[x]=y"]
    {
        let query =
            encoded(&changed(&trusted.request("openid"), &[("prompt", Some("consent")), ("max_age", Some("1"))]));
        let query = format!("{AUTHORIZE}?{query}&id_token_hint=x&{twice}");
        is_error_page(&t.get(&query).session(&session).await, told);
    }
    assert_eq!(allowed(&t).await, 0);
    for (name, value) in [("prompt", ""), ("max_age", ""), ("prompt", "create"), ("id_token_hint", "")] {
        sent_on(&trusted.page(&session, "openid", &[(name, Some(value))]).await);
    }
}

async fn prompts_count_with_openid_on_the_page_alone(t: TestServer) {
    let trusted = t.trusted_client("openid api").await;
    let session = t.user("ada").await.session().await;
    t.later(500);
    let changes = [
        ("prompt", Some("login")),
        ("prompt", Some("none")),
        ("prompt", Some("nonsense")),
        ("max_age", Some("0")),
        ("max_age", Some("x")),
        ("id_token_hint", Some("x.y.z")),
    ];
    for change in changes {
        sent_on(&trusted.page(&session, "api", &[change]).await);
        assert!(sent_back(&trusted.allow(&session, "openid", &[change]).await, "code").is_some(), "{change:?}");
    }
    let nobody = t.get(&target(&trusted, &[("prompt", Some("none")), ("scope", Some("api"))])).await;
    assert_eq!(location(&nobody), SIGN_IN);
}

async fn a_hint_names_one_account(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    let (of_ada, of_grace) = (ada.session().await, grace.session().await);
    let code = trusted.code(&ada, "openid").await;
    let body = trusted.redeem(&code).await.has(200).json();
    let hint = body["id_token"].as_str().expect("an id_token").to_owned();
    // Long after its end.
    t.later(100_000);
    let with = [("id_token_hint", Some(hint.as_str()))];
    let silent = [("prompt", Some("none")), ("id_token_hint", Some(hint.as_str()))];
    assert!(sent_back(&trusted.page(&of_ada, "openid", &silent).await, "code").is_some());
    assert_eq!(error(&trusted.page(&of_grace, "openid", &silent).await), "login_required");
    sent_on(&trusted.page(&of_ada, "openid", &with).await);
    let page = trusted.page(&of_grace, "openid", &with).await;
    assert!(page.has(200).body.contains("expects a different account"), "{}", page.body);
    let other = way_back(&page, "/users/sign_out").expect("another account");
    assert_eq!(other, target(&trusted, &[]), "a choice is asked for once");
    sent_on(&t.get(&other).session(&of_grace).await);
    let nobody = t.get(&target(&trusted, &silent)).await;
    assert_eq!(error(&nobody), "login_required");
}

/// An application may have kept a hint from before `external_url` was normalised.
async fn a_hint_may_have_the_earlier_spelling_of_the_issuer(t: TestServer) {
    let trusted = t.trusted_client("openid").await;
    let ada = t.user("ada").await;
    let session = ada.session().await;
    for (iss, named) in [
        ("http://localhost:8080", true),
        ("http://LOCALHOST:8080", true),
        ("http://LocalHost:8080", false),
        ("http://evil.test", false),
    ] {
        let claims = serde_json::json!({"iss": iss, "aud": trusted.uid, "sub": ada.id.to_string()});
        let hint = t.app.keys().await.expect("keys").sign("JWT", &claims).await.expect("a signature");
        let silent = [("prompt", Some("none")), ("id_token_hint", Some(hint.as_str()))];
        let reply = trusted.page(&session, "openid", &silent).await;
        assert_eq!(sent_back(&reply, "code").is_some(), named, "{iss}");
    }
}

async fn a_forged_hint_names_nobody(t: TestServer) {
    let (trusted, other) = (t.trusted_client("openid").await, t.trusted_client("openid").await);
    let ada = t.user("ada").await;
    let session = ada.session().await;
    let given = async |client: &Client| {
        let body = client.redeem(&client.code(&ada, "openid").await).await.has(200).json();
        body["id_token"].as_str().expect("an id_token").to_owned()
    };
    let (good, foreign) = (given(&trusted).await, given(&other).await);
    let [header, claims, signature] = crate::oauth::parts(&good);
    let none = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"none"}"#);
    let symmetric = BASE64URL_NOPAD.encode(br#"{"typ":"JWT","alg":"HS256","kid":"x"}"#);
    let [_, theirs, _] = crate::oauth::parts(&foreign);
    let forged = [
        foreign.clone(),
        format!("{none}.{claims}."),
        format!("{none}.{claims}.{signature}"),
        format!("{symmetric}.{claims}.{signature}"),
        format!("{header}.{theirs}.{signature}"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{}", &signature[1..]),
        format!("{header}.{claims}.{signature}."),
        format!("{good}{signature}"),
        "x".to_owned(),
        "..".to_owned(),
        "x".repeat(4_000),
    ];
    let silent = |hint| [("prompt", Some("none")), ("id_token_hint", Some(hint))];
    assert!(sent_back(&trusted.page(&session, "openid", &silent(&good)).await, "code").is_some());
    for hint in &forged {
        assert_eq!(error(&trusted.page(&session, "openid", &silent(hint)).await), "login_required", "{hint}");
    }
    let tokens = given(&trusted).await;
    let renamed = t.reopened("external_url = 'https://git.example.test'").await;
    let elsewhere = trusted.at(&renamed).page(&session, "openid", &silent(&tokens)).host("git.example.test").await;
    assert_eq!(sent_back(&elsewhere, "error").as_deref(), Some("login_required"), "another issuer's");
    renamed.leave().await;
}

//! Who is not signed in signs in first and comes back; who may not come in allows nothing.

use tollhouse::operations::applications::CreateApplication;
use tollhouse::operations::users::{Confirm, SetPassword, SetState};
use tollhouse_domain::id::UserId;

use super::{AUTHORIZE, SIGN_IN, allowed, carried, consent, form_of, forms, is_closed, location, pressed, sent_on};
use crate::oauth::{CALLBACK, changed, create, encoded, sent_back, tokens};
use crate::test_server::{Ask, Reply, Session, TestServer};

cases![
    oauth_018_a_trusted_application_is_sent_on,
    oauth_021_nobody_signs_in_first_and_comes_back,
    oauth_022_an_unconfirmed_address,
    a_state_of_five_thousand_characters_comes_all_the_way,
    a_forged_way_back_leads_to_nobody_else,
    an_earlier_way_back_is_no_part_of_a_later_one,
    what_is_too_long_to_be_remembered_is_not,
    a_long_hint_is_left_out_and_the_rest_comes_back,
    an_age_that_cannot_be_read_is_refused_after_signing_in,
    who_may_not_come_in_allows_nothing,
    an_expired_password_comes_first,
    t30_the_way_back_carries_no_credential,
];

/// Keeps cookies from one request to the next.
#[derive(Default)]
pub(super) struct Browser {
    pub(super) cookies: Vec<(String, String)>,
}

impl Browser {
    pub(super) fn keep(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(known, _)| known != name);
        self.cookies.push((name.to_owned(), value.to_owned()));
    }

    pub(super) async fn goes(&mut self, ask: Ask) -> Reply {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let reply = if cookies.is_empty() { ask.await } else { ask.with("cookie", &cookies.join("; ")).await };
        for cookie in reply.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("a cookie");
            assert!(cookie.len() <= 4096, "no browser keeps {} bytes", cookie.len());
            let (name, rest) = cookie.split_once('=').expect("a name");
            self.keep(name, rest.split(';').next().unwrap_or_default());
            if cookie.contains("Max-Age=0") {
                self.cookies.retain(|(known, _)| known != name);
            }
        }
        reply
    }

    pub(super) fn knows_the_way_back(&self) -> bool {
        self.cookies.iter().any(|(name, _)| name.starts_with("_tollhouse_return_"))
    }

    pub(super) async fn signs_in(&mut self, t: &TestServer, login: &str, password: &str) -> Reply {
        let form = self.goes(t.get(SIGN_IN)).await;
        let token = form.authenticity_token();
        let pairs = [("authenticity_token", token.as_str()), ("user[login]", login), ("user[password]", password)];
        self.goes(t.post(SIGN_IN).form(&encoded(&pairs))).await
    }
}

async fn oauth_018_a_trusted_application_is_sent_on(t: TestServer) {
    let client = t.trusted_client("api").await;
    let session = t.user("ada").await.session().await;
    let target = format!("{AUTHORIZE}?{}", form_of(&client, &[]));
    let mut browser = Browser::default();
    browser.goes(t.get(&target)).await.has(302);
    assert!(browser.knows_the_way_back());
    browser.keep("_gitlab_session", &session.cookie);
    let page = browser.goes(t.get(&target)).await;
    assert!(!browser.knows_the_way_back(), "they are back");
    let url = sent_on(&page);
    assert!(url.starts_with(&format!("{CALLBACK}?code=")), "{url}");
    assert_eq!(carried(&url, '?', "state").as_deref(), Some("a state"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"), "the page holds a code");
    let code = carried(&url, '?', "code").expect("a code");
    tokens(&client.redeem(&code).await);
    let public = t.client_with(CreateApplication { trusted: true, confidential: false, ..create("api") }).await;
    sent_on(&public.page(&session, "api", &[]).await);
}

async fn oauth_021_nobody_signs_in_first_and_comes_back(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let target = format!("{AUTHORIZE}?{}&more=%C3%BC+x%2Fy", form_of(&client, &[]));
    let mut browser = Browser::default();
    assert_eq!(location(&browser.goes(t.get(&target)).await), SIGN_IN);
    assert!(browser.knows_the_way_back());
    let wrong = browser.signs_in(&t, "ada", "wrong horse").await;
    wrong.has(200);
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), target);
    consent(&browser.goes(t.get(&target)).await);
    let stale = Session { cookie: "f".repeat(32) };
    assert_eq!(location(&client.page(&stale, "api", &[]).await), SIGN_IN);
    assert_eq!(location(&client.allow(&stale, "api", &[]).await), SIGN_IN);
    assert_eq!(allowed(&t).await, 0);
}

async fn oauth_022_an_unconfirmed_address(t: TestServer) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let ada = t.user("ada").await;
    let session = ada.session().await;
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    for client in [&client, &trusted] {
        let page = client.page(&session, "api", &[]).await;
        let (allow, deny) = (client.allow(&session, "api", &[]).await, client.deny(&session, "api", &[]).await);
        for reply in [page, allow, deny] {
            is_closed(&reply);
            assert!(reply.body.contains("mail"), "it says why: {}", reply.body);
        }
    }
    assert_eq!(allowed(&t).await, 0);
    t.does(Confirm { user: ada.id, confirmed: true }).await;
    consent(&client.page(&session, "api", &[]).await);
}

async fn a_state_of_five_thousand_characters_comes_all_the_way(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let state = format!("{} \u{fc}&=", "0123456789".repeat(500));
    let query = encoded(&changed(&client.request("api"), &[("state", Some(state.as_str()))]));
    let target = format!("{AUTHORIZE}?{query}");
    let mut browser = Browser::default();
    assert_eq!(location(&browser.goes(t.get(&target)).await), SIGN_IN);
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), target);
    let page = browser.goes(t.get(&target)).await;
    let (allow, deny) = consent(&page);
    for form in [deny, allow] {
        let reply = browser.goes(pressed(&t, &form)).await;
        assert_eq!(sent_back(&reply, "state"), Some(state.clone()));
    }
    let trusted = t.trusted_client("api").await;
    let query = encoded(&changed(&trusted.request("api"), &[("state", Some(state.as_str()))]));
    let url = sent_on(&browser.goes(t.get(&format!("{AUTHORIZE}?{query}"))).await);
    assert_eq!(carried(&url, '?', "state"), Some(state));
}

async fn an_earlier_way_back_is_no_part_of_a_later_one(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let to =
        |state: &str| format!("{AUTHORIZE}?{}", encoded(&changed(&client.request("api"), &[("state", Some(state))])));
    let (long, short) = (to(&"l".repeat(4_000)), to("s"));
    for (first, then) in [(&long, &short), (&short, &long), (&long, &long)] {
        let mut browser = Browser::default();
        browser.goes(t.get(first)).await;
        browser.goes(t.get(then)).await;
        assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), then);
        assert!(!browser.knows_the_way_back());
    }
}

async fn what_is_too_long_to_be_remembered_is_not(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("api").await;
    let state = "l".repeat(20_000);
    let query = encoded(&changed(&client.request("api"), &[("state", Some(&state))]));
    let mut browser = Browser::default();
    // Nor is what was remembered before it.
    browser.goes(t.get(&format!("{AUTHORIZE}?{}", encoded(&client.request("api"))))).await;
    assert!(browser.knows_the_way_back());
    let reply = browser.goes(t.get(&format!("{AUTHORIZE}?{query}"))).await;
    assert_eq!(location(&reply), SIGN_IN);
    assert!(!browser.knows_the_way_back());
    // Cookies go along with every request to this host, and proxies bound all of them together.
    let kept: usize = browser.cookies.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(kept < 8_000, "{kept}");
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), "/");
}

/// The groups of a person stand in the `id_token`, so a hint can be longer than everything else together.
async fn a_long_hint_is_left_out_and_the_rest_comes_back(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("openid").await;
    let plain = format!("{AUTHORIZE}?{}", encoded(&client.request("openid")));
    let mut browser = Browser::default();
    browser.goes(t.get(&format!("{plain}&id_token_hint={}", "h".repeat(9_000)))).await.has(302);
    assert_eq!(location(&browser.signs_in(&t, "ada", "correct horse").await), plain);
}

async fn an_age_that_cannot_be_read_is_refused_after_signing_in(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.trusted_client("openid").await;
    for age in ["abc", "-1", "4294967296"] {
        let target = format!("{AUTHORIZE}?{}&max_age={age}", encoded(&client.request("openid")));
        let mut browser = Browser::default();
        browser.goes(t.get(&target)).await.has(302);
        let back = location(&browser.signs_in(&t, "ada", "correct horse").await).to_owned();
        let page = browser.goes(t.get(&back)).await;
        assert!(page.has(200).body.contains("otherwise malformed"), "{age}: {}", page.body);
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn a_forged_way_back_leads_to_nobody_else(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let forged = [
        "https://evil.test/",
        "//evil.test/",
        "///evil.test/",
        "/\\evil.test/",
        "\\\\evil.test/",
        "/\t/evil.test/",
        " //evil.test/",
        "javascript:alert(1)",
        "@evil.test",
        "/oauth/authorize?\u{e9}",
        "/oauth/authorized",
        "",
    ];
    let mut cookies: Vec<String> = forged.iter().map(|way| format!("1.{way}")).collect();
    let way = "/oauth/authorize?x";
    cookies.extend([way, "//evil.test/", "1", ".", "-1.x", "x./"].map(str::to_owned));
    // So many pieces there are not.
    cookies.extend(["0", "2", "3", "99999999999999999999"].map(|count| format!("{count}.{way}")));
    for cookie in cookies {
        let mut browser = Browser::default();
        browser.keep("_tollhouse_return_0", &cookie);
        let reply = browser.signs_in(&t, "ada", "correct horse").await;
        let to = location(&reply);
        assert_eq!(to, "/", "{cookie}");
    }
}

async fn who_may_not_come_in_allows_nothing(t: TestServer) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    type Change = fn(UserId) -> SetState;
    let ways: [(&str, Change, Change); 3] = [
        ("ada", SetState::block, SetState::unblock),
        ("grace", SetState::ban, SetState::unban),
        ("jean", SetState::deactivate, SetState::activate),
    ];
    for (name, out, back) in ways {
        let person = t.user(name).await;
        let before = person.session().await;
        person.set_state(out(person.id)).await;
        let after = person.session().await;
        for session in [&before, &after] {
            for client in [&client, &trusted] {
                for ask in [client.page(session, "api", &[]), client.allow(session, "api", &[])] {
                    let reply = ask.await;
                    let to = reply.header("location");
                    assert!(to.is_none_or(|to| to == SIGN_IN), "{name}: {to:?}");
                    assert!(!reply.body.contains("code=") && forms(&reply).is_empty(), "{name}: {}", reply.body);
                }
            }
        }
        assert_eq!(allowed(&t).await, 0, "{name}");
        person.set_state(back(person.id)).await;
        consent(&client.page(&after, "api", &[]).await);
    }
}

async fn an_expired_password_comes_first(t: TestServer) {
    let (client, trusted) = (t.client("api").await, t.trusted_client("api").await);
    let ada = t.user("ada").await;
    let expires_at = Some(t.now());
    t.does(SetPassword { user: ada.id, seen: None, digest: "x".to_owned(), expires_at }).await;
    t.later(1);
    let session = ada.session().await;
    let (page, posted) = (client.page(&session, "api", &[]), client.allow(&session, "api", &[]));
    for ask in [page, posted, trusted.page(&session, "api", &[])] {
        assert_eq!(location(&ask.await), "/-/user_settings/password/edit");
    }
    assert_eq!(allowed(&t).await, 0);
}

async fn t30_the_way_back_carries_no_credential(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let client = t.client("read_user").await;
    let plain = format!("{AUTHORIZE}?client_id={}&redirect_uri={}&response_type=code&state=s", client.uid, CALLBACK);
    for credential in [
        "private_token=hidden",
        "Private_Token=hidden",
        "private%5Ftoken=hidden",
        "x[private_token]=hidden",
        "x%5Bpassword%5D=hidden",
        "client_secret=hidden",
        "code=hidden",
        "access_token=hidden&token=hidden",
    ] {
        for target in [format!("{plain}&{credential}"), plain.replace('?', &format!("?{credential}&"))] {
            let mut browser = Browser::default();
            browser.goes(t.get(&target)).await.has(302);
            let told = browser.cookies.iter().any(|(_, value)| value.contains("hidden"));
            assert!(!told, "{:?}", browser.cookies);
            let reply = browser.signs_in(&t, "ada", "correct horse").await;
            assert_eq!(reply.has(302).header("location"), Some(plain.as_str()), "{credential}");
        }
        // A cookie that an earlier version set, or somebody else, leads on without it too.
        let mut browser = Browser::default();
        browser.keep("_tollhouse_return_0", &format!("1.{plain}&{credential}"));
        let reply = browser.signs_in(&t, "ada", "correct horse").await;
        assert_eq!(reply.has(302).header("location"), Some(plain.as_str()), "{credential}");
    }
}

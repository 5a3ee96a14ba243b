//! A person is sent to sign in, and comes back (GATE-080 to GATE-083).

use tollhouse_domain::scope::Scope;

use super::{HERE, asked, rule, rules, signed_in};
use crate::test_server::{Ask, Reply, Session, TestServer};

gates![
    gate_080_a_person_is_sent_to_sign_in,
    gate_080_nobody_else_is,
    gate_081_a_way_back_that_is_left_out,
    gate_082_there_and_back,
    gate_082_whoever_is_signed_in_goes_straight_there,
    gate_083_no_way_leads_elsewhere,
    gate_083_a_cookie_leads_nowhere_else,
    gate_084_links_lead_to_our_own_pages,
    t3_a_browser_is_sent_to_sign_in_on_a_navigation_alone,
    t4_signing_in_returns_to_a_rule_of_this_host,
];

const SIGN_IN: &str = "/users/sign_in";

fn navigation(ask: Ask) -> Ask {
    ask.with("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8").with("sec-fetch-mode", "navigate")
}

fn sent_to(reply: &Reply) -> Option<&str> {
    reply.is_kept_out(401).header("x-tollhouse-sign-in")
}

async fn gate_080_a_person_is_sent_to_sign_in(t: TestServer) {
    signed_in(&t).await;
    let reply = navigation(asked(&t, "GET", &format!("{HERE}/reports?x=1&y=%2F"))).await;
    let back = "%2Freports%3Fx%3D1%26y%3D%252F";
    assert_eq!(sent_to(&reply), Some(format!("{HERE}{SIGN_IN}?return_to={back}").as_str()));
    let url = format!("{HERE}/x");
    for ask in [
        asked(&t, "GET", &url).with("accept", "text/html"),
        asked(&t, "GET", &url).with("accept", "*/*, TEXT/HTML;q=0.1"),
        asked(&t, "GET", &url).with("accept", "a/b").with("accept", "text/html"),
        navigation(asked(&t, "GET", &url)).with("cookie", "_gitlab_session=0123456789abcdef0123456789abcdef"),
        navigation(asked(&t, "GET", &url)).with("authorization", "Basic dTpw"),
    ] {
        assert_eq!(sent_to(&ask.await), Some(format!("{HERE}{SIGN_IN}?return_to=%2Fx").as_str()));
    }
}

async fn gate_080_nobody_else_is(t: TestServer) {
    signed_in(&t).await;
    let url = format!("{HERE}/x");
    for ask in [
        asked(&t, "GET", &url),
        asked(&t, "GET", &url).with("accept", "*/*"),
        asked(&t, "GET", &url).with("accept", "application/json, text/htmlx"),
        asked(&t, "GET", &url).with("accept", "text/html").with("sec-fetch-mode", "cors"),
        asked(&t, "GET", &url)
            .with("accept", "text/html")
            .with("sec-fetch-mode", "navigate")
            .with("sec-fetch-mode", "cors"),
        navigation(asked(&t, "HEAD", &url)),
        navigation(asked(&t, "POST", &url)),
        navigation(asked(&t, "GET", "https://api.example.test/x")),
        navigation(asked(&t, "GET", "https://127.0.0.1:8080/x")),
        navigation(asked(&t, "GET", &url)).token("unknown"),
        navigation(asked(&t, "GET", &url)).bearer("unknown"),
    ] {
        assert_eq!(sent_to(&ask.await), None);
    }
    let ada = t.user("ada").await;
    let narrow = ada.token([Scope::ReadUser]).await;
    let expired = ada.expired_token([Scope::Api]).await;
    assert_eq!(sent_to(&navigation(asked(&t, "GET", &url)).token(&expired).await), None);
    let reply = navigation(asked(&t, "GET", &url)).token(&narrow).await;
    assert_eq!(reply.is_kept_out(403).header("x-tollhouse-sign-in"), None);
    let reply = navigation(asked(&t, "GET", &format!("{HERE}/../x"))).await;
    assert_eq!(reply.is_kept_out(403).header("x-tollhouse-sign-in"), None);
}

async fn gate_081_a_way_back_that_is_left_out(t: TestServer) {
    signed_in(&t).await;
    let plain = format!("{HERE}{SIGN_IN}");
    for query in [
        "private_token=glpat-hidden",
        "a=1&access_token=hidden",
        "bearer_token=hidden",
        "private_token[]=hidden",
        "private%5Ftoken=hidden",
        "job_token=hidden",
        "token=hidden",
        "Private_Token=hidden",
        "x[private_token]=hidden",
        "password=hidden",
        "client_secret=hidden",
        "code=hidden",
    ] {
        let reply = navigation(asked(&t, "GET", &format!("{HERE}/x?{query}"))).await;
        assert_eq!(sent_to(&reply), Some(plain.as_str()), "{query}");
    }
    let reply = navigation(asked(&t, "GET", &format!("{HERE}/x?{}", "a".repeat(2_048)))).await;
    assert_eq!(sent_to(&reply), Some(plain.as_str()));
    let reply = navigation(asked(&t, "GET", &format!("{HERE}/{}", "a".repeat(2_000)))).await;
    assert!(sent_to(&reply).is_some_and(|url| url.starts_with(&format!("{plain}?return_to=%2Faaa"))));
}

/// Opens the page, signs in as ada, and says where that leads.
async fn led_to(t: &TestServer, page: &str) -> String {
    let form = t.get(page).await;
    form.has(200);
    let session = form.cookie("_gitlab_session").expect("a session");
    let mut cookies = format!("_gitlab_session={session}");
    for name in ["_tollhouse_return_0", "_tollhouse_return_1"] {
        cookies += &form.cookie(name).map_or_else(String::new, |value| format!("; {name}={value}"));
    }
    signs_in(t, &form.authenticity_token(), &cookies).await
}

async fn signs_in(t: &TestServer, token: &str, cookies: &str) -> String {
    let pairs = [("authenticity_token", token), ("user[login]", "ada"), ("user[password]", "correct horse")];
    let reply = t.post(SIGN_IN).with("cookie", cookies).form(&crate::oauth::encoded(&pairs)).await;
    reply.has(302).header("location").expect("a place").to_owned()
}

const REPORTS: &str = "
[[rule]]
name = 'reports'
host = '127.0.0.1:8080'
path = ['/reports/*', '/caf%C3%A9']

[[rule]]
name = 'odd'
host = '127.0.0.1'
path = '/odd/*'
admits = [';', '%2f']

[[rule]]
name = 'elsewhere'
host = 'api.example.test'
path = '/*'

[[rule]]
name = 'writes'
host = '127.0.0.1'
path = '/writes'
method = 'POST'
";

async fn gate_082_there_and_back(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    rules(&t, REPORTS).await;
    let reply = navigation(asked(&t, "GET", &format!("{HERE}/reports/a?x=1&y=b,c;d%2F"))).await;
    let url = sent_to(&reply).expect("a page").to_owned();
    let page = url.strip_prefix(HERE).expect("ours");
    assert_eq!(led_to(&t, page).await, "/reports/a?x=1&y=b%2Cc%3Bd%2F");
    for (asked, led) in [
        ("/reports", "/reports"),
        ("/reports?", "/reports?"),
        ("/caf%C3%A9", "/caf%C3%A9"),
        ("/odd/a;b%2fc", "/odd/a%3Bb%2fc"),
        ("/", "/"),
        ("/oauth/authorize?client_id=x", "/oauth/authorize?client_id=x"),
        ("/-/user_settings/password/edit", "/-/user_settings/password/edit"),
    ] {
        let page = format!("{SIGN_IN}?{}", crate::oauth::encoded(&[("return_to", asked)]));
        assert_eq!(led_to(&t, &page).await, led, "{asked}");
    }
}

async fn gate_082_whoever_is_signed_in_goes_straight_there(t: TestServer) {
    rules(&t, REPORTS).await;
    let session = t.user("ada").await.session().await;
    let to = async |query: &str| {
        let reply = t.get(&format!("{SIGN_IN}{query}")).session(&session).await;
        reply.has(302).header("location").map(str::to_owned)
    };
    assert_eq!(to("?return_to=%2Freports%2Fa%3Fx%3D1").await.as_deref(), Some("/reports/a?x=1"));
    assert_eq!(to("?return_to=%2F%2Fevil.test").await.as_deref(), Some("/"));
    assert_eq!(to("").await.as_deref(), Some("/"));
    asked(&t, "GET", &format!("{HERE}/reports/a")).session(&session).await.passes("reports");
}

/// Where nobody may be led, as `return_to`.
const ELSEWHERE: [&str; 39] = [
    "https://evil.test/",
    "http://127.0.0.1:8080/reports",
    "//evil.test",
    "///evil.test",
    "////evil.test",
    "/\\evil.test",
    "\\\\evil.test",
    "/\\/evil.test",
    "\\/evil.test",
    "/\t/evil.test",
    "\t//evil.test",
    " //evil.test",
    "//evil.test/reports",
    "/reports//evil.test",
    "/reports/../..//evil.test",
    "/%2e%2e/evil",
    "/reports/..",
    "/reports/%2e%2e/admin",
    "javascript:alert(1)",
    "data:text/html,x",
    "@evil.test",
    ".evil.test",
    "evil.test",
    "",
    "?x",
    "#x",
    "/reports#x",
    "/reports\r\nSet-Cookie: a=b",
    "/reports/\u{e9}",
    "/reports/a b",
    "/reports/a\\b",
    "/reports/a\"b",
    "/reports/a%2fb",
    "/reports/a%5cb",
    "/reports/a;b",
    "/writes",
    "/admin",
    "/reportsx",
    "/oauth/authorized",
];

async fn gate_083_no_way_leads_elsewhere(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    rules(&t, REPORTS).await;
    for target in ELSEWHERE {
        let page = format!("{SIGN_IN}?{}", crate::oauth::encoded(&[("return_to", target)]));
        let form = t.get(&page).await;
        assert_eq!(form.has(200).cookie("_tollhouse_return_0"), None, "{target:?}");
    }
    let twice = "return_to=%2Freports&return_to=%2Freports";
    for query in [twice, "return_to[]=%2Freports", "return_to[a]=%2Freports", "Return_to=%2Freports", "x=%2Freports"] {
        assert_eq!(t.get(&format!("{SIGN_IN}?{query}")).await.has(200).cookie("_tollhouse_return_0"), None, "{query}");
    }
    assert_eq!(led_to(&t, &format!("{SIGN_IN}?return_to=%2F%2Fevil.test")).await, "/");
    // No UTF-8, or NUL: no page at all, as ever.
    for bad in ["%ff", "%2Freports%00"] {
        t.get(&format!("{SIGN_IN}?return_to={bad}")).await.has(400);
    }
    rules(&t, "").await;
    assert_eq!(led_to(&t, &format!("{SIGN_IN}?return_to=%2Freports")).await, "/");
}

async fn gate_083_a_cookie_leads_nowhere_else(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    rules(&t, REPORTS).await;
    let led_by = async |cookie: &str| {
        let form = t.get(SIGN_IN).await;
        let session = Session { cookie: form.cookie("_gitlab_session").expect("a session") };
        let cookies = format!("_gitlab_session={}; _tollhouse_return_0=1.{cookie}", session.cookie);
        signs_in(&t, &form.authenticity_token(), &cookies).await
    };
    assert_eq!(led_by("/reports/a").await, "/reports/a");
    for target in ELSEWHERE.iter().filter(|target| target.bytes().all(|b| b.is_ascii_graphic() && b != b';')) {
        assert_eq!(led_by(target).await, "/", "{target}");
    }
    // What is no longer a way, is none.
    rules(&t, "").await;
    assert_eq!(led_by("/reports/a").await, "/");
}

/// Every link of a page that is no asset and no form.
fn links(page: &str) -> Vec<&str> {
    page.split("<a ").skip(1).filter_map(|tag| tag.split_once("href=\"")?.1.split('"').next()).collect()
}

async fn gate_084_links_lead_to_our_own_pages(t: TestServer) {
    const PROJECTS: &str = "/-/user_settings/projects";
    let ada = t.user("ada").await;
    let elsewhere = "[[rule]]\nname = 'x'\nhost = ['api.example.test', '127.0.0.1:8081']\npath = '/*'\n";
    for (file, home) in [("", "/"), (elsewhere, "/"), (REPORTS, PROJECTS)] {
        rules(&t, file).await;
        let session = ada.session().await;
        for (page, status) in [("/-/user_settings/password/edit", 200), (PROJECTS, 200), ("/", 200), ("/-/nope", 404)] {
            let reply = t.get(page).session(&session).await;
            let text = reply.has(status).body.clone();
            let found: Vec<_> = links(&text).into_iter().filter(|link| ["/", PROJECTS].contains(link)).collect();
            assert_eq!(found, [home], "{page} with {file:?}");
        }
    }
    // Pages that take more to be shown.
    for template in std::fs::read_dir("templates").expect("the templates").map(|file| file.expect("a file").path()) {
        let text = std::fs::read_to_string(&template).expect("a template");
        assert!(!links(&text).contains(&"/"), "{}", template.display());
    }
    // Who is not signed in signs in first, and comes to it.
    t.get(PROJECTS).await.has(302);
    t.user_with_password("grace", "correct horse").await;
    let page = format!("{SIGN_IN}?{}", crate::oauth::encoded(&[("return_to", PROJECTS)]));
    let form = t.get(&page).await;
    assert!(form.has(200).cookie("_tollhouse_return_0").is_some());
}

async fn t3_a_browser_is_sent_to_sign_in_on_a_navigation_alone(t: TestServer) {
    rule(&t, "").await;
    assert!(sent_to(&navigation(asked(&t, "GET", &format!("{HERE}/x"))).await).is_some());
    assert!(sent_to(&navigation(asked(&t, "POST", &format!("{HERE}/x"))).await).is_none());
    assert!(sent_to(&asked(&t, "GET", &format!("{HERE}/x")).with("accept", "application/json").await).is_none());
}

async fn t4_signing_in_returns_to_a_rule_of_this_host(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    rules(&t, REPORTS).await;
    assert_eq!(led_to(&t, &format!("{SIGN_IN}?return_to=%2Freports%2Fa")).await, "/reports/a");
    // Only the other host has a rule for it.
    assert_eq!(led_to(&t, &format!("{SIGN_IN}?return_to=%2Fother")).await, "/");
    let cookie = t.get(SIGN_IN).await.header("set-cookie").expect("a cookie").to_owned();
    assert!(!cookie.contains("Domain"), "{cookie}");
}

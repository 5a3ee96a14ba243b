//! What is sent in bad faith: forged forms, tokens in place of a session, headers, lines and script.

use tollhouse::operations::applications::CreateApplication;
use tollhouse::operations::users;
use tollhouse_domain::scope::Scope;

use super::{AUTHORIZE, SIGN_IN, allowed, carried, consent, field, form_of, location, sent_on};
use crate::oauth::{CALLBACK, create, encoded, sent_back};
use crate::test_server::{TestServer, logged};

cases![
    t10_a_forged_form_allows_nothing,
    t10_only_a_field_of_the_form_makes_it_a_denial,
    t10_the_page_takes_no_token,
    no_parameter_writes_a_header_or_a_line,
    what_people_send_is_escaped_on_every_page,
];

async fn t10_a_forged_form_allows_nothing(t: TestServer) {
    let client = t.client("api").await;
    let ada = t.user("ada").await;
    let (session, other) = (ada.session().await, ada.session().await);
    let (own, foreign) = (session.csrf(), other.csrf());
    for deny in [false, true] {
        let method: &[(&str, &str)] = if deny { &[("_method", "delete")] } else { &[] };
        let without = form_of(&client, method);
        let with = |token: &str| format!("{without}&{}", encoded(&[("authenticity_token", token)]));
        let post = |form: &str| t.post(AUTHORIZE).session(&session).form(form);
        let mut asks = vec![
            post(&without),
            post(&with("")),
            post(&with("x")),
            post(&with(&foreign)),
            post(&with(&session.cookie)),
            t.post(AUTHORIZE).form(&with(&own)),
            post(&with(&own)).with("sec-fetch-site", "cross-site"),
        ];
        for origin in ["https://app.example.test", "http://evil.test", "null", "https://127.0.0.1:8080"] {
            asks.push(post(&with(&own)).with("origin", origin));
        }
        for ask in asks {
            assert_eq!(ask.await.has(422).header("location"), None);
        }
    }
    assert_eq!(allowed(&t).await, 0);
    let form = form_of(&client, &[("authenticity_token", own.as_str())]);
    let ours = t.post(AUTHORIZE).session(&session).form(&form).with("origin", "http://127.0.0.1:8080").await;
    assert!(sent_back(&ours, "code").is_some());
}

async fn t10_only_a_field_of_the_form_makes_it_a_denial(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let csrf = session.csrf();
    let form = form_of(&client, &[("authenticity_token", csrf.as_str())]);
    for ask in [
        t.post(&format!("{AUTHORIZE}?_method=delete")).session(&session).form(&form),
        t.post(AUTHORIZE).session(&session).form(&form).with("x-http-method-override", "DELETE"),
    ] {
        assert!(sent_back(&ask.await, "code").is_some());
    }
    for method in ["post", "delete"] {
        consent(&client.page(&session, "api", &[("_method", Some(method))]).await);
    }
    assert_eq!(allowed(&t).await, 2);
}

async fn t10_the_page_takes_no_token(t: TestServer) {
    let client = t.trusted_client("api").await;
    let ada = t.user("ada").await;
    let personal = ada.token([Scope::Api]).await;
    let oauth = client.tokens(&ada, "api").await.access;
    let before = allowed(&t).await;
    let target = format!("{AUTHORIZE}?{}", form_of(&client, &[]));
    for token in [&personal, &oauth] {
        for ask in [t.get(&target).token(token), t.get(&target).bearer(token)] {
            assert_eq!(location(&ask.await), SIGN_IN);
        }
        t.post(AUTHORIZE).bearer(token).form(&form_of(&client, &[])).await.has(422);
    }
    assert_eq!(allowed(&t).await, before);
}

async fn no_parameter_writes_a_header_or_a_line(t: TestServer) {
    let client = t.client("openid").await;
    let session = t.user("ada").await.session().await;
    let evil = "x\r\nset-cookie: evil=1\r\nlocation: https://evil.test/\r\n\r\nevil line \u{1b}[31m\u{202e}\nevil";
    let names = [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "gl_auth_type",
        "prompt",
        "max_age",
        "root_namespace_id",
        "_method",
        "something_else",
        "evil\r\nset-cookie: evil",
    ];
    let mut code = String::new();
    let lines = logged(async {
        for name in names {
            let changes = [(name, Some(evil))];
            let nobody = t.get(&format!("{AUTHORIZE}?{}", form_of(&client, &[(name, evil)])));
            for ask in [
                client.page(&session, "openid", &changes),
                client.allow(&session, "openid", &changes),
                client.deny(&session, "openid", &changes),
                nobody,
            ] {
                let reply = ask.await;
                assert!(reply.status.as_u16() < 500, "{name}: {}", reply.body);
                for (header, value) in &reply.headers {
                    let value = value.as_bytes();
                    assert!(value.iter().all(|b| (b' '..=b'~').contains(b)), "{name} in {header}");
                    assert!(header != "set-cookie" || !value.starts_with(b"evil"), "{name} in {header}");
                }
                let to = reply.header("location").unwrap_or(SIGN_IN);
                assert!(to == SIGN_IN || to.starts_with(CALLBACK), "{name}: {to}");
            }
        }
        let reply = client.allow(&session, "openid", &[]).await;
        code.push_str(&sent_back(&reply, "code").expect("a code"));
    })
    .await;
    assert!(lines.contains(AUTHORIZE), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains('\u{202e}') && !lines.contains("\nevil"), "{lines}");
    assert!(!lines.contains(&code) && !lines.contains(&session.cookie), "{lines}");
    let trail = t.trail(200).await;
    assert!(trail.iter().all(|line| !line.detail.chars().any(char::is_control) && !line.detail.contains(&code)));
}

async fn what_people_send_is_escaped_on_every_page(t: TestServer) {
    let script = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>";
    let eve = t.person(users::CreateUser::person("eve", script)).await;
    let session = eve.session().await;
    for trusted in [false, true] {
        let client = t.client_with(CreateApplication { name: script.to_owned(), trusted, ..create("api") }).await;
        let mut pages = Vec::new();
        for name in [
            "state",
            "nonce",
            "scope",
            "client_id",
            "redirect_uri",
            "response_type",
            "response_mode",
            "code_challenge",
            "code_challenge_method",
            "gl_auth_type",
        ] {
            let page = client.page(&session, "api", &[(name, Some(script))]).await;
            page.has(200);
            pages.push(page);
        }
        for page in &pages {
            assert!(!page.body.contains("<script>alert") && !page.body.contains("<img src=x"), "{}", page.body);
            assert!(!page.body.contains(r#""'>"#), "{}", page.body);
        }
        if trusted {
            assert_eq!(carried(&sent_on(&pages[0]), '?', "state").as_deref(), Some(script));
        } else {
            let (allow, _) = consent(&pages[0]);
            assert_eq!(field(&allow, "state"), Some(script));
            assert!(pages[0].body.contains("&#60;script&#62;alert(1)"), "the name: {}", pages[0].body);
        }
    }
    // As an error of JSON it is no page.
    let client = t.client("api").await;
    let reply = client.allow(&session, "api", &[("client_id", Some(script))]).await;
    assert_eq!(reply.has(401).header("content-type").map(|media| media.starts_with("application/json")), Some(true));
}

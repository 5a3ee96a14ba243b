//! Redirect URIs: which may be registered, which are the registered one, and what the policy of the page says of them.

use serde_json::json;
use tollhouse::error::Error;
use tollhouse::refusal::Refusal;
use tollhouse_domain::audit::By;
use tollhouse_domain::scope::Scope;

use super::{AUTHORIZE, BAD_REDIRECT, allowed, consent, form_of, is_closed, is_error_page, location, with_uri};
use crate::oauth::{CALLBACK, Client, encoded, is_error, sent_back};
use crate::test_server::{Reply, Session, TestServer};

cases![
    oauth_003_no_redirect_uri_on_the_page,
    oauth_029_a_form_may_lead_to_a_custom_scheme,
    oauth_030_a_policy_without_form_action_gains_none,
    oauth_115_any_port_on_a_loopback_address,
    oauth_116_not_on_the_name_localhost,
    oauth_117_more_in_the_query_is_kept with "compat.redirect_uri = 'gitlab'",
    t20_a_redirect_uri_is_the_registered_text,
    redirect_uris_that_nobody_may_register,
    redirect_uris_that_may_be_registered,
    redirect_uris_that_are_not_the_registered_one,
    a_redirect_uri_with_nul_is_no_text,
    a_second_redirect_uri_or_a_list_of_them,
    scheme_and_host_have_no_case_and_paths_do with "compat.redirect_uri = 'gitlab'",
    custom_schemes_lead_to_their_app,
    loopback_addresses_and_their_ports,
    loopback_addresses_and_their_ports_as_the_original with "compat.redirect_uri = 'gitlab'",
    a_registered_query_in_any_order with "compat.redirect_uri = 'gitlab'",
    t20_a_query_must_not_forestall_the_answer with "compat.redirect_uri = 'gitlab'",
    t20_a_policy_names_an_origin_and_no_web_scheme,
];

/// A page on GET, JSON on POST, and nobody is sent anywhere.
async fn is_refused_at(client: &Client, session: &Session, uri: &str) {
    let changes = [("redirect_uri", Some(uri))];
    let page = client.page(session, "api", &changes).await;
    is_error_page(&page, BAD_REDIRECT);
    let reply = client.allow(session, "api", &changes).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{uri:?}: {}", reply.body);
    assert_eq!(is_error(&reply, 400, "invalid_redirect_uri"), BAD_REDIRECT, "{uri:?}");
    let denied = client.deny(session, "api", &changes).await;
    assert_eq!(denied.header("location"), None, "{uri:?}");
}

/// Asked on the page, and the code comes there.
async fn is_accepted_at(client: &Client, session: &Session, uri: &str) {
    let changes = [("redirect_uri", Some(uri))];
    consent(&client.page(session, "api", &changes).await);
    let reply = client.allow(session, "api", &changes).await;
    let joint = if uri.contains('?') { '&' } else { '?' };
    let to = location(&reply);
    assert!(to.starts_with(&format!("{uri}{joint}code=")), "{to}");
}

async fn oauth_003_no_redirect_uri_on_the_page(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some("invalid"))]).await;
    is_error_page(&page, "The redirect URI included is not valid");
    for missing in [None, Some("")] {
        is_closed(&client.page(&session, "api", &[("redirect_uri", missing)]).await);
        let reply = client.allow(&session, "api", &[("redirect_uri", missing)]).await;
        assert_eq!(reply.has(400).header("location"), None, "even if only one is registered");
    }
}

async fn oauth_029_a_form_may_lead_to_a_custom_scheme(t: TestServer) {
    let client = t.client_with(with_uri("custom://cb")).await;
    let session = t.user("ada").await.session().await;
    let page = client.page(&session, "api", &[("redirect_uri", Some("custom://cb"))]).await;
    consent(&page);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("form-action 'self' custom:"), "{policy}");
    assert_eq!(form_action(&page), ["'self'", "custom:"]);
}

async fn oauth_030_a_policy_without_form_action_gains_none(t: TestServer) {
    let client = t.client_with(with_uri("custom://cb")).await;
    let session = t.user("ada").await.session().await;
    let reply = client.allow(&session, "api", &[("redirect_uri", Some("custom://cb"))]).await;
    assert!(location(&reply).starts_with("custom://cb?code="));
    assert!(!reply.header("content-security-policy").unwrap_or_default().contains("form-action"));
}

async fn oauth_115_any_port_on_a_loopback_address(t: TestServer) {
    let client = t.client_with(with_uri("http://127.0.0.1/cb")).await;
    let session = t.user("ada").await.session().await;
    is_accepted_at(&client, &session, "http://127.0.0.1:9999/cb").await;
}

async fn oauth_116_not_on_the_name_localhost(t: TestServer) {
    let client = t.client_with(with_uri("http://localhost/cb")).await;
    let session = t.user("ada").await.session().await;
    is_refused_at(&client, &session, "http://localhost:9999/cb").await;
    is_accepted_at(&client, &session, "http://localhost/cb").await;
}

async fn oauth_117_more_in_the_query_is_kept(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let uri = format!("{CALLBACK}?tenant=1&x=%C3%BC");
    is_accepted_at(&client, &session, &uri).await;
    let reply = client.allow(&session, "api", &[("redirect_uri", Some(uri.as_str()))]).await;
    assert_eq!(sent_back(&reply, "tenant").as_deref(), Some("1"));
    assert_eq!(sent_back(&reply, "state").as_deref(), Some("a state"));
    let denied = client.deny(&session, "api", &[("redirect_uri", Some(uri.as_str()))]).await;
    assert!(location(&denied).starts_with(&format!("{uri}&error=access_denied")));
}

async fn t20_a_redirect_uri_is_the_registered_text(t: TestServer) {
    let registered = format!("{CALLBACK}?a=1&b=%C3%BC");
    let client = t.client_with(with_uri(&format!("{CALLBACK}\n{registered}\nmyapp://cb"))).await;
    let session = t.user("ada").await.session().await;
    for uri in [CALLBACK, &registered, "myapp://cb"] {
        is_accepted_at(&client, &session, uri).await;
    }
    let before = allowed(&t).await;
    for uri in [
        format!("{CALLBACK}?next=https://evil.test"),
        format!("{CALLBACK}?"),
        format!("{CALLBACK}?b=%C3%BC&a=1"),
        format!("{CALLBACK}?a=1&b=%c3%bc"),
        format!("{CALLBACK}?a=1&b=\u{fc}"),
        format!("{registered}&c=3"),
        format!("{registered}&"),
        CALLBACK.replace("https", "HTTPS"),
        CALLBACK.replace("app.", "APP."),
        CALLBACK.replace(".test", ".test:443"),
        format!("{CALLBACK}/"),
        "myapp://cb?x=1".to_owned(),
        "MYAPP://cb".to_owned(),
        "myapp://cb/".to_owned(),
    ] {
        is_refused_at(&client, &session, &uri).await;
    }
    assert_eq!(allowed(&t).await, before);
}

async fn redirect_uris_that_nobody_may_register(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    for uri in [
        "https://user@app.example.test/callback",
        "https://user:secret@app.example.test/callback",
        "https://app.example.test@evil.test/",
        "https://app.example.test\\@evil.test/",
        "https:\\\\app.example.test\\callback",
        "https://app.example.test/%5ccallback",
        "//app.example.test/callback",
        "/callback",
        "callback",
        "http://",
        "https:///callback",
        "https:/app.example.test/callback",
        "https://app.example.test//callback",
        "https://app.example.test/x/../callback",
        "https://app.example.test/x/%2e%2e/callback",
        "https://app.example.test/callback%00",
        "https://app.example.test/callback%0d%0aset-cookie:x=y",
        "https://app.example.test/callback#",
        "https://app.example.test/callback#fragment",
        "https://app.example.test:99999/callback",
        "https://app.example.test/call\u{1}back",
        "https://app.example.test/callback\u{7f}",
        "https://\u{ff41}pp.example.test/callback",
        "https://app.example.test/call back",
        "https://app.example.test/callback\njavascript:alert(1)",
        "javascript:alert(1)",
        "javascript://alert()",
        "JavaScript://app.example.test/%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "localhost:1234/cb",
    ] {
        let refused = t.app.perform(with_uri(uri), &By::system()).await;
        let Err(Error::Refused(Refusal::Invalid(faults))) = refused else { panic!("{uri:?} was registered") };
        assert!(faults.iter().all(|fault| fault.0 == "redirect_uri"), "{uri:?}");
        let body = json!({ "name": "Ferry board", "redirect_uri": uri, "scopes": "api" });
        let reply = t.post("/api/v4/applications").token(&token).json(body).await;
        assert!(reply.has(400).json()["message"]["redirect_uri"].is_array(), "{uri:?}: {}", reply.body);
    }
    for blank in ["", " ", "\n"] {
        let refused = t.app.perform(with_uri(blank), &By::system()).await;
        assert!(matches!(refused, Err(Error::Refused(Refusal::Invalid(_)))), "{blank:?}");
    }
    let nul = t.app.perform(with_uri("https://app.example.test/\0"), &By::system()).await;
    assert!(matches!(nul, Err(Error::Refused(Refusal::Invalid(_)))));
    t.get("/api/v4/applications").token(&token).await.is(200, "[]");
}

async fn redirect_uris_that_may_be_registered(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    for uri in [
        CALLBACK,
        "http://app.example.test",
        "http://localhost:7171/auth/redirect",
        "http://127.0.0.1/cb",
        "http://[::1]:8080/cb",
        "https://app.example.test:8443/cb?tenant=1",
        "myapp://cb",
        "com.example.app:/oauth",
        "urn:ietf:wg:oauth:2.0:oob",
    ] {
        let body = json!({ "name": "Ferry board", "redirect_uri": uri, "scopes": "api" });
        let made = t.post("/api/v4/applications").token(&token).json(body).await.has(201).json();
        assert_eq!(made["callback_url"], uri);
    }
}

async fn redirect_uris_that_are_not_the_registered_one(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in [
        "https://user@app.example.test/callback",
        "https://user:secret@app.example.test/callback",
        "https://app.example.test@evil.test/callback",
        "https://app.example.test:443@evil.test/callback",
        "https://evil.test\\@app.example.test/callback",
        "https://app.example.test\\callback",
        "https:\\\\app.example.test\\callback",
        "https://app.example.test/%5ccallback",
        "//app.example.test/callback",
        "/callback",
        "https:app.example.test/callback",
        "https:/app.example.test/callback",
        "https:///app.example.test/callback",
        "https://app.example.test//callback",
        "https://app.example.test/./callback",
        "https://app.example.test/x/../callback",
        "https://app.example.test/x/%2e%2e/callback",
        "https://app.example.test/callback/..",
        "https://app.example.test/callback%2f",
        "https://app.example.test%2fcallback",
        "https://app.example.test/%63allback",
        "https://app.example.test/callback%00",
        "https://app.example.test%00.evil.test/callback",
        "https://app.example.test/callback%0d%0a",
        "https://app.example.test/callback#",
        "https://app.example.test/callback#fragment",
        "https://app.example.test:8443/callback",
        "https://app.example.test:80/callback",
        "https://app.example.test/Callback",
        "https://app.example.test/callback/",
        "https://app.example.test/callback/deeper",
        "https://app.example.test/callbackx",
        "https://app.example.test/callbac",
        "https://app.example.test/callback;x",
        "https://app.example.test",
        "http://app.example.test/callback",
        "https://evil.test/callback",
        "https://app.example.test.evil.test/callback",
        "https://app.example.test./callback",
        "https://x.app.example.test/callback",
        "https://\u{ff41}pp.example.test/callback",
        "https://app.ex\u{ad}ample.test/callback",
        " https://app.example.test/callback",
        "https://app.example.test/callback ",
        "https://app.example.test/call back",
        "https://app.example.test/call\tback",
        "https://app.example.test/callback\n",
        "https://app.example.test/callback\r\nset-cookie: evil=1",
        "https://app.example.test/callback https://evil.test/",
        "https://app.example.test/call\u{1}back",
        "https://app.example.test/callback\u{7f}",
        "javascript:alert(1)",
        "javascript://app.example.test/callback%0aalert(1)",
        "data:text/html,x",
        "vbscript:x",
        "localhost:1234/callback",
        "urn:ietf:wg:oauth:2.0:oob",
        "*",
    ] {
        is_refused_at(&client, &session, uri).await;
    }
    assert_eq!(allowed(&t).await, 0);
    is_accepted_at(&client, &session, CALLBACK).await;
}

async fn a_redirect_uri_with_nul_is_no_text(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in ["https://app.example.test/callback\0", "https://app.example.test\0.evil.test/callback"] {
        let changes = [("redirect_uri", Some(uri))];
        for ask in [client.page(&session, "api", &changes), client.allow(&session, "api", &changes)] {
            assert_eq!(ask.await.has(400).header("location"), None);
        }
    }
}

async fn a_second_redirect_uri_or_a_list_of_them(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    let csrf = session.csrf();
    let once = form_of(&client, &[("authenticity_token", csrf.as_str())]);
    let evil = encoded(&[("redirect_uri", "https://evil.test/callback")]);
    let same = encoded(&[("redirect_uri", CALLBACK)]);
    let list = once.replace("redirect_uri=", "redirect_uri[]=");
    let object = once.replace("redirect_uri=", "redirect_uri[a]=");
    for form in [format!("{once}&{evil}"), format!("{evil}&{once}"), format!("{once}&{same}"), list, object] {
        is_closed(&t.get(&format!("{AUTHORIZE}?{form}")).session(&session).await);
        let reply = t.post(AUTHORIZE).session(&session).form(&form).await;
        assert_eq!((reply.status.as_u16(), reply.header("location")), (400, None), "{form}: {}", reply.body);
    }
    for name in ["state", "scope", "response_type", "client_id", "code_challenge"] {
        let form = format!("{once}&{name}=x&{name}=y");
        is_closed(&t.get(&format!("{AUTHORIZE}?{form}")).session(&session).await);
        let reply = t.post(AUTHORIZE).session(&session).form(&form).await;
        let to = reply.header("location").unwrap_or_default();
        assert!(!to.contains("code=") && reply.status.as_u16() != 200, "{name}: {to}");
    }
    let both = t.post(&format!("{AUTHORIZE}?{evil}")).session(&session).form(&once).await;
    assert!(!both.header("location").unwrap_or_default().contains("evil"), "one in the query, one in the form");
}

async fn scheme_and_host_have_no_case_and_paths_do(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for uri in ["HTTPS://app.example.test/callback", "https://APP.Example.test/callback"] {
        let changes = [("redirect_uri", Some(uri))];
        consent(&client.page(&session, "api", &changes).await);
        let reply = client.allow(&session, "api", &changes).await;
        let to = location(&reply).to_ascii_lowercase();
        assert!(to.starts_with(&format!("{CALLBACK}?code=")), "{to}");
    }
    is_refused_at(&client, &session, "https://app.example.test/CALLBACK").await;
}

async fn custom_schemes_lead_to_their_app(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for (uri, scheme, others) in [
        ("myapp://cb", "myapp:", ["myapp://other", "myapp:/cb", "myapp://cb/deeper", "otherapp://cb"]),
        (
            "com.example.app:/oauth",
            "com.example.app:",
            ["com.example.app:/other", "com.example.app://oauth", "com.example.app:oauth", "com.example.app2:/oauth"],
        ),
    ] {
        let client = t.client_with(with_uri(uri)).await;
        is_accepted_at(&client, &session, uri).await;
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        assert!(page.body.contains(scheme) && form_action(&page) == ["'self'", scheme], "{}", page.body);
        for other in others {
            is_refused_at(&client, &session, other).await;
        }
    }
}

async fn loopback_addresses_and_their_ports_as_the_original(t: TestServer) {
    loopback_addresses_and_their_ports(t).await;
}

async fn loopback_addresses_and_their_ports(t: TestServer) {
    let client = t.client_with(with_uri("http://127.0.0.1/cb\nhttp://[::1]:80/cb http://localhost:7171/cb")).await;
    let session = t.user("ada").await.session().await;
    for uri in [
        "http://127.0.0.1/cb",
        "http://127.0.0.1:1/cb",
        "http://127.0.0.1:65535/cb",
        "http://[::1]:9999/cb",
        "http://localhost:7171/cb",
    ] {
        is_accepted_at(&client, &session, uri).await;
    }
    for uri in [
        "http://127.0.0.2:9999/cb",
        "https://127.0.0.1:9999/cb",
        "http://127.0.0.1:9999/other",
        "http://127.0.0.1.evil.test:9999/cb",
        "http://127.0.0.1:9999@evil.test/cb",
        "http://127.0.0.1:99999/cb",
        "http://[::2]:9999/cb",
        "http://localhost/cb",
        "http://localhost:7172/cb",
        "http://10.0.0.1:9999/cb",
    ] {
        is_refused_at(&client, &session, uri).await;
    }
}

async fn a_registered_query_in_any_order(t: TestServer) {
    let registered = format!("{CALLBACK}?a=1&b=2");
    let client = t.client_with(with_uri(&registered)).await;
    let session = t.user("ada").await.session().await;
    for query in ["a=1&b=2", "b=2&a=1"] {
        is_accepted_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
    is_refused_at(&client, &session, CALLBACK).await;
    for query in ["", "a=1", "b=2", "a=1&b=3", "a=2&b=1", "A=1&b=2", "a=1%26b=2"] {
        is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
}

async fn t20_a_query_must_not_forestall_the_answer(t: TestServer) {
    let client = t.client("api").await;
    let session = t.user("ada").await.session().await;
    for name in ["code", "state", "iss", "error", "error_description", "response"] {
        for query in [format!("{name}=x"), format!("x=1&{name}=y"), name.to_owned(), format!("{name}=")] {
            is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
        }
    }
    for query in ["%63ode=x", "st%61te=x"] {
        is_refused_at(&client, &session, &format!("{CALLBACK}?{query}")).await;
    }
    is_accepted_at(&client, &session, &format!("{CALLBACK}?codec=x&my_state=y")).await;
}

/// What the forms of a page may lead to.
#[track_caller]
fn form_action(reply: &Reply) -> Vec<String> {
    let policy = reply.has(200).header("content-security-policy").expect("a policy");
    let mut directives = policy.split(';').map(str::trim).filter_map(|text| text.strip_prefix("form-action "));
    directives.next().expect("a directive").split(' ').map(str::to_owned).collect()
}

async fn t20_a_policy_names_an_origin_and_no_web_scheme(t: TestServer) {
    let session = t.user("ada").await.session().await;
    for (uri, origin) in [
        (CALLBACK, "https://app.example.test"),
        ("https://app.example.test:8443/cb?x=1", "https://app.example.test:8443"),
        ("http://127.0.0.1:9999/cb", "http://127.0.0.1:9999"),
        ("http://localhost:7171/auth/redirect", "http://localhost:7171"),
    ] {
        let client = t.client_with(with_uri(uri)).await;
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        consent(&page);
        assert_eq!(form_action(&page), ["'self'", origin]);
    }
    // What is refused adds nothing to a policy.
    let client = t.client("api").await;
    for uri in ["https://evil.test/callback", "evil://cb", "https://evil.test/;script-src *"] {
        let page = client.page(&session, "api", &[("redirect_uri", Some(uri))]).await;
        let policy = page.has(200).header("content-security-policy").expect("a policy");
        assert!(!policy.contains("evil"), "{policy}");
    }
}

//! What nobody means to send, and where it must not arrive.

use serde_json::{Map, Value, json};

use super::{CHALLENGED, TOKEN, both, by_password, exchange, redeem_challenged};
use crate::oauth::{Client, Tokens, USER, VERIFIER, ask, basic, changed, encoded, is_error, tokens};
use crate::test_server::{TestServer, logged};

cases![
    parameters_as_nobody_means_them with "oauth.password_grant = true",
    bodies_as_nobody_means_them,
    a_scope_that_cannot_be_read_is_not_the_default,
    no_secret_of_an_exchange_is_written_down with "oauth.password_grant = true",
    what_is_sent_reaches_no_header_and_no_line,
    a_header_that_hides_what_it_says,
    a_multipart_form_says_each_thing_once,
];

async fn parameters_as_nobody_means_them(t: TestServer) {
    let (client, ada) = (t.client("api").await, t.user_with_password("ada", "correct horse").await);
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let given = client.tokens(&ada, "api").await;
    let own = [("client_id", client.uid.as_str()), ("client_secret", client.secret.as_str())];
    let by_code = changed(&exchange(&client, &code), &[("code_verifier", Some(VERIFIER))]);
    let refresh = [("grant_type", Some("refresh_token")), ("refresh_token", Some(given.refresh.as_str()))];
    let refresh = changed(&own, &refresh);
    let login = [("grant_type", Some("password")), ("username", Some("ada")), ("password", Some("correct horse"))];
    let login = changed(&own, &login);
    let itself = changed(&own, &[("grant_type", Some("client_credentials")), ("scope", Some("api"))]);
    // What a value of 5,000 characters is, and what an empty one is.
    let table = [
        (&by_code, "grant_type", "unsupported_grant_type", "invalid_request"),
        (&by_code, "code", "invalid_grant", "invalid_request"),
        (&by_code, "redirect_uri", "invalid_grant", "invalid_request"),
        (&by_code, "client_id", "invalid_client", "invalid_client"),
        (&by_code, "client_secret", "invalid_client", "invalid_client"),
        (&by_code, "code_verifier", "invalid_grant", "invalid_request"),
        (&refresh, "refresh_token", "invalid_grant", "invalid_request"),
        (&login, "username", "invalid_grant", "invalid_grant"),
        (&login, "password", "invalid_grant", "invalid_grant"),
        (&itself, "scope", "invalid_scope", ""),
    ];
    let long = "x".repeat(5_000);
    for (base, name, huge, empty) in table {
        let (whole, rest) = (encoded(base), encoded(&changed(base, &[(name, None)])));
        let right = base.iter().find(|(known, _)| *known == name).expect("the parameter").1;
        for form in [
            format!("{whole}&{name}=x"),
            format!("{whole}&{name}[]=x"),
            format!("{name}[]=x&{whole}"),
            format!("{name}[a]=x&{whole}"),
            format!("{whole}&{}", encoded(&[(name, right)])),
            format!("{rest}&{name}[]={right}"),
            format!("{rest}&{name}[]=x&{name}[]=y"),
            format!("{rest}&{name}[a]={right}"),
        ] {
            is_error(&t.post(TOKEN).form(&form).await, 400, "invalid_request");
        }
        for (value, error) in [("", empty), (long.as_str(), huge)] {
            if !error.is_empty() {
                let reply = ask(&t, &changed(base, &[(name, Some(value))])).await;
                is_error(&reply, if error == "invalid_client" { 401 } else { 400 }, error);
            }
        }
        for wrong in [json!([right]), json!({ "a": right }), json!(5), json!(true)] {
            let mut body: Map<String, Value> =
                base.iter().map(|(name, text)| ((*name).to_owned(), json!(text))).collect();
            body.insert(name.to_owned(), wrong.clone());
            let reply = t.post(TOKEN).json(Value::Object(body)).await;
            assert!(reply.status.is_client_error(), "{name} {wrong}: {}", reply.body);
            assert!(reply.json()["error"].is_string(), "{name} {wrong}: {}", reply.body);
            if wrong.is_array() || wrong.is_object() {
                is_error(&reply, 400, "invalid_request");
            }
        }
        for bytes in ["%00", "%ff%fe", "x%00x"] {
            let reply = t.post(TOKEN).form(&format!("{rest}&{name}={bytes}")).await;
            assert!(reply.status.is_client_error(), "{name} {bytes}: {}", reply.body);
        }
    }
    // None of it used anything up.
    for whole in [&by_code, &refresh, &login, &itself] {
        tokens(&ask(&t, whole).await);
    }
}

/// Without a scope an application gets all of its own, so what was meant as less must not count as nothing.
async fn a_scope_that_cannot_be_read_is_not_the_default(t: TestServer) {
    let (ada, client, pair) = t.begun("api read_api").await;
    let own = format!("client_id={}&client_secret={}", client.uid, client.secret);
    let itself = format!("grant_type=client_credentials&{own}");
    let again = format!("grant_type=refresh_token&refresh_token={}&{own}", pair.refresh);
    let object = |form: &str| {
        let fields: Vec<String> =
            form_urlencoded::parse(form.as_bytes()).map(|(k, v)| format!("\"{k}\":\"{v}\"")).collect();
        fields.join(",")
    };
    for form in [&itself, &again] {
        for p in ["scope", "scopes"] {
            for more in [format!("{p}[]=read_api"), format!("{p}[x]=read_api"), format!("{p}=read_api&{p}=api")] {
                is_error(&t.post(TOKEN).form(&format!("{form}&{more}")).await, 400, "invalid_request");
            }
            let fields = object(form);
            for more in [
                format!("\"{p}\":[\"read_api\"]"),
                format!("\"{p}\":{{}}"),
                format!("\"{p}\":\"read_api\",\"{p}\":\"api\""),
                format!("\"{p}\":\"api\",\"{p}\":\"api\""),
            ] {
                is_error(&t.post(TOKEN).json(format!("{{{fields},{more}}}")).await, 400, "invalid_request");
            }
            let part = |name: &str, value: &str, more: &str| {
                format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
            };
            let mut body: String = form_urlencoded::parse(form.as_bytes()).map(|(k, v)| part(&k, &v, "")).collect();
            body += &part(p, "read_api", "; filename=\"f\"");
            body += "--b--\r\n";
            let reply = t.post(TOKEN).body("multipart/form-data; boundary=b", body).await;
            is_error(&reply, 400, "invalid_request");
        }
    }
    // Nothing was used up, and no code is given for a scope that cannot be read.
    let session = ada.session().await;
    let csrf = session.csrf();
    let wanted = encoded(&changed(&client.request("api"), &[("scope", None), ("authenticity_token", Some(&csrf))]));
    for more in [
        "scope[]=read_api",
        "scope=read_api&scope=api",
        "scope=read_api&_method[]=delete",
        "scope=read_api&_method=put",
    ] {
        let reply = t.post("/oauth/authorize").session(&session).form(&format!("{wanted}&{more}")).await;
        is_error(&reply, 400, "invalid_request");
    }
    let denied = t.post("/oauth/authorize").session(&session).form(&format!("{wanted}&scope=api&_method=DELETE")).await;
    assert_eq!(crate::oauth::sent_back(&denied, "error").as_deref(), Some("access_denied"));
    assert_eq!(t.count("oauth.authorized").await, 1, "the one from the beginning");
    tokens(&t.post(TOKEN).form(&format!("{again}&scope=read_api")).await);
}

async fn bodies_as_nobody_means_them(t: TestServer) {
    for body in ["{", "[]", "5", "null", "\"code\"", "{\"grant_type\":}", "{}", ""] {
        let reply = t.post(TOKEN).json(body).await;
        assert!(reply.status.is_client_error(), "{body}: {} {}", reply.status, reply.body);
    }
    let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
    let wide: String = (0..20_000).map(|i| format!("a{i}=&")).collect();
    for (media, body) in [
        ("application/json", deep.as_str()),
        ("application/x-www-form-urlencoded", wide.as_str()),
        ("application/x-www-form-urlencoded", "=&=&&%"),
        ("text/plain", "grant_type=client_credentials"),
        ("multipart/form-data", "x"),
        ("image/png", "x"),
    ] {
        let reply = t.post(TOKEN).body(media, body).await;
        assert!(reply.status.is_client_error(), "{media}: {} {}", reply.status, reply.body);
    }
}

async fn no_secret_of_an_exchange_is_written_down(t: TestServer) {
    let client = t.client("api openid").await;
    let ada = t.user_with_password("ada", "correct horse").await;
    let mut secrets = vec![client.secret.clone(), VERIFIER.to_owned(), "correct horse".to_owned()];
    let lines = logged(async {
        let code = client.code_with(&ada, "openid api", &CHALLENGED).await;
        let reply = redeem_challenged(&client, &code).await;
        let first = tokens(&reply);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        let next = tokens(&client.refresh(&first.refresh).await);
        let wrong = Client { secret: "gloas-wrong".to_owned(), ..client.clone() };
        is_error(&wrong.refresh(&next.refresh).await, 401, "invalid_client");
        let by_password = tokens(&by_password(&client, "ada", "correct horse").await);
        t.post(&format!("{TOKEN}?client_secret={}&code={code}", client.secret)).form("").await.has(400);
        t.get(&format!("{USER}?access_token={}", next.access)).await.is_user(&ada);
        t.later(121);
        is_error(&redeem_challenged(&client, &code).await, 400, "invalid_grant");
        is_error(&client.refresh(&first.refresh).await, 400, "invalid_grant");
        client.revoke(&by_password.refresh).await.is(200, "{}");
        let signed = reply.json()["id_token"].as_str().expect("an id_token").to_owned();
        secrets.extend([code, signed]);
        for Tokens { access, refresh } in [first, next, by_password] {
            secrets.extend([access, refresh]);
        }
    })
    .await;
    assert!(lines.contains(TOKEN), "{lines}");
    let rows = t.trail(100).await;
    assert!(rows.len() >= 6);
    let rows = format!("{rows:?}");
    for secret in &secrets {
        let part = &secret[secret.len().saturating_sub(20)..];
        assert!(!lines.contains(part), "{secret} in {lines}");
        assert!(!rows.contains(part), "{secret} in {rows}");
    }
}

async fn what_is_sent_reaches_no_header_and_no_line(t: TestServer) {
    let (client, ada) = both(&t).await;
    let code = client.code_with(&ada, "api", &CHALLENGED).await;
    let good = changed(
        &exchange(&client, &code),
        &[("code_verifier", Some(VERIFIER)), ("scope", Some("api")), ("refresh_token", Some("x"))],
    );
    let evil = "x\r\nX-Evil: 1\u{1b}[31m\u{202e}\"<script>";
    let lines = logged(async {
        for grant in ["authorization_code", "refresh_token", "password", "client_credentials", evil] {
            for name in ["client_id", "client_secret", "code", "code_verifier", "redirect_uri", "refresh_token"] {
                let pairs = changed(&good, &[("grant_type", Some(grant)), (name, Some(evil))]);
                let pairs = changed(&pairs, &[("username", Some(evil)), ("password", Some(evil))]);
                let reply = ask(&t, &pairs).await;
                assert!(!reply.status.is_server_error(), "{grant} {name}: {}", reply.body);
                assert!(reply.headers.get("x-evil").is_none());
                let challenge = reply.header("www-authenticate").unwrap_or_default();
                assert!(!challenge.contains("<script") && !reply.body.contains("<script"), "{}", reply.body);
            }
        }
        let unknown = ask(&t, &[(evil, evil)]).await;
        assert!(unknown.status.is_client_error() && !unknown.body.contains("<script"), "{}", unknown.body);
        let scope = client.token("client_credentials", &[("scope", evil)]).await;
        is_error(&scope, 400, "invalid_scope");
        let id = ask(&t, &[("grant_type", "client_credentials")]).with("authorization", &basic(evil, evil)).await;
        is_error(&id, 401, "invalid_client");
        for path in ["/oauth/revoke", "/oauth/introspect", "/oauth/userinfo"] {
            for name in ["client_id", "client_secret", "token", "token_type_hint", "access_token", "scopes", evil] {
                let own = [("client_id", client.uid.as_str()), ("client_secret", &client.secret), ("token", "x")];
                let reply = t.post(path).form(&encoded(&changed(&own, &[(name, Some(evil))]))).await;
                assert!(
                    !reply.status.is_server_error() && !reply.body.contains("<script"),
                    "{path} {name}: {}",
                    reply.body
                );
                assert!(reply.headers.get("x-evil").is_none());
            }
        }
    })
    .await;
    assert!(lines.contains(TOKEN), "{lines}");
    assert!(!lines.contains('\u{1b}') && !lines.contains('\u{202e}') && !lines.contains("\nX-Evil"), "{lines}");
    let rows = t.trail(100).await;
    assert!(rows.iter().all(|row| !row.detail.contains(['\n', '\u{1b}', '\u{202e}'])), "{rows:?}");
}

async fn a_header_that_hides_what_it_says(t: TestServer) {
    let client = t.client("api").await;
    let ask = |value: &str| t.post(TOKEN).form("grant_type=client_credentials").with("authorization", value);
    // NUL and broken UTF-8, with padding and without.
    for hidden in ["Basic YQBiOng=", "Basic YQBiOng", "basic  YQBiOng", "Basic /zp4", "Basic /zp4=="] {
        for path in [TOKEN, "/oauth/revoke", "/oauth/introspect"] {
            let reply = t.post(path).form("token=x&grant_type=client_credentials").with("authorization", hidden).await;
            reply.is(400, "Bad Request");
        }
    }
    ask(&client.basic()).await.has(200);
    ask(client.basic().trim_end_matches('=')).await.has(200);
    let twice = ask(&client.basic()).with("authorization", &client.basic()).await;
    is_error(&twice, 400, "invalid_request");
}

async fn a_multipart_form_says_each_thing_once(t: TestServer) {
    let client = t.client("api read_api").await;
    let form = |pairs: &[(&str, &str)]| {
        let part = |(name, value): &(&str, &str)| {
            format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let body: String = pairs.iter().map(part).collect();
        t.post(TOKEN).body("multipart/form-data; boundary=x", format!("{body}--x--\r\n"))
    };
    let own = [("grant_type", "client_credentials"), ("client_id", &*client.uid), ("client_secret", &*client.secret)];
    form(&own).await.has(200);
    form(&[&own[..], &[("scope", "api")]].concat()).await.has(200);
    for more in [&[("scope", "api"), ("scope", "read_api")][..], &[("client_id", "x")], &[("client_id[]", "x")]] {
        is_error(&form(&[&own[..], more].concat()).await, 400, "invalid_request");
    }
}

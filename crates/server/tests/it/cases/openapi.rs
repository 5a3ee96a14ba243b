//! The OpenAPI document: how it is served (rest-api.md 4.7), and that what it says of answers is neither too little nor
//! too much. What it says of parameters has unit tests.

use std::collections::BTreeMap;

use axum::body::{Body, Bytes};
use axum::http::header;
use futures_util::future::join_all;
use serde_json::json;
use tollhouse::endpoint::refusals::{OwnRefusal, RefusalBody};
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::answers::Scene;
use super::projects::SetLimit;
use crate::contract;
use crate::test_server::{Ask, M401, Reply, TestServer};

cases![
    rest_028_the_document_is_for_everybody,
    rest_029_an_unchanged_document_is_not_sent_again,
    every_documented_status_can_occur with "limits.body_time = '1s'",
    every_refusal_that_an_endpoint_declares_can_occur,
    an_answer_that_is_not_documented_is_noticed,
];

const PATH: &str = "/api/v4/openapi.json";

async fn rest_028_the_document_is_for_everybody(t: TestServer) {
    let reply = t.get(PATH).await;
    let document = reply.has(200).json();
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!((&document["openapi"], &document["servers"]), (&json!("3.1.0"), &json!([{ "url": t.app.urls.base() }])));
    // It is the document that all other answers are held against, but for the URLs of the server.
    let held = contract::document_of(&t.app);
    assert_eq!(document["paths"], held["paths"]);
    assert_eq!(document["components"]["schemas"], held["components"]["schemas"]);
    assert!(reply.body.len() < 256 << 10, "{} bytes", reply.body.len());
    let ada = t.user("ada").await;
    for scope in [Scope::Api, Scope::ReadUser, Scope::SelfRotate] {
        t.get(PATH).token(&ada.token([scope]).await).await.is(200, &reply.body);
    }
    t.get(PATH).session(&ada.session().await).await.is(200, &reply.body);
    t.get(PATH).token("glpat-unknown").await.is(401, M401);
    t.get("/api/v4/openapi.json/").await.is(200, &reply.body);
    t.get("/api/v4/openapi").await.is(404, r#"{"error":"404 Not Found"}"#);
}

async fn rest_029_an_unchanged_document_is_not_sent_again(t: TestServer) {
    let reply = t.get(PATH).await;
    let etag = reply.has(200).header("etag").expect("an ETag").to_owned();
    let unchanged = [etag.clone(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()];
    for known in &unchanged {
        let again = t.get(PATH).with("if-none-match", known).await;
        again.is(304, "");
        assert_eq!(again.header("etag"), Some(&*etag), "{known}");
        assert_eq!(again.header("cache-control"), reply.header("cache-control"), "{known}");
    }
    t.get(PATH).with("if-none-match", "\"other\"").await.is(200, &reply.body);
    // The credential is looked at first.
    t.get(PATH).with("if-none-match", &etag).token("glpat-unknown").await.is(401, M401);
}

async fn every_documented_status_can_occur(t: TestServer) {
    let scene = Scene::new(t.clone()).await;
    let ada = t.user("lovelace").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let deputy = t.admin_named("deputy").await.token([Scope::Api, Scope::Sudo]).await;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut slow = Vec::new();
    for endpoint in table().into_iter().filter(|endpoint| endpoint.answer().is_some()) {
        let name = format!("{} {}", endpoint.method, endpoint.path);
        let path = endpoint.example(|kind| match kind {
            ParamType::Integer => "1".to_owned(),
            _ => "team%2Fapp".to_owned(),
        });
        let ask = || t.ask(endpoint.method.clone(), &path);
        let with_query = |query: &str| t.ask(endpoint.method.clone(), &format!("{path}?{query}"));
        let declared = &contract::document_of(&t.app)["paths"][endpoint.path]
            [endpoint.method.as_str().to_ascii_lowercase()]["responses"];
        for status in declared.as_object().expect("answers").keys() {
            let success = endpoint.answer().is_some_and(|answer| answer.status.as_str() == status);
            let reply = match status.as_str() {
                _ if success => scene.asks(&name).await.remove(0).await,
                "304" => ask().with("if-none-match", "*").await,
                "400" => with_query("x=%00").await,
                "401" => ask().token("glpat-unknown").await,
                "403" => ask().token(&token).with("sudo", "grace").await,
                "404" => ask().token(&deputy).with("sudo", "nobody-has-this-name").await,
                "405" if name == "GET /api/v4/projects" => with_query("pagination=keyset&order_by=name").await,
                "405" => ask().session(&session).with("x-csrf-token", &session.csrf()).await,
                "406" => with_query("format=xml").await,
                "408" => {
                    slow.push((name.clone(), never_ending(ask())));
                    continue;
                }
                "413" => ask().form(&"x".repeat(70_000)).await,
                "414" => with_query(&"x".repeat(60_000)).await,
                "415" => ask().body("image/png", "x").await,
                "422" => {
                    let path = format!("/api/v4/users/{}/personal_access_tokens", ada.id);
                    let new = json!({ "name": "x", "scopes": ["api"], "expires_at": "2999-01-01" });
                    t.post(&path).token(&deputy).json(new).await
                }
                "431" => ask().with("x-long", &"x".repeat(200_000)).await,
                "500" => {
                    let ask = scene.asks(&name).await.remove(0);
                    t.app.faults.crash(ask.request().uri().path());
                    let reply = ask.await;
                    t.app.faults.crash("");
                    reply
                }
                "503" => {
                    t.app.db.faults.set(Fault::Everything);
                    let reply = ask().token(&format!("glpat-never-seen-{}", seen.len())).await;
                    t.app.db.faults.set(Fault::None);
                    reply
                }
                other => panic!("{name}: nothing is known here that gives {other}"),
            };
            assert_eq!(reply.status.as_str(), status, "{name}: {}", reply.body);
            *seen.entry(name.clone()).or_default() += 1;
        }
    }
    // All at once: each takes a second.
    let requests = slow.iter_mut().map(|(_, request)| t.service.call(request.take().expect("a request"), None));
    let answers = join_all(requests.collect::<Vec<_>>()).await;
    for ((name, _), response) in slow.iter().zip(answers) {
        assert_eq!(response.status(), 408, "{name}");
        *seen.entry(name.clone()).or_default() += 1;
    }
    let all: usize = seen.values().sum();
    assert!(seen.len() > 20 && all > 230, "{all} of {} operations", seen.len());
}

/// The status alone would not say it where the pipeline refuses with the same one.
async fn every_refusal_that_an_endpoint_declares_can_occur(t: TestServer) {
    Scene::new(t.clone()).await;
    let [ada, admin] = [t.user("lovelace").await, t.admin_named("deputy").await];
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let by_admin = admin.token([Scope::Api]).await;
    t.does(SetLimit { user: ada.id, limit: 0 }).await;
    let far = json!({ "name": "x", "scopes": ["k8s_proxy"], "expires_at": "2999-01-01" });
    let mut seen = 0;
    for endpoint in table() {
        let name = format!("{} {}", endpoint.method, endpoint.path);
        let path = endpoint.example(|kind| match kind {
            ParamType::Integer => ada.id.to_string(),
            _ => "team".to_owned(),
        });
        let ask = |target: &str| t.ask(endpoint.method.clone(), target);
        for refusal in endpoint.refusals {
            let ask = match (refusal, endpoint.path) {
                (OwnRefusal::InvalidFields, "/api/v4/admin/revocations") => {
                    ask(&path).token(&by_admin).json(json!({ "user": null }))
                }
                (OwnRefusal::InvalidFields, "/api/v4/user/applications/{id}") => {
                    let new = json!({ "name": "x", "redirect_uri": "https://a.test", "scopes": "api" });
                    let made = t.post("/api/v4/user/applications").token(&by_admin).json(new).await.has(201).json();
                    ask(&format!("/api/v4/user/applications/{}", made["id"]))
                        .token(&by_admin)
                        .json(json!({ "name": "x".repeat(300) }))
                }
                (OwnRefusal::InvalidFields, "/api/v4/applications" | "/api/v4/user/applications") => ask(&path)
                    .token(&by_admin)
                    .json(json!({ "name": "x", "redirect_uri": "not a URL", "scopes": "api" })),
                (OwnRefusal::InvalidFields, _) => ask(&path).token(&by_admin).json(json!({ "name": "x".repeat(300) })),
                (OwnRefusal::Limit, _) => ask(&path).token(&token).json(json!({ "name": "x" })),
                (OwnRefusal::NoKeyset, _) => ask(&format!("{path}?pagination=keyset&order_by=name")),
                (OwnRefusal::Unprocessable, _) => ask(&path).token(&by_admin).json(far.clone()),
                (OwnRefusal::NotPersonalAccessToken(_), _) => {
                    ask(&path).session(&session).with("x-csrf-token", &session.csrf())
                }
            };
            let reply = ask.await;
            let body = reply.has(refusal.status().as_u16()).json();
            let fits = match refusal.body() {
                RefusalBody::InvalidFields => body["message"].is_object(),
                RefusalBody::Limit => body["error"].is_array(),
                RefusalBody::Message => body["message"].is_string(),
                RefusalBody::Framework => body["error"].is_string(),
                other => panic!("{name}: nothing is known here of {other:?}"),
            };
            assert!(fits, "{name}: {refusal:?} is {body}");
            seen += 1;
        }
    }
    assert!(seen >= 9, "{seen}");
}

/// A form of which nothing comes.
fn never_ending(ask: Ask) -> Option<axum::http::Request<Body>> {
    let mut request = ask.form("x").with("transfer-encoding", "chunked").request();
    request.headers_mut().remove(header::CONTENT_LENGTH);
    let nothing = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    *request.body_mut() = Body::from_stream(nothing);
    Some(request)
}

async fn an_answer_that_is_not_documented_is_noticed(t: TestServer) {
    let scene = Scene::new(t.clone()).await;
    let token = t.user("lovelace").await.token([Scope::Api]).await;
    let own = t.get("/api/v4/user").token(&token).await;
    let list = t.get("/api/v4/groups").token(&token).await;
    let refused = t.get("/api/v4/user").await;
    let gone = scene.asks("DELETE /api/v4/personal_access_tokens/self").await.remove(0).await;
    let body = |reply: &Reply, from: &str, to: &str| {
        let mut other = reply.clone();
        other.body = reply.body.replacen(from, to, 1);
        assert_ne!(other.body, reply.body, "{from}");
        other
    };
    let status = |reply: &Reply, status: u16| Reply { status: status.try_into().expect("a status"), ..reply.clone() };
    let without = |reply: &Reply, header: &str| {
        let mut other = reply.clone();
        other.headers.remove(header).expect("a header");
        other
    };
    let (user, groups) = ("/api/v4/user", "/api/v4/groups?page=1");
    let delete = "/api/v4/personal_access_tokens/self";
    let wrong = [
        (user, status(&own, 201)),
        (user, status(&own, 404)),
        (user, status(&refused, 200)),
        (user, status(&refused, 418)),
        (user, body(&own, r#""username":"#, r#""more":1,"username":"#)),
        (user, body(&own, r#""username":"#, r#""user_name":"#)),
        (user, body(&own, r#""username":"lovelace""#, r#""username":null"#)),
        (user, body(&own, r#""state":"active""#, r#""state":"lively""#)),
        (user, body(&own, r#""web_url":"http"#, r#""web_url":"/"#)),
        (user, body(&refused, r#"{"message""#, r#"{"more":1,"message""#)),
        (user, without(&own, "content-type")),
        (groups, without(&list, "x-page")),
        (groups, body(&list, r#""visibility":"public""#, r#""visibility":"open""#)),
        (groups, Reply { body: "{}".to_owned(), ..list.clone() }),
        (delete, Reply { body: "{}".to_owned(), ..gone.clone() }),
        (delete, status(&gone, 200)),
    ];
    let document = contract::document_of(&t.app);
    let method = |target: &str| if target == delete { "DELETE" } else { "GET" }.parse().expect("a method");
    for (target, right) in [(user, &own), (groups, &list), (user, &refused), (delete, &gone)] {
        contract::check(document, &method(target), target, right).expect("an answer as it is documented");
    }
    for (target, reply) in wrong {
        let told = contract::check(document, &method(target), target, &reply);
        told.expect_err(&format!("{target}: {} {}", reply.status, reply.body));
    }
}

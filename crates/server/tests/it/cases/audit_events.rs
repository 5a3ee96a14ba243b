//! Who did what: `GET /audit_events` and `tollhouse audit list` (rest-api.md 5.2).

use serde_json::json;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;

use crate::test_server::{M401, TestServer};

cases![
    who_did_what,
    filtered_by_entity_and_time,
    pages_by_keyset_and_by_offset,
    only_administrators_read_it,
    filters_that_cannot_be_read,
    by_the_command,
];

const PATH: &str = "/api/v4/audit_events";

async fn who_did_what(t: TestServer) {
    let admin = t.admin().await;
    let made = admin.made_token([Scope::Api]).await;
    let token = made.secret.reveal();
    let ada = t.user("ada").await;
    let own = ada.token([Scope::Api]).await;
    let project = t.post("/api/v4/projects").token(&own).json(json!({ "name": "ferry" })).await.has(201).json();
    let list = t.get(PATH).token(token).await;
    let newest = list.has(200).json()[0].clone();
    let id = newest["id"].as_i64().expect("a number");
    let by = newest["details"]["credential"].as_str().expect("a credential").to_owned();
    assert!(by.starts_with("personal_access_token:"), "{by}");
    let expected = json!({
        "id": id, "author_id": ada.id, "entity_id": project["id"], "entity_type": "Project",
        "event_name": "project.created",
        "details": {
            "custom_message": newest["details"]["custom_message"], "author_name": "ada Example", "ip_address": newest["details"]["ip_address"],
            "target_type": "project", "target_id": project["id"], "credential": by, "subject_id": null,
        },
        "created_at": t.now().iso(),
    });
    assert_eq!(newest, expected);
    assert_eq!(t.get(&format!("{PATH}/{id}")).token(token).await.has(200).json(), expected);
    for id in [0, id + 1_000, i64::MAX] {
        t.get(&format!("{PATH}/{id}")).token(token).await.is(404, r#"{"message":"404 Not found"}"#);
    }
    // The system has no account, and a token is of the instance.
    let of_token =
        list.json().as_array().expect("a list").iter().find(|line| line["event_name"] == "token.created").cloned();
    let of_token = of_token.expect("a line");
    assert_eq!((&of_token["author_id"], &of_token["details"]["author_name"]), (&json!(-1), &json!(null)));
    assert_eq!((&of_token["entity_type"], &of_token["entity_id"]), (&json!("Gitlab::Audit::InstanceScope"), &json!(1)));
    assert!(!list.body.contains(&own[..20]), "no secret");
    // Under sudo the actor is the administrator.
    let sudo = admin.token([Scope::Api, Scope::Sudo]).await;
    t.post("/api/v4/projects?sudo=ada").token(&sudo).json(json!({ "name": "other" })).await.has(201);
    let line = t.get(PATH).token(token).await.json()[0].clone();
    assert_eq!((&line["author_id"], &line["details"]["subject_id"]), (&json!(admin.id), &json!(ada.id)));
}

async fn filtered_by_entity_and_time(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    let ada = t.user("ada").await;
    let group = t.group("team", Visibility::Public).await;
    t.later(60);
    let first = t.project(group, "one", Visibility::Public).await;
    let noon = t.now().iso();
    t.later(60);
    let second = t.project(group, "two", Visibility::Public).await;
    let ask = async |query: &str| {
        let reply = t.get(&format!("{PATH}?per_page=100&{query}")).token(&token).await;
        let lines = reply.has(200).json().as_array().expect("a list").clone();
        let name = |line: &serde_json::Value| {
            format!("{} {}", line["event_name"].as_str().expect("a name"), line["details"]["target_id"])
        };
        lines.iter().map(name).collect::<Vec<_>>()
    };
    let project = |id: tollhouse_domain::id::ProjectId| format!("project.created {id}");
    let (one, two) = (project(first), project(second));
    assert_eq!(ask("entity_type=Project").await, [two.clone(), one.clone()]);
    assert_eq!(ask(&format!("entity_type=Project&entity_id={first}")).await, std::slice::from_ref(&one));
    assert_eq!(ask("entity_type=Group").await, [format!("group.created {group}")]);
    assert_eq!(ask(&format!("entity_type=User&entity_id={}", ada.id)).await, [format!("user.created {}", ada.id)]);
    assert_eq!(ask("entity_type=Project&entity_id=999").await, [""; 0]);
    let instance = ask("entity_type=Gitlab::Audit::InstanceScope").await;
    assert!(instance.iter().all(|line| line.starts_with("token.created")) && !instance.is_empty(), "{instance:?}");
    assert_eq!(ask("entity_type=Gitlab::Audit::InstanceScope&entity_id=1").await, instance);
    assert_eq!(ask("entity_type=Gitlab::Audit::InstanceScope&entity_id=2").await, [""; 0]);
    // Both ends count.
    assert_eq!(ask(&format!("entity_type=Project&created_after={noon}")).await, [two.clone(), one.clone()]);
    assert_eq!(ask(&format!("entity_type=Project&created_before={noon}")).await, std::slice::from_ref(&one));
    let all = ask("").await;
    assert_eq!(ask(&format!("created_before={noon}")).await.first(), Some(&one));
    assert_eq!(ask("created_after=2100-01-01").await, [""; 0]);
    assert_eq!(ask("created_before=2100-01-01").await, all);
    assert!(all.len() > 5 && all[0] == two, "{all:?}");
}

async fn pages_by_keyset_and_by_offset(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    for n in 0..9 {
        t.user(&format!("user{n}")).await;
        // Some have the same time.
        t.later(n % 2);
    }
    let all = t.get(&format!("{PATH}?per_page=100")).token(&token).await;
    assert_eq!(all.header("x-total"), Some(all.ids().len().to_string().as_str()));
    let mut by_offset = Vec::new();
    for page in 1..=4 {
        by_offset.extend(t.get(&format!("{PATH}?per_page=3&page={page}")).token(&token).await.ids());
    }
    assert_eq!(by_offset, all.ids()[..12.min(all.ids().len())]);
    let (mut by_keyset, mut target) =
        (Vec::new(), Some(format!("{PATH}?pagination=keyset&per_page=3&entity_type=User")));
    while let Some(next) = target {
        let page = t.get(&next).token(&token).await;
        by_keyset.extend(page.has(200).ids());
        assert_eq!(page.header("x-total"), None);
        target = page.header("link").map(|link| {
            let url = link.split('<').nth(1).and_then(|rest| rest.split('>').next()).expect("a link");
            assert!(link.ends_with("rel=\"next\"") && url.contains("cursor="), "{link}");
            format!("/{}", url.splitn(4, '/').nth(3).expect("a path"))
        });
        if by_keyset.len() == 3 {
            // What comes later does not move the pages.
            t.user("late").await;
        }
    }
    let mut users = t.get(&format!("{PATH}?per_page=100&entity_type=User")).token(&token).await.ids();
    users.remove(0);
    assert_eq!(by_keyset, users);
    let mut sorted = by_keyset.clone();
    sorted.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(by_keyset, sorted, "the newest first");
}

async fn only_administrators_read_it(t: TestServer) {
    let (admin, ada) = (t.admin().await, t.user("ada").await);
    for target in [PATH.to_owned(), format!("{PATH}/1")] {
        t.get(&target).await.is(401, M401);
        t.get(&target).token(&ada.token([Scope::Api]).await).await.is(403, r#"{"message":"403 Forbidden"}"#);
        t.get(&target).token(&admin.token([Scope::ReadUser]).await).await.is_insufficient_scope();
        t.get(&target).token(&admin.token([Scope::ReadApi]).await).await.has(200);
        t.get(&target).session(&admin.session().await).await.has(200);
    }
    t.delete(&format!("{PATH}/1")).token(&admin.token([Scope::Api]).await).await.has(404);
}

async fn filters_that_cannot_be_read(t: TestServer) {
    let token = t.admin().await.token([Scope::Api]).await;
    for (query, sentence) in [
        ("entity_type=Token", "entity_type does not have a valid value"),
        ("entity_type=project", "entity_type does not have a valid value"),
        ("entity_id=1", "entity_type is missing"),
        ("entity_type=User&entity_id=x", "entity_id is invalid"),
        ("created_after=yesterday", "created_after is invalid"),
        ("created_before=2026-02-30", "created_before is invalid"),
        ("created_after=10000-01-01", "created_after is invalid"),
        ("created_after[]=2026-01-01", "created_after is invalid"),
        ("per_page=0", "per_page does not have a valid value"),
        ("pagination=keyset&cursor=17", "cursor is invalid"),
        ("pagination=keyset&cursor=1_x", "cursor is invalid"),
        ("pagination=keyset&cursor=99999999999999999999_1", "cursor is invalid"),
    ] {
        let expected = json!({ "error": sentence }).to_string();
        t.get(&format!("{PATH}?{query}")).token(&token).await.is(400, &expected);
    }
    for query in ["entity_type=User&entity_id=-1", "created_after=2026-02-29T12:00:00Z&created_before=", "page=999999"]
    {
        let status = t.get(&format!("{PATH}?{query}")).token(&token).await.status.as_u16();
        assert!([200, 400].contains(&status), "{query}: {status}");
    }
}

async fn by_the_command(t: TestServer) {
    let ada = t.user("ada").await;
    let group = t.group("team", Visibility::Public).await;
    let own = ada.token([Scope::Api]).await;
    t.post("/api/v4/projects").token(&own).json(json!({ "name": "ferry" })).await.has(201);
    let admin = t.admin().await.token([Scope::Api]).await;
    let lines = t.shell(&["audit", "list"]).await;
    let lines: Vec<&str> = lines.done().lines().collect();
    assert!(lines[0].starts_with("ID") && lines[0].ends_with("DETAIL"), "{}", lines[0]);
    let made = lines.iter().find(|line| line.contains("project.created")).expect("the line");
    assert!(made.contains(&format!("ada ({})", ada.id)) && made.contains("personal_access_token:"), "{made}");
    let all = t.shell(&["audit", "list", "--json"]).await.json();
    let mut by_api = t.get(&format!("{PATH}?per_page=100")).token(&admin).await.has(200).json();
    by_api.as_array_mut().expect("a list").reverse();
    assert_eq!(all, by_api, "the same, the oldest first");
    let of_group =
        t.shell(&["audit", "list", "--json", "--entity-type", "group", "--entity-id", &group.to_string()]).await;
    assert_eq!(of_group.json().as_array().map(Vec::len), Some(1));
    let none = t.shell(&["audit", "list", "--after", "2100-01-01"]).await;
    assert_eq!(none.done(), "there are no audit events");
    let before =
        t.shell(&["audit", "list", "--json", "--before", "2100-01-01", "--entity-type", "instance"]).await.json();
    assert!(before.as_array().is_some_and(|lines| lines.iter().all(|line| line["event_name"] == "token.created")));
    for flags in [&["--entity-id", "1"][..], &["--entity-type", "token"], &["--after", "soon"]] {
        assert_eq!(t.shell(&[&["audit", "list"][..], flags].concat()).await.code, Some(2), "{flags:?}");
    }
}

//! Applications that are there: listed, given a new secret, deleted, and who may do so.

use std::collections::BTreeSet;

use serde_json::json;
use tollhouse::operations::applications::{self, Delete};
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::{FORBIDDEN, PATH, asked, client, enters, make, warden};
use crate::oauth::{CALLBACK, Client, create, encoded, is_error, is_hex, tokens, user};
use crate::test_server::{Ask, M401, TestServer};

cases![
    an_application_that_goes_while_it_is_given_tokens_leaves_nothing,
    app_012_the_list,
    app_013_deleted,
    app_014_a_renewed_secret,
    app_015_an_unknown_one_renewed,
    auth_124_an_administrators_token,
    auth_187_a_scope_is_not_a_right,
    scopes_of_administrators_tokens,
    by_every_kind_of_credential,
    numbers_that_are_none,
    somebodys_own_application_is_not_here,
    a_deleted_application_takes_its_tokens_along,
    a_deletion_that_the_storage_refuses,
    a_deletion_whose_reply_was_lost,
    a_renewed_secret_leaves_tokens_alone,
    thirty_renewals_at_once,
    deleted_while_its_secret_is_renewed,
    the_trail_has_no_secret,
];

const NOT_FOUND: &str = r#"{"message":"404 Application Not Found"}"#;

fn renew(t: &TestServer, token: &str, id: impl std::fmt::Display) -> Ask {
    t.post(&format!("{PATH}/{id}/renew-secret")).token(token)
}

fn delete(t: &TestServer, token: &str, id: impl std::fmt::Display) -> Ask {
    t.delete(&format!("{PATH}/{id}")).token(token)
}

async fn app_012_the_list(t: TestServer) {
    let token = warden(&t).await;
    let made = [t.client("api").await, t.public_client("read_user").await];
    let known = made.each_ref().map(|made| {
        json!({
            "id": made.id, "application_id": made.uid, "application_name": "Ferry board", "callback_url": CALLBACK,
            "confidential": made.confidential, "scopes": [if made.confidential { "api" } else { "read_user" }],
        })
    });
    let reply = t.get(PATH).token(&token).await;
    assert_eq!(reply.has(200).json(), json!(known));
    assert!(!reply.body.contains("gloas-"));
    for _ in 0..120 {
        t.client("api").await;
    }
    let all = t.get(&format!("{PATH}?per_page=2&page=2")).token(&token).await;
    assert_eq!((all.ids().len(), all.header("link"), all.header("x-page")), (122, None, None), "in one piece");
    t.get(PATH).await.is(401, M401);
    t.get(PATH).token("unknown").await.is(401, M401);
}

async fn app_013_deleted(t: TestServer) {
    let token = warden(&t).await;
    let (gone, kept) = (t.client("api").await, t.client("api").await);
    delete(&t, &token, gone.id).await.is(204, "");
    assert_eq!(t.get(PATH).token(&token).await.ids(), [kept.id.0]);
    for id in [gone.id.0, kept.id.0 + 1000, 0, i64::MAX] {
        delete(&t, &token, id).await.is(404, NOT_FOUND);
    }
    is_error(&enters(&gone).await, 401, "invalid_client");
    enters(&kept).await.has(200);
    let ada = t.user("ada").await.token([Scope::Api]).await;
    delete(&t, &ada, kept.id).await.is(403, FORBIDDEN);
    t.delete(&format!("{PATH}/{}", kept.id)).await.is(401, M401);
    assert!(t.client("api").await.id > kept.id, "numbers are never used twice");
}

async fn app_014_a_renewed_secret(t: TestServer) {
    let token = warden(&t).await;
    let old = t.client("api").await;
    let reply = renew(&t, &token, old.id).await;
    let new = client(&t, &reply);
    let known = format!(
        r#"{{"id":{},"application_id":"{}","application_name":"Ferry board","callback_url":"{CALLBACK}","confidential":true,"scopes":["api"],"secret":"{}"}}"#,
        old.id, old.uid, new.secret
    );
    reply.is(201, &known);
    assert!(new.secret != old.secret && new.secret.strip_prefix("gloas-").is_some_and(is_hex));
    is_error(&enters(&old).await, 401, "invalid_client");
    enters(&new).await.has(200);
    let ada = t.user("ada").await.token([Scope::Api]).await;
    renew(&t, &ada, old.id).await.is(403, FORBIDDEN);
    t.post(&format!("{PATH}/{}/renew-secret", old.id)).await.is(401, M401);
    enters(&new).await.has(200);
}

async fn app_015_an_unknown_one_renewed(t: TestServer) {
    let token = warden(&t).await;
    let gone = t.client("api").await;
    t.does(Delete { id: gone.id }).await;
    for id in [gone.id.0, gone.id.0 + 1000, 0, i64::MAX] {
        renew(&t, &token, id).await.is(404, NOT_FOUND);
    }
}

async fn auth_124_an_administrators_token(t: TestServer) {
    let token = warden(&t).await;
    t.get(PATH).token(&token).await.is(200, "[]");
    t.get(PATH).bearer(&token).await.is(200, "[]");
}

async fn auth_187_a_scope_is_not_a_right(t: TestServer) {
    let ada = t.user("ada").await;
    for scope in [Scope::Api, Scope::ReadApi] {
        t.get(PATH).token(&ada.token([scope]).await).await.is(403, FORBIDDEN);
    }
    let any = ada.token_with_any([Scope::Api, Scope::Sudo, Scope::AdminMode, Scope::ReadServicePing]).await;
    t.get(PATH).token(&any).await.is(403, FORBIDDEN);
}

async fn scopes_of_administrators_tokens(t: TestServer) {
    let admin = t.admin().await;
    let reads = admin.token([Scope::ReadApi]).await;
    t.get(PATH).token(&reads).await.is(200, "[]");
    let made = t.client("api").await;
    make(&t, &reads, asked()).await.is_insufficient_scope();
    renew(&t, &reads, made.id).await.is_insufficient_scope();
    delete(&t, &reads, made.id).await.is_insufficient_scope();
    let small = admin.token([Scope::ReadUser]).await;
    t.get(PATH).token(&small).await.is_insufficient_scope();
    // Who acts as somebody who is none, is none.
    t.user("ada").await;
    let sudo = admin.token([Scope::Api, Scope::Sudo]).await;
    t.get(&format!("{PATH}?sudo=ada")).token(&sudo).await.is(403, FORBIDDEN);
    enters(&made).await.has(200);
}

async fn by_every_kind_of_credential(t: TestServer) {
    let admin = t.admin().await;
    let session = admin.session().await;
    t.get(PATH).session(&session).await.is(200, "[]");
    t.post(PATH).session(&session).json(asked()).await.is(401, M401);
    let ask = t.post(PATH).session(&session).with("x-csrf-token", &session.csrf()).json(asked());
    let made = client(&t, &ask.await);
    let pair = made.tokens(&admin, "api").await;
    assert_eq!(t.get(PATH).bearer(&pair.access).await.ids(), [made.id.0]);
    let second = t.post(PATH).bearer(&pair.access).json(asked()).await;
    assert!(client(&t, &second).id > made.id);
    // Its own token, and nobody's: an application is no administrator.
    let nobodys = tokens(&enters(&made).await);
    t.get(PATH).bearer(&nobodys.access).await.is(401, M401);
    t.get(PATH).with("authorization", &made.basic()).await.is(401, M401);
}

async fn numbers_that_are_none(t: TestServer) {
    let token = warden(&t).await;
    let kept = t.client("api").await;
    for id in ["NaN", "Infinity", "1e3", "-1", "+1", "0x1", "1%20", "%31%0a", "99999999999999999999", "nil", "*"] {
        delete(&t, &token, id).await.has(404);
        renew(&t, &token, id).await.has(404);
    }
    for id in [&kept.uid, &format!("{},0", kept.id), &format!("{}%2C0", kept.id)] {
        delete(&t, &token, id).await.has(404);
        renew(&t, &token, id).await.has(404);
    }
    delete(&t, &token, "%00").await.is(400, "Bad Request");
    renew(&t, &token, "%ff").await.is(400, "Bad Request");
    t.get(&format!("{PATH}/{}", kept.id)).token(&token).await.has(404);
    t.delete(PATH).token(&token).await.has(404);
    t.post(&format!("{PATH}/{}", kept.id)).token(&token).form("_method=delete").await.has(404);
    enters(&kept).await.has(200);
}

async fn somebodys_own_application_is_not_here(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    let own = t.client_with(applications::CreateApplication { owner: Some(ada.id), ..create("api") }).await;
    t.get(PATH).token(&token).await.is(200, "[]");
    delete(&t, &token, own.id).await.is(404, NOT_FOUND);
    renew(&t, &token, own.id).await.is(404, NOT_FOUND);
    enters(&own).await.has(200);
}

async fn a_deleted_application_takes_its_tokens_along(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    let (gone, also, kept) = (t.client("api").await, t.public_client("api").await, t.client("api").await);
    let mut pairs = Vec::new();
    for client in [&gone, &also, &kept] {
        let pair = client.tokens(&ada, "api").await;
        user(&t, &pair.access).await.is_user(&ada);
        pairs.push(pair);
    }
    let machine = tokens(&enters(&gone).await);
    let code = gone.code(&ada, "api").await;
    delete(&t, &token, gone.id).await.is(204, "");
    t.does(Delete { id: also.id }).await;
    for pair in &pairs[..2] {
        user(&t, &pair.access).await.is(401, M401);
        t.get("/oauth/token/info").bearer(&pair.access).await.has(401);
        is_error(&kept.refresh(&pair.refresh).await, 400, "invalid_grant");
    }
    t.get("/oauth/token/info").bearer(&machine.access).await.has(401);
    for ask in [gone.refresh(&pairs[0].refresh), gone.redeem(&code), also.refresh(&pairs[1].refresh)] {
        let reply = ask.await;
        let error = reply.json()["error"].as_str().expect("an error").to_owned();
        assert!(["invalid_client", "invalid_grant"].contains(&error.as_str()), "{}", reply.body);
        assert!([400, 401].contains(&reply.status.as_u16()), "{}", reply.body);
    }
    is_error(&kept.redeem(&code).await, 400, "invalid_grant");
    let session = ada.session().await;
    assert!(gone.page(&session, "api", &[]).await.has(200).body.contains("unknown client"));
    user(&t, &pairs[2].access).await.is_user(&ada);
    tokens(&kept.refresh(&pairs[2].refresh).await);
    let again = t.reopened("").await;
    user(&again, &pairs[0].access).await.is(401, M401);
    again.leave().await;
}

async fn a_deletion_that_the_storage_refuses(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    let kept = t.client("api").await;
    let pair = kept.tokens(&ada, "api").await;
    t.get(PATH).token(&token).await.has(200);
    t.app.db.faults.set(Fault::Writes);
    for ask in [delete(&t, &token, kept.id), renew(&t, &token, kept.id), make(&t, &token, asked())] {
        ask.await.is(503, r#"{"message":"503 Service Unavailable"}"#);
    }
    t.app.db.faults.set(Fault::None);
    assert_eq!(t.get(PATH).token(&token).await.ids(), [kept.id.0]);
    user(&t, &pair.access).await.is_user(&ada);
    enters(&kept).await.has(200);
}

async fn a_deletion_whose_reply_was_lost(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    let gone = t.client("api").await;
    let pair = gone.tokens(&ada, "api").await;
    user(&t, &pair.access).await.is_user(&ada);
    t.app.db.faults.set(Fault::CommitReply);
    delete(&t, &token, gone.id).await.has(503);
    t.app.db.faults.set(Fault::None);
    t.app.settled().await;
    user(&t, &pair.access).await.is(401, M401);
    is_error(&enters(&gone).await, 401, "invalid_client");
    delete(&t, &token, gone.id).await.is(404, NOT_FOUND);
}

async fn a_renewed_secret_leaves_tokens_alone(t: TestServer) {
    let (token, ada) = (warden(&t).await, t.user("ada").await);
    let old = t.client("api").await;
    let (pair, code) = (old.tokens(&ada, "api").await, old.code(&ada, "api").await);
    let new = client(&t, &renew(&t, &token, old.id).await);
    user(&t, &pair.access).await.is_user(&ada);
    is_error(&old.refresh(&pair.refresh).await, 401, "invalid_client");
    is_error(&old.redeem(&code).await, 401, "invalid_client");
    let form = encoded(&[("token", &pair.access)]);
    let asks = [t.post("/oauth/introspect").form(&form), t.post("/oauth/revoke").form(&form)];
    for ask in asks {
        let reply = ask.with("authorization", &old.basic()).await;
        assert!([401, 403].contains(&reply.status.as_u16()), "{}", reply.body);
    }
    user(&t, &pair.access).await.is_user(&ada);
    tokens(&new.redeem(&code).await);
    let next = tokens(&new.refresh(&pair.refresh).await);
    user(&t, &next.access).await.is_user(&ada);
}

async fn thirty_renewals_at_once(t: TestServer) {
    let token = warden(&t).await;
    let old = t.client("api").await;
    let mut attempts = Vec::new();
    for _ in 0..30 {
        let (t, token, id) = (t.clone(), token.clone(), old.id);
        attempts.push(tokio::task::spawn_local(async move { renew(&t, &token, id).await }));
    }
    let (mut answers, mut secrets) = (0, BTreeSet::from([old.secret.clone()]));
    for attempt in attempts {
        let reply = attempt.await.expect("an answer");
        // Who lost every round is told to come back.
        if reply.status.as_u16() != 503 {
            answers += 1;
            secrets.insert(client(&t, &reply).secret);
        }
    }
    assert!(answers > 0);
    assert_eq!(secrets.len(), answers + 1, "each got another one");
    let mut entering = 0;
    for secret in secrets {
        let reply = enters(&Client { secret, ..old.clone() }).await;
        if reply.status.as_u16() == 200 {
            entering += 1;
        } else {
            is_error(&reply, 401, "invalid_client");
        }
    }
    assert_eq!(entering, 1, "the last one counts");
}

async fn deleted_while_its_secret_is_renewed(t: TestServer) {
    let token = warden(&t).await;
    for _ in 0..10 {
        let gone = t.client("api").await;
        let renewal = tokio::task::spawn_local({
            let (t, token, id) = (t.clone(), token.clone(), gone.id);
            async move { renew(&t, &token, id).await }
        });
        tokio::task::yield_now().await;
        delete(&t, &token, gone.id).await.is(204, "");
        let reply = renewal.await.expect("an answer");
        if reply.status.as_u16() == 201 {
            is_error(&enters(&client(&t, &reply)).await, 401, "invalid_client");
        } else if reply.status.as_u16() != 503 {
            reply.is(404, NOT_FOUND);
        }
        is_error(&enters(&gone).await, 401, "invalid_client");
    }
    t.get(PATH).token(&token).await.is(200, "[]");
}

async fn the_trail_has_no_secret(t: TestServer) {
    let admin = t.admin().await;
    let made = admin.made_token([Scope::Api]).await;
    let token = made.secret.reveal();
    let old = client(&t, &make(&t, token, asked()).await);
    let new = client(&t, &renew(&t, token, old.id).await);
    delete(&t, token, old.id).await.is(204, "");
    let lines = t.trail(3).await;
    let events: Vec<&str> = lines.iter().map(|line| line.event.as_str()).collect();
    assert_eq!(events, ["application.deleted", "application.secret_renewed", "application.created"]);
    for line in &lines {
        assert_eq!((line.actor_id, line.target_id), (Some(admin.id.0), old.id.0));
        assert_eq!(line.credential, format!("personal_access_token:{}", made.token.id));
    }
    let text = format!("{lines:?}");
    for secret in [&old.secret, &new.secret] {
        assert!(!text.contains(&secret[..20]), "{text}");
    }
}

async fn an_application_that_goes_while_it_is_given_tokens_leaves_nothing(t: TestServer) {
    let ada = t.user("ada").await;
    for _ in 0..6 {
        let client = t.client("api").await;
        let pair = client.tokens(&ada, "api").await;
        let mut codes = Vec::new();
        for _ in 0..6 {
            codes.push(client.code(&ada, "api").await);
        }
        let mut asks = vec![client.refresh(&pair.refresh)];
        asks.extend(codes.iter().map(|code| client.redeem(code)));
        let tasks: Vec<_> = asks.into_iter().map(|ask| tokio::task::spawn_local(ask.send())).collect();
        t.does(Delete { id: client.id }).await;
        for task in tasks {
            let reply = task.await.expect("an answer");
            assert!([200, 400, 401, 503].contains(&reply.status.as_u16()), "{}", reply.body);
            if reply.status.as_u16() == 200 {
                let access = reply.json()["access_token"].as_str().expect("a token").to_owned();
                t.get("/api/v4/user").bearer(&access).await.is(401, M401);
            }
        }
    }
    let mut reader = t.app.db.read().await.expect("a reader");
    assert_eq!(tollhouse_store::faults::orphans(&mut reader).await.expect("a count"), 0);
}

//! What a refusal tells the client (GATE-091 to GATE-093).

use axum::http::Method;
use tollhouse::operations::users::SetState;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::{HERE, THERE, asked, rule, rules};
use crate::test_server::{Ask, Reply, TestServer, logged};

gates![
    gate_091_every_refusal_has_a_reason,
    gate_091_under_another_prefix with "gateway.prefix = 'X-Auth-'",
    gate_091_the_request_id_is_that_of_the_log,
    gate_092_no_finer_than_the_api,
    gate_092_a_group_is_not_given_away,
    gate_093_a_reason_is_for_the_client_alone,
];

#[track_caller]
fn is_refused(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.is_kept_out(status).reason(), reason);
}

async fn gate_091_every_refusal_has_a_reason(t: TestServer) {
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    is_refused(&ask().token(&token).await, 403, "no_rule");
    rules(&t, "[[rule]]\nname = 'x'\nhost = '127.0.0.1'\npath = '/x'\n").await;
    is_refused(&asked(&t, "GET", &format!("{HERE}/y")).token(&token).await, 403, "no_rule");
    is_refused(&ask().from([192, 0, 2, 1].into()).await, 403, "not_a_peer");
    is_refused(&ask().with("x-tollhouse-user", "root").await, 403, "identity_header");
    is_refused(&ask().with("x!y", "z").await, 403, "odd_header");
    is_refused(&t.ask(Method::HEAD, "/-/auth").await, 403, "unclear_question");
    is_refused(&asked(&t, "GET", &format!("{HERE}/../x")).await, 403, "crooked_path");
    is_refused(&ask().await, 401, "unauthorized");
    is_refused(&ask().token(&ada.expired_token([Scope::Api]).await).await, 401, "expired");
    is_refused(&ask().token(&ada.revoked_token([Scope::Api]).await).await, 401, "revoked");
    is_refused(&ask().token(&ada.token([Scope::ReadUser]).await).await, 403, "insufficient_scope");
    is_refused(&ask().token(&token).token(&token).await, 403, "malformed");
    rule(&t, "query_credentials = true").await;
    let two = asked(&t, "GET", &format!("{HERE}/x?access_token={token}")).bearer(&token).await;
    is_refused(&two, 403, "two_bearers");
    rule(&t, "allow = 'administrator'").await;
    is_refused(&ask().token(&token).await, 403, "forbidden");
    ada.set_state(SetState::block(ada.id)).await;
    is_refused(&ask().token(&token).await, 403, "account_blocked");
    t.app.db.faults.set(Fault::Everything);
    is_refused(&ask().token("glpat-never-seen").await, 503, "unavailable");
    t.app.db.faults.set(Fault::None);
    t.app.faults.crash("/-/auth");
    is_refused(&ask().await, 500, "internal");
}

async fn gate_091_under_another_prefix(t: TestServer) {
    rule(&t, "").await;
    let reply = asked(&t, "GET", &format!("{HERE}/x")).await;
    is_refused(&reply, 401, "unauthorized");
    assert_eq!(reply.header("x-auth-reason"), Some("unauthorized"));
    let spoof = asked(&t, "GET", &format!("{HERE}/x")).with("X_Auth_Reason", "x").await;
    is_refused(&spoof, 403, "identity_header");
}

async fn gate_091_the_request_id_is_that_of_the_log(t: TestServer) {
    rule(&t, "").await;
    let mut ids = Vec::new();
    let lines = logged(async {
        for _ in 0..2 {
            let reply = asked(&t, "GET", &format!("{HERE}/x")).token("unknown").await;
            ids.push(reply.is_kept_out(401).header("x-request-id").expect("an id").to_owned());
        }
    })
    .await;
    assert_ne!(ids[0], ids[1]);
    for id in ids {
        let line = lines.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{id}: {lines}"));
        assert!(line.contains(r#"reason="unknown""#), "the log has the exact reason: {line}");
    }
}

/// What the API answers alike, the gateway tells alike.
async fn gate_092_no_finer_than_the_api(t: TestServer) {
    rule(&t, "").await;
    let (ada, root) = (t.user("ada").await, t.admin().await);
    let client = t.client("api").await;
    let own = crate::oauth::tokens(&client.token("client_credentials", &[("scope", "api")]).await).access;
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    let session = root.session().await;
    // A session that is alive, but whose page is foreign, is told apart from one that never was by nothing.
    let foreign = |ask: Ask| ask.with("origin", "https://evil.test");
    for ask in [
        ask(),
        ask().token("glpat-unknown"),
        ask().bearer("unknown"),
        ask().bearer(&own),
        ask().with("authorization", "Basic dTpw"),
        ask().with("cookie", "_gitlab_session=0123456789abcdef0123456789abcdef"),
        foreign(ask().session(&session)),
        foreign(ask().with("cookie", "_gitlab_session=0123456789abcdef0123456789abcdef")),
    ] {
        let reply = ask.await;
        is_refused(&reply, 401, "unauthorized");
        assert_eq!(reply.header("www-authenticate"), Some(r#"Bearer realm="Protected by OAuth 2.0""#));
    }
    rule(&t, "allow = 'administrator'").await;
    is_refused(&ask().token(&ada.token([Scope::Api]).await).await, 403, "forbidden");
}

/// To somebody outside, a group that is there, one that never was and one whose path is another's now are the same.
async fn gate_092_a_group_is_not_given_away(t: TestServer) {
    let harbour = t.group("harbour", Visibility::Private).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    t.member(MembershipSource::Group(harbour), &grace, AccessLevel::Guest).await;
    let outside = ada.token([Scope::Api]).await;
    let below = grace.token([Scope::Api]).await;
    for lines in ["group = 'harbour'", "group = 'nowhere'", "project = 'harbour/charts'", "allow = 'administrator'"] {
        rule(&t, lines).await;
        is_refused(&asked(&t, "GET", &format!("{THERE}/x")).token(&outside).await, 403, "forbidden");
    }
    rule(&t, "group = 'harbour'\nlevel = 'owner'").await;
    is_refused(&asked(&t, "GET", &format!("{THERE}/x")).token(&below).await, 403, "forbidden");
}

async fn gate_093_a_reason_is_for_the_client_alone(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    for ask in [ask(), ask().token(&token)] {
        let reply = ask.await;
        assert_eq!(reply.passes("all").header("www-authenticate"), None);
    }
    for name in ["x-tollhouse-reason", "X_Tollhouse_Reason", "x.tollhouse.reason"] {
        is_refused(&ask().with(name, "forbidden").await, 403, "identity_header");
    }
}

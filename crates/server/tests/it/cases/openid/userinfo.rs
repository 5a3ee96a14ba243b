//! Userinfo: its claims, and whom it tells nothing.

use axum::http::Method;
use serde_json::json;
use tollhouse::operations::users::{Confirm, SetState};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;

use super::{BASE, CLAIMS, INVALID, USERINFO, member, refused, userinfo};
use crate::oauth::{decoded, encoded, is_error, is_hex, parts, tokens};
use crate::test_server::TestServer;

cases![
    oauth_076_userinfo_without_its_scope,
    oauth_081_groups,
    oauth_083_claims_of_userinfo,
    oauth_088_userinfo_for_every_origin,
    oauth_092_userinfo_without_a_token,
    oauth_093_userinfo_with_three_parts_of_nothing,
    groups_by_way_of_groups_above,
    userinfo_looks_in_three_places,
    userinfo_of_dead_tokens,
    userinfo_of_who_is_blocked,
    userinfo_of_nobody,
    t22_only_confirmed_addresses_are_told with "accounts.confirmation_required = false",
];

async fn oauth_076_userinfo_without_its_scope(t: TestServer) {
    let (_, _, pair) = t.begun("api").await;
    for ask in [userinfo(&t, &pair.access), t.post(USERINFO).bearer(&pair.access)] {
        assert_eq!(ask.await.is(403, "").header("www-authenticate"), None);
    }
}

async fn oauth_081_groups(t: TestServer) {
    let (ada, _, pair) = t.begun("openid").await;
    let (g1, g3) = (t.group("g1", Visibility::Private).await, t.group("g3", Visibility::Private).await);
    t.group("g2", Visibility::Public).await;
    let g4 = t.subgroup("g4", Some(g3), Visibility::Private).await;
    t.member(MembershipSource::Group(g1), &ada, AccessLevel::Owner).await;
    t.member(MembershipSource::Group(g3), &ada, AccessLevel::Developer).await;
    t.member(MembershipSource::Group(g4), &ada, AccessLevel::Maintainer).await;
    let body = userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(body["groups"], json!(["g1", "g3", "g3/g4"]));
    assert_eq!(body["https://gitlab.org/claims/groups/owner"], json!(["g1"]));
    assert_eq!(body["https://gitlab.org/claims/groups/maintainer"], json!(["g3/g4"]));
    assert_eq!(body["https://gitlab.org/claims/groups/developer"], json!(["g3"]));
}

async fn oauth_083_claims_of_userinfo(t: TestServer) {
    let (ada, client, small) = t.begun("openid profile email").await;
    let openid = client.tokens(&ada, "openid").await;
    let told = async |access: &str| {
        let reply = userinfo(&t, access).await;
        assert!(reply.has(200).header("content-type").is_some_and(|media| media.starts_with("application/json")));
        let body = reply.json();
        let names: Vec<String> = body.as_object().expect("an object").keys().cloned().collect();
        assert!(names.iter().all(|name| CLAIMS.contains(&name.as_str())), "{names:?}");
        let places: Vec<usize> = CLAIMS.iter().filter_map(|claim| reply.body.find(&format!(r#""{claim}":"#))).collect();
        assert!(places.len() == names.len() && places.is_sorted(), "{}", reply.body);
        body
    };
    let body = told(&openid.access).await;
    let legacy = member(&body, "sub_legacy").to_owned();
    assert!(is_hex(&legacy), "{legacy}");
    // Nothing of hers is public; what is empty is left out, but lists stay.
    let known = json!({
        "sub": ada.id.to_string(), "sub_legacy": legacy, "name": "ada Example", "nickname": "ada",
        "preferred_username": "ada", "profile": format!("{BASE}/ada"), "groups": [],
    });
    assert_eq!(body, known);
    let body = told(&small.access).await;
    assert_eq!((&body["email"], &body["email_verified"]), (&json!("ada@example.test"), &json!(true)));
    let group = t.group("g1", Visibility::Private).await;
    t.member(MembershipSource::Group(group), &ada, AccessLevel::Owner).await;
    told(&small.access).await;
    assert_eq!(told(&openid.access).await["groups"], json!(["g1"]));
    // The same person is the same to every application.
    let other = t.client("openid").await.tokens(&ada, "openid").await;
    assert_eq!(told(&other.access).await["sub_legacy"], legacy);
}

async fn oauth_088_userinfo_for_every_origin(t: TestServer) {
    let (_, _, pair) = t.begun("openid").await;
    for ask in [userinfo(&t, &pair.access), t.post(USERINFO).bearer(&pair.access)] {
        let reply = ask.with("origin", "https://elsewhere.example.test").await;
        assert_eq!(reply.has(200).header("access-control-allow-origin"), Some("*"));
        assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
        assert_eq!(reply.header("access-control-allow-credentials"), None);
    }
    let reply = t.get(USERINFO).with("origin", "https://elsewhere.example.test").await;
    refused(&reply, INVALID);
    assert_eq!(reply.header("access-control-allow-methods"), Some("GET, HEAD, POST, OPTIONS"));
}

async fn oauth_092_userinfo_without_a_token(t: TestServer) {
    for ask in [t.get(USERINFO), t.post(USERINFO), t.get(&format!("{USERINFO}?access_token="))] {
        refused(&ask.await, INVALID);
    }
}

async fn oauth_093_userinfo_with_three_parts_of_nothing(t: TestServer) {
    for token in ["eyJ0.abc.def", "a.b.c", "..", "e30.e30.", "unknown"] {
        refused(&userinfo(&t, token).await, INVALID);
    }
}

async fn groups_by_way_of_groups_above(t: TestServer) {
    let (ada, _, pair) = t.begun("openid").await;
    let top = t.group("top", Visibility::Private).await;
    let below = t.subgroup("below", Some(top), Visibility::Private).await;
    t.subgroup("deep", Some(below), Visibility::Private).await;
    t.member(MembershipSource::Group(below), &ada, AccessLevel::Reporter).await;
    let body = userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(body["groups"], json!(["top/below", "top/below/deep"]), "not the one above");
    let names: Vec<&String> = body.as_object().expect("an object").keys().collect();
    assert!(names.iter().all(|name| !name.starts_with("https:")), "a claim without groups is left out: {names:?}");
    t.does(tollhouse::operations::members::Remove { of: MembershipSource::Group(below), user: ada.id }).await;
    assert_eq!(userinfo(&t, &pair.access).await.has(200).json()["groups"], json!([]));
}

async fn userinfo_looks_in_three_places(t: TestServer) {
    let (_, _, pair) = t.begun("openid").await;
    let known = userinfo(&t, &pair.access).await.has(200).body.clone();
    for name in ["access_token", "bearer_token"] {
        t.get(&format!("{USERINFO}?{name}={}", pair.access)).await.is(200, &known);
    }
    t.post(USERINFO).bearer(&pair.access).await.is(200, &known);
    t.post(USERINFO).form(&encoded(&[("access_token", &pair.access)])).await.is(200, &known);
    t.ask(Method::HEAD, USERINFO).bearer(&pair.access).await.is(200, "");
    refused(&t.get(USERINFO).token(&pair.access).await, INVALID);
    refused(&t.get(&format!("{USERINFO}?private_token={}", pair.access)).await, INVALID);
    let basic = data_encoding::BASE64.encode(format!("oauth2:{}", pair.access).as_bytes());
    refused(&t.get(USERINFO).with("authorization", &format!("Basic {basic}")).await, INVALID);
    let session = t.user("grace").await.session().await;
    refused(&t.get(USERINFO).session(&session).await, INVALID);
    t.get(&format!("{USERINFO}?access_token=%00")).await.has(400);
    t.get(&format!("{USERINFO}?access_token=%ff")).await.has(400);
}

async fn userinfo_of_dead_tokens(t: TestServer) {
    let (ada, client, pair) = t.begun("openid").await;
    let rotated = client.tokens(&ada, "openid").await;
    let next = tokens(&client.refresh(&rotated.refresh).await);
    refused(&userinfo(&t, &rotated.access).await, "The access token was revoked");
    let form = encoded(&[("token", &next.access)]);
    t.post("/oauth/revoke").form(&form).with("authorization", &client.basic()).await.is(200, "{}");
    refused(&userinfo(&t, &next.access).await, "The access token was revoked");
    userinfo(&t, &pair.access).await.has(200);
    t.later(7201);
    refused(&userinfo(&t, &pair.access).await, "The access token expired");
    t.does(tollhouse::operations::applications::Delete { id: client.id }).await;
    refused(&userinfo(&t, &pair.access).await, INVALID);
}

async fn userinfo_of_who_is_blocked(t: TestServer) {
    let (ada, _, pair) = t.begun("openid").await;
    userinfo(&t, &pair.access).await.has(200);
    for (out, back) in
        [(SetState::block(ada.id), SetState::unblock(ada.id)), (SetState::ban(ada.id), SetState::unban(ada.id))]
    {
        ada.set_state(out).await;
        userinfo(&t, &pair.access).await.is(401, "");
        t.post(USERINFO).bearer(&pair.access).await.is(401, "");
        ada.set_state(back).await;
        userinfo(&t, &pair.access).await.has(200);
    }
}

async fn userinfo_of_nobody(t: TestServer) {
    let client = t.client("api openid").await;
    let reply = client.token("client_credentials", &[("scope", "openid")]).await;
    // There may be no such token; if there is, it speaks for nobody.
    if reply.status.as_u16() != 200 {
        is_error(&reply, 400, "invalid_scope");
        return;
    }
    assert!(reply.json().get("id_token").is_none());
    userinfo(&t, &tokens(&reply).access).await.is(401, "");
}

async fn t22_only_confirmed_addresses_are_told(t: TestServer) {
    let (ada, client, pair) = t.begun("openid email").await;
    let told = async || userinfo(&t, &pair.access).await.has(200).json();
    assert_eq!(told().await["email"], "ada@example.test");
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    let body = told().await;
    assert_eq!((body.get("email"), body.get("email_verified")), (None, None), "{body}");
    let refreshed = client.refresh(&pair.refresh).await.has(200).json();
    let claims = String::from_utf8(decoded(parts(member(&refreshed, "id_token"))[1])).expect("text");
    assert!(!claims.contains("@example.test") && !claims.contains("email_verified"), "{claims}");
}

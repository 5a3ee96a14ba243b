//! What the API behind is told (GATE-070 to GATE-075).

use tollhouse::operations::users::{Confirm, CreateUser};
use tollhouse_domain::scope::Scope;

use super::{HERE, IDENTITY, THERE, asked, rule, signed_in};
use crate::oauth::tokens;
use crate::test_server::{Reply, TestServer};

gates![
    gate_070_every_header_in_every_answer_that_allows,
    gate_071_tokens,
    gate_072_sessions_applications_and_nobody,
    gate_073_where_it_stood,
    gate_074_an_address_that_is_confirmed with "accounts.confirmation_required = false",
    gate_075_values_are_printable,
];

/// All of them, in the order of [`IDENTITY`].
fn told(reply: &Reply) -> [&str; 9] {
    reply.passes("all");
    IDENTITY.map(|name| reply.told(name))
}

async fn gate_070_every_header_in_every_answer_that_allows(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    for ask in [
        asked(&t, "GET", &format!("{HERE}/x")),
        asked(&t, "GET", &format!("{HERE}/x")).token(&token),
        asked(&t, "GET", &format!("{HERE}/x")).session(&ada.session().await),
    ] {
        let reply = ask.await;
        reply.passes("all");
        for name in IDENTITY {
            let name = format!("x-tollhouse-{name}");
            assert_eq!(reply.headers.get_all(&name).iter().count(), 1, "{name}");
            assert!(reply.headers[&name].as_bytes().iter().all(|b| (0x20..0x7f).contains(b)), "{name}");
        }
    }
    for ask in [
        asked(&t, "GET", &format!("{HERE}/x")).token("unknown"),
        asked(&t, "GET", &format!("{HERE}/../x")).token(&token),
        asked(&t, "GET", &format!("{HERE}/x")).token(&ada.token([Scope::ReadUser]).await),
    ] {
        let reply = ask.await;
        let told = reply.headers.keys().filter(|name| name.as_str().starts_with("x-tollhouse-"));
        assert_eq!(told.collect::<Vec<_>>(), ["x-tollhouse-reason"], "{:?}", reply.headers);
    }
}

async fn gate_071_tokens(t: TestServer) {
    rule(&t, "scopes = ['read_user']").await;
    let (ada, client, pair) = t.begun("read_user read_api").await;
    let id = ada.id.to_string();
    let token = ada.token([Scope::ReadUser, Scope::Api]).await;
    let personal = asked(&t, "GET", &format!("{THERE}/x")).token(&token).await;
    let kind = "personal_access_token";
    let expected = [&id, "ada", "ada@example.test", "false", "read_user api", kind, "private_token", "-", "all"];
    assert_eq!(told(&personal), expected);
    let oauth = asked(&t, "GET", &format!("{THERE}/x")).bearer(&pair.access).await;
    let kind = "oauth_access_token";
    let uid = client.uid.as_str();
    let expected = [&id, "ada", "ada@example.test", "false", "read_user read_api", kind, "authorization", uid, "all"];
    assert_eq!(told(&oauth), expected);
    let root = t.admin().await;
    let token = root.token([Scope::Api]).await;
    let administrator = asked(&t, "GET", &format!("{THERE}/x")).bearer(&token).await;
    assert_eq!(told(&administrator)[1..5], ["warden", "warden@example.test", "true", "api"]);
}

async fn gate_072_sessions_applications_and_nobody(t: TestServer) {
    let client = t.client("api").await;
    let own = tokens(&client.token("client_credentials", &[]).await).access;
    rule(&t, &format!("applications = ['{}']", client.uid)).await;
    let ada = t.user("ada").await;
    let session = asked(&t, "GET", &format!("{HERE}/x")).session(&ada.session().await).await;
    let id = ada.id.to_string();
    assert_eq!(told(&session), [&id, "ada", "ada@example.test", "false", "*", "session", "session", "-", "all"]);
    let reply = asked(&t, "GET", &format!("{HERE}/x")).bearer(&own).await;
    let uid = client.uid.as_str();
    let kind = "oauth_access_token";
    assert_eq!(told(&reply), ["-", "-", "-", "false", "api", kind, "authorization", uid, "all"]);
    rule(&t, "allow = 'anyone'").await;
    let nobody = asked(&t, "GET", &format!("{HERE}/x")).await;
    assert_eq!(told(&nobody), ["-", "-", "-", "false", "-", "-", "-", "-", "all"]);
}

async fn gate_073_where_it_stood(t: TestServer) {
    rule(&t, "query_credentials = true").await;
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let ask = |query: &str| asked(&t, "GET", &format!("{HERE}/x{query}"));
    for (ask, place) in [
        (ask("").bearer(&token), "authorization"),
        (ask("").token(&token), "private_token"),
        (ask("").session(&session), "session"),
        (ask(&format!("?private_token={token}")), "query"),
        (ask(&format!("?access_token={token}")), "query"),
        // PresentedCredentials, but it is not the one that decided.
        (ask("").token(&token).session(&session), "private_token"),
        (ask("").token(&token).with("authorization", "Basic dTpw"), "private_token"),
    ] {
        assert_eq!(ask.await.passes("all").told("place"), place);
    }
    // A bad personal access token of its own place ends the matter, as on the API.
    ask(&format!("?access_token={token}")).token("unknown").await.is_kept_out(401);
    ask("").bearer(&token).token("unknown").await.is_kept_out(401);
}

async fn gate_074_an_address_that_is_confirmed(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let ask = async || asked(&t, "GET", &format!("{HERE}/x")).token(&token).await;
    assert_eq!(ask().await.passes("all").told("email"), "ada@example.test");
    t.does(Confirm { user: ada.id, confirmed: false }).await;
    assert_eq!(ask().await.passes("all").told("email"), "-");
    t.does(Confirm { user: ada.id, confirmed: true }).await;
    assert_eq!(ask().await.passes("all").told("email"), "ada@example.test");
    let grace = t.person(CreateUser::without_email("grace", "Grace")).await.token([Scope::Api]).await;
    assert_eq!(asked(&t, "GET", &format!("{HERE}/x")).token(&grace).await.passes("all").told("email"), "-");
}

async fn gate_075_values_are_printable(t: TestServer) {
    signed_in(&t).await;
    let ada =
        t.person(CreateUser { email: "a'b+c@example.test".into(), ..CreateUser::person("A.da_x-1", "\u{c4}da") }).await;
    let token = ada.token([Scope::Api]).await;
    let reply = asked(&t, "GET", &format!("{HERE}/x")).token(&token).await;
    assert_eq!(told(&reply)[1..3], ["A.da_x-1", "a'b+c@example.test"]);
    // No face takes such an address; a database that came from elsewhere may hold one.
    let odd = t.user("odd").await;
    let token = odd.token([Scope::Api]).await;
    let sql = format!("UPDATE users SET email = '\u{fc}%20\r\nX: y@example.test' WHERE id = {}", odd.id.0);
    tollhouse_store::faults::by_hand(&t.url(), &sql).await.expect("it is done");
    let reply = asked(&t, "GET", &format!("{HERE}/x")).token(&token).await;
    assert_eq!(told(&reply)[2], "%C3%BC%2520%0D%0AX: y@example.test");
}

//! Who may refresh, and what may be asked for (rules 1, 10 and 14).

use serde_json::json;
use tollhouse::operations::users::SetState;

use super::{attempts, begun, by_nobody, is_dead, lives, next, refused, salt, with_a_wrong_secret, with_scope};
use crate::oauth::{Client, ask, is_error, tokens};
use crate::test_server::TestServer;

cases![
    oauth_109_a_refresh_token_of_another_application,
    refresh_rule_1_mistakes_in_their_order,
    refresh_rule_1_a_refused_attempt_hands_nothing_out,
    refresh_rule_1_a_refused_attempt_ends_nothing,
    refresh_rule_1_other_clients_are_refused,
    refresh_rule_1_who_is_blocked_ends_nothing,
    refresh_rule_10_repeats_ask_for_the_same,
    refresh_rule_10_narrower_and_never_wider,
    refresh_rule_14_public_applications_rotate_too,
    refresh_without_a_client with "compat.password_grant = 'gitlab'",
];

async fn oauth_109_a_refresh_token_of_another_application(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    refused(&t.client("api read_user").await.refresh(&first.refresh).await);
    lives(&t, &first.access).await;
    next(&client, &first.refresh).await;
}

async fn refresh_rule_1_mistakes_in_their_order(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let (other, wrong) = (t.client("api").await, with_a_wrong_secret(&client));
    is_error(&wrong.token("refresh_token", &[]).await, 400, "invalid_request");
    refused(&wrong.refresh("unknown").await);
    is_error(&wrong.refresh(&first.refresh).await, 401, "invalid_client");
    is_error(&with_scope(&wrong, &first.refresh, Some("sudo")).await, 401, "invalid_client");
    refused(&with_scope(&other, &first.refresh, Some("sudo")).await);
    refused(&by_nobody(&t, &first.refresh).await);
    is_error(&with_scope(&client, &first.refresh, Some("sudo")).await, 400, "invalid_scope");
    lives(&t, &first.access).await;
    // Where the original ignores it, so do we.
    let with_address = [("refresh_token", first.refresh.as_str()), ("redirect_uri", "https://other.test/")];
    tokens(&client.token("refresh_token", &with_address).await);
}

async fn refresh_rule_1_a_refused_attempt_hands_nothing_out(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let other = t.client("api").await;
    let before = t.events().await;
    attempts(&t, &client, &other, &first.refresh).await;
    assert_eq!(t.events().await, before);
    lives(&t, &first.access).await;
    let new = next(&client, &first.refresh).await;
    let (before, salted) = (t.events().await, salt(&t, &first.refresh).await);
    t.later(119);
    attempts(&t, &client, &other, &first.refresh).await;
    t.later(2);
    attempts(&t, &client, &other, &first.refresh).await;
    assert_eq!((t.events().await, salt(&t, &first.refresh).await), (before, salted));
    // Nothing was repeated at 119 s, so there is nothing to wait for; and nothing was used.
    assert_ne!(next(&client, &first.refresh).await, new);
    assert_eq!(t.events().await[0], "token.successor_replaced");
}

async fn refresh_rule_1_a_refused_attempt_ends_nothing(t: TestServer) {
    let (client, _, first) = begun(&t).await;
    let other = t.client("api").await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    let before = t.events().await;
    t.later(300);
    attempts(&t, &client, &other, &first.refresh).await;
    lives(&t, &new.access).await;
    assert_eq!(t.events().await, before);
    // Whoever can show that it is theirs is heard.
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
}

async fn refresh_rule_1_other_clients_are_refused(t: TestServer) {
    let ada = t.user("ada").await;
    let clients = [
        t.client("api").await,
        t.client("api").await,
        t.public_client("api").await,
        t.public_client("api").await,
        t.trusted_client("api").await,
    ];
    let others = |client: &Client| clients.iter().filter(|other| other.uid != client.uid).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for client in &clients {
        let first = client.tokens(&ada, "api").await;
        for other in others(client) {
            refused(&other.refresh(&first.refresh).await);
        }
        let new = next(client, &first.refresh).await;
        lives(&t, &new.access).await;
        lines.push((client, first, new));
    }
    t.later(300);
    for (client, first, new) in lines {
        for other in others(client) {
            refused(&other.refresh(&first.refresh).await);
            refused(&other.refresh(&new.refresh).await);
        }
        lives(&t, &new.access).await;
        next(client, &new.refresh).await;
    }
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_1_who_is_blocked_ends_nothing(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    let new = next(&client, &first.refresh).await;
    lives(&t, &new.access).await;
    t.later(300);
    ada.set_state(SetState::block(ada.id)).await;
    refused(&client.refresh(&first.refresh).await);
    refused(&client.refresh(&new.refresh).await);
    ada.set_state(SetState::unblock(ada.id)).await;
    lives(&t, &new.access).await;
    next(&client, &new.refresh).await;
    assert_eq!(t.count("token.reuse_detected").await, 0);
}

async fn refresh_rule_10_repeats_ask_for_the_same(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    let narrow = tokens(&with_scope(&client, &first.refresh, Some("read_user")).await);
    for scope in [Some("read_user"), None] {
        let reply = with_scope(&client, &first.refresh, scope).await;
        assert_eq!((tokens(&reply), &reply.json()["scope"]), (narrow.clone(), &json!("read_user")));
    }
    let before = t.events().await;
    t.later(119);
    for other in ["api read_user", "api", "sudo", "nonsense"] {
        is_error(&with_scope(&client, &first.refresh, Some(other)).await, 400, "invalid_scope");
    }
    assert_eq!(t.events().await, before);
    // It was not handed out at 119 s. What replaces it is measured by what was presented.
    t.later(2);
    let reply = with_scope(&client, &first.refresh, Some("api")).await;
    assert_ne!(tokens(&reply), narrow);
    assert_eq!(reply.json()["scope"], "api");
    // Who asked for nothing may ask for all of it, in any order.
    let first = client.tokens(&ada, "api read_user").await;
    let whole = next(&client, &first.refresh).await;
    assert_eq!(tokens(&with_scope(&client, &first.refresh, Some("read_user api")).await), whole);
    is_error(&with_scope(&client, &first.refresh, Some("api")).await, 400, "invalid_scope");
    lives(&t, &whole.access).await;
}

async fn refresh_rule_10_narrower_and_never_wider(t: TestServer) {
    let (client, ada, first) = begun(&t).await;
    is_error(&with_scope(&client, &first.refresh, Some("api openid")).await, 400, "invalid_scope");
    lives(&t, &first.access).await;
    let reply = with_scope(&client, &first.refresh, Some("read_user")).await;
    assert_eq!(reply.has(200).json()["scope"], "read_user");
    let narrow = tokens(&reply);
    lives(&t, &narrow.access).await;
    t.get("/api/v4/projects").bearer(&narrow.access).await.has(403);
    is_error(&with_scope(&client, &narrow.refresh, Some("api read_user")).await, 400, "invalid_scope");
    lives(&t, &narrow.access).await;
    assert_eq!(client.refresh(&narrow.refresh).await.has(200).json()["scope"], "read_user");
    // The other spelling.
    let given = client.tokens(&ada, "api read_user").await;
    let pairs = [("refresh_token", given.refresh.as_str()), ("scopes", "read_user")];
    assert_eq!(client.token("refresh_token", &pairs).await.has(200).json()["scope"], "read_user");
}

async fn refresh_rule_14_public_applications_rotate_too(t: TestServer) {
    let (client, ada) = (t.public_client("api").await, t.user("ada").await);
    let first = client.tokens(&ada, "api").await;
    let new = next(&client, &first.refresh).await;
    assert_ne!(new, first);
    is_dead(&t, &first.access).await;
    assert_eq!(next(&client, &first.refresh).await, new);
    lives(&t, &new.access).await;
    t.later(121);
    refused(&client.refresh(&first.refresh).await);
    is_dead(&t, &new.access).await;
    assert_eq!(t.events().await[0], "token.reuse_detected");
}

async fn refresh_without_a_client(t: TestServer) {
    t.user_with_password("ada", "correct horse").await;
    let pairs = [("grant_type", "password"), ("username", "ada"), ("password", "correct horse")];
    let first = tokens(&ask(&t, &pairs).await);
    let new = tokens(&by_nobody(&t, &first.refresh).await);
    is_dead(&t, &first.access).await;
    assert_eq!(tokens(&by_nobody(&t, &first.refresh).await), new);
    // If one calls itself a client it has to be one.
    is_error(&with_a_wrong_secret(&t.client("api").await).refresh(&new.refresh).await, 401, "invalid_client");
    lives(&t, &new.access).await;
    t.later(121);
    refused(&by_nobody(&t, &first.refresh).await);
    is_dead(&t, &new.access).await;
    // What an application was given is not to be had that way.
    let client = t.client("api").await;
    let given = client.tokens(&t.user("grace").await, "api").await;
    refused(&by_nobody(&t, &given.refresh).await);
    next(&client, &given.refresh).await;
}

//! What counts as a credential for somebody else's API (GATE-040 to GATE-053).

use tollhouse::operations::users::SetState;
use tollhouse_domain::scope::Scope;

use super::{HERE, THERE, asked, rule, signed_in};
use crate::oauth::{Client, tokens};
use crate::test_server::{Ask, TestServer};

gates![
    gate_040_whoever_is_signed_in,
    gate_041_nothing_and_nobody,
    gate_042_dead_tokens,
    gate_043_accounts_that_may_not_come_in,
    gate_044_a_rule_without_scopes_demands_api,
    gate_044_the_scopes_that_would_do,
    gate_045_scopes_of_a_rule,
    gate_046_a_query_counts_where_a_rule_says_so,
    gate_047_a_body_counts_nowhere,
    gate_048_sudo_is_not_heard_of,
    gate_049_anyone_but_no_bad_credential,
    gate_050_administrators,
    gate_051_an_application_for_itself,
    gate_052_a_use_is_a_use with "sessions.lifetime = '1h'",
    gate_052_a_first_use_is_noted,
    gate_053_two_of_one_kind_are_refused,
    gate_053_two_of_one_parameter_are_refused_where_the_query_counts,
    what_cannot_be_read_is_refused,
    t6_openid_opens_nothing,
    t6_applications_count_where_they_are_named,
    t7_the_place_that_decided_is_told,
];

async fn gate_040_whoever_is_signed_in(t: TestServer) {
    signed_in(&t).await;
    let (ada, client, pair) = t.begun("api").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    for ask in [ask().token(&token), ask().bearer(&token), ask().bearer(&pair.access), ask().session(&session)] {
        assert_eq!(ask.await.passes("all").told("user"), "ada");
    }
    // The order of the API: a bearer before the header of its own, a bad one before a good session.
    let other = t.user("grace").await.token([Scope::Api]).await;
    assert_eq!(ask().bearer(&pair.access).token(&other).await.passes("all").told("user"), "ada");
    ask().session(&session).token("unknown").await.is_kept_out(401);
    // An empty one is none.
    assert_eq!(ask().session(&session).token(" ").await.passes("all").told("credential"), "session");
    drop(client);
}

async fn gate_041_nothing_and_nobody(t: TestServer) {
    signed_in(&t).await;
    let ask = || asked(&t, "GET", &format!("{THERE}/x"));
    for ask in [ask(), ask().token("glpat-unknown"), ask().bearer("unknown"), ask().with("cookie", "_gitlab_session=x")]
    {
        // RFC 6750 section 3.1: who showed nothing that counts is not told an error. An unknown token is no different.
        let reply = ask.await;
        let challenge = reply.is_kept_out(401).header("www-authenticate");
        assert_eq!(challenge, Some(r#"Bearer realm="Protected by OAuth 2.0""#));
    }
    // A credential for the API behind, as far as we know.
    ask().with("authorization", "Basic dTpw").await.is_kept_out(401);
    let token = t.user("ada").await.token([Scope::Api]).await;
    ask().with("authorization", "Basic dTpw").token(&token).await.passes("all");
}

async fn gate_053_two_of_one_kind_are_refused(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for lines in ["", "allow = 'anyone'"] {
        rule(&t, lines).await;
        let ask = || asked(&t, "GET", &format!("{THERE}/x"));
        for other in [token.as_str(), "unknown", ""] {
            ask().token(&token).token(other).await.is_kept_out(403);
            ask().token(other).token(&token).await.is_kept_out(403);
        }
        // What is shown beside it does not help.
        for scheme in ["Bearer unknown", "Basic dTpw", ""] {
            ask().bearer(&token).with("authorization", scheme).await.is_kept_out(403);
            ask().with("authorization", scheme).bearer(&token).await.is_kept_out(403);
            ask().with("authorization", scheme).with("authorization", scheme).token(&token).await.is_kept_out(403);
        }
        // The query is not read here.
        ask().token(&token).await.passes("all");
        // One of each kind is no contradiction.
        ask().bearer(&token).token(&token).await.passes("all");
    }
}

async fn gate_053_two_of_one_parameter_are_refused_where_the_query_counts(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    let here = |query: &str| asked(&t, "GET", &format!("{THERE}/x?{query}"));
    rule(&t, "query_credentials = true").await;
    for name in ["private_token", "access_token", "bearer_token"] {
        here(&format!("{name}={token}")).await.passes("all");
        for other in [token.as_str(), "unknown", ""] {
            for query in [
                format!("{name}={token}&{name}={other}"),
                format!("{name}={other}&a=1&{name}={token}"),
                format!("{name}[]={other}&{name}={token}"),
                format!("{name}%5Ba%5D={other}&{name}={token}"),
            ] {
                here(&query).await.is_kept_out(403);
            }
        }
    }
    // What is no credential is the API's own affair.
    here(&format!("private_token={token}&token=a&token=b")).await.passes("all");
    rule(&t, "").await;
    here("private_token=a&private_token=b").token(&token).await.passes("all");
}

async fn gate_042_dead_tokens(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let expired = ada.expired_token([Scope::Api]).await;
    let revoked = ada.revoked_token([Scope::Api]).await;
    for dead in [&expired, &revoked] {
        let api = t.get("/api/v4/user").token(dead).await;
        let reply = asked(&t, "GET", &format!("{THERE}/x")).token(dead).await;
        let challenge = reply.is_kept_out(401).header("www-authenticate").expect("a challenge");
        assert_eq!(Some(challenge), api.header("www-authenticate"));
    }
}

async fn gate_043_accounts_that_may_not_come_in(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let (token, session) = (ada.token([Scope::Api]).await, ada.session().await);
    let ask = || asked(&t, "GET", &format!("{HERE}/x")).token(&token);
    ask().await.passes("all");
    for (out, back) in [
        (SetState::block(ada.id), SetState::unblock(ada.id)),
        (SetState::deactivate(ada.id), SetState::activate(ada.id)),
        (SetState::ban(ada.id), SetState::unban(ada.id)),
    ] {
        ada.set_state(out).await;
        ask().await.is_kept_out(403);
        ada.set_state(back).await;
        ask().await.passes("all");
    }
    asked(&t, "GET", &format!("{HERE}/x")).session(&session).await.is_kept_out(401);
}

/// Which scopes open it, by GET, HEAD and POST.
async fn opened(t: &TestServer, scope: Scope) -> [bool; 3] {
    let token = t.user(&format!("x{}", t.events().await.len())).await.token_with_any([scope]).await;
    let mut open = [false; 3];
    for (i, method) in ["GET", "HEAD", "POST"].into_iter().enumerate() {
        let reply = asked(t, method, &format!("{THERE}/x")).token(&token).await;
        open[i] = reply.status.as_u16() == 204;
        if open[i] {
            reply.passes("all")
        } else {
            reply.is_kept_out(403)
        };
    }
    open
}

async fn gate_044_a_rule_without_scopes_demands_api(t: TestServer) {
    signed_in(&t).await;
    for scope in Scope::ALL.iter().copied() {
        let expected = match scope {
            Scope::Api => [true; 3],
            Scope::ReadApi => [true, true, false],
            _ => [false; 3],
        };
        assert_eq!(opened(&t, scope).await, expected, "{scope}");
    }
}

async fn gate_044_the_scopes_that_would_do(t: TestServer) {
    let token = t.user("ada").await.token([Scope::ReadRegistry]).await;
    for (lines, method, scopes) in [
        ("", "GET", "api read_api"),
        ("", "HEAD", "api read_api"),
        ("", "POST", "api"),
        ("scopes = ['read_user', 'k8s_proxy']", "GET", "read_user k8s_proxy api read_api"),
        ("scopes = ['read_user', 'k8s_proxy']", "DELETE", "read_user k8s_proxy api"),
    ] {
        rule(&t, lines).await;
        let reply = asked(&t, method, &format!("{THERE}/x")).token(&token).await;
        assert_eq!(reply.is_kept_out(403).reason(), "insufficient_scope");
        let expected = format!(
            "Bearer realm=\"Protected by OAuth 2.0\", error=\"insufficient_scope\", error_description=\"The request \
             requires higher privileges than provided by the access token.\", scope=\"{scopes}\""
        );
        assert_eq!(reply.header("www-authenticate"), Some(expected.as_str()), "{method} {lines}");
    }
}

async fn gate_045_scopes_of_a_rule(t: TestServer) {
    rule(&t, "scopes = ['read_user', 'k8s_proxy']").await;
    for scope in [Scope::Api, Scope::ReadUser, Scope::K8sProxy] {
        assert_eq!(opened(&t, scope).await, [true; 3], "{scope}");
    }
    for scope in [Scope::Openid, Scope::Sudo, Scope::ReadRegistry] {
        assert_eq!(opened(&t, scope).await, [false; 3], "{scope}");
    }
    let openid = "[[rule]]\nname = 'x'\nhost = 'a'\npath = '/'\nscopes = 'openid'\n";
    assert!(t.app.gateway.replace(openid, "rules.toml", &t.app.db).await.is_err());
}

const PARAMETERS: [&str; 3] = ["private_token", "access_token", "bearer_token"];

async fn gate_046_a_query_counts_where_a_rule_says_so(t: TestServer) {
    let token = t.user("ada").await.token([Scope::Api]).await;
    for name in PARAMETERS {
        let good = format!("{THERE}/x?{name}={token}&y=1");
        let bad = format!("{THERE}/x?{name}=unknown");
        signed_in(&t).await;
        asked(&t, "GET", &good).await.is_kept_out(401);
        // Not looked at: a bad one is in nobody's way.
        asked(&t, "GET", &bad).token(&token).await.passes("all");
        rule(&t, "allow = 'anyone'").await;
        asked(&t, "GET", &bad).await.passes("all");
        rule(&t, "query_credentials = true").await;
        assert_eq!(asked(&t, "GET", &good).await.passes("all").told("place"), "query");
        asked(&t, "POST", &good).await.passes("all");
        asked(&t, "GET", &bad).await.is_kept_out(401);
    }
    // Two bearers contradict each other, as on the API.
    asked(&t, "GET", &format!("{THERE}/x?access_token={token}")).bearer(&token).await.is_kept_out(403);
}

async fn gate_047_a_body_counts_nowhere(t: TestServer) {
    rule(&t, "query_credentials = true").await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = || asked(&t, "POST", &format!("{THERE}/x"));
    for name in PARAMETERS {
        ask().form(&format!("{name}={token}")).await.is_kept_out(401);
        ask().json(serde_json::json!({ name: token })).await.is_kept_out(401);
    }
    ask().json("{").token(&token).await.passes("all");
}

async fn gate_048_sudo_is_not_heard_of(t: TestServer) {
    rule(&t, "query_credentials = true").await;
    let ada = t.user("ada").await;
    let root = t.admin().await.token_with_any([Scope::Api, Scope::Sudo]).await;
    t.get("/api/v4/user").token(&root).with("sudo", "ada").await.is_user(&ada);
    let plain = ada.token([Scope::Api]).await;
    for (token, who) in [(&root, "warden"), (&plain, "ada")] {
        for ask in [
            asked(&t, "GET", &format!("{THERE}/x")).with("sudo", "ada"),
            asked(&t, "GET", &format!("{THERE}/x?sudo=ada")),
            asked(&t, "GET", &format!("{THERE}/x?sudo=nobody&sudo[]=x")),
        ] {
            assert_eq!(ask.token(token).await.passes("all").told("user"), who);
        }
    }
}

async fn gate_049_anyone_but_no_bad_credential(t: TestServer) {
    rule(&t, "allow = 'anyone'").await;
    let ada = t.user("ada").await;
    let ask = || asked(&t, "GET", &format!("{THERE}/x"));
    assert_eq!(ask().await.passes("all").told("user"), "-");
    let good = ada.token([Scope::Api]).await;
    assert_eq!(ask().token(&good).await.passes("all").told("user"), "ada");
    ask().token("unknown").await.is_kept_out(401);
    ask().bearer("unknown").await.is_kept_out(401);
    let narrow = ada.token([Scope::ReadUser]).await;
    ask().token(&narrow).await.is_kept_out(403);
    // A session that does not count is nobody, not a bad credential.
    assert_eq!(ask().session(&ada.session().await).await.passes("all").told("user"), "-");
}

async fn gate_050_administrators(t: TestServer) {
    rule(&t, "allow = 'administrator'").await;
    let (ada, root) = (t.user("ada").await, t.admin().await);
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    ask().await.is_kept_out(401);
    ask().token(&ada.token([Scope::Api]).await).await.is_kept_out(403);
    ask().session(&ada.session().await).await.is_kept_out(403);
    ask().session(&root.session().await).await.passes("all");
    ask().token(&root.token([Scope::ReadApi]).await).await.passes("all");
    ask().token(&root.token([Scope::ReadUser]).await).await.is_kept_out(403);
}

async fn own_token(client: &Client, scope: &str) -> String {
    tokens(&client.token("client_credentials", &[("scope", scope)]).await).access
}

async fn gate_051_an_application_for_itself(t: TestServer) {
    let (named, other) = (t.client("api read_user").await, t.client("api").await);
    let ask = |token: &str| asked(&t, "GET", &format!("{THERE}/x")).bearer(token);
    let (all, narrow, foreign) =
        (own_token(&named, "api").await, own_token(&named, "read_user").await, own_token(&other, "api").await);
    signed_in(&t).await;
    ask(&all).await.is_kept_out(401);
    rule(&t, &format!("applications = ['{}']", named.uid)).await;
    let reply = ask(&all).await;
    assert_eq!((reply.passes("all").told("user-id"), reply.told("application")), ("-", named.uid.as_str()));
    ask(&narrow).await.is_kept_out(403);
    ask(&foreign).await.is_kept_out(401);
    // It is a member of nothing, and need not be.
    t.group("harbour", tollhouse_domain::access::Visibility::Private).await;
    rule(&t, &format!("group = 'harbour'\napplications = ['{}']", named.uid)).await;
    ask(&all).await.passes("all");
    let ada = t.user("ada").await.token([Scope::Api]).await;
    ask(&ada).await.is_kept_out(403);
    // An application that is gone opens nothing.
    rule(&t, &format!("applications = ['{}', 'nobody']", named.uid)).await;
    ask(&all).await.passes("all");
    t.does(tollhouse::operations::applications::Delete { id: named.id }).await;
    ask(&all).await.is_kept_out(401);
}

async fn gate_052_a_use_is_a_use(t: TestServer) {
    signed_in(&t).await;
    let ada = t.user("ada").await;
    let (made, session) = (ada.made_token([Scope::Api]).await, ada.session().await);
    let ask = || asked(&t, "GET", &format!("{HERE}/x"));
    for _ in 0..3 {
        t.later(50 * 60);
        ask().session(&session).await.passes("all");
        ask().token(made.secret.reveal()).await.passes("all");
        tollhouse::job::flush(&t.app).await;
    }
    let shown = t.get("/api/v4/personal_access_tokens/self").token(made.secret.reveal()).await.json();
    assert!(shown["last_used_at"].is_string(), "{shown}");
    t.later(61 * 60);
    ask().session(&session).await.is_kept_out(401);
}

/// rotation.md rule 7: the successor was used, so the secret before it is not taken for a lost answer any more.
async fn gate_052_a_first_use_is_noted(t: TestServer) {
    signed_in(&t).await;
    let old = t.user("ada").await.token([Scope::Api]).await;
    let rotate = "/api/v4/personal_access_tokens/self/rotate";
    let new = t.post(rotate).token(&old).await.has(200).json()["token"].as_str().expect("a token").to_owned();
    asked(&t, "GET", &format!("{THERE}/x")).token(&old).await.is_kept_out(401);
    asked(&t, "GET", &format!("{THERE}/x")).token(&new).await.passes("all");
    t.later(300);
    t.post(rotate).token(&old).await.has(401);
    asked(&t, "GET", &format!("{THERE}/x")).token(&new).await.is_kept_out(401);
}

async fn what_cannot_be_read_is_refused(t: TestServer) {
    rule(&t, "allow = 'anyone'\nquery_credentials = true").await;
    let ask = |target: &str| asked(&t, "GET", &format!("{THERE}{target}"));
    ask("/x").with("authorization", "Basic AAAA").await.is_kept_out(403);
    for query in ["private_token=%00", "x=%ff"] {
        ask(&format!("/x?{query}")).await.is_kept_out(403);
    }
    // A query that we do not read may be anything.
    rule(&t, "allow = 'anyone'").await;
    ask("/x?x=%ff&y=%00&z=%zz").await.passes("all");
    let long = "x".repeat(5_000);
    ask("/x").token(&long).await.is_kept_out(401);
    ask("/x").with("cookie", &format!("_gitlab_session={long}")).await.passes("all");
}

async fn t6_openid_opens_nothing(t: TestServer) {
    signed_in(&t).await;
    assert_eq!(opened(&t, Scope::Openid).await, [false; 3]);
    let (_, _, pair) = t.begun("openid").await;
    asked(&t, "GET", &format!("{THERE}/x")).bearer(&pair.access).await.is_kept_out(403);
}

async fn t6_applications_count_where_they_are_named(t: TestServer) {
    let client = t.client("api").await;
    let own = own_token(&client, "api").await;
    rule(&t, "allow = 'anyone'").await;
    asked(&t, "GET", &format!("{THERE}/x")).bearer(&own).await.is_kept_out(401);
    rule(&t, &format!("applications = '{}'", client.uid)).await;
    asked(&t, "GET", &format!("{THERE}/x")).bearer(&own).await.passes("all");
}

async fn t7_the_place_that_decided_is_told(t: TestServer) {
    signed_in(&t).await;
    let token = t.user("ada").await.token([Scope::Api]).await;
    let ask = || -> Ask { asked(&t, "GET", &format!("{THERE}/x")) };
    let reply = ask().token(&token).with("authorization", "Basic dTpw").await;
    assert_eq!(reply.passes("all").told("place"), "private_token", "the other belongs to the API behind");
    assert_eq!(ask().bearer(&token).await.passes("all").told("place"), "authorization");
}

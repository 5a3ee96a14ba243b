//! Every route with every credential in every place, against a rule that is written apart from the table.

use axum::http::Method;
use tollhouse::params::ParamType;
use tollhouse::routes::table;
use tollhouse_domain::scope::{Holder, Scope};

use crate::test_server::{Ask, EXPIRED, M401, REVOKED, TestServer};

cases![
    every_route_with_every_credential_in_every_place,
    every_route_with_every_oauth_token_in_every_place,
    routes_open_to_nobody,
];

/// Routes of the API that answer anonymous callers, by hand: a wrong access requirement would agree with itself.
const OPEN: &[&str] = &[
    "GET /api/v4/users",
    "GET /api/v4/users/{id}",
    "GET /api/v4/projects",
    "GET /api/v4/projects/{id}",
    "GET /api/v4/groups",
    "GET /api/v4/groups/{id}",
    "GET /api/v4/openapi.json",
];

/// Routes that look at no token, by hand.
const TOKENLESS: &[&str] = &[
    "GET /",
    "GET /-/user_settings/projects",
    "GET /users/sign_in",
    "POST /users/sign_in",
    "POST /users/sign_out",
    "GET /-/user_settings/password/edit",
    "POST /-/user_settings/password",
    "GET /oauth/authorize",
    "POST /oauth/authorize",
    "DELETE /oauth/authorize",
    "GET /oauth/authorize/native",
    "POST /oauth/authorize/reauthenticate",
    // These judge for themselves: a client, or a token that is their very subject.
    "POST /oauth/token",
    "POST /oauth/revoke",
    "POST /oauth/introspect",
    "GET /oauth/token/info",
    "GET /oauth/userinfo",
    "POST /oauth/userinfo",
    "OPTIONS /oauth/token",
    "OPTIONS /oauth/revoke",
    "OPTIONS /oauth/token/info",
    "OPTIONS /oauth/userinfo",
    "GET /oauth/discovery/keys",
    "GET /.well-known/openid-configuration",
    "GET /.well-known/oauth-authorization-server",
    "GET /assets/{name}",
    "GET /-/health",
    "GET /-/liveness",
    "GET /-/readiness",
];

/// What a scope opens, by the words of the specification (authentication.md 3.2).
fn opens(scope: Scope, method: &Method, path: &str) -> bool {
    let read = *method == Method::GET;
    match scope {
        Scope::Api => true,
        _ if path.ends_with("/self") || path == "/api/v4/openapi.json" => true,
        Scope::SelfRotate => path.ends_with("/self/rotate"),
        Scope::ReadApi => read,
        Scope::ReadUser => {
            read && (path.contains("/user") || path.ends_with("/version") || path.ends_with("/metadata"))
        }
        _ => false,
    }
}

type Place = (&'static str, fn(Ask, &str) -> Ask);

const HEADERS: &[Place] =
    &[("PRIVATE-TOKEN", |ask, token| ask.token(token)), ("Bearer", |ask, token| ask.bearer(token))];

async fn every_route_with_every_credential_in_every_place(t: TestServer) {
    let ada = t.user("ada").await;
    let expired = ada.expired_token([Scope::Api]).await;
    let revoked = ada.revoked_token([Scope::Api]).await;
    let mut checked = 0;
    for route in table() {
        let name = format!("{} {}", route.method, route.path);
        if TOKENLESS.contains(&name.as_str()) {
            assert!(route.access().is_none(), "{name}");
            continue;
        }
        assert!(route.access().is_some(), "{name} judges nobody and is not in the list");
        let path = route.example(|kind| match kind {
            ParamType::Integer => ada.id.to_string(),
            _ => "team%2Fapp".into(),
        });
        let ask = || t.ask(route.method.clone(), &path);
        let in_query = |key: &str, token: &str| t.ask(route.method.clone(), &format!("{path}?{key}={token}"));
        let mut refused = async |token: &str, body: &str| {
            for (_, place) in HEADERS {
                place(ask(), token).await.is(401, body);
                checked += 1;
            }
            for key in ["private_token", "access_token", "bearer_token"] {
                in_query(key, token).await.is(401, body);
                checked += 1;
            }
        };
        refused("glpat-unknown", M401).await;
        refused(&expired, EXPIRED).await;
        refused(&revoked, REVOKED).await;
        let nobody = ask().await;
        if OPEN.contains(&name.as_str()) {
            assert_ne!(nobody.status.as_u16(), 401, "{name}");
        } else {
            nobody.is(401, M401);
        }
        for scope in Scope::ALL.iter().copied().filter(|scope| scope.holder() != Holder::ApplicationsOnly) {
            // A token each: some of these routes use it up.
            let token = ada.token_with_any([scope]).await;
            let reply = ask().token(&token).await;
            let insufficient = reply.status == 403 && reply.body.contains("insufficient_scope");
            assert_eq!(insufficient, !opens(scope, &route.method, route.path), "{name} with {scope}: {}", reply.body);
            assert_ne!(reply.status.as_u16(), 401, "{name} with {scope}");
            checked += 1;
        }
        let session = ada.session().await;
        let reply = ask().session(&session).await;
        let counts = route.method == Method::GET || OPEN.contains(&name.as_str());
        assert_eq!(reply.status.as_u16() == 401, !counts, "{name} with a session alone");
        let reply = ask().session(&session).with("x-csrf-token", &session.csrf()).await;
        assert_ne!(reply.status.as_u16(), 401, "{name} with a session and its token");
        checked += 3;
    }
    assert!(checked > 400, "{checked}");
}

/// An OAuth token opens what a personal access token with its scopes opens, in the places of its own kind, but for the
/// routes that are about the token itself.
async fn every_route_with_every_oauth_token_in_every_place(t: TestServer) {
    let ada = t.user("ada").await;
    let client = t.client("api read_api read_user self_rotate openid profile email").await;
    let expired = client.tokens(&ada, "api").await.access;
    let revoked = client.tokens(&ada, "api").await.access;
    t.later(7201);
    client.revoke(&revoked).await.has(200);
    let revoked_live = client.tokens(&ada, "api").await.access;
    client.revoke(&revoked_live).await.is(200, "{}");
    let nobodys = crate::oauth::tokens(&client.token("client_credentials", &[("scope", "api")]).await).access;
    let mut checked = 0;
    for route in table().into_iter().filter(|route| route.access().is_some()) {
        let name = format!("{} {}", route.method, route.path);
        let path = route.example(|kind| match kind {
            ParamType::Integer => ada.id.to_string(),
            _ => "team%2Fapp".into(),
        });
        let ask = || t.ask(route.method.clone(), &path);
        let everywhere = |token: &str| {
            let in_query = |key: &str| t.ask(route.method.clone(), &format!("{path}?{key}={token}"));
            [ask().bearer(token), in_query("access_token"), in_query("bearer_token")]
        };
        for (token, body) in [(&expired, EXPIRED), (&revoked_live, REVOKED), (&nobodys, M401)] {
            for place in everywhere(token) {
                place.await.is(401, body);
                checked += 1;
            }
        }
        let own = route.path.ends_with("/self") || route.path.ends_with("/self/rotate");
        for scope in [Scope::Api, Scope::ReadApi, Scope::ReadUser, Scope::SelfRotate, Scope::Openid, Scope::Profile] {
            let token = client.tokens(&ada, scope.as_str()).await.access;
            for place in everywhere(&token) {
                let reply = place.await;
                let insufficient = reply.status == 403 && reply.body.contains("insufficient_scope");
                assert_eq!(
                    insufficient,
                    !opens(scope, &route.method, route.path),
                    "{name} with {scope}: {}",
                    reply.body
                );
                assert_ne!(reply.status.as_u16(), 401, "{name} with {scope}");
                if own && !insufficient {
                    let refused = if route.path.ends_with("rotate") { 405 } else { 400 };
                    assert_eq!(reply.status.as_u16(), refused, "{name}: {}", reply.body);
                }
                checked += 1;
            }
            // That place is for personal access tokens.
            ask().token(&token).await.is(401, M401);
            t.ask(route.method.clone(), &format!("{path}?private_token={token}")).await.is(401, M401);
        }
    }
    assert!(checked > 300, "{checked}");
}

async fn routes_open_to_nobody(t: TestServer) {
    for route in table() {
        let Some(requirement) = route.access().map(|known| known.requirement) else { continue };
        let name = format!("{} {}", route.method, route.path);
        assert_eq!(requirement.anonymous, OPEN.contains(&name.as_str()), "{name}");
        assert!(!requirement.anonymous || route.method == Method::GET, "{name}: anonymous callers may write");
    }
    t.get("/api/v4/projects").await.is(200, "[]");
}

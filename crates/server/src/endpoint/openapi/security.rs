//! Who may call an endpoint, and with which credential (authentication.md 1.1, 3.2).

use std::collections::BTreeMap;

use axum::http::Method;
use serde_json::{Value, json};
use tollhouse_auth::session_cookies::SESSION_COOKIE;
use tollhouse_domain::access_requirement::JobTokens;
use tollhouse_domain::scope::Scope;

use crate::endpoint::Endpoint;
use crate::endpoint::refusals::OwnRefusal;

/// The places of a personal access token.
const TOKEN: [&str; 4] = ["private_token_header", "private_token_parameter", "bearer", "access_token_parameter"];

/// `components/securitySchemes`
pub(super) fn schemes(base: &str) -> Value {
    let key = |place: &str, name: &str, description: &str| json!({ "type": "apiKey", "in": place, "name": name, "description": description });
    let scopes: BTreeMap<&str, &str> = Scope::ALL.iter().map(|scope| (scope.as_str(), scope.description())).collect();
    json!({
        "private_token_header": key("header", "PRIVATE-TOKEN", "A personal access token."),
        "private_token_parameter": key("query", "private_token", "A personal access token."),
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "A personal access token, or the access token of an application.",
        },
        "access_token_parameter":
            key("query", "access_token", "A personal access token, or the access token of an application."),
        "oauth2": {
            "type": "oauth2",
            "description": "The access token of an application, as bearer token or as `access_token`.",
            "flows": {
                "authorizationCode": {
                    "authorizationUrl": format!("{base}/oauth/authorize"),
                    "tokenUrl": format!("{base}/oauth/token"),
                    "refreshUrl": format!("{base}/oauth/token"),
                    "scopes": scopes,
                },
            },
        },
        "job_token_header": key("header", "Job-Token", "The token of a CI job."),
        "job_token_parameter": key("query", "job_token", "The token of a CI job."),
        "session": key("cookie", SESSION_COOKIE, "The session of a browser."),
        "csrf_token": key("header", "X-CSRF-Token", "The CSRF token of the session, which every write needs."),
    })
}

/// One way of authentication an entry; each is enough.
pub(super) fn requirement(endpoint: &Endpoint) -> Vec<Value> {
    let Some(access) = endpoint.access() else { return Vec::new() };
    let nothing: &[&str] = &[];
    let mut ways: Vec<Value> = Vec::new();
    if access.requirement.anonymous {
        ways.push(json!({}));
    }
    if access.requirement.job_tokens != JobTokens::None {
        ways.extend(["job_token_header", "job_token_parameter"].map(|scheme| json!({ scheme: nothing })));
    }
    ways.extend(TOKEN.map(|scheme| json!({ scheme: nothing })));
    if endpoint.refusals.iter().any(|refusal| matches!(refusal, OwnRefusal::NotPersonalAccessToken(_))) {
        return ways;
    }
    match access.requirement.any_scope {
        true => ways.push(json!({ "oauth2": nothing })),
        // The scopes of one entry would all be needed, and here each opens the endpoint.
        false => ways.extend(opened_by(endpoint).iter().map(|scope| json!({ "oauth2": [scope.as_str()] }))),
    }
    ways.push(match reads(endpoint) {
        true => json!({ "session": nothing }),
        false => json!({ "session": nothing, "csrf_token": nothing }),
    });
    ways
}

fn reads(endpoint: &Endpoint) -> bool {
    endpoint.method == Method::GET
}

fn opened_by(endpoint: &Endpoint) -> Vec<Scope> {
    let mut scopes = Vec::new();
    for scope in endpoint.access().map(|access| access.requirement.opened_by(reads(endpoint))).unwrap_or_default() {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// For people: who is admitted, and the scopes of a token of either kind.
pub(super) fn sentences(endpoint: &Endpoint) -> Vec<String> {
    let Some(access) = endpoint.access() else { return Vec::new() };
    let requirement = &access.requirement;
    let mut sentences = Vec::new();
    if requirement.anonymous {
        sentences.push("Anonymous callers are admitted.".to_owned());
    }
    if requirement.administrator {
        sentences.push("Only administrators are admitted.".to_owned());
    }
    let scopes: Vec<String> = opened_by(endpoint).iter().map(|scope| format!("`{scope}`")).collect();
    sentences.push(match (requirement.any_scope, &*scopes) {
        (true, _) => "A token may have any scope.".to_owned(),
        (false, [scope]) => format!("A token needs the scope {scope}."),
        (false, scopes) => format!("A token needs one of the scopes {}.", scopes.join(", ")),
    });
    sentences
}

//! What the REST API answers to a refused operation, unless the endpoint says it in another way
//! ([`crate::endpoint::Endpoint::respelling`]).

use std::borrow::Cow;

use serde_json::json;
use tollhouse_domain::access::ability::TargetKind;

use super::{Error, Wire, message, wire};
use crate::refusal::{FieldFault, GrantFault, Refusal, ResourceKind};

/// Status and body of a refusal (rest-api.md 1.3).
pub(super) fn refused(refusal: &Refusal) -> Wire {
    match refusal {
        Refusal::NotFound(kind) => message(404, not_found(*kind)),
        Refusal::Invalid(faults) => invalid(faults),
        Refusal::Expiry(fault) => bad_request(&fault.sentence()),
        Refusal::ProjectLimit(limit) => {
            let sentence =
                format!("Your project limit is {limit} projects! Please contact your administrator to increase it");
            wire(403, json!({ "error": [sentence] }).to_string())
        }
        Refusal::NotAllowed => message(403, "403 Forbidden"),
        Refusal::NotYours => message(401, "401 Unauthorized"),
        Refusal::NoAccessTokens(of) => {
            bad_request(&format!("User does not have permission to create {} access token", of.as_str()))
        }
        Refusal::LevelTooHigh => bad_request(LEVEL_TOO_HIGH),
        Refusal::CannotDelete { user, bot } => bad_request(&format!("{user} cannot delete {bot}")),
        Refusal::LastAdministrator => message(403, &format!("403 Forbidden - {LAST_ADMINISTRATOR}")),
        Refusal::AlreadyRotated => bad_request(ALREADY_ROTATED),
        Refusal::AlreadyRevoked => bad_request(ALREADY_REVOKED),
        Refusal::NotEligible => bad_request(NOT_ELIGIBLE),
        // `Error` has variants of its own for the first two, OAuth endpoints say the third, and the command line the last.
        Refusal::Denied(_)
        | Refusal::TooManyFailures(_)
        | Refusal::Grant(GrantFault::NoApplication | GrantFault::Scope)
        | Refusal::AlreadyClaimed => message(400, "400 Bad request"),
    }
}

/// As endpoints say it that give the first fault of a model as a sentence: `Name can't be blank` (rest-api.md 2.5).
pub fn as_sentence(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Invalid(faults) if !faults.is_empty() => Error::Unprocessable(fault_sentence(faults[0])),
        Refusal::Expiry(fault) => Error::Unprocessable(fault.sentence()),
        refusal => refusal.into(),
    }
}

/// The same with 400, as the endpoints of access tokens say it (rest-api.md 2.10).
pub fn as_bad_request(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Invalid(faults) if !faults.is_empty() => Error::BadRequest(Some(fault_sentence(faults[0]))),
        refusal => refusal.into(),
    }
}

fn fault_sentence((field, fault): (&'static str, FieldFault)) -> String {
    let (first, rest) = field.split_at(1);
    let (first, rest) = (first.to_ascii_uppercase(), rest.replace('_', " "));
    format!("{first}{rest} {}", fault.text())
}

/// What an operation refused, as text for people: pages and the command line.
pub fn sentence(refusal: &Refusal) -> Option<Cow<'static, str>> {
    Some(match refusal {
        Refusal::Expiry(fault) => fault.sentence().into(),
        Refusal::LastAdministrator => LAST_ADMINISTRATOR.into(),
        Refusal::AlreadyRotated => ALREADY_ROTATED.into(),
        Refusal::AlreadyRevoked => ALREADY_REVOKED.into(),
        Refusal::NotEligible => NOT_ELIGIBLE.into(),
        Refusal::AlreadyClaimed => "another demo is filling this database".into(),
        _ => return None,
    })
}

/// The sentence of a 404. It is the same for what is absent and for what is invisible.
pub(super) const fn not_found(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Project => "404 Project Not Found",
        ResourceKind::Group => "404 Group Not Found",
        ResourceKind::User => "404 User Not Found",
        ResourceKind::Application => "404 Application Not Found",
        ResourceKind::AccessToken(TargetKind::Group) => "404 group Access Token Not Found",
        ResourceKind::AccessToken(TargetKind::Project) => "404 project Access Token Not Found",
        ResourceKind::Job => "404 Job Not Found",
        ResourceKind::Record => "404 Not found",
        ResourceKind::ImpersonationToken => "404 Impersonation Token Not Found",
        ResourceKind::Unnamed => "404 Not Found",
    }
}

fn bad_request(sentence: &str) -> Wire {
    message(400, &format!("400 Bad request - {sentence}"))
}

/// `{"message":{"field":["text"]}}`, each field once.
fn invalid(faults: &[(&'static str, FieldFault)]) -> Wire {
    let mut fields: Vec<(&str, Vec<Cow<'static, str>>)> = Vec::new();
    for (field, fault) in faults {
        match fields.iter_mut().find(|(known, _)| known == field) {
            Some((_, texts)) => texts.push(fault.text()),
            None => fields.push((field, vec![fault.text()])),
        }
    }
    let fields: Vec<String> =
        fields.iter().map(|(field, texts)| format!("{}:{}", json!(field), json!(texts))).collect();
    wire(400, format!(r#"{{"message":{{{}}}}}"#, fields.join(",")))
}

const LAST_ADMINISTRATOR: &str = "This is the last administrator who can act";
const ALREADY_ROTATED: &str = "Token already rotated";
const ALREADY_REVOKED: &str = "Token already revoked";
const NOT_ELIGIBLE: &str = "Not eligible to rotate tokens with permissions not held by the user";
const LEVEL_TOO_HIGH: &str = "Access level of the token contains permissions not held by the creating user";

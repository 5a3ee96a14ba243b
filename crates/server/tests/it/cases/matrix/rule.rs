//! What follows from a line of `routes.txt` for one row, by authentication.md sections 0 to 3. It is written apart from
//! the server: nothing here comes from its table of endpoints.

use tollhouse_domain::scope::Scope;

use super::cast::{Credential, Kind, Owner, SessionState, State};
use super::lines::{Api, Cell, Faulty, Line, Member, Oauth, Page, Rule, Who, WithoutToken};
use super::rows::{Csrf, Junk, Place, Row, Shown};
use crate::test_server::{EXPIRED, M401, REVOKED, Reply};

/// What is expected of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This status and this body.
    Refusal(u16, String),
    /// Refused for a parameter.
    Parameters,
    Status(u16),
    Page {
        status: u16,
        location: Option<&'static str>,
        cookie: Option<&'static str>,
    },
    /// Without a body.
    Gateway(u16),
}

pub fn expected(line: &Line, row: &Row) -> Answer {
    match &line.rule {
        Rule::Api(api) => api_answer(api, row, line.reads(), false),
        Rule::Gateway(_, api) => at_gateway(api, row, line.reads()),
        Rule::Page(page) => page_answer(page, row, line.reads()),
        Rule::Oauth(oauth) => Answer::Status(oauth_answer(oauth, row)),
        Rule::Open(status) => Answer::Status(*status),
    }
}

/// The same with a parameter that is wrong.
pub fn expected_of_faulty(api: &Api, row: &Row, reads: bool) -> Answer {
    api_answer(api, row, reads, true)
}

/// What a request shows, as the API reads it.
enum Seen {
    Anonymous,
    Unknown,
    /// `owner`: `None` for an application's own token. `personal`: not an OAuth token.
    Token {
        personal: bool,
        impersonation: bool,
        state: State,
        owner: Option<Owner>,
        scope: Scope,
    },
    Session(Owner),
}

/// authentication.md 1.1 and 1.4
fn seen(row: &Row, reads: bool) -> Seen {
    match row.shown {
        // Two sessions say nothing about who asks, and HTTP Basic is no credential of the API.
        Shown::Nothing | Shown::TwoSessions | Shown::Client { .. } => Seen::Anonymous,
        Shown::Credential(_) | Shown::Junk(_) if row.place == Place::BasicPassword => Seen::Anonymous,
        // A body of JSON is not read of a GET.
        Shown::Credential(_) | Shown::Junk(_) if row.place == Place::Json && reads => Seen::Anonymous,
        Shown::Credential(Credential::Token { kind: Kind::Oauth, .. } | Credential::Own { .. })
            if row.place.is_private() =>
        {
            Seen::Unknown
        }
        Shown::Credential(Credential::Token { kind, state, owner, scope }) => {
            let (personal, impersonation) = (kind != Kind::Oauth, kind == Kind::Impersonation);
            Seen::Token { personal, impersonation, state, owner: Some(owner), scope }
        }
        Shown::Credential(Credential::Own { state, scope }) => {
            Seen::Token { personal: false, impersonation: false, state, owner: None, scope }
        }
        Shown::Credential(Credential::Session { .. }) => unreachable!("sessions come with or without a CSRF token"),
        Shown::Session(Credential::Session { state: SessionState::Active, owner }, csrf)
            if reads || csrf == Csrf::Own =>
        {
            Seen::Session(owner)
        }
        Shown::Session(..) => Seen::Anonymous,
        Shown::Junk(Junk::Text(text)) if text.trim().is_empty() || text.starts_with("glcbt-") => Seen::Anonymous,
        Shown::Junk(_) => Seen::Unknown,
    }
}

fn api_answer(api: &Api, row: &Row, reads: bool, faulty: bool) -> Answer {
    let late = faulty && api.faulty.as_ref().is_some_and(|(_, when)| *when == Faulty::Late);
    if late {
        return Answer::Parameters;
    }
    let refusal = |status: u16, body: &str| Answer::Refusal(status, body.to_owned());
    let seen = seen(row, reads);
    if let Some((status, body)) = refused(api, &seen, reads) {
        return refusal(status, &body);
    }
    if faulty {
        return Answer::Parameters;
    }
    let personal = matches!(seen, Seen::Token { personal: true, .. });
    let administers =
        matches!(seen, Seen::Token { owner: Some(Owner::Administrator), .. } | Seen::Session(Owner::Administrator));
    match (api.who, seen) {
        (Who::AdministratorElse(401), _) if !administers => refusal(401, M401),
        (Who::AdministratorElse(_), _) if !administers => refusal(400, r#"{"message":"400 Bad request"}"#),
        (_, Seen::Token { impersonation: true, .. }) if api.no_impersonation && !administers => {
            refusal(400, r#"{"message":"400 Bad request"}"#)
        }
        (Who::SignedInElse(text), Seen::Anonymous) => {
            refusal(403, &serde_json::json!({ "message": format!("403 Forbidden - {text}") }).to_string())
        }
        (Who::OwnToken, _) if !personal => refusal(400, NO_PERSONAL_TOKEN),
        (Who::OwnTokenOrRotated, _) if !personal => refusal(405, r#"{"message":"405 Method Not Allowed"}"#),
        (Who::Member(member), Seen::Token { owner: Some(Owner::Bot), .. } | Seen::Session(Owner::Bot))
            if api.no_bots =>
        {
            refusal(member.status, &less(&member))
        }
        (_, Seen::Token { owner: Some(Owner::Administrator), .. } | Seen::Session(Owner::Administrator)) => {
            Answer::Status(api.to_administrators.unwrap_or(api.answer))
        }
        _ => Answer::Status(api.answer),
    }
}

/// What a caller is told who sees the group or project and is too little to it.
pub fn less(member: &Member) -> String {
    let text = match (member.text, member.status) {
        (Some(text), status) => format!("{status} Bad request - {text}"),
        (None, 401) => return M401.to_owned(),
        (None, status) => format!("{status} Forbidden"),
    };
    serde_json::json!({ "message": text }).to_string()
}

const NO_PERSONAL_TOKEN: &str =
    r#"{"message":"400 Bad request - This endpoint requires token type to be a personal access token"}"#;

/// The refusals before parameters are looked at, in the order of authentication.md 0.1.
fn refused(api: &Api, seen: &Seen, reads: bool) -> Option<(u16, String)> {
    let m401 = || Some((401, M401.to_owned()));
    match seen {
        Seen::Unknown => return m401(),
        Seen::Anonymous => {
            let admitted = matches!(api.who, Who::Anyone | Who::SignedInElse(_));
            return if admitted { None } else { m401() };
        }
        Seen::Token { state, personal, .. } => {
            // rotation.md section 3: whoever lost the answer of a rotation asks again.
            let repeats = *personal && *state == State::Rotated && api.who == Who::OwnTokenOrRotated;
            match state {
                State::Expired => return Some((401, EXPIRED.to_owned())),
                _ if repeats => {}
                State::Revoked | State::Rotated => return Some((401, REVOKED.to_owned())),
                // Its successor is in use: it is known as rotated at the route of rotation, and refused there later.
                State::RotatedLongAgo if *personal && api.who == Who::OwnTokenOrRotated => {}
                State::RotatedLongAgo => return Some((401, REVOKED.to_owned())),
                State::Active => {}
            }
        }
        Seen::Session(_) => {}
    }
    let owner = match seen {
        Seen::Token { owner: Some(owner), .. } | Seen::Session(owner) => *owner,
        Seen::Token { owner: None, .. } if api.who == Who::SignedInOrApplication => Owner::Active,
        _ => return m401(),
    };
    if let Some(text) = fault(owner) {
        return Some((403, serde_json::json!({ "message": format!("403 Forbidden - {text}") }).to_string()));
    }
    if let Seen::Token { scope, .. } = seen
        && !opens(api, *scope, reads)
    {
        return Some((403, insufficient(api)));
    }
    if api.who == Who::Administrator && owner != Owner::Administrator {
        return Some((403, r#"{"message":"403 Forbidden"}"#.to_owned()));
    }
    match seen {
        Seen::Token { state: State::RotatedLongAgo, .. } => Some((401, REVOKED.to_owned())),
        _ => None,
    }
}

/// authentication.md 3.2
fn opens(api: &Api, scope: Scope, reads: bool) -> bool {
    let Some(scopes) = &api.scopes else { return true };
    scope == Scope::Api || (reads && scope == Scope::ReadApi) || scopes.contains(&scope.as_str())
}

/// authentication.md 2.3
fn insufficient(api: &Api) -> String {
    let scopes = api.scopes.iter().flatten().copied().chain(["api", "read_api"]).collect::<Vec<_>>().join(" ");
    let text = "The request requires higher privileges than provided by the access token.";
    format!(r#"{{"error":"insufficient_scope","error_description":"{text}","scope":"{scopes}"}}"#)
}

/// authentication.md 2.4. Of a locked account the password is locked, and nothing else.
fn fault(owner: Owner) -> Option<&'static str> {
    match owner {
        Owner::Active | Owner::Administrator | Owner::External | Owner::Bot | Owner::Locked => None,
        Owner::Internal => Some("This action cannot be performed by internal users"),
        Owner::PendingApproval => Some("Your account is pending approval from your administrator and hence blocked."),
        Owner::Deactivated => Some(
            "Your account has been deactivated by your administrator. Please log back in from a web browser to \
             reactivate your account at http://127.0.0.1:8080",
        ),
        Owner::Unconfirmed => Some(
            "Your primary email address is not confirmed. Please check your inbox for the confirmation instructions. \
             In case the link is expired, you can request a new confirmation email at \
             http://127.0.0.1:8080/users/confirmation/new",
        ),
        Owner::Blocked | Owner::LdapBlocked | Owner::Banned | Owner::BlockedAdministrator => {
            Some("Your account has been blocked.")
        }
        Owner::PasswordExpired => {
            Some("Your password expired. Please access GitLab from a web browser to update your password.")
        }
    }
}

/// gateway.md: as at the API, but that the query and the body of the question itself are not read.
fn at_gateway(api: &Api, row: &Row, reads: bool) -> Answer {
    let there = matches!(row.place, Place::Bearer | Place::PrivateToken | Place::Usual);
    let nothing = Row { shown: Shown::Nothing, place: Place::Usual, head: false };
    match api_answer(api, if there { row } else { &nothing }, reads, false) {
        Answer::Refusal(status, _) | Answer::Status(status) => Answer::Gateway(status),
        other => other,
    }
}

/// authentication.md section 6
fn page_answer(page: &Page, row: &Row, reads: bool) -> Answer {
    let (live, csrf) = match row.shown {
        Shown::TwoSessions => return cell(page.two_sessions),
        Shown::Session(Credential::Session { state, owner }, csrf) => {
            ((state == SessionState::Active).then_some(owner), csrf == Csrf::Own)
        }
        _ => (None, false),
    };
    let refused = match page.without_token {
        None => false,
        Some(WithoutToken::Refused) => true,
        Some(WithoutToken::RefusedUnlessSignedIn) => live.is_none(),
    };
    if !reads && !csrf && refused {
        return Answer::Page { status: 422, location: None, cookie: None };
    }
    cell(match live {
        None => page.anonymous,
        Some(Owner::PasswordExpired) => page.password_expired,
        Some(Owner::Unconfirmed) => page.unconfirmed,
        Some(owner) if fault(owner).is_some() => page.not_let_in,
        Some(_) => page.signed_in,
    })
}

fn cell(cell: Cell) -> Answer {
    Answer::Page { status: cell.status, location: cell.location, cookie: cell.cookie }
}

/// oauth.md sections 4, 8 and 9
fn oauth_answer(oauth: &Oauth, row: &Row) -> u16 {
    let Shown::Credential(credential) = row.shown else {
        return match row.shown {
            Shown::Client { right: true } => oauth.client,
            Shown::Client { right: false } => oauth.wrong_client,
            _ => oauth.nothing,
        };
    };
    let is_read = matches!(
        row.place,
        Place::Bearer | Place::Query("access_token" | "bearer_token") | Place::Form("access_token" | "bearer_token")
    );
    let (state, owner, scope) = match credential {
        Credential::Token { kind: Kind::Oauth, state, owner, scope } if is_read => (state, Some(owner), scope),
        Credential::Own { state, scope } if is_read => (state, None, scope),
        // A Basic header that names no client.
        _ if row.place == Place::BasicPassword => return oauth.wrong_client,
        _ => return oauth.nothing,
    };
    if state != State::Active {
        return oauth.dead;
    }
    if owner.is_some_and(|owner| fault(owner).is_some()) {
        return oauth.owner_not_let_in;
    }
    let Some(_) = owner else { return oauth.own };
    match &oauth.scopes {
        Some(scopes) if !scopes.contains(&scope.as_str()) => 403,
        _ => oauth.token,
    }
}

impl Answer {
    /// Why the reply is not what was expected.
    pub fn check(&self, reply: &Reply, head: bool) -> Result<(), String> {
        let fits = match self {
            Self::Refusal(status, body) => {
                let challenged = body.contains("invalid_token");
                reply.status == *status
                    && (head || reply.body == *body)
                    && reply.header("www-authenticate").is_some_and(|text| text.contains("invalid_token")) == challenged
            }
            Self::Parameters => reply.status == 400 && reply.reason == Some("parameters"),
            Self::Status(status) => reply.status == *status,
            Self::Page { status, location, cookie } => {
                let sets = |name: &str| reply.cookie(name).is_some();
                reply.status == *status && reply.header("location") == *location && cookie.is_none_or(sets)
            }
            Self::Gateway(status) => reply.status == *status && reply.body.is_empty(),
        };
        let headers = ["www-authenticate", "location", "set-cookie"].map(|name| reply.header(name));
        let told = || format!("{self:?} was expected, it is {} {headers:?} {}", reply.status, reply.body);
        if fits { Ok(()) } else { Err(told()) }
    }
}

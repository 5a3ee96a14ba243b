//! Plain words: what an endpoint takes, why it refuses, and what it would not refuse.

use axum::http::Method;
use tollhouse_auth::presented::{PresentedCredentials, Secret};
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::denial::{AccountFault, Denial};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::lookup::{Credential, Record};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::text::{loggable, printable};
use tollhouse_domain::token::TokenStatus;
use tollhouse_domain::user::AccountState;

use super::denial;
use super::seen::{Cookie, Trial, owner};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::refusal::{Refusal, ResourceKind};
use crate::surface::Surface;

/// Why a request is refused, in words, and what would help.
pub(super) struct Advice {
    /// The code of the refusal, as the log has it.
    pub(super) reason: &'static str,
    /// A sentence or two for people.
    pub(super) why: String,
    /// Each would be enough by itself. Empty: nothing that the caller can do.
    pub(super) remedies: Vec<String>,
}

/// What an endpoint was asked, and what was found out.
pub(super) struct Case<'a> {
    /// What the endpoint asks of its caller.
    pub(super) requirement: &'a AccessRequirement<'a>,
    /// What the request showed.
    pub(super) presented: &'a PresentedCredentials<'a>,
    /// What became of each of those.
    pub(super) trial: &'a Trial,
    /// Anonymous callers are admitted.
    pub(super) open: bool,
}

impl Advice {
    /// Of a refusal by the API.
    pub(super) fn of(error: &Error, case: &Case<'_>) -> Self {
        match denial(error) {
            Some(denial) => {
                let (why, remedies) = case.denied(denial);
                Self { reason: error.code(), why, remedies }
            }
            None => match case.ruled_out(error) {
                Some((why, remedies)) => Self { reason: error.code(), why: why.to_owned(), remedies },
                None => Self::without_judgement(error),
            },
        }
    }

    /// For what is refused whoever asks.
    pub(super) fn without_judgement(error: &Error) -> Self {
        let one = |remedy: &str| vec![remedy.to_owned()];
        let (why, remedies) = match error {
            Error::NoRoute => ("there is no such path, or not with this method; no credential is checked", vec![]),
            Error::NoApiVersion => ("the path is not below a version of the API", one("a path below /api/v4/")),
            Error::ApiV3 => ("version 3 of the API is gone", one("the same path below /api/v4/")),
            Error::Malformed => (
                "there is a NUL, or something that is not UTF-8, in path, parameters or Authorization; or the target is \
                 not a path",
                one("percent-encode the bytes of UTF-8 text, without %00"),
            ),
            Error::BadHost => (
                "HTTP/1.1 needs exactly one Host, with a host and perhaps a port",
                one("one header Host that is a name or an address, with a port if there is one"),
            ),
            Error::WrongHost => (
                "pages and discovery documents answer only under the names of this server",
                one("the host of external_url as Host, or an entry for it in external_hosts"),
            ),
            Error::NotImplemented => ("this server does not support tunnels", one("a method other than CONNECT")),
            Error::TwoBearers => (
                "a bearer header and the parameter access_token contradict each other, even if one is empty",
                one("leave one of the two out"),
            ),
            Error::Parameters(sentences) => {
                let why = format!("invalid parameters: {}", printable(&sentences.join(", ")));
                return Self { reason: error.code(), why, remedies: vec!["parameters that fit".to_owned()] };
            }
            Error::BrokenJson => {
                ("the body is declared as JSON but is not JSON", one("a body that is one JSON object"))
            }
            Error::MediaType(_) => (
                "bodies of this type are not read",
                one("Content-Type: application/json, or application/x-www-form-urlencoded"),
            ),
            Error::Format(_) => ("the parameter format asks for something other than JSON", one("leave format out")),
            Error::TargetTooLong => ("path and query are longer than limits.target", one("put parameters into a body")),
            Error::HeadTooLarge => ("the head is larger than limits.head", one("fewer or shorter headers")),
            Error::BodyTooLarge => (
                "the body is larger than limits.body, or than 64 KiB without a live credential in the head",
                vec!["a smaller body".to_owned(), "a valid credential in the head".to_owned()],
            ),
            Error::TooManyParameters => {
                ("there are too many parameters, or they are nested too deeply", one("fewer of them"))
            }
            _ => ("the request cannot be answered", vec![]),
        };
        Self { reason: error.code(), why: why.to_owned(), remedies }
    }
}

impl Case<'_> {
    /// What the endpoint itself has against whoever asks.
    fn ruled_out(&self, error: &Error) -> Option<(&'static str, Vec<String>)> {
        match error {
            Error::Forbidden(_) if self.trial.record().is_none() => {
                Some(("anonymous callers may not see this", vec![self.token(), "a session".to_owned()]))
            }
            Error::NotFound(ResourceKind::Group) => Some((
                "there is no such group, or the caller may not see it",
                vec!["a token of a member of the group".to_owned(), "a token of an administrator".to_owned()],
            )),
            Error::Refused(Refusal::NotAllowed) => Some((
                "the caller may see it, but may not change it",
                vec!["a token of an owner of the group".to_owned(), "a token of an administrator".to_owned()],
            )),
            Error::BadRequest(_) | Error::MethodNotAllowed if self.trial.record().is_some() => Some((
                "it is about the presented personal access token, but the presented credential is not one",
                vec!["a personal access token".to_owned()],
            )),
            _ => None,
        }
    }

    fn denied(&self, denial: &Denial) -> (String, Vec<String>) {
        let one = |remedy: &str| vec![remedy.to_owned()];
        let name = || self.trial.record().map_or_else(String::new, owner);
        match denial {
            Denial::Missing => self.missing(),
            Denial::Unknown => self.unknown(),
            Denial::Expired => ("the token has expired".to_owned(), self.fresh("a token that has not expired")),
            Denial::Revoked | Denial::Reused(_) => match self.status() {
                Some(TokenStatus::Rotated) => (
                    "the token was rotated: it has a successor, or was replaced".to_owned(),
                    self.fresh("the newest token of this rotation"),
                ),
                _ => ("the token was revoked, or its token family was revoked".to_owned(), self.fresh("a valid token")),
            },
            Denial::ImpersonationDisabled => (
                "it is an impersonation token, and tokens.impersonation is off".to_owned(),
                self.fresh("a token that is not an impersonation token"),
            ),
            Denial::Account(fault) => {
                let state = self.trial.record().and_then(|record| record.owner.as_ref()).map(|owner| owner.state);
                account(*fault, &name(), state)
            }
            Denial::Scope(accepted) if accepted[..] == [Scope::Sudo] => (
                "sudo was requested, but the token does not have the scope sudo".to_owned(),
                vec![format!("a token of {} with the scope sudo", name()), "leave sudo out".to_owned()],
            ),
            Denial::Scope(_) => {
                let why = format!("the scopes of the token are not sufficient for {}", self.method());
                (why, vec![self.token()])
            }
            Denial::NotAdministrator if self.presented.sudo().is_some() => (
                "only administrators may, and the sudo user is not one".to_owned(),
                vec!["leave sudo out".to_owned(), "act as an administrator".to_owned()],
            ),
            Denial::NotAdministrator => {
                (format!("only administrators may, and {} is not one", name()), one("a credential of an administrator"))
            }
            Denial::SudoNotAdministrator => (
                format!("only administrators may use sudo, and {} is not one", name()),
                vec!["leave sudo out".to_owned(), "a token of an administrator with the scope sudo".to_owned()],
            ),
            Denial::SudoWithoutToken => (
                "a session cannot use sudo".to_owned(),
                vec!["a token of an administrator with the scope sudo".to_owned(), "leave sudo out".to_owned()],
            ),
            Denial::SudoUnknown(target) => {
                (format!("there is no user `{}` to act as", loggable(target)), one("the name or number of a user"))
            }
            Denial::SudoInvalid => (
                "sudo is a list, a hash or two different names, so it does not name one user".to_owned(),
                vec!["give sudo once, as the name or number of one user".to_owned()],
            ),
            Denial::Unavailable => ("the database does not answer".to_owned(), vec![]),
        }
    }

    fn missing(&self) -> (String, Vec<String>) {
        if let Some(record) = self.trial.record().filter(|record| record.owner.is_none()) {
            let why = format!("the token belongs to {}", owner(record));
            return (why, vec!["a token that the application got for a user (authorization code)".to_owned()]);
        }
        if self.presented.sudo().is_some() && self.requirement.anonymous {
            return (
                "an anonymous caller requested sudo".to_owned(),
                vec!["leave sudo out".to_owned(), "a token of an administrator with the scope sudo".to_owned()],
            );
        }
        let mut remedies = vec![format!("{}, as `PRIVATE-TOKEN: ...` or `Authorization: Bearer ...`", self.token())];
        let why = match &self.trial.cookie {
            Cookie::None if self.trial.other_scheme => "the API accepts only the scheme Bearer in Authorization",
            Cookie::None | Cookie::NotAsked | Cookie::Counts => "no valid credential is presented",
            Cookie::Several => {
                remedies.insert(0, "send the cookie of one session only".to_owned());
                "two live sessions were sent, or too many session cookies, so none is accepted"
            }
            Cookie::WithoutToken { sent } => {
                remedies.insert(0, "send X-CSRF-Token with the token of this session".to_owned());
                match sent {
                    false => "for a write, a session is accepted only with its CSRF token",
                    true => {
                        "for a write, a session is accepted only with its own CSRF token; this one belongs to another session"
                    }
                }
            }
            Cookie::TooLong => {
                remedies.insert(0, "sign in again".to_owned());
                "the session has lasted for sessions.longest, counted from sign-in, so it has ended"
            }
            Cookie::Ended => {
                remedies.insert(0, "sign in again".to_owned());
                "the session has ended, or never existed here"
            }
        };
        (why.to_owned(), remedies)
    }

    fn unknown(&self) -> (String, Vec<String>) {
        if self.trial.misplaced() {
            let why = "it is an OAuth access token, and this place is for personal access tokens".to_owned();
            return (why, vec!["send it as `Authorization: Bearer ...`".to_owned()]);
        }
        let mut remedies = vec![self.token()];
        if self.open {
            remedies.push("present no credential: this endpoint is open to anonymous callers".to_owned());
        }
        let why = match self.trial.decided_by().and_then(|_| self.spelling()) {
            Some(hint) => format!("this value is unknown: {hint}"),
            None => "this value is unknown; a token that was revoked long ago is deleted, and tokens of other servers \
                     are not known"
                .to_owned(),
        };
        (why, remedies)
    }

    /// What people get wrong about a value, without telling it.
    fn spelling(&self) -> Option<&'static str> {
        let last = self.presented.candidates(self.requirement).last()?;
        let Secret::Value(value) = last.secret else { return Some("it is a list or a table, not a text") };
        let ends = [value.first()?, value.last()?];
        match () {
            () if ends.iter().any(|b| b.is_ascii_whitespace()) => {
                Some("it begins or ends with white space, which is part of the value")
            }
            () if ends.iter().any(|b| matches!(b, b'"' | b'\'' | b'`')) => Some("there are quotes around it"),
            () if matches!(ends[0], b'$' | b'<') => Some("it looks like the name of a variable, not its value"),
            () if value.contains(&b',') => Some("it contains a comma, as when a header is sent twice"),
            () if value.iter().any(u8::is_ascii_whitespace) => Some("there is white space in it"),
            () => None,
        }
    }

    /// A live token in the place of a dead one.
    fn fresh(&self, what: &str) -> Vec<String> {
        let oauth =
            self.trial.record().is_some_and(|record| matches!(record.credential, Credential::OauthAccessToken(_)));
        let mut remedies = vec![what.to_owned()];
        if oauth {
            remedies.push("refresh it: POST /oauth/token with grant_type=refresh_token".to_owned());
        }
        remedies
    }

    fn token(&self) -> String {
        format!("a token with {}", scopes(self.requirement, self.presented.is_read()))
    }

    fn method(&self) -> &'static str {
        if self.presented.is_read() { "a method that reads" } else { "a method that writes" }
    }

    fn status(&self) -> Option<TokenStatus> {
        self.trial.record().and_then(|record| record.credential.token()).map(|token| token.status)
    }
}

fn account(fault: AccountFault, name: &str, state: Option<AccountState>) -> (String, Vec<String>) {
    let (why, remedy) = match fault {
        AccountFault::Internal => {
            (format!("{name} is an account of the server itself"), "a credential of a user".to_owned())
        }
        AccountFault::PendingApproval => {
            let remedy = format!("approve the user: tollhouse user block {name}, then tollhouse user unblock {name}");
            (format!("{name} waits for an administrator's approval"), remedy)
        }
        AccountFault::Deactivated => {
            let remedy = format!("let {name} sign in with a browser, which reactivates the account");
            (format!("{name} is deactivated"), remedy)
        }
        AccountFault::Unconfirmed => (
            format!("the e-mail address of {name} was never confirmed"),
            "accounts.confirmation_required = false, or a credential of another user: there is no command that confirms \
             an address"
                .to_owned(),
        ),
        AccountFault::Blocked if state != Some(AccountState::Blocked) => (
            format!("{name} is banned, or blocked by a directory"),
            "a credential of another user: there is no command that undoes this".to_owned(),
        ),
        AccountFault::Blocked => {
            (format!("{name} is blocked"), format!("unblock the user: tollhouse user unblock {name}"))
        }
        AccountFault::PasswordExpired => {
            (format!("the password of {name} has expired"), format!("let {name} choose a new password with a browser"))
        }
    };
    (why, vec![remedy])
}

/// Which scopes open it, by the access requirement itself.
fn scopes(requirement: &AccessRequirement, read: bool) -> String {
    if requirement.any_scope {
        return "any scope".to_owned();
    }
    let opens = |scope: &Scope| requirement.accepts(&Scopes::from([*scope]), read).is_ok();
    let words: Vec<&str> = Scope::ALL.iter().copied().filter(opens).map(Scope::as_str).collect();
    match words[..] {
        [one] => format!("the scope {one}"),
        _ => format!("one of the scopes {}", words.join(", ")),
    }
}

/// Which credential an endpoint of the API requires.
pub(super) fn takes(requirement: &AccessRequirement, method: &Method, open: bool) -> String {
    let read = [Method::GET, Method::HEAD].contains(method);
    let session = if read { "a session" } else { "a session with its X-CSRF-Token" };
    if requirement.any_scope || requirement.rotates {
        return format!("a personal access token with {}", scopes(requirement, read));
    }
    let nothing = if open { "no credential, for public data; or " } else { "" };
    let whose = if requirement.administrator { " of an administrator" } else { "" };
    format!("{nothing}a token{whose} with {}; or {session}{whose}", scopes(requirement, read))
}

/// The same of one that has no requirement of the API.
pub(super) fn takes_elsewhere(endpoint: &Endpoint) -> &'static str {
    match (endpoint.path, endpoint.surface) {
        ("/oauth/token", _) => {
            "client authentication (HTTP Basic, or client_id and client_secret in the body), and the parameters of its grant_type"
        }
        ("/oauth/revoke", _) => {
            "client authentication, as for /oauth/token; the token to revoke is the parameter token"
        }
        ("/oauth/introspect", _) => {
            "client authentication, as for /oauth/token, or a token of that client; the token to inspect is the parameter token"
        }
        ("/oauth/token/info", _) => "the OAuth access token to inspect, as bearer or access_token",
        ("/oauth/userinfo", _) => "an OAuth access token with the scope openid, as bearer or access_token",
        ("/oauth/authorize", _) => {
            "a session cookie, and for a form also its authenticity_token or X-CSRF-Token; no credential with prompt=none \
             and the scope openid, because a redirect then tells the application what is missing"
        }
        (path, Surface::Page) if !path.starts_with("/assets/") => {
            "a session cookie, and for a form also its authenticity_token or X-CSRF-Token"
        }
        _ => NOTHING,
    }
}

const NOTHING: &str = "nothing";

/// What becomes of credentials of the API at an endpoint that has no requirement.
pub(super) fn elsewhere(endpoint: &Endpoint) -> &'static str {
    match endpoint.surface {
        _ if takes_elsewhere(endpoint) == NOTHING => "not checked",
        Surface::Page => "a page accepts only the session cookie",
        _ => "this endpoint checks it itself",
    }
}

/// Why there is nothing to say about credentials there.
pub(super) fn not_judged(endpoint: &Endpoint) -> &'static str {
    match endpoint.surface {
        _ if takes_elsewhere(endpoint) == NOTHING => "It checks no credential.",
        Surface::Page => "It is a page. Pages do not accept tokens.",
        _ => "It is an OAuth endpoint, which has its own rules.",
    }
}

/// What is worth knowing besides.
pub(super) fn notes(
    trial: &Trial,
    requirement: &AccessRequirement,
    outcome: &Result<Option<Identity>, Error>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |text: &str| notes.push(text.to_owned());
    let token = trial.record().and_then(|record: &Record| record.credential.token());
    match token.map(|token| token.status) {
        Some(TokenStatus::Live { used: false }) => {
            note(
                "this token was never used; the request would be its first use, after which its predecessor cannot replace it",
            );
        }
        Some(TokenStatus::Rotated) if requirement.rotates && outcome.is_ok() => {
            note("this token was rotated; the endpoint decides whether to return its successor again");
        }
        _ => {}
    }
    if matches!(outcome, Err(Error::Parameters(_))) {
        note("the credential is sufficient");
    }
    if matches!(outcome, Ok(None))
        && matches!(trial.cookie, Cookie::WithoutToken { .. } | Cookie::Ended | Cookie::TooLong | Cookie::Several)
    {
        note("the session is not accepted, so the caller is anonymous");
    }
    if matches!(outcome, Ok(Some(who)) if who.sudo_by.is_some()) {
        note("under sudo the scopes of the endpoint are not required");
    }
    notes
}

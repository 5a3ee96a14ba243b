//! Reads `routes.txt`: what is expected of each route.

use std::str::FromStr;

use axum::http::Method;
use tollhouse_domain::access::AccessLevel;

const TEXT: &str = include_str!("routes.txt");

/// One route with what it answers.
#[derive(Debug)]
pub struct Line {
    /// Method and path, as the table of endpoints spells them.
    pub name: String,
    pub method: Method,
    pub path: &'static str,
    pub request: Request,
    pub rule: Rule,
}

/// How the route is asked. Values that begin with `:` are made by the test.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub captures: Vec<(&'static str, &'static str)>,
    pub query: &'static str,
    pub form: &'static str,
}

#[derive(Debug)]
pub enum Rule {
    Api(Api),
    Page(Page),
    Oauth(Oauth),
    Open(u16),
    /// With the name of the rule that decides.
    Gateway(&'static str, Api),
}

/// What a route of the API, or a rule of the gateway, requires and answers.
#[derive(Debug)]
pub struct Api {
    pub who: Who,
    /// `None`: any scope opens it.
    pub scopes: Option<Vec<&'static str>>,
    /// With a parameter that is wrong, and whether that is noticed after the credential.
    pub faulty: Option<(Request, Faulty)>,
    pub answer: u16,
    /// What administrators are answered. `None`: as everybody else.
    pub to_administrators: Option<u16>,
    /// Bots are refused as callers of too low a level are.
    pub no_bots: bool,
    pub uses_up: bool,
    pub waits: bool,
    /// 400 for an impersonation token of somebody who is no administrator.
    pub no_impersonation: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Anyone,
    SignedIn,
    /// Anonymous callers get 403 with this text in place of 401.
    SignedInElse(&'static str),
    Administrator,
    /// Everybody is let in; others than administrators are told this, because what the path names is not theirs.
    AdministratorElse(u16),
    /// Of the group or project that the path names.
    Member(Member),
    OwnToken,
    OwnTokenOrRotated,
    /// At the gateway.
    SignedInOrApplication,
}

/// What a caller has to be to the group or project of the path, and how one is refused who sees it and is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    pub project: bool,
    /// `None`: it is enough to see it.
    pub least: Option<AccessLevel>,
    pub status: u16,
    /// `None`: that of the status.
    pub text: Option<&'static str>,
}

/// When a wrong parameter is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faulty {
    /// After the credential was checked.
    Early,
    /// Before it is checked.
    Late,
}

/// What a page answers to whom.
#[derive(Debug)]
pub struct Page {
    pub anonymous: Cell,
    pub signed_in: Cell,
    pub not_let_in: Cell,
    pub password_expired: Cell,
    pub unconfirmed: Cell,
    pub two_sessions: Cell,
    /// `None`: a form needs no CSRF token.
    pub without_token: Option<WithoutToken>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutToken {
    Refused,
    RefusedUnlessSignedIn,
}

/// A status, where it leads, and a cookie that it sets.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub status: u16,
    pub location: Option<&'static str>,
    pub cookie: Option<&'static str>,
}

/// What an OAuth endpoint for programs answers to what.
#[derive(Debug)]
pub struct Oauth {
    pub nothing: u16,
    pub client: u16,
    pub wrong_client: u16,
    pub token: u16,
    /// `None`: any scope.
    pub scopes: Option<Vec<&'static str>>,
    pub dead: u16,
    pub owner_not_let_in: u16,
    pub own: u16,
}

impl Line {
    pub fn reads(&self) -> bool {
        self.method == Method::GET
    }

    pub fn api(&self) -> Option<&Api> {
        match &self.rule {
            Rule::Api(api) => Some(api),
            Rule::Page(_) | Rule::Oauth(_) | Rule::Open(_) | Rule::Gateway(..) => None,
        }
    }

    pub fn uses_up(&self) -> bool {
        // Signing out ends the session.
        self.api().is_some_and(|api| api.uses_up) || self.name == "POST /users/sign_out"
    }
}

/// Every line of the file.
pub fn all() -> Vec<Line> {
    let mut section = "";
    let mut lines = Vec::new();
    for text in TEXT.lines().map(str::trim).filter(|text| !text.is_empty() && !text.starts_with('#')) {
        match text.strip_prefix('[') {
            Some(name) => section = name.trim_end_matches(']'),
            None => lines.push(line(section, text)),
        }
    }
    lines
}

fn line(section: &str, text: &'static str) -> Line {
    let cells: Vec<&'static str> = text.split('|').map(str::trim).collect();
    let (method, path) = cells[0].split_once(' ').expect("a method and a path");
    let method = Method::from_str(method).expect("a method");
    let (request, rule) = match (section, &cells[1..]) {
        ("api", [request, who, scopes, faulty, answer, notes]) => {
            (self::request(request), Rule::Api(api(who, scopes, faulty, answer, notes)))
        }
        ("page", [request, anonymous, signed_in, not_let_in, expired, unconfirmed, two, without]) => {
            let page = Page {
                anonymous: cell(anonymous),
                signed_in: cell(signed_in),
                not_let_in: cell(not_let_in),
                password_expired: cell(expired),
                unconfirmed: cell(unconfirmed),
                two_sessions: cell(two),
                without_token: match *without {
                    "-" => None,
                    "422" => Some(WithoutToken::Refused),
                    "422 unless signed in" => Some(WithoutToken::RefusedUnlessSignedIn),
                    other => panic!("{text}: {other}"),
                },
            };
            (self::request(request), Rule::Page(page))
        }
        ("oauth", [request, nothing, client, wrong_client, token, scopes, dead, owner_not_let_in, own]) => {
            let [nothing, client, wrong_client, token, dead, owner_not_let_in, own] =
                [nothing, client, wrong_client, token, dead, owner_not_let_in, own].map(|cell| status(cell));
            let scopes = self::scopes(scopes);
            let oauth = Oauth { nothing, client, wrong_client, token, scopes, dead, owner_not_let_in, own };
            (self::request(request), Rule::Oauth(oauth))
        }
        ("open", [request, answer]) => (self::request(request), Rule::Open(status(answer))),
        ("gateway", [rule, who, scopes, answer]) => {
            (Request::default(), Rule::Gateway(rule, api(who, scopes, "", answer, "")))
        }
        _ => panic!("[{section}] has no such columns: {text}"),
    };
    Line { name: cells[0].to_owned(), method, path, request, rule }
}

fn api(who: &'static str, scopes: &'static str, faulty: &'static str, answer: &str, notes: &str) -> Api {
    let who = match who {
        "anyone" => Who::Anyone,
        "signed in" => Who::SignedIn,
        "administrator" => Who::Administrator,
        "administrator else 400" => Who::AdministratorElse(400),
        "administrator else 401" => Who::AdministratorElse(401),
        "own token" => Who::OwnToken,
        "own token or rotated" => Who::OwnTokenOrRotated,
        "signed in or its own token" => Who::SignedInOrApplication,
        other => match (other.strip_prefix("signed in else 403 "), other.strip_suffix(" of {id}")) {
            (Some(text), _) => Who::SignedInElse(text),
            (None, Some(level)) => Who::Member(Member {
                project: false,
                least: Some(AccessLevel::parse(level).expect("a level")),
                status: 403,
                text: None,
            }),
            (None, None) => Who::Member(member(other)),
        },
    };
    let faulty = faulty.split_once(' ').map(|(when, parameters)| match when {
        "early" => (request(parameters), Faulty::Early),
        "late" => (request(parameters), Faulty::Late),
        other => panic!("a parameter is not checked `{other}`"),
    });
    let notes: Vec<&str> = notes.split(", ").filter(|note| !note.is_empty()).collect();
    let known = ["uses up", "waits", "no bots", "no impersonation"];
    assert!(notes.iter().all(|note| known.contains(note)), "{notes:?}");
    let [uses_up, waits, no_bots, no_impersonation] = known.map(|note| notes.contains(&note));
    let (answer, to_administrators) = match answer.split_once(", administrators ") {
        Some((answer, to_administrators)) => (status(answer), Some(status(to_administrators))),
        None => (status(answer), None),
    };
    let scopes = self::scopes(scopes);
    Api { who, scopes, faulty, answer, to_administrators, no_bots, uses_up, waits, no_impersonation }
}

/// `owner of group else 401`, `maintainer of project else 400 TEXT`, `who sees group`
fn member(text: &'static str) -> Member {
    if let Some(kind) = text.strip_prefix("who sees ") {
        return Member { project: kind == "project", least: None, status: 403, text: None };
    }
    let nobody = || panic!("nobody is `{text}`");
    let (level, rest) = text.split_once(" of ").unwrap_or_else(nobody);
    let (kind, refusal) = rest.split_once(" else ").unwrap_or_else(nobody);
    let (code, text) = refusal.split_once(' ').map_or((refusal, None), |(code, text)| (code, Some(text)));
    Member { project: kind == "project", least: AccessLevel::parse(level), status: status(code), text }
}

fn request(text: &'static str) -> Request {
    let mut request = Request::default();
    for word in text.split_ascii_whitespace() {
        match (word.strip_prefix('{'), word.strip_prefix('?')) {
            (Some(capture), _) => request.captures.push(capture.split_once("}=").expect("a value of the path")),
            (None, Some(query)) => request.query = query,
            (None, None) => request.form = word,
        }
    }
    request
}

fn scopes(text: &'static str) -> Option<Vec<&'static str>> {
    (text != "any").then(|| text.split_ascii_whitespace().collect())
}

fn status(text: &str) -> u16 {
    text.parse().unwrap_or_else(|_| panic!("`{text}` is no status"))
}

fn cell(text: &'static str) -> Cell {
    let mut words = text.split_ascii_whitespace();
    let mut cell = Cell { status: status(words.next().expect("a status")), location: None, cookie: None };
    for word in words {
        match word.strip_prefix('+') {
            Some(cookie) => cell.cookie = Some(cookie),
            None => cell.location = Some(word),
        }
    }
    cell
}

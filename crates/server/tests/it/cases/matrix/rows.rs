//! The rows of a line: what a request shows, and where.

use std::collections::BTreeSet;

use tollhouse_domain::scope::Scope;

use super::cast::{Credential, Kind, Owner, SessionState, State};
use super::lines::{Line, Rule};

#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub shown: Shown,
    pub place: Place,
    /// By HEAD, where the route is one for GET.
    pub head: bool,
}

#[derive(Clone, Copy, Debug)]
pub enum Shown {
    Nothing,
    Credential(Credential),
    Session(Credential, Csrf),
    /// Two live sessions at once, with the CSRF token of the first.
    TwoSessions,
    Junk(Junk),
    /// An application with its secret, or with a wrong one.
    Client {
        right: bool,
    },
}

/// The CSRF token beside a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Csrf {
    Own,
    Missing,
    OfAnother,
}

/// What is no credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Junk {
    Text(&'static str),
    Long,
    /// A session cookie in the place of a token.
    SessionCookie,
    /// The secret of an application in the place of a token.
    ClientSecret,
    /// The digest of a live token, as the database has it.
    Digest,
}

/// Where it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Bearer,
    PrivateToken,
    Query(&'static str),
    Form(&'static str),
    /// `private_token` in a body of JSON.
    Json,
    /// The password of `Authorization: Basic`, where no token counts.
    BasicPassword,
    /// A session cookie, or the credentials of a client.
    Usual,
}

impl Place {
    /// Where a token may stand.
    pub const ALL: [Self; 9] = [
        Self::Bearer,
        Self::PrivateToken,
        Self::Query("access_token"),
        Self::Query("bearer_token"),
        Self::Query("private_token"),
        Self::Form("access_token"),
        Self::Form("bearer_token"),
        Self::Form("private_token"),
        Self::Json,
    ];

    /// Personal access tokens alone count there.
    pub fn is_private(self) -> bool {
        matches!(self, Self::PrivateToken | Self::Query("private_token") | Self::Form("private_token") | Self::Json)
    }

    fn of(kind: Kind) -> Self {
        if kind == Kind::Oauth { Self::Bearer } else { Self::PrivateToken }
    }
}

const JUNK: [Junk; 10] = [
    Junk::Text(""),
    Junk::Text("   "),
    // A job token is no credential of these routes, and counts as absent.
    Junk::Text("glcbt-1_abcdefghijklmnopqrst"),
    Junk::Text("glpat-abcdefghijklmnopqrst"),
    Junk::Text("gloas-abcdefghijklmnopqrst"),
    Junk::Text("x"),
    Junk::Long,
    Junk::SessionCookie,
    Junk::ClientSecret,
    Junk::Digest,
];

/// Every kind of credential in every state, of an owner in every state; and what is no credential.
fn full() -> Vec<Row> {
    let row = |shown, place| Row { shown, place, head: false };
    let mut rows = vec![
        row(Shown::Nothing, Place::Usual),
        row(Shown::TwoSessions, Place::Usual),
        row(Shown::Client { right: true }, Place::Usual),
        row(Shown::Client { right: false }, Place::Usual),
    ];
    rows.push(Row { head: true, ..rows[0] });
    let scope = Scope::Api;
    for state in State::ALL.iter().copied() {
        for owner in Owner::ALL.iter().copied() {
            for kind in Kind::ALL.iter().copied() {
                let token = Credential::Token { kind, state, owner, scope };
                rows.push(row(Shown::Credential(token), Place::of(kind)));
            }
        }
        rows.push(row(Shown::Credential(Credential::Own { state, scope }), Place::Bearer));
    }
    for state in SessionState::ALL.iter().copied() {
        for owner in Owner::ALL.iter().copied() {
            for csrf in [Csrf::Own, Csrf::Missing, Csrf::OfAnother] {
                rows.push(row(Shown::Session(Credential::Session { state, owner }, csrf), Place::Usual));
            }
        }
    }
    for junk in JUNK {
        for place in Place::ALL {
            rows.push(row(Shown::Junk(junk), place));
        }
    }
    let (kind, state, owner) = (Kind::Personal, State::Active, Owner::Active);
    rows.push(row(Shown::Credential(Credential::Token { kind, state, owner, scope }), Place::BasicPassword));
    rows
}

/// What could not be seen otherwise, because most rows are refused for another reason: a live token of each scope, and
/// each state of a token in each place.
fn live() -> Vec<Row> {
    let row = |kind, state, owner, scope, place| {
        let token = Credential::Token { kind, state, owner, scope };
        Row { shown: Shown::Credential(token), place, head: false }
    };
    let mut rows = Vec::new();
    for kind in Kind::ALL.iter().copied() {
        for scope in Scope::ALL.iter().copied() {
            for owner in [Owner::Active, Owner::Administrator] {
                rows.push(row(kind, State::Active, owner, scope, Place::of(kind)));
            }
        }
        for state in State::ALL.iter().copied() {
            rows.extend(Place::ALL.map(|place| row(kind, state, Owner::Active, Scope::Api, place)));
        }
    }
    for place in [Place::Query("access_token"), Place::Query("bearer_token")] {
        rows.extend(Scope::ALL.iter().map(|scope| row(Kind::Oauth, State::Active, Owner::Active, *scope, place)));
    }
    rows
}

/// Besides [`live`], each two values of kind, state, owner, place, scope and method meet in one row.
fn beyond() -> Vec<Row> {
    let sizes = [Kind::ALL.len(), State::ALL.len(), Owner::ALL.len(), Place::ALL.len(), Scope::ALL.len(), 2];
    let made = covering(&sizes).into_iter().map(|values| {
        let [kind, state, owner, place, scope, head] = values[..] else { unreachable!("six factors") };
        let (kind, state, owner) = (Kind::ALL[kind], State::ALL[state], Owner::ALL[owner]);
        let token = Credential::Token { kind, state, owner, scope: Scope::ALL[scope] };
        Row { shown: Shown::Credential(token), place: Place::ALL[place], head: head == 1 }
    });
    let own = Scope::ALL.iter().map(|scope| {
        let own = Credential::Own { state: State::Active, scope: *scope };
        Row { shown: Shown::Credential(own), place: Place::Bearer, head: false }
    });
    live().into_iter().chain(made).chain(own).collect()
}

/// Rows that hold each two values of each two factors, made greedily.
fn covering(sizes: &[usize]) -> Vec<Vec<usize>> {
    let mut left: BTreeSet<[usize; 4]> = BTreeSet::new();
    for (one, first) in sizes.iter().enumerate() {
        for (other, second) in sizes.iter().enumerate().skip(one + 1) {
            left.extend((0..*first).flat_map(|a| (0..*second).map(move |b| [one, a, other, b])));
        }
    }
    let pair = |one: usize, a: usize, other: usize, b: usize| {
        if one < other { [one, a, other, b] } else { [other, b, one, a] }
    };
    let mut rows = Vec::new();
    while let Some([one, a, other, b]) = left.first().copied() {
        let mut row: Vec<Option<usize>> = vec![None; sizes.len()];
        (row[one], row[other]) = (Some(a), Some(b));
        for factor in 0..sizes.len() {
            if row[factor].is_some() {
                continue;
            }
            let gains = |value: &usize| {
                let known = row.iter().enumerate().filter_map(|(known, at)| Some((known, (*at)?)));
                known.filter(|(known, at)| left.contains(&pair(factor, *value, *known, *at))).count()
            };
            // Of equals a different one each time, so that rows do not lean on the first.
            let turn = rows.len();
            row[factor] = (0..sizes[factor]).max_by_key(|value| (gains(value), (value + turn) % sizes[factor]));
        }
        let row: Vec<usize> = row.into_iter().flatten().collect();
        for (one, a) in row.iter().enumerate() {
            for (other, b) in row.iter().enumerate().skip(one + 1) {
                left.remove(&[one, *a, other, *b]);
            }
        }
        rows.push(row);
    }
    rows
}

/// What is asked with a wrong parameter, too: one row for each step at which a request may be refused.
pub fn faulty() -> Vec<Row> {
    let row = |shown, place| Row { shown, place, head: false };
    let token = |state, owner, scope| {
        let token = Credential::Token { kind: Kind::Personal, state, owner, scope };
        row(Shown::Credential(token), Place::PrivateToken)
    };
    let (state, owner, scope) = (State::Active, Owner::Active, Scope::Api);
    let session = Credential::Session { state: SessionState::Active, owner };
    let oauth = Credential::Token { kind: Kind::Oauth, state, owner, scope };
    vec![
        row(Shown::Nothing, Place::Usual),
        row(Shown::Junk(Junk::Text("glpat-abcdefghijklmnopqrst")), Place::PrivateToken),
        token(State::Expired, owner, scope),
        token(State::Revoked, owner, scope),
        token(state, Owner::Blocked, scope),
        token(state, owner, Scope::K8sProxy),
        token(state, owner, scope),
        token(state, Owner::Administrator, scope),
        row(Shown::Credential(oauth), Place::Bearer),
        row(Shown::Session(session, Csrf::Own), Place::Usual),
        row(Shown::Session(session, Csrf::Missing), Place::Usual),
    ]
}

/// All rows there are.
pub struct Rows {
    full: Vec<Row>,
    beyond: Vec<Row>,
}

impl Rows {
    pub fn new() -> Self {
        Self { full: full(), beyond: beyond() }
    }

    /// Those of one line. Where no token is looked at, each place is met once.
    pub fn of(&self, line: &Line) -> Vec<Row> {
        let looks = matches!(line.rule, Rule::Api(_) | Rule::Oauth(_) | Rule::Gateway(..));
        let is_page = matches!(line.rule, Rule::Page(_));
        let mut places: Vec<Place> = Vec::new();
        let beyond = self.beyond.iter().filter(|row| {
            let new = !places.contains(&row.place);
            if new {
                places.push(row.place);
            }
            looks || new
        });
        let rows = self.full.iter().chain(beyond).copied();
        rows.map(|row| Row { head: row.head && line.reads() && !is_page, ..row }).collect()
    }

    /// Every credential that has to be there.
    pub fn credentials(&self) -> impl Iterator<Item = Credential> + '_ {
        let rows = self.full.iter().chain(&self.beyond).copied().chain(faulty());
        rows.filter_map(|row| match row.shown {
            Shown::Credential(credential) | Shown::Session(credential, _) => Some(credential),
            Shown::Nothing | Shown::TwoSessions | Shown::Junk(_) | Shown::Client { .. } => None,
        })
    }
}

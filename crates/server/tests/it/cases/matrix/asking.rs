//! A row as a request.

use axum::http::Method;
use form_urlencoded::byte_serialize;
use serde_json::{Map, Value};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::Plaintext;

use super::Matrix;
use super::cast::{Cast, Credential, Kind, Owner, SessionState, State};
use super::gateway::question;
use super::lines::{Line, Request, Rule};
use super::rows::{Csrf, Junk, Place, Row, Shown};
use crate::oauth::basic;
use crate::test_server::{Reply, Session, TestServer};

/// The parts of a request in which a credential may stand.
#[derive(Default)]
struct Sent {
    query: String,
    form: String,
    headers: Vec<(&'static str, String)>,
}

impl Sent {
    fn show(&mut self, secret: &str, place: Place) {
        let encoded: String = byte_serialize(secret.as_bytes()).collect();
        match place {
            Place::Bearer => self.headers.push(("authorization", format!("Bearer {secret}"))),
            Place::PrivateToken => self.headers.push(("private-token", secret.to_owned())),
            Place::Query(name) => self.query = joined(&self.query, &format!("{name}={encoded}")),
            Place::Form(name) => self.form = joined(&self.form, &format!("{name}={encoded}")),
            Place::Json => self.form = joined(&self.form, &format!("private_token={encoded}")),
            Place::BasicPassword => self.headers.push(("authorization", basic("somebody", secret))),
            Place::Usual => panic!("a token has a place"),
        }
    }
}

impl Matrix {
    /// Sends a row. `more`: what makes a parameter wrong.
    pub(super) async fn ask(&self, t: &TestServer, line: &Line, row: &Row, more: Option<&Request>) -> Reply {
        let none = Request::default();
        let more = more.unwrap_or(&none);
        let mut sent = Sent {
            query: joined(line.request.query, more.query),
            form: joined(&self.cast.form(line.request.form), more.form),
            headers: Vec::new(),
        };
        match row.shown {
            Shown::Nothing => {}
            Shown::Credential(credential) => sent.show(&self.secret(t, line, credential).await, row.place),
            Shown::Junk(junk) => sent.show(&self.cast.junk(junk), row.place),
            Shown::Session(credential, csrf) => {
                let session = Session { cookie: self.secret(t, line, credential).await };
                sent.headers.push(("cookie", format!("_gitlab_session={}", session.cookie)));
                match csrf {
                    Csrf::Own => sent.headers.push(("x-csrf-token", session.csrf())),
                    Csrf::Missing => {}
                    Csrf::OfAnother => sent.headers.push(("x-csrf-token", Session { cookie: "0".repeat(32) }.csrf())),
                }
            }
            Shown::TwoSessions => {
                let of = |owner| Credential::Session { state: SessionState::Active, owner };
                let one = Session { cookie: self.secret(t, line, of(Owner::Active)).await };
                let other = self.secret(t, line, of(Owner::Administrator)).await;
                sent.headers.push(("cookie", format!("_gitlab_session={}; _gitlab_session={other}", one.cookie)));
                sent.headers.push(("x-csrf-token", one.csrf()));
            }
            Shown::Client { right } => {
                let secret = if right { &self.cast.client.secret } else { "wrong-secret" };
                sent.headers.push(("authorization", basic(&self.cast.client.uid, secret)));
            }
        }
        let ask = match &line.rule {
            Rule::Gateway(name, _) => question(t, &line.method, name, &sent.query),
            Rule::Api(_) | Rule::Page(_) | Rule::Oauth(_) | Rule::Open(_) => {
                let method = if row.head { Method::HEAD } else { line.method.clone() };
                t.ask(method, &self.cast.target(line, &line.request, &sent.query))
            }
        };
        let ask = sent.headers.iter().fold(ask, |ask, (name, value)| ask.with(name, value));
        match (row.place, sent.form.is_empty()) {
            (Place::Json, _) => ask.json(json(&sent.form)).await,
            (_, true) => ask.await,
            (_, false) => ask.form(&sent.form).await,
        }
    }

    async fn secret(&self, t: &TestServer, line: &Line, credential: Credential) -> String {
        match line.uses_up() && !credential.is_dead() {
            true => self.cast.fresh(t, credential).await,
            false => self.cast.secret(credential),
        }
    }
}

impl Cast {
    /// Path and query.
    pub fn target(&self, line: &Line, request: &Request, query: &str) -> String {
        let path = request
            .captures
            .iter()
            .fold(line.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), &self.value(value)));
        assert!(!path.contains('{'), "{}: the request gives no value for {path}", line.name);
        if query.is_empty() { path } else { format!("{path}?{query}") }
    }

    pub(super) fn form(&self, form: &str) -> String {
        let pairs = form.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').expect("a pair");
            format!("{name}={}", self.value(value))
        });
        pairs.collect::<Vec<_>>().join("&")
    }

    fn junk(&self, junk: Junk) -> String {
        let session = Credential::Session { state: SessionState::Active, owner: Owner::Active };
        let (kind, state, owner, scope) = (Kind::Personal, State::Active, Owner::Active, Scope::Api);
        match junk {
            Junk::Text(text) => text.to_owned(),
            Junk::Long => "x".repeat(2000),
            Junk::SessionCookie => self.secret(session),
            Junk::ClientSecret => self.client.secret.clone(),
            Junk::Digest => {
                let token = Plaintext::new(self.secret(Credential::Token { kind, state, owner, scope }));
                data_encoding::HEXLOWER.encode(&token.digest().0)
            }
        }
    }
}

/// Pairs of a query or a form, one after the other.
fn joined(one: &str, other: &str) -> String {
    let parts = [one, other].map(|part| part.trim_start_matches('?'));
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("&")
}

/// A form as a body of JSON.
fn json(form: &str) -> Value {
    let mut all = Map::new();
    for (name, value) in form_urlencoded::parse(form.as_bytes()) {
        let value = Value::String(value.into_owned());
        match name.strip_suffix("[]") {
            Some(list) => drop(all.insert(list.to_owned(), Value::Array(vec![value]))),
            None => drop(all.insert(name.into_owned(), value)),
        }
    }
    Value::Object(all)
}

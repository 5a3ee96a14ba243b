//! Which rule decides: the first whose host, method and path are those of the question. There is no other order.

use axum::http::HeaderValue;
use axum::http::Method;
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::demand::{Demand, Extra};
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::membership::Of;

use super::path::{Form, Oddities, Path};
use super::question::{Origin, Question};
use super::refusal::Refusal;

/// In the order of their file.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

#[derive(Debug)]
pub struct Rule {
    pub name: String,
    /// Its name, as it is told to the API behind.
    pub label: HeaderValue,
    /// Where it stands in its file.
    pub line: usize,
    pub hosts: Vec<Host>,
    pub paths: Vec<Pattern>,
    /// Empty: every method.
    pub methods: Vec<Method>,
    pub allow: Allow,
    pub scopes: Vec<Extra>,
    pub member: Option<Member>,
    /// Client ids, and what they were when the rules were read.
    pub clients: Vec<String>,
    pub applications: Vec<ApplicationId>,
    pub query_credentials: bool,
    /// Preflights pass without being judged.
    pub preflight: bool,
    pub admits: Oddities,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    Anyone,
    SignedIn,
    Administrator,
}

/// A host by its name; without a port any port counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub name: String,
    pub port: Option<u16>,
}

/// A path, or it and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    pub decoded: String,
    pub encoded: String,
    pub below: bool,
}

/// Whose members count, from which level on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub kind: Kind,
    /// In lower case.
    pub path: String,
    pub level: AccessLevel,
    /// What had that path when the rules were read.
    pub of: Option<Of>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Group,
    Project,
}

impl Rules {
    /// Each way to read the path has to lead to the same rule, and that one has to admit what makes it odd (T8).
    pub fn decide(&self, question: &Question<'_>, path: &Path<'_>, preflight: bool) -> Result<&Rule, Refusal> {
        if self.0.is_empty() {
            return Err(Refusal::NoRules);
        }
        let first = |path: &str, form: Form| self.0.iter().find(|rule| rule.is_about(question, preflight, path, form));
        let rule = first(&path.decoded, Form::Decoded).ok_or(Refusal::NoRule)?;
        if !path.oddities.is_within(rule.admits) {
            return Err(Refusal::Crooked);
        }
        for reading in path.readings().map_err(|_| Refusal::Crooked)? {
            if !first(&reading.text, reading.form).is_some_and(|other| std::ptr::eq(other, rule)) {
                return Err(Refusal::Crooked);
            }
        }
        Ok(rule)
    }
}

impl Rule {
    fn is_about(&self, question: &Question<'_>, preflight: bool, path: &str, form: Form) -> bool {
        self.hosts.iter().any(|host| host.is(&question.origin))
            && (self.takes(&question.method) || (preflight && self.preflight))
            && self.paths.iter().any(|pattern| pattern.matches(path, form))
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods.is_empty() || self.methods.contains(method)
    }

    /// What it asks of a caller, but for memberships.
    pub fn demand(&self) -> Demand<'_> {
        Demand {
            anonymous: self.allow == Allow::Anyone,
            administrator: self.allow == Allow::Administrator,
            scopes: &self.scopes,
            applications: &self.applications,
            ..Demand::PLAIN
        }
    }

    /// The rule of these, all before it, because of which it can never be the first.
    pub fn shadow<'r>(&self, before: &'r [Self]) -> Option<&'r Self> {
        let mut shadow = None;
        for host in &self.hosts {
            for pattern in &self.paths {
                for method in self.asked_by() {
                    let covers = |rule: &&Self| {
                        rule.hosts.iter().any(|known| known.covers(host))
                            && rule.paths.iter().any(|known| known.covers(pattern))
                            && (rule.methods.is_empty() || method.as_ref().is_some_and(|m| rule.methods.contains(m)))
                    };
                    shadow = Some(before.iter().find(covers)?);
                }
            }
        }
        shadow
    }

    /// `None`: any method there is.
    fn asked_by(&self) -> Vec<Option<Method>> {
        if self.methods.is_empty() {
            return vec![None];
        }
        let preflight = self.preflight.then_some(Method::OPTIONS);
        self.methods.iter().cloned().chain(preflight).map(Some).collect()
    }
}

impl Host {
    fn is(&self, origin: &Origin<'_>) -> bool {
        self.name == origin.host && self.port.is_none_or(|port| port == origin.port)
    }

    fn covers(&self, other: &Self) -> bool {
        self.name == other.name && (self.port.is_none() || self.port == other.port)
    }
}

impl Pattern {
    /// A prefix ends at a segment.
    pub fn matches(&self, path: &str, form: Form) -> bool {
        let text = match form {
            Form::Decoded => &self.decoded,
            Form::Encoded => &self.encoded,
        };
        match path.strip_prefix(text.as_str()) {
            Some("") => true,
            Some(rest) => self.below && rest.starts_with('/'),
            None => false,
        }
    }

    fn covers(&self, other: &Self) -> bool {
        if other.below && !self.below { false } else { self.matches(&other.decoded, Form::Decoded) }
    }
}

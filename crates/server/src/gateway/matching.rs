//! Which rule decides: the first whose host, method and path are those of the question. There is no other order.

use axum::http::HeaderValue;
use axum::http::Method;
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access_requirement::{AccessRequirement, Extra, JobTokens};
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::membership::MembershipSource;

use super::path::{Form, Oddities, Path};
use super::question::Question;
use super::refusal::Refusal;
use crate::origin::Origin;

/// In the order of their file.
#[derive(Debug, Default)]
pub struct Rules(pub Vec<Rule>);

/// One rule: for which requests it is, and whom it admits (docs/gateway.md).
#[derive(Debug)]
pub struct Rule {
    /// As its file has it; the log says it.
    pub name: String,
    /// Its name, as it is told to the API behind.
    pub label: HeaderValue,
    /// Where it stands in its file.
    pub line: usize,
    /// For which hosts it is.
    pub hosts: Vec<Host>,
    /// For which paths it is.
    pub paths: Vec<Pattern>,
    /// Empty: every method.
    pub methods: Vec<Method>,
    /// Whom it admits.
    pub allow: Allow,
    /// Scopes of a token that open it, besides `api`, and `read_api` on GET and HEAD.
    pub scopes: Vec<Extra>,
    /// Whose member the caller must be. `None`: nobody's.
    pub member: Option<Member>,
    /// Client ids, and what they were when the rules were read.
    pub clients: Vec<String>,
    /// The applications that `clients` named when the rules were read. Their own tokens are admitted too, though they
    /// speak for nobody (T6).
    pub applications: Vec<ApplicationId>,
    /// Deploy tokens with one of these scopes are admitted. Empty: none is.
    pub deploy_tokens: Vec<DeployScope>,
    /// Whether tokens of CI jobs are admitted, which act as the user of their job.
    pub job_tokens: bool,
    /// Whether a personal access token counts as password of HTTP Basic.
    pub token_as_password: bool,
    /// Whether a credential in the query counts.
    pub query_credentials: bool,
    /// Preflights pass without being judged.
    pub preflight: bool,
    /// What may make the path odd. Empty: nothing.
    pub admits: Oddities,
}

/// Whom a rule admits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allow {
    /// Anonymous callers too; an invalid credential is refused all the same.
    Anyone,
    /// Whoever is signed in.
    SignedIn,
    /// Administrators alone.
    Administrator,
}

/// A host by its name; without a port any port counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// In lower case; an IPv6 address stands in brackets.
    pub name: String,
    /// `None`: any port.
    pub port: Option<u16>,
}

/// A path, or it and everything below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As it is compared with a decoded path.
    pub decoded: String,
    /// As it is compared with an encoded path; escapes have their digits in capitals.
    pub encoded: String,
    /// Whether everything below it counts too.
    pub below: bool,
}

/// Whose members count, from which level on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Whether it is a group or a project.
    pub kind: Kind,
    /// In lower case.
    pub path: String,
    /// The least level that is enough.
    pub level: AccessLevel,
    /// What had that path when the rules were read.
    pub of: Option<MembershipSource>,
}

/// What a rule asks a membership of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A group; memberships of groups above it count too.
    Group,
    /// A project; memberships of the groups above it count too.
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
    pub fn requirement(&self) -> AccessRequirement<'_> {
        AccessRequirement {
            anonymous: self.allow == Allow::Anyone,
            administrator: self.allow == Allow::Administrator,
            scopes: &self.scopes,
            applications: &self.applications,
            deploy_tokens: &self.deploy_tokens,
            job_tokens: if self.job_tokens { JobTokens::AnyPlace } else { JobTokens::None },
            token_as_password: self.token_as_password,
            ..AccessRequirement::PLAIN
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
    /// Whether a request to this origin is meant. The scheme does not matter.
    pub fn is(&self, origin: &Origin<'_>) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::gateway::Dialect;

    fn rules(text: &str) -> Rules {
        Rules::parse(text, "rules.toml").expect("rules")
    }

    /// The rule that decides, or why none does.
    fn decides<'r>(rules: &'r Rules, method: &str, host: &str, target: &str) -> Result<&'r str, Refusal> {
        let mut headers = axum::http::HeaderMap::new();
        for (name, value) in [("method", method), ("proto", "https"), ("host", host), ("uri", target)] {
            let name = axum::http::HeaderName::try_from(format!("x-original-{name}")).expect("a name");
            headers.insert(name, value.parse().expect("a value"));
        }
        let question = Question::read(&headers, Dialect::Original)?;
        let path = question.straight_path(1024)?;
        rules.decide(&question, &path, false).map(|rule| rule.name.as_str())
    }

    #[test]
    fn t8_the_first_that_matches_decides_and_prefixes_end_at_a_segment() {
        let rules = rules(
            "[[rule]]\nname = 'exact'\nhost = 'a.test'\npath = '/v1'\nmethod = ['GET', 'HEAD']\n\
             [[rule]]\nname = 'below'\nhost = ['A.test', 'b.test:8443']\npath = ['/v1/*', '/v2/x/*']\n\
             [[rule]]\nname = 'ported'\nhost = 'c.test:443'\npath = '/*'\n\
             [[rule]]\nname = 'purge'\nhost = 'd.test'\npath = '/v1/items:purge'\n\
             [[rule]]\nname = 'rest'\nhost = 'd.test'\npath = '/*'\nadmits = ['%2f', ';']\n",
        );
        let decides = |method, host, target| decides(&rules, method, host, target);
        for (method, host, target, rule) in [
            ("GET", "a.test", "/v1", "exact"),
            ("GET", "a.test:99", "/v1?/../x", "exact"),
            ("POST", "a.test", "/v1", "below"),
            ("GET", "a.test", "/v1/", "below"),
            ("GET", "A.TEST", "/v2/x/y/z", "below"),
            ("GET", "b.test:8443", "/v1/x", "below"),
            ("GET", "c.test", "/", "ported"),
            ("GET", "d.test", "/v1/items:purge", "purge"),
            ("GET", "d.test", "/v1/items", "rest"),
            ("GET", "d.test", "/files/a%2Fb", "rest"),
            ("GET", "d.test", "/files/a;v=1/b", "rest"),
        ] {
            assert_eq!(decides(method, host, target), Ok(rule), "{method} {host}{target}");
        }
        for (method, host, target) in [
            ("GET", "a.test", "/"),
            ("GET", "a.test", "/v1x"),
            ("GET", "a.test", "/V1"),
            ("GET", "a.test", "/v2"),
            ("GET", "a.test", "/v2/xy"),
            ("GET", "b.test", "/v1"),
            ("GET", "c.test:8443", "/"),
            ("GET", "other.test", "/v1"),
        ] {
            assert_eq!(decides(method, host, target), Err(Refusal::NoRule), "{method} {host}{target}");
        }
        for target in [
            // To whoever decodes it is the other rule's.
            "/v1/items%3Apurge",
            "/v1%2fitems:purge",
            "/v1/items:purge;x",
            "/v1;x/items:purge",
            "/v1/items:purge%3Bx",
            // Not admitted.
            "/v1/a%3fb",
        ] {
            assert_eq!(decides("GET", "d.test", target), Err(Refusal::Crooked), "{target}");
        }
    }

    #[test]
    fn a_rule_is_hidden_only_if_nothing_is_left_of_it() {
        let hidden = |first: &str, second: &str| {
            let text = format!("[[rule]]\nname = 'a'\n{first}\n[[rule]]\nname = 'b'\n{second}\n");
            Rules::parse(&text, "rules.toml").is_err()
        };
        let here = |path: &str, more: &str| format!("host = 'a.test'\npath = {path}\n{more}");
        for (first, second) in [
            (here("'/*'", ""), here("'/x'", "")),
            (here("'/x/*'", ""), here("'/x'", "")),
            (here("'/x/*'", ""), here("['/x/y/*', '/x']", "method = 'GET'")),
            (here("'/x'", "method = ['GET', 'PUT']"), here("'/x'", "method = 'PUT'")),
            (here("'/caf%C3%A9'", ""), here("'/caf%c3%a9'", "")),
            (here("'/x'", ""), "host = 'a.test:8443'\npath = '/x'".to_owned()),
        ] {
            assert!(hidden(&first, &second), "{first} / {second}");
        }
        for (first, second) in [
            (here("'/x'", ""), here("'/*'", "")),
            (here("'/x'", ""), here("'/x/*'", "")),
            (here("'/x/*'", ""), here("'/xy'", "")),
            (here("'/x/*'", ""), here("['/x/y', '/z']", "")),
            (here("'/x'", "method = 'GET'"), here("'/x'", "")),
            (here("'/x'", "method = 'GET'"), here("'/x'", "method = 'GET'\npreflight = 'pass'")),
            (here("'/x'", "method = 'GET'\npreflight = 'pass'"), here("'/x'", "method = 'OPTIONS'")),
            ("host = 'a.test:8443'\npath = '/x'".to_owned(), here("'/x'", "")),
            ("host = 'b.test'\npath = '/*'".to_owned(), here("'/x'", "")),
        ] {
            assert!(!hidden(&first, &second), "{first} / {second}");
        }
    }
}

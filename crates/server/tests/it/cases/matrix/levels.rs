//! Callers at every level of a group of every visibility, for lines that name a level. Writes fail meanwhile, so whoever
//! may call is answered 503: the operation behind checks the level once more, and would hide that the route does not.

use axum::http::Method;
use tollhouse::operations::users::CreateUser;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::Matrix;
use super::gateway::question;
use super::lines::{Line, Request, Rule, Who};
use crate::test_server::{Ask, TestServer};

pub struct Levels {
    pub groups: Vec<MembershipSource>,
    callers: Vec<Caller>,
}

struct Caller {
    name: String,
    token: String,
    /// By membership of the group or of the one above it.
    level: Option<AccessLevel>,
    external: bool,
    administrator: bool,
}

const GROUPS: [(&str, Visibility); 3] = [
    ("hull%2Fprivate", Visibility::Private),
    ("hull%2Finternal", Visibility::Internal),
    ("hull%2Fpublic", Visibility::Public),
];

impl Levels {
    pub async fn new(t: &TestServer) -> Self {
        let hull = t.group("hull", Visibility::Public).await;
        let mut groups = Vec::new();
        for (path, visibility) in GROUPS {
            let path = path.trim_start_matches("hull%2F");
            groups.push(MembershipSource::Group(t.subgroup(path, Some(hull), visibility).await));
        }
        let plain = |name: &str| CreateUser::person(&format!("at-{name}"), "Somebody");
        let mut callers = Vec::new();
        for level in AccessLevel::ALL {
            let person = t.person(plain(level.as_str())).await;
            for group in &groups {
                t.member(*group, &person, level).await;
            }
            callers.push((person, Some(level), false, false));
        }
        let above = t.person(plain("owner-above")).await;
        t.member(MembershipSource::Group(hull), &above, AccessLevel::Owner).await;
        callers.push((above, Some(AccessLevel::Owner), false, false));
        callers.push((t.person(plain("nothing")).await, None, false, false));
        let external = CreateUser { external: true, ..plain("nothing-external") };
        callers.push((t.person(external).await, None, true, false));
        let administrator = CreateUser { administrator: true, ..plain("administrator") };
        callers.push((t.person(administrator).await, None, false, true));
        let mut known = Vec::new();
        for (person, level, external, administrator) in callers {
            let token = person.token([Scope::Api]).await;
            known.push(Caller { name: person.name, token, level, external, administrator });
        }
        Self { groups, callers: known }
    }
}

impl Matrix {
    /// How many rows, and those that were answered otherwise.
    pub(super) async fn levels(&self, t: &TestServer, line: &Line) -> (usize, Vec<String>) {
        let (least, gateway) = match &line.rule {
            Rule::Api(api) => (api.who, None),
            Rule::Gateway(name, api) => (api.who, Some(*name)),
            Rule::Page(_) | Rule::Oauth(_) | Rule::Open(_) => return (0, Vec::new()),
        };
        let Who::Member(least) = least else { return (0, Vec::new()) };
        t.app.db.faults.set(Fault::Writes);
        let (mut rows, mut wrong) = (0, Vec::new());
        for (group, visibility) in GROUPS {
            for caller in &self.levels.callers {
                let enough = caller.administrator || caller.level >= Some(least);
                let internal = visibility == Visibility::Internal && !caller.external;
                let visible =
                    caller.administrator || caller.level.is_some() || visibility == Visibility::Public || internal;
                let (ask, expected): (Ask, u16) = match gateway {
                    // The rule is about the first group.
                    Some(_) if group != GROUPS[0].0 => continue,
                    Some(name) => (question(t, &line.method, name, ""), if enough { 204 } else { 403 }),
                    None => {
                        let request = Request { captures: vec![("id", group)], ..line.request.clone() };
                        let expected = if !visible {
                            404
                        } else if enough {
                            503
                        } else {
                            403
                        };
                        (t.ask(line.method.clone(), &self.cast.target(line, &request, "")).form(request.form), expected)
                    }
                };
                let reply = ask.token(&caller.token).await;
                rows += 1;
                if reply.status != expected {
                    let (name, told) = (&caller.name, format!("{} {}", reply.status, reply.body));
                    wrong.push(format!("{}, {name} of {group}: {expected} was expected, it is {told}", line.name));
                }
            }
        }
        t.app.db.faults.set(Fault::None);
        debug_assert!(line.method != Method::GET || gateway.is_some(), "a read does not show whether it was admitted");
        (rows, wrong)
    }
}

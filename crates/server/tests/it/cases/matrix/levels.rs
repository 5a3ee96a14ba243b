//! Callers at every level of a group of every visibility, for lines that name a level. Writes fail meanwhile, so whoever
//! may call is answered 503: the operation behind checks the level once more, and would hide that the route does not.

use tollhouse::operations::users::CreateUser;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_store::faults::Fault;

use super::Matrix;
use super::gateway::question;
use super::lines::{Api, Line, Member, Request, Rule, Who};
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

/// One in each of them, as visible, in the order of `Visibility`.
const PROJECTS: [&str; 3] = ["hull%2Fprivate%2Fapp", "hull%2Finternal%2Fapp", "hull%2Fpublic%2Fapp"];

impl Levels {
    pub async fn new(t: &TestServer) -> Self {
        let hull = t.group("hull", Visibility::Public).await;
        let mut groups = Vec::new();
        for (path, visibility) in GROUPS {
            let path = path.trim_start_matches("hull%2F");
            let group = t.subgroup(path, Some(hull), visibility).await;
            t.project(group, "app", visibility).await;
            groups.push(MembershipSource::Group(group));
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

impl Caller {
    fn has(&self, least: AccessLevel) -> bool {
        self.administrator || self.level >= Some(least)
    }

    fn sees(&self, visibility: Visibility) -> bool {
        let least = if self.external { Visibility::Public } else { Visibility::Internal };
        self.administrator || self.level.is_some() || visibility >= least
    }
}

impl Matrix {
    /// How many rows, and those that were answered otherwise.
    pub(super) async fn levels(&self, t: &TestServer, line: &Line) -> (usize, Vec<String>) {
        let rows: Vec<(&Caller, &str, Ask, u16)> = match &line.rule {
            Rule::Api(Api { who: Who::Member(member), .. }) => self.of_route(t, line, *member),
            Rule::Gateway(name, api) => self.of_rule(t, line, name, api.who),
            Rule::Api(_) | Rule::Page(_) | Rule::Oauth(_) | Rule::Open(_) => Vec::new(),
        };
        let (count, mut wrong) = (rows.len(), Vec::new());
        if rows.is_empty() {
            return (0, wrong);
        }
        t.app.db.faults.set(Fault::Writes);
        for (caller, group, ask, expected) in rows {
            let reply = ask.token(&caller.token).await;
            if reply.status != expected {
                let (name, told) = (&caller.name, format!("{} {}", reply.status, reply.body));
                wrong.push(format!("{}, {name} of {group}: {expected} was expected, it is {told}", line.name));
            }
        }
        t.app.db.faults.set(Fault::None);
        (count, wrong)
    }

    fn of_route(&self, t: &TestServer, line: &Line, member: Member) -> Vec<(&Caller, &'static str, Ask, u16)> {
        let mut rows = Vec::new();
        for (group, visibility) in GROUPS {
            let target = if member.project { PROJECTS[visibility as usize / 10] } else { group };
            let others = line.request.captures.iter().copied().filter(|(name, _)| *name != "id");
            let captures = others.chain([("id", target)]).collect();
            let target = self.cast.target(line, &Request { captures, ..line.request.clone() }, "");
            // What is read below the group or project is not in this one.
            let below = line.request.captures.len() > 1;
            let able = match (line.reads(), below) {
                (true, true) => 404,
                (true, false) => 200,
                (false, _) => 503,
            };
            for caller in &self.levels.callers {
                let expected = match (caller.sees(visibility), member.least.is_none_or(|least| caller.has(least))) {
                    (false, _) => 404,
                    (true, false) => member.status,
                    (true, true) => able,
                };
                let ask = t.ask(line.method.clone(), &target);
                let form = self.cast.form(line.request.form);
                rows.push((caller, group, if form.is_empty() { ask } else { ask.form(&form) }, expected));
            }
        }
        rows
    }

    /// Of the group of the rule `members`. Other rules must not look at it.
    fn of_rule(&self, t: &TestServer, line: &Line, name: &str, who: Who) -> Vec<(&Caller, &'static str, Ask, u16)> {
        let passes = |caller: &Caller| match who {
            Who::Member(member) => member.least.is_none_or(|least| caller.has(least)),
            Who::Administrator => caller.administrator,
            _ => true,
        };
        let row =
            |caller| (caller, GROUPS[0].0, question(t, &line.method, name, ""), if passes(caller) { 204 } else { 403 });
        self.levels.callers.iter().map(row).collect()
    }
}

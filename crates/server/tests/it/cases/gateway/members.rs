//! Rules for the members of a group or project (GATE-060 to GATE-065).

use tollhouse::operations::members::{Add, Remove};
use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::id::NamespaceId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::faults::{self, Fault};
use tollhouse_store::tx::{Change, Tx};

use super::{HERE, asked, rule};
use crate::test_server::{Ask, Person, TestServer};

gates![
    gate_060_members_from_a_level_on,
    gate_060_members_of_what_is_above,
    gate_060_members_of_a_project,
    gate_061_administrators_pass,
    gate_062_an_end_comes_though_it_is_remembered,
    gate_062_what_was_found_is_remembered,
    gate_063_who_leaves_is_out,
    gate_063_without_a_memory with "ledger.entries = 0",
    gate_064_a_path_that_means_something_else,
    gate_065_what_is_not_there_is_not_bound,
    t8_a_rule_is_bound_to_what_had_its_path,
    t27_leaving_a_group,
    t27_a_membership_that_ends,
];

async fn ask(t: &TestServer, person: &Person) -> Ask {
    asked(t, "GET", &format!("{HERE}/x")).token(&person.token([Scope::Api]).await)
}

async fn harbour(t: &TestServer) -> (NamespaceId, NamespaceId) {
    let harbour = t.group("harbour", Visibility::Public).await;
    (harbour, t.subgroup("pilots", Some(harbour), Visibility::Private).await)
}

async fn gate_060_members_from_a_level_on(t: TestServer) {
    let (_, pilots) = harbour(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    t.member(MembershipSource::Group(pilots), &ada, AccessLevel::Reporter).await;
    for (level, passes) in [
        ("", true),
        ("level = 'guest'", true),
        ("level = 'planner'", true),
        ("level = 'reporter'", true),
        ("level = 'security_manager'", false),
        ("level = 'developer'", false),
        ("level = 'maintainer'", false),
        ("level = 'owner'", false),
    ] {
        rule(&t, &format!("group = 'Harbour/Pilots'\n{level}")).await;
        let reply = ask(&t, &ada).await.await;
        if passes {
            reply.passes("all")
        } else {
            reply.is_kept_out(403)
        };
        ask(&t, &grace).await.await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/x")).await.is_kept_out(401);
    }
    rule(&t, "group = 'harbour'").await;
    ask(&t, &ada).await.await.is_kept_out(403);
    // Its scopes are asked for as well.
    rule(&t, "group = 'harbour/pilots'").await;
    let narrow = ada.token([Scope::ReadUser]).await;
    asked(&t, "GET", &format!("{HERE}/x")).token(&narrow).await.is_kept_out(403);
    asked(&t, "GET", &format!("{HERE}/x")).session(&ada.session().await).await.passes("all");
    // The least level is no membership of its own.
    t.member(MembershipSource::Group(pilots), &grace, AccessLevel::Minimal).await;
    ask(&t, &grace).await.await.is_kept_out(403);
}

async fn gate_060_members_of_what_is_above(t: TestServer) {
    let (harbour, pilots) = harbour(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    t.member(MembershipSource::Group(harbour), &ada, AccessLevel::Maintainer).await;
    t.member(MembershipSource::Group(pilots), &ada, AccessLevel::Guest).await;
    t.member(MembershipSource::Group(pilots), &grace, AccessLevel::Owner).await;
    rule(&t, "group = 'harbour/pilots'\nlevel = 'maintainer'").await;
    ask(&t, &ada).await.await.passes("all");
    rule(&t, "group = 'harbour'").await;
    ask(&t, &ada).await.await.passes("all");
    ask(&t, &grace).await.await.is_kept_out(403);
}

async fn gate_060_members_of_a_project(t: TestServer) {
    let (harbour, pilots) = harbour(&t).await;
    let charts = t.project(pilots, "charts", Visibility::Private).await;
    let other = t.project(pilots, "other", Visibility::Private).await;
    let (ada, grace, jean, edith) =
        (t.user("ada").await, t.user("grace").await, t.user("jean").await, t.user("edith").await);
    t.member(MembershipSource::Project(charts), &ada, AccessLevel::Developer).await;
    t.member(MembershipSource::Group(pilots), &grace, AccessLevel::Developer).await;
    t.member(MembershipSource::Group(harbour), &jean, AccessLevel::Developer).await;
    t.member(MembershipSource::Project(other), &edith, AccessLevel::Owner).await;
    rule(&t, "project = 'harbour/pilots/charts'\nlevel = 'developer'").await;
    for member in [&ada, &grace, &jean] {
        ask(&t, member).await.await.passes("all");
    }
    ask(&t, &edith).await.await.is_kept_out(403);
    rule(&t, "project = 'harbour/pilots/charts'\nlevel = 'maintainer'").await;
    for member in [&ada, &grace, &jean] {
        ask(&t, member).await.await.is_kept_out(403);
    }
    // A group's number is not a project's.
    rule(&t, "group = 'harbour/pilots'").await;
    ask(&t, &ada).await.await.is_kept_out(403);
}

async fn gate_061_administrators_pass(t: TestServer) {
    harbour(&t).await;
    let root = t.admin().await;
    rule(&t, "group = 'harbour/pilots'\nlevel = 'owner'").await;
    ask(&t, &root).await.await.passes("all");
    let narrow = root.token([Scope::ReadUser]).await;
    asked(&t, "GET", &format!("{HERE}/x")).token(&narrow).await.is_kept_out(403);
}

async fn gate_062_an_end_comes_though_it_is_remembered(t: TestServer) {
    let (harbour, pilots) = harbour(&t).await;
    let ada = t.user("ada").await;
    let today = t.now().date();
    let until = |of, level, days| Add { of, user: ada.id, level, expires_at: Some(today.plus_days(days)) };
    t.does(until(MembershipSource::Group(pilots), AccessLevel::Owner, 1)).await;
    t.does(until(MembershipSource::Group(harbour), AccessLevel::Developer, 2)).await;
    let token = ada.token([Scope::Api]).await;
    let ask = async || asked(&t, "GET", &format!("{HERE}/x")).token(&token).await;
    let owners = "group = 'harbour/pilots'\nlevel = 'owner'";
    rule(&t, owners).await;
    ask().await.passes("all");
    t.later(12 * 3600 - 1);
    ask().await.passes("all");
    t.later(1);
    ask().await.is_kept_out(403);
    rule(&t, "group = 'harbour/pilots'\nlevel = 'developer'").await;
    ask().await.passes("all");
    t.later(24 * 3600);
    ask().await.is_kept_out(403);
}

async fn gate_062_what_was_found_is_remembered(t: TestServer) {
    let (_, pilots) = harbour(&t).await;
    let (ada, grace) = (t.user("ada").await, t.user("grace").await);
    t.member(MembershipSource::Group(pilots), &ada, AccessLevel::Developer).await;
    rule(&t, "group = 'harbour/pilots'").await;
    let (hers, other) = (ada.token([Scope::Api]).await, grace.token([Scope::Api]).await);
    let ask = async |token: &str| asked(&t, "GET", &format!("{HERE}/x")).token(token).await;
    // A server that has just started may forget once more what it knows.
    for round in 0.. {
        ask(&hers).await.passes("all");
        ask(&other).await.is_kept_out(403);
        t.app.db.faults.set(Fault::Everything);
        let replies = [ask(&hers).await, ask(&other).await];
        t.app.db.faults.set(Fault::None);
        if round < 20 && replies.iter().any(|reply| reply.status == 503) {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            continue;
        }
        replies[0].passes("all");
        replies[1].is_kept_out(403);
        break;
    }
}

async fn leaves_and_joins(t: &TestServer) {
    let (_, pilots) = harbour(t).await;
    let charts = t.project(pilots, "charts", Visibility::Private).await;
    let ada = t.user("ada").await;
    let token = ada.token([Scope::Api]).await;
    let ask = async || asked(t, "GET", &format!("{HERE}/x")).token(&token).await;
    for (of, lines) in [
        (MembershipSource::Group(pilots), "group = 'harbour/pilots'"),
        (MembershipSource::Project(charts), "project = 'harbour/pilots/charts'"),
    ] {
        rule(t, lines).await;
        ask().await.is_kept_out(403);
        for _ in 0..2 {
            t.member(of, &ada, AccessLevel::Guest).await;
            ask().await.passes("all");
            t.does(Remove { of, user: ada.id }).await;
            ask().await.is_kept_out(403);
        }
    }
}

async fn gate_063_who_leaves_is_out(t: TestServer) {
    leaves_and_joins(&t).await;
}

async fn gate_063_without_a_memory(t: TestServer) {
    leaves_and_joins(&t).await;
}

/// There is no operation yet that gives a path away; what is tested is the rule.
struct Move {
    from: &'static str,
    to: &'static str,
}

impl Operation for Move {
    type Output = ();

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        faults::move_route(tx, self.from, self.to).await?;
        Ok(Change::nothing(()))
    }
}

async fn gate_064_a_path_that_means_something_else(t: TestServer) {
    let (harbour, pilots) = harbour(&t).await;
    let (ada, grace, root) = (t.user("ada").await, t.user("grace").await, t.admin().await);
    t.member(MembershipSource::Group(pilots), &ada, AccessLevel::Owner).await;
    let lines = "group = 'harbour/pilots'";
    rule(&t, lines).await;
    ask(&t, &ada).await.await.passes("all");
    ask(&t, &root).await.await.passes("all");
    t.does(Move { from: "harbour/pilots", to: "harbour/old" }).await;
    for person in [&ada, &root] {
        ask(&t, person).await.await.is_kept_out(403);
    }
    // Another one with that name: its members are not those who were meant.
    let second = t.subgroup("pilots", Some(harbour), Visibility::Private).await;
    t.member(MembershipSource::Group(second), &grace, AccessLevel::Owner).await;
    for person in [&ada, &grace, &root] {
        ask(&t, person).await.await.is_kept_out(403);
    }
    rule(&t, lines).await;
    ask(&t, &grace).await.await.passes("all");
    ask(&t, &root).await.await.passes("all");
    ask(&t, &ada).await.await.is_kept_out(403);
}

async fn gate_065_what_is_not_there_is_not_bound(t: TestServer) {
    let (ada, root) = (t.user("ada").await, t.admin().await);
    for lines in ["group = 'harbour'", "project = 'harbour/charts'", "group = 'ada'", "project = 'ada'"] {
        let words = crate::test_server::logged(async { rule(&t, lines).await }).await;
        assert!(words.contains("no group or project has this path"), "{lines}: {words}");
        ask(&t, &ada).await.await.is_kept_out(403);
        ask(&t, &root).await.await.is_kept_out(403);
        asked(&t, "GET", &format!("{HERE}/x")).await.is_kept_out(401);
    }
    rule(&t, "group = 'harbour'").await;
    let harbour = t.group("harbour", Visibility::Private).await;
    t.member(MembershipSource::Group(harbour), &ada, AccessLevel::Owner).await;
    ask(&t, &ada).await.await.is_kept_out(403);
    rule(&t, "group = 'harbour'").await;
    ask(&t, &ada).await.await.passes("all");
    rule(&t, "project = 'harbour'").await;
    ask(&t, &ada).await.await.is_kept_out(403);
}

async fn t8_a_rule_is_bound_to_what_had_its_path(t: TestServer) {
    let harbour = t.group("harbour", Visibility::Private).await;
    let ada = t.user("ada").await;
    t.member(MembershipSource::Group(harbour), &ada, AccessLevel::Owner).await;
    rule(&t, "group = 'harbour'").await;
    ask(&t, &ada).await.await.passes("all");
    t.does(Move { from: "harbour", to: "haven" }).await;
    ask(&t, &ada).await.await.is_kept_out(403);
}

async fn t27_leaving_a_group(t: TestServer) {
    leaves_and_joins(&t).await;
}

async fn t27_a_membership_that_ends(t: TestServer) {
    let (_, pilots) = harbour(&t).await;
    let ada = t.user("ada").await;
    let tomorrow = t.now().date().plus_days(1);
    t.does(Add {
        of: MembershipSource::Group(pilots),
        user: ada.id,
        level: AccessLevel::Owner,
        expires_at: Some(tomorrow),
    })
    .await;
    rule(&t, "group = 'harbour/pilots'").await;
    let token = ada.token([Scope::Api]).await;
    asked(&t, "GET", &format!("{HERE}/x")).token(&token).await.passes("all");
    t.later(12 * 3600);
    asked(&t, "GET", &format!("{HERE}/x")).token(&token).await.is_kept_out(403);
}

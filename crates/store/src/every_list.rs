//! For tests: the texts of all lists, and how many rows one of them visits.

use tollhouse_domain::access::{Viewer, Visibility};
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::time::Timestamp;

use crate::audit_events::{self, Entity};
use crate::engine::conn::{Conn, Runs};
use crate::engine::query::query;
use crate::engine::sqlite;
use crate::error::{Error, Result};
use crate::list::{Span, Start, Statement};
use crate::{
    bots, deploy_tokens, namespaces, oauth_applications, personal_access_tokens, projects, revocations, users,
};

/// The statements that lists are made of, with what they bind: for each combination of conditions one, and for each order.
pub fn every() -> Vec<(String, Statement)> {
    let (id, now) = (UserId(2), Timestamp(0));
    let viewers = [
        Viewer::Anonymous,
        Viewer::User { id, external: false },
        Viewer::User { id, external: true },
        Viewer::Administrator { id },
    ];
    let spans = [Span::offset(20, 0), Span::offset(100, 40), Span::after(5, 20)];
    let flags = |bits: usize, bit: usize| bits & (1 << bit) != 0;
    let visibilities = || std::iter::once(None).chain(Visibility::ALL.map(Some));
    let mut all = Vec::new();
    let mut add = |list: String, made: Vec<(&'static str, Statement)>| {
        all.extend(made.into_iter().map(|(which, statement)| (format!("{list}: {which}"), statement)));
    };
    for (viewer, plan) in
        viewers.into_iter().flat_map(|viewer| [(viewer, projects::Plan::Groups), (viewer, projects::Plan::Walk)])
    {
        for (visibility, bits) in visibilities().flat_map(|one| (0..128).map(move |bits| (one, bits))) {
            let filter = projects::Filter {
                search: flags(bits, 0).then(|| "x".into()),
                archived: flags(bits, 1).then_some(false),
                membership: flags(bits, 2),
                min_access_level: flags(bits, 3).then_some(30),
                namespace: flags(bits, 4).then_some(NamespaceId(1)),
                id_after: flags(bits, 5).then_some(1),
                id_before: flags(bits, 6).then_some(9),
                visibility,
                ..projects::Filter::default()
            };
            add(
                format!("projects {viewer:?} {plan:?} {filter:?}"),
                projects::lists(&filter, viewer, &spans[0], now, plan),
            );
        }
    }
    for (order, bits) in projects::ProjectOrder::ALL.into_iter().flat_map(|order| (0..4).map(move |bits| (order, bits)))
    {
        let filter =
            projects::Filter { order, ascending: flags(bits, 0), membership: flags(bits, 1), ..Default::default() };
        let key = match order {
            projects::ProjectOrder::Id => None,
            projects::ProjectOrder::Name | projects::ProjectOrder::Path => Some("x".to_owned().into()),
            _ => Some(5.into()),
        };
        let spans = spans[..2].iter().cloned().chain([Span { start: Start::After(key, 5), limit: 20 }]);
        for (span, plan) in
            spans.flat_map(|span| [(span.clone(), projects::Plan::Groups), (span, projects::Plan::Walk)])
        {
            add(
                format!("projects {plan:?} {filter:?} {span:?}"),
                projects::lists(&filter, viewers[1], &span, now, plan),
            );
        }
    }
    for (viewer, order) in
        viewers.into_iter().flat_map(|viewer| namespaces::GroupOrder::ALL.map(|order| (viewer, order)))
    {
        for (visibility, bits) in visibilities().flat_map(|one| (0..64).map(move |bits| (one, bits))) {
            let filter = namespaces::Filter {
                search: flags(bits, 0).then(|| "x".into()),
                min_access_level: flags(bits, 1).then_some(30),
                top_level_only: flags(bits, 2),
                members_only: flags(bits, 3),
                descending: flags(bits, 4),
                skip: if flags(bits, 5) { vec![NamespaceId(1), NamespaceId(2)] } else { Vec::new() },
                owned: false,
                visibility,
                order,
            };
            add(format!("groups {viewer:?} {filter:?}"), namespaces::lists(&filter, viewer, &spans[bits % 2], now));
        }
    }
    for (viewer, bits) in viewers.into_iter().flat_map(|viewer| (0..64).map(move |bits| (viewer, bits))) {
        let filter = users::Filter {
            username: flags(bits, 0).then(|| "x".into()),
            search: flags(bits, 1).then(|| "x".into()),
            active: flags(bits, 2),
            blocked: flags(bits, 3),
            external: flags(bits, 4),
            humans: flags(bits, 5),
        };
        for span in &spans {
            add(format!("users {viewer:?} {filter:?} {span:?}"), users::lists(&filter, viewer, span));
        }
    }
    for (order, bits) in
        personal_access_tokens::TokenOrder::ALL.into_iter().flat_map(|order| (0..256).map(move |bits| (order, bits)))
    {
        let (active, inactive) =
            (personal_access_tokens::TokenState::Active, personal_access_tokens::TokenState::Inactive);
        let filter = personal_access_tokens::Filter {
            user: flags(bits, 0).then_some(id),
            impersonation: flags(bits, 1).then_some(flags(bits, 2)),
            state: flags(bits, 3).then_some((if flags(bits, 4) { active } else { inactive }, now)),
            revoked: flags(bits, 5).then_some(flags(bits, 4)),
            created_after: flags(bits, 6).then_some(now),
            created_before: flags(bits, 7).then_some(now),
            last_used_after: flags(bits, 6).then_some(now),
            last_used_before: flags(bits, 7).then_some(now),
            expires_after: flags(bits, 6).then_some(now.date()),
            expires_before: flags(bits, 7).then_some(now.date()),
            search: flags(bits, 7).then(|| "x".into()),
            order,
            ascending: flags(bits, 2),
        };
        add(format!("tokens {filter:?}"), personal_access_tokens::lists(&filter, &spans[bits % 2]));
        if order == personal_access_tokens::TokenOrder::Id {
            add(format!("tokens {filter:?} keyset"), personal_access_tokens::lists(&filter, &spans[2]));
        }
    }
    add("deploy tokens".into(), deploy_tokens::lists().into_iter().map(|one| ("page", one)).collect());
    for entity in [None, Some((Entity::Instance, None))].into_iter().chain(
        [Entity::Project, Entity::Group, Entity::User]
            .into_iter()
            .flat_map(|of| [Some((of, None)), Some((of, Some(1)))]),
    ) {
        for (bits, newest_first) in (0..4).flat_map(|bits| [(bits, true), (bits, false)]) {
            let [after, before] = [0, 1].map(|bit| flags(bits, bit).then_some(Timestamp(40_000)));
            let filter = audit_events::Filter { entity, after, before };
            add(format!("audit events {filter:?} {newest_first}"), audit_events::lists(&filter, newest_first));
        }
    }
    add("revocations".into(), revocations::statements().into_iter().map(|one| ("page", one)).collect());
    let homes = [None, Some(MembershipSource::Group(NamespaceId(1)))];
    let orders = [bots::ServiceAccountOrder::Id, bots::ServiceAccountOrder::Username];
    for (home, order) in homes.into_iter().flat_map(|home| orders.map(|order| (home, order))) {
        for descending in [false, true] {
            let filter = bots::ServiceAccounts { home, order, descending };
            add(format!("service accounts {filter:?}"), bots::lists(&filter, &spans[1]));
        }
    }
    add("applications".into(), oauth_applications::lists().into_iter().map(|one| ("page", one)).collect());
    all
}

/// What a statement costs whose text is good for any number of rows.
#[derive(Debug)]
pub struct Cost {
    /// How it is executed, as the database says it.
    pub plan: Vec<String>,
    /// PostgreSQL: rows that were read from tables and indexes. SQLite: steps of its virtual machine.
    pub work: i64,
}

/// Runs it and says what that cost.
pub async fn cost(at: &mut impl Runs, statement: &Statement) -> Result<Cost> {
    match at.conn() {
        Conn::Sqlite(connection) => {
            let work = sqlite::steps(connection, &statement.text, &statement.values)?;
            let explain = format!("EXPLAIN QUERY PLAN {}", statement.text);
            let explain = Statement { text: explain, values: statement.values.clone() };
            let plan: Vec<(i64, i64, i64, String)> = explain.query().all(at).await?;
            Ok(Cost { plan: plan.into_iter().map(|(.., line)| line).collect(), work: work.into() })
        }
        Conn::Postgres(_) => {
            // The plan that a statement gets which is prepared once and run many times.
            query("SET plan_cache_mode = force_generic_plan").changed(at).await?;
            let explain = format!("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) {}", statement.text);
            let explain = Statement { text: explain, values: statement.values.clone() };
            let plan: Vec<String> = explain.query().all(at).await?;
            query("RESET plan_cache_mode").changed(at).await?;
            let work = rows_read(&plan);
            Ok(Cost { plan, work })
        }
        Conn::Closed => Err(Error::closed()),
    }
}

/// Rows that came from tables and indexes, those included that a filter removed.
fn rows_read(plan: &[String]) -> i64 {
    let number = |line: &str, before: &str| {
        let rest = line.split_once(before)?.1;
        rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.parse::<f64>().ok()
    };
    let (mut sum, mut loops) = (0.0, 0.0);
    for line in plan {
        if let Some(times) = number(line, "loops=") {
            loops = times;
            let of_a_table = line.contains(" Scan ") && !line.contains("CTE Scan") && !line.contains("WorkTable");
            sum += if of_a_table { loops * number(line, "rows=").unwrap_or_default() } else { 0.0 };
        }
        for removed in ["Rows Removed by Filter: ", "Rows Removed by Join Filter: "] {
            sum += loops * number(line, removed).unwrap_or_default();
        }
    }
    sum as i64
}

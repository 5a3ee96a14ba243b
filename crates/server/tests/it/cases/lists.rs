//! Lists on a large database: what a page costs, that every text is one that both databases take, and that there are not
//! too many of them.

use std::collections::BTreeSet;

use tollhouse::operations::{Failed, Operation};
use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::id::UserId;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::audit_events::{self, Entity};
use tollhouse_store::every_list::{Cost, cost, every};
use tollhouse_store::list::{Span, Start, Statement};
use tollhouse_store::namespaces::GroupOrder;
use tollhouse_store::personal_access_tokens::{TokenOrder, TokenState};
use tollhouse_store::projects::{Filter, Plan, ProjectOrder};
use tollhouse_store::query::query;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{namespaces, personal_access_tokens, projects, users};

use crate::test_server::TestServer;

cases![
    every_list_runs,
    no_list_reads_more_than_it_shows,
    pages_by_keyset_and_by_offset_are_the_same,
    both_plans_show_the_same,
    ten_thousand_lists_are_few_texts,
];

async fn every_list_runs(t: TestServer) {
    let mut reader = t.app.db.read().await.expect("a reader");
    let mut known = BTreeSet::new();
    for (name, statement) in every() {
        if known.insert(statement.text.clone()) {
            let text = statement.text.clone();
            let found: Result<Option<i64>, _> = statement.query().optional(&mut reader).await;
            assert!(found.is_ok_and(|found| found.is_none_or(|found| found == 0)), "{name}\n{text}");
        }
    }
    assert!(known.len() > 1000, "{}", known.len());
}

/// Of the viewers, `many` is in every second group, `one` in one, `above` in one that has all the others below it.
struct Large {
    many: UserId,
    one: UserId,
    above: UserId,
    rows: i64,
}

impl Large {
    async fn of(t: &TestServer) -> Self {
        let mut ids = Vec::new();
        for name in ["many", "one", "above"] {
            ids.push(t.user(name).await.id);
        }
        let rows = std::env::var("TOLLHOUSE_LIST_ROWS").map_or(20_000, |rows| rows.parse().expect("a number"));
        let [many, one, above] = ids[..] else { unreachable!() };
        t.does(Fill { postgres: t.app.db.is_postgres(), many, one, above, rows }).await;
        Self { many, one, above, rows }
    }
}

struct Fill {
    postgres: bool,
    many: UserId,
    one: UserId,
    above: UserId,
    rows: i64,
}

const GROUPS: i64 = 2_000;
/// Numbers of the rows that are filled in begin here.
const FIRST: i64 = 1_000_000;

impl Operation for Fill {
    type Output = ();

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        let postgres = self.postgres;
        // Nearly all of it is private, as in a company: what is open to everybody is 2 in 100.
        query(
            "INSERT INTO namespaces (id, kind, parent_id, name, lower_name, path, full_path, full_name, visibility, created_at,
                                     updated_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, 'group', CASE WHEN i > 0 AND i % 20 = 0 THEN $2 END, 'g' || i, 'g' || i, 'g' || i, 'g' || i, 'g' || i,
                    CASE WHEN i % 100 = 1 THEN 20 ELSE 0 END, i, i FROM s",
        )
        .bind(GROUPS - 1)
        .bind(FIRST)
        .changed(tx)
        .await?;
        // As many personal namespaces.
        query(
            "INSERT INTO namespaces (id, kind, name, lower_name, path, full_path, full_name, visibility, created_at, updated_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT i + $2 + $2, 'user', 'n' || i, 'n' || i, 'n' || i, 'n' || i, 'n' || i, 20, i, i FROM s",
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .changed(tx)
        .await?;
        query(
            "INSERT INTO projects (id, namespace_id, name, lower_name, path, visibility, archived, created_at, updated_at,
                                   last_activity_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, $2 + (i * 7) % $3, 'p' || i, 'p' || i, 'p' || i,
                    CASE i % 100 WHEN 0 THEN 20 WHEN 1 THEN 10 ELSE 0 END, i % 3 = 0, (i * 7919) % 100003, i, i FROM s",
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .bind(GROUPS)
        .changed(tx)
        .await?;
        query(
            "INSERT INTO members (source_kind, source_id, user_id, access_level, created_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT 'group', $2 + 2 * i + 1, $3, 30, 0 FROM s",
        )
        .bind(GROUPS / 2 - 1)
        .bind(FIRST)
        .bind(self.many.0)
        .changed(tx)
        .await?;
        let rows = [
            ("group", FIRST + 77, self.one, AccessLevel::Developer),
            ("project", FIRST + 5_005, self.one, AccessLevel::Owner),
            ("group", FIRST, self.above, AccessLevel::Owner),
        ];
        for (kind, id, user, level) in rows {
            query(
                "INSERT INTO members (source_kind, source_id, user_id, access_level, created_at) VALUES ($1, $2, $3, $4, 0)",
            )
            .bind(kind)
            .bind(id)
            .bind(user.0)
            .bind(level as i64)
            .changed(tx)
            .await?;
        }
        query(
            "INSERT INTO users (id, username, lower_username, name, lower_name, email, lower_email, state, kind, administrator,
                                external, private_profile, can_create_group, projects_limit, created_at, updated_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, 'u' || i, 'u' || i, 'u' || i, 'u' || i, '', 'none-' || i,
                    CASE WHEN i % 1000 = 1 THEN 'blocked' ELSE 'active' END, 'human', FALSE, i % 1000 = 2, FALSE, FALSE, 0, 0, 0
               FROM s",
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .changed(tx)
        .await?;
        // Every hundredth is of `many`, and every second of these is dead.
        query(
            "INSERT INTO token_families (id, head_id, ended_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, $2 + i, CASE WHEN i % 200 = 0 THEN 1 END FROM s",
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .changed(tx)
        .await?;
        query(
            "INSERT INTO audit_events (id, at, event, credential, target_kind, target_id, detail)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, i / 2 * 14, 'e', 'system', CASE WHEN i % 100 = 1 THEN 'project' ELSE 'token' END, i % 500, ''
               FROM s",
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .changed(tx)
        .await?;
        query(
            "INSERT INTO personal_access_tokens (id, family_id, digest, user_id, name, lower_name, scopes, impersonation, created_at,
                                                 expires_on, last_used_at)
             WITH RECURSIVE s(i) AS (SELECT CAST(0 AS BIGINT) UNION ALL SELECT i + 1 FROM s WHERE i < $1)
             SELECT $2 + i, $2 + i, CAST('token-' || i AS BYTES), CASE WHEN i % 100 = 0 THEN $3 ELSE $2 + i END, 'T' || i, 't' || i,
                    'api', FALSE, i, CASE WHEN i % 3 > 0 THEN 30000 + i % 1009 END, CASE WHEN i % 2 > 0 THEN (i * 7919) % 100003 END
               FROM s"
                .replace("BYTES", if postgres { "BYTEA" } else { "BLOB" }),
        )
        .bind(self.rows - 1)
        .bind(FIRST)
        .bind(self.many.0)
        .changed(tx)
        .await?;
        Ok(Change::nothing(()))
    }
}

fn user(id: UserId) -> Viewer {
    Viewer::User { id, external: false }
}

/// With 100,000 rows: `TOLLHOUSE_LIST_ROWS=100000`.
async fn no_list_reads_more_than_it_shows(t: TestServer) {
    let large = Large::of(&t).await;
    let postgres = t.app.db.is_postgres();
    let mut reader = t.app.db.read().await.expect("a reader");
    if postgres {
        let mut tx = t.app.db.begin().await.expect("a transaction");
        query("ANALYZE").changed(&mut tx).await.expect("statistics");
    }
    let now = t.now();
    let (page_500, far) = (Span::offset(20, 0), Span { start: Start::After(Some(50_000.into()), 0), limit: 20 });
    let mut held = Vec::new();
    let mut see = |name: String, memberships: i64, statements: Vec<(&'static str, Statement)>| {
        held.extend(statements.into_iter().map(|(which, statement)| {
            // A count, and what the plan depends on, read entries of an index: no more than are counted.
            let rows = match which {
                "page" => 20 * memberships.max(20),
                "reach" => 2_001 + 3 * memberships,
                _ => 10_001 + 3 * memberships,
            };
            (format!("{name}: {which}"), rows, statement)
        }));
    };
    let administrator = Viewer::Administrator { id: large.one };
    for (viewer, plan, memberships) in [
        (user(large.many), Plan::Walk, GROUPS / 2),
        (user(large.one), Plan::Groups, 1),
        // In 100 groups, which hold 5 of 100 projects: a walk looks at 20 for each that it shows.
        (user(large.above), Plan::Walk, 200),
        (Viewer::User { id: large.one, external: true }, Plan::Groups, 1),
        (administrator, Plan::Groups, 1),
        (Viewer::Anonymous, Plan::Groups, 0),
    ] {
        for (order, ascending) in ProjectOrder::ALL.into_iter().flat_map(|order| [(order, true), (order, false)]) {
            for membership in [false, true] {
                // Whose groups hold few projects in 20,000 reads them, whatever the test asks for.
                let plan = if viewer == user(large.above) && large.rows < 100_000 { Plan::Groups } else { plan };
                // A walk for each visibility.
                let walks = if viewer == user(large.above) && membership { 3 } else { 1 };
                let memberships = memberships * walks;
                let filter = Filter { order, ascending, membership, ..Filter::default() };
                let name = format!("{viewer:?} {plan:?} {order:?} {ascending} membership {membership}");
                see(name.clone(), memberships, projects::lists(&filter, viewer, &page_500, now, plan));
                let far = match order {
                    ProjectOrder::Id => Span::after(FIRST + large.rows / 2, 20),
                    ProjectOrder::Name | ProjectOrder::Path => {
                        Span { start: Start::After(Some("p5".to_owned().into()), 0), limit: 20 }
                    }
                    _ => far.clone(),
                };
                let deep = projects::lists(&filter, viewer, &far, now, plan);
                see(
                    format!("{name} keyset"),
                    memberships,
                    deep.into_iter().filter(|(which, _)| *which == "page").collect(),
                );
            }
        }
        for (order, descending) in GroupOrder::ALL.into_iter().flat_map(|order| [(order, true), (order, false)]) {
            let filter = namespaces::Filter { order, descending, ..namespaces::Filter::default() };
            let made = namespaces::lists(&filter, viewer, &page_500, now);
            see(format!("groups {viewer:?} {order:?} {descending}"), memberships, made);
        }
        for (active, blocked, external) in
            [(false, false, false), (true, false, false), (false, true, false), (false, false, true)]
        {
            let filter = users::Filter { active, blocked, external, ..users::Filter::default() };
            let made = users::lists(&filter, viewer, &page_500);
            see(format!("users {viewer:?} {filter:?}"), 0, made);
        }
    }
    // Those of one user in another order than that of their numbers are read, all of them, and sorted.
    let own = large.rows / 100;
    for (order, ascending) in TokenOrder::ALL.into_iter().flat_map(|order| [(order, true), (order, false)]) {
        for (user, revoked, state) in [
            (None, None, None),
            (Some(large.many), None, None),
            (None, Some(false), None),
            (Some(large.many), None, Some((TokenState::Active, now))),
            (Some(large.many), None, Some((TokenState::Inactive, now))),
        ] {
            let filter =
                personal_access_tokens::Filter { user, revoked, state, order, ascending, ..Default::default() };
            // A family is looked up for each token that is counted.
            let families = if revoked.is_some() { 3_500 } else { 0 };
            let sorted = if user.is_some() && order != TokenOrder::Id { own } else { 0 };
            let made = personal_access_tokens::lists(&filter, &page_500);
            for (which, statement) in made {
                let memberships = if which == "count" { families } else { sorted / 5 };
                see(format!("tokens {filter:?}"), memberships, vec![(which, statement)]);
            }
        }
    }
    for entity in
        [None, Some((Entity::Project, None)), Some((Entity::Project, Some(1))), Some((Entity::Instance, None))]
    {
        for (bits, newest_first) in (0..4).flat_map(|bits| [(bits, true), (bits, false)]) {
            let [after, before] =
                [(1, 30_000), (2, 90_000)].map(|(bit, at)| (bits & bit != 0).then_some(Timestamp(at)));
            let filter = audit_events::Filter { entity, after, before };
            // Of a hundred lines one is not of the instance, and is passed over.
            see(format!("audit events {filter:?} {newest_first}"), 80, audit_events::lists(&filter, newest_first));
        }
    }
    let mut most = std::collections::BTreeMap::<String, (i64, String)>::new();
    for (name, rows, statement) in held {
        let Cost { plan, work } = cost(&mut reader, &statement).await.expect("an answer");
        let limit = if postgres { rows } else { rows * STEPS };
        assert!(work <= limit, "{name}: {work} of {limit}\n{}\n{}", statement.text, plan.join("\n"));
        // All tokens are counted, as all users are, in the order of the table.
        if !name.contains("users") && !name.contains("tokens Filter { user: None") {
            let whole = ["SCAN p", "SCAN n", "SCAN m", "SCAN f", "Seq Scan"].map(|scan| scan.to_owned());
            let scans = |line: &&String| {
                whole.iter().any(|scan| {
                    line.trim() == scan
                        || line.starts_with(&format!("{scan} "))
                        || (postgres && line.contains(scan.as_str()))
                })
            };
            assert_eq!(plan.iter().find(scans), None, "{name}\n{}\n{}", statement.text, plan.join("\n"));
        }
        let which = name.split(' ').next_back().unwrap_or_default().to_owned()
            + if name.contains("Walk") { " by walking" } else { "" };
        let now = most.entry(which).or_default();
        if work * 1000 / limit > now.0 {
            *now = (work * 1000 / limit, format!("{name}: {work} of {limit}"));
        }
    }
    if std::env::var("TOLLHOUSE_LIST_ROWS").is_ok() {
        eprintln!("{most:#?}");
    }
}

/// Steps of SQLite's virtual machine for each row that is visited and perhaps shown.
const STEPS: i64 = 25;

async fn pages_by_keyset_and_by_offset_are_the_same(t: TestServer) {
    let large = Large::of(&t).await;
    let mut reader = t.app.db.read().await.expect("a reader");
    for (viewer, membership) in [(user(large.many), true), (user(large.one), false), (Viewer::Anonymous, false)] {
        for ascending in [true, false] {
            let filter = Filter { order: ProjectOrder::CreatedAt, ascending, membership, ..Filter::default() };
            let now = t.now();
            let whole =
                projects::after(&mut reader, &filter, viewer, &Span::offset(130, 7), now).await.expect("a page");
            let ids = |rows: &[projects::Seen]| rows.iter().map(|seen| seen.project.id.0).collect::<Vec<_>>();
            assert!(whole.len() > 50, "{}", whole.len());
            let mut last = &whole[0];
            for chunk in whole[1..].chunks(20) {
                let key = Some(last.project.created_at.0.into());
                let span = Span { start: Start::After(key, last.project.id.0), limit: chunk.len() as i64 };
                let page = projects::after(&mut reader, &filter, viewer, &span, now).await.expect("a page");
                assert_eq!(ids(&page), ids(chunk));
                last = &chunk[chunk.len() - 1];
            }
        }
    }
}

async fn both_plans_show_the_same(t: TestServer) {
    let large = Large::of(&t).await;
    let mut reader = t.app.db.read().await.expect("a reader");
    let now = t.now();
    for viewer in [user(large.many), user(large.one), user(large.above), Viewer::Administrator { id: large.one }] {
        for bits in 0..16 {
            let flag = |bit: usize| bits & (1 << bit) != 0;
            let filter = Filter {
                membership: flag(0),
                owned: flag(1),
                archived: flag(2).then_some(true),
                visibility: flag(3).then_some(Visibility::Internal),
                order: ProjectOrder::Path,
                ..Filter::default()
            };
            let mut pages = Vec::new();
            // Known or not, and whichever way they are found: the number of memberships decides about nothing else.
            for memberships in [None, Some(1), Some(100_000)] {
                let filter = Filter { memberships, ..filter.clone() };
                let page =
                    projects::after(&mut reader, &filter, viewer, &Span::offset(50, 0), now).await.expect("a page");
                pages.push(page.iter().map(|seen| (seen.project.id.0, seen.membership.group)).collect::<Vec<_>>());
            }
            assert_eq!(pages[0], pages[1], "{viewer:?} {filter:?}");
            assert_eq!(pages[0], pages[2], "{viewer:?} {filter:?}");
        }
    }
}

async fn ten_thousand_lists_are_few_texts(t: TestServer) {
    let mut reader = t.app.db.read().await.expect("a reader");
    let (mut texts, mut kept) = (BTreeSet::new(), 0);
    let viewer = user(UserId(7));
    for n in 0..10_000_i64 {
        let filter = Filter {
            search: (n % 2 == 0).then(|| format!("text {n}")),
            min_access_level: (n % 3 == 0).then_some(n % 50),
            id_after: (n % 5 == 0).then_some(n),
            visibility: Visibility::ALL.get((n % 4) as usize).copied(),
            order: ProjectOrder::ALL[(n % 6) as usize],
            ascending: n % 7 == 0,
            ..Filter::default()
        };
        let span = Span::offset(n % 100 + 1, if n % 11 == 0 { n } else { 0 });
        for (_, statement) in projects::lists(&filter, viewer, &span, Timestamp(n), Plan::Groups) {
            if texts.insert(statement.text.clone()) || n % 20 == 0 {
                let _: Option<i64> = statement.query().optional(&mut reader).await.expect("an answer");
            }
        }
        if t.app.db.is_postgres() && n % 1000 == 0 {
            let known: i64 =
                query("SELECT count(*) FROM pg_prepared_statements").one(&mut reader).await.expect("a count");
            kept = kept.max(known);
        }
    }
    // Texts have neither what was searched for nor a number of a row, and only four sizes of a page.
    assert!((200..3000).contains(&texts.len()), "{}", texts.len());
    assert!(kept <= 260, "{kept}");
}

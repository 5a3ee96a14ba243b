//! The matrix: every route with every kind of credential, in every state of the credential and of its owner, against a rule
//! that stands here and in `routes.txt` (decision 0041).

use std::time::Instant;

use futures_util::StreamExt;
use tollhouse::routes::table;

use crate::test_server::TestServer;

mod asking;
mod cast;
mod flips;
mod gateway;
mod levels;
mod lines;
mod rows;
mod rule;
mod waiting;

use cast::Cast;
use flips::every_flip_of_an_access_requirement_is_noticed;
use levels::Levels;
use lines::{Line, Request, Rule, Who};
use rows::{Row, Rows, Shown, faulty};
use rule::Answer;

cases![
    every_route_answers_every_credential_as_expected with "gateway.peers = ['127.0.0.1']",
    every_route_is_in_the_matrix_or_in_the_list,
    every_flip_of_an_access_requirement_is_noticed with "gateway.peers = ['127.0.0.1']",
    garbled_answers_are_noticed_on_every_route with "gateway.peers = ['127.0.0.1']",
];

/// Routes that are served beside the table of endpoints.
const BESIDE: [&str; 3] = ["GET /-/auth", "GET /-/metrics", "GET /metrics"];

const UNCOVERED: &str = include_str!("uncovered.tsv");

/// Rows that are under way at once.
const AT_ONCE: usize = 16;

pub(crate) struct Matrix {
    lines: Vec<Line>,
    rows: Rows,
    cast: Cast,
    levels: Levels,
}

impl Matrix {
    async fn new(t: &TestServer) -> Self {
        let levels = Levels::new(t).await;
        let (lines, rows, cast) = (lines::all(), Rows::new(), Cast::new(t, &levels.groups[..1]).await);
        cast.make(t, rows.credentials().chain([waiting::REVOKED])).await;
        let rules = gateway::rules(&cast.client.uid, None);
        t.app.gateway.replace(&rules, "rules.toml", &t.app.db).await.expect("rules");
        super::agreement::settled(t).await;
        Self { lines, rows, cast, levels }
    }

    /// Every row of a line: how many were asked, and what was answered otherwise than expected. `first`: until one is.
    async fn check(&self, t: &TestServer, line: &Line, first: bool) -> (usize, Vec<String>) {
        let (mut count, mut wrong) = (0, Vec::new());
        let rows = self.rows.of(line).into_iter().map(|row| (row, None, rule::expected(line, &row)));
        let parameters = line.api().and_then(|api| Some((api, &api.faulty.as_ref()?.0)));
        let faulty = parameters.into_iter().flat_map(|(api, request)| {
            let expected = move |row| (row, Some(request), rule::expected_of_faulty(api, &row, line.reads()));
            faulty().into_iter().map(expected)
        });
        let asking = rows.chain(faulty).map(async |(row, more, expected): (Row, Option<&Request>, Answer)| {
            let reply = self.ask(t, line, &row, more).await;
            expected.check(&reply, row.head).map_err(|why| format!("{}, {row:?}, {more:?}: {why}", line.name))
        });
        let mut answers = futures_util::stream::iter(asking).buffer_unordered(AT_ONCE);
        while let Some(answer) = answers.next().await {
            count += 1;
            wrong.extend(answer.err());
            if first && !wrong.is_empty() {
                return (count, wrong);
            }
        }
        drop(answers);
        for (more, others) in [self.levels(t, line).await, self.waiting(t, line).await] {
            count += more;
            wrong.extend(others);
        }
        (count, wrong)
    }
}

async fn every_route_answers_every_credential_as_expected(t: TestServer) {
    let began = Instant::now();
    let matrix = Matrix::new(&t).await;
    let (mut count, mut total, mut wrong) = (0, 0, Vec::new());
    for line in &matrix.lines {
        let anonymous = line.api().is_some_and(|api| matches!(api.who, Who::Anyone | Who::SignedInElse(_)));
        assert!(!anonymous || line.reads(), "{}: anonymous callers may write", line.name);
        let (rows, others) = matrix.check(&t, line, false).await;
        count += rows;
        total += others.len();
        // One mistake is often seen by hundreds of rows.
        wrong.extend(others.into_iter().take(3));
    }
    let (lines, seconds) = (matrix.lines.len(), began.elapsed().as_secs_f64());
    let database = if t.app.db.is_postgres() { "PostgreSQL" } else { "SQLite" };
    println!("matrix: {count} rows of {lines} lines on {database}, {total} wrong, in {seconds:.1} s");
    assert!(
        wrong.is_empty(),
        "{total} of {count} rows are answered otherwise, at most three of each line:\n{}",
        wrong.join("\n")
    );
}

/// A route that is added has to stand in `routes.txt`, or in `uncovered.tsv` with the reason.
async fn every_route_is_in_the_matrix_or_in_the_list(_: TestServer) {
    let uncovered: Vec<&str> = UNCOVERED.lines().skip(1).filter_map(|line| line.split('\t').next()).collect();
    let reasons = UNCOVERED.lines().skip(1).all(|line| line.split('\t').nth(1).is_some_and(|reason| reason.len() > 10));
    assert!(reasons, "each line of uncovered.tsv has its reason");
    let lines = lines::all();
    let served = table().into_iter().map(|endpoint| format!("{} {}", endpoint.method, endpoint.path));
    let served: Vec<String> = served.chain(BESIDE.map(str::to_owned)).collect();
    for route in &served {
        let covered = lines.iter().filter(|line| line.name == *route).count();
        let listed = uncovered.iter().filter(|known| *known == route).count();
        let gateway = lines.iter().any(|line| line.name == *route && matches!(line.rule, Rule::Gateway(..)));
        assert!(covered > 0 || listed > 0, "{route} needs a line in matrix/routes.txt: what it answers to whom");
        assert!(covered == 0 || listed == 0, "{route} is in matrix/routes.txt and in matrix/uncovered.tsv");
        assert!(covered + listed == 1 || gateway, "{route} has more than one line");
    }
    let gateway = |line: &&Line| !matches!(line.rule, Rule::Gateway(..));
    let named = lines.iter().filter(gateway).map(|line| line.name.as_str()).chain(uncovered.iter().copied());
    for name in named {
        assert!(served.iter().any(|route| route == name), "{name} is no route");
    }
}

/// What is answered otherwise is noticed whatever the route.
async fn garbled_answers_are_noticed_on_every_route(t: TestServer) {
    let matrix = Matrix::new(&t).await;
    t.app.faults.garble_all();
    for line in &matrix.lines {
        let rows = matrix.rows.of(line);
        let row = rows.iter().find(|row| matches!(row.shown, Shown::Nothing)).expect("a row");
        let reply = matrix.ask(&t, line, row, None).await;
        rule::expected(line, row).check(&reply, row.head).expect_err(&line.name);
    }
}

//! Each field of each access requirement, changed in memory, and the rows of that route asked again: something must be
//! answered otherwise than expected. What is never noticed is either a hole in the matrix, or a requirement without effect;
//! `flips_without_effect.tsv` names those with the reason.

use std::sync::Arc;
use std::time::Instant;

use tollhouse::endpoint::flips::Flip;
use tollhouse::http_service::HttpService;
use tollhouse::routes::table;
use tollhouse_domain::secret::random;

use super::Matrix;
use super::gateway::{self, Keys};
use super::lines::{Line, Rule};
use crate::simulation::randomness::Randomness;
use crate::test_server::TestServer;

const WITHOUT_EFFECT: &str = include_str!("flips_without_effect.tsv");

/// How many are taken at random unless all are asked for.
const SAMPLE: usize = 20;

/// `TOLLHOUSE_FLIPS=all` takes all of them, and a part of a name those with this part. `TOLLHOUSE_FLIPS_SEED=n` says which
/// are taken otherwise.
pub async fn every_flip_of_an_access_requirement_is_noticed(t: TestServer) {
    let began = Instant::now();
    let matrix = Matrix::new(&t).await;
    let all: Vec<(&Line, Change)> = matrix.lines.iter().flat_map(changes).collect();
    let (flips, which) = match std::env::var("TOLLHOUSE_FLIPS").as_deref() {
        Ok("all") => (all.clone(), "all".to_owned()),
        Ok(part) => {
            let of = |(line, change): &&(&Line, Change)| format!("{}: {}", line.name, change.name()).contains(part);
            (all.iter().filter(of).copied().collect(), part.to_owned())
        }
        Err(_) => {
            let seed = std::env::var("TOLLHOUSE_FLIPS_SEED").ok();
            let seed =
                seed.map_or_else(|| u64::from(u32::from_be_bytes(random())), |seed| seed.parse().expect("a number"));
            (sample(&all, seed), format!("seed {seed}"))
        }
    };
    let (mut noticed, mut explained, mut unnoticed) = (0, 0, Vec::new());
    for (line, change) in &flips {
        let name = format!("{}: {}", line.name, change.name());
        let seen = match *change {
            Change::Endpoint(flip) => is_noticed(&matrix, &t, line, flip).await,
            Change::Rule(rule, keys) => {
                follow(&matrix, &t, Some((rule, keys))).await;
                let (_, wrong) = matrix.check(&t, line, true).await;
                follow(&matrix, &t, None).await;
                !wrong.is_empty()
            }
        };
        match (seen, is_listed(&line.name, &change.name())) {
            (true, false) => noticed += 1,
            (false, true) => explained += 1,
            (false, false) => unnoticed.push(name),
            (true, true) => unnoticed.push(format!("{name} (it is noticed, though flips_without_effect.tsv lists it)")),
        }
    }
    let database = if t.app.db.is_postgres() { "PostgreSQL" } else { "SQLite" };
    let (taken, of, failed, seconds) = (flips.len(), all.len(), unnoticed.len(), began.elapsed().as_secs_f64());
    println!(
        "flips: {taken} of {of} on {database} ({which}), {noticed} noticed, {explained} without effect, {failed} \
         unnoticed, in {seconds:.1} s"
    );
    assert!(unnoticed.is_empty(), "{which}; nothing notices these:\n{}", unnoticed.join("\n"));
    let names: Vec<(String, String)> = all.iter().map(|(line, change)| (line.name.clone(), change.name())).collect();
    for (route, flip) in listed() {
        let known = names.iter().any(|(name, known)| known == flip && (name == route || route == "*"));
        assert!(known, "flips_without_effect.tsv: {route} has no flip {flip}");
    }
}

/// What is changed.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A field of what an endpoint requires.
    Endpoint(Flip),
    /// A key of a rule of the gateway.
    Rule(&'static str, Keys),
}

impl Change {
    fn name(&self) -> String {
        match self {
            Self::Endpoint(flip) => flip.to_string(),
            Self::Rule(rule, keys) => format!("rule {rule} with {keys:?}"),
        }
    }
}

/// The changes of what a line is about.
fn changes(line: &Line) -> Vec<(&Line, Change)> {
    let all: Vec<Change> = match line.rule {
        Rule::Gateway(rule, _) => gateway::flips(rule).into_iter().map(|keys| Change::Rule(rule, keys)).collect(),
        Rule::Api(_) | Rule::Page(_) | Rule::Oauth(_) | Rule::Open(_) => {
            let mut endpoints = table();
            endpoints.retain(|endpoint| format!("{} {}", endpoint.method, endpoint.path) == line.name);
            endpoints.iter().flat_map(|endpoint| endpoint.flips()).map(Change::Endpoint).collect()
        }
    };
    all.into_iter().map(|change| (line, change)).collect()
}

/// From now on the gateway has these rules.
async fn follow(matrix: &Matrix, t: &TestServer, changed: Option<(&str, Keys)>) {
    let rules = gateway::rules(&matrix.cast.client.uid, changed);
    t.app.gateway.replace(&rules, "rules.toml", &t.app.db).await.expect("rules");
}

/// Asks a second server on the same database, which differs in this one field.
async fn is_noticed(matrix: &Matrix, t: &TestServer, line: &Line, flip: Flip) -> bool {
    let mut endpoints = table();
    let named = endpoints.iter_mut().find(|endpoint| format!("{} {}", endpoint.method, endpoint.path) == line.name);
    named.expect("an endpoint").flip(flip);
    let mut flipped = t.clone();
    flipped.service = Arc::new(HttpService::new(t.app.clone(), endpoints));
    let (_, wrong) = matrix.check(&flipped, line, true).await;
    !wrong.is_empty()
}

fn sample<T: Copy>(all: &[T], seed: u64) -> Vec<T> {
    let (mut left, mut randomness) = (all.to_vec(), Randomness::of(seed));
    let mut taken = Vec::new();
    while taken.len() < SAMPLE && !left.is_empty() {
        taken.push(left.swap_remove(randomness.below(left.len() as u64) as usize));
    }
    taken
}

fn listed() -> impl Iterator<Item = (&'static str, &'static str)> {
    WITHOUT_EFFECT.lines().skip(1).map(|line| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [route, flip, reason] = columns[..] else { panic!("flips_without_effect.tsv: {line}") };
        assert!(reason.len() > 10, "flips_without_effect.tsv: {line} has no reason");
        (route, flip)
    })
}

fn is_listed(route: &str, flip: &str) -> bool {
    listed().any(|(name, known)| known == flip && (name == route || name == "*"))
}

//! The simulation that `docs/protocols/revocation.md` section 9 asks for: one seed is one line in a bug report.

mod database;
mod history;
mod model;
mod network;
pub mod randomness;
mod store;

use std::time::Duration;

use tollhouse_domain::faults::Mutant;
use tollhouse_domain::user::User;

use crate::test_server::TestServer;
use database::Database;
use network::{OWNERS, SimulatedNetwork, Theme};
use store::Store;

cases![
    the_checker_finds_bad_histories,
    a_seed_is_the_whole_story,
    simulation_of_many_nodes,
    simulation_finds_every_mistake,
    simulation_on_a_real_database,
];

/// Steps of one seed: three seasons.
const STEPS: u64 = 6_000;

async fn the_checker_finds_bad_histories(t: TestServer) {
    drop(t);
    history::bad_histories();
}

/// The same seed is the same run, step by step; else it would be no bug report.
async fn a_seed_is_the_whole_story(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let who = somebody(&t).await;
    apart(move || {
        for seed in [3, 8, 21] {
            let told = |network: SimulatedNetwork| (network.steps, network.outcome());
            let [one, two] = [(); 2].map(|()| told(visit(seed, None, Database::memory(&who))));
            assert_eq!(one, two, "seed {seed}");
        }
    });
}

async fn somebody(t: &TestServer) -> User {
    let ada = t.user("ada").await;
    let mut reader = t.app.db.read().await.expect("a reader");
    tollhouse_store::users::find(&mut reader, ada.id).await.expect("an answer").expect("ada")
}

/// On a thread of its own: inside a task of a runtime, its futures would be told to pause for the sake of others, and
/// nobody would come back to them.
fn apart<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(what).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// What came of many worlds.
#[derive(Default)]
struct Sum {
    seeds: u64,
    steps: u64,
    accepted: u64,
    refused: u64,
    acknowledged: u64,
    longest: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, network: &SimulatedNetwork) {
        assert!(
            network.found.is_none(),
            "seed {seed}, step {}: {}\n{}",
            network.steps,
            network.found.as_deref().unwrap_or_default(),
            again(seed)
        );
        self.seeds += 1;
        self.steps += network.steps;
        self.accepted += network.history.accepted;
        self.refused += network.history.refused;
        self.acknowledged += network.history.acknowledged;
        self.longest = self.longest.max(network.longest);
    }

    fn tell(&self, of: &str, first: u64) {
        println!(
            "simulation {of}: seeds {first} to {}, {} steps: {} checks accepted, {} refused, {} changes acknowledged, the \
             longest after {:?}; nothing found",
            first + self.seeds - 1,
            self.steps,
            self.accepted,
            self.refused,
            self.acknowledged,
            Duration::from_nanos(self.longest),
        );
        // A run in which nothing happens is no test.
        assert!(
            self.accepted > self.steps / 20 && self.refused > self.steps / 50 && self.acknowledged > self.steps / 200
        );
    }
}

/// A million steps, or as many as `TOLLHOUSE_SIMULATION_STEPS` says; `TOLLHOUSE_SIMULATION_SEED` begins elsewhere.
async fn simulation_of_many_nodes(t: TestServer) {
    // It has a database of its own.
    if t.app.db.is_postgres() {
        return;
    }
    let wanted = number("TOLLHOUSE_SIMULATION_STEPS").unwrap_or(1_000_000);
    let first = number("TOLLHOUSE_SIMULATION_SEED").unwrap_or(1);
    let who = somebody(&t).await;
    apart(move || {
        let mut sum = Sum::default();
        while sum.steps < wanted {
            let seed = first + sum.seeds;
            let network = visit(seed, None, Database::memory(&who));
            sum.add(seed, &network);
        }
        sum.tell("of many nodes", first);
    });
}

/// Each mistake by itself, until it is found.
async fn simulation_finds_every_mistake(t: TestServer) {
    if t.app.db.is_postgres() {
        return;
    }
    let who = somebody(&t).await;
    let only = std::env::var("TOLLHOUSE_MUTANT").ok();
    let wanted = Mutant::ALL.iter().filter(|mutant| only.as_deref().is_none_or(|code| code == mutant.code()));
    let wanted: Vec<Mutant> = wanted.copied().collect();
    assert!(!wanted.is_empty(), "TOLLHOUSE_MUTANT names no mistake: {only:?}");
    let unfound = apart(move || {
        let mut database = Database::memory(&who);
        let mut unfound = Vec::new();
        for mutant in wanted {
            database = hunt(mutant, SEEDS, database).unwrap_or_else(|database| {
                unfound.push(mutant.code());
                database
            });
        }
        unfound
    });
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}

/// Tries seed after seed: first those that begin with what the mistake does not stand.
fn hunt(mutant: Mutant, seeds: u64, mut database: Database) -> Result<Database, Database> {
    let (suiting, others): (Vec<u64>, Vec<u64>) =
        (1..=seeds).partition(|seed| suits(mutant).contains(&Theme::first(*seed, &database)));
    let whole = number("TOLLHOUSE_SIMULATION_TELL").is_some();
    let mut steps = 0;
    for seed in suiting.into_iter().chain(others) {
        let mut network = visit(seed, Some(mutant), database);
        steps += network.steps;
        let found = network.found.take().filter(|what| what.contains(shown_by(mutant)));
        let step = network.steps;
        database = network.into_database();
        let Some(what) = found else { continue };
        // It was the mistake: without it nothing is found in the same run.
        let right = visit(seed, None, database);
        assert!(right.found.is_none(), "seed {seed}, and no {}: {:?}", mutant.code(), right.found);
        let what = if whole { &what } else { what.lines().next().unwrap_or_default() };
        println!("simulation: {} found by seed {seed}, step {step}, after {steps} steps: {what}", mutant.code());
        return Ok(right.into_database());
    }
    Err(database)
}

/// What a mistake leads to. Another finding may be anything.
fn shown_by(mutant: Mutant) -> &'static str {
    match mutant {
        Mutant::ConnectionKept => " ms though all are well",
        _ => "after an acknowledged ",
    }
}

/// Whatever ends it, it is known which seed it was.
fn visit(seed: u64, mutant: Option<Mutant>, database: Database) -> SimulatedNetwork {
    struct Told(u64);
    impl Drop for Told {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("simulation: seed {} panicked; {}", self.0, again(self.0));
            }
        }
    }
    let _told = Told(seed);
    let mut network = SimulatedNetwork::new(seed, mutant, database);
    network.run(STEPS);
    network
}

/// The command that repeats one run.
fn again(seed: u64) -> String {
    format!(
        "again: TOLLHOUSE_SIMULATION_SEED={seed} TOLLHOUSE_SIMULATION_STEPS=1 cargo test -p tollhouse --test it -- \
         simulation_of_many_nodes"
    )
}

/// Every seed can find every mistake; these are quick.
fn suits(mutant: Mutant) -> &'static [Theme] {
    match mutant {
        Mutant::NoFillGuard | Mutant::UnguardedJoin | Mutant::SeenBeforeApply => &[Theme::LateAnswers],
        Mutant::GuardByPosition => &[Theme::Rewind],
        Mutant::Sequence | Mutant::EntryBefore => &[Theme::Pairs],
        Mutant::ConnectionKept => &[Theme::Calm],
        Mutant::MarkOfEntryIgnored => &[Theme::Restore, Theme::Rewind],
        Mutant::UnconditionalSeen => &[Theme::LateWord],
        Mutant::MarkCleared | Mutant::RowRemovedAtOnce | Mutant::RowRemovedBySomebodyLate => &[Theme::Comeback],
        Mutant::LeaseFromReply => &[Theme::LateReply],
        Mutant::LeaseBeforeRegistration | Mutant::RowRemovedBeforeLease => &[Theme::Joins],
        Mutant::NoLeaseCheck | Mutant::CachedClock | Mutant::OwnRowNotChecked => {
            &[Theme::Laggard, Theme::Comeback, Theme::Stops]
        }
        Mutant::ReplicaLookup
        | Mutant::ApplicationCreatedUnmarked
        | Mutant::ApplicationDeletedUnmarked
        | Mutant::ApplicationNarrowedUnmarked
        | Mutant::SelectedRevokedUnmarked
        | Mutant::SecretRenewedUnmarked
        | Mutant::GroupLeftUnmarked
        | Mutant::GroupMovedUnmarked
        | Mutant::DeployTokenUnmarked
        | Mutant::JobTokenUnmarked
        | Mutant::EntryAfter
        | Mutant::NoEntry
        | Mutant::NoWait
        | Mutant::TimerBeforeCommit
        | Mutant::RepeatWithoutWait => &[Theme::Mixed, Theme::Cuts],
    }
}

const SEEDS: u64 = 300;

/// The same nodes on the store, SQLite and PostgreSQL, every statement at its moment.
async fn simulation_on_a_real_database(t: TestServer) {
    let url = t.url();
    // Its own node would be one more, by another clock.
    t.leave().await;
    // PostgreSQL takes ten times as long.
    let (name, steps) = if t.app.db.is_postgres() { ("on PostgreSQL", 5_500) } else { ("on SQLite", 50_000) };
    let steps = number("TOLLHOUSE_SIMULATION_STEPS").unwrap_or(steps);
    let first = number("TOLLHOUSE_SIMULATION_SEED").unwrap_or(1);
    apart(move || {
        let mut database = Database::Store(Box::new(Store::open(&url, OWNERS)));
        let mut sum = Sum::default();
        while sum.steps < steps {
            let seed = first + sum.seeds;
            let mut network = SimulatedNetwork::new(seed, None, database);
            network.run(STEPS_OF_A_STORE);
            sum.add(seed, &network);
            database = network.into_database();
        }
        sum.tell(name, first);
        for mutant in
            [Mutant::NoWait, Mutant::NoLeaseCheck, Mutant::NoFillGuard, Mutant::SeenBeforeApply, Mutant::NoEntry]
        {
            database = hunt(mutant, SEEDS, database).unwrap_or_else(|_| panic!("not found: {}", mutant.code()));
        }
    });
}

/// So that the themes all come by.
const STEPS_OF_A_STORE: u64 = 500;

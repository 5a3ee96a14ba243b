//! The simulation that `docs/protocols/revocation.md` section 9 asks for: one seed is one line in a bug report.

mod chance;
mod database;
mod history;
mod model;
mod store;
mod world;

use std::time::Duration;

use tollhouse_domain::faults::Mutant;
use tollhouse_domain::user::User;

use crate::town::Town;
use database::Database;
use store::Store;
use world::{OWNERS, Theme, World};

cases![
    the_checker_finds_bad_histories,
    simulation_of_many_nodes,
    simulation_finds_every_mistake,
    simulation_on_a_real_database,
];

/// Steps of one seed: three seasons.
const STEPS: u64 = 6_000;

async fn the_checker_finds_bad_histories(t: Town) {
    drop(t);
    history::bad_histories();
}

async fn somebody(t: &Town) -> User {
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
    fn add(&mut self, seed: u64, world: &World) {
        assert!(
            world.found.is_none(),
            "seed {seed}, step {}: {}",
            world.steps,
            world.found.as_deref().unwrap_or_default()
        );
        self.seeds += 1;
        self.steps += world.steps;
        self.accepted += world.history.accepted;
        self.refused += world.history.refused;
        self.acknowledged += world.history.acknowledged;
        self.longest = self.longest.max(world.longest);
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
        // A world where nothing happens is no test.
        assert!(
            self.accepted > self.steps / 20 && self.refused > self.steps / 50 && self.acknowledged > self.steps / 200
        );
    }
}

/// A million steps, or as many as `TOLLHOUSE_SIMULATION_STEPS` says; `TOLLHOUSE_SIMULATION_SEED` begins elsewhere.
async fn simulation_of_many_nodes(t: Town) {
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
            let mut world = World::new(seed, None, Database::memory(&who));
            world.run(STEPS);
            sum.add(seed, &world);
        }
        sum.tell("of many nodes", first);
    });
}

/// Each mistake by itself, until it is found.
async fn simulation_finds_every_mistake(t: Town) {
    if t.app.db.is_postgres() {
        return;
    }
    let who = somebody(&t).await;
    let only = std::env::var("TOLLHOUSE_MUTANT").ok();
    let wanted = Mutant::ALL.iter().filter(|mutant| only.as_deref().is_none_or(|code| code == mutant.code()));
    let wanted: Vec<Mutant> = wanted.copied().collect();
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
    let mut steps = 0;
    for seed in suiting.into_iter().chain(others) {
        let mut world = World::new(seed, Some(mutant), database);
        world.run(STEPS);
        steps += world.steps;
        let found = world.found.take();
        if let Some(what) = found {
            let whole = number("TOLLHOUSE_SIMULATION_TELL").is_some();
            let what = if whole { &what } else { what.lines().next().unwrap_or_default() };
            println!(
                "simulation: {} found by seed {seed}, step {}, after {steps} steps: {what}",
                mutant.code(),
                world.steps
            );
            return Ok(world.into_database());
        }
        database = world.into_database();
    }
    Err(database)
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
        | Mutant::EntryAfter
        | Mutant::NoEntry
        | Mutant::NoWait
        | Mutant::TimerBeforeCommit
        | Mutant::RepeatWithoutWait => &[Theme::Mixed, Theme::Cuts],
    }
}

const SEEDS: u64 = 300;

/// The same nodes on the store, SQLite and PostgreSQL, every statement at its moment.
async fn simulation_on_a_real_database(t: Town) {
    let url = t.url();
    // Its own node would be one more, by another clock.
    t.leave().await;
    let name = if t.app.db.is_postgres() { "on PostgreSQL" } else { "on SQLite" };
    let steps = number("TOLLHOUSE_SIMULATION_STEPS").unwrap_or(5_500).min(200_000);
    let first = number("TOLLHOUSE_SIMULATION_SEED").unwrap_or(1);
    apart(move || {
        let mut database = Database::Store(Box::new(Store::open(&url, OWNERS)));
        let mut sum = Sum::default();
        while sum.steps < steps {
            let seed = first + sum.seeds;
            let mut world = World::new(seed, None, database);
            world.run(STEPS_OF_A_STORE);
            sum.add(seed, &world);
            database = world.into_database();
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

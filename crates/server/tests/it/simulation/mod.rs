//! The simulation that `docs/protocols/revocation.md` section 9 asks for: one seed is one line in a bug report.

mod history;
mod model;
mod world;

use std::time::Duration;

use tollhouse_domain::faults::Mutant;
use tollhouse_domain::user::User;

use crate::town::Town;
use world::World;

cases![the_checker_finds_bad_histories, simulation_of_many_nodes, simulation_finds_every_mistake,];

/// Steps of one seed.
const STEPS: u64 = 4_000;

async fn the_checker_finds_bad_histories(t: Town) {
    drop(t);
    history::bad_histories();
}

async fn somebody(t: &Town) -> User {
    let ada = t.user("ada").await;
    let mut reader = t.app.db.read().await.expect("a reader");
    tollhouse_store::users::find(&mut reader, ada.id).await.expect("an answer").expect("ada")
}

/// A million steps, or as many as `TOLLHOUSE_SIMULATION_STEPS` says; `TOLLHOUSE_SIMULATION_SEED` begins elsewhere.
async fn simulation_of_many_nodes(t: Town) {
    // It has a database of its own.
    if t.app.db.is_postgres() {
        return;
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let wanted = number("TOLLHOUSE_SIMULATION_STEPS").unwrap_or(1_000_000);
    let first = number("TOLLHOUSE_SIMULATION_SEED").unwrap_or(1);
    let who = somebody(&t).await;
    let (mut steps, mut seed, mut accepted, mut refused, mut acknowledged, mut longest) = (0, first, 0, 0, 0, 0);
    while steps < wanted {
        let mut world = World::new(seed, None, who.clone());
        world.run(STEPS);
        assert!(world.found.is_none(), "seed {seed}, step {}: {}", world.steps, world.found.unwrap_or_default());
        steps += world.steps;
        accepted += world.history.accepted;
        refused += world.history.refused;
        acknowledged += world.history.acknowledged;
        longest = longest.max(world.longest);
        seed += 1;
    }
    println!(
        "simulation: seeds {first} to {}, {steps} steps: {accepted} checks accepted, {refused} refused, {acknowledged} \
         changes acknowledged, the longest after {:?}; nothing found",
        seed - 1,
        Duration::from_nanos(longest),
    );
    assert!(accepted > steps / 20 && refused > steps / 50 && acknowledged > steps / 200);
}

/// Each mistake by itself, until it is found.
async fn simulation_finds_every_mistake(t: Town) {
    if t.app.db.is_postgres() {
        return;
    }
    let who = somebody(&t).await;
    let mut unfound = Vec::new();
    let only = std::env::var("TOLLHOUSE_MUTANT").ok();
    for mutant in Mutant::ALL.iter().filter(|mutant| only.as_deref().is_none_or(|code| code == mutant.code())) {
        let found = (1..=SEEDS).find_map(|seed| {
            let mut world = World::new(seed, Some(*mutant), who.clone());
            world.run(STEPS);
            let steps = (seed - 1) * STEPS + world.steps;
            world.found.map(|what| (steps, what))
        });
        match found {
            Some((steps, what)) => {
                println!(
                    "simulation: {} found after {steps} steps: {}",
                    mutant.code(),
                    what.lines().next().unwrap_or_default()
                );
            }
            None => unfound.push(mutant.code()),
        }
    }
    assert!(unfound.is_empty(), "not found: {unfound:?}");
}

const SEEDS: u64 = 200;

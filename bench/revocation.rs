//! How long a revocation takes until it is acknowledged, beside the bare commit of the same; and what a remembered
//! check costs a server that has others beside it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::check::{Dice, Line, Person};
use crate::{Server, median, spread};

const NODES: [usize; 3] = [1, 3, 10];
/// Revocations, and as many bare commits, for each number of servers.
const SAMPLES: usize = 400;
const WARM: usize = 20;
/// Checks of one round, by so many at once.
const CHECKS: usize = 100_000;
const CALLERS: usize = 4;
const ROUNDS: usize = 5;

/// With three servers, in milliseconds.
const MEDIAN: f64 = 50.0;
const WORST: f64 = 250.0;
/// To one server on SQLite.
const DEAREST: f64 = 1.10;

pub(crate) fn compare(folder: &Path, postgres: &str, strict: bool) -> Result<ExitCode> {
    let sqlite = format!("sqlite:{}", folder.join("tollhouse.db").display());
    let engines = [("SQLite", sqlite.as_str()), ("PostgreSQL", postgres)];
    let mut slow = false;
    let people = NODES.len() * 2 * (SAMPLES + WARM) + 1_000;
    println!(
        "{:<12}{:>8}{:>24}{:>24}{:>20}",
        "", "servers", "revoked: median, 99 %", "committed: median, 99 %", "medians"
    );
    let mut known = Vec::new();
    for (engine, database) in engines {
        crate::servers::fill(folder, database, people)?;
        let list = fs::read_to_string(folder.join("people"))?;
        let mut people: Vec<Person> = list.lines().map(Person::read).collect::<Option<_>>().context("people")?;
        for nodes in NODES {
            let tokens = people.split_off(people.len() - 2 * (SAMPLES + WARM));
            let (revoked, committed) = measure(folder, database, nodes, &tokens)?;
            let of = |times: &[f64]| format!("{:.1} ms, {:.1} ms", median(times), worst(times));
            let ratio = median(&revoked) / median(&committed);
            println!("{engine:<12}{nodes:>8}{:>24}{:>24}{ratio:>20.1}", of(&revoked), of(&committed));
            slow |= nodes == 3 && (median(&revoked) > MEDIAN || worst(&revoked) > WORST);
        }
        known.push(people);
    }
    println!("The aim with three servers: {MEDIAN} ms and {WORST} ms.");
    let dear = remembered(folder, engines.map(|(_, database)| database), &known)? > DEAREST;
    Ok(if strict && (slow || dear) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// In turn a revocation and a bare commit, by one server after the other, with random pauses. Milliseconds.
fn measure(folder: &Path, database: &str, nodes: usize, tokens: &[Person]) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut servers = start(folder, database, nodes)?;
    let (mut times, mut dice) = ([Vec::new(), Vec::new()], Dice(0x7011_4053));
    for (n, person) in tokens.iter().enumerate() {
        thread::sleep(Duration::from_micros(dice.below(30_000) as u64));
        let (which, how) = if n % 2 == 0 { (0, "timed") } else { (1, "commit") };
        let micros: f64 = servers[n / 2 % nodes].pipe.tell(&format!("{how} {}", person.token_id))?.parse()?;
        times[which].push(micros / 1_000.0);
    }
    servers.iter_mut().try_for_each(leave)?;
    // The first ones meet servers that are just starting.
    let [revoked, committed] = times.map(|mut of| of.split_off(WARM));
    Ok((revoked, committed))
}

fn start(folder: &Path, database: &str, nodes: usize) -> Result<Vec<Server>> {
    (0..nodes).map(|n| Server::start_with("tollhouse", folder, &[database], &format!("log-{n}"))).collect()
}

/// In order, so that nobody waits for it later.
fn leave(server: &mut Server) -> Result<()> {
    writeln!(server.pipe.0, "leave")?;
    ensure!(server.child.wait()?.success(), "a server did not leave in order");
    Ok(())
}

/// CPU per check of one server on SQLite, alone, and of one of three on PostgreSQL; the ratio.
fn remembered(folder: &Path, databases: [&str; 2], known: &[Vec<Person>]) -> Result<f64> {
    let mut alone = start(folder, databases[0], 1)?;
    let mut three = start(folder, databases[1], 3)?;
    let mut costs = [Vec::new(), Vec::new()];
    for round in 0..=ROUNDS {
        for place in 0..2 {
            let which = (round + place) % 2;
            let server = if which == 0 { &alone[0] } else { &three[0] };
            let before = server.cpu()?;
            ask(server, &known[which])?;
            let cost = (server.cpu()? - before) / CHECKS as f64;
            // The first round is where everybody is looked up.
            if round > 0 {
                costs[which].push(cost);
            }
        }
    }
    alone.iter_mut().chain(&mut three).try_for_each(leave)?;
    let ratio: Vec<f64> = costs[1].iter().zip(&costs[0]).map(|(three, alone)| three / alone).collect();
    let [alone, three] = costs.each_ref().map(|of| median(of));
    println!(
        "\nCPU per remembered check: one server on SQLite {alone:.1} µs, one of three on PostgreSQL {three:.1} µs; \
         {} to it (the aim is at most {DEAREST})",
        spread(&ratio)
    );
    Ok(median(&ratio))
}

fn ask(server: &Server, people: &[Person]) -> Result<()> {
    thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                scope.spawn(move || -> Result<()> {
                    let mut line = Line::to(server.address)?;
                    for n in 0..CHECKS / CALLERS {
                        let answer = line.ask(&people[(n * CALLERS + caller) % people.len()].token)?;
                        ensure!(answer.raw.get(9..12) == Some(b"200"), "a check was refused");
                    }
                    Ok(())
                })
            })
            .collect();
        callers.into_iter().try_for_each(|caller| caller.join().unwrap_or_else(|_| anyhow::bail!("a caller panicked")))
    })
}

/// 99 of 100 are at most this.
fn worst(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * 99).div_ceil(100) - 1]
}

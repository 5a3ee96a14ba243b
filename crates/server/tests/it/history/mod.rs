//! The history checker with real processes that `docs/protocols/revocation.md` 9.3 asks for: three servers on one
//! database, load on all of them over sockets, faults meanwhile, and every answer held against what had been
//! acknowledged.
//!
//! `TOLLHOUSE_HISTORY_SECONDS` makes it last longer, and says every minute how far it is.

mod chaos;
mod check;
mod load;
mod relay;
mod run;
mod wire;

use std::rc::Rc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};
use tollhouse_domain::access::Visibility;
use tollhouse_domain::scope::Scope;

use self::chaos::{Ambush, Fault};
use self::check::Story;
use self::run::{HistoryRun, Owner};
use self::wire::Line;
use crate::test_server::TestServer;

cases![
    history_checker_finds_bad_histories,
    history_of_three_servers,
    history_finds_a_missing_lease_check,
    history_finds_a_missing_wait,
    history_finds_a_repeat_that_does_not_wait,
];

async fn history_checker_finds_bad_histories(t: TestServer) {
    drop(t);
    check::bad_histories();
}

async fn history_of_three_servers(t: TestServer) {
    let seconds = std::env::var("TOLLHOUSE_HISTORY_SECONDS").ok().and_then(|text| text.parse::<u64>().ok());
    let sleeper = t.user("sleeper").await;
    let group = t.group("team", Visibility::Public).await;
    let warden = t.admin().await.token([Scope::Api]).await;
    let crowd = t.user("crowd").await;
    let registrar = t.user("registrar").await;
    let own = registrar.token([Scope::Api]).await;
    let run = HistoryRun::found(t, &[]).await;
    let engine = if run.command.db.is_postgres() { "postgres" } else { "sqlite" };
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds.unwrap_or_default());

    let faults = Fault::all(run.command.db.is_postgres());
    let (some, others): (Vec<_>, Vec<_>) = faults.iter().partition(|fault| (**fault as usize).is_multiple_of(2));
    let long = seconds.is_some();
    let chaos = async {
        tokio::join!(run.chaos(some, long), run.chaos(others, long));
    };
    let end = async {
        let mut minutes = 0;
        while !run.over.get() && Instant::now() < until {
            sleep(Duration::from_millis(250)).await;
            if began.elapsed().as_secs() / 60 > minutes {
                minutes += 1;
                println!("history on {engine}, {minutes} min: {}", sum(&run));
            }
        }
    };
    let over = async {
        match long {
            // The clock of the run ends what goes wrong, not the other way round.
            true => {
                let ending = async {
                    end.await;
                    run.over.set(true);
                };
                tokio::join!(ending, chaos);
            }
            false => chaos.await,
        }
        run.over.set(true);
    };
    let clients = async {
        let asking = (0..6).map(|n| run.ask_on(n % 3));
        let living = (0..5).map(|_| run.live());
        let applications = run.narrow_applications(registrar.id, &own);
        let together = run.revoke_together(crowd.id, &warden);
        tokio::join!(
            join_all(asking),
            join_all(living),
            run.narrow_and_widen(group.0, &warden),
            applications,
            together
        );
    };
    let sleepers = async {
        if long {
            let owner =
                Owner { id: sleeper.id, name: sleeper.name.clone(), status: Story::default(), ended: Story::default() };
            owner.status.acknowledge(owner.status.begin("made", true, 0), 0);
            let owner = Rc::new(owner);
            join_all((0..4).map(|_| run.sleep_over(&owner))).await;
        }
    };
    tokio::join!(over, clients, sleepers);
    run.in_peace().await;
    at_the_end(&run).await;

    println!("history on {engine}, {} s, done: {}", began.elapsed().as_secs(), sum(&run));
    let (operations, faults_seen) = (run.counts("operation: ").0, run.counts("fault: ").0);
    println!("history on {engine}: operations: {operations}\nhistory on {engine}: faults: {faults_seen}");
    let findings = run.findings.borrow();
    assert!(findings.is_empty(), "{} found, the first:\n{}", findings.len(), findings[0]);
    assert!(faults.iter().all(|fault| run.counted(&format!("fault: {fault:?}")) > 0), "{faults_seen}");
    // A run in which nothing happened finds nothing.
    let more = seconds.unwrap_or_default();
    let enough = [
        ("certain: accepted", 100 + 5 * more),
        ("certain: refused", 30 + more),
        ("use: accepted", 200 + 10 * more),
        ("ambush: asked the moment it woke", 1 + more / 60),
        ("operation: Personal Itself acknowledged", 1),
        ("operation: Personal Renewal acknowledged", 1),
        ("operation: Personal Command acknowledged", 1),
        ("operation: Personal Block acknowledged", 1),
        ("operation: Oauth Itself acknowledged", 1),
        ("operation: Oauth Renewal acknowledged", 1),
        ("operation: Oauth Replay acknowledged", 1),
        ("operation: Session Itself acknowledged", 1),
        ("operation: Bot Itself acknowledged", 1),
        ("operation: Group private acknowledged", 1),
        ("use: group private", 1),
        ("operation: Together acknowledged", 1),
        ("use: token that was revoked with others", 1),
        ("operation: Application narrowed acknowledged", 1),
        ("operation: Application deleted acknowledged", 1),
        ("use: token of an application that lost its scope", 1),
    ];
    for (what, least) in enough {
        assert!(run.counted(what) >= least, "only {} {what}; {operations}", run.counted(what));
    }
}

/// Everything that is still known is asked for once more at every server, when nothing happens any more.
async fn at_the_end(run: &HistoryRun) {
    let families = run.families.borrow().clone();
    for node in 0..run.servers.len() {
        let mut line = Line::default();
        for family in &families {
            let held = family.held.borrow().clone();
            for held in held {
                // All is well again, so there has to be an answer.
                let asked = Instant::now();
                while !run.check(&mut line, node, family, &held).await {
                    assert!(asked.elapsed() < Duration::from_secs(15), "node {node} gives no answer any more");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
        run.note_panics(node, run.servers[node].process.borrow().as_ref());
    }
}

fn sum(run: &HistoryRun) -> String {
    let ((uses, asked), (_, operations)) = (run.counts("use: "), run.counts("operation: "));
    let ((certain, _), (_, faults)) = (run.counts("certain: "), run.counts("fault: "));
    format!("{operations} operations, {asked} uses ({uses}; certain: {certain}), {faults} faults")
}

async fn history_finds_a_missing_lease_check(t: TestServer) {
    finds(t, "no_lease_check", Ambush::LONG).await;
}

async fn history_finds_a_missing_wait(t: TestServer) {
    finds(t, "no_wait", Ambush::SHORT).await;
}

async fn history_finds_a_repeat_that_does_not_wait(t: TestServer) {
    finds(t, "repeat_without_wait", Ambush::SHORT).await;
}

/// Three servers that have this mistake in them.
async fn finds(t: TestServer, mutant: &'static str, how: Ambush) {
    let run = HistoryRun::found(t, &[("TOLLHOUSE_MUTANT", mutant)]).await;
    // Randomness decides whether the server reads the log first when it wakes.
    for _ in 0..60 {
        run.ambush(run.node(), how).await;
        let findings = run.findings.borrow();
        if let Some(found) = findings.first() {
            assert!(found.starts_with("accepted after an acknowledged revocation"), "{found}");
            return;
        }
    }
    panic!("{mutant} was not found: {}", sum(&run));
}

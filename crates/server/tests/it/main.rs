//! The integration tests: each runs on SQLite and on PostgreSQL.
//!
//! A test whose name begins with an id of `docs/wire/cases.tsv` holds that case; one whose name begins with `t` and a
//! number holds that rule of `docs/protocols/threats.md`. With `TOLLHOUSE_GARBLE=1` every answer of the server is
//! garbled, and each test that holds a case must fail: a test that cannot fail is a defect. Where no answer of the server
//! is involved, or one would say too little, a mistake that breaks the very rule takes the place of garbling.

#![allow(clippy::print_stdout, clippy::print_stderr)] // it speaks to whoever runs it
#![allow(unreachable_pub)] // nobody reaches into a test

#[macro_use]
mod cases;
mod conformance;
mod contract;
mod gitlab;
mod history;
mod oauth;
mod postgres;
mod process;
mod simulation;
mod test_server;
mod watchdog;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use tollhouse_domain::faults::Mutant;

use crate::postgres::Postgres;
use crate::test_server::{Engine, TestServer, Wrong};

/// One test, as a function of a fresh server.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    /// Lines of settings it needs.
    pub settings: &'static str,
    /// What must make it fail; `None`: garbled answers.
    pub breaks: Option<Mutant>,
    pub run: fn(TestServer) -> std::pin::Pin<Box<dyn Future<Output = ()>>>,
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    let garbled = std::env::var("TOLLHOUSE_GARBLE").is_ok_and(|value| value == "1");
    let mut all = cases::all();
    let names: Vec<&str> = all.iter().map(|case| case.name).collect();
    if let Err(text) = conformance::check(&all).and_then(|()| gitlab::check(&names)) {
        eprintln!("{text}");
        return ExitCode::FAILURE;
    }
    let oracles = cases::oracles::folder();
    all.retain(|case| oracles.is_ok() || !cases::oracles::includes(case.name));
    if garbled {
        // Each test is to panic, and a trace of each would bury the one that does not.
        std::panic::set_hook(Box::new(|_| ()));
        all.retain(|case| conformance::named_by_an_id(case.name) || cases::oracles::asks_a_server(case.name));
        println!(
            "garbled: every answer has its status plus one and its body reversed, or the rule that a test holds is \
             broken; each test must fail"
        );
    }
    // They wait for databases more than they compute.
    arguments.test_threads.get_or_insert(6);
    let listing = arguments.list;
    let postgres = if listing { None } else { Postgres::start().map(Arc::new) };
    if postgres.is_none() && !listing {
        if std::env::var_os("CI").is_some() {
            eprintln!("PostgreSQL: no initdb was found, and CI must have it");
            return ExitCode::FAILURE;
        }
        println!("PostgreSQL: no initdb was found, so the tests on it are left out");
    }
    if !watchdog::asked_to_last() {
        watchdog::start();
    }
    tracing::subscriber::set_global_default(test_server::Deaf).expect("no other");
    let mut trials = Vec::new();
    for case in all {
        for engine in [Engine::Sqlite, Engine::Postgres] {
            if engine == Engine::Postgres && postgres.is_none() {
                continue;
            }
            let postgres = postgres.clone();
            let name = format!("{}::{}", case.name, engine.name());
            let variant = if garbled { Variant::Garbled } else { Variant::Plain };
            trials.push(Trial::test(name, move || judge(case, engine, postgres.as_deref(), variant)));
        }
        // The setting is the same on both databases.
        if !garbled && gitlab::includes(case.name) {
            let name = format!("{}::gitlab", case.name);
            trials.push(Trial::test(name, move || judge(case, Engine::Sqlite, None, Variant::Gitlab)));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !listing {
        println!("{}", cases::oracles::counts());
    }
    if let Some(postgres) = postgres.and_then(Arc::into_inner) {
        postgres.stop();
    }
    conclusion.exit_code()
}

/// How a test runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Plain,
    /// Every answer is garbled, or the rule that the test holds is broken; it must fail.
    Garbled,
    /// Under `compat.all = "gitlab"`; the exceptions must fail.
    Gitlab,
}

fn judge(case: Case, engine: Engine, postgres: Option<&Postgres>, variant: Variant) -> Result<(), Failed> {
    let _watched = watchdog::watch(case.name, engine.name());
    let must_fail = match variant {
        Variant::Plain => None,
        Variant::Garbled => Some("every answer is garbled"),
        Variant::Gitlab => gitlab::exception(case.name),
    };
    match (must_fail, run(case, engine, postgres, variant)) {
        (None, outcome) => outcome,
        (Some(_), Err(_)) => Ok(()),
        (Some(reason), Ok(())) => Err(format!("it passes, and should not: {reason}").into()),
    }
}

fn run(case: Case, engine: Engine, postgres: Option<&Postgres>, variant: Variant) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        local.block_on(&runtime, async {
            let garbled = variant == Variant::Garbled;
            let wrong = garbled.then_some(case.breaks.map_or(Wrong::Answers, Wrong::Rule));
            let setting = if variant == Variant::Gitlab { gitlab::SETTING } else { "" };
            let town = TestServer::found(engine, postgres, &format!("{setting}{}", case.settings), wrong).await;
            let leftovers = town.leftovers();
            (case.run)(town).await;
            leftovers
        })
    }));
    match result {
        Ok(leftovers) => {
            runtime.block_on(leftovers.clear(postgres));
            Ok(())
        }
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "panicked".to_owned()).into())
        }
    }
}

//! A test that never ends is named, and ends the run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Many times what the slowest test takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(600);

/// Settings that make a test last longer than that.
const LASTING: [&str; 4] =
    ["TOLLHOUSE_HISTORY_SECONDS", "TOLLHOUSE_MODEL_WALKS", "TOLLHOUSE_LIST_ROWS", "TOLLHOUSE_FLIPS"];

static RUNNING: Mutex<Vec<(String, Instant)>> = Mutex::new(Vec::new());

pub struct Watched {
    name: String,
}

pub fn watch(case: &str, engine: &str) -> Watched {
    let name = format!("{case} ({engine})");
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner).push((name.clone(), Instant::now()));
    Watched { name }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = running.iter().position(|(name, _)| *name == self.name) {
            running.swap_remove(at);
        }
    }
}

pub fn asked_to_last() -> bool {
    LASTING.iter().any(|name| std::env::var_os(name).is_some())
}

/// A test may block its thread, so nothing but another thread can see that it never ends.
pub fn start() {
    std::thread::spawn(|| {
        loop {
            std::thread::park_timeout(Duration::from_secs(5));
            let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
            let late: Vec<&str> =
                running.iter().filter(|(_, since)| since.elapsed() > LIMIT).map(|(name, _)| name.as_str()).collect();
            if !late.is_empty() {
                eprintln!("these tests did not end within {} s: {}", LIMIT.as_secs(), late.join(", "));
                std::process::exit(1);
            }
        }
    });
}

//! The log of this process. No answer waits for it, and none fails because of it: lines go through a bounded
//! queue, which a thread of its own writes, and refusals that come too often are counted in place of a line each
//! (`fold.rs`). Counts in metrics do not depend on either (T29).

use std::io::Write;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tollhouse_domain::text::printable;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::LogFormat;

mod fold;
mod queue;

use fold::Folds;
use queue::Queue;

/// Lines that were not written since the start: the queue was full, or writing failed.
pub fn lost() -> u64 {
    QUEUE.get().map_or(0, |queue| queue.lost())
}

/// Starts the log of this process, which is written to `to`.
pub fn start(filter: EnvFilter, format: LogFormat, colours: bool, to: impl Write + Send + 'static) {
    let (queue, folds) = (Arc::new(Queue::default()), Folds::default());
    let (written, ended) = (queue.clone(), folds.clone());
    // If there is no thread for it, lines are lost, and counted as such.
    let _ = std::thread::Builder::new().name("log".into()).spawn(move || written.run(to, || ended.tell()));
    let lines = fmt::layer().with_ansi(colours).with_writer(queue.clone()).log_internal_errors(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => Box::new(lines.with_target(false)),
        LogFormat::Json => Box::new(lines.json()),
    };
    tracing_subscriber::registry().with(lines).with(folds).with(filter).init();
    let _ = QUEUE.set(queue.clone());
    // The hook of the standard library writes to stderr itself, and would wait for a reader that hangs.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = printable(panic.payload_as_str().unwrap_or_default());
        tracing::error!("panicked at {place}: {text}");
    }));
}

/// The end of the log: what is still in the queue is written, for at most a second.
pub fn end() {
    if let Some(queue) = QUEUE.get() {
        queue.end(PATIENCE);
    }
}

static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();
const PATIENCE: Duration = Duration::from_secs(1);

//! Lines on their way to stderr. A thread that logs adds a line to a buffer and goes on; one thread writes the buffer.
//! A line that does not fit, or cannot be written, is lost and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Lines that wait to be written, bounded in bytes.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    /// There is something to write, or the end has come.
    work: Condvar,
    /// All has been written.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Whole lines.
    waiting: Vec<u8>,
    writing: bool,
    ended: bool,
    /// Lost lines that the log has not reported yet.
    untold: u64,
}

impl Queue {
    /// How many lines were dropped since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > MOST {
            state.untold += 1;
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.waiting.extend_from_slice(line);
        drop(state);
        self.work.notify_one();
    }

    /// Writes until the end. `tell` logs what is due for a line of its own, and says whether more will be due.
    pub(super) fn run(&self, mut to: impl Write, tell: impl Fn() -> bool) {
        let mut batch = Vec::new();
        let mut torn = false;
        while self.next(&mut batch, &tell) {
            let (lost, cut) = put(&mut to, &batch, torn);
            torn = cut;
            batch.clear();
            // One long batch should not keep its memory.
            batch.shrink_to(KEPT);
            self.lost.fetch_add(lost, Ordering::Relaxed);
            let untold = {
                let mut state = self.lock();
                state.untold += lost;
                if lost == 0 { std::mem::take(&mut state.untold) } else { 0 }
            };
            if untold > 0 {
                tracing::warn!(lines = untold, "log lines were lost");
            }
        }
    }

    /// Waits for lines; `false`: there will be none.
    fn next(&self, batch: &mut Vec<u8>, tell: &impl Fn() -> bool) -> bool {
        tell();
        // Something may be folded until a second after the last line.
        let mut watch = true;
        let mut state = self.lock();
        state.writing = false;
        while state.waiting.is_empty() {
            self.idle.notify_all();
            if state.ended {
                return false;
            }
            state = if watch {
                self.work.wait_timeout(state, SOON).unwrap_or_else(PoisonError::into_inner).0
            } else {
                self.work.wait(state).unwrap_or_else(PoisonError::into_inner)
            };
            if watch && state.waiting.is_empty() {
                drop(state);
                watch = tell();
                state = self.lock();
            }
        }
        std::mem::swap(batch, &mut state.waiting);
        state.writing = true;
        true
    }

    /// Nothing comes any more. Returns when what is there has been written, or after so long.
    pub(super) fn end(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        state.ended = true;
        self.work.notify_one();
        while state.writing || !state.waiting.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Write for &Queue {
    /// A whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How many lines could not be written, and whether the last one was cut off. `torn`: so was the one before these.
fn put(to: &mut impl Write, lines: &[u8], torn: bool) -> (u64, bool) {
    let end: &[u8] = if torn { b"\n" } else { b"" };
    let mut cut = torn;
    for part in [end, lines] {
        let mut rest = part;
        while !rest.is_empty() {
            match to.write(rest) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // Somebody who shares stderr made it non-blocking. This thread may wait; the queue is bounded.
                Err(error) if error.kind() == ErrorKind::WouldBlock => park_timeout(RETRY),
                Ok(count @ 1..) => {
                    cut = rest[count - 1] != b'\n';
                    rest = &rest[count..];
                }
                Ok(0) | Err(_) => {
                    let left = if part.len() == lines.len() { rest } else { lines };
                    return (left.iter().filter(|b| **b == b'\n').count() as u64, cut);
                }
            }
        }
    }
    (0, cut)
}

/// How many bytes wait at most.
const MOST: usize = 1 << 20;
const KEPT: usize = 64 << 10;
/// After a write that would have had to wait.
const RETRY: Duration = Duration::from_millis(5);
const SOON: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use super::*;

    /// Takes so many bytes at a time, and nothing where it says so.
    struct Sink {
        taken: Vec<u8>,
        steps: Vec<Option<usize>>,
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let step = if self.steps.is_empty() { Some(bytes.len()) } else { self.steps.remove(0) };
            let count = step.ok_or(ErrorKind::BrokenPipe)?.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_written_is_counted_and_leaves_no_half_line_before_the_next() {
        for (steps, lost, cut, taken) in [
            (vec![], 0, false, "one\ntwo\n!\n"),
            (vec![Some(2), Some(3)], 0, false, "one\ntwo\n!\n"),
            (vec![None], 2, false, "!\n"),
            (vec![Some(4), None], 1, false, "one\n!\n"),
            (vec![Some(2), None], 2, true, "on\n!\n"),
            (vec![Some(6), None], 1, true, "one\ntw\n!\n"),
            (vec![Some(0)], 2, false, "!\n"),
        ] {
            let mut sink = Sink { taken: Vec::new(), steps };
            assert_eq!(put(&mut sink, b"one\ntwo\n", false), (lost, cut), "{taken:?}");
            assert_eq!(put(&mut sink, b"!\n", cut), (0, false));
            assert_eq!(String::from_utf8_lossy(&sink.taken), taken);
        }
        let mut sink = Sink { taken: Vec::new(), steps: vec![None] };
        assert_eq!(put(&mut sink, b"one\n", true), (1, true), "it stays torn");
    }

    /// Each write waits until it is allowed.
    struct Slow(mpsc::Receiver<()>, mpsc::Sender<usize>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
            let _ = self.1.send(bytes.len());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_caller_waits_for_a_reader_that_hangs_and_the_queue_is_bounded() {
        let queue = Arc::new(Queue::default());
        let ((allow, allowed), (told, sizes)) = (mpsc::channel(), mpsc::channel());
        let written = queue.clone();
        let thread = std::thread::spawn(move || written.run(Slow(allowed, told), || false));
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        let began = Instant::now();
        for _ in 0..3 * MOST / line.len() {
            assert!(matches!((&*queue).write(&line), Ok(1024)));
        }
        assert!(began.elapsed() < Duration::from_secs(5), "it did not wait");
        let waiting = queue.lock().waiting.len();
        assert!(waiting <= MOST && queue.lost() >= 1024, "{waiting} wait, {} are lost", queue.lost());
        // The end is bounded too.
        let began = Instant::now();
        queue.end(Duration::from_millis(50));
        assert!(began.elapsed() < Duration::from_secs(5));
        // When the reader is back, what is left is written, and then it ends.
        for _ in 0..4 {
            let _ = allow.send(());
        }
        queue.end(Duration::from_secs(20));
        thread.join().expect("no panic");
        let written: usize = sizes.try_iter().sum();
        assert_eq!(written as u64 / 1024 + queue.lost(), 3 * 1024);
    }
}

//! Lines with a `reason` that come too often: of each reason 20 a second are logged, and the rest is one line that says
//! how many more there were. So refusals, which everybody can cause, do not fill a disk.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tollhouse_auth::limiter::site;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use crate::metrics::REASONS;

/// By call site and reason, which are closed sets. Lines about passwords (they have an `account`) are not folded, but for
/// those about an address that had too many wrong ones: they cost nothing to cause, and are folded by address.
#[derive(Clone, Default)]
pub(super) struct Folds(Arc<Mutex<Table>>);

struct Table {
    windows: HashMap<Key, Folded>,
    /// When windows that are over were last removed.
    pruned: Instant,
}

impl Default for Table {
    fn default() -> Self {
        Self { windows: HashMap::new(), pruned: Instant::now() }
    }
}

type Key = (Identifier, usize, String);

struct Folded {
    level: Level,
    message: String,
    reason: String,
    /// Empty: lines about any.
    peer: String,
    window: Window,
}

/// Lines of one kind in one second, which begins with the first of them.
struct Window {
    began: Instant,
    logged: u32,
    /// Lines left out of this second.
    more: u64,
    /// Lines left out of earlier seconds and not reported yet.
    before: u64,
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { began: now, logged: 0, more: 0, before: 0 }
    }

    /// Whether one more is to be logged.
    fn admits(&mut self, now: Instant) -> bool {
        if self.is_over(now) {
            *self = Self { before: self.before + self.more, ..Self::new(now) };
        }
        let admitted = self.logged < MOST;
        match admitted {
            true => self.logged += 1,
            false => self.more += 1,
        }
        admitted
    }

    /// How many left-out lines are to be reported now.
    fn told(&mut self, now: Instant) -> u64 {
        let over = if self.is_over(now) { std::mem::take(&mut self.more) } else { 0 };
        over + std::mem::take(&mut self.before)
    }

    /// Whether nothing of it is still to be said.
    fn is_done(&self, now: Instant) -> bool {
        self.is_over(now) && self.more + self.before == 0
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= LENGTH
    }
}

impl Folds {
    /// Logs how many lines were left out of seconds that are over. Returns whether some were left out of one that is not.
    pub(super) fn tell(&self) -> bool {
        let now = Instant::now();
        let mut due = Vec::new();
        let open = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for folded in all.windows.values_mut() {
                match folded.window.told(now) {
                    0 => {}
                    more => due.push((
                        folded.level,
                        more,
                        folded.message.clone(),
                        folded.reason.clone(),
                        folded.peer.clone(),
                    )),
                }
            }
            all.windows.values().any(|folded| folded.window.more > 0)
        };
        for (level, more, of, reason, peer) in due {
            let peer = (!peer.is_empty()).then_some(peer);
            // Not `reason`, which would be folded.
            match level {
                Level::ERROR => tracing::error!(of, r#for = reason, peer, "and {more} more"),
                Level::WARN => tracing::warn!(of, r#for = reason, peer, "and {more} more"),
                _ => tracing::info!(of, r#for = reason, peer, "and {more} more"),
            }
        }
        open
    }
}

/// What has its lines in common: an IPv4 address, or an IPv6 /48, since the owner of one host may have them all.
fn network(peer: &str) -> String {
    match peer.parse().map(site) {
        Ok(site) if site.is_ipv6() => format!("{site}/48"),
        Ok(site) => site.to_string(),
        Err(_) => String::new(),
    }
}

impl<S: Subscriber> Layer<S> for Folds {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Lines of `debug` are logged one by one: an operator asked for them.
        if *metadata.level() > Level::INFO || metadata.fields().field("reason").is_none() {
            return true;
        }
        let mut seen = Seen::default();
        event.record(&mut seen);
        let Some(reason) = seen.reason else { return true };
        let by_password = metadata.fields().field("account").is_some();
        if by_password && reason != "sign_in_failures" {
            return true;
        }
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { windows, pruned } = &mut *all;
        if windows.len() >= MOST_KEYS && now.saturating_duration_since(*pruned) >= LENGTH {
            *pruned = now;
            windows.retain(|_, folded| !folded.window.is_done(now));
        }
        // Of so many at once, the rest share their lines.
        let peer = if by_password && windows.len() < MOST_KEYS { network(&seen.peer) } else { String::new() };
        let place = REASONS.binary_search(&reason.as_str()).unwrap_or(REASONS.len());
        let new = || Folded {
            level: *metadata.level(),
            message: seen.message,
            reason,
            peer: peer.clone(),
            window: Window::new(now),
        };
        windows.entry((metadata.callsite(), place, peer.clone())).or_insert_with(new).window.admits(now)
    }
}

#[derive(Default)]
struct Seen {
    message: String,
    reason: Option<String>,
    peer: String,
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "reason" {
            self.reason = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            "peer" => self.peer = format!("{value:?}"),
            _ => {}
        }
    }
}

/// Of one reason in one second.
const MOST: u32 = 20;
/// Windows that are kept at once.
const MOST_KEYS: usize = 4096;
const LENGTH: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn of_each_second_twenty_are_logged_and_of_the_rest_it_is_told_once() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let mut window = Window::new(start);
        // When; how many come; how many of them are logged; of how many it is told then.
        for (millis, come, logged, told) in [
            (0, 1, 1, 0),
            (500, 30, 19, 0),
            (999, 1, 0, 0),
            (1_000, 5, 5, 12),
            (1_500, 100, 15, 0),
            // The window has ended in between, and nothing is lost.
            (2_100, 25, 20, 85),
            (3_200, 21, 20, 5),
            (4_300, 0, 0, 1),
            (9_000, 0, 0, 0),
        ] {
            let admitted = (0..come).filter(|_| window.admits(at(millis))).count();
            assert_eq!((admitted, window.told(at(millis))), (logged, told), "at {millis} ms");
        }
    }

    #[test]
    fn lines_about_passwords_are_not_folded_and_those_about_the_bound_by_address() {
        let (heard, folds) = (Heard::default(), Folds::default());
        let subscriber = tracing_subscriber::registry().with(heard.clone()).with(folds.clone());
        tracing::subscriber::with_default(subscriber, || {
            let line = |reason: &str, peer: &str| {
                tracing::info!(reason, peer = tracing::field::display(peer), account = "1", "refused")
            };
            for _ in 0..50 {
                line("wrong_password", "192.0.2.1");
                line("sign_in_failures", "192.0.2.1");
            }
            line("sign_in_failures", "192.0.2.2");
            let count = |text: &str| heard.0.lock().expect("no panic").iter().filter(|line| *line == text).count();
            assert_eq!(count(r#"refused Some("wrong_password")"#), 50);
            assert_eq!(count(r#"refused Some("sign_in_failures")"#), 20 + 1, "no address hides another");
            for i in 0..60 {
                line("sign_in_failures", &format!("2001:db8:1:{i:x}::{i:x}"));
            }
            assert_eq!(count(r#"refused Some("sign_in_failures")"#), 20 + 1 + 20, "a /48 is one");
            for i in 0..2 * MOST_KEYS {
                line("sign_in_failures", &format!("2001:{i:x}::1"));
            }
            let kept = folds.0.lock().expect("no panic").windows.len();
            assert!(kept <= MOST_KEYS + 1, "{kept} windows are kept");
        });
    }

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<String>>>);

    impl<S: Subscriber> Layer<S> for Heard {
        fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
            let mut seen = Seen::default();
            event.record(&mut seen);
            self.0.lock().expect("no panic").push(format!("{} {:?}", seen.message, seen.reason));
        }
    }

    #[test]
    fn each_reason_has_its_own_count_and_what_has_none_is_not_folded() {
        let (heard, folds) = (Heard::default(), Folds::default());
        let subscriber = tracing_subscriber::registry().with(heard.clone()).with(folds.clone());
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..50 {
                for reason in ["unknown", "missing"] {
                    tracing::info!(reason, "refused");
                }
                tracing::info!("something else");
                tracing::debug!(reason = "unknown", "and in detail");
            }
            let count = |text: &str| heard.0.lock().expect("no panic").iter().filter(|line| *line == text).count();
            assert_eq!(count(r#"refused Some("unknown")"#), 20);
            assert_eq!(count(r#"refused Some("missing")"#), 20);
            assert_eq!(count("something else None"), 50);
            assert_eq!(count(r#"and in detail Some("unknown")"#), 50);
            assert!(folds.tell(), "the second is not over");
            for folded in folds.0.lock().expect("no panic").windows.values_mut() {
                folded.window.began -= LENGTH;
            }
            assert!(!folds.tell());
            assert_eq!(count("and 30 more None"), 2);
            assert!(!folds.tell());
            assert_eq!(count("and 30 more None"), 2, "once");
        });
    }
}

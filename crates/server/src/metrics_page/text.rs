//! What was counted, in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;

use crate::app::App;
use crate::metrics::{BOUNDS, CLASSES, REASONS};
use crate::surface::Surface;

/// 200 with every metric, never cached.
pub(super) fn show(app: &App) -> Response {
    let mut response = Response::new(Body::from(text(app)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text(app: &App) -> String {
    let metrics = &app.metrics;
    let mut out = Text::default();

    out.family("tollhouse_build_info", "gauge", "The version of this program; always 1.");
    out.line("tollhouse_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

    out.family("tollhouse_requests_total", "counter", "Answered requests, by part of the server and class of status.");
    for surface in Surface::ALL {
        for (i, class) in CLASSES.iter().enumerate() {
            let labels = [("face", surface.as_str()), ("class", *class)];
            out.line("tollhouse_requests_total", &labels, metrics.sum(|shard| &shard.requests[surface as usize][i]));
        }
    }

    out.family("tollhouse_refusals_total", "counter", "Refused requests, by the reason in the log.");
    for (i, reason) in REASONS.iter().chain(&["other"]).enumerate() {
        let count = metrics.sum(|shard| &shard.refusals[i]);
        out.line("tollhouse_refusals_total", &[("reason", *reason)], count);
    }

    let name = "tollhouse_judgement_duration_seconds";
    out.family(name, "histogram", "Time to authenticate and authorize an API request, including the database.");
    let mut count = 0;
    let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
    for (i, bound) in bounds.enumerate() {
        count += metrics.sum(|shard| &shard.judgements.buckets[i]);
        out.line(&format!("{name}_bucket"), &[("le", bound)], count);
    }
    out.line(&format!("{name}_sum"), &[], metrics.sum(|shard| &shard.judgements.nanos) as f64 / 1e9);
    out.line(&format!("{name}_count"), &[], count);

    let name = "tollhouse_ledger_recalls_total";
    out.family(name, "counter", "Look-ups in the credential cache, by result.");
    let recalls = app.auth.cache_counts();
    for (result, count) in [("hit", recalls.known), ("unknown", recalls.unknown), ("miss", recalls.ask)] {
        out.line(name, &[("result", result)], count);
    }
    out.single("tollhouse_ledger_entries", "gauge", "Credentials in the cache.", app.auth.remembered());
    let help = "Look-ups of a credential in the database.";
    out.single("tollhouse_lookups_total", "counter", help, app.auth.look_ups());
    if let Some(lag) = app.node.lag() {
        let help = "Seconds since this server started its last successful read of the invalidation log.";
        out.single("tollhouse_log_lag_seconds", "gauge", help, lag.as_secs_f64());
    }

    let help = "Transactions that may write, including those that timed out waiting for the database.";
    out.single("tollhouse_write_transactions_total", "counter", help, app.db.begun());

    let queue = app.hasher.load();
    let help = "Passwords waiting to be hashed, including those about to wait.";
    out.single("tollhouse_hash_queue_waiting", "gauge", help, queue.waiting);
    out.single("tollhouse_hash_queue_running", "gauge", "Passwords being hashed.", queue.running);

    let help = "Bytes used by bodies of requests in progress; at most limits.bodies.";
    out.single("tollhouse_body_bytes", "gauge", help, app.bodies.held());

    let help = "Log lines that could not be written.";
    out.single("tollhouse_log_lines_lost_total", "counter", help, crate::log::lost());

    let connections = metrics.connections.load(Relaxed);
    out.single("tollhouse_connections", "gauge", "Open connections.", connections);
    out.0
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Labels are words of ours: there is nothing in them to escape.
    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (place, (label, of)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{of}\"");
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.line(name, &[], value);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_metric_and_every_alarm_is_documented() {
        let documented = include_str!("../../../../docs/monitoring.md");
        let names = include_str!("text.rs").split('"').filter(|text| text.starts_with("tollhouse_"));
        let whole = |name: &&str| !name.ends_with('_') && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let names: Vec<&str> = names.filter(whole).collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(documented.contains(&format!("\n| `{name}` |")), "docs/monitoring.md has no row for {name}");
        }
        let alarms = documented.matches("- alert:").count();
        let words = ["no", "one", "two", "three", "four", "five", "six"];
        let readme = include_str!("../../../../README.md");
        assert!(
            readme.contains(&format!("and {} alarms", words[alarms])),
            "README.md counts other alarms than {alarms}"
        );
    }
}

//! `/-/metrics`: whom it answers (T34), and what was counted in the text format of Prometheus, version 0.0.4.

use std::fmt::{Display, Write};
use std::sync::atomic::Ordering::Relaxed;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request, header};
use axum::response::Response;

use super::{BOUNDS, CLASSES, Face, REASONS};
use crate::app::App;
use crate::asked::connection;
use crate::urls::is_loopback;

/// Why somebody may not see it. The connection alone says who asks; and what was relayed is refused, since a proxy on
/// this machine would otherwise show it to the world.
pub fn stranger(app: &App, request: &Request<Body>) -> Option<&'static str> {
    let allow = &app.settings.metrics.allow;
    let Some(peer) = connection(request).filter(|peer| allow.iter().any(|network| network.contains(*peer))) else {
        return Some("metrics_peer");
    };
    // Not every proxy says that it is one. One on this machine that passes the name on gives itself away all the same.
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let local = |host: &HeaderValue| host.to_str().is_ok_and(is_loopback);
    let relayed = request.headers().keys().any(relays) || (peer.is_loopback() && !hosts.all(local));
    relayed.then_some("metrics_forwarded")
}

/// `_` is read as `-`, as some on the way do.
fn relays(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    matches!(name.as_str(), "forwarded" | "via" | "x-real-ip")
        || name.starts_with("x-forwarded")
        || name.starts_with("x-original")
}

pub async fn show(app: App) -> Response {
    let mut response = Response::new(Body::from(text(&app)));
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

    out.family("tollhouse_requests_total", "counter", "Requests that were answered, by face and class of status.");
    for face in Face::ALL {
        for (i, class) in CLASSES.iter().enumerate() {
            let labels = [("face", face.as_str()), ("class", *class)];
            out.line("tollhouse_requests_total", &labels, metrics.sum(|shard| &shard.requests[face as usize][i]));
        }
    }

    out.family("tollhouse_refusals_total", "counter", "Requests that were refused, by the reason in the log.");
    for (i, reason) in REASONS.iter().chain(&["other"]).enumerate() {
        let count = metrics.sum(|shard| &shard.refusals[i]);
        out.line("tollhouse_refusals_total", &[("reason", *reason)], count);
    }

    let name = "tollhouse_judgement_duration_seconds";
    out.family(name, "histogram", "How long it took to say who asks at the API, the database included.");
    let mut count = 0;
    let bounds = BOUNDS.iter().map(|(_, text)| *text).chain(["+Inf"]);
    for (i, bound) in bounds.enumerate() {
        count += metrics.sum(|shard| &shard.judgements.buckets[i]);
        out.line(&format!("{name}_bucket"), &[("le", bound)], count);
    }
    out.line(&format!("{name}_sum"), &[], metrics.sum(|shard| &shard.judgements.nanos) as f64 / 1e9);
    out.line(&format!("{name}_count"), &[], count);

    let name = "tollhouse_ledger_recalls_total";
    out.family(name, "counter", "Credentials that the memory of this process was asked for, by what it said.");
    let recalls = app.auth.recalls();
    for (result, count) in [("hit", recalls.known), ("unknown", recalls.unknown), ("miss", recalls.ask)] {
        out.line(name, &[("result", result)], count);
    }
    out.single("tollhouse_ledger_entries", "gauge", "Credentials that are remembered.", app.auth.remembered());
    let help = "Questions to the database about a credential.";
    out.single("tollhouse_lookups_total", "counter", help, app.auth.look_ups());
    if let Some(lag) = app.node.lag() {
        let help = "Seconds since this server began the reading of the log that it applied last.";
        out.single("tollhouse_log_lag_seconds", "gauge", help, lag.as_secs_f64());
    }

    let queue = app.hasher.load();
    let help = "Passwords that wait to be hashed, those that are about to wait included.";
    out.single("tollhouse_hash_queue_waiting", "gauge", help, queue.waiting);
    out.single("tollhouse_hash_queue_running", "gauge", "Passwords that are being hashed.", queue.running);

    let help = "Bytes that bodies of requests under way take; at most limits.bodies.";
    out.single("tollhouse_body_bytes", "gauge", help, app.bodies.held());

    let help = "Lines of the log that could not be written.";
    out.single("tollhouse_log_lines_lost_total", "counter", help, crate::log::lost());

    let connections = metrics.connections.load(Relaxed);
    out.single("tollhouse_connections", "gauge", "Connections that are open.", connections);
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

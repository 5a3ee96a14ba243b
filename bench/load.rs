//! Clients that write, and clients that keep a steady pace: what wrk cannot be. One thread and one connection each.
//!
//! `bench load ADDRESS SECONDS CLIENTS REQUEST [each FILE | chain FILE] [rate N] [once]`. `REQUEST` is a file with a raw
//! request. In it `{}` stands for a line of `FILE`: another one for each request (`each`), or, after a client's first
//! request, the `refresh_token` of its last answer (`chain`). With `rate`, all clients together send N a second. With
//! `once` it ends when `FILE` does. Prints one line of JSON; anything but 2xx is counted as refused.

use std::fs;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use crate::check::Line;

struct Plan {
    address: SocketAddr,
    during: Duration,
    clients: usize,
    head: String,
    body: String,
    values: Vec<String>,
    chain: bool,
    once: bool,
    /// Between two requests of one client.
    pace: Option<Duration>,
    taken: AtomicUsize,
}

/// What one client saw: how long each answer took, in microseconds, and how many were refused.
#[derive(Default)]
struct Seen {
    micros: Vec<u64>,
    refused: usize,
}

pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let [address, seconds, clients, request, options @ ..] = arguments else { bail!("bench load: see bench/load.rs") };
    let request = fs::read_to_string(request)?;
    let (head, body) = request.split_once("\n\n").unwrap_or((request.trim_end(), ""));
    let mut plan = Plan {
        address: address.parse()?,
        during: Duration::from_secs_f64(seconds.parse()?),
        clients: clients.parse()?,
        head: head.replace('\n', "\r\n"),
        body: body.trim_end().to_owned(),
        values: Vec::new(),
        chain: false,
        once: false,
        pace: None,
        taken: AtomicUsize::new(0),
    };
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut value = || options.next().with_context(|| format!("{option} of what?"));
        match *option {
            "once" => plan.once = true,
            "rate" => plan.pace = Some(Duration::from_secs_f64(plan.clients as f64 / value()?.parse::<f64>()?)),
            how @ ("each" | "chain") => {
                plan.chain = how == "chain";
                plan.values = fs::read_to_string(value()?)?.lines().map(str::to_owned).collect();
                ensure!(!plan.values.is_empty(), "a file without values");
            }
            other => bail!("bench load does not know `{other}`"),
        }
    }
    let began = Instant::now();
    let seen = thread::scope(|scope| {
        let clients: Vec<_> = (0..plan.clients)
            .map(|n| {
                scope.spawn({
                    let plan = &plan;
                    move || plan.client(n, began)
                })
            })
            .collect();
        let ended = clients.into_iter().map(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")));
        ended.collect::<Result<Vec<Seen>>>()
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let refused: usize = seen.iter().map(|of| of.refused).sum();
    let mut micros: Vec<u64> = seen.into_iter().flat_map(|of| of.micros).collect();
    micros.sort_unstable();
    let within = |part: f64| micros.get((micros.len() as f64 * part) as usize).copied().unwrap_or_default();
    println!(
        "{}",
        json!({
            "answers": micros.len(), "refused": refused, "seconds": seconds,
            "p50": within(0.5), "p99": within(0.99), "most": micros.last(),
        })
    );
    Ok(())
}

impl Plan {
    fn client(&self, n: usize, began: Instant) -> Result<Seen> {
        let (mut line, mut seen, mut last) = (Line::to(self.address)?, Seen::default(), None);
        // Clients begin one after the other, so that all of them together keep an even pace.
        let mut due = self.pace.map(|pace| began + pace.mul_f64(n as f64 / self.clients as f64));
        let mut free = Instant::now();
        while began.elapsed() < self.during {
            let value = match last.take() {
                Some(value) => value,
                None => {
                    let taken = if self.chain { n } else { self.taken.fetch_add(1, Relaxed) };
                    if self.once && taken >= self.values.len() {
                        break;
                    }
                    self.values.get(taken % self.values.len().max(1)).cloned().unwrap_or_default()
                }
            };
            let request = self.request(&value);
            // A client that is late because it still waited counts the waiting; that it woke up late does not count.
            let from = match due {
                Some(at) => {
                    thread::sleep(at.saturating_duration_since(Instant::now()));
                    if free > at { at } else { Instant::now() }
                }
                None => Instant::now(),
            };
            let answer = line.send(request.as_bytes())?;
            free = Instant::now();
            seen.micros.push((free - from).as_micros() as u64);
            due = due.zip(self.pace).map(|(at, pace)| at + pace);
            if answer.raw.get(9) != Some(&b'2') {
                seen.refused += 1;
                if seen.refused == 1 {
                    eprintln!("refused: {}", String::from_utf8_lossy(&answer.raw));
                }
            } else if self.chain {
                last = refresh_token(&answer.raw[answer.body..]);
                ensure!(last.is_some(), "an answer without a refresh token");
            }
        }
        Ok(seen)
    }

    fn request(&self, value: &str) -> String {
        let body = self.body.replace("{}", value);
        let head = self.head.replace("{}", value);
        match body.len() {
            0 => format!("{head}\r\n\r\n"),
            length => format!("{head}\r\nContent-Length: {length}\r\n\r\n{body}"),
        }
    }
}

fn refresh_token(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let (_, behind) = text.split_once("\"refresh_token\":\"")?;
    behind.split_once('"').map(|(token, _)| token.to_owned())
}

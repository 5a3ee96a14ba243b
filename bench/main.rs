//! Tollhouse beside a bare axum route and a bare hyper server that send the same bytes: see `README.md`.

#![allow(clippy::print_stdout, clippy::print_stderr)] // this is where the table goes to a terminal
#![allow(clippy::disallowed_methods)] // real time passes here, and a bare route is what we compare ourselves with

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::check::{Change, Dice, Line, Person, Town};

mod check;
mod direct;
mod load;
mod revocation;
mod servers;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEOPLE: usize = 10_000;
/// One in a hundred profiles, and one in a hundred tokens.
const CHANGES: usize = 2 * PEOPLE / 100;
const ROUNDS: usize = 5;
const SECONDS: u32 = 3;
const CHECKERS: u64 = 4;
/// The text that a changed profile has.
const CHANGED: &str = "Changed while everybody was asking.";

const SLOWEST: f64 = 0.6;
const MOST_LOOK_UPS: f64 = 1.05;

fn main() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["load", ref rest @ ..] => load::run(rest).map(|()| ExitCode::SUCCESS),
        ["direct", ref rest @ ..] => direct::run(rest).map(|()| ExitCode::SUCCESS),
        [folder] => compare(Path::new(folder), false),
        [folder, "--strict"] => compare(Path::new(folder), true),
        [folder, "fill"] => servers::fill(Path::new(folder), &sqlite(folder), PEOPLE).map(|()| ExitCode::SUCCESS),
        [folder, "tollhouse"] => servers::tollhouse(Path::new(folder), &sqlite(folder)).map(|()| ExitCode::SUCCESS),
        [folder, "tollhouse", database] => servers::tollhouse(Path::new(folder), database).map(|()| ExitCode::SUCCESS),
        [folder, "revocation", postgres] => revocation::compare(Path::new(folder), postgres, false),
        [folder, "revocation", postgres, "--strict"] => revocation::compare(Path::new(folder), postgres, true),
        [folder, "axum"] => servers::axum(Path::new(folder)).map(|()| ExitCode::SUCCESS),
        [folder, "hyper"] => servers::hyper(Path::new(folder)).map(|()| ExitCode::SUCCESS),
        _ => bail!("bench/run [--strict], bench/revocation [--strict] or bench/store"),
    }
}

fn sqlite(folder: &str) -> String {
    format!("sqlite:{folder}/tollhouse.db")
}

fn compare(folder: &Path, strict: bool) -> Result<ExitCode> {
    println!("Making {PEOPLE} people with a token each ...");
    let filled = Command::new(std::env::current_exe()?).arg(folder).arg("fill").status()?;
    ensure!(filled.success(), "the database could not be filled");
    let mut town = found(folder)?;

    let tollhouse = Server::start("tollhouse", folder)?;
    // The one token that is asked for before the warm-up; one look-up like any other.
    let answer = Line::to(tollhouse.address)?.ask(&town.people[0].token)?;
    fs::write(folder.join("answer"), &answer.raw)?;
    town.canned = answer.raw[answer.body..].to_vec();
    let mut servers = [tollhouse, Server::start("axum", folder)?, Server::start("hyper", folder)?];
    for server in &servers {
        let theirs = Line::to(server.address)?.ask(&town.people[0].token)?;
        ensure!(theirs.raw.len() == answer.raw.len(), "{} does not send the same bytes", server.name);
    }

    println!("{ROUNDS} rounds of {SECONDS} s each, {} bytes an answer, load {}", answer.raw.len(), load_average()?);
    for server in &mut servers {
        let warm = server.round(&town, folder, 0)?;
        ensure!(warm.refused == 0, "{} refused before anything was revoked", server.name);
    }
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 0..ROUNDS {
        for place in 0..3 {
            let which = (round + place) % 3;
            let changes = if which == 0 { CHANGES / ROUNDS } else { 0 };
            samples[which].push(servers[which].round(&town, folder, changes)?);
        }
    }
    let mut line = Line::to(servers[0].address)?;
    for who in 0..PEOPLE {
        town.check(&mut line, who, false)?;
    }
    let look_ups: u64 = servers[0].pipe.tell("look_ups")?.parse()?;
    report(&town, &samples, look_ups, strict)
}

fn report(town: &Town, samples: &[Vec<Sample>; 3], look_ups: u64, strict: bool) -> Result<ExitCode> {
    let speeds = samples.each_ref().map(|of| of.iter().map(|sample| sample.per_second).collect::<Vec<_>>());
    let costs = samples.each_ref().map(|of| of.iter().map(|sample| sample.micros).collect::<Vec<_>>());
    println!("\n{:<12}{:>14}{:>26}{:>12}", "", "requests/s", "server CPU µs/request", "wrk busy");
    for (which, name) in ["tollhouse", "axum", "hyper"].iter().enumerate() {
        let wrk = median(&samples[which].iter().map(|sample| 100.0 * sample.wrk).collect::<Vec<_>>());
        println!("{name:<12}{:>14.0}{:>26.1}{wrk:>10.0} %", median(&speeds[which]), median(&costs[which]));
    }
    println!("\n{:<24}{:>22}{:>22}", "tollhouse to", "axum", "hyper");
    let ratio = |of: &[Vec<f64>; 3], which: usize| -> Vec<f64> {
        of[0].iter().zip(&of[which]).map(|(ours, theirs)| ours / theirs).collect()
    };
    for (name, of) in [("requests/s", &speeds), ("CPU per request", &costs)] {
        println!("{name:<24}{:>22}{:>22}", spread(&ratio(of, 1)), spread(&ratio(of, 2)));
    }

    let revoked = town.changes.iter().filter(|(_, what)| *what == Change::Revocation).count();
    let live = PEOPLE - revoked;
    let per_token = look_ups as f64 / live as f64;
    println!("\nlook-ups per live token: {per_token:.3} ({look_ups} for {live}; the aim is at most {MOST_LOOK_UPS})");
    let [ours, axum, hyper] = samples.each_ref().map(|of| of.iter().map(|sample| sample.refused).sum::<u64>());
    let asked: u64 = samples[0].iter().map(|sample| sample.asked).sum();
    println!("profiles changed: {}, tokens revoked: {revoked}; wrk saw 401 {ours} times in {asked}", CHANGES - revoked);
    let (checked, wrong) = (town.checked.load(SeqCst), town.wrong.load(SeqCst));
    println!("answers checked: {checked}; wrong or stale: {wrong}");
    ensure!(axum + hyper == 0, "a bare server refused a request");

    let slow = median(&ratio(&speeds, 1)) < SLOWEST;
    if slow {
        println!("requests/s are below the aim, {SLOWEST} of bare axum");
    }
    let eager = per_token > MOST_LOOK_UPS;
    if eager {
        println!("look-ups are above the aim");
    }
    Ok(if wrong > 0 || strict && (slow || eager) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Who lives here, and what will happen to whom.
fn found(folder: &Path) -> Result<Town> {
    let list = fs::read_to_string(folder.join("people"))?;
    let people: Vec<Person> = list.lines().map(Person::read).collect::<Option<_>>().context("a list of people")?;
    let mut tokens = File::create(folder.join("tokens"))?;
    people.iter().try_for_each(|person| writeln!(tokens, "{}", person.token))?;
    let mut dice = Dice(0x7011_4053);
    let mut whom: Vec<usize> = (0..people.len()).collect();
    for n in 0..CHANGES {
        let other = n + dice.below(people.len() - n);
        whom.swap(n, other);
    }
    let changes = whom.into_iter().take(CHANGES).zip([Change::Profile, Change::Revocation].into_iter().cycle());
    Ok(Town {
        people,
        changes: changes.collect(),
        sent: AtomicUsize::new(0),
        canned: Vec::new(),
        checked: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
    })
}

/// What one server did in one round.
struct Sample {
    asked: u64,
    refused: u64,
    per_second: f64,
    /// What one request cost the server.
    micros: f64,
    /// How much of one core wrk used. Near 1 it is wrk that is measured, and only the cost says more.
    wrk: f64,
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    child: Child,
    pipe: Pipe,
}

/// Lines there, and a line back for each.
struct Pipe(ChildStdin, BufReader<ChildStdout>);

impl Pipe {
    fn tell(&mut self, line: &str) -> Result<String> {
        writeln!(self.0, "{line}")?;
        self.hear()
    }

    fn hear(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.1.read_line(&mut line)? > 0, "a server ended too early");
        Ok(line.trim_end().to_owned())
    }
}

impl Server {
    fn start(name: &'static str, folder: &Path) -> Result<Self> {
        Self::start_with(name, folder, &[], name)
    }

    /// `log`: the file for what it has to say.
    fn start_with(name: &'static str, folder: &Path, more: &[&str], log: &str) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(folder)
            .arg(name)
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A terminal would slow down what logs.
            .stderr(File::create(folder.join(log))?)
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else { bail!("no pipes") };
        let mut pipe = Pipe(stdin, BufReader::new(stdout));
        let address = pipe.hear()?.parse()?;
        Ok(Self { name, address, child, pipe })
    }

    fn round(&mut self, town: &Town, folder: &Path, changes: usize) -> Result<Sample> {
        let (address, bare, over) = (self.address, self.name != "tollhouse", &AtomicBool::new(false));
        let (checked, ours, of_wrk) = (town.checked.load(SeqCst), self.cpu()?, cpu("self", CHILDREN)?);
        let pipe = &mut self.pipe;
        let told = thread::scope(|scope| {
            let mut beside = vec![scope.spawn(|| town.change(pipe, address, changes, DURING))];
            for seed in 1..=CHECKERS {
                beside.push(scope.spawn(move || town.keep_asking(address, bare, Dice(seed), over)));
            }
            let told = wrk(address, folder);
            over.store(true, SeqCst);
            for thread in beside {
                thread.join().unwrap_or_else(|_| bail!("a checker panicked"))?;
            }
            told
        })?;
        let (ours, of_wrk) = (self.cpu()? - ours, cpu("self", CHILDREN)? - of_wrk);
        let [asked, micros, refused, broken] = told;
        ensure!(broken == 0, "{}: wrk counts {broken} broken connections", self.name);
        let answered = asked + town.checked.load(SeqCst) - checked;
        let micros = micros as f64;
        Ok(Sample {
            asked,
            refused,
            per_second: asked as f64 / (micros / 1e6),
            micros: ours / answered as f64,
            wrk: of_wrk / micros,
        })
    }

    fn cpu(&self) -> Result<f64> {
        cpu(&self.child.id().to_string(), ITSELF)
    }
}

/// Microseconds that a process has used so far, in its own code and in the kernel.
fn cpu(process: &str, field: usize) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, after_name) = stat.rsplit_once(')').context("/proc/PID/stat")?;
    let ticks = after_name.split_whitespace().skip(field).take(2).map(str::parse::<f64>).sum::<Result<f64, _>>()?;
    // The kernel shows hundredths of a second on every machine, whatever it counts in.
    Ok(ticks * 10_000.0)
}

/// Where `/proc/PID/stat` has utime and stime, and those of the children that ended: here, wrk.
const ITSELF: usize = 11;
const CHILDREN: usize = 13;

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Requests, microseconds, answers that refuse, broken connections.
fn wrk(address: SocketAddr, folder: &Path) -> Result<[u64; 4]> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/tokens.lua");
    let seconds = format!("-d{SECONDS}s");
    let mut command = Command::new("wrk");
    command.args(["-t1", "-c32", &seconds, "-s", script, &format!("http://{address}"), "--"]);
    let output = command.arg(folder.join("tokens")).arg(address.port().to_string()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("bench ")).with_context(|| text.clone().into_owned())?;
    let numbers: Vec<u64> = line.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    numbers.try_into().ok().context("four numbers")
}

fn load_average() -> Result<String> {
    Ok(fs::read_to_string("/proc/loadavg")?.split(' ').next().unwrap_or_default().to_owned())
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn spread(of: &[f64]) -> String {
    let (least, most) = of.iter().fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(*x), b.max(*x)));
    format!("{:.2} ({least:.2}..{most:.2})", median(of))
}

const DURING: Duration = Duration::from_secs(SECONDS as u64);

//! The command line. Exit codes: 0 done, 2 usage or configuration, 1 anything else; one clear line on stderr.

#![allow(clippy::print_stdout, clippy::print_stderr)] // this is where words go to a terminal

use std::ffi::c_int;
use std::fmt;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{self, Settings, Unusable, address};
use crate::log;
use crate::urls::Urls;

mod admin;
mod backup;
mod check;
mod curl;
mod demo;
mod explain;
mod head;
mod open;
mod secret;
pub mod seed;
mod serve;
mod shell;
mod usage;

#[derive(Parser)]
#[command(
    name = "tollhouse",
    version,
    about = "An API authentication server that speaks the GitLab REST API",
    after_help = "To begin: tollhouse demo. It is explained in docs/quick-start.md; docs/administration.md explains the commands."
)]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Run the server
    Serve(Serve),
    /// Serve demo data (users, projects, tokens), and print curl commands to paste
    Demo(Demo),
    /// Say how a request would be answered, and why: paste a curl command or a request head on stdin
    Explain(Explain),
    /// Back up a SQLite database while servers use it, and verify the copy
    Backup(Backup),
    /// Print the default settings
    Config(Config),
    #[command(flatten)]
    Admin(admin::Command),
}

#[derive(Args)]
struct Serve {
    /// Settings file [default: tollhouse.toml in this folder, else /etc/tollhouse/tollhouse.toml]
    #[arg(long, value_name = "FILE", env = "TOLLHOUSE_CONFIG")]
    config: Option<PathBuf>,
    /// Address to listen on
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    listen: Option<SocketAddr>,
    /// sqlite:PATH or postgres://USER@HOST/NAME
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Public URL of this server
    #[arg(long, value_name = "URL")]
    external_url: Option<String>,
    /// Serve a database that `demo` created, although its secrets were printed
    #[arg(long)]
    demo_data: bool,
    /// Only check settings, rules, keys and addresses; nothing is created or changed
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
struct Demo {
    /// Address to listen on; port 0 selects a free port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", value_parser = address)]
    listen: SocketAddr,
    /// An empty database to fill and keep [default: a temporary one]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Data to fill it with, a TOML file; `-` reads standard input [default: built-in demo data]
    #[arg(long, value_name = "FILE")]
    seed: Option<PathBuf>,
    /// First print URLs and secrets as one line of JSON
    #[arg(long)]
    json: bool,
    /// Allow an address that others can reach; needs --external-url
    #[arg(long, requires = "external_url")]
    public: bool,
    /// Public URL of this server
    #[arg(long, value_name = "URL")]
    external_url: Option<String>,
}

#[derive(Args)]
struct Explain {
    #[command(flatten)]
    at: open::At,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// A curl command; only for tokens of a demo, because others can read a command line
    #[arg(last = true, value_name = "curl ...")]
    curl: Vec<String>,
}

#[derive(Args)]
struct Backup {
    #[command(flatten)]
    at: open::At,
    /// The new file; it must not exist yet
    file: PathBuf,
    /// Also copy the secret of its keys, to FILE.key. Anybody who has both can sign in this server's name
    #[arg(long)]
    with_key: bool,
}

#[derive(Args)]
#[group(required = true)]
struct Config {
    /// Print every setting with its default and its meaning
    #[arg(long)]
    print_default: bool,
}

/// Why a command did not do its work.
enum Failure {
    /// Exit code 2.
    Unusable(String),
    /// Exit code 1.
    Broken(anyhow::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(text) => f.write_str(text),
            Self::Broken(error) => write!(f, "{error:#}"),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        match error.downcast::<Unusable>() {
            Ok(unusable) => Self::Unusable(unusable.0),
            Err(error) => Self::Broken(error),
        }
    }
}

/// Runs the command that was given. 0: it did what it was asked; 1: it failed; 2: it was asked wrongly.
pub fn main() -> ExitCode {
    let command = Command::try_parse().unwrap_or_else(|error| usage::told(error, &Command::command()).exit());
    let outcome = match command.what {
        What::Serve(flags) => runtime().and_then(|runtime| runtime.block_on(serve::run(flags))),
        What::Demo(flags) => runtime().and_then(|runtime| runtime.block_on(demo::run(flags))),
        What::Explain(flags) => runtime().and_then(|runtime| runtime.block_on(explain::run(flags))),
        What::Backup(flags) => runtime().and_then(|runtime| runtime.block_on(backup::run(flags))),
        What::Config(Config { print_default: true }) => {
            print!("{}", config::DEFAULT);
            Ok(())
        }
        What::Config(_) => Ok(()),
        What::Admin(command) => runtime().and_then(|runtime| runtime.block_on(admin::run(command))),
    };
    // What is said at the end comes after what was said before.
    log::end();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Unusable(text)) => {
            // Several mistakes of a file are a line each; what stands in them is printable already.
            text.lines().enumerate().for_each(|(i, line)| complain(if i == 0 { "tollhouse: " } else { "" }, line));
            ExitCode::from(2)
        }
        Err(Failure::Broken(error)) => {
            complain("tollhouse: ", &format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Something that does not end the command.
fn warn(text: &str) {
    complain("tollhouse: warning: ", text);
}

/// Writes one line to stderr, whatever is in it: an error may repeat what a client sent. Waits at most a second: the reader
/// of a pipe may hang, and the program would not end.
fn complain(who: &str, text: &str) {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = format!("{who}{text}\n");
    let (done, written) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = std::io::stderr().write_all(line.as_bytes());
        let _ = done.send(());
    });
    let _ = written.recv_timeout(Duration::from_secs(1));
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

fn log(settings: &Settings) -> Result<(), Failure> {
    let filter = tracing_subscriber::EnvFilter::try_new(settings.log.directives())
        .map_err(|error| Failure::Unusable(format!("log.level: {error}")))?;
    let colours = std::io::stderr().is_terminal();
    log::start(filter, settings.log.format, colours, std::io::stderr());
    Ok(())
}

/// Everybody on the machine can read a command line (T31).
fn warn_of_password(database: Option<&str>) {
    let holds = |url: url::Url| url.password().is_some() || url.query_pairs().any(|(name, _)| name == "password");
    if database.is_some_and(|url| url::Url::parse(url).is_ok_and(holds)) {
        warn("others can read a password on the command line; use database_file instead");
    }
}

/// Earlier versions took `external_url` as it was typed, so clients may know this server by the old spelling.
fn tell_of_other_spelling(urls: &Urls) {
    if let Some(old) = urls.former_base() {
        tracing::warn!(
            old,
            new = urls.base(),
            "external_url was normalized: links, origin and `iss` use the normalized text"
        );
    }
}

/// Told by any of these signals.
fn stop_signal(signals: &[c_int]) -> Result<CancellationToken, Failure> {
    let stop = CancellationToken::new();
    for number in signals {
        let mut told = signal(SignalKind::from_raw(*number))?;
        let stop = stop.clone();
        tokio::spawn(async move {
            told.recv().await;
            stop.cancel();
        });
    }
    Ok(stop)
}

/// Signals that ask a server to end.
const STOPPING: &[c_int] = &[Signal::INT.as_raw(), Signal::TERM.as_raw()];

/// Signals that would end a program at once: for one that must not leave something behind.
const ENDING: &[c_int] = &[
    Signal::INT.as_raw(),
    Signal::TERM.as_raw(),
    Signal::HUP.as_raw(),
    Signal::QUIT.as_raw(),
    Signal::USR1.as_raw(),
    Signal::USR2.as_raw(),
    Signal::ALARM.as_raw(),
];

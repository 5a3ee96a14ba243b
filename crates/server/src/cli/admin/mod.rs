//! Administration from a shell, beside whatever servers run on the database (docs/administration.md).
//!
//! One file for each thing there is. A command finds what was named, builds an operation as every face does, and prints
//! what came of it: for people, or with `--json` the object that the REST API shows an administrator.

use clap::{Args, Subcommand};

use super::{Failure, open};
use operator::Operator;
pub(super) use words::sentence;

mod application;
mod audit;
mod described;
mod group;
mod listing;
mod member;
mod narrow_token;
mod node;
mod operator;
mod project;
mod token;
mod user;
mod values;
mod words;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Manage users
    User(Of<user::Command>),
    /// Manage tokens: create, list, revoke, rotate, identify
    Token(Of<token::Command>),
    /// Manage OAuth applications of this instance
    Application(Of<application::Command>),
    /// Create and list projects
    Project(Of<project::Command>),
    /// Create and list groups
    Group(Of<group::Command>),
    /// Manage members of groups and projects
    Member(Of<member::Command>),
    /// List the audit log
    Audit(Of<audit::Command>),
    /// List the servers that use the database, or empty their caches
    Node(Of<node::Command>),
}

/// What every command takes, and the command.
#[derive(Args)]
pub(super) struct Of<C: Subcommand> {
    #[command(flatten)]
    at: open::At,
    /// Print JSON, where there is something to show
    #[arg(long, global = true, help_heading = open::COMMON)]
    json: bool,
    #[command(subcommand)]
    what: C,
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    macro_rules! perform {
        ($of:expr, $run:path) => {{
            let operator = Operator::open(&$of.at, $of.json).await?;
            let done = $run(&operator, $of.what).await;
            operator.app.db.close().await;
            done
        }};
    }
    match command {
        Command::User(of) => perform!(of, user::run),
        Command::Token(of) => perform!(of, token::run),
        Command::Application(of) => perform!(of, application::run),
        Command::Project(of) => perform!(of, project::run),
        Command::Group(of) => perform!(of, group::run),
        Command::Member(of) => perform!(of, member::run),
        Command::Audit(of) => perform!(of, audit::run),
        Command::Node(of) => perform!(of, node::run),
    }
}

//! `tollhouse demo --seed FILE`: the people, projects and credentials of somebody's tests, from a TOML file
//! (`docs/testing-with-tollhouse.md`).
//!
//! The file is read and checked wholly, and then written in one transaction. So a file with a mistake leaves no trace,
//! and every mistake in it is told at once.

use std::path::Path;
use std::time::Duration;

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Date;

use crate::config::Unusable;
use crate::operations::{applications, groups, projects, users};

mod check;
mod facts;
mod fields;
mod file;
mod fill;

pub use facts::Facts;
pub use file::Source;
pub use fill::{Fill, Filled};

/// What a file says, checked: every number is the place of something in its list.
#[derive(Debug, Default)]
pub struct Seed {
    /// What it was read from, as people are told.
    pub(super) name: String,
    users: Vec<User>,
    /// Each after the one around it.
    groups: Vec<Group>,
    projects: Vec<Project>,
    tokens: Vec<Token>,
    applications: Vec<Application>,
    oauth_tokens: Vec<OauthToken>,
}

impl Seed {
    /// Reads and checks a file. Fails with every mistake in it at once.
    pub fn load(path: &Path) -> Result<Self, Unusable> {
        check::check(&Source::read(path)?)
    }

    /// Of a file that was read.
    pub fn of(source: &Source) -> Result<Self, Unusable> {
        check::check(source)
    }
}

#[derive(Debug)]
struct User {
    create: users::CreateUser,
    /// In clear, until it is hashed.
    password: Option<Plaintext>,
}

#[derive(Debug)]
struct Group {
    full_path: String,
    parent: Option<usize>,
    create: groups::CreateGroup,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Project {
    full_path: String,
    within: Within,
    creator: Option<usize>,
    plan: projects::Plan,
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Within {
    Group(usize),
    /// Somebody's own namespace.
    User(usize),
}

#[derive(Debug)]
struct Member {
    user: usize,
    level: AccessLevel,
    expires_at: Option<Date>,
}

#[derive(Debug)]
struct Token {
    user: usize,
    name: String,
    scopes: Scopes,
    secret: Option<Plaintext>,
    end: End,
    revoked: bool,
}

#[derive(Clone, Copy, Debug)]
enum End {
    /// When the API would end it, if nobody says.
    Usual,
    On(Date),
    /// It was live once, and is so no longer, whenever the seed is used.
    Past,
}

#[derive(Debug)]
struct Application {
    create: applications::CreateApplication,
    client_id: Option<String>,
    client_secret: Option<Plaintext>,
}

#[derive(Debug)]
struct OauthToken {
    application: usize,
    /// `None`: it is the application's own.
    user: Option<usize>,
    scopes: Scopes,
    token: Option<Plaintext>,
    refresh_token: Option<Plaintext>,
    lifetime: Option<Duration>,
    expired: bool,
    revoked: bool,
}

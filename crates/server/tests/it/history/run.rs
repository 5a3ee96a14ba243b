//! Three servers on one database, the people who use them, and what is known of everything that was given and taken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tollhouse::app::App;
use tollhouse::config::Settings;
use tollhouse::urls::Urls;
use tollhouse_domain::access::Visibility;
use tollhouse_domain::id::{ProjectId, UserId};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Clock;
use tollhouse_store::db::Db;

use super::check::{self, Check, Handed, Moment, Story, Subject, Verdict};
use super::relay::Relay;
use crate::oauth::Client;
use crate::process::{Process, server};
use crate::test_server::TestServer;

pub struct Server {
    pub address: Cell<SocketAddr>,
    /// `None` while it is dead.
    pub process: RefCell<Option<Process>>,
    /// On PostgreSQL alone.
    pub relay: Option<Relay>,
    url: String,
    /// Something is being done to it.
    pub sick: Cell<bool>,
    /// It is stopped, so nobody should wait for it.
    pub stopped: Cell<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Personal,
    Oauth,
    Session,
    /// An access token of the project.
    Bot,
}

pub struct Owner {
    pub id: UserId,
    pub name: String,
    /// Whether the account may come in.
    pub status: Story,
    /// What has ended its sessions for good.
    pub ended: Story,
}

/// A secret that somebody holds, with the one that renews it.
pub struct Held {
    pub access: String,
    pub refresh: String,
    pub story: Story,
    /// What was given for it.
    pub handed: RefCell<Vec<Handed>>,
}

/// All that grew from one token, or one session.
pub struct Family {
    pub kind: Kind,
    pub owner: Rc<Owner>,
    pub story: Story,
    /// The newest one last.
    pub held: RefCell<Vec<Rc<Held>>>,
    /// It came of this code.
    pub code: Option<String>,
    pub began: Moment,
    /// From then on it may be revoked.
    pub until: Moment,
}

impl Family {
    pub fn newest(&self) -> Rc<Held> {
        self.held.borrow().last().expect("it began with one").clone()
    }

    /// Since when nothing of it is good any more.
    pub fn dead(&self) -> Option<Moment> {
        let ended = match self.kind {
            Kind::Session => self.owner.ended.taken().filter(|at| *at > self.began),
            Kind::Personal | Kind::Oauth | Kind::Bot => None,
        };
        self.story.taken().or(ended).or_else(|| self.newest().story.taken())
    }
}

pub struct HistoryRun {
    began: Instant,
    pub server: TestServer,
    pub servers: Vec<Server>,
    /// What the command line is: it writes, waits, and remembers nothing.
    pub command: App,
    pub client: Client,
    /// Whose bots there are.
    pub project: ProjectId,
    /// Of somebody who manages their tokens.
    pub manager: String,
    pub owners: Vec<Rc<Owner>>,
    pub families: RefCell<Vec<Rc<Family>>>,
    pub findings: RefCell<Vec<String>>,
    counts: RefCell<BTreeMap<String, u64>>,
    dice: Cell<u64>,
    pub over: Cell<bool>,
    environment: Vec<(&'static str, &'static str)>,
}

pub const PASSWORD: &str = "correct horse battery";

impl HistoryRun {
    /// Three servers, each with this in its environment.
    pub async fn found(t: TestServer, environment: &[(&'static str, &'static str)]) -> Rc<Self> {
        let client = t.client("api").await;
        let mut owners = Vec::new();
        for name in ["ada", "grace", "edsger", "barbara", "donald", "leslie"] {
            let person = t.user_with_password(name, PASSWORD).await;
            let owner = Owner { id: person.id, name: person.name, status: Story::default(), ended: Story::default() };
            owner.status.acknowledge(owner.status.begin("made", true, 0), 0);
            owners.push(Rc::new(owner));
        }
        let group = t.group("harbour", Visibility::Private).await;
        let project = t.project(group, "app", Visibility::Private).await;
        let manager = t.admin_named("harbour-master").await.token([Scope::Api]).await;
        t.leave().await;
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Server::new(&t).await);
        }
        let seed = std::env::var("TOLLHOUSE_HISTORY_SEED").ok().and_then(|seed| seed.parse().ok());
        let run = Rc::new(Self {
            began: Instant::now(),
            command: command(&t).await,
            client,
            project,
            manager,
            owners,
            servers,
            families: RefCell::default(),
            findings: RefCell::default(),
            counts: RefCell::default(),
            dice: Cell::new(seed.unwrap_or(0x7011_4053)),
            over: Cell::new(false),
            environment: environment.to_vec(),
            server: t,
        });
        join_all(run.servers.iter().map(|server| run.start(server, &[]))).await;
        run
    }

    pub fn now(&self) -> Moment {
        self.began.elapsed().as_nanos() as Moment
    }

    pub async fn start(&self, server: &Server, more: &[(&str, &str)]) {
        let mut command = self.serve(&server.url);
        command.env("TOLLHOUSE_FAULT", "repeat_is_reuse").envs(more.iter().copied());
        let process = Process::start(command).await;
        server.address.set(process.address);
        *server.process.borrow_mut() = Some(process);
    }

    /// A server that ends when we do, however that is.
    pub fn serve(&self, url: &str) -> Command {
        let plain = server(self.server.folder.path(), url);
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(plain.get_program()).args(plain.get_args());
        for (name, value) in plain.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.envs(self.environment.iter().copied());
        command.current_dir(self.server.folder.path());
        command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        command.stderr(std::process::Stdio::piped());
        command
    }

    pub fn count(&self, what: impl Into<String>) {
        *self.counts.borrow_mut().entry(what.into()).or_default() += 1;
    }

    pub fn counted(&self, what: &str) -> u64 {
        self.counts.borrow().get(what).copied().unwrap_or_default()
    }

    /// Those that begin with this word, with their numbers; and the sum.
    pub fn counts(&self, word: &str) -> (String, u64) {
        let counts = self.counts.borrow();
        let some: Vec<_> = counts.iter().filter_map(|(name, count)| Some((name.strip_prefix(word)?, count))).collect();
        let words: Vec<String> = some.iter().map(|(name, count)| format!("{name} {count}")).collect();
        (words.join(", "), some.iter().map(|(_, count)| **count).sum())
    }

    /// The first one ends the run.
    pub fn found_that(&self, what: String) {
        self.findings.borrow_mut().push(what);
        self.over.set(true);
    }

    /// Below `end`.
    pub fn throw(&self, end: usize) -> usize {
        let mut dice = self.dice.get();
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        self.dice.set(dice);
        (dice % end.max(1) as u64) as usize
    }

    pub fn one_of<'a, T>(&self, some: &'a [T]) -> Option<&'a T> {
        some.get(self.throw(some.len()))
    }

    pub fn between(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(least + self.throw((most - least) as usize) as u64)
    }

    /// `held`: none where it does not matter whether the secret was rotated away.
    pub fn judge(&self, check: &Check, family: &Family, held: Option<&Held>) {
        let mut grown = vec![&family.story];
        if family.kind == Kind::Session {
            grown.push(&family.owner.ended);
        }
        let (own, status) = (held.map(|held| [&held.story]), [&family.owner.status]);
        let mut subjects: Vec<Subject<'_>> = vec![&grown, &status];
        subjects.extend(own.as_ref().map(|own| &own[..]));
        let answered = if check.accepted { "accepted" } else { "refused" };
        match check::judge(check, &subjects) {
            Verdict::Right => self.count(format!("certain: {answered}")),
            Verdict::Open => self.count(format!("open: {answered}")),
            Verdict::Wrong(text) => self.found_that(text),
        }
    }
}

impl Server {
    async fn new(t: &TestServer) -> Self {
        let (relay, url) = Relay::to(&t.database_url).await.unzip();
        Self {
            address: Cell::new(SocketAddr::from(([127, 0, 0, 1], 1))),
            process: RefCell::new(None),
            relay,
            url: url.unwrap_or_else(|| t.database_url.clone()),
            sick: Cell::new(false),
            stopped: Cell::new(false),
        }
    }
}

/// As a command opens it.
async fn command(t: &TestServer) -> App {
    let settings = format!("data_dir = '{}'", t.folder.path().display());
    let settings = Settings::with(&settings).expect("settings");
    let urls = Urls::new("", &[], settings.listen, true).expect("own names");
    let db = join(t).await;
    App::for_command(db, settings, urls, Clock::system()).await.expect("an app")
}

pub async fn join(t: &TestServer) -> Db {
    Db::join(&t.url(), 0).await.expect("the database")
}

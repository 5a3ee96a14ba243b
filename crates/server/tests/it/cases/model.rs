//! The promise of `docs/protocols/rotation.md` section 1, tried at random against the real operations and the real
//! authenticator: a client of two processes with one store, a thief, two nodes on one database; requests that are lost,
//! doubled or late, answers that are lost, restarts. After each step the promise is held against what happened. Three
//! named bugs can be switched on, and the model must notice each. `TOLLHOUSE_MODEL_WALKS=5000` walks for longer.
//!
//! A tick is a second short of the minute that a request may be under way, since a request that took the whole of it is
//! not promised anything.

use std::collections::{BTreeSet, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tollhouse::app::App;
use tollhouse::operations::refresh::Refresh;
use tollhouse::operations::rotate::RotateSelf;
use tollhouse::operations::rotation::Rotated;
use tollhouse_auth::authenticator::Authenticator;
use tollhouse_auth::credential_cache::CredentialCache;
use tollhouse_auth::presented::PresentedCredentials;
use tollhouse_auth::uptime::Uptime;
use tollhouse_auth::uses::UseRules;
use tollhouse_domain::access_requirement::AccessRequirement;
use tollhouse_domain::application::Application;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::{ApplicationId, FamilyId, GenerationId, UserId};
use tollhouse_domain::identity::Rules;
use tollhouse_domain::lookup::{Answer, Key, Lookup, Record, UserName};
use tollhouse_domain::membership::{MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::rotation::{FamilyPosition, Outcome, decide};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::secret::{Digest, Plaintext};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::db::Db;
use tollhouse_store::faults::Bug;
use tollhouse_store::token_families::Generation;
use tollhouse_store::{oauth_access_tokens, personal_access_tokens};

use crate::test_server::TestServer;

cases![
    rotation_model_keeps_its_promise,
    rotation_model_finds_no_window,
    rotation_model_finds_no_settle,
    rotation_model_finds_a_blind_update,
];

const TICK: u64 = 59;
const STEPS: usize = 60;

/// What one rotation gives: the secret to rotate with, and the token to use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair {
    secret: String,
    token: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Who {
    Process(usize),
    Thief,
}

/// A request that is under way, and still is after it has arrived if it was doubled.
#[derive(Clone, Debug)]
struct Flight {
    who: Who,
    secret: String,
    sent: u64,
}

/// An answer that nobody has read yet.
#[derive(Clone, Debug)]
struct Letter {
    who: Who,
    presented: String,
    pair: Pair,
    sent: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Given(Pair),
    Wait,
    Dead,
}

/// What came before a presentation, and what came of it.
struct Presented {
    before: Generation,
    told: Told,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Personal,
    Oauth(ApplicationId),
}

/// Pseudo-random numbers, the same every time.
struct Randomness(u64);

impl Randomness {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n.max(1)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

type Happens = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// The database, with something that happens just before a first use is written down.
struct Meanwhile {
    db: Db,
    happens: Mutex<Option<Happens>>,
}

impl Lookup for Meanwhile {
    fn find(&self, key: Key) -> Answer<'_, Option<Record>> {
        self.db.find(key)
    }

    fn user<'a>(&'a self, name: UserName<'a>) -> Answer<'a, Option<User>> {
        self.db.user(name)
    }

    fn memberships(&self, user: UserId, of: MembershipSource, now: Timestamp) -> Answer<'_, Memberships> {
        self.db.memberships(user, of, now)
    }

    fn user_memberships(&self, user: UserId, now: Timestamp) -> Answer<'_, UserMemberships> {
        self.db.user_memberships(user, now)
    }

    fn application<'a>(&'a self, client_id: &'a str) -> Answer<'a, Option<Application>> {
        self.db.application(client_id)
    }

    fn first_use(&self, family: FamilyId, head: GenerationId, now: Timestamp) -> Answer<'_, bool> {
        let happens = self.happens.lock().expect("no panic").take();
        Box::pin(async move {
            if let Some(happens) = happens {
                happens.await;
            }
            self.db.first_use(family, head, now).await
        })
    }
}

struct ModelRun<'t> {
    t: &'t TestServer,
    nodes: [TestServer; 2],
    line: Line,
    randomness: Randomness,
    tick: u64,
    store: Pair,
    flights: Vec<Flight>,
    letters: Vec<Letter>,
    thief: BTreeSet<Pair>,
    thieving: bool,
    /// Tokens that were let in while they were the head.
    recognised: HashSet<String>,
    /// Whom a pair was handed to, and when.
    handed: Vec<(Pair, Who, u64)>,
    bug: bool,
}

type Found = Result<(), String>;

async fn present(app: &App, line: Line, secret: &str) -> Told {
    let presented = Plaintext::new(secret.to_owned());
    let rules = app.rotation();
    for _ in 0..20 {
        let told = match line {
            Line::Oauth(client) => {
                let operation = Refresh {
                    presented: presented.clone(),
                    client: Some(client),
                    scopes: None,
                    lifetime: Duration::from_secs(7200),
                    accounts: app.accounts(),
                    rules,
                };
                app.perform(operation, &By::system()).await.map(|done| match done.into_inner() {
                    Rotated::Successor(issued) => Told::Given(Pair {
                        secret: issued.refresh.expect("a refresh token").reveal().to_owned(),
                        token: issued.access.reveal().to_owned(),
                    }),
                    Rotated::Wait { .. } => Told::Wait,
                    Rotated::Dead => Told::Dead,
                })
            }
            Line::Personal => {
                let operation =
                    RotateSelf { presented: presented.clone(), expires_at: None, require_expiry: true, rules };
                app.perform(operation, &By::system()).await.map(|done| match done.into_inner() {
                    Rotated::Successor(made) => {
                        let secret = made.secret.reveal().to_owned();
                        Told::Given(Pair { token: secret.clone(), secret })
                    }
                    Rotated::Wait { .. } => Told::Wait,
                    Rotated::Dead => Told::Dead,
                })
            }
        };
        match told {
            Ok(told) => return told,
            // Who lost every round tries again.
            Err(tollhouse::error::Error::Unavailable) => {}
            Err(error) => panic!("a presentation failed: {error:?}"),
        }
    }
    panic!("no presentation came through");
}

impl ModelRun<'_> {
    async fn generation(&self, secret: &str) -> Generation {
        let digest = Digest::of(secret.as_bytes());
        let mut reader = self.t.app.db.read().await.expect("a reader");
        let found = match self.line {
            Line::Oauth(_) => oauth_access_tokens::by_refresh_digest(&mut reader, digest)
                .await
                .expect("a look-up")
                .map(|found| found.generation),
            Line::Personal => personal_access_tokens::by_digest(&mut reader, digest)
                .await
                .expect("a look-up")
                .map(|found| found.generation),
        };
        found.expect("its row")
    }

    fn node(&mut self) -> App {
        let node = self.randomness.below(2);
        self.nodes[node].app.clone()
    }

    /// The promise, as far as one presentation goes.
    async fn judge(&mut self, flight: &Flight, presented: Presented) -> Found {
        let Presented { before, told } = presented;
        let place = before.presented.place;
        match &told {
            Told::Given(pair) => {
                let now = self.generation(&pair.secret).await;
                if now.presented.place != FamilyPosition::Head {
                    return Err(format!("{:?} was given a successor that is not live", flight.who));
                }
                self.handed.push((pair.clone(), flight.who, self.tick));
                let times = self.handed.iter().filter(|(known, ..)| known == pair).map(|(.., at)| *at);
                let (first, last) = (times.clone().min(), times.max());
                if first.zip(last).is_some_and(|(first, last)| (last - first) * TICK >= 120) {
                    return Err("one pair was handed out over more than two minutes".into());
                }
                self.letters.push(Letter {
                    who: flight.who,
                    presented: flight.secret.clone(),
                    pair: pair.clone(),
                    sent: flight.sent,
                });
            }
            Told::Wait => {
                let repeated = before.presented.handed_at > before.presented.rotated_at;
                if place == FamilyPosition::PredecessorOfHead && !repeated && !before.presented.family_ended {
                    return Err("somebody had to wait, though nobody had asked again".into());
                }
            }
            Told::Dead => {
                if !self.thieving {
                    return Err("an honest client was refused".into());
                }
                let ended_now = !before.presented.family_ended;
                let head_used = self.recognised.contains(&self.head_token(&before).await);
                if ended_now && place == FamilyPosition::PredecessorOfHead && !head_used {
                    return Err("a family ended though nobody had shown its head".into());
                }
            }
        }
        Ok(())
    }

    /// The token to use of the family's head, as it was handed out.
    async fn head_token(&self, of: &Generation) -> String {
        for (pair, ..) in self.handed.iter().rev() {
            if Some(self.generation(&pair.secret).await.id) == of.head {
                return pair.token.clone();
            }
        }
        String::new()
    }

    async fn deliver(&mut self, flight: Flight) -> Found {
        let before = self.generation(&flight.secret).await;
        let told = present(&self.node(), self.line, &flight.secret).await;
        self.judge(&flight, Presented { before, told }).await
    }

    /// Two presentations of the same secret at the same moment, one on each node.
    async fn deliver_twice(&mut self, flight: Flight) -> Found {
        let before = self.generation(&flight.secret).await;
        let [a, b] = &self.nodes;
        let (one, two) =
            tokio::join!(present(&a.app, self.line, &flight.secret), present(&b.app, self.line, &flight.secret));
        if let (Told::Given(one), Told::Given(two)) = (&one, &two)
            && one != two
        {
            return Err("one secret was given two successors".into());
        }
        // Whoever came second saw what the first had done.
        let waited = [&one, &two].contains(&&Told::Wait);
        self.judge(&flight, Presented { before: before.clone(), told: if waited { two } else { one } }).await
    }

    /// Somebody shows a token at a route, while a request that is under way arrives in the midst of it.
    async fn show(&mut self, token: &str) -> Found {
        let node = self.node();
        let meanwhile = (!self.flights.is_empty() && self.randomness.one_in(2)).then(|| {
            let at = self.randomness.below(self.flights.len());
            self.flights.remove(at)
        });
        let told = Arc::new(Mutex::new(None));
        let happens: Option<Happens> = meanwhile.clone().map(|flight| {
            let (app, line, told) = (self.node(), self.line, told.clone());
            let happens = async move {
                let said = present(&app, line, &flight.secret).await;
                *told.lock().expect("no panic") = Some(said);
            };
            Box::pin(happens) as _
        });
        let before = match &meanwhile {
            Some(flight) => Some(self.generation(&flight.secret).await),
            None => None,
        };
        let lookup = Meanwhile { db: node.db.clone(), happens: Mutex::new(happens) };
        let rules = Rules { accounts: node.accounts(), gitlab_rotation: false, impersonation: true };
        let minute = Duration::from_secs(60);
        let uses = UseRules { session_lifetime: minute, from_sign_in: false, session_longest: None, interval: minute };
        let authenticator =
            Authenticator::new(Arc::new(lookup), Arc::new(CredentialCache::new(0)), Uptime::system(), rules, uses);
        let head = http_head(token);
        let judged = authenticator
            .authenticate(&PresentedCredentials::in_head(&head, None), &AccessRequirement::PLAIN, node.now())
            .await;
        let said = told.lock().expect("no panic").take();
        match (meanwhile, before, said) {
            (Some(flight), Some(before), Some(told)) => self.judge(&flight, Presented { before, told }).await?,
            // It was not the first use, so nothing came in between.
            (Some(flight), ..) => self.flights.push(flight),
            _ => {}
        }
        if judged.is_ok() {
            self.recognised.insert(token.to_owned());
        }
        Ok(())
    }

    /// What the client keeps must be good for something, now or soon.
    async fn stored_secret_works(&self) -> Found {
        if self.thieving || self.bug {
            return Ok(());
        }
        let stored = self.generation(&self.store.secret).await;
        let settings = self.t.app.rotation().settings;
        match decide(stored.presented, settings, self.t.now()) {
            Outcome::New | Outcome::Same | Outcome::Replace | Outcome::Wait { .. } => Ok(()),
            Outcome::Refuse | Outcome::Theft => Err("what the client keeps is dead".into()),
        }
    }

    fn pass_time(&mut self) {
        self.t.later(TICK);
        self.tick += 1;
        let tick = self.tick;
        self.flights.retain(|flight| tick - flight.sent <= 1);
        self.letters.retain(|letter| tick - letter.sent <= 1);
    }

    async fn step(&mut self) -> Found {
        match self.randomness.below(if self.thieving { 16 } else { 12 }) {
            0..=1 => {
                let who = Who::Process(self.randomness.below(2));
                self.flights.push(Flight { who, secret: self.store.secret.clone(), sent: self.tick });
            }
            2..=4 if !self.flights.is_empty() => {
                let at = self.randomness.below(self.flights.len());
                let flight = self.flights[at].clone();
                // Now and then a copy stays on its way.
                if !self.randomness.one_in(3) {
                    self.flights.remove(at);
                }
                match self.randomness.one_in(4) {
                    true => self.deliver_twice(flight).await?,
                    false => self.deliver(flight).await?,
                }
            }
            5..=6 if !self.letters.is_empty() => {
                let at = self.randomness.below(self.letters.len());
                let letter = self.letters.remove(at);
                match letter.who {
                    _ if self.randomness.one_in(3) => {}
                    Who::Thief => drop(self.thief.insert(letter.pair)),
                    Who::Process(_) if self.store.secret == letter.presented => self.store = letter.pair,
                    Who::Process(_) => {}
                }
            }
            7..=8 => {
                let token = self.store.token.clone();
                self.show(&token).await?;
            }
            9..=10 => self.pass_time(),
            11 if self.randomness.one_in(6) => {
                let node = self.randomness.below(2);
                let fresh = self.t.reopened(NODE).await;
                std::mem::replace(&mut self.nodes[node], fresh).app.db.close().await;
            }
            12 => drop(self.thief.insert(self.store.clone())),
            13..=14 if !self.thief.is_empty() => {
                let at = self.randomness.below(self.thief.len());
                let secret = self.thief.iter().nth(at).expect("a pair").secret.clone();
                self.flights.push(Flight { who: Who::Thief, secret, sent: self.tick });
            }
            15 if !self.thief.is_empty() => {
                let at = self.randomness.below(self.thief.len());
                let token = self.thief.iter().nth(at).expect("a pair").token.clone();
                self.show(&token).await?;
            }
            _ => {}
        }
        self.stored_secret_works().await
    }

    /// Everything comes to rest, and an honest client goes on.
    async fn come_to_rest(&mut self) -> Found {
        if self.thieving {
            return Ok(());
        }
        self.flights.clear();
        self.letters.clear();
        for _ in 0..6 {
            let secret = self.store.secret.clone();
            match present(&self.node(), self.line, &secret).await {
                Told::Given(pair) => {
                    self.store = pair;
                    let token = self.store.token.clone();
                    self.show(&token).await?;
                    let live = self.recognised.contains(&token);
                    return if live { Ok(()) } else { Err("what the client was given opens nothing".into()) };
                }
                Told::Wait => self.pass_time(),
                Told::Dead => return Err("an honest client is locked out".into()),
            }
        }
        Err("an honest client waits and waits".into())
    }

    /// What is different about this moment, and nothing else of it.
    async fn fingerprint(&self) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut secrets: Vec<&str> = vec![&self.store.secret];
        secrets.extend(self.flights.iter().map(|flight| flight.secret.as_str()));
        secrets.extend(self.letters.iter().flat_map(|letter| [letter.presented.as_str(), letter.pair.secret.as_str()]));
        secrets.extend(self.thief.iter().map(|pair| pair.secret.as_str()));
        let now = self.t.now();
        for secret in secrets {
            let row = self.generation(secret).await;
            let age = |at: Option<Timestamp>| at.map(|at| ((now.0 - at.0) / 1000 / TICK as i64).min(6));
            let presented = row.presented;
            let place = match presented.place {
                FamilyPosition::Head => 0,
                FamilyPosition::PredecessorOfHead => 1,
                FamilyPosition::Other => 2,
            };
            let ages = (age(presented.rotated_at), age(presented.handed_at));
            (place, presented.head_used, presented.family_ended, ages).hash(&mut hash);
        }
        let ages = |sent: u64| self.tick - sent;
        self.flights.iter().map(|flight| (flight.who, ages(flight.sent))).collect::<Vec<_>>().hash(&mut hash);
        self.letters.iter().map(|letter| (letter.who, ages(letter.sent))).collect::<Vec<_>>().hash(&mut hash);
        hash.finish()
    }
}

fn http_head(token: &str) -> axum::http::request::Parts {
    let request = axum::http::Request::get("/").header("authorization", format!("Bearer {token}"));
    request.body(()).expect("a request").into_parts().0
}

/// A node that remembers nothing: what one node tells the other comes with many processes.
const NODE: &str = "ledger.entries = 0";

struct Walked {
    steps: usize,
    states: HashSet<u64>,
    found: Option<String>,
}

/// So many walks, or until something is found.
async fn walk(t: &TestServer, walks: u64, bug: Bug) -> Walked {
    let ada = t.user("ada").await;
    let client = t.client("api").await;
    let nodes = async || {
        let node = t.reopened(NODE).await;
        node.app.db.faults.set_bug(bug);
        node
    };
    let mut walked = Walked { steps: 0, states: HashSet::new(), found: None };
    let mut pair = Some([nodes().await, nodes().await]);
    for seed in 1..=walks {
        let oauth = seed % 3 != 0;
        let store = first(&ada, &client, oauth).await;
        let mut run = ModelRun {
            t,
            nodes: pair.take().expect("two nodes"),
            line: if oauth { Line::Oauth(client.id) } else { Line::Personal },
            randomness: Randomness(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            tick: 0,
            flights: Vec::new(),
            letters: Vec::new(),
            thief: BTreeSet::new(),
            thieving: seed % 2 == 0,
            recognised: HashSet::from([store.token.clone()]),
            handed: vec![(store.clone(), Who::Process(0), 0)],
            store,
            bug: bug != Bug::None,
        };
        let outcome = async {
            for _ in 0..STEPS {
                walked.steps += 1;
                run.step().await?;
                for node in &run.nodes {
                    node.app.db.faults.set_bug(bug);
                }
                walked.states.insert(run.fingerprint().await);
            }
            run.come_to_rest().await
        };
        if let Err(what) = outcome.await {
            walked.found = Some(format!("{what} (walk {seed})"));
        }
        pair = Some(run.nodes);
        if walked.found.is_some() {
            break;
        }
    }
    for node in pair.take().into_iter().flatten() {
        node.app.db.close().await;
    }
    walked
}

async fn first(ada: &crate::test_server::Person, client: &crate::oauth::Client, oauth: bool) -> Pair {
    if oauth {
        let tokens = client.tokens(ada, "api").await;
        return Pair { secret: tokens.refresh, token: tokens.access };
    }
    let secret = ada.token([Scope::Api]).await;
    Pair { token: secret.clone(), secret }
}

fn engine(t: &TestServer) -> &'static str {
    if t.app.db.is_postgres() { "PostgreSQL" } else { "SQLite" }
}

async fn rotation_model_keeps_its_promise(t: TestServer) {
    let walks = std::env::var("TOLLHOUSE_MODEL_WALKS").ok().and_then(|walks| walks.parse().ok()).unwrap_or(150);
    let walked = walk(&t, walks, Bug::None).await;
    let (steps, states) = (walked.steps, walked.states.len());
    println!("rotation model on {}: {steps} steps, {states} distinct states, nothing found", engine(&t));
    assert_eq!(walked.found, None);
}

async fn finds(t: &TestServer, bug: Bug) {
    let walked = walk(t, 400, bug).await;
    let steps = walked.steps;
    let found = walked.found.unwrap_or_else(|| panic!("the model does not find {bug:?} in {steps} steps"));
    println!("rotation model on {}: {bug:?} found after {steps} steps: {found}", engine(t));
}

async fn rotation_model_finds_no_window(t: TestServer) {
    finds(&t, Bug::NoWindow).await;
}

async fn rotation_model_finds_no_settle(t: TestServer) {
    finds(&t, Bug::NoSettle).await;
}

async fn rotation_model_finds_a_blind_update(t: TestServer) {
    finds(&t, Bug::BlindUpdate).await;
}

//! A test server: one server on a fresh database, and its clients. Requests go down the same
//! HTTP service as in production; only the socket is left out.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::Method;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tollhouse::app::App;
use tollhouse::config::Settings;
use tollhouse::http_service::HttpService;
use tollhouse::keys::Seal;
use tollhouse::operations::resource_access_tokens::CreateResourceToken;
use tollhouse::operations::service_accounts::{CreateServiceAccount, Home, Names};
use tollhouse::operations::{Failed, Operation, deploy_tokens, groups, members, projects, tokens, users};
use tollhouse::routes::table;
use tollhouse::urls::Urls;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::agreement::NodeId;
use tollhouse_domain::audit::By;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::{CsrfSecret, Plaintext};
use tollhouse_domain::time::{Clock, Date, Timestamp};
use tollhouse_store::audit_events::{self, AuditEvent};
use tollhouse_store::db::{Db, Url};
use tollhouse_store::tx::{Change, Tx};

use crate::postgres::Postgres;

mod asking;

pub use asking::{Ask, Reply};

pub const M401: &str = r#"{"message":"401 Unauthorized"}"#;
pub const EXPIRED: &str = r#"{"error":"invalid_token","error_description":"Token is expired. You can either do re-authorization or token refresh."}"#;
pub const REVOKED: &str =
    r#"{"error":"invalid_token","error_description":"Token was revoked. You have to re-authorize from the user."}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// What is wrong with a server in which a test must fail.
#[derive(Clone, Copy, Debug)]
pub enum Wrong {
    Answers,
    Rule(Mutant),
}

#[derive(Clone)]
pub struct TestServer {
    pub app: App,
    pub service: Arc<HttpService>,
    pub clock: Clock,
    /// As on a command line.
    pub database_url: String,
    pub folder: Arc<TempDir>,
    database: Option<String>,
    wrong: Option<Wrong>,
    stop: CancellationToken,
    following: Arc<Mutex<Option<JoinHandle<tollhouse_store::error::Result<()>>>>>,
}

/// What is to be taken away after a test that went well.
pub struct Leftovers {
    app: App,
    database: Option<String>,
    _folder: Arc<TempDir>,
}

impl Leftovers {
    pub async fn clear(self, postgres: Option<&Postgres>) {
        self.app.db.close().await;
        if let (Some(postgres), Some(name)) = (postgres, self.database) {
            postgres.drop_database(&name);
        }
    }
}

impl TestServer {
    pub async fn found(engine: Engine, postgres: Option<&Postgres>, settings: &str, wrong: Option<Wrong>) -> Self {
        let folder = Arc::new(TempDir::new().expect("a temporary folder"));
        let (url, database) = match (engine, postgres) {
            (Engine::Postgres, Some(postgres)) => {
                let name = postgres.prepared_database();
                (postgres.url(&name), Some(name))
            }
            _ => (format!("sqlite:{}", folder.path().join("tollhouse.db").display()), None),
        };
        let clock = Clock::by_hand(START);
        Self::open(url, settings, clock, folder, database, wrong).await
    }

    async fn open(
        database_url: String,
        settings: &str,
        clock: Clock,
        folder: Arc<TempDir>,
        database: Option<String>,
        wrong: Option<Wrong>,
    ) -> Self {
        let settings = format!("data_dir = '{}'\n{settings}", folder.path().display());
        let settings = Settings::with(&settings).expect("settings");
        let listen = settings.listen;
        let urls = Urls::new(&settings.external_url, &settings.external_hosts, listen, true).expect("own names");
        let url: Url = database_url.parse().expect("a URL");
        let db = Db::open(&url, settings.storage.reserve.0).await.expect("a database");
        if let Some(Wrong::Rule(mutant)) = wrong {
            db.faults.mutants.set(Some(mutant));
        }
        let seal = Seal::made(&folder.path().join("secret_key")).expect("a secret");
        let app = App::new(db, settings, urls, clock.clone(), seal).await.expect("an app");
        if let Some(Wrong::Answers) = wrong {
            app.faults.garble_all();
        }
        let stop = CancellationToken::new();
        let following = tokio::spawn(app.node.clone().follow("test".to_owned(), stop.clone()));
        let following = Arc::new(Mutex::new(Some(following)));
        let service = Arc::new(HttpService::new(app.clone(), table()));
        Self { app, service, clock, database_url, folder, database, wrong, stop, following }
    }

    /// The same database, opened by a process that remembers nothing.
    pub async fn reopened(&self, settings: &str) -> Self {
        let database = self.database.clone();
        let (url, clock, folder) = (self.database_url.clone(), self.clock.clone(), self.folder.clone());
        Self::open(url, settings, clock, folder, database, self.wrong).await
    }

    /// Swept, and then opened by a process that remembers nothing.
    pub async fn swept(&self, settings: &str) -> Self {
        tollhouse::job::sweep(&self.app).await;
        self.reopened(settings).await
    }

    /// Ends this server in order, so that nobody waits for it, and leaves the database to others.
    pub async fn leave(&self) {
        self.stop.cancel();
        let following = self.following.lock().expect("no panic").take();
        if let Some(following) = following {
            following.await.expect("no panic").expect("an end");
        }
        self.app.db.close().await;
    }

    /// From now on nobody follows the log here, and nobody says so: as if that task had been forgotten by its machine.
    pub fn freeze(&self) {
        if let Some(following) = self.following.lock().expect("no panic").take() {
            following.abort();
        }
    }

    /// Entries of the log from a position on, without those that mean nothing.
    pub async fn log(&self, from: i64) -> Vec<(i64, Invalidation)> {
        let mut link = self.app.db.link().await.expect("a link");
        let page = link.read(from, NodeId([0; 16])).await.expect("the log");
        let entries = page.entries.into_iter().map(|entry| (entry.place.position, entry.what));
        entries.filter(|(position, what)| *position >= from && *what != Invalidation::Nothing).collect()
    }

    /// Which rule is broken here.
    pub fn broken(&self) -> Option<Mutant> {
        match self.wrong? {
            Wrong::Rule(mutant) => Some(mutant),
            Wrong::Answers => None,
        }
    }

    pub fn url(&self) -> Url {
        self.database_url.parse().expect("a URL")
    }

    /// Of a database beside this one, in which there is nothing.
    pub fn empty_database(&self) -> String {
        if self.app.db.is_postgres() {
            return crate::postgres::empty_beside(&self.database_url);
        }
        format!("sqlite:{}", self.folder.path().join("empty.db").display())
    }

    pub fn leftovers(&self) -> Leftovers {
        Leftovers { app: self.app.clone(), database: self.database.clone(), _folder: self.folder.clone() }
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub async fn does<O: Operation>(&self, operation: O) -> O::Output {
        match self.app.perform(operation, &By::system()).await {
            Ok(done) => done.into_inner(),
            Err(error) => panic!("an operation of the set-up failed: {error:?}"),
        }
    }

    pub async fn user(&self, name: &str) -> Person {
        self.person(users::CreateUser::person(name, &format!("{name} Example"))).await
    }

    pub async fn admin(&self) -> Person {
        self.admin_named("warden").await
    }

    pub async fn admin_named(&self, name: &str) -> Person {
        self.person(users::CreateUser { administrator: true, ..users::CreateUser::person(name, name) }).await
    }

    pub async fn person(&self, create: users::CreateUser) -> Person {
        let name = create.username.clone();
        let id = self.does(create).await;
        Person { server: self.clone(), id, name }
    }

    /// Somebody with a password.
    pub async fn user_with_password(&self, name: &str, password: &str) -> Person {
        let digest = self.app.hasher.hash(&Plaintext::new(password.to_owned())).await;
        self.person(users::CreateUser { password_digest: Some(digest), ..users::CreateUser::person(name, name) }).await
    }

    pub async fn group(&self, path: &str, visibility: Visibility) -> NamespaceId {
        self.subgroup(path, None, visibility).await
    }

    pub async fn subgroup(&self, path: &str, parent: Option<NamespaceId>, visibility: Visibility) -> NamespaceId {
        let (name, path) = (path.to_owned(), path.to_owned());
        self.does(groups::CreateGroup { name, path, parent, visibility, owner: None }).await.id
    }

    /// A project in a group, made by an administrator who is no member.
    pub async fn project(&self, group: NamespaceId, path: &str, visibility: Visibility) -> ProjectId {
        let mut reader = self.app.db.read().await.expect("a reader");
        let known =
            tollhouse_store::users::named(&mut reader, tollhouse_domain::lookup::UserName::Name("builder")).await;
        drop(reader);
        let builder = match known.expect("a look-up") {
            Some(user) => user.id,
            None => {
                let builder =
                    users::CreateUser { administrator: true, ..users::CreateUser::person("builder", "Builder") };
                self.does(builder).await
            }
        };
        self.does(projects::CreateProject {
            creator: builder,
            name: Some(path.to_owned()),
            path: Some(path.to_owned()),
            namespace: Some(group),
            description: None,
            visibility,
        })
        .await
    }

    /// A token of a group or project with `api`, whose bot has this level.
    pub async fn resource_token(&self, resource: MembershipSource, level: AccessLevel) -> tokens::Created {
        let operation = CreateResourceToken {
            resource,
            caller: None,
            name: "bot".into(),
            description: None,
            scopes: Scopes::from([Scope::Api]),
            level,
            expires_at: None,
            require_expiry: true,
            host: self.app.urls.ssh_host().to_owned(),
        };
        self.does(operation).await
    }

    /// An account for a program, of this server or of a group or project.
    pub async fn service_account(&self, of: Option<MembershipSource>) -> Person {
        let (names, host) = (Names::default(), self.app.urls.ssh_host().to_owned());
        let made = self.does(CreateServiceAccount { home: Home { of, caller: None }, names, host }).await;
        Person { server: self.clone(), id: made.id, name: made.username }
    }

    pub async fn member(&self, of: MembershipSource, user: &Person, level: AccessLevel) {
        self.does(members::Add { of, user: user.id, level, expires_at: None }).await;
    }

    /// A deploy token with the scope `read_registry`.
    pub async fn deploy_token(&self, of: MembershipSource) -> String {
        let create = deploy_tokens::CreateDeployToken {
            of,
            name: "deploy".to_owned(),
            username: None,
            scopes: [DeployScope::ReadRegistry].into_iter().collect(),
            expires_at: None,
        };
        self.does(create).await.secret.reveal().to_owned()
    }

    /// The newest lines of the audit log, the newest first.
    pub async fn trail(&self, limit: i64) -> Vec<AuditEvent> {
        let mut reader = self.app.db.read().await.expect("a reader");
        audit_events::newest(&mut reader, limit).await.expect("the trail")
    }

    /// The names of all events, the newest first.
    pub async fn events(&self) -> Vec<String> {
        self.trail(1_000).await.into_iter().map(|line| line.event).collect()
    }

    /// How many events have that name.
    pub async fn count(&self, event: &str) -> usize {
        self.events().await.iter().filter(|known| *known == event).count()
    }

    pub fn get(&self, target: &str) -> Ask {
        self.ask(Method::GET, target)
    }

    pub fn post(&self, target: &str) -> Ask {
        self.ask(Method::POST, target)
    }

    pub fn delete(&self, target: &str) -> Ask {
        self.ask(Method::DELETE, target)
    }

    pub fn ask(&self, method: Method, target: &str) -> Ask {
        Ask::new(self.clone(), method, target)
    }
}

/// Hears everything and keeps nothing. Without somebody who listens, what is said while no test does would never be
/// said again.
pub struct Deaf;

impl tracing::Subscriber for Deaf {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("tollhouse")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// What is logged, as text, while something happens.
pub async fn logged(what: impl Future<Output = ()>) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);
    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    {
        let _here = tracing::subscriber::set_default(subscriber);
        what.await;
    }
    let bytes = lines.0.lock().expect("no panic").clone();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Noon, so that a day can be crossed in either direction.
pub const START: Timestamp = Timestamp(1_795_348_800_000);

#[derive(Clone)]
pub struct Person {
    server: TestServer,
    pub id: UserId,
    pub name: String,
}

impl Person {
    pub async fn token<const N: usize>(&self, scopes: [Scope; N]) -> String {
        self.made_token(scopes).await.secret.reveal().to_owned()
    }

    pub async fn made_token<const N: usize>(&self, scopes: [Scope; N]) -> tokens::Created {
        self.server.does(self.create_token(Scopes::from(scopes), None)).await
    }

    /// With scopes that she could not ask for.
    pub async fn token_with_any<const N: usize>(&self, scopes: [Scope; N]) -> String {
        let secret = Plaintext::session();
        let operation = InsertToken { user: self.id, secret: secret.clone(), scopes: Scopes::from(scopes) };
        self.server.does(operation).await;
        secret.reveal().to_owned()
    }

    /// A token that is dead from that day on.
    pub async fn token_until(&self, day: Date) -> String {
        let create = self.create_token(Scopes::from([Scope::Api]), Some(day));
        self.server.does(create).await.secret.reveal().to_owned()
    }

    /// A token that was live yesterday and is expired now.
    pub async fn expired_token<const N: usize>(&self, scopes: [Scope; N]) -> String {
        let tomorrow = self.server.now().date().plus_days(1);
        let create = self.create_token(Scopes::from(scopes), Some(tomorrow));
        let secret = self.server.does(create).await.secret;
        self.server.later(24 * 3600);
        secret.reveal().to_owned()
    }

    pub async fn revoked_token<const N: usize>(&self, scopes: [Scope; N]) -> String {
        let made = self.made_token(scopes).await;
        self.server.does(tokens::Revoke { id: made.token.id }).await;
        made.secret.reveal().to_owned()
    }

    pub fn create_token(&self, scopes: Scopes, expires_at: Option<Date>) -> tokens::CreateToken {
        tokens::CreateToken {
            user: self.id,
            administrator: None,
            self_service: false,
            grantable: None,
            impersonation: false,
            name: "test".into(),
            scopes,
            expires_at,
            description: None,
            require_expiry: true,
            secret: None,
        }
    }

    pub async fn set_state(&self, change: users::SetState) {
        assert!(self.server.does(change).await, "the state changes");
    }

    /// Signed in, without the work of a password.
    pub async fn session(&self) -> Session {
        let cookie = Plaintext::session();
        let lifetime = self.server.app.settings.sessions.lifetime.0;
        self.server.does(BeginSession { user: self.id, session: cookie.clone(), lifetime }).await;
        Session { cookie: cookie.reveal().to_owned() }
    }
}

/// A session, as a sign-in makes it.
pub struct BeginSession {
    pub user: UserId,
    pub session: Plaintext,
    pub lifetime: Duration,
}

impl Operation for BeginSession {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        let new = tollhouse_store::sessions::NewSession {
            digest: self.session.digest(),
            user: self.user,
            expires_at: now + self.lifetime,
            address: None,
            user_agent: None,
        };
        tollhouse_store::sessions::insert(tx, &new, now).await?;
        Ok(Change::nothing(()))
    }
}

/// A token past the rules that say who may hold what.
struct InsertToken {
    user: UserId,
    secret: Plaintext,
    scopes: Scopes,
}

impl Operation for InsertToken {
    type Output = ();

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        let family = tollhouse_store::token_families::insert(tx).await?;
        let new = tollhouse_store::personal_access_tokens::NewToken {
            family,
            previous: None,
            digest: self.secret.digest(),
            user: self.user,
            name: "test",
            description: None,
            scopes: &self.scopes,
            impersonation: false,
            expires_at: None,
        };
        let id = tollhouse_store::personal_access_tokens::insert(tx, &new, now).await?;
        tollhouse_store::token_families::begin(tx, family, id, now).await?;
        Ok(Change::nothing(()))
    }
}

#[derive(Clone, Debug)]
pub struct Session {
    pub cookie: String,
}

impl Session {
    pub fn csrf(&self) -> String {
        CsrfSecret::of_session(self.cookie.as_bytes()).mask()
    }
}

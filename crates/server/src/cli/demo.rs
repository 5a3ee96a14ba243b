//! `tollhouse demo`: a server with something in it, and lines to paste.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use data_encoding::HEXLOWER;
use serde_json::json;
use tokio::net::TcpListener;
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::id::{NamespaceId, ProjectId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::{CsrfSecret, Plaintext, random};
use tollhouse_domain::time::{Clock, Timestamp};
use tollhouse_store::db::{Db, Url};
use tollhouse_store::instance;
use tollhouse_store::tx::{Change, Tx};

use super::seed::{self, Fill, Seed};
use super::{ENDING, Failure, check, open};
use crate::app::{App, DEMO};
use crate::config::Settings;
use crate::error::Error;
use crate::keys::Seal;
use crate::operations::applications::Created;
use crate::operations::password_check::Origin;
use crate::operations::sign_in::{Attempt, SignIn, sign_in};
use crate::operations::{Failed, Operation, applications, groups, members, projects, tokens, users};
use crate::refusal::Refusal;
use crate::serve;
use crate::urls::Urls;

pub(super) async fn run(flags: super::Demo) -> Result<(), Failure> {
    if !flags.listen.ip().is_loopback() && !flags.public {
        return Err(Failure::Unusable(format!(
            "{} can be reached by others: to allow that, add --public and --external-url URL, under which they reach it",
            flags.listen
        )));
    }
    super::warn_of_password(flags.database.as_deref());
    // A file with a mistake leaves no trace.
    let seed = flags.seed.as_deref().map(Seed::load).transpose()?;
    // Before anything is made: a signal from here on ends it in order.
    let stop = super::stop_signal(ENDING)?;
    let folder = Folder::make()?;
    let url: Url = match &flags.database {
        Some(url) => url.parse().map_err(|text| Failure::Unusable(format!("database: {text}")))?,
        None => Url::Sqlite(folder.0.join("tollhouse.db")),
    };
    if !Db::is_empty(&url).await.with_context(|| format!("{url}"))? {
        return Err(anyhow!(
            "{url} is not empty; demo fills only an empty database (to serve one that demo filled: tollhouse serve \
             --demo-data --database {url})"
        )
        .into());
    }
    let mut settings = Settings::with("log.level = 'warn'")?;
    settings.data_dir = folder.0.clone();
    settings.insecure_http = flags.public;
    super::log(&settings)?;

    let listener = TcpListener::bind(flags.listen).await.map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => anyhow!("--listen: {}", check::taken(flags.listen)),
        _ => anyhow!("--listen: {}: {error}", flags.listen),
    })?;
    let address = listener.local_addr()?;
    let external = flags.external_url.as_deref().unwrap_or_default();
    let urls = Urls::new(external, &[], address, settings.insecure_http)?;
    super::tell_of_other_spelling(&urls);
    let db = Db::open(&url, settings.storage.reserve.0).await.with_context(|| format!("{url}"))?;
    let mark = App::new(db.clone(), settings.clone(), urls.clone(), Clock::system(), seal(&url)?).await?;
    let seeded = match seed {
        Some(seed) => tokio::select! {
            seeded = plant(&mark, seed) => Some(seeded?),
            // Passwords take their time.
            () = stop.cancelled() => {
                db.close().await;
                return Ok(());
            }
        },
        None => {
            made(mark.perform(MarkAsDemo, &By::system()).await)?;
            None
        }
    };
    // Again, now that the database knows what it is.
    let app = App::new(db.clone(), settings, urls, Clock::system(), seal(&url)?).await?;
    let base = match flags.external_url {
        Some(_) => app.urls.base().to_owned(),
        None => serve::base_url(address),
    };
    let (json, text) = match seeded {
        Some(facts) => (facts.json(&base), facts.text(&base, app.now(), flags.json)),
        None => {
            let facts = fill(&app).await?;
            (facts.json(&base), facts.text(&base))
        }
    };
    let mut out = std::io::stdout().lock();
    if flags.json {
        writeln!(out, "{json}")?;
    }
    write!(out, "{text}")?;
    out.flush()?;
    drop(out);
    let ended = serve::run(app, listener, stop).await;
    open::close(&db).await;
    Ok(ended?)
}

/// The keys of a demo on PostgreSQL stand open: its other secrets are known too.
fn seal(url: &Url) -> Result<Seal, Failure> {
    match url {
        Url::Sqlite(path) => Ok(Seal::made(&path.with_added_extension("key"))?),
        Url::Postgres(_) => Ok(Seal::open()),
    }
}

/// Everything that a seed asks for.
async fn plant(app: &App, seed: Seed) -> Result<seed::Facts, Failure> {
    let lifetime = app.settings.oauth.access_token_lifetime.0;
    let fill = Arc::new(made_error(Fill::prepare(seed, &app.hasher, lifetime).await)?);
    let filled = made(app.perform(fill.clone(), &By::system()).await)?;
    Ok(seed::Facts { fill, filled })
}

/// What was made, for whoever wants to try it.
struct Facts {
    user_login: &'static str,
    user_password: Plaintext,
    user_token: Plaintext,
    read_token: Plaintext,
    admin_token: Plaintext,
    session: Plaintext,
    public: ProjectId,
    internal: ProjectId,
    private: ProjectId,
    group: NamespaceId,
    confidential: Created,
    spa: Created,
}

async fn fill(app: &App) -> Result<Facts, Failure> {
    let by = By::system();
    let user_password = Plaintext::new(HEXLOWER.encode(&random::<8>()));
    let digest = app.hasher.hash(&user_password).await;
    let root_digest = app.hasher.hash(&Plaintext::password()).await;
    let person = async |operation: users::CreateUser| made(app.perform(operation, &By::system()).await);
    let root = person(users::CreateUser {
        administrator: true,
        password_digest: Some(root_digest),
        ..users::CreateUser::person("root", "Administrator")
    })
    .await?;
    let ada = users::CreateUser { password_digest: Some(digest), ..users::CreateUser::person("ada", "Ada Example") };
    let ada = person(ada).await?;
    let grace = person(users::CreateUser::person("grace", "Grace Example")).await?;

    let group = |name: &str, path: &str, parent, visibility| {
        let (name, path) = (name.to_owned(), path.to_owned());
        groups::CreateGroup { name, path, parent, visibility, owner: Some(grace) }
    };
    let harbour = made(app.perform(group("Harbour", "harbour", None, Visibility::Public), &by).await)?.id;
    let pilots = group("Pilots", "pilots", Some(harbour), Visibility::Private);
    let pilots = made(app.perform(pilots, &by).await)?.id;

    let project = |name: &str, description: &str, namespace, visibility| projects::CreateProject {
        creator: grace,
        name: Some(name.to_owned()),
        path: None,
        namespace: Some(namespace),
        description: Some(description.to_owned()),
        visibility,
    };
    let public = project("Timetable", "When the ferries leave. Everybody can see it.", harbour, Visibility::Public);
    let public = made(app.perform(public, &by).await)?;
    let internal = project("Moorings", "Who lies where. For people who are signed in.", harbour, Visibility::Internal);
    let internal = made(app.perform(internal, &by).await)?;
    let private = project("Charts", "Soundings of the harbour. For its members.", pilots, Visibility::Private);
    let private = made(app.perform(private, &by).await)?;
    for of in [MembershipSource::Project(public), MembershipSource::Project(private)] {
        let add = members::Add { of, user: ada, level: AccessLevel::Developer, expires_at: None };
        made(app.perform(add, &by).await)?;
    }
    let add = members::Add {
        of: MembershipSource::Group(pilots),
        user: ada,
        level: AccessLevel::Developer,
        expires_at: None,
    };
    made(app.perform(add, &by).await)?;

    let token = |user: UserId, name: &str, scopes: Scopes| tokens::CreateToken {
        user,
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name: name.to_owned(),
        scopes,
        expires_at: None,
        description: None,
        require_expiry: true,
        secret: None,
    };
    let user_token = made(app.perform(token(ada, "demo", Scopes::from([Scope::Api])), &by).await)?.secret;
    let reads = token(ada, "demo, read-only", Scopes::from([Scope::ReadApi, Scope::SelfRotate]));
    let read_token = made(app.perform(reads, &by).await)?.secret;
    let admin = token(root, "demo", Scopes::from([Scope::Api, Scope::Sudo]));
    let admin_token = made(app.perform(admin, &by).await)?.secret;

    let application = |name: &str, confidential| applications::CreateApplication {
        name: name.to_owned(),
        redirect_uri: REDIRECT_URI.to_owned(),
        scopes: "api read_api read_user openid profile email".to_owned(),
        confidential,
        trusted: false,
        owner: None,
        by: None,
        plain_http: true,
    };
    let confidential = made(app.perform(application("Ferry board", true), &by).await)?;
    let spa = made(app.perform(application("Ferry app", false), &by).await)?;

    let attempt = Attempt {
        login: "ada",
        password: user_password.clone(),
        origin: Origin::default(),
        user_agent: Some("demo"),
        session: None,
    };
    let session = match made_error(sign_in(app, attempt).await)? {
        SignIn::In { session, .. } => session,
        SignIn::Wrong(_) | SignIn::Refused(_) => return Err(anyhow!("the demo user could not sign in").into()),
    };
    Ok(Facts {
        user_login: "ada",
        user_password,
        user_token,
        read_token,
        admin_token,
        session,
        public,
        internal,
        private,
        group: harbour,
        confidential,
        spa,
    })
}

impl Facts {
    fn json(&self, base: &str) -> serde_json::Value {
        json!({
            "base_url": base,
            "admin_token": self.admin_token.reveal(),
            "user_login": self.user_login,
            "user_password": self.user_password.reveal(),
            "user_token": self.user_token.reveal(),
            "read_token": self.read_token.reveal(),
            "session": self.session.reveal(),
            "csrf_token": self.csrf_token(),
            "public_project_id": self.public,
            "internal_project_id": self.internal,
            "private_project_id": self.private,
            "group_id": self.group,
            "oauth_client_id": self.confidential.application.uid,
            "oauth_client_secret": self.confidential.secret.reveal(),
            "oauth_public_client_id": self.spa.application.uid,
            "oauth_redirect_uri": REDIRECT_URI,
        })
    }

    /// Of the session, masked anew each time.
    fn csrf_token(&self) -> String {
        CsrfSecret::of_session(self.session.reveal().as_bytes()).mask()
    }

    fn text(&self, base: &str) -> String {
        let (token, read, admin) = (self.user_token.reveal(), self.read_token.reveal(), self.admin_token.reveal());
        let (login, password, session) = (self.user_login, self.user_password.reveal(), self.session.reveal());
        let csrf = self.csrf_token();
        let Self { public, internal, private, .. } = self;
        let (client, secret) = (&self.confidential.application.uid, self.confidential.secret.reveal());
        let spa = &self.spa.application.uid;
        let (verifier, challenge) = (PKCE.0, PKCE.1);
        let authorize = |client: &str| {
            format!(
                "{base}/oauth/authorize?client_id={client}&redirect_uri={}&response_type=code&scope=openid+read_user\
                 &state=demo",
                url::form_urlencoded::byte_serialize(REDIRECT_URI.as_bytes()).collect::<String>()
            )
        };
        let (asks, asks_with_challenge) = (authorize(client), authorize(spa));
        format!(
            "\
Tollhouse is listening on {base}

In a browser: {base}/  (sign in as {login}, password {password})

Anonymous: only public projects, with the fields that everybody may see
  curl -s {base}/api/v4/projects/{public}
A personal access token, in each place where it may be sent
  curl -s -H 'PRIVATE-TOKEN: {token}' {base}/api/v4/user
  curl -s -H 'Authorization: Bearer {token}' {base}/api/v4/projects/{private}
  curl -s '{base}/api/v4/projects?private_token={token}'
  curl -s '{base}/api/v4/projects/{internal}?access_token={token}'
A session, as the pages use it: the cookie to read, and also its CSRF token to write
  curl -s -b '_gitlab_session={session}' {base}/api/v4/projects
  curl -s -b '_gitlab_session={session}' -H 'X-CSRF-Token: {csrf}' -d name=Lighthouse {base}/api/v4/projects
An administrator acts as another user
  curl -s -H 'PRIVATE-TOKEN: {admin}' -H 'Sudo: {login}' {base}/api/v4/user
A read-only token, used for a write: refused. `scope` has all scopes of the endpoint, but only `api` may write
  curl -s -H 'PRIVATE-TOKEN: {read}' -d name=Refused {base}/api/v4/projects
No such token
  curl -s -H 'PRIVATE-TOKEN: glpat-nobody-was-given-this' {base}/api/v4/user
Inspect a token and rotate it (the old one stops working at once)
  curl -s -H 'PRIVATE-TOKEN: {read}' {base}/api/v4/personal_access_tokens/self
  curl -s -X POST -H 'PRIVATE-TOKEN: {read}' {base}/api/v4/personal_access_tokens/self/rotate

Sign in with Tollhouse: an application asks for a token. No server listens at its redirect URI, so the code stays in the
address bar. In a browser, as {login}:
  {asks}
The same without a browser; it prints the redirect:
  curl -s -o /dev/null -w '%{{redirect_url}}\\n' -b '_gitlab_session={session}' --data-urlencode 'authenticity_token={csrf}' -d 'client_id={client}&redirect_uri={REDIRECT_URI}&response_type=code&scope=openid+read_user&state=demo' {base}/oauth/authorize
Then the application redeems the code (put it in place of CODE), uses the token, and refreshes it
  curl -s -u '{client}:{secret}' -d 'grant_type=authorization_code&code=CODE&redirect_uri={REDIRECT_URI}' {base}/oauth/token
  curl -s -H 'Authorization: Bearer ACCESS_TOKEN' {base}/oauth/userinfo
  curl -s '{base}/api/v4/user?access_token=ACCESS_TOKEN'
  curl -s -u '{client}:{secret}' -d 'grant_type=refresh_token&refresh_token=REFRESH_TOKEN' {base}/oauth/token
An application that cannot keep a secret uses PKCE
  {asks_with_challenge}&code_challenge={challenge}&code_challenge_method=S256
  curl -s -d 'grant_type=authorization_code&client_id={spa}&code=CODE&redirect_uri={REDIRECT_URI}&code_verifier={verifier}' {base}/oauth/token
Discovery
  curl -s {base}/.well-known/openid-configuration

Ctrl-C stops the demo.
"
        )
    }
}

/// Of both applications. Of a loopback address any port will do.
const REDIRECT_URI: &str = "http://127.0.0.1:8976/callback";

/// A verifier and its challenge, to paste; a real application makes a fresh one each time (RFC 7636 appendix B).
const PKCE: (&str, &str) =
    ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");

/// Marks the database, so that `serve` does not take it for a real one (T33).
struct MarkAsDemo;

impl Operation for MarkAsDemo {
    type Output = ();

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        claim(tx).await?;
        Ok(Change::new((), [Audit::new("instance.marked_as_demo", Target::new("instance", 1))]))
    }
}

/// Of two that found the same database empty, one fills it.
pub(super) async fn claim(tx: &mut Tx) -> Result<(), Failed> {
    match instance::claim(tx, DEMO, "yes").await? {
        true => Ok(()),
        false => Err(Refusal::AlreadyClaimed.into()),
    }
}

fn made<T>(done: Result<crate::operations::Done<T>, Error>) -> Result<T, Failure> {
    Ok(made_error(done)?.into_inner())
}

fn made_error<T>(done: Result<T, Error>) -> Result<T, Failure> {
    done.map_err(|error| anyhow!("the demo could not be filled: {error:?}").into())
}

/// A folder of our own that goes when the demo ends.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("tollhouse-demo-{}", HEXLOWER.encode(&random::<6>())));
        DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("{}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

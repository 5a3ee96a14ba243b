//! `tollhouse token`: personal access tokens; those of OAuth are recognised and revoked too.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::anyhow;
use clap::{Args, Subcommand, ValueEnum};
use tollhouse_domain::application::Application;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::lookup::{Credential, Key, Lookup, Record};
use tollhouse_domain::scope::{Holder, Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::text::{name_fault, printable};
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{PersonalAccessToken, TokenStatus, expired};
use tollhouse_domain::user::User;
use tollhouse_store::personal_access_tokens::{Filter, TokenState};
use tollhouse_store::revocations::Selection;
use tollhouse_store::{
    deploy_tokens, job_tokens, oauth_access_grants, oauth_applications, personal_access_tokens, users,
};

use super::described::{Described, state};
use super::listing::{Listing, facts, list};
use super::member::What;
use super::narrow_token::{self, NewDeployToken};
use super::operator::{Operator, absent, called};
use super::values;
use super::words::refusal;
use crate::api::entities::revocations::{Revocations, Revoked};
use crate::api::entities::token::{self, Shown, TokenWithSecret, WithSecret};
use crate::cli::{Failure, open, secret};
use crate::error::{Error, settling};
use crate::json::Object;
use crate::operations::named::{self, Token};
use crate::operations::revocations::RevokeSelected;
use crate::operations::rotate::{RotateById, RotateSelf, Successor};
use crate::operations::rotation::Rotated;
use crate::operations::{grants, tokens};
use crate::refusal::{FieldFault, Refusal};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a personal access token, a deploy token or a job token and print it; it is not shown again
    Create(NewToken),
    /// List personal access tokens
    List(Which),
    /// Revoke the token on stdin with its whole family, or a personal access token by number
    Revoke(One),
    /// Revoke every token that meets all of the selections, OAuth tokens too, with their whole families
    RevokeAll(Selected),
    /// Rotate the personal access token on stdin, or with that number, and print its successor
    Rotate(Rotate),
    /// Show what the token on stdin is
    Identify(Nothing),
}

#[derive(Args)]
pub(crate) struct NewToken {
    /// What it is
    #[arg(long, value_enum, default_value_t)]
    kind: NewKind,
    /// Its owner: user name or number; of a job, the user whose job it is
    #[arg(long)]
    user: Option<String>,
    /// Its name
    #[arg(long)]
    name: Option<String>,
    /// Its scopes, such as api,read_user; of a deploy token, such as read_registry
    #[arg(long)]
    scopes: Option<String>,
    /// It expires at the start of this day, in UTC [default: as late as the settings allow; a deploy token: never]
    #[arg(long, value_name = "DAY", value_parser = values::date)]
    expires_at: Option<Date>,
    /// The project of a job or deploy token: full path or number
    #[arg(long)]
    project: Option<String>,
    /// The group of a deploy token: full path or number
    #[arg(long, conflicts_with = "project")]
    group: Option<String>,
    /// The user name of a deploy token in Basic authentication [default: gitlab+deploy-token-NUMBER]
    #[arg(long)]
    username: Option<String>,
    /// How long the job may run, such as 1h, at most 30d
    #[arg(long, value_parser = values::duration)]
    lifetime: Option<Duration>,
}

/// What `token create` creates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum NewKind {
    /// A personal access token
    #[default]
    Personal,
    /// A deploy token of a project or group
    Deploy,
    /// The token of a CI job
    Job,
}

#[derive(Args)]
pub(crate) struct Which {
    /// Only tokens of this user: user name or number
    #[arg(long)]
    user: Option<String>,
    /// Only tokens that are neither revoked nor expired
    #[arg(long)]
    active: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// Number of a personal access token; without it, the token is read from stdin
    id: Option<String>,
}

#[derive(Args)]
pub(crate) struct Selected {
    #[command(flatten)]
    which: Selections,
    /// Revoke nothing, and print what would be revoked
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Selections {
    /// Tokens of this user: user name or number
    #[arg(long)]
    user: Option<String>,
    /// OAuth tokens of this application: client id or number
    #[arg(long)]
    application: Option<String>,
    /// Tokens of the members of this group, inherited members included: full path or number
    #[arg(long)]
    group: Option<String>,
    /// Tokens created before this time, such as 2027-01-31T10:20:30Z, or successors of such tokens
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    before: Option<Timestamp>,
    /// Tokens whose name contains this text; an OAuth token has the name of its application
    #[arg(long, value_name = "TEXT")]
    name_like: Option<String>,
}

#[derive(Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: One,
    /// The successor expires at the start of this day, in UTC [default: in seven days]
    #[arg(long, value_name = "DAY", value_parser = values::date)]
    expires_at: Option<Date>,
}

#[derive(Args)]
pub(crate) struct Nothing {
    #[arg(hide = true)]
    no_token: Option<String>,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => make(operator, new).await,
        Command::List(some) => {
            let user = match &some.user {
                Some(named) => Some(operator.user(named).await?.id),
                None => None,
            };
            list(operator, &Tokens { user, active: some.active.then(|| operator.now()) }).await
        }
        Command::Revoke(one) => match one.id()? {
            Some(id) => revoke_by_id(operator, id).await,
            None => revoke(operator, secret::token().await?).await,
        },
        Command::RevokeAll(selected) => revoke_all(operator, selected).await,
        Command::Rotate(Rotate { one, expires_at }) => match one.id()? {
            Some(id) => rotate_by_id(operator, id, expires_at).await,
            None => rotate(operator, secret::token().await?, expires_at).await,
        },
        Command::Identify(Nothing { no_token: Some(_) }) => Err(never_an_argument()),
        Command::Identify(_) => identify(operator, secret::token().await?).await,
    }
}

impl One {
    fn id(&self) -> Result<Option<PersonalAccessTokenId>, Failure> {
        let number = |text: &String| text.parse().map(PersonalAccessTokenId).map_err(|_| never_an_argument());
        self.id.as_ref().map(number).transpose()
    }
}

/// It is not repeated either: what stands here may be a token.
fn never_an_argument() -> Failure {
    Failure::Unusable(
        "a token is never an argument, because others can read it: give it on stdin, or give a number".into(),
    )
}

async fn make(operator: &Operator, new: NewToken) -> Result<(), Failure> {
    let of = What { project: new.project, group: new.group };
    let needed = |value: Option<String>, flag: &str| {
        value.ok_or_else(|| {
            Failure::Unusable(format!("{flag} is missing; tollhouse token create --help shows how to use it"))
        })
    };
    match new.kind {
        NewKind::Personal => {
            let (user, name) = (needed(new.user, "--user")?, needed(new.name, "--name")?);
            personal(operator, &user, name, &needed(new.scopes, "--scopes")?, new.expires_at).await
        }
        NewKind::Deploy if of.project.is_none() && of.group.is_none() => {
            Err(Failure::Unusable("a deploy token is of a project or a group: give --project or --group".into()))
        }
        NewKind::Deploy => {
            let (name, scopes) = (needed(new.name, "--name")?, needed(new.scopes, "--scopes")?);
            let (username, expires_at) = (new.username, new.expires_at);
            narrow_token::deploy(operator, NewDeployToken { of, name, scopes, username, expires_at }).await
        }
        NewKind::Job => {
            let lifetime = new.lifetime.ok_or_else(|| Failure::Unusable("--lifetime is missing, such as 1h".into()))?;
            needed(of.project.clone(), "--project")?;
            narrow_token::job(operator, of, &needed(new.user, "--user")?, lifetime).await
        }
    }
}

async fn personal(
    operator: &Operator,
    user: &str,
    name: String,
    scopes: &str,
    expires_at: Option<Date>,
) -> Result<(), Failure> {
    let scopes = values::scopes(scopes).map_err(|why| Failure::Unusable(format!("--scopes: {why}")))?;
    // The wire takes any; whoever types one here means a word.
    if let Some(fault) = name_fault(&name).map(FieldFault::from) {
        return Err(anyhow!("name \"{}\" {fault}", printable(&name)).into());
    }
    let user = operator.user(user).await?;
    if let Some(fault) = not_available(&scopes, &user) {
        return Err(anyhow!(fault).into());
    }
    let operation = tokens::CreateToken {
        user: user.id,
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name,
        scopes,
        expires_at,
        description: None,
        require_expiry: operator.app.settings.tokens.require_expiry,
        secret: None,
    };
    let day = expires_at.map(|day| day.to_string()).unwrap_or_default();
    let made = operator.perform_given(operation, &[("expires_at", &day)]).await?;
    let token = operator.token(made.token.id).await?;
    hand_over(operator, &token, &made.secret)
}

/// Which scopes this user cannot have in a token, and why: the wire says only that there are some.
fn not_available(scopes: &Scopes, user: &User) -> Option<String> {
    let refused = |holder| {
        let refused = |scope: &Scope| !scope.holder().admits(user.administrator) && scope.holder() == holder;
        let words: Vec<_> = scopes.iter().filter(refused).map(Scope::as_str).collect();
        (!words.is_empty()).then(|| words.join(", "))
    };
    let administrators = refused(Holder::Administrators)
        .map(|words| format!("{words}: only for administrators, and {} is not one", called(user)));
    let applications = refused(Holder::ApplicationsOnly)
        .map(|words| format!("{words}: only for applications, not for personal access tokens"));
    let told: Vec<_> = administrators.into_iter().chain(applications).collect();
    (!told.is_empty()).then(|| format!("scopes: {}", told.join("; ")))
}

fn hand_over(operator: &Operator, made: &PersonalAccessToken, secret: &Plaintext) -> Result<(), Failure> {
    let shown = WithSecret { token: Shown::new(made, operator.now()), secret: secret.reveal() };
    operator.hand_over(&format!("token {}", made.id), secret.reveal(), || operator.object::<TokenWithSecret, _>(&shown))
}

async fn rotate(operator: &Operator, presented: Plaintext, expires_at: Option<Date>) -> Result<(), Failure> {
    match operator.look_up(&presented).await? {
        Token::Personal(_) => {}
        Token::Oauth { .. } => return Err(anyhow!("it is an OAuth token; its application refreshes it").into()),
    }
    let rules = operator.app.rotation();
    let require_expiry = operator.app.settings.tokens.require_expiry;
    match operator.perform(RotateSelf { presented, expires_at, require_expiry, rules }).await? {
        Rotated::Successor(made) => hand_over(operator, &made.token, &made.secret),
        Rotated::Wait { until } => Err(refusal(settling(until, operator.now()))),
        Rotated::Dead => Err(anyhow!("the token is revoked").into()),
    }
}

async fn rotate_by_id(operator: &Operator, id: PersonalAccessTokenId, expires_at: Option<Date>) -> Result<(), Failure> {
    let require_expiry = operator.app.settings.tokens.require_expiry;
    let operation = RotateById { id, caller: None, expires_at, require_expiry };
    match operator.app.perform(operation, &operator.by).await {
        Err(Error::Refused(Refusal::AlreadyRevoked)) => {
            let name = printable(&operator.token(id).await?.name);
            let tip = "tollhouse token list --active shows the tokens in use";
            Err(anyhow!("token {id} ({name}) was rotated or revoked already; {tip}").into())
        }
        Err(Error::NotFound(_)) => Err(absent("token", &id.to_string())),
        done => {
            let Successor { token, secret } = done.map_err(refusal)?.into_inner();
            hand_over(operator, &token, &secret)
        }
    }
}

async fn revoke_by_id(operator: &Operator, id: PersonalAccessTokenId) -> Result<(), Failure> {
    let named = id.to_string();
    let revoked = operator.perform_on(tokens::Revoke { id }, ("token", &named)).await?;
    let found = personal_access_tokens::find(&mut operator.reader().await?, id).await?;
    let found = found.ok_or_else(|| absent("token", &named))?;
    let text = match (revoked, found.token.status, found.generation.head) {
        (true, ..) => "is revoked".to_owned(),
        (false, TokenStatus::Rotated, Some(head)) => format!("was rotated already; {head} is the one in use"),
        (false, ..) => "was revoked already".to_owned(),
    };
    let object = || operator.object::<token::Token, _>(&Shown::new(&found.token, operator.now()));
    operator.tell(&format!("token {id} ({}) {text}", printable(&found.token.name)), object)
}

/// Whoever has any secret of it can do nothing with it from here on.
async fn revoke(operator: &Operator, shown: Plaintext) -> Result<(), Failure> {
    let before = match operator.look_up(&shown).await {
        // Its application may have been removed with it.
        Err(error) => return Err(operator.gone(error).await),
        Ok(before) => before,
    };
    operator.perform(grants::Revoke { family: before.family() }).await?;
    let after = Described::of(operator, operator.look_up(&shown).await?).await?;
    let already = before.status() == TokenStatus::Ended;
    let text = if already { "was revoked already" } else { "is revoked, with its whole family" };
    let name = format!("{} {} of {}", after.kind(), after.id(), after.owner());
    operator.tell(&format!("{name} {text}"), || after.object(operator))
}

async fn revoke_all(operator: &Operator, Selected { which, dry_run }: Selected) -> Result<(), Failure> {
    let user = match &which.user {
        Some(named) => Some(operator.user(named).await?.id),
        None => None,
    };
    let application = match &which.application {
        Some(named) => {
            let found = named::application(&mut operator.reader().await?, named).await?;
            Some(found.ok_or_else(|| absent("application", named))?.id)
        }
        None => None,
    };
    let group = match &which.group {
        Some(named) => Some(operator.group(named).await?.id),
        None => None,
    };
    let selection = Selection {
        user,
        application,
        group,
        before: which.before,
        name_like: which.name_like.filter(|text| !text.is_empty()),
    };
    let done = operator.perform(RevokeSelected { selection, administrator: None, dry_run }).await?;
    let shown = Revoked::of(&done);
    let verb = match (dry_run, shown.count()) {
        (false, 1) => "is revoked, with its whole family",
        (false, _) => "are revoked, with their whole families",
        (true, _) => "would be revoked",
    };
    let tokens = if shown.count() == 1 { "token" } else { "tokens" };
    let mut text = format!("{} {tokens} {verb}", shown.count());
    shown.ids().iter().for_each(|id| text.extend(["\n", id]));
    if shown.ids().len() < done.len() {
        text.push_str("\n...; the audit log names all that are revoked");
    }
    operator.tell(&text, || operator.object::<Revocations, _>(&shown))
}

async fn identify(operator: &Operator, shown: Plaintext) -> Result<(), Failure> {
    let found = named::token(&mut operator.reader().await?, shown.digest()).await?;
    let Some(found) = found else { return identify_other(operator, &shown).await };
    let known = Described::of(operator, found).await?;
    operator.tell(&known.facts(operator.now()), || known.object(operator))
}

/// What is no access token, and leaks like one: a deploy or job token, a session cookie, an authorization code, the secret of
/// an application.
async fn identify_other(operator: &Operator, shown: &Plaintext) -> Result<(), Failure> {
    let (digest, now) = (shown.digest(), operator.now());
    let mut reader = operator.reader().await?;
    let (kind, user, application, state) = if let Some(code) = oauth_access_grants::find(&mut reader, digest).await? {
        let state = match &code.redeemed {
            Some(_) => "redeemed",
            None if code.expires_at <= now => "expired",
            None => "live",
        };
        (Kind::Code, Some(code.user), oauth_applications::find(&mut reader, code.application).await?, state)
    } else if let Some(application) = oauth_applications::by_secret(&mut reader, digest).await? {
        (Kind::ClientSecret, application.owner, Some(application), "live")
    } else if let Some(token) = deploy_tokens::by_digest(&mut reader, digest).await? {
        let state = match token.revoked {
            true => "revoked",
            false if token.expired(now) => "expired",
            false => "live",
        };
        (Kind::DeployToken, None, None, state)
    } else if let Some(token) = job_tokens::by_digest(&mut reader, digest).await? {
        let state = match token.revoked_at {
            Some(_) => "revoked",
            None if token.expires_at <= now => "expired",
            None => "live",
        };
        (Kind::JobToken, Some(token.user), None, state)
    } else {
        let session = operator.app.db.find(Key::Session(digest)).await.map_err(|_| anyhow!("no database"))?;
        let Some(Record { credential: Credential::Session(session), owner }) = session else {
            return Err(operator.unknown()?);
        };
        let state = if session.expires_at <= now { "expired" } else { "live" };
        (Kind::Session, owner.map(|owner| owner.id), None, state)
    };
    let user = match user {
        Some(id) => users::find(&mut reader, id).await?,
        None => None,
    };
    let mut lines = vec![("kind", kind.words().to_owned())];
    lines.extend(user.as_ref().map(|user| ("user", format!("{}, {}", called(user), user.state.as_str()))));
    let named = |application: &Application| format!("{} ({})", printable(&application.name), application.id);
    lines.extend(application.as_ref().map(|application| ("application", named(application))));
    lines.push(("state", state.to_owned()));
    operator.tell(&facts(&lines), || {
        Object::default()
            .field("kind", kind.words())
            .field("user_id", user.map(|user| user.id))
            .field("application_id", application.map(|application| application.uid))
            .field("active", state == "live")
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Session,
    Code,
    ClientSecret,
    DeployToken,
    JobToken,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Code => "authorization code",
            Self::ClientSecret => "secret of an application",
            Self::DeployToken => "deploy token",
            Self::JobToken => "job token",
        }
    }
}

impl Operator {
    /// It changes nothing: no use is noted.
    async fn look_up(&self, shown: &Plaintext) -> Result<Token, Failure> {
        let found = named::token(&mut self.reader().await?, shown.digest()).await?;
        match found {
            Some(found) => Ok(found),
            None => Err(self.unknown()?),
        }
    }

    /// Nothing that anybody was given here has this secret.
    fn unknown(&self) -> Result<Failure, Failure> {
        Ok(anyhow!("this token is unknown in {}", open::url(&self.app.settings)?).into())
    }

    /// One that was there a moment ago.
    async fn token(&self, id: PersonalAccessTokenId) -> Result<PersonalAccessToken, Failure> {
        let found = personal_access_tokens::find(&mut self.reader().await?, id).await?;
        Ok(found.ok_or_else(|| anyhow!("token {id} no longer exists"))?.token)
    }
}

struct Tokens {
    user: Option<UserId>,
    active: Option<Timestamp>,
}

impl Listing for Tokens {
    const WHAT: &'static str = "tokens";
    const COLUMNS: &'static [&'static str] =
        &["ID", "USER", "NAME", "SCOPES", "CREATED", "LAST USED", "EXPIRES", "STATE"];
    /// And the name of whose it is.
    type Row = (PersonalAccessToken, String);

    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Self::Row>, Failure> {
        let mut reader = operator.reader().await?;
        let id = PersonalAccessTokenId(id);
        let state = self.active.map(|now| (TokenState::Active, now));
        let filter = Filter { user: self.user, state, ..Filter::default() };
        let rows = personal_access_tokens::after(&mut reader, id, filter, limit).await?;
        let owners = match operator.json {
            true => HashMap::new(),
            false => users::several(&mut reader, rows.iter().map(|row| row.user_id)).await?,
        };
        let name = |row: &PersonalAccessToken| owners.get(&row.user_id).map(|user| printable(&user.username));
        Ok(rows.into_iter().map(|row| (name(&row).unwrap_or_default(), row)).map(|(name, row)| (row, name)).collect())
    }

    fn id((token, _): &Self::Row) -> i64 {
        token.id.0
    }

    fn cells(&self, operator: &Operator, (token, user): &Self::Row) -> Vec<String> {
        let day = |at: Timestamp| at.date().to_string();
        vec![
            token.id.to_string(),
            user.clone(),
            printable(&token.name),
            token.scopes.to_string().replace(' ', ","),
            day(token.created_at),
            token.last_used_at.map_or_else(|| "never".to_owned(), day),
            token.expires_at.map_or_else(|| "never".to_owned(), |day| day.to_string()),
            state(token.status, expired(token.expires_at, operator.now())).to_owned(),
        ]
    }

    fn object(&self, operator: &Operator, (row, _): &Self::Row) -> Object {
        operator.object::<token::Token, _>(&Shown::new(row, operator.now()))
    }
}

//! `tollhouse user`.

use std::collections::HashMap;

use anyhow::anyhow;
use clap::{Args, Subcommand};
use tollhouse_domain::id::UserId;
use tollhouse_domain::text::printable;
use tollhouse_domain::user::User;
use tollhouse_store::users;

use super::listing::{Listing, list};
use super::operator::{Operator, VIEWER, called};
use super::words::{refusal, refusal_of};
use crate::api::entities::user::{ListedUser, Shown};
use crate::api::users::creators;
use crate::cli::{Failure, secret};
use crate::json::Object;
use crate::operations::users::{CreateUser, NewPassword, SetState, Unlock, create, set_password};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a user
    Create(NewUser),
    /// List the users
    List,
    /// Block a user from the API and the pages, and end the user's sessions
    Block(One),
    /// Unblock a user
    Unblock(One),
    /// Unlock password sign-in after too many wrong passwords
    Unlock(One),
    /// Set a user's password, and end the user's sessions
    Password(Password),
}

#[derive(Args)]
pub(crate) struct NewUser {
    /// The user name
    login: String,
    /// The email address; it counts as confirmed [default: none]
    #[arg(long, value_name = "ADDRESS")]
    email: Option<String>,
    /// The full name [default: the user name]
    #[arg(long)]
    name: Option<String>,
    /// Make an administrator
    #[arg(long)]
    admin: bool,
    /// Create an external user, who does not see internal projects and groups
    #[arg(long)]
    external: bool,
    /// Read a password from stdin; without a password the user cannot sign in by password
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Args)]
pub(crate) struct One {
    /// User name or number
    user: String,
}

#[derive(Args)]
pub(crate) struct Password {
    /// User name or number
    user: String,
    /// Read the password from stdin
    #[arg(long)]
    password_stdin: bool,
    #[arg(hide = true)]
    no_password: Option<String>,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => make(operator, new).await,
        Command::List => list(operator, &Users).await,
        Command::Block(one) => set_state(operator, &one.user, SetState::block, "blocked").await,
        Command::Unblock(one) => set_state(operator, &one.user, SetState::unblock, "active").await,
        Command::Unlock(one) => unlock(operator, &one.user).await,
        Command::Password(asked) => password(operator, asked).await,
    }
}

async fn make(operator: &Operator, new: NewUser) -> Result<(), Failure> {
    if new.email.as_deref() == Some("") {
        return Err(Failure::Unusable("--email is empty; leave it out for an account without an address".into()));
    }
    let password = secret::password(new.password_stdin).await?;
    let operation = CreateUser {
        email: new.email.unwrap_or_default(),
        administrator: new.admin,
        external: new.external,
        ..CreateUser::without_email(&new.login, new.name.as_deref().unwrap_or(&new.login))
    };
    let email = operation.email.clone();
    let given = [("username", &*new.login), ("email", &*email), ("name", new.name.as_deref().unwrap_or(&new.login))];
    let (id, without) = match password {
        Some(password) => {
            let made = create(&operator.app, operation, &password, &operator.by).await;
            (made.map_err(|error| refusal_of(error, &given))?.into_inner(), "")
        }
        None => (operator.perform_given(operation, &given).await?, ", without a password"),
    };
    let made = operator.user_by_id(id).await?;
    show(operator, &made, &format!("created {}{without}", called(&made))).await
}

async fn set_state(
    operator: &Operator,
    named: &str,
    change: fn(UserId) -> SetState,
    state: &str,
) -> Result<(), Failure> {
    let id = operator.user(named).await?.id;
    let changed = operator.perform(change(id)).await?;
    let now = operator.user_by_id(id).await?;
    let text = match changed {
        true => format!("{} is {state} now", called(&now)),
        false if now.state.as_str() == state => format!("{} was {state} already", called(&now)),
        false => {
            return Err(
                anyhow!("{} is {}, and this command does not change that", called(&now), now.state.as_str()).into()
            );
        }
    };
    show(operator, &now, &text).await
}

async fn unlock(operator: &Operator, named: &str) -> Result<(), Failure> {
    let id = operator.user(named).await?.id;
    let unlocked = operator.perform(Unlock { user: id }).await?;
    let now = operator.user_by_id(id).await?;
    let text = if unlocked { "may sign in by password again" } else { "was not locked out" };
    show(operator, &now, &format!("{} {text}", called(&now))).await
}

async fn password(operator: &Operator, asked: Password) -> Result<(), Failure> {
    if asked.no_password.is_some() {
        return Err(Failure::Unusable("a password is never an argument, because others can read it".into()));
    }
    let user = operator.user(&asked.user).await?;
    let password = secret::some_password(asked.password_stdin).await?;
    let change = NewPassword { user: user.id, seen: None, expires_at: None };
    if !set_password(&operator.app, change, &password, &operator.by).await.map_err(refusal)?.into_inner() {
        return Err(anyhow!("user {} no longer exists", called(&user)).into());
    }
    let now = operator.user_by_id(user.id).await?;
    show(operator, &now, &format!("{} has a new password, and all sessions have ended", called(&now))).await
}

/// The field set of `GET /users` for an administrator.
async fn show(operator: &Operator, shown: &User, text: &str) -> Result<(), Failure> {
    let creator = match shown.created_by_id {
        Some(id) => users::find(&mut operator.reader().await?, id).await?,
        None => None,
    };
    operator.tell(text, || object(operator, shown, creator.as_ref()))
}

fn object(operator: &Operator, user: &User, creator: Option<&User>) -> Object {
    operator.object::<ListedUser, _>(&Shown { creator, ..Shown::new(&operator.app.urls, user, VIEWER, operator.now()) })
}

impl Operator {
    /// One that was there a moment ago.
    async fn user_by_id(&self, id: UserId) -> Result<User, Failure> {
        let found = users::find(&mut self.reader().await?, id).await?;
        found.ok_or_else(|| anyhow!("user {id} no longer exists").into())
    }
}

struct Users;

impl Listing for Users {
    const WHAT: &'static str = "users";
    const COLUMNS: &'static [&'static str] = &["ID", "USER", "NAME", "EMAIL", "STATE"];
    /// And who made them.
    type Row = (User, Option<User>);

    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Self::Row>, Failure> {
        let mut reader = operator.reader().await?;
        let rows = users::after(&mut reader, UserId(id), limit).await?;
        let creators = if operator.json { creators(&mut reader, &rows).await? } else { HashMap::new() };
        let with_creator = |user: User| {
            let creator = user.created_by_id.and_then(|id| creators.get(&id)).cloned();
            (user, creator)
        };
        Ok(rows.into_iter().map(with_creator).collect())
    }

    fn id((user, _): &Self::Row) -> i64 {
        user.id.0
    }

    fn cells(&self, operator: &Operator, (user, _): &Self::Row) -> Vec<String> {
        vec![
            user.id.to_string(),
            printable(&user.username),
            printable(&user.name),
            if user.email.is_empty() { "-".to_owned() } else { printable(&user.email) },
            status(operator, user),
        ]
    }

    fn object(&self, operator: &Operator, (user, creator): &Self::Row) -> Object {
        object(operator, user, creator.as_ref())
    }
}

/// State, and what else decides what somebody may do.
fn status(operator: &Operator, user: &User) -> String {
    let words = [
        (true, user.state.as_str()),
        (user.locked(operator.now()), "locked"),
        (user.administrator, "administrator"),
        (user.external, "external"),
    ];
    let words: Vec<_> = words.into_iter().filter_map(|(holds, word)| holds.then_some(word)).collect();
    words.join(", ")
}

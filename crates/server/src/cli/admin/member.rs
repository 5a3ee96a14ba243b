//! `tollhouse member`.

use anyhow::anyhow;
use clap::{Args, Subcommand};
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Date;
use tollhouse_store::members;
use tollhouse_store::projects;

use super::operator::{Operator, VIEWER, absent, called};
use super::values;
use super::words::refusal_of;
use crate::api::entities::member::{Member, Shown};
use crate::api::entities::user;
use crate::cli::Failure;
use crate::error::Error;
use crate::operations::members::{Add, Remove};
use crate::operations::named;
use crate::refusal::ResourceKind;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Add a member
    Add(NewMember),
    /// Remove a member
    Remove(One),
}

#[derive(Args)]
pub(crate) struct NewMember {
    #[command(flatten)]
    one: One,
    /// Access level: minimal, guest, planner, reporter, security_manager, developer, maintainer or owner
    #[arg(long, value_parser = values::level)]
    level: AccessLevel,
    /// The membership ends at the start of this day, in UTC
    #[arg(long, value_name = "DAY", value_parser = values::date)]
    expires_at: Option<Date>,
}

#[derive(Args)]
pub(crate) struct One {
    #[command(flatten)]
    of: What,
    /// The user: user name or number
    #[arg(long)]
    user: String,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct What {
    /// The group: full path or number
    #[arg(long)]
    pub(super) group: Option<String>,
    /// The project: full path or number
    #[arg(long)]
    pub(super) project: Option<String>,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(new) => add(operator, new).await,
        Command::Remove(one) => remove(operator, one).await,
    }
}

async fn add(operator: &Operator, NewMember { one, level, expires_at }: NewMember) -> Result<(), Failure> {
    if let Some(day) = expires_at.filter(|day| *day <= operator.now().date()) {
        return Err(Failure::Unusable(format!(
            "--expires-at: {day} is not after today, so the membership would never be valid"
        )));
    }
    let (of, path) = operator.of(&one.of).await?;
    let user = operator.user(&one.user).await?;
    let operation = Add { of, user: user.id, level, expires_at };
    operator.perform_given(operation, &[("user", &user.username)]).await?;
    let made = members::find(&mut operator.reader().await?, of, user.id).await?;
    let made = made.ok_or_else(|| anyhow!("{} is no longer a member", called(&user)))?;
    let until = expires_at.map_or_else(String::new, |day| format!(", until {day}"));
    let text = format!("{} is a member of {path} as {}{until}", called(&user), level.as_str());
    let user = user::Shown::new(&operator.app.urls, &user, VIEWER, operator.now());
    operator.tell(&text, || operator.object::<Member, _>(&Shown { user, member: &made }))
}

async fn remove(operator: &Operator, one: One) -> Result<(), Failure> {
    let (of, path) = operator.of(&one.of).await?;
    let user = operator.user(&one.user).await?;
    let done = operator.app.perform(Remove { of, user: user.id }, &operator.by).await;
    match done {
        Ok(done) => done.into_inner(),
        Err(Error::NotFound(ResourceKind::Record)) => {
            return Err(anyhow!("{} is not a member of {path}", called(&user)).into());
        }
        Err(error) => return Err(refusal_of(error, &[("user", &user.username)])),
    }
    operator.say(&format!("{} is no longer a member of {path}", called(&user)))
}

impl Operator {
    /// What was named, and its full path.
    pub(super) async fn of(&self, what: &What) -> Result<(MembershipSource, String), Failure> {
        match what {
            What { group: Some(named), .. } => {
                let group = self.group(named).await?;
                Ok((MembershipSource::Group(group.id), printable(&group.full_path)))
            }
            What { project, .. } => {
                let named = project.as_deref().unwrap_or_default();
                let mut reader = self.reader().await?;
                let seen = match named::project(&mut reader, named).await? {
                    Some(id) => projects::visible(&mut reader, id, VIEWER, self.now()).await?,
                    None => None,
                };
                let project = seen.ok_or_else(|| absent("project", named))?.project;
                Ok((MembershipSource::Project(project.id), printable(&project.full_path())))
            }
        }
    }
}

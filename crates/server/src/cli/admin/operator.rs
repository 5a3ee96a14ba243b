//! Whoever runs a command, and what they work on.

use std::io::{ErrorKind, Write, stdout};

use anyhow::{Context, anyhow};
use tollhouse_domain::access::Viewer;
use tollhouse_domain::audit::By;
use tollhouse_domain::id::UserId;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::db::Reader;
use zeroize::Zeroizing;

use super::words::{Given, refusal, refusal_of};
use crate::app::App;
use crate::cli::{Failure, open};
use crate::entity::WrittenFrom;
use crate::error::Error;
use crate::json::Object;
use crate::operations::{Operation, named};

/// Somebody who runs a command on the database of a server.
pub(super) struct Operator {
    /// As a server has it, without listening.
    pub app: App,
    /// Who the audit log says it was.
    pub by: By,
    /// Whether objects are printed, in place of text for people.
    pub json: bool,
}

/// Whoever can open the database sees everything in it, and is no user of it.
pub(super) const VIEWER: Viewer = Viewer::Administrator { id: UserId(0) };

impl Operator {
    /// Opens the database, which must be there and of this program's schema.
    pub(super) async fn open(at: &open::At, json: bool) -> Result<Self, Failure> {
        Ok(Self { app: open::app(at).await?, by: By::command_line(system_user()), json })
    }

    /// The time, from the app's clock.
    pub(super) fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// A connection to read with.
    pub(super) async fn reader(&self) -> Result<Reader, Failure> {
        Ok(self.app.db.read().await?)
    }

    /// Performs an operation, which ends when every running server has applied it.
    pub(super) async fn perform<O: Operation>(&self, operation: O) -> Result<O::Output, Failure> {
        Ok(self.app.perform(operation, &self.by).await.map_err(refusal)?.into_inner())
    }

    /// The same, where a refusal says what was given for each field.
    pub(super) async fn perform_given<O: Operation>(
        &self,
        operation: O,
        given: &[Given<'_>],
    ) -> Result<O::Output, Failure> {
        let done = self.app.perform(operation, &self.by).await;
        Ok(done.map_err(|error| refusal_of(error, given))?.into_inner())
    }

    /// The same for what is named by what kind of thing it is, and which.
    pub(super) async fn perform_on<O: Operation>(
        &self,
        operation: O,
        (what, named): (&str, &str),
    ) -> Result<O::Output, Failure> {
        match self.app.perform(operation, &self.by).await {
            Err(Error::NotFound(_)) => Err(absent(what, named)),
            done => Ok(done.map_err(refusal)?.into_inner()),
        }
    }

    /// What is not there may have been taken away by the same command, whose end nobody saw: it is said when every server
    /// knows (revocation.md W4).
    pub(super) async fn gone(&self, said: Failure) -> Failure {
        self.app.settled().await;
        said
    }

    /// By number or name; fails if there is none.
    pub(super) async fn user(&self, named: &str) -> Result<User, Failure> {
        let found = named::user(&mut self.reader().await?, named).await?;
        found.ok_or_else(|| absent("user", named))
    }

    /// By number or path; fails if there is none.
    pub(super) async fn group(&self, named: &str) -> Result<Namespace, Failure> {
        let found = named::group(&mut self.reader().await?, named, VIEWER, self.now()).await?;
        found.ok_or_else(|| absent("group", named))
    }

    /// What the API shows of it, in the version of this server.
    pub(super) fn object<E: WrittenFrom<S>, S>(&self, source: &S) -> Object {
        Object::of::<E, S>(self.app.settings.api.version, source)
    }

    /// Prints a line for people, or the object; a reader who has gone away is no matter.
    pub(super) fn tell(&self, text: &str, object: impl FnOnce() -> Object) -> Result<(), Failure> {
        match self.json {
            true => self.print(&object().finish()),
            false => self.print(text.as_bytes()),
        }
    }

    /// The same where there is no object to show afterwards.
    pub(super) fn say(&self, text: &str) -> Result<(), Failure> {
        if self.json { Ok(()) } else { self.print(text.as_bytes()) }
    }

    /// Prints a secret, or the object that holds it. It is shown this once, so somebody must have taken it.
    pub(super) fn hand_over(&self, what: &str, text: &str, object: impl FnOnce() -> Object) -> Result<(), Failure> {
        let bytes = Zeroizing::new(if self.json { object().finish() } else { text.as_bytes().to_vec() });
        line(&bytes)
            .with_context(|| format!("{what} was created, but its secret could not be printed, and is lost"))?;
        Ok(())
    }

    fn print(&self, bytes: &[u8]) -> Result<(), Failure> {
        match line(bytes) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// The failure that nothing has this name.
pub(super) fn absent(what: &str, named: &str) -> Failure {
    anyhow!("there is no {what} {}", printable(named)).into()
}

/// A user as a line for people names them.
pub(super) fn called(user: &User) -> String {
    format!("{} ({})", printable(&user.username), user.id)
}

fn line(bytes: &[u8]) -> std::io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(bytes)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Number and name, as `id` prints them (T29). The number is what the system vouches for; the environment is not asked.
fn system_user() -> String {
    let number = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
    let accounts = String::from_utf8_lossy(&accounts);
    let name = accounts.lines().find_map(|line| {
        let mut columns = line.split(':');
        let name = columns.next()?;
        (columns.nth(1)? == number).then(|| printable(name))
    });
    name.map_or(number.clone(), |name| format!("{number}({name})"))
}

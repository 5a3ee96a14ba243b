//! Accounts: made, changed, blocked and let in again.

use tollhouse_domain::access::Visibility;
use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::lookup::UserName;
use tollhouse_domain::namespace::{self, NamespaceKind};
use tollhouse_domain::password::{self, Fault, Holder};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, User, UserKind, is_email};
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{instance, namespaces, sessions, sign_in_failures, users};

use crate::app::App;
use crate::error::Error;
use crate::operations::{Done, Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes an account with its personal namespace.
#[derive(Clone, Debug)]
pub struct CreateUser {
    /// The name in URLs; no other user and no group may have it.
    pub username: String,
    /// The display name.
    pub name: String,
    /// Empty: the account has none.
    pub email: String,
    /// A person, a bot, or an account of the program.
    pub kind: UserKind,
    /// The state that it begins with.
    pub state: AccountState,
    /// Whether it administers the server.
    pub administrator: bool,
    /// Whether what is internal is closed to it.
    pub external: bool,
    /// Whether its address counts as confirmed; without an address it does not matter.
    pub confirmed: bool,
    /// The administrator who makes it. `None`: a command, a seed or the start.
    pub created_by: Option<UserId>,
    /// PHC string; without one nobody signs in by password.
    pub password_digest: Option<String>,
}

impl CreateUser {
    /// The same as [`Self::without_email`] with an address that is made up: for the demo, a seed, and tests.
    pub fn person(username: &str, name: &str) -> Self {
        Self { email: format!("{username}@example.test"), ..Self::without_email(username, name) }
    }

    /// An active person without a password. An address that is added counts as confirmed.
    pub fn without_email(username: &str, name: &str) -> Self {
        Self {
            username: username.to_owned(),
            name: name.to_owned(),
            email: String::new(),
            kind: UserKind::Human,
            state: AccountState::Active,
            administrator: false,
            external: false,
            confirmed: true,
            created_by: None,
            password_digest: None,
        }
    }

    /// Whose password it would be.
    pub fn holder(&self) -> Holder<'_> {
        Holder { username: &self.username, name: &self.name, email: &self.email }
    }

    /// What is wrong with it, whoever else there is.
    pub fn faults(&self) -> Vec<(&'static str, FieldFault)> {
        let mut faults = Vec::new();
        if !namespace::valid_path(&self.username) {
            faults.push(("username", FieldFault::PathCharacters));
        } else if namespace::reserved(&self.username) {
            faults.push(("username", FieldFault::Reserved));
        }
        // It stands on the page that asks for consent (T21).
        faults.extend(name_fault(&self.name).map(|fault| ("name", fault.into())));
        if !self.email.is_empty() && !is_email(&self.email) {
            faults.push(("email", FieldFault::NotAnEmail));
        }
        faults
    }
}

/// The first administrator, without a password. `email`: empty for none.
pub fn first_administrator(email: &str) -> CreateUser {
    CreateUser { email: email.to_owned(), administrator: true, ..CreateUser::without_email("root", "Administrator") }
}

impl Operation for CreateUser {
    type Output = UserId;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<UserId>, Failed> {
        let faults = self.faults();
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults).into());
        }
        let new = users::NewUser {
            username: self.username.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            kind: self.kind,
            state: self.state,
            administrator: self.administrator,
            external: self.external,
            confirmed: self.confirmed && !self.email.is_empty(),
            created_by: self.created_by,
            password_digest: self.password_digest.clone(),
        };
        let id = match users::insert(tx, &new, now).await {
            Err(StoreError::Taken) => return Err(self.taken(tx).await?),
            made => made?,
        };
        let personal = namespaces::NewNamespace {
            kind: NamespaceKind::User,
            parent: None,
            owner: Some(id),
            name: &self.name,
            path: &self.username,
            description: "",
            visibility: Visibility::Public,
        };
        // A group may have the path.
        let personal = match namespaces::insert(tx, &personal, now).await {
            Err(StoreError::Taken) => return Err(Refusal::field("username", FieldFault::Taken).into()),
            made => made?,
        };
        users::set_namespace(tx, id, personal.id).await?;
        Ok(Change::new(id, [Audit::new("user.created", user(id)).with(&*self.username)]))
    }
}

impl CreateUser {
    /// Which of the two somebody has.
    async fn taken(&self, tx: &mut Tx) -> Result<Failed, StoreError> {
        let mut faults = Vec::new();
        if users::named(tx, UserName::Name(&self.username)).await?.is_some() {
            faults.push(("username", FieldFault::Taken));
        }
        // No user name holds an `@`.
        if !self.email.is_empty() && users::by_login(tx, &self.email).await?.is_some() {
            faults.push(("email", FieldFault::Taken));
        }
        // Whoever had it is gone again.
        if faults.is_empty() { Err(StoreError::Clash) } else { Ok(Refusal::Invalid(faults).into()) }
    }
}

/// Makes an account with a password that somebody chose.
pub async fn create(app: &App, new: CreateUser, password: &Plaintext, by: &By) -> Result<Done<UserId>, Error> {
    if let Some(fault) = password::fault(password.reveal(), &new.holder()) {
        return Err(unfit(fault));
    }
    let digest = app.hasher.hash(password).await;
    app.perform(CreateUser { password_digest: Some(digest), ..new }, by).await
}

/// Moves an account from one state to another. Blocking and banning end its sessions; its tokens stay, and are
/// refused (rest-api.md 3.3).
#[derive(Clone, Copy, Debug)]
pub struct SetState {
    /// The account.
    pub user: UserId,
    /// What the audit log calls it, such as `user.blocked`.
    pub event: &'static str,
    /// The states from which it may happen; from any other nothing happens.
    pub from: &'static [AccountState],
    /// The state that it leads to.
    pub to: AccountState,
}

impl SetState {
    /// From active, deactivated or pending approval; ends its sessions.
    pub fn block(user: UserId) -> Self {
        use AccountState::{Active, BlockedPendingApproval, Deactivated};
        let from = &[Active, Deactivated, BlockedPendingApproval];
        Self { user, event: "user.blocked", from, to: AccountState::Blocked }
    }

    /// From blocked.
    pub fn unblock(user: UserId) -> Self {
        Self { user, event: "user.unblocked", from: &[AccountState::Blocked], to: AccountState::Active }
    }

    /// From active; ends its sessions.
    pub fn ban(user: UserId) -> Self {
        Self { user, event: "user.banned", from: &[AccountState::Active], to: AccountState::Banned }
    }

    /// From banned.
    pub fn unban(user: UserId) -> Self {
        Self { user, event: "user.unbanned", from: &[AccountState::Banned], to: AccountState::Active }
    }

    /// From active. Signing in on a page activates it again (authentication.md 6.5).
    pub fn deactivate(user: UserId) -> Self {
        Self { user, event: "user.deactivated", from: &[AccountState::Active], to: AccountState::Deactivated }
    }

    /// From deactivated.
    pub fn activate(user: UserId) -> Self {
        Self { user, event: "user.activated", from: &[AccountState::Deactivated], to: AccountState::Active }
    }

    /// From pending approval.
    pub fn approve(user: UserId) -> Self {
        let from = &[AccountState::BlockedPendingApproval];
        Self { user, event: "user.approved", from, to: AccountState::Active }
    }
}

impl Operation for SetState {
    /// Whether it was in a state from which this leads anywhere.
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        if self.to != AccountState::Active {
            refuse_last_administrator(tx, self.user).await?;
        }
        for from in self.from {
            if users::set_state(tx, self.user, *from, self.to, now).await? {
                if !matches!(self.to, AccountState::Active | AccountState::Deactivated) {
                    sessions::remove_all_of(tx, self.user).await?;
                }
                return Ok(Change::new(true, [Audit::new(self.event, user(self.user)).with(from.as_str())]));
            }
        }
        match users::find(tx, self.user).await? {
            Some(found) if found.state == self.to => Ok(Change::already(false)),
            Some(_) => Ok(Change::nothing(false)),
            None => Err(Refusal::NotFound(ResourceKind::User).into()),
        }
    }
}

/// Refuses an operation that keeps this account from acting, if it belongs to the last administrator who can act. Every
/// operation that blocks, demotes or deletes an account asks this in its transaction (T31).
async fn refuse_last_administrator(tx: &mut Tx, user: UserId) -> Result<(), Failed> {
    match users::is_last_administrator(tx, user).await? {
        true => Err(Refusal::LastAdministrator.into()),
        false => Ok(()),
    }
}

/// Lets somebody sign in by password again who was locked out by wrong ones, in any browser (T15).
#[derive(Clone, Copy, Debug)]
pub struct Unlock {
    /// The account.
    pub user: UserId,
}

impl Operation for Unlock {
    /// Whether password sign-in was locked, or wrong passwords counted against a browser of theirs.
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        let found = users::find(tx, self.user).await?.ok_or(Refusal::NotFound(ResourceKind::User))?;
        if !sign_in_failures::clear_browsers(tx, self.user).await? && !found.locked(now) {
            return Ok(Change::already(false));
        }
        users::clear_attempts(tx, self.user).await?;
        Ok(Change::new(true, [Audit::new("user.unlocked", user(self.user))]))
    }
}

/// Notes that the primary address was confirmed, or that it has to be again.
#[derive(Clone, Copy, Debug)]
pub struct Confirm {
    /// The account.
    pub user: UserId,
    /// `false`: it has to be confirmed again, so the API is closed to the account if `accounts.confirmation_required`.
    pub confirmed: bool,
}

impl Operation for Confirm {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if !self.confirmed {
            refuse_last_administrator(tx, self.user).await?;
        }
        users::set_confirmed(tx, self.user, self.confirmed.then_some(now), now).await?;
        let event = if self.confirmed { "user.confirmed" } else { "user.confirmation_required" };
        Ok(Change::new((), [Audit::new(event, user(self.user))]))
    }
}

/// Whose password is to change, and how.
#[derive(Clone, Debug)]
pub struct NewPassword {
    /// The account.
    pub user: UserId,
    /// The digest of the old one, where that was asked for.
    pub seen: Option<String>,
    /// From then on another one must be chosen. `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
}

/// Sets a password that somebody chose; `false` if the old one is no longer what it was. The first administrator's
/// file goes with the password in it (T31).
///
/// [`Refusal::Invalid`] says what is wrong with the new one, also that it is the old one. So a caller who is not trusted has
/// to prove the old one first, and `change.seen` says which that was (T14).
pub async fn set_password(app: &App, change: NewPassword, password: &Plaintext, by: &By) -> Result<Done<bool>, Error> {
    let NewPassword { user, seen, expires_at } = change;
    let found = users::find(&mut app.db.read().await?, user).await?.ok_or(Refusal::NotFound(ResourceKind::User))?;
    if let Some(fault) = password::fault(password.reveal(), &holder(&found)) {
        return Err(unfit(fault));
    }
    let old = match &seen {
        Some(seen) => Some(seen.clone()),
        None => users::by_login(&mut app.db.read().await?, &found.username).await?.and_then(|(_, digest)| digest),
    };
    if let Some(old) = old
        && app
            .hasher
            .place(by.address)
            .map_err(|_| Error::Busy)?
            .verify(password, Some(old))
            .await
            .map_err(|_| Error::Busy)?
    {
        return Err(unfit(Fault::Old));
    }
    let digest = app.hasher.hash(password).await;
    let done = app.perform(SetPassword { user, seen, digest, expires_at }, by).await?;
    let first = instance::get(&mut app.db.read().await?, FIRST_ADMINISTRATOR).await?;
    if first.as_deref() == Some(&user.to_string()) {
        match std::fs::remove_file(app.settings.data_dir.join(PASSWORD_FILE)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, "the file with the first password could not be removed");
            }
            _ => {}
        }
    }
    Ok(done)
}

/// Sets a new password and ends the account's sessions. One that somebody else set must be changed at the next
/// sign-in, which is what `expires_at` says.
#[derive(Clone, Debug)]
pub struct SetPassword {
    /// The account.
    pub user: UserId,
    /// The digest it must still have, where the old password was asked for.
    pub seen: Option<String>,
    /// The PHC string of the new one.
    pub digest: String,
    /// From then on another one must be chosen. `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
}

impl Operation for SetPassword {
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        let seen = self.seen.as_deref();
        if !users::set_password(tx, self.user, seen, &self.digest, self.expires_at, now).await? {
            return Ok(Change::nothing(false));
        }
        sessions::remove_all_of(tx, self.user).await?;
        Ok(Change::new(true, [Audit::new("user.password_changed", user(self.user))]))
    }
}

/// Changes what a person says of themselves.
#[derive(Clone, Debug)]
pub struct SetProfile {
    /// The account. [`ResourceKind::User`] is told if there is none.
    pub user: UserId,
    /// What changes.
    pub profile: users::Profile,
}

impl Operation for SetProfile {
    type Output = ();
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if !users::set_profile(tx, self.user, &self.profile, now).await? {
            return Err(Refusal::NotFound(ResourceKind::User).into());
        }
        Ok(Change::new((), [Audit::new("user.updated", user(self.user))]))
    }
}

/// Makes `root`, if no process has done so before (T31).
#[derive(Clone, Debug)]
pub struct CreateFirstAdministrator {
    /// PHC string.
    pub password_digest: String,
    /// Empty: none.
    pub email: String,
}

impl Operation for CreateFirstAdministrator {
    /// `None`: there is an administrator already.
    type Output = Option<UserId>;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<UserId>>, Failed> {
        if users::any_administrator(tx).await? || !instance::claim(tx, FIRST_ADMINISTRATOR, "").await? {
            return Ok(Change::nothing(None));
        }
        let root =
            CreateUser { password_digest: Some(self.password_digest.clone()), ..first_administrator(&self.email) };
        let _ = root.run(tx, now).await?;
        let id = users::named(tx, UserName::Name("root")).await?.map(|user| user.id);
        let id = id.ok_or(Failed::Inconsistent)?;
        instance::set(tx, FIRST_ADMINISTRATOR, &id.to_string()).await?;
        Ok(Change::new(Some(id), [Audit::new("user.created", user(id)).with("first administrator")]))
    }
}

/// Whose password it is.
pub fn holder(user: &User) -> Holder<'_> {
    Holder { username: &user.username, name: &user.name, email: &user.email }
}

fn unfit(fault: Fault) -> Error {
    Refusal::field("password", FieldFault::Password(fault)).into()
}

fn user(id: UserId) -> Target {
    Target::new("user", id.0)
}

/// Key in `instance`: the number of the account that the first process made.
const FIRST_ADMINISTRATOR: &str = "first_administrator";

/// Where the generated password of the first administrator is written, once, in the data folder.
pub const PASSWORD_FILE: &str = "initial_root_password";

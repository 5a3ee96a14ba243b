//! Signing in by password, and out again (authentication.md 6.5, 6.6; T14).

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::LazyLock;

use tollhouse_auth::gate::network;
use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::secret::{Digest, Plaintext};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, User, UserKind};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{sessions, users};

use crate::app::App;
use crate::error::Error;
use crate::hasher::Busy;
use crate::operations::{Done, Failed, Operation};

/// What somebody typed, and from where.
pub struct Attempt<'a> {
    pub login: &'a str,
    pub password: Plaintext,
    pub address: Option<IpAddr>,
    pub user_agent: Option<&'a str>,
    /// The session cookie that came with it. If it is anybody's session, that one ends.
    pub session: Option<&'a str>,
}

pub enum SignIn {
    In {
        session: Plaintext,
        reactivated: bool,
    },
    /// Unknown, wrong, locked or without a password: the answer does not tell which.
    Wrong,
    /// Told only after the right password.
    Refused(Refusal),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    Blocked,
    PendingApproval,
    Internal,
    Unconfirmed,
}

/// The whole of it.
pub async fn sign_in(app: &App, attempt: Attempt<'_>) -> Result<SignIn, Error> {
    let right = check(app, attempt.login, &attempt.password, attempt.address).await?;
    let Some(Right { user, digest }) = right else { return Ok(SignIn::Wrong) };
    let by = By::password(Some(user.id), attempt.address);
    if let Some(refusal) = refusal(&user, app.settings.accounts.confirmation_required) {
        app.perform(&TurnAway { user: user.id, refusal }, &by).await?.into_inner();
        return Ok(SignIn::Refused(refusal));
    }
    let session = Plaintext::session();
    let operation = Begin {
        user: user.id,
        seen: (digest, user.state),
        session: session.digest(),
        ends: attempt.session.map(|id| Digest::of(id.as_bytes())),
        lifetime: app.settings.sessions.lifetime.0,
        keep: i64::from(app.settings.sessions.per_user),
        address: attempt.address.map(|address| address.to_string()),
        user_agent: attempt.user_agent.map(str::to_owned),
    };
    let begun = match app.perform(&operation, &by).await {
        Ok(begun) => begun.into_inner(),
        Err(error) => {
            not_counted(app, user.id, &by).await;
            return Err(error);
        }
    };
    Ok(match begun {
        Some(reactivated) => SignIn::In { session, reactivated },
        None => SignIn::Wrong,
    })
}

/// Somebody whose password was right, and what it was compared with.
pub struct Right {
    pub user: User,
    pub digest: String,
}

/// Whether this is the password of that login, wherever it was typed. Every refusal costs the same hash and the same
/// writes, for every name (T14).
pub async fn check(
    app: &App,
    login: &str,
    password: &Plaintext,
    address: Option<IpAddr>,
) -> Result<Option<Right>, Error> {
    // A place in the queue comes first: an attempt that is turned away must not count against the account.
    let place = app.hasher.place(address).map_err(|_| Error::Busy)?;
    // So must one that could not come in however right the password is.
    app.db.room_to_grow()?;
    let found = users::by_login(&mut app.db.read().await?, login).await?;
    let Some((user, Some(digest))) = found else {
        let (slot, by) = (decoy(login), By::password(None, address));
        place.verify(password, None).await.map_err(|_| Error::Busy)?;
        app.perform(&BookDecoy { slot, lockout: app.lockout() }, &by).await?.into_inner();
        app.perform(&NoteFailure { user: UserId(slot), address: String::new() }, &by).await?.into_inner();
        return Ok(None);
    };
    let by = By::password(Some(user.id), address);
    let booked = app.perform(&BookAttempt { user: user.id, lockout: app.lockout() }, &by).await?.into_inner();
    let compared = booked.is_some().then(|| digest.clone());
    match place.verify(password, compared).await {
        Ok(true) => return Ok(Some(Right { user, digest })),
        Ok(false) => {}
        Err(Busy) => return Err(turned_away(app, user.id, booked.is_some(), &by).await),
    }
    if booked.is_none() {
        // After the hash, which paces it: many guesses at once at a locked account must not queue up for the writer.
        app.perform(&CountLocked { user: user.id }, &by).await?.into_inner();
    }
    app.perform(&NoteFailure { user: user.id, address: counted(address) }, &by).await?.into_inner();
    Ok(None)
}

/// The password was right; what failed after it was not that, and does not count against the account.
pub async fn not_counted(app: &App, user: UserId, by: &By) {
    if let Ok(cleared) = app.perform(&Clear { user }, by).await {
        cleared.into_inner();
    }
}

/// The queue was full, and the place of this attempt was given to another: no password was compared, so the attempt does
/// not count.
async fn turned_away(app: &App, user: UserId, booked: bool, by: &By) -> Error {
    let taken_back = if booked {
        app.perform(&TakeBackAttempt { user, lockout: app.lockout() }, by).await.map(Done::into_inner)
    } else {
        Ok(())
    };
    taken_back.err().unwrap_or(Error::Busy)
}

/// Whether somebody who is signed in knows their password: the digest it was compared with, if so. Guesses count as
/// they do at sign-in.
pub async fn knows_password(app: &App, user: &User, password: Plaintext, by: &By) -> Result<Option<String>, Error> {
    let place = app.hasher.place(by.address).map_err(|_| Error::Busy)?;
    let found = users::by_login(&mut app.db.read().await?, &user.username).await?;
    let digest = found.and_then(|(_, digest)| digest);
    let booked = app.perform(&BookAttempt { user: user.id, lockout: app.lockout() }, by).await?.into_inner();
    let digest = digest.filter(|_| booked.is_some());
    let right = match place.verify(&password, digest.clone()).await {
        Ok(right) => right,
        Err(Busy) => return Err(turned_away(app, user.id, booked.is_some(), by).await),
    };
    if !right {
        let address = counted(by.address);
        app.perform(&NoteFailure { user: user.id, address }, by).await?.into_inner();
        return Ok(None);
    }
    Ok(digest)
}

/// Web sign-in has rules of its own (authentication.md 6.5): who is deactivated comes in and is active again.
fn refusal(user: &User, confirmation_required: bool) -> Option<Refusal> {
    match (user.kind, user.state) {
        (UserKind::Internal | UserKind::Bot, _) => Some(Refusal::Internal),
        (_, AccountState::BlockedPendingApproval) => Some(Refusal::PendingApproval),
        (_, AccountState::Blocked | AccountState::LdapBlocked | AccountState::Banned) => Some(Refusal::Blocked),
        _ if confirmation_required && user.is_unconfirmed() => Some(Refusal::Unconfirmed),
        _ => None,
    }
}

/// Books an attempt before the password is compared: 200 parallel guesses get no more than ten between them.
struct BookAttempt {
    user: UserId,
    lockout: Lockout,
}

impl Operation for BookAttempt {
    /// Which attempt in a row it is; `None`: password sign-in is locked.
    type Output = Option<i64>;
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<i64>>, Failed> {
        let attempt = users::book_attempt(tx, self.user, self.lockout, now).await?;
        Ok(match attempt {
            Some(last) if last >= self.lockout.attempts => {
                Change::new(attempt, [Audit::new("user.password_locked", user(self.user))])
            }
            _ => Change::nothing(attempt),
        })
    }
}

/// An attempt at a locked account writes as much as one that is booked (T14).
struct CountLocked {
    user: UserId,
}

impl Operation for CountLocked {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        users::count_locked_attempt(tx, self.user, now).await?;
        Ok(Change::nothing(()))
    }
}

/// The same work for a name that has no account, or one without a password.
struct BookDecoy {
    slot: i64,
    lockout: Lockout,
}

impl Operation for BookDecoy {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if tx.room_to_grow().is_ok() {
            users::book_decoy_attempt(tx, self.slot, self.lockout, now).await?;
        }
        Ok(Change::nothing(()))
    }
}

/// Takes back one booked attempt, and no more: clearing all would give back the guesses that were compared.
struct TakeBackAttempt {
    user: UserId,
    lockout: Lockout,
}

impl Operation for TakeBackAttempt {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        users::take_back_attempt(tx, self.user, self.lockout).await?;
        Ok(Change::nothing(()))
    }
}

/// Where attempts at a name without an account are counted. There is a fixed number of these, so that guessed names do not
/// fill the table; which name has which is a secret of this process, and the name itself is kept nowhere (T30).
fn decoy(login: &str) -> i64 {
    static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    -1 - (SECRET.hash_one(login.to_ascii_lowercase()) % DECOYS) as i64
}

const DECOYS: u64 = 256;

/// Under which address failures are counted: one IPv6 customer has a whole /64.
fn counted(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| network(address).to_string())
}

/// A failure is a row with a count per account, address and hour, not a line of the trail each (T29).
struct NoteFailure {
    user: UserId,
    address: String,
}

impl Operation for NoteFailure {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        // Guessing must not fill the disk: where there is no room the lock-out alone counts.
        if tx.room_to_grow().is_ok() {
            users::note_failure(tx, self.user, &self.address, now).await?;
        }
        Ok(Change::nothing(()))
    }
}

/// Takes back what was booked for a right password.
struct Clear {
    user: UserId,
}

impl Operation for Clear {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        users::clear_attempts(tx, self.user).await?;
        Ok(Change::nothing(()))
    }
}

struct TurnAway {
    user: UserId,
    refusal: Refusal,
}

impl Operation for TurnAway {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        users::clear_attempts(tx, self.user).await?;
        let audit = Audit::new("user.sign_in_refused", user(self.user)).with(format!("{:?}", self.refusal));
        Ok(Change::new((), [audit]))
    }
}

struct Begin {
    user: UserId,
    /// Password digest and state that were looked at. Hashing takes time, and both may have changed meanwhile.
    seen: (String, AccountState),
    session: Digest,
    ends: Option<Digest>,
    lifetime: std::time::Duration,
    keep: i64,
    address: Option<String>,
    user_agent: Option<String>,
}

impl Operation for Begin {
    /// Whether the account was deactivated until now; `None`: password or state have changed, so nobody came in.
    type Output = Option<bool>;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<bool>>, Failed> {
        let seen = (self.seen.0.as_str(), self.seen.1);
        if !users::signed_in(tx, self.user, seen, self.address.as_deref(), now).await? {
            return Ok(Change::nothing(None));
        }
        if let Some(old) = self.ends {
            sessions::remove_if_known(tx, old).await?;
        }
        let new = sessions::New {
            digest: self.session,
            user: self.user,
            expires_at: now + self.lifetime,
            address: self.address.as_deref(),
            user_agent: self.user_agent.as_deref(),
        };
        sessions::insert(tx, &new, now).await?;
        sessions::keep_newest(tx, self.user, self.keep).await?;
        let (from, to) = (AccountState::Deactivated, AccountState::Active);
        let reactivated = users::set_state(tx, self.user, from, to, now).await?;
        let detail = if reactivated { "reactivated" } else { "" };
        Ok(Change::new(Some(reactivated), [Audit::new("user.signed_in", user(self.user)).with(detail)]))
    }
}

/// Ends one session.
pub struct SignOut {
    pub session: Digest,
}

impl Operation for SignOut {
    /// Whose it was, if it was anybody's.
    type Output = Option<UserId>;
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<Option<UserId>>, Failed> {
        Ok(match sessions::remove(tx, self.session).await? {
            Some(id) => Change::new(Some(id), [Audit::new("user.signed_out", user(id))]),
            None => Change::already(None),
        })
    }
}

/// Ends those of several sessions that exist: for cookies of which somebody else may have planted some.
pub struct EndSessions {
    pub sessions: Vec<Digest>,
}

impl Operation for EndSessions {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        let mut ended = Vec::new();
        for session in &self.sessions {
            ended.extend(sessions::remove_if_known(tx, *session).await?);
        }
        let signed_out = |id: &UserId| Audit::new("user.signed_out", user(*id));
        let Some((first, more)) = ended.split_first() else { return Ok(Change::nothing(())) };
        let change = Change::new((), [signed_out(first)]);
        Ok(more.iter().fold(change, |change, id| change.also(signed_out(id))))
    }
}

fn user(id: UserId) -> Target {
    Target::new("user", id.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_decoys_are_of_a_fixed_number_and_no_user() {
        let slots: std::collections::BTreeSet<i64> = (0..10_000).map(|i| decoy(&format!("nobody{i}"))).collect();
        assert!(slots.iter().all(|slot| (-(DECOYS as i64)..0).contains(slot)));
        assert!(slots.len() > 200, "{} of them are used", slots.len());
        assert_eq!(decoy("Nobody"), decoy("nobody"), "as names are compared");
    }
}

//! Whether somebody knows the password of an account, and what a wrong one counts against (T14, T15;
//! authentication.md 6.5). Every place that takes a password asks here.
//!
//! Each attempt is booked before the password is compared, so that parallel guesses get no more than there are: against
//! the address, and against the account. What was right, or not compared, is taken back.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tollhouse_auth::limiter::{Permit, QUARTERS, network, site};
use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::sign_in_failures::{self, Bound};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{failed_sign_ins, sign_in_decoys, users};

use crate::app::App;
use crate::device;
use crate::error::{Error, account_text};
use crate::hasher::Busy;
use crate::operations::{Failed, Operation};
use crate::refusal::{Exceeded, Refusal};

/// From where a password came.
#[derive(Clone, Copy, Default)]
pub struct Origin<'a> {
    /// The client address, by which guesses are bounded (T14). `None`: not known.
    pub address: Option<IpAddr>,
    /// The cookie of [`device`]; empty if there is none.
    pub device: &'a str,
}

/// What came of comparing a password.
pub enum Checked {
    /// It is the account's.
    Right(Box<Right>),
    /// It is refused; the same answer for every reason.
    Wrong(Wrong),
}

/// Somebody whose password was right, and what it was compared with.
pub struct Right {
    /// Whose password it is, as they were when it was compared.
    pub user: User,
    /// The PHC string that it was compared with. Whoever acts on this has to see it unchanged (compare and set).
    pub digest: String,
}

/// A password that was refused. The answer does not tell why; the log and the metrics do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Why it is refused.
    pub why: Why,
    /// `None`: nobody has this name.
    pub account: Option<UserId>,
}

/// Why a password is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is wrong, or nobody has this name.
    Password,
    /// The same, and it was the last one that is allowed in a row.
    LocksOut,
    /// Signing in by password is locked, whatever the password.
    Locked,
}

impl Wrong {
    /// Stable code for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self.why {
            Why::Password => "wrong_password",
            Why::LocksOut => "locked_out",
            Why::Locked => "password_locked",
        }
    }

    fn account_text(self) -> String {
        account_text(self.account)
    }
}

/// Compares a password with that of a login. Every refusal costs the same hash and the same writes, for every name (T14).
/// Fails with [`Error::TooManyFailures`] if the address has had too many wrong ones, with [`Error::Busy`] if too many wait.
pub async fn check(app: &App, login: &str, password: &Plaintext, origin: Origin<'_>) -> Result<Checked, Error> {
    let key = app.device_key().await?;
    let found = users::by_login(&mut app.db.read().await?, login).await?;
    let account = found.as_ref().map(|(user, _)| user.id);
    let known = found.and_then(|(user, digest)| Some((user, digest?)));
    let device = known.as_ref().and_then(|(user, digest)| {
        device::known(key, origin.device, user.id, digest, app.now()).map(|name| browser(app.lockout(), user.id, name))
    });
    let counted = match (device, &known) {
        (Some(bound), _) => Counted::Device(bound),
        (None, Some((user, _))) => Counted::Account(user.id),
        (None, None) => Counted::Decoy(decoy(key, login)),
    };
    let exempt = match &counted {
        // What more it sends counts against its address.
        Counted::Device(bound) => {
            bound.most > sign_in_failures::count(&mut app.db.read().await?, bound, app.now()).await?
        }
        _ => false,
    };
    let bounds = if exempt { Vec::new() } else { bounds(app.settings.limits.sign_in_failures, origin.address) };
    let address = origin.address;
    let booking = Arc::new(Book { bounds, counted, account, lockout: app.lockout() });
    let mut passed = room(app, &booking, address).await?;
    let (tell, told) = oneshot::channel();
    let (owner, password) = (app.clone(), password.clone());
    // To its end, though the client may go away: what was booked is settled, and told to the operator.
    tokio::spawn(async move {
        let mut compared = compare(&owner, &booking, known.as_ref(), &password, address).await;
        if let Err(Error::TooManyFailures(_)) = compared {
            // Others took the room that there was, and may be right.
            drop(passed.take());
            passed = owner.comparisons.permit_alone(address).await;
            compared = match booking.has_room(&owner).await {
                Ok(()) => compare(&owner, &booking, known.as_ref(), &password, address).await,
                Err(error) => Err(error),
            };
        }
        drop(passed);
        if let Err(Ok(Checked::Wrong(wrong))) = tell.send(compared) {
            owner.metrics.refused(wrong.code());
            let (peer, account) = (address.map(tracing::field::display), wrong.account_text());
            tracing::info!(reason = wrong.code(), peer, account, "refused; the client had disconnected");
        }
    });
    told.await.map_err(|_| Error::Internal)?
}

/// Waits until there is room for one more attempt of this address. An address that has had too many costs reads, and
/// neither a hash nor a write.
async fn room(app: &App, booking: &Book, address: Option<IpAddr>) -> Result<Option<Permit>, Error> {
    if booking.bounds.is_empty() {
        return Ok(None);
    }
    // What is under way may yet be right, so it is waited for; but not by everybody.
    let asking = app.comparisons.asking(address);
    if asking == 0 || asking >= WAITING {
        booking.has_room(app).await?;
    }
    if asking >= WAITING {
        return Err(Error::Busy);
    }
    let passed = app.comparisons.permit(address).await;
    match booking.has_room(app).await {
        Err(Error::TooManyFailures(_)) => {
            drop(passed);
            let alone = app.comparisons.permit_alone(address).await;
            booking.has_room(app).await?;
            Ok(alone)
        }
        room => room.map(|()| passed),
    }
}

async fn compare(
    app: &App,
    booking: &Arc<Book>,
    known: Option<&(User, String)>,
    password: &Plaintext,
    address: Option<IpAddr>,
) -> Result<Checked, Error> {
    // A place in the queue comes first: an attempt that is turned away must not count.
    let place = app.hasher.place(address).map_err(|_| Error::Busy)?;
    // So must one that could not come in however right the password is.
    app.db.room_to_grow()?;
    let by = By::password(known.map(|(user, _)| user.id), address);
    let booked = app.perform(booking.clone(), &by).await?.into_inner();
    let digest = known.map(|(_, digest)| digest.clone());
    let compared = place.verify(password, digest.filter(|_| booked.attempt.is_some())).await;
    let outcome = match compared {
        Ok(true) => Outcome::Right,
        Ok(false) => Outcome::Wrong,
        Err(Busy) => Outcome::NotCompared,
    };
    let settle = Settle { booking: booking.clone(), booked, outcome, address: counted_as(address) };
    app.perform(settle, &by).await?.into_inner();
    match (compared, known) {
        (Ok(true), Some((user, digest))) => {
            Ok(Checked::Right(Box::new(Right { user: user.clone(), digest: digest.clone() })))
        }
        (Ok(_), _) => {
            let why = match booked.attempt {
                None => Why::Locked,
                Some(attempt) if attempt >= app.lockout().attempts => Why::LocksOut,
                Some(_) => Why::Password,
            };
            Ok(Checked::Wrong(Wrong { why, account: booking.account }))
        }
        (Err(Busy), _) => Err(Error::Busy),
    }
}

/// Whether somebody who is signed in knows their password. Guesses count as they do at sign-in.
pub async fn check_own(app: &App, user: &User, password: &Plaintext, origin: Origin<'_>) -> Result<Checked, Error> {
    Ok(match check(app, &user.username, password, origin).await? {
        // Somebody else has the name now.
        Checked::Right(right) if right.user.id != user.id => {
            Checked::Wrong(Wrong { why: Why::Password, account: Some(user.id) })
        }
        checked => checked,
    })
}

/// The password was right; what failed after it was not that, and does not count against the account.
pub async fn not_counted(app: &App, user: UserId, by: &By) {
    if let Ok(cleared) = app.perform(Clear { user }, by).await {
        cleared.into_inner();
    }
}

/// Beside the address, an attempt counts against one of these.
enum Counted {
    Account(UserId),
    /// A stand-in for an account: nobody has this name, or it has no password.
    Decoy(i64),
    /// A browser that signed in to the account before. Its attempts count here alone, and no lock of the name stops it.
    Device(Bound),
}

fn browser(lockout: Lockout, user: UserId, name: &str) -> Bound {
    let minutes = (kept(lockout).as_secs() / 60).cast_signed();
    Bound { source: sign_in_failures::browser(user, name), most: lockout.attempts, minutes }
}

/// For how long refused passwords of a source are kept, in whole minutes: as long as a browser is locked, which is at most
/// a day, however long a name is.
pub fn kept(lockout: Lockout) -> Duration {
    const MINUTE: u64 = 60;
    Duration::from_secs(lockout.period.as_secs().div_ceil(MINUTE).clamp(1, 24 * MINUTE) * MINUTE)
}

/// How many refused passwords an address may have in a minute: an IPv4 address, an IPv6 /64, and four times as many a
/// /48. None if `most` is 0.
fn bounds(most: u32, address: Option<IpAddr>) -> Vec<Bound> {
    let (Some(address), 1..) = (address, most) else { return Vec::new() };
    let bound = |source: String, most: i64| Bound { source, most, minutes: 1 };
    let most = i64::from(most);
    match network(address) {
        network if network.is_ipv4() => vec![bound(network.to_string(), most)],
        network => {
            vec![bound(format!("{network}/64"), most), bound(format!("{}/48", site(address)), most * QUARTERS as i64)]
        }
    }
}

/// Books an attempt, or says that it may not be.
struct Book {
    bounds: Vec<Bound>,
    counted: Counted,
    account: Option<UserId>,
    lockout: Lockout,
}

/// What [`Book`] did.
#[derive(Clone, Copy)]
struct Booked {
    at: Timestamp,
    /// Which attempt in a row it is; `None`: password sign-in is locked.
    attempt: Option<i64>,
}

impl Book {
    /// By a look alone.
    async fn has_room(&self, app: &App) -> Result<(), Error> {
        let now = app.now();
        for bound in &self.bounds {
            let failures = sign_in_failures::count(&mut app.db.read().await?, bound, now).await?;
            self.within(bound, failures + 1, now)?;
        }
        Ok(())
    }

    fn within(&self, bound: &Bound, failures: i64, now: Timestamp) -> Result<(), Refusal> {
        if failures <= bound.most {
            return Ok(());
        }
        let resets = sign_in_failures::end_of_minute(now);
        let Self { account, .. } = *self;
        Err(Refusal::TooManyFailures(Exceeded { most: bound.most, observed: failures, now, resets, account }))
    }
}

impl Operation for Book {
    type Output = Booked;
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Booked>, Failed> {
        for bound in &self.bounds {
            self.within(bound, sign_in_failures::book(tx, bound, now).await?, now)?;
        }
        let attempt = match &self.counted {
            Counted::Account(user) => users::book_attempt(tx, *user, self.lockout, now).await?,
            Counted::Decoy(slot) => sign_in_decoys::book(tx, *slot, self.lockout, now).await?,
            Counted::Device(bound) => match sign_in_failures::book(tx, bound, now).await? {
                attempt if attempt <= bound.most => Some(attempt),
                _ => {
                    sign_in_failures::take_back(tx, bound, now).await?;
                    None
                }
            },
        };
        let booked = Booked { at: now, attempt };
        Ok(match (&self.counted, attempt) {
            (Counted::Account(id), Some(last)) if last >= self.lockout.attempts => {
                Change::new(booked, [Audit::new("user.password_locked", Target::new("user", id.0))])
            }
            _ => Change::nothing(booked),
        })
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    /// The place in the queue was given to another.
    NotCompared,
}

/// Writes what came of an attempt that was booked.
struct Settle {
    booking: Arc<Book>,
    booked: Booked,
    outcome: Outcome,
    address: String,
}

impl Operation for Settle {
    type Output = ();
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        let Self { booking, booked, outcome, address } = self;
        let Book { bounds, counted, lockout, .. } = &**booking;
        if *outcome != Outcome::Wrong {
            for bound in bounds {
                sign_in_failures::take_back(tx, bound, booked.at).await?;
            }
        }
        match (outcome, counted) {
            (Outcome::Right, Counted::Device(bound)) => sign_in_failures::clear(tx, &bound.source).await?,
            // What counts against the account is cleared by whatever the password was asked for.
            (Outcome::Right, _) => {}
            (Outcome::Wrong, Counted::Account(user)) => {
                // An attempt at a locked account writes as much as one that was booked.
                if booked.attempt.is_none() {
                    users::count_locked_attempt(tx, *user, now).await?;
                }
                note_failure(tx, *user, address, now).await?;
            }
            // Under no address: there is a fixed number of decoys, and of rows for them.
            (Outcome::Wrong, Counted::Decoy(slot)) => {
                if booked.attempt.is_none() {
                    sign_in_decoys::count_locked(tx, *slot, now).await?;
                }
                note_failure(tx, UserId(*slot), "", now).await?;
            }
            (Outcome::Wrong, Counted::Device(_)) => {
                if let Some(user) = self.booking.account {
                    note_failure(tx, user, address, now).await?;
                }
            }
            (Outcome::NotCompared, Counted::Account(user)) => {
                if booked.attempt.is_some() {
                    users::take_back_attempt(tx, *user, *lockout).await?;
                }
            }
            (Outcome::NotCompared, Counted::Device(bound)) => {
                if booked.attempt.is_some() {
                    sign_in_failures::take_back(tx, bound, booked.at).await?;
                }
            }
            (Outcome::NotCompared, Counted::Decoy(_)) => {}
        }
        Ok(Change::nothing(()))
    }
}

/// A failure is a row with a count per account, address and hour, not a line of the audit log each (T29). Guessing must not
/// fill the disk: where there is no room the lock-out alone counts.
async fn note_failure(tx: &mut Tx, user: UserId, address: &str, now: Timestamp) -> Result<(), Failed> {
    if tx.room_to_grow().is_ok() {
        failed_sign_ins::note(tx, user, address, now).await?;
    }
    Ok(())
}

/// Takes back what was booked for a right password.
struct Clear {
    user: UserId,
}

impl Operation for Clear {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<()>, Failed> {
        users::clear_attempts(tx, self.user).await?;
        Ok(Change::nothing(()))
    }
}

/// Where attempts at a name without an account are counted. There is a fixed number of these, so that guessed names do not
/// fill the table; which name has which is the same on every server and nobody's to know, and the name itself is kept
/// nowhere (T30).
fn decoy(key: &device::Key, login: &str) -> i64 {
    -1 - i64::from(key.byte_of(login.to_ascii_lowercase().as_bytes()))
}

/// Attempts of one address that may wait for each other on this server.
const WAITING: usize = 64;

/// Under which address failures are counted: one IPv6 customer has a whole /64.
fn counted_as(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| network(address).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t14_decoys_are_of_a_fixed_number_and_no_user() {
        let key = device::Key::of(b"a secret");
        let slots: std::collections::BTreeSet<i64> = (0..10_000).map(|i| decoy(&key, &format!("nobody{i}"))).collect();
        assert!(slots.iter().all(|slot| (-256..0).contains(slot)));
        assert!(slots.len() > 200, "{} of them are used", slots.len());
        assert_eq!(decoy(&key, "Nobody"), decoy(&key, "nobody"), "as names are compared");
    }

    #[test]
    fn t14_what_counts_as_one_address() {
        let of = |most, address: &str| -> Vec<(String, i64)> {
            bounds(most, address.parse().ok()).into_iter().map(|bound| (bound.source, bound.most)).collect()
        };
        assert_eq!(of(10, "192.0.2.7"), [("192.0.2.7".to_owned(), 10)]);
        assert_eq!(of(10, "::ffff:192.0.2.7"), of(10, "192.0.2.7"), "one host");
        let six = [("2001:db8:1:2::/64".to_owned(), 10), ("2001:db8:1::/48".to_owned(), 40)];
        assert_eq!(of(10, "2001:db8:1:2::3"), six);
        assert!(of(0, "192.0.2.7").is_empty() && bounds(10, None).is_empty());
    }
}

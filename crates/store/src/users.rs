//! `users`.

use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::UserName;
use tollhouse_domain::password::Lockout;
use tollhouse_domain::secret::random;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::user::{AccountState, User, UserKind};

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::{Error, Result};
use crate::instance;

/// The columns of a [`User`], of the table under the name `u`.
macro_rules! columns {
    () => {
        "u.id AS user_id, u.username, u.name AS user_name, u.email, u.public_email, u.commit_email, u.state, u.kind AS user_kind,
        u.administrator, u.external, u.private_profile, u.can_create_group, u.projects_limit, u.bio, u.location, u.linkedin,
        u.twitter, u.discord, u.github, u.website_url, u.organization, u.job_title, u.pronouns, u.note,
        u.namespace_id AS user_namespace_id, u.created_by_id, u.created_at AS user_created_at, u.confirmed_at,
        u.password_expires_at, u.locked_until, u.last_activity_on, u.current_sign_in_at, u.last_sign_in_at,
        u.current_sign_in_ip, u.last_sign_in_ip, u.sign_in_count"
    };
}
pub(crate) use columns;

row! {
    /// The columns of a [`User`], as `columns!` names them.
    pub(crate) struct Row {
        user_id: i64,
        username: String,
        user_name: String,
        email: String,
        public_email: String,
        commit_email: String,
        state: String,
        user_kind: String,
        administrator: bool,
        external: bool,
        private_profile: bool,
        can_create_group: bool,
        projects_limit: i64,
        bio: String,
        location: Option<String>,
        linkedin: String,
        twitter: String,
        discord: String,
        github: String,
        website_url: String,
        organization: String,
        job_title: String,
        pronouns: Option<String>,
        note: Option<String>,
        user_namespace_id: Option<i64>,
        created_by_id: Option<i64>,
        user_created_at: i64,
        confirmed_at: Option<i64>,
        password_expires_at: Option<i64>,
        locked_until: Option<i64>,
        last_activity_on: Option<i64>,
        current_sign_in_at: Option<i64>,
        last_sign_in_at: Option<i64>,
        current_sign_in_ip: Option<String>,
        last_sign_in_ip: Option<String>,
        sign_in_count: i64,
    }
}

impl Row {
    /// [`Error::Damaged`] if the state or the kind is one that this program does not know.
    pub(crate) fn user(self) -> Result<User> {
        let damaged = |what: &str| Error::Damaged(format!("user {}: {what}", self.user_id));
        Ok(User {
            id: UserId(self.user_id),
            state: AccountState::parse(&self.state).ok_or_else(|| damaged("state"))?,
            kind: UserKind::parse(&self.user_kind).ok_or_else(|| damaged("kind"))?,
            username: self.username,
            name: self.user_name,
            email: self.email,
            public_email: self.public_email,
            commit_email: self.commit_email,
            administrator: self.administrator,
            external: self.external,
            private_profile: self.private_profile,
            can_create_group: self.can_create_group,
            projects_limit: self.projects_limit,
            bio: self.bio,
            location: self.location,
            linkedin: self.linkedin,
            twitter: self.twitter,
            discord: self.discord,
            github: self.github,
            website_url: self.website_url,
            organization: self.organization,
            job_title: self.job_title,
            pronouns: self.pronouns,
            note: self.note,
            namespace_id: self.user_namespace_id.map(NamespaceId),
            created_by_id: self.created_by_id.map(UserId),
            created_at: Timestamp(self.user_created_at),
            confirmed_at: self.confirmed_at.map(Timestamp),
            password_expires_at: self.password_expires_at.map(Timestamp),
            locked_until: self.locked_until.map(Timestamp),
            last_activity_on: self.last_activity_on.map(|day| Date(day as i32)),
            current_sign_in_at: self.current_sign_in_at.map(Timestamp),
            last_sign_in_at: self.last_sign_in_at.map(Timestamp),
            current_sign_in_ip: self.current_sign_in_ip,
            last_sign_in_ip: self.last_sign_in_ip,
            sign_in_count: self.sign_in_count,
        })
    }
}

mod list;

pub use list::{Filter, after, list, several, statements as lists};

/// By number, whatever the state of the account.
pub async fn find(at: &mut impl Runs, id: UserId) -> Result<Option<User>> {
    let row: Option<Row> = query(FIND).bind(id.0).optional(at).await?;
    row.map(Row::user).transpose()
}

/// By number, or by name without regard to case.
pub async fn named(at: &mut impl Runs, name: UserName<'_>) -> Result<Option<User>> {
    match name {
        UserName::Id(id) => find(at, id).await,
        UserName::Name(name) => {
            let lower = name.to_ascii_lowercase();
            let row: Option<Row> = query(NAMED).bind(&lower).optional(at).await?;
            row.map(Row::user).transpose()
        }
    }
}

/// What somebody typed to sign in: a user name or an address. With the password digest, which no other read gives.
pub async fn by_login(at: &mut impl Runs, login: &str) -> Result<Option<(User, Option<String>)>> {
    row! {
        struct Found {
            row: Row,
            password_digest: Option<String>,
        }
    }
    let lower = login.to_ascii_lowercase();
    let found: Option<Found> = query(BY_LOGIN).bind(&lower).optional(at).await?;
    found.map(|found| Ok((found.row.user()?, found.password_digest))).transpose()
}

/// Whether an administrator who can sign in exists.
pub async fn any_administrator(at: &mut impl Runs) -> Result<bool> {
    query(ANY_ADMINISTRATOR).one(at).await
}

/// Whether this is the only administrator who can act: a person whose account is active and, if it has an address,
/// confirmed. Until the transaction ends every other one that asks waits, so two of them cannot each rely on the
/// administrator whom the other one blocks.
pub async fn is_last_administrator(tx: &mut Tx, id: UserId) -> Result<bool> {
    instance::set(tx, ADMINISTRATORS, "").await?;
    query(IS_LAST_ADMINISTRATOR).bind(id.0).one(tx).await
}

/// Key in `instance`, whose row is locked while somebody decides about the last administrator.
const ADMINISTRATORS: &str = "administrators";

/// A user who is about to exist.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The name in URLs; not checked here.
    pub username: String,
    /// The display name.
    pub name: String,
    /// Empty: none.
    pub email: String,
    /// A person, a bot, or an account of the program.
    pub kind: UserKind,
    /// The state that it begins with.
    pub state: AccountState,
    /// Whether it administers the server.
    pub administrator: bool,
    /// Whether what is internal is closed to it.
    pub external: bool,
    /// Whether the address counts as confirmed.
    pub confirmed: bool,
    /// The administrator who creates it. `None`: a command or the start.
    pub created_by: Option<UserId>,
    /// PHC string.
    pub password_digest: Option<String>,
}

/// [`Error::Taken`] if somebody has that name or address; the transaction goes on, so that one can look which.
pub async fn insert(tx: &mut Tx, new: &NewUser, now: Timestamp) -> Result<UserId> {
    let id: Option<i64> = query(INSERT)
        .bind(&new.username)
        .bind(new.username.to_ascii_lowercase())
        .bind(&new.name)
        .bind(&new.email)
        .bind(unique_email(&new.email))
        .bind(new.state.as_str())
        .bind(new.kind.as_str())
        .bind(new.administrator)
        .bind(new.external)
        .bind(PROJECTS_LIMIT)
        .bind(now.0)
        .bind(new.confirmed.then_some(now.0))
        .bind(new.created_by.map(|id| id.0))
        .bind(&new.password_digest)
        .bind(new.name.to_lowercase())
        .optional(tx)
        .await?;
    id.map(UserId).ok_or(Error::Taken)
}

/// What stands in `lower_email`, which is unique: the address in lower case. An account without one has a random word
/// there, which is no address because it has no `@`; statements that look for an address ask that there is one.
fn unique_email(email: &str) -> String {
    match email {
        "" => format!("none-{:032x}", u128::from_be_bytes(random())),
        email => email.to_ascii_lowercase(),
    }
}

/// Sets the personal namespace of a new account.
pub async fn set_namespace(tx: &mut Tx, id: UserId, namespace: NamespaceId) -> Result<()> {
    query(SET_NAMESPACE).bind(id.0).bind(namespace.0).changed(tx).await?;
    tx.invalidate(Invalidation::Owner(id));
    Ok(())
}

/// Compare and set: `false` if the account was not in that state.
pub async fn set_state(tx: &mut Tx, id: UserId, from: AccountState, to: AccountState, now: Timestamp) -> Result<bool> {
    tx.invalidate(Invalidation::Owner(id));
    Ok(query(SET_STATE).bind(id.0).bind(from.as_str()).bind(to.as_str()).bind(now.0).changed(tx).await? == 1)
}

/// Changes nothing where there is no address to confirm.
pub async fn set_confirmed(tx: &mut Tx, id: UserId, at: Option<Timestamp>, now: Timestamp) -> Result<()> {
    query(SET_CONFIRMED).bind(id.0).bind(at.map(|at| at.0)).bind(now.0).changed(tx).await?;
    tx.invalidate(Invalidation::Owner(id));
    Ok(())
}

/// A new password unlocks, and sets or lifts the date on which it must be changed. Where the old one was asked for,
/// it must still be the one (compare and set): `false` if it is not.
pub async fn set_password(
    tx: &mut Tx,
    id: UserId,
    seen: Option<&str>,
    digest: &str,
    expires_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<bool> {
    let set = query(SET_PASSWORD)
        .bind(id.0)
        .bind(digest)
        .bind(expires_at.map(|at| at.0))
        .bind(now.0)
        .bind(seen)
        .changed(tx)
        .await?;
    tx.invalidate(Invalidation::Owner(id));
    Ok(set == 1)
}

/// What a person may say of themselves.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// The display name; not checked here.
    pub name: Option<String>,
    /// A text about the person; empty for none.
    pub bio: Option<String>,
    /// Where the person is, in free text.
    pub location: Option<String>,
    /// Whether what is internal is closed to the account.
    pub external: Option<bool>,
    /// Whether others see the basic fields only.
    pub private_profile: Option<bool>,
}

/// `None` in a field leaves it as it is. `false`: there is no such user.
pub async fn set_profile(tx: &mut Tx, id: UserId, profile: &Profile, now: Timestamp) -> Result<bool> {
    tx.invalidate(Invalidation::Owner(id));
    Ok(query(SET_PROFILE)
        .bind(id.0)
        .bind(&profile.name)
        .bind(&profile.bio)
        .bind(&profile.location)
        .bind(profile.external)
        .bind(profile.private_profile)
        .bind(now.0)
        .bind(profile.name.as_deref().map(str::to_lowercase))
        .changed(tx)
        .await?
        == 1)
}

/// Books one attempt at a password before it is compared, so that parallel guesses cannot have more than their
/// number. The last one that is allowed locks at once; the right password unlocks again. `None`: locked.
pub async fn book_attempt(tx: &mut Tx, id: UserId, lockout: Lockout, now: Timestamp) -> Result<Option<i64>> {
    let attempts: Option<i64> = query(BOOK_ATTEMPT)
        .bind(id.0)
        .bind(now.0)
        .bind(lockout.attempts)
        .bind((now + lockout.period).0)
        .optional(tx)
        .await?;
    if attempts.is_some_and(|attempts| attempts >= lockout.attempts) {
        tx.invalidate(Invalidation::Owner(id));
    }
    Ok(attempts)
}

/// Counts an attempt at an account that is locked. The number means nothing; it is written so that such an attempt costs
/// what any other one costs (T14).
pub async fn count_locked_attempt(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<()> {
    query(COUNT_LOCKED).bind(id.0).bind(now.0).changed(tx).await.map(drop)
}

/// An attempt was booked whose password was never compared: it counts no longer, nor does the lock that it completed.
pub async fn take_back_attempt(tx: &mut Tx, id: UserId, lockout: Lockout) -> Result<()> {
    let left: Option<i64> = query(TAKE_BACK_ATTEMPT).bind(id.0).bind(lockout.attempts).optional(tx).await?;
    // It may have been locked until now, by this attempt or by one that came after it.
    if left.is_some_and(|left| left + 1 >= lockout.attempts) {
        tx.invalidate(Invalidation::Owner(id));
    }
    Ok(())
}

/// The password was right: counters go back to nothing and the sign-in is noted. `false`: password or state are no
/// longer what was looked at (compare and set).
pub async fn signed_in(
    tx: &mut Tx,
    id: UserId,
    (digest, state): (&str, AccountState),
    address: Option<&str>,
    now: Timestamp,
) -> Result<bool> {
    let today = i64::from(now.date().0);
    let won = query(SIGNED_IN)
        .bind(id.0)
        .bind(now.0)
        .bind(address)
        .bind(today)
        .bind(digest)
        .bind(state.as_str())
        .changed(tx)
        .await?
        == 1;
    tx.invalidate(Invalidation::Owner(id));
    Ok(won)
}

/// The password was right, though nobody signs in: counters go back to nothing. `false`: password or state are no longer
/// what was looked at.
pub async fn verified(tx: &mut Tx, id: UserId, (digest, state): (&str, AccountState)) -> Result<bool> {
    let won = query(VERIFIED).bind(id.0).bind(digest).bind(state.as_str()).changed(tx).await? == 1;
    tx.invalidate(Invalidation::Owner(id));
    Ok(won)
}

/// What was counted and locked counts no longer: the password was right though the account may not come in, or somebody
/// who may has lifted it.
pub async fn clear_attempts(tx: &mut Tx, id: UserId) -> Result<()> {
    query(CLEAR_ATTEMPTS).bind(id.0).changed(tx).await?;
    tx.invalidate(Invalidation::Owner(id));
    Ok(())
}

const PROJECTS_LIMIT: i64 = 100_000;

macro_rules! can_administer {
    () => {
        "administrator AND kind = 'human' AND state = 'active' AND (confirmed_at IS NOT NULL OR email = '')"
    };
}

statements! {
    FIND = concat!("SELECT ", columns!(), " FROM users u WHERE u.id = $1");

    NAMED = concat!("SELECT ", columns!(), " FROM users u WHERE u.lower_username = $1");

    BY_LOGIN = concat!(
        "SELECT ", columns!(), ", u.password_digest FROM users u
          WHERE u.lower_username = $1 OR (u.lower_email = $1 AND u.email <> '')"
    );

    ANY_ADMINISTRATOR = "SELECT EXISTS (SELECT 1 FROM users WHERE administrator AND kind = 'human')";

    IS_LAST_ADMINISTRATOR = concat!(
        "SELECT EXISTS (SELECT 1 FROM users WHERE id = $1 AND ", can_administer!(), ")
            AND NOT EXISTS (SELECT 1 FROM users WHERE id <> $1 AND ", can_administer!(), ")"
    );

    INSERT = "
    INSERT INTO users (username, lower_username, name, lower_name, email, lower_email, commit_email, state, kind, administrator, external,
                       private_profile, can_create_group, projects_limit, created_at, updated_at, confirmed_at,
                       created_by_id, password_digest)
    VALUES ($1, $2, $3, $15, $4, $5, $4, $6, $7, $8, $9, FALSE, TRUE, $10, $11, $11, $12, $13, $14)
        ON CONFLICT DO NOTHING
    RETURNING id";

    SET_NAMESPACE = "UPDATE users SET namespace_id = $2 WHERE id = $1";

    SET_STATE = "UPDATE users SET state = $3, updated_at = $4 WHERE id = $1 AND state = $2";

    SET_CONFIRMED = "
    UPDATE users SET confirmed_at = $2, updated_at = $3
     WHERE id = $1 AND (CAST($2 AS BIGINT) IS NULL OR email <> '')";

    SET_PASSWORD = "
    UPDATE users SET password_digest = $2, password_expires_at = $3, updated_at = $4, failed_attempts = 0,
                     locked_until = NULL
     WHERE id = $1 AND (CAST($5 AS TEXT) IS NULL OR password_digest = $5)";

    SET_PROFILE = "
    UPDATE users SET name = COALESCE($2, name), lower_name = COALESCE($8, lower_name), bio = COALESCE($3, bio), location = COALESCE($4, location),
                     external = COALESCE($5, external), private_profile = COALESCE($6, private_profile), updated_at = $7
     WHERE id = $1";

    BOOK_ATTEMPT = "
    UPDATE users
       SET failed_attempts = CASE WHEN locked_until IS NULL THEN failed_attempts + 1 ELSE 1 END,
           locked_until = CASE WHEN (CASE WHEN locked_until IS NULL THEN failed_attempts + 1 ELSE 1 END) >= $3 THEN CAST($4 AS BIGINT) END
     WHERE id = $1 AND (locked_until IS NULL OR locked_until <= $2)
    RETURNING failed_attempts";

    COUNT_LOCKED = "UPDATE users SET failed_attempts = failed_attempts + 1 WHERE id = $1 AND locked_until > $2";

    TAKE_BACK_ATTEMPT = "
    UPDATE users
       SET failed_attempts = failed_attempts - 1,
           locked_until = CASE WHEN failed_attempts - 1 >= $2 THEN locked_until END
     WHERE id = $1 AND failed_attempts > 0
    RETURNING failed_attempts";

    SIGNED_IN = "
    UPDATE users
       SET failed_attempts = 0, locked_until = NULL, sign_in_count = sign_in_count + 1, last_activity_on = $4,
           last_sign_in_at = COALESCE(current_sign_in_at, $2), last_sign_in_ip = COALESCE(current_sign_in_ip, $3),
           current_sign_in_at = $2, current_sign_in_ip = $3
     WHERE id = $1 AND password_digest = $5 AND state = $6";

    VERIFIED = "
    UPDATE users SET failed_attempts = 0, locked_until = NULL WHERE id = $1 AND password_digest = $2 AND state = $3";

    CLEAR_ATTEMPTS = "UPDATE users SET failed_attempts = 0, locked_until = NULL WHERE id = $1";
}

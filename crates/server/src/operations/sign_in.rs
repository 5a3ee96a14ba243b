//! Signing in by password, and out again (authentication.md 6.5, 6.6; T14).

use tollhouse_domain::audit::{Audit, By, Target};
use tollhouse_domain::id::UserId;
use tollhouse_domain::secret::{Digest, Plaintext};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountState, User, UserKind};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{sessions, users};

use crate::app::App;
use crate::device;
use crate::error::Error;
use crate::operations::password_check::{Checked, Origin, Right, Why, Wrong, check, not_counted};
use crate::operations::{Failed, Operation};

/// What somebody typed, and from where.
pub struct Attempt<'a> {
    /// The user name or the primary address.
    pub login: &'a str,
    /// In clear, as it was typed.
    pub password: Plaintext,
    /// From where it came, for counting guesses.
    pub origin: Origin<'a>,
    /// `User-Agent` as it was sent; kept with the session.
    pub user_agent: Option<&'a str>,
    /// The session cookie that came with it. If it is anybody's session, that one ends.
    pub session: Option<&'a str>,
}

/// What came of it.
pub enum SignIn {
    /// Signed in, with a session that begins now.
    In {
        /// The value of the session cookie; the database has its digest alone.
        session: Plaintext,
        /// Whether the account was deactivated and is active again (authentication.md 6.5).
        reactivated: bool,
        /// What the browser keeps to be known again: the value of the cookie of [`device`].
        device: String,
    },
    /// Unknown, wrong, locked or without a password: the answer does not tell which.
    Wrong(Wrong),
    /// Told only after the right password.
    Refused(Refusal),
}

/// Why an account may not sign in, though the password was right (authentication.md 6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Blocked, LDAP-blocked or banned.
    Blocked,
    /// An administrator has to approve it first.
    PendingApproval,
    /// A bot, or an account of the program: nobody signs in there.
    Internal,
    /// Its primary address is not confirmed.
    Unconfirmed,
}

/// The whole of it.
pub async fn sign_in(app: &App, attempt: Attempt<'_>) -> Result<SignIn, Error> {
    let key = app.device_key().await?;
    let Right { user, digest } = match check(app, attempt.login, &attempt.password, attempt.origin).await? {
        Checked::Right(right) => *right,
        Checked::Wrong(wrong) => return Ok(SignIn::Wrong(wrong)),
    };
    let address = attempt.origin.address;
    let by = By::password(Some(user.id), address);
    if let Some(refusal) = refusal(&user, app.settings.accounts.confirmation_required) {
        app.perform(TurnAway { user: user.id, refusal }, &by).await?.into_inner();
        return Ok(SignIn::Refused(refusal));
    }
    let device = device::remember(key, attempt.origin.device, user.id, &digest, app.now());
    let session = Plaintext::session();
    let operation = Begin {
        user: user.id,
        seen: (digest, user.state),
        session: session.digest(),
        ends: attempt.session.map(|id| Digest::of(id.as_bytes())),
        lifetime: app.settings.sessions.first_lifetime(),
        keep: i64::from(app.settings.sessions.per_user),
        address: address.map(|address| address.to_string()),
        user_agent: attempt.user_agent.map(str::to_owned),
    };
    let begun = match app.perform(operation, &by).await {
        Ok(begun) => begun.into_inner(),
        Err(error) => {
            not_counted(app, user.id, &by).await;
            return Err(error);
        }
    };
    Ok(match begun {
        Some(reactivated) => SignIn::In { session, reactivated, device },
        None => SignIn::Wrong(Wrong { why: Why::Password, account: Some(user.id) }),
    })
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

struct TurnAway {
    user: UserId,
    refusal: Refusal,
}

impl Operation for TurnAway {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

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
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<bool>>, Failed> {
        let seen = (self.seen.0.as_str(), self.seen.1);
        if !users::signed_in(tx, self.user, seen, self.address.as_deref(), now).await? {
            return Ok(Change::nothing(None));
        }
        if let Some(old) = self.ends {
            sessions::remove_if_known(tx, old).await?;
        }
        let new = sessions::NewSession {
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
    /// Digest of the cookie's value.
    pub session: Digest,
}

impl Operation for SignOut {
    /// Whose it was, if it was anybody's.
    type Output = Option<UserId>;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, _: Timestamp) -> Result<Change<Option<UserId>>, Failed> {
        Ok(match sessions::remove(tx, self.session).await? {
            Some(id) => Change::new(Some(id), [Audit::new("user.signed_out", user(id))]),
            None => Change::already(None),
        })
    }
}

/// Ends those of several sessions that exist: for cookies of which somebody else may have planted some.
pub struct EndSessions {
    /// Digests of the cookies' values.
    pub sessions: Vec<Digest>,
}

impl Operation for EndSessions {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

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

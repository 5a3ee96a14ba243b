//! Users, and whether an account may use the API.

use crate::access::Viewer;
use crate::denial::AccountFault;
use crate::id::{NamespaceId, UserId};
use crate::time::{Date, Timestamp};

/// Everything of a user row but the password digest and the sign-in counters. Strings that were never set are
/// empty, or absent where the wire says null (rest-api.md 3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `id` on the wire; never given to another account.
    pub id: UserId,
    /// The name in URLs; unique without regard to case.
    pub username: String,
    /// The display name.
    pub name: String,
    /// The primary address. Empty: the account has none.
    pub email: String,
    /// The address that everybody may see. Empty: none.
    pub public_email: String,
    /// The address for commits, so far the primary one (rest-api.md 3.1). Empty: the account has none.
    pub commit_email: String,
    /// Whether it is active, blocked and so on.
    pub state: AccountState,
    /// A person, a bot, or an account of the program.
    pub kind: UserKind,
    /// Whether it administers the server.
    pub administrator: bool,
    /// Whether what is internal is closed to it.
    pub external: bool,
    /// Whether others see the basic fields only.
    pub private_profile: bool,
    /// Whether it may create groups. It is shown, and nothing asks for it yet.
    pub can_create_group: bool,
    /// How many projects its personal namespace may hold.
    pub projects_limit: i64,
    /// A text about the person; empty if there is none.
    pub bio: String,
    /// Free text. `None`: null on the wire.
    pub location: Option<String>,
    /// LinkedIn, as the person gave it; empty if there is none.
    pub linkedin: String,
    /// X (Twitter), as the person gave it; empty if there is none.
    pub twitter: String,
    /// Discord, as the person gave it; empty if there is none.
    pub discord: String,
    /// GitHub, as the person gave it; empty if there is none.
    pub github: String,
    /// A URL of the person's own; empty if there is none.
    pub website_url: String,
    /// Where the person works, in free text; empty if there is none.
    pub organization: String,
    /// What they do there, in free text; empty if there is none.
    pub job_title: String,
    /// Free text. `None`: null on the wire.
    pub pronouns: Option<String>,
    /// For administrators only.
    pub note: Option<String>,
    /// Its personal namespace. `None`: it has none.
    pub namespace_id: Option<NamespaceId>,
    /// The administrator who created it.
    pub created_by_id: Option<UserId>,
    /// When the account was created.
    pub created_at: Timestamp,
    /// When the primary address was confirmed. `None`: it is not.
    pub confirmed_at: Option<Timestamp>,
    /// From then on a new password must be chosen before anything else.
    pub password_expires_at: Option<Timestamp>,
    /// Password sign-in is refused until then.
    pub locked_until: Option<Timestamp>,
    /// The day of the last sign-in with a password, in UTC. `None`: never.
    pub last_activity_on: Option<Date>,
    /// When it last signed in with a password. `None`: never.
    pub current_sign_in_at: Option<Timestamp>,
    /// When it signed in the time before that; the same instant after the first sign-in.
    pub last_sign_in_at: Option<Timestamp>,
    /// The address from which it last signed in. `None`: never, or not known.
    pub current_sign_in_ip: Option<String>,
    /// The address from which it signed in the time before that.
    pub last_sign_in_ip: Option<String>,
    /// How often it has signed in with a password.
    pub sign_in_count: i64,
}

impl User {
    /// What this user may see.
    pub fn viewer(&self) -> Viewer {
        match self.administrator {
            true => Viewer::Administrator { id: self.id },
            false => Viewer::User { id: self.id, external: self.external },
        }
    }

    /// Whether password sign-in is locked after too many wrong passwords. Tokens and sessions go on.
    pub fn locked(&self, now: Timestamp) -> bool {
        self.locked_until.is_some_and(|until| now < until)
    }

    /// Whether nobody has shown that the primary address is theirs. An account without an address has nothing to confirm.
    pub fn is_unconfirmed(&self) -> bool {
        !self.email.is_empty() && self.confirmed_at.is_none()
    }

    /// The primary address, if it is confirmed: what others may be told (T22).
    pub fn confirmed_email(&self) -> Option<&str> {
        Some(self.email.as_str()).filter(|email| !email.is_empty() && self.confirmed_at.is_some())
    }

    /// Whether tokens and sessions of this account open the API (authentication.md 2.4, first match wins).
    pub fn may_use_api(&self, now: Timestamp, rules: AccountRules) -> Result<(), AccountFault> {
        match (self.kind, self.state) {
            (UserKind::Internal, _) => return Err(AccountFault::Internal),
            (_, AccountState::BlockedPendingApproval) => return Err(AccountFault::PendingApproval),
            (_, AccountState::Deactivated) => return Err(AccountFault::Deactivated),
            _ => {}
        }
        if self.kind == UserKind::Human && rules.confirmation_required && self.is_unconfirmed() {
            return Err(AccountFault::Unconfirmed);
        }
        if matches!(self.state, AccountState::Blocked | AccountState::LdapBlocked | AccountState::Banned) {
            return Err(AccountFault::Blocked);
        }
        if self.password_expires_at.is_some_and(|at| at <= now) {
            return Err(AccountFault::PasswordExpired);
        }
        if rules.lockout_stops_tokens && self.locked(now) {
            return Err(AccountFault::Blocked);
        }
        Ok(())
    }
}

/// One `@`, ASCII, something on either side (T22).
pub fn is_email(text: &str) -> bool {
    let sides = text.split_once('@').filter(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    sides.is_some() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// Settings that decide about accounts.
#[derive(Clone, Copy, Debug)]
pub struct AccountRules {
    /// An unconfirmed primary address closes the API.
    pub confirmation_required: bool,
    /// `compat.lockout = "gitlab"`: a locked password stops tokens too.
    pub lockout_stops_tokens: bool,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($variant:ident $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $(#[doc = concat!("`", $text, "`")] $variant),+ }

        impl $name {
            /// Every word, in the order of the wire.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads what [`Self::as_str`] gives.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// `state` on the wire (rest-api.md 3.1); the refusal of each on the API is in authentication.md 2.4. A deactivated
    /// account becomes active when its user signs in on a page (6.5). `blocked`, `ldap_blocked` and `banned` are refused
    /// alike. One that is pending approval waits for an administrator.
    AccountState {
        Active "active",
        Blocked "blocked",
        Deactivated "deactivated",
        Banned "banned",
        LdapBlocked "ldap_blocked",
        BlockedPendingApproval "blocked_pending_approval",
    }
}

words! {
    /// People, bots that may use the API, and accounts of the program itself that may not.
    UserKind {
        Human "human",
        Bot "bot",
        Internal "internal",
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn ada() -> User {
        User {
            id: UserId(7),
            username: "ada".into(),
            name: "Ada Example".into(),
            email: "ada@example.test".into(),
            public_email: String::new(),
            commit_email: "ada@example.test".into(),
            state: AccountState::Active,
            kind: UserKind::Human,
            administrator: false,
            external: false,
            private_profile: false,
            can_create_group: true,
            projects_limit: 100_000,
            bio: String::new(),
            location: None,
            linkedin: String::new(),
            twitter: String::new(),
            discord: String::new(),
            github: String::new(),
            website_url: String::new(),
            organization: String::new(),
            job_title: String::new(),
            pronouns: None,
            note: None,
            namespace_id: None,
            created_by_id: None,
            created_at: Timestamp(0),
            confirmed_at: Some(Timestamp(0)),
            password_expires_at: None,
            locked_until: None,
            last_activity_on: None,
            current_sign_in_at: None,
            last_sign_in_at: None,
            current_sign_in_ip: None,
            last_sign_in_ip: None,
            sign_in_count: 0,
        }
    }

    #[test]
    fn an_account_without_an_address_has_nothing_to_confirm() {
        let rules = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
        for (email, confirmed_at, allowed, told) in [
            ("ada@example.test", Some(Timestamp(0)), true, Some("ada@example.test")),
            ("ada@example.test", None, false, None),
            ("", None, true, None),
            ("", Some(Timestamp(0)), true, None),
        ] {
            let user = User { email: email.into(), confirmed_at, ..ada() };
            assert_eq!(user.may_use_api(Timestamp(1), rules).is_ok(), allowed, "{email} {confirmed_at:?}");
            assert_eq!(user.confirmed_email(), told, "{email} {confirmed_at:?}");
        }
    }

    #[test]
    fn t22_an_address_has_one_at_sign() {
        for good in ["a@b", "a'b+c@example.test"] {
            assert!(is_email(good), "{good}");
        }
        let long = format!("a@{}", "b".repeat(254));
        for bad in ["", "a", "@", "a@", "@b", "a@b@c", "a @b", "\u{e4}@b", "a@b\n", "a@b\0", &long] {
            assert!(!is_email(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_first_reason_in_the_order_of_the_specification_wins() {
        let now = Timestamp(1000);
        let rules = AccountRules { confirmation_required: true, lockout_stops_tokens: true };
        let judge = |user: &User| user.may_use_api(now, rules);
        let mut user = ada();
        assert_eq!(judge(&user), Ok(()));
        user.locked_until = Some(Timestamp(1001));
        assert_eq!(judge(&user), Err(AccountFault::Blocked));
        assert_eq!(user.may_use_api(now, AccountRules { lockout_stops_tokens: false, ..rules }), Ok(()));
        user.password_expires_at = Some(now);
        assert_eq!(judge(&user), Err(AccountFault::PasswordExpired));
        user.state = AccountState::Banned;
        assert_eq!(judge(&user), Err(AccountFault::Blocked));
        user.confirmed_at = None;
        assert_eq!(judge(&user), Err(AccountFault::Unconfirmed));
        user.state = AccountState::Deactivated;
        assert_eq!(judge(&user), Err(AccountFault::Deactivated));
        user.state = AccountState::BlockedPendingApproval;
        assert_eq!(judge(&user), Err(AccountFault::PendingApproval));
        user.kind = UserKind::Internal;
        assert_eq!(judge(&user), Err(AccountFault::Internal));
    }

    #[test]
    fn a_state_is_read_as_it_is_written() {
        for (word, state) in [
            ("active", AccountState::Active),
            ("blocked", AccountState::Blocked),
            ("deactivated", AccountState::Deactivated),
            ("banned", AccountState::Banned),
            ("ldap_blocked", AccountState::LdapBlocked),
            ("blocked_pending_approval", AccountState::BlockedPendingApproval),
        ] {
            assert_eq!((state.as_str(), AccountState::parse(word)), (word, Some(state)));
        }
        for (word, kind) in [("human", UserKind::Human), ("bot", UserKind::Bot), ("internal", UserKind::Internal)] {
            assert_eq!((kind.as_str(), UserKind::parse(word)), (word, Some(kind)));
        }
        assert_eq!((AccountState::parse("Active"), UserKind::parse("")), (None, None));
    }

    #[test]
    fn every_blocked_state_closes_the_api_and_a_bot_needs_no_confirmation() {
        use AccountState::{Active, Banned, Blocked, LdapBlocked};
        let rules = AccountRules { confirmation_required: true, lockout_stops_tokens: false };
        let blocked = Err(AccountFault::Blocked);
        for (state, kind, confirmed, judged) in [
            (Active, UserKind::Bot, false, Ok(())),
            (Active, UserKind::Human, false, Err(AccountFault::Unconfirmed)),
            (Blocked, UserKind::Human, true, blocked),
            (LdapBlocked, UserKind::Bot, true, blocked),
            (Banned, UserKind::Human, true, blocked),
        ] {
            let user = User { state, kind, confirmed_at: confirmed.then_some(Timestamp(0)), ..ada() };
            assert_eq!(user.may_use_api(Timestamp(1), rules), judged, "{state:?} {kind:?}");
        }
        let lax = AccountRules { confirmation_required: false, ..rules };
        assert_eq!(User { confirmed_at: None, ..ada() }.may_use_api(Timestamp(1), lax), Ok(()));
    }

    #[test]
    fn a_lock_and_a_password_end_at_their_instant() {
        let now = Timestamp(1_000);
        for (until, locked) in [(None, false), (Some(999), false), (Some(1_000), false), (Some(1_001), true)] {
            assert_eq!(User { locked_until: until.map(Timestamp), ..ada() }.locked(now), locked, "{until:?}");
        }
        let rules = AccountRules { confirmation_required: true, lockout_stops_tokens: true };
        let judged = |at| User { password_expires_at: Some(Timestamp(at)), ..ada() }.may_use_api(now, rules);
        assert_eq!((judged(1_001), judged(1_000)), (Ok(()), Err(AccountFault::PasswordExpired)));
    }

    #[test]
    fn what_a_user_sees_depends_on_administrator_and_external() {
        let id = ada().id;
        for (administrator, external, viewer) in [
            (false, false, Viewer::User { id, external: false }),
            (false, true, Viewer::User { id, external: true }),
            (true, true, Viewer::Administrator { id }),
        ] {
            assert_eq!(User { administrator, external, ..ada() }.viewer(), viewer);
        }
    }

    #[test]
    fn t22_an_address_has_255_bytes_at_most() {
        assert!(is_email(&format!("a@{}", "b".repeat(253))));
        assert!(!is_email(&format!("a@{}", "b".repeat(254))));
    }
}

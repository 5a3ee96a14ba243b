//! Personal access tokens, and what every kind of token looks like.

use crate::id::{FamilyId, PersonalAccessTokenId, UserId};
use crate::scope::Scopes;
use crate::time::{Date, Timestamp};

/// One row of the table of kinds.
#[derive(Clone, Copy, Debug)]
pub struct TokenKind {
    /// What logs and the audit log call it.
    pub name: &'static str,
    /// What such a token begins with.
    pub prefix: &'static str,
}

/// Token kinds of the wire and their prefixes (authentication.md 5.1). A prefix decides nothing but `glcbt-`
/// (1.1): look-ups are by digest of the whole string.
pub const PERSONAL_ACCESS_TOKEN: TokenKind = TokenKind { name: "personal_access_token", prefix: "glpat-" };
/// The client secret of an OAuth application.
pub const APPLICATION_SECRET: TokenKind = TokenKind { name: "application_secret", prefix: "gloas-" };
/// The token of a CI job.
pub const JOB_TOKEN: TokenKind = TokenKind { name: "job_token", prefix: "glcbt-" };

/// The token that a project or group gives to a deployment.
pub const DEPLOY_TOKEN: TokenKind = TokenKind { name: "deploy_token", prefix: "gldt-" };

/// What tokens begin with: ours, and those that people mistake for ours.
pub const PREFIXES: [&str; 10] = [
    PERSONAL_ACCESS_TOKEN.prefix,
    APPLICATION_SECRET.prefix,
    JOB_TOKEN.prefix,
    DEPLOY_TOKEN.prefix,
    "glrt-",
    "glptt-",
    "glft-",
    "glimt-",
    "glagent-",
    "glsoat-",
];

/// A personal access token as lists and answers show it (rest-api.md 2.1).
#[derive(Clone, Debug)]
pub struct PersonalAccessToken {
    /// The number of this generation: `id` on the wire.
    pub id: PersonalAccessTokenId,
    /// The family that it belongs to. Rotation keeps the family, unless another credential asked for it (rotation.md
    /// rule 9).
    pub family_id: FamilyId,
    /// The token that it replaced. `None`: the first of its family.
    pub previous_id: Option<PersonalAccessTokenId>,
    /// Whose token it is.
    pub user_id: UserId,
    /// The name that its owner gave it.
    pub name: String,
    /// What its owner wrote about it. `None`: null on the wire.
    pub description: Option<String>,
    /// What it opens.
    pub scopes: Scopes,
    /// Whether an administrator made it to act as the user.
    pub impersonation: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// It is dead from the start of this day, UTC. `None`: it does not expire.
    pub expires_at: Option<Date>,
    /// When it was last used, as far as that was written. `None`: never. Uses are written in batches, so it may be
    /// behind.
    pub last_used_at: Option<Timestamp>,
    /// From where it was used, the newest first: at most five IPv4 addresses and IPv6 networks of 64 bits. Written with
    /// `last_used_at`.
    pub last_used_ips: Vec<String>,
    /// Whether it is live, rotated or ended; expiry is not part of it.
    pub status: TokenStatus,
}

impl PersonalAccessToken {
    /// Whether it is this user's to manage: an impersonation token is the administrators'.
    pub fn is_own(&self, user: UserId) -> bool {
        self.user_id == user && !self.impersonation
    }

    /// `revoked` on the wire: it was revoked or rotated away. An expired token is not revoked.
    pub fn revoked(&self) -> bool {
        !matches!(self.status, TokenStatus::Live { .. })
    }

    /// `active` on the wire: neither revoked nor expired.
    pub fn active(&self, now: Timestamp) -> bool {
        !self.revoked() && !expired(self.expires_at, now)
    }
}

/// Whether a token is live: it is its family's head and the family has not ended. There is no other rule
/// (`docs/protocols/rotation.md` section 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStatus {
    /// It is the head, and opens what its scopes say unless it has expired.
    Live {
        /// Whether somebody has shown to hold it, for good (rotation.md rule 7).
        used: bool,
    },
    /// It has a successor, or was replaced, in a family that lives.
    Rotated,
    /// The family ended.
    Ended,
}

/// A token that ends on a day is dead from the first instant of that day, UTC (authentication.md 5.5).
pub fn expired(expires_at: Option<Date>, now: Timestamp) -> bool {
    expires_at.is_some_and(|day| day.start() <= now)
}

/// The last day a new token may end on.
pub fn latest_expiry(now: Timestamp) -> Date {
    now.date().plus_days(LONGEST_LIFE_DAYS)
}

/// When a rotated token ends if nobody says otherwise (5.7).
pub fn default_expiry_after_rotation(now: Timestamp) -> Date {
    now.date().plus_days(7)
}

const LONGEST_LIFE_DAYS: i32 = 365;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_dead_from_the_first_instant_of_its_day() {
        let day = Date(20_000);
        assert!(!expired(Some(day), Timestamp(day.start().0 - 1)));
        assert!(expired(Some(day), day.start()));
        assert!(!expired(None, day.start()));
    }

    #[test]
    fn an_expired_token_is_not_revoked_and_neither_is_active() {
        let day = Date(20_000);
        let token = |status| PersonalAccessToken {
            id: PersonalAccessTokenId(1),
            family_id: FamilyId(1),
            previous_id: None,
            user_id: UserId(1),
            name: String::new(),
            description: None,
            scopes: Scopes::default(),
            impersonation: false,
            created_at: Timestamp(0),
            expires_at: Some(day),
            last_used_at: None,
            last_used_ips: Vec::new(),
            status,
        };
        let before = Timestamp(day.start().0 - 1);
        for (status, revoked) in [
            (TokenStatus::Live { used: false }, false),
            (TokenStatus::Live { used: true }, false),
            (TokenStatus::Rotated, true),
            (TokenStatus::Ended, true),
        ] {
            let token = token(status);
            assert_eq!((token.revoked(), token.active(before)), (revoked, !revoked), "{status:?}");
            assert!(!token.active(day.start()), "{status:?}");
        }
    }

    #[test]
    fn a_token_lasts_a_year_at_most_and_a_week_after_a_rotation() {
        // authentication.md 5.5 and 5.7, at the last instant of a day.
        let now = Timestamp(Date(20_001).start().0 - 1);
        assert_eq!(latest_expiry(now), Date(20_365));
        assert_eq!(default_expiry_after_rotation(now), Date(20_007));
    }
}

//! Every reason to refuse, as data. The server's one table turns them into wire.

use crate::id::FamilyId;
use crate::scope::Scope;

/// Why a credential, or its absence, does not open an endpoint. The server spells each for its surface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A credential is required, and no valid one was presented.
    Missing,
    /// A token that is not known: no secret with this digest was ever issued, or it was swept.
    Unknown,
    /// The credential is past its end.
    Expired,
    /// The credential was revoked, or rotated away.
    Revoked,
    /// `compat.rotation = "gitlab"`: a revoked token was presented for rotation, so the guard ends its family
    /// before it answers as for [`Denial::Revoked`] (authentication.md 5.7).
    Reused(FamilyId),
    /// An impersonation token, while a setting forbids these.
    ImpersonationDisabled,
    /// The account of the owner may not use the API.
    Account(AccountFault),
    /// The token's scopes do not cover the endpoint; these would.
    Scope(Vec<Scope>),
    /// The endpoint requires an administrator.
    NotAdministrator,
    /// Only administrators may assume another user (authentication.md section 4).
    SudoNotAdministrator,
    /// Sudo requires a personal or an OAuth access token, not a session.
    SudoWithoutToken,
    /// The user to be assumed does not exist; what was sent.
    SudoUnknown(String),
    /// `sudo` is a list, a hash or two different names (authentication.md section 4).
    SudoInvalid,
    /// The database cannot be asked, so nothing is let in.
    Unavailable,
}

impl Denial {
    /// Stable code for logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Reused(_) => "reused",
            Self::ImpersonationDisabled => "impersonation_disabled",
            Self::Account(fault) => fault.code(),
            Self::Scope(_) => "insufficient_scope",
            Self::NotAdministrator => "not_administrator",
            Self::SudoNotAdministrator => "sudo_not_administrator",
            Self::SudoWithoutToken => "sudo_without_token",
            Self::SudoUnknown(_) => "sudo_unknown",
            Self::SudoInvalid => "sudo_invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why an account may not use the API (authentication.md 2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountFault {
    /// An account of the server itself, in which nobody signs in.
    Internal,
    /// It waits for an administrator's approval.
    PendingApproval,
    /// It was deactivated; signing in reactivates it.
    Deactivated,
    /// Its primary address is not confirmed, and a setting requires that.
    Unconfirmed,
    /// It is blocked or banned, or its password is locked and `compat.lockout` is `gitlab`.
    Blocked,
    /// A new password must be chosen first.
    PasswordExpired,
}

impl AccountFault {
    /// In the order in which they are checked, but for [`Self::Blocked`] by a lock, which is last.
    pub const ALL: [Self; 6] = [
        Self::Internal,
        Self::PendingApproval,
        Self::Deactivated,
        Self::Unconfirmed,
        Self::Blocked,
        Self::PasswordExpired,
    ];

    /// Stable code for logs and metrics.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Internal => "account_internal",
            Self::PendingApproval => "account_pending_approval",
            Self::Deactivated => "account_deactivated",
            Self::Unconfirmed => "account_unconfirmed",
            Self::Blocked => "account_blocked",
            Self::PasswordExpired => "account_password_expired",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list is in deploy.md, "Logs".
    #[test]
    fn a_reason_has_the_code_that_is_documented() {
        for (denial, code) in [
            (Denial::Missing, "missing"),
            (Denial::Unknown, "unknown"),
            (Denial::Expired, "expired"),
            (Denial::Revoked, "revoked"),
            (Denial::Reused(FamilyId(1)), "reused"),
            (Denial::ImpersonationDisabled, "impersonation_disabled"),
            (Denial::Account(AccountFault::Internal), "account_internal"),
            (Denial::Account(AccountFault::PendingApproval), "account_pending_approval"),
            (Denial::Account(AccountFault::Deactivated), "account_deactivated"),
            (Denial::Account(AccountFault::Unconfirmed), "account_unconfirmed"),
            (Denial::Account(AccountFault::Blocked), "account_blocked"),
            (Denial::Account(AccountFault::PasswordExpired), "account_password_expired"),
            (Denial::Scope(vec![Scope::Api]), "insufficient_scope"),
            (Denial::NotAdministrator, "not_administrator"),
            (Denial::SudoNotAdministrator, "sudo_not_administrator"),
            (Denial::SudoWithoutToken, "sudo_without_token"),
            (Denial::SudoUnknown("ada".into()), "sudo_unknown"),
            (Denial::SudoInvalid, "sudo_invalid"),
            (Denial::Unavailable, "unavailable"),
        ] {
            assert_eq!(denial.code(), code);
        }
    }
}

//! Every reason to refuse, as data. The server's one table turns them into wire.

use crate::id::FamilyId;
use crate::scope::Scope;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// A credential is required, and no valid one was presented.
    Missing,
    /// A token that is not known: no secret with this digest was ever issued, or it was swept.
    Unknown,
    Expired,
    Revoked,
    /// `compat.rotation = "gitlab"`: a revoked token was presented for rotation, so the guard ends its family
    /// before it answers as for [`Denial::Revoked`] (authentication.md 5.7).
    Reused(FamilyId),
    Account(AccountFault),
    /// The token's scopes do not cover the endpoint; these would.
    Scope(Vec<Scope>),
    NotAdministrator,
    SudoNotAdministrator,
    SudoWithoutToken,
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
    Internal,
    PendingApproval,
    Deactivated,
    Unconfirmed,
    Blocked,
    PasswordExpired,
}

impl AccountFault {
    pub const ALL: [Self; 6] = [
        Self::Internal,
        Self::PendingApproval,
        Self::Deactivated,
        Self::Unconfirmed,
        Self::Blocked,
        Self::PasswordExpired,
    ];

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

//! Why a proxy is told no. Its answers have no body; the reason stands in the log.

use axum::http::StatusCode;
use tollhouse_domain::denial::Denial;

use crate::error::Error;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Whoever asks is none of `gateway.peers` (T3).
    NotAPeer,
    /// There are no rules.
    NoRules,
    /// A header that only we may set (T2).
    IdentityHeader,
    /// A header whose name servers read in different ways (T2).
    OddHeader,
    /// What was asked is not said, said twice, or cannot be read (T1).
    Unclear,
    /// The path could be read in more than one way (T8).
    Crooked,
    NoRule,
    /// The rule's group or project is not what it was when the rules were read (T8).
    Unbound,
    NotAMember,
    /// A credential is needed, and none was shown at all.
    Nobody,
    /// What a route of ours would refuse with.
    Judged(Error),
}

impl Refusal {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAPeer => "not_a_peer",
            Self::NoRules => "no_rules",
            Self::IdentityHeader => "identity_header",
            Self::OddHeader => "odd_header",
            Self::Unclear => "unclear_question",
            Self::Crooked => "crooked_path",
            Self::NoRule => "no_rule",
            Self::Unbound => "unbound_rule",
            Self::NotAMember => "not_a_member",
            Self::Nobody => Denial::Missing.code(),
            Self::Judged(error) => error.code(),
        }
    }

    /// What a route of ours would say; `None`: it would say nothing of the kind.
    pub fn error(&self) -> Option<Error> {
        match self {
            Self::Nobody => Some(Denial::Missing.into()),
            Self::Judged(error) => Some(error.clone()),
            _ => None,
        }
    }
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Judged(error.into())
    }
}

/// Proxies know these, and take any other for a failure of ours.
pub fn status(of: StatusCode) -> StatusCode {
    match of {
        StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR => of,
        _ => StatusCode::FORBIDDEN,
    }
}

//! Why a proxy is told no. The log has the exact reason; the client is told one that is no finer than what the API would
//! tell it (GATE-092).

use axum::http::StatusCode;
use tollhouse_domain::denial::Denial;

use crate::error::Error;

/// Why a proxy is told no.
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
    /// No rule is about this request.
    NoRule,
    /// The rule's group or project is not what it was when the rules were read (T8).
    Unbound,
    /// The caller has not the level in the group or project that the rule names, or none that still counts.
    NotAMember,
    /// The project that the rule names does not admit job tokens of the caller's project (rest-api.md 2.12).
    JobOutsideAllowlist,
    /// A credential is required, and none was presented.
    NoCredential,
    /// What a route of ours would refuse with.
    Request(Error),
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
            Self::JobOutsideAllowlist => "job_outside_allowlist",
            Self::NoCredential => Denial::Missing.code(),
            Self::Request(error) => error.code(),
        }
    }

    /// What the client is told. Where the API gives one answer to several reasons, they are one reason here too: nobody
    /// learns from it whether a token, a group or a membership exists.
    pub fn told(&self) -> &'static str {
        match self {
            Self::NotAPeer => "not_a_peer",
            Self::NoRules | Self::NoRule => "no_rule",
            Self::IdentityHeader => "identity_header",
            Self::OddHeader => "odd_header",
            Self::Unclear => "unclear_question",
            Self::Crooked => "crooked_path",
            Self::NoCredential => "unauthorized",
            Self::Unbound | Self::NotAMember | Self::JobOutsideAllowlist => "forbidden",
            Self::Request(Error::Denied(denial)) => match denial {
                Denial::Missing | Denial::Unknown => "unauthorized",
                Denial::Revoked | Denial::Reused(_) => "revoked",
                Denial::NotAdministrator => "forbidden",
                Denial::Expired
                | Denial::ImpersonationDisabled
                | Denial::Account(_)
                | Denial::Scope(_)
                | Denial::SudoNotAdministrator
                | Denial::SudoWithoutToken
                | Denial::SudoUnknown(_)
                | Denial::SudoInvalid
                | Denial::Unavailable => denial.code(),
            },
            Self::Request(error) => error.code(),
        }
    }

    /// What a route of ours would say; `None`: it would say nothing of the kind.
    pub fn error(&self) -> Option<Error> {
        match self {
            Self::NoCredential => Some(Denial::Missing.into()),
            Self::Request(error) => Some(error.clone()),
            _ => None,
        }
    }
}

impl<E: Into<Error>> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Request(error.into())
    }
}

/// Proxies know these, and take any other for a failure of ours.
pub fn status(of: StatusCode) -> StatusCode {
    match of {
        StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE | StatusCode::INTERNAL_SERVER_ERROR => of,
        _ => StatusCode::FORBIDDEN,
    }
}

#[cfg(test)]
mod tests {
    use tollhouse_domain::denial::AccountFault;

    use super::*;
    use crate::urls::Urls;

    /// Every refusal for which the API has an answer too.
    fn with_an_answer() -> Vec<Refusal> {
        let denials = [
            Denial::Missing,
            Denial::Unknown,
            Denial::Expired,
            Denial::Revoked,
            Denial::Reused(tollhouse_domain::id::FamilyId(1)),
            Denial::ImpersonationDisabled,
            Denial::Scope(Vec::new()),
            Denial::NotAdministrator,
            Denial::Unavailable,
        ];
        let accounts = AccountFault::ALL.into_iter().map(Denial::Account);
        let errors = [Error::Malformed, Error::TwoBearers, Error::Unavailable, Error::Internal, Error::Forbidden(None)];
        let denied = denials.into_iter().chain(accounts).map(Refusal::from);
        denied.chain(errors.map(Refusal::Request)).chain([Refusal::NoCredential]).collect()
    }

    #[test]
    fn gate_092_what_the_api_answers_alike_is_told_alike() {
        let listen = "127.0.0.1:80".parse().expect("an address");
        let urls = Urls::new("https://git.example.test", &[], listen, false).expect("urls");
        let answer = |refusal: &Refusal| {
            let wire = refusal.error().expect("an answer").wire(&urls);
            (wire.status, wire.body, wire.challenge)
        };
        for one in with_an_answer() {
            for other in with_an_answer() {
                let (alike, told) = (answer(&one) == answer(&other), one.told() == other.told());
                assert_eq!(alike, told, "{one:?} and {other:?}");
            }
        }
        for hidden in [Refusal::Unbound, Refusal::NotAMember, Refusal::JobOutsideAllowlist] {
            assert_eq!(hidden.told(), Refusal::from(Denial::NotAdministrator).told());
        }
    }
}

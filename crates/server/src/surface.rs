//! Which part of the server a path belongs to. This decides the format of its refusals.

/// A part of the server: how it words refusals, and what the log and the metrics call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    /// `/api`: JSON in the families of authentication.md 2.
    Api,
    /// `/oauth` and `/.well-known`, for programs: errors as in RFC 6749 section 5.2.
    Oauth,
    /// What browsers show: errors are pages.
    Page,
    /// `/-/auth`, for proxies (docs/protocols/gateway.md).
    Gateway,
    /// `/-/health` and its like: no causes are named.
    Probe,
}

impl Surface {
    /// In the order of the metrics.
    pub const ALL: [Self; 5] = [Self::Api, Self::Oauth, Self::Page, Self::Gateway, Self::Probe];

    /// The label `face` of the metrics and the value of `face` in `explain --json`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Oauth => "oauth",
            Self::Page => "page",
            Self::Gateway => "gateway",
            Self::Probe => "probe",
        }
    }
}

/// By its beginning alone. Some paths belong to another one ([`crate::routes::surface_of`]).
pub fn by_prefix(path: &str) -> Surface {
    match path {
        _ if path.starts_with("/api") => Surface::Api,
        _ if is_protocol(path) => Surface::Oauth,
        _ => Surface::Page,
    }
}

/// Whether programs ask there by a protocol that is written down: OAuth, and discovery of it.
pub fn is_protocol(path: &str) -> bool {
    path.starts_with("/oauth/") || path.starts_with("/.well-known/")
}

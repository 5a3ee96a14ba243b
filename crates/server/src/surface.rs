//! Which part of the server a path belongs to. This decides the format of its refusals.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    Api,
    Oauth,
    Page,
    Gateway,
    Probe,
}

impl Surface {
    pub const ALL: [Self; 5] = [Self::Api, Self::Oauth, Self::Page, Self::Gateway, Self::Probe];

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

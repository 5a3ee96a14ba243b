//! Which part of the server a path belongs to. This decides the format of its refusals.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::table::table;
use crate::gateway;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Surface {
    Api,
    Oauth,
    Page,
    Gateway,
    Probe,
}

/// Paths whose prefix would give the wrong surface: pages below `/oauth`, and probes.
static EXCEPTIONS: LazyLock<HashMap<&'static str, Surface>> = LazyLock::new(|| {
    let mut all = HashMap::from([(gateway::PATH, Surface::Gateway), ("/-/metrics", Surface::Probe)]);
    let others = table().into_iter().filter(|endpoint| endpoint.surface != by_prefix(endpoint.path));
    all.extend(others.map(|endpoint| (endpoint.path, endpoint.surface)));
    all
});

impl Surface {
    pub const ALL: [Self; 5] = [Self::Api, Self::Oauth, Self::Page, Self::Gateway, Self::Probe];

    /// Looks only at the path as it was sent. There may be no endpoint.
    pub fn of(path: &str) -> Self {
        match by_prefix(path) {
            Self::Api => Self::Api,
            other => EXCEPTIONS
                .get(path)
                // The slash at the end of an OAuth path does not count.
                .or_else(|| EXCEPTIONS.get(path.strip_suffix('/').filter(|path| is_protocol(path))?))
                .copied()
                .unwrap_or(other),
        }
    }

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

fn by_prefix(path: &str) -> Surface {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_has_its_surface() {
        for endpoint in table() {
            let surface = Surface::of(endpoint.path);
            assert_eq!(surface, endpoint.surface, "{}", endpoint.path);
            let by_path = match endpoint.path.split('/').nth(1) {
                Some("api") => Surface::Api,
                Some("oauth" | ".well-known") if !endpoint.path.contains("/authorize") => Surface::Oauth,
                Some("-") if !endpoint.path.contains("user_settings") => Surface::Probe,
                _ => Surface::Page,
            };
            assert_eq!(surface, by_path, "{}", endpoint.path);
            assert_eq!(endpoint.access().is_some(), surface == Surface::Api, "{}", endpoint.path);
        }
        assert_eq!(Surface::of("/-/auth"), Surface::Gateway);
        assert_eq!(Surface::of("/-/nope"), Surface::Page);
        for (place, surface) in Surface::ALL.into_iter().enumerate() {
            assert_eq!(surface as usize, place);
        }
    }
}

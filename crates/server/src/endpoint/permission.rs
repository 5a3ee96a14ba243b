//! The fine-grained permission that GitLab requires for an endpoint of the API (authentication.md 3.6). It is data for
//! now: nothing checks it, because fine-grained tokens do not exist here yet.

/// A permission of a fine-grained token: what it may do, and to which kind of resource it is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Permission {
    /// `<action>_<resource>` in snake case, as GitLab names it, such as `read_project`.
    pub name: &'static str,
    /// To what it is granted.
    pub boundary: Boundary,
}

/// The kind of resource to which a permission is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundary {
    /// The caller's own account.
    User,
    /// One group.
    Group,
    /// One project.
    Project,
    /// Everything on this server.
    Instance,
}

impl Permission {
    /// `name`: `<action>_<resource>`, as GitLab names it.
    pub const fn new(name: &'static str, boundary: Boundary) -> Self {
        Self { name, boundary }
    }
}

impl Boundary {
    /// As GitLab writes it: `user`, `group`, `project` or `instance`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Group => "group",
            Self::Project => "project",
            Self::Instance => "instance",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::routes::table;
    use crate::surface::Surface;

    /// Endpoints of the API for which GitLab names no permission, each with the reason.
    const WITHOUT: &[(&str, &str)] =
        &[("GET /openapi.json", "an endpoint of ours"), ("GET /job", "only job tokens are admitted")];

    const FACTS: &str = include_str!("../../../../docs/wire/authentication.md");

    #[test]
    fn every_api_endpoint_has_the_permission_of_the_specification() {
        for endpoint in table() {
            let path = endpoint.path.strip_prefix("/api/v4").unwrap_or(endpoint.path);
            let named = format!("{} {}", endpoint.method, path.replace('{', ":").replace('}', ""));
            let exempt = WITHOUT.iter().any(|(without, _)| *without == named);
            let api = endpoint.surface == Surface::Api;
            assert_eq!(endpoint.permission.is_some(), api && !exempt, "{named}");
            if let Some(permission) = endpoint.permission {
                let row = format!("| `{named}` | `{}` | {} |", permission.name, permission.boundary.as_str());
                assert!(FACTS.lines().any(|line| line.starts_with(&row)), "authentication.md 3.6 has no row {row}");
            }
        }
    }
}

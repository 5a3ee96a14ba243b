//! Scopes as on the wire (authentication.md section 3).

use std::fmt;

use serde::Serialize;

macro_rules! scopes {
    ($($variant:ident $text:literal $holder:ident),+ $(,)?) => {
        /// What a token may be used for. Comparison is exact and case-sensitive (3.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scope { $($variant),+ }

        impl Scope {
            pub const ALL: &'static [Scope] = &[$(Scope::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$variant => $text),+ }
            }

            /// Who may hold it in a personal access token (3.3).
            pub const fn holder(self) -> Holder {
                match self { $(Scope::$variant => Holder::$holder),+ }
            }

            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Scope::$variant),)+ _ => None }
            }
        }
    };
}

scopes! {
    Api "api" Anyone,
    ReadApi "read_api" Anyone,
    ReadUser "read_user" Anyone,
    CreateRunner "create_runner" Anyone,
    ManageRunner "manage_runner" Anyone,
    K8sProxy "k8s_proxy" Anyone,
    SelfRotate "self_rotate" Anyone,
    Mcp "mcp" Anyone,
    ReadRepository "read_repository" Anyone,
    WriteRepository "write_repository" Anyone,
    ReadRegistry "read_registry" Anyone,
    WriteRegistry "write_registry" Anyone,
    ReadVirtualRegistry "read_virtual_registry" Anyone,
    WriteVirtualRegistry "write_virtual_registry" Anyone,
    AiFeatures "ai_features" Anyone,
    AiWorkflows "ai_workflows" ApplicationsOnly,
    Sudo "sudo" Administrators,
    AdminMode "admin_mode" Administrators,
    ReadServicePing "read_service_ping" Administrators,
    Openid "openid" ApplicationsOnly,
    Profile "profile" ApplicationsOnly,
    Email "email" ApplicationsOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Anyone,
    Administrators,
    ApplicationsOnly,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The scopes of one token, in the order they were given, each once.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Scopes(Box<[Scope]>);

impl Scopes {
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// From the form the database keeps. A scope this program does not know opens nothing, so it is left out.
    pub fn from_words(text: &str) -> Self {
        text.split_ascii_whitespace().filter_map(Scope::parse).collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        let mut kept: Vec<Scope> = Vec::new();
        for scope in scopes {
            if !kept.contains(&scope) {
                kept.push(scope);
            }
        }
        Self(kept.into())
    }
}

impl<const N: usize> From<[Scope; N]> for Scopes {
    fn from(scopes: [Scope; N]) -> Self {
        scopes.into_iter().collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_doubles_are_not() {
        let scopes = Scopes::from_words("read_user api  read_user nope");
        assert_eq!(scopes.to_string(), "read_user api");
        assert!(scopes.contains(Scope::Api) && !scopes.contains(Scope::ReadApi));
        assert_eq!(Scope::parse("API"), None);
    }
}

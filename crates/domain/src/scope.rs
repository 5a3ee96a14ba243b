//! Scopes as on the wire (authentication.md section 3).

use std::fmt;

use serde::Serialize;

macro_rules! scopes {
    ($($variant:ident $text:literal $holder:ident),+ $(,)?) => {
        /// What a token may be used for; 3.1 says what each opens. Comparison is exact and case-sensitive (3.2).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Scope { $(#[doc = concat!("`", $text, "`")] $variant),+ }

        impl Scope {
            /// In the order of authentication.md 3.1.
            pub const ALL: &'static [Scope] = &[$(Scope::$variant),+];

            /// As on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Scope::$variant => $text),+ }
            }

            /// Who may hold it in a personal access token (3.3).
            pub const fn holder(self) -> Holder {
                match self { $(Scope::$variant => Holder::$holder),+ }
            }

            /// Reads what the wire writes. `None`: no scope of this server.
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
    Sudo "sudo" Administrators,
    AdminMode "admin_mode" Administrators,
    ReadServicePing "read_service_ping" Administrators,
    Openid "openid" ApplicationsOnly,
    Profile "profile" ApplicationsOnly,
    Email "email" ApplicationsOnly,
    AiWorkflows "ai_workflows" ApplicationsOnly,
}

impl Scope {
    /// What it opens, in words for the person who is asked for it.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Api => "Do everything you can do through the API: read and change all your data",
            Self::ReadApi => "Read everything you can read through the API",
            Self::ReadUser => "Read your profile and those of other users",
            Self::CreateRunner => "Create runners",
            Self::ManageRunner => "Change and delete runners",
            Self::K8sProxy => "Reach Kubernetes clusters through the agent",
            Self::SelfRotate => "Rotate its own token",
            Self::Mcp => "Use the model context endpoint",
            Self::ReadRepository => "Read your repositories",
            Self::WriteRepository => "Read and change your repositories",
            Self::ReadRegistry => "Read container images",
            Self::WriteRegistry => "Read and change container images",
            Self::ReadVirtualRegistry => "Read through the dependency proxy",
            Self::WriteVirtualRegistry => "Read and change the content of the dependency proxy",
            Self::AiFeatures => "Use AI features",
            Self::AiWorkflows => "Take part in AI workflows",
            Self::Sudo => "Act as any user of this server",
            Self::AdminMode => "Act as an administrator",
            Self::ReadServicePing => "Read usage statistics of this server",
            Self::Openid => "Know who you are: user name, name, groups and public e-mail address",
            Self::Profile => "Read your profile",
            Self::Email => "Read your primary e-mail address",
        }
    }
}

/// Who may hold a scope in a personal access token (authentication.md 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Every person.
    Anyone,
    /// Administrators only.
    Administrators,
    /// Nobody: only OAuth applications and their tokens have it.
    ApplicationsOnly,
}

impl Holder {
    /// Whether a person may have it in a personal access token.
    pub const fn admits(self, administrator: bool) -> bool {
        match self {
            Self::Anyone => true,
            Self::Administrators => administrator,
            Self::ApplicationsOnly => false,
        }
    }
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
    /// Whether this very scope is held; `api` does not contain `read_api` here.
    pub fn contains(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }

    /// In the order in which they were given.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every one of these is among `others`.
    pub fn is_within(&self, others: &Self) -> bool {
        self.iter().all(|scope| others.contains(scope))
    }

    /// The same scopes, in whatever order.
    pub fn is_same_set(&self, other: &Self) -> bool {
        self.is_within(other) && other.is_within(self)
    }

    /// What only administrators may hold, and nobody gets without being asked (T21).
    pub fn for_administrators(&self) -> bool {
        self.iter().any(|scope| scope.holder() == Holder::Administrators)
    }

    /// As they stand in a request, separated by spaces (oauth.md section 3). `None`: one of them is unknown, or they
    /// are separated by something else.
    pub fn parse(text: &str) -> Option<Self> {
        if text.contains(['\t', '\r', '\n']) {
            return None;
        }
        text.split(' ').filter(|word| !word.is_empty()).map(Scope::parse).collect()
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

    #[test]
    fn only_administrators_and_applications_have_what_is_theirs() {
        // authentication.md 3.3
        for scope in Scope::ALL.iter().copied() {
            let (person, administrator) = match scope.as_str() {
                "sudo" | "admin_mode" | "read_service_ping" => (false, true),
                "openid" | "profile" | "email" | "ai_workflows" => (false, false),
                _ => (true, true),
            };
            let admitted = [false, true].map(|administrator| scope.holder().admits(administrator));
            assert_eq!(admitted, [person, administrator], "{scope}");
            let for_administrators = Scopes::from([Scope::Api, scope]).for_administrators();
            assert_eq!(for_administrators, administrator && !person, "{scope}");
        }
        assert!(!Scopes::default().for_administrators());
    }

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for scope in Scope::ALL.iter().copied() {
            assert_eq!(Scope::parse(&scope.to_string()), Some(scope));
        }
    }

    #[test]
    fn every_scope_is_told_apart_in_words() {
        let words: std::collections::HashSet<_> = Scope::ALL.iter().map(|scope| scope.description()).collect();
        assert_eq!(words.len(), Scope::ALL.len());
        assert!(words.iter().all(|words| words.contains(' ')), "for people");
    }

    #[test]
    fn one_set_is_within_another_in_any_order() {
        for (one, other, within, same) in [
            ("api", "api", true, true),
            ("api sudo", "sudo api", true, true),
            ("api", "api sudo", true, false),
            ("api sudo", "api", false, false),
            ("read_api", "api", false, false),
            ("", "api", true, false),
            ("", "", true, true),
        ] {
            let (one, other) = (Scopes::from_words(one), Scopes::from_words(other));
            assert_eq!((one.is_within(&other), one.is_same_set(&other)), (within, same), "{one} / {other}");
            assert_eq!(other.is_same_set(&one), same, "{one} / {other}");
            assert_eq!(one.is_empty(), one.iter().next().is_none());
        }
    }

    #[test]
    fn scopes_of_a_request_are_separated_by_spaces_alone() {
        // oauth.md section 3
        for (text, read) in [
            ("read_user  api", Some("read_user api")),
            ("", Some("")),
            ("api nonsense", None),
            ("api,read_user", None),
            ("api\tread_user", None),
            ("api\r", None),
            ("api\n", None),
        ] {
            assert_eq!(Scopes::parse(text).map(|scopes| scopes.to_string()).as_deref(), read, "{text:?}");
        }
    }
}

//! Numbers of rows. A number is never used twice, after deletion neither (T26).

use serde::Serialize;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(pub i64);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )+};
}

ids! {
    /// Of an account: a person, a bot or an internal user.
    UserId,
    /// Of a project.
    ProjectId,
    /// Of a personal namespace or a group; a group's id is this number.
    NamespaceId,
    /// Of a personal access token; `id` on the wire.
    PersonalAccessTokenId,
    /// Of a row that holds an OAuth access token and its refresh token.
    OauthAccessTokenId,
    /// Of one generation of a family: the number of a personal or an OAuth access token, whichever the family is of.
    GenerationId,
    /// Of a deploy token.
    DeployTokenId,
    /// Of a job token; `id` of the job on the wire.
    JobTokenId,
    /// Of an OAuth application; the `client_id` is another value.
    ApplicationId,
    /// Of what grew from one sign-in, grant or token creation (`docs/protocols/rotation.md` section 2).
    FamilyId,
}

impl From<PersonalAccessTokenId> for GenerationId {
    fn from(id: PersonalAccessTokenId) -> Self {
        Self(id.0)
    }
}

impl From<OauthAccessTokenId> for GenerationId {
    fn from(id: OauthAccessTokenId) -> Self {
        Self(id.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_in_decimal_and_stays_the_same_for_a_generation() {
        assert_eq!(UserId(1_000).to_string(), "1000");
        assert_eq!(GenerationId::from(PersonalAccessTokenId(7)), GenerationId(7));
        assert_eq!(GenerationId::from(OauthAccessTokenId(8)), GenerationId(8));
    }
}

//! What an application is told about a person: the claims of `id_token` and userinfo (oauth.md 9.1).

use data_encoding::HEXLOWER;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::access::AccessLevel;
use crate::id::UserId;
use crate::scope::{Scope, Scopes};
use crate::user::User;

/// A group that a person is in, with the highest level there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership<'a> {
    /// Paths from the root down, joined by `/`.
    pub full_path: &'a str,
    /// The highest level that the person has there now.
    pub level: AccessLevel,
    /// Not by way of a group above it.
    pub direct: bool,
}

/// What both documents say. What is not known is left out.
#[derive(Debug, Serialize)]
pub struct Person {
    /// The id of the user, in decimal.
    pub sub: String,
    /// Hexadecimal SHA-256 of the id and a secret of the instance, as older versions of GitLab used for `sub`.
    pub sub_legacy: String,
    /// The display name. Left out if it is empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The user name, as in `preferred_username`.
    pub nickname: String,
    /// The user name, as in URLs.
    pub preferred_username: String,
    /// Only a confirmed address (T22): the primary one with the scope `email`, else the public one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// `true` whenever there is an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email_verified: Option<bool>,
    /// The URL that the person gave as theirs. Left out if there is none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub website: String,
    /// The URL of the user's page.
    pub profile: String,
}

impl Person {
    /// `base`: our own URL, without a slash at the end. `salt`: the instance's secret behind `sub_legacy`.
    pub fn new(user: &User, scopes: &Scopes, base: &str, salt: &[u8]) -> Self {
        let email = email(user, scopes);
        Self {
            sub: user.id.to_string(),
            sub_legacy: sub_legacy(user.id, salt),
            name: user.name.clone(),
            nickname: user.username.clone(),
            preferred_username: user.username.clone(),
            email_verified: email.as_ref().map(|_| true),
            email,
            website: user.website_url.clone(),
            profile: format!("{base}/{}", user.username),
        }
    }
}

/// T22: an address that nobody confirmed is not passed on, neither as the primary nor as the public one.
fn email(user: &User, scopes: &Scopes) -> Option<String> {
    let confirmed = user.confirmed_email()?;
    let shown = if scopes.contains(Scope::Email) { &user.email } else { &user.public_email };
    shown.eq_ignore_ascii_case(confirmed).then(|| shown.clone())
}

fn sub_legacy(user: UserId, salt: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(format!("{user}-"));
    hash.update(salt);
    HEXLOWER.encode(&hash.finalize())
}

/// The claims of an `id_token` (OpenID Connect Core section 2). Times are seconds since 1970.
#[derive(Debug, Serialize)]
pub struct IdToken<'a> {
    /// The issuer: our `external_url`.
    pub iss: &'a str,
    /// The `client_id` of the application.
    pub aud: &'a str,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// What the application sent to the authorization endpoint, unchanged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nonce: Option<&'a str>,
    /// When the person authenticated, in seconds since 1970. `None`: not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth_time: Option<i64>,
    /// The claims about the person, at the top level of the document.
    #[serde(flatten)]
    pub person: Person,
    /// Full paths of the groups that the person is a direct member of.
    pub groups_direct: Vec<&'a str>,
}

/// The answer of the userinfo endpoint (OpenID Connect Core section 5.3), with GitLab's claims about groups.
#[derive(Debug, Serialize)]
pub struct UserInfo<'a> {
    /// The claims about the person, at the top level of the document.
    #[serde(flatten)]
    pub person: Person,
    /// Full paths of every group that the person is a member of, directly or by way of a group above.
    pub groups: Vec<&'a str>,
    /// Full paths of those in which the person is an owner. Left out if there are none.
    #[serde(rename = "https://gitlab.org/claims/groups/owner", skip_serializing_if = "Vec::is_empty")]
    pub owner: Vec<&'a str>,
    /// Full paths of those in which the person is a maintainer. Left out if there are none.
    #[serde(rename = "https://gitlab.org/claims/groups/maintainer", skip_serializing_if = "Vec::is_empty")]
    pub maintainer: Vec<&'a str>,
    /// Full paths of those in which the person is a developer. Left out if there are none.
    #[serde(rename = "https://gitlab.org/claims/groups/developer", skip_serializing_if = "Vec::is_empty")]
    pub developer: Vec<&'a str>,
}

impl<'a> UserInfo<'a> {
    /// `groups`: full paths with the level in each; they are also listed under the claim of their level.
    pub fn new(person: Person, groups: &[Membership<'a>]) -> Self {
        let with = |level: AccessLevel| {
            groups.iter().filter(|group| group.level == level).map(|group| group.full_path).collect()
        };
        Self {
            person,
            groups: groups.iter().map(|group| group.full_path).collect(),
            owner: with(AccessLevel::Owner),
            maintainer: with(AccessLevel::Maintainer),
            developer: with(AccessLevel::Developer),
        }
    }
}

/// Every claim there may be, for discovery (oauth.md 10.1).
pub const SUPPORTED: [&str; 18] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "sub_legacy",
    "name",
    "nickname",
    "preferred_username",
    "email",
    "email_verified",
    "website",
    "profile",
    "groups",
    "groups_direct",
    "https://gitlab.org/claims/groups/owner",
    "https://gitlab.org/claims/groups/maintainer",
    "https://gitlab.org/claims/groups/developer",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;
    use crate::user::tests::ada;

    #[test]
    fn t22_only_confirmed_addresses_are_passed_on() {
        let told = |user: &User, scopes: &Scopes| Person::new(user, scopes, "https://git.test", b"salt").email;
        let (all, openid) = (Scopes::from([Scope::Openid, Scope::Email]), Scopes::from([Scope::Openid]));
        let mut user = ada();
        user.email = "Ada@example.test".into();
        user.confirmed_at = Some(Timestamp(1));
        assert_eq!(told(&user, &all).as_deref(), Some("Ada@example.test"));
        assert_eq!(told(&user, &openid), None, "nothing is public");
        user.public_email = "ada@example.test".into();
        assert_eq!(told(&user, &openid).as_deref(), Some("ada@example.test"));
        user.public_email = "root@example.test".into();
        assert_eq!(told(&user, &openid), None, "nobody confirmed that one");
        user.confirmed_at = None;
        assert_eq!(told(&user, &all), None);
        user.confirmed_at = Some(Timestamp(1));
        (user.email, user.public_email) = (String::new(), String::new());
        assert_eq!(told(&user, &all), None, "there is none");
        assert_eq!(told(&user, &openid), None, "there is none");
    }

    #[test]
    fn an_old_subject_is_a_hash_of_number_and_secret() {
        let hash = HEXLOWER.encode(&Sha256::digest("7-salt"));
        assert_eq!(sub_legacy(UserId(7), b"salt"), hash);
    }
}

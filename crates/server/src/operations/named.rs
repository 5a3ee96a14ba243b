//! What somebody named: by number first, if it is one, else by name or full path; a token by its secret.

use tollhouse_domain::access::Viewer;
use tollhouse_domain::application::Application;
use tollhouse_domain::id::{ApplicationId, FamilyId, NamespaceId, ProjectId, UserId};
use tollhouse_domain::lookup::UserName;
use tollhouse_domain::membership::UserMemberships;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;
use tollhouse_domain::user::User;
use tollhouse_store::db::Reader;
use tollhouse_store::error::Result;
use tollhouse_store::namespaces::{self, Routed};
use tollhouse_store::projects::{self, Seen};
use tollhouse_store::{oauth_access_tokens, oauth_applications, personal_access_tokens, users};

/// By number, else by user name without regard to case.
pub async fn user(reader: &mut Reader, named: &str) -> Result<Option<User>> {
    if let Some(id) = number(named)
        && let Some(user) = users::find(reader, UserId(id)).await?
    {
        return Ok(Some(user));
    }
    users::named(reader, UserName::Name(named)).await
}

/// A group that the viewer may see.
pub async fn group(reader: &mut Reader, named: &str, viewer: Viewer, now: Timestamp) -> Result<Option<Namespace>> {
    match group_id(reader, named).await? {
        Some(id) => namespaces::visible_group(reader, id, viewer, now).await,
        None => Ok(None),
    }
}

/// Digits are a number and never a path: whoever loses sight of group 17 must not reach another one that is called so
/// (rest-api.md 1.1).
async fn group_id(reader: &mut Reader, named: &str) -> Result<Option<NamespaceId>> {
    if named.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(number(named).map(NamespaceId));
    }
    match namespaces::route(reader, named).await? {
        Some(Routed::Namespace(id)) => Ok(Some(id)),
        _ => Ok(None),
    }
}

/// The same, with the projects right inside it that the viewer may see.
pub async fn group_with_projects(
    reader: &mut Reader,
    named: &str,
    viewer: Viewer,
    memberships: Option<&UserMemberships>,
    now: Timestamp,
) -> Result<Option<(Namespace, Vec<Seen>)>> {
    match group_id(reader, named).await? {
        Some(id) => projects::with_group(reader, id, viewer, memberships, now).await,
        None => Ok(None),
    }
}

/// A number is an id; a path has a slash; anything else is looked up nowhere (rest-api.md 1.1).
pub async fn project(reader: &mut Reader, named: &str) -> Result<Option<ProjectId>> {
    if named.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(number(named).map(ProjectId));
    }
    if !named.contains('/') {
        return Ok(None);
    }
    match namespaces::route(reader, named).await? {
        Some(Routed::Project(id)) => Ok(Some(id)),
        _ => Ok(None),
    }
}

/// A project that the viewer may see, with what the viewer is to it.
pub async fn visible_project(reader: &mut Reader, named: &str, viewer: Viewer, now: Timestamp) -> Result<Option<Seen>> {
    match project(reader, named).await? {
        Some(id) => projects::visible(reader, id, viewer, now).await,
        None => Ok(None),
    }
}

/// By number or `client_id`.
pub async fn application(reader: &mut Reader, named: &str) -> Result<Option<Application>> {
    if let Some(id) = number(named)
        && let Some(application) = oauth_applications::find(reader, ApplicationId(id)).await?
    {
        return Ok(Some(application));
    }
    oauth_applications::by_uid(reader, named).await
}

/// A token that somebody has in hand, of whatever kind.
#[derive(Clone, Debug)]
pub enum Token {
    /// A personal access token.
    Personal(personal_access_tokens::Found),
    /// A pair of OAuth tokens, by either of its secrets.
    Oauth {
        /// The pair.
        found: oauth_access_tokens::Found,
        /// It is the refresh token of the pair.
        refresh: bool,
    },
}

impl Token {
    /// The family that it belongs to; revoking one ends the other.
    pub fn family(&self) -> FamilyId {
        match self {
            Self::Personal(found) => found.token.family_id,
            Self::Oauth { found, .. } => found.token.family_id,
        }
    }

    /// Live, rotated or ended; expiry is not part of it.
    pub fn status(&self) -> TokenStatus {
        match self {
            Self::Personal(found) => found.token.status,
            Self::Oauth { found, .. } => found.status,
        }
    }
}

/// By the secret itself. Nothing is noted: whoever asks is not using it.
pub async fn token(reader: &mut Reader, digest: Digest) -> Result<Option<Token>> {
    if let Some(found) = personal_access_tokens::by_digest(reader, digest).await? {
        return Ok(Some(Token::Personal(found)));
    }
    if let Some(found) = oauth_access_tokens::by_digest(reader, digest).await? {
        return Ok(Some(Token::Oauth { found, refresh: false }));
    }
    let found = oauth_access_tokens::by_refresh_digest(reader, digest).await?;
    Ok(found.map(|found| Token::Oauth { found, refresh: true }))
}

fn number(text: &str) -> Option<i64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

//! Deploy tokens (rest-api.md 2.11).

use tollhouse_domain::deploy_token::{self, DeployScope};
use tollhouse_domain::time::Timestamp;

use crate::entity::entity;
use crate::entity::types::{Boolean, DateTime, Integer, List, Nullable, OneOf, Text};

/// A deploy token, and when it is looked at.
pub struct Shown<'a> {
    pub token: &'a deploy_token::DeployToken,
    pub now: Timestamp,
}

/// A deploy token and its secret, which is shown once.
pub struct WithSecret<'a> {
    pub token: Shown<'a>,
    pub secret: &'a str,
}

entity! {
    pub DeployToken(it: Shown<'_>) {
        id: Integer = it.token.id,
        name: Text = &it.token.name,
        username: Text = &it.token.username,
        expires_at: Nullable<DateTime> = it.token.expires_at,
        scopes: List<OneOf<DeployScope>> = it.token.scopes.iter(),
        revoked: Boolean = it.token.revoked,
        expired: Boolean = it.token.expired(it.now),
    }
}

entity! {
    /// On create.
    pub DeployTokenWithSecret(it: WithSecret<'_>) {
        ..DeployToken = &it.token,
        token: Text = it.secret,
    }
}

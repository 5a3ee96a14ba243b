//! Personal access tokens (rest-api.md 2.1).

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::TargetKind;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::lookup::{Label, TokenRecord};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::{PersonalAccessToken, TokenStatus};

use crate::entity::entity;
use crate::entity::types::{Boolean, Date, DateTime, Integer, Level, List, Nullable, OneOf, Text};

/// A token, from its row or from the record by which it was recognised.
pub struct Shown<'a> {
    id: PersonalAccessTokenId,
    name: &'a str,
    revoked: bool,
    created_at: Timestamp,
    description: Option<&'a str>,
    scopes: &'a Scopes,
    user_id: UserId,
    last_used_at: Option<Timestamp>,
    active: bool,
    expires_at: Option<Timestamp>,
}

impl<'a> Shown<'a> {
    pub fn new(token: &'a PersonalAccessToken, now: Timestamp) -> Self {
        Self {
            id: token.id,
            name: &token.name,
            revoked: token.revoked(),
            created_at: token.created_at,
            description: token.description.as_deref(),
            scopes: &token.scopes,
            user_id: token.user_id,
            last_used_at: token.last_used_at,
            active: token.active(now),
            // A token lives through the day before.
            expires_at: token.expires_at.map(|day| day.start()),
        }
    }

    /// The same of a personal access token that was recognised, without asking for it again.
    pub fn of_record(token: &'a TokenRecord, owner: UserId, now: Timestamp) -> Self {
        let revoked = !matches!(token.status, TokenStatus::Live { .. });
        let label = token.label.as_deref();
        Self {
            id: PersonalAccessTokenId(token.id.0),
            name: label.map_or("", |label| &label.name),
            revoked,
            created_at: token.created_at,
            description: label.and_then(|label: &Label| label.description.as_deref()),
            scopes: &token.scopes,
            user_id: owner,
            last_used_at: token.last_used_at.get(),
            active: !revoked && token.dead_from.is_none_or(|at| now < at),
            expires_at: token.dead_from,
        }
    }
}

/// A token alone, not one of a list.
pub struct WithIps<'a> {
    pub token: Shown<'a>,
    /// From where it was used, the newest first.
    pub ips: &'a [String],
}

/// A token and its secret, which is shown once.
pub struct WithSecret<'a> {
    pub token: Shown<'a>,
    pub secret: &'a str,
}

entity! {
    pub Token(it: Shown<'_>) {
        id: Integer = it.id,
        name: Text = it.name,
        revoked: Boolean = it.revoked,
        created_at: DateTime = it.created_at,
        description: Nullable<Text> = it.description,
        scopes: List<OneOf<Scope>> = it.scopes.iter(),
        user_id: Integer = it.user_id,
        last_used_at: Nullable<DateTime> = it.last_used_at,
        active: Boolean = it.active,
        // There are no fine-grained tokens yet.
        granular: Boolean = false,
        expires_at: Nullable<Date> = it.expires_at.map(Timestamp::date),
    }
}

entity! {
    /// `GET /personal_access_tokens/:id` and `/self`
    pub TokenWithIps(it: WithIps<'_>) {
        ..Token = &it.token,
        last_used_ips: List<Text> = it.ips,
    }
}

entity! {
    /// `/users/:user_id/impersonation_tokens`
    pub ImpersonationToken(it: Shown<'_>) {
        ..Token = it,
        impersonation: Boolean = true,
    }
}

entity! {
    /// On create.
    pub ImpersonationTokenWithSecret(it: WithSecret<'_>) {
        ..ImpersonationToken = &it.token,
        token: Text = it.secret,
    }
}

entity! {
    /// On create, and for the successor on rotation.
    pub TokenWithSecret(it: WithSecret<'_>) {
        ..Token = &it.token,
        token: Text = it.secret,
    }
}

/// A token of a group or project.
pub struct OfResource<'a> {
    pub token: Shown<'a>,
    pub level: Option<AccessLevel>,
    pub resource: MembershipSource,
}

/// The same with its secret, which is shown once.
pub struct OfResourceWithSecret<'a> {
    pub token: OfResource<'a>,
    pub secret: &'a str,
}

entity! {
    /// Of a group or project (rest-api.md 2.10).
    pub ResourceAccessToken(it: OfResource<'_>) {
        ..Token = &it.token,
        // Null once the bot is no member any more.
        access_level: Nullable<Level> = it.level,
        resource_type: OneOf<TargetKind> = it.resource.kind(),
        resource_id: Integer = it.resource.number(),
    }
}

entity! {
    /// On create, and for the successor on rotation.
    pub ResourceAccessTokenWithSecret(it: OfResourceWithSecret<'_>) {
        ..ResourceAccessToken = &it.token,
        token: Text = it.secret,
    }
}

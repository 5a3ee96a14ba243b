//! Tokens (rest-api.md 2.1).

use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::lookup::{Label, TokenRecord};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::{PersonalAccessToken, TokenStatus};

use crate::json::Object;

pub fn personal(token: &PersonalAccessToken, now: Timestamp) -> Object {
    let fields = Fields {
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
        dead_from: token.expires_at.map(|day| day.start()),
    };
    fields.object()
}

/// The same of a personal access token that was recognised, without asking for it again.
pub fn of_record(token: &TokenRecord, owner: UserId, now: Timestamp) -> Object {
    let revoked = !matches!(token.status, TokenStatus::Live { .. });
    let label = token.label.as_deref();
    let fields = Fields {
        id: PersonalAccessTokenId(token.id.0),
        name: label.map_or("", |label| &label.name),
        revoked,
        created_at: token.created_at,
        description: label.and_then(|label: &Label| label.description.as_deref()),
        scopes: &token.scopes,
        user_id: owner,
        last_used_at: token.last_used_at.get(),
        active: !revoked && token.dead_from.is_none_or(|at| now < at),
        dead_from: token.dead_from,
    };
    fields.object()
}

struct Fields<'a> {
    id: PersonalAccessTokenId,
    name: &'a str,
    revoked: bool,
    created_at: Timestamp,
    description: Option<&'a str>,
    scopes: &'a Scopes,
    user_id: UserId,
    last_used_at: Option<Timestamp>,
    active: bool,
    dead_from: Option<Timestamp>,
}

impl Fields<'_> {
    fn object(&self) -> Object {
        Object::default()
            .field("id", self.id)
            .field("name", self.name)
            .field("revoked", self.revoked)
            .field("created_at", self.created_at.iso())
            .field("description", self.description)
            .field("scopes", self.scopes)
            .field("user_id", self.user_id)
            .field("last_used_at", self.last_used_at.map(Timestamp::iso))
            .field("active", self.active)
            .field("expires_at", self.dead_from.map(|at| at.date().to_string()))
    }
}

//! Tokens (rest-api.md 2.1).

use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::PersonalAccessToken;

use crate::json::Object;

pub fn personal(token: &PersonalAccessToken, now: Timestamp) -> Object {
    Object::default()
        .field("id", token.id)
        .field("name", &token.name)
        .field("revoked", token.revoked())
        .field("created_at", token.created_at.iso())
        .field("description", &token.description)
        .field("scopes", &token.scopes)
        .field("user_id", token.user_id)
        .field("last_used_at", token.last_used_at.map(Timestamp::iso))
        .field("active", token.active(now))
        .field("expires_at", token.expires_at.map(|day| day.to_string()))
}

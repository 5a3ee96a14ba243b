//! Lines of the audit log (rest-api.md 5.2).

use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::audit_events::{self, Entity, INSTANCE};

use crate::entity::entity;
use crate::entity::types::{DateTime, Integer, Nullable, Text};

/// A line, and whose credential it was. `None`: no account's, or one that is gone.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    pub line: &'a audit_events::AuditEvent,
    pub author: Option<&'a User>,
}

/// The author of what no account did, as in GitLab.
const NOBODY: i64 = -1;

impl Shown<'_> {
    fn entity(&self) -> (&'static str, i64) {
        match Entity::of(&self.line.target_kind) {
            Entity::Project => ("Project", self.line.target_id),
            Entity::Group => ("Group", self.line.target_id),
            Entity::User => ("User", self.line.target_id),
            Entity::Instance => ("Gitlab::Audit::InstanceScope", INSTANCE),
        }
    }
}

entity! {
    /// The first three are GitLab's, the others name what GitLab has no place for.
    AuditEventDetails(it: Shown<'_>) {
        custom_message: Text = &it.line.detail,
        author_name: Nullable<Text> = it.author.map(|author| &author.name),
        ip_address: Nullable<Text> = it.line.address.as_ref(),
        target_type: Text = &it.line.target_kind,
        target_id: Integer = it.line.target_id,
        credential: Text = &it.line.credential,
        subject_id: Nullable<Integer> = it.line.subject_id,
    }
}

entity! {
    pub AuditEvent(it: Shown<'_>) {
        id: Integer = it.line.id,
        author_id: Integer = it.line.actor_id.unwrap_or(NOBODY),
        entity_id: Integer = it.entity().1,
        entity_type: Text = it.entity().0,
        event_name: Text = &it.line.event,
        details: AuditEventDetails = *it,
        created_at: DateTime = Timestamp(it.line.at),
    }
}

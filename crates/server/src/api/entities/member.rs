//! Members of groups and projects (rest-api.md 4.5).

use tollhouse_store::members;

use super::user::{self, UserBasic};
use crate::entity::entity;
use crate::entity::types::{Date, DateTime, Level, Nullable};

/// A member, and who looks at them.
pub struct Shown<'a> {
    pub user: user::Shown<'a>,
    pub member: &'a members::Member,
}

entity! {
    pub Member(it: Shown<'_>) {
        ..UserBasic = &it.user,
        access_level: Level = it.member.level,
        created_at: DateTime = it.member.created_at,
        expires_at: Nullable<Date> = it.member.expires_on,
    }
}

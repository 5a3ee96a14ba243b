//! Service accounts (rest-api.md 2.15).

use tollhouse_domain::user::User;

use crate::entity::entity;
use crate::entity::types::{Integer, Nullable, Text};

entity! {
    /// An account for a program.
    pub ServiceAccount(it: User) {
        id: Integer = it.id,
        username: Text = &it.username,
        public_email: Nullable<Text> = Some(it.public_email.as_str()).filter(|email| !email.is_empty()),
        name: Text = &it.name,
        email: Text = &it.email,
    }
}

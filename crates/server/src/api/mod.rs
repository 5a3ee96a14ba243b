//! The REST API: faces that only translate. What may be done stands in [`crate::operations`].

pub mod applications;
pub mod entities;
pub mod groups;
pub mod metadata;
pub mod pages;
pub mod personal_access_tokens;
pub mod projects;
pub mod user;
pub mod users;

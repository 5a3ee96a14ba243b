//! What the API answers with: each entity is declared once, and its lines stand in the order of the wire.

pub mod application;
pub mod audit_event;
pub mod deploy_token;
pub mod group;
pub mod job;
pub mod member;
pub mod metadata;
pub mod project;
pub mod revocations;
pub mod service_account;
pub mod token;
pub mod user;

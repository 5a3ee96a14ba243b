//! The REST API: faces that only translate. What may be done stands in [`crate::operations`].

use crate::endpoint::Endpoint;

pub mod admin;
pub mod applications;
pub mod audit_events;
pub mod entities;
pub mod groups;
pub mod job;
pub mod metadata;
pub mod openapi;
pub mod pages;
pub mod personal_access_tokens;
pub mod projects;
pub mod resource_access_tokens;
pub mod service_accounts;
pub mod user;
pub mod users;

/// Every endpoint of the REST API.
pub fn endpoints() -> Vec<Endpoint> {
    let resources = [
        user::endpoints(),
        user::personal_access_tokens::endpoints(),
        users::endpoints(),
        users::impersonation_tokens::endpoints(),
        users::personal_access_tokens::endpoints(),
        projects::endpoints(),
        projects::members::endpoints(),
        groups::endpoints(),
        job::endpoints(),
        metadata::endpoints(),
        openapi::endpoints(),
        personal_access_tokens::endpoints(),
        resource_access_tokens::endpoints(),
        service_accounts::endpoints(),
        applications::endpoints(),
        user::applications::endpoints(),
        admin::revocations::endpoints(),
        audit_events::endpoints(),
    ];
    resources.into_iter().flatten().collect()
}

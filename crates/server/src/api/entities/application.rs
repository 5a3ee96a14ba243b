//! OAuth applications (rest-api.md section 5).

use tollhouse_domain::application;
use tollhouse_domain::scope::Scope;

use crate::entity::entity;
use crate::entity::types::{Boolean, Integer, List, OneOf, Text};

/// An application and its secret, which is shown once.
pub struct WithSecret<'a> {
    pub application: &'a application::Application,
    pub secret: &'a str,
}

entity! {
    pub Application(it: &application::Application) {
        id: Integer = it.id,
        application_id: Text = &it.uid,
        application_name: Text = &it.name,
        // Each redirect URI on a line of its own.
        callback_url: Text = it.redirect_uris.to_string(),
        confidential: Boolean = it.confidential,
        scopes: List<OneOf<Scope>> = it.scopes.iter(),
    }
}

entity! {
    /// On create, and when the secret is renewed.
    pub ApplicationWithSecret(it: WithSecret<'_>) {
        ..Application = &it.application,
        secret: Text = it.secret,
    }
}

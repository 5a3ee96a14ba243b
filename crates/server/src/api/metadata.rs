//! `GET /version`, `GET /metadata` (rest-api.md 4.6).

use axum::http::Method;
use tollhouse_domain::identity::Identity;

use crate::api::entities::metadata::Metadata;
use crate::api::users;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::One;
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;

/// `/version` and `/metadata`, which answer the same.
pub fn endpoints() -> Vec<Endpoint> {
    let read = || signed_in().or_scope(users::READ);
    vec![
        Endpoint::api(Method::GET, "/api/v4/version", read(), show)
            .permission(Permission::new("read_metadata", Boundary::Instance)),
        Endpoint::api(Method::GET, "/api/v4/metadata", read(), show)
            .permission(Permission::new("read_metadata", Boundary::Instance)),
    ]
}

/// The version that clients compare; nothing about the caller.
pub async fn show(app: App, _: Identity, (): ()) -> Result<One<Metadata>, Error> {
    Ok(One::of(&app, &app.settings.api.version))
}

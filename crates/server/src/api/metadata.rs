//! `GET /version`, `GET /metadata` (rest-api.md 4.6).

use axum::http::Method;
use tollhouse_domain::identity::Identity;

use crate::api::users;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::json::{Json, Object};

pub fn endpoints() -> Vec<Endpoint> {
    let read = || signed_in().or_scope(users::READ);
    vec![
        Endpoint::api(Method::GET, "/api/v4/version", read(), show)
            .permission(Permission::new("read_metadata", Boundary::Instance)),
        Endpoint::api(Method::GET, "/api/v4/metadata", read(), show)
            .permission(Permission::new("read_metadata", Boundary::Instance)),
    ]
}

pub async fn show(_: App, _: Identity, (): ()) -> Result<Json, Error> {
    let kas = Object::default()
        .field("enabled", false)
        .field("externalUrl", ())
        .field("externalK8sProxyUrl", ())
        .field("version", ());
    Ok(Json::ok(
        Object::default()
            .field("version", SPOKEN)
            .field("revision", concat!("tollhouse-", env!("CARGO_PKG_VERSION")))
            .object("kas", kas)
            .field("enterprise", false),
    ))
}

/// The version whose wire is spoken. Clients read it as a semantic version and switch features by it.
const SPOKEN: &str = "18.5.0";

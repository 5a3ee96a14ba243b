//! `GET /user`: who am I? Answered from memory for everybody but a few administrators.

use axum::http::Method;
use tollhouse_domain::identity::Identity;
use tollhouse_store::users;

use crate::api::entities::user;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::json::Json;

pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::GET, "/api/v4/user", signed_in().or_scope(crate::api::users::READ), show)
            .permission(Permission::new("read_user", Boundary::User)),
    ]
}

pub async fn show(app: App, caller: Identity, (): ()) -> Result<Json, Error> {
    let now = app.now();
    let me = &caller.user;
    if !me.administrator {
        return Ok(Json::ok(user::own(&app.urls, me, now)));
    }
    let creator = match me.created_by_id {
        Some(id) => Box::pin(async { users::find(&mut app.db.read().await?, id).await }).await?,
        None => None,
    };
    Ok(Json::ok(user::for_administrator(&app.urls, me, creator.as_ref(), now)))
}

//! `GET /user`: who am I? Answered from memory for everybody but a few administrators.

use axum::http::Method;
use tollhouse_domain::identity::Identity;
use tollhouse_store::users;

use crate::api::entities::user::{CurrentUser, Shown};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::One;
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;

pub mod applications;
pub mod personal_access_tokens;

/// `/user`, the caller's own account.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::GET, "/api/v4/user", signed_in().or_scope(crate::api::users::READ), show)
            .permission(Permission::new("read_user", Boundary::User)),
    ]
}

/// `GET /user`: under sudo the assumed user (rest-api.md 3.2).
pub async fn show(app: App, caller: Identity, (): ()) -> Result<One<CurrentUser>, Error> {
    let me = &caller.user;
    let shown = Shown::new(&app.urls, me, caller.viewer(), app.now());
    let creator = match me.created_by_id.filter(|_| me.administrator) {
        Some(id) => Box::pin(async { users::find(&mut app.db.read().await?, id).await }).await?,
        None => None,
    };
    Ok(One::of(&app, &Shown { creator: creator.as_ref(), ..shown }))
}

//! `/projects/:id/members` (rest-api.md 4.5).

use axum::http::Method;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::Identity;
use tollhouse_store::{members, users};

use super::visible;
use crate::api::entities::member::{Member, Shown};
use crate::api::entities::user;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer;
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::params::params;
use crate::refusal::ResourceKind;

/// `/projects/:id/members` and what is below it.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::GET, "/api/v4/projects/{id}/members/all/{user_id}", signed_in(), show_inherited)
            .permission(Permission::new("read_member", Boundary::Project)),
    ]
}

params! {
    /// `GET /projects/:id/members/all/:user_id`
    pub struct One {
        path id: String,
        path user_id: i64,
    }
}

/// A member of the project itself, or of a group above it.
pub async fn show_inherited(app: App, caller: Identity, one: One) -> Result<answer::One<Member>, Error> {
    let now = app.now();
    let (seen, mut reader) = visible(&app, Some(&caller), &one.id).await?;
    let user = users::find(&mut reader, UserId(one.user_id)).await?.ok_or(Error::NotFound(ResourceKind::Record))?;
    let found = members::inherited(&mut reader, seen.project.id, user.id, now).await?;
    let found = found.ok_or(Error::NotFound(ResourceKind::Record))?;
    let user = user::Shown::new(&app.urls, &user, caller.viewer(), now);
    Ok(answer::One::of(&app, &Shown { user, member: &found }))
}

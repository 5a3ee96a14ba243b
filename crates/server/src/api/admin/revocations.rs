//! `POST /admin/revocations` (rest-api.md 2.16): many tokens are revoked together. Ours.

use axum::http::Method;
use tollhouse_domain::identity::{Administrator, Identity};
use tollhouse_domain::time::Timestamp;
use tollhouse_store::revocations::Selection;

use crate::api::entities::revocations::{Revocations, Revoked};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::administrator;
use crate::endpoint::answer::One;
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::named;
use crate::operations::revocations::RevokeSelected;
use crate::params::{Search, params};
use crate::refusal::ResourceKind;

/// `/admin/revocations`
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::POST, "/api/v4/admin/revocations", administrator().revokes(), create)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(Permission::new("revoke_any_token", Boundary::Instance)),
    ]
}

params! {
    /// `POST /admin/revocations`: each selection that is given must hold.
    pub struct Select {
        optional user: String,
        optional application: String,
        optional group: String,
        optional before: Timestamp,
        optional name_like: Search,
        default dry_run: bool = "false",
        at_least_one_of [user, application, group, before, name_like],
    }
}

/// `POST /admin/revocations`: 200 when no node accepts any of them. The caller's own token may be among them. 404 for a
/// user, application or group that does not exist, 400 where no selection is left because those that were given are null.
pub async fn create(app: App, caller: Administrator, select: Select) -> Result<One<Revocations>, Error> {
    let caller = caller.identity();
    let dry_run = select.dry_run;
    let selection = selection(&app, caller, select).await?;
    let operation = RevokeSelected { selection, administrator: Some(caller.user.id), dry_run };
    let ended = app.perform(operation, &app.by(caller)).await?.into_inner();
    Ok(One::of(&app, &Revoked::of(&ended)))
}

async fn selection(app: &App, caller: &Identity, select: Select) -> Result<Selection, Error> {
    let mut reader = app.db.read().await?;
    let user = match &select.user {
        Some(text) => Some(named::user(&mut reader, text).await?.ok_or(Error::NotFound(ResourceKind::User))?.id),
        None => None,
    };
    let application = match &select.application {
        Some(text) => {
            let found = named::application(&mut reader, text).await?;
            Some(found.ok_or(Error::NotFound(ResourceKind::Application))?.id)
        }
        None => None,
    };
    let group = match &select.group {
        Some(text) => {
            let found = named::group(&mut reader, text, caller.viewer(), app.now()).await?;
            Some(found.ok_or(Error::NotFound(ResourceKind::Group))?.id)
        }
        None => None,
    };
    let name_like = select.name_like.map(|text| text.0);
    Ok(Selection { user, application, group, before: select.before, name_like })
}

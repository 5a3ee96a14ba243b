//! `/user/applications`: the caller's own OAuth applications (rest-api.md 5.1).

use axum::http::Method;
use tollhouse_domain::grantor::Grantor;
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::identity::Identity;
use tollhouse_store::oauth_applications;

use crate::api::applications::{NewApplicationParams, OneApplication, with_secret};
use crate::api::entities::application::{Application, ApplicationWithSecret};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::{All, Created, NoContent, One};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::applications::{ChangeOwn, CreateApplication, DeleteOwn};
use crate::params::params;
use crate::refusal::ResourceKind;

/// `/user/applications` and what is below it.
pub fn endpoints() -> Vec<Endpoint> {
    const ALL: &str = "/api/v4/user/applications";
    const ONE: &str = "/api/v4/user/applications/{id}";
    vec![
        Endpoint::api(Method::GET, ALL, signed_in(), list)
            .permission(Permission::new("read_oauth_application", Boundary::User)),
        Endpoint::api(Method::POST, ALL, signed_in(), create)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(Permission::new("create_oauth_application", Boundary::User)),
        Endpoint::api(Method::GET, ONE, signed_in(), show)
            .permission(Permission::new("read_oauth_application", Boundary::User)),
        Endpoint::api(Method::PUT, ONE, signed_in(), update)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(Permission::new("update_oauth_application", Boundary::User)),
        Endpoint::api(Method::DELETE, ONE, signed_in(), delete)
            .permission(Permission::new("delete_oauth_application", Boundary::User)),
    ]
}

/// `GET /user/applications`: all of the caller's, oldest first, not paged.
pub async fn list(app: App, caller: Identity, (): ()) -> Result<All<Application>, Error> {
    let own = oauth_applications::of_user(&mut app.db.read().await?, caller.user.id).await?;
    Ok(All::of(&app, &own))
}

/// `POST /user/applications`: 201 with the secret, which is shown this once. 400 for a field that breaks a rule, and for
/// a scope that the caller's credential could not use itself.
pub async fn create(
    app: App,
    caller: Identity,
    new: NewApplicationParams,
) -> Result<Created<ApplicationWithSecret>, Error> {
    let operation = CreateApplication {
        name: new.name,
        redirect_uri: new.redirect_uri,
        scopes: new.scopes,
        confidential: new.confidential,
        trusted: false,
        owner: Some(caller.user.id),
        by: Some(Grantor::of(&caller)),
        plain_http: app.plain_redirects(),
    };
    let made = app.perform(operation, &app.by(&caller)).await?.into_inner();
    Ok(with_secret(&app, &made))
}

/// `GET /user/applications/:id`. 404 also for somebody else's.
pub async fn show(app: App, caller: Identity, one: OneApplication) -> Result<One<Application>, Error> {
    let found = oauth_applications::find(&mut app.db.read().await?, ApplicationId(one.id)).await?;
    let found = found.filter(|found| found.owner == Some(caller.user.id));
    let found = found.ok_or(Error::NotFound(ResourceKind::Application))?;
    Ok(One::of(&app, &&found))
}

params! {
    /// `PUT /user/applications/:id`: redirect URIs and `confidential` stay as they are.
    pub struct Update {
        path id: i64,
        optional name: String,
        optional scopes: String,
    }
}

/// `PUT /user/applications/:id`: null and absent both leave a field as it is. 404 also for somebody else's.
pub async fn update(app: App, caller: Identity, params: Update) -> Result<One<Application>, Error> {
    let Update { id, name, scopes } = params;
    let operation = ChangeOwn { id: ApplicationId(id), by: Grantor::of(&caller), name, scopes };
    let changed = app.perform(operation, &app.by(&caller)).await?.into_inner();
    Ok(One::of(&app, &&changed))
}

/// `DELETE /user/applications/:id`: 204, when no node accepts a token of it. 404 also for somebody else's.
pub async fn delete(app: App, caller: Identity, one: OneApplication) -> Result<NoContent, Error> {
    let operation = DeleteOwn { id: ApplicationId(one.id), owner: caller.user.id };
    app.perform(operation, &app.by(&caller)).await?.into_inner();
    Ok(NoContent)
}

//! `/applications`: what an administrator registers for the whole instance (rest-api.md section 5).

use axum::http::Method;
use tollhouse_domain::grantor::Grantor;
use tollhouse_domain::id::ApplicationId;
use tollhouse_domain::identity::Administrator;
use tollhouse_store::oauth_applications;

use crate::api::entities::application::{Application, ApplicationWithSecret, WithSecret};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::administrator;
use crate::endpoint::answer::{All, Created, NoContent};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::applications::{self as operations, CreateApplication, Delete, RenewSecret};
use crate::params::params;
use crate::refusal::ResourceKind;

/// `/applications` and what is below it, for administrators alone.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::GET, "/api/v4/applications", administrator(), list)
            .permission(Permission::new("read_oauth_application", Boundary::Instance)),
        Endpoint::api(Method::POST, "/api/v4/applications", administrator(), create)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(Permission::new("create_oauth_application", Boundary::Instance)),
        Endpoint::api(Method::DELETE, "/api/v4/applications/{id}", administrator(), delete)
            .permission(Permission::new("delete_oauth_application", Boundary::Instance)),
        Endpoint::api(Method::POST, "/api/v4/applications/{id}/renew-secret", administrator(), renew_secret)
            .permission(Permission::new("renew_secret_oauth_application", Boundary::Instance)),
    ]
}

/// `GET /applications`: every application of the instance, not paged.
pub async fn list(app: App, _: Administrator, (): ()) -> Result<All<Application>, Error> {
    let known = oauth_applications::list(&mut app.db.read().await?).await?;
    Ok(All::of(&app, &known))
}

params! {
    /// `POST /applications`, `POST /user/applications`
    pub struct NewApplicationParams {
        required name: String,
        required redirect_uri: String,
        filled scopes: String,
        default confidential: bool = "true",
    }
}

/// `POST /applications`: 201 with the secret, which is shown this once. 400 for a field that breaks a rule.
pub async fn create(
    app: App,
    caller: Administrator,
    new: NewApplicationParams,
) -> Result<Created<ApplicationWithSecret>, Error> {
    let operation = CreateApplication {
        name: new.name,
        redirect_uri: new.redirect_uri,
        scopes: new.scopes,
        confidential: new.confidential,
        trusted: false,
        owner: None,
        by: Some(Grantor::of(caller.identity())),
        plain_http: app.plain_redirects(),
    };
    let made = app.perform(operation, &app.by(caller.identity())).await?.into_inner();
    Ok(with_secret(&app, &made))
}

params! {
    /// Of the row, not the `client_id`.
    pub struct OneApplication { path id: i64 }
}

/// `DELETE /applications/:id`: 204. 404 also for a person's own application.
pub async fn delete(app: App, caller: Administrator, one: OneApplication) -> Result<NoContent, Error> {
    let id = match of_the_instance(&app, one.id).await {
        // Perhaps because the same was asked for before (revocation.md W4).
        Err(error @ Error::NotFound(_)) => {
            app.settled().await;
            return Err(error);
        }
        found => found?,
    };
    let operation = Delete { id };
    app.perform(operation, &app.by(caller.identity())).await?.into_inner();
    Ok(NoContent)
}

/// `POST /applications/:id/renew-secret`: 201 with the new secret; the old one stops at once.
pub async fn renew_secret(
    app: App,
    caller: Administrator,
    one: OneApplication,
) -> Result<Created<ApplicationWithSecret>, Error> {
    let operation = RenewSecret { id: of_the_instance(&app, one.id).await? };
    let made = app.perform(operation, &app.by(caller.identity())).await?.into_inner();
    Ok(with_secret(&app, &made))
}

/// Somebody's own application is none of the instance's.
async fn of_the_instance(app: &App, id: i64) -> Result<ApplicationId, Error> {
    let known = oauth_applications::find(&mut app.db.read().await?, ApplicationId(id)).await?;
    known.filter(|known| known.owner.is_none()).map(|known| known.id).ok_or(Error::NotFound(ResourceKind::Application))
}

pub(super) fn with_secret(app: &App, made: &operations::Created) -> Created<ApplicationWithSecret> {
    Created::of(app, &WithSecret { application: &made.application, secret: made.secret.reveal() })
}

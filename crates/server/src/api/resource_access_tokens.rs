//! `/projects/:id/access_tokens` and `/groups/:id/access_tokens` (rest-api.md 2.10). Both are one implementation.

use axum::http::{Method, StatusCode};
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::{Ability, TargetKind};
use tollhouse_domain::access_requirement::Extra;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::PersonalAccessTokenId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Date;
use tollhouse_domain::token::PersonalAccessToken;

use crate::api::entities::token::{
    OfResource, OfResourceWithSecret, ResourceAccessToken, ResourceAccessTokenWithSecret, Shown,
};
use crate::api::personal_access_tokens::itself::shows_none;
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::{OnResource, Presenter, presenter, signed_in};
use crate::endpoint::answer::{Created, NoContent, One};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::{Error, as_bad_request, settling};
use crate::operations::named;
use crate::operations::resource_access_tokens::{
    self as operations, CreateResourceToken, ResourceSuccessor, RevokeResourceToken, RotateOwnResourceToken,
    RotateResourceToken,
};
use crate::operations::rotate::RotateSelf;
use crate::operations::rotation::Rotated;
use crate::params::{CommaList, ResourceScope, TokenLevel, params};
use crate::refusal::ResourceKind;

/// Of groups and of projects.
pub fn endpoints() -> Vec<Endpoint> {
    let of = |kind, [all, one, rotate, own]: [&'static str; 4]| {
        let boundary = match kind {
            TargetKind::Group => Boundary::Group,
            TargetKind::Project => Boundary::Project,
        };
        let permission = |name| Permission::new(name, boundary);
        let manages = || signed_in().on(kind, Some(Ability::ManageAccessTokens));
        let creates = signed_in().on(kind, Some(Ability::CreateAccessTokens));
        let rotates_own = presenter().or_scope(ROTATE).condition(shows_none);
        let rotating_own = match kind {
            TargetKind::Group => Endpoint::api(Method::POST, own, rotates_own, rotate_own_of_group),
            TargetKind::Project => Endpoint::api(Method::POST, own, rotates_own, rotate_own_of_project),
        };
        [
            Endpoint::api(Method::POST, all, creates, create)
                .respelling(as_bad_request)
                .permission(permission("create_resource_access_token")),
            Endpoint::api(Method::GET, one, manages(), show).permission(permission("read_resource_access_token")),
            Endpoint::api(Method::DELETE, one, signed_in().on(kind, None).revokes(), revoke)
                .permission(permission("delete_resource_access_token")),
            Endpoint::api(Method::POST, rotate, manages().revokes(), rotate_by_id)
                .permission(permission("rotate_resource_access_token")),
            rotating_own
                .refuses(&[OwnRefusal::NotPersonalAccessToken(StatusCode::METHOD_NOT_ALLOWED)])
                .permission(permission("rotate_resource_access_token")),
        ]
    };
    let groups = [
        "/api/v4/groups/{id}/access_tokens",
        "/api/v4/groups/{id}/access_tokens/{token_id}",
        "/api/v4/groups/{id}/access_tokens/{token_id}/rotate",
        "/api/v4/groups/{id}/access_tokens/self/rotate",
    ];
    let projects = [
        "/api/v4/projects/{id}/access_tokens",
        "/api/v4/projects/{id}/access_tokens/{token_id}",
        "/api/v4/projects/{id}/access_tokens/{token_id}/rotate",
        "/api/v4/projects/{id}/access_tokens/self/rotate",
    ];
    [of(TargetKind::Group, groups), of(TargetKind::Project, projects)].into_iter().flatten().collect()
}

const ROTATE: &[Extra] = &[Extra::any(Scope::Api), Extra::any(Scope::SelfRotate)];

params! {
    /// `POST .../access_tokens`
    pub struct NewToken {
        path id: String,
        required name: String,
        optional description: String,
        optional expires_at: Date,
        required scopes: CommaList<ResourceScope>,
        default access_level: TokenLevel = "40",
    }
}

/// `POST .../access_tokens`: 201 with the secret, which is shown this once. 400 with a sentence for a caller who may not create
/// such a token.
pub async fn create(app: App, on: OnResource, new: NewToken) -> Result<Created<ResourceAccessTokenWithSecret>, Error> {
    let OnResource { identity, resource } = on;
    let operation = CreateResourceToken {
        resource,
        caller: Some(app.asker(&identity)),
        name: new.name,
        description: new.description.filter(|text| !text.is_empty()),
        scopes: Scopes::from_iter(new.scopes.0.into_iter().map(|ResourceScope(scope)| scope)),
        level: new.access_level.0,
        expires_at: new.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        host: app.urls.ssh_host().to_owned(),
    };
    let made = app.perform(operation, &app.by(&identity)).await?.into_inner();
    let token = shown(&app, resource, &made.token, Some(new.access_level.0));
    Ok(Created::of(&app, &OfResourceWithSecret { token, secret: made.secret.reveal() }))
}

params! {
    /// One token.
    pub struct OneToken {
        path id: String,
        path token_id: i64,
    }
}

/// `GET .../access_tokens/:token_id`: 404 for a token of anything else.
pub async fn show(app: App, on: OnResource, one: OneToken) -> Result<One<ResourceAccessToken>, Error> {
    let mut reader = app.db.read().await?;
    let found = operations::find(&mut reader, on.resource, PersonalAccessTokenId(one.token_id)).await?;
    let token = found.ok_or(Error::NotFound(ResourceKind::AccessToken(on.resource.kind())))?;
    let level = operations::level(&mut reader, on.resource, token.user_id).await?;
    Ok(One::of(&app, &shown(&app, on.resource, &token, level)))
}

/// `DELETE .../access_tokens/:token_id`: 204 once every node refuses the token. The bot goes with its last token.
pub async fn revoke(app: App, on: OnResource, one: OneToken) -> Result<NoContent, Error> {
    let OnResource { identity, resource } = on;
    let revoke = RevokeResourceToken { resource, id: PersonalAccessTokenId(one.token_id), caller: identity.user.id };
    app.perform(revoke, &app.by(&identity)).await?.into_inner();
    Ok(NoContent)
}

params! {
    /// `POST .../access_tokens/:token_id/rotate`
    pub struct Rotate {
        path id: String,
        path token_id: i64,
        optional expires_at: Date,
    }
}

/// `POST .../access_tokens/:token_id/rotate`: 200 with the secret of the successor. 401 for a token of anything else.
pub async fn rotate_by_id(
    app: App,
    on: OnResource,
    params: Rotate,
) -> Result<One<ResourceAccessTokenWithSecret>, Error> {
    let OnResource { identity, resource } = on;
    let operation = RotateResourceToken {
        resource,
        id: PersonalAccessTokenId(params.token_id),
        caller: app.asker(&identity),
        expires_at: params.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
    };
    match app.perform(operation, &app.by(&identity)).await {
        // The credential of the caller is good: it is the token of the path that has expired.
        Err(Error::Denied(Denial::Expired)) => Err(Error::BadRequest(Some("Token already expired".into()))),
        made => Ok(succeeded(&app, resource, &made?.into_inner())),
    }
}

params! {
    /// `POST .../access_tokens/self/rotate`
    pub struct RotateOwn {
        path id: String,
        optional expires_at: Date,
    }
}

/// `POST /groups/:id/access_tokens/self/rotate`
pub async fn rotate_own_of_group(
    app: App,
    caller: Presenter,
    params: RotateOwn,
) -> Result<One<ResourceAccessTokenWithSecret>, Error> {
    let viewer = caller.identity.viewer();
    let found = named::group(&mut app.db.read().await?, &params.id, viewer, app.now()).await?;
    let group = found.ok_or(Error::NotFound(ResourceKind::Group))?;
    rotate_own(app, caller, MembershipSource::Group(group.id), params).await
}

/// `POST /projects/:id/access_tokens/self/rotate`
pub async fn rotate_own_of_project(
    app: App,
    caller: Presenter,
    params: RotateOwn,
) -> Result<One<ResourceAccessTokenWithSecret>, Error> {
    let viewer = caller.identity.viewer();
    let found = named::visible_project(&mut app.db.read().await?, &params.id, viewer, app.now()).await?;
    let project = found.ok_or(Error::NotFound(ResourceKind::Project))?.project;
    rotate_own(app, caller, MembershipSource::Project(project.id), params).await
}

/// 200 with the secret of the successor. 401 for a token of anything else, 405 without a personal access token; the rest is
/// that of `POST /personal_access_tokens/self/rotate`.
async fn rotate_own(
    app: App,
    caller: Presenter,
    resource: MembershipSource,
    params: RotateOwn,
) -> Result<One<ResourceAccessTokenWithSecret>, Error> {
    let rotation = RotateSelf {
        presented: caller.secret.ok_or(Error::MethodNotAllowed)?,
        expires_at: params.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        rules: app.rotation(),
    };
    let operation = RotateOwnResourceToken { resource, rotation };
    match app.perform(operation, &app.by(&caller.identity)).await?.into_inner() {
        Rotated::Successor(made) => Ok(succeeded(&app, resource, &made)),
        Rotated::Wait { until } => Err(settling(until, app.now())),
        Rotated::Dead => Err(Error::Denied(Denial::Revoked)),
    }
}

fn succeeded(app: &App, resource: MembershipSource, made: &ResourceSuccessor) -> One<ResourceAccessTokenWithSecret> {
    let token = shown(app, resource, &made.successor.token, made.level);
    One::of(app, &OfResourceWithSecret { token, secret: made.successor.secret.reveal() })
}

fn shown<'a>(
    app: &App,
    resource: MembershipSource,
    token: &'a PersonalAccessToken,
    level: Option<AccessLevel>,
) -> OfResource<'a> {
    OfResource { token: Shown::new(token, app.now()), level, resource }
}

//! `/personal_access_tokens/self` and its rotation (rest-api.md 2.4, 2.6, 2.7).

use axum::http::{Method, StatusCode};
use tollhouse_domain::access_requirement::Extra;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::identity::{Identity, Via};
use tollhouse_domain::lookup::{TokenRecord, network, network_text, newest_addresses};
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Date;

use crate::api::entities::token::{Shown, TokenWithIps, TokenWithSecret, WithIps, WithSecret};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::{Presenter, presenter, signed_in};
use crate::endpoint::answer::{NoContent, One};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::{Error, settling};
use crate::operations::rotate::RotateSelf;
use crate::operations::rotation::Rotated;
use crate::operations::tokens::RevokeAs;
use crate::params::params;
use crate::request::ParsedRequest;

/// `/personal_access_tokens/self` and its rotation.
pub fn endpoints() -> Vec<Endpoint> {
    const SELF: &str = "/api/v4/personal_access_tokens/self";
    const ROTATE: &[Extra] = &[Extra::any(Scope::Api), Extra::any(Scope::SelfRotate)];
    const OTHERS_ARE_400: &[OwnRefusal] = &[OwnRefusal::NotPersonalAccessToken(StatusCode::BAD_REQUEST)];
    const OTHERS_ARE_405: &[OwnRefusal] = &[OwnRefusal::NotPersonalAccessToken(StatusCode::METHOD_NOT_ALLOWED)];
    let own = || signed_in().any_scope().condition(is_none);
    let rotates = presenter().or_scope(ROTATE).condition(shows_none);
    vec![
        Endpoint::api(Method::GET, SELF, own(), show_self)
            .refuses(OTHERS_ARE_400)
            .permission(Permission::new("read_personal_access_token", Boundary::User)),
        Endpoint::api(Method::DELETE, SELF, own().revokes(), revoke_self)
            .respelling(super::not_yours_is_400)
            .refuses(OTHERS_ARE_400)
            .permission(Permission::new("revoke_personal_access_token", Boundary::User)),
        Endpoint::api(Method::POST, "/api/v4/personal_access_tokens/self/rotate", rotates, rotate_self)
            .refuses(OTHERS_ARE_405)
            .permission(Permission::new("rotate_personal_access_token", Boundary::User)),
    ]
}

/// `GET /personal_access_tokens/self`, by any scope. 400 for a credential that is no personal access token.
pub async fn show_self(app: App, caller: Identity, (): ()) -> Result<One<TokenWithIps>, Error> {
    let record = presented(&caller)?;
    let token = Shown::of_record(record, owner(&caller), app.now());
    // This request is a use too, and is not written yet.
    let here = app.peer().map(|address| network_text(network(address)));
    let known = record.last_used_ips.get();
    let ips = newest_addresses(here.into_iter(), known.iter().map(String::as_str));
    Ok(One::of(&app, &WithIps { token, ips: &ips }))
}

/// `DELETE /personal_access_tokens/self`, by any scope: 204 once every node refuses the token. 400 for an impersonation
/// token of somebody who is no administrator.
pub async fn revoke_self(app: App, caller: Identity, (): ()) -> Result<NoContent, Error> {
    let id = PersonalAccessTokenId(presented(&caller)?.id.0);
    app.perform(RevokeAs { id, caller: owner(&caller) }, &app.by(&caller)).await?.into_inner();
    Ok(NoContent)
}

/// With sudo, the token still belongs to the administrator who sent it.
fn owner(caller: &Identity) -> UserId {
    caller.sudo_by.as_ref().unwrap_or(&caller.user).id
}

params! {
    /// `POST /personal_access_tokens/self/rotate`
    pub struct Rotate { optional expires_at: Date }
}

/// `POST /personal_access_tokens/self/rotate`: 200 with the successor's secret. 401 for a family that has ended, 503
/// while it settles (rotation.md section 6), 405 without a personal access token.
pub async fn rotate_self(app: App, caller: Presenter, params: Rotate) -> Result<One<TokenWithSecret>, Error> {
    let presented = caller.secret.ok_or(Error::MethodNotAllowed)?;
    let operation = RotateSelf {
        presented,
        expires_at: params.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        rules: app.rotation(),
    };
    match app.perform(operation, &app.by(&caller.identity)).await?.into_inner() {
        Rotated::Successor(made) => {
            let token = Shown::new(&made.token, app.now());
            Ok(One::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
        }
        Rotated::Wait { until } => Err(settling(until, app.now())),
        Rotated::Dead => Err(Error::Denied(Denial::Revoked)),
    }
}

/// Refuses a caller whose presented credential is no personal access token.
pub fn is_none(who: Option<&Identity>, _: &ParsedRequest) -> Result<(), Error> {
    who.map_or(Ok(()), |who| presented(who).map(drop))
}

/// The same for rotation, which refuses with another status.
pub fn shows_none(who: Option<&Identity>, _: &ParsedRequest) -> Result<(), Error> {
    match who.map(presented) {
        Some(Err(_)) => Err(Error::MethodNotAllowed),
        Some(Ok(_)) | None => Ok(()),
    }
}

/// These endpoints are about the presented token; a session is none.
fn presented(caller: &Identity) -> Result<&TokenRecord, Error> {
    match &caller.via {
        Via::PersonalAccessToken(token) => Ok(token),
        Via::OauthAccessToken(_) | Via::Session(_) | Via::JobToken(_) => {
            Err(Error::BadRequest(Some("This endpoint requires token type to be a personal access token".into())))
        }
    }
}

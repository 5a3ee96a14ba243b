//! `POST /users/:user_id/personal_access_tokens` (rest-api.md 2.5): an administrator makes a token for somebody.

use axum::http::Method;
use serde_json::Value as Json;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::Administrator;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Date;

use crate::api::entities::token::{Shown, TokenWithSecret, WithSecret};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::administrator;
use crate::endpoint::answer::Created;
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::error::as_sentence;
use crate::operations::tokens::CreateToken;
use crate::params::{CommaList, Group, Param, Params, params};
use crate::refusal::ResourceKind;
use crate::request::ParsedRequest;

/// `/users/:user_id/personal_access_tokens`, for administrators alone.
pub fn endpoints() -> Vec<Endpoint> {
    let path = "/api/v4/users/{user_id}/personal_access_tokens";
    vec![
        Endpoint::api(Method::POST, path, administrator(), create)
            .respelling(as_sentence)
            .refuses(&[OwnRefusal::Unprocessable])
            .permission(Permission::new("create_personal_access_token", Boundary::Instance)),
    ]
}

params! {
    /// `POST /users/:user_id/personal_access_tokens`
    pub struct NewTokenParams {
        path user_id: i64,
        required name: String,
        optional description: String,
        optional expires_at: Date,
        required scopes: CommaList<Scope>,
    }
}

/// Parameters of a new token. `granular_scopes` is 404, as while fine-grained tokens are switched off.
#[derive(Debug)]
pub struct WithoutGranular<P>(pub P);

impl<P: Params> Params for WithoutGranular<P> {
    const DECLARED: &'static [Param] = P::DECLARED;
    const GROUPS: &'static [Group] = P::GROUPS;

    fn parse(parsed: &ParsedRequest) -> Result<Self, Error> {
        match parsed.parameters()?.get("granular_scopes") {
            None | Some(Json::Null) => P::parse(parsed).map(Self),
            Some(_) => Err(Error::NotFound(ResourceKind::Unnamed)),
        }
    }
}

/// 201 with the secret, which is shown this once. 404 without such a user, 422 with a sentence for a field that breaks
/// a rule.
pub async fn create(
    app: App,
    caller: Administrator,
    new: WithoutGranular<NewTokenParams>,
) -> Result<Created<TokenWithSecret>, Error> {
    let WithoutGranular(new) = new;
    let create = CreateToken {
        user: UserId(new.user_id),
        administrator: Some(caller.identity().user.id),
        self_service: false,
        grantable: app.grantable(caller.identity()),
        impersonation: false,
        name: new.name,
        description: new.description.filter(|text| !text.is_empty()),
        scopes: Scopes::from_iter(new.scopes.0),
        expires_at: new.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        secret: None,
    };
    let made = app.perform(create, &app.by(caller.identity())).await?.into_inner();
    let token = Shown::new(&made.token, app.now());
    Ok(Created::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

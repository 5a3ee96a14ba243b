//! `POST /user/personal_access_tokens` (rest-api.md 2.5): a user creates a token for themselves.

use axum::http::Method;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Date;

use crate::api::entities::token::{Shown, TokenWithSecret, WithSecret};
use crate::api::users::personal_access_tokens::WithoutGranular;
use crate::app::App;
use crate::config::SelfService;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::Created;
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::{Error, as_sentence};
use crate::operations::tokens::CreateToken;
use crate::params::{CommaList, params};

/// `/user/personal_access_tokens`
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::POST, "/api/v4/user/personal_access_tokens", signed_in(), create)
            .respelling(as_sentence)
            .refuses(&[OwnRefusal::Unprocessable])
            .permission(Permission::new("create_personal_access_token", Boundary::User)),
    ]
}

params! {
    /// `POST /user/personal_access_tokens`
    pub struct NewOwnToken {
        required name: String,
        optional description: String,
        optional expires_at: Date,
        required scopes: CommaList<Scope>,
    }
}

/// 201 with the secret, which is shown this once. Scopes beyond those of `k8s_proxy` and `self_rotate` only with
/// `tokens.self_service = "own_scopes"`, and none that the presented credential could not use itself. 422 with a sentence
/// for a field that breaks a rule.
pub async fn create(
    app: App,
    caller: Identity,
    new: WithoutGranular<NewOwnToken>,
) -> Result<Created<TokenWithSecret>, Error> {
    let WithoutGranular(new) = new;
    let narrow = app.settings.tokens.self_service == SelfService::Gitlab;
    if narrow && new.scopes.0.iter().any(|scope| !NARROW.contains(scope)) {
        return Err(Error::Parameters(vec!["scopes does not have a valid value".to_owned()]));
    }
    let create = CreateToken {
        user: caller.user.id,
        // Under sudo, the state of the assumed account does not matter, and the administrator's does.
        administrator: caller.sudo_by.as_ref().map(|real| real.id),
        self_service: caller.sudo_by.is_none(),
        grantable: app.grantable(&caller),
        impersonation: false,
        name: new.name,
        description: new.description.filter(|text| !text.is_empty()),
        scopes: Scopes::from_iter(new.scopes.0),
        expires_at: new.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        secret: None,
    };
    let made = app.perform(create, &app.by(&caller)).await?.into_inner();
    let token = Shown::new(&made.token, app.now());
    Ok(Created::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

/// What everybody may make for themselves in GitLab.
const NARROW: [Scope; 2] = [Scope::K8sProxy, Scope::SelfRotate];

//! `/users/:user_id/impersonation_tokens` (rest-api.md 2.9): an administrator's tokens to act as somebody.

use axum::http::Method;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::identity::Administrator;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Date;
use tollhouse_domain::token::PersonalAccessToken;
use tollhouse_store::personal_access_tokens::{self as store, Filter, TokenState};
use tollhouse_store::users;

use super::personal_access_tokens::WithoutGranular;
use crate::api::entities::token::{ImpersonationToken, ImpersonationTokenWithSecret, Shown, WithSecret};
use crate::api::pages::{self, Listed, PageNumber, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::administrator;
use crate::endpoint::answer::{Created, NoContent, One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::tokens::{CreateToken, RevokeAs};
use crate::params::{CommaList, one_of, params};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// `/users/:user_id/impersonation_tokens` and what is below it, for administrators alone.
pub fn endpoints() -> Vec<Endpoint> {
    const ALL: &str = "/api/v4/users/{user_id}/impersonation_tokens";
    const ONE: &str = "/api/v4/users/{user_id}/impersonation_tokens/{impersonation_token_id}";
    let permission = |name| Permission::new(name, Boundary::Instance);
    vec![
        Endpoint::api(Method::GET, ALL, administrator(), list).permission(permission("read_impersonation_token")),
        Endpoint::api(Method::POST, ALL, administrator(), create)
            .respelling(expiry_of_a_field)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(permission("create_impersonation_token")),
        Endpoint::api(Method::GET, ONE, administrator(), show).permission(permission("read_impersonation_token")),
        Endpoint::api(Method::DELETE, ONE, administrator().revokes(), revoke)
            .respelling(not_yours_is_403)
            .permission(permission("revoke_impersonation_token")),
    ]
}

/// `state`, which may be both.
#[derive(Clone, Copy, Debug)]
pub enum State {
    /// Every token.
    All,
    /// Those in one of the two states.
    One(TokenState),
}
one_of!(State {
    "all" => Self::All,
    "active" => Self::One(TokenState::Active),
    "inactive" => Self::One(TokenState::Inactive),
});

params! {
    /// `GET /users/:user_id/impersonation_tokens`
    pub struct List {
        path user_id: i64,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
        default state: State = "all",
    }
}

/// `GET /users/:user_id/impersonation_tokens`: the newest first. 404 without such a user.
pub async fn list(app: App, _: Administrator, list: Listed<List>) -> Result<Page<ImpersonationToken>, Error> {
    let user = known_user(&app, list.params.user_id).await?;
    let (now, at) = (app.now(), (list.params.page, list.params.per_page));
    let state = match list.params.state {
        State::All => None,
        State::One(state) => Some((state, now)),
    };
    let filter = Filter { user: Some(user), impersonation: Some(true), state, ..Filter::default() };
    let span = pages::span(at.0, at.1);
    let read = app.db.list(move |reader| Box::pin(async move { store::list(reader, &filter, &span).await }));
    let (rows, total) = read.await?;
    Ok(pages::answer(&app, &list, at, total, rows.iter().map(|row| Shown::new(row, now))))
}

params! {
    /// `POST /users/:user_id/impersonation_tokens`
    pub struct NewImpersonationToken {
        path user_id: i64,
        required name: String,
        optional description: String,
        optional expires_at: Date,
        optional scopes: CommaList<String>,
    }
}

/// 201 with the secret, which is shown this once. 404 without such a user, 400 for a field that breaks a rule.
pub async fn create(
    app: App,
    caller: Administrator,
    new: WithoutGranular<NewImpersonationToken>,
) -> Result<Created<ImpersonationTokenWithSecret>, Error> {
    let WithoutGranular(new) = new;
    let user = known_user(&app, new.user_id).await?;
    let scopes: Option<Scopes> =
        new.scopes.map_or_else(Vec::new, |list| list.0).iter().map(|word| Scope::parse(word)).collect();
    let create = CreateToken {
        user,
        administrator: Some(caller.identity().user.id),
        self_service: false,
        grantable: app.grantable(caller.identity()),
        impersonation: true,
        name: new.name,
        description: new.description.filter(|text| !text.is_empty()),
        scopes: scopes.ok_or(Refusal::field("scopes", FieldFault::ScopesNotAvailable))?,
        expires_at: new.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        secret: None,
    };
    let made = app.perform(create, &app.by(caller.identity())).await?.into_inner();
    let token = Shown::new(&made.token, app.now());
    Ok(Created::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

params! {
    /// Of a user, by number.
    pub struct ById {
        path user_id: i64,
        path impersonation_token_id: i64,
    }
}

/// `GET /users/:user_id/impersonation_tokens/:id`: 404 for a token of another kind or of somebody else.
pub async fn show(app: App, _: Administrator, one: ById) -> Result<One<ImpersonationToken>, Error> {
    let token = find(&app, &one).await?;
    Ok(One::of(&app, &Shown::new(&token, app.now())))
}

/// `DELETE /users/:user_id/impersonation_tokens/:id`: 204 once every node refuses it, also if it was dead before.
pub async fn revoke(app: App, caller: Administrator, one: ById) -> Result<NoContent, Error> {
    let id = match find(&app, &one).await {
        // Perhaps because the same was asked for before (revocation.md W4).
        Err(error @ Error::NotFound(_)) => {
            app.settled().await;
            return Err(error);
        }
        found => found?.id,
    };
    let revoke = RevokeAs { id, caller: caller.identity().user.id };
    app.perform(revoke, &app.by(caller.identity())).await?.into_inner();
    Ok(NoContent)
}

async fn known_user(app: &App, id: i64) -> Result<UserId, Error> {
    let found = users::find(&mut app.db.read().await?, UserId(id)).await?;
    Ok(found.ok_or(Error::NotFound(ResourceKind::User))?.id)
}

async fn find(app: &App, one: &ById) -> Result<PersonalAccessToken, Error> {
    let user = known_user(app, one.user_id).await?;
    let found = store::find(&mut app.db.read().await?, PersonalAccessTokenId(one.impersonation_token_id)).await?;
    let found = found.map(|found| found.token).filter(|token| token.impersonation && token.user_id == user);
    found.ok_or(Error::NotFound(ResourceKind::ImpersonationToken))
}

/// A bad day is a fault of a field here.
fn expiry_of_a_field(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Expiry(fault) => Refusal::field("expires_at", FieldFault::Expiry(fault)).into(),
        refusal => refusal.into(),
    }
}

/// The caller was an administrator when the request came.
fn not_yours_is_403(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotYours => Refusal::NotAllowed.into(),
        refusal => refusal.into(),
    }
}

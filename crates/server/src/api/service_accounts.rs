//! `/service_accounts`, and the same below `/groups/:id` and `/projects/:id` (rest-api.md 2.15). All are one implementation.

use axum::http::Method;
use tollhouse_domain::access::ability::{Ability, TargetKind};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::identity::{Administrator, Identity};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::time::Date;
use tollhouse_domain::user::User;
use tollhouse_store::bots::{self, Bot, BotKind, ServiceAccountOrder, ServiceAccounts};
use tollhouse_store::users;

use crate::api::entities::service_account::ServiceAccount;
use crate::api::entities::token::{Shown, TokenWithSecret, WithSecret};
use crate::api::pages::{self, Listed, PageNumber, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::{OnResource, administrator, signed_in};
use crate::endpoint::answer::{Created, NoContent, One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::{Error, as_bad_request};
use crate::operations::service_accounts::{
    CreateServiceAccount, CreateServiceAccountToken, Home, Names, RemoveServiceAccount, RevokeServiceAccountToken,
    RotateServiceAccountToken,
};
use crate::operations::tokens::CreateToken;
use crate::params::{CommaList, Sort, one_of, params};
use crate::refusal::ResourceKind;

/// Of this server, of groups and of projects.
pub fn endpoints() -> Vec<Endpoint> {
    const INSTANCE: &str = "/api/v4/service_accounts";
    let permission = |name| Permission::new(name, Boundary::Instance);
    let mut all = vec![
        Endpoint::api(Method::GET, INSTANCE, administrator(), list_of_instance)
            .permission(permission("read_service_account")),
        Endpoint::api(Method::POST, INSTANCE, administrator(), create_of_instance)
            .respelling(as_bad_request)
            .permission(permission("create_service_account")),
    ];
    let groups = [
        "/api/v4/groups/{id}/service_accounts",
        "/api/v4/groups/{id}/service_accounts/{user_id}",
        "/api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens",
        "/api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}",
        "/api/v4/groups/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}/rotate",
    ];
    let projects = [
        "/api/v4/projects/{id}/service_accounts",
        "/api/v4/projects/{id}/service_accounts/{user_id}",
        "/api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens",
        "/api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}",
        "/api/v4/projects/{id}/service_accounts/{user_id}/personal_access_tokens/{token_id}/rotate",
    ];
    all.extend(of(TargetKind::Group, groups));
    all.extend(of(TargetKind::Project, projects));
    all
}

fn of(kind: TargetKind, [accounts, account, tokens, token, rotate]: [&'static str; 5]) -> Vec<Endpoint> {
    let boundary = match kind {
        TargetKind::Group => Boundary::Group,
        TargetKind::Project => Boundary::Project,
    };
    let permission = |name| Permission::new(name, boundary);
    let manages = || signed_in().on(kind, Some(Ability::AdminServiceAccounts));
    vec![
        Endpoint::api(Method::GET, accounts, manages(), list).permission(permission("read_service_account")),
        Endpoint::api(Method::POST, accounts, manages(), create)
            .respelling(as_bad_request)
            .permission(permission("create_service_account")),
        Endpoint::api(Method::GET, account, manages(), show).permission(permission("read_service_account")),
        Endpoint::api(Method::DELETE, account, manages(), remove).permission(permission("delete_service_account")),
        Endpoint::api(Method::POST, tokens, manages(), create_token)
            .respelling(as_bad_request)
            .permission(permission("create_service_account_personal_access_token")),
        Endpoint::api(Method::DELETE, token, manages(), revoke_token)
            .permission(permission("revoke_service_account_personal_access_token")),
        Endpoint::api(Method::POST, rotate, manages(), rotate_token)
            .permission(permission("rotate_service_account_personal_access_token")),
    ]
}

impl Home {
    fn of(app: &App, on: &OnResource) -> Self {
        Self { of: Some(on.resource), caller: Some(app.asker(&on.identity)) }
    }
}

one_of!(Order { "id" => Self(ServiceAccountOrder::Id), "username" => Self(ServiceAccountOrder::Username) });

/// `order_by`: `id` or `username`.
#[derive(Clone, Copy, Debug)]
pub struct Order(ServiceAccountOrder);

params! {
    /// `GET /service_accounts`
    pub struct List {
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
        default order_by: Order = "id",
        default sort: Sort = "desc",
    }
}

params! {
    /// `GET .../:id/service_accounts`
    pub struct ListOf {
        path id: String,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
        default order_by: Order = "id",
        default sort: Sort = "desc",
    }
}

/// `GET /service_accounts`: those of this server.
pub async fn list_of_instance(app: App, _: Administrator, list: Listed<List>) -> Result<Page<ServiceAccount>, Error> {
    let List { page, per_page, order_by, sort } = list.params;
    let (rows, total) = accounts(&app, None, (page, per_page), (order_by, sort)).await?;
    Ok(pages::answer(&app, &list, (page, per_page), total, rows.into_iter()))
}

/// `GET .../:id/service_accounts`: those of the group or project.
pub async fn list(app: App, on: OnResource, list: Listed<ListOf>) -> Result<Page<ServiceAccount>, Error> {
    let at = (list.params.page, list.params.per_page);
    let order = (list.params.order_by, list.params.sort);
    let (rows, total) = accounts(&app, Some(on.resource), at, order).await?;
    Ok(pages::answer(&app, &list, at, total, rows.into_iter()))
}

async fn accounts(
    app: &App,
    home: Option<MembershipSource>,
    (page, per_page): (PageNumber, PerPage),
    (order_by, sort): (Order, Sort),
) -> Result<(Vec<User>, i64), Error> {
    let span = pages::span(page, per_page);
    let filter = ServiceAccounts { home, order: order_by.0, descending: sort == Sort::Descending };
    let read = app.db.list(move |reader| Box::pin(async move { bots::service_accounts(reader, &filter, &span).await }));
    Ok(read.await?)
}

params! {
    /// `POST /service_accounts`
    pub struct NewAccount {
        optional name: String,
        optional username: String,
        optional email: String,
    }
}

params! {
    /// `POST .../:id/service_accounts`
    pub struct NewAccountOf {
        path id: String,
        optional name: String,
        optional username: String,
        optional email: String,
    }
}

/// `POST /service_accounts`: 201. What is left out, or empty, is made up.
pub async fn create_of_instance(
    app: App,
    caller: Administrator,
    new: NewAccount,
) -> Result<Created<ServiceAccount>, Error> {
    let home = Home { of: None, caller: Some(app.asker(caller.identity())) };
    created(app, home, caller.identity(), [new.name, new.username, new.email]).await
}

/// `POST .../:id/service_accounts`: 201. The account is a member of nothing yet.
pub async fn create(app: App, on: OnResource, new: NewAccountOf) -> Result<Created<ServiceAccount>, Error> {
    let home = Home::of(&app, &on);
    created(app, home, &on.identity, [new.name, new.username, new.email]).await
}

async fn created(
    app: App,
    home: Home,
    caller: &Identity,
    names: [Option<String>; 3],
) -> Result<Created<ServiceAccount>, Error> {
    let [name, username, email] = names.map(|text| text.filter(|text| !text.is_empty()));
    let host = app.urls.ssh_host().to_owned();
    let operation = CreateServiceAccount { home, names: Names { name, username, email }, host };
    let user = app.perform(operation, &app.by(caller)).await?.into_inner();
    Ok(Created::of(&app, &user))
}

params! {
    /// One account.
    pub struct OneAccount {
        path id: String,
        path user_id: i64,
    }
}

/// `GET .../:id/service_accounts/:user_id`: 404 for an account of anything else.
pub async fn show(app: App, on: OnResource, one: OneAccount) -> Result<One<ServiceAccount>, Error> {
    let (id, mut reader) = (UserId(one.user_id), app.db.read().await?);
    let absent = || Error::NotFound(ResourceKind::User);
    let bot = bots::find(&mut reader, id).await?;
    if bot != Some(Bot { kind: BotKind::ServiceAccount, home: Some(on.resource) }) {
        return Err(absent());
    }
    let user = users::find(&mut reader, id).await?.ok_or_else(absent)?;
    Ok(One::of(&app, &user))
}

/// `DELETE .../:id/service_accounts/:user_id`: 204 once no node accepts any of its tokens.
pub async fn remove(app: App, on: OnResource, one: OneAccount) -> Result<NoContent, Error> {
    let operation = RemoveServiceAccount { home: Home::of(&app, &on), id: UserId(one.user_id) };
    app.perform(operation, &app.by(&on.identity)).await?.into_inner();
    Ok(NoContent)
}

params! {
    /// `POST .../service_accounts/:user_id/personal_access_tokens`
    pub struct NewToken {
        path id: String,
        path user_id: i64,
        required name: String,
        optional description: String,
        optional expires_at: Date,
        required scopes: CommaList<Scope>,
    }
}

/// `POST .../service_accounts/:user_id/personal_access_tokens`: 201 with the secret, which is shown this once.
pub async fn create_token(app: App, on: OnResource, new: NewToken) -> Result<Created<TokenWithSecret>, Error> {
    let create = CreateToken {
        user: UserId(new.user_id),
        administrator: None,
        self_service: false,
        grantable: None,
        impersonation: false,
        name: new.name,
        description: new.description.filter(|text| !text.is_empty()),
        scopes: Scopes::from_iter(new.scopes.0),
        expires_at: new.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
        secret: None,
    };
    let operation = CreateServiceAccountToken { home: Home::of(&app, &on), create };
    let made = app.perform(operation, &app.by(&on.identity)).await?.into_inner();
    let token = Shown::new(&made.token, app.now());
    Ok(Created::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

params! {
    /// One token of an account.
    pub struct OneToken {
        path id: String,
        path token_id: i64,
        path user_id: i64,
    }
}

/// `DELETE .../personal_access_tokens/:token_id`: 204 once every node refuses the token, also if it was dead before.
pub async fn revoke_token(app: App, on: OnResource, one: OneToken) -> Result<NoContent, Error> {
    let token = (UserId(one.user_id), PersonalAccessTokenId(one.token_id));
    let operation = RevokeServiceAccountToken { home: Home::of(&app, &on), token };
    app.perform(operation, &app.by(&on.identity)).await?.into_inner();
    Ok(NoContent)
}

params! {
    /// `POST .../personal_access_tokens/:token_id/rotate`
    pub struct Rotate {
        path id: String,
        path token_id: i64,
        path user_id: i64,
        optional expires_at: Date,
    }
}

/// `POST .../personal_access_tokens/:token_id/rotate`: 200 with the secret of the successor.
pub async fn rotate_token(app: App, on: OnResource, params: Rotate) -> Result<One<TokenWithSecret>, Error> {
    let operation = RotateServiceAccountToken {
        home: Home::of(&app, &on),
        token: (UserId(params.user_id), PersonalAccessTokenId(params.token_id)),
        expires_at: params.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
    };
    let made = match app.perform(operation, &app.by(&on.identity)).await {
        // The credential of the caller is good: it is the token of the path that has expired.
        Err(Error::Denied(Denial::Expired)) => return Err(Error::BadRequest(Some("Token already expired".into()))),
        made => made?.into_inner(),
    };
    let token = Shown::new(&made.token, app.now());
    Ok(One::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

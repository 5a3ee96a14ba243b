//! `/personal_access_tokens`: lists, and one token by its number (rest-api.md 2.2, 2.3, 2.6, 2.7).

use axum::http::Method;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_store::personal_access_tokens::{self as store, Filter, TokenOrder, TokenState};
use tollhouse_store::users;

use crate::api::entities::token::{Shown, Token, TokenWithIps, TokenWithSecret, WithIps, WithSecret};
use crate::api::pages::{self, Listed, PageNumber, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::{NoContent, One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::operations::rotate::RotateById;
use crate::operations::tokens::RevokeAs;
use crate::params::{Nullable, Search, one_of, params};
use crate::refusal::{Refusal, ResourceKind};

pub mod itself;

/// `/personal_access_tokens` and what is below it.
pub fn endpoints() -> Vec<Endpoint> {
    const ONE: &str = "/api/v4/personal_access_tokens/{id}";
    const ROTATE: &str = "/api/v4/personal_access_tokens/{id}/rotate";
    let permission = |name| Permission::new(name, Boundary::User);
    let mut all = vec![
        Endpoint::api(Method::GET, "/api/v4/personal_access_tokens", signed_in(), list)
            .permission(permission("read_personal_access_token")),
        Endpoint::api(Method::GET, ONE, signed_in(), show).permission(permission("read_personal_access_token")),
        Endpoint::api(Method::DELETE, ONE, signed_in().revokes(), revoke)
            .respelling(not_yours_is_400)
            .permission(permission("revoke_personal_access_token")),
        Endpoint::api(Method::POST, ROTATE, signed_in().revokes().detects_reuse(), rotate)
            .permission(permission("rotate_personal_access_token")),
    ];
    all.extend(itself::endpoints());
    all
}

one_of!(TokenState { "active" => Self::Active, "inactive" => Self::Inactive });

params! {
    /// `GET /personal_access_tokens`
    pub struct List {
        optional user_id: Nullable<i64>,
        optional revoked: bool,
        optional state: TokenState,
        optional created_before: Timestamp,
        optional created_after: Timestamp,
        optional last_used_before: Timestamp,
        optional last_used_after: Timestamp,
        optional expires_before: Date,
        optional expires_after: Date,
        optional search: Search,
        optional sort: String,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
    }
}

/// `GET /personal_access_tokens`: an administrator's are all of the instance, anybody else's their own without those
/// that an administrator made to act as them.
pub async fn list(app: App, caller: Identity, list: Listed<List>) -> Result<Page<Token>, Error> {
    let administrator = caller.user.administrator;
    let user = match list.params.user_id {
        Some(Nullable(id)) if administrator => Some(known_user(&app, id).await?),
        Some(Nullable(Some(id))) if UserId(id) != caller.user.id => return Err(Refusal::NotYours.into()),
        _ => (!administrator).then_some(caller.user.id),
    };
    let now = app.now();
    let (order, ascending) = sorted(list.params.sort.as_deref());
    let filter = Filter {
        user,
        impersonation: (!administrator).then_some(false),
        state: list.params.state.map(|state| (state, now)),
        revoked: list.params.revoked,
        created_after: list.params.created_after,
        created_before: list.params.created_before,
        last_used_after: list.params.last_used_after,
        last_used_before: list.params.last_used_before,
        expires_after: list.params.expires_after,
        expires_before: list.params.expires_before,
        search: list.params.search.clone().map(|search| search.0),
        order,
        ascending,
    };
    let at = (list.params.page, list.params.per_page);
    let span = pages::span(at.0, at.1);
    let (rows, total) =
        app.db.list(move |reader| Box::pin(async move { store::list(reader, &filter, &span).await })).await?;
    Ok(pages::answer(&app, &list, at, total, rows.iter().map(|row| Shown::new(row, now))))
}

/// An administrator is told of a user who does not exist.
async fn known_user(app: &App, id: Option<i64>) -> Result<UserId, Error> {
    let found = match id {
        Some(id) => users::find(&mut app.db.read().await?, UserId(id)).await?,
        None => None,
    };
    Ok(found.ok_or(Error::NotFound(ResourceKind::Unnamed))?.id)
}

/// `sort`; a word that is none counts as absent.
fn sorted(sort: Option<&str>) -> (TokenOrder, bool) {
    match sort {
        Some("created_asc") => (TokenOrder::Id, true),
        Some("expires_asc") => (TokenOrder::ExpiresAt, true),
        Some("expires_desc") => (TokenOrder::ExpiresAt, false),
        Some("last_used_asc") => (TokenOrder::LastUsedAt, true),
        Some("last_used_desc") => (TokenOrder::LastUsedAt, false),
        Some("name_asc") => (TokenOrder::Name, true),
        Some("name_desc") => (TokenOrder::Name, false),
        _ => (TokenOrder::Id, false),
    }
}

params! {
    /// By number.
    pub struct ById { path id: i64 }
}

/// `GET /personal_access_tokens/:id`: 401 to anybody but its owner and administrators, whether it exists or not; 404 to
/// administrators if it does not.
pub async fn show(app: App, caller: Identity, one: ById) -> Result<One<TokenWithIps>, Error> {
    let found = store::find(&mut app.db.read().await?, PersonalAccessTokenId(one.id)).await?;
    let administrator = caller.user.administrator;
    match found.map(|found| found.token) {
        Some(token) if administrator || token.user_id == caller.user.id => {
            let ips = &token.last_used_ips;
            Ok(One::of(&app, &WithIps { token: Shown::new(&token, app.now()), ips }))
        }
        None if administrator => Err(Error::NotFound(ResourceKind::Unnamed)),
        _ => Err(Refusal::NotYours.into()),
    }
}

/// `DELETE /personal_access_tokens/:id`: 204 once every node refuses the token, also if it was dead before. 400 to
/// anybody but its owner and administrators, and to an owner who did not make it (impersonation).
pub async fn revoke(app: App, caller: Identity, one: ById) -> Result<NoContent, Error> {
    let revoke = RevokeAs { id: PersonalAccessTokenId(one.id), caller: caller.user.id };
    app.perform(revoke, &app.by(&caller)).await?.into_inner();
    Ok(NoContent)
}

/// As endpoints say it that delete a token.
fn not_yours_is_400(refusal: Refusal) -> Error {
    match refusal {
        Refusal::NotYours => Error::BadRequest(None),
        refusal => refusal.into(),
    }
}

params! {
    /// `POST /personal_access_tokens/:id/rotate`
    pub struct Rotate {
        path id: i64,
        optional expires_at: Date,
    }
}

/// `POST /personal_access_tokens/:id/rotate`: 200 with the successor's secret. 401 to anybody but its owner and
/// administrators; 404 to administrators if there is none; 400 with the reason if it cannot be rotated.
pub async fn rotate(app: App, caller: Identity, params: Rotate) -> Result<One<TokenWithSecret>, Error> {
    let operation = RotateById {
        id: PersonalAccessTokenId(params.id),
        caller: Some(app.asker(&caller)),
        expires_at: params.expires_at,
        require_expiry: app.settings.tokens.require_expiry,
    };
    let made = match app.perform(operation, &app.by(&caller)).await {
        // The credential of the caller is good: it is the token of the path that has expired.
        Err(Error::Denied(Denial::Expired)) => return Err(Error::BadRequest(Some("Token already expired".into()))),
        made => made?.into_inner(),
    };
    let token = Shown::new(&made.token, app.now());
    Ok(One::of(&app, &WithSecret { token, secret: made.secret.reveal() }))
}

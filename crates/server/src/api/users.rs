//! `GET /users`, `GET /users/:id` (rest-api.md 3.2).

use std::collections::HashMap;

use axum::http::Method;
use tollhouse_domain::access::Viewer;
use tollhouse_domain::access_requirement::Extra;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::user::User;
use tollhouse_store::db::Reader;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::{members, users};

use crate::api::entities::user::{ListedUser, Shown, UserDetails};
use crate::api::pages::{self, Listed, PageNumber, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::anyone;
use crate::endpoint::answer::{One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::params::{Params, Search, params};
use crate::refusal::ResourceKind;
use crate::request::ParsedRequest;

pub mod impersonation_tokens;
pub mod personal_access_tokens;

/// Scopes that open reading of users besides `api` and `read_api`.
pub const READ: &[Extra] = &[Extra::reads(Scope::ReadUser)];

/// `/users` and `/users/:id`.
pub fn endpoints() -> Vec<Endpoint> {
    let read = || anyone().or_scope(READ).after_parameters();
    vec![
        Endpoint::api(Method::GET, "/api/v4/users", read().condition(anonymous_names_one_user), list)
            .permission(Permission::new("read_user", Boundary::Instance)),
        Endpoint::api(Method::GET, "/api/v4/users/{id}", read().condition(anonymous_sees_no_user), show)
            .permission(Permission::new("read_user", Boundary::User)),
    ]
}

params! {
    /// `GET /users`
    pub struct List {
        optional username: String,
        optional search: Search,
        default active: bool = "false",
        default humans: bool = "false",
        default external: bool = "false",
        default blocked: bool = "false",
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
    }
}

/// Anonymous callers may ask for one user by name, and for nothing else (rest-api.md 3.2).
pub fn anonymous_names_one_user(who: Option<&Identity>, parsed: &ParsedRequest) -> Result<(), Error> {
    match who {
        None if List::parse(parsed)?.username.is_none() => {
            Err(Error::Forbidden(Some("Not authorized to access /api/v4/users".into())))
        }
        _ => Ok(()),
    }
}

/// `GET /users`: by offset. Administrators get more fields of each.
pub async fn list(app: App, caller: Option<Identity>, list: Listed<List>) -> Result<Page<ListedUser>, Error> {
    let viewer = caller.as_ref().map_or(Viewer::Anonymous, Identity::viewer);
    let List { page, per_page, .. } = list.params;
    let filter = users::Filter {
        username: list.params.username.clone(),
        search: list.params.search.clone().map(|search| search.0),
        active: list.params.active,
        blocked: list.params.blocked,
        external: list.params.external && caller.is_some(),
        humans: list.params.humans,
    };
    let now = app.now();
    let administrator = matches!(viewer, Viewer::Administrator { .. });
    let read = app.db.list(move |reader| {
        Box::pin(async move {
            let (rows, total) = users::list(reader, &filter, viewer, &pages::span(page, per_page)).await?;
            let creators = if administrator { creators(reader, &rows).await? } else { HashMap::new() };
            Ok((rows, total, creators))
        })
    });
    let (rows, total, creators) = read.await?;
    let rows = rows.iter().map(|row| {
        let creator = row.created_by_id.and_then(|id| creators.get(&id));
        Shown { creator, ..Shown::new(&app.urls, row, viewer, now) }
    });
    Ok(pages::answer(&app, &list, (page, per_page), total, rows))
}

params! {
    /// `GET /users/:id`
    pub struct Show { path id: i64 }
}

/// 403 for anonymous callers, whoever is asked for (rest-api.md 3.2).
pub fn anonymous_sees_no_user(who: Option<&Identity>, _: &ParsedRequest) -> Result<(), Error> {
    known(who).map(drop)
}

fn known(who: Option<&Identity>) -> Result<&Identity, Error> {
    who.ok_or_else(|| Error::Forbidden(Some("Not authorized!".into())))
}

/// `GET /users/:id`: 404 if there is no such user. Administrators get more fields.
pub async fn show(app: App, caller: Option<Identity>, Show { id }: Show) -> Result<One<UserDetails>, Error> {
    let caller = known(caller.as_ref())?;
    let now = app.now();
    let mut reader = app.db.read().await?;
    let found = users::find(&mut reader, UserId(id)).await?.ok_or(Error::NotFound(ResourceKind::User))?;
    let shown = Shown::new(&app.urls, &found, caller.viewer(), now);
    if !caller.user.administrator {
        return Ok(One::of(&app, &shown));
    }
    let creator = match found.created_by_id {
        Some(id) => users::find(&mut reader, id).await?,
        None => None,
    };
    let highest = members::highest(&mut reader, found.id, now).await?;
    Ok(One::of(&app, &Shown { creator: creator.as_ref(), highest, ..shown }))
}

/// Who made them, as far as that is known.
pub(crate) async fn creators(reader: &mut Reader, rows: &[User]) -> Result<HashMap<UserId, User>, StoreError> {
    users::several(reader, rows.iter().filter_map(|row| row.created_by_id)).await
}

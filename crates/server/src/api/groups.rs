//! `GET /groups`, `GET|PUT /groups/:id` (rest-api.md 4.4).

use axum::http::Method;
use tollhouse_domain::access::ability::Ability;
use tollhouse_domain::access::{AccessLevel, Viewer, Visibility};
use tollhouse_domain::access_requirement::Extra;
use tollhouse_domain::id::NamespaceId;
use tollhouse_domain::identity::Identity;
use tollhouse_domain::membership::UserMemberships;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::scope::Scope;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::namespaces::{self, GroupOrder};

use crate::api::entities::group::{Group, GroupDetails, Shown};
use crate::api::pages::{self, Listed, PageNumber, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::{OnGroup, anyone, signed_in};
use crate::endpoint::answer::{One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::groups::UpdateGroup;
use crate::operations::named;
use crate::params::{CommaList, MinAccessLevel, Nullable, Search, Sort, one_of, params};
use crate::refusal::ResourceKind;

/// Scopes that open reading of groups and projects besides `api` and `read_api`.
pub const WORKFLOWS: &[Extra] = &[Extra::reads(Scope::AiWorkflows)];

/// `/groups` and `/groups/:id`.
pub fn endpoints() -> Vec<Endpoint> {
    let read = || anyone().or_scope(WORKFLOWS).after_parameters();
    vec![
        Endpoint::api(Method::GET, "/api/v4/groups", read(), list)
            .permission(Permission::new("read_group", Boundary::User)),
        Endpoint::api(Method::GET, "/api/v4/groups/{id}", read(), show)
            .permission(Permission::new("read_group", Boundary::Group)),
        Endpoint::api(Method::PUT, "/api/v4/groups/{id}", signed_in().on_group(Ability::AdminGroup), update)
            .refuses(&[OwnRefusal::InvalidFields])
            .permission(Permission::new("update_group", Boundary::Group)),
    ]
}

one_of!(Order { "name" => Self(GroupOrder::Name), "path" => Self(GroupOrder::Path), "id" => Self(GroupOrder::Id) });

/// `order_by`: `name`, `path` or `id`.
#[derive(Clone, Copy, Debug)]
pub struct Order(GroupOrder);

params! {
    /// `GET /groups`
    pub struct List {
        optional skip_groups: CommaList<i64>,
        optional all_available: bool,
        optional visibility: Visibility,
        optional search: Search,
        default owned: bool = "false",
        default order_by: Order = "name",
        default sort: Sort = "asc",
        optional min_access_level: MinAccessLevel,
        optional top_level_only: bool,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
    }
}

/// `GET /groups`: what the caller may see, by offset. Anonymous callers may ask.
pub async fn list(app: App, caller: Option<Identity>, list: Listed<List>) -> Result<Page<Group>, Error> {
    let viewer = caller.as_ref().map_or(Viewer::Anonymous, Identity::viewer);
    let asked = &list.params;
    let filter = namespaces::Filter {
        search: asked.search.clone().map(|search| search.0),
        visibility: asked.visibility,
        owned: asked.owned && caller.is_some(),
        min_access_level: asked.min_access_level.map(|level| level.0),
        top_level_only: asked.top_level_only == Some(true),
        members_only: asked.all_available == Some(false) && caller.is_some(),
        skip: asked.skip_groups.iter().flat_map(|list| &list.0).copied().map(NamespaceId).collect(),
        order: asked.order_by.0,
        descending: asked.sort == Sort::Descending,
    };
    let at = (asked.page, asked.per_page);
    let (span, now) = (pages::span(at.0, at.1), app.now());
    let memberships = app.memberships(caller.as_ref()).await?;
    let read = app.db.list(move |reader| {
        Box::pin(async move { namespaces::list_groups(reader, &filter, viewer, &span, now).await })
    });
    let (rows, total) = read.await?;
    let memberships = memberships.as_deref().map(|all| &all.record);
    let rows =
        rows.iter().map(|row| Shown { owned: owns(memberships, row, now), ..Shown::new(&app.urls, row, viewer) });
    Ok(pages::answer(&app, &list, at, total, rows))
}

params! {
    /// `GET /groups/:id`
    pub struct Show {
        path id: String,
        default with_projects: bool = "true",
    }
}

/// `GET /groups/:id`: number or path. 404 also for a group that the caller may not see.
pub async fn show(app: App, caller: Option<Identity>, params: Show) -> Result<One<GroupDetails>, Error> {
    if !params.with_projects {
        let viewer = caller.as_ref().map_or(Viewer::Anonymous, Identity::viewer);
        let now = app.now();
        let memberships = app.memberships(caller.as_ref()).await?;
        let mut reader = app.db.read().await?;
        let group =
            named::group(&mut reader, &params.id, viewer, now).await?.ok_or(Error::NotFound(ResourceKind::Group))?;
        let owned = owns(memberships.as_deref().map(|all| &all.record), &group, now);
        return Ok(One::of(&app, &Shown { owned, ..Shown::new(&app.urls, &group, viewer) }));
    }
    with_projects(&app, caller.as_ref(), &params.id).await
}

async fn with_projects(app: &App, caller: Option<&Identity>, named: &str) -> Result<One<GroupDetails>, Error> {
    let (viewer, now) = (caller.map_or(Viewer::Anonymous, Identity::viewer), app.now());
    let memberships = app.memberships(caller).await?;
    let memberships = memberships.as_deref().map(|all| &all.record);
    let mut reader = app.db.read().await?;
    let found = named::group_with_projects(&mut reader, named, viewer, memberships, now).await?;
    let (group, inside) = found.ok_or(Error::NotFound(ResourceKind::Group))?;
    let owned = owns(memberships, &group, now);
    Ok(One::of(app, &Shown { owned, projects: Some(&inside), ..Shown::new(&app.urls, &group, viewer) }))
}

/// Whether the memberships of a caller make them an owner of the group.
fn owns(memberships: Option<&UserMemberships>, group: &Namespace, now: Timestamp) -> bool {
    memberships.and_then(|all| all.of_group(group.id, now)) >= Some(AccessLevel::Owner)
}

params! {
    /// `PUT /groups/:id`: what exists here. Other parameters of GitLab's are ignored, as undeclared ones are.
    pub struct Update {
        path id: String,
        optional name: String,
        optional path: String,
        optional description: Nullable<String>,
        optional visibility: Visibility,
    }
}

/// `PUT /groups/:id`: what is absent or null stays as it is, but null clears `description`. 400 for a field that breaks a
/// rule.
pub async fn update(app: App, on: OnGroup, params: Update) -> Result<One<GroupDetails>, Error> {
    let OnGroup { identity, group } = on;
    let operation = UpdateGroup {
        group: group.id,
        caller: Some(identity.user.id),
        name: params.name,
        path: params.path,
        description: params.description.map(|Nullable(text)| text.unwrap_or_default()),
        visibility: params.visibility,
    };
    app.perform(operation, &app.by(&identity)).await?.into_inner();
    with_projects(&app, Some(&identity), &group.id.to_string()).await
}

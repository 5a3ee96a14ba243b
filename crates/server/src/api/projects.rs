//! `GET|POST /projects`, `GET /projects/:id` (rest-api.md 4.3).

use std::collections::HashMap;

use axum::http::Method;
use tollhouse_domain::access::{Viewer, Visibility};
use tollhouse_domain::id::{NamespaceId, UserId};
use tollhouse_domain::identity::Identity;
use tollhouse_domain::user::User;
use tollhouse_store::db::Reader;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::projects::{self, ProjectOrder, Seen};
use tollhouse_store::users;

use crate::api::entities::project::{CreatedProject, Options, Project, Shown};
use crate::api::groups;
use crate::api::pages::{self, Listed, PageNumber, Pagination, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::{anyone, signed_in};
use crate::endpoint::answer::{Created, One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::endpoint::refusals::OwnRefusal;
use crate::error::Error;
use crate::operations::named;
use crate::operations::projects::CreateProject;
use crate::params::{MinAccessLevel, Search, Sort, one_of, params};
use crate::refusal::ResourceKind;

pub mod members;

/// `/projects` and `/projects/:id`.
pub fn endpoints() -> Vec<Endpoint> {
    let read = || anyone().or_scope(groups::WORKFLOWS).after_parameters();
    vec![
        Endpoint::api(Method::GET, "/api/v4/projects", read(), list)
            .refuses(&[OwnRefusal::NoKeyset])
            .permission(Permission::new("read_project", Boundary::User)),
        Endpoint::api(Method::POST, "/api/v4/projects", signed_in(), create)
            .refuses(&[OwnRefusal::InvalidFields, OwnRefusal::Limit])
            .permission(Permission::new("create_project", Boundary::User)),
        Endpoint::api(Method::GET, "/api/v4/projects/{id}", read(), show)
            .permission(Permission::new("read_project", Boundary::Project)),
    ]
}

one_of!(Order {
    "id" => Self(ProjectOrder::Id),
    "name" => Self(ProjectOrder::Name),
    "path" => Self(ProjectOrder::Path),
    "created_at" => Self(ProjectOrder::CreatedAt),
    "updated_at" => Self(ProjectOrder::UpdatedAt),
    "last_activity_at" => Self(ProjectOrder::LastActivityAt),
});

/// `order_by`, as the fields are called.
#[derive(Clone, Copy, Debug)]
pub struct Order(ProjectOrder);

params! {
    /// `GET /projects`
    pub struct List {
        default order_by: Order = "created_at",
        default sort: Sort = "desc",
        optional archived: bool,
        optional visibility: Visibility,
        optional search: Search,
        default owned: bool = "false",
        default membership: bool = "false",
        optional min_access_level: MinAccessLevel,
        optional id_after: i64,
        optional id_before: i64,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
        optional pagination: Pagination,
        default simple: bool = "false",
        default statistics: bool = "false",
    }
}

/// `GET /projects`: what the caller may see, by offset or, for `order_by=id`, by keyset; 405 for keyset with another
/// order.
pub async fn list(app: App, caller: Option<Identity>, list: Listed<List>) -> Result<Page<Project>, Error> {
    let viewer = caller.as_ref().map_or(Viewer::Anonymous, Identity::viewer);
    let asked = &list.params;
    let filter = projects::Filter {
        search: asked.search.clone().map(|search| search.0),
        visibility: asked.visibility,
        archived: asked.archived,
        owned: asked.owned && caller.is_some(),
        membership: asked.membership && caller.is_some(),
        min_access_level: asked.min_access_level.map(|level| level.0),
        order: asked.order_by.0,
        ascending: asked.sort == Sort::Ascending,
        id_after: asked.id_after,
        id_before: asked.id_before,
        ..projects::Filter::default()
    };
    let keyset = asked.pagination == Some(Pagination::Keyset);
    if keyset && filter.order != ProjectOrder::Id {
        return Err(Error::NoKeyset);
    }
    let at = (asked.page, asked.per_page);
    let (now, basic, cursor) =
        (app.now(), caller.is_none() || asked.simple, if filter.ascending { "id_after" } else { "id_before" });
    let read = app.db.list(move |reader| {
        Box::pin(async move {
            let (rows, total) = match keyset {
                true => (projects::after(reader, &filter, viewer, &pages::first(at.1), now).await?, 0),
                false => projects::list(reader, &filter, viewer, &pages::span(at.0, at.1), now).await?,
            };
            let owners = if basic { HashMap::new() } else { owners(reader, &rows).await? };
            Ok((rows, total, owners))
        })
    });
    let (rows, total, owners) = read.await?;
    let next = pages::last_of(at.1, &rows).map(|seen| (cursor, seen.project.id.0));
    let options =
        Options { simple: asked.simple, permissions: true, statistics: asked.statistics, ..Options::default() };
    let rows = rows.iter().map(|seen| {
        let owner = owner(&owners, seen);
        Shown { owner, asked: options, ..Shown::new(&app.urls, seen, viewer) }
    });
    Ok(match keyset {
        true => pages::keyset_answer(&app, &list, next, rows),
        false => pages::answer(&app, &list, at, total, rows),
    })
}

params! {
    /// `GET /projects/:id`
    pub struct Show {
        path id: String,
        default statistics: bool = "false",
        default license: bool = "false",
    }
}

/// `GET /projects/:id`: number or path. 404 also for a project that the caller may not see.
pub async fn show(app: App, caller: Option<Identity>, params: Show) -> Result<One<Project>, Error> {
    let viewer = caller.as_ref().map_or(Viewer::Anonymous, Identity::viewer);
    let (seen, mut reader) = visible(&app, caller.as_ref(), &params.id).await?;
    let Show { license, statistics, .. } = params;
    let asked = Options { permissions: true, license, statistics, alone: true, ..Options::default() };
    let shown = Shown { asked, ..Shown::new(&app.urls, &seen, viewer) };
    if caller.is_none() {
        return Ok(One::of(&app, &shown));
    }
    let owners = owners(&mut reader, std::slice::from_ref(&seen)).await?;
    Ok(One::of(&app, &Shown { owner: owner(&owners, &seen), ..shown }))
}

/// The project that a request is about, and what its caller is to it. Absent and invisible are the same answer, to the
/// byte.
async fn visible(app: &App, caller: Option<&Identity>, named: &str) -> Result<(Seen, Reader), Error> {
    let viewer = caller.map_or(Viewer::Anonymous, Identity::viewer);
    let memberships = app.memberships(caller).await?;
    let mut reader = app.db.read().await?;
    let project = match named::project(&mut reader, named).await? {
        Some(id) => projects::find(&mut reader, id).await?,
        None => None,
    };
    let project = project.ok_or(Error::NotFound(ResourceKind::Project))?;
    let membership = memberships.map(|all| all.of_project(&project, app.now())).unwrap_or_default();
    if project.visibility < viewer.least_visible() && membership.highest().is_none() {
        return Err(Error::NotFound(ResourceKind::Project));
    }
    Ok((Seen { project, membership }, reader))
}

params! {
    /// `POST /projects`
    pub struct NewProjectParams {
        optional name: String,
        optional path: String,
        at_least_one_of [name, path],
        optional description: String,
        optional visibility: Visibility,
        optional namespace_id: i64,
    }
}

/// `POST /projects`: 201. 400 for a field that breaks a rule or a namespace that is not allowed, 403 beyond the project
/// limit.
pub async fn create(app: App, caller: Identity, params: NewProjectParams) -> Result<Created<CreatedProject>, Error> {
    let operation = CreateProject {
        creator: caller.user.id,
        name: params.name,
        path: params.path,
        namespace: params.namespace_id.map(NamespaceId),
        description: params.description,
        visibility: params.visibility.unwrap_or(Visibility::Private),
    };
    let done = app.perform(operation, &app.by(&caller)).await?;
    let mut reader = app.db.read().await?;
    let seen = projects::visible(&mut reader, done.into_inner(), caller.viewer(), app.now()).await?;
    let seen = seen.ok_or(Error::Internal)?;
    let owners = owners(&mut reader, std::slice::from_ref(&seen)).await?;
    let asked = Options { alone: true, ..Options::default() };
    let shown = Shown::new(&app.urls, &seen, caller.viewer());
    Ok(Created::of(&app, &Shown { owner: owner(&owners, &seen), asked, ..shown }))
}

/// The owners of those that stand in personal namespaces.
pub(crate) async fn owners(reader: &mut Reader, rows: &[Seen]) -> Result<HashMap<UserId, User>, StoreError> {
    users::several(reader, rows.iter().filter_map(|seen| seen.project.namespace.owner_id)).await
}

/// Whose personal namespace the project is in. `None`: it is a group's.
pub(crate) fn owner<'a>(owners: &'a HashMap<UserId, User>, seen: &Seen) -> Option<&'a User> {
    owners.get(&seen.project.namespace.owner_id?)
}

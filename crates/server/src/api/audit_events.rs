//! `GET /audit_events`, `GET /audit_events/:id`: who did what (rest-api.md 5.2).

use axum::http::Method;
use tollhouse_domain::id::UserId;
use tollhouse_domain::identity::Administrator;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::audit_events::{self, Entity, Filter};
use tollhouse_store::users;

use crate::api::entities::audit_event::{AuditEvent, Shown};
use crate::api::pages::{self, Listed, PageNumber, Pagination, PerPage};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::administrator;
use crate::endpoint::answer::{One, Page};
use crate::endpoint::permission::{Boundary, Permission};
use crate::error::Error;
use crate::params::{Fault, ParamType, Value, one_of, params};
use crate::refusal::ResourceKind;

/// `/audit_events` and what is below it, for administrators alone.
pub fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::api(Method::GET, "/api/v4/audit_events", administrator(), list)
            .permission(Permission::new("read_audit_event", Boundary::Instance)),
        Endpoint::api(Method::GET, "/api/v4/audit_events/{id}", administrator(), show)
            .permission(Permission::new("read_audit_event", Boundary::Instance)),
    ]
}

/// `entity_type`, as GitLab calls it.
#[derive(Clone, Copy, Debug)]
pub struct EntityType(Entity);

one_of!(EntityType {
    "Project" => Self(Entity::Project),
    "User" => Self(Entity::User),
    "Group" => Self(Entity::Group),
    "Gitlab::Audit::InstanceScope" => Self(Entity::Instance),
});

/// Time and number of the line after which a page begins: `1767225600000_17`. Ours; the link to the next page has it.
#[derive(Clone, Copy, Debug)]
pub struct Cursor(Timestamp, i64);

impl Value for Cursor {
    const KIND: ParamType = ParamType::Text;

    fn read(given: &serde_json::Value) -> Result<Option<Self>, Fault> {
        let Some(text) = String::read(given)?.filter(|text| !text.is_empty()) else { return Ok(None) };
        let (at, id) = text.split_once('_').ok_or(Fault::Invalid)?;
        let number = |digits: &str| digits.parse().map_err(|_| Fault::Invalid);
        Ok(Some(Self(Timestamp(number(at)?), number(id)?)))
    }
}

params! {
    /// `GET /audit_events`
    pub struct List {
        optional entity_type: EntityType,
        optional entity_id: i64,
        optional created_after: Timestamp,
        optional created_before: Timestamp,
        default page: PageNumber = "1",
        default per_page: PerPage = "20",
        optional pagination: Pagination,
        optional cursor: Cursor,
    }
}

/// `GET /audit_events`: the newest first, by offset or by keyset. 400 for `entity_id` without `entity_type`.
pub async fn list(app: App, _: Administrator, list: Listed<List>) -> Result<Page<AuditEvent>, Error> {
    let asked = &list.params;
    if asked.entity_id.is_some() && asked.entity_type.is_none() {
        return Err(Error::Parameters(vec!["entity_type is missing".to_owned()]));
    }
    let filter = Filter {
        entity: asked.entity_type.map(|EntityType(entity)| (entity, asked.entity_id)),
        after: asked.created_after,
        before: asked.created_before,
    };
    let at = (asked.page, asked.per_page);
    let keyset = asked.pagination == Some(Pagination::Keyset);
    let (span, from) = (pages::span(at.0, at.1), asked.cursor.map(|Cursor(time, id)| (time, id)));
    let read = app.db.list(move |reader| {
        Box::pin(async move {
            let (rows, total) = match keyset {
                true => {
                    let limit = pages::first(at.1).limit;
                    (audit_events::following(reader, &filter, from, limit, true).await?, 0)
                }
                false => audit_events::list(reader, &filter, &span).await?,
            };
            let authors = users::several(reader, rows.iter().filter_map(|line| line.actor_id).map(UserId)).await?;
            Ok((rows, total, authors))
        })
    });
    let (rows, total, authors) = read.await?;
    let next = pages::last_of(at.1, &rows).map(|line| ("cursor", format!("{}_{}", line.at, line.id)));
    let rows = rows.iter().map(|line| {
        let author = line.actor_id.and_then(|id| authors.get(&UserId(id)));
        Shown { line, author }
    });
    Ok(match keyset {
        true => pages::keyset_answer(&app, &list, next, rows),
        false => pages::answer(&app, &list, at, total, rows),
    })
}

params! {
    pub struct OneEvent { path id: i64 }
}

/// `GET /audit_events/:id`
pub async fn show(app: App, _: Administrator, one: OneEvent) -> Result<One<AuditEvent>, Error> {
    let mut reader = app.db.read().await?;
    let line = audit_events::find(&mut reader, one.id).await?.ok_or(Error::NotFound(ResourceKind::Record))?;
    let author = match line.actor_id {
        Some(id) => users::find(&mut reader, UserId(id)).await?,
        None => None,
    };
    Ok(One::of(&app, &Shown { line: &line, author: author.as_ref() }))
}

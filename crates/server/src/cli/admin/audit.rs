//! `tollhouse audit`.

use std::cell::Cell;
use std::collections::HashMap;

use clap::{Args, Subcommand, ValueEnum};
use tollhouse_domain::id::UserId;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::User;
use tollhouse_store::audit_events::{self, AuditEvent, Entity, Filter};
use tollhouse_store::users;

use super::listing::{Listing, list};
use super::operator::{Operator, called};
use super::values;
use crate::api::entities::audit_event::{self, Shown};
use crate::cli::Failure;
use crate::json::Object;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the audit log, oldest first
    List(Which),
}

#[derive(Args)]
pub(crate) struct Which {
    /// Only events at or after this time, such as 2027-01-31T10:20:30Z
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    after: Option<Timestamp>,
    /// Only events at or before this time
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    before: Option<Timestamp>,
    /// Only events about resources of this type; instance: tokens, applications and everything else
    #[arg(long, value_name = "TYPE")]
    entity_type: Option<EntityType>,
    /// Only events about the resource with this number
    #[arg(long, value_name = "NUMBER", requires = "entity_type")]
    entity_id: Option<i64>,
}

#[derive(Clone, Copy, ValueEnum)]
enum EntityType {
    Project,
    Group,
    User,
    Instance,
}

impl From<EntityType> for Entity {
    fn from(named: EntityType) -> Self {
        match named {
            EntityType::Project => Self::Project,
            EntityType::Group => Self::Group,
            EntityType::User => Self::User,
            EntityType::Instance => Self::Instance,
        }
    }
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    let Command::List(which) = command;
    let entity = which.entity_type.map(|named| (named.into(), which.entity_id));
    let filter = Filter { entity, after: which.after, before: which.before };
    list(operator, &Events { filter, last: Cell::new(None) }).await
}

struct Events {
    filter: Filter,
    /// Time and number of the last line that was read: the order is by both.
    last: Cell<Option<(Timestamp, i64)>>,
}

impl Listing for Events {
    const WHAT: &'static str = "audit events";
    const COLUMNS: &'static [&'static str] =
        &["ID", "TIME", "EVENT", "TARGET", "AUTHOR", "CREDENTIAL", "ADDRESS", "DETAIL"];
    /// And the account whose credential it was.
    type Row = (AuditEvent, Option<User>);

    async fn after(&self, operator: &Operator, _: i64, limit: i64) -> Result<Vec<Self::Row>, Failure> {
        let mut reader = operator.reader().await?;
        let rows = audit_events::following(&mut reader, &self.filter, self.last.get(), limit, false).await?;
        if let Some(line) = rows.last() {
            self.last.set(Some((Timestamp(line.at), line.id)));
        }
        let ids = rows.iter().filter_map(|line| line.actor_id).map(UserId);
        let authors: HashMap<UserId, User> = users::several(&mut reader, ids).await?;
        let author = |line: &AuditEvent| line.actor_id.and_then(|id| authors.get(&UserId(id)).cloned());
        Ok(rows.into_iter().map(|line| (author(&line), line)).map(|(author, line)| (line, author)).collect())
    }

    fn id((line, _): &Self::Row) -> i64 {
        line.id
    }

    fn cells(&self, _: &Operator, (line, author): &Self::Row) -> Vec<String> {
        let by = match (author, line.actor_id) {
            (Some(user), _) => called(user),
            (None, Some(id)) => format!("user {id}"),
            (None, None) => "-".to_owned(),
        };
        let for_whom = line.subject_id.map(|id| format!(" as user {id}")).unwrap_or_default();
        vec![
            line.id.to_string(),
            Timestamp(line.at).iso(),
            printable(&line.event),
            format!("{}:{}", printable(&line.target_kind), line.target_id),
            format!("{by}{for_whom}"),
            printable(&line.credential),
            line.address.as_deref().map_or_else(|| "-".to_owned(), printable),
            printable(&line.detail),
        ]
    }

    fn object(&self, operator: &Operator, (line, author): &Self::Row) -> Object {
        operator.object::<audit_event::AuditEvent, _>(&Shown { line, author: author.as_ref() })
    }
}

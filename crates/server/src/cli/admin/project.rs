//! `tollhouse project`.

use std::collections::HashMap;

use clap::{Args, Subcommand};
use tollhouse_domain::access::Visibility;
use tollhouse_domain::namespace::NamespaceKind;
use tollhouse_domain::text::printable;
use tollhouse_domain::user::User;
use tollhouse_store::list::Span;
use tollhouse_store::namespaces::{self, Routed};
use tollhouse_store::projects::{self, Filter, ProjectOrder, Seen};

use super::listing::{Listing, list};
use super::operator::{Operator, VIEWER, absent};
use super::values;
use crate::api::entities::project::{Options, Project, Shown};
use crate::api::projects::{owner, owners};
use crate::cli::Failure;
use crate::json::Object;
use crate::operations::projects::CreateProject;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a project
    Create(NewProject),
    /// List the projects
    List,
}

#[derive(Args)]
pub(crate) struct NewProject {
    /// Its full path, such as harbour/timetable in that group, or ada/notes in the namespace of that user
    path: String,
    /// Its name [default: the last segment of the path]
    #[arg(long)]
    name: Option<String>,
    /// The user who creates it and is allowed to: user name or number [default: the user whose namespace it is]
    #[arg(long)]
    user: Option<String>,
    /// Who may see it: private, internal or public
    #[arg(long, default_value = "private", value_parser = values::visibility)]
    visibility: Visibility,
    /// Its description
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => make(operator, new).await,
        Command::List => list(operator, &Projects).await,
    }
}

async fn make(operator: &Operator, new: NewProject) -> Result<(), Failure> {
    let needs_namespace = || {
        let given = printable(&new.path);
        Failure::Unusable(format!("{given}: the full path of a project is NAMESPACE/PROJECT, such as ada/notes"))
    };
    let (namespace, path) = new.path.rsplit_once('/').ok_or_else(needs_namespace)?;
    let mut reader = operator.reader().await?;
    let within = match namespaces::route(&mut reader, namespace).await? {
        Some(Routed::Namespace(id)) => namespaces::find(&mut reader, id).await?,
        _ => None,
    };
    drop(reader);
    let within = within.ok_or_else(|| absent("group or user", namespace))?;
    let creator = match (&new.user, within.kind, within.owner_id) {
        (Some(named), ..) => operator.user(named).await?.id,
        (None, NamespaceKind::User, Some(owner)) => owner,
        _ => return Err(Failure::Unusable("--user is required: it names the creator of a project in a group".into())),
    };
    let operation = CreateProject {
        creator,
        name: Some(new.name.as_deref().unwrap_or(path).to_owned()),
        path: Some(path.to_owned()),
        namespace: Some(within.id),
        description: new.description,
        visibility: new.visibility,
    };
    let given = [
        ("name", new.name.as_deref().unwrap_or(path)),
        ("path", path),
        ("namespace", namespace),
        ("visibility_level", new.visibility.as_str()),
    ];
    let id = operator.perform_given(operation, &given).await?;
    let mut reader = operator.reader().await?;
    let made = projects::visible(&mut reader, id, VIEWER, operator.now()).await?;
    let made = made.ok_or_else(|| absent("project", &id.to_string()))?;
    let owners = owners(&mut reader, std::slice::from_ref(&made)).await?;
    let owner = owner(&owners, &made);
    let text = format!("created the project {} ({id})", printable(&made.project.full_path()));
    operator.tell(&text, || object(operator, &made, owner, Options { alone: true, ..Options::default() }))
}

struct Projects;

impl Listing for Projects {
    const WHAT: &'static str = "projects";
    const COLUMNS: &'static [&'static str] = &["ID", "PATH", "VISIBILITY", "NAME"];
    /// And the owner of the namespace, if that is somebody's own.
    type Row = (Seen, Option<User>);

    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Self::Row>, Failure> {
        let mut reader = operator.reader().await?;
        let filter = Filter { order: ProjectOrder::Id, ascending: true, ..Filter::default() };
        let rows = projects::after(&mut reader, &filter, VIEWER, &Span::after(id, limit), operator.now()).await?;
        let owners = if operator.json { owners(&mut reader, &rows).await? } else { HashMap::new() };
        let with_owner = |seen: Seen| {
            let owner = owner(&owners, &seen).cloned();
            (seen, owner)
        };
        Ok(rows.into_iter().map(with_owner).collect())
    }

    fn id((seen, _): &Self::Row) -> i64 {
        seen.project.id.0
    }

    fn cells(&self, _: &Operator, (seen, _): &Self::Row) -> Vec<String> {
        vec![
            seen.project.id.to_string(),
            printable(&seen.project.full_path()),
            seen.project.visibility.as_str().to_owned(),
            printable(&seen.project.full_name()),
        ]
    }

    fn object(&self, operator: &Operator, (seen, owner): &Self::Row) -> Object {
        let options = Options { permissions: true, ..Options::default() };
        object(operator, seen, owner.as_ref(), options)
    }
}

fn object(operator: &Operator, seen: &Seen, owner: Option<&User>, asked: Options) -> Object {
    operator.object::<Project, _>(&Shown { owner, asked, ..Shown::new(&operator.app.urls, seen, VIEWER) })
}

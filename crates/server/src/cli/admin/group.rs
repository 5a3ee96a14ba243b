//! `tollhouse group`.

use clap::{Args, Subcommand};
use tollhouse_domain::access::Visibility;
use tollhouse_domain::id::NamespaceId;
use tollhouse_domain::namespace::{Namespace, NamespaceKind};
use tollhouse_domain::text::printable;
use tollhouse_store::namespaces::{self, Routed};

use super::listing::{Listing, list};
use super::operator::{Operator, VIEWER, absent};
use super::values;
use crate::api::entities::group::{Group, GroupDetails, Shown};
use crate::cli::Failure;
use crate::json::Object;
use crate::operations::groups::CreateGroup;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Create a group
    Create(NewGroup),
    /// List the groups
    List,
}

#[derive(Args)]
pub(crate) struct NewGroup {
    /// Its full path, such as harbour, or harbour/pilots inside that group
    path: String,
    /// Its name [default: the last segment of the path]
    #[arg(long)]
    name: Option<String>,
    /// Who may see it: private, internal or public
    #[arg(long, default_value = "private", value_parser = values::visibility)]
    visibility: Visibility,
    /// Its first owner: user name or number
    #[arg(long, value_name = "USER")]
    owner: Option<String>,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create(new) => make(operator, new).await,
        Command::List => list(operator, &Groups).await,
    }
}

async fn make(operator: &Operator, new: NewGroup) -> Result<(), Failure> {
    let (parent, path) = match new.path.rsplit_once('/') {
        // What stands before is a path, also where it looks like a number.
        Some((parent, path)) => {
            let mut reader = operator.reader().await?;
            let found = match namespaces::route(&mut reader, parent).await? {
                Some(Routed::Namespace(id)) => namespaces::find(&mut reader, id).await?,
                _ => None,
            };
            let group = found.filter(|found| found.kind == NamespaceKind::Group);
            (Some(group.ok_or_else(|| absent("group", parent))?.id), path)
        }
        None => (None, &*new.path),
    };
    let owner = match &new.owner {
        Some(named) => Some(operator.user(named).await?.id),
        None => None,
    };
    let name = new.name.as_deref().unwrap_or(path).to_owned();
    let given = [("name", &*name), ("path", path), ("visibility_level", new.visibility.as_str())];
    let operation =
        CreateGroup { name: name.clone(), path: path.to_owned(), parent, visibility: new.visibility, owner };
    let made = operator.perform_given(operation, &given).await?;
    let text = format!("created the group {} ({})", printable(&made.full_path), made.id);
    operator.tell(&text, || operator.object::<GroupDetails, _>(&Shown::new(&operator.app.urls, &made, VIEWER)))
}

struct Groups;

impl Listing for Groups {
    const WHAT: &'static str = "groups";
    const COLUMNS: &'static [&'static str] = &["ID", "PATH", "VISIBILITY", "NAME"];
    type Row = Namespace;

    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Namespace>, Failure> {
        Ok(namespaces::groups_after(&mut operator.reader().await?, NamespaceId(id), limit).await?)
    }

    fn id(row: &Namespace) -> i64 {
        row.id.0
    }

    fn cells(&self, _: &Operator, row: &Namespace) -> Vec<String> {
        vec![
            row.id.to_string(),
            printable(&row.full_path),
            row.visibility.as_str().to_owned(),
            printable(&row.full_name),
        ]
    }

    fn object(&self, operator: &Operator, row: &Namespace) -> Object {
        operator.object::<Group, _>(&Shown::new(&operator.app.urls, row, VIEWER))
    }
}

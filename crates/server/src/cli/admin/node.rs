//! `tollhouse node`.

use clap::Subcommand;
use data_encoding::HEXLOWER;
use tollhouse_domain::text::printable;
use tollhouse_store::{invalidations, nodes};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::listing::{Listing, list};
use super::operator::Operator;
use crate::cli::{Failure, warn};
use crate::json::Object;
use crate::operations::nodes::{Ask, Refresh};

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Ask the servers on this database to respond, and list them
    List,
    /// Empty the caches of every server, after manual changes in the database
    Refresh,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => {
            let asked = ask(operator).await;
            if let Err(failure) = &asked {
                warn(&format!("the servers could not be asked to respond: {failure}"));
            }
            let listed = list(operator, &Nodes { asked: asked.is_ok() }).await;
            // One that did not answer is marked by now. Whoever waits for it once more removes its row (revocation.md W3),
            // so that the next revocation need not.
            if asked.is_ok() && any_marked(operator).await? {
                ask(operator).await?;
            }
            listed
        }
        Command::Refresh => {
            operator.perform(Refresh).await?;
            operator.say("the caches of all servers are empty")
        }
    }
}

/// The list tells of each server whether it answers, so nothing is logged of it.
async fn ask(operator: &Operator) -> Result<(), Failure> {
    operator.perform(Ask).with_subscriber(NoSubscriber::default()).await
}

async fn any_marked(operator: &Operator) -> Result<bool, Failure> {
    Ok(nodes::all(&mut operator.reader().await?).await?.iter().any(|node| node.marked))
}

struct Nodes {
    /// Every row says whether its server answers just now.
    asked: bool,
}

/// A server, and how many entries of the log it has yet to read.
struct Row {
    place: i64,
    node: nodes::Node,
    behind: i64,
}

impl Row {
    fn id(&self) -> String {
        HEXLOWER.encode(&self.node.id.0)
    }
}

impl Listing for Nodes {
    const WHAT: &'static str = "servers";
    const COLUMNS: &'static [&'static str] = &["ID", "SERVER", "STARTED", "LAST SEEN", "BEHIND", "STATE"];
    type Row = Row;

    /// They are few.
    async fn after(&self, operator: &Operator, id: i64, _: i64) -> Result<Vec<Row>, Failure> {
        if id > 0 {
            return Ok(Vec::new());
        }
        let mut reader = operator.reader().await?;
        let newest = invalidations::newest(&mut reader).await?;
        let all = nodes::all(&mut reader).await?;
        let row = |(place, node): (i64, nodes::Node)| Row { place, behind: (newest - node.seen).max(0), node };
        Ok((1..).zip(all).map(row).collect())
    }

    fn id(row: &Row) -> i64 {
        row.place
    }

    fn cells(&self, _: &Operator, row: &Row) -> Vec<String> {
        let state = match (row.node.marked, self.asked) {
            (true, _) => "not answering",
            (false, true) => "running",
            (false, false) => "unknown",
        };
        vec![
            row.id()[..8].to_owned(),
            printable(&row.node.name),
            row.node.started_at.iso(),
            row.node.seen_at.iso(),
            row.behind.to_string(),
            state.to_owned(),
        ]
    }

    fn object(&self, _: &Operator, row: &Row) -> Object {
        Object::default()
            .field("id", row.id())
            .field("name", &row.node.name)
            .field("started_at", row.node.started_at.iso())
            .field("last_seen_at", row.node.seen_at.iso())
            .field("behind", row.behind)
            // Unless they were asked, it is known of those alone that did not answer somebody else.
            .field("answering", (row.node.marked || self.asked).then_some(!row.node.marked))
    }
}

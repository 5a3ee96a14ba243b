//! `tollhouse node`.

use clap::Subcommand;
use data_encoding::HEXLOWER;
use tollhouse_domain::text::printable;
use tollhouse_store::{log, nodes};

use super::listing::{Listing, list};
use super::operator::Operator;
use crate::cli::Failure;
use crate::json::Object;
use crate::operations::nodes::Refresh;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the servers that run on this database
    List,
    /// Make every server forget what it remembers, after changes by hand in the database
    Refresh,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(operator, &Nodes).await,
        Command::Refresh => {
            operator.perform(&Refresh).await?;
            operator.say("whatever servers remembered is forgotten")
        }
    }
}

struct Nodes;

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
    const COLUMNS: &'static [&'static str] = &["ID", "SERVER", "STARTED", "BEHIND", "STATE"];
    type Row = Row;

    /// They are few.
    async fn after(&self, operator: &Operator, id: i64, _: i64) -> Result<Vec<Row>, Failure> {
        if id > 0 {
            return Ok(Vec::new());
        }
        let mut reader = operator.reader().await?;
        let newest = log::newest(&mut reader).await?;
        let all = nodes::all(&mut reader).await?;
        let row = |(place, node): (i64, nodes::Node)| Row { place, behind: (newest - node.seen).max(0), node };
        Ok((1..).zip(all).map(row).collect())
    }

    fn id(row: &Row) -> i64 {
        row.place
    }

    fn cells(&self, _: &Operator, row: &Row) -> Vec<String> {
        // Others waited for it in vain; the next one removes its row.
        let state = if row.node.marked { "not answering" } else { "running" };
        let started = row.node.started_at.iso();
        vec![row.id()[..8].to_owned(), printable(&row.node.name), started, row.behind.to_string(), state.to_owned()]
    }

    fn object(&self, _: &Operator, row: &Row) -> Object {
        Object::default()
            .field("id", row.id())
            .field("name", &row.node.name)
            .field("started_at", row.node.started_at.iso())
            .field("behind", row.behind)
            .field("answering", !row.node.marked)
    }
}

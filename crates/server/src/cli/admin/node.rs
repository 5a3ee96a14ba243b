//! `tollhouse node`.

use clap::Subcommand;

use super::operator::Operator;
use crate::cli::Failure;
use crate::operations::nodes::Refresh;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make every server forget what it remembers, after changes by hand in the database
    Refresh,
}

pub(super) async fn run(operator: &Operator, command: Command) -> Result<(), Failure> {
    match command {
        Command::Refresh => {
            operator.perform(&Refresh).await?;
            operator.say("whatever servers remembered is forgotten")
        }
    }
}

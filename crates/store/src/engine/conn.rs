//! What a statement runs on.

use std::time::Duration;

use crate::engine::postgres::session::Session;

/// A connection of one of the two databases.
pub enum Conn<'c> {
    #[doc(hidden)]
    Sqlite(&'c mut rusqlite::Connection),
    #[doc(hidden)]
    Postgres(&'c mut Session),
    /// It was given back.
    #[doc(hidden)]
    Closed,
}

/// What can run a statement: a [`crate::engine::db::Reader`], a [`crate::engine::tx::Tx`] or a [`crate::invalidations::Link`].
pub trait Runs: Send {
    /// The connection that a statement runs on.
    fn conn(&mut self) -> Conn<'_>;

    /// How long a server that is asked over a network may take to answer.
    fn patience(&self) -> Duration {
        PATIENCE
    }
}

/// For a statement that only reads; one of a transaction is ended by the server, or after [`PATIENCE_OF_A_WRITER`].
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a statement of a transaction may take to answer.
pub(crate) const PATIENCE_OF_A_WRITER: Duration = Duration::from_secs(10);

//! Connections that only read.

use crate::engine::conn::{Conn, Runs};
use crate::engine::{postgres, sqlite};

/// A connection held for reading.
pub struct Reader(pub(super) Held);

/// The connection, which goes back when this is dropped.
pub(super) enum Held {
    /// To the readers of the file.
    Sqlite(sqlite::readers::Held),
    /// To the pool of those who only read.
    Postgres(postgres::pool::Held),
}

impl Reader {
    /// For a list that has its thread to itself.
    pub(crate) fn sqlite(held: sqlite::readers::Held) -> Self {
        Self(Held::Sqlite(held))
    }
}

impl Runs for Reader {
    fn conn(&mut self) -> Conn<'_> {
        match &mut self.0 {
            Held::Sqlite(held) => held.connection().map_or(Conn::Closed, Conn::Sqlite),
            Held::Postgres(held) => held.session().map_or(Conn::Closed, Conn::Postgres),
        }
    }
}

/// One connection to SQLite that is used once.
pub(crate) struct Single(pub(crate) rusqlite::Connection);

impl Runs for Single {
    fn conn(&mut self) -> Conn<'_> {
        Conn::Sqlite(&mut self.0)
    }
}

//! What can go wrong with a database.

use std::io;

use tokio_postgres::types::{WasNull, WrongType};

/// Why a statement or a commit did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer in time; whether a commit happened may be unknown.
    #[error("the database is not available: {0}")]
    Unavailable(Cause),
    /// Another transaction was in the way; the whole transaction may be tried again.
    #[error("another transaction was in the way")]
    Clash,
    /// Something unique exists already.
    #[error("something with that name exists already")]
    Taken,
    /// The disk is nearly full, so nothing new is taken in (T29).
    #[error("less than {0} bytes are free")]
    Full(u64),
    /// A mistake of ours, or damaged data.
    #[error("the database answered with an error: {0}")]
    Broken(Cause),
    /// A row that this program cannot have written; says which value.
    #[error("damaged data: {0}")]
    Damaged(String),
    /// The file is another one than it was; what is open is no database of anybody's any more.
    #[error("the file of the database was replaced while the server ran")]
    Replaced,
    /// The schema is not what this program works with.
    #[error("{0}")]
    Schema(&'static str),
    /// A step of the schema could not be taken.
    #[error("step {step} of the schema: {cause}")]
    Migration {
        /// The number of the step; those before it were taken.
        step: i64,
        /// What the database answered.
        cause: Box<Error>,
    },
}

/// What a driver said.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// From the operating system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// From SQLite.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// From PostgreSQL or its connection.
    #[error("{}", postgres(.0))]
    Postgres(#[from] tokio_postgres::Error),
    /// Why TLS could not be used, or why the certificate was refused.
    #[error("{0}")]
    Tls(String),
    /// A rule of our own, such as a time limit.
    #[error("{0}")]
    Rule(&'static str),
}

/// What every function of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// There was no answer in time.
    pub fn late() -> Self {
        Self::Unavailable(Cause::Rule("there was no answer in time"))
    }

    /// A database that is about to start, or has too many connections at this moment.
    pub(crate) fn is_not_there_yet(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotFound};
        let Self::Unavailable(Cause::Postgres(error)) = self else { return false };
        match (error.as_db_error(), std::error::Error::source(error)) {
            // cannot_connect_now, too_many_connections
            (Some(said), _) => matches!(said.code().code(), "57P03" | "53300"),
            (None, Some(source)) => source
                .downcast_ref::<io::Error>()
                .is_some_and(|source| matches!(source.kind(), ConnectionRefused | ConnectionReset | NotFound)),
            (None, None) => false,
        }
    }

    /// It was let go of, or nobody runs it any more.
    pub(crate) fn closed() -> Self {
        Self::Unavailable(Cause::Rule("it is closed"))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

impl From<rusqlite::Error> for Error {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ffi;
        let rusqlite::Error::SqliteFailure(said, _) = &error else { return Self::Broken(error.into()) };
        match said.extended_code {
            ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY => Self::Taken,
            // What it belongs to went away meanwhile; whoever tries again will see that.
            ffi::SQLITE_CONSTRAINT_FOREIGNKEY => Self::Clash,
            code => match code & 0xff {
                ffi::SQLITE_BUSY
                | ffi::SQLITE_IOERR
                | ffi::SQLITE_FULL
                | ffi::SQLITE_CANTOPEN
                | ffi::SQLITE_INTERRUPT => Self::Unavailable(error.into()),
                _ => Self::Broken(error.into()),
            },
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(said) = error.as_db_error() else {
            // A type that does not fit is a mistake of ours; everything else is the connection.
            let ours = std::error::Error::source(&error)
                .is_some_and(|source| source.is::<WrongType>() || source.is::<WasNull>());
            return if ours { Self::Broken(error.into()) } else { Self::Unavailable(error.into()) };
        };
        match said.code().code() {
            // serialization_failure, deadlock_detected
            "40001" | "40P01" => Self::Clash,
            // unique_violation: a number that was drawn ahead of a fail-over, and drawn again
            "23505" if said.constraint().is_some_and(|name| NUMBERED.contains(&name)) => Self::Clash,
            "23505" => Self::Taken,
            // foreign_key_violation: what it belongs to went away meanwhile; whoever tries again will see that.
            "23503" => Self::Clash,
            // lock_not_available, idle_in_transaction_session_timeout, read_only_sql_transaction: whoever holds us up, or
            // the primary, is another one by the next attempt
            "55P03" | "25P03" | "25006" => Self::Unavailable(error.into()),
            // connection exceptions, insufficient resources, operator intervention
            code if ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => Self::Unavailable(error.into()),
            _ => Self::Broken(error.into()),
        }
    }
}

/// Rows whose numbers are drawn ahead.
const NUMBERED: [&str; 3] = ["token_families_pkey", "personal_access_tokens_pkey", "oauth_access_tokens_pkey"];

/// With what the server said, which the driver keeps apart.
fn postgres(error: &tokio_postgres::Error) -> String {
    use std::error::Error as _;
    match (error.as_db_error(), error.source()) {
        (Some(said), _) => format!("{} ({})", said.message(), said.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

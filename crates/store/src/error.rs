//! What can go wrong with a database.

/// Why a statement or a commit did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be reached, or did not answer in time; whether a commit happened may be unknown.
    #[error("the database is not available: {0}")]
    Unavailable(sqlx::Error),
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
    Broken(sqlx::Error),
    #[error("damaged data: {0}")]
    Damaged(String),
    /// The file is another one than it was; what is open is no database of anybody's any more.
    #[error("the file of the database was replaced while the server ran")]
    Replaced,
    /// The schema is not what this program works with.
    #[error("{0}")]
    Schema(&'static str),
    #[error(transparent)]
    Migration(#[from] sqlx::migrate::MigrateError),
}

pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// There was no answer in time.
    pub fn late() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(answer) => {
                let code = answer.code().unwrap_or_default();
                match code.as_ref() {
                    // serialization_failure, deadlock_detected
                    "40001" | "40P01" => Self::Clash,
                    _ if answer.is_unique_violation() => Self::Taken,
                    // What it belongs to went away meanwhile; whoever tries again will see that.
                    _ if answer.is_foreign_key_violation() => Self::Clash,
                    // SQLITE_BUSY, _IOERR, _FULL, _CANTOPEN and their extended codes
                    _ if code
                        .parse::<u32>()
                        .is_ok_and(|code| code < 10_000 && matches!(code & 0xff, 5 | 10 | 13 | 14)) =>
                    {
                        Self::Unavailable(error)
                    }
                    // lock_not_available, idle_in_transaction_session_timeout, read_only_sql_transaction: whoever holds
                    // us up, or the primary, is another one by the next attempt
                    "55P03" | "25P03" | "25006" => Self::Unavailable(error),
                    // connection exceptions, insufficient resources, operator intervention
                    _ if code.len() == 5 && ["08", "53", "57"].iter().any(|class| code.starts_with(class)) => {
                        Self::Unavailable(error)
                    }
                    _ => Self::Broken(error),
                }
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::InvalidSavePointStatement
            | sqlx::Error::BeginFailed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Broken(error),
        }
    }
}

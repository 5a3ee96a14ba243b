//! How one text runs on two databases.

/// Runs one statement on whichever database this is: `on!(reader, |c| query.fetch_one(c))`. The body is compiled
/// once for each, so keep it to one statement and decode outside. A server that is asked over a network may never answer:
/// then the connection is given up, and it is an error in time.
macro_rules! on {
    ($at:expr, |$c:ident| $body:expr) => {{
        let at = &mut *$at;
        let patience = $crate::db::Runs::patience(at);
        let done = match $crate::db::Conn::of(at) {
            $crate::db::Conn::Sqlite($c) => Ok($body.await),
            $crate::db::Conn::Postgres($c) => tokio::time::timeout(patience, $body).await,
        };
        match done {
            Ok(done) => done.map_err($crate::error::Error::from),
            Err(_) => {
                $crate::db::Runs::give_up(at);
                Err($crate::error::Error::late())
            }
        }
    }};
}

/// Runs one statement that writes, and says how many rows it changed. Compare and set: one row means you won.
macro_rules! changed {
    ($at:expr, $query:expr) => {
        on!($at, |c| async { $query.execute(c).await.map(|done| done.rows_affected()) })
    };
}

/// The statements of one file. They are listed too, so that a test can prepare every one of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+
        pub(crate) const ALL: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),+];
    };
}

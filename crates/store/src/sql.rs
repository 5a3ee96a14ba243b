//! How one text runs on two databases.

/// Runs one statement on whichever database this is: `on!(reader, |c| query.fetch_one(c))`. The body is compiled
/// once for each, so keep it to one statement and decode outside.
macro_rules! on {
    ($at:expr, |$c:ident| $body:expr) => {
        match $crate::db::Conn::of($at) {
            $crate::db::Conn::Sqlite($c) => $body.await,
            $crate::db::Conn::Postgres($c) => $body.await,
        }
        .map_err($crate::error::Error::from)
    };
}

/// Runs one statement that writes, and says how many rows it changed. Compare and set: one row means you won.
macro_rules! changed {
    ($at:expr, $query:expr) => {
        match $crate::db::Conn::of($at) {
            $crate::db::Conn::Sqlite(c) => $query.execute(c).await.map(|done| done.rows_affected()),
            $crate::db::Conn::Postgres(c) => $query.execute(c).await.map(|done| done.rows_affected()),
        }
        .map_err($crate::error::Error::from)
    };
}

/// The statements of one file. They are listed too, so that a test can prepare every one of them.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)+) => {
        $($(#[$doc])* const $name: &str = $sql;)+
        pub(crate) const ALL: &[(&str, &str)] = &[$((concat!(module_path!(), "::", stringify!($name)), $name)),+];
    };
}

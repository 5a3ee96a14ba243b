//! The database: one SQL text for SQLite and PostgreSQL.
//!
//! One file per table. Reads take anything that can run a statement ([`db::Reader`] or [`tx::Tx`]), writes take a
//! [`tx::Tx`]. A statement that makes something untrue says so on the `Tx`, and an operation returns a [`tx::Change`],
//! which [`db::Db::perform`] commits. So no operation can forget to audit, to invalidate or to commit.

#[macro_use]
mod row;
#[macro_use]
mod sql;

pub mod access_grants;
pub mod applications;
pub mod audit_events;
pub mod backup;
pub mod conn;
pub mod db;
pub mod error;
#[cfg(feature = "faults")]
pub mod faults;
pub mod files;
pub mod instance;
pub mod keys;
pub mod list;
pub mod log;
pub mod lookup;
pub mod members;
mod migrate;
pub mod namespaces;
pub mod nodes;
pub mod oauth_access_tokens;
pub mod personal_access_tokens;
pub mod postgres;
pub mod projects;
pub mod query;
pub mod sessions;
pub mod sign_in_failures;
pub(crate) mod sqlite;
pub mod sweep;
pub mod token_families;
pub mod tx;
pub mod users;
pub mod value;
pub mod work;

/// Every statement of the crate with its name, for the test that prepares them on both databases.
pub fn statements() -> Vec<(&'static str, &'static str)> {
    [
        access_grants::ALL,
        applications::ALL,
        audit_events::ALL,
        instance::ALL,
        keys::ALL,
        log::ALL,
        lookup::ALL,
        members::ALL,
        namespaces::ALL,
        nodes::ALL,
        oauth_access_tokens::ALL,
        personal_access_tokens::ALL,
        projects::ALL,
        sessions::ALL,
        sign_in_failures::ALL,
        sweep::ALL,
        token_families::ALL,
        users::ALL,
    ]
    .concat()
}

//! The database: one SQL text for SQLite and PostgreSQL.
//!
//! One file per table. Reads take anything that can run a statement ([`db::Reader`] or [`tx::Tx`]), writes take a
//! [`tx::Tx`]. A statement that makes something untrue says so on the `Tx`, and an operation returns a [`tx::Change`],
//! which [`db::Db::perform`] commits. So no operation can forget to audit, to invalidate or to commit.

#[macro_use]
pub mod engine;

pub mod audit_events;
pub mod backup;
pub mod bots;
pub mod deploy_tokens;
pub mod error;
#[cfg(feature = "faults")]
pub mod every_list;
pub mod failed_sign_ins;
pub mod files;
pub mod instance;
pub mod invalidations;
pub mod job_tokens;
pub mod list;
pub mod lookup;
pub mod members;
pub mod namespaces;
pub mod nodes;
pub mod oauth_access_grants;
pub mod oauth_access_tokens;
pub mod oauth_applications;
pub mod personal_access_tokens;
pub mod projects;
pub mod revocations;
pub mod sealed_keys;
pub mod sessions;
pub mod sign_in_decoys;
pub mod sign_in_failures;
pub mod sweep;
pub mod token_families;
pub mod users;

#[cfg(feature = "faults")]
pub use engine::faults;
pub use engine::{conn, db, postgres, query, tx, work};

/// Every statement of the crate with its name, for the test that prepares them on both databases.
pub fn statements() -> Vec<(&'static str, &'static str)> {
    [
        oauth_access_grants::ALL,
        oauth_applications::ALL,
        audit_events::ALL,
        deploy_tokens::ALL,
        job_tokens::ALL,
        bots::ALL,
        failed_sign_ins::ALL,
        instance::ALL,
        sealed_keys::ALL,
        invalidations::ALL,
        lookup::ALL,
        members::ALL,
        namespaces::ALL,
        nodes::ALL,
        oauth_access_tokens::ALL,
        personal_access_tokens::ALL,
        projects::ALL,
        revocations::ALL,
        sessions::ALL,
        sign_in_decoys::ALL,
        sign_in_failures::ALL,
        sweep::ALL,
        token_families::ALL,
        users::ALL,
    ]
    .concat()
}

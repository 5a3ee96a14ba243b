//! How statements reach SQLite and PostgreSQL: connections, readers, the writers that commit for many at once, and the steps
//! of the schema. The statements themselves are in the files beside this folder, one for each table.

#[macro_use]
pub(crate) mod row;
#[macro_use]
pub(crate) mod sql;

pub mod conn;
pub mod db;
#[cfg(feature = "faults")]
pub mod faults;
pub(crate) mod migrate;
pub mod postgres;
pub mod query;
pub(crate) mod sqlite;
pub mod tx;
pub mod value;
pub mod work;

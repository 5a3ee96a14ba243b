//! What goes between a server and its database.

pub mod lists;
pub mod round_trips;
pub mod schema;
pub mod tls;
pub mod together;

//! From what a request showed to who it is.
//!
//! [`shown::Shown`] collects every credential of a request with the place it stood in; nothing is believed yet.
//! [`authenticator::Authenticator`] judges them in the order of the specification against a
//! [`tollhouse_domain::demand::Demand`], from memory where it can ([`ledger::Ledger`]), else by asking a
//! [`tollhouse_domain::lookup::Lookup`].

pub mod authenticator;
mod flights;
pub mod gate;
pub mod ledger;
pub mod session_cookies;
pub mod shown;
mod sudo;
pub mod uptime;
pub mod uses;

//! From what a request showed to who it is.
//!
//! [`presented::PresentedCredentials`] collects every credential of a request with the place it stood in; nothing is believed yet.
//! [`authenticator::Authenticator`] judges them in the order of the specification against a
//! [`tollhouse_domain::access_requirement::AccessRequirement`], from memory where it can ([`credential_cache::CredentialCache`]), else by asking a
//! [`tollhouse_domain::lookup::Lookup`].

pub mod authenticator;
pub mod credential_cache;
mod flights;
pub mod limiter;
pub mod presented;
pub mod session_cookies;
mod sudo;
#[cfg(test)]
mod test_records;
pub mod uptime;
pub mod uses;

//! `/admin`: what only administrators do.

pub mod revocations;

//! `/user` and what is below it.

pub mod personal_access_tokens;

//! What only administrators do (`/admin`).

pub mod revocations;

//! Field sets, in the order of the wire.

pub mod application;
pub mod group;
pub mod member;
pub mod project;
pub mod token;
pub mod user;

//! The nouns and rules of Tollhouse: who somebody is, what a token may do, when it ends.
//!
//! Nothing in here reads a clock, a socket or a database. Rules take `now` as an argument, so every one of
//! them is a table in a test.

pub mod access;
pub mod application;
pub mod audit;
pub mod claims;
pub mod demand;
pub mod denial;
pub mod forget;
pub mod grant;
pub mod id;
pub mod identity;
pub mod lookup;
pub mod membership;
pub mod namespace;
pub mod password;
pub mod pkce;
pub mod project;
pub mod redirect;
pub mod rotation;
pub mod scope;
pub mod secret;
pub mod text;
pub mod time;
pub mod token;
pub mod user;

//! The nouns and rules of Tollhouse: who somebody is, what a token may do, when it ends.
//!
//! Nothing in here reads a clock, a socket or a database. Rules take `now` as an argument, so every one of
//! them is a table in a test.

/// Whether a mistake of `faults::Mutant` is switched on; without the feature `faults` there is nothing to ask.
#[macro_export]
macro_rules! broken {
    ($self:ident, $mutant:ident) => {{
        #[cfg(feature = "faults")]
        let broken = $self.mutants.is($crate::faults::Mutant::$mutant);
        #[cfg(not(feature = "faults"))]
        let broken = false;
        broken
    }};
}

pub mod access;
pub mod access_requirement;
pub mod agreement;
pub mod application;
pub mod audit;
pub mod claims;
pub mod denial;
pub mod deploy_token;
#[cfg(feature = "faults")]
pub mod faults;
pub mod grant;
pub mod grantor;
pub mod id;
pub mod identity;
pub mod invalidation;
pub mod lookup;
pub mod membership;
pub mod namespace;
pub mod parameter;
pub mod password;
pub mod pkce;
pub mod project;
pub mod prompt;
pub mod redirect;
pub mod rotation;
pub mod scope;
pub mod secret;
pub mod text;
pub mod time;
pub mod token;
pub mod user;

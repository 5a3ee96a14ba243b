//! The tests, laid out like what they speak of.

use crate::Case;

macro_rules! cases {
    ($($name:ident $(with $settings:literal)?),+ $(,)?) => {
        pub const CASES: &[$crate::Case] = &[$($crate::Case {
            name: stringify!($name),
            settings: concat!($($settings)?),
            run: |town| Box::pin($name(town)),
        }),+];
    };
}

mod accounts;
mod applications;
mod authorize;
mod bad_input;
mod cors;
mod credentials;
mod grants;
mod groups;
mod matrix;
mod model;
mod oauth_processes;
mod oauth_tokens;
mod openid;
mod password;
mod processes;
mod projects;
mod refresh;
mod road;
mod rotation;
mod scopes;
mod self_token;
mod sessions;
mod sign_in;
mod store;
mod sudo;
mod threats;
mod users;

pub fn all() -> Vec<Case> {
    [
        accounts::CASES,
        applications::CASES,
        authorize::CASES,
        bad_input::CASES,
        cors::CASES,
        credentials::CASES,
        grants::CASES,
        groups::CASES,
        matrix::CASES,
        model::CASES,
        oauth_processes::CASES,
        oauth_tokens::CASES,
        openid::CASES,
        password::CASES,
        processes::CASES,
        projects::CASES,
        refresh::CASES,
        road::CASES,
        rotation::CASES,
        scopes::CASES,
        self_token::CASES,
        sessions::CASES,
        sign_in::CASES,
        store::CASES,
        sudo::CASES,
        threats::CASES,
        users::CASES,
    ]
    .concat()
}

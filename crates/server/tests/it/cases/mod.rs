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
mod bad_input;
mod credentials;
mod groups;
mod matrix;
mod password;
mod processes;
mod projects;
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
        bad_input::CASES,
        credentials::CASES,
        groups::CASES,
        matrix::CASES,
        password::CASES,
        processes::CASES,
        projects::CASES,
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

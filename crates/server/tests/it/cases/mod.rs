//! The tests, laid out like what they speak of.

use crate::Case;

macro_rules! cases {
    ($($name:ident $(with $settings:literal)? $(breaks $mutant:ident)?),+ $(,)?) => {
        pub const CASES: &[$crate::Case] = &[$($crate::Case {
            name: stringify!($name),
            settings: concat!($($settings)?),
            breaks: [$(Some(tollhouse_domain::faults::Mutant::$mutant),)? None][0],
            run: |town| Box::pin($name(town)),
        }),+];
    };
}

mod accounts;
mod admin;
mod agreement;
mod answers;
mod applications;
mod audit_events;
mod authorize;
mod bad_input;
mod bodies;
mod command_line;
mod cors;
mod credentials;
mod database;
mod explain;
mod explain_routes;
mod gateway;
mod grants;
mod groups;
mod guessing;
mod http_service;
mod job_tokens;
mod lists;
mod logging;
mod looks_first;
mod matrix;
mod metrics;
mod model;
mod oauth_processes;
mod oauth_tokens;
mod openapi;
mod openid;
pub mod oracles;
mod password;
mod personal_access_tokens;
mod processes;
mod projects;
mod refresh;
mod resource_access_tokens;
mod rotation;
mod scopes;
mod second_tab;
mod seed;
mod self_token;
mod service_accounts;
mod sessions;
mod several_sessions;
mod sign_in;
mod store;
mod sudo;
mod threats;
mod upgrade;
mod user;
mod users;
mod writer;

pub fn all() -> Vec<Case> {
    [
        accounts::CASES,
        agreement::answering::CASES,
        agreement::databases::CASES,
        agreement::dead::CASES,
        agreement::following::CASES,
        agreement::remembered::CASES,
        agreement::rows::CASES,
        agreement::writing::CASES,
        answers::CASES,
        applications::keeping::CASES,
        applications::making::CASES,
        applications::own::CASES,
        admin::revocations::CASES,
        audit_events::CASES,
        authorize::answers::CASES,
        authorize::bad_faith::CASES,
        authorize::mistakes::CASES,
        authorize::page::CASES,
        authorize::prompts::CASES,
        authorize::redirect_uris::CASES,
        authorize::sign_in_first::CASES,
        bad_input::CASES,
        command_line::backup::CASES,
        bodies::CASES,
        guessing::CASES,
        command_line::bad_input::CASES,
        command_line::databases::CASES,
        command_line::lists::CASES,
        command_line::terminal::CASES,
        command_line::things::CASES,
        command_line::tokens::CASES,
        command_line::users::CASES,
        cors::CASES,
        database::round_trips::CASES,
        database::schema::CASES,
        database::tls::CASES,
        database::lists::CASES,
        database::together::CASES,
        credentials::CASES,
        explain::CASES,
        explain_routes::CASES,
        gateway::asking::CASES,
        gateway::browsers::CASES,
        gateway::credentials::CASES,
        gateway::hostile::CASES,
        gateway::identities::CASES,
        gateway::members::CASES,
        gateway::other_credentials::CASES,
        gateway::paths::CASES,
        gateway::refusals::CASES,
        gateway::rules::CASES,
        gateway::signing_in::CASES,
        grants::bad_input::CASES,
        grants::challenges::CASES,
        grants::codes::CASES,
        grants::endings::CASES,
        grants::id_tokens::CASES,
        grants::itself::CASES,
        grants::mistakes::CASES,
        grants::passwords::CASES,
        grants::refreshes::CASES,
        groups::CASES,
        groups::update::CASES,
        job_tokens::CASES,
        lists::CASES,
        logging::CASES,
        crate::history::CASES,
        looks_first::CASES,
        matrix::CASES,
        metrics::CASES,
        model::CASES,
        oauth_processes::CASES,
        oauth_tokens::api::CASES,
        oauth_tokens::guards::CASES,
        oauth_tokens::introspection::CASES,
        oauth_tokens::revocation::CASES,
        openapi::CASES,
        openid::discovery::CASES,
        openid::signing::CASES,
        openid::userinfo::CASES,
        oracles::declared::CASES,
        oracles::recorded::CASES,
        password::CASES,
        personal_access_tokens::by_id::CASES,
        personal_access_tokens::listing::CASES,
        personal_access_tokens::rotating::CASES,
        processes::CASES,
        projects::CASES,
        projects::members::CASES,
        refresh::clients::CASES,
        refresh::endings::CASES,
        refresh::failures::CASES,
        refresh::theft::CASES,
        refresh::window::CASES,
        http_service::CASES,
        resource_access_tokens::CASES,
        rotation::CASES,
        scopes::CASES,
        second_tab::CASES,
        seed::filling::CASES,
        seed::mistakes::CASES,
        seed::starting::CASES,
        self_token::CASES,
        service_accounts::CASES,
        sessions::CASES,
        several_sessions::CASES,
        sign_in::CASES,
        crate::simulation::CASES,
        store::CASES,
        sudo::CASES,
        threats::CASES,
        upgrade::CASES,
        user::personal_access_tokens::CASES,
        users::CASES,
        users::impersonation_tokens::CASES,
        users::personal_access_tokens::CASES,
        writer::CASES,
    ]
    .concat()
}

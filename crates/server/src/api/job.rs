//! `GET /job`: what a job token stands for (rest-api.md 2.12).

use axum::http::Method;
use tollhouse_domain::identity::{Identity, Via};
use tollhouse_domain::lookup::JobTokenRecord;

use crate::api::entities::job::{Job, Shown};
use crate::app::App;
use crate::endpoint::Endpoint;
use crate::endpoint::access::signed_in;
use crate::endpoint::answer::One;
use crate::error::Error;
use crate::refusal::ResourceKind;
use crate::request::ParsedRequest;

/// `/job`.
pub fn endpoints() -> Vec<Endpoint> {
    // A job token has no permissions of a fine-grained token.
    vec![Endpoint::api(Method::GET, "/api/v4/job", signed_in().or_job_token().condition(is_no_job), show)]
}

/// `GET /job`: 404 for a caller without a job token, 401 for a token whose job is over.
pub async fn show(app: App, caller: Identity, (): ()) -> Result<One<Job>, Error> {
    let (user, viewer) = (&caller.user, caller.viewer());
    Ok(One::of(&app, &Shown { job: job(&caller)?, user, urls: &app.urls, viewer, now: app.now() }))
}

/// Refuses a caller who came by anything but a job token.
pub fn is_no_job(who: Option<&Identity>, _: &ParsedRequest) -> Result<(), Error> {
    who.map_or(Ok(()), |who| job(who).map(drop))
}

fn job(caller: &Identity) -> Result<&JobTokenRecord, Error> {
    match &caller.via {
        Via::JobToken(job) => Ok(job),
        Via::PersonalAccessToken(_) | Via::OauthAccessToken(_) | Via::Session(_) => {
            Err(Error::NotFound(ResourceKind::Job))
        }
    }
}

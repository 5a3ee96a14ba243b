//! `tollhouse token create --kind deploy` and `--kind job`.

use std::time::Duration;

use anyhow::anyhow;
use tollhouse_domain::deploy_token::{DeployScope, DeployScopes};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::text::printable;
use tollhouse_domain::time::Date;

use super::member::What;
use super::operator::Operator;
use crate::api::entities::deploy_token::{DeployTokenWithSecret, Shown, WithSecret};
use crate::api::entities::job::{self, JobTokenWithSecret};
use crate::cli::Failure;
use crate::operations::deploy_tokens::CreateDeployToken;
use crate::operations::job_tokens::CreateJobToken;

/// What a new deploy token is to be.
pub(super) struct NewDeployToken {
    pub(super) of: What,
    pub(super) name: String,
    pub(super) scopes: String,
    pub(super) username: Option<String>,
    pub(super) expires_at: Option<Date>,
}

pub(super) async fn deploy(operator: &Operator, new: NewDeployToken) -> Result<(), Failure> {
    let (of, _) = operator.of(&new.of).await?;
    let create = CreateDeployToken {
        of,
        name: new.name,
        username: new.username,
        scopes: scopes(&new.scopes)?,
        expires_at: new.expires_at.map(Date::start),
    };
    let made = operator.perform(create).await?;
    let token = Shown { token: &made.token, now: operator.now() };
    let secret = made.secret.reveal();
    operator.hand_over(&format!("deploy token {}", made.token.id), secret, || {
        operator.object::<DeployTokenWithSecret, _>(&WithSecret { token, secret })
    })
}

pub(super) async fn job(operator: &Operator, project: What, user: &str, lifetime: Duration) -> Result<(), Failure> {
    let MembershipSource::Project(project) = operator.of(&project).await?.0 else {
        return Err(anyhow!("a job runs in a project").into());
    };
    let user = operator.user(user).await?.id;
    let made = operator.perform(CreateJobToken { project, user, lifetime }).await?;
    let secret = made.secret.reveal();
    operator.hand_over(&format!("job token {}", made.token.id), secret, || {
        operator.object::<JobTokenWithSecret, _>(&job::WithSecret { token: &made.token, secret })
    })
}

fn scopes(text: &str) -> Result<DeployScopes, Failure> {
    let words = || text.split([',', ' ']).filter(|word| !word.is_empty());
    if let Some(unknown) = words().find(|word| DeployScope::parse(word).is_none()) {
        let known: Vec<_> = DeployScope::ALL.iter().map(|scope| scope.as_str()).collect();
        let unknown = printable(unknown);
        return Err(anyhow!("a deploy token has no scope {unknown}; there are {}", known.join(", ")).into());
    }
    Ok(words().filter_map(DeployScope::parse).collect())
}

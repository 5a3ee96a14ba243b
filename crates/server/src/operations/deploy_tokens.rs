//! Deploy tokens: made and revoked (rest-api.md 2.11).

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::deploy_token::{DeployScopes, DeployToken};
use tollhouse_domain::id::DeployTokenId;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::deploy_tokens::{self, NewDeployToken};
use tollhouse_store::tx::{Change, Tx};

use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Makes a deploy token of a project or group, for the operator.
#[derive(Clone, Debug)]
pub struct CreateDeployToken {
    /// The project or group that it belongs to.
    pub of: MembershipSource,
    /// At most 255 characters.
    pub name: String,
    /// At most 255 letters, digits, `.`, `+`, `_` and `-`. `None`: [`DeployToken::default_username`].
    pub username: Option<String>,
    /// What it opens; at least one.
    pub scopes: DeployScopes,
    /// The first instant at which it is expired. `None`: it does not expire.
    pub expires_at: Option<Timestamp>,
}

/// A deploy token that was just made. The secret is shown once.
#[derive(Clone, Debug)]
pub struct Created {
    /// The token.
    pub token: DeployToken,
    /// Its secret in clear.
    pub secret: Plaintext,
}

impl Operation for CreateDeployToken {
    type Output = Created;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        if self.name.trim().is_empty() {
            return Err(Refusal::field("name", FieldFault::Blank).into());
        }
        if self.name.chars().count() > LONGEST {
            return Err(Refusal::field("name", FieldFault::TooLong(LONGEST)).into());
        }
        let username = self.username.as_deref();
        if username.is_some_and(|name| name.len() > LONGEST) {
            return Err(Refusal::field("username", FieldFault::TooLong(LONGEST)).into());
        }
        if username.is_some_and(|name| !is_username(name)) {
            return Err(Refusal::field("username", FieldFault::UsernameCharacters).into());
        }
        if self.scopes.is_empty() {
            return Err(Refusal::field("scopes", FieldFault::Blank).into());
        }
        let secret = Plaintext::deploy_token();
        let new = NewDeployToken {
            digest: secret.digest(),
            of: self.of,
            name: &self.name,
            username,
            scopes: &self.scopes,
            by: None,
            expires_at: self.expires_at,
        };
        let id = deploy_tokens::insert(tx, &new, now).await?;
        let token = deploy_tokens::find(tx, id).await?.ok_or(Failed::Inconsistent)?;
        let audit = Audit::new("deploy_token.created", target(id)).with(self.scopes.to_string());
        Ok(Change::new(Created { token, secret }, [audit]))
    }
}

/// Letters, digits and four marks, so that it can stand before the colon of HTTP Basic.
fn is_username(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'_' | b'-'))
}

/// Of a name, in characters.
const LONGEST: usize = 255;

/// Revokes a deploy token for good, for the operator.
#[derive(Clone, Copy, Debug)]
pub struct RevokeDeployToken {
    /// The token. [`ResourceKind::Record`] is told if there is none.
    pub id: DeployTokenId,
}

impl Operation for RevokeDeployToken {
    /// `false`: it was revoked already.
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        if deploy_tokens::revoke(tx, self.id, now).await? {
            return Ok(Change::new(true, [Audit::new("deploy_token.revoked", target(self.id))]));
        }
        deploy_tokens::find(tx, self.id).await?.ok_or(Refusal::NotFound(ResourceKind::Record))?;
        Ok(Change::already(false))
    }
}

/// A deploy token in the audit log.
fn target(id: DeployTokenId) -> Target {
    Target::new("deploy_token", id.0)
}

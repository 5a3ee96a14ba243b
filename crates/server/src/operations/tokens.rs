//! Personal access tokens: made and revoked.

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::grantor::GrantableScopes;
use tollhouse_domain::id::{FamilyId, PersonalAccessTokenId, UserId};
use tollhouse_domain::rotation::{FamilyPosition, Presented};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{PERSONAL_ACCESS_TOKEN, PersonalAccessToken, TokenStatus, latest_expiry};
use tollhouse_domain::user::AccountState;
use tollhouse_store::token_families::EndReason;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{personal_access_tokens, token_families, users};

use crate::operations::{Failed, Operation};
use crate::refusal::{ExpiryFault, FieldFault, Refusal, ResourceKind};

/// Makes a token, and the family that will grow from it.
#[derive(Clone, Debug)]
pub struct CreateToken {
    /// Whose token it is.
    pub user: UserId,
    /// Who has to be an administrator, in use, at the commit. `None`: the operator.
    pub administrator: Option<UserId>,
    /// The user makes it, and has to be in use at the commit.
    pub self_service: bool,
    /// What the credential of the caller may put into a token. `None`: anything that the owner may hold.
    pub grantable: Option<GrantableScopes>,
    /// Whether an administrator makes it to act as the user.
    pub impersonation: bool,
    /// At most 255 characters.
    pub name: String,
    /// `None`: there is none.
    pub description: Option<String>,
    /// What it opens; `sudo` and its like only for administrators (authentication.md 3.3).
    pub scopes: Scopes,
    /// The day from which it is dead. Without one: the last that is allowed, or never where that is.
    pub expires_at: Option<Date>,
    /// Whether it must end some day; then a missing day is today + 365 days.
    pub require_expiry: bool,
    /// A secret that was chosen outside, as in a seed for tests.
    pub secret: Option<Plaintext>,
}

/// A token that was just made. The secret is shown once.
#[derive(Clone, Debug)]
pub struct Created {
    /// The token.
    pub token: PersonalAccessToken,
    /// Its secret in clear.
    pub secret: Plaintext,
}

impl Operation for CreateToken {
    type Output = Created;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        if let Some(id) = self.administrator {
            let caller = users::find(tx, id).await?;
            if !caller.is_some_and(|caller| caller.administrator && caller.state == AccountState::Active) {
                return Err(Refusal::NotAllowed.into());
            }
        }
        let owner = users::find(tx, self.user).await?.ok_or(Refusal::NotFound(ResourceKind::User))?;
        if self.self_service && owner.state != AccountState::Active {
            return Err(Refusal::NotAllowed.into());
        }
        if self.name.trim().is_empty() {
            return Err(Refusal::field("name", FieldFault::Blank).into());
        }
        let grantable = |scope: Scope| self.grantable.as_ref().is_none_or(|grantable| grantable.includes(scope));
        let may_hold = |scope: Scope| scope.holder().admits(owner.administrator) && grantable(scope);
        if self.name.chars().count() > LONGEST {
            return Err(Refusal::field("name", FieldFault::TooLong(LONGEST)).into());
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > LONGEST) {
            return Err(Refusal::field("description", FieldFault::TooLong(LONGEST)).into());
        }
        if self.scopes.is_empty() {
            return Err(Refusal::field("scopes", FieldFault::Blank).into());
        }
        if !self.scopes.iter().all(may_hold) {
            return Err(Refusal::field("scopes", FieldFault::ScopesNotAvailable).into());
        }
        let expires_at = expiry(self.expires_at, self.require_expiry, latest_expiry(now), now)?;
        let secret = match &self.secret {
            Some(chosen) => chosen.clone(),
            None => Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, self.user),
        };
        let family = token_families::insert(tx).await?;
        let new = personal_access_tokens::NewToken {
            family,
            previous: None,
            digest: secret.digest(),
            user: self.user,
            name: &self.name,
            description: self.description.as_deref(),
            scopes: &self.scopes,
            impersonation: self.impersonation,
            expires_at,
        };
        let id = personal_access_tokens::insert(tx, &new, now).await?;
        token_families::begin(tx, family, id, now).await?;
        if self.secret.is_some() {
            personal_access_tokens::note_chosen_secret(tx, secret.digest()).await?;
        }
        let kind = if self.impersonation { ", impersonation" } else { "" };
        let detail = format!("{} for user {}{kind}", self.scopes, self.user);
        let audit = Audit::new("token.created", target(id)).with(detail);
        let token = PersonalAccessToken {
            id,
            family_id: family,
            previous_id: None,
            user_id: self.user,
            name: self.name.clone(),
            description: self.description.clone(),
            scopes: self.scopes.clone(),
            impersonation: self.impersonation,
            created_at: now,
            expires_at,
            last_used_at: None,
            last_used_ips: Vec::new(),
            status: TokenStatus::Live { used: false },
        };
        Ok(Change::new(Created { token, secret }, [audit]))
    }
}

/// Of a name and a description, in characters (rest-api.md 2.5).
const LONGEST: usize = 255;

/// Revokes a token by its number, with the successor it was given if nobody has used that yet. An older one is dead, and
/// takes no living one with it (rotation.md rule 12).
#[derive(Clone, Copy, Debug)]
pub struct Revoke {
    /// The token. [`ResourceKind::Record`] is told if there is none.
    pub id: PersonalAccessTokenId,
}

impl Operation for Revoke {
    /// `false`: it was dead already.
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        let found = personal_access_tokens::find(tx, self.id).await?.ok_or(Refusal::NotFound(ResourceKind::Record))?;
        let Presented { place, head_used, .. } = found.generation.presented;
        let reaches = match place {
            FamilyPosition::Head => true,
            FamilyPosition::PredecessorOfHead => !head_used,
            FamilyPosition::Other => false,
        };
        if reaches && token_families::end(tx, found.token.family_id, EndReason::Revoked, now).await? {
            return Ok(Change::new(true, [Audit::new("token.revoked", target(self.id))]));
        }
        Ok(Change::already(false))
    }
}

/// Who asks for something about a token. It is checked again with the change.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The account: under sudo the assumed one.
    pub user: UserId,
    /// What its credential may put into a token. `None`: anything that the owner may hold.
    pub grantable: Option<GrantableScopes>,
}

impl Asker {
    /// Whether it may put all of these into a token.
    pub fn may_grant(&self, scopes: &Scopes) -> bool {
        self.grantable.as_ref().is_none_or(|grantable| grantable.include(scopes))
    }
}

/// Revokes a token for somebody who must be its owner, or at the commit an administrator in use. Only administrators
/// revoke an impersonation token. The rest is that of [`Revoke`].
#[derive(Clone, Copy, Debug)]
pub struct RevokeAs {
    /// The token. If there is none, administrators are told [`ResourceKind::Record`], others [`Refusal::NotYours`].
    pub id: PersonalAccessTokenId,
    /// Who asks.
    pub caller: UserId,
}

impl Operation for RevokeAs {
    type Output = bool;
    const GROWS: bool = Revoke::GROWS;
    const REVOKES: bool = Revoke::REVOKES;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        let found = personal_access_tokens::find(tx, self.id).await?;
        let token = found.as_ref().map(|found| &found.token);
        // Whoever was blocked a moment ago may still end what is theirs.
        if !token.is_some_and(|token| token.is_own(self.caller)) {
            may_manage(tx, self.caller, token).await?;
        }
        Revoke { id: self.id }.run(tx, now).await
    }
}

/// Administrators manage every token; anybody else their own that no administrator made to act as them. Fails with
/// [`Refusal::NotYours`] for others, and for an account that may not act any more. `None`: there is no such token.
pub(crate) async fn may_manage(tx: &mut Tx, caller: UserId, token: Option<&PersonalAccessToken>) -> Result<(), Failed> {
    let account = users::find(tx, caller).await?.filter(|caller| caller.state == AccountState::Active);
    let own = token.is_some_and(|token| token.is_own(caller));
    match account {
        Some(caller) if caller.administrator || own => Ok(()),
        _ => Err(Refusal::NotYours.into()),
    }
}

/// Fails with [`Refusal::NotEligible`] if the owner may not hold all scopes of the token any more.
pub(crate) async fn still_eligible(tx: &mut Tx, token: &PersonalAccessToken) -> Result<(), Failed> {
    if !token.scopes.for_administrators() {
        return Ok(());
    }
    match users::find(tx, token.user_id).await? {
        Some(owner) if owner.administrator => Ok(()),
        _ => Err(Refusal::NotEligible.into()),
    }
}

/// `compat.rotation = "gitlab"`: a revoked token was presented for rotation, so whatever grew from it dies
/// (authentication.md 5.7).
#[derive(Clone, Copy, Debug)]
pub struct EndReusedFamily {
    /// The family that ends.
    pub family: FamilyId,
}

impl Operation for EndReusedFamily {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if token_families::end(tx, self.family, EndReason::Theft, now).await? {
            let target = Target::new("token_family", self.family.0);
            return Ok(Change::new((), [Audit::new("token.reuse_detected", target)]));
        }
        Ok(Change::already(()))
    }
}

/// The day a token ends, or why it may not end then.
pub fn expiry(asked: Option<Date>, required: bool, otherwise: Date, now: Timestamp) -> Result<Option<Date>, Refusal> {
    let Some(day) = asked else { return Ok(required.then_some(otherwise)) };
    if required && day > latest_expiry(now) {
        return Err(Refusal::Expiry(ExpiryFault::After(latest_expiry(now))));
    }
    if day <= now.date() {
        return Err(Refusal::Expiry(ExpiryFault::NotAfterToday));
    }
    Ok(Some(day))
}

/// A token in the audit log.
pub(crate) fn target(id: PersonalAccessTokenId) -> Target {
    Target::new("personal_access_token", id.0)
}

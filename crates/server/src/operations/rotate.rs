//! A personal access token is given a successor: by itself, who shows its secret, or by somebody else, who names it.

use tollhouse_domain::audit::Audit;
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{FamilyId, GenerationId, PersonalAccessTokenId};
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{self, PERSONAL_ACCESS_TOKEN, PersonalAccessToken};
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::token_families::{EndReason, FamilyKind};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{personal_access_tokens, token_families};

use crate::operations::rotation::{Rotated, RotationKind, Rules, rotate};
use crate::operations::tokens::Asker;
use crate::operations::{Failed, Operation, tokens};
use crate::refusal::{Refusal, ResourceKind};

/// Presents a personal access token for rotation (rest-api.md 2.6; rotation.md section 3).
pub struct RotateSelf {
    /// The secret that was presented.
    pub presented: Plaintext,
    /// The day from which the successor is dead. `None`: today + 7 days, or never if `require_expiry` is off.
    pub expires_at: Option<Date>,
    /// Whether the successor must end some day.
    pub require_expiry: bool,
    /// The settings of rotation.
    pub rules: Rules,
}

/// What takes the place of a rotated token.
pub struct Successor {
    /// The token.
    pub token: Box<PersonalAccessToken>,
    /// Its secret in clear, which is shown once, or again while its answer may have been lost.
    pub secret: Plaintext,
}

impl Operation for RotateSelf {
    type Output = Rotated<Successor>;

    /// It may take something in, or end a family; the arms that grow ask for room themselves.
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Self::Output>, Failed> {
        let found = personal_access_tokens::by_digest(tx, self.presented.digest()).await?;
        let found = found.ok_or(Refusal::Denied(Denial::Unknown))?;
        let line = PersonalLine { asked: self, old: &found.token };
        rotate(&line, tx, &found.generation, self.rules, now).await
    }
}

struct PersonalLine<'a> {
    asked: &'a RotateSelf,
    old: &'a PersonalAccessToken,
}

impl RotationKind for PersonalLine<'_> {
    const KIND: FamilyKind = FamilyKind::PersonalAccessToken;
    type Successor = Successor;

    async fn succeed(
        &self,
        tx: &mut Tx,
        salt: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<(GenerationId, Successor), Failed> {
        let old = self.old;
        if token::expired(old.expires_at, now) {
            return Err(Refusal::Denied(Denial::Expired).into());
        }
        tokens::still_eligible(tx, old).await?;
        let otherwise = token::default_expiry_after_rotation(now);
        let expires_at = tokens::expiry(self.asked.expires_at, self.asked.require_expiry, otherwise, now)?;
        let secret = match salt {
            Some(salt) => self.derived(salt),
            None => Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, old.user_id),
        };
        let new = heir(old, old.family_id, &secret, expires_at);
        let id = personal_access_tokens::insert(tx, &new, now).await?;
        // The answer shows it as it will be once this is committed: the head, and not used yet.
        let mut token = personal_access_tokens::find(tx, id).await?.ok_or(Failed::Inconsistent)?.token;
        token.status = token::TokenStatus::Live { used: false };
        Ok((id.into(), Successor { token: Box::new(token), secret }))
    }

    async fn repeat(&self, tx: &mut Tx, head: GenerationId, salt: &[u8; 32]) -> Result<Option<Successor>, Failed> {
        let token = personal_access_tokens::find(tx, head).await?.ok_or(Failed::Inconsistent)?.token;
        let same = self.asked.expires_at.is_none() || self.asked.expires_at == token.expires_at;
        if !same {
            return Err(Refusal::AlreadyRotated.into());
        }
        let secret = self.derived(salt);
        let known = personal_access_tokens::by_digest(tx, secret.digest()).await?;
        let derived = known.is_some_and(|known| known.generation.id == head);
        Ok(derived.then_some(Successor { token: Box::new(token), secret }))
    }
}

impl PersonalLine<'_> {
    fn derived(&self, salt: &[u8; 32]) -> Plaintext {
        let presented = self.asked.presented.reveal().as_bytes();
        Plaintext::successor(PERSONAL_ACCESS_TOKEN.prefix, presented, salt, self.old.user_id)
    }
}

/// Somebody who shows no secret of it gives a token a successor. Its family ends, so that whatever was handed out of it
/// is harmless, and a new one begins (rotation.md rule 9).
#[derive(Clone, Debug)]
pub struct RotateById {
    /// The token that is rotated.
    pub id: PersonalAccessTokenId,
    /// Who has to be its owner or an administrator at the commit, and able to hand on each of its scopes. `None`: the
    /// operator.
    pub caller: Option<Asker>,
    /// The day from which the successor is dead. `None`: today + 7 days, or never if `require_expiry` is off.
    pub expires_at: Option<Date>,
    /// Whether the successor must end some day.
    pub require_expiry: bool,
}

impl Operation for RotateById {
    type Output = Successor;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Successor>, Failed> {
        if let Some(caller) = &self.caller {
            let found = personal_access_tokens::find(tx, self.id).await?;
            tokens::may_manage(tx, caller.user, found.as_ref().map(|found| &found.token)).await?;
            let token = found.ok_or(Refusal::NotFound(ResourceKind::Unnamed))?.token;
            if caller.grantable.as_ref().is_some_and(|grantable| !grantable.include(&token.scopes)) {
                return Err(Refusal::NotEligible.into());
            }
        }
        let old = self.head(tx).await?;
        tokens::still_eligible(tx, &old).await?;
        if token::expired(old.expires_at, now) {
            return Err(Refusal::Denied(Denial::Expired).into());
        }
        let otherwise = token::default_expiry_after_rotation(now);
        let expires_at = tokens::expiry(self.expires_at, self.require_expiry, otherwise, now)?;
        if !token_families::end(tx, old.family_id, EndReason::Rotated, now).await? {
            return Err(StoreError::Clash.into());
        }
        let family = token_families::insert(tx).await?;
        let secret = Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, old.user_id);
        let id = personal_access_tokens::insert(tx, &heir(&old, family, &secret, expires_at), now).await?;
        token_families::begin(tx, family, id, now).await?;
        let token = personal_access_tokens::find(tx, id).await?.ok_or(Failed::Inconsistent)?.token;
        let audit = Audit::new("token.rotated", tokens::target(self.id)).with(format!("by its number, to {id}"));
        Ok(Change::new(Successor { token: Box::new(token), secret }, [audit]))
    }
}

impl RotateById {
    /// The token, if it is the head of a family that lives; and it stays so until the commit.
    async fn head(&self, tx: &mut Tx) -> Result<PersonalAccessToken, Failed> {
        let find = async |tx: &mut Tx| personal_access_tokens::find(tx, self.id).await;
        let family = find(tx).await?.ok_or(Refusal::NotFound(ResourceKind::Record))?.token.family_id;
        token_families::hold(tx, family).await?;
        // Whoever rotated it a moment ago came first.
        let token = find(tx).await?.ok_or(Refusal::NotFound(ResourceKind::Record))?.token;
        match token.revoked() {
            true => Err(Failed::Already(Refusal::AlreadyRevoked)),
            false => Ok(token),
        }
    }
}

/// What an old token hands down.
fn heir<'a>(
    old: &'a PersonalAccessToken,
    family: FamilyId,
    secret: &Plaintext,
    expires_at: Option<Date>,
) -> personal_access_tokens::NewToken<'a> {
    personal_access_tokens::NewToken {
        family,
        previous: Some(old.id),
        digest: secret.digest(),
        user: old.user_id,
        name: &old.name,
        description: old.description.as_deref(),
        scopes: &old.scopes,
        impersonation: old.impersonation,
        expires_at,
    }
}

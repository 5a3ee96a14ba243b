//! A token rotates itself: it shows its secret and is given a successor (`docs/protocols/rotation.md`).
//!
//! [`tollhouse_domain::rotation::decide`] says what is to happen; here it happens, by compare and set. Whoever loses
//! a race decides again.

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::PersonalAccessTokenId;
use tollhouse_domain::rotation::{self, Outcome, decide};
use tollhouse_domain::secret::{Plaintext, random};
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{self, PERSONAL_ACCESS_TOKEN, PersonalAccessToken};
use tollhouse_store::audit_events;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::personal_access_tokens::{self, Found};
use tollhouse_store::token_families::{self, EndReason};
use tollhouse_store::tx::{Change, Tx};

use crate::error::Error;
use crate::operations::{Failed, Operation, tokens};

pub struct RotateSelf {
    /// The secret that was presented.
    pub presented: Plaintext,
    pub expires_at: Option<Date>,
    pub require_expiry: bool,
    pub settings: rotation::Settings,
    /// `compat.rotation = "gitlab"`: no salts, so no repeats.
    pub gitlab: bool,
}

/// What the presenter is told.
pub enum Rotated {
    Successor {
        token: Box<PersonalAccessToken>,
        secret: Plaintext,
    },
    /// Not now (rule 4).
    Wait {
        until: Timestamp,
    },
    /// The family has ended, before or by this very attempt.
    Dead,
}

impl Operation for RotateSelf {
    type Output = Rotated;

    /// It may take something in, or end a family; the arms that grow ask for room themselves.
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Rotated>, Failed> {
        let found = personal_access_tokens::by_digest(tx, self.presented.digest()).await?;
        let found = found.ok_or(Error::Denied(Denial::Unknown))?;
        match decide(found.presented, self.settings, now) {
            Outcome::New => self.succeed(tx, &found, false, now).await,
            // Without repeats everything but the head is refused, and the guard has ended the family before.
            _ if self.gitlab => Ok(Change::nothing(Rotated::Dead)),
            Outcome::Replace => self.succeed(tx, &found, true, now).await,
            Outcome::Same => self.repeat(tx, &found, now).await,
            Outcome::Wait { until } => Ok(Change::nothing(Rotated::Wait { until })),
            Outcome::Refuse => Ok(Change::nothing(Rotated::Dead)),
            Outcome::Theft => {
                let id = found.token.id;
                if !token_families::end(tx, found.token.family_id, EndReason::Theft, now).await? {
                    return Err(StoreError::Clash.into());
                }
                let before = audit_events::last_address(tx, "token_family", found.token.family_id.0).await?;
                let before = before.unwrap_or_else(|| "unknown".to_owned());
                let detail = format!("generation {id}; its family was last rotated from {before}");
                let audit = audit("token.reuse_detected", &found).with(detail);
                Ok(Change::new(Rotated::Dead, [audit]))
            }
        }
    }
}

impl RotateSelf {
    /// Rules 2 and 5.
    async fn succeed(
        &self,
        tx: &mut Tx,
        found: &Found,
        replace: bool,
        now: Timestamp,
    ) -> Result<Change<Rotated>, Failed> {
        tx.room_to_grow()?;
        let old = &found.token;
        if token::expired(old.expires_at, now) {
            return Err(Error::Denied(Denial::Expired).into());
        }
        let otherwise = token::default_expiry_after_rotation(now);
        let expires_at = tokens::expiry(self.expires_at, self.require_expiry, otherwise, now)?;
        let prefix = PERSONAL_ACCESS_TOKEN.prefix;
        let salt: Option<[u8; 32]> = (!self.gitlab).then(random);
        let secret = match &salt {
            Some(salt) => Plaintext::successor(prefix, self.presented.reveal().as_bytes(), salt, old.user_id),
            None => Plaintext::personal_access_token(prefix, old.user_id),
        };
        let new = personal_access_tokens::New {
            family: old.family_id,
            previous: Some(old.id),
            digest: secret.digest(),
            user: old.user_id,
            name: &old.name,
            description: old.description.as_deref(),
            scopes: &old.scopes,
            impersonation: old.impersonation,
            expires_at,
        };
        let id = personal_access_tokens::insert(tx, &new, now).await?;
        let head = found.head_id.unwrap_or(old.id);
        // Family before token, always, so that two of these cannot block each other.
        let won = match replace {
            true => token_families::replace_unused(tx, old.family_id, head, id).await?,
            false => token_families::advance(tx, old.family_id, head, id).await?,
        };
        let won = won && personal_access_tokens::set_rotated(tx, found, salt.as_ref(), self.expires_at, now).await?;
        if !won {
            return Err(StoreError::Clash.into());
        }
        if replace {
            personal_access_tokens::set_replaced(tx, head, now).await?;
        }
        let event = if replace { "token.successor_replaced" } else { "token.rotated" };
        let token = successor(tx, id).await?;
        let audit = audit(event, found).with(format!("generation {} to {id}", old.id));
        Ok(Change::new(Rotated::Successor { token, secret }, [audit]))
    }

    /// Rules 3 and 10: the same successor again, whether it was used or not.
    async fn repeat(&self, tx: &mut Tx, found: &Found, now: Timestamp) -> Result<Change<Rotated>, Failed> {
        let (Some(head), Some(salt)) = (found.head_id, found.salt) else {
            return Err(Error::Unavailable.into());
        };
        let token = successor(tx, head).await?;
        let same = self.expires_at.is_none() || self.expires_at == token.expires_at;
        if !same {
            return Err(Error::BadRequest(Some("Token already rotated".into())).into());
        }
        let presented = self.presented.reveal().as_bytes();
        let secret = Plaintext::successor(PERSONAL_ACCESS_TOKEN.prefix, presented, &salt, token.user_id);
        let known = personal_access_tokens::by_digest(tx, secret.digest()).await?;
        let derived = known.is_some_and(|known| known.token.id == head);
        if !derived || !personal_access_tokens::set_handed(tx, found.token.id, &salt, now).await? {
            return Err(StoreError::Clash.into());
        }
        let audit = audit("token.rotation_repeated", found).with(format!("generation {}", found.token.id));
        Ok(Change::new(Rotated::Successor { token, secret }, [audit]))
    }
}

async fn successor(tx: &mut Tx, id: PersonalAccessTokenId) -> Result<Box<PersonalAccessToken>, Failed> {
    let found = personal_access_tokens::find(tx, id).await?.ok_or(Error::Internal)?;
    Ok(Box::new(found.token))
}

fn audit(event: &'static str, found: &Found) -> Audit {
    Audit::new(event, Target::new("token_family", found.token.family_id.0))
}

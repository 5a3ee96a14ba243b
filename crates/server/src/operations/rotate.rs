//! A personal access token rotates itself: it shows its secret and is given a successor.

use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::GenerationId;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{self, PERSONAL_ACCESS_TOKEN, PersonalAccessToken};
use tollhouse_store::personal_access_tokens;
use tollhouse_store::token_families::Kind;
use tollhouse_store::tx::{Change, Tx};

use crate::error::Error;
use crate::operations::rotation::{Line, Rotated, Rules, rotate};
use crate::operations::{Failed, Operation, tokens};

pub struct RotateSelf {
    /// The secret that was presented.
    pub presented: Plaintext,
    pub expires_at: Option<Date>,
    pub require_expiry: bool,
    pub rules: Rules,
}

pub struct Successor {
    pub token: Box<PersonalAccessToken>,
    pub secret: Plaintext,
}

impl Operation for RotateSelf {
    type Output = Rotated<Successor>;

    /// It may take something in, or end a family; the arms that grow ask for room themselves.
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Self::Output>, Failed> {
        let found = personal_access_tokens::by_digest(tx, self.presented.digest()).await?;
        let found = found.ok_or(Error::Denied(Denial::Unknown))?;
        let line = PersonalLine { asked: self, old: &found.token };
        rotate(&line, tx, &found.generation, self.rules, now).await
    }
}

struct PersonalLine<'a> {
    asked: &'a RotateSelf,
    old: &'a PersonalAccessToken,
}

impl Line for PersonalLine<'_> {
    const KIND: Kind = Kind::PersonalAccessToken;
    type Successor = Successor;

    async fn succeed(
        &self,
        tx: &mut Tx,
        salt: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<(GenerationId, Successor), Failed> {
        let old = self.old;
        if token::expired(old.expires_at, now) {
            return Err(Error::Denied(Denial::Expired).into());
        }
        let otherwise = token::default_expiry_after_rotation(now);
        let expires_at = tokens::expiry(self.asked.expires_at, self.asked.require_expiry, otherwise, now)?;
        let secret = match salt {
            Some(salt) => self.derived(salt),
            None => Plaintext::personal_access_token(PERSONAL_ACCESS_TOKEN.prefix, old.user_id),
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
        // The answer shows it as it will be once this is committed: the head, and not used yet.
        let mut token = personal_access_tokens::find(tx, id).await?.ok_or(Error::Internal)?.token;
        token.standing = token::Standing::Live { used: false };
        Ok((id.into(), Successor { token: Box::new(token), secret }))
    }

    async fn repeat(&self, tx: &mut Tx, head: GenerationId, salt: &[u8; 32]) -> Result<Option<Successor>, Failed> {
        let token = personal_access_tokens::find(tx, head).await?.ok_or(Error::Internal)?.token;
        let same = self.asked.expires_at.is_none() || self.asked.expires_at == token.expires_at;
        if !same {
            return Err(Error::BadRequest(Some("Token already rotated".into())).into());
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

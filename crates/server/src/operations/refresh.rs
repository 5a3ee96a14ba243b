//! An application shows a refresh token and is given the next pair.

use std::time::Duration;

use tollhouse_domain::grant::OauthAccessToken;
use tollhouse_domain::id::{ApplicationId, GenerationId};
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::AccountRules;
use tollhouse_store::token_families::FamilyKind;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{oauth_access_tokens, users};

use crate::operations::grants::Issued;
use crate::operations::rotation::{Rotated, RotationKind, Rules, rotate};
use crate::operations::{Failed, Operation};
use crate::refusal::{GrantFault, Refusal};

/// Presents a refresh token (RFC 6749 section 6; rotation.md section 3).
pub struct Refresh {
    /// The secret that was presented.
    pub presented: Plaintext,
    /// The client that showed who it is; `None`: nobody, which will do for a token that belongs to no application.
    pub client: Option<ApplicationId>,
    /// Fewer scopes than before, as they stand in the request.
    pub scopes: Option<String>,
    /// How long the new access token lives.
    pub lifetime: Duration,
    /// What keeps the user's account from it.
    pub accounts: AccountRules,
    /// The settings of rotation.
    pub rules: Rules,
}

impl Operation for Refresh {
    type Output = Rotated<Issued>;

    /// It may take something in, or end a family; the arms that grow ask for room themselves.
    const GROWS: bool = false;
    const REVOKES: bool = true;

    /// Rule 1: whoever fails before the decision changes nothing.
    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Self::Output>, Failed> {
        let dead = || Ok(Change::nothing(Rotated::Dead));
        let Some(found) = oauth_access_tokens::by_refresh_digest(tx, self.presented.digest()).await? else {
            return dead();
        };
        if found.token.application != self.client {
            return dead();
        }
        let user = match found.token.user {
            Some(user) => users::find(tx, user).await?,
            None => None,
        };
        if user.is_none_or(|user| user.may_use_api(now, self.accounts).is_err()) {
            return dead();
        }
        let line = OauthLine { asked: self, old: &found.token };
        rotate(&line, tx, &found.generation, self.rules, now).await
    }
}

struct OauthLine<'a> {
    asked: &'a Refresh,
    old: &'a OauthAccessToken,
}

impl RotationKind for OauthLine<'_> {
    const KIND: FamilyKind = FamilyKind::OauthAccessToken;
    type Successor = Issued;

    async fn succeed(
        &self,
        tx: &mut Tx,
        salt: Option<&[u8; 32]>,
        now: Timestamp,
    ) -> Result<(GenerationId, Issued), Failed> {
        let old = self.old;
        let scopes = self.scopes()?.unwrap_or_else(|| old.scopes.clone());
        if !scopes.is_within(&old.scopes) {
            return Err(Refusal::Grant(GrantFault::Scope).into());
        }
        let (access, refresh) = match salt {
            Some(salt) => self.derived(salt),
            None => (Plaintext::hex(), Plaintext::hex()),
        };
        let expires_at = now + self.asked.lifetime;
        let new = oauth_access_tokens::NewOauthToken {
            family: old.family_id,
            previous: Some(old.id),
            digest: access.digest(),
            refresh: Some(refresh.digest()),
            application: old.application,
            user: old.user,
            scopes: &scopes,
            redirect_uri: old.redirect_uri.as_deref(),
            authenticated_at: old.authenticated_at,
            expires_at,
        };
        let id = oauth_access_tokens::insert(tx, &new, now).await?;
        let token =
            OauthAccessToken { id, previous_id: Some(old.id), scopes, created_at: now, expires_at, ..old.clone() };
        Ok((id.into(), Issued { token, access, refresh: Some(refresh), nonce: None }))
    }

    async fn repeat(&self, tx: &mut Tx, head: GenerationId, salt: &[u8; 32]) -> Result<Option<Issued>, Failed> {
        let (access, refresh) = self.derived(salt);
        let known = oauth_access_tokens::by_refresh_digest(tx, refresh.digest()).await?;
        let Some(known) = known.filter(|known| known.generation.id == head) else { return Ok(None) };
        // Rule 10: a repeat asks for what the first one got.
        if self.scopes()?.is_some_and(|asked| !asked.is_same_set(&known.token.scopes)) {
            return Err(Refusal::Grant(GrantFault::Scope).into());
        }
        Ok(Some(Issued { token: known.token, access, refresh: Some(refresh), nonce: None }))
    }
}

impl OauthLine<'_> {
    fn scopes(&self) -> Result<Option<Scopes>, Refusal> {
        let parsed = |text: &String| {
            Scopes::parse(text).filter(|scopes| !scopes.is_empty()).ok_or(Refusal::Grant(GrantFault::Scope))
        };
        self.asked.scopes.as_ref().map(parsed).transpose()
    }

    fn derived(&self, salt: &[u8; 32]) -> (Plaintext, Plaintext) {
        Plaintext::oauth_successor(self.asked.presented.reveal().as_bytes(), salt)
    }
}

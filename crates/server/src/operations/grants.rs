//! A person allows an application to act for them, and the application gets its first tokens: by a code, by a
//! password, or for itself. What keeps them going is in `refresh`.

use std::time::Duration;

use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::grant::{AccessGrant, CODE_LIFETIME, OauthAccessToken, Presented, Redemption, RedemptionRules};
use tollhouse_domain::id::{ApplicationId, FamilyId, UserId};
use tollhouse_domain::pkce::Challenge;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::{Digest, Plaintext};
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::user::{AccountRules, AccountState};
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::token_families::{self, EndReason};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{
    oauth_access_grants, oauth_access_tokens, oauth_applications, personal_access_tokens, sessions, users,
};

use crate::operations::{Failed, Operation};
use crate::refusal::{GrantFault, Refusal};

/// A code for an application that somebody allowed to act for them.
pub struct Authorize {
    /// The application that asks.
    pub application: ApplicationId,
    /// The person who allowed it.
    pub user: UserId,
    /// The session in which they allowed it.
    pub session: Digest,
    /// Where the code is sent.
    pub redirect_uri: String,
    /// What the person allowed.
    pub scopes: Scopes,
    /// The PKCE challenge (RFC 7636). `None`: there is none.
    pub challenge: Option<Challenge>,
    /// For the `id_token`, unchanged.
    pub nonce: Option<String>,
}

impl Operation for Authorize {
    /// The code, which is shown once. `None`: the session has ended, so nobody allowed anything.
    type Output = Option<Plaintext>;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<Plaintext>>, Failed> {
        // Whoever ends all sessions of the user waits for this transaction, and removes its code.
        let Some(authenticated_at) = sessions::hold(tx, self.session, self.user).await? else {
            return Ok(Change::nothing(None));
        };
        let grant = AccessGrant {
            application: self.application,
            user: self.user,
            redirect_uri: self.redirect_uri.clone(),
            scopes: self.scopes.clone(),
            challenge: self.challenge.clone(),
            nonce: self.nonce.clone(),
            authenticated_at: Some(authenticated_at),
            expires_at: now + CODE_LIFETIME,
            redeemed: None,
        };
        may_be_given(tx, self.application, &self.scopes).await?;
        let code = Plaintext::hex();
        oauth_access_grants::insert(tx, code.digest(), &grant, now).await?;
        let audit = Audit::new("oauth.authorized", Target::new("application", self.application.0));
        Ok(Change::new(Some(code), [audit.with(format!("{} for user {}", self.scopes, self.user))]))
    }
}

/// An access token, and what comes with it. The secrets are shown once.
pub struct Issued {
    /// The token as its row says.
    pub token: OauthAccessToken,
    /// The access token in clear.
    pub access: Plaintext,
    /// Not for what an application gets for itself.
    pub refresh: Option<Plaintext>,
    /// What the request for the code asked to find in the `id_token`.
    pub nonce: Option<String>,
}

/// What is about to be given.
struct Fresh<'a> {
    application: Option<ApplicationId>,
    user: Option<UserId>,
    scopes: &'a Scopes,
    redirect_uri: Option<&'a str>,
    /// When the person authenticated, if that is known.
    authenticated_at: Option<Timestamp>,
    lifetime: Duration,
}

/// The application may have been deleted, or lost scopes, since the request was looked at.
async fn may_be_given(tx: &mut Tx, application: ApplicationId, scopes: &Scopes) -> Result<(), Failed> {
    let found = oauth_applications::find_to_give(tx, application).await?;
    let found = found.ok_or(Refusal::Grant(GrantFault::NoApplication))?;
    if found.scopes.is_empty() || scopes.is_within(&found.scopes) {
        return Ok(());
    }
    Err(Refusal::Grant(GrantFault::Scope).into())
}

/// Begins a family with its first token.
async fn begin(tx: &mut Tx, fresh: &Fresh<'_>, now: Timestamp) -> Result<Issued, Failed> {
    begin_with(tx, fresh, (Plaintext::hex(), fresh.user.map(|_| Plaintext::hex())), now).await
}

async fn begin_with(
    tx: &mut Tx,
    fresh: &Fresh<'_>,
    (access, refresh): (Plaintext, Option<Plaintext>),
    now: Timestamp,
) -> Result<Issued, Failed> {
    if let Some(application) = fresh.application {
        may_be_given(tx, application, fresh.scopes).await?;
    }
    let family = token_families::insert(tx).await?;
    let expires_at = now + fresh.lifetime;
    let new = oauth_access_tokens::NewOauthToken {
        family,
        previous: None,
        digest: access.digest(),
        refresh: refresh.as_ref().map(Plaintext::digest),
        application: fresh.application,
        user: fresh.user,
        scopes: fresh.scopes,
        redirect_uri: fresh.redirect_uri,
        authenticated_at: fresh.authenticated_at,
        expires_at,
    };
    let id = oauth_access_tokens::insert(tx, &new, now).await?;
    token_families::begin(tx, family, id, now).await?;
    let token = OauthAccessToken {
        id,
        family_id: family,
        previous_id: None,
        application: fresh.application,
        user: fresh.user,
        scopes: fresh.scopes.clone(),
        redirect_uri: fresh.redirect_uri.map(str::to_owned),
        authenticated_at: fresh.authenticated_at,
        created_at: now,
        expires_at,
    };
    Ok(Issued { token, access, refresh, nonce: None })
}

/// The line of the audit log. `how` is empty for the usual way.
fn created(issued: &Issued, how: &str) -> Audit {
    let target = Target::new("oauth_access_token", issued.token.id.0);
    let whom = issued.token.user.map_or_else(|| "nobody".to_owned(), |user| format!("user {user}"));
    Audit::new("token.created", target).with(format!("{} for {whom}{how}", issued.token.scopes))
}

/// An authenticated client presents a code (oauth.md 6.2).
pub struct Redeem {
    /// Digest of the code.
    pub code: Digest,
    /// What came with it.
    pub presented: Presented,
    /// The settings that it depends on.
    pub rules: RedemptionRules,
    /// How long the access token lives.
    pub lifetime: Duration,
    /// What keeps the person's account from it.
    pub accounts: AccountRules,
}

impl Operation for Redeem {
    /// `None`: refused, whatever else happened.
    type Output = Option<Issued>;
    const GROWS: bool = false;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<Issued>>, Failed> {
        let Some(grant) = oauth_access_grants::find(tx, self.code).await? else { return Ok(Change::nothing(None)) };
        match grant.decide(&self.presented, self.rules, now) {
            Redemption::Refuse => Ok(Change::nothing(None)),
            Redemption::Reuse(family) => end_reused(tx, family, now).await,
            Redemption::Accept => {
                tx.room_to_grow()?;
                let user = users::find(tx, grant.user).await?;
                if user.is_none_or(|user| user.may_use_api(now, self.accounts).is_err()) {
                    return Ok(Change::nothing(None));
                }
                let fresh = Fresh {
                    application: Some(grant.application),
                    user: Some(grant.user),
                    scopes: &grant.scopes,
                    redirect_uri: Some(&grant.redirect_uri),
                    authenticated_at: grant.authenticated_at,
                    lifetime: self.lifetime,
                };
                let issued = begin(tx, &fresh, now).await?;
                if !oauth_access_grants::redeem(tx, self.code, issued.token.family_id, now).await? {
                    return Err(StoreError::Clash.into());
                }
                let issued = Issued { nonce: grant.nonce, ..issued };
                let audit = created(&issued, "");
                Ok(Change::new(Some(issued), [audit]))
            }
        }
    }
}

/// RFC 6749 section 4.1.2: a client that presents a code once more may not be the only one who has its credentials.
async fn end_reused(tx: &mut Tx, family: FamilyId, now: Timestamp) -> Result<Change<Option<Issued>>, Failed> {
    if token_families::end(tx, family, EndReason::Theft, now).await? {
        let audit = Audit::new("code.reuse_detected", Target::new("token_family", family.0));
        return Ok(Change::new(None, [audit]));
    }
    Ok(Change::nothing(None))
}

/// An application gets a token for itself (RFC 6749 section 4.4).
pub struct ClientCredentials {
    /// The application, which has authenticated.
    pub client: ApplicationId,
    /// What it opens.
    pub scopes: Scopes,
    /// How long the access token lives.
    pub lifetime: Duration,
}

impl Operation for ClientCredentials {
    type Output = Issued;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Issued>, Failed> {
        let fresh = Fresh {
            application: Some(self.client),
            user: None,
            scopes: &self.scopes,
            redirect_uri: None,
            authenticated_at: None,
            lifetime: self.lifetime,
        };
        let issued = begin(tx, &fresh, now).await?;
        let audit = created(&issued, "");
        Ok(Change::new(issued, [audit]))
    }
}

/// A token whose secrets were chosen outside, as in a seed for tests; no grant led to it.
pub struct Give {
    /// The application that holds it.
    pub application: ApplicationId,
    /// `None`: it is the application's own, and has no refresh token.
    pub user: Option<UserId>,
    /// What it opens.
    pub scopes: Scopes,
    /// The access token in clear.
    pub access: Plaintext,
    /// The refresh token in clear. `None`: it has none.
    pub refresh: Option<Plaintext>,
    /// How long the access token lives.
    pub lifetime: Duration,
}

impl Operation for Give {
    type Output = Issued;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Issued>, Failed> {
        let fresh = Fresh {
            application: Some(self.application),
            user: self.user,
            scopes: &self.scopes,
            redirect_uri: None,
            authenticated_at: None,
            lifetime: self.lifetime,
        };
        let issued = begin_with(tx, &fresh, (self.access.clone(), self.refresh.clone()), now).await?;
        for chosen in [Some(&self.access), self.refresh.as_ref()].into_iter().flatten() {
            personal_access_tokens::note_chosen_secret(tx, chosen.digest()).await?;
        }
        let audit = created(&issued, ", chosen");
        Ok(Change::new(issued, [audit]))
    }
}

/// Somebody's password was right (RFC 6749 section 4.3).
pub struct PasswordGrant {
    /// The application. `None`: no client was named.
    pub client: Option<ApplicationId>,
    /// Whose password it was.
    pub user: UserId,
    /// Password digest and state that were looked at. Hashing takes time, and both may have changed meanwhile.
    pub seen: (String, AccountState),
    /// What the token opens.
    pub scopes: Scopes,
    /// How long the access token lives.
    pub lifetime: Duration,
}

impl Operation for PasswordGrant {
    /// `None`: it is no longer as it was seen.
    type Output = Option<Issued>;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Option<Issued>>, Failed> {
        if !users::verified(tx, self.user, (&self.seen.0, self.seen.1)).await? {
            return Ok(Change::nothing(None));
        }
        let fresh = Fresh {
            application: self.client,
            user: Some(self.user),
            scopes: &self.scopes,
            redirect_uri: None,
            authenticated_at: Some(now),
            lifetime: self.lifetime,
        };
        let issued = begin(tx, &fresh, now).await?;
        let audit = created(&issued, " by password");
        Ok(Change::new(Some(issued), [audit]))
    }
}

/// Ends the family of an OAuth token, whichever of its secrets was presented (rotation.md rule 12).
#[derive(Clone, Copy, Debug)]
pub struct Revoke {
    /// The family that ends. One that has ended already is no error.
    pub family: FamilyId,
}

impl Operation for Revoke {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        if token_families::end(tx, self.family, EndReason::Revoked, now).await? {
            let audit = Audit::new("token.revoked", Target::new("token_family", self.family.0));
            return Ok(Change::new((), [audit]));
        }
        Ok(Change::already(()))
    }
}

//! Service accounts: bots that belong to this server, a group or a project, and have tokens like a person
//! (rest-api.md 2.15).

use data_encoding::HEXLOWER;
use tollhouse_domain::access::ability::Ability;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::random;
use tollhouse_domain::text::name_fault;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::PersonalAccessToken;
use tollhouse_domain::user::{AccountState, User, UserKind, is_email};
use tollhouse_store::bots::{self, Bot, BotKind};
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{namespaces, personal_access_tokens, token_families, users};

use crate::operations::resource_access_tokens::{lock, remove};
use crate::operations::rotate::{RotateById, Successor};
use crate::operations::standing::require;
use crate::operations::tokens::Asker;
use crate::operations::tokens::{CreateToken, Created, Revoke};
use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// What a service account belongs to, and who asks. Whoever asks must be an administrator, an owner of the top-level group,
/// or a maintainer of the project; and no service account.
#[derive(Clone, Debug)]
pub struct Home {
    /// `None`: this server.
    pub of: Option<MembershipSource>,
    /// Who asks. `None`: the operator.
    pub caller: Option<Asker>,
}

impl Home {
    /// Whether the caller may manage the service accounts there at the commit.
    async fn authorize(&self, tx: &mut Tx, now: Timestamp) -> Result<Option<User>, Failed> {
        if let Some(of) = self.of {
            lock(tx, of).await?;
        }
        let Some(caller) = &self.caller else { return Ok(None) };
        let user = match self.of {
            Some(of) => require(tx, caller.user, Ability::AdminServiceAccounts, of, now).await?.user,
            None => {
                let user = users::find(tx, caller.user).await?;
                user.filter(|user| user.administrator && user.state == AccountState::Active)
                    .ok_or(Refusal::NotAllowed)?
            }
        };
        if let Some(MembershipSource::Group(group)) = self.of
            && namespaces::find(tx, group).await?.is_some_and(|group| group.parent_id.is_some())
        {
            return Err(Refusal::NotAllowed.into());
        }
        // A bot could create accounts that remain when the bot itself is removed.
        if user.kind != UserKind::Human {
            return Err(Refusal::NotAllowed.into());
        }
        Ok(Some(user))
    }

    /// A service account of this home.
    async fn account(&self, tx: &mut Tx, id: UserId) -> Result<User, Failed> {
        let bot = bots::find(tx, id).await?;
        if bot != Some(Bot { kind: BotKind::ServiceAccount, home: self.of }) {
            return Err(Refusal::NotFound(ResourceKind::User).into());
        }
        users::find(tx, id).await?.ok_or(Failed::Inconsistent)
    }

    /// A token of a service account of this home.
    async fn token(
        &self,
        tx: &mut Tx,
        (account, id): (UserId, PersonalAccessTokenId),
    ) -> Result<PersonalAccessToken, Failed> {
        let found = personal_access_tokens::find(tx, id).await?.map(|found| found.token);
        found.filter(|token| token.user_id == account).ok_or_else(|| Refusal::NotFound(ResourceKind::Record).into())
    }

    /// Whether the caller may hold a token of the account with these scopes. Only administrators hold one of an account that
    /// was made an administrator.
    fn may_hold(&self, caller: Option<&User>, account: &User, scopes: &Scopes) -> bool {
        let administrator = caller.is_none_or(|caller| caller.administrator);
        let grantable = self.caller.as_ref().is_none_or(|caller| caller.may_grant(scopes));
        grantable && (administrator || !account.administrator)
    }
}

/// What a service account is called.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// The display name. `None`: as it is, or `Service account user`.
    pub name: Option<String>,
    /// `None`: as it is, or one that is made up.
    pub username: Option<String>,
    /// `None`: as it is, or one that is made up. Nobody has shown that another one is theirs, so it is not confirmed.
    pub email: Option<String>,
}

impl Names {
    fn faults(&self) -> Vec<(&'static str, FieldFault)> {
        let mut faults = Vec::new();
        faults.extend(self.name.as_deref().and_then(name_fault).map(|fault| ("name", fault.into())));
        match self.username.as_deref() {
            Some(username) if !namespace::valid_path(username) => faults.push(("username", FieldFault::PathCharacters)),
            Some(username) if namespace::reserved(username) => faults.push(("username", FieldFault::Reserved)),
            _ => {}
        }
        if self.email.as_deref().is_some_and(|email| !is_email(email)) {
            faults.push(("email", FieldFault::NotAnEmail));
        }
        faults
    }
}

/// Creates a service account. It is a member of nothing yet.
#[derive(Clone, Debug)]
pub struct CreateServiceAccount {
    /// What it belongs to.
    pub home: Home,
    /// What it is called.
    pub names: Names,
    /// The host of this server, for an address that is made up.
    pub host: String,
}

impl Operation for CreateServiceAccount {
    type Output = User;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<User>, Failed> {
        let caller = self.home.authorize(tx, now).await?;
        let faults = self.names.faults();
        if !faults.is_empty() {
            return Err(Refusal::Invalid(faults).into());
        }
        let of = self.home.of.map(|of| format!("{}_{}_", of.kind().as_str(), of.number())).unwrap_or_default();
        let made_up = || format!("service_account_{of}{}", HEXLOWER.encode(&random::<16>()));
        let username = self.names.username.clone().unwrap_or_else(made_up);
        let made_up = format!("{username}@noreply.{}", self.host);
        let new = users::NewUser {
            confirmed: self.names.email.is_none(),
            email: self.names.email.clone().unwrap_or(made_up),
            username,
            name: self.names.name.clone().unwrap_or_else(|| "Service account user".to_owned()),
            kind: UserKind::Bot,
            state: AccountState::Active,
            administrator: false,
            external: caller.as_ref().is_some_and(|caller| caller.external),
            created_by: caller.map(|caller| caller.id),
            password_digest: None,
        };
        let id = match users::insert(tx, &new, now).await {
            Err(StoreError::Taken) => return Err(taken(tx, &self.names, None).await?),
            made => made?,
        };
        bots::insert(tx, id, Bot { kind: BotKind::ServiceAccount, home: self.home.of }).await?;
        let user = users::find(tx, id).await?.ok_or(Failed::Inconsistent)?;
        let detail = format!("service account {}", user.username);
        Ok(Change::new(user, [Audit::new("user.created", target(id)).with(detail)]))
    }
}

/// Which of the two somebody else has.
async fn taken(tx: &mut Tx, names: &Names, own: Option<UserId>) -> Result<Failed, StoreError> {
    let mut faults = Vec::new();
    for (field, text) in [("username", &names.username), ("email", &names.email)] {
        let Some(text) = text else { continue };
        if users::by_login(tx, text).await?.is_some_and(|(user, _)| Some(user.id) != own) {
            faults.push((field, FieldFault::Taken));
        }
    }
    // Whoever had it is gone again, or a name that was made up is taken.
    if faults.is_empty() { Err(StoreError::Clash) } else { Ok(Refusal::Invalid(faults).into()) }
}

/// Removes a service account: all that it had opens nothing any more.
#[derive(Clone, Debug)]
pub struct RemoveServiceAccount {
    /// What it belongs to.
    pub home: Home,
    /// The account.
    pub id: UserId,
}

impl Operation for RemoveServiceAccount {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        self.home.authorize(tx, now).await?;
        let account = self.home.account(tx, self.id).await?;
        for family in token_families::live_of_user(tx, account.id).await? {
            token_families::end(tx, family, token_families::EndReason::Revoked, now).await?;
        }
        remove(tx, &account, now).await?;
        Ok(Change::new((), [Audit::new("user.removed", target(account.id)).with("service account")]))
    }
}

/// Creates a token of a service account.
#[derive(Clone, Debug)]
pub struct CreateServiceAccountToken {
    /// What the account belongs to.
    pub home: Home,
    /// The account is that of this operation. Its scopes are none that the caller could not use.
    pub create: CreateToken,
}

impl Operation for CreateServiceAccountToken {
    type Output = Created;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        let caller = self.home.authorize(tx, now).await?;
        let account = self.home.account(tx, self.create.user).await?;
        if !self.home.may_hold(caller.as_ref(), &account, &self.create.scopes) {
            return Err(Refusal::field("scopes", FieldFault::ScopesNotAvailable).into());
        }
        self.create.run(tx, now).await
    }
}

/// Revokes a token of a service account. The account stays.
#[derive(Clone, Debug)]
pub struct RevokeServiceAccountToken {
    /// What the account belongs to.
    pub home: Home,
    /// The account, and its token.
    pub token: (UserId, PersonalAccessTokenId),
}

impl Operation for RevokeServiceAccountToken {
    type Output = bool;
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<bool>, Failed> {
        self.home.authorize(tx, now).await?;
        self.home.account(tx, self.token.0).await?;
        let token = self.home.token(tx, self.token).await?;
        Revoke { id: token.id }.run(tx, now).await
    }
}

/// Rotates a token of a service account by its number.
#[derive(Clone, Debug)]
pub struct RotateServiceAccountToken {
    /// What the account belongs to.
    pub home: Home,
    /// The account, and its token.
    pub token: (UserId, PersonalAccessTokenId),
    /// The day from which the successor is dead. `None`: today + 7 days, or never if `require_expiry` is off.
    pub expires_at: Option<Date>,
    /// Whether the successor must end some day.
    pub require_expiry: bool,
}

impl Operation for RotateServiceAccountToken {
    type Output = Successor;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Successor>, Failed> {
        let caller = self.home.authorize(tx, now).await?;
        let account = self.home.account(tx, self.token.0).await?;
        let token = self.home.token(tx, self.token).await?;
        if !self.home.may_hold(caller.as_ref(), &account, &token.scopes) {
            return Err(Refusal::NotEligible.into());
        }
        let (expires_at, require_expiry) = (self.expires_at, self.require_expiry);
        RotateById { id: token.id, caller: None, expires_at, require_expiry }.run(tx, now).await
    }
}

fn target(id: UserId) -> Target {
    Target::new("user", id.0)
}

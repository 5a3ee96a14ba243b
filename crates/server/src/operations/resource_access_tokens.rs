//! Access tokens of groups and projects: personal access tokens of bots that belong to one (rest-api.md 2.10).

use data_encoding::HEXLOWER;
use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::access::ability::Ability;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::denial::Denial;
use tollhouse_domain::id::{PersonalAccessTokenId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::Scopes;
use tollhouse_domain::secret::random;
use tollhouse_domain::time::{Date, Timestamp};
use tollhouse_domain::token::{PersonalAccessToken, TokenStatus};
use tollhouse_domain::user::{AccountState, User, UserKind};
use tollhouse_store::bots::{self, Bot, BotKind};
use tollhouse_store::conn::Runs;
use tollhouse_store::error::Error as StoreError;
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{members, namespaces, personal_access_tokens, projects, users};

use crate::operations::rotate::{RotateById, RotateSelf, Successor};
use crate::operations::rotation::Rotated;
use crate::operations::standing::{Standing, require, standing};
use crate::operations::tokens::{self, Asker, CreateToken, Created, Revoke};
use crate::operations::{Failed, Operation};
use crate::refusal::{FieldFault, Refusal, ResourceKind};

/// Creates a bot, its membership and its token. The bot cannot do more than the caller: neither by its level nor by the
/// scopes of its token. Bots create none.
#[derive(Clone, Debug)]
pub struct CreateResourceToken {
    /// The group or project.
    pub resource: MembershipSource,
    /// Who asks. `None`: the operator.
    pub caller: Option<Asker>,
    /// Of the token and of the bot; at most 255 characters.
    pub name: String,
    /// `None`: there is none.
    pub description: Option<String>,
    /// What the token opens.
    pub scopes: Scopes,
    /// The level of the bot.
    pub level: AccessLevel,
    /// The day from which the token is dead. Without one: the last that is allowed, or never where that is.
    pub expires_at: Option<Date>,
    /// Whether the token must end some day.
    pub require_expiry: bool,
    /// The host of this server, for the address of the bot.
    pub host: String,
}

impl Operation for CreateResourceToken {
    type Output = Created;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Created>, Failed> {
        let on = self.resource.kind();
        lock(tx, self.resource).await?;
        let creator = match &self.caller {
            Some(caller) => Some(self.creator(tx, caller, now).await?),
            None => None,
        };
        let bot = self.bot(tx, creator.as_ref(), now).await?;
        bots::insert(tx, bot, Bot { kind: BotKind::AccessToken, home: Some(self.resource) }).await?;
        let by = creator.map(|creator| creator.id);
        members::insert(tx, self.resource, bot, self.level, None, by, now).await?;
        let create = CreateToken {
            user: bot,
            administrator: None,
            self_service: false,
            grantable: None,
            impersonation: false,
            name: self.name.clone(),
            description: self.description.clone(),
            scopes: self.scopes.clone(),
            expires_at: self.expires_at,
            require_expiry: self.require_expiry,
            secret: None,
        };
        let created = create.run(tx, now).await?.into_value();
        let (of, level) = (self.resource.number(), self.level as i64);
        let detail = format!("{} for {} {of}, bot {bot} as {level}", self.scopes, on.as_str());
        let token = Audit::new("token.created", tokens::target(created.token.id)).with(detail);
        let user = Audit::new("user.created", Target::new("user", bot.0)).with(format!("bot of {} {of}", on.as_str()));
        let member = Audit::new("member.added", Target::new(on.as_str(), of)).with(format!("user {bot} as {level}"));
        Ok(Change::new(created, [token, user, member]))
    }
}

impl CreateResourceToken {
    /// The caller, if they may create this very token.
    async fn creator(&self, tx: &mut Tx, caller: &Asker, now: Timestamp) -> Result<User, Failed> {
        let standing = require(tx, caller.user, Ability::CreateAccessTokens, self.resource, now).await?;
        if standing.user.kind != UserKind::Human {
            return Err(Refusal::NoAccessTokens(self.resource.kind()).into());
        }
        if !standing.reaches(Some(self.level)) {
            return Err(Refusal::LevelTooHigh.into());
        }
        if !caller.may_grant(&self.scopes) {
            return Err(Refusal::field("scopes", FieldFault::ScopesNotAvailable).into());
        }
        Ok(standing.user)
    }

    /// The account, which has no personal namespace: what it creates is the group's or project's.
    async fn bot(&self, tx: &mut Tx, creator: Option<&User>, now: Timestamp) -> Result<UserId, Failed> {
        let (on, of) = (self.resource.kind().as_str(), self.resource.number());
        let username = format!("{on}_{of}_bot_{}", HEXLOWER.encode(&random::<16>()));
        let new = users::NewUser {
            email: format!("{username}@noreply.{}", self.host),
            username,
            name: self.name.clone(),
            kind: UserKind::Bot,
            state: AccountState::Active,
            administrator: false,
            external: creator.is_some_and(|creator| creator.external),
            confirmed: true,
            created_by: creator.map(|creator| creator.id),
            password_digest: None,
        };
        match users::insert(tx, &new, now).await {
            // Another name next time.
            Err(StoreError::Taken) => Err(StoreError::Clash.into()),
            made => Ok(made?),
        }
    }
}

/// Revokes an access token. A bot without any other token that opens something goes with it.
#[derive(Clone, Copy, Debug)]
pub struct RevokeResourceToken {
    /// The group or project.
    pub resource: MembershipSource,
    /// The token. [`ResourceKind::AccessToken`] is told if there is none of this group or project.
    pub id: PersonalAccessTokenId,
    /// Who asks.
    pub caller: UserId,
}

impl Operation for RevokeResourceToken {
    type Output = ();
    const GROWS: bool = false;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<()>, Failed> {
        lock(tx, self.resource).await?;
        let caller = standing(tx, self.caller, self.resource, now).await?;
        let absent = || Refusal::NotFound(ResourceKind::AccessToken(self.resource.kind()));
        let token = find(tx, self.resource, self.id).await?.ok_or_else(absent)?;
        let bot = users::find(tx, token.user_id).await?.ok_or(Failed::Inconsistent)?;
        if !caller.is_able(Ability::ManageAccessTokens, self.resource.kind()) {
            return Err(Refusal::CannotDelete { user: caller.user.name, bot: bot.name }.into());
        }
        let revoked = Revoke { id: self.id }.run(tx, now).await?.into_value();
        let audit = Audit::new("token.revoked", tokens::target(self.id));
        if bots::has_live_token(tx, bot.id, now).await? {
            return Ok(if revoked { Change::new((), [audit]) } else { Change::already(()) });
        }
        remove(tx, &bot, now).await?;
        let gone = Audit::new("user.removed", Target::new("user", bot.id.0)).with("its last token was revoked");
        Ok(Change::new((), [audit, gone]))
    }
}

/// A bot goes: nothing that it ever had opens anything. Its row stays, so that its tokens are known as revoked and its number is
/// never given to anybody else.
pub(crate) async fn remove(tx: &mut Tx, bot: &User, now: Timestamp) -> Result<(), Failed> {
    users::set_state(tx, bot.id, bot.state, AccountState::Blocked, now).await?;
    members::remove_all(tx, bot.id).await?;
    bots::remove(tx, bot.id).await?;
    Ok(())
}

/// Rotates an access token by its number (rotation.md rule 9). Nobody gets hold of a level or a scope in this way that they do
/// not have themselves.
#[derive(Clone, Debug)]
pub struct RotateResourceToken {
    /// The group or project.
    pub resource: MembershipSource,
    /// The token. If there is none of this group or project, administrators are told
    /// [`ResourceKind::AccessToken`], others [`Refusal::NotYours`].
    pub id: PersonalAccessTokenId,
    /// Who asks.
    pub caller: Asker,
    /// The day from which the successor is dead. `None`: today + 7 days, or never if `require_expiry` is off.
    pub expires_at: Option<Date>,
    /// Whether the successor must end some day.
    pub require_expiry: bool,
}

/// What a rotated access token is followed by.
pub struct ResourceSuccessor {
    /// The token with its secret.
    pub successor: Successor,
    /// The level of the bot.
    pub level: Option<AccessLevel>,
}

impl Operation for RotateResourceToken {
    type Output = ResourceSuccessor;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<ResourceSuccessor>, Failed> {
        lock(tx, self.resource).await?;
        let caller = require(tx, self.caller.user, Ability::ManageAccessTokens, self.resource, now).await?;
        let Some(token) = find(tx, self.resource, self.id).await? else { return Err(self.absent(&caller).into()) };
        let level = level(tx, self.resource, token.user_id).await?;
        if !self.may_have(tx, &caller, level, &token).await? {
            return Err(Refusal::NotEligible.into());
        }
        let (expires_at, require_expiry) = (self.expires_at, self.require_expiry);
        let rotated = RotateById { id: self.id, caller: None, expires_at, require_expiry }.run(tx, now).await?;
        Ok(rotated.map(|successor| ResourceSuccessor { successor, level }))
    }
}

impl RotateResourceToken {
    /// Whether the caller may hold a token of this bot, which can be more than was created with it by now.
    async fn may_have(
        &self,
        tx: &mut Tx,
        caller: &Standing,
        level: Option<AccessLevel>,
        token: &PersonalAccessToken,
    ) -> Result<bool, Failed> {
        if !self.caller.may_grant(&token.scopes) {
            return Ok(false);
        }
        if caller.user.administrator {
            return Ok(true);
        }
        let bot = users::find(tx, token.user_id).await?.ok_or(Failed::Inconsistent)?;
        let elsewhere = members::is_in_another(tx, self.resource, bot.id).await?;
        Ok(caller.reaches(level) && !bot.administrator && !elsewhere)
    }

    fn absent(&self, caller: &Standing) -> Refusal {
        match caller.user.administrator {
            true => Refusal::NotFound(ResourceKind::AccessToken(self.resource.kind())),
            false => Refusal::NotYours,
        }
    }
}

/// An access token is presented for its own rotation.
pub struct RotateOwnResourceToken {
    /// The group or project of the path. [`Refusal::NotYours`] is told if the token is of another one.
    pub resource: MembershipSource,
    /// The rotation.
    pub rotation: RotateSelf,
}

impl Operation for RotateOwnResourceToken {
    type Output = Rotated<ResourceSuccessor>;
    const GROWS: bool = RotateSelf::GROWS;
    const REVOKES: bool = true;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Self::Output>, Failed> {
        let found = personal_access_tokens::by_digest(tx, self.rotation.presented.digest()).await?;
        let token = found.ok_or(Refusal::NotYours)?.token;
        let bot = token.user_id;
        if !belongs(tx, bot, self.resource).await? {
            return Err(match token.status {
                TokenStatus::Live { .. } => Refusal::NotYours.into(),
                // Its bot may have gone a moment ago.
                TokenStatus::Rotated | TokenStatus::Ended => Failed::Already(Refusal::Denied(Denial::Revoked)),
            });
        }
        let level = level(tx, self.resource, bot).await?;
        let rotated = self.rotation.run(tx, now).await?;
        Ok(rotated.map(|rotated| match rotated {
            Rotated::Successor(successor) => Rotated::Successor(ResourceSuccessor { successor, level }),
            Rotated::Wait { until } => Rotated::Wait { until },
            Rotated::Dead => Rotated::Dead,
        }))
    }
}

/// Locks the tree of groups that it is in, before anything of it is read.
pub(crate) async fn lock(tx: &mut Tx, resource: MembershipSource) -> Result<(), Failed> {
    let namespace = match resource {
        MembershipSource::Group(id) => id,
        MembershipSource::Project(id) => {
            projects::namespace(tx, id).await?.ok_or(Refusal::NotFound(ResourceKind::Project))?
        }
    };
    Ok(namespaces::lock_tree(tx, namespace).await?)
}

/// A token of a bot that belongs to this group or project.
pub(crate) async fn find(
    at: &mut impl Runs,
    resource: MembershipSource,
    id: PersonalAccessTokenId,
) -> Result<Option<PersonalAccessToken>, StoreError> {
    let found = personal_access_tokens::find(at, id).await?.map(|found| found.token);
    match found {
        Some(token) if belongs(at, token.user_id, resource).await? => Ok(Some(token)),
        _ => Ok(None),
    }
}

async fn belongs(at: &mut impl Runs, user: UserId, resource: MembershipSource) -> Result<bool, StoreError> {
    let bot = bots::find(at, user).await?;
    Ok(bot == Some(Bot { kind: BotKind::AccessToken, home: Some(resource) }))
}

/// The level that the bot was given in the group or project itself.
pub(crate) async fn level(
    at: &mut impl Runs,
    resource: MembershipSource,
    bot: UserId,
) -> Result<Option<AccessLevel>, StoreError> {
    Ok(members::find(at, resource, bot).await?.map(|member| member.level))
}

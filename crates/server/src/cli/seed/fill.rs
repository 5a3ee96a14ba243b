//! A seed is written: everything, in one transaction.

use std::time::Duration;

use futures_util::future::join_all;
use tollhouse_domain::audit::{Audit, Target};
use tollhouse_domain::id::{ProjectId, UserId};
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::namespace::Namespace;
use tollhouse_domain::secret::Plaintext;
use tollhouse_domain::time::Timestamp;
use tollhouse_store::token_families::{self, EndReason};
use tollhouse_store::tx::{Change, Tx};
use tollhouse_store::{namespaces, users as accounts};

use super::{End, Member, OauthToken, Seed, Token, Within};
use crate::cli::demo;
use crate::error::Error;
use crate::hasher::Hasher;
use crate::operations::applications::Created;
use crate::operations::grants::{Give, Issued};
use crate::operations::{Failed, Operation, members, tokens};

/// Makes everything that a seed asks for, in an empty database, and marks it as a demo's (T33).
pub struct Fill {
    seed: Seed,
    /// Of OAuth tokens that say nothing of it.
    lifetime: Duration,
}

/// What was made, each at the place that it has in the seed. Secrets are shown once.
pub struct Filled {
    /// Numbers of the users.
    pub users: Vec<UserId>,
    /// The groups.
    pub groups: Vec<Namespace>,
    /// Numbers of the projects.
    pub projects: Vec<ProjectId>,
    /// The personal access tokens, with their secrets.
    pub tokens: Vec<tokens::Created>,
    /// The applications, with their secrets.
    pub applications: Vec<Created>,
    /// The OAuth tokens, with their secrets.
    pub oauth_tokens: Vec<Issued>,
}

impl Fill {
    /// Hashes the passwords, as many at once as the hasher allows.
    pub async fn prepare(mut seed: Seed, hasher: &Hasher, lifetime: Duration) -> Result<Self, Error> {
        let digests = seed.users.iter().map(|user| async {
            match &user.password {
                Some(password) => Some(hasher.hash(password).await),
                None => None,
            }
        });
        let digests = join_all(digests).await;
        for (user, digest) in seed.users.iter_mut().zip(digests) {
            let Some(digest) = digest else { continue };
            if digest.is_empty() {
                return Err(Error::Internal);
            }
            user.create.password_digest = Some(digest);
            user.password = None;
        }
        Ok(Self { seed, lifetime })
    }

    pub(super) fn seed(&self) -> &Seed {
        &self.seed
    }

    async fn oauth_token(
        &self,
        tx: &mut Tx,
        token: &OauthToken,
        filled: &Filled,
        now: Timestamp,
    ) -> Result<Issued, Failed> {
        let user = token.user.map(|place| filled.users[place]);
        let refresh = || token.refresh_token.clone().unwrap_or_else(Plaintext::hex);
        let lifetime = token.lifetime.unwrap_or(self.lifetime);
        let give = Give {
            application: filled.applications[token.application].application.id,
            user,
            scopes: token.scopes.clone(),
            access: token.token.clone().unwrap_or_else(Plaintext::hex),
            refresh: user.map(|_| refresh()),
            lifetime,
        };
        let since = if token.expired { now - lifetime - A_SECOND } else { now };
        let issued = give.run(tx, since).await?.into_value();
        if token.revoked {
            token_families::end(tx, issued.token.family_id, EndReason::Revoked, now).await?;
        }
        Ok(issued)
    }
}

impl Operation for Fill {
    type Output = Filled;

    async fn run(&self, tx: &mut Tx, now: Timestamp) -> Result<Change<Filled>, Failed> {
        let Seed { users, groups, projects, tokens, applications, oauth_tokens, .. } = &self.seed;
        tx.invalidate_all();
        demo::claim(tx).await?;
        let mut filled = Filled {
            users: Vec::with_capacity(users.len()),
            groups: Vec::with_capacity(groups.len()),
            projects: Vec::with_capacity(projects.len()),
            tokens: Vec::with_capacity(tokens.len()),
            applications: Vec::with_capacity(applications.len()),
            oauth_tokens: Vec::with_capacity(oauth_tokens.len()),
        };
        for user in users {
            filled.users.push(user.create.run(tx, now).await?.into_value());
        }
        for group in groups {
            let mut create = group.create.clone();
            create.parent = group.parent.map(|place| filled.groups[place].id);
            let made = create.run(tx, now).await?.into_value();
            join(tx, MembershipSource::Group(made.id), &group.members, &filled.users, now).await?;
            filled.groups.push(made);
        }
        for project in projects {
            let personal;
            let namespace = match project.within {
                Within::Group(place) => &filled.groups[place],
                Within::User(place) => {
                    personal = namespace_of(tx, filled.users[place]).await?;
                    &personal
                }
            };
            let creator = project.creator.map(|place| filled.users[place]);
            let made = project.plan.carry_out(tx, namespace, creator, now).await?.into_value();
            join(tx, MembershipSource::Project(made), &project.members, &filled.users, now).await?;
            filled.projects.push(made);
        }
        for token in tokens {
            filled.tokens.push(token.make(tx, filled.users[token.user], now).await?);
        }
        for application in applications {
            let uid = application.client_id.clone().map_or_else(Plaintext::hex, Plaintext::new);
            let secret = application.client_secret.clone().unwrap_or_else(Plaintext::application_secret);
            let made = application.create.register(tx, uid.reveal(), secret, now).await?.into_value();
            filled.applications.push(made);
        }
        for token in oauth_tokens {
            let made = self.oauth_token(tx, token, &filled, now).await?;
            filled.oauth_tokens.push(made);
        }
        let audit = Audit::new("instance.seeded", Target::new("instance", 1)).with(self.seed.counts());
        Ok(Change::new(filled, [audit]))
    }
}

impl Token {
    async fn make(&self, tx: &mut Tx, user: UserId, now: Timestamp) -> Result<tokens::Created, Failed> {
        let today = now.date();
        let day = match self.end {
            End::Usual => None,
            End::On(day) => Some(day),
            End::Past => Some(today.plus_days(-1)),
        };
        let create = tokens::CreateToken {
            user,
            administrator: None,
            self_service: false,
            grantable: None,
            impersonation: false,
            name: self.name.clone(),
            scopes: self.scopes.clone(),
            expires_at: day,
            // A file may outlive the longest life of a token.
            description: None,
            require_expiry: day.is_none(),
            secret: self.secret.clone(),
        };
        // What is dead today was made while it could still be used.
        let since = day.filter(|day| *day <= today).map_or(now, |day| day.plus_days(-1).start());
        let made = create.run(tx, since).await?.into_value();
        if self.revoked {
            token_families::end(tx, made.token.family_id, EndReason::Revoked, now).await?;
        }
        Ok(made)
    }
}

async fn namespace_of(tx: &mut Tx, user: UserId) -> Result<Namespace, Failed> {
    let user = accounts::find(tx, user).await?.ok_or(Failed::Inconsistent)?;
    let namespace = user.namespace_id.ok_or(Failed::Inconsistent)?;
    namespaces::find(tx, namespace).await?.ok_or(Failed::Inconsistent)
}

async fn join(
    tx: &mut Tx,
    of: MembershipSource,
    all: &[Member],
    users: &[UserId],
    now: Timestamp,
) -> Result<(), Failed> {
    for member in all {
        let Member { user, level, expires_at } = *member;
        let _ = members::Add { of, user: users[user], level, expires_at }.run(tx, now).await?;
    }
    Ok(())
}

const A_SECOND: Duration = Duration::from_secs(1);

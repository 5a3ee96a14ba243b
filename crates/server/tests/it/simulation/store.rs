//! The real store as the database of a simulated network. Its clock is that of the test; its connections belong to a runtime of their
//! own, so that the scheduler, which waits for nobody, can wait for them.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::runtime::Runtime;
use tollhouse::operations::revocations::RevokeSelected;
use tollhouse::operations::{
    Operation, applications, deploy_tokens, groups, job_tokens, members, projects, tokens, users,
};
use tollhouse_domain::access::{AccessLevel, Visibility};
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, NodeId, Page};
use tollhouse_domain::audit::By;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::grantor::{GrantableScopes, Grantor};
use tollhouse_domain::id::{
    ApplicationId, DeployTokenId, JobTokenId, NamespaceId, PersonalAccessTokenId, ProjectId, UserId,
};
use tollhouse_domain::lookup::Lookup;
use tollhouse_domain::membership::MembershipSource;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Plaintext;
use tollhouse_store::db::{Db, Url};
use tollhouse_store::error::Error;
use tollhouse_store::invalidations::{self, Link};
use tollhouse_store::nodes;
use tollhouse_store::revocations::Selection;
use tollhouse_store::tx::{Change as Done, Committed, Until};

use super::model::{self, Change, Narrow};
use super::network::{Question, Told};
use crate::test_server::START;

pub struct Store {
    runtime: Runtime,
    db: Db,
    link: Link,
    owners: Vec<UserId>,
    /// Of deploy and job tokens, and whose jobs they are.
    project: ProjectId,
    runner: UserId,
    /// Whose applications they are; never blocked.
    registrar: UserId,
    tokens: BTreeMap<u64, Token>,
    narrow: BTreeMap<u64, NarrowToken>,
    blocked: BTreeMap<u64, bool>,
    clients: BTreeMap<u64, Client>,
    group: NamespaceId,
    members: BTreeMap<u64, bool>,
    /// Whether the group has left its path.
    away: bool,
    /// How many worlds there have been: a secret that somebody chooses is chosen once.
    worlds: u64,
}

struct Client {
    id: ApplicationId,
    uid: String,
    secrets: BTreeMap<u64, String>,
    stands: bool,
    narrowed: bool,
}

/// A deploy or job token.
struct NarrowToken {
    secret: String,
    id: i64,
    stands: bool,
}

struct Token {
    secret: String,
    id: PersonalAccessTokenId,
    owner: u64,
    stands: bool,
}

impl Store {
    pub fn open(url: &Url, owners: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (db, link, owners, registrar, group, project, runner) = runtime.block_on(async {
            let db = Db::open(url, 0).await.expect("a database");
            let link = db.link().await.expect("a link");
            let mut ids = Vec::new();
            for owner in 0..owners {
                let name = format!("owner{owner}");
                ids.push(perform(&db, users::CreateUser::person(&name, &name)).await.value);
            }
            let (name, path) = (model::PATH.to_owned(), model::PATH.to_owned());
            let group = groups::CreateGroup { name, path, parent: None, visibility: Visibility::Private, owner: None };
            let group = perform(&db, group).await.value.id;
            let runner = perform(&db, users::CreateUser::person("runner", "Runner")).await.value;
            let project = projects::CreateProject {
                creator: runner,
                name: Some("jobs".to_owned()),
                path: None,
                namespace: None,
                description: None,
                visibility: Visibility::Private,
            };
            let project = perform(&db, project).await.value;
            let registrar = perform(&db, users::CreateUser::person("registrar", "Registrar")).await.value;
            (db.clone(), link, ids, registrar, group, project, runner)
        });
        let (tokens, narrow, blocked, clients, members) = Default::default();
        Self {
            runtime,
            db,
            link,
            owners,
            registrar,
            project,
            runner,
            tokens,
            narrow,
            blocked,
            clients,
            group,
            members,
            away: false,
            worlds: 0,
        }
    }

    /// For one more run: nobody is there, everybody has their rights.
    pub fn begin(&mut self, mutant: Option<Mutant>) {
        self.db.faults.mutants.set(None);
        for owner in 0..self.owners.len() as u64 {
            self.perform(Change::Block { owner, blocked: false });
            self.perform(Change::Member { owner, member: false });
        }
        self.perform(Change::Move { away: false });
        self.runtime.block_on(async {
            let rows = nodes::all(&mut self.db.read().await.expect("a reader")).await.expect("the nodes");
            let rows: Vec<NodeId> = rows.into_iter().map(|node| node.id).collect();
            nodes::leave(&self.db, &rows).await.expect("they leave");
        });
        self.tokens.clear();
        self.narrow.clear();
        self.clients.clear();
        self.worlds += 1;
        self.db.faults.mutants.set(mutant);
    }

    pub fn secret(&self, token: u64) -> Option<String> {
        Some(self.tokens.get(&token).map_or_else(|| self.chosen(token), |token| token.secret.clone()))
    }

    pub fn narrow_secret(&self, token: u64) -> Option<String> {
        self.narrow.get(&token).map(|token| token.secret.clone())
    }

    pub fn credentials(&self, client: u64, secret: u64) -> Option<(String, String)> {
        let client = self.clients.get(&client)?;
        Some((client.uid.clone(), client.secrets.get(&secret)?.clone()))
    }

    pub fn membership(&self, owner: u64) -> (UserId, NamespaceId) {
        (self.owners[owner as usize], self.group)
    }

    fn chosen(&self, token: u64) -> String {
        format!("chosen-{}-{token}", self.worlds)
    }

    pub fn holds(&self, change: Change) -> bool {
        match change {
            Change::Revoke { token } => self.tokens.get(&token).is_some_and(|token| !token.stands),
            Change::RevokeNarrow { token, .. } => self.narrow.get(&token).is_some_and(|token| !token.stands),
            Change::Block { owner, blocked } => self.blocked.get(&owner).copied().unwrap_or_default() == blocked,
            Change::DeleteClient { client, .. } => self.clients.get(&client).is_some_and(|client| !client.stands),
            Change::NarrowClient { client, .. } => self.clients.get(&client).is_some_and(|client| client.narrowed),
            Change::Member { owner, member } => self.members.get(&owner).copied().unwrap_or_default() == member,
            Change::Move { away } => self.away == away,
            Change::Create { .. }
            | Change::Import { .. }
            | Change::CreateNarrow { .. }
            | Change::CreateClient { .. }
            | Change::RenewSecret { .. }
            | Change::RevokeAll { .. }
            | Change::Nothing => false,
        }
    }

    /// How far everybody must have read before it is acknowledged; `None`: there is nothing to do it to.
    pub fn perform(&mut self, change: Change) -> Option<Until> {
        match change {
            Change::Create { token, owner } | Change::Import { token, owner } => {
                let chosen = matches!(change, Change::Import { .. }).then(|| Plaintext::new(self.chosen(token)));
                let create = tokens::CreateToken {
                    user: self.owners[owner as usize],
                    administrator: None,
                    self_service: false,
                    grantable: None,
                    impersonation: false,
                    name: "simulated".into(),
                    scopes: Scopes::from([Scope::Api]),
                    expires_at: None,
                    description: None,
                    require_expiry: true,
                    secret: chosen,
                };
                let made = self.runtime.block_on(perform(&self.db, create));
                let secret = made.value.secret.reveal().to_owned();
                self.tokens.insert(token, Token { secret, id: made.value.token.id, owner, stands: true });
                Some(made.until)
            }
            Change::Revoke { token } => {
                let token = self.tokens.get_mut(&token)?;
                token.stands = false;
                Some(self.runtime.block_on(perform(&self.db, tokens::Revoke { id: token.id })).until)
            }
            Change::CreateNarrow { kind: Narrow::Deploy, token } => {
                let create = deploy_tokens::CreateDeployToken {
                    of: MembershipSource::Project(self.project),
                    name: "simulated".into(),
                    username: None,
                    scopes: DeployScope::ALL.iter().copied().collect(),
                    expires_at: None,
                };
                let made = self.runtime.block_on(perform(&self.db, create));
                let secret = made.value.secret.reveal().to_owned();
                self.narrow.insert(token, NarrowToken { secret, id: made.value.token.id.0, stands: true });
                Some(made.until)
            }
            Change::CreateNarrow { kind: Narrow::Job, token } => {
                let (project, user, lifetime) = (self.project, self.runner, Duration::from_secs(3600));
                let create = job_tokens::CreateJobToken { project, user, lifetime };
                let made = self.runtime.block_on(perform(&self.db, create));
                let secret = made.value.secret.reveal().to_owned();
                self.narrow.insert(token, NarrowToken { secret, id: made.value.token.id.0, stands: true });
                Some(made.until)
            }
            Change::RevokeNarrow { kind, token } => {
                let token = self.narrow.get_mut(&token)?;
                token.stands = false;
                let id = token.id;
                Some(match kind {
                    Narrow::Deploy => {
                        let revoke = deploy_tokens::RevokeDeployToken { id: DeployTokenId(id) };
                        self.runtime.block_on(perform(&self.db, revoke)).until
                    }
                    Narrow::Job => {
                        let revoke = job_tokens::RevokeJobToken { id: JobTokenId(id) };
                        self.runtime.block_on(perform(&self.db, revoke)).until
                    }
                })
            }
            Change::RevokeAll { owner } => {
                let of_owner = self.tokens.values_mut().filter(|token| token.owner == owner);
                of_owner.for_each(|token| token.stands = false);
                let user = Some(self.owners[owner as usize]);
                let selection = Selection { user, ..Selection::default() };
                let revoke = RevokeSelected { selection, administrator: None, dry_run: false };
                Some(self.runtime.block_on(perform(&self.db, revoke)).until)
            }
            Change::Block { owner, blocked } => {
                self.blocked.insert(owner, blocked);
                let user = self.owners[owner as usize];
                let change = if blocked { users::SetState::block(user) } else { users::SetState::unblock(user) };
                Some(self.runtime.block_on(perform(&self.db, change)).until)
            }
            Change::CreateClient { client, secret } => {
                let create = applications::CreateApplication {
                    name: "simulated".into(),
                    redirect_uri: "https://simulated.test/".into(),
                    scopes: "api read_user".into(),
                    confidential: true,
                    trusted: false,
                    owner: Some(self.registrar),
                    by: None,
                    plain_http: false,
                };
                let made = self.runtime.block_on(perform(&self.db, create));
                let applications::Created { application, secret: text } = made.value;
                let secrets = BTreeMap::from([(secret, text.reveal().to_owned())]);
                self.clients.insert(
                    client,
                    Client { id: application.id, uid: application.uid, secrets, stands: true, narrowed: false },
                );
                Some(made.until)
            }
            Change::RenewSecret { client, secret, .. } => {
                let client = self.clients.get_mut(&client).filter(|client| client.stands)?;
                let renewed = self.runtime.block_on(perform(&self.db, applications::RenewSecret { id: client.id }));
                client.secrets.insert(secret, renewed.value.secret.reveal().to_owned());
                Some(renewed.until)
            }
            Change::DeleteClient { client, .. } => {
                let client = self.clients.get_mut(&client).filter(|client| client.stands)?;
                client.stands = false;
                Some(self.runtime.block_on(perform(&self.db, applications::Delete { id: client.id })).until)
            }
            Change::NarrowClient { client, .. } => {
                let client = self.clients.get_mut(&client).filter(|client| client.stands)?;
                client.narrowed = true;
                let by = Grantor {
                    user: self.registrar,
                    actor: self.registrar,
                    grantable: GrantableScopes::new(None, false),
                };
                let (name, scopes) = (None, Some("read_user".to_owned()));
                let change = applications::ChangeOwn { id: client.id, by, name, scopes };
                Some(self.runtime.block_on(perform(&self.db, change)).until)
            }
            Change::Member { .. } if self.holds(change) => Some(Until::Newest),
            Change::Move { away } => {
                self.away = away;
                let path = if away { model::ELSEWHERE } else { model::PATH };
                let (name, description, visibility, caller) = Default::default();
                let group = self.group;
                let change =
                    groups::UpdateGroup { group, caller, name, path: Some(path.to_owned()), description, visibility };
                Some(self.runtime.block_on(perform(&self.db, change)).until)
            }
            Change::Member { owner, member } => {
                self.members.insert(owner, member);
                let (user, group) = self.membership(owner);
                let of = MembershipSource::Group(group);
                let add = members::Add { of, user, level: AccessLevel::Guest, expires_at: None };
                Some(match member {
                    true => self.runtime.block_on(perform(&self.db, add)).until,
                    false => self.runtime.block_on(perform(&self.db, members::Remove { of, user })).until,
                })
            }
            Change::Nothing => self.runtime.block_on(async {
                let mut tx = self.db.begin().await.ok()?;
                nodes::announce(&mut tx);
                Some(tx.commit(Done::nothing(()), &By::system(), START).await.ok()?.until)
            }),
        }
    }

    pub fn read(&mut self, from: i64, node: NodeId) -> Page {
        self.runtime.block_on(self.link.read(from, node)).expect("the log")
    }

    pub fn say(&mut self, say: Say) {
        // A slow disk may take longer than a round has; the server says it with its next one.
        while let Err(error) = self.runtime.block_on(self.link.say(say, START)) {
            assert!(matches!(error, Error::Unavailable(_)), "said: {error}");
        }
    }

    pub fn register(&mut self, remove: &[NodeId], insert: NodeId) {
        let register = nodes::register(&self.db, remove, insert, "simulated", START);
        self.runtime.block_on(register).expect("a row");
    }

    pub fn leave(&mut self, rows: &[NodeId]) {
        self.runtime.block_on(nodes::leave(&self.db, rows)).expect("no row");
    }

    pub fn behind(&mut self, own: Option<NodeId>, position: Option<i64>) -> (i64, Vec<Behind>) {
        self.runtime.block_on(async {
            let mut reader = self.db.read().await.expect("a reader");
            let position = match position {
                Some(position) => position,
                None => invalidations::newest(&mut reader).await.expect("the log"),
            };
            (position, nodes::behind(&mut reader, own, position).await.expect("the nodes"))
        })
    }

    pub fn give_up_on(&mut self, remove: &[NodeId], mark: &[NodeId], position: i64) {
        self.runtime.block_on(nodes::give_up_on(&self.db, remove, mark, position)).expect("given up");
    }

    pub fn answer(&mut self, question: &Question) -> Told {
        self.runtime.block_on(async {
            let told = match question {
                Question::Find(key) => self.db.find(*key).await.map(|found| Told::Record(found.map(Box::new))),
                Question::FirstUse(family, head) => self.db.first_use(*family, *head, START).await.map(Told::Won),
                Question::Application(client_id) => {
                    self.db.application(client_id).await.map(|found| Told::Application(found.map(Box::new)))
                }
                Question::Memberships(user, of) => self.db.memberships(*user, *of, START).await.map(Told::Memberships),
                Question::UserMemberships(user) => {
                    self.db.user_memberships(*user, START).await.map(Told::UserMemberships)
                }
                _ => return Told::Refused,
            };
            told.unwrap_or(Told::Refused)
        })
    }
}

async fn perform<O: Operation>(db: &Db, operation: O) -> Committed<O::Output> {
    let mut tx = db.begin().await.expect("a transaction");
    let Ok(change) = operation.run(&mut tx, START).await else { panic!("an operation was refused") };
    tx.commit(change, &By::system(), START).await.expect("a commit")
}

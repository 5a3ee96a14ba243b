//! The database of the simulation, in memory: what is true, its log and its nodes, with every mistake that can be made
//! there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tollhouse_domain::access::AccessLevel;
use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, Entry, LogPosition, NodeId, OwnRow, Page};
use tollhouse_domain::application::Application;
use tollhouse_domain::deploy_token::DeployScope;
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{
    ApplicationId, DeployTokenId, FamilyId, GenerationId, JobTokenId, NamespaceId, ProjectId, UserId,
};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::lookup::{
    Credential, DeployTokenRecord, JobTokenRecord, Key, LastAddresses, Record, TokenRecord,
};
use tollhouse_domain::membership::{GroupMembership, Held, MembershipSource, Memberships, UserMemberships};
use tollhouse_domain::redirect::RedirectUris;
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::time::Timestamp;
use tollhouse_domain::token::TokenStatus;
use tollhouse_domain::user::{AccountState, User};

#[derive(Clone, Copy, Debug, Default)]
struct Row {
    seen: i64,
    marked: bool,
}

/// What is true, and the log of it.
#[derive(Clone, Default)]
pub struct Truth {
    /// Token, its owner, and whether it stands.
    tokens: BTreeMap<u64, (u64, bool)>,
    of_digest: BTreeMap<[u8; 32], u64>,
    /// Deploy and job tokens, and whether they stand.
    narrow: BTreeMap<u64, (Narrow, bool)>,
    blocked: BTreeMap<u64, bool>,
    /// The number of the secret that each client has now.
    clients: BTreeMap<u64, u64>,
    /// Clients that have lost a scope.
    narrowed: BTreeSet<u64>,
    /// Whether the group has left its path.
    away: bool,
    /// Who is in the one group there is.
    members: BTreeSet<u64>,
    entries: Vec<Entry>,
    nodes: BTreeMap<NodeId, Row>,
}

/// A credential that counts at few places, and belongs to no family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Narrow {
    Deploy,
    Job,
}

impl Narrow {
    pub fn key(self, secret: &str) -> Key {
        let digest = Digest::of(secret.as_bytes());
        match self {
            Self::Deploy => Key::Deploy(digest),
            Self::Job => Key::Job(digest),
        }
    }
}

/// What an operation makes true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Create {
        token: u64,
        owner: u64,
    },
    /// A secret that was chosen outside.
    Import {
        token: u64,
        owner: u64,
    },
    Revoke {
        token: u64,
    },
    CreateNarrow {
        kind: Narrow,
        token: u64,
    },
    RevokeNarrow {
        kind: Narrow,
        token: u64,
    },
    /// All tokens that the owner has at the commit, together.
    RevokeAll {
        owner: u64,
    },
    Block {
        owner: u64,
        blocked: bool,
    },
    CreateClient {
        client: u64,
        secret: u64,
    },
    /// `old` stops at once.
    RenewSecret {
        client: u64,
        old: u64,
        secret: u64,
    },
    DeleteClient {
        client: u64,
        secret: u64,
    },
    /// It may ask for a scope no longer. `secret`: one that it has.
    NarrowClient {
        client: u64,
        secret: u64,
    },
    Member {
        owner: u64,
        member: bool,
    },
    /// The group gets another path, so what is said of the old one holds no longer.
    Move {
        away: bool,
    },
    Nothing,
}

/// The group that owners are members of, or not.
pub const GROUP: NamespaceId = NamespaceId(1);

/// Where it stands at first, and where else.
pub const PATH: &str = "group";
pub const ELSEWHERE: &str = "elsewhere";

pub fn client_id(client: u64) -> String {
    format!("client-{client}")
}

pub fn client_secret(secret: u64) -> String {
    format!("secret-of-client-{secret}")
}

pub fn secret(token: u64) -> String {
    format!("secret-of-{token}")
}

fn digest(token: u64) -> Digest {
    Digest::of(secret(token).as_bytes())
}

fn family(token: u64) -> FamilyId {
    FamilyId(token as i64)
}

impl Change {
    /// The mistake of which it says nothing of it to the log.
    pub fn unmarked_by(self) -> Option<Mutant> {
        match self {
            Self::RevokeNarrow { kind: Narrow::Deploy, .. } => Some(Mutant::DeployTokenUnmarked),
            Self::RevokeNarrow { kind: Narrow::Job, .. } => Some(Mutant::JobTokenUnmarked),
            Self::CreateClient { .. } => Some(Mutant::ApplicationCreatedUnmarked),
            Self::RenewSecret { .. } => Some(Mutant::SecretRenewedUnmarked),
            Self::DeleteClient { .. } => Some(Mutant::ApplicationDeletedUnmarked),
            Self::RevokeAll { .. } => Some(Mutant::SelectedRevokedUnmarked),
            Self::NarrowClient { .. } => Some(Mutant::ApplicationNarrowedUnmarked),
            Self::Member { member: false, .. } => Some(Mutant::GroupLeftUnmarked),
            Self::Move { .. } => Some(Mutant::GroupMovedUnmarked),
            _ => None,
        }
    }

    /// What becomes untrue with it.
    pub fn forgets(self) -> Vec<Invalidation> {
        match self {
            Self::Create { .. } | Self::CreateNarrow { .. } => Vec::new(),
            Self::RevokeNarrow { token, .. } => vec![Invalidation::Token(digest(token))],
            Self::Import { token, .. } => vec![Invalidation::Unknown(digest(token))],
            Self::Revoke { token } => vec![Invalidation::Family(family(token))],
            Self::Block { owner, .. } | Self::Member { owner, .. } | Self::RevokeAll { owner } => {
                vec![Invalidation::Owner(UserId(owner as i64))]
            }
            Self::CreateClient { client, .. } => vec![Invalidation::Unknown(Digest::of(client_id(client).as_bytes()))],
            Self::RenewSecret { client, .. }
            | Self::DeleteClient { client, .. }
            | Self::NarrowClient { client, .. } => {
                vec![Invalidation::Application(ApplicationId(client as i64))]
            }
            Self::Move { .. } => vec![Invalidation::Paths],
            Self::Nothing => vec![Invalidation::Nothing],
        }
    }
}

impl Truth {
    pub fn new(mark: i64) -> Self {
        let first = Entry { place: LogPosition { position: 0, mark }, what: Invalidation::Nothing };
        Self { entries: vec![first], ..Self::default() }
    }

    /// Whether it is so already.
    pub fn holds(&self, change: Change) -> bool {
        match change {
            Change::Revoke { token } => self.tokens.get(&token).is_some_and(|(_, stands)| !stands),
            Change::RevokeNarrow { token, .. } => self.narrow.get(&token).is_some_and(|(_, stands)| !stands),
            Change::Block { owner, blocked } => self.blocked.get(&owner).copied().unwrap_or_default() == blocked,
            Change::DeleteClient { client, .. } => !self.clients.contains_key(&client),
            Change::NarrowClient { client, .. } => self.narrowed.contains(&client),
            Change::Member { owner, member } => self.members.contains(&owner) == member,
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

    /// Whether there is something to do it to.
    pub fn can(&self, change: Change) -> bool {
        match change {
            Change::RenewSecret { client, .. } | Change::NarrowClient { client, .. } => {
                self.clients.contains_key(&client)
            }
            _ => true,
        }
    }

    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Create { token, owner } | Change::Import { token, owner } => {
                self.tokens.insert(token, (owner, true));
                self.of_digest.insert(digest(token).0, token);
            }
            Change::Revoke { token } => {
                if let Some((_, stands)) = self.tokens.get_mut(&token) {
                    *stands = false;
                }
            }
            Change::CreateNarrow { kind, token } => {
                self.narrow.insert(token, (kind, true));
            }
            Change::RevokeNarrow { token, .. } => {
                if let Some((_, stands)) = self.narrow.get_mut(&token) {
                    *stands = false;
                }
            }
            Change::RevokeAll { owner } => {
                let of_owner = self.tokens.values_mut().filter(|(of, _)| *of == owner);
                of_owner.for_each(|(_, stands)| *stands = false);
            }
            Change::Block { owner, blocked } => {
                self.blocked.insert(owner, blocked);
            }
            Change::CreateClient { client, secret } | Change::RenewSecret { client, secret, .. } => {
                self.clients.insert(client, secret);
            }
            Change::DeleteClient { client, .. } => {
                self.clients.remove(&client);
            }
            Change::NarrowClient { client, .. } => {
                self.narrowed.insert(client);
            }
            Change::Member { owner, member: true } => {
                self.members.insert(owner);
            }
            Change::Member { owner, member: false } => {
                self.members.remove(&owner);
            }
            Change::Move { away } => self.away = away,
            Change::Nothing => {}
        }
    }

    pub fn newest(&self) -> i64 {
        self.entries.iter().map(|entry| entry.place.position).max().unwrap_or_default()
    }

    pub fn append(&mut self, entry: Entry) {
        self.entries.push(entry);
        self.entries.sort_by_key(|entry| entry.place.position);
    }

    /// The sweep (D2).
    pub fn trim(&mut self, keep: usize) {
        let gone = self.entries.len().saturating_sub(keep.max(1));
        self.entries.drain(..gone);
    }

    pub fn read(&self, from: i64, node: NodeId) -> Page {
        let newest = self.newest();
        let wanted = |entry: &&Entry| entry.place.position >= from || entry.place.position == newest;
        let own = self.nodes.get(&node).map(|row| OwnRow { seen: row.seen, marked: row.marked });
        Page { entries: self.entries.iter().filter(wanted).copied().collect(), own }
    }

    pub fn register(&mut self, remove: &[NodeId], insert: NodeId) {
        self.leave(remove);
        self.nodes.insert(insert, Row::default());
    }

    pub fn has_row(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    pub fn leave(&mut self, rows: &[NodeId]) {
        self.nodes.retain(|id, _| !rows.contains(id));
    }

    pub fn say(&mut self, say: Say, unconditional: bool) {
        let there = unconditional || self.entries.iter().any(|entry| entry.place == say.place);
        if let (true, Some(row)) = (there, self.nodes.get_mut(&say.node)) {
            row.seen = say.place.position;
        }
    }

    pub fn clear_mark(&mut self, node: NodeId) {
        if let Some(row) = self.nodes.get_mut(&node) {
            row.marked = false;
        }
    }

    pub fn behind(&self, own: Option<NodeId>, position: i64) -> Vec<Behind> {
        let rows = self.nodes.iter().filter(|(id, row)| Some(**id) != own && row.seen < position);
        rows.map(|(id, row)| Behind { id: *id, marked: row.marked }).collect()
    }

    pub fn give_up_on(&mut self, remove: &[NodeId], mark: &[NodeId], position: i64) {
        for id in remove {
            if self.nodes.get(id).is_some_and(|row| row.seen < position) {
                self.nodes.remove(id);
            }
        }
        for id in mark {
            if let Some(row) = self.nodes.get_mut(id).filter(|row| row.seen < position) {
                row.marked = true;
            }
        }
    }

    fn find_narrow(&self, wanted: Key, somebody: &User) -> Option<Record> {
        let is = |(token, (kind, _)): &(&u64, &(Narrow, bool))| kind.key(&secret(**token)) == wanted;
        let (token, (kind, stands)) = self.narrow.iter().find(is)?;
        let (id, digest, revoked) = (*token as i64, digest(*token), !stands);
        Some(match kind {
            Narrow::Deploy => {
                let token = DeployTokenRecord {
                    id: DeployTokenId(id),
                    digest,
                    of: MembershipSource::Group(GROUP),
                    username: "simulated".into(),
                    scopes: DeployScope::ALL.iter().copied().collect(),
                    dead_from: None,
                    revoked,
                };
                Record { credential: Credential::DeployToken(Arc::new(token)), owner: None }
            }
            Narrow::Job => {
                let job = JobTokenRecord {
                    id: JobTokenId(id),
                    digest,
                    project: ProjectId(1),
                    created_at: Timestamp(0),
                    dead_from: Timestamp(i64::MAX),
                    revoked,
                };
                Record { credential: Credential::JobToken(Arc::new(job)), owner: Some(Arc::new(somebody.clone())) }
            }
        })
    }

    /// As `store/lookup.rs` would find it.
    pub fn find(&self, key: Key, somebody: &User) -> Option<Record> {
        if matches!(key, Key::Deploy(_) | Key::Job(_)) {
            return self.find_narrow(key, somebody);
        }
        let Key::Token(wanted) = key else { return None };
        let token = self.of_digest.get(&wanted.0)?;
        let (owner, stands) = self.tokens.get(token)?;
        let status = if *stands { TokenStatus::Live { used: true } } else { TokenStatus::Ended };
        let record = TokenRecord {
            id: GenerationId(*token as i64),
            family: family(*token),
            digest: wanted,
            scopes: Scopes::from([Scope::Api]),
            impersonation: false,
            application: None,
            client_id: None,
            label: None,
            created_at: Timestamp(0),
            dead_from: None,
            last_used_at: None.into(),
            last_used_ips: LastAddresses::from_words(""),
            status,
        };
        let blocked = self.blocked.get(owner).copied().unwrap_or_default();
        let state = if blocked { AccountState::Blocked } else { AccountState::Active };
        let owner = User { id: UserId(*owner as i64), state, ..somebody.clone() };
        Some(Record { credential: Credential::PersonalAccessToken(Arc::new(record)), owner: Some(Arc::new(owner)) })
    }

    /// As `store/oauth_applications.rs` would find it.
    pub fn application(&self, wanted: &str) -> Option<Application> {
        let (client, secret) = self.clients.iter().find(|(client, _)| client_id(**client) == wanted)?;
        Some(Application {
            id: ApplicationId(*client as i64),
            uid: wanted.to_owned(),
            secret_digest: Digest::of(client_secret(*secret).as_bytes()),
            name: "simulated".into(),
            redirect_uris: RedirectUris::parse("https://simulated.test/").expect("a URI"),
            scopes: Scopes::from([if self.narrowed.contains(client) { Scope::ReadUser } else { Scope::Api }]),
            confidential: true,
            trusted: false,
            owner: None,
            created_at: Timestamp(0),
        })
    }

    fn path(&self) -> &'static str {
        if self.away { ELSEWHERE } else { PATH }
    }

    /// As `store/members.rs` would find them.
    pub fn memberships(&self, user: UserId) -> Memberships {
        let held = self.members.contains(&(user.0 as u64)).then_some(GUEST);
        Memberships { path: Some(self.path().into()), held: held.into_iter().collect() }
    }

    pub fn user_memberships(&self, user: UserId) -> UserMemberships {
        let group = GroupMembership { id: GROUP, full_path: self.path().into(), held: GUEST, direct: true };
        let groups = self.members.contains(&(user.0 as u64)).then_some(group);
        UserMemberships { groups: groups.into_iter().collect(), projects: Box::default() }
    }
}

const GUEST: Held = Held { level: AccessLevel::Guest, expires_on: None };

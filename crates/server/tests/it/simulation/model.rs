//! The database of the simulation, in memory: what is true, its log and its nodes, with every mistake that can be made
//! there.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollhouse_domain::agreement::follower::Say;
use tollhouse_domain::agreement::{Behind, Entry, NodeId, OwnRow, Page, Place};
use tollhouse_domain::forget::Forget;
use tollhouse_domain::id::{FamilyId, GenerationId, UserId};
use tollhouse_domain::lookup::{Credential, Key, Record, TokenRecord};
use tollhouse_domain::scope::{Scope, Scopes};
use tollhouse_domain::secret::Digest;
use tollhouse_domain::token::Standing;
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
    blocked: BTreeMap<u64, bool>,
    entries: Vec<Entry>,
    nodes: BTreeMap<NodeId, Row>,
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
    Block {
        owner: u64,
        blocked: bool,
    },
    Nothing,
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
    /// Whether it makes anything untrue.
    pub fn forgets_something(self) -> bool {
        !matches!(self, Self::Create { .. })
    }

    /// What becomes untrue with it.
    pub fn forgets(self) -> Vec<Forget> {
        match self {
            Self::Create { .. } => Vec::new(),
            Self::Import { token, .. } => vec![Forget::Unknown(digest(token))],
            Self::Revoke { token } => vec![Forget::Family(family(token))],
            Self::Block { owner, .. } => vec![Forget::Owner(UserId(owner as i64))],
            Self::Nothing => vec![Forget::Nothing],
        }
    }
}

impl Truth {
    pub fn new(mark: i64) -> Self {
        let first = Entry { place: Place { position: 0, mark }, what: Forget::Nothing };
        Self { entries: vec![first], ..Self::default() }
    }

    /// Whether it is so already.
    pub fn holds(&self, change: Change) -> bool {
        match change {
            Change::Revoke { token } => self.tokens.get(&token).is_some_and(|(_, stands)| !stands),
            Change::Block { owner, blocked } => self.blocked.get(&owner).copied().unwrap_or_default() == blocked,
            Change::Create { .. } | Change::Import { .. } | Change::Nothing => false,
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
            Change::Block { owner, blocked } => {
                self.blocked.insert(owner, blocked);
            }
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

    /// As `store/lookup.rs` would find it.
    pub fn find(&self, key: Key, somebody: &User) -> Option<Record> {
        let Key::Token(wanted) = key else { return None };
        let token = self.of_digest.get(&wanted.0)?;
        let (owner, stands) = self.tokens.get(token)?;
        let standing = if *stands { Standing::Live { used: true } } else { Standing::Ended };
        let record = TokenRecord {
            id: GenerationId(*token as i64),
            family: family(*token),
            digest: wanted,
            scopes: Scopes::from([Scope::Api]),
            impersonation: false,
            application: None,
            client_id: None,
            dead_from: None,
            last_used_at: None,
            standing,
        };
        let blocked = self.blocked.get(owner).copied().unwrap_or_default();
        let state = if blocked { AccountState::Blocked } else { AccountState::Active };
        let owner = User { id: UserId(*owner as i64), state, ..somebody.clone() };
        Some(Record { credential: Credential::PersonalAccessToken(Arc::new(record)), owner: Some(Arc::new(owner)) })
    }
}

//! What was revoked together (rest-api.md 2.16).

use tollhouse_store::revocations::Selected;

use crate::entity::entity;
use crate::entity::types::{Integer, List, Text};

/// What was revoked, as far as it is shown.
pub struct Revoked {
    count: i64,
    ids: Vec<String>,
}

impl Revoked {
    /// Of all of them; the first [`MOST_SHOWN`] are named.
    pub fn of(all: &[Selected]) -> Self {
        let ids = all.iter().take(MOST_SHOWN).map(|one| format!("{}:{}", one.kind, one.id)).collect();
        Self { count: all.len() as i64, ids }
    }

    /// How many there are.
    pub fn count(&self) -> i64 {
        self.count
    }

    /// Kind and number of each that is named, as the audit log has them.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }
}

/// The audit log names all of them.
pub const MOST_SHOWN: usize = 1_000;

entity! {
    pub Revocations(it: Revoked) {
        count: Integer = it.count,
        ids: List<Text> = it.ids.iter(),
    }
}

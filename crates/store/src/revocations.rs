//! Many tokens revoked together, in an incident: which ones, in a few statements for all of them.

use std::collections::HashMap;

#[cfg(feature = "faults")]
use tollhouse_domain::faults::Mutant;
use tollhouse_domain::id::{ApplicationId, FamilyId, NamespaceId, UserId};
use tollhouse_domain::invalidation::Invalidation;
use tollhouse_domain::time::Timestamp;

use crate::engine::conn::Runs;
use crate::engine::query::query;
use crate::engine::tx::Tx;
use crate::error::Result;
use crate::list::{Piece, SIZES, Statement, among};
use crate::token_families::EndReason;

/// Which tokens. Each part that is given must hold; one without any part selects every token.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Whose tokens.
    pub user: Option<UserId>,
    /// Of which application; such a token is never a personal one.
    pub application: Option<ApplicationId>,
    /// Whose owner is a member of this group now, or of a group above it.
    pub group: Option<NamespaceId>,
    /// Whose family has a token that was created earlier. So a token that was rotated since is selected too: whoever had the
    /// old one may have rotated it.
    pub before: Option<Timestamp>,
    /// Whose name contains this text, in upper or lower case. An OAuth token has the name of its application.
    pub name_like: Option<String>,
}

/// A kind of token that can be selected. To add one, add a line to [`KINDS`].
struct Kind {
    /// As the audit log calls it.
    name: &'static str,
    /// `SELECT` of [`Candidate`] up to a condition that more can follow. `t` is the token.
    select: &'static str,
    /// The table, for tokens of the same family.
    table: &'static str,
    /// The column of the application. `None`: tokens of this kind have none.
    application: Option<&'static str>,
    /// Takes the right away: what comes before `IN` and the numbers of [`Candidate::key`], with `?` for the time and the
    /// reason. It leaves out what is dead, and a row of what it ended is its key and the number of the token.
    end: &'static str,
    /// What follows the numbers.
    ended: &'static str,
}

const END_FAMILY: &str = "UPDATE token_families SET ended_at = ?, end_reason = ? WHERE ended_at IS NULL AND ";

const KINDS: [Kind; 2] = [
    Kind {
        name: "personal_access_token",
        select: "SELECT f.id AS key, t.id, t.user_id AS owner_id, CAST(NULL AS BIGINT) AS application_id, t.name
                   FROM personal_access_tokens t CROSS JOIN token_families f
                  WHERE f.id = t.family_id AND f.head_id = t.id AND f.ended_at IS NULL",
        table: "personal_access_tokens",
        application: None,
        end: END_FAMILY,
        ended: " RETURNING id, head_id",
    },
    Kind {
        name: "oauth_access_token",
        select: "SELECT f.id AS key, t.id, t.user_id AS owner_id, t.application_id, COALESCE(a.name, '') AS name
                   FROM oauth_access_tokens t CROSS JOIN token_families f
                        LEFT JOIN oauth_applications a ON a.id = t.application_id
                  WHERE f.id = t.family_id AND f.head_id = t.id AND f.ended_at IS NULL",
        table: "oauth_access_tokens",
        application: Some("t.application_id"),
        end: END_FAMILY,
        ended: " RETURNING id, head_id",
    },
];

row! {
    struct Candidate {
        key: i64,
        id: i64,
        owner_id: Option<i64>,
        application_id: Option<i64>,
        name: String,
    }
}

/// A token that is selected.
#[derive(Clone, Copy, Debug)]
pub struct Selected {
    /// As the audit log calls its kind.
    pub kind: &'static str,
    /// Its number among those of its kind: of the head of its family.
    pub id: i64,
    /// Whose token it is. `None`: an application's own.
    pub owner: Option<UserId>,
    key: i64,
    application: Option<i64>,
}

/// The tokens that are selected and not revoked, expired ones too. By kind, then by number.
pub async fn selected(at: &mut impl Runs, selection: &Selection, now: Timestamp) -> Result<Vec<Selected>> {
    let mut all = Vec::new();
    for kind in &KINDS {
        let Some(statement) = candidates(kind, selection, now) else { continue };
        let rows: Vec<Candidate> = statement.query().all(at).await?;
        all.extend(rows.into_iter().filter(|row| selection.names(&row.name)).map(|row| Selected {
            kind: kind.name,
            id: row.id,
            owner: row.owner_id.map(UserId),
            key: row.key,
            application: row.application_id,
        }));
    }
    Ok(all)
}

/// Ends them all, and removes the codes that would become such tokens. Returns those that it ended, by kind and number.
pub async fn end(tx: &mut Tx, selection: &Selection, now: Timestamp) -> Result<Vec<Selected>> {
    // Codes first: whoever redeemed one before that has a token now.
    remove_codes(tx, selection, now).await?;
    let mut ended = Vec::new();
    let all = selected(tx, selection, now).await?;
    for kind in &KINDS {
        let of_kind: HashMap<i64, Selected> =
            all.iter().filter(|one| one.kind == kind.name).map(|one| (one.key, *one)).collect();
        let mut keys: Vec<i64> = of_kind.keys().copied().collect();
        // In one order, so that two of these cannot block each other.
        keys.sort_unstable();
        for keys in keys.chunks(MOST_AT_ONCE) {
            let mut text = Piece::new(kind.end).bind(now.0).bind(EndReason::Revoked.as_str().to_owned());
            text.append(&among("id", keys));
            text.push(kind.ended);
            let rows: Vec<(i64, i64)> = text.statement().query().all(tx).await?;
            // It may have been rotated since it was selected.
            ended.extend(rows.iter().filter_map(|(key, id)| Some(Selected { id: *id, ..*of_kind.get(key)? })));
        }
    }
    ended.sort_unstable_by_key(|one| (KINDS.iter().position(|kind| kind.name == one.kind), one.id));
    for entry in entries(selection, &ended) {
        tx.invalidate(entry);
        #[cfg(feature = "faults")]
        tx.unmark(Mutant::SelectedRevokedUnmarked);
    }
    Ok(ended)
}

/// As few as say it all: an application or an owner in place of each family. Very many are [`Invalidation::All`], which
/// empties the caches once and keeps the log short.
fn entries(selection: &Selection, ended: &[Selected]) -> Vec<Invalidation> {
    if ended.is_empty() {
        return Vec::new();
    }
    if let Some(application) = selection.application {
        return vec![Invalidation::Application(application)];
    }
    let mut of: HashMap<(Option<i64>, Option<i64>), (usize, i64)> = HashMap::new();
    for one in ended {
        let holder = match one.owner {
            Some(owner) => (Some(owner.0), None),
            None => (None, one.application),
        };
        of.entry(holder).or_insert((0, one.key)).0 += 1;
    }
    let mut entries = Vec::with_capacity(of.len());
    for (holder, (count, family)) in of {
        entries.push(match holder {
            (Some(owner), _) if count > 1 => Invalidation::Owner(UserId(owner)),
            (None, Some(application)) if count > 1 => Invalidation::Application(ApplicationId(application)),
            // Nobody's and no application's: a row of an older version.
            (None, None) if count > 1 => return vec![Invalidation::All],
            _ => Invalidation::Family(FamilyId(family)),
        });
    }
    if entries.len() > MOST_ENTRIES { vec![Invalidation::All] } else { entries }
}

async fn remove_codes(tx: &mut Tx, selection: &Selection, now: Timestamp) -> Result<()> {
    let mut text = Piece::new(CODES);
    selection.of_owner("g.user_id", now, &mut text);
    if let Some(application) = selection.application {
        text = text.and(Piece::new("g.application_id = ?").bind(application.0));
    }
    if let Some(before) = selection.before {
        text = text.and(Piece::new("g.created_at < ?").bind(before.0));
    }
    let codes: Vec<(Vec<u8>, String)> = text.statement().query().all(tx).await?;
    for (digest, _) in codes.into_iter().filter(|(_, name)| selection.names(name)) {
        query(REMOVE_CODE).bind(digest).changed(tx).await?;
    }
    Ok(())
}

/// `None`: no token of this kind can be selected.
fn candidates(kind: &Kind, selection: &Selection, now: Timestamp) -> Option<Statement> {
    let mut text = Piece::new(kind.select);
    selection.of_owner("t.user_id", now, &mut text);
    if let Some(application) = selection.application {
        text = text.and(Piece::new(format!("{} = ?", kind.application?)).bind(application.0));
    }
    if let Some(before) = selection.before {
        let same_family =
            format!("EXISTS (SELECT 1 FROM {} g WHERE g.family_id = f.id AND g.created_at < ?)", kind.table);
        text = text.and(Piece::new(same_family).bind(before.0));
    }
    text.push(" ORDER BY t.id");
    Some(text.statement())
}

impl Selection {
    /// Whether no part is given.
    pub fn is_empty(&self) -> bool {
        let Self { user, application, group, before, name_like } = self;
        user.is_none() && application.is_none() && group.is_none() && before.is_none() && name_like.is_none()
    }

    fn of_owner(&self, column: &str, now: Timestamp, text: &mut Piece) {
        if let Some(user) = self.user {
            *text = std::mem::take(text).and(Piece::new(format!("{column} = ?")).bind(user.0));
        }
        if let Some(group) = self.group {
            let members = Piece::new(format!("{column} IN ({MEMBERS})")).bind(group.0).bind(i64::from(now.date().0));
            *text = std::mem::take(text).and(members);
        }
    }

    /// The two databases differ in what they take for a letter, so it is not for them to compare (0009).
    fn names(&self, name: &str) -> bool {
        self.name_like.as_ref().is_none_or(|text| name.to_lowercase().contains(&text.to_lowercase()))
    }
}

/// The statements that are built here, for the test that prepares each.
pub fn statements() -> Vec<Statement> {
    let whole = Selection {
        user: Some(UserId(1)),
        application: Some(ApplicationId(1)),
        group: Some(NamespaceId(1)),
        before: Some(Timestamp(1)),
        name_like: None,
    };
    let of_person = Selection { application: None, ..whole.clone() };
    let all = [&whole, &of_person].into_iter();
    all.flat_map(|selection| KINDS.iter().filter_map(|kind| candidates(kind, selection, Timestamp(0)))).collect()
}

/// How many numbers a statement names.
const MOST_AT_ONCE: usize = SIZES[SIZES.len() - 1] as usize;

/// A node that starts reads the whole log, and the sweep keeps 10,000 entries of it.
const MOST_ENTRIES: usize = 500;

const CODES: &str = "
    SELECT g.digest, a.name FROM oauth_access_grants g JOIN oauth_applications a ON a.id = g.application_id
     WHERE g.redeemed_at IS NULL";

const MEMBERS: &str = "
    WITH RECURSIVE up(id, parent_id) AS (
        SELECT id, parent_id FROM namespaces WHERE id = ?
        UNION SELECT n.id, n.parent_id FROM namespaces n JOIN up ON n.id = up.parent_id
    )
    SELECT m.user_id FROM members m JOIN up ON m.source_kind = 'group' AND m.source_id = up.id
     WHERE m.expires_on IS NULL OR m.expires_on > ?";

statements! {
    REMOVE_CODE = "DELETE FROM oauth_access_grants WHERE digest = $1 AND redeemed_at IS NULL";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_stands_for_as_many_tokens_as_it_can() {
        let token = |owner: Option<i64>, application: Option<i64>, key: i64| Selected {
            kind: "oauth_access_token",
            id: key,
            owner: owner.map(UserId),
            key,
            application,
        };
        let any = Selection::default();
        let told = |ended: &[Selected]| {
            let mut told: Vec<String> = entries(&any, ended).iter().map(|entry| format!("{entry:?}")).collect();
            told.sort();
            told
        };
        assert!(told(&[]).is_empty());
        assert_eq!(told(&[token(Some(1), None, 7)]), ["Family(FamilyId(7))"]);
        let several =
            [token(Some(1), None, 7), token(Some(1), Some(3), 8), token(None, Some(3), 9), token(None, Some(3), 10)];
        assert_eq!(told(&several), ["Application(ApplicationId(3))", "Owner(UserId(1))"]);
        let many: Vec<_> = (0..=MOST_ENTRIES as i64).map(|n| token(Some(n), None, n)).collect();
        assert_eq!(told(&many), ["All"]);
        assert_eq!(told(&many[1..]).len(), MOST_ENTRIES);
        let of_one = Selection { application: Some(ApplicationId(3)), ..Selection::default() };
        assert_eq!(entries(&of_one, &several[1..2]), [Invalidation::Application(ApplicationId(3))]);
    }

    #[test]
    fn a_name_is_found_in_upper_and_lower_case() {
        let named = |text: &str| Selection { name_like: Some(text.to_owned()), ..Selection::default() };
        assert!(named("deploy").names("CI Deploy") && named("ÄRGER").names("ärger") && named("%").names("100 %"));
        assert!(!named("deploy").names("dep loy") && !named("_").names("x"));
        assert!(Selection::default().names("anything"));
    }
}

//! Lists of the audit log.

use tollhouse_domain::time::Timestamp;

use super::AuditEvent;
use crate::engine::conn::Runs;
use crate::error::Result;
use crate::list::{List, Order, Piece, Source, Span, Start, Statement};

/// What a line is about, as the API tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// A project.
    Project,
    /// A group.
    Group,
    /// An account.
    User,
    /// Anything else: tokens, applications, sessions.
    Instance,
}

impl Entity {
    const KINDS: [(Self, &'static str); 3] = [(Self::Project, "project"), (Self::Group, "group"), (Self::User, "user")];

    /// From `target_kind`.
    pub fn of(target_kind: &str) -> Self {
        let known = Self::KINDS.into_iter().find(|(_, kind)| *kind == target_kind);
        known.map_or(Self::Instance, |(entity, _)| entity)
    }
}

/// Which lines. Each part that is given must hold.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// What they are about, and of that the number of one row. Of the instance there is one, whose number is 1.
    pub entity: Option<(Entity, Option<i64>)>,
    /// From this instant on.
    pub after: Option<Timestamp>,
    /// Up to this instant.
    pub before: Option<Timestamp>,
}

/// The number of the instance as an entity.
pub const INSTANCE: i64 = 1;

/// A page, the newest first, and how many there are, counted up to 10,001.
pub async fn list(at: &mut impl Runs, filter: &Filter, span: &Span) -> Result<(Vec<AuditEvent>, i64)> {
    let list = lines(filter, true);
    Ok((list.rows(at, span).await?, list.total(at).await?))
}

/// The next ones after a line, which is named by its time and number: the newest first, or the oldest.
pub async fn following(
    at: &mut impl Runs,
    filter: &Filter,
    line: Option<(Timestamp, i64)>,
    limit: i64,
    newest_first: bool,
) -> Result<Vec<AuditEvent>> {
    let (filter, line) = one_bound(filter, line, newest_first);
    lines(&filter, newest_first).rows(at, &span(line, limit)).await
}

/// The nearer one of a filter's end and the line from which the page goes on, in whose direction it is: of two bounds of an
/// index, SQLite may take the farther one.
fn one_bound(
    filter: &Filter,
    line: Option<(Timestamp, i64)>,
    newest_first: bool,
) -> (Filter, Option<(Timestamp, i64)>) {
    let Some((time, _)) = line else { return (*filter, None) };
    match newest_first {
        true if filter.before.is_some_and(|before| before < time) => (*filter, None),
        true => (Filter { before: None, ..*filter }, line),
        false if filter.after.is_some_and(|after| after > time) => (*filter, None),
        false => (Filter { after: None, ..*filter }, line),
    }
}

fn span(line: Option<(Timestamp, i64)>, limit: i64) -> Span {
    match line {
        Some((time, id)) => Span { start: Start::After(Some(time.0.into()), id), limit },
        None => Span::offset(limit, 0),
    }
}

/// The statements of such lists.
pub fn lists(filter: &Filter, newest_first: bool) -> Vec<(&'static str, Statement)> {
    let list = lines(filter, newest_first);
    let (deeper, line) = one_bound(filter, Some((Timestamp(50_000), 7)), newest_first);
    let deep = lines(&deeper, newest_first).page(&span(line, 20));
    vec![("page", list.page(&span(None, 20))), ("page", deep), ("count", list.count())]
}

fn lines(filter: &Filter, newest_first: bool) -> List {
    let which = match filter.entity {
        None => Some(Piece::new("e.id > 0")),
        Some((Entity::Instance, None | Some(INSTANCE))) => {
            Some(Piece::new("e.target_kind NOT IN ('project', 'group', 'user')"))
        }
        Some((Entity::Instance, Some(_))) => None,
        Some((entity, id)) => {
            let kind = Entity::KINDS.into_iter().find(|(known, _)| *known == entity).map_or("", |(_, kind)| kind);
            let kind = Piece::new(format!("e.target_kind = '{kind}'"));
            Some(match id {
                Some(id) => kind.and(Piece::new("e.target_id = ?").bind(id)),
                None => kind,
            })
        }
    };
    let after = filter.after.map(|at| Piece::new("e.at >= ?").bind(at.0));
    let before = filter.before.map(|at| Piece::new("e.at <= ?").bind(at.0));
    List {
        alias: "e",
        with: Vec::new(),
        sources: which.into_iter().map(|which| Source::ordered("audit_events e", which)).collect(),
        filters: after.into_iter().chain(before).collect(),
        order: Order { key: Some("e.at"), descending: newest_first },
        columns: super::columns!("e.").into(),
        joined: " CROSS JOIN audit_events e WHERE e.id = page.id",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearer_bound_counts() {
        let (early, late) = (Timestamp(1), Timestamp(9));
        let filter = |after, before| Filter { entity: None, after, before };
        let line = Some((Timestamp(5), 7));
        for (given, newest_first, after, before, left) in [
            (filter(Some(early), Some(late)), true, Some(early), None, line),
            (filter(Some(early), Some(late)), false, None, Some(late), line),
            (filter(None, Some(early)), true, None, Some(early), None),
            (filter(Some(late), None), false, Some(late), None, None),
            (filter(None, Some(Timestamp(5))), true, None, None, line),
        ] {
            let (filter, line) = one_bound(&given, line, newest_first);
            assert_eq!((filter.after, filter.before, line), (after, before, left), "{given:?} {newest_first}");
        }
        let (unchanged, line) = one_bound(&filter(Some(early), Some(late)), None, true);
        assert_eq!((unchanged.after, unchanged.before, line), (Some(early), Some(late), None));
    }
}

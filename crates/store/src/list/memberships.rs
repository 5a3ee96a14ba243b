//! Conditions of lists that ask what somebody is a member of.

use tollhouse_domain::time::Timestamp;

use super::{Piece, found};

/// The recursive step of a table `up(id)` that goes from groups to those above them. Each is looked up by its number, so
/// that PostgreSQL has no join to choose.
macro_rules! parent {
    ($up:literal) => {
        concat!(
            "SELECT (SELECT a.parent_id FROM namespaces a WHERE a.id = ",
            $up,
            ".id) FROM ",
            $up,
            " WHERE ",
            $up,
            ".id IS NOT NULL"
        )
    };
}
pub(crate) use parent;

/// Memberships of one user that count on a day, from a level on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Whose.
    pub(crate) user: i64,
    /// Those that end on or before this day, in UTC, do not count.
    pub(crate) now: Timestamp,
    /// The least level. `None`: any.
    pub(crate) floor: Option<i64>,
}

impl Held {
    /// For a row of `members m`.
    fn row(self, kind: &str) -> Piece {
        let text = format!("{kind} AND m.user_id = ? AND (m.expires_on IS NULL OR m.expires_on > ?)");
        let row = Piece::new(text).bind(self.user).bind(i64::from(self.now.date().0));
        match self.floor {
            Some(floor) => row.and(Piece::new("m.access_level >= ?").bind(floor)),
            None => row,
        }
    }

    /// Rows of `members m` that are of projects.
    pub(crate) fn of_projects(self) -> Piece {
        self.row("m.source_kind = 'project'")
    }

    /// Rows of `members m` that are of groups.
    pub(crate) fn of_groups(self) -> Piece {
        self.row("m.source_kind = 'group'")
    }

    /// `mine(id)`: those groups and the ones below them.
    pub(crate) fn groups(self) -> Piece {
        let mut groups = Piece::new("mine(id) AS (SELECT m.source_id FROM members m WHERE ");
        groups.append(&self.of_groups());
        groups.push(" UNION SELECT n.id FROM mine LEFT JOIN namespaces n ON n.parent_id = mine.id");
        groups.push(&found("n"));
        groups.push(")");
        groups
    }

    /// `direct(id)`: projects of which somebody is a member without a group.
    pub(crate) fn projects(self) -> Piece {
        let mut projects = Piece::new("direct(id) AS (SELECT m.source_id FROM members m WHERE ");
        projects.append(&self.of_projects());
        projects.push(")");
        projects
    }

    /// Whether one of them is of this project.
    pub(crate) fn is_of_project(self, project: &str) -> Piece {
        let mut one = Piece::new("(SELECT 1 FROM members m WHERE ");
        one.append(&self.row(&format!("m.source_kind = 'project' AND m.source_id = {project}")));
        one.push(") IS NOT NULL");
        one
    }

    /// Whether one of them is of this group or of one above it, from below.
    pub(crate) fn is_of_group(self, group: &Piece) -> Piece {
        let mut one = Piece::new("EXISTS (WITH RECURSIVE up(id) AS (SELECT ");
        one.append(group);
        one.push(concat!(" UNION ", parent!("up"), ") SELECT 1 FROM up WHERE (SELECT 1 FROM members m WHERE "));
        one.append(&self.row("m.source_kind = 'group' AND m.source_id = up.id"));
        one.push(") IS NOT NULL)");
        one
    }
}

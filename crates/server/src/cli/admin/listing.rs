//! Lists: read in batches, printed as they come, ended by a reader who has seen enough.

use std::io::{ErrorKind, Write, stdout};

use super::operator::Operator;
use crate::cli::Failure;
use crate::json::Object;

/// What a list is of.
pub(super) trait Listing {
    /// What its rows are, in the plural.
    const WHAT: &'static str;
    /// The heads of the table, in their order.
    const COLUMNS: &'static [&'static str];
    /// What one row is made from.
    type Row;

    /// The next rows after this number, oldest first; none: that was all.
    async fn after(&self, operator: &Operator, id: i64, limit: i64) -> Result<Vec<Self::Row>, Failure>;

    /// The number that the next batch begins after.
    fn id(row: &Self::Row) -> i64;

    /// What people see of it, in the order of the columns. Text that people sent is made printable.
    fn cells(&self, operator: &Operator, row: &Self::Row) -> Vec<String>;

    /// What `--json` prints of it.
    fn object(&self, operator: &Operator, row: &Self::Row) -> Object;
}

/// A table for people, or an array with an object in each line. Nothing to list is said in words, or is an empty array.
pub(super) async fn list<L: Listing>(operator: &Operator, listing: &L) -> Result<(), Failure> {
    let mut table = Table::new(L::COLUMNS);
    let (mut last, mut first) = (0, true);
    loop {
        let rows = listing.after(operator, last, BATCH).await?;
        let mut text = String::new();
        if operator.json {
            for row in &rows {
                text.push_str(if last == 0 { "[\n" } else { ",\n" });
                text.push_str(&String::from_utf8_lossy(&listing.object(operator, row).finish()));
                last = L::id(row);
            }
            if rows.is_empty() {
                text.push_str(if last == 0 { "[]\n" } else { "\n]\n" });
            }
        } else if rows.is_empty() && first {
            text = format!("there are no {}\n", L::WHAT);
        } else {
            let cells: Vec<_> = rows.iter().map(|row| listing.cells(operator, row)).collect();
            table.write(&cells, first, &mut text);
            last = rows.last().map_or(last, L::id);
        }
        first = false;
        let mut out = stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        if rows.is_empty() {
            return Ok(());
        }
    }
}

/// Columns as wide as what stood in them so far: a list is not known to its end when its first line is printed.
struct Table {
    heads: &'static [&'static str],
    widths: Vec<usize>,
}

impl Table {
    fn new(heads: &'static [&'static str]) -> Self {
        Self { heads, widths: heads.iter().map(|head| head.len()).collect() }
    }

    fn write(&mut self, rows: &[Vec<String>], with_heads: bool, out: &mut String) {
        for row in rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if with_heads {
            self.line(self.heads.iter().copied(), out);
        }
        for row in rows {
            self.line(row.iter().map(String::as_str), out);
        }
    }

    fn line<'a>(&self, cells: impl Iterator<Item = &'a str>, out: &mut String) {
        let start = out.len();
        for (cell, width) in cells.zip(&self.widths) {
            out.push_str(cell);
            let room = width + 2 - cell.chars().count();
            out.extend(std::iter::repeat_n(' ', room));
        }
        out.truncate(start + out[start..].trim_end().len());
        out.push('\n');
    }
}

/// Lines that name what follows, one under the other.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let lines: Vec<String> = facts.iter().map(|(name, value)| format!("{name:width$}  {value}")).collect();
    lines.join("\n")
}

const BATCH: i64 = 500;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_never_get_narrower() {
        let mut table = Table::new(&["ID", "NAME"]);
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let mut text = String::new();
        table.write(&[row(["1", "é"]), row(["1234", ""])], true, &mut text);
        table.write(&[row(["5", "x"])], false, &mut text);
        assert_eq!(text, "ID    NAME\n1     é\n1234\n5     x\n");
        assert_eq!(facts(&[("id", "1".into()), ("name", "x".into())]), "id    1\nname  x");
    }
}

//! Lists: a `List` says which rows are wanted and in which order. The SQL of the page and of the count is built at run
//! time and contains only the conditions that the request uses. Only this module and the `list.rs` files of the tables
//! build SQL at run time.
//!
//! Values from a request are bound and never become part of the text. So there is one text for each combination of
//! conditions, and a connection caches a bounded number of prepared statements.

use std::borrow::Cow;

use crate::engine::conn::Runs;
use crate::engine::query::{Query, query};
use crate::engine::row::FromRow;
use crate::engine::value::Value;
use crate::error::Result;

pub(crate) mod memberships;

/// A piece of a statement, with a `?` for each value that is bound to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piece {
    text: Cow<'static, str>,
    values: Vec<Value<'static>>,
}

impl Piece {
    /// Nothing is bound to it yet; there must be a [`Piece::bind`] for each `?`.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), values: Vec::new() }
    }

    /// Binds the next `?`.
    pub(crate) fn bind(mut self, value: impl Into<Value<'static>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Text of our own; never a value from a request.
    pub(crate) fn push(&mut self, text: &str) {
        self.text.to_mut().push_str(text);
    }

    /// With what is bound to it.
    pub(crate) fn append(&mut self, piece: &Piece) {
        self.push(&piece.text);
        self.values.extend_from_slice(&piece.values);
    }

    /// Both conditions. A condition with `OR` in it must be in brackets.
    pub(crate) fn and(mut self, condition: impl Into<Piece>) -> Self {
        self.push(" AND ");
        self.append(&condition.into());
        self
    }

    /// With `$1`, `$2` in place of the question marks.
    pub(crate) fn statement(self) -> Statement {
        let mut text = String::with_capacity(self.text.len() + self.values.len());
        for (number, part) in self.text.split('?').enumerate() {
            if number > 0 {
                text.push('$');
                text.push_str(&number.to_string());
            }
            text.push_str(part);
        }
        Statement { text, values: self.values }
    }
}

impl From<&'static str> for Piece {
    fn from(text: &'static str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Piece {
    fn from(text: String) -> Self {
        Self::new(text)
    }
}

/// A text that runs on both databases, with what is bound to it.
#[derive(Clone, Debug)]
pub struct Statement {
    /// With `$1`, `$2` for the values.
    pub text: String,
    /// In the order of the parameters.
    pub values: Vec<Value<'static>>,
}

impl Statement {
    /// The statement, ready to run.
    pub fn query(self) -> Query<'static> {
        self.values.into_iter().fold(query(self.text), Query::bind)
    }
}

/// Rows that a list is made of. Those of two sources of one list are never the same.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// What comes after `FROM`: the table, perhaps with joins.
    pub(crate) from: &'static str,
    /// Which of its rows.
    pub(crate) when: Piece,
    /// A small table that the rows are looked up for. `None`: an index has them in the order of the list.
    per: Option<&'static str>,
}

impl Source {
    /// An index has its rows in the order of the list.
    pub(crate) fn ordered(from: &'static str, when: impl Into<Piece>) -> Self {
        Self { from, when: when.into(), per: None }
    }

    /// Its rows are looked up for each row of a small table and sorted. The outer join leaves PostgreSQL no choice: it would
    /// have to guess how many rows the small table has.
    pub(crate) fn per(of: &'static str, from: &'static str, when: impl Into<Piece>) -> Self {
        Self { from, when: when.into(), per: Some(of) }
    }

    /// Fewer of its rows.
    pub(crate) fn and(self, condition: impl Into<Piece>) -> Self {
        Self { when: self.when.and(condition), ..self }
    }
}

/// What the rows are sorted by. `id` decides between equals.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// An expression of an index; `None`: `id` alone.
    pub(crate) key: Option<&'static str>,
    /// `id` too is sorted that way.
    pub(crate) descending: bool,
}

/// Where a page begins, and how many rows it has at most.
#[derive(Clone, Debug)]
pub struct Span {
    /// The place in the order of the list.
    pub start: Start,
    /// How many rows at most.
    pub limit: i64,
}

/// The row before the first one of a page.
#[derive(Clone, Debug)]
pub enum Start {
    /// After so many rows. They are all passed over.
    Offset(i64),
    /// After the row with this key and `id` (keyset). No key in a list that is ordered by `id`.
    After(Option<Value<'static>>, i64),
}

impl Span {
    /// A page of `limit` rows after `offset` rows.
    pub fn offset(limit: i64, offset: i64) -> Self {
        Self { start: Start::Offset(offset), limit }
    }

    /// In a list that is ordered by `id`.
    pub fn after(id: i64, limit: i64) -> Self {
        Self { start: Start::After(None, id), limit }
    }
}

/// What a list shows, from which its statements are built.
#[derive(Clone, Debug)]
pub(crate) struct List {
    /// Name of the table in the sources.
    pub(crate) alias: &'static str,
    /// Parts of `WITH RECURSIVE` that the sources read.
    pub(crate) with: Vec<Piece>,
    /// Where the rows come from. None at all: the list is empty, and the database is not asked.
    pub(crate) sources: Vec<Source>,
    /// What holds for the rows of every source.
    pub(crate) filters: Vec<Piece>,
    /// The order of the rows.
    pub(crate) order: Order,
    /// Columns of a row.
    pub(crate) columns: Piece,
    /// What is joined to `page`, which has the `id` of each row; from ` CROSS JOIN` on.
    pub(crate) joined: &'static str,
}

impl List {
    /// The rows of a page, in their order.
    pub(crate) async fn rows<T: FromRow>(&self, at: &mut impl Runs, span: &Span) -> Result<Vec<T>> {
        if self.sources.is_empty() {
            return Ok(Vec::new());
        }
        let mut rows: Vec<T> = self.page(span).query().all(at).await?;
        rows.truncate(usize::try_from(span.limit).unwrap_or_default());
        Ok(rows)
    }

    /// How many rows there are, counted up to [`COUNTED`].
    pub(crate) async fn total(&self, at: &mut impl Runs) -> Result<i64> {
        if self.sources.is_empty() {
            return Ok(0);
        }
        self.count().query().one(at).await
    }

    /// First the numbers of the rows, from indexes if there is one for the order; then what is shown of them.
    pub(crate) fn page(&self, span: &Span) -> Statement {
        let mut page = self.with();
        page.push("page(id");
        page.push(if self.order.key.is_some() { ", ord) AS (" } else { ") AS (" });
        let (limit, offset) = match span.start {
            Start::Offset(offset) if offset > 0 => {
                let offset_piece = Piece::new(" OFFSET ?").bind(offset);
                (
                    at_most(span.limit),
                    Some((Piece::new(" LIMIT ?").bind(offset.saturating_add(span.limit)), offset_piece)),
                )
            }
            _ => (at_most(span.limit), None),
        };
        match &self.sources[..] {
            [only] => {
                self.ids(only, span, &mut page);
                page.append(&limit);
            }
            several => {
                page.push(if self.order.key.is_some() { "SELECT id, ord FROM (" } else { "SELECT id FROM (" });
                for (number, source) in several.iter().enumerate() {
                    page.push(if number > 0 { " UNION ALL SELECT * FROM (" } else { "SELECT * FROM (" });
                    self.ids(source, span, &mut page);
                    page.append(offset.as_ref().map_or(&limit, |(up_to, _)| up_to));
                    page.push(&format!(") AS s{number}"));
                }
                page.push(") AS merged");
                page.push(&self.order_by("ord", "id"));
                page.append(&limit);
            }
        }
        if let Some((_, offset)) = &offset {
            page.append(offset);
        }
        page.push(") SELECT ");
        page.append(&self.columns);
        page.push(" FROM page");
        page.push(self.joined);
        page.push(&self.order_by("page.ord", "page.id"));
        page.statement()
    }

    /// The statement that counts the rows, up to [`COUNTED`].
    pub(crate) fn count(&self) -> Statement {
        let mut count = self.with();
        count.push("counted(one) AS (");
        for (number, source) in self.sources.iter().enumerate() {
            count.push(if number > 0 { " UNION ALL SELECT 1" } else { "SELECT 1" });
            self.wanted(source, None, &mut count);
        }
        count.push(&format!(" LIMIT {COUNTED}) SELECT count(*) FROM counted"));
        count.statement()
    }

    fn with(&self) -> Piece {
        let mut with = Piece::new("WITH RECURSIVE ");
        for part in &self.with {
            with.append(part);
            with.push(", ");
        }
        with
    }

    fn ids(&self, source: &Source, span: &Span, out: &mut Piece) {
        let (id, key) = (format!("{}.id", self.alias), self.order.key);
        let after = self.after(source, span);
        out.push(&match key {
            Some(key) => format!("SELECT {id}, {key} AS ord"),
            None => format!("SELECT {id}"),
        });
        self.wanted(source, after.as_ref(), out);
        out.push(&self.order_by(key.unwrap_or_default(), &id));
    }

    fn after(&self, source: &Source, span: &Span) -> Option<Piece> {
        let Start::After(value, id) = &span.start else { return None };
        let Self { alias, order, .. } = self;
        let (way, back) = if order.descending { ('<', '>') } else { ('>', '<') };
        let ordered = source.per.is_none();
        Some(match (value, order.key) {
            // SQLite does not see that the second condition bounds the index of an expression.
            (Some(value), Some(key)) if ordered => {
                let text = format!("{key} {way}= ? AND ({key}, {alias}.id) {way} (?, ?)");
                Piece::new(text).bind(value.clone()).bind(value.clone()).bind(*id)
            }
            // It takes no index for what is negated, nor for what has a sign.
            (Some(value), Some(key)) => {
                Piece::new(format!("NOT ({key}, {alias}.id) {back}= (?, ?)")).bind(value.clone()).bind(*id)
            }
            _ if ordered => Piece::new(format!("{alias}.id {way} ?")).bind(*id),
            _ => Piece::new(format!("+{alias}.id {way} ?")).bind(*id),
        })
    }

    fn wanted(&self, source: &Source, after: Option<&Piece>, out: &mut Piece) {
        out.push(&match source.per {
            Some(of) => format!(" FROM {of} LEFT JOIN {} ON ", source.from),
            None => format!(" FROM {} WHERE ", source.from),
        });
        out.append(&source.when);
        for piece in self.filters.iter().chain(after) {
            out.push(" AND ");
            out.append(piece);
        }
        if source.per.is_some() {
            out.push(&found(self.alias));
        }
    }

    fn order_by(&self, key: &str, id: &str) -> String {
        let way = if self.order.descending { " DESC" } else { "" };
        match self.order.key {
            Some(_) => format!(" ORDER BY {key}{way}, {id}{way}"),
            None => format!(" ORDER BY {id}{way}"),
        }
    }
}

/// Leaves out what an outer join did not find, in words that keep it one: a condition that `NULL` does not meet would not.
pub(crate) fn found(alias: &str) -> String {
    format!(" WHERE COALESCE({alias}.id, 0) > 0")
}

/// Up to the next larger of a few numbers, which stands in the text: PostgreSQL plans for one that is bound as if a tenth
/// of the table were asked for.
fn at_most(limit: i64) -> Piece {
    match SIZES.into_iter().find(|size| *size >= limit) {
        Some(size) => Piece::new(format!(" LIMIT {size}")),
        None => Piece::new(" LIMIT ?").bind(limit),
    }
}

/// `column IN (..)`, for as many numbers as the next larger of a few sizes: the last one is repeated.
pub(crate) fn among(column: &str, ids: &[i64]) -> Piece {
    let places = SIZES.into_iter().map(|size| size as usize).find(|size| *size >= ids.len()).unwrap_or(ids.len());
    let ids = ids.iter().chain(std::iter::repeat_n(ids.last().unwrap_or(&0), places - ids.len()));
    let values: Vec<_> = ids.take(places).map(|id| Value::Int(*id)).collect();
    let marks = vec!["?"; values.len()].join(", ");
    Piece { text: format!("{column} IN ({marks})").into(), values }
}

/// For `LIMIT` and `IN`.
pub(crate) const SIZES: [i64; 4] = [1, 20, 100, 500];

/// Lists are counted so far; it means "more than 10,000".
pub(crate) const COUNTED: i64 = 10_001;

#[cfg(test)]
mod tests {
    use super::*;

    fn list(sources: usize, key: Option<&'static str>) -> List {
        List {
            alias: "t",
            with: vec![Piece::new("near(id) AS (SELECT ?)").bind(7)],
            sources: (0..sources).map(|n| Source::ordered("t", Piece::new("t.a = ?").bind(n as i64))).collect(),
            filters: vec![Piece::new("t.b = ?").bind("b".to_owned())],
            order: Order { key, descending: true },
            columns: Piece::new("t.id, ? AS c").bind(9),
            joined: " CROSS JOIN t WHERE t.id = page.id",
        }
    }

    #[test]
    fn values_are_numbered_in_the_order_of_the_text() {
        let page = list(2, Some("t.k")).page(&Span::offset(20, 40));
        assert_eq!(
            page.text,
            "WITH RECURSIVE near(id) AS (SELECT $1), page(id, ord) AS (SELECT id, ord FROM (\
             SELECT * FROM (SELECT t.id, t.k AS ord FROM t WHERE t.a = $2 AND t.b = $3 ORDER BY t.k DESC, t.id DESC LIMIT $4) AS s0 \
             UNION ALL SELECT * FROM (SELECT t.id, t.k AS ord FROM t WHERE t.a = $5 AND t.b = $6 ORDER BY t.k DESC, t.id DESC LIMIT $7) AS s1\
             ) AS merged ORDER BY ord DESC, id DESC LIMIT 20 OFFSET $8) \
             SELECT t.id, $9 AS c FROM page CROSS JOIN t WHERE t.id = page.id ORDER BY page.ord DESC, page.id DESC"
        );
        let bound: Vec<_> = [0, 60, 1, 60, 40, 9].map(Value::Int).into();
        let numbers: Vec<_> = page.values.into_iter().filter(|value| matches!(value, Value::Int(..))).skip(1).collect();
        assert_eq!(numbers, bound);
    }

    #[test]
    fn a_keyset_is_a_condition_and_no_offset() {
        let after = Span { start: Start::After(Some(Value::Int(5)), 6), limit: 3 };
        let text = list(1, Some("t.k")).page(&after).text;
        assert!(
            text.contains("t.b = $3 AND t.k <= $4 AND (t.k, t.id) < ($5, $6) ORDER BY t.k DESC, t.id DESC LIMIT 20)"),
            "{text}"
        );
        let text = list(1, None).page(&Span::after(6, 1)).text;
        assert!(text.contains(
            "page(id) AS (SELECT t.id FROM t WHERE t.a = $2 AND t.b = $3 AND t.id < $4 ORDER BY t.id DESC LIMIT 1)"
        ));
        assert!(text.ends_with("ORDER BY page.id DESC"), "{text}");
    }

    #[test]
    fn a_count_ends_where_nobody_reads_further() {
        let count = list(2, None).count();
        let sources =
            "SELECT 1 FROM t WHERE t.a = $2 AND t.b = $3 UNION ALL SELECT 1 FROM t WHERE t.a = $4 AND t.b = $5";
        assert_eq!(
            count.text,
            format!(
                "WITH RECURSIVE near(id) AS (SELECT $1), counted(one) AS ({sources} LIMIT 10001) SELECT count(*) FROM counted"
            )
        );
    }

    #[test]
    fn few_texts_hold_any_number_of_ids() {
        let texts: std::collections::BTreeSet<_> =
            (1..=500).map(|n| among("t.id", &vec![3; n]).statement().text).collect();
        assert_eq!(texts.len(), SIZES.len());
        let three = among("t.id", &[1, 2, 3]);
        assert_eq!(three.values.len(), 20);
        assert_eq!(three.values.last(), Some(&Value::Int(3)));
    }
}

//! One statement with its parameters: `query(SQL).bind(id.0).optional(reader).await`.

use std::borrow::Cow;

use crate::engine::conn::{Conn, Runs};
use crate::engine::row::{FromRow, Row};
use crate::engine::sqlite;
use crate::engine::tx::Tx;
use crate::engine::value::Value;
use crate::error::{Error, Result};

/// A statement and what is bound to it. It runs when one of its methods with an [`Runs`] is awaited.
pub struct Query<'v> {
    sql: Cow<'static, str>,
    values: Vec<Value<'v>>,
}

/// A text that runs on both databases, with `$1`, `$2` for what is bound to it, in this order.
pub fn query<'v>(sql: impl Into<Cow<'static, str>>) -> Query<'v> {
    Query { sql: sql.into(), values: Vec::with_capacity(8) }
}

impl<'v> Query<'v> {
    /// Binds the next parameter: the first call is `$1`.
    pub fn bind(mut self, value: impl Into<Value<'v>>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Every row.
    pub async fn all<T: FromRow>(self, at: &mut impl Runs) -> Result<Vec<T>> {
        let patience = at.patience();
        match at.conn() {
            // Nothing is waited for here: the future is ready when it is polled for the first time.
            Conn::Sqlite(connection) => {
                let mut found = Vec::new();
                sqlite::rows(connection, &self.sql, &self.values, |row| {
                    found.push(T::from_row(&mut Row::sqlite(row))?);
                    Ok(true)
                })?;
                Ok(found)
            }
            Conn::Postgres(session) => {
                let rows = session.rows(self.sql, &self.values, patience).await?;
                rows.iter().map(|row| T::from_row(&mut Row::postgres(row))).collect()
            }
            Conn::Closed => Err(Error::closed()),
        }
    }

    /// The first row, if there is one.
    pub async fn optional<T: FromRow>(self, at: &mut impl Runs) -> Result<Option<T>> {
        let patience = at.patience();
        match at.conn() {
            Conn::Sqlite(connection) => {
                let mut found = None;
                sqlite::rows(connection, &self.sql, &self.values, |row| {
                    found = Some(T::from_row(&mut Row::sqlite(row))?);
                    Ok(false)
                })?;
                Ok(found)
            }
            Conn::Postgres(session) => {
                let rows = session.rows(self.sql, &self.values, patience).await?;
                rows.first().map(|row| T::from_row(&mut Row::postgres(row))).transpose()
            }
            Conn::Closed => Err(Error::closed()),
        }
    }

    /// The one row that such a statement always has.
    pub async fn one<T: FromRow>(self, at: &mut impl Runs) -> Result<T> {
        self.optional(at).await?.ok_or_else(|| Error::Damaged("a row is missing".into()))
    }

    /// Runs a statement whose answer the transaction does not need. On PostgreSQL it is sent together with the next
    /// statement whose answer is needed, or with the commit; if it fails, the commit fails.
    pub(crate) async fn later(self, tx: &mut Tx) -> Result<()> {
        if let Conn::Postgres(session) = tx.conn() {
            let values = self.values.into_iter().map(Value::into_owned).collect();
            session.queue_statement(self.sql, values);
            return Ok(());
        }
        self.changed(tx).await.map(drop)
    }

    /// Inserts a row, and gives its number: the one that was drawn for it, or else the one that it answers.
    pub(crate) async fn numbered(self, drawn: Option<i64>, tx: &mut Tx) -> Result<i64> {
        match drawn {
            Some(number) => self.later(tx).await.map(|()| number),
            None => self.one(tx).await,
        }
    }

    /// Runs it, and says how many rows it changed. Compare and set: one row means you won.
    pub async fn changed(self, at: &mut impl Runs) -> Result<u64> {
        let patience = at.patience();
        match at.conn() {
            Conn::Sqlite(connection) => sqlite::changed(connection, &self.sql, &self.values),
            Conn::Postgres(session) => session.changed(self.sql, &self.values, patience).await,
            Conn::Closed => Err(Error::closed()),
        }
    }
}

/// The rows of two statements of which neither needs the other's; on PostgreSQL in one round trip.
pub(crate) async fn both<A: FromRow, B: FromRow>(
    first: Query<'_>,
    second: Query<'_>,
    at: &mut impl Runs,
) -> Result<(Vec<A>, Vec<B>)> {
    let patience = at.patience();
    if let Conn::Postgres(session) = at.conn() {
        let values = first.values.into_iter().map(Value::into_owned).collect();
        let second = (second.sql, &second.values[..]);
        let (first, second) = session.rows_of_both((first.sql, values), second, patience).await?;
        let first = first.iter().map(|row| A::from_row(&mut Row::postgres(row))).collect::<Result<_>>()?;
        let second = second.iter().map(|row| B::from_row(&mut Row::postgres(row))).collect::<Result<_>>()?;
        return Ok((first, second));
    }
    Ok((first.all(at).await?, second.all(at).await?))
}

/// How many rows two statements changed, the first before the second; on PostgreSQL in one round trip.
pub(crate) async fn both_changed(first: Query<'_>, second: Query<'_>, tx: &mut Tx) -> Result<(u64, u64)> {
    let patience = tx.patience();
    if let Conn::Postgres(session) = tx.conn() {
        let values = first.values.into_iter().map(Value::into_owned).collect();
        return session.changed_by_both((first.sql, values), (second.sql, &second.values[..]), patience).await;
    }
    Ok((first.changed(tx).await?, second.changed(tx).await?))
}
